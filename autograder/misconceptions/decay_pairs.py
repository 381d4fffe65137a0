"""`l2_and_decoupled` of the notebook on Adam: torch's pairs, and wrong ones (rows W*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from autograder.misconceptions import Row

Tensor = torch.Tensor
GradFn = Callable[[Tensor], Tensor]
Pair = tuple[Tensor, Tensor]

MU, BETAS, EPS = 0.9, (0.9, 0.999), 1e-8


def with_torch(kind: str, w0: Tensor, grad_fn: GradFn, lr: float, wd: float, steps: int) -> Pair:
    """Both trajectories, each (steps + 1, *w0.shape), by torch's optimizers; torch has no SGD with decoupled decay."""
    return _torch_run(kind, False, w0, grad_fn, lr, wd, steps), _torch_run(kind, True, w0, grad_fn, lr, wd, steps)


def _torch_run(kind: str, decoupled: bool, w0: Tensor, grad_fn: GradFn, lr: float, wd: float, steps: int) -> Tensor:
    w = torch.nn.Parameter(w0.clone())
    opt: torch.optim.Optimizer
    if kind == "adam":
        opt = (torch.optim.AdamW if decoupled else torch.optim.Adam)([w], lr=lr, weight_decay=wd)
    else:
        momentum = MU if kind == "momentum" else 0.0
        opt = torch.optim.SGD([w], lr=lr, momentum=momentum, weight_decay=0.0 if decoupled else wd)
    rows = [w0.clone()]
    for _ in range(steps):
        w.grad = grad_fn(w.detach())
        if decoupled and kind != "adam":
            w.data.mul_(1 - lr * wd)
        opt.step()
        rows.append(w.detach().clone())
    return torch.stack(rows)


class _Update:
    """The plain update of one kind, with its state."""

    def __init__(self, kind: str, like: Tensor, average: bool = False) -> None:
        self.kind, self.t, self.average = kind, 0, average
        self.m, self.v = torch.zeros_like(like), torch.zeros_like(like)

    def move(self, g: Tensor, extra: Tensor | float = 0.0) -> Tensor:
        """What is subtracted, before lr; `extra` is added inside Adam's fraction."""
        self.t += 1
        if self.kind == "sgd":
            return g + extra
        if self.kind == "momentum":
            self.m = MU * self.m + (1 - MU if self.average else 1) * g
            return self.m + extra
        self.m = BETAS[0] * self.m + (1 - BETAS[0]) * g
        self.v = BETAS[1] * self.v + (1 - BETAS[1]) * g * g
        m_hat, v_hat = self.m / (1 - BETAS[0] ** self.t), self.v / (1 - BETAS[1] ** self.t)
        return (m_hat + extra) / (v_hat.sqrt() + EPS)


def _step(how: str, w: Tensor, grad_fn: GradFn, update: _Update, lr: float, wd: float) -> Tensor:
    """One step with the decay done in the way `how`."""
    added = {"l2": wd, "l2 twice": 2 * wd, "l2 times lr": lr * wd, "l2 negative": -wd}.get(how)
    if added is not None:
        return w - lr * update.move(grad_fn(w) + added * w)
    if how == "preconditioned":
        return w - lr * update.move(grad_fn(w), wd * w)
    if how == "after":
        return (w - lr * update.move(grad_fn(w))) * (1 - lr * wd)
    factor = {"decoupled": lr * wd, "shrunk first": lr * wd, "without lr": wd, "negative": -lr * wd}.get(how, 0.0)
    shrunk = w * (1 - factor)
    return shrunk - lr * update.move(grad_fn(shrunk if how == "shrunk first" else w))


def pair(faults: Mapping[str, Any]) -> Callable[..., Pair]:
    """A wrong `l2_and_decoupled`. Faults: how each trajectory decays ("l2", "decoupled"), and "rows"."""

    def l2_and_decoupled(kind: str, w0: Tensor, grad_fn: GradFn, lr: float, wd: float, steps: int) -> Pair:
        trajectories, start = [], w0
        update = _Update(kind, w0, faults.get("momentum") == "average")
        for name in ("l2", "decoupled"):
            w, rows = start.clone(), [start.clone()]
            if faults.get("rows") != "state kept":
                update = _Update(kind, w0, faults.get("momentum") == "average")
            for _ in range(steps):
                w = _step(faults.get(name, name), w, grad_fn, update, lr, wd)
                rows.append(w)
            if faults.get("rows") in ("aliased", "aliased but the start"):
                first = w if faults["rows"] == "aliased" else rows[0]
                rows = [first, *[w] * (len(rows) - 1)]
            trajectories.append(torch.stack(rows))
            if faults.get("rows") == "continued":
                start = w
        first, second = trajectories
        return (second, first) if faults.get("rows") == "swapped" else (first, second)

    return l2_and_decoupled


