"""Right and wrong answers to the exercises of `04_rmsprop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from autograder.answers import Mutants, Objects

Tensor = torch.Tensor
Run = Callable[[Tensor, float], Tensor]


# --- rmsprop.precondition -------------------------------------------------------------------------------------------


@torch.no_grad()
def divided(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
    w.sub_(lr * g / (v.sqrt() + eps))


@torch.no_grad()
def fused(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
    w.addcdiv_(g, v.sqrt().add_(eps), value=-lr)


def by_power(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
    """A factor for each weight: its own lr."""
    with torch.no_grad():
        own_lr = lr / (v**0.5 + eps)
        w += -own_lr * g


def through_data(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
    w.data[...] = w.data - torch.div(g, torch.sqrt(v) + eps) * lr


def _preconditioned(step: Callable[..., Tensor]) -> Callable[..., None]:
    """A wrong answer from what it subtracts."""

    @torch.no_grad()
    def preconditioned_step(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
        w.sub_(step(g, v, lr, eps))

    return preconditioned_step


@torch.no_grad()
def _rebound(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
    w = w - lr * g / (v.sqrt() + eps)


@torch.no_grad()
def _roots_v(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
    w.addcdiv_(g, v.sqrt_().add_(eps), value=-lr)


@torch.no_grad()
def _accumulates(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
    v += g**2
    w.sub_(lr * g / (v.sqrt() + eps))


@torch.no_grad()
def _scales_g(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
    g *= lr
    w.sub_(g / (v.sqrt() + eps))


def _skips_zero(g: Tensor, v: Tensor, lr: float, eps: float) -> Tensor:
    return torch.where(v == 0, torch.zeros_like(g), lr * g / (v.sqrt() + eps))


# --- rmsprop.rmsprop ------------------------------------------------------------------------------------------------


class _Optimizer(torch.optim.Optimizer):
    """The constructor of the notebook."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        more = {"weight_decay": weight_decay, "momentum": momentum, "centered": centered}
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, **more})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self.one(p, p.grad, self.state[p], group)

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError


class ByTheFormula(_Optimizer):
    """New tensors, stored."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        alpha = group["alpha"]
        g = g + group["weight_decay"] * p
        state["square_avg"] = alpha * state.get("square_avg", 0 * p) + (1 - alpha) * g**2
        root = state["square_avg"]
        if group["centered"]:
            state["grad_avg"] = alpha * state.get("grad_avg", 0 * p) + (1 - alpha) * g
            root = root - state["grad_avg"] ** 2
        step = g / (root.sqrt() + group["eps"])
        if group["momentum"] > 0:
            state["momentum_buffer"] = group["momentum"] * state.get("momentum_buffer", 0 * p) + step
            step = state["momentum_buffer"]
        p.sub_(group["lr"] * step)


class InPlace(_Optimizer):
    """As torch writes it."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"] = torch.zeros(())
            for key, wanted in (
                ("square_avg", True),
                ("momentum_buffer", group["momentum"] > 0),
                ("grad_avg", group["centered"]),
            ):
                if wanted:
                    state[key] = torch.zeros_like(p)
        state["step"] += 1
        if group["weight_decay"] != 0:
            g = g.add(p, alpha=group["weight_decay"])
        v = state["square_avg"].mul_(group["alpha"]).addcmul_(g, g, value=1 - group["alpha"])
        if group["centered"]:
            m = state["grad_avg"].lerp_(g, 1 - group["alpha"])
            d = v.addcmul(m, m, value=-1).sqrt_().add_(group["eps"])
        else:
            d = v.sqrt().add_(group["eps"])
        if group["momentum"] > 0:
            b = state["momentum_buffer"].mul_(group["momentum"]).addcdiv_(g, d)
            p.add_(b, alpha=-group["lr"])
        else:
            p.addcdiv_(g, d, value=-group["lr"])


