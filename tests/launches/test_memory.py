"""Bytes allocated, alive, and at most alive."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from students import FLOAT, Foreach, InPlace, bytes_of, train
from torch import nn

from autograder.launches import LaunchCounter, Section
from autograder.launches.memory import CudaLedger, Ledger


def test_an_update_in_place_allocates_nothing(counter: LaunchCounter) -> None:
    p, g = counter.place(torch.ones(100)), counter.place(torch.ones(100))
    assert bytes_of(counter, lambda: p.add_(g, alpha=-0.1)) == (0, 0, 0)


def test_an_update_out_of_place_allocates_every_intermediate(counter: LaunchCounter) -> None:
    p, g = counter.place(torch.ones(100)), counter.place(torch.ones(100))
    size = 100 * FLOAT
    assert bytes_of(counter, lambda: p - 0.1 * g) == (2 * size, 2 * size, size)
    assert bytes_of(counter, lambda: p.sub_(0.1 * g)) == (size, size, 0)


def test_peak_is_the_most_that_was_alive_at_once(counter: LaunchCounter) -> None:
    x, size = counter.place(torch.ones(100)), 100 * FLOAT

    def one_after_another() -> None:
        for _ in range(5):
            x * 2

    assert bytes_of(counter, one_after_another) == (5 * size, size, 0)
    assert bytes_of(counter, lambda: [x * 2 for _ in range(5)]) == (5 * size, 5 * size, 5 * size)


def test_views_share_their_storage_and_keep_it_alive(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(10, 10))
    assert bytes_of(counter, lambda: [x[i] for i in range(10)]) == (0, 0, 0)
    assert bytes_of(counter, lambda: (x * 2)[0]) == (400, 400, 400)


def test_bytes_follow_the_data_type(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(100))
    assert bytes_of(counter, lambda: x.bfloat16()) == (200, 200, 200)
    assert bytes_of(counter, lambda: x.double()) == (800, 800, 800)
    assert bytes_of(counter, lambda: torch.empty(100, device=x.device)) == (400, 400, 400)


def test_what_lived_before_the_section_can_die_in_it(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(100))
    with counter.section() as section:
        x = x * 2
    assert (section.allocated_bytes, section.peak_bytes, section.live_bytes) == (400, 400, 0)
    assert x.numel() == 100


def test_autograd_keeps_what_it_needs_until_backward(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(100, requires_grad=True))
    with counter.section() as section:
        loss = x.exp().exp().sum()
        assert section.live_bytes == 2 * 400 + FLOAT
        loss.backward()
        assert section.live_bytes == 400 + FLOAT  # the gradient and the loss
        x.grad = None
        assert section.live_bytes == FLOAT


def test_assigning_data_replaces_the_storage(counter: LaunchCounter) -> None:
    p = counter.place(nn.Parameter(torch.ones(100)))
    with counter.section() as section:
        p.data = p.data * 2
        assert (section.allocated_bytes, section.live_bytes) == (400, 0)
        p.data.mul_(2)
    assert section.allocated_bytes == 400
    assert counter.fetch(p).tolist() == [4.0] * 100


def test_state_of_adam_is_two_numbers_per_parameter_and_made_once(counter: LaunchCounter) -> None:
    (first, second, *_), _, _ = train(counter, InPlace)
    numel = 10 * 12
    assert first.live_bytes == 2 * numel * FLOAT
    assert second.live_bytes == 0
    assert second.peak_bytes == 12 * FLOAT  # one denominator at a time
    assert train(counter, Foreach)[0][1].peak_bytes == numel * FLOAT  # all denominators at once


def test_resizing_and_sharing_storage(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(10))
    with counter.section() as section:
        y = torch.empty(0, device=x.device)
        y.resize_(20)
        assert (section.allocated_bytes, section.live_bytes) == (80, 80)
        y.set_(x)
        assert section.live_bytes == 0
    assert counter.fetch(y).tolist() == [1.0] * 10


def test_placing_is_not_an_allocation_and_cycles_do_not_blur_the_bytes(counter: LaunchCounter) -> None:
    for _ in range(3):
        cycle: list[Any] = [counter.place(torch.ones(1000))]
        cycle.append(cycle)
    del cycle
    with counter.section() as section:
        assert not gc.isenabled()
        for _ in range(2000):
            [].append([])
        x = counter.place(torch.ones(10))
    assert gc.isenabled()
    assert (section.allocated_bytes, section.live_bytes, section.launches) == (0, 40, 0)
    assert x.shape == (10,)


def test_resizing_what_was_there_before_the_counter_counts_what_is_new() -> None:
    with LaunchCounter("pretend") as counter:
        x = counter.place(torch.ones(10))
    with LaunchCounter("pretend") as counter:
        x.t_()  # the counter sees the storage here for the first time
        with counter.section() as section:
            x.resize_(20)
    assert (section.allocated_bytes, section.live_bytes) == (40, 40)


def test_a_storage_that_several_threads_enter_at_once_is_entered_once() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            ledger, section, tensors = Ledger(), Section(), [torch.ones(1) for _ in range(300)]
            ledger.open(section)
            together(4, lambda ledger=ledger, tensors=tensors: [ledger.allocated(t) for t in tensors])
            assert section.live_bytes == section.allocated_bytes == 300 * FLOAT
            del tensors
            assert section.live_bytes == 0
    finally:
        sys.setswitchinterval(interval)


def together(count: int, do: Callable[[], Any]) -> None:
    """Call `do` in `count` threads at once."""
    barrier = threading.Barrier(count)
    threads = [threading.Thread(target=lambda: (barrier.wait(), do())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_cudas_bytes_are_those_of_the_counted_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def stats(device: torch.device) -> dict[str, int]:
        asked.append(device)
        used = 100 * len(asked)
        return {"allocated_bytes.all.current": used, "allocated_bytes.all.allocated": 5 * used,
                "allocated_bytes.all.peak": 9 * used}  # fmt: skip

    second = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    monkeypatch.setattr(torch.cuda, "memory_stats", stats)
    ledger, section = CudaLedger(second), Section()
    ledger.open(section)
    ledger.allocated(torch.ones(2))
    ledger.close()
    assert asked == [second] * 3
    assert (section.allocated_bytes, section.live_bytes, section.peak_bytes) == (500, 100, 2500)
