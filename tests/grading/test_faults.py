"""What machines do to a grading run: full and locked disks, clocks, kills, other runs. A clear line, nothing lost, go on.

Elsewhere: kills at every step of recording (`test_records`, `benchmarks/kills.py`), damaged, foreign and newer stores
(`test_records`, `test_years`), files that cannot be read (`tests/malformed`), memory and fork bombs of submissions
(`tests/attacks`, `tests/sandbox`), machines of a cluster (`test_cluster`).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from test_records import ASSIGNMENT, assignment, graded, named
from test_years import FIRST_FORMAT

from autograder.grading import engine, gradebook, store
from autograder.grading.gradebook import GradebookError, open_gradebook
from autograder.grading.store import Store, StoreError
from autograder.publish.light import NAME, expected_marks, gradebook_marks, left_behind, make_light_course, submit_light

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.sandbox]

COUNT = 6
Marks = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Marks]:
    folder = tmp_path_factory.mktemp("faults")
    make_light_course(root, folder)
    styles = submit_light(root, folder, COUNT)
    return folder, {name: expected_marks(style) for name, style in styles.items()}


@pytest.fixture
def fresh(made: tuple[Path, Marks], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "course"))


def command(folder: Path, *more: str, before: str = "") -> list[str]:
    """`autograder grade`, one submission at a time; `before` is run first in the process."""
    run = f"{before}\nfrom autograder.cli import main; main()"
    return [sys.executable, "-c", run, "grade", NAME, "--course", str(folder), "--json", "--jobs", "1", *more]


def events(out: str) -> list[str]:
    return [json.loads(line)["event"] for line in out.splitlines()]


def interrupted(folder: Path, fault: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str]:
    """Grade, with a fault as soon as one submission is graded: how many were, and the one line on stderr."""
    with subprocess.Popen(command(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        count = 0
        for line in run.stdout:
            if json.loads(line)["event"] == "graded":
                count += 1
                if count == 1:
                    fault(run)
        said = " ".join(run.stderr.read().split())
    assert run.returncode not in (0, -9), said
    assert said.startswith("autograder: "), said
    assert "Traceback" not in said
    return count, said


def complete(folder: Path, due: Marks) -> bool:
    """Are marks, gradebook and pages those of a run that nobody disturbed, each once?"""
    with Store(folder / engine.STORE) as opened:
        assert opened.pending(NAME) == []
        found = {name: opened.latest(NAME, name) for name in due}
        assert {len(opened.attempts(NAME, name)) for name in due} == {1}
    assert left_behind(folder) == []
    pages = {path.parent.parent.name for path in (folder / "feedback").glob(f"*/{NAME}/{NAME}.html")}
    return {name: one.marks() for name, one in found.items() if one} == due == gradebook_marks(folder) and pages == {
        *due
    }


def again(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder), capture_output=True, text=True, timeout=300, check=True)


# --- processes -------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_and_a_fork_server_that_dies_end_the_run_and_nothing_else(
    fresh: Path, made: tuple[Path, Marks]
) -> None:
    def worker_runs_out_of_memory(run: subprocess.Popen[str]) -> None:
        _, *workers = sorted(psutil.Process(run.pid).children(), key=lambda one: "zygote" not in str(one.cmdline()))
        workers[0].kill()  # as the kernel does

    def fork_server_is_killed(run: subprocess.Popen[str]) -> None:
        next(one for one in psutil.Process(run.pid).children() if "zygote" in str(one.cmdline())).kill()

    count, said = interrupted(fresh, worker_runs_out_of_memory)
    assert 1 <= count < COUNT
    assert "if it was for too little memory, give fewer --jobs" in said
    more, said = interrupted(fresh, fork_server_is_killed)
    assert count + more < COUNT
    assert "the grading process is gone" in said
    assert "what is graded is kept, and the same command goes on" in said
    assert events(again(fresh).stdout).count("unchanged") == count + more
    assert complete(fresh, made[1])


def test_a_second_run_waits_for_the_first_and_finds_its_work_done(fresh: Path, made: tuple[Path, Marks]) -> None:
    runs = [subprocess.Popen(command(fresh), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted((events(run.communicate(timeout=300)[0]) for run in runs), key=lambda one: one[0] == "waiting")
    assert [run.returncode for run in runs] == [0, 0]
    assert said == [["start"] + ["graded"] * COUNT, ["waiting", "start"] + ["unchanged"] * COUNT]
    assert complete(fresh, made[1])


# --- disks -----------------------------------------------------------------------------------------------------------

#: Run in a mount namespace of its own: the course on a small disk that fills up, is locked, and is mended.
DISKS = """
import json, shutil, subprocess, sys
from pathlib import Path
course, disk = Path(sys.argv[1]), Path(sys.argv[2])
mount = lambda *options: subprocess.run(["mount", *options, str(disk)], check=True)
mount("-t", "tmpfs", "-o", "size=24m", "tmpfs")
shutil.copytree(course, disk, dirs_exist_ok=True)
ballast, found = disk / "ballast", {}

def fill():
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

