"""The questions and the derivations of `03_momentum_equivalence`."""

from __future__ import annotations

import random
from functools import partial

from autograder.exercise import Part, QuizExercise, Varied, WrittenExercise, quiz

NOTEBOOK = "03_momentum_equivalence"

_quiz = partial(quiz, NOTEBOOK, "momentum")


def _late_step(lr: float, g: float) -> Part:
    step = lr * g
    return Part(
        "length of a late step",
        10 * step,
        {
            10 * step: "Right. At its final speed friction takes what the force gives: (1 − μ)·v = lr·g, so v = "
            f"{lr:g}·{g:g}/0.1. Ten times the step of plain gradient descent.",
            step: "That is lr·g, the step without momentum, and the first one with it. The velocity keeps nine "
            "tenths of itself and goes on growing.",
            1.9 * step: "That is the second step, (1 + μ)·lr·g. The sum goes on: 1 + μ + μ² + …",
            0.1 * step: "That is (1 − μ)·lr·g. Divide by 1 − μ: the velocity adds up 1 + μ + μ² + … = 10 gradients.",
            0.9 * step: "That is μ·lr·g. Solve v = μ·v + lr·g for v.",
            -10 * step: "The size is right; a length is positive.",
            "other": "At the final speed nothing changes any more: v = μ·v + lr·g (in length). Solve for v.",
        },
        tolerance=0.01,
    )


def _vary_late_step(dice: random.Random) -> Varied:
    lr, g = dice.choice((0.02, 0.03, 0.04, 0.06)), dice.choice((3, 4, 6, 7, 8))
    return Varied((_late_step(lr, g),), {"$g = 2$": f"$g = {g}$", "`lr = 0.01`": f"`lr = {lr:g}`"})


def _stable_average(curvature: float) -> Part:
    largest = 2 * 1.9 / curvature
    return Part(
        "largest stable lr of the averaging form",
        10 * largest,
        {
            10
            * largest: f"Right. 2(1 + μ)/h = {largest:.3g} for the traditional lr, and ten times that for the averaging "
            "form. The run is the same; only the number is another one.",
            largest: "That is torch's lr. The averaging form's is larger by 1/(1 − μ), equation (3.5).",
            2 / curvature: "That is plain gradient descent's limit.",
            20 / curvature: "Two steps are mixed up: 2(1 + μ)/h first, then the map (3.5).",
            0.1 * largest: "Upside down: the averaging form needs the larger number.",
            "other": f"Take max_stable_lr({curvature:g}, 0.9) and map it by lr_average.",
        },
        tolerance=0.01,
    )


def _vary_stable_average(dice: random.Random) -> Varied:
    curvature = dice.choice((2, 4, 5, 8, 25))
    return Varied((_stable_average(curvature),), {"$h = 1$": f"$h = {curvature}$"})


def _wander(sd: float, lr: float, steps: int) -> Part:
    """Standard deviation of the weight after steps on gradients that are nothing but noise; β = 0.9."""
    far = lr * sd * steps**0.5
    return Part(
        "standard deviation of w",
        far,
        {
            far: "Right: as far as plain SGD with that lr. The average makes each step calmer, and makes the next ones "
            "alike: a gradient is only spread over some ten steps, with weights that add up to 1. Less noise in the "
            "weights takes a smaller lr.",
            far
            / 19
            ** 0.5: "That divides by √19, which is right for one average. But an average and the next one share nine "
            "tenths of their noise: their errors add up and do not cancel.",
            10 * far: "That is the traditional form with this number as its lr: its steps are ten times as long.",
            0.1
            * far: "That counts only the average in which a gradient is new. It counts in the later ones as well, with "
            "(1 − β)β, (1 − β)β², …, and all these weights add up to 1.",
            far * steps**0.5: f"Noise adds up like the root of the number of steps, {steps**0.5:g}.",
            "other": "Put (3.3) into (3.4) and sum over the steps: with which weight does one gradient enter w in the end?",
        },
        tolerance=0.02,
    )


