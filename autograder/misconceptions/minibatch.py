"""Functions of the notebook on minibatches: references by torch or by enumeration, and wrong ones (rows B*).

Equation and section numbers are those of `01_minibatching`. Every wrong variant is a function of its own; a row's
faults hold it under "function".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, combinations_with_replacement, permutations, product
from typing import Any

import torch
from torch.func import grad, vmap

from autograder.exercise import Misconception
from autograder.misconceptions import Row, recognise

Tensor = torch.Tensor
LossFn = Callable[[Tensor, Tensor, Tensor], Tensor]
softplus = torch.nn.functional.softplus

#: Rows about minibatches that are no wrong program here, and where the course deals with them.
ELSEWHERE = {
    "B5": "minibatch.batches yields indices, which serve X and y alike, so they cannot be shuffled apart; section 10 "
    "trains on digits whose labels were shuffled apart and prints the accuracy",
}


def _row(title: str, explanation: str, reread: str, *functions: Callable[..., Any], **more: Any) -> Row:
    """A row whose variants are these functions; the first is the usual way to write the mistake."""
    first, *others = ({"function": one} for one in functions)
    return Row(title, explanation, reread, first, also=tuple(others), **more)


def misconceptions(rows: Mapping[str, Row]) -> tuple[Misconception, ...]:
    """The rows of one exercise."""
    return recognise(rows, rows, lambda faults: (faults["function"],))


# --- minibatch.per_example ------------------------------------------------------------------------------------------


def per_example_by_loop(loss_fn: LossFn, w: Tensor, X: Tensor, y: Tensor) -> Tensor:
    """The reference: torch.autograd.grad of one loss after the other."""
    rows = []
    for x_i, y_i in zip(X, y, strict=True):
        leaf = w.detach().clone().requires_grad_()
        rows.append(torch.autograd.grad(loss_fn(leaf, x_i, y_i), leaf)[0])
    return torch.stack(rows)


def _piled_up(loss_fn: LossFn, w: Tensor, X: Tensor, y: Tensor) -> Tensor:
    leaf = w.detach().clone().requires_grad_()
    rows = []
    for x_i, y_i in zip(X, y, strict=True):
        loss_fn(leaf, x_i, y_i).backward()
        assert leaf.grad is not None
        rows.append(leaf.grad.clone())
    return torch.stack(rows)


def _per_example(loss_fn: LossFn, w: Tensor, X: Tensor, y: Tensor) -> Tensor:
    rows: Tensor = vmap(grad(loss_fn), in_dims=(None, 0, 0))(w, X, y)
    return rows


PER_EXAMPLE = {
    "B12": _row(
        "the mean over the examples",
        "You return one gradient, the average. Here every example keeps a row of its own.",
        "equation (1.2)",
        lambda loss_fn, w, X, y: _per_example(loss_fn, w, X, y).mean(0),
    ),
    "B13": _row(
        "vmap goes over the wrong dimensions",
        "in_dims has one entry per argument: None for w, which all examples share, and 0 for X and for y. Without in_dims "
        "vmap takes w apart as well.",
        "section 1, the table of in_dims",
        lambda loss_fn, w, X, y: vmap(grad(loss_fn))(w, X, y),
        lambda loss_fn, w, X, y: vmap(grad(loss_fn), in_dims=(None, 1, 0))(w, X, y),
    ),
    "B14": _row(
        "summed over the weights",
        "You return one number per example. A gradient has one entry per weight: the result is (N, D).",
        "equation (1.2)",
        lambda loss_fn, w, X, y: _per_example(loss_fn, w, X, y).sum(1),
    ),
    "B15": _row(
        "every row is divided by N",
        "You differentiate the mean loss's terms L_i/N. A row is the gradient of one example's own loss L_i.",
        "equation (1.2)",
        lambda loss_fn, w, X, y: _per_example(loss_fn, w, X, y) / len(X),
    ),
    "B16": _row(
        "the sum over the examples",
        "You return one gradient, the sum. `backward` and `grad` add up over examples; vmap keeps them apart.",
        "equation (1.2)",
        lambda loss_fn, w, X, y: _per_example(loss_fn, w, X, y).sum(0),
    ),
    "B17": _row(
        "the gradient with respect to the input",
        "You differentiate by x. torch.func.grad differentiates by the argument number `argnums`, 0 if nothing is said: "
        "w is loss_fn's first.",
        "equation (1.2)",
        lambda loss_fn, w, X, y: vmap(grad(loss_fn, argnums=1), in_dims=(None, 0, 0))(w, X, y),
    ),
    "B18": _row(
        "one gradient for all rows",
        "Every row is the mean gradient. How the examples differ is what the rest of the notebook is about.",
        "equation (1.2)",
        lambda loss_fn, w, X, y: _per_example(loss_fn, w, X, y).mean(0).expand(len(X), -1),
    ),
    "B76": _row(
        "gradients pile up in .grad",
        "backward adds to w.grad, so each row holds all examples before it as well. Clear it before every example "
        "(w.grad = None), or use torch.autograd.grad, which returns the gradient.",
        "section 12, the paragraph on zero_grad",
        _piled_up,
    ),
    "B77": _row(
        "loss_fn is given several examples at once",
        "loss_fn takes one example and gives one number, and grad needs one number. Without vmap, or with X or y not "
        "mapped by it, there are as many as examples.",
        "section 1, the table of grad and vmap",
        lambda loss_fn, w, X, y: grad(loss_fn)(w, X, y),
        lambda loss_fn, w, X, y: vmap(grad(loss_fn), in_dims=(None, 0, None))(w, X, y),
    ),
}


# --- minibatch.mean_gradient and minibatch.unbiased -----------------------------------------------------------------


def minibatch_gradient_by_autograd(G: Tensor, idx: Tensor) -> Tensor:
    """The reference: autograd of the mean over the minibatch of losses L_i(w) = g_i·w, whose gradients are G's rows."""
    w = torch.zeros(G.shape[1], dtype=G.dtype, device=G.device, requires_grad=True)
    return torch.autograd.grad((G[idx] @ w).mean(), w)[0]


