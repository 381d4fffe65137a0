"""Adagrad with faults that can be switched on, and the catalogue's rows about it.

Source of the right update: torch.optim.Adagrad (`_single_tensor_adagrad`); with no faults the simulator equals it (a
test says so). Equation and section numbers are those of `04_rmsprop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch

from autograder.misconceptions import Row
from autograder.misconceptions.rmsprop import Base
from autograder.misconceptions.rmsprop_rows import CORRECTED_ROWS, PRECONDITION_ROWS, ROWS

Tensor = torch.Tensor
Faults = Mapping[str, Any]

#: What each switch can be, the right value first.
SWITCHES: dict[str, tuple[Any, ...]] = {
    "sign": ("down", "up"),
    "lr": ("group", "missing", "first seen", "defaults", "first group"),
    "sum": ("sum", "average", "slow average", "mean", "no memory", "old", "not stored", "rooted"),
    "square": ("g", "absolute", "not squared", "tensor", "of the sum"),
    "initial": ("once", "ignored", "every step", "rooted", "under the root"),
    "eps": ("outside", "inside", "squared inside", "missing", "maximum", "on the weight", "on the step"),
    "root": ("sum", "missing"),
    "lr decay": (
        "t - 1", "t", "ignored", "compounded", "written", "root of t", "both", "exponential", "multiplied", "float32"
    ),
    "count": ("parameter", "calls", "steps", "never"),
    "group eps": ("group", "first group", "defaults", "first seen", "fixed", "fixed 1e-8"),
    "group lr decay": ("group", "first group", "defaults", "first seen"),
    "groups": ("all", "first only"),
    "none": ("skipped", "zero", "written", "returns"),
    "zeros": ("a gradient", "as None"),
    "state": ("own", "shared", "reset"),
    "gradient": ("kept", "changed"),
    "weight": ("in place", "rebound", "new storage"),
}  # fmt: skip


def _switch(faults: Faults, name: str) -> Any:
    return faults.get(name, SWITCHES[name][0])


class Simulator(Base):
    """torch.optim.Adagrad with this class's `faults`."""

    fixed: ClassVar[dict[str, dict[str, float]]] = {"fixed": {"eps": 1e-10}, "fixed 1e-8": {"eps": 1e-8}}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        initial = {"initial_accumulator_value": initial_accumulator_value}
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "eps": eps, **initial})

    def one(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        f, state = self.faults, self.own(p)
        t = self.count(state)
        if _switch(f, "gradient") == "changed":
            grad.pow_(2)
            g = grad.sqrt()
        else:
            g = grad
        total = self._sum(g, state, group["initial_accumulator_value"], t)
        eps = self.of(group, "eps", "group eps")
        step = self._lr_at(t, p, group) * g / self._divisor(total, eps)
        new = p.detach() + (step if _switch(f, "sign") == "up" else -step)
        new = new + {"on the weight": eps, "on the step": -eps}.get(_switch(f, "eps"), 0.0)
        how = _switch(f, "weight")
        if how == "new storage":
            p.data = new
        elif how == "in place":
            p.copy_(new)

    def _sum(self, g: Tensor, state: dict[str, Any], initial: float, t: int) -> Tensor:
        """The sum of squares, equation (4.12); returns what the update uses."""
        f = self.faults
        how = _switch(f, "initial")
        new = {"absolute": g.abs(), "not squared": g, "tensor": (g * g).sum().expand_as(g)}.get(
            _switch(f, "square"), g * g
        )
        if "sum" not in state:
            start = {"ignored": 0.0, "rooted": initial**2, "every step": 0.0, "under the root": 0.0}.get(how, initial)
            state["sum"] = torch.full_like(g, start)
        kind, old = _switch(f, "sum"), state["sum"].clone()
        added: Tensor = {
            "average": 0.9 * old + 0.1 * new,
            "slow average": 0.99 * old + 0.01 * new,
            "no memory": new,
        }.get(kind, old + new)
        if how == "every step":
            added = added + initial
        if kind != "not stored":
            state["sum"].copy_(added.sqrt() if kind == "rooted" else added)
        used: Tensor = {"old": old, "mean": added / t}.get(kind, added)
        if _switch(f, "square") == "of the sum":
            state["gradients"] = state.get("gradients", torch.zeros_like(g)) + g
            used = state["gradients"] ** 2
        return used + initial**2 if how == "under the root" else used

    def _divisor(self, total: Tensor, eps: float) -> Tensor:
        if _switch(self.faults, "root") == "missing":
            return total + eps
        d: Tensor = {
            "inside": lambda: (total + eps).sqrt(),
            "squared inside": lambda: (total + eps**2).sqrt(),
            "missing": lambda: total.sqrt(),
            "on the weight": lambda: total.sqrt(),
            "on the step": lambda: total.sqrt(),
            "maximum": lambda: total.sqrt().clamp(min=eps),
        }.get(_switch(self.faults, "eps"), lambda: total.sqrt() + eps)()
        return d

    def _lr_at(self, t: int, p: Tensor, group: dict[str, Any]) -> float:
        """The lr of step t, equation (4.13)."""
        lr, decay = self.lr(p, group), float(self.of(group, "lr_decay", "group lr decay"))
        how = _switch(self.faults, "lr decay")
        if how == "float32":
            return float(lr / (1 + (torch.tensor(float(t)) - 1) * decay))
        if how == "written":
            group["lr"] = lr / (1 + (t - 1) * decay)
        if how == "compounded":
            shrunk = self.state[p].get("factor", 1.0) / (1 + (t - 1) * decay)
            self.state[p]["factor"] = shrunk
            return lr * float(shrunk)
        factors = {
            "t": 1 / (1 + t * decay),
            "ignored": 1.0,
            "root of t": 1 / t**0.5,
            "both": 1 / t**0.5 / (1 + (t - 1) * decay),
            "exponential": (1 - decay) ** (t - 1),
            "multiplied": 1 + (t - 1) * decay,
        }
        return lr * float(factors.get(how, 1 / (1 + (t - 1) * decay)))


def optimizer(faults: Faults) -> type[Simulator]:
    """The simulator as a class, as a student would hand it in."""
    return type("Adagrad", (Simulator,), {"faults": dict(faults)})


_SUM, _STEP = "equation (4.12)", "equation (4.13)"

#: Rows that say of Adagrad what they say of RMSProp.
_AS_BEFORE = {
    **{row: replace(PRECONDITION_ROWS[row], reread=_STEP) for row in ("R1", "R4s", "R4m", "A3", "R4", "M5", "R12")},
    "A4": replace(PRECONDITION_ROWS["A4"], reread=_STEP, also=()),
    **{row: ROWS[row] for row in ("A26", "A27", "S9", "A31", "A34", "R81", "M9", "M9s")},
    "A29": replace(ROWS["A29"], also=(*ROWS["A29"].also, {"group eps": "fixed 1e-8"})),
    "R82": replace(
        ROWS["R82"],
        faults={"lr": "defaults", "group eps": "defaults", "group lr decay": "defaults"},
        also=({"lr": "first group", "group eps": "first group", "group lr decay": "first group"},),
    ),
    "R83": replace(
        ROWS["R83"],
        faults={"group eps": "first seen", "group lr decay": "first seen"},
        also=(
            {"lr": "first seen", "group eps": "first seen", "group lr decay": "first seen"},
            {"group eps": "first seen"},
            {"group lr decay": "first seen"},
        ),
    ),
}

ADAGRAD_ROWS: dict[str, Row] = {
    **_AS_BEFORE,
    "R43": Row(
        "an average in place of the sum",
        "The old sum fades, as in RMSProp (or is divided by t). Adagrad adds up: nothing is ever forgotten.",
        _SUM,
        {"sum": "average"},
        also=({"sum": "mean"}, {"sum": "slow average"}),
    ),
    "E9v": Row(
        "the sum has no memory",
        "The divisor is |g| of this step alone: the old sum is lost. Is it read from the state before it is written?",
        _SUM,
        {"sum": "no memory"},
        coincides="in the first step, with initial_accumulator_value = 0",
    ),
    "R10": Row(
        "the update uses the old sum",
        "This step's g² belongs to the sum before the division. In the first step the old sum is 0.",
        _SUM,
        {"sum": "old"},
    ),
    "R39": Row(
        "the new sum is not stored",
        "`s = s + g**2` makes a new tensor and leaves the stored one as it was. Change it in place, or store the new one.",
        "the list in section 2, self.state[p]",
        {"sum": "not stored"},
        coincides="in the first step",
        also=({"state": "reset"},),
    ),
    "E5v": Row(
        "the root is written into the sum",
        "`s.sqrt_()` changes the sum itself. Without the underscore it makes a new tensor.",
        _STEP,
        {"sum": "rooted"},
        coincides="in the first step",
    ),
    "R4a": Row(
        "the sum adds |g| instead of g²",
        "The root of a sum of |g| grows with the root of the gradient: the step depends on the gradient's scale.",
        _SUM,
        {"square": "absolute"},
    ),
    "A7g": Row(
        "the sum adds g instead of g²",
        "Without the square the sum can be negative, and its root is nan.",
        _SUM,
        {"square": "not squared"},
    ),
    "R85": Row(
        "the sum of gradients is squared",
        "Under the root stands (Σg)². With changing signs that goes to 0. Square each gradient first, then add.",
        _SUM,
        {"square": "of the sum"},
        coincides="in the first step, with initial_accumulator_value = 0",
    ),
    "A7t": Row(
        "one sum for the whole tensor",
        "g² is added up over the tensor's elements. Adagrad keeps one sum per element. (With one for all it is a method of "
        "its own, AdaGrad-Norm.)",
        _SUM,
        {"square": "tensor"},
        coincides="for a tensor with a single element",
    ),
    "R44": Row(
        "initial_accumulator_value is ignored",
        "The sum starts at group['initial_accumulator_value'], not at 0.",
        _SUM,
        {"initial": "ignored"},
        coincides="with initial_accumulator_value = 0",
    ),
    "R45": Row(
        "the initial value is squared",
        "initial_accumulator_value is where the sum starts: it is a sum of squares already.",
        _SUM,
        {"initial": "rooted"},
        coincides="with initial_accumulator_value 0 or 1",
        also=({"initial": "under the root"},),
    ),
    "R46": Row(
        "the initial value is added in every step",
        "The sum starts at it once, when the state is made.",
        _SUM,
        {"initial": "every step"},
        coincides="with initial_accumulator_value = 0, and in the first step",
    ),
    "R47": Row(
        "lr_decay counts from t instead of t − 1",
        "torch divides by 1 + (t − 1)·lr_decay: the first step has the full lr.",
        _STEP,
        {"lr decay": "t"},
        coincides="with lr_decay = 0",
    ),
    "R48": Row(
        "lr_decay has no effect",
        "The lr of step t is lr / (1 + (t − 1)·lr_decay), beside what the sum does. Either it is not read, or t never "
        "advances: is the step count stored in the state?",
        _STEP,
        {"lr decay": "ignored"},
        coincides="with lr_decay = 0",
        also=({"count": "never"},),
    ),
    "S7": Row(
        "the decay compounds",
        "The formula is applied to the lr that has decayed already, for example because it is written into group['lr']. It "
        "gives the lr of step t from the base lr; group['lr'] is the user's and stays as it is.",
        _STEP,
        {"lr decay": "written"},
        coincides="with lr_decay = 0, and in the first two steps",
        also=({"lr decay": "compounded"},),
    ),
    "R49": Row(
        "lr/√t on top of the sum",
        "η/√t is what a steady gradient makes of Adagrad: the sum does it, nobody has to write it.",
        _STEP,
        {"lr decay": "root of t"},
        coincides="in the first step",
        also=({"lr decay": "both"},),
    ),
    "R90": replace(
        CORRECTED_ROWS["R90"],
        explanation="With state['step'] = torch.tensor(0.0) the lr of step t becomes a float32 tensor, for weights in float64 "
        "too. Count in a Python int, or take the number out: state['step'].item().",
        faults={"lr decay": "float32"},
        coincides="to seven digits, and with lr_decay = 0",
    ),
    "R50": Row(
        "the decay is exponential",
        "You multiply by (1 − lr_decay)^(t−1). torch divides by 1 + (t − 1)·lr_decay.",
        _STEP,
        {"lr decay": "exponential"},
        coincides="with lr_decay = 0, and in the first step",
    ),
    "R51": Row(
        "multiplied by 1 + (t − 1)·lr_decay",
        "The lr grows. It is divided by that factor.",
        _STEP,
        {"lr decay": "multiplied"},
        coincides="with lr_decay = 0, and in the first step",
    ),
    "R52": Row(
        "lr_decay is not read from its group",
        "Each group has its own: group['lr_decay'] inside the loop, not self.param_groups[0]'s or self.defaults'.",
        "the list in section 2, self.param_groups",
        {"group lr decay": "first group"},
        coincides="for one group",
        also=({"group lr decay": "defaults"},),
    ),
    "A6": replace(
        CORRECTED_ROWS["A6"],
        explanation="t rises once per parameter instead of once per step, so the lr of the second parameter decays faster. "
        "Keep t in the parameter's own state.",
        reread=_STEP,
    ),
    "A6g": replace(
        CORRECTED_ROWS["A6g"],
        title="steps without a gradient are counted",
        explanation="A parameter whose .grad is None is left alone: its t does not rise. With one count for all, or with "
        "zeros in place of the missing gradient, its lr decays all the same.",
        reread=_STEP,
        coincides="with lr_decay = 0, and as long as every parameter has a gradient in every step",
        also=({"none": "zero"}, {"none": "written"}),
    ),
    "A23": replace(ROWS["A23"], title="one sum for all parameters"),
    "M10": Row(
        "p.grad is changed",
        "`p.grad.pow_(2)` and `g *= …` write into the gradient. Who reads or re-uses it afterwards finds something else.",
        "the docstring: p.grad stays as it is",
        {"gradient": "changed"},
    ),
}
