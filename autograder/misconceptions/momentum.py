"""SGD with momentum as a torch optimizer, with faults that can be switched on, and its form for many tensors (rows M*).

Source of the right update: torch.optim.SGD (`_single_tensor_sgd`); with no faults the simulator equals it (a test says
so). Equation and section numbers are those of the notebook `03_momentum_equivalence`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch

from autograder.misconceptions import Row, in_turn
from autograder.misconceptions import foreach as adam_foreach

Tensor = torch.Tensor
Faults = Mapping[str, Any]

#: What each switch can be, the right value first.
SWITCHES: dict[str, tuple[Any, ...]] = {
    "sign": ("down", "up"),
    "buffer": (
        "torch", "swapped", "averaged", "no memory", "old", "brackets", "reset", "not stored", "first kept", "shared"
    ),
    "kept": ("as torch", "other name", "outside"),
    "without momentum": ("no buffer", "buffer"),
    "first": ("gradient", "damped", "aliased"),
    "dampening": ("as given", "ignored", "not subtracted", "on the buffer", "on the step"),
    "nesterov": ("new buffer", "old buffer", "ignored", "buffer alone", "always", "without decay", "twice", "stored"),
    "lr": ("outside", "inside", "inside but ahead", "both", "defaults", "first seen", "first group"),
    "decay": ("l2", "decoupled", "after momentum", "ignored", "negative", "times lr", "twice", "matrices only"),
    "group momentum": ("group", "first group", "defaults"),
    "group decay": ("group", "first group"),
    "groups": ("all", "first only"),
    "none": ("skipped", "zero", "returns"),
    "gradient": ("kept", "changed"),
    "weight": ("in place", "rebound", "new storage"),
    "refuses": ("as torch", "nothing"),
}  # fmt: skip


def _switch(faults: Faults, name: str) -> Any:
    return faults.get(name, SWITCHES[name][0])


class Simulator(torch.optim.Optimizer):
    """torch.optim.SGD with this class's `faults`."""

    faults: ClassVar[Faults] = {}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if _switch(self.faults, "refuses") == "as torch" and nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "nesterov": nesterov})
        self.common: dict[str, Any] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group, p, grad in in_turn(self.param_groups, self.faults):
            if grad is not None:
                self._one(p, grad, group)

    def _one(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        first = self.param_groups[0]
        lr = self._lr(p, group)
        momentum_of = {"first group": first, "defaults": self.defaults}
        mu = momentum_of.get(_switch(self.faults, "group momentum"), group)["momentum"]
        wd = (first if _switch(self.faults, "group decay") == "first group" else group)["weight_decay"]
        decay = _switch(self.faults, "decay")
        if decay == "matrices only":
            decay = "l2" if p.dim() > 1 else "ignored"
        w = p.detach()
        added = {"l2": wd, "negative": -wd, "times lr": lr * wd, "twice": 2 * wd}.get(decay, 0.0)
        g = grad + added * w if added else grad
        if added and _switch(self.faults, "gradient") == "changed":
            g = grad.copy_(g)
        where = _switch(self.faults, "lr")
        ahead = grad if _switch(self.faults, "nesterov") == "without decay" else g
        if where in ("inside", "both"):
            ahead = lr * ahead
        d = self._direction(p, lr * g if where in ("inside", "inside but ahead", "both") else g, ahead, mu, group)
        if decay == "after momentum":
            d = d + wd * w
        start = w * (1 - lr * wd) if decay == "decoupled" else w
        sign = -1 if _switch(self.faults, "sign") == "down" else 1
        rate = 1.0 if where in ("inside", "inside but ahead") else lr
        self._write(p, start + sign * rate * d)

    def _lr(self, p: Tensor, group: dict[str, Any]) -> float:
        how = _switch(self.faults, "lr")
        lr: float = group["lr"]
        if how == "first seen":
            lr = self.state[p].setdefault("first lr", lr)
        others: dict[str, float] = {"defaults": self.defaults["lr"], "first group": self.param_groups[0]["lr"]}
        return others.get(how, lr)

    def _direction(self, p: Tensor, g: Tensor, plain: Tensor, mu: float, group: dict[str, Any]) -> Tensor:
        """What lr multiplies: equations (3.8) and (3.9); `plain` is the gradient that Nesterov adds to the buffer."""
        if mu == 0:
            if _switch(self.faults, "without momentum") == "buffer":
                self.state[p]["momentum_buffer"] = g.clone()
            return g
        how, (state, key) = _switch(self.faults, "buffer"), self._place(p)
        old = state.get(key)
        new, used = self._buffer(how, old, g, mu, group["dampening"])
        if how != "not stored" and (how != "first kept" or old is None):
            state[key] = new
        kind = _switch(self.faults, "nesterov")
        before = torch.zeros_like(g) if old is None else old
        if kind != "always" and (kind == "ignored" or not group["nesterov"]):
            return before if how == "old" else used
        if kind == "stored":
            state[key] = used = plain + mu * used
            return used
        return {
            "old buffer": plain + mu * before,
            "buffer alone": mu * used,
            "twice": plain + mu * (mu * used + plain),
        }.get(kind, plain + mu * (before if how == "old" else used))

    def _place(self, p: Tensor) -> tuple[dict[str, Any], str]:
        """The dict that holds the parameter's buffer, and the key."""
        if _switch(self.faults, "buffer") == "shared":
            return self.common.setdefault(str(tuple(p.shape)), {}), "momentum_buffer"
        kept = _switch(self.faults, "kept")
        if kept == "outside":
            return self.common.setdefault(str(id(p)), {}), "momentum_buffer"
        return self.state[p], "momentum_buffer" if kept == "as torch" else "velocity"

    def _buffer(self, how: str, old: Tensor | None, g: Tensor, mu: float, dampening: float) -> tuple[Tensor, Tensor]:
        """The new buffer, and what the update uses of it."""
        damping = _switch(self.faults, "dampening")
        gain = {"ignored": 1.0, "on the buffer": 1.0, "on the step": 1.0, "not subtracted": dampening}.get(
            damping, 1 - dampening
        )
        if damping == "not subtracted" and dampening == 0:
            gain = 0.0
        if how == "averaged":
            gain = 1 - mu
        out = 1 - dampening if damping == "on the step" else 1.0
        first = _switch(self.faults, "first")
        if old is None or how in ("reset", "no memory"):
            start = gain * g if first == "damped" or how == "averaged" else g
            if how == "no memory" and old is not None:
                start = gain * g
            kept = start if first == "aliased" and start is g else start.clone()
            return kept, out * kept
        keep = {"swapped": 1 - mu}.get(how, mu)
        if damping == "on the buffer":
            keep *= 1 - dampening
        if how == "brackets":
            return (new := mu * (old + gain * g)), out * new
        if first == "aliased":
            old.mul_(keep).add_(g, alpha=gain)  # in place, as everybody does: the gradient of step 1 changes with it
            return old, out * old
        new = keep * old + gain * g
        return new, out * new

    def _write(self, p: Tensor, new: Tensor) -> None:
        how = _switch(self.faults, "weight")
        if how == "new storage":
            p.data = new
        elif how == "in place":
            p.copy_(new)


def optimizer(faults: Faults) -> type[Simulator]:
    """The simulator as a class, as a student would hand it in."""
    return type("MomentumSGD", (Simulator,), {"faults": dict(faults)})


_GROUPS = "the list in section 4, self.param_groups"
_STATE = "the list in section 4, self.state[p]"

ROWS: dict[str, Row] = {
    "M5": Row(
        "the sign of the update",
        "The weight moves along +b: that climbs. torch subtracts lr·b.",
        "equation (3.9)",
        {"sign": "up"},
    ),
    "M3": Row(
        "the first gradient is damped",
        "Your buffer starts at (1 − dampening)·g (or you multiply the whole step by 1 − dampening, which gives the "
        "same weights). torch's buffer starts at g itself: dampening acts from the second step on. Damped from the "
        "first step on, with dampening = momentum, it would be the average of equation (3.3); torch's is not.",
        "equation (3.8)",
        {"first": "damped"},
        coincides="with dampening = 0",
        also=({"dampening": "on the step"},),
    ),
    "M33d": Row(
        "dampening is ignored",
        "From the second step on a new gradient counts 1 − dampening.",
        "equation (3.8)",
        {"dampening": "ignored"},
        coincides="with dampening = 0",
    ),
    "M34d": Row(
        "dampening in place of 1 − dampening",
        "A new gradient counts 1 − dampening: with dampening = 0 it counts in full.",
        "equation (3.8)",
        {"dampening": "not subtracted"},
        coincides="without momentum",
    ),
    "M35d": Row(
        "dampening damps the old buffer",
        "You compute mu·(1 − dampening)·b + g. Dampening belongs to the new gradient.",
        "equation (3.8)",
        {"dampening": "on the buffer"},
        coincides="with dampening = 0",
    ),
    "M6": Row(
        "Nesterov with the old buffer (or not at all)",
        "You use g + mu·b with the b of the step before, or do not read group['nesterov']. Without dampening the "
        "two are the same: g + mu·b_old is the new buffer, so your look ahead is plain momentum. Update the buffer "
        "first, then look ahead with it.",
        "equation (3.10)",
        {"nesterov": "old buffer"},
        coincides="with nesterov=False",
        also=({"nesterov": "ignored"},),
    ),
    "M59": Row(
        "Nesterov without the gradient",
        "mu·b alone is a shorter step of plain momentum; the look ahead is g + mu·b.",
        "equation (3.10)",
        {"nesterov": "buffer alone"},
        coincides="with nesterov=False",
    ),
    "M22": Row(
        "Nesterov always",
        "The look ahead is taken although nesterov=False.",
        "equation (3.10)",
        {"nesterov": "always"},
        coincides="with nesterov=True",
    ),
    "M60": Row(
        "Nesterov adds the gradient without its decay",
        "The g in g + mu·b is the one that went into the buffer, with weight_decay·w in it, and not p.grad.",
        "equation (3.10)",
        {"nesterov": "without decay"},
        coincides="with nesterov=False, and without decay",
    ),
    "M61": Row(
        "Nesterov looks ahead twice",
        "The buffer is averaged once more before it is used. It is g + mu·b with b as stored.",
        "equation (3.10)",
        {"nesterov": "twice"},
        coincides="with nesterov=False",
    ),
    "M67": Row(
        "the look ahead is written into the buffer",
        "You store g + mu·b as the buffer, so the next step looks ahead from a look ahead. The direction is a new "
        "tensor; the buffer stays b.",
        "equation (3.10)",
        {"nesterov": "stored"},
        coincides="with nesterov=False",
    ),
    "M4": Row(
        "lr inside the velocity",
        "Your buffer adds up lr·g, and the weight moves by the buffer. Equivalent at constant lr; different when "
        "the lr changes: torch multiplies the whole buffer by the new lr, yours still moves at the old one.",
        "equations (3.9) and (3.11)",
        {"lr": "inside"},
        coincides="at constant lr, where the two forms are the same optimizer",
    ),
    "M66": Row(
        "lr inside the velocity, but not in Nesterov's gradient",
        "Your buffer adds up lr·g, and the look ahead adds the gradient as it is: g + mu·b mixes a gradient with a "
        "step. With lr outside, as in torch, buffer and direction are gradients, and lr multiplies the direction.",
        "equations (3.9) and (3.10)",
        {"lr": "inside but ahead"},
        coincides="at constant lr with nesterov=False",
    ),
    "M18": Row(
        "lr counts twice",
        "It is in the buffer already and multiplies the step again.",
        "equation (3.9)",
        {"lr": "both"},
    ),
    "M7": Row(
        "the step uses the old buffer",
        "Every step lags one gradient behind, and the first one does not move. Update the buffer first.",
        "equation (3.9)",
        {"buffer": "old"},
        coincides="without momentum",
    ),
    "M11": Row(
        "μ and 1 − μ change places",
        "Your buffer keeps 1 − mu of its past.",
        "equation (3.8)",
        {"buffer": "swapped"},
        coincides="without momentum",
    ),
    "M16": Row(
        "a factor 1 − μ in the buffer",
        "mu·b + (1 − mu)·g is the averaging form. In torch a new gradient counts 1 − dampening, in full by default.",
        "equation (3.8)",
        {"buffer": "averaged"},
        coincides="without momentum",
    ),
    "M20": Row(
        "the buffer has no memory",
        "The old buffer is lost. Is it read from self.state[p] before it is written?",
        "equation (3.8)",
        {"buffer": "no memory"},
        coincides="without momentum",
    ),
    "M21": Row(
        "μ multiplies the gradient as well",
        "You compute mu·(b + g). Only the old buffer is multiplied by μ.",
        "equation (3.8)",
        {"buffer": "brackets"},
        coincides="without momentum",
    ),
    "A24": Row(
        "the buffer is made anew in every step",
        "Make it only when self.state[p] has none, and store it there; a local name is forgotten when the step ends.",
        _STATE,
        {"buffer": "reset"},
        coincides="without momentum",
        also=({"buffer": "not stored"}, {"buffer": "reset", "kept": "outside"}),
    ),
    "M68": Row(
        "the new buffer is not stored",
        "`b = mu*b + …` makes a new tensor and leaves the stored one as it was: in every step the old buffer is the "
        "first gradient. Change it in place, or store the new one in self.state[p].",
        _STATE,
        {"buffer": "first kept"},
        coincides="without momentum",
    ),
    "M69": Row(
        "the buffer is not where torch keeps it",
        "The weights are right, but a checkpoint of torch has its buffer in self.state[p]['momentum_buffer'], and "
        "yours is elsewhere: under another name or outside self.state. Neither can go on from the other.",
        "the docstring: torch's checkpoints",
        {"kept": "other name"},
        coincides="in the weights, as long as no checkpoint is loaded",
        also=({"kept": "outside"},),
    ),
    "M70": Row(
        "a buffer although there is no momentum",
        "With momentum = 0 nothing reads it, and it costs as much memory as the parameters. torch makes none.",
        "the docstring: without momentum there is no buffer",
        {"without momentum": "buffer"},
        coincides="in the weights",
    ),
    "A23": Row(
        "one buffer for all parameters",
        "Parameters share their buffer. Each has its own: self.state[p].",
        _STATE,
        {"buffer": "shared"},
        coincides="for an optimizer with a single parameter",
    ),
    "M62": Row(
        "the first buffer is p.grad itself",
        "`buf = p.grad` makes no copy: the next `buf.mul_(…)` changes the gradient as well, for you and for "
        "everybody who holds it. Write `p.grad.clone()`.",
        "the docstring: p.grad stays as it is",
        {"first": "aliased"},
        coincides="as long as every step brings a new gradient tensor",
    ),
    "M10": Row(
        "p.grad is changed",
        "`g = p.grad` is no copy, and `g += weight_decay * p` writes into it. Who reads or re-uses the gradient "
        "afterwards finds something else. Make a new tensor: `g = g + …`.",
        "the docstring: p.grad stays as it is",
        {"gradient": "changed"},
        coincides="with weight_decay = 0",
    ),
    "M63": Row(
        "the decay is decoupled, or added after momentum",
        "The weight shrinks by lr·weight_decay·w beside the step (`p.mul_(1 - lr*weight_decay)` does the same), and "
        "the buffer knows nothing of it: that is the decoupled decay of AdamW. torch's SGD has L2: it adds "
        "weight_decay·w to the gradient, ahead of everything.",
        "equation (3.7)",
        {"decay": "after momentum"},
        coincides="with weight_decay = 0, and without momentum",
        also=({"decay": "decoupled"},),
    ),
    "W5": Row(
        "twice the decay",
        "torch's weight_decay stands for (λ/2)·Σw², whose gradient is λw.",
        "equation (3.7)",
        {"decay": "twice"},
        coincides="with weight_decay = 0",
    ),
    "W9": Row(
        "the decay has the wrong sign",
        "g − weight_decay·w makes the weights grow.",
        "equation (3.7)",
        {"decay": "negative"},
        coincides="with weight_decay = 0",
    ),
    "W10": Row(
        "the decay is multiplied by lr",
        "The gradient knows no lr: add weight_decay·w.",
        "equation (3.7)",
        {"decay": "times lr"},
        coincides="with weight_decay = 0",
    ),
    "W11": Row(
        "weight_decay is ignored",
        "The weights do not decay at all. Read group['weight_decay'].",
        "equation (3.7)",
        {"decay": "ignored"},
        coincides="with weight_decay = 0",
    ),
    "W6": Row(
        "only tensors with more than one dimension decay",
        "Sparing biases is the caller's decision, made with parameter groups. torch decays every parameter of a group.",
        _GROUPS,
        {"decay": "matrices only"},
        coincides="with weight_decay = 0, and for models without vectors",
    ),
    "A26": Row(
        "the lr is remembered from the first step",
        "Schedulers change group['lr'] during training. Read it in every step.",
        _GROUPS,
        {"lr": "first seen"},
        coincides="at a constant lr",
    ),
    "A27": Row(
        "the lr of the constructor is used for every group",
        "self.defaults['lr'] is what the constructor was given; a group's own lr is group['lr'].",
        _GROUPS,
        {"lr": "defaults"},
        coincides="for one group at a constant lr",
    ),
    "S9": Row(
        "the first group's lr is used for every group",
        "Each group has its own lr: group['lr'] inside the loop over self.param_groups.",
        _GROUPS,
        {"lr": "first group"},
        coincides="for one group",
    ),
    "M64": Row(
        "the first group's momentum is used for every group",
        "Each group has its own momentum: group['momentum'] inside the loop.",
        _GROUPS,
        {"group momentum": "first group"},
        coincides="for one group",
    ),
    "M71": Row(
        "the momentum of the constructor is used for every group",
        "self.defaults['momentum'] is what the constructor was given; a group's own is group['momentum'].",
        _GROUPS,
        {"group momentum": "defaults"},
        coincides="for one group",
    ),
    "A30": Row(
        "the first group's weight_decay is used for every group",
        "Groups exist so that biases can go without decay: read group['weight_decay'] inside the loop.",
        _GROUPS,
        {"group decay": "first group"},
        coincides="for one group",
    ),
    "A31": Row(
        "only the first group is updated",
        "Loop over all of self.param_groups (and mind a `return` inside the loop).",
        _GROUPS,
        {"groups": "first only"},
        coincides="for one group",
    ),
    "A32": Row(
        "a missing gradient is taken for a zero gradient",
        "A parameter whose .grad is None is left alone: its buffer does not move it, and does not fade.",
        "the list in section 4, p.grad",
        {"none": "zero"},
        coincides="as long as every parameter has a gradient in every step",
    ),
    "A34": Row(
        "`return` where `continue` belongs",
        "At the first parameter without a gradient the step ends, and the parameters after it are not updated.",
        "the list in section 4, p.grad",
        {"none": "returns"},
        coincides="as long as every parameter has a gradient in every step",
    ),
    "M9": Row(
        "the weight is not updated in place",
        "`p = p - …` makes a new tensor and leaves the one that the model uses as it was. Write `p.sub_(…)`.",
        "the docstring: updated in place",
        {"weight": "rebound"},
    ),
    "M9s": Row(
        "the weight gets new storage",
        "`p.data = …` points the parameter at new memory. Views and CUDA graphs still see the old one. Write into it: "
        "`p.sub_(…)`.",
        "the docstring: updated in place",
        {"weight": "new storage"},
    ),
    "M65": Row(
        "nesterov is accepted with dampening, or without momentum",
        "The look ahead is made for a whole gradient and a buffer. torch refuses anything else with a ValueError, "
        "and so should the constructor.",
        "the docstring: ValueError",
        {"refuses": "nothing"},
    ),
}


# --- many tensors at once -------------------------------------------------------------------------------------------


class TorchLoop(torch.optim.SGD):
    """The reference: torch's own, told to use its for-loop on every device.

    Where a GPU is at hand torch takes its foreach form, and that one adds Nesterov's look-ahead into `p.grad` itself.
    """

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options, foreach=False)


