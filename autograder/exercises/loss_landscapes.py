"""The exercises of `07_loss_landscapes`: questions, a written part, and the code of the two modules beside this one."""

from __future__ import annotations

import random
from functools import partial

from autograder.exercise import Exercise, Part, Varied, WrittenExercise, quiz
from autograder.exercises.loss_landscapes_curvature import CLASSIFY, GOE, HVP, LANCZOS, NOTEBOOK
from autograder.exercises.loss_landscapes_pictures import INIT, INTERPOLATE, NORMALIZE, SHARPNESS, SURFACE

_quiz = partial(quiz, NOTEBOOK, "landscape")


def _terabytes(millions: int) -> Part:
    whole = 4.0 * millions**2
    return Part(
        "terabytes",
        whole,
        {
            whole: f"Right. ({millions}·10⁶)² entries of 4 bytes are {whole:.0f}·10¹² bytes. H·v needs {4 * millions} "
            "megabytes.",
            whole / 2: "Half of it would do, since H is symmetric; but the question is for the whole matrix.",
            whole / 4: "That is the number of entries in units of 10¹². Each takes 4 bytes.",
            4e-6
            * millions: f"That is one gradient: {millions}·10⁶ numbers. H has a row of that length for every weight.",
            whole / 1000: f"Three zeros are missing: {whole:.0f}·10¹² bytes, and a terabyte is 10¹².",
            2 * whole: "float32 has 4 bytes, float64 has 8.",
            "other": "The square of the number of weights, times 4 bytes, over 10¹².",
        },
        tolerance=0.01,
    )


def _vary_terabytes(dice: random.Random) -> Varied:
    name, millions = dice.choice((("ResNet-18", 12), ("ResNet-101", 45), ("ResNet-152", 60)))
    return Varied(
        (_terabytes(millions),),
        {"ResNet-50 has about 25 million weights": f"{name} has about {millions} million weights"},
    )


def _at_the_edge(lr: float) -> Part:
    return Part(
        "largest eigenvalue",
        2 / lr,
        {
            2
            / lr: f"Right: 2/{lr:g}. Full-batch gradient descent drives λ_max up to 2/η, and stays there (Cohen et al. "
            "2021).",
            1 / lr: "1/η is where a quadratic is minimised in one step. It is stable up to 2/η.",
            2 * lr: "That is 2η. λ_max is 2 divided by η.",
            3.8 / lr: "That is the limit for momentum 0.9, 2(1 + μ)/η. The run has none.",
            20 / lr: f"One zero too many: 2/{lr:g}.",
            "other": "A quadratic with curvature λ is stable for η < 2/λ. Solve for λ.",
        },
        tolerance=0.01,
    )


def _vary_at_the_edge(dice: random.Random) -> Varied:
    lr = dice.choice((0.01, 0.02, 0.025, 0.04, 0.08))
    return Varied((_at_the_edge(lr),), {"`lr = 0.05`": f"`lr = {lr:g}`"})


def _shift(low: float, high: float) -> Part:
    key, size = (low - high) / 2, low + high
    return Part(
        "the shift",
        key,
        {
            key: f"Right. With c the ends are {high:g} + c and −{low:g} + c, and from c = {key:g} on the first is the "
            "larger in size. A little above it the two are hardly apart and the iteration takes long; much above it all "
            "eigenvalues are alike, which is as slow. Lanczos finds both ends without a shift.",
            low: f"From c = {low:g} on no eigenvalue is negative: that is enough, but the {high:g} wins much earlier.",
            low - high: "Half of that: the shift moves one end away from 0 and the other one towards it.",
            size: "That is the distance of the two ends, which a shift does not change.",
            size
            / 2: f"That is half the distance of the ends. What has to come to 0 is their middle, which lies at −{key:g}.",
            -key: f"A shift downwards makes the −{low:g} larger still in size.",
            "other": f"Which of |{high:g} + c| and |−{low:g} + c| is larger?",
        },
        tolerance=0.01,
    )


def _vary_shift(dice: random.Random) -> Varied:
    low, high = dice.choice(((8, 4), (9, 5), (7, 4), (10, 4), (5, 3)))
    text = {"between −6 and 4, and": f"between −{low} and {high}, and", "finds the −6,": f"finds the −{low},"}
    text |= {"want the 4,": f"want the {high},", "find the 4?": f"find the {high}?"}
    return Varied((_shift(low, high),), text)


def _running_variance(variance: int) -> Part:
    return Part(
        "running_var",
        0.9 + 0.1 * variance,
        {
            0.9
            + 0.1 * variance: "Right. The reset puts running_var to 1, not to 0, and one pass replaces a tenth of it: "
            f"0.9·1 + 0.1·{variance}. In eval mode the layer would divide by the root of that. With `momentum = None`, or "
            "`update_bn`, it is the plain average.",
            float(
                variance
            ): "That is what (7.13) asks for, and what `momentum = None` gives. With 0.1 a single pass is a "
            "tenth of the way.",
            0.1
            * variance: "`reset_running_stats` starts the mean at 0 but the variance at 1, and 0.9 of that is left.",
            0.9 * variance + 0.1: "torch's momentum is the weight of the *new* value, not of the old one.",
            0.9
            * variance: "torch's momentum is the weight of the new value; and the old one is 1 after a reset, not 0.",
            1.0: "That is where the reset has put it. A pass in train mode moves it.",
            "other": "New running value = 0.9 · old one + 0.1 · the batch's; the old one is 1 after a reset.",
        },
        tolerance=0.01,
    )


def _vary_running_variance(dice: random.Random) -> Varied:
    variance = dice.choice((4, 5, 16, 25, 36))
    return Varied((_running_variance(variance),), {"variance\n9,": f"variance\n{variance},"})


