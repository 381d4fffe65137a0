"""LARS and LAMB as torch optimizers, with faults that can be switched on (rows T*).

torch has neither. Without faults these are the course's references: with every ratio 1 they equal torch.optim.SGD (at
constant lr) and torch.optim.AdamW, and tests compare them with `pytorch_optimizer` and with steps computed by hand.
Sources: You, Gitman & Ginsburg (2017), algorithm 1; You et al. (2020), algorithm 2. Equation and section numbers are
those of the notebook `08_large_batch_scaling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from autograder.misconceptions import Row, in_turn

Tensor = torch.Tensor
Faults = Mapping[str, Any]


class _Layerwise(torch.optim.Optimizer):
    """What both have in common: the turn of the parameters, the ratio, how the weight is written."""

    faults: ClassVar[Faults] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        rows = [(g, p, grad) for g, p, grad in in_turn(self.param_groups, self.faults) if grad is not None]
        for number, (group, p, grad) in enumerate(rows):
            options = self._options(group)
            sign = -1 if self.faults.get("sign") == "up" else 1
            move = sign * self._move(p, grad, options, rows if self._shares(number) else rows[number : number + 1])
            if self.faults.get("weight") == "new storage":
                p.data = p.data + move
            elif self.faults.get("weight") != "rebound":
                p.add_(move)

    def _shares(self, number: int) -> bool:
        return self.faults.get("norms") == "model"

    def _state(self, p: Tensor) -> dict[str, Any]:
        """Where the averages are kept."""
        if self.faults.get("state") == "own":
            own: dict[int, dict[str, Any]] = self.__dict__.setdefault("own", {})
            return own.setdefault(id(p), {})
        found: dict[str, Any] = self.state[p]
        return found

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        how = self.faults.get("options", "group")
        if how == "defaults":
            return {**group, **self.defaults, "params": group["params"]}
        if how == "first group":
            return {**self.param_groups[0], "params": group["params"]}
        if how.startswith("defaults' "):
            name = how.removeprefix("defaults' ")
            return {**group, name: self.defaults[name]}
        if self.faults.get("excluded decay") == "none" and not group["adapt"]:
            return {**group, "weight_decay": 0.0}
        return group

    def _move(self, p: Tensor, grad: Tensor, group: dict[str, Any], rows: list[Any]) -> Tensor:
        raise NotImplementedError

    def _adapts(self, p: Tensor, group: dict[str, Any]) -> bool:
        how = self.faults.get("adapt", "group")
        return {"always": True, "matrices": p.dim() > 1, "never": False}.get(how, bool(group["adapt"]))

    def _norm(self, t: Tensor) -> float:
        how = self.faults.get("norms", "right")
        if how == "squared":
            return float((t**2).sum())
        return float(t.abs().sum()) if how == "sums" else float(t.norm())

    def _quotient(self, above: float, below: float, w_norm: float, other: float, factor: float) -> float:
        """factor · above / below, and what becomes of zero norms: 1, unless a fault says otherwise."""
        zero = self.faults.get("zero", "one")
        if w_norm == 0 or other == 0:
            if zero == "one":
                return 1.0
            if zero == "factor":
                return factor
            if zero == "weights only" and w_norm == 0:
                return 1.0
            if zero == "gradients only" and other == 0:
                return 1.0
            if zero == "eps":
                return factor * above / (below + 1e-8)
        if below == 0:
            return math.nan if above == 0 else math.inf
        return factor * above / below


class Lars(_Layerwise):
    """LARS with this class's `faults`."""

    def __init__(
        self,
        params: Any,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        adapt: bool = True,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "trust_coefficient": trust_coefficient, "adapt": adapt})

    def _move(self, p: Tensor, grad: Tensor, group: dict[str, Any], rows: list[Any]) -> Tensor:
        lr, mu, wd = group["lr"], group["momentum"], group["weight_decay"]
        decay = self.faults.get("decay", "right")
        w = p.detach()
        q = self._ratio(p, group, rows)
        added = 0.0 if decay in ("not applied", "decoupled") else wd
        d = q * grad + wd * w if decay == "outside" else q * (grad + added * w)
        if self.faults.get("gradient") == "changed":
            grad.add_(wd * w)
        shrink = -lr * wd * w if decay == "decoupled" else 0.0
        where = self.faults.get("momentum", "right")
        v = self._state(p).get("momentum_buffer")
        v = torch.zeros_like(p) if v is None else v
        if where == "history":  # the ratio multiplies the whole velocity
            new = mu * v + (d / q if q else d)
            move = lr * q * new
        elif where == "lr outside":
            new = mu * v + d
            move = lr * new
        else:
            gain = {"averaged": 1 - mu, "no lr": 1 / lr if lr else 0.0}.get(where, 1.0)
            keep = {"ignored": 0.0, "swapped": 1 - mu}.get(where, mu)
            new = keep * v + gain * lr * d
            move = v if where == "old" else new
        if where != "not stored":
            self._state(p)["momentum_buffer"] = new
        if where == "nesterov":
            move = mu * new + lr * d
        result: Tensor = shrink - move
        return result

    def _ratio(self, p: Tensor, group: dict[str, Any], rows: list[Any]) -> float:
        wd, kind = group["weight_decay"], self.faults.get("ratio", "right")
        trust = 1.0 if kind == "no trust" else group["trust_coefficient"]
        if not self._adapts(p, group) or (wd == 0 and kind == "needs decay"):
            return trust if self.faults.get("excluded") == "trust" else 1.0
        w = self._norm(torch.cat([q.detach().flatten() for _, q, _ in rows]))
        g = self._norm(torch.cat([one.flatten() for _, _, one in rows]))
        below = g + wd * w
        if kind.startswith("1e"):
            below += float(kind)
        elif kind == "no decay":
            below = g
        elif kind == "norm of the sum":
            below = self._norm(torch.cat([(one + wd * q.detach()).flatten() for _, q, one in rows]))
        if kind == "inverse":
            return self._quotient(below, w, w, g, trust)
        q_ = self._quotient(w, below, w, g, trust)
        return min(q_, 1.0) if kind == "clipped" else trust * q_ if kind == "trust twice" else q_


