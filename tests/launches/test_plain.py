"""Counting on ordinary tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from students import LAUNCHES, CounterOnHost, FloatSync, IfSync, ItemSync, blamed, bytes_of, train
from torch import Tensor, nn

from autograder.launches import LaunchCounter


@pytest.mark.parametrize("index", range(len(LAUNCHES)), ids=[str(p.id) for p in LAUNCHES])
def test_plain_counting_on_the_cpu_agrees_about_launches(index: int) -> None:
    make, ten, _ = LAUNCHES[index].values
    with LaunchCounter("plain", "cpu") as counter:
        found = train(counter, make, steps=2)[0][1].launches
    # On the CPU torch chooses the loop by itself, and its step counters are the host's also when fused.
    exceptions = {"torch fused": 1, "torch chooses as on CUDA: foreach": 70, "counter on the device": 100}
    assert found == exceptions.get(str(LAUNCHES[index].id), ten)


@pytest.mark.parametrize("student", [ItemSync, FloatSync, IfSync], ids=lambda s: s.__name__)
def test_plain_counting_sees_values_read_with_their_line(student: type) -> None:
    with LaunchCounter("plain", "cpu") as counter:
        section = train(counter, student, steps=2)[0][1]
    assert len(section.syncs) == 10
    assert (section.syncs[0].line, section.syncs[0].source) == blamed(student)


def test_plain_counting_does_not_take_a_step_counter_for_a_device_tensor() -> None:
    with LaunchCounter("plain", "cpu") as counter:
        section = train(counter, CounterOnHost, steps=2)[0][1]
    assert section.syncs == []


def test_plain_counting_measures_bytes() -> None:
    with LaunchCounter("plain", "cpu") as counter:
        p, g = counter.place(torch.ones(100)), counter.place(torch.ones(100))
        assert bytes_of(counter, lambda: p.add_(g, alpha=-0.1)) == (0, 0, 0)
        assert bytes_of(counter, lambda: p - 0.1 * g) == (800, 800, 400)
        assert bytes_of(counter, lambda: p.view(10, 10)[0]) == (0, 0, 0)
        assert torch.equal(counter.fetch(p), p)
        model = counter.place_module(nn.Linear(3, 2))
        with counter.section() as section:
            model(torch.ones(1, 3)).sum().backward()
        assert section.syncs == section.uploads == []


def test_plain_counting_does_not_take_a_view_of_an_older_tensor_for_a_new_one() -> None:
    older = torch.ones(100)
    with LaunchCounter("plain", "cpu") as counter:
        assert bytes_of(counter, lambda: older.view(10, 10).mul_(2)) == (0, 0, 0)


def test_plain_counting_copies_and_keeps_parameters() -> None:
    original = nn.Parameter(torch.ones(2))
    with LaunchCounter("plain", "cpu") as counter, counter.section() as section:
        placed = counter.place(original)
        assert placed is not original
        assert isinstance(placed, nn.Parameter)
        assert placed.requires_grad
        assert placed.device.type == "cpu"
        counter.fetch(placed)
    assert section.launches == section.allocated_bytes == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="compares with real counts: needs a CUDA device")
@pytest.mark.parametrize("index", range(len(LAUNCHES)), ids=[str(p.id) for p in LAUNCHES])
def test_counts_on_cuda_agree_with_the_pretend_device(index: int) -> None:
    make = LAUNCHES[index].values[0]

    def measure(how: Any) -> tuple[int, int, list[Tensor]]:
        with LaunchCounter(how) as counter:
            sections, params, _ = train(counter, make)
            return sections[1].launches, len(sections[1].syncs), [counter.fetch(p) for p in params]

    pretend, real = measure("pretend"), measure("plain")
    assert pretend[:2] == real[:2]
    for a, b in zip(pretend[2], real[2], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="measures CUDA memory: needs a CUDA device")
def test_bytes_on_cuda_come_from_its_allocator() -> None:
    with LaunchCounter("plain", "cuda") as counter:
        x = counter.place(torch.ones(1024))
        assert bytes_of(counter, lambda: x.add_(1)) == (0, 0, 0)
        assert bytes_of(counter, lambda: x + 1)[:2] == (4096, 4096)
        with counter.section() as section, pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(1024)
        assert len(section.mixes) == 1
