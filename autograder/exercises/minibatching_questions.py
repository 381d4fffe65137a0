"""The questions and the derivations of `01_minibatching`."""

from __future__ import annotations

import math
import random
from functools import partial

from autograder.exercise import Part, Varied, WrittenExercise, quiz

NOTEBOOK = "01_minibatching"

_quiz = partial(quiz, NOTEBOOK, "minibatch", points=0.5)

POPULATION = _quiz(
    1,
    "An estimate of an estimate",
    Part(
        "what the full gradient is",
        "c",
        {
            "a": "It is exact for the training set. But the training set is a sample itself: other data would have given "
            "another gradient.",
            "b": "Mean over a finite set, mean over the population: the formulas look alike, the numbers differ. The "
            "expectation over P is what is estimated.",
            "c": "Right. The full gradient is a mean over N draws from P. It estimates the expectation over P, with an "
            "error of its own of about σ/√N.",
            "d": "It is the other way round: minibatches, drawn at random, estimate the full gradient without bias.",
        },
    ),
)

RATES = _quiz(
    2,
    "A learning rate by its curve",
    Part(
        "curve A",
        "too high",
        {
            "too high": "Right. Jumping far above its start, or growing without end, is the mark of steps that overshoot.",
            "too low": "With an lr that is too low the loss falls, slowly and smoothly. It does not grow.",
            "about right": "A training loss that jumps to ten times its start does not come from a good lr.",
        },
    ),
    Part(
        "curve B",
        "too low",
        {
            "too high": "An lr that is too high shows early: the loss jumps, or levels off in noise. This one still falls on a "
            "straight line.",
            "too low": "Right. It falls steadily and is far from flat when the budget is used up: larger steps would have "
            "brought it further.",
            "about right": "It is still falling as fast as at the start when the budget is used up.",
        },
    ),
)


def _halved(small: int, large: int) -> tuple[Part, Part]:
    """Four times the batch, once from a small one and once from a large one."""
    first = Part(
        "from 1",
        4.0 * small,
        {
            4.0 * small: "Right. The error goes with 1/√B: half the error, four times the batch.",
            2.0 * small: "Twice the batch divides the error by √2 = 1.41 only.",
            "other": f"The standard error is σ/√B. Solve σ/√B = ½·σ/√{small}.",
        },
        tolerance=0.001,
    )
    second = Part(
        "from 100",
        4.0 * large,
        {
            4.0
            * large: f"Right: {3 * large} more examples in every step, for what {3 * small} more bought at the start.",
            2.0 * large: "Twice the batch divides the error by √2 = 1.41 only.",
            4.0 + large: "It is a factor of four, not four more.",
            "other": f"The standard error is σ/√B. Solve σ/√B = ½·σ/√{large}.",
        },
        tolerance=0.001,
    )
    return first, second


def _vary_halved(dice: random.Random) -> Varied:
    small, large = dice.choice((2, 3, 5, 8)), dice.choice((60, 80, 120, 150, 200))
    text = {"From a batch of 1,": f"From a batch of {small},", "batch of\n100?": f"batch of\n{large}?"}
    return Varied(_halved(small, large), text)


HALVED = _quiz(
    3,
    "Half the error",
    *_halved(1, 100),
    vary=_vary_halved,
)

FIXED_RATE = _quiz(
    4,
    "When a fixed lr converges",
    Part(
        "no noise ball",
        "b",
        {
            "a": "However small, a fixed lr leaves a ball of variance ησ²/(2h), about: smaller, and not a point.",
            "b": "Right. Then every minibatch's gradient is 0 at w* as well: σ² = 0 there, and so is the ball. Networks that "
            "fit every training example are close to this.",
            "c": "Shuffled epochs make the ball smaller, since an epoch's noise nearly cancels. It does not vanish.",
            "d": "Larger batches divide σ² by B; only B = N makes it 0, and that is gradient descent.",
        },
    ),
)

SCHEDULES = _quiz(
    5,
    "Which satisfy both conditions?",
    *(
        Part(name, key, {"yes": yes, "no": no})
        for name, key, yes, no in (
            (
                "1/t",
                "yes",
                "Right. Σ1/t grows without end, as log t, and Σ1/t² = π²/6.",
                "Σ1/t grows without end, though slowly, and Σ1/t² = π²/6: both conditions hold.",
            ),
            (
                "1/t²",
                "no",
                "Σ1/t² = π²/6 is finite: all steps together reach no further than that, wherever the minimum is.",
                "Right. Σ1/t² is finite, so the steps may end before they arrive.",
            ),
            (
                "t^−0.6",
                "yes",
                "Right. The exponent lies between ½ and 1: Σt^−0.6 diverges, Σt^−1.2 converges.",
                "Both hold: 0.6 ≤ 1, so the sum diverges, and 2·0.6 > 1, so the sum of squares converges.",
            ),
            (
                "t^−0.4",
                "no",
                "The squares are t^−0.8, and their sum diverges. The conditions are sufficient, not necessary: on the "
                "parabola of section 9 this one gets closer and closer, only slowly, without their guarantee.",
                "Right. Σt^−0.8 diverges: the exponent has to be above ½. The conditions are sufficient, not necessary: "
                "on the parabola of section 9 this one gets closer and closer all the same, only slowly.",
            ),
            (
                "constant 0.01",
                "no",
                "The squares add up to infinity: a constant lr leaves a noise ball.",
                "Right. Σα² is infinite; that is the noise ball of section 8.",
            ),
        )
    ),
    difficulty=2,
)

