"""What the notebook on schedulers promises: closed forms are torch's, resuming leaves no trace, claims are experiments."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from asked_questions import asked

from autograder.answers import schedulers as answers
from autograder.audit import attempt, code_exercises
from autograder.checks import check
from autograder.collectors.launches import SYNCS
from autograder.collectors.schedulers import LOWEST, QUANTILES, UPLOADS
from autograder.evidence import gather
from autograder.exercise import REGISTRY, CodeExercise, QuizExercise
from autograder.exercises import schedulers_forms as forms
from autograder.misconceptions import schedule_loops, schedules
from autograder.publish.sample_class import source_solutions
from autograder.verdict import expected_evidence, hidden_cases, judge_case, visible_cases
from utils import data, models, plotting, training, widgets

NOTEBOOK = "06_schedulers"
SIMULATORS: dict[str, Callable[[dict[str, Any]], tuple[Any, ...]]] = {
    "schedule.plateau": schedule_loops.plateau,
    "schedule.protocol": schedule_loops.driver,
    "schedule.range_test": schedule_loops.search,
    "schedule.log_uniform": schedule_loops.drawer,
    "schedule.tensor_lr": schedule_loops.tensor_lr,
}


def exercise(exercise_id: str) -> CodeExercise:
    found = REGISTRY[exercise_id]
    assert isinstance(found, CodeExercise)
    return found


# --- closed forms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(schedules.RIGHT))
def test_closed_forms_are_torchs_schedulers_stepped_through_300_epochs_in_both_groups(name: str) -> None:
    worst = 0.0
    for seed in range(8):
        for _, _, values, _ in forms.FORMS[name].drawn(np.random.default_rng(seed)):
            if name == "one_cycle":
                values = {**values, "total_steps": 300 + seed}
            stepped = forms.with_torch(name, 299 if name == "one_cycle" else 300, values)
            first, *others = values
            for factor, lrs in zip((forms.OTHER, 1.0), stepped, strict=True):
                scaled = {**values, first: factor * values[first]}
                scaled |= {key: factor * values[key] for key in others if key == "max_lr"}
                if "eta_min" in values and factor != 1.0:
                    continue  # torch's eta_min is one for all groups: compared in the other one
                own = [schedules.RIGHT[name](t, *scaled.values()) for t in range(len(lrs))]
                worst = max(worst, max(abs(a - b) for a, b in zip(own, lrs, strict=True)) / max(map(abs, lrs)))
    assert worst < 1e-12  # what torch's recursions drift by


def test_a_logarithm_misses_a_restart_where_integers_do_not() -> None:
    values = {"base_lr": 0.2, "T_0": 2, "T_mult": 3, "eta_min": 0.02}
    torchs = forms.with_torch("restarts", 300, values)[1]
    missed = [t for t in range(301) if abs(answers._restarts_by_log(t, **values) - torchs[t]) > 1e-9]
    assert missed == [242]  # math.log(243, 3) is 4.999…
    assert all(abs(answers.restarts(t, **values) - torchs[t]) < 1e-12 for t in range(301))


@pytest.mark.parametrize("exercise_id", SIMULATORS)
def test_the_simulators_without_faults_are_right(exercise_id: str) -> None:
    found = exercise(exercise_id)
    for seed in (None, 1, 2, 3):
        for case in visible_cases(found) if seed is None else hidden_cases(found, seed):
            evidence = gather(case, SIMULATORS[exercise_id]({}))
            assert judge_case(case, evidence, expected_evidence(found, case)).passed, (seed, case.name)


def test_every_row_of_the_catalogue_has_its_place() -> None:
    """Rows S1–S12: a detector in an exercise, or listed with where the course deals with them."""
    detected = {m.id for e in code_exercises() for m in e.misconceptions if e.notebook == NOTEBOOK}
    assert [f"S{i}" for i in range(1, 13) if f"S{i}" not in detected | schedules.ELSEWHERE.keys()] == []
    assert all(text.split()[0] in REGISTRY for text in schedules.ELSEWHERE.values())


def test_the_questions_keys_are_what_the_functions_say() -> None:
    def key(number: int) -> Any:
        quiz = REGISTRY[f"schedule.q{number}"]
        assert isinstance(quiz, QuizExercise)
        return quiz.parts[0].key

    assert key(1) == pytest.approx(schedules.multistep(60, 0.1, [30, 30, 60, 80], 0.1))
    assert key(2) == pytest.approx(0.1 / math.prod(1 + 0.1 * k for k in range(1, 11)), rel=1e-4)
    assert key(3) == pytest.approx(schedules.cosine(150, 0.1, 100, 0.0))
    starts = [t for t in range(1, 71) if schedules.restarts(t, 1.0, 10, 2, 0.0) == 1.0]
    assert starts == [10, 30, 70]
    assert key(4) == starts[1]
    per_batch = [schedules.warmup_cosine(t, 1.0, 5, 90, 0.1) for t in range(300)]
    assert key(5) == "c"
    assert per_batch[90] == pytest.approx(0.0)
    assert per_batch[175] == pytest.approx(1.0)  # up again after 85 more: a period of 170


def test_a_tenth_of_the_lr_is_a_tenth_of_adamws_decay() -> None:
    shrunk = []
    for lr in (1e-3, 1e-4):
        w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        opt = torch.optim.AdamW([w], lr=lr, weight_decay=0.1)
        w.grad = torch.zeros(1, dtype=torch.float64)
        opt.step()
        shrunk.append(1 - w.item())
    assert shrunk == pytest.approx([1e-4, 1e-5])


@pytest.mark.parametrize("given", range(6))
def test_that_weight_decay_makes_up_for_a_tenth_of_the_lr(given: int) -> None:
    text, key = asked("schedule.q6", given)
    (before,) = re.findall(r"`weight_decay = ([\d.]+)`", text)
    shrunk = []
    for lr, weight_decay in ((1e-3, float(before)), (1e-4, key)):
        w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        w.grad = torch.zeros(1, dtype=torch.float64)
        torch.optim.AdamW([w], lr=lr, weight_decay=weight_decay).step()
        shrunk.append(1 - w.item())
    assert shrunk[0] == pytest.approx(shrunk[1])


@pytest.mark.parametrize("given", range(6))
def test_that_patience_is_the_smallest_with_which_torch_never_reduces_the_lr(given: int) -> None:
    text, key = asked("schedule.q7", given)
    (percent,) = re.findall(r"by ([\d.]+) %", text)
    reduced = []
    for patience in range(int(key) + 2):
        opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=patience, threshold=0.01)
        for epoch in range(200):
            scheduler.step(2.0 * (1 - float(percent) / 100) ** epoch)
        reduced.append(opt.param_groups[0]["lr"] < 1.0)
    assert reduced == [True] * int(key) + [False] * 2


@pytest.mark.parametrize("given", range(6))
def test_so_many_draws_are_needed_and_no_fewer(given: int) -> None:
    text, key = asked("schedule.q8", given)
    (low,) = re.findall(r"between \$10\^\{(-\d)\}\$", text)
    draws = answers.log_uniform(10.0 ** float(low), 0.1, 20_000 * int(key), torch.Generator().manual_seed(given))
    usable = ((draws > 2e-3) & (draws < 2e-2)).view(20_000, -1)
    half = 1.96 * (0.95 * 0.05 / 20_000) ** 0.5
    assert float(usable.any(1).double().mean()) > 0.95 - half
    assert float(usable[:, 1:].any(1).double().mean()) < 0.95 + half


# --- plateau and protocol -------------------------------------------------------------------------------------------


def follow(scheduler: Any, opt: torch.optim.Optimizer, metrics: list[float]) -> list[list[float]]:
    rows = []
    for metric in metrics:
        scheduler.step(metric)
        rows.append([float(group["lr"]) for group in opt.param_groups])
    return rows


def three_groups() -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.5, 0.05, 3.0)])


@pytest.mark.parametrize("seed", range(5))
def test_a_plateau_resumes_to_the_last_bit_as_torchs_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    metrics = [float(m) for m in np.round(2 - 0.02 * np.arange(60) * (rng.uniform(size=60) < 0.6), 2)]
    metrics[20] = math.nan
    options: dict[str, Any] = {
        "factor": 0.37,
        "patience": 2,
        "cooldown": 1,
        "min_lr": [0.0, 0.01, 0.2],
        "threshold": 0.01,
    }
    opts = [three_groups() for _ in range(3)]
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(opts[0], **options)
    own = answers.ReduceOnPlateau(opts[1], **options)
    expected = follow(torchs, opts[0], metrics)
    first = follow(own, opts[1], metrics[:25])
    opts[2].load_state_dict(opts[1].state_dict())
    resumed = answers.ReduceOnPlateau(opts[2])
    resumed.load_state_dict(own.state_dict())
    assert first + follow(resumed, opts[2], metrics[25:]) == expected


@pytest.mark.parametrize("cls", [answers.Scheduler, answers.SchedulerByFormula, answers.SchedulerWithTorchsNames])
def test_a_scheduler_resumes_to_the_last_bit_and_warns_once(cls: type) -> None:
    def schedule(t: int, base_lr: float) -> float:
        return schedules.warmup_cosine(t, base_lr, 5, 40, 0.1)

    def train(opt: torch.optim.Optimizer, scheduler: Any, steps: int) -> list[list[float]]:
        rows = training.record_lrs(opt)
        for _ in range(steps):
            opt.step()
            scheduler.step()
        return rows

    opt = three_groups()
    whole = train(opt, cls(opt, schedule), 30)
    for i, base in enumerate((0.5, 0.05, 3.0)):
        assert [row[i] for row in whole] == [schedule(t, base) for t in range(30)]
    opt, again = three_groups(), three_groups()
    scheduler = cls(opt, schedule)
    parts = list(train(opt, scheduler, 12))
    resumed = cls(again, schedule)
    again.load_state_dict(opt.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert parts + train(again, resumed, 18) == whole
    with pytest.warns(UserWarning, match=r"first|optimizer\.step"):
        cls(three_groups(), schedule).step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.step()


# --- searching ------------------------------------------------------------------------------------------------------


def test_the_lowest_loss_is_told_apart_from_a_usable_lr() -> None:
    found = exercise("schedule.range_test")
    for seed in range(3):
        for case in hidden_cases(found, seed):
            facts = gather(case, (answers._at_the_lowest,)).facts
            assert facts[LOWEST] == "yes", case.name


@pytest.mark.parametrize("constant", [1e-3, 0.01, 0.1, 1.0, 10.0])
def test_no_constant_lr_passes_the_range_test(constant: float) -> None:
    def range_test(w0: Any, loss_fn: Any, lr_min: float, lr_max: float, steps: int) -> float:
        answers.range_test(w0, loss_fn, lr_min, lr_max, steps)
        return constant

    verdict, _ = attempt(
        exercise("schedule.range_test"), hidden_cases(exercise("schedule.range_test"), 4), (range_test,)
    )
    assert len(verdict.failed_cases) >= 2


def test_a_uniform_exponent_matches_the_reference_exactly_when_it_draws_alike() -> None:
    case = visible_cases(exercise("schedule.log_uniform"))[0]
    expected = expected_evidence(exercise("schedule.log_uniform"), case).arrays[QUANTILES]

    def alike(low: float, high: float, n: int, generator: torch.Generator) -> torch.Tensor:
        return low * (high / low) ** torch.rand(n, dtype=torch.float64, generator=generator)

    assert np.abs(gather(case, (alike,)).arrays[QUANTILES] - expected).max() < 1e-12
    levels = np.linspace(0.05, 0.95, 19)
    assert np.abs(expected - levels).max() < 0.015


def test_an_lr_on_the_device_costs_no_wait_and_no_copy() -> None:
    case = next(c for c in visible_cases(exercise("schedule.tensor_lr")) if c.name == "on the pretend GPU")
    facts = gather(case, (answers.cosine_lr_,)).facts
    assert (facts[SYNCS], facts[UPLOADS]) == (0.0, 0.0)
    assert gather(case, (answers._fetches,)).facts[SYNCS] == 1.0


# --- the claims of the text -----------------------------------------------------------------------------------------


def digits_run(
    make: Callable[[Any], Any], split: data.Split, sizes: list[int], steps: int, batch: int, factor: Any
) -> Any:
    model = models.Ensemble(sizes, 5, torch.Generator().manual_seed(0))
    return training.fit(model, make(model.parameters()), split, steps, batch, torch.Generator().manual_seed(1), factor)


def test_sgd_with_a_falling_lr_catches_up_with_adam() -> None:
    """At the lrs that the notebook's grid finds; five seeds in one batch."""
    split, steps = data.mnist1d(), 400

    def final(make: Callable[[Any], Any], falling: bool) -> torch.Tensor:
        factor = (lambda t: schedules.cosine(t, 1.0, steps, 0.0)) if falling else None
        model = models.Ensemble([40, 64, 10], 5, torch.Generator().manual_seed(0))
        run = training.fit(model, make(model.parameters()), split, steps, 50, torch.Generator().manual_seed(0), factor)
        return run.final_loss

    behind, half = plotting.interval(
        final(lambda p: torch.optim.SGD(p, 0.5), False) - final(lambda p: torch.optim.Adam(p, 0.02), False)
    )
    assert behind - half > 0
    ahead, half = plotting.interval(
        final(lambda p: torch.optim.SGD(p, 2.0), True) - final(lambda p: torch.optim.Adam(p, 0.04), True)
    )
    assert ahead - half < 0


