"""The launch counter: what a student's training step would do to a GPU, measured without one.

Most tests count on the pretend device, which works on every machine. The students' optimizers below are Adam, written
in the ways that make a GPU wait, copy or crawl; the line to blame in each is marked with `# blame`.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import importlib.util
import inspect
import io
import linecache
import math
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from autograder import launches
from autograder.launches import PRETEND_DEVICE, DeviceMix, Event, LaunchCounter, Section

FLOAT = 4  # bytes of a float32


# ------------------------------------------------------------------------------------------ students' optimizers


class StudentAdam(torch.optim.Optimizer):
    """Adam tensor by tensor, all of it on the device: nothing to blame."""

    def __init__(self, params: Any, lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                self.update(p, p.grad, self.state[p], group["lr"], *group["betas"], group["eps"])

    def new_state(self, p: Tensor) -> dict[str, Any]:
        return {"t": 0, "m": torch.zeros_like(p), "v": torch.zeros_like(p)}

    def update(self, p: Tensor, g: Tensor, s: Any, lr: float, b1: float, b2: float, eps: float) -> None:
        if not s:
            s.update(self.new_state(p))
        s["t"] += 1
        self.move(p, g, s, s["t"], lr, b1, b2, eps)

    def move(self, p: Tensor, g: Tensor, s: Any, t: Any, lr: float, b1: float, b2: float, eps: float) -> None:
        s["m"].lerp_(g, 1 - b1)
        s["v"].mul_(b2).addcmul_(g, g, value=1 - b2)
        p.sub_(lr * (s["m"] / (1 - b1**t)) / ((s["v"] / (1 - b2**t)).sqrt() + eps))


class InPlace(StudentAdam):
    """The same with as few temporaries as Adam needs."""

    def move(self, p: Tensor, g: Tensor, s: Any, t: Any, lr: float, b1: float, b2: float, eps: float) -> None:
        s["m"].lerp_(g, 1 - b1)
        s["v"].mul_(b2).addcmul_(g, g, value=1 - b2)
        p.addcdiv_(s["m"], (s["v"] / (1 - b2**t)).sqrt_().add_(eps), value=-lr / (1 - b1**t))


class Foreach(StudentAdam):
    """All tensors in each launch."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            (b1, b2), ps = group["betas"], group["params"]
            for p in ps:
                if not self.state[p]:
                    self.state[p].update(self.new_state(p))
                self.state[p]["t"] += 1
            t, gs = self.state[ps[0]]["t"], [p.grad for p in ps]
            ms, vs = [self.state[p]["m"] for p in ps], [self.state[p]["v"] for p in ps]
            torch._foreach_lerp_(ms, gs, 1 - b1)
            torch._foreach_mul_(vs, b2)
            torch._foreach_addcmul_(vs, gs, gs, value=1 - b2)
            denominators = torch._foreach_sqrt(vs)
            torch._foreach_div_(denominators, math.sqrt(1 - b2**t))
            torch._foreach_add_(denominators, group["eps"])
            torch._foreach_addcdiv_(ps, ms, denominators, value=-group["lr"] / (1 - b1**t))


class CounterOnHost(StudentAdam):
    """The step counter is a 0-dimensional tensor of the host, as in torch: reading it is free."""

    def new_state(self, p: Tensor) -> dict[str, Any]:
        return {**super().new_state(p), "t": torch.zeros(())}

    def move(self, p: Tensor, g: Tensor, s: Any, t: Any, *rest: Any) -> None:
        super().move(p, g, s, t.item(), *rest)


class CounterOnDevice(StudentAdam):
    """The step counter is on the device, and is read back."""

    def new_state(self, p: Tensor) -> dict[str, Any]:
        return {**super().new_state(p), "t": torch.zeros((), device=p.device)}

    def move(self, p: Tensor, g: Tensor, s: Any, t: Any, *rest: Any) -> None:
        super().move(p, g, s, t.item(), *rest)  # blame


class StateOnHost(StudentAdam):
    def new_state(self, p: Tensor) -> dict[str, Any]:
        return {"t": 0, "m": torch.zeros(p.shape), "v": torch.zeros(p.shape)}

    def move(self, p: Tensor, g: Tensor, s: Any, t: Any, lr: float, b1: float, b2: float, eps: float) -> None:
        s["m"].lerp_(g, 1 - b1)  # blame


class Hopping(StateOnHost):
    """State on the host, and a copy there and back for every tensor."""

    def move(self, p: Tensor, g: Tensor, s: Any, t: Any, lr: float, b1: float, b2: float, eps: float) -> None:
        on_host = g.cpu()  # blame
        step = torch.zeros(p.shape)
        StudentAdam.move(self, step, on_host, s, t, lr, b1, b2, eps)
        p.add_(step.to(p.device))


