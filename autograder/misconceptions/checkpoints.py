"""`save` and `resume` of the notebook on Adam, and what goes wrong with checkpoints (rows P*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from autograder.misconceptions import Row
from autograder.misconceptions.adam import update


def save(opt: torch.optim.Optimizer, path: str) -> None:
    """Write the optimizer's state to a file."""
    torch.save(opt.state_dict(), path)


def resume(opt: torch.optim.Optimizer, path: str) -> None:
    """Give a new optimizer, made over the same parameters, the state from the file."""
    opt.load_state_dict(torch.load(path))


class _Adam(torch.optim.Optimizer):
    """Right updates; where the state lives is up to `names` (step, m, v, max v) and `step_as`."""

    names: ClassVar[tuple[str, ...]] = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    step_as = "tensor"
    by_id = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        )
        self.counts: dict[torch.Tensor, int] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._one(p, group)

    def _one(self, p: torch.Tensor, group: dict[str, Any]) -> None:
        key: Any = id(p) if self.by_id else p
        state = self.state[key]
        _, m, v, largest = self.names
        if m not in state:
            state[m], state[v] = torch.zeros_like(p), torch.zeros_like(p)
        t = self._count(p, state)
        inner = {"exp_avg": state[m], "exp_avg_sq": state[v]}
        if largest in state:
            inner["max_exp_avg_sq"] = state[largest]
        g = p.grad + group["weight_decay"] * p
        options = {key: group[key] for key in ("lr", "betas", "eps", "amsgrad")}
        p.copy_(update(p.detach(), g, inner, t, faults={}, **options))
        if group["amsgrad"]:
            state[largest] = inner["max_exp_avg_sq"]

    def _count(self, p: torch.Tensor, state: dict[str, Any]) -> int:
        step = self.names[0]
        if self.step_as == "attribute":
            self.counts[p] = self.counts.get(p, 0) + 1
            return self.counts[p]
        zero = torch.tensor(0.0) if self.step_as == "tensor" else 0
        state[step] = state.get(step, zero) + 1
        return int(state[step])


def objects(faults: Mapping[str, Any]) -> tuple[type, Callable[..., None], Callable[..., None]]:
    """(Adam, save, resume) with the fault."""
    layout: dict[str, Any] = {key: faults[key] for key in ("names", "step_as", "by_id") if key in faults}
    cls = type("Adam", (_Adam,), layout) if layout else torch.optim.Adam
    return cls, faults.get("save", save), faults.get("resume", resume)


def _save_groups(opt: torch.optim.Optimizer, path: str) -> None:
    torch.save({"state": {}, "param_groups": opt.state_dict()["param_groups"]}, path)


def _save_everything(opt: torch.optim.Optimizer, path: str) -> None:
    torch.save(opt, path)


def _resume_state_only(opt: torch.optim.Optimizer, path: str) -> None:
    opt.load_state_dict({**opt.state_dict(), "state": torch.load(path)["state"]})


def _resume_groups_only(opt: torch.optim.Optimizer, path: str) -> None:
    opt.load_state_dict({"state": {}, "param_groups": torch.load(path)["param_groups"]})


def _resume_from_step_zero(opt: torch.optim.Optimizer, path: str) -> None:
    opt.load_state_dict(torch.load(path))
    for state in opt.state.values():
        state["step"] = torch.zeros_like(torch.as_tensor(state["step"]))


def _resume_by_number(opt: torch.optim.Optimizer, path: str) -> None:
    saved = torch.load(path)
    opt.state.update(saved["state"])
    for group, other in zip(opt.param_groups, saved["param_groups"], strict=True):
        group.update({key: value for key, value in other.items() if key != "params"})


def _resume_everything(opt: torch.optim.Optimizer, path: str) -> None:
    opt.__dict__.update(torch.load(path, weights_only=False).__dict__)


def _resume_nothing(opt: torch.optim.Optimizer, path: str) -> None:
    torch.load(path)


_LAYOUT = "section 6, the paragraph on names"

ROWS: dict[str, Row] = {
    "P1": Row(
        "the state has names of its own",
        "torch calls them step, exp_avg, exp_avg_sq and max_exp_avg_sq. Under other names your checkpoints cannot be "
        "read by torch, nor torch's by you.",
        _LAYOUT,
        {"names": ("t", "m", "v", "v_max")},
        coincides="when you save and load your own checkpoints only",
        also=({"names": ("step", "m", "v", "v_max")},),
    ),
    "P10": Row(
        "the state is kept under id(p), not under p",
        "state_dict() only finds what stands in self.state under the parameter itself; id(p) is another number in the next "
        "run. Write self.state[p].",
        "the table in section 2, self.state[p]",
        {"by_id": True},
        coincides="as long as nothing is saved",
    ),
    "P2": Row(
        "the step count is not part of the state",
        "It lives outside self.state[p] (in an attribute or a dict of yours), so state_dict() does not save it, and the "
        "bias correction starts again at t = 1.",
        _LAYOUT,
        {"step_as": "attribute"},
    ),
    "P3": Row(
        "the step count is a Python number",
        "torch keeps step as a 0-dim float32 tensor. Your own checkpoints work; torch's fused and capturable forms "
        "cannot use them.",
        _LAYOUT,
        {"step_as": "int"},
        coincides="when you save and load your own checkpoints only",
    ),
    "P4": Row(
        "resume restores the state but not the groups",
        "The new optimizer keeps the lr, betas, eps and weight_decay it was made with. They are in "
        "saved['param_groups'].",
        "section 6, the anatomy of a state dict",
        {"resume": _resume_state_only},
        coincides="when the new optimizer is made with the same hyperparameters",
    ),
    "P5": Row(
        "save leaves out the state",
        "The file holds the groups only; m, v and the step count are lost.",
        "section 6, the anatomy of a state dict",
        {"save": _save_groups},
    ),
    "P6": Row(
        "the saved state does not reach the parameters",
        "m, v and the step count start from nothing, though the file has them. Either resume leaves out saved['state'], "
        "or it puts it in by number: saved['state'] has the keys 0, 1, 2, …, self.state has the parameters themselves. "
        "load_state_dict translates.",
        "section 6, the anatomy of a state dict",
        {"resume": _resume_groups_only},
        also=({"resume": _resume_by_number},),
    ),
    "P7": Row(
        "the step count starts again at 0",
        "m and v are restored, but they are corrected as if they were young: the first steps after resuming have the "
        "wrong length (0.4 of the right one at the default betas).",
        "equation (5.3)",
        {"resume": _resume_from_step_zero},
    ),
    "P8": Row(
        "the whole optimizer object is saved",
        "A pickled optimizer brings copies of the parameters along, and the resumed one trains those copies, not the "
        "model's. Save state_dict().",
        "section 6, the anatomy of a state dict",
        {"save": _save_everything, "resume": _resume_everything},
    ),
    "P9": Row(
        "resume restores nothing",
        "The file is read, but the optimizer stays as it was made.",
        "section 6, the anatomy of a state dict",
        {"resume": _resume_nothing},
    ),
}
