"""SGD as a torch optimizer, with faults that can be switched on. With none it equals torch.optim.SGD (a test says so).

Equation numbers are those of `01_minibatching`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from autograder.misconceptions import Row

Tensor = torch.Tensor


class Simulator(torch.optim.Optimizer):
    """w ← w − lr·(g + weight_decay·w), with this class's `faults`."""

    faults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, params: Any, lr: float = 1e-3, weight_decay: float = 0.0, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "maximize": maximize})
        self.seen: dict[Tensor, float] = {}

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # type: ignore[override]
        watched = contextlib.nullcontext() if self.faults.get("graph") else torch.no_grad()
        with watched:
            late = self.faults.get("closure") == "late"
            loss = None if late else self._evaluate(closure)
            for number, group in enumerate(self.param_groups):
                if number and self.faults.get("groups") == "first only":
                    break
                for p in group["params"]:
                    if p.grad is not None:
                        self._one(p, p.grad, group)
                    elif self.faults.get("none") == "returns":
                        return loss
                    elif self.faults.get("none") == "zero":
                        self._one(p, torch.zeros_like(p), group)
                    elif self.faults.get("none") == "zero kept":
                        p.grad = torch.zeros_like(p)
                        self._one(p, p.grad, group)
            return self._evaluate(closure) if late else loss

    def _evaluate(self, closure: Callable[[], Tensor] | None) -> Any:
        how = self.faults.get("closure")
        if closure is None or how == "ignored":
            return None
        with contextlib.nullcontext() if how == "without grad" else torch.enable_grad():
            loss = closure()
            if how == "twice":
                loss = closure()
        return None if how == "not returned" else loss

    def _hyper(self, p: Tensor, group: dict[str, Any]) -> tuple[float, float]:
        first = self.param_groups[0]
        how = self.faults.get("lr")
        lr = {"first group": first["lr"], "defaults": self.defaults["lr"], "missing": 1.0}.get(str(how), group["lr"])
        if how == "first seen":
            lr = self.seen.setdefault(p, lr)
        decay = first["weight_decay"] if self.faults.get("decay of") == "first group" else group["weight_decay"]
        return lr, decay

    def _one(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        lr, wd = self._hyper(p, group)
        climbs = group["maximize"] and self.faults.get("maximize") != "ignored"
        late = climbs and self.faults.get("maximize") == "after decay"
        g = -grad if climbs and not late else grad
        how = self.faults.get("decay", "l2")
        added = {"l2": wd, "negative": -wd, "times lr": lr * wd, "twice": 2 * wd}.get(how, 0.0)
        changed = g + added * p
        if self.faults.get("gradient") == "changed" or (self.faults.get("gradient") == "added to" and not climbs):
            grad.copy_(changed)  # −p.grad is a new tensor: then only the descent is added to
        if late:
            changed = -changed
        start = p * (1 - wd) if how == "without lr" else p
        new = start + (lr if self.faults.get("sign") == "up" else -lr) * changed
        self._write(p, new)

    def _write(self, p: Tensor, new: Tensor) -> None:
        how = self.faults.get("weight")
        if how == "new storage":
            p.data = new
        elif how != "rebound":
            p.copy_(new)


def optimizer(faults: Mapping[str, Any]) -> tuple[type[Simulator]]:
    """The simulator as a class, as a student would hand it in."""
    return (type("SGD", (Simulator,), {"faults": dict(faults)}),)


_GROUPS = "section 7, the table, self.param_groups"

ROWS: dict[str, Row] = {
    "M5": Row(
        "the sign of the update",
        "The weight moves along the gradient: uphill. SGD subtracts.",
        "equation (1.8)",
        {"sign": "up"},
    ),
    "M13": Row("lr is not used", "The whole gradient is subtracted.", "equation (1.8)", {"lr": "missing"}),
    "W9": Row(
        "the decay has the wrong sign",
        "g − weight_decay·w makes the weights grow. (The minus is found in lecture notes, too.)",
        "equation (1.8)",
        {"decay": "negative"},
        coincides="with weight_decay = 0",
    ),
    "W10": Row(
        "the decay is multiplied by lr twice",
        "You add lr·weight_decay·w to the gradient, and the update multiplies by lr again.",
        "equation (1.8)",
        {"decay": "times lr"},
        coincides="with weight_decay = 0",
    ),
    "W5": Row(
        "twice the decay",
        "The penalty λ·Σw² has the gradient 2λw; torch's weight_decay stands for (λ/2)·Σw².",
        "equation (1.8)",
        {"decay": "twice"},
        coincides="with weight_decay = 0",
    ),
    "W2": Row(
        "the decay is not multiplied by lr",
        "The weight shrinks by 1 − weight_decay. In (1.8) the decay is part of what lr multiplies.",
        "equation (1.8)",
        {"decay": "without lr"},
        coincides="with weight_decay = 0",
    ),
    "W11": Row(
        "weight_decay is ignored",
        "The weights do not decay. Read group['weight_decay'].",
        "equation (1.8)",
        {"decay": "ignored"},
        coincides="with weight_decay = 0",
    ),
    "A22": Row(
        "maximize is ignored",
        "With maximize=True the optimizer climbs: −g takes the place of g.",
        "section 7, the paragraph on maximize",
        {"maximize": "ignored"},
        coincides="with maximize=False",
    ),
    "A33": Row(
        "maximize turns the decay around too",
        "You negate after adding weight_decay·w, so the weights grow. torch negates the gradient first, then decays.",
        "section 7, the paragraph on maximize",
        {"maximize": "after decay"},
        coincides="with maximize=False, and without decay",
    ),
    "M9": Row(
        "the weight is not updated in place",
        "`p = p - …` makes a new tensor; the one that the model uses stays as it was. Write `p.sub_(…)` or `p.add_(…)`.",
        "the docstring: updated in place",
        {"weight": "rebound"},
    ),
    "M9s": Row(
        "the weight gets new storage",
        "`p.data = …` points the parameter at new memory. Views, flattened copies and CUDA graphs still see the old one. "
        "Write into it: `p.sub_(…)`.",
        "the docstring: updated in place",
        {"weight": "new storage"},
    ),
    "M10": Row(
        "p.grad is changed",
        "`g = p.grad` is no copy, and `g += …` writes into it. Make a new tensor: `g = g + …`.",
        "the docstring: p.grad stays as it is",
        {"gradient": "changed"},
        also=({"gradient": "added to"},),
        coincides="in the weights, as long as each gradient is used once",
    ),
    "B46": Row(
        "autograd watches the update",
        "The update runs with gradients on: torch refuses to change a parameter in place then, or records a graph that "
        "grows with every step. Keep `@torch.no_grad()` above step.",
        "section 7, the paragraph on no_grad",
        {"graph": True},
    ),
    "S9": Row(
        "the first group's lr is used for every group",
        "Each group has its own: group['lr'] inside the loop over self.param_groups.",
        _GROUPS,
        {"lr": "first group"},
        coincides="for one group",
    ),
    "A27": Row(
        "the lr of the constructor is used for every group",
        "self.defaults['lr'] is what the constructor was given. Groups and schedulers change group['lr'].",
        _GROUPS,
        {"lr": "defaults"},
        coincides="for one group at a constant lr",
    ),
    "A26": Row(
        "the lr is remembered from the first step",
        "Schedulers change group['lr'] during training. Read it in every step.",
        _GROUPS,
        {"lr": "first seen"},
        coincides="at a constant lr",
    ),
    "A30": Row(
        "the first group's weight_decay is used for every group",
        "Groups exist so that biases can go without decay: read group['weight_decay'] inside the loop.",
        _GROUPS,
        {"decay of": "first group"},
        coincides="for one group",
    ),
    "A31": Row(
        "only the first group is updated",
        "The parameters of the other groups never move. Loop over all of self.param_groups.",
        _GROUPS,
        {"groups": "first only"},
        coincides="for one group",
    ),
    "A32": Row(
        "a missing gradient is taken for a zero gradient",
        "A parameter whose .grad is None is left alone. With zeros in its place it decays.",
        "section 7, the table, p.grad",
        {"none": "zero"},
        also=({"none": "zero kept"},),
        coincides="as long as every parameter has a gradient, or without decay",
    ),
    "A34": Row(
        "`return` where `continue` belongs",
        "At the first parameter without a gradient the step ends, and the parameters after it are not updated.",
        "section 7, the table, p.grad",
        {"none": "returns"},
        coincides="as long as every parameter has a gradient",
    ),
    "B47": Row(
        "the closure is ignored",
        "step(closure) has to call it: it clears the gradients, computes the loss and runs backward. Otherwise the step "
        "uses an old gradient, or none.",
        "section 7, the table, closure",
        {"closure": "ignored"},
        coincides="without a closure",
    ),
    "B48": Row(
        "the closure runs without gradients",
        "step stands under no_grad, and so does the closure that it calls: backward finds no graph. Call it inside "
        "`with torch.enable_grad():`.",
        "section 7, the table, closure",
        {"closure": "without grad"},
        coincides="without a closure",
    ),
    "B71": Row(
        "the closure's loss is not returned",
        "step(closure) returns what the closure returned, so that training loops can log it.",
        "section 7, the table, closure",
        {"closure": "not returned"},
        coincides="without a closure",
    ),
    "B75": Row(
        "the closure is called after the update",
        "It computes the gradient that this step uses, so it has to come first. Yours steps along an old gradient, and "
        "returns the loss of the new weights.",
        "section 7, the table, closure",
        {"closure": "late"},
        coincides="without a closure",
    ),
    "B72": Row(
        "the closure is called twice",
        "Each call is a forward and a backward pass. One is enough: keep its result.",
        "section 7, the table, closure",
        {"closure": "twice"},
        coincides="without a closure",
    ),
}