class ItemSync(StudentAdam):
    def move(self, p: Tensor, g: Tensor, *rest: Any) -> None:
        norm = g.norm().item()  # blame
        if norm == norm:
            super().move(p, g, *rest)


class FloatSync(StudentAdam):
    def move(self, p: Tensor, g: Tensor, *rest: Any) -> None:
        if float(g.abs().max()) != 0:  # blame
            super().move(p, g, *rest)


class IfSync(StudentAdam):
    def move(self, p: Tensor, g: Tensor, *rest: Any) -> None:
        if g.norm() > 0:  # blame
            super().move(p, g, *rest)


class ElementLoop(StudentAdam):
    """One element at a time: no synchronisation, but a launch for every operation on every element."""

    def move(self, p: Tensor, g: Tensor, s: Any, t: Any, lr: float, b1: float, b2: float, eps: float) -> None:
        m, v, flat_g, flat_p = s["m"].view(-1), s["v"].view(-1), g.view(-1), p.view(-1)
        for i in range(p.numel()):
            m[i] += (1 - b1) * (flat_g[i] - m[i])
            v[i] = b2 * v[i] + (1 - b2) * flat_g[i] ** 2
            flat_p[i] -= lr * (m[i] / (1 - b1**t)) / ((v[i] / (1 - b2**t)).sqrt() + eps)


class NumpyRoundTrip(StudentAdam):
    def new_state(self, p: Tensor) -> dict[str, Any]:
        return {"t": 0, "m": np.zeros(tuple(p.shape), "f"), "v": np.zeros(tuple(p.shape), "f")}

    def move(self, p: Tensor, g: Tensor, s: Any, t: Any, lr: float, b1: float, b2: float, eps: float) -> None:
        g_host = g.cpu().numpy()  # blame
        s["m"] = b1 * s["m"] + (1 - b1) * g_host
        s["v"] = b2 * s["v"] + (1 - b2) * g_host**2
        step = lr * (s["m"] / (1 - b1**t)) / (np.sqrt(s["v"] / (1 - b2**t)) + eps)
        p.copy_(p - torch.from_numpy(step).to(p.device))


def blamed(student: type) -> tuple[int, str]:
    """Number and text of the line marked `# blame`."""
    lines, first = inspect.getsourcelines(student)
    return next((first + i, line.strip()) for i, line in enumerate(lines) if "# blame" in line)


Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def values(count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 4, generator=generator) for _ in range(count)]


def train(
    counter: LaunchCounter, make: Make, count: int = 10, steps: int = 4
) -> tuple[list[Section], list[nn.Parameter], torch.optim.Optimizer]:
    """Sections of `steps` optimizer steps on `count` parameters, with the parameters and the optimizer."""
    params = [nn.Parameter(counter.place(p)) for p in values(count)]
    optimizer = make(params)
    sections = []
    for t in range(steps):
        for p, g in zip(params, values(count, seed=1 + t), strict=True):
            p.grad = counter.place(g)
        with counter.section(f"step {t}") as section:
            optimizer.step()
        sections.append(section)
    return sections, params, optimizer


def second_step(make: Make, count: int = 10) -> Section:
    """The second step: the first one makes the state."""
    with LaunchCounter("pretend") as counter:
        return train(counter, make, count, steps=2)[0][1]


@pytest.fixture
def counter() -> Iterator[LaunchCounter]:
    with LaunchCounter("pretend") as opened:
        yield opened


@pytest.fixture
def section(counter: LaunchCounter) -> Iterator[Section]:
    with counter.section() as opened:
        yield opened


def adam(**options: Any) -> Make:
    return lambda params: torch.optim.Adam(params, **options)


# ------------------------------------------------------------------------------------------------------ launches

LAUNCHES = [
    # how the optimizer is written, launches of one step with 10 parameters, with 1 parameter
    pytest.param(adam(foreach=False), 70, 7, id="torch loop"),
    pytest.param(adam(foreach=True), 7, 7, id="torch foreach"),
    pytest.param(adam(fused=True), 2, 2, id="torch fused"),
    pytest.param(adam(), 7, 7, id="torch chooses as on CUDA: foreach"),
    pytest.param(StudentAdam, 100, 10, id="per tensor"),
    pytest.param(InPlace, 70, 7, id="per tensor, in place"),
    pytest.param(Foreach, 7, 7, id="foreach"),
    pytest.param(CounterOnHost, 100, 10, id="counter on the host"),
    pytest.param(CounterOnDevice, 110, 11, id="counter on the device"),
    pytest.param(ElementLoop, 2040, 204, id="element loop"),
]


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


