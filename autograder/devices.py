"""On which device a case is played: the CPU, a CUDA device, or the pretend GPU that any machine has.

A case says where its tensors are made (`inputs["device"]`, `collectors.common.place`). `moved` is the one place that
makes another device of it; who checks, audits or grades on a GPU goes through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

from autograder.exercise import Case

Device = Literal["cpu", "cuda", "pretend"]
DEVICES: tuple[Device, ...] = get_args(Device)

_WHERE: dict[Device, str] = {"cuda": "on the GPU", "pretend": "on the pretend GPU"}

_NUMBERS = "plain numbers go in and come out: there is no tensor to put on a device"
_DRAWS = "the numbers come from a generator of the CPU, and a GPU's would be others"

#: Collectors whose cases stay on the CPU, and why. All others make their tensors on the case's device.
AT_HOME = {
    "answer": "a quiz's answer is no tensor",
    "batches": _DRAWS,
    "closed_forms": _NUMBERS,
    "eigenvalues": _DRAWS,
    "initialised": _DRAWS,
    "killed_training": "the training runs in processes of its own, and is killed there",
    "log_uniform": _DRAWS,
    "plateau": _NUMBERS,
    "protocol": _NUMBERS,
    "random_matrices": _DRAWS,
    "range_test": "one short training decides, drawn from a generator of the CPU",
    "refusals": "constructors that have to refuse: nothing is computed",
    "schedule_values": _NUMBERS,
    "within_budget": "a whole training within a budget, drawn from a generator of the CPU",
}


class NoDevice(RuntimeError):
    """The device cannot be used here; the message says why and what to do, in one line."""


def counted(case: Case) -> bool:
    """Are launches or bytes counted in this case? That is done on the pretend GPU, on any machine."""
    inputs = case.inputs
    return case.collector == "launches" or bool(inputs.get("counted")) or inputs.get("device") == "pretend"


def at_home(case: Case) -> str:
    """Why a case stays on the CPU; "" when it can be played on another device."""
    if case.collector in ("function", "functions") and not _holds_array(case.inputs):
        return _NUMBERS
    return AT_HOME.get(case.collector, "")


def _holds_array(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_array, value.values()))
    return isinstance(value, np.ndarray) or (isinstance(value, (list, tuple)) and any(map(_holds_array, value)))


def moved(case: Case, device: Device) -> Case | None:
    """The case on another device; None where it stays where it is: a counted one, or one that is `at_home`."""
    if device == "cpu" or at_home(case) or counted(case):
        return None
    return replace(case, name=f"{case.name}, {_WHERE[device]}", inputs={**case.inputs, "device": device})


def on_device(cases: Sequence[Case], device: Device) -> tuple[Case, ...]:
    """All cases, each on the device where it can be moved there and as it is where not."""
    return tuple(moved(case, device) or case for case in cases)


@cache
def refuse_missing(device: Device) -> None:
    """Raise NoDevice unless a small computation on the device gives the right number."""
    import torch  # a second; the command line reads this module to know the devices' names

    if device not in DEVICES:
        raise NoDevice(f"--device is one of {', '.join(DEVICES)}, not {device!r}")
    if device == "pretend":
        from autograder.launches import LaunchCounter

        if LaunchCounter().how != "pretend":
            raise NoDevice(
                f"torch {torch.__version__} cannot carry the pretend GPU: install the torch of constraints.txt"
            )
    if device != "cuda":
        return
    if not torch.cuda.is_available():
        build = "was built without CUDA" if torch.version.cuda is None else "finds no CUDA device"
        raise NoDevice(f"torch {torch.__version__} {build} here: leave --device away, marks need no GPU")
    try:
        one = torch.ones(2, device="cuda")
        works = float((one + one).sum()) == 4.0
    except RuntimeError as error:
        raise NoDevice(f"the CUDA device does not work: {str(error).splitlines()[0]}") from None
    if not works:
        raise NoDevice("the CUDA device computes wrong numbers")
