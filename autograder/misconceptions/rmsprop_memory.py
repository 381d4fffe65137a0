"""RMSProp that makes few tensors, and what goes wrong with it (rows F*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch

from autograder.misconceptions import Row, foreach, in_turn
from autograder.misconceptions.rmsprop_rows import ROWS as RMSPROP_ROWS

Tensor = torch.Tensor
Faults = Mapping[str, Any]


class _Lean(torch.optim.Optimizer):
    """RMSProp in place, with faults: tensors, v, eps, root, decay, sign, gradient, scratch, sync, state, lr, none, groups."""

    faults: ClassVar[Faults] = {}

    def __init__(
        self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group, p, grad in in_turn(self.param_groups, self.faults):
            if grad is not None:
                self._one(p, grad, self._options(group))

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        """Whose hyperparameters count: the group's, as they are or as they were, the first group's, the constructor's."""
        how = self.faults.get("groups")
        if how == "first seen":
            seen: dict[str, Any] = self.__dict__.setdefault(f"group {id(group)}", dict(group))
            return seen
        return {"first": self.param_groups[0], "defaults": self.defaults}.get(str(how), group)

    def _state(self, p: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[p]
        if not state:
            device = "cpu" if self.faults.get("state") == "cpu" else p.device
            state["square_avg"] = torch.zeros(p.shape, dtype=p.dtype, device=device)
            if self.faults.get("scratch"):
                state["scratch"] = torch.zeros_like(p)
        return state

    def _decayed(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> Tensor:
        f, wd = self.faults, group["weight_decay"]
        if f.get("decay") == "always":
            return g.add(p, alpha=wd)
        if not wd or f.get("decay") == "ignored":
            return g
        if f.get("decay") == "decoupled":
            p.mul_(1 - group["lr"] * wd)
            return g
        if f.get("gradient") == "takes the decay":
            return g.add_(p, alpha=wd)
        return g + wd * p if f.get("decay") == "two tensors" else g.add(p, alpha=wd)

    def _one(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        f, state, alpha = self.faults, self._state(p), group["alpha"]
        if f.get("sync") == "sum" and float(grad.abs().sum()) == 0.0:
            return
        if f.get("sync") == "any" and not bool(grad.any()):
            return
        g, v = self._decayed(p, grad, group), state["square_avg"]
        rate = group["lr"] if f.get("sign") == "up" else -group["lr"]
        if f.get("tensors") == "state":
            v = state["square_avg"] = alpha * v + (1 - alpha) * g * g
        elif f.get("v") == "swapped":
            v.mul_(1 - alpha).addcmul_(g, g, value=alpha)
        elif f.get("tensors") == "square":
            v.mul_(alpha).add_((1 - alpha) * g**2)
        elif f.get("v") != "old":
            v.mul_(alpha).addcmul_(g, g, value=1 - alpha)
        d = self._divisor(v, group["eps"], state)
        if f.get("gradient") == "divided":
            p.add_(g.div_(d), alpha=rate)
        elif f.get("gradient") == "becomes the step":
            p.sub_(g.div_(d).mul_(-rate))
        elif f.get("tensors") == "step":
            p.add_(rate * g / d)
        else:
            p.addcdiv_(g, d, value=rate)
        if f.get("v") == "old":
            v.mul_(alpha).addcmul_(g, g, value=1 - alpha)
        if f.get("root") == "in place, undone":
            v.sub_(group["eps"]).square_()

    def _divisor(self, v: Tensor, eps: float, state: dict[str, Any]) -> Tensor:
        f = self.faults
        if f.get("root") in ("in place", "in place, undone"):
            return v.sqrt_().add_(eps)
        if f.get("root") == "missing":
            return v + eps
        if f.get("eps") == "inside":
            return v.add(eps).sqrt_()
        if f.get("eps") == "missing":
            return v.sqrt()
        if f.get("scratch"):
            return torch.sqrt(v, out=state["scratch"]).add_(eps)
        return v.sqrt() + eps if f.get("tensors") == "divisor" else v.sqrt().add_(eps)


def optimizer(faults: Faults) -> tuple[type]:
    """A wrong `LeanRMSprop`."""
    return (type("LeanRMSprop", (_Lean,), {"faults": dict(faults)}),)


_SECTION = "section 8, the table of tensors"

ROWS: dict[str, Row] = {
    "F5": Row(
        "too many new tensors",
        "Every operation whose name does not end in _ makes a new tensor: v.sqrt() + eps makes two, alpha * v + … a new "
        "state; state.setdefault(…, torch.zeros_like(p)) makes its zeros in every step. Only the root may be new. "
        "Write into it with add_, into v with mul_ and addcmul_, into p with addcdiv_.",
        _SECTION,
        {"tensors": "step"},
        coincides="in the values",
        also=({"tensors": "state"}, {"tensors": "square"}, {"tensors": "divisor"}),
        by_rules=True,
    ),
    "R42": Row(
        "the decay makes two new tensors",
        "g + weight_decay * p makes the product and the sum. g.add(p, alpha=weight_decay) makes the sum alone.",
        _SECTION,
        {"decay": "two tensors"},
        coincides="in the values, and with weight_decay = 0",
        by_rules=True,
    ),
    "R88": Row(
        "the decayed gradient is made with weight_decay = 0 too",
        "g.add(p, alpha=0) is a new tensor that equals g. Make it only if group['weight_decay'] is not 0.",
        _SECTION,
        {"decay": "always"},
        coincides="in the values, and with weight_decay > 0",
        by_rules=True,
    ),
    "R91": Row(
        "the root is written into v and squared back",
        "`v.sqrt_().add_(eps)` and afterwards `v.sub_(eps).square_()` save a tensor and round v each time: where √v is small "
        "beside eps, most of its digits are lost. The root is the one tensor that has to be new.",
        _SECTION,
        {"root": "in place, undone"},
        coincides="in the weights, and in v as long as √v is large beside eps",
    ),
    "R41": Row(
        "a second tensor lives on in the state",
        "A scratch tensor that is kept saves the allocation and costs its memory for ever: as much as the parameters. Only "
        "v has to survive a step; the root is freed when its parameter is done.",
        _SECTION,
        {"scratch": True},
        coincides="in the values",
        by_rules=True,
    ),
    "F2": Row(
        foreach.ROWS["F2"].title,
        "`.item()`, `float(…)`, `bool(…)` or `if` on a device tensor makes Python wait until the GPU has finished. Nothing "
        "in this update needs a number from the device.",
        _SECTION,
        {"sync": "sum"},
        coincides="in the values",
        also=({"sync": "any"},),
        by_rules=True,
    ),
    "F3": replace(foreach.ROWS["F3"], reread=_SECTION),
    "F4": Row(
        foreach.ROWS["F4"].title,
        "Each group has its own lr, alpha, eps and weight_decay: read them inside the loop over self.param_groups.",
        "the list in section 2, self.param_groups",
        {"groups": "first"},
        coincides="for one group",
    ),
    "M10": Row(
        "p.grad is changed",
        "The gradient is used as scratch: `g.add_(…)` or `g.div_(…)` writes into p.grad. That saves a tensor and takes it "
        "from whoever reads the gradient afterwards (clipping, logging, accumulation).",
        "the docstring: p.grad stays as it is",
        {"gradient": "divided"},
        coincides="in the weights, as long as each gradient is used once",
        also=({"gradient": "becomes the step"}, {"gradient": "takes the decay"}),
        by_rules=True,
    ),
    "E5v": replace(
        RMSPROP_ROWS["E5v"],
        explanation="`v.sqrt_()` saves the new tensor and destroys the average: the next step averages a root. The root is "
        "the one tensor that has to be new.",
        faults={"root": "in place"},
        reread=_SECTION,
        coincides="in the first step",
    ),
    "W8": replace(
        RMSPROP_ROWS["W8"],
        explanation="p.mul_(1 − lr·weight_decay) needs no new tensor, and is another optimizer. Here the decay is L2: it is "
        "added to the gradient, in a new tensor.",
        title="the decay is decoupled",
        faults={"decay": "decoupled"},
        also=(),
    ),
    "W11": replace(RMSPROP_ROWS["W11"], faults={"decay": "ignored"}),
    "R82": replace(RMSPROP_ROWS["R82"], faults={"groups": "defaults"}, also=()),
    "R83": replace(RMSPROP_ROWS["R83"], faults={"groups": "first seen"}, also=()),
    "R1": RMSPROP_ROWS["R1"],
    "A4": replace(RMSPROP_ROWS["A4"], also=()),
    "A32": replace(RMSPROP_ROWS["A32"], also=()),
    "R4": replace(RMSPROP_ROWS["R4"], faults={"root": "missing"}),
    "R8": replace(RMSPROP_ROWS["R8"], faults={"v": "swapped"}),
    "R10": replace(RMSPROP_ROWS["R10"], faults={"v": "old"}),
    "M5": replace(RMSPROP_ROWS["M5"], faults={"sign": "up"}),
    **{row: RMSPROP_ROWS[row] for row in ("A31", "A34")},
}
