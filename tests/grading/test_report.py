"""The class report: its figures, what it escapes, who may read it, and what it says when it cannot be made."""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook
from test_records import ROOT, assignment, graded, named, release
from test_records_pages import HOSTILE, Page
from typer.testing import CliRunner, Result

from autograder.cli import app
from autograder.grading.engine import STORE, Course, GradingError, write_feedback_again
from autograder.grading.gradebook import open_gradebook
from autograder.grading.pseudonyms import pseudonyms, told
from autograder.grading.report.build import Report, make_report
from autograder.grading.report.command import PAGE, as_json, write_report
from autograder.grading.report.page import report_page
from autograder.grading.results import SubmissionResult
from autograder.grading.store import Store
from autograder.publish import demo
from autograder.publish.demo import ASSIGNMENT
from autograder.publish.synthetic_class import NOTEBOOK, fill_store

COUNT = 200


def course(folder: Path) -> Course:
    """An empty course with the release and the source of one notebook."""
    for kind in ("release", "source"):
        (folder / kind / NOTEBOOK).mkdir(parents=True)
        file = f"{kind}/{NOTEBOOK}/{NOTEBOOK}.ipynb"
        (folder / file).write_bytes((ROOT / file).read_bytes())
    (folder / ".grading").mkdir()
    return Course(folder, f"sqlite:///{folder / 'gradebook.db'}", "sample")


def publish(place: Course, results: Sequence[SubmissionResult], notebook: Any = None) -> None:
    text = nbformat.writes(notebook or release())
    with Store(place.root / STORE) as store:
        for result in results:
            store.mark_published(result.assignment, result.student, store.record(result, text))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Course:
    place = course(tmp_path_factory.mktemp("large"))
    fill_store(place.root / STORE, release(), COUNT)
    return place


@pytest.fixture(scope="module")
def report(large: Course) -> Report:
    return make_report(large)


def scored(student: str, score: float, comment: str = "") -> tuple[SubmissionResult, Any]:
    """A result whose first exercise measures something, and the notebook that was graded."""
    notebook, result = graded("perfect")
    first, *others = result.exercises
    measured = next(one for one in result.exercises if one.exercise_id == "adam.step")
    rows = [replace(one, data={**one.data, "score": score}) if one is measured else one for one in (first, *others)]
    notebook = nbformat.from_dict(notebook)
    next(cell for cell in notebook.cells if cell.get("id") == "adam-step-solution").source += f"\n{comment}"
    return named(result, student, exercises=tuple(rows)), notebook


# --- figures --------------------------------------------------------------------------------------------------------


def test_the_overview_agrees_with_the_store(large: Course, report: Report) -> None:
    (one,) = report.assignments
    with Store(large.root / STORE) as store:
        results = [result for _, result, _ in store.shown(NOTEBOOK)]
    totals = [result.points for result in results]
    assert (one.overview.submitted, one.overview.graded, one.overview.waiting) == (COUNT, COUNT, COUNT)
    assert one.overview.mean == pytest.approx(sum(totals) / COUNT)
    assert one.overview.median == pytest.approx(median(totals))
    assert sum(one.overview.bins) == COUNT
    assert [(row.student, row.points) for row in one.students] == [
        (result.student, result.points) for result in results
    ]


def test_every_exercise_counts_its_students_and_mistakes_in_course_order(large: Course, report: Report) -> None:
    (one,) = report.assignments
    with Store(large.root / STORE) as store:
        results = [result for _, result, _ in store.shown(NOTEBOOK)]
    assert [row.id for row in one.exercises] == [row.exercise_id for row in results[0].exercises]
    for place, row in enumerate(one.exercises):
        mine = [result.exercises[place] for result in results]
        assert row.full + row.part + row.none + row.waits == COUNT
        assert row.full == sum(got.points == got.max_points for got in mine)
        assert row.waits == sum(got.waits for got in mine)
        assert sum(found.count for found in row.misconceptions) == sum(len(got.misconceptions) for got in mine)
        assert row.misconceptions == tuple(sorted(row.misconceptions, key=lambda found: (-found.count, found.id)))
        assert sum(found.count for found in row.exceptions) == sum(len(got.data.get("raised", ())) for got in mine)
        assert row.median_seconds == pytest.approx(median(got.seconds for got in mine))


