"""What the notebook on momentum promises: forms that are equal are equal, forms that part do part, limits are limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autograder.answers import momentum_equivalence as answers
from autograder.audit import attempt, code_exercises
from autograder.checks import check, done
from autograder.collectors.launches import BYTES, LAUNCHES, SYNCS
from autograder.evidence import gather
from autograder.exercise import REGISTRY, CodeExercise, QuizExercise
from autograder.misconceptions import momentum as bank
from autograder.misconceptions import momentum_runs as runs
from autograder.publish.sample_class import source_solutions
from autograder.verdict import expected_evidence, hidden_cases, judge_case, visible_cases

CURVATURE = torch.logspace(-1, 1, 5, dtype=torch.float64)
LR, MU, WD, STEPS = 0.05, 0.9, 0.3, 60
Tensor = torch.Tensor


def exercise(exercise_id: str) -> CodeExercise:
    found = REGISTRY[exercise_id]
    assert isinstance(found, CodeExercise)
    return found


def follow(
    form: str, lrs: list[float] | None = None, l2: float = 0.0, decay: float = 0.0, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weights after every step on a quadratic, and the state at the end; `form` is "traditional" or "average"."""
    step = answers.traditional_in_place if form == "traditional" else answers.average_in_place
    w = torch.ones_like(CURVATURE)
    state = torch.zeros_like(w) if state is None else state.clone()
    rows = [w.clone()]
    for lr in lrs or [LR] * STEPS:
        rate = lr if form == "traditional" else answers.lr_average(lr, MU)
        g = CURVATURE * (w - 1.5) + l2 * w
        w.mul_(1 - rate * decay)
        step(w, state, g, rate, MU)
        rows.append(w.clone())
    return torch.stack(rows), state


def in_torch(
    lrs: list[float] | None = None, weight_decay: float = 0.0, lr_factor: float = 1.0, **options: float
) -> Tensor:
    w = torch.nn.Parameter(torch.ones_like(CURVATURE))
    opt = torch.optim.SGD([w], lr=LR, momentum=MU, weight_decay=weight_decay, **options)  # type: ignore[arg-type]
    rows = [w.detach().clone()]
    for lr in lrs or [LR] * STEPS:
        opt.param_groups[0]["lr"] = lr * lr_factor
        w.grad = CURVATURE * (w.detach() - 1.5)
        opt.step()
        rows.append(w.detach().clone())
    return torch.stack(rows)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


