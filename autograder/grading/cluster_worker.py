"""Inside a Dask worker: keeps a grading process beside it (`cluster_grader`) and hands it one submission at a time.

However many threads the worker has, one submission is graded at a time: give each core a worker process with one thread.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

from autograder.grading.start import PRIVATE
from autograder.grading.versions import differences, here

_MODULE = "autograder.grading.cluster_grader"

#: A grading process that is lost (too little memory, somebody's kill) is started again for the same submission.
_TRIES = 2

_END_SECONDS = 2.0

_one_at_a_time = threading.Lock()
_current: _Grader | None = None


class _Lost(Exception):
    """The grading process is gone, or its fork server."""


class _Grader:
    """A grading process that has its brief. Raises _Lost when it ends while it is asked."""

    def __init__(self, brief: bytes, folder: Path) -> None:
        self.brief, self._folder = brief, folder
        mine, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(theirs.fileno()), str(folder)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        theirs.close()
        self._connection: Connection[Any, Any] = Connection(mine.detach())
        self.said = self._ask(brief)

    def grade(self, job: bytes) -> dict[str, Any]:
        """What `workers.graded` says of the job."""
        if "error" in self.said:
            return {"unfit": self.said["error"]}
        said = self._ask(job)
        if said.get("gone"):
            raise _Lost(said["error"])
        return said

    def _ask(self, data: bytes) -> dict[str, Any]:
        try:
            self._connection.send_bytes(data)
            said: dict[str, Any] = self._connection.recv()
        except (EOFError, OSError):
            raise _Lost("the grading process died: was there too little memory?") from None
        return said

    def close(self) -> None:
        self._connection.close()  # it ends at that, unless it is in the middle of something, and its fork server with it
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder / PRIVATE, ignore_errors=True)


def grade(versions: Mapping[str, str], brief: bytes, job: bytes) -> dict[str, Any]:
    """What `workers.graded` says of a packed job; {"unfit": why} where this machine must not grade it."""
    if unlike := differences(here(), versions):
        return {"unfit": f"it has {unlike}: install the same versions there"}
    why = ""
    with _one_at_a_time:
        for _ in range(_TRIES):
            try:
                return _grader(brief).grade(job)
            except _Lost as error:
                why = str(error)
                close()
    return {"error": why}


def describe() -> dict[str, Any]:
    """Versions and sandbox of this machine, found in a process without threads."""
    out = subprocess.run([sys.executable, "-m", _MODULE, "describe"], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(out.stdout)
    return found


def close() -> None:
    """End the grading process, if there is one."""
    global _current
    grader, _current = _current, None
    if grader is not None:
        grader.close()


def _grader(brief: bytes) -> _Grader:
    """The one that has this brief; there is never more than one."""
    global _current
    if _current is None or _current.brief != brief:
        close()
        _current = _Grader(brief, _folder())
    return _current


def _folder() -> Path:
    """The worker's own folder, which Dask clears away; runners, who are nobody, have to get through it."""
    folder = Path(get_worker().local_directory)
    folder.chmod(0o711)
    return folder


class GraderPlugin(WorkerPlugin):
    """The grading process ends when the worker closes, or when the run that registered this is over."""

    name = "autograder"
    idempotent = True

    def teardown(self, worker: Any) -> None:
        close()
