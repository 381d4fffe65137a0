"""Momentum under a schedule, with a look ahead, and at the edge of stability: right forms and wrong ones (rows M*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from autograder.misconceptions import Row
from autograder.misconceptions.momentum_steps import torch_update

Tensor = torch.Tensor
Faults = Mapping[str, Any]
GradFn = Callable[[Tensor], Tensor]

# --- a learning rate that changes -----------------------------------------------------------------------------------


@torch.no_grad()
def rescale_in_place(v: Tensor, lr_old: float, lr_new: float) -> None:
    if lr_old == 0:
        raise ValueError("a velocity made with lr = 0 has forgotten the gradients")
    v.mul_(lr_new / lr_old)


def run_with_torch(w0: Tensor, grads: Tensor, lrs: list[float], mu: float) -> Tensor:
    """The reference: torch.optim.SGD whose group's lr is set before each step."""
    w = torch.nn.Parameter(w0.clone())
    opt = torch.optim.SGD([w], lr=lrs[0], momentum=mu)
    rows = [w0.clone()]
    for g, lr in zip(grads, lrs, strict=True):
        opt.param_groups[0]["lr"] = lr
        w.grad = g.clone()
        opt.step()
        rows.append(w.detach().clone())
    return torch.stack(rows)


def schedule_functions(faults: Faults) -> tuple[Callable[..., Any], ...]:
    """`rescale_velocity` and `scheduled_run` with faults: "ratio", "zero", "write"; "when"."""

    @torch.no_grad()
    def rescale_velocity(v: Tensor, lr_old: float, lr_new: float) -> None:
        how = faults.get("ratio", "right")
        if lr_old == 0:
            if faults.get("zero") == "returns":
                return
            if faults.get("zero") == "zeroes":
                v.zero_()
                return
            if faults.get("zero") != "divides":
                raise ValueError("a velocity made with lr = 0 has forgotten the gradients")
        if how == "none":
            return
        ratio = {
            "inverse": lambda: lr_old / lr_new,
            "new": lambda: lr_new,
            "difference": lambda: 1 + lr_new - lr_old,
            "forgets": lambda: 0.0,
        }.get(how, lambda: lr_new / lr_old)()
        if faults.get("write") != "rebound":
            v.copy_(v * ratio)

    @torch.no_grad()
    def scheduled_run(w0: Tensor, grads: Tensor, lrs: list[float], mu: float) -> Tensor:
        when = faults.get("when", "before")
        w, v, lr_old, rows = w0.clone(), torch.zeros_like(w0), lrs[0], [w0.clone()]
        for g, lr in zip(grads, lrs, strict=True):
            if when in ("before", "from the first"):
                rescale_velocity(v, lr_old, lr)
            v = mu * v - lr * g
            if when == "between":
                rescale_velocity(v, lr_old, lr)
            w = w + v
            if when == "after":
                rescale_velocity(v, lr_old, lr)
            if when != "from the first":
                lr_old = lr
            rows.append(w.clone())
        if faults.get("rows") in ("aliased", "aliased from step 1"):
            kept = 1 if faults["rows"] == "aliased from step 1" else 0
            rows = rows[:kept] + [w] * (len(rows) - kept)
        return torch.stack(rows)

    return rescale_velocity, scheduled_run


LR_CHANGE_ROWS: dict[str, Row] = {
    "M4": Row(
        "lr inside the velocity is taken for torch's form",
        "Your run goes on with the velocity as it is when the lr changes. Equivalent here at constant lr; different"
        " when the lr changes, because the old velocity still moves at the old lr, while torch multiplies its whole"
        " buffer by the new one.",
        "equation (3.11)",
        {"when": "never"},
        coincides="at constant lr, where the two forms are the same optimizer",
    ),
    "M33": Row(
        "the ratio is upside down",
        "You multiply by lr_old/lr_new: a falling lr then makes the velocity larger.",
        "equation (3.11)",
        {"ratio": "inverse"},
        coincides="at constant lr",
    ),
    "M34": Row(
        "rescaled after the update",
        "The first step with the new lr is taken with the old velocity, and the new gradient's share is rescaled "
        "although it was made with the new lr. Rescale before v is updated.",
        "equation (3.11)",
        {"when": "after"},
        also=({"when": "between"},),
        coincides="at constant lr",
    ),
    "M35": Row(
        "always compared with the first lr",
        "You multiply by lr_new/lr_first in every step, so that the ratios pile up. lr_old is the lr of the step "
        "before.",
        "equation (3.11)",
        {"when": "from the first"},
        coincides="as long as the lr is the first one",
    ),
    "M36": Row(
        "multiplied by the new lr",
        "The velocity has the old lr in it already: lr_new/lr_old exchanges one for the other.",
        "equation (3.11)",
        {"ratio": "new"},
    ),
    "M37": Row(
        "the velocity is thrown away",
        "A change of lr is no restart: torch keeps its buffer.",
        "equation (3.11)",
        {"ratio": "forgets"},
    ),
    "M38": Row(
        "no ValueError for lr_old = 0",
        "With lr_old = 0 the velocity says nothing about the gradients of the past, and no number brings them back "
        "(torch, with lr outside, still has them). Say so: raise ValueError.",
        "the docstring: ValueError",
        {"zero": "returns"},
        also=({"zero": "zeroes"}, {"zero": "divides"}),
    ),
    "M9v": Row(
        "the velocity is not changed",
        "After rescale_velocity the caller's v is what it was. `v = v * …` makes a new tensor that only your "
        "function knows: write `v.mul_(…)`. (To leave v alone on purpose is right at constant lr only; when the lr "
        "changes torch's form is another one.)",
        "the docstring: in place",
        {"write": "rebound"},
        coincides="at constant lr",
        also=({"ratio": "none"},),
    ),
    "W16": Row(
        "every row of the trajectory is the last weight",
        "The list holds the same tensor again and again, and it changes in place. Append w.clone().",
        "the docstring: row t is the weight after t steps",
        {"rows": "aliased"},
        also=({"rows": "aliased from step 1"},),
    ),
}

