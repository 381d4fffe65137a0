"""Schedulers that react, schedulers that drive an optimizer, and learning rates that are searched (rows S*).

Simulators with faults that can be switched on; with none they are right, which tests compare with torch. Equation and
section numbers are those of the notebook `06_schedulers`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch.optim import lr_scheduler

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]

# --- schedule.plateau -----------------------------------------------------------------------------------------------


class Plateau:
    """torch's ReduceLROnPlateau with this class's `faults`."""

    faults: ClassVar[Faults] = {}

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        groups = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * groups
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        self.first_lrs = [float(group["lr"]) for group in optimizer.param_groups]

    def step(self, metric: Any) -> None:
        cooldown = self.faults.get("cooldown")
        metric = metric if self.faults.get("metric") == "as given" else float(metric)
        if cooldown == "stops everything" and self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            return
        if self._is_better(metric):
            self.best = metric
            if self.faults.get("bad") != "in all":
                self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
            if self.faults.get("best") == "last":
                self.best = metric
            if self.faults.get("best") == "any":
                self.best = max(self.best, metric) if self.mode == "max" else min(self.best, metric)
        if self.cooldown_counter > 0 and cooldown != "ignored":
            self.cooldown_counter -= 1
            over = cooldown == "one short" and self.cooldown_counter == 0
            if cooldown != "bad epochs count" and not over:
                self.num_bad_epochs = 0
        blocked = cooldown == "bad epochs count" and self.cooldown_counter > 0
        enough = self.faults.get("patience") == "one less" and self.num_bad_epochs >= max(self.patience, 1)
        if (self.num_bad_epochs > self.patience or enough) and not blocked:
            self._reduce()
            self.cooldown_counter = self.cooldown
            if self.faults.get("after") != "counts on":
                self.num_bad_epochs = 0

    def _is_better(self, metric: float) -> bool:
        how = self.faults.get("threshold", "")
        up = self.mode == "max" and self.faults.get("mode") != "ignored"
        kind = {"always rel": "rel", "always abs": "abs"}.get(how, self.threshold_mode)
        threshold = {"ignored": 0.0, "other side": -self.threshold}.get(how, self.threshold)
        best = math.inf if self.faults.get("mode") == "ignored" and self.best == -math.inf else self.best
        sign = 1 if up else -1
        if how == "minus":
            sign = -1
        bound = best * (1 + sign * threshold) if kind == "rel" else best + sign * threshold
        if how == "away from 0" and kind == "rel" and math.isfinite(best):
            bound = best + sign * abs(best) * threshold
        if self.faults.get("nan") == "is better":
            return not (metric <= bound if up else metric >= bound)
        if self.faults.get("equal") == "is better":
            return metric >= bound if up else metric <= bound
        return metric > bound if up else metric < bound

    def _reduce(self) -> None:
        groups, first = self.optimizer.param_groups, self.faults.get("groups", "")
        first_old = float(groups[0]["lr"])
        for i, group in enumerate(groups[:1] if first == "first only" else groups):
            old = float((groups[0] if first == "first's lr" and i else group)["lr"])
            if self.faults.get("lr") == "first":
                old = self.first_lrs[i]
            if first == "first's old lr":
                old = first_old
            factor = {"1 - factor": 1 - self.factor, "divides": 1 / self.factor}.get(
                self.faults.get("factor", ""), self.factor
            )
            low = {"ignored": 0.0, "first": self.min_lrs[0]}.get(self.faults.get("min_lr", ""), self.min_lrs[i])
            new = max(old * factor, low)
            if self.faults.get("min_lr") == "not below" and old * factor < low:
                continue
            if self.faults.get("lr") == "never":
                continue
            if self.faults.get("eps") == "equal" and old - new == self.eps:
                group["lr"] = new
            if old - new > self.eps or self.faults.get("eps") == "ignored" or factor > 1:
                group["lr"] = new

    def state_dict(self) -> dict[str, Any]:
        left_out = {"optimizer"} | ({"num_bad_epochs"} if self.faults.get("state") == "no counter" else set())
        state = {key: value for key, value in self.__dict__.items() if key not in left_out}
        return state | ({"groups": self.optimizer.param_groups} if self.faults.get("state") == "groups" else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)


def plateau(faults: Faults) -> tuple[type[Plateau]]:
    return (type("ReduceOnPlateau", (Plateau,), {"faults": dict(faults)}),)


_BETTER, _REDUCE, _RULES = "equation (6.14)", "equation (6.15)", "the four rules in section 6"

PLATEAU_ROWS: dict[str, Row] = {
    "S101": Row(
        "patience is one too short",
        "You reduce when the number of bad epochs reaches patience (>=). torch waits for one more: it has to be larger "
        "than patience.",
        _RULES,
        {"patience": "one less"},
    ),
    "S102": Row(
        "the threshold is ignored",
        "Any improvement counts for you. It counts only if it is larger than the threshold.",
        _BETTER,
        {"threshold": "ignored"},
        coincides="for threshold = 0",
    ),
    "S103": Row(
        "the threshold makes it easier",
        "You move the bound to the wrong side of the best value: a metric that is a little worse counts as an improvement.",
        _BETTER,
        {"threshold": "other side"},
        coincides="for threshold = 0",
    ),
    "S104": Row(
        "threshold_mode is ignored",
        'With "rel" the bound is best·(1 ∓ threshold), with "abs" it is best ∓ threshold.',
        _BETTER,
        {"threshold": "always rel"},
        also=({"threshold": "always abs"},),
    ),
    "S105": Row(
        "mode is ignored",
        'With mode="max" larger is better: the bound lies above the best value, and the metric has to be larger.',
        _BETTER,
        {"mode": "ignored"},
        coincides='for mode="min"',
    ),
    "S106": Row(
        "the best value follows the metric",
        "You compare with the last metric. torch compares with the best one so far, which bad epochs leave alone.",
        _RULES,
        {"best": "last"},
    ),
    "S171": Row(
        "improvements below the threshold lower the best value",
        "min(best, metric) notes every improvement. Many small ones then never add up to one that beats the threshold: the "
        "best value changes only when the metric is better than the bound.",
        _RULES,
        {"best": "any"},
        coincides="for threshold = 0",
    ),
    "S172": Row(
        'the sign is − in mode "max" as well',
        "For an accuracy the bound lies above the best value: best·(1 + threshold), or best + threshold.",
        _BETTER,
        {"threshold": "minus"},
        coincides='for mode="min"',
    ),
    "S173": Row(
        "the threshold takes the size of the best value",
        "best ∓ |best|·threshold repairs the bound for negative values. That makes sense, but torch computes best·(1 ∓ "
        'threshold): for them use threshold_mode "abs".',
        _BETTER,
        {"threshold": "away from 0"},
        coincides="as long as no metric is negative",
    ),
    "S174": Row(
        "a reduction by exactly eps is made",
        "The lr is written only if old − new is larger than eps, not equal to it.",
        _REDUCE,
        {"eps": "equal"},
        coincides="unless a reduction is exactly eps",
    ),
    "S128": Row(
        "the state holds more than plain numbers",
        "Whatever is an attribute of self goes into state_dict(), except the optimizer. Its groups are not yours to save: ask "
        "self.optimizer.param_groups when you need them.",
        _RULES,
        {"state": "groups"},
        coincides="until it is saved",
    ),
    "S107": Row(
        "nan counts as an improvement",
        "Every comparison with nan is False. `if metric >= bound: bad` therefore takes nan for good. Ask whether it is "
        "better, and count a bad epoch otherwise.",
        _RULES,
        {"nan": "is better"},
        coincides="as long as no metric is nan",
    ),
    "S108": Row(
        "an equal metric counts as an improvement",
        "Better means smaller than the bound (larger for max), not equal to it.",
        _BETTER,
        {"equal": "is better"},
    ),
    "S109": Row(
        "bad epochs are counted in all, not in a row",
        "An improvement sets the count back to 0.",
        _RULES,
        {"bad": "in all"},
    ),
    "S110": Row(
        "the count goes on after a reduction",
        "When the lr was reduced, the count of bad epochs starts again at 0; else the lr falls in every epoch that follows.",
        _RULES,
        {"after": "counts on"},
    ),
    "S111": Row(
        "cooldown is ignored",
        "For cooldown epochs after a reduction, bad epochs are not counted.",
        _RULES,
        {"cooldown": "ignored"},
        coincides="for cooldown = 0",
    ),
    "S112": Row(
        "bad epochs are counted during the cooldown",
        "The lr is not reduced then, but the count grows, and falls due as soon as the cooldown is over. In each epoch of "
        "the cooldown the count is set to 0.",
        _RULES,
        {"cooldown": "bad epochs count"},
        coincides="for cooldown = 0",
    ),
    "S113": Row(
        "the best value is not updated during the cooldown",
        "The cooldown stops the counting of bad epochs; an improvement is still noted.",
        _RULES,
        {"cooldown": "stops everything"},
        coincides="for cooldown = 0",
    ),
    "S9": Row(
        "only the first group's lr is reduced",
        "Loop over all of optimizer.param_groups.",
        _REDUCE,
        {"groups": "first only"},
        coincides="for one group",
    ),
    "S157": Row(
        "the cooldown is one epoch short",
        "In the last epoch of the cooldown you count a bad epoch already. While the counter is above 0 when the metric comes "
        "in, the count of bad epochs is set to 0.",
        _RULES,
        {"cooldown": "one short"},
        coincides="for cooldown = 0",
    ),
    "S158": Row(
        "the lr is never reduced",
        "The lrs stay as they are. Is the new lr written into group['lr']? And is it old − new that is compared with eps?",
        _REDUCE,
        {"lr": "never"},
    ),
    "S114": Row(
        "all groups get the first group's lr",
        "Each group's own lr is multiplied by factor: the ratio between groups stays.",
        _REDUCE,
        {"groups": "first's lr"},
        also=({"groups": "first's old lr"},),
        coincides="for one group",
    ),
    "S115": Row(
        "min_lr is ignored",
        "No group's lr falls below its min_lr.",
        _REDUCE,
        {"min_lr": "ignored"},
        coincides="for min_lr = 0",
    ),
    "S116": Row(
        "the first group's min_lr for all groups",
        "self.min_lrs has one entry per group, in their order.",
        _REDUCE,
        {"min_lr": "first"},
        coincides="for a min_lr that is one number",
    ),
    "S117": Row(
        "the last reduction is left out",
        "When lr·factor would be below min_lr, the lr becomes min_lr; you leave it where it was.",
        _REDUCE,
        {"min_lr": "not below"},
        coincides="for min_lr = 0",
    ),
    "S118": Row(
        "eps is ignored",
        "A reduction by eps or less is not made at all: that keeps tiny lrs from being divided for ever.",
        _REDUCE,
        {"eps": "ignored"},
    ),
    "S7": Row(
        "always the first lr times factor",
        "After two reductions the lr is lr·factor²: the current lr is what is multiplied. (A plateau has no closed form.)",
        _REDUCE,
        {"lr": "first"},
        coincides="until the second reduction",
    ),
    "S153": Row(
        "the metric is kept as it was given",
        "A metric may be a 0-dim tensor. As self.best it goes into state_dict(), where plain numbers belong, and it may hold "
        "a whole graph alive. float(metric) first.",
        _RULES,
        {"metric": "as given"},
        coincides="for metrics that are floats",
    ),
    "S23": Row(
        "1 − factor in place of factor",
        "factor is what is left of the lr.",
        _REDUCE,
        {"factor": "1 - factor"},
    ),
    "S22": Row(
        "division by factor",
        "The lr is multiplied by factor, which is below 1.",
        _REDUCE,
        {"factor": "divides"},
    ),
}

# --- schedule.protocol ----------------------------------------------------------------------------------------------

Schedule = Callable[[int, float], float]


class TorchScheduler:
    """The reference: torch's LambdaLR behind the course's interface. Loading also writes the lrs."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
        self.optimizer = optimizer
        bases = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]

        def factor(number: int) -> Callable[[int], float]:
            def of(t: int) -> float:
                base = self.inner.base_lrs[number] if hasattr(self, "inner") else bases[number]
                return schedule(t, float(base)) / float(base)

            return of

        self.inner = lr_scheduler.LambdaLR(optimizer, [factor(i) for i in range(len(bases))])

    def step(self) -> None:
        self.inner.step()

    def get_last_lr(self) -> list[Any]:
        return self.inner.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state)
        for group, lr in zip(self.optimizer.param_groups, self.inner.get_last_lr(), strict=True):
            group["lr"] = lr


