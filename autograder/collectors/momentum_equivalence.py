"""What the notebook on momentum needs beside functions and optimizers: several functions at once, a gradient that is
asked for at a point, constructors that have to refuse, and buffers that torch can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import UNCHANGED, Place, check_call, placed, the_class, the_function
from autograder.collectors.optimizer import Run
from autograder.evidence import ProtocolError, Record, as_array
from autograder.exercise import Case

Tensor = torch.Tensor
BUFFER = "momentum_buffer"
ASKED = "the point at which the gradient is asked for"


@placed
def functions(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Call several functions and record what each returns.

    Inputs: `names` and `usages` of the objects, and `calls`, each with
        function    index of the object
        arguments   in order: arrays become tensors; numbers, lists and bools stay as they are
        label       what the returned value is called; must not hold the inputs of a hidden case
        returns     names of the parts when a tuple is returned; absent for one value
        shape       of the returned tensor, whose rows are the start and one per step; absent for single values
        refuses     true where a ValueError is right; recorded as a fact
    """
    for call in case.inputs["calls"]:
        number, label = call["function"], call["label"]
        name = case.inputs["names"][number]
        function = the_function(objects[number], name)
        arguments = [here.given(a) if isinstance(a, np.ndarray) else a for a in call["arguments"]]
        check_call(function, name, case.inputs["usages"][number], *arguments)
        if call.get("refuses"):
            record.fact(label, _outcome(function, arguments))
            continue
        returned = function(*arguments)
        for given, tensor in zip(call["arguments"], arguments, strict=True):
            if isinstance(given, np.ndarray):
                kept = np.array_equal(given, as_array(tensor))
                record.first(f"tensors given to {name}", UNCHANGED if kept else "changed", UNCHANGED)
        _record_returned(record, call, name, returned)


def _outcome(function: Any, arguments: Sequence[Any]) -> str:
    try:
        function(*arguments)
    except NotImplementedError:
        raise
    except Exception as error:  # whatever it is, it is what happened
        return f"refused with {type(error).__name__}"
    return "accepted"


def _record_returned(record: Record, call: dict[str, Any], name: str, returned: object) -> None:
    label = call["label"]
    if returned is None:
        raise ProtocolError(f"{name} returned None; it should return a value")
    if "returns" in call:
        parts = call["returns"]
        if not isinstance(returned, (tuple, list)) or len(returned) != len(parts):
            raise ProtocolError(f"{name} should return {len(parts)} values: ({', '.join(parts)})")
        for part, value in zip(parts, returned, strict=True):
            record.array(f"{label}: {part}", value)
    elif "shape" in call:
        array, shape = as_array(returned, f"What {name} returns"), tuple(call["shape"])
        if array.shape != shape:
            raise ProtocolError(
                f"{name} returned shape {array.shape}; it should be {shape}: the start and one row per step"
            )
        record.trajectory(label, array)
    else:
        record.array(label, returned)


@placed
def lookahead(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Steps with a look ahead on a quadratic. Inputs: theta, v, curvature, minimum, lr, mu, steps, dtype.

    Recorded after every step: theta, v, the point at which the gradient was asked for, and what `torch_point` says.
    """
    inputs = case.inputs
    step, point = the_function(objects[0], "lookahead_step"), the_function(objects[1], "torch_point")
    dtype = getattr(torch, inputs.get("dtype", "float64"))
    theta, v, curvature, minimum = (
        here.tensor(inputs[name], inputs.get("dtype", "float64")) for name in ("theta", "v", "curvature", "minimum")
    )
    asked: list[Tensor] = []

    def grad_fn(w: Tensor) -> Tensor:
        if not isinstance(w, torch.Tensor) or w.shape != theta.shape:
            raise ProtocolError("grad_fn takes a tensor of theta's shape: the point at which you want the gradient")
        asked.append(w.detach().clone())
        return curvature * (w.detach() - minimum)

    check_call(step, "lookahead_step", "(theta, v, grad_fn, lr, mu)", theta, v, grad_fn, inputs["lr"], inputs["mu"])
    check_call(point, "torch_point", "(theta, v, mu)", theta, v, inputs["mu"])
    for name, tensor in (("theta", theta), ("v", v), (ASKED, theta)):
        record.row(name, tensor)
    _record_point(record, point, theta, v, inputs["mu"])
    for _ in range(inputs["steps"]):
        asked.clear()
        step(theta, v, grad_fn, inputs["lr"], inputs["mu"])
        if len(asked) != 1:
            raise ProtocolError(f"lookahead_step asked for the gradient {len(asked)} times; it should ask once")
        if theta.dtype != dtype or v.dtype != dtype:
            raise ProtocolError(f"theta and v should stay {dtype}")
        record.row("theta", theta)
        record.row("v", v)
        record.row(ASKED, asked[0])
        _record_point(record, point, theta, v, inputs["mu"])


def _record_point(record: Record, point: Any, theta: Tensor, v: Tensor, mu: float) -> None:
    before = theta.clone(), v.clone()
    where = point(theta, v, mu)
    if not isinstance(where, torch.Tensor) or where.shape != theta.shape:
        raise ProtocolError("torch_point should return a tensor of theta's shape")
    record.row("torch_point(theta, v, mu)", where)
    kept = torch.equal(before[0], theta) and torch.equal(before[1], v)
    record.first("theta and v, given to torch_point", UNCHANGED if kept else "changed", UNCHANGED)


def refusals(case: Case, objects: Sequence[Any], record: Record) -> None:
    """What a constructor says to combinations of options. Inputs: `options`, label → keyword arguments."""
    cls = the_class(objects[0], "the optimizer", ["step"])
    for label, options in case.inputs["options"].items():
        record.fact(label, _construction(cls, options))


def _construction(cls: type, options: dict[str, Any]) -> str:
    try:
        cls([torch.nn.Parameter(torch.zeros(2))], **options)
    except Exception as error:  # whatever it is, it is what happened
        return f"refused with {type(error).__name__}"
    return "accepted"


@placed
def checkpoint(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Is torch's momentum buffer where torch has it? Inputs: those of `collectors.optimizer`, `stop`, and `checkpoint`,
    what torch.optim.SGD saved at that step (`probes.saved_by_torch`).

    Recorded: the buffers in `state_dict()` after `stop` steps; then every parameter of a second optimizer, which loads
    torch's checkpoint and goes on.
    """
    cls = the_class(objects[0], "the optimizer", ["step", "state_dict", "load_state_dict"])
    stop, last, saved = case.inputs["stop"], len(case.inputs["grads"]), case.inputs["checkpoint"]
    own = Run(case.inputs, cls, here, Record())
    _take_steps(own, 1, stop)
    _record_buffers(record, own)
    resumed = Run({**case.inputs, "params": saved["params"]}, cls, here, record)
    state = {i: {key: torch.tensor(value) for key, value in one.items()} for i, one in enumerate(saved["state"])}
    resumed.opt.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    resumed.record_rows()
    for number in range(stop + 1, last + 1):
        _take_steps(resumed, number, number)
        resumed.record_rows()


def _take_steps(run: Run, first: int, last: int) -> None:
    for number in range(first, last + 1):
        run.set_gradients(number)
        run.opt.step()


def _record_buffers(record: Record, run: Run) -> None:
    state = run.opt.state_dict()["state"]
    for i in range(len(run.params)):
        buffer = state.get(i, {}).get(BUFFER)
        record.fact(f"'{BUFFER}' of parameter {i} in state_dict()", "none" if buffer is None else "there")
        if buffer is not None:
            record.array(f"{BUFFER} of parameter {i}", buffer)
