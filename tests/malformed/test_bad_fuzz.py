"""Seeded mutations of a solved notebook: reading never raises, and the rebuilt notebook is always the release's."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from handed_in import Notebook, encoded, own_code, own_text

from autograder.grading.assignment import Assignment
from autograder.grading.submission import Submission, read_notebook, rebuild

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


def check(submission: Submission, assignment: Assignment) -> None:
    """What holds for every submission, whatever was handed in."""
    nbformat.validate(submission.notebook)
    nbformat.writes(submission.notebook).encode("utf-8")
    own = {"own-" + str(number) for number in range(1, len(submission.extras) + 1)}
    course = [one for one in submission.notebook.cells if one.id not in own]
    assert len(submission.notebook.cells) == len(course) + len(own)
    for planned, release, one in zip(assignment.cells, assignment.notebook.cells, course, strict=True):
        if planned.is_answer:
            assert one.source == submission.answers.get(planned.grade_id, release.source)
            assert {**one, "source": ""} == {**release, "source": ""}
        else:
            assert one == release
    for one in submission.notebook.cells:
        assert one.id not in own or one.metadata == {}
    assert not any("\n" in note for note in (*submission.notes, submission.problem))
    assert not submission.problem or not submission.answers
    assert submission.notebook == rebuild(assignment, submission.answers, submission.extras)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("how", ["bytes", "structure", "cells"])
def test_mutations_never_raise_and_never_reach_what_is_graded(
    how: str, seed: int, notebook: Notebook, data: bytes, assignment: Assignment
) -> None:
    rng = random.Random(f"{how} {seed}")
    mutate: dict[str, Callable[[], bytes]] = {
        "bytes": lambda: mutate_bytes(data, rng),
        "structure": lambda: mutate_structure(notebook, rng),
        "cells": lambda: mutate_cells(notebook, rng),
    }
    read = 0
    for _ in range(34):
        mutated = mutate[how]()
        submission = read_notebook(mutated, assignment)
        check(submission, assignment)
        again = read_notebook(mutated, assignment)
        assert (again.digest, again.notes, again.extras) == (submission.digest, submission.notes, submission.extras)
        read += not submission.problem
    assert read > 17  # most mutations leave something to grade: the fuzz reaches the matching


@pytest.mark.parametrize("seed", range(40))
def test_whole_cells_moved_copied_and_stripped_are_the_same_submission(
    seed: int, notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    rng = random.Random(seed)
    changed = copy.deepcopy(notebook)
    cells = changed["cells"]
    cells += [copy.deepcopy(one) for one in rng.sample(cells, rng.randrange(20))]
    if seed % 2:
        rng.shuffle(cells)
    for one in cells:
        marked = one["metadata"].pop("nbgrader", None) if rng.random() < 0.5 else None
        if marked is None and rng.random() < 0.3 and one["cell_type"] == "code":
            one["id"] = f"new{rng.random()}"
        one["metadata"]["tags"] = rng.choice([[], ["demo"], ["check"]])
    submission = read_notebook(json.dumps(changed).encode(), assignment)
    assert submission.answers == honest.answers
    assert (submission.digest, submission.extras) == (honest.digest, ())
    assert submission.notebook == honest.notebook
