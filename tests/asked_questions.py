"""A question as one student has it: the text in the release and the number that is right, for tests that compare the two."""

from __future__ import annotations

from pathlib import Path

import nbformat

from autograder.exercise import REGISTRY, QuizExercise
from autograder.variants import varied, write_into

ROOT = Path(__file__).resolve().parents[1]


def asked(exercise_id: str, variant: int) -> tuple[str, float]:
    """(text, key) of a question that asks for one number."""
    exercise = varied(REGISTRY[exercise_id], variant)
    assert isinstance(exercise, QuizExercise)
    (part,) = exercise.parts
    release = ROOT / "release" / exercise.notebook / f"{exercise.notebook}.ipynb"
    notebook = nbformat.read(release, as_version=4)
    write_into(notebook, variant)
    (text,) = (cell.source for cell in notebook.cells if f"**Question `{exercise_id}`.**" in cell.source)
    return text, float(part.key)
