"""From evidence to marks: order, repetition, answers that stop early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autograder.answers import adam_adamw as answers
from autograder.evidence import Evidence, Problem, gather
from autograder.exercise import REGISTRY, CodeExercise
from autograder.grading import decide
from autograder.grading.packing import pack, unpack

STEP = REGISTRY["adam.step"]
assert isinstance(STEP, CodeExercise)


def play(asked: decide.Questions, *objects: Any, second: bool = False) -> list[Evidence]:
    places = (*asked.first, *asked.second) if second else asked.first
    return [gather(case, objects) for case in unpack(pack(asked.at(places)))]


def test_hidden_cases_come_first_in_an_order_that_says_nothing_and_one_is_repeated() -> None:
    asked = decide.questions(STEP, 7)
    *once, again = asked.first
    assert again == once[0]
    assert sorted((*once, *asked.second)) == list(range(len(asked.cases)))
    assert once != sorted(once)
    names = {asked.cases[place].name for place in once}
    assert names == {case.name for case in asked.cases}  # whatever is asked later has been asked with other numbers
    assert not any(asked.cases[place].hidden for place in asked.second)
    assert decide.questions(STEP, 7).first == asked.first
    assert decide.questions(STEP, 8).first != asked.first


def test_right_answers_to_the_first_questions_are_enough() -> None:
    asked = decide.questions(STEP, 7)
    right, wrong = play(asked, answers.step_by_formula), play(asked, answers._eps_inside)
    assert decide.enough(STEP, asked, right)
    assert not decide.enough(STEP, asked, wrong)
    assert not decide.enough(STEP, asked, right[:-1])


def test_a_right_answer_gets_all_and_a_wrong_one_its_name() -> None:
    asked = decide.questions(STEP, 7)
    right = decide.result(STEP, asked, play(asked, answers.step_by_formula), None)
    assert (right.points, right.max_points, right.misconceptions) == (3.0, 3.0, ())
    wrong = decide.result(STEP, asked, play(asked, answers._eps_inside, second=True), None)
    assert wrong.points == 0.0
    assert [text.split()[0] for text in wrong.misconceptions] == ["A1"]
    assert "eps inside" in wrong.html


def test_an_answer_that_changes_when_asked_again_is_told_so() -> None:
    asked = decide.questions(STEP, 7)
    found = play(asked, answers.step_by_formula)
    last = found[-1]
    moved = {name: array + (np.arange(len(array)) if array.ndim == 1 else 1) for name, array in last.arrays.items()}
    result = decide.result(STEP, asked, [*found[:-1], replace(last, arrays=moved)], None)
    assert result.points == 0.0
    assert "two different answers" in result.text


def test_what_was_not_answered_fails_with_the_reason_and_the_rest_counts() -> None:
    asked = decide.questions(STEP, 7)
    found = play(asked, answers.step_by_formula)
    ended = Problem("raised", "Stopped", "its process was ended (signal 11)")
    nothing = decide.result(STEP, asked, [], ended)
    assert nothing.points == 0.0
    assert "signal 11" in nothing.text
    one_missing = decide.result(STEP, asked, found[: len(asked.first) - 2], ended)
    assert 0.0 < one_missing.points < 3.0


def test_an_untouched_stub_is_not_started() -> None:
    def stub(*args: object, **kwargs: object) -> None:
        raise NotImplementedError()

    asked = decide.questions(STEP, 7)
    result = decide.result(STEP, asked, play(asked, stub)[:1], None)
    assert result.points == 0.0
    assert result.misconceptions == ()
    assert "NotImplementedError" in result.text


def test_quizzes_are_marked_with_the_key() -> None:
    quiz = REGISTRY["adam.q3"]
    asked = decide.questions(quiz, 1)

    def points(answer: str) -> float:
        found: Sequence[Evidence] = play(asked, answer)
        return decide.result(quiz, asked, found, None).points

    assert (points("a"), points("b"), points("?")) == (1.0, 0.0, 0.0)
