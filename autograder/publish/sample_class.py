"""The sample class: submissions made from the release and a few lines per student, with the marks they have to get.

`course/sample_class/class.toml` lists the students; a student's own answers stand in `<student>.py`, one block per
exercise that starts with its `# exercise <id>` line. Nothing else is stored, so that submissions cannot drift from the
release.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.exercise import REGISTRY
from autograder.worked import MARKER

_BLOCK = re.compile(r"^# exercise (\S+)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Student:
    """`answers`: exercise id → source of the solution cell; `marks`: exercise id → points expected."""

    id: str
    about: str
    answers: Mapping[str, str]
    marks: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.marks.values())


def read_class(folder: Path, source: Path, assignment: str) -> list[Student]:
    """The students of `folder`, completed by the source notebook's solutions where the manifest says so.

    Raises ValueError for an exercise that the assignment does not have.
    """
    solutions = source_solutions(source / assignment / f"{assignment}.ipynb")
    points = {e.id: e.points for e in REGISTRY.values() if e.notebook == assignment and e.kind != "written"}
    students = []
    for entry in tomllib.loads((folder / "class.toml").read_text(encoding="utf-8"))["student"]:
        own_file = folder / f"{entry['id']}.py"
        own = blocks(own_file.read_text(encoding="utf-8")) if own_file.exists() else {}
        marks = dict(points) if entry["base"] == "solutions" else dict.fromkeys(points, 0.0)
        marks.update(entry.get("marks", {}))
        unknown = (own.keys() | marks.keys()) - solutions.keys()
        if unknown:
            raise ValueError(f"{entry['id']}: {assignment} has no exercise {', '.join(sorted(unknown))}")
        base = solutions if entry["base"] == "solutions" else {}
        students.append(Student(entry["id"], entry["about"], {**base, **own}, marks))
    return students


def blocks(text: str) -> dict[str, str]:
    """Split a file into its `# exercise <id>` blocks (each keeps that line)."""
    starts = [(match.group(1), match.start()) for match in _BLOCK.finditer(text)]
    ends = [start for _, start in starts[1:]] + [len(text)]
    return {name: text[start:end].rstrip() for (name, start), end in zip(starts, ends, strict=True)}


def source_solutions(path: Path) -> dict[str, str]:
    """Exercise id → solution cell of a source notebook, without the markers around the solution."""
    notebook = nbformat.read(path, as_version=4)
    found = {}
    for cell in notebook.cells:
        match = _BLOCK.match(cell.source)
        if cell.cell_type == "code" and match:
            found[match.group(1)] = MARKER.sub("", cell.source).rstrip()
    return found


def submission(release: NotebookNode, answers: Mapping[str, str]) -> NotebookNode:
    """The release with answers put into its solution cells."""
    notebook = nbformat.from_dict(release)
    for cell in notebook.cells:
        match = _BLOCK.match(cell.source)
        if cell.cell_type == "code" and match and match.group(1) in answers:
            cell.source = answers[match.group(1)]
    return notebook


def write_submissions(students: list[Student], release: Path, assignment: str, submitted: Path) -> None:
    """Write submitted/<student>/<assignment>/<assignment>.ipynb for every student."""
    notebook = nbformat.read(release / assignment / f"{assignment}.ipynb", as_version=4)
    for student in students:
        folder = submitted / student.id / assignment
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        nbformat.write(submission(notebook.copy(), student.answers), folder / f"{assignment}.ipynb")
