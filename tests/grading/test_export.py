"""Exports: what other systems read is what the gradebook has, and nothing that a spreadsheet or a page would execute."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import CsvExportPlugin, LateSubmissionPlugin
from test_records import assignment, graded, named
from test_records_gradebook import by_hand
from test_report import course as empty_course
from test_report import scored
from traitlets.config import Config
from typer.testing import CliRunner, Result

from autograder.cli import app
from autograder.exercise import REGISTRY, QuizExercise
from autograder.grading.engine import STORE, Course
from autograder.grading.export import gradescope_run
from autograder.grading.export.canvas import POSSIBLE, RosterError, canvas_table, fill_roster, read_roster
from autograder.grading.export.gradescope import read_results, results_of
from autograder.grading.export.marks import Marks, read_marks
from autograder.grading.export.nbgrader_exporters import CanvasExporter, MarksExporter
from autograder.grading.export.tables import csv_text, kept_cell, number, safe_cell
from autograder.grading.gradebook import HumanMark, Review, Standing, open_gradebook
from autograder.grading.store import Store
from autograder.publish.demo import ASSIGNMENT

pytestmark = pytest.mark.xdist_group("export")

DUE = datetime(2030, 1, 10, 12)
HOSTILE = '=HYPERLINK("http://evil","x")'


class Half(LateSubmissionPlugin):  # type: ignore[misc]
    """Half of the score for whoever is late."""

    def late_submission_penalty(self, student_id: str, score: float, total_seconds_late: float) -> float:
        return score / 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """Four students: `perfect`, late `eps_inside` with marks by hand, `measured` on the leaderboard, and `absent`."""
    made = empty_course(tmp_path_factory.mktemp("export"))
    with Gradebook(made.gradebook) as gradebook:
        gradebook.add_assignment(ASSIGNMENT, duedate=DUE)
        gradebook.add_student("perfect", last_name="Lovelace", first_name="Ada", lms_user_id="4711")
        gradebook.add_student("eps_inside", last_name=HOSTILE, first_name="<script>alert(1)</script>", email="@mail")
        gradebook.add_student("measured", last_name="O'Neil, Jr.", first_name='"Bo"')
        gradebook.add_student("absent")
    handed_in = {
        "perfect": (*graded("perfect"), DUE - timedelta(hours=1)),
        "eps_inside": (*graded("eps_inside"), DUE + timedelta(hours=2)),
    }
    result, notebook = scored("measured", 0.875)
    handed_in["measured"] = notebook, result, DUE - timedelta(days=1)
    with Store(made.root / STORE) as store, open_gradebook(made.gradebook, late=Half()) as book:
        for student, (notebook, result, when) in handed_in.items():
            book.write(assignment(), result, when.replace(tzinfo=UTC), notebook)
            store.mark_published(ASSIGNMENT, student, store.record(result, nbformat.writes(notebook)))
    by_hand(made.gradebook, "perfect", adam_w1=(2.5, None, "See <b>page</b> 3."))
    by_hand(made.gradebook, "measured", adam_q1=(0.0, -0.25, ""))
    return made


@pytest.fixture(scope="module")
def marks(place: Course) -> Marks:
    with open_gradebook(place.gradebook) as book:
        return read_marks(book)


def export(place: Course, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments, "--course", str(place.root)])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def in_gradebook(place: Course) -> dict[str, Any]:
    """Student → nbgrader's own submission, None without one."""
    with Gradebook(place.gradebook) as gradebook:
        found = {}
        for student in gradebook.students:
            try:
                one = gradebook.find_submission(ASSIGNMENT, student.id)
            except MissingEntry:
                found[student.id] = None
            else:
                points = {g.name: g.score for n in one.notebooks for g in n.grades}
                found[student.id] = (
                    *(one.score, one.late_submission_penalty, one.max_score, one.needs_manual_grade, one.timestamp),
                    points,
                )
        return found


# --- the plain table ------------------------------------------------------------------------------------------------


