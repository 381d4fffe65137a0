"""The exercises of `08_large_batch_scaling`: cases, references, the misconceptions each recognises, hints, points.

Ranks and questions stand in `large_batch_ranks` and `large_batch_quiz`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autograder.collectors.common import PRETEND
from autograder.exercise import Case, CodeExercise, Exercise, WrittenExercise
from autograder.exercises.large_batch_quiz import QUIZZES
from autograder.exercises.large_batch_ranks import DATA_PARALLEL, NO_SYNC
from autograder.misconceptions import large_batch as rules
from autograder.misconceptions import layerwise, recognise
from autograder.probes import (
    STEPS,
    changing_lrs,
    generator,
    late,
    one_group,
    probe_case,
    rounded,
    two_groups,
    weights,
)

NOTEBOOK = "08_large_batch_scaling"
VISIBLE_SEED = 8
Generator = np.random.Generator
Shape = tuple[int, ...]


def _shown(name: str, arguments: Sequence[Any], number: int, hidden: bool) -> str:
    """What a returned value is called: the call itself, unless its numbers are secret."""
    return f"{name}, call {number}" if hidden else f"{name}({', '.join(f'{a:g}' for a in arguments)})"


# --- largebatch.scaling ---------------------------------------------------------------------------------------------

_SCALING_NAMES = ["linear_scaled_lr", "sqrt_scaled_lr"]
_SCALING_USAGE = "(base_lr, base_batch_size, batch_size, lr_max)"


def _scaling_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def inputs(index: int, rows: Sequence[Sequence[float]]) -> dict[str, Any]:
        name = _SCALING_NAMES[index]
        calls = [
            {"function": index, "arguments": list(row), "label": _shown(name, row, n, hidden)}
            for n, row in enumerate(rows)
        ]
        return {"names": _SCALING_NAMES, "usages": [_SCALING_USAGE] * 2, "calls": calls}

    below = [(0.1, 256, 1024, 10.0), (0.02, 32, 48, 5.0), (0.4, 512, 128, 3.0)]
    above = [(0.1, 256, 8192, 1.0), (0.5, 32, 64, 0.55), (0.3, 16, 16, 0.2)]
    if hidden:
        base = int(rng.integers(20, 200))
        below = [
            (rounded(rng.uniform(0.01, 0.3)), base, int(base * factor), rounded(rng.uniform(8, 30)))
            for factor in (rng.uniform(3, 20), rng.uniform(1.2, 1.9), rng.uniform(0.3, 0.8))
        ]
        above = [
            (rounded(rng.uniform(0.1, 0.3)), base, int(base * rng.uniform(30, 60)), rounded(rng.uniform(0.4, 0.9))),
            (rounded(rng.uniform(0.5, 0.6)), base, base, rounded(rng.uniform(0.2, 0.4))),
        ]
    return tuple(
        probe_case(f"{name}, {title} lr_max", "rules" if title == "below" else "bound", "functions", inputs(i, rows),
              hidden=hidden)
        for title, rows in (("below", below), ("limited by", above))
        for i, name in enumerate(_SCALING_NAMES)
    )  # fmt: skip


SCALING = CodeExercise(
    "largebatch.scaling",
    "An lr for another batch size",
    "function",
    NOTEBOOK,
    {"rules": 2.0, "bound": 1.0},
    difficulty=1,
    minutes=5,
    objects=tuple(_SCALING_NAMES),
    visible=lambda: _scaling_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _scaling_cases(generator(seed), hidden=True),
    reference=lambda: rules.scaling_functions({}),
    compares="every lr with the rule, and with its upper bound",
    misconceptions=recognise(rules.SCALING_ROWS, rules.SCALING_ROWS, rules.scaling_functions),
    combine=rules.scaling_functions,
    hints=(
        "How many times as large is the new batch? That number, or its root, is the factor. Then look at the bound.",
        "k = batch_size / base_batch_size, also when it is below 1 or no whole number. The smaller one of the rule and "
        "lr_max is returned.",
        "min(base_lr * batch_size / base_batch_size, lr_max), and the same with (batch_size / base_batch_size) ** 0.5.",
    ),
)


# --- largebatch.warmup ----------------------------------------------------------------------------------------------

_WARMUP_USAGE = "(step, base_lr, target_lr, warmup_epochs, n, batch_size)"


def _warmup_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(title: str, group: str, settings: Sequence[float], steps: Sequence[int]) -> Case:
        calls = [
            {
                "function": 0,
                "arguments": [step, *settings],
                "label": _shown("warmup_lr", [step, *settings], number, hidden),
            }
            for number, step in enumerate(steps)
        ]
        inputs = {"names": ["warmup_lr"], "usages": [_WARMUP_USAGE], "calls": calls}
        return probe_case(title, group, "functions", inputs, hidden=hidden)

    even, ragged, nearly, none, down = (
        (0.1, 0.5, 2, 40, 10),  # not 0.8: eight steps to eight times the lr would be the ramp from 0 as well
        (0.05, 0.4, 3, 50, 8),
        (0.05, 0.3, 3, 46, 8),
        (0.1, 0.6, 0, 40, 10),
        (0.1, 0.3, 1, 12, 32),
    )
    if hidden:
        lr = rounded(rng.uniform(0.02, 0.1))
        even = (lr, rounded(lr * rng.uniform(4, 9)), 2, 8 * int(rng.integers(5, 9)), 8)
        ragged = (lr, rounded(lr * rng.uniform(4, 9)), int(rng.integers(3, 5)), 57 + int(rng.integers(0, 3)), 8)
        nearly = (*ragged[:3], 62 + int(rng.integers(0, 2)), 8)
        none = (lr, rounded(lr * 5), 0, 40 + int(rng.integers(0, 9)), 8)
        down = (lr, rounded(lr * rng.uniform(3, 5)), int(rng.integers(2, 4)), 12, 32)
    per = -(-even[3] // even[4])
    long, other = (one[2] * -(-one[3] // one[4]) for one in (ragged, nearly))
    # torch's LinearLR multiplies its way up: 1e-9 holds for a few dozen steps
    return (
        case("the ramp", "ramp", even, (0, 1, per - 1, per, per + 1)),
        case("the ramp, batches that do not divide n", "ramp", ragged, (0, 1, long // 2, long - 1)),
        case("the ramp, a last batch almost full", "ramp", nearly, (0, 1, other // 2, other - 1)),
        case("a batch larger than the data", "ramp", down, (0, 1, down[2] - 1, down[2])),
        case("after the warmup", "after", even, (2 * per, 2 * per + 1, 4 * per + 3)),
        case("after the warmup, batches that do not divide n", "after", ragged, (long, long + 1, 2 * long)),
        case("no warmup", "after", none, (0, 1, 7)),
    )


WARMUP = CodeExercise(
    "largebatch.warmup",
    "From the small batch's lr to the scaled one",
    "function",
    NOTEBOOK,
    {"ramp": 2.0, "after": 1.0},
    difficulty=1,
    minutes=8,
    objects=("warmup_lr",),
    visible=lambda: _warmup_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _warmup_cases(generator(seed), hidden=True),
    reference=lambda: (rules.warmup_by_torch,),
    compares="every lr with torch's SequentialLR of LinearLR and ConstantLR",
    misconceptions=recognise(rules.WARMUP_ROWS, rules.WARMUP_ROWS, rules.warmup_function),
    combine=rules.warmup_function,
    hints=(
        "Turn the epochs into steps first: that is where the batch size comes in. Then it is a straight line between two "
        "points, and flat after the second one.",
        "An epoch has ⌈n/B⌉ steps. At step 0 the lr is base_lr, at step W = warmup_epochs·⌈n/B⌉ and later it is "
        "target_lr. W may be 0.",
        "w = warmup_epochs * math.ceil(n / batch_size); share = min(step / w, 1) if w > 0 else 1; return base_lr + "
        "(target_lr - base_lr) * share.",
    ),
    forbidden=("torch.optim.lr_scheduler",),
)


# --- largebatch.noise_scale -----------------------------------------------------------------------------------------


def _draws(G: Any, size: int, repeats: int) -> Any:
    """Mean gradients of all ordered draws of `size` of the rows of G, with replacement, each `repeats` times."""
    index = np.stack(np.meshgrid(*[np.arange(len(G))] * size, indexing="ij"), -1).reshape(-1, size)
    return np.repeat(G[index].mean(1), repeats, axis=0)


def _noise_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(title: str, group: str, small: Any, big: Any, b_small: int, b_big: int, **more: Any) -> Case:
        call = {
            "function": 0,
            "arguments": [small, big, b_small, b_big],
            "label": "noise_scale",
            "returns": ["|G|²", "tr Σ", "B_simple"],
        }
        usage = "(G_small, G_big, b_small, b_big)"
        return probe_case(
            title, group, "functions", {"names": ["noise_scale"], "usages": [usage], "calls": [call]}, hidden=hidden
        )

    def noisy(k: int, d: int, b_small: int, b_big: int, signal: float) -> tuple[Any, Any]:
        mean, spread = signal * rng.standard_normal(d), rng.uniform(0.5, 3, d)
        return tuple(mean + spread * rng.standard_normal((k, d)) / b**0.5 for b in (b_small, b_big))

    b_small, b_big = (int(rng.integers(2, 8)), int(rng.integers(20, 90))) if hidden else (4, 64)
    table = rng.standard_normal((3, 4)) + 1.0
    hard = np.array([[3.0, -2.0], [2.5, 2.0]]), np.array([[1.0, 0.5], [-0.5, -1.0], [0.2, 0.1]])
    drawn = rng.uniform(1, 1.5)
    return (
        case("40 draws of each size", "estimates", *noisy(40, 6, b_small, b_big, 1.0), b_small, b_big),
        case("a few draws", "estimates", *noisy(5, 3, b_small, 3 * b_small, 1.5), b_small, 3 * b_small),
        # over all draws there are the estimates are exact: |G|² and tr Σ of the three rows
        case(
            "all draws of 1 and of 2 from three examples", "estimates", _draws(table, 1, 3), _draws(table, 2, 1), 1, 2
        ),
        case("more draws of one size than of the other", "edge cases", hard[0] * drawn, hard[1] * drawn, 2, b_big),
        case("noise so strong that |G|² comes out below 0", "edge cases", 0.1 * hard[0], 0.9 * hard[0], b_small, b_big),
        case("one draw of each size", "edge cases", hard[0][:1] * drawn, hard[1][:1], 3, 12),
    )


NOISE_SCALE = CodeExercise(
    "largebatch.noise_scale",
    "The noise in a gradient, from two batch sizes",
    "statistic",
    NOTEBOOK,
    {"estimates": 3.0, "edge cases": 1.0},
    difficulty=2,
    minutes=15,
    objects=("noise_scale",),
    visible=lambda: _noise_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _noise_cases(generator(seed), hidden=True),
    reference=lambda: rules.noise_scale_function({}),
    compares="the three numbers with the unbiased estimates and their ratio",
    misconceptions=recognise(rules.NOISE_ROWS, rules.NOISE_ROWS, rules.noise_scale_function),
    combine=rules.noise_scale_function,
    hints=(
        "The mean squared norm of a gradient is a straight line in 1/B, (8.7). You know it at two places: that gives its "
        "level and its slope.",
        "s = mean over the small draws of the squared norm, b the same for the big ones. Eliminate tr Σ from the two "
        "equations to get |G|², and |G|² to get tr Σ. Divide the two at the end.",
        "s = (G_small**2).sum(1).mean(), b alike; g2 = (b_big * b - b_small * s) / (b_big - b_small); trace = (s - b) / "
        "(1 / b_small - 1 / b_big); return g2, trace, trace / g2.",
    ),
)


# --- largebatch.critical_batch --------------------------------------------------------------------------------------

_CRITICAL_NAMES = ["steps_needed", "examples_needed", "fit_tradeoff"]
_CRITICAL_USAGES = ["(batch_size, s_min, b_crit)", "(batch_size, e_min, b_crit)", "(batch_sizes, steps)"]


def _critical_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(title: str, group: str, calls: list[dict[str, Any]]) -> Case:
        inputs = {"names": _CRITICAL_NAMES, "usages": _CRITICAL_USAGES, "calls": calls}
        return probe_case(title, group, "functions", inputs, hidden=hidden)

    def curve(index: int, rows: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
        name = _CRITICAL_NAMES[index]
        return [
            {"function": index, "arguments": list(row), "label": _shown(name, row, n, hidden)}
            for n, row in enumerate(rows)
        ]

    def fit(sizes: Any, steps: Any) -> list[dict[str, Any]]:
        arguments = [np.asarray(sizes, dtype=float), np.asarray(steps, dtype=float)]
        names = ["S_min", "E_min", "B_crit"]
        return [{"function": 2, "arguments": arguments, "label": "fit_tradeoff", "returns": names}]

    s_min, b_crit = (int(rng.integers(100, 900)), rounded(rng.uniform(30, 300))) if hidden else (500, 128)
    e_min = s_min * b_crit
    rows: list[float] = [b_crit, 4 * b_crit, b_crit / 8, float(rng.integers(3, 4000))]
    sizes = np.array([4, 16, 64, 256, 1024]) * (int(rng.integers(1, 4)) if hidden else 1)
    exact = s_min * (1 + b_crit / sizes)
    noisy = np.round(exact * rng.uniform(0.85, 1.15, len(sizes)))
    return (
        case("steps_needed", "curves", curve(0, [(b, s_min, b_crit) for b in rows])),
        case("examples_needed", "curves", curve(1, [(b, e_min, b_crit) for b in rows])),
        case("fit_tradeoff, two batch sizes", "fit", fit(sizes[[0, 3]], exact[[0, 3]])),
        case("fit_tradeoff, five noisy ones", "fit", fit(sizes, noisy)),
        case("fit_tradeoff, batch sizes in any order", "fit", fit(sizes[[3, 0, 4, 2]], noisy[[3, 0, 4, 2]])),
    )


CRITICAL_BATCH = CodeExercise(
    "largebatch.critical_batch",
    "Steps against examples",
    "function",
    NOTEBOOK,
    {"curves": 1.5, "fit": 1.5},
    difficulty=2,
    minutes=15,
    objects=tuple(_CRITICAL_NAMES),
    visible=lambda: _critical_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _critical_cases(generator(seed), hidden=True),
    reference=lambda: rules.critical_functions({}),
    compares="every number with the curves, and the fit with least squares",
    misconceptions=recognise(rules.CRITICAL_ROWS, rules.CRITICAL_ROWS, rules.critical_functions),
    combine=rules.critical_functions,
    hints=(
        "Steps fall with the batch towards S_min, examples grow from E_min. For the fit: in which variable is S a "
        "straight line?",
        "With x = 1/B, S = S_min + E_min·x: a line through the points by least squares has level S_min and slope E_min. "
        "B_crit is their quotient.",
        "s_min * (1 + b_crit / batch_size); e_min * (1 + batch_size / b_crit). With x = 1 / batch_sizes and dx = x - "
        "x.mean(): e_min = (dx * steps).sum() / (dx * dx).sum(), s_min = steps.mean() - e_min * x.mean().",
    ),
)


# --- largebatch.layer_ratios ----------------------------------------------------------------------------------------


def _ratio_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    shapes: dict[str, Shape] = {
        "conv.weight": (3, 2, 2),
        "conv.bias": (3,),
        "fc1.weight": (4, 5),
        "fc1.bias": (4,),
        "fc2.weight": (2, 4),
        "fc2.bias": (1,),
    }

    def case(title: str, group: str, without: Sequence[str] = (), still: Sequence[str] = (), **more: Any) -> Case:
        scale = {name: 10.0 ** rng.uniform(-2, 1) for name in shapes}
        inputs = {
            "names": list(shapes),
            "weights": [weights(rng, shape) * 10.0 ** rng.uniform(-1, 1) for shape in shapes.values()],
            "grads": [
                None if name in without else (name not in still) * scale[name] * rng.standard_normal(shape)
                for name, shape in shapes.items()
            ],
            **more,
        }
        return probe_case(title, group, "layer_ratios", inputs, hidden=hidden)

    names = list(shapes)
    drawn = [names[int(i)] for i in rng.permutation(6)[:3]] if hidden else ["fc1.bias", "conv.weight", "fc2.weight"]
    return (
        case("every parameter has a gradient", "ratios"),
        case("float32", "ratios", dtype="float32"),
        case("parameters without a gradient", "edge cases", without=drawn[:2]),
        case("a zero gradient", "edge cases", still=drawn[2:]),
    )


LAYER_RATIOS = CodeExercise(
    "largebatch.layer_ratios",
    "How much lr can each layer take?",
    "function",
    NOTEBOOK,
    {"ratios": 2.0, "edge cases": 1.0},
    difficulty=1,
    minutes=5,
    objects=("layer_ratios",),
    visible=lambda: _ratio_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _ratio_cases(generator(seed), hidden=True),
    reference=lambda: rules.ratio_function({}),
    compares="every ratio with the quotient of the Euclidean norms",
    misconceptions=recognise(rules.RATIO_ROWS, rules.RATIO_ROWS, rules.ratio_function),
    combine=rules.ratio_function,
    hints=(
        "model.named_parameters() gives names and tensors; each has its own entry.",
        "p.norm() is the root of the sum of squares over all entries. Leave out what has no gradient; a tensor divided by "
        "a tensor that is 0 is inf, where Python's floats raise an exception.",
        "{name: float(p.detach().norm() / p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}",
    ),
)


# --- largebatch.lars and largebatch.lamb ----------------------------------------------------------------------------


def _of_sizes(inputs: dict[str, Any]) -> dict[str, Any]:
    """Each tensor twice as large as the one before: their ratios differ."""
    return {**inputs, "params": [np.asarray(p * 2.0 ** (i - 1)) for i, p in enumerate(inputs["params"])]}


def _one_group(rng: Generator, shapes: Sequence[Shape], options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return _of_sizes(one_group(rng, shapes, options, **more))


def _two_groups(rng: Generator, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    return _of_sizes(two_groups(rng, first, second, [(6,), (2, 3), (6,), (2, 3)], [0, 0, 1, 1]))


def _zero_norms(inputs: dict[str, Any]) -> dict[str, Any]:
    """Parameter 0 starts at 0, and parameter 1's gradient is 0 in steps 1 and 4."""
    inputs["params"][0] = np.zeros_like(inputs["params"][0])
    for step in (0, 3):
        inputs["grads"][step][1] = np.zeros_like(inputs["grads"][step][1])
    return inputs


