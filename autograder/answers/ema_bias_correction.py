"""Right and wrong answers to the exercises of `02_ema_bias_correction`."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from autograder.answers import Mutants, Objects

Tensor = torch.Tensor

# --- ema.recursive --------------------------------------------------------------------------------------------------


def with_a_list(x: Tensor, beta: float) -> Tensor:
    m, rows = torch.zeros_like(x[0]), []
    for value in x:
        m = beta * m + (1 - beta) * value
        rows.append(m)
    return torch.stack(rows)


def into_a_tensor(x: Tensor, beta: float) -> Tensor:
    out = torch.empty_like(x)
    m = 0.0
    for t in range(x.shape[0]):
        out[t] = beta * m + (1 - beta) * x[t]
        m = out[t]
    return out


def with_lerp(x: Tensor, beta: float) -> Tensor:
    m = x.new_zeros(x.shape[1:])
    return torch.stack([m.lerp_(value, 1 - beta).clone() for value in x])


def with_accumulate(x: Tensor, beta: float) -> Tensor:
    """m + (1 − β)(x − m), through itertools."""
    averages = itertools.accumulate(x, lambda m, value: m + (1 - beta) * (value - m), initial=torch.zeros_like(x[0]))
    return torch.stack(list(averages)[1:])


def _swapped(x: Tensor, beta: float) -> Tensor:
    m, rows = torch.zeros_like(x[0]), []
    for value in x:
        m = (1 - beta) * m + beta * value
        rows.append(m)
    return torch.stack(rows)


def _first_value(x: Tensor, beta: float) -> Tensor:
    rows = [x[0]]
    for value in x[1:]:
        rows.append(beta * rows[-1] + (1 - beta) * value)
    return torch.stack(rows)


def _no_memory(x: Tensor, beta: float) -> Tensor:
    m = torch.zeros_like(x[0])
    return torch.stack([beta * m + (1 - beta) * value for value in x])


def _same_tensor(x: Tensor, beta: float) -> Tensor:
    m, rows = torch.zeros_like(x[0]), []
    for value in x:
        m.mul_(beta).add_(value, alpha=1 - beta)
        rows.append(m)
    return torch.stack(rows)


def _velocity(x: Tensor, beta: float) -> Tensor:
    out, m = torch.zeros_like(x), torch.zeros_like(x[0])
    for t in range(len(x)):
        m = beta * m + x[t]
        out[t] = m
    return out


def _kept_before(x: Tensor, beta: float) -> Tensor:
    out, m = torch.zeros_like(x), torch.zeros_like(x[0])
    for t in range(len(x)):
        out[t] = m
        m = beta * m + (1 - beta) * x[t]
    return out


def _within_x(x: Tensor, beta: float) -> Tensor:
    x[0] *= 1 - beta
    for t in range(1, len(x)):
        x[t] = beta * x[t - 1] + (1 - beta) * x[t]
    return x


def _without_the_first(x: Tensor, beta: float) -> Tensor:
    out = torch.zeros_like(x)
    for t in range(1, len(x)):
        out[t] = beta * out[t - 1] + (1 - beta) * x[t]
    return out


# --- ema.weights ----------------------------------------------------------------------------------------------------


def weights_by_age(t: int, beta: float) -> Tensor:
    return (1 - beta) * beta ** torch.arange(t - 1, -1, -1, dtype=torch.float64)


def weights_in_float32(t: int, beta: float) -> Tensor:
    return torch.tensor([(1 - beta) * beta ** (t - i) for i in range(1, t + 1)])


def weights_by_recursion(t: int, beta: float) -> Tensor:
    w = torch.zeros(t, dtype=torch.float64)
    for i in range(t):
        w = beta * w
        w[i] = 1 - beta
    return w


def weights_flipped(t: int, beta: float) -> Tensor:
    return ((1 - beta) * beta ** torch.arange(t)).flip(0)


def _newest_first(t: int, beta: float) -> Tensor:
    return (1 - beta) * beta ** torch.arange(t, dtype=torch.float64)


def _one_power_more(t: int, beta: float) -> Tensor:
    return torch.tensor([(1 - beta) * beta ** (t - i) for i in range(t)], dtype=torch.float64)


def _softly_normalised(t: int, beta: float) -> Tensor:
    w = beta ** torch.arange(t - 1, -1, -1, dtype=torch.float64)
    return w / w.sum()


def _powers_only(t: int, beta: float) -> Tensor:
    return torch.tensor([beta**k for k in reversed(range(t))], dtype=torch.float64)


# --- ema.corrected --------------------------------------------------------------------------------------------------


def corrected_by_rows(x: Tensor, beta: float) -> Tensor:
    rows = [m / (1 - beta**t) for t, m in enumerate(with_a_list(x, beta), start=1)]
    return torch.stack(rows)


def corrected_at_once(x: Tensor, beta: float) -> Tensor:
    t = torch.arange(1, len(x) + 1, dtype=torch.float64, device=x.device)
    divisor = (1 - beta**t).to(x.dtype)
    return into_a_tensor(x, beta) / divisor.reshape(-1, *[1] * (x.dim() - 1))


def corrected_with_a_power(x: Tensor, beta: float) -> Tensor:
    """Carries β^t along."""
    m, power, rows = torch.zeros_like(x[0]), 1.0, []
    for value in x:
        m, power = beta * m + (1 - beta) * value, power * beta
        rows.append(m / (1 - power))
    return torch.stack(rows)


def corrected_by_a_shrinking_rate(x: Tensor, beta: float) -> Tensor:
    """m̂ itself, moved by (1 − β)/(1 − β^t) of the way: no m is kept."""
    m_hat, rows = torch.zeros_like(x[0]), []
    for t, value in enumerate(x, start=1):
        m_hat = m_hat + (1 - beta) / (1 - beta**t) * (value - m_hat)
        rows.append(m_hat)
    return torch.stack(rows)


def _by(divisor: Callable[[float, int], float]) -> Objects:
    def ema_corrected(x: Tensor, beta: float) -> Tensor:
        return torch.stack([m / divisor(beta, t) for t, m in enumerate(with_a_list(x, beta))])

    return (ema_corrected,)


def _fed_back(x: Tensor, beta: float) -> Tensor:
    v, rows = torch.zeros_like(x[0]), []
    for t, value in enumerate(x, start=1):
        v = beta * v + (1 - beta) * value
        v = v / (1 - beta**t)
        rows.append(v)
    return torch.stack(rows)


def _times(x: Tensor, beta: float) -> Tensor:
    return torch.stack([m * (1 - beta**t) for t, m in enumerate(with_a_list(x, beta), start=1)])


def _twice(x: Tensor, beta: float) -> Tensor:
    return torch.stack([m / (1 - beta**t) for t, m in enumerate(_first_value(x, beta), start=1)])


def _by_integers(x: Tensor, beta: float) -> Tensor:
    divisor = 1 - beta ** torch.arange(1, x.shape[0] + 1, device=x.device)
    return into_a_tensor(x, beta) / divisor.reshape(-1, *[1] * (x.dim() - 1))


# --- ema.horizon ----------------------------------------------------------------------------------------------------


def beta_from_half_life(half_life: float) -> float:
    return 0.5 ** (1 / half_life)


def beta_by_logarithms(half_life: float) -> float:
    return math.exp(-math.log(2) / half_life)


def beta_in_torch(half_life: float) -> Tensor:
    return torch.exp2(torch.tensor(-1 / half_life, dtype=torch.float64))


def effective_window(beta: float) -> float:
    return 1 / (1 - beta)


def window_as_tensor(beta: float) -> Tensor:
    return torch.tensor(1 - beta, dtype=torch.float64).reciprocal()


def window_by_age(beta: float) -> float:
    """One more than the mean age."""
    return 1 + beta / (1 - beta)


def noise_gain(beta: float) -> float:
    return (1 - beta) / (1 + beta)


def gain_by_series(beta: float) -> float:
    return (1 - beta) ** 2 / (1 - beta**2)


def gain_by_hyperbola(beta: float) -> float:
    return 2 / (1 + beta) - 1


def _form(which: int, wrong: Callable[[float], Any]) -> Objects:
    forms: list[Callable[[float], Any]] = [beta_from_half_life, effective_window, noise_gain]
    forms[which] = wrong
    return tuple(forms)


# --- ema.parallel ---------------------------------------------------------------------------------------------------


def by_doubling(x: Tensor, beta: float) -> Tensor:
    y, k = (1 - beta) * x, 1
    while k < len(x):
        y = torch.cat([y[:k], y[k:] + beta**k * y[:-k]])
        k *= 2
    return y


def by_padded_doubling(x: Tensor, beta: float) -> Tensor:
    """In place on a copy that has room for the shifts."""
    T = len(x)
    y = (x * (1 - beta)).reshape(T, -1)
    for i in range(max(T - 1, 0).bit_length()):
        k = 2**i
        y = y + beta**k * F.pad(y, (0, 0, k, 0))[:T]
    return y.view_as(x)


def by_fft(x: Tensor, beta: float) -> Tensor:
    T = len(x)
    age = torch.arange(T, dtype=torch.float64, device=x.device)
    kernel = ((1 - beta) * beta**age).to(x.dtype)
    spectrum = torch.fft.rfft(kernel, 2 * T).reshape(-1, *[1] * (x.dim() - 1))
    return torch.fft.irfft(torch.fft.rfft(x, 2 * T, dim=0) * spectrum, 2 * T, dim=0)[:T]


def by_chunks(x: Tensor, beta: float) -> Tensor:
    """Triangular matrices within chunks of √T, and over the chunks' last values."""
    T = len(x)
    size = math.isqrt(T - 1) + 1
    rows = F.pad(x.reshape(T, -1), (0, 0, 0, -T % size)).view(-1, size, x[0].numel())
    y = _triangle(size, 0, beta, x) * (1 - beta) @ rows
    carry = _triangle(len(rows), 1, beta**size, x) @ y[:, -1]
    age = torch.arange(1, size + 1, dtype=torch.float64, device=x.device)
    y = y + (beta**age).to(x.dtype)[:, None] * carry[:, None]
    return y.reshape(-1, x[0].numel())[:T].reshape(x.shape)


