"""The exercises of `06_schedulers`, in the order of the notebook, and its questions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

from autograder.exercise import Exercise, Part, Varied, WrittenExercise, quiz
from autograder.exercises import schedulers_forms as forms
from autograder.exercises import schedulers_loops as loops

_quiz = partial(quiz, forms.NOTEBOOK, "schedule")


def _third_drop(lr: float) -> Part:
    return Part(
        "the lr at t = 60",
        lr / 1000,
        {
            lr
            / 1000: "Right. Three milestones are reached, the 30 counts twice, and at t = 60 the third drop has happened.",
            lr
            / 100: "That is two drops. Either the 30 was counted once, or the drop at t = 60 was taken to come later. "
            "Three entries of the list are ≤ 60.",
            lr / 10: "That is one drop. Count the entries of the list that are ≤ 60.",
            lr / 10_000: f"One drop too many: {lr:g}·0.1⁴.",
            "other": f"Each milestone m ≤ t multiplies the lr by gamma: {lr:g}·0.1ᵏ with k the number of such entries.",
        },
        tolerance=0.01,
    )


def _looped(lr: float) -> Part:
    product = math.prod(1 + 0.1 * k for k in range(1, 11))
    return Part(
        "lr after the loop",
        lr / product,
        {
            lr
            / product: "Right. The divisors multiply up: 1.1·1.2·…·2.0 = 67.04. The closed form (6.4) would have left "
            f"{lr / 2:g}, 34 times as much.",
            lr
            / 2: f"That is (6.4), the closed form: {lr:g}/(1 + 0.1·10). The loop divides what the last division has left.",
            lr
            / 1.1
            ** 10: f"That is {lr:g}/1.1¹⁰, with the same divisor ten times. Here the divisor grows from 1.1 to 2.0.",
            lr: "The loop divides lr ten times.",
            "other": f"Multiply the ten divisors, 1.1·1.2·…·2.0, and divide {lr:g} by that.",
        },
        tolerance=0.02,
    )


def _half_way_up(lr: float) -> Part:
    return Part(
        "the lr at t = 150",
        lr / 2,
        {
            lr
            / 2: "Right. torch's cosine goes on: from 0 at t = 100 it has climbed half-way back at t = 150. A training "
            "that is made longer by changing the number of epochs alone ends at half the base lr.",
            0.0: "Many libraries hold the lr at its minimum. torch's CosineAnnealingLR does not, as (6.7) says.",
            lr: "The lr is back at the top at t = 200, after a whole period.",
            0.75 * lr: "Not a line: (1 + cos(1.5·π))/2 = ½.",
            "other": "Put t = 150 into (6.7) with T_max = 100.",
        },
        tolerance=0.01,
    )


def _third_cycle(T_0: int) -> Part:
    return Part(
        "t of its first step",
        3.0 * T_0,
        {
            3.0 * T_0: f"Right. The cycles have {T_0}, {2 * T_0}, {4 * T_0}, … steps: the third begins after "
            f"{T_0} + {2 * T_0}.",
            2.0 * T_0: f"That would be the third one if all cycles had T_0 = {T_0} steps. T_mult = 2 doubles each.",
            4.0 * T_0: "That is the third cycle's length. It begins when the first two are over.",
            3.0 * T_0 + 1: f"At t = {3 * T_0} its first step has the base lr already.",
            3.0 * T_0 - 1: f"t = {3 * T_0 - 1} is the second cycle's last step, with the lowest lr.",
            1.0 * T_0: "That is the second cycle's beginning.",
            7.0 * T_0: f"That is the fourth cycle's beginning, {T_0} + {2 * T_0} + {4 * T_0}.",
            "other": "Add the lengths of the first two cycles: T_0 and T_0·T_mult.",
        },
        tolerance=0.001,
    )


_LRS = (0.2, 0.3, 0.4, 0.6, 0.8)


def _vary_lr(part: Callable[[float], Part], text: str) -> Callable[[random.Random], Varied]:
    """Another base lr; `text` is what stands before its 0.1 in the question."""

    def vary(dice: random.Random) -> Varied:
        lr = dice.choice(_LRS)
        return Varied((part(lr),), {f"{text}0.1": f"{text}{lr:g}"})

    return vary


def _vary_cycle(dice: random.Random) -> Varied:
    T_0 = dice.choice((8, 12, 15, 20, 25))
    return Varied((_third_cycle(T_0),), {"$T_0 = 10$": f"$T_0 = {T_0}$"})


QUIZZES = (
    _quiz(
        1,
        "A milestone that stands in the list twice",
        _third_drop(0.1),
        vary=_vary_lr(_third_drop, "`base_lr = "),
    ),
    _quiz(2, "lr on both sides of the equation", _looped(0.1), vary=_vary_lr(_looped, "`lr = ")),
    _quiz(3, "Fifty epochs more", _half_way_up(0.1), vary=_vary_lr(_half_way_up, "base lr ")),
    _quiz(4, "When does the third cycle begin?", _third_cycle(10), vary=_vary_cycle),
    _quiz(
        5,
        "Epochs or steps?",
        Part(
            "what happens",
            "c",
            {
                "a": "The scheduler does not know what an epoch is: it counts its own step() calls, and they come 500 times as "
                "often as the schedule was made for.",
                "b": "Nothing ends the schedule. torch's cosine goes on after total, and climbs again.",
                "c": "Right. The warmup lasts 5 batches, the lr is 0 after 90 of them, early in the first epoch, and "
                "from there it swings up and down every 170 batches. Either step once per epoch, or give warmup and total in "
                "steps: 5·500 and 90·500.",
                "d": "That is what stepping once per epoch would do with a schedule made for steps. Here it is the reverse.",
            },
        ),
        difficulty=2,
    ),
    _quiz(
        6,
        "What else a drop of the lr does",
        Part(
            "the weight decay after the drop",
            "b",
            {
                "a": "Decoupled means that the decay is outside the gradient. In torch's AdamW the factor is "
                "1 − lr·weight_decay: the lr is in it.",
                "b": "Right. 1 − lr·λ goes from 1 − 10⁻⁴ to 1 − 10⁻⁵ per step. Whoever drops the lr to a tenth drops the decay "
                "with it; the paper multiplies λ by the schedule alone, without the base lr.",
                "c": "It becomes weaker: lr·λ is a tenth of what it was.",
                "d": "1 − lr·λ does not depend on the step number; bias correction acts on the averages of the gradient.",
            },
        ),
    ),
)

NOISE_BALL = WrittenExercise(
    "schedule.w1", "Why the noise ball shrinks", "written", forms.NOTEBOOK, {"answer": 2.0}, difficulty=2, minutes=20
)

EXERCISES: tuple[Exercise, ...] = (
    *(forms.STEP, forms.MULTISTEP, QUIZZES[0]),
    *(forms.EXPONENTIAL, forms.INVERSE_TIME, forms.STAIRCASE, QUIZZES[1]),
    *(forms.POLYNOMIAL, forms.COSINE, QUIZZES[2]),
    *(forms.RESTARTS, forms.CYCLIC, forms.ONE_CYCLE, QUIZZES[3]),
    *(forms.WARMUP_COSINE, forms.WSD, QUIZZES[4]),
    loops.PLATEAU,
    *(loops.PROTOCOL, QUIZZES[5]),
    *(loops.RANGE_TEST, loops.LOG_UNIFORM),
    loops.TENSOR_LR,
    NOISE_BALL,
)
