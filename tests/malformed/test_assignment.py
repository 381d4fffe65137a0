"""Reading the release: what each cell is for, and one clear line when the release is broken."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handed_in import NAME, Cells, cell

from autograder.exercise import REGISTRY
from autograder.grading.assignment import Assignment, header_of, read_assignment
from autograder.manifest import manifest


def test_exercises_stand_in_the_order_of_the_notebook_with_all_points(assignment: Assignment) -> None:
    of_notebook = [exercise.id for exercise in REGISTRY.values() if exercise.notebook == NAME]
    assert sorted(exercise.id for exercise in assignment.exercises) == sorted(of_notebook)
    assert sum(exercise.points for exercise in assignment.exercises) == manifest().notebook(NAME).points
    order = [one.exercise_id for one in assignment.cells if one.kind in ("check", "written")]
    assert order == [exercise.id for exercise in assignment.exercises]


def test_every_cell_has_the_kind_its_marks_say(assignment: Assignment) -> None:
    for planned, one in zip(assignment.cells, assignment.notebook.cells, strict=True):
        assert (planned.id, planned.source) == (one.id, one.source)
        marks, tags = one.metadata.get("nbgrader", {}), one.metadata.get("tags", [])
        assert (planned.kind == "solution") == (marks.get("solution", False) and not marks["grade"])
        assert (planned.kind == "check") == (marks.get("grade", False) and not marks["solution"])
        assert (planned.kind == "demo") == bool({"demo", "explore"} & set(tags))
        assert (planned.kind == "setup") == ("setup" in tags)
    kinds = Counter(planned.kind for planned in assignment.cells)
    assert kinds["solution"] == kinds["check"] == len(assignment.exercises) - kinds["written"]
    assert kinds["written"] == 1


def test_every_release_can_be_read(root: Path) -> None:
    for path in sorted((root / "release").glob("*/*.ipynb")):
        assert read_assignment(root / "release", path.stem).exercises


@pytest.fixture
def release(root: Path, tmp_path: Path) -> Callable[[Callable[[Cells], Any]], Path]:
    """A release folder whose notebook went through a change."""

    def make(change: Callable[[Cells], Any]) -> Path:
        notebook = json.loads((root / "release" / NAME / f"{NAME}.ipynb").read_text())
        change(notebook["cells"])
        (tmp_path / NAME).mkdir()
        (tmp_path / NAME / f"{NAME}.ipynb").write_text(json.dumps(notebook))
        return tmp_path

    return make


def _marks(cells: Cells, cell_id: str, **values: Any) -> None:
    cell(cells, cell_id)["metadata"]["nbgrader"].update(values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda cells: _marks(cells, "adam-q1", grade_id="adam-q99"), "check cell 'adam-q99' has no exercise"),
        (lambda cells: cells.append(cell(cells, "title")), "cell ids are missing or repeated"),
        (lambda cells: cells[3].pop("id"), "cell ids are missing or repeated"),
        (lambda cells: _marks(cells, "adam-q1", grade_id="adam-q2"), "grade id 'adam-q2' occurs 2 times"),
        (
            lambda cells: cell(cells, "adam-q1-solution").update(source="q1 = 1"),
            "does not start with `# exercise <id>`",
        ),
        (lambda cells: _marks(cells, "adam-w1", task=True), "is an nbgrader task"),
        (lambda cells: cells.__setitem__(slice(None), cells[:2]), "nothing to grade"),
        (lambda cells: cells[0].pop("cell_type"), "not a valid notebook"),
    ],
)
def test_a_broken_release_is_one_clear_line(
    release: Callable[[Callable[[Cells], Any]], Path], change: Callable[[Cells], Any], says: str
) -> None:
    with pytest.raises(ValueError, match=NAME) as caught:
        read_assignment(release(change), NAME)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_release_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist: run `autograder build`"):
        read_assignment(tmp_path, NAME)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda cells: cell(cells, "imports").update(source="import torch"), False),
        (lambda cells: cell(cells, "units").update(id="unit"), False),
        (lambda cells: _marks(cells, "adam-q1", points=2), False),
        (lambda cells: cell(cells, "units")["metadata"].update(tags=[]), False),
        (lambda cells: cell(cells, "units")["metadata"].update(collapsed=True), True),
        (lambda cells: _marks(cells, "adam-q1", checksum="0"), True),
    ],
)
def test_the_digest_changes_with_what_grading_depends_on(
    release: Callable[[Callable[[Cells], Any]], Path],
    assignment: Assignment,
    change: Callable[[Cells], Any],
    same: bool,
) -> None:
    assert (read_assignment(release(change), NAME).digest == assignment.digest) is same


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# exercise adam.step\nx = 1", "adam.step"),
        ("\n  #exercise   adam.step  \n", "adam.step"),
        ("\n  # exercise   adam.step  \n", "adam.step"),
        ("%%time\n# my try\n# exercise adam.step", "adam.step"),
        ("x = 1\n# exercise adam.step", ""),
        ("# exercise adam.step and more", ""),
        ("# exercise", ""),
        ("", ""),
        ("#\n" * 100 + "# exercise adam.step", ""),
    ],
)
def test_the_first_line_names_the_exercise(source: str, expected: str) -> None:
    assert header_of(source) == expected