MEAN_GRADIENT = {
    "B1": _row(
        "the sum instead of the mean",
        "The sum grows with the minibatch, so a learning rate that suits one batch size does not suit another.",
        "equation (1.3)",
        lambda G, idx: G[idx].sum(0),
        coincides="for a single example",
    ),
    "B19": _row(
        "divided by N",
        "You divide by the number of all examples. The mean goes over those in the minibatch.",
        "equation (1.3)",
        lambda G, idx: G[idx].sum(0) / len(G),
    ),
    "B20": _row(
        "idx is ignored",
        "You average all rows: that is the full gradient. G[idx] are the minibatch's.",
        "equation (1.3)",
        lambda G, idx: G.mean(0),
    ),
    "B21": _row(
        "the first rows instead of those in idx",
        "You take rows 0, 1, 2, …: only the length of idx is used.",
        "equation (1.3)",
        lambda G, idx: G[: len(idx)].mean(0),
    ),
    "B22": _row(
        "the mean over the weights",
        "mean(1) averages over the D entries of each gradient. Rows are examples: average over dimension 0.",
        "equation (1.3)",
        lambda G, idx: G[idx].mean(1),
    ),
    "B23": _row(
        "repeated indices count once",
        "An index that was drawn twice is in the minibatch twice. A mask or unique() loses that.",
        "the docstring: idx may hold an index more than once",
        lambda G, idx: G[idx.unique()].mean(0),
        lambda G, idx: G[idx.unique()].sum(0) / len(idx),
        coincides="as long as no index is repeated",
    ),
}


def all_by_enumeration(G: Tensor, m: int) -> Tensor:
    """The reference: the mean of every m-subset of rows, in itertools' order."""
    return torch.stack([sum(G[i] for i in subset) / m for subset in combinations(range(len(G)), m)])  # type: ignore[misc]


def _over(choose: Callable[..., Iterable[tuple[int, ...]]], G: Tensor, m: int, **options: int) -> Tensor:
    return G[torch.tensor(list(choose(range(len(G)), m, **options)), device=G.device)]


def _neighbours(G: Tensor, m: int) -> Tensor:
    return torch.stack([G[i : i + m].mean(0) for i in range(len(G) - m + 1)])


def _cut(G: Tensor, m: int) -> Tensor:
    return torch.stack([part.mean(0) for part in G.split(m)])


