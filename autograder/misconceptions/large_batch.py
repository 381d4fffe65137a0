"""Rules for large batches: right forms and wrong ones (rows G*, T11–T17). Equation and section numbers are those of the
notebook `08_large_batch_scaling`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]

#: Rows of the catalogue that no exercise can catch, and where the course deals with them.
ELSEWHERE = {
    "G2": "Adam's lr by the linear rule: question largebatch.q2",
    "G4": "same epochs taken for same steps: question largebatch.q1",
    "G6": "momentum left as it is in steps: question largebatch.q3",
    "T10": "a trust ratio instead of warmup: question largebatch.q6",
}

# --- scaling rules --------------------------------------------------------------------------------------------------


def scaling_functions(faults: Faults) -> tuple[Callable[..., float], ...]:
    """`linear_scaled_lr` and `sqrt_scaled_lr` with faults: "ratio", "cap", "rules", "power", "base"."""

    def scaled(power: float, base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
        ratio = batch_size / base_batch_size
        ratio = {"inverse": 1 / ratio, "batch": float(batch_size), "floor": float(batch_size // base_batch_size)}.get(
            faults.get("ratio", "right"), ratio
        )
        factor = {
            "all linear": ratio,
            "all root": ratio**0.5,
            "swapped": ratio ** (1.5 - power),
            "twice": ratio ** (2 * power),
        }.get(faults.get("rules", "right"), ratio**power)
        lr: float = base_lr * factor
        if faults.get("rules") == "root of all" and power == 0.5:
            lr = (base_lr * ratio) ** 0.5
        if faults.get("rules") == "never smaller":
            lr = max(lr, base_lr)
        cap = faults.get("cap", "right")
        if cap == "max":
            return max(lr, lr_max)
        if cap == "base":
            return lr if lr <= lr_max else base_lr
        if cap == "refuses" and lr > lr_max:
            raise ValueError(f"lr = {lr} is larger than lr_max")
        return lr if cap == "none" else min(lr, lr_max)

    def linear_scaled_lr(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
        return scaled(1.0, base_lr, base_batch_size, batch_size, lr_max)

    def sqrt_scaled_lr(base_lr: float, base_batch_size: int, batch_size: int, lr_max: float) -> float:
        return scaled(0.5, base_lr, base_batch_size, batch_size, lr_max)

    return linear_scaled_lr, sqrt_scaled_lr


_RULES, _CAP = "equations (8.2) and (8.3)", "the docstring: at most lr_max"

SCALING_ROWS: dict[str, Row] = {
    "G1": Row(
        "lr scaled by 1/B",
        "Your lr falls when the batch grows: base and target are swapped in the ratio. A larger batch has a calmer "
        "gradient and allows longer steps: the ratio is batch_size / base_batch_size.",
        _RULES,
        {"ratio": "inverse"},
        coincides="when both batch sizes are the same",
    ),
    "G5": Row(
        "scaled twice",
        "Your lr has the ratio once too often: k² for the linear rule and k for the root rule. That is what happens when "
        "the loss is summed over k workers *and* the lr is multiplied by k.",
        _RULES,
        {"rules": "twice"},
        coincides="when both batch sizes are the same, or the cap holds",
    ),
    "G7": Row(
        "no upper bound",
        "Your lr grows without end. A quadratic of curvature L explodes at 2/L however calm the gradient is: take the "
        "smaller one of the rule and lr_max.",
        _CAP,
        {"cap": "none"},
        coincides="as long as the rule stays below lr_max",
    ),
    "G8": Row(
        "the rules are exchanged",
        "linear_scaled_lr takes the root of the ratio, and sqrt_scaled_lr the ratio itself.",
        _RULES,
        {"rules": "swapped"},
    ),
    "G62": Row(
        "both rules are linear",
        "sqrt_scaled_lr multiplies by the ratio itself. Its factor is the root of the ratio.",
        "equation (8.3)",
        {"rules": "all linear"},
    ),
    "G63": Row(
        "both rules take the root",
        "linear_scaled_lr takes the root of the ratio. Its factor is the ratio itself.",
        "equation (8.2)",
        {"rules": "all root"},
    ),
    "G64": Row(
        "the root of the lr, too",
        "You take the root of base_lr · k. Only the ratio k of the batch sizes belongs under it.",
        "equation (8.3)",
        {"rules": "root of all"},
    ),
    "G65": Row(
        "multiplied by the batch size",
        "The factor is the ratio of the two batch sizes. You multiply by batch_size alone, as if the base were 1.",
        _RULES,
        {"ratio": "batch"},
    ),
    "G66": Row(
        "max for min",
        "You take the larger one of the rule and lr_max: lr_max becomes a lower bound.",
        _CAP,
        {"cap": "max"},
    ),
    "G67": Row(
        "integer division",
        "`//` drops what is behind the point of the ratio: a batch that is 1.5 times as large, or smaller than the base, "
        "has a ratio as well.",
        _RULES,
        {"ratio": "floor"},
    ),
    "G68": Row(
        "a smaller batch keeps the base lr",
        "The rules work in both directions: a batch smaller than the base gets a smaller lr.",
        _RULES,
        {"rules": "never smaller"},
    ),
    "G69": Row(
        "ValueError instead of the cap",
        "When the rule asks for more than lr_max, return lr_max; nothing has to be refused.",
        _CAP,
        {"cap": "refuses"},
    ),
    "G70": Row(
        "back to the base lr above the cap",
        "When the rule asks for more than lr_max the answer is lr_max, the largest lr that is allowed, and not base_lr.",
        _CAP,
        {"cap": "base"},
    ),
}


# --- warmup ---------------------------------------------------------------------------------------------------------


def warmup_by_torch(step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int) -> float:
    """The reference: `SequentialLR` of a linear warmup and a constant lr, stepped `step` times."""
    steps = warmup_epochs * -(-n // batch_size)
    if steps == 0:
        return target_lr
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=target_lr)
    rise = torch.optim.lr_scheduler.LinearLR(opt, base_lr / target_lr, 1.0, total_iters=steps)
    stay = torch.optim.lr_scheduler.ConstantLR(opt, factor=1.0)
    schedule = torch.optim.lr_scheduler.SequentialLR(opt, [rise, stay], milestones=[steps])
    for _ in range(step):
        opt.step()
        schedule.step()
    return float(opt.param_groups[0]["lr"])


def warmup_function(faults: Faults) -> tuple[Callable[..., float], ...]:
    """`warmup_lr` with faults: "start", "length", "time", "shape", "after"."""

    def warmup_lr(step: int, base_lr: float, target_lr: float, warmup_epochs: int, n: int, batch_size: int) -> float:
        per_epoch = {"floor": n // batch_size, "examples": n, "ratio": n / batch_size}.get(
            faults.get("length", "right"), math.ceil(n / batch_size)
        )
        if faults.get("length") == "nearest":
            per_epoch = round(n / batch_size)
        length = warmup_epochs * per_epoch
        if faults.get("length") == "all rounded once":
            length = math.ceil(warmup_epochs * n / batch_size)
        if faults.get("length") == "epochs":
            length = warmup_epochs
        if str(faults.get("length")).startswith("one epoch"):
            length = per_epoch if warmup_epochs or faults["length"] == "one epoch always" else 0
        if length == 0 and faults.get("zero") != "divides":
            return target_lr
        when = step + 1 if faults.get("time") == "from 1" else step
        if faults.get("time") == "last step":
            length = max(length - 1, 1)
        share = when / length
        if faults.get("shape") == "epochs":
            share = (step // per_epoch) / warmup_epochs
        if faults.get("after") != "goes on":
            share = min(share, 1.0)
        start = 0.0 if faults.get("start") == "zero" else base_lr
        shape = faults.get("shape", "linear")
        if shape == "geometric":
            return base_lr * math.pow(target_lr / base_lr, share)
        if shape == "constant":
            return base_lr if share < 1 else target_lr
        if shape == "none":
            return target_lr
        if shape == "on top":
            return base_lr + target_lr * share
        if shape == "down":
            return target_lr + (start - target_lr) * share
        if shape == "cosine":
            return start + (target_lr - start) * (1 - math.cos(math.pi * share)) / 2
        if faults.get("after") == "base" and share >= 1:
            return base_lr
        return start + (target_lr - start) * share

    return (warmup_lr,)


_WARMUP = "equation (8.4)"

WARMUP_ROWS: dict[str, Row] = {
    "G3": Row(
        "no warmup",
        "You return the scaled lr from the first step on. At the start the loss is steep and the weights far from "
        "anywhere: that is where the scaled lr diverges.",
        _WARMUP,
        {"shape": "none"},
        coincides="after the warmup",
    ),
    "G9": Row(
        "the warmup starts at 0",
        "Your ramp starts at 0. Gradual warmup starts at the lr that the small batch has shown to be safe: base_lr. (A "
        "start at 0 wastes the first step.)",
        _WARMUP,
        {"start": "zero"},
        coincides="after the warmup",
    ),
    "G10": Row(
        "the lr rises once per epoch",
        "Your lr is a staircase with one step per epoch. Gradual warmup raises it after every iteration.",
        _WARMUP,
        {"shape": "epochs"},
        coincides="at the start of each epoch",
    ),
    "G11": Row(
        "examples counted as steps",
        "Your warmup lasts warmup_epochs · n steps. An epoch has one step per batch, ⌈n/B⌉ of them: the length in steps "
        "has to follow the batch size.",
        _WARMUP,
        {"length": "examples"},
        coincides="at step 0",
    ),
    "G12": Row(
        "epochs counted as steps",
        "Your warmup lasts warmup_epochs *steps*. It is given in epochs, of ⌈n/B⌉ steps each.",
        _WARMUP,
        {"length": "epochs"},
        coincides="at step 0 and after the warmup",
    ),
    "G13": Row(
        "the last batch of an epoch is not counted",
        "You take n // batch_size steps per epoch. A shorter last batch is a step as well: ⌈n/B⌉, (n + B − 1) // B.",
        _WARMUP,
        {"length": "floor"},
        also=({"length": "floor", "zero": "divides"},),
        coincides="when B divides n",
    ),
    "G71": Row(
        "a fraction of a step",
        "You take n / batch_size steps per epoch. Steps are whole: ⌈n/B⌉.",
        _WARMUP,
        {"length": "ratio"},
        coincides="when B divides n",
    ),
    "G90": Row(
        "rounded up once for all epochs",
        "You round epochs · n/B up as a whole. Every epoch has a shorter last batch of its own: ⌈n/B⌉ steps, times the epochs.",
        _WARMUP,
        {"length": "all rounded once"},
        coincides="when B divides n, with one epoch, and after the warmup",
    ),
    "G91": Row(
        "rounded to the nearest number of steps",
        "You take round(n / batch_size) steps per epoch. A last batch of any size is a step: ⌈n/B⌉, always rounded up.",
        _WARMUP,
        {"length": "nearest"},
        also=({"length": "nearest", "zero": "divides"},),
        coincides="when the last batch is at least half full, and after the warmup",
    ),
    "G14": Row(
        "the lr goes on rising",
        "After the warmup your lr keeps growing. It stays at target_lr: the share is at most 1.",
        _WARMUP,
        {"after": "goes on"},
        coincides="during the warmup",
    ),
    "G15": Row(
        "steps counted from 1",
        "Step 0 has base_lr itself; yours is one step ahead.",
        _WARMUP,
        {"time": "from 1"},
        coincides="after the warmup",
    ),
    "G16": Row(
        "the target is reached one step early",
        "You divide by the length minus 1. As in torch's LinearLR, step 0 has base_lr and step W, the first one after "
        "the warmup, has target_lr.",
        _WARMUP,
        {"time": "last step"},
        coincides="at step 0 and after the warmup",
    ),
    "G17": Row(
        "a geometric ramp",
        "You multiply by the same factor in every step. The gradual warmup is linear: it adds the same amount.",
        _WARMUP,
        {"shape": "geometric"},
        coincides="at step 0 and after the warmup",
    ),
    "G18": Row(
        "constant warmup",
        "You stay at base_lr and then jump. Goyal et al. found this jump to be what destabilises training: rise "
        "gradually.",
        _WARMUP,
        {"shape": "constant"},
        coincides="at step 0 and after the warmup",
    ),
    "G19": Row(
        "no warmup is a division by zero",
        "With warmup_epochs = 0 there is no ramp to divide by: return target_lr.",
        "the docstring: warmup_epochs may be 0",
        {"zero": "divides"},
        coincides="with a warmup",
    ),
    "G20": Row(
        "base and target are added",
        "At the end of your ramp the lr is base_lr + target_lr. What has to be added is the difference, "
        "target_lr − base_lr.",
        _WARMUP,
        {"shape": "on top"},
        coincides="at step 0",
    ),
    "G72": Row(
        "the ramp goes down",
        "Your lr falls from target_lr to base_lr: the two are exchanged.",
        _WARMUP,
        {"shape": "down"},
    ),
    "G73": Row(
        "always one epoch",
        "Your warmup lasts one epoch; warmup_epochs is not used.",
        _WARMUP,
        {"length": "one epoch"},
        also=({"length": "one epoch always"},),
        coincides="with warmup_epochs = 1",
    ),
    "G74": Row(
        "a cosine ramp",
        "Your ramp starts and ends gently, like half a cosine. (8.4) is a straight line.",
        _WARMUP,
        {"shape": "cosine"},
        coincides="at step 0, half-way and after the warmup",
    ),
}


# --- noise scale ----------------------------------------------------------------------------------------------------


def noise_scale_function(faults: Faults) -> tuple[Callable[..., tuple[Tensor, Tensor, Tensor]], ...]:
    """`noise_scale` with faults: "norms", "g2", "trace", "scale", "batches"."""

    def noise_scale(G_small: Tensor, G_big: Tensor, b_small: int, b_big: int) -> tuple[Tensor, Tensor, Tensor]:
        if faults.get("batches") == "swapped":
            b_small, b_big = b_big, b_small
        small, big = _squared(G_small, faults), _squared(G_big, faults)
        how = faults.get("norms", "right")
        if how == "of the mean":
            s, b = (G_small.mean(0) ** 2).sum(), (G_big.mean(0) ** 2).sum()
        elif how == "root at the end":
            s, b = small.mean().sqrt(), big.mean().sqrt()
        elif how == "sum":
            s, b = small.sum(), big.sum()
        else:
            s, b = small.mean(), big.mean()
        g2 = _g2(s, b, b_small, b_big, faults.get("g2", "right"))
        trace = _trace(s, b, G_small, b_small, b_big, faults.get("trace", "right"))
        if faults.get("clamp"):
            g2, trace = g2.clamp(min=0), trace.clamp(min=0)
        if faults.get("scale") == "mean of ratios":
            each = _trace(small, big, G_small, b_small, b_big, "right") / _g2(small, big, b_small, b_big, "right")
            return g2, trace, each.mean()
        scale = {"inverse": g2 / trace, "root": (trace / g2).sqrt(), "of the norm": trace / g2.sqrt()}.get(
            faults.get("scale", "right"), trace / g2
        )
        return (trace, g2, scale) if faults.get("order") == "swapped" else (g2, trace, scale)

    return (noise_scale,)


def _squared(G: Tensor, faults: Faults) -> Tensor:
    how = faults.get("norms", "right")
    if how == "not squared":
        return (G**2).sum(1).sqrt()
    return (G**2).mean(1) if how == "mean over weights" else (G**2).sum(1)


def _g2(s: Tensor, b: Tensor, b_small: int, b_big: int, how: str) -> Tensor:
    return {
        "biased": b,
        "no divisor": b_big * b - b_small * s,
        "weights swapped": (b_small * b - b_big * s) / (b_small - b_big),
        "sum": (b_big * b + b_small * s) / (b_big + b_small),
    }.get(how, (b_big * b - b_small * s) / (b_big - b_small))


def _trace(s: Tensor, b: Tensor, G_small: Tensor, b_small: int, b_big: int, how: str) -> Tensor:
    if how == "variance":
        return b_small * G_small.var(0).sum()
    return {
        "difference": s - b,
        "sign": (b - s) / (1 / b_small - 1 / b_big),
        "batches": (s - b) / (b_big - b_small),
        "batches times": (s - b) * (b_big - b_small),
    }.get(how, (s - b) / (1 / b_small - 1 / b_big))


_NOISE = "equation (8.8)"

NOISE_ROWS: dict[str, Row] = {
    "G21": Row(
        "a mean of noisy ratios",
        "You divide draw by draw and average the ratios. A single |G|² can come out near 0 or below it, so single ratios "
        "are wild and their mean is off. Average both estimates first, and divide once.",
        "equation (8.9)",
        {"scale": "mean of ratios"},
        coincides="with one draw",
    ),
    "G22": Row(
        "the squared norm is biased",
        "You take the mean of the big batches' squared norms for |G|². By (8.7) it is too large by tr Σ/B.",
        _NOISE,
        {"g2": "biased"},
    ),
    "G23": Row(
        "the batch sizes are swapped",
        "b_small and b_big stand in each other's place in both estimates. The large batch's norm has the smaller share "
        "of noise, and so the larger weight.",
        _NOISE,
        {"batches": "swapped"},
    ),
    "G75": Row(
        "the weights in |G|² are swapped",
        "You weigh the small batches' norm by b_big and the big batches' by b_small. Solve (8.7) for |G|²: "
        "each norm is multiplied by its own batch size.",
        _NOISE,
        {"g2": "weights swapped"},
    ),
    "G24": Row(
        "norms that are not squared",
        "(8.7) is about squared norms: noise adds to |G|², not to |G|.",
        "equation (8.7)",
        {"norms": "not squared"},
        also=({"norms": "root at the end"},),
    ),
    "G25": Row(
        "the norm of the averaged gradient",
        "You average the draws first and take the norm then: that removes the very noise you want to measure. First the "
        "squared norm of each draw, then the mean.",
        _NOISE,
        {"norms": "of the mean"},
        coincides="with one draw",
    ),
    "G26": Row(
        "a sum over the draws",
        "You add the squared norms of all draws up. (8.7) is about their mean. (The ratio does not show it.)",
        _NOISE,
        {"norms": "sum"},
        coincides="with one draw",
    ),
    "G27": Row(
        "the noise scale upside down",
        "You divide |G|² by tr Σ. The noise scale is large where there is much noise: tr Σ/|G|².",
        "equation (8.9)",
        {"scale": "inverse"},
    ),
    "G28": Row(
        "the difference of the norms is taken for tr Σ",
        "The difference is tr Σ·(1/b_small − 1/b_big): divide by that bracket.",
        _NOISE,
        {"trace": "difference"},
    ),
    "G29": Row(
        "tr Σ has the wrong sign",
        "You subtract the small batches' norm from the big batches'. The small ones are larger: they have more noise.",
        _NOISE,
        {"trace": "sign"},
    ),
    "G76": Row(
        "tr Σ is divided by b_big − b_small",
        "The noise of a batch goes with 1/B: the divisor is 1/b_small − 1/b_big.",
        _NOISE,
        {"trace": "batches"},
        also=({"trace": "batches times"},),
    ),
    "G77": Row(
        "|G|² is not divided",
        "B_big·|G_big|² − B_small·|G_small|² is (B_big − B_small) times |G|²: divide.",
        _NOISE,
        {"g2": "no divisor"},
        coincides="when the batch sizes differ by 1",
    ),
    "G30": Row(
        "a mean over the weights",
        "The squared norm is the sum of the squares of all D weights' gradients. (The ratio does not show it.)",
        "equation (8.7)",
        {"norms": "mean over weights"},
        coincides="with one weight",
    ),
    "G31": Row(
        "another estimate of tr Σ",
        "You take b_small times the variance between the small draws. That estimates tr Σ too, but it is not (8.8), "
        "which needs one norm per batch only, such as data-parallel training has at hand.",
        _NOISE,
        {"trace": "variance"},
    ),
    "G32": Row(
        "negative estimates are cut off",
        "An unbiased estimate of a small |G|² is below 0 at times. Cut off at 0 it is too large on average. Return it "
        "as it is.",
        "the docstring: may be negative",
        {"clamp": True},
        coincides="when both are positive",
    ),
    "G78": Row(
        "the results in another order",
        "You return tr Σ first. The order is |G|², tr Σ, B_simple.",
        "the docstring: returns",
        {"order": "swapped"},
    ),
    "G79": Row(
        "|G| for |G|² in the ratio",
        "You divide tr Σ by the norm. Both have to be squares: tr Σ/|G|².",
        "equation (8.9)",
        {"scale": "of the norm"},
        also=({"scale": "root"},),
    ),
}


# --- critical batch -------------------------------------------------------------------------------------------------


def critical_functions(faults: Faults) -> tuple[Callable[..., Any], ...]:
    """`steps_needed`, `examples_needed` and `fit_tradeoff` with faults: "steps", "examples", "fit", "b_crit"."""

    def steps_needed(batch_size: float, s_min: float, b_crit: float) -> float:
        return {
            "inverted": s_min * (1 + batch_size / b_crit),
            "examples": s_min * (1 + b_crit / batch_size) * batch_size,
            "no 1": s_min * b_crit / batch_size,
        }.get(faults.get("steps", "right"), s_min * (1 + b_crit / batch_size))

    def examples_needed(batch_size: float, e_min: float, b_crit: float) -> float:
        return {
            "inverted": e_min * (1 + b_crit / batch_size),
            "steps": e_min * (1 + batch_size / b_crit) / batch_size,
            "no 1": e_min * batch_size / b_crit,
        }.get(faults.get("examples", "right"), e_min * (1 + batch_size / b_crit))

    def fit_tradeoff(batch_sizes: Tensor, steps: Tensor) -> tuple[Tensor, ...]:
        how = faults.get("fit", "right")
        x, y = 1 / batch_sizes, steps
        if how == "batch sizes":
            x = batch_sizes
        elif how == "examples":
            x, y = batch_sizes, batch_sizes * steps
        elif how == "ends":
            x, y = x[[0, -1]], y[[0, -1]]
        elif how == "logs":
            x, y = x.log(), y.log()
        slope, level = _line(x, y)
        if how == "origin":
            slope, level = (x * y).sum() / (x * x).sum(), steps.min()
        if how == "logs":
            level = level.exp()
        s_min, e_min = (slope, level) if how == "examples" else (level, slope)
        b_crit = {"inverse": s_min / e_min, "e_min": e_min, "product": s_min * e_min}.get(
            faults.get("b_crit", "right"), e_min / s_min
        )
        if faults.get("order") == "swapped":
            return e_min, s_min, b_crit
        if how == "observed":
            return steps.min(), (batch_sizes * steps).min(), (batch_sizes * steps).min() / steps.min()
        return s_min, e_min, b_crit

    return steps_needed, examples_needed, fit_tradeoff


def _line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and level of the line through points, by least squares."""
    away = x - x.mean()
    slope = (away * (y - y.mean())).sum() / (away * away).sum()
    return slope, y.mean() - slope * x.mean()


