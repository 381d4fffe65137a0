"""Late work, extensions, further attempts, the best one, and marks asked for again: nbgrader's rules, a real gradebook."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook
from test_records import graded, named
from test_records_gradebook import by_hand, marks
from test_report import course as empty_course
from typer.testing import CliRunner

from autograder.cli import app
from autograder.grading import engine
from autograder.grading.assignment import read_assignment
from autograder.grading.command import course_at
from autograder.grading.conduct import ENGINE
from autograder.grading.gradebook import GradebookError, open_gradebook
from autograder.grading.results import SubmissionResult
from autograder.grading.store import Store
from autograder.manifest import Keep, read_manifest
from autograder.publish.demo import ASSIGNMENT

pytestmark = pytest.mark.xdist_group("export")

DUE = datetime(2030, 1, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LOW, HIGH = 23.5, 40.0  # what the two students of the sample class earn from the checks

PLUG_IN = """\
from nbgrader.plugins import LateSubmissionPlugin
from traitlets import Float

class PerHour(LateSubmissionPlugin):
    points = Float(1.0).tag(config=True)

    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return self.points * total_seconds_late / 3600
"""
CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "sample"
c.AssignLatePenalties.plugin_class = "per_hour_{0}.PerHour"
c.PerHour.points = 2.0
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A gradebook with the assignment and its due date."""
    path = tmp_path_factory.mktemp("empty") / "gradebook.db"
    with open_gradebook(f"sqlite:///{path}"):
        pass
    with Gradebook(f"sqlite:///{path}", "sample") as gradebook:
        gradebook.add_assignment(ASSIGNMENT, duedate=DUE.replace(tzinfo=None))
        gradebook.add_student("ada")
    return path.read_bytes()


@pytest.fixture
def root(tmp_path: Path, empty: bytes) -> Path:
    """A course in which nothing has been handed in."""
    folder = tmp_path / "course"
    empty_course(folder)
    (folder / "gradebook.db").write_bytes(empty)
    return folder


def configure(root: Path) -> None:
    """A rule of the course's own: two points an hour. (Its module's name is new, since modules are imported once.)"""
    name = root.parent.name.replace("-", "_")
    (root / f"per_hour_{name}.py").write_text(PLUG_IN)
    (root / "nbgrader_config.py").write_text(CONFIG.format(name))


Attempt = Callable[..., SubmissionResult]


@pytest.fixture
def attempt(root: Path) -> Attempt:
    """Ada hands in what a student of the sample class has written, and it is recorded as a grading run does it."""

    def hand_in(like: str, when: datetime, keep: Keep = "last") -> SubmissionResult:
        notebook, result = graded(like)
        folder = root / "submitted" / "ada" / ASSIGNMENT
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "timestamp.txt").write_text(when.strftime("%Y-%m-%d %H:%M:%S UTC"))
        assignment = read_assignment(root / "release", ASSIGNMENT)
        mine = named(result, "ada", release=assignment.digest, engine=ENGINE)
        with engine.opened(course_at(root), assignment, keep) as files:
            assert list(files.left_over()) == []
            return files.record(mine, nbformat.writes(notebook))

    return hand_in


def book(root: Path) -> dict[str, Any]:
    return marks(f"sqlite:///{root / 'gradebook.db'}", "ada")


def page(root: Path) -> str:
    return (root / "feedback" / "ada" / ASSIGNMENT / f"{ASSIGNMENT}.html").read_text(encoding="utf-8")


# --- late -----------------------------------------------------------------------------------------------------------


def test_the_penalty_method_of_the_configuration_is_honoured(root: Path, attempt: Attempt) -> None:
    (root / "nbgrader_config.py").write_text("c = get_config()\nc.LateSubmissionPlugin.penalty_method = 'zero'\n")
    attempt("eps_inside", DUE + HOUR)
    assert book(root)["late"] == LOW
    assert f"{LOW:g} points are taken off for handing in late" in page(root)
    attempt("eps_inside", DUE - HOUR)
    assert book(root)["late"] is None
    (root / "nbgrader_config.py").write_text("c = get_config()\n")  # nbgrader's default: nothing is taken off
    attempt("eps_inside", DUE + HOUR)
    assert book(root)["late"] is None


