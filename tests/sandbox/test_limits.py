"""Limits hold: processes, memory, file size, open files, CPU time."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest
from zygotes import PLAIN, in_fork, inside, look, outcome

from autograder.grading.sandbox import Limits, become_zygote, end_strays, fork_confined, tree_memory_mb, tree_share_mb


def bomb() -> list[object]:
    """Forks until it cannot: why it stopped, and after how many."""
    for number in range(500):
        try:
            if os.fork() == 0:
                os.closerange(0, 256)  # the answer's pipe, too: it is read to its end
                while True:
                    signal.pause()
        except OSError as error:
            return [errno.errorcode[error.errno or 0], number]
    return ["no end", 500]


def test_a_fork_bomb_is_bounded(rung: str, user: int | None) -> None:
    def task() -> list[object]:
        become_zygote()
        found = inside(rung, PLAIN, bomb)
        return [*found, end_strays([]), len(own_children())]

    reason, number, strays, left = in_fork(task, user)
    assert reason == "EAGAIN"
    if rung == "confined":
        # where all the user's processes count, those that end in the meantime make room for more
        assert number < 200
        assert strays == number
    else:
        assert number <= Limits().processes
        assert strays == 0
    assert left == 0


def own_children() -> list[str]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="utf-8") as file:
        return file.read().split()


def test_the_numbers_are_those_asked_for(rung: str) -> None:
    def probe() -> list[int]:
        kinds = (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE)
        return [number for kind in (*kinds, resource.RLIMIT_CORE) for number in resource.getrlimit(kind)]

    found = look(rung, probe, replace(PLAIN, limits=Limits(2048, 32, 3, 9, 64)))
    assert found == [2048 << 20, 2048 << 20, 3 << 20, 3 << 20, 9, 10, 64, 64, 1, 1]


def allocate(gigabytes: int) -> None:
    mmap.mmap(-1, gigabytes << 30).close()


def big_file() -> None:
    with open("big", "wb") as file:
        for _ in range(40):
            file.write(bytes(1 << 20))


def many_files() -> None:
    for _ in range(300):
        os.dup(0)


@pytest.mark.parametrize(
    ("excess", "answer"), [(lambda: allocate(20), "ENOMEM"), (big_file, "EFBIG"), (many_files, "EMFILE")]
)
def test_more_is_refused(rung: str, excess: Callable[[], None], answer: str) -> None:
    assert look(rung, lambda: outcome(excess)) == answer


def test_a_gigabyte_is_fine(rung: str) -> None:
    assert look(rung, lambda: outcome(allocate, 1)) == "ok"


def test_limits_cannot_be_raised(rung: str, user: int | None) -> None:
    def probe() -> list[str]:
        kinds = (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        found = []
        for kind in kinds:
            try:
                resource.setrlimit(kind, unlimited)
                found.append("raised")
            except (OSError, ValueError):
                found.append("refused")
        return found

    assert look(rung, probe, user=user) == ["refused"] * 4


def test_an_endless_loop_ends(rung: str) -> None:
    """After its CPU seconds; the first process of a pid namespace ignores the first signal, so a second later."""

    def task() -> int:
        become_zygote()

        def spin() -> None:
            while True:
                pass

        return fork_confined(rung, replace(PLAIN, limits=Limits(cpu_s=1)), spin, []).wait()

    assert in_fork(task) == (-signal.SIGXCPU if rung == "confined" else -signal.SIGKILL)


def test_memory_of_the_whole_tree_is_counted(rung: str) -> None:
    def grow() -> None:
        os.fork()
        os.fork()
        block = bytearray(os.urandom(1 << 20) * 30)
        os.write(ready[1], b"r")
        signal.pause()
        del block

    ready = os.pipe()

    def task() -> list[float]:
        become_zygote()
        baseline = tree_memory_mb(os.getpid(), 0.0)[0]
        child = fork_confined(rung, PLAIN, grow, [ready[1]])
        for _ in range(4):
            os.read(ready[0], 1)
        found = tree_memory_mb(child.pid, baseline)
        child.kill()
        child.wait()
        end_strays([])
        return [*found, *tree_memory_mb(child.pid, baseline)]

    size, processes, later, gone = in_fork(task)
    assert processes == 4
    assert 4 * 30 <= size <= 4 * 30 + 4 * 20
    assert (later, gone) == (0.0, 0)


def test_pages_that_forks_share_count_once() -> None:
    size = 64 * 2**20
    block = bytearray(size)
    block[::4096] = b"x" * len(block[::4096])
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            signal.pause()
        pids.append(pid)
    try:
        apart = tree_memory_mb(os.getpid(), 0.0)[0]
        shared = tree_share_mb(os.getpid())
        assert shared is not None
        assert apart - shared > 2.5 * size / 2**20
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
