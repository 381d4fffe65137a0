"""Students' optimizers, and what tests do with them.

Each optimizer is Adam, written in one of the ways that make a GPU wait, copy or crawl; the line to blame is marked
with `# blame`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.launches import LaunchCounter, Section

FLOAT = 4  # bytes of a float32


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


def adam(**options: Any) -> Make:
    return lambda params: torch.optim.Adam(params, **options)


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


def bytes_of(counter: LaunchCounter, do: Callable[[], Any]) -> tuple[int, int, int]:
    """Allocated, peak and live bytes of `do()`, whose result is kept alive to the end of the section."""
    with counter.section() as section:
        kept = do()
        live = section.live_bytes
        del kept
    return section.allocated_bytes, section.peak_bytes, live


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
