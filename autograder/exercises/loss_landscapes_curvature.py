"""The exercises on curvature of `07_loss_landscapes`: Hessian-vector products, eigenvalues, critical points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from autograder.collectors.common import PRETEND
from autograder.collectors.loss_landscapes import CALLS, COST, PEAK
from autograder.evidence import Array
from autograder.exercise import TOLERANCE, Case, CodeExercise, Limit
from autograder.misconceptions import landscape_curvature as bank
from autograder.misconceptions import recognise
from autograder.probes import generator, rounded

NOTEBOOK = "07_loss_landscapes"
VISIBLE_SEED = 7
Generator = np.random.Generator


def case_of(name: str, group: str, collector: str, inputs: Mapping[str, Any], hidden: bool, **more: Any) -> Case:
    """A case whose tolerance follows its dtype."""
    tolerance = more.pop("tolerance", TOLERANCE[inputs.get("dtype", "float64")])
    return Case(name, group, collector, inputs, tolerance=tolerance, hidden=hidden, **more)


# --- landscape.hvp --------------------------------------------------------------------------------------------------

HVP_LIMITS = (
    Limit(
        COST,
        12,
        "{count} times the launches of one gradient; {at_most} are allowed, and two backward passes need about 4. "
        "Differentiate g·v, not every entry of g.",
    ),
    Limit(
        PEAK,
        12,
        "{count} times the memory of one gradient; {at_most} are allowed. H has as many rows as there are weights: "
        "never hold them.",
    ),
)


def _network(rng: Generator, sizes: Sequence[int], kind: str, straight: bool = False, **more: Any) -> dict[str, Any]:
    """A tanh network, data and a direction; `straight`: with one parameter in which the loss is linear, and an unused one."""
    params: list[Array] = []
    for inputs, outputs in pairwise(sizes):
        params += [rng.standard_normal((outputs, inputs)) * inputs**-0.5, 0.3 * rng.standard_normal(outputs)]
    if straight:
        params += [rng.standard_normal(3), rng.standard_normal(2)]
    count, outputs = 9, sizes[-1]
    classes = rng.permutation(np.arange(count) % outputs)
    return {
        "params": params,
        "v": [rng.standard_normal(p.shape) for p in params],
        "X": rng.standard_normal((count, sizes[0])),
        "y": rng.standard_normal((count, outputs)) if kind == "squares" else classes,
        "layers": len(sizes) - 1,
        "kind": kind,
        **more,
    }


def _hvp_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def size(low: int, high: int) -> int:
        return int(rng.integers(low, high)) if hidden else low

    def case(title: str, group: str, inputs: Mapping[str, Any], **more: Any) -> Case:
        return case_of(title, group, "curvature", inputs, hidden, **more)

    three = (size(4, 7), size(6, 9), 5, size(3, 5))
    return (
        case("one layer, squares", "products", _network(rng, (size(4, 7), 3), "squares")),
        case("three tanh layers, cross-entropy", "products", _network(rng, three, "cross-entropy")),
        case("parameters that require gradients", "products", _network(rng, (4, 5, 3), "squares", leaves=True)),
        case(
            "a weight in which the loss is linear", "linear weights", _network(rng, (4, 5, 3), "squares", straight=True)
        ),
        case("float32", "products", _network(rng, (4, 6, 3), "cross-entropy", dtype="float32")),
        case("counted", "cost", _network(rng, (7, 10, 3), "cross-entropy", device=PRETEND), limits=HVP_LIMITS),
    )


HVP = CodeExercise(
    "landscape.hvp",
    "Curvature without the matrix",
    "function",
    NOTEBOOK,
    {"products": 2.5, "linear weights": 0.5, "cost": 1.0},
    difficulty=2,
    minutes=20,
    objects=("hvp",),
    visible=lambda: _hvp_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _hvp_cases(generator(seed), hidden=True),
    reference=lambda: (bank.hvp_with_torch,),
    compares="every part of H·v with torch.autograd.functional.hvp, and the cost with that of one gradient",
    misconceptions=recognise(bank.HVP_ROWS, bank.HVP_ROWS, bank.hvp_function),
    hints=(
        "The derivative of the number g·v, with v constant, is H·v. So: differentiate, multiply, differentiate again.",
        "torch.autograd.grad(loss, leaves, create_graph=True) returns a gradient that can be differentiated. Sum "
        "g·v over all tensors into one number before the second call.",
        "own = [p.detach().requires_grad_() for p in params]; g = torch.autograd.grad(loss_fn(own), own, "
        "create_graph=True, materialize_grads=True); dot = sum((a * b).sum() for a, b in zip(g, v)); return "
        "list(torch.autograd.grad(dot, own, materialize_grads=True)).",
    ),
    forbidden=(
        "torch.autograd.functional.hvp",
        "torch.autograd.functional.vhp",
        "torch.autograd.functional.hessian",
        "torch.func.hessian",
    ),
)


# --- landscape.lanczos ----------------------------------------------------------------------------------------------


def _symmetric(rng: Generator, spectrum: Sequence[float] | Array) -> Array:
    """A matrix with this spectrum in random directions."""
    values = np.asarray(spectrum, dtype=float)
    Q, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    H: Array = (Q * values) @ Q.T
    return (H + H.T) / 2


def _lanczos_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def drawn(low: float, high: float, count: int) -> Array:
        return rng.uniform(low, high, count)

    scale = rounded(rng.uniform(0.5, 3.0)) if hidden else 1.0
    bulk = drawn(-0.3, 0.3, 60)
    steep = scale * np.array([9.0, 5.0, 4.0, 2.5, 1.5])
    few = scale * np.array([7.0, 4.0, 2.0, -3.0])
    grid = scale * np.linspace(-1, 1, 24)

    def case(title: str, group: str, H: Array, k: int, steps: int, most: int = 0) -> Case:
        inputs = {"matrix": H, "k": k, "steps": steps, "seed": int(rng.integers(1, 1000)) if hidden else 1}
        limit = Limit(
            CALLS,
            most or min(steps, len(H)),
            "{count} products with the matrix; {at_most} are enough: one per step, "
            + ("and an end when β is nearly 0." if most else "and never more steps than dimensions."),
        )
        return case_of(title, group, "eigenvalues", inputs, hidden, tolerance=1e-7, limits=(limit,))

    return (
        case("a bulk and outliers", "values", _symmetric(rng, np.concatenate([bulk, steep])), 3, 40),
        case(
            "the largest in size are negative",
            "values",
            _symmetric(rng, np.concatenate([bulk, steep / 3, [-20 * scale, -8 * scale]])),
            3,
            40,
        ),
        case(
            "all eigenvalues negative",
            "values",
            _symmetric(rng, np.concatenate([drawn(-9, -8, 30), [-1 * scale, -0.2 * scale]])),
            2,
            32,
        ),
        case("as many steps as dimensions", "values", _symmetric(rng, grid), 4, 24),
        case(
            "one far outlier, many steps",
            "ghosts",
            _symmetric(rng, np.concatenate([drawn(-1, 1, 60), [2.0, 3.0, 1e3 * scale]])),
            3,
            60,
        ),
        case(
            "more steps than dimensions",
            "early end",
            _symmetric(rng, scale * np.array([4.0, 2, 1, -1, -5, 0.1])),
            3,
            30,
        ),
        # with r different eigenvalues the loop ends after r products; one more is let pass
        case(
            "four eigenvalues beside zero", "early end", _symmetric(rng, np.concatenate([np.zeros(36), few])), 3, 30, 6
        ),
        case("four large ones", "early end", _symmetric(rng, 1e7 * few[[0, 1, 2] + [3] * 29]), 3, 30, 5),
        case("a multiple of the identity", "early end", scale * np.eye(6), 1, 6, 2),
        case("the matrix of zeros", "early end", np.zeros((6, 6)), 1, 6, 2),
        case(
            "four large negative ones",
            "early end",
            _symmetric(rng, -1e7 * np.abs(few[[1, 2, 3] + [0] * 29])),
            3,
            30,
            5,
        ),
    )


LANCZOS = CodeExercise(
    "landscape.lanczos",
    "The top of the spectrum",
    "function",
    NOTEBOOK,
    {"values": 2.5, "ghosts": 1.5, "early end": 1.0},
    difficulty=3,
    minutes=35,
    objects=("top_eigenvalues",),
    visible=lambda: _lanczos_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _lanczos_cases(generator(seed), hidden=True),
    reference=lambda: (bank.eigenvalues_of_the_matrix,),
    compares="the eigenvalues with torch.linalg.eigvalsh of the full matrix, and the number of products",
    misconceptions=recognise(bank.LANCZOS_ROWS, bank.LANCZOS_ROWS, bank.lanczos_function),
    hints=(
        "Keep all the vectors q in a list. Each step: one product with the newest one, its α, then subtract what "
        "the product has along every earlier q, and what is left, divided by its norm β, is the next q.",
        "Stack the list into Q, shape (j, dim): u = u - Q.T @ (Q @ u), twice, takes everything out that lies along "
        "the earlier vectors. Stop when β is nearly 0. T has the α's on its diagonal and the β's beside it.",
        "q = torch.randn(dim, dtype=torch.float64, generator=generator), divided by its norm. After the loop over "
        "range(min(steps, dim)): T = torch.diag(a) + torch.diag(b, 1) + torch.diag(b, -1) with one β fewer than "
        "α's; torch.linalg.eigvalsh(T).flip(0)[:k].",
    ),
)


# --- landscape.classify ---------------------------------------------------------------------------------------------


def _classify_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(title: str, group: str, spectra: Sequence[Sequence[float]], tol: float, turned: bool = True) -> Case:
        shift = rng.permutation(len(spectra)) if hidden else np.arange(len(spectra))
        stretch = rng.uniform(0.6, 1.7, len(spectra)) if hidden and turned else np.ones(len(spectra))
        rows = [np.array(spectra[i]) * factor for i, factor in zip(shift, stretch, strict=True)]
        matrices = [
            _symmetric(rng, row) if turned else np.diag(rng.permutation(row) if hidden else row) for row in rows
        ]
        tols = [tol if turned else float(t) for t in [tol] * len(rows)]
        shown = [", ".join(f"{v:g}" for v in row) for row in rows]
        labels = [f"matrix {i + 1}" + ("" if hidden else f", eigenvalues {text}") for i, text in enumerate(shown)]
        inputs = {"matrices": matrices, "tols": tols, "labels": labels}
        return case_of(title, group, "critical_points", inputs, hidden, own=("kind",))

    return (
        case(
            "curved in every direction",
            "signs",
            [
                (3, 1),
                (-2, -5, -1),
                (3, -1),
                (-1, -2, 6),
                (4, 3, 2, -0.5),
                (5, 4, 1),
                (-3, -1),
                (2, -1, -1, -1, -2),
                (-4,),
            ],
            1e-6,
        ),
        case("large beside small", "signs", [(100, 0.01), (100, -0.01), (-100, 0.01), (-1e-3, -50)], 1e-4),
        case(
            "nearly flat directions",
            "zeros",
            [
                (2, 1e-9),
                (-2, -1e-9),
                (2, -1e-9, 1),
                (2, -1, 1e-9),
                (1e-9, -1e-9),
                (0, 0),
                (-1, 3, 0, 0),
                (-1, -2, 1e-9),
            ],
            1e-6,
        ),
        # diagonal matrices, so that the eigenvalues are exact
        case("exactly tol", "zeros", [(1.0, 0.5), (1.0, -0.5), (-1.0, -0.5), (0.5, 0.25)], 0.5, turned=False),
    )


CLASSIFY = CodeExercise(
    "landscape.classify",
    "Minimum, maximum or saddle?",
    "function",
    NOTEBOOK,
    {"signs": 2.0, "zeros": 1.0},
    difficulty=1,
    minutes=10,
    objects=("classify",),
    visible=lambda: _classify_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _classify_cases(generator(seed), hidden=True),
    reference=lambda: bank.classify_function({}),
    compares="kind and index with the signs of the eigenvalues",
    misconceptions=recognise(bank.CLASSIFY_ROWS, bank.CLASSIFY_ROWS, bank.classify_function),
    combine=bank.classify_function,
    hints=(
        "Everything stands in the signs of the eigenvalues: some up and some down, all one way, or some flat.",
        "torch.linalg.eigvalsh(H) gives them. Count those above tol and those below −tol; the rest are zeros. Look "
        "for both signs first.",
        "up, down = int((e > tol).sum()), int((e < -tol).sum()). Both positive: saddle. Else, up + down < len(e): "
        "degenerate. Else: minimum if down == 0, maximum if not. The index is down.",
    ),
)


# --- landscape.goe --------------------------------------------------------------------------------------------------


def _goe_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(title: str, ns: Sequence[int], samples: int) -> Case:
        seed = int(rng.integers(10, 10000)) if hidden else 10
        inputs = {"ns": list(ns), "samples": samples + (int(rng.integers(0, 500)) if hidden else 0), "seed": seed}
        group = "probabilities" if max(ns) < 4 else "larger n"
        # one matrix more or less changes a share by 1e-4; a mean in float32 by 1e-7
        return case_of(title, group, "random_matrices", inputs, hidden, tolerance=1e-6)

    return (case("n = 1, 2, 3", (1, 2, 3), 3000), case("n = 3, 4", (3, 4), 12000))


GOE = CodeExercise(
    "landscape.goe",
    "How likely is a minimum?",
    "statistic",
    NOTEBOOK,
    {"probabilities": 2.5, "larger n": 0.5},
    difficulty=1,
    minutes=10,
    objects=("probability_minimum",),
    visible=lambda: _goe_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _goe_cases(generator(seed), hidden=True),
    reference=lambda: bank.goe_function({}),
    compares="the share of positive definite matrices among the same draws",
    misconceptions=recognise(bank.GOE_ROWS, bank.GOE_ROWS, bank.goe_function),
    hints=(
        "A matrix is a minimum's Hessian when all its eigenvalues are positive. Make many, look at all at once, "
        "take the share.",
        "A has shape (samples, n, n): its transpose exchanges the last two dimensions, A.mT. torch.linalg.eigvalsh "
        "takes the whole batch.",
        "M = (A + A.mT) / 2; return (torch.linalg.eigvalsh(M) > 0).all(dim=-1).double().mean().item().",
    ),
)