HALVED = [LR] * (STEPS // 2) + [LR / 2] * (STEPS // 2)


# --- the same --------------------------------------------------------------------------------------------------------


def test_traditional_average_and_torch_are_one_optimizer_at_constant_lr() -> None:
    traditional, v = follow("traditional")
    average, m = follow("average")
    assert apart(traditional, average) < 1e-12
    assert apart(traditional, in_torch()) < 1e-12
    assert apart(v, answers.velocity_from_average(m, LR, MU)) < 1e-12


def test_l2_in_the_gradient_is_harmless() -> None:
    traditional, average = follow("traditional", l2=WD)[0], follow("average", l2=WD)[0]
    assert apart(traditional, average) < 1e-12
    assert apart(traditional, in_torch(weight_decay=WD)) < 1e-12
    assert answers.decay_average(WD, MU, False) == WD


def test_decoupled_decay_needs_its_map_and_then_coincides() -> None:
    traditional = follow("traditional", decay=WD)[0]
    assert apart(traditional, follow("average", decay=answers.decay_average(WD, MU, True))[0]) < 1e-12
    assert apart(traditional, follow("average", decay=WD)[0]) > 0.1


def test_the_average_form_follows_torch_even_when_the_lr_changes() -> None:
    assert apart(follow("average", HALVED)[0], in_torch(HALVED)) < 1e-12


def test_a_hand_over_with_the_state_map_leaves_no_trace_and_without_it_does() -> None:
    step, w, m = answers.average_in_place, torch.ones_like(CURVATURE), torch.zeros_like(CURVATURE)
    for _ in range(20):
        step(w, m, CURVATURE * (w - 1.5), answers.lr_average(LR, MU), MU)

    def go_on(v: Tensor) -> Tensor:
        weight, velocity = w.clone(), v.clone()
        for _ in range(20):
            answers.traditional_in_place(weight, velocity, CURVATURE * (weight - 1.5), LR, MU)
        return weight

    uninterrupted = follow("traditional", [LR] * 40)[0][-1]
    assert apart(go_on(answers.velocity_from_average(m, LR, MU)), uninterrupted) < 1e-12
    assert apart(go_on(m), uninterrupted) > 0.01


# --- different -------------------------------------------------------------------------------------------------------


def test_the_traditional_form_parts_from_torch_at_a_change_of_lr_unless_rescaled() -> None:
    untouched, torchs = follow("traditional", HALVED)[0], in_torch(HALVED)
    middle = STEPS // 2
    assert apart(untouched[: middle + 1], torchs[: middle + 1]) < 1e-12
    assert apart(untouched[middle + 1], torchs[middle + 1]) > 1e-3
    grads = torch.randn(STEPS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start = torch.zeros(3, dtype=torch.float64)
    rescaled = answers.run_step_by_step(start, grads, HALVED, MU)
    assert apart(rescaled, runs.run_with_torch(start, grads, HALVED, MU)) < 1e-12


def test_torchs_dampened_first_step_is_undamped() -> None:
    average, torchs = follow("average")[0], in_torch(dampening=MU, lr_factor=1 / (1 - MU))
    first = (torchs[1] - torchs[0]) / (average[1] - average[0])
    assert first == pytest.approx(np.full(5, 1 / (1 - MU)))


# --- Nesterov --------------------------------------------------------------------------------------------------------


def test_nesterovs_two_forms_map_onto_each_other() -> None:
    theta, v = torch.ones_like(CURVATURE), torch.zeros_like(CURVATURE)
    points = [theta.clone()]
    for _ in range(STEPS):
        answers.lookahead_in_place(theta, v, lambda w: CURVATURE * (w - 1.5), LR, MU)
        points.append(answers.point_ahead(theta, v, MU))
    assert apart(torch.stack(points), in_torch(nesterov=True)) < 1e-12


def test_nesterov_with_the_old_buffer_is_plain_momentum() -> None:
    case = next(c for c in visible_cases(exercise("momentum.sgd")) if c.name == "nesterov=True")
    old, ignored = (gather(case, (bank.optimizer({"nesterov": how}),)) for how in ("old buffer", "ignored"))
    for name in ("parameter 0", "parameter 1", "parameter 2"):
        assert old.arrays[name] == pytest.approx(ignored.arrays[name])


# --- stability -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [0.0, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("curvature", [0.2, 1.0, 40.0])
def test_the_limit_is_where_the_spectral_radius_passes_one(mu: float, curvature: float) -> None:
    limit = answers.max_stable_lr(curvature, mu)
    assert (
        runs.spectral_radius(limit * (1 - 1e-6), mu, curvature)
        < 1
        < runs.spectral_radius(limit * (1 + 1e-6), mu, curvature)
    )
    assert runs.edge_of_stability(curvature, mu) == pytest.approx(limit, rel=1e-12)


def test_runs_of_torch_die_out_below_the_limit_and_explode_above() -> None:
    for mu in (0.0, 0.5, 0.9):
        for factor, survives in ((0.99, True), (1.01, False)):
            w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
            opt = torch.optim.SGD([w], lr=factor * answers.max_stable_lr(3.0, mu), momentum=mu)
            for _ in range(1500):
                w.grad = 3.0 * w.detach()
                opt.step()
            assert (abs(w.item()) < 1e-3) is survives


def test_no_other_lr_and_mu_beat_the_optimum() -> None:
    low, high = 1.0, 40.0
    lr, mu = answers.optimal_heavy_ball(low, high)

    def worst(lr: float, mu: float) -> float:
        return max(runs.spectral_radius(lr, mu, curvature) for curvature in np.linspace(low, high, 40))

    best = worst(lr, mu)
    assert best == pytest.approx(mu**0.5, abs=1e-6)  # a double root: found to half the digits
    around = [(lr * a, mu + b) for a in (0.9, 0.98, 1.0, 1.02, 1.1) for b in (-0.1, -0.02, 0.0, 0.02, 0.1)]
    assert all(worst(*pair) > best for pair in around if pair != (lr, mu))


# --- rows and messages -----------------------------------------------------------------------------------------------

#: Every row of the catalogue on momentum, and the exercise in which a check names it.
PLACES = {
    "M1": "convert",
    "M2": "average",
    "M3": "sgd",
    "M4": "lr_change",
    "M5": "traditional",
    "M6": "sgd",
    "M7": "average",
    "M8": "convert",
    "M9": "traditional",
    "M10": "sgd",
    "M11": "traditional",
    "M12": "convert",
    "M12s": "convert",
}


@pytest.mark.parametrize(("row", "name"), PLACES.items())
def test_every_momentum_row_of_the_catalogue_is_killed_and_named(row: str, name: str) -> None:
    found = exercise(f"momentum.{name}")
    misconception = next(m for m in found.misconceptions if m.id == row)
    for objects in (misconception.objects, *misconception.also):
        verdict, named = attempt(found, visible_cases(found), objects())
        assert not verdict.passed
        assert named == (row,)


def test_all_rows_of_the_catalogue_have_a_place() -> None:
    assert {f"M{i}" for i in range(1, 13)} <= PLACES.keys()


def test_one_id_is_one_mistake_in_all_exercises() -> None:
    """Titles may be worded for an exercise; but ids of this notebook's own are not used twice for different things."""
    titles: dict[str, set[str]] = {}
    for found in code_exercises():
        if found.id.startswith("momentum."):
            for m in found.misconceptions:
                if m.id.startswith("M") and int("".join(filter(str.isdigit, m.id))) > 22:
                    titles.setdefault(m.id, set()).add(m.title)
    assert {row: names for row, names in titles.items() if len(names) > 1} == {}


def test_what_is_equivalent_at_constant_lr_is_called_equivalent(capsys: pytest.CaptureFixture[str]) -> None:
    """The forms that learners know from elsewhere are no errors where they coincide; the message says where they part."""
    for name, row, objects in (
        ("momentum.sgd", "M4", (bank.optimizer({"lr": "inside"}),)),
        ("momentum.lr_change", "M4", runs.schedule_functions({"when": "never"})),
        ("momentum.traditional", "M4", (answers._torch_form,)),
        ("momentum.traditional", "M19", (answers._other_sign,)),
    ):
        found = exercise(name)
        words = next(m for m in found.misconceptions if m.id == row).explanation
        assert "quivalent" in words
        assert "ifferent when" in words
        verdict, named = attempt(found, visible_cases(found), objects)
        assert named == (row,)
        assert verdict.earned > 0, "the cases in which it is equivalent are passed"
    with pytest.raises(AssertionError):
        check("momentum.sgd", bank.optimizer({"lr": "inside"}))
    assert "It equals the reference at constant lr" in capsys.readouterr().out


def test_the_bias_corrected_average_is_told_that_it_is_equivalent_after_burn_in() -> None:
    words = next(m for m in exercise("momentum.average").misconceptions if m.id == "M24").explanation
    assert "Equivalent after burn-in" in words


def test_the_simulator_without_faults_is_torchs_sgd() -> None:
    found = exercise("momentum.sgd")
    for case in visible_cases(found) + hidden_cases(found, 3):
        evidence = gather(case, (bank.optimizer({}),))
        assert judge_case(case, evidence, expected_evidence(found, case)).passed, case.name


def test_every_switch_of_the_simulator_is_used_by_a_row() -> None:
    used = {
        (name, value)
        for row in bank.ROWS.values()
        for faults in (row.faults, *row.also)
        for name, value in faults.items()
    }
    offered = {(name, value) for name, values in bank.SWITCHES.items() for value in values[1:]}
    assert used == offered


def test_the_quiz_on_where_forms_part_says_what_the_experiments_say() -> None:
    quiz = REGISTRY["momentum.q4"]
    assert isinstance(quiz, QuizExercise)
    assert [part.key for part in quiz.parts] == ["same", "different", "same", "different", "different", "different"]


# --- on the device ---------------------------------------------------------------------------------------------------


def test_momentum_for_500_tensors_takes_three_launches_no_wait_and_no_memory() -> None:
    case = next(c for c in visible_cases(exercise("momentum.foreach")) if "500" in c.name)
    facts = gather(case, (answers.Foreach,)).facts
    assert (facts[LAUNCHES], facts[SYNCS], facts[BYTES]) == (3.0, 0.0, 0.0)


def test_a_mix_of_devices_is_told_without_what_is_missing_because_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError):
        check("momentum.foreach", answers._OnTheCpu)
    told = capsys.readouterr().out
    assert "Operations that mix devices: 1." in told
    assert "is missing" not in told


# --- the optimizer's state -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "row"),
    [(answers._OtherName, "M69"), (answers._Outside, "M69"), (answers._AlwaysABuffer, "M70")],
)
def test_a_buffer_that_is_not_torchs_costs_the_checkpoints_and_nothing_else(cls: type, row: str) -> None:
    found = exercise("momentum.sgd")
    for cases in (visible_cases(found), hidden_cases(found, 5)):
        verdict, named = attempt(found, cases, (cls,))
        assert named == (row,)
        assert [group.name for group in verdict.groups if not group.passed] == ["torch's checkpoints"]


