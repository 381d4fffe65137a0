"""The same class in real Jupyter kernels: equal marks, and an audit that stops before it records unequal ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from autograder.grading.engine import STORE
from autograder.grading.store import Store
from autograder.publish.light import NAME, expected_marks, make_light_course, submit_light
from autograder.publish.sample_class import Student

pytestmark = [pytest.mark.xdist_group("engine"), pytest.mark.sandbox]

COUNT = 8


@pytest.fixture(scope="module")
def course(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Student]]:
    folder = tmp_path_factory.mktemp("kernels")
    make_light_course(root, folder)
    return folder, submit_light(root, folder, COUNT)


def grade(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(folder), "--force", "--json"]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)


def marks(out: subprocess.CompletedProcess[str]) -> dict[str, dict[str, float]]:
    said = [json.loads(line) for line in out.stdout.splitlines()]
    return {one["student"]: one["marks"] for one in said if one["event"] == "graded"}


def hand_in(course: tuple[Path, dict[str, Student]], name: str, exercise: str, head: str) -> None:
    """The right answers of the class, with code before one of them."""
    folder, styles = course
    right = next(one for one, style in styles.items() if not style.id.startswith("no_") and all_right(style))
    notebook = nbformat.read(folder / "submitted" / right / NAME / f"{NAME}.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if cell.source.startswith(f"# exercise {exercise}"))
    first, rest = cell.source.split("\n", 1)
    cell.source = f"{first}\n{head.replace('REST', repr(rest))}\n{rest if 'REST' not in head else ''}"
    place = folder / "submitted" / name / NAME
    place.mkdir(parents=True)
    nbformat.write(notebook, place / f"{NAME}.ipynb")


def all_right(style: Student) -> bool:
    return sum(expected_marks(style).values()) == 16


def test_a_kernel_gives_the_marks_that_are_due(course: tuple[Path, dict[str, Student]]) -> None:
    folder, styles = course
    out = grade(folder, "--engine", "kernel", *sorted(styles))
    assert out.returncode == 0, out.stderr
    assert marks(out) == {name: expected_marks(style) for name, style in styles.items()}


def test_it_is_a_real_kernel_and_its_outputs_are_kept(course: tuple[Path, dict[str, Student]]) -> None:
    hand_in(
        course,
        "curious",
        "adam.step",
        "print(type(get_ipython()).__name__)\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])",
    )
    out = grade(course[0], "--engine", "kernel", "curious")
    assert marks(out)["curious"]["adam.step"] > 0
    with Store(course[0] / STORE) as store:
        result = store.latest(NAME, "curious")
    assert result is not None
    outputs = result.outputs["adam-step-solution"]
    assert outputs[0] == {"output_type": "stream", "name": "stdout", "text": "ZMQInteractiveShell\n"}
    assert "image/png" in outputs[-1]["data"]


def test_one_bad_cell_costs_one_exercise(course: tuple[Path, dict[str, Student]]) -> None:
    heads = {"exits": "import os; os._exit(3)", "asks": "input('a number? ')", "leaves": "raise SystemExit"}
    for name, head in heads.items():
        hand_in(course, name, "adam.adam", head)
    found = marks(grade(course[0], "--engine", "kernel", *heads))
    lost = {name: {exercise for exercise, points in found[name].items() if points == 0} for name in heads}
    assert lost == {name: {"adam.adam"} for name in heads}


def test_an_endless_cell_is_interrupted_in_a_kernel(course: tuple[Path, dict[str, Student]]) -> None:
    hand_in(course, "endless", "adam.adamw", "while True: pass")
    code = f"""
from pathlib import Path
from autograder.grading import engine
from autograder.grading.conduct import Settings
folder = Path({str(course[0])!r})
place = engine.Course(folder, f"sqlite:///{{folder / 'gradebook.db'}}", {NAME!r})
options = engine.Options(jobs=1, way="kernel", force=True, settings=Settings(cell_seconds=2))
import json
found = engine.grade_class(place, {NAME!r}, ["endless"], options)
print(json.dumps([(one.kind, one.result.marks() if one.result else None) for one in found]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    kinds: list[Any] = json.loads(out.stdout)
    assert [kind for kind, _ in kinds] == ["start", "again", "graded"]
    assert {exercise for exercise, points in kinds[-1][1].items() if points == 0} == {"adam.adamw"}


def test_an_audit_records_when_marks_are_equal(course: tuple[Path, dict[str, Student]]) -> None:
    out = grade(course[0], "--audit", "50%", "student000", "student002", "student003", "student005")
    assert out.returncode == 0, out.stderr
    kinds = [json.loads(line)["event"] for line in out.stdout.splitlines()]
    assert kinds == ["start", "audited", "graded", "audited", "graded", "graded", "graded"]


#: Right where the shell is a kernel's, and nowhere else: what an audit is for.
DEPENDS = "exec(REST if type(get_ipython()).__name__ == 'ZMQInteractiveShell' else 'adam_step = print')"


def test_an_audit_stops_before_it_records_unequal_marks(course: tuple[Path, dict[str, Student]]) -> None:
    hand_in(course, "depends", "adam.step", DEPENDS)
    out = grade(course[0], "--audit", "100%", "depends")
    assert out.returncode == 2
    assert "depends earns other marks in a Jupyter kernel (adam.step 0 and 3" in " ".join(out.stderr.split())
    with Store(course[0] / STORE) as store:
        assert store.latest(NAME, "depends") is None
    assert not (course[0] / "feedback" / "depends").exists()


@pytest.mark.parametrize("text", ["2", "two%", "-1%", "101%", ""])
def test_a_percentage_is_asked_for(course: tuple[Path, dict[str, Student]], text: str) -> None:
    out = grade(course[0], "--audit", text)
    assert out.returncode == 2
    assert "--audit takes a percentage such as 2%" in out.stderr
