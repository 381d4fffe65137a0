"""Adam and AdamW with faults that can be switched on: the simulator behind the catalogue's rows A* and W*.

Sources of the right update: Kingma & Ba (2015), algorithm 1; Loshchilov & Hutter (2019), algorithm 2; Reddi, Kale &
Kumar (2018) for AMSGrad; all as in `torch.optim.Adam` and `torch.optim.AdamW`. With no faults the simulator equals
them (a test says so). Equation numbers are those of the notebook `05_adam_adamw`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from autograder.misconceptions import Row, in_turn

Tensor = torch.Tensor
Faults = Mapping[str, Any]

#: What each switch can be, the right value first.
SWITCHES: dict[str, tuple[Any, ...]] = {
    "sign": (-1, 1),
    "betas": ("as given", "swapped"),
    "m": ("average", "sum", "none", "old", "nesterov", "roles swapped", "no memory"),
    "v": ("average", "sum", "adagrad", "roles swapped", "no memory"),
    "square": ("g", "not squared", "absolute", "m", "tensor mean", "g - m"),
    "correct": ("both", "neither", "m", "v"),
    "corrector": ("power", "product", "power of 1 - beta", "multiplied", "one beta"),
    "stored": ("as averaged", "corrected", "rooted"),
    "t": (0, -1, 1),
    "count": ("parameter", "calls", "steps", "never"),
    "eps": ("outside", "inside", "squared inside", "hat", "hat inside", "missing", "maximum", "on the weight"),
    "root": ("v", "missing", "correction outside"),
    "amsgrad": ("as given", "always", "ignored", "on the corrected", "into v"),
    "maximize": ("as given", "ignored", "after decay"),
    "decay": (
        "l2", "decoupled", "ignored", "after", "without lr", "l2 times lr", "negative", "preconditioned",
        "m only", "twice", "matrices only", "penalty too", "penalty on the shrunk",
    ),
    "lr": ("group", "first seen", "defaults", "first group"),
    "group betas": ("group", "defaults"),
    "group eps": ("group", "defaults"),
    "group decay": ("group", "defaults"),
    "groups": ("all", "first only"),
    "decay lr": ("group", "defaults"),
    "state": ("own", "shared", "reset", "not stored"),
    "none": ("skipped", "zero", "returns", "decays"),
    "gradient": ("kept", "changed", "changed unless negated"),
    "weight": ("in place", "rebound", "new storage"),
}  # fmt: skip


def _switch(faults: Faults, name: str) -> Any:
    return faults.get(name, SWITCHES[name][0])


# --- one parameter, one step ----------------------------------------------------------------------------------------


def update(
    w: Tensor,
    g: Tensor,
    state: dict[str, Any],
    t: float,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    faults: Faults,
    amsgrad: bool = False,
) -> Tensor:
    """The new weight; `state` ("exp_avg", "exp_avg_sq", and "max_exp_avg_sq" for AMSGrad) changes in place."""
    b1, b2 = betas[::-1] if _switch(faults, "betas") == "swapped" else betas
    number: Any = 1 if _switch(faults, "count") == "never" else t + _switch(faults, "t")
    m, v = _average(g, state, b1, b2, faults)
    v = _maximum(v, state, 1 - b2**number, amsgrad, faults)
    c1, c2 = _correctors(b1, b2, number, faults)
    if faults.get("as") == "numbers":  # lr / c1 raises for c1 = 0, where a tensor divided by 0 becomes inf or nan
        lr = lr / c1 * c1
    if _switch(faults, "stored") == "corrected":
        state["exp_avg"].copy_(m / c1)
        state["exp_avg_sq"].copy_(v / c2)
    elif _switch(faults, "stored") == "rooted":
        state["exp_avg_sq"].copy_((v / c2).sqrt())
    d = _denominator(v, c2, eps, faults)
    new: Tensor = w + _switch(faults, "sign") * lr * (m / c1) / d
    return new + eps if _switch(faults, "eps") == "on the weight" else new


def _average(g: Tensor, state: dict[str, Any], b1: float, b2: float, faults: Faults) -> tuple[Tensor, Tensor]:
    """Equations (5.1) and (5.2); returns what the update uses."""
    m, v = state["exp_avg"], state["exp_avg_sq"]
    old = m.clone()
    m.copy_(_mixed(m, g, b1, _switch(faults, "m")))
    g2 = {
        "g": g * g,
        "not squared": g,
        "absolute": g.abs(),
        "m": m * m,
        "tensor mean": (g * g).mean().expand_as(g),
        "g - m": (g - m) ** 2,
    }[_switch(faults, "square")]
    decayed = state.pop("undecayed", None)  # the gradient before L2 was added, for "m only"
    v.copy_(_mixed(v, g2 if decayed is None else decayed * decayed, b2, _switch(faults, "v")))
    used = {"old": old, "nesterov": b1 * m + (1 - b1) * g}.get(_switch(faults, "m"), m)
    return used.clone(), v.clone()


def _mixed(old: Tensor, new: Tensor, beta: float, how: str) -> Tensor:
    return {
        "sum": beta * old + new,
        "none": new,
        "adagrad": old + new,
        "roles swapped": (1 - beta) * old + beta * new,
        "no memory": (1 - beta) * new,
    }.get(how, beta * old + (1 - beta) * new)


def _maximum(v: Tensor, state: dict[str, Any], c2: float, amsgrad: bool, faults: Faults) -> Tensor:
    """AMSGrad, equation (5.6): torch takes the maximum of the uncorrected average."""
    how = _switch(faults, "amsgrad")
    if how == "ignored" or not (amsgrad or how == "always"):
        return v
    scale = c2 if how == "on the corrected" else 1.0
    largest = torch.maximum(state.get("max_exp_avg_sq", torch.zeros_like(v)), v / scale)
    state["max_exp_avg_sq"] = largest
    if how == "into v":
        state["exp_avg_sq"].copy_(largest)
    return largest * scale


def _correctors(b1: float, b2: float, t: float, faults: Faults) -> tuple[float, float]:
    """What m and v are divided by, equation (5.3)."""
    how = _switch(faults, "corrector")
    if how == "one beta":
        c1, c2 = 1 - b1**t, 1 - b1**t
    else:
        form: dict[str, Callable[[float], float]] = {
            "product": lambda beta: 1 - beta * t,
            "power of 1 - beta": lambda beta: (1 - beta) ** t,
            "multiplied": lambda beta: 1 / (1 - beta**t),
        }
        corrector = form.get(how, lambda beta: 1 - beta**t)
        c1, c2 = corrector(b1), corrector(b2)
    which = _switch(faults, "correct")
    return (c1 if which in ("both", "m") else 1.0), (c2 if which in ("both", "v") else 1.0)


def _denominator(v: Tensor, c2: float, eps: float, faults: Faults) -> Tensor:
    """What the step is divided by, equation (5.4)."""
    v_hat, scale = v / c2, torch.tensor(c2, dtype=v.dtype).sqrt()
    root = _switch(faults, "root")
    if root != "v":
        return (v_hat if root == "missing" else v.sqrt() / c2) + eps
    return {
        "inside": lambda: (v_hat + eps).sqrt(),
        "squared inside": lambda: (v_hat + eps**2).sqrt(),
        "hat": lambda: (v.sqrt() + eps) / scale,
        "hat inside": lambda: (v + eps).sqrt() / scale,
        "missing": lambda: v_hat.sqrt(),
        "on the weight": lambda: v_hat.sqrt(),
        "maximum": lambda: v_hat.sqrt().clamp(min=eps),
    }.get(_switch(faults, "eps"), lambda: v_hat.sqrt() + eps)()


# --- the optimizer --------------------------------------------------------------------------------------------------


class Simulator(torch.optim.Optimizer):
    """Adam (decay "l2") or AdamW (decay "decoupled") with this class's `faults`."""

    decay = "l2"
    faults: ClassVar[Faults] = {}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "amsgrad": amsgrad, "maximize": maximize})
        self.calls = self.steps = 0
        self.common: dict[str, Any] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.steps += 1
        for group, p, grad in in_turn(self.param_groups, self.faults):
            if grad is not None:
                self._one(p, grad, group)
            elif _switch(self.faults, "none") == "decays":
                p.mul_(1 - group["lr"] * group["weight_decay"])

    def _hyper(self, group: dict[str, Any], state: dict[str, Any]) -> tuple[float, Any, float, float]:
        source = _switch(self.faults, "lr")
        lr = {"defaults": self.defaults["lr"], "first group": self.param_groups[0]["lr"]}.get(source, group["lr"])
        if source == "first seen":
            lr = state.setdefault("first lr", lr)

        def pick(switch: str, key: str) -> Any:
            chosen = self.param_groups[0] if _switch(self.faults, switch) == "defaults" else group
            return chosen[key]

        return (
            lr,
            pick("group betas", "betas"),
            pick("group eps", "eps"),
            pick("group decay", "weight_decay"),
        )

    def _state(self, p: Tensor) -> dict[str, Any]:
        how = _switch(self.faults, "state")
        own: dict[str, Any] = self.state[p]
        state = self.common if how == "shared" else own
        if "exp_avg" not in state or state["exp_avg"].shape != p.shape or how == "reset":
            state.update(exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
            state.pop("max_exp_avg_sq", None)
        return state

    def _count(self, p: Tensor) -> int:
        self.calls += 1
        own = self.state[p]
        own["t"] = own.get("t", 0) + 1
        how = _switch(self.faults, "count")
        return int({"calls": self.calls, "steps": self.steps}.get(how, own["t"]))

    def _one(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self._state(p)
        lr, betas, eps, wd = self._hyper(group, self.state[p])
        t = self._count(p)
        maximize = group["maximize"] and _switch(self.faults, "maximize") != "ignored"
        late = maximize and _switch(self.faults, "maximize") == "after decay"
        g = -grad if maximize and not late else grad
        w, g = self._before(p.detach(), g, grad, state, lr, wd, maximize)
        g = -g if late else g
        new = update(w, g, state, t, lr=lr, betas=betas, eps=eps, faults=self.faults, amsgrad=group["amsgrad"])
        self._write(p, self._after(new, w, state, t, lr, betas, eps, wd))

    def _decay(self, p: Tensor) -> str:
        how: str = self.faults.get("decay", self.decay)
        if how == "matrices only":
            return self.decay if p.dim() > 1 else "ignored"
        return how

    def _before(
        self, w: Tensor, g: Tensor, grad: Tensor, state: dict[str, Any], lr: float, wd: float, negated: bool
    ) -> tuple[Tensor, Tensor]:
        """Weight decay ahead of the update: in the gradient, equation (5.5), or on the weight, equation (5.9)."""
        how = self._decay(w)
        if how == "m only":
            state["undecayed"] = g
        if _switch(self.faults, "decay lr") == "defaults":
            lr = self.defaults["lr"]
        added = {
            "l2": wd,
            "penalty on the shrunk": wd,
            "l2 times lr": lr * wd,
            "negative": -wd,
            "m only": wd,
            "penalty too": wd,
        }.get(how)
        if how == "twice":
            added = 2 * wd if self.decay == "l2" else None
        if how == "negative" and self.decay == "decoupled":
            return w * (1 + lr * wd), g
        if added is not None:
            w_seen = w * (1 - lr * wd) if how == "penalty on the shrunk" else w
            g = g + added * w_seen
            change = _switch(self.faults, "gradient")
            if change == "changed" or (change == "changed unless negated" and not negated):
                grad.copy_(g)
        factor = {"decoupled": lr * wd, "penalty on the shrunk": lr * wd, "without lr": wd, "penalty too": lr * wd}.get(
            how, 0.0
        )
        if how == "twice" and self.decay == "decoupled":
            factor = 2 * lr * wd
        return w * (1 - factor), g

    def _after(
        self,
        new: Tensor,
        w: Tensor,
        state: dict[str, Any],
        t: int,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        wd: float,
    ) -> Tensor:
        how = self._decay(w)
        if how == "after":
            return new * (1 - lr * wd)
        if how == "preconditioned":
            d = _denominator(state["exp_avg_sq"], 1 - betas[1] ** t, eps, {})
            return new - lr * wd * w / d
        return new

    def _write(self, p: Tensor, new: Tensor) -> None:
        how = _switch(self.faults, "weight")
        if how == "new storage":
            p.data = new
        elif how == "in place":
            p.copy_(new)


def optimizer(decay: str, faults: Faults) -> type[Simulator]:
    """The simulator as a class, as a student would hand it in. `decay`: "l2" for Adam, "decoupled" for AdamW."""
    return type("Adam" if decay == "l2" else "AdamW", (Simulator,), {"decay": decay, "faults": dict(faults)})


def step_function(faults: Faults) -> Callable[..., None]:
    """The update as the function `adam_step` of the notebook."""

    @torch.no_grad()
    def adam_step(
        w: Tensor,
        g: Tensor,
        m: Tensor,
        v: Tensor,
        t: int,
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        state = {"exp_avg": m, "exp_avg_sq": v}
        if _switch(faults, "state") == "not stored":
            state = {name: tensor.clone() for name, tensor in state.items()}
        new = update(w, g, state, t, lr=lr, betas=betas, eps=eps, faults=faults)
        if _switch(faults, "weight") == "in place":
            w.copy_(new)

    return adam_step


#: Rows about Adam that are no wrong program, and where the course deals with them.
ELSEWHERE = {
    "A9": "adam.q1 (the first step does not depend on the gradient's size) and section 3 (steps longer than lr)",
    "A10": "08_large_batch_scaling: how lr depends on the batch size",
    "W7": "adam.q4 (AdamW's decay is no Gaussian prior)",
}


# --- the catalogue's rows -------------------------------------------------------------------------------------------

_5_1, _5_2, _5_3, _5_4 = (f"equation (5.{n})" for n in (1, 2, 3, 4))

ROWS: dict[str, Row] = {
    # bias correction
    "A5": Row(
        "no bias correction",
        "m and v go into the update as they are. Both start at 0, so early on they are too small by 1 − β₁^t and "
        "1 − β₂^t; the two errors do not cancel.",
        _5_3,
        {"correct": "neither"},
    ),
    "A5m": Row(
        "only m is bias-corrected",
        "m is divided by 1 − β₁^t, v is used as it is. Early on √v is too small, so the first steps are too large "
        "(by 1/√(1 − β₂) in the first).",
        _5_3,
        {"correct": "m"},
    ),
    "A5v": Row(
        "only v is bias-corrected",
        "v is divided by 1 − β₂^t, m is used as it is. The first steps are too short by 1 − β₁^t. (Published as a "
        "variant under the name AdamD, but it is not Adam.)",
        _5_3,
        {"correct": "v"},
    ),
    "E3": Row(
        "t counted from 0",
        "The first correction divides by 1 − β⁰ = 0. With tensors that gives inf or nan, with Python numbers a "
        "ZeroDivisionError. t is the number of this step, counted from 1.",
        _5_3,
        {"t": -1},
        also=({"t": -1, "as": "numbers"},),
    ),
    "E3n": Row(
        "t one too large",
        "The correction uses t + 1: perhaps the step count is raised twice, or raised after an initial 1.",
        _5_3,
        {"t": 1},
    ),
    "E4": Row(
        "1 − β·t in place of 1 − β^t",
        "The corrector is a product where a power belongs. Both agree at t = 1 only.",
        _5_3,
        {"corrector": "product"},
        coincides="in the first step, where β·t and β^t are the same",
    ),
    "E4p": Row(
        "(1 − β)^t in place of 1 − β^t",
        "The power is taken of 1 − β. Both agree at t = 1 only; afterwards the corrected averages explode.",
        _5_3,
        {"corrector": "power of 1 - beta"},
        coincides="in the first step, where the power is 1",
    ),
    "E5": Row(
        "the corrected averages are stored back",
        "m̂ and v̂ replace m and v, so the next step averages, and corrects, values that were corrected already. The "
        "correction is for the update only.",
        _5_3,
        {"stored": "corrected"},
        coincides="in the first step",
    ),
    "E5v": Row(
        "v is corrected and rooted in place",
        "Methods whose name ends in _ change v itself, so the next step averages a root. Make a new tensor: "
        "`v_hat = v / (1 - beta2**t)`.",
        _5_3,
        {"stored": "rooted"},
        coincides="in the first step",
    ),
    "E6": Row(
        "multiplied by 1 − β^t instead of divided",
        "The averages start too small; multiplying by a number below 1 makes them smaller still.",
        _5_3,
        {"corrector": "multiplied"},
    ),
    "A6n": Row(
        "t never advances",
        "Every step is corrected as if it were the first (1 − β in place of 1 − β^t). Is the step count stored in "
        "the state, or made anew in each step?",
        _5_3,
        {"count": "never"},
        coincides="in the first step",
    ),
    "A11": Row(
        "one β in both corrections",
        "v is corrected with 1 − β₁^t. Each average has its own β: m has β₁, v has β₂.",
        _5_3,
        {"corrector": "one beta"},
    ),
    "A12": Row(
        "the square root is taken before v is corrected",
        "You divide √v by 1 − β₂^t. The correction belongs to v: √(v / (1 − β₂^t)).",
        _5_4,
        {"root": "correction outside"},
    ),
    # eps
    "A1": Row(
        "eps inside the square root",
        "You compute √(v̂ + eps). torch and the paper add eps to the root: √v̂ + eps. With eps = 1e-8 the two look "
        "alike until v̂ is small, and then the step is limited 10 000 times sooner.",
        _5_4,
        {"eps": "inside"},
    ),
    "A1s": Row(
        "eps² inside the square root",
        "You compute √(v̂ + eps²). It limits the step as √v̂ + eps does, but it is not the same number.",
        _5_4,
        {"eps": "squared inside"},
    ),
    "A2": Row(
        "eps added before the bias correction (eps-hat)",
        "The paper's remark after algorithm 1, and TensorFlow, fold both corrections into the lr and add eps to the "
        "uncorrected √v. That eps is larger by 1/√(1 − β₂^t) than the one torch means.",
        _5_4,
        {"eps": "hat"},
        coincides="late in training, when 1 − β₂^t has come close to 1",
    ),
    "A2i": Row(
        "eps inside the root, before the bias correction",
        "You compute √(v + eps) and correct afterwards. eps comes last: √v̂ + eps.",
        _5_4,
        {"eps": "hat inside"},
    ),
    "A3": Row(
        "eps added to the weight",
        "A missing pair of brackets: lr·m̂/√v̂ + eps adds eps to the result. It belongs to the divisor: lr·m̂/(√v̂ + eps).",
        _5_4,
        {"eps": "on the weight"},
    ),
    "A4": Row(
        "no eps",
        "You divide by √v̂ alone. Where the gradient has always been 0 that is 0/0 = nan.",
        _5_4,
        {"eps": "missing"},
    ),
    "A4m": Row(
        "max(√v̂, eps) in place of √v̂ + eps",
        "A floor under the root is a reasonable idea, but it is not what torch does.",
        _5_4,
        {"eps": "maximum"},
    ),
    # the step count
    "A6": Row(
        "one step count that every parameter raises",
        "t rises once per parameter instead of once per step, so the second parameter's first step is corrected as "
        "its second. Keep t in the parameter's own state.",
        _5_3,
        {"count": "calls"},
        coincides="for an optimizer with a single parameter",
    ),
    "A6g": Row(
        "one step count for all parameters",
        "A parameter without a gradient is left alone in that step, and its t does not rise. With one count for all, "
        "a parameter that joins late is corrected too little. Keep t in the parameter's own state.",
        _5_3,
        {"count": "steps"},
        coincides="as long as every parameter has a gradient in every step",
    ),
    # the averages
    "A7": Row(
        "v averages m² instead of g²",
        "The second moment is the average of the squared gradient, not the square of the averaged gradient; the two "
        "differ by the gradient's variance.",
        _5_2,
        {"square": "m"},
    ),
    "A7g": Row(
        "v averages g instead of g²",
        "Without the square v can be negative, and its root is nan.",
        _5_2,
        {"square": "not squared"},
    ),
    "A7a": Row(
        "v averages |g| instead of g²",
        "With |g| the divisor grows with the root of the gradient, and the step depends on the gradient's scale.",
        _5_2,
        {"square": "absolute"},
    ),
    "A7t": Row(
        "v is one number for the whole tensor",
        "g² is averaged over the tensor's elements. Adam keeps one v per element: that is what makes it adaptive.",
        _5_2,
        {"square": "tensor mean"},
    ),
    "A7b": Row(
        "v averages (g − m)²",
        "That is AdaBelief: the variance around m. Adam averages the raw square g².",
        _5_2,
        {"square": "g - m"},
    ),
    "A8": Row(
        "the betas are swapped",
        "betas = (β₁, β₂): the first one is for m, the second for v.",
        _5_1,
        {"betas": "swapped"},
    ),
    "E1m": Row(
        "β₁ and 1 − β₁ change places",
        "You compute (1 − β₁)·m + β₁·g. β₁ is the weight of the past.",
        _5_1,
        {"m": "roles swapped"},
    ),
    "E1v": Row(
        "β₂ and 1 − β₂ change places",
        "You compute (1 − β₂)·v + β₂·g². β₂ is the weight of the past.",
        _5_2,
        {"v": "roles swapped"},
    ),
    "E9m": Row(
        "m has no memory",
        "m is (1 − β₁)·g in every step: the old m is lost. Is it read from the state before it is written?",
        _5_1,
        {"m": "no memory"},
        coincides="in the first step",
    ),
    "E9v": Row(
        "v has no memory",
        "v is (1 − β₂)·g² in every step: the old v is lost.",
        _5_2,
        {"v": "no memory"},
        coincides="in the first step",
    ),
    "A13": Row(
        "m sums the gradients: the factor 1 − β₁ is missing",
        "m = β₁·m + g is the velocity of momentum SGD. Adam's m is an average; its new gradient counts 1 − β₁.",
        _5_1,
        {"m": "sum"},
    ),
    "A14": Row(
        "the factor 1 − β₂ is missing in v",
        "v = β₂·v + g² is a decaying sum, larger than the average by 1/(1 − β₂).",
        _5_2,
        {"v": "sum"},
    ),
    "A15": Row(
        "v adds up all squared gradients",
        "v = v + g² is Adagrad: it never forgets, and the steps die out. Adam's v is an average that forgets.",
        _5_2,
        {"v": "adagrad"},
    ),
    "A16": Row(
        "no momentum: g in place of m̂",
        "The update divides the gradient itself by √v̂. That is RMSprop with bias correction.",
        _5_1,
        {"m": "none", "correct": "v"},
    ),
    "A17": Row(
        "the update uses the old m",
        "m is averaged after it was used, so every step lags one gradient behind (and the first one does not move).",
        _5_1,
        {"m": "old"},
    ),
    "A18": Row(
        "m looks one step ahead (Nesterov)",
        "You use β₁·m + (1 − β₁)·g after m was averaged already. That is NAdam's idea, not Adam.",
        _5_1,
        {"m": "nesterov"},
    ),
    "R4": Row(
        "the square root is missing",
        "You divide by v̂ + eps. Without the root the step is proportional to 1/g: large gradients make it tiny.",
        _5_4,
        {"root": "missing"},
    ),
    "M5": Row(
        "the sign of the update",
        "The weight moves along +m̂: that climbs. Gradient descent subtracts.",
        _5_4,
        {"sign": 1},
    ),
    # AMSGrad and maximize
    "A19": Row(
        "AMSGrad always",
        "The maximum of v is used although amsgrad=False.",
        "equation (5.6)",
        {"amsgrad": "always"},
        coincides="as long as v only grows",
    ),
    "A20": Row(
        "amsgrad has no effect",
        "With amsgrad=True the divisor uses the largest v so far. Either group['amsgrad'] is not read, or the maximum is "
        "not kept in the state from step to step.",
        "equation (5.6)",
        {"amsgrad": "ignored"},
        coincides="with amsgrad=False, and as long as v only grows",
    ),
    "A21": Row(
        "AMSGrad's maximum is taken of v̂ instead of v",
        "torch keeps the maximum of the uncorrected v and corrects it afterwards. v̂ is largest in the very first "
        "steps, so its maximum stays there.",
        "equation (5.6)",
        {"amsgrad": "on the corrected"},
        coincides="with amsgrad=False",
    ),
    "A35": Row(
        "AMSGrad's maximum is written into v",
        "v itself never falls then, and the next step averages the maximum. Keep v and its maximum apart.",
        "equation (5.6)",
        {"amsgrad": "into v"},
        coincides="with amsgrad=False",
    ),
    "A22": Row(
        "maximize is ignored",
        "With maximize=True the optimizer climbs: it works with −g from the start.",
        "section 2, the paragraph on maximize",
        {"maximize": "ignored"},
        coincides="with maximize=False",
    ),
    "A33": Row(
        "maximize turns the decay around too",
        "You negate after adding weight_decay·w, so the weights grow. torch negates the gradient first.",
        "equation (5.5)",
        {"maximize": "after decay"},
        coincides="with maximize=False, and without decay",
    ),
    # state
    "A23": Row(
        "one m and v for all parameters",
        "The parameters share their averages. Each parameter has its own state: self.state[p].",
        "the table in section 2, self.state[p]",
        {"state": "shared"},
        coincides="for an optimizer with a single parameter",
    ),
    "A24": Row(
        "the state is made anew in every step",
        "m and v start at 0 in each step. Make them only when self.state[p] is empty.",
        "the table in section 2, self.state[p]",
        {"state": "reset"},
        coincides="in the first step",
    ),
    "A25": Row(
        "m and v are not updated in place",
        "`m = β₁*m + …` makes a new tensor that only your function knows: the caller's m and v stay 0, and the next "
        "step starts from nothing. Write `m.mul_(…).add_(…)`, `m.copy_(…)` or `m[...] = …`.",
        "the docstring: w, m, v are updated in place",
        {"state": "not stored"},
    ),
    "M9": Row(
        "the weight is not updated in place",
        "`w = w - …` makes a new tensor and leaves the one that the model uses as it was. Write `w.sub_(…)` or "
        "`w.add_(…)`.",
        "the docstring: updated in place",
        {"weight": "rebound"},
    ),
    "M9s": Row(
        "the weight gets new storage",
        "`p.data = …` points the parameter at new memory. Views, flattened copies and CUDA graphs still see the old "
        "one. Write into it: `p.sub_(…)`.",
        "the docstring: updated in place",
        {"weight": "new storage"},
    ),
    # groups
    "A26": Row(
        "the lr is remembered from the first step",
        "Schedulers change group['lr'] during training. Read it in every step.",
        "the table in section 2, self.param_groups",
        {"lr": "first seen"},
        coincides="at a constant lr",
    ),
    "A27": Row(
        "the lr of the constructor is used for every group",
        "self.defaults['lr'] is what the constructor was given; a group's own lr is group['lr'].",
        "the table in section 2, self.param_groups",
        {"lr": "defaults"},
        coincides="for one group at a constant lr",
    ),
    "S9": Row(
        "the first group's lr is used for every group",
        "Each group has its own lr: group['lr'] inside the loop over self.param_groups.",
        "the table in section 2, self.param_groups",
        {"lr": "first group"},
        coincides="for one group",
    ),
    "A28": Row(
        "the first group's betas are used for every group",
        "Each group has its own betas: group['betas'] inside the loop over self.param_groups.",
        "the table in section 2, self.param_groups",
        {"group betas": "defaults"},
        coincides="for one group",
    ),
    "A29": Row(
        "the first group's eps is used for every group",
        "Each group has its own eps: group['eps'] inside the loop over self.param_groups.",
        "the table in section 2, self.param_groups",
        {"group eps": "defaults"},
        coincides="for one group",
    ),
    "A30": Row(
        "the first group's weight_decay is used for every group",
        "Groups exist so that biases and norms can go without decay: read group['weight_decay'] inside the loop.",
        "the table in section 2, self.param_groups",
        {"group decay": "defaults"},
        coincides="for one group",
    ),
    "A31": Row(
        "only the first group is updated",
        "The parameters of the other groups never move. Loop over all of self.param_groups (and mind a `return` "
        "inside the loop).",
        "the table in section 2, self.param_groups",
        {"groups": "first only"},
        coincides="for one group",
    ),
    "A32": Row(
        "a missing gradient is taken for a zero gradient",
        "A parameter whose .grad is None is left alone: its m, v and t do not change. With zeros in its place m "
        "still moves the weight and v decays.",
        "the table in section 2, p.grad",
        {"none": "zero"},
        coincides="as long as every parameter has a gradient in every step",
    ),
    "A34": Row(
        "`return` where `continue` belongs",
        "At the first parameter without a gradient the step ends, and the parameters after it are not updated.",
        "the table in section 2, p.grad",
        {"none": "returns"},
        coincides="as long as every parameter has a gradient in every step",
    ),
    # weight decay
    "W1": Row(
        "L2 in place of decoupled decay",
        "The decay is added to the gradient, so it is averaged and divided by √v̂: weights with large gradients "
        "hardly decay. That is Adam with weight_decay. AdamW shrinks the weight itself.",
        "equations (5.5) and (5.9)",
        {"decay": "l2"},
        coincides="with weight_decay = 0",
    ),
    "W8": Row(
        "decoupled decay in place of L2",
        "You shrink the weight itself: that is AdamW. torch.optim.Adam adds weight_decay·w to the gradient.",
        "equations (5.5) and (5.9)",
        {"decay": "decoupled"},
        coincides="with weight_decay = 0",
    ),
    "W2": Row(
        "the decay is not multiplied by lr",
        "You multiply by 1 − weight_decay. torch's factor is 1 − lr·weight_decay. (In the paper's algorithm the base lr is "
        "missing from the factor, only the schedule's multiplier is in it: that is why both are found.)",
        "equation (5.9)",
        {"decay": "without lr"},
        coincides="with weight_decay = 0",
    ),
    "W3": Row(
        "the decay comes after the update",
        "You shrink the new weight. torch shrinks the old one first; the two differ by lr·weight_decay times the "
        "step, which is small, but it is not nothing.",
        "equation (5.9)",
        {"decay": "after"},
        coincides="with weight_decay = 0",
    ),
    "W4": Row(
        "the decay is divided by √v̂ + eps too",
        "The decay stands inside the fraction. Decoupled means that it is not preconditioned.",
        "equation (5.9)",
        {"decay": "preconditioned"},
        coincides="with weight_decay = 0",
    ),
    "W5": Row(
        "twice the decay",
        "A penalty λ·Σw² has the gradient 2λw; torch's weight_decay stands for (λ/2)·Σw², whose gradient is λw.",
        "equation (5.5)",
        {"decay": "twice"},
        coincides="with weight_decay = 0",
    ),
    "W5b": Row(
        "L2 and decoupled decay both",
        "The weight decays twice: once through the gradient, once directly.",
        "equations (5.5) and (5.9)",
        {"decay": "penalty too"},
        coincides="with weight_decay = 0",
        also=({"decay": "penalty on the shrunk"},),
    ),
    "W17": Row(
        "a parameter without a gradient decays",
        "The decay stands before the test of p.grad. A parameter that took no part is left alone altogether.",
        "the table in section 2, p.grad",
        {"none": "decays"},
        coincides="as long as every parameter has a gradient in every step",
    ),
    "W18": Row(
        "the decay uses the lr of the constructor",
        "The factor is 1 − lr·weight_decay with the group's lr of this step, the scheduled one.",
        "equation (5.9)",
        {"decay lr": "defaults"},
        coincides="for one group at a constant lr",
    ),
    "W6": Row(
        "only tensors with more than one dimension decay",
        "Sparing biases and norms is good practice, but it is the caller's decision, made with parameter groups. "
        "torch decays every parameter of a group.",
        "the table in section 2, self.param_groups",
        {"decay": "matrices only"},
        coincides="with weight_decay = 0, and for models without vectors",
    ),
    "W9": Row(
        "the decay has the wrong sign",
        "The weights grow instead of shrinking.",
        "equations (5.5) and (5.9)",
        {"decay": "negative"},
        coincides="with weight_decay = 0",
    ),
    "W10": Row(
        "the L2 term is multiplied by lr",
        "You add lr·weight_decay·w to the gradient. The gradient knows no lr: add weight_decay·w.",
        "equation (5.5)",
        {"decay": "l2 times lr"},
        coincides="with weight_decay = 0",
    ),
    "W11": Row(
        "weight_decay is ignored",
        "The weights do not decay at all. Read group['weight_decay'].",
        "equations (5.5) and (5.9)",
        {"decay": "ignored"},
        coincides="with weight_decay = 0",
    ),
    "W12": Row(
        "the L2 term goes into m but not into v",
        "v averages the square of the same gradient that m averages: add weight_decay·w before both.",
        "equation (5.5)",
        {"decay": "m only"},
        coincides="with weight_decay = 0",
    ),
    "M10": Row(
        "p.grad is changed",
        "The gradient is changed in place: `g = p.grad` is no copy, and `g += …` writes into it. Who reads or re-uses it "
        "afterwards (clipping, accumulation, a second optimizer) finds something else. Make a new tensor: `g = g + …`.",
        "the docstring: p.grad stays as it is",
        {"gradient": "changed"},
        coincides="with weight_decay = 0",
        also=({"gradient": "changed unless negated"},),
    ),
}