def _triangle(size: int, offset: int, base: float, like: Tensor) -> Tensor:
    i = torch.arange(size, dtype=torch.float64, device=like.device)
    age = i[:, None] - i - offset
    return torch.where(age >= 0, base ** age.clamp(min=0), 0.0).to(like.dtype)


def by_cumsum_in_chunks(x: Tensor, beta: float) -> Tensor:
    """β^(−t) is harmless within a chunk that is short enough for it, here in float64."""
    T = len(x)
    size = max(1, min(T, int(600 / -math.log(beta)), 512))
    rows = F.pad(x.reshape(T, -1).double(), (0, 0, 0, -T % size)).view(-1, size, x[0].numel())
    power = beta ** torch.arange(size, dtype=torch.float64, device=x.device)[:, None]
    y = (1 - beta) * power * torch.cumsum(rows / power, 1)
    last = y[:, -1]
    k = 1
    while k < len(last):
        last = torch.cat([last[:k], last[k:] + beta ** (k * size) * last[:-k]])
        k *= 2
    carry = torch.cat([torch.zeros_like(last[:1]), last[:-1]])
    y = y + beta * power * carry[:, None]
    return y.reshape(-1, x[0].numel())[:T].reshape(x.shape).to(x.dtype)


def _overflowing(x: Tensor, beta: float) -> Tensor:
    powers = beta ** torch.arange(len(x), dtype=x.dtype, device=x.device)
    powers = powers.view(-1, *[1] * (x.dim() - 1))
    return (1 - beta) * powers * torch.cumsum(x * (1 / powers), dim=0)


