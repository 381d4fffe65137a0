"""What all commands share: exit codes, errors in one line, and the course that the current folder lies in."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

NEEDS_ATTENTION, WRONG_USE, ENVIRONMENT = 1, 2, 3


def fail(message: str, code: int = WRONG_USE) -> NoReturn:
    """One clear line on stderr, and out."""
    Console(stderr=True).print(f"[bold red]autograder:[/] {escape(message)}", highlight=False)
    raise typer.Exit(code)


def course_here() -> Path:
    """The course's folder, from the current one upwards."""
    from autograder.publish.release import BuildError, course_root

    try:
        return course_root()
    except BuildError as error:
        fail(str(error))