def test_attempts_flags_and_environment_are_told(large: Course, report: Report) -> None:
    (one,) = report.assignments
    with Store(large.root / STORE) as store:
        counts = {row.student: len(store.attempts(NOTEBOOK, row.student)) for row in one.students}
    assert {row.student: row.attempts for row in one.students} == counts
    assert sum(one.attempts.counts.values()) == COUNT
    assert one.attempts.up > one.attempts.down
    assert {found.student for found in one.flagged} == {row.student for row in one.students if row.flags}
    told = one.flagged[0].flags[0]
    assert (told.cell, told.line, told.kind, told.text) == ("adam-adam-solution", 4, "files elsewhere", "open")
    assert told.code.startswith("super().__init__(")  # the line itself
    said = {(row.id, row.title): row.count for row in one.environment}
    assert said["python", "3.11.7"] == said["torch", "2.13.0"] == said["sandbox", "full"] == COUNT
    assert said["release", "release (another one)"] == COUNT


def test_the_slowest_cells_are_told_with_own_cells_taken_together(tmp_path: Path) -> None:
    place = course(tmp_path)
    notebook, result = graded("eps_inside")
    times = {
        "ada": {"imports": 0.1, "own cell 1": 2.0, "own cell 12": 3.0},
        "bob": {"imports": 0.3, "adam-step-solution": 0.01},
        "eve": {"imports": 0.2},
    }
    publish(place, [named(result, student, cell_seconds=cells) for student, cells in times.items()], notebook)
    (one,) = make_report(place).assignments
    found = [(c.cell, c.students, c.median_seconds, c.slowest_seconds, c.slowest_student) for c in one.cells]
    assert found == [
        ("own cells", 1, 5.0, 5.0, "ada"),
        ("imports", 3, 0.2, 0.3, "bob"),
        ("adam-step-solution", 1, 0.01, 0.01, "bob"),
    ]
    assert "Slowest cells" in report_page(make_report(place))


def test_copied_solutions_are_shown_side_by_side(report: Report) -> None:
    (one,) = report.assignments
    groups = {group.students: group for group in one.groups}
    assert groups.keys() == {("student0098", "student0099"), ("student0198", "student0199")}
    view = next(view for view in groups["student0098", "student0099"].views if view.exercise_id == "adam.adam")
    left, right = view.codes
    assert (left.student, right.student) == ("student0098", "student0099")
    assert sum(same for _, same in left.lines) > 5
    assert not left.lines[0][1]  # "# exercise adam.adam" is everybody's


def test_manual_scores_lateness_and_waiting_come_from_the_gradebook(tmp_path: Path) -> None:
    place = course(tmp_path)
    notebook, result = graded("eps_inside")
    answered = nbformat.from_dict(notebook)
    next(cell for cell in answered.cells if cell.get("id") == "adam-w1").source = "Because."
    results = [named(result, student) for student in ("ada", "bob", "eve")]
    publish(place, results, answered)
    now = datetime.now(UTC).replace(tzinfo=None)
    with open_gradebook(place.gradebook) as book:
        for number, one in enumerate(results):
            book.write(assignment(), one, now + timedelta(hours=number), answered)
    with Gradebook(place.gradebook) as gradebook:
        gradebook.find_assignment(ASSIGNMENT).duedate = now + timedelta(hours=1.5)
        grade = gradebook.find_grade("adam-w1", ASSIGNMENT, ASSIGNMENT, "ada")
        grade.manual_score, grade.needs_manual_grade, grade.extra_credit = 2.0, False, 0.5
        gradebook.db.commit()
    (place.root / "submitted" / "new" / ASSIGNMENT).mkdir(parents=True)
    (one,) = make_report(place).assignments
    assert (one.overview.submitted, one.overview.graded, one.overview.waiting, one.overview.late) == (4, 3, 2, 1)
    assert {row.student: (row.points, row.waits) for row in one.students} == {
        "ada": (26.0, False),
        "bob": (23.5, True),
        "eve": (23.5, True),
    }
    assert one.students[2].late_hours == pytest.approx(0.5, abs=1e-3)
    written = next(row for row in one.exercises if row.id == "adam.w1")
    assert (written.part, written.waits, written.mean) == (1, 2, 2.5)
    assert "1 handed in and not graded yet" in report_page(make_report(place))


