"""Pictures of a loss, lines between solutions, sharpness and initial weights: right ways and wrong ones (rows L1–L9, L54–L99).

Equation numbers are those of the notebook `07_loss_landscapes`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]

#: Rows of the catalogue that no check of code can see, and where the notebook deals with them.
ELSEWHERE = {
    "L7": "landscape.q5 (a path drawn on the plane through its end: the colours are not the losses that the path had)",
    "L8": "section 5 (the same function made sharper by rescaling) and landscape.q4",
}

# --- filter-wise normalised directions ------------------------------------------------------------------------------


def normalize_by_formula(direction: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """The reference: (7.10), filter by filter."""
    result = []
    for d, w in zip(direction, weights, strict=True):
        new = torch.zeros_like(d)
        for i in range(len(d) if d.dim() > 1 else 0):
            length = d[i].norm()
            if length > 0:
                new[i] = d[i] * (w[i].norm() / length)
        result.append(new)
    return result


def normalize_function(faults: Faults) -> tuple[Callable[..., Any]]:
    """`filter_normalize` with faults: unit, ratio, biases, zero, write."""

    def filter_normalize(direction: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
        every = torch.cat([d.reshape(-1) for d in direction]).norm(), torch.cat([w.reshape(-1) for w in weights]).norm()
        result = []
        for d, w in zip(direction, weights, strict=True):
            flat = d.dim() <= 1
            new = _bias(d, w, faults.get("biases", "zeroed")) if flat else _scaled(d, w, every, faults)
            if faults.get("write") == "in place":
                new = d.copy_(new)
            result.append(new)
        return result

    return (filter_normalize,)


def _bias(d: Tensor, w: Tensor, how: str) -> Tensor:
    if how == "kept":
        return d.clone()
    if how == "normalised":
        return torch.mul(d, w.norm() / d.norm())
    if how == "each":
        return d.sign() * w.abs()
    return w.clone() if how == "weight" else torch.zeros_like(d)


def _scaled(d: Tensor, w: Tensor, every: tuple[Tensor, Tensor], faults: Faults) -> Tensor:
    unit, ratio = faults.get("unit", "filter"), faults.get("ratio", "right")
    if unit == "none":
        return d.clone()
    if unit == "weight":
        return w.clone()
    dims = {"layer": tuple(range(d.dim())), "column": (0, *range(2, d.dim())), "kernel": tuple(range(2, d.dim()))}.get(
        unit, tuple(range(1, d.dim()))
    ) or (1,)
    a, b = (t.square().sum(dims, keepdim=True) for t in (d, w))
    if ratio != "squared":
        a, b = a.sqrt(), b.sqrt()
    if unit == "all":
        a, b = (one.expand_as(a) for one in every)
    if ratio == "inverted":
        a, b = b, a
    if ratio == "unit length":
        b = torch.ones_like(b)
    if ratio == "not divided":
        a = torch.ones_like(a)
    new = d * (b / a)
    return new if faults.get("zero") == "nan" else torch.where(a > 0, new, 0.0)


_7_10 = "equation (7.10)"

NORMALIZE_ROWS: dict[str, Row] = {
    "L1": Row(
        "the raw direction",
        "The random numbers are used as they are. A network with small weights then looks sharp and one with large "
        "weights flat, although they are the same function.",
        _7_10,
        {"unit": "none"},
    ),
    "L2": Row(
        "normalised by layer, or as one vector",
        "One norm for the whole tensor (or for all tensors together): a layer's small filters are moved as far as "
        "its large ones. Every filter has its own norm.",
        _7_10,
        {"unit": "layer"},
        also=({"unit": "all"},),
        coincides="for layers with a single filter",
    ),
    "L3": Row(
        "biases and norm layers move as well",
        "Tensors with fewer than two dimensions are left out of the picture: their direction is zero.",
        _7_10,
        {"biases": "kept"},
        also=({"biases": "normalised"}, {"biases": "each"}, {"biases": "weight"}),
        coincides="for a network without biases and norm layers",
    ),
    "L54": Row(
        "the ratio is upside down",
        "‖d‖/‖w‖ gives small filters the large moves. Divide by the direction's norm, multiply by the weight's.",
        _7_10,
        {"ratio": "inverted"},
    ),
    "L55": Row(
        "normalised along the wrong dimension",
        "Row i of a weight is what output i sees: filters are counted by dimension 0.",
        _7_10,
        {"unit": "column"},
    ),
    "L56": Row(
        "the weights themselves are the direction",
        "`d.copy_(w)` throws the random direction away: the picture then shows the way to zero weights.",
        _7_10,
        {"unit": "weight"},
    ),
    "L57": Row(
        "filters of length 1",
        "d/‖d‖ has forgotten how large the weights are: multiply by ‖w‖.",
        _7_10,
        {"ratio": "unit length"},
    ),
    "L58": Row(
        "multiplied by the weight's norm only",
        "d·‖w‖ still has the random length of d in it: divide by ‖d‖.",
        _7_10,
        {"ratio": "not divided"},
    ),
    "L59": Row(
        "squared norms",
        "Without the roots the ratio is squared.",
        _7_10,
        {"ratio": "squared"},
    ),
    "L60": Row(
        "each kernel by itself",
        "A filter of a convolution is everything that makes one output channel: all its input channels together.",
        _7_10,
        {"unit": "kernel"},
        coincides="for convolutions with one input channel",
    ),
    "L61": Row(
        "0/0 in a filter of zeros",
        "A filter whose direction is zero stays zero; 0/0 is nan, and one nan empties the whole picture.",
        "the docstring: a filter of zeros",
        {"zero": "nan"},
        coincides="when no filter's direction is zero",
    ),
    "L62": Row(
        "the direction is changed in place",
        "The caller's tensors are changed. Return new ones.",
        "the docstring: stay as they are",
        {"write": "in place"},
        coincides="in what is returned",
        by_rules=True,
    ),
}

# --- a surface in chunks --------------------------------------------------------------------------------------------

LossFn = Callable[[Tensor, Tensor, Tensor], Tensor]


def surface_function(faults: Faults) -> tuple[Callable[..., Any]]:
    """`loss_surface` with faults: points, batch, axes, loop, write, rows."""

    def loss_surface(
        loss_fn: LossFn, w: Tensor, d1: Tensor, d2: Tensor, alphas: Tensor, betas: Tensor, batches: Any, chunk_size: int
    ) -> Tensor:
        stream = iter(batches)
        batch = next(stream)
        if faults.get("axes") == "one":
            betas = alphas
        grids = torch.meshgrid(alphas, betas, indexing="ij")
        a, b = (grid.reshape(-1) for grid in grids)
        if faults.get("axes") == "swapped":
            a, b = b, a
        if faults.get("axes") == "xy":
            a, b = (grid.reshape(-1) for grid in torch.meshgrid(alphas, betas, indexing="xy"))
        if faults.get("loop"):
            return _looped(loss_fn, w, d1, d2, a, b, stream, batch, faults).reshape(len(alphas), len(betas))
        if faults.get("points") == "all at once":
            chunk_size = len(a)
        if faults.get("points") == "row by row":
            chunk_size = len(betas)
        if faults.get("points") == "half":
            chunk_size = max(1, chunk_size // 2)
        if faults.get("points") == "double":
            chunk_size *= 2
        whole = _points(w, d1, d2, a, b, faults) if faults.get("points") == "made before" else None
        losses = []
        for number, indices in enumerate(torch.arange(len(a)).split(chunk_size)):
            if faults.get("batch") == "each chunk" and number:
                batch = next(stream)
            first, last = int(indices[0]), int(indices[-1]) + 1
            here = _points(w, d1, d2, a[first:last], b[first:last], faults) if whole is None else whole[first:last]
            losses.append(_waited(torch.func.vmap(loss_fn, in_dims=(0, None, None))(here, *batch), faults))
        grid = torch.cat(losses).reshape(len(alphas), len(betas))
        return grid.T.contiguous() if faults.get("rows") == "columns" else grid

    return (loss_surface,)


def _waited(losses: Tensor, faults: Faults) -> Tensor:
    if faults.get("wait"):
        return torch.tensor(losses.tolist(), dtype=losses.dtype, device=losses.device)
    return losses


def _points(w: Tensor, d1: Tensor, d2: Tensor, a: Tensor, b: Tensor, faults: Faults) -> Tensor:
    moves = a[:, None] * d1 + b[:, None] * d2
    kind = faults.get("points")
    return moves if kind == "without w" else w - moves if kind == "backwards" else w + moves


def _looped(
    loss_fn: LossFn,
    w: Tensor,
    d1: Tensor,
    d2: Tensor,
    a: Tensor,
    b: Tensor,
    stream: Iterator[Any],
    batch: Any,
    faults: Faults,
) -> Tensor:
    losses = []
    for i in range(len(a)):
        if faults.get("batch") == "each point" and i:
            batch = next(stream)
        if faults.get("write") == "adds up":
            point = w.add_(a[i] * d1 + b[i] * d2)
        elif faults.get("write") == "not restored":
            w.add_(a[i] * d1 + b[i] * d2)
            losses.append(loss_fn(w, *batch))
            w.sub_(a[i] * d1 + b[i] * d2)
            continue
        else:
            point = w + a[i] * d1 + b[i] * d2
        losses.append(_waited(loss_fn(point, *batch), faults))
    return torch.stack(losses)


_7_11, _CHUNKS = "equation (7.11)", "section 6, the rules of a chunk"

SURFACE_ROWS: dict[str, Row] = {
    "L63": Row(
        "a loop over the points",
        "One evaluation of the loss per point: right, and hundreds of launches where one batched evaluation of a "
        "chunk takes a few. Give vmap chunk_size points at once.",
        _CHUNKS,
        {"loop": True},
        coincides="in the values",
        by_rules=True,
    ),
    "L64": Row(
        "more than chunk_size points at a time",
        "More points exist together than chunk_size allows: with all m² of them (also if they are made before they are "
        "cut into chunks) memory grows with the grid, and a large network stops with an out-of-memory error. Make "
        "chunk_size points inside the chunk: vmap over (α, β), or split those.",
        _CHUNKS,
        {"points": "all at once"},
        also=({"points": "made before"}, {"points": "double"}),
        coincides="in the values",
        by_rules=True,
    ),
    "L65": Row(
        "chunks of one row",
        "The grid is computed row by row, whatever chunk_size says. Take chunk_size points from the flattened grid, "
        "across rows.",
        _CHUNKS,
        {"points": "row by row"},
        coincides="in the values",
        by_rules=True,
    ),
    "L111": Row(
        "fewer than chunk_size points at a time",
        "The memory for chunk_size points is there: with smaller chunks there are more of them, and more launches.",
        _CHUNKS,
        {"points": "half"},
        coincides="in the values",
        by_rules=True,
    ),
    "L106": Row(
        "Python waits for the losses",
        "`.item()`, `float(…)` and `.tolist()` bring a number to Python, which then waits for all that was launched before. "
        "Keep the losses as tensors: torch.cat or torch.stack.",
        _CHUNKS,
        {"wait": True},
        also=({"loop": True, "wait": True},),
        coincides="in the values",
        by_rules=True,
    ),
    "L6": Row(
        "the weights wander",
        "Each point starts where the last one ended: w is moved and not brought back. Make a new tensor, w + α·d1 + "
        "β·d2, and leave w alone.",
        _7_11,
        {"loop": True, "write": "adds up"},
    ),
    "L9": Row(
        "another minibatch for every point",
        "The differences between neighbouring points are then noise of the minibatches, not shape of the surface. "
        "Take one minibatch, and use it for all points.",
        "the docstring: one minibatch",
        {"loop": True, "batch": "each point"},
        also=({"batch": "each chunk"},),
    ),
    "L66": Row(
        "α and β are swapped",
        "Row i belongs to alphas[i], which multiplies d1; column j to betas[j] and d2.",
        _7_11,
        {"axes": "swapped"},
        also=({"rows": "columns"}, {"axes": "xy"}),
    ),
    "L67": Row(
        "the surface is drawn around zero",
        "The points are α·d1 + β·d2; the trained weights w are missing.",
        _7_11,
        {"points": "without w"},
    ),
    "L68": Row(
        "the directions are subtracted",
        "The picture is turned by half a circle: add α·d1 + β·d2.",
        _7_11,
        {"points": "backwards"},
    ),
    "L69": Row(
        "the same numbers for both axes",
        "betas are ignored: the grid is square only if they have as many numbers as alphas.",
        _7_11,
        {"axes": "one"},
        coincides="when alphas and betas are the same",
    ),
}

# --- a line between two solutions -----------------------------------------------------------------------------------

State = Mapping[str, Tensor]


def interpolate_by_the_book(
    model: torch.nn.Module, state_a: State, state_b: State, alphas: Sequence[float], loss_fn: Any, X: Tensor, y: Tensor
) -> Tensor:
    """The reference: on a copy of the model, with torch.optim.swa_utils.update_bn."""
    a, own = copy.deepcopy(dict(state_a)), copy.deepcopy(model)
    losses = []
    for alpha in alphas:
        own.load_state_dict({key: (1 - alpha) * one + alpha * state_b[key] if one.is_floating_point() else one
                             for key, one in a.items()})  # fmt: skip
        torch.optim.swa_utils.update_bn([X], own)
        own.eval()
        with torch.no_grad():
            losses.append(loss_fn(own(X), y))
    return torch.stack(losses)


def interpolate_function(faults: Faults) -> tuple[Callable[..., Any]]:
    """`interpolate` with faults: alpha, stats, mode, copies, leave, tied, integers."""

    @torch.no_grad()
    def interpolate(
        model: torch.nn.Module,
        state_a: State,
        state_b: State,
        alphas: Sequence[float],
        loss_fn: Any,
        X: Tensor,
        y: Tensor,
    ) -> Tensor:
        start, training = copy.deepcopy(model.state_dict()), model.training
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
        momenta = [norm.momentum for norm in norms]
        a = dict(state_a) if faults.get("copies") == "live" else copy.deepcopy(dict(state_a))
        losses = []
        for alpha in alphas:
            if faults.get("alpha") == "clipped":
                alpha = min(max(alpha, 0.0), 1.0)
            _load(model, a, state_b, 1 - alpha if faults.get("alpha") == "swapped" else alpha, faults)
            _statistics(model, norms, X, faults.get("stats", "recomputed"))
            model.train(faults.get("mode") == "train")
            losses.append(loss_fn(model(X), y))
        _leave(model, start, training, norms, momenta, faults.get("leave", "as it was"))
        return torch.stack(losses)

    return (interpolate,)


def _load(model: torch.nn.Module, a: State, b: State, alpha: float, faults: Faults) -> None:
    stats = faults.get("stats", "recomputed")
    new: dict[str, Tensor] = {}
    for key, one in a.items():
        mixed = (1 - alpha) * one + alpha * b[key]
        buffer = "running" in key
        if not one.is_floating_point():
            new[key] = torch.lerp(one, b[key], alpha) if faults.get("integers") == "averaged" else one
        elif buffer and stats in ("of a", "of b"):
            new[key] = one if stats == "of a" else b[key]
        elif _stays(key, faults.get("tied")) and not buffer:
            new[key] = one
        else:
            new[key] = mixed
    if faults.get("tied") == "values in turn":
        new = {key: (1 - alpha) * one + alpha * other if one.is_floating_point() else one
               for (key, one), other in zip(a.items(), b.values(), strict=True)}  # fmt: skip
    if faults.get("tied") == "by position":
        for p, one, other in zip(model.parameters(), a.values(), b.values(), strict=False):
            p.copy_((1 - alpha) * one + alpha * other)
    else:
        model.load_state_dict(new)


def _stays(key: str, which: str | None) -> bool:
    """Is this weight forgotten when the others move?"""
    return (
        (which == "norms left" and "norm" in key)
        or (which == "weights only" and key.endswith("bias"))
        or (which == "parameters only" and key.endswith("factor"))
    )


def _statistics(model: torch.nn.Module, norms: Sequence[Any], X: Tensor, how: str) -> None:
    if how in ("of a", "of b", "interpolated"):
        return
    for norm in norms:
        if how not in ("a tenth", "not reset"):
            norm.reset_running_stats()
        norm.momentum = 0.1 if how in ("a tenth", "a tenth from zero") else None
    model.train()
    model(X)


def _leave(
    model: torch.nn.Module, start: State, training: bool, norms: Sequence[Any], momenta: Sequence[Any], how: str
) -> None:
    if how != "moved":
        model.load_state_dict(start)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = None if how == "momentum" else momentum
    model.train(training if how != "mode" else False)


_7_12, _7_13 = "equation (7.12)", "equation (7.13)"

INTERPOLATE_ROWS: dict[str, Row] = {
    "L4": Row(
        "the statistics of an end point",
        "The weights are interpolated, and the norm layers still normalise with the running mean and variance of "
        "one end: they belong to another network. The loss in the middle then looks like a mountain.",
        _7_13,
        {"stats": "of a"},
        also=({"stats": "of b"},),
    ),
    "L70": Row(
        "the running statistics are interpolated",
        "The mean of two variances is not the variance of the network in between. Recompute them with X.",
        _7_13,
        {"stats": "interpolated"},
    ),
    "L71": Row(
        "the loss is measured in train mode",
        "In train mode the norm layers use the minibatch's own statistics (with the variance divided by N, not N − "
        "1), and every look at the loss moves the running ones. Recompute in train mode, then measure in eval mode.",
        _7_13,
        {"mode": "train"},
    ),
    "L72": Row(
        "only a tenth of the statistics is new",
        "With momentum 0.1 one pass mixes a tenth of the new mean and variance into the old ones. Set momentum to "
        "None (a plain average over all passes) and reset the statistics first.",
        _7_13,
        {"stats": "a tenth"},
        also=({"stats": "a tenth from zero"},),
    ),
    "L110": Row(
        "the statistics are not reset",
        "momentum = None averages over all passes since the last reset, and num_batches_tracked remembers those of "
        "training: one pass more hardly counts. Call reset_running_stats() before it.",
        _7_13,
        {"stats": "not reset"},
    ),
    "L5": Row(
        "integer buffers are averaged",
        "num_batches_tracked counts batches, in int64. torch.lerp refuses whole numbers. Interpolate what is "
        "floating point, and copy the rest.",
        "the docstring: whole numbers",
        {"integers": "averaged"},
    ),
    "L73": Row(
        "states and parameters are paired by position",
        "A state dict also holds buffers, and a weight that two layers share under both its names: its order is not "
        "that of parameters(), and two state dicts need not have the same one. Pair them by name.",
        "the docstring: state dicts",
        {"tied": "by position"},
        also=({"tied": "values in turn"},),
    ),
    "L74": Row(
        "the ends are swapped",
        "α = 0 is state_a, α = 1 is state_b.",
        _7_12,
        {"alpha": "swapped"},
    ),
    "L75": Row(
        "α is kept between 0 and 1",
        "The line goes on beyond its ends: negative α and α > 1 are as good.",
        _7_12,
        {"alpha": "clipped"},
        coincides="between the ends",
    ),
    "L76": Row(
        "state_a is read while it changes",
        "model.state_dict() shares its tensors with the model: as soon as the first point is loaded, state_a is "
        "that point. Copy both states first, copy.deepcopy(state_a).",
        "the docstring: shares its tensors",
        {"copies": "live"},
        coincides="when state_a shares no tensors with the model",
    ),
    "L77": Row(
        "the model is not put back",
        "After the last α the model holds the weights of that point (or another mode, or norm layers with another "
        "momentum). Whoever uses it next does not expect that.",
        "the docstring: the model afterwards",
        {"leave": "moved"},
        also=({"leave": "mode"}, {"leave": "momentum"}),
        coincides="in the losses",
        by_rules=True,
    ),
    "L78": Row(
        "only a part of the weights moves",
        "Norm layers have a weight and a bias as well, every layer's bias belongs to the solution, and so do buffers "
        "that are no parameters: all floating-point entries of the state dict are interpolated.",
        _7_12,
        {"tied": "norms left"},
        also=({"tied": "weights only"}, {"tied": "parameters only"}),
    ),
}

# --- sharpness-aware minimisation -----------------------------------------------------------------------------------


class ReferenceSAM(torch.optim.Optimizer):
    """The reference: (7.15) with one concatenated gradient; the weights are restored from copies."""

    def __init__(self, params: Any, base_optimizer: type, rho: float = 0.05, **options: Any) -> None:
        super().__init__(params, {"rho": rho, **options})
        self.base_optimizer = base_optimizer(self.param_groups, **options)

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        loss = closure()
        with torch.no_grad():
            found = [(g["rho"], p) for g in self.param_groups for p in g["params"] if p.grad is not None]
            length = torch.cat([p.grad.reshape(-1) for _, p in found]).norm()
            kept = [p.clone() for _, p in found]
            for rho, p in found:
                p.add_(p.grad * (rho / (length + 1e-12)))
        closure()
        with torch.no_grad():
            for (_, p), old in zip(found, kept, strict=True):
                p.copy_(old)
        self.base_optimizer.step()
        return loss


class _FaultySAM(torch.optim.Optimizer):
    """SAM with faults: norm, restore, gradient, sign, rho, none, grad, returns, zero, step."""

    faults: ClassVar[Faults] = {}

    def __init__(self, params: Any, base_optimizer: type, rho: float = 0.05, **options: Any) -> None:
        super().__init__(params, {"rho": rho, **options})
        self.base_optimizer = base_optimizer(self.param_groups, **options)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Any:  # type: ignore[override]
        f = self.faults
        with torch.set_grad_enabled(f.get("grad") != "off"):
            loss = closure()
        found = [
            (g, p) for g in self.param_groups for p in g["params"] if f.get("none") == "taken" or p.grad is not None
        ]
        moves = [self._move(group, p, found) for group, p in found]
        old = [p.grad.clone() for _, p in found]
        for (_, p), move in zip(found, moves, strict=True):
            p.add_(move)
        with torch.enable_grad():
            second = closure()
        if f.get("restore") == "after the step":
            self.base_optimizer.step()
        for (_, p), move in zip(found, moves, strict=True):
            if f.get("restore") != "none":
                p.sub_(move)
        for (_, p), g in zip(found, old, strict=True):
            if f.get("gradient") == "old":
                p.grad = g
            elif f.get("gradient") == "both":
                p.grad = p.grad + g
        if f.get("step") == "by hand":
            for group, p in found:
                p.sub_(group["lr"] * p.grad)
        elif f.get("restore") != "after the step" and f.get("step") != "none":
            self.base_optimizer.step()
        return None if f.get("returns") == "none" else second if f.get("returns") == "second" else loss

    def _move(self, group: Mapping[str, Any], p: Tensor, found: Sequence[tuple[Any, Tensor]]) -> Tensor:
        f = self.faults
        kind = f.get("norm", "all")
        mine = {"parameter": [p], "group": group["params"]}.get(kind, [q for _, q in found])
        g = p.grad
        assert g is not None
        length = torch.stack([q.grad.norm() for q in mine if q.grad is not None]).norm()
        if kind == "sum":
            length = torch.stack([q.grad.norm() for q in mine if q.grad is not None]).sum()
        if kind == "squared":
            length = length.square()
        rho = {"first": self.param_groups[0]["rho"], "defaults": self.defaults["rho"], "lr": group["lr"]}.get(
            f.get("rho", "group"), group["rho"]
        )
        if kind == "weights":
            return torch.mul(g, rho * p.norm() / (length + 1e-12))
        if kind == "stays":
            return torch.zeros_like(g)
        if kind == "sign":
            return torch.mul(g.sign(), rho)
        small = {"nan": 0.0, "1e-8": 1e-8, "1e-6": 1e-6}.get(f.get("zero", ""), 1e-12)
        scale = rho if kind == "none" else rho / (length + small)
        return torch.mul(g, -scale if f.get("sign") == "down" else scale)


def sam_class(faults: Faults) -> tuple[type]:
    """A wrong `SAM`."""
    return (type("SAM", (_FaultySAM,), {"faults": dict(faults)}),)


_7_14, _7_15, _ORDER = "equation (7.14)", "equation (7.15)", "section 8, the four moves"

SAM_ROWS: dict[str, Row] = {
    "L79": Row(
        "each parameter has its own norm",
        "‖g‖ is the length of the whole gradient, over all parameters and groups. With a norm per tensor every "
        "tensor goes as far as ρ, and small gradients as far as large ones.",
        _7_15,
        {"norm": "parameter"},
        also=({"norm": "group"},),
        coincides="for a single parameter",
    ),
    "L80": Row(
        "the weights are not brought back",
        "The base optimizer steps from the perturbed point: the way uphill stays in the weights.",
        _ORDER,
        {"restore": "none"},
    ),
    "L81": Row(
        "the old gradient is used",
        "The base optimizer takes the gradient from before the way uphill: plain SGD, at twice the price. Its step "
        "belongs to the gradient of the second closure().",
        _ORDER,
        {"gradient": "old"},
    ),
    "L82": Row(
        "ρ·g without the norm",
        "The way uphill has length ρ, however long the gradient is. Divide by ‖g‖.",
        _7_15,
        {"norm": "none"},
    ),
    "L83": Row(
        "divided by ‖g‖²",
        "The sum of squares is the square of the length: take the root.",
        _7_15,
        {"norm": "squared"},
    ),
    "L84": Row(
        "downhill in place of uphill",
        "The worst point nearby lies along +g.",
        _7_15,
        {"sign": "down"},
    ),
    "L85": Row(
        "the step is taken before the weights are back",
        "The base optimizer decays (and reads) the perturbed weights. Bring them back first.",
        _ORDER,
        {"restore": "after the step"},
        coincides="for a base optimizer that does not read the weights, such as SGD without decay",
    ),
    "L86": Row(
        "the two gradients are added",
        "Only the second one counts.",
        _ORDER,
        {"gradient": "both"},
    ),
    "L87": Row(
        "ρ of one group for all",
        "Read group['rho'] in the loop over the groups.",
        "the docstring: group['rho']",
        {"rho": "first"},
        also=({"rho": "defaults"},),
        coincides="for one group",
    ),
    "L88": Row(
        "a parameter without a gradient",
        "A parameter that is not in the loss has p.grad None: leave it alone.",
        "the docstring: None",
        {"none": "taken"},
        coincides="when every parameter is in the loss",
    ),
    "L89": Row(
        "0/0 where the gradient is zero",
        "At a critical point ‖g‖ is 0: add 1e-12 to it, and the way uphill is zero.",
        "the docstring: 1e-12",
        {"zero": "nan"},
        coincides="when the gradient is not exactly zero",
    ),
    "L117": Row(
        "another small number than 1e-12",
        "1e-8 or 1e-6 beside ‖g‖ changes the eighth or sixth digit of the move. The number asked for is 1e-12.",
        "the docstring: 1e-12",
        {"zero": "1e-8"},
        also=({"zero": "1e-6"},),
        coincides="with rho = 0, in float32, and where ‖g‖ is large",
    ),
    "L90": Row(
        "the closure runs without autograd",
        "Under @torch.no_grad() the closure's backward() finds no graph. Call it inside `with "
        "torch.enable_grad():`, as torch's optimizers do.",
        "the docstring: closure",
        {"grad": "off"},
    ),
    "L91": Row(
        "not the first loss is returned",
        "step returns the loss of the first closure(), at the weights themselves; training curves are drawn from it.",
        "the docstring: returns",
        {"returns": "second"},
        also=({"returns": "none"},),
    ),
    "L102": Row(
        "the base optimizer never steps",
        "After the four moves the weights are where they were: the last move is base_optimizer.step().",
        _ORDER,
        {"step": "none"},
    ),
    "L103": Row(
        "a plain gradient step in place of the base optimizer's",
        "w − lr·g' is SGD without momentum and decay. Whatever the base optimizer is, its own step does it: "
        "self.base_optimizer.step().",
        _ORDER,
        {"step": "by hand"},
        coincides="around plain SGD",
    ),
    "L105": Row(
        "nothing goes uphill",
        "Both gradients are asked for at the same weights: the second one tells nothing new. Move to w + e between the two.",
        _ORDER,
        {"norm": "stays"},
        coincides="with rho = 0",
    ),
    "L92": Row(
        "the norms are summed",
        "The length of the whole gradient is the root of the sum of squares, not the sum of the lengths.",
        _7_15,
        {"norm": "sum"},
        coincides="for a single parameter",
    ),
}

# --- initial weights ------------------------------------------------------------------------------------------------


def lecun_with_torch(weight: Tensor, generator: torch.Generator) -> Tensor:
    return torch.nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="linear", generator=generator)


def xavier_with_torch(weight: Tensor, generator: torch.Generator) -> Tensor:
    return torch.nn.init.xavier_normal_(weight, generator=generator)


def init_functions(faults: Faults) -> tuple[Callable[..., Any], ...]:
    """`lecun_normal_` and `xavier_normal_` with faults: scale, fan, gain, xavier, drawn, field; `only`: in one of the two."""

    def lecun_normal_(weight: Tensor, generator: torch.Generator) -> None:
        own = {} if faults.get("only") == "xavier" else faults
        _fill(weight, 1 / _fans(weight, own)[0], generator, own)

    def xavier_normal_(weight: Tensor, generator: torch.Generator) -> None:
        own = {} if faults.get("only") == "lecun" else faults
        fan_in, fan_out = _fans(weight, own)
        variance = {
            "fan_in": 1 / fan_in,
            "no 2": 1 / (fan_in + fan_out),
            "6": 6 / (fan_in + fan_out),
            "product": 1 / (fan_in * fan_out) ** 0.5,
            "He": 2 / fan_in,
        }.get(own.get("xavier", ""), 2 / (fan_in + fan_out))
        _fill(weight, variance, generator, own)

    return lecun_normal_, xavier_normal_


def _fans(weight: Tensor, faults: Faults) -> tuple[int, int]:
    field = 1 if faults.get("field") == "ignored" else weight[0, 0].numel()
    pair = weight.size(1) * field, weight.size(0) * field
    return (pair[1], pair[0]) if faults.get("fan") == "out" else pair


@torch.no_grad()
def _fill(weight: Tensor, variance: float, generator: torch.Generator, faults: Faults) -> None:
    variance = variance * (2.0 if faults.get("gain") == "he" else 1.0)
    std = {"variance": variance, "inverse": variance**-0.5}.get(faults.get("scale", ""), variance**0.5)
    how = faults.get("drawn")
    if how == "uniform":
        weight.uniform_(-std * 3**0.5, std * 3**0.5, generator=generator)
    elif how != "rebound":
        weight.normal_(0.0, std, generator=None if how == "global" else generator)


def _in_either(*kinds: Faults) -> tuple[Faults, ...]:
    """The same faults, further ones, and each of them in one of the two functions only."""
    return (*kinds[1:], *({**kind, "only": only} for kind in kinds for only in ("lecun", "xavier")))


_7_17, _7_18 = "equation (7.17)", "equation (7.18)"

INIT_ROWS: dict[str, Row] = {
    "L93": Row(
        "the variance is used as standard deviation",
        "normal_ takes the standard deviation: the root of 1/fan_in.",
        _7_18,
        {"scale": "variance"},
        also=_in_either({"scale": "variance"}, {"scale": "inverse"}),
    ),
    "L94": Row(
        "fan_out in place of fan_in",
        "A weight of torch has shape (outputs, inputs, …): fan_in is size(1) times the receptive field. Xavier is "
        "symmetric and does not notice.",
        _7_17,
        {"fan": "out"},
        coincides="for Xavier, and for square weights",
    ),
    "L95": Row(
        "He's factor 2",
        "2/fan_in is He's rule: it makes up for the half that relu cuts away. LeCun's, 1/fan_in, and Xavier's, "
        "2/(fan_in + fan_out), are for the linear part.",
        _7_18,
        {"gain": "he"},
        also=(*_in_either({"gain": "he"}), {"xavier": "He"}),
    ),
    "L96": Row(
        "1/fan_in is taken for Xavier",
        "1/fan_in is LeCun's rule (1998). Xavier Glorot's (2010) is a compromise between the way forward and the "
        "way back: 2/(fan_in + fan_out).",
        _7_18,
        {"xavier": "fan_in"},
        coincides="for LeCun's rule",
    ),
    "L112": Row(
        "the 2 is missing",
        "1/(fan_in + fan_out) is half the variance: Xavier's rule is one over the mean of the two fans.",
        _7_18,
        {"xavier": "no 2"},
        coincides="for LeCun's rule",
    ),
    "L113": Row(
        "the geometric mean of the fans",
        "Xavier's rule is one over the arithmetic mean: 2/(fan_in + fan_out).",
        _7_18,
        {"xavier": "product"},
        coincides="for LeCun's rule, and for square weights",
    ),
    "L97": Row(
        "the bound of the uniform distribution",
        "√(6/(fan_in + fan_out)) is the bound of Xavier's *uniform* form. The normal form has variance 2/(fan_in + fan_out).",
        _7_18,
        {"xavier": "6"},
    ),
    "L98": Row(
        "the receptive field is forgotten",
        "Every output of a convolution sums over all positions of its kernel: fan_in is size(1) times their number.",
        _7_17,
        {"field": "ignored"},
        also=_in_either({"field": "ignored"}),
        coincides="for linear layers",
    ),
    "L99": Row(
        "uniform in place of normal",
        "The variance is right, and the distribution is the other one of the two that torch has.",
        "the docstring: normal",
        {"drawn": "uniform"},
        also=_in_either({"drawn": "uniform"}),
    ),
    "L27": Row(
        "torch's global random numbers are used",
        "Draw with generator=generator: then the same seed gives the same weights, whatever ran before.",
        "the docstring: generator",
        {"drawn": "global"},
        also=_in_either({"drawn": "global"}),
    ),
    "L100": Row(
        "nothing is written into the weight",
        "`weight = torch.randn(…)` makes a new tensor that only your function knows. Fill the one you are given: "
        "weight.normal_(0, std, generator=generator).",
        "the docstring: in place",
        {"drawn": "rebound"},
        also=_in_either({"drawn": "rebound"}),
    ),
}
