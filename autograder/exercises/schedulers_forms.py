"""The twelve closed forms of `06_schedulers`: cases, torch's schedulers as references, misconceptions, hints and points."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler

from autograder.exercise import Case, CodeExercise
from autograder.misconceptions import recognise, schedules
from autograder.misconceptions.schedule_rows import ROWS
from autograder.probes import generator, rounded

NOTEBOOK = "06_schedulers"
VISIBLE_SEED = 6

#: What the exercises of this notebook have their students write, one by one, and the base class that does half of it.
FORBIDDEN = (
    *(
        f"torch.optim.lr_scheduler.{name}"
        for name in (
            *("LRScheduler", "_LRScheduler", "LambdaLR", "MultiplicativeLR", "StepLR", "MultiStepLR", "ConstantLR"),
            *("LinearLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR", "ChainedScheduler", "SequentialLR"),
            *("ReduceLROnPlateau", "CyclicLR", "CosineAnnealingWarmRestarts", "OneCycleLR"),
        )
    ),
    "torch.optim.swa_utils.SWALR",
)

Values = Mapping[str, Any]
#: (title, group, values, last t)
Drawn = tuple[str, str, Values, int]
Generator = np.random.Generator
Scheduler = lr_scheduler.LRScheduler

# --- torch's schedulers, stepped from the start ---------------------------------------------------------------------

#: The other group's base lr over the one that is looked at.
OTHER = 3.0


def _pair(lr: float) -> list[float]:
    return [OTHER * lr, lr]


def _warmup_cosine(
    opt: torch.optim.Optimizer, base_lr: float, warmup: int, total: int, start_factor: float
) -> Scheduler:
    parts: list[Scheduler] = [
        lr_scheduler.LinearLR(opt, start_factor=start_factor, total_iters=warmup),
        lr_scheduler.CosineAnnealingLR(opt, T_max=total - warmup),
    ]
    return lr_scheduler.SequentialLR(opt, parts, milestones=[warmup])


def _wsd(
    opt: torch.optim.Optimizer, base_lr: float, warmup: int, stable: int, decay: int, start_factor: float
) -> Scheduler:
    parts: list[Scheduler] = [
        lr_scheduler.LinearLR(opt, start_factor=start_factor, total_iters=warmup),
        lr_scheduler.ConstantLR(opt, factor=1.0, total_iters=stable),
        lr_scheduler.LinearLR(opt, start_factor=1.0, end_factor=0.0, total_iters=decay),
    ]
    return lr_scheduler.SequentialLR(opt, parts, milestones=[warmup, warmup + stable])


#: Name → what torch has: (optimizer, *values) → scheduler.
TORCH: dict[str, Callable[..., Scheduler]] = {
    "step": lambda opt, base_lr, **values: lr_scheduler.StepLR(opt, **values),
    "multistep": lambda opt, base_lr, **values: lr_scheduler.MultiStepLR(opt, **values),
    "exponential": lambda opt, base_lr, gamma: lr_scheduler.ExponentialLR(opt, gamma),
    "inverse_time": lambda opt, base_lr, decay_rate: lr_scheduler.LambdaLR(opt, lambda t: 1 / (1 + decay_rate * t)),
    "staircase": lambda opt, base_lr, decay_rate, interval: lr_scheduler.LambdaLR(
        opt, lambda t: 1 / (1 + decay_rate * (t // interval))
    ),
    "polynomial": lambda opt, base_lr, **values: lr_scheduler.PolynomialLR(opt, **values),
    "cosine": lambda opt, base_lr, **values: lr_scheduler.CosineAnnealingLR(opt, **values),
    "restarts": lambda opt, base_lr, **values: lr_scheduler.CosineAnnealingWarmRestarts(opt, **values),
    "cyclic": lambda opt, base_lr, max_lr, **values: lr_scheduler.CyclicLR(
        opt, _pair(base_lr), _pair(max_lr), **values, cycle_momentum=False
    ),
    "one_cycle": lambda opt, max_lr, **values: lr_scheduler.OneCycleLR(
        opt, _pair(max_lr), **values, cycle_momentum=False
    ),
    "warmup_cosine": _warmup_cosine,
    "wsd": _wsd,
}


def with_torch(name: str, steps: int, values: Values) -> list[list[float]]:
    """What torch's scheduler sets while it is stepped: for each group the lrs at t = 0, 1, …, steps."""
    first = next(iter(values.values()))
    groups = [{"params": [torch.nn.Parameter(torch.zeros(()))], "lr": lr} for lr in _pair(first)]
    opt = torch.optim.SGD(groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the lr is all that is wanted: nobody trains
        scheduler = TORCH[name](opt, **values)
        rows = [[group["lr"] for group in opt.param_groups]]
        for _ in range(steps):
            scheduler.step()
            rows.append([group["lr"] for group in opt.param_groups])
    return [list(column) for column in zip(*rows, strict=True)]


@lru_cache(maxsize=512)
def _stepped(name: str, steps: int, values: tuple[tuple[str, Any], ...]) -> list[float]:
    """The second group's."""
    there = {key: list(value) if isinstance(value, tuple) else value for key, value in values}
    return with_torch(name, steps, there)[1]


def _reference(name: str, steps: int) -> Callable[..., float]:
    """torch's scheduler as a function of t: all lrs are made at the first call."""
    arguments = ARGUMENTS[name]

    def lr(t: int, *given: Any, **named: Any) -> float:
        values = {**dict(zip(arguments, given, strict=False)), **named}
        key = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in values.items())
        last = values["total_steps"] - 1 if name == "one_cycle" else steps
        return _stepped(name, last, key)[t]

    return lr