class Driver:
    """The course's Scheduler with this class's `faults`."""

    faults: ClassVar[Faults] = {}

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
        self.optimizer, self.schedule = optimizer, schedule
        self.t = 1 if self.faults.get("first") == "skipped" else 0
        self.stepped = self.warned = self.called = False
        optimizer.register_step_post_hook(self._note_step)
        key = "lr" if self.faults.get("base") == "lr when made" else "initial_lr"
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [float(group[key]) for group in optimizer.param_groups]
        if self.faults.get("groups") == "first's base":
            self.base_lrs = [self.base_lrs[0]] * len(self.base_lrs)
        self.groups = optimizer.param_groups
        self.last = [float(group["lr"]) for group in self.groups]
        self.before = list(self.last)
        if self.faults.get("first") != "not written":
            self._write()

    def _note_step(self, *_: Any) -> None:
        self.stepped = True

    def _write(self, shift: int = 0) -> None:
        kept = self.faults.get("kept") == "groups"
        groups = self.groups if kept else self.optimizer.param_groups
        self.before = self.last
        bases = [float(g["lr"]) for g in groups] if self.faults.get("base") == "current" else self.base_lrs
        if self.faults.get("base") == "in the groups":
            bases = [float(g["initial_lr"]) for g in groups]
        new = [self.schedule(self.t + shift, base) for base in bases]
        for group, lr in zip(groups[:1] if self.faults.get("groups") == "first only" else groups, new, strict=False):
            group["lr"] = lr
        self.last = new

    def step(self) -> None:
        how = self.faults.get("warning")
        at_any_t = how in ("every time", "until stepped") or (how == "own flag" and not self.called)
        self.called = True
        if how == "always" or (not self.stepped and how != "never" and (self.t == 0 or at_any_t)):
            if how == "raised":
                raise RuntimeError("optimizer.step() comes first")
            if how == "printed":
                print("optimizer.step() comes first")
            else:
                warnings.warn("optimizer.step() comes before scheduler.step()", UserWarning, stacklevel=2)
        if how == "every time":
            self.stepped = False
        self.t += 1
        if self.faults.get("index") != "not written":
            self._write(-1 if self.faults.get("index") == "late" else 0)

    def get_last_lr(self) -> list[float]:
        how = self.faults.get("last")
        if how == "base":
            return list(self.base_lrs)
        if how == "groups":
            return [float(group["lr"]) for group in self.optimizer.param_groups]
        if how == "before":
            return list(self.before)
        if how == "next":
            return [self.schedule(self.t + 1, base) for base in self.base_lrs]
        return list(self.last)

    def state_dict(self) -> dict[str, Any]:
        if self.faults.get("state") == "everything":
            return dict(self.__dict__)
        state = {"t": self.t, "base_lrs": self.base_lrs}
        left_out = {"no t": "t", "no base": "base_lrs"}.get(self.faults.get("state", ""))
        return {key: value for key, value in state.items() if key != left_out}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.faults.get("state") == "not loaded":
            return
        self.t = state.get("t", self.t)
        self.base_lrs = state.get("base_lrs", self.base_lrs)
        how = self.faults.get("loading")
        if how == "one further":
            self.t += 1
        if how == "takes out":
            state.pop("t")
        if how != "not written":
            self._write(-1 if self.faults.get("index") == "late" and how != "at t" else 0)


