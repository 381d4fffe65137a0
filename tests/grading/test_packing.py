"""Cases as bytes: everything the course's exercises use comes back as it was, and nothing else travels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from autograder.evidence import decode, encode
from autograder.exercise import REGISTRY, Case, CodeExercise, QuizExercise
from autograder.grading.claims import plain
from autograder.grading.packing import pack, unpack
from autograder.verdict import expected_evidence, hidden_cases, quiz_case, visible_cases


def same(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray):
        return (
            isinstance(two, np.ndarray)
            and one.dtype == two.dtype
            and np.array_equal(one, two, equal_nan=one.dtype.kind in "fc")
        )
    if isinstance(one, Mapping):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and bool(one == two)


@pytest.mark.parametrize("exercise_id", [e.id for e in REGISTRY.values() if e.kind != "written"])
def test_the_inputs_of_every_exercise_come_back_as_they_were(exercise_id: str) -> None:
    exercise = REGISTRY[exercise_id]
    if isinstance(exercise, QuizExercise):
        cases: tuple[Case, ...] = (quiz_case(exercise),)
    else:
        assert isinstance(exercise, CodeExercise)
        cases = visible_cases(exercise) + hidden_cases(exercise, 5)
    found = unpack(pack(cases))
    assert [case.collector for case in found] == [case.collector for case in cases]
    assert all(same(case.inputs, other.inputs) for case, other in zip(cases, found, strict=True))


def test_a_case_does_not_tell_whether_it_is_hidden() -> None:
    hidden = Case("a telling name", "a group", "function", {"x": 1}, hidden=True)
    data = pack([hidden])
    assert data == pack([Case("", "", "function", {"x": 1})])
    assert b"telling" not in data


def test_inputs_that_are_no_plain_data_are_refused() -> None:
    with pytest.raises(TypeError, match="not function"):
        pack([Case("", "", "function", {"f": same})])


@pytest.mark.parametrize("exercise_id", [e.id for e in REGISTRY.values() if isinstance(e, CodeExercise)])
def test_right_answers_pass_through_the_graders_bounds_unchanged(exercise_id: str) -> None:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    for case in (*visible_cases(exercise), *hidden_cases(exercise, 5)):
        found = expected_evidence(exercise, case)
        there = plain(decode(encode(found)))
        assert there.facts == found.facts, case.name
        assert same(there.arrays, found.arrays), case.name
