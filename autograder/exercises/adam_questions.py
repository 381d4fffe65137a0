"""The questions and the derivation of `05_adam_adamw`."""

from __future__ import annotations

import random
from functools import partial

from autograder.exercise import Part, QuizExercise, Varied, WrittenExercise, quiz
from autograder.exercises.adam_knobs import KNOBS, knob_order, knob_runs

NOTEBOOK = "05_adam_adamw"

_KNOB_FEEDBACK = {
    "lr": "it sets the length of every step: all runs head the same way, and the long-stepped ones are further along "
    "after the same number of steps.",
    "beta1": "β₁ is the memory of the direction: with a long one the path is smooth, overshoots and swings back.",
    "beta2": "β₂ is the memory of the scale: with a short one the steps stay near lr even at the minimum, and with a long "
    "one the large gradients of the start keep later steps short.",
    "weight_decay": "it pulls towards 0: the runs settle in different places, further from the minimum the "
    "stronger it is.",
}


def _knob_parts(seed: int) -> tuple[Part, ...]:
    parts = []
    for letter, key in zip("ABCD", knob_order(seed), strict=True):
        feedback: dict[str | float, str] = {
            knob: f"Not {knob}: {_KNOB_FEEDBACK[knob]} Plot {letter} varies {key}: {_KNOB_FEEDBACK[key]}"
            for knob in KNOBS
        }
        feedback[key] = f"Right: {_KNOB_FEEDBACK[key]}"
        parts.append(Part(f"plot {letter}", key, feedback))
    return tuple(parts)


def _vary_knobs(dice: random.Random) -> Varied:
    seed = dice.randrange(2**32)
    return Varied(_knob_parts(seed), material=lambda: knob_runs(seed))


_KNOB_GROUPS = {f"plot {letter}": 0.75 for letter in "ABCD"}
_KNOB_SEED = 2

WHICH_KNOB = QuizExercise(
    "adam.which_knob",
    "Which knob was turned?",
    "quiz",
    NOTEBOOK,
    _KNOB_GROUPS,
    difficulty=2,
    minutes=10,
    objects=("which_knob",),
    parts=_knob_parts(_KNOB_SEED),
    material=lambda: knob_runs(_KNOB_SEED),
    vary=_vary_knobs,
    hints=(
        "Ask of each plot: do the runs end in different places, or do they only get there differently?",
        "A different end: something pulls away from the minimum. The same way at another speed: the length of a step. One "
        "path jagged and another one smooth and swinging far: memory of the direction. Paths that are alike until they are "
        "near the minimum: memory of the scale.",
        "weight_decay moves the end, and lr the distance covered. Of the two that are left, β₁ makes its highest value swing "
        "furthest past the minimum, and its lowest jagged from the start.",
    ),
)


_quiz = partial(quiz, NOTEBOOK, "adam")


def _first_step(lr: float, g: float) -> Part:
    return Part(
        "length of the first step",
        lr,
        {
            lr: "Right. m̂₁ = g and √v̂₁ = |g|, so the first step is lr·sign(g), whatever the gradient's size.",
            lr * g: "That is lr·g, the step of SGD. Adam divides by √v̂, which is |g| in the first step.",
            lr * 0.1 / 0.001**0.5: "That is the step without bias correction: lr·(1 − β₁)/√(1 − β₂). Corrected, both "
            "factors go away.",
            lr * 0.1: "That is lr·(1 − β₁): only v was corrected. m̂₁ = m₁/(1 − β₁) = g.",
            lr / 0.001**0.5: "That is lr/√(1 − β₂): only m was corrected. v̂₁ = v₁/(1 − β₂) = g².",
            -lr: "The length of a step is positive; its size is right.",
            "other": "Put g₁ into equations (5.1) to (5.4) with t = 1: the factors 1 − β₁ and 1 − β₂ cancel, and so "
            "does the size of g.",
        },
        tolerance=0.01,
    )


def _vary_first_step(dice: random.Random) -> Varied:
    lr, g = dice.choice((0.002, 0.003, 0.004, 0.006)), dice.choice((40, 70, 120, 180, 350, 600))
    return Varied((_first_step(lr, g),), {"$g_1 = 250$": f"$g_1 = {g}$", "`lr = 0.001`": f"`lr = {lr:g}`"})


