"""One step of momentum in its two forms, the maps between them, and what goes wrong (rows M*).

The right updates are torch's own (`torch.optim.sgd`), called on one tensor with the state translated. Equation and
section numbers are those of the notebook `03_momentum_equivalence`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim.sgd import sgd as torch_sgd_update

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]
Step = Callable[[Tensor, Tensor, Tensor, float, float], None]


def torch_update(
    w: Tensor, g: Tensor, buffer: Tensor, lr: float, momentum: float, *, dampening: float = 0.0, nesterov: bool = False
) -> None:
    """torch's own update of one tensor, in place, from a buffer that exists already."""
    torch_sgd_update(
        [w], [g], [buffer], foreach=False, weight_decay=0.0, momentum=momentum, lr=lr, dampening=dampening,
        nesterov=nesterov, maximize=False,
    )  # fmt: skip


# --- the two forms --------------------------------------------------------------------------------------------------


@torch.no_grad()
def traditional_with_torch(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
    """The reference: the velocity is −lr times torch's buffer, for the lr of this step."""
    buffer = v / -lr
    torch_update(w, g, buffer, lr, mu)
    v.copy_(-lr * buffer)


@torch.no_grad()
def average_with_torch(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
    """The reference: torch with dampening = momentum is the average, once there is a buffer."""
    torch_update(w, g, m, lr, beta, dampening=beta)


def traditional_step(faults: Faults) -> Step:
    """`traditional_step` with faults: "v" (how the velocity is made), "move" (how the weight moves), "write"."""

    @torch.no_grad()
    def traditional_step(w: Tensor, v: Tensor, g: Tensor, lr: float, mu: float) -> None:
        new = _velocity(faults.get("v", "right"), v, g, lr, mu)
        move = {"old": v, "lr again": lr * new, "nesterov": mu * new - lr * g, "nesterov old": mu * v - lr * g}.get(
            faults.get("move", "right"), new
        )
        sign = -1 if faults.get("v") in ("torch", "turned") else 1
        rate = lr if faults.get("v") == "torch" else 1.0
        _write(w, v, g, w + sign * rate * move, new, faults)

    return traditional_step


def _velocity(how: str, v: Tensor, g: Tensor, lr: float, mu: float) -> Tensor:
    return {
        "uphill": mu * v + lr * g,
        "turned": mu * v + lr * g,
        "torch": mu * v + g,
        "averaged": mu * v - (1 - mu) * lr * g,
        "swapped": (1 - mu) * v - lr * g,
        "swapped average": (1 - mu) * v - mu * lr * g,
        "brackets": mu * (v - lr * g),
        "no memory": -lr * g,
        "no friction": v - lr * g,
        "no lr": mu * v - g,
    }.get(how, mu * v - lr * g)


def average_step(faults: Faults) -> Step:
    """`average_step` with faults: "m", "move", "lr", "write"."""

    @torch.no_grad()
    def average_step(w: Tensor, m: Tensor, g: Tensor, lr: float, beta: float) -> None:
        new = _average(faults.get("m", "right"), m, g, beta)
        used = {
            "old": m,
            "nesterov": beta * new + (1 - beta) * g,
            "corrected": new / (1 - beta ** _count(m)),
            "gradient": g,
        }.get(faults.get("move", "right"), new)
        if faults.get("lr") == "inside":
            new = used = beta * m + (1 - beta) * lr * g
            lr = 1.0
        rate = {"uphill": -lr, "divided": lr / (1 - beta), "multiplied": lr * (1 - beta)}.get(
            faults.get("move", "right"), lr
        )
        stored = used if faults.get("stored") == "corrected" else new
        _write(w, m, g, w - rate * used, stored, faults)

    return average_step


def _count(m: Tensor) -> int:
    """How many steps this average has seen; kept on the tensor, where a class would keep it in its state."""
    m.steps_seen = getattr(m, "steps_seen", 0) + 1  # type: ignore[attr-defined]
    return int(m.steps_seen)  # type: ignore[attr-defined]


def _average(how: str, m: Tensor, g: Tensor, beta: float) -> Tensor:
    if how == "starts at g" and not m.any():
        return g.clone()
    return {
        "sum": beta * m + g,
        "swapped": (1 - beta) * m + beta * g,
        "no memory": (1 - beta) * g,
        "no friction": m + (1 - beta) * g,
    }.get(how, beta * m + (1 - beta) * g)


def _write(w: Tensor, state: Tensor, g: Tensor, new_w: Tensor, new_state: Tensor, faults: Faults) -> None:
    how = faults.get("write", "in place")
    if how == "gradient":
        g.mul_(0.5)
    if how not in ("state rebound", "both rebound"):
        state.copy_(new_state)
    if how not in ("weight rebound", "both rebound"):
        w.copy_(new_w)


_M5 = "the sign of the update"
_IN_PLACE = "the docstring: updated in place"

_WRITING: dict[str, Row] = {
    "M9": Row(
        "the weight is not updated in place",
        "`w = w + …` makes a new tensor and leaves the caller's as it was. Write `w.add_(…)` or `w += …`.",
        _IN_PLACE,
        {"write": "weight rebound"},
    ),
    "M10": Row(
        "the gradient is changed",
        "A method whose name ends in _ writes into g, which belongs to the caller. Make a new tensor: `lr * g`.",
        "the docstring: g stays as it is",
        {"write": "gradient"},
    ),
    "M9b": Row(
        "nothing is updated in place",
        "After the call both tensors are what they were. `w = …` makes a new tensor that only your function knows. "
        "Write into the caller's tensors: methods whose name ends in _, or `w[...] = …`.",
        _IN_PLACE,
        {"write": "both rebound"},
    ),
}

TRADITIONAL_ROWS: dict[str, Row] = {
    "M5": Row(
        _M5,
        "The velocity grows along +g and is added to the weight: that climbs. The force on the ball is −lr·g.",
        "equations (3.1) and (3.2)",
        {"v": "uphill"},
    ),
    "M7": Row(
        "the weight moves with the old velocity",
        "Every step lags one gradient behind, and a ball at rest does not move in the first step. Update v first, then "
        "add the new v to w.",
        "equation (3.2)",
        {"move": "old"},
    ),
    "M4": Row(
        "torch's form: lr outside the velocity",
        "You compute v ← mu·v + g and w ← w − lr·v. Equivalent here at constant lr from v = 0: the weights are the "
        "same. Different when the lr changes, and when v is handed over from code that has lr inside. This exercise"
        " asks for the velocity that is added to the weight.",
        "equation (3.1)",
        {"v": "torch"},
    ),
    "M16": Row(
        "a factor 1 − μ in the velocity",
        "You compute mu·v − (1 − mu)·lr·g. That factor belongs to the averaging form of the next section. Here a "
        "new gradient counts in full; your steps are shorter by 1 − μ.",
        "equation (3.1)",
        {"v": "averaged"},
    ),
    "M11": Row(
        "μ and 1 − μ change places",
        "μ = 0.9 means that nine tenths of the velocity are kept; your velocity keeps one tenth. (1 − μ is the "
        "friction.)",
        "equation (3.1)",
        {"v": "swapped"},
        also=({"v": "swapped average"},),
    ),
    "M19": Row(
        "the velocity has the opposite sign",
        "You compute v ← mu·v + lr·g and w ← w − v. Equivalent here as long as v starts at 0: the weights are the "
        "same. Different when v comes from somewhere else, as in a hand-over: here v is the velocity, the way the "
        "weight moves.",
        "equation (3.1)",
        {"v": "turned"},
    ),
    "M18": Row(
        "lr counts twice",
        "lr is in the velocity already; w ← w + v has no lr.",
        "equation (3.2)",
        {"move": "lr again"},
    ),
    "M13": Row(
        "lr is not used",
        "The velocity takes up the whole gradient. The force is lr·g.",
        "equation (3.1)",
        {"v": "no lr"},
        coincides="for lr = 1",
    ),
    "M20": Row(
        "the velocity has no memory",
        "The old v is lost, and what is left is plain gradient descent.",
        "equation (3.1)",
        {"v": "no memory"},
    ),
    "M17": Row(
        "no friction: μ is not used",
        "The whole velocity is kept, and the ball never comes to rest.",
        "equation (3.1)",
        {"v": "no friction"},
    ),
    "M21": Row(
        "μ multiplies the gradient as well",
        "You compute mu·(v − lr·g). Only the old velocity is multiplied by μ.",
        "equation (3.1)",
        {"v": "brackets"},
    ),
    "M22": Row(
        "a look ahead (Nesterov) where none is asked",
        "w moves by mu·v − lr·g with the new v. That is torch's Nesterov step, which comes in section 6.",
        "equation (3.2)",
        {"move": "nesterov"},
    ),
    **_WRITING,
    "M9v": Row(
        "the velocity is not updated in place",
        "`v = mu*v − …` makes a new tensor that only your function knows: the caller's v stays as it was, and every"
        " step starts from it again. Write `v.mul_(mu).sub_(lr * g)` or `v[...] = …`.",
        _IN_PLACE,
        {"write": "state rebound"},
    ),
}

AVERAGE_ROWS: dict[str, Row] = {
    "M5": Row(_M5, "The weight moves along +m: that climbs. Subtract.", "equation (3.4)", {"move": "uphill"}),
    "M7": Row(
        "the weight moves with the old average",
        "Every step lags one gradient behind, and the first one does not move. Update m first.",
        "equation (3.4)",
        {"move": "old"},
    ),
    "M23": Row(
        "the factor 1 − β is missing",
        "m ← beta·m + g is a decaying sum, not an average: for a steady gradient it grows to g/(1 − β). (It is torch's "
        "momentum buffer.)",
        "equation (3.3)",
        {"m": "sum"},
    ),
    "M24": Row(
        "the average is bias-corrected",
        "You divide m by 1 − β^t, as Adam does. Equivalent after burn-in, when β^t has died out; different in the "
        "first 1/(1 − β) steps or so. The form that equals momentum has no correction.",
        "equation (3.4)",
        {"move": "corrected"},
        also=({"move": "corrected", "stored": "corrected"},),
    ),
    "M2": Row(
        "the first average is the first gradient",
        "From m = 0 your first m is g itself, as in torch's SGD with dampening, whose first step is undamped. "
        "Different in the first steps; the average of equation (3.3) starts with (1 − β)·g.",
        "equation (3.3)",
        {"m": "starts at g"},
        coincides="once m is not zero any more: torch with dampening = β then takes the same steps",
    ),
    "M8": Row(
        "lr is divided by 1 − β in the step",
        "1/(1 − beta) turns the lr of the traditional form into this one's, as section 3 will show. That is for the "
        "caller to do: lr is the averaging form's own already, and is used as it is.",
        "equation (3.4)",
        {"move": "divided"},
    ),
    "M4": Row(
        "lr inside the average",
        "Your m averages lr·g, and the weight moves by m. Equivalent for the weights at constant lr from m = 0; "
        "different when the lr changes, and when m is handed over: m is an average of gradients.",
        "equations (3.3) and (3.4)",
        {"lr": "inside"},
    ),
    "M74": Row(
        "the weight moves by the gradient",
        "m is updated and not used: w − lr·g is plain gradient descent. The step goes along the average, m.",
        "equation (3.4)",
        {"move": "gradient"},
    ),
    "M25": Row(
        "1 − β counts twice",
        "It is in m already; the weight moves by lr·m.",
        "equation (3.4)",
        {"move": "multiplied"},
    ),
    "M11": Row(
        "β and 1 − β change places",
        "β is the weight of the past: m ← beta·m + (1 − beta)·g.",
        "equation (3.3)",
        {"m": "swapped"},
    ),
    "M20": Row(
        "the average has no memory",
        "m is (1 − beta)·g in every step: the old m is lost.",
        "equation (3.3)",
        {"m": "no memory"},
    ),
    "M17": Row(
        "the old average does not fade",
        "m + (1 − beta)·g adds up all gradients. The past is multiplied by β.",
        "equation (3.3)",
        {"m": "no friction"},
    ),
    "M22": Row(
        "a look ahead (Nesterov) where none is asked",
        "You average g into m once more before the step.",
        "equation (3.4)",
        {"move": "nesterov"},
    ),
    **_WRITING,
    "M9v": Row(
        "the average is not updated in place",
        "`m = beta*m + …` makes a new tensor that only your function knows: the caller's m stays as it was. Write "
        "`m.mul_(beta).add_(…)` or `m[...] = …`.",
        _IN_PLACE,
        {"write": "state rebound"},
    ),
}


# --- the maps -------------------------------------------------------------------------------------------------------


def conversions(faults: Faults) -> tuple[Callable[..., Any], ...]:
    """`lr_average`, `lr_traditional`, `velocity_from_average`, `decay_average`; without faults the right ones."""

    def lr_average(lr_trad: float, mu: float) -> float:
        return lr_trad * _ratio(faults.get("lr average", "up"), mu)

    def lr_traditional(lr_avg: float, mu: float) -> float:
        return lr_avg * _ratio(faults.get("lr traditional", "down"), mu)

    def velocity_from_average(m: Tensor, lr_trad: float, mu: float) -> Tensor:
        if faults.get("state in place"):
            return m.mul_(-lr_trad / (1 - mu))
        forms: dict[str, Callable[[], float]] = {
            "no sign": lambda: lr_trad / (1 - mu),
            "not mapped": lambda: 1.0,
            "turned": lambda: -1.0,
            "same lr": lambda: -lr_trad,
            "inverse": lambda: -lr_trad * (1 - mu),
            "buffer": lambda: 1 / (1 - mu),
            "no lr": lambda: -1 / (1 - mu),
            "mu": lambda: -lr_trad / mu,
            "average lr": lambda: -lr_trad / (1 - mu) ** 2,
        }
        return forms.get(faults.get("state", "right"), lambda: -lr_trad / (1 - mu))() * m

    def decay_average(weight_decay: float, mu: float, decoupled: bool) -> float:
        how = faults.get("decoupled", "down") if decoupled else faults.get("l2", "same")
        return weight_decay * _ratio(how, mu)

    return lr_average, lr_traditional, velocity_from_average, decay_average


def _ratio(how: str, mu: float) -> float:
    forms: dict[str, Callable[[], float]] = {
        "up": lambda: 1 / (1 - mu),
        "down": lambda: 1 - mu,
        "same": lambda: 1.0,
        "times mu": lambda: mu,
        "over mu": lambda: 1 / mu,
    }
    return forms[how]()


CONVERT_ROWS: dict[str, Row] = {
    "M1": Row(
        "the map of the learning rates is upside down",
        "You multiply where you should divide by 1 − μ, and the other way round. The traditional velocity adds up "
        "1/(1 − μ) gradients, so the averaging form needs the larger lr; yours is off by 1/(1 − μ)², a factor of 100 "
        "for μ = 0.9.",
        "equation (3.5)",
        {"lr average": "down", "lr traditional": "up"},
        also=({"lr average": "down"}, {"lr traditional": "up"}),
    ),
    "M8": Row(
        "the same lr in both forms",
        "At the same number the traditional form takes steps that are 1/(1 − μ) times longer. What looks like a "
        "gain from momentum is then a gain from a larger lr.",
        "equation (3.5)",
        {"lr average": "same", "lr traditional": "same"},
        also=({"lr average": "same"}, {"lr traditional": "same"}),
    ),
    "M11": Row(
        "μ where 1 − μ belongs",
        "A sum of 1 + μ + μ² + … = 1/(1 − μ) gradients: it is 1 − μ that divides.",
        "equation (3.5)",
        {"lr average": "over mu", "lr traditional": "times mu"},
        also=({"lr average": "over mu"}, {"lr traditional": "times mu"}),
    ),
    "M11s": Row(
        "μ where 1 − μ belongs, in the state map",
        "v = −lr/(1 − mu)·m.",
        "equation (3.6)",
        {"state": "mu"},
    ),
    "M26": Row(
        "the state map has no sign",
        "m points along the gradient, v is the way the weight moves: they have opposite signs. Handed over like "
        "this, the run starts by climbing.",
        "equation (3.6)",
        {"state": "no sign"},
    ),
    "M12s": Row(
        "the lr is mapped and the state is not",
        "You hand m over as it is. A velocity has lr in it, an average has not; the first steps after the hand-over"
        " are far too long.",
        "equation (3.6)",
        {"state": "not mapped"},
        also=({"state": "turned"},),
    ),
    "M27": Row(
        "1/(1 − μ) is missing in the state map",
        "−lr·m is shorter than the velocity by 1 − μ: the ball is stopped at the hand-over and has to gather speed "
        "again.",
        "equation (3.6)",
        {"state": "same lr"},
    ),
    "M28": Row(
        "the state map multiplies by 1 − μ",
        "v = −lr/(1 − mu)·m: the velocity adds up 1/(1 − μ) gradients, the average has the size of one.",
        "equation (3.6)",
        {"state": "inverse"},
    ),
    "M29": Row(
        "torch's buffer in place of the velocity",
        "m/(1 − mu) is torch's momentum buffer b. The velocity has lr and a sign on top: v = −lr·b.",
        "equation (3.6)",
        {"state": "buffer"},
    ),
    "M75": Row(
        "the lr is missing in the state map",
        "−m/(1 − mu) is a sum of gradients. A velocity is the way a weight moves in one step: it has the lr in it.",
        "equation (3.6)",
        {"state": "no lr"},
    ),
    "M30": Row(
        "the state map divides by 1 − μ twice",
        "lr_trad/(1 − mu) is the lr of the averaging form already; v = −lr_avg·m.",
        "equation (3.6)",
        {"state": "average lr"},
    ),
    "M10m": Row(
        "m is changed",
        "A method whose name ends in _ writes into the caller's m. Return a new tensor.",
        "the docstring: m stays as it is",
        {"state in place": True},
    ),
    "M12": Row(
        "decoupled decay is not mapped with the lr",
        "Decoupled decay shrinks by 1 − lr·weight_decay in each step. The lr of the averaging form is larger by 1/(1 "
        "− μ), so weight_decay has to be smaller by 1 − μ, or the weights decay 1/(1 − μ) times as fast. (L2 needs no map.)",
        "equation (3.7)",
        {"decoupled": "same"},
    ),
    "M31": Row(
        "decoupled decay is mapped the wrong way",
        "lr·weight_decay has to stay: what makes lr larger makes weight_decay smaller.",
        "equation (3.7)",
        {"decoupled": "up"},
    ),
    "M32": Row(
        "L2 is mapped, which needs no change",
        "With L2 the decay is part of the gradient: g + weight_decay·w goes through m like any gradient, and the "
        "lr's map is all there is. Only decoupled decay has to be mapped.",
        "equation (3.7)",
        {"l2": "down"},
        also=({"l2": "up"},),
    ),
    "M76": Row(
        "the two kinds of decay are swapped",
        "You map weight_decay for L2 and leave it as it is for decoupled decay. With L2 the decay is part of the "
        "gradient and needs no map; decoupled decay shrinks w by 1 − lr·weight_decay, and there lr is another one.",
        "equation (3.7)",
        {"l2": "down", "decoupled": "same"},
        also=({"l2": "up", "decoupled": "same"},),
    ),
}