class TorchForeach(torch.optim.SGD):
    """The reference: torch's own, told to use its foreach form on every device."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options, foreach=True)


class _Foreach(torch.optim.Optimizer):
    """Momentum in torch._foreach_* calls, with faults: loop, sync, state, start, stored, buffer, sign, lr, groups,
    none, gradient."""

    faults: ClassVar[Faults] = {}

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params and self.faults.get("none") == "returns":
                return
            if params:
                self._update(params, self.param_groups[0] if self.faults.get("groups") == "first" else group)

    def _start(self, p: Tensor) -> Tensor:
        if self.faults.get("start") == "gradient" and p.grad is not None:
            return p.grad.clone()
        device = "cpu" if self.faults.get("state") == "cpu" else p.device
        return torch.zeros(p.shape, dtype=p.dtype, device=device)

    def _update(self, ps: list[Tensor], group: dict[str, Any]) -> None:
        f, grads = self.faults, [p.grad for p in ps if p.grad is not None]
        if f.get("sync") == "all" and float(torch.stack(torch._foreach_norm(grads)).sum()) == 0.0:
            return
        if f.get("sync") == "each" and all(bool((g == 0).all()) for g in grads):
            return
        for p in ps:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = self._start(p)
        bufs, mu, rate = [self.state[p]["momentum_buffer"] for p in ps], group["momentum"], -group["lr"]
        if f.get("buffer") == "swapped":
            mu = 1 - mu
        if f.get("sign") == "up":
            rate = -rate
        if f.get("stored") == "new":
            bufs = list(torch._foreach_add(torch._foreach_mul(bufs, mu), grads))
            for p, buffer in zip(ps, bufs, strict=True):
                self.state[p]["momentum_buffer"] = buffer
            torch._foreach_add_(ps, bufs, alpha=rate)
            return
        if f.get("stored") == "temporary":
            torch._foreach_mul_(bufs, mu)
            torch._foreach_add_(bufs, grads)
            torch._foreach_add_(ps, torch._foreach_mul(bufs, rate))
            return
        if f.get("buffer") == "old":
            torch._foreach_add_(ps, bufs, alpha=rate)
            rate = 0.0
        if f.get("buffer") == "fades elsewhere":
            torch._foreach_mul(bufs, mu)
        elif f.get("buffer") != "no friction":
            torch._foreach_mul_(bufs, mu)
        if f.get("lr") == "written":
            torch._foreach_add_(bufs, grads)
            torch._foreach_mul_(bufs, -rate)
            torch._foreach_sub_(ps, bufs)
            return
        inside = f.get("lr") == "inside"
        gain = 1 - mu if f.get("buffer") == "averaged" else (-rate if inside else 1.0)
        torch._foreach_add_(bufs, grads, alpha=gain)
        torch._foreach_add_(ps, bufs, alpha=-1.0 if inside else rate)
        if f.get("gradient") == "changed":
            torch._foreach_mul_(grads, mu)


def foreach_optimizer(faults: Faults) -> tuple[type]:
    """A wrong `ForeachMomentum`."""
    if faults.get("loop"):
        return (type("ForeachMomentum", (_Loop,), {"faults": dict(faults)}),)
    return (type("ForeachMomentum", (_Foreach,), {"faults": dict(faults)}),)


class _Loop(Simulator):
    """Right numbers, one tensor after the other, in place."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    if "momentum_buffer" not in state:
                        state["momentum_buffer"] = torch.zeros_like(p)
                    buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(p.grad)
                    if self.faults.get("loop") == "with temporaries":
                        p.sub_(group["lr"] * buffer)
                    else:
                        p.add_(buffer, alpha=-group["lr"])