def _launching(launch: int, compute: int, saved: int) -> tuple[Part, Part]:
    """Milliseconds of a training step whose launching runs ahead of the GPU, before and after some launches are saved."""
    before = Part(
        "before",
        float(launch),
        {
            float(launch): f"Right: the GPU is always done with what it has, and waits for the next launch. "
            f"{launch - compute} of {launch} ms it does nothing.",
            float(
                launch + compute
            ): "Launching is asynchronous: while the GPU computes, Python launches what comes next. The "
            "times do not add up.",
            float(compute): f"The GPU computes for {compute} ms, but it gets its work over {launch} ms.",
            "other": "Python and GPU work side by side. Who is done last?",
        },
        tolerance=0.01,
    )
    after = Part(
        "after",
        float(compute),
        {
            float(
                compute
            ): f"Right: launching takes {launch - saved} ms now, and it is the GPU that is late. Fewer launches do "
            "not help any more; less work does, or a faster GPU.",
            float(launch - saved): f"So long Python takes to launch. The GPU still has {compute} ms to compute.",
            float(launch + compute - saved): "The times do not add up: Python and GPU work side by side.",
            float(launch): "Python is done earlier now, and it was Python that held things up.",
            "other": f"Launching takes {launch} − {saved} ms now, computing {compute} ms as before, side by side.",
        },
        tolerance=0.01,
    )
    return before, after


def _vary_launching(dice: random.Random) -> Varied:
    launch, compute, saved = dice.choice(((20, 9, 15), (16, 6, 12), (30, 11, 22), (15, 8, 11), (24, 10, 18)))
    text = {
        "Python needs 12 ms": f"Python needs {launch} ms",
        "the GPU 7 ms": f"the GPU {compute} ms",
        "saves 8 ms": f"saves {saved} ms",
    }
    return Varied(_launching(launch, compute, saved), text)


def _resumed(weight: int, step: float, steps: int) -> tuple[Part, Part]:
    """What a bf16 weight reads after a resumed run, with the master kept in float32 and with a master cast to bf16."""
    moved = float(weight + step * steps)
    kept = Part(
        "A, with its own load_state_dict",
        moved,
        {
            moved: "Right: the master is float32 and takes up every update; the parameter follows in steps of its own.",
            float(weight): "So it would be without a float32 master. A has one, and it takes up every update.",
            "other": f"The master starts at {weight} and takes up {steps} updates of {step:g}.",
        },
        tolerance=0.01,
    )
    cast = Part(
        "B, with torch's load_state_dict",
        float(weight),
        {
            float(
                weight
            ): "Right: torch has cast the master to bf16. It is updated in place, so it stays bf16, and there "
            f"{weight} + {step:g} is {weight}: updates are below half the distance to the next number. No error tells.",
            moved: f"One rounding would do no harm: {weight} is exact in bf16. But a tensor that is updated in place keeps its "
            "dtype, and all later updates are rounded as well.",
            "other": f"Which dtype has the master at B after loading, and what is {weight} + {step:g} in it?",
        },
        tolerance=0.01,
    )
    return kept, cast


def _vary_resumed(dice: random.Random) -> Varied:
    weight, step, steps = dice.choice(((2, 0.005, 400), (4, 0.01, 400), (8, 0.02, 300), (16, 0.05, 200)))
    text = {
        "are exactly 1,": f"are exactly {weight},",
        "next 1000 updates": f"next {steps} updates",
        "adds 0.002": f"adds {step:g}",
    }
    return Varied(_resumed(weight, step, steps), text)


def _reach(way: int, steps: int) -> Part:
    """The starting lr with which a weight gets as far as `way` while lr falls linearly to 0."""
    needed = 2 * way / steps
    return Part(
        "the starting lr",
        needed,
        {
            needed: f"Right: the steps add up to lr·{steps}/2. The lr is a length: which one is right depends on how far the "
            "weights have to go, and in how many steps. No default knows that.",
            way
            / steps: f"That is for a constant lr. Falling linearly, the steps are half as long on average: they add up to "
            f"{way / 2:g}.",
            way / steps / 2: "The wrong way round: steps that are half as long on average need a larger start.",
            "other": f"A steady gradient makes steps of the length lr. They add up to lr·{steps}/2.",
        },
        tolerance=0.01,
    )


def _vary_reach(dice: random.Random) -> Varied:
    way, steps = dice.choice((3, 4, 5, 8)), dice.choice((200, 500, 800, 1000))
    return Varied((_reach(way, steps),), {"from 0 to 6": f"from 0 to {way}", "takes 400 steps": f"takes {steps} steps"})


