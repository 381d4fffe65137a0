"""Every notebook of the course through the engine: its own solutions earn everything, an untouched release nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from autograder.exercise import REGISTRY
from autograder.manifest import manifest
from autograder.publish.demo import Course
from autograder.publish.sample_class import source_solutions, submission

pytestmark = [pytest.mark.xdist_group("engine"), pytest.mark.sandbox]

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", [notebook.name for notebook in manifest().notebooks])
def test_solutions_earn_everything_and_a_release_nothing(name: str, tmp_path: Path) -> None:
    course = Course(ROOT, tmp_path / "course", name)
    course.start_over()
    course.release()
    path = course.folder / "release" / name / f"{name}.ipynb"
    release = nbformat.read(path, as_version=4)
    solved = submission(release.copy(), source_solutions(ROOT / "source" / name / f"{name}.ipynb"))
    for student, notebook in (("solved", solved), ("untouched", nbformat.read(path, as_version=4))):
        place = course.folder / "submitted" / student / name
        place.mkdir(parents=True)
        nbformat.write(notebook, place / f"{name}.ipynb")
    command = [sys.executable, "-m", "autograder", "grade", name, "--course", str(course.folder), "--json"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr
    graded = {one["student"]: one for line in out.stdout.splitlines() if (one := json.loads(line))["event"] == "graded"}
    due = {one.id: one.points for one in REGISTRY.values() if one.notebook == name and one.kind != "written"}
    assert graded["solved"]["marks"] == due
    assert graded["untouched"]["marks"] == dict.fromkeys(due, 0.0)
    assert graded["solved"]["notes"] == graded["untouched"]["notes"] == []
    assert graded["solved"]["flags"] == []
