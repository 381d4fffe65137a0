"""Right and wrong answers to the exercises of `05_adam_adamw`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch

from autograder.answers import Mutants, Objects

Tensor = torch.Tensor
Betas = tuple[float, float]

# --- adam.step ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def step_by_formula(w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float) -> None:
    m.copy_(betas[0] * m + (1 - betas[0]) * g)
    v.copy_(betas[1] * v + (1 - betas[1]) * g**2)
    m_hat = m / (1 - betas[0] ** t)
    v_hat = v / (1 - betas[1] ** t)
    w -= lr * m_hat / (torch.sqrt(v_hat) + eps)


@torch.no_grad()
def step_in_place(w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float) -> None:
    b1, b2 = betas
    m.lerp_(g, 1 - b1)
    v.mul_(b2).addcmul_(g, g, value=1 - b2)
    w.addcdiv_(m, (v.sqrt() / math.sqrt(1 - b2**t)).add_(eps), value=-lr / (1 - b1**t))


def step_with_scaled_eps(
    w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float
) -> None:
    """The paper's efficient order, with eps scaled so that it stays the one that torch means."""
    b1, b2 = betas
    root = (1 - b2**t) ** 0.5
    with torch.no_grad():
        m[...] = m + (1 - b1) * (g - m)
        v[...] = v - (1 - b2) * (v - g.square())
        w.add_(m / (v.sqrt() + eps * root), alpha=-lr * root / (1 - b1**t))


@torch.no_grad()
def step_by_element(w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float) -> None:
    """A Python loop over elements: slow, and right."""
    ww, gg, mm, vv = w.view(-1), g.view(-1), m.view(-1), v.view(-1)
    for i in range(ww.numel()):
        mm[i] = betas[0] * mm[i] + (1 - betas[0]) * gg[i]
        vv[i] = betas[1] * vv[i] + (1 - betas[1]) * gg[i] ** 2
        ww[i] -= lr * (mm[i] / (1 - betas[0] ** t)) / ((vv[i] / (1 - betas[1] ** t)).sqrt() + eps)


@torch.no_grad()
def _no_correction(w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float) -> None:
    m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
    v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    w.sub_(lr * m / (v.sqrt() + eps))


@torch.no_grad()
def _eps_inside(w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float) -> None:
    m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
    v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    w.sub_(lr * (m / (1 - betas[0] ** t)) / torch.sqrt(v / (1 - betas[1] ** t) + eps))


@torch.no_grad()
def _t_from_zero(w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float) -> None:
    t = t - 1
    m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
    v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    w.addcdiv_(m, (v / (1 - betas[1] ** t)).sqrt() + eps, value=-lr / (1 - betas[0] ** t))


@torch.no_grad()
def _rebound(w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float) -> None:
    m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
    v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    w = w - lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps)


@torch.no_grad()
def _averages_rebound(
    w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float
) -> None:
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g * g
    w.sub_(lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps))


@torch.no_grad()
def _no_square(w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, *, lr: float, betas: Betas, eps: float) -> None:
    m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
    v.mul_(betas[1]).add_(g, alpha=1 - betas[1])
    w.sub_(lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps))


# --- adam.adam and adam.adamw: one student's class, with the places where students differ -------------------------


class Student(torch.optim.Optimizer):
    """Adam in a student's hand; subclasses change one method."""

    decoupled = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "amsgrad": amsgrad, "maximize": maximize})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, group, self.state[p])

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        if not s:
            self.start(p, s)
        s["t"] += 1
        g = self.gradient(p, group)
        b1, b2 = group["betas"]
        self.average(s, g, b1, b2)
        self.move(p, s, group, b1, b2)

    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        s["t"], s["m"], s["v"], s["top"] = 0, torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p)

    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        g = -p.grad if group["maximize"] else p.grad
        if self.decoupled:
            p.mul_(1 - group["lr"] * group["weight_decay"])
            return g
        return g + group["weight_decay"] * p

    def average(self, s: dict[str, Any], g: Tensor, b1: float, b2: float) -> None:
        s["m"] = b1 * s["m"] + (1 - b1) * g
        s["v"] = b2 * s["v"] + (1 - b2) * g * g
        s["top"] = torch.maximum(s["top"], s["v"])

    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        v = s["top"] if group["amsgrad"] else s["v"]
        m_hat, v_hat = s["m"] / (1 - b1 ** s["t"]), v / (1 - b2 ** s["t"])
        p.sub_(group["lr"] * m_hat / (v_hat.sqrt() + group["eps"]))


