"""What two tests have another process gather evidence of: the visible cases of the notebook on Adam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autograder.answers import adam_adamw
from autograder.exercise import REGISTRY, CodeExercise
from autograder.verdict import visible_cases


def given_runs(root: Path) -> dict[str, Any]:
    """`runs`: (case, exercise id, name of an accepted answer), two answers each; where the answers' source lies."""
    runs = [
        (case, exercise.id, name)
        for exercise in REGISTRY.values()
        if isinstance(exercise, CodeExercise) and exercise.notebook == "05_adam_adamw"
        for case in visible_cases(exercise)
        for name in list(adam_adamw.ACCEPTED[exercise.id])[:2]
    ]
    assert len({exercise_id for _, exercise_id, _ in runs}) == 7
    path = root / "autograder" / "answers" / "adam_adamw.py"
    return {"runs": runs, "source": path.read_text(encoding="utf-8"), "path": str(path)}