def test_the_table_has_every_student_with_the_gradebooks_numbers(place: Course) -> None:
    out = export(place, "--exercises")
    assert (out.exit_code, out.stdout.split()) == (0, [str(place.root / "grades.csv")]), out.stderr
    rows = {row["student_id"]: row for row in table(place.root / "grades.csv")}
    expected = in_gradebook(place)
    assert rows.keys() == expected.keys() == {"perfect", "eps_inside", "measured", "absent"}
    for student, row in rows.items():
        raw, penalty, most, waits, when, points = expected[student] or (0, 0, 43, False, None, {})
        assert (float(row["raw_score"]), float(row["max_score"])) == (pytest.approx(raw), most)
        assert float(row["late_submission_penalty"]) == pytest.approx(penalty)
        assert float(row["score"]) == pytest.approx(max(raw - penalty, 0))
        assert row["needs_manual_grade"] == ("yes" if waits else "no")
        assert row["submitted"] == (f"{when.isoformat()}Z" if when else "")
        assert row["duedate"] == "2030-01-10T12:00:00Z"
        for exercise in (one for one in REGISTRY.values() if one.notebook == ASSIGNMENT):
            shown = row[exercise.id]
            assert shown == "" if student == "absent" else float(shown) == points[exercise.grade_id], exercise.id
    assert float(rows["eps_inside"]["score"]) == 11.75  # half of it: late
    assert float(rows["perfect"]["score"]) == 42.5  # 40 and what a human gave for the derivation


def test_the_totals_are_those_of_nbgraders_own_export(place: Course, tmp_path: Path) -> None:
    theirs = CsvExportPlugin(to=str(tmp_path / "stock.csv"))
    with Gradebook(place.gradebook) as gradebook:
        gradebook.find_student("eps_inside").last_name = "x"  # its own CSV does not quote; nothing is committed
        gradebook.find_student("measured").last_name = "x"
        theirs.export(gradebook)
    export(place)
    stock = {row["student_id"]: row for row in table(tmp_path / "stock.csv")}
    for row in table(place.root / "grades.csv"):
        for name in ("raw_score", "late_submission_penalty", "score", "max_score"):
            assert float(row[name]) == pytest.approx(float(stock[row["student_id"]][name])), (row["student_id"], name)


def test_names_can_be_neither_formulas_nor_html_and_commas_stay_inside_their_cell(place: Course) -> None:
    export(place)
    rows = {row["student_id"]: row for row in table(place.root / "grades.csv")}
    assert rows["eps_inside"]["last_name"] == f"'{HOSTILE}"
    assert rows["eps_inside"]["first_name"] == "‹script›alert(1)‹/script›"
    assert rows["eps_inside"]["email"] == "'@mail"
    assert (rows["measured"]["last_name"], rows["measured"]["first_name"]) == ("O'Neil, Jr.", '"Bo"')
    assert rows["measured"]["raw_score"] == "38.75"


def test_negative_numbers_stay_numbers_in_every_cell_that_is_one() -> None:
    (row,) = csv.reader(io.StringIO(csv_text([[-1.5, "-2", "-2+1", "+4.5", "-inf", None, 0.1 + 0.2, 12.0]])))
    assert row == ["-1.5", "-2", "'-2+1", "+4.5", "'-inf", "", "0.3", "12"]
    assert [number(value) for value in (0.0, -0.25, 1e-9, 100.0, 2 / 3)] == ["0", "-0.25", "0", "100", "0.6667"]
    assert kept_cell("=1+1") == "'=1+1"
    for name in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"):
        assert safe_cell(name) == f"'{name}"
    for name in ("Ada", "", "O'Neil", "a=b", "Jean-Luc"):
        assert safe_cell(name) == name


