"""The same checks on CUDA: references, tolerances and right answers hold there in every dtype."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from autograder.answers import adam_adamw as answers
from autograder.answers import minibatching
from autograder.checks import on_cuda
from autograder.evidence import gather
from autograder.exercise import REGISTRY, TOLERANCE, Case, CodeExercise
from autograder.verdict import expected_evidence, judge_case, visible_cases


def code(exercise_id: str) -> CodeExercise:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    return exercise


RIGHT = [
    ("minibatch.mean_gradient", (minibatching.mean_indexed,)),
    ("minibatch.unbiased", (minibatching.all_at_once,)),
    ("minibatch.epoch_loss", (minibatching.loss_weighted,)),
    ("minibatch.standard_error", (minibatching.error_population,)),
    ("minibatch.sgd", (minibatching.SGDAlpha,)),
    ("minibatch.logistic", (minibatching.logistic_sigmoid,)),
    ("minibatch.perceptron", (minibatching.perceptron_mask,)),
    ("adam.step", (answers.step_by_formula,)),
    ("adam.adam", (answers.TorchNames,)),
    ("adam.adamw", (answers._w(answers.TorchNames),)),
    ("adam.foreach", (answers.Foreach,)),
]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(("exercise_id", "objects"), RIGHT, ids=[name for name, _ in RIGHT])
def test_right_answers_pass_on_cuda(exercise_id: str, objects: tuple[Any, ...], dtype: str) -> None:
    exercise = code(exercise_id)
    for case in on_cuda(exercise):
        if case.inputs.get("dtype", "float64") == dtype:
            assert judge_case(case, gather(case, objects), expected_evidence(exercise, case)).passed, case.name


@pytest.mark.gpu
def test_cpu_and_cuda_references_agree_within_the_tolerances() -> None:
    for exercise_id, _ in RIGHT:
        exercise = code(exercise_id)
        for case in on_cuda(exercise):
            at_home = replace(case, inputs={**case.inputs, "device": "cpu"})
            found = gather(case, exercise.reference())
            verdict = judge_case(at_home, found, expected_evidence(exercise, at_home))
            assert verdict.passed, (exercise_id, case.name, verdict.deviation)


def test_the_cases_for_cuda_are_the_visible_cpu_cases() -> None:
    exercise = code("adam.adam")
    twins = on_cuda(exercise)
    plain = [c for c in visible_cases(exercise) if c.inputs.get("device", "cpu") == "cpu"]
    assert [t.inputs["device"] for t in twins] == ["cuda"] * len(plain)
    assert {t.inputs.get("dtype", "float64") for t in twins} == set(TOLERANCE)
    assert not any(isinstance(t, Case) and t.hidden for t in twins)
    if not torch.cuda.is_available():  # without the device the problem is told, not raised
        assert gather(twins[0], (torch.optim.Adam,)).problem is not None
