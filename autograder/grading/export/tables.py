"""CSV that no spreadsheet executes, and the plain table of marks.

A spreadsheet takes a cell that starts with `=`, `+`, `-`, `@`, a tab or a carriage return for a formula (OWASP, "CSV
Injection"); names and ids come from outside. Numbers are written as numbers.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from datetime import datetime

from autograder.grading.export.marks import Mark, Marks, exercises_of

Value = str | float | None


class Kept(str):
    """A text that is written as it stands, such as a column's name, which another program looks for."""


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_NO_TAGS = str.maketrans("<>", "‹›")


def safe_cell(text: str) -> str:
    """A text for a CSV cell that no spreadsheet takes for a formula: an apostrophe is put before one.

    Also before the full-width forms of the signs, which some spreadsheets read alike. Angle brackets become ‹ and ›, so
    that a page which shows the cell finds no HTML in it.
    """
    inert = text.translate(_NO_TAGS)
    return f"'{inert}" if inert.lstrip(" \n").startswith(_FORMULA_STARTS) else inert


def kept_cell(text: str) -> str:
    """A cell of somebody else's file: numbers, also negative ones, stay as they are."""
    try:
        return text if math.isfinite(float(text)) else safe_cell(text)
    except ValueError:
        return safe_cell(text)


def number(value: float) -> str:
    """Points without the dust of adding binary fractions; whole ones without a decimal point."""
    return f"{round(value, 4):.4f}".rstrip("0").rstrip(".") if value else "0"


def csv_text(rows: Iterable[Sequence[Value]], delimiter: str = ",") -> str:
    """Rows as CSV (RFC 4180). Texts are made safe, None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Value) -> str:
    if value is None or isinstance(value, Kept):
        return value or ""
    return kept_cell(value) if isinstance(value, str) else number(value)


# --- the plain table ------------------------------------------------------------------------------------------------

COLUMNS = (
    *("assignment", "student_id", "last_name", "first_name", "email", "submitted", "duedate", "extension_hours"),
    *("raw_score", "late_submission_penalty", "score", "max_score", "needs_manual_grade"),
)


def marks_table(marks: Marks, exercises: bool = False) -> str:
    """One line for each student and assignment, with nbgrader's names for what nbgrader exports too.

    Times are ISO 8601 in UTC. `exercises`: a column for each exercise as well, empty where it is another assignment's,
    where a human still has to decide, and where nothing was handed in.
    """
    ids = [exercise_id for one in marks.assignments for exercise_id, _ in exercises_of(one)] if exercises else []
    return csv_text([[*COLUMNS, *ids], *(_line(row, ids) for row in marks.rows)])


def _line(row: Mark, ids: Sequence[str]) -> list[Value]:
    points = {one.exercise_id: one.points for one in row.exercises()} if ids else {}
    student = row.student
    extension = row.extension.total_seconds() / 3600 if row.extension else None
    return [
        *(row.assignment.name, student.id, student.last_name, student.first_name, student.email),
        *(_time(row.submitted), _time(row.assignment.due), extension),
        *(row.raw_score, row.late_penalty, row.score, row.assignment.max_score),
        "yes" if row.waits else "no",
        *(points.get(exercise_id) for exercise_id in ids),
    ]


def _time(when: datetime | None) -> str | None:
    """nbgrader keeps UTC without saying so."""
    return None if when is None else f"{when.replace(tzinfo=None).isoformat(timespec='seconds')}Z"