def test_a_plug_in_of_the_courses_own_decides_within_the_score(root: Path, attempt: Attempt) -> None:
    configure(root)
    attempt("eps_inside", DUE + 3 * HOUR)
    assert book(root)["late"] == 6.0
    attempt("eps_inside", DUE + 300 * HOUR)
    assert book(root)["late"] == LOW  # no more than there is


def test_a_plug_in_that_is_not_there_or_fails_is_told_in_one_line(root: Path, attempt: Attempt) -> None:
    (root / "nbgrader_config.py").write_text("c = get_config()\nc.AssignLatePenalties.plugin_class = 'nowhere.Late'\n")
    with pytest.raises(GradebookError, match=r"late penalty of nbgrader_config\.py cannot be used") as error:
        course_at(root)
    assert str(error.value).endswith("cannot be used: 'nowhere.Late' could not be imported")
    configure(root)
    place = course_at(root)
    place.late.late_submission_penalty = lambda *_: 1 / 0
    with (
        open_gradebook(place.gradebook, place.course_id, place.late) as gradebook,
        pytest.raises(GradebookError, match="PerHour fails for ada: ZeroDivisionError"),
    ):
        gradebook.penalty(ASSIGNMENT, "ada", 1.0, DUE + HOUR)


def extend(root: Path, *arguments: str) -> str:
    out = CliRunner().invoke(app, ["extend", *arguments, "--course", str(root)])
    return " ".join((out.stdout if out.exit_code == 0 else f"{out.exit_code}: {out.stderr}").split())


def test_an_extension_of_nbgraders_is_granted_before_or_after_the_work_comes_in(root: Path, attempt: Attempt) -> None:
    configure(root)
    assert "ada: 05_adam_adamw is due 2030-01-10 15:00 UTC" in extend(root, ASSIGNMENT, "ada", "--hours", "3")
    place = course_at(root)
    with open_gradebook(place.gradebook, place.course_id) as opened:
        waiting = opened.standings(ASSIGNMENT)["ada"]
    assert (waiting.graded, waiting.waits, waiting.extension) == (False, False, 3 * HOUR)  # nothing is handed in yet
    attempt("eps_inside", DUE + 4 * HOUR)
    assert book(root)["late"] == 2.0  # one hour
    assert "is due 2030-01-12 12:00 UTC" in extend(root, ASSIGNMENT, "ada", "--days", "2")
    assert book(root)["score"] == LOW
    attempt("eps_inside", DUE + 4 * HOUR)
    assert book(root)["late"] is None
    extend(root, ASSIGNMENT, "ada")  # taken back
    attempt("eps_inside", DUE + 4 * HOUR)
    assert book(root)["late"] == 8.0


def test_an_extension_for_nobody_is_refused(root: Path) -> None:
    assert extend(root, ASSIGNMENT, "bob", "--days", "1").startswith("2: autograder: No such student: bob")
    assert extend(root, "06", "ada", "--days", "1").startswith("2: autograder: No such assignment: 06")


# --- attempts -------------------------------------------------------------------------------------------------------


def test_the_last_attempt_counts_and_all_are_kept(root: Path, attempt: Attempt) -> None:
    attempt("perfect", DUE - 2 * HOUR)
    attempt("eps_inside", DUE - HOUR)
    assert book(root)["score"] == LOW
    with Store(root / engine.STORE) as store:
        assert [one.points for one in store.attempts(ASSIGNMENT, "ada")] == [HIGH, LOW]


