"""Seeded mutations of a notebook: its bytes, its JSON structure, and what people and programs do to whole cells."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from typing import Any

from handed_in import Notebook, encoded, own_code, own_text

ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, float("nan"), "", "x", "\ud800", "\0", [], {}, [[]], [None], {"": 0}, "adam-step-solution",
    "# exercise adam.q1", "# exercise adam.step\nq1 = 1\n# exercise adam.q2", "code", "markdown", 10**400,
)  # fmt: skip


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        _places(inner, found)
    return found


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat and insert pieces."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 30])):
        start = rng.randrange(len(changed) or 1)
        end = start + rng.choice([1, 1, 5, 200, 5000])
        choice = rng.randrange(5)
        if choice == 0:
            changed[start:end] = rng.randbytes(rng.choice([1, 4]))
        elif choice == 1:
            del changed[start:end]
        elif choice == 2:
            changed[start:start] = changed[start:end]
        elif choice == 3:
            changed[start:start] = rng.choice(
                [b"[", b"]", b"{", b"}", b'"', b"\\", b",", b"\\ud800", b"\xff", b"\0", b"1e999"]
            )
        elif rng.random() < 0.2:
            del changed[start:]
    return bytes(changed)


def mutate_structure(notebook: Notebook, rng: random.Random) -> bytes:
    """Replace, delete, copy and swap values anywhere in the notebook."""
    changed = copy.deepcopy(notebook)
    for _ in range(rng.choice([1, 3, 10, 60])):
        places = _places(changed, [])
        if len(places) < 2:
            break
        (one, key), (other, other_key) = rng.sample(places, 2)
        choice = rng.randrange(4)
        try:
            if choice == 0:
                one[key] = copy.deepcopy(rng.choice(ODD_VALUES))
            elif choice == 1:
                del one[key]
            elif choice == 2:
                one[key] = copy.deepcopy(other[other_key])
            else:
                one[key], other[other_key] = other[other_key], one[key]
            encoded(changed)
        except ValueError:  # a value was put into itself
            return b"[]"
    return encoded(changed)


def mutate_cells(notebook: Notebook, rng: random.Random) -> bytes:
    """What people and programs do to whole cells."""
    changed = copy.deepcopy(notebook)
    cells = changed["cells"]
    for _ in range(rng.choice([1, 5, 40])):
        at, to = rng.randrange(len(cells)), rng.randrange(len(cells))
        source = "".join(cells[at]["source"])
        choice = rng.randrange(8)
        if choice == 0:
            cells.insert(to, cells.pop(at))
        elif choice == 1:
            cells.insert(to, copy.deepcopy(cells[at]))
        elif choice == 2 and len(cells) > 1:
            del cells[at]
        elif choice == 3:
            cells[at]["metadata"] = copy.deepcopy(cells[to]["metadata"])
        elif choice == 4:
            cells[at]["id"] = cells[to].get("id")
        elif choice == 5:
            cut = rng.randrange(len(source) + 1)
            cells[at]["source"] = source[:cut]
            cells.insert(at + 1, {**copy.deepcopy(cells[at]), "source": source[cut:]})
        elif choice == 6:
            cells[at]["source"] = "\n".join((source, "".join(cells[to]["source"])))
        else:
            cells.insert(
                to, rng.choice([own_code, own_text])(rng.choice(["x = 1", "# exercise adam.q1\nq1 = 3", "\ud800"]))
            )
    return encoded(changed)


def mutators(data: bytes, notebook: Notebook, rng: random.Random) -> Mapping[str, Callable[[], bytes]]:
    """Kind → a function that makes the next mutation of that kind; `notebook` is what `data` encodes."""
    return {
        "bytes": lambda: mutate_bytes(data, rng),
        "structure": lambda: mutate_structure(notebook, rng),
        "cells": lambda: mutate_cells(notebook, rng),
    }
