"""The numbers of a report, from what `collect` has read: plain data, which the page shows and `--json` prints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from autograder.grading.flags import is_own_cell
from autograder.grading.report.collect import ClassWork, Work, exercise_title
from autograder.grading.results import ExerciseResult

#: Rows of the table of slow cells.
MOST_CELLS = 12

#: Bars of the histogram of marks: tenths of all points.
BINS = 10


@dataclass(frozen=True)
class Named:
    """Something that occurred `count` times. `id` is "" where it has none."""

    id: str
    title: str
    count: int


@dataclass(frozen=True)
class Overview:
    """How a class did. `bins`: students by tenths of all points, the last with full marks. `late`: students."""

    submitted: int
    graded: int
    waiting: int
    late: int
    max_points: float
    mean: float
    median: float
    lowest: float
    highest: float
    bins: tuple[int, ...]


@dataclass(frozen=True)
class ExerciseFigures:
    """How the class did in one exercise: students with all, some and no points, and those who wait for a human.

    `mean`: points, of those who have some. Seconds are those of its cases.
    """

    id: str
    title: str
    kind: str
    max_points: float
    full: int
    part: int
    none: int
    waits: int
    not_started: int
    mean: float
    median_seconds: float
    slowest_seconds: float
    slowest_student: str
    misconceptions: tuple[Named, ...]
    exceptions: tuple[Named, ...]


@dataclass(frozen=True)
class StudentFigures:
    """One student's line. `first` and `last`: points that the checks gave to the first and the latest attempt."""

    student: str
    points: float
    max_points: float
    waits: bool
    late_hours: float
    attempts: int
    first: float
    last: float
    flags: int
    seconds: float


@dataclass(frozen=True)
class CellFigures:
    """How long one cell of the notebook ran, in seconds; "own cells" are those that students added, taken together."""

    cell: str
    students: int
    median_seconds: float
    slowest_seconds: float
    slowest_student: str


@dataclass(frozen=True)
class AttemptFigures:
    """`counts`: attempts → students. Of those who came again: how many went up, stayed, went down, and the mean gain."""

    counts: dict[int, int]
    up: int
    same: int
    down: int
    gain: float


@dataclass(frozen=True)
class Total:
    """One student's points over all assignments of the report."""

    student: str
    points: float
    max_points: float
    assignments: int


def overview(work: ClassWork) -> Overview:
    totals = [one.total for one in work.works]
    most = max((one.max_points for one in work.works), default=0.0)
    return Overview(
        submitted=len(work.submitted),
        graded=len(work.works),
        waiting=sum(one.waits for one in work.works),
        late=sum(one.late > 0 for one in work.works),
        max_points=most,
        mean=fmean(totals),
        median=median(totals),
        lowest=min(totals),
        highest=max(totals),
        bins=binned(totals, most),
    )


def binned(totals: Iterable[float], most: float) -> tuple[int, ...]:
    """Students by tenths of all points."""
    counts = [0] * BINS
    for total in totals:
        share = total / most if most else 1.0
        counts[min(int(share * BINS + 1e-9), BINS - 1)] += 1
    return tuple(counts)


def exercises(work: ClassWork) -> list[ExerciseFigures]:
    """In course order."""
    return [_exercise(one.id, one.kind, one.points, work.works) for one in work.assignment.exercises]


def _exercise(exercise_id: str, kind: str, worth: float, works: Sequence[Work]) -> ExerciseFigures:
    rows = [(work, one) for work in works for one in work.exercises if one.exercise_id == exercise_id]
    points = [work.points(one) for work, one in rows]
    given = [one for one in points if one is not None]
    full = sum(one >= worth - 1e-9 for one in given)
    none = sum(one <= 0 < worth for one in given)
    slowest = max(rows, key=lambda row: row[1].seconds, default=None)
    results = [one for _, one in rows]
    return ExerciseFigures(
        id=exercise_id,
        title=exercise_title(exercise_id),
        kind=kind,
        max_points=worth,
        full=full,
        part=len(given) - full - none,
        none=none,
        waits=len(points) - len(given),
        not_started=sum(bool(one.data.get("not_started")) for one in results),
        mean=fmean(given) if given else 0.0,
        median_seconds=median(one.seconds for one in results) if results else 0.0,
        slowest_seconds=slowest[1].seconds if slowest else 0.0,
        slowest_student=slowest[0].student if slowest and slowest[1].seconds else "",
        misconceptions=_counted(_split(text) for one in results for text in one.misconceptions),
        exceptions=_counted(("", name) for one in results for name in _exceptions(one)),
    )