UNBIASED = {
    "B29": _row(
        "examples may repeat",
        "A minibatch drawn without replacement holds an example once. combinations_with_replacement and product repeat it.",
        "equation (1.4)",
        lambda G, m: _over(combinations_with_replacement, G, m).mean(1),
        lambda G, m: torch.stack([G[list(i)].mean(0) for i in product(range(len(G)), repeat=m)]),
    ),
    "B30": _row(
        "permutations instead of combinations",
        "The order inside a minibatch does not matter: each set of m examples is one minibatch, not m! of them.",
        "equation (1.4)",
        lambda G, m: _over(permutations, G, m).mean(1),
        coincides="for m = 1",
    ),
    "B1": _row(
        "the sum instead of the mean",
        "Each row should be the mean over its m examples.",
        "equation (1.3)",
        lambda G, m: _over(combinations, G, m).sum(1),
        coincides="for m = 1",
    ),
    "B19": _row(
        "divided by N",
        "You divide by the number of all examples. Each minibatch has m.",
        "equation (1.3)",
        lambda G, m: _over(combinations, G, m).sum(1) / len(G),
        coincides="for m = N",
    ),
    "B31": _row(
        "only one epoch's minibatches",
        "You cut the data into N/m minibatches. Equation (1.4) is about all C(N, m) that could have been drawn.",
        "equation (1.4)",
        _cut,
        coincides="for m = 1 and m = N",
    ),
    "B32": _row(
        "only neighbours",
        "You take the examples i, i+1, …: N − m + 1 windows. Any m examples can meet in a minibatch.",
        "equation (1.4)",
        _neighbours,
        coincides="for m = 1 and m = N",
    ),
    "B24": _row(
        "the mean of all rows already",
        "You return the average over the minibatches. Return them all, one per row.",
        "the docstring: shape (C(N, m), D)",
        lambda G, m: _over(combinations, G, m).mean(1).mean(0),
    ),
}


# --- minibatch.epoch_loss -------------------------------------------------------------------------------------------


def epoch_loss_by_examples(batch_means: Tensor, batch_sizes: Tensor) -> Tensor:
    """The reference: give every example its batch's mean, and average over examples."""
    return batch_means.repeat_interleave(batch_sizes).mean()


def _nominal(means: Tensor, sizes: Tensor) -> Tensor:
    return (means * sizes).sum() / (len(sizes) * sizes[0])


EPOCH_LOSS = {
    "B2": _row(
        "the mean of the batch means",
        "A short last batch counts as much as a full one, so its examples count more than others.",
        "equation (1.5)",
        lambda means, sizes: means.mean(),
        coincides="when all batches have one size",
    ),
    "B3": _row(
        "the last batch is divided by the nominal size",
        "You divide by (number of batches) × (size of the first one), as if no batch were short. Divide by the number of "
        "examples, the sum of batch_sizes.",
        "equation (1.5)",
        _nominal,
        coincides="when all batches have one size",
    ),
    "B11": _row(
        "a mean of roots",
        "You average square roots (RMSE per batch). The root of a mean is not the mean of the roots: the result depends on "
        "the batch size. Average first.",
        "section 5, the paragraph on RMSE",
        lambda means, sizes: means.sqrt().mean(),
        lambda means, sizes: (means.sqrt() * sizes).sum() / sizes.sum(),
        lambda means, sizes: means.sqrt().mean() ** 2,
        lambda means, sizes: ((means.sqrt() * sizes).sum() / sizes.sum()) ** 2,
    ),
    "B33": _row(
        "the sum over the examples",
        "Σ n_k·m_k is the total loss. Divide by N, the sum of the sizes.",
        "equation (1.5)",
        lambda means, sizes: (means * sizes).sum(),
    ),
    "B34": _row(
        "divided by the number of batches",
        "Each mean is multiplied by its size; then the divisor is the number of examples.",
        "equation (1.5)",
        lambda means, sizes: (means * sizes).mean(),
    ),
    "B35": _row(
        "the last batch is left out",
        "Its examples belong to the epoch. Leave none out.",
        "equation (1.5)",
        lambda means, sizes: (means[:-1] * sizes[:-1]).sum() / sizes[:-1].sum(),
    ),
}


# --- minibatch.standard_error ---------------------------------------------------------------------------------------


def standard_error_by_enumeration(G: Tensor, m: int, replacement: bool) -> Tensor:
    """The reference: the standard deviation over every minibatch that can be drawn, all equally likely."""
    if not replacement and m > len(G):
        raise ValueError("more examples are to be drawn than there are")
    draws = product(range(len(G)), repeat=m) if replacement else combinations(range(len(G)), m)
    means = G[torch.tensor(list(draws), device=G.device)].mean(1)
    return (means - means.mean(0)).square().mean(0).sqrt()


