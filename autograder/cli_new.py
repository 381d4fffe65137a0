"""`autograder new-assignment`: a notebook with one complete exercise, to be changed into one's own."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from autograder.cli_common import course_here, fail


def new_assignment(
    name: Annotated[str, typer.Argument(help="Two digits, then words, such as 10_lion.")],
    title: Annotated[str, typer.Option(help="The notebook's title; from the name without.")] = "",
    topic: Annotated[str, typer.Option(help="With what the exercises' ids begin; the name's words without.")] = "",
) -> None:
    """Write the skeleton of a new assignment: notebook, exercise, misconceptions, answers, and its place in course.toml."""
    from autograder.publish.new_assignment import RefusedError, make, named

    root = course_here()
    try:
        assignment = named(name, title, topic)
        paths = make(root, assignment)
    except RefusedError as error:
        fail(str(error))
    console = Console()
    for path in paths:
        console.print(path.relative_to(root), soft_wrap=True, highlight=False)
    console.print(
        f"Change them, then: autograder build {name} and autograder audit {assignment.topic}.step",
        soft_wrap=True,
        highlight=False,
    )
