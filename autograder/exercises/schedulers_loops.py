"""Exercises of `06_schedulers` beyond the closed forms: schedulers that react or drive, searched lrs, an lr on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograder.collectors.common import PRETEND
from autograder.collectors.launches import LAUNCHES, MIXES, SYNCS
from autograder.collectors.schedulers import EVALUATIONS, RESUMED, UNINTERRUPTED, UPLOADS
from autograder.exercise import TOLERANCE, Case, CodeExercise, Limit
from autograder.exercises.schedulers_forms import FORBIDDEN, NOTEBOOK, VISIBLE_SEED
from autograder.misconceptions import recognise
from autograder.misconceptions import schedule_loops as bank
from autograder.probes import (
    generator,
    probe_case,
    rounded,
)

Generator = np.random.Generator
Inputs = dict[str, Any]


def _each_group(groups: int) -> tuple[tuple[str, str], ...]:
    """What has to be identical after resuming."""
    return tuple((f"{RESUMED} of group {i}", f"{UNINTERRUPTED} of group {i}") for i in range(groups))


# --- schedule.plateau -----------------------------------------------------------------------------------------------


def _metrics(rng: Generator, epochs: int) -> list[float]:
    """A loss that falls in jumps: flat pieces with a little noise, small improvements, equal values, bad outliers."""
    level = 2.0
    found: list[float] = []
    while len(found) < epochs:
        level *= rng.uniform(0.75, 0.9)
        piece = level * (1 + 0.03 * rng.standard_normal(int(rng.integers(4, 9))))
        piece[2] = piece[1]
        piece[-1] = level * rng.uniform(1.0, 1.3)
        found += [float(f"{value:.4g}") for value in piece]
    return found[:epochs]


def _plateau_lrs(rng: Generator, hidden: bool) -> list[float]:
    first = rounded(rng.uniform(0.2, 0.9)) if hidden else 0.5
    return [first, rounded(first * 0.13)]


def _plateau_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    lrs = _plateau_lrs(rng, hidden)
    factor = rounded(rng.uniform(0.55, 0.8)) if hidden else 0.7
    threshold = rounded(rng.uniform(0.02, 0.04)) if hidden else 0.03
    patience = int(rng.integers(1, 4)) if hidden else 2
    both = {"factor": factor, "patience": patience, "threshold": threshold}

    def case(title: str, group: str, options: Inputs, metrics: Sequence[float | None], **more: Any) -> Case:
        inputs = {"lrs": lrs, "options": options, "metrics": list(metrics), **more}
        same = _each_group(len(lrs)) if "stop" in more else ()
        return probe_case(title, group, "plateau", inputs, hidden=hidden, identical=same)

    rising = [rounded(4.0 - m) for m in _metrics(rng, 40)]
    with_nan: list[float | None] = list(_metrics(rng, 30))
    for place in (0, 7, 8, 9, 10, 20):
        with_nan[place] = None
    cooling = {**both, "patience": 1, "cooldown": int(rng.integers(2, 5)) if hidden else 3}
    low = {"min_lr": [rounded(lrs[0] / 3), rounded(lrs[1] / 30)], "eps": rounded(lrs[1] / 9), "patience": 0}
    signed = [rounded(m - 1.0) for m in _metrics(rng, 40)]
    # metrics that are exactly on the bound, and lrs whose reduction is exactly eps
    level = 2.0 ** int(rng.integers(-3, 4)) if hidden else 1.0
    equal = [level * m for m in (8, 4, 4, 4, 4, 2, 2, 2, 1, 1, 1, 1, 0.5, 0.5, 0.25)]
    halves: Inputs = {"factor": 0.5, "patience": 0, "eps": level}
    exact = probe_case("a reduction by exactly eps", "groups, min_lr and eps", "plateau",
                  {"lrs": [2 * level, 8 * level], "options": halves, "metrics": [1.0] * 6}, hidden=hidden)  # fmt: skip
    return (
        case("a loss, relative threshold", "when to reduce", both, _metrics(rng, 40)),
        case("an accuracy, absolute threshold", "when to reduce",
             {**both, "mode": "max", "threshold_mode": "abs", "patience": 1}, rising),
        case("a loss that becomes negative, absolute", "when to reduce", {**both, "threshold_mode": "abs"}, signed),
        case("an accuracy, relative threshold", "when to reduce", {**both, "mode": "max"}, rising),
        case("a negative loss, relative threshold", "when to reduce", both, [rounded(m - 4.0) for m in _metrics(rng, 40)]),
        case("no threshold, equal metrics", "when to reduce", {**both, "threshold": 0.0, "patience": 1}, equal),
        case("with the defaults", "when to reduce", {}, [*_metrics(rng, 8), *[1.0] * 40]),
        case("with a cooldown", "cooldown", cooling, _metrics(rng, 45)),
        case("min_lr and eps", "groups, min_lr and eps", {**both, **low}, _metrics(rng, 45)),
        case("one min_lr for all groups", "groups, min_lr and eps",
             {"factor": factor, "patience": 0, "min_lr": rounded(lrs[1] / 2)}, _metrics(rng, 30)),
        exact,
        case("some metrics are nan", "nan and resuming", {**both, "patience": 1}, with_nan),
        case("resumed in the middle", "nan and resuming", cooling, _metrics(rng, 45),
             stop=int(rng.integers(14, 24)) if hidden else 20, as_tensor=True),
    )  # fmt: skip


PLATEAU = CodeExercise(
    "schedule.plateau",
    "When the loss stops falling",
    "schedule",
    NOTEBOOK,
    {"when to reduce": 2.0, "cooldown": 1.0, "groups, min_lr and eps": 1.0, "nan and resuming": 1.0},
    difficulty=2,
    minutes=25,
    objects=("ReduceOnPlateau",),
    visible=lambda: _plateau_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _plateau_cases(generator(seed), hidden=True),
    reference=lambda: (_torch_plateau(),),
    compares="every group's lr after every metric with torch's ReduceLROnPlateau",
    misconceptions=recognise(bank.PLATEAU_ROWS, bank.PLATEAU_ROWS, bank.plateau),
    combine=bank.plateau,
    hints=(
        "Four things happen with each metric, in this order: better or bad; cooldown; more bad epochs than patience; the "
        "reduction.",
        "If better: note it as best, and the count is 0; else the count grows. If a cooldown is on: one epoch less of it, "
        "and the count is 0. If the count is larger than patience: reduce, start the cooldown, and the count is 0.",
        "bound = best * (1 ∓ threshold) or best ∓ threshold; better = metric < bound (max: >). Reduce: for group, low in "
        "zip(self.optimizer.param_groups, self.min_lrs): new = max(group['lr'] * self.factor, low); if group['lr'] - new > "
        "self.eps: group['lr'] = new.",
    ),
    forbidden=FORBIDDEN,
)


def _torch_plateau() -> type:
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    return ReduceLROnPlateau


# --- schedule.protocol ----------------------------------------------------------------------------------------------


def _protocol_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    first = rounded(rng.uniform(0.2, 0.9)) if hidden else 0.4
    lrs = [first, rounded(first * 0.31), rounded(first * 2.7)]
    steps = 12
    factors = [rounded(f) for f in rng.uniform(0.2, 0.95, steps + 3)]
    base: Inputs = {"lrs": lrs, "factors": factors, "offset": 0.0, "steps": steps}
    # with an offset the lr is no multiple of the base lr, so nobody gets by with ratios
    shifted = {**base, "offset": rounded(first / 20)}
    stop = int(rng.integers(4, 8)) if hidden else 5
    others = [rounded(lr * 1.9) for lr in lrs]
    rounds = {"steps": 4, "factors": factors[:8]}

    def case(title: str, group: str, inputs: Inputs) -> Case:
        same = _each_group(len(lrs)) if "stop" in inputs else ()
        return probe_case(title, group, "protocol", inputs, hidden=hidden, identical=same)

    return (
        case("three groups", "driving", shifted),
        case("somebody else changes the lr", "driving", {**base, "meddle": [2, 6]}),
        case("a second scheduler for the same optimizer", "driving", {**base, "second": stop, "steps": 9}),
        case("scheduler.step() comes first", "order", {**base, **rounds, "order": "wrong"}),
        case("two scheduler.step() come first", "order", {**base, **rounds, "order": "twice"}),
        case("the second round is the wrong way round", "order", {**base, **rounds, "order": "late"}),
        case("resumed: the optimizer is loaded first", "resuming",
             {**shifted, "stop": stop, "load_first": "optimizer", "meddle": [8]}),
        case("resumed: the scheduler is loaded first", "resuming", {**base, "stop": stop, "load_first": "scheduler"}),
        case("resumed with an optimizer made with other lrs", "resuming",
             {**shifted, "stop": stop + 1, "other_lrs": others, "load_first": "optimizer"}),
        case("resumed: the scheduler is made after loading", "resuming",
             {**base, "stop": stop, "other_lrs": others, "load_first": "remade"}),
        case("resumed with other lrs, the scheduler is loaded first", "resuming",
             {**shifted, "stop": stop, "other_lrs": others, "load_first": "scheduler"}),
        case("resumed, and a batch is skipped", "resuming",
             {**base, "stop": stop, "load_first": "optimizer", "skipped": True}),
    )  # fmt: skip


PROTOCOL = CodeExercise(
    "schedule.protocol",
    "A scheduler that drives any optimizer",
    "schedule",
    NOTEBOOK,
    {"driving": 2.0, "order": 1.0, "resuming": 2.0},
    difficulty=3,
    minutes=30,
    objects=("Scheduler",),
    visible=lambda: _protocol_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _protocol_cases(generator(seed), hidden=True),
    reference=lambda: (bank.TorchScheduler,),
    compares="the lr of every group at every optimizer.step() with torch's LambdaLR",
    misconceptions=recognise(bank.PROTOCOL_ROWS, bank.PROTOCOL_ROWS, bank.driver),
    hints=(
        "Write one small method that puts the lr of self.t into every group, and call it wherever the lr may have to "
        "change: in the constructor, in step, after loading.",
        "The base lr is group['initial_lr'], which the constructor sets from group['lr'] only where it is missing "
        "(setdefault). step counts first and writes then. The state is t and the base lrs.",
        "for group, base in zip(self.optimizer.param_groups, self.base_lrs): group['lr'] = self.schedule(self.t, base). In "
        "step: if self.t == 0 and not self.stepped: warnings.warn(…); self.t += 1; write. load_state_dict: take both, write.",
    ),
    forbidden=FORBIDDEN,
)

# --- schedule.range_test --------------------------------------------------------------------------------------------

#: (powers of ten from the largest stable lr's half down to lr_min, and up to lr_max): the middle is far off in each.
RANGES = ((-5.0, 1.5), (-2.3, 4.0), (-4.5, 2.0))
SWEEP_STEPS, TRAIN_STEPS, ENOUGH = 100, 150, 0.02


def _regression(rng: Generator, scale: float, low: float, high: float, steps: int) -> Inputs:
    """A linear regression whose inputs have this scale: the usable lrs go like 1/scale²."""
    n, d = 192, 5
    X = rng.standard_normal((n, d)) * scale * rng.permutation(np.linspace(1, 1.6, d))
    y = X @ (rng.choice([-1.0, 1.0], d) * rng.uniform(0.5, 2.0, d)) / scale + 0.05 * rng.standard_normal(n)
    stable = 1 / float(np.linalg.eigvalsh(X.T @ X / n)[-1])
    watch = int(0.8 * (-0.5 - low) / (high - low) * (steps - 1))
    return {
        "X": X,
        "y": y,
        "w0": np.zeros(d) + 0.01 / scale,
        "lr_min": rounded(stable * 10**low),
        "lr_max": rounded(stable * 10**high),
        "steps": steps,
        "batch_size": 96,
        "seed": int(rng.integers(2**31)),
        "watch": watch,
        "train_steps": TRAIN_STEPS,
        "target": ENOUGH * float(0.5 * (y**2).mean()),
    }


def _one_sweep(steps: int) -> Limit:
    says = "The loss is evaluated {count} times; one sweep of `steps` evaluations is all that the test may cost."
    return Limit(EVALUATIONS, steps + 1, says)


def _range_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    scales, lengths = [1.0, 0.1, 8.0], [SWEEP_STEPS] * 3
    if hidden:
        scales = [float(10**power) for power in (rng.uniform(-0.3, 0.3), rng.uniform(-1, -0.6), rng.uniform(0.6, 1))]
        lengths = [int(n) for n in rng.integers(80, 130, 3)]
    names = ("usual inputs", "small inputs", "large inputs")
    return tuple(
        probe_case(
            name,
            "usual inputs" if number == 0 else "scaled inputs",
            "range_test",
            _regression(rng, scale, *RANGES[number], steps),
            hidden=hidden,
            tolerance=1e-6,
            limits=(_one_sweep(steps),),
        )
        for number, (name, scale, steps) in enumerate(zip(names, scales, lengths, strict=True))
    )


RANGE_TEST = CodeExercise(
    "schedule.range_test",
    "The learning rate range test",
    "experiment",
    NOTEBOOK,
    {"usual inputs": 1.5, "scaled inputs": 2.5},
    difficulty=2,
    minutes=20,
    objects=("range_test",),
    visible=lambda: _range_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _range_cases(generator(seed), hidden=True),
    reference=lambda: bank.search({}),
    compares="the lrs of the sweep with (6.16), and trained with the lr that you return",
    misconceptions=recognise(bank.RANGE_ROWS, bank.RANGE_ROWS, bank.search),
    hints=(
        "One run of gradient descent in which the lr grows by the same factor in each step. Keep all lrs and all losses, "
        "and look at them when it is over.",
        "Best stop when the loss is not finite or four times the lowest so far, and smooth the losses over about five steps, "
        "since every one comes from another minibatch. Find the lowest, and return a tenth of its lr.",
        "w = w0.clone(); for k in range(steps): lr = lr_min * (lr_max / lr_min) ** (k / (steps - 1)); w.requires_grad_(); "
        "loss = loss_fn(w); (g,) = torch.autograd.grad(loss, w); w = (w - lr * g).detach().",
    ),
    forbidden=FORBIDDEN,
)

# --- schedule.log_uniform -------------------------------------------------------------------------------------------

MANY, ALIKE = 20_000, 0.03


def _uniform_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    ranges = [(1e-5, 1e-1, MANY), (1e-3, 30.0, MANY), (1e-4, 1.0, 3)]
    if hidden:
        ranges = [
            (rounded(10 ** rng.uniform(-7, -5)), rounded(10 ** rng.uniform(-2, -0.5)), MANY),
            (rounded(10 ** rng.uniform(-3, -2)), rounded(10 ** rng.uniform(1, 2)), MANY),
            (rounded(10 ** rng.uniform(-4, -3)), rounded(10 ** rng.uniform(-1, 0)), int(rng.integers(1, 7))),
        ]
    titles = ("lrs below 1", "a range across 1", "a few numbers")
    return tuple(
        probe_case(
            title,
            "a few numbers" if n < MANY else "distribution",
            "log_uniform",
            {"low": low, "high": high, "n": n, "seed": int(rng.integers(2**31)) if hidden else 6},
            hidden=hidden,
            tolerance=ALIKE,
        )
        for title, (low, high, n) in zip(titles, ranges, strict=True)
    )


LOG_UNIFORM = CodeExercise(
    "schedule.log_uniform",
    "As many small ones as large ones",
    "statistic",
    NOTEBOOK,
    {"distribution": 1.5, "a few numbers": 0.5},
    difficulty=1,
    minutes=5,
    objects=("log_uniform",),
    visible=lambda: _uniform_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _uniform_cases(generator(seed), hidden=True),
    reference=lambda: bank.drawer({}),
    compares="the quantiles with those of the inverse distribution function",
    misconceptions=recognise(bank.UNIFORM_ROWS, bank.UNIFORM_ROWS, bank.drawer),
    hints=(
        "The exponent is uniform, not the number.",
        "u uniform between 0 and 1; then the number is low at u = 0 and high at u = 1, and each equal step of u multiplies it "
        "by the same factor.",
        "u = torch.rand(n, generator=generator); low * (high / low) ** u.",
    ),
)

# --- schedule.tensor_lr ---------------------------------------------------------------------------------------------

_TENSOR_LIMITS = (
    Limit(MIXES, 0, "Operations that mix devices: {count}. Everything can be computed from t, on t's device."),
    Limit(
        SYNCS,
        0,
        "Host synchronisations per step: {count}; none is needed. torch.cos(t) keeps the number on the device.",
    ),
    Limit(
        UPLOADS,
        0,
        "Copies from the host per step: {count}; none is needed. base_lr and T_max are Python numbers, and operations take "
        "them as they are.",
    ),
    Limit(LAUNCHES, 12, "{count} launches for one number; {at_most} are plenty."),
)


def _tensor_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    base_lr = rounded(rng.uniform(0.05, 0.9)) if hidden else 0.3
    T_max = int(rng.integers(15, 40)) if hidden else 20
    ts = [0, 1, T_max // 3, T_max - 1, T_max]

    def case(title: str, group: str, when: Sequence[int], dtype: str, t_dtype: str, device: str = "cpu") -> Case:
        inputs: Inputs = {
            "base_lr": base_lr,
            "T_max": T_max,
            "ts": list(when),
            "dtype": dtype,
            "t_dtype": t_dtype,
            "device": device,
        }
        limits = _TENSOR_LIMITS if device == PRETEND else ()
        # pi·t is float32 when t is an int64
        coarse = {"tolerance": TOLERANCE["float32"]} if t_dtype == "int64" else {}
        return probe_case(title, group, "tensor_lr", inputs, hidden=hidden, limits=limits, **coarse)

    beyond = [T_max + 3, 2 * T_max, 3 * T_max + 1]
    return (
        case("float64", "values", ts, "float64", "float64"),
        case("beyond T_max, in any order", "values", [*beyond, 2, *ts], "float64", "float64"),
        case("t counted in int64", "values", ts, "float32", "int64"),
        case("t counted in int64, lr in float64", "values", [*ts, *beyond], "float64", "int64"),
        case("on the pretend GPU", "on the device", [*ts[:4], beyond[0]], "float32", "float32", PRETEND),
        case("t counted in int64, on the pretend GPU", "on the device", [3, beyond[0]], "float32", "int64", PRETEND),
    )


TENSOR_LR = CodeExercise(
    "schedule.tensor_lr",
    "An lr that never leaves the GPU",
    "launches",
    NOTEBOOK,
    {"values": 1.0, "on the device": 2.0},
    difficulty=2,
    minutes=8,
    objects=("cosine_lr_",),
    visible=lambda: _tensor_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _tensor_cases(generator(seed), hidden=True),
    reference=lambda: bank.tensor_lr({}),
    compares="lr after every call with (6.7), and what a call costs on a GPU with the limits",
    misconceptions=recognise(bank.TENSOR_ROWS, bank.TENSOR_ROWS, bank.tensor_lr),
    hints=(
        "Your `cosine` with eta_min = 0, in torch's functions; the result goes into lr's own memory.",
        "torch.cos takes the tensor t and gives a tensor; Python's numbers mix with it freely. A method that ends in _ writes "
        "in place.",
        "lr.copy_(base_lr * (1 + torch.cos(math.pi * t / T_max)) / 2).",
    ),
    forbidden=FORBIDDEN,
)
