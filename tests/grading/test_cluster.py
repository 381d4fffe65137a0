"""A class graded on a Dask cluster: real scheduler, real workers; machines die, hang and join, and no mark changes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from autograder.cli import app
from autograder.grading import engine
from autograder.grading.assignment import read_assignment
from autograder.grading.cluster_grader import Brief, packed, unpacked
from autograder.grading.results import as_json
from autograder.grading.secret import course_key, hidden_seeds
from autograder.grading.store import Store, StoreError
from autograder.publish.light import NAME, gradebook_marks, left_behind, make_light_course, submit_light

pytest.importorskip("distributed", reason="needs Dask: pip install -e '.[cluster]'")
from autograder.grading import cluster

pytestmark = [pytest.mark.xdist_group("cluster"), pytest.mark.sandbox]

COUNT = 12
#: A worker from which the scheduler has heard nothing for so long is taken for lost; Dask's own value is five minutes.
LOST_SECONDS = 4


class Machines:
    """A scheduler and worker processes on this machine's loopback, each in a session of its own, all ended at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        arguments = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
        without = "sys.modules['autograder'] = None"  # a scheduler needs Dask alone
        self._start("distributed.cli.dask_scheduler", *arguments, program=without)
        self.address = self._said("distributed.cli.dask_scheduler", r"Scheduler at:\s+(tcp://\S+)")

    def worker(self, program: str = "", **environment: str) -> subprocess.Popen[bytes]:
        """A worker process with one thread; `program` runs before Dask's own."""
        return self._start(
            "distributed.cli.dask_worker",
            *(self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60"),
            *("--local-directory", str(self._folder)),
            program=program,
            **environment,
        )

    def _start(self, module: str, *arguments: str, program: str = "", **environment: str) -> subprocess.Popen[bytes]:
        run = f"import sys, runpy\n{program}\nrunpy.run_module({module!r}, run_name='__main__')"
        # Dask gives a dead worker's jobs to others by itself, three times; after that it is up to the coordinator
        lost = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{LOST_SECONDS}s"}
        lost["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"
        with (self._folder / f"{module}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", run, *arguments],
                env={**os.environ, **lost, **environment},
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        self._started.append(process)
        return process

    def _said(self, module: str, pattern: str) -> str:
        log, deadline = self._folder / f"{module}.log", time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := re.search(pattern, log.read_text()):
                return found[1]
            time.sleep(0.1)
        raise AssertionError(log.read_text())

    def close(self) -> None:
        for process in self._started:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = Machines(tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def course(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Graded on this machine: what any cluster has to find as well."""
    folder = tmp_path_factory.mktemp("cluster")
    make_light_course(root, folder)
    submit_light(root, folder, COUNT)
    course_key(folder / "course")  # cases follow from it: copies of the course ask the same
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def fresh(course: Path, tmp_path: Path) -> Path:
    """The same course, not graded."""
    skip = shutil.ignore_patterns(".grading", "autograded", "feedback", "gradebook.db")
    return Path(shutil.copytree(course, tmp_path / "course", ignore=skip))


def command(folder: Path, address: str) -> list[str]:
    place = ["--executor", "dask", "--scheduler", address]
    return [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(folder), *place]


def grade(folder: Path, address: str, during: Callable[[int], None] = lambda _: None, graded_before: int = 0) -> None:
    """Grade on the cluster; `during` is called with the number of submissions graded so far."""
    with subprocess.Popen(
        [*command(folder, address), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        graded = graded_before
        for line in run.stdout:
            if json.loads(line)["event"] == "graded":
                graded += 1
                during(graded)
        assert run.wait(60) == 0, run.stderr.read()
    assert graded == COUNT


def stopped_by_ctrl_c(folder: Path, address: str) -> int:
    """Grade until two submissions are there, then press Ctrl-C; how many were recorded in the end."""
    heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with subprocess.Popen(
        command(folder, address), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as run:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and run.poll() is None and recorded(folder) < 2:
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 1, err
    assert "Traceback" not in out + err
    assert "run the same command to go on" in " ".join(out.split())
    return recorded(folder)


def recorded(folder: Path) -> int:
    if not (folder / engine.STORE).exists():
        return 0
    with contextlib.suppress(StoreError), Store(folder / engine.STORE) as store:
        return sum(bool(store.attempts(NAME, f"student{number:03d}")) for number in range(COUNT))
    return 0


def verdicts(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All that is said of each student's exercises, and nothing about time."""
    found = {}
    with Store(folder / engine.STORE) as store:
        for number in range(COUNT):
            student = f"student{number:03d}"
            (attempt,) = store.attempts(NAME, student)  # once, whatever happened on the way
            assert attempt.published
            exercises = as_json(store.load(attempt)[0])["exercises"]
            found[student] = [timeless(one) for one in exercises]
    return found


def timeless(exercise: dict[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in exercise["data"].items() if name != "seconds"}
    text = re.sub(r"[\d.]+ m?s\b", "", exercise["text"])
    return {**exercise, "data": data, "text": text, "seconds": 0, "html": ""}  # the page says what the text says


def same_as_here(folder: Path, course: Path) -> bool:
    return verdicts(folder) == verdicts(course) and gradebook_marks(folder) == gradebook_marks(course)


def graders(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A worker's grading process, its fork server, and what that has forked."""
    return psutil.Process(worker.pid).children(recursive=True)


def idle(workers: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Do all grading processes end soon?"""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and any(graders(one) for one in workers):
        time.sleep(0.1)
    return not any(graders(one) for one in workers)


def test_a_cluster_finds_what_one_machine_finds_and_keeps_nothing_running(
    machines: Machines, fresh: Path, course: Path
) -> None:
    workers = [machines.worker(), machines.worker()]
    before = stopped_by_ctrl_c(fresh, machines.address)
    assert 2 <= before < COUNT
    assert idle(workers), "after Ctrl-C too, nothing goes on"
    seen: list[int] = []

    def disturb(graded: int) -> None:
        seen.append(sum(bool(graders(one)) for one in workers))
        if graded == before + 1:  # a grading process that is lost, for want of memory perhaps, is started again
            next(found for one in workers if (found := graders(one)))[0].kill()

    grade(fresh, machines.address, disturb, before)
    assert same_as_here(fresh, course)
    assert max(seen) == 2, "both workers have a grading process"
    assert idle(workers)
    assert left_behind(fresh) == []


def test_a_killed_worker_and_one_that_hangs_cost_nothing_when_another_joins(
    machines: Machines, fresh: Path, course: Path
) -> None:
    dies, hangs = machines.worker(), machines.worker()

    def disturb(graded: int) -> None:
        if graded == 2:
            dies.send_signal(signal.SIGKILL)
        elif graded == 4:
            machines.worker()
            hangs.send_signal(signal.SIGSTOP)  # its connection stays open, and nothing comes any more

    grade(fresh, machines.address, disturb)
    assert dies.poll() == -signal.SIGKILL
    assert psutil.Process(hangs.pid).status() == psutil.STATUS_STOPPED
    assert same_as_here(fresh, course)


def test_neither_key_nor_name_travels_and_seeds_are_those_of_one_submission(course: Path) -> None:
    key = course_key(course / "course")
    assignment = read_assignment(course / "release", NAME)
    place = engine.Course(course, "", "")
    job = engine._Reader(place, assignment).job("student003", "fork")
    nameless = dataclasses.replace(job, submission=dataclasses.replace(job.submission, student=""))
    brief = Brief(NAME, "release", assignment.digest, engine.Settings())
    for sent in (packed(nameless), packed(brief)):
        plain = zlib.decompress(sent)
        assert key not in plain
        assert key.hex().encode() not in plain
        assert b"student003" not in plain
    assert unpacked(packed(job)).seeds == hidden_seeds(key, NAME, assignment.exercises, job.submission.digest)


# --- what cannot work is told in one line ----------------------------------------------------------------------------


def refused(folder: Path, address: str, before: str = "", *more: str) -> str:
    """The one line on stderr; `before` is run first in the process."""
    run = f"{before}\nfrom autograder.cli import main; main()"
    arguments = [sys.executable, "-c", run, *command(folder, address)[3:], *more]
    out = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert out.returncode == 2, out.stderr
    assert "Traceback" not in out.stderr
    said = " ".join(out.stderr.split())
    assert said.startswith("autograder: "), said
    assert not (folder / "autograded").exists()
    return said


HURRY = "import autograder.grading.cluster as c; c._CONNECT_SECONDS = c._PATIENCE_SECONDS = 1.0"


def test_a_cluster_that_is_not_there_is_told(fresh: Path) -> None:
    assert "no scheduler answers at tcp://127.0.0.1:9" in refused(fresh, "tcp://127.0.0.1:9", HURRY)
    without = refused(fresh, "tcp://127.0.0.1:9", "import sys; sys.modules['distributed'] = None")
    assert "pip install -e '.[cluster]'" in without


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("gopher://nowhere", "gopher://nowhere is no scheduler's address"),
        ("host:8786", "give one such as tcp://host:8786"),
        ("tls://host:8786", "tls needs certificates"),
    ],
)
def test_an_address_that_cannot_be_one_is_told(address: str, says: str) -> None:
    with pytest.raises(cluster.ClusterError, match=re.escape(says)):
        cluster._check(address)


def test_options_that_do_not_go_together_are_refused(course: Path) -> None:
    out = CliRunner().invoke(app, ["grade", NAME, "--course", str(course), "--executor", "dask"])
    assert out.exit_code == 2
    assert "--executor dask and --scheduler ADDRESS belong together" in out.stderr
    trusting = engine.Options(scheduler="tcp://127.0.0.1:9", trust_students=True)
    with pytest.raises(engine.GradingError, match="student code would reach the cluster"):
        next(engine.grade_class(engine.Course(course, "sqlite://"), NAME, options=trusting))


def test_workers_that_cannot_grade_alike_are_refused(
    machines: Machines, fresh: Path, root: Path, tmp_path: Path
) -> None:
    assert "has had no workers for 1 s: start some with dask worker" in refused(fresh, machines.address, HURRY)
    bare = machines.worker("sys.modules['autograder'] = None")
    assert "install this package there" in refused(fresh, machines.address)
    bare.kill()
    bare.wait()
    for package in ("autograder", "utils"):
        shutil.copytree(root / package, tmp_path / "other" / package)
    with (tmp_path / "other" / "autograder" / "verdict.py").open("a") as file:
        file.write("# another version\n")
    machines.worker(PYTHONPATH=str(tmp_path / "other"))
    time.sleep(0.5)
    assert re.search(
        r"worker tcp://\S+ has autograder \w{12} and not \w{12}: install the same", refused(fresh, machines.address)
    )