class EverythingAlways(_Optimizer):
    """All three tensors of state, needed or not; without momentum the buffer is the ratio itself."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        for key in ("square_avg", "grad_avg", "momentum_buffer"):
            state.setdefault(key, torch.zeros_like(p))
        v, m, b = state["square_avg"], state["grad_avg"], state["momentum_buffer"]
        g = torch.add(g, p, alpha=group["weight_decay"])
        v += (1 - group["alpha"]) * (g * g - v)
        m += (1 - group["alpha"]) * (g - m)
        variance = v - m * m if group["centered"] else v
        b.mul_(group["momentum"]).add_(g / (variance**0.5 + group["eps"]))
        p -= group["lr"] * b


class Lists(_Optimizer):
    """torch._foreach_* calls, group by group."""

    def step(self, closure: Any = None) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                ps = [p for p in group["params"] if p.grad is not None]
                if ps:
                    self._group(ps, group)

    def _state(self, ps: Sequence[Tensor], key: str) -> list[Tensor]:
        return [self.state[p].setdefault(key, torch.zeros_like(p)) for p in ps]

    def _group(self, ps: list[Tensor], group: dict[str, Any]) -> None:
        gs = torch._foreach_add([p.grad for p in ps], ps, alpha=group["weight_decay"])  # type: ignore[arg-type]
        vs, alpha = self._state(ps, "square_avg"), group["alpha"]
        torch._foreach_mul_(vs, alpha)
        torch._foreach_addcmul_(vs, gs, gs, 1 - alpha)
        if group["centered"]:
            ms = self._state(ps, "grad_avg")
            torch._foreach_lerp_(ms, gs, 1 - alpha)
            ds = torch._foreach_addcmul(vs, ms, ms, -1)
            torch._foreach_sqrt_(ds)
        else:
            ds = torch._foreach_sqrt(vs)
        torch._foreach_add_(ds, group["eps"])
        if group["momentum"] > 0:
            bs = self._state(ps, "momentum_buffer")
            torch._foreach_mul_(bs, group["momentum"])
            torch._foreach_addcdiv_(bs, gs, ds)
            torch._foreach_add_(ps, bs, alpha=-group["lr"])
        else:
            torch._foreach_addcdiv_(ps, gs, ds, -group["lr"])


class _Varied(_Optimizer):
    """A right RMSprop in pieces that wrong ones replace."""

    def decayed(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Tensor:
        return g + group["weight_decay"] * p

    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        v = state["square_avg"]
        v.mul_(group["alpha"]).addcmul_(g, g, value=1 - group["alpha"])
        return v

    def variance(self, g: Tensor, v: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        if not group["centered"]:
            return v
        m = state["grad_avg"].lerp_(g, 1 - group["alpha"])
        return v - m**2

    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        return variance.sqrt() + group["eps"]

    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        step = g / d
        if group["momentum"] > 0:
            step = state["momentum_buffer"].mul_(group["momentum"]).add_(step)
        p.sub_(group["lr"] * step)

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        for key in ("square_avg", "grad_avg", "momentum_buffer"):
            if key not in state:
                state[key] = torch.zeros_like(p)
        g = self.decayed(p, g, group)
        v = self.squared(g, state, group)
        self.move(p, g, self.divisor(self.variance(g, v, state, group), group), state, group)


class Floored(_Varied):
    """Nothing negative under the root: no gradient stream of the cases is so steady that it matters."""

    def variance(self, g: Tensor, v: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        return super().variance(g, v, state, group).clamp(min=0)


class _EpsInside(_Varied):
    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        return torch.sqrt(variance + group["eps"])


class _NoEps(_Varied):
    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        return variance.sqrt()


class _NoRoot(_Varied):
    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        return variance + group["eps"]


class _Floor(_Varied):
    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        return torch.clamp_min(variance.sqrt(), group["eps"])


class _Climbs(_Varied):
    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        return -(variance.sqrt() + group["eps"])


class _Corrects(_Varied):
    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        return (variance / self.left).sqrt() + group["eps"]

    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        state["n"] = state.get("n", 0) + 1
        self.left = 1 - group["alpha"] ** state["n"]
        return super().squared(g, state, group)


class _RolesSwapped(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        v: Tensor = state["square_avg"].lerp_(g * g, group["alpha"])
        return v


class _Sums(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        v: Tensor = state["square_avg"].addcmul_(g, g)
        return v


class _DecayingSum(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        v: Tensor = state["square_avg"].mul_(group["alpha"]).addcmul_(g, g)
        return v


class _StartsAtSquare(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        if "seen" not in state:
            state["seen"] = True
            state["square_avg"].copy_(g * g)
        return super().squared(g, state, group)


class _Absolute(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        v: Tensor = state["square_avg"].lerp_(g.abs(), 1 - group["alpha"])
        return v


class _Forgets(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        return group["alpha"] * state["square_avg"] + (1 - group["alpha"]) * g**2


class _RootStored(_Varied):
    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        if group["centered"]:
            return variance.sqrt() + group["eps"]
        return variance.sqrt_() + group["eps"]


class _AlwaysCentred(_Varied):
    def variance(self, g: Tensor, v: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        m = state["grad_avg"].lerp_(g, 1 - group["alpha"])
        return v - m * m


class _NeverCentred(_Varied):
    def variance(self, g: Tensor, v: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        state["grad_avg"].lerp_(g, 1 - group["alpha"])
        return v


class _SubtractsMean(_Varied):
    def variance(self, g: Tensor, v: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        m = state["grad_avg"].lerp_(g, 1 - group["alpha"])
        return v - m if group["centered"] else v


class _CentresInPlace(_Varied):
    def variance(self, g: Tensor, v: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        m = state["grad_avg"].lerp_(g, 1 - group["alpha"])
        return v.addcmul_(m, m, value=-1) if group["centered"] else v


class _MomentumFirst(_Varied):
    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if group["momentum"] > 0:
            g = state["momentum_buffer"].mul_(group["momentum"]).add_(g)
        p.addcdiv_(g, d, value=-group["lr"])


class _AveragedBuffer(_Varied):
    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        step = g / d
        if group["momentum"] > 0:
            step = state["momentum_buffer"].lerp_(step, 1 - group["momentum"])
        p.sub_(group["lr"] * step)


class _NoMomentum(_Varied):
    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        p.sub_(group["lr"] * g / d)


class _LrInside(_Varied):
    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        step = group["lr"] * g / d
        if group["momentum"] > 0:
            step = state["momentum_buffer"].mul_(group["momentum"]).add_(step)
        p.sub_(step)


class _Rebinds(_Varied):
    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        step = g / d
        if group["momentum"] > 0:
            step = state["momentum_buffer"].mul_(group["momentum"]).add_(step)
        p = p - group["lr"] * step


class _Decoupled(_Varied):
    def decayed(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Tensor:
        p.mul_(1 - group["lr"] * group["weight_decay"])
        return g


class _FixedEps(_Varied):
    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        return variance.sqrt() + 1e-8


class _OwnSize(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        v: Tensor = state["square_avg"].copy_(g**2)
        return v


class _DecayAfter(_Varied):
    def decayed(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Tensor:
        return g

    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super().move(p, g + group["weight_decay"] * p * d, d, state, group)


class _PlainMean(_Varied):
    def variance(self, g: Tensor, v: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        return super().variance(self.plain, v, state, group)

    def decayed(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Tensor:
        self.plain = g
        return super().decayed(p, g, group)


class _MeanSquared(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        state["m"] = group["alpha"] * state.get("m", 0.0) + (1 - group["alpha"]) * g
        state["square_avg"] = state["m"] ** 2
        return state["square_avg"]


class _MeanSize(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        v: Tensor = state["square_avg"].lerp_(g.abs(), 1 - group["alpha"])
        return v

    def divisor(self, variance: Tensor, group: dict[str, Any]) -> Tensor:
        return variance + group["eps"]


class _DefaultAlpha(_Varied):
    def squared(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        return super().squared(g, state, {**group, "alpha": self.defaults["alpha"]})

    def variance(self, g: Tensor, v: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        return super().variance(g, v, state, {**group, "alpha": self.defaults["alpha"]})


class _Brackets(_Varied):
    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super().move(p, g, d - group["eps"], state, group)
        p.sub_(group["eps"])


class _ChangesGrad(_Varied):
    def decayed(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Tensor:
        g += group["weight_decay"] * p
        return g


class _MinusDecay(_Varied):
    def decayed(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Tensor:
        return g - group["weight_decay"] * p


class _DecayNotSquared(_Varied):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        for key in ("square_avg", "grad_avg", "momentum_buffer"):
            state.setdefault(key, torch.zeros_like(p))
        v = self.squared(g, state, group)
        g = self.decayed(p, g, group)
        self.move(p, g, self.divisor(self.variance(g, v, state, group), group), state, group)


class _FirstLr(_Varied):
    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super().move(p, g, d, state, {**group, "lr": self.param_groups[0]["lr"]})


class _ZerosForNone(_Varied):
    def step(self, closure: Any = None) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    g = p.grad if p.grad is not None else torch.zeros_like(p)
                    self.one(p, g, self.state[p], group)


class _Returns(_Varied):
    def step(self, closure: Any = None) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        return
                    self.one(p, p.grad, self.state[p], group)


class _AdamsNames(_Varied):
    """Adam's name for v."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        for own, torchs in (("exp_avg_sq", "square_avg"), ("mean", "grad_avg"), ("buffer", "momentum_buffer")):
            if own in state:
                state[torchs] = state.pop(own)
        super().one(p, g, state, group)
        for own, torchs in (("exp_avg_sq", "square_avg"),):
            state[own] = state.pop(torchs)