def _vary_wander(dice: random.Random) -> Varied:
    sd, lr = dice.choice((2, 4, 5)), dice.choice((0.001, 0.002, 0.02))
    steps = dice.choice((3600, 40_000, 90_000))
    text = {
        "standard deviation 3.": f"standard deviation {sd}.",
        "lr 0.01": f"lr {lr:g}",
        "10,000 steps": f"{steps:,} steps",
    }
    return Varied((_wander(sd, lr, steps),), text)


def _traffic(billions: int, terabytes: int) -> tuple[Part, Part]:
    """Milliseconds of a momentum step that only moves numbers: eight trips through memory in three calls, five in one."""
    trip = 4 * billions / terabytes
    calls = Part(
        "three foreach calls",
        8 * trip,
        {
            8
            * trip: "Right: mul_ reads and writes b; the first add_ reads b and g and writes b; the second one reads p and b "
            "and writes p. 2 + 3 + 3 trips of 4 bytes.",
            5 * trip: "That is the fused kernel. With three calls b is written and read again in between.",
            6 * trip: "An add_ has two lists to read, and one to write: 2 + 3 + 3 trips.",
            3 * trip: "Three calls, but each one reads before it writes, and an add_ reads two lists.",
            2 * trip: f"In bytes: a float32 has four, so one trip of {billions} billion weights takes {trip:g} ms.",
            "other": f"Count which tensors each call reads and writes. One trip of {billions} billion float32 weights takes "
            f"{trip:g} ms.",
        },
        tolerance=0.01,
    )
    fused = Part(
        "one fused kernel",
        5 * trip,
        {
            5
            * trip: "Right: it reads p, g and b, and writes p and b. At best 1.6 times as fast: with large tensors the bytes "
            "count and not the launches, and foreach saves none of them.",
            8 * trip: "Fused, each number is read once and written once; what lies in between stays on the chip.",
            8 / 3 * trip: "A third of the launches is not a third of the bytes.",
            6 * trip: "g is read and not written.",
            4 * trip: "p and b are read and written, and g is read: five trips.",
            3 * trip: "p, g and b are read, and p and b are written as well.",
            "other": "Which tensors have to be read at least once, which have to be written?",
        },
        tolerance=0.01,
    )
    return calls, fused


def _vary_traffic(dice: random.Random) -> Varied:
    billions, terabytes = dice.choice((2, 3, 4)), dice.choice((1, 2, 4))
    text = {"1 billion float32": f"{billions} billion float32", "2 TB/s": f"{terabytes} TB/s"}
    return Varied(_traffic(billions, terabytes), text)


SAME, DIFFERENT = "same", "different"


def _apart(name: str, key: str, right: str, wrong: str) -> Part:
    other = DIFFERENT if key == SAME else SAME
    return Part(name, key, {key: f"Right. {right}", other: wrong})


WHERE_THEY_PART = QuizExercise(
    "momentum.q4",
    "Where the forms part",
    "quiz",
    NOTEBOOK,
    dict.fromkeys(("constant lr", "lr halved", "L2", "decoupled decay", "dampening", "hand-over"), 0.25),
    difficulty=2,
    minutes=5,
    objects=("q4",),
    parts=(
        _apart(
            "constant lr",
            SAME,
            "With the lr mapped by (3.5) the three are one optimizer: the table shows rounding errors only.",
            "At constant lr v = −lr·b = −lr_avg·m in every step, by induction; the table shows rounding errors only.",
        ),
        _apart(
            "lr halved",
            DIFFERENT,
            "The old velocity still moves at the old lr, torch's whole buffer at the new one.",
            "Only while the lr is constant. v holds gradients times the lr they came with; torch multiplies its "
            "whole buffer by the new lr. The averaging form, with lr outside as well, follows torch.",
        ),
        _apart(
            "L2",
            SAME,
            "λw is part of the gradient, and goes the way every gradient goes. Nothing but the lr has to be mapped.",
            "L2 is harmless: λw is part of the gradient, and both forms treat gradients alike. weight_decay stays "
            "as it is.",
        ),
        _apart(
            "decoupled decay",
            DIFFERENT,
            "With the mapped lr in 1 − lr·λ the weight shrinks 1/(1 − μ) times as fast, unless λ is multiplied by 1 − μ.",
            "The factor is 1 − lr·λ, and the lr of the averaging form is larger by 1/(1 − μ): the weights decay ten "
            "times as fast for μ = 0.9, unless λ is multiplied by 1 − μ.",
        ),
        _apart(
            "dampening",
            DIFFERENT,
            "torch's first buffer is g itself, undamped; the average starts at (1 − β)·g. The difference fades like"
            " β^t in the buffer, and what it has moved the weight by stays.",
            "The first step gives it away: torch starts the buffer at g, undamped, and the average at (1 − β)·g.",
        ),
        _apart(
            "hand-over",
            DIFFERENT,
            "m has the size of a gradient, v that of a step, and they point in opposite directions: v = −lr_avg·m.",
            "m has the size of a gradient and points uphill; v has the size of a step and points the way the weight"
            " moves. Equation (3.6) maps one to the other.",
        ),
    ),
)

