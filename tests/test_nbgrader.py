"""Plain nbgrader, end to end: its own commands, its exchange, its gradebook, on the sample class."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder.grading.engine import STORE
from autograder.grading.store import Store
from autograder.publish.demo import ASSIGNMENT, Graded, run
from autograder.publish.sample_class import blocks, read_class, submission

pytestmark = pytest.mark.xdist_group("nbgrader")


@pytest.fixture(scope="module")
def graded(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Graded]:
    """The whole sample class, graded once with nbgrader's own converters."""
    return {one.student.id: one for one in run(root, tmp_path_factory.mktemp("demo"), plain=True)}


def test_every_sample_submission_gets_the_marks_it_should(graded: dict[str, Graded]) -> None:
    assert len(graded) >= 6
    wrong = {
        (name, exercise): (one.marks[exercise], points)
        for name, one in graded.items()
        for exercise, points in one.student.marks.items()
        if one.marks[exercise] != points
    }
    assert wrong == {}
    assert graded["perfect"].total == 40
    assert graded["empty"].total == 0


@pytest.mark.parametrize(
    ("student", "exercise", "row"),
    [
        ("eps_inside", "adam.step", "A1"),
        ("eps_inside", "adam.adam", "A1"),
        ("no_correction", "adam.adam", "A5"),
        ("one_count", "adam.adam", "A6g"),
        ("one_count", "adam.resume", "P2"),
        ("one_count", "adam.foreach", "A6g"),
        ("l2_for_adamw", "adam.adamw", "W1"),
        ("l2_for_adamw", "adam.l2_is_not_decay", "W1"),
        ("slow_gpu", "adam.foreach", "F2"),
        ("slow_gpu", "adam.master_weights", "D4"),
    ],
)
def test_misconceptions_of_the_sample_class_are_named(
    graded: dict[str, Graded], student: str, exercise: str, row: str
) -> None:
    assert [text.split()[0] for text in graded[student].diagnosed[exercise]] == [row]


def test_right_answers_are_never_diagnosed(graded: dict[str, Graded]) -> None:
    assert graded["perfect"].diagnosed == {}
    assert graded["empty"].diagnosed == {}


def test_a_syntax_error_costs_its_exercise_and_what_needs_it(graded: dict[str, Graded]) -> None:
    one = graded["syntax_error"]
    assert {exercise for exercise, points in one.marks.items() if points == 0} == {"adam.adam", "adam.resume"}


def test_feedback_pages_show_verdicts_and_no_hidden_numbers(graded: dict[str, Graded]) -> None:
    page = graded["eps_inside"].feedback.read_text(encoding="utf-8")
    assert "eps inside the square root" in page
    assert "Re-read equation (5.4)" in page
    assert "0 of 1 visible, 0 of 1 hidden cases pass" in page
    assert page.count("<svg aria-label") == 5  # one drawing per verdict with a departure, none twice


def test_written_parts_wait_for_a_human(root: Path, graded: dict[str, Graded]) -> None:
    folder = graded["perfect"].feedback.parents[3]
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        notebook = gradebook.find_submission_notebook(ASSIGNMENT, ASSIGNMENT, "l2_for_adamw")
        written = next(grade for grade in notebook.grades if grade.name == "adam-w1")
        assert written.max_score == 3
        assert written.auto_score in (None, 0)


# --- the exchange, by nbgrader's commands ---------------------------------------------------------------------------


