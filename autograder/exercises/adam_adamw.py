"""The exercises of `05_adam_adamw`: cases, references, the misconceptions each recognises, hints and points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.optim.adam import adam as torch_adam_update

from autograder.collectors.adam_adamw import MASTER_KEYS, RESUMED, UNINTERRUPTED
from autograder.collectors.common import PRETEND
from autograder.collectors.launches import BYTES, MIXES, RATIO, STATE, SYNCS
from autograder.exercise import (
    TOLERANCE,
    Case,
    CodeExercise,
    Exercise,
    Limit,
)
from autograder.exercises.adam_questions import BOUND, NOTEBOOK, QUIZZES, WHICH_KNOB
from autograder.misconceptions import adam as bank
from autograder.misconceptions import checkpoints, decay_pairs, foreach, master, recognise
from autograder.probes import (
    STEPS,
    adam_hyperparameters,
    coarse,
    generator,
    gradients,
    late,
    one_group,
    probe_case,
    rounded,
    saved_by_torch,
    second_group,
    two_groups,
    weights,
)

#: What an exercise of this notebook has its student write.
FORBIDDEN = ("torch.optim.Adam", "torch.optim.AdamW", "torch.optim.adam")
VISIBLE_SEED = 5
Generator = np.random.Generator

#: State that torch has too; a right answer may keep it under other names.
STATE_NAMES = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

DEVICE_LIMITS = (
    Limit(MIXES, 0, "{count} operations mix devices. Make new tensors where the parameter lives: torch.zeros_like(p)."),
    Limit(
        SYNCS,
        0,
        "Host synchronisations per step: {count}; none is allowed. Each makes Python wait for the GPU: keep such numbers "
        "in tensors, or on the CPU from the start.",
    ),
)


# --- adam.step ------------------------------------------------------------------------------------------------------


def _step_inputs(
    rng: Generator, shape: tuple[int, ...], start: int, hyper: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Calls of adam_step for t = start, start + 1, …; from non-zero averages when start > 1."""
    stream = gradients(rng, [shape])
    zero = np.zeros(shape)
    state = {
        "w": weights(rng, shape),
        "m": zero if start == 1 else rng.standard_normal(shape),
        "v": zero if start == 1 else rng.uniform(0.1, 2.0, shape),
    }
    calls = [
        {
            "g": stream[step][0],
            "t": start + step,
            "lr": rounded(hyper["lr"] * (0.3 if step >= STEPS // 2 else 1.0)),
            "betas": hyper["betas"],
            "eps": hyper["eps"],
        }
        for step in range(STEPS)
    ]
    arguments = ["w", "g", "m", "v", "t", "*", "lr", "betas", "eps"]
    return {"name": "adam_step", "arguments": arguments, "state": state, "calls": calls, "keep": ["g"], **more}


def _step_cases(rng: Generator, hyper: dict[str, Any], hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, shape: tuple[int, ...], start: int = 1, steps: int = STEPS, **more: Any) -> Case:
        inputs = _step_inputs(rng, shape, start, hyper, **more)
        return probe_case(name, group, "function", {**inputs, "calls": inputs["calls"][:steps]}, hidden=hidden)

    return (
        case("8 steps from zero", "update", (8,)),
        case("continuing at a later t", "continued state", (6,), start=int(rng.integers(4, 9))),
        case("a matrix in float32", "shapes and dtypes", (3, 4), dtype="float32"),
        case("a 0-dim tensor", "shapes and dtypes", ()),
        # the slowest one, and its numbers are no news: short, and visible only
        *(() if hidden else (case("another device", "shapes and dtypes", (5,), steps=3, device=PRETEND),)),
    )


@torch.no_grad()
def _torch_step(
    w: torch.Tensor,
    g: torch.Tensor,
    m: torch.Tensor,
    v: torch.Tensor,
    t: int,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """torch's own update, for one tensor."""
    torch_adam_update(
        [w], [g], [m], [v], [], [torch.tensor(float(t - 1))],
        foreach=False, amsgrad=False, beta1=betas[0], beta2=betas[1], lr=lr, weight_decay=0.0, eps=eps, maximize=False,
    )  # fmt: skip


_UPDATE_ROWS = (
    "A5", "A5m", "A5v", "E3", "E3n", "E4", "E4p", "E5", "E6", "A6n", "A11", "A12", "A1", "A1s", "A2", "A2i", "A3",
    "A4", "A4m", "A7", "A7g", "A7a", "A7t", "A7b", "A8", "E1m", "E1v", "E9m", "E9v", "A13", "A14", "A15", "A16", "A17",
    "A18", "R4", "M5", "E5v",
)  # fmt: skip

STEP = CodeExercise(
    "adam.step",
    "Adam's update",
    "function",
    NOTEBOOK,
    {"update": 2.0, "continued state": 0.5, "shapes and dtypes": 0.5},
    difficulty=1,
    minutes=15,
    objects=("adam_step",),
    visible=lambda: _step_cases(generator(VISIBLE_SEED), adam_hyperparameters(), hidden=False),
    draw_cases=lambda seed: _step_cases(generator(seed), adam_hyperparameters(generator([seed, 1])), hidden=True),
    reference=lambda: (_torch_step,),
    compares="w, m and v after every step with torch's own update",
    misconceptions=recognise(bank.ROWS, (*_UPDATE_ROWS, "A25", "M9"), lambda faults: (bank.step_function(faults),)),
    combine=lambda faults: (bank.step_function(faults),),
    hints=(
        "Four things happen in this order: m moves towards g, v moves towards g², both are corrected for having "
        "started at 0, and w takes a step.",
        "m ← β₁·m + (1 − β₁)·g and v ← β₂·v + (1 − β₂)·g², both in place. Then m̂ = m / (1 − β₁^t) and "
        "v̂ = v / (1 − β₂^t) as new tensors. eps is added after the root.",
        "m.mul_(b1).add_(g, alpha=1 - b1) and v.mul_(b2).addcmul_(g, g, value=1 - b2); then "
        "w.sub_(lr * m_hat / (v_hat.sqrt() + eps)).",
    ),
    forbidden=FORBIDDEN,
)


# --- adam.adam and adam.adamw ---------------------------------------------------------------------------------------


def _without_decay(hyper: Mapping[str, Any]) -> dict[str, Any]:
    return {**hyper, "weight_decay": 0.0}


def _one_group(
    rng: Generator, shapes: Sequence[tuple[int, ...]], options: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    return one_group(rng, shapes, options, state=list(STATE_NAMES), **more)


def _two_groups(rng: Generator, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Groups that differ in every hyperparameter."""
    return {**two_groups(rng, hyper, second_group(hyper), [(8,)] * 3), "state": list(STATE_NAMES)}


def _optimizer_cases(rng: Generator, hyper: dict[str, Any], hidden: bool, adamw: bool) -> tuple[Case, ...]:
    plain = _without_decay(hyper)
    decay = "decoupled decay" if adamw else "weight decay (L2)"

    def case(name: str, group: str, inputs: dict[str, Any]) -> Case:
        return probe_case(name, group, "optimizer", inputs, hidden=hidden, may_lack=STATE_NAMES)

    shapes: list[tuple[int, ...]] = [(8,), (2, 3), ()]
    cases = [
        case("without decay", "update", _one_group(rng, shapes, plain)),
        case("with weight_decay", decay, _one_group(rng, shapes, hyper)),
        case("two groups, lr changed half-way", "parameter groups", _two_groups(rng, hyper)),
        case("a parameter that joins late", "late gradients", late(_one_group(rng, [(8,), (5,), (2, 3)], hyper), 4)),
        case("float32", "dtypes and devices", _one_group(rng, shapes, hyper, dtype="float32")),
        case("bfloat16", "dtypes and devices", _one_group(rng, shapes, coarse(hyper), dtype="bfloat16")),
    ]
    if not hidden:  # the slowest one, and its numbers are no news: short, and visible only
        inputs = _one_group(rng, shapes[:2], hyper, device=PRETEND)
        cases.append(case("another device", "dtypes and devices", {**inputs, "grads": inputs["grads"][:3]}))
    if not adamw:
        flags = {"group_of": [0, 1, 1], "groups": [{"amsgrad": True}, {"maximize": True}]}
        cases[4:4] = [
            case("amsgrad=True", "amsgrad and maximize", _one_group(rng, shapes, {**hyper, "amsgrad": True})),
            case("maximize=True", "amsgrad and maximize", _one_group(rng, shapes, {**hyper, "maximize": True})),
            case("one in each group", "amsgrad and maximize", _one_group(rng, shapes, hyper, **flags)),
        ]
    return tuple(cases)


_STATE_ROWS = (
    "A6",
    "A6g",
    "A23",
    "A24",
    "M9",
    "M9s",
    "A26",
    "A27",
    "S9",
    "A28",
    "A29",
    "A30",
    "A31",
    "A32",
    "A34",
    "A19",
)

_ADAM_ROWS = (
    *_UPDATE_ROWS, *_STATE_ROWS, "A20", "A21", "A35", "A22", "A33", "W8", "W3", "W5", "W6", "W9", "W10", "W11", "W12", "M10",
)  # fmt: skip

ADAM = CodeExercise(
    "adam.adam",
    "Adam as a torch optimizer",
    "optimizer",
    NOTEBOOK,
    {
        "update": 2.0,
        "weight decay (L2)": 1.0,
        "parameter groups": 1.0,
        "late gradients": 0.5,
        "amsgrad and maximize": 1.0,
        "dtypes and devices": 0.5,
    },
    difficulty=2,
    minutes=30,
    objects=("Adam",),
    visible=lambda: _optimizer_cases(generator(VISIBLE_SEED), adam_hyperparameters(), hidden=False, adamw=False),
    draw_cases=lambda seed: _optimizer_cases(
        generator(seed), adam_hyperparameters(generator([seed, 1])), hidden=True, adamw=False
    ),
    reference=lambda: (torch.optim.Adam,),
    compares="every parameter after every step with torch.optim.Adam",
    misconceptions=recognise(bank.ROWS, _ADAM_ROWS, lambda faults: (bank.optimizer("l2", faults),)),
    combine=lambda faults: (bank.optimizer("l2", faults),),
    hints=(
        "Loop over self.param_groups, then over group['params']. Leave a parameter alone whose .grad is None. All that "
        "has to survive the step lives in self.state[p], which starts as an empty dict.",
        "Order inside the loop: negate the gradient if maximize; add weight_decay·p to it (into a new tensor: .grad "
        "stays as it is); raise the parameter's own step count; update m and v; take the maximum of v for AMSGrad; "
        "correct; step.",
        "state = self.state[p]; if not state: state['step'] = torch.tensor(0.0), and exp_avg and exp_avg_sq are "
        "torch.zeros_like(p); then state['step'] += 1 and t = state['step'].item(). "
        "For AMSGrad: torch.maximum(max_v, v, out=max_v), and the divisor is (max_v / (1 - b2**t)).sqrt() + eps.",
    ),
    forbidden=FORBIDDEN,
)

ADAMW = CodeExercise(
    "adam.adamw",
    "AdamW: decay the weight, not the gradient",
    "optimizer",
    NOTEBOOK,
    {
        "update": 0.5,
        "decoupled decay": 1.5,
        "parameter groups": 1.0,
        "late gradients": 0.5,
        "dtypes and devices": 0.5,
    },
    difficulty=2,
    minutes=10,
    objects=("AdamW",),
    visible=lambda: _optimizer_cases(generator(VISIBLE_SEED), adam_hyperparameters(), hidden=False, adamw=True),
    draw_cases=lambda seed: _optimizer_cases(
        generator(seed), adam_hyperparameters(generator([seed, 1])), hidden=True, adamw=True
    ),
    reference=lambda: (torch.optim.AdamW,),
    compares="every parameter after every step with torch.optim.AdamW",
    misconceptions=recognise(
        bank.ROWS,
        (*_UPDATE_ROWS, *_STATE_ROWS, "W1", "W2", "W3", "W4", "W5", "W5b", "W6", "W9", "W11", "W17", "W18"),
        lambda faults: (bank.optimizer("decoupled", faults),),
    ),
    combine=lambda faults: (bank.optimizer("decoupled", faults),),
    hints=(
        "Only one line differs from Adam, and it touches the weight, not the gradient.",
        "Before the update, shrink the weight: w ← (1 − lr·weight_decay)·w. The gradient that m and v average has no "
        "decay in it.",
        "p.mul_(1 - group['lr'] * group['weight_decay']), then adam_step on p, the plain gradient and p's state.",
    ),
    forbidden=FORBIDDEN,
)


# --- adam.l2_is_not_decay -------------------------------------------------------------------------------------------


def _pair_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(kind: str, lr: float, wd: float) -> Case:
        shape = (6,)
        inputs = {
            "kind": kind,
            "w0": weights(rng, shape),
            "curvature": rng.permutation(np.logspace(-1, 0.5, 6)),
            "minimum": weights(rng, shape),
            "lr": rounded(lr * rng.uniform(0.8, 1.2)) if hidden else lr,
            "wd": rounded(wd * rng.uniform(0.8, 1.2)) if hidden else wd,
            "steps": int(rng.integers(10, 16)) if hidden else 12,
        }
        return probe_case(f"kind = '{kind}'", kind, "decay_pair", inputs, hidden=hidden)

    return case("sgd", 0.2, 0.3), case("momentum", 0.1, 0.3), case("adam", 0.1, 0.5)


DECAY_PAIR = CodeExercise(
    "adam.l2_is_not_decay",
    "L2 is not weight decay",
    "experiment",
    NOTEBOOK,
    {"sgd": 0.5, "momentum": 1.0, "adam": 1.5},
    difficulty=2,
    minutes=15,
    objects=("l2_and_decoupled",),
    visible=lambda: _pair_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _pair_cases(generator(seed), hidden=True),
    reference=lambda: (decay_pairs.with_torch,),
    compares="both trajectories at every step with torch.optim's SGD, Adam and AdamW",
    misconceptions=recognise(decay_pairs.ROWS, decay_pairs.ROWS, lambda faults: (decay_pairs.pair(faults),)),
    hints=(
        "Write one loop that takes a flag for the two forms, and run it twice from copies of w0. In one form the decay "
        "goes into g, in the other it goes into w.",
        "L2: g = grad_fn(w) + wd·w, then the plain update. Decoupled: g = grad_fn(w), w ← (1 − lr·wd)·w, then the plain "
        "update with g. Momentum: buf = mu·buf + g, w ← w − lr·buf.",
        "g = grad_fn(w); if l2: g = g + wd * w, else: w = w * (1 - lr * wd). Note that g is taken before w shrinks. Put "
        "w.clone() into a list after each step (and once at the start), and torch.stack the list.",
    ),
    forbidden=FORBIDDEN,
)


# --- adam.resume ----------------------------------------------------------------------------------------------------


def _resumed_is_uninterrupted(name: str, numbers: Iterable[int]) -> tuple[tuple[str, str], ...]:
    """What has to be bit for bit the same: a run, and the one that went through a checkpoint half-way."""
    return tuple((f"{RESUMED} {name.format(i)}", f"{UNINTERRUPTED} {name.format(i)}") for i in numbers)


def _resume_cases(rng: Generator, hyper: dict[str, Any], hidden: bool) -> tuple[Case, ...]:
    stop = int(rng.integers(3, 6)) if hidden else 4
    layout = {**_two_groups(rng, hyper), "state": ["step", *STATE_NAMES]}
    amsgrad = {**_one_group(rng, [(4,), (2, 2)], {**hyper, "amsgrad": True}), "state": ["step", *STATE_NAMES]}
    training = _two_groups(rng, hyper)
    first_lrs = [group["lr"] for group in training["groups"]]
    # the schedule has changed the lr before the interruption, and leaves it alone afterwards
    lrs = [[lr * (0.3 if step else 1.0) for lr in first_lrs] for step in range(STEPS)]
    fresh = [{"lr": 1.0}, {"lr": 1.0}]
    return (
        # m and v have been compared by adam.adam: here their names and kinds count, and the step count's value
        probe_case("two groups", "state layout", "state_layout", layout, hidden=hidden, own=STATE_NAMES),
        probe_case("amsgrad=True", "state layout", "state_layout", amsgrad, hidden=hidden, own=STATE_NAMES),
        probe_case(
            "stopped and resumed",
            "save and resume",
            "save_and_resume",
            {**training, "lrs": lrs, "stop": stop, "fresh_groups": fresh},
            hidden=hidden,
            own=(UNINTERRUPTED, RESUMED),
            identical=_resumed_is_uninterrupted("parameter {}", range(3)),
        ),
        probe_case(
            "a checkpoint of torch.optim.Adam",
            "torch's checkpoint",
            "foreign_checkpoint",
            _foreign(rng, hyper),
            hidden=hidden,
        ),
    )


def _foreign(rng: Generator, hyper: dict[str, Any]) -> dict[str, Any]:
    """What torch.optim.Adam saved after half of the steps, and the gradients of the other half."""
    inputs = {key: value for key, value in _two_groups(rng, hyper).items() if key != "lrs"}
    saved = saved_by_torch(torch.optim.Adam, inputs, STEPS // 2)
    return {
        **inputs,
        "params": saved["params"],
        "grads": inputs["grads"][STEPS // 2 :],
        "fresh_groups": [{"lr": 1.0}, {"lr": 1.0}],
        "checkpoint": saved,
    }


RESUME = CodeExercise(
    "adam.resume",
    "Save and resume",
    "experiment",
    NOTEBOOK,
    {"state layout": 1.0, "save and resume": 1.5, "torch's checkpoint": 1.5},
    difficulty=2,
    minutes=15,
    objects=("Adam", "save", "resume"),
    visible=lambda: _resume_cases(generator(VISIBLE_SEED), adam_hyperparameters(), hidden=False),
    draw_cases=lambda seed: _resume_cases(generator(seed), adam_hyperparameters(generator([seed, 1])), hidden=True),
    reference=lambda: (torch.optim.Adam, checkpoints.save, checkpoints.resume),
    compares="the resumed run bit by bit with the uninterrupted one, and the state with torch's",
    misconceptions=recognise(checkpoints.ROWS, checkpoints.ROWS, checkpoints.objects),
    hints=(
        "Optimizer already has state_dict and load_state_dict; they carry all that is in self.state and "
        "self.param_groups, and nothing else. So the question is what your Adam keeps, and where.",
        "Keep under self.state[p]: step (torch.tensor(0.), raised with += 1), exp_avg, exp_avg_sq, and max_exp_avg_sq "
        "when amsgrad. save writes opt.state_dict() with torch.save; resume reads it and calls opt.load_state_dict.",
        "torch.save(opt.state_dict(), path), and opt.load_state_dict(torch.load(path)). In step(): "
        "state['step'] += 1, and t = state['step'].item() (a 0-dim CPU tensor: no device has to wait).",
    ),
    forbidden=FORBIDDEN,
)


# --- adam.foreach ---------------------------------------------------------------------------------------------------

MANY = 10
LAUNCH_LIMIT = Limit(
    RATIO,
    1.5,
    "Ten parameters take {count} times the launches of one; at most {at_most} times is allowed. A loop launches every "
    "operation once per parameter, a torch._foreach_* call once.",
)


def _bare(hyper: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that ForeachAdam and MasterAdam know."""
    return {name: hyper[name] for name in ("lr", "betas", "eps")}


def _many(rng: Generator, hyper: Mapping[str, Any], late: bool = False, groups: int = 1) -> dict[str, Any]:
    """Ten small tensors. With `late`, three of them have no gradient in the first three steps. Of two groups, the
    first has none in step 1 either."""
    shapes: list[tuple[int, ...]] = [(4, 3), (5,)] * (MANY // 2)
    inputs = _one_group(rng, shapes, _bare(hyper), few=1, warmup=4 if late else 2)
    inputs["grads"] = inputs["grads"][: 6 if late else 4]
    if groups == 2:
        inputs["groups"], inputs["options"] = [_bare(hyper), _bare(second_group(hyper))], {}
        inputs["group_of"] = [0] * (MANY // 2) + [1] * (MANY // 2)
        inputs["grads"][0][: MANY // 2] = [None] * (MANY // 2)
    for step in range(3 if late else 0):
        for i in (1, 4, 7):
            inputs["grads"][step][i] = None
    return inputs


def _foreach_cases(rng: Generator, hyper: dict[str, Any], hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, inputs: dict[str, Any], *limits: Limit, own: tuple[str, ...] = ()) -> Case:
        collector = "launches" if limits else "optimizer"
        return probe_case(name, group, collector, inputs, hidden=hidden, may_lack=STATE_NAMES, limits=limits, own=own)

    groups = _two_groups(rng, hyper)
    groups["groups"] = [_bare(group) for group in groups["groups"]]
    return (
        case("ten parameters", "values", _many(rng, hyper)),
        case("two groups, lr changed half-way", "values", groups),
        case("parameters that join late", "late gradients", _many(rng, hyper, late=True, groups=2)),
        case("one parameter against ten", "launches", _many(rng, hyper), LAUNCH_LIMIT),
        # only counted: the values of late parameters have a group of their own
        case("late parameters, counted", "launches", _many(rng, hyper, late=True), LAUNCH_LIMIT, own=("parameter",)),
        case("no waiting for the device", "no host sync", _many(rng, hyper), *DEVICE_LIMITS),
    )


FOREACH = CodeExercise(
    "adam.foreach",
    "One launch for all parameters",
    "launches",
    NOTEBOOK,
    {"values": 1.0, "late gradients": 0.5, "launches": 1.5, "no host sync": 1.0},
    difficulty=3,
    minutes=30,
    objects=("ForeachAdam",),
    visible=lambda: _foreach_cases(generator(VISIBLE_SEED), adam_hyperparameters(), hidden=False),
    draw_cases=lambda seed: _foreach_cases(generator(seed), adam_hyperparameters(generator([seed, 1])), hidden=True),
    reference=lambda: (foreach.TorchForeach,),
    compares="values with torch.optim.Adam(foreach=True), launches of ten parameters with those of one",
    misconceptions=foreach.misconceptions(),
    combine=None,
    hints=(
        "Collect lists first (parameters with a gradient, their gradients, m, v, step counts), then call each operation "
        "once on the whole list. Most in-place methods have a torch._foreach_ twin.",
        "The bias corrections differ from parameter to parameter: make them Python lists of floats, one entry per "
        "parameter. torch._foreach_div_ and _foreach_mul_ take such a list. Count steps in Python or in 0-dim CPU "
        "tensors, so that nothing has to be fetched from the device.",
        "torch._foreach_lerp_(ms, grads, 1 - b1); torch._foreach_mul_(vs, b2); torch._foreach_addcmul_(vs, grads, grads, "
        "1 - b2); d = torch._foreach_sqrt(vs); torch._foreach_div_(d, [(1 - b2**t)**0.5 for t in ts]); "
        "torch._foreach_add_(d, eps); torch._foreach_addcdiv_(ps, ms, d, [-lr / (1 - b1**t) for t in ts]).",
    ),
    forbidden=FORBIDDEN,
)


# --- adam.master_weights --------------------------------------------------------------------------------------------

_MASTER_LIMITS = (
    *DEVICE_LIMITS,
    Limit(
        STATE,
        12,
        "{count} bytes of state per element; {at_most} are enough: master weight, m and v in float32. Nothing else has to "
        "live on between steps.",
    ),
    Limit(
        BYTES,
        20,
        "Each step allocates {count} times the parameters' bytes; {at_most} times is allowed. Update m, v and the master "
        "weight in place; a few temporaries are enough.",
    ),
)


def _small_updates(rng: Generator, steps: int, lr: float, **more: Any) -> dict[str, Any]:
    """Weights between 1.1 and 1.9, where bf16 numbers lie 1/128 apart, and updates of about lr, far below that."""
    shapes: list[tuple[int, ...]] = [(6,), (2, 2)]
    direction = [rng.choice([-1.0, 1.0], shape) for shape in shapes]
    return {
        "params": [rng.uniform(1.1, 1.9, shape) for shape in shapes],
        "group_of": [0, 0],
        "groups": [{}],
        "options": {"lr": lr, "betas": [0.9, 0.999], "eps": 1e-8},
        "grads": [[d * rng.uniform(0.5, 1.5, d.shape) for d in direction] for _ in range(steps)],
        **more,
    }


def _coarse_updates(rng: Generator, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """The probe that separates updates, for the float32 side."""
    return {**_one_group(rng, [(8,), (2, 3)], _bare(hyper)), "state": []}


def _bare_groups(rng: Generator, hyper: Mapping[str, Any]) -> dict[str, Any]:
    inputs = _two_groups(rng, hyper)
    return {**inputs, "groups": [_bare(group) for group in inputs["groups"]], "state": []}


def _reloaded(rng: Generator, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Two groups, and a parameter that never has a gradient, through a checkpoint half-way."""
    inputs = _bare_groups(rng, hyper)
    inputs["params"].insert(1, weights(rng, (3,)))
    inputs["group_of"].insert(1, 0)
    for step in inputs["grads"]:
        step.insert(1, None)
    del inputs["lrs"]
    return {**inputs, "stop": STEPS // 2, "dtype": "bfloat16"}


#: What is compared where the rounded parameter would hide it: master, m and v in float32.
_FLOAT32_SIDE: dict[str, Any] = {"own": ("parameter",), "tolerance": TOLERANCE["float32"]}


def _master_cases(rng: Generator, hyper: dict[str, Any], hidden: bool) -> tuple[Case, ...]:
    lr = rounded(rng.uniform(1.6e-3, 2.2e-3)) if hidden else 2e-3

    def case(name: str, group: str, inputs: dict[str, Any], **more: Any) -> Case:
        return probe_case(name, group, "master_weights", {**inputs, "dtype": "bfloat16"}, hidden=hidden, **more)

    coarse = _coarse_updates(rng, hyper)
    return (
        case(
            "100 updates below bf16's resolution",
            "values",
            _small_updates(rng, 100, lr),
            tolerance=TOLERANCE["bfloat16"],
        ),
        case("the float32 side follows Adam", "float32 state", coarse, **_FLOAT32_SIDE),
        case("two groups, lr changed half-way", "float32 state", _bare_groups(rng, hyper), **_FLOAT32_SIDE),
        probe_case(
            "through state_dict and back",
            "load_state_dict",
            "master_checkpoint",
            _reloaded(rng, hyper),
            hidden=hidden,
            own=(UNINTERRUPTED, RESUMED),
            identical=tuple(
                pair for key in MASTER_KEYS for pair in _resumed_is_uninterrupted(f"{key} of parameter {{}}", (0, 2, 3))
            ),
        ),
        probe_case(
            "counted on a device",
            "on the device",
            "launches",
            {**_coarse_updates(rng, hyper), "dtype": "bfloat16", "few": 1, "warmup": 1},
            hidden=hidden,
            own=("parameter",),
            limits=_MASTER_LIMITS,
        ),
    )


MASTER = CodeExercise(
    "adam.master_weights",
    "bf16 weights that still learn",
    "launches",
    NOTEBOOK,
    {"values": 1.5, "float32 state": 0.5, "load_state_dict": 1.0, "on the device": 1.0},
    difficulty=3,
    minutes=25,
    objects=("MasterAdam",),
    visible=lambda: _master_cases(generator(VISIBLE_SEED), adam_hyperparameters(), hidden=False),
    draw_cases=lambda seed: _master_cases(generator(seed), adam_hyperparameters(generator([seed, 1])), hidden=True),
    reference=lambda: (master.Master,),
    compares="bf16 weights and float32 state with torch's Adam in float32",
    misconceptions=master.misconceptions(),
    hints=(
        "Keep three float32 tensors per parameter: the master weight, m and v. Update those; the bf16 parameter is only "
        "a rounded copy of the master weight, made after every step.",
        "state['master'] = p.detach().float() once, at the parameter's first step. Then run your update on the master "
        "weight with p.grad.float(), and p.copy_(master). load_state_dict casts state to the parameter's dtype: "
        "override it, and put the float32 tensors back.",
        "def load_state_dict(self, state_dict): super().load_state_dict(state_dict), then number the parameters through all "
        "groups; for i, p with i in state_dict['state'], self.state[p][key] = "
        "state_dict['state'][i][key].to(p.device, copy=True) for the three keys.",
    ),
    forbidden=FORBIDDEN,
)

EXERCISES: tuple[Exercise, ...] = (
    QUIZZES[0],
    STEP,
    QUIZZES[1],
    ADAM,
    BOUND,
    ADAMW,
    DECAY_PAIR,
    *QUIZZES[2:6],
    RESUME,
    FOREACH,
    QUIZZES[6],
    MASTER,
    QUIZZES[7],
    WHICH_KNOB,
    QUIZZES[8],
)
