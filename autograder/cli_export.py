"""`autograder export`: marks for Canvas, Gradescope and spreadsheets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autograder.cli_common import assignment_named, fail
from autograder.grading.export import Format


def export(
    assignments: Annotated[list[str] | None, typer.Argument(help="Such as 05_adam_adamw, or 05; all without.")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="gradescope: results.json for each; gradescope-zip: an autograder.")
    ] = "csv",
    output: Annotated[
        Path | None, typer.Option(help="The file (gradescope: the folder); in the course's folder without.")
    ] = None,
    students: Annotated[list[str] | None, typer.Option("--student", help="Whose marks; everybody's without.")] = None,
    exercises: Annotated[
        bool, typer.Option("--exercises", help="With csv: a column for each exercise as well.")
    ] = False,
    roster: Annotated[
        Path | None, typer.Option(help="With canvas: a gradebook that Canvas has exported, to be filled in.")
    ] = None,
    course: Annotated[Path, typer.Option(help="The folder with release/ and the gradebook.")] = Path(),
    gradebook: Annotated[
        str | None, typer.Option(help="nbgrader's db_url; that of nbgrader_config.py without.")
    ] = None,
) -> None:
    """Write the gradebook's marks for a spreadsheet, Canvas or Gradescope, or an autograder for Gradescope."""
    from autograder.grading import command
    from autograder.grading.export.command import Wish
    from autograder.grading.export.command import export as run

    chosen = tuple(assignment_named(course, name) for name in assignments or ())
    wish = Wish(form, chosen, tuple(students or ()), output, roster, exercises)
    try:
        done = run(command.course_at(course.resolve(), gradebook), wish)
    except command.EXPECTED as error:
        fail(str(error))
    console, errors = Console(), Console(stderr=True)
    for path in done.paths:
        console.print(path.resolve(), soft_wrap=True, highlight=False, markup=False)
    for remark in done.remarks:
        errors.print(remark, soft_wrap=True, highlight=False, markup=False)
