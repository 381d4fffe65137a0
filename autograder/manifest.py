"""The course's manifest, `course/course.toml`: order, titles, minutes and points of the notebooks."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

#: A checkout has the manifest in `course/`; an installed package carries a copy.
_HERE = Path(__file__).resolve().parent
_PLACES = (_HERE.parent / "course" / "course.toml", _HERE / "course.toml")
#: Which of a student's attempts counts.
Keep = Literal["last", "best"]
PLACEHOLDER = "OWNER/REPOSITORY"


@dataclass(frozen=True)
class Notebook:
    name: str
    topic: str
    title: str
    minutes: int
    points: float


@dataclass(frozen=True)
class Manifest:
    id: str
    title: str
    repository: str
    branch: str
    worked_solutions: bool
    notebooks: tuple[Notebook, ...]
    keep: Keep = "last"

    @property
    def has_address(self) -> bool:
        """Has somebody set the repository's address?"""
        return PLACEHOLDER not in self.repository

    def notebook(self, name: str) -> Notebook:
        """The notebook of that name. Raises KeyError, with the names there are."""
        for notebook in self.notebooks:
            if notebook.name == name:
                return notebook
        names = ", ".join(notebook.name for notebook in self.notebooks)
        raise KeyError(f"course.toml has no notebook {name!r}; it has {names}")


def read_manifest(path: Path) -> Manifest:
    """Parse a manifest. Raises ValueError with what is missing."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        notebooks = tuple(
            Notebook(n["name"], n["topic"], n["title"], int(n["minutes"]), float(n["points"])) for n in data["notebook"]
        )
        course = data["course"]
        return Manifest(
            course["id"],
            course["title"],
            course["repository"].rstrip("/"),
            course["branch"],
            bool(course["worked_solutions"]),
            notebooks,
            _keep(course.get("keep", "last")),
        )
    except KeyError as error:
        raise ValueError(f"{path}: the entry {error} is missing") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _keep(value: object) -> Keep:
    if value not in get_args(Keep):
        raise ValueError(f"keep has to be one of {', '.join(get_args(Keep))}, not {value!r}")
    return cast(Keep, value)


def manifest_file() -> Path:
    """Where this course's manifest lies. Raises FileNotFoundError."""
    for place in _PLACES:
        if place.is_file():
            return place
    raise FileNotFoundError("course/course.toml is missing: this is not a whole checkout or installation of the course")


@cache
def manifest() -> Manifest:
    """This course's manifest."""
    return read_manifest(manifest_file())


def module_of(name: str) -> str:
    """What a notebook's modules in `autograder.exercises` and `autograder.answers` are called: its name without the
    number."""
    return name[3:]


def title_of(name: str) -> str:
    """A notebook's title; the name itself where the course has no such notebook."""
    try:
        return manifest().notebook(name).title
    except (KeyError, FileNotFoundError):
        return name


def meant(known: Collection[str], text: str) -> list[str]:
    """The names that `text` stands for: itself, or all that begin with it and an underscore (05 for 05_adam_adamw)."""
    return [text] if text in known else [name for name in known if name.startswith(f"{text}_")]
