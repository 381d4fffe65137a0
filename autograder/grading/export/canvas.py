"""Canvas's gradebook CSV: a new one, or an exported one with the scores filled in.

Canvas reads "Student, ID, SIS User ID, SIS Login ID, Section", then one column for each assignment, `Title (id)` with
Canvas's own number where the assignment exists already; a row "Points Possible" stands above the students. It looks for
a student by ID, then by SIS User ID, then by SIS Login ID (its `lib/gradebook_importer.rb`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.grading.export.marks import Marks
from autograder.grading.export.tables import Kept, Value, csv_text
from autograder.grading.gradebook import Announced, Enrolled
from autograder.manifest import title_of

STUDENT, ID, SIS_USER, SIS_LOGIN, SECTION = "Student", "ID", "SIS User ID", "SIS Login ID", "Section"
HEAD = (STUDENT, ID, SIS_USER, SIS_LOGIN, SECTION)
POSSIBLE = "    Points Possible"  # with the spaces that Canvas writes

#: In which columns a student's nbgrader id is looked for.
MATCHED = (SIS_LOGIN, SIS_USER, ID)
_NUMBERED = re.compile(r"(?P<title>.*?)\s*\((?P<number>\d+)\)")


class RosterError(ValueError):
    """A file that is no gradebook exported from Canvas; the message says why and what to do, in one line."""


def column_of(assignment: Announced) -> str:
    """The column of an assignment that Canvas does not know yet: it offers to make one of that title."""
    title = title_of(assignment.name)
    return title if title == assignment.name else f"{title} ({assignment.name})"


def canvas_table(marks: Marks) -> str:
    """A file for Canvas without its own ids: students by login. Where nothing was handed in the cell stays empty."""
    rows: list[list[Value]] = [
        [*HEAD, *map(column_of, marks.assignments)],
        [POSSIBLE, None, None, None, None, *(one.max_score for one in marks.assignments)],
    ]
    scores = _scores(marks)
    for student in marks.students:
        mine = scores.get(student.id, {})
        ids = (student.lms_user_id or None, None, student.id, None)
        rows.append([_sortable(student), *ids, *(mine.get(one.name) for one in marks.assignments)])
    return csv_text(rows)


def _sortable(student: Enrolled) -> str:
    names = ", ".join(filter(None, (student.last_name, student.first_name)))
    return names or student.id


def _scores(marks: Marks) -> dict[str, dict[str, float]]:
    """Student → assignment → score, of what was handed in."""
    found: dict[str, dict[str, float]] = {}
    for row in marks.rows:
        if row.handed_in:
            found.setdefault(row.student.id, {})[row.assignment.name] = row.score
    return found


# --- a file that Canvas has exported --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Roster:
    """An exported gradebook: its header, then all rows as they stand. (Some accounts have LastName and FirstName in the
    place of Student.)"""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    delimiter: str

    def place(self, column: str) -> int | None:
        return next((place for place, name in enumerate(self.header) if name.strip() == column), None)

    def has(self, *columns: str) -> bool:
        """Does it have one of these columns?"""
        return any(self.place(column) is not None for column in columns)

    def ids(self, row: Sequence[str]) -> list[str]:
        """What may be a student's nbgrader id, the likeliest first."""
        places = filter(lambda place: place is not None, map(self.place, MATCHED))
        return [row[place].strip() for place in places if place is not None and row[place].strip()]


def read_roster(path: Path) -> Roster:
    """Read a CSV exported from Canvas, with commas or semicolons. Raises RosterError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RosterError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RosterError(f"{path} is not UTF-8: give the CSV as Canvas exports it (Grades, Export)") from None
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    try:
        header, *rows = list(csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True))
    except (csv.Error, ValueError):
        raise RosterError(f"{path} is empty or no CSV: export it again from Canvas (Grades, Export)") from None
    roster = Roster(tuple(header), tuple(_filled(row, len(header)) for row in rows if any(row)), delimiter)
    if not (roster.has(STUDENT, "LastName") and roster.has(*MATCHED)):
        wanted = f"{STUDENT!r} and one of {', '.join(map(repr, MATCHED))}"
        raise RosterError(f"{path} is no gradebook exported from Canvas: it needs the columns {wanted}")
    return roster


def _filled(row: Sequence[str], width: int) -> tuple[str, ...]:
    return (*row[:width], *[""] * (width - len(row)))


@dataclass(frozen=True)
class Filled:
    """The roster with scores. `unmatched`: who has handed in and stands in no row; `strangers`: rows of students that
    the gradebook does not know."""

    text: str
    unmatched: tuple[str, ...]
    strangers: tuple[str, ...]


def fill_roster(roster: Roster, marks: Marks) -> Filled:
    """Put the scores into the roster's columns; everything else stays as it is, scores of who handed in nothing too.

    A column belongs to an assignment when its title, Canvas's number left out, is the notebook's title, its name, or
    what `canvas_table` calls it. An assignment without one gets a new column at the end.
    """
    places = {one.name: _place(roster, one) for one in marks.assignments}
    new = [one for one in marks.assignments if places[one.name] is None]
    places |= {one.name: len(roster.header) + offset for offset, one in enumerate(new)}
    scores, known = _scores(marks), {student.id for student in marks.students}
    rows: list[list[Value]] = [[*map(Kept, roster.header), *map(column_of, new)]]
    matched, strangers = set(), []
    for row in roster.rows:
        cells: list[Value] = [*row, *[""] * len(new)]
        if _is_possible(row):
            cells[len(row) :] = [one.max_score for one in new]
        elif student := next((one for one in roster.ids(row) if one in known), None):
            matched.add(student)
            _fill(cells, places, scores.get(student, {}))
        elif ids := roster.ids(row):
            strangers.append(ids[0])
        rows.append(cells)
    return Filled(csv_text(rows, roster.delimiter), tuple(sorted(scores.keys() - matched)), tuple(strangers))


def _fill(cells: list[Value], places: Mapping[str, int | None], scores: Mapping[str, float]) -> None:
    for name, score in scores.items():
        place = places[name]
        assert place is not None
        cells[place] = score


def _is_possible(row: Sequence[str]) -> bool:
    return "Points Possible" in row[0]


def _place(roster: Roster, assignment: Announced) -> int | None:
    """The roster's column of an assignment. Raises RosterError when there are several."""
    names = {name.casefold() for name in (assignment.name, title_of(assignment.name), column_of(assignment))}
    found = []
    for place, column in enumerate(roster.header):
        numbered = _NUMBERED.fullmatch(column.strip())
        if (numbered["title"] if numbered else column.strip()).casefold() in names:
            found.append(place)
    if len(found) > 1:
        columns = " and ".join(repr(roster.header[place]) for place in found)
        raise RosterError(f"the roster has more than one column for {assignment.name}: {columns}; remove all but one")
    return found[0] if found else None
