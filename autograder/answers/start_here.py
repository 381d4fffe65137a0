"""Right and wrong answers to the exercises of `00_start_here`."""

from __future__ import annotations

import torch

from autograder.answers import Mutants, Objects

Tensor = torch.Tensor


@torch.no_grad()
def minus_equals(w: Tensor, grad: Tensor, lr: float) -> None:
    w -= lr * grad


def with_alpha(w: Tensor, grad: Tensor, lr: float) -> None:
    with torch.no_grad():
        w.add_(grad, alpha=-lr)


def assigned(w: Tensor, grad: Tensor, lr: float) -> None:
    w[...] = w - lr * grad


def _plus(w: Tensor, grad: Tensor, lr: float) -> None:
    w.add_(lr * grad)


def _rebound(w: Tensor, grad: Tensor, lr: float) -> None:
    w = w - lr * grad


def _no_lr(w: Tensor, grad: Tensor, lr: float) -> None:
    w.sub_(grad)


def _grad_scaled(w: Tensor, grad: Tensor, lr: float) -> None:
    w.sub_(grad.mul_(lr))


ACCEPTED: dict[str, dict[str, Objects]] = {
    "start.gd_step": {
        "minus equals": (minus_equals,),
        "add_ with alpha": (with_alpha,),
        "assigned to a slice": (assigned,),
    },
}

MUTANTS: Mutants = {
    "start.gd_step": (
        ("M5", "plus", (_plus,)),
        ("M9", "w = w - ...", (_rebound,)),
        ("M13", "no lr", (_no_lr,)),
        ("M10", "grad.mul_", (_grad_scaled,)),
    ),
}
