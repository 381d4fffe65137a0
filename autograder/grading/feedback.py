"""The `feedback/` folder: one page per submission that a student can open anywhere, from a mail or from disk.

The page is one file, without scripts, and its content-security policy forbids them as well as every address outside
the page. What a student wrote is sanitised first; verdicts, which are this package's own HTML, are put in afterwards.
Formulas are MathML, which browsers draw by themselves; TeX source where a formula cannot be turned into that.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape
from pathlib import Path
from typing import Any, cast

from nbconvert.filters.ansi import ansi2html, strip_ansi
from nbconvert.filters.markdown_mistune import InvalidNotebook, IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from nbgrader import utils
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]

from autograder.exercise import REGISTRY
from autograder.grading.autograded import (
    IMAGES,
    Room,
    clean_html,
    replace_folder,
    safe_attachments,
    safe_outputs,
    shown_verdict,
    simple_tags,
)
from autograder.grading.formulas import drawn
from autograder.grading.gradebook import HumanMark, Review, untouched
from autograder.grading.outline import in_order
from autograder.grading.results import ExerciseResult, SubmissionResult
from autograder.manifest import title_of
from autograder.render import BLUE, GREEN, VERMILLION, panel

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'"
)
PARTLY = "#B87700"  # render's orange is too pale for a sign on white
_MOST_ESCAPES = 2_000  # terminal colours in one output; nbconvert's conversion takes their number × the length


# --- points ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """One exercise as the page's table shows it; `points` is None while a human has to decide."""

    one: ExerciseResult
    title: str
    human: HumanMark
    points: float | None
    blank: bool

    @property
    def mark(self) -> tuple[str, str, str]:
        """Sign, colour, and the word that a screen reader says."""
        if self.points is None:
            return "○", BLUE, "waits"
        if self.points >= self.one.max_points:
            return "✓", GREEN, "all points"
        return ("◐", PARTLY, "some points") if self.points > 0 else ("✗", VERMILLION, "no points")

    @property
    def remark(self) -> str:
        if self.points is None:
            return "waits for a human"
        if self.human.manual_score is not None:
            return "marked by hand" if self.one.waits else f"marked by hand (the checks gave {self.one.points:g})"
        if self.blank:
            return "no answer"
        titles = "; ".join(text.partition(" ")[2] for text in self.one.misconceptions)
        if titles or self.one.reason or self.one.data.get("not_started"):
            return titles or self.one.reason or "not started"
        return f"not earned: {', '.join(self._lost)}" if self._lost else ""

    @property
    def _lost(self) -> list[str]:
        """Groups of cases whose points are missing, by name."""
        groups = self.one.data.get("groups", {})
        return [name for name, (earned, points) in groups.items() if earned < points] if len(groups) > 1 else []


def _rows(rebuilt: NotebookNode, result: SubmissionResult, review: Review) -> list[_Row]:
    blank = {c.metadata.nbgrader.grade_id for c in rebuilt.cells if utils.is_solution(c) and untouched(c)}
    rows = []
    for one in result.exercises:
        human = review.cells.get(one.grade_id, HumanMark())
        points: float | None = one.points
        if human.manual_score is not None:
            points = human.manual_score
        elif one.waits:
            points = 0.0 if one.grade_id in blank else None
        if points is not None and human.extra_credit:
            points += human.extra_credit
        answer = one.grade_id if one.waits else f"{one.grade_id}-solution"
        rows.append(_Row(one, _title(one.exercise_id), human, points, not points and answer in blank))
    return rows


def _title(exercise_id: str) -> str:
    try:
        return REGISTRY[exercise_id].title
    except KeyError:
        return ""


# --- the page -------------------------------------------------------------------------------------------------------


def feedback_page(
    rebuilt: NotebookNode,
    result: SubmissionResult,
    review: Review | None = None,
    measured: Mapping[str, str] | None = None,
) -> str:
    """The page's HTML. `review`: what humans entered (`Book.review`); `measured`: exercise id → what is said about what was
    measured there (`pseudonyms.told`)."""
    review = review or Review()
    rows = _rows(rebuilt, result, review)
    body = [
        _header(result, rows, review),
        _notes(result),
        _table(rows, measured or {}),
        f"<main>{in_order(_cells(rebuilt, result, rows, review))}</main>",
        _footer(result),
    ]
    title = escape(f"{title_of(result.assignment)} · {result.student}")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{_css()}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{"".join(body)}</body></html>\n'


