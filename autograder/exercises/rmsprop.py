"""The exercises of `04_rmsprop`: cases, references, the misconceptions each recognises, hints and points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import PRETEND
from autograder.collectors.launches import BYTES, MIXES, STATE, SYNCS
from autograder.exercise import Case, CodeExercise, Exercise, Limit
from autograder.exercises.rmsprop_questions import NOTEBOOK, QUIZZES, SIGN_LIMIT
from autograder.misconceptions import adagrad, recognise, rmsprop_memory, rmsprop_rows, rmsprop_scale
from autograder.misconceptions import rmsprop as bank
from autograder.probes import (
    STEPS,
    changing_lrs,
    coarse,
    generator,
    gradients,
    late,
    one_group,
    probe_case,
    rounded,
    two_groups,
    weights,
)

#: What an exercise of this notebook has its student write, and torch's Adam, which contains it.
FORBIDDEN = (
    "torch.optim.RMSprop", "torch.optim.rmsprop", "torch.optim.Adagrad", "torch.optim.adagrad", "torch.optim.Adam",
    "torch.optim.AdamW", "torch.optim.adam",
)  # fmt: skip
VISIBLE_SEED = 4
Generator = np.random.Generator
Shape = tuple[int, ...]
STATE_NAMES = ("square_avg", "grad_avg", "momentum_buffer")


def _hyper(rng: Generator, hidden: bool) -> dict[str, float]:
    """lr, alpha, eps, weight_decay and momentum; eps and decay are large, so that they show."""
    if not hidden:
        return {"lr": 0.05, "alpha": 0.8, "eps": 0.1, "weight_decay": 0.3, "momentum": 0.7}
    return {
        "lr": rounded(rng.uniform(0.04, 0.07)),
        "alpha": rounded(rng.uniform(0.74, 0.87)),
        "eps": rounded(rng.uniform(0.07, 0.15)),
        "weight_decay": rounded(rng.uniform(0.25, 0.4)),
        "momentum": rounded(rng.uniform(0.62, 0.8)),
    }


def _second(first: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters that differ from the first group's in every place."""
    factors = {"lr": 1.7, "eps": 0.37, "weight_decay": 0.6, "momentum": 0.5, "lr_decay": 2.3}
    changed = {name: rounded(value * factors[name]) for name, value in first.items() if name in factors}
    if "alpha" in first:
        changed["alpha"] = rounded(1 - (1 - first["alpha"]) * 1.6)
    return changed


def _changed(group: Mapping[str, Any]) -> dict[str, Any]:
    """What a group's other hyperparameters become in mid-run; the lr has a list of its own."""
    factors = {"eps": 0.5, "weight_decay": 1.6, "momentum": 0.6, "lr_decay": 0.4}
    changed = {name: rounded(value * factors[name]) for name, value in group.items() if name in factors}
    if "alpha" in group:
        changed["alpha"] = rounded(1 - (1 - group["alpha"]) * 0.5)
    return changed


def _zeros(inputs: dict[str, Any]) -> dict[str, Any]:
    """Parameter 1 has a gradient of zeros in steps 4 to 6."""
    for step in (3, 4, 5):
        inputs["grads"][step][1] = np.zeros_like(inputs["grads"][step][1])
    return inputs