def test_a_pipe_or_a_device_is_written_to_and_not_replaced(place: Course, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert export(place, "--output", str(pipe)).exit_code == 0
        assert os.read(reading, 10) == b"assignment"
    finally:
        os.close(reading)
    assert pipe.is_fifo()


def test_only_their_owner_can_read_marks_and_waiting_work_is_told(place: Course) -> None:
    out = export(place)
    assert stat.S_IMODE((place.root / "grades.csv").stat().st_mode) == 0o600
    assert out.stderr == ""
    with Gradebook(place.gradebook) as gradebook:
        gradebook.find_grade("adam-w1", ASSIGNMENT, ASSIGNMENT, "perfect").needs_manual_grade = True
        gradebook.db.commit()
    try:
        assert export(place).stderr == "1 of 4 scores still wait for a human\n"
    finally:
        by_hand(place.gradebook, "perfect", adam_w1=(2.5, None, ""))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["06"], "the gradebook has no assignment '06'; it has 05_adam_adamw"),
        (["--student", "nobody"], "the gradebook has no student 'nobody'; it has absent, eps_inside"),
        (["--roster", "x.csv"], "--format canvas"),
        (["--format", "canvas", "--exercises"], "--format csv"),
        (["--format", "canvas", "--roster", "/nowhere.csv"], "/nowhere.csv cannot be read: No such file"),
        (["--format", "gradescope"], "needs the assignments' names"),
        (["--format", "gradescope", ASSIGNMENT, "--student", "absent"], "absent: no results for 05_adam_adamw"),
        (["--format", "gradescope-zip"], "takes one assignment"),
        (["--format", "gradescope-zip", "99_nothing"], "run `autograder build`"),
        (["--output", "/nowhere/x.csv"], "cannot be written: No such file"),
        (["--gradebook", "sqlite:////nowhere/gradebook.db"], "there is no gradebook at"),
    ],
)
def test_wrong_use_gets_one_line(place: Course, arguments: list[str], says: str) -> None:
    out = export(place, *arguments)
    assert out.exit_code == 2
    assert says in " ".join(out.stderr.split())


# --- Canvas ---------------------------------------------------------------------------------------------------------

COLUMN = f"Adam and AdamW ({ASSIGNMENT})"


def test_canvas_gets_its_columns_points_possible_and_the_scores(marks: Marks) -> None:
    header, possible, *rows = csv.reader(io.StringIO(canvas_table(marks)))
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", COLUMN]
    assert possible == [POSSIBLE, "", "", "", "", "43"]
    assert {row[3]: (row[0], row[1], row[5]) for row in rows} == {
        "absent": ("absent", "", ""),  # an empty cell is no mark
        "eps_inside": (f"'{HOSTILE}, ‹script›alert(1)‹/script›", "", "11.75"),
        "measured": ('O\'Neil, Jr., "Bo"', "", "38.75"),
        "perfect": ("Lovelace, Ada", "4711", "42.5"),
    }


ROSTER = [
    ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Essay (77)", "adam and adamw (1234)", "Final Score"],
    ["    Points Possible", "", "", "", "", "10", "43", "(read only)"],
    ["Lovelace, Ada", "11", "s-11", "perfect", "A and B", "9", "", "90.1"],
    ["=cmd|' /C calc'!A0", "12", "eps_inside", "eps@uni", "A", "-1.5", "3", ""],
    ["Neil, Bo", "measured", "s-13", "bo@uni", "A", "", "", ""],
    ["Away, Al", "14", "absent", "al@uni", "A", "8", "7", "80"],
    ["Student, Test", "15", "", "f00d", "A", "", "", ""],
]


def roster(folder: Path, rows: list[list[str]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with (folder / "roster.csv").open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return folder / "roster.csv"


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8"), (";", "utf-8-sig")])
def test_a_canvas_file_is_filled_in_and_otherwise_left_alone(
    place: Course, tmp_path: Path, delimiter: str, encoding: str
) -> None:
    given = roster(tmp_path, ROSTER, delimiter, encoding)
    out = export(place, "--format", "canvas", "--roster", str(given), "--output", str(tmp_path / "out.csv"))
    assert (out.exit_code, out.stderr) == (0, "in the roster and not in the gradebook: f00d\n")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file, delimiter=delimiter))
    expected = [list(row) for row in ROSTER]
    expected[2][6], expected[3][6], expected[4][6] = "42.5", "11.75", "38.75"  # whoever was absent keeps the 7
    expected[3][0] = f"'{ROSTER[3][0]}"
    assert found == expected


