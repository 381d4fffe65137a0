"""The `autograded/` folder: the graded notebook as formgrader opens it, each check cell showing its verdict.

Formgrader renders it with nbconvert and does not sanitise: what a student's cell printed as HTML, or wrote as raw HTML
into an answer, would run as a script in the instructor's own Jupyter session. So everything active is taken out here,
before anybody opens the file; `feedback` uses the same functions. What is plain stays as it was.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
from bleach.css_sanitizer import CSSSanitizer  # type: ignore[import-untyped]
from bleach.sanitizer import Cleaner  # type: ignore[import-untyped]
from nbconvert.filters.markdown_mistune import InvalidNotebook, IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from nbgrader.utils import parse_utc

from autograder.grading.flags import Flagged, cell_name
from autograder.grading.flags import read as read_flags
from autograder.grading.results import ExerciseResult, SubmissionResult
from autograder.grading.submission_files import COMPANIONS
from autograder.render import MIME, ORANGE, VERMILLION, panel

# --- what is shown of a submission's outputs ------------------------------------------------------------------------

MOST_TEXT = 60_000  # characters of one output; the middle is left out
MOST_SOURCE = 20_000  # characters of one cell that are rendered or coloured; longer ones are shown as plain text
MOST_SOURCES = 300_000  # of all cells of a notebook
MOST_OPENINGS = 200  # of TeX environments in one cell: for each, nbconvert looks for the end to the cell's end
MOST_OUTPUTS = 100  # of one cell
MOST_BYTES = 8_000_000  # of all outputs of a notebook
MOST_TAGS, MOST_DEPTH = 8_000, 40  # of all HTML outputs of a notebook; parsing misnested HTML takes tags × depth

IMAGES = ("image/png", "image/jpeg", "image/gif")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]*=*\s*")


@dataclass
class Room:
    """How much of a notebook may still be shown, so that no submission keeps the writer busy for long."""

    size: int = MOST_BYTES
    tags: int = MOST_TAGS
    sources: int = MOST_SOURCES

    def takes(self, source: str) -> bool:
        """Is there room to render this cell's source? Takes the room if so."""
        openings = sum(source.count(opening) for opening in ("\\begin", "\\\\[", "\\\\("))
        if len(source) > min(MOST_SOURCE, self.sources) or openings > MOST_OPENINGS:
            return False
        self.sources -= len(source)
        return True


def safe_outputs(outputs: Iterable[Any], room: Room) -> list[NotebookNode]:
    """Outputs of a student's cell as valid nbformat, without anything active, within the room that is left.

    Accepts anything: outputs come out of the student's process.
    """
    shown = []
    for number, output in enumerate(outputs):
        if number == MOST_OUTPUTS:
            shown.append(_remark(f"… more than {MOST_OUTPUTS} outputs, the rest is left out"))
            break
        found = _safe_output(output, room) if isinstance(output, Mapping) else None
        if found is None:
            continue
        room.size -= sum(len(text) for text in _texts(found))
        if room.size < 0:
            shown.append(_remark("… too much output, the rest is left out"))
            break
        shown.append(found)
    return shown


def _safe_output(output: Mapping[str, Any], room: Room) -> NotebookNode | None:
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return nbformat.v4.new_output("stream", name=name, text=_shortened(_joined(output.get("text"))))
    if kind == "error":
        trace = output.get("traceback")
        lines = [_joined(line) for line in trace] if isinstance(trace, (list, tuple)) else []
        traceback = _shortened("\n".join(lines)).split("\n")
        name, value = _joined(output.get("ename")), _shortened(_joined(output.get("evalue")))
        return nbformat.v4.new_output("error", ename=name[:200], evalue=value, traceback=traceback)
    if kind in ("display_data", "execute_result") and isinstance(output.get("data"), Mapping):
        data = _safe_data(output["data"], room)
        return nbformat.v4.new_output("display_data", data=data) if data else None
    return None


