"""Grade on an existing Dask cluster: the coordinator keeps key, store and gradebook; workers get one submission at a time.

What travels to a worker: the release notebook, one submission without its student's name, and the seeds of that
submission's hidden cases. The course key stays here. There the same engine runs, in a sandbox (`cluster_grader`).
Nothing is shared but the network, so machines may come and go: what a lost one was grading, another one grades.
"""

from __future__ import annotations

import logging
import pickle
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

import nbformat

from autograder.grading.assignment import Assignment
from autograder.grading.cluster_grader import Brief, packed
from autograder.grading.conduct import Settings
from autograder.grading.sandbox import NAMESPACED, RUNGS
from autograder.grading.versions import differences, here
from autograder.grading.workers import Done, Job, WorkerError, done

try:
    from distributed import Client, Future, KilledWorker, Security
    from distributed.comm.addressing import parse_address
    from distributed.comm.registry import get_backend

    from autograder.grading import cluster_worker
except ModuleNotFoundError as error:
    raise ImportError(
        "grading on a cluster needs Dask: pip install -e '.[cluster]', or grade here without --executor dask"
    ) from error

_CONNECT_SECONDS = 10.0
#: For workers to appear, at the start and after the last one has gone, and to say what they have.
_PATIENCE_SECONDS = 60.0
#: For a result to arrive once it is there; then its worker is taken for lost, and Dask asks another one.
_FETCH_SECONDS = 60.0
#: How often Dask may give up a job because its workers died (by default after three deaths) before the run ends.
_LOSSES = 5
#: Jobs given for each worker: one that is graded and one that waits there, so that no worker waits for the network.
_AHEAD = 2


class ClusterError(Exception):
    """The cluster cannot be used; the message says why and what to do, in one line."""


