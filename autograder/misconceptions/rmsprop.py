"""RMSProp as a torch optimizer, uncorrected and bias-corrected, with faults that can be switched on (rows R*).

Sources of the right updates: torch.optim.RMSprop (`_single_tensor_rmsprop`), and torch.optim.Adam with beta1 = 0 for the
corrected form; with no faults the simulators equal them (a test says so). Equation and section numbers are those of
the notebook `04_rmsprop`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch.optim.rmsprop import rmsprop as torch_rmsprop_update

from autograder.misconceptions import in_turn

Tensor = torch.Tensor
Faults = Mapping[str, Any]

#: What each switch can be, the right value first. `correct` is a fault in one of the two forms only.
SWITCHES: dict[str, tuple[Any, ...]] = {
    "sign": ("down", "up"),
    "lr": ("group", "missing", "first seen", "defaults", "first group"),
    "v": ("average", "sum", "adagrad", "swapped", "no memory", "this gradient", "old", "not stored"),
    "square": ("g", "absolute", "not squared", "tensor mean", "deviations", "squared mean"),
    "start": ("zero", "square", "one"),
    "stored": ("as averaged", "rooted", "corrected"),
    "given v": ("kept", "updated", "rooted", "not used", "stays at 0"),
    "root": ("v", "missing", "squared", "correction outside"),
    "eps": (
        "outside", "inside", "squared inside", "hat", "missing", "nan to 0", "maximum", "on the weight", "on the step"
    ),
    "arguments": ("as given", "eps fixed", "swapped"),
    "divides": ("divides", "multiplies", "not at all"),
    "correct": ("as the class says", "always", "never", "g squared"),
    "corrector": ("power", "product", "power of 1 - alpha", "multiplied", "float32"),
    "t": (0, -1, 1),
    "count": ("parameter", "calls", "steps", "never"),
    "centered": (
        "as given", "always", "ignored", "mean not squared", "added", "no root", "stored", "numerator too"
    ),
    "mean": ("average", "sum", "old", "swapped", "without decay"),
    "momentum": (
        "torch", "on the gradient", "averaged gradient", "averaged", "swapped", "old", "ignored", "lr inside", "nesterov",
        "no memory",
    ),
    "decay": (
        "l2", "decoupled", "ignored", "negative", "times lr", "twice", "matrices only", "numerator only", "v only", "after"
    ),
    "group alpha": ("group", "first group", "defaults", "first seen", "fixed", "fixed 0.9", "fixed 0.8"),
    "group eps": ("group", "first group", "defaults", "first seen", "fixed"),
    "group decay": ("group", "first group", "defaults", "first seen"),
    "group momentum": ("group", "first group", "defaults", "first seen"),
    "group centered": ("group", "first group", "defaults"),
    "groups": ("all", "first only"),
    "none": ("skipped", "zero", "written", "returns"),
    "zeros": ("a gradient", "as None"),
    "state": ("own", "shared", "reset", "outside"),
    "kept": ("as torch", "other name"),
    "gradient": ("kept", "changed"),
    "weight": ("in place", "rebound", "new storage"),
    "alpha default": (0.99, 0.9),
}  # fmt: skip


def _switch(faults: Faults, name: str) -> Any:
    return faults.get(name, SWITCHES[name][0])


# --- rmsprop.precondition -------------------------------------------------------------------------------------------


@torch.no_grad()
def torch_precondition(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
    """The reference: torch's own update with alpha = 1, which leaves v as it is."""
    torch_rmsprop_update(
        [w], [g], [v], [], [], [torch.tensor(0.0)],
        foreach=False, lr=lr, alpha=1.0, eps=eps, weight_decay=0.0, momentum=0.0, centered=False,
    )  # fmt: skip


