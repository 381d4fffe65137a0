"""Averages of long series without a loop over time, and what goes wrong with them (rows E39 to E47, E63, E65)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]


def loop_in_float64(x: Tensor, beta: float) -> Tensor:
    """The reference: equation (2.1) one value after the other in Python's floats, rounded to x's dtype at the end."""
    columns = []
    for column in x.reshape(len(x), -1).T.tolist():
        m, rows = 0.0, []
        for value in column:
            m = beta * m + (1 - beta) * value
            rows.append(m)
        columns.append(rows)
    return torch.tensor(columns, dtype=torch.float64).T.reshape(x.shape).to(dtype=x.dtype, device=x.device)


def _shifted(y: Tensor, steps: int, how: str) -> Tensor:
    if how == "circular":
        return y.roll(steps, 0)
    if how == "forward":
        return torch.cat([y[steps:], torch.zeros_like(y[:steps])])
    return torch.cat([torch.zeros_like(y[:steps]), y[:-steps]])


def _doubling(x: Tensor, beta: float, faults: Faults) -> Tensor:
    """Equation (2.10), with faults."""
    base: Any = beta
    if "float32" in faults.get("beta", ""):
        base = torch.tensor(beta, dtype=torch.float32, device=x.device)
    only = faults.get("beta", "")
    new = 1 - (beta if only == "float32 powers" else base)
    powers = beta if only == "float32 rest" else base
    roles = faults.get("roles", "")
    if roles == "swapped":
        new, powers = beta, 1 - beta
    y = x * (1.0 if roles == "sum" else new)
    if faults.get("x") == "changed":
        y = x.mul_(new)
    if faults.get("start") == "first value":
        y = torch.cat([x[:1], y[1:]])
    if faults.get("rounds") == "one by one":
        for k in range(1, len(x)):
            y = y + powers**k * _shifted(y, k, "")
        return y
    rounds = math.log2(len(x)) if len(x) > 1 else 0
    for number in range(int(rounds) if faults.get("rounds") == "too few" else math.ceil(rounds)):
        factor = powers if faults.get("factor") == "beta" else powers**2**number
        y = y + factor * _shifted(y, 2**number, faults.get("shift", ""))
    return y


def _by_powers_in_float64(x: Tensor, beta: float) -> Tensor:
    return _by_powers(x.double(), beta).to(x.dtype)


def _by_powers(x: Tensor, beta: float) -> Tensor:
    """β^t · cumsum(x·β^−t): exact on paper."""
    t = torch.arange(len(x), device=x.device, dtype=x.dtype).view(-1, *[1] * (x.dim() - 1))
    return (1 - beta) * beta**t * torch.cumsum(x / beta**t, 0)


def _by_matrix(x: Tensor, beta: float) -> Tensor:
    """All weights as one T×T matrix."""
    t = torch.arange(len(x), device=x.device, dtype=x.dtype)
    age = t[:, None] - t
    kernel = torch.where(age >= 0, (1 - beta) * beta ** age.clamp(min=0), torch.zeros_like(age))
    return (kernel @ x.reshape(len(x), -1)).view(x.shape)


def _by_loop(x: Tensor, beta: float) -> Tensor:
    m, rows = torch.zeros_like(x[0]), []
    for value in x:
        m = beta * m + (1 - beta) * value
        rows.append(m)
    return torch.stack(rows)


def _on_cpu(x: Tensor, beta: float) -> Tensor:
    """Weights made without `device=`."""
    t = torch.arange(len(x), dtype=x.dtype).view(-1, *[1] * (x.dim() - 1))
    return _doubling(x * torch.ones_like(t), beta, {})


_WAYS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "powers": _by_powers,
    "powers in float64": _by_powers_in_float64,
    "matrix": _by_matrix,
    "loop": _by_loop,
    "host": loop_in_float64,
    "cpu": _on_cpu,
}


def parallel(faults: Faults) -> Callable[..., Tensor]:
    """`ema_parallel` of the notebook."""

    def ema_parallel(x: Tensor, beta: float) -> Tensor:
        if "way" in faults:
            return _WAYS[faults["way"]](x, beta)
        return _doubling(x, beta, faults)

    return ema_parallel


_2_10, _2_11 = "equation (2.10)", "equation (2.11)"

ROWS: dict[str, Row] = {
    "E39": Row(
        "β^(−t) overflows",
        "You scale x by β^(−t), sum, and scale back. On paper that is exact, but β^(−t) is inf as soon as it exceeds 3.4e38 "
        "in float32 (t = 128 for β = 0.5) or 1.8e308 in float64 (t = 1024), and inf·0 is nan.",
        _2_11,
        {"way": "powers"},
        coincides="as long as β^(−T) can be represented",
        also=({"way": "powers in float64"},),
    ),
    "E40": Row(
        "a T×T matrix of weights",
        "Memory grows as T²: 100,000 times need 40 GB. Most of those weights are 0 or far below rounding. Combine short "
        "stretches instead.",
        _2_10,
        {"way": "matrix"},
        coincides="in the values, as long as they fit",
    ),
    "E41": Row(
        "β rounded to float32",
        "β as a float32 tensor is off by up to 3e-8, so 1 − β and β^k are off by as much, and 1 − 0.9999 loses four digits. "
        "Compute weights with Python floats (or in float64) and round the result.",
        "section 5, the paragraph on rounding",
        {"beta": "float32"},
        coincides="for β that float32 can represent, such as 0.5",
        also=({"beta": "float32 rest"}, {"beta": "float32 powers"}),
    ),
    "E42": Row(
        "a loop over time",
        "Each time step launches its operations. 100,000 steps of three launches take more than a second on a GPU that would "
        "need less than a millisecond for all of them at once.",
        _2_10,
        {"way": "loop"},
        coincides="in the values",
    ),
    "E43": Row(
        "the series is fetched from the device",
        "`.tolist()`, `.item()`, `.cpu()` and `.numpy()` make Python wait for the device, and what comes next runs on "
        "the host. Stay with tensors on x's device.",
        "the docstring: no loop over time, nothing fetched from the device",
        {"way": "host"},
        coincides="in the values",
    ),
    "E44": Row(
        "a tensor is made on the CPU",
        "`torch.arange(T)` and `torch.zeros(T)` make CPU tensors. Give them `device=x.device`.",
        "the docstring: works on x's device",
        {"way": "cpu"},
        coincides="for a series on the CPU",
    ),
    "E45": Row(
        "one doubling too few",
        "The last round is missing: for T = 37 it takes 6 rounds (2⁶ = 64 ≥ 37), not 5. Go on while the shift is below T.",
        _2_10,
        {"rounds": "too few"},
        coincides="for a single value, and where the memory is much shorter than the last shift",
    ),
    "E46": Row(
        "every round multiplies by β",
        "What lies k steps back has aged by k steps: the factor is β^k, and k doubles in every round.",
        _2_10,
        {"factor": "beta"},
        coincides="in the first two rows",
    ),
    "E47": Row(
        "the end leaks into the beginning",
        "`torch.roll` and an FFT without padding are circular: the last values come in at the front. Fill with zeros "
        "instead (for an FFT, pad to twice the length).",
        _2_10,
        {"shift": "circular"},
        coincides="for a single step",
    ),
    "E63": Row(
        "looks into the future",
        "You add y[k:] to the rows that come k steps before: m_t then depends on later values. The older part is what "
        "lies k steps back: y[k:] + β^k·y[:-k].",
        _2_10,
        {"shift": "forward"},
        coincides="for a single value",
    ),
    "E65": Row(
        "the shift grows by 1 in each round",
        "After the round with shift k, y is made of the 2k newest values, so the next shift is 2k: `k *= 2`, not `k += 1`. "
        "Yours counts most values several times, and takes T rounds.",
        _2_10,
        {"rounds": "one by one"},
        coincides="in the first three rows",
    ),
    "E15": Row(
        "the series itself is overwritten",
        "x belongs to the caller. `x *= …` and `x.mul_(…)` write into it: make a new tensor, `y = (1 - beta) * x`.",
        "the docstring: x stays as it is",
        {"x": "changed"},
        coincides="in the numbers",
    ),
    "E1": Row(
        "β and 1 − β change places",
        "You compute the average with (1 − β)·m + β·x. β is the weight of the past.",
        "equation (2.1)",
        {"roles": "swapped"},
        coincides="for β = 0.5",
    ),
    "E11": Row(
        "a sum: the factor 1 − β is missing",
        "Each value comes in with the factor 1 − β.",
        "equation (2.1)",
        {"roles": "sum"},
    ),
    "E10": Row(
        "starts at the first value",
        "x_1 counts in full at the start. The average starts at 0, so x_1 is multiplied by 1 − β like all the others.",
        "equation (2.1)",
        {"start": "first value"},
    ),
}
