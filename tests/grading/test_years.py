"""A course that runs for years: files of older versions go on, old marks stay valid."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pytest

from autograder import __version__
from autograder.grading import conduct
from autograder.grading.results import SubmissionResult, from_json
from autograder.grading.store import FORMAT, Store

#: The tables as the first version made them. Never edit: files like this exist.
FIRST_FORMAT = """
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY, assignment TEXT NOT NULL, student TEXT NOT NULL, number INTEGER NOT NULL,
    recorded TEXT NOT NULL, digest TEXT NOT NULL, release TEXT NOT NULL, engine TEXT NOT NULL, rung TEXT NOT NULL,
    points REAL NOT NULL, max_points REAL NOT NULL, result BLOB NOT NULL, outputs TEXT NOT NULL, notebook BLOB NOT NULL,
    UNIQUE (assignment, student, number)
);
CREATE TABLE publication (
    id INTEGER PRIMARY KEY, attempt INTEGER NOT NULL UNIQUE REFERENCES attempt (id), published TEXT NOT NULL
);
PRAGMA application_id = 1095193156;
PRAGMA user_version = 1;
"""

#: A result as the first version wrote it.
FIRST_RESULT: dict[str, Any] = {
    **{"student": "ada", "assignment": "light", "digest": "d1", "release": "r1", "engine": "1", "rung": "full"},
    "exercises": [
        {
            **{"exercise_id": "adam.step", "grade_id": "adam-step", "points": 2.5, "max_points": 3.0, "reason": ""},
            **{"html": "<p>✓</p>", "text": "✓", "data": {"passed": False}, "misconceptions": ["A1 eps inside"]},
            **{"waits": False, "seconds": 0.25},
        }
    ],
    **{"notes": ["renamed"], "flags": [], "seconds": 0.5, "cpu_seconds": 0.4, "peak_mb": 31.0},
    "versions": {"python": "3.11.7", "torch": "2.11.0"},
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of the first version: one attempt, published."""
    path = tmp_path / "store.db"
    packed = [zlib.compress(text.encode()) for text in (json.dumps(FIRST_RESULT), '{"cells": []}')]
    with sqlite3.connect(path) as database:
        database.executescript(FIRST_FORMAT)
        row = ("light", "ada", 1, "2026-01-01T00:00:00.000+00:00", "d1", "r1", "1", "full", 2.5, 3.0, packed[0], "{}")
        database.execute(f"INSERT INTO attempt VALUES (1{', ?' * 13})", (*row, packed[1]))
        database.execute("INSERT INTO publication VALUES (1, 1, '2026-01-01T00:00:01.000+00:00')")
    database.close()
    return path


def pragma(path: Path, name: str) -> int:
    with sqlite3.connect(path) as database:
        return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def test_a_store_of_the_first_version_goes_on_with_all_that_it_holds(old: Path) -> None:
    first = from_json({**FIRST_RESULT, "outputs": {}})
    with Store(old) as store:
        (attempt,) = store.attempts("light", "ada")
        assert (attempt.number, attempt.points, attempt.package, attempt.published) == (1, 2.5, "", True)
        assert store.load(attempt) == (first, '{"cells": []}')
        assert store.pending("light") == []
        new = SubmissionResult("ada", "light", "d2", "r1", "1", "full", first.exercises, versions=conduct.VERSIONS)
        assert store.record(new, "{}") == 2
        assert [one.package for one in store.attempts("light", "ada")] == ["", __version__]
        assert [one.published for one in store.attempts("light", "ada")] == [True, False]
    assert pragma(old, "user_version") == FORMAT
    with Store(old) as store:  # once is enough
        assert len(store.attempts("light", "ada")) == 2


def test_old_and_new_files_have_the_same_tables(old: Path, tmp_path: Path) -> None:
    columns = []
    for path in (old, tmp_path / "new.db"):
        Store(path).close()
        with sqlite3.connect(path) as database:
            tables = ("attempt", "publication")
            columns.append(
                [sorted(row[1:4] for row in database.execute(f"PRAGMA table_info({one})")) for one in tables]
            )
    assert columns[0] == columns[1]


def _open_and_die(path: Path) -> None:
    class Dying(Store):
        def _transaction(self) -> Any:
            self._db.set_trace_callback(lambda said: os.kill(os.getpid(), signal.SIGKILL) if said == "COMMIT" else None)
            return super()._transaction()

    Dying(path)


def test_a_kill_in_the_upgrade_leaves_the_old_file(old: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_open_and_die, args=(old,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert pragma(old, "user_version") == 1
    with Store(old) as store:
        assert len(store.attempts("light", "ada")) == 1


def _open(path: Path) -> None:
    with Store(path) as store:
        assert len(store.attempts("light", "ada")) == 1


def test_several_processes_may_upgrade_at_once(old: Path) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=_open, args=(old,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert pragma(old, "user_version") == FORMAT


def test_only_submission_release_and_contract_decide_whether_work_is_graded_again(old: Path) -> None:
    """Not the package's version, nor torch's: those are noted."""
    with Store(old) as store:
        assert store.done("light", "ada", "d1", "r1", "1") is not None
        assert conduct.ENGINE == "1", (
            "raised: then this test's `done` asks for another contract, and all is graded again"
        )
        assert store.done("light", "ada", "d1", "r1", "2") is None


def test_a_result_without_later_fields_gets_their_defaults() -> None:
    old_fields = {
        name: value for name, value in FIRST_RESULT.items() if name not in ("versions", "peak_mb", "cpu_seconds")
    }
    result = from_json({**old_fields, "outputs": {}})
    assert (result.versions, result.peak_mb, result.points) == ({}, 0.0, 2.5)