class Cluster:
    """An `Executor` on a Dask cluster. Get one from `connected`. `rung`: the weakest sandbox among the workers."""

    def __init__(self, client: Client, address: str, assignment: Assignment, settings: Settings, kernel: bool) -> None:
        self._client, self._address, self._kernel = client, address, kernel
        brief = Brief(assignment.name, nbformat.writes(assignment.notebook), assignment.digest, settings)
        self._brief = packed(brief)
        self._jobs: dict[Future[Any], Job] = {}
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        self._lost: Counter[str] = Counter()
        self._alone_since: float | None = None
        self.rung = self._inspect()

    @property
    def free(self) -> int:
        return max(0, _AHEAD * len(self._addresses()) - len(self._jobs))

    @property
    def busy(self) -> list[str]:
        return [job.submission.student for job in self._jobs.values()]

    def give(self, job: Job) -> None:
        nameless = replace(job, submission=replace(job.submission, student=""))
        future = self._call(cluster_worker.grade, here(), self._brief, packed(nameless))
        self._jobs[future] = job
        future.add_done_callback(self._ended.put)

    def finished(self) -> Iterator[Done]:
        """What has been finished; waits until something is. Raises WorkerError and ClusterError."""
        while self._jobs:
            try:
                future = self._ended.get(timeout=1.0)
            except Empty:
                self._look_after()
                continue
            said = self._said(future)
            if said is not None:
                yield _done(self._jobs.pop(future), said)
                return

    def close(self) -> None:
        """Give up what is still being graded, and let the workers end their grading processes."""
        for future in self._jobs:
            future.cancel()
        self._jobs.clear()
        if self._client.status == "running":
            self._client.unregister_worker_plugin(cluster_worker.GraderPlugin.name)

    # --- the workers ------------------------------------------------------------------------------------------------

    def _addresses(self) -> list[str]:
        return list(self._client.scheduler_info()["workers"])

    def _inspect(self) -> str:
        """Ask every worker what it grades with. Raises ClusterError unless all that answer can grade, and grade alike."""
        asked = {one: self._call(cluster_worker.describe, worker=one) for one in self._wait_for_workers()}
        deadline, rungs = time.monotonic() + _PATIENCE_SECONDS, []
        for address, future in asked.items():
            try:
                found = future.result(timeout=max(0.0, deadline - time.monotonic()))
            except (TimeoutError, CancelledError, KilledWorker):
                continue  # it is busy or lost; should it grade later, it compares versions itself
            except Exception as error:
                raise ClusterError(
                    f"worker {address} cannot grade ({_line(error)}): install this package there as it is here"
                ) from None
            rungs.append(self._checked(address, found))
        if not rungs:
            raise ClusterError(
                f"no worker at {self._address} answered within {_PATIENCE_SECONDS:g} s: look at their logs"
            )
        return max(rungs, key=RUNGS.index)

    def _checked(self, address: str, found: Mapping[str, Any]) -> str:
        """The rung of a worker that may grade."""
        if unlike := differences(found["versions"], here()):
            raise ClusterError(f"worker {address} has {unlike}: install the same versions there as here")
        if not found["rung"]:
            raise ClusterError(f"worker {address} offers no sandbox ({found['remedy']}): grade elsewhere")
        if self._kernel and found["rung"] not in NAMESPACED:
            raise ClusterError(f"worker {address}: a Jupyter kernel needs sockets, which its sandbox refuses")
        return str(found["rung"])

    def _wait_for_workers(self) -> list[str]:
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE_SECONDS)
        except TimeoutError:
            raise ClusterError(self._nobody()) from None
        return self._addresses()

    def _nobody(self) -> str:
        return (
            f"{self._address} has had no workers for {_PATIENCE_SECONDS:g} s: start some with "
            f"dask worker {self._address} --nthreads 1; what is graded is kept, and the same command goes on"
        )

    def _look_after(self) -> None:
        """While nothing comes back: is there still somebody to wait for?"""
        if self._client.status != "running":
            raise ClusterError(self._gone())
        try:
            somebody = bool(self._addresses())
        except OSError:
            raise ClusterError(self._gone()) from None
        now = time.monotonic()
        self._alone_since = None if somebody else self._alone_since or now
        if self._alone_since is not None and now - self._alone_since > _PATIENCE_SECONDS:
            raise ClusterError(self._nobody())

    def _gone(self) -> str:
        return f"the scheduler at {self._address} is gone: start it again; what is graded is kept, and the same command goes on"

    # --- calls and answers ------------------------------------------------------------------------------------------

    def _call(self, function: Callable[..., Any], *arguments: object, worker: str | None = None) -> Future[Any]:
        """Have `function` called by a worker, a certain one if given. The scheduler need not have this package: all that
        it sees is `pickle.loads`, and bytes."""
        places = {"workers": [worker], "allow_other_workers": False, "priority": 1} if worker else {}
        key = f"autograder-{uuid.uuid4().hex}"  # no student's name
        return self._client.submit(
            pickle.loads, pickle.dumps(_Call(function, arguments)), key=key, pure=False, **places
        )

    def _said(self, future: Future[Any]) -> dict[str, Any] | None:
        """A worker's answer; None when it was lost on its way and is being made again."""
        student = self._jobs[future].submission.student
        try:
            said: dict[str, Any] = future.result(timeout=_FETCH_SECONDS)
        except TimeoutError:
            future.add_done_callback(self._ended.put)
            return None
        except CancelledError:
            raise ClusterError(self._gone()) from None
        except KilledWorker:
            self._once_more(future)
            return None
        except Exception as error:
            raise WorkerError(f"{student}: a worker could not grade this ({_line(error)})") from None
        if "unfit" in said:
            raise ClusterError(f"a worker cannot grade: {said['unfit']}; end it and run the same command to go on")
        if "error" in said:
            raise WorkerError(f"{student}: {said['error']}")
        return said

    def _once_more(self, future: Future[Any]) -> None:
        """Workers have died with this job in hand, of their own or because of it: Dask does not try it any more."""
        job = self._jobs.pop(future)
        student = job.submission.student
        self._lost[student] += 1
        if self._lost[student] >= _LOSSES:
            raise WorkerError(f"{student}: worker after worker died while it graded this: look at their logs")
        self.give(job)


class _Call:
    """Whoever unpickles this makes the call and has its result."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
        self._what = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self._what


@contextmanager
def connected(address: str, assignment: Assignment, settings: Settings, kernel: bool) -> Iterator[Cluster]:
    """Connect to the scheduler at `address` (such as tcp://host:8786 or tls://host:8786, Dask's own settings saying with
    which certificates). `kernel`: will submissions be run in Jupyter kernels? Raises ClusterError."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said in one line, once
    _check(address)
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError):
        raise ClusterError(
            f"no scheduler answers at {address}: start one with dask scheduler, or correct --scheduler"
        ) from None
    with client:
        cluster = Cluster(client, address, assignment, settings, kernel)
        client.register_plugin(cluster_worker.GraderPlugin())
        try:
            yield cluster
        finally:
            cluster.close()


def _check(address: str) -> None:
    """Dask would find it as well, but in many lines."""
    try:
        scheme = parse_address(address, strict=True)[0]
        get_backend(scheme)
    except ValueError as error:
        raise ClusterError(
            f"{address} is no scheduler's address ({_line(error)}): give one such as tcp://host:8786"
        ) from None
    if scheme == "tls" and not Security().get_connection_args("client").get("ssl_context"):
        raise ClusterError("tls needs certificates: name them in DASK_DISTRIBUTED__COMM__TLS__CA_FILE and its like")


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _done(job: Job, said: Mapping[str, Any]) -> Done:
    """With the student's name, which has not travelled."""
    found = done(job, said)
    return replace(found, result=replace(found.result, student=job.submission.student))