# --------------------------------------------------------------------------------------- synchronisations and lines

BLAMED = [
    # student, synchronisations per step with 10 parameters, what is said about the first
    (CounterOnDevice, 10, "`.item()`"),
    (Hopping, 10, "`.cpu()`"),
    (ItemSync, 10, "`.item()`"),
    (FloatSync, 10, "`float()`"),
    (IfSync, 10, "`if`"),
    (NumpyRoundTrip, 10, "`.cpu()`"),
]


@pytest.mark.parametrize(("student", "count", "what"), BLAMED, ids=lambda v: getattr(v, "__name__", None))
def test_synchronisations_name_the_students_line(student: type, count: int, what: str) -> None:
    section = second_step(student)
    assert len(section.syncs) == count
    event = section.syncs[0]
    assert (event.line, event.source) == blamed(student)
    assert (event.file, event.function) == (__file__, "move")
    assert what in event.what


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
}


@pytest.mark.parametrize("name", NO_SYNC)
def test_does_not_synchronise(name: str, counter: LaunchCounter) -> None:
    x = counter.place(torch.tensor([1.0, 2.0, 1.0]))
    with counter.section() as section:
        NO_SYNC[name](x)
    assert section.syncs == []


def test_execution_goes_on_with_real_numbers_after_a_synchronisation(counter: LaunchCounter) -> None:
    x = counter.place(torch.tensor([3.0, 4.0]))
    with counter.section() as section:
        norm = x.norm().item()
        assert norm == 5.0
        assert str(x) == "tensor([3., 4.], device='lazy:0')"
        assert f"{x.sum():.1f}" == "7.0"
        assert x[x > 3].tolist() == [4.0]
        assert x.tolist() == [3.0, 4.0]
    assert [event.line for event in section.syncs] == sorted(event.line for event in section.syncs)


def test_numpy_refuses_a_device_tensor_as_on_cuda(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(2))
    for convert in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.sqrt(x)):
        with pytest.raises(TypeError, match=r"can't convert lazy:0 device type tensor to numpy\. Use Tensor\.cpu\(\)"):
            convert()


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


def student_module(path: Path, text: str) -> ModuleType:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", ["torch", "site-packages/numpy", "autograder"])
def test_a_students_file_is_found_in_a_folder_of_any_name(folder: str, tmp_path: Path, counter: LaunchCounter) -> None:
    path = tmp_path / folder / "contextlib.py"
    student = student_module(path, "def peek(x):\n    return x.sum().item()\n")
    with counter.section() as section:
        student.peek(counter.place(torch.ones(2)))
    event = section.syncs[0]
    assert event == Event(event.what, str(path), 2, "peek", "return x.sum().item()")


def test_a_notebook_cell_is_found_like_a_file(counter: LaunchCounter) -> None:
    name, cell = "<ipython-input-7-cell>", "y = x * 2\nif y.sum() > 0:\n    z = 1\n"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    with counter.section() as section:
        exec(compile(cell, name, "exec"), {"x": counter.place(torch.ones(2))})
    assert (section.syncs[0].file, section.syncs[0].line) == (name, 2)
    assert section.syncs[0].source == "if y.sum() > 0:"


def test_a_line_without_source_has_an_empty_text(counter: LaunchCounter) -> None:
    with counter.section() as section:
        exec(compile("x.sum().item()", "<gone>", "exec"), {"x": counter.place(torch.ones(2))})
    assert section.syncs[0] == Event(section.syncs[0].what, "<gone>", 1, "<module>", "")


def test_the_line_is_found_through_torch_numpy_and_contextlib(counter: LaunchCounter) -> None:
    @contextlib.contextmanager
    def watching(x: Tensor) -> Iterator[None]:
        yield
        x.sum().item()  # in the student's context manager

    x = counter.place(torch.ones(2, requires_grad=True))
    x.register_hook(lambda grad: grad.clamp(max=grad.max().item()))  # in the student's hook
    with counter.section() as section:
        with watching(x):
            pass
        (x * x).sum().backward()
        sorted([x[0], x[1]])  # the student's call of sorted
        nn.utils.clip_grad_norm_([x], 1.0, error_if_nonfinite=True)  # the student's call of torch
    assert [re.sub(r".*# ", "", event.source) for event in section.syncs] == [
        "in the student's context manager",
        "in the student's hook",
        "the student's call of sorted",
        "the student's call of torch",
    ]


# --------------------------------------------------------------------------------------------------- device mix-ups


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


