"""Data that works offline: real digits that come with the course, and MNIST-1D, made by a formula.

The digits are 1,797 images from the UCI repository (Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten
Digits", CC BY 4.0; see LICENSE-digits.txt). MNIST-1D follows Greydanus & Kobak (2024, arXiv 2011.14439).
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs (N, D) in float32 and labels (N,) in int64 (`two_digits`: float64), for training and for testing."""

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor

    def to(self, device: torch.device | str) -> Split:
        return Split(*(t.to(device) for t in (self.train_x, self.train_y, self.test_x, self.test_y)))


def digits(test: int = 360, seed: int = 0) -> Split:
    """8×8 images of the ten digits as rows of 64 numbers, shifted and scaled to mean 0 and variance 1 overall.

    Args:
        test: how many of the 1,797 images are held out, drawn at random by `seed`.
    """
    with files("utils.data").joinpath("digits.csv.gz").open("rb") as raw, gzip.open(raw, "rt") as text:
        table = np.loadtxt(text, delimiter=",")
    if not 0 < test < len(table):
        raise ValueError(f"test must be between 1 and {len(table) - 1}, not {test}")
    order = np.random.default_rng(seed).permutation(len(table))
    x, y = table[order, :64], table[order, 64]
    x = (x - x[test:].mean()) / x[test:].std()
    return _split(x, y, test)


def two_digits(negative: int = 1, positive: int = 8, test: int = 360, seed: int = 0) -> Split:
    """Two kinds of digits for a linear classifier: labels −1 and +1, a column of ones as input 65, all in float64.

    Args:
        negative, positive: the digits that are labelled −1 and +1.
        test, seed: as for `digits`; of the images held out those of the two kinds remain.
    """
    every = digits(test, seed)
    parts = []
    for x, y in ((every.train_x, every.train_y), (every.test_x, every.test_y)):
        wanted = (y == negative) | (y == positive)
        inputs = torch.cat([x[wanted].double(), torch.ones(int(wanted.sum()), 1, dtype=torch.float64)], dim=1)
        parts += [inputs, torch.where(y[wanted] == positive, 1.0, -1.0).double()]
    return Split(*parts)


def mnist1d(train: int = 4000, test: int = 1000, seed: int = 0) -> Split:
    """Ten kinds of one-dimensional "digits" as rows of 40 numbers: padded, shifted, scaled, sheared, noisy templates.

    Small enough for a CPU, and hard enough that models differ: a linear one stays near 32 % (Greydanus & Kobak).
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(train + test) % 10)
    rows = np.stack([_mnist1d_row(_TEMPLATES[label], rng) for label in labels])
    rows = (rows - rows[test:].mean()) / rows[test:].std()
    return _split(rows, labels.astype(np.float64), test)


def _split(x: Array, y: Array, test: int) -> Split:
    inputs, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.int64)
    return Split(inputs[test:], labels[test:], inputs[:test], labels[:test])


def _templates() -> Array:
    """The ten strokes of the paper's figure 1: twelve heights each, whitened, starting at 0."""
    heights = np.array(
        [
            [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
            [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
            [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
            [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
            [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
            [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
            [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
            [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
            [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
            [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
        ]
    )
    whitened = (heights - heights.mean(1, keepdims=True)) / heights.std(1, keepdims=True)
    result: Array = (whitened - whitened[:, :1]) / 6
    return result


_TEMPLATES = _templates()
_LENGTH = 40


def _mnist1d_row(template: Array, rng: np.random.Generator) -> Array:
    """One example: the paper's transformations with its default strengths."""
    padded = np.concatenate([template, np.zeros(rng.integers(36, 60))])
    row = np.interp(np.linspace(0, 1, 72), np.linspace(0, 1, len(padded)), padded)
    row *= 1 + 0.4 * rng.uniform(-1, 1)
    row = np.roll(row, rng.integers(0, 48))
    noise = np.convolve(rng.standard_normal(72 + 16), _SMOOTH, mode="valid")
    row += 0.25 * noise + 0.02 * rng.standard_normal(72)
    row -= 0.75 * rng.uniform(-1, 1) * np.linspace(-0.5, 0.5, 72)
    shrunk: Array = np.interp(np.linspace(0, 1, _LENGTH), np.linspace(0, 1, 72), row)
    return shrunk


def _gaussian(width: float) -> Array:
    """A smoothing kernel over 17 points."""
    weights: Array = np.exp(-0.5 * (np.arange(-8, 9) / width) ** 2)
    normalised: Array = weights / weights.sum()
    return normalised


_SMOOTH = _gaussian(2.0)
