"""From a zygote to a confined child that runs a function, or to nothing at all: a layer that fails ends the child first.

Where a pid namespace is wanted the zygote forks twice, because only the next fork after `unshare` is inside: a middle
process enters the namespaces, forks the child, hands the child's pidfd back and ends, which makes the child the zygote's
(a subreaper). Only then may the child ask to be killed when its parent dies: earlier, that would be the middle process.
The messages on one socket pair, each a packet that starts with a letter:

    middle → zygote  P<pid>, with the pidfd     child → zygote  R: ready to be adopted
    zygote → child   G: adopted, go on          child → zygote  A: all layers hold     anyone → zygote  E<reason>

A child that finds the socket closed ends; so nobody is left when the zygote is killed at any moment.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn

from autograder.grading.sandbox import landlock, namespaces, privileges, root, seccomp, workfolder
from autograder.grading.sandbox.kernel import (
    PR_GET_CHILD_SUBREAPER,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    prctl,
)
from autograder.grading.sandbox.spec import NAMESPACED, RUNGS, SandboxError, Spec

#: exit status of a child that could not be confined
NOT_CONFINED = 70
#: exit status of a child whose function raised
RAISED = 1
#: how long a child may take to be confined: far more than it ever needs, but a dead network drive must not stop a class
SETUP_SECONDS = 20.0
#: how much longer the process between may take to name a child that has failed already
LATE_SECONDS = 2.0

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_TERMINALS = ("/dev/ptmx", "/dev/pts")
_HARMLESS_PROC = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/loadavg")


@dataclass
class Child:
    """A confined child: `pid` as the zygote sees it, and `pidfd`, which stays that process whatever becomes of the number.

    `pidfd` is -1 once `wait` has returned. `folder`: the child's folder on the host, where the rung needs one.
    """

    pid: int
    pidfd: int
    folder: str = ""
    _status: int | None = field(default=None, repr=False)

    def kill(self) -> None:
        """End it and all that it has started. Nothing happens when it has ended."""
        if self.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            self._end_group()

    def _end_group(self) -> None:
        """Without a pid namespace, what the child has started is in its process group and may not leave it.

        Only before it is reaped: until then the group's number cannot have been given to others.
        """
        if self.folder:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it has ended: its exit status, or minus the signal that ended it. Only in the zygote.

        To wait with a time limit, poll `pidfd` first. What the child has started and its folder on the host are removed.
        """
        if self._status is None:
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
            self._end_group()
            result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            assert result is not None  # only with WNOHANG
            self._status = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
            os.close(self.pidfd)
            self.pidfd = -1
            if self.folder:
                with suppress(OSError):  # on the rung "none" a process that left the group may still write there
                    workfolder.remove(self.folder)
        return self._status


@dataclass(frozen=True)
class _Job:
    """What the forked processes need to know."""

    rung: str
    spec: Spec
    run: Callable[[], None]
    keep: tuple[int, ...]
    folder: str
    line: socket.socket
    sources: root.Sources | None = None

    @property
    def open_files(self) -> tuple[int, ...]:
        sources = self.sources.fds if self.sources else []
        return (*self.keep, self.line.fileno(), *sources)


def become_zygote() -> None:
    """Make this process one that may call `fork_confined`: its descendants' orphans become its own, and nobody of the
    same user can trace it or read its memory. Raises SandboxError when it has more than one thread."""
    _one_thread()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)


def fork_confined(rung: str, spec: Spec, run: Callable[[], None], keep: Sequence[int]) -> Child:
    """Fork a child, confine it as `rung` says, and call `run()` in it; it ends with 0, or 1 when `run` raises.

    `keep`: the open files that stay open in the child, besides /dev/null as 0, 1 and 2. Raises SandboxError, with the
    reason, when any layer could not be put in place; then `run` has not been called and no process is left.
    """
    _check_caller(rung)
    folder = "" if rung in NAMESPACED else workfolder.make(spec, private=rung == "confined")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first = os.fork()
    if first == 0:
        ours.close()
        _in_child(_Job(rung, spec, run, tuple(keep), folder, theirs), _middle if rung in NAMESPACED else _confined)
    theirs.close()
    with ours:
        return _Meeting(ours, first, folder, adopts=rung in NAMESPACED).child()


