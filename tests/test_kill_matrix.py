"""The proof that the checks are right: every wrong variant fails and is named, every right one passes."""

from __future__ import annotations

import pkgutil
import random
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module

import pytest
import torch

from autograder import misconceptions
from autograder.audit import Audit, answers, attempt, audit, code_exercises, two_mistakes
from autograder.evidence import gather
from autograder.exercise import REGISTRY, Case, CodeExercise
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


#: How far the nearest wrong variant is from the worst right one, where it is less than 100 times as far.
CLOSER = {
    # its numbers are frequencies in 20,000 draws, whose spread is the sampling error and not rounding
    "schedule.log_uniform": 20,
}


@pytest.mark.parametrize("exercise", by_exercise())
def test_the_nearest_wrong_is_at_least_100_times_as_far_as_the_worst_right(
    exercise: CodeExercise, audits: dict[str, Audit]
) -> None:
    report = matrix(audits, exercise)
    assert report.worst_right < 1
    assert report.nearest_wrong >= CLOSER.get(exercise.id, 100) * report.worst_right


@pytest.mark.parametrize("exercise", by_exercise())
def test_misconceptions_are_named_on_hidden_cases_as_well(exercise: CodeExercise) -> None:
    cases = visible_cases(exercise) + hidden_cases(exercise, 5)
    missed = []
    for row, name, objects in answers(exercise, "MUTANTS")[:: 4 if exercise.id in SLOW else 1]:
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


#: The catalogue that the course started from: letter of the topic → the number of its rows.
CATALOGUE = {"B": 11, "E": 9, "M": 12, "R": 9, "A": 10, "W": 7, "S": 12, "L": 9, "G": 6, "T": 10}


def test_every_row_of_the_catalogue_is_recognised_or_listed_with_where_the_course_deals_with_it() -> None:
    rows = [f"{letter}{i}" for letter, count in CATALOGUE.items() for i in range(1, count + 1)]
    detected = {m.id for exercise in CODE for m in exercise.misconceptions}
    names = [f"{misconceptions.__name__}.{one.name}" for one in pkgutil.iter_modules(misconceptions.__path__)]
    elsewhere = {row: text for name in names for row, text in getattr(import_module(name), "ELSEWHERE", {}).items()}
    assert [row for row in rows if row not in detected and row not in elsewhere] == []
    assert not elsewhere.keys() & detected, "listed as not recognised, and recognised"
    assert elsewhere.keys() <= set(rows)
    for text in elsewhere.values():
        named = re.findall(r"\b[a-z]+\.q\d", text)
        assert named or re.search(r"section \d|\d\d_[a-z_]+", text), text
        assert all(question in REGISTRY for question in named), text


def test_every_exercise_has_enough_to_attack_it_with() -> None:
    scarce = {
        exercise.id: (len(exercise.misconceptions), len(answers(exercise, "ACCEPTED")))
        for exercise in CODE
        if len(exercise.misconceptions) < 4 or len(answers(exercise, "ACCEPTED")) < 3
    }
    assert scarce == {}
    assert sum(len(answers(exercise, "MUTANTS")) for exercise in CODE) >= 300


#: Where a simulator can make two mistakes at once, and how many pairs are tried; all: `benchmarks/pairs.py`.
TWO = {"minibatch.sgd": 6, "momentum.sgd": 3, "rmsprop.corrected": 2, "adam.step": 6}


@pytest.mark.parametrize("exercise_id", [pytest.param(i, marks=pytest.mark.xdist_group(i)) for i in TWO])
def test_two_mistakes_at_once_are_never_called_something_else(exercise_id: str) -> None:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    found = list(two_mistakes(exercise, TWO[exercise_id], random.Random(exercise_id)))
    assert len(found) == TWO[exercise_id]
    assert [one for one in found if one.told in ("false", "passes", "nothing")] == []
    assert sum(one.told == "pair" for one in found) >= len(found) / 2


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


# --- compiled -------------------------------------------------------------------------------------------------------


@pytest.fixture
def dynamo() -> Iterator[Counter[str]]:
    """torch's compiler as if nothing had been compiled yet; counts the functions that it compiles."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters["frames"]
    torch._dynamo.reset()


def compilable(case: Case) -> bool:
    """Can it be compiled? There is no pretend device then, and aot_eager of torch 2.13 loses writes to 0-dim float64."""
    state = case.inputs.get("state", {})
    return case.inputs.get("device", "cpu") == "cpu" and not any(v.ndim == 0 for v in dict(state).values())


@pytest.mark.parametrize(
    ("exercise_id", "step", "backend"),  # inductor would need a C++ compiler where the tests run
    [
        ("momentum.traditional", "by the formula", "eager"),
        ("momentum.traditional", "by the formula", "aot_eager"),
        ("rmsprop.precondition", "addcdiv_", "eager"),
        ("adam.step", "by the formula", "eager"),
        ("adam.step", "in place, lerp and addcdiv", "aot_eager"),
    ],
)
def test_compiled_updates_pass(exercise_id: str, step: str, backend: str, dynamo: Counter[str]) -> None:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    (function,) = answers(exercise, "ACCEPTED")[step]
    compiled = torch.compile(function, backend=backend)
    for case in [case for case in visible_cases(exercise) if compilable(case)][:3]:
        found = gather(case, (compiled,))
        assert judge_case(case, found, expected_evidence(exercise, case)).passed, (case.name, found.problem)
    assert dynamo["ok"] > 0


@pytest.mark.parametrize("exercise_id", ["adam.adam", "adam.adamw"])
def test_an_optimizer_with_a_compiled_update_passes(exercise_id: str, dynamo: Counter[str]) -> None:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    (cls,) = answers(exercise, "ACCEPTED")["own state names"]
    compiled = type("Compiled", (cls,), {"one": torch.compile(cls.one, backend="eager")})
    for case in visible_cases(exercise)[:2]:
        found = gather(case, (compiled,))
        assert judge_case(case, found, expected_evidence(exercise, case)).passed, (case.name, found.problem)
    assert dynamo["ok"] > 0
