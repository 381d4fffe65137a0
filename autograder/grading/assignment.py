"""What an assignment is for grading: the release's cells, what each is for, and the exercises with points.

Everything a mark depends on is read from here, never from a submission.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nbformat
from nbformat import NotebookNode

from autograder.exercise import REGISTRY, Exercise

CellKind = Literal["text", "setup", "given", "demo", "solution", "check", "written"]

#: The line that says whose solution a cell holds; students' tools may respace it.
_HEADER = re.compile(r"#[ \t]*exercise[ \t]+(\S+)")
#: Comments and magics may stand above that line, but not a whole cell of them.
_HEADER_WITHIN = 20


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """One cell of the release. `grade_id` and `exercise_id` are "" where there is none."""

    index: int
    id: str
    kind: CellKind
    grade_id: str
    exercise_id: str
    source: str

    @property
    def is_answer(self) -> bool:
        """Does the student fill it in?"""
        return self.kind in ("solution", "written")


@dataclass(frozen=True, eq=False)
class Assignment:
    """`notebook` is the release as it stands; `digest` (sha256, hex) changes with whatever grading depends on."""

    name: str
    notebook: NotebookNode
    digest: str
    cells: tuple[PlannedCell, ...]
    exercises: tuple[Exercise, ...]

    @property
    def solution_cells(self) -> dict[str, str]:
        """Grade id of a solution cell → id of its exercise."""
        return {cell.grade_id: cell.exercise_id for cell in self.cells if cell.kind == "solution"}


def header_of(source: str) -> str:
    """The id in a cell's `# exercise <id>` line, "" without one. Only comments and magics may stand above it."""
    for line in source.split("\n", _HEADER_WITHIN)[:_HEADER_WITHIN]:
        text = line.strip()
        if match := _HEADER.fullmatch(text):
            return match.group(1)
        if text and not text.startswith(("#", "%")):
            break
    return ""


def read_assignment(release_folder: Path, name: str) -> Assignment:
    """Read `<release_folder>/<name>/<name>.ipynb`.

    Raises ValueError with one line that says what is missing or broken, and where.
    """
    path = release_folder / name / f"{name}.ipynb"
    return assignment_from(_text(path), name, str(path))


def assignment_from(text: str, name: str, place: str = "the release") -> Assignment:
    """The assignment from the release notebook's JSON text. Raises ValueError as `read_assignment`; `place` is named in it."""
    notebook = _parsed(text, place)
    try:
        by_grade_id = {exercise.grade_id: exercise for exercise in REGISTRY.values()}
        cells = tuple(_planned(index, cell, by_grade_id) for index, cell in enumerate(notebook.cells))
        _check_unique("grade id", [cell.grade_id for cell in cells if cell.grade_id])
        _check_unique("solution of", [cell.exercise_id for cell in cells if cell.kind == "solution"])
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    exercises = tuple(REGISTRY[cell.exercise_id] for cell in cells if cell.kind in ("check", "written"))
    if not exercises:
        raise ValueError(f"{place}: there is no check cell, so there is nothing to grade")
    return Assignment(name, notebook, _digest(notebook, cells), cells, exercises)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: run `autograder build`") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): run `autograder build`") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a valid notebook ({error}): run `autograder build`") from None


def _parsed(text: str, place: str) -> NotebookNode:
    try:
        ids = [cell.get("id") for cell in json.loads(text)["cells"]]
        # nbformat would replace missing and repeated ids by random ones: marks have to rest on fixed ones
        if len(set(ids) - {None}) != len(ids):
            raise ValueError("cell ids are missing or repeated")
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises many kinds for a broken file
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{place} is not a valid notebook ({first_line}): run `autograder build`") from None
    return notebook


def _planned(index: int, cell: NotebookNode, by_grade_id: dict[str, Exercise]) -> PlannedCell:
    settings = cell.metadata.get("nbgrader") or {}
    kind = _kind(cell, settings)
    # nbgrader marks read-only cells as well; only cells that are filled in or graded are looked for by grade id
    grade_id = settings.get("grade_id", "") if kind in ("solution", "check", "written") else ""
    exercise_id = ""
    if kind == "solution":
        exercise_id = header_of(cell.source)
        if exercise_id not in REGISTRY:
            raise ValueError(f"solution cell {cell.id!r} does not start with `# exercise <id>` of a known exercise")
    elif grade_id:
        if grade_id not in by_grade_id:
            raise ValueError(
                f"check cell {grade_id!r} has no exercise: add it to autograder/exercises or remove the cell"
            )
        exercise_id = by_grade_id[grade_id].id
    return PlannedCell(index, cell.id, kind, grade_id, exercise_id, cell.source)


def _kind(cell: NotebookNode, settings: dict[str, Any]) -> CellKind:
    grade, solution = settings.get("grade", False), settings.get("solution", False)
    if settings.get("task"):
        raise ValueError(f"cell {cell.id!r} is an nbgrader task: make it a manually graded answer")
    if grade:
        return "written" if solution else "check"
    if cell.cell_type != "code":
        if solution:
            raise ValueError(f"cell {cell.id!r} is a text answer without points: make it a manually graded answer")
        return "text"
    tags = cell.metadata.get("tags", [])
    if solution:
        return "solution"
    if "setup" in tags:
        return "setup"
    return "demo" if "demo" in tags or "explore" in tags else "given"


def _check_unique(what: str, values: list[str]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{what} {value!r} occurs {count} times")


def _digest(notebook: NotebookNode, cells: tuple[PlannedCell, ...]) -> str:
    """Points stand in the metadata, and which cells run follows from the kinds: both belong to what is graded."""
    content = [
        [
            plan.id,
            plan.kind,
            cell.cell_type,
            plan.grade_id,
            cell.metadata.get("nbgrader", {}).get("points"),
            plan.source,
        ]
        for plan, cell in zip(cells, notebook.cells, strict=True)
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
