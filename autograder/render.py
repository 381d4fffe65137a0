"""A verdict as text, as HTML that suits light and dark themes, and as a small drawing. Hidden inputs never appear."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from autograder.diagnose import Diagnosis, advice
from autograder.evidence import Array, Problem
from autograder.verdict import CaseVerdict, Departure, Trace, Verdict

MIME = "application/vnd.autograder.verdict+json"

# Okabe–Ito colours; text keeps the theme's own colour, so that contrast is right on light and dark ground.
GREEN, VERMILLION, BLUE, ORANGE = "#009E73", "#D55E00", "#0072B2", "#E69F00"


def headline(verdict: Verdict) -> str:
    """One line: what was checked and how it went."""
    name = f"{verdict.exercise_id} · {verdict.title}"
    if verdict.decided:
        return f"{name}: {_points(verdict.earned)} of {_points(verdict.points)} points"
    if verdict.passed:
        return f"{name}: passed"
    if verdict.not_started:
        return f"{name}: not started yet"
    if verdict.unusable:
        return f"{name}: {'no valid answer yet' if verdict.quiz else 'cannot be checked like this'}"
    passed, of = sum(group.passed for group in verdict.groups), len(verdict.groups)
    return f"{name}: not passed yet" + (f" ({passed} of {of} groups pass)" if of > 1 else "")


def _points(points: float) -> str:
    return f"{points:g}"


# --- sentences, shared by text and HTML -----------------------------------------------------------------------------


def passed_line(verdict: Verdict) -> str:
    """What was compared, where, how closely it agrees, how long it took."""
    cases = [case for case in verdict.cases if case.passed]
    steps = sum(case.steps for case in cases)
    what = f"{_count(len(cases), 'case')}, {_count(steps, 'step')}" if steps else _count(len(cases), "case")
    where = " and ".join(dict.fromkeys(case.device for case in cases if case.device))
    return (
        f"Compared {verdict.compares}: {what} on {where}; {_agreement(verdict, cases)}. {verdict.seconds * 1e3:.0f} ms."
    )


def _agreement(verdict: Verdict, cases: Sequence[CaseVerdict]) -> str:
    """How close the numbers are; where something is scored, how much of it is right."""
    if verdict.score is not None:
        return f"{100 * verdict.score:.1f} % right"
    worst: dict[str, float] = {}
    for case in cases:
        worst[case.dtype] = max(worst.get(case.dtype, 0.0), case.deviation)
    return ", ".join(
        f"{'identical' if gap == 0 else f'within {gap:.0e}'}{f' in {dtype}' if dtype else ''}"
        for dtype, gap in worst.items()
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def diagnosis_lines(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    """(title, explanation, what to re-read) of each misconception."""
    return [(m.title, m.explanation, m.reread) for m in diagnosis.misconceptions]


def match_line(diagnosis: Diagnosis) -> str:
    """How well the run matches, without the name."""
    failed = len(diagnosis.explains) + len(diagnosis.unexplained)
    where = (
        "in every case that fails"
        if not diagnosis.unexplained
        else f"in {len(diagnosis.explains)} of {failed} failed cases"
    )
    if diagnosis.together:
        return f"Your run is consistent with two mistakes at once, {where}"
    if len(diagnosis.misconceptions) > 1:
        return f"Your run is consistent with either of these, {where}"
    return f"Your run matches a known misconception, {where}"


def coincidence_line(diagnosis: Diagnosis) -> str:
    """Why some cases pass although the update is another one."""
    reasons = [m.coincides for m in diagnosis.misconceptions if m.coincides]
    if not reasons or not diagnosis.equal_in or diagnosis.unexplained:  # something else is wrong as well
        return ""
    return (
        f"It equals the reference {reasons[0]}; that is why {_listed(diagnosis.equal_in)} passes."
        if len(diagnosis.equal_in) == 1
        else f"It equals the reference {reasons[0]}; that is why {len(diagnosis.equal_in)} cases pass."
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"“{name}”" for name in names)


def problem_lines(problem: Problem, hidden: bool = False, case: str = "") -> list[str]:
    """An exception of the student's code: their line, the message, what usually causes it.

    In a hidden case the message is left out: student code could put the hidden inputs into it.
    """
    if problem.kind == "not_started":
        return ["The stub still raises NotImplementedError: replace it by your code and run the cell, then this one."]
    if problem.kind == "protocol":
        return [f"{problem.message}."]
    message = "" if hidden or not problem.message else f": {problem.message}"
    where = f" (case “{case}”)" if case and not hidden and problem.frames else ""  # without: not their code's doing
    lines = [f"Your code raised {problem.type}{message}{where}"]
    if problem.frames:
        frame = problem.frames[-1]
        lines.append(f"in {frame.function}, line {frame.line}: {frame.source}")
    if words := advice(problem):
        lines.append(words)
    return lines


@dataclass(frozen=True)
class Violation:
    """A broken rule, in which case, with further lines (such as the student's own that waits for the device)."""

    where: str
    text: str
    details: tuple[str, ...]


def violations(verdict: Verdict) -> list[Violation]:
    """Every broken rule once, visible cases first; of hidden cases only the rules' names are told."""
    found: dict[str, Violation] = {}
    for case in sorted(verdict.failed_cases, key=lambda case: case.hidden):
        if case.hidden:
            for name in sorted(case.broken):
                found.setdefault(name, Violation("In a hidden case", f"{name} is not as it should be.", ()))
            continue
        for name, text, details in case.violations:
            found.setdefault(name, Violation(f"Case “{case.name}”", text, details))
    return list(found.values())


MOST_VIOLATIONS = 3


def shown_violations(verdict: Verdict) -> tuple[list[Violation], str]:
    """The first few broken rules, and a word on how many more there are."""
    all_ = violations(verdict)
    more = len(all_) - MOST_VIOLATIONS
    return all_[:MOST_VIOLATIONS], f"… and {more} more of this kind." if more > 0 else ""


def departure_line(case: CaseVerdict) -> str:
    """The first place where the numbers part."""
    found = case.departure
    if found is None:
        return ""
    place = f"{found.quantity}{'' if found.sampled else _index(found.index)}"
    step = found.sampled or found.step
    when = "" if step is None else f" after step {step}"
    if case.hidden:
        return f"{place} departs from the reference{when}."
    expected, got = _two_numbers(found)
    return f"{place}{when}: expected {expected}, got {got}.{_move(found)}"


def departure_title(case: CaseVerdict) -> str:
    """Steps have a first departure; in an array without steps it is the largest deviation that is shown."""
    stepped = case.departure is not None and case.departure.step is not None
    where = "a hidden case" if case.hidden else f"case “{case.name}”"
    return f"{'First departure' if stepped else 'Largest deviation'}, {where}"


#: Runs in float64 that agree as closely as this may have gone through float32.
_SINGLE = 1e-6


def precision_line(case: CaseVerdict) -> str:
    """A word on float32 when numbers that should be float64 agree to its precision only."""
    if case.hidden or case.dtype != "float64" or case.deviation > _SINGLE:
        return ""
    return "About seven digits agree. Is a float32 tensor in between? This case is in float64."


def _index(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _two_numbers(found: Departure) -> tuple[str, str]:
    """Both numbers with as many digits as it takes to see that they differ."""
    for digits in (4, 6, 9, 12, 17):
        pair = f"{found.expected:.{digits}g}", f"{found.got:.{digits}g}"
        if pair[0] != pair[1]:
            break
    return pair


def _move(found: Departure) -> str:
    """How the student's move compares with the expected one, when one number says it for the whole tensor."""
    if found.ratio is None or abs(found.ratio - 1) < 0.005:
        return ""
    if abs(found.ratio) < 1e-12:
        return " It is still 0." if found.from_zero else " It has not moved."
    if found.from_zero:
        return f" That is {found.ratio:.3g} × the expected number, in every element."
    return f" The move so far is {found.ratio:.3g} × the expected one, in every element."


def other_exception(verdict: Verdict, diagnosis: Diagnosis | None, shown: CaseVerdict) -> CaseVerdict | None:
    """A visible case that ended in an exception which neither the case that is shown nor a name speaks of."""
    if shown.problem is not None:
        return None
    explained = diagnosis.explains if diagnosis else ()
    raised = (c for c in verdict.failed_cases if c.problem is not None and c.problem.kind == "raised" and not c.hidden)
    return next((case for case in raised if case.name not in explained), None)


def failure_case(verdict: Verdict) -> CaseVerdict | None:
    """The failed case worth showing: a visible one with numbers if there is one."""
    failed = verdict.failed_cases
    visible = [case for case in failed if not case.hidden]
    for pool in (visible, failed):
        for case in pool:
            if case.departure is not None or case.problem is not None or case.violations:
                return case
    return failed[0] if failed else None


# --- text -----------------------------------------------------------------------------------------------------------


def as_text(verdict: Verdict, diagnosis: Diagnosis | None = None, hint: bool = False) -> str:
    """The verdict for terminals, logs, screen readers and nbgrader's Validate."""
    lines = [f"{'✓' if verdict.passed else '✗'} {headline(verdict)}"]
    if verdict.quiz and verdict.decided and not verdict.unusable:
        return "\n".join([*lines, *(f"  {'✓' if c.passed else '✗'} {c.name}: {c.remark}" for c in verdict.cases)])
    if verdict.passed and verdict.compares:
        lines.append(f"  {passed_line(verdict)}")
    elif not verdict.passed:
        lines += [f"  {line}" for line in _failure_lines(verdict, diagnosis)]
    if verdict.decided:
        lines += [f"  {_group_line(verdict, group.name)}" for group in verdict.groups]
    elif not verdict.passed and hint:
        lines.append(f'  Stuck? hint("{verdict.exercise_id}")')
    return "\n".join(lines)


def _failure_lines(verdict: Verdict, diagnosis: Diagnosis | None) -> Iterable[str]:
    if diagnosis is not None:
        yield f"{match_line(diagnosis)}:"
        for title, explanation, reread in diagnosis_lines(diagnosis):
            yield f"  → {title}. {explanation} Re-read {reread}."
        if line := coincidence_line(diagnosis):
            yield f"  {line}"
    case = failure_case(verdict)
    if case is None:
        return
    if case.problem is not None:
        yield from problem_lines(case.problem, case.hidden, case.name)
        if case.problem.kind != "raised":
            return
    if line := departure_line(case):
        yield f"{departure_title(case)}: {line}"
        if diagnosis is None and (line := precision_line(case)):
            yield line
    if other := other_exception(verdict, diagnosis, case):
        assert other.problem is not None
        yield from problem_lines(other.problem, case=other.name)
    if all(one.still for one in verdict.failed_cases):
        yield NOTHING_CHANGED
    found, more = shown_violations(verdict)
    for violation in found:
        yield f"{violation.where}: {violation.text}"
        yield from (f"  {detail}" for detail in violation.details)
    if more:
        yield more
    if not verdict.decided:
        yield "Groups: " + ", ".join(
            f"{g.name} {'✓' if g.passed else '✗'}{_waits(verdict, g.name)}" for g in verdict.groups
        )


NOTHING_CHANGED = "Your code ran, but nothing that it was given has changed."


def _waits(verdict: Verdict, group: str) -> str:
    """Counts are only worth something once the numbers are right."""
    failed = [case for case in verdict.failed_cases if case.group == group]
    if failed and all(case.counted and case.departure and not case.violations for case in failed):
        return " (counted once the values are right)"
    return ""


def _group_line(verdict: Verdict, name: str) -> str:
    group = next(group for group in verdict.groups if group.name == name)
    counts = _case_counts(verdict, name)
    return f"{'✓' if group.passed else '✗'} {name}: {_points(group.earned)} of {_points(group.points)}{counts}"


def _case_counts(verdict: Verdict, name: str) -> str:
    parts = []
    for hidden, word in ((False, "visible"), (True, "hidden")):
        cases = [case for case in verdict.cases if case.group == name and case.hidden == hidden]
        if cases:
            parts.append(f"{sum(case.passed for case in cases)} of {len(cases)} {word}")
    return f" ({', '.join(parts)} cases pass)" if parts and verdict.compares else ""


# --- HTML -----------------------------------------------------------------------------------------------------------


def as_html(verdict: Verdict, diagnosis: Diagnosis | None = None, hint: bool = False) -> str:
    """The verdict for notebooks and feedback pages. Everything that comes from a student is escaped."""
    colour = GREEN if verdict.passed else (BLUE if verdict.not_started else VERMILLION)
    mark = "✓" if verdict.passed else ("○" if verdict.not_started else "✗")
    parts = [f'<p style="margin:0"><b>{_mark(mark, colour)} {escape(headline(verdict))}</b></p>']
    if verdict.quiz and verdict.decided and not verdict.unusable:
        return panel("".join([*parts, *map(_answer_html, verdict.cases)]), colour)
    if verdict.passed:
        parts.append(_p(passed_line(verdict) if verdict.compares else ""))
    else:
        parts += _failure_html(verdict, diagnosis)
    if verdict.decided:
        parts.append(_groups_html(verdict))
    elif not verdict.passed:
        parts.append(_foot(verdict, hint))
    if verdict.printed_lines:
        parts.append(
            _p(f"Your code printed {_count(verdict.printed_lines, 'line')} during the check; they are not shown.")
        )
    return panel("".join(parts), colour)


def _answer_html(case: CaseVerdict) -> str:
    mark = _mark("✓", GREEN) if case.passed else _mark("✗", VERMILLION)
    feedback = rich(case.remark)
    return f'<p style="margin:.35em 0 0 0">{mark} <b>{escape(case.name)}.</b> {feedback}</p>'


def panel(inner: str, colour: str) -> str:
    """The frame that all of this package's output shares."""
    return (
        f'<div style="border-left:4px solid {colour};padding:.4em .9em;margin:.3em 0;max-width:50em;line-height:1.45">'
        f"{inner}</div>"
    )


def _p(text: str) -> str:
    return f'<p style="margin:.35em 0 0 0">{rich(text)}</p>' if text else ""


def rich(text: str) -> str:
    """Escaped text in which `this` is set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _mark(mark: str, colour: str) -> str:
    return f'<span aria-hidden="true" style="color:{colour}">{mark}</span>'


def _failure_html(verdict: Verdict, diagnosis: Diagnosis | None) -> list[str]:
    parts = []
    if diagnosis is not None:
        parts.append(_diagnosis_html(diagnosis))
    case = failure_case(verdict)
    if case is None:
        return parts
    if case.problem is not None:
        parts.append(_problem_html(case.problem, case.hidden, case.name))
        if case.problem.kind != "raised":
            return parts
    if line := departure_line(case):
        where = "In a hidden case" if case.hidden else departure_title(case)
        parts.append(f'<p style="margin:.5em 0 0 0"><b>{escape(where)}.</b> {escape(line)}</p>')
        parts.append(_p("" if diagnosis else precision_line(case)))
    if case.trace is not None and not case.hidden:
        parts.append(drawing(case.trace))
    if other := other_exception(verdict, diagnosis, case):
        assert other.problem is not None
        parts.append(_problem_html(other.problem, hidden=False, case=other.name))
    found, more = shown_violations(verdict)
    still = _p(NOTHING_CHANGED) if all(one.still for one in verdict.failed_cases) else ""
    return [*parts, still, *map(_violation_html, found), _p(more)]


def _violation_html(violation: Violation) -> str:
    text = f'<p style="margin:.5em 0 0 0"><b>{escape(violation.where)}.</b> {rich(violation.text)}</p>'
    if not violation.details:
        return text
    items = "".join(f"<li>{rich(detail)}</li>" for detail in violation.details)
    return f'{text}<ul style="margin:.2em 0 0 1.2em;padding:0">{items}</ul>'


def _diagnosis_html(diagnosis: Diagnosis) -> str:
    items = "".join(
        f'<p style="margin:.35em 0 0 0">→ <b>{rich(title)}.</b> {rich(explanation)} <i>Re-read {rich(reread)}.</i></p>'
        for title, explanation, reread in diagnosis_lines(diagnosis)
    )
    coincides = coincidence_line(diagnosis)
    return _p(f"{match_line(diagnosis)}:") + items + _p(coincides)


def _problem_html(problem: Problem, hidden: bool, case: str) -> str:
    first, *rest = problem_lines(problem, hidden, case)
    out = _p(first)
    if problem.kind == "raised" and problem.frames:
        frame, *rest = rest
        out += f'<pre style="margin:.3em 0 0 0;padding:.3em .6em;white-space:pre-wrap">{escape(frame)}</pre>'
    return out + "".join(map(_p, rest))


def _groups_html(verdict: Verdict) -> str:
    cell = 'style="text-align:left;padding:.1em 1.2em .1em 0"'
    rows = "".join(
        f"<tr><td {cell}>{_mark('✓' if g.passed else '✗', GREEN if g.passed else VERMILLION)} {escape(g.name)}</td>"
        f"<td {cell}>{_points(g.earned)} of {_points(g.points)}</td>"
        f"<td {cell}>{escape(_case_counts(verdict, g.name).strip(' ()'))}</td></tr>"
        for g in verdict.groups
    )
    heads = "".join(f'<th scope="col" {cell}>{title}</th>' for title in ("group", "points", "cases"))
    return f'<table style="margin:.5em 0 0 0"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _foot(verdict: Verdict, hint: bool) -> str:
    if verdict.not_started or verdict.unusable:
        groups = ""
    else:
        groups = " · ".join(
            f"{_mark('✓' if g.passed else '✗', GREEN if g.passed else VERMILLION)} {escape(g.name)}{_waits(verdict, g.name)}"
            for g in verdict.groups
        )
    stuck = f"Stuck? <code>hint(&quot;{escape(verdict.exercise_id)}&quot;)</code>" if hint else ""
    inner = " &nbsp; ".join(part for part in (groups, stuck) if part)
    return f'<p style="margin:.5em 0 0 0;font-size:.92em">{inner}</p>' if inner else ""


# --- the small drawing ----------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 430, 150, 58, 78, 10, 28


def drawing(trace: Trace) -> str:
    """Expected and got over the steps, as inline SVG: lines in the theme's colour and in vermillion, dashed."""
    expected, got = np.real(trace.expected).astype(float), np.real(trace.got).astype(float)
    low, high = _range(expected, got)
    name = f"{trace.quantity}{_index(trace.index)}"
    alt = f"{name} over {len(expected) - 1} steps: expected from {expected[0]:.3g} to {expected[-1]:.3g}, got {got[-1]:.3g}"
    body = [
        _axes(low, high, len(expected) - 1, name),
        _line(expected, low, high, "currentColor", "", "expected"),
        _line(got, low, high, VERMILLION, "5 3", "yours"),
        _labels(expected, got, low, high),
    ]
    return (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'style="display:block;margin:.4em 0 0 0;max-width:100%;overflow:visible" font-family="sans-serif" '
        f'font-size="11" fill="currentColor">{"".join(body)}</svg>'
    )


def _range(expected: Array, got: Array) -> tuple[float, float]:
    """The y-range: all of the expected line, and of the student's what lies within three times that."""
    finite = expected[np.isfinite(expected)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    span = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-12)
    near = got[np.isfinite(got) & (got > low - 3 * span) & (got < high + 3 * span)]
    if near.size:
        low, high = min(low, float(near.min())), max(high, float(near.max()))
    margin = 0.06 * max(high - low, span)
    return low - margin, high + margin


def _x(step: float, last: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / max(last, 1)


def _y(value: float, low: float, high: float) -> float:
    inside = min(max(value, low), high)
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - inside) / (high - low)


def _line(values: Array, low: float, high: float, colour: str, dash: str, title: str) -> str:
    last, pieces, current = len(values) - 1, [], []
    for step, value in enumerate(values):
        if math.isfinite(value):
            current.append(f"{_x(step, last):.1f},{_y(value, low, high):.1f}")
        elif current:
            pieces.append(current)
            current = []
    pieces.append(current)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.8"{dashed} points="{" ".join(piece)}"/>'
        for piece in pieces
        if piece
    )
    dots = "".join(
        f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="2.2" fill="{colour}"/>'
        for piece in pieces
        for point in (piece if len(values) <= 20 else piece[-1:])
    )
    return f"<g><title>{title}</title>{lines}{dots}</g>"


def _axes(low: float, high: float, last: int, name: str) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    axis = f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="currentColor" stroke-opacity=".45"/>'
    ticks = "".join(
        f'<text x="{_x(step, last):.1f}" y="{bottom + 13}" text-anchor="middle">{step}</text>'
        for step in sorted({0, last // 2, last})
    )
    numbers = "".join(
        f'<text x="{_LEFT - 5}" y="{_y(value, low, high) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        for value in (low + 0.06 * (high - low), high - 0.06 * (high - low))
    )
    label = f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 2}" text-anchor="middle">{escape(name)} against the step</text>'
    return axis + ticks + numbers + label


def _labels(expected: Array, got: Array, low: float, high: float) -> str:
    """Direct labels at the right end, kept apart; in the text's colour, since vermillion is too pale for letters."""
    end = [value for value in got if math.isfinite(value)]
    mine = "yours" if math.isfinite(got[-1]) else f"yours: {got[-1]}"
    y1 = _y(float(expected[-1]) if math.isfinite(expected[-1]) else low, low, high) + 4
    y2 = _y(float(end[-1]), low, high) + 4 if end else y1 + 14
    if abs(y1 - y2) < 13:
        y2 = y1 + 13 if y2 >= y1 else y1 - 13
    x = _WIDTH - _RIGHT + 6
    return f'<text x="{x}" y="{y1:.1f}">expected</text><text x="{x}" y="{y2:.1f}">{escape(mine)}</text>'


# --- data -----------------------------------------------------------------------------------------------------------


def as_data(verdict: Verdict, diagnosis: Diagnosis | None = None) -> dict[str, Any]:
    """The verdict as JSON, for tables and reports (a claim when it comes out of a student's kernel).

    `raised`: the kinds of exceptions that the student's code ended with. `score`: only where something is measured.
    """
    problems = [case.problem for case in verdict.failed_cases if case.problem is not None]
    return {
        "exercise": verdict.exercise_id,
        "decided": verdict.decided,
        "passed": verdict.passed,
        "earned": verdict.earned,
        "points": verdict.points,
        "groups": {group.name: [group.earned, group.points] for group in verdict.groups},
        "misconceptions": [{"id": m.id, "title": m.title} for m in diagnosis.misconceptions] if diagnosis else [],
        "together": bool(diagnosis and diagnosis.together),
        "not_started": verdict.not_started,
        "seconds": round(verdict.seconds, 4),
        "raised": sorted({problem.type for problem in problems if problem.kind == "raised"}),
        **({} if verdict.score is None else {"score": verdict.score}),
    }
