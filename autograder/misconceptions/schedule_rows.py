"""What people write in place of the closed forms of learning rates (rows S*), as formulas and as words.

Equation numbers are those of the notebook `06_schedulers`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from autograder.misconceptions import Row
from autograder.misconceptions.schedules import (
    Formula,
    Numbers,
    cosine,
    cycle,
    cyclic,
    restarts,
    up_and_down,
    warmup_cosine,
    warmup_factor,
    wave,
    wsd,
)


def _early(t: int) -> int:
    return t + 1


def _late(t: int) -> int:
    return max(t - 1, 0)


def _general(reread: str, what: str, *leave_out: str) -> dict[str, Row]:
    """The mistakes that can be made with any formula. `what` the lr at t = 0 is, in words."""
    rows = {
        "S2": Row(
            "the lr comes one step late",
            f"Your lr at t is the schedule's at t − 1: t = 0 and t = 1 both get {what}. That happens when the lr is "
            "written after the epoch from the epoch's own number. Here t counts the scheduler steps already taken.",
            reread,
            {"time": _late},
        ),
        "S13": Row(
            "t is counted from 1",
            f"Your lr at t is the schedule's at t + 1: {what}, the lr of t = 0, is never used.",
            reread,
            {"time": _early},
        ),
        "S7": Row(
            "the formula is applied to the lr that has decayed already",
            "Your factors multiply up: the lr at t is the product of the factors of all steps until then. The formula is "
            "a closed form: its factor multiplies the base lr, once.",
            reread,
            {"returns": "compounded"},
        ),
        "S14": Row(
            "the factor is returned, not the lr",
            "The base lr is missing. torch's LambdaLR wants a factor; the functions of this notebook return the lr.",
            reread,
            {"returns": "factor"},
        ),
        "S15": Row(
            "the lr is computed in float32",
            "Your numbers agree to seven digits and not to sixteen: somewhere a float32 tensor is in between. Python's "
            "own floats, with math.cos and math.pi, have sixteen.",
            reread,
            {"precision": "float32"},
            by_rules=True,
        ),
        "S16": Row(
            "the lr depends on how often the function was called",
            "The function keeps something from call to call (a global, an attribute, a default that is a list). The check "
            "asks for the t in any order, and twice for the same one. All that is needed follows from t.",
            reread,
            {"memory": "counts calls"},
            by_rules=True,
        ),
    }
    return {row_id: row for row_id, row in rows.items() if row_id not in leave_out}


def _row(title: str, explanation: str, reread: str, *formulas: Formula, coincides: str = "") -> Row:
    first, *others = ({"formula": formula} for formula in formulas)
    return Row(title, explanation, reread, first, coincides, tuple(others))


_STEP, _MULTI, _EXP, _INV, _STAIR, _POLY, _COS, _RESTART, _LENGTH, _CYCLIC, _ONE, _WARM, _WSD = (
    f"equation (6.{n})" for n in range(1, 14)
)

ROWS: dict[str, dict[str, Row]] = {
    "step": {
        **_general(_STEP, "the base lr", "S2"),
        "S8": _row(
            "the drop comes one step late",
            "The lr falls at t = step_size, 2·step_size, …: at these t it has fallen already. Yours falls one step later, "
            "as `>` does where `>=` is meant.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * gamma ** (max(t - 1, 0) // step_size),
            lambda t, base_lr, step_size, gamma: base_lr * gamma ** (t // (step_size + 1)),
        ),
        "S17": _row(
            "the quotient is not rounded down",
            "t / step_size makes an exponential decay without steps; t // step_size counts the drops.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * gamma ** (t / step_size),
        ),
        "S18": _row(
            "the quotient is rounded, not rounded down",
            "round(t / step_size) drops half a step_size too early.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * gamma ** round(t / step_size),
        ),
        "S162": _row(
            "the quotient is rounded up",
            "math.ceil(t / step_size) is 1 from t = 1 on: every drop comes nearly a whole step_size too early.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * gamma ** math.ceil(t / step_size),
            lambda t, base_lr, step_size, gamma: base_lr * gamma ** (t // step_size + 1),
        ),
        "S163": _row(
            "t − 1 is divided, not t",
            "Every drop comes one step late, and at t = 0 the quotient is −1, rounded down: the lr starts at base_lr/gamma.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * gamma ** ((t - 1) // step_size),
        ),
        "S19": _row(
            "only one drop",
            "The lr falls again after every step_size steps, not only after the first.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * (gamma if t >= step_size else 1.0),
            lambda t, base_lr, step_size, gamma: base_lr * (gamma if t > step_size else 1.0),
        ),
        "S20": _row(
            "a drop only in the step that step_size divides",
            "With `t % step_size == 0` the lr falls for a single step and is back at the next one.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * (gamma if t and t % step_size == 0 else 1.0),
            lambda t, base_lr, step_size, gamma: base_lr * (gamma if t % step_size == 0 else 1.0),
        ),
        "S21": _row(
            "gamma multiplies the number of drops",
            "After two drops the factor is gamma², not 2·gamma.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * (gamma * (t // step_size) if t >= step_size else 1.0),
            lambda t, base_lr, step_size, gamma: base_lr * gamma * (t // step_size),
        ),
        "S22": _row(
            "division by gamma",
            "Each drop multiplies the lr by gamma.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr / gamma ** (t // step_size),
        ),
        "S23": _row(
            "1 − gamma in place of gamma",
            "gamma is what is left of the lr, not what is taken away.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * (1 - gamma) ** (t // step_size),
        ),
        "S24": _row(
            "gamma in every step",
            "That is the exponential schedule; here gamma acts once in step_size steps.",
            _STEP,
            lambda t, base_lr, step_size, gamma: base_lr * gamma**t,
            lambda t, base_lr, step_size, gamma: base_lr * gamma ** (t % step_size),
        ),
    },
    "multistep": {
        **_general(_MULTI, "the base lr", "S2"),
        "S8": _row(
            "the drop comes one step late",
            "At t = milestone the lr has fallen already: count the milestones with m <= t. Yours counts m < t.",
            _MULTI,
            lambda t, base_lr, milestones, gamma: base_lr * gamma ** bisect_left(sorted(milestones), t),
            lambda t, base_lr, milestones, gamma: base_lr * gamma ** bisect_right(sorted(milestones), max(t - 1, 0)),
        ),
        "S25": _row(
            "a repeated milestone counts once",
            "A milestone that stands in the list twice multiplies by gamma twice. A set, or `in`, loses that.",
            _MULTI,
            lambda t, base_lr, milestones, gamma: base_lr * gamma ** len({m for m in milestones if m <= t}),
            coincides="when no milestone is repeated",
        ),
        "S26": _row(
            "milestones are taken to be sorted",
            "bisect, or a loop that stops at the first milestone ahead, needs a sorted list. Count them all, or sort a copy.",
            _MULTI,
            lambda t, base_lr, milestones, gamma: base_lr * gamma ** bisect_right(milestones, t),
            lambda t, base_lr, milestones, gamma: base_lr * gamma ** _until_the_first_ahead(t, milestones),
            coincides="when they are sorted",
        ),
        "S19": _row(
            "only one drop",
            "Every milestone that has been reached multiplies by gamma once more.",
            _MULTI,
            lambda t, base_lr, milestones, gamma: base_lr * (gamma if milestones and t >= min(milestones) else 1.0),
            coincides="for a single milestone",
        ),
        "S20": _row(
            "a drop only in the milestone's own step",
            "With `t in milestones` the lr falls for a single step. It stays down afterwards.",
            _MULTI,
            lambda t, base_lr, milestones, gamma: base_lr * (gamma if t in milestones else 1.0),
            lambda t, base_lr, milestones, gamma: base_lr * gamma ** list(milestones).count(t),
        ),
        "S21": _row(
            "gamma multiplies the number of drops",
            "After two drops the factor is gamma², not 2·gamma.",
            _MULTI,
            lambda t, base_lr, milestones, gamma: base_lr * (gamma * k if (k := _reached(t, milestones)) else 1.0),
            lambda t, base_lr, milestones, gamma: base_lr * gamma * _reached(t, milestones),
        ),
        "S22": _row(
            "division by gamma",
            "Each drop multiplies the lr by gamma.",
            _MULTI,
            lambda t, base_lr, milestones, gamma: base_lr / gamma ** _reached(t, milestones),
        ),
        "S23": _row(
            "1 − gamma in place of gamma",
            "gamma is what is left of the lr, not what is taken away.",
            _MULTI,
            lambda t, base_lr, milestones, gamma: base_lr * (1 - gamma) ** _reached(t, milestones),
        ),
        "S27": _row(
            "the milestones ahead are counted",
            "Each milestone that has been reached (m <= t) multiplies by gamma; you count those that have not.",
            _MULTI,
            lambda t, base_lr, milestones, gamma: base_lr * gamma ** (len(milestones) - _reached(t, milestones)),
        ),
    },
    "exponential": {
        **_general(_EXP, "the base lr"),
        "S28": _row(
            "e in place of gamma",
            "exp(−gamma·t) decays at the rate gamma. Here every step leaves the fraction gamma: gamma**t = exp(t·ln gamma).",
            _EXP,
            lambda t, base_lr, gamma: base_lr * math.exp(-gamma * t),
            lambda t, base_lr, gamma: base_lr * math.exp(-(1 - gamma) * t),
            lambda t, base_lr, gamma: base_lr * math.exp(gamma * t),
        ),
        "S22": _row(
            "division by gamma",
            "Each step multiplies the lr by gamma.",
            _EXP,
            lambda t, base_lr, gamma: base_lr / gamma**t,
        ),
        "S23": _row(
            "1 − gamma in place of gamma",
            "gamma is what is left of the lr after a step, not what is taken away.",
            _EXP,
            lambda t, base_lr, gamma: base_lr * (1 - gamma) ** t,
        ),
        "S29": _row(
            "the decay is linear",
            "base_lr·(1 − (1 − gamma)·t) takes the same amount away in each step; gamma**t takes the same fraction.",
            _EXP,
            lambda t, base_lr, gamma: base_lr * (1 - (1 - gamma) * t),
            lambda t, base_lr, gamma: base_lr * max(1 - (1 - gamma) * t, 0.0),
        ),
        "S21": _row(
            "gamma·t in place of gamma to the power t",
            "In Python a power is written gamma**t.",
            _EXP,
            lambda t, base_lr, gamma: base_lr * gamma * t,
        ),
        "S30": _row(
            "the base lr is raised to the power as well",
            "(base_lr·gamma)**t: the power binds gamma alone.",
            _EXP,
            lambda t, base_lr, gamma: (base_lr * gamma) ** t,
        ),
        "S31": _row(
            "t to the power gamma",
            "The bases are swapped: gamma**t, not t**gamma.",
            _EXP,
            lambda t, base_lr, gamma: base_lr * t**gamma,
        ),
    },
    "inverse_time": {
        **_general(_INV, "the base lr", "S7"),
        "S7": Row(
            "the formula is applied to the lr that has decayed already",
            "lr = lr / (1 + decay_rate·t), with lr on both sides, divides what is left of the last division: the divisors "
            "multiply up. The formula divides the base lr, once.",
            _INV,
            {"returns": "compounded"},
        ),
        "S32": _row(
            "the divisor is a power",
            "1 / (1 + decay_rate)**t is an exponential decay. Here the divisor grows by decay_rate in every step.",
            _INV,
            lambda t, base_lr, decay_rate: base_lr / (1 + decay_rate) ** t,
        ),
        "S33": _row(
            "the lr falls along a line",
            "1 − decay_rate·t reaches 0 and goes below it; 1/(1 + decay_rate·t) stays positive.",
            _INV,
            lambda t, base_lr, decay_rate: base_lr * (1 - decay_rate * t),
            lambda t, base_lr, decay_rate: base_lr * max(1 - decay_rate * t, 0.0),
        ),
        "S34": _row(
            "the lr grows",
            "1 + decay_rate·t divides the base lr; you multiply by it.",
            _INV,
            lambda t, base_lr, decay_rate: base_lr * (1 + decay_rate * t),
        ),
        "S35": _row(
            "brackets: only the 1 is divided by",
            "base_lr / 1 + decay_rate·t means (base_lr/1) + decay_rate·t. The whole divisor needs brackets.",
            _INV,
            lambda t, base_lr, decay_rate: base_lr / 1 + decay_rate * t,
        ),
        "S36": _row(
            "the divisor is t + decay_rate",
            "The rate multiplies t: 1 + decay_rate·t.",
            _INV,
            lambda t, base_lr, decay_rate: base_lr / (1 + decay_rate + t),
            lambda t, base_lr, decay_rate: base_lr / (t + decay_rate),
        ),
        "S164": _row(
            "the rate divides t",
            "base_lr·k/(k + t) is base_lr/(1 + t/k): a larger rate decays more slowly there. decay_rate multiplies t.",
            _INV,
            lambda t, base_lr, decay_rate: base_lr * decay_rate / (decay_rate + t),
            coincides="for decay_rate = 1",
        ),
        "S37": _row(
            "the divisor is a root",
            "1/√(1 + decay_rate·t) falls more slowly. It is a schedule too, and not this one.",
            _INV,
            lambda t, base_lr, decay_rate: base_lr / (1 + decay_rate * t) ** 0.5,
        ),
        "S38": _row(
            "an exponential decay",
            "exp(−decay_rate·t) begins with the same slope and then falls much faster.",
            _INV,
            lambda t, base_lr, decay_rate: base_lr * math.exp(-decay_rate * t),
            lambda t, base_lr, decay_rate: base_lr * (1 - decay_rate) ** t,
        ),
    },
    "staircase": {
        **_general(_STAIR, "the base lr", "S2"),
        "S8": _row(
            "the drop comes one step late",
            "At t = interval, 2·interval, … the lr has fallen already; yours falls one step later.",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * (max(t - 1, 0) // interval)),
        ),
        "S17": _row(
            "the quotient is not rounded down",
            "t / interval makes the smooth curve of (6.4), slower by the factor interval; t // interval makes stairs.",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * t / interval),
        ),
        "S18": _row(
            "the quotient is rounded, not rounded down",
            "round(t / interval) falls half an interval too early.",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * round(t / interval)),
        ),
        "S162": _row(
            "the quotient is rounded up",
            "math.ceil(t / interval) is 1 from t = 1 on: every stair comes nearly a whole interval too early.",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * math.ceil(t / interval)),
        ),
        "S163": _row(
            "t − 1 is divided, not t",
            "Every stair comes one step late, and at t = 0 the quotient is −1, rounded down: the lr starts above base_lr.",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * ((t - 1) // interval)),
        ),
        "S39": _row(
            "the product is rounded, not the quotient",
            "decay_rate·t // interval rounds decay_rate·t/interval down as a whole: `*` and `//` bind alike, from left to "
            "right. The number of intervals alone is rounded: decay_rate·(t // interval).",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * t // interval),
        ),
        "S40": _row(
            "t is cut to whole intervals, but not divided",
            "interval·(t // interval) counts steps. The formula counts intervals.",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * interval * (t // interval)),
        ),
        "S41": _row(
            "the interval is ignored",
            "That is (6.4), which falls in every step.",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * t),
        ),
        "S32": _row(
            "the divisor is a power",
            "1 / (1 + decay_rate)**k falls exponentially. Here the divisor grows by decay_rate at every stair.",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate) ** (t // interval),
        ),
        "S42": _row(
            "the remainder in place of the quotient",
            "t % interval is how far t is into its stair; t // interval is the number of the stair.",
            _STAIR,
            lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * (t % interval)),
        ),
    },
    "polynomial": {
        **_general(_POLY, "the base lr"),
        "S43": _row(
            "t is not held at total_iters",
            "Beyond total_iters your base 1 − t/total_iters is negative: an even power lets the lr rise again, an odd one "
            "makes it negative, a fraction makes it complex. min(t, total_iters) keeps the end.",
            _POLY,
            lambda t, base_lr, total_iters, power: base_lr * (1 - t / total_iters) ** power,
            coincides="until total_iters",
        ),
        "S44": _row(
            "the power belongs to the bracket",
            "1 − (t/total_iters)**power bends the other way: it stays high and falls late. The whole of 1 − t/total_iters is "
            "raised to the power.",
            _POLY,
            lambda t, base_lr, total_iters, power: base_lr * (1 - (min(t, total_iters) / total_iters) ** power),
            coincides="for power = 1",
        ),
        "S45": _row(
            "the power is ignored",
            "With power = 1 the schedule is linear; other powers bend it.",
            _POLY,
            lambda t, base_lr, total_iters, power: base_lr * (1 - min(t, total_iters) / total_iters),
            lambda t, base_lr, total_iters, power: base_lr * (1 - min(t, total_iters) / total_iters) * power,
            coincides="for power = 1",
        ),
        "S46": _row(
            "the end comes one step early",
            "You divide by total_iters − 1. The lr is 0 at t = total_iters.",
            _POLY,
            lambda t, base_lr, total_iters, power: (
                base_lr * (1 - min(t, total_iters - 1) / max(total_iters - 1, 1)) ** power
            ),
            lambda t, base_lr, total_iters, power: (
                base_lr * (1 - min(t, total_iters) / max(total_iters - 1, 1)) ** power
            ),
            lambda t, base_lr, total_iters, power: base_lr * (1 - t / max(total_iters - 1, 1)) ** power,
        ),
        "S165": _row(
            "the end is never reached",
            "t is held at total_iters − 1, one step before the end, so that the lr stays above 0. Hold it at total_iters.",
            _POLY,
            lambda t, base_lr, total_iters, power: base_lr * (1 - min(t, total_iters - 1) / total_iters) ** power,
            coincides="before total_iters",
        ),
        "S47": _row(
            "the lr starts again after total_iters",
            "t % total_iters makes a saw-tooth. The schedule ends at 0 and stays there.",
            _POLY,
            lambda t, base_lr, total_iters, power: base_lr * (1 - (t % total_iters) / total_iters) ** power,
            coincides="before total_iters",
        ),
        "S48": _row(
            "the lr rises",
            "(t/total_iters)**power goes from 0 to 1. The factor goes from 1 to 0.",
            _POLY,
            lambda t, base_lr, total_iters, power: base_lr * (min(t, total_iters) / total_iters) ** power,
        ),
        "S49": _row(
            "after total_iters the lr is what it was",
            "After the end the lr stays at 0; your function gives the base lr again.",
            _POLY,
            lambda t, base_lr, total_iters, power: (
                base_lr * ((1 - t / total_iters) ** power if t <= total_iters else 1.0)
            ),
            lambda t, base_lr, total_iters, power: (
                base_lr * ((1 - t / total_iters) ** power if t < total_iters else 1.0)
            ),
            coincides="until total_iters",
        ),
        "S30": _row(
            "the base lr is raised to the power as well",
            "The power binds the bracket alone: base_lr * (…)**power.",
            _POLY,
            lambda t, base_lr, total_iters, power: (base_lr * (1 - min(t, total_iters) / total_iters)) ** power,
            coincides="for power = 1",
        ),
    },
    "cosine": {
        **_general(_COS, "the base lr"),
        "S6": _row(
            "the lr stays at its minimum after T_max",
            "You hold t at T_max. torch's CosineAnnealingLR goes on along the cosine and rises again (many other libraries "
            "hold it).",
            _COS,
            lambda t, base_lr, T_max, eta_min: cosine(min(t, T_max), base_lr, T_max, eta_min),
            lambda t, base_lr, T_max, eta_min: cosine(t, base_lr, T_max, eta_min) if t < T_max else eta_min,
            coincides="until T_max",
        ),
        "S50": _row(
            "the lr jumps back after T_max",
            "t % T_max restarts the cosine. That is the next section's schedule; this one swings back without a jump.",
            _COS,
            lambda t, base_lr, T_max, eta_min: cosine(t % T_max, base_lr, T_max, eta_min),
            coincides="before T_max",
        ),
        "S51": _row(
            "eta_min is added on top",
            "The cosine spans base_lr − eta_min, so that the lr starts at base_lr. Yours starts at base_lr + eta_min.",
            _COS,
            lambda t, base_lr, T_max, eta_min: eta_min + base_lr * wave(t / T_max),
            coincides="for eta_min = 0",
        ),
        "S52": _row(
            "eta_min cuts off",
            "max(eta_min, …) leaves the curve as it is and cuts its lower end. eta_min is where the curve ends.",
            _COS,
            lambda t, base_lr, T_max, eta_min: max(eta_min, base_lr * wave(t / T_max)),
            coincides="for eta_min = 0",
        ),
        "S53": _row(
            "eta_min is ignored",
            "The lr falls to eta_min at t = T_max, not to 0.",
            _COS,
            lambda t, base_lr, T_max, eta_min: base_lr * wave(t / T_max),
            coincides="for eta_min = 0",
        ),
        "S54": _row(
            "the half is missing",
            "1 + cos goes from 2 to 0: the lr starts at twice the base lr.",
            _COS,
            lambda t, base_lr, T_max, eta_min: eta_min + (base_lr - eta_min) * 2 * wave(t / T_max),
        ),
        "S55": _row(
            "the 1 is missing",
            "cos goes from 1 to −1 and becomes negative. (1 + cos)/2 goes from 1 to 0.",
            _COS,
            lambda t, base_lr, T_max, eta_min: eta_min + (base_lr - eta_min) * math.cos(math.pi * t / T_max),
            lambda t, base_lr, T_max, eta_min: eta_min + (base_lr - eta_min) * 0.5 * math.cos(math.pi * t / T_max),
        ),
        "S56": _row(
            "a whole period, or a quarter",
            "At t = T_max half a period is over: the argument is π·t/T_max.",
            _COS,
            lambda t, base_lr, T_max, eta_min: cosine(2 * t, base_lr, T_max, eta_min),
            lambda t, base_lr, T_max, eta_min: eta_min + (base_lr - eta_min) * math.cos(math.pi * t / (2 * T_max)),
        ),
        "S46": _row(
            "the end comes one step early",
            "You divide by T_max − 1. The minimum is at t = T_max.",
            _COS,
            lambda t, base_lr, T_max, eta_min: cosine(t, base_lr, max(T_max - 1, 1), eta_min),
        ),
        "S159": _row(
            "π is missing",
            "math.cos(t / T_max) gets from cos 0 to cos 1 until T_max. Half a period is π.",
            _COS,
            lambda t, base_lr, T_max, eta_min: eta_min + (base_lr - eta_min) * (1 + math.cos(t / T_max)) / 2,
        ),
        "S160": _row(
            "the end comes one step late",
            "You divide by T_max + 1. The minimum is at t = T_max.",
            _COS,
            lambda t, base_lr, T_max, eta_min: cosine(t, base_lr, T_max + 1, eta_min),
        ),
        "S57": _row(
            "the cosine takes degrees",
            "math.cos takes radians: half a period is π, not 180.",
            _COS,
            lambda t, base_lr, T_max, eta_min: eta_min + (base_lr - eta_min) * (1 + math.cos(180 * t / T_max)) / 2,
        ),
        "S58": _row(
            "sine in place of cosine, or a minus",
            "(1 − cos)/2 rises from 0 to 1, and a sine starts in the middle. (1 + cos)/2 falls from 1 to 0.",
            _COS,
            lambda t, base_lr, T_max, eta_min: eta_min + (base_lr - eta_min) * (1 - wave(t / T_max)),
            lambda t, base_lr, T_max, eta_min: eta_min + (base_lr - eta_min) * (1 + math.sin(math.pi * t / T_max)) / 2,
        ),
    },
    "restarts": {
        **_general(_RESTART, "the base lr"),
        "S59": _row(
            "T_mult is ignored",
            "Every cycle is T_mult times as long as the one before it.",
            _LENGTH,
            lambda t, base_lr, T_0, T_mult, eta_min: restarts(t, base_lr, T_0, 1, eta_min),
            coincides="for T_mult = 1",
        ),
        "S161": _row(
            "the first cycle is T_mult times too long",
            "The first cycle has T_0 steps, the second T_0·T_mult: the exponent starts at 0.",
            _LENGTH,
            lambda t, base_lr, T_0, T_mult, eta_min: restarts(t, base_lr, T_0 * T_mult, T_mult, eta_min),
            coincides="for T_mult = 1",
        ),
        "S60": _row(
            "no restart",
            "The cosine swings back without a jump: at the end of a cycle the lr starts again from base_lr.",
            _RESTART,
            lambda t, base_lr, T_0, T_mult, eta_min: cosine(t, base_lr, T_0, eta_min),
            lambda t, base_lr, T_0, T_mult, eta_min: cosine(min(t, T_0), base_lr, T_0, eta_min),
        ),
        "S61": _row(
            "each cycle reaches its minimum one step early",
            "You divide by the length minus 1, so that the last step of a cycle has eta_min itself. torch divides by the "
            "length: at what would be the minimum the next cycle has begun, and eta_min is approached and skipped.",
            _RESTART,
            lambda t, base_lr, T_0, T_mult, eta_min: _ends_at_the_minimum(t, base_lr, T_0, T_mult, eta_min),
        ),
        "S62": _row(
            "the restart comes one step late",
            "At t = T_0 the second cycle begins, with base_lr. Yours spends one more step at the minimum: `>` where `>=` is "
            "meant.",
            _RESTART,
            lambda t, base_lr, T_0, T_mult, eta_min: _late_restart(t, base_lr, T_0, T_mult, eta_min),
        ),
        "S63": _row(
            "the cycles grow by T_0",
            "The lengths are T_0, T_0·T_mult, T_0·T_mult², …: each is T_mult times the one before. Yours grow by addition.",
            _LENGTH,
            lambda t, base_lr, T_0, T_mult, eta_min: _restarts_of(
                t, base_lr, eta_min, lambda i: T_0 * (1 + i * (T_mult - 1))
            ),
            lambda t, base_lr, T_0, T_mult, eta_min: _restarts_of(
                t, base_lr, eta_min, lambda i: T_0 * (T_mult * i if i else 1)
            ),
            coincides="for T_mult = 1, or for the first two cycles",
        ),
        "S64": _row(
            "every cycle has T_0 as its length in the cosine",
            "t/T_i takes the length of its own cycle. With T_0 a longer cycle runs through several periods.",
            _RESTART,
            lambda t, base_lr, T_0, T_mult, eta_min: cosine(cycle(t, T_0, T_mult)[0], base_lr, T_0, eta_min),
            coincides="for T_mult = 1",
        ),
        "S65": _row(
            "t is not counted from the restart",
            "Inside the cosine stands the number of steps since the last restart, not t.",
            _RESTART,
            lambda t, base_lr, T_0, T_mult, eta_min: cosine(t, base_lr, cycle(t, T_0, T_mult)[1], eta_min),
        ),
        "S66": _row(
            "a logarithm is rounded down at the wrong place",
            "int(math.log(…, T_mult)) gives 4 where 5 is meant: math.log(243, 3) is 4.999…, so that one of the restarts is "
            "a step late. Subtract whole cycles in a loop: integers are exact.",
            _LENGTH,
            lambda t, base_lr, T_0, T_mult, eta_min: _by_logarithm(t, base_lr, T_0, T_mult, eta_min),
            coincides="wherever the logarithm is not just below a whole number",
        ),
        "S51": _row(
            "eta_min is added on top",
            "The cosine spans base_lr − eta_min, so that each cycle starts at base_lr.",
            _RESTART,
            lambda t, base_lr, T_0, T_mult, eta_min: eta_min + restarts(t, base_lr, T_0, T_mult, 0.0),
            coincides="for eta_min = 0",
        ),
        "S53": _row(
            "eta_min is ignored",
            "Each cycle falls towards eta_min, not towards 0.",
            _RESTART,
            lambda t, base_lr, T_0, T_mult, eta_min: restarts(t, base_lr, T_0, T_mult, 0.0),
            coincides="for eta_min = 0",
        ),
        "S67": _row(
            "each cycle starts lower",
            "T_mult stretches the cycles; their height is base_lr every time.",
            _RESTART,
            lambda t, base_lr, T_0, T_mult, eta_min: _lower_peaks(t, base_lr, T_0, T_mult, eta_min),
            coincides="for T_mult = 1",
        ),
    },
    "cyclic": {
        **_general(_CYCLIC, "the base lr", "S7", "S14"),
        "S68": _row(
            "the way down takes as long as the way up",
            "step_size_down is ignored: the way down has a length of its own.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: cyclic(
                t, base_lr, max_lr, step_size_up, step_size_up
            ),
            coincides="when both are the same",
        ),
        "S166": _row(
            "the cycle has 2·step_size_up steps",
            "A cycle is step_size_up + step_size_down steps long.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: _triangle(
                t % (2 * step_size_up), base_lr, max_lr, step_size_up, step_size_down
            ),
            coincides="when both are the same",
        ),
        "S167": _row(
            "the way down is divided by step_size_up",
            "On the way down the share falls from 1 to 0 in step_size_down steps: that is what divides there.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: _triangle(
                t % (step_size_up + step_size_down), base_lr, max_lr, step_size_up, step_size_up
            ),
            coincides="when both are the same",
        ),
        "S69": _row(
            "up and down are swapped",
            "The first step_size_up steps go up.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: cyclic(
                t, base_lr, max_lr, step_size_down, step_size_up
            ),
            coincides="when both are the same",
        ),
        "S70": _row(
            "the cycle starts at the top",
            "At t = 0 the lr is base_lr, the lower end.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: (
                max_lr + base_lr - cyclic(t, base_lr, max_lr, step_size_up, step_size_down)
            ),
            lambda t, base_lr, max_lr, step_size_up, step_size_down: cyclic(
                t + step_size_up, base_lr, max_lr, step_size_up, step_size_down
            ),
        ),
        "S71": _row(
            "the base lr is added on top",
            "The triangle spans max_lr − base_lr. Yours reaches base_lr + max_lr.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: (
                base_lr + max_lr * cyclic(t, 0.0, 1.0, step_size_up, step_size_down)
            ),
        ),
        "S72": _row(
            "the triangle starts at 0",
            "The lower end is base_lr.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: (
                max_lr * cyclic(t, 0.0, 1.0, step_size_up, step_size_down)
            ),
            lambda t, base_lr, max_lr, step_size_up, step_size_down: (
                (max_lr - base_lr) * cyclic(t, 0.0, 1.0, step_size_up, step_size_down)
            ),
        ),
        "S73": _row(
            "only one cycle",
            "After step_size_up + step_size_down steps the next cycle begins: t % (step_size_up + step_size_down).",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: (
                base_lr
                if t >= step_size_up + step_size_down
                else cyclic(t, base_lr, max_lr, step_size_up, step_size_down)
            ),
            lambda t, base_lr, max_lr, step_size_up, step_size_down: _endless(
                t, base_lr, max_lr, step_size_up, step_size_down
            ),
            coincides="in the first cycle",
        ),
        "S74": _row(
            "a saw: the lr falls at once",
            "After the top the lr comes down over step_size_down steps.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: (
                base_lr + (max_lr - base_lr) * (t % step_size_up) / step_size_up
            ),
            lambda t, base_lr, max_lr, step_size_up, step_size_down: _saw(
                t, base_lr, max_lr, step_size_up, step_size_down
            ),
        ),
        "S75": _row(
            "the cycle is one step too long",
            "A cycle has step_size_up + step_size_down steps: its end is the start of the next.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: _triangle(
                t % (step_size_up + step_size_down + 1), base_lr, max_lr, step_size_up, step_size_down
            ),
            coincides="in the first cycle",
        ),
        "S76": _row(
            "the triangles get lower",
            "That is mode='triangular2'. In the plain one every cycle reaches max_lr.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: (
                base_lr
                + (cyclic(t, base_lr, max_lr, step_size_up, step_size_down) - base_lr)
                / 2 ** (t // (step_size_up + step_size_down))
            ),
            coincides="in the first cycle",
        ),
        "S77": _row(
            "the shape is a cosine",
            "The way between base_lr and max_lr is a straight line.",
            _CYCLIC,
            lambda t, base_lr, max_lr, step_size_up, step_size_down: (
                max_lr - (max_lr - base_lr) * wave(cyclic(t, 0.0, 1.0, step_size_up, step_size_down))
            ),
        ),
    },
    "one_cycle": {
        **_general(_ONE, "max_lr/div_factor", "S7", "S14"),
        "S78": _row(
            "the two −1 are missing",
            "Counted from 0, the last of total_steps steps is total_steps − 1, and the top is at pct_start·total_steps − 1. "
            "Yours reaches both one step later, and the end never.",
            _ONE,
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor / final_div_factor),
                *(pct_start * total_steps, total_steps),
            ),
        ),
        "S79": _row(
            "only one of the two −1",
            "Both the top, pct_start·total_steps − 1, and the end, total_steps − 1, are counted from 0.",
            _ONE,
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor / final_div_factor),
                *(pct_start * total_steps, total_steps - 1),
            ),
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor / final_div_factor),
                *(pct_start * total_steps - 1, total_steps),
            ),
        ),
        "S80": _row(
            "the last lr is max_lr/final_div_factor",
            "final_div_factor divides the first lr, not the largest: the end is max_lr/(div_factor·final_div_factor).",
            _ONE,
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / final_div_factor),
                *(pct_start * total_steps - 1, total_steps - 1),
            ),
        ),
        "S81": _row(
            "the lines are straight",
            "Both ways follow half a cosine (torch's anneal_strategy='cos', the default).",
            _ONE,
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor / final_div_factor),
                *(pct_start * total_steps - 1, total_steps - 1, lambda x: 1 - x),
            ),
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor / final_div_factor),
                *(pct_start * total_steps - 1, total_steps - 1),
                (lambda x: 1 - x) if t <= pct_start * total_steps - 1 else wave,
            ),
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor / final_div_factor),
                *(pct_start * total_steps - 1, total_steps - 1),
                wave if t <= pct_start * total_steps - 1 else (lambda x: 1 - x),
            ),
        ),
        "S82": _row(
            "the cycle starts at 0",
            "The first lr is max_lr/div_factor.",
            _ONE,
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, 0.0, max_lr / div_factor / final_div_factor),
                *(pct_start * total_steps - 1, total_steps - 1),
            ),
        ),
        "S83": _row(
            "the cycle ends where it began",
            "The last lr is the first one divided by final_div_factor once more.",
            _ONE,
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor),
                *(pct_start * total_steps - 1, total_steps - 1),
            ),
        ),
        "S84": _row(
            "the cycle ends at 0",
            "The last lr is max_lr/(div_factor·final_div_factor), small and not 0.",
            _ONE,
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, 0.0),
                *(pct_start * total_steps - 1, total_steps - 1),
            ),
        ),
        "S85": _row(
            "pct_start is the share of the way down",
            "The first pct_start of the steps go up.",
            _ONE,
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor / final_div_factor),
                *((1 - pct_start) * total_steps - 1, total_steps - 1),
            ),
            coincides="for pct_start = 0.5",
        ),
        "S86": _row(
            "the top is rounded to a whole step",
            "pct_start·total_steps − 1 need not be whole: the top may lie between two steps.",
            _ONE,
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor / final_div_factor),
                *(int(pct_start * total_steps) - 1, total_steps - 1),
            ),
            lambda t, max_lr, total_steps, pct_start, div_factor, final_div_factor: up_and_down(
                *(t, max_lr, max_lr / div_factor, max_lr / div_factor / final_div_factor),
                *(round(pct_start * total_steps) - 1, total_steps - 1),
            ),
            coincides="when it is whole",
        ),
    },
    "warmup_cosine": {
        **_general(_WARM, "start_factor·base_lr"),
        "S4": _row(
            "the warmup starts at 0",
            "t/warmup is 0 at t = 0: the first step is lost. The line starts at start_factor.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: warmup_cosine(t, base_lr, warmup, total, 0.0),
        ),
        "S87": _row(
            "(t + 1)/warmup in place of start_factor",
            "That warmup does not start at 0 either, and it is at the top one step before t = warmup. Here start_factor "
            "says where the line starts.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * (t + 1) / warmup if t < warmup else warmup_cosine(t, base_lr, warmup, total, 1.0)
            ),
        ),
        "S168": _row(
            "start_factor cuts off",
            "max(start_factor, t/warmup) stays at start_factor and joins a line from 0. Here the line itself starts there.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * max(start_factor, t / warmup) if t < warmup else warmup_cosine(t, base_lr, warmup, total, 1.0)
            ),
        ),
        "S169": _row(
            "the warmup begins one step further up",
            "With t + 1 the lr at t = 0 is above start_factor·base_lr, and the top comes at t = warmup − 1.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * warmup_factor(t + 1, warmup, start_factor)
                if t < warmup
                else warmup_cosine(t, base_lr, warmup, total, 1.0)
            ),
        ),
        "S5": _row(
            "the warmup is not taken off the cosine's length",
            "After the warmup total − warmup steps are left for the cosine. With T_max = total the lr is not yet 0 at the "
            "end.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: warmup_cosine(
                t, base_lr, warmup, total + warmup, start_factor
            ),
        ),
        "S88": _row(
            "the cosine started during the warmup",
            "At the hand-over the lr jumps down: the cosine counts its steps from t = warmup, not from 0.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * (warmup_factor(t, warmup, start_factor) if t < warmup else wave(t / total))
            ),
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * (warmup_factor(t, warmup, start_factor) if t < warmup else wave(t / (total - warmup)))
            ),
        ),
        "S89": _row(
            "warmup and cosine multiply",
            "During the warmup the lr is the line alone; the cosine begins when it is over.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * warmup_factor(min(t, warmup), warmup, start_factor) * wave(t / total)
            ),
        ),
        "S90": _row(
            "start_factor is added on top",
            "The line spans 1 − start_factor, so that it ends at 1. Yours overshoots by start_factor.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * (start_factor + t / warmup) if t < warmup else warmup_cosine(t, base_lr, warmup, total, 1.0)
            ),
        ),
        "S91": _row(
            "the top is reached one step early",
            "You divide by warmup − 1. The top is at t = warmup, the cosine's first step.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * warmup_factor(t, max(warmup - 1, 1), start_factor)
                if t < warmup
                else warmup_cosine(t, base_lr, warmup, total, 1.0)
            ),
        ),
        "S6": _row(
            "the lr stays at 0 after total",
            "You hold t at total. As torch's CosineAnnealingLR, which this is made of, the lr rises again.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: warmup_cosine(
                min(t, total), base_lr, warmup, total, start_factor
            ),
            coincides="until total",
        ),
        "S92": _row(
            "start_factor all the way",
            "In the warmup the factor grows from start_factor to 1; yours stays where it starts.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * start_factor if t < warmup else warmup_cosine(t, base_lr, warmup, total, 1.0)
            ),
        ),
        "S93": _row(
            "no warmup",
            "The lr is the base lr from the first step on.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: base_lr * wave(t / total),
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr if t < warmup else warmup_cosine(t, base_lr, warmup, total, 1.0)
            ),
        ),
        "S99": _row(
            "the decay ends at start_factor",
            "start_factor belongs to the warmup. The cosine ends at 0.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                warmup_cosine(t, base_lr, warmup, total, start_factor)
                if t < warmup
                else cosine(t - warmup, base_lr, total - warmup, start_factor * base_lr)
            ),
        ),
        "S94": _row(
            "the warmup's factor is a power",
            "start_factor**(1 − t/warmup) grows by the same factor in each step. LinearLR adds the same amount.",
            _WARM,
            lambda t, base_lr, warmup, total, start_factor: (
                base_lr * start_factor ** (1 - t / warmup)
                if t < warmup
                else warmup_cosine(t, base_lr, warmup, total, 1.0)
            ),
        ),
    },
    "wsd": {
        **_general(_WSD, "start_factor·base_lr", "S7"),
        "S4": _row(
            "the warmup starts at 0",
            "t/warmup is 0 at t = 0: the first step is lost. The line starts at start_factor.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: wsd(t, base_lr, warmup, stable, decay, 0.0),
        ),
        "S87": _row(
            "(t + 1)/warmup in place of start_factor",
            "That warmup is at the top one step before t = warmup. Here start_factor says where the line starts.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: (
                base_lr * (t + 1) / warmup if t < warmup else wsd(t, base_lr, warmup, stable, decay, 1.0)
            ),
        ),
        "S95": _row(
            "the lr is negative after the end",
            "After warmup + stable + decay steps the lr stays at 0; your line goes on.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: (
                base_lr * (1 - (t - warmup - stable) / decay)
                if t >= warmup + stable
                else wsd(t, base_lr, warmup, stable, decay, start_factor)
            ),
            coincides="until the end",
        ),
        "S170": _row(
            "the decay comes one step late",
            "At t = warmup + stable the way down begins with the factor 1, and one step later it is 1 − 1/decay. Yours is at "
            "the top for a step more.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: wsd(
                t, base_lr, warmup, stable + 1, decay, start_factor
            ),
            lambda t, base_lr, warmup, stable, decay, start_factor: (
                wsd(t, base_lr, warmup, stable + 1, decay, start_factor) if t < warmup + stable + decay else 0.0
            ),
        ),
        "S96": _row(
            "the decay starts at stable, not at warmup + stable",
            "stable is how long the top lasts, counted from the end of the warmup.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: wsd(
                t, base_lr, warmup, max(stable - warmup, 0), decay, start_factor
            ),
        ),
        "S97": _row(
            "the decay ends at t = decay",
            "decay is the number of steps of the way down, not the step at which it ends.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: wsd(
                t, base_lr, warmup, stable, max(decay - warmup - stable, 1), start_factor
            ),
        ),
        "S98": _row(
            "the way down is a cosine",
            "The last piece is a straight line: LinearLR from 1 to 0.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: (
                base_lr * wave(min((t - warmup - stable) / decay, 1.0))
                if t >= warmup + stable
                else wsd(t, base_lr, warmup, stable, decay, start_factor)
            ),
        ),
        "S90": _row(
            "start_factor is added on top",
            "The line spans 1 − start_factor, so that it ends at 1. Yours overshoots by start_factor.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: (
                base_lr * (start_factor + t / warmup) if t < warmup else wsd(t, base_lr, warmup, stable, decay, 1.0)
            ),
        ),
        "S91": _row(
            "the top is reached one step early",
            "You divide by warmup − 1. The top is at t = warmup.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: (
                base_lr * warmup_factor(t, max(warmup - 1, 1), start_factor)
                if t < warmup
                else wsd(t, base_lr, warmup, stable, decay, 1.0)
            ),
        ),
        "S99": _row(
            "the decay ends at start_factor",
            "start_factor belongs to the warmup. The decay ends at 0.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: (
                base_lr * (1 - (1 - start_factor) * min(t - warmup - stable, decay) / decay)
                if t >= warmup + stable
                else wsd(t, base_lr, warmup, stable, decay, start_factor)
            ),
        ),
        "S100": _row(
            "after the end the lr is the top's again",
            "After the decay the lr stays at 0; your function falls through to the stable part.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: (
                base_lr if t >= warmup + stable + decay else wsd(t, base_lr, warmup, stable, decay, start_factor)
            ),
            coincides="until the end",
        ),
        "S93": _row(
            "no warmup",
            "The lr is the base lr from the first step on.",
            _WSD,
            lambda t, base_lr, warmup, stable, decay, start_factor: wsd(t, base_lr, warmup, stable, decay, 1.0),
        ),
    },
}


# --- what some rows need --------------------------------------------------------------------------------------------


def _reached(t: int, milestones: Numbers) -> int:
    return sum(m <= t for m in milestones)


def _until_the_first_ahead(t: int, milestones: Numbers) -> int:
    for count, m in enumerate(milestones):
        if m > t:
            return count
    return len(milestones)


def _restarts_of(t: int, base_lr: float, eta_min: float, length_of: Callable[[int], int]) -> float:
    i = 0
    while t >= length_of(i):
        t, i = t - length_of(i), i + 1
    return cosine(t, base_lr, length_of(i), eta_min)


def _ends_at_the_minimum(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    into, length = cycle(t, T_0, T_mult)
    return cosine(into, base_lr, max(length - 1, 1), eta_min)


def _late_restart(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    length = T_0
    while t > length:
        t, length = t - length, length * T_mult
    return cosine(t, base_lr, length, eta_min)


def _lower_peaks(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    into, length = cycle(t, T_0, T_mult)
    return cosine(into, base_lr * T_0 / length, length, eta_min)


def _by_logarithm(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    if T_mult == 1:
        return restarts(t, base_lr, T_0, T_mult, eta_min)
    n = int(math.log(t / T_0 * (T_mult - 1) + 1, T_mult))
    into = t - T_0 * (T_mult**n - 1) // (T_mult - 1)
    return cosine(into, base_lr, T_0 * T_mult**n, eta_min)


def _triangle(into: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    """The triangle at `into` steps after its start."""
    share = into / step_size_up if into <= step_size_up else 1 - (into - step_size_up) / step_size_down
    return base_lr + (max_lr - base_lr) * share


def _endless(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    return _triangle(t, base_lr, max_lr, step_size_up, step_size_down)


def _saw(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    into = t % (step_size_up + step_size_down)
    return base_lr + (max_lr - base_lr) * (into / step_size_up if into <= step_size_up else 0.0)