class _SkipsZeros(_Varied):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if float(g.abs().sum()) > 0:
            super().one(p, g, state, group)


class _AllDefaults(_Varied):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super().one(p, g, state, self.defaults)


class _Remembers(_Varied):
    """Keeps some hyperparameters from a parameter's first step."""

    names: tuple[str, ...] = ("alpha", "eps", "weight_decay", "momentum")

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        kept = {name: state.setdefault(name, group[name]) for name in self.names}
        super().one(p, g, state, {**group, **kept})


class _RemembersAlpha(_Remembers):
    names = ("alpha",)


class _OwnDict(_Varied):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not hasattr(self, "own"):
            self.own: dict[Tensor, dict[str, Any]] = {}
        super().one(p, g, self.own.setdefault(p, {}), group)


class _Breaks(_Varied):
    def step(self, closure: Any = None) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        break
                    self.one(p, p.grad, self.state[p], group)


class _WritesZeros(_ZerosForNone):
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        super().step()


class _NanToNum(_Varied):
    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super().move(p, torch.nan_to_num(g / (d - group["eps"])), torch.ones_like(d), state, group)


class _FixedAlpha(_Varied):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super().one(p, g, state, {**group, "alpha": 0.8})


class _AdamsBuffer(_Varied):
    def move(self, p: Tensor, g: Tensor, d: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if group["momentum"] > 0:
            g = state["momentum_buffer"].lerp_(g, 1 - group["momentum"])
        p.addcdiv_(g, d, value=-group["lr"])


# --- rmsprop.corrected ----------------------------------------------------------------------------------------------


class _CorrectedBase(torch.optim.Optimizer):
    def __init__(self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"], state["square_avg"] = 0, torch.zeros_like(p)
                self.one(p, p.grad, state, group["lr"], group["alpha"], group["eps"])

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], lr: float, alpha: float, eps: float) -> None:
        state["step"] += 1
        v = state["square_avg"].mul_(alpha).addcmul_(g, g, value=1 - alpha)
        p.sub_(lr * g / ((v / (1 - alpha ** state["step"])).sqrt() + eps))


class CorrectedWithTensorCount(_CorrectedBase):
    """torch's kind of step count, and a fused update."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], lr: float, alpha: float, eps: float) -> None:
        if isinstance(state["step"], int):
            state["step"] = torch.tensor(0.0)
        state["step"] += 1
        state["square_avg"].lerp_(g * g, 1 - alpha)
        left = 1 - alpha ** state["step"].item()
        p.addcdiv_(g, (state["square_avg"] / left).sqrt_().add_(eps), value=-lr)


class CorrectedRoots(_CorrectedBase):
    """The correction's root beside v's."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], lr: float, alpha: float, eps: float) -> None:
        state["step"] += 1
        state["square_avg"] = alpha * state["square_avg"] + (1 - alpha) * g**2
        root = state["square_avg"].sqrt() / (1 - alpha ** state["step"]) ** 0.5
        p -= lr * g / (root + eps)


class CorrectedBySum(_CorrectedBase):
    """An uncorrected sum of weights is averaged beside v: the same number as 1 − alpha^t."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], lr: float, alpha: float, eps: float) -> None:
        state["total"] = alpha * state.get("total", 0.0) + 1 - alpha
        v = state["square_avg"].mul_(alpha).add_((1 - alpha) * g * g)
        p.sub_(lr * g / (torch.sqrt(v / state["total"]) + eps))


def _corrected(left: Callable[[float, int], float] | None = None, **more: Any) -> type[_CorrectedBase]:
    """A wrong corrected form: another corrector, or another place for something."""

    class Wrong(_CorrectedBase):
        def one(self, p: Tensor, g: Tensor, state: dict[str, Any], lr: float, alpha: float, eps: float) -> None:
            state["step"] += 1
            v = state["square_avg"].mul_(alpha).addcmul_(g, g, value=1 - alpha)
            c = left(alpha, state["step"]) if left else 1 - alpha ** state["step"]
            used = g * g if more.get("of") == "g" else v
            if more.get("stored"):
                v.div_(c)
                used, c = v, 1.0
            if more.get("eps") == "inside":
                d = (used / c + eps).sqrt()
            elif more.get("eps") == "hat":
                d = (used.sqrt() + eps) / c**0.5
            else:
                d = used.sqrt() / c + eps if more.get("root") == "first" else (used / c).sqrt() + eps
            p.sub_(lr * g / d)

    return Wrong


class _OneCount(_CorrectedBase):
    """t of the whole optimizer, raised for each parameter."""

    t = 0

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], lr: float, alpha: float, eps: float) -> None:
        self.t += 1
        state["step"] = self.t - 1
        super().one(p, g, state, lr, alpha, eps)


class _StepsCounted(_CorrectedBase):
    """t of the whole optimizer, raised once a step."""

    t = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.t += 1
        super().step()

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], lr: float, alpha: float, eps: float) -> None:
        state["step"] = self.t - 1
        super().one(p, g, state, lr, alpha, eps)


class _Float32Count(_CorrectedBase):
    """torch's kind of step count, without .item()."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], lr: float, alpha: float, eps: float) -> None:
        if isinstance(state["step"], int):
            state["step"] = torch.tensor(0.0)
        super().one(p, g, state, lr, alpha, eps)


