"""Diagnosis: one misconception, two at once, the ones that coincide, and honest silence."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from autograder.audit import answers
from autograder.diagnose import Diagnosis, advice, diagnose
from autograder.evidence import Frame, Problem, gather
from autograder.exercise import REGISTRY, CodeExercise
from autograder.misconceptions import adam as bank
from autograder.verdict import judge, visible_cases


def told(exercise_id: str, *objects: Any) -> Diagnosis | None:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    cases = visible_cases(exercise)
    evidence = [gather(case, objects) for case in cases]
    return diagnose(exercise, cases, evidence, judge(exercise, cases, evidence, decided=False))


def test_a_right_answer_has_no_diagnosis() -> None:
    assert told("adam.adam", torch.optim.Adam) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("A5m", "A1"), ("A1", "A6g"), ("A8", "R4"), ("A5", "W8"), ("A7a", "A20")],
)
def test_two_mistakes_at_once_are_recognised_as_such(one: str, other: str) -> None:
    faults = {**bank.ROWS[one].faults, **bank.ROWS[other].faults}
    diagnosis = told("adam.adam", bank.optimizer("l2", faults))
    assert diagnosis is not None
    assert diagnosis.together
    assert set(diagnosis.ids) == {one, other}


def test_a_misconception_that_often_coincides_is_named_with_when() -> None:
    """One step count for all parameters equals torch as long as all have gradients."""
    mutant = next(objects for row, _, objects in answers(_adam(), "MUTANTS") if row == "A6g")
    diagnosis = told("adam.adam", *mutant)
    assert diagnosis is not None
    assert diagnosis.ids == ("A6g",)
    assert diagnosis.explains == ("a parameter that joins late",)
    assert len(diagnosis.equal_in) == len(visible_cases(_adam())) - 1
    assert "every parameter has a gradient" in diagnosis.misconceptions[0].coincides


@pytest.mark.parametrize("row", ["W1", "W8", "W14"])
def test_what_equals_the_reference_for_plain_sgd_passes_there_and_is_named_elsewhere(row: str) -> None:
    exercise = REGISTRY["adam.l2_is_not_decay"]
    assert isinstance(exercise, CodeExercise)
    wrong = next(m for m in exercise.misconceptions if m.id == row)
    diagnosis = told(exercise.id, *wrong.objects())
    assert diagnosis is not None
    assert diagnosis.ids == (row,)
    assert diagnosis.equal_in == ("kind = 'sgd'",)


def test_a_mistake_between_parameters_is_found_beside_another_one() -> None:
    """One state for all looks right in a parameter by itself, and like a state that is lost where shapes differ."""
    diagnosis = told("adam.adamw", bank.optimizer("decoupled", {"sign": 1, "state": "shared"}))
    assert diagnosis is not None
    assert set(diagnosis.ids) == {"M5", "A23"}
    assert diagnosis.unexplained == ()


def test_a_known_mistake_beside_an_unknown_one_is_told_for_what_it_explains() -> None:
    class Odd(bank.optimizer("l2", {"eps": "inside"})):  # type: ignore[misc]
        def step(self, closure: Any = None) -> None:
            super().step()
            if self.param_groups[0]["amsgrad"]:  # something nobody has in a catalogue
                with torch.no_grad():
                    self.param_groups[0]["params"][0].mul_(1.01)

    diagnosis = told("adam.adam", Odd)
    assert diagnosis is not None
    assert diagnosis.ids == ("A1",)
    assert diagnosis.unexplained == ("amsgrad=True", "one in each group")


def test_an_update_unlike_any_known_one_gets_no_name() -> None:
    assert told("adam.adam", torch.optim.NAdam) is None
    assert told("adam.step", lambda w, g, m, v, t, *, lr, betas, eps: w.data.mul_(0.9)) is None


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("a leaf Variable that requires grad is being used in an in-place operation.", "@torch.no_grad()"),
        ("Expected all tensors to be on the same device, but found at least two devices", "zeros_like"),
        ("unsupported operand type(s) for *: 'float' and 'NoneType'", "p.grad"),
        ("float division by zero", "A divisor is 0"),
        ("'exp_avg'", "before a parameter's first step"),
        ("Adam.__init__() got an unexpected keyword argument 'amsgrad'", "signature"),
        ("something else", ""),
    ],
)
def test_advice_on_common_exceptions(message: str, says: str) -> None:
    words = advice(Problem("raised", "RuntimeError", message))
    assert says in words
    assert bool(words) == bool(says)


@pytest.mark.parametrize(("line", "counts"), [("m / (1 - beta**t)", True), ("s / (h * (2 - lr * h))", False)])
def test_a_division_by_zero_is_about_steps_only_where_a_power_of_beta_stands(line: str, counts: bool) -> None:
    words = advice(Problem("raised", "ZeroDivisionError", "division by zero", (Frame("f", 3, line),)))
    assert ("count steps from 1" in words) == counts


@pytest.mark.parametrize(("line", "about"), [("w -= lr * p.grad", True), ("last = last * gamma", False)])
def test_none_is_about_gradients_only_where_parameters_may_be(line: str, about: bool) -> None:
    words = advice(Problem("raised", "TypeError", "'NoneType' and 'float'", (Frame("exponential", 3, line),)))
    assert ("p.grad" in words) == about
    assert "None" in words


def _adam() -> CodeExercise:
    exercise = REGISTRY["adam.adam"]
    assert isinstance(exercise, CodeExercise)
    return exercise