def _picked(hyper: Mapping[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    return {**{name: hyper[name] for name in names}, **more}


# --- rmsprop.precondition -------------------------------------------------------------------------------------------


def _precondition_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    hyper = _hyper(rng, hidden)

    def case(title: str, group: str, shape: Shape, steps: int = 4, **more: Any) -> Case:
        stream = gradients(rng, [shape], steps=STEPS)
        v = np.asarray(rng.uniform(0.01, 4.0, shape))
        v.reshape(-1)[:1] = 0.0 if more.pop("zero", False) else 0.02
        inputs = {
            "name": "preconditioned_step",
            "arguments": ["w", "g", "v", "lr", "eps"],
            "state": {"w": weights(rng, shape), "v": v},
            "calls": [
                {"g": step[0], "lr": rounded(hyper["lr"] * (i + 1)), "eps": rounded(hyper["eps"] / (i + 1))}
                for i, step in enumerate(stream[:steps])
            ],
            "keep": ["g", "v"],
            **more,
        }
        return probe_case(title, group, "function", inputs, hidden=hidden)

    return (
        case("a vector", "update", (6,)),
        # its first gradients are 0 as well: 0/0 without eps
        case("where v is 0", "where v is 0", (4,), zero=True),
        case("a matrix in float32", "shapes and dtypes", (3, 4), dtype="float32"),
        case("a 0-dim tensor", "shapes and dtypes", ()),
        # slow, and its numbers are no news: visible only
        *(() if hidden else (case("another device", "shapes and dtypes", (5,), steps=2, device=PRETEND),)),
    )


PRECONDITION = CodeExercise(
    "rmsprop.precondition",
    "A learning rate for every weight",
    "function",
    NOTEBOOK,
    {"update": 1.0, "where v is 0": 0.5, "shapes and dtypes": 0.5},
    difficulty=1,
    minutes=10,
    objects=("preconditioned_step",),
    visible=lambda: _precondition_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _precondition_cases(generator(seed), hidden=True),
    reference=lambda: (bank.torch_precondition,),
    compares="w after every step with torch's own update for the same v",
    misconceptions=recognise(
        rmsprop_rows.PRECONDITION_ROWS, rmsprop_rows.PRECONDITION_ROWS, lambda faults: (bank.precondition(faults),)
    ),
    combine=lambda faults: (bank.precondition(faults),),
    hints=(
        "An ordinary step of gradient descent, but each weight's gradient is first divided by its own typical size.",
        "The typical size is the root of v. eps is added to the root, not under it, and lr stands in front.",
        "w.sub_(lr * g / (v.sqrt() + eps)), or w.addcdiv_(g, v.sqrt().add_(eps), value=-lr).",
    ),
    forbidden=FORBIDDEN,
)


# --- rmsprop.rmsprop ------------------------------------------------------------------------------------------------


def _rmsprop_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    hyper = _hyper(rng, hidden)
    plain = _picked(hyper, "lr", "alpha", "eps")
    momentum, centred = _picked(hyper, *plain, "momentum"), {**plain, "centered": True}
    full = {**hyper, "centered": True}
    second = {**_second(hyper), "centered": False}
    shapes: list[Shape] = [(6,), (2, 3), ()]

    def case(title: str, group: str, inputs: dict[str, Any], *, named: bool = False) -> Case:
        may_lack = () if named else STATE_NAMES
        return probe_case(title, group, "optimizer", inputs, hidden=hidden, may_lack=may_lack)

    def with_state(inputs: dict[str, Any], *names: str) -> dict[str, Any]:
        return {**inputs, "state": list(names or STATE_NAMES)}

    both = {**momentum, "centered": True}
    cases = [
        case("lr, alpha and eps", "update", with_state(one_group(rng, shapes, plain, reuse=[2]), "square_avg")),
        case("with torch's defaults", "update", one_group(rng, shapes[:2], {"lr": hyper["lr"]})),
        case("momentum", "momentum", with_state(one_group(rng, shapes, momentum), "square_avg")),
        case(
            "momentum, lr changed half-way",
            "momentum",
            with_state(one_group(rng, shapes[:2], momentum, lrs=changing_lrs([hyper["lr"]]))),
        ),
        case("centered=True", "centered", with_state(one_group(rng, shapes, centred))),
        case("centered=True with momentum", "centered", with_state(one_group(rng, shapes, both), "grad_avg")),
        case("weight_decay", "weight decay (L2)", one_group(rng, shapes, _picked(hyper, *plain, "weight_decay"))),
        case("weight_decay with momentum and centered", "weight decay (L2)", one_group(rng, shapes, full)),
        case(
            "two groups, everything changed half-way",
            "parameter groups",
            {**two_groups(rng, full, second), "later": {"step": 5, "groups": [_changed(full), _changed(second)]}},
        ),
        case("a gradient of zeros", "late gradients", _zeros(one_group(rng, shapes[:2], hyper))),
        case("a parameter that joins late", "late gradients", late(one_group(rng, [(6,), (5,), (2, 3)], plain), 4)),
        case("late, with all options", "late gradients", late(one_group(rng, [(6,), (5,), (2, 3)], full), 4)),
        case("the state under torch's names", "torch's state", with_state(one_group(rng, shapes, full)), named=True),
        case("float32", "dtypes and devices", one_group(rng, shapes, momentum, dtype="float32")),
        case("bfloat16", "dtypes and devices", one_group(rng, shapes, coarse(plain), dtype="bfloat16")),
    ]
    if not hidden:  # the slowest one, and its numbers are no news: short, and visible only
        inputs = one_group(rng, shapes[:2], both, device=PRETEND)
        cases.append(case("another device", "dtypes and devices", {**inputs, "grads": inputs["grads"][:3]}))
    return tuple(cases)


RMSPROP = CodeExercise(
    "rmsprop.rmsprop",
    "RMSProp as a torch optimizer",
    "optimizer",
    NOTEBOOK,
    {
        "update": 1.5,
        "momentum": 1.0,
        "centered": 1.5,
        "weight decay (L2)": 1.0,
        "parameter groups": 0.75,
        "late gradients": 0.5,
        "torch's state": 0.25,
        "dtypes and devices": 0.5,
    },
    difficulty=2,
    minutes=30,
    objects=("RMSprop",),
    visible=lambda: _rmsprop_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _rmsprop_cases(generator(seed), hidden=True),
    reference=lambda: (torch.optim.RMSprop,),
    compares="every parameter after every step, and the state, with torch.optim.RMSprop",
    misconceptions=recognise(rmsprop_rows.ROWS, rmsprop_rows.ROWS, lambda faults: (bank.optimizer(faults),)),
    combine=lambda faults: (bank.optimizer(faults),),
    hints=(
        "Loop over the groups and their parameters; leave a parameter alone whose .grad is None. What has to survive the "
        "step lives in self.state[p], which starts as an empty dict.",
        "In this order: the decay goes into the gradient (a new tensor); v takes up its square; centred, m takes up the "
        "gradient, and m² is subtracted from v under the root (v itself stays); eps is added to the root; the ratio goes "
        "into the buffer, if there is momentum; the weight moves by lr times the buffer or the ratio.",
        "v.mul_(alpha).addcmul_(g, g, value=1 - alpha); d = v.sqrt(), or with centered m.lerp_(g, 1 - alpha) and "
        "d = (v - m * m).sqrt(); step = g / (d + eps); with momentum b.mul_(mu).add_(step) and step = b; "
        "p.sub_(lr * step).",
    ),
    forbidden=FORBIDDEN,
)


# --- rmsprop.corrected ----------------------------------------------------------------------------------------------


def _corrected_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    hyper = _picked(_hyper(rng, hidden), "lr", "alpha", "eps")
    shapes: list[Shape] = [(6,), (2, 3), ()]

    def case(title: str, group: str, inputs: dict[str, Any]) -> Case:
        return probe_case(title, group, "optimizer", inputs, hidden=hidden, may_lack=STATE_NAMES)

    first = {**one_group(rng, shapes, hyper, reuse=[2]), "state": ["square_avg"]}
    second = _second(hyper)
    # not alpha: 1 − alpha^t, and the sum of the weights that were used, are the same number only while it stays
    later = {"step": 5, "groups": [{"eps": _changed(group)["eps"]} for group in (hyper, second)]}
    cases = [
        case("lr, alpha and eps", "update", first),
        case("with the defaults", "update", one_group(rng, shapes[:2], {})),
        case(
            "two groups, lr and eps changed half-way",
            "groups and late gradients",
            {**two_groups(rng, hyper, second), "later": later},
        ),
        case(
            "a parameter that joins late",
            "groups and late gradients",
            late(one_group(rng, [(6,), (5,), (2, 3)], hyper), 4),
        ),
        case("a gradient of zeros", "groups and late gradients", _zeros(one_group(rng, shapes[:2], hyper))),
        case("float32", "dtypes and devices", one_group(rng, shapes, hyper, dtype="float32")),
        case("bfloat16", "dtypes and devices", one_group(rng, shapes, coarse(hyper), dtype="bfloat16")),
    ]
    if not hidden:
        inputs = one_group(rng, shapes[:2], hyper, device=PRETEND)
        cases.append(case("another device", "dtypes and devices", {**inputs, "grads": inputs["grads"][:3]}))
    return tuple(cases)


CORRECTED = CodeExercise(
    "rmsprop.corrected",
    "RMSProp without its bias",
    "optimizer",
    NOTEBOOK,
    {"update": 1.5, "groups and late gradients": 1.0, "dtypes and devices": 0.5},
    difficulty=2,
    minutes=10,
    objects=("RMSpropCorrected",),
    visible=lambda: _corrected_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _corrected_cases(generator(seed), hidden=True),
    reference=lambda: (bank.TorchCorrected,),
    compares="every parameter after every step with torch.optim.Adam(betas=(0.0, alpha))",
    misconceptions=recognise(
        rmsprop_rows.CORRECTED_ROWS, rmsprop_rows.CORRECTED_ROWS, lambda faults: (bank.corrected(faults),)
    ),
    combine=lambda faults: (bank.corrected(faults),),
    hints=(
        "The loop is that of your RMSprop without its options. Two things are new: a step count for each parameter, and a "
        "division.",
        "state['step'] starts at 0 and is raised before it is used. v̂ = v / (1 − alpha**t) is a new tensor: v itself "
        "stays as it was averaged.",
        "state['step'] += 1; v.mul_(alpha).addcmul_(g, g, value=1 - alpha); v_hat = v / (1 - alpha ** state['step']); "
        "p.sub_(lr * g / (v_hat.sqrt() + eps)).",
    ),
    forbidden=FORBIDDEN,
)


# --- rmsprop.scale_free ---------------------------------------------------------------------------------------------


def _scale_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def labels(scales: Sequence[float]) -> list[str]:
        return [f"w at scale {i + 1} of {len(scales)}" if hidden else f"w at scale {s:g}" for i, s in enumerate(scales)]

    def followed(title: str, shape: Shape, scales: Sequence[float], eps: float, steps: int, **more: Any) -> Case:
        grads = np.stack([step[0] for step in gradients(rng, [shape], steps=steps)])
        inputs = {"grads": grads, "scales": list(scales), "labels": labels(scales), "eps": eps, **more}
        return probe_case(title, "trajectory", "scaled_trajectories", inputs, hidden=hidden)

    def measured(kind: str, shape: Shape, scales: Sequence[float], steps: int) -> Case:
        there = np.stack([step[0] for step in gradients(rng, [shape], steps=steps)])
        # there and nearly back: whoever looks at the ends only sees little
        grads = np.concatenate([there, -there[:0:-1]])
        inputs = {"kind": kind, "lr": rounded(rng.uniform(0.05, 0.4)), "grads": grads, "scales": list(scales)}
        return probe_case(f"scale_dependence of {kind}", "scale_dependence", "scale_property", inputs, hidden=hidden)

    def some(low: float, high: float) -> float:
        return rounded(10 ** rng.uniform(low, high)) if hidden else rounded(10 ** ((low + high) / 2))

    steps = int(rng.integers(7, 11)) if hidden else STEPS
    # the largest scale stands in the middle, and 1 is not the first
    scales = [some(0.3, 0.6), some(1.0, 1.4), some(-0.8, -0.4)]
    return (
        followed("eps near 0", (5,), [1.0, some(-6, -4), some(4, 6)], 1e-30, steps),
        followed("a large eps", (5,), [some(-1, -0.5), 1.0, some(0.7, 1.2)], some(-1.2, -0.8), steps),
        followed("a matrix", (2, 3), [some(0.5, 1.0)], some(-1.2, -0.8), steps + 2),
        followed("a single weight in float32", (), [some(0.5, 1.0)], some(-1.2, -0.8), steps, dtype="float32"),
        *(measured(kind, (6,), scales, steps) for kind in ("gradient descent", "steps of one length")),
        measured("clipped gradients", (2, 3), scales, steps + 1),
        measured("saturating steps", (6,), [some(-0.8, -0.4)], steps),
        measured("steps that are longest at a middle scale", (6,), scales, steps),
        followed("a single step", (3,), [some(0.5, 1.0)], some(-1.2, -0.8), 1),
    )


SCALE_FREE = CodeExercise(
    "rmsprop.scale_free",
    "Scale free, measured",
    "experiment",
    NOTEBOOK,
    {"trajectory": 1.5, "scale_dependence": 1.5},
    difficulty=2,
    minutes=15,
    objects=("trajectory", "scale_dependence"),
    visible=lambda: _scale_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _scale_cases(generator(seed), hidden=True),
    reference=lambda: (rmsprop_scale.trajectory_with_torch, rmsprop_scale.scale_dependence),
    compares="the weights after every step with torch.optim.RMSprop, and the measure on runs whose dependence is known",
    misconceptions=recognise(rmsprop_scale.ROWS, rmsprop_scale.ROWS, rmsprop_scale.functions),
    combine=rmsprop_scale.functions,
    hints=(
        "trajectory is a training loop whose gradients are given: put scale times the next one into w.grad, step, write "
        "down a copy of w. scale_dependence calls run once per scale and once with 1.0.",
        "w = torch.nn.Parameter(zeros of grads[0]'s shape and dtype), a new RMSprop([w], …) in every call, and "
        "w.detach().clone() after each step. The measure: largest |run(grads, s) − run(grads, 1.0)| over everything, "
        "divided by the largest |run(grads, 1.0)|.",
        "for g in grads: w.grad = scale * g; opt.step(); rows.append(w.detach().clone()); return torch.stack(rows). And "
        "max((run(grads, s) - plain).abs().max() for s in scales) / plain.abs().max().",
    ),
    forbidden=FORBIDDEN,
)


# --- rmsprop.adagrad ------------------------------------------------------------------------------------------------


def _adagrad_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    hyper = {
        "lr": rounded(rng.uniform(0.1, 0.3)) if hidden else 0.2,
        "eps": rounded(rng.uniform(0.1, 0.2)) if hidden else 0.15,
    }
    decay = {"lr_decay": rounded(rng.uniform(0.1, 0.3)) if hidden else 0.2}
    initial = {"initial_accumulator_value": rounded(rng.uniform(0.3, 0.7)) if hidden else 0.5}
    shapes: list[Shape] = [(6,), (2, 3), ()]

    def case(title: str, group: str, inputs: dict[str, Any]) -> Case:
        return probe_case(title, group, "optimizer", inputs, hidden=hidden, may_lack=("sum",))

    both = {**hyper, **decay}
    second = _second(both)
    later = {"step": 5, "groups": [_changed(both), _changed(second)]}
    groups = {**two_groups(rng, both, second), "options": initial, "later": later}
    cases = [
        case("lr and eps", "update", {**one_group(rng, shapes, hyper, reuse=[2]), "state": ["sum"]}),
        case("with torch's defaults", "update", one_group(rng, shapes[:2], {})),
        case("initial_accumulator_value", "initial value", one_group(rng, shapes, {**hyper, **initial})),
        case("lr_decay", "lr_decay", one_group(rng, shapes, both)),
        case("two groups, everything changed half-way", "groups and late gradients", groups),
        case("a gradient of zeros", "groups and late gradients", _zeros(one_group(rng, shapes[:2], both))),
        case(
            "a parameter that joins late",
            "groups and late gradients",
            late(one_group(rng, [(6,), (5,), (2, 3)], {**both, **initial}), 4),
        ),
        case("float32", "dtypes and devices", one_group(rng, shapes, {**both, **initial}, dtype="float32")),
        case("bfloat16", "dtypes and devices", one_group(rng, shapes, both, dtype="bfloat16")),
    ]
    if not hidden:
        inputs = one_group(rng, shapes[:2], {**both, **initial}, device=PRETEND)
        cases.append(case("another device", "dtypes and devices", {**inputs, "grads": inputs["grads"][:3]}))
    return tuple(cases)


ADAGRAD = CodeExercise(
    "rmsprop.adagrad",
    "Adagrad never forgets",
    "optimizer",
    NOTEBOOK,
    {
        "update": 1.0,
        "initial value": 0.75,
        "lr_decay": 0.75,
        "groups and late gradients": 1.0,
        "dtypes and devices": 0.5,
    },
    difficulty=2,
    minutes=15,
    objects=("Adagrad",),
    visible=lambda: _adagrad_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _adagrad_cases(generator(seed), hidden=True),
    reference=lambda: (torch.optim.Adagrad,),
    compares="every parameter after every step with torch.optim.Adagrad",
    misconceptions=recognise(adagrad.ADAGRAD_ROWS, adagrad.ADAGRAD_ROWS, lambda faults: (adagrad.optimizer(faults),)),
    combine=lambda faults: (adagrad.optimizer(faults),),
    hints=(
        "The loop of your RMSprop with a sum in place of the average. Beside it there is a step count for each parameter.",
        "The sum starts at initial_accumulator_value in every element and takes up g². The lr of step t is computed from "
        "group['lr'], which stays as it is; the first step has the full lr.",
        "state['sum'] = torch.full_like(p, group['initial_accumulator_value']) at first; state['step'] += 1; "
        "lr = group['lr'] / (1 + (state['step'] - 1) * group['lr_decay']); s.addcmul_(g, g); "
        "p.sub_(lr * g / (s.sqrt() + eps)).",
    ),
    forbidden=FORBIDDEN,
)


# --- rmsprop.memory -------------------------------------------------------------------------------------------------


def _tensors(number: int, allowed: str) -> Limit:
    """New bytes of a step; a little more than whole tensors, for a 0-dim one here or there."""
    return Limit(
        BYTES,
        number + 0.05,
        f"A step makes new tensors of {{count}} times the parameters' bytes; {allowed}. Write into what is there: mul_, "
        "addcmul_, add_, addcdiv_.",
    )


ONE_TENSOR, TWO_TENSORS = _tensors(1, "once is allowed, the root"), _tensors(2, "twice is allowed, decay and root")
DEVICE_LIMITS = (
    Limit(
        MIXES,
        0,
        "Operations that mix devices: {count}. Make new tensors where the parameter lives: torch.zeros_like(p).",
    ),
    Limit(
        SYNCS,
        0,
        "Host synchronisations per step: {count}; none is allowed. Each makes Python wait for the GPU, and this update "
        "needs no number from it.",
    ),
    Limit(
        STATE,
        10,
        "{count} bytes of state per element; the average needs 8 in float64. Nothing else of the parameter's size has to "
        "live on between steps.",
    ),
)


def _small(rng: Generator) -> dict[str, Any]:
    """√v is far below eps, so what is added to it is not taken out again without loss; from w = 0, where steps show."""
    shapes: list[Shape] = [(6,), (2, 3)]
    inputs = one_group(rng, shapes, {"lr": 0.05, "alpha": 0.8, "eps": rounded(rng.uniform(0.5, 1.0))}, dtype="float32")
    grads = [[1e-5 * gradient for gradient in step] for step in inputs["grads"]]
    return {**inputs, "params": [np.zeros(shape) for shape in shapes], "grads": grads, "state": ["square_avg"]}


def _memory_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    hyper = _picked(_hyper(rng, hidden), "lr", "alpha", "eps", "weight_decay")
    plain = {**hyper, "weight_decay": 0.0}
    shapes: list[Shape] = [(40, 3), (50,), (20, 5)] if not hidden else [(60, 2), (70,), (30, 4)]

    def case(title: str, group: str, inputs: dict[str, Any], *limits: Limit) -> Case:
        collector = "launches" if limits else "optimizer"
        return probe_case(title, group, collector, inputs, hidden=hidden, may_lack=STATE_NAMES, limits=limits)

    def counted(options: Mapping[str, Any]) -> dict[str, Any]:
        # gradient tensors that are used again: whoever writes into them instead of a new tensor is found out
        inputs = one_group(rng, shapes, options, few=1, warmup=1, reuse=[2, 4])
        return {**inputs, "grads": inputs["grads"][:4]}

    reused = one_group(rng, [(6,), (2, 3), ()], hyper, reuse=[2, 4])
    second = _second(hyper)
    later = {"step": 5, "groups": [_changed(hyper), _changed(second)]}
    return (
        case("without decay", "values", one_group(rng, [(6,), (2, 3), ()], plain)),
        case("with weight_decay", "values", reused),
        case("small gradients and a large eps, in float32", "values", _small(rng)),
        case(
            "two groups, everything changed half-way",
            "groups and late gradients",
            {**two_groups(rng, hyper, second), "later": later},
        ),
        case(
            "a parameter that joins late",
            "groups and late gradients",
            late(one_group(rng, [(6,), (5,), (2, 3)], hyper), 4),
        ),
        case("counted without decay", "one new tensor", counted(plain), *DEVICE_LIMITS, ONE_TENSOR),
        case("counted with weight_decay", "two with decay", counted(hyper), *DEVICE_LIMITS, TWO_TENSORS),
    )


MEMORY = CodeExercise(
    "rmsprop.memory",
    "One new tensor",
    "launches",
    NOTEBOOK,
    {"values": 1.0, "groups and late gradients": 0.5, "one new tensor": 2.0, "two with decay": 1.5},
    difficulty=2,
    minutes=20,
    objects=("LeanRMSprop",),
    visible=lambda: _memory_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _memory_cases(generator(seed), hidden=True),
    reference=lambda: (torch.optim.RMSprop,),
    compares="values with torch.optim.RMSprop, and the new bytes of a step with the limits",
    misconceptions=recognise(rmsprop_memory.ROWS, rmsprop_memory.ROWS, rmsprop_memory.optimizer),
    hints=(
        "Write down, for each line of your update, whether it makes a new tensor. Only one line has to.",
        "v is updated in place by mul_ and addcmul_. The root of v is the one new tensor; eps goes into it in place. The "
        "division, the product with lr and the subtraction are a single in-place operation on p.",
        "g = p.grad.add(p, alpha=weight_decay) only if there is decay; v.mul_(alpha).addcmul_(g, g, value=1 - alpha); "
        "p.addcdiv_(g, v.sqrt().add_(eps), value=-lr).",
    ),
    forbidden=FORBIDDEN,
)

EXERCISES: tuple[Exercise, ...] = (
    PRECONDITION,
    QUIZZES[7],
    QUIZZES[0],
    RMSPROP,
    *QUIZZES[1:3],
    CORRECTED,
    QUIZZES[3],
    SCALE_FREE,
    SIGN_LIMIT,
    QUIZZES[4],
    ADAGRAD,
    QUIZZES[5],
    QUIZZES[8],
    MEMORY,
    QUIZZES[6],
)
