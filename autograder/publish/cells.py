"""What a release has that its source has not: the Colab badge and the setup cell; quiz cells without stubs.

Worked solutions (markdown cells tagged `worked`) stay behind.

`ReleaseCells` is a preprocessor in nbgrader's own generate step (`nbgrader_config.py` puts it there), so that
`nbgrader generate_assignment`, formgrader's Generate button and `autograder build` make the same release.
"""

from __future__ import annotations

from string import Template
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    IncludeHeaderFooter,
    LockCells,
    NbGraderPreprocessor,
    SaveCells,
)

from autograder.manifest import Manifest, manifest
from autograder.worked import TAG

SETUP_CELL_ID = "course-setup"
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"

BADGE = Template(
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/$slug/blob/$branch/release/$name/$name.ipynb)"
)

SETUP = Template(
    """\
# Setup: run this cell first. It fetches the course where it is missing (on Colab, say) and changes nothing else.
import importlib.util, os, subprocess, sys

if importlib.util.find_spec("autograder") is None:
    address = "git+$repository@$branch"
    print("Fetching the course …")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", address], check=True)
if "google.colab" in sys.modules:
    os.environ.setdefault("AUTOGRADER_SELF_STUDY", "1")  # quizzes explain your first answer at once

import utils

if getattr(utils, "COURSE", None) is None:
    raise ImportError(f"{utils.__file__} hides the course's `utils`: rename that file and restart the kernel.")
"""
)


class ReleaseCells(NbGraderPreprocessor):  # type: ignore[misc]
    """Adds badge and setup cell, takes out worked solutions and the stubs of quiz cells. Runs after ClearSolutions."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        name = resources.get("nbgrader", {}).get("notebook") or resources["unique_key"]
        nb.cells = [cell for cell in nb.cells if TAG not in cell.metadata.get("tags", [])]
        add_badge(nb, name, manifest())
        add_setup_cell(nb, manifest())
        for cell in nb.cells:
            if "quiz" in cell.metadata.get("tags", []) and cell.cell_type == "code":
                cell.source = cell.source.replace(STUB, "").rstrip()
        return nb, resources


def add_badge(nb: NotebookNode, name: str, course: Manifest) -> None:
    """Put the badge above the first cell's title. The address is the manifest's."""
    slug = course.repository.removeprefix("https://github.com/")
    badge = BADGE.substitute(slug=slug, branch=course.branch, name=name)
    first = nb.cells[0]
    if badge not in first.source:
        first.source = f"{badge}\n\n{first.source}"


def add_setup_cell(nb: NotebookNode, course: Manifest) -> None:
    """Make the setup cell the first code cell."""
    source = SETUP.substitute(repository=course.repository, branch=course.branch).rstrip()
    cell = new_code_cell(source, id=SETUP_CELL_ID, metadata={"tags": ["setup"]})
    position = next((i for i, old in enumerate(nb.cells) if old.cell_type == "code"), len(nb.cells))
    if nb.cells[position].get("id") == SETUP_CELL_ID:
        nb.cells[position] = cell
    else:
        nb.cells.insert(position, cell)


#: nbgrader's own list with ReleaseCells in its place (and without InstantiateTests, whose syntax the course does not
#: use). Checksums are computed afterwards, so that they hold for what students get.
PREPROCESSORS = [
    IncludeHeaderFooter,
    LockCells,
    ClearSolutions,
    ReleaseCells,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    SaveCells,
    ClearHiddenTests,
    ClearMarkScheme,
    ComputeChecksums,
    CheckCellMetadata,
]
