"""The exercises of `03_momentum_equivalence`: cases, references, the misconceptions each recognises, hints, points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import PRETEND
from autograder.collectors.launches import BYTES, LAUNCHES, MIXES, SYNCS
from autograder.exercise import (
    Case,
    CodeExercise,
    Exercise,
    Limit,
)
from autograder.exercises.momentum_questions import FIRST_STEP, NOTEBOOK, PROOF, QUIZZES, WHERE_THEY_PART
from autograder.misconceptions import momentum as bank
from autograder.misconceptions import momentum_runs as runs
from autograder.misconceptions import momentum_steps as steps
from autograder.misconceptions import recognise
from autograder.probes import (
    STEPS,
    changing_lrs,
    generator,
    gradients,
    late,
    one_group,
    probe_case,
    rounded,
    saved_by_torch,
    two_groups,
    weights,
)

#: What an exercise of this notebook has its student write.
FORBIDDEN = ("torch.optim.SGD", "torch.optim.sgd")
VISIBLE_SEED = 3
Generator = np.random.Generator
Shape = tuple[int, ...]

#: State that torch has too. Where it is kept costs points in one group of `momentum.sgd` only. Beside that it is
#: recorded only where the lr changes: at constant lr a buffer with the lr inside is equivalent.
STATE_NAMES = ("momentum_buffer",)


def _drawn(rng: Generator, hidden: bool) -> tuple[float, float]:
    """(lr, mu). mu stays away from ½, where μ and 1 − μ are the same number."""
    if not hidden:
        return 0.1, 0.8
    return rounded(rng.uniform(0.06, 0.14)), rounded(rng.uniform(0.7, 0.87))


# --- momentum.traditional and momentum.average ----------------------------------------------------------------------


def _step_inputs(
    rng: Generator, name: str, shape: Shape, lrs: Sequence[float], mu: float, moving: bool, **more: Any
) -> dict[str, Any]:
    """Calls of `traditional_step` or `average_step`, one for each lr; from rest unless `moving`."""
    state_name, memory = ("v", "mu") if name == "traditional_step" else ("m", "beta")
    stream = gradients(rng, [shape], steps=len(lrs))
    start = np.asarray(rng.standard_normal(shape) * (lrs[0] / (1 - mu) if state_name == "v" else 1.0))  # also if 0-dim
    return {
        "name": name,
        "arguments": ["w", state_name, "g", "lr", memory],
        "state": {"w": weights(rng, shape), state_name: start if moving else np.zeros(shape)},
        "calls": [{"g": step[0], "lr": lr, memory: mu} for step, lr in zip(stream, lrs, strict=True)],
        "keep": ["g"],
        **more,
    }


def _step_cases(rng: Generator, name: str, hidden: bool) -> tuple[Case, ...]:
    lr, mu = _drawn(rng, hidden)
    state = "velocity" if name == "traditional_step" else "average"
    own = (state[0],) if name == "traditional_step" else ()
    constant, changing = [lr] * STEPS, [row[0] for row in changing_lrs([lr])]

    def case(title: str, group: str, shape: Shape, lrs: Sequence[float], moving: bool, **more: Any) -> Case:
        extra = {"own": more.pop("own")} if "own" in more else {}
        return probe_case(
            title, group, "function", _step_inputs(rng, name, shape, lrs, mu, moving, **more), hidden=hidden, **extra
        )

    return (
        # with another sign or scale of v the weights are right here: equivalent, and worth these points
        case("from rest at constant lr: the weights", "weights", (8,), constant, moving=False, own=own),
        case(f"the {state} from rest", state, (8,), constant, moving=False),
        case(f"going on with a {state}", state, (6,), constant, moving=True),
        case("the lr falls half-way", state, (6,), changing, moving=True),
        case("a matrix in float32", "shapes and dtypes", (3, 4), constant, moving=True, dtype="float32"),
        case("a 0-dim tensor", "shapes and dtypes", (), constant, moving=True),
        # the slowest one, and its numbers are no news: short, and visible only
        *(
            ()
            if hidden
            else (case("another device", "shapes and dtypes", (5,), constant[:3], moving=False, device=PRETEND),)
        ),
    )


TRADITIONAL = CodeExercise(
    "momentum.traditional",
    "A ball with friction",
    "function",
    NOTEBOOK,
    {"weights": 1.0, "velocity": 1.5, "shapes and dtypes": 0.5},
    difficulty=1,
    minutes=10,
    objects=("traditional_step",),
    visible=lambda: _step_cases(generator(VISIBLE_SEED), "traditional_step", hidden=False),
    draw_cases=lambda seed: _step_cases(generator(seed), "traditional_step", hidden=True),
    reference=lambda: (steps.traditional_with_torch,),
    compares="w and v after every step with torch's momentum, v being −lr times torch's buffer",
    misconceptions=recognise(
        steps.TRADITIONAL_ROWS, steps.TRADITIONAL_ROWS, lambda faults: (steps.traditional_step(faults),)
    ),
    combine=lambda faults: (steps.traditional_step(faults),),
    hints=(
        "Two lines: first the velocity changes, by friction and by force, then the weight moves by the new velocity.",
        "Both tensors belong to the caller: change them in place. Friction keeps mu·v of the velocity; the force is"
        " −lr·g, downhill.",
        "v.mul_(mu).sub_(lr * g), then w.add_(v).",
    ),
    forbidden=FORBIDDEN,
)

AVERAGE = CodeExercise(
    "momentum.average",
    "A step along the average",
    "function",
    NOTEBOOK,
    {"weights": 0.5, "average": 1.0, "shapes and dtypes": 0.5},
    difficulty=1,
    minutes=10,
    objects=("average_step",),
    visible=lambda: _step_cases(generator(VISIBLE_SEED), "average_step", hidden=False),
    draw_cases=lambda seed: _step_cases(generator(seed), "average_step", hidden=True),
    reference=lambda: (steps.average_with_torch,),
    compares="w and m after every step with torch's SGD from the same buffer, with dampening = momentum",
    misconceptions=recognise(steps.AVERAGE_ROWS, steps.AVERAGE_ROWS, lambda faults: (steps.average_step(faults),)),
    combine=lambda faults: (steps.average_step(faults),),
    hints=(
        "The moving average of notebook 02, of gradients this time; then an ordinary step of gradient descent with "
        "m in place of g.",
        "m ← beta·m + (1 − beta)·g in place, no bias correction; the weight moves by −lr·m with the new m.",
        "m.mul_(beta).add_(g, alpha=1 - beta), then w.sub_(lr * m).",
    ),
    forbidden=FORBIDDEN,
)


# --- momentum.convert -----------------------------------------------------------------------------------------------

_CONVERT_NAMES = ["lr_average", "lr_traditional", "velocity_from_average", "decay_average"]
_CONVERT_USAGES = ["(lr_trad, mu)", "(lr_avg, mu)", "(m, lr_trad, mu)", "(weight_decay, mu, decoupled)"]


def _convert_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    numbers = [(0.03, 0.9), (0.2, 0.75), (0.1, 0.3)]
    if hidden:
        numbers = [
            (rounded(rng.uniform(0.01, 0.3)), rounded(mu))
            for mu in (rng.uniform(0.6, 0.95), 0.99, rng.uniform(0.2, 0.4))
        ]

    def call(index: int, arguments: list[Any], shown: str, number: int) -> dict[str, Any]:
        name = _CONVERT_NAMES[index]
        return {"function": index, "arguments": arguments, "label": f"{name}, call {number}" if hidden else shown}

    def case(title: str, group: str, calls: list[dict[str, Any]]) -> Case:
        inputs = {"names": _CONVERT_NAMES, "usages": _CONVERT_USAGES, "calls": calls}
        return probe_case(title, group, "functions", inputs, hidden=hidden)

    averages = [rng.standard_normal(shape) for shape in ((4,), (2, 3), ())]
    return (
        *(
            case(
                f"{_CONVERT_NAMES[i]}",
                "learning rates",
                [call(i, [lr, mu], f"{_CONVERT_NAMES[i]}({lr}, {mu})", n) for n, (lr, mu) in enumerate(numbers)],
            )
            for i in (0, 1)
        ),
        case(
            "velocity_from_average",
            "state",
            [
                call(2, [m, lr, mu], f"velocity_from_average(m, {lr}, {mu})", n)
                for n, (m, (lr, mu)) in enumerate(zip(averages, numbers, strict=True))
            ],
        ),
        *(
            case(
                f"decay_average, {'decoupled' if decoupled else 'L2'}",
                "weight decay",
                [call(3, [lr, mu, decoupled], f"decay_average({lr}, {mu}, {decoupled})", n)
                 for n, (lr, mu) in enumerate(numbers)],
            )
            for decoupled in (False, True)
        ),
    )  # fmt: skip


CONVERT = CodeExercise(
    "momentum.convert",
    "From one form to the other",
    "function",
    NOTEBOOK,
    {"learning rates": 1.0, "state": 1.0, "weight decay": 1.0},
    difficulty=1,
    minutes=15,
    objects=tuple(_CONVERT_NAMES),
    visible=lambda: _convert_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _convert_cases(generator(seed), hidden=True),
    reference=lambda: steps.conversions({}),
    compares="every number with the map under which both forms take the same steps",
    misconceptions=recognise(steps.CONVERT_ROWS, steps.CONVERT_ROWS, steps.conversions),
    combine=steps.conversions,
    hints=(
        "Feed both forms a gradient that stays the same for a long time. How far does each move in one step?",
        "The velocity becomes −lr_trad·g/(1 − mu), the average becomes g. Equal steps give the lr, equal state "
        "gives the velocity. Decoupled decay shrinks w by 1 − lr·weight_decay, and that product has to stay what it"
        " was.",
        "lr_trad / (1 - mu); lr_avg * (1 - mu); -lr_trad / (1 - mu) * m; weight_decay * (1 - mu) if decoupled else "
        "weight_decay.",
    ),
)


# --- momentum.sgd ---------------------------------------------------------------------------------------------------


def _checkpoint(rng: Generator, options: Mapping[str, Any], lr: float) -> dict[str, Any]:
    """Two parameters with momentum and one without; torch's run is taken over half-way."""
    shapes: list[Shape] = [(6,), (2, 3), (4,)]
    inputs = {
        "params": [weights(rng, shape) for shape in shapes],
        "group_of": [0, 0, 1],
        "groups": [dict(options), {"lr": lr, "momentum": 0.0}],
        "grads": gradients(rng, shapes),
    }
    return {**inputs, "stop": STEPS // 2, "checkpoint": saved_by_torch(torch.optim.SGD, inputs, STEPS // 2)}


_REFUSED = {
    "nesterov=True with dampening": {"momentum": 0.9, "nesterov": True, "dampening": 0.1},
    "nesterov=True without momentum": {"momentum": 0.0, "nesterov": True},
    "nesterov=True with momentum": {"momentum": 0.9, "nesterov": True},
    "dampening without nesterov": {"momentum": 0.9, "dampening": 0.5},
}


def _refused(rng: Generator, hidden: bool) -> dict[str, Any]:
    if not hidden:
        return {"options": _REFUSED}
    drawn = {key: rounded(rng.uniform(0.1, 0.9)) for key in ("momentum", "dampening")}
    return {
        "options": {
            label: {"lr": 0.1, **{key: drawn.get(key, value) if value else value for key, value in options.items()}}
            for label, options in _REFUSED.items()
        }
    }


def _sgd_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    lr, mu = _drawn(rng, hidden)
    wd = rounded(rng.uniform(0.2, 0.4)) if hidden else 0.3
    dampening = rounded(rng.uniform(0.2, 0.4)) if hidden else 0.3
    momentum = {"lr": lr, "momentum": mu}
    shapes: list[Shape] = [(6,), (2, 3), ()]
    full = {**momentum, "weight_decay": wd}
    second = {"lr": rounded(lr * 1.7), "momentum": rounded(mu * 0.7), "weight_decay": rounded(wd * 0.5)}
    # alike in lr and momentum: whoever takes those from the wrong group loses the points of "parameter groups" only
    damped = {**momentum, "dampening": dampening, "nesterov": False}
    ahead = {**momentum, "dampening": 0.0, "nesterov": True}

    def case(title: str, group: str, inputs: dict[str, Any], collector: str = "optimizer") -> Case:
        return probe_case(title, group, collector, inputs, hidden=hidden, may_lack=STATE_NAMES)

    def with_buffer(inputs: dict[str, Any]) -> dict[str, Any]:
        return {**inputs, "state": list(STATE_NAMES)}

    cases = [
        # the gradient tensor of step 1 is used again in step 2, as after zero_grad(set_to_none=False)
        case("momentum at constant lr", "momentum", one_group(rng, shapes, momentum, reuse=[2])),
        case("without momentum", "momentum", one_group(rng, shapes[:2], {"lr": lr})),
        case(
            "momentum, lr changed half-way",
            "momentum",
            with_buffer(one_group(rng, shapes[:2], momentum, lrs=changing_lrs([lr]))),
        ),
        case("dampening", "dampening and nesterov", one_group(rng, shapes, {**momentum, "dampening": dampening})),
        case("nesterov=True", "dampening and nesterov", one_group(rng, shapes, {**momentum, "nesterov": True})),
        case(
            "a damped group and a Nesterov group",
            "dampening and nesterov",
            {**two_groups(rng, damped, ahead), "lrs": None},
        ),
        case("what is refused", "dampening and nesterov", _refused(rng, hidden), "refusals"),
        case("weight_decay", "weight decay (L2)", one_group(rng, shapes, full)),
        case("weight_decay and nesterov", "weight decay (L2)", one_group(rng, shapes, {**full, "nesterov": True})),
        case("two groups, lr changed half-way", "parameter groups", with_buffer(two_groups(rng, full, second))),
        case("going on from torch's checkpoint", "torch's checkpoints", _checkpoint(rng, full, lr), "checkpoint"),
        case(
            "a parameter that joins late", "late gradients", late(one_group(rng, [(6,), (5,), (2, 3)], momentum), 2, 4)
        ),
        case("float32", "dtypes and devices", one_group(rng, shapes, momentum, dtype="float32")),
        case("bfloat16", "dtypes and devices", one_group(rng, shapes, momentum, dtype="bfloat16")),
    ]
    if not hidden:  # the slowest one, and its numbers are no news: short, and visible only
        inputs = one_group(rng, shapes[:2], momentum, device=PRETEND)
        cases.append(case("another device", "dtypes and devices", {**inputs, "grads": inputs["grads"][:3]}))
    return tuple(cases)


SGD = CodeExercise(
    "momentum.sgd",
    "torch's SGD, with all its momentum",
    "optimizer",
    NOTEBOOK,
    {
        "momentum": 1.0,
        "dampening and nesterov": 1.0,
        "weight decay (L2)": 0.75,
        "parameter groups": 0.75,
        "torch's checkpoints": 0.5,
        "late gradients": 0.5,
        "dtypes and devices": 0.5,
    },
    difficulty=2,
    minutes=30,
    objects=("MomentumSGD",),
    visible=lambda: _sgd_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _sgd_cases(generator(seed), hidden=True),
    reference=lambda: (bank.TorchLoop,),
    compares="every parameter after every step, and the momentum buffers, with torch.optim.SGD",
    misconceptions=recognise(bank.ROWS, bank.ROWS, lambda faults: (bank.optimizer(faults),)),
    combine=lambda faults: (bank.optimizer(faults),),
    hints=(
        "Loop over the groups and their parameters; leave a parameter alone whose .grad is None. The buffer lives in "
        "self.state[p], which starts as an empty dict.",
        "In this order: the decay goes into the gradient (a new tensor); the buffer starts as a copy of that "
        "gradient, or is multiplied by momentum and takes up 1 − dampening of it; the direction is the buffer, or "
        "the gradient plus momentum times the buffer with nesterov. Without momentum the direction is the gradient.",
        "buf = state.get('momentum_buffer'); if it is None: state['momentum_buffer'] = buf = g.clone(), else "
        "buf.mul_(mu).add_(g, alpha=1 - dampening); d = g + mu * buf if nesterov else buf; p.sub_(lr * d).",
    ),
    forbidden=FORBIDDEN,
)


# --- momentum.lr_change ---------------------------------------------------------------------------------------------

_SCHEDULE_NAMES = ["rescale_velocity", "scheduled_run"]
_SCHEDULE_USAGES = ["(v, lr_old, lr_new)", "(w0, grads, lrs, mu)"]


def _lr_change_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    lr, mu = _drawn(rng, hidden)
    falling = [lr * (0.3 if t >= STEPS // 2 else 1.0) for t in range(STEPS)]
    wild = [rounded(lr * factor) for factor in (1.0, 0.7, 0.5, 0.5, 2.0, 0.1, 0.1, 1.5)]

    def run(lrs: Sequence[float], shape: Shape) -> dict[str, Any]:
        grads = np.stack([step[0] for step in gradients(rng, [shape], steps=len(lrs))])
        call = {
            "function": 1,
            "arguments": [weights(rng, shape), grads, list(lrs), mu],
            "label": "w",
            "shape": [len(lrs) + 1, *shape],
        }
        return {"names": _SCHEDULE_NAMES, "usages": _SCHEDULE_USAGES, "calls": [call]}

    pairs = [(lr, rounded(lr * 0.3)), (rounded(lr * 0.3), rounded(lr * 2)), (lr, 0.0), (lr, lr)]
    rescale = {
        "name": "rescale_velocity",
        "arguments": ["v", "lr_old", "lr_new"],
        "state": {"v": rng.standard_normal((5,))},
        "calls": [{"lr_old": old, "lr_new": new} for old, new in pairs[:2]],
    }
    zero = {
        "names": _SCHEDULE_NAMES,
        "usages": _SCHEDULE_USAGES,
        "calls": [
            {"function": 0, "arguments": [rng.standard_normal((3,)), 0.0, lr], "label": "lr_old = 0", "refuses": True}
        ],
    }

    def case(title: str, group: str, inputs: dict[str, Any], collector: str = "functions") -> Case:
        return probe_case(title, group, collector, inputs, hidden=hidden)

    return (
        case("rescale_velocity", "rescaling", rescale, "function"),
        case("lr_old = 0 is refused", "rescaling", zero),
        case("a run at constant lr", "runs", run([lr] * STEPS, (4,))),
        case("the lr falls half-way", "runs", run(falling, (4,))),
        case("the lr goes up and down", "runs", run(wild, (2, 2))),
    )


LR_CHANGE = CodeExercise(
    "momentum.lr_change",
    "The velocity when the lr changes",
    "function",
    NOTEBOOK,
    {"rescaling": 1.0, "runs": 1.5},
    difficulty=2,
    minutes=15,
    objects=tuple(_SCHEDULE_NAMES),
    visible=lambda: _lr_change_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _lr_change_cases(generator(seed), hidden=True),
    reference=lambda: (runs.rescale_in_place, runs.run_with_torch),
    compares="the velocity, and the weight after every step with torch.optim.SGD under the same schedule",
    misconceptions=recognise(runs.LR_CHANGE_ROWS, runs.LR_CHANGE_ROWS, runs.schedule_functions),
    combine=runs.schedule_functions,
    hints=(
        "v is −lr·b with torch's buffer b, which has no lr in it. Which lr is in v just before the first step with "
        "the new one?",
        "Rescale first, then take an ordinary step of (3.1) and (3.2) with the new lr; and remember the lr of the "
        "step before. The first step has nothing to rescale.",
        "if lr_old == 0: raise ValueError(…); v.mul_(lr_new / lr_old). In the loop: if t > 0: rescale_velocity(v, "
        "lrs[t - 1], lrs[t]); v = mu * v - lrs[t] * grads[t]; w = w + v; append w.clone().",
    ),
    forbidden=FORBIDDEN,
)


# --- momentum.nesterov ----------------------------------------------------------------------------------------------


def _nesterov_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    lr, mu = _drawn(rng, hidden)

    def case(title: str, group: str, moving: bool, **more: Any) -> Case:
        shape = (6,)
        inputs = {
            "theta": weights(rng, shape),
            "v": 0.5 * weights(rng, shape) if moving else np.zeros(shape),
            "curvature": rng.permutation(np.logspace(-1, 0.7, 6)),
            "minimum": weights(rng, shape),
            "lr": lr,
            "mu": mu,
            "steps": STEPS,
            **more,
        }
        return probe_case(title, group, "lookahead", inputs, hidden=hidden)

    return (
        case("from rest", "look ahead", moving=False),
        case("going on with a velocity", "look ahead", moving=True),
        case("float32", "look ahead", moving=True, dtype="float32"),
    )


NESTEROV = CodeExercise(
    "momentum.nesterov",
    "Nesterov's two forms",
    "function",
    NOTEBOOK,
    {"look ahead": 4.0},
    difficulty=2,
    minutes=20,
    objects=("lookahead_step", "torch_point"),
    visible=lambda: _nesterov_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _nesterov_cases(generator(seed), hidden=True),
    reference=lambda: (runs.lookahead_with_torch, runs.torch_point),
    compares="theta, v and the look-ahead point after every step with torch's nesterov=True",
    misconceptions=recognise(runs.NESTEROV_ROWS, runs.NESTEROV_ROWS, runs.nesterov_functions),
    combine=runs.nesterov_functions,
    hints=(
        "The velocity will carry the weight by mu·v in any case. Ask for the gradient there, and only then decide "
        "how to correct.",
        "g = grad_fn at theta + mu·v (a new tensor, theta stays); v ← mu·v − lr·g; theta moves by the new v. "
        "torch's weight is the point at which the gradient is asked for.",
        "g = grad_fn(theta + mu * v); v.mul_(mu).sub_(lr * g); theta.add_(v). torch_point returns theta + mu * v.",
    ),
    forbidden=FORBIDDEN,
)


# --- momentum.stability ---------------------------------------------------------------------------------------------

_STABILITY_NAMES = ["max_stable_lr", "optimal_heavy_ball"]
_STABILITY_USAGES = ["(curvature, mu)", "(l_min, l_max)"]


def _stability_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    edges = [(1.0, 0.9), (40.0, 0.9), (3.0, 0.5), (0.2, 0.0)]
    ranges = [(1.0, 100.0), (0.5, 20.0), (2.0, 3.0)]
    if hidden:
        edges = [(rounded(rng.uniform(0.1, 50)), rounded(rng.uniform(0.3, 0.97))) for _ in range(3)] + [(2.5, 0.0)]
        ranges = [(rounded(rng.uniform(0.1, 2)), rounded(rng.uniform(3, 300))) for _ in range(3)]

    def inputs(index: int, pairs: Sequence[tuple[float, float]], **more: Any) -> dict[str, Any]:
        name = _STABILITY_NAMES[index]
        calls = [
            {
                "function": index,
                "arguments": list(pair),
                "label": f"{name}, call {n}" if hidden else f"{name}({pair[0]:g}, {pair[1]:g})",
                **more,
            }
            for n, pair in enumerate(pairs)
        ]
        return {"names": _STABILITY_NAMES, "usages": _STABILITY_USAGES, "calls": calls}

    return (
        probe_case("max_stable_lr", "largest lr", "functions", inputs(0, edges), hidden=hidden),
        probe_case(
            "optimal_heavy_ball",
            "best lr and mu",
            "functions",
            inputs(1, ranges, returns=["lr", "mu"]),
            hidden=hidden,
        ),
    )


STABILITY = CodeExercise(
    "momentum.stability",
    "How large may lr be, and which is best?",
    "function",
    NOTEBOOK,
    {"largest lr": 1.5, "best lr and mu": 1.5},
    difficulty=2,
    minutes=20,
    objects=tuple(_STABILITY_NAMES),
    visible=lambda: _stability_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _stability_cases(generator(seed), hidden=True),
    reference=lambda: (runs.edge_of_stability, runs.best_heavy_ball),
    compares="the limit with the spectral radius of the iteration, and lr and mu with Polyak's optimum",
    misconceptions=recognise(runs.STABILITY_ROWS, runs.STABILITY_ROWS, runs.stability_functions),
    combine=runs.stability_functions,
    hints=(
        "When the lr grows, one root of (3.15) reaches −1 first: the run jumps from side to side with the same size.",
        "Put z = −1 into (3.15) and solve for lr. For the optimum, both right-hand sides of (3.17) are the same √μ: "
        "set them equal, and solve for √η.",
        "Equal right-hand sides give √η·(√L + √ℓ) = 2. So lr = 4 / (l_max**0.5 + l_min**0.5)**2, and mu = (1 - (lr * "
        "l_min)**0.5)**2. The limit is 2 * (1 + mu) / curvature.",
    ),
)


# --- momentum.foreach -----------------------------------------------------------------------------------------------

LAUNCH_LIMIT = Limit(
    LAUNCHES,
    10,
    "{count} launches in one step; {at_most} are enough for any number of parameters. A loop launches every "
    "operation once per parameter, a torch._foreach_* call once.",
)
MIX_LIMIT = Limit(
    MIXES, 0, "Operations that mix devices: {count}. Make new tensors where the parameter lives: torch.zeros_like(p)."
)
DEVICE_LIMITS = (
    MIX_LIMIT,
    Limit(
        SYNCS,
        0,
        "Host synchronisations per step: {count}; none is allowed. Each makes Python wait for the GPU, and this "
        "update needs no number from it.",
    ),
    Limit(
        BYTES,
        0.1,
        "Each step makes new tensors of {count} times the parameters' bytes. Nothing new is needed after the first "
        "step: write into the buffers and the parameters.",
    ),
)


def _many(rng: Generator, count: int, steps_: int, lr: float, mu: float, **more: Any) -> dict[str, Any]:
    shapes: list[Shape] = [(2,)] * count if count > 20 else [(4, 3), (5,)] * (count // 2)
    inputs = one_group(rng, shapes, {"lr": lr, "momentum": mu}, few=1, warmup=1)
    return {**inputs, "grads": inputs["grads"][:steps_], **more}


def _foreach_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    lr, mu = _drawn(rng, hidden)

    def case(title: str, group: str, inputs: dict[str, Any], *limits: Limit) -> Case:
        collector = "launches" if limits else "optimizer"
        return probe_case(title, group, collector, inputs, hidden=hidden, may_lack=STATE_NAMES, limits=limits)

    first = {"lr": lr, "momentum": mu}
    second = {"lr": rounded(lr * 1.7), "momentum": rounded(mu * 0.7)}
    late = _many(rng, 10, 6, lr, mu)
    late["grads"][0] = [None] * 10
    for step in (1, 2):
        for i in (1, 4, 7):
            late["grads"][step][i] = None
    apart = two_groups(rng, first, second)
    for step in (0, 3, 4):  # the group that has no gradients stands ahead of the one that has
        apart["grads"][step][:2] = [None, None]
    many = 100 if hidden else 500
    return (
        case("ten parameters", "values", {**_many(rng, 10, 6, lr, mu), "reuse": [2]}),
        case("two groups, lr changed half-way", "values", two_groups(rng, first, second)),
        case("parameters that join late", "late gradients", late),
        case("a first group without gradients", "late gradients", apart),
        case(
            f"{many} parameters, counted",
            "launches",
            _many(rng, many, 3 if hidden else 2, lr, mu),
            MIX_LIMIT,
            LAUNCH_LIMIT,
        ),
        case("no waiting, nothing new", "no sync, no new memory", _many(rng, 10, 4, lr, mu), *DEVICE_LIMITS),
    )


FOREACH = CodeExercise(
    "momentum.foreach",
    "500 tensors, three calls",
    "launches",
    NOTEBOOK,
    {"values": 1.0, "late gradients": 0.5, "launches": 1.5, "no sync, no new memory": 1.0},
    difficulty=2,
    minutes=20,
    objects=("ForeachMomentum",),
    visible=lambda: _foreach_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _foreach_cases(generator(seed), hidden=True),
    reference=lambda: (bank.TorchForeach,),
    compares="values with torch.optim.SGD(foreach=True), and what a step costs on a GPU with the limits",
    misconceptions=recognise(bank.FOREACH_ROWS, bank.FOREACH_ROWS, bank.foreach_optimizer),
    hints=(
        "Make three lists per group first: the parameters that have a gradient, their gradients, their buffers. "
        "Then call each operation once on whole lists.",
        "A buffer of zeros, made at a parameter's first gradient, becomes the gradient itself in the first step: "
        "mu·0 + g. In-place functions end in an underscore, and _foreach_add_ takes alpha.",
        "torch._foreach_mul_(bufs, mu); torch._foreach_add_(bufs, grads); torch._foreach_add_(params, bufs, "
        "alpha=-lr).",
    ),
    forbidden=FORBIDDEN,
)

EXERCISES: tuple[Exercise, ...] = (
    QUIZZES[0],
    TRADITIONAL,
    AVERAGE,
    QUIZZES[5],
    CONVERT,
    PROOF,
    QUIZZES[1],
    SGD,
    QUIZZES[2],
    FIRST_STEP,
    WHERE_THEY_PART,
    LR_CHANGE,
    NESTEROV,
    QUIZZES[3],
    STABILITY,
    QUIZZES[4],
    FOREACH,
    QUIZZES[6],
)