# --- Nesterov -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def lookahead_with_torch(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
    """The reference: torch's Nesterov step on θ + μv, translated back."""
    point, buffer = theta + mu * v, v / -lr
    torch_update(point, grad_fn(point.clone()), buffer, lr, mu, nesterov=True)
    v.copy_(-lr * buffer)
    theta.copy_(point - mu * v)


def torch_point(theta: Tensor, v: Tensor, mu: float) -> Tensor:
    return theta + mu * v


def nesterov_functions(faults: Faults) -> tuple[Callable[..., Any], ...]:
    """`lookahead_step` and `torch_point` with faults: "at", "v", "move", "write"; "point"."""

    @torch.no_grad()
    def lookahead_step(theta: Tensor, v: Tensor, grad_fn: GradFn, lr: float, mu: float) -> None:
        at = {"theta": theta, "full step": theta + v, "behind": theta - mu * v}.get(
            faults.get("at", "ahead"), theta + mu * v
        )
        g = grad_fn(at.clone())
        old = v.clone()
        new = {
            "uphill": mu * v + lr * g,
            "averaged": mu * v - (1 - mu) * lr * g,
            "no friction": v - lr * g,
        }.get(faults.get("v", "right"), mu * v - lr * g)
        move = {
            "old": old,
            "torch": mu * new - lr * g,
            "torch old": mu * old - lr * g + mu * old,
        }.get(faults.get("move", "right"), new)
        start = at if faults.get("move") == "from ahead" else theta
        if faults.get("write") not in ("v rebound", "both rebound"):
            v.copy_(new)
        if faults.get("write") not in ("rebound", "both rebound"):
            theta.copy_(start + move)

    def point(theta: Tensor, v: Tensor, mu: float) -> Tensor:
        return {"theta": theta.clone(), "behind": theta - mu * v, "full step": theta + v}.get(
            faults.get("point", "ahead"), theta + mu * v
        )

    return lookahead_step, point


