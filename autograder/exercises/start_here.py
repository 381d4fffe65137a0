"""The exercises of `00_start_here`: how a check reads, at no points."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograder.exercise import TOLERANCE, Case, CodeExercise, Exercise, Part, QuizExercise
from autograder.misconceptions import gradient_descent as bank
from autograder.misconceptions import recognise
from autograder.probes import generator, gradients, rounded, weights

NOTEBOOK = "00_start_here"
VISIBLE_SEED = 0


def _cases(rng: np.random.Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, shape: tuple[int, ...], dtype: str = "float64") -> Case:
        first = rounded(rng.uniform(0.05, 0.3))
        lrs = [first, first, rounded(first * 0.3), 1.0]
        stream = gradients(rng, [shape], steps=4)
        calls = [{"grad": step[0], "lr": lr} for step, lr in zip(stream, lrs, strict=True)]
        inputs: dict[str, Any] = {
            "name": "gd_step",
            "arguments": ["w", "grad", "lr"],
            "state": {"w": weights(rng, shape)},
            "calls": calls,
            "keep": ["grad"],
            "dtype": dtype,
        }
        return Case(name, "update", "function", inputs, tolerance=TOLERANCE[dtype], hidden=hidden)

    return case("four steps", (5,)), case("a matrix in float32", (2, 3), "float32")


GD_STEP = CodeExercise(
    "start.gd_step",
    "One step of gradient descent",
    "function",
    NOTEBOOK,
    {"update": 0.0},
    difficulty=1,
    minutes=5,
    objects=("gd_step",),
    visible=lambda: _cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _cases(generator(seed), hidden=True),
    reference=lambda: (bank.with_torch,),
    compares="w after every step with torch's SGD",
    misconceptions=recognise(bank.ROWS, bank.ROWS, lambda faults: (bank.step_function(faults),)),
    hints=(
        "The loss has to fall, and the gradient points to where it grows.",
        "Subtract lr times the gradient, from the tensor itself. In torch, methods whose name ends in an underscore "
        "change a tensor in place.",
        "w.sub_(lr * grad), or w -= lr * grad.",
    ),
)

QUIZ = QuizExercise(
    "start.q1",
    "How large is too large?",
    "quiz",
    NOTEBOOK,
    {"learning rate": 0.0},
    difficulty=1,
    minutes=3,
    objects=("q1",),
    parts=(
        Part(
            "learning rate",
            2.0,
            {
                2.0: "Right. |1 − η| = 1 at η = 2: the step lands exactly on the other side, and beyond that further out.",
                1.0: "At η = 1 the factor 1 − η is 0: the step lands on the minimum. It may be larger still.",
                "other": "The weight is multiplied by 1 − η. Its size stops shrinking where |1 − η| = 1, that is at η = 2.",
            },
            tolerance=0.01,
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (GD_STEP, QUIZ)
