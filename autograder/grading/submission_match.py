"""Which cell of a submission is which cell of the release, and which are the student's own.

Answers are found by nbgrader's grade id, then by cell id, then by the `# exercise <id>` line; the release's other
cells by grade id, cell id, text, or most of their lines. What a submission says about points, tags, order or tests is
not looked at.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from autograder.grading.assignment import Assignment, PlannedCell, header_of
from autograder.grading.submission_json import RawCell, numbers

_INNER_HEADER = re.compile(r"^#[ \t]*exercise[ \t]+(\S+)[ \t]*$", re.MULTILINE)

#: How sure a cell's claim to be a certain answer is; less is surer.
_MARKED_AND_NAMED, _MARKED, _ID_AND_NAMED, _BY_ID, _NAMED, _NAMED_OTHERWISE = range(6)
#: An edited cell of the release that lost its id is known by this part of its lines.
_ALIKE = 0.5
#: So many cells are named in one remark.
_TOLD = 6


@dataclass(frozen=True)
class Extra:
    """A student's own cell. `after`: id of the release's cell that it stands behind ("": above all of them)."""

    after: str
    kind: Literal["code", "markdown"]
    source: str


@dataclass(frozen=True)
class Matching:
    """`answers`: grade id → source, in the release's order."""

    answers: dict[str, str]
    extras: tuple[Extra, ...]
    notes: tuple[str, ...]
    recognised: int  # how many of the cells to fill in and to check with were found; other notebooks share the rest


@dataclass(eq=False)
class _Places:
    """Where cells of a submission go. A cell that is neither placed nor dropped is the student's own."""

    placed: dict[RawCell, PlannedCell] = field(default_factory=dict)
    dropped: set[RawCell] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def found(self) -> set[PlannedCell]:
        return set(self.placed.values())

    def is_open(self, cell: RawCell) -> bool:
        return cell not in self.placed and cell not in self.dropped


class _Index:
    """The release's cells by whatever a submitted cell may be known by."""

    def __init__(self, assignment: Assignment) -> None:
        self.cells = assignment.cells
        self.by_grade_id = {cell.grade_id: cell for cell in self.cells if cell.grade_id}
        self.by_id = {cell.id: cell for cell in self.cells}
        self.by_exercise = {cell.exercise_id: cell for cell in self.cells if cell.kind == "solution"}
        self.by_text: dict[str, list[PlannedCell]] = defaultdict(list)
        for cell in self.cells:
            if not cell.is_answer:
                self.by_text[_plain(cell.source)].append(cell)

    def marked(self, cell: RawCell) -> PlannedCell | None:
        """What the grade id says, or else the cell id."""
        return self.by_grade_id.get(cell.grade_id) or self.by_any_id(cell)

    def by_any_id(self, cell: RawCell) -> PlannedCell | None:
        return next((self.by_id[one] for one in cell.ids if one in self.by_id), None)

    def named(self, cell: RawCell) -> PlannedCell | None:
        """What the `# exercise` line says. Text may quote such a line, code that starts with it means it."""
        marked = self.marked(cell)
        if cell.kind == "code" or (marked is not None and marked.kind == "solution"):
            return self.by_exercise.get(header_of(cell.source))
        return None


def match(cells: Sequence[RawCell], assignment: Assignment) -> Matching:
    """Match a submission's cells with the release's. Takes time linear in the size of the submission."""
    index = _Index(assignment)
    places = _answers(cells, index)
    separated = _separate_merged(cells, places, index)
    if len(separated) > len(cells):
        cells, places = separated, _answers(separated, index)
        places.notes.append("a cell that holds several exercises was taken apart at its `# exercise` lines")
    _course_cells(cells, places, index)
    _edited_cells(cells, places, index)
    _written_by_place(cells, places, index)
    extras = tuple(_extras(cells, places))
    _remarks(cells, places, index)
    sources = {planned: cell.source for cell, planned in places.placed.items()}
    answers = {one.grade_id: sources[one] for one in index.cells if one.is_answer and one in sources}
    return Matching(answers, extras, tuple(places.notes), sum(bool(one.grade_id) for one in sources))


# ----- answers -----------------------------------------------------------------------------------------------------


def _answers(cells: Sequence[RawCell], index: _Index) -> _Places:
    places = _Places()
    claims: dict[PlannedCell, list[tuple[int, RawCell]]] = defaultdict(list)
    for cell in cells:
        for planned, tier in _claims(cell, index):
            claims[planned].append((tier, cell))
    for planned in index.cells:
        if sure := [(tier, cell) for tier, cell in claims[planned] if tier < _NAMED_OTHERWISE]:
            _choose(planned, sure, places)
    for planned in index.cells:  # the marks of one exercise, the first line of another: better than no answer
        rest = [(tier, cell) for tier, cell in claims[planned] if cell not in places.placed]
        if rest and planned not in places.found():
            _choose(planned, rest, places)
    return places