def precondition(faults: Faults) -> Callable[..., None]:
    """A wrong `preconditioned_step`."""

    @torch.no_grad()
    def preconditioned_step(w: Tensor, g: Tensor, v: Tensor, lr: float, eps: float) -> None:
        if _switch(faults, "gradient") == "changed":
            g.mul_(lr)
            w.sub_(g / (v.sqrt() + eps))
            return
        lr, eps = {"eps fixed": (lr, 1e-8), "swapped": (eps, lr)}.get(_switch(faults, "arguments"), (lr, eps))
        how = _switch(faults, "given v")
        used = {"updated": v + g * g, "not used": g * g}.get(how, v)
        step = lr * _divided(g, used, eps, 1.0, faults)
        if how == "stays at 0":
            step = torch.where(v == 0, torch.zeros_like(step), step)
        if how == "rooted":
            v.sqrt_().add_(eps)
        elif how == "updated":
            v.copy_(used)
        if _switch(faults, "lr") == "missing":
            step = step / lr
        new = w + step if _switch(faults, "sign") == "up" else w - step
        _write(w, _displaced(new, eps, faults), faults)

    return preconditioned_step


def _divided(g: Tensor, v: Tensor, eps: float, c: float, faults: Faults) -> Tensor:
    """g over the root of v / c: equation (4.2). `eps` "on the weight" leaves the divisor without it."""
    d = _divisor(v, eps, c, faults)
    ratio = g / d
    if _switch(faults, "eps") == "nan to 0":
        ratio = ratio.nan_to_num()
    return {"multiplies": g * d, "not at all": g}.get(_switch(faults, "divides"), ratio)


def _divisor(v: Tensor, eps: float, c: float, faults: Faults) -> Tensor:
    v_hat, root = v / c, _switch(faults, "root")
    if root != "v":
        return {"missing": v_hat, "squared": v_hat**2}.get(root, v.sqrt() / c) + eps
    d: Tensor = {
        "inside": lambda: (v_hat + eps).sqrt(),
        "squared inside": lambda: (v_hat + eps**2).sqrt(),
        "hat": lambda: (v.sqrt() + eps) / c**0.5,
        "missing": lambda: v_hat.sqrt(),
        "nan to 0": lambda: v_hat.sqrt(),
        "on the weight": lambda: v_hat.sqrt(),
        "on the step": lambda: v_hat.sqrt(),
        "maximum": lambda: v_hat.sqrt().clamp(min=eps),
    }.get(_switch(faults, "eps"), lambda: v_hat.sqrt() + eps)()
    return d


def _displaced(new: Tensor, eps: float, faults: Faults) -> Tensor:
    """The new weight; with brackets missing around the divisor, eps is added to it or to the step."""
    return new + {"on the weight": eps, "on the step": -eps}.get(_switch(faults, "eps"), 0.0)


def _write(p: Tensor, new: Tensor, faults: Faults) -> None:
    how = _switch(faults, "weight")
    if how == "new storage":
        p.data = new
    elif how == "in place":
        p.copy_(new)


# --- the optimizers -------------------------------------------------------------------------------------------------


