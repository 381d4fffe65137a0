"""Adam over lists of tensors, and what goes wrong with it on a GPU (rows F*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch

from autograder.exercise import Misconception
from autograder.misconceptions import Row, recognise
from autograder.misconceptions import adam as bank

Tensor = torch.Tensor


class TorchForeach(torch.optim.Adam):
    """The reference: torch's own, told to use its foreach form on every device."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options, foreach=True)


class _Foreach(torch.optim.Optimizer):
    """Adam in torch._foreach_* calls, with faults: eps, correct, betas, count, groups, sync, state."""

    faults: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})
        self.steps = self.calls = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.steps += 1
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                first = self.param_groups[0] if self.faults.get("groups") == "first" else group
                self._update(params, [self._state(p) for p in params], first)

    def _state(self, p: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[p]
        if not state:
            device = "cpu" if self.faults.get("state") == "cpu" else p.device
            state["step"] = torch.zeros((), device=p.device) if self.faults.get("sync") == "steps" else 0
            for key in ("exp_avg", "exp_avg_sq"):
                state[key] = torch.zeros(p.shape, dtype=p.dtype, device=device)
        state["step"] += 1
        return state

    def _count(self, state: dict[str, Any]) -> float:
        if self.faults.get("count") == "steps":
            return self.steps
        if self.faults.get("count") == "calls":
            self.calls += 1
            return self.calls
        step = state["step"]
        return float(step.item()) if isinstance(step, Tensor) else step

    def _update(self, ps: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]) -> None:
        f, grads = self.faults, [p.grad for p in ps if p.grad is not None]
        if f.get("sync") == "norm" and float(torch.stack(torch._foreach_norm(grads)).sum()) == 0.0:
            return
        b1, b2 = group["betas"][::-1] if f.get("betas") == "swapped" else group["betas"]
        ts = [self._count(state) for state in states]
        if f.get("count") == "group":
            ts = [max(ts)] * len(ts)
        ms, vs = [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]
        torch._foreach_mul_(ms, b1)
        torch._foreach_add_(ms, grads, alpha=1 - b1)
        torch._foreach_mul_(vs, b2)
        torch._foreach_addcmul_(vs, grads, grads, 1 - b2)
        both = f.get("correct") != "neither"
        c1 = [1 - b1**t if both else 1.0 for t in ts]
        c2 = [1 - b2**t if both else 1.0 for t in ts]
        ds = self._divisors(vs, c2, group["eps"])
        rate = -group["lr"] if f.get("sign") == "up" else group["lr"]
        if f.get("stored") == "m":
            torch._foreach_div_(ms, c1)
            c1 = [1.0] * len(c1)
        torch._foreach_addcdiv_(ps, ms, ds, [-rate / c for c in c1])
        if f.get("gradient") == "changed":
            torch._foreach_mul_(grads, 1 - b1)

    def _divisors(self, vs: list[Tensor], c2: list[float], eps: float) -> list[Tensor]:
        how = self.faults.get("eps")
        if how == "inside":
            return list(torch._foreach_sqrt(torch._foreach_add(torch._foreach_div(vs, c2), eps)))
        if self.faults.get("stored") == "v":
            torch._foreach_sqrt_(vs)
            ds = [v.clone() for v in vs]
        else:
            ds = list(vs if self.faults.get("root") == "missing" else torch._foreach_sqrt(vs))
        scales = c2 if self.faults.get("root") == "missing" else [c**0.5 for c in c2]
        if how == "hat":
            return list(torch._foreach_div(torch._foreach_add(ds, eps), scales))
        ds = list(torch._foreach_div(ds, scales))
        if how != "missing":
            torch._foreach_add_(ds, eps)
        return ds


def _build(faults: Mapping[str, Any]) -> tuple[type]:
    if faults.get("loop"):
        return (bank.optimizer("l2", {}),)
    return (type("ForeachAdam", (_Foreach,), {"faults": dict(faults)}),)


ROWS: dict[str, Row] = {
    "F1": Row(
        "an operation per parameter",
        "The values are right, but the number of launches grows with the number of parameters: somewhere an operation "
        "stands in a loop (or a list comprehension) over tensors. On a small layer the launch costs more than the work.",
        "the table of torch._foreach_ functions",
        {"loop": True},
        coincides="in the values",
    ),
    "F2": Row(
        "a number is fetched from the device",
        "`.item()`, `float(…)`, `bool(…)` or `if` on a device tensor makes Python wait until the GPU has finished all "
        "that was launched before. Count steps in Python, or in 0-dim CPU tensors as torch does.",
        "section 7, the paragraph on synchronisation",
        {"sync": "steps"},
        coincides="in the values",
        also=({"sync": "norm"},),
    ),
    "F3": Row(
        "the state is on the CPU",
        "torch.zeros(p.shape) makes a CPU tensor; the update then mixes devices. torch.zeros_like(p) takes the "
        "parameter's device and dtype.",
        "section 7, the paragraph on devices",
        {"state": "cpu"},
        coincides="for parameters on the CPU",
    ),
    "F4": Row(
        "the first group's hyperparameters for all groups",
        "Each group has its own lr, betas and eps: one set of foreach calls per group.",
        "the table in section 2, self.param_groups",
        {"groups": "first"},
        coincides="for one group",
    ),
    "A6g": Row(
        bank.ROWS["A6g"].title,
        "The corrections differ from parameter to parameter as soon as one joins late. torch._foreach_div_ takes a list "
        "of numbers, one per parameter.",
        "equation (5.3)",
        {"count": "steps"},
        also=({"count": "group"},),
        coincides=bank.ROWS["A6g"].coincides,
    ),
    **{row: bank.ROWS[row] for row in ("A5", "A1", "A2", "A8")},
    "A6": replace(bank.ROWS["A6"], faults={"count": "calls"}),
    "A4": replace(bank.ROWS["A4"], faults={"eps": "missing"}),
    "R4": replace(bank.ROWS["R4"], faults={"root": "missing"}),
    "M5": replace(bank.ROWS["M5"], faults={"sign": "up"}),
    "E5": replace(
        bank.ROWS["E5"],
        title="m is corrected in place",
        explanation="`torch._foreach_div_(ms, …)` writes the correction into m, so the next step averages it and corrects it "
        "again. The correction is for the update only: put it into the lr, or use `torch._foreach_div`.",
        faults={"stored": "m"},
    ),
    "E5v": replace(
        bank.ROWS["E5v"],
        explanation="`torch._foreach_sqrt_(vs)` writes the root into v, so the next step averages a root. Without the last "
        "underscore it makes new tensors.",
        faults={"stored": "v"},
    ),
    "M10": replace(
        bank.ROWS["M10"],
        explanation="A _foreach_ function whose name ends in _ writes into its first list: here into the gradients.",
        faults={"gradient": "changed"},
        coincides="in the weights, as long as each gradient is used once",
        also=(),
    ),
}


def misconceptions() -> tuple[Misconception, ...]:
    return recognise(ROWS, ROWS, _build)
