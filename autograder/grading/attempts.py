"""Which of a student's attempts counts: the last one, as in nbgrader, or the best one.

The best is the one with the most points from the checks after the late penalty of its own hand-in time; of equal ones the
latest. Whole attempts are compared, never put together. Of attempts at the same work (graded again) only the latest is
looked at, and only attempts with the exercises and points of the latest are: others were another assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from autograder.grading.results import SubmissionResult
from autograder.grading.store import Attempt, Store
from autograder.manifest import Keep

#: (student, points, when handed in) → points taken off.
Penalty = Callable[[str, float, datetime | None], float]


def counting(store: Store, assignment: str, student: str, keep: Keep, penalty: Penalty) -> Attempt | None:
    """The attempt that counts; None before the first."""
    attempts = store.attempts(assignment, student)
    if not attempts:
        return None
    candidates = list({attempt.digest: attempt for attempt in attempts}.values())
    if keep == "last" or len(candidates) == 1:
        return attempts[-1]
    results = {one.number: store.load(one)[0] for one in (*candidates, attempts[-1])}
    asked = _asked(results[attempts[-1].number])

    def worth(attempt: Attempt) -> tuple[float, int]:
        result = results[attempt.number]
        return result.points - penalty(student, result.points, handed_in(result)), attempt.number

    return max((one for one in candidates if _asked(results[one.number]) == asked), key=worth)


def _asked(result: SubmissionResult) -> list[tuple[str, float]]:
    return [(one.grade_id, one.max_points) for one in result.exercises]


def handed_in(result: SubmissionResult) -> datetime | None:
    """When the attempt was handed in, in UTC; None where that is not known."""
    return datetime.fromisoformat(result.submitted).replace(tzinfo=UTC) if result.submitted else None


def place_among(attempt: Attempt, attempts: Sequence[Attempt]) -> str:
    """What a student is told whose latest attempt is not the one that counts; "" for the latest."""
    if attempt.number == attempts[-1].number:
        return ""
    return f"your best attempt counts: number {attempt.number} of {len(attempts)}"