def test_only_what_is_published_counts_and_the_latest_of_it(tmp_path: Path) -> None:
    place = course(tmp_path)
    _, weak = graded("eps_inside")
    _, strong = graded("perfect")
    publish(place, [named(weak, "ada"), named(strong, "ada", digest="second")])
    with Store(place.root / STORE) as store:
        store.record(named(strong, "bob"), "{}")  # interrupted before it was published
    (one,) = make_report(place).assignments
    (row,) = one.students
    assert (row.student, row.points, row.attempts, row.first, row.last) == ("ada", 40.0, 2, 23.5, 40.0)
    assert (one.attempts.up, one.attempts.gain) == (1, 16.5)


def test_work_that_is_graded_again_was_handed_in_once(tmp_path: Path) -> None:
    place = course(tmp_path)
    _, weak = graded("eps_inside")
    _, strong = graded("perfect")
    again = named(weak, "ada", digest="first")
    publish(place, [again, again, named(strong, "ada", digest="second"), again])
    (one,) = make_report(place).assignments
    assert (one.students[0].attempts, one.attempts.counts) == (3, {3: 1})
    assert (one.attempts.same, one.attempts.up) == (1, 0)


def test_a_class_without_mistakes_is_told_so(tmp_path: Path) -> None:
    place = course(tmp_path)
    publish(place, [named(graded("perfect")[1], "ada")])
    assert "No misconception was recognised" in report_page(make_report(place))


def test_several_assignments_have_a_total(tmp_path: Path) -> None:
    place = course(tmp_path)
    other = place.root / "release" / "other"
    other.mkdir()
    (other / "other.ipynb").write_bytes((place.root / "release" / NOTEBOOK / f"{NOTEBOOK}.ipynb").read_bytes())
    _, result = graded("eps_inside")
    publish(place, [named(result, "ada"), named(result, "bob"), named(result, "ada", assignment="other")])
    report = make_report(place)
    assert [one.name for one in report.assignments] == [NOTEBOOK, "other"]
    assert {one.student: (one.points, one.max_points) for one in report.totals} == {
        "ada": (47.0, 86.0),
        "bob": (23.5, 86.0),
    }
    assert 'id="all"' in report_page(report)
    assert make_report(place, ["other"]).totals == ()


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """Every place that a student decides about holds something hostile."""
    place = course(tmp_path_factory.mktemp("hostile"))
    rebuilt, result = graded("eps_inside")
    for number, text in enumerate(HOSTILE):
        notebook = nbformat.from_dict(rebuilt)
        code = f"{text}\n" * 3 + f"x{number} = [f(a, b) for a in range(3) if a + b > {number}]\n" * 12
        next(cell for cell in notebook.cells if cell.get("id") == "adam-step-solution").source = code
        rows = [
            replace(
                one,
                reason=text,
                data={**one.data, "raised": [text], "score": float(number)},
                misconceptions=(f"{text} {text}",),
            )
            for one in result.exercises
        ]
        flags = (text, f"{text}, line 1: {text}: {text}", f"adam-step-solution, line 1: kind: {text}")
        versions = {"python": text, text: text}
        changes = {"exercises": tuple(rows), "flags": flags, "notes": (text,), "versions": versions, "rung": text}
        publish(place, [named(result, f"{text}{number}", **changes)], notebook)
    return place