def test_the_best_attempt_counts_where_that_is_the_rule_and_the_page_says_so(root: Path, attempt: Attempt) -> None:
    attempt("perfect", DUE - 2 * HOUR, "best")
    shown = attempt("eps_inside", DUE - HOUR, "best")
    assert (shown.points, shown.notes) == (HIGH, ("your best attempt counts: number 1 of 2",))
    attempt("eps_inside", DUE - HOUR, "best")  # graded again, and not handed in once more
    assert book(root)["score"] == HIGH
    assert "your best attempt counts: number 1 of 2" in page(root)
    assert "eps inside the square root" not in page(root)
    # the time is the last one's: formgrader takes work for ungraded while the two differ
    assert book(root)["timestamp"] == (DUE - HOUR).replace(tzinfo=None)
    with Store(root / engine.STORE) as store:
        assert store.pending(ASSIGNMENT) == []
        found = store.published(ASSIGNMENT, "ada")
        assert found is not None
        assert found.number == 1


def test_the_best_is_reckoned_after_each_attempts_own_late_penalty(root: Path, attempt: Attempt) -> None:
    configure(root)
    attempt("eps_inside", DUE - HOUR, "best")  # 23.5, in time
    attempt("perfect", DUE + 9 * HOUR, "best")  # 40 less 18
    assert (book(root)["score"], book(root)["late"]) == (LOW, None)
    attempt("perfect", DUE + 8 * HOUR, "best")  # 40 less 16: the same work, graded again, replaces the 22
    assert (book(root)["score"], book(root)["late"]) == (HIGH, 16.0)


def test_another_rule_takes_effect_in_the_next_run_although_nothing_was_handed_in(root: Path, attempt: Attempt) -> None:
    attempt("perfect", DUE - 2 * HOUR)
    last = attempt("eps_inside", DUE - HOUR)
    assignment = read_assignment(root / "release", ASSIGNMENT)
    for keep, score in (("best", HIGH), ("best", HIGH), ("last", LOW)):
        with engine.opened(course_at(root), assignment, keep) as files:  # type: ignore[arg-type]
            known = files.known(Unchanged(last, assignment))  # type: ignore[arg-type]
        assert known is not None
        assert known.points == book(root)["score"] == score


class Unchanged:
    """A submission whose latest attempt is in the store."""

    def __init__(self, result: SubmissionResult, assignment: Any) -> None:
        self.student, self.digest = result.student, result.digest


def test_the_manifest_says_which_attempt_counts(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "course" / "course.toml").read_text(encoding="utf-8")
    for rule in ("last", "best"):
        (tmp_path / "course.toml").write_text(text.replace('keep = "last"', f'keep = "{rule}"'))
        assert read_manifest(tmp_path / "course.toml").keep == rule
    (tmp_path / "course.toml").write_text(text.replace('keep = "last"', 'keep = "first"'))
    with pytest.raises(ValueError, match="keep has to be one of last, best, not 'first'"):
        read_manifest(tmp_path / "course.toml")


# --- asked for again ------------------------------------------------------------------------------------------------


def test_a_regrade_keeps_what_a_human_has_decided(root: Path, attempt: Attempt) -> None:
    """Graded again, a mark and a comment by hand, feedback again, graded again."""
    url = f"sqlite:///{root / 'gradebook.db'}"
    attempt("eps_inside", DUE - HOUR)
    by_hand(url, "ada", adam_step=(2.0, None, ""))
    with Gradebook(url) as gradebook:
        comment = gradebook.find_comment("adam-step-solution", ASSIGNMENT, ASSIGNMENT, "ada")
        comment.manual_comment = "The idea is right."
        gradebook.db.commit()
    with engine.opened(course_at(root), read_assignment(root / "release", ASSIGNMENT)) as files:
        assert files.feedback("ada")
    assert "The idea is right." in page(root)
    assert "marked by hand (the checks gave 0)" in page(root)
    attempt("eps_inside", DUE - HOUR)
    assert book(root)["grades"]["adam-step"] == (0.0, 2.0, None, False)
    assert book(root)["score"] == LOW + 2
    assert "The idea is right." in page(root)