def test_two_learning_rates_and_a_warmup_lead_where_the_text_says() -> None:
    split = data.digits()
    large, small = (
        plotting.interval(digits_run(lambda p: torch.optim.Adam(p, lr), split, [64, 32, 10], 450, 32, None).final_loss)  # noqa: B023
        for lr in (0.01, 0.001)
    )
    assert large[0] + large[1] < 0.3 * (small[0] - small[1])
    cold, warm = (
        digits_run(lambda p: torch.optim.SGD(p, 3.0), split, [64, 32, 10], 300, 32, factor).final_loss
        for factor in (
            lambda t: schedules.cosine(t, 1.0, 300, 0.0),
            lambda t: schedules.warmup_cosine(t, 1.0, 60, 300, 0.02),
        )
    )
    gain, half = plotting.interval(cold - warm)
    assert gain - half > 0


def test_the_noise_ball_is_the_fixed_point_of_the_recursion() -> None:
    lr, h, variance, q = 0.3, 1.7, 0.8, 5.0
    for _ in range(400):
        q = (1 - lr * h) ** 2 * q + lr**2 * variance
    assert q == pytest.approx(lr * variance / (h * (2 - lr * h)))


def test_what_was_used_is_recorded_and_not_what_was_planned() -> None:
    w = torch.nn.Parameter(torch.zeros(1))
    opt = torch.optim.SGD([w], lr=0.5)
    used = training.record_lrs(opt)
    for lr in (0.1, 0.2):
        opt.param_groups[0]["lr"] = lr
        opt.step()
        opt.param_groups[0]["lr"] = 9.0
    assert used == [[0.1], [0.2]]


