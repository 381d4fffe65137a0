"""Who has a notebook of their own: written by `autograder build --per-student`, read by grading.

Notebooks lie in `variants/<student>/<assignment>/`. Whose they are is kept in `.grading/variants.json`: a submission
cannot choose by what it says in its cells.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import nbformat

from autograder.files import write_whole
from autograder.grading.secret import course_key, variant
from autograder.grading.start import PRIVATE, private
from autograder.grading.submission import Submission
from autograder.publish.cells import SETUP_CELL_ID
from autograder.variants import ENVIRONMENT, write_into

FOLDER = "variants"


class HandedOut:
    """The students of a course who have their own notebooks."""

    def __init__(self, root: Path) -> None:
        """Raises ValueError, with what to do, for a damaged record."""
        self._root, self._file = root, root / PRIVATE / "variants.json"
        self._students = self._read()

    @cached_property
    def _key(self) -> bytes:
        return course_key(self._root / "course")

    def _read(self) -> dict[str, list[str]]:
        """Assignment → students."""
        if not self._file.exists():
            return {}
        try:
            found: dict[str, list[str]] = json.loads(self._file.read_text(encoding="utf-8"))
            return {assignment: list(students) for assignment, students in found.items()}
        except (ValueError, AttributeError, TypeError):
            raise ValueError(
                f"{self._file} is damaged: restore it from a backup, or delete it and run autograder build "
                "--per-student for every assignment that was handed out so"
            ) from None

    def has_own(self, assignment: str) -> bool:
        """Was this assignment handed out to anybody with numbers of their own?"""
        return bool(self._students.get(assignment))

    def own(self, submission: Submission) -> Submission:
        """The submission with its student's questions in the notebook, if they have some of their own."""
        if submission.student not in self._students.get(submission.assignment, ()):
            return submission
        number = variant(self._key, submission.assignment, submission.student)
        notebook = copy.deepcopy(submission.notebook)
        write_into(notebook, number)
        digest = hashlib.sha256(f"{submission.digest}|{number}".encode()).hexdigest()
        return replace(submission, notebook=notebook, digest=digest, variant=number)

    def write(self, assignment: str, students: Sequence[str]) -> Iterator[Path]:
        """Make each student's notebook from the release; yields the files. Running it again writes the same ones.

        Raises ValueError for a question that cannot be varied, FileNotFoundError without a release.
        """
        before = set(self._students.get(assignment, ()))
        release = nbformat.read(self._root / "release" / assignment / f"{assignment}.ipynb", as_version=4)
        for student in students:
            number = variant(self._key, assignment, student)
            notebook = copy.deepcopy(release)
            write_into(notebook, number)
            setup = next(cell for cell in notebook.cells if cell.id == SETUP_CELL_ID)
            setup.source += f'\nos.environ["{ENVIRONMENT}"] = "{number}"  # your own numbers in the questions'
            path = self._root / FOLDER / student / assignment / f"{assignment}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, path)
            yield path
        self._record(assignment, before.union(students))

    def _record(self, assignment: str, students: set[str]) -> None:
        merged = {**self._students, assignment: sorted(students)}
        private(self._root)
        write_whole(self._file, json.dumps(merged, indent=1, sort_keys=True))
        self._students = merged
