"""Clipping and early stopping: references, and what goes wrong with them (rows C1 to C61, C120 to C126)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autograder.misconceptions import Row

Pair = tuple[Tensor, Tensor]
LossFn = Callable[[Tensor, Tensor], Tensor]
TINY = 1e-6  # torch's own, beside the norm


# --- capstone.clip --------------------------------------------------------------------------------------------------


def torch_clip(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    """The reference: torch's own."""
    return torch.nn.utils.clip_grad_norm_(params, max_norm, error_if_nonfinite=error_if_nonfinite)


def reference_step(
    model: nn.Module,
    loss_fn: LossFn,
    micro_batches: Sequence[Pair],
    opt: torch.optim.Optimizer,
    max_norm: float,
    scale: float = 1.0,
) -> Tensor:
    """The order of section 2, clipped by torch."""
    norm: Tensor = _clipped_step({}, torch_clip, model, loss_fn, micro_batches, opt, max_norm, scale)
    return norm


def clip_objects(faults: Mapping[str, Any]) -> tuple[Any, ...]:
    """A wrong `clip_gradients`, and a `clipped_step` that uses it and has faults of its own."""

    @torch.no_grad()
    def clip_gradients(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Any:
        return _clip(faults, params, max_norm, error_if_nonfinite)

    def clipped_step(
        model: nn.Module,
        loss_fn: LossFn,
        micro_batches: Sequence[Pair],
        opt: Any,
        max_norm: float,
        scale: float = 1.0,
    ) -> Any:
        clip = torch_clip if faults.get("own") else clip_gradients
        return _clipped_step(faults, clip, model, loss_fn, micro_batches, opt, max_norm, scale)

    return clip_gradients, clipped_step


def _clip(faults: Mapping[str, Any], params: Any, max_norm: float, error_if_nonfinite: bool) -> Any:
    if isinstance(params, Tensor) and faults.get("single") != "iterated":
        params = [params]
    if faults.get("generator") != "used twice":
        params = list(params)
    if faults.get("none") == "zero":
        for p in params:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    grads = [p.grad for p in params if p.grad is not None]
    norm = _norm(faults.get("norm", ""), grads)
    refused = _refused(faults.get("refuse", ""), norm, error_if_nonfinite)
    if refused and faults.get("refuse") != "late":
        raise RuntimeError("the norm is not finite")
    if faults.get("write") == "cleaned" and not torch.isfinite(norm):
        for g in grads:
            g.nan_to_num_(0.0, 0.0, 0.0)
        return norm
    before = norm.clone()
    _scale(faults, [p for p in params if p.grad is not None], norm, max_norm)
    if refused:
        raise RuntimeError("the norm is not finite")
    returned = _norm("", grads) if faults.get("returns") == "after" else before
    return returned.item() if faults.get("returns") == "number" else returned


def _refused(how: str, norm: Tensor, error_if_nonfinite: bool) -> bool:
    bad = {"nan only": torch.isnan, "inf only": torch.isinf}.get(how, lambda norm: ~torch.isfinite(norm))(norm)
    return bool(bad) and how != "never" and (error_if_nonfinite or how == "always")


def _norm(how: str, grads: Sequence[Tensor]) -> Tensor:
    if not grads:
        return torch.tensor(0.0)
    norms = torch.stack([g.norm() for g in grads])
    squares = (norms**2).sum()
    return {
        "sum": norms.sum(),
        "squared": squares,
        "rms": (squares / sum(g.numel() for g in grads)).sqrt(),
        "largest": norms.max(),
        "entry": torch.stack([g.abs().max() for g in grads]).max(),
        "last": norms[-1],
        "first": norms[0],
        "mean": norms.mean(),
    }.get(how, squares.sqrt())


def _scale(faults: Mapping[str, Any], params: Sequence[Tensor], norm: Tensor, max_norm: float) -> None:
    how = faults.get("write", "")
    factor = torch.clamp(max_norm / (norm + TINY), max=1.0)
    if how == "always":
        factor = max_norm / (norm + TINY)
    elif how == "inverted":
        factor = torch.clamp((norm + TINY) / max_norm, max=1.0)
    elif how == "zeroed":
        factor = (norm <= max_norm).to(norm.dtype)
    elif how == "unit":
        factor = torch.where(norm > max_norm, 1 / (norm + TINY), torch.ones_like(norm))
    for p in params:
        g = p.grad
        assert g is not None
        if how == "by value":
            g.clamp_(-max_norm, max_norm)
        elif how == "each":
            g.mul_(torch.clamp(max_norm / (g.norm() + TINY), max=1.0))
        elif how == "weights":
            p.mul_(factor)
        elif how == "new tensors":
            p.grad = g * factor
        elif how == "local":
            g = g * factor
        else:
            g.mul_(factor)


def _clipped_step(
    faults: Mapping[str, Any],
    clip: Callable[..., Any],
    model: nn.Module,
    loss_fn: LossFn,
    micro_batches: Sequence[Pair],
    opt: Any,
    max_norm: float,
    scale: float,
) -> Any:
    params = list(model.parameters())
    unscale = faults.get("unscale", "")
    if unscale == "ignored":
        scale = 1.0
    if faults.get("zero") != "never":
        opt.zero_grad()
    norm: Any = None
    if faults.get("forward") == "all at once":
        micro_batches = [(torch.cat([X for X, _ in micro_batches]), torch.cat([y for _, y in micro_batches]))]
    for X, y in micro_batches:
        loss = loss_fn(model(X), y) * scale
        if faults.get("mean") != "missing":
            loss = loss / len(micro_batches)
        loss.backward()
        if faults.get("clip") == "each":
            norm = clip(params, max_norm * (scale if unscale != "never" else 1.0))
            norm = norm / scale
        if faults.get("clip") in ("each, scaled", "each, and at the end"):
            norm = clip(params, max_norm)
        if faults.get("step") == "each":
            _multiply(params, 1 / scale)
            norm = clip(params, max_norm)
            opt.step()
            opt.zero_grad()
    if faults.get("step") == "each":
        return norm
    if faults.get("clip") == "before unscaling":
        norm = clip(params, max_norm)
    if "unfiltered" in faults:
        _UNSCALE[faults["unfiltered"]](params, scale)
    elif unscale != "never":
        _multiply(params, scale if unscale == "multiplied" else 1 / scale)
    if faults.get("clip") == "after the step":
        opt.step()
        return clip(params, max_norm)
    if faults.get("clip", "") in ("", "each, and at the end"):
        norm = clip(params, max_norm)
    seen = torch.as_tensor(norm)
    if bool(torch.isfinite(seen)) or bool(_LETS.get(faults.get("finite", ""), torch.zeros_like)(seen)):
        opt.step()
    return norm


#: What a look for something else than finite lets through.
_LETS: dict[str, Callable[[Tensor], Tensor]] = {
    "ignored": torch.ones_like,
    "nan only": torch.isinf,
    "inf only": torch.isnan,
}


@torch.no_grad()
def _divide(params: Iterable[Any], scale: float) -> None:
    for p in params:
        p.grad.div_(scale)


@torch.no_grad()
def _divide_in_place(params: Iterable[Any], scale: float) -> None:
    for p in params:
        p.grad /= scale


@torch.no_grad()
def _divide_anew(params: Iterable[Any], scale: float) -> None:
    for p in params:
        p.grad = p.grad / scale


@torch.no_grad()
def _multiply_all(params: Iterable[Any], scale: float) -> None:
    for p in params:
        p.grad.mul_(1 / scale)


@torch.no_grad()
def _multiply_in_place(params: Iterable[Any], scale: float) -> None:
    for p in params:
        p.grad *= 1 / scale


#: Ways to unscale that take it for granted that every parameter has a gradient; Python words each failure differently.
_UNSCALE = {
    "div_": _divide,
    "/=": _divide_in_place,
    "/": _divide_anew,
    "mul_": _multiply_all,
    "*=": _multiply_in_place,
}


@torch.no_grad()
def _multiply(params: Iterable[Tensor], factor: float) -> None:
    for p in params:
        if p.grad is not None:
            p.grad.mul_(factor)


_GLOBAL = "equation (9.1)"
FACTOR = "equation (9.2)"
ORDER = "section 2, the order of a step"
CLIP: dict[str, Row] = {
    "C1": Row(
        "every gradient is clipped by its own norm",
        "The limit holds for all gradients together, as one long vector. Clipped one by one, they keep their sizes relative "
        "to the limit but not to each other, and the step points somewhere else.",
        _GLOBAL,
        {"write": "each"},
        coincides="for a single parameter",
    ),
    "C2": Row(
        "clipped by value",
        "clamp cuts each entry off at max_norm, which turns the direction. Clipping by norm multiplies everything by one "
        "number.",
        FACTOR,
        {"write": "by value"},
    ),
    "C3": Row(
        "the norms are added up",
        "The norm of the whole is the root of the sum of the squared norms, not their sum.",
        _GLOBAL,
        {"norm": "sum"},
        coincides="for a single parameter",
    ),
    "C4": Row("the root is missing", "That is the squared norm.", _GLOBAL, {"norm": "squared"}),
    "C5": Row(
        "small gradients are blown up",
        "The factor max_norm/norm is larger than 1 when the norm is below the limit. Clipping only ever shrinks: take the "
        "smaller of it and 1.",
        FACTOR,
        {"write": "always"},
        coincides="for norms above max_norm",
    ),
    "C6": Row(
        "the norm after clipping is returned",
        "What one wants to log is how large the gradient was: take the norm before you change anything.",
        "the docstring: returns",
        {"returns": "after"},
        coincides="for norms below max_norm",
    ),
    "C7": Row(
        "the gradients are replaced by new tensors",
        "`p.grad = p.grad * c` leaves everything that holds the old tensor (gradient buckets, CUDA graphs) with the unclipped "
        "one. Write in place: p.grad.mul_(c).",
        "the docstring: in place",
        {"write": "new tensors"},
        coincides="in the values",
    ),
    "C8": Row(
        "nothing is clipped",
        "`g = g * c` binds a new tensor to the name g; .grad stays as it was. mul_ writes into it.",
        "the docstring: in place",
        {"write": "local"},
        coincides="for norms below max_norm",
    ),
    "C9": Row(
        "the root mean square for the norm",
        "Divided by the number of entries it is not the Euclidean norm any more: the limit would depend on the model's size.",
        _GLOBAL,
        {"norm": "rms"},
    ),
    "C10": Row(
        "a missing gradient becomes zeros",
        "A parameter whose .grad is None took no part in the loss. With zeros in their place, optimizers move it all the "
        "same, by momentum and by decay.",
        "the docstring: None",
        {"none": "zero"},
        coincides="when every parameter has a gradient",
    ),
    "C11": Row(
        "error_if_nonfinite is ignored",
        "With error_if_nonfinite=True a norm that is inf or nan has to raise a RuntimeError.",
        "the docstring: error_if_nonfinite",
        {"refuse": "never"},
        coincides="with error_if_nonfinite=False",
    ),
    "C12": Row(
        "a norm that is not finite is always refused",
        "Only with error_if_nonfinite=True. Without it the gradients are scaled by whatever comes out.",
        "the docstring: error_if_nonfinite",
        {"refuse": "always"},
        coincides="for finite norms",
    ),
    "C13": Row(
        "the largest norm for the norm of all",
        "max over the parameters leaves the others out. Square, add, take the root.",
        _GLOBAL,
        {"norm": "largest"},
        coincides="for a single parameter",
    ),
    "C14": Row(
        "the factor is upside down",
        "norm/max_norm grows with the gradient; max_norm/norm brings it down to max_norm.",
        FACTOR,
        {"write": "inverted"},
    ),
    "C15": Row(
        "the weights are scaled instead of the gradients",
        "Clipping changes .grad and nothing else.",
        FACTOR,
        {"write": "weights"},
        coincides="for norms below max_norm",
    ),
    "C16": Row(
        "large gradients are set to 0",
        "That skips the step. Clipping keeps the direction, and the length max_norm.",
        FACTOR,
        {"write": "zeroed"},
        coincides="for norms below max_norm",
    ),
    "C17": Row(
        "what is not finite is replaced by 0",
        "nan_to_num hides a diverged run. Without error_if_nonfinite the factor is applied as it comes.",
        "the docstring: error_if_nonfinite",
        {"write": "cleaned"},
        coincides="for finite norms",
    ),
    "C18": Row(
        "params is gone through twice",
        "model.parameters() is a generator: after the first loop it is empty, and nothing is scaled. Make a list of it first.",
        "the docstring: params",
        {"generator": "used twice"},
        coincides="for lists",
        by_rules=False,
    ),
    "C19": Row(
        "a single tensor is taken for a list",
        "Going through a tensor gives its rows, which have no .grad. Put it into a list first.",
        "the docstring: params",
        {"single": "iterated"},
        coincides="for lists",
    ),
    "C20": Row(
        "clipped to length 1",
        "The unit vector is only right for max_norm = 1. Multiply by max_norm.",
        FACTOR,
        {"write": "unit"},
        coincides="for max_norm = 1",
    ),
    "C21": Row(
        "the largest entry for the norm",
        "That is the maximum norm. The Euclidean norm squares all entries, adds them and takes the root.",
        _GLOBAL,
        {"norm": "entry"},
    ),
    "C22": Row(
        "one parameter's norm for the norm of all",
        "Only one of the norms arrives: is the sum started again, or overwritten, in the loop?",
        _GLOBAL,
        {"norm": "last"},
        also=({"norm": "first"},),
        coincides="for a single parameter",
    ),
    "C23": Row(
        "the mean of the norms",
        "The norm of the whole is the root of the sum of the squared norms.",
        _GLOBAL,
        {"norm": "mean"},
        coincides="for a single parameter",
    ),
    "C30": Row(
        "clipped after every micro-batch",
        "The norm that counts is that of the whole minibatch's gradient. Clipped piece by piece (what is there so far, each "
        "time), one outlier is cut before the others can outvote it.",
        ORDER,
        {"clip": "each"},
        also=({"clip": "each, scaled"}, {"clip": "each, and at the end"}),
        coincides="for a single micro-batch, or below the limit",
    ),
    "C31": Row(
        "clipped before unscaling",
        "The gradient still carries the factor `scale`, so its norm is far above the limit, and after unscaling almost "
        "nothing is left. Unscale first.",
        ORDER,
        {"clip": "before unscaling"},
        coincides="for scale = 1",
    ),
    "C32": Row(
        "the scale stays in the gradient",
        "The loss was multiplied by scale so that small gradients do not vanish in float16. Divide the gradients by it before "
        "you use them.",
        ORDER,
        {"unscale": "never"},
        coincides="for scale = 1",
    ),
    "C33": Row(
        "the sum of the micro-batches for their mean",
        "backward adds. Divide each loss by the number of micro-batches.",
        ORDER,
        {"mean": "missing"},
        coincides="for a single micro-batch, or where everything is clipped",
    ),
    "C34": Row(
        "clipped after the step",
        "opt.step() has used the unclipped gradient already.",
        ORDER,
        {"clip": "after the step"},
        coincides="below the limit",
    ),
    "C35": Row(
        "the old gradient stays",
        "backward adds to what .grad holds: call zero_grad before the first micro-batch.",
        ORDER,
        {"zero": "never"},
        coincides="when .grad was empty",
    ),
    "C36": Row(
        "a step after every micro-batch",
        "The micro-batches are one minibatch: one step, after the last of them.",
        ORDER,
        {"step": "each"},
        coincides="for a single micro-batch",
    ),
    "C37": Row(
        "a step with a gradient that is not finite",
        "One such step makes every weight nan. Leave it out and go on: that is what loss scaling does after an overflow.",
        ORDER,
        {"finite": "ignored"},
        coincides="for finite norms",
    ),
    "C38": Row(
        "multiplied by the scale once more",
        "Unscaling divides.",
        ORDER,
        {"unscale": "multiplied"},
        coincides="for scale = 1",
    ),
    "C120": Row(
        "a Python number is returned",
        "`.item()` and float() make Python wait for the device. The norm stays a 0-dim tensor; whoever logs it fetches it.",
        "the docstring: returns",
        {"returns": "number"},
        coincides="in the values",
    ),
    "C121": Row(
        "only one of inf and nan is refused",
        "A gradient that overflows makes the norm inf, a nan in it makes it nan. torch.isfinite is False for both.",
        "the docstring: error_if_nonfinite",
        {"refuse": "nan only"},
        also=({"refuse": "inf only"},),
        coincides="for finite norms",
    ),
    "C122": Row(
        "the gradients are scaled before the norm is refused",
        "Who catches the RuntimeError finds gradients that are 0 or nan. Look at the norm first, then scale.",
        "the docstring: error_if_nonfinite",
        {"refuse": "late"},
        coincides="for finite norms",
    ),
    "C123": Row(
        "a step is left out for one of inf and nan only",
        "An infinite norm makes the factor 0, and 0 · inf is nan: such a step ruins the weights like one with nan. "
        "torch.isfinite is False for both.",
        ORDER,
        {"finite": "nan only"},
        also=({"finite": "inf only"},),
        coincides="for finite norms",
    ),
    "C124": Row(
        "every parameter is taken to have a gradient",
        "The .grad of a frozen parameter is None: pass it over when you unscale.",
        ORDER,
        {"unfiltered": "div_"},
        also=tuple({"unfiltered": how} for how in ("/=", "/", "mul_", "*=")),
        coincides="when every parameter has a gradient",
    ),
    "C125": Row(
        "the loss is never scaled",
        "In float64 the factor cancels and nothing shows. In float16 small gradients are gone before anybody can unscale them: "
        "multiply the loss by `scale` before backward.",
        ORDER,
        {"unscale": "ignored"},
        coincides="in the values",
    ),
    "C126": Row(
        "all micro-batches go through the model at once",
        "They are cut because the minibatch does not fit into memory. One forward and one backward for each; backward adds "
        "up.",
        "section 2, accumulation",
        {"forward": "all at once"},
        coincides="in the values",
    ),
}

#: What concerns `clip_gradients` is as wrong when `clipped_step` does not use it, and clips rightly by itself.
_IN_CLIP = frozenset({"norm", "write", "none", "refuse", "returns", "single", "generator"})
CLIP |= {
    row_id: replace(row, also=(*row.also, *({**faults, "own": True} for faults in (row.faults, *row.also))))
    for row_id, row in CLIP.items()
    if row.faults.keys() <= _IN_CLIP
}


# --- capstone.early_stopping ----------------------------------------------------------------------------------------


class EarlyStopping:
    """The reference without faults; see `STOPPING` for the switches."""

    faults: ClassVar[Mapping[str, Any]] = {}
    shared: ClassVar[dict[str, int]] = {"bad": 0}

    def __init__(self, model: nn.Module, patience: int, min_delta: float = 0.0, restore_best: bool = True) -> None:
        self.model, self.patience, self.min_delta, self.restore_best = model, patience, min_delta, restore_best
        self.best, self.best_step, self.step, self.bad = math.inf, 0, 0, 0
        self.last = math.inf
        self.snapshot: dict[str, Tensor] | None = None
        self.shared["bad"] = 0
        if self.faults.get("better") == "higher":
            self.best = self.last = -math.inf

    def update(self, loss: float) -> bool:
        f = self.faults
        self.step += 1
        better = self._better(float(loss))
        small = f.get("creep") and loss < self.best
        self.last = loss
        if better or small:
            self.best = min(loss, self.best) if f.get("min") else loss
            self.best_step = self.step - (1 if f.get("count") == "from 0" else 0)
            self._take()
        if better:
            if f.get("bad") != "never reset":
                self.bad = 0
                self.shared["bad"] = 0
        else:
            self.bad += 1
            self.shared["bad"] += 1
        bad = self.shared["bad"] if f.get("bad") == "shared" else self.bad
        stop = bad >= self.patience + {"late": 1, "early": -1}.get(f.get("patience", ""), 0)
        if f.get("patience") == "early" and better:
            stop = False
        if stop and (self.restore_best or f.get("restore") == "always") and f.get("restore") != "never":
            self.restore()
        return stop

    def _better(self, loss: float) -> bool:
        f = self.faults
        how = f.get("better", "")
        reference = self.last if f.get("against") == "last" else self.best
        delta = {"missing": 0.0, "added": -self.min_delta}.get(f.get("delta", ""), self.min_delta)
        if how == "higher":
            return loss > reference + delta
        if how == "not worse":
            return loss <= reference - delta
        if how == "not nan":
            return not loss >= reference - delta
        if how == "relative":
            return loss < reference * (1 - delta)
        return loss < reference - delta

    def _take(self) -> None:
        how = self.faults.get("snapshot", "")
        state = self.model.state_dict()
        if how == "parameters":
            state = {k: v for k, v in state.items() if k in dict(self.model.named_parameters())}
        self.snapshot = dict(state) if how == "shared" else {k: v.clone() for k, v in state.items()}

    def restore(self) -> None:
        how = self.faults.get("restore", "")
        if self.snapshot is None or how == "nothing" or (how == "by restore_best" and not self.restore_best):
            return
        if how == "new objects":
            for name in dict(self.model.named_parameters()):
                setattr(self.model, name, nn.Parameter(self.snapshot[name].clone()))
            self.model.load_state_dict(self.snapshot)
            return
        if how == "aliases":
            for name, tensor in self.model.state_dict(keep_vars=True).items():
                tensor.data = self.snapshot[name]
            return
        self.model.load_state_dict(self.snapshot, strict=False)
        if how == "once":
            self.snapshot = None
        if how == "counts anew":
            self.bad = 0


def stopping_objects(faults: Mapping[str, Any]) -> tuple[type]:
    return (type("EarlyStopping", (EarlyStopping,), {"faults": dict(faults), "shared": {"bad": 0}}),)


_RULE = "equation (9.4)"
_SNAPSHOT = "section 4, the paragraph on snapshots"
STOPPING: dict[str, Row] = {
    "C40": Row(
        "the snapshot is no copy",
        "state_dict() hands out the model's own tensors (and so does a dict made of them): training goes on in them, and what "
        "is restored is the last state. Clone them, or use copy.deepcopy.",
        _SNAPSHOT,
        {"snapshot": "shared"},
    ),
    "C41": Row(
        "one update too patient",
        "Stop at the update in which the count of failures reaches `patience`: >=, not >.",
        _RULE,
        {"patience": "late"},
    ),
    "C42": Row(
        "one update too impatient",
        "The count of failures starts at 0 with every improvement, and the stop comes when it reaches `patience`.",
        _RULE,
        {"patience": "early"},
    ),
    "C43": Row(
        "the count of failures is never set back",
        "`patience` counts failures in a row. After an improvement it starts again from 0.",
        _RULE,
        {"bad": "never reset"},
    ),
    "C44": Row(
        "min_delta has the wrong sign",
        "An improvement is a loss below best − min_delta. With best + min_delta even a loss that rises a little counts.",
        _RULE,
        {"delta": "added"},
        coincides="for min_delta = 0",
    ),
    "C45": Row(
        "compared with the last loss instead of the best",
        "On a noisy curve every second value is lower than the one before. What counts is the best so far.",
        _RULE,
        {"against": "last"},
    ),
    "C46": Row(
        "min_delta is ignored",
        "An improvement of less than min_delta does not count.",
        _RULE,
        {"delta": "missing"},
        coincides="for min_delta = 0",
    ),
    "C47": Row(
        "small improvements move the best loss",
        "A loss that falls by less than min_delta is no improvement: best stays where it is. Otherwise a slow descent creeps "
        "along below the threshold and never counts.",
        _RULE,
        {"creep": True},
        coincides="for min_delta = 0",
    ),
    "C48": Row(
        "an equal loss counts as an improvement",
        "The loss has to be strictly below best − min_delta. On a plateau, <= never stops.",
        _RULE,
        {"better": "not worse"},
    ),
    "C49": Row(
        "nothing is restored at the stop",
        "With restore_best=True the model has to hold its best weights when update returns True.",
        "the docstring: restore_best",
        {"restore": "never"},
        coincides="with restore_best=False",
    ),
    "C50": Row(
        "restore_best is ignored",
        "With restore_best=False the model keeps its last weights.",
        "the docstring: restore_best",
        {"restore": "always"},
        coincides="with restore_best=True",
    ),
    "C51": Row(
        "buffers are left out",
        "The running means of BatchNorm belong to the best model like its weights. state_dict() has both of them, parameters() "
        "has not.",
        _SNAPSHOT,
        {"snapshot": "parameters"},
        coincides="for models without buffers",
    ),
    "C52": Row(
        "nan counts as an improvement",
        "Every comparison with nan is False, so `not (loss >= best)` takes it for an improvement. Write the condition the "
        "right way round: loss < best − min_delta.",
        _RULE,
        {"better": "not nan"},
        coincides="as long as the loss is finite",
    ),
    "C53": Row("higher counts as better", "These are losses: lower is better.", _RULE, {"better": "higher"}),
    "C54": Row(
        "the model's parameters are replaced",
        "The optimizer holds the old Parameter objects and would train those. Write into them: load_state_dict, or copy_.",
        _SNAPSHOT,
        {"restore": "new objects"},
        coincides="in the values",
    ),
    "C55": Row(
        "two objects share their count",
        "What stands in the class body belongs to all its objects. Use self in __init__.",
        "the docstring: __init__",
        {"bad": "shared"},
        coincides="as long as there is one object",
    ),
    "C56": Row(
        "best_step counts from 0",
        "Updates are counted from 1; 0 means that there was none.",
        "the docstring: best_step",
        {"count": "from 0"},
    ),
    "C57": Row(
        "min_delta is taken as a fraction",
        "The threshold is best − min_delta, in the units of the loss, not best·(1 − min_delta).",
        _RULE,
        {"better": "relative"},
        coincides="for min_delta = 0",
    ),
    "C58": Row(
        "restore() depends on restore_best",
        "restore_best says what update does when it stops. A restore() that is called by hand works without it, too, so there "
        "has to be a snapshot.",
        "the docstring: restore",
        {"restore": "by restore_best"},
        coincides="with restore_best=True",
    ),
    "C59": Row(
        "the snapshot serves only once",
        "After restore() the snapshot is gone, or the model trains on in the snapshot's own tensors (p.data = snapshot[name]). "
        "Copy the values, and keep it: load_state_dict does that.",
        _SNAPSHOT,
        {"restore": "once"},
        also=({"restore": "aliases"},),
        coincides="for the first restore()",
    ),
    "C60": Row(
        "restore() sets the count of failures back",
        "Putting the weights back is no improvement: the failures in a row stay as they are.",
        _RULE,
        {"restore": "counts anew"},
        coincides="when restore() comes last",
    ),
    "C61": Row(
        "restore() changes nothing in the model",
        "The values have to get into the tensors of the model itself: self.model.load_state_dict(snapshot). Binding another "
        "model or dict to a name leaves it as it is.",
        _SNAPSHOT,
        {"restore": "nothing"},
    ),
}
