"""A submission: read from whatever was handed in, and rebuilt on the release.

The graded notebook is the release plus the student's answers and own cells. Test cells, points, tags and order are
never taken from a submission, and nothing that a student can hand in makes reading raise.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.grading.assignment import Assignment
from autograder.grading.submission_files import MAX_TRIED, Candidate, find, read_bytes, shown
from autograder.grading.submission_json import Unreadable, parse
from autograder.grading.submission_match import Extra, match

__all__ = ["Extra", "Submission", "read_notebook", "read_submission", "rebuild"]

MAX_NOTES = 40


@dataclass(frozen=True, eq=False)
class Submission:
    """What a student handed in.

    `answers`: grade id of the solution cell → source, only those that were found. `notebook`: the release with the
    answers and the student's own cells put in; it is always a valid notebook. `digest`: sha256 (hex) of answers and
    own cells; nothing else of the file changes it. `notes`: one line each, for the student. `problem`: one line why
    nothing could be read ("" if something was): then there are no answers. `variant`: the number behind the student's
    own questions, None for those of the release.
    """

    student: str
    assignment: str
    answers: Mapping[str, str]
    extras: tuple[Extra, ...]
    notebook: NotebookNode
    digest: str
    notes: tuple[str, ...] = ()
    problem: str = ""
    variant: int | None = None


def read_submission(folder: Path, assignment: Assignment, student: str) -> Submission:
    """Read the best notebook in `folder`. Never raises for anything that a student can do: see `problem`."""
    try:
        return replace(_read_folder(folder, assignment), student=student)
    except Exception as error:  # one bad submission costs one submission, also when reading it has a bug
        return replace(_nothing(assignment, f"reading the submission failed ({type(error).__name__})"), student=student)


def read_notebook(data: bytes, assignment: Assignment, student: str = "") -> Submission:
    """Rebuild a notebook from the bytes of a file. Bytes that are no notebook of this assignment set `problem`."""
    try:
        parsed = parse(data)
    except Unreadable as error:
        return replace(_nothing(assignment, str(error)), student=student)
    found = match(parsed.cells, assignment)
    if not found.recognised:
        problem = f"the notebook has no exercise of {assignment.name}: is it another assignment's?"
        return replace(_nothing(assignment, problem, parsed.notes), student=student)
    notebook = rebuild(assignment, found.answers, found.extras)
    digest = _digest(assignment, found.answers, found.extras)
    notes = _bounded((*parsed.notes, *found.notes))
    return Submission(student, assignment.name, found.answers, found.extras, notebook, digest, notes)


def rebuild(assignment: Assignment, answers: Mapping[str, str], extras: Sequence[Extra]) -> NotebookNode:
    """A copy of the release with answers (by grade id) in their cells and own cells behind the cells they name.

    Own cells get ids that follow from their order alone, so that equal content gives equal notebooks.
    """
    notebook = copy.deepcopy(assignment.notebook)
    for planned, cell in zip(assignment.cells, notebook.cells, strict=True):
        if planned.is_answer and planned.grade_id in answers:
            cell.source = answers[planned.grade_id]
    behind: dict[str, list[NotebookNode]] = {}
    taken = {cell.id for cell in assignment.cells}
    for number, extra in enumerate(extras, start=1):
        cell_id = f"own-{number}"
        while cell_id in taken:
            cell_id += "-"
        behind.setdefault(extra.after, []).append(_own_cell(extra, cell_id))
    cells = list(behind.get("", []))
    for cell in notebook.cells:
        cells += [cell, *behind.get(cell.id, [])]
    notebook.cells = cells
    return notebook


def _own_cell(extra: Extra, cell_id: str) -> NotebookNode:
    cell: dict[str, Any] = {"cell_type": extra.kind, "id": cell_id, "metadata": {}, "source": extra.source}
    if extra.kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return nbformat.from_dict(cell)


def _read_folder(folder: Path, assignment: Assignment) -> Submission:
    listing = find(folder, assignment.name)
    if not listing.candidates:
        problem = listing.problem or f"there is no notebook: hand in {assignment.name}.ipynb"
        return _nothing(assignment, problem, listing.notes)
    tried: list[tuple[Candidate, Submission]] = []
    for candidate in listing.candidates[:MAX_TRIED]:
        best = tried[-1][0] if tried else candidate
        # a worse name or place is looked at only as long as no better one could be read
        if candidate.order[:2] != best.order[:2] and any(not one.problem for _, one in tried):
            break
        tried.append((candidate, _read_candidate(folder, candidate, assignment)))
    chosen, submission = max(tried, key=lambda one: _worth(one[1], assignment))  # the first of equal ones
    notes = [*listing.notes]
    if submission.problem:
        notes += [f"{shown(candidate.name)}: {one.problem}" for candidate, one in tried if candidate is not chosen]
    else:
        notes += _choice(chosen, listing.candidates, tried, assignment)
    return replace(submission, notes=_bounded((*notes, *submission.notes)))


def _read_candidate(folder: Path, candidate: Candidate, assignment: Assignment) -> Submission:
    try:
        return read_notebook(read_bytes(folder, candidate), assignment)
    except Unreadable as error:
        return _nothing(assignment, str(error))


def _worth(submission: Submission, assignment: Assignment) -> tuple[bool, int]:
    """Order among notebooks of equally good names: readable, and as many exercises worked on as possible."""
    stubs = {cell.grade_id: cell.source for cell in assignment.cells if cell.is_answer}
    worked_on = sum(source.strip() not in ("", stubs[name].strip()) for name, source in submission.answers.items())
    return not submission.problem, worked_on


def _choice(
    chosen: Candidate,
    candidates: Sequence[Candidate],
    tried: Sequence[tuple[Candidate, Submission]],
    assignment: Assignment,
) -> list[str]:
    """Say which file is graded, unless it is the one that was asked for and no other."""
    notes = [f"{shown(candidate.name)}: {one.problem}" for candidate, one in tried if one.problem]
    others = [shown(one.name) for one in candidates if one is not chosen]
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        notes.append(
            f"several notebooks were handed in: {shown(chosen.name)} is graded, not {', '.join(others[:5])}{more}"
        )
    elif chosen.name != f"{assignment.name}.ipynb":
        notes.append(f"{shown(chosen.name)} is graded; the name asked for is {assignment.name}.ipynb")
    return notes


def _nothing(assignment: Assignment, problem: str, notes: Sequence[str] = ()) -> Submission:
    notebook = rebuild(assignment, {}, ())
    return Submission("", assignment.name, {}, (), notebook, _digest(assignment, {}, ()), _bounded(notes), problem)


def _digest(assignment: Assignment, answers: Mapping[str, str], extras: Sequence[Extra]) -> str:
    """Equal exactly when the rebuilt notebooks are: a missing answer counts as the untouched stub it is graded as."""
    filled = [[one.grade_id, answers.get(one.grade_id, one.source)] for one in assignment.cells if one.is_answer]
    content = [filled, [[extra.after, extra.kind, extra.source] for extra in extras]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _bounded(notes: Sequence[str]) -> tuple[str, ...]:
    """At most MAX_NOTES remarks, each once."""
    unique = list(dict.fromkeys(notes))
    if len(unique) <= MAX_NOTES:
        return tuple(unique)
    return (*unique[:MAX_NOTES], f"{len(unique) - MAX_NOTES} more remarks are left out")
