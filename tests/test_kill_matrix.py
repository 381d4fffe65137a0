"""The proof that the checks are right: every wrong variant fails and is named, every right one passes."""

from __future__ import annotations

import pytest
import torch

from autograder.audit import Audit, answers, attempt, audit, code_exercises
from autograder.evidence import gather
from autograder.exercise import REGISTRY, CodeExercise
from autograder.misconceptions import adam as bank
from autograder.verdict import expected_evidence, hidden_cases, judge_case, visible_cases

CODE = code_exercises()
SEEDS = range(1, 4)  # more of them: benchmarks/tolerances.py
#: Whose cases are trainings, or processes that are killed: a few seeds here; `tests/test_capstone.py` has more.
SLOW = ("capstone.resume", "capstone.accuracy")


@pytest.fixture(scope="module")
def audits() -> dict[str, Audit]:
    return {}


def matrix(audits: dict[str, Audit], exercise: CodeExercise) -> Audit:
    if exercise.id not in audits:
        audits[exercise.id] = audit(exercise, seeds=SEEDS[:2] if exercise.id in SLOW else SEEDS)
    return audits[exercise.id]


# one worker runs all of an exercise's tests, so that its matrix is made once
def by_exercise() -> list[object]:
    return [pytest.param(e, id=e.id, marks=pytest.mark.xdist_group(e.id)) for e in CODE]


@pytest.mark.parametrize("exercise", by_exercise())
def test_every_wrong_variant_is_killed_and_called_by_its_name(exercise: CodeExercise, audits: dict[str, Audit]) -> None:
    wrong = [(k.id, k.source, k.killed, k.named) for k in matrix(audits, exercise).kills if not k.ok]
    assert wrong == []


@pytest.mark.parametrize("exercise", by_exercise())
def test_every_right_variant_passes_on_visible_and_on_hidden_cases(
    exercise: CodeExercise, audits: dict[str, Audit]
) -> None:
    rejected = [(a.name, a.failed) for a in matrix(audits, exercise).acceptances if not a.accepted]
    assert rejected == []


@pytest.mark.parametrize("exercise", by_exercise())
def test_no_two_rows_of_the_catalogue_look_alike(exercise: CodeExercise, audits: dict[str, Audit]) -> None:
    alike = [
        (k.id, k.nearest, k.separation)
        for k in matrix(audits, exercise).kills
        if k.source == "catalogue" and k.separation < 5
    ]
    assert alike == []


@pytest.mark.parametrize("exercise", by_exercise())
def test_the_nearest_wrong_is_at_least_100_times_as_far_as_the_worst_right(
    exercise: CodeExercise, audits: dict[str, Audit]
) -> None:
    report = matrix(audits, exercise)
    worst_right = max(a.spread for a in report.acceptances)
    nearest_wrong = min((k.margin for k in report.kills if k.margin != float("inf")), default=float("inf"))
    # variants that break only a rule (launches, bytes, keys) agree in the numbers: the rule tells them
    by_numbers = [k.margin for k in report.kills if 1 < k.margin < float("inf")]
    assert worst_right < 1
    assert min(by_numbers, default=float("inf")) >= 100 * min(worst_right, 0.05)
    assert nearest_wrong >= 0


@pytest.mark.parametrize("exercise", by_exercise())
def test_misconceptions_are_named_on_hidden_cases_as_well(exercise: CodeExercise) -> None:
    cases = visible_cases(exercise) + hidden_cases(exercise, 5)
    missed = []
    for row, name, objects in answers(exercise, "MUTANTS"):
        verdict, named = attempt(exercise, cases, objects)
        if verdict.passed or named != (row,):
            missed.append((row, name, named))
    assert missed == []


@pytest.mark.parametrize(("exercise_id", "decay"), [("adam.adam", "l2"), ("adam.adamw", "decoupled")])
def test_the_simulator_without_faults_is_torchs_optimizer(exercise_id: str, decay: str) -> None:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    for case in visible_cases(exercise):
        found = gather(case, (bank.optimizer(decay, {}),))
        assert judge_case(case, found, expected_evidence(exercise, case)).passed, case.name


def test_every_switch_of_the_simulator_is_used_by_a_row() -> None:
    used = {
        (name, value)
        for row in bank.ROWS.values()
        for faults in (row.faults, *row.also)
        for name, value in faults.items()
    }
    offered = {(name, value) for name, values in bank.SWITCHES.items() for value in values[1:]}
    # "l2" is a fault in AdamW; "as" only changes how a mistake shows
    assert used <= offered | {("as", "numbers"), ("decay", "l2")}
    assert offered - used == set()


def test_every_adam_and_adamw_row_of_the_catalogue_has_its_place() -> None:
    """Rows A1–A10 and W1–W7: a detector in an exercise, or listed with where the course deals with it."""
    rows = [f"A{i}" for i in range(1, 11)] + [f"W{i}" for i in range(1, 8)]
    detected = {m.id for exercise in CODE for m in exercise.misconceptions}
    assert [row for row in rows if row not in detected and row not in bank.ELSEWHERE] == []


def test_torchs_own_forms_pass_and_relatives_are_not_mistaken() -> None:
    exercise = REGISTRY["adam.adam"]
    assert isinstance(exercise, CodeExercise)
    cases = [case for case in visible_cases(exercise) if "amsgrad" not in case.name and "maximize" not in case.name]
    for options in ({"foreach": False}, {"foreach": True}, {"fused": True}):
        cls = type("Adam", (torch.optim.Adam,), {"__init__": _with(options)})
        for case in cases:
            assert judge_case(case, gather(case, (cls,)), expected_evidence(exercise, case)).passed, (
                options,
                case.name,
            )
    verdict, named = attempt(exercise, cases, (torch.optim.NAdam,))
    assert not verdict.passed
    assert named == ()


def _with(options: dict[str, bool]) -> object:
    def init(self: torch.optim.Adam, params: object, **more: object) -> None:
        torch.optim.Adam.__init__(self, params, **more, **options)  # type: ignore[arg-type]

    return init