def test_the_text_is_cudas(counter: LaunchCounter) -> None:
    with pytest.raises(RuntimeError) as caught:
        counter.place(torch.ones(2)) + torch.ones(2)
    assert str(caught.value) == (
        "Expected all tensors to be on the same device, but found at least two devices, lazy:0 and cpu! (in aten.add)"
    )


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
    "gradient": lambda x, h, s: setattr(x, "grad", h),
}
NOT_MIXED: dict[str, Mixing] = {
    "scalar of the host": lambda x, h, s: (x * s, s * x, x.add_(s), s + x.sum()),
    "where": lambda x, h, s: torch.where(x > 0, x, s),
    "value": lambda x, h, s: torch.addcmul(x, x, x, value=s),
    "copy_": lambda x, h, s: (x.copy_(h), h.copy_(x)),
    "device indexed by the host": lambda x, h, s: x[torch.tensor([0])],
    "slice assigned from the host": lambda x, h, s: x.__setitem__(slice(2), h[:2]),
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


# ------------------------------------------------------------------------------------------------------------ bytes


def bytes_of(counter: LaunchCounter, do: Callable[[], Any]) -> tuple[int, int, int]:
    """Allocated, peak and live bytes of `do()`, whose result is kept alive to the end of the section."""
    with counter.section() as section:
        kept = do()
        live = section.live_bytes
        del kept
    return section.allocated_bytes, section.peak_bytes, live


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


# --------------------------------------------------------------------------------------------- what works as on a GPU

OPTIMIZERS: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"lr": 0.1}),
    (torch.optim.RMSprop, {"lr": 0.1, "momentum": 0.5}),
]


@pytest.mark.parametrize("foreach", [False, True], ids=["loop", "foreach"])
@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_results_equal_the_cpus_bit_for_bit(
    optimizer: type[torch.optim.Optimizer], options: dict[str, Any], foreach: bool, dtype: torch.dtype
) -> None:
    def run(place: Callable[[Tensor], Tensor]) -> list[Tensor]:
        params = [nn.Parameter(place(p.to(dtype))) for p in values(3)]
        opt = optimizer(params, **options, foreach=foreach)  # type: ignore[call-arg]
        for t in range(4):
            for p, g in zip(params, values(3, seed=t), strict=True):
                p.grad = place(g.to(dtype))
            opt.step()
        return [s for p in params for s in (p, *opt.state[p].values()) if s is not None]

    on_cpu = run(lambda t: t.clone())
    with LaunchCounter("pretend") as counter:
        on_device = [counter.fetch(t) for t in run(counter.place)]
    assert [t.dtype for t in on_device] == [t.dtype for t in on_cpu]
    assert all(torch.equal(a, b) for a, b in zip(on_device, on_cpu, strict=True))


@pytest.mark.parametrize("student", [StudentAdam, Foreach, Hopping, IfSync, ElementLoop, NumpyRoundTrip])
def test_students_get_the_numbers_they_would_get_anyway(student: type) -> None:
    with LaunchCounter("pretend") as counter:
        found = [counter.fetch(p) for p in train(counter, student)[1]]
        expected = [counter.fetch(p) for p in train(counter, adam())[1]]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def train_network(model: nn.Module, device: torch.device) -> list[Tensor]:
    """Two steps of a training loop as it stands in a notebook."""
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    images, labels = torch.linspace(-1, 1, 2 * 64).reshape(2, 1, 8, 8).to(device), torch.tensor([0, 2], device=device)
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return [*model.parameters(), *model.buffers(), loss.detach()]


@pytest.mark.parametrize("way", ["place_module", "to", "built there"])
def test_a_network_trains_on_the_device_as_on_the_cpu(way: str, counter: LaunchCounter) -> None:
    expected = train_network(network(), torch.device("cpu"))
    if way == "place_module":
        model = counter.place_module(network())
    elif way == "to":
        model = network().to(counter.device)
    else:
        with torch.device(counter.device):
            model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        model.load_state_dict(network().state_dict())
    with counter.section() as section:
        found = train_network(model, counter.device)
    assert all(t.device == PRETEND_DEVICE for t in found)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(counter.fetch(a), b.detach())
    assert section.syncs == section.mixes == []


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


def test_tensors_look_like_a_gpus(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(2, 3))
    assert x.is_cuda
    assert not x.is_cpu
    assert x.device.type == PRETEND_DEVICE.type
    assert x.get_device() == 0
    assert isinstance(x, Tensor)
    assert torch.is_tensor(x)
    assert x.data_ptr() == x[0].data_ptr() != x[1].data_ptr()
    assert x.untyped_storage().nbytes() == 6 * FLOAT
    assert hash(x)
    assert x in [x]


