"""The gradebook in PostgreSQL, and two graders of one gradebook at once. A real server from Debian's package."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from sqlalchemy import create_engine, text
from test_records import ASSIGNMENT, assignment, graded, named
from test_records_gradebook import answered, by_hand, cells, marks

from autograder.grading.gradebook import GradebookError, HumanMark, open_gradebook

pytestmark = pytest.mark.xdist_group("postgres")

#: Debian keeps the server's programs beside the path.
BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nonexistent"))
STUDENTS = 6


def as_ordinary_user(*command: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return [*command]
    nobody = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *command]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server on a socket of its own; yields the url of a database in it, {} being its name."""
    if not (BIN / "initdb").exists() or (os.getuid() == 0 and not shutil.which("setpriv")):
        pytest.skip("needs PostgreSQL (apt-get install postgresql)")
    pytest.importorskip("psycopg2", reason="needs psycopg2: pip install -e '.[postgres]'")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has 107 characters at most
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
        data = str(folder / "data")
        initdb = as_ordinary_user(
            str(BIN / "initdb"), "-D", data, "-U", "grader", "-A", "trust", "--no-sync", "-E", "UTF8"
        )
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
        settings = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", str(folder)]
        control = as_ordinary_user(str(BIN / "pg_ctl"), "-D", data, "-l", str(folder / "log"), "-w")
        subprocess.run([*control, "-o", " ".join(settings), "start"], check=True, capture_output=True, cwd=folder)
        try:
            yield f"postgresql+psycopg2://grader@/{{}}?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of its own for each test."""
    name = f"t{abs(hash(request.node.name))}"
    admin = create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.format(name)
    with admin.connect() as connection, suppress(Exception):
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def test_rows_are_those_that_sqlite_holds(url: str, tmp_path: Path) -> None:
    sqlite = f"sqlite:///{tmp_path / 'gradebook.db'}"
    rebuilt, result = graded("eps_inside")
    for where in (url, sqlite):
        with open_gradebook(where) as book:
            book.write(assignment(), result, rebuilt=rebuilt)
            book.write(assignment(), result, rebuilt=answered(rebuilt))  # a second attempt replaces the first
            by_hand(where, "eps_inside", adam_w1=(2.0, 0.5, "Good."))
            assert book.review(assignment(), "eps_inside").cells["adam-w1"] == HumanMark(2.0, 0.5, "Good.")
            assert book.standings(ASSIGNMENT)["eps_inside"].points["adam-w1"] == 2.5
            assert [one.id for one in book.students()] == ["eps_inside"]
    assert cells(url) == cells(sqlite)
    assert marks(url, "eps_inside") == marks(sqlite, "eps_inside")


def test_no_transaction_stays_open_between_submissions(url: str) -> None:
    _, result = graded("eps_inside")
    idle = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'")
    with open_gradebook(url) as book:
        book.write(assignment(), result)
        book.review(assignment(), "eps_inside")
        book.standings(ASSIGNMENT)
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.execute(idle).scalar() == 0
        engine.dispose()


def _grade_some(url: str, who: str, start: Barrier) -> None:
    """A grader: opens the gradebook when the other one does, and writes its students and one that both have."""
    _, result = graded("eps_inside")
    start.wait(60)
    with open_gradebook(url) as book:
        start.wait(60)
        for number in range(STUDENTS):
            book.write(assignment(), named(result, f"{who}{number:02d}"))
            book.write(assignment(), named(result, f"shared{number:02d}"))
            book.review(assignment(), f"{who}{number:02d}")


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_two_graders_at_once_lose_no_row_and_meet_no_lock(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Both make database, assignment, cells and students, and neither finds them when it starts."""
    where = request.getfixturevalue("url") if kind == "postgresql" else f"sqlite:///{tmp_path / 'gradebook.db'}"
    graded("eps_inside")
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    graders = [context.Process(target=_grade_some, args=(where, who, start)) for who in ("ada", "bob")]
    for grader in graders:
        grader.start()
    for grader in graders:
        grader.join(120)
    assert [grader.exitcode for grader in graders] == [0, 0]
    expected = sorted(f"{who}{number:02d}" for who in ("ada", "bob", "shared") for number in range(STUDENTS))
    with Gradebook(where) as gradebook:
        submissions = gradebook.assignment_submissions(ASSIGNMENT)
        assert sorted(one.student_id for one in submissions) == expected
        notebooks = [notebook for one in submissions for notebook in one.notebooks]
        assert {(notebook.score, len(notebook.grades)) for notebook in notebooks} == {(23.5, 18)}
        assert len(notebooks) == len(expected)


def test_a_server_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("psycopg2")
    with (
        pytest.raises(GradebookError, match=r"the gradebook cannot be used: .*No such file or directory"),
        open_gradebook(f"postgresql+psycopg2://grader@/x?host={tmp_path}"),
    ):
        pass


def test_a_missing_driver_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg2", None)
    with pytest.raises(GradebookError, match=r"pip install -e '\.\[postgres\]'"), open_gradebook("postgresql://x/y"):
        pass
