"""Grade a course of hostile submissions with this engine and short limits; what came out is written as JSON.

Run: python tests/attacks/grade_hostile.py COURSE_FOLDER RESULT_FILE
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from autograder.grading import engine
from autograder.grading.conduct import Settings
from autograder.grading.results import as_json
from autograder.publish.light import NAME

#: Short, so that what never ends ends soon; the second try, alone, has twice the time.
SETTINGS = Settings(
    cell_seconds=2.5, exercise_seconds=2.5, submission_seconds=20.0, memory_mb=1000.0, grace_seconds=1.0
)


def grade(folder: Path, jobs: int = 2) -> dict[str, Any]:
    """Results by student, and the seconds that it took."""
    course = engine.Course(folder, f"sqlite:///{folder / 'gradebook.db'}", NAME)
    options = engine.Options(jobs=jobs, force=True, settings=SETTINGS)
    start, results, times = time.monotonic(), {}, {}
    for event in engine.grade_class(course, NAME, options=options):
        if event.kind == "graded" and event.result is not None:
            results[event.student] = as_json(event.result)
            times[event.student] = event.result.seconds
    return {"results": results, "times": times, "seconds": time.monotonic() - start}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(grade(Path(sys.argv[1]))), encoding="utf-8")