def write_feedback(
    folder: Path,
    name: str,
    rebuilt: NotebookNode,
    result: SubmissionResult,
    review: Review | None = None,
    beside: Mapping[str, bytes] | None = None,
    measured: Mapping[str, str] | None = None,
) -> None:
    """Write `<name>.html` into `folder` (…/feedback/<student>/<assignment>), replacing what is there at once.

    `beside`: further small files (`companions` of the submission), which `nbgrader release_feedback` needs; `measured` as in
    `feedback_page`. Raises OSError when the folder cannot be written.
    """
    page = feedback_page(rebuilt, result, review, measured).encode("utf-8", "replace")
    replace_folder(folder, {f"{name}.html": page, **(beside or {})})


def _header(result: SubmissionResult, rows: list[_Row], review: Review) -> str:
    total = max(sum(row.points or 0.0 for row in rows) - review.late_penalty, 0.0)
    waiting = sum(row.one.max_points for row in rows if row.points is None)
    lines = [f"{waiting:g} points wait for a human."] if waiting else []
    if review.late_penalty:
        lines.append(f"{review.late_penalty:g} points are taken off for handing in late.")
    if result.rung == "none":
        lines.append("Graded without a sandbox (--trust-students).")
    share = min(100 * total / result.max_points, 100) if result.max_points else 0
    bar = f'<div class="ag-bar" aria-hidden="true"><div style="width:{share:.1f}%"></div></div>'
    return (
        f'<header><p class="ag-over">Feedback for {escape(result.student)}</p><h1>{escape(title_of(result.assignment))}</h1>'
        f'<p class="ag-total"><b>{total:g}</b> of {result.max_points:g} points</p>{bar}'
        f"{''.join(f'<p>{escape(line)}</p>' for line in lines)}</header>"
    )


def _notes(result: SubmissionResult) -> str:
    if not result.notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
    return f'<section class="ag-notes"><h2>About your submission</h2><ul>{items}</ul></section>'


def _table(rows: list[_Row], measured: Mapping[str, str]) -> str:
    lines = []
    for row in rows:
        sign, colour, word = row.mark
        points = "–" if row.points is None else f"{row.points:g}"
        name = f"<code>{escape(row.one.exercise_id)}</code>"
        lines.append(
            f'<tr><td><span role="img" aria-label="{word}" style="color:{colour}">{sign}</span></td>'
            f'<th scope="row"><a href="#{_anchor(row.one.grade_id)}">{escape(row.title) or name}</a> {name}'
            f"{_remarks(row.remark, measured.get(row.one.exercise_id, ''))}</th>"
            f'<td class="ag-number">{points} / {row.one.max_points:g}</td></tr>'
        )
    return f'<table class="ag-points" id="ag-points" aria-label="Points"><tbody>{"".join(lines)}</tbody></table>'


def _remarks(*texts: str) -> str:
    return "".join(f'<span class="ag-remark">{escape(text)}</span>' for text in texts if text)


def _footer(result: SubmissionResult) -> str:
    told = f"Submission {result.digest[:12]}, release {result.release[:12]}, engine {result.engine}"
    return f"<footer><p>{escape(told)}, sandbox “{escape(result.rung)}”.</p></footer>"


def _anchor(grade_id: str) -> str:
    return escape(f"ag-{grade_id}")


# --- cells ----------------------------------------------------------------------------------------------------------


def _cells(rebuilt: NotebookNode, result: SubmissionResult, rows: list[_Row], review: Review) -> str:
    by_grade_id = {row.one.grade_id: row for row in rows}
    room = Room()
    parts = []
    for cell in rebuilt.cells:
        row = by_grade_id.get(cell.metadata.get("nbgrader", {}).get("grade_id"))
        if row is not None:
            parts.append(_graded(cell, row, room))
        elif cell.cell_type == "code":
            outputs = safe_outputs(result.outputs.get(cell.get("id"), []), room)
            parts.append(_code_cell(cell, outputs, review, room))
        else:
            parts.append(f'<section class="ag-text">{_text(cell, room)}</section>')
    return "\n".join(parts)


def _graded(cell: NotebookNode, row: _Row, room: Room) -> str:
    """A check cell with its verdict, or written work with what a human said about it."""
    if cell.cell_type == "code":
        inner = f"{_code(cell, room)}{shown_verdict(row.one)[0]}"
        if row.human.manual_score is not None:
            inner += panel(f'<p style="margin:0"><b>{_human_line(row)}</b></p>', BLUE)
    else:
        inner = f'<p class="ag-label">Your answer</p><div class="ag-text ag-answer">{_text(cell, room)}</div>'
        inner += panel(f'<p style="margin:0"><b>{_human_line(row)}</b></p>', row.mark[1])
    back = '<p class="ag-back"><a href="#ag-points">↑ all points</a></p>'
    return f'<section class="ag-graded" id="{_anchor(row.one.grade_id)}">{inner}{_comment(row.human)}{back}</section>'


