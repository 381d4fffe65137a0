"""A class through the whole engine: fork server, sandbox, evidence, marks, store, gradebook, folders."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from typer.testing import CliRunner

from autograder.cli import app
from autograder.grading import engine
from autograder.grading.command import course_at
from autograder.grading.report.build import make_report
from autograder.grading.report.command import PAGE
from autograder.grading.results import SubmissionResult
from autograder.grading.store import Store
from autograder.publish.light import NAME, expected_marks, gradebook_marks, left_behind, make_light_course, submit_light
from autograder.publish.sample_class import Student

pytestmark = [pytest.mark.xdist_group("engine"), pytest.mark.sandbox]

COUNT = 8


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Student]]:
    folder = tmp_path_factory.mktemp("light")
    make_light_course(root, folder)
    return folder, submit_light(root, folder, COUNT)


@pytest.fixture(scope="module")
def graded(made: tuple[Path, dict[str, Student]]) -> tuple[Path, dict[str, Student]]:
    """Graded once by the command line, with two jobs."""
    folder, styles = made
    out = grade(folder, "--jobs", "2")
    assert out.returncode == 0, out.stderr
    return folder, styles


@pytest.fixture
def fresh(made: tuple[Path, dict[str, Student]], tmp_path: Path) -> Path:
    """A copy of the course in which nothing is graded."""
    folder = tmp_path / "course"
    skip = shutil.ignore_patterns(".grading", "autograded", "feedback", "gradebook.db")
    shutil.copytree(made[0], folder, ignore=skip)
    return folder


def grade(folder: Path, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **more)


def events(out: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.stdout.splitlines()]


def results(folder: Path) -> dict[str, SubmissionResult]:
    with Store(folder / engine.STORE) as store:
        found = {f"student{i:03d}": store.latest(NAME, f"student{i:03d}") for i in range(COUNT)}
    return {name: one for name, one in found.items() if one is not None}


def marks(folder: Path) -> dict[str, dict[str, float]]:
    return {name: one.marks() for name, one in results(folder).items()}


def test_every_student_gets_the_marks_that_are_due(graded: tuple[Path, dict[str, Student]]) -> None:
    folder, styles = graded
    due = {name: expected_marks(style) for name, style in styles.items()}
    assert marks(folder) == due
    assert gradebook_marks(folder) == due


def test_the_class_is_reported_with_its_mistakes(graded: tuple[Path, dict[str, Student]]) -> None:
    folder, styles = graded
    (one,) = make_report(course_at(folder)).assignments
    assert (one.overview.submitted, one.overview.graded, one.overview.waiting) == (COUNT, COUNT, 0)
    due = {name: sum(expected_marks(style).values()) for name, style in styles.items()}
    assert {row.student: row.points for row in one.students} == due
    step, adam, *_ = one.exercises
    named = [(found.id, found.title, found.count) for found in step.misconceptions]
    assert named == [("A1", "eps inside the square root", 1)]
    assert [(found.title, found.count) for found in adam.exceptions] == [("SyntaxError", 1)]
    assert step.not_started == 1
    assert step.median_seconds > 0
    assert {"adam-step-solution", "adam-adam-solution", "imports"} <= {row.cell for row in one.cells}
    assert all(row.slowest_seconds >= row.median_seconds for row in one.cells)
    assert one.cells[0].slowest_seconds == max(row.slowest_seconds for row in one.cells) > 0
    assert all(row.slowest_student in due for row in one.cells)
    assert one.groups == ()  # eight are too few to call anything rare
    assert {row.id for row in one.environment} == {"python", "torch", "autograder", "engine", "sandbox", "release"}
    assert any("the one that is here" in row.title for row in one.environment)
    out = CliRunner().invoke(app, ["report", NAME, "--course", str(folder)])
    assert (out.exit_code, out.stdout.split()) == (0, [str(folder / PAGE)])


def test_gradescopes_autograder_gives_the_marks_of_autograder_grade(
    graded: tuple[Path, dict[str, Student]], tmp_path: Path
) -> None:
    """The zip unpacked as Gradescope does it, its script run in a process of its own."""
    folder, styles = graded
    name = next(name for name, style in styles.items() if style.id == "eps_inside")
    zipped = tmp_path / "autograder.zip"
    out = CliRunner().invoke(
        app, ["export", NAME, "--format", "gradescope-zip", "--course", str(folder), "--output", str(zipped)]
    )
    assert out.exit_code == 0, out.stderr
    root = tmp_path / "autograder"
    (root / "results").mkdir(parents=True)
    shutil.unpack_archive(zipped, root / "source")
    shutil.copy(root / "source" / "run_autograder", root)
    (root / "run_autograder").chmod(0o755)
    shutil.copytree(folder / "submitted" / name / NAME, root / "submission")
    (root / "submission" / "torch.py").write_text("raise SystemExit")  # what else is handed in changes nothing
    (root / "submission_metadata.json").write_text('{"users": [{"name": "Student User"}]}')
    (root / "venv").symlink_to(sys.prefix)  # what setup.sh makes
    environment = {"PATH": os.environ["PATH"], "AUTOGRADER_ROOT": str(root)}
    ran = subprocess.run(
        [root / "run_autograder"], cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads((root / "results" / "results.json").read_text(encoding="utf-8"))
    mine = results(folder)[name]
    assert {test["name"].split(" ·")[0]: test["score"] for test in found["tests"]} == mine.marks()
    assert found["extra_data"]["submission"] == mine.digest
    assert found["extra_data"]["sandbox"] == mine.rung
    assert [test["tags"] for test in found["tests"]][:2] == [["A1"], ["A1"]]
    assert list((root / "results").iterdir()) == [root / "results" / "results.json"]


def test_misconceptions_are_named_and_shown_without_hidden_numbers(graded: tuple[Path, dict[str, Student]]) -> None:
    folder, styles = graded
    name = next(name for name, style in styles.items() if style.id == "eps_inside")
    result = results(folder)[name]
    named = {one.exercise_id: [text.split()[0] for text in one.misconceptions] for one in result.exercises}
    assert named["adam.step"] == named["adam.adam"] == ["A1"]
    page = (folder / "feedback" / name / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert "eps inside the square root" in page
    notebook = nbformat.read(folder / "autograded" / name / NAME / f"{NAME}.ipynb", as_version=4)
    nbformat.validate(notebook)
    check = next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == "adam-step")
    assert "eps inside the square root" in check.outputs[0].data["text/html"]


def test_results_say_which_sandbox_they_come_from(graded: tuple[Path, dict[str, Student]]) -> None:
    assert {one.rung for one in results(graded[0]).values()} <= {"full", "full-stub-proc", "confined"}


def test_unchanged_work_is_not_graded_again_and_force_gives_the_same(graded: tuple[Path, dict[str, Student]]) -> None:
    folder, _ = graded
    before = marks(folder)
    start = time_of_children()
    again = events(grade(folder, "--json"))
    assert [one["event"] for one in again] == ["start"] + ["unchanged"] * COUNT
    assert time_of_children() - start < 10, "seconds of processor time: the clock says little on a busy machine"
    forced = events(grade(folder, "--json", "--force", "--jobs", "1", "student000", "student002"))
    assert [one["event"] for one in forced] == ["start", "graded", "graded"]
    assert marks(folder) == before


def time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def judged(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All of a result that says something about the work, and not about the machine."""
    return {
        name: [(one.exercise_id, one.points, one.reason, one.misconceptions) for one in result.exercises]
        for name, result in results(folder).items()
    }


