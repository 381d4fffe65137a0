"""Notebook 02: what its checks promise about averages, long series and averaged models."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from autograder import check
from autograder.answers import ema_bias_correction as right
from autograder.audit import attempt, code_exercises
from autograder.checks import CheckFailed
from autograder.collectors.ema_bias_correction import DOUBLINGS, GROWTH, MOST_GROWTH, PER_DOUBLING, drawn_series
from autograder.diagnose import Diagnosis, diagnose
from autograder.evidence import encode, gather
from autograder.exercise import REGISTRY, CodeExercise, QuizExercise
from autograder.launches import LaunchCounter
from autograder.misconceptions import ema, ema_long, ema_modules
from autograder.publish.sample_class import source_solutions
from autograder.render import as_html, as_text
from autograder.verdict import Verdict, expected_evidence, hidden_cases, judge, judge_case, visible_cases

NOTEBOOK = "02_ema_bias_correction"
STEPS = 100_000
CODE = [exercise for exercise in code_exercises() if exercise.notebook == NOTEBOOK]


def code(exercise_id: str) -> CodeExercise:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    return exercise


# --- long series ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_series() -> torch.Tensor:
    return torch.tensor(drawn_series({"seed": 5, "noise": 0.5}, STEPS), dtype=torch.float32)


@pytest.fixture(scope="module")
def solutions(root: Path) -> dict[str, Any]:
    """What the notebook's own solution cells define."""
    names: dict[str, Any] = {"torch": torch}
    found = source_solutions(root / "source" / NOTEBOOK / f"{NOTEBOOK}.ipynb")
    for exercise in (e for e in REGISTRY.values() if e.notebook == NOTEBOOK):
        if isinstance(exercise, (CodeExercise, QuizExercise)):
            exec(found[exercise.id], names)
    return names


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99, 0.999, 0.9999])
def test_long_series_hold_in_float32_and_within_the_launch_budget(
    long_series: torch.Tensor, solutions: dict[str, Any], beta: float
) -> None:
    by_loop = ema_long.loop_in_float64(long_series.double(), beta)
    ways = {name: way for name, (way,) in right.ACCEPTED["ema.parallel"].items()}
    for name, way in {**ways, "the notebook's": solutions["ema_parallel"]}.items():
        with LaunchCounter() as counter:
            x = counter.place(long_series)
            with counter.section() as section:
                m = way(x, beta)
            m = counter.fetch(m)
        assert m.dtype == torch.float32
        error = (m.double() - by_loop).abs().max() / long_series.abs().max()
        assert error <= 2e-5, (name, float(error))
        assert section.launches <= 8 * math.log2(STEPS), (name, section.launches)
        assert section.syncs == []


def test_views_are_free_and_a_loop_is_not() -> None:
    exercise = code("ema.parallel")
    case = next(case for case in visible_cases(exercise) if case.limits)
    facts = gather(case, (right.by_doubling,)).facts
    assert float(facts[DOUBLINGS]) <= 3.2  # a product, a sum and a cat in each round
    assert float(facts[GROWTH]) <= 4.1
    loop = gather(case, (right._python_loop,)).facts
    assert float(loop[DOUBLINGS]) > PER_DOUBLING
    matrix = gather(case, (right._matrix,)).facts
    assert float(matrix[GROWTH]) > MOST_GROWTH


def test_what_would_not_fit_is_not_played_at_full_length() -> None:
    """A T×T matrix of 100,000 times is 40 GB; a loop would take seconds."""
    longest = []

    def watched(way: Any) -> Any:
        def ema_parallel(x: torch.Tensor, beta: float) -> torch.Tensor:
            longest.append(len(x))
            return way(x, beta)

        return ema_parallel

    for case in visible_cases(code("ema.parallel")):
        if case.collector == "long_average":
            for way in (right._matrix, right._python_loop):
                gather(case, (watched(way),))
    assert max(longest) <= 2048


def test_evidence_of_long_series_is_small_and_depends_on_the_seed() -> None:
    exercise = code("ema.parallel")
    one, other = ([c for c in hidden_cases(exercise, seed) if c.collector == "long_average"] for seed in (1, 2))
    for case, another in zip(one, other, strict=True):
        evidence = gather(case, (right.by_doubling,))
        assert len(encode(evidence)) < 8192
        assert case.inputs["seed"] != another.inputs["seed"]
        assert not judge_case(case, gather(another, (right.by_doubling,)), expected_evidence(exercise, case)).passed


