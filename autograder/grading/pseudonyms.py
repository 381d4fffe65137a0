"""Names for leaderboards: two words that follow from the course key and a student's id, and who wants to be listed.

An exercise measures something when its verdict carries a score (`Verdict.score`, more is better). A student who writes
`# leaderboard: no` in the solution cell is left out.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from autograder.grading.results import ExerciseResult
from autograder.grading.words import FIRST, SECOND

_NO = re.compile(r"^[ \t]*#[ \t]*leaderboard[ \t]*:[ \t]*no\b", re.IGNORECASE | re.MULTILINE)


def score_of(one: ExerciseResult) -> float | None:
    """The score that a result carries; None without one."""
    score = one.data.get("score")
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        return None
    return float(score)


def declines(source: str) -> bool:
    """Does the code of a solution cell say that its author does not want to be listed?"""
    return bool(_NO.search(source))


def pseudonyms(key: bytes, students: Iterable[str]) -> dict[str, str]:
    """Student → two words. They follow from key and id alone; only where two students would have the same words, each
    gets a number as well."""
    drawn = {student: _drawn(key, student) for student in students}
    count = Counter(name for name, _ in drawn.values())
    return {student: name if count[name] == 1 else f"{name} {number}" for student, (name, number) in drawn.items()}


def told(
    results: Iterable[ExerciseResult], sources: Mapping[str, str], student: str, key: Callable[[], bytes]
) -> dict[str, str]:
    """Exercise id → what its author is told: the score, and under which name it stands on the leaderboard.

    `sources`: exercise id → code of the solution cell. `key` is only asked for where there is a score.
    """
    scores = {one.exercise_id: score_of(one) for one in results}
    listed = {
        name: score for name, score in scores.items() if score is not None and not declines(sources.get(name, ""))
    }
    if not listed:
        return {}
    name, number = _drawn(key(), student)
    also = f"“{name}”, or “{name} {number}” if somebody else has the same two words"
    return {one: f"Measured: {score:.4g}. On a leaderboard you are {also}." for one, score in listed.items()}


def _drawn(key: bytes, student: str) -> tuple[str, int]:
    message = f"pseudonym|{student}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(hmac.digest(key, message, hashlib.sha256)[:16], "big")
    number, first = divmod(number, len(FIRST))
    number, second = divmod(number, len(SECOND))
    return f"{FIRST[first]} {SECOND[second]}", number % 9000 + 1000
