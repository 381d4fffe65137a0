"""Review flags as results keep them, one line each, and what they point at: a cell, a line, the code that stands there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autograder.grading.integrity import Flag

_FLAG = re.compile(r"(?P<cell>.+?), line (?P<line>\d+): (?P<kind>[^:]+): (?P<text>.*)", re.DOTALL)
_OTHER = re.compile(r"(?P<cell>[\w.]+): (?P<text>.*)", re.DOTALL)
_LONGEST = 160


@dataclass(frozen=True)
class Flagged:
    """A review flag and the line that raised it. `cell`: a solution cell's grade id, "own cell <n>", or an exercise id where
    it is about what the exercise answered; "" where it is about nothing of these. `line` is 0 where it is about no line;
    lengths are bounded."""

    cell: str
    line: int
    kind: str
    text: str
    code: str


def told(cell: str, flag: Flag) -> str:
    """A flag of a cell as results keep it."""
    return f"{cell}, line {flag.line}: {flag.kind}: {flag.text}"


def own_cell(number: int) -> str:
    """What flags call a student's own cell; they count from 1."""
    return f"own cell {number}"


def is_own_cell(name: str) -> bool:
    return name.startswith(own_cell(0)[:-1])


def cell_name(cell: Mapping[str, Any]) -> str:
    """What flags call a cell of a rebuilt notebook; "" for one that they are never about."""
    if own := re.fullmatch(r"own-(\d+)-*", str(cell.get("id", ""))):
        return own_cell(int(own[1]))
    return str(cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", ""))


def read(flags: Iterable[str], sources: Mapping[str, str]) -> tuple[Flagged, ...]:
    """The flags of a result. `sources`: cell name → the code that was graded."""
    return tuple(_read(flag, sources) for flag in flags)


def _read(flag: str, sources: Mapping[str, str]) -> Flagged:
    match = _FLAG.fullmatch(flag)
    if match is None:
        other = _OTHER.fullmatch(flag)
        return Flagged(other["cell"] if other else "", 0, "other", flag[:_LONGEST], "")
    lines = sources.get(match["cell"], "").split("\n")
    number = int(match["line"])
    code = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return Flagged(match["cell"], number, match["kind"], match["text"][:_LONGEST], code[:_LONGEST])