class Base(torch.optim.Optimizer):
    """What the simulators of this notebook share: the loop, whose hyperparameters count, how the weight is written."""

    faults: ClassVar[Faults] = {}
    #: Hyperparameters as numbers in the code: torch's defaults, and others that stand in the cases.
    fixed: ClassVar[dict[str, dict[str, float]]] = {
        "fixed": {"alpha": 0.99, "eps": 1e-8},
        "fixed 0.9": {"alpha": 0.9},
        "fixed 0.8": {"alpha": 0.8},
    }

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        self.calls = self.steps = 0
        self.common: dict[Any, dict[str, Any]] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.steps += 1
        if self.faults.get("none") == "written":
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        for group, p, grad in in_turn(self.param_groups, self.faults):
            if grad is not None and (self.faults.get("zeros") != "as None" or bool(grad.any())):
                self.one(p, grad, group)

    def one(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """One parameter's update."""
        raise NotImplementedError

    def of(self, group: dict[str, Any], key: str, switch: str) -> Any:
        """A hyperparameter: the group's own, now or at first, the first group's, the constructor's, or a number."""
        how = str(self.faults.get(switch))
        if how == "first seen":
            return self.common.setdefault(("first", id(group)), {}).setdefault(key, group[key])
        others = {"first group": self.param_groups[0], "defaults": self.defaults, **self.fixed}
        return others.get(how, group)[key]

    def lr(self, p: Tensor, group: dict[str, Any]) -> float:
        how, lr = self.faults.get("lr"), float(group["lr"])
        if how == "first seen":
            lr = self.state[p].setdefault("first lr", lr)
        others = {"defaults": self.defaults["lr"], "first group": self.param_groups[0]["lr"], "missing": 1.0}
        return float(others.get(str(how), lr))

    def own(self, p: Tensor) -> dict[str, Any]:
        """The dict that holds the parameter's state."""
        how = self.faults.get("state")
        if how == "reset":
            return {}
        if how in ("shared", "outside"):
            return self.common.setdefault(p.shape if how == "shared" else p, {})
        own: dict[str, Any] = self.state[p]
        return own

    def count(self, state: dict[str, Any]) -> int:
        """The number of this step, as the faults count it."""
        self.calls += 1
        state["step"] = state.get("step", 0) + 1
        how = self.faults.get("count")
        return int({"calls": self.calls, "steps": self.steps, "never": 1}.get(str(how), state["step"]))


class Simulator(Base):
    """torch.optim.RMSprop, or its bias-corrected form, with this class's `faults`."""

    corrected: ClassVar[bool] = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        alpha = _switch(self.faults, "alpha default") if alpha is None else alpha
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "momentum": momentum, "centered": centered})

    def one(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        f, state, lr = self.faults, self.own(p), self.lr(p, group)
        alpha, eps = self.of(group, "alpha", "group alpha"), self.of(group, "eps", "group eps")
        wd = self.of(group, "weight_decay", "group decay")
        t = self.count(state)
        g, squared, start = self._decayed(p.detach(), grad, lr, wd)
        v = self._square(squared, state, alpha)
        c = self._corrector(alpha, t)
        if _switch(f, "correct") == "g squared":
            v = g * g
        centered = self.of(group, "centered", "group centered")
        seen = grad if _switch(f, "mean") == "without decay" else g
        v = self._variance(seen, v, state, alpha, bool(centered))
        above = g - state["grad_avg"] if "grad_avg" in state and _switch(f, "centered") == "numerator too" else g
        ratio = _divided(above, v, eps, c, f)
        if _switch(f, "decay") == "after":
            ratio = ratio + wd * p.detach()
        if _switch(f, "stored") == "rooted":
            state[self._key()].sqrt_()
        elif _switch(f, "stored") == "corrected":
            state[self._key()].div_(c)
        mu = self.of(group, "momentum", "group momentum")
        step = self._direction(ratio, g, v, state, mu, lr, eps, c) if mu else lr * ratio
        new = start + step if _switch(f, "sign") == "up" else start - step
        _write(p, _displaced(new, eps, f), f)

    def _key(self) -> str:
        return "square_avg" if _switch(self.faults, "kept") == "as torch" else "v"

    def _decayed(self, w: Tensor, grad: Tensor, lr: float, wd: float) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient that is divided, the one that is squared, and the weight that the step starts from: (4.5)."""
        how = _switch(self.faults, "decay")
        if how == "matrices only":
            how = "l2" if w.dim() > 1 else "ignored"
        added = {"l2": wd, "negative": -wd, "times lr": lr * wd, "twice": 2 * wd}.get(how, 0.0)
        with_decay = grad + wd * w
        if how == "numerator only":
            return with_decay, grad, w
        if how == "v only":
            return grad, with_decay, w
        g = grad + added * w if added else grad
        if added and _switch(self.faults, "gradient") == "changed":
            g = grad.copy_(g)
        return g, g, w * (1 - lr * wd) if how == "decoupled" else w

    def _square(self, g: Tensor, state: dict[str, Any], alpha: float) -> Tensor:
        """The new average of squares, equation (4.3); returns what the update uses."""
        f, key = self.faults, self._key()
        new: Tensor = {
            "absolute": g.abs(),
            "not squared": g,
            "tensor mean": (g * g).mean().expand_as(g),
        }.get(_switch(f, "square"), g * g)
        if _switch(f, "square") in ("deviations", "squared mean"):
            mean = state["seen"] = alpha * state.get("seen", torch.zeros_like(g)) + (1 - alpha) * g
            new = (g - mean) ** 2
            if _switch(f, "square") == "squared mean":
                state[key] = new = mean * mean
                return new
        if key not in state:
            state[key] = {"square": new.clone(), "one": torch.ones_like(g)}.get(
                _switch(f, "start"), torch.zeros_like(g)
            )
            if _switch(f, "start") == "square":
                return new
        old: Tensor = state[key].clone()
        mixed: Tensor = {
            "sum": alpha * old + new,
            "adagrad": old + new,
            "swapped": (1 - alpha) * old + alpha * new,
            "no memory": (1 - alpha) * new,
            "this gradient": new,
        }.get(_switch(f, "v"), alpha * old + (1 - alpha) * new)
        if _switch(f, "v") != "not stored":
            state[key].copy_(mixed)
        return old if _switch(f, "v") == "old" else mixed

    def _corrector(self, alpha: float, t: int) -> float:
        """What v is divided by: 1, or 1 − α^t in the corrected form, equation (4.8)."""
        f = self.faults
        corrects = {"always": True, "never": False, "g squared": True}.get(_switch(f, "correct"), self.corrected)
        if not corrects:
            return 1.0
        t += _switch(f, "t")
        c: float = {
            "product": lambda: 1 - alpha * t,
            "power of 1 - alpha": lambda: (1 - alpha) ** t,
            "multiplied": lambda: 1 / (1 - alpha**t),
            "float32": lambda: float(1 - alpha ** torch.tensor(float(t))),
        }.get(_switch(f, "corrector"), lambda: 1 - alpha**t)()
        if f.get("as") == "numbers":
            1 / c  # raises for c = 0, where a tensor over 0 becomes inf or nan
        return c

    def _variance(self, g: Tensor, v: Tensor, state: dict[str, Any], alpha: float, centered: bool) -> Tensor:
        """What stands under the root: v, or v − m² in the centred form, equation (4.7)."""
        how = _switch(self.faults, "centered")
        if how == "ignored" or not (centered or how == "always"):
            return v
        mean = self._mean(g, state, alpha)
        variance = v - {"mean not squared": mean, "added": -mean * mean}.get(how, mean * mean)
        if how == "stored":
            state[self._key()].copy_(variance)
        # without its root the divisor is that of the variance's square
        return variance**2 if how == "no root" else variance

    def _mean(self, g: Tensor, state: dict[str, Any], alpha: float) -> Tensor:
        how = _switch(self.faults, "mean")
        old: Tensor = state.get("grad_avg", torch.zeros_like(g))
        new: Tensor = {"sum": alpha * old + g, "swapped": (1 - alpha) * old + alpha * g}.get(
            how, alpha * old + (1 - alpha) * g
        )
        state["grad_avg"] = new.clone()
        return old if how == "old" else new

    def _direction(
        self, ratio: Tensor, g: Tensor, v: Tensor, state: dict[str, Any], mu: float, lr: float, eps: float, c: float
    ) -> Tensor:
        """lr times the buffer, equation (4.6)."""
        how = _switch(self.faults, "momentum")
        if how == "ignored":
            return lr * ratio
        old: Tensor = state.get("momentum_buffer", torch.zeros_like(g))
        of_gradients = how in ("on the gradient", "averaged gradient")
        taken = g if of_gradients else lr * ratio if how == "lr inside" else ratio
        keep = {"swapped": 1 - mu, "no memory": 0.0}.get(how, mu)
        new: Tensor = keep * old + ((1 - mu) * taken if how.startswith("averaged") else taken)
        state["momentum_buffer"] = new.clone()
        if of_gradients:
            return lr * _divided(new, v, eps, c, self.faults)
        if how == "lr inside":
            return new
        return {"old": old, "nesterov": ratio + mu * new}.get(how, new) * lr


def optimizer(faults: Faults) -> type[Simulator]:
    """The simulator as a class, as a student would hand it in."""
    return type("RMSprop", (Simulator,), {"faults": dict(faults)})


def corrected(faults: Faults) -> type[Simulator]:
    """The bias-corrected form, as a student would hand it in."""
    return type("RMSpropCorrected", (Simulator,), {"faults": dict(faults), "corrected": True})


class TorchCorrected(torch.optim.Adam):
    """The reference of the corrected form: torch's Adam without memory in its first average."""

    def __init__(self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8) -> None:
        groups = list(params)
        if groups and isinstance(groups[0], dict):
            groups = [{**group, "betas": (0.0, group.pop("alpha", alpha))} for group in groups]
        super().__init__(groups, lr=lr, betas=(0.0, alpha), eps=eps)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """torch's step; the average is seen under RMSprop's name as well."""
        super().step()
        for state in self.state.values():
            state["square_avg"] = state["exp_avg_sq"]