def test_tensors_made_from_data(counter: LaunchCounter) -> None:
    device = counter.device
    made = {
        "tensor": torch.tensor([1.0, 2.0], device=device),
        "as_tensor": torch.as_tensor(np.ones(2), device=device),
        "as_tensor of another type": torch.as_tensor(data=[1, 2], dtype=torch.float64, device=device),
        "asarray": torch.asarray([1.0], device=device),
        "new_tensor": counter.place(torch.ones(1, dtype=torch.float64)).new_tensor([1, 2]),
        "of a tensor": torch.tensor(counter.place(torch.ones(2))),
        "leaf": torch.tensor(1.5, device=device, requires_grad=True),
    }
    assert {t.device for t in made.values()} == {PRETEND_DEVICE}
    assert made["new_tensor"].dtype == made["as_tensor of another type"].dtype == torch.float64
    assert made["leaf"].requires_grad
    assert made["leaf"].is_leaf
    assert torch.as_tensor(made["tensor"]) is made["tensor"]
    assert torch.as_tensor(made["tensor"], device="cpu").device.type == "cpu"
    assert torch.tensor([made["leaf"], made["leaf"]]).tolist() == [1.5, 1.5]


def test_random_numbers_follow_the_seed_and_generators_belong_to_a_device(counter: LaunchCounter) -> None:
    def draw() -> Tensor:
        return counter.fetch(torch.randn(3, device=counter.device))

    torch.manual_seed(3)
    first = draw()
    torch.manual_seed(3)
    assert torch.equal(first, draw())
    generator = torch.Generator(device=counter.device).manual_seed(3)
    assert isinstance(generator, torch.Generator)
    assert generator.device == PRETEND_DEVICE
    assert torch.randperm(5, generator=generator, device=counter.device).device == PRETEND_DEVICE
    with pytest.raises(RuntimeError, match="Expected a 'lazy' device type for generator but found 'cpu'"):
        torch.randn(3, generator=torch.Generator(), device=counter.device)
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'lazy'"):
        torch.ones(3).normal_(generator=generator)


def test_in_place_operations_reach_through_views(counter: LaunchCounter) -> None:
    x = counter.place(torch.arange(6.0).reshape(2, 3))
    x[0].add_(10)
    x.view(-1)[5] = 7
    x.t_()
    assert x.shape == (3, 2)
    x.unsqueeze_(0)
    assert counter.fetch(x).tolist() == [[[10.0, 3.0], [11.0, 4.0], [12.0, 7.0]]]


def test_deepcopy_of_modules_and_optimizers(counter: LaunchCounter) -> None:
    model = counter.place_module(nn.Linear(3, 2))
    optimizer = torch.optim.Adam(model.parameters())
    model(counter.place(torch.ones(1, 3))).sum().backward()
    optimizer.step()
    other, twin = copy.deepcopy((model, optimizer))
    before = counter.fetch(model.weight)
    twin.step()
    assert isinstance(other.weight, nn.Parameter)
    assert twin.param_groups[0]["params"][0] is other.weight
    assert torch.equal(before, counter.fetch(model.weight))
    assert not torch.equal(before, counter.fetch(other.weight))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model.weight * 2)


def test_state_dicts_round_trip_through_a_file(counter: LaunchCounter) -> None:
    steps, params, optimizer = train(counter, adam(foreach=True))
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "p": params[0]}, file)

    def load(**options: Any) -> Any:
        file.seek(0)
        return torch.load(file, **options)

    saved = load()
    assert saved["p"].device == load(map_location=counter.device)["p"].device == PRETEND_DEVICE
    assert load(map_location="cpu")["p"].device.type == "cpu"
    assert isinstance(saved["p"], nn.Parameter)
    copies = [nn.Parameter(p.detach().clone()) for p in params]
    resumed = torch.optim.Adam(copies, foreach=True)
    resumed.load_state_dict(load(map_location="cpu")["optimizer"])
    for a, b in zip(params, copies, strict=True):
        a.grad = b.grad = torch.ones_like(a)
    optimizer.step()
    resumed.step()
    assert all(torch.equal(counter.fetch(a), counter.fetch(b)) for a, b in zip(params, copies, strict=True))
    assert len(steps) == 4


def test_a_checkpoint_of_the_host_loads_onto_the_device(counter: LaunchCounter) -> None:
    file = io.BytesIO()
    torch.save(nn.Linear(3, 2).state_dict(), file)
    file.seek(0)
    state = torch.load(file, map_location=counter.device)
    assert {t.device for t in state.values()} == {PRETEND_DEVICE}
    counter.place_module(nn.Linear(3, 2)).load_state_dict(state)


