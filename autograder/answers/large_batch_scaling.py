"""Right and wrong answers to the exercises of `08_large_batch_scaling`; those about ranks stand in `large_batch_ranks`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from autograder.answers import Mutants, Objects
from autograder.answers import large_batch_ranks as ranks

Tensor = torch.Tensor

# --- largebatch.scaling ---------------------------------------------------------------------------------------------


def linear_scaled_lr(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
    return min(base_lr * batch_size / base_batch_size, lr_max)


def sqrt_scaled_lr(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
    return min(base_lr * (batch_size / base_batch_size) ** 0.5, lr_max)


def _linear_as_array(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> Any:
    return np.minimum(base_lr * np.divide(batch_size, base_batch_size), lr_max)


def _root_as_tensor(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> Tensor:
    k = torch.tensor(batch_size / base_batch_size, dtype=torch.float64)
    return (base_lr * k.sqrt()).clamp(max=lr_max)


def _linear_by_example(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
    per_example = base_lr / base_batch_size
    lr = per_example * batch_size
    if lr > lr_max:
        return lr_max
    return lr


def _root_of_both(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
    lr = base_lr / math.sqrt(base_batch_size) * math.sqrt(batch_size)
    return lr if lr < lr_max else lr_max


def _pair(power: Callable[[float], float], bound: Any = min) -> Objects:
    def linear(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
        return bound(base_lr * power(batch_size / base_batch_size), lr_max)

    def root(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
        return bound(base_lr * power(batch_size / base_batch_size) ** 0.5, lr_max)

    return linear, root


def _uncapped_root(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
    return base_lr * math.sqrt(batch_size / base_batch_size)


def _uncapped_linear(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
    return base_lr / base_batch_size * batch_size


def _floor_linear(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
    return min(base_lr * (batch_size // base_batch_size), lr_max)


def _floor_root(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
    return min(base_lr * (batch_size // base_batch_size) ** 0.5, lr_max)


# --- largebatch.warmup ----------------------------------------------------------------------------------------------


def warmup_lr(step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int) -> float:
    w = warmup_epochs * math.ceil(n / batch_size)
    share = min(step / w, 1.0) if w > 0 else 1.0
    return base_lr + (target_lr - base_lr) * share


def _warmup_by_cases(step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int) -> float:
    length = warmup_epochs * ((n + batch_size - 1) // batch_size)
    if step >= length:
        return target_lr
    return (target_lr * step + base_lr * (length - step)) / length


def _warmup_by_interpolation(
    step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int
) -> Any:
    length = warmup_epochs * len(range(0, n, batch_size))
    return np.interp(step, [0, length], [base_lr, target_lr]) if length else np.float64(target_lr)


def _warmup_as_tensor(
    step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int
) -> Tensor:
    length = warmup_epochs * -(-n // batch_size)
    start = torch.tensor(base_lr if step < length else target_lr, dtype=torch.float64)
    return torch.lerp(start, torch.tensor(target_lr, dtype=torch.float64), step / length if step < length else 1.0)


def _warmup(length: Callable[[int, int, int], float], rise: Callable[[float, float, float], float]) -> Objects:
    def lr(step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int) -> float:
        w = length(warmup_epochs, n, batch_size)
        return rise(min(step / w, 1.0) if w else 1.0, base_lr, target_lr)

    return (lr,)


def _line(share: float, low: float, high: float) -> float:
    return low + share * (high - low)


def _steps(epochs: int, n: int, batch_size: int) -> int:
    return epochs * math.ceil(n / batch_size)


def _without_end(step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int) -> float:
    w = _steps(warmup_epochs, n, batch_size)
    return base_lr + (target_lr - base_lr) * step / w if w else target_lr


def _counted_from_1(step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int) -> float:
    w = _steps(warmup_epochs, n, batch_size)
    return target_lr if step + 1 >= w else base_lr + (target_lr - base_lr) * (step + 1) / w


def _divides_by_zero(step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int) -> float:
    return base_lr + (target_lr - base_lr) * min(1, step / _steps(warmup_epochs, n, batch_size))


# --- largebatch.noise_scale -----------------------------------------------------------------------------------------


def noise_scale(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> tuple[Any, ...]:
    s, b = (G_small**2).sum(1).mean(), (G_big**2).sum(1).mean()
    g2 = (b_big * b - b_small * s) / (b_big - b_small)
    trace = (s - b) / (1 / b_small - 1 / b_big)
    return g2, trace, trace / g2


def _noise_by_solving(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> tuple[Any, ...]:
    matrix = G_small.new_tensor([[1.0, 1 / b_small], [1.0, 1 / b_big]])
    right = torch.stack([G.norm(dim=1).square().mean() for G in (G_small, G_big)])
    g2, trace = torch.linalg.solve(matrix, right)
    return g2, trace, trace / g2


def _noise_in_floats(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> list[float]:
    s = sum(float(row @ row) for row in G_small) / len(G_small)
    b = sum(float(row @ row) for row in G_big) / len(G_big)
    trace = (s - b) * b_small * b_big / (b_big - b_small)
    g2 = s - trace / b_small
    return [g2, trace, trace / g2]


def _noise_with_numpy(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> tuple[Any, ...]:
    slope, level = np.polyfit(
        [1 / b_small, 1 / b_big], [np.square(G.cpu().numpy()).sum(1).mean() for G in (G_small, G_big)], 1
    )
    return float(level), float(slope), float(slope / level)


def _mean_of_ratios(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> tuple[Any, ...]:
    s, b = (G_small**2).sum(1), (G_big**2).sum(1)
    g2 = (b_big * b - b_small * s) / (b_big - b_small)
    trace = (s - b) / (1 / b_small - 1 / b_big)
    return g2.mean(), trace.mean(), (trace / g2).mean()


def _biased(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> tuple[Any, ...]:
    s, b = (G_small**2).sum(1).mean(), (G_big**2).sum(1).mean()
    trace = (s - b) / (1 / b_small - 1 / b_big)
    return b, trace, trace / b


def _rooted(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> tuple[Any, ...]:
    s, b = G_small.norm(dim=1).mean(), G_big.norm(dim=1).mean()
    g2 = (b_big * b - b_small * s) / (b_big - b_small)
    trace = (s - b) / (1 / b_small - 1 / b_big)
    return g2, trace, trace / g2


def _averaged_first(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> tuple[Any, ...]:
    s, b = G_small.mean(0).square().sum(), G_big.mean(0).square().sum()
    g2 = (b_big * b - b_small * s) / (b_big - b_small)
    trace = (s - b) / (1 / b_small - 1 / b_big)
    return g2, trace, trace / g2


def _between_draws(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> tuple[Any, ...]:
    g2 = noise_scale(G_small, G_big, b_small, b_big)[0]
    trace = b_small * G_small.var(0).sum()
    return g2, trace, trace / g2


# --- largebatch.critical_batch --------------------------------------------------------------------------------------


def steps_needed(batch_size: float, s_min: float, b_crit: float) -> float:
    return s_min * (1 + b_crit / batch_size)


def examples_needed(batch_size: float, e_min: float, b_crit: float) -> float:
    return e_min * (1 + batch_size / b_crit)


def fit_tradeoff(batch_sizes: Tensor, steps: Tensor) -> tuple[Any, ...]:
    x = 1 / batch_sizes
    dx = x - x.mean()
    e_min = (dx * steps).sum() / (dx * dx).sum()
    s_min = steps.mean() - e_min * x.mean()
    return s_min, e_min, e_min / s_min


def _fit_by_lstsq(batch_sizes: Tensor, steps: Tensor) -> tuple[Any, ...]:
    A = torch.stack([torch.ones_like(batch_sizes), 1 / batch_sizes], dim=1)
    s_min, e_min = torch.linalg.lstsq(A, steps.unsqueeze(1)).solution.squeeze(1)
    return s_min, e_min, e_min / s_min


def _fit_by_polyfit(batch_sizes: Tensor, steps: Tensor) -> list[float]:
    e_min, s_min = np.polyfit(1 / batch_sizes.cpu().numpy(), steps.cpu().numpy(), 1)
    return [float(s_min), float(e_min), float(e_min / s_min)]


def _steps_as_sum(batch_size: float, s_min: float, b_crit: float) -> float:
    return s_min + s_min * b_crit / batch_size


def _examples_as_sum(batch_size: float, e_min: float, b_crit: float) -> Tensor:
    return torch.tensor(e_min + e_min / b_crit * batch_size, dtype=torch.float64)


def _fit_in_sizes(batch_sizes: Tensor, steps: Tensor) -> tuple[float, ...]:
    slope, level = np.polyfit(batch_sizes.numpy(), steps.numpy(), 1)
    return float(level), float(slope), float(slope / level)


def _fit_examples(batch_sizes: Tensor, steps: Tensor) -> tuple[float, ...]:
    s_min, e_min = np.polyfit(batch_sizes.numpy(), (batch_sizes * steps).numpy(), 1)
    return float(s_min), float(e_min), float(e_min / s_min)


def _fit_observed(batch_sizes: Tensor, steps: Tensor) -> tuple[Any, ...]:
    e_min, s_min = (batch_sizes * steps).min(), steps.min()
    return s_min, e_min, e_min / s_min


def _critical(steps: Any = steps_needed, examples: Any = examples_needed, fit: Any = fit_tradeoff) -> Objects:
    return steps, examples, fit


# --- largebatch.layer_ratios ----------------------------------------------------------------------------------------


def layer_ratios(model: torch.nn.Module) -> dict[str, float]:
    return {
        name: float(p.detach().norm() / p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None
    }


@torch.no_grad()
def _ratios_as_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    return {
        name: torch.linalg.vector_norm(p) / torch.linalg.vector_norm(p.grad)
        for name, p in model.named_parameters()
        if p.grad is not None
    }


def _ratios_by_sums(model: torch.nn.Module) -> dict[str, float]:
    found = {}
    for name, p in model.named_parameters():
        if p.grad is None:
            continue
        w, g = (float((t.detach() ** 2).sum()) ** 0.5 for t in (p, p.grad))
        found[name] = w / g if g > 0 else math.inf
    return found


def _ratios_by_numpy(model: torch.nn.Module) -> dict[str, Any]:
    with np.errstate(divide="ignore"):
        return {
            name: np.linalg.norm(p.detach().cpu().numpy().ravel())
            / np.float64(np.linalg.norm(p.grad.cpu().numpy().ravel()))
            for name, p in model.named_parameters()
            if p.grad is not None
        }


def _ratios_by(norm: Callable[[Tensor], Tensor], turned: bool = False) -> Objects:
    def ratios(model: torch.nn.Module) -> dict[str, float]:
        found = {}
        for name, p in model.named_parameters():
            if p.grad is not None:
                w, g = norm(p.detach()), norm(p.grad)
                found[name] = float(g / w if turned else w / g)
        return found

    return (ratios,)


def _ratios_per_layer(model: torch.nn.Module) -> dict[str, float]:
    found = {}
    for name, layer in model.named_children():
        params = [p for p in layer.parameters() if p.grad is not None]
        if params:
            w = torch.cat([p.detach().flatten() for p in params]).norm()
            g = torch.cat([p.grad.flatten() for p in params if p.grad is not None]).norm()
            found[name] = float(w / g)
    return found


def _ratios_in_floats(model: torch.nn.Module) -> dict[str, float]:
    return {
        name: p.detach().norm().item() / p.grad.norm().item()
        for name, p in model.named_parameters()
        if p.grad is not None
    }


# --- largebatch.lars ------------------------------------------------------------------------------------------------


class _LarsBase(torch.optim.Optimizer):
    def __init__(
        self,
        params: Any,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        adapt: bool = True,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "trust_coefficient": trust_coefficient, "adapt": adapt})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, p.grad, group, self.state[p])

    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        raise NotImplementedError

    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        w_norm, g_norm = p.norm(), g.norm()
        if group["adapt"] and w_norm > 0 and g_norm > 0:
            return group["trust_coefficient"] * w_norm / (g_norm + group["weight_decay"] * w_norm)
        return 1.0

    def velocity(self, p: Tensor, state: dict[str, Any]) -> Tensor:
        v: Tensor = state.setdefault("momentum_buffer", torch.zeros_like(p))
        return v


class LARS(_LarsBase):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        v = self.velocity(p, state)
        scaled = group["lr"] * self.q(p, g, group) * (g + group["weight_decay"] * p)
        v.mul_(group["momentum"]).add_(scaled)
        p.sub_(v)


class _LarsWithoutIf(_LarsBase):
    """No branch on the device: torch.where chooses."""

    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        w_norm, g_norm = torch.linalg.vector_norm(p), torch.linalg.vector_norm(g)
        q = torch.ones_like(w_norm)
        if group["adapt"]:
            below = g_norm + group["weight_decay"] * w_norm
            ratio = group["trust_coefficient"] * w_norm / below.clamp(min=1e-300 if p.dtype == torch.float64 else 1e-30)
            q = torch.where((w_norm > 0) & (g_norm > 0), ratio, q)
        if "v" not in state:
            state["v"] = torch.zeros_like(p)
        state["v"] = group["momentum"] * state["v"] + q * group["lr"] * g.add(p, alpha=group["weight_decay"])
        p.add_(state["v"], alpha=-1)


class _LarsNegative(_LarsBase):
    """The velocity with the other sign, norms from sums of squares."""

    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        w2, g2 = float((p * p).sum()), float((g * g).sum())
        q = 1.0
        if group["adapt"] and w2 != 0 and g2 != 0:
            q = group["trust_coefficient"] / (math.sqrt(g2 / w2) + group["weight_decay"])
        v = self.velocity(p, state)
        v.mul_(group["momentum"]).sub_(group["lr"] * q * g).sub_(group["lr"] * q * group["weight_decay"] * p)
        p.add_(v)


class _LarsHistory(_LarsBase):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        v = self.velocity(p, state)
        q = self.q(p, g, group)
        v.mul_(group["momentum"]).add_(g + group["weight_decay"] * p)
        p.sub_(group["lr"] * q * v)


class _LarsTorchForm(_LarsBase):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        v = self.velocity(p, state)
        v.mul_(group["momentum"]).add_(self.q(p, g, group) * (g + group["weight_decay"] * p))
        p.sub_(group["lr"] * v)


class _LarsDecayOutside(_LarsBase):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        v = self.velocity(p, state)
        d = self.q(p, g, group) * g + group["weight_decay"] * p
        v.mul_(group["momentum"]).add_(group["lr"] * d)
        p.sub_(v)


class _LarsNoDecayInRatio(LARS):
    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return super().q(p, g, {**group, "weight_decay": 0.0})


class _LarsFrozenAtZero(LARS):
    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        if not group["adapt"] or g.norm() == 0:
            return 1.0
        return group["trust_coefficient"] * p.norm() / (g.norm() + group["weight_decay"] * p.norm())


class _LarsNan(LARS):
    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        if not group["adapt"]:
            return 1.0
        return group["trust_coefficient"] * p.norm() / (g.norm() + group["weight_decay"] * p.norm())


class _LarsAlwaysAdapts(LARS):
    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return super().q(p, g, {**group, "adapt": True})


class _LarsByShape(LARS):
    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return super().q(p, g, {**group, "adapt": p.ndim > 1})


class _LarsNeedsDecay(LARS):
    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return super().q(p, g, group) if group["weight_decay"] != 0 else 1.0


class _LarsNormOfSum(LARS):
    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        if not group["adapt"] or p.norm() == 0 or g.norm() == 0:
            return 1.0
        return group["trust_coefficient"] * p.norm() / (g + group["weight_decay"] * p).norm()


class _LarsNoTrust(LARS):
    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return super().q(p, g, {**group, "trust_coefficient": 1.0})


class _LarsInPlaceGradient(LARS):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        q = self.q(p, g, group)
        v = self.velocity(p, state)
        g.add_(p, alpha=group["weight_decay"])
        v.mul_(group["momentum"]).add_(group["lr"] * q * g)
        p.sub_(v)


class _LarsRebinds(LARS):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        v = self.velocity(p, state)
        v.mul_(group["momentum"]).add_(group["lr"] * self.q(p, g, group) * (g + group["weight_decay"] * p))
        p = p - v


class _LarsEps(LARS):
    def q(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        w_norm, g_norm = p.norm(), g.norm()
        if group["adapt"] and w_norm > 0 and g_norm > 0:
            return group["trust_coefficient"] * w_norm / (g_norm + group["weight_decay"] * w_norm + 1e-8)
        return 1.0


class _LarsDecayIfAdapt(LARS):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        super().one(p, g, group if group["adapt"] else {**group, "weight_decay": 0.0}, state)


class _LarsOwnDict(LARS):
    def velocity(self, p: Tensor, state: dict[str, Any]) -> Tensor:
        v: Tensor = self.__dict__.setdefault("velocities", {}).setdefault(id(p), torch.zeros_like(p))
        return v


# --- largebatch.lamb ------------------------------------------------------------------------------------------------


class _LambBase(torch.optim.Optimizer):
    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        adapt: bool = True,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapt": adapt}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, p.grad, group, self.state[p])

    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        r = self.adam(p, g, group, state) + group["weight_decay"] * p
        p.sub_(group["lr"] * self.ratio(p, r, g, group) * r)

    def adam(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        b1, b2 = group["betas"]
        state["step"] += 1
        m, v, t = state["exp_avg"], state["exp_avg_sq"], state["step"]
        m.mul_(b1).add_(g, alpha=1 - b1)
        v.mul_(b2).addcmul_(g, g, value=1 - b2)
        return (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + group["eps"])

    def ratio(self, p: Tensor, r: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        w_norm, r_norm = p.norm(), r.norm()
        return w_norm / r_norm if group["adapt"] and w_norm > 0 and r_norm > 0 else 1.0


class LAMB(_LambBase):
    pass


class _LambWithoutIf(_LambBase):
    def ratio(self, p: Tensor, r: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        w_norm, r_norm = torch.linalg.vector_norm(p), torch.linalg.vector_norm(r)
        one = torch.ones_like(w_norm)
        if not group["adapt"]:
            return one
        return torch.where(w_norm > 0, torch.where(r_norm > 0, w_norm / r_norm, one), one)


class _LambLikeAdamW(_LambBase):
    """Written as torch writes AdamW, with a step tensor and other names."""

    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        (b1, b2), wd = group["betas"], group["weight_decay"]
        if "m" not in state:
            state["t"] = torch.tensor(0.0)
            state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p)
        state["t"] += 1
        t = int(state["t"])
        state["m"].lerp_(g, 1 - b1)
        state["v"] = b2 * state["v"] + (1 - b2) * g.square()
        root = state["v"].sqrt() / math.sqrt(1 - b2**t)
        r = state["m"] / (root + group["eps"]) / (1 - b1**t) + wd * p
        ratio = 1.0
        if group["adapt"]:
            w2, r2 = float(p.pow(2).sum()), float(r.pow(2).sum())
            if w2 and r2:
                ratio = math.sqrt(w2 / r2)
        p.add_(r, alpha=-group["lr"] * ratio)


class _LambL2(_LambBase):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        r = self.adam(p, g + group["weight_decay"] * p, group, state)
        p.sub_(group["lr"] * self.ratio(p, r, g, group) * r)


class _LambGradientNorm(_LambBase):
    def ratio(self, p: Tensor, r: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return super().ratio(p, g, g, group)


class _LambUncorrected(_LambBase):
    def adam(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        super().adam(p, g, group, state)
        root: Tensor = state["exp_avg_sq"].sqrt() + group["eps"]
        return state["exp_avg"] / root


class _LambDecayOutside(_LambBase):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        r = self.adam(p, g, group, state)
        ratio = self.ratio(p, r, g, group)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(group["lr"] * ratio * r)


class _LambClamped(_LambBase):
    def ratio(self, p: Tensor, r: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return min(float(super().ratio(p, r, g, group)), 10.0)


class _LambClampedWeight(_LambBase):
    def ratio(self, p: Tensor, r: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        found = super().ratio(p, r, g, group)
        return found * p.norm().clamp(0, 10) / p.norm() if group["adapt"] and p.norm() > 0 else found


class _LambFrozenAtZero(_LambBase):
    def ratio(self, p: Tensor, r: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return p.norm() / r.norm() if group["adapt"] and r.norm() > 0 else 1.0


class _LambAlwaysAdapts(_LambBase):
    def ratio(self, p: Tensor, r: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return super().ratio(p, r, g, {**group, "adapt": True})


class _LambInside(_LambBase):
    def adam(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        super().adam(p, g, group, state)
        b1, b2 = group["betas"]
        t = state["step"]
        found: Tensor = state["exp_avg"] / (1 - b1**t) / (state["exp_avg_sq"] / (1 - b2**t) + group["eps"]).sqrt()
        return found


class _LambOwnDict(_LambBase):
    def adam(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        return super().adam(p, g, group, self.__dict__.setdefault("averages", {}).setdefault(id(p), {}))


class _LambCountsAfterwards(_LambBase):
    def adam(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        b1, b2 = group["betas"]
        t, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]
        m.mul_(b1).add_(g, alpha=1 - b1)
        v.mul_(b2).addcmul_(g, g, value=1 - b2)
        state["step"] += 1
        return (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + group["eps"])


class _LambDecayIfAdapt(_LambBase):
    def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        super().one(p, g, group if group["adapt"] else {**group, "weight_decay": 0.0}, state)


def _by_default(cls: Any, name: str) -> type:
    """The class, which reads one hyperparameter from self.defaults."""

    class ByDefault(cls):  # type: ignore[misc]
        def one(self, p: Tensor, g: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
            super().one(p, g, {**group, name: self.defaults[name]}, state)

    return ByDefault


class _LambNeedsDecay(_LambBase):
    def ratio(self, p: Tensor, r: Tensor, g: Tensor, group: dict[str, Any]) -> Any:
        return super().ratio(p, r, g, group) if group["weight_decay"] > 0 else 1.0


# --- the lists ------------------------------------------------------------------------------------------------------

ACCEPTED: dict[str, dict[str, Objects]] = {
    "largebatch.scaling": {
        "min": (linear_scaled_lr, sqrt_scaled_lr),
        "numpy and tensors": (_linear_as_array, _root_as_tensor),
        "lr per example, root of both": (_linear_by_example, _root_of_both),
    },
    "largebatch.warmup": {
        "share": (warmup_lr,),
        "by cases": (_warmup_by_cases,),
        "np.interp": (_warmup_by_interpolation,),
        "a 0-dim tensor": (_warmup_as_tensor,),
    },
    "largebatch.noise_scale": {
        "formulas": (noise_scale,),
        "solves two equations": (_noise_by_solving,),
        "floats in a list": (_noise_in_floats,),
        "a line through two points": (_noise_with_numpy,),
    },
    "largebatch.critical_batch": {
        "formulas": _critical(),
        "lstsq, sums": _critical(_steps_as_sum, _examples_as_sum, _fit_by_lstsq),
        "polyfit": _critical(fit=_fit_by_polyfit),
    },
    "largebatch.layer_ratios": {
        "norm": (layer_ratios,),
        "0-dim tensors": (_ratios_as_tensors,),
        "sums of squares": (_ratios_by_sums,),
        "numpy": (_ratios_by_numpy,),
    },
    "largebatch.lars": {
        "by formula": (LARS,),
        "torch.where": (_LarsWithoutIf,),
        "negative velocity": (_LarsNegative,),
    },
    "largebatch.lamb": {
        "by formula": (LAMB,),
        "torch.where": (_LambWithoutIf,),
        "like AdamW": (_LambLikeAdamW,),
    },
    **ranks.ACCEPTED,
}

MUTANTS: Mutants = {
    "largebatch.scaling": (
        ("G1", "base / target", _pair(lambda k: 1 / k)),
        ("G5", "k squared", _pair(lambda k: k * k)),
        ("G7", "no min", (_uncapped_linear, _uncapped_root)),
        ("G8", "exchanged", (sqrt_scaled_lr, linear_scaled_lr)),
        ("G62", "linear twice", (linear_scaled_lr, linear_scaled_lr)),
        ("G63", "root twice", (sqrt_scaled_lr, sqrt_scaled_lr)),
        ("G66", "max", _pair(lambda k: k, max)),
        ("G67", "//", (_floor_linear, _floor_root)),
        (
            "G64",
            "root of base_lr * k",
            (linear_scaled_lr, lambda base_lr, b, batch, lr_max: min((base_lr * batch / b) ** 0.5, lr_max)),
        ),
        ("G68", "k >= 1", _pair(lambda k: max(k, 1.0))),
    ),
    "largebatch.warmup": (
        ("G3", "target", _warmup(_steps, lambda share, low, high: high)),
        ("G9", "from 0", _warmup(_steps, lambda share, low, high: high * share)),
        ("G11", "n steps", _warmup(lambda epochs, n, batch: epochs * n, _line)),
        ("G12", "epochs", _warmup(lambda epochs, n, batch: epochs, _line)),
        ("G13", "n // B", _warmup(lambda epochs, n, batch: epochs * (n // batch), _line)),
        ("G90", "ceil of the whole", _warmup(lambda epochs, n, batch: math.ceil(epochs * n / batch), _line)),
        ("G91", "round(n / B)", _warmup(lambda epochs, n, batch: epochs * round(n / batch), _line)),
        ("G71", "n / B", _warmup(lambda epochs, n, batch: epochs * n / batch, _line)),
        ("G17", "factor", _warmup(_steps, lambda share, low, high: low ** (1 - share) * high**share)),
        ("G18", "jump", _warmup(_steps, lambda share, low, high: high if share >= 1 else low)),
        ("G20", "low + high * share", _warmup(_steps, lambda share, low, high: low + high * share)),
        ("G72", "high first", _warmup(_steps, lambda share, low, high: _line(share, high, low))),
        ("G73", "one epoch", _warmup(lambda epochs, n, batch: bool(epochs) * math.ceil(n / batch), _line)),
        ("G14", "no min", (_without_end,)),
        ("G15", "step + 1", (_counted_from_1,)),
        ("G19", "no test for 0", (_divides_by_zero,)),
    ),
    "largebatch.noise_scale": (
        ("G21", "mean of ratios", (_mean_of_ratios,)),
        ("G22", "biased", (_biased,)),
        ("G23", "swapped", (lambda a, b, m, n: noise_scale(a, b, n, m),)),
        ("G24", "norms", (_rooted,)),
        ("G25", "mean first", (_averaged_first,)),
        ("G31", "variance", (_between_draws,)),
        ("G26", "sum", (lambda a, b, m, n: noise_scale(a * len(a) ** 0.5, b * len(b) ** 0.5, m, n),)),
        ("G30", "mean", (lambda a, b, m, n: noise_scale(a / a.shape[1] ** 0.5, b / b.shape[1] ** 0.5, m, n),)),
    ),
    "largebatch.critical_batch": (
        ("G33", "B / B_crit", _critical(lambda b, s, c: s * (1 + b / c))),
        ("G80", "B_crit / B", _critical(examples=lambda b, e, c: e * (1 + c / b))),
        ("G34", "examples", _critical(lambda b, s, c: b * s + s * c)),
        ("G82", "steps", _critical(examples=lambda b, e, c: e / b + e / c)),
        ("G40", "s * c / b", _critical(lambda b, s, c: s * c / b)),
        ("G35", "in B", _critical(fit=_fit_in_sizes)),
        ("G41", "examples", _critical(fit=_fit_examples)),
        ("G84", "observed", _critical(fit=_fit_observed)),
        ("G83", "polyfit's order", _critical(fit=lambda b, s: (*fit_tradeoff(b, s)[1::-1], fit_tradeoff(b, s)[2]))),
    ),
    "largebatch.layer_ratios": (
        ("T11", "no root", _ratios_by(lambda t: (t * t).sum())),
        ("T12", "per layer", (_ratios_per_layer,)),
        ("T63", "split('.')[-1]", (lambda m: {n.split(".")[-1]: v for n, v in layer_ratios(m).items()},)),
        ("T13", "g / w", _ratios_by(torch.linalg.vector_norm, turned=True)),
        ("T14", "abs().sum()", _ratios_by(lambda t: t.abs().sum())),
        ("T15", "item()", (_ratios_in_floats,)),
        ("T17", "ord=2", _ratios_by(lambda t: torch.linalg.norm(t, ord=2) if t.ndim < 3 else t.norm())),
        ("T33", "abs().max()", _ratios_by(lambda t: t.abs().max())),
    ),
    "largebatch.lars": (
        ("T2", "lr * q * v", (_LarsHistory,)),
        ("T19", "lr * v", (_LarsTorchForm,)),
        ("T22", "q * g + wd * p", (_LarsDecayOutside,)),
        ("T1", "w / g", (_LarsNoDecayInRatio,)),
        ("T4", "g.norm() > 0", (_LarsFrozenAtZero,)),
        ("T18", "no test", (_LarsNan,)),
        ("T5", "always", (_LarsAlwaysAdapts,)),
        ("T24", "ndim > 1", (_LarsByShape,)),
        ("T3", "if wd", (_LarsNeedsDecay,)),
        ("T20", "(g + wd * p).norm()", (_LarsNormOfSum,)),
        ("T7", "1.0", (_LarsNoTrust,)),
        ("M10", "g.add_", (_LarsInPlaceGradient,)),
        ("M9", "p = p - v", (_LarsRebinds,)),
        ("T60", "by id(p)", (_LarsOwnDict,)),
        ("T61", "+ 1e-8", (_LarsEps,)),
        ("T62", "decay if adapt", (_LarsDecayIfAdapt,)),
        ("A27", "self.defaults['momentum']", (_by_default(LARS, "momentum"),)),
        ("A27", "self.defaults['weight_decay']", (_by_default(LARS, "weight_decay"),)),
        ("A27", "self.defaults['trust_coefficient']", (_by_default(LARS, "trust_coefficient"),)),
    ),
    "largebatch.lamb": (
        ("T8", "l2", (_LambL2,)),
        ("T9", "g.norm()", (_LambGradientNorm,)),
        ("T25", "m / sqrt(v)", (_LambUncorrected,)),
        ("T28", "p.mul_(1 - lr * wd)", (_LambDecayOutside,)),
        ("T27", "min(ratio, 10)", (_LambClamped,)),
        ("T27", "norm clamped to 10", (_LambClampedWeight,)),
        ("T4", "r.norm() > 0", (_LambFrozenAtZero,)),
        ("T5", "always", (_LambAlwaysAdapts,)),
        ("A1", "sqrt(v + eps)", (_LambInside,)),
        ("T60", "by id(p)", (_LambOwnDict,)),
        ("T51", "counted afterwards", (_LambCountsAfterwards,)),
        ("T62", "decay if adapt", (_LambDecayIfAdapt,)),
        ("A27", "self.defaults['betas']", (_by_default(LAMB, "betas"),)),
        ("A27", "self.defaults['eps']", (_by_default(LAMB, "eps"),)),
        ("T3", "if wd", (_LambNeedsDecay,)),
    ),
    **ranks.MUTANTS,
}
