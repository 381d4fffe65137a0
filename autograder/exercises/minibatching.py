"""The exercises of `01_minibatching`: cases, references, the misconceptions each recognises, hints and points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from autograder.collectors.common import PRETEND
from autograder.collectors.minibatching import PEAK
from autograder.evidence import Array
from autograder.exercise import (
    TOLERANCE,
    Case,
    CodeExercise,
    Exercise,
    Limit,
    Misconception,
)
from autograder.exercises import minibatching_questions as questions
from autograder.exercises.minibatching_questions import NOTEBOOK
from autograder.misconceptions import minibatch as bank
from autograder.misconceptions import minibatch_loops as loops
from autograder.misconceptions import minibatch_sgd as sgd
from autograder.misconceptions import recognise
from autograder.probes import changing_lrs, generator, gradients, rounded, weights

VISIBLE_SEED = 1
Generator = np.random.Generator
Cases = Callable[[Generator, bool], tuple[Case, ...]]


def _exercise(
    name: str,
    title: str,
    groups: Mapping[str, float],
    cases: Cases,
    reference: Any,
    misconceptions: tuple[Misconception, ...],
    hints: tuple[str, str, str],
    *,
    writes: str,
    compares: str,
    minutes: int,
    difficulty: Literal[1, 2, 3] = 1,
    kind: Literal["function", "iterator", "optimizer", "launches"] = "function",
    **more: Any,
) -> CodeExercise:
    """An exercise whose cases `cases(rng, hidden)` are drawn from a seed: the visible ones from this notebook's."""
    return CodeExercise(
        f"minibatch.{name}",
        title,
        kind,
        NOTEBOOK,
        groups,
        difficulty,
        minutes,
        objects=(writes,),
        visible=lambda: cases(generator(VISIBLE_SEED), False),
        draw_cases=lambda seed: cases(generator(seed), True),
        reference=lambda: (reference,),
        misconceptions=misconceptions,
        hints=hints,
        compares=compares,
        **more,
    )


def _call(
    function: str, returns: str, name: str, group: str, hidden: bool, dtype: str = "float64", **arguments: Any
) -> Case:
    """A case with a single call of a function; keyword arguments are its arguments, in order."""
    arrays = [key for key, value in arguments.items() if isinstance(value, np.ndarray)]
    inputs = {
        "name": function,
        "arguments": list(arguments),
        "calls": [arguments],
        "keep": arrays,
        "returns": returns,
        "dtype": dtype,
    }
    return Case(name, group, "function", inputs, tolerance=TOLERANCE[dtype], hidden=hidden)


def _refused(case: Case, error: str) -> Case:
    """The same call, which has to raise."""
    return Case(case.name, case.group, case.collector, {**case.inputs, "raises": error}, hidden=case.hidden)


def _signs(rng: Generator, n: int) -> Array:
    """Labels −1 and +1, at least one of each."""
    return rng.permutation(np.concatenate([[-1.0, 1.0], rng.choice([-1.0, 1.0], n - 2)]))


# --- minibatch.per_example ------------------------------------------------------------------------------------------


def _per_example_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, loss: str, n: int, d: int, dtype: str = "float64") -> Case:
        y = rng.standard_normal(n) if loss == "squared" else _signs(rng, n)
        inputs = {"loss": loss, "w": weights(rng, (d,)), "X": rng.standard_normal((n, d)), "y": y, "dtype": dtype}
        return Case(name, group, "per_example", inputs, tolerance=TOLERANCE[dtype], hidden=hidden)

    n = int(rng.integers(5, 9)) if hidden else 6
    return (
        case("squared error", "gradients", "squared", n, 3),
        case("logistic loss", "gradients", "logistic", n + 2, 4),
        case("a network with one unit, in float32", "shapes and dtypes", "tanh", n, 5, "float32"),
        case("as many examples as weights", "shapes and dtypes", "squared", 4, 4),
    )


