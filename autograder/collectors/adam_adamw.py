"""What the notebook on Adam needs beside functions and optimizers: pairs of trajectories, checkpoints, bf16 weights."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import Place, check_call, placed, the_class, the_function
from autograder.collectors.optimizer import DETACHED, IN_PLACE, STORAGE, build, state_of
from autograder.evidence import ProtocolError, Record, as_array
from autograder.exercise import Case
from autograder.probes import quadratic_gradient

TRAJECTORIES = ("L2 trajectory", "decoupled trajectory")
MASTER_KEYS = ("master", "exp_avg", "exp_avg_sq")
UNINTERRUPTED, RESUMED = "uninterrupted", "resumed"


# --- L2 is not decay ------------------------------------------------------------------------------------------------


@placed
def decay_pair(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Call `l2_and_decoupled` on a quadratic. Inputs: kind, w0, curvature, minimum, lr, wd, steps, device."""
    inputs = case.inputs
    pair = the_function(objects[0], "l2_and_decoupled")
    w0 = here.tensor(inputs["w0"])
    grad_fn = quadratic_gradient(inputs["curvature"], inputs["minimum"])
    arguments = (inputs["kind"], w0, grad_fn, inputs["lr"], inputs["wd"], inputs["steps"])
    check_call(pair, "l2_and_decoupled", "(kind, w0, grad_fn, lr, wd, steps)", *arguments)
    returned = pair(*arguments)
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise ProtocolError("l2_and_decoupled should return two tensors: (traj_l2, traj_decoupled)")
    shape = (inputs["steps"] + 1, *w0.shape)
    for name, trajectory in zip(TRAJECTORIES, returned, strict=True):
        if not isinstance(trajectory, torch.Tensor):
            raise ProtocolError(f"The {name} should be a tensor, not a {type(trajectory).__name__}")
        array = as_array(trajectory, name)
        if array.shape != shape:
            raise ProtocolError(
                f"The {name} has shape {array.shape}; it should be {shape}: the start and one row per step"
            )
        record.trajectory(name, array)
    record.fact("argument w0", "unchanged" if np.array_equal(as_array(w0), inputs["w0"]) else "changed")


# --- checkpoints ----------------------------------------------------------------------------------------------------


class _Training:
    """Parameters, the student's optimizer on them, and the script of gradients (`collectors.optimizer`)."""

    def __init__(
        self, cls: type, inputs: Mapping[str, Any], params: Sequence[Any], here: Place, **options: Any
    ) -> None:
        self.inputs, self.here = {**inputs, **options}, here
        self.dtype = inputs.get("dtype", "float64")
        self.params = [here.parameter(as_array(array), self.dtype) for array in params]
        self.opt = build(cls, self.params, self.inputs)

    def run(self, first: int, last: int) -> list[list[torch.Tensor]]:
        """Steps `first` to `last` (from 1, inclusive); returns copies of the parameters after each."""
        rows = []
        for number in range(first, last + 1):
            if lrs := self.inputs.get("lrs"):
                for group, lr in zip(self.opt.param_groups, lrs[number - 1], strict=True):
                    group["lr"] = lr
            for parameter, gradient in zip(self.params, self.inputs["grads"][number - 1], strict=True):
                parameter.grad = None if gradient is None else self.here.tensor(gradient, self.dtype)
            self.opt.step()
            rows.append(self.copies())
        return rows

    def copies(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.params]