def _safe_data(data: Mapping[str, Any], room: Room) -> dict[str, str]:
    """What nbconvert cannot be made to run: pictures, plain text, LaTeX source, and HTML after cleaning."""
    safe = {}
    for mime in IMAGES:
        if _BASE64.fullmatch(picture := _joined(data.get(mime))) and picture.strip():
            safe[mime] = picture
    for mime in ("text/plain", "text/latex"):
        if text := _joined(data.get(mime)):
            safe[mime] = _shortened(text)
    if html := _joined(data.get("text/html")):
        tags = simple_tags(html)
        if tags is not None and tags <= room.tags:
            room.tags -= tags
            safe["text/html"] = clean_html(html)
        elif "text/plain" not in safe:
            safe["text/plain"] = _shortened(html)
    return safe


def _joined(text: Any) -> str:
    """nbformat's text: a string or a list of strings. Anything else is no text."""
    if isinstance(text, (list, tuple)):
        return "".join(part for part in text if isinstance(part, str))
    return text if isinstance(text, str) else ""


def _shortened(text: str) -> str:
    if len(text) <= MOST_TEXT:
        return text
    half = MOST_TEXT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters are left out …\n{text[-half:]}"


def _texts(output: NotebookNode) -> list[str]:
    return [
        output.get("text", ""),
        output.get("evalue", ""),
        *output.get("traceback", []),
        *output.get("data", {}).values(),
    ]


def _remark(text: str) -> NotebookNode:
    return nbformat.v4.new_output("stream", name="stdout", text=f"{text}\n")


# --- HTML -----------------------------------------------------------------------------------------------------------

_TAGS = frozenset(
    re.findall(
        r"\w+",
        """a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6
        hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr u
        ul var""",
    )
)
_PLAIN_ATTRIBUTES = frozenset(
    {"align", "alt", "colspan", "height", "open", "rowspan", "scope", "start", "title", "width"}
)
_SCHEME = re.compile(r"[\x00-\x20]*([A-Za-z][A-Za-z0-9+.\-]*)\s*:")
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")
#: Classes of the pages themselves start with "ag-": nobody's HTML may look like a verdict or a header.
_CLASS = re.compile(r"(?!ag-)[\w-]{1,40}( (?!ag-)[\w-]{1,40}){0,5}")


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "href":
        return tag == "a" and harmless_link(value)
    if name == "src":
        return tag == "img" and bool(_PICTURE.fullmatch(value))
    if name == "class":
        return bool(_CLASS.fullmatch(value))
    return name in _PLAIN_ATTRIBUTES or name == "style"


def harmless_link(url: str) -> bool:
    """Relative, or to the web or mail."""
    scheme = _SCHEME.match(unescape(url))
    return scheme is None or scheme.group(1).lower() in ("http", "https", "mailto")


_CLEANER = Cleaner(
    tags=_TAGS,
    attributes=_allowed,
    protocols=frozenset({"http", "https", "mailto", "data"}),
    css_sanitizer=CSSSanitizer(allowed_css_properties=["text-align", "vertical-align", "font-weight", "font-style"]),
)


def clean_html(html: str) -> str:
    """HTML without scripts, handlers, styles, frames, forms, drawings or remote pictures; what goes shows as text."""
    return str(_CLEANER.clean(html.replace("\0", "")))


class _Simple(HTMLParser):
    """Counts tags and how deep they are nested, the way that is worst for a parser that repairs nesting."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.deepest = 0, 0
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count += 1
        if tag not in ("br", "hr", "img", "col"):
            self._open.append(tag)
            self.deepest = max(self.deepest, len(self._open))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()


def simple_tags(html: str) -> int | None:
    """How many tags HTML has; None when it is too large, too deep or too crooked to be parsed in little time."""
    if len(html) > 25 * MOST_TAGS or html.count("<") > MOST_TAGS:
        return None
    parser = _Simple()
    try:
        parser.feed(html)
    except (AssertionError, ValueError):  # html.parser gives up on some crooked declarations
        return None
    return parser.count if parser.deepest <= MOST_DEPTH else None


# --- markdown -------------------------------------------------------------------------------------------------------

_HARMLESS_TAG = re.compile(r"</?(?:b|i|u|em|strong|sub|sup|kbd|code|br|hr)\s*/?>", re.IGNORECASE)


class _Watcher(IPythonRenderer):  # type: ignore[misc]
    """nbconvert's renderer, noticing what would be active in a browser."""

    active = False

    def block_html(self, html: str) -> str:
        return self.inline_html(html)

    def inline_html(self, html: str) -> str:
        self.active |= not _HARMLESS_TAG.fullmatch(html.strip())
        return str(super().inline_html(html))

    def link(self, text: str, url: str, title: str | None = None) -> str:
        self.active |= not harmless_link(url)
        return str(super().link(text, url, title))

    def image(self, text: str, url: str, title: str | None = None) -> str:
        picture = str(self._embed_image_or_attachment(url))  # raises InvalidNotebook where it is not attached
        self.active |= not (harmless_link(picture) or _PICTURE.fullmatch(picture))
        return str(super().image(text, url, title))

    def block_mermaidjs(self, code: str) -> str:
        self.active = True  # nbconvert puts it into the page without escaping
        return str(super().block_mermaidjs(code))


