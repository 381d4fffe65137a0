"""What students hand in, made from an honest notebook: plain dictionaries, bytes and folders."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autograder.grading.assignment import Assignment
from autograder.grading.submission import Submission, read_notebook, read_submission

NAME = "05_adam_adamw"
FILE = f"{NAME}.ipynb"
WRITTEN = "Because $(1-\\beta_1)/\\sqrt{1-\\beta_2}$ bounds the step."

Notebook = dict[str, Any]
Cells = list[dict[str, Any]]


def encoded(notebook: Any) -> bytes:
    return json.dumps(notebook).encode()


def changed(notebook: Notebook, change: Callable[[Cells], Any]) -> Notebook:
    """A copy of the notebook whose cells went through `change` (in place)."""
    new = copy.deepcopy(notebook)
    change(new["cells"])
    return new


def cell(cells: Cells, cell_id: str) -> dict[str, Any]:
    return next(one for one in cells if one.get("id") == cell_id)


def position(cells: Cells, cell_id: str) -> int:
    return next(index for index, one in enumerate(cells) if one.get("id") == cell_id)


def text(one: dict[str, Any]) -> str:
    source = one["source"]
    return source if isinstance(source, str) else "".join(source)


def own_code(source: str, cell_id: str = "mine") -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": cell_id,
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def own_text(source: str, cell_id: str = "mine") -> dict[str, Any]:
    return {"cell_type": "markdown", "id": cell_id, "metadata": {}, "source": source}


def folder_with(folder: Path, files: dict[str, bytes]) -> Path:
    """A submission's folder with these files (names may hold folders)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(data: Any, assignment: Assignment) -> Submission:
    """Read bytes, or a notebook's dictionary; at most a second of CPU time, as every bad input."""
    raw = data if isinstance(data, bytes) else encoded(data)
    start = time.process_time()
    submission = read_notebook(raw, assignment)
    assert time.process_time() - start < 1
    return submission


def read_folder(folder: Path, assignment: Assignment) -> Submission:
    """`read_submission`, at most a second of CPU time."""
    start = time.process_time()
    submission = read_submission(folder, assignment, "ada")
    assert time.process_time() - start < 1
    assert submission.student == "ada"
    assert "reading the submission failed" not in submission.problem
    return submission
