"""Questions with other numbers for each student: other values, plots or order of the choices, and the key to match.

A variant is one number. Everything follows from it and the exercise alone, so that a notebook, a check and the grading
engine agree without telling each other more. `grading.secret.variant` makes the number from course key and student.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autograder.exercise import REGISTRY, Exercise, Part, QuizExercise, Varied

#: In a student's own notebook the setup cell puts the variant here.
ENVIRONMENT = "AUTOGRADER_VARIANT"
_LETTERS = "abcdef"
_CHOICE = re.compile(r"^- \*\*([a-f])\*\* ", re.MULTILINE)


def own(exercise: Exercise) -> Exercise:
    """The exercise as this notebook's student has it."""
    variant = os.environ.get(ENVIRONMENT, "")
    return varied(exercise, int(variant)) if variant.isdigit() else exercise


def varied(exercise: Exercise, variant: int | None) -> Exercise:
    """The exercise with the key, feedback and material of a variant; code is the same for everybody."""
    if variant is None or not isinstance(exercise, QuizExercise):
        return exercise
    dice = _dice(exercise, variant)
    if exercise.vary is not None:
        found: Varied = exercise.vary(dice)
        return replace(exercise, parts=found.parts, material=found.material or exercise.material)
    order = _order(exercise, dice)
    if not order:
        return exercise
    return replace(exercise, parts=tuple(_relabelled(part, order) for part in exercise.parts))


def write_into(notebook: Any, variant: int) -> None:
    """Put a variant's questions into a released or rebuilt notebook (nbformat 4), in place.

    Raises ValueError where a question's text does not hold what its variant changes.
    """
    cells = notebook["cells"]
    by_grade_id = {e.grade_id: e for e in REGISTRY.values() if isinstance(e, QuizExercise)}
    for place, cell in enumerate(cells):
        grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        exercise = by_grade_id.get(grade_id.removesuffix("-solution"))
        if exercise is not None and grade_id.endswith("-solution"):
            question = _question(cells[:place], exercise)
            question["source"] = _text(exercise, variant, question["source"])


def _dice(exercise: Exercise, variant: int) -> random.Random:
    return random.Random(f"{variant}|{exercise.id}|{exercise.version}")


def _question(before: list[Any], exercise: QuizExercise) -> Any:
    """The nearest cell of text above the answer that names the question."""
    for cell in reversed(before):
        if cell["cell_type"] == "markdown" and f"`{exercise.id}`" in cell["source"]:
            return cell
    raise ValueError(f"{exercise.id}: no cell above its answer asks the question")


def _text(exercise: QuizExercise, variant: int, source: str) -> str:
    dice = _dice(exercise, variant)
    if exercise.vary is None:
        order = _order(exercise, dice)
        return _reordered(source, order, exercise) if order else source
    for old, new in exercise.vary(dice).text.items():
        if source.count(old) != 1:
            raise ValueError(f"{exercise.id}: its text should hold {old!r} once, not {source.count(old)} times")
        source = source.replace(old, new)
    return source


# --- choices in another order ---------------------------------------------------------------------------------------


def _order(exercise: QuizExercise, dice: random.Random) -> dict[str, str]:
    """Old letter → new one; {} when the choices are no letters."""
    letters = sorted({str(option) for part in exercise.parts for option in part.feedback})
    if "".join(letters) != _LETTERS[: len(letters)]:
        return {}
    return dict(zip(letters, dice.sample(letters, len(letters)), strict=True))


def _relabelled(part: Part, order: Mapping[str, str]) -> Part:
    feedback: dict[str | float, str] = {order[str(old)]: text for old, text in part.feedback.items()}
    return replace(part, key=order[str(part.key)], feedback=dict(sorted(feedback.items())))


def _reordered(source: str, order: Mapping[str, str], exercise: QuizExercise) -> str:
    """The choices under their new letters, in alphabetical order; each may take several lines."""
    starts = [match.start() for match in _CHOICE.finditer(source)]
    blocks = [source[start:end] for start, end in zip(starts, [*starts[1:], len(source)], strict=True)]
    if [block[4] for block in blocks] != sorted(order):
        raise ValueError(f"{exercise.id}: its text should list the choices {', '.join(sorted(order))}")
    *whole, last = blocks
    last, _, rest = last.partition("\n\n")
    moved = {order[block[4]]: block[5:].rstrip() for block in (*whole, last)}
    listed = "\n".join(f"- **{letter}{moved[letter]}" for letter in sorted(moved))
    return source[: starts[0]] + listed + (f"\n\n{rest}" if rest else "")