class Shell:
    """nbgrader's commands as an instructor and as a student give them."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.course, self.exchange, self.home = folder / "course", folder / "exchange", folder / "student"
        self.exchange.mkdir(mode=0o777)
        self.exchange.chmod(0o777)
        self.home.mkdir()
        shutil.copytree(root / "source", self.course / "source", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        shutil.copy(root / "nbgrader_config.py", self.course)

    def nbgrader(self, *command: str, student: bool = False) -> str:
        environment = {
            **os.environ,
            "NBGRADER_EXCHANGE": str(self.exchange),
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "JUPYTER_DATA_DIR": str(self.home / "data"),
            "HOME": str(self.home),
        }
        out = subprocess.run(
            [sys.executable, "-m", "nbgrader", *command],
            cwd=self.home if student else self.course,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert out.returncode == 0, f"nbgrader {' '.join(command)}\n{out.stderr[-3000:]}"
        return out.stdout + out.stderr


@pytest.mark.sandbox
def test_release_fetch_submit_collect_grade_export_and_hand_in_again(root: Path, tmp_path: Path) -> None:
    """By nbgrader's commands; `tests/test_day.py` does it in a browser, feedback included."""
    shell = Shell(root, tmp_path)
    (shell.home / "nbgrader_config.py").write_text(
        "import os\nc = get_config()\nc.Exchange.root = os.environ['NBGRADER_EXCHANGE']\n"
        "c.CourseDirectory.course_id = 'practical-optimization'\n"
    )
    shell.nbgrader("generate_assignment", ASSIGNMENT)
    made = shell.course / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    assert made.read_bytes() == (root / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").read_bytes()
    shell.nbgrader("release_assignment", ASSIGNMENT)

    shell.nbgrader("fetch_assignment", ASSIGNMENT, student=True)
    mine = shell.home / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    notebook = nbformat.read(mine, as_version=4)
    student = next(
        s for s in read_class(root / "course" / "sample_class", root / "source", ASSIGNMENT) if s.id == "slow_gpu"
    )
    nbformat.write(submission(notebook, student.answers), mine)
    said = shell.nbgrader("validate", str(mine), student=True)
    assert "VALIDATION FAILED ON 3 CELL(S)" in said
    assert "a number is fetched from the device" in said
    assert "the master weight is made anew" in said
    assert "You did not provide a response" in said  # the derivation
    shell.nbgrader("submit", ASSIGNMENT, student=True)

    shell.nbgrader("collect", ASSIGNMENT)
    shell.nbgrader("autograde", ASSIGNMENT)
    shell.nbgrader("export", "--to", "grades.csv")
    with (shell.course / "grades.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["score"]), float(row["max_score"])) for row in rows if row["assignment"] == ASSIGNMENT] == [
        (student.total, 43.0)
    ]

    # handed in again: collected again, graded anew, and the first attempt stays in the store
    nbformat.write(submission(notebook, {**student.answers, "adam.q1": "# exercise adam.q1\nq1 = 7.0"}), mine)
    time.sleep(1)  # nbgrader tells submissions apart by the second
    shell.nbgrader("submit", ASSIGNMENT, student=True)
    shell.nbgrader("collect", ASSIGNMENT, "--update")
    shell.nbgrader("autograde", ASSIGNMENT)
    with Store(shell.course / STORE) as store:
        (who,) = {one.student for one in store.history(ASSIGNMENT)}
        assert [one.points for one in store.attempts(ASSIGNMENT, who)] == [student.total, student.total - 1]
    with Gradebook(f"sqlite:///{shell.course / 'gradebook.db'}") as gradebook:
        assert gradebook.find_submission(ASSIGNMENT, who).score == student.total - 1


# --- the sample class's own files -----------------------------------------------------------------------------------


def test_a_class_file_is_split_at_its_exercise_lines() -> None:
    text = "# exercise adam.q1\nq1 = 1\n\n# exercise adam.step\ndef adam_step():\n    pass\n"
    assert blocks(text) == {
        "adam.q1": "# exercise adam.q1\nq1 = 1",
        "adam.step": "# exercise adam.step\ndef adam_step():\n    pass",
    }


def test_an_answer_to_an_unknown_exercise_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "class.toml").write_text('[[student]]\nid = "a"\nabout = ""\nbase = "release"\n')
    (tmp_path / "a.py").write_text("# exercise adam.stp\nx = 1\n")
    with pytest.raises(ValueError, match=r"a: 05_adam_adamw has no exercise adam\.stp"):
        read_class(tmp_path, root / "source", ASSIGNMENT)
