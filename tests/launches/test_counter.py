"""The counter as a context manager, and what it carries to the device and back."""

from __future__ import annotations

import copy
import gc
import threading
import time
import weakref
from typing import Any

import pytest
import torch
from students import adam, train
from torch import nn

from autograder.launches import PRETEND_DEVICE, DeviceMix, LaunchCounter, Section, current
from autograder.launches.memory import Ledger


def test_counters_do_not_nest_and_sections_do_not_nest(counter: LaunchCounter) -> None:
    with pytest.raises(RuntimeError, match="a LaunchCounter is open already"), LaunchCounter("pretend"):
        pass
    with (
        counter.section() as section,
        pytest.raises(RuntimeError, match="sections do not nest"),
        counter.section(),
    ):
        pass
    counter.place(torch.ones(2)).add_(1)
    assert section.launches == 0


def test_a_section_needs_an_open_counter() -> None:
    counter = LaunchCounter("pretend")
    with pytest.raises(RuntimeError, match="the counter is not open"), counter.section():
        pass


def test_a_counter_may_be_opened_again_and_tensors_outlive_it() -> None:
    counter = LaunchCounter("pretend")
    with counter:
        x = counter.place(torch.ones(2, requires_grad=True))
    (x * 3).sum().backward()
    assert x.grad is not None
    assert counter.fetch(x.grad).tolist() == [3.0, 3.0]
    with counter, counter.section() as section:
        x + 1
    assert section.launches == 1


def test_only_sections_are_recorded(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(2))
    with counter.section("first") as first:
        x.add_(1)
    x.add_(1).sum().item()
    with counter.section("second") as second:
        x.add_(1)
        x.add_(1)
    assert (first.name, first.launches, second.name, second.launches) == ("first", 1, "second", 2)
    assert first.syncs == second.syncs == []


def test_another_thread_can_count_and_helper_threads_are_seen() -> None:
    found: list[Any] = []

    def count() -> None:
        with LaunchCounter("pretend") as counter, counter.section() as section:
            x = counter.place(torch.ones(2, requires_grad=True))
            (x * 2).sum().backward()
            helper = threading.Thread(target=lambda: x.detach().sum().item())
            helper.start()
            helper.join()
        found.append((dict(section.operations), len(section.syncs)))

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    assert found == [({"mul": 2, "sum": 2, "ones_like": 1}, 1)]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match='not one of "auto", "pretend", "plain"'):
        LaunchCounter("cuda")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='how="pretend" counts on lazy:0'):
        LaunchCounter("pretend", device="cpu")


def test_counting_ten_parameters_for_four_steps_is_quick() -> None:
    """20 ms on an idle machine; here processor time counts, and a slow machine gets twice that."""

    def milliseconds() -> float:
        start = time.process_time()
        with LaunchCounter("pretend") as counter:
            train(counter, adam(foreach=False))
        return 1e3 * (time.process_time() - start)

    milliseconds()
    assert min(milliseconds() for _ in range(5)) <= 40


def test_place_module_keeps_what_is_shared_and_what_needs_no_gradient(counter: LaunchCounter) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    assert counter.place_module(model) is model
    assert model[1].weight is model[0].weight
    assert isinstance(model[0].weight, nn.Parameter)
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True, True]
    assert model[2].running_mean.device == PRETEND_DEVICE
    assert len(list(model.parameters())) == 5


def test_place_and_fetch(counter: LaunchCounter, section: Section) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool):
        x = torch.tensor([0, 1]).to(dtype)
        assert torch.equal(counter.fetch(counter.place(x)), x)
        assert counter.place(x).dtype == dtype
    leaf = counter.place(torch.ones(2, requires_grad=True))
    assert (leaf.requires_grad, leaf.is_leaf, leaf.device) == (True, True, PRETEND_DEVICE)
    assert isinstance(counter.place(nn.Parameter(torch.ones(2))), nn.Parameter)
    assert counter.fetch(leaf * 2).requires_grad is False
    assert counter.fetch(torch.ones(2)).device.type == "cpu"
    original = torch.ones(2)
    counter.place(original).zero_()
    assert original.tolist() == [1.0, 1.0]
    assert section.syncs == section.uploads == []


@pytest.mark.parametrize("when", ["open", "close"])
def test_garbage_is_collected_again_whatever_fails(when: str, counter: LaunchCounter, monkeypatch: Any) -> None:
    def fail(self: Ledger, *args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Ledger, when, fail)
    with pytest.raises(ZeroDivisionError), counter.section():
        pass
    assert gc.isenabled()
    monkeypatch.undo()
    with counter.section():
        pass


def test_closing_a_counter_twice_does_not_close_another() -> None:
    first, second = LaunchCounter("pretend"), LaunchCounter("pretend")
    with first:
        pass
    with second, second.section() as section:
        first.__exit__(None, None, None)
        second.place(torch.ones(2)).add_(1)
    assert section.launches == 1


def test_tensors_of_a_closed_counter_compute_but_no_new_ones_can_be_made() -> None:
    with LaunchCounter("pretend") as counter:
        model = counter.place_module(nn.Linear(3, 2))
        optimizer = torch.optim.Adam(model.parameters())
        x = counter.place(torch.ones(1, 3))
    model(x).sum().backward()
    optimizer.step()
    copy.deepcopy(optimizer).step()
    assert model(x).cpu().device.type == "cpu"
    assert torch.zeros_like(x).tolist() == [[0.0, 0.0, 0.0]]
    with pytest.raises(DeviceMix):
        x + torch.ones(3)
    with pytest.raises(NotImplementedError):
        torch.zeros(2, device=x.device)


def test_tensors_of_a_closed_counter_do_not_blur_the_bytes_of_the_next() -> None:
    with LaunchCounter("pretend") as counter:
        kept = [counter.place(torch.ones(100)) for _ in range(3)]
    with LaunchCounter("pretend") as counter, counter.section() as section:
        kept[0].mul_(2)
        kept.pop()
        torch.empty(0, device=counter.device).set_(kept[0])
        assert (section.allocated_bytes, section.peak_bytes, section.live_bytes) == (0, 0, 0)
        kept.append(kept[0] * 2)
    assert (section.allocated_bytes, section.live_bytes, counter.fetch(kept[0])[0]) == (400, 400, 2.0)


def test_a_counter_is_forgotten_though_its_tensors_live() -> None:
    counter = LaunchCounter("pretend")
    with counter, counter.section():
        x = counter.place(torch.ones(2)) + 1
    gone = weakref.ref(counter)
    del counter
    gc.collect()
    assert gone() is None
    assert x.tolist() == [2.0, 2.0]


def test_what_the_counter_does_itself_hides_nothing_in_other_threads(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(2))
    with counter.section() as section, current.uncounted():
        x.add_(1)
        thread = threading.Thread(target=lambda: x.mul_(2))
        thread.start()
        thread.join()
    assert dict(section.operations) == {"mul_": 1}


def test_only_tensors_with_values_can_be_placed(counter: LaunchCounter) -> None:
    with pytest.raises(NotImplementedError, match="meta"):
        counter.place(torch.ones(2, device="meta"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="places a tensor of a GPU: needs a CUDA device")
def test_tensors_of_a_real_gpu_are_placed_like_the_hosts() -> None:
    original = torch.ones(2, device="cuda")
    with LaunchCounter("pretend") as counter:
        placed = counter.place(original)
        assert (placed + 1).tolist() == [2.0, 2.0]
