"""The progress panel: every notebook and exercise with points, hints used and misconceptions met."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from autograder import learner
from autograder.exercise import REGISTRY, Exercise
from autograder.manifest import Notebook, manifest


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
        extra = [
            "the last check failed" if self.mark == "✓" and self.entry.get("last") is False else "",
            f"{hints} hint{'' if hints == 1 else 's'}" if hints else "",
            "solution read" if self.entry.get("solution") else "",
        ]
        return ", ".join([by_mark[self.mark], *filter(None, extra)])

    @property
    def met(self) -> list[str]:
        """Titles of the misconceptions that checks have recognised, most frequent first, with how often."""
        titles = {m.id: m.title for m in getattr(self.exercise, "misconceptions", ())}
        counts: Mapping[str, int] = self.entry.get("misconceptions") or {}
        ordered = sorted(counts.items(), key=lambda item: -item[1])
        return [titles.get(name, name) + (f" ({count}×)" if count > 1 else "") for name, count in ordered]


class Progress:
    """A table of all notebooks and exercises; notebooks show it as HTML, terminals as text."""

    def __init__(self) -> None:
        state = learner.load()
        self.saved = learner.writable()
        self.rows: list[tuple[Notebook, list[_Row]]] = []
        for notebook in manifest().notebooks:
            entries = [_Row(e, state.get(e.id, {})) for e in REGISTRY.values() if e.notebook == notebook.name]
            self.rows.append((notebook, entries))

    def export(self, path: str | Path) -> None:
        """Write the progress to a file: `.json` to take it to another machine (`restore`), `.csv` to read in a table.

        Raises ValueError for another ending, OSError when the file cannot be written.
        """
        path = Path(path)
        if path.suffix == ".json":
            learner.write(path, learner.load())
        elif path.suffix == ".csv":
            _write_csv(path, [row for _, rows in self.rows for row in rows])
        else:
            raise ValueError(f"{path} should end in .json (to restore it) or .csv (to read it)")
        print(f"Progress written to {path.resolve()}")

    def restore(self, path: str | Path) -> Progress:
        """Take over the entries of an exported `.json`; other entries stay. What was there is kept beside it.

        Raises OSError when the file cannot be read, ValueError when it is no progress file.
        """
        entries = learner.read(Path(path))
        _replace({**learner.load(), **entries})
        return Progress()

    def reset(self, *names: str) -> Progress:
        """Forget everything, or only the exercises and notebooks named. What was there is kept beside it.

        Raises UnknownExercise (a KeyError) for a name that is neither.
        """
        notebooks = {notebook.name for notebook in manifest().notebooks}
        exercises = {REGISTRY[name].id for name in names if name not in notebooks}
        exercises |= {e.id for e in REGISTRY.values() if not names or e.notebook in names}
        _replace({name: entry for name, entry in learner.load().items() if name not in exercises} if names else {})
        return Progress()

    def __repr__(self) -> str:
        lines = []
        for notebook, rows in self.rows:
            lines.append(f"{notebook.name} · {notebook.title}: {_tally(rows)}")
            for row in rows:
                points = f", {_points(row.exercise.points)}" if row.exercise.points else ""
                lines.append(f"  {row.mark} {row.exercise.id:<24} {row.exercise.title} ({row.words}{points})")
                lines += [f"      met: {title}" for title in row.met]
        return "\n".join([*lines, *self._remark()])

    def _remark(self) -> list[str]:
        folder = learner.state_file().parent
        return [] if self.saved else [f"(not saved between sessions: {folder} cannot be written)"]

    def _repr_html_(self) -> str:
        body = "".join(_notebook_html(notebook, rows) for notebook, rows in self.rows)
        remark = "".join(f"<p><i>{escape(line)}</i></p>" for line in self._remark())
        return f'<div style="max-width:60em">{body}{remark}</div>'


def _replace(entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write these entries; the old ones stay in a file beside, which the next line names."""
    file = learner.state_file()
    before = learner.load()
    if before:
        kept = file.with_name(f"{file.stem}_before.json")
        learner.write(kept, before)
        print(f"What was there is kept in {kept}")
    learner.write(file, entries)


def _write_csv(path: Path, rows: list[_Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["notebook", "exercise", "title", "points", "state", "attempts", "hints", "misconceptions"])
        for row in rows:
            e, entry = row.exercise, row.entry
            begin = [e.notebook, e.id, e.title, f"{e.points:g}", row.words]
            table.writerow([*begin, entry.get("attempts", 0), entry.get("hints", 0), "; ".join(row.met)])


def _points(points: float) -> str:
    return f"{points:g} point{'' if points == 1 else 's'}"


def _done(rows: list[_Row]) -> int:
    return sum(row.mark == "✓" for row in rows)


def _tally(rows: list[_Row]) -> str:
    """How many are done, and the points that stand behind them."""
    total = sum(row.exercise.points for row in rows)
    earned = sum(row.exercise.points for row in rows if row.mark == "✓")
    return f"{_done(rows)} of {len(rows)} done" + (f", {earned:g} of {_points(total)}" if total else "")


def _notebook_html(notebook: Notebook, rows: list[_Row]) -> str:
    tally = _tally(rows)
    bar = (
        f'<span role="img" aria-label="{tally}" style="display:inline-block;width:8em;height:.6em;'
        f'border:1px solid currentColor;border-radius:.3em;vertical-align:middle"><span style="display:block;height:100%;'
        f'width:{100 * _done(rows) / max(len(rows), 1):.0f}%;background:#009E73"></span></span>'
    )
    titles = ("", "exercise", "", "difficulty", "points", "", "misconceptions met")
    head = "".join(f'<th scope="col" style="text-align:left">{title}</th>' for title in titles)
    is_open = " open" if any(row.mark == "…" for row in rows) else ""
    return (
        f"<details{is_open}><summary><b>{escape(notebook.title)}</b> &nbsp; {bar} &nbsp; {tally}</summary>"
        f'<div style="overflow-x:auto"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(map(_row_html, rows))}</tbody></table></div></details>"
    )


def _row_html(row: _Row) -> str:
    e = row.exercise
    met = "<br>".join(map(escape, row.met))
    left = [f"<code>{escape(e.id)}</code>", escape(e.title), difficulty(e)]
    cells = "".join(f'<td style="text-align:left">{cell}</td>' for cell in left)
    tail = "".join(f'<td style="text-align:left">{cell}</td>' for cell in (escape(row.words), met))
    return f'<tr><td style="text-align:center">{row.mark}</td>{cells}<td>{e.points:g}</td>{tail}</tr>'


def difficulty(exercise: Exercise) -> str:
    """Three circles, as many filled as the exercise is hard."""
    return "●" * exercise.difficulty + "○" * (3 - exercise.difficulty)
