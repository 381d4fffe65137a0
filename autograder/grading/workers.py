"""Processes that grade side by side: each holds a connection to the fork server and judges what comes back.

They are forked from the coordinator after the course's exercises are loaded, so that references and wrong variants are
computed once and shared. They run no student code.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import nbformat

from autograder.grading.conduct import Conductor
from autograder.grading.pool import Way, ZygoteError
from autograder.grading.results import SubmissionResult, as_json, from_json
from autograder.grading.sandbox import kernel
from autograder.grading.submission import Submission


class WorkerError(Exception):
    """A worker died or failed in a way that is not the submission's fault. The message says what happened."""


@dataclass(frozen=True)
class Job:
    """A submission to grade. `seeds`: exercise id → seed of its hidden cases. `patient`: with twice the time."""

    submission: Submission
    seeds: Mapping[str, int]
    way: Way = "fork"
    patient: bool = False


@dataclass(frozen=True)
class Done:
    """What a worker sends back. `notebook` is the rebuilt notebook's JSON text; `late`: a clock ended something."""

    job: Job
    result: SubmissionResult
    notebook: str
    late: bool


class Executor(Protocol):
    """Where submissions are graded side by side: in processes of this machine, or on a cluster."""

    @property
    def free(self) -> int:
        """How many jobs can be given now."""

    @property
    def busy(self) -> list[str]:
        """Students whose work is being graded now."""

    def give(self, job: Job) -> None: ...

    def finished(self) -> Iterator[Done]:
        """What has been finished; waits until something is. Raises WorkerError."""


class Workers:
    """A fixed number of worker processes; `make(number)` builds the Conductor in each."""

    def __init__(self, count: int, make: Callable[[int], Conductor]) -> None:
        context = multiprocessing.get_context("fork")
        self._idle: list[Connection[Any, Any]] = []
        self._busy: dict[Connection[Any, Any], Job] = {}
        self._processes = []
        for number in range(count):
            mine, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, make, number), daemon=True)
            process.start()
            theirs.close()
            self._idle.append(mine)
            self._processes.append(process)

    @property
    def free(self) -> int:
        return len(self._idle)

    @property
    def busy(self) -> list[str]:
        return [job.submission.student for job in self._busy.values()]

    def give(self, job: Job) -> None:
        connection = self._idle.pop()
        try:
            connection.send(job)
        except OSError:
            raise WorkerError(_died(job)) from None
        self._busy[connection] = job

    def finished(self) -> Iterator[Done]:
        for ready in wait(list(self._busy)):
            connection = next(one for one in self._busy if one is ready)
            job = self._busy[connection]
            try:
                said = connection.recv()
            except (EOFError, OSError):
                raise WorkerError(_died(job)) from None
            if "error" in said:
                raise WorkerError(f"{job.submission.student}: {said['error']}")
            del self._busy[connection]
            self._idle.append(connection)
            yield done(job, said)

    def close(self) -> None:
        """End all workers, finished or not."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
        for connection in (*self._idle, *self._busy):
            connection.close()


def _died(job: Job) -> str:
    return (
        f"the process that graded {job.submission.student} died: if it was for too little memory, give fewer --jobs; "
        "what is graded is kept, and the same command goes on"
    )


def _work(connection: Connection[Any, Any], make: Callable[[int], Conductor], number: int) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # and with the last worker the fork server's socket closes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    conductor = make(number)
    with contextlib.suppress(EOFError, OSError):
        while True:
            job: Job = connection.recv()
            connection.send(graded(conductor, job))


def graded(conductor: Conductor, job: Job) -> dict[str, Any]:
    """What a worker says of a job, in plain types: `done` reads it, unless there is an "error". "gone": the fork server
    is, and with another one it can be tried again."""
    try:
        result, late = conductor.like(job.patient, job.way).grade(job.submission, job.seeds)
        text = nbformat.writes(job.submission.notebook)
        return {"result": json.dumps(as_json(result)), "notebook": text, "late": late}
    except ZygoteError as error:
        return {"error": f"{error}: what is graded is kept, and the same command goes on", "gone": True}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-6)}"}


def done(job: Job, said: Mapping[str, Any]) -> Done:
    return Done(job, from_json(json.loads(said["result"])), said["notebook"], said["late"])
