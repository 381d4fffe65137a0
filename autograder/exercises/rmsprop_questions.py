"""The questions and the derivation of `04_rmsprop`."""

from __future__ import annotations

import math
import random
from functools import partial
from itertools import combinations

from autograder.exercise import Part, Varied, WrittenExercise, quiz

NOTEBOOK = "04_rmsprop"

_quiz = partial(quiz, NOTEBOOK, "rmsprop")

#: The marked places of the published update (rmsprop.q3): is it a mistake, and what is said about it.
_PLACES = {
    "a": (
        False,
        "(a) is right: the weights of the average are β₂ and 1 − β₂.",
    ),
    "b": (
        True,
        "(b) is a mistake: what is corrected is the average ⟨g²⟩, not this step's g². With g² alone the average of the "
        "first line is never used, and for late t every step is ±η, whatever the past was.",
    ),
    "c": (
        False,
        "(c) is right if t counts the updates from 1, as it does here: the average starts at 0, and after t updates its "
        "weights add up to 1 − β₂^t.",
    ),
    "d": (
        True,
        "(d) is a mistake: the step is subtracted. With + the weights climb the loss.",
    ),
    "e": (
        False,
        "(e) is right, and torch's: ε is added to the root. (Under the root it would be another, common, variant.)",
    ),
}


def _pair(first: str, second: str) -> str:
    """Feedback for an answer: what is true of its two letters, and how many of the mistakes it has found."""
    found = sum(_PLACES[letter][0] for letter in (first, second))
    start = {2: "Right.", 1: "One of the two.", 0: "Neither of them."}[found]
    return " ".join([start, _PLACES[first][1], _PLACES[second][1]])


def _first_step(g: float, alpha: float) -> Part:
    left = 1 - alpha
    length = left**-0.5
    return Part(
        "length of the first step over lr",
        length,
        {
            length: f"Right. v₁ = {left:.4g}·g², so the divisor is {left**0.5:.4g}·|g|, and the step {length:.4g} times lr.",
            1.0: f"That is what a steady gradient leads to, later. v starts at 0, so v₁ = (1 − α)·g² is only {left:.4g}·g².",
            1 / left: f"The divisor is the root of v: √{left:.4g} = {left**0.5:.4g}.",
            left**0.5: "Upside down: v₁ is smaller than g², so the divisor is too small and the step too long.",
            0.1**-0.5: f"That would be alpha = 0.9. Here it is {alpha:g}.",
            g: "The gradient's size cancels: it is in the numerator, and in the root.",
            "other": "Put t = 1 and v₀ = 0 into (4.3), then (4.4). The gradient's size cancels.",
        },
        tolerance=0.01,
    )


def _vary_first_step(dice: random.Random) -> Varied:
    g, alpha = float(dice.choice((70, 120, 180, 250, 350, 600))), dice.choice((0.84, 0.9375, 0.96, 0.99, 0.9975))
    return Varied((_first_step(g, alpha),), {"$g_1 = 250$": f"$g_1 = {g:g}$", "`alpha = 0.99`": f"`alpha = {alpha:g}`"})


def _adagrads_step(lr: float, g: float) -> Part:
    """The step after 100 equal gradients."""
    return Part(
        "length of step 100",
        lr / 10,
        {
            lr / 10: f"Right. The sum is 100·g² by then, its root 10·|g|: the step is lr/√t = {lr:g}/10.",
            lr: "That is the first step, and RMSProp's later ones. Adagrad's divisor has grown by √100 since.",
            lr / 100: "The divisor is the root of the sum: √100 = 10, not 100.",
            lr * g / 10: "The gradient's size cancels: the step is lr·g/√(100·g²).",
            1.0: "The divisor grows, so the steps get shorter: lr/√t.",
            "other": "After 100 steps the sum is 100·g². Divide g by its root, times lr.",
        },
        tolerance=0.01,
    )


def _vary_adagrads_step(dice: random.Random) -> Varied:
    lr, g = dice.choice((0.1, 0.2, 0.3, 0.6)), dice.choice((3.0, 4.0, 6.0, 7.0))
    return Varied((_adagrads_step(lr, g),), {"`lr = 0.1`": f"`lr = {lr:g}`", "$g = 4$": f"$g = {g:g}$"})


def _condition(off: float) -> float:
    """Condition number of the matrix with 100 and 1 on its diagonal and `off` beside it."""
    root = math.sqrt(99**2 + 4 * off**2)
    return (101 + root) / (101 - root)


def _what_the_diagonal_leaves(off: int) -> Part:
    near = off / 10
    left = (1 + near) / (1 - near)
    return Part(
        "what the diagonal leaves",
        left,
        {
            left: f"Right: z = 1 ± {near:g}. The diagonal mends what differs from weight to weight, the 100 beside the 1. What "
            f"couples the two weights stays, and the diagonal of P⁻¹H, (1, 1), does not show it.",
            1.0: f"P⁻¹H has ones on its diagonal, but it is not the identity: {off} and {off / 100:g} stand beside them.",
            100.0: "That is the ratio of the diagonal's entries, and just what P takes away.",
            _condition(off): "That is H's own. Row 1 is divided by 100 now.",
            _condition(off) / 100: "Condition numbers do not divide like that. Work out the eigenvalues of P⁻¹H.",
            left**0.5: "That is the root of it, as momentum has it in notebook 03.",
            "other": f"P⁻¹H = (1, {off / 100:g}; {off}, 1). Its eigenvalues solve (1 − z)² = {near**2:g}.",
        },
        tolerance=0.01,
    )