# --- cases ----------------------------------------------------------------------------------------------------------

#: Last t of a short case, and of the long ones.
SHORT, LONG = 60, 300


@dataclass(frozen=True)
class Form:
    """One closed form: its cases by group, each with its values and its last t; `drawn` makes hidden values like those."""

    visible: tuple[Drawn, ...]
    drawn: Callable[[Generator], Sequence[Drawn]]


def _case(name: str, title: str, group: str, values: Values, last: int, *, hidden: bool, number: int) -> Case:
    ts = generator([VISIBLE_SEED, number]).permutation(last + 1).tolist()
    inputs = {"name": name, "values": dict(values), "ts": ts, "keywords": number % 2 == 1}
    return Case(title, group, "schedule_values", inputs, hidden=hidden)


def _cases(name: str, form: Form, seed: int | None) -> tuple[Case, ...]:
    chosen = form.visible if seed is None else form.drawn(generator(seed))
    return tuple(
        _case(name, title, group, values, last, hidden=seed is not None, number=number)
        for number, (title, group, values, last) in enumerate(chosen)
    )


def _lr(rng: Generator) -> float:
    return rounded(float(10 ** rng.uniform(-2.0, -0.3)))


def _unlike_half(rng: Generator) -> float:
    """A gamma that 1 − gamma is not near."""
    return rounded(rng.uniform(0.55, 0.9) if rng.uniform() < 0.5 else rng.uniform(0.1, 0.4))


def _step_drawn(rng: Generator) -> Sequence[Drawn]:
    plain: list[Drawn] = [
        ("other numbers", "schedule", {"base_lr": _lr(rng), "step_size": int(rng.integers(5, 12)), "gamma": g}, SHORT)
        for g in (_unlike_half(rng), _unlike_half(rng))
    ]
    return [
        *plain,
        ("every step", "edges", {"base_lr": _lr(rng), "step_size": 1, "gamma": rounded(rng.uniform(0.8, 0.95))}, SHORT),
        ("gamma above 1", "edges", {"base_lr": _lr(rng), "step_size": int(rng.integers(40, 80)), "gamma": 1.3}, LONG),
    ]


