"""The questions of `08_large_batch_scaling`."""

from __future__ import annotations

from functools import partial

from autograder.exercise import Part, QuizExercise, quiz

_quiz = partial(quiz, "08_large_batch_scaling", "largebatch")

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
    _quiz(
        3,
        "Momentum measured in examples",
        Part(
            "the new momentum",
            0.9**4,
            {
                0.9
                ** 4: "Right. 0.9⁴ = 0.656: one step of the large batch forgets what four steps of the small one did.",
                0.9: "Then its half-life is still 6.6 steps, and a step now has four times as many examples: in examples "
                "the memory has become four times as long.",
                0.9**0.25: "Upside down: that makes the memory four times as long in steps, sixteen times in examples.",
                0.6: "1 − 4·0.1 is the first-order version of it, and not far off. The half-life asks for a power: 0.9⁴.",
                "other": "μ^h = ½ with h in steps. A step has four times as many examples, so h has to be a quarter: "
                "μ' = μ⁴.",
            },
            tolerance=0.01,
        ),
    ),
    _quiz(
        4,
        "Beyond the critical batch",
        Part(
            "examples over E_min",
            5.0,
            {
                5.0: "Right. 1 + B/B_crit = 5, for 1 + 1/4 = 1.25 times the fewest steps.",
                1.25: "That is the number of steps over S_min. Examples pay for it: 1 + B/B_crit.",
                4.0: "The 1 is missing in 1 + B/B_crit.",
                2.0: "That is at B = B_crit, where both numbers are twice their minimum.",
                "other": "Equation (8.11) with B = 4·B_crit.",
            },
            tolerance=0.01,
        ),
        Part(
            "late in training B_simple",
            "grows",
            {
                "grows": "Right. The gradient shrinks on the way down while the noise of single examples stays: tr Σ/|G|² "
                "grows. A batch size that wastes examples early can be right later, and a B_crit is one of a loss level.",
                "shrinks": "Look at (8.9): towards a minimum the gradient shrinks faster than the noise.",
                "stays": "Both tr Σ and |G|² change during training, and not alike.",
            },
        ),
        difficulty=2,
    ),
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
)