def _human_line(row: _Row) -> str:
    name = f"{escape(row.one.exercise_id)} · {escape(row.title)}"
    if row.points is None:
        return f"{_sign(row)} {name} · waits for a human"
    how = " (no answer)" if row.blank and row.human.manual_score is None else ", marked by hand"
    return f"{_sign(row)} {name} · {row.points:g} of {row.one.max_points:g} points{how}"


def _sign(row: _Row) -> str:
    return f'<span aria-hidden="true" style="color:{row.mark[1]}">{row.mark[0]}</span>'


def _comment(human: HumanMark) -> str:
    if not human.comment:
        return ""
    comment = _markdown(human.comment) if Room().takes(human.comment) else _plain(human.comment)
    return f'<div class="ag-comment"><p class="ag-label">Comment</p>{comment}</div>'


def _code_cell(cell: NotebookNode, outputs: list[NotebookNode], review: Review, room: Room) -> str:
    tags = set(cell.metadata.get("tags", []))
    shown = "".join(map(_output, outputs))
    if tags & {"demo", "explore", "setup"} and not shown:
        what = "Setup" if "setup" in tags else "Demonstration"
        return f'<p class="ag-demo">{what}, not part of the mark: in your notebook</p>'
    code = _code(cell, room)
    if not utils.is_solution(cell):
        return f'<section class="ag-cell">{code}{shown}</section>'
    comment = _comment(review.cells.get(cell.metadata.nbgrader.grade_id, HumanMark()))
    label = "Your code, as it was handed out" if untouched(cell) else "Your code"
    return f'<section class="ag-yours"><p class="ag-label">{label}</p>{code}{shown}{comment}</section>'


def _output(output: NotebookNode) -> str:
    if output.output_type == "stream":
        kind = " ag-stderr" if output.name == "stderr" else ""
        return f'<pre class="ag-out{kind}">{_terminal(output.text)}</pre>'
    if output.output_type == "error":
        text = "\n".join(output.traceback) or f"{output.ename}: {output.evalue}"
        return f'<pre class="ag-out ag-error">{_terminal(text)}</pre>'
    data = output.data
    if "text/html" in data:
        return f'<div class="ag-out ag-html">{data["text/html"]}</div>'  # cleaned by safe_outputs
    for mime in IMAGES:
        if mime in data:
            alt = escape(data.get("text/plain", "picture")[:200])
            return f'<img class="ag-picture" alt="{alt}" src="data:{mime};base64,{data[mime]}">'
    return f'<pre class="ag-out">{_terminal(data.get("text/plain") or data.get("text/latex", ""))}</pre>'


def _terminal(text: str) -> str:
    """Text as a terminal shows it: escaped, coloured, without control characters."""
    text = "".join(c for c in text if c >= " " or c in "\n\t\x1b")
    return str(ansi2html(text)) if text.count("\x1b") <= _MOST_ESCAPES else escape(strip_ansi(text))


# --- text and code --------------------------------------------------------------------------------------------------


class _Renderer(IPythonRenderer):  # type: ignore[misc]
    """nbconvert's renderer; formulas become TeX source, which `_with_formulas` replaces once the page is cleaned."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.formulas: list[tuple[str, bool]] = []
        self.mark = secrets.token_hex(8)  # nobody can write it into a cell beforehand

    def inline_math(self, body: str) -> str:
        return self._formula(body, block=False)

    def block_math(self, body: str) -> str:
        return self._formula(body, block=True)

    def _formula(self, body: str, block: bool) -> str:
        self.formulas.append((body.strip(), block))
        return f'<code class="tex">{self.mark}-{len(self.formulas) - 1}</code>'

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(body)

    def block_mermaidjs(self, code: str) -> str:
        return f"<pre>{escape(code)}</pre>"

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Pasted pictures stand below the text; of those elsewhere, which the page may not load, only the words stay."""
        if url.startswith("attachment:"):
            return f"<em>[{escape(text or 'picture')}, below]</em>"
        if not url.startswith("data:"):
            return escape(text or "[picture]")
        return str(super().image(text, url, title))