def grade(name, on_first=lambda: None):
    with subprocess.Popen(json.loads(sys.argv[3]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        events = []
        for line in run.stdout:
            events.append(json.loads(line)["event"])
            if events.count("graded") == 1:
                on_first()
        found[name] = {"said": " ".join(run.stderr.read().split()), "events": events}
    found[name]["status"] = run.returncode

grade("full", fill)
ballast.unlink()
mount("-o", "remount,ro")
grade("locked")
mount("-o", "remount,rw")
grade("mended")
shutil.copytree(disk, course, dirs_exist_ok=True)
print(json.dumps(found))
"""


def may_mount() -> bool:
    trial = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return shutil.which("unshare") is not None and subprocess.run(trial, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="needs a mount namespace of its own (root)")
def test_a_full_and_a_locked_disk_are_told_and_cost_nothing(
    fresh: Path, made: tuple[Path, Marks], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    program = ["unshare", "-m", sys.executable, "-c", DISKS, str(fresh), str(disk), json.dumps(command(disk))]
    out = subprocess.run(program, capture_output=True, text=True, timeout=400)
    assert out.returncode == 0, out.stderr
    found = json.loads(out.stdout)
    for name, words in {"full": r"disk is full|No space left", "locked": "Read-only file system"}.items():
        assert found[name]["status"] in (2, 3), found
        assert pytest.approx(1) == len(found[name]["said"].split("autograder: ")) - 1, found
        assert any(word in found[name]["said"] for word in words.split("|")), found
        assert "Traceback" not in found[name]["said"]
    assert 1 <= found["full"]["events"].count("graded") < COUNT
    assert found["mended"]["status"] == 0
    assert "graded" in found["mended"]["events"]
    assert complete(fresh, made[1])


# --- databases that others hold ---------------------------------------------------------------------------------------


@contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program is in the middle of writing."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


def test_a_gradebook_that_another_program_holds_is_waited_for_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gradebook.db"
    _, result = graded("eps_inside")
    with open_gradebook(f"sqlite:///{path}?timeout=0.1") as book:
        book.write(assignment(), named(result, "before"))
        with held(path) as other:
            threading.Timer(1.0, other.rollback).start()
            start = time.monotonic()
            book.write(assignment(), named(result, "waits"))
            assert time.monotonic() - start > 0.8
        monkeypatch.setattr(gradebook, "_BUSY_SECONDS", 0.5)
        with held(path), pytest.raises(GradebookError, match="another program is writing to the gradebook"):
            book.write(assignment(), named(result, "refused"))
        assert [one.id for one in book.students()] == ["before", "waits"]
        book.write(assignment(), named(result, "refused"))  # and goes on


def test_a_store_that_another_program_holds_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, result = graded("eps_inside")
    monkeypatch.setattr(store, "_BUSY_SECONDS", 0.2)
    with Store(tmp_path / "store.db") as opened:
        with (
            held(tmp_path / "store.db"),
            pytest.raises(StoreError, match=r"another process is writing to .*: wait until"),
        ):
            opened.record(result, "{}")
        assert opened.record(result, "{}") == 1


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_back_changes_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts go by their numbers; dates are for reading."""
    _, result = graded("eps_inside")
    clock = iter([f"20{year}-01-01T00:00:00.000+00:00" for year in (30, 30, 20, 20, 25)])
    monkeypatch.setattr(store, "_now", lambda: next(clock))
    with Store(tmp_path / "store.db") as opened:
        for digest in ("first", "second"):
            number = opened.record(named(result, "ada", digest=digest), "{}")
            opened.mark_published(ASSIGNMENT, "ada", number)
        opened.record(named(result, "ada", digest="third"), "{}")
        assert [one.digest for one in opened.attempts(ASSIGNMENT, "ada")] == ["first", "second", "third"]
        assert [one.digest for one in opened.pending(ASSIGNMENT)] == ["third"]
        shown = opened.published(ASSIGNMENT, "ada")
        assert shown is not None
        assert shown.digest == "second"
        assert opened.done(ASSIGNMENT, "ada", "third", result.release, result.engine) is not None


# --- upgrades --------------------------------------------------------------------------------------------------------


def as_the_first_version_wrote_it(path: Path) -> None:
    """Make a store of the first version from one of this, with the same attempts."""
    first = path.with_name("first.db")
    with closing(sqlite3.connect(first)) as database:
        database.executescript(FIRST_FORMAT)
        columns = ",".join(row[1] for row in database.execute("PRAGMA table_info(attempt)"))
        database.execute("ATTACH ? AS now", (str(path),))
        database.execute(f"INSERT INTO attempt SELECT {columns} FROM now.attempt")
        database.execute("INSERT INTO publication SELECT * FROM now.publication")
        database.commit()
    for left in path.parent.glob(f"{path.name}*"):
        left.unlink()
    os.replace(first, path)


def test_an_upgrade_grades_nothing_again_unless_marks_could_differ(fresh: Path, made: tuple[Path, Marks]) -> None:
    again(fresh)
    as_the_first_version_wrote_it(fresh / engine.STORE)
    package = command(fresh, before="import autograder; autograder.__version__ = '7.0'")
    out = subprocess.run(package, capture_output=True, text=True, check=True)
    assert events(out.stdout) == ["start"] + ["unchanged"] * COUNT
    contract = (
        "import autograder.grading.conduct as c; c.ENGINE = '7'; import autograder.grading.engine as e; e.ENGINE = '7'"
    )
    one = command(fresh, "student002", before=contract)
    out = subprocess.run(one, capture_output=True, text=True, check=True)
    assert events(out.stdout) == ["start", "graded"]
    with Store(fresh / engine.STORE) as opened:
        engines = [(one.engine, one.points) for one in opened.attempts(NAME, "student002")]
    assert engines == [("1", sum(made[1]["student002"].values())), ("7", sum(made[1]["student002"].values()))]
