"""The command line: what it prints, how it fails, with which exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.cli_common import assignment_named
from autograder.doctor import Finding, _gradebook
from autograder.exercise import REGISTRY


def autograder(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from autograder.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_help_lists_every_command(root: Path) -> None:
    out = autograder("--help", cwd=root)
    assert out.returncode == 0
    commands = "build grade feedback report export extend audit exercises new-assignment demo doctor"
    for command in commands.split():
        assert command in out.stdout


def test_the_command_line_itself_loads_nothing_slow(root: Path) -> None:
    """So that help comes at once, and grading starts its fork server before either process imports torch."""
    slow = {"torch", "nbgrader", "nbformat", "matplotlib", "IPython"}
    loaded = f"import autograder.cli, sys; print(sorted({slow} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", loaded], cwd=root, capture_output=True, text=True, timeout=60)
    assert out.stdout == "[]\n", out.stderr


def test_exercises_are_listed_with_what_their_checks_are_made_of(root: Path) -> None:
    out = autograder("exercises", "--json", cwd=root)
    rows = {row["id"]: row for row in json.loads(out.stdout)}
    assert rows["adam.adam"]["points"] == 6
    assert rows["adam.adam"]["misconceptions"] > 50
    assert rows["adam.w1"]["kind"] == "written"
    total = sum(exercise.points for exercise in REGISTRY.values())
    assert f"{len(REGISTRY)} exercises, {total:g} points" in autograder("exercises", cwd=root).stdout


def test_an_audit_of_one_exercise_prints_its_matrix(root: Path) -> None:
    out = autograder("audit", "start.gd_step", cwd=root)
    assert out.returncode == 0
    assert "10 of 10 wrong variants fail, 10 are called by their name; 3 of 3 right variants pass." in " ".join(
        out.stdout.split()
    )
    data = json.loads(autograder("audit", "start.gd_step", "--json", cwd=root).stdout)
    assert data[0]["ok"]


def test_an_audit_with_mutants_prints_what_they_are_and_what_is_left(root: Path) -> None:
    out = autograder("audit", "--mutants", "--json", "ema.recursive", cwd=root)
    assert out.returncode == 0
    (found,) = json.loads(out.stdout)
    assert (found["survivors"], found["not equivalent"]) == ([], [])
    assert found["mutants"] == found["killed"] + len(found["equivalent"]) > 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("audit", "adam.stp"), "there is no exercise 'adam.stp'. Did you mean 'adam.step'"),
        (("audit", "adam.q1"), "adam.q1 has no code to audit"),
        (("build", "99"), "there is no notebook '99'; the course has 00_start_here, "),
        (("grade", "05_adm"), "build the release, or say --course (released: 00_start_here, "),
        (("feedback", "07"), "nobody has handed in 07_loss_landscapes"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(root: Path, arguments: tuple[str, ...], says: str) -> None:
    out = autograder(*arguments, cwd=root)
    assert out.returncode == 2
    assert says in " ".join(out.stderr.split())
    assert "Traceback" not in out.stderr


def test_a_number_names_an_assignment_where_it_can_mean_one_only(tmp_path: Path) -> None:
    for name in ("05_adam_adamw", "06_schedulers", "06_schedulers_long", "1_lion", "10_lion"):
        (tmp_path / "release" / name).mkdir(parents=True)
    meant = {text: assignment_named(tmp_path, text) for text in ("05", "06", "06_schedulers", "1", "10", "0", "7")}
    assert meant == {
        "05": "05_adam_adamw",
        "06": "06",
        "06_schedulers": "06_schedulers",
        "1": "1_lion",
        "10": "10_lion",
        "0": "0",
        "7": "7",
    }
    assert assignment_named(tmp_path / "nowhere", "05") == "05"


def test_outside_a_course_commands_say_so(tmp_path: Path) -> None:
    out = autograder("build", cwd=tmp_path)
    assert out.returncode == 2
    assert "is not inside a course" in " ".join(out.stderr.split())


@pytest.fixture
def course(root: Path, tmp_path: Path) -> Path:
    """A copy of the course with only its first notebook."""
    copy = tmp_path / "course_copy"
    shutil.copytree(root / "source" / "00_start_here", copy / "source" / "00_start_here")
    shutil.copytree(root / "release" / "00_start_here", copy / "release" / "00_start_here")
    shutil.copy(root / "nbgrader_config.py", copy)
    return copy


def test_build_check_notices_drift_and_build_mends_it(course: Path) -> None:
    assert autograder("build", "--check", cwd=course).returncode == 0
    source = course / "source" / "00_start_here" / "00_start_here.ipynb"
    source.write_text(source.read_text().replace("takes 20 minutes", "takes 25 minutes"))
    out = autograder("build", "--check", cwd=course)
    assert out.returncode == 1
    assert "release/00_start_here is not what source/00_start_here builds" in " ".join(out.stdout.split())
    assert "release/00_start_here written" in autograder("build", "00", cwd=course).stdout
    assert autograder("build", "--check", cwd=course).returncode == 0
    assert not (course / "gradebook.db").exists()


def test_a_build_that_fails_says_why_and_leaves_the_old_release(course: Path) -> None:
    source = course / "source" / "00_start_here" / "00_start_here.ipynb"
    release = course / "release" / "00_start_here" / "00_start_here.ipynb"
    before = release.read_bytes()
    source.write_text(source.read_text().replace("### END SOLUTION", "### END"))
    out = autograder("build", cwd=course)
    assert out.returncode == 2
    assert "nbgrader could not generate 00_start_here" in " ".join(out.stderr.split())
    assert "no end solution statement found" in " ".join(out.stderr.split())
    assert "Traceback" not in out.stderr
    assert release.read_bytes() == before


def test_the_doctor_reports_what_is_there(root: Path) -> None:
    out = autograder("doctor", "--json", cwd=root)
    found = {one["what"]: one for one in json.loads(out.stdout)}
    assert out.returncode == 0
    assert found["torch"]["state"] == "ok"
    assert found["launch counting"]["state"] == "ok"
    assert found["course address"]["state"] == "note"
    assert "set repository in course/course.toml" in found["course address"]["remedy"]


@pytest.mark.parametrize(
    ("setting", "says", "remedy"),
    [
        ("c.CourseDirectory.db_url = 'postgresql+pg8000://localhost/grades'", "pg8000", "driver of your db_url"),
        ("c.AssignLatePenalties.plugin_class = 'nowhere.Late'", "late penalty", "correct nbgrader_config.py"),
    ],
)
def test_the_doctor_tries_what_the_courses_configuration_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, says: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _gradebook() == Finding("gradebook", "ok", "sqlite")
    (tmp_path / "nbgrader_config.py").write_text(f"c = get_config()\n{setting}\n")
    found = _gradebook()
    assert found.state == "missing"
    assert says in found.found
    assert remedy in found.remedy