def _overflowing_in_float64(x: Tensor, beta: float) -> Tensor:
    t = torch.arange(1, len(x) + 1, dtype=torch.float64, device=x.device).view(-1, *[1] * (x.dim() - 1))
    return ((1 - beta) * beta**t * torch.cumsum(beta ** (-t) * x, 0)).to(x.dtype)


def _one_more_each_round(x: Tensor, beta: float) -> Tensor:
    y, k = (1 - beta) * x, 1
    while k < len(x):
        y = torch.cat([y[:k], y[k:] + beta**k * y[:-k]])
        k += 1
    return y


def _stops_early(x: Tensor, beta: float) -> Tensor:
    y, k = (1 - beta) * x, 1
    while 2 * k < len(x):
        y = torch.cat([y[:k], y[k:] + beta**k * y[:-k]])
        k *= 2
    return y


def _from_the_future(x: Tensor, beta: float) -> Tensor:
    y, k = (1 - beta) * x, 1
    while k < len(x):
        new = y.clone()
        new[:-k] += beta**k * y[k:]
        y, k = new, 2 * k
    return y


def _scales_x(x: Tensor, beta: float) -> Tensor:
    x *= 1 - beta
    y, k = x, 1
    while k < len(x):
        y = torch.cat([y[:k], y[k:] + beta**k * y[:-k]])
        k *= 2
    return y


