"""Gradescope's `results.json` for a graded submission: one test for each exercise, and what went wrong by its name.

Only fields of Gradescope's specification are used (gradescope-autograders.readthedocs.io, "Autograder Specifications").
Outputs are HTML with four kinds of tags; what a student wrote, also into an exception, is escaped. Hidden inputs appear
nowhere. What tells the answer of a question is shown after the due date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from autograder.exercise import REGISTRY
from autograder.grading.assignment import Assignment, read_assignment
from autograder.grading.autograded import shown_verdict
from autograder.grading.engine import STORE, Course, GradingError
from autograder.grading.gradebook import HumanMark, Review, Standing, existing_gradebook
from autograder.grading.pseudonyms import declines, score_of
from autograder.grading.report.collect import exercise_title, graded_sources
from autograder.grading.results import ExerciseResult, SubmissionResult
from autograder.grading.store import Store
from autograder.manifest import title_of

#: Gradescope's word for what a student sees at once, and for what could be tried out until it is right.
AT_ONCE, LATER = "visible", "after_due_date"

Json = dict[str, Any]


def read_results(course: Course, name: str, students: Sequence[str] = ()) -> Iterator[tuple[str, Json]]:
    """(student, results) of everybody graded, or of those named: what is published, with humans' marks as they are now.

    Raises GradingError where nothing has been graded; StoreError, GradebookError; ValueError for a broken release.
    """
    assignment, path = read_assignment(course.root / "release", name), course.root / STORE
    if not path.is_file():
        raise GradingError(f"nothing has been graded in {course.root}: run autograder grade {name} first")
    with Store(path) as store, existing_gradebook(course.gradebook, course.course_id) as book:
        standings = book.standings(name)
        shown = [one for one in store.shown(name) if not students or one[0].student in students]
        if absent := sorted(set(students) - {attempt.student for attempt, _, _ in shown}):
            raise GradingError(f"{', '.join(absent)}: no results for {name}: run autograder grade {name} first")
        if not shown:
            raise GradingError(f"nothing has been graded for {name!r} yet: run autograder grade {name} first")
        for attempt, result, notebook in shown:
            standing = standings.get(attempt.student) or Standing({}, False, 0.0, 0.0)
            review = book.review(assignment, attempt.student)
            yield attempt.student, results_of(result, solutions(assignment, notebook), standing, review)


def solutions(assignment: Assignment, notebook: str) -> dict[str, str]:
    """Exercise id → the solution cell that was graded, of a graded notebook's JSON text."""
    exercises = assignment.solution_cells
    return {exercises[name]: source for name, source in graded_sources(notebook) if name in exercises}


def results_of(result: SubmissionResult, sources: Mapping[str, str], standing: Standing, review: Review) -> Json:
    """The JSON for one submission. `sources`: exercise id → the code that was graded."""
    tests = [
        _test(place, one, _points(one, standing), review.cells.get(one.grade_id, HumanMark()))
        for place, one in enumerate(result.exercises, 1)
    ]
    score = max(sum(test.get("score", 0.0) for test in tests) - standing.penalty, 0.0)
    found: Json = {
        "score": score,
        "execution_time": round(result.seconds, 2),
        "output": _overview(result, score, standing),
        "output_format": "html",
        "visibility": AT_ONCE,
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {
            "assignment": result.assignment,
            "max_score": result.max_points,
            "submission": result.digest,
            "release": result.release,
            "engine": result.engine,
            "sandbox": result.rung,
            "versions": dict(result.versions),
        },
    }
    if places := [place for one in result.exercises for place in _leaderboard(one, sources.get(one.exercise_id, ""))]:
        found["leaderboard"] = places
    return found


def _points(one: ExerciseResult, standing: Standing) -> float | None:
    return standing.points.get(one.grade_id, None if one.waits else one.points)


def _test(place: int, one: ExerciseResult, points: float | None, human: HumanMark) -> Json:
    """`score` and `status` are left out while a human still has to decide."""
    test: Json = {
        "number": str(place),
        "name": _name(one),
        "max_score": one.max_points,
        "output": _lines(_said(one, points, human)),
        "output_format": "html",
        "visibility": LATER if _is_quiz(one) else AT_ONCE,
        "tags": [text.split()[0] for text in one.misconceptions],
    }
    if points is not None:
        test |= {"score": points, "status": "passed" if points >= one.max_points else "failed"}
    return test


def _name(one: ExerciseResult) -> str:
    title = exercise_title(one.exercise_id)
    return f"{one.exercise_id} · {title}" if title else one.exercise_id


def _is_quiz(one: ExerciseResult) -> bool:
    exercise = REGISTRY.get(one.exercise_id)
    return exercise is not None and exercise.kind == "quiz"


def _said(one: ExerciseResult, points: float | None, human: HumanMark) -> Iterator[str]:
    """The lines of a test's output, escaped."""
    if one.waits:
        yield "Waits for a human." if points is None else "Read by a human."
    else:
        text = _escaped(shown_verdict(one)[1])
        for found in one.data.get("misconceptions", ()):
            title = _escaped(found["title"])
            text = text.replace(f"→ {title}", f"→ <b>{title}</b>")
        yield from text.split("\n")[1 if one.html else 0 :]  # a verdict's first line is the test's name and score
    if human.manual_score is not None and not one.waits:
        yield f"<b>Marked by hand: {points:g} of {one.max_points:g} points</b> (the checks gave {one.points:g})."
    if human.comment:
        yield from f"<b>Comment:</b> {_escaped(human.comment)}".split("\n")


def _escaped(text: str) -> str:
    return escape(text, quote=False)  # for text between tags


def _lines(lines: Iterator[str]) -> str:
    """Lines as HTML; the spaces that indent them stay."""
    indented = ((len(line) - len(line.lstrip(" ")), line.lstrip(" ")) for line in lines)
    return "<br>\n".join("&nbsp;" * depth + text for depth, text in indented)


def _overview(result: SubmissionResult, score: float, standing: Standing) -> str:
    lines = [f"<b>{_escaped(title_of(result.assignment))}: {score:g} of {result.max_points:g} points.</b>"]
    if waiting := sum(one.max_points for one in result.exercises if _points(one, standing) is None):
        lines.append(f"{waiting:g} points wait for a human.")
    if standing.penalty:
        lines.append(f"{standing.penalty:g} points are taken off for handing in late.")
    if result.rung == "none":
        lines.append("<b>Graded without a sandbox:</b> this machine offers none, and the student's code was trusted.")
    elif result.rung == "confined":
        lines.append(
            "Graded in the sandbox “confined”, which is weaker than “full”: this machine offers no namespaces."
        )
    named = {text.partition(" ")[2] for one in result.exercises if not _is_quiz(one) for text in one.misconceptions}
    if named:
        lines.append(
            f"Your work matches {'these known misconceptions' if len(named) > 1 else 'a known misconception'}:"
        )
        lines.append(f"<ul>{''.join(f'<li>{_escaped(title)}</li>' for title in sorted(named))}</ul>")
    lines += [_escaped(note) for note in result.notes]
    return "<br>\n".join(lines)


def _leaderboard(one: ExerciseResult, source: str) -> Iterator[Json]:
    score = score_of(one)
    if score is not None and not declines(source):
        yield {"name": exercise_title(one.exercise_id) or one.exercise_id, "value": score}