def driver(faults: Faults) -> tuple[type[Driver]]:
    return (type("Scheduler", (Driver,), {"faults": dict(faults)}),)


_ORDER, _BASE, _STATE = (
    "the table in section 7",
    "section 7, the paragraph on the base lr",
    "section 7, the paragraph on resuming",
)

PROTOCOL_ROWS: dict[str, Row] = {
    "S1": Row(
        "the first lr of the schedule is skipped",
        "The optimizer's first step finds the lr of t = 1. The constructor writes the lr of t = 0, the first step() that of "
        "t = 1. (In training the same happens to whoever calls scheduler.step() before optimizer.step().)",
        _ORDER,
        {"first": "skipped"},
    ),
    "S2": Row(
        "the lr comes one step late",
        "step() writes the lr of the old t and counts afterwards: the lr of t = 0 is used twice. Count first.",
        _ORDER,
        {"index": "late"},
        also=({"index": "late", "loading": "at t"},),
    ),
    "S156": Row(
        "step() writes nothing",
        "step() counts, and the groups keep the lr of t = 0.",
        _ORDER,
        {"index": "not written"},
    ),
    "S119": Row(
        "the constructor does not write the lr of t = 0",
        "The optimizer's first step finds the lr it was made with. A warmup would begin at full height.",
        _ORDER,
        {"first": "not written"},
    ),
    "S7": Row(
        "the current lr is taken for the base lr",
        "The schedule wants the base lr, that of before any schedule. With group['lr'] in its place the factors multiply up.",
        _BASE,
        {"base": "current"},
    ),
    "S10": Row(
        "a second scheduler starts from the lr that the first one has left",
        "The constructor takes group['lr'] for the base lr even where group['initial_lr'] is there already. Whoever "
        "steps a scheduler to draw it, and then makes another for the training, trains with the lr of the end.",
        _BASE,
        {"base": "lr when made"},
        coincides="for the first scheduler of an optimizer",
    ),
    "S9": Row(
        "only the first group's lr is written",
        "Loop over all of optimizer.param_groups.",
        _ORDER,
        {"groups": "first only"},
        coincides="for one group",
    ),
    "S120": Row(
        "the first group's base lr for all groups",
        "Each group has a base lr of its own; the schedule is asked once per group.",
        _BASE,
        {"groups": "first's base"},
        coincides="for one group",
    ),
    "S11": Row(
        "get_last_lr gives the lr of another step",
        "It gives what the scheduler wrote last, which the next optimizer.step() uses. Yours is one step off: a log of it "
        "shows the schedule shifted.",
        _ORDER,
        {"last": "before"},
        also=({"last": "next"},),
    ),
    "S121": Row(
        "get_last_lr gives the base lrs",
        "It gives what the scheduler wrote last.",
        _ORDER,
        {"last": "base"},
    ),
    "S154": Row(
        "get_last_lr reads the groups",
        "Somebody else may have written there in the meantime. What this scheduler wrote last is the schedule at t, for each "
        "base lr.",
        _ORDER,
        {"last": "groups"},
        coincides="as long as nobody else changes the lr",
    ),
    "S122": Row(
        "there is no warning",
        "When the first scheduler.step() comes before any optimizer.step(), the first lr is lost: warnings.warn says so.",
        _ORDER,
        {"warning": "never"},
        also=({"warning": "printed"},),
    ),
    "S123": Row(
        "a warning although the order is right",
        "Warn only if no optimizer.step() has come yet, which self.stepped knows.",
        _ORDER,
        {"warning": "always"},
    ),
    "S124": Row(
        "a warning in later steps",
        "Only the first scheduler.step() looks at the order, as in torch: skipping a batch later on is nobody's mistake.",
        _ORDER,
        {"warning": "every time"},
        also=({"warning": "until stepped"},),
    ),
    "S175": Row(
        "a resumed scheduler warns",
        "Whether step() was called before is something that you keep beside the state, so that it is lost in a resume. "
        "self.t == 0 says the same and is saved.",
        _ORDER,
        {"warning": "own flag"},
        coincides="without a break",
    ),
    "S125": Row(
        "an exception in place of the warning",
        "warnings.warn goes on after the message; raise ends the training.",
        _ORDER,
        {"warning": "raised"},
    ),
    "S126": Row(
        "the count t is not saved, or not loaded",
        "The resumed scheduler starts its schedule from t = 0.",
        _STATE,
        {"state": "no t"},
        also=({"state": "not loaded"},),
    ),
    "S127": Row(
        "the base lrs are not saved",
        "The resumed scheduler works with the lrs that the new optimizer happened to be made with.",
        _STATE,
        {"state": "no base"},
        also=({"state": "no base", "base": "in the groups"},),
        coincides="when the new optimizer is made with the old lrs",
    ),
    "S176": Row(
        "loading takes the state apart",
        "The dict belongs to the caller, who may load it again: read state_dict['t'], do not pop it.",
        _STATE,
        {"loading": "takes out"},
    ),
    "S128": Row(
        "the state holds the optimizer or the schedule",
        "state_dict() is what goes into a file: numbers and lists. The optimizer has a state dict of its own, and a "
        "function cannot be saved.",
        _STATE,
        {"state": "everything"},
    ),
    "S129": Row(
        "the resumed scheduler is one step further",
        "Loading puts t back to what it was; only step() counts.",
        _STATE,
        {"loading": "one further"},
    ),
    "S130": Row(
        "loading does not write the lrs",
        "A new scheduler's constructor has written the lr of t = 0 into the groups. After load_state_dict the lrs of t have "
        "to be there at once, and in get_last_lr().",
        _STATE,
        {"loading": "not written"},
    ),
    "S131": Row(
        "an old list of groups is kept",
        "optimizer.load_state_dict makes new group dicts. A list that was kept from before is the optimizer's no longer: ask "
        "for self.optimizer.param_groups every time.",
        _STATE,
        {"kept": "groups"},
        coincides="until the optimizer loads a state",
    ),
}