def _matrix(x: Tensor, beta: float) -> Tensor:
    T = len(x)
    weights = torch.stack([F.pad((1 - beta) * beta ** _ages(t, x), (0, T - t)) for t in (1,)])
    kernel = (1 - beta) * beta ** (_ages(T, x).flip(0)[:, None] - _ages(T, x).flip(0)).clamp(min=0)
    del weights
    return (torch.tril(kernel) @ x.reshape(T, -1)).reshape(x.shape)


def _ages(t: int, x: Tensor) -> Tensor:
    return torch.arange(t - 1, -1, -1, dtype=x.dtype, device=x.device)


def _beta_as_tensor(x: Tensor, beta: float) -> Tensor:
    b = torch.tensor(beta, device=x.device)
    y, k = (1 - b) * x, 1
    while k < len(x):
        y = torch.cat([y[:k], y[k:] + b**k * y[:-k]])
        k *= 2
    return y


def _python_loop(x: Tensor, beta: float) -> Tensor:
    out = torch.empty_like(x)
    m = torch.zeros_like(x[0])
    for t in range(len(x)):
        m = torch.lerp(m, x[t], 1 - beta)
        out[t] = m
    return out


def _in_numpy(x: Tensor, beta: float) -> Tensor:
    values, m = x.cpu().double().numpy().copy(), 0.0
    for t in range(len(values)):
        m = beta * m + (1 - beta) * values[t]
        values[t] = m
    return torch.as_tensor(values, dtype=x.dtype, device=x.device)


def _rounded_down(x: Tensor, beta: float) -> Tensor:
    y = (1 - beta) * x
    for i in range(int(math.log2(len(x)))):
        k = 2**i
        y = torch.cat([y[:k], y[k:] + beta**k * y[:-k]])
    return y


def _circular(x: Tensor, beta: float) -> Tensor:
    y = (1 - beta) * x
    for i in range(math.ceil(math.log2(len(x)))):
        y = y + beta ** (2**i) * torch.roll(y, 2**i, dims=0)
    return y


def _arange_on_cpu(x: Tensor, beta: float) -> Tensor:
    y = (1 - beta) * x
    for i in range(math.ceil(math.log2(len(x)))):
        keep = (torch.arange(len(x)) >= 2**i).to(x.dtype).view(-1, *[1] * (x.dim() - 1))
        y = y + keep * (beta ** (2**i) * torch.roll(y, 2**i, dims=0))
    return y