def test_function_transforms_give_the_cpus_numbers(counter: LaunchCounter) -> None:
    x, w = values(2)
    w = w[0]

    def loss(w: Tensor, x: Tensor) -> Tensor:
        return (x @ w + torch.zeros(3, device=w.device)).pow(2).sum() * torch.tensor(0.5, device=w.device)

    transforms: dict[str, Callable[[Tensor, Tensor], Any]] = {
        "grad": torch.func.grad(loss),
        "vmap": torch.func.vmap(lambda w, x: (x * w).sum(), in_dims=(None, 0)),
        "per example": torch.func.vmap(torch.func.grad(lambda w, x: (x @ w).pow(2)), in_dims=(None, 0)),
        "hessian": torch.func.hessian(loss),
        "jacfwd": torch.func.jacfwd(lambda w, x: x @ w),
        "jacrev": torch.func.jacrev(lambda w, x: x @ w),
        "jvp": lambda w, x: torch.func.jvp(lambda w: loss(w, x), (w,), (w,))[1],
        "vjp": lambda w, x: torch.func.vjp(lambda w: x @ w, w)[1](torch.ones(3, device=w.device))[0],
    }
    for name, transform in transforms.items():
        found = transform(counter.place(w), counter.place(x))
        assert torch.equal(counter.fetch(found), transform(w, x)), name


def test_vmap_launches_do_not_grow_with_the_batch_but_with_the_chunks(counter: LaunchCounter) -> None:
    def count(rows: int, chunk: int | None) -> int:
        x = counter.place(torch.ones(rows, 3))
        with counter.section() as section:
            torch.func.vmap(lambda row: (row * row).sum().sqrt(), chunk_size=chunk)(x)
        return section.launches

    assert count(4, None) == count(64, None) == 3
    assert count(64, 16) == 4 * 3 + 1  # and the concatenation


def test_complex_numbers_keep_their_conjugates(counter: LaunchCounter) -> None:
    z = torch.tensor([1 + 2j, 3 - 1j])
    on_device = counter.place(z)
    assert torch.equal(counter.fetch(on_device.conj() * on_device), z.conj() * z)
    assert torch.equal(counter.fetch(on_device.conj().imag.neg()), z.imag)


def test_more_of_torch_works(counter: LaunchCounter) -> None:
    def place(*shape: int) -> Tensor:
        return counter.place(torch.ones(*shape))

    x = place(2, 3)
    results = [
        F.scaled_dot_product_attention(*[place(1, 2, 5, 4)] * 3, is_causal=True),
        counter.place_module(nn.LSTM(3, 4))(place(5, 1, 3))[0],
        counter.place_module(nn.TransformerEncoderLayer(8, 2, batch_first=True))(place(2, 5, 8)),
        nn.utils.parametrizations.weight_norm(counter.place_module(nn.Linear(3, 2)))(x),
        torch.func.functional_call(counter.place_module(nn.Linear(3, 2)), {}, (x,)),
        nn.utils.parameters_to_vector(counter.place_module(nn.Linear(3, 2)).parameters()),
        F.dropout(x),
        torch.einsum("ij,kj->ik", x, x),
        torch.fft.fft(x),
        nn.init.orthogonal_(counter.place(torch.empty(3, 3))),
    ]
    assert {t.device for t in results} == {PRETEND_DEVICE}
    with torch.no_grad(), torch.inference_mode():
        assert (x + 1).device == PRETEND_DEVICE
    loader = DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2)
    assert [batch.to(x.device).device for (batch,) in loader] == [PRETEND_DEVICE] * 2


