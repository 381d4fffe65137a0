"""A day of the course on real servers: release, fetch, solve, hand in, collect, grade, read by hand, feedback.

Each test is a step of one story and needs those before it: run the whole file. Ada works in JupyterLab, Bob at the
terminal; their instructor in a JupyterLab of their own. All share one exchange folder, as in a class on one machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browsing import Server, chromium, command, jupyter_lab, open_lab, open_notebook, run_all, set_source, shot
from nbgrader.api import Gradebook

from autograder.exercise import REGISTRY
from autograder.grading.engine import Course as CourseFolder
from autograder.grading.report.command import write_report
from autograder.manifest import manifest
from autograder.publish.sample_class import source_solutions, submission

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.xdist_group("browser")]

NAME = "02_ema_bias_correction"
COURSE = manifest().id
POINTS = {one.grade_id: one.points for one in REGISTRY.values() if one.notebook == NAME}

#: Two mistakes that the course knows: β and 1 − β change places; the average starts at the first value.
SWAPPED = "(1 - beta) * m + beta * value"
BOBS = """# exercise ema.recursive
def ema(x, beta):
    m, rows = x[0], []
    for value in x:
        m = beta * m + eval("(1 - beta)") * value
        rows.append(m)
    return torch.stack(rows)"""

ADAS_DERIVATION = "By induction: one more step multiplies every weight by β and adds 1 − β for the newest value."
COMMENT = "Start and step are right. What does the start weigh?"


@dataclass(frozen=True)
class Day:
    """Where everybody works. `ada` and `instructor`: the pages of their browsers; `failed`: tests before the story."""

    course: Path
    exchange: Path
    homes: dict[str, Path]
    ada: Any
    instructor: Any
    ada_lab: Server
    course_lab: Server
    failed: int

    def folder(self, who: str) -> Path:
        return self.homes[who] / "work" if who in self.homes else self.course

    @property
    def solutions(self) -> dict[str, str]:
        return source_solutions(self.course / "source" / NAME / f"{NAME}.ipynb")

    def run(self, who: str, *arguments: str) -> None:
        """Somebody's command at the terminal."""
        home = self.homes.get(who, self.course.parent)
        environment = {
            **os.environ,
            "HOME": str(home),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "NBGRADER_EXCHANGE": str(self.exchange),
        }
        command = [sys.executable, "-m", *arguments]
        ended = subprocess.run(
            command, cwd=self.folder(who), env=environment, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, f"{' '.join(arguments)} failed:\n{ended.stdout}\n{ended.stderr}"

    def marks(self, student: str) -> dict[str, float | None]:
        """Grade id → points as the gradebook has them, None for what waits for a human."""
        with Gradebook(f"sqlite:///{self.course / 'gradebook.db'}") as gradebook:
            grades = gradebook.find_submission_notebook(NAME, NAME, student).grades
            return {one.name: one.auto_score if one.manual_score is None else one.manual_score for one in grades}


@pytest.fixture(scope="module")
def day(root: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Day]:
    place = tmp_path_factory.mktemp("day")
    course, exchange = place / "course", place / "exchange"
    shutil.copytree(root / "source" / NAME, course / "source" / NAME)
    shutil.copy(root / "nbgrader_config.py", course)
    exchange.mkdir()
    homes = {student: _student(root, place / student, exchange) for student in ("ada", "bob")}
    with (
        jupyter_lab(homes["ada"] / "work", homes["ada"]) as ada_lab,
        jupyter_lab(course, place, NBGRADER_EXCHANGE=str(exchange)) as course_lab,
        chromium() as browser,
    ):
        pages = [browser.new_page(viewport={"width": 1200, "height": 900}) for _ in range(2)]
        for page in pages:
            page.set_default_timeout(60_000)
        yield Day(course, exchange, homes, *pages, ada_lab, course_lab, request.session.testsfailed)


def _student(root: Path, home: Path, exchange: Path) -> Path:
    """A home with what the guide tells instructors to put on their students' machine; all share one account here, and so
    the student's id is added."""
    (home / "work").mkdir(parents=True)
    (home / "config").mkdir()
    guide = (root / "course" / "guides" / "instructor.md").read_text(encoding="utf-8")
    (config,) = re.findall(r"^```python\n(c = get_config\(\)\n.*?)^```", guide, re.DOTALL | re.MULTILINE)
    assert "/srv/nbgrader/exchange" in config
    config = config.replace("/srv/nbgrader/exchange", str(exchange))
    config += f'c.CourseDirectory.student_id = "{home.name}"\n'
    (home / "config" / "nbgrader_config.py").write_text(config, encoding="utf-8")
    return home


@pytest.fixture(autouse=True)
def in_order(day: Day, request: pytest.FixtureRequest) -> Iterator[None]:
    """What follows a failed step is skipped; what its pages looked like is kept."""
    before = request.session.testsfailed
    if before > day.failed:
        pytest.skip("an earlier step of the day failed")
    yield
    if request.session.testsfailed > before:
        shot(day.ada, "day_failed_ada")
        shot(day.instructor, "day_failed_instructor")


# --- what they do again and again -----------------------------------------------------------------------------------


def choose(page: Any, entry: str) -> None:
    """An entry of JupyterLab's menu "Nbgrader"."""
    page.locator("#jp-menu-panel .lm-MenuBar-itemLabel", has_text="Nbgrader").click()
    page.locator("#jp-mainmenu-nbgrader .lm-Menu-itemLabel").get_by_text(entry, exact=True).click()


def listed(page: Any, status: str) -> Any:
    """Rows of the assignment list: "released", "fetched" or "submitted"."""
    return page.locator(f"#{status}_assignments_list > .list_item")


def formgrader(day: Day, path: str = "") -> Any:
    """Formgrader inside the instructor's JupyterLab, at one of its pages if a path is given."""
    if path:
        day.instructor.frame(url=re.compile("/formgrader/")).goto(f"{day.course_lab.address}/formgrader/{path}")
    return day.instructor.frame_locator("iframe[src*='/formgrader']")


def row_of(day: Day, text: str) -> Any:
    return formgrader(day).locator("#main-table tr", has_text=text)


def press(day: Day, row: Any, button: str) -> str:
    """Press a button of a row of formgrader, and close its message; returns the message."""
    row.locator(f"td.{button} a").click()
    modal = formgrader(day).locator("#success-modal, #error-modal")
    modal.wait_for()
    message = str(modal.inner_text())
    assert "Success" in message, message
    modal.locator(".modal-footer button").click()
    modal.wait_for(state="detached")
    return message


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    for _ in range(100):
        if holds():
            return
        time.sleep(0.1)
    pytest.fail(otherwise)


# --- the story ------------------------------------------------------------------------------------------------------


def test_the_instructor_releases_the_notebook_in_formgrader(day: Day) -> None:
    open_lab(day.instructor, day.course_lab)
    command(day.instructor, "application:toggle-left-area")
    choose(day.instructor, "Formgrader")
    row = row_of(day, NAME)
    press(day, row, "assign")
    press(day, row, "release")
    row.locator("td.status", has_text="released").wait_for()
    (released,) = (day.exchange / COURSE / "outbound" / NAME).glob("*.ipynb")
    assert "BEGIN SOLUTION" not in released.read_text(encoding="utf-8")


def test_ada_fetches_it_from_the_assignment_list(day: Day) -> None:
    open_lab(day.ada, day.ada_lab)
    choose(day.ada, "Assignment List")
    listed(day.ada, "released").get_by_role("button", name="Fetch").click()
    listed(day.ada, "fetched").get_by_text(NAME).first.wait_for()
    assert (day.folder("ada") / NAME / f"{NAME}.ipynb").is_file()


def test_a_check_names_adas_mistake_and_passes_once_it_is_mended(day: Day) -> None:
    page, solutions = day.ada, day.solutions
    open_notebook(page, f"{NAME}/{NAME}.ipynb")
    for exercise in ("ema.weights", "ema.corrected", "ema.horizon", "ema.q1", "ema.q2"):
        set_source(page, f"# exercise {exercise}\n", solutions[exercise])
    right = solutions["ema.recursive"]
    wrong = right.replace("beta * m + (1 - beta) * value", SWAPPED)
    assert wrong != right
    set_source(page, "# exercise ema.recursive\n", wrong)
    run_all(page)
    verdict = page.locator(".jp-OutputArea-output", has_text="β and 1 − β change places").first
    verdict.wait_for()
    assert "Re-read equation (2.1)" in verdict.text_content()
    set_source(page, "# exercise ema.recursive\n", right)
    run_all(page)
    page.locator(".jp-OutputArea-output", has_text=re.compile("ema.recursive · .*: passed")).first.wait_for()


def test_ada_sees_plots_and_moves_a_slider(day: Day) -> None:
    page = day.ada
    page.locator(".jp-OutputArea-output", has_text=re.compile("ema.corrected · .*: passed")).first.wait_for()
    picture = page.locator(".jupyter-widgets img[alt]").first
    picture.wait_for()
    before = picture.get_attribute("alt")
    handle = page.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    for _ in range(6):
        handle.press("ArrowLeft")
    page.wait_for_function(
        "was => { const now = document.querySelector('.jupyter-widgets img[alt]')?.alt; return now && now !== was; }",
        arg=before,
    )
    assert page.locator(".jp-RenderedImage img").count() >= 2, "plots are missing"


def test_validate_tells_what_is_not_solved_yet(day: Day) -> None:
    page = day.ada
    set_source(page, "YOUR ANSWER HERE", ADAS_DERIVATION)
    page.locator("jp-button.validate-button").click()
    dialog = page.locator(".nbgrader-ErrorDialog")
    dialog.wait_for()
    said = dialog.inner_text()
    assert "not started" in said
    assert 'check("ema.parallel"' in said
    assert 'check("ema.recursive"' not in said
    assert "Traceback" not in said
    dialog.locator("button.jp-Dialog-button").click()


def test_ada_hands_in(day: Day) -> None:
    choose(day.ada, "Assignment List")
    listed(day.ada, "fetched").get_by_role("button", name="Submit").first.click()
    listed(day.ada, "submitted").get_by_text(NAME).first.wait_for()
    (inbound,) = (day.exchange / COURSE / "inbound").glob(f"ada+{NAME}+*")
    cells = nbformat.read(inbound / f"{NAME}.ipynb", as_version=4).cells
    assert ADAS_DERIVATION in [cell.source for cell in cells], "what was typed has not been handed in"
    shot(day.ada, "day_handed_in")


def test_bob_does_the_same_at_the_terminal(day: Day) -> None:
    day.run("bob", "nbgrader", "fetch_assignment", NAME)
    path = day.folder("bob") / NAME / f"{NAME}.ipynb"
    answers = {**day.solutions, "ema.recursive": BOBS}
    nbformat.write(submission(nbformat.read(path, as_version=4), answers), path)
    day.run("bob", "nbgrader", "submit", NAME)


def test_the_instructor_collects_both(day: Day) -> None:
    log = press(day, row_of(day, NAME), "collect")
    assert "Collecting submission: ada" in log
    assert "Collecting submission: bob" in log
    row_of(day, NAME).locator("td.num-submissions a", has_text="2").click()
    row_of(day, "bob").get_by_text("needs autograding").wait_for()


def test_formgraders_button_grades_ada_and_the_command_grades_bob(day: Day) -> None:
    press(day, row_of(day, "ada"), "autograde")
    row_of(day, "ada").get_by_text("needs manual grading").wait_for()
    day.run("instructor", "autograder", "grade", NAME, "bob")
    solved = {f"ema-{name}" for name in ("recursive", "weights", "corrected", "horizon", "q1", "q2")}
    due = {name: points if name in solved else 0.0 for name, points in POINTS.items()}
    assert day.marks("ada") == {**due, "ema-w1": None}
    bob = day.marks("bob")
    assert bob["ema-recursive"] == 0.0
    assert bob["ema-parallel"] == POINTS["ema-parallel"]


def test_formgrader_shows_review_flags_with_the_line_that_raised_them(day: Day) -> None:
    pages = formgrader(day, f"manage_students/bob/{NAME}")
    row_of(day, NAME).locator("td.flagged .glyphicon-flag").wait_for()
    row_of(day, NAME).locator("td.name a").click()
    flag = pages.locator(".output_subarea", has_text="Review flag")
    flag.wait_for()
    assert "line 5: code made at run time" in flag.inner_text()
    assert 'm = beta * m + eval("(1 - beta)") * value' in flag.inner_text()
    flag.scroll_into_view_if_needed()
    shot(day.instructor, "day_review_flag")


def test_the_instructor_reads_adas_derivation_in_formgrader(day: Day) -> None:
    pages = formgrader(day, f"manage_students/ada/{NAME}")
    assert row_of(day, NAME).locator("td.flagged .glyphicon-flag").count() == 0
    row_of(day, NAME).locator("td.name a").click()
    score, comment = pages.locator("input#ema-w1"), pages.locator("#ema-w1-comment")
    pages.get_by_text("By induction: one").wait_for()
    score.fill("2")
    score.press("Tab")
    comment.fill(COMMENT)
    comment.blur()
    wait_until(lambda: day.marks("ada")["ema-w1"] == 2.0, "the score has not reached the gradebook")
    shot(pages.locator(".nbgrader_cell", has=score), "day_manual_score")


def test_the_instructor_generates_and_releases_feedback(day: Day) -> None:
    formgrader(day, f"manage_submissions/{NAME}")
    press(day, row_of(day, "ada"), "generate-feedback")
    press(day, row_of(day, "ada"), "release-feedback")
    row_of(day, "ada").get_by_text("graded", exact=True).wait_for()
    assert len(list((day.exchange / COURSE / "feedback").glob("*.html"))) == 1, "only Ada's is released"


def test_ada_fetches_the_feedback_and_reads_it(day: Day) -> None:
    page = day.ada
    page.get_by_role("button", name="Fetch Feedback").click()
    page.get_by_text("(view feedback)").first.click()
    page.locator(".jp-DirListing-item", has_text=f"{NAME}.html").dblclick()
    feedback = page.frame_locator(".jp-HTMLViewer iframe")
    feedback.get_by_role("heading", level=1).wait_for()
    said = " ".join(feedback.locator("body").inner_text().split())
    total = sum(points or 0.0 for points in day.marks("ada").values())
    assert f"{total:g} of {sum(POINTS.values()):g} points" in said
    assert "2 of 3 points, marked by hand" in said
    assert "Start and step are right." in said
    assert "Review flag" not in said
    assert "submission_secret" not in said
    shot(page, "day_feedback")


def test_the_class_report_has_both(day: Day) -> None:
    page = day.instructor
    page.goto(write_report(CourseFolder(day.course, f"sqlite:///{day.course / 'gradebook.db'}", COURSE))[1].as_uri())
    assert page.locator("[id$=-students] tbody th").all_inner_texts() == ["ada", "bob"]
    assert "starts at the first value" in page.locator("[id$=-wrong]").inner_text()
    flags = page.locator("[id$=-flags] details", has_text="bob")
    flags.locator("summary").click()
    assert 'eval("(1 - beta)")' in flags.inner_text()
