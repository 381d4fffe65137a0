"""What counts as a launch, a synchronisation, an upload and a device mix-up."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from students import (
    LAUNCHES,
    CounterOnHost,
    ElementLoop,
    Foreach,
    Make,
    StateOnHost,
    StudentAdam,
    adam,
    blamed,
    second_step,
    train,
    values,
)
from torch import Tensor, nn

from autograder.launches import DeviceMix, LaunchCounter, Section


@pytest.mark.parametrize(("make", "ten", "one"), LAUNCHES)
def test_launches_of_a_step(make: Make, ten: int, one: int) -> None:
    assert second_step(make, 10).launches == ten
    assert second_step(make, 1).launches == one


def test_operations_are_named(counter: LaunchCounter) -> None:
    steps, _, _ = train(counter, adam(fused=True))
    assert dict(steps[1].operations) == {"_foreach_add_": 1, "_fused_adam_": 1}


FREE = {
    "view": lambda x: x.view(-1),
    "slice": lambda x: x[1:, ::2],
    "transpose": lambda x: x.T,
    "expand": lambda x: x[:1].expand(5, -1),
    "unbind": lambda x: list(x),
    "split": lambda x: x.split(2),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "reshape without a copy": lambda x: x.reshape(2, 6),
    "empty": lambda x: torch.empty(3, device=x.device),
    "empty_like": torch.empty_like,
    "metadata": lambda x: (x.shape, x.stride(), x.numel(), x.device, x.dtype, x.is_contiguous(), len(x), x.data_ptr()),
    "to where and what it is": lambda x: x.to(x.device).to(torch.float32),
    "contiguous already": lambda x: x.contiguous(),
    "in-place change of shape": lambda x: x.t_(),
}


@pytest.mark.parametrize("name", FREE)
def test_views_metadata_and_empty_allocations_are_free(name: str, counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(3, 4))
    with counter.section() as section:
        FREE[name](x)
    assert (section.launches, section.syncs) == (0, [])


ONE_LAUNCH = {
    "elementwise": lambda x: x + 1,
    "in place": lambda x: x.mul_(2),
    "reduction": lambda x: x.sum(),
    "zeros": lambda x: torch.zeros(3, device=x.device),
    "full by name of the device": lambda x: torch.full((3,), 2.0, device=str(x.device)),
    "arange": lambda x: torch.arange(3, device=x.device),
    "zeros_like": torch.zeros_like,
    "new_zeros": lambda x: x.new_zeros(2),
    "randn": lambda x: torch.randn(3, device=x.device, generator=None),
    "clone": lambda x: x.clone(),
    "cast": lambda x: x.to(torch.bfloat16),
    "reshape with a copy": lambda x: x.T.reshape(-1),
    "a number into a row": lambda x: x.__setitem__(0, 5.0),
    "foreach": lambda x: torch._foreach_add([x, x, x], 1.0),
    "upload": lambda x: torch.ones(3).to(x.device),
    "download": lambda x: x.cpu(),
}


@pytest.mark.parametrize("name", ONE_LAUNCH)
def test_one_operation_is_one_launch(name: str, counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(3, 4))
    with counter.section() as section:
        ONE_LAUNCH[name](x)
    assert section.launches == 1, section.operations


def test_what_torch_composes_counts_as_its_parts(counter: LaunchCounter) -> None:
    x = counter.place(torch.randn(2, 5))
    with counter.section() as section:
        F.layer_norm(x, (5,))
        F.mse_loss(x, x)
        F.linear(x, x, None)
    assert dict(section.operations) == {"native_layer_norm": 1, "mse_loss": 1, "mm": 1}


def test_a_foreach_that_cuda_would_loop_over_counts_as_a_loop(counter: LaunchCounter, section: Section) -> None:
    xs = [counter.place(torch.ones(3)) for _ in range(5)]
    halves = [counter.place(torch.ones(3, dtype=torch.bfloat16)) for _ in range(5)]
    cases: list[tuple[Callable[[], Any], int]] = [
        (lambda: torch._foreach_mul_(xs, 2.0), 1),
        (lambda: torch._foreach_mul_(xs, [1.0] * 5), 1),
        (lambda: torch._foreach_mul_(xs, torch.ones(())), 1),
        (lambda: torch._foreach_copy_(halves, xs), 1),
        (lambda: torch._foreach_add_(xs, halves), 5),
        (lambda: torch._foreach_mul_(xs, [torch.ones(())] * 5), 5),
        (lambda: torch._foreach_add_([x[:1] for x in xs], [x[1:2].expand(1) for x in xs]), 1),
        (lambda: torch._foreach_add_([x.expand(2, 3).T for x in xs], [torch.zeros_like(x) for x in xs]), 10),
    ]
    for do, expected in cases[:-1]:
        section.operations.clear()
        do()
        assert section.launches == expected, section.operations


def test_operations_on_the_host_are_not_counted(section: Section) -> None:
    weight = torch.ones(3, requires_grad=True)
    (weight * 2).sum().backward()
    assert section.launches == section.allocated_bytes == 0


def test_training_loop_with_clipping_is_independent_of_the_number_of_parameters() -> None:
    def launches_of(count: int) -> int:
        with LaunchCounter("pretend") as counter:
            params = [counter.place(nn.Parameter(p)) for p in values(count)]
            for p in params:
                p.grad = torch.ones_like(p)
            with counter.section() as section:
                nn.utils.clip_grad_norm_(params, 1.0)
                torch.optim.SGD(params, 0.1).step()
            assert not section.syncs
            return section.launches

    assert launches_of(10) == launches_of(1)


@pytest.mark.parametrize("student", [StudentAdam, Foreach, CounterOnHost, ElementLoop, adam(), adam(fused=True)])
def test_good_students_are_not_accused(student: Make) -> None:
    section = second_step(student)
    assert section.syncs == section.mixes == section.uploads == []


SYNCS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "bool": lambda x: bool(x.sum()),
    "if": lambda x: 1 if x.sum() > 0 else 0,
    "math.sqrt": lambda x: math.sqrt(x.sum()),
    "range": lambda x: range(x.sum().long()),
    "as a number": lambda x: torch.add(x, x, alpha=x.sum()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "to like": lambda x: x.to(torch.ones(1)),
    "numpy by force": lambda x: x.numpy(force=True),
    "repr": lambda x: repr(x),
    "f-string": lambda x: f"{x.sum():.3f}",
    "equal": lambda x: torch.equal(x, x),
    "allclose": lambda x: torch.allclose(x, x),
    "nonzero": lambda x: x.nonzero(),
    "where with one argument": lambda x: torch.where(x > 0),
    "mask": lambda x: x[x > 0],
    "mask assigned from the device": lambda x: x.__setitem__(x > 0, x.sum()),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "unique_consecutive": lambda x: x.unique_consecutive(),
    "copy_ to the host": lambda x: torch.empty(3).copy_(x),
    "repeat_interleave": lambda x: x.repeat_interleave(x.long()),
    "bincount": lambda x: x.long().bincount(),
    "index by a device scalar": lambda x: x[x.long()[0]],
    "contains": lambda x: 1.0 in x,
    "inverse": lambda x: torch.linalg.inv(torch.diag(x)),
    "eigh": lambda x: torch.linalg.eigh(torch.diag(x)),
    "multinomial": lambda x: x.multinomial(1),
    "tensor of a list": lambda x: torch.tensor([x.sum()]),
    "cuda.synchronize": lambda x: torch.cuda.synchronize(),
    "accelerator.synchronize": lambda x: torch.accelerator.synchronize(),
    "xpu.synchronize": lambda x: torch.xpu.synchronize(),
    "mps.synchronize": lambda x: torch.mps.synchronize(),
    "mask with accumulation": lambda x: x.index_put_((x > 0,), torch.zeros(()), accumulate=True),
    "list of truth values": lambda x: x[[True, False, True]],
    "pickle": lambda x: torch.save(x, io.BytesIO()),
}


@pytest.mark.parametrize("name", SYNCS)
def test_synchronises_once_and_goes_on(name: str, counter: LaunchCounter) -> None:
    x = counter.place(torch.tensor([1.0, 2.0, 1.0]))
    with counter.section() as section:
        SYNCS[name](x)
    assert len(section.syncs) == 1
    assert section.syncs[0].source.startswith(f'"{name}": lambda x:')


NO_SYNC: dict[str, Callable[[Tensor], Any]] = {
    "0-dim tensor of the host": lambda x: torch.ones(()).item(),
    "tensor of the host": lambda x: torch.ones(3).tolist() and torch.ones(3).numpy() is not None,
    "where with three arguments": lambda x: torch.where(x > 0, x, -x),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1.0),
    "mask assigned from a number": lambda x: x.__setitem__(x > 0, 0.0),
    "mask assigned from a 0-dim host tensor": lambda x: x.__setitem__(x > 0, torch.zeros(())),
    "index by integers": lambda x: x[x.long()],
    "repeat_interleave of known size": lambda x: x.repeat_interleave(x.long(), output_size=4),
    "repeat_interleave by a number": lambda x: x.repeat_interleave(2),
    "sum of a list": lambda x: sum(list(x)),
    "any": lambda x: x.isnan().any(),
    "fill from the device": lambda x: torch.zeros_like(x).fill_(x[0]),
    "clip_grad_norm_": lambda x: nn.utils.clip_grad_norm_([x.requires_grad_()], 1.0),
    "upload": lambda x: torch.ones(3).to(x.device),
    "shape": lambda x: x.shape[0] if x.shape[0] > 2 else 0,
    "sort": lambda x: x.sort().values.topk(1),
    "copy.deepcopy": copy.deepcopy,
    "copy.copy": copy.copy,
    "mask of the host": lambda x: x[torch.tensor([True, False, True])],
    "mask assigned from one element of the host": lambda x: x.__setitem__(x > 0, torch.zeros(1)),
}


@pytest.mark.parametrize("name", NO_SYNC)
def test_does_not_synchronise(name: str, counter: LaunchCounter) -> None:
    x = counter.place(torch.tensor([1.0, 2.0, 1.0]))
    with counter.section() as section:
        NO_SYNC[name](x)
    assert section.syncs == []


def test_uploads_are_listed(counter: LaunchCounter) -> None:
    x = counter.place(torch.zeros(3))
    with counter.section() as section:
        x.copy_(torch.ones(3))
        torch.tensor([1.0, 2.0], device=x.device)
        torch.ones(2).to(x.device)
        x[torch.tensor([0, 1])]
        torch.zeros(2, device=x.device)
    assert len(section.uploads) == 4
    assert section.uploads[0].source == "x.copy_(torch.ones(3))"
    assert section.syncs == []


UPLOADS: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "mask of the host": (lambda x: x[torch.tensor([True, False, True])], 1),
    "mask of the host, a number": (lambda x: x.__setitem__(torch.tensor([True, False, True]), 0.0), 1),
    "mask of the device, a number of the host": (lambda x: x.__setitem__(x > 0, torch.zeros(())), 0),
    "indices of the device, a number of the host": (lambda x: x.__setitem__(x.long(), torch.zeros(())), 1),
    "list": (lambda x: x[[0, 2]], 1),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_what_an_index_uploads(name: str, counter: LaunchCounter) -> None:
    do, uploads = UPLOADS[name]
    x = counter.place(torch.tensor([1.0, 2.0, 1.0]))
    with counter.section() as section:
        do(x)
    assert len(section.uploads) == uploads


def test_state_on_the_host_is_a_mix_up_with_its_line(counter: LaunchCounter) -> None:
    p = counter.place(nn.Parameter(torch.ones(3)))
    p.grad = torch.ones_like(p)
    optimizer = StateOnHost([p])
    with (
        counter.section() as section,
        pytest.raises(DeviceMix, match="Expected all tensors to be on the same device, but found at least two devices"),
    ):
        optimizer.step()
    (event,) = section.mixes
    assert (event.line, event.source) == blamed(StateOnHost)
    assert "aten.lerp_" in event.what


Mixing = Callable[[Tensor, Tensor, Tensor], Any]


MIXED: dict[str, Mixing] = {  # x on the device, h on the host, s on the host without a dimension
    "elementwise": lambda x, h, s: x + h,
    "into the host": lambda x, h, s: h.add_(x),
    "into a scalar of the host": lambda x, h, s: s.add_(x.sum()),
    "matmul": lambda x, h, s: x @ h,
    "linear": lambda x, h, s: F.linear(x, torch.ones(2, 3)),
    "cat": lambda x, h, s: torch.cat([x, h]),
    "stack with a scalar": lambda x, h, s: torch.stack([x.sum(), s]),
    "foreach": lambda x, h, s: torch._foreach_add_([x], [h]),
    "labels": lambda x, h, s: F.cross_entropy(x[None], torch.tensor([0])),
    "host indexed by the device": lambda x, h, s: h[x.long()],
    "out=": lambda x, h, s: torch.sum(x, dim=0, out=s),
    "mask assigned from the host": lambda x, h, s: x.__setitem__(x > 0, h),
    "gradient": lambda x, h, s: setattr(x, "grad", h),
}


NOT_MIXED: dict[str, Mixing] = {
    "scalar of the host": lambda x, h, s: (x * s, s * x, x.add_(s), s + x.sum()),
    "where": lambda x, h, s: torch.where(x > 0, x, s),
    "value": lambda x, h, s: torch.addcmul(x, x, x, value=s),
    "copy_": lambda x, h, s: (x.copy_(h), h.copy_(x)),
    "device indexed by the host": lambda x, h, s: x[torch.tensor([0])],
    "slice assigned from the host": lambda x, h, s: x.__setitem__(slice(2), h[:2]),
    "mask assigned from one element of the host": lambda x, h, s: x.__setitem__(x > 0, h[:1]),
    "moved first": lambda x, h, s: x + h.to(x.device),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixing_devices_raises_and_is_recorded(name: str, counter: LaunchCounter) -> None:
    x, h, s = counter.place(torch.ones(3)), torch.ones(3), torch.ones(())
    with counter.section() as section, pytest.raises(DeviceMix):
        MIXED[name](x, h, s)
    assert len(section.mixes) == 1
    assert section.mixes[0].file == __file__


@pytest.mark.parametrize("name", NOT_MIXED)
def test_what_cuda_allows_is_allowed(name: str, counter: LaunchCounter) -> None:
    x, h, s = counter.place(torch.ones(3)), torch.ones(3), torch.ones(())
    with counter.section() as section:
        NOT_MIXED[name](x, h, s)
    assert section.mixes == []


def test_vmap_launches_do_not_grow_with_the_batch_but_with_the_chunks(counter: LaunchCounter) -> None:
    def count(rows: int, chunk: int | None) -> int:
        x = counter.place(torch.ones(rows, 3))
        with counter.section() as section:
            torch.func.vmap(lambda row: (row * row).sum().sqrt(), chunk_size=chunk)(x)
        return section.launches

    assert count(4, None) == count(64, None) == 3
    assert count(64, 16) == 4 * 3 + 1  # and the concatenation