_STEPS, _EXAMPLES, _FIT = "equation (8.10)", "equation (8.11)", "equation (8.12)"

CRITICAL_ROWS: dict[str, Row] = {
    "G33": Row(
        "B_crit/B upside down",
        "Your steps grow with the batch. More examples per step cannot need more steps: S = S_min·(1 + B_crit/B).",
        _STEPS,
        {"steps": "inverted"},
        coincides="at B = B_crit",
    ),
    "G80": Row(
        "B/B_crit upside down",
        "Your examples fall with the batch size. Beyond B_crit examples are wasted: E = E_min·(1 + B/B_crit).",
        _EXAMPLES,
        {"examples": "inverted"},
        coincides="at B = B_crit",
    ),
    "G81": Row(
        "both ratios upside down",
        "Steps fall and examples grow with the batch size; yours do the opposite.",
        "equations (8.10) and (8.11)",
        {"steps": "inverted", "examples": "inverted"},
        coincides="at B = B_crit",
    ),
    "G34": Row(
        "examples for steps",
        "steps_needed returns B·S. That is the number of examples.",
        _STEPS,
        {"steps": "examples"},
    ),
    "G82": Row(
        "steps for examples",
        "examples_needed returns E/B. That is the number of steps.",
        _EXAMPLES,
        {"examples": "steps"},
    ),
    "G40": Row(
        "the 1 is missing",
        "Without the 1 doubling the batch always halves the steps: perfect scaling for ever. At huge batches S_min "
        "steps remain.",
        "equations (8.10) and (8.11)",
        {"steps": "no 1", "examples": "no 1"},
        also=({"steps": "no 1"}, {"examples": "no 1"}),
    ),
    "G35": Row(
        "a line in B",
        "You fit S as a line in B. (8.12) is a line in 1/B: with x = 1/B the level is S_min and the slope E_min.",
        _FIT,
        {"fit": "batch sizes"},
    ),
    "G41": Row(
        "a line through the examples",
        "You fit E = E_min + S_min·B. Without noise that is the same; with noise it weighs the large batches more. "
        "The docstring asks for least squares on the steps.",
        "the docstring: least squares",
        {"fit": "examples"},
        coincides="when the points lie on the curve",
    ),
    "G36": Row(
        "B_crit upside down",
        "Steps times batch size are examples, so E_min/S_min is a batch size, and S_min/E_min is not.",
        _FIT,
        {"b_crit": "inverse"},
    ),
    "G37": Row(
        "the slope is taken for B_crit",
        "The slope of S against 1/B is E_min = S_min·B_crit. Divide by S_min.",
        _FIT,
        {"b_crit": "e_min"},
    ),
    "G38": Row(
        "only the first and the last point",
        "Your line goes through two of the points. Least squares uses all of them.",
        "the docstring: least squares",
        {"fit": "ends"},
        coincides="with two batch sizes, or without noise",
    ),
    "G39": Row(
        "a line through the origin",
        "Your line has no level, as if infinitely large batches needed no steps. Fit level and slope together.",
        _FIT,
        {"fit": "origin"},
    ),
    "G83": Row(
        "S_min and E_min in another order",
        "You return the slope first. The order is S_min, E_min, B_crit.",
        "the docstring: returns",
        {"order": "swapped"},
    ),
    "G84": Row(
        "the smallest observed numbers",
        "The fewest steps and examples in the table are not S_min and E_min: both are limits that no finite batch "
        "reaches.",
        _FIT,
        {"fit": "observed"},
    ),
    "G85": Row(
        "a line in logarithms",
        "log S against log B is no line: it bends at B_crit.",
        _FIT,
        {"fit": "logs"},
    ),
}


