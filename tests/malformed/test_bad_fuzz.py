"""Seeded mutations of a solved notebook: reading never raises, and the rebuilt notebook is always the release's."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from handed_in import Notebook
from mutations import mutators

from autograder.grading.assignment import Assignment
from autograder.grading.submission import Submission, read_notebook, rebuild
from autograder.publish.light import NAME, expected_marks, make_light_course, submit_light


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
    mutate = mutators(data, notebook, rng)[how]
    read = 0
    for _ in range(34):
        mutated = mutate()
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


@pytest.mark.sandbox
@pytest.mark.xdist_group("engine")
def test_mutants_in_a_class_cost_nobody_else_a_mark(root: Path, tmp_path: Path) -> None:
    """A small part of `benchmarks/fuzz.py`: mutants between honest students, through the whole engine."""
    make_light_course(root, tmp_path)
    styles = submit_light(root, tmp_path, 4)
    data = (tmp_path / "submitted" / "student000" / NAME / f"{NAME}.ipynb").read_bytes()
    made = mutators(data, json.loads(data), random.Random(7))
    for number in range(24):
        place = tmp_path / "submitted" / f"student{number % 4:03d}-{number:02d}" / NAME
        place.mkdir(parents=True)
        (place / f"{NAME}.ipynb").write_bytes(list(made.values())[number % 3]())
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(tmp_path), "--json"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr
    graded = {one["student"]: one for line in out.stdout.splitlines() if (one := json.loads(line))["event"] == "graded"}
    assert len(graded) == 4 + 24
    assert all(0 <= one["points"] <= one["max_points"] for one in graded.values())
    assert {name: graded[name]["marks"] for name in styles} == {n: expected_marks(s) for n, s in styles.items()}
