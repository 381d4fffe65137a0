"""What collectors share: where tensors live, and how a student's object is asked to be what the exercise says."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

if TYPE_CHECKING:
    from autograder.launches import LaunchCounter

from autograder.evidence import Array, Collector, ProtocolError, Record
from autograder.exercise import Case

ModuleType = TypeVar("ModuleType", bound=torch.nn.Module)

#: Device name in a case → the device its tensors live on. "pretend" is a GPU that any machine has (`launches`).
PRETEND = "pretend"

#: The fact about a tensor that has to stay as it is, and the usual ways to change one without meaning to.
UNCHANGED = "unchanged"
BY_ACCIDENT = "perhaps by `+=`, or by a method such as `add_`"


@dataclass(frozen=True)
class Place:
    """Makes tensors on one device."""

    device: torch.device
    counter: LaunchCounter | None = None

    def tensor(self, array: Array, dtype: str = "float64") -> torch.Tensor:
        """A new tensor with the array's numbers; dtype by torch's name, such as "bfloat16"."""
        tensor = torch.tensor(np.asarray(array, dtype=np.float64)).to(getattr(torch, dtype))
        return self.counter.place(tensor) if self.counter else tensor.to(self.device)

    def given(self, array: Array) -> torch.Tensor:
        """A new tensor with the array's numbers and the array's own dtype (integers, booleans, float64)."""
        tensor = torch.tensor(array)
        return self.counter.place(tensor) if self.counter else tensor.to(self.device)

    def module(self, module: ModuleType) -> ModuleType:
        """The module with its parameters and buffers here; build the optimizer afterwards."""
        return self.counter.place_module(module) if self.counter else module.to(self.device)

    def parameter(self, array: Array, dtype: str = "float64") -> torch.nn.Parameter:
        return torch.nn.Parameter(self.tensor(array, dtype))


@contextlib.contextmanager
def place(device: str) -> Iterator[Place]:
    """The place called "cpu", "cuda" or "pretend"."""
    if device == PRETEND:
        from autograder.launches import LaunchCounter  # only some cases need it

        with LaunchCounter() as counter:
            yield Place(counter.device, counter)
    else:
        yield Place(torch.device(device))


def placed(play: Callable[[Case, Sequence[Any], Record, Place], None]) -> Collector:
    """A collector whose tensors are made at the case's place: `play(case, objects, record, here)`."""

    @functools.wraps(play)
    def collector(case: Case, objects: Sequence[Any], record: Record) -> None:
        with place(case.inputs.get("device", "cpu")) as here:
            play(case, objects, record, here)

    return collector


def the_function(candidate: object, name: str) -> Callable[..., Any]:
    """The student's function. Raises ProtocolError when it is something else."""
    if not callable(candidate):
        raise ProtocolError(f"{name} should be a function, but it is {_described(candidate)}")
    return candidate


def the_class(candidate: object, name: str, methods: Sequence[str]) -> type:
    """The student's class, which has the methods. Raises ProtocolError when it is something else."""
    if not isinstance(candidate, type):
        kind = type(candidate)
        if any(hasattr(kind, method) for method in methods):
            raise ProtocolError(f"Give the class itself, {kind.__name__}, not an object made from it")
        raise ProtocolError(f"{name} should be a class, but it is {_described(candidate)}")
    for method in methods:
        found = getattr(candidate, method, None)
        found = getattr(found, "__wrapped__", found)  # torch wraps a class's step when its first object is made
        if not callable(found) or found is torch.optim.Optimizer.step:
            raise ProtocolError(f"{candidate.__name__} has no method `{method}`")
    return candidate


def check_call(function: Callable[..., Any], name: str, usage: str, *args: object, **kwargs: object) -> None:
    """Raise ProtocolError unless the function can be called like that. `usage` shows the call to the student."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # builtins tell no signature
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ProtocolError(f"The check calls {name}{usage}, but yours is {name}{signature}: {error}") from None


def _described(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"