def _exceptions(one: ExerciseResult) -> Iterable[str]:
    """Kinds of exceptions; where a cell failed before, what it failed with and not the missing name."""
    if failed := re.search(r"ended with (\w+)", one.reason):
        return (failed[1],)
    raised = one.data.get("raised", ())
    return [str(name)[:60] for name in raised] if isinstance(raised, (list, tuple)) else ()


def _split(text: str) -> tuple[str, str]:
    """A misconception's id and title."""
    name, _, title = text.partition(" ")
    return name, title


def _counted(names: Iterable[tuple[str, str]]) -> tuple[Named, ...]:
    counts = Counter(names)
    return tuple(
        Named(id, title, count) for (id, title), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def slowest_cells(work: ClassWork) -> list[CellFigures]:
    """The cells that have kept somebody's grading longest, the slowest first; checks are not among them."""
    found: dict[str, list[tuple[float, str]]] = {}
    for one in work.works:
        mine: dict[str, float] = {}
        for name, seconds in one.cell_seconds.items():
            cell = "own cells" if is_own_cell(name) else name
            mine[cell] = mine.get(cell, 0.0) + seconds
        for cell, seconds in mine.items():
            found.setdefault(cell, []).append((seconds, one.student))
    rows = [
        CellFigures(cell, len(times), median(seconds for seconds, _ in times), *max(times))
        for cell, times in found.items()
    ]
    return sorted(rows, key=lambda row: (-row.slowest_seconds, row.cell))[:MOST_CELLS]


def students(work: ClassWork) -> list[StudentFigures]:
    """In order of their ids."""
    return [
        StudentFigures(
            student=one.student,
            points=one.total,
            max_points=one.max_points,
            waits=one.waits,
            late_hours=one.late / 3600,
            attempts=len(one.attempts),
            first=one.attempts[0].points,
            last=one.attempts[-1].points,
            flags=len(one.flags),
            seconds=one.seconds,
        )
        for one in work.works
    ]


def attempts(rows: Sequence[StudentFigures]) -> AttemptFigures:
    counts = Counter(row.attempts for row in rows)
    gains = [row.last - row.first for row in rows if row.attempts > 1]
    up, down = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return AttemptFigures(
        dict(sorted(counts.items())), up, len(gains) - up - down, down, fmean(gains) if gains else 0.0
    )


def environment(work: ClassWork) -> list[Named]:
    """What the results say that they were graded with, and how many of them each."""
    found: Counter[tuple[str, str]] = Counter()
    for one in work.works:
        attempt = one.attempt
        current = "the one that is here" if attempt.release == work.assignment.digest else "another one"
        rows = {"engine": attempt.engine, "sandbox": attempt.rung, "release": f"{attempt.release[:12]} ({current})"}
        for what, value in {**one.versions, **rows}.items():
            found[what, value] += 1
    order = ("python", "torch", "autograder", "engine", "sandbox", "release")
    place = {what: number for number, what in enumerate(order)}
    key = lambda item: (place.get(item[0][0], len(order)), -item[1], item[0])  # noqa: E731
    return [Named(what, value, count) for (what, value), count in sorted(found.items(), key=key)]


def totals(works: Sequence[ClassWork]) -> list[Total]:
    """Every student's points over several assignments; what was not handed in earns nothing."""
    most = sum(max((one.max_points for one in work.works), default=0.0) for work in works)
    found: dict[str, list[float]] = {}
    for work in works:
        for one in work.works:
            found.setdefault(one.student, []).append(one.total)
    return [Total(student, sum(points), most, len(points)) for student, points in sorted(found.items())]