def _claims(cell: RawCell, index: _Index) -> Iterator[tuple[PlannedCell, int]]:
    """The answers that a cell may be, with how sure that is."""
    by_mark = index.by_grade_id.get(cell.grade_id)
    marked = by_mark or index.by_any_id(cell)
    named = index.named(cell)
    if marked is not None and marked.is_answer:
        if named is marked:
            yield marked, _MARKED_AND_NAMED if by_mark else _ID_AND_NAMED
        elif named is None:
            yield marked, _MARKED if by_mark else _BY_ID
        else:
            yield marked, _NAMED_OTHERWISE
    if named is not None and named is not marked:
        yield named, _NAMED


def _choose(planned: PlannedCell, claims: list[tuple[int, RawCell]], places: _Places) -> None:
    """Take the surest claim that says something; of equally sure ones the last, as running all cells would."""
    untouched = _plain(planned.source)

    def rank(claim: tuple[int, RawCell]) -> tuple[bool, int, int]:
        tier, cell = claim
        return _plain(cell.source) in ("", untouched), tier, -cell.number

    best = min(claims, key=rank)[1]
    places.placed[best] = planned
    places.dropped.discard(best)
    others = [cell for _, cell in claims if cell is not best]
    for cell in others:
        # a part of a divided cell has the marks but no first line of its own: it stays where it is, behind the answer
        is_version = planned.kind == "solution" and header_of(cell.source) == planned.exercise_id
        if is_version or _plain(cell.source) in ("", untouched, _plain(best.source)):
            places.dropped.add(cell)
    versions = [cell for cell in others if cell in places.dropped]
    if versions:
        count = len(versions) + 1
        places.notes.append(
            f"{planned.exercise_id}: {count} cells hold it; {numbers([best.number])} of the file is used"
        )


def _separate_merged(cells: Sequence[RawCell], places: _Places, index: _Index) -> list[RawCell]:
    """Take cells apart at the first line of an exercise that has no answer otherwise: cells were merged there."""
    answered = {
        planned.exercise_id
        for cell, planned in places.placed.items()
        if planned.is_answer and _plain(cell.source) not in ("", _plain(planned.source))
    }
    wanted = index.by_exercise.keys() - answered
    return [part for cell in cells for part in _parts(cell, wanted)] if wanted else list(cells)


def _parts(cell: RawCell, wanted: set[str]) -> Iterator[RawCell]:
    starts = []
    if cell.kind == "code":
        seen = {header_of(cell.source)}
        for header in _INNER_HEADER.finditer(cell.source):
            if header.group(1) in wanted - seen:
                starts.append(header.start())
                seen.add(header.group(1))
    if not starts:
        yield cell
        return
    ends = [*starts, len(cell.source)]
    yield RawCell(cell.number, cell.kind, cell.source[: ends[0]].rstrip(), cell.ids, cell.grade_id)
    for start, end in pairwise(ends):
        yield RawCell(cell.number, cell.kind, cell.source[start:end].rstrip())


# ----- the release's other cells -----------------------------------------------------------------------------------


def _course_cells(cells: Sequence[RawCell], places: _Places, index: _Index) -> None:
    """Place text, setup, given, demo and check cells; drop second copies of them."""
    claims: dict[PlannedCell, list[RawCell]] = defaultdict(list)
    for cell in cells:
        if places.is_open(cell):
            marked = index.marked(cell)
            same = index.by_text.get(_plain(cell.source), [])
            if marked is not None and not marked.is_answer:
                claims[marked].append(cell)
            elif same:  # without ids: the release's cells of one text are interchangeable
                free = [one for one in same if one not in claims]
                claims[(free or same)[0]].append(cell)
    copies = []
    for planned, candidates in claims.items():
        text = _plain(planned.source)
        best = next((cell for cell in candidates if _plain(cell.source) == text), candidates[0])
        places.placed[best] = planned
        # what differs from the course's cell is the student's own, whatever marks were copied along
        copies += [cell for cell in candidates if cell is not best and _plain(cell.source) == text]
    places.dropped.update(copies)
    if copies:
        places.notes.append(
            f"copies of the course's cells were left out: {numbers([c.number for c in copies])} of the file"
        )


def _edited_cells(cells: Sequence[RawCell], places: _Places, index: _Index) -> None:
    """Recognise edited cells of the release that have lost their ids by the lines they kept."""
    found = places.found()
    missing = [one for one in index.cells if not one.is_answer and one not in found]
    owners: dict[str, list[PlannedCell]] = defaultdict(list)
    for planned in missing:
        for line in _lines(planned.source):
            owners[line].append(planned)
    for cell in cells:
        if not owners or not places.is_open(cell) or index.marked(cell) is not None:
            continue
        kept = Counter(planned for line in _lines(cell.source) for planned in owners.get(line, ()))
        for planned, count in kept.most_common(1):
            if planned not in places.found() and count > _ALIKE * len(_lines(planned.source)):
                places.placed[cell] = planned


