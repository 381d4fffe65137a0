"""A light class: four optimizer exercises of the Adam notebook, no demonstrations. For tests and benchmarks of grading."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from nbgrader.converters import GenerateAssignment
from traitlets.config import Config

from autograder.exercise import REGISTRY
from autograder.publish.cells import PREPROCESSORS
from autograder.publish.convert import convert
from autograder.publish.sample_class import Student, read_class, submission

NAME = "light"
EXERCISES = ("adam.step", "adam.adam", "adam.adamw", "adam.l2_is_not_decay")
_FROM = "05_adam_adamw"


def make_light_course(root: Path, folder: Path) -> None:
    """Write source/ and release/ (by nbgrader's own generate step, with its gradebook) from the course in `root`."""
    source = nbformat.read(root / "source" / _FROM / f"{_FROM}.ipynb", as_version=4)
    graded = {REGISTRY[one].grade_id for one in EXERCISES}
    keep = {source.cells[0].id, "imports"} | graded | {f"{one}-solution" for one in graded}
    source.cells = [
        cell for cell in source.cells if {cell.id, cell.metadata.get("nbgrader", {}).get("grade_id")} & keep
    ]
    (folder / "source" / NAME).mkdir(parents=True)
    nbformat.write(source, folder / "source" / NAME / f"{NAME}.ipynb")
    convert(GenerateAssignment, light_config(folder))


def light_config(folder: Path) -> Config:
    """nbgrader's configuration of that course, for its converters."""
    config = Config()
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.course_id = NAME
    config.CourseDirectory.assignment_id = NAME
    config.GenerateAssignment.preprocessors = PREPROCESSORS
    config.Execute.timeout = 120
    config.BaseConverter.force = True
    return config


def submit_light(root: Path, folder: Path, count: int) -> dict[str, Student]:
    """Hand in `count` notebooks, the sample class's students in turn; returns who stands behind each."""
    release = nbformat.read(folder / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    styles = read_class(root / "course" / "sample_class", root / "source", _FROM)
    handed_in = {}
    for number in range(count):
        name, style = f"student{number:03d}", styles[number % len(styles)]
        place = folder / "submitted" / name / NAME
        place.mkdir(parents=True)
        nbformat.write(submission(release.copy(), style.answers), place / f"{NAME}.ipynb")
        handed_in[name] = style
    return handed_in


def expected_marks(style: Student) -> dict[str, float]:
    """What a student of the sample class earns here."""
    return {one: style.marks[one] for one in EXERCISES}


def gradebook_marks(folder: Path) -> dict[str, dict[str, float | None]]:
    """Student → exercise id → points, as nbgrader's gradebook has them."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        return {
            submission.student_id: {grade.name.replace("-", ".", 1): grade.auto_score for grade in notebook.grades}
            for submission in gradebook.assignment_submissions(NAME)
            for notebook in submission.notebooks
        }


def left_behind(folder: Path) -> list[str]:
    """Processes and mounts that still speak of this course, half a second after its graders are gone."""
    time.sleep(0.5)
    name, found = str(folder).encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if name in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    found.append(f"process {entry.name}")
    if name in Path("/proc/self/mounts").read_bytes():
        found.append("a mount")
    return found