# --- ratios ---------------------------------------------------------------------------------------------------------


def ratio_function(faults: Faults) -> tuple[Callable[[torch.nn.Module], dict[str, float]], ...]:
    """`layer_ratios` with faults: "norm", "ratio", "zero", "none", "merge"."""

    def layer_ratios(model: torch.nn.Module) -> dict[str, float]:
        named = [(name, p) for name, p in model.named_parameters() if p.grad is not None or faults.get("none")]
        pairs: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for name, p in named:
            key = name.rpartition(".")[0] if faults.get("merge") == "layer" else name
            if faults.get("merge") == "no prefix":
                key = name.rpartition(".")[2]
                pairs.pop(key, None)  # the last one of that name stays
            if faults.get("merge") == "no biases" and p.dim() < 2:
                continue
            grad = torch.zeros_like(p) if p.grad is None else p.grad
            pairs.setdefault(key, []).append((p.detach(), grad))
        together = [pair for group in pairs.values() for pair in group]
        return {
            key: _ratio(together if faults.get("merge") == "model" else group, faults) for key, group in pairs.items()
        }

    return (layer_ratios,)


def _ratio(pairs: list[tuple[Tensor, Tensor]], faults: Faults) -> float:
    weight, grad = (torch.cat([pair[i].flatten() for pair in pairs]) for i in (0, 1))
    how = faults.get("norm", "right")
    if how == "spectral" and len(pairs) == 1 and (pairs[0][0].dim() < 3 or faults.get("dims") == "all"):
        w, g = (float(torch.linalg.norm(t, 2)) for t in pairs[0])
    elif how == "mean of ratios":
        return float((weight.abs() / grad.abs()).mean())
    else:
        order = {"sum": 1.0, "max": float("inf")}.get(how, 2.0)
        w, g = float(weight.norm(order)), float(grad.norm(order))
    if how == "squared":
        w, g = w**2, g**2
    if faults.get("ratio") == "inverse":
        w, g = g, w
    if faults.get("zero") == "eps":
        return w / (g + 1e-8)
    if g == 0:
        if faults.get("zero") == "raises":
            raise ZeroDivisionError("float division by zero")
        return {"one": 1.0, "zero": 0.0, "nan": float("nan")}.get(faults.get("zero", ""), float("inf"))
    return w / g