def test_nothing_that_a_student_writes_is_active(hostile: Course) -> None:
    _, path = write_report(hostile, leaderboard=hostile.root / "board.html", output=hostile.root / "r.html")
    for file in (path, hostile.root / "board.html"):
        html = file.read_text(encoding="utf-8")
        page = Page(html)
        assert set(page.complaints) == {"<script>"}
        assert page.complaints == ["<script>"]  # the page's own
        assert page.styles == 1
        assert len(page.ids) == len(set(page.ids))
        assert html.count("</html>") == html.count("</main>") == html.count("<body>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in path.read_text(encoding="utf-8")


def test_characters_that_deceive_are_spelled_out(tmp_path: Path) -> None:
    place = course(tmp_path)
    _, result = graded("eps_inside")
    publish(place, [named(result, "a\u202eb\x1b\u200b")])
    html = write_report(place)[1].read_text(encoding="utf-8")
    assert "a⟦202E⟧b⟦001B⟧⟦200B⟧" in html
    assert "\u202e" not in html


def test_the_page_allows_its_own_script_and_nothing_from_outside(report: Report) -> None:
    html = report_page(report)
    assert html.index("Content-Security-Policy") < html.index("<style>")
    policy = html.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert " style=" not in html
    assert " onclick" not in html
    assert "src=" not in html


def test_headings_are_in_order_and_every_chart_has_a_title_and_a_table(report: Report) -> None:
    html = report_page(report)
    levels = [int(part[0]) for part in html.split("<h")[1:] if part[0].isdigit()]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert (
        html.count('<svg class="chart"')
        == html.count("<figure>")
        == html.count("The chart&#39;s numbers") + html.count("The chart's numbers")
    )
    assert html.count('<svg class="chart"') == html.count("<desc id=")


def test_the_report_is_small_private_and_quick(large: Course) -> None:
    _, path = write_report(large)
    assert path == large.root / PAGE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size < 400_000
    path.chmod(0o644)
    write_report(large)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir() if one.name.endswith(".tmp")] == []


def test_the_data_is_json_with_all_that_the_page_shows(report: Report) -> None:
    data = json.loads(as_json(report))
    (one,) = data["assignments"]
    assert len(one["students"]) == COUNT
    assert one["overview"]["graded"] == COUNT
    assert {"exercises", "attempts", "flagged", "groups", "environment", "boards", "kinds"} < one.keys()