# --- schedule.range_test --------------------------------------------------------------------------------------------


def search(faults: Faults) -> tuple[Callable[..., float]]:
    """`range_test` with faults: spacing, update, start, choose, stop."""

    def range_test(w0: Tensor, loss_fn: Callable[[Tensor], Tensor], lr_min: float, lr_max: float, steps: int) -> float:
        w = w0 if faults.get("start") == "in place" else w0.clone()
        lrs: list[float] = []
        losses: list[float] = []
        for k in range(steps):
            share = k / (steps - 1)
            lr = lr_min * (lr_max / lr_min) ** share
            if faults.get("spacing") == "linear":
                lr = lr_min + (lr_max - lr_min) * share
            if faults.get("spacing") in ("k/steps", "k+1"):
                lr = lr_min * (lr_max / lr_min) ** ((k + (faults["spacing"] == "k+1")) / steps)
            if faults.get("spacing") == "downwards":
                lr = lr_max * (lr_min / lr_max) ** share
            if faults.get("update") == "from w0":
                w = w0.clone()
            asked = w.detach().requires_grad_()
            if faults.get("update") == "asked twice":
                loss_fn(asked)
            loss = loss_fn(asked)
            value = float(loss.detach())
            lrs.append(lr)
            losses.append(value)
            if faults.get("stop") == "first rise" and k and losses[-1] > losses[-2]:
                break
            if faults.get("stop") == "soon" and k == 10:
                break
            if faults.get("stop") == "half as much again" and value > 1.5 * min(losses):
                break
            if faults.get("stop") != "never" and not value <= 4 * min(losses):
                break
            (g,) = torch.autograd.grad(loss, asked)
            if faults.get("update") != "never":
                with torch.no_grad():
                    w.add_(g, alpha=lr if faults.get("update") == "up" else -lr)
        return _chosen(faults.get("choose", "tenth"), lrs, losses, lr_min, lr_max)

    return (range_test,)


