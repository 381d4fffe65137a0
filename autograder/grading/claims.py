"""What a sandboxed process claims, made plain: right types, bounded sizes, text that can be written.

Code of a submission can send any frame it likes in its runner's place. Nothing here decides whether a claim is true;
it only keeps claims from breaking, filling or disguising what the grader writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autograder.evidence import Evidence, Fact, Frame, Problem

#: Characters of a text, and numbers of things, that are kept. The collectors' own are far smaller.
MAX_TEXT, MAX_WORD, MAX_LINES, MAX_FRAMES, MAX_FACTS = 2000, 100, 50, 50, 200
_LARGEST = 1e15


def plain(evidence: Evidence) -> Evidence:
    """The evidence with everything beside its arrays made plain. Raises ValueError for what no collector writes."""
    if not isinstance(evidence.facts, Mapping) or len(evidence.facts) > MAX_FACTS:
        raise ValueError("the facts are no mapping, or too many")
    return replace(
        evidence,
        facts={text(name): _fact(value) for name, value in evidence.facts.items()},
        problem=_problem(evidence.problem) if evidence.problem else None,
        printed_lines=int(_number(evidence.printed_lines)),
        seconds=_number(evidence.seconds),
    )


def text(value: object, longest: int = MAX_TEXT) -> str:
    """A bounded text that every encoding can write."""
    if not isinstance(value, str):
        raise ValueError(f"a text was expected, not {type(value).__name__}")
    return value[:longest].encode(errors="replace").decode()


def word(value: object) -> str:
    """The name of an exception, in one short line; what is no text counts as some exception."""
    return " ".join(text(value, MAX_WORD).split()) if isinstance(value, str) else "Exception"


def numbers(header: Mapping[str, Any]) -> dict[str, float]:
    """Those entries that are numbers, finite and not negative."""
    return {
        name: _number(value)
        for name, value in header.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _number(value: int | float) -> float:
    bounded = min(max(value, 0), _LARGEST)  # in this order, and before float(): an int may be larger than any float
    return 0.0 if math.isnan(bounded) else float(bounded)


def _fact(value: object) -> Fact:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, (int, float)):
        return value if isinstance(value, int) and abs(value) < _LARGEST else _signed(value)
    if isinstance(value, list) and len(value) <= MAX_LINES:
        return [text(one) for one in value]
    raise ValueError(f"a fact is a text, a number or lines of text, not {type(value).__name__}")


def _signed(value: int | float) -> float:
    """Bounded; nan counts as the largest, so that it keeps no limit."""
    bounded = min(max(value, -_LARGEST), _LARGEST)
    return _LARGEST if math.isnan(bounded) else float(bounded)


def _problem(problem: Problem) -> Problem:
    if problem.kind not in ("not_started", "raised", "protocol"):
        raise ValueError("a problem of no known kind")
    frames = problem.frames[-MAX_FRAMES:]
    return Problem(problem.kind, text(problem.type, MAX_WORD), text(problem.message), tuple(map(_frame, frames)))


def _frame(frame: Frame) -> Frame:
    if not isinstance(frame.line, int) or not 0 <= frame.line < _LARGEST:
        raise ValueError("a frame without a line number")
    return Frame(text(frame.function, MAX_WORD), frame.line, text(frame.source))
