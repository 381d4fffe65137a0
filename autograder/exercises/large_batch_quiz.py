"""The questions of `08_large_batch_scaling`."""

from __future__ import annotations

import math
import random
from functools import partial

from autograder.exercise import Part, QuizExercise, Varied, quiz

_quiz = partial(quiz, "08_large_batch_scaling", "largebatch")


def _half_life(mu: float, k: int) -> Part:
    lr = f"(1 − {mu**k:.3f})/(1 − {mu:g})"
    steps = math.log(2) / -math.log(mu)
    return Part(
        "the new momentum",
        mu**k,
        {
            mu
            ** k: f"Right. {mu:g} to the power {k} is {mu**k:.3f}: one step of the large batch forgets what {k} steps of the "
            f"small one did. (The lr of (8.2) is for unchanged momentum: here it also needs the factor {lr}.)",
            mu: f"Then its half-life is still {steps:.1f} steps, and a step now has {k} times as many examples: in examples "
            f"the memory has become {k} times as long.",
            mu ** (1 / k): f"Upside down: that makes the memory {k} times as long in steps, {k * k} times in examples.",
            1
            - k
            * (1 - mu): f"1 − {k}·{1 - mu:.2g} is the first-order version of it. The half-life asks for a power: μ to "
            "the power k.",
            "other": f"μ^h = ½ with h in steps. A step has {k} times as many examples, so h has to be "
            f"smaller by that: μ' = μ to the power {k}.",
        },
        tolerance=0.01,
    )


def _vary_half_life(dice: random.Random) -> Varied:
    mu, k = dice.choice(((0.9, 4), (0.9, 3), (0.8, 2), (0.8, 3), (0.95, 4), (0.85, 4)))
    text = {"momentum 0.9": f"momentum {mu:g}", "go to 1024": f"go to {256 * k}"}
    return Varied((_half_life(mu, k),), text)


def _beyond_critical(k: int) -> tuple[Part, Part]:
    return (
        Part(
            "examples over E_min",
            1.0 + k,
            {
                1.0 + k: f"Right. 1 + B/B_crit = {1 + k}, for 1 + 1/{k} = {1 + 1 / k:.3g} times the fewest steps.",
                1 + 1 / k: "That is the number of steps over S_min. Examples pay for it: 1 + B/B_crit.",
                float(k): "The 1 is missing in 1 + B/B_crit.",
                2.0: "That is at B = B_crit, where both numbers are twice their minimum.",
                "other": f"Equation (8.11) with B = {k}·B_crit.",
            },
            tolerance=0.01,
        ),
        Part(
            "late in training B_simple",
            "grows",
            {
                "grows": "Right. On the way down both shrink, |G|² far faster than the noise of single examples: tr Σ/|G|² "
                "grows. A batch size that wastes examples early can be right later, and a B_crit is one of a loss level.",
                "shrinks": "Look at (8.9): towards a minimum |G|² shrinks faster than the noise.",
                "stays": "Both tr Σ and |G|² change during training, and not alike.",
            },
        ),
    )


def _vary_beyond_critical(dice: random.Random) -> Varied:
    k = dice.choice((3, 4, 5, 6, 8))
    return Varied(_beyond_critical(k), {r"$B = 4\,B_{\text{crit}}$": rf"$B = {k}\,B_{{\text{{crit}}}}$"})


def _signal(noise_scale: int) -> Part:
    key = 64 / (64 + noise_scale)
    return Part(
        "the share of the signal",
        key,
        {
            key: "Right. By (8.7) the mean of the squared norms is ‖G‖² + tr Σ/B, and tr Σ is the noise scale times ‖G‖²: the "
            f"share is 1/(1 + {noise_scale}/64). What a log calls the norm of the gradient is mostly noise, and falls when the "
            "batch grows, with no other change.",
            64 / noise_scale: "That is signal over noise. The logged number is their sum.",
            1 - key: "That is the share of the noise.",
            key**0.5: "That is the ratio of the norms. The logged number is their square.",
            1 / noise_scale: "The batch is missing: with 64 examples the noise is 64 times smaller than that of one.",
            "other": "Put tr Σ = B_simple·‖G‖² from (8.9) into (8.7).",
        },
        tolerance=0.01,
    )


def _vary_signal(dice: random.Random) -> Varied:
    noise_scale = dice.choice((192, 256, 336, 736, 1216))
    return Varied((_signal(noise_scale),), {"is 576 examples": f"is {noise_scale} examples"})


