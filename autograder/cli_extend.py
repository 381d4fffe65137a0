"""`autograder extend`: more time for one student, by nbgrader's own extensions."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autograder.cli_common import assignment_named, fail


def extend(
    assignment: Annotated[str, typer.Argument(help="The assignment: 05_adam_adamw, or 05.")],
    student: Annotated[str, typer.Argument(help="The student's id.")],
    days: Annotated[float, typer.Option(min=0, help="Counted from the due date; 0 days and hours take it back.")] = 0,
    hours: Annotated[float, typer.Option(min=0, help="Added to the days.")] = 0,
    course: Annotated[Path, typer.Option(help="The folder with release/ and the gradebook.")] = Path(),
    gradebook: Annotated[
        str | None, typer.Option(help="nbgrader's db_url; that of nbgrader_config.py without.")
    ] = None,
) -> None:
    """Give one student more time; it replaces an earlier extension."""
    from autograder.grading import command
    from autograder.grading.late import extend as grant

    assignment = assignment_named(course, assignment)
    try:
        place = command.course_at(course.resolve(), gradebook)
        due = grant(place.gradebook, place.course_id, assignment, student, timedelta(days=days, hours=hours))
    except (*command.EXPECTED, OverflowError) as error:
        fail(str(error))
    console = Console()
    if due is None:
        console.print(
            f"{assignment} has no due date yet: the extension counts from the one that it will get", soft_wrap=True
        )
    else:
        console.print(f"{student}: {assignment} is due {due:%Y-%m-%d %H:%M} UTC", highlight=False)
    console.print(
        f"Graded already? autograder grade {assignment} {student} --force reckons the penalty anew.", soft_wrap=True
    )
