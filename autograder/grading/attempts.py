"""Which of a student's attempts counts: the last one, as in nbgrader, or the best one.

The best is the one with the most points from the checks after the late penalty of its own hand-in time; of equal ones the
latest. Whole attempts are compared, never put together. Of attempts at the same work (graded again) only the latest is
looked at, and only attempts with the exercises and points of the latest are: others were another assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import groupby

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
    times = handed_in_times(attempts)
    place = sum(one.number < attempt.number for one in times) + 1
    return f"your best attempt counts: number {place} of {len(times)}"


def handed_in_times(attempts: Sequence[Attempt]) -> list[Attempt]:
    """One attempt for each time that a student has handed in, the first one first: work that was graded again without a
    change between (by --force, or for a new release) was handed in once, and its latest result stands for it."""
    return [list(same)[-1] for _, same in groupby(attempts, key=lambda attempt: attempt.digest)]