_PLAIN_SGD = "for kind = 'sgd', where L2 and decoupled decay are the same"
_NOT_ADAM = "for kind = 'sgd' and 'momentum', where nothing is divided by √v̂"

ROWS: dict[str, Row] = {
    "W1": Row(
        "the decoupled trajectory is L2 again",
        "In both trajectories the decay went through the gradient. Decoupled decay never enters m, v or the momentum "
        "buffer.",
        "equations (5.5) and (5.9)",
        {"decoupled": "l2"},
        coincides=_PLAIN_SGD,
    ),
    "W8": Row(
        "the L2 trajectory is decoupled",
        "In both trajectories the weight itself was shrunk. L2 adds wd·w to the gradient.",
        "equations (5.5) and (5.9)",
        {"l2": "decoupled"},
        coincides=_PLAIN_SGD,
    ),
    "W14": Row(
        "the two trajectories are swapped",
        "The first one returned should be L2, the second decoupled decay.",
        "the docstring's last line",
        {"rows": "swapped"},
        coincides=_PLAIN_SGD,
    ),
    "W2": Row(
        "the decoupled decay is not multiplied by lr",
        "The factor is 1 − lr·wd, not 1 − wd.",
        "equation (5.9)",
        {"decoupled": "without lr"},
    ),
    "W3": Row(
        "the decoupled decay comes after the update",
        "You shrink the new weight. The old one shrinks first, then the update is subtracted.",
        "equation (5.9)",
        {"decoupled": "after"},
    ),
    "W4": Row(
        "the decoupled decay is divided by √v̂ + eps too",
        "wd·w stands inside Adam's fraction. Decoupled means that it is not preconditioned.",
        "equation (5.9)",
        {"decoupled": "preconditioned"},
        coincides=_NOT_ADAM,
    ),
    "W5": Row(
        "twice the L2 term",
        "The gradient of λ·Σw² is 2λw; weight_decay stands for (λ/2)·Σw², whose gradient is wd·w.",
        "equation (5.5)",
        {"l2": "l2 twice"},
    ),
    "W9": Row(
        "the L2 term has the wrong sign",
        "g − wd·w makes the weights grow.",
        "equation (5.5)",
        {"l2": "l2 negative"},
    ),
    "W9d": Row(
        "the decoupled decay has the wrong sign",
        "1 + lr·wd makes the weights grow.",
        "equation (5.9)",
        {"decoupled": "negative"},
    ),
    "W10": Row(
        "the L2 term is multiplied by lr",
        "The gradient knows no lr: add wd·w.",
        "equation (5.5)",
        {"l2": "l2 times lr"},
    ),
    "W11": Row(
        "the decoupled trajectory has no decay",
        "wd does nothing in the second trajectory.",
        "equation (5.9)",
        {"decoupled": "ignored"},
    ),
    "W11l": Row(
        "the L2 trajectory has no decay",
        "wd does nothing in the first trajectory.",
        "equation (5.5)",
        {"l2": "ignored"},
    ),
    "W13": Row(
        "the gradient is taken after the weight has shrunk",
        "torch's AdamW gets a gradient that was computed at the old weight; shrinking comes afterwards.",
        "equation (5.9)",
        {"decoupled": "shrunk first"},
    ),
    "W15": Row(
        "the second run starts where the first one ended",
        "Both trajectories start at w0. Copy it (w = w0.clone()) before each run.",
        "the docstring: both start at w0",
        {"rows": "continued"},
    ),
    "W16": Row(
        "every row of the trajectory is the last weight",
        "The list holds the same tensor again and again, and it changes in place. Append w.clone().",
        "the docstring: row t is the weight after t steps",
        {"rows": "aliased"},
        also=({"rows": "aliased but the start"},),
    ),
    "W19": Row(
        "momentum in its averaging form",
        "You compute 0.9·buf + 0.1·g. In torch's form, and in the docstring, the new gradient counts in full.",
        "the docstring: buf ← 0.9·buf + g",
        {"momentum": "average"},
        coincides="for kind = 'sgd' and 'adam'",
    ),
    "W20": Row(
        "the second run goes on with the first one's m and v",
        "Each run starts with a buffer, m and v of zeros, and t = 1: make them inside the loop over the two runs.",
        "the docstring: the same run twice",
        {"rows": "state kept"},
        coincides="for kind = 'sgd', which has no state",
    ),
}