def test_who_stands_in_no_row_is_listed_and_an_unknown_assignment_gets_a_column(marks: Marks, tmp_path: Path) -> None:
    given = roster(tmp_path, [[*row[:6], *row[7:]] for row in ROSTER[:3]])
    filled = fill_roster(read_roster(given), marks)
    header, possible, ada = csv.reader(io.StringIO(filled.text))
    assert (header[-1], possible[-1], ada[-1]) == (COLUMN, "43", "42.5")
    assert filled.unmatched == ("eps_inside", "measured")
    # what was written is what is read the next time: the column is found again
    (tmp_path / "again.csv").write_text(filled.text, encoding="utf-8")
    assert fill_roster(read_roster(tmp_path / "again.csv"), marks).text == filled.text


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "is empty or no CSV"),
        ([["name", "mark"], ["a", "1"]], "needs the columns 'Student' and one of 'SIS Login ID'"),
        ([[*ROSTER[0], ASSIGNMENT], *ROSTER[1:]], "more than one column for 05_adam_adamw"),
    ],
)
def test_a_file_that_is_no_roster_is_refused_in_one_line(
    marks: Marks, tmp_path: Path, rows: list[list[str]], says: str
) -> None:
    with pytest.raises(RosterError, match=says):
        fill_roster(read_roster(roster(tmp_path, rows)), marks)


def test_nbgraders_export_command_can_use_both(place: Course, tmp_path: Path) -> None:
    config = Config({"CanvasExporter": {"roster": str(roster(tmp_path, ROSTER))}, "MarksExporter": {"exercises": True}})
    with Gradebook(place.gradebook) as gradebook:
        MarksExporter(config=config, to=str(tmp_path / "a.csv"), student=["perfect"]).export(gradebook)
        CanvasExporter(config=config, to=str(tmp_path / "b.csv"), assignment=[ASSIGNMENT]).export(gradebook)
    (row,) = table(tmp_path / "a.csv")
    assert (row["student_id"], row["score"], row["adam.w1"]) == ("perfect", "42.5", "2.5")
    assert table(tmp_path / "b.csv")[1]["adam and adamw (1234)"] == "42.5"


# --- Gradescope -----------------------------------------------------------------------------------------------------

TOP = {"score", "execution_time", "output", "output_format", "visibility", "stdout_visibility", "tests", "extra_data"}
TEST = {"number", "name", "max_score", "score", "status", "output", "output_format", "visibility", "tags"}


def test_gradescope_gets_a_test_for_each_exercise_in_documented_fields(place: Course) -> None:
    out = export(place, "--format", "gradescope", ASSIGNMENT)
    assert out.exit_code == 0, out.stderr
    expected = in_gradebook(place)
    for student in ("perfect", "eps_inside", "measured"):
        path = place.root / "gradescope" / ASSIGNMENT / student / "results.json"
        found = json.loads(path.read_text(encoding="utf-8"))
        raw, penalty, most, _, _, points = expected[student]
        assert found.keys() - {"leaderboard"} == TOP
        assert found["score"] == pytest.approx(raw - penalty)
        assert [test["number"] for test in found["tests"]] == [str(i) for i in range(1, 19)]
        for test, exercise in zip(found["tests"], points_in_order(), strict=True):
            assert test.keys() <= TEST
            assert test["name"].startswith(f"{exercise.id} · ")
            assert (test["score"], test["max_score"]) == (points[exercise.grade_id], exercise.points)
            assert test["status"] == ("passed" if points[exercise.grade_id] >= exercise.points else "failed")
            # the answer of a question is not given away while somebody can still hand in another
            assert test["visibility"] == ("after_due_date" if isinstance(exercise, QuizExercise) else "visible")
        assert sum(test["max_score"] for test in found["tests"]) == most


def points_in_order() -> list[Any]:
    return [exercise for exercise in REGISTRY.values() if exercise.notebook == ASSIGNMENT]


def test_gradescope_is_told_misconceptions_groups_late_penalty_and_comments(place: Course) -> None:
    found = dict(read_results(place, ASSIGNMENT))
    late, perfect = found["eps_inside"], found["perfect"]
    step = next(test for test in late["tests"] if test["name"].startswith("adam.step"))
    assert step["tags"] == ["A1"]
    assert "→ <b>eps inside the square root</b>. You compute" in step["output"]
    assert "✗ continued state: 0 of 0.5 (0 of 1 visible, 0 of 1 hidden cases pass)" in step["output"]
    assert "<li>eps inside the square root</li>" in late["output"]
    assert "11.75 points are taken off for handing in late" in late["output"]
    written = next(test for test in perfect["tests"] if test["name"].startswith("adam.w1"))
    assert "See &lt;b&gt;page&lt;/b&gt; 3." in written["output"]
    assert found["measured"]["leaderboard"] == [{"name": "Adam's update", "value": 0.875}]
    assert "leaderboard" not in perfect