def end_strays(children: Sequence[Child]) -> int:
    """Kill and reap every process that has become the zygote's own and is none of `children`; how many there were.

    Where there is no pid namespace, `Child.wait` kills what the child has started, and leaves it to be reaped: call this
    now and then. On the rung `none` it also ends what has left the child's process group. Those of a living child stay.
    """
    known = {child.pid for child in children if child.pidfd >= 0}
    ended = 0
    while strays := [pid for pid in _own_children() if pid not in known]:
        for pid in strays:  # our own unreaped children: their numbers cannot have been given to others
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            ended += 1
    return ended


def _own_children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="utf-8") as file:
        return [int(pid) for pid in file.read().split()]


def _check_caller(rung: str) -> None:
    if rung not in RUNGS:
        raise SandboxError(f"there is no sandbox called {rung!r}: use one of {', '.join(RUNGS)}")
    _one_thread()
    if not _is_subreaper():
        raise SandboxError("call become_zygote() before fork_confined()")


def _one_thread() -> None:
    """A lock that another thread holds at a fork stays locked in the child for ever."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise SandboxError(f"the zygote has {threads} threads: it may fork with one only")


def _is_subreaper() -> bool:
    answer = ctypes.c_int()
    prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer))
    return answer.value == 1


class _Meeting:
    """The zygote's side of the messages."""

    def __init__(self, line: socket.socket, first: int, folder: str, adopts: bool) -> None:
        line.settimeout(SETUP_SECONDS)
        self._line, self._first, self._folder, self._adopts = line, first, folder, adopts
        self._pid, self._pidfd = (0, -1) if adopts else (first, os.pidfd_open(first))
        self._seen = set() if adopts else {b"P"}

    def child(self) -> Child:
        """The child, all layers in place. Raises SandboxError, everything cleaned up."""
        try:
            self._await(b"P", b"R")
            if self._adopts:
                os.waitpid(self._first, 0)
                self._adopts = False
            self._line.send(b"G")
            self._await(b"A")
        except (SandboxError, OSError) as error:
            self._clean_up()
            if isinstance(error, SandboxError):
                raise
            raise SandboxError(f"the child could not be confined: {error}") from error
        return Child(self._pid, self._pidfd, self._folder)

    def _await(self, *wanted: bytes) -> None:
        while not self._seen.issuperset(wanted):
            data = self._receive()
            if not data:
                raise SandboxError("the child ended while it was being confined")
            if data[:1] == b"E":
                raise SandboxError(data[1:].decode(errors="replace"))
            self._seen.add(data[:1])

    def _receive(self) -> bytes:
        data, fds, _, _ = socket.recv_fds(self._line, 4096, 1, socket.MSG_CMSG_CLOEXEC)
        if fds:
            self._pid, self._pidfd = int(data[1:]), fds[0]
        return data

    def _clean_up(self) -> None:
        if self._adopts:
            self._learn_child()
            os.kill(self._first, signal.SIGKILL)  # unreaped, so the number is still its own
            os.waitpid(self._first, 0)
        if self._pidfd >= 0:
            child = Child(self._pid, self._pidfd)
            child.kill()
            child.wait()
        if self._folder:
            workfolder.remove(self._folder)

    def _learn_child(self) -> None:
        """The child's failure can overtake the message that says who it is: read on until that, or until both ended."""
        self._line.settimeout(LATE_SECONDS)
        with suppress(OSError):
            while self._pidfd < 0 and self._receive():
                pass


def _in_child(job: _Job, step: Callable[[_Job], None]) -> NoReturn:
    """Whatever happens, a forked process ends here and never returns into the zygote's code."""
    try:
        privileges.close_others(job.open_files)
        step(job)
    except BaseException as error:
        with suppress(OSError):
            text = str(error) if isinstance(error, SandboxError) else f"{type(error).__name__}: {error}"
            job.line.send(b"E" + " ".join(text.split())[:2000].encode())
    os._exit(NOT_CONFINED)


