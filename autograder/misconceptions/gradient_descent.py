"""One step of gradient descent, and what goes wrong with it (rows M*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim.sgd import sgd as torch_sgd_update

from autograder.misconceptions import Row

Tensor = torch.Tensor


def with_torch(w: Tensor, grad: Tensor, lr: float) -> None:
    """The reference: torch.optim.SGD's functional form on one tensor."""
    torch_sgd_update(
        [w], [grad], [None], weight_decay=0.0, momentum=0.0, lr=lr, dampening=0.0, nesterov=False, maximize=False
    )


def step_function(faults: Mapping[str, Any]) -> Callable[..., None]:
    """`gd_step` with a fault: "move" (w, grad, lr) → the new weight, "rebound", or "gradient" changed."""

    @torch.no_grad()
    def gd_step(w: Tensor, grad: Tensor, lr: float) -> None:
        move = faults.get("move", lambda w, grad, lr: w - lr * grad)
        new = move(w, grad, lr)
        if faults.get("gradient") == "changed":
            grad.mul_(lr)
        if not faults.get("rebound"):
            w.copy_(new)

    return gd_step


ROWS: dict[str, Row] = {
    "M5": Row(
        "the sign of the update",
        "The weight moves along the gradient: uphill. The gradient points to larger losses, so it is subtracted.",
        "equation (0.1)",
        {"move": lambda w, grad, lr: w + lr * grad},
    ),
    "M9": Row(
        "the weight is not updated in place",
        "`w = w - …` makes a new tensor and gives it the name w inside your function; the tensor that the caller holds "
        "stays as it was. Write `w.sub_(…)`, `w -= …` or `w[...] = …`.",
        "the docstring: updated in place",
        {"rebound": True},
    ),
    "M10": Row(
        "the gradient is changed",
        "`grad.mul_(lr)` scales the caller's gradient as well. Make a new tensor: `lr * grad`.",
        "the docstring: grad stays as it is",
        {"gradient": "changed"},
    ),
    "M13": Row(
        "lr is not used",
        "The whole gradient is subtracted. The learning rate is there to make the step small.",
        "equation (0.1)",
        {"move": lambda w, grad, lr: w - grad},
        coincides="for lr = 1",
    ),
    "M14": Row(
        "divided by lr",
        "A small lr should make a small step: multiply.",
        "equation (0.1)",
        {"move": lambda w, grad, lr: w - grad / lr},
        coincides="for lr = 1",
    ),
    "M15": Row(
        "the weight is scaled too",
        "You compute (1 − lr)·w − lr·grad. Shrinking the weight is weight decay, which comes much later.",
        "equation (0.1)",
        {"move": lambda w, grad, lr: (1 - lr) * w - lr * grad},
    ),
}