def test_marks_depend_neither_on_jobs_nor_on_load(graded: tuple[Path, dict[str, Student]]) -> None:
    """It was graded with two jobs on a machine of its own: now with one, beside others."""
    folder, _ = graded
    before = judged(folder)
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        assert grade(folder, "--force", "--jobs", "1").returncode == 0
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert judged(folder) == before


def test_an_edit_is_graded_and_leaves_others_alone(graded: tuple[Path, dict[str, Student]], root: Path) -> None:
    folder, styles = graded
    name = next(name for name, style in styles.items() if style.id == "no_correction")
    path = folder / "submitted" / name / NAME / f"{NAME}.ipynb"
    before, text = marks(folder), path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.source.startswith("# exercise adam.l2_is_not_decay"))
    cell.source = "# exercise adam.l2_is_not_decay\nraise NotImplementedError()"
    nbformat.write(notebook, path)
    try:
        found = events(grade(folder, "--json"))
        assert [(one["event"], one.get("student")) for one in found if one["event"] == "graded"] == [("graded", name)]
        after = marks(folder)
        assert after.pop(name)["adam.l2_is_not_decay"] == 0.0
        assert after == {other: points for other, points in before.items() if other != name}
        assert gradebook_marks(folder)[name]["adam.l2_is_not_decay"] == 0.0
    finally:
        path.write_text(text, encoding="utf-8")
        grade(folder, "--json")


