"""From fork to end: what stays open, how it ends, what is left, and that nothing runs when a layer fails."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from zygotes import PLAIN, in_fork, inside, look, needs, read_all, refuse_here

from autograder.grading.sandbox import SandboxError, become_zygote, end_strays, fork_confined
from autograder.grading.sandbox.fork import NOT_CONFINED, RAISED


def nothing() -> None:
    return None


def fail() -> None:
    raise RuntimeError("a student's error")


def sleep() -> None:
    while True:
        signal.pause()


def own_children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="utf-8") as file:
        return [int(pid) for pid in file.read().split()]


def open_files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture(params=["full", "full-stub-proc", "confined", "none"])
def any_rung(request: pytest.FixtureRequest) -> str:
    needs(request.param)
    return str(request.param)


def test_how_it_ends(any_rung: str, user: int | None) -> None:
    def task() -> list[int]:
        become_zygote()
        found = []
        for run in (nothing, fail, lambda: os._exit(5)):
            child = fork_confined(any_rung, PLAIN, run, [])
            found += [child.wait(), child.wait(), child.pidfd]
            child.kill()  # long gone: nothing happens
        child = fork_confined(any_rung, PLAIN, sleep, [])
        child.kill()
        return [*found, child.wait()]

    assert in_fork(task, user) == [0, 0, -1, RAISED, RAISED, -1, 5, 5, -1, -signal.SIGKILL]


def test_only_what_is_kept_stays_open(any_rung: str) -> None:
    """Numbers as they were; 0, 1 and 2 are /dev/null."""

    def probe() -> list[object]:
        numbers = [fd for fd in range(1024) if is_open(fd)]
        return [numbers, [os.fstat(fd).st_rdev == os.makedev(1, 3) for fd in (0, 1, 2)], os.read(kept, 4).decode()]

    def task() -> list[object]:
        become_zygote()
        opened = [os.open("/etc/hostname", os.O_RDONLY) for _ in range(20)]
        os.write(write_end, b"text")
        return [inside(any_rung, PLAIN, probe, [kept]), opened]

    kept, write_end = os.pipe()
    (numbers, null, text), opened = in_fork(task)
    assert (null, text) == ([True] * 3, "text")
    # three streams, `kept`, and the pipe that the answer comes through
    assert len(numbers) == 5
    assert kept in numbers
    assert not set(numbers) & set(opened)
    for fd in (kept, write_end):
        os.close(fd)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_signals_are_as_in_a_fresh_python(any_rung: str) -> None:
    def probe() -> list[object]:
        return [
            signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
            signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL,
            signal.getsignal(signal.SIGINT) == signal.default_int_handler,
            not signal.pthread_sigmask(signal.SIG_BLOCK, []),
        ]

    def task() -> object:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGALRM])
        become_zygote()
        return inside(any_rung, PLAIN, probe)

    assert in_fork(task) == [True] * 4


def test_killed_zygotes_take_their_children_along(any_rung: str, user: int | None) -> None:
    """With what those have started, where there is a pid namespace."""
    heard, written = os.pipe()

    def run() -> None:
        if any_rung.startswith("full"):
            os.fork()
        os.write(written, b"r")
        sleep()

    def task() -> str:
        middle = os.fork()
        if middle == 0:
            become_zygote()
            child = fork_confined(any_rung, PLAIN, run, [written])
            os.write(written, b"z")
            child.wait()
        os.close(written)
        for _ in range(3 if any_rung.startswith("full") else 2):
            os.read(heard, 1)
        os.kill(middle, signal.SIGKILL)
        os.waitpid(middle, 0)
        # the pipe closes when the last process that could write to it is gone
        return "gone" if select.select([heard], [], [], 5)[0] and not os.read(heard, 1) else "alive"

    # somebody else's orphans, not those of the tests
    assert in_fork(lambda: task(), user) == "gone"
    os.close(heard)
    os.close(written)


#: on each rung, the calls that one of its layers rests on
LAYERS = {
    "full": (
        *("open_tree", "mount_setattr", "unshare", "sethostname", "mount", "openat2", "move_mount", "pivot_root"),
        *("umount2", "capset", "landlock_add_rule", "landlock_restrict_self", "seccomp"),
    ),
    "confined": ("capset", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"),
}


@pytest.mark.parametrize("refused", [(rung, name) for rung, names in LAYERS.items() for name in names], ids="-".join)
def test_a_layer_that_fails_ends_it_before_anything_runs(refused: tuple[str, str], user: int | None) -> None:
    """Each layer's system call is really refused, by a filter around the zygote."""
    rung, name = refused
    needs(rung)
    heard, written = os.pipe()
    folders = set(Path("/tmp").glob("autograder-*"))

    def task() -> list[object]:
        become_zygote()
        refuse_here(name, errno.EPERM)
        before = open_files()
        try:
            fork_confined(rung, PLAIN, lambda: os.close(os.write(written, b"ran") and written), [written])
        except SandboxError as error:
            return [str(error), own_children(), open_files() == before]
        return ["confined", own_children(), False]

    reason, children, same_files = in_fork(task, user)
    os.close(written)
    assert reason != "confined"
    assert "\n" not in reason
    assert (children, same_files) == ([], True)
    assert read_all(heard) == b""
    assert set(Path("/tmp").glob("autograder-*")) <= folders


