"""`trajectory` and `scale_dependence` of notebook 04, and what goes wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]
Run = Callable[[Tensor, float], Tensor]

LR, ALPHA = 0.05, 0.9


def trajectory_with_torch(grads: Tensor, scale: float, eps: float) -> Tensor:
    """The reference: torch.optim.RMSprop fed with scaled gradients."""
    w = torch.nn.Parameter(torch.zeros_like(grads[0]))
    opt, rows = torch.optim.RMSprop([w], lr=LR, alpha=ALPHA, eps=eps), [torch.zeros_like(grads[0])]
    for g in grads:
        w.grad = scale * g
        opt.step()
        rows.append(w.detach().clone())
    return torch.stack(rows)


def _follow(used: Tensor, squared: Tensor, eps: float, lr: float, alpha: float, v: Tensor | None = None) -> Tensor:
    """Steps along `used`, divided by the root of the average of `squared`²."""
    w, v = torch.zeros_like(used[0]), torch.zeros_like(used[0]) if v is None else v
    rows = [w]
    for g, s in zip(used, squared, strict=True):
        v.mul_(alpha).addcmul_(s, s, value=1 - alpha)
        w = w - lr * g / (v.sqrt() + eps)
        rows.append(w)
    return torch.stack(rows)


def scale_dependence(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
    """The largest distance between scaled runs and the run at scale 1, relative to how far the latter goes."""
    plain = run(grads, 1.0)
    return float(max((run(grads, s) - plain).abs().max() for s in scales) / plain.abs().max())


class _Kept:
    """trajectory with an average that survives the call."""

    def __init__(self) -> None:
        self.v: dict[Any, Tensor] = {}

    def __call__(self, grads: Tensor, scale: float, eps: float) -> Tensor:
        v = self.v.setdefault(grads.shape[1:], torch.zeros_like(grads[0]))
        return _follow(scale * grads, scale * grads, eps, LR, ALPHA, v)


def _wrong_trajectory(fault: str) -> Callable[[Tensor, float, float], Tensor]:
    if fault == "kept":
        return _Kept()

    def trajectory(grads: Tensor, scale: float, eps: float) -> Tensor:
        g = scale * grads
        if fault == "changed":
            g = grads.mul_(scale)
        rows = {
            "ignored": lambda: _follow(grads, grads, eps, LR, ALPHA),
            "lr": lambda: _follow(grads, grads, eps, scale * LR, ALPHA),
            "lr too": lambda: _follow(g, g, eps, scale * LR, ALPHA),
            "lr back": lambda: _follow(g, g, eps, LR / scale, ALPHA),
            "eps too": lambda: _follow(g, g, scale * eps, LR, ALPHA),
            "not squared": lambda: _follow(g, grads, eps, LR, ALPHA),
            "only squared": lambda: _follow(grads, g, eps, LR, ALPHA),
            "divided": lambda: _follow(grads / scale, grads / scale, eps, LR, ALPHA),
            "default eps": lambda: _follow(g, g, 1e-8, LR, ALPHA),
            "default lr": lambda: _follow(g, g, eps, 0.01, ALPHA),
            "default alpha": lambda: _follow(g, g, eps, LR, 0.99),
            "corrected": lambda: _corrected(g, eps),
            "sgd": lambda: torch.cat([0 * g[:1], -LR * g.cumsum(0)]),
        }.get(fault, lambda: _follow(g, g, eps, LR, ALPHA))()
        if fault == "aliased":
            return rows[-1:].expand_as(rows)
        if fault == "steps":
            return torch.cat([0 * g[:1], rows[1:] - rows[:-1]])
        return -rows if fault == "up" else rows

    return trajectory


def _corrected(g: Tensor, eps: float) -> Tensor:
    w, v, rows = torch.zeros_like(g[0]), torch.zeros_like(g[0]), [torch.zeros_like(g[0])]
    for t, one in enumerate(g, start=1):
        v = ALPHA * v + (1 - ALPHA) * one * one
        w = w - LR * one / ((v / (1 - ALPHA**t)).sqrt() + eps)
        rows.append(w)
    return torch.stack(rows)


def _wrong_dependence(fault: str) -> Callable[[Run, Tensor, Sequence[float]], float]:
    def dependence(run: Run, grads: Tensor, scales: Sequence[float]) -> float:
        plain, scaled = run(grads, 1.0), [run(grads, s) for s in scales]
        length = plain.abs().max()
        apart = [(one - plain).abs().max() for one in scaled]
        return float(
            {
                "normalised": lambda: max(
                    (one / one.abs().max() - plain / length).abs().max() for one in scaled
                ),
                "own length": lambda: max(d / one.abs().max() for d, one in zip(apart, scaled, strict=True)),
                "longest": lambda: max(apart) / max(one.abs().max() for one in [plain, *scaled]),
                "lengths": lambda: max((one.abs().max() - length).abs() for one in scaled) / length,
                "absolute": lambda: max(apart),
                "last": lambda: apart[-1] / length,
                "first": lambda: apart[0] / length,
                "mean": lambda: sum(apart) / len(apart) / length,
                "end": lambda: max((one[-1] - plain[-1]).abs().max() for one in scaled) / length,
                "signed": lambda: max((one - plain).max() for one in scaled) / length,
                "to the first": lambda: max((one - scaled[0]).abs().max() for one in scaled) / scaled[0].abs().max(),
                "mean absolute": lambda: max((one - plain).abs().mean() for one in scaled) / plain.abs().mean(),
                "rms": lambda: max((one - plain).pow(2).mean().sqrt() for one in scaled) / plain.pow(2).mean().sqrt(),
                "elementwise": lambda: max(((one - plain) / plain).abs().max() for one in scaled),
                "elementwise, finite": lambda: max(
                    ((one - plain) / plain).nan_to_num().abs().max() for one in scaled
                ),
                "elementwise, moved": lambda: max(
                    ((one - plain)[1:] / plain[1:]).abs().max() for one in scaled
                ),
                "sum": lambda: sum(apart) / length,
                "outermost": lambda: max((run(grads, s) - plain).abs().max() for s in (min(scales), max(scales))) / length,
                "scaled by itself": lambda: max((run(s * grads, 1.0) - plain).abs().max() for s in scales) / length,
                "length of the end": lambda: max(apart) / plain[-1].abs().max(),
                "length, signed": lambda: max(apart) / plain.max(),
                "always 0": lambda: torch.zeros(()),
                "always 1": lambda: torch.ones(()),
            }[fault]()
        )  # fmt: skip

    return dependence


def functions(faults: Faults) -> tuple[Any, Any]:
    """Wrong `trajectory` and `scale_dependence`."""
    trajectory = _wrong_trajectory(faults["trajectory"]) if "trajectory" in faults else trajectory_with_torch
    return trajectory, _wrong_dependence(faults["dependence"]) if "dependence" in faults else scale_dependence


_TRAJECTORY, _PROPERTY = "equation (4.9)", "equation (4.10)"

ROWS: dict[str, Row] = {
    "R53": Row(
        "nothing depends on the scale, at any eps",
        "Either the gradients go in unscaled, or eps is scaled with them: both make the run scale free by construction. "
        "Feed scale * grads, and leave eps as it is: that is the whole point of the question.",
        _TRAJECTORY,
        {"trajectory": "eps too"},
        coincides="at scale 1, and nearly for tiny eps",
        also=({"trajectory": "ignored"},),
    ),
    "R54": Row(
        "the steps are multiplied by the scale",
        "Either lr is multiplied by scale, or v averages the unscaled gradients. The optimizer sees scale·g and nothing "
        "else: it goes into the numerator and into v, and lr stays.",
        _TRAJECTORY,
        {"trajectory": "lr"},
        coincides="at scale 1",
        also=({"trajectory": "lr too"}, {"trajectory": "not squared"}),
    ),
    "R55": Row(
        "the steps are divided by the scale",
        "Either lr is divided by scale, which is what SGD would need, or only v sees the scaled gradients. RMSProp needs "
        "nothing of the kind: feed scale·g, and leave lr as it is.",
        _TRAJECTORY,
        {"trajectory": "lr back"},
        coincides="at scale 1",
        also=({"trajectory": "only squared"},),
    ),
    "R59": Row(
        "divided by the scale",
        "You feed grads / scale.",
        _TRAJECTORY,
        {"trajectory": "divided"},
        coincides="at scale 1, and nearly for tiny eps",
    ),
    "R60": Row(
        "eps is not passed on",
        "The run has the default eps = 1e-8. Give your RMSprop the eps that trajectory was given.",
        "the docstring: eps",
        {"trajectory": "default eps"},
    ),
    "R61": Row(
        "another lr",
        "The run has the default lr = 0.01. The docstring asks for lr = 0.05.",
        "the docstring: lr = 0.05",
        {"trajectory": "default lr"},
    ),
    "R62": Row(
        "another alpha",
        "The run has the default alpha = 0.99. The docstring asks for alpha = 0.9.",
        "the docstring: alpha = 0.9",
        {"trajectory": "default alpha"},
    ),
    "R2": Row(
        "v is bias-corrected",
        "The run is that of the corrected form. The question is about RMSprop as torch has it.",
        "equations (4.4) and (4.8)",
        {"trajectory": "corrected"},
    ),
    "R63": Row(
        "plain gradient descent",
        "Nothing is divided: the steps are lr·scale·g. Use your RMSprop.",
        _TRAJECTORY,
        {"trajectory": "sgd"},
    ),
    "M5": Row(
        "the sign of the update",
        "The weights climb: the trajectory is the right one with the other sign.",
        "equation (4.4)",
        {"trajectory": "up"},
    ),
    "R64": Row(
        "steps in place of weights",
        "You return what each step adds. Row t is the weight after t steps.",
        "the docstring: what is returned",
        {"trajectory": "steps"},
    ),
    "R77": Row(
        "every row is the last weight",
        "`w.detach()` shares its memory with w, so all rows of the list change with it. Append `w.detach().clone()`.",
        "the docstring: row t is w after t steps",
        {"trajectory": "aliased"},
    ),
    "R65": Row(
        "state is kept from one call to the next",
        "The same call gives another answer the second time: the optimizer lives on. Make a new one in every call.",
        "the docstring: from w = 0 with a new optimizer",
        {"trajectory": "kept"},
        coincides="in the first call",
        by_rules=True,
    ),
    "M10": Row(
        "the gradients are changed",
        "`grads.mul_(scale)` and `grads *= scale` write into the caller's tensor. Make a new one: `scale * grads`.",
        "the docstring: grads stays as it is",
        {"trajectory": "changed"},
        coincides="at scale 1",
    ),
    "R66": Row(
        "divided by the length of the scaled run",
        "Normalised by its own length (or the longest of all) a run that goes 1000 times as far looks much the same, and SGD "
        "seems scale free too. Compare the weights as they are; only the result is divided, by how far the run at scale 1 "
        "goes.",
        _PROPERTY,
        {"dependence": "normalised"},
        coincides="for a run that is scale free",
        also=({"dependence": "own length"}, {"dependence": "longest"}),
    ),
    "R67": Row(
        "the distance is not relative",
        "Divide by the largest |w| of the run at scale 1, or the number depends on lr and on the number of steps.",
        _PROPERTY,
        {"dependence": "absolute"},
        coincides="for a run that is scale free",
    ),
    "R68": Row(
        "one scale decides",
        "You return the value of a single scale, or look at the smallest and the largest only. The largest over all scales "
        "is asked for.",
        _PROPERTY,
        {"dependence": "last"},
        coincides="for a run that is scale free, and for a single scale",
        also=({"dependence": "first"}, {"dependence": "outermost"}),
    ),
    "R69": Row(
        "averaged over the scales",
        "A mean (or a sum) over scales hides the one that matters, or counts it with the others. Take the largest.",
        _PROPERTY,
        {"dependence": "mean"},
        coincides="for a run that is scale free, and for a single scale",
        also=({"dependence": "sum"},),
    ),
    "R70": Row(
        "only the last point is compared",
        "Two runs can part and meet again. The largest distance over all steps is asked for.",
        _PROPERTY,
        {"dependence": "end"},
        coincides="for a run that is scale free",
    ),
    "R71": Row(
        "without the absolute value",
        "max(one − other) misses the coordinates in which the scaled run is below. Take .abs() first.",
        _PROPERTY,
        {"dependence": "signed"},
        coincides="for a run that is scale free",
    ),
    "R72": Row(
        "compared with the first scale instead of scale 1",
        "The yardstick is run(grads, 1.0), which need not be among the scales.",
        _PROPERTY,
        {"dependence": "to the first"},
        coincides="for a run that is scale free, or when the first scale is 1",
    ),
    "R78": Row(
        "only lengths are compared",
        "You compare how far the runs go. Two runs can go equally far to different places: take the largest |difference|.",
        _PROPERTY,
        {"dependence": "lengths"},
        coincides="for gradient descent, and for a run that is scale free",
    ),
    "R73": Row(
        "a mean in place of the largest",
        "Over many weights and steps a mean (or a root mean square) hides the one that went astray. Take the largest "
        "|difference|, and the largest |w|.",
        _PROPERTY,
        {"dependence": "rms"},
        also=({"dependence": "mean absolute"},),
        coincides="for a run that is scale free",
    ),
    "R74": Row(
        "divided weight by weight",
        "You divide each difference by its own weight: 0/0 in the first row, and later a weight near 0 decides. Divide by the "
        "largest |w| of all.",
        _PROPERTY,
        {"dependence": "elementwise"},
        coincides="for a run that is scale free",
        also=({"dependence": "elementwise, finite"}, {"dependence": "elementwise, moved"}),
    ),
    "R86": Row(
        "run is called with scaled gradients",
        "You call run(c * grads, 1.0). run scales by itself: run(grads, c). A method may do with c more than multiply.",
        "the docstring: run",
        {"dependence": "scaled by itself"},
        coincides="for methods that only see c·g",
        by_rules=True,
    ),
    "R92": Row(
        "divided by something else than the largest |w| of the run at scale 1",
        "The denominator is the largest |w| over all steps and weights: not that of the last row, and not the largest w "
        "without its absolute value.",
        _PROPERTY,
        {"dependence": "length of the end"},
        coincides="for a run that is scale free",
        also=({"dependence": "length, signed"},),
    ),
    "R87": Row(
        "a constant",
        "You return the same number whatever run does.",
        _PROPERTY,
        {"dependence": "always 0"},
        also=({"dependence": "always 1"},),
    ),
}
