"""Right and wrong answers to the exercises of `06_schedulers`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from autograder.answers import Mutants, Objects

Tensor = torch.Tensor
LossFn = Callable[[Tensor], Tensor]

# --- schedule.step --------------------------------------------------------------------------------------------------


def step(t: int, base_lr: float, step_size: int, gamma: float) -> float:
    return base_lr * gamma ** (t // step_size)


def step_in_a_loop(t: int, base_lr: float, step_size: int, gamma: float) -> float:
    lr = base_lr
    for k in range(1, t + 1):
        if k % step_size == 0:
            lr *= gamma
    return lr


def step_with_floor(t: int, base_lr: float, step_size: int, gamma: float) -> float:
    return base_lr * math.pow(gamma, math.floor(t / step_size))


def step_as_a_tensor(t: int, base_lr: float, step_size: int, gamma: float) -> Tensor:
    """A 0-dim tensor in float64 is a number too."""
    return torch.tensor(base_lr, dtype=torch.float64) * gamma ** divmod(t, step_size)[0]


# --- schedule.multistep ---------------------------------------------------------------------------------------------


def multistep(t: int, base_lr: float, milestones: Sequence[int], gamma: float) -> float:
    return base_lr * gamma ** sum(m <= t for m in milestones)


def multistep_in_a_loop(t: int, base_lr: float, milestones: Sequence[int], gamma: float) -> float:
    for m in milestones:
        if t >= m:
            base_lr *= gamma
    return base_lr


def multistep_with_numpy(t: int, base_lr: float, milestones: Sequence[int], gamma: float) -> Any:
    return base_lr * np.power(gamma, np.searchsorted(np.sort(milestones), t, side="right"))


def multistep_by_length(t: int, base_lr: float, milestones: Sequence[int], gamma: float) -> float:
    return base_lr * gamma ** len([m for m in sorted(milestones) if not m > t])


# --- schedule.exponential, inverse_time, staircase ------------------------------------------------------------------


def exponential(t: int, base_lr: float, gamma: float) -> float:
    return float(base_lr * gamma**t)


def exponential_by_logarithm(t: int, base_lr: float, gamma: float) -> float:
    return base_lr * math.exp(t * math.log(gamma))


def exponential_in_a_loop(t: int, base_lr: float, gamma: float) -> float:
    lr = base_lr
    for _ in range(t):
        lr = lr * gamma
    return lr


def exponential_by_product(t: int, base_lr: float, gamma: float) -> float:
    return math.prod([base_lr, *[gamma] * t])


def inverse_time(t: int, base_lr: float, decay_rate: float) -> float:
    return base_lr / (1 + decay_rate * t)


def inverse_time_by_power(t: int, base_lr: float, decay_rate: float) -> float:
    return float(base_lr * (1 + t * decay_rate) ** -1)


def inverse_time_by_factor(t: int, base_lr: float, decay_rate: float) -> float:
    factor = 1.0 / math.fsum([1.0, decay_rate * t])
    return factor * base_lr


def inverse_time_in_numpy(t: int, base_lr: float, decay_rate: float) -> Any:
    return np.divide(base_lr, 1 + decay_rate * np.float64(t))


def staircase(t: int, base_lr: float, decay_rate: float, interval: int) -> float:
    return base_lr / (1 + decay_rate * (t // interval))


def staircase_with_int(t: int, base_lr: float, decay_rate: float, interval: int) -> float:
    return base_lr / (1 + decay_rate * int(t / interval))


def staircase_of_inverse_time(t: int, base_lr: float, decay_rate: float, interval: int) -> float:
    return inverse_time(t // interval, base_lr, decay_rate)


def staircase_without_remainder(t: int, base_lr: float, decay_rate: float, interval: int) -> float:
    return base_lr / (1 + decay_rate * ((t - t % interval) / interval))


# --- schedule.polynomial and schedule.cosine ------------------------------------------------------------------------


def polynomial(t: int, base_lr: float, total_iters: int, power: float) -> float:
    return float(base_lr * (1 - min(t, total_iters) / total_iters) ** power)


def polynomial_with_if(t: int, base_lr: float, total_iters: int, power: float) -> float:
    if t >= total_iters:
        return 0.0
    return float(base_lr * ((total_iters - t) / total_iters) ** power)


def polynomial_from_below(t: int, base_lr: float, total_iters: int, power: float) -> float:
    return base_lr * math.pow(max(0.0, 1.0 - t / total_iters), power)


def polynomial_in_numpy(t: int, base_lr: float, total_iters: int, power: float) -> Any:
    return base_lr * np.clip(1 - t / total_iters, 0, 1) ** power


def cosine(t: int, base_lr: float, T_max: int, eta_min: float) -> float:
    return eta_min + (base_lr - eta_min) * (1 + math.cos(math.pi * t / T_max)) / 2


def cosine_as_a_square(t: int, base_lr: float, T_max: int, eta_min: float) -> float:
    """(1 + cos x)/2 = cos²(x/2)"""
    return eta_min + (base_lr - eta_min) * math.cos(math.pi * t / (2 * T_max)) ** 2


def cosine_as_a_mixture(t: int, base_lr: float, T_max: int, eta_min: float) -> Any:
    share = 0.5 * (1 + np.cos(t / T_max * np.pi))
    return share * base_lr + (1 - share) * eta_min


def cosine_in_torch(t: int, base_lr: float, T_max: int, eta_min: float) -> Tensor:
    angle = torch.tensor(math.pi * t / T_max, dtype=torch.float64)
    return eta_min + 0.5 * (base_lr - eta_min) * (1 + torch.cos(angle))


# --- schedule.restarts, cyclic, one_cycle ---------------------------------------------------------------------------


def restarts(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    T_i = T_0
    while t >= T_i:
        t, T_i = t - T_i, T_i * T_mult
    return cosine(t, base_lr, T_i, eta_min)


def restarts_recursively(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    if t < T_0:
        return cosine(t, base_lr, T_0, eta_min)
    return restarts_recursively(t - T_0, base_lr, T_0 * T_mult, T_mult, eta_min)


def restarts_step_by_step(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    into, length = 0, T_0
    for _ in range(t):
        into += 1
        if into == length:
            into, length = 0, length * T_mult
    return eta_min + (base_lr - eta_min) * (1 + math.cos(math.pi * into / length)) / 2


def restarts_from_a_list(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    starts, length = [0], T_0
    while starts[-1] <= t:
        starts.append(starts[-1] + length)
        length *= T_mult
    start, end = starts[-2:]
    return cosine(t - start, base_lr, end - start, eta_min)


def cyclic(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    tau = t % (step_size_up + step_size_down)
    share = tau / step_size_up if tau <= step_size_up else 1 - (tau - step_size_up) / step_size_down
    return base_lr + (max_lr - base_lr) * share


def cyclic_as_interpolation(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> Any:
    length = step_size_up + step_size_down
    return np.interp(t % length, [0, step_size_up, length], [base_lr, max_lr, base_lr])


def cyclic_as_the_lower_line(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    u = t % (step_size_up + step_size_down)
    share = min(u / step_size_up, (step_size_up + step_size_down - u) / step_size_down)
    return (1 - share) * base_lr + share * max_lr


def cyclic_as_torch(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    total, ratio = step_size_up + step_size_down, step_size_up / (step_size_up + step_size_down)
    x = 1.0 + t / total - math.floor(1 + t / total)
    scale = x / ratio if x <= ratio else (x - 1) / (ratio - 1)
    return base_lr + (max_lr - base_lr) * scale


def one_cycle(
    t: int, max_lr: float, total_steps: int, pct_start: float, div_factor: float, final_div_factor: float
) -> float:
    first = max_lr / div_factor
    top, end = pct_start * total_steps - 1, total_steps - 1
    if t <= top:
        return cosine(t, first, top, max_lr)  # type: ignore[arg-type]
    return cosine(t - top, max_lr, end - top, first / final_div_factor)  # type: ignore[arg-type]


def one_cycle_as_torch(
    t: int, max_lr: float, total_steps: int, pct_start: float, div_factor: float, final_div_factor: float
) -> float:
    first = max_lr / div_factor
    top = float(pct_start * total_steps) - 1
    phases = [(0.0, top, first, max_lr), (top, total_steps - 1, max_lr, first / final_div_factor)]
    start, end, low, high = phases[0] if t <= top else phases[1]
    return high + (low - high) / 2.0 * (math.cos(math.pi * (t - start) / (end - start)) + 1)


def one_cycle_in_numpy(
    t: int, max_lr: float, total_steps: int, pct_start: float, div_factor: float, final_div_factor: float
) -> Any:
    share = np.interp(t, [0, pct_start * total_steps - 1, total_steps - 1], [0, 1, 2])
    wave = (1 - np.cos(np.pi * share)) / 2
    low = max_lr / div_factor if share <= 1 else max_lr / div_factor / final_div_factor
    return low + (max_lr - low) * wave


# --- schedule.warmup_cosine and schedule.wsd ------------------------------------------------------------------------


def warmup_cosine(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * (start_factor + (1 - start_factor) * t / warmup)
    return cosine(t - warmup, base_lr, total - warmup, 0.0)


def warmup_cosine_interpolated(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> Any:
    line = np.interp(t, [0, warmup], [start_factor, 1.0])
    wave = 0.5 * (1 + math.cos(math.pi * max(t - warmup, 0) / (total - warmup)))
    return base_lr * line * wave


def warmup_cosine_as_a_mixture(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> float:
    low = start_factor * base_lr
    if t <= warmup:
        return (low * (warmup - t) + base_lr * t) / warmup
    angle = (t - warmup) / (total - warmup) * math.pi
    return base_lr * math.cos(angle / 2) ** 2


def wsd(t: int, base_lr: float, warmup: int, stable: int, decay: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * (start_factor + (1 - start_factor) * t / warmup)
    return base_lr * (1 - min(max(t - warmup - stable, 0), decay) / decay)


def wsd_with_four_cases(t: int, base_lr: float, warmup: int, stable: int, decay: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * start_factor + (base_lr - base_lr * start_factor) * (t / warmup)
    if t < warmup + stable:
        return base_lr
    if t < warmup + stable + decay:
        return base_lr * (warmup + stable + decay - t) / decay
    return 0.0


def wsd_interpolated(t: int, base_lr: float, warmup: int, stable: int, decay: int, start_factor: float) -> Any:
    places = [0, warmup, warmup + stable, warmup + stable + decay]
    return np.interp(t, places, [start_factor * base_lr, base_lr, base_lr, 0.0])


# --- wrong ones -----------------------------------------------------------------------------------------------------


def _step_late(t: int, base_lr: float, step_size: int, gamma: float) -> float:
    drops = 0
    while t > (drops + 1) * step_size:
        drops += 1
    return base_lr * gamma**drops


def _step_once(t: int, base_lr: float, step_size: int, gamma: float) -> float:
    return base_lr if t < step_size else base_lr * gamma


def _step_compounded(t: int, base_lr: float, step_size: int, gamma: float) -> float:
    lr = base_lr
    for k in range(t + 1):
        lr = lr * gamma ** (k // step_size)
    return lr


class _Remembers:
    """Keeps the lr between calls."""

    __name__ = "step"

    def __init__(self) -> None:
        self.lr: float | None = None
        self.seen = 0

    def __call__(self, t: int, base_lr: float, step_size: int, gamma: float) -> float:
        if self.lr is None:
            self.lr = base_lr
        self.seen += 1
        if self.seen % step_size == 0:
            self.lr *= gamma
        return self.lr + 1e-3 * self.seen


def _multi_late(t: int, base_lr: float, milestones: Sequence[int], gamma: float) -> float:
    for m in milestones:
        if t > m:
            base_lr = base_lr * gamma
    return base_lr


def _multi_set(t: int, base_lr: float, milestones: Sequence[int], gamma: float) -> float:
    return base_lr * gamma ** sum(t >= m for m in set(milestones))


def _multi_stops(t: int, base_lr: float, milestones: Sequence[int], gamma: float) -> float:
    for m in milestones:
        if t < m:
            break
        base_lr = base_lr * gamma
    return base_lr


def _one_cycle_wrong(top_less: int, end_less: int, end_of: str = "first") -> Callable[..., float]:
    def one_cycle(
        t: int, max_lr: float, total_steps: int, pct_start: float, div_factor: float, final_div_factor: float
    ) -> float:
        first, top, end = max_lr / div_factor, pct_start * total_steps - top_less, total_steps - end_less
        last = {"first": first, "max": max_lr}[end_of] / final_div_factor
        if t <= top:
            return first + (max_lr - first) * (1 - math.cos(math.pi * t / top)) / 2
        return last + (max_lr - last) * (1 + math.cos(math.pi * (t - top) / (end - top))) / 2

    return one_cycle


def _warm_at_once(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * t / warmup
    return base_lr * 0.5 * (1 + math.cos(math.pi * (t - warmup) / (total - warmup)))


def _warm_too_long(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * (start_factor + (1 - start_factor) * t / warmup)
    return base_lr * 0.5 * (1 + math.cos(math.pi * (t - warmup) / total))


def _warm_jumps(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * (start_factor + (1 - start_factor) * t / warmup)
    return base_lr * 0.5 * (1 + math.cos(math.pi * t / total))


def _restarts_late(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    length = T_0
    while t >= length + 1:
        t, length = t - length, length * T_mult
    return cosine(t, base_lr, length, eta_min)


def _restarts_of_T_0(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    length = T_0
    while t >= length:
        t, length = t - length, length * T_mult
    return cosine(t, base_lr, T_0, eta_min)


def _restarts_by_log(t: int, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> float:
    if T_mult == 1:
        return cosine(t % T_0, base_lr, T_0, eta_min)
    n = math.floor(math.log((t / T_0) * (T_mult - 1) + 1, T_mult))
    start = round(T_0 * (T_mult**n - 1) / (T_mult - 1))
    return cosine(t - start, base_lr, T_0 * T_mult**n, eta_min)


def _cycle_of(changed: Callable[..., tuple[Any, ...]]) -> Callable[..., float]:
    """A triangle of other numbers."""

    def cyclic(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
        return float(cyclic_as_interpolation(t, *changed(base_lr, max_lr, step_size_up, step_size_down)))

    return cyclic


def _only_once(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    places = [0, step_size_up, step_size_up + step_size_down]
    return float(np.interp(t, places, [base_lr, max_lr, base_lr]))


def _warm_held(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> float:
    return float(warmup_cosine_interpolated(min(t, total), base_lr, warmup, total, start_factor))


def _wsd_of(changed: Callable[..., tuple[Any, ...]]) -> Callable[..., float]:
    def wsd(t: int, base_lr: float, warmup: int, stable: int, decay: int, start_factor: float) -> float:
        return float(wsd_interpolated(t, *changed(base_lr, warmup, stable, decay, start_factor)))

    return wsd


def _wsd_goes_on(t: int, base_lr: float, warmup: int, stable: int, decay: int, start_factor: float) -> float:
    if t <= warmup + stable:
        return wsd(t, base_lr, warmup, stable, decay, start_factor)
    return base_lr * (warmup + stable + decay - t) / decay


def _wsd_falls_through(t: int, base_lr: float, warmup: int, stable: int, decay: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * (start_factor + (1 - start_factor) * t / warmup)
    if warmup + stable <= t < warmup + stable + decay:
        return base_lr * (1 - (t - warmup - stable) / decay)
    return base_lr


def _poly_short(t: int, base_lr: float, total_iters: int, power: float) -> float:
    return float(base_lr * (1 - min(t, total_iters - 1) / total_iters) ** power)


def _cyclic_of_two_ups(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    u = t % (2 * step_size_up)
    if u <= step_size_up:
        return base_lr + (max_lr - base_lr) * u / step_size_up
    return max_lr - (max_lr - base_lr) * (u - step_size_up) / step_size_down


def _cyclic_down_by_up(t: int, base_lr: float, max_lr: float, step_size_up: int, step_size_down: int) -> float:
    u = t % (step_size_up + step_size_down)
    return base_lr + (max_lr - base_lr) * (1 - abs(u - step_size_up) / step_size_up)


def _linear_ramp(
    t: int, max_lr: float, total_steps: int, pct_start: float, div_factor: float, final_div_factor: float
) -> float:
    top, first = pct_start * total_steps - 1, max_lr / div_factor
    if t <= top:
        return first + (max_lr - first) * t / top
    return one_cycle(t, max_lr, total_steps, pct_start, div_factor, final_div_factor)


def _warm_cut_off(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * max(start_factor, t / warmup)
    return cosine(t - warmup, base_lr, total - warmup, 0.0)


def _warm_one_on(t: int, base_lr: float, warmup: int, total: int, start_factor: float) -> float:
    if t < warmup:
        return base_lr * (start_factor + (1 - start_factor) * (t + 1) / warmup)
    return cosine(t - warmup, base_lr, total - warmup, 0.0)


def _wsd_late(t: int, base_lr: float, warmup: int, stable: int, decay: int, start_factor: float) -> float:
    if t <= warmup + stable:
        return wsd(t, base_lr, warmup, stable, decay, start_factor)
    return base_lr * max(1 - (t - 1 - warmup - stable) / decay, 0.0)


# --- schedule.plateau: one student's class, with the places where students differ -----------------------------------


class ReduceOnPlateau:
    """In a student's hand; subclasses change one method."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        many = isinstance(min_lr, (list, tuple))
        self.min_lrs = list(min_lr) if many else [min_lr] * len(optimizer.param_groups)  # type: ignore[arg-type]
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0

    def step(self, metric: Any) -> None:
        metric = float(metric)
        if self.better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.enough():
            self.reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def enough(self) -> bool:
        return self.num_bad_epochs > self.patience

    def better(self, metric: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        change = sign * self.threshold
        bound = self.best * (1 + change) if self.threshold_mode == "rel" else self.best + change
        return sign * metric > sign * bound

    def reduce(self) -> None:
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            new = max(group["lr"] * self.factor, low)
            if group["lr"] - new > self.eps:
                group["lr"] = new

    def state_dict(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class PlateauInOnePiece(ReduceOnPlateau):
    """Four written-out comparisons, and the cooldown first."""

    def step(self, metric: Any) -> None:
        current, best, threshold = float(metric), self.best, self.threshold
        if self.mode == "min":
            good = current < (best * (1 - threshold) if self.threshold_mode == "rel" else best - threshold)
        else:
            good = current > (best * (1 + threshold) if self.threshold_mode == "rel" else best + threshold)
        if good:
            self.best = current
        if good or self.cooldown_counter:
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        self.cooldown_counter = max(self.cooldown_counter - 1, 0)
        if self.num_bad_epochs == self.patience + 1:
            for i, group in enumerate(self.optimizer.param_groups):
                old = group["lr"]
                group["lr"] = old if old - max(old * self.factor, self.min_lrs[i]) <= self.eps else self._lower(old, i)
            self.num_bad_epochs, self.cooldown_counter = 0, self.cooldown

    def _lower(self, old: float, i: int) -> float:
        new = self.factor * old
        return self.min_lrs[i] if new < self.min_lrs[i] else new


class PlateauWithPatienceLeft(ReduceOnPlateau):
    """Counts downwards, in an attribute of its own."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.left = self.patience

    def step(self, metric: Any) -> None:
        if self.better(float(metric)):
            self.best, self.left = float(metric), self.patience
        else:
            self.left -= 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.left = self.cooldown_counter - 1, self.patience
        if self.left < 0:
            self.reduce()
            self.cooldown_counter, self.left = self.cooldown, self.patience


class _Impatient(ReduceOnPlateau):
    def enough(self) -> bool:
        return self.num_bad_epochs >= self.patience and self.num_bad_epochs > 0


class _FirstGroupOnly(ReduceOnPlateau):
    def reduce(self) -> None:
        group = self.optimizer.param_groups[0]
        new = max(group["lr"] * self.factor, self.min_lrs[0])
        group["lr"] = new if group["lr"] - new > self.eps else group["lr"]


class _NotWorse(ReduceOnPlateau):
    def better(self, metric: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        change = sign * self.threshold
        bound = self.best * (1 + change) if self.threshold_mode == "rel" else self.best + change
        return not sign * metric <= sign * bound


class _NoEps(ReduceOnPlateau):
    def reduce(self) -> None:
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            group["lr"] = max(group["lr"] * self.factor, low)


class _AlwaysMin(ReduceOnPlateau):
    def better(self, metric: float) -> bool:
        best = abs(self.best) if math.isinf(self.best) else self.best
        return metric < (best * (1 - self.threshold) if self.threshold_mode == "rel" else best - self.threshold)


class _NotesEveryImprovement(ReduceOnPlateau):
    def step(self, metric: Any) -> None:
        metric = float(metric)
        super().step(metric)
        if metric < self.best if self.mode == "min" else metric > self.best:
            self.best = metric


class _AlwaysMinus(ReduceOnPlateau):
    def better(self, metric: float) -> bool:
        bound = self.best * (1 - self.threshold) if self.threshold_mode == "rel" else self.best - self.threshold
        return metric < bound if self.mode == "min" else metric > bound


class _OfAbsoluteSize(ReduceOnPlateau):
    def better(self, metric: float) -> bool:
        if math.isinf(self.best):
            return super().better(metric)
        sign = -1 if self.mode == "min" else 1
        change = sign * self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1)
        return sign * metric > sign * (self.best + change)


class _EqualIsBetter(ReduceOnPlateau):
    def better(self, metric: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        change = sign * self.threshold
        bound = self.best * (1 + change) if self.threshold_mode == "rel" else self.best + change
        return sign * metric >= sign * bound


class _EpsIsEnough(ReduceOnPlateau):
    def reduce(self) -> None:
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            new = max(group["lr"] * self.factor, low)
            if group["lr"] - new >= self.eps:
                group["lr"] = new


class _OneLrForAll(ReduceOnPlateau):
    def reduce(self) -> None:
        old = self.optimizer.param_groups[0]["lr"]
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            new = max(old * self.factor, low)
            if old - new > self.eps:
                group["lr"] = new


class _KeepsTheGroups(ReduceOnPlateau):
    def __init__(self, optimizer: torch.optim.Optimizer, *given: Any, **options: Any) -> None:
        super().__init__(optimizer, *given, **options)
        self.groups = optimizer.param_groups


class _ComparesWithTheLast(ReduceOnPlateau):
    def step(self, metric: Any) -> None:
        super().step(metric)
        self.best = float(metric)


# --- schedule.protocol ----------------------------------------------------------------------------------------------


class Scheduler:
    """In a student's hand; subclasses change one method."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Callable[[int, float], float]) -> None:
        self.optimizer, self.schedule, self.t, self.stepped = optimizer, schedule, 0, False
        optimizer.register_step_post_hook(self._note_step)
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups]
        self.write()

    def _note_step(self, *_: Any) -> None:
        self.stepped = True

    def write(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.schedule(self.t, base)
        self.last = [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        self.look()
        self.t += 1
        self.write()

    def look(self) -> None:
        if self.t == 0 and not self.stepped:
            warnings.warn("call optimizer.step() before scheduler.step()", stacklevel=3)

    def get_last_lr(self) -> list[float]:
        return list(self.last)

    def state_dict(self) -> dict[str, Any]:
        return {"t": self.t, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.t, self.base_lrs = state["t"], list(state["base_lrs"])
        self.write()


class SchedulerByFormula(Scheduler):
    """Keeps nothing but t and the base lrs: the last lr is asked for again."""

    def write(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.get_last_lr(), strict=True):
            group["lr"] = lr

    def get_last_lr(self) -> list[float]:
        return [self.schedule(self.t, base) for base in self.base_lrs]


class SchedulerWithTorchsNames(Scheduler):
    """last_epoch, which starts at −1, and a state that also holds the last lrs."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Callable[[int, float], float]) -> None:
        self.optimizer, self.schedule, self.stepped, self.last_epoch = optimizer, schedule, False, -1
        optimizer.register_step_post_hook(self._note_step)
        for group in optimizer.param_groups:
            if "initial_lr" not in group:
                group["initial_lr"] = group["lr"]
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._next()

    def _next(self) -> None:
        self.last_epoch += 1
        self._last_lr = [self.schedule(self.last_epoch, base) for base in self.base_lrs]
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr

    def step(self) -> None:
        if self.last_epoch == 0 and not self.stepped:
            warnings.warn("the first lr is skipped", UserWarning, stacklevel=2)
        self._next()

    def get_last_lr(self) -> list[float]:
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in ("last_epoch", "base_lrs", "_last_lr")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr


class SchedulerThatAsksTheGroups(Scheduler):
    """The base lrs live in the groups, as torch's initial_lr; the state carries them along."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Callable[[int, float], float]) -> None:
        self.optimizer, self.schedule, self.t, self.stepped = optimizer, schedule, 0, False
        optimizer.register_step_post_hook(self._note_step)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.write()

    def write(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.get_last_lr(), strict=True):
            group["lr"] = lr

    def get_last_lr(self) -> list[float]:
        return [self.schedule(self.t, group["initial_lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"t": self.t, "base_lrs": [group["initial_lr"] for group in self.optimizer.param_groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.t = state["t"]
        for group, base in zip(self.optimizer.param_groups, state["base_lrs"], strict=True):
            group["initial_lr"] = base
        self.write()


class _SkipsTheFirst(Scheduler):
    def write(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.schedule(self.t + 1, base)
        self.last = [group["lr"] for group in self.optimizer.param_groups]


class _WritesBeforeItCounts(Scheduler):
    def step(self) -> None:
        self.look()
        self.write()
        self.t += 1


class _Compounds(Scheduler):
    def write(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule(self.t, group["lr"])
        self.last = [group["lr"] for group in self.optimizer.param_groups]


class _FirstGroup(Scheduler):
    def write(self) -> None:
        self.optimizer.param_groups[0]["lr"] = self.schedule(self.t, self.base_lrs[0])
        self.last = [self.schedule(self.t, base) for base in self.base_lrs]


class _FromTheCurrentLr(Scheduler):
    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Callable[[int, float], float]) -> None:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        super().__init__(optimizer, schedule)


class _ReadsTheGroups(Scheduler):
    def get_last_lr(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]


class _Silent(Scheduler):
    def look(self) -> None:
        pass


class _SavesAll(Scheduler):
    def state_dict(self) -> dict[str, Any]:
        return self.__dict__

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _ForgetsTheBase(Scheduler):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.t = state["t"]
        self.write()


class _SavesOnlyT(Scheduler):
    """The base lrs are read from the groups, which the optimizer may not have loaded yet."""

    def write(self) -> None:
        self.last = [self.schedule(self.t, group["initial_lr"]) for group in self.optimizer.param_groups]
        for group, lr in zip(self.optimizer.param_groups, self.last, strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        return {"t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.t = state["t"]
        self.write()


class _Pops(Scheduler):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.t, self.base_lrs = state.pop("t"), state.pop("base_lrs")
        self.write()


class _FlagOfItsOwn(Scheduler):
    called = False

    def look(self) -> None:
        if not self.called and not self.stepped:
            warnings.warn("call optimizer.step() before scheduler.step()", stacklevel=3)
        self.called = True


class _WritesLater(Scheduler):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.t, self.base_lrs = state["t"], state["base_lrs"]


# --- schedule.range_test --------------------------------------------------------------------------------------------


def _swept(
    w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int, explodes: float = 4.0
) -> tuple[list[float], list[float]]:
    w, lrs, losses = w0.clone(), [], []
    for k in range(steps):
        lr = lr_min * (lr_max / lr_min) ** (k / (steps - 1))
        w.requires_grad_()
        loss = loss_fn(w)
        if not torch.isfinite(loss) or loss.item() > explodes * min([*losses, loss.item()]):
            break
        lrs.append(lr)
        losses.append(loss.item())
        (g,) = torch.autograd.grad(loss, w)
        w = (w - lr * g).detach()
    return lrs, losses


def _smoothed(losses: Sequence[float]) -> Any:
    return np.convolve(losses, np.ones(5) / 5, mode="valid")


def range_test(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    lrs, losses = _swept(w0, loss_fn, lr_min, lr_max, steps)
    return lrs[int(np.argmin(_smoothed(losses))) + 2] / 10


def range_test_with_means_at_the_ends(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    """Works from the first loss on, however early the run explodes."""
    lrs, losses = _swept(w0, loss_fn, lr_min, lr_max, steps)
    smooth = [float(np.mean(losses[max(i - 2, 0) : i + 3])) for i in range(len(losses))]
    return lrs[smooth.index(min(smooth))] / 10


def range_test_steepest(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    """Where the logarithm of the loss falls fastest."""
    lrs, losses = _swept(w0, loss_fn, lr_min, lr_max, steps)
    return lrs[int(np.argmin(np.diff(_smoothed(np.log(losses))))) + 2] / 2


def range_test_steepest_logarithm(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    """Half the lr where the logarithm of the smoothed loss falls fastest."""
    lrs, losses = _swept(w0, loss_fn, lr_min, lr_max, steps)
    return lrs[int(np.argmin(np.gradient(np.log(_smoothed(losses))))) + 2] / 2


def _steepest_difference(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    lrs, losses = _swept(w0, loss_fn, lr_min, lr_max, steps)
    return lrs[int(np.argmin(np.diff(_smoothed(losses)))) + 2]


def range_test_before_the_explosion(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    return _swept(w0, loss_fn, lr_min, lr_max, steps, explodes=20.0)[0][-1] / 20


def range_test_with_backward(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> Tensor:
    """A parameter, SGD and backward; runs to the end, and lets nan be."""
    w = torch.nn.Parameter(w0.clone())
    opt = torch.optim.SGD([w], lr=lr_min)
    lrs, losses = torch.logspace(math.log10(lr_min), math.log10(lr_max), steps, dtype=torch.float64), []
    for lr in lrs:
        opt.param_groups[0]["lr"] = float(lr)
        opt.zero_grad()
        loss = loss_fn(w)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss))
        opt.step()
    return lrs[int(np.argmin(np.nan_to_num(losses, nan=np.inf)))] / 10


def _at_the_lowest(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    lrs, losses = _swept(w0, loss_fn, lr_min, lr_max, steps)
    return lrs[losses.index(min(losses))]


def _at_the_end(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    return _swept(w0, loss_fn, lr_min, lr_max, steps, explodes=100.0)[0][-1]


def _in_equal_distances(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    w, tried = w0.clone(), []
    for lr in np.linspace(lr_min, lr_max, steps).tolist():
        w.requires_grad_()
        loss = loss_fn(w)
        tried.append((loss.item(), lr))
        w = (w - lr * torch.autograd.grad(loss, w)[0]).detach()
    return min(tried)[1] / 10


def _without_steps(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    lrs = np.geomspace(lr_min, lr_max, steps).tolist()
    losses = [float(loss_fn(w0)) for _ in lrs]
    return lrs[int(np.argmin(losses))] / 10


def _on_w0_itself(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    tried = []
    for k in range(steps):
        lr = lr_min * (lr_max / lr_min) ** (k / (steps - 1))
        asked = w0.clone().requires_grad_()
        loss = loss_fn(asked)
        if tried and not loss.item() < 4 * min(tried)[0]:
            break
        tried.append((loss.item(), lr))
        w0 -= lr * torch.autograd.grad(loss, asked)[0]
    return min(tried)[1] / 10


def _the_loss(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    return min(_swept(w0, loss_fn, lr_min, lr_max, steps)[1])


def _one_number(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    _swept(w0, loss_fn, lr_min, lr_max, steps)
    return 3e-3


def _until_the_first_rise(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    w, before = w0.clone(), math.inf
    for k in range(steps):
        lr = lr_min * (lr_max / lr_min) ** (k / (steps - 1))
        w.requires_grad_()
        loss = loss_fn(w)
        if loss.item() > before:
            return lr / 10
        before = loss.item()
        w = (w - lr * torch.autograd.grad(loss, w)[0]).detach()
    return lr_max / 10


def _asks_twice(w0: Tensor, loss_fn: LossFn, lr_min: float, lr_max: float, steps: int) -> float:
    w, tried = w0.clone(), []
    for k in range(steps):
        lr = lr_min * (lr_max / lr_min) ** (k / (steps - 1))
        value = loss_fn(w).item()
        if tried and not value < 4 * min(tried)[0]:
            break
        tried.append((value, lr))
        w.requires_grad_()
        w = (w - lr * torch.autograd.grad(loss_fn(w), w)[0]).detach()
    return min(tried)[1] / 10


# --- schedule.log_uniform -------------------------------------------------------------------------------------------


def log_uniform(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return low * (high / low) ** torch.rand(n, generator=generator)


def log_uniform_by_logarithms(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    a, b = math.log10(low), math.log10(high)
    return 10 ** (a + (b - a) * torch.rand(n, generator=generator, dtype=torch.float64))


def log_uniform_in_place(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return torch.empty(n).uniform_(math.log(low), math.log(high), generator=generator).exp()


def log_uniform_from_above(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    """1 − u is uniform as well."""
    return high * (low / high) ** torch.rand(n, generator=generator)


def _uniform(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return torch.empty(n).uniform_(low, high, generator=generator)


def _two_bases(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return torch.pow(10.0, torch.empty(n).uniform_(math.log(low), math.log(high), generator=generator))


def _only_the_exponent(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return torch.empty(n).uniform_(math.log(low), math.log(high), generator=generator)


def _without_generator(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return low * (high / low) ** torch.rand(n)


def _grid_in_any_order(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return torch.logspace(math.log10(low), math.log10(high), n)[torch.randperm(n, generator=generator)]


def _drawn_once(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return torch.full((n,), low * (high / low) ** torch.rand(1, generator=generator).item())


def _log_spaced(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return torch.logspace(math.log10(low), math.log10(high), n)


# --- schedule.tensor_lr ---------------------------------------------------------------------------------------------


@torch.no_grad()
def cosine_lr_(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> None:
    lr.copy_(base_lr * (1 + torch.cos(math.pi * t / T_max)) / 2)


def cosine_lr_in_steps_(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> None:
    with torch.no_grad():
        lr.copy_(t).mul_(math.pi / T_max).cos_().add_(1).mul_(base_lr / 2)


def cosine_lr_as_a_square_(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> Tensor:
    """And returns lr."""
    return lr.copy_(base_lr * torch.cos(t * (math.pi / 2 / T_max)).square())


def cosine_lr_filled_(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> None:
    lr.fill_((torch.cos(math.pi * t / T_max) + 1) * (base_lr / 2))


def _fetches(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> None:
    lr.fill_(cosine(t.item(), base_lr, T_max, 0.0))  # type: ignore[arg-type]


def _rebinds(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> Tensor:
    return base_lr * (1 + torch.cos(math.pi * t / T_max)) / 2


def _exchanges_memory(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> None:
    lr.data = base_lr * (1 + torch.cos(math.pi * t / T_max)) / 2


def _holds_t(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> None:
    lr.copy_(base_lr * (1 + torch.cos(math.pi * torch.clamp(t, max=T_max) / T_max)) / 2)


def _twice(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> None:
    lr.copy_(base_lr * (1 + torch.cos(math.pi * t / T_max)))


def _counts(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> None:
    lr.copy_(base_lr * (1 + torch.cos(math.pi * t / T_max)) / 2)
    t += 1


ACCEPTED: dict[str, dict[str, Objects]] = {
    "schedule.step": {
        "a power": (step,),
        "a loop": (step_in_a_loop,),
        "math.floor": (step_with_floor,),
        "a 0-dim tensor": (step_as_a_tensor,),
    },
    "schedule.multistep": {
        "a sum": (multistep,),
        "a loop": (multistep_in_a_loop,),
        "numpy's searchsorted": (multistep_with_numpy,),
        "a list": (multistep_by_length,),
    },
    "schedule.exponential": {
        "a power": (exponential,),
        "through the logarithm": (exponential_by_logarithm,),
        "a loop": (exponential_in_a_loop,),
        "a product": (exponential_by_product,),
    },
    "schedule.inverse_time": {
        "a quotient": (inverse_time,),
        "a negative power": (inverse_time_by_power,),
        "a factor": (inverse_time_by_factor,),
        "numpy": (inverse_time_in_numpy,),
    },
    "schedule.staircase": {
        "whole division": (staircase,),
        "int": (staircase_with_int,),
        "inverse_time of intervals": (staircase_of_inverse_time,),
        "without the remainder": (staircase_without_remainder,),
    },
    "schedule.polynomial": {
        "min": (polynomial,),
        "if": (polynomial_with_if,),
        "max": (polynomial_from_below,),
        "numpy's clip": (polynomial_in_numpy,),
    },
    "schedule.cosine": {
        "the formula": (cosine,),
        "a squared cosine": (cosine_as_a_square,),
        "a mixture": (cosine_as_a_mixture,),
        "torch": (cosine_in_torch,),
    },
    "schedule.restarts": {
        "a loop over cycles": (restarts,),
        "a recursion": (restarts_recursively,),
        "step by step": (restarts_step_by_step,),
        "a list of starts": (restarts_from_a_list,),
    },
    "schedule.cyclic": {
        "two pieces": (cyclic,),
        "interpolation": (cyclic_as_interpolation,),
        "the lower of two lines": (cyclic_as_the_lower_line,),
        "as torch": (cyclic_as_torch,),
    },
    "schedule.one_cycle": {
        "two cosines": (one_cycle,),
        "phases as torch": (one_cycle_as_torch,),
        "interpolated share": (one_cycle_in_numpy,),
    },
    "schedule.warmup_cosine": {
        "two pieces": (warmup_cosine,),
        "a product": (warmup_cosine_interpolated,),
        "a mixture": (warmup_cosine_as_a_mixture,),
    },
    "schedule.wsd": {
        "held": (wsd,),
        "four cases": (wsd_with_four_cases,),
        "interpolation": (wsd_interpolated,),
    },
    "schedule.plateau": {
        "small methods": (ReduceOnPlateau,),
        "in one piece": (PlateauInOnePiece,),
        "counting down": (PlateauWithPatienceLeft,),
    },
    "schedule.protocol": {
        "one method that writes": (Scheduler,),
        "by the formula": (SchedulerByFormula,),
        "torch's names": (SchedulerWithTorchsNames,),
        "the groups keep the base lrs": (SchedulerThatAsksTheGroups,),
    },
    "schedule.range_test": {
        "a tenth of the lowest": (range_test,),
        "means at the ends": (range_test_with_means_at_the_ends,),
        "the steepest": (range_test_steepest,),
        "the steepest of the smoothed": (range_test_steepest_logarithm,),
        "before the explosion": (range_test_before_the_explosion,),
        "with backward": (range_test_with_backward,),
    },
    "schedule.log_uniform": {
        "a power": (log_uniform,),
        "logarithms": (log_uniform_by_logarithms,),
        "in place": (log_uniform_in_place,),
        "from above": (log_uniform_from_above,),
    },
    "schedule.tensor_lr": {
        "one line": (cosine_lr_,),
        "in steps": (cosine_lr_in_steps_,),
        "a squared cosine": (cosine_lr_as_a_square_,),
        "fill_ with a tensor": (cosine_lr_filled_,),
    },
}

MUTANTS: Mutants = {
    "schedule.step": (
        ("S8", "while and >", (_step_late,)),
        ("S19", "an if", (_step_once,)),
        ("S7", "a loop over factors", (_step_compounded,)),
        ("S17", "a quotient", (lambda t, base_lr, step_size, gamma: base_lr * gamma ** (t / step_size),)),
        ("S16", "a memory", (_Remembers(),)),
        ("S14", "a factor", (lambda t, base_lr, step_size, gamma: gamma ** (t // step_size),)),
        ("S13", "from 1", (lambda t, base_lr, step_size, gamma: base_lr * gamma ** ((t + 1) // step_size),)),
        ("S162", "ceil", (lambda t, base_lr, step_size, gamma: base_lr * gamma ** -(-t // step_size),)),
        ("S163", "t - 1", (lambda t, base_lr, step_size, gamma: base_lr * gamma ** math.floor((t - 1) / step_size),)),
    ),
    "schedule.multistep": (
        ("S8", "a strict if", (_multi_late,)),
        ("S25", "a set", (_multi_set,)),
        ("S26", "a break", (_multi_stops,)),
        ("S20", "in", (lambda t, base_lr, milestones, gamma: base_lr * (gamma if t in milestones else 1),)),
        (
            "S22",
            "divided",
            (lambda t, base_lr, milestones, gamma: base_lr / gamma ** sum(m <= t for m in milestones),),
        ),
    ),
    "schedule.exponential": (
        ("S7", "t(t+1)/2", (lambda t, base_lr, gamma: base_lr * gamma ** (t * (t + 1) / 2),)),
        ("S28", "exp", (lambda t, base_lr, gamma: base_lr * np.exp(-gamma * t),)),
        ("S23", "what is taken", (lambda t, base_lr, gamma: base_lr * (1 - gamma) ** t,)),
        ("S13", "from 1", (lambda t, base_lr, gamma: base_lr * gamma ** (t + 1),)),
        ("S15", "float32", (lambda t, base_lr, gamma: torch.tensor(base_lr) * torch.tensor(gamma) ** t,)),
        ("S29", "a line", (lambda t, base_lr, gamma: base_lr - t * base_lr * (1 - gamma),)),
    ),
    "schedule.inverse_time": (
        (
            "S7",
            "the seed's loop",
            (lambda t, base_lr, decay_rate: base_lr / math.prod(1 + decay_rate * k for k in range(t + 1)),),
        ),
        ("S32", "a power", (lambda t, base_lr, decay_rate: base_lr * (1 + decay_rate) ** -t,)),
        ("S35", "no brackets", (lambda t, base_lr, decay_rate: base_lr / 1 + decay_rate * t,)),
        ("S34", "times", (lambda t, base_lr, decay_rate: base_lr + base_lr * decay_rate * t,)),
        ("S33", "a line", (lambda t, base_lr, decay_rate: base_lr - base_lr * decay_rate * t,)),
        ("S164", "k / (k + t)", (lambda t, base_lr, decay_rate: base_lr / (1 + t / decay_rate),)),
    ),
    "schedule.staircase": (
        ("S17", "not whole", (lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * t / interval),)),
        (
            "S39",
            "left to right",
            (lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * t // interval),),
        ),
        ("S41", "no interval", (lambda t, base_lr, decay_rate, interval: base_lr / (1 + t * decay_rate),)),
        (
            "S18",
            "rounded",
            (lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * round(t / interval)),),
        ),
        (
            "S162",
            "ceil",
            (lambda t, base_lr, decay_rate, interval: base_lr / (1 + decay_rate * -(-t // interval)),),
        ),
        (
            "S7",
            "again and again",
            (
                lambda t, base_lr, decay_rate, interval: (
                    base_lr / math.prod(1 + decay_rate * (k // interval) for k in range(t + 1))
                ),
            ),
        ),
    ),
    "schedule.polynomial": (
        (
            "S43",
            "not held",
            (lambda t, base_lr, total_iters, power: base_lr * ((total_iters - t) / total_iters) ** power,),
        ),
        (
            "S44",
            "the power inside",
            (lambda t, base_lr, total_iters, power: base_lr - base_lr * (min(t, total_iters) / total_iters) ** power,),
        ),
        ("S45", "a line", (lambda t, base_lr, total_iters, power: base_lr * max(0, 1 - t / total_iters),)),
        (
            "S47",
            "a saw",
            (lambda t, base_lr, total_iters, power: base_lr * (1 - t / total_iters % 1.0) ** power,),
        ),
        ("S165", "held too early", (_poly_short,)),
        (
            "S46",
            "total_iters - 1",
            (lambda t, base_lr, total_iters, power: base_lr * (1 - min(t, total_iters) / (total_iters - 1)) ** power,),
        ),
        (
            "S2",
            "late",
            (lambda t, base_lr, total_iters, power: polynomial(max(t - 1, 0), base_lr, total_iters, power),),
        ),
    ),
    "schedule.cosine": (
        ("S6", "min", (lambda t, base_lr, T_max, eta_min: cosine_as_a_square(min(t, T_max), base_lr, T_max, eta_min),)),
        (
            "S51",
            "on top",
            (lambda t, base_lr, T_max, eta_min: eta_min + base_lr * (1 + np.cos(np.pi * t / T_max)) / 2,),
        ),
        ("S53", "no eta_min", (lambda t, base_lr, T_max, eta_min: base_lr * (1 + np.cos(np.pi * t / T_max)) / 2,)),
        (
            "S50",
            "a restart",
            (lambda t, base_lr, T_max, eta_min: cosine_as_a_mixture(t % T_max, base_lr, T_max, eta_min),),
        ),
        ("S54", "no half", (lambda t, base_lr, T_max, eta_min: 2 * cosine(t, base_lr, T_max, eta_min) - eta_min,)),
    ),
    "schedule.restarts": (
        ("S59", "equal cycles", (lambda t, base_lr, T_0, T_mult, eta_min: cosine(t % T_0, base_lr, T_0, eta_min),)),
        ("S60", "one cosine", (lambda t, base_lr, T_0, T_mult, eta_min: cosine_as_a_square(t, base_lr, T_0, eta_min),)),
        ("S62", "a late restart", (_restarts_late,)),
        ("S64", "T_0 inside", (_restarts_of_T_0,)),
        ("S66", "a logarithm", (_restarts_by_log,)),
    ),
    "schedule.cyclic": (
        ("S68", "one length", (_cycle_of(lambda b, m, up, down: (b, m, up, up)),)),
        ("S69", "swapped", (_cycle_of(lambda b, m, up, down: (b, m, down, up)),)),
        ("S70", "from the top", (_cycle_of(lambda b, m, up, down: (m, b, up, down)),)),
        ("S71", "on top", (_cycle_of(lambda b, m, up, down: (b, b + m, up, down)),)),
        ("S73", "one cycle", (_only_once,)),
        ("S166", "2 * step_size_up", (_cyclic_of_two_ups,)),
        ("S167", "down by up", (_cyclic_down_by_up,)),
    ),
    "schedule.one_cycle": (
        ("S78", "none", (_one_cycle_wrong(0, 0),)),
        ("S79", "one of two", (_one_cycle_wrong(0, 1),)),
        ("S80", "from the top", (_one_cycle_wrong(1, 1, "max"),)),
        ("S81", "a linear ramp", (_linear_ramp,)),
        ("S13", "early", (lambda t, *given, **named: one_cycle(t + 1, *given, **named),)),
    ),
    "schedule.warmup_cosine": (
        ("S4", "from 0", (_warm_at_once,)),
        ("S5", "T_max = total", (_warm_too_long,)),
        ("S88", "t in the cosine", (_warm_jumps,)),
        ("S168", "max", (_warm_cut_off,)),
        ("S169", "t + 1", (_warm_one_on,)),
        (
            "S6",
            "held",
            (_warm_held,),
        ),
    ),
    "schedule.wsd": (
        ("S4", "from 0", (_wsd_of(lambda b, w, s, d, f: (b, w, s, d, 0.0)),)),
        ("S95", "goes on", (_wsd_goes_on,)),
        ("S96", "from the start", (_wsd_of(lambda b, w, s, d, f: (b, w, max(s - w, 0), d, f)),)),
        ("S100", "falls through", (_wsd_falls_through,)),
        ("S170", "t - 1 in the decay", (_wsd_late,)),
    ),
    "schedule.plateau": (
        ("S101", ">=", (_Impatient,)),
        ("S9", "param_groups[0]", (_FirstGroupOnly,)),
        ("S107", "not worse", (_NotWorse,)),
        ("S118", "no eps", (_NoEps,)),
        ("S105", "always min", (_AlwaysMin,)),
        ("S106", "the last", (_ComparesWithTheLast,)),
        ("S171", "every improvement", (_NotesEveryImprovement,)),
        ("S172", "always minus", (_AlwaysMinus,)),
        ("S173", "abs(best)", (_OfAbsoluteSize,)),
        ("S108", "<=", (_EqualIsBetter,)),
        ("S174", ">= eps", (_EpsIsEnough,)),
        ("S114", "one lr for all", (_OneLrForAll,)),
        ("S128", "self.groups", (_KeepsTheGroups,)),
    ),
    "schedule.protocol": (
        ("S1", "t + 1", (_SkipsTheFirst,)),
        ("S2", "writes first", (_WritesBeforeItCounts,)),
        ("S7", "group['lr']", (_Compounds,)),
        ("S9", "param_groups[0]", (_FirstGroup,)),
        ("S10", "overwrites initial_lr", (_FromTheCurrentLr,)),
        ("S154", "the groups' lrs", (_ReadsTheGroups,)),
        ("S122", "no warning", (_Silent,)),
        ("S127", "no base", (_ForgetsTheBase,)),
        ("S128", "everything", (_SavesAll,)),
        ("S130", "writes later", (_WritesLater,)),
        ("S127", "only t", (_SavesOnlyT,)),
        ("S176", "pop", (_Pops,)),
        ("S175", "a flag", (_FlagOfItsOwn,)),
    ),
    "schedule.range_test": (
        ("S132", "the lowest", (_at_the_lowest,)),
        ("S133", "the last", (_at_the_end,)),
        ("S134", "linspace", (_in_equal_distances,)),
        ("S136", "no steps", (_without_steps,)),
        ("S139", "w0 itself", (_on_w0_itself,)),
        ("S140", "a loss", (_the_loss,)),
        ("S177", "3e-3", (_one_number,)),
        ("S181", "np.diff", (_steepest_difference,)),
        ("S178", "the first rise", (_until_the_first_rise,)),
        ("S179", "twice", (_asks_twice,)),
    ),
    "schedule.log_uniform": (
        ("S143", "uniform_", (_uniform,)),
        ("S144", "10 and e", (_two_bases,)),
        ("S145", "the exponent", (_only_the_exponent,)),
        ("S149", "no generator", (_without_generator,)),
        ("S150", "logspace", (_log_spaced,)),
        ("S150", "randperm", (_grid_in_any_order,)),
        ("S180", "one draw", (_drawn_once,)),
    ),
    "schedule.tensor_lr": (
        ("F2", "item", (_fetches,)),
        ("M9", "a new tensor", (_rebinds,)),
        ("S6", "clamp", (_holds_t,)),
        ("S54", "no half", (_twice,)),
        ("S152", "t += 1", (_counts,)),
        ("S155", "data", (_exchanges_memory,)),
    ),
}
