"""nbgrader's gradebook: a result becomes the rows that `nbgrader autograde` would have written, in one transaction.

nbgrader's own methods commit one by one; here its tables are filled through its session and committed once, so that a
kill leaves a submission either as it was or complete. What humans have entered (manual scores, extra credit, comments,
extensions) is never touched.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from logging import CRITICAL, Logger
from pathlib import Path
from typing import Any, Protocol, TypeVar

from nbformat import NotebookNode
from nbgrader import api, utils
from nbgrader.plugins import LateSubmissionPlugin
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from autograder.grading.results import ExerciseResult, SubmissionResult
from autograder.publish.convert import scripts_on_path

QUIET = Logger("autograder.gradebook", level=CRITICAL)
T = TypeVar("T")

#: How long another writer is waited for.
_BUSY_SECONDS = 20.0

NO_RESPONSE = "No response."  # nbgrader's words for an answer that was not touched


class GradebookError(Exception):
    """The gradebook cannot be written or read; the message says why and what to do, in one line."""


class _Busy(GradebookError):
    """Another program was quicker, or has it locked: tried again, it may well work."""


class Release(Protocol):
    """What is needed to know of an assignment: its name (also its notebook's) and the release."""

    @property
    def name(self) -> str: ...

    @property
    def notebook(self) -> NotebookNode: ...


@dataclass(frozen=True)
class HumanMark:
    """What humans entered for one cell. Points; None and "" where they entered nothing."""

    manual_score: float | None = None
    extra_credit: float | None = None
    comment: str = ""


@dataclass(frozen=True)
class Review:
    """A submission's human marks by grade id, and its late penalty in points."""

    cells: Mapping[str, HumanMark] = field(default_factory=dict)
    late_penalty: float = 0.0


@dataclass(frozen=True)
class Standing:
    """One submission as the gradebook has it. `points` by grade id, None where a human still has to decide.

    `waits`: is a human asked to look, also again, after a change? `late`: by how many seconds. `penalty`: points taken
    off for that. `graded`: False for a row that only holds an extension. `submitted`: when, in UTC, where that is known.
    """

    points: Mapping[str, float | None]
    waits: bool
    late: float
    penalty: float
    graded: bool = True
    submitted: datetime | None = None
    extension: timedelta | None = None

    @property
    def raw(self) -> float:
        """Points so far, before the late penalty: nbgrader's score."""
        return sum(points or 0.0 for points in self.points.values())

    @property
    def score(self) -> float:
        """Points so far, as nbgrader exports them."""
        return max(self.raw - self.penalty, 0.0)


@dataclass(frozen=True)
class Enrolled:
    """A student as the gradebook has them; "" for what it does not know."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""


@dataclass(frozen=True)
class Announced:
    """An assignment of the gradebook. `due`: in UTC, without extensions. `points`: the most of each graded cell, by grade
    id, in no order."""

    name: str
    due: datetime | None
    points: Mapping[str, float]

    @property
    def max_score(self) -> float:
        return sum(self.points.values())


@dataclass(frozen=True)
class _Cells:
    """The ids of one assignment in the gradebook. Grade cells and solution cells by grade id."""

    assignment: str
    notebook: str
    grades: Mapping[str, str]
    solutions: Mapping[str, str]


class Book:
    """An open gradebook. Get one from `open_gradebook`; `late` is nbgrader's plug-in for late submissions."""

    def __init__(self, gradebook: Any, late: Any = None) -> None:
        self._gradebook, self._db = gradebook, gradebook.db
        self._late = late or LateSubmissionPlugin(log=QUIET)
        self._known: dict[tuple[str, int], tuple[_Cells, NotebookNode]] = {}

    def students(self) -> list[Enrolled]:
        """All who are enrolled, in order of their ids."""
        known = api.Student
        columns = (known.id, known.first_name, known.last_name, known.email, known.lms_user_id)
        with self._reading():
            return sorted((Enrolled(*(text or "" for text in row)) for row in self._db.query(*columns)), key=_by_id)

    def assignments(self) -> list[Announced]:
        """All assignments that the gradebook knows, in its own order: by due date, then by name."""
        with self._reading():
            found = [(one.id, one.name, one.duedate) for one in self._gradebook.assignments]
            points: dict[str, dict[str, float]] = {}
            for kind in (api.GradeCell, api.TaskCell):
                cells = self._db.query(api.Notebook.assignment_id, kind.name, kind.max_score)
                for assignment, name, most in cells.join(api.Notebook, api.Notebook.id == kind.notebook_id):
                    points.setdefault(assignment, {})[name] = float(most)
        return [Announced(name, due, points.get(key, {})) for key, name, due in found]

    def write(
        self,
        release: Release,
        result: SubmissionResult,
        timestamp: datetime | None = None,
        rebuilt: NotebookNode | None = None,
        changed: bool = True,
        counted: datetime | None = None,
    ) -> None:
        """Write a result in one transaction; scores of an earlier attempt are replaced.

        `timestamp`: when it was submitted (None: what the gradebook has stays). `rebuilt`: the graded notebook; with it
        untouched answers get nbgrader's 0 points and "No response.", without it written work waits where the result
        says so. `changed=False`: a regrade of the same submission, whose reviews humans need not look at again; after
        a change nbgrader asks them to, and so does this. `counted`: when the attempt that counts was handed in, where that
        is not the one of `timestamp`; the late penalty goes by it. A result with review flags also gets nbgrader's own flag,
        which formgrader shows in its lists; it is never taken away, and not put back where a human took it away.

        Raises GradebookError; nothing is written then. While another program writes, this waits.
        """
        _patiently(lambda: self._write(release, result, timestamp, rebuilt, changed, counted))

    def _write(
        self,
        release: Release,
        result: SubmissionResult,
        timestamp: datetime | None,
        rebuilt: NotebookNode | None,
        changed: bool,
        counted: datetime | None,
    ) -> None:
        rows = _rows(release.notebook, result)
        with self._clear():
            cells = self._cells(release)
            notebook = self._submitted(cells, result.student, timestamp)
            grades = self._grades(notebook, cells)
            for one in rows:
                _set_grade(grades[cells.grades[one.grade_id]], _auto_score(one, rebuilt), changed)
            self._comment(notebook, cells, rebuilt)
            if result.flags and changed:
                notebook.flagged = True
            self._penalise(notebook, list(grades.values()), counted)
            self._db.commit()
        self._db.expunge_all()  # memory stays flat over a class of thousands

    def penalty(self, assignment: str, student: str, score: float, when: datetime | None) -> float:
        """The points that `score`, handed in at `when` (UTC), would lose for being late."""
        with self._reading():
            found = self._db.query(api.Assignment).filter_by(name=assignment).one_or_none()
            if found is None or found.duedate is None or when is None:
                return 0.0
            submission = self._only(api.SubmittedAssignment, assignment_id=found.id, student_id=student)
            due = submission.duedate if submission is not None else found.duedate
            return self._penalty(student, score, utils.parse_utc(when), due) or 0.0

    def review(self, release: Release, student: str) -> Review:
        """What humans entered for a student's submission, for the feedback. Empty when there is no submission."""
        with self._reading():
            notebook = self._db.query(api.SubmittedNotebook).join(api.Notebook).join(api.SubmittedAssignment)
            notebook = notebook.join(api.Assignment, api.Assignment.id == api.Notebook.assignment_id).filter(
                api.Assignment.name == release.name,
                api.Notebook.name == release.name,
                api.SubmittedAssignment.student_id == student,
            )
            found = notebook.one_or_none()
            if found is None:
                return Review()
            return Review(self._human_marks(found.id), float(found.late_submission_penalty or 0.0))

    def standings(self, assignment: str) -> dict[str, Standing]:
        """Every submission of an assignment, by student: manual scores before automatic ones, extra credit added."""
        columns = (api.BaseCell.name, api.Grade.auto_score, api.Grade.manual_score, api.Grade.extra_credit)
        with self._reading():
            grades = self._db.query(api.SubmittedNotebook.assignment_id, *columns, api.Grade.needs_manual_grade)
            grades = grades.join(api.Grade, api.Grade.notebook_id == api.SubmittedNotebook.id)
            grades = grades.join(api.BaseCell, api.BaseCell.id == api.Grade.cell_id)
            grades = grades.join(
                api.SubmittedAssignment, api.SubmittedAssignment.id == api.SubmittedNotebook.assignment_id
            )
            grades = grades.join(api.Assignment).filter(api.Assignment.name == assignment)
            rows: dict[str, list[Any]] = {}
            for submission, *grade in grades:
                rows.setdefault(submission, []).append(grade)
            submissions = self._db.query(api.SubmittedAssignment).join(api.Assignment)
            submissions = submissions.filter(api.Assignment.name == assignment)
            found = {one.student_id: _standing(one, rows.get(one.id, ())) for one in submissions}
        self._db.expunge_all()
        return found

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """No transaction stays open afterwards: on a server it would hold others up."""
        with self._clear():
            try:
                yield
            finally:
                self._db.rollback()

    @contextmanager
    def _clear(self) -> Iterator[None]:
        """Nothing half-written stays behind, and errors of the database become one line."""
        try:
            yield
        except BaseException as error:
            self._db.rollback()
            self._known.clear()  # rows made in this transaction are gone
            if isinstance(error, SQLAlchemyError):
                raise _told(error) from error
            if isinstance(error, UnicodeEncodeError):
                raise GradebookError("a student's name is not valid Unicode: rename the folder") from error
            raise

    def _human_marks(self, notebook: str) -> dict[str, HumanMark]:
        grades = self._db.query(api.BaseCell.name, api.Grade.manual_score, api.Grade.extra_credit)
        grades = grades.join(api.Grade, api.Grade.cell_id == api.BaseCell.id).filter(api.Grade.notebook_id == notebook)
        comments = self._db.query(api.BaseCell.name, api.Comment.manual_comment)
        comments = comments.join(api.Comment, api.Comment.cell_id == api.BaseCell.id)
        said = {name: text for name, text in comments.filter(api.Comment.notebook_id == notebook) if text}
        marks = {name: HumanMark(manual, extra, said.pop(name, "")) for name, manual, extra in grades}
        return {**marks, **{name: HumanMark(comment=text) for name, text in said.items()}}

    # --- the assignment ---------------------------------------------------------------------------------------------

    def _cells(self, release: Release) -> _Cells:
        """The assignment's rows, made from the release where they are missing, as nbgrader's SaveCells makes them."""
        key = release.name, id(release.notebook)
        if key not in self._known:
            # the notebook is kept as well: an id is only an identity while its object lives
            self._known[key] = self._save_cells(release), release.notebook
        return self._known[key][0]

    def _save_cells(self, release: Release) -> _Cells:
        assignment = self._only(api.Assignment, name=release.name)
        if assignment is None:
            assignment = self._new(api.Assignment(name=release.name, course_id=self._gradebook.course_id))
        notebook = self._only(api.Notebook, name=release.name, assignment_id=assignment.id)
        if notebook is None:
            notebook = self._new(api.Notebook(name=release.name, assignment_id=assignment.id))
            notebook.kernelspec = json.dumps(release.notebook.metadata.get("kernelspec", {}))
        graded = [cell for cell in release.notebook.cells if utils.is_grade(cell)]
        self._refuse_other_cells(notebook, {cell.metadata.nbgrader.grade_id for cell in graded})
        grades = {cell.metadata.nbgrader.grade_id: self._grade_cell(notebook, cell) for cell in graded}
        solutions = {
            cell.metadata.nbgrader.grade_id: self._named(api.SolutionCell, notebook, cell).id
            for cell in release.notebook.cells
            if utils.is_solution(cell)
        }
        for cell in release.notebook.cells:
            if utils.is_grade(cell) or utils.is_solution(cell) or utils.is_locked(cell):
                self._source_cell(notebook, cell)
        self._db.flush()
        return _Cells(assignment.id, notebook.id, grades, solutions)

    def _refuse_other_cells(self, notebook: Any, expected: set[str]) -> None:
        """nbgrader refuses as well: points of a cell that is gone would count for ever."""
        known = self._db.query(api.BaseCell.name).filter(
            api.BaseCell.notebook_id == notebook.id, api.BaseCell.type.in_(["GradeCell", "TaskCell"])
        )
        if gone := sorted({name for (name,) in known} - expected):
            raise GradebookError(
                f"the gradebook has graded cells that the release of {notebook.name} has not: {', '.join(gone)}. "
                f"Put them back, or remove the assignment with: nbgrader db assignment remove {notebook.name}"
            )

    def _grade_cell(self, notebook: Any, cell: NotebookNode) -> str:
        points = float(cell.metadata.nbgrader.points)
        row = self._named(api.GradeCell, notebook, cell, max_score=points, cell_type=cell.cell_type)
        row.max_score, row.cell_type = points, cell.cell_type
        return str(row.id)

    def _source_cell(self, notebook: Any, cell: NotebookNode) -> None:
        """Left alone where it is there: `nbgrader generate_assignment` also knows the tests that releases hide."""
        self._named(
            api.SourceCell,
            notebook,
            cell,
            cell_type=cell.cell_type,
            locked=utils.is_locked(cell),
            source=cell.source,
            checksum=cell.metadata.nbgrader.get("checksum"),
        )

    def _named(self, kind: Any, notebook: Any, cell: NotebookNode, **values: object) -> Any:
        names = {"name": cell.metadata.nbgrader.grade_id, "notebook_id": notebook.id}
        return self._only(kind, **names) or self._new(kind(**names, **values))

    def _only(self, kind: Any, **values: object) -> Any:
        return self._db.query(kind).filter_by(**values).one_or_none()

    def _new(self, row: Any) -> Any:
        self._db.add(row)
        self._db.flush()  # gives it its id
        return row

    # --- the submission ---------------------------------------------------------------------------------------------

    def _submitted(self, cells: _Cells, student: str, timestamp: datetime | None) -> Any:
        """The student's submitted notebook, with student and submission made where they are missing."""
        if self._only(api.Student, id=student) is None:
            self._new(api.Student(id=student))
        submission = self._only(api.SubmittedAssignment, assignment_id=cells.assignment, student_id=student)
        if submission is None:
            submission = self._new(api.SubmittedAssignment(assignment_id=cells.assignment, student_id=student))
            self._mirror_other_notebooks(cells, submission.id)
        if timestamp is not None:
            submission.timestamp = utils.parse_utc(timestamp)
        names = {"notebook_id": cells.notebook, "assignment_id": submission.id}
        return self._only(api.SubmittedNotebook, **names) or self._new(api.SubmittedNotebook(**names))

    def _mirror_other_notebooks(self, cells: _Cells, submission: str) -> None:
        """An assignment of several notebooks: the others get their rows too, as nbgrader's add_submission does."""
        others = self._db.query(api.Notebook).filter_by(assignment_id=cells.assignment)
        for other in others.filter(api.Notebook.id != cells.notebook):
            notebook = self._new(api.SubmittedNotebook(notebook_id=other.id, assignment_id=submission))
            for cell in self._db.query(api.BaseCell).filter_by(notebook_id=other.id):
                if cell.type in ("GradeCell", "TaskCell"):
                    self._db.add(api.Grade(cell_id=cell.id, notebook_id=notebook.id))
                if cell.type in ("SolutionCell", "TaskCell"):
                    self._db.add(api.Comment(cell_id=cell.id, notebook_id=notebook.id))

    def _grades(self, notebook: Any, cells: _Cells) -> dict[str, Any]:
        """Cell id → grade; every grade cell has one afterwards."""
        return self._per_cell(api.Grade, notebook, cells.grades)

    def _per_cell(self, kind: Any, notebook: Any, wanted: Mapping[str, str]) -> dict[str, Any]:
        found = {row.cell_id: row for row in self._db.query(kind).filter_by(notebook_id=notebook.id)}
        for cell in wanted.values():
            if cell not in found:
                found[cell] = kind(cell_id=cell, notebook_id=notebook.id)
                self._db.add(found[cell])
        return found

    def _comment(self, notebook: Any, cells: _Cells, rebuilt: NotebookNode | None) -> None:
        """Formgrader needs a row for each solution cell; nbgrader's own remark stands in those not touched."""
        comments = self._per_cell(api.Comment, notebook, cells.solutions)
        for cell in rebuilt.cells if rebuilt is not None else []:
            if utils.is_solution(cell) and cell.metadata.nbgrader.grade_id in cells.solutions:
                row = comments[cells.solutions[cell.metadata.nbgrader.grade_id]]
                row.auto_comment = NO_RESPONSE if untouched(cell) else None

    def _penalise(self, notebook: Any, grades: list[Any], counted: datetime | None) -> None:
        submission = self._only(api.SubmittedAssignment, id=notebook.assignment_id)
        score = sum(_score(grade) for grade in grades)
        when = submission.timestamp if counted is None else utils.parse_utc(counted)
        notebook.late_submission_penalty = self._penalty(
            submission.student_id, score, when, submission.duedate if submission.assignment.duedate else None
        )

    def _penalty(self, student: str, score: float, when: datetime | None, due: datetime | None) -> float | None:
        """nbgrader's AssignLatePenalties: the plug-in decides, within 0 and the score. Times are UTC without saying so."""
        if when is None or due is None or when <= due:
            return None
        try:
            penalty = self._late.late_submission_penalty(student, score, (when - due).total_seconds())
            return None if penalty is None else min(max(float(penalty), 0.0), score)
        except Exception as error:  # a plug-in of somebody's own
            name = type(self._late).__name__
            raise GradebookError(
                f"the late penalty {name} fails for {student}: {type(error).__name__}: {error}"
            ) from error


@contextmanager
def open_gradebook(url: str, course: str = "default_course", late: Any = None) -> Iterator[Book]:
    """Open nbgrader's database once for a whole class (`url` as nbgrader's db_url). Raises GradebookError."""
    scripts_on_path()
    gradebook = _patiently(lambda: _connected(url, course))
    try:
        yield Book(gradebook, late)
    finally:
        gradebook.close()
        gradebook.engine.dispose()


def is_there(url: str) -> bool:
    """Is there a gradebook at this address? (Opening one that is a file would make it.)"""
    file = url.removeprefix("sqlite:///")
    return file == url or Path(file).is_file()


@contextmanager
def existing_gradebook(url: str, course: str = "default_course") -> Iterator[Book]:
    """A gradebook to be read. Raises GradebookError when there is none."""
    if not is_there(url):
        raise GradebookError(f"there is no gradebook at {url}: run autograder grade first, or say --course")
    with open_gradebook(url, course) as book:
        yield book


def write_gradebook(
    gradebook_url: str,
    release: Release,
    result: SubmissionResult,
    timestamp: datetime | None = None,
    rebuilt: NotebookNode | None = None,
) -> None:
    """`Book.write` for a single submission, with its own connection."""
    with open_gradebook(gradebook_url) as book:
        book.write(release, result, timestamp, rebuilt)


def _rows(release: NotebookNode, result: SubmissionResult) -> tuple[ExerciseResult, ...]:
    """The result's rows, checked: one for each grade cell, with points that can be points."""
    points = {
        c.metadata.nbgrader.grade_id: float(c.metadata.nbgrader.points) for c in release.cells if utils.is_grade(c)
    }
    given = [one.grade_id for one in result.exercises]
    if sorted(points) != sorted(given):
        odd = ", ".join(sorted(points.keys() ^ set(given))) or "a cell twice"
        raise GradebookError(f"{result.student}: the result does not fit the release ({odd}): grade it again")
    for one in result.exercises:
        most = points[one.grade_id]
        if not 0 <= one.points <= most:  # also false for nan
            raise GradebookError(f"{result.student}: {one.points:g} of {most:g} points for {one.grade_id} cannot be")
    return result.exercises


def _auto_score(one: ExerciseResult, rebuilt: NotebookNode | None) -> float | None:
    """As nbgrader's determine_grade: written work waits (None) unless it is untouched (0)."""
    if not one.waits:
        return one.points
    cells = rebuilt.cells if rebuilt is not None else []
    cell = next((c for c in cells if utils.is_grade(c) and c.metadata.nbgrader.grade_id == one.grade_id), None)
    return 0.0 if cell is not None and untouched(cell) else None


def untouched(cell: NotebookNode) -> bool:
    """Is a solution cell still what the release has? By nbgrader's checksum."""
    return bool(cell.metadata.nbgrader.get("checksum") == utils.compute_checksum(cell))


def _set_grade(grade: Any, auto_score: float | None, changed: bool) -> None:
    """As nbgrader's SaveAutoGrades: a manual score stays, and after a change a human looks at it again."""
    reviewed = grade.manual_score is not None
    same = grade.auto_score == auto_score
    grade.auto_score = auto_score
    if reviewed and not changed and same:
        return
    grade.needs_manual_grade = reviewed or auto_score is None


def _standing(submission: Any, grades: Iterable[Any]) -> Standing:
    points: dict[str, float | None] = {}
    waits, graded = False, submission.timestamp is not None
    for name, auto, manual, extra, needs in grades:
        score = manual if manual is not None else auto
        points[name] = None if score is None else score + (extra or 0.0)
        waits = waits or bool(needs) or score is None
        graded = graded or score is not None
    late = submission.total_seconds_late if submission.assignment.duedate is not None else 0.0
    penalty = float(submission.late_submission_penalty or 0.0)
    return Standing(points, waits and graded, late, penalty, graded, submission.timestamp, submission.extension)


def _by_id(student: Enrolled) -> str:
    return student.id


def _connected(url: str, course: str) -> Any:
    try:
        return api.Gradebook(url, course)
    except SQLAlchemyError as error:
        raise _told(error) from error
    except ModuleNotFoundError as error:
        raise GradebookError(
            f"this gradebook needs {error.name}: for PostgreSQL, pip install -e '.[postgres]'"
        ) from error


def _patiently(call: Callable[[], T]) -> T:
    """What `call` returns, tried for a while. Two graders of one gradebook make the same rows, and only one of them can be
    first; the other one then finds them."""
    deadline = None  # counted from the first collision: a new database alone takes seconds
    while True:
        try:
            return call()
        except _Busy:
            deadline = deadline or time.monotonic() + _BUSY_SECONDS
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.01, 0.1))  # not both at once again


def _score(grade: Any) -> float:
    score = grade.manual_score if grade.manual_score is not None else grade.auto_score
    return float(score or 0.0) + (float(grade.extra_credit or 0.0) if score is not None else 0.0)


#: What SQLite and PostgreSQL say when another writer was quicker.
_COLLISIONS = ("locked", "already exists", "deadlock detected", "could not serialize")


def _told(error: SQLAlchemyError) -> GradebookError:
    original = getattr(error, "orig", None)
    said = str(original or error).splitlines()[0]
    if isinstance(error, IntegrityError) or any(words in said for words in _COLLISIONS):
        return _Busy(f"another program is writing to the gradebook ({said}): close it or wait, then run again")
    if "no such column" in said or type(original).__name__ == "UndefinedColumn":
        return GradebookError(
            f"the gradebook is of an older nbgrader ({said}): make a copy, then run: nbgrader db upgrade"
        )
    return GradebookError(f"the gradebook cannot be used: {said}")
