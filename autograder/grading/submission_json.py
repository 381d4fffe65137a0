"""Bytes of a notebook that anybody may have written → its cells, as plain text with the ids they claim.

nbformat is not used: it trusts the file (deep recursion, random ids, schema errors that end the reading), and of a
submission nothing but types, sources and ids is wanted. A damaged file gives the cells that are whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

MAX_BYTES = 20_000_000  # of a file
MAX_CELLS = 2_000  # not counting empty ones without an id
MAX_SOURCE = 1_000_000  # characters of one cell
#: Lists and objects, and commas: 20 MB of `[],` would take 1.5 GB and seconds to read. Plots as JSON have far fewer.
MAX_CONTAINERS, MAX_COMMAS = 500_000, 3_000_000
_MAX_TOKENS = 1_000_000  # of a broken cell that is skipped

_SURROGATE = re.compile("[\ud800-\udfff]")
_CELLS_KEY = re.compile(r'(?<!\\)"cells"\s*:\s*\[')
_NEXT = re.compile(r"[{\]]")
#: Whole strings with what stands between them, a bracket, or the quote of a string that never ends. Possessive: no
#: input makes it slow.
_TOKEN = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"[^"\[\]{}]*+)++|[\[\]{}]|"', re.DOTALL)
_TYPES = {"code": "code", "markdown": "markdown", "heading": "markdown", "html": "markdown"}
_LISTED = 8


class Unreadable(ValueError):
    """Nothing can be read; the message is one line for the student."""


@dataclass(frozen=True, eq=False)
class RawCell:
    """One cell as handed in. `number`: from 1, as in the file; `ids`: cell ids it goes by; `kind` "raw" never runs."""

    number: int
    kind: str
    source: str
    ids: tuple[str, ...] = ()
    grade_id: str = ""


@dataclass(frozen=True)
class Parsed:
    cells: tuple[RawCell, ...]
    notes: tuple[str, ...]


def parse(data: bytes) -> Parsed:
    """The cells of a notebook of any format version (1 MB of text a cell, 2,000 cells).

    Raises Unreadable where not one cell can be told.
    """
    if len(data) > MAX_BYTES:
        raise Unreadable(f"the file is larger than {MAX_BYTES // 1_000_000} MB: clear its outputs and hand it in again")
    if not data.strip():
        raise Unreadable("the file is empty")
    notes: list[str] = []
    text = _decode(data, notes)
    if text.count("[") + text.count("{") > MAX_CONTAINERS or text.count(",") > MAX_COMMAS:
        raise Unreadable("the file holds far too many values: clear its outputs and hand it in again")
    values = _values(text, notes)
    return Parsed(tuple(_cells(values, notes)), tuple(notes))


def numbers(values: Sequence[int]) -> str:
    """Cell numbers for a message: "cell 3", "cells 3, 4 and 9 more"."""
    shown = ", ".join(map(str, values[:_LISTED]))
    more = f" and {len(values) - _LISTED} more" if len(values) > _LISTED else ""
    return f"cell{'s' if len(values) > 1 else ''} {shown}{more}"


def _decode(data: bytes, notes: list[str]) -> str:
    encoding = json.detect_encoding(data)  # byte order marks, and UTF-16 or UTF-32 without one
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding.startswith("utf-8"):
            text = data.decode(encoding, "replace")
            notes.append("the file holds bytes that are not text; they were replaced by question marks")
        else:  # most likely cut in the middle of a character
            text = data[: error.start].decode(encoding, "ignore")
    return text.lstrip("\ufeff")


def _whole(text: str) -> int:
    """Numbers of a notebook matter here for heading levels only; a long one costs quadratic time to convert."""
    return int(text) if len(text) < 10 else 0


# strict=False: line breaks inside strings are what other programs' editors leave behind
_DECODER = json.JSONDecoder(strict=False, parse_int=_whole, parse_float=lambda _: 0.0, parse_constant=lambda _: 0.0)


def _values(text: str, notes: list[str]) -> list[Any]:
    """The JSON values in the notebook's list of cells."""
    try:
        notebook = _DECODER.decode(text)
    except RecursionError:
        return _salvaged(text, "it is nested too deeply", notes)
    except json.JSONDecodeError as error:
        return _salvaged(text, f"line {error.lineno}, column {error.colno}: {error.msg}", notes)
    if not isinstance(notebook, dict):
        raise Unreadable("the file is not a notebook: it holds JSON, but no notebook's")
    if isinstance(notebook.get("cells"), list):
        return list(notebook["cells"])
    if isinstance(notebook.get("worksheets"), list):  # formats 2 and 3
        sheets = [sheet["cells"] for sheet in notebook["worksheets"] if isinstance(sheet, dict) and "cells" in sheet]
        return [value for cells in sheets if isinstance(cells, list) for value in cells]
    raise Unreadable("the file is not a notebook: it has no list of cells")


