"""The store: every graded attempt, in one SQLite file, written by one process in one transaction an attempt.

It is the audit trail (nothing is ever overwritten), the cache of a class that is graded again, and what lets a run that
was killed go on: an attempt is stored first and published (gradebook, folders) afterwards, and the store knows which
ones have not been published yet. Publishing replaces, so doing it again after a kill changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autograder.grading.results import SubmissionResult, as_json, from_json

#: Format of the file. A change of the tables raises it and says in `_UPGRADES` how a file of the format before becomes one.
#: Fields that results gain need none: they have defaults, which is what older results get.
FORMAT = 2

#: Marks an SQLite file as a store ("AGRD"), so that a gradebook given by mistake is refused and not written to.
_APPLICATION = 0x41475244

_BUSY_SECONDS = 20.0

_TABLES = """
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    assignment TEXT NOT NULL,
    student TEXT NOT NULL,
    number INTEGER NOT NULL,
    recorded TEXT NOT NULL,
    digest TEXT NOT NULL,
    release TEXT NOT NULL,
    engine TEXT NOT NULL,
    package TEXT NOT NULL,
    rung TEXT NOT NULL,
    points REAL NOT NULL,
    max_points REAL NOT NULL,
    result BLOB NOT NULL,
    outputs TEXT NOT NULL,
    notebook BLOB NOT NULL,
    UNIQUE (assignment, student, number)
);
CREATE TABLE publication (
    id INTEGER PRIMARY KEY,
    attempt INTEGER NOT NULL UNIQUE REFERENCES attempt (id),
    published TEXT NOT NULL
);
"""

#: Format → statements that make it the next one.
_UPGRADES = {1: "ALTER TABLE attempt ADD COLUMN package TEXT NOT NULL DEFAULT ''"}

_COLUMNS = (
    "a.assignment, a.student, a.number, a.recorded, a.digest, a.release, a.engine, a.package, a.rung, a.points, "
    "a.max_points, p.published IS NOT NULL"
)
_FROM = "FROM attempt a LEFT JOIN publication p ON p.attempt = a.id"
_ONE = "WHERE a.assignment = ? AND a.student = ?"


class StoreError(Exception):
    """The store cannot be used; the message says why and what to do, in one line."""


@dataclass(frozen=True)
class Attempt:
    """One row of the audit trail. `number` counts a student's attempts from 1; `recorded` is ISO 8601 in UTC; `engine` is
    the contract that marks follow (`conduct.ENGINE`), `package` the version of this package, "" where it was not noted."""

    assignment: str
    student: str
    number: int
    recorded: str
    digest: str
    release: str
    engine: str
    package: str
    rung: str
    points: float
    max_points: float
    published: bool


class Store:
    """Opens (or makes) the store at `path`. Close it, or use it in a `with` statement.

    Raises StoreError when the file is no store, is damaged, or was written by a newer version of this package.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._clear():
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with self._clear():
                self._open()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    # --- writing ----------------------------------------------------------------------------------------------------

    def record(self, result: SubmissionResult, rebuilt_notebook_json: str) -> int:
        """Store an attempt, with the notebook that was graded; returns its number (1 for a student's first).

        One transaction: after a kill the attempt is there as a whole or not at all.
        """
        data = as_json(result)
        # outputs are mostly pictures, which compression would only make slow
        outputs = json.dumps(data.pop("outputs"))
        packed = _packed(json.dumps(data)), outputs, _packed(rebuilt_notebook_json)
        with self._clear(), self._transaction():
            last = self._one("SELECT MAX(number) FROM attempt a " + _ONE, result.assignment, result.student)[0]
            number = int(last or 0) + 1
            self._db.execute(
                "INSERT INTO attempt (assignment, student, number, recorded, digest, release, engine, package, rung,"
                " points, max_points, result, outputs, notebook) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(result.assignment, result.student, number, _now(), result.digest, result.release),
                    *(
                        result.engine,
                        result.versions.get("autograder", ""),
                        result.rung,
                        result.points,
                        result.max_points,
                    ),
                    *packed,
                ),
            )
        return number

    def mark_published(self, assignment: str, student: str, number: int) -> None:
        """Note that gradebook and folders now show this attempt: it becomes the one published last. Doing it twice is no
        error; an unknown attempt is."""
        with self._clear(), self._transaction():
            row = self._one("SELECT a.id FROM attempt a " + _ONE + " AND a.number = ?", assignment, student, number)
            if row is None:
                raise StoreError(f"{self.path} has no attempt {number} of {student} at {assignment}: record it first")
            self._db.execute("DELETE FROM publication WHERE attempt = ?", (row[0],))
            self._db.execute("INSERT INTO publication (attempt, published) VALUES (?, ?)", (row[0], _now()))

    # --- reading ----------------------------------------------------------------------------------------------------

    def latest(self, assignment: str, student: str) -> SubmissionResult | None:
        """The result of the student's latest attempt, published or not; None when there is none."""
        with self._clear():
            row = self._one(
                "SELECT a.result, a.outputs FROM attempt a " + _ONE + " ORDER BY a.number DESC LIMIT 1",
                *(assignment, student),
            )
            return None if row is None else _result(*row)

    def done(self, assignment: str, student: str, digest: str, release: str, engine: str) -> SubmissionResult | None:
        """The latest attempt's result when it is of this very submission, release and engine; None when it has to be
        graded.

        Only the latest counts: what the gradebook shows is always the latest attempt, also after a student has gone
        back to an earlier version (that one is graded again, with the same marks, as a new attempt).
        """
        with self._clear():
            row = self._one(
                "SELECT a.digest, a.release, a.engine, a.id FROM attempt a " + _ONE + " ORDER BY a.number DESC LIMIT 1",
                *(assignment, student),
            )
            if row is None or row[:3] != (digest, release, engine):
                return None
            return _result(*self._one("SELECT result, outputs FROM attempt WHERE id = ?", row[3]))

    def attempts(self, assignment: str, student: str) -> list[Attempt]:
        """All attempts of a student, the first one first."""
        return self._attempts(_ONE + " ORDER BY a.number", assignment, student)

    def pending(self, assignment: str) -> list[Attempt]:
        """Latest attempts that are stored but not published: what a run that was killed has left to do."""
        latest = (
            "WHERE a.assignment = ? AND p.id IS NULL AND a.number = (SELECT MAX(number) FROM attempt b"
            " WHERE b.assignment = a.assignment AND b.student = a.student) ORDER BY a.id"
        )
        return self._attempts(latest, assignment)

    def published(self, assignment: str, student: str) -> Attempt | None:
        """The attempt that gradebook and folders show (the one published last); None before the first."""
        found = self._attempts(_ONE + " AND p.id IS NOT NULL ORDER BY p.id DESC LIMIT 1", assignment, student)
        return found[0] if found else None

    def assignments(self) -> list[str]:
        """Those of which something is published, in order of their names."""
        with self._clear():
            rows = self._db.execute(f"SELECT DISTINCT a.assignment {_FROM} WHERE p.id IS NOT NULL ORDER BY 1")
            return [row[0] for row in rows]

    def history(self, assignment: str) -> list[Attempt]:
        """All attempts of all students, by student, the first one first."""
        return self._attempts("WHERE a.assignment = ? ORDER BY a.student, a.number", assignment)

    def shown(self, assignment: str) -> Iterator[tuple[Attempt, SubmissionResult, str]]:
        """What gradebook and folders show of every student, as `load` gives it but without outputs, one at a time."""
        query = (
            f"SELECT {_COLUMNS}, a.result, a.notebook {_FROM} WHERE a.assignment = ? AND p.id = (SELECT MAX(q.id)"
            " FROM publication q JOIN attempt b ON b.id = q.attempt WHERE b.assignment = a.assignment"
            " AND b.student = a.student) ORDER BY a.student"
        )
        with self._clear():
            for row in self._db.execute(query, (assignment,)):
                *attempt, published, result, notebook = row
                yield Attempt(*(*attempt, bool(published))), _result(result, "{}"), _text(notebook)

    def load(self, attempt: Attempt) -> tuple[SubmissionResult, str]:
        """The result of an attempt and the JSON text of the notebook that was graded."""
        with self._clear():
            row = self._one(
                "SELECT a.result, a.outputs, a.notebook FROM attempt a " + _ONE + " AND a.number = ?",
                *(attempt.assignment, attempt.student, attempt.number),
            )
            if row is None:
                raise StoreError(f"{self.path} has no attempt {attempt.number} of {attempt.student}: grade it again")
            return _result(*row[:2]), _text(row[2])

    # --- the file ---------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Check what the file is before anything is written to it, then make the tables if it is new."""
        application, version = self._pragma("application_id"), self._pragma("user_version")
        empty = self._one("SELECT COUNT(*) FROM sqlite_master")[0] == 0
        if not empty and application != _APPLICATION:
            raise StoreError(f"{self.path} is a database of another program: give the store another file")
        if version > FORMAT:
            raise StoreError(
                f"{self.path} was written by a newer version (format {version}, this one knows {FORMAT}): "
                "upgrade this package, or give the store another file"
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if empty:
            self._make()
        elif version < FORMAT:
            self._upgrade()

    def _upgrade(self) -> None:
        """All steps in one transaction: after a kill the file is what it was, and can be upgraded again."""
        with self._transaction():
            for version in range(self._pragma("user_version"), FORMAT):  # another process may have been quicker
                self._db.execute(_UPGRADES[version])
            self._db.execute(f"PRAGMA user_version = {FORMAT}")

    def _make(self) -> None:
        with self._transaction():
            if self._one("SELECT COUNT(*) FROM sqlite_master")[0]:  # another process was quicker
                return
            for statement in _TABLES.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._db.execute(f"PRAGMA user_version = {FORMAT}")

    def _pragma(self, name: str) -> int:
        return int(self._one(f"PRAGMA {name}")[0])

    def _one(self, query: str, *values: object) -> Any:
        return self._db.execute(query, values).fetchone()

    def _attempts(self, condition: str, *values: object) -> list[Attempt]:
        with self._clear():
            rows = self._db.execute(f"SELECT {_COLUMNS} {_FROM} {condition}", values).fetchall()
        return [Attempt(*(*row[:-1], bool(row[-1]))) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _clear(self) -> Iterator[None]:
        """SQLite's and the packing's errors as one line that says what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise StoreError(f"another process is writing to {self.path}: wait until it is done") from error
            raise StoreError(
                f"{self.path} cannot be used ({error}): check the folder, its rights and its disk"
            ) from error
        except (sqlite3.DatabaseError, zlib.error, ValueError, KeyError, TypeError) as error:
            if isinstance(error, UnicodeEncodeError):
                raise StoreError("a student's or assignment's name is not valid Unicode: rename its folder") from error
            raise StoreError(
                f"{self.path} is not a store or is damaged ({error}): move it away and grade again; "
                "marks in the gradebook stay"
            ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _packed(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def _text(packed: bytes) -> str:
    return zlib.decompress(packed).decode("utf-8", "surrogatepass")


def _result(packed: bytes, outputs: str) -> SubmissionResult:
    return from_json({**json.loads(_text(packed)), "outputs": json.loads(outputs)})