def test_averages_that_are_right_at_the_sampled_times_only_do_not_pass() -> None:
    """The signed sums see every time."""
    exercise = code("ema.parallel")
    case = next(case for case in visible_cases(exercise) if case.collector == "long_average" and not case.limits)

    def every_other(x: torch.Tensor, beta: float) -> torch.Tensor:
        m = right.by_doubling(x, beta)
        m[1001:1101] = 0.0
        return m

    assert not judge_case(case, gather(case, (every_other,)), expected_evidence(exercise, case)).passed


# --- averages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.6, 0.9, 0.999])
def test_the_corrected_average_is_the_state_inside_adam(solutions: dict[str, Any], beta: float) -> None:
    x = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    w = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    opt = torch.optim.Adam([w], betas=(beta, 0.9))
    ways = [way for (way,) in right.ACCEPTED["ema.corrected"].values()]
    averages = [way(x, beta) for way in (*ways, solutions["ema_corrected"])]
    for t, gradient in enumerate(x, start=1):
        w.grad = gradient.clone()
        opt.step()
        state = opt.state[w]
        for m_hat in averages:
            torch.testing.assert_close(
                m_hat[t - 1], state["exp_avg"] / (1 - beta ** state["step"].item()), rtol=1e-12, atol=1e-12
            )


def test_simulators_without_faults_are_the_references() -> None:
    for exercise, objects in (
        (code("ema.recursive"), (ema.recursive({}),)),
        (code("ema.weights"), (ema.weights({}),)),
        (code("ema.corrected"), (ema.corrected({}),)),
        (code("ema.horizon"), ema.horizon({})),
        (code("ema.parallel"), (ema_long.parallel({}),)),
        (code("ema.weights_average"), (ema_modules.averaged({}),)),
    ):
        for case in visible_cases(exercise):
            assert judge_case(case, gather(case, objects), expected_evidence(exercise, case)).passed, case.name


def test_every_switch_of_the_averages_is_used_by_a_row() -> None:
    tables = (ema.RECURSIVE_ROWS, ema.WEIGHTS_ROWS, ema.CORRECTED_ROWS)
    rows = [row for table in tables for row in table.values()]
    used = {item for row in rows for faults in (row.faults, *row.also) for item in faults.items()}
    offered = {(name, value) for name, values in ema.SWITCHES.items() for value in values[1:]}
    assert used - offered == {
        ("corrector", "power"),
        ("as", "numbers"),
    }  # the first is a fault where nothing is corrected
    assert offered - used == set()


def test_every_form_of_the_horizon_is_used_by_a_row() -> None:
    rows = ema.HORIZON_ROWS.values()
    used = {item for row in rows for faults in (row.faults, *row.also) for item in faults.items()}
    assert used == {(name, form) for name, forms in ema.FORMS.items() for form in forms if form != "right"}


@pytest.mark.parametrize("row", [f"E{n}" for n in range(1, 10)])
def test_every_ema_row_of_the_catalogue_is_killed_and_named(row: str) -> None:
    detecting = [exercise for exercise in CODE if any(m.id == row for m in exercise.misconceptions)]
    assert detecting, f"{row} is detected nowhere"
    for exercise in detecting:
        (misconception,) = (m for m in exercise.misconceptions if m.id == row)
        for cases in (visible_cases(exercise), hidden_cases(exercise, 3)):
            verdict, named = attempt(exercise, cases, misconception.objects())
            assert not verdict.passed, exercise.id
            assert named == (row,), exercise.id


# --- what is said about wrong answers -------------------------------------------------------------------------------


def _verdict(exercise_id: str, *objects: Any) -> tuple[Verdict, Diagnosis | None]:
    exercise = code(exercise_id)
    cases = visible_cases(exercise)
    evidence = [gather(case, objects) for case in cases]
    verdict = judge(exercise, cases, evidence, decided=False)
    return verdict, diagnose(exercise, cases, evidence, verdict)


def said(exercise_id: str, *objects: Any) -> str:
    """What a student reads who hands these in: a failed check."""
    verdict, diagnosis = _verdict(exercise_id, *objects)
    assert not verdict.passed
    return as_text(verdict, diagnosis)


