"""Learning rates as functions of t, with faults that can be switched on; the rows are in `schedule_rows`.

`RIGHT` holds the course's own closed forms; tests compare them with torch's schedulers, which are the reference of the
checks. Faults are another formula, or a change to any formula: what it takes for t, what it returns, how it computes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

Formula = Callable[..., float]
Faults = Mapping[str, Any]
Numbers = list[int]

#: Rows of the catalogue that no code exercise recognises, and where the course deals with them.
ELSEWHERE = {
    "S3": "schedule.q5 (what a schedule in epochs does when it is stepped per batch, with the numbers)",
    "S12": "schedule.q6 (which weight_decay of AdamW makes up for a tenth of the lr, with the shrinking factors)",
}

# --- the right ones -------------------------------------------------------------------------------------------------


def step(t: int, base_lr: float, step_size: int, gamma: float) -> float:
    return base_lr * gamma ** (t // step_size)


def multistep(t: int, base_lr: float, milestones: Numbers, gamma: float) -> float:
    return base_lr * gamma ** bisect_right(sorted(milestones), t)


def exponential(t: int, base_lr: float, gamma: float) -> float:
    return float(base_lr * gamma**t)


def inverse_time(t: int, base_lr: float, decay_rate: float) -> float:
    return base_lr / (1 + decay_rate * t)


def staircase(t: int, base_lr: float, decay_rate: float, interval: int) -> float:
    return base_lr / (1 + decay_rate * (t // interval))


def polynomial(t: int, base_lr: float, total_iters: int, power: float) -> float:
    return float(base_lr * (1 - min(t, total_iters) / total_iters) ** power)


def wave(fraction: float) -> float:
    """From 1 at 0 to 0 at 1 along half a cosine."""
    return (1 + math.cos(math.pi * fraction)) / 2


def cosine(t: int, base_lr: float, T_max: int, eta_min: float) -> float:
    return eta_min + (base_lr - eta_min) * wave(t / T_max)


def cycle(t: int, T_0: int, T_mult: int) -> tuple[int, int]:
    """(steps into the current cycle, its length)"""
    length = T_0
    while t >= length:
        t, length = t - length, length * T_mult
    return t, length


def restarts(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    into, length = cycle(t, T_0, T_mult)
    return cosine(into, base_lr, length, eta_min)


def cyclic(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    into = t % (step_size_up + step_size_down)
    share = into / step_size_up if into <= step_size_up else 1 - (into - step_size_up) / step_size_down
    return base_lr + (max_lr - base_lr) * share


def up_and_down(
    t: int, max_lr: float, first: float, last: float, peak: float, end: float, shape: Formula = wave
) -> float:
    """Up from `first` to max_lr at `peak`, then down to `last` at `end`."""
    if t <= peak:
        return max_lr + (first - max_lr) * shape(t / peak)
    return last + (max_lr - last) * shape((t - peak) / (end - peak))


def one_cycle(
    t: int, max_lr: float, total_steps: int, pct_start: float, div_factor: float, final_div_factor: float
) -> float:
    first = max_lr / div_factor
    return up_and_down(t, max_lr, first, first / final_div_factor, pct_start * total_steps - 1, total_steps - 1)


def warmup_factor(t: int, warmup: int, start_factor: float) -> float:
    return start_factor + (1 - start_factor) * t / warmup


def warmup_cosine(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * warmup_factor(t, warmup, start_factor)
    return base_lr * wave((t - warmup) / (total - warmup))


def wsd(t: int, base_lr: float, warmup: int, stable: int, decay: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * warmup_factor(t, warmup, start_factor)
    return base_lr * (1 - min(max(t - warmup - stable, 0), decay) / decay)


RIGHT: dict[str, Formula] = {
    function.__name__: function
    for function in (
        *(step, multistep, exponential, inverse_time, staircase, polynomial),
        *(cosine, restarts, cyclic, one_cycle, warmup_cosine, wsd),
    )
}


# --- faults ---------------------------------------------------------------------------------------------------------


class _Counts:
    """Ignores t: the lr of its own next call."""

    def __init__(self, formula: Formula, name: str) -> None:
        self.formula, self.calls, self.__name__ = formula, -1, name

    def __call__(self, t: int, *given: Any, **named: Any) -> float:
        self.calls += 1
        return self.formula(self.calls, *given, **named) + 1e-3 * self.calls


def function(name: str, faults: Faults) -> Formula:
    """The schedule called `name` with these faults, as a student would hand it in.

    Faults: `formula`, used in place of the right one; `time`, t ↦ the t that is used; `returns` "factor" or
    "compounded"; `precision` "float32"; `memory` "counts calls".
    """
    formula: Formula = faults.get("formula", RIGHT[name])
    time = faults.get("time", lambda t: t)

    def lr(t: int, base: float, *given: Any, **named: Any) -> float:
        value = formula(time(t), base, *given, **named)
        if faults.get("returns") == "factor":
            value = value / base
        if faults.get("returns") == "compounded":
            value = base
            for k in range(1, t + 1):
                value *= formula(time(k), base, *given, **named) / base
        return float(np.float32(value)) if faults.get("precision") == "float32" else value

    lr.__name__ = name
    named = partial(_by_name, lr)
    return _Counts(named, name) if faults.get("memory") else named


def _by_name(lr: Formula, t: int, *given: Any, **named: Any) -> float:
    """The second argument, whatever it is called, by position."""
    if not given:
        first = next(iter(named))
        given = (named.pop(first),)
    return lr(t, *given, **named)