@placed
def state_layout(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """What `state_dict()` holds after some steps: keys, kinds and values. `objects`: (Adam, save, resume)."""
    cls = the_class(objects[0], "Adam", ["step", "state_dict"])
    training = _Training(cls, case.inputs, case.inputs["params"], here)
    training.run(1, len(case.inputs["grads"]))
    found = training.opt.state_dict()
    state = found.get("state") if isinstance(found, dict) else None
    if not isinstance(state, dict) or "param_groups" not in found:
        raise ProtocolError("state_dict() should be a dict with 'state' and 'param_groups', as torch makes it")
    for i in range(len(training.params)):
        own = state.get(i, {})
        record.fact(f"state keys of parameter {i}", ", ".join(sorted(map(str, own))) or "none")
        for key in case.inputs["state"]:
            if key in own:
                record.array(f"{key} of parameter {i}", own[key])
        if "step" in own:
            record.fact(f"step of parameter {i}, as stored", _kind(own["step"]))
        for key in case.inputs["state"]:
            shape = tuple(own[key].shape) if isinstance(own.get(key), torch.Tensor) else "none"
            record.fact(f"shape of {key} of parameter {i}", str(shape))
    for number, group in enumerate(found["param_groups"]):
        for key in ("lr", "betas", "eps", "weight_decay"):
            record.fact(f"{key} of group {number}", str(group.get(key, "missing")))


def _kind(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dim()}-dim tensor"
    return f"a Python {type(value).__name__}"


@placed
def save_and_resume(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Stop after `stop` steps, save, resume in a new optimizer made with other options, and go on."""
    cls = the_class(objects[0], "Adam", ["step", "state_dict"])
    save, resume = the_function(objects[1], "save"), the_function(objects[2], "resume")
    stop, last = case.inputs["stop"], len(case.inputs["grads"])
    training = _Training(cls, case.inputs, case.inputs["params"], here)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "checkpoint.pt")
        training.run(1, stop)
        halfway = training.copies()
        check_call(save, "save", "(opt, path)", training.opt, path)
        save(training.opt, path)
        if not os.path.exists(path):
            raise ProtocolError("save(opt, path) wrote no file at that path")
        uninterrupted = training.run(stop + 1, last)
        # nobody sets the lr again: it has to come from the file
        again = _Training(cls, case.inputs, halfway, here, groups=case.inputs["fresh_groups"], lrs=None)
        check_call(resume, "resume", "(opt, path)", again.opt, path)
        resume(again.opt, path)
    _record_pair(record, halfway, uninterrupted, again.run(stop + 1, last))
    for number, group in enumerate(again.opt.param_groups):
        record.fact(f"lr of group {number} after resume", f"{group['lr']:g}")


def _record_pair(
    record: Record, start: list[torch.Tensor], one: list[list[torch.Tensor]], two: list[list[torch.Tensor]]
) -> None:
    for name, rows in ((UNINTERRUPTED, one), (RESUMED, two)):
        for row in (start, *rows):
            for i, tensor in enumerate(row):
                record.row(f"{name} parameter {i}", tensor)


@placed
def foreign_checkpoint(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Resume from a checkpoint of torch.optim.Adam, given as arrays in `checkpoint`, and go on."""
    cls = the_class(objects[0], "Adam", ["step", "state_dict"])
    resume = the_function(objects[2], "resume")
    saved = case.inputs["checkpoint"]
    state = {i: {key: torch.as_tensor(value) for key, value in own.items()} for i, own in enumerate(saved["state"])}
    groups = [{**group, "betas": tuple(group["betas"])} for group in saved["param_groups"]]
    training = _Training(cls, case.inputs, case.inputs["params"], here, groups=case.inputs["fresh_groups"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "torch_adam.pt")
        torch.save({"state": state, "param_groups": groups}, path)
        check_call(resume, "resume", "(opt, path)", training.opt, path)
        resume(training.opt, path)
    start = training.copies()
    for row in (start, *training.run(1, len(case.inputs["grads"]))):
        for i, tensor in enumerate(row):
            record.row(f"parameter {i}", tensor)


# --- bf16 weights ---------------------------------------------------------------------------------------------------


@placed
def master_weights(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Train bf16 parameters; every parameter after every step, and the float32 state at the end."""
    cls = the_class(objects[0], "MasterAdam", ["step", "load_state_dict"])
    training = _Training(cls, case.inputs, case.inputs["params"], here)
    pointers = [p.data_ptr() for p in training.params]
    rows = [training.copies(), *training.run(1, len(case.inputs["grads"]))]
    kept = [p.data_ptr() for p in training.params] == pointers
    learning = all(p.requires_grad for p in training.params)
    record.fact(STORAGE, IN_PLACE if kept and learning else DETACHED if kept else "given new storage")
    _record_dtypes(record, training)
    for row in rows:
        for i, tensor in enumerate(row):
            record.row(f"parameter {i}", tensor)
    for name, tensor in _float32_side(training):
        record.array(name, tensor)


@placed
def master_checkpoint(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Stop after `stop` steps, go through state_dict and load_state_dict into a new optimizer, and go on."""
    cls = the_class(objects[0], "MasterAdam", ["step", "load_state_dict"])
    stop, last = case.inputs["stop"], len(case.inputs["grads"])
    training = _Training(cls, case.inputs, case.inputs["params"], here)
    training.run(1, stop)
    file = io.BytesIO()  # as a checkpoint would: nothing is shared between the two optimizers
    torch.save(training.opt.state_dict(), file)
    file.seek(0)
    again = _Training(cls, case.inputs, training.copies(), here)
    again.opt.load_state_dict(torch.load(file, weights_only=False))
    _record_dtypes(record, again)
    for number in range(stop + 1, last + 1):
        for kind, one in ((UNINTERRUPTED, training), (RESUMED, again)):
            one.run(number, number)
            for name, tensor in _float32_side(one):
                record.row(f"{kind} {name}", tensor)


def _float32_side(training: _Training) -> Iterator[tuple[str, torch.Tensor]]:
    """Master weight, m and v of every parameter that has them, by name."""
    for i, parameter in enumerate(training.params):
        for key in MASTER_KEYS:
            value = state_of(training.opt, parameter).get(key)
            if isinstance(value, torch.Tensor):
                yield f"{key} of parameter {i}", value


def _record_dtypes(record: Record, training: _Training) -> None:
    """Facts about the state as it is now (after loading, if there was any); parameters without gradient have none."""
    for i, parameter in enumerate(training.params):
        if all(step[i] is None for step in training.inputs["grads"]):
            continue
        own = state_of(training.opt, parameter)
        for key in MASTER_KEYS:
            value = own.get(key)
            kind = str(value.dtype).removeprefix("torch.") if isinstance(value, torch.Tensor) else "missing"
            record.first(f"dtype of state '{key}'", kind, "float32")
