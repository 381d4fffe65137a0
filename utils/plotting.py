"""One look for all figures: Okabe–Ito colours with line styles of their own, titles that say something, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from utils.surfaces import Array, Surface

#: Okabe & Ito (2008), readable with every common form of colour blindness; yellow is left out (too pale for lines).
BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
)
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, BLACK, ORANGE, SKY)
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 2)))

#: Two-sided 95 % quantiles of Student's t for 1, 2, … degrees of freedom.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def style() -> None:
    """Set matplotlib's defaults for the course. Figures keep a white ground, which is legible in dark themes too."""
    plt.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=CYCLE) + cycler(linestyle=LINES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.alpha": 0.25,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
            "figure.dpi": 100,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
        }
    )


def panels(*titles: str, width: float = 4.2, height: float = 3.2, **more: Any) -> tuple[Figure, list[Axes]]:
    """A row of axes, one per title."""
    fig, axes = plt.subplots(1, len(titles), figsize=(width * len(titles), height), squeeze=False, **more)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    return fig, list(axes[0])


def interval(values: torch.Tensor | Array | Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval (Student's t) over independent runs."""
    array = np.asarray(values, dtype=float)
    n = len(array)
    if n < 2:
        return float(array.mean()), float("nan")
    t = _T95[n - 2] if n - 2 < len(_T95) else 1.96 + 2.6 / (n - 1)
    return float(array.mean()), float(t * array.std(ddof=1) / n**0.5)


def band(ax: Axes, values: torch.Tensor, label: str, index: int, smooth: int = 25, logarithmic: bool = False) -> None:
    """Draw runs (steps, members): the mean as a line, its 95 % interval as a band; a moving average over steps.

    `logarithmic`: mean and interval of the logarithms, for a logarithmic axis; on it, a plain interval of runs that spread
    over decades would reach below 0.
    """
    array = np.asarray(values, dtype=float)
    kernel = np.ones(smooth) / smooth
    rows = np.stack([np.convolve(run, kernel, mode="valid") for run in array.T])
    rows, back = (np.log(rows), np.exp) if logarithmic else (rows, np.asarray)
    mean = rows.mean(0)
    at = np.unique(np.r_[0 : len(mean) : 10, len(mean) - 1])
    half = np.array([interval(rows[:, i])[1] for i in at])
    x = np.arange(len(mean)) + smooth
    colour = CYCLE[index % len(CYCLE)]
    ax.plot(x, back(mean), color=colour, linestyle=LINES[index % len(LINES)], label=label)
    ax.fill_between(x[at], back(mean[at] - half), back(mean[at] + half), color=colour, alpha=0.18, linewidth=0)


def contours(ax: Axes, surface: Surface, levels: int = 18) -> None:
    """The surface's level lines, spaced so that the flat parts show as well."""
    left, right, bottom, top = surface.window
    x, y = np.meshgrid(np.linspace(left, right, 160), np.linspace(bottom, top, 160))
    z = surface.f(torch.tensor(x), torch.tensor(y)).numpy()
    z = np.cbrt(z - z.min())
    ax.contour(x, y, z, levels=levels, colors="0.6", linewidths=0.6)
    ax.set(xlim=(left, right), ylim=(bottom, top), xlabel="x", ylabel="y")
    ax.grid(False)
    ax.plot(*surface.goal, marker="*", color=BLACK, markersize=11, linestyle="none", zorder=5)


def quadratic_contours(ax: Axes, hessian: Array, minimum: Array, window: tuple[float, float, float, float]) -> None:
    """Level lines of ½ (w − minimum)ᵀ hessian (w − minimum) for two weights, and a star at the minimum."""
    left, right, bottom, top = window
    x, y = np.meshgrid(np.linspace(left, right, 120), np.linspace(bottom, top, 120))
    d = np.stack([x - minimum[0], y - minimum[1]])
    z = 0.5 * np.einsum("ixy,ij,jxy->xy", d, hessian, d)
    ax.contour(x, y, np.sqrt(z), levels=14, colors="0.6", linewidths=0.6)
    ax.plot(*minimum, marker="*", color=BLACK, markersize=11, linestyle="none", zorder=5)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.grid(False)


def paths(ax: Axes, surface: Surface, named: Mapping[str, Array], every: int = 10) -> None:
    """Several paths over the level lines, with a dot every few steps."""
    contours(ax, surface)
    for i, (label, path) in enumerate(named.items()):
        colour, line = CYCLE[i % len(CYCLE)], LINES[i % len(LINES)]
        ax.plot(path[:, 0], path[:, 1], color=colour, linestyle=line, label=label)
        ax.plot(path[::every, 0], path[::every, 1], ".", color=colour, markersize=4)


def legible(colour: Any, contrast: float = 4.5) -> tuple[float, float, float]:
    """The colour, darkened as far as words on white need it: WCAG 2.2's contrast of 4.5 for text.

    Lines are told apart by their style as well and may be paler than what is written beside them.
    """
    rgb = np.asarray(to_rgb(colour))
    while (1.05 / (_luminance(rgb) + 0.05)) < contrast:
        rgb = 0.95 * rgb
    red, green, blue = (float(part) for part in rgb)
    return red, green, blue


def _luminance(rgb: Array) -> float:
    """Relative luminance from 0 (black) to 1 (white) of an sRGB colour, as WCAG 2.2 defines it."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def label_ends(ax: Axes, gap: float = 0.055) -> None:
    """Write each line's label at its right end instead of a legend, kept apart vertically."""
    lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    ends = []
    ax.get_xlim(), ax.get_ylim()  # settles the limits: transData is stale before
    for line in lines:
        x, y = (np.asarray(data, dtype=float) for data in line.get_data())
        good = np.isfinite(x) & np.isfinite(y)
        if good.any():
            to_axes = ax.transData + ax.transAxes.inverted()
            ends.append([to_axes.transform((x[good][-1], y[good][-1]))[1], line])
    ends.sort(key=lambda end: end[0])
    lowest = -np.inf
    for end in ends:
        end[0] = lowest = max(min(max(end[0], 0.0), 1.0), lowest + gap)
    for height, line in ends:
        ax.annotate(
            str(line.get_label()),
            (1.01, height),
            xycoords="axes fraction",
            color=legible(line.get_color()),
            fontsize=9,
            va="center",
        )
