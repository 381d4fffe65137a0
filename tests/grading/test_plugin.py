"""nbgrader's own commands and formgrader's API, graded by the engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.utils import notebook_hash

from autograder.grading import engine
from autograder.publish.light import NAME, expected_marks, make_light_course, submit_light
from autograder.publish.sample_class import Student

pytestmark = [pytest.mark.xdist_group("engine"), pytest.mark.sandbox]

FORMGRADER = """
import sys
from nbgrader.apps import NbGrader
from nbgrader.apps.api import NbGraderAPI
app = NbGrader()
app.load_config_file()
api = NbGraderAPI(config=app.config)
for student in sys.argv[1:]:
    said = api.autograde("light", student)
    print(said["success"], said.get("error", ""))
print([(one["student"], one["score"], one["autograded"]) for one in api.get_submissions("light") if one["student"] in sys.argv])
print(api.generate_feedback("light", sys.argv[1])["success"])
"""


#: What the student's extra does not install.
STUDENT = """
import sys
for name in ("latex2mathml", "typer", "rich", "distributed", "psycopg2"):
    sys.modules[name] = None
from nbgrader.apps import NbGrader
app = NbGrader()
app.load_config_file()
print(app.config.Execute.skip_cells_with_tag, app.config.CourseDirectory.course_id, "torch" in sys.modules)
"""


def test_a_students_machine_can_read_the_courses_configuration(root: Path, tmp_path: Path) -> None:
    (tmp_path / "nbgrader_config.py").write_text((root / "nbgrader_config.py").read_text(encoding="utf-8"))
    out = run(tmp_path, "-c", STUDENT)
    assert out.stdout.split() == ["demo", "practical-optimization", "False"], out.stderr


@pytest.fixture(scope="module")
def course(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Student]]:
    folder = tmp_path_factory.mktemp("plugin")
    make_light_course(root, folder)
    (folder / "nbgrader_config.py").write_text((root / "nbgrader_config.py").read_text(encoding="utf-8"))
    return folder, submit_light(root, folder, 3)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / "config"), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_nbgrader_autograde_grades_with_the_engine(course: tuple[Path, dict[str, Student]]) -> None:
    folder, styles = course
    out = run(folder, "-m", "nbgrader", "autograde", NAME, "--student", "student00[02]")
    assert out.returncode == 0, out.stderr
    due = {name: sum(expected_marks(styles[name]).values()) for name in ("student000", "student002")}
    assert f"student000: {due['student000']:g} of 16 points (graded)" in out.stderr
    assert f"student002: {due['student002']:g} of 16 points (graded)" in out.stderr
    assert "student001" not in out.stderr
    assert (folder / engine.STORE).exists()
    assert "Executing" not in out.stderr  # no kernel of nbgrader's


def test_formgraders_buttons_grade_and_write_feedback_with_the_engine(
    course: tuple[Path, dict[str, Student]],
) -> None:
    folder, styles = course
    out = run(folder, "-c", FORMGRADER, "student002")
    assert out.returncode == 0, out.stderr
    due = sum(expected_marks(styles["student002"]).values())
    lines = out.stdout.splitlines()
    assert lines[0].startswith("True")
    assert lines[1] == str([("student002", due, True)])
    assert lines[2] == "True"
    page = (folder / "feedback" / "student002" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page  # the engine's page, not nbgrader's


def test_feedback_is_released_beside_work_that_came_by_another_way(course: tuple[Path, dict[str, Student]]) -> None:
    """Notebooks that came by mail have none of the files that the exchange adds, and nbgrader stops where it misses one."""
    folder, _ = course
    by_mail = folder / "submitted" / "student000" / NAME
    assert {path.name for path in by_mail.iterdir()}.isdisjoint({"timestamp.txt", "submission_secret.txt"})
    through = folder / "submitted" / "student002" / NAME
    assert run(folder, "-m", "nbgrader", "autograde", NAME, "--student", "student002").returncode == 0
    # the same work once more, through the exchange this time: its feedback is fetched under this secret
    (through / "timestamp.txt").write_text("2030-01-09 11:00:00 UTC")
    (through / "submission_secret.txt").write_text("s" * 128)
    out = run(folder, "-m", "nbgrader", "autograde", NAME, "--student", "student00[02]")
    assert out.returncode == 0, out.stderr
    (folder / "exchange").mkdir(mode=0o777)  # releasing an assignment has made it in a course
    out = run(folder, "-m", "nbgrader", "release_feedback", NAME)
    assert out.returncode == 0, out.stderr
    pages = list((folder / "exchange").glob("*/feedback/*.html"))
    assert f"{notebook_hash(secret='s' * 128, notebook_id=NAME)}.html" in [page.name for page in pages]
    assert len(pages) == 2


def test_a_pattern_that_matches_nobody_is_one_clear_line(course: tuple[Path, dict[str, Student]]) -> None:
    folder, _ = course
    out = run(folder, "-m", "nbgrader", "autograde", NAME, "--student", "nobody")
    assert out.returncode == 1
    assert "no submissions of light" in out.stderr
    assert "Traceback" not in out.stderr


def test_feedback_shows_scores_that_humans_have_given_since(course: tuple[Path, dict[str, Student]]) -> None:
    from nbgrader.api import Gradebook

    folder, _ = course
    graded = run(folder, "-m", "autograder", "grade", NAME, "student000", "--course", str(folder))
    assert graded.returncode == 0, graded.stderr
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        comment = gradebook.find_comment("adam-step-solution", NAME, NAME, "student000")
        comment.manual_comment = "A lovely loop."
        gradebook.db.commit()
    out = run(folder, "-m", "autograder", "feedback", NAME, "student000", "--course", str(folder))
    assert out.returncode == 0, out.stderr
    page = (folder / "feedback" / "student000" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert "A lovely loop." in page
    missing = run(folder, "-m", "autograder", "feedback", NAME, "student001", "--course", str(folder))
    assert missing.returncode == 2
    assert "has no grade for light yet" in missing.stderr.replace("\n", " ")