def _salvaged(text: str, reason: str, notes: list[str]) -> list[Any]:
    start = _CELLS_KEY.search(text)
    found = list(islice(_whole_cells(text, start.end()), MAX_CELLS)) if start else []
    read = [value for value in found if value is not None]
    if not read:
        raise Unreadable(f"the file is not a readable notebook ({reason})")
    notes.append(f"the file is damaged ({reason}); {len(read)} whole cells were read from it")
    return read


def _whole_cells(text: str, position: int) -> Iterator[Any]:
    """The objects of a JSON list that starts before `position`; None for one that is broken in itself."""
    while (found := _NEXT.search(text, position)) and found.group() == "{":
        try:
            value, position = _DECODER.raw_decode(text, found.start())
        except (json.JSONDecodeError, RecursionError):
            end = _end_of_object(text, found.start())
            if end is None:
                return
            value, position = None, end
        yield value


def _end_of_object(text: str, start: int) -> int | None:
    """Where the brackets that open at `start` are closed, without recursion; None if the text ends before (or is absurd)."""
    depth = 0
    for token in islice(_TOKEN.finditer(text, start), _MAX_TOKENS):
        character = token.group()
        if character == '"':
            return None
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(character, 0)
        if depth == 0:
            return token.end()
    return None


def _cells(values: list[Any], notes: list[str]) -> Iterator[RawCell]:
    broken: list[int] = []
    large: list[int] = []
    read = 0
    for number, value in enumerate(values, start=1):
        source = _source(value)
        if source is None:
            broken.append(number)
        elif len(source) > MAX_SOURCE:
            large.append(number)
        else:
            cell = _cell(number, value, source)
            # Jupyter leaves empty cells behind: they are nobody's answer unless they carry a mark
            if not source.strip() and not cell.ids and not cell.grade_id:
                continue
            if read == MAX_CELLS:
                notes.append(f"only the first {MAX_CELLS:,} cells were read")
                break
            read += 1
            yield cell
    if broken:
        notes.append(f"{numbers(broken)} of the file could not be read and {_were(broken)} left out")
    if large:
        notes.append(f"{numbers(large)} of the file with more than 1 MB of text {_were(large)} left out")


def _were(some: Sequence[int]) -> str:
    return "were" if len(some) > 1 else "was"


def _source(value: Any) -> str | None:
    """The text of a cell with "\\n" line ends and no half characters; None if there is none."""
    if not isinstance(value, dict):
        return None
    source = value.get("source", value.get("input"))  # code cells of formats 2 and 3 say "input"
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        return None
    # Python reads all three line ends alike, so this changes no program
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    return source if source.isascii() else _SURROGATE.sub("\ufffd", source)


def _cell(number: int, value: dict[str, Any], source: str) -> RawCell:
    metadata = _dict(value.get("metadata"))
    settings = _dict(metadata.get("nbgrader"))
    ids = [one for one in (value.get("id"), metadata.get("id")) if isinstance(one, str) and one]  # Colab: in metadata
    grade_id = settings.get("grade_id")
    cell_type, level = value.get("cell_type"), value.get("level")
    if cell_type == "heading" and isinstance(level, int):
        source = f"{'#' * max(1, min(level, 6))} {source}"
    kind = _TYPES.get(cell_type, "raw") if isinstance(cell_type, str) else "raw"
    return RawCell(number, kind, source, tuple(ids), grade_id if isinstance(grade_id, str) else "")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
