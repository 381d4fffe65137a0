"""What a learner has done so far: kept per user in one small JSON file, shown as a table over all notebooks.

The file is `$AUTOGRADER_STATE`, or `practical-optimization/progress.json` in the user's data folder. It is a
convenience: when it cannot be read or written, everything works without it and the table says so.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from autograder.exercise import REGISTRY, Exercise
from autograder.manifest import Notebook, manifest


def state_file() -> Path:
    """Where the progress is kept."""
    if given := os.environ.get("AUTOGRADER_STATE"):
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "practical-optimization" / "progress.json"


def enabled() -> bool:
    """nbgrader's own runs (autograde, validate) leave no trace in anybody's progress."""
    return "NBGRADER_EXECUTION" not in os.environ


def load() -> dict[str, dict[str, Any]]:
    """id → what is known about it; {} when there is no readable file."""
    try:
        data = json.loads(state_file().read_text(encoding="utf-8"))
        exercises = data["exercises"]
        return exercises if isinstance(exercises, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def note(exercise_id: str, **values: Any) -> dict[str, Any]:
    """Update one exercise's entry and return it. Written at once and in one piece; failing to write is no error."""
    state = load()
    entry = state.get(exercise_id)
    entry = {**(entry if isinstance(entry, dict) else {}), **values}
    state[exercise_id] = entry
    if enabled():
        _write({"version": 1, "exercises": state})
    return entry


def _write(data: Mapping[str, Any]) -> None:
    path = state_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1, sort_keys=True)
        os.replace(temporary, path)
    except OSError:
        return


def writable() -> bool:
    """Can progress be kept? Found by trying: permissions alone do not tell."""
    folder = state_file().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@dataclass(frozen=True)
class _Row:
    exercise: Exercise
    entry: Mapping[str, Any]

    @property
    def mark(self) -> str:
        if self.exercise.kind == "written":
            return "✎"
        if self.entry.get("passed"):
            return "✓"
        return "…" if self.entry.get("attempts") or self.entry.get("answered") else "○"

    @property
    def words(self) -> str:
        begun = "answered" if self.entry.get("answered") else "begun"
        by_mark = {"✎": "graded by hand", "✓": "done", "…": begun, "○": "not started"}
        hints = self.entry.get("hints", 0)
        used = f", {hints} hint{'' if hints == 1 else 's'}" if hints else ""
        return by_mark[self.mark] + used


class Progress:
    """A table of all notebooks and exercises; notebooks show it as HTML, terminals as text."""

    def __init__(self) -> None:
        state = load()
        self.saved = writable()
        self.rows: list[tuple[Notebook, list[_Row]]] = []
        for notebook in manifest().notebooks:
            entries = [_Row(e, state.get(e.id, {})) for e in REGISTRY.values() if e.notebook == notebook.name]
            self.rows.append((notebook, entries))

    def __repr__(self) -> str:
        lines = []
        for notebook, rows in self.rows:
            lines.append(f"{notebook.name} · {notebook.title}: {_done(rows)} of {len(rows)} done")
            lines += [f"  {row.mark} {row.exercise.id:<24} {row.exercise.title} ({row.words})" for row in rows]
        return "\n".join([*lines, *self._remark()])

    def _remark(self) -> list[str]:
        return [] if self.saved else [f"(not saved between sessions: {state_file().parent} cannot be written)"]

    def _repr_html_(self) -> str:
        body = "".join(_notebook_html(notebook, rows) for notebook, rows in self.rows)
        remark = "".join(f"<p><i>{escape(line)}</i></p>" for line in self._remark())
        return f'<div style="max-width:50em">{body}{remark}</div>'


def _done(rows: list[_Row]) -> int:
    return sum(row.mark == "✓" for row in rows)


def _notebook_html(notebook: Notebook, rows: list[_Row]) -> str:
    done, total = _done(rows), max(len(rows), 1)
    bar = (
        f'<span role="img" aria-label="{done} of {len(rows)} done" style="display:inline-block;width:8em;height:.6em;'
        f'border:1px solid currentColor;border-radius:.3em;vertical-align:middle"><span style="display:block;height:100%;'
        f'width:{100 * done / total:.0f}%;background:#009E73"></span></span>'
    )
    cells = "".join(
        f'<tr><td style="text-align:center">{row.mark}</td><td style="text-align:left"><code>{escape(row.exercise.id)}'
        f'</code></td><td style="text-align:left">{escape(row.exercise.title)}</td>'
        f'<td style="text-align:left">{difficulty(row.exercise)}</td><td>{row.exercise.points:g}</td>'
        f'<td style="text-align:left">{escape(row.words)}</td></tr>'
        for row in rows
    )
    titles = ("", "exercise", "", "difficulty", "points", "")
    head = "".join(f'<th scope="col" style="text-align:left">{title}</th>' for title in titles)
    is_open = " open" if any(row.mark == "…" for row in rows) else ""
    return (
        f"<details{is_open}><summary><b>{escape(notebook.title)}</b> &nbsp; {bar} &nbsp; {done} of {len(rows)}</summary>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table></details>"
    )


def difficulty(exercise: Exercise) -> str:
    """Three circles, as many filled as the exercise is hard."""
    return "●" * exercise.difficulty + "○" * (3 - exercise.difficulty)