def test_killed_anywhere_and_run_again_it_ends_with_the_same_marks(
    graded: tuple[Path, dict[str, Student]], fresh: Path
) -> None:
    """A few kills here; `benchmarks/kills.py` does a hundred."""
    dice = random.Random(5)
    for _ in range(4):
        command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(fresh), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        for _ in range(dice.randint(1, 3)):
            process.stdout.readline()
        time.sleep(dice.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert grade(fresh, "--json").returncode == 0
    assert marks(fresh) == marks(graded[0])
    assert gradebook_marks(fresh) == gradebook_marks(graded[0])
    with Store(fresh / engine.STORE) as store:
        assert store.pending(NAME) == []
    assert left_behind(fresh) == []


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(fresh: Path) -> None:
    for path in sorted(fresh.glob("submitted/*/*/*.ipynb"))[4:]:  # somebody's work is slow: there is time to stop
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell("import time; time.sleep(10)"))
        nbformat.write(notebook, path)
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(fresh), "--jobs", "1"]
    heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    store = fresh / engine.STORE
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (store.exists() and len(_recorded(fresh)) >= 2):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "Interrupted:" in out
    assert "run the same command to go on" in out
    assert 2 <= len(_recorded(fresh)) < COUNT
    assert left_behind(fresh) == []


def _recorded(folder: Path) -> dict[str, SubmissionResult]:
    from autograder.grading.store import StoreError

    try:
        return results(folder)
    except StoreError:
        return {}


def test_another_device_gives_the_same_marks_and_is_no_reason_to_skip(
    graded: tuple[Path, dict[str, Student]], fresh: Path
) -> None:
    """On the pretend GPU, which runs here: all cases with tensors go through what `--device` goes through."""
    out = grade(fresh, "student003", "--device", "pretend", "--json")
    assert out.returncode == 0, out.stderr
    assert marks(fresh)["student003"] == marks(graded[0])["student003"]
    devices = {text for one in results(fresh)["student003"].exercises for text in [one.text] if "a pretend GPU" in text}
    assert devices, "a failed check says on which device"
    with Store(fresh / engine.STORE) as store:
        assert store.latest(NAME, "student003").engine == engine.Settings(device="pretend").engine  # type: ignore[union-attr]
    assert engine.Settings(device="pretend").engine != engine.Settings().engine, "else unchanged work would be skipped"


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a CUDA device")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_graded(fresh: Path) -> None:
    out = grade(fresh, "--device", "cuda")
    assert (out.returncode, results(fresh)) == (2, {})
    assert "marks need no GPU" in " ".join(out.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nothing is submitted for light by nowhere"),
        (["--course", "/nonexistent"], "release"),
    ],
)
def test_wrong_use_gets_one_line(graded: tuple[Path, dict[str, Student]], arguments: list[str], says: str) -> None:
    out = grade(graded[0], *arguments)
    assert out.returncode == 2
    assert says in out.stderr.replace("\n", " ")
    assert "Traceback" not in out.stderr


def test_without_a_sandbox_it_refuses_unless_students_are_trusted(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autograder.grading.sandbox import Offer

    monkeypatch.setattr(engine, "offered", lambda: Offer(rung="", facts=(), remedy="allow user namespaces"))
    course = engine.Course(fresh, f"sqlite:///{fresh / 'gradebook.db'}", NAME)
    with pytest.raises(engine.GradingError, match="allow user namespaces"):
        next(engine.grade_class(course, NAME))
    options = engine.Options(jobs=1, trust_students=True)
    found = list(engine.grade_class(course, NAME, ["student000"], options))
    assert found[0].rung == "none"
    assert found[-1].result is not None
    assert found[-1].result.rung == "none"
    page = (fresh / "feedback" / "student000" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert "without a sandbox" in page
