"""What a report is made from: the published attempts, what the gradebook says of them, and the code that was graded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autograder.exercise import REGISTRY
from autograder.grading.assignment import Assignment, read_assignment
from autograder.grading.attempts import handed_in_times
from autograder.grading.engine import STORE, Course, GradingError
from autograder.grading.flags import Flagged, cell_name
from autograder.grading.flags import read as read_flags
from autograder.grading.gradebook import Standing, is_there, open_gradebook
from autograder.grading.results import ExerciseResult, SubmissionResult
from autograder.grading.store import Attempt, Store
from autograder.manifest import manifest, title_of
from autograder.publish.sample_class import source_solutions


@dataclass(frozen=True)
class Work:
    """One student's published submission. `attempts`: one for each time that it was handed in, the first one first.
    `sources`: exercise id → the solution cell that was graded. `standing`: None where the gradebook has no such submission."""

    student: str
    attempt: Attempt
    attempts: tuple[Attempt, ...]
    exercises: tuple[ExerciseResult, ...]
    flags: tuple[Flagged, ...]
    seconds: float
    cell_seconds: Mapping[str, float]
    versions: Mapping[str, str]
    sources: Mapping[str, str]
    standing: Standing | None

    def points(self, one: ExerciseResult) -> float | None:
        """Points of an exercise as the gradebook has them; None while a human has to decide."""
        if self.standing is not None and one.grade_id in self.standing.points:
            return self.standing.points[one.grade_id]
        return None if one.waits else one.points

    @property
    def total(self) -> float:
        """Points so far, with manual scores and without what is taken off for handing in late."""
        taken_off = self.standing.penalty if self.standing else 0.0
        return max(sum(self.points(one) or 0.0 for one in self.exercises) - taken_off, 0.0)

    @property
    def max_points(self) -> float:
        return sum(one.max_points for one in self.exercises)

    @property
    def waits(self) -> bool:
        return self.standing.waits if self.standing else any(one.waits for one in self.exercises)

    @property
    def late(self) -> float:
        """Seconds after the due date."""
        return self.standing.late if self.standing else 0.0


@dataclass(frozen=True)
class ClassWork:
    """One assignment's class. `submitted`: who has handed in. `known`: exercise id → code that every student had before:
    the release's, then the course's own solution where it is there."""

    assignment: Assignment
    title: str
    submitted: tuple[str, ...]
    works: tuple[Work, ...]
    known: Mapping[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        return self.assignment.name


def read_classes(course: Course, names: Sequence[str] = ()) -> list[ClassWork]:
    """The named assignments, or all that have results, in course order.

    Raises GradingError when there are none, StoreError, GradebookError, and ValueError for a broken release.
    """
    path = course.root / STORE
    if not path.is_file():
        raise GradingError(f"nothing has been graded in {course.root}: run autograder grade first, or say --course")
    with Store(path) as store:
        graded = store.assignments()
        if not graded:
            raise GradingError(f"nothing has been graded in {course.root} yet: run autograder grade first")
        for name in names:
            if name not in graded:
                raise GradingError(f"there are no results for {name!r}; there are some for {', '.join(graded)}")
        order = [notebook.name for notebook in manifest().notebooks]
        chosen = sorted(
            set(names or graded), key=lambda name: (name not in order, order.index(name) if name in order else 0, name)
        )
        return [_read_class(course, store, name) for name in chosen]


def _read_class(course: Course, store: Store, name: str) -> ClassWork:
    assignment = read_assignment(course.root / "release", name)
    attempts: dict[str, list[Attempt]] = {}
    for attempt in store.history(name):
        attempts.setdefault(attempt.student, []).append(attempt)
    standings = _standings(course, name)
    cells = assignment.solution_cells
    works = tuple(
        _work(attempt, attempts[attempt.student], result, notebook, cells, standings.get(attempt.student))
        for attempt, result, notebook in store.shown(name)
    )
    submitted = sorted({*course.students(name), *(work.student for work in works)})
    return ClassWork(assignment, title_of(name), tuple(submitted), works, _known(course.root, assignment))


def _standings(course: Course, name: str) -> dict[str, Standing]:
    if not is_there(course.gradebook):
        return {}
    with open_gradebook(course.gradebook, course.course_id) as book:
        return book.standings(name)


def _work(
    attempt: Attempt,
    attempts: Sequence[Attempt],
    result: SubmissionResult,
    notebook: str,
    cells: Mapping[str, str],
    standing: Standing | None,
) -> Work:
    by_name = dict(graded_sources(notebook))
    sources = {exercise_id: by_name[grade_id] for grade_id, exercise_id in cells.items() if grade_id in by_name}
    return Work(
        student=attempt.student,
        attempt=attempt,
        attempts=tuple(handed_in_times(attempts)),
        exercises=tuple(replace(one, html="", text="") for one in result.exercises),
        flags=read_flags(result.flags, by_name),
        seconds=result.seconds,
        cell_seconds=result.cell_seconds,
        versions=result.versions,
        sources=sources,
        standing=standing,
    )


def graded_sources(notebook: str) -> list[tuple[str, str]]:
    """The code that was graded, by grade id, and the student's own cells as flags call them."""
    found = []
    for cell in json.loads(notebook).get("cells", ()):
        name = cell_name(cell)
        if name and cell.get("cell_type") == "code":
            found.append((name, _joined(cell.get("source", ""))))
    return found


def _joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)


def _known(root: Path, assignment: Assignment) -> dict[str, tuple[str, ...]]:
    given = {cell.exercise_id: cell.source for cell in assignment.cells if cell.kind == "solution"}
    path = root / "source" / assignment.name / f"{assignment.name}.ipynb"
    solutions = source_solutions(path) if path.is_file() else {}
    return {one: tuple(filter(None, (source, solutions.get(one, "")))) for one, source in given.items()}


def exercise_title(exercise_id: str) -> str:
    """The title, "" for an exercise that the course no longer has."""
    exercise = REGISTRY.get(exercise_id)
    return exercise.title if exercise else ""