# --- leaderboards ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Course:
    place = course(tmp_path_factory.mktemp("measured"))
    for number in range(12):
        result, notebook = scored(
            f"student{number}", 0.9 + (number // 2) / 100, "#  Leaderboard : No" if number == 5 else ""
        )
        publish(place, [result], notebook)
    return place


def test_a_leaderboard_ranks_pseudonyms_and_leaves_out_who_says_so(measured: Course) -> None:
    (board,) = make_report(measured).assignments[0].boards
    assert (board.exercise_id, board.left_out, len(board.places)) == ("adam.step", 1, 11)
    assert [place.rank for place in board.places] == [1, 1, 3, 3, 5, 5, 7, 8, 8, 10, 10]
    assert board.places[0].score == pytest.approx(0.95)
    assert not any("student" in place.name for place in board.places)
    again = make_report(measured).assignments[0].boards[0]
    assert again == board


def test_each_student_reads_the_own_pseudonym_and_score_who_declines_reads_none(measured: Course) -> None:
    board = make_report(measured).assignments[0].boards[0]
    listed = {place.name: place.score for place in board.places}
    own = pseudonyms((measured.root / "course" / ".key").read_bytes(), [f"student{number}" for number in range(12)])
    for student in write_feedback_again(measured, ASSIGNMENT, ["student0", "student4", "student5"]):
        page = measured.root / "feedback" / student / ASSIGNMENT / f"{ASSIGNMENT}.html"
        words = " ".join(" ".join(Page(page.read_text(encoding="utf-8")).words).split())
        if student == "student5":
            assert "leaderboard you are" not in words
        else:
            assert f"Measured: {listed[own[student]]:.4g}. On a leaderboard you are “{own[student]}”" in words
            assert not any(name in words for name in listed if name != own[student])


def test_a_page_without_scores_asks_for_no_key() -> None:
    def key() -> bytes:
        raise AssertionError("there is nothing to sign")

    assert told(graded("perfect")[1].exercises, {}, "ann", key) == {}


def test_real_names_are_for_the_instructor_only(measured: Course, tmp_path: Path) -> None:
    (board,) = make_report(measured, real_names=True).assignments[0].boards
    assert {place.name for place in board.places} == {f"student{number}" for number in range(12) if number != 5}
    with pytest.raises(GradingError, match="has no real names"):
        write_report(measured, leaderboard=tmp_path / "board.html", real_names=True)


def test_the_classes_page_names_nobody(measured: Course, tmp_path: Path) -> None:
    write_report(measured, leaderboard=tmp_path / "board.html")
    html = (tmp_path / "board.html").read_text(encoding="utf-8")
    assert "student" not in html.split("<body>")[1].replace("for the same students", "")
    assert html.count("<bdi>") == 11
    assert "0.95" in html


def test_without_scores_there_is_no_leaderboard(large: Course, report: Report, tmp_path: Path) -> None:
    assert report.assignments[0].boards == ()
    assert ">Leaderboard<" not in report_page(report)
    with pytest.raises(GradingError, match="there is no leaderboard"):
        write_report(large, leaderboard=tmp_path / "board.html")
    assert not (tmp_path / "board.html").exists()


def test_pseudonyms_follow_from_key_and_id_alone_and_are_unique() -> None:
    students = [f"student{number}" for number in range(2000)]
    key, other = b"k" * 32, b"o" * 32
    names = pseudonyms(key, students)
    assert len(set(names.values())) == len(students)
    alone = {student: pseudonyms(key, [student])[student] for student in students}
    assert all(names[student].startswith(alone[student]) for student in students)
    assert sum(names[student] == alone[student] for student in students) > 1500
    assert sum(names[student] == name for student, name in pseudonyms(other, students).items()) < 10
    assert all(len(name.split()) == 2 for name in alone.values())


# --- the command line -----------------------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments])


def test_the_command_writes_the_page_or_prints_json(measured: Course, tmp_path: Path) -> None:
    at = ("--course", str(measured.root))
    out = run(*at, "--output", str(tmp_path / "r.html"), "--leaderboard", str(tmp_path / "b.html"))
    assert (out.exit_code, out.stdout.split()) == (0, [str(tmp_path / "r.html"), str(tmp_path / "b.html")])
    (measured.root / PAGE).unlink(missing_ok=True)
    out = run(NOTEBOOK, *at, "--json")
    assert json.loads(out.stdout)["assignments"][0]["name"] == NOTEBOOK
    assert not (measured.root / PAGE).exists()


def test_the_demonstration_ends_with_its_report(measured: Course, tmp_path: Path) -> None:
    assert demo.report(measured.root) == measured.root / PAGE
    assert demo.report(tmp_path) is None  # graded by nbgrader's own engine: there is no store
    assert not (tmp_path / ".grading").exists()


def test_a_course_without_scores_needs_no_key(large: Course, report: Report) -> None:
    assert report.assignments
    assert not (large.root / "course").exists()


def test_wrong_use_is_one_line_that_says_what_to_do(measured: Course, tmp_path: Path) -> None:
    empty = course(tmp_path / "empty")
    with Store(empty.root / STORE):
        pass
    foreign = course(tmp_path / "foreign")
    (foreign.root / STORE).write_bytes(b"no store at all " * 500)
    stale = course(tmp_path / "stale")
    publish(stale, [named(graded("eps_inside")[1], "ada", assignment="gone")])
    cases = {
        ("--course", str(tmp_path)): "nothing has been graded in",
        ("--course", str(empty.root)): "run autograder grade first",
        ("--course", str(foreign.root)): "is not a store or is damaged",
        ("--course", str(stale.root)): "does not exist: run `autograder build`",
        ("04_x", "--course", str(measured.root)): f"there are no results for '04_x'; there are some for {NOTEBOOK}",
        ("--course", str(measured.root), "--output", str(tmp_path)): "cannot be written",
        ("--course", str(measured.root), "--output", str(tmp_path / "no" / "r.html")): "cannot be written",
    }
    for arguments, says in cases.items():
        out = run(*arguments)
        assert out.exit_code == 2, arguments
        assert says in " ".join(out.stderr.split()), arguments
        assert "Traceback" not in out.stderr


def test_a_score_reaches_the_data_of_a_verdict() -> None:
    from autograder.render import as_data
    from autograder.verdict import CaseVerdict, GroupVerdict, Verdict

    def case(hidden: bool, score: float | None) -> CaseVerdict:
        return CaseVerdict("c", "core", hidden, True, score=score)

    group = (GroupVerdict("core", True, 1.0, 1.0),)
    data = as_data(Verdict("x", "X", True, (case(False, 0.5), case(True, 0.8), case(True, 0.9)), group))
    assert data["score"] == pytest.approx(0.85)
    assert as_data(Verdict("x", "X", True, (case(False, 0.5), case(True, None)), group))["score"] == 0.5
    assert "score" not in as_data(Verdict("x", "X", True, (case(True, None),), group))