PER_EXAMPLE = _exercise(
    "per_example",
    "One gradient per example",
    {"gradients": 1.5, "shapes and dtypes": 0.5},
    _per_example_cases,
    bank.per_example_by_loop,
    bank.misconceptions(bank.PER_EXAMPLE),
    (
        "torch.func.grad makes, from a function that computes a loss, a function that computes its gradient. "
        "torch.func.vmap makes, from a function of one example, a function of many.",
        "grad(loss_fn) differentiates by the first argument, w. vmap has to know which arguments have a row per example: "
        "in_dims holds None for those that are shared and 0 for those that are not.",
        "vmap(grad(loss_fn), in_dims=(None, 0, 0))(w, X, y)",
    ),
    writes="per_example_gradients",
    compares="every row with torch.autograd.grad of that example's loss",
    minutes=8,
)


# --- minibatch.mean_gradient ----------------------------------------------------------------------------------------


def _mean_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, n: int, idx: Sequence[int] | Array, d: int = 3, dtype: str = "float64") -> Case:
        G = rng.standard_normal((n, d)) + 0.5
        array = np.asarray(idx, dtype=np.int64)
        return _call("minibatch_gradient", "the gradient", name, group, hidden, dtype, G=G, idx=array)

    n = int(rng.integers(8, 13)) if hidden else 8
    drawn = rng.choice(np.arange(3, n), 4, replace=False)
    return (
        case("four examples", "mean", n, drawn),
        case("a single example", "mean", n, drawn[:1]),
        case("float32", "mean", n, drawn, 5, "float32"),
        case("an example drawn twice", "repeated examples", n, [drawn[0], drawn[1], drawn[0]]),
    )


MEAN_GRADIENT = _exercise(
    "mean_gradient",
    "The gradient of a minibatch",
    {"mean": 0.5, "repeated examples": 0.5},
    _mean_cases,
    bank.minibatch_gradient_by_autograd,
    bank.misconceptions(bank.MEAN_GRADIENT),
    (
        "Equation (1.3), with the rows of G as the gradients of the examples.",
        "Indexing a tensor with a LongTensor picks rows, a repeated index twice. Then average over the examples.",
        "G[idx].mean(0)",
    ),
    writes="minibatch_gradient",
    compares="the vector with autograd of the minibatch's mean loss",
    minutes=4,
)


# --- minibatch.unbiased ---------------------------------------------------------------------------------------------


def _unbiased_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, n: int, m: int, d: int = 2, dtype: str = "float64") -> Case:
        G = rng.standard_normal((n, d)) + 0.5
        return _call("all_minibatch_gradients", "the table of gradients", name, group, hidden, dtype, G=G, m=m)

    n = int(rng.integers(6, 8)) if hidden else 6
    return (
        case("half of the examples", "all minibatches", n, 3),
        case("pairs", "all minibatches", n - 1, 2, 4),
        case("pairs, float32", "all minibatches", n, 2, 3, "float32"),
        case("m = 1", "smallest and largest", n, 1),
        case("m = N", "smallest and largest", n - 2, n - 2),  # few: N^N with replacement has to end in time, too
    )


UNBIASED = _exercise(
    "unbiased",
    "All minibatches there are",
    {"all minibatches": 1.5, "smallest and largest": 0.5},
    _unbiased_cases,
    bank.all_by_enumeration,
    bank.misconceptions(bank.UNBIASED),
    (
        "Go through all sets of m different examples, and take the minibatch's gradient of each.",
        "itertools.combinations(range(N), m) yields the sets as tuples, in the order that is asked for. Your "
        "minibatch_gradient takes an index tensor: torch.tensor(tuple).",
        "torch.stack([minibatch_gradient(G, torch.tensor(i, device=G.device)) for i in combinations(range(len(G)), m)])",
    ),
    writes="all_minibatch_gradients",
    compares="every row with the mean over that combination",
    minutes=6,
)


# --- minibatch.batches ----------------------------------------------------------------------------------------------

SAMPLERS = ("torch.utils.data.BatchSampler", "torch.utils.data.RandomSampler", "torch.utils.data.DataLoader")