QUIZZES = (
    _quiz(
        1,
        "How fast does the ball get?",
        _late_step(lr=0.01, g=2),
        vary=_vary_late_step,
    ),
    _quiz(
        2,
        "Does momentum learn faster?",
        Part(
            "what is wrong",
            "b",
            {
                "a": "More steps would not help: the two runs differ in more than momentum.",
                "b": "Right. At the same number lr = 0.01 the run with μ = 0.9 takes steps that are up to ten times "
                "longer. Tune lr for each, or at least compare with lr = 0.1 for plain SGD.",
                "c": "For a gradient that stays the same, plain SGD with lr = 0.1 moves just as fast. That is no gain "
                "from averaging.",
                "d": "It is the other way round: with the same lr in the averaging form, momentum would not be ahead in "
                "the long run.",
            },
        ),
    ),
    _quiz(
        3,
        "torch's dampening in its first step",
        Part(
            "ratio of the first steps",
            10.0,
            {
                10.0: "Right. torch's first buffer is g, undamped; the average starts at (1 − 0.9)·g. From then on the"
                " two follow the same recursion.",
                1.0: "Dampening = momentum does make the recursion an average, from the second step on. The first "
                "buffer is special in (3.8): it is g itself.",
                0.1: "Upside down: torch's first step is the longer one.",
                100.0: "One factor 1/(1 − μ) is enough: torch's first buffer is g, the average's is 0.1·g, and the lr "
                "is the same.",
                9.0: "Divide by 1 − 0.9 and not by something with 0.9: g against 0.1·g.",
                "other": "Write down b₁ from (3.8) and m₁ from (3.3) with m₀ = 0, and divide.",
            },
            tolerance=0.01,
        ),
    ),
    _quiz(
        5,
        "Which weights do you save?",
        Part(
            "the model's parameters",
            "c",
            {
                "a": "θ never exists in torch: what is stored in p, and used in forward, is θ + μv.",
                "b": "The gradient is the one at p, that much is right; but p is not θ. torch's formula is (3.12) with the "
                "look-ahead point as the parameter, so p holds θ + μv. θ itself is stored nowhere.",
                "c": "Right. p is the look-ahead point θ + μv; at the end, when v is small, so is the difference.",
                "d": "The two forms compute the same gradients, but what each keeps as its weight differs by μv: in the "
                "middle of training v is not 0, and neither is the difference.",
            },
        ),
    ),
    _quiz(
        6,
        "The limit in the other form",
        _stable_average(curvature=1),
        vary=_vary_stable_average,
        difficulty=2,
    ),
    _quiz(
        7,
        "What averaging does to the weights",
        _wander(sd=3, lr=0.01, steps=10_000),
        vary=_vary_wander,
        difficulty=2,
        minutes=3,
    ),
    _quiz(
        8,
        "When launches do not matter",
        *_traffic(billions=1, terabytes=2),
        vary=_vary_traffic,
        difficulty=2,
        minutes=4,
    ),
)

PROOF = WrittenExercise(
    "momentum.w1", "The velocity is an average", "written", NOTEBOOK, {"proof": 2.0}, difficulty=2, minutes=15
)
FIRST_STEP = WrittenExercise(
    "momentum.w2", "The undamped first step", "written", NOTEBOOK, {"answer": 1.0}, difficulty=2, minutes=10
)