NESTEROV_ROWS: dict[str, Row] = {
    "M39": Row(
        "the gradient is taken at θ",
        "That is momentum without a look ahead. Nesterov asks for the gradient where the velocity alone would carry"
        " the weight: at θ + μv.",
        "equation (3.12)",
        {"at": "theta"},
    ),
    "M40": Row(
        "the gradient is taken a full velocity ahead",
        "You ask at θ + v. After friction only μv is left of the velocity: the look ahead goes to θ + μv.",
        "equation (3.12)",
        {"at": "full step"},
    ),
    "M41": Row(
        "the look ahead goes backwards",
        "You ask at θ − μv, where the weight came from. v is the way it moves: add.",
        "equation (3.12)",
        {"at": "behind"},
    ),
    "M6": Row(
        "torch's step from the look-ahead point's gradient",
        "You move by mu·v − lr·g with the new v, as torch's nesterov=True does. In torch the gradient is taken at "
        "the weight itself; with a gradient taken ahead the weight moves by v alone. One look ahead is enough.",
        "equations (3.12) and (3.13)",
        {"move": "torch"},
    ),
    "M77": Row(
        "θ is moved to the look-ahead point and not brought back",
        "`theta.add_(v, alpha=mu)` changes the caller's θ, and the step then starts from there: mu·v counts twice. The "
        "look-ahead point is a new tensor: grad_fn(theta + mu * v).",
        "equation (3.12)",
        {"move": "from ahead"},
    ),
    "M7": Row(
        "the weight moves with the old velocity",
        "v is updated first, with the gradient from ahead; then the new v is added.",
        "equation (3.12)",
        {"move": "old"},
    ),
    "M5": Row(
        "the sign of the update",
        "The velocity grows along +g: that climbs.",
        "equation (3.12)",
        {"v": "uphill"},
    ),
    "M16": Row(
        "a factor 1 − μ in the velocity",
        "A new gradient counts in full: v ← mu·v − lr·g.",
        "equation (3.12)",
        {"v": "averaged"},
    ),
    "M17": Row(
        "no friction: μ is not used in the velocity",
        "μ stands in both places: in the look ahead, and in v ← mu·v − lr·g.",
        "equation (3.12)",
        {"v": "no friction"},
    ),
    "M42": Row(
        "θ is compared with torch's weight",
        "torch_point returns θ itself. torch's parameter lives at the look-ahead point θ + μv: it is there that its"
        " gradient is taken.",
        "equation (3.13)",
        {"point": "theta"},
        coincides="at the start, where v = 0",
    ),
    "M43": Row(
        "the change of variables has the wrong sign",
        "You return θ − μv. torch's point lies ahead.",
        "equation (3.13)",
        {"point": "behind"},
    ),
    "M44": Row(
        "the change of variables takes the whole velocity",
        "You return θ + v. The look-ahead point is θ + μv.",
        "equation (3.13)",
        {"point": "full step"},
    ),
    "M9": Row(
        "the weight is not updated in place",
        "`theta = theta + v` makes a new tensor and leaves the caller's as it was. Write `theta.add_(v)`.",
        "the docstring: in place",
        {"write": "rebound"},
    ),
    "M9v": Row(
        "the velocity is not updated in place",
        "`v = mu*v - …` makes a new tensor that only your function knows: the caller's v stays as it was, and every "
        "step starts from it again. Write `v.mul_(mu).sub_(lr * g)`.",
        "the docstring: in place",
        {"write": "v rebound"},
    ),
    "M9b": Row(
        "nothing is updated in place",
        "After the call θ and v are what they were. `v = …` and `theta = …` make new tensors that only your function "
        "knows. Write into the caller's: `v.mul_(mu).sub_(lr * g)`, `theta.add_(v)`.",
        "the docstring: in place",
        {"write": "both rebound"},
    ),
}

# --- stability ------------------------------------------------------------------------------------------------------


def spectral_radius(lr: float, mu: float, curvature: float) -> float:
    """The largest |eigenvalue| of (w_t, w_{t−1}) ↦ (w_{t+1}, w_t) for torch's momentum on ½·curvature·w²."""
    matrix = np.array([[1 + mu - lr * curvature, -mu], [1.0, 0.0]])
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def edge_of_stability(curvature: float, mu: float) -> float:
    """The reference: the lr at which the spectral radius passes 1, by bisection (the closed form is the exercise)."""
    stable, unstable = 0.0, 16.0 / curvature
    for _ in range(80):
        middle = 0.5 * (stable + unstable)
        if spectral_radius(middle, mu, curvature) <= 1:
            stable = middle
        else:
            unstable = middle
    return stable


def best_heavy_ball(l_min: float, l_max: float) -> tuple[float, float]:
    """Polyak (1964). Compared with a search over (lr, mu) in the tests: at the optimum the matrix is defective, so that a
    search finds the spectral radius to eight digits and not lr and mu."""
    low, high = l_min**0.5, l_max**0.5
    return 4 / (low + high) ** 2, ((high - low) / (high + low)) ** 2


def stability_functions(faults: Faults) -> tuple[Callable[..., Any], ...]:
    """`max_stable_lr` and `optimal_heavy_ball` with faults "max" and "best"."""

    def max_stable_lr(curvature: float, mu: float) -> float:
        forms: dict[str, Callable[[], float]] = {
            "no momentum": lambda: 2 / curvature,
            "average": lambda: 2 * (1 + mu) / ((1 - mu) * curvature),
            "minus": lambda: 2 * (1 - mu) / curvature,
            "half": lambda: (1 + mu) / curvature,
            "terminal": lambda: 2 / ((1 - mu) * curvature),
            "nesterov": lambda: 2 * (1 + mu) / ((1 + 2 * mu) * curvature),
            "complex": lambda: (1 + mu**0.5) ** 2 / curvature,
        }
        return forms.get(faults.get("max", "right"), lambda: 2 * (1 + mu) / curvature)()

    def optimal_heavy_ball(l_min: float, l_max: float) -> tuple[float, float]:
        low, high = l_min**0.5, l_max**0.5
        lr, mu = best_heavy_ball(l_min, l_max)
        forms: dict[str, tuple[float, float]] = {
            "kappa": (lr, ((l_max - l_min) / (l_max + l_min)) ** 2),
            "kappa in both": (4 / (l_max + l_min) ** 2, ((l_max - l_min) / (l_max + l_min)) ** 2),
            "kappa, not squared": (lr, (l_max - l_min) / (l_max + l_min)),
            "mu not squared": (lr, (high - low) / (high + low)),
            "lr not squared": (4 / (low + high), mu),
            "lr and root": (2 / (low + high), mu),
            "no square": (2 / (low + high), (high - low) / (high + low)),
            "swapped": (mu, lr),
            "plain": (2 / (l_min + l_max), 0.0),
            "plain lr": (2 / (l_min + l_max), mu),
            "nesterov": (1 / l_max, (high - low) / (high + low)),
            "edge": (edge_of_stability(l_max, mu), mu),
        }
        return forms.get(faults.get("best", "right"), (lr, mu))

    return max_stable_lr, optimal_heavy_ball