class TorchNames(Student):
    """State under torch's names, the step count a 0-dim tensor."""

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        if not s:
            s["step"] = torch.tensor(0.0)
            s["exp_avg"], s["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
            if group["amsgrad"]:
                s["max_exp_avg_sq"] = torch.zeros_like(p)
        s["step"] += 1
        t, (b1, b2) = s["step"].item(), group["betas"]
        g = self.gradient(p, group)
        s["exp_avg"].lerp_(g, 1 - b1)
        s["exp_avg_sq"].mul_(b2).addcmul_(g, g, value=1 - b2)
        v = s["exp_avg_sq"]
        if group["amsgrad"]:
            v = torch.maximum(s["max_exp_avg_sq"], v, out=s["max_exp_avg_sq"])
        p.addcdiv_(s["exp_avg"], (v / (1 - b2**t)).sqrt_().add_(group["eps"]), value=-group["lr"] / (1 - b1**t))


class OwnBookkeeping:
    """No torch base class: parameter groups, state and zero_grad by hand."""

    decoupled = False

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8, **more: Any
    ) -> None:
        params = list(params)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": 0.0,
            "amsgrad": False,
            "maximize": False,
            **more,
        }
        groups = params if isinstance(params[0], dict) else [{"params": params}]
        self.param_groups = [{**defaults, **group} for group in groups]
        self.memory: dict[int, list[Any]] = {}

    def step(self) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self.update_param(p, group)

    def update_param(self, p: Tensor, group: dict[str, Any]) -> None:
        count, m, v, top = self.memory.get(id(p), [0, torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p)])
        assert p.grad is not None
        g, (b1, b2), wd = p.grad.clone(), group["betas"], group["weight_decay"]
        if group["maximize"]:
            g.neg_()
        if not self.decoupled:
            g.add_(p, alpha=wd)
        count, m, v = count + 1, b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g.pow(2)
        top = torch.max(top, v)
        self.memory[id(p)] = [count, m, v, top]
        step = (m / (1 - b1**count)) / (((top if group["amsgrad"] else v) / (1 - b2**count)) ** 0.5 + group["eps"])
        # decoupled decay as an addend computed from the old weight: the same thing
        p.add_(step + wd * p if self.decoupled else step, alpha=-group["lr"])


