"""What grading one submission gives: plain data, so that it can be stored, compared and shown without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ExerciseResult:
    """One exercise of one submission. Every exercise of the assignment gets one, whatever happened.

    `html`, `text` and `data` show the verdict (`autograder.render`); `reason` says in one line why there is no verdict
    ("" when there is one); `misconceptions` are "<id> <title>"; `waits` marks written work, which a human reads.
    """

    exercise_id: str
    grade_id: str
    points: float
    max_points: float
    reason: str = ""
    html: str = ""
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    misconceptions: tuple[str, ...] = ()
    waits: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class SubmissionResult:
    """All that is known about one graded submission.

    `digest`: of what was graded (`submission.Submission.digest`). `release`: of the release it was graded against.
    `outputs`: cell id → nbformat outputs of the cells that were run. `notes`: what the student should know (a cell that
    was ignored, a file that was not followed). `flags`: what the instructor should look at. `rung`: the sandbox.
    `cell_seconds`: name of a cell (`flags.cell_name`, else its id) → how long it ran. `versions`: of Python, torch and this
    package. `submitted`: when it was handed in (ISO 8601, UTC), "" where that is not known.
    """

    student: str
    assignment: str
    digest: str
    release: str
    engine: str
    rung: str
    exercises: tuple[ExerciseResult, ...]
    outputs: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    seconds: float = 0.0
    cell_seconds: Mapping[str, float] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    submitted: str = ""

    @property
    def points(self) -> float:
        return sum(one.points for one in self.exercises)

    @property
    def max_points(self) -> float:
        return sum(one.max_points for one in self.exercises)

    def marks(self) -> dict[str, float]:
        """Exercise id → points, written work left out."""
        return {one.exercise_id: one.points for one in self.exercises if not one.waits}


def as_json(result: SubmissionResult) -> dict[str, Any]:
    return asdict(result)


def from_json(data: Mapping[str, Any]) -> SubmissionResult:
    """The inverse of `as_json`, also after a round trip through JSON text."""
    exercises = tuple(
        ExerciseResult(**{**one, "misconceptions": tuple(one["misconceptions"])}) for one in data["exercises"]
    )
    lists = {name: tuple(data[name]) for name in ("notes", "flags")}
    return SubmissionResult(**{**data, "exercises": exercises, **lists})
