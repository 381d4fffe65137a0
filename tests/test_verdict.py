"""Verdicts: decided from evidence alone, by rules a student could read."""

from __future__ import annotations

import numpy as np
import pytest

from autograder.evidence import Evidence, Problem
from autograder.exercise import REGISTRY, Case, CodeExercise, Limit, QuizExercise
from autograder.verdict import INFINITE, deviation, judge, judge_case, judge_quiz, visible_cases


def case(**more: object) -> Case:
    return Case("a case", "core", "function", {}, **more)  # type: ignore[arg-type]


def trajectory(*rows: float) -> Evidence:
    return Evidence(arrays={"w": np.array(rows).reshape(-1, 1)}, stepped=frozenset({"w"}))


def test_deviation_is_relative_to_the_way_moved_not_to_the_size_of_the_weight() -> None:
    far = np.array([[1000.0], [1000.1]])
    near = np.array([[1000.0], [1000.2]])
    assert deviation(near, far, stepped=True) == pytest.approx(0.5)
    assert deviation(near, far, stepped=False) == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], 0.0),
        ([np.inf, 1.0], [np.inf, 1.0], 0.0),
        ([np.inf, 1.0], [-np.inf, 1.0], INFINITE),
        ([np.nan, 1.0], [0.0, 1.0], INFINITE),
        ([np.inf, 1.0], [0.0, 1.0], INFINITE),
    ],
)
def test_nan_and_inf_count_by_their_pattern(one: list[float], other: list[float], apart: float) -> None:
    assert deviation(np.array(one), np.array(other), stepped=False) == apart


def test_the_first_departure_is_the_earliest_step_and_there_the_largest_gap() -> None:
    expected = Evidence(
        arrays={"a": np.array([[0.0, 0], [1, 1], [2, 2]]), "b": np.array([[0.0], [5], [5]])}, stepped=frozenset("ab")
    )
    got = Evidence(
        arrays={"a": np.array([[0.0, 0], [1, 1.5], [9, 2]]), "b": np.array([[0.0], [5], [7]])}, stepped=frozenset("ab")
    )
    departure = judge_case(case(), got, expected).departure
    assert departure is not None
    assert (departure.quantity, departure.step, departure.index) == ("a", 1, (1,))
    assert (departure.expected, departure.got) == (1.0, 1.5)


def test_shapes_and_missing_arrays_are_told_by_name() -> None:
    expected = Evidence(arrays={"w": np.zeros((3, 2)), "m": np.zeros(2)}, stepped=frozenset({"w"}))
    found = Evidence(arrays={"w": np.zeros((3, 4))}, stepped=frozenset({"w"}))
    texts = [text for _, text, _ in judge_case(case(), found, expected).violations]
    assert texts == ["w has shape (4,); it should be (2,)", "m is missing"]
    assert judge_case(case(may_lack=("m",)), Evidence(arrays={"w": np.zeros((3, 2))}), expected).passed


def test_facts_limits_and_identity_are_rules() -> None:
    expected = Evidence(facts={"gradient": "unchanged"})
    found = Evidence(
        arrays={"one": np.array([[0.0], [1], [2]]), "two": np.array([[0.0], [1], [3]])},
        stepped=frozenset({"one", "two"}),
        facts={"gradient": "changed in step 1", "syncs": 3.0, "syncs: where": ["line 4"]},
    )
    limit = Limit("syncs", 0, "{count} stops, {at_most} allowed. Waiting costs.")
    verdict = judge_case(case(identical=(("one", "two"),), limits=(limit,)), found, expected)
    assert {name for name, _, _ in verdict.violations} == {"gradient", "one = two", "syncs"}
    assert ("syncs", "3 stops, 0 allowed. Waiting costs.", ("line 4",)) in verdict.violations


def test_identical_runs_that_do_not_move_are_no_proof() -> None:
    still = Evidence(arrays={"one": np.ones((3, 1)), "two": np.ones((3, 1))}, stepped=frozenset({"one", "two"}))
    verdict = judge_case(case(identical=(("one", "two"),)), still, Evidence())
    assert [text for _, text, _ in verdict.violations] == ["one does not move at all"]


def test_a_group_earns_its_points_only_when_all_of_its_cases_pass() -> None:
    exercise = REGISTRY["adam.step"]
    assert isinstance(exercise, CodeExercise)
    cases = visible_cases(exercise)
    right = [judge_evidence(exercise, one) for one in cases]
    broken = [*right]
    broken[2] = Evidence(problem=Problem("raised", "ValueError", "no"))  # "a matrix in float32"
    verdict = judge(exercise, cases, broken, decided=True)
    assert [(g.name, g.earned) for g in verdict.groups] == [
        ("update", 2.0),
        ("continued state", 0.5),
        ("shapes and dtypes", 0.0),
    ]
    assert verdict.earned == 2.5
    assert judge(exercise, cases, right, decided=True).earned == exercise.points


def judge_evidence(exercise: CodeExercise, one: Case) -> Evidence:
    from autograder.verdict import expected_evidence

    return expected_evidence(exercise, one)


def test_points_are_a_plain_float() -> None:
    exercise = REGISTRY["adam.q1"]
    assert isinstance(exercise, QuizExercise)
    verdict = judge_quiz(exercise, Evidence(facts={"length of the first step": 0.001}), reveal=True)
    assert type(verdict.earned) is float
    assert verdict.earned == 1.0


@pytest.mark.parametrize(
    ("answer", "right", "says"),
    [
        (0.001, True, "Right"),
        (0.0010005, True, "Right"),
        (0.25, False, "lr·g"),
        (0.0031, False, "Put g₁ into"),
        (0.003162, False, "without bias correction"),
    ],
)
def test_a_number_is_matched_with_the_nearest_known_answer(answer: float, right: bool, says: str) -> None:
    exercise = REGISTRY["adam.q1"]
    assert isinstance(exercise, QuizExercise)
    verdict = judge_quiz(exercise, Evidence(facts={"length of the first step": answer}), reveal=True)
    assert verdict.passed == right
    assert says in verdict.cases[0].remark


def test_without_reveal_a_quiz_says_nothing_about_right_and_wrong() -> None:
    exercise = REGISTRY["adam.q3"]
    assert isinstance(exercise, QuizExercise)
    for answer in "abcd":
        verdict = judge_quiz(exercise, Evidence(facts={"pairs that coincide": answer}), reveal=False)
        assert verdict.passed
        assert verdict.cases[0].remark == ""
