"""Patches end with the counter."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.launches import PRETEND_DEVICE, LaunchCounter
from autograder.launches import counter as counter_module


def modes() -> tuple[int, int]:
    return torch._C._len_torch_dispatch_stack(), torch._C._len_torch_function_stack()


def test_an_exception_restores_everything() -> None:
    originals = torch.cuda.synchronize, torch.load, torch.Generator, torch.jit.trace, modes(), gc.isenabled()

    def fail(x: Tensor) -> None:
        x + 1
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError), LaunchCounter("pretend") as counter, counter.section() as section:
            fail(counter.place(torch.ones(2)))
        assert section.launches == 1
    assert originals == (
        torch.cuda.synchronize,
        torch.load,
        torch.Generator,
        torch.jit.trace,
        modes(),
        gc.isenabled(),
    )
    assert not hasattr(torch, PRETEND_DEVICE.type)


def test_a_failure_to_open_restores_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[Any]:
        return [contextlib.nullcontext(), Failing()]

    class Failing:
        def __enter__(self) -> None:
            raise KeyboardInterrupt

        def __exit__(self, *exception: object) -> None: ...

    originals = torch.load, torch.cuda.synchronize, modes()
    with monkeypatch.context() as patch:
        patch.setattr(counter_module, "pretend_modes", fail)
        with pytest.raises(KeyboardInterrupt), LaunchCounter("pretend"):
            pass
    assert originals == (torch.load, torch.cuda.synchronize, modes())
    with LaunchCounter("pretend"):
        pass


@pytest.fixture
def torchs_settings() -> Iterator[None]:
    """Settings of torch's that the test changes are as before afterwards."""
    yield
    torch.set_default_device(None)
    torch.__future__.set_swap_module_params_on_conversion(False)


@pytest.mark.usefixtures("torchs_settings")
def test_a_default_device_set_by_a_student_ends_with_the_counter() -> None:
    with LaunchCounter("pretend") as counter:
        torch.set_default_device(counter.device)
        assert torch.zeros(2).device == PRETEND_DEVICE
    before = modes()
    assert torch.zeros(2).device.type == "cpu"
    with LaunchCounter("pretend"):
        torch.set_default_device("meta")
    assert torch.zeros(2).device.type == "meta"
    with LaunchCounter("pretend") as counter:
        torch.set_default_device(counter.device)
    assert torch.zeros(2).device.type == "meta"
    torch.set_default_device(None)
    assert modes() == before


def test_functions_taken_while_counting_are_torchs_own_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: called.append("synchronize"))
    monkeypatch.setattr(torch.jit, "trace", lambda *args: called.append("trace"))
    with LaunchCounter("pretend"):
        synchronize, trace, generator = torch.cuda.synchronize, torch.jit.trace, torch.Generator
        synchronize()
        with pytest.raises(RuntimeError, match="cannot record"):
            trace(lambda x: x, ())
    assert called == []
    synchronize()
    trace(lambda x: x, ())
    assert called == ["synchronize", "trace"]
    assert torch.rand(2, generator=generator()).device.type == "cpu"


def test_a_module_moved_to_the_device_keeps_its_parameters(counter: LaunchCounter) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    weight, optimizer = model[0].weight, torch.optim.SGD(model.parameters(), lr=0.5)
    before = weight.detach().clone()
    model.to(counter.device)
    assert model[0].weight is model[1].weight is weight
    assert weight.device == PRETEND_DEVICE
    model(counter.place(torch.ones(1, 3))).sum().backward()
    optimizer.step()
    assert not torch.equal(counter.fetch(weight), before)
    assert model.cpu()[0].weight.device.type == "cpu"


@pytest.mark.usefixtures("torchs_settings")
def test_how_modules_are_moved_is_as_before_afterwards() -> None:
    for swaps in (True, False):
        torch.__future__.set_swap_module_params_on_conversion(swaps)
        with pytest.raises(ZeroDivisionError), LaunchCounter("pretend"):
            raise ZeroDivisionError
        assert torch.__future__.get_swap_module_params_on_conversion() is swaps