class Lamb(_Layerwise):
    """LAMB with this class's `faults`."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        adapt: bool = True,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapt": adapt}
        super().__init__(params, defaults)

    def _shares(self, number: int) -> bool:
        return False

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self._count = getattr(self, "_count", 0) + 1
        if self.faults.get("norms") not in ("model", "group"):
            super().step(closure)
            return
        turns = [(self._options(g), p, grad) for g, p, grad in in_turn(self.param_groups, {}) if grad is not None]
        updates = [(g, p, self._update(p, grad, g)) for g, p, grad in turns]
        for group, p, update in updates:
            near = [
                (q.detach().clone(), u) for other, q, u in updates if self.faults["norms"] == "model" or other is group
            ]
            weights, all_ = (torch.cat([pair[i].flatten() for pair in near]) for i in (0, 1))
            self.state[p]["ratio"] = self._ratio_of(p, group, weights, all_, all_)
            self.state[p]["update"] = update
        for group, p, update in updates:
            p.add_(update, alpha=-group["lr"] * self.state[p].pop("ratio"))
            self.state[p].pop("update")

    def _move(self, p: Tensor, grad: Tensor, group: dict[str, Any], rows: list[Any]) -> Tensor:
        update = self._update(p, grad, group)
        w, lr = p.detach(), group["lr"]
        ratio = self._ratio_of(p, group, w, update, grad)
        if self.faults.get("lr") == "lost":
            lr = 1.0
        elif self.faults.get("lr") == "corrected":
            b1, b2 = group["betas"]
            t = float(self._state(p)["step"])
            lr = lr * math.sqrt(1 - b2**t) / (1 - b1**t)
        decay = self.faults.get("decay")
        shrink = group["weight_decay"] * w
        direction: Tensor = ratio * update
        if decay == "outside":  # AdamW's: no part of the ratio
            direction = direction + shrink
        elif decay == "in the norm only":
            direction = ratio * (update - shrink)
        move: Tensor = -lr * direction
        return move

    def _ratio_of(self, p: Tensor, group: dict[str, Any], w: Tensor, update: Tensor, grad: Tensor) -> float:
        kind = self.faults.get("ratio", "right")
        if not self._adapts(p, group) or (group["weight_decay"] == 0 and kind == "needs decay"):
            return 1.0
        above, below = self._norm(w), self._norm(grad if kind == "gradient" else update)
        if kind == "clamped weight":
            above = min(above, 10.0)
        if kind == "inverse":
            return self._quotient(below, above, above, below, 1.0)
        ratio = self._quotient(above, below, above, below, 1.0)
        if kind == "clamped":
            return min(ratio, 10.0)
        return min(ratio, 1.0) if kind == "at most 1" else ratio

    def _update(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> Tensor:
        """r of equation (8.16), and the averages."""
        (b1, b2), wd, decay = group["betas"], group["weight_decay"], self.faults.get("decay")
        state, w = self._state(p), p.detach()
        g = grad + wd * w if decay == "l2" else grad
        if self.faults.get("gradient") == "changed":
            grad.add_(wd * w)
        state["step"] = t = self._count if self.faults.get("step") == "shared" else state.get("step", 0) + 1
        m, v = (state.get(key, torch.zeros_like(p)) for key in ("exp_avg", "exp_avg_sq"))
        if self.faults.get("betas") == "swapped":
            b1, b2 = b2, b1
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        if self.faults.get("kept") != "nothing":
            state["exp_avg"], state["exp_avg_sq"] = m, v
        c1, c2 = 1 - b1**t, 1 - b2**t
        how = self.faults.get("correction", "right")
        if how in ("none", "first only"):
            c2 = 1.0
        if how in ("none", "second only"):
            c1 = 1.0
        if how == "t from 0, divided":
            c1, c2 = 1 - b1 ** (t - 1), 1 - b2 ** (t - 1)
        if how == "t from 0":
            c1, c2 = (1 - b1 ** (t - 1), 1 - b2 ** (t - 1)) if t > 1 else (1.0, 1.0)
        m, v = m / c1, v / c2
        inside = self.faults.get("eps") == "inside"
        update: Tensor = m / ((v + group["eps"]).sqrt() if inside else v.sqrt() + group["eps"])
        if self.faults.get("root") == "missing":
            update = m / (v + group["eps"])
        return update if decay in ("l2", "outside", "none") else update + wd * w


def lars(faults: Faults) -> type[Lars]:
    """LARS with faults, as a student would hand it in."""
    return type("LARS", (Lars,), {"faults": dict(faults)})


def lamb(faults: Faults) -> type[Lamb]:
    """LAMB with faults, as a student would hand it in."""
    return type("LAMB", (Lamb,), {"faults": dict(faults)})


_RATIO, _UPDATE = "equation (8.14)", "equation (8.15)"
_LAMB, _LAMB_RATIO = "equation (8.16)", "equation (8.17)"
_ZERO = "the docstring: zero norms"
_GROUPS = "the docstring: every group has its own hyperparameters"


#: Mistakes that both can have; `reread` differs.
def _shared(ratio: str, update: str, options: tuple[str, ...]) -> dict[str, Row]:
    return {
        "M5": Row(
            "the sign of the update",
            "The weight moves along +v or +r: that climbs. Subtract.",
            update,
            {"sign": "up"},
        ),
        "T4": Row(
            "a weight that starts at 0 stays at 0",
            "‖w‖ = 0 makes your ratio 0, so a bias that starts at zero never moves, whatever its gradient says. The "
            "ratio is 1 when either norm is 0: look for `> 0` on both sides.",
            _ZERO,
            {"zero": "gradients only"},
            also=({"zero": "eps"},),
            coincides="as long as no norm is 0",
        ),
        "T18": Row(
            "zero norms have no rule of their own",
            "Where the other norm is 0 you go on dividing: the ratio becomes 0 (the weight never moves), something that has "
            "lost its meaning, or inf, which ends in nan. It is 1 when *either* norm is 0.",
            _ZERO,
            {"zero": "weights only"},
            also=({"zero": "nothing"},),
            coincides="as long as no norm is 0",
        ),
        "T5": Row(
            "excluded parameters are scaled, too",
            "Your ratio is also used in groups with adapt=False. Biases and the parameters of normalisation layers go "
            "there: their norms are small, and the ratio would all but freeze them.",
            "the docstring: adapt",
            {"adapt": "always"},
            coincides="when every group adapts",
        ),
        "T24": Row(
            "biases are recognised by their shape",
            "You scale parameters with at least two dimensions only. What is excluded is said by the group's `adapt`, "
            "and nothing else.",
            "the docstring: adapt",
            {"adapt": "matrices"},
            coincides="when the vectors and numbers are just those with adapt=False",
        ),
        "T39": Row(
            "no ratio at all",
            "Your update is the plain one, without the ratio of the norms: the same lr for every layer.",
            ratio,
            {"adapt": "never"},
            coincides="in groups with adapt=False",
        ),
        "T6": Row(
            "one ratio for the whole model",
            "You take the norms over all parameters together. The point of the method is that each tensor has its own.",
            ratio,
            {"norms": "model"},
            coincides="with one parameter",
        ),
        "T3": Row(
            "without weight decay there is no ratio",
            "With weight_decay = 0 you leave the ratio out. Published code does that for parameters that are to be "
            "excluded; here the group's `adapt` says so.",
            ratio,
            {"ratio": "needs decay"},
            coincides="with weight decay",
        ),
        "T40": Row(
            "the ratio upside down",
            "The weight's norm stands above, the other one below.",
            ratio,
            {"ratio": "inverse"},
        ),
        "T41": Row(
            "squared norms",
            "The roots of the norms are missing.",
            ratio,
            {"norms": "squared"},
        ),
        "T42": Row(
            "sums of absolute values for norms",
            "The norm is the Euclidean one: the root of the sum of squares.",
            ratio,
            {"norms": "sums"},
            coincides="for tensors with one entry",
        ),
        "A27": Row(
            "the constructor's hyperparameters",
            "You use self.defaults, or numbers kept in __init__. The groups' own values count, and they may change "
            "between steps.",
            _GROUPS,
            {"options": "defaults"},
            also=tuple({"options": f"defaults' {name}"} for name in options),
            coincides="when no group has values of its own and none change",
        ),
        "T53": Row(
            "the first group's hyperparameters for all",
            "Read lr and everything else from the group that the parameter is in.",
            _GROUPS,
            {"options": "first group"},
            coincides="with one group",
        ),
        "A31": Row(
            "only the first group is updated",
            "The loop over self.param_groups ends after the first one.",
            _GROUPS,
            {"groups": "first only"},
            coincides="with one group",
        ),
        "A32": Row(
            "a parameter without a gradient is treated as if it were 0",
            "With .grad None the parameter sits this step out: weight and state stay as they are.",
            "the docstring: without a gradient",
            {"none": "zero"},
            coincides="when every parameter has a gradient",
        ),
        "A34": Row(
            "a parameter without a gradient ends the step",
            "`return` (or `break`) where `continue` belongs: all that come after it are left out.",
            "the docstring: without a gradient",
            {"none": "returns"},
            coincides="when every parameter has a gradient",
        ),
        "M10": Row(
            "the gradient is changed",
            "The decay is added to p.grad in place; p.grad belongs to the caller.",
            "the docstring: p.grad stays as it is",
            {"gradient": "changed"},
        ),
        "T62": Row(
            "adapt=False switches the decay off",
            "In groups with adapt=False you leave the weight decay out. adapt=False switches off the ratio, not the decay: "
            "the group's own weight_decay says that.",
            "the docstring: adapt",
            {"excluded decay": "none"},
            coincides="in groups that adapt, and without weight decay",
        ),
        "T60": Row(
            "state outside of self.state",
            "Your averages are kept where state_dict() does not see them: a run that is resumed from a checkpoint starts "
            "them from 0. Keep them in self.state[p].",
            "the docstring: state",
            {"state": "own"},
            coincides="as long as no checkpoint is loaded",
        ),
        "M9": Row(
            "the weight is not updated in place",
            "`p = p - …` makes a new tensor and leaves the parameter as it was. Write `p.sub_(…)`.",
            "the docstring: in place",
            {"weight": "rebound"},
        ),
        "M9s": Row(
            "the parameter gets new storage",
            "`p.data = …` gives the parameter a new tensor: whoever shares the old one is left behind. Write `p.sub_(…)`.",
            "the docstring: in place",
            {"weight": "new storage"},
        ),
    }  # fmt: skip


LARS_ROWS: dict[str, Row] = {
    **_shared(_RATIO, _UPDATE, ("lr", "momentum", "weight_decay", "trust_coefficient")),
    "T1": Row(
        "the decay is missing in the ratio's divisor, or in the update",
        "What is scaled is g + λw, and the divisor ‖g‖ + λ‖w‖ is made for just that. You have the decay in one of the two "
        "places only.",
        "equations (8.14) and (8.15)",
        {"ratio": "no decay"},
        also=({"decay": "not applied"},),
        coincides="without weight decay",
    ),
    "T2": Row(
        "the ratio multiplies the whole history",
        "You scale the velocity when the weight moves, so that old gradients get today's ratio. In (8.15) each "
        "gradient enters the velocity with the ratio, and the lr, of its own step.",
        _UPDATE,
        {"momentum": "history"},
        coincides="in the first step, and without momentum",
    ),
    "T7": Row(
        "the trust coefficient is not used",
        "Your ratio is ‖w‖/(‖g‖ + λ‖w‖) alone. The trust coefficient, 0.001 by default, multiplies it.",
        _RATIO,
        {"ratio": "no trust"},
    ),
    "T43": Row(
        "the trust coefficient counts twice",
        "The ratio has the trust coefficient in it already, and you multiply by it again.",
        _RATIO,
        {"ratio": "trust twice"},
    ),
    "T44": Row(
        "the trust coefficient where no ratio is used",
        "For excluded parameters, and where a norm is 0, q is 1 and not the trust coefficient: they take steps of plain "
        "SGD.",
        _ZERO,
        {"excluded": "trust", "zero": "factor"},
        also=({"excluded": "trust"}, {"zero": "factor"}),
    ),
    "T45": Row(
        "the lr is missing",
        "Your velocity grows by q·(g + λw). The lr belongs into it.",
        _UPDATE,
        {"momentum": "no lr"},
    ),
    "T19": Row(
        "the lr outside of the velocity",
        "That is torch's form of momentum: v ← μv + q·(g + λw), w ← w − lr·v. The same at constant lr; when the lr "
        "changes your old gradients get the new one. (8.15) has it inside.",
        _UPDATE,
        {"momentum": "lr outside"},
        coincides="at constant lr",
    ),
    "T20": Row(
        "the norm of the sum",
        "Your divisor is ‖g + λw‖. LARS adds the norms: ‖g‖ + λ‖w‖.",
        _RATIO,
        {"ratio": "norm of the sum"},
        coincides="without weight decay",
    ),
    "T61": Row(
        "a small number in the divisor",
        "Your divisor is ‖g‖ + λ‖w‖ + 1e-8, or the like. (8.14) has no such number: zero norms have a rule of their own, and "
        "where gradients are tiny it changes the ratio.",
        _RATIO,
        {"ratio": "1e-8"},
        also=({"ratio": "1e-6"}, {"ratio": "1e-7"}),
        coincides="where no ratio is used",
    ),
    "T21": Row(
        "decoupled decay",
        "You shrink the weight by lr·λ beside the update. In LARS the decay is added to the gradient, and scaled and "
        "averaged with it.",
        _UPDATE,
        {"decay": "decoupled"},
        coincides="without weight decay",
    ),
    "T22": Row(
        "the decay is not scaled",
        "You add λw after the ratio: q·g + λw. The ratio multiplies the sum, q·(g + λw).",
        _UPDATE,
        {"decay": "outside"},
        coincides="without weight decay, and where q = 1",
    ),
    "T23": Row(
        "an average for the velocity",
        "You weigh the new term with 1 − μ. It counts in full.",
        _UPDATE,
        {"momentum": "averaged"},
    ),
    "M17": Row(
        "no momentum",
        "The velocity starts at 0 in every step: it has to be kept in self.state[p] and multiplied by momentum.",
        _UPDATE,
        {"momentum": "ignored"},
        also=({"momentum": "not stored"},),
        coincides="in the first step",
    ),
    "M11": Row(
        "1 − μ for μ",
        "You keep the share 1 − momentum of the velocity. It is momentum itself.",
        _UPDATE,
        {"momentum": "swapped"},
        coincides="in the first step",
    ),
    "M7": Row(
        "the weight moves with the old velocity",
        "Update the velocity first, then move by the new one.",
        _UPDATE,
        {"momentum": "old"},
    ),
    "M6": Row(
        "a Nesterov step",
        "You add the gradient once more on top of the velocity. LARS moves by v itself.",
        _UPDATE,
        {"momentum": "nesterov"},
    ),
    "T46": Row(
        "the ratio is clipped at 1",
        "You limit the ratio (as LARC does). LARS has no limit.",
        _RATIO,
        {"ratio": "clipped"},
        coincides="as long as the ratio is below 1",
    ),
}

LAMB_ROWS: dict[str, Row] = {
    **_shared(_LAMB_RATIO, _LAMB, ("lr", "betas", "eps", "weight_decay")),
    "T8": Row(
        "weight decay in the gradient",
        "You add λw to g, so that it is averaged and divided by the root, as L2 in Adam. LAMB adds it to the finished "
        "direction: r = m̂/(√v̂ + ε) + λw.",
        _LAMB,
        {"decay": "l2"},
        coincides="without weight decay",
    ),
    "T9": Row(
        "the norm of the gradient in the ratio",
        "Your divisor is ‖g‖. What is scaled is r, so its norm is what has to be divided out: ‖w‖/‖r‖.",
        _LAMB_RATIO,
        {"ratio": "gradient"},
    ),
    "T25": Row(
        "no bias correction",
        "m and v start at 0 and are too small at first; you use them as they are. (The third version of the paper leaves "
        "the correction out, the published one and this notebook have it.)",
        _LAMB,
        {"correction": "none"},
        also=({"correction": "first only"}, {"correction": "second only"}),
    ),
    "T26": Row(
        "bias correction in the lr",
        "You correct by a factor on the lr. With the ratio that is not the same: the ratio divides by ‖r‖ and so takes "
        "out the factor in r, but not the one in the lr.",
        _LAMB,
        {"correction": "none", "lr": "corrected"},
    ),
    "T27": Row(
        "the ratio is limited to 10",
        "Some code limits the ratio, or the weight's norm, to 10. (8.17) has no limit.",
        _LAMB_RATIO,
        {"ratio": "clamped"},
        also=({"ratio": "clamped weight"},),
        coincides="as long as the ratio is below 10",
    ),
    "T47": Row(
        "the ratio is limited to 1",
        "You only ever shorten the step. (8.17) has no limit.",
        _LAMB_RATIO,
        {"ratio": "at most 1"},
        coincides="as long as the ratio is below 1",
    ),
    "T28": Row(
        "the decay is not scaled",
        "You let the weight decay as AdamW does, beside the ratio. In LAMB λw is part of r: it counts in its norm and is "
        "scaled with it.",
        "equations (8.16) and (8.17)",
        {"decay": "outside"},
        coincides="without weight decay, and where the ratio is 1",
    ),
    "T48": Row(
        "the decay is in the norm only",
        "‖r‖ has the decay in it, the step has not. Move along r itself.",
        _LAMB_RATIO,
        {"decay": "in the norm only"},
        coincides="without weight decay",
    ),
    "T49": Row(
        "no weight decay",
        "weight_decay is not used: r = m̂/(√v̂ + ε) + λw.",
        _LAMB,
        {"decay": "none"},
        coincides="without weight decay",
    ),
    "T29": Row(
        "one ratio per group",
        "You take the norms over all parameters of a group. Each tensor has its own ratio.",
        _LAMB_RATIO,
        {"norms": "group"},
        coincides="when every group has one parameter",
    ),
    "T50": Row(
        "the lr is missing",
        "Your step is ratio·r, as long as the weight itself. The lr multiplies it.",
        _LAMB_RATIO,
        {"lr": "lost"},
    ),
    "A1": Row(
        "eps inside the root",
        "√(v̂ + ε) where √v̂ + ε is asked for.",
        _LAMB,
        {"eps": "inside"},
    ),
    "T51": Row(
        "t starts at 0",
        "You count the step after it is used. t is 1 in a parameter's first step; with t = 0 both corrections divide by 0, "
        "and the weights become nan.",
        _LAMB,
        {"correction": "t from 0"},
        also=({"correction": "t from 0, divided"},),
    ),
    "A6": Row(
        "one step counter for all parameters",
        "A parameter that gets its first gradient later is at its own step 1 then: keep the count in self.state[p].",
        "the docstring: state",
        {"step": "shared"},
        coincides="when all parameters have a gradient in every step",
    ),
    "T52": Row(
        "the root is missing",
        "You divide by v̂. Its root is what has the gradient's units.",
        _LAMB,
        {"root": "missing"},
    ),
    "A8": Row(
        "the betas are exchanged",
        "The first one is for m, the second for v.",
        _LAMB,
        {"betas": "swapped"},
    ),
    "A24": Row(
        "m and v are forgotten",
        "The averages start at 0 in every step: keep them in self.state[p].",
        "the docstring: state",
        {"kept": "nothing"},
        coincides="in the first step",
    ),
}