@lru_cache(maxsize=1024)  # the course's own cells are the same in every submission
def inert_markdown(source: str) -> str:
    """Markdown that formgrader can render: as it is, or as a block of plain text where it has active HTML in it."""
    return source if _is_inert(source, {}) else fenced(source)


def _is_inert(source: str, attachments: Mapping[str, Mapping[str, str]]) -> bool:
    renderer = _Watcher(escape=False, attachments=attachments)
    try:
        MarkdownWithMath(renderer=renderer).render(source)
    except (InvalidNotebook, RecursionError, ValueError, KeyError, IndexError):
        return False  # formgrader would show an error page
    return not renderer.active


def fenced(source: str) -> str:
    """Markdown that shows the source as plain text."""
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", source)), default=2))
    return f"*Shown as plain text, because it is long or has active HTML in it:*\n\n{fence}text\n{source}\n{fence}"


def safe_attachments(cell: NotebookNode, room: Room) -> dict[str, dict[str, str]]:
    """Pictures pasted into a markdown cell: name → MIME type → base64. Anything else is left out."""
    given = cell.get("attachments")
    found: dict[str, dict[str, str]] = {}
    for name, data in list(given.items())[:MOST_OUTPUTS] if isinstance(given, Mapping) else []:
        pictures = {mime: _joined(data[mime]) for mime in IMAGES if isinstance(data, Mapping) and mime in data}
        pictures = {mime: text for mime, text in pictures.items() if text and _BASE64.fullmatch(text)}
        room.size -= sum(map(len, pictures.values()))
        if pictures and room.size >= 0:
            found[str(name)] = pictures
    return found


def _make_inert(cell: NotebookNode, room: Room) -> None:
    attachments = safe_attachments(cell, room)
    cell.pop("attachments", None)
    if not room.takes(cell.source):
        cell.source = fenced(cell.source)
    elif not attachments:
        cell.source = inert_markdown(cell.source)
    elif _is_inert(cell.source, attachments):
        cell.attachments = attachments
    else:
        cell.source = fenced(cell.source)


# --- folders --------------------------------------------------------------------------------------------------------


