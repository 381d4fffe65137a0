"""Adam for bf16 parameters with float32 master weights, and how the small updates get lost (rows D*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from autograder.exercise import Misconception
from autograder.misconceptions import Row, recognise
from autograder.misconceptions import adam as bank

Tensor = torch.Tensor
KEYS = ("master", "exp_avg", "exp_avg_sq")


class Master(torch.optim.Optimizer):
    """Adam on float32 master weights, rounded to the parameter's dtype after every step; wrong with `faults`."""

    faults: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._one(p, self.state[p], group)

    def _one(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        f = self.faults
        assert p.grad is not None
        if not state:
            self._start(p, state)
        if f.get("master") == "anew":
            state["master"] = p.detach().float()
        state["step"] += 1
        g = p.grad.to(state["exp_avg"].dtype)
        if f.get("keeps") == "gradient":
            state["gradient"] = g
        t, (b1, b2) = float(state["step"]), group["betas"]
        c1, c2 = (1.0, 1.0) if f.get("correct") == "neither" else (1 - b1**t, 1 - b2**t)
        self._average(state, g, (p.grad * p.grad).float() if f.get("square") == "bf16" else g * g, b1, b2)
        master, m, v = (state[key] for key in KEYS)
        divisor = (v / c2).sqrt_().add_(group["eps"])
        if f.get("out of place"):
            state["master"] = master - group["lr"] / c1 * m / divisor
        else:
            master.addcdiv_(m, divisor, value=-group["lr"] / c1)
        if f.get("parameter") != "left":
            p.copy_(state["master"])

    def _start(self, p: Tensor, state: dict[str, Any]) -> None:
        half = torch.bfloat16
        state["step"] = torch.tensor(0.0)
        state["master"] = p.detach().to(half if self.faults.get("master") == "bf16" else torch.float32, copy=True)
        for key in KEYS[1:]:
            state[key] = torch.zeros_like(p, dtype=half if self.faults.get("moments") == "bf16" else torch.float32)

    def _average(self, state: dict[str, Any], g: Tensor, g2: Tensor, b1: float, b2: float) -> None:
        _, m, v = (state[key] for key in KEYS)
        if self.faults.get("out of place"):
            state["exp_avg"], state["exp_avg_sq"] = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g2
        else:
            m.lerp_(g, 1 - b1)
            v.mul_(b2).add_(g2, alpha=1 - b2)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if self.faults.get("load") == "cast":
            return
        params = [p for group in self.param_groups for p in group["params"]]
        for i, saved in state_dict["state"].items():
            own = self.state[params[i]]
            for key in KEYS:
                own[key] = own[key].float() if self.faults.get("load") == "cast back" else saved[key].clone()


def _build(faults: Mapping[str, Any]) -> tuple[type]:
    return (type("MasterAdam", (Master,), {"faults": dict(faults)}),)


ROWS: dict[str, Row] = {
    "D1": Row(
        "no float32 master weight",
        "The weight itself is bf16, whose numbers between 1 and 2 lie 1/128 apart. An update of 0.002 is rounded away, "
        "in every step again: the weight never moves.",
        "section 8, the experiment with 1 + 0.002",
        {"master": "bf16"},
        coincides="when the updates are larger than bf16's resolution",
        by_rules=True,
    ),
    "D2": Row(
        "m and v are kept in bf16",
        "β₂ = 0.999 changes v by 0.1 % a step, and bf16 resolves 0.4 %: v stops following the gradients.",
        "section 8, the experiment with 1 + 0.002",
        {"moments": "bf16"},
        by_rules=True,
    ),
    "D3": Row(
        "the float32 state is cast to bf16 when it is loaded",
        "torch.optim.Optimizer.load_state_dict casts floating-point state to the parameter's dtype. After resuming, "
        "master, m and v are bf16. Override it and put the saved tensors back.",
        "section 8, the paragraph on load_state_dict",
        {"load": "cast"},
        coincides="until the first checkpoint is loaded",
        by_rules=True,
    ),
    "D9": Row(
        "the loaded state is cast to bf16 and back",
        "After super().load_state_dict the tensors are bf16 already; `.float()` makes them float32 again, but 16 of their "
        "bits are gone. Take them from the saved dict.",
        "section 8, the paragraph on load_state_dict",
        {"load": "cast back"},
        coincides="until the first checkpoint is loaded",
    ),
    "D4": Row(
        "the master weight is made anew from the bf16 weight in every step",
        "What bf16 cannot hold is lost between two steps. The master weight is made once, and lives in the state.",
        "the docstring of step",
        {"master": "anew"},
        coincides="when the updates are larger than bf16's resolution",
    ),
    "D5": Row(
        "the parameter is never refreshed",
        "The master weight learns, but the model computes with the bf16 parameter: copy it back after every step.",
        "the docstring of step",
        {"parameter": "left"},
    ),
    "D6": Row(
        "m, v and the master weight are new tensors in every step",
        "The values are right, but every step allocates all of the state again. Update in place: mul_, lerp_, addcmul_, "
        "addcdiv_.",
        "section 8, the table of bytes",
        {"out of place": True},
        coincides="in the values",
    ),
    "D7": Row(
        "a fourth tensor lives on in the state",
        "Between steps only master, m and v are needed: 12 bytes per element. A float32 copy of the gradient makes 16.",
        "section 8, the table of bytes",
        {"keeps": "gradient"},
        coincides="in the values",
    ),
    "D8": Row(
        "the gradient is squared in bf16",
        "g·g is rounded to 8 bits before it reaches v. Convert first: g = p.grad.float().",
        "section 8, the experiment with 1 + 0.002",
        {"square": "bf16"},
    ),
    "A5": Row(
        bank.ROWS["A5"].title, bank.ROWS["A5"].explanation, bank.ROWS["A5"].reread, {"correct": "neither"}
    ),
}  # fmt: skip


def misconceptions() -> tuple[Misconception, ...]:
    return recognise(ROWS, ROWS, _build)
