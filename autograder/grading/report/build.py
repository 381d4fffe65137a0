"""One report: the figures of every assignment, what to look at, who wrote alike, and the leaderboards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from autograder.exercise import REGISTRY, CodeExercise
from autograder.grading.engine import Course
from autograder.grading.flags import Flagged
from autograder.grading.report import figures
from autograder.grading.report.collect import ClassWork, exercise_title, read_classes
from autograder.grading.report.figures import (
    AttemptFigures,
    CellFigures,
    ExerciseFigures,
    Named,
    Overview,
    StudentFigures,
    Total,
)
from autograder.grading.report.leaderboard import Board, boards
from autograder.grading.report.similar import Group, Likeness, groups
from autograder.grading.secret import course_key

#: What is shown: flags of one student and of all, groups, solutions of one group, lines of one solution.
MOST_FLAGS, MOST_FLAG_LINES, MOST_GROUPS, MOST_VIEWS, MOST_LINES = 12, 2_000, 60, 4, 150


@dataclass(frozen=True)
class FlaggedStudent:
    """`more`: flags that are not told."""

    student: str
    flags: tuple[Flagged, ...]
    more: int


@dataclass(frozen=True)
class Code:
    """A solution as it is shown: lines, and whether the other one has them too. `cut`: is the end left out?"""

    student: str
    lines: tuple[tuple[str, bool], ...]
    cut: bool


@dataclass(frozen=True)
class View:
    """Two solutions of one exercise side by side; `students` are all who wrote alike. `share` from 0 to 1."""

    exercise_id: str
    title: str
    students: tuple[str, ...]
    share: float
    bits: float
    codes: tuple[Code, Code]


@dataclass(frozen=True)
class GroupView:
    """Students who wrote alike, with the strongest likenesses; `more` are not shown."""

    students: tuple[str, ...]
    bits: float
    views: tuple[View, ...]
    more: int


@dataclass(frozen=True)
class AssignmentReport:
    """All about one assignment. `more_groups`: groups of similar solutions that are not shown."""

    name: str
    title: str
    overview: Overview
    exercises: tuple[ExerciseFigures, ...]
    students: tuple[StudentFigures, ...]
    attempts: AttemptFigures
    kinds: tuple[Named, ...]
    flagged: tuple[FlaggedStudent, ...]
    more_flagged: int
    groups: tuple[GroupView, ...]
    more_groups: int
    cells: tuple[CellFigures, ...]
    environment: tuple[Named, ...]
    boards: tuple[Board, ...]


@dataclass(frozen=True)
class Report:
    """`made`: ISO 8601 in UTC. `totals`: over all assignments, where there are several."""

    course: str
    made: str
    assignments: tuple[AssignmentReport, ...]
    totals: tuple[Total, ...]


def make_report(course: Course, names: Sequence[str] = (), real_names: bool = False) -> Report:
    """Everything about the named assignments, or all that have results. Raises as `read_classes`, and BadKey."""
    works = read_classes(course, names)
    key = partial(course_key, course.root / "course")
    made = datetime.now(UTC).isoformat(timespec="minutes")
    each = tuple(_assignment(work, key, real_names) for work in works)
    totals = tuple(figures.totals(works)) if len(works) > 1 else ()
    return Report(course.course_id, made, each, totals)


def _assignment(work: ClassWork, key: Callable[[], bytes], real_names: bool) -> AssignmentReport:
    students = figures.students(work)
    flagged, more_flagged = _flagged(work)
    shown, more_groups = _groups(work)
    return AssignmentReport(
        name=work.name,
        title=work.title,
        overview=figures.overview(work),
        exercises=tuple(figures.exercises(work)),
        students=tuple(students),
        attempts=figures.attempts(students),
        kinds=_kinds(work),
        flagged=flagged,
        more_flagged=more_flagged,
        groups=shown,
        more_groups=more_groups,
        cells=tuple(figures.slowest_cells(work)),
        environment=tuple(figures.environment(work)),
        boards=tuple(boards(work, key, real_names)),
    )


# --- flags ----------------------------------------------------------------------------------------------------------


def _kinds(work: ClassWork) -> tuple[Named, ...]:
    """Kinds of flags, and how many students have them."""
    counts = Counter(kind for one in work.works for kind in {flag.kind for flag in one.flags})
    return tuple(Named("", kind, count) for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _flagged(work: ClassWork) -> tuple[tuple[FlaggedStudent, ...], int]:
    """Those with the most flags first, as many as a page can hold; and how many students are left out."""
    ordered = sorted((one for one in work.works if one.flags), key=lambda one: (-len(one.flags), one.student))
    told: list[FlaggedStudent] = []
    room = MOST_FLAG_LINES
    for one in ordered:
        flags = one.flags[: min(MOST_FLAGS, room)]
        if not flags:
            break
        room -= len(flags)
        told.append(FlaggedStudent(one.student, flags, len(one.flags) - len(flags)))
    return tuple(told), len(ordered) - len(told)


# --- similar solutions ----------------------------------------------------------------------------------------------


def _groups(work: ClassWork) -> tuple[tuple[GroupView, ...], int]:
    solutions = {
        exercise_id: {one.student: one.sources[exercise_id] for one in work.works if exercise_id in one.sources}
        for exercise_id in work.known
        if isinstance(REGISTRY.get(exercise_id), CodeExercise)
    }
    found = groups(solutions, work.known)
    sources = {one.student: one.sources for one in work.works}
    shown = tuple(_group(group, sources) for group in found[:MOST_GROUPS])
    return shown, max(len(found) - MOST_GROUPS, 0)


def _group(group: Group, sources: Mapping[str, Mapping[str, str]]) -> GroupView:
    views = tuple(_view(one, sources) for one in group.likenesses[:MOST_VIEWS])
    return GroupView(group.students, group.bits, views, len(group.likenesses) - len(views))


def _view(one: Likeness, sources: Mapping[str, Mapping[str, str]]) -> View:
    both = one.students[0], one.students[-1]
    codes = [
        _code(student, sources[student][one.exercise_id], lines) for student, lines in zip(both, one.lines, strict=True)
    ]
    title = exercise_title(one.exercise_id)
    return View(one.exercise_id, title, one.students, one.share, one.bits, (codes[0], codes[1]))


def _code(student: str, source: str, same: Sequence[int]) -> Code:
    lines = source.rstrip("\n").split("\n")
    shown = tuple((line.rstrip("\r")[:400], number in same) for number, line in enumerate(lines[:MOST_LINES], start=1))
    return Code(student, shown, len(lines) > MOST_LINES)
