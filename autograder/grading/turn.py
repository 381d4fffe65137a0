"""One grading run of an assignment at a time: a second one waits for its turn, and then finds what the first has done."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autograder.grading.start import private

_ASK_AGAIN_SECONDS = 0.2


class Turn:
    """A lock on a file; whatever ends this process ends the lock, so none is ever left behind."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def taken(self) -> bool:
        """Take it if nobody has it. Where the file system knows no locks it is always ours."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def wait(self) -> None:
        """Until it is ours. An interrupt ends it."""
        while not self.taken():
            time.sleep(_ASK_AGAIN_SECONDS)


@contextmanager
def turn(root: Path, assignment: str) -> Iterator[Turn]:
    """The turn at `assignment` in the course in `root`; not taken yet. Raises OSError when `root` cannot be written."""
    descriptor = os.open(private(root) / f"{assignment}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield Turn(descriptor)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: forks hold the file open, too
        os.close(descriptor)