@contextmanager
def _layer(name: str) -> Iterator[None]:
    """Say which layer it was when the kernel refuses."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise SandboxError(f"{name}: {error}") from error


def _middle(job: _Job) -> None:
    """Enter the namespaces, fork the child in them, say who it is, and end."""
    if privileges.can_administer():
        # root may enter folders (its own home, say) that nobody may not
        with _layer("opening what the child may see"):
            job = replace(job, sources=root.collect(job.spec, stub_proc=job.rung == "full-stub-proc"))
    with _layer("becoming an ordinary user"):
        namespaces.become_nobody(keep_capabilities=True)
    with _layer("entering new namespaces"):
        namespaces.enter()
    pid = os.fork()
    if pid == 0:
        _in_child(job, _confined)
    socket.send_fds(job.line, [b"P%d" % pid], [os.pidfd_open(pid)])
    os._exit(0)


def _confined(job: _Job) -> None:
    """The child itself: put every layer in place, then run."""
    os.umask(0o022)
    with _layer("signals"):
        privileges.reset_signals()
    with _layer("environment"):
        temporary = "/tmp" if job.rung in NAMESPACED else f"{job.folder}/tmp"
        privileges.first_to_die()
        privileges.replace_environment(privileges.environment(job.folder or job.spec.work, temporary))
    if job.rung in NAMESPACED:
        _own_host(job)
    else:
        _shared_host(job)
    privileges.null_streams(job.keep)
    if job.rung == "none":
        _adopted(job)
    else:
        _give_up(job)
    job.line.send(b"A")
    job.line.close()
    _run(job.run)


def _own_host(job: _Job) -> None:
    stub = job.rung == "full-stub-proc"
    with _layer("the child's network and host name"):
        namespaces.settle()
    with _layer("opening what the child may see"):
        sources = job.sources or root.collect(job.spec, stub)
    with _layer("the child's root"):
        root.build(job.spec, sources, stub)
    with _layer("resource limits"):
        privileges.limit(job.spec.limits)


def _shared_host(job: _Job) -> None:
    if job.rung == "confined":
        with _layer("becoming an ordinary user"):
            namespaces.become_nobody()
            privileges.first_to_die()  # a change of user undoes it
    with _layer("the work folder"):
        os.chdir(job.folder)
    with _layer("resource limits"):
        privileges.limit(job.spec.limits, already=privileges.processes_of(os.geteuid()))


def _give_up(job: _Job) -> None:
    """Privileges, files and system calls, in this order: each step needs what the next one takes away."""
    own_host = job.rung in NAMESPACED
    with _layer("capabilities"):
        privileges.drop_capabilities()
    _adopted(job)
    privileges.close_others((*job.keep, job.line.fileno()))
    with _layer("landlock"):
        _landlock(job, own_host)
    with _layer("the filter of system calls"):
        seccomp.install(seccomp.program(platform.machine(), own_host, job.spec.programs))
    with _layer("the last check"):
        privileges.check_dropped()


def _adopted(job: _Job) -> None:
    """Wait until the zygote is the parent, then die with it. A change of user would undo it: it comes after those."""
    job.line.send(b"R")
    if job.line.recv(1) != b"G":
        os._exit(NOT_CONFINED)
    with _layer("dying with the zygote"):
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _landlock(job: _Job, own_host: bool) -> None:
    known = landlock.version()
    if own_host:
        if known:  # a further wall: without it, namespaces and the read-only root hold by themselves
            _own_root_rules(job.spec).restrict()
        return
    if known < landlock.SCOPES:
        raise SandboxError(f"landlock: version {known or 'none'} here, {landlock.SCOPES} (Linux 6.12) is needed")
    _host_rules(job.spec, job.folder).restrict()


def _own_root_rules(spec: Spec) -> landlock.Rules:
    rules = landlock.Rules(tcp=True)
    rules.allow("/", landlock.READ)
    for folder in (spec.work, "/tmp", "/dev/shm"):
        rules.allow(folder, landlock.WRITE)
    for device in (*_DEVICES, *_TERMINALS):
        with suppress(FileNotFoundError):
            rules.allow(device, landlock.DEVICE)
    return rules


def _host_rules(spec: Spec, folder: str) -> landlock.Rules:
    rules = landlock.Rules(tcp=False)
    rules.allow(folder, landlock.WRITE)
    hidden = [os.path.realpath(one) for one in (*spec.masked, *spec.placed) if os.path.lexists(one)]
    for path in workfolder.visible(spec):
        for one, rights in landlock.around(path, hidden):
            rules.allow(one, rights)
    for path in _HARMLESS_PROC:
        with suppress(FileNotFoundError):
            rules.allow(path, landlock.READ)
    for device in _DEVICES:
        rules.allow(device, landlock.DEVICE)
    return rules


def _run(run: Callable[[], None]) -> NoReturn:
    status = RAISED
    try:
        run()
        status = 0
    finally:
        os._exit(status)