def _vary_what_the_diagonal_leaves(dice: random.Random) -> Varied:
    off = dice.choice((5, 6, 7, 8))
    text = {r"100 & 9 \\ 9 & 1": rf"100 & {off} \\ {off} & 1", "number is 535": f"number is {_condition(off):.0f}"}
    return Varied((_what_the_diagonal_leaves(off),), text)


def _turned(name: str, key: str, right: str, wrong: str) -> Part:
    """Is the curve of the loss the same in turned coordinates?"""
    other = {"same": "different", "different": "same"}[key]
    return Part(name, key, {key: f"Right. {right}", other: wrong})


QUIZZES = (
    _quiz(
        1,
        "How long is torch's first step?",
        _first_step(g=250.0, alpha=0.99),
        vary=_vary_first_step,
    ),
    _quiz(
        2,
        "Centred, and not a number",
        Part(
            "why nan",
            "b",
            {
                "a": "The divisor would then be eps, not 0: a long step, but a number. The cell shows that a larger eps does "
                "not help.",
                "b": "Right. Both are near g², and what is left of their difference is rounding, with either sign. "
                "eps is added after the root, too late.",
                "c": "g² is at most 4 here. float32 reaches 10³⁸.",
                "d": "For exact numbers the difference is never below 0: it is a variance (and more, while the averages start "
                "up).",
            },
        ),
    ),
    _quiz(
        3,
        "Two mistakes in print",
        Part("the two mistakes", "bd", {one + two: _pair(one, two) for one, two in combinations(_PLACES, 2)}),
        difficulty=2,
        minutes=5,
    ),
    _quiz(
        4,
        "A gradient of zero",
        Part(
            "what happens",
            "c",
            {
                "a": "The numerator is 0 at once, the root is not: √v falls by √α in each step, to about 0.8 after 50. (Where "
                "v itself is 0, ε keeps 0/0 away.)",
                "b": "The numerator is this step's gradient, and it is 0. Without momentum nothing else moves the weight.",
                "c": "Right. A numerator of 0 moves nothing, and v forgets: v ← α·v. When the gradient comes back, its first "
                "step is longer than lr.",
                "d": "v does not wait: it is updated in every step in which there is a gradient tensor, also one of zeros. "
                "Only .grad = None leaves a parameter and its state alone.",
            },
        ),
    ),
    _quiz(
        5,
        "The loss times 1000, with decay",
        Part(
            "what changes",
            "b",
            {
                "a": "Without decay, yes. With L2 the optimizer sees 1000·g + λw: the decay's share in that sum has become "
                "smaller.",
                "b": "Right. 1000·g + λw is 1000·(g + λ/1000·w), and the factor in front cancels: a decay of λ/1000.",
                "c": "The factor in front of the gradient cancels, so the step does not get longer.",
                "d": "The other way round: λw has to hold its own against a gradient that is 1000 times as large.",
            },
        ),
        difficulty=2,
    ),
    _quiz(
        6,
        "Adagrad's hundredth step",
        _adagrads_step(lr=0.1, g=4.0),
        vary=_vary_adagrads_step,
    ),
    _quiz(
        7,
        "What RMSProp costs in memory",
        Part(
            "bytes per parameter",
            20.0,
            {
                20.0: "Right. Weight, gradient, v, m and the buffer: five float32 numbers.",
                12.0: "That is RMSProp without options: weight, gradient, v. Momentum and centred bring one more each.",
                16.0: "One is missing: weight, gradient, v, the averaged gradient of the centred form, and the buffer.",
                8.0: "That is weight and gradient: plain SGD.",
                24.0: "One too many: the root and the decayed gradient live only while their parameter is updated.",
                "other": "Count what lives between backward and step: weight, gradient, and three tensors of state, 4 bytes "
                "each.",
            },
            tolerance=0.001,
        ),
    ),
    _quiz(
        8,
        "What a diagonal leaves",
        _what_the_diagonal_leaves(9),
        vary=_vary_what_the_diagonal_leaves,
        difficulty=2,
        minutes=4,
    ),
    _quiz(
        9,
        "Other coordinates",
        _turned(
            "momentum, any Q",
            "same",
            "In the new coordinates gradient, buffer and step are the old ones times Qᵀ: it is the same walk.",
            "Momentum only adds vectors and multiplies them by numbers, and Qᵀ goes through both. The walk is the same, and "
            "so are its losses: nothing in SGD knows which way the axes lie.",
        ),
        _turned(
            "RMSProp, two weights turned by 45°",
            "different",
            "Squares and roots are taken axis by axis. Along other axes the gradients have other sizes, and a ravine that was "
            "parallel to one of them lies askew.",
            "The step is not Qᵀ times the old one: each coordinate is divided by a root of its own, and in other coordinates "
            "these are other numbers. See the two ravines above.",
        ),
        _turned(
            "RMSProp, weights exchanged and signs turned",
            "same",
            "Each weight keeps its own v, wherever it stands, and a square does not know the sign.",
            "No two weights are mixed here. Each keeps its own v, wherever it stands; its square does not know the sign, "
            "and the step turns with the gradient.",
        ),
        _turned(
            "Newton, any Q",
            "same",
            "The Hessian turns with the coordinates, QᵀHQ, and so does its inverse: the step is Qᵀ times the old one.",
            "The Hessian in the new coordinates is QᵀHQ. Its inverse times Qᵀg is Qᵀ(H⁻¹g), the old step turned.",
        ),
        difficulty=2,
        minutes=4,
    ),
)

SIGN_LIMIT = WrittenExercise(
    "rmsprop.w1", "When RMSProp is sign descent", "written", NOTEBOOK, {"derivation": 3.0}, difficulty=2, minutes=20
)
