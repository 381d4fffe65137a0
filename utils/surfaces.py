"""Functions of two variables on which optimizers show their character, and the paths they take there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, np.dtype[np.float64]]
Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Surface:
    """f(x, y), where to start, what part of the plane to draw, and what makes it hard."""

    name: str
    f: Function
    start: tuple[float, float]
    window: tuple[float, float, float, float]  # x from, x to, y from, y to
    goal: tuple[float, float]  # a minimum
    character: str


RAVINE = Surface(
    "ravine",
    lambda x, y: 0.25 * ((x + y) ** 2 + 40 * (y - x) ** 2),  # along and across the diagonal
    (-3.6, -1.9),
    (-4.2, 1.9, -3.4, 1.9),
    (0.0, 0.0),
    "askew, 40 times steeper across",
)
SADDLE = Surface(
    "saddle",
    lambda x, y: 0.5 * x**2 - 0.5 * y**2 + 0.05 * y**4,
    (-2.0, 0.001),
    (-2.4, 1.6, -0.7, 3.8),
    (0.0, 5**0.5),
    "almost flat where the path enters it",
)
ROSENBROCK = Surface(
    "Rosenbrock",
    lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    (-1.2, 1.0),
    (-1.7, 1.5, -0.6, 2.2),
    (1.0, 1.0),
    "a bent valley with steep walls",
)


def descend(surface: Surface, make_optimizer: Callable[[Any], Any], steps: int) -> Array:
    """The path of an optimizer from the surface's start, shape (steps + 1, 2). `make_optimizer([w]) -> optimizer`."""
    w = torch.nn.Parameter(torch.tensor(surface.start, dtype=torch.float64))
    opt = make_optimizer([w])
    path = [w.detach().clone()]
    for _ in range(steps):
        w.grad = None
        surface.f(w[0], w[1]).backward()
        opt.step()
        path.append(w.detach().clone())
    return torch.stack(path).numpy()


def scaled(surface: Surface, factor: float) -> Surface:
    """The same surface in other units: f times a factor."""
    return replace(surface, f=lambda x, y: factor * surface.f(x, y))


def distances(surface: Surface, path: Array, most: float = 1e3) -> Array:
    """Distance of each point of a path to the surface's minimum, shape (len(path),); cut off at `most`."""
    away = np.linalg.norm(np.clip(np.nan_to_num(path, nan=most), -most, most) - np.array(surface.goal), axis=1)
    cut: Array = np.minimum(away, most)
    return cut


@dataclass(frozen=True, eq=False)
class TunedPath:
    """The best of several learning rates: its path, and how far above the minimum's value it ended."""

    lr: float
    path: Array
    gap: float


def tuned(surface: Surface, make_optimizer: Callable[..., Any], lrs: Array, steps: int) -> TunedPath:
    """Try `make_optimizer([w], lr=…)` for every lr.

    The best one has the lowest f on average over the steps, on a logarithmic scale above the minimum's value.
    """
    lowest = values(surface, np.array([surface.goal]))[0]
    tried = []
    for lr in lrs:
        path = descend(surface, partial(make_optimizer, lr=float(lr)), steps)
        gaps = np.clip(np.nan_to_num(values(surface, path) - lowest, nan=1e9), 1e-6, 1e9)
        tried.append((float(np.log10(gaps).mean()), TunedPath(float(lr), path, float(gaps[-1]))))
    return min(tried, key=lambda one: one[0])[1]


def values(surface: Surface, path: Array) -> Array:
    """f along a path, shape (len(path),)."""
    points = torch.tensor(path)
    return surface.f(points[:, 0], points[:, 1]).numpy()