def _multistep_drawn(rng: Generator) -> Sequence[Drawn]:
    def milestones(count: int) -> list[int]:
        return sorted(int(m) for m in rng.choice(np.arange(3, SHORT - 3), count, replace=False))

    plain, repeated, mixed = milestones(4), milestones(3), milestones(4)
    return [
        ("other numbers", "schedule", {"base_lr": _lr(rng), "milestones": plain, "gamma": _unlike_half(rng)}, SHORT),
        (
            "a repeated milestone",
            "repeated and unsorted",
            {"base_lr": _lr(rng), "milestones": [repeated[0], repeated[1], repeated[1], repeated[2]], "gamma": 0.7},
            SHORT,
        ),
        (
            "unsorted milestones",
            "repeated and unsorted",
            {"base_lr": _lr(rng), "milestones": [mixed[2], mixed[0], mixed[3], mixed[1]], "gamma": 0.6},
            SHORT,
        ),
        (
            "no milestone, and one at 300",
            "repeated and unsorted",
            {"base_lr": 0.1, "milestones": [300], "gamma": 0.3},
            LONG,
        ),
    ]


def _exponential_drawn(rng: Generator) -> Sequence[Drawn]:
    return [
        ("other numbers", "schedule", {"base_lr": _lr(rng), "gamma": rounded(rng.uniform(0.75, 0.97))}, SHORT),
        ("a fast decay", "schedule", {"base_lr": _lr(rng), "gamma": rounded(rng.uniform(0.3, 0.45))}, SHORT),
        ("300 steps", "long runs", {"base_lr": _lr(rng), "gamma": rounded(rng.uniform(0.98, 0.995))}, LONG),
        ("gamma above 1", "long runs", {"base_lr": 1e-5, "gamma": rounded(rng.uniform(1.02, 1.04))}, LONG),
    ]


def _inverse_drawn(rng: Generator) -> Sequence[Drawn]:
    return [
        ("other numbers", "schedule", {"base_lr": _lr(rng), "decay_rate": rounded(rng.uniform(0.05, 0.3))}, SHORT),
        ("300 steps", "long runs", {"base_lr": _lr(rng), "decay_rate": rounded(rng.uniform(0.01, 0.03))}, LONG),
        ("a rate above 1", "long runs", {"base_lr": _lr(rng), "decay_rate": rounded(rng.uniform(1.5, 4.0))}, LONG),
    ]


def _staircase_drawn(rng: Generator) -> Sequence[Drawn]:
    plain: list[Drawn] = [
        (
            "other numbers",
            "schedule",
            {"base_lr": _lr(rng), "decay_rate": rounded(rate), "interval": int(rng.integers(5, 12))},
            SHORT,
        )
        for rate in (rng.uniform(0.2, 0.45), rng.uniform(0.55, 0.9))
    ]
    return [
        *plain,
        ("an interval of 1", "edges", {"base_lr": _lr(rng), "decay_rate": 0.3, "interval": 1}, SHORT),
        ("300 steps", "edges", {"base_lr": _lr(rng), "decay_rate": 1.7, "interval": int(rng.integers(30, 50))}, LONG),
    ]


def _polynomial_drawn(rng: Generator) -> Sequence[Drawn]:
    total = int(rng.integers(30, 50))
    return [
        ("power 2", "schedule", {"base_lr": _lr(rng), "total_iters": total, "power": 2.0}, total),
        ("a fraction", "schedule", {"base_lr": _lr(rng), "total_iters": total + 7, "power": 0.7}, total + 7),
        ("a line", "schedule", {"base_lr": _lr(rng), "total_iters": total + 3, "power": 1.0}, total + 3),
        ("beyond the end, power 2", "beyond the end", {"base_lr": _lr(rng), "total_iters": total, "power": 2.0}, LONG),
        ("beyond the end, a fraction", "beyond the end", {"base_lr": 0.1, "total_iters": total, "power": 1.5}, LONG),
    ]


def _cosine_drawn(rng: Generator) -> Sequence[Drawn]:
    T_max, lr = int(rng.integers(30, 50)), _lr(rng)
    return [
        ("to 0", "schedule", {"base_lr": _lr(rng), "T_max": T_max, "eta_min": 0.0}, T_max),
        ("with eta_min", "eta_min", {"base_lr": lr, "T_max": T_max, "eta_min": rounded(lr / 7)}, T_max),
        ("beyond T_max", "beyond T_max", {"base_lr": lr, "T_max": T_max + 3, "eta_min": rounded(lr / 9)}, LONG),
        ("T_max = 1", "beyond T_max", {"base_lr": lr, "T_max": 1, "eta_min": rounded(lr / 5)}, 9),
    ]