class WithForeach(Student):
    """Lists of tensors, one call per operation."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            states = [self.state[p] for p in params]
            for p, s in zip(params, states, strict=True):
                if not s:
                    self.start(p, s)
                s["t"] += 1
            b1, b2 = group["betas"]
            grads = [self.gradient(p, group) for p in params]
            ms, vs, tops = ([s[key] for s in states] for key in ("m", "v", "top"))
            torch._foreach_lerp_(ms, grads, 1 - b1)
            torch._foreach_mul_(vs, b2)
            torch._foreach_addcmul_(vs, grads, grads, 1 - b2)
            torch._foreach_maximum_(tops, vs)
            ds = list(torch._foreach_sqrt(tops if group["amsgrad"] else vs))
            torch._foreach_div_(ds, [math.sqrt(1 - b2 ** s["t"]) for s in states])
            torch._foreach_add_(ds, group["eps"])
            torch._foreach_addcdiv_(params, ms, ds, [-group["lr"] / (1 - b1 ** s["t"]) for s in states])


def _w(cls: type) -> type:
    """The same class with decoupled decay."""
    return type(f"{cls.__name__}W", (cls,), {"decoupled": True})


# Wrong ones. Each says the catalogue row that has to be named.


class _Uncorrected(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        v = s["top"] if group["amsgrad"] else s["v"]
        p.sub_(group["lr"] * s["m"] / (v.sqrt() + group["eps"]))


class _OnlyM(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        v = s["top"] if group["amsgrad"] else s["v"]
        p.sub_(group["lr"] * s["m"] / (1 - b1 ** s["t"]) / (v.sqrt() + group["eps"]))


class _EpsInside(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        v = s["top"] if group["amsgrad"] else s["v"]
        p.sub_(group["lr"] * s["m"] / (1 - b1 ** s["t"]) / (v / (1 - b2 ** s["t"]) + group["eps"]).sqrt())


class _EpsHat(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        v = s["top"] if group["amsgrad"] else s["v"]
        alpha = group["lr"] * math.sqrt(1 - b2 ** s["t"]) / (1 - b1 ** s["t"])
        p.addcdiv_(s["m"], v.sqrt() + group["eps"], value=-alpha)


class _EpsOnWeight(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        v = s["top"] if group["amsgrad"] else s["v"]
        m_hat, v_hat = s["m"] / (1 - b1 ** s["t"]), v / (1 - b2 ** s["t"])
        p.copy_(p - group["lr"] * m_hat / v_hat.sqrt() + group["eps"])


class _NoEps(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        v = s["top"] if group["amsgrad"] else s["v"]
        p.sub_(group["lr"] * (s["m"] / (1 - b1 ** s["t"])) / (v / (1 - b2 ** s["t"])).sqrt())


class _NoRoot(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        v = s["top"] if group["amsgrad"] else s["v"]
        p.sub_(group["lr"] * (s["m"] / (1 - b1 ** s["t"])) / (v / (1 - b2 ** s["t"]) + group["eps"]))


class _Uphill(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        before = p.clone()
        super().move(p, s, group, b1, b2)
        p.copy_(2 * before - p)


class _Swapped(Student):
    def average(self, s: dict[str, Any], g: Tensor, b1: float, b2: float) -> None:
        super().average(s, g, b2, b1)

    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        super().move(p, s, group, b2, b1)


class _NoMemory(Student):
    def average(self, s: dict[str, Any], g: Tensor, b1: float, b2: float) -> None:
        s["m"] = (1 - b1) * g
        s["v"] = b2 * s["v"] + (1 - b2) * g * g
        s["top"] = torch.maximum(s["top"], s["v"])


class _Accumulates(Student):
    def average(self, s: dict[str, Any], g: Tensor, b1: float, b2: float) -> None:
        s["m"] = b1 * s["m"] + (1 - b1) * g
        s["v"] = s["v"] + g * g
        s["top"] = torch.maximum(s["top"], s["v"])


class _Velocity(Student):
    def average(self, s: dict[str, Any], g: Tensor, b1: float, b2: float) -> None:
        super().average(s, g, b1, b2)
        s["m"] = s["m"] + b1 * g  # b1*m + (1 - b1)*g + b1*g


class _SquareOfM(Student):
    def average(self, s: dict[str, Any], g: Tensor, b1: float, b2: float) -> None:
        s["m"] = b1 * s["m"] + (1 - b1) * g
        s["v"] = b2 * s["v"] + (1 - b2) * s["m"] ** 2
        s["top"] = torch.maximum(s["top"], s["v"])


class _StoredHat(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        c1, c2 = 1 - b1 ** s["t"], 1 - b2 ** s["t"]
        v = s["top"] if group["amsgrad"] else s["v"]
        s["m"], s["v"] = s["m"] / c1, s["v"] / c2
        p.sub_(group["lr"] * s["m"] / ((v / c2).sqrt() + group["eps"]))


class _TwiceCounted(Student):
    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        super().start(p, s)
        s["t"] = 1


class _CountLost(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        s.pop("t", None)
        if "m" not in s:
            self.start(p, s)
        s["t"] = 0
        s["t"] += 1
        self.average(s, self.gradient(p, group), *group["betas"])
        self.move(p, s, group, *group["betas"])


class _CountsCalls(Student):
    calls = 0

    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        self.calls += 1
        super().move(p, {**s, "t": self.calls}, group, b1, b2)


class _CountsSteps(Student):
    steps = 0

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.steps += 1
        super().step()

    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        super().move(p, {**s, "t": self.steps}, group, b1, b2)


class _Shared(Student):
    """One m and v in attributes; made anew when the shape does not fit."""

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        common = self.__dict__.setdefault("common", {})
        if "m" not in common or common["m"].shape != p.shape:
            self.start(p, common)
        s["t"] = s.get("t", 0) + 1
        self.average(common, self.gradient(p, group), *group["betas"])
        self.move(p, {**common, "t": s["t"]}, group, *group["betas"])


class _Forgetful(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        count = s.get("t", 0)
        self.start(p, s)
        s["t"] = count + 1
        self.average(s, self.gradient(p, group), *group["betas"])
        self.move(p, s, group, *group["betas"])


class _ConstructorLr(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        super().one(p, {**group, "lr": self.defaults["lr"]}, s)


class _FirstGroupOnly(Student):
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        for p in group["params"]:
            if p.grad is not None:
                self.one(p, group, self.state[p])


class _ZerosForNone(Student):
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        missing = [p for group in self.param_groups for p in group["params"] if p.grad is None]
        for p in missing:
            p.grad = torch.zeros_like(p)
        super().step()
        for p in missing:
            p.grad = None


class _GradientChanged(Student):
    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        g = -p.grad if group["maximize"] else p.grad
        g += group["weight_decay"] * p
        if group["maximize"]:
            p.grad.copy_(g)
        return g


class _ReturnForContinue(Student):
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    return
                self.one(p, group, self.state[p])


class _GradientAddedTo(Student):
    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        g = -p.grad if group["maximize"] else p.grad
        g.add_(p, alpha=group["weight_decay"])
        return g


class _NewStorage(Student):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        v = s["top"] if group["amsgrad"] else s["v"]
        m_hat, v_hat = s["m"] / (1 - b1 ** s["t"]), v / (1 - b2 ** s["t"])
        p.data = p.data - group["lr"] * m_hat / (v_hat.sqrt() + group["eps"])


class _NoAmsgrad(Student):
    def average(self, s: dict[str, Any], g: Tensor, b1: float, b2: float) -> None:
        super().average(s, g, b1, b2)
        s["top"] = s["v"]


class _MaxOfHat(Student):
    def average(self, s: dict[str, Any], g: Tensor, b1: float, b2: float) -> None:
        old = s["top"]
        super().average(s, g, b1, b2)
        s["top"] = torch.maximum(old, s["v"] / (1 - b2 ** s["t"]))

    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        c2 = 1 - b2 ** s["t"]
        super().move(p, {**s, "top": s["top"] * c2}, group, b1, b2)


class _DecayRow(Student):
    """What is done with weight_decay, as a function of (p, g, lr, wd) that returns the gradient to use."""

    how: ClassVar[Callable[[Tensor, Tensor, float, float], Tensor]]

    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        g = -p.grad if group["maximize"] else p.grad
        return type(self).how(p, g, group["lr"], group["weight_decay"])


def _decay(how: Callable[[Tensor, Tensor, float, float], Tensor]) -> type:
    return type("_Decay", (_DecayRow,), {"how": staticmethod(how)})


class _DecayAfter(Student):
    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        return -p.grad if group["maximize"] else p.grad

    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        super().move(p, s, group, b1, b2)
        p.mul_(1 - group["lr"] * group["weight_decay"])


class _DecayInside(_DecayAfter):
    def move(self, p: Tensor, s: dict[str, Any], group: dict[str, Any], b1: float, b2: float) -> None:
        m_hat, v_hat = s["m"] / (1 - b1 ** s["t"]), s["v"] / (1 - b2 ** s["t"])
        update = (m_hat + group["weight_decay"] * p) / (v_hat.sqrt() + group["eps"])
        p.sub_(update, alpha=group["lr"])


_BOTH: tuple[tuple[str, type], ...] = (
    ("A5", _Uncorrected),
    ("A5m", _OnlyM),
    ("A1", _EpsInside),
    ("A2", _EpsHat),
    ("A3", _EpsOnWeight),
    ("A4", _NoEps),
    ("R4", _NoRoot),
    ("A8", _Swapped),
    ("E9m", _NoMemory),
    ("A15", _Accumulates),
    ("A13", _Velocity),
    ("A7", _SquareOfM),
    ("E5", _StoredHat),
    ("E3n", _TwiceCounted),
    ("A6n", _CountLost),
    ("A6", _CountsCalls),
    ("A6g", _CountsSteps),
    ("A23", _Shared),
    ("A24", _Forgetful),
    ("A31", _FirstGroupOnly),
    ("A32", _ZerosForNone),
    ("A34", _ReturnForContinue),
    ("M9s", _NewStorage),
)


# --- adam.l2_is_not_decay -------------------------------------------------------------------------------------------

GradFn = Callable[[Tensor], Tensor]


def pair_written_out(kind: str, w0: Tensor, grad_fn: GradFn, lr: float, wd: float, steps: int) -> tuple[Tensor, Tensor]:
    out = []
    for l2 in (True, False):
        w, m, v, rows = w0.clone(), torch.zeros_like(w0), torch.zeros_like(w0), [w0.clone()]
        for t in range(1, steps + 1):
            g = grad_fn(w)
            if l2:
                g = g + wd * w
            else:
                w = (1 - lr * wd) * w
            if kind == "momentum":
                m = 0.9 * m + g
                g = m
            elif kind == "adam":
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                g = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
            w = w - lr * g
            rows.append(w)
        out.append(torch.stack(rows))
    return out[0], out[1]


def pair_with_own_classes(
    kind: str, w0: Tensor, grad_fn: GradFn, lr: float, wd: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Uses the notebook's own optimizers, and decays by hand where there is none."""

    def run(decoupled: bool) -> Tensor:
        w = torch.nn.Parameter(w0.clone())
        rows = torch.zeros(steps + 1, *w0.shape, dtype=w0.dtype)
        rows[0] = w0
        if kind == "adam":
            opt: Any = (_w(Student) if decoupled else Student)([w], lr=lr, weight_decay=wd)
        else:
            momentum = 0.9 if kind == "momentum" else 0.0
            opt = torch.optim.SGD([w], lr, momentum, weight_decay=0 if decoupled else wd)
        for t in range(1, steps + 1):
            w.grad = grad_fn(w.detach())
            if decoupled and kind != "adam":
                with torch.no_grad():
                    w -= lr * wd * w
            opt.step()
            rows[t] = w.detach()
        return rows

    return run(False), run(True)