def _faded(layers: int) -> Part:
    factor = 2.0 ** (layers / 2)
    return Part(
        "how many times smaller",
        factor,
        {
            factor: "Right. In layers of one width Xavier's variance is one over the width, which keeps the mean square of "
            f"linear units. Each ReLU leaves half of it: 1/{factor**2:.0f} after {layers} layers, and the root of that. "
            "With He's rule, twice the variance, nothing is lost.",
            1.0: "So it would be for linear units. A ReLU sets half of the values to 0, and half of the mean square is gone, "
            "in each layer.",
            factor**2: "That is the mean square. The question is for its root.",
            1 / factor: f"That is what is left. It is {factor:g} times smaller.",
            layers**0.5: "The factors of the layers multiply; they are not added up.",
            2**0.5: f"That is one layer. There are {layers}.",
            "other": "By which factor does one layer change the mean square, and how many layers are there?",
        },
        tolerance=0.01,
    )


def _vary_faded(dice: random.Random) -> Varied:
    layers = dice.choice((10, 12, 14, 16, 18))
    return Varied((_faded(layers),), {"initialises 20 ReLU": f"initialises {layers} ReLU"})


QUIZZES = (
    _quiz(
        1,
        "How large is a Hessian?",
        _terabytes(25),
        vary=_vary_terabytes,
    ),
    _quiz(
        2,
        "Exactly on the ridge",
        Part(
            "what happens",
            "c",
            {
                "a": "The gradient along the unstable direction is zero on the ridge, in the first step and in "
                "every later one: nothing starts the fall.",
                "b": "That takes a larger lr: along x the curvature is 40, and with momentum 0.9 the limit is 3.8/40.",
                "c": "Right. By (7.6) the distance along an eigenvector is multiplied by 1 − ηλ in every step, and "
                "0 stays 0. Noise, or a rounding error, is what saves a run in practice.",
                "d": "Momentum multiplies what is there, and there is nothing: 0 times any number.",
            },
        ),
    ),
    _quiz(
        3,
        "What the argument assumes",
        Part(
            "the weakest point",
            "b",
            {
                "a": "Only the signs of the eigenvalues matter for the kind of a critical point, and they do not "
                "depend on the scale.",
                "b": "Right. The Hessian of a trained network is a Gauss–Newton part without negative eigenvalues, "
                "and a rest that is small where the errors are small: low loss and negative curvature rarely go "
                "together. In section 3 the number of negative eigenvalues falls with the loss.",
                "c": "n is large, and that makes minima rarer still under this argument.",
                "d": "The Hessian of a smooth loss is symmetric, always. That part of the argument is safe.",
            },
        ),
    ),
    _quiz(
        4,
        "One function, two sharpnesses",
        Part(
            "which generalises better",
            "c",
            {
                "a": "Flatness of the weights was changed by hand, without changing a single answer of the network.",
                "b": "Nor can sharpness help: the answers to all inputs are the same.",
                "c": "Right (Dinh et al. 2017). The two networks give the same answer to every input, so they have "
                "the same test error. λ_max depends on how the function is written down; compare it between "
                "networks only after such freedoms are taken out.",
                "d": "The test error is a property of the function, and the functions are the same: no measurement is needed.",
            },
        ),
    ),
    _quiz(
        5,
        "A path on a plane",
        Part(
            "what is wrong",
            "d",
            {
                "a": "The plane holds the last point and two directions. Other points of the path are projected onto it.",
                "b": "Contours are drawn from the loss on the plane, and there are no others.",
                "c": "The principal directions of the path are a sensible choice of plane. The trouble is what the "
                "height at a projected point means.",
                "d": "Right. A projected point has another loss than the weights it came from: the path did not go "
                "through the places over which it is drawn. Plot the measured loss beside it, as training curves do.",
            },
        ),
    ),
    _quiz(
        6,
        "At the edge",
        _at_the_edge(0.05),
        vary=_vary_at_the_edge,
    ),
    _quiz(7, "The other end of the spectrum", _shift(6, 4), vary=_vary_shift),
    _quiz(8, "One pass after a reset", _running_variance(9), vary=_vary_running_variance),
    _quiz(9, "Xavier's rule and ReLU", _faded(20), difficulty=2, vary=_vary_faded),
    _quiz(
        10,
        "Twice the examples",
        Part(
            "the test error",
            "d",
            {
                "a": "So one would think. But (7.19) fits what it is given, noise included, as long as it can, and it is "
                "worst where it just can.",
                "b": "The training error is 0 both times, and it says nothing about the test error: many weights fitted "
                "before, and the shortest was a good one; now a single one fits.",
                "c": "For that the noise has to average out, which takes many more examples than features: with 400 in place "
                "of 120 it is 0.19.",
                "d": "Right. The peak is where p = n, whichever of the two moves. With 120 of each one single weight vector "
                "fits, and it is huge: the test error rises from 0.55 to about 60 (medians of 20 draws). A "
                "penalty on the weights or an early stop takes the peak away.",
            },
        ),
        difficulty=2,
    ),
)

SADDLES = WrittenExercise(
    "landscape.w1", "Why saddles outnumber minima", "written", NOTEBOOK, {"answer": 2.0}, difficulty=2, minutes=15
)

EXERCISES: tuple[Exercise, ...] = (
    QUIZZES[0],
    HVP,
    LANCZOS,
    QUIZZES[6],
    CLASSIFY,
    QUIZZES[1],
    GOE,
    SADDLES,
    QUIZZES[2],
    NORMALIZE,
    QUIZZES[3],
    SURFACE,
    QUIZZES[4],
    INTERPOLATE,
    QUIZZES[7],
    SHARPNESS,
    QUIZZES[5],
    INIT,
    QUIZZES[8],
    QUIZZES[9],
)
