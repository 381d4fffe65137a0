"""How long does a student wait? Checks, import, the graded part of the Adam notebook, a redraw of an explorer.

Run: python benchmarks/checks.py
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["AUTOGRADER_STATE"] = str(Path(tempfile.mkdtemp()) / "state.json")

import matplotlib

matplotlib.use("agg")

import torch
from _common import save

from autograder import check
from autograder.audit import answers, code_exercises
from autograder.exercise import REGISTRY, CodeExercise, QuizExercise
from autograder.manifest import manifest
from autograder.publish.sample_class import source_solutions
from utils import plotting, widgets

ROOT = Path(__file__).resolve().parent.parent


def silently(call: Callable[[], Any]) -> float:
    """Seconds of one call, its output thrown away."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        call()
    return time.perf_counter() - start


def passing_checks() -> dict[str, float]:
    """Exercise → median seconds of a passing check after the first."""
    found = {}
    for exercise in code_exercises():
        objects = next(iter(answers(exercise, "ACCEPTED").values()))
        if exercise.id == "adam.adam":
            objects = answers(exercise, "ACCEPTED")["torch's state names"]
        silently(lambda e=exercise, o=objects: check(e.id, *o))
        found[exercise.id] = statistics.median(
            silently(lambda e=exercise, o=objects: check(e.id, *o)) for _ in range(15)
        )
    return found


def student_side_import() -> float:
    """Median seconds of importing all that a notebook imports, registry included, beyond torch and matplotlib."""
    code = (
        "import time, torch, matplotlib; start = time.perf_counter()\n"
        "from autograder import check, done, hint, material, progress\n"
        "from autograder.exercise import REGISTRY; len(REGISTRY); print(time.perf_counter() - start)"
    )
    return statistics.median(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(7))


def graded_part(notebook: str) -> float:
    """Median CPU seconds of a notebook's solutions and checks, visible and hidden, in a warm process."""
    solutions = source_solutions(ROOT / "source" / notebook / f"{notebook}.ipynb")
    exercises = [e for e in REGISTRY.values() if e.notebook == notebook and isinstance(e, (CodeExercise, QuizExercise))]

    def run() -> None:
        names: dict[str, Any] = {"torch": torch}
        for exercise in exercises:
            exec(solutions[exercise.id], names)
            check(exercise.id, *(names[name] for name in exercise.objects), cases="hidden")

    silently(run)
    times = []
    for _ in range(5):
        start = time.process_time()
        silently(run)
        times.append(time.process_time() - start)
    return statistics.median(times)


def redraw() -> float:
    """Median seconds from a slider's new value to the new picture."""
    plotting.style()
    fig, (ax,) = plotting.panels("explorer", width=5.0, height=3.8)
    plotting.quadratic_contours(ax, torch.eye(2).numpy(), torch.zeros(2).numpy(), (-2, 2, -2, 2))
    (line,) = ax.plot([], [])
    times = []
    for i in range(9):
        start = time.perf_counter()
        line.set_data(range(60), [i * x for x in range(60)])
        widgets.picture(fig, "alt")
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    torch.set_num_threads(1)
    checks = passing_checks()
    for name, seconds in checks.items():
        print(f"{name:>22}: {seconds * 1e3:6.1f} ms")
    figures = {
        "passing_check_s": checks,
        "median_check_s": statistics.median(checks.values()),
        "worst_check_s": max(checks.values()),
        "student_side_import_s": student_side_import(),
        **{f"graded part of {one.name}, CPU s": graded_part(one.name) for one in manifest().notebooks},
        "explorer_redraw_s": redraw(),
    }
    for name, value in figures.items():
        if isinstance(value, float):
            print(f"{name:>22}: {value * 1e3:6.1f} ms")
    print(f"saved {save('checks', figures)}")


if __name__ == "__main__":
    main()