def _chosen(how: str, lrs: list[float], losses: list[float], lr_min: float, lr_max: float) -> float:
    finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
    smooth = [sum(finite[max(i - 2, 0) : i + 3]) / len(finite[max(i - 2, 0) : i + 3]) for i in range(len(finite))]
    lowest = lrs[smooth.index(min(smooth))]
    found: dict[str, float] = {
        "tenth": lowest / 10,
        "steepest": lrs[_steepest(finite)],
        "lowest": lowest,
        "last": lrs[-1],
        "lr_max": lr_max,
        "lr_min": lr_min,
        "middle": math.sqrt(lr_min * lr_max),
        "mean": (lr_min + lr_max) / 2,
        "loss": min(finite),
        "index": float(smooth.index(min(smooth))),
        "smooth loss": min(sum(finite[i : i + 5]) / 5 for i in range(max(len(finite) - 4, 1))),
    }
    return found[how] if how in found else float(how)


def _steepest(losses: list[float]) -> int:
    """Where the smoothed loss falls most, in its own unit."""
    smooth = [sum(losses[i : i + 5]) / 5 for i in range(max(len(losses) - 4, 1))]
    falls = [after - before for before, after in pairwise(smooth)]
    return falls.index(min(falls)) + 2 if falls else 0


_SWEEP, _CHOICE = "equation (6.16)", "section 8, the paragraph on the choice"

