"""The demonstration: a sample class goes through release, submission, grading, feedback and report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from traitlets.config import Config

from autograder.grading import engine
from autograder.grading.nbgrader_restore import SANITIZE
from autograder.grading.report.command import write_report
from autograder.publish.cells import PREPROCESSORS
from autograder.publish.convert import convert
from autograder.publish.sample_class import Student, read_class, write_submissions
from autograder.render import MIME

ASSIGNMENT = "05_adam_adamw"

#: nbclient's own argument, and no remarks about transport and debuggers on the terminal.
QUIET_KERNEL = ("--HistoryManager.hist_file=:memory:", "--IPKernelApp.log_level=ERROR")


@dataclass(frozen=True)
class Graded:
    """One student's marks (exercise id → points) and what was diagnosed (exercise id → "id title")."""

    student: Student
    marks: dict[str, float]
    diagnosed: dict[str, list[str]]
    feedback: Path

    @property
    def total(self) -> float:
        return sum(self.marks.values())

    @property
    def as_expected(self) -> bool:
        return all(abs(self.marks.get(e, 0.0) - points) < 1e-9 for e, points in self.student.marks.items())


class Course:
    """A throw-away course folder with its own gradebook, made from a real course's source and sample class."""

    def __init__(self, root: Path, folder: Path, assignment: str = ASSIGNMENT) -> None:
        self.root, self.folder, self.assignment = root, folder, assignment

    def config(self) -> Config:
        config = Config()
        config.CourseDirectory.root = str(self.folder)
        config.CourseDirectory.course_id = "sample"
        config.CourseDirectory.assignment_id = self.assignment
        config.GenerateAssignment.preprocessors = PREPROCESSORS
        config.Autograde.sanitize_preprocessors = SANITIZE
        config.Execute.skip_cells_with_tag = "demo"
        config.Execute.timeout = 120
        config.Execute.extra_arguments = list(QUIET_KERNEL)
        config.BaseConverter.force = True
        return config

    def start_over(self) -> None:
        """Empty the folder and copy the assignment's source into it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.root / "source" / self.assignment, self.folder / "source" / self.assignment)

    def release(self) -> None:
        """nbgrader's generate step, with its gradebook."""
        convert(GenerateAssignment, self.config())

    def students(self) -> list[Student]:
        return read_class(self.root / "course" / "sample_class", self.root / "source", self.assignment)

    def submit(self, students: list[Student]) -> None:
        write_submissions(students, self.folder / "release", self.assignment, self.folder / "submitted")

    def grade(self, student: Student) -> Graded:
        """nbgrader's autograde and generate_feedback for one student."""
        config = self.config()
        config.CourseDirectory.student_id = student.id
        convert(Autograde, config)
        convert(GenerateFeedback, config)
        return self.graded(student)

    def graded(self, student: Student) -> Graded:
        """What gradebook and folders say about a student who has been graded."""
        graded = self.folder / "autograded" / student.id / self.assignment / f"{self.assignment}.ipynb"
        feedback = self.folder / "feedback" / student.id / self.assignment / f"{self.assignment}.html"
        return Graded(student, self.marks(student.id), diagnosed(graded), feedback)

    def marks(self, student_id: str) -> dict[str, float]:
        """Exercise id → points in the gradebook, cells without points left out."""
        with Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}") as gradebook:
            submission = gradebook.find_submission_notebook(self.assignment, self.assignment, student_id)
            return {
                grade.name.replace("-", ".", 1): float(grade.auto_score or 0.0)
                for grade in submission.grades
                if grade.cell.cell_type == "code"
            }


def diagnosed(path: Path) -> dict[str, list[str]]:
    """Exercise id → misconceptions, from the verdicts that the check cells of a graded notebook have shown."""
    found: dict[str, list[str]] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            data: dict[str, Any] = output.get("data", {}).get(MIME, {})
            if data.get("misconceptions"):
                found[data["exercise"]] = [f"{m['id']} {m['title']}" for m in data["misconceptions"]]
    return found


def run(
    root: Path, folder: Path, told: Callable[[str], None] = lambda _: None, plain: bool = False
) -> Iterator[Graded]:
    """The whole loop; yields a student's result as soon as it is there. `told` is given one line before each stage.

    `plain`: graded by nbgrader's own autograde and generate_feedback instead of the engine.
    """
    course = Course(root, folder)
    told(f"Generating {ASSIGNMENT} with nbgrader")
    course.start_over()
    course.release()
    students = course.students()
    course.submit(students)
    if plain:
        told(f"Grading {len(students)} submissions with nbgrader")
        os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # silences a remark of the kernel's debugger
        for student in students:
            yield course.grade(student)
    else:
        yield from _by_engine(course, {student.id: student for student in students}, told)


def report(folder: Path) -> Path | None:
    """Write the class report of a demonstration that the engine has graded; returns the page, None without results."""
    return write_report(_place(folder))[1] if (folder / engine.STORE).is_file() else None


def _place(folder: Path) -> engine.Course:
    return engine.Course(folder, f"sqlite:///{folder / 'gradebook.db'}", "sample")


def _by_engine(course: Course, students: dict[str, Student], told: Callable[[str], None]) -> Iterator[Graded]:
    """`autograder grade`; where no sandbox can be had, without one: these students are the course's own."""
    for event in engine.grade_class(
        _place(course.folder), course.assignment, options=engine.Options(trust_students=True)
    ):
        if event.kind == "start":
            told(f"Grading {len(students)} submissions ({'no sandbox' if event.rung == 'none' else event.rung})")
        elif event.kind == "graded":
            yield course.graded(students[event.student])
