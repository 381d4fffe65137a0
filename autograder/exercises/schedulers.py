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


def _same_decay(weight_decay: float) -> Part:
    key = 10 * weight_decay
    return Part(
        "weight_decay after the drop",
        key,
        {
            key: f"Right. The step multiplies by 1 − lr·weight_decay, before 1 − 10⁻³·{weight_decay:g}, then "
            f"1 − 10⁻⁴·{key:g}. Left alone, the decay falls with the lr. (The paper multiplies it by the "
            "schedule alone, without the base lr; there it falls as well.)",
            weight_decay: "Decoupled means that the decay is outside the gradient. In torch's AdamW the lr is a factor of it: "
            f"with {weight_decay:g} the weights would shrink by a tenth of what they did.",
            weight_decay / 10: "That is the wrong way: lr·weight_decay would be a hundredth of what it was.",
            1e-3 * weight_decay: "That is lr·weight_decay, what a step takes off. The question is for the setting.",
            "other": "What has to stay is the product lr·weight_decay.",
        },
        tolerance=0.01,
    )


def _never_reduced(percent: float) -> Part:
    better = next(k for k in range(1, 100) if (1 - percent / 100) ** k < 0.99)  # epochs until the bound is beaten
    key = float(better - 1)
    return Part(
        "the smallest patience",
        key,
        {
            key: "Right. The bound is made from the best value, not from the last one: the loss is better "
            f"when {better} epochs together have brought more than 1 %. Until then {better - 1} epochs are bad, and the lr is "
            "reduced only if the count is larger than patience. What you have asked for is a little more than 1 % in "
            f"{better} epochs.",
            key + 1: f"Epoch {better} after the best one beats the bound. Bad are the {better - 1} before it.",
            key - 1: f"With that the count {better - 1} is larger than patience, one epoch before the loss would "
            "have been better.",
            0.0: "The loss gets smaller in each epoch, but better means smaller than (6.14): by more than 1 %, so that most "
            "epochs are bad.",
            "other": "How many epochs does it take until the loss is more than 1 % below the best one? All but the last of "
            "them are bad, and rule 3 asks for more bad epochs than patience.",
        },
        tolerance=0.01,
    )


def _draws(decades: int) -> Part:
    share = 1 / decades
    draws = math.ceil(math.log(0.05) / math.log(1 - share))
    key = float(draws)

    def found(n: int) -> str:
        return f"{100 * (1 - (1 - share) ** n):.1f} %"

    return Part(
        "the number of draws",
        key,
        {
            key: f"Right. A draw misses with probability 1 − 1/{decades}, and (1 − 1/{decades})ⁿ ≤ 0.05 from n = {draws} "
            f"on ({found(draws)}). A grid with one point per power of ten needs {decades}; the others are the price for trying "
            "other hyperparameters in the same runs.",
            key - 1: f"Not quite: {found(draws - 1)}.",
            float(decades): f"With {decades} draws one usable lr is to be expected on average; with probability "
            f"{100 * (1 - share) ** decades:.0f} % there is none among them.",
            20.0: f"That is one over 5 %. A draw is usable with probability 1/{decades}; how often do all n miss?",
            59.0: "That is the rule for the best 5 % of all settings, ln 0.05/ln 0.95. Here the usable share is "
            f"1/{decades}, one power of ten out of {decades}.",
            "other": f"On the logarithmic scale the usable share is 1/{decades}. When is the probability that all n draws miss "
            "at most 5 %?",
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


def _vary_decay(dice: random.Random) -> Varied:
    weight_decay = dice.choice((0.02, 0.03, 0.05, 0.06, 0.08))
    return Varied((_same_decay(weight_decay),), {"`weight_decay = 0.1`": f"`weight_decay = {weight_decay:g}`"})


def _vary_fall(dice: random.Random) -> Varied:
    percent = dice.choice((0.15, 0.18, 0.22, 0.4))
    return Varied((_never_reduced(percent),), {"by 0.3 %": f"by {percent:g} %"})


def _vary_decades(dice: random.Random) -> Varied:
    decades = dice.choice((3, 5, 6))
    return Varied((_draws(decades),), {"$10^{-5}$": f"$10^{{-{decades + 1}}}$"})


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
    _quiz(6, "What else a drop of the lr does", _same_decay(0.1), vary=_vary_decay),
    _quiz(7, "A loss that falls, slowly", _never_reduced(0.3), difficulty=2, vary=_vary_fall),
    _quiz(8, "How many draws?", _draws(4), difficulty=2, vary=_vary_decades),
    _quiz(
        9,
        "A count that the graph never sees",
        Part(
            "the lrs that are used",
            "b",
            {
                "a": "For that the 1 has to be added to the memory that the graph reads: `t.add_(1)`, in the graph or after "
                "the replay.",
                "b": "Right. A graph repeats its operations on the same memory. `t = t + 1` makes a new tensor each time and "
                "leaves the captured one at 0. There is no error, and the lr looks well on paper: it is the mistake of "
                "`lr = base_lr * …`, made with the count. `t.add_(1)` is the cure.",
                "c": "Nothing notices: the graph does not know the Python name `t`, only the memory that it had.",
                "d": "Nothing is fetched from the device here: the sum is one more launch.",
            },
        ),
        difficulty=2,
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
    *(loops.PLATEAU, QUIZZES[6]),
    *(loops.PROTOCOL, QUIZZES[5]),
    *(loops.RANGE_TEST, loops.LOG_UNIFORM, QUIZZES[7]),
    *(loops.TENSOR_LR, QUIZZES[8]),
    NOISE_BALL,
)