RANGE_ROWS: dict[str, Row] = {
    "S132": Row(
        "the lr of the lowest loss is returned",
        "At the lowest point of the curve the lr is already too large: the loss has stopped falling because steps overshoot. "
        "Go back by a factor of ten.",
        _CHOICE,
        {"choose": "lowest"},
    ),
    "S133": Row(
        "an lr from where the loss had exploded is returned",
        "The last lr of the sweep is where the loss had exploded, not where it fell.",
        _CHOICE,
        {"choose": "last"},
        also=({"choose": "lr_max"},),
    ),
    "S134": Row(
        "the sweep is linear",
        "Equal differences spend nearly all steps within a factor of ten of lr_max. Equal ratios give each power of ten as "
        "many steps.",
        _SWEEP,
        {"spacing": "linear"},
        also=({"spacing": "linear", "stop": "never"},),
    ),
    "S135": Row(
        "the sweep goes downwards",
        "Begin with lr_min: whoever starts at lr_max has thrown the weights away in the first steps.",
        _SWEEP,
        {"spacing": "downwards"},
        also=({"spacing": "downwards", "stop": "never"},),
    ),
    "S136": Row(
        "the weights do not move",
        "Each step of the sweep is a step of gradient descent with its lr, and the next one goes on from there: the sweep is "
        "one run. Yours evaluates every loss at w0.",
        _SWEEP,
        {"update": "never"},
        also=({"update": "from w0"}, {"update": "never", "stop": "never"}),
    ),
    "S137": Row(
        "the exponent is k/steps",
        "The lr of the last step, k = steps − 1, is lr_max: the exponent is k/(steps − 1).",
        _SWEEP,
        {"spacing": "k/steps"},
        also=({"spacing": "k+1"},),
    ),
    "S138": Row(
        "the sweep climbs",
        "w − lr·g goes down.",
        _SWEEP,
        {"update": "up"},
    ),
    "S139": Row(
        "w0 is changed",
        "w0 belongs to the caller, who will train from it: work on w0.clone().",
        "the docstring: w0 stays as it is",
        {"start": "in place"},
    ),
    "S140": Row(
        "the loss is returned, or a position",
        "What is asked for is an lr. min(losses) is a loss, and argmin a position in the list: lrs[position] is the lr.",
        _CHOICE,
        {"choose": "loss"},
        also=({"choose": "index"}, {"choose": "smooth loss"}),
    ),
    "S177": Row(
        "the same lr for every problem",
        "What you return does not follow from the losses. Where the usable lrs lie differs from problem to problem by powers "
        "of ten, and the sweep is to find it out.",
        _CHOICE,
        {"choose": "0.001"},
        also=tuple({"choose": lr} for lr in ("0.0001", "0.01", "0.1", "1.0", "10.0")),
    ),
    "S181": Row(
        "the loss itself is differenced, not its logarithm",
        "The largest difference of the losses is found where the losses are large: in the noise of the flat part, before "
        "anything is learned. Take differences of the logarithm of the smoothed loss, and half the lr.",
        _CHOICE,
        {"choose": "steepest"},
        coincides="where the noise is small",
    ),
    "S178": Row(
        "the sweep stops too early",
        "Every loss comes from another minibatch, so that single ones rise and mean nothing. Go on until the loss is four "
        "times the lowest so far, or not finite, or to the end.",
        _CHOICE,
        {"stop": "first rise"},
        also=({"stop": "soon"}, {"stop": "half as much again"}),
    ),
    "S179": Row(
        "the loss is evaluated twice in each step",
        "One evaluation gives the loss, and torch.autograd.grad of it the gradient. A second one costs as much again, and is "
        "of another minibatch.",
        "the docstring: one evaluation per step",
        {"update": "asked twice"},
    ),
    "S141": Row(
        "lr_min is returned",
        "With the smallest lr of the sweep nothing diverges, and nothing is learned.",
        _CHOICE,
        {"choose": "lr_min"},
    ),
    "S142": Row(
        "the middle of the range is returned",
        "Where the usable lrs lie in the range is what the sweep is to find out: look at the losses.",
        _CHOICE,
        {"choose": "middle"},
    ),
}