QUIZZES = (
    _quiz(
        1,
        "The very first step",
        _first_step(lr=0.001, g=250),
        vary=_vary_first_step,
    ),
    _quiz(
        2,
        "Who shares what",
        Part(
            "what happens to B",
            "b",
            {
                "a": "B's own averages are still 0 at its first gradient; with t = 10 001 they are not corrected any more, so "
                "m̂ and v̂ are too small by 1 − β₁ and 1 − β₂, and the step is lr·(1 − β₁)/√(1 − β₂).",
                "b": "Right. With t = 10 001 in place of 1 both corrections are 1: the first step is "
                "lr·(1 − β₁)/√(1 − β₂) = 3.16 lr.",
                "c": "Too long, not too short: √v̂ is too small by more (√(1 − β₂) = 0.03) than m̂ is (1 − β₁ = 0.1).",
                "d": "v is not 0 after the first gradient: it is (1 − β₂)·g².",
            },
        ),
        difficulty=2,
    ),
    _quiz(
        3,
        "Where the two forms agree",
        Part(
            "pairs that coincide",
            "a",
            {
                "a": "Right. Without momentum and without a divisor, lr·(g + wd·w) is lr·g + lr·wd·w, term by term.",
                "b": "Look at your own plot for momentum: with L2 the decay goes into the buffer and is still felt ten steps "
                "later; decoupled decay never enters it.",
                "c": "In Adam the L2 term is divided by √v̂ with the rest of the gradient. Your plot shows how far "
                "apart the two end.",
                "d": "They do coincide for plain SGD: lr·(g + wd·w) = lr·g + lr·wd·w.",
            },
        ),
    ),
    _quiz(
        4,
        "A prior in disguise?",
        Part(
            "what AdamW's decay is",
            "c",
            {
                "a": "That holds for SGD. In AdamW the decay is not part of any gradient that m and v see, so no penalty on "
                "the loss produces it.",
                "b": "With L2 in Adam the penalty is divided by √v̂: weights with large gradients decay less than the prior "
                "asks. That is the other optimizer, and not its strength.",
                "c": "Right. The fixed point of AdamW is not the minimum of loss + (λ/2)‖w‖²; the ridge experiment above "
                "shows it.",
                "d": "They end far apart in the ridge experiment: one at ridge regression, the other at least squares.",
            },
        ),
    ),
    _quiz(
        5,
        "Decay under a schedule",
        Part(
            "decay per step",
            "b",
            {
                "a": "torch multiplies by 1 − lr·weight_decay, and lr is the scheduled one.",
                "b": "Right. In torch the schedule scales the decay as well; half of lr is half of the decay per step.",
                "c": "lr enters once: 1 − lr·weight_decay.",
                "d": "The decay is not part of the gradient, so √v̂ does not touch it.",
            },
        ),
    ),
    _quiz(
        6,
        "What Adam costs in memory",
        Part(
            "bytes per parameter",
            16.0,
            {
                16.0: "Right. Weight, gradient, m and v: four float32 numbers.",
                8.0: "That is weight and gradient: plain SGD. Adam keeps m and v as well.",
                12.0: "One is missing: weight, gradient, m, v. The gradient lives until the next zero_grad.",
                4.0: "That is the weight alone.",
                20.0: "AMSGrad would be 20: a fifth number, the largest v. Plain Adam has four.",
                "other": "Count what lives between backward and step: weight, gradient, and Adam's two averages, 4 bytes "
                "each in float32.",
            },
            tolerance=0.001,
        ),
    ),
    _quiz(
        7,
        "What fewer launches bring",
        *_launching(12, 7, 8),
        vary=_vary_launching,
        difficulty=2,
        minutes=3,
    ),
    _quiz(
        8,
        "After the restart",
        *_resumed(1, 0.002, 1000),
        vary=_vary_resumed,
        difficulty=2,
        minutes=4,
    ),
    _quiz(
        9,
        "An lr is a length",
        _reach(6, 400),
        vary=_vary_reach,
        minutes=3,
    ),
)

BOUND = WrittenExercise(
    "adam.w1", "How long can a step of Adam be?", "written", NOTEBOOK, {"derivation": 3.0}, difficulty=3, minutes=20
)
