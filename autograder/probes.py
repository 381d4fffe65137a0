"""Gradient streams and problems on which right and wrong implementations part.

Naive probes (one group, eps = 1e-8, a few steps) cannot tell dozens of wrong Adams from the right one. These streams
have what separates them: large eps and weight decay, several groups that differ in every hyperparameter, an lr that
changes half-way, gradients over two decades of scale with a zero and a spike, a parameter that has no gradient at
first, and a gradient tensor that is used twice. `autograder audit` prints the margins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.optimizer import build
from autograder.evidence import Array
from autograder.exercise import TOLERANCE, Case

STEPS = 8


def generator(seed: int | Sequence[int]) -> np.random.Generator:
    """A random stream of its own: nothing here touches numpy's or torch's global state."""
    return np.random.Generator(np.random.PCG64(seed))


def weights(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Starting values with magnitude between 0.5 and 2 and random signs: no weight is near 0, where decay is blind."""
    return np.asarray(rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape))


def gradients(rng: np.random.Generator, shapes: Sequence[tuple[int, ...]], steps: int = STEPS) -> list[list[Array]]:
    """`steps` lists of one gradient per shape: scales from 0.1 to 10, sign changes, a zero at first, a late spike.

    The first element of the first tensor has a zero gradient in the first two steps (0/0 without eps); step 5 is a
    spike of three times the usual size with the sign turned.
    """
    scales = [_scales(rng, shape) for shape in shapes]

    def fresh() -> list[Array]:
        return [np.asarray(rng.standard_normal(shape) * scale) for shape, scale in zip(shapes, scales, strict=True)]

    stream = [fresh()]
    while len(stream) < steps:
        # half of the old gradient: a stream with memory, so that averages do not cancel to nothing
        stream.append([np.asarray(0.5 * old + new) for old, new in zip(stream[-1], fresh(), strict=True)])
    if steps >= 5:
        stream[4] = [np.asarray(-3.0 * gradient) for gradient in stream[3]]
    for gradient in stream[:2]:
        gradient[0].reshape(-1)[0] = 0.0
    return stream


def _scales(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    size = int(np.prod(shape))
    return rng.permutation(np.logspace(-1, 1, size) if size > 1 else np.ones(1)).reshape(shape)


def probe_case(name: str, group: str, collector: str, inputs: Mapping[str, Any], *, hidden: bool, **more: Any) -> Case:
    """A case whose tolerance follows its dtype, unless `more` has one."""
    tolerance = more.pop("tolerance", None) or TOLERANCE[inputs.get("dtype", "float64")]
    return Case(name, group, collector, inputs, tolerance=tolerance, hidden=hidden, **more)


def one_group(
    rng: np.random.Generator, shapes: Sequence[tuple[int, ...]], options: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """An optimizer's inputs: one group given as a flat list; the hyperparameters go to the constructor."""
    return {
        "params": [weights(rng, shape) for shape in shapes],
        "group_of": [0] * len(shapes),
        "groups": [{}],
        "options": dict(options),
        "grads": gradients(rng, shapes),
        **more,
    }


def two_groups(
    rng: np.random.Generator,
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    shapes: Sequence[tuple[int, ...]] = ((6,),) * 3,
    group_of: Sequence[int] = (0, 0, 1),
) -> dict[str, Any]:
    """An optimizer's inputs: tensors in two groups; both lrs change half-way."""
    return {
        "params": [weights(rng, shape) for shape in shapes],
        "group_of": list(group_of),
        "groups": [dict(first), dict(second)],
        "grads": gradients(rng, shapes),
        "lrs": changing_lrs([first["lr"], second["lr"]]),
    }


def late(inputs: dict[str, Any], *reuse: int) -> dict[str, Any]:
    """Parameter 1 has no gradient in steps 1, 2 and 6; steps `reuse` take the gradient tensors of the step before."""
    for step in (0, 1, 5):
        inputs["grads"][step][1] = None
    return {**inputs, "reuse": list(reuse)}


def changing_lrs(lrs: Sequence[float], steps: int = STEPS, factor: float = 0.3) -> list[list[float]]:
    """Each group's lr for every step: as given in the first half, times `factor` in the second."""
    return [[lr * (factor if step >= steps // 2 else 1.0) for lr in lrs] for step in range(steps)]


def adam_hyperparameters(rng: np.random.Generator | None = None) -> dict[str, Any]:
    """The probe's lr, betas, eps and weight_decay; drawn near them from `rng` for hidden cases.

    The fixed values separate the bank best; see the margins that `autograder audit` prints.
    """
    if rng is None:
        return {"lr": 0.05, "betas": [0.7, 0.85], "eps": 0.1, "weight_decay": 0.3}
    return {
        "lr": rounded(rng.uniform(0.04, 0.07)),
        "betas": [rounded(rng.uniform(0.62, 0.75)), rounded(rng.uniform(0.82, 0.9))],
        "eps": rounded(rng.uniform(0.07, 0.15)),
        "weight_decay": rounded(rng.uniform(0.25, 0.4)),
    }


def second_group(first: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters that differ from the first group's in every place."""
    b1, b2 = first["betas"]
    return {
        "lr": rounded(first["lr"] * 1.7),
        "betas": [rounded(b1 * 0.8), rounded(1 - (1 - b2) * 1.9)],
        "eps": rounded(first["eps"] * 0.37),
        "weight_decay": rounded(first["weight_decay"] * 0.6),
    }


def coarse(hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Larger steps for bf16, whose numbers near 1 lie 0.8 % apart: rounding must stay small beside the way moved."""
    decay = {"weight_decay": rounded(hyper["weight_decay"] / 10)} if "weight_decay" in hyper else {}
    return {**hyper, "lr": rounded(hyper["lr"] * 10), **decay}


def rounded(value: float) -> float:
    """Three significant digits: numbers that a message can show."""
    return float(f"{value:.3g}")


def quadratic_gradient(curvature: Array, minimum: Array) -> Any:
    """∇f(w) for f(w) = ½ Σ curvature·(w − minimum)², as a function of a torch tensor of the same shape."""

    def grad_fn(w: Any) -> Any:
        return w.new_tensor(curvature) * (w - w.new_tensor(minimum))

    return grad_fn


def saved_by_torch(optimizer: type[torch.optim.Optimizer], inputs: Mapping[str, Any], stop: int) -> dict[str, Any]:
    """What one of torch's optimizers saves after `stop` steps of a case of `collectors.optimizer`, as plain data.

    Returns `params`, arrays; `state`, a mapping of arrays per parameter; `param_groups` as in `state_dict()`, tuples as
    lists. It is data of the case, since nothing that plays a case may hold the reference.
    """
    params = [torch.nn.Parameter(torch.tensor(array)) for array in inputs["params"]]
    opt = build(optimizer, params, inputs)
    for step in inputs["grads"][:stop]:
        for parameter, gradient in zip(params, step, strict=True):
            parameter.grad = torch.tensor(gradient)
        opt.step()
    saved = opt.state_dict()
    states = [saved["state"].get(i, {}) for i in range(len(params))]
    return {
        "params": [p.detach().numpy().copy() for p in params],
        "state": [{k: v.numpy().copy() for k, v in own.items() if v is not None} for own in states],
        "param_groups": [
            {key: list(value) if isinstance(value, tuple) else value for key, value in group.items()}
            for group in saved["param_groups"]
        ],
    }