STABILITY_ROWS: dict[str, Row] = {
    "M45": Row(
        "2/λ, whatever μ is",
        "That is gradient descent's limit. Momentum damps the jumps across the ravine: with μ the limit is larger, "
        "close to twice as large for μ near 1.",
        "equation (3.16)",
        {"max": "no momentum"},
    ),
    "M46": Row(
        "the averaging form's limit",
        "2(1 + μ)/((1 − μ)λ) is the limit for the lr of the averaging form. For torch's lr, with the whole gradient "
        "in the buffer, the factor 1/(1 − μ) is not there.",
        "equation (3.16)",
        {"max": "average"},
    ),
    "M47": Row(
        "the effective lr is held against 2/λ",
        "lr/(1 − μ) < 2/λ gives 2(1 − μ)/λ, which is too careful by far: the jump from one step to the next "
        "decides, not the sum over many. Momentum makes larger learning rates stable. Put z = −1 into equation "
        "(3.15).",
        "equation (3.16)",
        {"max": "minus"},
    ),
    "M48": Row(
        "half of the limit",
        "At (1 + μ)/λ the two eigenvalues add up to 0; the run still converges. The limit is where one of them is −1.",
        "equation (3.16)",
        {"max": "half"},
    ),
    "M49": Row(
        "2/λ divided by 1 − μ",
        "For μ = 0.9 that is 20/λ, and a run at half of it explodes: the limit stays below 4/λ for every μ. Put z ="
        " −1 into equation (3.15).",
        "equation (3.16)",
        {"max": "terminal"},
    ),
    "M50": Row(
        "Nesterov's limit",
        "2(1 + μ)/((1 + 2μ)λ) is the limit with nesterov=True, which is smaller. The exercise asks for momentum "
        "without it.",
        "equation (3.16)",
        {"max": "nesterov"},
    ),
    "M78": Row(
        "the edge of the complex range",
        "At (1 + √μ)²/λ the two roots meet in −√μ, still inside the circle: the run converges. With a larger lr they "
        "part along the real axis, and the limit is where one of them reaches −1.",
        "equation (3.16)",
        {"max": "complex"},
    ),
    "M51": Row(
        "κ where √κ belongs",
        "The best momentum is ((√L − √ℓ)/(√L + √ℓ))². Without the roots it is gradient descent's rate: the root is "
        "what momentum gains.",
        "equation (3.17)",
        {"best": "kappa"},
        also=({"best": "kappa in both"}, {"best": "kappa, not squared"}),
    ),
    "M52": Row(
        "the square of the best momentum is missing",
        "(√L − √ℓ)/(√L + √ℓ) is the rate, √μ. μ is its square.",
        "equation (3.17)",
        {"best": "mu not squared"},
    ),
    "M53": Row(
        "the square of the best lr is missing",
        "lr = 4/(√L + √ℓ)²: an lr has the units of 1/curvature.",
        "equation (3.17)",
        {"best": "lr not squared"},
        also=({"best": "lr and root"}, {"best": "no square"}),
    ),
    "M54": Row(
        "lr and mu change places",
        "The function returns (lr, mu).",
        "the docstring: returns (lr, mu)",
        {"best": "swapped"},
    ),
    "M55": Row(
        "the best step of plain gradient descent",
        "lr = 2/(L + ℓ) is best for μ = 0. With momentum a larger lr pays.",
        "equation (3.17)",
        {"best": "plain"},
        also=({"best": "plain lr"},),
    ),
    "M56": Row(
        "Nesterov's settings",
        "lr = 1/L with μ = (√κ − 1)/(√κ + 1) is the usual choice for Nesterov's method. Heavy ball has another "
        "optimum.",
        "equation (3.17)",
        {"best": "nesterov"},
    ),
    "M57": Row(
        "the largest stable lr is taken for the best",
        "At the edge of stability the steepest direction does not converge at all.",
        "equation (3.17)",
        {"best": "edge"},
    ),
}