def test_compiled_code_runs_and_is_counted(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(3))
    compiled = torch.compile(lambda x: (x * 2 + 1).sum(), backend="eager")
    with counter.section() as section:
        result = compiled(x)
    assert counter.fetch(result) == 9.0
    assert section.launches == 3


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "sparse": lambda x: x.to_sparse(),
    "quantised": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
    "nested": lambda x: torch.nested.nested_tensor([x, x]),
    "autocast": lambda x: torch.autocast(x.device.type, torch.bfloat16),
    "jit.trace": lambda x: torch.jit.trace(lambda x: x * 2, (x,)),
    "export": lambda x: torch.export.export(nn.Linear(2, 2).to(x.device), (x,)),
    "pin_memory": lambda x: x.pin_memory(),
    "streams": lambda x: torch.Stream(device=x.device),
    "data of the host": lambda x: setattr(x, "data", torch.ones(2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_missing_raises_an_error_of_python(name: str, counter: LaunchCounter) -> None:
    with pytest.raises(RuntimeError):
        REFUSED[name](counter.place(torch.ones(2)))


LITERAL: dict[str, Callable[[], Any]] = {
    "factory": lambda: torch.zeros(3, device="cuda"),
    "torch.tensor": lambda: torch.tensor([1.0], device="cuda:0"),
    "torch.device": lambda: torch.zeros(3, device=torch.device("cuda")),
    "to": lambda: torch.ones(3).to("cuda"),
    "to by keyword": lambda: torch.ones(3).to(device="cuda"),
    "to by number": lambda: torch.ones(3).to(0),
    "cuda()": lambda: torch.ones(3).cuda(),
    "module.to": lambda: nn.Linear(2, 2).to("cuda"),
    "module.cuda": lambda: nn.Linear(2, 2).cuda(),
    "module built there": lambda: nn.Linear(2, 2, device="cuda"),
    "another make": lambda: torch.zeros(3, device="mps"),
}


@pytest.mark.parametrize("name", LITERAL)
def test_a_literal_cuda_is_told_to_use_the_parameters_device(name: str, counter: LaunchCounter) -> None:
    with pytest.raises(RuntimeError, match=r'use `p\.device`.*this check runs on the device "lazy:0"'):
        LITERAL[name]()


# ----------------------------------------------------------------------------------- the counter as a context manager


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
    def milliseconds() -> float:
        start = time.perf_counter()
        with LaunchCounter("pretend") as counter:
            train(counter, adam(foreach=False))
        return 1e3 * (time.perf_counter() - start)

    milliseconds()
    assert min(milliseconds() for _ in range(5)) <= 20


# ----------------------------------------------------------------------------------------------------- plain counting


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


def test_auto_is_pretend_without_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "_real_accelerator", lambda: None)
    counter = LaunchCounter()
    assert (counter.how, counter.device) == ("pretend", PRETEND_DEVICE)
    assert "pretend device lazy:0" in counter.note


def test_auto_counts_alike_on_every_machine_and_plain_takes_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "_real_accelerator", lambda: torch.device("cuda", 0))
    assert LaunchCounter().how == "pretend"
    counter = LaunchCounter("plain")
    assert (counter.how, counter.device) == ("plain", torch.device("cuda", 0))
    assert counter.note == "Counted on the real device cuda:0."


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torch whose wrapper tensors went away, as a later version's might."""

    def missing(cls: type, inner: Tensor) -> Tensor:
        raise AttributeError("no wrapper subclasses any more")

    monkeypatch.setattr(launches.PretendTensor, "__new__", missing)
    monkeypatch.setattr(launches, "_real_accelerator", lambda: None)
    launches._pretend_fails.cache_clear()
    yield
    launches._pretend_fails.cache_clear()


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


# --------------------------------------------------------------------------------------- the process stays what it was


def in_a_fresh_process(code: str) -> str:
    """Standard output of `code`; the test fails if the process dies."""
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


#: Each of these kills the process, or leaves it broken, on some other kinds of pretend device.
DANGERS = """
    import os, torch
    from autograder.launches import LaunchCounter

    weight = torch.ones(3, requires_grad=True)
    (weight * 2).sum().backward()  # autograd has fixed its threads before the device appears
    from torch.utils.checkpoint import checkpoint

    def hessian(x): return torch.func.hessian(lambda x: (x * x).sum())(x)
    def forward_mode(x): return torch.func.jvp(torch.sin, (x,), (x,))[1]
    def dual(x):
        with torch.autograd.forward_ad.dual_level():
            made = torch.autograd.forward_ad.make_dual(x, x)
            return torch.autograd.forward_ad.unpack_dual(made * 2).tangent
    def checkpointed(x):
        for reentrant in (False, True):
            x = x.detach().requires_grad_()
            checkpoint(torch.nn.Dropout(0.5), x, use_reentrant=reentrant).sum().backward()
        return x.grad
    def compiled(x): return torch.compile(lambda x: x * 2 + 1)(x)
    def anomaly(x):
        with torch.autograd.detect_anomaly():
            x = x.requires_grad_()
            (x * x).sum().backward()
        return x.grad
    def saved_on_host(x):
        with torch.autograd.graph.save_on_cpu():
            x = x.requires_grad_()
            (x.sin() * x).sum().backward()
        return x.grad
    def scripted(x): return torch.jit.script(torch.nn.ReLU())(x)
    def exported(x): return torch.utils.dlpack.to_dlpack(x)
    def queued(x):
        queue = torch.multiprocessing.get_context("fork").SimpleQueue()
        queue.put(x)
        return queue.get()
    def forked_randomness(x):
        with torch.random.fork_rng(device_type=x.device.type):
            return torch.randn_like(x)
    def event(x): torch.Event(device=x.device).record()
    def accelerator(x): torch.accelerator.current_stream()
    def pinned(x): return next(iter(torch.utils.data.DataLoader([x, x], pin_memory=True)))
    def linear_algebra(x): return torch.linalg.eigh(torch.diag(x)).eigenvalues
    def sparse(x): return torch.nn.Embedding(3, 3, sparse=True).to(x.device)(x.long()).sum().backward()

    for danger in (hessian, forward_mode, dual, checkpointed, compiled, anomaly, saved_on_host, scripted, exported,
                   queued, forked_randomness, event, accelerator, pinned, linear_algebra, sparse):
        with LaunchCounter("pretend") as counter:
            try:
                result = danger(counter.place(torch.tensor([0.0, 1.0, 2.0])))
                print(danger.__name__, "works" if result is None else f"gives {result.device}", flush=True)
            except (RuntimeError, BufferError) as error:
                print(danger.__name__, "raises", flush=True)

    if not os.fork():  # autograd still works in a child, as in a DataLoader's worker
        (torch.ones(3, requires_grad=True) * 2).sum().backward()
        print("child works", flush=True)
        os._exit(0)
    print("status", os.wait()[1])
"""


