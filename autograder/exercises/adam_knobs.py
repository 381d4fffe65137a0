"""The mystery runs of `adam.which_knob`: AdamW on a linear regression, one hyperparameter turned per plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from autograder.evidence import Array, as_array
from autograder.probes import generator

KNOBS = ("lr", "beta1", "beta2", "weight_decay")
BASE: dict[str, float] = {"lr": 0.12, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0}
VALUES: dict[str, tuple[float, ...]] = {
    "lr": (0.03, 0.08, 0.2),
    "beta1": (0.0, 0.9, 0.98),
    "beta2": (0.3, 0.9, 0.999),
    "weight_decay": (0.0, 0.4, 1.2),
}
STEPS, EXAMPLES, BATCH = 60, 64, 8


@dataclass(frozen=True, eq=False)
class KnobPlot:
    """One plot: `paths` are (steps + 1, 2) weights (slope, intercept) for three values of one knob, low to high."""

    name: str
    paths: tuple[Array, ...]
    hessian: Array  # (2, 2) of the full loss, for the contours
    minimum: Array  # (2,)


def knob_order(seed: int) -> tuple[str, ...]:
    """Which knob is behind plots A, B, C, D."""
    return tuple(str(knob) for knob in generator(seed).permutation(list(KNOBS)))


def knob_runs(seed: int) -> tuple[KnobPlot, ...]:
    """The four plots, in the order of their letters."""
    x, y = _data()
    hessian = x.T @ x / EXAMPLES
    minimum = torch.linalg.solve(hessian, x.T @ y / EXAMPLES)
    return tuple(
        KnobPlot(
            letter,
            tuple(_run(x, y, {**BASE, knob: value}) for value in VALUES[knob]),
            as_array(hessian),
            as_array(minimum),
        )
        for letter, knob in zip("ABCD", knob_order(seed), strict=True)
    )


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    """Points around y = 1.6·x + 0.8, with a column of ones for the intercept."""
    rng = generator(11)
    x = torch.tensor(rng.uniform(-0.6, 1.8, EXAMPLES))
    noise = torch.tensor(rng.normal(0, 0.5, EXAMPLES))
    return torch.stack([x, torch.ones_like(x)], dim=1), 1.6 * x + 0.8 + noise


def _run(x: torch.Tensor, y: torch.Tensor, knobs: dict[str, Any]) -> Array:
    w = torch.nn.Parameter(torch.tensor([-1.0, 2.2], dtype=torch.float64))
    opt = torch.optim.AdamW(
        [w], lr=knobs["lr"], betas=(knobs["beta1"], knobs["beta2"]), weight_decay=knobs["weight_decay"]
    )
    rng, rows = generator(3), [w.detach().clone()]
    for _ in range(STEPS):
        batch = torch.tensor(rng.choice(EXAMPLES, BATCH, replace=False))
        residual = x[batch] @ w.detach() - y[batch]
        w.grad = x[batch].T @ residual / BATCH
        opt.step()
        rows.append(w.detach().clone())
    return as_array(torch.stack(rows))
