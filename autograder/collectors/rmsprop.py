"""What the notebook on RMSProp needs beside functions and optimizers: runs whose gradients are scaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import BY_ACCIDENT, UNCHANGED, Place, check_call, placed, the_function
from autograder.evidence import Array, ProtocolError, Record, as_array
from autograder.exercise import Case

Tensor = torch.Tensor

#: The fact about a call that is made twice.
REPEATED, ALIKE = "the same call, made twice", "the same weights"

#: The fact about the gradients that `scale_dependence` calls `run` with.
HANDED, AS_GIVEN = "the gradients that run is called with", "grads as they are"

#: What becomes of a gradient times a scale in one step of the runs that `scale_dependence` is tried on.
STEPS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "gradient descent": lambda g, c: c * g,
    "steps of one length": lambda g, c: (c * g).sign(),
    "clipped gradients": lambda g, c: (c * g).clamp(-1.0, 1.0),
    "saturating steps": lambda g, c: (c * g).tanh(),
    # neither the largest nor the smallest scale decides, and c·g at scale 1 is another run than g at scale c
    "steps that are longest at a middle scale": lambda g, c: c**2 / (1 + (c / 4) ** 6) * g,
}


@placed
def scaled_trajectories(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Call `trajectory` for each scale, and for the first one twice. Inputs: grads, scales, labels, eps, dtype,
    device."""
    inputs = case.inputs
    trajectory = the_function(objects[0], "trajectory")
    for scale, label in zip(inputs["scales"], inputs["labels"], strict=True):
        record.trajectory(label, _play(trajectory, inputs, scale, record, here))
    one, other = (_play(trajectory, inputs, inputs["scales"][0], record, here) for _ in range(2))
    same = np.array_equal(one, other, equal_nan=True)
    record.fact(REPEATED, ALIKE if same else "other weights the second time: something is kept between calls")


def _play(
    trajectory: Callable[..., Any], inputs: Mapping[str, Any], scale: float, record: Record, here: Place
) -> Array:
    grads = here.tensor(inputs["grads"], inputs.get("dtype", "float64"))
    given = grads.clone()
    check_call(trajectory, "trajectory", "(grads, scale, eps)", grads, scale, inputs["eps"])
    returned = trajectory(grads, scale, inputs["eps"])
    _record_grads(record, "trajectory", grads, given)
    return _rows(returned, grads)


def _rows(returned: object, grads: Tensor) -> Array:
    if not isinstance(returned, torch.Tensor):
        kind = "None" if returned is None else f"a {type(returned).__name__}"
        raise ProtocolError(f"trajectory should return a tensor, not {kind}")
    shape = (len(grads) + 1, *grads.shape[1:])
    if tuple(returned.shape) != shape:
        raise ProtocolError(
            f"trajectory returned shape {tuple(returned.shape)}; it should be {shape}: the start and one row per step"
        )
    if returned.dtype != grads.dtype:
        raise ProtocolError(
            f"trajectory returned {returned.dtype}; grads are {grads.dtype}: torch.zeros_like(grads[0])"
        )
    rows = returned.detach()
    if bool(rows.any()) and bool((rows == rows[0]).all()):
        raise ProtocolError(
            "All rows that trajectory returned are the same. Are they all one tensor? w.detach() shares its memory with w; "
            "w.detach().clone() is a copy"
        )
    return as_array(returned)


def _record_grads(record: Record, name: str, grads: Tensor, given: Tensor) -> None:
    same = torch.equal(grads, given)
    record.first(f"grads, given to {name}", UNCHANGED if same else f"changed, {BY_ACCIDENT}", UNCHANGED)


@placed
def scale_property(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Call `scale_dependence` on runs made here. Inputs: kind (a key of STEPS), lr, grads, scales, device."""
    inputs = case.inputs
    dependence = the_function(objects[1], "scale_dependence")
    grads, change = here.tensor(inputs["grads"]), STEPS[inputs["kind"]]
    given = grads.clone()

    def run(g: Tensor, scale: float) -> Tensor:
        if not isinstance(g, torch.Tensor) or g.shape != grads.shape:
            raise ProtocolError("scale_dependence should call run(grads, scale) with the grads that it was given")
        record.first(HANDED, AS_GIVEN if torch.equal(g, given) else "other numbers; the scale is run's own", AS_GIVEN)
        return torch.cat([torch.zeros_like(g[:1]), -inputs["lr"] * change(g, float(scale)).cumsum(0)])

    check_call(dependence, "scale_dependence", "(run, grads, scales)", run, grads, inputs["scales"])
    returned = dependence(run, grads, list(inputs["scales"]))
    _record_grads(record, "scale_dependence", grads, given)
    if isinstance(returned, bool) or not isinstance(returned, (int, float, torch.Tensor, np.ndarray, np.generic)):
        kind = "None" if returned is None else f"a {type(returned).__name__}"
        raise ProtocolError(f"scale_dependence should return one number, not {kind}")
    array = as_array(returned.item() if isinstance(returned, np.generic) else returned)
    if array.shape:
        raise ProtocolError(f"scale_dependence returned shape {array.shape}; it should be one number")
    record.array("scale_dependence(run, grads, scales)", array)
