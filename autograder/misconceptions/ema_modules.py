"""Averages of a model's weights, and what goes wrong with them (rows E48 to E60)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]


class TorchEMA(AveragedModel):
    """The reference: torch's AveragedModel with its exponential average, under the exercise's names."""

    def __init__(self, model: torch.nn.Module, beta: float) -> None:
        super().__init__(model, multi_avg_fn=get_ema_multi_avg_fn(beta))
        self.module.requires_grad_(False)

    @property
    def updates(self) -> int:
        return int(self.n_averaged)

    def update(self, model: torch.nn.Module) -> None:
        self.update_parameters(model)


class Simulator(torch.nn.Module):
    """`EMAModel` of the notebook with this class's `faults`."""

    faults: ClassVar[Faults] = {}

    def __init__(self, model: torch.nn.Module, beta: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.beta, self.updates = beta, self.faults.get("counts from", 0)

    def update(self, model: torch.nn.Module) -> None:
        faults = self.faults
        if faults.get("copy") == "with requires_grad" and self.updates == 0:
            self.module = copy.deepcopy(model)
        averaged: list[Tensor] = list(self.module.parameters())
        current: list[Tensor] = list(model.parameters())
        first = self.updates == 0 and faults.get("first") != "averaged"
        if faults.get("into") == "model":
            averaged, current = current, averaged
        for mine, other in zip(averaged, current, strict=True):
            self._average(mine, other, first or faults.get("count") == "never")
        if faults.get("buffers") != "forgotten":
            for mine, other in zip(self.module.buffers(), model.buffers(), strict=True):
                self._buffer(mine, other)
        if faults.get("into") == "both":
            with torch.no_grad():
                for mine, other in zip(averaged, current, strict=True):
                    other.copy_(mine)
        self.updates += faults.get("count") != "never"

    def _average(self, mine: Tensor, other: Tensor, copies: bool) -> None:
        write = self.faults.get("write")
        if write == "renamed" or write == ("renamed first" if copies else "renamed later"):
            return
        n = self.updates + 1
        old, new = {
            "swapped": (1 - self.beta, self.beta),
            "sum": (self.beta, 1.0),
            "mean": (1 - 1 / n, 1 / n),
        }.get(self.faults.get("roles", ""), (self.beta, 1 - self.beta))
        if copies and self.faults.get("copy") == "shared":
            mine.data = other.data
        elif self.faults.get("graph") == "kept":
            mine.copy_(other if copies else old * mine + new * other)
        else:
            with torch.no_grad():
                mine.copy_(other if copies or mine.data_ptr() == other.data_ptr() else old * mine + new * other)

    @torch.no_grad()
    def _buffer(self, mine: Tensor, other: Tensor) -> None:
        how = self.faults.get("buffers", "")
        if self.updates and how.startswith("all averaged"):
            self._average_buffer(mine, other, how)
            return
        if self.updates and how == "first only":
            return
        if mine.is_floating_point() and how == "averaged" and self.updates:
            mine.lerp_(other, 1 - self.beta)
        elif mine.is_floating_point() or how != "floats only":
            mine.copy_(other)

    def _average_buffer(self, mine: Tensor, other: Tensor, how: str) -> None:
        """An integer buffer is rounded down by copy_, and refused by the other two."""
        if how == "all averaged by mul_":
            mine.mul_(self.beta).add_(other, alpha=1 - self.beta)
        elif how == "all averaged by lerp_":
            mine.lerp_(other, 1 - self.beta)
        else:
            mine.copy_(self.beta * mine + (1 - self.beta) * other)


def averaged(faults: Faults) -> type[Simulator]:
    """The simulator as a class, as a student would hand it in."""
    return type("EMAModel", (Simulator,), {"faults": dict(faults)})


_2_12 = "equation (2.12)"

ROWS: dict[str, Row] = {
    "E48": Row(
        "the first update averages instead of copying",
        "Your average starts from the weights that the model had when the copy was made, often random ones. torch's "
        "first update copies the model.",
        "section 6, the table of rules",
        {"first": "averaged"},
        coincides="when the model has not changed before the first update",
        also=({"counts from": 1},),
    ),
    "E49": Row(
        "buffers are forgotten",
        "`parameters()` leaves out what BatchNorm keeps: running_mean, running_var, num_batches_tracked. They stay as they "
        "were when the copy was made, and the averaged model normalises with stale statistics. Copy all of `buffers()`.",
        "section 6, the table of rules",
        {"buffers": "forgotten"},
        coincides="for models without buffers",
    ),
    "E50": Row(
        "floating buffers are averaged",
        "Running statistics are averages already; torch (use_buffers=False) copies every buffer at every update.",
        "section 6, the table of rules",
        {"buffers": "averaged"},
        coincides="for models without buffers",
    ),
    "E51": Row(
        "integer buffers are forgotten",
        "num_batches_tracked is a buffer as well: copy all of `buffers()`, whatever their dtype.",
        "section 6, the table of rules",
        {"buffers": "floats only"},
        coincides="for models without integer buffers",
    ),
    "E52": Row(
        "the update builds a graph",
        "The averaged parameters now depend on the model's, in autograd's graph, and the graph grows with every update "
        "until memory is full. Update under `torch.no_grad()`.",
        "section 6, the table of rules",
        {"graph": "kept"},
        coincides="in the values",
    ),
    "E53": Row(
        "the average shares the model's memory",
        "`p_ema.data = p.data` (or keeping p itself) makes both names of one tensor: whatever the optimizer does, the average "
        "does too, and updates of the average change the model. Copy numbers: `p_ema.copy_(p)`.",
        "section 6, the table of rules",
        {"copy": "shared"},
    ),
    "E54": Row(
        "the averages are written into the model",
        "`update` reads the model and changes `self.module`. Yours writes into the model's parameters.",
        _2_12,
        {"into": "model"},
        also=({"into": "both"},),
    ),
    "E55": Row(
        "every update copies",
        "The average is always the last model: the count of updates does not advance, so each update is taken for the first.",
        "section 6, the table of rules",
        {"count": "never"},
        coincides="in the first update",
    ),
    "E56": Row(
        "the plain mean of all models",
        "Each model counts 1/n. That is stochastic weight averaging (torch's AveragedModel without an averaging function); "
        "an exponential average forgets the early models.",
        _2_12,
        {"roles": "mean"},
        coincides="in the first update",
    ),
    "E57": Row(
        "the assignment only renames the loop variable",
        "`a = …` in a loop over parameters makes a the name of a new tensor; the parameter itself stays as it was. Write "
        "into it: `a.copy_(…)`, `a.lerp_(…)` or `a.mul_(…).add_(…)`.",
        "the docstring: self.module's tensors are changed in place",
        {"write": "renamed later"},
        coincides="when the model has not changed before the first update",
        also=(
            {"write": "renamed"},
            {"write": "renamed first"},
            {"write": "renamed", "buffers": "forgotten"},
            {"write": "renamed later", "buffers": "forgotten"},
            {"write": "renamed later", "buffers": "first only"},
        ),
    ),
    "E58": Row(
        "the averaged parameters need a gradient",
        "`copy.deepcopy(model)` copies requires_grad = True as well. Copy into the parameters that __init__ has made, or add "
        "`.requires_grad_(False)`.",
        "the class's docstring: parameters that need no gradient",
        {"copy": "with requires_grad"},
        coincides="in the values",
    ),
    "E59": Row(
        "all of the state dict is averaged",
        "`state_dict()` holds the buffers too: running statistics, and num_batches_tracked, an integer that cannot be "
        "averaged. Average the `parameters()` only, and copy all of `buffers()`.",
        "section 6, the table of rules",
        {"buffers": "all averaged"},
        coincides="for models without buffers",
        also=({"buffers": "all averaged by mul_"}, {"buffers": "all averaged by lerp_"}),
    ),
    "E60": Row(
        "buffers are copied once",
        "The first update copies the buffers, later ones leave them as they were then. Every update copies all of them.",
        "section 6, the table of rules",
        {"buffers": "first only"},
        coincides="for models without buffers",
    ),
    "E1": Row(
        "β and 1 − β change places",
        "You keep (1 − β) of the average and take β of the model. β is the weight of the past.",
        _2_12,
        {"roles": "swapped"},
        coincides="in the first update, and for β = 0.5",
    ),
    "E11": Row(
        "a sum: the factor 1 − β is missing",
        "You compute β·average + model: the weights grow to 1/(1 − β) times their size.",
        _2_12,
        {"roles": "sum"},
        coincides="in the first update",
    ),
}
