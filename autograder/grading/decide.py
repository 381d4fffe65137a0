"""From evidence to marks, for grading: which cases are asked, in which order, and what is made of the answers.

Nothing here runs student code. Hidden cases of the submission's own seed and visible ones are asked in shuffled order,
without saying which is which, and one of them a second time: an object that answers differently when it is asked again
computes from something other than its arguments.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autograder.devices import Device, on_device
from autograder.diagnose import Diagnosis, diagnose_first
from autograder.evidence import Evidence, Problem
from autograder.exercise import Case, CodeExercise, Exercise, QuizExercise
from autograder.grading.results import ExerciseResult
from autograder.render import as_data, as_html, as_text
from autograder.verdict import Verdict, deviation, hidden_cases, judge, judge_quiz, quiz_case, visible_cases

CHANGED = Problem(
    "protocol",
    "ProtocolError",
    "Asked the same thing twice, your code gave two different answers: does it keep something from one call to the next?",
)


@dataclass(frozen=True)
class Questions:
    """What an exercise is asked, as places among `cases`.

    `first`: the hidden cases and those that only exist visibly, one of them twice. If all of that is right, it is enough;
    otherwise `second`, the other visible cases, are asked as well: there a mistake can be named and shown.
    """

    cases: tuple[Case, ...]
    first: tuple[int, ...]
    second: tuple[int, ...] = ()

    def at(self, places: Sequence[int]) -> list[Case]:
        return [self.cases[place] for place in places]


def questions(exercise: Exercise, seed: int, device: Device = "cpu") -> Questions:
    """The cases of one submission; `seed` is secret (`secret.hidden_seed`). All that can be are played on `device`."""
    if isinstance(exercise, QuizExercise):
        return Questions((quiz_case(exercise),), (0,))
    assert isinstance(exercise, CodeExercise)
    visible = on_device(visible_cases(exercise), device)
    hidden = on_device(hidden_cases(exercise, seed), device)
    drawn = {case.name for case in hidden}
    cases = visible + hidden
    second = [place for place, case in enumerate(visible) if case.name in drawn]
    first = [place for place in range(len(cases)) if place not in second]
    dice = random.Random(seed)
    dice.shuffle(first)
    dice.shuffle(second)
    return Questions(cases, (*first, first[0]), tuple(second))


def enough(exercise: Exercise, asked: Questions, answered: Sequence[Evidence]) -> bool:
    """Are the answers to the first questions all right, so that the others need not be asked?"""
    if not asked.second or len(answered) < len(asked.first):
        return not asked.second
    assert isinstance(exercise, CodeExercise)
    cases, evidence = _in_place(asked, answered, None)
    return judge(exercise, cases, evidence, decided=True).passed


def result(exercise: Exercise, asked: Questions, answered: Sequence[Evidence], ended: Problem | None) -> ExerciseResult:
    """The result of one exercise. `answered`: evidence in the order asked; where it stops early, `ended` says why."""
    cases, evidence = _in_place(asked, answered, ended)
    if isinstance(exercise, QuizExercise):
        verdict: Verdict = judge_quiz(exercise, evidence[0], reveal=True)
        diagnosis = None
    else:
        assert isinstance(exercise, CodeExercise)
        verdict, diagnosis = _decided(exercise, cases, evidence, look=bool(answered))
    return ExerciseResult(
        exercise_id=exercise.id,
        grade_id=exercise.grade_id,
        points=verdict.earned,
        max_points=exercise.points,
        reason=ended.message if ended else "",
        html=as_html(verdict, diagnosis),
        text=as_text(verdict, diagnosis),
        data=as_data(verdict, diagnosis),
        misconceptions=tuple(f"{m.id} {m.title}" for m in diagnosis.misconceptions) if diagnosis else (),
        seconds=sum(one.seconds for one in answered),
    )


def _in_place(
    asked: Questions, answered: Sequence[Evidence], ended: Problem | None
) -> tuple[list[Case], list[Evidence]]:
    """The cases that count, in the course's order, and their evidence; what was not answered carries the reason."""
    found = dict(zip((*asked.first, *asked.second), answered, strict=False))
    again = len(asked.first) - 1  # the question that was asked twice
    if len(answered) > again > 0:
        found[asked.first[0]] = answered[0]
    whole = range(len(asked.cases))
    only_first = 0 < len(answered) <= len(asked.first)
    places = sorted(set(asked.first)) if only_first else list(whole)
    cases = asked.at(places)
    if answered and answered[-1].problem is not None and answered[-1].problem.kind == "not_started":
        return asked.at(whole), [answered[-1]] * len(whole)
    if len(answered) > again > 0 and _differs(answered[0], answered[again], asked.cases[asked.first[0]]):
        return cases, [replace(found.get(place, Evidence()), problem=CHANGED) for place in places]
    return cases, [found.get(place, Evidence(problem=ended)) for place in places]


def _differs(one: Evidence, other: Evidence, case: Case) -> bool:
    if one.problem is not None or other.problem is not None:
        return (one.problem is None) != (other.problem is None)
    return one.arrays.keys() != other.arrays.keys() or any(
        array.shape != other.arrays[name].shape
        or deviation(array, other.arrays[name], name in one.stepped) > case.tolerance
        for name, array in one.arrays.items()
    )


def _decided(
    exercise: CodeExercise, cases: Sequence[Case], evidence: Sequence[Evidence], look: bool
) -> tuple[Verdict, Diagnosis | None]:
    """The mark stands when no mistake can be named: arrays of any shape come out of the student's process, and what they
    make the search do must not end the class's grading."""
    verdict = judge(exercise, cases, evidence, decided=True)
    if not look or verdict.passed:
        return verdict, None
    try:
        # visible cases are everybody's: there the wrong variants' runs are computed once for the class
        return verdict, diagnose_first(exercise, cases, evidence, verdict, lambda case: not case.hidden)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return verdict, None
