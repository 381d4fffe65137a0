"""Charts as SVG: they take the page's own text colour, carry a title and a description, and differ in pattern as well as
in colour (Okabe and Ito's, told apart by everybody). The numbers stand in a table beside each."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from autograder.grading.report.figures import ExerciseFigures

#: Outcome → its word in legends; its fill is the page's `fill-<outcome>` class.
OUTCOMES = {"full": "all points", "part": "some points", "none": "no points", "waits": "waits for a human"}

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 360, 190, 8, 22, 40

#: Patterns that all charts of a page use, in an SVG of no size.
PATTERNS = Markup(
    '<svg class="defs" width="0" height="0" aria-hidden="true" focusable="false"><defs>'
    '<pattern id="p-part" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="#E69F00"/>'
    '<path d="M-1 1 1 -1M0 6 6 0M5 7 7 5" stroke="#1c2024" stroke-width="1"/></pattern>'
    '<pattern id="p-none" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="#D55E00"/>'
    '<circle cx="3" cy="3" r="1.1" fill="#fff"/></pattern>'
    '<pattern id="p-waits" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="#fff"/>'
    '<path d="M0 3H6" stroke="#0072B2" stroke-width="2"/></pattern></defs></svg>'
)


def bars(name: str, values: Sequence[int], labels: Sequence[str], title: str, about: str, axis: str) -> Markup:
    """A bar for every value, the value above it. `name` is the chart's id on the page."""
    most = max(*values, 1)
    wide = (_WIDTH - 2 * _LEFT) / max(len(values), 5)  # a single bar should not be a wall
    parts = []
    for number, (value, label) in enumerate(zip(values, labels, strict=True)):
        tall = (_HEIGHT - _TOP - _BOTTOM) * value / most
        x, y = _LEFT + number * wide, _HEIGHT - _BOTTOM - tall
        middle = x + wide / 2
        parts.append(
            f'<rect class="bar" x="{x + 2:.1f}" y="{y:.1f}" width="{wide - 4:.1f}" height="{tall:.1f}"/>'
            f'<text x="{middle:.1f}" y="{y - 5:.1f}">{value or ""}</text>'
            f'<text x="{middle:.1f}" y="{_HEIGHT - _BOTTOM + 15}">{escape(label)}</text>'
        )
    base = _HEIGHT - _BOTTOM
    return Markup(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(about)}</desc>{"".join(parts)}'
        f'<path class="axis" d="M{_LEFT} {base}H{_WIDTH - _LEFT}"/>'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}">{escape(axis)}</text></svg>'
    )


def stacked(one: ExerciseFigures) -> Markup:
    """One exercise's students by what they earned, as a bar of four parts."""
    counts = {"full": one.full, "part": one.part, "none": one.none, "waits": one.waits}
    whole, wide, x = sum(counts.values()), 160, 0.0
    parts = []
    for outcome, count in counts.items():
        width = wide * count / whole if whole else 0.0
        if width:
            parts.append(f'<rect class="fill-{outcome}" x="{x + 1:.1f}" y="1" width="{width:.1f}" height="14"/>')
        x += width
    about = ", ".join(f"{count} {OUTCOMES[outcome]}" for outcome, count in counts.items() if count)
    return Markup(
        f'<svg class="stack" viewBox="0 0 {wide + 2} 16" width="{wide + 2}" height="16" role="img"'
        f' aria-label="{escape(about)}"><title>{escape(about)}</title>{"".join(parts)}</svg>'
    )


def sample(outcome: str) -> Markup:
    """The legend's little square."""
    return Markup(
        '<svg class="stack" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">'
        f'<rect class="fill-{outcome}" x="1" y="1" width="14" height="14"/></svg>'
    )
