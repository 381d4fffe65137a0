"""The gradebook's marks, one row for each student and assignment."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from autograder.exercise import REGISTRY
from autograder.grading.gradebook import Announced, Book, Enrolled, GradebookError, Standing
from autograder.manifest import manifest


@dataclass(frozen=True)
class ExerciseMark:
    """`points` is None while a human still has to decide, and where nothing was handed in."""

    exercise_id: str
    points: float | None
    max_points: float


@dataclass(frozen=True)
class Mark:
    """One student's assignment. `standing` is None where nothing was handed in: that counts 0, as in nbgrader's export."""

    assignment: Announced
    student: Enrolled
    standing: Standing | None

    @property
    def score(self) -> float:
        return self.standing.score if self.standing else 0.0

    @property
    def raw_score(self) -> float:
        return self.standing.raw if self.standing else 0.0

    @property
    def late_penalty(self) -> float:
        return self.standing.penalty if self.standing else 0.0

    @property
    def waits(self) -> bool:
        return self.standing is not None and self.standing.waits

    @property
    def submitted(self) -> datetime | None:
        return self.standing.submitted if self.standing else None

    @property
    def extension(self) -> timedelta | None:
        return self.standing.extension if self.standing else None

    @property
    def handed_in(self) -> bool:
        return self.standing is not None and self.standing.graded

    def exercises(self) -> Iterator[ExerciseMark]:
        """The assignment's exercises in course order."""
        points = self.standing.points if self.standing else {}
        for exercise_id, grade_id in exercises_of(self.assignment):
            yield ExerciseMark(exercise_id, points.get(grade_id), self.assignment.points[grade_id])


@dataclass(frozen=True)
class Marks:
    """The marks of some assignments (in course order) and of everybody enrolled (in order of their ids)."""

    assignments: tuple[Announced, ...]
    students: tuple[Enrolled, ...]
    rows: tuple[Mark, ...]

    @property
    def waiting(self) -> int:
        """How many of the rows may still change, because a human has to look."""
        return sum(row.waits for row in self.rows)


def read_marks(book: Book, names: Sequence[str] = (), students: Sequence[str] = ()) -> Marks:
    """The marks of the assignments and students named, of all without.

    Raises GradebookError for an assignment or a student that the gradebook does not know.
    """
    known = {one.name: one for one in book.assignments()}
    enrolled = {one.id: one for one in book.students()}
    _refuse_unknown("assignment", names, known)
    _refuse_unknown("student", students, enrolled)
    order = {notebook.name: place for place, notebook in enumerate(manifest().notebooks)}
    chosen = sorted((known[name] for name in set(names or known)), key=lambda one: order.get(one.name, len(order)))
    who = [enrolled[student] for student in sorted(set(students or enrolled))]
    rows = []
    for assignment in chosen:
        standings = book.standings(assignment.name)
        rows += [Mark(assignment, student, standings.get(student.id)) for student in who]
    return Marks(tuple(chosen), tuple(who), tuple(rows))


def _refuse_unknown(what: str, wanted: Sequence[str], known: Collection[str]) -> None:
    for name in wanted:
        if name not in known:
            there = f"it has {', '.join(known)}" if known else f"it has no {what} yet: grade something first"
            raise GradebookError(f"the gradebook has no {what} {name!r}; {there}")


def exercises_of(assignment: Announced) -> list[tuple[str, str]]:
    """(exercise id, grade id) of every graded cell: the course's in course order, then what it does not know."""
    known = {exercise.grade_id: exercise.id for exercise in REGISTRY.values()}
    order = {grade_id: place for place, grade_id in enumerate(known)}
    found = sorted(assignment.points, key=lambda one: (order.get(one, len(order)), one))
    return [(known.get(grade_id, grade_id), grade_id) for grade_id in found]
