"""Moving averages with faults that can be switched on: the simulators behind the catalogue's rows E*.

Sources of the right formulas: Kingma & Ba (2015), algorithm 1 and section 3, for the average and its correction; Lucas &
Saccucci (1990) for the variance. With no faults the simulators equal `exp_avg` of `torch.optim.Adam` (a test says so).
Equation numbers are those of the notebook `02_ema_bias_correction`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]

#: What each switch can be, the right value first.
SWITCHES: dict[str, tuple[Any, ...]] = {
    "roles": ("as given", "swapped", "no memory", "sum", "mean"),
    "start": ("zero", "first value", "skipped"),
    "row": ("this", "one late", "last"),
    "along": ("time", "last dimension"),
    "x": ("kept", "changed"),
    "corrector": (
        "power", "none", "t - 1", "t + 1", "product", "power of 1 - beta", "multiplied", "1 - beta", "length",
        "1 - power of 1 - beta", "float32 powers", "float32 beta",
    ),
    "eps": (0.0, 1e-8, 1e-12),
    "stored": ("average", "corrected"),
    "order": ("oldest first", "newest first"),
    "power": (0, 1, -1),
    "weights": ("as they are", "normalised", "with the start"),
}  # fmt: skip


def _switch(faults: Faults, name: str) -> Any:
    return faults.get(name, SWITCHES[name][0])


def with_adam(x: Tensor, beta: float) -> Tensor:
    """The reference of `ema`: what `torch.optim.Adam` keeps as `exp_avg` when the series are its gradients."""
    w = torch.nn.Parameter(torch.zeros_like(x[0]))
    opt = torch.optim.Adam([w], lr=0.0, betas=(beta, 0.0))
    rows = []
    for value in x:
        w.grad = value.clone()
        opt.step()
        rows.append(opt.state[w]["exp_avg"].clone())
    return torch.stack(rows)


def corrected_with_adam(x: Tensor, beta: float) -> Tensor:
    """The reference of `ema_corrected`: Adam's `exp_avg` over 1 − β^t, t from 1."""
    divisors = [1 - beta**t for t in range(1, len(x) + 1)]
    return torch.stack([row / divisor for row, divisor in zip(with_adam(x, beta), divisors, strict=True)])


def weights_with_adam(t: int, beta: float) -> Tensor:
    """The reference of `ema_weights`: what is left in Adam's `exp_avg` after step t of a 1 in each of the steps."""
    return with_adam(torch.eye(t, dtype=torch.float64), beta)[-1]


# --- the recursion --------------------------------------------------------------------------------------------------


def _mixed(m: Tensor, value: Tensor, beta: float, t: int, roles: str) -> Tensor:
    """Equation (2.1)."""
    old, new = {
        "swapped": (1 - beta, beta),
        "no memory": (0.0, 1 - beta),
        "sum": (beta, 1.0),
        "mean": ((t - 1) / t, 1 / t),
    }.get(roles, (beta, 1 - beta))
    return old * m + new * value


def _divisor(beta: float, t: int, steps: int, how: str) -> float:
    """What the average is divided by, equation (2.5)."""
    form: dict[str, Callable[[], float]] = {
        "none": lambda: 1.0,
        "t - 1": lambda: 1 - beta ** (t - 1),
        "t + 1": lambda: 1 - beta ** (t + 1),
        "product": lambda: 1 - beta * t,
        "power of 1 - beta": lambda: (1 - beta) ** t,
        "multiplied": lambda: 1 / (1 - beta**t),
        "1 - beta": lambda: 1 - beta,
        "length": lambda: 1 - beta**steps,
        "1 - power of 1 - beta": lambda: 1 - (1 - beta) ** t,
        # of integers, and of float32 tensors, torch makes float32 powers
        "float32 powers": lambda: float(1 - (beta ** torch.arange(1, steps + 1))[t - 1]),
        "float32 beta": lambda: float(1 - torch.tensor(beta, dtype=torch.float32) ** t),
    }
    return form.get(how, lambda: 1 - beta**t)()


