"""Right and wrong answers to the exercises of `03_momentum_equivalence`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from autograder.answers import Mutants, Objects

Tensor = torch.Tensor
GradFn = Callable[[Tensor], Tensor]

# --- momentum.traditional -------------------------------------------------------------------------------------------


@torch.no_grad()
def traditional_in_place(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v.mul_(mu).sub_(lr * g)
    w.add_(v)


@torch.no_grad()
def traditional_by_formula(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v[...] = mu * v - lr * g
    w += v


def traditional_as_friction(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    """The physicist's order: the change of the velocity, then the velocity, then the weight."""
    with torch.no_grad():
        change = -(1 - mu) * v + -lr * g
        v.copy_(v + change)
        w.copy_(w + v)


@torch.no_grad()
def traditional_by_element(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    ww, vv, gg = w.view(-1), v.view(-1), g.reshape(-1)
    for i in range(ww.numel()):
        vv[i] = mu * vv[i] - lr * gg[i]
        ww[i] += vv[i]


@torch.no_grad()
def _torch_form(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v.mul_(mu).add_(g)
    w.sub_(v, alpha=lr)


@torch.no_grad()
def _other_sign(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v.mul_(mu).add_(g, alpha=lr)
    w.sub_(v)


@torch.no_grad()
def _climbs(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v.mul_(mu).add_(lr * g)
    w.add_(v)


@torch.no_grad()
def _weight_first(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    w.add_(v)
    v.mul_(mu).sub_(lr * g)


@torch.no_grad()
def _averaging(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v.lerp_(-lr * g, 1 - mu)
    w.add_(v)


@torch.no_grad()
def _weak_memory(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v.mul_(1 - mu).sub_(lr * g)
    w.add_(v)


@torch.no_grad()
def _rebound(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v.mul_(mu).sub_(lr * g)
    w = w + v


@torch.no_grad()
def _both_rebound(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v = mu * v - lr * g
    w = w + v


@torch.no_grad()
def _velocity_rebound(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    v = mu * v - lr * g
    w.add_(v)


# --- momentum.average -----------------------------------------------------------------------------------------------


@torch.no_grad()
def average_in_place(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    m.mul_(beta).add_(g, alpha=1 - beta)
    w.sub_(lr * m)


@torch.no_grad()
def average_with_lerp(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    m.lerp_(g, 1 - beta)
    w.add_(m, alpha=-lr)


def average_as_correction(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    """The average moves a part of the way to the new gradient."""
    with torch.no_grad():
        m += (1 - beta) * (g - m)
        w -= lr * m


@torch.no_grad()
def average_through_the_velocity(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    """The traditional step with the mapped lr, from the mapped state and back."""
    lr_trad = lr * (1 - beta)
    v = -lr_trad / (1 - beta) * m
    traditional_in_place(w, v, g, lr_trad, beta)
    m.copy_(-(1 - beta) / lr_trad * v)


@torch.no_grad()
def _sum(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    m.mul_(beta).add_(g)
    w.sub_(lr * m)


class _CountedSteps:
    """average_step with a bias correction; remembers how often it has seen each m."""

    __name__ = "average_step"

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, list[int]]] = []

    @torch.no_grad()
    def __call__(self, w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
        count = next((count for tensor, count in self.seen if tensor is m), None)
        if count is None:
            count = [0]
            self.seen.append((m, count))
        count[0] += 1
        m.lerp_(g, 1 - beta)
        w.sub_(lr * m / (1 - beta ** count[0]))


@torch.no_grad()
def _starts_at_g(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    if torch.count_nonzero(m) == 0:
        m.copy_(g)
    else:
        m.lerp_(g, 1 - beta)
    w.sub_(lr * m)


@torch.no_grad()
def _maps_lr(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    m.lerp_(g, 1 - beta)
    w.sub_(lr / (1 - beta) * m)


@torch.no_grad()
def _roles(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    m.lerp_(g, beta)
    w.sub_(lr * m)


@torch.no_grad()
def _along_the_gradient(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    m.lerp_(g, 1 - beta)
    w.sub_(lr * g)


@torch.no_grad()
def _averages_steps(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    m.mul_(beta).add_(lr * g, alpha=1 - beta)
    w.sub_(m)


@torch.no_grad()
def _lags(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    w.sub_(lr * m)
    m.lerp_(g, 1 - beta)


# --- momentum.convert -----------------------------------------------------------------------------------------------


def lr_average(lr_trad: float, mu: float) -> float:
    return lr_trad / (1 - mu)


def lr_traditional(lr_avg: float, mu: float) -> float:
    return lr_avg * (1 - mu)


def velocity_from_average(m: Tensor, lr_trad: float, mu: float) -> Tensor:
    return -lr_trad / (1 - mu) * m


def decay_average(weight_decay: float, mu: float, decoupled: bool) -> float:
    return weight_decay * (1 - mu) if decoupled else weight_decay


def lr_average_by_sum(lr_trad: float, mu: float) -> float:
    """1 + μ + μ² + … until nothing is added any more."""
    total, power = 0.0, 1.0
    while power > 1e-18:
        total, power = total + power, power * mu
    return lr_trad * total


def lr_traditional_by_difference(lr_avg: float, mu: float) -> float:
    return lr_avg - mu * lr_avg


def velocity_by_lr_average(m: Tensor, lr_trad: float, mu: float) -> Tensor:
    return m.neg().mul(lr_average(lr_trad, mu))


def decay_by_quotient(weight_decay: float, mu: float, decoupled: bool) -> float:
    """What keeps lr·weight_decay."""
    return weight_decay / (lr_average(1.0, mu) if decoupled else 1.0)


def velocity_from_the_buffer(m: Tensor, lr_trad: float, mu: float) -> Tensor:
    buffer = m / (1 - mu)
    return -lr_trad * buffer


def decay_with_if(weight_decay: float, mu: float, decoupled: bool) -> float:
    if not decoupled:
        return weight_decay
    return weight_decay - mu * weight_decay


def _convert(**changed: Callable[..., Any]) -> Objects:
    names = {
        "lr_average": lr_average,
        "lr_traditional": lr_traditional,
        "velocity": velocity_from_average,
        "decay": decay_average,
    }
    return tuple({**names, **changed}.values())


# --- momentum.sgd: one student's class, with the places where students differ ---------------------------------------


class Student(torch.optim.Optimizer):
    """SGD with momentum in a student's hand; subclasses change one method."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("nesterov needs momentum and no dampening")
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**options, "nesterov": nesterov})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, group, self.state[p])

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        g = self.gradient(p, group)
        if group["momentum"] == 0:
            p.sub_(group["lr"] * g)
            return
        self.collect(s, g, group)
        p.sub_(group["lr"] * self.direction(s, g, group))

    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        return p.grad + group["weight_decay"] * p

    def collect(self, s: dict[str, Any], g: Tensor, group: dict[str, Any]) -> None:
        if "momentum_buffer" in s:
            s["momentum_buffer"] = group["momentum"] * s["momentum_buffer"] + (1 - group["dampening"]) * g
        else:
            s["momentum_buffer"] = g.clone()

    def direction(self, s: dict[str, Any], g: Tensor, group: dict[str, Any]) -> Tensor:
        b: Tensor = s["momentum_buffer"]
        return g + group["momentum"] * b if group["nesterov"] else b


class InPlace(Student):
    """torch's names and operations."""

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        assert p.grad is not None
        g, mu = p.grad, group["momentum"]
        if group["weight_decay"] != 0:
            g = g.add(p, alpha=group["weight_decay"])
        if mu != 0:
            buffer = s.get("momentum_buffer")
            if buffer is None:
                s["momentum_buffer"] = buffer = g.clone()
            else:
                buffer.mul_(mu).add_(g, alpha=1 - group["dampening"])
            g = g.add(buffer, alpha=mu) if group["nesterov"] else buffer
        p.add_(g, alpha=-group["lr"])


class ZerosFirst(Student):
    """The buffer starts at zero, and a first gradient is not damped."""

    def collect(self, s: dict[str, Any], g: Tensor, group: dict[str, Any]) -> None:
        gain = 1 - group["dampening"] if "momentum_buffer" in s else 1.0
        buffer = s.setdefault("momentum_buffer", torch.zeros_like(g))
        buffer.copy_(group["momentum"] * buffer + gain * g)


class OneDirection(Student):
    """A copy of the gradient becomes the direction, with or without momentum."""

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        d = self.gradient(p, group).detach().clone()
        if mu := group["momentum"]:
            old = s.get("momentum_buffer")
            new = d if old is None else mu * old + d - group["dampening"] * d
            s["momentum_buffer"] = new
            d = d + mu * new if group["nesterov"] else new
        p -= group["lr"] * d


class _OtherName(Student):
    """Right in every weight; but the buffer is called velocity."""

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        renamed = {"momentum_buffer": s["velocity"]} if "velocity" in s else {}
        super().one(p, group, renamed)
        if renamed:
            s["velocity"] = renamed["momentum_buffer"]


class _Outside(Student):
    """Right in every weight; but the buffers are in a dict of its own."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options)
        self.buffers: dict[Tensor, dict[str, Any]] = {}

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        super().one(p, group, self.buffers.setdefault(p, {}))


class _AlwaysABuffer(Student):
    """Keeps a buffer even without momentum."""

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        g = self.gradient(p, group)
        self.collect(s, g, group)
        p.sub_(group["lr"] * self.direction(s, g, group))


class _NotStored(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        super().one(p, group, dict(s) if s else s)


class _StoresTheLookAhead(Student):
    def direction(self, s: dict[str, Any], g: Tensor, group: dict[str, Any]) -> Tensor:
        buffer: Tensor = s["momentum_buffer"]
        return buffer.mul_(group["momentum"]).add_(g) if group["nesterov"] else buffer


class _ConstructorMomentum(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        super().one(p, {**group, "momentum": self.defaults["momentum"]}, s)


class _LrInTheBufferOnly(Student):
    """b adds up lr·g, and the look ahead adds g."""

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        g = self.gradient(p, group)
        if group["momentum"] == 0:
            p.sub_(group["lr"] * g)
            return
        self.collect(s, group["lr"] * g, group)
        p.sub_(self.direction(s, g, group))


class _Decoupled(Student):
    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        p.mul_(1 - group["lr"] * group["weight_decay"])
        return p.grad.clone()


class _DampedAtFirst(Student):
    def collect(self, s: dict[str, Any], g: Tensor, group: dict[str, Any]) -> None:
        s["momentum_buffer"] = (
            group["momentum"] * s.get("momentum_buffer", torch.zeros_like(g)) + (1 - group["dampening"]) * g
        )


class _OldBuffer(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        if not group["nesterov"]:
            return super().one(p, group, s)
        g = self.gradient(p, group)
        before = s["momentum_buffer"].clone() if "momentum_buffer" in s else torch.zeros_like(g)
        self.collect(s, g, group)
        p.sub_(group["lr"] * (g + group["momentum"] * before))
        return None


class _NoDampening(Student):
    def collect(self, s: dict[str, Any], g: Tensor, group: dict[str, Any]) -> None:
        s["momentum_buffer"] = group["momentum"] * s["momentum_buffer"] + g if "momentum_buffer" in s else g.clone()


class _LrInside(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        g = group["lr"] * self.gradient(p, group)
        if group["momentum"] == 0:
            p.sub_(g)
            return
        self.collect(s, g, group)
        p.sub_(self.direction(s, g, group))


class _NoLookAhead(Student):
    def direction(self, s: dict[str, Any], g: Tensor, group: dict[str, Any]) -> Tensor:
        b: Tensor = s["momentum_buffer"]
        return b


class _Aliased(Student):
    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        return p.grad + group["weight_decay"] * p if group["weight_decay"] else p.grad

    def collect(self, s: dict[str, Any], g: Tensor, group: dict[str, Any]) -> None:
        if "momentum_buffer" in s:
            s["momentum_buffer"].mul_(group["momentum"]).add_(g, alpha=1 - group["dampening"])
        else:
            s["momentum_buffer"] = g


class _GradientChanged(Student):
    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        return p.grad.add_(p, alpha=group["weight_decay"]) if group["weight_decay"] else p.grad


class _DecayLast(Student):
    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        assert p.grad is not None
        return p.grad.clone()

    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        p_old = p.clone()
        super().one(p, group, s)
        p.sub_(group["lr"] * group["weight_decay"] * p_old)


class _Climbs(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        before = p.clone()
        super().one(p, group, s)
        p.copy_(2 * before - p)


class _Averages(Student):
    def collect(self, s: dict[str, Any], g: Tensor, group: dict[str, Any]) -> None:
        mu = group["momentum"]
        s["momentum_buffer"] = mu * s.get("momentum_buffer", torch.zeros_like(g)) + (1 - mu) * g


class _Lags(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        g = self.gradient(p, group)
        if group["momentum"] == 0:
            p.sub_(group["lr"] * g)
            return
        before = {"momentum_buffer": s.get("momentum_buffer", torch.zeros_like(g))}
        p.sub_(group["lr"] * self.direction(before, g, group))
        self.collect(s, g, group)


class _Forgets(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        super().one(p, group, {})


class _ConstructorLr(Student):
    def one(self, p: Tensor, group: dict[str, Any], s: dict[str, Any]) -> None:
        super().one(p, {**group, "lr": self.defaults["lr"]}, s)


class _AcceptsAll(Student):
    def __init__(self, params: Any, lr: float = 1e-3, **more: Any) -> None:
        options = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, **more}
        torch.optim.Optimizer.__init__(self, params, {"lr": lr, **options})


# --- momentum.lr_change ---------------------------------------------------------------------------------------------


@torch.no_grad()
def rescale_in_place(v: Tensor, lr_old: float, lr_new: float) -> None:
    if lr_old == 0:
        raise ValueError("lr_old must not be 0")
    v.mul_(lr_new / lr_old)


def run_step_by_step(w0: Tensor, grads: Tensor, lrs: Sequence[float], mu: float) -> Tensor:
    w, v = w0.clone(), torch.zeros_like(w0)
    rows = [w.clone()]
    for t, g in enumerate(grads):
        if t:
            rescale_in_place(v, lrs[t - 1], lrs[t])
        traditional_in_place(w, v, g, lrs[t], mu)
        rows.append(w.clone())
    return torch.stack(rows)


def rescale_by_copy(v: Tensor, lr_old: float, lr_new: float) -> None:
    if not abs(lr_old) > 0:
        raise ValueError("nothing to rescale from")
    with torch.no_grad():
        v.copy_(v / lr_old * lr_new)


def run_into_a_table(w0: Tensor, grads: Tensor, lrs: Sequence[float], mu: float) -> Tensor:
    """The first step rescales by 1."""
    rows = w0.new_empty(len(lrs) + 1, *w0.shape)
    rows[0], v, lr_old = w0, torch.zeros_like(w0), lrs[0]
    for t, lr in enumerate(lrs):
        rescale_by_copy(v, lr_old, lr)
        v = mu * v - lr * grads[t]
        rows[t + 1], lr_old = rows[t] + v, lr
    return rows


@torch.no_grad()
def rescale_slice(v: Tensor, lr_old: float, lr_new: float) -> None:
    if lr_old == 0.0:
        raise ValueError
    v[...] *= lr_new / lr_old


def run_after_the_update(w0: Tensor, grads: Tensor, lrs: Sequence[float], mu: float) -> Tensor:
    """Rescales at the end of a step, for the lr of the next one: the same thing."""
    w, v, rows = w0.clone(), torch.zeros_like(w0), [w0.clone()]
    for t, (g, lr) in enumerate(zip(grads, lrs, strict=True)):
        v = mu * v - lr * g
        w = w + v
        rows.append(w)
        if t + 1 < len(lrs):
            rescale_slice(v, lr, lrs[t + 1])
    return torch.stack(rows)


def run_with_a_buffer(w0: Tensor, grads: Tensor, lrs: Sequence[float], mu: float) -> Tensor:
    """torch's form: nothing to rescale."""
    w, b, rows = w0, torch.zeros_like(w0), [w0]
    for g, lr in zip(grads, lrs, strict=True):
        b = mu * b + g
        w = w - lr * b
        rows.append(w)
    return torch.stack(rows)


def _run_unscaled(w0: Tensor, grads: Tensor, lrs: Sequence[float], mu: float) -> Tensor:
    w, v, rows = w0.clone(), torch.zeros_like(w0), [w0.clone()]
    for g, lr in zip(grads, lrs, strict=True):
        traditional_in_place(w, v, g, lr, mu)
        rows.append(w.clone())
    return torch.stack(rows)


def _run_too_late(w0: Tensor, grads: Tensor, lrs: Sequence[float], mu: float) -> Tensor:
    w, v, rows = w0.clone(), torch.zeros_like(w0), [w0.clone()]
    for t, g in enumerate(grads):
        traditional_in_place(w, v, g, lrs[t], mu)
        if t:
            rescale_in_place(v, lrs[t - 1], lrs[t])
        rows.append(w.clone())
    return torch.stack(rows)


def _run_without_copies(w0: Tensor, grads: Tensor, lrs: Sequence[float], mu: float) -> Tensor:
    w, v, rows = w0.clone(), torch.zeros_like(w0), [w0.clone()]
    for t, g in enumerate(grads):
        if t:
            rescale_in_place(v, lrs[t - 1], lrs[t])
        traditional_in_place(w, v, g, lrs[t], mu)
        rows.append(w)
    return torch.stack(rows)


@torch.no_grad()
def _rescale_inverse(v: Tensor, lr_old: float, lr_new: float) -> None:
    if lr_old == 0:
        raise ValueError
    v.mul_(lr_old / lr_new)


@torch.no_grad()
def _rescale_anything(v: Tensor, lr_old: float, lr_new: float) -> None:
    if lr_old != 0:
        v.mul_(lr_new / lr_old)


def _with_rescale(rescale: Callable[[Tensor, float, float], None]) -> Objects:
    def scheduled_run(w0: Tensor, grads: Tensor, lrs: Sequence[float], mu: float) -> Tensor:
        w, v, rows = w0.clone(), torch.zeros_like(w0), [w0.clone()]
        for t, g in enumerate(grads):
            if t:
                rescale(v, lrs[t - 1], lrs[t])
            traditional_in_place(w, v, g, lrs[t], mu)
            rows.append(w.clone())
        return torch.stack(rows)

    return rescale, scheduled_run


@torch.no_grad()
def _rescale_to_new(v: Tensor, lr_old: float, lr_new: float) -> None:
    if lr_old == 0:
        raise ValueError
    v.mul_(lr_new)


# --- momentum.nesterov ----------------------------------------------------------------------------------------------


@torch.no_grad()
def lookahead_in_place(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    g = grad_fn(theta + mu * v)
    v.mul_(mu).sub_(lr * g)
    theta.add_(v)


def point_ahead(theta: Tensor, v: Tensor, mu: float) -> Tensor:
    return theta + mu * v


@torch.no_grad()
def lookahead_from_there(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    """Goes to the look-ahead point first and corrects from there."""
    v.mul_(mu)
    theta.add_(v)
    correction = -lr * grad_fn(theta.clone())
    theta.add_(correction)
    v.add_(correction)


def point_with_add(theta: Tensor, v: Tensor, mu: float) -> Tensor:
    return torch.add(theta, v, alpha=mu)


def lookahead_by_difference(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    """Sutskever et al.: the new weight first, the velocity as the way it moved."""
    with torch.no_grad():
        ahead = point_ahead(theta, v, mu)
        new = ahead - lr * grad_fn(ahead)
        v[...] = new - theta
        theta[...] = new


def point_by_lerp(theta: Tensor, v: Tensor, mu: float) -> Tensor:
    return torch.lerp(theta, theta + v, mu)


@torch.no_grad()
def _gradient_here(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    g = grad_fn(theta)
    v.mul_(mu).sub_(lr * g)
    theta.add_(v)


@torch.no_grad()
def _moves_with_old(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    g, old = grad_fn(theta + mu * v), v.clone()
    v.mul_(mu).sub_(lr * g)
    theta.add_(old)


@torch.no_grad()
def _looks_ahead_twice(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    g = grad_fn(theta + mu * v)
    v.mul_(mu).sub_(lr * g)
    theta.add_(mu * v - lr * g)


@torch.no_grad()
def _stays_ahead(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    theta.add_(mu * v)
    g = grad_fn(theta)
    v.mul_(mu).sub_(lr * g)
    theta.add_(v)


@torch.no_grad()
def _goes_ahead_by_itself(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    theta += mu * v
    g = grad_fn(theta)
    v.mul_(mu).sub_(lr * g)
    theta += v


@torch.no_grad()
def _lookahead_rebinds_v(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    v = mu * v - lr * grad_fn(theta + mu * v)
    theta.add_(v)


@torch.no_grad()
def _lookahead_rebinds_both(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    v = mu * v - lr * grad_fn(theta + mu * v)
    theta = theta + v


def _point_is_theta(theta: Tensor, v: Tensor, mu: float) -> Tensor:
    return theta.clone()


def _point_behind(theta: Tensor, v: Tensor, mu: float) -> Tensor:
    return theta - mu * v


# --- momentum.stability ---------------------------------------------------------------------------------------------


def max_stable_lr(curvature: float, mu: float) -> float:
    return 2 * (1 + mu) / curvature


def optimal_heavy_ball(l_min: float, l_max: float) -> tuple[float, float]:
    low, high = math.sqrt(l_min), math.sqrt(l_max)
    return (2 / (low + high)) ** 2, ((high - low) / (high + low)) ** 2


def max_by_bisection(curvature: float, mu: float) -> float:
    """Looks for the lr at which a root of the characteristic polynomial reaches the unit circle."""
    low, high = 0.0, 4.0 / curvature + 1e-6
    for _ in range(100):
        middle = 0.5 * (low + high)
        b = 1 + mu - middle * curvature
        root = complex(b * b - 4 * mu) ** 0.5
        largest = max(abs(b + root), abs(b - root)) / 2
        low, high = (middle, high) if largest <= 1 else (low, middle)
    return low


def optimum_by_kappa(l_min: float, l_max: float) -> tuple[float, float]:
    root = (l_max / l_min) ** 0.5
    return 4 / (l_min * (1 + root) ** 2), (1 - 2 / (root + 1)) ** 2


def max_as_a_sum(curvature: float, mu: float) -> float:
    return 2 / curvature + mu * 2 / curvature


def optimum_through_the_rate(l_min: float, l_max: float) -> tuple[float, float]:
    """mu from lr: critically damped at the flat end."""
    lr = 4 / (l_min + l_max + 2 * (l_min * l_max) ** 0.5)
    return lr, (1 - (lr * l_min) ** 0.5) ** 2


# --- momentum.foreach -----------------------------------------------------------------------------------------------


class Foreach(torch.optim.Optimizer):
    """ForeachMomentum in a student's hand; subclasses change one method."""

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                if "b" not in self.state[p]:
                    self.start(p, self.state[p])
            if params:
                self.update(params, [p.grad for p in params], [self.state[p]["b"] for p in params], group)

    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        s["b"] = torch.zeros_like(p)

    def update(self, ps: Sequence[Tensor], gs: Sequence[Any], bufs: Sequence[Tensor], group: dict[str, Any]) -> None:
        torch._foreach_mul_(bufs, group["momentum"])
        torch._foreach_add_(bufs, gs)
        torch._foreach_add_(ps, bufs, alpha=-group["lr"])


class ForeachLerp(Foreach):
    """The buffer as an average, and the lr mapped: 1/(1 − μ) in the step."""

    def update(self, ps: Sequence[Tensor], gs: Sequence[Any], bufs: Sequence[Tensor], group: dict[str, Any]) -> None:
        torch._foreach_lerp_(bufs, gs, 1 - group["momentum"])
        torch._foreach_add_(ps, bufs, alpha=-group["lr"] / (1 - group["momentum"]))


class ForeachFirstIsGradient(torch.optim.Optimizer):
    """The first buffer is a copy of the gradient: new parameters apart from old ones."""

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            old = [p for p in params if "momentum_buffer" in self.state[p]]
            if old:
                bufs = [self.state[p]["momentum_buffer"] for p in old]
                torch._foreach_mul_(bufs, group["momentum"])
                torch._foreach_add_(bufs, [p.grad for p in old])
            for p in params:
                if "momentum_buffer" not in self.state[p]:
                    assert p.grad is not None
                    self.state[p]["momentum_buffer"] = p.grad.clone()
            if params:
                bufs = [self.state[p]["momentum_buffer"] for p in params]
                torch._foreach_add_(params, bufs, alpha=-group["lr"])


class _Loop(Foreach):
    def update(self, ps: Sequence[Tensor], gs: Sequence[Any], bufs: Sequence[Tensor], group: dict[str, Any]) -> None:
        for p, g, b in zip(ps, gs, bufs, strict=True):
            b.mul_(group["momentum"]).add_(g)
            p.add_(b, alpha=-group["lr"])


class _NewLists(Foreach):
    def update(self, ps: Sequence[Tensor], gs: Sequence[Any], bufs: Sequence[Tensor], group: dict[str, Any]) -> None:
        new = torch._foreach_add(torch._foreach_mul(bufs, group["momentum"]), gs)
        torch._foreach_copy_(bufs, new)
        torch._foreach_sub_(ps, torch._foreach_mul(bufs, group["lr"]))


class _Looks(Foreach):
    def update(self, ps: Sequence[Tensor], gs: Sequence[Any], bufs: Sequence[Tensor], group: dict[str, Any]) -> None:
        if torch.stack(torch._foreach_norm(list(gs))).max().item() > 0:
            super().update(ps, gs, bufs, group)


class _OnTheCpu(Foreach):
    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        s["b"] = torch.zeros(p.shape).to(p.dtype)


class _FirstGroup(Foreach):
    def update(self, ps: Sequence[Tensor], gs: Sequence[Any], bufs: Sequence[Tensor], group: dict[str, Any]) -> None:
        super().update(ps, gs, bufs, self.param_groups[0])


class _LrInTheBuffer(Foreach):
    def update(self, ps: Sequence[Tensor], gs: Sequence[Any], bufs: Sequence[Tensor], group: dict[str, Any]) -> None:
        torch._foreach_mul_(bufs, group["momentum"])
        torch._foreach_add_(bufs, gs, alpha=group["lr"])
        torch._foreach_sub_(ps, bufs)


class _ReturnsAtAnEmptyGroup(torch.optim.Optimizer):
    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                return
            for p in params:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            buffers = [self.state[p]["momentum_buffer"] for p in params]
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, [p.grad for p in params])
            torch._foreach_add_(params, buffers, alpha=-group["lr"])


class _StartsAtTheGradient(Foreach):
    def start(self, p: Tensor, s: dict[str, Any]) -> None:
        assert p.grad is not None
        s["b"] = p.grad.clone()


class _LosesTheProduct(Foreach):
    def update(self, ps: Sequence[Tensor], gs: Sequence[Any], bufs: Sequence[Tensor], group: dict[str, Any]) -> None:
        torch._foreach_mul(bufs, group["momentum"])
        torch._foreach_add_(bufs, gs)
        torch._foreach_add_(ps, bufs, alpha=-group["lr"])


class _MultipliesTheBuffer(Foreach):
    def update(self, ps: Sequence[Tensor], gs: Sequence[Any], bufs: Sequence[Tensor], group: dict[str, Any]) -> None:
        torch._foreach_mul_(bufs, group["momentum"])
        torch._foreach_add_(bufs, gs)
        torch._foreach_mul_(bufs, group["lr"])
        torch._foreach_sub_(ps, bufs)


# --- the tables -----------------------------------------------------------------------------------------------------

ACCEPTED: dict[str, dict[str, Objects]] = {
    "momentum.traditional": {
        "in place": (traditional_in_place,),
        "by the formula": (traditional_by_formula,),
        "as a change of the velocity": (traditional_as_friction,),
        "a loop over elements": (traditional_by_element,),
    },
    "momentum.average": {
        "in place": (average_in_place,),
        "lerp": (average_with_lerp,),
        "a part of the way": (average_as_correction,),
        "through the velocity": (average_through_the_velocity,),
    },
    "momentum.convert": {
        "by the formula": _convert(),
        "by the sum, the difference and the quotient": (
            lr_average_by_sum, lr_traditional_by_difference, velocity_by_lr_average, decay_by_quotient
        ),
        "through torch's buffer": (lr_average, lr_traditional, velocity_from_the_buffer, decay_with_if),
    },
    "momentum.sgd": {
        "new buffers by the formula": (Student,),
        "torch's operations, in place": (InPlace,),
        "zeros first": (ZerosFirst,),
        "one direction": (OneDirection,),
    },
    "momentum.lr_change": {
        "step by step": (rescale_in_place, run_step_by_step),
        "into a table": (rescale_by_copy, run_into_a_table),
        "for the next step": (rescale_slice, run_after_the_update),
        "torch's form": (rescale_in_place, run_with_a_buffer),
    },
    "momentum.nesterov": {
        "in place": (lookahead_in_place, point_ahead),
        "from the look-ahead point": (lookahead_from_there, point_with_add),
        "the velocity as a difference": (lookahead_by_difference, point_by_lerp),
    },
    "momentum.stability": {
        "by the formula": (max_stable_lr, optimal_heavy_ball),
        "by bisection, by kappa": (max_by_bisection, optimum_by_kappa),
        "as a sum, through the rate": (max_as_a_sum, optimum_through_the_rate),
    },
    "momentum.foreach": {
        "three calls": (Foreach,),
        "two calls with lerp": (ForeachLerp,),
        "the first buffer is the gradient": (ForeachFirstIsGradient,),
    },
}  # fmt: skip

MUTANTS: Mutants = {
    "momentum.traditional": (
        ("M4", "buffer without lr", (_torch_form,)),
        ("M19", "w -= v", (_other_sign,)),
        ("M5", "adds lr*g", (_climbs,)),
        ("M7", "w first", (_weight_first,)),
        ("M16", "lerp", (_averaging,)),
        ("M11", "1 - mu", (_weak_memory,)),
        ("M9", "w = w + v", (_rebound,)),
        ("M9v", "v = ...", (_velocity_rebound,)),
        ("M9b", "v = ... and w = ...", (_both_rebound,)),
    ),
    "momentum.average": (
        ("M23", "no 1 - beta", (_sum,)),
        ("M24", "bias-corrected", (_CountedSteps(),)),
        ("M2", "m = g at first", (_starts_at_g,)),
        ("M8", "lr / (1 - beta)", (_maps_lr,)),
        ("M11", "lerp with beta", (_roles,)),
        ("M7", "w first", (_lags,)),
        ("M74", "w.sub_(lr * g)", (_along_the_gradient,)),
        ("M4", "lr in m", (_averages_steps,)),
    ),
    "momentum.convert": (
        ("M1", "both upside down", _convert(lr_average=lr_traditional, lr_traditional=lr_average)),
        ("M1", "one upside down", _convert(lr_average=lambda lr_trad, mu: lr_trad - mu * lr_trad)),
        (
            "M8",
            "the same lr",
            _convert(lr_average=lambda lr_trad, mu: lr_trad, lr_traditional=lambda lr_avg, mu: lr_avg),
        ),
        ("M12s", "v = m", _convert(velocity=lambda m, lr_trad, mu: m.clone())),
        ("M26", "no sign", _convert(velocity=lambda m, lr_trad, mu: lr_trad / (1 - mu) * m)),
        ("M27", "-lr*m", _convert(velocity=lambda m, lr_trad, mu: -lr_trad * m)),
        ("M12", "decay as it is", _convert(decay=lambda weight_decay, mu, decoupled: weight_decay)),
        ("M75", "-m / (1 - mu)", _convert(velocity=lambda m, lr_trad, mu: -m / (1 - mu))),
        (
            "M76",
            "L2 mapped, decoupled not",
            _convert(decay=lambda weight_decay, mu, decoupled: weight_decay if decoupled else (1 - mu) * weight_decay),
        ),
        ("M32", "decay always mapped", _convert(decay=lambda weight_decay, mu, decoupled: (1 - mu) * weight_decay)),
    ),
    "momentum.sgd": (
        ("M3", "damped at first", (_DampedAtFirst,)),
        ("M6", "old buffer", (_OldBuffer,)),
        ("M33d", "no dampening", (_NoDampening,)),
        ("M4", "lr inside", (_LrInside,)),
        ("M6", "no nesterov", (_NoLookAhead,)),
        ("M62", "buf = p.grad", (_Aliased,)),
        ("M10", "add_ on p.grad", (_GradientChanged,)),
        ("M63", "decay last", (_DecayLast,)),
        ("M5", "climbs", (_Climbs,)),
        ("M16", "averages", (_Averages,)),
        ("M7", "lags", (_Lags,)),
        ("A24", "forgets", (_Forgets,)),
        ("A27", "constructor's lr", (_ConstructorLr,)),
        ("M65", "accepts all", (_AcceptsAll,)),
        ("M63", "p.mul_(1 - lr*wd)", (_Decoupled,)),
        ("M66", "lr*g in the buffer, g ahead", (_LrInTheBufferOnly,)),
        ("M67", "b.mul_(mu).add_(g) for the look ahead", (_StoresTheLookAhead,)),
        ("M68", "b = ... is not stored", (_NotStored,)),
        ("M69", "state[p]['velocity']", (_OtherName,)),
        ("M69", "a dict of its own", (_Outside,)),
        ("M70", "always a buffer", (_AlwaysABuffer,)),
        ("M71", "constructor's momentum", (_ConstructorMomentum,)),
    ),
    "momentum.lr_change": (
        ("M4", "no rescaling in the run", (rescale_in_place, _run_unscaled)),
        ("M33", "upside down", _with_rescale(_rescale_inverse)),
        ("M34", "after the update", (rescale_in_place, _run_too_late)),
        ("M36", "times lr_new", _with_rescale(_rescale_to_new)),
        ("W16", "append(w)", (rescale_in_place, _run_without_copies)),
        ("M38", "nothing for 0", _with_rescale(_rescale_anything)),
    ),
    "momentum.nesterov": (
        ("M39", "gradient at theta", (_gradient_here, point_ahead)),
        ("M7", "old velocity", (_moves_with_old, point_ahead)),
        ("M6", "torch's move", (_looks_ahead_twice, point_ahead)),
        ("M77", "stays ahead", (_stays_ahead, point_ahead)),
        ("M77", "theta += mu * v", (_goes_ahead_by_itself, point_ahead)),
        ("M9v", "v = ...", (_lookahead_rebinds_v, point_ahead)),
        ("M9b", "v = ... and theta = ...", (_lookahead_rebinds_both, point_ahead)),
        ("M42", "theta itself", (lookahead_in_place, _point_is_theta)),
        ("M43", "minus", (lookahead_in_place, _point_behind)),
    ),
    "momentum.stability": (
        ("M45", "2 / curvature", (lambda curvature, mu: 2 / curvature, optimal_heavy_ball)),
        ("M78", "complex range", (lambda curvature, mu: (1 + mu**0.5) ** 2 / curvature, optimal_heavy_ball)),
        ("M55", "2 / (l + L)", (max_stable_lr, lambda a, b: (2 / (a + b), optimal_heavy_ball(a, b)[1]))),
        ("M46", "averaging form", (lambda curvature, mu: 2 * (1 + mu) / (1 - mu) / curvature, optimal_heavy_ball)),
        (
            "M51",
            "kappa",
            (max_stable_lr, lambda a, b: (optimal_heavy_ball(a, b)[0], ((b / a - 1) / (b / a + 1)) ** 2)),
        ),
        (
            "M52",
            "rate",
            (max_stable_lr, lambda a, b: (optimal_heavy_ball(a, b)[0], optimal_heavy_ball(a, b)[1] ** 0.5)),
        ),
        ("M54", "swapped", (max_stable_lr, lambda a, b: optimal_heavy_ball(a, b)[::-1])),
    ),
    "momentum.foreach": (
        ("F1", "a loop", (_Loop,)),
        ("F5", "new lists", (_NewLists,)),
        ("F2", "looks at the norm", (_Looks,)),
        ("F3", "torch.zeros(p.shape)", (_OnTheCpu,)),
        ("F4", "the first group", (_FirstGroup,)),
        ("M4", "lr in the buffer", (_LrInTheBuffer,)),
        ("A34", "return", (_ReturnsAtAnEmptyGroup,)),
        ("M72", "p.grad.clone()", (_StartsAtTheGradient,)),
        ("M17", "the product is lost", (_LosesTheProduct,)),
        ("M73", "_foreach_mul_(bufs, lr)", (_MultipliesTheBuffer,)),
    ),
}