# --- nobody hands in torch's own ------------------------------------------------------------------------------------

_GONE = """
import torch, inspect
from torch.optim import lr_scheduler as s
from torch.optim.swa_utils import SWALR
from autograder.grading.references import remove, files_to_mask
names = {names!r}
opt = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1)
live = s.CosineAnnealingLR(opt, 10)
masks = files_to_mask(names)
remove(names)
tries = [lambda c=c: c(opt) for n, c in vars(s).items() if inspect.isclass(c) and issubclass(c, s.LRScheduler)]
tries += [live.step, live._update_lr, live._get_closed_form_lr, live.get_lr, lambda: SWALR(opt, 0.1)]
tries += [lambda: type("Mine", (s.LRScheduler,), {{}})(opt)]
left = []
for number, attempt in enumerate(tries):
    try:
        attempt()
        left.append(number)
    except Exception as error:
        if type(error).__name__ != "ReferenceUsed":
            left.append((number, repr(error)))
source = next(text for path, text in masks.items() if path.endswith("lr_scheduler.py"))
print(len(tries), left, "eta_min" in source, "gamma **" in source)
opt.step()
"""


def test_every_scheduler_of_torch_is_taken_out_while_grading(root: Path) -> None:
    code = _GONE.format(names=forms.FORBIDDEN)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=120)
    assert said.returncode == 0, said.stderr
    tries, rest = said.stdout.split(maxsplit=1)
    assert int(tries) > 20
    assert rest.strip() == "[] False False"


