"""Files that are no whole notebook of today's format: read as far as it is safe, or one line why not."""

from __future__ import annotations

import copy
import json
import zlib
from pathlib import Path
from typing import Any

import nbformat
import pytest
from handed_in import Notebook, cell, changed, encoded, own_code, read

from autograder.grading.assignment import Assignment
from autograder.grading.submission import Submission


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b" \n\t ", "the file is empty"),
        (b"hello", "not a readable notebook (line 1, column 1: Expecting value)"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not a readable notebook"),
        (zlib.compress(b"x" * 1000), "not a readable notebook"),
        (bytes(range(256)) * 400, "not a readable notebook"),
        (b"[1, 2]", "it holds JSON, but no notebook's"),
        (b"null", "it holds JSON, but no notebook's"),
        (b'"cells"', "it holds JSON, but no notebook's"),
        (b"{}", "it has no list of cells"),
        (b'{"cells": {"0": 1}}', "it has no list of cells"),
        (b'{"worksheets": [3, {"cells": 4}]}', "no exercise of 05_adam_adamw"),
        (b'{"cells": []}', "no exercise of 05_adam_adamw"),
        (b'{"cells": [', "not a readable notebook"),
        (b'{"cells": [{"source": "# exercise', "not a readable notebook"),
        (b"[" * 100_000, "not a readable notebook (it is nested too deeply)"),
        (b'{"a":' * 100_000, "not a readable notebook (it is nested too deeply)"),
        (b'{"cells": [' + b"[" * 400_000, "not a readable notebook"),
        (b'{"cells": [' + b'{"' * 400_000, "not a readable notebook"),
        (b'{"cells": [{"' + b'\\"' * 5_000_000, "not a readable notebook"),
        (b" " * 20_000_001, "larger than 20 MB"),
        (b'{"cells": [' + b"[]," * 6_000_000 + b"[]]}", "the file holds far too many values"),
        (b'{"x": [' + b"1," * 9_000_000 + b"1]}", "the file holds far too many values"),
        (b'{"cells": [{?' + b'""' * 9_000_000, "not a readable notebook"),
        (b'{"cells": [{"a": ' + b"[" * 400_000, "not a readable notebook (it is nested too deeply)"),
        (b"\xff\xfe" + b"\x00\xd8" * 5_000_000, "not a readable notebook"),
    ],
    ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else value[:20],
)
def test_no_notebook_at_all_is_one_line(data: bytes, says: str, assignment: Assignment) -> None:
    submission = read(data, assignment)
    assert says in submission.problem
    assert "\n" not in submission.problem
    assert (submission.answers, submission.extras) == ({}, ())
    assert submission.notebook == assignment.notebook


def test_another_assignments_notebook_is_said(root: Path, assignment: Assignment) -> None:
    # the notebooks share the setup cell and some ids; that alone makes no submission of this one
    submission = read((root / "release" / "00_start_here" / "00_start_here.ipynb").read_bytes(), assignment)
    assert "another assignment's?" in submission.problem
    assert (submission.answers, submission.extras) == ({}, ())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_encodings_are_the_same_notebook(
    encoding: str, notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    submission = read(json.dumps(notebook, ensure_ascii=False).encode(encoding), assignment)
    assert (submission.answers, submission.digest, submission.notes) == (honest.answers, honest.digest, ())


def test_bytes_that_are_no_text_cost_themselves_only(
    notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    latin = changed(notebook, lambda cells: cells.append(own_code("# größer")))
    submission = read(json.dumps(latin, ensure_ascii=False).replace("≥", ">").encode("latin-1", "replace"), assignment)
    assert submission.extras[-1].source == "# gr\ufffd\ufffder"
    assert submission.answers["adam-adam-solution"] == honest.answers["adam-adam-solution"]
    assert any("bytes that are not text" in note for note in submission.notes)


def test_a_file_in_utf_16_may_be_cut_in_a_character(data: bytes, assignment: Assignment, honest: Submission) -> None:
    submission = read(data.decode().encode("utf-16")[:-3], assignment)
    assert submission.answers == honest.answers
    assert any("the file is damaged" in note for note in submission.notes)


@pytest.mark.parametrize("version", [3, 2])
def test_old_formats_give_the_same_answers(
    version: int, notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    modern = nbformat.reads(json.dumps(notebook), as_version=4)
    for one in modern.cells:
        del one["id"]
    modern.nbformat_minor = 4
    old = nbformat.convert(modern, 3)
    if version == 2:  # nbformat writes no version 2: cells had no metadata then, and code no other fields
        old.update(nbformat=2)
        for one in old.worksheets[0].cells:
            one.pop("metadata", None)
    submission = read(json.dumps(old).encode(), assignment)
    assert submission.answers == honest.answers
    assert submission.digest == honest.digest
    assert submission.extras == ()


@pytest.mark.parametrize("kept", [0.25, 0.6, 0.95, 0.999])
def test_a_truncated_file_gives_its_whole_cells(
    kept: float, data: bytes, notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    cut = data[: int(len(data) * kept)]
    submission = read(cut, assignment)
    whole = [one for one in notebook["cells"] if encoded(one) in cut]
    found = {one["metadata"].get("nbgrader", {}).get("grade_id") for one in whole}
    assert submission.answers == {name: source for name, source in honest.answers.items() if name in found}
    assert submission.answers
    assert any(note.startswith("the file is damaged (line 1") for note in submission.notes)
    if submission.answers != honest.answers:
        assert any(note.startswith("no cell was found for") for note in submission.notes)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: f"{text} }}]",
        lambda text: text.replace('{"cell_type": "code", "e', '\n<<<<<<< HEAD\n{"cell_type": "code", "e'),
        lambda text: text.replace('"metadata": {}', '"metadata": {"a": \\x}', 1),
        lambda text: text.replace('"nbformat": 4', '"nbformat": ' + "[" * 100_000),
        lambda text: text.replace('"metadata": {}', '"metadata": ' + "[" * 20_000 + "]" * 20_000, 1),
    ],
    ids=["more behind", "merge conflict", "bad escape", "deep at the end", "deep in one cell"],
)
def test_damage_outside_of_answers_loses_none(
    damage: Any, data: bytes, assignment: Assignment, honest: Submission
) -> None:
    damaged = damage(data.decode())
    assert damaged != data.decode()
    submission = read(damaged.encode(), assignment)
    assert submission.answers == honest.answers
    assert any("the file is damaged" in note for note in submission.notes)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"nbformat": 4', '"nbformat": NaN, "x": -Infinity, "y": ' + "9" * 1_000_000),
        lambda text: text.replace('"nbformat": 4', '"nbformat": 1e999'),
        lambda text: text.replace('"nbformat": 4', '"nbformat": "four", "nbformat_minor": [], "metadata": 7'),
        lambda text: text.replace('{"cells":', '{"cells": [1, 2], "cells":'),
        lambda text: text.replace('"source":', '"source": "x = 1", "source":'),
        lambda text: text.replace('"metadata": {}', '"metadata": "none"'),
        lambda text: text.replace('"outputs": []', '"outputs": {"a": [{"b": "<script>"}]}, "evil": 1'),
        lambda text: text.replace("\\n", "\\r\\n"),
        lambda text: text.replace("\\n", "\n"),  # a raw line break inside a string
    ],
    ids=["huge numbers", "infinity", "version", "cells twice", "source twice", "metadata", "outputs", "crlf", "raw lf"],
)
def test_odd_json_outside_of_sources_changes_nothing(
    change: Any, data: bytes, assignment: Assignment, honest: Submission
) -> None:
    odd = change(data.decode())
    assert odd != data.decode()
    submission = read(odd.encode(), assignment)
    assert (submission.answers, submission.digest, submission.notes) == (honest.answers, honest.digest, ())