# --- schedule.log_uniform -------------------------------------------------------------------------------------------


def drawer(faults: Faults) -> tuple[Callable[..., Tensor]]:
    """`log_uniform` with faults: scale, random."""

    def log_uniform(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
        random = faults.get("random")
        if random == "global":
            u = torch.rand(n, dtype=torch.float64)
        elif random == "fixed seed":
            u = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        elif random == "grid":
            u = torch.linspace(0, 1, n, dtype=torch.float64)
        elif random == "shuffled grid":
            u = torch.linspace(0, 1, n, dtype=torch.float64)[torch.randperm(n, generator=generator)]
        elif random == "one for all":
            u = torch.rand(1, dtype=torch.float64, generator=generator).expand(n)
        elif random == "normal":
            u = torch.randn(n, dtype=torch.float64, generator=generator)
        else:
            u = torch.rand(n, dtype=torch.float64, generator=generator)
        a, b = math.log(low), math.log(high)
        scale = faults.get("scale")
        if scale == "uniform":
            return low + (high - low) * u
        if scale == "power of ten":
            return 10 ** (a + (b - a) * u)
        if scale == "e for ten":
            return torch.exp(math.log10(low) + (math.log10(high) - math.log10(low)) * u)
        if scale == "no exponential":
            return a + (b - a) * u
        if scale == "bounds as exponents":
            return 10 ** (low + (high - low) * u)
        if scale == "from 0":
            return high**u * 1.0
        if scale == "squared":
            return low + (high - low) * u**2
        if scale == "whole exponents":
            first, last = round(math.log10(low)), round(math.log10(high))
            return 10.0 ** torch.randint(first, last + 1, (n,), generator=generator)
        if scale == "exponents rounded":
            return 10.0 ** torch.round((a + (b - a) * u) / math.log(10))
        return torch.exp(a + (b - a) * u)

    return (log_uniform,)


_INVERSE, _GENERATOR = "equation (6.17)", "the docstring: all randomness comes from generator"

UNIFORM_ROWS: dict[str, Row] = {
    "S143": Row(
        "uniform on the ordinary scale",
        "Nine of ten numbers lie in the last tenth of the range: the small lrs are hardly tried.",
        _INVERSE,
        {"scale": "uniform"},
        also=({"scale": "squared"},),
    ),
    "S144": Row(
        "natural logarithms with powers of ten, or the reverse",
        "Use one base throughout: exp with log, or 10** with log10.",
        _INVERSE,
        {"scale": "power of ten"},
        also=({"scale": "e for ten"},),
    ),
    "S145": Row(
        "the logarithm is returned",
        "The exponent is uniform; the number is its exponential.",
        _INVERSE,
        {"scale": "no exponential"},
    ),
    "S146": Row(
        "low and high are taken for exponents",
        "low and high are the smallest and largest lr. Take their logarithms first.",
        _INVERSE,
        {"scale": "bounds as exponents"},
    ),
    "S147": Row(
        "the lower end is missing",
        "high**u goes from 1 to high. The formula is low·(high/low)**u.",
        _INVERSE,
        {"scale": "from 0"},
    ),
    "S148": Row(
        "the exponents are rounded",
        "Only powers of ten come out. Every number between low and high has to be possible.",
        _INVERSE,
        {"scale": "exponents rounded"},
        also=({"scale": "whole exponents"},),
    ),
    "S149": Row(
        "torch's global random numbers are used",
        "Give the generator on: torch.rand(n, generator=generator).",
        _GENERATOR,
        {"random": "global"},
    ),
    "S150": Row(
        "always the same numbers",
        "They do not depend on the generator: a seed is set inside, or nothing is drawn at all (linspace, logspace) but "
        "perhaps their order.",
        _GENERATOR,
        {"random": "fixed seed"},
        also=({"random": "grid"}, {"random": "shuffled grid"}),
    ),
    "S180": Row(
        "one number, n times",
        "Each of the n numbers needs a draw of its own: torch.rand(n, generator=generator).",
        _INVERSE,
        {"random": "one for all"},
        coincides="for n = 1",
        by_rules=True,
    ),
    "S151": Row(
        "normal in place of uniform",
        "randn has no bounds. The exponent is uniform: torch.rand.",
        _INVERSE,
        {"random": "normal"},
    ),
}

# --- schedule.tensor_lr ---------------------------------------------------------------------------------------------


def tensor_lr(faults: Faults) -> tuple[Callable[..., None]]:
    """`cosine_lr_` with faults: sync, write, formula, t."""

    @torch.no_grad()
    def cosine_lr_(lr: Tensor, t: Tensor, base_lr: float, T_max: int) -> None:
        sync, formula = faults.get("sync"), faults.get("formula")
        if sync == "item":
            value = base_lr * (1 + math.cos(math.pi * t.item() / T_max)) / 2
            lr.fill_(value)
            return
        if sync == "upload":
            value = base_lr * (1 + math.cos(math.pi * float(t) / T_max)) / 2
            lr.copy_(torch.tensor(value))
            return
        if sync == "if":
            lr.copy_(_device_cosine(t, base_lr, T_max) if t <= 10 * T_max else torch.zeros_like(lr))
            return
        held = t.clamp(max=T_max) if formula == "pinned" else 2 * t if formula == "period" else t
        new = _device_cosine(held, base_lr, T_max)
        if formula == "no half":
            new = 2 * new
        elif formula == "rises":
            new = base_lr - new
        elif formula == "factor":
            new = new / base_lr
        elif formula == "compounded":
            new = lr * new / base_lr
        elif formula == "no one":
            new = base_lr * torch.cos(math.pi * t / T_max)
        if faults.get("t") == "counted":
            t.add_(1)
        elif faults.get("t") == "overwritten":
            t.copy_(new) if t.is_floating_point() else t.zero_()
        if sync == "host tensor":
            new = base_lr * (1 + torch.cos(torch.tensor(math.pi) * t / T_max)) / 2
        if faults.get("write") == "rebound":
            lr = new
        elif faults.get("write") == "new memory":
            lr.data = new
        else:
            lr.copy_(new)

    return (cosine_lr_,)


def _device_cosine(t: Tensor, base_lr: float, T_max: int) -> Tensor:
    return base_lr * (1 + torch.cos(math.pi * t / T_max)) / 2


_DEVICE, _WAITS = "equation (6.7)", "section 9, the table of ways to write an lr"

TENSOR_ROWS: dict[str, Row] = {
    "F2": Row(
        "a number is fetched from the device",
        "`.item()`, `float(t)`, `math.cos(t)` or `if t > …` makes Python wait until the GPU has caught up, in every step. "
        "torch.cos takes the tensor as it is.",
        _WAITS,
        {"sync": "item"},
        also=({"sync": "upload"}, {"sync": "if"}),
        coincides="in the values",
    ),
    "F3": Row(
        "a tensor is made on the host",
        "torch.tensor(…) makes a CPU tensor. Python's own numbers, such as math.pi and base_lr, mix with tensors of any "
        "device; a tensor of the host has to be carried over.",
        _WAITS,
        {"sync": "host tensor"},
        coincides="in the values",
    ),
    "S155": Row(
        "lr gets new memory",
        "`lr.data = …` puts other memory under the tensor. A captured graph goes on reading the old one: write into it, "
        "lr.copy_(…).",
        _WAITS,
        {"write": "new memory"},
        by_rules=True,
    ),
    "M9": Row(
        "lr is a new tensor, the caller's stays",
        "`lr = …` gives the name to another tensor; the optimizer holds the old one. lr.copy_(…) writes into it.",
        _WAITS,
        {"write": "rebound"},
    ),
    "S6": Row(
        "the lr stays at its minimum after T_max",
        "You hold t at T_max. This cosine goes on and rises again, as your `cosine`.",
        _DEVICE,
        {"formula": "pinned"},
        coincides="until T_max",
    ),
    "S54": Row(
        "the half is missing",
        "1 + cos goes from 2 to 0.",
        _DEVICE,
        {"formula": "no half"},
    ),
    "S55": Row(
        "the 1 is missing",
        "cos goes from 1 to −1; (1 + cos)/2 goes from 1 to 0.",
        _DEVICE,
        {"formula": "no one"},
    ),
    "S58": Row(
        "the lr rises",
        "(1 − cos)/2 goes from 0 to 1.",
        _DEVICE,
        {"formula": "rises"},
    ),
    "S14": Row(
        "the factor is written, not the lr",
        "base_lr is missing.",
        _DEVICE,
        {"formula": "factor"},
    ),
    "S56": Row(
        "a whole period until T_max",
        "At t = T_max half a period is over: π·t/T_max.",
        _DEVICE,
        {"formula": "period"},
    ),
    "S7": Row(
        "the lr tensor is multiplied by the factor",
        "lr holds the lr of the last step. The factor multiplies base_lr.",
        _DEVICE,
        {"formula": "compounded"},
    ),
    "S152": Row(
        "t is changed",
        "t belongs to the caller, who counts. A method whose name ends in _ writes into its tensor.",
        "the docstring: t stays as it is",
        {"t": "counted"},
        also=({"t": "overwritten"},),
        by_rules=True,
    ),
}
