"""Which way of counting is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from students import Foreach, train
from torch import Tensor

from autograder.launches import PRETEND_DEVICE, LaunchCounter, ways
from autograder.launches.tensor import PretendTensor


def test_auto_is_pretend_without_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "real_accelerator", lambda: None)
    counter = LaunchCounter()
    assert (counter.how, counter.device) == ("pretend", PRETEND_DEVICE)
    assert "pretend device lazy:0" in counter.note


def test_auto_counts_alike_on_every_machine_and_plain_takes_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "real_accelerator", lambda: torch.device("cuda", 0))
    assert LaunchCounter().how == "pretend"
    counter = LaunchCounter("plain")
    assert (counter.how, counter.device) == ("plain", torch.device("cuda", 0))
    assert counter.note == "Counted on the real device cuda:0."


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torch whose wrapper tensors went away, as a later version's might."""

    def missing(cls: type, inner: Tensor) -> Tensor:
        raise AttributeError("no wrapper subclasses any more")

    monkeypatch.setattr(PretendTensor, "__new__", missing)
    monkeypatch.setattr(ways, "real_accelerator", lambda: None)
    ways.pretend_fails.cache_clear()
    yield
    ways.pretend_fails.cache_clear()


@pytest.mark.usefixtures("broken")
def test_a_torch_without_the_machinery_falls_back_to_plain_counting_and_says_so() -> None:
    counter = LaunchCounter("auto")
    assert (counter.how, counter.device.type) == ("plain", "cpu")
    assert "no wrapper subclasses any more" in counter.note
    assert "mix-ups stay unseen" in counter.note
    with counter:
        assert train(counter, Foreach)[0][1].launches == 7
    with pytest.raises(RuntimeError, match="cannot carry the pretend device"):
        LaunchCounter("pretend")


@pytest.fixture
def untried() -> Iterator[None]:
    """Nobody has found out yet whether this torch carries the pretend device."""
    ways.pretend_fails.cache_clear()
    yield
    ways.pretend_fails.cache_clear()


def inside(where: str, do: Callable[[], Any]) -> None:
    """Call `do` in a place in which a backward pass fails."""
    if where == "function transform":
        torch.func.grad(lambda x: (do(), x.sum())[1])(torch.ones(2))
        return
    with {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}.get(where, lambda: torch.device("meta"))():
        do()


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("where", ["no_grad", "inference_mode", "another default device", "function transform"])
def test_where_the_first_counter_is_made_does_not_matter(where: str) -> None:
    made: list[LaunchCounter] = []
    inside(where, lambda: made.append(LaunchCounter()))
    assert made[0].how == "pretend"


@pytest.mark.usefixtures("untried")
def test_finding_out_is_not_counted_and_patches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    original, make, patched = torch.load, PretendTensor.__new__, []

    def watched(cls: type, inner: Tensor) -> Tensor:
        patched.append(torch.load is not original or hasattr(torch, PRETEND_DEVICE.type))
        return make(cls, inner)

    monkeypatch.setattr(PretendTensor, "__new__", watched)
    with LaunchCounter("plain", "cpu") as counter, counter.section() as section:
        LaunchCounter("pretend")
    assert patched
    assert not any(patched)
    assert dict(section.operations) == {}
