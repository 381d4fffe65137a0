"""Worked solutions, for whoever studies alone: the source notebook's own code and the reasoning beside it.

Both stand in the source notebooks only: the code in the solution cell, the reasoning in a markdown cell tagged `worked`
whose first line names the exercise. Releases carry neither. `worked_solutions = false` in the manifest switches it off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from autograder.exercise import CodeExercise

#: A checkout has the sources beside the package; an installed package carries a copy.
_HERE = Path(__file__).resolve().parent
_PLACES = (_HERE.parent / "source", _HERE / "source")

#: Failed checks after which the solution is shown.
ENOUGH_ATTEMPTS = 3
TAG = "worked"
HEADING = re.compile(r"\*\*Worked solution of `(?P<id>[\w.]+)`\.?\*\*\s*")
MARKER = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[ \t]*\n?", re.MULTILINE)


@dataclass(frozen=True)
class Worked:
    """`code`: the whole solution cell; `reasoning`: markdown, with formulas between dollar signs."""

    code: str
    reasoning: str

    @property
    def markdown(self) -> str:
        return f"{self.reasoning}\n\n```python\n{self.code}\n```"


def worked(exercise: CodeExercise) -> Worked:
    """The worked solution. Raises FileNotFoundError where this installation has no source notebooks."""
    code, reasoning = _of_notebook(exercise.notebook)
    return Worked(code[exercise.id], reasoning[exercise.id])


@cache
def source_notebook(name: str) -> Mapping[str, Any]:
    """A source notebook's JSON. Raises FileNotFoundError where this installation has none."""
    for place in _PLACES:
        file = place / name / f"{name}.ipynb"
        if file.is_file():
            notebook: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return notebook
    raise FileNotFoundError(f"the solutions of {name} are not part of this installation of the course")


@cache
def _of_notebook(name: str) -> tuple[dict[str, str], dict[str, str]]:
    return read_worked(source_notebook(name))


def read_worked(notebook: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Exercise id → code, and exercise id → reasoning, of a source notebook's JSON."""
    code, reasoning = {}, {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        first, _, rest = source.partition("\n")
        if cell["cell_type"] == "code" and first.startswith("# exercise "):
            code[first.removeprefix("# exercise ").strip()] = MARKER.sub("", rest).strip()
        elif TAG in cell["metadata"].get("tags", ()) and (heading := HEADING.match(source)):
            reasoning[heading["id"]] = source[heading.end() :].strip()
    return code, reasoning