def test_torch_goes_on_from_a_students_checkpoint() -> None:
    grads = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    options = {"lr": 0.1, "momentum": MU, "dampening": 0.2, "weight_decay": 0.1}

    def steps(opt: torch.optim.Optimizer, w: torch.nn.Parameter, rows: Tensor) -> None:
        for g in rows:
            w.grad = g.clone()
            opt.step()

    ends = []
    for first in (answers.InPlace, torch.optim.SGD):
        w = torch.nn.Parameter(torch.ones(3))
        opt = first([w], **options)
        steps(opt, w, grads[:4])
        there = torch.nn.Parameter(w.detach().clone())
        again = torch.optim.SGD([there], **options)  # type: ignore[arg-type]
        again.load_state_dict(opt.state_dict())
        steps(again, there, grads[4:])
        ends.append(there.detach())
    assert apart(*ends) < 1e-6


@pytest.mark.parametrize("seed", [None, 3, 4])
def test_a_return_at_an_empty_group_is_caught(seed: int | None) -> None:
    found = exercise("momentum.foreach")
    cases = visible_cases(found) if seed is None else hidden_cases(found, seed)
    verdict, named = attempt(found, cases, (answers._ReturnsAtAnEmptyGroup,))
    assert named == ("A34",)
    assert [case.name for case in verdict.failed_cases] == ["a first group without gradients"]