def _layerwise_cases(
    rng: Generator, hidden: bool, first: Mapping[str, Any], second: Mapping[str, Any], state: tuple[str, ...]
) -> tuple[Case, ...]:
    """Cases of both optimizers: `first` are the hyperparameters of a group, `second` those of another one."""
    shapes: list[Shape] = [(6,), (2, 3), ()]
    vector: list[Shape] = [(6,), (5,)]
    plain = {**first, "weight_decay": 0.0}

    def case(title: str, group: str, inputs: dict[str, Any]) -> Case:
        return probe_case(title, group, "optimizer", {**inputs, "state": list(state)}, hidden=hidden, may_lack=state)

    cases = [
        case("without weight decay", "update", _one_group(rng, shapes[:2], plain)),
        case("with weight decay", "update", _one_group(rng, shapes[:2], first)),
        case("the lr changes half-way", "update", _one_group(rng, shapes[:2], first, lrs=changing_lrs([first["lr"]]))),
        case("a weight of 0, a gradient of 0", "zero norms", _zero_norms(_one_group(rng, vector, first))),
        case("a weight of 0 without decay", "zero norms", _zero_norms(_one_group(rng, vector, plain))),
        case(
            "two groups, one with adapt=False", "parameter groups", _two_groups(rng, first, {**second, "adapt": False})
        ),
        case("two groups, both adapt", "parameter groups", _two_groups(rng, first, {**second, "adapt": True})),
        case("state_dict half-way", "parameter groups", _two_groups(rng, first, second) | {"reload": STEPS // 2}),
        case(
            "late gradients, re-used tensors", "late gradients", late(_one_group(rng, [*shapes[:2], (3,)], first), 2, 4)
        ),
        case(
            "float32 and a 0-dim tensor", "dtypes and devices", {**_one_group(rng, shapes, first), "dtype": "float32"}
        ),
    ]
    if not hidden:
        inputs = _one_group(rng, [(4,)], first)
        cases.append(
            case("another device", "dtypes and devices", {**inputs, "grads": inputs["grads"][:3], "device": PRETEND})
        )
    return tuple(cases)


def _lars_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    first = {"lr": 0.4, "momentum": 0.8, "weight_decay": 0.3, "trust_coefficient": 0.2}
    second = {"lr": 0.07, "momentum": 0.6, "weight_decay": 0.12, "trust_coefficient": 0.35}
    if hidden:
        first, second = (
            {
                "lr": rounded(factor * rng.uniform(0.3, 0.5)),
                "momentum": rounded(mu + rng.uniform(-0.06, 0.06)),
                "weight_decay": rounded(factor * rng.uniform(0.2, 0.4)),
                "trust_coefficient": rounded(rng.uniform(0.15, 0.25) / factor**0.5),
            }
            for factor, mu in ((1.0, 0.8), (0.25, 0.62))
        )
    cases = _layerwise_cases(rng, hidden, first, second, ())
    # with the default trust coefficient, and gradients so small that the ratio is far above 1
    small = _one_group(rng, [(6,), (2, 3)], {"lr": first["lr"], "weight_decay": rounded(first["weight_decay"] * 0.01)})
    small["grads"] = [[1e-4 * g for g in step] for step in small["grads"]]
    return (*cases, probe_case("tiny gradients, default coefficient", "update", "optimizer", small, hidden=hidden))


_LAYERWISE_GROUPS = {"update": 2.5, "zero norms": 1.0, "parameter groups": 1.5, "late gradients": 0.5}

LARS = CodeExercise(
    "largebatch.lars",
    "An lr for every layer",
    "optimizer",
    NOTEBOOK,
    {**_LAYERWISE_GROUPS, "dtypes and devices": 0.5},
    difficulty=2,
    minutes=25,
    objects=("LARS",),
    visible=lambda: _lars_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _lars_cases(generator(seed), hidden=True),
    reference=lambda: (layerwise.lars({}),),
    compares="every parameter after every step with the course's LARS",
    misconceptions=recognise(layerwise.LARS_ROWS, layerwise.LARS_ROWS, lambda faults: (layerwise.lars(faults),)),
    combine=lambda faults: (layerwise.lars(faults),),
    hints=(
        "It is SGD with momentum and weight decay in the gradient, and one number more: q. Two norms decide about it, and "
        "whether the group adapts.",
        "q = trust_coefficient·‖w‖/(‖g‖ + λ‖w‖) when the group adapts and both norms are positive, else 1. Then v ← μv + "
        "lr·q·(g + λw), in self.state[p], and w ← w − v. Leave p.grad alone.",
        "w_norm, g_norm = p.norm(), p.grad.norm(); q = 1.0; if group['adapt'] and w_norm > 0 and g_norm > 0: q = trust * "
        "w_norm / (g_norm + wd * w_norm); v.mul_(mu).add_(lr * q * (p.grad + wd * p)); p.sub_(v).",
    ),
    forbidden=("torch.optim.SGD", "torch.optim.sgd"),
)


def _lamb_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    first: dict[str, Any] = {"lr": 0.05, "betas": [0.7, 0.85], "eps": 0.1, "weight_decay": 0.3}
    second: dict[str, Any] = {"lr": 0.085, "betas": [0.56, 0.72], "eps": 0.037, "weight_decay": 0.18}
    if hidden:
        first, second = (
            {
                "lr": rounded(factor * rng.uniform(0.04, 0.06)),
                "betas": [rounded(b1 + rng.uniform(-0.05, 0.05)), rounded(b2 + rng.uniform(-0.04, 0.04))],
                "eps": rounded(rng.uniform(0.08, 0.14) / factor**2),
                "weight_decay": rounded(rng.uniform(0.25, 0.35) / factor),
            }
            for factor, b1, b2 in ((1.0, 0.7, 0.86), (1.7, 0.55, 0.73))
        )
    cases = _layerwise_cases(rng, hidden, first, second, ("exp_avg", "exp_avg_sq"))
    # weights so large that a limit on the ratio, or on their norm, would hold
    large = _one_group(rng, [(6,), (2, 3)], first, lrs=[[first["lr"]]] * STEPS)
    large["params"] = [40.0 * one for one in large["params"]]
    plain = {**large, "options": {**first, "weight_decay": 0.0}}
    return (*cases, probe_case("large weights", "update", "optimizer", plain, hidden=hidden))


LAMB = CodeExercise(
    "largebatch.lamb",
    "The same for Adam",
    "optimizer",
    NOTEBOOK,
    {**_LAYERWISE_GROUPS, "dtypes and devices": 0.5},
    difficulty=2,
    minutes=25,
    objects=("LAMB",),
    visible=lambda: _lamb_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _lamb_cases(generator(seed), hidden=True),
    reference=lambda: (layerwise.lamb({}),),
    compares="every parameter after every step with the course's LAMB",
    misconceptions=recognise(layerwise.LAMB_ROWS, layerwise.LAMB_ROWS, lambda faults: (layerwise.lamb(faults),)),
    combine=lambda faults: (layerwise.lamb(faults),),
    hints=(
        "Adam's direction, bias-corrected, plus λw: that is r. Only its direction counts; its length is set by the "
        "weight's norm.",
        "m, v and the step count live in self.state[p], one count per parameter. r = m̂/(√v̂ + eps) + λw, and the step is "
        "lr·(‖w‖/‖r‖)·r; the ratio is 1 when the group does not adapt or a norm is 0.",
        "r = (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps) + wd * p; ratio = p.norm() / r.norm() if adapt and both "
        "are > 0 else 1.0; p.sub_(lr * ratio * r).",
    ),
    forbidden=("torch.optim.Adam", "torch.optim.AdamW", "torch.optim.adam", "torch.optim.adamw"),
)


# --- all of them ----------------------------------------------------------------------------------------------------

LINEAR_OR_ROOT = WrittenExercise(
    "largebatch.w1", "Linear or square root?", "written", NOTEBOOK, {"answer": 3.0}, difficulty=3, minutes=25
)

EXERCISES: tuple[Exercise, ...] = (
    QUIZZES[0],
    SCALING,
    WARMUP,
    QUIZZES[1],
    QUIZZES[2],
    LINEAR_OR_ROOT,
    NOISE_SCALE,
    QUIZZES[6],
    CRITICAL_BATCH,
    QUIZZES[3],
    LAYER_RATIOS,
    QUIZZES[4],
    LARS,
    QUIZZES[7],
    LAMB,
    QUIZZES[5],
    DATA_PARALLEL,
    NO_SYNC,
    QUIZZES[8],
)
