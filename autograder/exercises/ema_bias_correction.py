"""The exercises of `02_ema_bias_correction`: cases, references, misconceptions recognised, hints and points."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from autograder.collectors.common import PRETEND
from autograder.collectors.ema_bias_correction import DOUBLINGS, GROWTH, MOST_GROWTH, PER_DOUBLING
from autograder.collectors.launches import MIXES, SYNCS
from autograder.evidence import Array
from autograder.exercise import (
    Case,
    CodeExercise,
    Exercise,
    Limit,
    Part,
    Varied,
    WrittenExercise,
    quiz,
)
from autograder.misconceptions import ema as bank
from autograder.misconceptions import ema_long, ema_modules, recognise
from autograder.probes import (
    generator,
    probe_case,
    rounded,
)

NOTEBOOK = "02_ema_bias_correction"
FORBIDDEN = ("torch.optim.Adam", "torch.optim.AdamW", "torch.optim.adam")
VISIBLE_SEED = 2
Generator = np.random.Generator
Inputs = dict[str, Any]


# --- ema.recursive and ema.corrected --------------------------------------------------------------------------------


def _stream(rng: Generator, shape: tuple[int, ...]) -> Array:
    """A noisy series whose mean is 1 to 2 standard deviations away from 0, and whose first value is not small."""
    x = rng.uniform(1.0, 2.0) + rng.standard_normal(shape)
    x[0] = rng.uniform(1.5, 3.0, shape[1:]) * rng.choice([-1.0, 1.0], shape[1:])
    return np.asarray(x)


def _beta(rng: Generator, low: float, high: float) -> float:
    return rounded(rng.uniform(low, high))


def _series_cases(name: str, main: str, rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(title: str, group: str, shape: tuple[int, ...], beta: float, **more: Any) -> Case:
        inputs = {"name": name, "x": _stream(rng, shape), "beta": beta, **more}
        return probe_case(title, group, "series", inputs, hidden=hidden)

    lengths = rng.integers(10, 16, 3) if hidden else (12, 10, 8)
    return (
        case("a series of numbers", main, (int(lengths[0]),), _beta(rng, 0.8, 0.95)),
        case("four series at once", main, (int(lengths[1]), 4), _beta(rng, 0.55, 0.75)),
        case(
            "matrices in float32", "shapes and dtypes", (int(lengths[2]), 2, 3), _beta(rng, 0.9, 0.98), dtype="float32"
        ),
        # its numbers are no news: visible only
        *(() if hidden else (case("another device", "shapes and dtypes", (4, 2), 0.7, device=PRETEND),)),
        case("a single value", "edge cases", (1, 3), _beta(rng, 0.6, 0.9)),
        case("β = 0", "edge cases", (6, 2), 0.0),
    )


RECURSIVE = CodeExercise(
    "ema.recursive",
    "The average as a recursion",
    "statistic",
    NOTEBOOK,
    {"series": 1.0, "shapes and dtypes": 0.5, "edge cases": 0.5},
    difficulty=1,
    minutes=10,
    objects=("ema",),
    visible=lambda: _series_cases("ema", "series", generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _series_cases("ema", "series", generator(seed), hidden=True),
    reference=lambda: (bank.with_adam,),
    compares="every average with exp_avg of torch.optim.Adam",
    misconceptions=recognise(bank.RECURSIVE_ROWS, bank.RECURSIVE_ROWS, lambda faults: (bank.recursive(faults),)),
    combine=lambda faults: (bank.recursive(faults),),
    hints=(
        "One loop over time. It carries a single tensor, the average so far, which starts at 0.",
        "In each step: m = beta * m + (1 - beta) * value. Collect the averages in a list, and make one tensor of the list "
        "at the end.",
        "m = torch.zeros_like(x[0]); rows = []; for value in x: m = beta * m + (1 - beta) * value; rows.append(m); then "
        "return torch.stack(rows).",
    ),
    forbidden=FORBIDDEN,
)

CORRECTED = CodeExercise(
    "ema.corrected",
    "Correct the start",
    "statistic",
    NOTEBOOK,
    {"corrected series": 2.0, "shapes and dtypes": 1.0, "edge cases": 1.0},
    difficulty=1,
    minutes=15,
    objects=("ema_corrected",),
    visible=lambda: _series_cases("ema_corrected", "corrected series", generator(VISIBLE_SEED + 1), hidden=False),
    draw_cases=lambda seed: _series_cases("ema_corrected", "corrected series", generator([seed, 1]), hidden=True),
    reference=lambda: (bank.corrected_with_adam,),
    compares="every average with exp_avg of torch.optim.Adam over 1 − β^t",
    misconceptions=recognise(bank.CORRECTED_ROWS, bank.CORRECTED_ROWS, lambda faults: (bank.corrected(faults),)),
    combine=lambda faults: (bank.corrected(faults),),
    hints=(
        "The recursion stays as it is. Only what you write into the result is divided by something.",
        "Row t (counted from 1) is m_t / (1 - beta**t). Do not put the quotient back into m.",
        "averages = ema(x, beta); rows = [m / (1 - beta**t) for t, m in enumerate(averages, start=1)]; return "
        "torch.stack(rows).",
    ),
    forbidden=FORBIDDEN,
)


# --- ema.weights ----------------------------------------------------------------------------------------------------


def _weights_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(title: str, group: str, t: int, beta: float) -> Case:
        inputs = {
            "name": "ema_weights",
            "arguments": ["t", "beta"],
            "calls": [{"t": t, "beta": beta}],
            "returns": "weights",
            "tensor": True,
            "dtype": "",  # weights in float32 are right as well
        }
        return probe_case(title, group, "function", inputs, hidden=hidden, tolerance=1e-5)

    lengths = rng.integers(8, 25, 2) if hidden else (10, 20)
    return (
        case("a short memory", "weights", int(lengths[0]), _beta(rng, 0.6, 0.8)),
        case("a long memory", "weights", int(lengths[1]), _beta(rng, 0.9, 0.97)),
        case("t = 1", "edge cases", 1, _beta(rng, 0.6, 0.9)),
        case("β = 0", "edge cases", int(rng.integers(3, 7)), 0.0),
    )


WEIGHTS = CodeExercise(
    "ema.weights",
    "What each value counts",
    "function",
    NOTEBOOK,
    {"weights": 1.5, "edge cases": 0.5},
    difficulty=1,
    minutes=10,
    objects=("ema_weights",),
    visible=lambda: _weights_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _weights_cases(generator(seed), hidden=True),
    reference=lambda: (bank.weights_with_adam,),
    compares="every weight with what a 1 in that step leaves in exp_avg of torch.optim.Adam",
    misconceptions=recognise(bank.WEIGHTS_ROWS, bank.WEIGHTS_ROWS, lambda faults: (bank.weights(faults),)),
    combine=lambda faults: (bank.weights(faults),),
    hints=(
        "How old is each value at time t? The newest one has age 0, the oldest one t − 1.",
        "The weight of a value of age k is (1 - beta) * beta**k. Index 0 belongs to the oldest, so the ages run down: t − 1, "
        "…, 1, 0.",
        "age = torch.arange(t - 1, -1, -1, dtype=torch.float64); return (1 - beta) * beta**age.",
    ),
    forbidden=FORBIDDEN,
)


# --- ema.horizon ----------------------------------------------------------------------------------------------------

_FORMS = ("beta_from_half_life", "effective_window", "noise_gain")


def _horizon_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(title: str, group: str, which: str, argument: str, values: list[float]) -> Case:
        inputs = {"names": list(_FORMS), "which": which, "argument": argument, "values": values}
        return probe_case(title, group, "closed_forms", inputs, hidden=hidden)

    lives = [rounded(rng.uniform(low, high)) for low, high in ((0.6, 0.9), (2.0, 8.0), (30.0, 90.0), (200.0, 500.0))]
    betas = [_beta(rng, low, high) for low, high in ((0.3, 0.6), (0.8, 0.93), (0.97, 0.99), (0.995, 0.999))]
    return (
        case("four half-lives", "half-life", _FORMS[0], "half_life", lives),
        case("four windows", "window", _FORMS[1], "beta", betas),
        case("four gains", "noise gain", _FORMS[2], "beta", betas),
    )


HORIZON = CodeExercise(
    "ema.horizon",
    "How long it remembers, how much it smooths",
    "function",
    NOTEBOOK,
    {"half-life": 1.0, "window": 1.0, "noise gain": 1.0},
    difficulty=2,
    minutes=15,
    objects=_FORMS,
    visible=lambda: _horizon_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _horizon_cases(generator(seed), hidden=True),
    reference=bank.horizon_by_definition,
    compares="each number with its definition: the half-life by bisection, window and variance as sums over the weights",
    misconceptions=recognise(bank.HORIZON_ROWS, bank.HORIZON_ROWS, bank.horizon),
    combine=bank.horizon,
    hints=(
        "All three follow from the weights (1 − β)·β^k of an average that has been running for ever, and from the "
        "geometric series.",
        "Half-life: solve beta**half_life = 0.5 for β. Window: the sum of the weights over the newest weight. Noise gain: "
        "the sum of the squared weights, (1 − β)²·(1 + β² + β⁴ + …).",
        "0.5 ** (1 / half_life); 1 / (1 - beta); and since 1 − β² = (1 − β)(1 + β), (1 - beta) / (1 + beta).",
    ),
)


# --- ema.parallel ---------------------------------------------------------------------------------------------------

STEPS = 100_000

#: 2e-5 of the largest |x|: the level of these series is 1, the noise brings the largest |x| to 1.5 and more.
LONG_TOLERANCE = 3e-5

_LONG_LIMITS = (
    Limit(
        MIXES,
        0,
        "Operations that mix devices: {count}; none is allowed. Make new tensors where the series lives: "
        "torch.arange(T, device=x.device).",
    ),
    Limit(
        SYNCS,
        0,
        "Host synchronisations: {count}; none is allowed. The numbers of the series stay on its device.",
    ),
    Limit(
        DOUBLINGS,
        PER_DOUBLING,
        "Your launches come to {count} times log₂T; {at_most} times is allowed (132 launches for 100,000 times). Combine "
        "stretches, not single times.",
    ),
    Limit(
        GROWTH,
        MOST_GROWTH,
        "Four times the length takes {count} times the memory. Below {at_most} times is fine; a T×T matrix makes it 16.",
    ),
)


def _awkward_beta(rng: Generator) -> float:
    """A β near 0.9999 with a 1 − β that float32 hits badly, off by 2 parts in 10,000 or more."""
    betas = rng.uniform(0.99986, 0.9999, 64)
    off = np.abs((1 - betas.astype(np.float32).astype(np.float64)) / (1 - betas) - 1)
    return float(betas[np.argmax(off)])


def _exact_beta(rng: Generator) -> float:
    """A β that float32 hits exactly, and whose β^−T it can still represent: nothing here depends on rounding."""
    return 1 - 2.0 ** -int(rng.integers(11, 13))


def _parallel_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def short(title: str, shape: tuple[int, ...], beta: float) -> Case:
        inputs = {"name": "ema_parallel", "x": _stream(rng, shape), "beta": beta}
        # β^k in float32 is good enough here: how β is rounded has cases of its own
        return probe_case(title, "values", "series", inputs, hidden=hidden, tolerance=1e-6)

    def long(title: str, group: str, beta: float, *limits: Limit, device: str = "cpu") -> Case:
        steps = int(rng.integers(98_000, 102_000)) if hidden else STEPS
        seed = int(rng.integers(2**62))
        inputs = {"name": "ema_parallel", "steps": steps, "beta": beta, "seed": seed, "noise": 0.15}
        inputs |= {"device": device, "dtype": "float32"}
        return probe_case(title, group, "long_average", inputs, hidden=hidden, limits=limits, tolerance=LONG_TOLERANCE)

    length = int(rng.integers(33, 60)) if hidden else 37
    exact = int(rng.integers(50, 60)) / 64  # float32 represents it
    quick, slow = (_beta(rng, 0.5, 0.6), _beta(rng, 0.93, 0.99)) if hidden else (0.5, 0.98)
    return (
        short("six short series", (length, 2, 3), exact),
        short("a single value", (1, 2), 0.75),
        long("a long series, β near 0.5", "long series", quick),
        long("a long series, β between 0.93 and 0.99", "long series", slow),
        long("a long series, β near 0.9999", "long series", _awkward_beta(rng)),
        long("counted on a device", "launches", _exact_beta(rng), *_LONG_LIMITS, device=PRETEND),
    )


PARALLEL = CodeExercise(
    "ema.parallel",
    "100,000 steps in 50 launches",
    "launches",
    NOTEBOOK,
    {"values": 1.0, "long series": 2.0, "launches": 2.0},
    difficulty=3,
    minutes=35,
    objects=("ema_parallel",),
    visible=lambda: _parallel_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _parallel_cases(generator(seed), hidden=True),
    reference=lambda: (ema_long.loop_in_float64,),
    compares="the averages with the recursion in float64, launches with 8·log₂T",
    misconceptions=recognise(ema_long.ROWS, ema_long.ROWS, lambda faults: (ema_long.parallel(faults),)),
    hints=(
        "An average over the last 2k values is made of two averages over k values: the newer one as it is, and the older one, "
        "aged by k steps.",
        "Start with y = (1 − β)·x, made of the newest value alone. Add β·y, shifted by one: now the two newest count. Then add "
        "β²·y, shifted by two; β⁴·y, shifted by four; and so on, until the shift reaches T. Shifting fills with zeros.",
        "y = (1 - beta) * x; k = 1; while k < len(x): y = torch.cat([y[:k], y[k:] + beta**k * y[:-k]]); k = 2 * k. The "
        "powers beta**k are Python floats.",
    ),
)


# --- ema.weights_average --------------------------------------------------------------------------------------------

_PARAMETERS = {"0.weight": (4, 3), "0.bias": (4,), "1.weight": (2, 4), "1.bias": (2,)}
_WITH_NORM = {"0.weight": (4, 3), "0.bias": (4,), "1.weight": (4,), "1.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)}


def _module_inputs(
    rng: Generator, beta: float, updates: int, *, buffers: bool = False, fresh: bool = True, **more: Any
) -> Inputs:
    """Parameters that walk, and running statistics that drift. `fresh`: the first update finds the model as it was copied."""
    walk = {name: rng.standard_normal(shape) for name, shape in (_WITH_NORM if buffers else _PARAMETERS).items()}
    script = []
    for number in range(updates):
        script.append({**walk, **(_running(rng, number) if buffers else {})})
        walk = {name: np.asarray(old + 0.5 * rng.standard_normal(old.shape)) for name, old in walk.items()}
    start = script[0] if fresh else {name: rng.standard_normal(array.shape) for name, array in script[0].items()}
    if buffers:  # else nobody could see whether the first update copies them
        start = {**start, **_running(rng, -1)}
    return {"beta": beta, "layers": "batchnorm" if buffers else "linear", "start": start, "updates": script, **more}


def _running(rng: Generator, number: int) -> dict[str, Array]:
    return {
        "1.running_mean": rng.standard_normal(4),
        "1.running_var": rng.uniform(0.5, 2.0, 4),
        "1.num_batches_tracked": np.array(7 * (number + 1)),
    }


def _module_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, inputs: Inputs) -> Case:
        return probe_case(name, group, "averaged_module", inputs, hidden=hidden)

    def beta() -> float:
        return _beta(rng, 0.6, 0.95)

    updates = int(rng.integers(4, 8)) if hidden else 6
    return (
        case("the copy is fresh", "average", _module_inputs(rng, beta(), updates)),
        case("in float32", "average", _module_inputs(rng, beta(), 4, dtype="float32")),
        *(() if hidden else (case("another device", "average", _module_inputs(rng, 0.8, 2, device=PRETEND)),)),
        case("trained before the first update", "first update", _module_inputs(rng, beta(), 4, fresh=False)),
        case("a model with BatchNorm", "buffers", _module_inputs(rng, beta(), 4, buffers=True)),
        case("the model and the graph", "side effects", _module_inputs(rng, beta(), 3, rules=True)),
    )


AVERAGE = CodeExercise(
    "ema.weights_average",
    "An averaged model",
    "experiment",
    NOTEBOOK,
    {"average": 1.0, "first update": 1.0, "buffers": 1.0, "side effects": 1.0},
    difficulty=2,
    minutes=20,
    objects=("EMAModel",),
    visible=lambda: _module_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _module_cases(generator(seed), hidden=True),
    reference=lambda: (ema_modules.TorchEMA,),
    compares="every parameter and buffer after every update with torch's AveragedModel",
    misconceptions=recognise(ema_modules.ROWS, ema_modules.ROWS, lambda faults: (ema_modules.averaged(faults),)),
    combine=lambda faults: (ema_modules.averaged(faults),),
    hints=(
        "Two loops: one over the parameters of both models, which are averaged, and one over their buffers, which are copied.",
        "The first update copies the parameters. Count updates in self.updates. zip(self.module.parameters(), "
        "model.parameters()) walks through both in step; copy_ and lerp_ write into a tensor in place.",
        "for mine, theirs in zip(self.module.parameters(), model.parameters()): mine.copy_(theirs) in the first update, else "
        "mine.lerp_(theirs, 1 - self.beta). Then the same loop over buffers() with copy_, and self.updates += 1.",
    ),
    forbidden=("torch.optim.swa_utils.AveragedModel", "torch.optim.swa_utils.get_ema_multi_avg_fn"),
)


# --- questions ------------------------------------------------------------------------------------------------------


_quiz = partial(quiz, NOTEBOOK, "ema")


def _after_steps(steps: int) -> Part:
    missing = 0.999**steps
    return Part(
        f"average after {steps} steps",
        1 - missing,
        {
            1
            - missing: f"Right: 1 − 0.999^{steps} = {1 - missing:.3f}. The average of a series that is 1 everywhere says "
            f"{1 - missing:.3f}.",
            1.0: "It would be, had it started at 1. It starts at 0, and each step covers a thousandth of the way.",
            missing: f"That is the part that is still missing, 0.999^{steps}.",
            0.001: "That is the first step's value, 1 − β.",
            "other": f"Put x_t = 1 into (2.2): the average is the sum of the weights, (2.3), for t = {steps}.",
        },
        tolerance=0.01,
    )


def _vary_after_steps(dice: random.Random) -> Varied:
    steps = dice.choice((50, 150, 200, 250, 300, 400))
    part = replace(_after_steps(steps), name="average after 100 steps")
    return Varied((part,), {"after 100 steps": f"after {steps} steps"})


def _quieter(word: str, factor: int) -> Part:
    """From β = 0.9, whose variance is 1/19 of the noise's, by (2.8)."""
    ratio, square = 19 * factor**2, factor**2
    right, of_variance = (ratio - 1) / (ratio + 1), (19 * factor - 1) / (19 * factor + 1)
    return Part(
        "β for a third of the noise",
        right,
        {
            right: f"Right. The variance has to fall to 1/{square} of what it is: from 1/19 to 1/{ratio}, and "
            f"β = (1 − 1/{ratio})/(1 + 1/{ratio}).",
            1 - 0.1 / factor: f"That makes the window {word} times as long, and the standard deviation √{factor} times "
            f"smaller. {word.capitalize()} times less noise takes {square} times the window.",
            of_variance: f"That divides the variance by {factor}. The standard deviation is its root.",
            "other": f"By (2.8) the variance is (1 − β)/(1 + β) = 1/19 at β = 0.9. Divide by {square}, and solve for β.",
        },
        tolerance=0.001,
    )