# --- what students may hand in ---------------------------------------------------------------------------------------


def convert(velocity: Callable[..., object]) -> tuple[object, ...]:
    return answers.lr_average, answers.lr_traditional, velocity, answers.decay_average


@pytest.mark.parametrize(
    ("name", "objects", "words"),
    [
        ("momentum.convert", convert(lambda m, lr_trad: m), "velocity_from_average(m, lr_trad, mu)"),
        ("momentum.convert", convert(lambda m, lr_trad, mu: None), "velocity_from_average returned None"),
        ("momentum.stability", (answers.max_stable_lr, lambda l_min, l_max: 1.0), "should return 2 values: (lr, mu)"),
        ("momentum.lr_change", (answers.rescale_in_place, lambda w0, grads, lrs, mu: w0), "it should be (9, 4)"),
        (
            "momentum.nesterov",
            (lambda theta, v, grad_fn, lr, mu: None, answers.point_ahead),
            "asked for the gradient 0 times",
        ),
        ("momentum.nesterov", (answers.lookahead_in_place, lambda theta, v, mu: 0.0), "a tensor of theta's shape"),
        ("momentum.sgd", (answers.Student([torch.nn.Parameter(torch.ones(1))]),), "Give the class itself"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    name: str, objects: tuple[object, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        check(name, *objects)
    assert words in capsys.readouterr().out


def test_exercises_that_a_cell_waits_for_are_listed_with_one_and(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autograder.checks._PASSED", set())
    assert not done("momentum.traditional", "momentum.average", "momentum.sgd")
    assert "code for momentum.traditional, momentum.average and momentum.sgd:" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["momentum.convert", "momentum.stability", "momentum.lr_change"])
def test_labels_of_hidden_calls_tell_nothing_of_their_inputs(name: str) -> None:
    """A label is shown when a hidden case fails."""
    for case in hidden_cases(exercise(name), 11):
        for call in case.inputs.get("calls", ()):
            numbers = [argument for argument in call.get("arguments", ()) if isinstance(argument, float) and argument]
            assert not any(f"{number:g}" in call["label"] for number in numbers)
        labels = [call["label"] for call in case.inputs.get("calls", ()) if "label" in call]
        assert len(set(labels)) == len(labels)


# --- questions with a number ----------------------------------------------------------------------------------------


def keys(name: str) -> list[float]:
    quiz = REGISTRY[name]
    assert isinstance(quiz, QuizExercise)
    return [float(part.key) for part in quiz.parts]


def test_the_average_wanders_as_far_as_plain_sgd_with_its_lr() -> None:
    generator, (far,) = torch.Generator().manual_seed(0), keys("momentum.q7")
    w, m, plain = torch.zeros(3, 2000)
    for _ in range(10_000):
        g = 3 * torch.randn(2000, generator=generator)
        answers.average_in_place(w, m, g, 0.01, 0.9)
        plain.sub_(0.01 * g)
    assert float(w.std()) == pytest.approx(far, rel=0.04)
    assert float(w.std() / plain.std()) == pytest.approx(1, rel=0.02)


class Traffic(TorchDispatchMode):
    """Counts the lists of tensors that in-place foreach calls read and write, each of them once per call."""

    trips = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "_foreach_" in str(func) and func._schema.name.endswith("_"):
            self.trips += 1 + sum(isinstance(one, list) and isinstance(one[0], Tensor) for one in args)
        return func(*args, **(kwargs or {}))


def test_a_foreach_step_makes_eight_trips_through_memory_where_five_would_do(root: Path) -> None:
    names: dict[str, Any] = {"torch": torch}
    source = root / "source" / "03_momentum_equivalence" / "03_momentum_equivalence.ipynb"
    exec(source_solutions(source)["momentum.foreach"], names)
    params = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
    opt = names["ForeachMomentum"](params)
    for p in params:
        p.grad = torch.ones(3)
    opt.step()
    with Traffic() as traffic:
        opt.step()
    ms_per_trip = 1e9 * 4 / 2e12 * 1e3
    needed = len(("read p", "read g", "read b", "write p", "write b"))
    assert keys("momentum.q8") == pytest.approx([traffic.trips * ms_per_trip, needed * ms_per_trip])