_RATIO = "equation (8.13)"

RATIO_ROWS: dict[str, Row] = {
    "T11": Row(
        "squared norms",
        "Your ratio is squared: the roots of the norms are missing.",
        _RATIO,
        {"norm": "squared"},
    ),
    "T12": Row(
        "weight and bias merged",
        "You have one ratio per layer. Weight and bias are two tensors with very different ratios: one entry each.",
        _RATIO,
        {"merge": "layer"},
    ),
    "T63": Row(
        "names without their prefix",
        "Your keys are “weight” and “bias” alone, and each layer overwrites the one before. The name in "
        "model.named_parameters() has the layer's in front: fc1.weight.",
        "the docstring: the parameter's name",
        {"merge": "no prefix"},
    ),
    "T13": Row(
        "the ratio upside down",
        "You divide the gradient's norm by the weight's.",
        _RATIO,
        {"ratio": "inverse"},
    ),
    "T14": Row(
        "another norm: a sum of absolute values",
        "The norm is the Euclidean one: the root of the sum of squares.",
        _RATIO,
        {"norm": "sum"},
        coincides="for tensors with one entry",
    ),
    "T15": Row(
        "a zero gradient raises an exception",
        "Where the gradient is 0 the ratio is inf (`math.inf`, or the quotient of two tensors): Python's floats refuse "
        "to divide by 0.",
        "the docstring: inf",
        {"zero": "raises"},
    ),
    "T16": Row(
        "a small number in the divisor",
        "With 1e-8 added to the gradient's norm a zero gradient has a large finite ratio. The docstring asks for inf.",
        "the docstring: inf",
        {"zero": "eps"},
    ),
    "T17": Row(
        "the spectral norm of matrices",
        "torch.linalg.norm(w, 2) of a matrix is its largest singular value. The Euclidean norm of all entries is "
        "w.norm(), or torch.linalg.vector_norm(w).",
        _RATIO,
        {"norm": "spectral"},
        also=({"norm": "spectral", "dims": "all"},),
        coincides="for biases",
    ),
    "T33": Row(
        "the largest entries",
        "You compare the largest entries. The norm is the Euclidean one: all entries count.",
        _RATIO,
        {"norm": "max"},
        coincides="for tensors with one entry",
    ),
    "T34": Row(
        "one ratio for the whole model",
        "Every entry of your dict is the same: you divide the model's norms. Each tensor has its own.",
        _RATIO,
        {"merge": "model"},
    ),
    "T35": Row(
        "a mean of elementwise ratios",
        "You divide entry by entry. A single small gradient entry rules the mean: divide the norms.",
        _RATIO,
        {"norm": "mean of ratios"},
        coincides="for tensors with one entry",
    ),
    "T36": Row(
        "parameters without a gradient are listed",
        "A parameter whose .grad is None takes no part: leave it out.",
        "the docstring: without a gradient",
        {"none": True},
    ),
    "T37": Row(
        "a zero gradient gets another number than inf",
        "Where the gradient is 0 the docstring asks for inf.",
        "the docstring: inf",
        {"zero": "one"},
        also=({"zero": "zero"}, {"zero": "nan"}),
    ),
    "T38": Row(
        "biases are left out",
        "Biases have ratios as well, and the most extreme ones of the table in section 5.",
        _RATIO,
        {"merge": "no biases"},
    ),
}