def test_all_of_torchs_schedulers_are_forbidden_by_name() -> None:
    from torch.optim import lr_scheduler

    classes = [
        name
        for name, value in vars(lr_scheduler).items()
        if isinstance(value, type) and issubclass(value, lr_scheduler.LRScheduler)
    ]
    assert [name for name in classes if f"torch.optim.lr_scheduler.{name}" not in forms.FORBIDDEN] == []


def test_a_borrowed_scheduler_is_refused() -> None:
    borrowed = type("ReduceOnPlateau", (torch.optim.lr_scheduler.ReduceLROnPlateau,), {})
    with pytest.raises(AssertionError, match=r"builds on torch\.optim\.lr_scheduler"):
        check("schedule.plateau", borrowed)


# --- what students may hand in --------------------------------------------------------------------------------------


def _yields(t: int, base_lr: float, step_size: int, gamma: float) -> Any:
    yield base_lr


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("schedule.step", lambda t, base_lr, step_size, gamma: None, "step should return the lr, a float, not None"),
        ("schedule.step", lambda t, base_lr, step_size, gamma: [base_lr], "not a list of 1"),
        ("schedule.step", lambda t, base_lr, step_size, gamma: torch.zeros(3), "not a tensor of shape (3,)"),
        ("schedule.step", lambda t, base_lr, step_size, gamma: "0.1", "not a str"),
        ("schedule.step", _yields, "not a generator"),
        ("schedule.step", lambda base_lr, step_size, gamma: 0.1, "The check calls step(t, base_lr, step_size, gamma)"),
        (
            "schedule.polynomial",
            lambda t, base_lr, total_iters, power: base_lr + 1j,
            "returned a complex number",
        ),
        ("schedule.protocol", answers.step, "Scheduler should be a class"),
        ("schedule.plateau", answers.Scheduler, "has no method"),
        ("schedule.range_test", lambda w0, loss_fn, lr_min, lr_max, steps: 0.1, "evaluated loss_fn 0 times"),
        ("schedule.log_uniform", lambda low, high, n, generator: [low] * n, "should return a tensor of shape (20000,)"),
        ("schedule.log_uniform", lambda low, high, n, generator: torch.rand(n, 1), "returned shape (20000, 1)"),
        ("schedule.tensor_lr", lambda lr, t, base_lr: None, "The check calls cosine_lr_(lr, t, base_lr, T_max)"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    name: str, given: object, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "schedule.plateau":
        given = type("ReduceOnPlateau", (), {"step": answers.step})
    with pytest.raises(AssertionError):
        check(name, given)
    assert words in capsys.readouterr().out


def test_a_list_of_milestones_that_is_sorted_in_place_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def multistep(t: int, base_lr: float, milestones: list[int], gamma: float) -> float:
        milestones.sort()
        return answers.multistep(t, base_lr, milestones, gamma)

    with pytest.raises(AssertionError):
        check("schedule.multistep", multistep)
    assert "sorts the caller's" in capsys.readouterr().out


# --- the notebook itself --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def names(root: Path) -> dict[str, Any]:
    """What a student has who solved everything."""
    import matplotlib.pyplot as plt

    found: dict[str, Any] = {
        **{"math": math, "warnings": warnings, "np": np, "torch": torch, "plt": plt, "plotting": plotting},
        **{"training": training, "models": models, "data": data, "done": lambda *_: True},
    }
    for source in source_solutions(root / "source" / NOTEBOOK / f"{NOTEBOOK}.ipynb").values():
        exec(source, found)
    return found


def test_the_composer_answers_within_150_ms(root: Path, names: dict[str, Any]) -> None:
    notebook = nbformat.read(root / "source" / NOTEBOOK / f"{NOTEBOOK}.ipynb", as_version=4)
    cells = [c.source for c in notebook.cells if c.id in ("composed-runs", "explorer")]
    shown: dict[str, Any] = {}

    class Widgets:
        log_slider = slider = staticmethod(lambda label, low, high, value, *step: value)

        @staticmethod
        def explorer(figure: Any, draw: Any, **controls: Any) -> None:
            shown.update(figure=figure, draw=draw, controls=controls)

    exec("\n".join(cells), {**names, "widgets": Widgets})
    widgets.picture(shown["figure"], shown["draw"](**shown["controls"]))
    times = []
    for cycles in (1, 2, 3, 5):
        start = time.process_time()
        text = shown["draw"](**{**shown["controls"], "cycles": cycles})
        widgets.picture(shown["figure"], text)
        times.append(time.process_time() - start)
    assert min(times) < 0.3, "a busy machine gets twice the time"
    assert "with a constant lr at" in text
    best = shown["draw"](base_lr=0.1, warmup=0, hold=120, cycles=2)  # what the text below the widget says
    assert "ends at 0.174; with a constant lr at 0.236" in best


def test_the_graded_part_is_quick_when_warm(names: dict[str, Any]) -> None:
    """Visible and hidden checks of the solutions: 0.5 s of CPU on an idle machine."""

    def graded_part() -> None:
        for one in REGISTRY.values():
            if one.notebook == NOTEBOOK and isinstance(one, (CodeExercise, QuizExercise)):
                assert check(one.id, *(names[n] for n in one.objects), cases="hidden") == one.points

    graded_part()
    start = time.process_time()
    graded_part()
    assert time.process_time() - start < 1.0
