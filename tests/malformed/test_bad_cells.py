"""Cells deleted, duplicated, split, merged, reordered, edited, stripped and forged: the same answers as the honest one."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from handed_in import WRITTEN, Cells, Notebook, cell, changed, own_code, own_text, position, read, text

from autograder.grading.assignment import Assignment
from autograder.grading.submission import Extra, Submission
from autograder.grading.submission_match import added_lines

Change = Callable[[Cells], Any]


def strip_marks(cells: Cells) -> None:
    for one in cells:
        one["metadata"] = {}


def strip_all(cells: Cells) -> None:
    strip_marks(cells)
    for one in cells:
        one.pop("id", None)


def as_colab(cells: Cells) -> None:
    """Colab keeps ids in the metadata."""
    for one in cells:
        one["metadata"] = {"id": one.pop("id"), "colab": {"base_uri": "x"}}


def new_ids(cells: Cells) -> None:
    strip_marks(cells)
    for number, one in enumerate(cells):
        one["id"] = f"fresh{number}"


def forge(cells: Cells) -> None:
    for one in cells:
        one["metadata"]["tags"] = ["skip-execution", "demo", "check"]
        if marks := one["metadata"].get("nbgrader"):
            marks.update(
                points=1000, schema_version=9, locked=False, solution=True, grade=True, task=True, checksum="0"
            )


def without(*ids: str) -> Change:
    return lambda cells: cells.__setitem__(slice(None), [one for one in cells if one["id"] not in ids])


def only_answers(cells: Cells) -> None:
    cells[:] = [one for one in cells if one["metadata"].get("nbgrader", {}).get("solution")]


def run_outputs(cells: Cells) -> None:
    for number, one in enumerate(cells):
        if one["cell_type"] == "code":
            one.update(
                execution_count=number, outputs=[{"output_type": "stream", "name": "stdout", "text": "x" * 1000}]
            )


def copies_of_everything(cells: Cells) -> None:
    cells += copy.deepcopy(cells)


def copies_with_new_ids(cells: Cells) -> None:
    cells[:] = [two for number, one in enumerate(cells) for two in (one, {**copy.deepcopy(one), "id": f"copy{number}"})]


def edited(*ids: str, append: str = "", replace: str = "") -> Change:
    def change(cells: Cells) -> None:
        for name in ids:
            one = cell(cells, name)
            one["source"] = replace or text(one) + append

    return change


SAME: dict[str, Change] = {
    "marks stripped": strip_marks,
    "marks and ids stripped": strip_all,
    "colab": as_colab,
    "new ids": new_ids,
    "forged marks": forge,
    "outputs": run_outputs,
    "reversed": lambda cells: cells.reverse(),
    "shuffled": lambda cells: random.Random(1).shuffle(cells),
    "all twice": copies_of_everything,
    "each twice": copies_with_new_ids,
    "only answers": only_answers,
    "checks deleted": without("adam-q1", "adam-step", "adam-adam"),
    "empty cells": lambda cells: cells.insert(3, own_code(" \n")),
    "demos edited": lambda cells: cell(cells, "units").update(source="print('my own plot')"),
    "locked text edited": lambda cells: cell(cells, "step-text").update(source="10 points"),
    "check edited": lambda cells: cell(cells, "adam-step").update(source="raise SystemExit"),
    "check turned into text": lambda cells: cell(cells, "adam-step").update(cell_type="markdown"),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_the_same_answers_and_digest_as_the_honest_notebook(
    change: Change, notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    submission = read(changed(notebook, change), assignment)
    assert submission.answers == honest.answers
    assert submission.extras == ()
    assert submission.digest == honest.digest
    assert submission.notebook == honest.notebook


def test_an_honest_notebook_draws_no_remark(honest: Submission, notebook: Notebook) -> None:
    assert (honest.notes, honest.extras, honest.problem) == ((), (), "")
    assert len(honest.answers) == 18
    assert honest.answers["adam-w1"] == WRITTEN
    expected = [text(one) for one in notebook["cells"]]
    assert [one.source for one in honest.notebook.cells] == expected


def test_the_untouched_release_gives_its_stubs(assignment: Assignment) -> None:
    submission = read(nbformat.writes(assignment.notebook).encode(), assignment)
    assert submission.notes == ()
    assert submission.answers == {one.grade_id: one.source for one in assignment.cells if one.is_answer}
    assert submission.notebook == assignment.notebook


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (strip_all, "answers without nbgrader's mark, found by cell id, first line or place: 18"),
        (strip_all, "adam.w1: the text behind the question is taken for the answer"),
        (SAME["reversed"], "cells stand in another order than in the course's notebook, whose order is used"),
        (SAME["check edited"], "cell adam-step was changed; the course's version is used"),
        (SAME["locked text edited"], "cell step-text was changed; the course's version is used"),
        (
            edited("adam-step", "adam-adam", append="\nraise SystemExit"),
            "cells adam-step and adam-adam were added to; the course's versions are used, with yours behind them",
        ),
        (
            edited(*(f"adam-q{number}" for number in range(1, 8)), replace="pass"),
            "7 cells (adam-q1, adam-q2, adam-q3, adam-q4, adam-q5 and others) were changed; the course's versions are used",
        ),
        (SAME["demos edited"], "demonstrations are not graded; changed ones: units"),
        (copies_with_new_ids, "adam.step: 2 cells hold it; cell 22 of the file is used"),
        (
            lambda cells: cells.append(cell(cells, "adam-step")),
            "copies of the course's cells were left out: cell 105 of the file",
        ),
        (
            lambda cells: cells.append(own_text("x") | {"cell_type": "raw"}),
            "neither code nor text, left out: cell 105 of the file",
        ),
        (without("adam-q2-solution", "adam-w1"), "no cell was found for adam.q2, adam.w1"),
    ],
)
def test_what_was_not_taken_is_said(change: Change, says: str, notebook: Notebook, assignment: Assignment) -> None:
    assert says in read(changed(notebook, change), assignment).notes


def test_colabs_ids_tell_edited_cells(notebook: Notebook, assignment: Assignment, honest: Submission) -> None:
    without_first_line = "q1 = 0.25"

    def edit(cells: Cells) -> None:
        cell(cells, "adam-q1-solution")["source"] = without_first_line
        cell(cells, "adam-step")["source"] = "pass"
        as_colab(cells)

    submission = read(changed(notebook, edit), assignment)
    assert submission.answers == {**honest.answers, "adam-q1-solution": without_first_line}
    assert submission.extras == ()
    assert "cell adam-step was changed; the course's version is used" in submission.notes


@pytest.mark.parametrize("cell_id", ["imports", "surfaces", "s5-text"])
def test_edited_cells_without_ids_are_told_by_their_lines(
    cell_id: str, notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    def edit(cells: Cells) -> None:
        one = cell(cells, cell_id)
        lines = text(one).split("\n")
        one["source"] = "\n".join(["# mine", *lines[2:], "# the end"])
        strip_all(cells)

    submission = read(changed(notebook, edit), assignment)
    assert (submission.answers, submission.extras) == (honest.answers, ())
    assert any(cell_id in note for note in submission.notes)


def test_a_missing_answer_is_graded_as_the_untouched_stub(notebook: Notebook, assignment: Assignment) -> None:
    stub = next(one for one in assignment.cells if one.grade_id == "adam-step-solution").source
    deleted = read(changed(notebook, without("adam-step-solution")), assignment)
    untouched = read(changed(notebook, lambda c: cell(c, "adam-step-solution").update(source=stub)), assignment)
    assert "adam-step-solution" not in deleted.answers
    assert untouched.answers["adam-step-solution"] == stub
    assert deleted.notebook == untouched.notebook
    assert deleted.digest == untouched.digest


# ----- several candidates ------------------------------------------------------------------------------------------

STEP = "# exercise adam.step\ndef adam_step():\n    return "


def _answer(cells: Cells, source: str, *, like: str = "", mark: bool = True) -> dict[str, Any]:
    """A cell for adam.step, as copied from the release's (with its mark) or typed."""
    new = own_code(source, f"new{len(cells)}")
    if mark:
        new["metadata"] = copy.deepcopy(cell(cells, like or "adam-step-solution")["metadata"])
    return new


