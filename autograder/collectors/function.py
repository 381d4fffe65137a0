"""Call a function several times and record what it returns and what it did to the tensors it was given.

A case's inputs:
    name        how the function is called in messages
    arguments   argument names in order; names after "*" are passed by keyword
    state       name → array: tensors that live on from call to call (changed in place)
    calls       one mapping per call: name → array, number, string or list, for the arguments that are not state
    keep        names of tensors that have to stay as they are
    returns     what the returned value is called in messages; "" when nothing is returned
    tensor      whether it has to be a tensor
    raises      name of the exception that the calls have to raise; nothing is recorded of them then but whether they do
    dtype, device
Arrays of integers become int64 tensors (indices, sizes), all others tensors of the case's dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import BY_ACCIDENT, UNCHANGED, Place, check_call, place, the_function
from autograder.evidence import ProtocolError, Record
from autograder.exercise import Case


def function(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Play the case; stepped arrays have one row for the start and one per call."""
    inputs = case.inputs
    call = the_function(objects[0], inputs["name"])
    dtype = inputs.get("dtype", "float64")
    with place(inputs.get("device", "cpu")) as here:
        state = {name: here.tensor(array, dtype) for name, array in inputs.get("state", {}).items()}
        for name, tensor in state.items():
            record.row(name, tensor)
        for number, values in enumerate(inputs["calls"], start=1):
            arguments = {**state, **{name: _value(value, here, dtype) for name, value in values.items()}}
            before = {name: arguments[name].clone() for name in inputs.get("keep", ())}
            if "raises" in inputs:
                record.fact("these arguments", _raised(call, inputs, arguments))
                continue
            returned = _call(call, inputs, arguments)
            for name, tensor in state.items():
                _same_kind(name, tensor, dtype)
                record.row(name, tensor)
            for name, tensor in before.items():
                same = bool(torch.equal(tensor.cpu(), arguments[name].cpu()))
                record.first(
                    f"argument {name}",
                    UNCHANGED if same else f"changed by call {number}, {BY_ACCIDENT}",
                    UNCHANGED,
                )
            if inputs.get("tensor") and not isinstance(returned, torch.Tensor):
                raise ProtocolError(f"{inputs['name']} should return a tensor, not {type(returned).__name__}")
            if inputs.get("returns"):
                _record_returned(record, inputs["returns"], returned, several=len(inputs["calls"]) > 1)


def _value(value: Any, here: Place, dtype: str) -> Any:
    if isinstance(value, np.ndarray):
        return here.tensor(value, "int64" if value.dtype.kind in "iu" else dtype)
    return tuple(value) if isinstance(value, list) else value


def _call(call: Any, inputs: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    names = list(inputs["arguments"])
    star = names.index("*") if "*" in names else len(names)
    positional = [arguments[name] for name in names[:star]]
    keywords = {name: arguments[name] for name in names[star + 1 :]}
    check_call(call, inputs["name"], f"({', '.join(names)})", *positional, **keywords)
    return call(*positional, **keywords)


def _raised(call: Any, inputs: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """What the call did with arguments that it has to refuse; a stub that is not started is no refusal."""
    try:
        _call(call, inputs, arguments)
    except (ProtocolError, NotImplementedError):
        raise
    except Exception as error:
        return f"refused with {type(error).__name__}"
    return "accepted"


def _same_kind(name: str, tensor: torch.Tensor, dtype: str) -> None:
    if tensor.dtype != getattr(torch, dtype):
        raise ProtocolError(f"{name} became {tensor.dtype}; it should stay torch.{dtype}")


def _record_returned(record: Record, name: str, returned: object, several: bool) -> None:
    if returned is None:
        raise ProtocolError(f"The function returned None; it should return {name}")
    if several:
        record.row(name, returned)
    else:
        record.array(name, returned)