@pytest.mark.parametrize("rung_and_reason", [("full", "cannot be placed"), ("full", "does not exist")], ids=["into", "of"])
def test_what_cannot_be_placed_is_an_error(rung_and_reason: tuple[str, str]) -> None:
    rung, reason = rung_and_reason
    needs(rung)
    placed = {"/usr/no-such-folder/x": "/etc/hostname"} if "placed" in reason else {"/x": "/no/such/file"}
    with pytest.raises(AssertionError, match=f"SandboxError .*{reason}"):
        look(rung, nothing, replace(PLAIN, placed=placed))


def test_a_child_that_dies_while_it_is_confined_is_an_error(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here because a limit ends it: its own CPU time is up before it is ready."""
    from autograder.grading.sandbox import privileges

    monkeypatch.setattr(privileges, "reset_signals", lambda: os._exit(NOT_CONFINED))
    with pytest.raises(AssertionError, match="SandboxError the child ended while it was being confined"):
        look(full, nothing)


def test_nothing_is_left_on_the_host(rung: str) -> None:
    def task() -> list[object]:
        become_zygote()
        mounts, files = Path("/proc/self/mountinfo").read_text(), open_files()
        folders = sorted(Path("/tmp").glob("autograder-*"))
        for _ in range(20):
            assert fork_confined(rung, PLAIN, nothing, []).wait() == 0
        return [
            Path("/proc/self/mountinfo").read_text() == mounts,
            open_files() == files,
            own_children(),
            sorted(Path("/tmp").glob("autograder-*")) == folders,
        ]

    assert in_fork(task) == [True, True, [], True]


def test_strays_are_ended_and_children_are_not(confined: str) -> None:
    def leave_one() -> None:
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(ready[1], b"r")
            sleep()

    ready = os.pipe()

    def task() -> list[object]:
        become_zygote()
        living = fork_confined(confined, PLAIN, sleep, [])
        assert fork_confined(confined, PLAIN, leave_one, [ready[1]]).wait() == 0
        os.read(ready[0], 1)
        found = [end_strays([living]), own_children() == [living.pid]]
        living.kill()
        return [*found, living.wait()]

    assert in_fork(task) == [1, True, -signal.SIGKILL]
    for fd in ready:
        os.close(fd)


def test_the_zygote_is_checked() -> None:
    def too_many_threads() -> str:
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        try:
            become_zygote()
        except SandboxError as error:
            return str(error)
        finally:
            stop.set()
            thread.join()
        return "no error"

    def not_a_zygote() -> str:
        try:
            fork_confined("none", PLAIN, nothing, [])
        except SandboxError as error:
            return str(error)
        return "no error"

    def unknown() -> str:
        become_zygote()
        try:
            fork_confined("best", PLAIN, nothing, [])
        except SandboxError as error:
            return str(error)
        return "no error"

    assert "2 threads" in in_fork(too_many_threads)
    assert "become_zygote" in in_fork(not_a_zygote)
    assert "full, full-stub-proc, confined, none" in in_fork(unknown)


def test_a_channel_works_through_the_sandbox(rung: str) -> None:
    """As the engine uses it: a socket that is kept."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def task() -> str:
        become_zygote()
        child = fork_confined(rung, PLAIN, lambda: nothing_of(theirs.send(theirs.recv(100))), [theirs.fileno()])
        ours.send(b"cases")
        answer = ours.recv(100).decode()
        child.wait()
        return answer

    assert in_fork(task) == "cases"
    ours.close()
    theirs.close()


def nothing_of(_: object) -> None:
    return None


def test_it_is_quick(full: str) -> None:
    """Printed with -s; the bound is loose because other work may share the machine."""

    def task() -> list[float]:
        become_zygote()
        bare, confined = [], []
        for _ in range(10):
            start = time.perf_counter()
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            bare.append(time.perf_counter() - start)
            start = time.perf_counter()
            child = fork_confined(full, PLAIN, nothing, [])
            confined.append(time.perf_counter() - start)
            child.wait()
        return [1e3 * sorted(bare)[5], 1e3 * sorted(confined)[5]]

    bare, confined = in_fork(task)
    print(f"\na bare fork takes {bare:.1f} ms, a confined child {confined:.1f} ms")
    assert confined - bare < 100