def _chosen(notebook: Notebook, assignment: Assignment, change: Change) -> Submission:
    return read(changed(notebook, change), assignment)


def test_of_two_copies_the_last_that_is_not_the_stub_counts(notebook: Notebook, assignment: Assignment) -> None:
    stub = next(one for one in assignment.cells if one.grade_id == "adam-step-solution").source

    def copies(cells: Cells) -> None:
        at = position(cells, "adam-step-solution")
        cells[at]["source"] = f"{STEP}1"
        cells[at + 1 : at + 1] = [_answer(cells, f"{STEP}2"), _answer(cells, stub), _answer(cells, "  ")]

    submission = _chosen(notebook, assignment, copies)
    assert submission.answers["adam-step-solution"] == f"{STEP}2"
    assert submission.extras == ()
    assert "adam.step: 4 cells hold it; cell 12 of the file is used" in submission.notes


def test_a_marked_cell_is_preferred_to_a_typed_one(notebook: Notebook, assignment: Assignment) -> None:
    def typed(cells: Cells) -> None:
        cell(cells, "adam-step-solution")["source"] = f"{STEP}1"
        cells.append(_answer(cells, f"{STEP}2", mark=False))

    submission = _chosen(notebook, assignment, typed)
    assert submission.answers["adam-step-solution"] == f"{STEP}1"
    assert submission.extras == ()