class _CorrectedSkipsZeros(_CorrectedBase):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], lr: float, alpha: float, eps: float) -> None:
        if g.any():
            super().one(p, g, state, lr, alpha, eps)


# --- rmsprop.scale_free ---------------------------------------------------------------------------------------------


def trajectory_with_an_optimizer(grads: Tensor, scale: float, eps: float) -> Tensor:
    w = torch.nn.Parameter(torch.zeros_like(grads[0]))
    opt, rows = InPlace([w], lr=0.05, alpha=0.9, eps=eps), [w.detach().clone()]
    for g in grads:
        w.grad = scale * g
        opt.step()
        rows.append(w.detach().clone())
    return torch.stack(rows)


def trajectory_by_hand(grads: Tensor, scale: float, eps: float) -> Tensor:
    rows = grads.new_zeros(len(grads) + 1, *grads.shape[1:])
    v = torch.zeros_like(grads[0])
    for t, g in enumerate(grads * scale):
        v = 0.9 * v + 0.1 * g**2
        rows[t + 1] = rows[t] - 0.05 * g / (v.sqrt() + eps)
    return rows


def trajectory_by_sum(grads: Tensor, scale: float, eps: float) -> Tensor:
    """All steps at once, then their sum; eps divided by the scale instead of gradients multiplied."""
    t = torch.arange(len(grads), dtype=grads.dtype, device=grads.device)
    weights = 0.1 * 0.9 ** (t[:, None] - t).clamp(min=0) * (t[:, None] >= t)
    v = torch.tensordot(weights, grads**2, dims=1)
    steps = -0.05 * grads / (v.sqrt() + eps / scale)
    return torch.cat([torch.zeros_like(grads[:1]), steps.cumsum(0)])