def _batches_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    batch = int(rng.integers(5, 9)) if hidden else 8
    full = int(rng.integers(3, 6)) if hidden else 3
    rest = int(rng.integers(2, batch)) if hidden else 4
    seed = int(rng.integers(1, 10**6))

    def case(name: str, group: str, n: int, drop_last: bool | None, *looks: str) -> Case:
        inputs = {"n": n, "batch_size": batch, "drop_last": drop_last, "seed": seed, "look_at": list(looks)}
        return Case(name, group, "batches", {**inputs, "dtype": "int64"}, hidden=hidden)

    ragged, even = full * batch + rest, full * batch
    return (
        case(f"{ragged} examples, batches of {batch}", "every example once", ragged, None, "coverage"),
        case(f"{even} examples, batches of {batch}", "every example once", even, None, "coverage"),
        case(f"{batch - 1} examples, batches of {batch}", "every example once", batch - 1, None, "coverage"),
        case("two epochs", "randomness", even + rest + batch, None, "epochs", "seeds"),
        case("drop_last=True, a short batch", "drop_last", ragged, True, "coverage"),
        case("drop_last=True, no short batch", "drop_last", even, True, "coverage"),
        case("torch's first epoch", "torch's order", even, None, "torch"),
        case(f"{even + 1} examples, batches of {batch}", "every example once", even + 1, None, "coverage"),
    )


BATCHES = _exercise(
    "batches",
    "Shuffle, cut, repeat",
    {"every example once": 1.5, "randomness": 1.0, "drop_last": 0.5, "torch's order": 1.0},
    _batches_cases,
    loops.batches_by_torch,
    recognise(loops.BATCHES, loops.BATCHES, loops.batches),
    (
        "An epoch is a permutation of 0 … n − 1, cut into pieces.",
        "torch.randperm(n, generator=generator) is the permutation. A function with `yield` in it is an iterator: go "
        "through the starts of the batches and yield a slice. A slice that runs over the end is simply shorter.",
        "order = torch.randperm(n, generator=generator); for start in range(0, n, batch_size): batch = order[start : start + "
        "batch_size]; and yield batch unless drop_last and len(batch) < batch_size.",
    ),
    writes="minibatches",
    compares="coverage, sizes, randomness and the first epoch with torch's BatchSampler(RandomSampler)",
    minutes=12,
    difficulty=2,
    kind="iterator",
    forbidden=SAMPLERS,
)


# --- minibatch.epoch_loss -------------------------------------------------------------------------------------------