def test_a_scan_over_all_shifts_is_not_called_a_loop_and_its_missing_samples_are_no_news() -> None:
    text = said("ema.parallel", right._one_more_each_round)
    assert "the shift grows by 1" in text
    assert "a loop over time" not in text
    assert "is missing" not in text


def test_where_a_sampled_average_departs_is_told_as_a_step() -> None:
    assert "average after step 1,257: expected 1.01, got nan" in said("ema.parallel", right._overflowing_in_float64)


def test_one_wrong_closed_form_is_named_beside_one_that_raises() -> None:
    def noise_gain(beta: float) -> float:
        raise NameError("name 'b' is not defined")

    text = said("ema.horizon", right.beta_from_half_life, lambda beta: beta / (1 - beta), noise_gain)
    assert "the mean age in place of the window" in text
    assert "NameError: name 'b' is not defined" in text
    assert "NameError" in as_html(*_verdict("ema.horizon", right.beta_from_half_life, lambda b: b, noise_gain))


def test_two_closed_forms_count_while_the_third_is_a_stub() -> None:
    def stub(beta: float) -> float:
        raise NotImplementedError

    verdict, _ = _verdict("ema.horizon", right.beta_from_half_life, right.effective_window, stub)
    assert [group.passed for group in verdict.groups] == [True, True, False]
    assert "noise_gain is still the stub" in as_text(verdict)
    assert _verdict("ema.horizon", stub, stub, stub)[0].not_started


def test_no_reason_is_given_for_passed_cases_that_have_nothing_to_do_with_it() -> None:
    assert "that is why" not in said("ema.horizon", lambda h: 0.5**h, right.effective_window, right.noise_gain)


def test_an_average_that_is_too_large_is_no_move() -> None:
    text = said("ema.recursive", right._velocity)
    assert "× the expected number, in every element" in text
    assert "move" not in text


def test_weights_have_to_be_a_tensor_of_any_precision() -> None:
    text = said("ema.weights", lambda t, beta: right.weights_by_age(t, beta).numpy())
    assert "ema_weights should return a tensor, not ndarray" in text
    verdict, _ = _verdict("ema.weights", right.weights_in_float32)
    assert verdict.passed
    assert "float64" not in as_text(verdict)


# --- averaged models ------------------------------------------------------------------------------------------------


def _network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = torch.nn.Linear(5, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    return torch.nn.Sequential(*layers).double()


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
def test_averaged_weights_are_torchs_at_every_update_buffers_included(solutions: dict[str, Any], beta: float) -> None:
    model, generator = _network(), torch.Generator().manual_seed(1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    classes = [cls for (cls,) in right.ACCEPTED["ema.weights_average"].values()]
    averaged = [cls(model, beta) for cls in (*classes, solutions["EMAModel"])]
    torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(beta))
    for _ in range(12):
        x = torch.randn(16, 5, dtype=torch.float64, generator=generator)
        opt.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).pow(2).mean().backward()
        opt.step()
        torchs.update_parameters(model)
        expected = torchs.module.state_dict()
        for own in averaged:
            own.update(model)
            found = own.module.state_dict()
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                assert found[name].dtype == tensor.dtype
                torch.testing.assert_close(found[name], tensor, rtol=1e-12, atol=1e-12)
    assert int(expected["1.num_batches_tracked"]) == 12


def test_torchs_averaged_model_is_no_answer() -> None:
    class EMAModel(AveragedModel):
        pass

    for given in (EMAModel, AveragedModel):
        with pytest.raises(CheckFailed, match=r"torch\.optim\.swa_utils\.AveragedModel, the reference itself"):
            check("ema.weights_average", given)


# --- the notebook ---------------------------------------------------------------------------------------------------


def test_the_graded_part_is_quick_when_warm(solutions: dict[str, Any]) -> None:
    """Visible and hidden checks, the imports done: 0.5 s of CPU on an idle machine."""

    def graded_part() -> None:
        for exercise in (e for e in REGISTRY.values() if e.notebook == NOTEBOOK):
            if isinstance(exercise, (CodeExercise, QuizExercise)):
                points = check(exercise.id, *(solutions[name] for name in exercise.objects), cases="hidden")
                assert points == exercise.points, exercise.id

    graded_part()
    for cached in (expected_evidence, hidden_cases, visible_cases):
        cached.cache_clear()
    start = time.process_time()
    graded_part()
    assert time.process_time() - start < 1.0