def test_sources_may_be_strings_or_lists_and_anything_else_is_left_out(
    notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    def joined(cells: Any) -> None:
        for one in cells:
            one["source"] = "".join(one["source"])

    assert read(changed(notebook, joined), assignment).digest == honest.digest
    odd: list[Any] = [7, None, {"a": 1}, ["x", 3], True, [["x"]]]
    names = ["adam-q1-solution", "adam-q2-solution", "adam-q3-solution", "adam-q4-solution", "title", "adam-q5"]

    def broken(cells: Any) -> None:
        for name, source in zip(names, odd, strict=True):
            cell(cells, name)["source"] = source

    submission = read(changed(notebook, broken), assignment)
    assert set(honest.answers) - set(submission.answers) == set(names[:4])
    assert "cells 1, 8, 18, 43, 49, 53 of the file could not be read and were left out" in submission.notes


def test_half_characters_are_replaced(notebook: Notebook, assignment: Assignment) -> None:
    def spoil(cells: Any) -> None:
        cell(cells, "adam-q1-solution")["source"] = "# exercise adam.q1\nq1 = '\ud83d'"
        cells.append(own_code("'\udc00' + '😀'"))

    submission = read(changed(notebook, spoil), assignment)
    assert submission.answers["adam-q1-solution"] == "# exercise adam.q1\nq1 = '\ufffd'"
    assert submission.extras[0].source == "'\ufffd' + '😀'"
    assert nbformat.writes(submission.notebook).encode("utf-8")


def test_too_many_and_too_large_cells(notebook: Notebook, assignment: Assignment, honest: Submission) -> None:
    many = changed(notebook, lambda cells: cells.extend(own_code("x = 1", f"x{n}") for n in range(10_000)))
    submission = read(many, assignment)
    assert submission.answers == honest.answers
    assert len(submission.extras) == 2_000 - len(notebook["cells"])
    assert "only the first 2,000 cells were read" in submission.notes
    nbformat.validate(submission.notebook)

    large = changed(notebook, lambda cells: cells.insert(3, own_code("#" * 1_000_001)))
    submission = read(large, assignment)
    assert (submission.answers, submission.extras) == (honest.answers, ())
    assert "cell 4 of the file with more than 1 MB of text was left out" in submission.notes


def test_ids_and_marks_of_the_wrong_type_are_no_marks(
    notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    odd: list[Any] = [None, 3, [], {}, True, "x" * 100_000, "\ud800", ""]

    def spoil(cells: Any) -> None:
        for number, one in enumerate(cells):
            value = odd[number % len(odd)]
            one["id"] = value
            one["metadata"] = {"nbgrader": {"grade_id": copy.deepcopy(value)}, "id": value, "tags": value}

    submission = read(changed(notebook, spoil), assignment)
    assert (submission.answers, submission.digest) == (honest.answers, honest.digest)
    assert encoded(submission.notebook) == encoded(honest.notebook)


@pytest.mark.parametrize("kind", ["Code", None, 5, [], {"a": 1}, "markdown", "raw"])
def test_the_type_of_an_answers_cell_does_not_matter(
    kind: Any, notebook: Notebook, assignment: Assignment, honest: Submission
) -> None:
    submission = read(changed(notebook, lambda c: cell(c, "adam-step-solution").update(cell_type=kind)), assignment)
    assert (submission.answers, submission.digest) == (honest.answers, honest.digest)
    assert submission.notes == ("adam.step: the cell was no code cell any more; it is run as code",)
