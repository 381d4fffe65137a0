"""From fork to end: what stays open, how it ends, what is left, and that nothing runs when a layer fails."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zygotes import PLAIN, in_fork, inside, look, needs, outcome, read_all, refuse_here

from autograder.grading.sandbox import SandboxError, become_zygote, end_strays, fork_confined, privileges
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


def test_killed_zygotes_take_their_children_along(any_rung: str, user: int | None, open_folder: Path) -> None:
    """With what those have started, where there is a pid namespace."""
    own_namespace = any_rung.startswith("full")

    def task() -> str:
        heard, written = os.pipe()

        def run() -> None:
            if own_namespace:
                os.fork()
            os.write(written, b"r")
            sleep()

        tempfile.tempdir = str(open_folder)  # a killed zygote cannot remove its children's folders
        zygote = os.fork()
        if zygote == 0:
            become_zygote()
            fork_confined(any_rung, PLAIN, run, [written]).wait()
        os.close(written)
        for _ in range(2 if own_namespace else 1):
            assert os.read(heard, 1) == b"r"
        os.kill(zygote, signal.SIGKILL)
        os.waitpid(zygote, 0)
        # the pipe ends when the last process that could write to it is gone
        return "gone" if select.select([heard], [], [], 5)[0] and not os.read(heard, 1) else "alive"

    assert in_fork(task, user) == "gone"


#: on each rung, the calls that one of its layers rests on
LAYERS = {
    "full": (
        *("open_tree", "mount_setattr", "unshare", "sethostname", "mount", "openat2", "move_mount", "pivot_root"),
        *("umount2", "capset", "landlock_add_rule", "landlock_restrict_self", "seccomp"),
    ),
    "confined": ("capset", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"),
}


@pytest.mark.parametrize("refused", [(rung, name) for rung, names in LAYERS.items() for name in names], ids="-".join)
def test_a_layer_that_fails_ends_it_before_anything_runs(
    refused: tuple[str, str], user: int | None, open_folder: Path
) -> None:
    """Each layer's system call is really refused, by a filter around the zygote."""
    rung, name = refused
    needs(rung)
    heard, written = os.pipe()

    def task() -> list[object]:
        tempfile.tempdir = str(open_folder)
        become_zygote()
        refuse_here(name, errno.EPERM)
        before = open_files()
        try:
            fork_confined(rung, PLAIN, lambda: nothing_of(os.write(written, b"ran")), [written])
        except SandboxError as error:
            return [str(error), own_children(), open_files() == before]
        return ["confined", own_children(), False]

    reason, children, same_files = in_fork(task, user)
    os.close(written)
    assert reason != "confined"
    assert "\n" not in reason
    assert (children, same_files) == ([], True)
    assert read_all(heard) == b""
    assert list(open_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("inside_path", "host_path", "reason"),
    [("/usr/no-such-folder/x", "/etc/passwd", "cannot be placed"), ("/x", "/no/such/file", "does not exist")],
)
def test_what_cannot_be_placed_is_an_error(full: str, inside_path: str, host_path: str, reason: str) -> None:
    with pytest.raises(AssertionError, match=f"SandboxError .*{reason}"):
        look(full, nothing, replace(PLAIN, placed={inside_path: host_path}))


def test_a_child_that_fails_before_it_is_named_is_reaped(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process between is slow to say who the child is, as on a busy machine."""
    hand_over = socket.send_fds

    def late(*arguments: Any) -> int:
        time.sleep(0.2)
        return hand_over(*arguments)

    def task() -> list[object]:
        become_zygote()
        try:
            fork_confined(full, replace(PLAIN, placed={"/usr/no-such-folder/x": "/etc/passwd"}), nothing, [])
        except SandboxError as error:
            return [str(error), own_children()]
        return ["confined", own_children()]

    monkeypatch.setattr(socket, "send_fds", late)
    reason, children = in_fork(task)
    assert "cannot be placed" in reason
    assert children == []


def test_a_child_that_dies_while_it_is_confined_is_an_error(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the machine runs out of memory."""
    monkeypatch.setattr(privileges, "reset_signals", lambda: os._exit(NOT_CONFINED))
    with pytest.raises(AssertionError, match="SandboxError the child ended while it was being confined"):
        look(full, nothing)


def test_nothing_is_left_on_the_host(rung: str, open_folder: Path) -> None:
    def task() -> list[object]:
        tempfile.tempdir = str(open_folder)
        become_zygote()
        mounts, files = Path("/proc/self/mountinfo").read_text(), open_files()
        for _ in range(20):
            assert fork_confined(rung, PLAIN, nothing, []).wait() == 0
        return [
            Path("/proc/self/mountinfo").read_text() == mounts,
            open_files() == files,
            own_children(),
            list(open_folder.iterdir()) == [],
        ]

    assert in_fork(task) == [True, True, [], True]


def leaving_one(written: int, leave_group: bool) -> None:
    """End, while a process that was started runs on."""
    if os.fork() == 0:
        if leave_group:
            os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.write(written, b"r")
        sleep()


def test_what_a_child_has_started_ends_with_it(rung: str, user: int | None) -> None:
    def task() -> list[object]:
        become_zygote()
        heard, written = os.pipe()
        living = fork_confined(rung, PLAIN, sleep, [])
        child = fork_confined(rung, PLAIN, lambda: leaving_one(written, False), [written])
        status = child.wait()
        os.close(written)
        # the other process' end of the pipe: ready, or killed before it was
        ended = select.select([heard], [], [], 5)[0] and os.read(heard, 1) in (b"", b"r")
        ended = ended and bool(select.select([heard], [], [], 5)[0]) and os.read(heard, 1) == b""
        reaped = end_strays([living])
        found = [status, ended, reaped == (0 if rung.startswith("full") else 1), own_children() == [living.pid]]
        living.kill()
        return [*found, living.wait()]

    assert in_fork(task, user) == [0, True, True, True, -signal.SIGKILL]


def test_the_process_group_cannot_be_left_without_a_namespace(confined: str) -> None:
    def probe() -> list[str]:
        pid = os.fork()
        if pid == 0:
            os._exit(10 * (outcome(os.setsid) == "EPERM") + (outcome(os.setpgid, 0, 0) == "EPERM"))
        return [str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))]

    assert look(confined, probe) == ["11"]


def test_strays_of_trusted_students_are_ended_too() -> None:
    def task() -> list[object]:
        become_zygote()
        heard, written = os.pipe()
        living = fork_confined("none", PLAIN, sleep, [])
        assert fork_confined("none", PLAIN, lambda: leaving_one(written, True), [written]).wait() == 0
        os.read(heard, 1)
        found = [len(own_children()), end_strays([living]), own_children() == [living.pid]]
        living.kill()
        return [*found, living.wait()]

    assert in_fork(task) == [2, 1, True, -signal.SIGKILL]


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
