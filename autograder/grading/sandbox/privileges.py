"""What a child gives up besides files: capabilities, limits, signals, environment, open files."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from autograder.grading.sandbox.kernel import (
    CAPABILITY_VERSION,
    PR_CAP_AMBIENT,
    PR_CAPBSET_DROP,
    PR_GET_NO_NEW_PRIVS,
    PR_GET_PDEATHSIG,
    PR_GET_SECCOMP,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    call,
    prctl,
)
from autograder.grading.sandbox.spec import Limits, SandboxError

if sys.platform == "linux":
    import resource  # here and not where it is used: a confined child may be unable to import

_CAP_SYS_ADMIN = 21
_CLEAR_ALL_AMBIENT = 4
_FILTERING = 2


def can_administer() -> bool:
    """Does this process have CAP_SYS_ADMIN now?"""
    for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def drop_capabilities() -> None:
    """All sets, so that no program started later gains any; and no new privileges. Raises OSError."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # past the last one, or not ours to drop: then no_new_privs keeps the set without effect
    prctl(PR_CAP_AMBIENT, _CLEAR_ALL_AMBIENT)
    call("capset", struct.pack("Ii", CAPABILITY_VERSION, 0), bytes(24))
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def check_dropped() -> None:
    """Ask the kernel whether it holds: the last thing before a student's code. Raises SandboxError."""
    if prctl(PR_GET_NO_NEW_PRIVS) != 1:
        raise SandboxError("the child could still gain privileges")
    if prctl(PR_GET_SECCOMP) != _FILTERING:
        raise SandboxError("the system calls are not filtered")
    at_death = ctypes.c_int()
    prctl(PR_GET_PDEATHSIG, ctypes.byref(at_death))
    if at_death.value != signal.SIGKILL:
        raise SandboxError("the child would outlive the zygote")
    sets = ctypes.create_string_buffer(24)
    call("capget", struct.pack("Ii", CAPABILITY_VERSION, 0), sets)
    if any(sets.raw):
        raise SandboxError("the child still has capabilities")
    try:
        call("unshare", 0)
    except OSError as refused:
        if refused.errno == errno.EPERM:
            return
    raise SandboxError("the filter of system calls lets unshare through")


def limit(limits: Limits, already: int = 0) -> None:
    """Set the resource limits for good. `already`: processes of this user that run outside and count as well."""
    both = {
        # 1 byte, not 0: a core_pattern that starts a program is skipped for 1 alone
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_AS: limits.address_space_mb << 20,
        resource.RLIMIT_NPROC: limits.processes + already,
        resource.RLIMIT_FSIZE: limits.file_mb << 20,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_NICE: 0,
    }
    for which, value in both.items():
        hard = resource.getrlimit(which)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))


def processes_of(uid: int) -> int:
    """How many processes and threads of that user run now, which is what RLIMIT_NPROC counts without a namespace."""
    total = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    total += len(os.listdir(f"{entry.path}/task"))
            except OSError:
                continue  # it has ended
    return total


def reset_signals() -> None:
    """As in a fresh Python, nothing blocked, in a session of its own (no terminal to type into)."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def environment(home: str, temporary: str) -> dict[str, str]:
    """All that a child's environment holds."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    return {
        "PATH": f"{os.path.dirname(sys.executable)}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "USER": "student",
        "LOGNAME": "student",
        "MPLBACKEND": os.environ.get("MPLBACKEND", "agg"),
        **threads,
    }


def replace_environment(new: Mapping[str, str]) -> None:
    """Forget the inherited environment: in Python, in C, and what /proc/self/environ shows. Needs /proc."""
    os.environ.clear()
    os.environ.update(new)
    tempfile.tempdir = None  # remembered from the old TMPDIR
    # os.environ's new strings lie on the heap; the kernel shows the stack, where the old ones still are
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)


def null_streams(keep: Iterable[int]) -> None:
    """Standard input, output and error are /dev/null, unless they are to be kept."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in {0, 1, 2} - set(keep):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


def close_others(keep: Iterable[int]) -> None:
    """Close every open file but 0, 1, 2 and `keep`."""
    start = 3
    for fd in sorted(one for one in set(keep) if one > 2):
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, max(start, os.sysconf("SC_OPEN_MAX"), 1 << 20))


def first_to_die() -> None:
    """When the machine runs out of memory, the kernel shall end students' processes, not the instructor's."""
    prctl(PR_SET_DUMPABLE, 1)
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