def _overweight(sizes: tuple[int, int, int]) -> Part:
    many, few, _ = sizes
    whole = sum(sizes)
    key = whole / (3 * few)
    return Part(
        "the weight over that of (8.18)",
        key,
        {
            key: f"Right. DDP gives each rank a third, so such an example has 1/(3·{few}); in (8.18) it has 1/{whole}. Scale "
            f"the loss of this rank by 3·{few}/{whole}, and the others' likewise, or leave the last batch out.",
            1 / key: "Upside down: that is the factor by which this rank's loss would have to be scaled.",
            many
            / few: f"That is its weight over that of an example on the rank with {many}. (8.18) gives all examples "
            f"one weight, 1/{whole}.",
            1.0: "It would be so if all ranks had as many examples. DDP averages the ranks' means, whatever their number.",
            1 / (3 * few): "That is the weight itself. In (8.18) it is another one; the question is for the quotient.",
            "other": f"Its weight is a third of 1/{few} with DDP, and 1/{whole} in (8.18).",
        },
        tolerance=0.01,
    )


def _vary_overweight(dice: random.Random) -> Varied:
    sizes = dice.choice(((8, 2, 5), (16, 4, 10), (11, 3, 4), (6, 1, 5), (12, 2, 7)))
    text = "{}, {} and {} examples"
    changed = {text.format(10, 2, 6): text.format(*sizes), "rank with 2?": f"rank with {sizes[1]}?"}
    return Varied((_overweight(sizes),), changed)


QUIZZES: tuple[QuizExercise, ...] = (
    _quiz(
        1,
        "The same epochs with a larger batch",
        Part(
            "why it falls behind",
            "c",
            {
                "a": "The other way round: the variance of a batch's gradient falls as 1/B. Its directions are better.",
                "b": "The loss is a mean over the batch: the gradient's expectation does not depend on B.",
                "c": "Right. An epoch of 16 times larger batches has 16 times fewer steps, and at the same lr they are no "
                "longer than before. Same epochs is not same steps.",
                "d": "Both have seen every example equally often: the same number of epochs.",
            },
        ),
    ),
    _quiz(
        2,
        "Adam with a batch four times as large",
        Part(
            "the new setting",
            "b",
            {
                "a": "That is the linear rule. Adam divides by the root of v: when noise dominates, its step does not "
                "shrink with the gradient, and only the root of k is left for the lr.",
                "b": "Right. (8.5): lr times √k, and both memories k times shorter, so that they last as many examples as "
                "before: 1 − β times k.",
                "c": "The memories have to become shorter in steps: a step now holds four times as many examples. You "
                "have made them longer.",
                "d": "The normalisation takes out the gradient's scale, not its noise. A calmer gradient allows longer "
                "steps here too.",
            },
        ),
        difficulty=2,
    ),
    _quiz(3, "Momentum measured in examples", _half_life(0.9, 4), vary=_vary_half_life),
    _quiz(4, "Beyond the critical batch", *_beyond_critical(4), difficulty=2, vary=_vary_beyond_critical),
    _quiz(
        5,
        "Three printed ratios that do not follow",
        Part(
            "which rows",
            "b",
            {
                "a": "These three round to what is printed: 51.4, 166.5 (rounded down) and 246.5 (rounded up) are 51, "
                "166 and 247.",
                "b": "Right. 184.6, 313.5 and 3690.9 (from the columns as they are printed) round to 185, 313 and 3691, "
                "and the table says 184, 314 and 3690.",
                "c": "conv5.0 and conv4.0 round exactly: 192.9 and 204.0.",
                "d": "fc7.1, fc8.0 and conv1.1 round exactly: 1295.8, 258.0 and 19.96.",
            },
        ),
    ),
    _quiz(
        6,
        "Does the ratio replace warmup?",
        Part(
            "answer",
            "c",
            {
                "a": "It bounds the length of a step relative to the weight. lr = 0.1 still turns every layer by a tenth "
                "of its size in the first step.",
                "b": "The correction makes the averages unbiased. It does not make one minibatch's direction a good one.",
                "c": "Right. The first steps have full length lr·‖w‖ in every layer, in the direction of very few "
                "minibatches: v̂ holds one gradient's square. You et al. use warmup with LAMB as well.",
                "d": "Norms of 0 are dealt with by the rule for zero norms, and they concern biases only.",
            },
        ),
        difficulty=2,
    ),
    _quiz(7, "How much of a gradient's norm is signal?", _signal(576), vary=_vary_signal),
    _quiz(
        8,
        "LARS when the loss is 1000 times as large",
        Part(
            "what the steps do",
            "c",
            {
                "a": "So it would be for SGD. In (8.14) the norm of the gradient stands in the divisor.",
                "b": "That holds where q is the ratio. For excluded parameters q = 1, and they take the gradient as it is.",
                "c": "Right. In the weights q falls by 1000 where g grows by 1000. The biases have q = 1 and make the step of "
                "SGD. LARS does not free you from the lr: it hides the mistake in the larger tensors.",
                "d": "The divisor is 1000 times as large, and so is the gradient that it divides.",
            },
        ),
    ),
    _quiz(9, "A last batch in unequal shards", _overweight((10, 2, 6)), difficulty=2, vary=_vary_overweight),
)