def _text(cell: NotebookNode, room: Room) -> str:
    """A markdown cell, with the pictures that were pasted into it below."""
    shown = _markdown(cell.source) if room.takes(cell.source) else _plain(cell.source)
    for name, pictures in safe_attachments(cell, room).items():
        mime, data = next(iter(pictures.items()))
        shown += f'<img class="ag-picture" alt="{escape(name)}" src="data:{mime};base64,{data}">'
    return shown


@lru_cache(maxsize=1024)  # the course's own cells are the same in every submission
def _markdown(source: str) -> str:
    """Markdown as sanitised HTML; as plain text where it is too crooked to be rendered in little time."""
    try:
        renderer = _Renderer(escape=False, exclude_anchor_links=True)
        html = MarkdownWithMath(renderer=renderer).render(source)
    except (InvalidNotebook, RecursionError, ValueError, KeyError, IndexError):
        return _plain(source)
    return _with_formulas(clean_html(html), renderer) if simple_tags(html) is not None else _plain(source)


def _with_formulas(html: str, renderer: _Renderer) -> str:
    """Formulas in their places. Inside an attribute quotes are escaped: a place found here is an element of its own."""

    def formula(place: re.Match[str]) -> str:
        tex, block = renderer.formulas[int(place[1])]
        kind = "tex texblock" if block else "tex"
        return drawn(tex, block) or f'<code class="{kind}">{escape(tex)}</code>'

    return re.sub(f'<code class="tex">{renderer.mark}-([0-9]+)</code>', formula, html)


def _plain(source: str) -> str:
    return f'<pre class="ag-plain">{escape(source)}</pre>'


def _code(cell: NotebookNode, room: Room) -> str:
    if not cell.source:
        return ""
    inner = _coloured(cell.source) if room.takes(cell.source) else escape(cell.source)
    return f'<pre class="ag-code"><code>{inner}</code></pre>'


@lru_cache(maxsize=1024)
def _coloured(source: str) -> str:
    return str(highlight(source, _lexer(), _formatter()))


@cache
def _lexer() -> Any:
    return get_lexer_by_name("ipython3", stripnl=False)


@cache
def _formatter() -> Any:
    return HtmlFormatter(nowrap=True)


# --- look -----------------------------------------------------------------------------------------------------------

_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--soft:#f5f6f8;--code:#fbfcfd;--line:#d9dde3;--ink:#1c2024;--quiet:#5a6470;
 --link:#0b62a8}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:54rem;background:var(--ground);color:var(--ink);
 font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:break-word}
