"""For nbgrader's own autograde: what a tool has dropped from a submission's cells is put back before anything is run.

Colab at times loses cell metadata, and nbgrader knows cells by nothing else (nbgrader#424). The engine rebuilds every
submission on the release; this preprocessor lets nbgrader grade the same rebuilt notebook.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.grading.assignment import read_assignment
from autograder.grading.submission import read_notebook


class RestoreCells(NbGraderPreprocessor):  # type: ignore[misc]
    """Rebuilds a submission on the release. A notebook that is not this course's stays as it is."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        folder = CourseDirectory(parent=self)
        assignment, notebook = resources["nbgrader"]["assignment"], resources["unique_key"]
        release = Path(folder.format_path(folder.release_directory, ".", assignment))
        if notebook != assignment or not (release / f"{notebook}.ipynb").is_file():
            return nb, resources
        rebuilt = read_notebook(nbformat.writes(nb).encode(), read_assignment(release.parent, assignment))
        return (nb if rebuilt.problem else rebuilt.notebook), resources


#: nbgrader's own list, after the repair.
SANITIZE = [RestoreCells, *Autograde.class_traits()["sanitize_preprocessors"].default()]