def dependence(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    plain = run(grads, 1.0)
    return float(max((run(grads, s) - plain).abs().max() for s in scales) / plain.abs().max())


def dependence_as_tensor(run: Run, grads: Tensor, scales: Sequence[float]) -> Tensor:
    plain = run(grads, 1)
    runs = torch.stack([run(grads, s) for s in scales])
    return (runs - plain).abs().amax() / plain.abs().amax()


def dependence_with_a_loop(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    base, worst = run(grads, 1.0), 0.0
    for scale in scales:
        relative = (run(grads, scale) - base).norm(p=float("inf")) / base.norm(p=float("inf"))
        worst = max(worst, relative.item())
    return worst


def _steps(grads: Tensor, scale: float, eps: float) -> Tensor:
    w = trajectory_by_hand(grads, scale, eps)
    return torch.cat([w[:1], w[1:] - w[:-1]])


def _aliases(grads: Tensor, scale: float, eps: float) -> Tensor:
    w = torch.nn.Parameter(torch.zeros_like(grads[0]))
    opt, rows = InPlace([w], lr=0.05, alpha=0.9, eps=eps), [w.detach()]
    for g in grads:
        w.grad = scale * g
        opt.step()
        rows.append(w.detach())
    return torch.stack(rows)


def _by_the_longest(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    runs = torch.stack([run(grads, s) for s in [1.0, *scales]])
    return float((runs - runs[0]).abs().max() / runs.abs().max())


def _relative_norm(run: Run, grads: Tensor, scale: float) -> Tensor:
    plain = run(grads, 1.0)
    return (run(grads, scale) - plain).norm() / plain.norm()


def _lengths(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    far = [float(run(grads, s).abs().max()) for s in [1.0, *scales]]
    return max(abs(one - far[0]) for one in far) / far[0]


def _changes_grads(grads: Tensor, scale: float, eps: float) -> Tensor:
    grads *= scale
    return trajectory_by_hand(grads, 1.0, eps)


class _LivesOn:
    """trajectory with one optimizer for all calls."""

    def __init__(self) -> None:
        self.kept: dict[Any, tuple[torch.nn.Parameter, InPlace]] = {}

    def __call__(self, grads: Tensor, scale: float, eps: float) -> Tensor:
        w = torch.nn.Parameter(torch.zeros_like(grads[0]))
        w, opt = self.kept.setdefault(grads.shape, (w, InPlace([w], lr=0.05, alpha=0.9)))
        opt.param_groups[0]["eps"] = eps
        with torch.no_grad():
            w.zero_()
        rows = [w.detach().clone()]
        for g in grads:
            w.grad = scale * g
            opt.step()
            rows.append(w.detach().clone())
        return torch.stack(rows)


def _each_by_its_length(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    def shape(s: float) -> Tensor:
        w = run(grads, s)
        return w / w.abs().max()

    return max(float((shape(s) - shape(1.0)).abs().max()) for s in scales)


def _not_relative(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    return max(float((run(grads, s) - run(grads, 1.0)).abs().max()) for s in scales)


def _last_scale(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    value = 0.0
    for s in scales:
        value = dependence(run, grads, [s])
    return value


def _mean_of_scales(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    return sum(dependence(run, grads, [s]) for s in scales) / len(scales)


def _end_point(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    base = run(grads, 1.0)
    return max(float((run(grads, s)[-1] - base[-1]).abs().max() / base.abs().max()) for s in scales)


def _no_abs(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    base = run(grads, 1.0)
    return max(float((run(grads, s) - base).max() / base.abs().max()) for s in scales)


def _scaled_outside(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    base = run(grads, 1.0)
    return max(float((run(c * grads, 1.0) - base).abs().max() / base.abs().max()) for c in scales)


def _by_length(length: Callable[[Tensor], Tensor]) -> Callable[[Run, Tensor, Sequence[float]], float]:
    """A wrong denominator."""

    def measure(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
        base = run(grads, 1.0)
        return max(float((run(grads, s) - base).abs().max() / length(base)) for s in scales)

    return measure


def _ratios(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    base = run(grads, 1.0)
    return max(float(torch.nan_to_num((run(grads, s) - base) / base).abs().max()) for s in scales)


# --- rmsprop.adagrad ------------------------------------------------------------------------------------------------


class _AdagradBase(torch.optim.Optimizer):
    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        initial = {"initial_accumulator_value": initial_accumulator_value}
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "eps": eps, **initial})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, p.grad, self.state[p], group)

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"] = 0
            state["sum"] = torch.full_like(p, group["initial_accumulator_value"])
        state["step"] += 1
        state["sum"].addcmul_(g, g)
        lr = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        p.sub_(lr * g / (state["sum"].sqrt() + group["eps"]))


class AdagradAtOnce(_AdagradBase):
    """State made in the constructor, as torch does."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options)
        for group in self.param_groups:
            for p in group["params"]:
                start = torch.full_like(p, self.defaults["initial_accumulator_value"])
                self.state[p] = {"step": torch.tensor(0.0), "sum": start.detach()}

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr = group["lr"] / (1 + state["step"].item() * group["lr_decay"])
        state["step"] += 1
        p.addcdiv_(g, state["sum"].addcmul_(g, g).sqrt().add_(group["eps"]), value=-lr)


class AdagradByFormula(_AdagradBase):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        t = state["t"] = state.get("t", 0) + 1
        old = state.get("sum", group["initial_accumulator_value"] * torch.ones_like(p))
        state["sum"] = old + g**2
        p += -group["lr"] / (1 + (t - 1) * group["lr_decay"]) / (state["sum"] ** 0.5 + group["eps"]) * g


class AdagradApart(_AdagradBase):
    """The initial value is added where the root is taken."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["squares"] = state.get("squares", torch.zeros_like(p)) + g * g
        state["before"] = state.get("before", -1) + 1
        root = torch.sqrt(state["squares"] + group["initial_accumulator_value"])
        lr = group["lr"] / (1 + state["before"] * group["lr_decay"])
        p.copy_(p - lr * g / (root + group["eps"]))


def _adagrad(**change: Any) -> type[_AdagradBase]:
    """A wrong Adagrad."""

    class Wrong(_AdagradBase):
        def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
            initial = 0.0 if "no initial" in change else group["initial_accumulator_value"]
            if not state:
                state["step"], state["sum"] = 0, torch.full_like(p, initial)
            state["step"] += 1
            t, decay = state["step"], group["lr_decay"]
            if "mean" in change:
                state["sum"].mul_(0.9).addcmul_(g, g, value=0.1)
            elif "absolute" in change:
                state["sum"].add_(g.abs())
            else:
                state["sum"].addcmul_(g, g)
            lr = change["lr"](group["lr"], t, decay) if "lr" in change else group["lr"] / (1 + (t - 1) * decay)
            if "written" in change:
                group["lr"] = lr
            eps, s = group["eps"], state["sum"]
            d = (s + eps).sqrt() if "inside" in change else s + eps if "no root" in change else s.sqrt() + eps
            p.sub_(lr * g / (s.sqrt() if "no eps" in change else d))

    return Wrong


class _AdagradOldSum(_AdagradBase):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"], state["sum"] = 0, torch.full_like(p, group["initial_accumulator_value"])
        p.sub_(group["lr"] / (1 + state["step"] * group["lr_decay"]) * g / (state["sum"].sqrt() + group["eps"]))
        state["step"] += 1
        state["sum"].addcmul_(g, g)


class _AdagradSkipsZeros(_AdagradBase):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if g.any():
            super().one(p, g, state, group)


class _AdagradDefaults(_AdagradBase):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super().one(p, g, state, self.defaults)


class _AdagradFixedEps(_AdagradBase):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super().one(p, g, state, {**group, "eps": 1e-10})


class _AdagradFloat32Count(_AdagradBase):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"], state["sum"] = torch.tensor(0.0), torch.full_like(p, group["initial_accumulator_value"])
        super().one(p, g, state, group)


class _AdagradSquaresSum(_AdagradBase):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"], state["sum"] = state.get("step", 0) + 1, state.get("sum", 0.0) + g
        lr = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        p.sub_(lr * g / ((state["sum"] ** 2).sqrt() + group["eps"]))


class _AdagradStartsAnew(_AdagradBase):
    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["sum"] = torch.full_like(p, group["initial_accumulator_value"])
        state["step"] = state.get("step", 0) + 1
        super().one(p, g, {"sum": state["sum"], "step": state["step"] - 1}, group)


# --- rmsprop.memory -------------------------------------------------------------------------------------------------


class _LeanBase(torch.optim.Optimizer):
    def __init__(
        self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, p.grad, self.state[p], group)

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "square_avg" not in state:
            state["square_avg"] = torch.zeros_like(p)
        if group["weight_decay"]:
            g = g.add(p, alpha=group["weight_decay"])
        v = state["square_avg"].mul_(group["alpha"]).addcmul_(g, g, value=1 - group["alpha"])
        p.addcdiv_(g, v.sqrt().add_(group["eps"]), value=-group["lr"])


class LeanByDivision(_LeanBase):
    """The one new tensor becomes divisor, ratio and step in turn."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "square_avg" not in state:
            state["square_avg"] = torch.zeros_like(p)
        v, wd = state["square_avg"], group["weight_decay"]
        g = torch.add(g, p, alpha=wd) if wd != 0 else g
        v *= group["alpha"]
        v.addcmul_(g, g, value=1 - group["alpha"])
        d = torch.sqrt(v)
        d += group["eps"]
        p.sub_(torch.div(g, d, out=d), alpha=group["lr"])


class LeanLists(_LeanBase):
    """One new list, or two."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            ps = [p for p in group["params"] if p.grad is not None]
            if not ps:
                continue
            for p in ps:
                if not self.state[p]:
                    self.state[p]["square_avg"] = torch.zeros_like(p)
            vs: list[Tensor] = [self.state[p]["square_avg"] for p in ps]
            gs: Any = [p.grad for p in ps]
            if group["weight_decay"] != 0:
                gs = torch._foreach_add(gs, ps, alpha=group["weight_decay"])
            torch._foreach_mul_(vs, group["alpha"])
            torch._foreach_addcmul_(vs, gs, gs, 1 - group["alpha"])
            ds = torch._foreach_sqrt(vs)
            torch._foreach_add_(ds, group["eps"])
            torch._foreach_addcdiv_(ps, gs, ds, -group["lr"])


class LeanWithCount(_LeanBase):
    """Counts steps as torch does; the decay's tensor is made from the weight."""

    def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"], state["square_avg"] = torch.tensor(0.0), torch.zeros_like(p)
        state["step"] += 1
        if group["weight_decay"]:
            g = (group["weight_decay"] * p).add_(g)
        state["square_avg"].mul_(group["alpha"]).addcmul_(g, g, value=1 - group["alpha"])
        p.addcdiv_(g, state["square_avg"].sqrt().add_(group["eps"]), value=-group["lr"])


def _lean(**change: Any) -> type[_LeanBase]:
    """A wrong LeanRMSprop."""

    class Wrong(_LeanBase):
        def one(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
            lr, alpha, wd = group["lr"], group["alpha"], group["weight_decay"]
            if "setdefault" in change:
                state.setdefault("square_avg", torch.zeros_like(p))
            elif not state:
                state["square_avg"] = torch.zeros(p.shape, dtype=p.dtype) if "cpu" in change else torch.zeros_like(p)
            if "decoupled" in change:
                p.mul_(1 - lr * wd)
            elif wd or "always" in change:
                g = (
                    g.add_(p, alpha=wd)
                    if "in grad" in change
                    else g + wd * p
                    if "sum" in change
                    else g.add(p, alpha=wd)
                )
            v = state["square_avg"]
            if "new v" in change:
                v = state["square_avg"] = alpha * v + (1 - alpha) * g.pow(2)
            else:
                v.mul_(alpha).addcmul_(g, g, value=1 - alpha)
            if "formula" in change:
                p -= lr * g / (v.sqrt() + group["eps"])
            elif "rooted" in change:
                p.addcdiv_(g, v.sqrt_().add_(group["eps"]), value=-lr)
            elif "squared back" in change:
                p.addcdiv_(g, v.sqrt_().add_(group["eps"]), value=-lr)
                v.sub_(group["eps"]).square_()
            elif "inside" in change:
                p.addcdiv_(g, v.add(group["eps"]).sqrt_(), value=-lr)
            elif "ratio in grad" in change:
                p.sub_(g.div_(v.sqrt().add_(group["eps"])).mul_(lr))
            elif "kept" in change:
                d = state.setdefault("d", torch.empty_like(p))
                p.addcdiv_(g, torch.sqrt(v, out=d).add_(group["eps"]), value=-lr)
            elif "asks" in change and not bool(v.any()):
                return
            else:
                p.addcdiv_(g, v.sqrt().add_(group["eps"]), value=-lr)

    return Wrong


ACCEPTED: dict[str, dict[str, Objects]] = {
    "rmsprop.precondition": {
        "by the formula": (divided,),
        "addcdiv_": (fused,),
        "a factor for each weight": (by_power,),
        "through .data": (through_data,),
    },
    "rmsprop.rmsprop": {
        "new tensors by the formula": (ByTheFormula,),
        "torch's operations, in place": (InPlace,),
        "all of the state always": (EverythingAlways,),
        "foreach": (Lists,),
        "in pieces": (_Varied,),
        "a floor under the variance": (Floored,),
    },
    "rmsprop.corrected": {
        "a Python count": (_CorrectedBase,),
        "a tensor count": (CorrectedWithTensorCount,),
        "two roots": (CorrectedRoots,),
        "by the sum of weights": (CorrectedBySum,),
    },
    "rmsprop.scale_free": {
        "with an optimizer": (trajectory_with_an_optimizer, dependence),
        "by hand": (trajectory_by_hand, dependence_as_tensor),
        "by a sum": (trajectory_by_sum, dependence_with_a_loop),
    },
    "rmsprop.adagrad": {
        "lazy state": (_AdagradBase,),
        "state in the constructor": (AdagradAtOnce,),
        "by the formula": (AdagradByFormula,),
        "the initial value apart": (AdagradApart,),
    },
    "rmsprop.memory": {
        "addcdiv_": (_LeanBase,),
        "one tensor in turns": (LeanByDivision,),
        "foreach": (LeanLists,),
        "with a count": (LeanWithCount,),
    },
}

MUTANTS: Mutants = {
    "rmsprop.precondition": (
        ("R1", "sqrt(v + eps)", (_preconditioned(lambda g, v, lr, eps: lr * g / torch.sqrt(v + eps)),)),
        ("R4", "v + eps", (_preconditioned(lambda g, v, lr, eps: lr * g / (v + eps)),)),
        ("A4", "no eps", (_preconditioned(lambda g, v, lr, eps: lr * g / v.sqrt()),)),
        ("A3", "brackets", (_preconditioned(lambda g, v, lr, eps: lr * g / v.sqrt() + eps),)),
        ("A3", "w - step + eps", (_preconditioned(lambda g, v, lr, eps: lr * g / v.sqrt() - eps),)),
        ("R4m", "clamp", (_preconditioned(lambda g, v, lr, eps: lr * g / v.sqrt().clamp(min=eps)),)),
        ("R4s", "hypot", (_preconditioned(lambda g, v, lr, eps: lr * g / (v + eps * eps) ** 0.5),)),
        ("R13", "times", (_preconditioned(lambda g, v, lr, eps: lr * g * (v.sqrt() + eps)),)),
        ("R63", "no division", (_preconditioned(lambda g, v, lr, eps: lr * g),)),
        ("R79", "g / |g|", (_preconditioned(lambda g, v, lr, eps: lr * g / (g.abs() + eps)),)),
        ("R80", "v**2", (_preconditioned(lambda g, v, lr, eps: lr * g / (v**2 + eps)),)),
        ("M5", "climbs", (_preconditioned(lambda g, v, lr, eps: -lr * g / (v.sqrt() + eps)),)),
        ("R12", "no lr", (_preconditioned(lambda g, v, lr, eps: g / (v.sqrt() + eps)),)),
        ("R89", "where v is 0", (_preconditioned(_skips_zero),)),
        ("A29", "1e-8", (_preconditioned(lambda g, v, lr, eps: lr * g / (v.sqrt() + 1e-8)),)),
        ("R84", "lr and eps", (_preconditioned(lambda g, v, eps, lr: lr * g / (v.sqrt() + eps)),)),
        ("A4", "nan_to_num", (_preconditioned(lambda g, v, lr, eps: lr * torch.nan_to_num(g / v.sqrt())),)),
        ("M9", "w = ...", (_rebound,)),
        ("R37", "v.sqrt_()", (_roots_v,)),
        ("R36", "v += g**2", (_accumulates,)),
        ("M10", "g *= lr", (_scales_g,)),
    ),
    "rmsprop.rmsprop": (
        ("R1", "sqrt(v + eps)", (_EpsInside,)),
        ("A4", "no eps", (_NoEps,)),
        ("R4", "no root", (_NoRoot,)),
        ("R4m", "clamp", (_Floor,)),
        ("M5", "climbs", (_Climbs,)),
        ("R2", "corrected", (_Corrects,)),
        ("R8", "lerp with alpha", (_RolesSwapped,)),
        ("R5", "Adagrad", (_Sums,)),
        ("A14", "v.mul_().addcmul_()", (_DecayingSum,)),
        ("R3", "v = g**2 at first", (_StartsAtSquare,)),
        ("R4a", "abs", (_Absolute,)),
        ("R39", "v = ...", (_Forgets,)),
        ("R6", "always centred", (_AlwaysCentred,)),
        ("R14", "never centred", (_NeverCentred,)),
        ("R16", "v - m", (_SubtractsMean,)),
        ("R22", "addcmul_ into v", (_CentresInPlace,)),
        ("R7", "momentum first", (_MomentumFirst,)),
        ("M16", "lerp in the buffer", (_AveragedBuffer,)),
        ("R26", "no momentum", (_NoMomentum,)),
        ("M4", "lr inside", (_LrInside,)),
        ("M9", "p = ...", (_Rebinds,)),
        ("W8", "decoupled", (_Decoupled,)),
        ("W8", "after the division", (_DecayAfter,)),
        ("R75", "mean of p.grad", (_PlainMean,)),
        ("R76", "m**2", (_MeanSquared,)),
        ("R4a", "average size", (_MeanSize,)),
        ("R31", "self.defaults", (_DefaultAlpha,)),
        ("A29", "1e-8", (_FixedEps,)),
        ("R79", "g**2", (_OwnSize,)),
        ("A3", "brackets", (_Brackets,)),
        ("M10", "g += ...", (_ChangesGrad,)),
        ("W9", "minus decay", (_MinusDecay,)),
        ("W12", "squares the plain gradient", (_DecayNotSquared,)),
        ("S9", "first group's lr", (_FirstLr,)),
        ("A32", "zeros for None", (_ZerosForNone,)),
        ("A34", "return", (_Returns,)),
        ("R33", "exp_avg_sq", (_AdamsNames,)),
        ("R33", "a dict of its own", (_OwnDict,)),
        ("R81", "skips zeros", (_SkipsZeros,)),
        ("R82", "self.defaults", (_AllDefaults,)),
        ("R83", "setdefault", (_Remembers,)),
        ("R83", "setdefault alpha", (_RemembersAlpha,)),
        ("A34", "break", (_Breaks,)),
        ("A32", "p.grad = zeros", (_WritesZeros,)),
        ("A4", "nan_to_num", (_NanToNum,)),
        ("R31", "0.8", (_FixedAlpha,)),
        ("R7", "Adam's buffer", (_AdamsBuffer,)),
    ),
    "rmsprop.corrected": (
        ("A5", "none", (_corrected(lambda alpha, t: 1.0),)),
        ("R35", "g**2 / (1 - alpha**t)", (_corrected(of="g"),)),
        ("E3", "t - 1", (_corrected(lambda alpha, t: 1 - alpha ** (t - 1)),)),
        ("E3n", "t + 1", (_corrected(lambda alpha, t: 1 - alpha ** (t + 1)),)),
        ("E4", "alpha * t", (_corrected(lambda alpha, t: 1 - alpha * t),)),
        ("E4p", "(1 - alpha) ** t", (_corrected(lambda alpha, t: (1 - alpha) ** t),)),
        ("E6", "times", (_corrected(lambda alpha, t: 1 / (1 - alpha**t)),)),
        ("A6n", "1 - alpha", (_corrected(lambda alpha, t: 1 - alpha),)),
        ("E5", "stored", (_corrected(stored=True),)),
        ("R1", "eps inside", (_corrected(eps="inside"),)),
        ("A2", "eps hat", (_corrected(eps="hat"),)),
        ("A12", "root first", (_corrected(root="first"),)),
        ("A6", "calls counted", (_OneCount,)),
        ("A6g", "steps counted", (_StepsCounted,)),
        ("R81", "skips zeros", (_CorrectedSkipsZeros,)),
        ("R90", "a float32 count", (_Float32Count,)),
    ),
    "rmsprop.scale_free": (
        ("R53", "eps scaled", (lambda grads, scale, eps: trajectory_by_hand(grads, scale, scale * eps), dependence)),
        ("R53", "scale unused", (lambda grads, scale, eps: trajectory_by_hand(grads, 1.0, eps), dependence)),
        ("R54", "lr scaled", (lambda grads, scale, eps: scale * trajectory_by_hand(grads, 1.0, eps), dependence)),
        ("R55", "lr unscaled", (lambda grads, scale, eps: trajectory_by_hand(grads, scale, eps) / scale, dependence)),
        ("R60", "eps default", (lambda grads, scale, eps: trajectory_by_hand(grads, scale, 1e-8), dependence)),
        ("R61", "lr default", (lambda grads, scale, eps: trajectory_by_hand(grads, scale, eps) / 5, dependence)),
        ("M5", "climbs", (lambda grads, scale, eps: -trajectory_by_hand(grads, scale, eps), dependence)),
        ("R64", "steps", (_steps, dependence)),
        ("R77", "no clone", (_aliases, dependence)),
        ("R66", "by the longest", (trajectory_by_hand, _by_the_longest)),
        (
            "R73",
            "norms",
            (trajectory_by_hand, lambda run, grads, scales: max(float(_relative_norm(run, grads, s)) for s in scales)),
        ),
        ("R78", "lengths", (trajectory_by_hand, _lengths)),
        ("R65", "one optimizer", (_LivesOn(), dependence)),
        ("M10", "grads *= scale", (_changes_grads, dependence)),
        ("R66", "normalised", (trajectory_by_hand, _each_by_its_length)),
        ("R67", "absolute", (trajectory_by_hand, _not_relative)),
        ("R68", "last", (trajectory_by_hand, _last_scale)),
        ("R69", "mean", (trajectory_by_hand, _mean_of_scales)),
        ("R70", "end", (trajectory_by_hand, _end_point)),
        ("R71", "signed", (trajectory_by_hand, _no_abs)),
        ("R86", "run(c * grads, 1.0)", (trajectory_by_hand, _scaled_outside)),
        (
            "R68",
            "outermost",
            (trajectory_by_hand, lambda run, grads, scales: dependence(run, grads, [min(scales), max(scales)])),
        ),
        ("R92", "last row", (trajectory_by_hand, _by_length(lambda base: base[-1].abs().max()))),
        ("R92", "no abs", (trajectory_by_hand, _by_length(lambda base: base.max()))),
        ("R74", "ratios", (trajectory_by_hand, _ratios)),
        ("R87", "0", (trajectory_by_hand, lambda run, grads, scales: 0.0)),
    ),
    "rmsprop.adagrad": (
        ("R1", "eps inside", (_adagrad(inside=True),)),
        ("A4", "no eps", (_adagrad(**{"no eps": True}),)),
        ("R4", "no root", (_adagrad(**{"no root": True}),)),
        ("R43", "0.9 and 0.1", (_adagrad(mean=True),)),
        ("R4a", "abs", (_adagrad(absolute=True),)),
        ("R44", "starts at 0", (_adagrad(**{"no initial": True}),)),
        ("R47", "t", (_adagrad(lr=lambda lr, t, decay: lr / (1 + t * decay)),)),
        ("R48", "no decay", (_adagrad(lr=lambda lr, t, decay: lr),)),
        ("R49", "root of t", (_adagrad(lr=lambda lr, t, decay: lr * t**-0.5),)),
        ("R50", "exponential", (_adagrad(lr=lambda lr, t, decay: lr * (1 - decay) ** (t - 1)),)),
        ("R51", "grows", (_adagrad(lr=lambda lr, t, decay: lr * (1 + (t - 1) * decay)),)),
        ("S7", "group['lr'] = ...", (_adagrad(written=True),)),
        ("R10", "old sum", (_AdagradOldSum,)),
        ("R39", "new in each step", (_AdagradStartsAnew,)),
        ("R81", "skips zeros", (_AdagradSkipsZeros,)),
        ("R82", "self.defaults", (_AdagradDefaults,)),
        ("A29", "1e-10", (_AdagradFixedEps,)),
        ("R49", "both", (_adagrad(lr=lambda lr, t, decay: lr / (1 + (t - 1) * decay) / t**0.5),)),
        ("R85", "sum of g", (_AdagradSquaresSum,)),
        ("R90", "a float32 count", (_AdagradFloat32Count,)),
    ),
    "rmsprop.memory": (
        ("F5", "by the formula", (_lean(formula=True),)),
        ("F5", "new v", (_lean(**{"new v": True}),)),
        ("F5", "setdefault", (_lean(setdefault=True),)),
        ("R42", "g + wd * p", (_lean(sum=True),)),
        ("R41", "kept scratch", (_lean(kept=True),)),
        ("F2", "bool", (_lean(asks=True),)),
        ("F3", "torch.zeros", (_lean(cpu=True),)),
        ("M10", "decay in grad", (_lean(**{"in grad": True}),)),
        ("M10", "ratio in grad", (_lean(**{"ratio in grad": True}),)),
        ("E5v", "v.sqrt_()", (_lean(rooted=True),)),
        ("W8", "decoupled", (_lean(decoupled=True),)),
        ("R1", "eps inside", (_lean(inside=True),)),
        ("R88", "add with 0", (_lean(always=True),)),
        ("R91", "squared back", (_lean(**{"squared back": True}),)),
    ),
}
