"""Write down the answers of a quiz as plain facts, one per part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from autograder.evidence import ProtocolError, Record
from autograder.exercise import Case


def answer(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Inputs: `name` of the variable, `parts`: one mapping per part with `name` and `options` ([]: a number)."""
    name, parts = case.inputs["name"], case.inputs["parts"]
    given = objects[0]
    answers = list(given) if len(parts) > 1 and isinstance(given, (list, tuple)) else [given]
    if len(answers) != len(parts):
        raise ProtocolError(f"{name} should be a list of {len(parts)} answers, one per part; it is {given!r}")
    for part, one in zip(parts, answers, strict=True):
        record.fact(part["name"], _canonical(name, part["options"], one))


def _canonical(name: str, options: Sequence[str], given: object) -> str | float:
    if given is None or given is ... or given == "?":
        raise ProtocolError(f"{name} has no answer yet")
    if not options:
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise ProtocolError(f"{name} should be a number; it is {given!r}")
        if math.isnan(given):
            raise ProtocolError(f"{name} should be a number; it is nan")
        return float(given)
    text = given.strip() if isinstance(given, str) else given
    for option in options:
        if isinstance(text, str) and text.lower() == option.lower():
            return option
    if isinstance(text, str) and all(len(option) > 1 and option == "".join(sorted(option)) for option in options):
        letters = "".join(sorted(filter(str.isalpha, text.lower())))  # a choice of several: their order says nothing
        if letters in options:
            return letters
    listed = ", ".join(repr(option) for option in options)
    raise ProtocolError(f"{name} should be one of {listed}; it is {given!r}")
