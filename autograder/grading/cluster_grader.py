"""On a machine of a cluster: a process that grades one submission after the other, with a fork server of its own.

A Dask worker has threads, and neither forks nor references belong into a process with threads. So each worker process
keeps one of these beside it (`cluster_worker`), started by a fresh interpreter, and speaks with it through a socket that
it inherits. It holds no key and no student's name; it ends when the worker does.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import sys
import zlib
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.grading.start import started

if TYPE_CHECKING:
    from autograder.grading.conduct import Conductor, Settings
    from autograder.grading.pool import Zygote


@dataclass(frozen=True)
class Brief:
    """What a grader has to know before its first submission. `release`: the release notebook's JSON text; `digest`: the
    assignment's, which that text has to give here as well."""

    assignment: str
    release: str
    digest: str
    settings: Settings


def packed(what: object) -> bytes:
    """As it travels."""
    return zlib.compress(pickle.dumps(what), 1)


def unpacked(data: bytes) -> Any:
    return pickle.loads(zlib.decompress(data))


def main(descriptor: int, folder: Path) -> None:
    """Take a `Brief`, then `Job`s, all of them packed, until the connection closes. `folder`: for the staged package."""
    connection: Connection[Any, Any] = Connection(descriptor)
    with contextlib.suppress(EOFError, OSError), started(folder) as zygote:
        try:
            conductor = _conductor(zygote, unpacked(connection.recv_bytes()))
        except Exception as error:
            connection.send({"error": str(error)})
            return
        connection.send({"rung": conductor.rung})
        from autograder.grading.workers import graded

        while True:
            connection.send(graded(conductor, unpacked(connection.recv_bytes())))


def _conductor(zygote: Zygote, brief: Brief) -> Conductor:
    from autograder.grading.assignment import assignment_from
    from autograder.grading.conduct import Conductor
    from autograder.grading.ready import make_ready
    from autograder.grading.sandbox import SandboxError, offered

    offer = offered()
    if not offer.rung:
        raise SandboxError(f"it offers no sandbox ({offer.remedy})")
    assignment = assignment_from(brief.release, brief.assignment)
    if assignment.digest != brief.digest:
        raise ValueError("it reads the release otherwise: install the same versions there")
    make_ready(zygote, assignment, offer.rung)
    return Conductor(assignment, zygote.connect(), offer.rung, brief.settings)


def describe() -> None:
    """Print what this machine grades with, as JSON, for the coordinator to compare."""
    from autograder.grading.sandbox import offered
    from autograder.grading.versions import here

    offer = offered()
    print(json.dumps({"versions": here(), "rung": offer.rung, "remedy": offer.remedy}))


if __name__ == "__main__":
    if sys.argv[1] == "describe":
        describe()
    else:
        main(int(sys.argv[1]), Path(sys.argv[2]))
