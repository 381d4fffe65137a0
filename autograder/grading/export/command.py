"""`autograder export`: which file in which format goes where, and what the user should know about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.files import write_whole
from autograder.grading.engine import Course, GradingError
from autograder.grading.export import Format
from autograder.grading.export.canvas import canvas_table, fill_roster, read_roster
from autograder.grading.export.gradescope import read_results
from autograder.grading.export.gradescope_zip import autograder_zip
from autograder.grading.export.marks import Marks, read_marks
from autograder.grading.export.tables import marks_table
from autograder.grading.gradebook import existing_gradebook
from autograder.grading.handed_out import HandedOut

_MOST_NAMED = 10


@dataclass(frozen=True)
class Wish:
    """What to export. Empty `names` and `students` mean all; `output` None means the usual place in the course."""

    form: Format
    names: tuple[str, ...] = ()
    students: tuple[str, ...] = ()
    output: Path | None = None
    roster: Path | None = None
    exercises: bool = False


@dataclass(frozen=True)
class Exported:
    """The files written, and remarks, one line each."""

    paths: tuple[Path, ...]
    remarks: tuple[str, ...] = ()


def export(course: Course, wish: Wish) -> Exported:
    """Write what is asked for. Raises GradingError for options that do not go together, and `command.EXPECTED`."""
    _refuse_odd(wish)
    try:
        if wish.form == "gradescope-zip":
            return _zip(course, wish)
        return _gradescope(course, wish) if wish.form == "gradescope" else _table(course, wish)
    except OSError as error:
        raise GradingError(f"{error.filename} cannot be written: {error.strerror}") from None


def _refuse_odd(wish: Wish) -> None:
    if wish.roster and wish.form != "canvas":
        raise GradingError("--roster is a file that Canvas has exported: say --format canvas")
    if wish.exercises and wish.form != "csv":
        raise GradingError("--exercises adds columns to --format csv")
    if wish.form == "gradescope-zip" and (len(wish.names) != 1 or wish.students):
        raise GradingError("--format gradescope-zip takes one assignment and no students: autograder export NAME")
    if wish.form == "gradescope" and not wish.names:
        raise GradingError("--format gradescope needs the assignments' names: autograder export NAME")


# --- tables ---------------------------------------------------------------------------------------------------------


def _table(course: Course, wish: Wish) -> Exported:
    with existing_gradebook(course.gradebook, course.course_id) as book:
        marks = read_marks(book, wish.names, wish.students)
    text, remarks = table_of(marks, wish)
    usual = "grades.csv" if wish.form == "csv" else "canvas.csv"
    path = wish.output or course.root / usual
    write_whole(path, text)
    return Exported((path,), remarks)


def table_of(marks: Marks, wish: Wish) -> tuple[str, tuple[str, ...]]:
    """The CSV and the remarks. Raises RosterError."""
    remarks = [f"{marks.waiting} of {len(marks.rows)} scores still wait for a human"] if marks.waiting else []
    if wish.form == "csv":
        return marks_table(marks, wish.exercises), tuple(remarks)
    if wish.roster is None:
        return canvas_table(marks), tuple(remarks)
    filled = fill_roster(read_roster(wish.roster), marks)
    if filled.unmatched:
        remarks.append(f"in no row of the roster: {_some(filled.unmatched)}")
    if filled.strangers:
        remarks.append(f"in the roster and not in the gradebook: {_some(filled.strangers)}")
    return filled.text, tuple(remarks)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"


# --- Gradescope -----------------------------------------------------------------------------------------------------


def _gradescope(course: Course, wish: Wish) -> Exported:
    folder = wish.output or course.root / "gradescope"
    paths = []
    for name in wish.names:
        for student, results in read_results(course, name, wish.students):
            path = folder / name / student / "results.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(results, indent=1))
            paths.append(path)
    return Exported(tuple(paths))


def _zip(course: Course, wish: Wish) -> Exported:
    (name,) = wish.names
    path = wish.output or course.root / f"{name}_autograder.zip"
    write_whole(path, autograder_zip(course, name))
    remarks = ["the zip holds the course key: keep it with staff, and never in a repository"]
    if HandedOut(course.root).has_own(name):
        remarks.append(
            f"{name} was handed out with numbers of their own: Gradescope would mark those questions wrongly"
        )
    return Exported((path,), tuple(remarks))
