"""Other processes: not seen, not signalled, not traced, not starved; and no system call that opens another way."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
from collections.abc import Callable

import pytest
from zygotes import PLAIN, in_fork, inside, look, outcome, raw_call

from autograder.grading.sandbox import become_zygote
from autograder.grading.sandbox.kernel import PR_SET_PDEATHSIG, prctl

PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def test_only_its_own_processes_are_in_proc(full: str, user: int | None) -> None:
    def probe() -> list[object]:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        found = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        os.kill(pid, signal.SIGKILL)
        return [os.getpid(), pid, found]

    assert look(full, probe, user=user) == [1, 2, [1, 2]]


def attempts_on(pid: int) -> dict[str, str]:
    """All that a process can do to another of the same user by its number."""
    return {
        "environment": outcome(read, f"/proc/{pid}/environ"),
        "memory": outcome(read, f"/proc/{pid}/maps"),
        "command": outcome(read, f"/proc/{pid}/cmdline"),
        "files": outcome(os.listdir, f"/proc/{pid}/fd"),
        "threads": outcome(os.listdir, f"/proc/{pid}/task"),
        "limits": outcome(lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1))),
        "cores": outcome(lambda: os.sched_setaffinity(pid, {0})),
        "priority": outcome(lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)),
        "signal 0": outcome(os.kill, pid, 0),
        "trace": raw_call("ptrace", PTRACE_ATTACH, pid),
        "seize": raw_call("ptrace", PTRACE_SEIZE, pid),
        # the last ones: they would end it
        "signal": outcome(os.kill, pid, signal.SIGUSR1),
        "pidfd": outcome(send_by_pidfd, pid),
    }


def send_by_pidfd(pid: int) -> None:
    fd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(fd, signal.SIGUSR1)
    finally:
        os.close(fd)


@pytest.fixture
def bystander(user: int | None) -> Callable[[Callable[[int], object]], object]:
    """Calls a function with the number of a patient process of the same user, and says whether that is unharmed."""

    def meet(attempt: Callable[[int], object]) -> object:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGUSR1, lambda *_: os._exit(1))
            prctl(4, 1)  # may be traced: a change of user would forbid it, and the sandbox is to be tested
            os.write(writing, b"r")
            while True:
                signal.pause()
        os.read(reading, 1)
        try:
            answer = attempt(pid)
            limits = resource.prlimit(pid, resource.RLIMIT_CPU)
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return [answer, ended is None, limits == resource.getrlimit(resource.RLIMIT_CPU)]
        finally:
            os.kill(pid, signal.SIGKILL)  # unreaped, so it is still its number
            os.waitpid(pid, 0)
            os.close(reading)
            os.close(writing)

    return meet


def test_a_bystander_can_be_reached_without_a_sandbox(bystander: Callable[..., object], user: int | None) -> None:
    """So the next test can fail."""
    answer = in_fork(lambda: bystander(attempts_on), user)
    assert answer[0]["signal 0"] == answer[0]["environment"] == answer[0]["limits"] == "ok"
    assert answer[1:] != [True, True]


def test_nobody_elses_process_can_be_touched(rung: str, bystander: Callable[..., object], user: int | None) -> None:
    def task() -> object:
        become_zygote()
        return bystander(lambda pid: inside(rung, PLAIN, lambda: attempts_on(pid)))

    found, alive, unlimited = in_fork(task, user)
    assert "ok" not in found.values(), found
    assert alive
    assert unlimited


def test_the_zygote_cannot_be_touched(rung: str, user: int | None) -> None:
    def task() -> list[object]:
        become_zygote()
        zygote = os.getpid()
        before = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
        found = inside(rung, PLAIN, lambda: [os.getppid(), attempts_on(zygote), attempts_on(os.getppid() or 999999)])
        return [found, before == (os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0))]

    (parent, *attempts), same = in_fork(task, user)
    assert same
    assert parent == 0 or rung == "confined"
    for found in attempts:
        assert "ok" not in found.values(), found


def test_a_signal_to_everybody_reaches_nobody_outside(rung: str, user: int | None) -> None:
    if user is None and os.geteuid() == 0 and rung == "confined":
        pytest.skip("the zygote is root and the child is not: it could not be reached anyway")

    def task() -> str:
        become_zygote()
        signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
        inside(rung, PLAIN, lambda: outcome(os.kill, -1, signal.SIGTERM) if os.getpid() == 1 else kill_all())
        return "alive"

    assert in_fork(task, user) == "alive"


def kill_all() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    outcome(os.kill, -1, signal.SIGTERM)


def test_the_zygotes_environment_is_gone(rung: str, user: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_SECRET", "secret")
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p

    def probe() -> list[object]:
        shown = read("/proc/self/environ").strip("\0") if os.path.exists("/proc/self/environ") else ""
        home = (getenv(b"HOME") or b"").decode()
        return [sorted(os.environ), shown, home == os.environ["HOME"], getenv(b"SANDBOX_SECRET") is None]

    names, shown, has_home, has_no_secret = look(rung, probe, user=user)
    assert read("/proc/self/environ").strip("\0"), "the tests have no environment to hide"
    assert (shown, has_home, has_no_secret) == ("", True, True)
    assert set(names) == {
        *("PATH", "HOME", "TMPDIR", "LANG", "USER", "LOGNAME", "MPLBACKEND"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    }


def test_programs_started_inside_have_the_new_environment_only(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_SECRET", "secret")

    def probe() -> str:
        assert os.spawnv(os.P_WAIT, "/bin/sh", ["/bin/sh", "-c", "cat /proc/self/environ > shown"]) == 0
        return read("shown")

    shown = look(full, probe)
    assert "HOME=/work" in shown
    assert "SECRET" not in shown


REFUSED = [
    ("unshare", (CLONE_NEWUSER,)),
    ("clone", (CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)),
    ("clone", (CLONE_NEWNS | signal.SIGCHLD, 0, 0, 0, 0)),
    ("setns", (0, 0)),
    ("mount", (0, 0, 0, 0, 0)),
    ("umount2", (0, 0)),
    ("pivot_root", (0, 0)),
    ("chroot", (0,)),
    ("open_tree", (0, 0, 0)),
    ("bpf", (0, 0, 0)),
    ("io_uring_setup", (1, 0)),
    ("keyctl", (0, 0, 0)),
    ("add_key", (0, 0, 0, 0, 0)),
    ("perf_event_open", (0, 0, -1, -1, 0)),
    ("userfaultfd", (0,)),
    ("ptrace", (0, 0, 0, 0)),
    ("process_vm_readv", (1, 0, 0, 0, 0, 0)),
    ("shmget", (0, 4096, 0o1600)),
    ("mq_open", (0, 0, 0, 0)),
    ("open_by_handle_at", (0, 0, 0)),
    ("init_module", (0, 0, 0)),
    ("kexec_load", (0, 0, 0, 0)),
]


def test_dangerous_calls_are_refused(rung: str, user: int | None) -> None:
    found = look(rung, lambda: [[name, raw_call(name, *arguments)] for name, arguments in REFUSED], user=user)
    assert found == [[name, "EPERM"] for name, _ in REFUSED]
    absent = look(
        rung, lambda: [raw_call(name, 0, 0) for name in ("clone3", "memfd_create", "memfd_secret")], user=user
    )
    assert absent == ["ENOSYS"] * 3


def test_the_same_calls_get_through_without_a_filter() -> None:
    """So the last test can fail: what refuses is the filter, not this machine."""
    found = in_fork(
        lambda: [raw_call(name, *arguments) for name, arguments in REFUSED if name not in ("clone", "ptrace")]
    )
    assert set(found) - {"EPERM"}
    assert in_fork(lambda: raw_call("memfd_create", 0, 0)) == "EFAULT"


def test_threads_and_processes_still_work(rung: str) -> None:
    def probe() -> list[int]:
        import threading

        ran: list[int] = []
        thread = threading.Thread(target=lambda: ran.append(1))
        thread.start()
        thread.join()
        pid = os.fork()
        if pid == 0:
            os._exit(3)
        return [*ran, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]

    assert "threading" in sys.modules
    assert look(rung, probe) == [1, 3]


def test_nothing_is_left_of_capabilities(rung: str, user: int | None) -> None:
    def probe() -> list[str]:
        if not os.path.exists("/proc/self/status"):
            return ["no /proc"]
        return read("/proc/self/status").splitlines()

    lines = look(rung, probe, user=user)
    if lines == ["no /proc"]:
        assert rung == "full-stub-proc"
        return
    status = dict(line.split(":", 1) for line in lines)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, name
    if rung == "full":
        assert int(status["CapBnd"], 16) == 0
    assert [status[name].strip() for name in ("NoNewPrivs", "Seccomp", "Groups")] == ["1", "2", ""]
    assert "0" not in status["Uid"].split()


def test_root_is_nobody_on_the_host(full: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("these tests do not run as root")

    def task() -> list[int]:
        become_zygote()
        reading, writing = os.pipe()
        from autograder.grading.sandbox import fork_confined

        child = fork_confined("full", PLAIN, lambda: void(os.read(reading, 1)), [reading])
        info = os.stat(f"/proc/{child.pid}")
        os.close(writing)
        os.close(reading)
        child.kill()
        child.wait()
        return [info.st_uid, info.st_gid]

    assert in_fork(task) == [65534, 65534]


def void(_: object) -> None:
    return None


def test_the_signal_at_the_zygotes_death_cannot_be_switched_off(rung: str) -> None:
    def probe() -> int:
        prctl(PR_SET_PDEATHSIG, 0)
        now = ctypes.c_int()
        prctl(2, ctypes.byref(now))
        return now.value

    assert look(rung, probe) == signal.SIGKILL


def test_it_has_no_terminal(rung: str) -> None:
    def probe() -> list[object]:
        return [os.getsid(0) == os.getpid(), outcome(os.open, "/dev/tty", os.O_RDWR), raw_call("ioctl", 0, 0x5412, 0)]

    own, terminal, typing = look(rung, probe)
    assert own
    assert terminal != "ok"
    assert typing == errno.errorcode[errno.EPERM]
