"""Every notebook of the course: its own solutions earn everything, an untouched release nothing, however it is graded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autograder.exercise import REGISTRY
from autograder.manifest import manifest
from autograder.publish.demo import Course
from autograder.publish.sample_class import Student, source_solutions

pytestmark = [pytest.mark.xdist_group("engine"), pytest.mark.sandbox]

ROOT = Path(__file__).resolve().parents[2]

#: Converted by nbgrader's own engine too: the largest, threads as ranks, killed processes. For all notebooks
#: `tests/test_notebooks.py` runs the same cells in a kernel and looks at the same numbers.
PLAIN = ("01_minibatching", "08_large_batch_scaling", "09_capstone")


@pytest.fixture(scope="module", params=[notebook.name for notebook in manifest().notebooks])
def course(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A released notebook, with somebody's work who has solved it and somebody's who has not touched it."""
    course = Course(ROOT, tmp_path_factory.mktemp("every") / "course", request.param)
    course.start_over()
    course.release()
    course.submit(people(course))
    return course


def people(course: Course) -> list[Student]:
    solutions = source_solutions(ROOT / "source" / course.assignment / f"{course.assignment}.ipynb")
    full = {one.id: one.points for one in REGISTRY.values() if one.notebook == course.assignment}
    due = {name: points for name, points in full.items() if REGISTRY[name].kind != "written"}
    return [Student("solved", "", solutions, due), Student("untouched", "", {}, dict.fromkeys(due, 0.0))]


def test_in_the_engine(course: Course) -> None:
    command = [sys.executable, "-m", "autograder", "grade", course.assignment, "--course", str(course.folder), "--json"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr
    events: list[dict[str, Any]] = [json.loads(line) for line in out.stdout.splitlines()]
    graded = {one["student"]: one for one in events if one["event"] == "graded"}
    for student in people(course):
        assert graded[student.id]["marks"] == student.marks
        assert graded[student.id]["notes"] == []
    assert graded["solved"]["flags"] == []


def test_in_nbgrader_alone(course: Course) -> None:
    """After the engine, whose marks in the gradebook are written anew."""
    if course.assignment not in PLAIN:
        pytest.skip("its check cells run in tests/test_notebooks.py")
    for student in people(course):
        assert course.grade(student).marks == student.marks