def _written_by_place(cells: Sequence[RawCell], places: _Places, index: _Index) -> None:
    """A written answer without marks has nothing to be known by but its place behind the question.

    Left among the own cells it would be lost: nbgrader gives an untouched answer cell 0 without showing it to anybody.
    """
    found = places.found()
    questions = {before: one for before, one in pairwise(index.cells) if one.kind == "written" and one not in found}
    question: PlannedCell | None = None
    for cell in cells:
        if cell in places.placed:
            question = places.placed[cell]
        elif question in questions and places.is_open(cell) and cell.kind == "markdown" and cell.source.strip():
            answer = questions.pop(question)
            places.placed[cell] = answer
            places.notes.append(f"{answer.exercise_id}: the text behind the question is taken for the answer")


def _lines(source: str) -> set[str]:
    return {line.strip() for line in source.split("\n")} - {""}


# ----- the student's own cells -------------------------------------------------------------------------------------


def _extras(cells: Sequence[RawCell], places: _Places) -> Iterator[Extra]:
    """Own cells, and what was added to cells of the release, each behind the release's cell it stood behind."""
    after = ""
    never_run = []
    for cell in cells:
        planned = places.placed.get(cell)
        if planned is not None:
            after = planned.id
            added = _added(planned, cell)
            source, kind = added, "markdown" if planned.kind == "text" else "code"
        else:
            source, kind = cell.source, cell.kind
        if not source.strip() or cell in places.dropped:
            continue
        if kind == "raw":
            never_run.append(cell.number)
        else:
            yield Extra(after, "code" if kind == "code" else "markdown", source)
    if never_run:
        places.notes.append(f"neither code nor text, left out: {numbers(never_run)} of the file")


def _added(planned: PlannedCell, cell: RawCell) -> str:
    # demonstrations are not run in grading, and what is added to one seldom means anything without it
    return "" if planned.is_answer or planned.kind == "demo" else added_lines(planned.source, cell.source)


def added_lines(original: str, edited: str) -> str:
    """What was added to a text between its top-level lines; "" if anything else was changed.

    A student who adds an import to the course's cell keeps it; one who rewrites the cell gets the course's version.
    """
    left = [line.rstrip() for line in original.strip().split("\n")]
    added: list[str] = []
    position, run_is_open = 0, False
    for line in edited.strip().split("\n"):
        if position < len(left) and line.rstrip() == left[position]:
            if run_is_open and line[:1].isspace():  # the addition ended inside a block: it means nothing alone
                return ""
            position, run_is_open = position + 1, False
        else:
            if not run_is_open and line[:1].isspace():
                return ""
            run_is_open = run_is_open or bool(line.strip())
            added.append(line)
    return "\n".join(added).strip("\n") if position == len(left) else ""


# ----- remarks -----------------------------------------------------------------------------------------------------


def _remarks(cells: Sequence[RawCell], places: _Places, index: _Index) -> None:
    """Say what was not taken from the submission, and why."""
    found = places.found()
    missing = [one.exercise_id for one in index.cells if one.is_answer and one not in found]
    if missing:
        places.notes.append(f"no cell was found for {', '.join(missing)}")
    order = [places.placed[cell].index for cell in cells if cell in places.placed]
    if any(later < earlier for earlier, later in pairwise(order)):
        places.notes.append("cells stand in another order than in the course's notebook, whose order is used")
    answers = [(cell, planned) for cell, planned in places.placed.items() if planned.is_answer]
    unmarked = sum(index.by_grade_id.get(cell.grade_id) is not planned for cell, planned in answers)
    if unmarked:
        places.notes.append(f"answers without nbgrader's mark, found by cell id, first line or place: {unmarked}")
    for cell, planned in answers:
        expected = "code" if planned.kind not in ("text", "written") else "markdown"
        if expected == "code" and cell.kind != expected:
            places.notes.append(f"{planned.exercise_id}: the cell was no code cell any more; it is run as code")
    _edits(places)


def _edits(places: _Places) -> None:
    """Say which of the course's own cells are not as they were handed out."""
    played, added, changed = list[str](), list[str](), list[str]()
    for cell, planned in places.placed.items():
        if planned.is_answer or _plain(cell.source) == _plain(planned.source):
            continue
        if planned.kind == "demo":
            played.append(planned.id)
        else:
            (added if _added(planned, cell) else changed).append(planned.id)
    if len(added) == 1:
        places.notes.append(f"cell {added[0]} was added to; the course's version is used, with yours behind it")
    elif added:
        places.notes.append(f"{_some(added)} were added to; the course's versions are used, with yours behind them")
    if len(changed) == 1:
        places.notes.append(f"cell {changed[0]} was changed; the course's version is used")
    elif changed:
        places.notes.append(f"{_some(changed)} were changed; the course's versions are used")
    if played:
        places.notes.append(f"demonstrations are not graded; changed ones: {', '.join(played)}")


def _some(ids: Sequence[str]) -> str:
    """Two cells or more by name; of very many the first ones: whoever changed them all knows it."""
    if len(ids) <= _TOLD:
        return f"cells {', '.join(ids[:-1])} and {ids[-1]}"
    return f"{len(ids)} cells ({', '.join(ids[: _TOLD - 1])} and others)"


def _plain(source: str) -> str:
    """A source for comparison: programs that differ in white space at line ends only are the same."""
    return "\n".join(line.rstrip() for line in source.strip().split("\n"))