def average(x: Tensor, beta: float, faults: Faults, corrected: bool) -> Tensor:
    """The averages of a series along dimension 0, corrected or not."""
    if _switch(faults, "along") == "last dimension" and x.dim() > 1:
        return average(x.movedim(-1, 0), beta, {**faults, "along": "time"}, corrected).movedim(0, -1)
    how = _switch(faults, "corrector") if corrected or "corrector" in faults else "none"
    start = _switch(faults, "start")
    m, rows = (x[0].clone() if start == "first value" else torch.zeros_like(x[0])), []
    for t, value in enumerate(x, start=1):
        if start == "skipped" and t == 1:
            value = torch.zeros_like(value)
        before, m = m, _mixed(m, value, beta, t, _switch(faults, "roles"))
        divisor = _divisor(beta, t, len(x), how) + _switch(faults, "eps")
        # a tensor divided by 0 becomes inf or nan; with numbers it is a ZeroDivisionError
        row = 1 / divisor * m if faults.get("as") == "numbers" else m / divisor
        rows.append(before if _switch(faults, "row") == "one late" else row)
        if _switch(faults, "stored") == "corrected":
            m = row
    if _switch(faults, "row") == "last":
        rows = [rows[-1]] * len(rows)
    result = torch.stack(rows)
    if _switch(faults, "x") == "changed":
        x.copy_(result)
    return result


def recursive(faults: Faults) -> Callable[..., Tensor]:
    """`ema` of the notebook."""

    def ema(x: Tensor, beta: float) -> Tensor:
        return average(x, beta, faults, corrected=False)

    return ema


def corrected(faults: Faults) -> Callable[..., Tensor]:
    """`ema_corrected` of the notebook."""

    def ema_corrected(x: Tensor, beta: float) -> Tensor:
        return average(x, beta, faults, corrected=True)

    return ema_corrected


def weights(faults: Faults) -> Callable[..., Tensor]:
    """`ema_weights` of the notebook, equation (2.2)."""

    def ema_weights(t: int, beta: float) -> Tensor:
        age = torch.arange(t - 1, -1, -1, dtype=torch.float64)
        base, scale = {"swapped": (1 - beta, beta), "sum": (beta, 1.0)}.get(_switch(faults, "roles"), (beta, 1 - beta))
        result: Tensor = scale * base ** (age + _switch(faults, "power"))
        if _switch(faults, "start") == "first value":
            result[0] = beta ** (t - 1)
        how = _switch(faults, "weights")
        if how == "normalised":
            result = result / result.sum()
        elif how == "with the start":
            result = torch.cat([torch.tensor([beta**t], dtype=torch.float64), result])
        return result.flip(0) if _switch(faults, "order") == "newest first" else result

    return ema_weights


# --- closed forms ---------------------------------------------------------------------------------------------------

Form = Callable[[float], float | Tensor]


def _single(number: float) -> Tensor:
    return torch.tensor(number, dtype=torch.float32)


#: Function → what may stand in its place.
FORMS: dict[str, dict[str, Form]] = {
    "beta_from_half_life": {
        "right": lambda h: 0.5 ** (1 / h),
        "window": lambda h: 1 - 1 / h,
        "one over": lambda h: 1 / h,
        "e": lambda h: math.exp(-1 / h),
        "no inverse": lambda h: 0.5**h,
        "first order": lambda h: 1 - math.log(2) / h,
        "sign": lambda h: 2 ** (1 / h),
        "float32": lambda h: _single(2.0) ** (-1 / h),
        "float32 power of 2": lambda h: float(_single(2.0) ** (-1 / h)),
        "float32 power of a half": lambda h: float(_single(0.5) ** (1 / h)),
    },
    "effective_window": {
        "right": lambda beta: 1 / (1 - beta),
        "one over beta": lambda beta: 1 / beta,
        "mean age": lambda beta: beta / (1 - beta),
        "span": lambda beta: 2 / (1 - beta) - 1,
        "half-life": lambda beta: math.log(0.5) / math.log(beta),
        "time constant": lambda beta: -1 / math.log(beta),
        "float32": lambda beta: 1 / (1 - _single(beta)),
    },
    "noise_gain": {
        "right": lambda beta: (1 - beta) / (1 + beta),
        "deviation": lambda beta: math.sqrt((1 - beta) / (1 + beta)),
        "newest only": lambda beta: (1 - beta) ** 2,
        "one over window": lambda beta: 1 - beta,
        "inverted": lambda beta: (1 + beta) / (1 - beta),
        "near one": lambda beta: (1 - beta) / 2,
        "float32": lambda beta: (1 - _single(beta)) / (1 + _single(beta)),
    },
}