def companions(submitted: Path) -> dict[str, bytes]:
    """nbgrader's own small files of a submission; links, other things and unreadable dates are left out."""
    found = {}
    for name in COMPANIONS:
        try:
            handle = os.open(submitted / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        with os.fdopen(handle, "rb") as file:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                found[name] = file.read(1000)
    if submitted_at(found) is None:
        found.pop("timestamp.txt", None)  # formgrader fails on one that it cannot read
    return found


def submitted_at(beside: Mapping[str, bytes]) -> datetime | None:
    """When it was handed in (UTC, as nbgrader reads it), from a submission's `companions`; None when that is not known.

    The gradebook has to get this very time: formgrader takes a submission for not graded yet while the two differ.
    """
    try:
        found = parse_utc(beside.get("timestamp.txt", b"").decode("ascii").strip())
    except (ValueError, OverflowError, TypeError):
        return None
    return found if isinstance(found, datetime) else None


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` hold exactly these files, all at once: a reader, or a kill, sees the old ones or the new ones
    (with a moment of none where the file system cannot swap two folders).

    A symbolic link in the folder's place, or in its parent's, is removed and never followed. Raises OSError.
    """
    parent = folder.parent
    if parent.is_symlink():
        parent.unlink()
    parent.mkdir(parents=True, exist_ok=True)
    for stale in parent.glob(f".{_literal(folder.name)}.*.tmp"):  # of a run that was killed
        shutil.rmtree(stale)
    fresh = parent / f".{folder.name}.{secrets.token_hex(4)}.tmp"
    fresh.mkdir()
    for name, content in files.items():
        with (fresh / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _fsync(fresh)
    _swap(fresh, folder)
    _fsync(parent)


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _swap(fresh: Path, folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    if not folder.exists():
        fresh.rename(folder)
        return
    if not _exchanged(fresh, folder):  # for a moment there is no folder, which the next run repairs after a kill
        old = fresh.with_name(fresh.name.replace(".tmp", ".old.tmp"))
        folder.rename(old)
        fresh.rename(folder)
        fresh = old
    shutil.rmtree(fresh)


def _exchanged(one: Path, other: Path) -> bool:
    """Linux swaps two folders in one step; False where the system or the file system cannot."""
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _fsync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- the notebook ---------------------------------------------------------------------------------------------------

FLAG_WORDS = "Review flag, for the instructor: code worth reading. It has changed no mark."


def shown_verdict(one: ExerciseResult) -> tuple[str, str]:
    """HTML and text of an exercise's verdict; where there is none, the reason why."""
    if one.html:
        return one.html, one.text
    line = f"{one.exercise_id}: {one.points:g} of {one.max_points:g} points. {one.reason}".rstrip()
    return panel(f'<p style="margin:0"><b>{escape(line)}</b></p>', VERMILLION), line


def autograded_notebook(rebuilt: NotebookNode, result: SubmissionResult) -> NotebookNode:
    """A copy of the rebuilt notebook with outputs, verdicts and, for the instructor alone, review flags below the code that
    raised them. Metadata and ids stay exactly the rebuilt one's."""
    notebook = nbformat.from_dict(rebuilt)
    flags = _flags_by_cell(notebook, result)
    verdicts = {one.grade_id: one for one in result.exercises}
    room = Room()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            _make_inert(cell, room)
            continue
        cell.execution_count = None
        one = verdicts.get(cell.metadata.get("nbgrader", {}).get("grade_id"))
        cell.outputs = safe_outputs(result.outputs.get(cell.get("id"), []), room) if one is None else [_verdict(one)]
        if found := flags.get(cell_name(cell) if one is None else one.exercise_id):
            cell.outputs.insert(0, _flag_panel(found))
    return notebook


def _flags_by_cell(notebook: NotebookNode, result: SubmissionResult) -> dict[str, list[Flagged]]:
    sources = {cell_name(cell): cell.source for cell in notebook.cells if cell.cell_type == "code"}
    found: dict[str, list[Flagged]] = {}
    for flag in read_flags(result.flags, sources):
        found.setdefault(flag.cell, []).append(flag)
    return found


def _flag_panel(flags: Iterable[Flagged]) -> NotebookNode:
    """Flags as an output; what they quote is a student's."""
    lines = [(f"line {one.line}" if one.line else "", f"{one.kind}: {one.text}", one.code) for one in flags]
    items = "".join(
        f"<li>{escape(where)}{': ' if where else ''}{escape(what)}{f'<br><code>{escape(code)}</code>' if code else ''}</li>"
        for where, what, code in lines
    )
    html = panel(
        f'<p style="margin:0"><b>⚑ {FLAG_WORDS}</b></p><ul style="margin:.3em 0 0 1.2em;padding:0">{items}</ul>', ORANGE
    )
    text = "\n".join([FLAG_WORDS, *("  ".join(filter(None, line)) for line in lines)])
    return nbformat.v4.new_output("display_data", data={"text/html": html, "text/plain": text})


def _verdict(one: ExerciseResult) -> NotebookNode:
    html, text = shown_verdict(one)
    data: dict[str, Any] = {"text/html": html, "text/plain": text}
    if one.data:
        data[MIME] = dict(one.data)
    return nbformat.v4.new_output("display_data", data=data)


def write_autograded(
    folder: Path,
    name: str,
    rebuilt: NotebookNode,
    result: SubmissionResult,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write `<name>.ipynb` into `folder` (…/autograded/<student>/<assignment>), replacing what is there at once.

    `beside`: further small files (`companions` of the submission). Raises OSError when the folder cannot be written.
    """
    text = nbformat.v4.writes(autograded_notebook(rebuilt, result))
    # lone surrogates, which students can print, have no UTF-8
    replace_folder(folder, {f"{name}.ipynb": text.encode("utf-8", "replace"), **(beside or {})})
