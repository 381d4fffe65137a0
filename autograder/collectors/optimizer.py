"""Drive an optimizer class with scripted gradients and record every parameter and state after every step.

A case's inputs (P parameters, G groups, T steps):
    params      P arrays, the starting values
    group_of    P group numbers
    groups      G mappings of hyperparameters, each group's own, by the constructor's keyword names
    options     hyperparameters passed to the constructor itself (the defaults of all groups)
    grads       T lists of P arrays, or None where a parameter has no gradient in that step
    reuse       steps (from 1) in which `.grad` still is the previous step's tensor object
    lrs         T lists of G learning rates, set on the groups before each step; absent: left alone
    later       "step" (from 1) and "groups", G mappings: from that step on the groups have these hyperparameters
    state       names of the state tensors to record, as torch calls them
    reload      the step (from 1) after which a new optimizer, with new parameters, takes over through state_dict
    dtype, device
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import BY_ACCIDENT, PRETEND, UNCHANGED, Place, place, the_class
from autograder.evidence import Array, ProtocolError, Record, as_array
from autograder.exercise import Case

#: Facts with the value they have when all is well.
GRAD, HELD, STORAGE, PRECISION = "p.grad", "p.grad after step()", "parameters", "precision of the state"
STILL_THERE, IN_PLACE, ENOUGH = "still there", "updated in place", "that of the parameter"
DETACHED = "detached for good: backward gives them no gradient any more"


def optimizer(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Play the case with the student's class, the first of `objects`."""
    cls = the_class(objects[0], "the optimizer", ["step"])
    with place(case.inputs.get("device", "cpu")) as here:
        Run(case.inputs, cls, here, record).play()


class Run:
    """One optimizer on one script."""

    def __init__(self, inputs: Mapping[str, Any], cls: type, here: Place, record: Record) -> None:
        self.inputs, self.cls, self.here, self.record = inputs, cls, here, record
        self.dtype = inputs.get("dtype", "float64")
        self.params = [here.parameter(array, self.dtype) for array in inputs["params"]]
        self.opt = build(cls, self.params, inputs)
        self.state_rows: dict[str, list[Array | None]] = {}

    def play(self) -> None:
        self.record_rows()
        pointers = [p.data_ptr() for p in self.params]
        for number in range(1, len(self.inputs["grads"]) + 1):
            self.set_gradients(number)
            before = [None if p.grad is None else p.grad.clone() for p in self.params]
            self.opt.step()
            self.record_rows()
            self.check_gradients(before, number)
            if self.inputs.get("device", "cpu") != PRETEND:
                self.check_storage(pointers, number)
            if number == self.inputs.get("reload"):
                self.resume()
                pointers = [p.data_ptr() for p in self.params]
        self.flush_state()

    def resume(self) -> None:
        """What a restart from a checkpoint does: new parameters, a new optimizer, and `load_state_dict`."""
        saved = copy.deepcopy(self.opt.state_dict())
        self.params = [torch.nn.Parameter(p.detach().clone()) for p in self.params]
        self.opt = build(self.cls, self.params, self.inputs)
        self.opt.load_state_dict(saved)

    def set_gradients(self, number: int) -> None:
        """What training would do before step `number` (from 1): a new lr and a new gradient."""
        if lrs := self.inputs.get("lrs"):
            for group, lr in zip(self.opt.param_groups, lrs[number - 1], strict=True):
                group["lr"] = lr
        later = self.inputs.get("later")
        if later and number == later["step"]:
            for group, changed in zip(self.opt.param_groups, later["groups"], strict=True):
                group.update(changed)
        if number in self.inputs.get("reuse", ()):
            return
        for parameter, grad in zip(self.params, self.inputs["grads"][number - 1], strict=True):
            parameter.grad = None if grad is None else self.here.tensor(grad, self.dtype)

    def record_rows(self) -> None:
        for i, parameter in enumerate(self.params):
            if parameter.dtype != getattr(torch, self.dtype):
                raise ProtocolError(f"parameter {i} became {parameter.dtype}; it should stay torch.{self.dtype}")
            self.record.row(f"parameter {i}", parameter)
            state = state_of(self.opt, parameter)
            self.record.first(PRECISION, coarser(state, parameter) or ENOUGH, ENOUGH)
            for key in self.inputs.get("state", ()):
                value = state.get(key)
                row = None if value is None else as_array(value, key)
                self.state_rows.setdefault(f"{key} of parameter {i}", []).append(row)

    def flush_state(self) -> None:
        """State that never appeared is left out; before it appears it counts as zero."""
        for name, rows in self.state_rows.items():
            shapes = {row.shape for row in rows if row is not None}
            if len(shapes) == 1:
                zero = np.zeros(shapes.pop())
                for row in rows:
                    self.record.row(name, zero if row is None else row)

    def check_gradients(self, before: list[torch.Tensor | None], number: int) -> None:
        for i, (parameter, grad) in enumerate(zip(self.params, before, strict=True)):
            now = parameter.grad
            lost = grad is not None and now is None
            self.record.first(HELD, f"None after step {number} (parameter {i})" if lost else STILL_THERE, STILL_THERE)
            changed = (grad is None) != (now is None) or not (
                grad is None or now is None or np.array_equal(as_array(grad), as_array(now))
            )
            if grad is None:
                text = f"None no longer after step {number} (parameter {i}): step() put a gradient there"
            else:
                text = f"changed in step {number} (parameter {i}), {BY_ACCIDENT}"
            self.record.first(GRAD, text if changed and not lost else UNCHANGED, UNCHANGED)

    def check_storage(self, pointers: list[int], number: int) -> None:
        for i, (parameter, pointer) in enumerate(zip(self.params, pointers, strict=True)):
            same = parameter.data_ptr() == pointer
            value = IN_PLACE if same else f"given new storage in step {number} (parameter {i})"
            if same and not parameter.requires_grad:
                value = DETACHED
            self.record.first(STORAGE, value, IN_PLACE)


