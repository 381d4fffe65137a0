"""nbgrader's own commands and formgrader's buttons, with the engine behind them.

`nbgrader_config.py` calls `install`. `nbgrader autograde` and formgrader's Autograde then grade with the engine, in a
process of its own (a Jupyter server has threads, and forks need a process without); `nbgrader generate_feedback` and
formgrader's Generate Feedback write the engine's pages, with manual scores and comments as they are now.

The engine is imported when it is used: students who start JupyterLab in this folder read `nbgrader_config.py` as well,
without the packages that grading needs, and nobody's server has to import torch.
"""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.converters.base import NbGraderException

if TYPE_CHECKING:
    from autograder.grading.engine import Course


def install() -> None:
    """Make this process's nbgrader use the engine. Calling it again changes nothing."""
    Autograde.start = _autograde
    GenerateFeedback.start = _generate_feedback


def _autograde(converter: Any) -> None:
    """In place of `Autograde.start`."""
    course, name, students = _where(converter)
    command = [sys.executable, "-m", "autograder", "grade", name, *students, "--course", str(course.root), "--json"]
    command += ["--gradebook", course.gradebook, *(["--force"] if converter.force else [])]
    for line in _lines(command, converter):
        event = json.loads(line)
        if event["event"] in ("graded", "unchanged", "published"):
            converter.log.info(
                "%s: %g of %g points (%s)", event["student"], event["points"], event["max_points"], event["event"]
            )
            for remark in (*event["notes"], *event["flags"]):
                converter.log.warning("%s: %s", event["student"], remark)


def _lines(command: list[str], converter: Any) -> Iterator[str]:
    with tempfile.TemporaryFile("w+") as errors:  # no pipe: nobody reads it before the end, and a full one would block
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            yield from process.stdout
        errors.seek(0)
        said = errors.read().strip()
    if process.returncode:
        converter.log.error(said)
        raise NbGraderException(said)


def _generate_feedback(converter: Any) -> None:
    """In place of `GenerateFeedback.start`."""
    from autograder.grading.engine import write_feedback_again

    course, name, students = _where(converter)
    for student in write_feedback_again(course, name, students):
        converter.log.info("Feedback for %s written", student)


def _where(converter: Any) -> tuple[Course, str, list[str]]:
    """Course, assignment and the students meant by nbgrader's settings (its student id may be a pattern)."""
    from autograder.grading.engine import Course

    folder = converter.coursedir
    course = Course(Path(folder.root), folder.db_url, folder.course_id or "default_course")
    name = folder.assignment_id
    wanted = re.compile(fnmatch.translate(folder.student_id or "*"))
    students = [student for student in course.students(name) if wanted.fullmatch(student)]
    if not students:
        message = f"no submissions of {name} in {course.root / 'submitted'} match {folder.student_id!r}"
        converter.log.error(message)
        raise NbGraderException(message)
    return course, name, students
