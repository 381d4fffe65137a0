"""Leaderboards of exercises that measure something: a score for every student who does not mind.

Any exercise whose verdict carries a score (`Verdict.score`, more is better) has one. Names are pseudonyms that follow
from the course key, the same in every report; a student who writes `# leaderboard: no` in the solution cell is left out.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from autograder.grading.report.collect import ClassWork, exercise_title
from autograder.grading.report.words import FIRST, SECOND
from autograder.grading.results import ExerciseResult

_NO = re.compile(r"^[ \t]*#[ \t]*leaderboard[ \t]*:[ \t]*no\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """One line; equal scores share a rank. `name`: a pseudonym, or the id where those are asked for."""

    rank: int
    name: str
    score: float


@dataclass(frozen=True)
class Board:
    """`left_out`: how many do not want to be on it."""

    exercise_id: str
    title: str
    places: tuple[Place, ...]
    left_out: int


def boards(work: ClassWork, key: Callable[[], bytes], real_names: bool = False) -> list[Board]:
    """A leaderboard for every exercise of the class that has scores, in course order. `key` is only asked for then."""
    found = []
    for exercise in work.assignment.exercises:
        scores, left_out = _scores(work, exercise.id)
        if scores:
            names = {student: student for student in scores} if real_names else pseudonyms(key(), scores)
            places = _ranked({names[student]: score for student, score in scores.items()})
            found.append(Board(exercise.id, exercise_title(exercise.id), places, left_out))
    return found


def score_of(one: ExerciseResult) -> float | None:
    """The score that a result carries; None without one."""
    score = one.data.get("score")
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        return None
    return float(score)


def declines(source: str) -> bool:
    """Does a solution cell say that its author wants to be on no leaderboard?"""
    return _NO.search(source) is not None


def _scores(work: ClassWork, exercise_id: str) -> tuple[dict[str, float], int]:
    scores, left_out = {}, 0
    for one in work.works:
        row = next((row for row in one.exercises if row.exercise_id == exercise_id), None)
        score = score_of(row) if row else None
        if score is not None and declines(one.sources.get(exercise_id, "")):
            left_out += 1
        elif score is not None:
            scores[one.student] = score
    return scores, left_out


def _ranked(scores: dict[str, float]) -> tuple[Place, ...]:
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    ranks: dict[float, int] = {}
    return tuple(Place(ranks.setdefault(score, number), name, score) for number, (name, score) in enumerate(ordered, 1))


def pseudonyms(key: bytes, students: Iterable[str]) -> dict[str, str]:
    """Student → two words. They follow from key and id alone; only where two students would have the same words, each
    gets a number as well."""
    drawn = {student: _drawn(key, student) for student in students}
    count = Counter(name for name, _ in drawn.values())
    return {student: name if count[name] == 1 else f"{name} {number}" for student, (name, number) in drawn.items()}


def _drawn(key: bytes, student: str) -> tuple[str, int]:
    message = f"pseudonym|{student}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(hmac.digest(key, message, hashlib.sha256)[:16], "big")
    number, first = divmod(number, len(FIRST))
    number, second = divmod(number, len(SECOND))
    return f"{FIRST[first]} {SECOND[second]}", number % 9000 + 1000