def test_gradescope_hears_of_work_that_waits_of_a_missing_sandbox_and_of_nobody_who_declines() -> None:
    _, result = graded("perfect")
    measured, _ = scored("measured", 0.5)
    nothing = Standing({}, False, 0.0, 0.0)
    shown = results_of(replace(result, rung="none"), {}, nothing, Review())
    assert "<b>Graded without a sandbox:</b>" in shown["output"]
    assert shown["extra_data"]["sandbox"] == "none"
    assert "3 points wait for a human" in shown["output"]
    waiting = next(test for test in shown["tests"] if test["name"].startswith("adam.w1"))
    assert "score" not in waiting
    assert "status" not in waiting
    assert "sandbox" not in results_of(result, {}, nothing, Review())["output"]
    assert "confined" in results_of(replace(result, rung="confined"), {}, nothing, Review())["output"]
    no = {"adam.step": "# exercise adam.step\n# leaderboard: no\n"}
    assert "leaderboard" in results_of(measured, {}, nothing, Review())
    assert "leaderboard" not in results_of(measured, no, nothing, Review())


def test_gradescopes_html_holds_nothing_of_a_students() -> None:
    _, result = graded("eps_inside")
    evil = "<img src=x onerror=alert(1)>"
    broken = replace(result.exercises[1], html="", text="", data={}, reason=evil)
    hostile = named(result, "x", notes=(evil,), exercises=(broken, *result.exercises[2:]))
    said = Review({broken.grade_id: HumanMark(comment=evil)})
    shown = results_of(hostile, {}, Standing({}, False, 0.0, 0.0), said)
    assert "onerror" in shown["output"]
    assert "<img" not in json.dumps(shown)


def test_the_autograder_zip_holds_what_grading_needs_and_no_answers(place: Course, tmp_path: Path) -> None:
    out = export(place, "--format", "gradescope-zip", ASSIGNMENT, "--output", str(tmp_path / "a.zip"))
    assert out.exit_code == 0, out.stderr
    assert "holds the course key: keep it with staff" in out.stderr
    assert stat.S_IMODE((tmp_path / "a.zip").stat().st_mode) == 0o600
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        names = set(file.namelist())
        modes = {entry.filename: stat.S_IMODE(entry.external_attr >> 16) for entry in file.infolist()}
        file.extractall(tmp_path / "out")
    assert {"setup.sh", "run_autograder", "requirements.txt", "constraints.txt", "course/course.toml"} <= names
    assert [name for name in names if name.startswith("release/")] == [f"release/{ASSIGNMENT}/{ASSIGNMENT}.ipynb"]
    assert not [
        name
        for name in names
        if name.startswith(("autograder/answers", "autograder/source", "source", "tests", "benchmarks"))
    ]
    assert (modes["run_autograder"], modes["setup.sh"], modes["course/.key"]) == (0o755, 0o755, 0o600)
    key = (place.root / "course" / ".key").read_bytes()
    assert (tmp_path / "out" / "course" / ".key").read_bytes() == key
    assert "Keep it with staff" in (tmp_path / "out" / "README.txt").read_text()
    for script in ("setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n", tmp_path / "out" / script]).returncode == 0
    listed = (tmp_path / "out" / "requirements.txt").read_text()
    assert all(package in listed for package in ("torch>=", "nbgrader>=", "typer>="))
    again = export(place, "--format", "gradescope-zip", ASSIGNMENT, "--output", str(tmp_path / "b.zip"))
    assert again.exit_code == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_an_autograder_that_cannot_grade_writes_no_results_for_staff_to_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gradescope then says that the autograder failed; results.json would be a student's zero."""
    (tmp_path / "submission").mkdir()
    monkeypatch.setenv("AUTOGRADER_ROOT", str(tmp_path))
    assert gradescope_run.main() == 1
    assert "source/release/ with one assignment" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_the_gradebook_is_only_read(place: Course) -> None:
    file = Path(place.gradebook.removeprefix("sqlite:///"))
    before = file.read_bytes()
    for form in ("csv", "canvas", "gradescope", "gradescope-zip"):
        assert export(place, ASSIGNMENT, "--format", form).exit_code == 0
    assert file.read_bytes() == before