def horizon(faults: Faults) -> tuple[Form, ...]:
    """`beta_from_half_life`, `effective_window` and `noise_gain` of the notebook; a fault names one's wrong form."""
    return tuple(forms[faults.get(name, "right")] for name, forms in FORMS.items())


def _bisect(too_small: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if too_small(middle) else (low, middle)
    return (low + high) / 2


def _far_weights(beta: float) -> Tensor:
    """The weights of an average that has been running for ever, newest first, down to rounding."""
    steps = int(-45 / math.log(beta)) + 2
    return (1 - beta) * beta ** torch.arange(steps, dtype=torch.float64)


def horizon_by_definition() -> tuple[Callable[[float], float], ...]:
    """The reference: the half-life by bisection, window and variance as sums over the weights."""

    def beta_from_half_life(half_life: float) -> float:
        return _bisect(lambda beta: beta**half_life < 0.5, 0.0, 1.0)

    def effective_window(beta: float) -> float:
        kept = _far_weights(beta)
        return float(kept.sum() / kept[0])

    def noise_gain(beta: float) -> float:
        return float(_far_weights(beta).square().sum())

    return beta_from_half_life, effective_window, noise_gain


# --- the catalogue's rows -------------------------------------------------------------------------------------------

_2_1, _2_2, _2_3, _2_5, _2_6, _2_7, _2_8 = (f"equation (2.{n})" for n in (1, 2, 3, 5, 6, 7, 8))

RECURSIVE_ROWS: dict[str, Row] = {
    "E1": Row(
        "β and 1 − β change places",
        "You compute (1 − β)·m + β·x. Here β is the weight of the past. (torch's BatchNorm counts the other way round: its "
        "`momentum` is 1 − β.)",
        _2_1,
        {"roles": "swapped"},
        coincides="for β = 0.5",
    ),
    "E9": Row(
        "no memory",
        "Each row is (1 − β)·x_t: the old average is lost. Is m read before it is overwritten, and kept for the next step?",
        _2_1,
        {"roles": "no memory"},
        coincides="in the first step, and for β = 0",
    ),
    "E10": Row(
        "starts at the first value",
        "Your first average is x_1 itself. That is a possible choice (pandas with adjust=False makes it), but the first "
        "value then counts β^(t−1) in place of (1 − β)·β^(t−1). Here, as in torch, the average starts at 0.",
        _2_1,
        {"start": "first value"},
        coincides="for β = 0",
    ),
    "E11": Row(
        "a sum: the factor 1 − β is missing",
        "You compute β·m + x. For a constant series that grows to 1/(1 − β) times the constant.",
        _2_1,
        {"roles": "sum"},
        coincides="for β = 0",
    ),
    "E12": Row(
        "corrected already",
        "The averages are divided by 1 − β^t. That comes in section 3; here the plain average is asked for.",
        _2_1,
        {"corrector": "power"},
        coincides="for β = 0",
    ),
    "E13": Row(
        "one step late",
        "Row t is the average before x_t came in. Update m first, then keep it.",
        _2_1,
        {"row": "one late"},
    ),
    "E14": Row(
        "averaged along the last dimension",
        "Time is dimension 0. The other dimensions are series of their own, which never mix: `for value in x` goes "
        "through dimension 0.",
        "the docstring: time is dimension 0",
        {"along": "last dimension"},
        coincides="for a series of numbers",
    ),
    "E15": Row(
        "the series itself is overwritten",
        "x belongs to the caller. `x[t] = …` writes into it, and so does `m.mul_(…)` after `m = x[0]`, which makes a "
        "view. Start from `torch.zeros_like(x[0])`, and write the averages elsewhere.",
        "the docstring: x stays as it is",
        {"x": "changed"},
        coincides="for β = 0, where the averages are x itself",
    ),
    "E16": Row(
        "every row is the last one",
        "All entries of your list are the same tensor, which later steps change in place. Keep a copy: "
        "`rows.append(m.clone())`.",
        _2_1,
        {"row": "last"},
        coincides="for a single step",
    ),
    "E17": Row(
        "the plain mean of all values so far",
        "Each value counts 1/t. An exponential average forgets: β is not used in yours.",
        _2_1,
        {"roles": "mean"},
    ),
    "E64": Row(
        "the first value is left out",
        "Your first average is 0, and x_1 counts nothing later either. m_0 = 0 is the average before x_1: the first row of "
        "the result is m_1 = (1 − β)·x_1.",
        _2_1,
        {"start": "skipped"},
    ),
}

WEIGHTS_ROWS: dict[str, Row] = {
    "E18": Row(
        "the order is reversed",
        "Index 0 is the weight of the oldest value, x_1. It is the smallest one.",
        _2_2,
        {"order": "newest first"},
        coincides="for t = 1",
    ),
    "E19": Row(
        "one power of β too many",
        "The newest value has age 0: its weight is (1 − β)·β⁰.",
        _2_2,
        {"power": 1},
    ),
    "E20": Row(
        "normalised to sum 1",
        "The weights of the average add up to 1 − β^t. What is missing belongs to the 0 from which it started.",
        _2_3,
        {"weights": "normalised"},
        coincides="for β = 0",
    ),
    "E21": Row(
        "one weight too many",
        "There are t weights, for x_1 to x_t. The start m_0 = 0 has the weight β^t, but it is no value of the series.",
        _2_2,
        {"weights": "with the start"},
    ),
    "E22": Row(
        "one power of β too few",
        "The newest value has age 0, and its power is β⁰; yours is β^(−1).",
        _2_2,
        {"power": -1},
    ),
    "E11": Row(
        "the factor 1 − β is missing",
        "The powers of β are right. Each value comes in with the factor 1 − β.",
        _2_2,
        {"roles": "sum"},
        coincides="for β = 0",
    ),
    "E1": Row(
        "β and 1 − β change places",
        "You compute β·(1 − β)^age. β is the weight of the past, so it is β that is raised to a power.",
        _2_2,
        {"roles": "swapped"},
        coincides="for β = 0.5",
    ),
    "E10": Row(
        "the oldest weight belongs to a start at x_1",
        "Your oldest weight is β^(t−1), without 1 − β: that is an average that starts at the first value. This one starts "
        "at 0.",
        _2_2,
        {"start": "first value"},
        coincides="for β = 0",
    ),
}

CORRECTED_ROWS: dict[str, Row] = {
    "E2": Row(
        "no bias correction",
        "These are the plain averages of (2.1). They start at 0 and are too small by the factor 1 − β^t.",
        _2_5,
        {"corrector": "none"},
        coincides="for β = 0",
    ),
    "E3": Row(
        "t counted from 0",
        "The first correction divides by 1 − β⁰ = 0. With tensors that gives inf or nan, with Python numbers a "
        "ZeroDivisionError; with a small number added to the divisor, values in the millions. t is the number of values so "
        "far, from 1: `enumerate(x, start=1)`.",
        _2_5,
        {"corrector": "t - 1"},
        also=(
            {"corrector": "t - 1", "as": "numbers"},
            {"corrector": "t - 1", "eps": 1e-8},
            {"corrector": "t - 1", "eps": 1e-12},
        ),
    ),
    "E3n": Row(
        "t one too large",
        "The correction uses t + 1: the first average is divided by 1 − β² in place of 1 − β.",
        _2_5,
        {"corrector": "t + 1"},
        coincides="for β = 0",
    ),
    "E4": Row(
        "1 − β·t in place of 1 − β^t",
        "The corrector is a product where a power belongs. Both agree at t = 1 only.",
        _2_5,
        {"corrector": "product"},
        coincides="in the first step, and for β = 0",
    ),
    "E4p": Row(
        "(1 − β)^t in place of 1 − β^t",
        "The power is taken of 1 − β. Both agree at t = 1 only; afterwards the corrected averages explode.",
        _2_5,
        {"corrector": "power of 1 - beta"},
        coincides="in the first step, and for β = 0",
    ),
    "E5": Row(
        "the corrected average is fed back",
        "m̂ replaces m, so the next step averages, and corrects, what was corrected already. Keep m for the recursion "
        "and write m̂ elsewhere.",
        _2_5,
        {"stored": "corrected"},
        coincides="in the first step, and for β = 0",
    ),
    "E6": Row(
        "multiplied by 1 − β^t instead of divided",
        "The average starts too small; multiplying by a number below 1 makes it smaller still.",
        _2_5,
        {"corrector": "multiplied"},
        coincides="for β = 0",
    ),
    "E8": Row(
        "starts at the first value and is corrected as well",
        "A start at x_1 has no bias left that could be corrected: your first average is x_1/(1 − β). Start at 0 and "
        "correct, or start at x_1 and do not.",
        _2_5,
        {"start": "first value"},
        coincides="for β = 0",
    ),
    "E10": Row(
        "starts at the first value in place of a correction",
        "That removes the bias too, but x_1 keeps the weight β^(t−1), and its noise stays for a long time. The corrected "
        "average weights all values as (2.2) does.",
        _2_5,
        {"start": "first value", "corrector": "none"},
        coincides="in the first step, and for β = 0",
    ),
    "E23": Row(
        "divided by 1 − β in every step",
        "That is the correction of the first step. Does t advance?",
        _2_5,
        {"corrector": "1 - beta"},
        coincides="in the first step, and for β = 0",
    ),
    "E24": Row(
        "one correction for all rows",
        "All rows are divided by 1 − β^T with T the length of the series. Row t has seen t values.",
        _2_5,
        {"corrector": "length"},
        coincides="in the last row, and for β = 0",
    ),
    "E61": Row(
        "1 − (1 − β)^t in place of 1 − β^t",
        "The power is taken of 1 − β. What is missing at the start is the weight of m_0 = 0, which is β^t.",
        _2_5,
        {"corrector": "1 - power of 1 - beta"},
        coincides="for β = 0.5",
    ),
    "E62": Row(
        "your 1 − β^t is float32",
        "`beta ** torch.arange(1, T + 1)`, a power of an integer tensor, is float32, and so is a power of "
        "`torch.tensor(beta)`: 7 digits, for a series that has 16. Give t the series' dtype "
        "(`torch.arange(1, T + 1, dtype=x.dtype)`), or use Python floats.",
        "section 3, the last of the things to get right",
        {"corrector": "float32 powers"},
        coincides="up to rounding in float32, and for β = 0",
        also=({"corrector": "float32 beta"},),
    ),
    "E1": Row(
        "β and 1 − β change places",
        "The average below the correction is (1 − β)·m + β·x. β is the weight of the past.",
        _2_1,
        {"roles": "swapped"},
        coincides="for β = 0.5",
    ),
}

#: Any of the three functions may be computed in float32, alone or with others.
_FLOAT32_FORMS = tuple(
    dict.fromkeys(names, "float32") for count in (1, 2, 3) for names in itertools.combinations(FORMS, count)
)

HORIZON_ROWS: dict[str, Row] = {
    "E7": Row(
        "half-life taken for the window 1/(1 − β)",
        "You compute `1 - 1 / half_life`, the β whose window is that long. After so many steps a value still counts about "
        "1/e = 37 %, not half.",
        _2_6,
        {"beta_from_half_life": "window"},
    ),
    "E7i": Row(
        "β = 1/half-life",
        "A longer half-life needs a β closer to 1; yours falls. Solve `beta**half_life = 0.5` for β.",
        _2_6,
        {"beta_from_half_life": "one over"},
    ),
    "E25": Row(
        "e in place of 2",
        "You compute `exp(-1 / half_life)`: after a half-life the weight has fallen to 1/e, not to ½. ln 2 is missing.",
        _2_6,
        {"beta_from_half_life": "e"},
    ),
    "E26": Row(
        "the power in place of the root",
        "You compute `0.5**half_life`. It is β that is raised to the power half_life, to give ½: β is a root of ½.",
        _2_6,
        {"beta_from_half_life": "no inverse"},
    ),
    "E27": Row(
        "only the first order in 1/half-life",
        "`1 - log(2) / half_life` is what `0.5 ** (1 / half_life)` comes close to for a long half-life. It is exact for none, "
        "and negative for a half-life below 0.69.",
        _2_6,
        {"beta_from_half_life": "first order"},
    ),
    "E28": Row(
        "β larger than 1",
        "The sign of the exponent is lost: `2 ** (1 / half_life)` is larger than 1. β is `2 ** (-1 / half_life)`.",
        _2_6,
        {"beta_from_half_life": "sign"},
    ),
    "E29": Row(
        "window 1/β",
        "For β = 0.9 that is 1.1 steps. The window is the sum of all weights over the newest one, and the geometric series "
        "gives 1/(1 − β).",
        _2_7,
        {"effective_window": "one over beta"},
    ),
    "E30": Row(
        "the mean age in place of the window",
        "β/(1 − β) is how old the values are on average. The window is one step longer, since ages count from 0.",
        _2_7,
        {"effective_window": "mean age"},
    ),
    "E31": Row(
        "the span in place of the window",
        "2/(1 − β) − 1 is the length of a plain mean with the same noise (pandas calls it span): the inverse of the noise "
        "gain. The window is 1/(1 − β).",
        _2_7,
        {"effective_window": "span"},
    ),
    "E32": Row(
        "the half-life in place of the window",
        "ln ½ / ln β is the age at which a weight has halved. The window is about 1.44 times as long.",
        _2_7,
        {"effective_window": "half-life"},
    ),
    "E33": Row(
        "the time constant in place of the window",
        "−1/ln β comes close to 1/(1 − β) for β near 1, and is half a step shorter.",
        _2_7,
        {"effective_window": "time constant"},
    ),
    "E34": Row(
        "the gain of the standard deviation",
        "You take the root. The ratio of the variances is asked for.",
        _2_8,
        {"noise_gain": "deviation"},
    ),
    "E35": Row(
        "only the newest value's share",
        "(1 − β)² is what the newest value brings. The older ones add (1 − β)²β², (1 − β)²β⁴, …: sum the geometric series.",
        _2_8,
        {"noise_gain": "newest only"},
    ),
    "E36": Row(
        "one over the window",
        "1 − β would be the variance of a plain mean over 1/(1 − β) values. The squares of exponential weights add up to "
        "less: about half of it.",
        _2_8,
        {"noise_gain": "one over window"},
    ),
    "E37": Row(
        "the ratio upside down",
        "The average is quieter than the series: the ratio is below 1.",
        _2_8,
        {"noise_gain": "inverted"},
    ),
    "E38": Row(
        "(1 − β)/2, the limit for β near 1",
        "The divisor is 1 + β, which is 2 only in the limit.",
        _2_8,
        {"noise_gain": "near one"},
    ),
    "E62": Row(
        "computed in float32",
        "A tensor made of a Python float, such as `torch.tensor(2.)`, is float32: 7 digits. Python floats have 16; "
        "`0.5 ** …` and `1 - beta` need no tensor.",
        "the docstrings: floats",
        {"beta_from_half_life": "float32"},
        also=(
            *_FLOAT32_FORMS,
            {"beta_from_half_life": "float32 power of 2"},
            {"beta_from_half_life": "float32 power of a half"},
        ),
        by_rules=True,
    ),
}