_SECTION = "section 8, the three rules"

FOREACH_ROWS: dict[str, Row] = {
    "F1": replace(adam_foreach.ROWS["F1"], reread=_SECTION, also=({"loop": "with temporaries"},)),
    "F2": Row(
        adam_foreach.ROWS["F2"].title,
        "`.item()`, `float(…)`, `bool(…)`, `if` or `.all()` in a condition on a device tensor makes Python wait "
        "until the GPU has finished all that was launched before. Nothing in this update needs a number from the "
        "device.",
        _SECTION,
        {"sync": "all"},
        coincides="in the values",
        also=({"sync": "each"},),
        by_rules=True,
    ),
    "F3": replace(adam_foreach.ROWS["F3"], reread=_SECTION),
    "F5": Row(
        "new tensors in every step",
        "`torch._foreach_mul(…)` without the last underscore makes a whole new list. The buffers and the parameters"
        " are there already: write into them, with `_foreach_mul_` and `_foreach_add_(…, alpha=…)`.",
        _SECTION,
        {"stored": "new"},
        coincides="in the values",
        also=({"stored": "temporary"},),
        by_rules=True,
    ),
    "F4": Row(
        adam_foreach.ROWS["F4"].title,
        "Each group has its own lr and momentum: one set of foreach calls per group.",
        _GROUPS,
        {"groups": "first"},
        coincides="for one group",
    ),
    "M5": replace(ROWS["M5"], faults={"sign": "up"}),
    "M7": replace(ROWS["M7"], faults={"buffer": "old"}, coincides=""),
    "M11": replace(ROWS["M11"], faults={"buffer": "swapped"}),
    "M16": replace(ROWS["M16"], faults={"buffer": "averaged"}, coincides=""),
    "M17": Row(
        "no friction: the buffers do not fade",
        "`torch._foreach_mul(buffers, mu)` without the last underscore returns a new list and leaves the buffers as they "
        "were. Write `torch._foreach_mul_`.",
        _SECTION,
        {"buffer": "fades elsewhere"},
        also=({"buffer": "no friction"},),
    ),
    "M72": Row(
        "the first gradient counts twice",
        "The buffer starts as a copy of the gradient, and then takes it up once more: it is (1 + mu)·g after a "
        "parameter's first step. Start with zeros, or leave new buffers out of the first update.",
        "equation (3.8)",
        {"start": "gradient"},
    ),
    "M73": Row(
        "lr is written into the buffer",
        "`torch._foreach_mul_(buffers, lr)` shrinks the buffer itself, in every step anew: the past fades by lr·mu and "
        "not by mu. Give lr to the last call: `torch._foreach_add_(params, buffers, alpha=-lr)`.",
        "equation (3.9)",
        {"lr": "written"},
    ),
    "A34": replace(
        ROWS["A34"],
        explanation="At the first group without a gradient the step ends, and the groups after it are not updated.",
        faults={"none": "returns"},
        coincides="as long as every group has a gradient in every step",
    ),
    "M4": replace(ROWS["M4"], faults={"lr": "inside"}),
    "M10": replace(
        ROWS["M10"],
        explanation="A _foreach_ function whose name ends in _ writes into its first list: here into the gradients.",
        faults={"gradient": "changed"},
        coincides="in the weights, as long as each gradient is used once",
    ),
}