def pair_in_place(kind: str, w0: Tensor, grad_fn: GradFn, lr: float, wd: float, steps: int) -> list[Tensor]:
    """Steps in place with adam_step; returns a list."""
    trajectories = []
    for decoupled in (0, 1):
        w, buf, v = w0.clone(), torch.zeros_like(w0), torch.zeros_like(w0)
        rows = [w.clone()]
        for t in range(1, steps + 1):
            g = grad_fn(w) + (1 - decoupled) * wd * w
            w.mul_(1 - decoupled * lr * wd)
            if kind == "adam":
                step_in_place(w, g, buf, v, t, lr=lr, betas=(0.9, 0.999), eps=1e-8)
            else:
                buf = (0.9 if kind == "momentum" else 0.0) * buf + g
                w.sub_(lr * buf)
            rows.append(w.clone())
        trajectories.append(torch.stack(rows))
    return trajectories


def _pair(l2: Callable[..., Tensor], decoupled: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    """Both trajectories from one-step rules (w, g, lr, wd, state, kind) → w."""

    def l2_and_decoupled(
        kind: str, w0: Tensor, grad_fn: GradFn, lr: float, wd: float, steps: int
    ) -> tuple[Tensor, Tensor]:
        out = []
        for rule in (l2, decoupled):
            w, memory, rows = w0.clone(), [torch.zeros_like(w0), torch.zeros_like(w0), 0], [w0.clone()]
            for _ in range(steps):
                w = rule(w, grad_fn(w), lr, wd, memory, kind)
                rows.append(w)
            out.append(torch.stack(rows))
        return out[0], out[1]

    return l2_and_decoupled


def _update(g: Tensor, memory: list[Any], kind: str) -> Tensor:
    if kind == "sgd":
        return g
    if kind == "momentum":
        memory[0] = 0.9 * memory[0] + g
        return memory[0]
    memory[2] += 1
    memory[0], memory[1] = 0.9 * memory[0] + 0.1 * g, 0.999 * memory[1] + 0.001 * g * g
    return (memory[0] / (1 - 0.9 ** memory[2])) / ((memory[1] / (1 - 0.999 ** memory[2])).sqrt() + 1e-8)


def _rule_l2(w: Tensor, g: Tensor, lr: float, wd: float, memory: list[Any], kind: str) -> Tensor:
    return w - lr * _update(g + wd * w, memory, kind)


def _rule_decoupled(w: Tensor, g: Tensor, lr: float, wd: float, memory: list[Any], kind: str) -> Tensor:
    return (1 - lr * wd) * w - lr * _update(g, memory, kind)


def _rule_no_lr(w: Tensor, g: Tensor, lr: float, wd: float, memory: list[Any], kind: str) -> Tensor:
    return (1 - wd) * w - lr * _update(g, memory, kind)


def _rule_minus(w: Tensor, g: Tensor, lr: float, wd: float, memory: list[Any], kind: str) -> Tensor:
    return w - lr * _update(g - wd * w, memory, kind)


def _rule_double(w: Tensor, g: Tensor, lr: float, wd: float, memory: list[Any], kind: str) -> Tensor:
    return w - lr * _update(g + 2 * wd * w, memory, kind)


# --- adam.resume ----------------------------------------------------------------------------------------------------


def save(opt: Any, path: str) -> None:
    torch.save(opt.state_dict(), path)


def resume(opt: Any, path: str) -> None:
    opt.load_state_dict(torch.load(path))


def save_through_a_buffer(opt: Any, path: str) -> None:
    import io

    buffer = io.BytesIO()
    torch.save(opt.state_dict(), buffer)
    with open(path, "wb") as file:
        file.write(buffer.getvalue())


def resume_to_the_device(opt: Any, path: str) -> None:
    saved = torch.load(path, map_location="cpu", weights_only=True)
    opt.load_state_dict(saved)


def resume_by_hand(opt: Any, path: str) -> None:
    saved = torch.load(path)
    params = [p for group in opt.param_groups for p in group["params"]]
    for group, other in zip(opt.param_groups, saved["param_groups"], strict=True):
        group.update({key: value for key, value in other.items() if key != "params"})
    for i, p in enumerate(params):
        if i in saved["state"]:
            on_host = {"step"}  # as torch keeps it; the averages live where the parameter does
            opt.state[p] = {
                key: value.clone() if key in on_host else value.to(p.device, copy=True)
                for key, value in saved["state"][i].items()
            }


def _resume_old_lr(opt: Any, path: str) -> None:
    lrs = [group["lr"] for group in opt.param_groups]
    betas = [{key: group[key] for key in ("betas", "eps", "weight_decay")} for group in opt.param_groups]
    opt.load_state_dict(torch.load(path))
    for group, lr, more in zip(opt.param_groups, lrs, betas, strict=True):
        group.update(lr=lr, **more)


def _resume_young(opt: Any, path: str) -> None:
    saved = torch.load(path)
    for state in saved["state"].values():
        state["step"] = torch.tensor(0.0)
    opt.load_state_dict(saved)


def _resume_nothing(opt: Any, path: str) -> None:
    saved = torch.load(path)
    saved["state"] = opt.state


class _PythonStep(TorchNames):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        s["step"] = torch.tensor(float(s.get("step", 0)))
        if "exp_avg" not in s:
            s.update(exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
            if group["amsgrad"]:
                s["max_exp_avg_sq"] = torch.zeros_like(p)
        super().one(p, group, s)
        s["step"] = int(s["step"])


# --- adam.foreach ---------------------------------------------------------------------------------------------------


class Foreach(torch.optim.Optimizer):
    """ForeachAdam in a student's hand; subclasses change `update`."""

    def __init__(self, params: Any, lr: float = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                s = self.state[p]
                if not s:
                    self.start(p, s)
                s["step"] += 1
            if params:
                self.update(params, [p.grad for p in params], [self.state[p] for p in params], group)

    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        s.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))

    def update(
        self, ps: Sequence[Tensor], gs: Sequence[Any], states: Sequence[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        b1, b2 = group["betas"]
        ms, vs, ts = ([s[key] for s in states] for key in ("exp_avg", "exp_avg_sq", "step"))
        torch._foreach_lerp_(ms, gs, 1 - b1)
        torch._foreach_mul_(vs, b2)
        torch._foreach_addcmul_(vs, gs, gs, 1 - b2)
        ds = list(torch._foreach_sqrt(vs))
        torch._foreach_div_(ds, [(1 - b2 ** float(t)) ** 0.5 for t in ts])
        torch._foreach_add_(ds, group["eps"])
        torch._foreach_addcdiv_(list(ps), ms, ds, [-group["lr"] / (1 - b1 ** float(t)) for t in ts])


class ForeachTensorSteps(Foreach):
    """Step counts are 0-dim CPU tensors, as torch keeps them: reading them waits for nothing."""

    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        super().start(p, s)
        s["step"] = torch.tensor(0.0)


class ForeachOutOfPlace(Foreach):
    """New lists, then one foreach copy: more memory, the same number of launches for any number of parameters."""

    def update(
        self, ps: Sequence[Tensor], gs: Sequence[Any], states: Sequence[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        b1, b2 = group["betas"]
        ms, vs, ts = ([s[key] for s in states] for key in ("exp_avg", "exp_avg_sq", "step"))
        new_m = torch._foreach_add(torch._foreach_mul(ms, b1), torch._foreach_mul(gs, 1 - b1))
        new_v = torch._foreach_add(torch._foreach_mul(vs, b2), torch._foreach_mul(torch._foreach_mul(gs, gs), 1 - b2))
        torch._foreach_copy_(ms, new_m)
        torch._foreach_copy_(vs, new_v)
        m_hat = torch._foreach_div(ms, [1 - b1**t for t in ts])
        v_hat = torch._foreach_div(vs, [1 - b2**t for t in ts])
        ds = torch._foreach_add(torch._foreach_sqrt(v_hat), group["eps"])
        moves = torch._foreach_mul(torch._foreach_div(m_hat, ds), group["lr"])
        torch._foreach_sub_(list(ps), moves)


class _ForeachLoop(Foreach):
    """The corrections in a comprehension over tensors: launches grow again."""

    def update(
        self, ps: Sequence[Tensor], gs: Sequence[Any], states: Sequence[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        b1, b2 = group["betas"]
        ms, vs, ts = ([s[key] for s in states] for key in ("exp_avg", "exp_avg_sq", "step"))
        torch._foreach_lerp_(ms, gs, 1 - b1)
        torch._foreach_mul_(vs, b2)
        torch._foreach_addcmul_(vs, gs, gs, 1 - b2)
        ds = [(v / (1 - b2**t)).sqrt() + group["eps"] for v, t in zip(vs, ts, strict=True)]
        torch._foreach_addcdiv_(list(ps), ms, ds, [-group["lr"] / (1 - b1**t) for t in ts])


class _ForeachSync(Foreach):
    """Looks at the gradients before it steps."""

    def update(
        self, ps: Sequence[Tensor], gs: Sequence[Any], states: Sequence[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        if torch.stack(torch._foreach_norm(list(gs))).sum() > 0:
            super().update(ps, gs, states, group)


class _ForeachOneCount(Foreach):
    def update(
        self, ps: Sequence[Tensor], gs: Sequence[Any], states: Sequence[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        most = max(s["step"] for s in states)
        super().update(ps, gs, [{**s, "step": most} for s in states], group)


class _ForeachMInPlace(Foreach):
    def update(
        self, ps: Sequence[Tensor], gs: Sequence[Any], states: Sequence[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        b1, b2 = group["betas"]
        ms, vs, ts = ([s[key] for s in states] for key in ("exp_avg", "exp_avg_sq", "step"))
        torch._foreach_lerp_(ms, gs, 1 - b1)
        torch._foreach_mul_(vs, b2)
        torch._foreach_addcmul_(vs, gs, gs, 1 - b2)
        torch._foreach_div_(ms, [1 - b1**t for t in ts])
        ds = torch._foreach_sqrt(torch._foreach_div(vs, [1 - b2**t for t in ts]))
        torch._foreach_add_(ds, group["eps"])
        torch._foreach_addcdiv_(list(ps), ms, list(ds), -group["lr"])


class _ForeachCpuState(Foreach):
    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        s.update(step=0, exp_avg=torch.zeros(p.shape).to(p.dtype), exp_avg_sq=torch.zeros(p.shape).to(p.dtype))


# --- adam.master_weights --------------------------------------------------------------------------------------------


class Master(torch.optim.Optimizer):
    """MasterAdam in a student's hand; subclasses change one method."""

    def __init__(self, params: Any, lr: float = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, self.state[p], group)

    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        if not s:
            self.start(p, s)
        s["step"] += 1
        assert p.grad is not None
        step_in_place(
            s["master"], p.grad.float(), s["exp_avg"], s["exp_avg_sq"], s["step"],
            lr=group["lr"], betas=group["betas"], eps=group["eps"],
        )  # fmt: skip
        p.copy_(s["master"])

    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        s["step"], s["master"] = 0, p.detach().float()
        s["exp_avg"], s["exp_avg_sq"] = torch.zeros_like(s["master"]), torch.zeros_like(s["master"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        params = [p for group in self.param_groups for p in group["params"]]
        for i, p in enumerate(params):
            if i in state_dict["state"]:
                for key in ("master", "exp_avg", "exp_avg_sq"):
                    self.state[p][key] = state_dict["state"][i][key].clone()


class MasterByFormula(Master):
    """The update as the book writes it, copied into the state."""

    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        if not s:
            self.start(p, s)
        s["step"] += 1
        assert p.grad is not None
        g, (b1, b2), t = p.grad.float(), group["betas"], s["step"]
        s["exp_avg"].mul_(b1).add_(g, alpha=1 - b1)
        s["exp_avg_sq"].mul_(b2).add_(g * g, alpha=1 - b2)
        divisor = (s["exp_avg_sq"] / (1 - b2**t)).sqrt() + group["eps"]
        s["master"] -= group["lr"] * (s["exp_avg"] / (1 - b1**t)) / divisor
        p.data.copy_(s["master"].to(p.dtype))


class MasterLoadsByHand(Master):
    """Builds the whole state itself instead of calling the base class."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        import copy

        saved = copy.deepcopy(state_dict)
        params = [p for group in self.param_groups for p in group["params"]]
        for i, p in enumerate(params):
            self.state[p] = saved["state"].get(i, {})
        for group, other in zip(self.param_groups, saved["param_groups"], strict=True):
            group.update({key: value for key, value in other.items() if key != "params"})


class _NoMaster(Master):
    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        super().start(p, s)
        s["master"] = p.detach().clone()


class _HalfMoments(Master):
    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        s["step"], s["master"] = 0, p.detach().float()
        s["exp_avg"], s["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)

    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        if not s:
            self.start(p, s)
        s["step"] += 1
        assert p.grad is not None
        b1, b2 = group["betas"]
        s["exp_avg"].lerp_(p.grad, 1 - b1)
        s["exp_avg_sq"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
        divisor = (s["exp_avg_sq"] / (1 - b2 ** s["step"])).sqrt_().add_(group["eps"])
        s["master"].addcdiv_(s["exp_avg"], divisor, value=-group["lr"] / (1 - b1 ** s["step"]))
        p.copy_(s["master"])


class _CastWhenLoaded(Master):
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        torch.optim.Optimizer.load_state_dict(self, state_dict)


class _FloatAfterLoading(Master):
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        torch.optim.Optimizer.load_state_dict(self, state_dict)
        for s in self.state.values():
            for key in ("master", "exp_avg", "exp_avg_sq"):
                s[key] = s[key].float()


class _AnewEachStep(Master):
    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        if s:
            s["master"] = p.detach().float()
        super().one(p, s, group)


class _NeverRefreshed(Master):
    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        before = p.clone()
        super().one(p, s, group)
        p.copy_(before)


class _NewTensors(Master):
    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        if not s:
            self.start(p, s)
        s["step"] += 1
        assert p.grad is not None
        g, (b1, b2), t = p.grad.float(), group["betas"], s["step"]
        s["exp_avg"] = b1 * s["exp_avg"] + (1 - b1) * g
        s["exp_avg_sq"] = b2 * s["exp_avg_sq"] + (1 - b2) * g * g
        m_hat, v_hat = s["exp_avg"] / (1 - b1**t), s["exp_avg_sq"] / (1 - b2**t)
        s["master"] = s["master"] - group["lr"] * m_hat / (v_hat.sqrt() + group["eps"])
        p.copy_(s["master"])


class _KeepsGradient(Master):
    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        super().one(p, s, group)
        assert p.grad is not None
        s["last_gradient"] = p.grad.float()


# --- the tables -----------------------------------------------------------------------------------------------------

ACCEPTED: dict[str, dict[str, Objects]] = {
    "adam.step": {
        "by the formula": (step_by_formula,),
        "in place, lerp and addcdiv": (step_in_place,),
        "efficient order with scaled eps": (step_with_scaled_eps,),
        "a loop over elements": (step_by_element,),
    },
    "adam.adam": {
        "own state names": (Student,),
        "torch's state names": (TorchNames,),
        "no torch base class": (OwnBookkeeping,),
        "foreach": (WithForeach,),
    },
    "adam.adamw": {
        "own state names": (_w(Student),),
        "torch's state names": (_w(TorchNames),),
        "decay as an addend, no torch base class": (_w(OwnBookkeeping),),
        "foreach": (_w(WithForeach),),
    },
    "adam.l2_is_not_decay": {
        "written out": (pair_written_out,),
        "with own classes": (pair_with_own_classes,),
        "in place, as a list": (pair_in_place,),
    },
    "adam.resume": {
        "state_dict and load_state_dict": (TorchNames, save, resume),
        "through a buffer, to the CPU": (TorchNames, save_through_a_buffer, resume_to_the_device),
        "by hand": (TorchNames, save, resume_by_hand),
    },
    "adam.foreach": {
        "lerp": (Foreach,),
        "step counts as CPU tensors": (ForeachTensorSteps,),
        "out of place": (ForeachOutOfPlace,),
    },
    "adam.master_weights": {
        "with adam_step": (Master,),
        "by the formula": (MasterByFormula,),
        "loads by hand": (MasterLoadsByHand,),
    },
}

MUTANTS: Mutants = {
    "adam.step": (
        ("A5", "forgot both corrections", (_no_correction,)),
        ("A1", "sqrt around the sum", (_eps_inside,)),
        ("E3", "t - 1", (_t_from_zero,)),
        ("M9", "w = w - ...", (_rebound,)),
        ("A25", "m = ..., v = ...", (_averages_rebound,)),
        ("A7g", "g where g*g belongs", (_no_square,)),
    ),
    "adam.adam": (
        *((row, cls.__name__.strip("_"), (cls,)) for row, cls in _BOTH),
        ("M5", "Uphill", (_Uphill,)),
        ("A27", "ConstructorLr", (_ConstructorLr,)),
        ("A20", "NoAmsgrad", (_NoAmsgrad,)),
        ("A21", "MaxOfHat", (_MaxOfHat,)),
        ("M10", "GradientChanged", (_GradientChanged,)),
        ("M10", "GradientAddedTo", (_GradientAddedTo,)),
        ("W8", "AdamW", (_w(Student),)),
        ("W11", "no decay", (_decay(lambda p, g, lr, wd: g),)),
        ("W5", "2*wd*p", (_decay(lambda p, g, lr, wd: g + 2 * wd * p),)),
        ("W9", "minus wd*p", (_decay(lambda p, g, lr, wd: g - wd * p),)),
        ("W10", "lr*wd*p", (_decay(lambda p, g, lr, wd: g + lr * wd * p),)),
        ("W6", "matrices only", (_decay(lambda p, g, lr, wd: g + wd * p if p.dim() > 1 else g),)),
    ),
    "adam.adamw": (
        *((row, f"{cls.__name__.strip('_')}W", (_w(cls),)) for row, cls in _BOTH),
        ("W1", "Adam called AdamW", (Student,)),
        ("W2", "1 - wd", (_decay(lambda p, g, lr, wd: (p.mul_(1 - wd), g)[1]),)),
        ("W3", "decay at the end", (_DecayAfter,)),
        ("W4", "decay inside the fraction", (_DecayInside,)),
        ("W5", "1 - 2*lr*wd", (_decay(lambda p, g, lr, wd: (p.mul_(1 - 2 * lr * wd), g)[1]),)),
        ("W9", "1 + lr*wd", (_decay(lambda p, g, lr, wd: (p.mul_(1 + lr * wd), g)[1]),)),
        ("W11", "no decay", (_decay(lambda p, g, lr, wd: g),)),
    ),
    "adam.l2_is_not_decay": (
        ("W1", "L2 twice", (_pair(_rule_l2, _rule_l2),)),
        ("W8", "decoupled twice", (_pair(_rule_decoupled, _rule_decoupled),)),
        ("W14", "returned in the wrong order", (_pair(_rule_decoupled, _rule_l2),)),
        ("W2", "1 - wd", (_pair(_rule_l2, _rule_no_lr),)),
        ("W9", "g - wd*w", (_pair(_rule_minus, _rule_decoupled),)),
        ("W5", "g + 2*wd*w", (_pair(_rule_double, _rule_decoupled),)),
    ),
    "adam.resume": (
        ("P1", "own names", (Student, save, resume)),
        ("P3", "an int for step", (_PythonStep, save, resume)),
        ("P4", "keeps the new lr", (TorchNames, save, _resume_old_lr)),
        ("P7", "step = 0", (TorchNames, save, _resume_young)),
        ("P9", "reads the file and forgets it", (TorchNames, save, _resume_nothing)),
    ),
    "adam.foreach": (
        ("F1", "a loop over parameters", (Student,)),
        ("F1", "a comprehension over tensors", (_ForeachLoop,)),
        ("F2", "if norm > 0", (_ForeachSync,)),
        ("F3", "torch.zeros(p.shape)", (_ForeachCpuState,)),
        ("A6g", "one count", (_ForeachOneCount,)),
        ("E5", "_foreach_div_(ms, ...)", (_ForeachMInPlace,)),
    ),
    "adam.master_weights": (
        ("D1", "p.clone()", (_NoMaster,)),
        ("D2", "zeros_like(p)", (_HalfMoments,)),
        ("D3", "no load_state_dict", (_CastWhenLoaded,)),
        ("D9", "float() after loading", (_FloatAfterLoading,)),
        ("D4", "p.float() every step", (_AnewEachStep,)),
        ("D5", "no copy_", (_NeverRefreshed,)),
        ("D6", "out of place", (_NewTensors,)),
        ("D7", "remembers the gradient", (_KeepsGradient,)),
    ),
}