SIZES = _quiz(
    6,
    "Too small, too large",
    Part(
        "what a very large batch costs",
        "b",
        {
            "a": "More examples make the gradient less noisy, not more.",
            "b": "Right. The error falls only as 1/√B while the work grows as B; with a fixed number of examples that leaves "
            "few steps.",
            "c": "The mean is unbiased at every batch size; that is section 3.",
            "d": "That is what happens with very small batches: the machine is never filled.",
        },
    ),
)

STUCK = _quiz(
    7,
    "The perceptron that never starts",
    Part(
        "from w = 0",
        "d",
        {
            "a": "At w = 0 no example is on either side: every margin is 0.",
            "b": "A smaller or larger lr multiplies a gradient that is exactly 0.",
            "c": "Shuffling changes which examples come first. All of them have margin 0.",
            "d": "Right. All margins are 0, and the subgradient there was chosen as 0. Rosenblatt's rule counts margin 0 as "
            "wrong, and so gets away; a small random start does as well.",
        },
    ),
)

COST = _quiz(
    8,
    "Is 2 twice 1?",
    Part(
        "cost of an update",
        "false",
        {
            "true": "Look at your own curve: from 1 to 2 the time hardly changes. Launching operations and updating the "
            "weights cost the same for every batch size.",
            "false": "Right. There is a fixed part (launches, the update itself), and parallel hardware does several "
            "examples at once: the time grows in proportion only when the machine is full.",
        },
    ),
)


def _summed_or_meant(batch: int, rest: int, lr: float) -> tuple[Part, Part]:
    """The lr that takes the place of a sum's, and what it does to a short last minibatch."""
    same = Part(
        "lr for the mean",
        lr * batch,
        {
            lr * batch: f"Right. The sum of {batch} gradients is {batch} times their mean.",
            lr: f"Sum and mean point the same way, but the sum is {batch} times as long.",
            lr / batch: "Upside down: the mean is the shorter one, so it takes the larger lr.",
            "other": f"lr·(sum of {batch}) = lr·{batch}·(mean of {batch}).",
        },
        tolerance=0.01,
    )
    ratio = batch / rest
    last = Part(
        "the last minibatch",
        ratio,
        {
            ratio: f"Right: {lr * batch:g} times the mean of {rest}, beside {lr:g} times their sum. With the mean each of the "
            f"last {rest} examples pulls {ratio:g} times as hard as the others, for this one step. That is one reason for "
            "drop_last.",
            1.0: f"The lr was made for {batch} examples: {lr:g}·{batch}. Times the mean of {rest} it is no longer {lr:g} times "
            "their sum.",
            1
            / ratio: f"Upside down: the paper's step gets shorter with the batch, as a sum of {rest}. Yours does not.",
            float(
                batch
            ): f"So the two lr compare. But the paper's sum is {rest} times the mean here, and that counts as well.",
            "other": f"Write both steps with the mean of the {rest}: {lr * batch:g}·mean, and {lr:g}·{rest}·mean.",
        },
        tolerance=0.01,
    )
    return same, last


def _vary_summed_or_meant(dice: random.Random) -> Varied:
    batch, rest = dice.choice(((40, 8), (48, 8), (60, 20), (64, 32), (80, 8)))
    lr = dice.choice((0.001, 0.003, 0.004, 0.005))
    text = {
        "minibatch of 32 examples": f"minibatch of {batch} examples",
        "`lr = 0.002`": f"`lr = {lr:g}`",
        "only 8 examples": f"only {rest} examples",
    }
    return Varied(_summed_or_meant(batch, rest, lr), text)


SUM_OR_MEAN = _quiz(
    9,
    "Somebody else's learning rate",
    *_summed_or_meant(32, 8, 0.002),
    points=1.0,
    minutes=3,
    vary=_vary_summed_or_meant,
)


def _never_used(n: int, batch: int) -> tuple[Part, Part]:
    """What drop_last leaves out of two epochs, on average."""
    rest = n % batch
    missed, share = rest**2 / n, rest / n
    new = Part(
        "a new order",
        missed,
        {
            missed: f"Right: an epoch leaves out {share:g} of the examples, and the next one {share:g} of these again.",
            float(rest): f"That is what one epoch leaves out. Nearly all of these {rest} are used in the other epoch.",
            2.0 * rest: "That adds up what the two epochs leave out. What one leaves out, the other is likely to use.",
            0.0: "A new order does not know what the last one has left out: some examples end up among the rest again.",
            "other": f"An example is left out of an epoch with probability {rest}/{n}, independently of the other epoch.",
        },
        tolerance=0.01,
    )
    kept = Part(
        "one order",
        float(rest),
        {
            float(rest): "Right: the same examples stand at the end in every epoch, however long training goes on.",
            missed: "So it is with a new order in each epoch. Here the same examples stand at the end both times.",
            2.0 * rest: "The second epoch leaves out the same ones, not others.",
            0.0: "What stands at the end of the order is left out, in both epochs.",
            "other": f"An epoch leaves out {n} mod {batch} examples. Which ones are they in the second epoch?",
        },
        tolerance=0.01,
    )
    return new, kept


