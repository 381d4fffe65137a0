"""`autograder grade`: a class from the command line, with progress, events as JSON lines, and a clean Ctrl-C."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nbgrader.coursedir import CourseDirectory
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from autograder.grading.engine import Course, Event, GradingError, Options, grade_class
from autograder.grading.gradebook import GradebookError, open_gradebook
from autograder.grading.handed_out import HandedOut
from autograder.grading.late import late_plugin
from autograder.grading.pool import ZygoteError
from autograder.grading.results import SubmissionResult
from autograder.grading.secret import BadKey
from autograder.grading.store import StoreError
from autograder.grading.workers import WorkerError

#: Errors whose message is all that a user needs.
EXPECTED = (GradingError, ZygoteError, WorkerError, StoreError, GradebookError, BadKey, ValueError)


@dataclass
class Report:
    """What a run has brought so far. `times` are seconds by student of those graded now; `results` come without pictures
    and pages, of which a class of thousands has gigabytes."""

    results: dict[str, SubmissionResult] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    total: int = 0
    rung: str = ""
    seconds: float = 0.0
    interrupted: bool = False

    def add(self, event: Event) -> None:
        self.kinds[event.kind] += 1
        if event.kind == "start":
            self.total, self.rung = event.total, event.rung
        if event.result is not None:
            self.results[event.student] = _summary(event.result)
        if event.kind == "graded" and event.result is not None:
            self.times[event.student] = event.result.seconds

    @property
    def flagged(self) -> list[str]:
        return [student for student, result in sorted(self.results.items()) if result.flags]


def _summary(result: SubmissionResult) -> SubmissionResult:
    exercises = tuple(replace(one, html="", text="", data={}) for one in result.exercises)
    return replace(result, outputs={}, exercises=exercises)


def course_at(root: Path, gradebook: str | None = None) -> Course:
    """The course in `root`, with the gradebook that its nbgrader_config.py names (or the one given) and its rules for late
    work."""
    config, file = Config(), root / "nbgrader_config.py"
    if file.is_file():
        config = PyFileConfigLoader(file.name, path=str(root)).load_config()
    config.CourseDirectory.root = str(root)
    folder = CourseDirectory(config=config)
    url, name = gradebook or folder.db_url, folder.course_id or "default_course"
    return Course(root, url, name, late_plugin(config, root))


def hand_out(root: Path, names: Sequence[str]) -> Iterator[Path]:
    """Write every enrolled student's own notebooks; yields the files. Raises GradingError when nobody is enrolled."""
    course = course_at(root)
    with open_gradebook(course.gradebook, course.course_id) as book:
        students = [student.id for student in book.students()]
    if not students:
        raise GradingError("the gradebook has no students: nbgrader db student import students.csv enrols them")
    handed = HandedOut(root)
    for name in names:
        yield from handed.write(name, students)


def run(course: Course, name: str, students: list[str], options: Options, as_json: bool) -> Report:
    """Grade and show progress. Raises GradingError and ValueError."""
    report, start = Report(), time.monotonic()
    events = grade_class(course, name, students, options)
    with closing(events):
        try:
            for event in _as_lines(events) if as_json else _with_bar(events, report):
                report.add(event)
        except KeyboardInterrupt:
            report.interrupted = True
    report.seconds = time.monotonic() - start
    return report


def _as_lines(events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        print(json.dumps(_line(event)), flush=True)
        yield event


def _line(event: Event) -> dict[str, Any]:
    line: dict[str, Any] = {"event": event.kind}
    if event.kind == "waiting":
        return line
    if event.kind == "start":
        return {**line, "submissions": event.total, "sandbox": event.rung}
    line["student"] = event.student
    if event.result is not None:
        one = event.result
        line |= {"points": one.points, "max_points": one.max_points, "marks": one.marks()}
        line |= {"seconds": round(one.seconds, 3), "notes": one.notes, "flags": one.flags}
        line["misconceptions"] = {e.exercise_id: e.misconceptions for e in one.exercises if e.misconceptions}
    return line


def _with_bar(events: Iterator[Event], report: Report) -> Iterator[Event]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)
        for event in events:
            yield event
            if event.kind == "waiting":
                progress.update(task, description="waiting: another autograder grade of this assignment is at work")
            elif event.kind == "start":
                progress.update(task, total=event.total, description=f"grading ({sandbox(event.rung)})")
            elif event.kind in ("graded", "unchanged"):
                progress.advance(task)
                slowest = max(report.times, key=lambda one: report.times[one], default="")
                tail = f" · slowest {slowest} {report.times[slowest]:.1f} s" if slowest else ""
                flags = f" · {len(report.flagged)} to look at" if report.flagged else ""
                progress.update(task, description=f"{event.student}{tail}{flags}")


def sandbox(rung: str) -> str:
    return "NO SANDBOX: students are trusted" if rung == "none" else f"sandbox: {rung}"


def show(report: Report, course: Course, name: str, console: Console) -> None:
    """The table of students, what to look at, and where things lie."""
    table = Table(
        "student", "points", "of", "not right", "to look at", title=f"{name}: {len(report.results)} submissions"
    )
    for student, result in sorted(report.results.items()):
        decided = [one for one in result.exercises if not one.waits]
        wrong = [_short(one) for one in decided if one.points < one.max_points]
        if len(wrong) == len(decided) > 1 and not any(one.misconceptions for one in decided):
            wrong = [f"all {len(wrong)}"]  # nothing was done, mostly: their names would fill the screen
        marked = (*result.notes, *(f"{len(result.flags)} flags" for _ in result.flags[:1]))
        table.add_row(student, f"{result.points:g}", f"{result.max_points:g}", ", ".join(wrong), "; ".join(marked))
    console.print(table)
    graded = len(report.times)
    rate = f", {60 * graded / report.seconds:.0f} a minute" if graded and report.seconds else ""
    console.print(
        f"{graded} graded{rate}, {report.kinds['unchanged']} unchanged, in {report.seconds:.1f} s ({sandbox(report.rung)})."
    )
    if audited := report.kinds["audited"]:
        console.print(f"{audited} of them graded in a Jupyter kernel as well: equal marks.")
    waiting = {
        one.exercise_id: one.max_points for result in report.results.values() for one in result.exercises if one.waits
    }
    if waiting:
        points = ", ".join(f"{name} ({most:g} points)" for name, most in waiting.items())
        console.print(f"Read and scored by hand, in formgrader: {points}.")
    if report.interrupted:
        left = report.total - len(report.results)
        console.print(f"Interrupted: {left} left. Nothing is lost; run the same command to go on.")
    console.print(f"Feedback pages: {course.root / 'feedback'}", soft_wrap=True)


def _short(one: Any) -> str:
    names = " + ".join(text.split()[0] for text in one.misconceptions)
    return f"{one.exercise_id}{f' ({names})' if names else ''}"