def test_a_typed_cell_is_preferred_to_the_untouched_stub(notebook: Notebook, assignment: Assignment) -> None:
    stub = next(one for one in assignment.cells if one.grade_id == "adam-step-solution").source

    def typed(cells: Cells) -> None:
        cell(cells, "adam-step-solution")["source"] = stub + "\n"
        cells.append(_answer(cells, f"{STEP}2", mark=False))

    assert _chosen(notebook, assignment, typed).answers["adam-step-solution"] == f"{STEP}2"


def test_a_mark_whose_first_line_fits_is_preferred(notebook: Notebook, assignment: Assignment) -> None:
    def copies(cells: Cells) -> None:
        cell(cells, "adam-step-solution")["source"] = f"{STEP}1"
        cells.append(_answer(cells, "def adam_step():\n    return 2"))

    submission = _chosen(notebook, assignment, copies)
    assert submission.answers["adam-step-solution"] == f"{STEP}1"
    assert [extra.source for extra in submission.extras] == ["def adam_step():\n    return 2"]


def test_a_wrong_first_line_does_not_lose_an_answer(
    notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    wrong = "# exercise adam.q2\nq1 = 0.5"
    submission = _chosen(notebook, assignment, lambda c: cell(c, "adam-q1-solution").update(source=wrong))
    assert submission.answers == {**honest.answers, "adam-q1-solution": wrong}


def test_text_that_quotes_a_first_line_is_no_answer(
    notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    quote = "# exercise adam.q1\nI found this hard."
    submission = _chosen(notebook, assignment, lambda c: c.insert(9, own_text(quote)))
    assert submission.answers == honest.answers
    assert submission.extras == (Extra("adam-q1", "markdown", quote),)


# ----- split and merged --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied_marks", [True, False])
def test_both_parts_of_a_split_answer_run_in_their_order(
    copied_marks: bool, notebook: Notebook, assignment: Assignment
) -> None:
    whole = text(cell(notebook["cells"], "adam-resume-solution"))
    first, second = whole.split("\n\n\ndef resume")
    second = f"def resume{second}"

    def split(cells: Cells) -> None:
        at = position(cells, "adam-resume-solution")
        cells[at]["source"] = first
        cells.insert(at + 1, _answer(cells, second, like="adam-resume-solution", mark=copied_marks))

    submission = _chosen(notebook, assignment, split)
    assert submission.answers["adam-resume-solution"] == first
    assert submission.extras == (Extra("adam-resume-solution", "code", second),)
    sources = [one.source for one in submission.notebook.cells]
    at = sources.index(first)
    assert sources[at + 1 : at + 3] == [second, 'check("adam.resume", Adam, save, resume)']


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize(
    "merged",
    [
        ("adam-q1-solution", "adam-step-solution"),
        ("imports", "adam-q1-solution"),
        ("adam-q4-solution", "adam-q6-solution"),
    ],
)
def test_merged_cells_are_taken_apart(
    merged: tuple[str, str], strip: bool, notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    def merge(cells: Cells) -> None:
        first, second = (cell(cells, one) for one in merged)
        first["source"] = f"{text(first)}\n\n{text(second)}"
        cells.remove(second)
        if strip:
            strip_all(cells)

    submission = _chosen(notebook, assignment, merge)
    assert submission.answers == honest.answers
    assert submission.digest == honest.digest
    assert "a cell that holds several exercises was taken apart at its `# exercise` lines" in submission.notes


def test_everything_in_one_cell_gives_every_code_answer(
    notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    def merge(cells: Cells) -> None:
        cells[:] = [own_code("\n\n".join(text(one) for one in cells if one["cell_type"] == "code"))]

    answers = _chosen(notebook, assignment, merge).answers
    for name, source in honest.answers.items():
        if name != "adam-w1":  # each is followed by the check and the demonstrations behind it
            assert answers[name].startswith(source)


def test_a_cell_that_mentions_another_exercise_stays_whole(
    notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    source = "x = 1\n# exercise adam.step\nprint(adam_step)"
    submission = _chosen(notebook, assignment, lambda c: c.insert(20, own_code(source)))
    assert submission.answers == honest.answers
    assert [extra.source for extra in submission.extras] == [source]


def test_first_lines_repeated_ever_again_take_no_time(notebook: Notebook, assignment: Assignment) -> None:
    source = "x = 1\n" + "# exercise adam.q1\n# exercise adam.q2\n" * 20_000

    def flood(cells: Cells) -> None:
        without("adam-q1-solution", "adam-q2-solution")(cells)
        cells += [own_code(source, f"flood{number}") for number in range(19)]

    answers = _chosen(notebook, assignment, flood).answers
    assert answers["adam-q1-solution"] == "# exercise adam.q1"


# ----- own cells ---------------------------------------------------------------------------------------------------


def test_own_cells_stay_where_they_were_without_their_marks(
    notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    def add(cells: Cells) -> None:
        marks = {"tags": ["demo", "check"], "nbgrader": {"grade_id": "mine", "points": 50, "grade": True}}
        at = position(cells, "adam-step")
        cells[at + 1 : at + 1] = [own_code("a = 1", "title") | {"metadata": marks}, own_text("Why?", "!bad id!")]
        cells.insert(0, own_code("first = True"))
        cells.append(own_code('check("adam.step", adam_step)  # again'))

    submission = _chosen(notebook, assignment, add)
    assert submission.answers == honest.answers
    assert submission.extras == (
        Extra("", "code", "first = True"),
        Extra("adam-step", "code", "a = 1"),
        Extra("adam-step", "markdown", "Why?"),
        Extra("progress", "code", 'check("adam.step", adam_step)  # again'),
    )
    nbformat.validate(submission.notebook)
    sources = [one.source for one in submission.notebook.cells]
    at = sources.index('check("adam.step", adam_step)')
    assert sources[0] == "first = True"
    assert sources[at + 1 : at + 3] == ["a = 1", "Why?"]
    own = [one for one in submission.notebook.cells if one.id.startswith("own-")]
    assert [one.metadata for one in own] == [{}] * 4
    assert submission.digest != honest.digest


def test_own_cells_get_ids_that_the_release_has_not(notebook: Notebook, assignment: Assignment) -> None:
    taken = copy.deepcopy(notebook)
    taken["cells"].append(own_code("x = 1", "own-1"))
    submission = read(taken, assignment)
    ids = [one.id for one in submission.notebook.cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("cell_id", "new", "extra"),
    [
        ("imports", lambda source: f"{source}\nimport math", Extra("imports", "code", "import math")),
        ("imports", lambda source: f"import math\n{source}", Extra("imports", "code", "import math")),
        ("imports", lambda source: source.replace("import t", "import os\nimport t", 1), Extra("imports", "code", "import os")),
        ("adam-step", lambda source: f"{source}\nprint(1)", Extra("adam-step", "code", "print(1)")),
        ("step-text", lambda source: f"{source}\n\nNote to self.", Extra("step-text", "markdown", "Note to self.")),
        ("imports", lambda source: source.replace("torch", "numpy"), None),
        ("units", lambda source: f"{source}\nwhile True: pass", None),
    ],
)  # fmt: skip
def test_additions_to_the_courses_cells_run_behind_them(
    cell_id: str,
    new: Callable[[str], str],
    extra: Extra | None,
    notebook: Notebook,
    assignment: Assignment,
    honest: Submission,
) -> None:
    def edit(cells: Cells) -> None:
        one = cell(cells, cell_id)
        one["source"] = new(text(one))

    submission = _chosen(notebook, assignment, edit)
    assert submission.extras == ((extra,) if extra else ())
    assert submission.answers == honest.answers
    assert sum(cell_id in note for note in submission.notes) == 1
    if not extra:
        assert submission.digest == honest.digest


@pytest.mark.parametrize(
    ("edited", "added"),
    [
        ("if a:\n    b\nc\nd", "d"),
        ("z\nif a:\n    b\nc", "z"),
        ("if a:\n    b\nx\n\ny\nc", "x\n\ny"),
        ("if a:\n    b\n    x\nc", ""),
        ("if a:\nx\n    b\nc", ""),
        ("if a:\n    b", ""),
        ("c\nif a:\n    b", ""),
        ("if a:\n    b\nc", ""),
        ("if a:  \n    b\n\n\nc\n", ""),
        ("", ""),
    ],
)
def test_only_whole_statements_count_as_added(edited: str, added: str) -> None:
    assert added_lines("if a:\n    b\nc", edited) == added


def test_written_work_of_two_parts_is_kept_whole(notebook: Notebook, assignment: Assignment) -> None:
    def split(cells: Cells) -> None:
        at = position(cells, "adam-w1")
        cells.insert(at + 1, {**copy.deepcopy(cells[at]), "id": "part2", "source": "Second part."})

    submission = _chosen(notebook, assignment, split)
    shown = [one.source for one in submission.notebook.cells]
    assert {WRITTEN, "Second part."} <= set(shown)
    assert shown.index(WRITTEN) < shown.index("Second part.")


def test_remarks_are_few_and_single_lines(notebook: Notebook, assignment: Assignment) -> None:
    def spoil(cells: Cells) -> None:
        for one in cells:
            one["source"] = text(one) + "\nraise SystemExit"
        cells += [copy.deepcopy(one) for one in cells for _ in range(10)]

    notes = _chosen(notebook, assignment, spoil).notes
    assert 10 < len(notes) <= 41
    assert not any("\n" in note for note in notes)
    assert all(len(note) < 400 for note in notes)


def test_the_digest_is_the_contents_and_nothing_elses(
    notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    edit = changed(notebook, lambda c: cell(c, "adam-q1-solution").update(source="# exercise adam.q1\nq1 = 1.0 "))
    assert read(edit, assignment).digest != honest.digest
    assert read(json.dumps(notebook, indent=3).encode(), assignment).digest == honest.digest