def _vary_quieter(dice: random.Random) -> Varied:
    word, factor = dice.choice((("two", 2), ("four", 4), ("five", 5)))
    return Varied((_quieter(word, factor),), {"should be three times smaller": f"should be {word} times smaller"})


QUIZZES = (
    _quiz(
        1,
        "BatchNorm's momentum",
        Part(
            "β of BatchNorm",
            0.9,
            {
                0.9: "Right. BatchNorm's `momentum` is the weight of the new value, 1 − β.",
                0.1: "With β = 0.1 the past would count 0.1. In BatchNorm it is the new value that does.",
                "other": "Compare the two lines term by term: what multiplies the old running mean is β.",
            },
            tolerance=1e-6,
        ),
    ),
    _quiz(
        2,
        "Weights that do not add up",
        Part(
            "where the rest went",
            "b",
            {
                "a": "Rounding is a matter of 1e-16. Here 35 % are missing.",
                "b": "Right. After 10 steps the start still counts 0.9¹⁰ = 0.35, and it is 0.",
                "c": "Values before x_1 do not exist; what counts in their place is the start m_0.",
                "d": "The newest weight is 1 − β = 0.1, as (2.2) says.",
            },
        ),
    ),
    _quiz(
        3,
        "A hundred steps from zero",
        _after_steps(100),
        vary=_vary_after_steps,
    ),
    _quiz(
        4,
        "What goes to one?",
        Part(
            "what goes to 1",
            "c",
            {
                "a": "m_t goes wherever the series is: to 5 for a series around 5.",
                "b": "β^t goes to 0, and 1/β^t grows without bound.",
                "c": "Right. The divisor goes to 1, so the corrected and the plain average come together.",
                "d": "β is a constant. It is β^t that changes.",
            },
        ),
    ),
    _quiz(
        5,
        "Quieter by a factor of three",
        _quieter("three", 3),
        vary=_vary_quieter,
        difficulty=2,
    ),
    _quiz(
        6,
        "Where the trick breaks",
        Part(
            "first t with an infinite factor",
            128.0,
            {
                128.0: "Right. 0.5^(−128) = 2¹²⁸, just above the largest float32, 3.4e38.",
                127.0: "2¹²⁷ = 1.7e38 can still be represented. One more, and it cannot.",
                1024.0: "That is float64's limit.",
                38.0: "10³⁸ is near the limit, but the powers here are powers of 2.",
                "other": "β^(−t) = 2^t. The largest float32 is 3.4e38, just below a power of 2.",
            },
            tolerance=1e-6,
        ),
    ),
    _quiz(
        7,
        "How much of the first model is left",
        Part(
            "weight of the first model",
            0.9999**9999,
            {
                0.9999
                ** 9999: "Right. The first update copied it, so it counts β⁹⁹⁹⁹ = 0.37. Start to average later, or with a "
                "smaller β.",
                1 - 0.9999**9999: "That is what all the others count together.",
                0.0001: "That is what the last model counts, 1 − β. The first one was copied, and counted 1 at that time.",
                0.0001
                * 0.9999**9999: "That would be (1 − β)·β⁹⁹⁹⁹, the weight after a start at 0. The first update copies.",
                "other": "After the first update the model counts 1. Each of the 9,999 later ones multiplies that by β.",
            },
            tolerance=0.01,
        ),
        difficulty=2,
    ),
)

UNROLL = WrittenExercise(
    "ema.w1", "Unroll the recursion", "written", NOTEBOOK, {"derivation": 3.0}, difficulty=2, minutes=15
)

EXERCISES: tuple[Exercise, ...] = (
    RECURSIVE,
    QUIZZES[0],
    WEIGHTS,
    UNROLL,
    QUIZZES[1],
    QUIZZES[2],
    CORRECTED,
    QUIZZES[3],
    HORIZON,
    QUIZZES[4],
    QUIZZES[5],
    PARALLEL,
    AVERAGE,
    QUIZZES[6],
)