# --- ema.weights_average --------------------------------------------------------------------------------------------


class EMAModel(torch.nn.Module):
    """As given in the notebook; subclasses write `update`."""

    def __init__(self, model: torch.nn.Module, beta: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.beta, self.updates = beta, 0

    def forward(self, *inputs: Any) -> Any:
        return self.module(*inputs)


class WithLerp(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs) if self.updates == 0 else mine.lerp_(theirs, 1 - self.beta)
        for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        self.updates += 1


class ByStateDict(EMAModel):
    """Walks through the state dict; what is a parameter is averaged."""

    def update(self, model: torch.nn.Module) -> None:
        parameters = dict(self.module.named_parameters())
        with torch.no_grad():
            for name, theirs in model.state_dict().items():
                mine = self.module.state_dict()[name]
                if name in parameters and self.updates:
                    mine.mul_(self.beta).add_(theirs, alpha=1 - self.beta)
                else:
                    mine.copy_(theirs)
        self.updates += 1


class WithForeach(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        mine, theirs = list(self.module.parameters()), [p.detach() for p in model.parameters()]
        beta = self.beta if self.updates else 0.0
        torch._foreach_mul_(mine, beta)
        torch._foreach_add_(mine, theirs, alpha=1 - beta)
        for buffer, other in zip(self.module.buffers(), model.buffers(), strict=True):
            buffer.copy_(other)
        self.updates += 1


class ByData(EMAModel):
    """Writes through .data."""

    def update(self, model: torch.nn.Module) -> None:
        self.updates += 1
        if self.updates == 1:
            self.module.load_state_dict(model.state_dict())
            return
        for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
            mine.data = self.beta * mine.data + (1 - self.beta) * theirs.data
        for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.data.copy_(theirs.data)


class _NoFirstCopy(WithLerp):
    def __init__(self, model: torch.nn.Module, beta: float) -> None:
        super().__init__(model, beta)
        self.updates = 1


class _NoBuffers(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs if self.updates == 0 else self.beta * mine + (1 - self.beta) * theirs)
        self.updates += 1


class _AveragesAll(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        theirs = model.state_dict()
        for name, mine in self.module.state_dict().items():
            if self.updates and mine.is_floating_point():
                mine.copy_(self.beta * mine + (1 - self.beta) * theirs[name])
            else:
                mine.copy_(theirs[name])
        self.updates += 1


class _Graph(EMAModel):
    def update(self, model: torch.nn.Module) -> None:
        for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs if self.updates == 0 else self.beta * mine + (1 - self.beta) * theirs)
        for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        self.updates += 1


class _Shares(WithLerp):
    def update(self, model: torch.nn.Module) -> None:
        if self.updates == 0:
            for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
                mine.data = theirs.data
        super().update(model)


class _NeverCounts(WithLerp):
    def update(self, model: torch.nn.Module) -> None:
        super().update(model)
        self.updates = 0


class _Swapped(WithLerp):
    def __init__(self, model: torch.nn.Module, beta: float) -> None:
        super().__init__(model, 1 - beta)


class _Renames(EMAModel):
    """Parameters and buffers alike."""

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        for a, w in zip(self.module.parameters(), model.parameters(), strict=True):
            a = w.clone() if self.updates == 0 else self.beta * a + (1 - self.beta) * w
        for a, w in zip(self.module.buffers(), model.buffers(), strict=True):
            a = w.clone()
        del a
        self.updates += 1


class _RenamesLater(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        if self.updates == 0:
            self.module.load_state_dict(model.state_dict())
        for a, w in zip(self.module.parameters(), model.parameters(), strict=True):
            a = self.beta * a + (1 - self.beta) * w
        for a, w in zip(self.module.buffers(), model.buffers(), strict=True):
            a.copy_(w)
        self.updates += 1


class _RenamesFirst(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        for a, w in zip(self.module.parameters(), model.parameters(), strict=True):
            if self.updates == 0:
                a = w
            else:
                a.mul_(self.beta).add_(w, alpha=1 - self.beta)
        for a, w in zip(self.module.buffers(), model.buffers(), strict=True):
            a.copy_(w)
        self.updates += 1


class _DeepCopies(WithLerp):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        if self.updates == 0:
            self.module = copy.deepcopy(model)
        super().update(model)


class _AveragesTheStateDict(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        theirs = model.state_dict()
        for name, mine in self.module.state_dict().items():
            mine.copy_(theirs[name] if self.updates == 0 else self.beta * mine + (1 - self.beta) * theirs[name])
        self.updates += 1


class _AveragesInPlace(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        for mine, theirs in zip(self.module.state_dict().values(), model.state_dict().values(), strict=True):
            if self.updates == 0:
                mine.copy_(theirs)
            else:
                mine.mul_(self.beta).add_((1 - self.beta) * theirs)
        self.updates += 1


class _CopiesBuffersOnce(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        if self.updates == 0:
            self.module.load_state_dict(model.state_dict())
        else:
            for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
                mine.lerp_(theirs, 1 - self.beta)
        self.updates += 1


class _WritesIntoTheModel(EMAModel):
    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs if self.updates == 0 else self.beta * mine + (1 - self.beta) * theirs)
            theirs.copy_(mine)
        for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        self.updates += 1


ACCEPTED: dict[str, dict[str, Objects]] = {
    "ema.recursive": {
        "a list, stacked": (with_a_list,),
        "written into a tensor": (into_a_tensor,),
        "lerp_ and clone": (with_lerp,),
        "itertools.accumulate": (with_accumulate,),
    },
    "ema.weights": {
        "by age": (weights_by_age,),
        "a list in float32": (weights_in_float32,),
        "by recursion": (weights_by_recursion,),
        "flipped": (weights_flipped,),
    },
    "ema.corrected": {
        "row by row": (corrected_by_rows,),
        "one division": (corrected_at_once,),
        "β^t carried along": (corrected_with_a_power,),
        "a shrinking rate": (corrected_by_a_shrinking_rate,),
    },
    "ema.horizon": {
        "closed forms": (beta_from_half_life, effective_window, noise_gain),
        "logarithms and series": (beta_by_logarithms, window_by_age, gain_by_series),
        "0-dim tensors": (beta_in_torch, window_as_tensor, gain_by_hyperbola),
    },
    "ema.parallel": {
        "doubling": (by_doubling,),
        "doubling with pad": (by_padded_doubling,),
        "FFT": (by_fft,),
        "chunks": (by_chunks,),
        "cumsum in short chunks": (by_cumsum_in_chunks,),
    },
    "ema.weights_average": {
        "lerp_": (WithLerp,),
        "state dict": (ByStateDict,),
        "foreach": (WithForeach,),
        "through .data": (ByData,),
    },
}

MUTANTS: Mutants = {
    "ema.recursive": (
        ("E1", "swapped", (_swapped,)),
        ("E9", "m is never stored", (_no_memory,)),
        ("E10", "rows = [x[0]]", (_first_value,)),
        ("E11", "velocity", (_velocity,)),
        ("E12", "corrected", (corrected_by_rows,)),
        ("E13", "kept before the update", (_kept_before,)),
        ("E15", "works within x", (_within_x,)),
        ("E16", "rows.append(m)", (_same_tensor,)),
        ("E64", "range(1, T)", (_without_the_first,)),
    ),
    "ema.weights": (
        ("E18", "arange(t)", (_newest_first,)),
        ("E19", "range(t)", (_one_power_more,)),
        ("E20", "w / w.sum()", (_softly_normalised,)),
        ("E11", "powers only", (_powers_only,)),
    ),
    "ema.corrected": (
        ("E2", "plain", (with_a_list,)),
        ("E3", "enumerate from 0", _by(lambda beta, t: 1 - beta**t)),
        ("E3n", "t + 2", _by(lambda beta, t: 1 - beta ** (t + 2))),
        ("E3", "t from 0, + 1e-8", _by(lambda beta, t: 1 - beta**t + 1e-8)),
        ("E61", "1 - (1 - beta)**t", _by(lambda beta, t: 1 - (1 - beta) ** (t + 1))),
        ("E62", "arange of integers", (_by_integers,)),
        ("E4", "beta * t", _by(lambda beta, t: 1 - beta * (t + 1))),
        ("E4p", "(1 - beta)**t", _by(lambda beta, t: (1 - beta) ** (t + 1))),
        ("E5", "v = v / ...", (_fed_back,)),
        ("E6", "times", (_times,)),
        ("E8", "starts at x[0], corrected", (_twice,)),
        ("E10", "starts at x[0]", (_first_value,)),
        ("E23", "1 - beta", _by(lambda beta, t: 1 - beta)),
    ),
    "ema.horizon": (
        ("E7", "1 - 1/h", _form(0, lambda h: 1 - 1 / h)),
        ("E25", "exp(-1/h)", _form(0, lambda h: math.exp(-1 / h))),
        ("E26", "0.5**h", _form(0, lambda h: 0.5**h)),
        ("E62", "torch.tensor(2.)", _form(0, lambda h: torch.tensor(2.0) ** (-1 / h))),
        ("E62", "exp2 of a float32", _form(0, lambda h: torch.exp2(torch.tensor(-1 / h)))),
        ("E62", "a float of float32", _form(0, lambda h: (torch.tensor(2.0) ** (-1 / h)).item())),
        ("E62", "a gain of float32", _form(2, lambda beta: (1 - torch.tensor(beta)) / (1 + torch.tensor(beta)))),
        ("E29", "1/beta", _form(1, lambda beta: 1 / beta)),
        ("E30", "beta/(1-beta)", _form(1, lambda beta: beta / (1 - beta))),
        ("E34", "sqrt", _form(2, lambda beta: ((1 - beta) / (1 + beta)) ** 0.5)),
        ("E36", "1 - beta", _form(2, lambda beta: 1 - beta)),
    ),
    "ema.parallel": (
        ("E39", "x * (1/beta**t)", (_overflowing,)),
        ("E39", "powers in float64", (_overflowing_in_float64,)),
        ("E40", "tril", (_matrix,)),
        ("E41", "torch.tensor(beta)", (_beta_as_tensor,)),
        ("E42", "for t in range", (_python_loop,)),
        ("E43", "in numpy", (_in_numpy,)),
        ("E44", "arange on the CPU", (_arange_on_cpu,)),
        ("E45", "int(log2)", (_rounded_down,)),
        ("E45", "while 2*k < T", (_stops_early,)),
        ("E47", "roll", (_circular,)),
        ("E63", "new[:-k] +=", (_from_the_future,)),
        ("E65", "k += 1", (_one_more_each_round,)),
        ("E15", "x *= 1 - beta", (_scales_x,)),
    ),
    "ema.weights_average": (
        ("E48", "updates = 1", (_NoFirstCopy,)),
        ("E49", "parameters only", (_NoBuffers,)),
        ("E50", "the state dict averaged", (_AveragesAll,)),
        ("E52", "no no_grad", (_Graph,)),
        ("E53", "shares data", (_Shares,)),
        ("E54", "copied back", (_WritesIntoTheModel,)),
        ("E57", "a = … for all", (_Renames,)),
        ("E57", "a = … later", (_RenamesLater,)),
        ("E57", "a = w at first", (_RenamesFirst,)),
        ("E58", "deepcopy", (_DeepCopies,)),
        ("E59", "the state dict, copy_", (_AveragesTheStateDict,)),
        ("E59", "the state dict, mul_", (_AveragesInPlace,)),
        ("E60", "load_state_dict once", (_CopiesBuffersOnce,)),
        ("E55", "never counts", (_NeverCounts,)),
        ("E1", "1 - beta given", (_Swapped,)),
    ),
}
