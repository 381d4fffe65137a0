"""`autograder report`: where the page goes, and the same data as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from autograder.grading.engine import Course, GradingError
from autograder.grading.private import write_private
from autograder.grading.report.build import Report, make_report
from autograder.grading.report.page import leaderboard_page, report_page
from autograder.grading.start import PRIVATE

#: The page's place in a course: beside the store, where nothing is ever committed or handed out.
PAGE = f"{PRIVATE}/report.html"


def write_report(
    course: Course,
    names: Sequence[str] = (),
    output: Path | None = None,
    leaderboard: Path | None = None,
    real_names: bool = False,
    page: bool = True,
) -> tuple[Report, Path]:
    """Write the instructor's page (and the class's leaderboard, where a path is given); returns the data and the page's
    place. `page=False`: write it only where `output` says.

    Raises GradingError, StoreError, GradebookError, BadKey and ValueError, each with one line that says what to do.
    """
    report, path = make_report(course, names, real_names), output or course.root / PAGE
    boards = [board for one in report.assignments for board in one.boards]
    if leaderboard is not None and not boards:
        raise GradingError("there is no leaderboard: no exercise that was graded here measures a score")
    if leaderboard is not None and real_names:
        raise GradingError("--leaderboard is for the class: it has no real names; say --real-names without it")
    try:
        if page or output:
            write_private(path, report_page(report))
        if leaderboard is not None:
            leaderboard.write_text(leaderboard_page(boards, course.course_id), encoding="utf-8")
    except OSError as error:
        raise GradingError(f"{error.filename or path} cannot be written: {error.strerror}") from None
    return report, path


def as_json(report: Report) -> str:
    """All that the page shows."""
    return json.dumps(asdict(report), indent=1)