def _restarts_drawn(rng: Generator) -> Sequence[Drawn]:
    lr, T_0 = _lr(rng), int(rng.integers(7, 12))
    low = rounded(lr / 8)
    return [
        ("equal cycles", "schedule", {"base_lr": lr, "T_0": T_0, "T_mult": 1, "eta_min": low}, SHORT),
        ("cycles that double", "longer cycles", {"base_lr": lr, "T_0": T_0, "T_mult": 2, "eta_min": low}, LONG),
        ("cycles that triple, from 2", "longer cycles", {"base_lr": lr, "T_0": 2, "T_mult": 3, "eta_min": low}, LONG),
    ]


def _cyclic_drawn(rng: Generator) -> Sequence[Drawn]:
    low, up = _lr(rng), int(rng.integers(8, 14))
    high = rounded(low * rng.uniform(3, 8))
    return [
        ("a symmetric triangle", "schedule", _cyclic_values(low, high, up, up), SHORT),
        ("a steep way down", "two lengths", _cyclic_values(low, high, 2 * up, up // 3), LONG),
        ("a steep way up", "two lengths", _cyclic_values(low, high, up // 3, up), SHORT),
    ]


def _cyclic_values(base_lr: float, max_lr: float, up: int, down: int) -> Values:
    return {"base_lr": base_lr, "max_lr": max_lr, "step_size_up": up, "step_size_down": down}


def _one_cycle_drawn(rng: Generator) -> Sequence[Drawn]:
    lr = _lr(rng)
    chosen = [
        ("a short one", "schedule", 50, 0.3, 25.0, 10.0),
        ("a late top", "schedule", int(rng.integers(50, 70)), rounded(rng.uniform(0.55, 0.7)), 8.0, 20.0),
        ("300 steps", "other settings", 300, rounded(rng.uniform(0.2, 0.4)), rounded(rng.uniform(5, 20)), 50.0),
        ("between two steps", "other settings", int(rng.integers(310, 330)), 0.247, 10.0, 1e4),
    ]
    return [
        (title, group, _one_cycle_values(lr, total, share, div, final), total - 1)
        for title, group, total, share, div, final in chosen
    ]


def _one_cycle_values(max_lr: float, total: int, share: float, div: float, final: float) -> Values:
    return {
        "max_lr": max_lr,
        "total_steps": total,
        "pct_start": share,
        "div_factor": div,
        "final_div_factor": final,
    }


def _warmup_drawn(rng: Generator) -> Sequence[Drawn]:
    warmup, total = int(rng.integers(8, 14)), int(rng.integers(45, 60))
    factor = rounded(rng.uniform(0.05, 0.3))
    return [
        ("until total", "schedule", _warmup_values(_lr(rng), warmup, total, factor), total),
        ("300 steps", "other lengths", _warmup_values(_lr(rng), 5 * warmup, LONG, rounded(factor / 3)), LONG),
        ("a warmup of one step", "other lengths", _warmup_values(_lr(rng), 1, total, factor), total),
        ("beyond total", "other lengths", _warmup_values(_lr(rng), warmup, total, 0.5), 2 * total),
    ]


def _warmup_values(base_lr: float, warmup: int, total: int, start_factor: float) -> Values:
    return {"base_lr": base_lr, "warmup": warmup, "total": total, "start_factor": start_factor}


def _wsd_drawn(rng: Generator) -> Sequence[Drawn]:
    warmup, stable, decay = (int(n) for n in (rng.integers(7, 12), rng.integers(20, 26), rng.integers(13, 18)))
    factor = rounded(rng.uniform(0.05, 0.3))
    return [
        ("until the end", "schedule", _wsd_values(_lr(rng), warmup, stable, decay, factor), warmup + stable + decay),
        ("nothing stable", "other lengths", _wsd_values(_lr(rng), warmup, 0, decay, factor), SHORT),
        ("300 steps", "other lengths", _wsd_values(_lr(rng), 4 * warmup, 5 * stable, 5 * decay, 0.01), LONG),
        ("beyond the end", "other lengths", _wsd_values(_lr(rng), warmup, stable, decay, 0.5), 90),
    ]


def _wsd_values(base_lr: float, warmup: int, stable: int, decay: int, start_factor: float) -> Values:
    return {"base_lr": base_lr, "warmup": warmup, "stable": stable, "decay": decay, "start_factor": start_factor}


FORMS: dict[str, Form] = {
    "step": Form(
        (
            ("steps of 20", "schedule", {"base_lr": 0.1, "step_size": 20, "gamma": 0.3}, SHORT),
            ("every step", "edges", {"base_lr": 0.5, "step_size": 1, "gamma": 0.9}, SHORT),
            ("gamma above 1", "edges", {"base_lr": 0.01, "step_size": 60, "gamma": 1.2}, LONG),
        ),
        _step_drawn,
    ),
    "multistep": Form(
        (
            ("three milestones", "schedule", {"base_lr": 0.1, "milestones": [12, 30, 45], "gamma": 0.3}, SHORT),
            (
                "a repeated milestone",
                "repeated and unsorted",
                {"base_lr": 0.2, "milestones": [20, 40, 40], "gamma": 0.6},
                SHORT,
            ),
            (
                "unsorted milestones",
                "repeated and unsorted",
                {"base_lr": 0.05, "milestones": [40, 10, 25], "gamma": 0.7},
                SHORT,
            ),
        ),
        _multistep_drawn,
    ),
    "exponential": Form(
        (
            ("gamma = 0.9", "schedule", {"base_lr": 0.1, "gamma": 0.9}, SHORT),
            ("gamma = 0.4", "schedule", {"base_lr": 0.3, "gamma": 0.4}, SHORT),
            ("300 steps", "long runs", {"base_lr": 0.02, "gamma": 0.99}, LONG),
        ),
        _exponential_drawn,
    ),
    "inverse_time": Form(
        (
            ("rate 0.1", "schedule", {"base_lr": 0.1, "decay_rate": 0.1}, SHORT),
            ("300 steps at rate 2", "long runs", {"base_lr": 0.3, "decay_rate": 2.0}, LONG),
        ),
        _inverse_drawn,
    ),
    "staircase": Form(
        (
            ("stairs of 10", "schedule", {"base_lr": 0.1, "decay_rate": 0.3, "interval": 10}, SHORT),
            ("an interval of 1", "edges", {"base_lr": 0.2, "decay_rate": 0.7, "interval": 1}, SHORT),
            ("300 steps", "edges", {"base_lr": 0.05, "decay_rate": 1.5, "interval": 40}, LONG),
        ),
        _staircase_drawn,
    ),
    "polynomial": Form(
        (
            ("power 2", "schedule", {"base_lr": 0.1, "total_iters": 50, "power": 2.0}, 50),
            ("power 0.5", "schedule", {"base_lr": 0.3, "total_iters": 40, "power": 0.5}, 40),
            ("beyond the end", "beyond the end", {"base_lr": 0.1, "total_iters": 50, "power": 2.0}, LONG),
        ),
        _polynomial_drawn,
    ),
    "cosine": Form(
        (
            ("to 0", "schedule", {"base_lr": 0.1, "T_max": 50, "eta_min": 0.0}, 50),
            ("with eta_min", "eta_min", {"base_lr": 0.3, "T_max": 40, "eta_min": 0.05}, 40),
            ("beyond T_max", "beyond T_max", {"base_lr": 0.1, "T_max": 50, "eta_min": 0.01}, LONG),
        ),
        _cosine_drawn,
    ),
    "restarts": Form(
        (
            ("equal cycles", "schedule", {"base_lr": 0.1, "T_0": 15, "T_mult": 1, "eta_min": 0.01}, SHORT),
            ("cycles that double", "longer cycles", {"base_lr": 0.1, "T_0": 10, "T_mult": 2, "eta_min": 0.0}, LONG),
            ("cycles that triple", "longer cycles", {"base_lr": 0.2, "T_0": 2, "T_mult": 3, "eta_min": 0.02}, LONG),
        ),
        _restarts_drawn,
    ),
    "cyclic": Form(
        (
            ("a symmetric triangle", "schedule", _cyclic_values(0.01, 0.1, 10, 10), SHORT),
            ("two lengths", "two lengths", _cyclic_values(0.02, 0.1, 20, 6), LONG),
        ),
        _cyclic_drawn,
    ),
    "one_cycle": Form(
        (
            ("60 steps", "schedule", _one_cycle_values(0.1, 60, 0.3, 25.0, 10.0), 59),
            ("a late top", "schedule", _one_cycle_values(0.3, 50, 0.6, 10.0, 20.0), 49),
            ("300 steps, the top between two", "other settings", _one_cycle_values(0.1, 300, 0.247, 8.0, 50.0), 299),
        ),
        _one_cycle_drawn,
    ),
    "warmup_cosine": Form(
        (
            ("until total", "schedule", _warmup_values(0.1, 10, 60, 0.1), 60),
            ("300 steps", "other lengths", _warmup_values(0.3, 40, 300, 0.01), LONG),
            ("beyond total", "other lengths", _warmup_values(0.1, 10, 50, 0.5), 100),
        ),
        _warmup_drawn,
    ),
    "wsd": Form(
        (
            ("until the end", "schedule", _wsd_values(0.1, 10, 30, 20, 0.1), 60),
            ("nothing stable", "other lengths", _wsd_values(0.3, 12, 0, 30, 0.2), SHORT),
            ("beyond the end", "other lengths", _wsd_values(0.1, 10, 30, 20, 0.5), 90),
        ),
        _wsd_drawn,
    ),
}

#: Names of the arguments after t, in order.
ARGUMENTS = {name: tuple(form.visible[0][2]) for name, form in FORMS.items()}


def _exercise(
    name: str, title: str, points: Mapping[str, float], minutes: int, compares: str, *hints: str, difficulty: Any = 1
) -> CodeExercise:
    form, rows = FORMS[name], ROWS[name]

    def build(faults: Mapping[str, Any]) -> tuple[Any, ...]:
        return (schedules.function(name, faults),)

    vague, nearer, nearest = hints
    return CodeExercise(
        f"schedule.{name}",
        title,
        "schedule",
        NOTEBOOK,
        points,
        difficulty=difficulty,
        minutes=minutes,
        objects=(name,),
        visible=partial(_cases, name, form, None),
        draw_cases=partial(_cases, name, form),
        reference=lambda: (_reference(name, LONG),),
        compares=f"the lr at every t with {compares}, stepped from the start on an optimizer with two groups",
        misconceptions=recognise(rows, rows, build),
        combine=build,
        hints=(vague, nearer, nearest),
        forbidden=FORBIDDEN,
    )


STEP = _exercise(
    "step",
    "Stairs",
    {"schedule": 1.0, "edges": 0.5},
    5,
    "StepLR",
    "How many drops have there been when t steps are over?",
    "t // step_size counts the drops, and each multiplies the lr by gamma.",
    "base_lr * gamma ** (t // step_size).",
)
MULTISTEP = _exercise(
    "multistep",
    "Stairs where you want them",
    {"schedule": 1.0, "repeated and unsorted": 0.5},
    5,
    "MultiStepLR",
    "Count the milestones that have been reached.",
    "At t = milestone the lr has fallen already, so m <= t counts. The list need not be sorted, and a milestone may stand "
    "in it twice.",
    "base_lr * gamma ** sum(m <= t for m in milestones).",
)
EXPONENTIAL = _exercise(
    "exponential",
    "The same fraction in every step",
    {"schedule": 1.0, "long runs": 0.5},
    3,
    "ExponentialLR",
    "After one step gamma is left of the lr, after two gamma².",
    "Multiply the base lr by gamma, t times.",
    "base_lr * gamma**t.",
)
INVERSE_TIME = _exercise(
    "inverse_time",
    "One over the time",
    {"schedule": 1.0, "long runs": 0.5},
    3,
    "LambdaLR",
    "The divisor grows along a line.",
    "The divisor is 1 at t = 0 and grows by decay_rate in each step. It divides the base lr, not the last one.",
    "base_lr / (1 + decay_rate * t).",
)
STAIRCASE = _exercise(
    "staircase",
    "One over the number of intervals",
    {"schedule": 1.0, "edges": 0.5},
    5,
    "LambdaLR",
    "As (6.4), with whole intervals in place of steps.",
    "t // interval intervals are over; the decay rate is per interval.",
    "base_lr / (1 + decay_rate * (t // interval)), with the brackets.",
)
POLYNOMIAL = _exercise(
    "polynomial",
    "To zero, and stay there",
    {"schedule": 1.0, "beyond the end": 0.5},
    7,
    "PolynomialLR",
    "What is left of the way, as a fraction between 1 and 0, to some power.",
    "Hold t at total_iters first; then the fraction is 1 − t/total_iters.",
    "base_lr * (1 - min(t, total_iters) / total_iters) ** power.",
)
COSINE = _exercise(
    "cosine",
    "Half a cosine",
    {"schedule": 1.0, "eta_min": 0.5, "beyond T_max": 0.5},
    7,
    "CosineAnnealingLR",
    "(1 + cos)/2 goes from 1 to 0 while its argument goes from 0 to π.",
    "That factor multiplies what the lr loses in all, base_lr − eta_min. Do not hold t: the cosine knows itself what comes "
    "after T_max.",
    "eta_min + (base_lr - eta_min) * (1 + math.cos(math.pi * t / T_max)) / 2.",
)
RESTARTS = _exercise(
    "restarts",
    "Warm restarts",
    {"schedule": 1.0, "longer cycles": 1.0},
    12,
    "CosineAnnealingWarmRestarts",
    "Find out how many steps of the current cycle are over, and how long it is; the rest is your `cosine`.",
    "As long as t is not smaller than the cycle's length, take the length off t and make the next cycle T_mult times as "
    "long.",
    "T_i = T_0; while t >= T_i: t, T_i = t - T_i, T_i * T_mult; then cosine(t, base_lr, T_i, eta_min).",
    difficulty=2,
)
CYCLIC = _exercise(
    "cyclic",
    "Up and down",
    {"schedule": 1.0, "two lengths": 1.0},
    10,
    "CyclicLR",
    "Where in its cycle is step t? On the way up or on the way down?",
    "tau = t % (step_size_up + step_size_down). The share of max_lr − base_lr is tau/step_size_up on the way up; on the "
    "way down it falls from 1 to 0 in step_size_down steps.",
    "share = tau / step_size_up if tau <= step_size_up else 1 - (tau - step_size_up) / step_size_down; then base_lr + "
    "(max_lr - base_lr) * share.",
)
ONE_CYCLE = _exercise(
    "one_cycle",
    "One cycle",
    {"schedule": 1.0, "other settings": 1.0},
    15,
    "OneCycleLR",
    "Three lrs, first, max_lr and last, and two half cosines between them. At which t is the top, and at which the end?",
    "Both pieces are your `cosine`: from a to b in T steps is cosine(steps since a, a, T, b). The top is at "
    "pct_start·total_steps − 1, the end at total_steps − 1.",
    "top = pct_start * total_steps - 1; if t <= top: cosine(t, first, top, max_lr), else cosine(t - top, max_lr, "
    "total_steps - 1 - top, last), with first = max_lr / div_factor and last = first / final_div_factor.",
    difficulty=2,
)
WARMUP_COSINE = _exercise(
    "warmup_cosine",
    "Warmup, then a cosine",
    {"schedule": 1.0, "other lengths": 1.0},
    10,
    "SequentialLR of LinearLR and CosineAnnealingLR",
    "Two pieces, and the second one counts its steps from where it begins.",
    "For t < warmup a line from start_factor to 1. From t = warmup on your `cosine` of t − warmup, with what is left of "
    "total as its length.",
    "base_lr * (start_factor + (1 - start_factor) * t / warmup) if t < warmup else cosine(t - warmup, base_lr, total - "
    "warmup, 0.0).",
)
WSD = _exercise(
    "wsd",
    "Warmup, stable, decay",
    {"schedule": 1.0, "other lengths": 1.0},
    10,
    "SequentialLR of LinearLR, ConstantLR and LinearLR",
    "Three pieces: up, flat, down. The last one ends at 0 and stays there.",
    "u = t − warmup − stable steps of the decay are over; hold u between 0 and decay.",
    "After the warmup: base_lr * (1 - min(max(t - warmup - stable, 0), decay) / decay).",
)
