"""What the benchmarks share: a description of the machine, and one JSON file per script."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy
import torch

from autograder.exercise import CodeExercise
from autograder.grading.packing import pack
from autograder.verdict import hidden_cases, visible_cases
from autograder.worked import worked

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What a reader needs to judge a time."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def save(name: str, data: dict[str, Any]) -> Path:
    """Write results/<name>.json with the machine described."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **data}, indent=1, ensure_ascii=False) + "\n")
    return path


def made_of(exercise: CodeExercise) -> str:
    """A digest of the exercise's solution, answers and cases: what was measured with another one is stale."""
    cases = visible_cases(exercise) + hidden_cases(exercise, 1)
    rules = repr([(case.name, case.tolerance, case.limits, case.identical) for case in cases])
    answers = import_module(f"autograder.answers.{exercise.notebook[3:]}").__file__ or ""
    parts = (pack(cases), rules.encode(), worked(exercise).code.encode(), Path(answers).read_bytes())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def processor_seconds(*who: int) -> float:
    """What the processor has done for this process and for its children that have ended; or for `who` (resource.RUSAGE_*)."""
    used = [resource.getrusage(one) for one in who or (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Ledger:
    """Results by exercise, saved after each one: a long measurement that is stopped goes on where it was."""

    def __init__(self, name: str, **settings: Any) -> None:
        """`settings` belong to what is measured: results of other settings are not taken over."""
        self.name, self.settings, self.results = name, settings, dict[str, dict[str, Any]]()
        path = RESULTS / f"{name}.json"
        old = json.loads(path.read_text()) if path.exists() else {}
        if old.get("settings") == settings:
            self.results = old["exercises"]

    def has(self, exercise: CodeExercise) -> bool:
        return self.results.get(exercise.id, {}).get("made of") == made_of(exercise)

    def put(self, exercise: CodeExercise, **result: Any) -> None:
        self.results[exercise.id] = {"made of": made_of(exercise), **result}
        self.save()

    def save(self, **summary: Any) -> Path:
        return save(self.name, {"settings": self.settings, **summary, "exercises": self.results})