def _epoch_loss_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, sizes: Sequence[int], dtype: str = "float64") -> Case:
        means = rng.uniform(0.2, 3.0, len(sizes))
        arguments = {"batch_means": means, "batch_sizes": np.asarray(sizes, dtype=np.int64)}
        return _call("epoch_loss", "the loss", name, group, hidden, dtype, **arguments)

    full = int(rng.integers(16, 65)) if hidden else 32
    rest = int(rng.integers(1, full // 2))
    return (
        case("a short last batch", "weighted mean", [full] * 3 + [rest]),
        case("sizes that all differ", "weighted mean", [full, rest, full + 3, 2 * rest + 1]),
        case("float32", "weighted mean", [full] * 4 + [rest], "float32"),
        case("equal sizes", "equal sizes", [full] * 4),
    )


EPOCH_LOSS = _exercise(
    "epoch_loss",
    "The loss of an epoch",
    {"weighted mean": 1.5, "equal sizes": 0.5},
    _epoch_loss_cases,
    bank.epoch_loss_by_examples,
    bank.misconceptions(bank.EPOCH_LOSS),
    (
        "What would you get if you added up the losses of all examples and divided once?",
        "A batch's mean times its size is the sum over its examples. Add these up and divide by the number of examples.",
        "(batch_means * batch_sizes).sum() / batch_sizes.sum()",
    ),
    writes="epoch_loss",
    compares="the number with the mean over all examples",
    minutes=5,
)


# --- minibatch.standard_error ---------------------------------------------------------------------------------------


def _error_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, n: int, m: int, replacement: bool, d: int = 3, dtype: str = "float64") -> Case:
        G = rng.standard_normal((n, d)) * np.logspace(-1, 1, d) + 0.5
        arguments = {"G": G, "m": m, "replacement": replacement}
        return _call("standard_error", "the standard error", name, group, hidden, dtype, **arguments)

    n = int(rng.integers(6, 9)) if hidden else 6
    m = int(rng.integers(3, n - 1)) if hidden else 3
    return (
        case("with replacement", "with replacement", n, 3, True),
        case("with replacement, more draws than examples", "with replacement", 3, 5, True, 2),
        case("without replacement", "without replacement", n, m, False),
        case("without replacement, float32", "without replacement", n + 1, 4, False, 2, "float32"),
        case("all examples", "without replacement", n, n, False),
        case("a single example, without replacement", "edge cases", 1, 1, False),
        case("a single example, with replacement", "edge cases", 1, 4, True),
        _refused(case("m > N without replacement", "edge cases", n, n + 1, False), "ValueError"),
    )


STANDARD_ERROR = _exercise(
    "standard_error",
    "How far is a minibatch off?",
    {"with replacement": 1.0, "without replacement": 1.0, "edge cases": 1.0},
    _error_cases,
    bank.standard_error_by_enumeration,
    bank.misconceptions(bank.STANDARD_ERROR),
    (
        "First the standard deviation over the examples, each weight for itself; then the root of m; then, without "
        "replacement, one more factor.",
        "G.std(0, correction=0) has 1/N under the root. The factor without replacement is √((N − m)/(N − 1)), and N = 1 "
        "needs care: there it is 0/0.",
        "sigma = G.std(0, correction=0) / m**0.5; with replacement, or for N = 1, that is all; else times "
        "((N - m) / (N - 1)) ** 0.5. Before that: if not replacement and m > N: raise ValueError(…).",
    ),
    writes="standard_error",
    compares="every entry with the spread over all minibatches that can be drawn",
    minutes=12,
    difficulty=2,
)


# --- minibatch.sgd --------------------------------------------------------------------------------------------------


def _hyper(rng: Generator, hidden: bool) -> dict[str, float]:
    if not hidden:
        return {"lr": 0.1, "weight_decay": 0.3}
    return {"lr": rounded(rng.uniform(0.07, 0.2)), "weight_decay": rounded(rng.uniform(0.2, 0.5))}


def _one_group(rng: Generator, options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    shapes: list[tuple[int, ...]] = [(5,), (2, 3), ()]
    return {
        "params": [weights(rng, shape) for shape in shapes],
        "group_of": [0] * len(shapes),
        "groups": [{}],
        "options": dict(options),
        "grads": gradients(rng, shapes, steps=6),
        **more,
    }


def _two_groups(rng: Generator, hyper: Mapping[str, float]) -> dict[str, Any]:
    """Three tensors in two groups that differ in lr and weight_decay; both lrs change half-way."""
    second = {"lr": rounded(hyper["lr"] * 1.7), "weight_decay": rounded(hyper["weight_decay"] * 0.4)}
    groups = [dict(hyper), second]
    return {
        **_one_group(rng, {}),
        "group_of": [0, 0, 1],
        "groups": groups,
        "lrs": changing_lrs([group["lr"] for group in groups], steps=6),
    }


def _one_maximizes(rng: Generator, hyper: Mapping[str, float]) -> dict[str, Any]:
    """Two groups that differ in nothing but their direction."""
    return {**_one_group(rng, hyper), "group_of": [0, 1, 1], "groups": [{}, {"maximize": True}]}


def _late(rng: Generator, hyper: Mapping[str, float]) -> dict[str, Any]:
    """Parameter 1 has no gradient in steps 1, 2 and 5; step 4 uses the gradient tensors of step 3 once more."""
    inputs = _one_group(rng, hyper, reuse=[4])
    for step in (0, 1, 4):
        inputs["grads"][step][1] = None
    return inputs


def _with_closure(rng: Generator, hyper: Mapping[str, float]) -> dict[str, Any]:
    start = weights(rng, (4,))
    return {
        "params": [start],
        "target": weights(rng, (4,)) + 3.0,
        "group_of": [0],
        "groups": [{}],
        "options": dict(hyper),
        "steps": 4,
    }


def _sgd_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    hyper = _hyper(rng, hidden)
    plain = {**hyper, "weight_decay": 0.0}

    def case(name: str, group: str, inputs: dict[str, Any], collector: str = "optimizer") -> Case:
        tolerance = TOLERANCE[inputs.get("dtype", "float64")]
        return Case(name, group, collector, inputs, tolerance=tolerance, hidden=hidden)

    pretend = {**_one_group(rng, hyper), "device": PRETEND}
    pretend["grads"] = pretend["grads"][:2]
    return (
        case("without decay", "update", _one_group(rng, plain)),
        case("with weight_decay", "weight decay and maximize", _one_group(rng, hyper)),
        case("maximize=True", "weight decay and maximize", _one_group(rng, {**hyper, "maximize": True})),
        case("two groups, lr changed half-way", "parameter groups", _two_groups(rng, hyper)),
        case("gradients that are missing", "missing gradients", _late(rng, hyper)),
        case("a closure", "closure", _with_closure(rng, hyper), "closure"),
        case("float32", "dtypes and devices", _one_group(rng, hyper, dtype="float32")),
        *(() if hidden else (case("another device", "dtypes and devices", pretend),)),
        case("two groups, one with maximize", "weight decay and maximize", _one_maximizes(rng, hyper)),
    )


SGD = _exercise(
    "sgd",
    "SGD as a torch optimizer",
    {
        "update": 1.0,
        "weight decay and maximize": 1.0,
        "parameter groups": 1.0,
        "missing gradients": 0.5,
        "closure": 1.0,
        "dtypes and devices": 0.5,
    },
    _sgd_cases,
    torch.optim.SGD,
    recognise(sgd.ROWS, sgd.ROWS, sgd.optimizer),
    (
        "Loop over self.param_groups, then over group['params']. Leave a parameter alone whose .grad is None.",
        "Order inside the loop: negate the gradient if group['maximize']; add weight_decay·p to it, into a new tensor; "
        "subtract lr times that from p, in place. A closure is called once, at the start, with gradients on.",
        "loss = None; if closure is not None: with torch.enable_grad(): loss = closure(). Then for each p: g = -p.grad if "
        "group['maximize'] else p.grad; g = g + group['weight_decay'] * p; p.sub_(group['lr'] * g). At the end return loss.",
    ),
    writes="SGD",
    compares="every parameter after every step with torch.optim.SGD",
    minutes=20,
    difficulty=2,
    kind="optimizer",
    combine=sgd.optimizer,
    forbidden=("torch.optim.SGD", "torch.optim.sgd"),
)


# --- minibatch.noise_ball and minibatch.robbins_monro ---------------------------------------------------------------


def _ball_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, lr: float, curvature: float, noise_var: float) -> Case:
        function, returns = "stationary_variance", "the variance"
        return _call(function, returns, name, group, hidden, lr=lr, curvature=curvature, noise_var=noise_var)

    h = rounded(rng.uniform(1.5, 4.0)) if hidden else 2.0
    s = rounded(rng.uniform(2.0, 6.0)) if hidden else 3.0
    return (
        case("a moderate lr", "stable", rounded(0.6 / h), h, s),
        case("a small lr", "stable", rounded(0.1 / h), h, s),
        case("close to instability", "stable", rounded(1.8 / h), h, rounded(s / 10)),
        case("a flat valley, a large lr", "stable", rounded(6 / h), rounded(h / 10), s),
        case("lr·curvature = 2", "unstable", 0.5, 4.0, s),
        case("lr·curvature = 2.6", "unstable", rounded(2.6 / h), h, s),
        case("no curvature", "unstable", 0.1, 0.0, s),
        case("negative curvature", "unstable", 0.1, -h, s),
    )


NOISE_BALL = _exercise(
    "noise_ball",
    "The size of the noise ball",
    {"stable": 1.0, "unstable": 1.0},
    _ball_cases,
    bank.variance_by_recursion,
    bank.misconceptions(bank.NOISE_BALL),
    (
        "Take the variance on both sides of (1.9). In the steady state it is the same before and after a step.",
        "V = (1 − ηh)²·V + η²σ², solved for V. If |1 − ηh| is not below 1, there is no steady state.",
        "return float('inf') if curvature <= 0 or lr * curvature >= 2, "
        "else lr * noise_var / (curvature * (2 - lr * curvature)).",
    ),
    writes="stationary_variance",
    compares="the variance with the recursion run to its end",
    minutes=8,
    difficulty=2,
)


def _robbins_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    a = rounded(rng.uniform(0.5, 2.0)) if hidden else 1.5
    b = rounded(rng.uniform(3.0, 20.0)) if hidden else 4.0
    late = int(rng.integers(50, 500)) if hidden else 96

    def case(name: str, group: str, t: int, b: float = b) -> Case:
        return _call("robbins_monro", "the lr", name, group, hidden, a=a, b=b, t=t)

    return (
        case("the first step", "schedule", 1),
        case("the second step", "schedule", 2),
        case("a late step", "schedule", late),
        case("b = 0", "schedule", 3, 0.0),
    )


ROBBINS_MONRO = _exercise(
    "robbins_monro",
    "A learning rate that dies slowly enough",
    {"schedule": 1.0},
    _robbins_cases,
    bank.robbins_monro_in_exact_numbers,
    bank.misconceptions(bank.ROBBINS_MONRO),
    (
        "It is a single fraction, equation (1.12).",
        "a above, b + t below. Mind the parentheses.",
        "a / (b + t)",
    ),
    writes="robbins_monro",
    compares="the lr with exact fractions",
    minutes=2,
)


# --- minibatch.logistic and minibatch.perceptron --------------------------------------------------------------------


def _linear_cases(name: str, margins: Mapping[str, Callable[[Generator], tuple[Array, Array, Array]]]) -> Cases:
    """Random cases for a gradient of a linear classifier, and special ones: name → (w, X, y)."""

    def cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
        def case(title: str, group: str, w: Array, X: Array, y: Array, dtype: str = "float64") -> Case:
            return _call(name, "the gradient", title, group, hidden, dtype, w=w, X=X, y=y)

        n, d = (int(rng.integers(6, 12)), int(rng.integers(2, 6))) if hidden else (8, 3)
        return (
            case("random examples", "gradient", *_classified(rng, n, d)),
            case("one example", "gradient", *_classified(rng, 1, d)),
            case("float32", "gradient", *_classified(rng, n, d), dtype="float32"),
            *(case(title, "edge cases", *make(rng)) for title, make in margins.items()),
        )

    return cases


def _classified(rng: Generator, n: int, d: int) -> tuple[Array, Array, Array]:
    """Weights, examples and labels, about half of them right, and at least one wrong (the first)."""
    w, X = weights(rng, (d,)), rng.standard_normal((n, d)) + 0.3
    y = np.asarray(rng.choice([-1.0, 1.0], n))
    y[0] = -1.0 if X[0] @ w > 0 else 1.0
    if n > 1:
        y[1] = 1.0 if X[1] @ w > 0 else -1.0
    return w, X, y


def _huge_margins(rng: Generator) -> tuple[Array, Array, Array]:
    w, X, y = _classified(rng, 6, 3)
    return w, X * 1e4, y


def _all_right(rng: Generator) -> tuple[Array, Array, Array]:
    w, X, _ = _classified(rng, 6, 3)
    return w, X, np.where(X @ w > 0, 1.0, -1.0)


def _zero_margins(rng: Generator) -> tuple[Array, Array, Array]:
    """Four examples at right angles to w (whole numbers: the margin is exactly 0), and some others."""
    w = np.array([1.0, -1.0, 2.0])
    k = rng.integers(1, 5, 4)
    flat = np.stack([np.stack([2 * k, 2 * k, 0 * k], 1)[i] for i in range(4)]).astype(np.float64)
    _, X, _ = _classified(rng, 4, 3)
    y = np.concatenate([_signs(rng, 4), _signs(rng, 4)])
    return w, np.concatenate([flat, X]), y


def _start_at_zero(rng: Generator) -> tuple[Array, Array, Array]:
    _, X, y = _classified(rng, 6, 3)
    return np.zeros(3), X, y


LOGISTIC = _exercise(
    "logistic",
    "Logistic regression's gradient",
    {"gradient": 1.0, "edge cases": 1.0},
    _linear_cases("logistic_gradient", {"margins in the thousands": _huge_margins, "w = 0": _start_at_zero}),
    bank.logistic_by_autograd,
    bank.misconceptions(bank.LOGISTIC),
    (
        "Compute the margins first, then the weight that each example gets, then the weighted mean of −y·x.",
        "The weight is sigmoid(−margin), between 0 and 1. torch.sigmoid does not overflow; exp of a large number does.",
        "margin = y * (X @ w); return -(torch.sigmoid(-margin) * y) @ X / len(y)",
    ),
    writes="logistic_gradient",
    compares="the vector with autograd of the mean of logaddexp(0, −margin)",
    minutes=8,
    difficulty=2,
)

PERCEPTRON = _exercise(
    "perceptron",
    "The perceptron's gradient",
    {"gradient": 1.0, "edge cases": 1.0},
    _linear_cases(
        "perceptron_gradient", {"no wrong example": _all_right, "margin 0": _zero_margins, "w = 0": _start_at_zero}
    ),
    bank.perceptron_by_autograd,
    bank.misconceptions(bank.PERCEPTRON),
    (
        "Only the wrong examples push, each with −y·x; the mean goes over all.",
        "A comparison makes a mask of True and False; as numbers they are 1 and 0. Margin 0 is not < 0.",
        "wrong = (y * (X @ w) < 0).to(X.dtype); return -(wrong * y) @ X / len(y)",
    ),
    writes="perceptron_gradient",
    compares="the vector with autograd of the mean of relu(−margin)",
    minutes=6,
)


# --- minibatch.accumulate -------------------------------------------------------------------------------------------

_MEMORY = Limit(
    PEAK,
    1.2,
    "At its peak the call holds {count} times the bytes of one micro-batch's forward and backward; {at_most} times is "
    "allowed. A graph, with all its activations, lives until backward has gone through it.",
)


#: Micro-batch of the case that is counted on a device.
_COUNTED = 60


def _accumulate_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def inputs(n: int, micro_batch: int, hidden_units: int = 4, d: int = 3, **more: Any) -> dict[str, Any]:
        shapes: list[tuple[int, ...]] = [(hidden_units, d), (hidden_units,), (1, hidden_units), (1,)]
        return {
            "weights": [weights(rng, shape) for shape in shapes],
            "X": rng.standard_normal((n, d)),
            "y": rng.standard_normal((n, 1)) + 1.0,
            "micro_batch": micro_batch,
            **more,
        }

    def case(name: str, group: str, given: dict[str, Any], *limits: Limit) -> Case:
        tolerance = TOLERANCE[given.get("dtype", "float64")]
        return Case(name, group, "accumulate", given, tolerance=tolerance, hidden=hidden, limits=limits)

    few = int(rng.integers(4, 7)) if hidden else 5
    ragged = 2 * few + int(rng.integers(1, few)) if hidden else 12
    return (
        # more micro-batches than examples in one: a count taken for a size shows
        case("equal micro-batches", "gradient", inputs((few + 1) * few, few)),
        case("one micro-batch", "gradient", inputs(few, few)),
        case("float32", "gradient", inputs(3 * few, few, dtype="float32")),
        case("a short last micro-batch", "short last micro-batch", inputs(ragged, few)),
        case("a gradient from before", "old gradients", inputs(3 * few, few, stale=True)),
        case("counted on a device", "memory", inputs(4 * _COUNTED, _COUNTED, 24, device=PRETEND), _MEMORY),
    )


ACCUMULATE = _exercise(
    "accumulate",
    "A large batch in little memory",
    {"gradient": 1.0, "short last micro-batch": 1.5, "old gradients": 1.0, "memory": 1.5},
    _accumulate_cases,
    loops.one_example_at_a_time,
    recognise(loops.ACCUMULATE, loops.ACCUMULATE, loops.accumulating),
    (
        "backward adds to .grad. So run it once per micro-batch, on a loss that is weighted as the micro-batch deserves.",
        "Clear .grad once, at the start. X.split(micro_batch) cuts; the last piece may be short, so the weight of a "
        "piece is its own length over len(X). Call backward inside the loop: it frees the graph.",
        "model.zero_grad(); for xs, ys in zip(X.split(micro_batch), y.split(micro_batch)): "
        "(loss_fn(model(xs), ys) * len(xs) / len(X)).backward()",
    ),
    writes="accumulate_gradients",
    compares=".grad with the mean of every example's own gradient, and the peak of new bytes with one micro-batch's",
    minutes=15,
    difficulty=2,
    kind="launches",
)


EXERCISES: tuple[Exercise, ...] = (
    PER_EXAMPLE,
    questions.POPULATION,
    MEAN_GRADIENT,
    questions.SUM_OR_MEAN,
    UNBIASED,
    questions.UNBIASED_PROOF,
    BATCHES,
    questions.DROPPED,
    EPOCH_LOSS,
    questions.PERPLEXITY,
    STANDARD_ERROR,
    questions.HALVED,
    SGD,
    questions.RATES,
    questions.SIZES,
    NOISE_BALL,
    questions.FIXED_RATE,
    questions.TRAJECTORY,
    ROBBINS_MONRO,
    questions.SCHEDULES,
    LOGISTIC,
    questions.EVERY_LABEL,
    PERCEPTRON,
    questions.STUCK,
    questions.COST,
    ACCUMULATE,
)
