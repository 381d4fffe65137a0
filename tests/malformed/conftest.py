"""The assignment, and an honest submission of it."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from handed_in import NAME, WRITTEN, Notebook, cell, encoded, read

from autograder.grading.assignment import Assignment, read_assignment
from autograder.grading.submission import Submission
from autograder.publish.sample_class import source_solutions, submission


@pytest.fixture(scope="session")
def assignment(root: Path) -> Assignment:
    return read_assignment(root / "release", NAME)


@pytest.fixture(scope="session")
def notebook(root: Path, assignment: Assignment) -> Notebook:
    """Everything solved, as Jupyter stores it. Not to be changed: use `handed_in.changed`."""
    solutions = source_solutions(root / "source" / NAME / f"{NAME}.ipynb")
    made: Notebook = json.loads(nbformat.writes(submission(assignment.notebook, solutions)))
    cell(made["cells"], "adam-w1")["source"] = [WRITTEN]
    return made


@pytest.fixture(scope="session")
def data(notebook: Notebook) -> bytes:
    return encoded(notebook)


@pytest.fixture(scope="session")
def honest(notebook: Notebook, assignment: Assignment) -> Submission:
    return read(notebook, assignment)