def _vary_never_used(dice: random.Random) -> Varied:
    n, batch = dice.choice(((1000, 400), (2000, 600), (1500, 450), (500, 150), (600, 180), (400, 90)))
    return Varied(_never_used(n, batch), {"1000 examples, minibatches of 300": f"{n} examples, minibatches of {batch}"})


DROPPED = _quiz(
    10,
    "What training never sees",
    *_never_used(1000, 300),
    points=1.0,
    minutes=3,
    vary=_vary_never_used,
)


def _perplexity(sizes: tuple[int, int], losses: tuple[float, float]) -> Part:
    (m, n), (a, b) = sizes, losses
    mean = (m * a + n * b) / (m + n)
    return Part(
        "perplexity",
        math.exp(mean),
        {
            math.exp(mean): "Right: (1.5) first, with the tokens as weights, and the exponential once, at the end.",
            (m * math.exp(a) + n * math.exp(b))
            / (m + n): "The weights are right, but the exponential came first. It bends "
            "the other way from the root: perplexities of batches average to more than the perplexity.",
            math.exp((a + b) / 2): f"That is the plain mean of the losses: {m} tokens do not weigh as much as {n}.",
            (math.exp(a) + math.exp(b))
            / 2: "Two things at once: the batches have different sizes, and the exponential has "
            "to come after the mean.",
            mean: "That is the mean loss. The perplexity is its exponential.",
            "other": f"Mean loss of all tokens first, ({m}·{a:g} + {n}·{b:g})/{m + n}, then the exponential.",
        },
        tolerance=0.01,
    )


def _vary_perplexity(dice: random.Random) -> Varied:
    sizes = dice.choice(((200, 600), (50, 200), (100, 400), (60, 240)))
    losses = dice.choice(((3.0, 1.0), (3.5, 1.5), (5.0, 3.0), (4.5, 2.5)))
    old, new = zip((100, 300), (4.0, 2.0), strict=True), zip(sizes, losses, strict=True)
    text = {
        f"{m} tokens with mean loss {a:g}": f"{n} tokens with mean loss {b:g}"
        for (m, a), (n, b) in zip(old, new, strict=True)
    }
    return Varied((_perplexity(sizes, losses),), text)


PERPLEXITY = _quiz(
    11,
    "Perplexity from batches",
    _perplexity((100, 300), (4.0, 2.0)),
    points=1.0,
    minutes=3,
    vary=_vary_perplexity,
)


def _every_label(parts: int) -> Part:
    """One image in `parts` is an eight; every label meets every image."""
    p = 1 / parts
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    return Part(
        "where the loss stops",
        entropy,
        {
            entropy: "Right: the entropy of the labels. Every label meets every image, so the best output is the same for "
            "all images. A loss that settles there (at 0.69 for two equally frequent classes, 2.30 for ten) says that the "
            "model sees no link between inputs and labels. Images and labels that were shuffled apart look the same.",
            0.0: "There it would go on separable data if each image met its own label only. Work out the shape of y * (X @ w).",
            math.log(
                2
            ): "That is the loss at w = 0. The constant input can do better: it tells all images alike that a "
            "one is more likely.",
            entropy / math.log(2): "The right number in bits. softplus has the natural logarithm: nats.",
            -math.log(1 - p): "That is the loss of the ones alone, at their best output. The eights pay more.",
            "other": f"y * (X @ w) is an (N, N) table: every image meets all labels, 1/{parts} of which are eights. Which "
            "probability should every image get, and what is the mean loss then?",
        },
        tolerance=0.01,
    )


def _vary_every_label(dice: random.Random) -> Varied:
    word, parts = dice.choice((("third", 3), ("fifth", 5), ("sixth", 6), ("eighth", 8), ("tenth", 10)))
    return Varied((_every_label(parts),), {"Every fourth image": f"Every {word} image"})


EVERY_LABEL = _quiz(
    12,
    "A column of labels",
    _every_label(4),
    points=1.0,
    minutes=4,
    difficulty=2,
    vary=_vary_every_label,
)

UNBIASED_PROOF = WrittenExercise(
    "minibatch.w1",
    "Why a minibatch is right on average",
    "written",
    NOTEBOOK,
    {"derivation": 2.0},
    difficulty=2,
    minutes=10,
)
TRAJECTORY = WrittenExercise(
    "minibatch.w2",
    "On average, gradient descent?",
    "written",
    NOTEBOOK,
    {"argument": 3.0},
    difficulty=3,
    minutes=20,
)