def test_nothing_kills_the_process() -> None:
    lines = in_a_fresh_process(DANGERS).splitlines()
    outcome = dict(line.split(" ", 1) for line in lines)
    works = {"gives lazy:0", "works"}
    must_work = ("hessian", "forward_mode", "dual", "checkpointed", "compiled", "anomaly", "saved_on_host", "scripted")
    assert {outcome[name] for name in must_work} <= works
    assert all(outcome[name] in works | {"raises"} for name in outcome if name not in ("child", "status"))
    assert outcome["sparse"] == outcome["exported"] == "raises"
    assert (outcome["child"], outcome["status"]) == ("works", "0")
    assert len(outcome) == 18


def test_importing_is_cheap_and_registers_nothing_nor_does_using_it() -> None:
    found = in_a_fresh_process("""
        import sys, torch
        def state():
            return (torch._C._get_privateuse1_backend_name(), torch.accelerator.current_accelerator(),
                    torch.accelerator.is_available(), sorted(n for n in dir(torch) if n in ("lazy", "gpu")),
                    torch.Generator, torch.load)
        before = state()
        modules = set(sys.modules)
        import autograder.launches as launches
        heavy = {"torch._dynamo", "sympy", "matplotlib", "pandas"} & (set(sys.modules) - modules)
        print(sorted(heavy), state() == before)
        with launches.LaunchCounter("pretend") as counter:
            counter.place(torch.ones(2, requires_grad=True)).sum().backward()
        print(state() == before)
    """)
    assert found.split("\n") == ["[] True", "True", ""]


def ordinary_work() -> list[Any]:
    """What a notebook does on the CPU; the same numbers whenever it runs."""
    torch.manual_seed(0)
    model = network()
    results: list[Any] = train_network(model, torch.device("cpu"))
    results += [batch for (batch,) in DataLoader(TensorDataset(torch.randn(6, 2)), batch_size=2, shuffle=True)]
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    results += list(torch.load(file).values())
    results += list(copy.deepcopy(model).parameters())
    results.append(torch.compile(lambda x: x.sin() + 1, backend="eager")(torch.ones(3)))
    results.append(torch.func.hessian(lambda x: (x**3).sum())(torch.ones(2)))
    results.append(torch.rand(3, generator=torch.Generator().manual_seed(1)))
    with torch.autocast("cpu", torch.bfloat16):
        results.append(torch.ones(2, 2) @ torch.ones(2, 2))
    with torch.random.fork_rng():
        torch.manual_seed(7)
    results += [torch.randn(2), torch.get_rng_state(), torch.tensor(torch.initial_seed())]
    results += [torch.optim.Adam(model.parameters()).defaults["foreach"], torch.accelerator.is_available()]
    results.append(torch.jit.trace(lambda x: x * 2, (torch.ones(2),))(torch.ones(2)))
    return results


def test_ordinary_work_is_the_same_before_beside_and_after_counting() -> None:
    before = ordinary_work()
    with LaunchCounter("pretend") as counter, counter.section() as section:
        with pytest.raises(RuntimeError, match="trace"):
            ordinary_work()  # all but its last line works while counting
        train_network(counter.place_module(network()), counter.device)
    assert section.mixes == []
    after = ordinary_work()
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b
