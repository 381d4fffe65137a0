"""A new assignment: a notebook with one complete exercise, to be changed into one's own.

Everything is made from the files in `skeleton/`. Nothing is written unless all of it can be, and the manifest, by which
the course knows the notebook, comes last.
"""

from __future__ import annotations

import contextlib
import json
import keyword
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from autograder.manifest import Manifest, module_of, read_manifest

_SKELETON = Path(__file__).parent / "skeleton"
_NAME = re.compile(r"\d\d_[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TOPIC = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TITLE = re.compile(r'[^"\\\x00-\x1f]{1,80}')
_ENTRY = re.compile(r'^\[\[notebook\]\]\s+name = "(\d\d)_', re.MULTILINE)
_MINUTES, _POINTS = 20, 2  # of the skeleton's exercise


class RefusedError(ValueError):
    """The assignment cannot be made; the message says why and what to do, in one line. Nothing has been written."""


class _Skeleton(Template):
    delimiter = "@@"  # dollars are formulas in notebooks


@dataclass(frozen=True)
class Assignment:
    """What is to be made. `topic` begins the exercises' ids."""

    name: str
    topic: str
    title: str

    @property
    def words(self) -> dict[str, str]:
        """What stands in the skeleton's places."""
        number, module = str(int(self.name[:2])), module_of(self.name)
        place = self.name[:2]
        return {
            **{"name": self.name, "module": module, "topic": self.topic, "title": self.title},
            **{"number": number, "place": place, "prefix": self.topic.replace("_", "").upper()},
        }


def named(name: str, title: str = "", topic: str = "") -> Assignment:
    """The assignment of that name; topic and title follow from it where they are not given. Raises RefusedError."""
    if not _NAME.fullmatch(name):
        raise RefusedError(f"{name!r} is no name for a notebook: two digits, then words in lower case, such as 10_lion")
    topic = topic or module_of(name)
    if keyword.iskeyword(module_of(name)) or keyword.iskeyword(topic):
        raise RefusedError(f"{module_of(name)!r} is a word of Python's own: a module cannot be called that")
    if not _TOPIC.fullmatch(topic):
        raise RefusedError(f"{topic!r} is no topic: a word in lower case, with which the exercises' ids begin")
    title = title or module_of(name).replace("_", " ").capitalize()
    if not _TITLE.fullmatch(title):
        raise RefusedError("a title has 1 to 80 characters, in one line, without quotation marks and backslashes")
    return Assignment(name, topic, title)


def make(root: Path, assignment: Assignment) -> list[Path]:
    """Write the assignment into the course in `root`; returns the files, the manifest last. Raises RefusedError."""
    manifest_file = root / "course" / "course.toml"
    try:
        manifest = read_manifest(manifest_file)
        entries = manifest_file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RefusedError(f"the manifest cannot be read: {error}") from None
    files = _files(root, assignment)
    _refuse_taken(root, assignment, manifest, files)
    files[manifest_file] = _with_entry(entries, assignment)
    _write(files)
    return list(files)


def _files(root: Path, assignment: Assignment) -> dict[Path, str]:
    package, words = root / "autograder", assignment.words
    module = f"{words['module']}.py"
    notebook = root / "source" / assignment.name / f"{assignment.name}.ipynb"
    made = {
        package / folder / module: _filled(f"{folder}.py.in", words)
        for folder in ("exercises", "misconceptions", "answers")
    }
    return {**made, notebook: _filled("notebook.ipynb.in", words)}


def _filled(file: str, words: Mapping[str, str]) -> str:
    return _Skeleton((_SKELETON / file).read_text(encoding="utf-8")).substitute(words)


def _refuse_taken(root: Path, assignment: Assignment, manifest: Manifest, files: Mapping[Path, str]) -> None:
    if not (root / "autograder" / "exercises").is_dir():
        raise RefusedError(
            f"{root} holds no autograder/exercises, where exercises are declared: work in a checkout of the course, "
            "installed with pip install -e"
        )
    for notebook in manifest.notebooks:
        if notebook.name[:2] == assignment.name[:2]:
            raise RefusedError(f"the number {assignment.name[:2]} is taken by {notebook.name}: choose another one")
        if notebook.topic == assignment.topic:
            raise RefusedError(f"the topic {assignment.topic!r} is taken by {notebook.name}: give another with --topic")
    for path in files:
        if path.exists():
            raise RefusedError(f"{path.relative_to(root)} exists already: choose another name, or move it away")


def _with_entry(entries: str, assignment: Assignment) -> str:
    """The manifest with the assignment before the first notebook of a higher number; the rest stays letter for letter."""
    entry = (
        f'[[notebook]]\nname = "{assignment.name}"\ntopic = "{assignment.topic}"\n'
        f"title = {json.dumps(assignment.title, ensure_ascii=False)}\nminutes = {_MINUTES}\npoints = {_POINTS}\n"
    )
    later = next((found for found in _ENTRY.finditer(entries) if found[1] > assignment.name[:2]), None)
    if later is None:
        return f"{entries.rstrip()}\n\n{entry}"
    return f"{entries[: later.start()]}{entry}\n{entries[later.start() :]}"


def _write(files: Mapping[Path, str]) -> None:
    """All files, or none: they are written beside their places and moved there one after the other."""
    new = [path for path in files if not path.exists()]
    folders = [path.parent for path in new if not path.parent.exists()]
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _beside(path).write_text(text, encoding="utf-8")
        for path in files:
            os.replace(_beside(path), path)
    except BaseException as error:
        for path in (*map(_beside, files), *new):
            with contextlib.suppress(OSError):
                path.unlink()
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise RefusedError(f"{error.filename} cannot be written: {error.strerror}") from None
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")
