"""Leaderboards of exercises that measure something: a score for every student who does not mind.

Any exercise whose verdict carries a score has one. Names are pseudonyms, the same in every report (`grading.pseudonyms`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autograder.grading.pseudonyms import declines, pseudonyms, score_of
from autograder.grading.report.collect import ClassWork, exercise_title


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