a{color:var(--link)}
h1{font-size:1.9rem;line-height:1.2;margin:.1em 0}
h2{font-size:1.35rem;margin:1.8em 0 .4em;line-height:1.3}
h3{font-size:1.1rem;margin:1.4em 0 .3em}
p{margin:.6em 0}
header{margin-bottom:1.2rem}header p{margin:.3em 0}
.ag-over,.ag-label,footer{color:var(--quiet);font-size:.9rem}
.ag-total{font-size:1.15rem}.ag-total b{font-size:1.9rem}
.ag-bar{height:.5rem;border-radius:.25rem;background:var(--line);overflow:hidden;max-width:24rem;margin:.4em 0}
.ag-bar div{height:100%;background:#009E73}
.ag-notes{border:1px solid var(--line);border-radius:.4rem;padding:.6rem 1rem;margin:1rem 0}
.ag-notes h2{font-size:1rem;margin:0}.ag-notes ul{margin:.3em 0;padding-left:1.2em}
.ag-points{width:100%;border-collapse:collapse;margin:1rem 0 2rem}
.ag-points td,.ag-points th{padding:.4rem .5rem;border-bottom:1px solid var(--line);vertical-align:top;text-align:left;
 font-weight:normal}
.ag-points td:first-child{width:1.6rem}
.ag-points code{font-size:.8rem;color:var(--quiet);background:none;white-space:nowrap}
.ag-points .ag-number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.ag-remark{display:block;color:var(--quiet);font-size:.9rem}
.ag-graded,.ag-yours{scroll-margin-top:1rem}
.ag-graded{margin:1rem 0 2rem}
.ag-cell,.ag-yours{margin:1rem 0}
.ag-label{margin:.8em 0 .2em}
.ag-yours>.ag-code,.ag-answer{border-left:4px solid #0072B2}
.ag-answer{background:var(--soft);border-radius:.3rem;padding:.1rem .9rem}
.ag-comment{border:1px solid var(--line);border-radius:.4rem;padding:.1rem .9rem;margin:.6rem 0}
.ag-comment .ag-label{margin:.4em 0 -.4em}
.ag-demo{margin:.6rem 0;color:var(--quiet);font-size:.9rem}
.ag-back{font-size:.9rem;margin:.4em 0}
pre,code,kbd,samp{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
code{font-size:.9em;background:var(--soft);border-radius:.2rem;padding:.05em .25em}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.5em 0;font-size:.86rem;line-height:1.45}
pre code{font-size:inherit;background:none;padding:0}
.ag-code,.ag-text pre{background:var(--code);border:1px solid var(--line);border-radius:.3rem;padding:.6rem .8rem;
 color:var(--ink)}
.ag-out{padding:.2rem .8rem;max-height:30rem;overflow-y:auto}
.ag-error,.ag-stderr{border-left:4px solid #D55E00}
.ag-html{overflow-x:auto}
.ag-picture,.ag-text img,.ag-html img{max-width:100%;height:auto}
.ag-picture{display:block;background:#fff;border-radius:.3rem;margin:.5em 0}
.ag-text table,.ag-html table{border-collapse:collapse;margin:.6em 0;display:block;overflow-x:auto;max-width:100%}
.ag-text td,.ag-text th,.ag-html td,.ag-html th{border-bottom:1px solid var(--line);padding:.25rem .6rem;text-align:left}
.ag-text blockquote{margin:.6em 0;padding-left:1em;border-left:3px solid var(--line)}
.tex{font-style:italic;background:none;padding:0;overflow-wrap:anywhere}
.texblock{display:block;margin:.7em 0;padding-left:1.5em;white-space:pre-wrap}
math{font-family:"Latin Modern Math","STIX Two Math","Cambria Math",math}
.ag-equation{display:flex;align-items:center}.ag-equation math{flex:1}
math[display=block]{margin:.8em 0;overflow-x:auto;overflow-y:hidden}
svg{max-width:100%;height:auto}
footer{margin-top:3rem;border-top:1px solid var(--line);overflow-wrap:anywhere}
.ansi-bold{font-weight:bold}.ansi-underline{text-decoration:underline}
.ansi-red-fg,.ansi-red-intense-fg{color:#B3401A}.ansi-green-fg,.ansi-green-intense-fg{color:#007A59}
.ansi-blue-fg,.ansi-blue-intense-fg{color:#0b62a8}.ansi-yellow-fg,.ansi-yellow-intense-fg{color:#8a6100}
.ansi-cyan-fg,.ansi-cyan-intense-fg{color:#00737d}.ansi-magenta-fg,.ansi-magenta-intense-fg{color:#99407c}
"""

_DARK = """
:root{--ground:#16191d;--soft:#20252b;--code:#20252b;--line:#39414a;--ink:#e4e7ea;--quiet:#a2abb5;--link:#6cb8f5}
.ansi-red-fg,.ansi-red-intense-fg{color:#ff8f66}.ansi-green-fg,.ansi-green-intense-fg{color:#4fd1a5}
.ansi-blue-fg,.ansi-blue-intense-fg{color:#6cb8f5}.ansi-yellow-fg,.ansi-yellow-intense-fg{color:#e6c04d}
.ansi-cyan-fg,.ansi-cyan-intense-fg{color:#56d0da}.ansi-magenta-fg,.ansi-magenta-intense-fg{color:#e6a3cf}
"""

_PRINT = """
body{max-width:none;padding:0;font-size:10.5pt}
.ag-demo,.ag-back{display:none}
.ag-out{max-height:none;overflow:visible}
.ag-points tr,.ag-graded,.ag-picture{break-inside:avoid}
h2,h3,.ag-label{break-after:avoid}
"""


@cache
def _css() -> str:
    """The page's style: light, dark and on paper (always light)."""
    light, dark = _colours("default"), _colours("github-dark")
    return (
        f"{_STYLE}{light}@media screen and (prefers-color-scheme:dark){{{_DARK}{dark}}}"
        f"@media print{{:root{{color-scheme:light}}{_PRINT}}}"
    )


def _colours(style: str) -> str:
    """A Pygments style's rules for tokens, without its grounds."""
    rules: Iterable[str] = cast(Any, HtmlFormatter(style=style)).get_style_defs(".ag-code").splitlines()
    tokens = (rule for rule in rules if rule.startswith(".ag-code ."))
    return "\n".join(rule.partition("/*")[0] for rule in tokens if "background" not in rule and "border" not in rule)