def _checked(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The ValueError that the docstring asks for, around a wrong formula."""

    def standard_error(G: Tensor, m: int, replacement: bool) -> Tensor:
        if not replacement and m > len(G):
            raise ValueError("m > N")
        return function(G, m, replacement)

    return standard_error


def _sigma(G: Tensor) -> Tensor:
    return G.std(0, correction=0)


def _correction(G: Tensor, m: int, replacement: bool) -> float:
    """Equation (1.7)'s root; 1 with replacement."""
    return 1.0 if replacement else math.sqrt((len(G) - m) / max(len(G) - 1, 1))


def _right(G: Tensor, m: int, replacement: bool) -> Tensor:
    error: Tensor = _sigma(G) / m**0.5 * _correction(G, m, replacement)
    return error


def _unguarded(G: Tensor, m: int, replacement: bool) -> Tensor:
    above, below = torch.tensor([len(G) - m, len(G) - 1], dtype=G.dtype, device=G.device)
    error: Tensor = _sigma(G) / m**0.5 * (1.0 if replacement else (above / below).sqrt())
    return error


def _divides(G: Tensor, m: int, replacement: bool) -> Tensor:
    error: Tensor = _sigma(G) / m**0.5 * (1.0 if replacement else ((len(G) - m) / (len(G) - 1)) ** 0.5)
    return error


def _swapped(correction: Callable[[int, int], float]) -> Callable[[Tensor, int, bool], Tensor]:
    """Equation (1.7) where the examples are drawn with replacement, (1.6) where they are not."""
    return lambda G, m, r: _sigma(G) / m**0.5 * (correction(len(G), m) if r and len(G) > 1 else 1.0)


def _sampled(G: Tensor, m: int, replacement: bool) -> Tensor:
    error: Tensor = G.std(0) / m**0.5 * (1.0 if replacement else ((len(G) - m) / len(G)) ** 0.5)
    return error


def _refusing(G: Tensor, m: int, replacement: bool) -> Tensor:
    if m > len(G):
        raise ValueError("m > N")
    return _right(G, m, replacement)


STANDARD_ERROR = {
    "B10": _row(
        "1/m instead of 1/√m",
        "You divide by m. The variance falls as 1/m, its root as 1/√m: half the error needs four times the examples.",
        "equation (1.6)",
        _checked(lambda G, m, r: _sigma(G) / m * _correction(G, m, r)),
        coincides="for m = 1, and where nothing varies",
    ),
    "B36": _row(
        "no finite-population correction",
        "Without replacement the last example drawn is hardly free any more, and for m = N nothing is random.",
        "equation (1.7)",
        _checked(lambda G, m, r: _sigma(G) / m**0.5),
        coincides="with replacement, and for m = 1",
    ),
    "B37": _row(
        "the variance, not its root",
        "You return the variance of the minibatch's gradient. The standard error is its square root.",
        "equation (1.6)",
        _checked(lambda G, m, r: _right(G, m, r) ** 2),
        coincides="where nothing varies",
    ),
    "B38": _row(
        "N − 1 where N belongs",
        "torch's std divides by N − 1 unless correction=0 is given. The data are the whole population here: σ² has 1/N. "
        "(With 1/(N − 1) the correction without replacement would be √((N − m)/N).)",
        "equations (1.6) and (1.7)",
        _checked(lambda G, m, r: G.std(0) / m**0.5 * _correction(G, m, r)),
    ),
    "B39": _row(
        "(N − m)/N with the 1/N variance",
        "Two forms are right: √((N − m)/(N − 1)) with the 1/N variance, √((N − m)/N) with the 1/(N − 1) variance. You "
        "mixed them.",
        "equation (1.7)",
        _checked(lambda G, m, r: _sigma(G) / m**0.5 * (1.0 if r else ((len(G) - m) / len(G)) ** 0.5)),
        coincides="with replacement, and for m = N",
    ),
    "B40": _row(
        "corrected with replacement, too",
        "Drawn with replacement the examples are independent: equation (1.6) without a correction.",
        "equation (1.6)",
        _checked(lambda G, m, r: _sigma(G) / m**0.5 * math.sqrt(max(len(G) - m, 0) / max(len(G) - 1, 1))),
        coincides="without replacement",
    ),
    "B41": _row(
        "m > N is accepted",
        "Without replacement no more than N examples can be drawn: raise ValueError.",
        "the docstring: Raises",
        lambda G, m, r: _sigma(G) / m**0.5 * (1.0 if r else (max(len(G) - m, 0) / max(len(G) - 1, 1)) ** 0.5),
        coincides="as long as m ≤ N",
    ),
    "B42": _row(
        "one number for all weights",
        "You return a single number. Each weight has a standard error of its own: shape (D,).",
        "the docstring: per coordinate",
        _checked(lambda G, m, r: _right(G, m, r).mean()),
    ),
    "B43": _row(
        "divided by √N instead of √m",
        "The mean goes over the m examples of the minibatch.",
        "equation (1.6)",
        _checked(lambda G, m, r: _sigma(G) / len(G) ** 0.5 * _correction(G, m, r)),
        coincides="for m = N",
    ),
    "B44": _row(
        "0/0 for a single example",
        "With N = 1 the correction is 0/0. The error is 0: there is nothing to vary.",
        "the docstring: N = 1",
        _checked(_unguarded),
        _checked(_divides),
        coincides="for N > 1",
    ),
    "B78": _row(
        "the 1/(N − 1) variance with replacement, too",
        "G.std(0) has N − 1 under the root. That goes with √((N − m)/N) without replacement. With replacement it is too "
        "large, (1.6) has the 1/N variance, and for N = 1 it is 0/0.",
        "equation (1.6)",
        _checked(_sampled),
        _checked(lambda G, m, r: torch.zeros_like(G[0]) if len(G) == 1 else _sampled(G, m, r)),
        coincides="without replacement, for N > 1",
    ),
    "B79": _row(
        "m > N is refused with replacement, too",
        "With replacement an example can come twice, so more than N can be drawn. Raise only without replacement.",
        "the docstring: Raises",
        _refusing,
        coincides="as long as m ≤ N",
    ),
    "B80": _row(
        "the correction without its root",
        "(N − m)/(N − 1) corrects the variance. The standard error takes its root.",
        "equation (1.7)",
        _checked(lambda G, m, r: _sigma(G) / m**0.5 * _correction(G, m, r) ** 2),
        coincides="with replacement, for m = 1 and for m = N",
    ),
    "B81": _row(
        "with and without replacement are swapped",
        "You correct where the examples are drawn with replacement, and only there. Drawn so they are independent: the "
        "correction belongs to the other branch.",
        "equations (1.6) and (1.7)",
        _checked(_swapped(lambda n, m: ((n - m) / (n - 1)) ** 0.5)),
        _checked(_swapped(lambda n, m: (max(n - m, 0) / (n - 1)) ** 0.5)),
        _checked(_swapped(lambda n, m: math.sqrt((n - m) / (n - 1)))),
        coincides="for m = 1, and for a single example",
    ),
}


# --- minibatch.noise_ball and minibatch.robbins_monro ---------------------------------------------------------------


def variance_by_recursion(lr: float, curvature: float, noise_var: float) -> float:
    """The reference: run the variance of w ← w − lr·(curvature·w + noise) until it stands still."""
    shrink = abs(1 - lr * curvature)
    if shrink >= 1:
        return math.inf
    variance, last = 0.0, -1.0
    while abs(variance - last) > 1e-15 * variance:
        last, variance = variance, shrink**2 * variance + lr**2 * noise_var
    return variance


def _ball(lr: float, curvature: float, noise_var: float) -> float:
    if curvature <= 0 or lr * curvature >= 2:
        return math.inf
    return lr * noise_var / (curvature * (2 - lr * curvature))


def _stable(formula: Callable[[float, float, float], float]) -> Callable[[float, float, float], float]:
    return lambda lr, curvature, noise_var: (
        formula(lr, curvature, noise_var) if 0 < lr * curvature < 2 and curvature > 0 else math.inf
    )


def _raw(lr: float, curvature: float, noise_var: float) -> float:
    return lr * noise_var / (curvature * (2 - lr * curvature))


def _without_inf(lr: float, curvature: float, noise_var: float) -> float:
    divisor = curvature * (2 - lr * curvature)
    return lr * noise_var / divisor if divisor else math.inf


NOISE_BALL = {
    "B49": _row(
        "ησ²/(2h): the small-lr limit",
        "The factor 2 − ηh was replaced by 2. That holds for small lr only.",
        "equation (1.10)",
        _stable(lambda lr, h, s: lr * s / (2 * h)),
        coincides="where the variance is infinite",
    ),
    "B50": _row(
        "variance and standard deviation mixed up",
        "noise_var is σ² already: it is neither squared nor rooted.",
        "equation (1.10)",
        _stable(lambda lr, h, s: _ball(lr, h, s**2)),
        _stable(lambda lr, h, s: _ball(lr, h, s**0.5)),
        coincides="where the variance is infinite, and for noise_var = 1",
    ),
    "B51": _row(
        "an unstable lr gives a number",
        "At ηh = 2 the factor 1 − ηh is −1 and noise adds up without end; beyond, or with no curvature, w runs away. The "
        "formula knows nothing of it: return inf.",
        "equation (1.10), the sentence after it",
        _raw,
        _without_inf,
        lambda lr, h, s: math.inf if lr * h >= 2 else _without_inf(lr, h, s),
        lambda lr, h, s: math.inf if lr * h > 2 or h <= 0 else _raw(lr, h, s),
        lambda lr, h, s: math.inf if lr * h > 2 else _raw(lr, h, s),
        lambda lr, h, s: math.inf if lr * h >= 2 else _raw(lr, h, s),
        coincides="for 0 < ηh < 2",
    ),
    "B82": _row(
        "2 − ηh stands above the fraction bar",
        "`a / b * c` is a·c/b in Python. Write a / (b * c).",
        "equation (1.10)",
        _stable(lambda lr, h, s: lr * s / h * (2 - lr * h)),
        coincides="where the variance is infinite, and for ηh = 1",
    ),
    "B83": _row(
        "infinite from ηh = 1 on",
        "Between 1 and 2 the factor 1 − ηh is negative, and its size is still below 1: the weight jumps from side to side "
        "and comes closer. The steady state ends at ηh = 2.",
        "equation (1.10), the sentence after it",
        lambda lr, h, s: math.inf if lr * h >= 1 else _ball(lr, h, s),
        lambda lr, h, s: math.inf if lr * h > 1 else _ball(lr, h, s),
        lambda lr, h, s: math.inf if lr * h >= 1 else _without_inf(lr, h, s),
        lambda lr, h, s: math.inf if lr * h >= 1 else _raw(lr, h, s),
        coincides="for ηh < 1 and for ηh ≥ 2",
    ),
    "B52": _row(
        "one step's noise only",
        "η²σ² is what a single step adds. Steps add up, while 1 − ηh shrinks what was there.",
        "equation (1.9)",
        _stable(lambda lr, h, s: lr**2 * s),
        coincides="where the variance is infinite",
    ),
    "B53": _row(
        "the curvature is missing in front",
        "You have ησ²/(2 − ηh). Solve V = (1 − ηh)²·V + η²σ² for V again.",
        "equation (1.10)",
        _stable(lambda lr, h, s: lr * s / (2 - lr * h)),
        coincides="where the variance is infinite, and for curvature 1",
    ),
    "B54": _row(
        "the standard deviation",
        "The root of the variance was taken. Return the variance.",
        "equation (1.10)",
        _stable(lambda lr, h, s: _ball(lr, h, s) ** 0.5),
        coincides="where the variance is infinite",
    ),
}


def robbins_monro_in_exact_numbers(a: float, b: float, t: int) -> float:
    """The reference: a/(b + t), rounded once."""
    from fractions import Fraction

    return float(Fraction(a) / (Fraction(b) + t))


ROBBINS_MONRO = {
    "B55": _row(
        "t counted from 0",
        "You have a/(b + t − 1). The first step is t = 1.",
        "equation (1.12)",
        lambda a, b, t: a / (b + t - 1),
    ),
    "B86": _row(
        "one step too late",
        "You have a/(b + t + 1). t is 1 in the first step already; the + 1 is for counts that start at 0.",
        "equation (1.12)",
        lambda a, b, t: a / (b + t + 1),
    ),
    "B56": _row(
        "a/b + t",
        "Division comes first in Python: write a / (b + t). As it stands, the lr grows.",
        "equation (1.12)",
        lambda a, b, t: a / b + t,
    ),
    "B57": _row(
        "b·t for b + t",
        "b is added to t: it keeps the first steps small.",
        "equation (1.12)",
        lambda a, b, t: a / (b * t),
    ),
    "B58": _row(
        "√(b + t)",
        "With a root the squares add up to infinity: Σ1/t diverges. The exponent is 1.",
        "equations (1.11) and (1.12)",
        lambda a, b, t: a / (b + t) ** 0.5,
    ),
    "B59": _row(
        "a/(1 + b·t)",
        "That is inverse-time decay with rate b. Here b shifts the time.",
        "equation (1.12)",
        lambda a, b, t: a / (1 + b * t),
        coincides="for b = 1",
    ),
    "S7": _row(
        "compounding",
        "The lr of the step before is divided again. The formula starts from a in every step.",
        "equation (1.12)",
        lambda a, b, t: a / math.prod(b + s for s in range(1, t + 1)),
        coincides="for t = 1",
    ),
}


# --- minibatch.logistic and minibatch.perceptron --------------------------------------------------------------------


def _by_autograd(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The gradient of a loss(w, X, y) with respect to w."""

    def gradient(w: Tensor, X: Tensor, y: Tensor) -> Tensor:
        leaf = w.detach().clone().requires_grad_()
        return torch.autograd.grad(loss(leaf, X, y), leaf)[0]

    return gradient


#: The reference: autograd of the mean of log(1 + exp(−margin)).
logistic_by_autograd = _by_autograd(lambda w, X, y: torch.logaddexp(torch.zeros_like(y), -y * (X @ w)).mean())
#: The reference: autograd of the mean of relu(−margin), whose derivative at 0 torch takes to be 0.
perceptron_by_autograd = _by_autograd(lambda w, X, y: torch.relu(-y * (X @ w)).mean())


def _logistic(w: Tensor, X: Tensor, y: Tensor) -> Tensor:
    """Rows of equation (1.13), not averaged."""
    return -torch.sigmoid(-y * (X @ w))[:, None] * y[:, None] * X


def _overflowing(w: Tensor, X: Tensor, y: Tensor) -> Tensor:
    e = torch.exp(-y * (X @ w))
    return -((e / (1 + e)) * y) @ X / len(y)


#: Title and explanation of a row that both classifiers have.
_SEPARATE = (
    "means are multiplied",
    "You average the weights and the examples apart, and multiply the two means. Every example has its own weight: "
    "multiply first, then average.",
)


def _zero_one(w: Tensor, X: Tensor, y: Tensor) -> Tensor:
    return (torch.sigmoid(X @ w) - y) @ X / len(y)


LOGISTIC = {
    "B60": _row(
        "nan for large margins",
        "exp overflows for a margin far below 0, and inf/inf is nan. Use a form that only shrinks: torch.sigmoid(−margin), or "
        "1/(1 + exp(margin)).",
        "section 10, the paragraph on overflow",
        _overflowing,
        _by_autograd(lambda w, X, y: torch.log(1 + torch.exp(-y * (X @ w))).mean()),
        coincides="as long as exp(−margin) is finite",
    ),
    "B1": _row(
        "the sum instead of the mean",
        "The gradient grows with the number of examples. Divide by it.",
        "equation (1.13)",
        lambda w, X, y: _logistic(w, X, y).sum(0),
    ),
    "B61": _row(
        "the sign of the gradient",
        "Your vector points downhill. The gradient has a minus: SGD subtracts it.",
        "equation (1.13)",
        lambda w, X, y: -_logistic(w, X, y).mean(0),
    ),
    "B62": _row(
        "labels 0 and 1",
        "sigmoid(Xw) − y is the formula for y in {0, 1}. Here y is −1 or +1.",
        "equation (1.13)",
        _zero_one,
    ),
    "B63": _row(
        "the sigmoid of the margin instead of minus the margin",
        "Your examples weigh the more, the better they are classified. sigmoid(−margin) is near 1 for the wrong ones.",
        "equation (1.13)",
        lambda w, X, y: (-torch.sigmoid(y * (X @ w)) * y) @ X / len(y),
    ),
    "B64": _row(
        "the label is missing in front of x",
        "The chain rule brings out −y·x, not −x.",
        "equation (1.13)",
        lambda w, X, y: -torch.sigmoid(-y * (X @ w)) @ X / len(y),
    ),
    "B9": _row(
        "(N, 1) meets (N,): an N × N table",
        "A column of shape (N, 1) times a vector of shape (N,) broadcasts to N × N: every label meets every example, and "
        "nothing complains. Keep both (N,).",
        "section 10, the warning on shapes",
        _by_autograd(lambda w, X, y: softplus(-y * (X @ w[:, None])).mean()),
        _by_autograd(lambda w, X, y: softplus(-y[:, None] * (X @ w)).mean()),
    ),
    "B85": _row(
        _SEPARATE[0],
        _SEPARATE[1],
        "equation (1.13)",
        lambda w, X, y: -(torch.sigmoid(-y * (X @ w)) * y).mean() * X.mean(0),
        coincides="for a single example",
    ),
}


def _hinge_rows(w: Tensor, X: Tensor, y: Tensor, wrong: Callable[[Tensor], Tensor]) -> Tensor:
    return -(wrong(y * (X @ w)).to(y.dtype) * y)[:, None] * X


def _mean_over_wrong(w: Tensor, X: Tensor, y: Tensor) -> Tensor:
    wrong = y * (X @ w) < 0
    return -(y[wrong, None] * X[wrong]).mean(0)


def _mean_over_wrong_or_none(w: Tensor, X: Tensor, y: Tensor) -> Tensor:
    wrong = y * (X @ w) < 0
    return -(y[wrong, None] * X[wrong]).sum(0) / wrong.sum().clamp(min=1)


PERCEPTRON = {
    "B65": _row(
        "correct examples push as well",
        "You average −y·x over all examples. An example that is classified correctly has loss 0 and gradient 0.",
        "equation (1.14)",
        lambda w, X, y: -(y[:, None] * X).mean(0),
    ),
    "B61": _row(
        "the sign of the gradient",
        "Your vector points downhill. The gradient of −y·xᵀw is −y·x: SGD subtracts it.",
        "equation (1.14)",
        lambda w, X, y: -_hinge_rows(w, X, y, lambda z: z < 0).mean(0),
        coincides="where no example is wrong",
    ),
    "B1": _row(
        "the sum instead of the mean",
        "The gradient grows with the number of examples. Divide by it.",
        "equation (1.14)",
        lambda w, X, y: _hinge_rows(w, X, y, lambda z: z < 0).sum(0),
        coincides="where no example is wrong",
    ),
    "B66": _row(
        "the mean over the wrong examples only",
        "You divide by the number of wrong examples. The loss is a mean over all N: the correct ones count with 0.",
        "equation (1.14)",
        _mean_over_wrong,
        _mean_over_wrong_or_none,
        coincides="where every example is wrong",
    ),
    "B67": _row(
        "margin 0 counts as wrong",
        "At margin 0 the loss has a kink; torch and this course take the subgradient 0 there. Use < 0, not <= 0.",
        "equation (1.14)",
        lambda w, X, y: _hinge_rows(w, X, y, lambda z: z <= 0).mean(0),
        coincides="unless a margin is exactly 0",
    ),
    "B68": _row(
        "correct and wrong are swapped",
        "You average over the examples with a positive margin. Those are the correct ones.",
        "equation (1.14)",
        lambda w, X, y: _hinge_rows(w, X, y, lambda z: z > 0).mean(0),
    ),
    "B9": _row(
        "(N, 1) meets (N,): an N × N table",
        "A column of shape (N, 1) times a vector of shape (N,) broadcasts to N × N: every label meets every example, and "
        "nothing complains. Keep both (N,).",
        "section 10, the warning on shapes",
        _by_autograd(lambda w, X, y: torch.relu(-y * (X @ w[:, None])).mean()),
        _by_autograd(lambda w, X, y: torch.relu(-y[:, None] * (X @ w)).mean()),
    ),
    "B84": _row(
        "the label is missing in the margin",
        "X @ w < 0 says on which side an example lies. Wrong is where y · (X @ w) < 0: the label decides which side is right.",
        "equation (1.14)",
        lambda w, X, y: -((X @ w < 0).to(y.dtype) * y) @ X / len(y),
    ),
    "B85": _row(
        _SEPARATE[0],
        _SEPARATE[1],
        "equation (1.14)",
        lambda w, X, y: -((y * (X @ w) < 0).to(y.dtype) * y).mean() * X.mean(0),
        coincides="for a single example, and where no example is wrong",
    ),
}