def build(cls: type, params: Sequence[torch.nn.Parameter], inputs: Mapping[str, Any]) -> Any:
    """Construct the student's optimizer as the case says. Raises ProtocolError when it has no parameter groups."""
    options = {name: _plain(value) for name, value in inputs.get("options", {}).items()}
    groups: list[dict[str, Any]] = [
        {"params": [], **{name: _plain(value) for name, value in group.items()}} for group in inputs["groups"]
    ]
    for parameter, number in zip(params, inputs["group_of"], strict=True):
        groups[number]["params"].append(parameter)
    flat = len(groups) == 1 and not inputs["groups"][0]
    opt = cls(groups[0]["params"] if flat else groups, **options)
    found = getattr(opt, "param_groups", None)
    if not isinstance(found, list) or len(found) != len(groups):
        raise ProtocolError(f"{cls.__name__}(...).param_groups should hold {len(groups)} parameter groups")
    return opt


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def coarser(state: Mapping[str, Any], parameter: torch.nn.Parameter) -> str:
    """A state tensor of the parameter's shape with fewer bits than the parameter, in words; "" when there is none.

    A parameter with a single number is passed over: its step count, which torch keeps in float32, looks the same.
    """
    for key, value in state.items() if parameter.numel() > 1 else ():
        alike = isinstance(value, torch.Tensor) and value.is_floating_point() and value.shape == parameter.shape
        if alike and value.element_size() < parameter.element_size():
            kinds = (str(t.dtype).removeprefix("torch.") for t in (value, parameter))
            return "{} is {}, the parameter {}; torch.zeros_like(p) has the right one".format(key, *kinds)
    return ""


def state_of(opt: Any, parameter: torch.nn.Parameter) -> Mapping[str, Any]:
    """The student's state dict of a parameter; {} when there is none."""
    state = getattr(opt, "state", None)
    found = state.get(parameter) if isinstance(state, dict) else None
    return found if isinstance(found, dict) else {}
