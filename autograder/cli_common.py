"""What all commands share: exit codes, errors in one line, and the course that the current folder lies in."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from autograder.manifest import meant

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


def released(course: Path) -> list[str]:
    """The assignments in a course's release folder; none where there is no such folder."""
    folder = course / "release"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def assignment_named(course: Path, text: str) -> str:
    """The assignment that is meant: `05` stands for 05_adam_adamw, as in `autograder build`. What is unknown stays as it is,
    for the command to say what there is."""
    found = meant(released(course), text)
    return found[0] if len(found) == 1 else text
