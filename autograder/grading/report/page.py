"""The report as one HTML file, and the leaderboard as a page of its own.

Nothing is loaded from anywhere, and the content-security policy says so: it allows the page's one style sheet and its one
script by their hashes and nothing else, so that text which slipped through the escaping could still not run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from autograder.grading.report import charts
from autograder.grading.report.build import AssignmentReport, Report
from autograder.grading.report.figures import BINS, binned
from autograder.grading.report.leaderboard import Board

_TEMPLATES = Path(__file__).parent / "templates"

#: Control characters, and those that turn the direction of text around and make code look like other code.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def report_page(report: Report) -> str:
    """The instructor's page."""
    return _page("report.html", report=report, totals=_totals(report))


def leaderboard_page(boards: Sequence[Board], title: str) -> str:
    """The class's page. Raises nothing; give it boards with pseudonyms."""
    return _page("leaderboard.html", boards=boards, title=title)


def _page(template: str, **values: Any) -> str:
    style, script = _text("style.css"), _text("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template(template).render(style=style, script=script, policy=policy, **values)


def _totals(report: Report) -> Any:
    """The chart of all points over several assignments."""
    if not report.totals:
        return ""
    bins = binned((one.points for one in report.totals), report.totals[0].max_points)
    return _histogram("all-marks", bins, "Marks over all assignments")


def marks_chart(one: AssignmentReport) -> Any:
    return _histogram(f"{_anchor(one.name)}-marks-chart", one.overview.bins, f"Marks in {one.title}")


def _histogram(name: str, bins: Sequence[int], title: str) -> Any:
    tallest = max(range(len(bins)), key=lambda i: bins[i])
    about = f"{sum(bins)} students; most of them, {bins[tallest]}, earned {_tenth(tallest)} % of the points."
    labels = [str(10 * i) for i in range(BINS)]
    return charts.bars(name, bins, labels, title, about, "points, from … % on; students above the bars")


def attempts_chart(one: AssignmentReport) -> Any:
    """Up to seven attempts have a bar each; the last bar takes the others in."""
    counts = one.attempts.counts
    last = min(max(counts, default=1), 8)
    values = [sum(n for k, n in counts.items() if k == i or (i == last and k > last)) for i in range(1, last + 1)]
    labels = [f"{i}{' +' if i == 8 else ''}" for i in range(1, last + 1)]
    about = ", ".join(f"{n} students with {k}" for k, n in counts.items())
    name = f"{_anchor(one.name)}-attempts-chart"
    return charts.bars(name, values, labels, f"Attempts at {one.title}", about, "attempts; students above the bars")


def _tenth(number: int) -> str:
    return f"{10 * number} to {10 * number + 10}"


# --- templates ------------------------------------------------------------------------------------------------------


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters |= {"anchor": _anchor, "points": lambda number: f"{round(number, 2):g}", "seconds": _seconds}
    environment.globals |= {
        "marks_chart": marks_chart,
        "attempts_chart": attempts_chart,
        "stacked": charts.stacked,
        "sample": charts.sample,
        "patterns": charts.PATTERNS,
        "outcomes": charts.OUTCOMES,
        "tenth": _tenth,
    }
    return environment


def _visible(value: Any) -> Any:
    """Characters that cannot be seen are spelled out; markup of this package's own is left as it is."""
    if type(value) is not str:
        return value
    return _UNSEEN.sub(lambda found: f"⟦{ord(found[0]):04X}⟧", value)


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def _seconds(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:.0f}"


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
