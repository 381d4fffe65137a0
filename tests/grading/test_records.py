"""The store: an audit trail, a cache, and what a killed run left to do. Also the data that the records tests share."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from sqlalchemy import event

from autograder.checks import _decide
from autograder.evidence import gather
from autograder.exercise import REGISTRY, CodeExercise, Exercise, QuizExercise
from autograder.grading.autograded import write_autograded
from autograder.grading.feedback import write_feedback
from autograder.grading.gradebook import open_gradebook
from autograder.grading.results import ExerciseResult, SubmissionResult
from autograder.grading.store import FORMAT, Store, StoreError
from autograder.publish.demo import ASSIGNMENT
from autograder.publish.sample_class import read_class, submission
from autograder.render import as_data, as_html, as_text
from autograder.verdict import judge_quiz, quiz_case

ROOT = Path(__file__).resolve().parents[2]


# --- real results, made in this process -----------------------------------------------------------------------------


@cache
def release() -> NotebookNode:
    return nbformat.read(ROOT / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)


def assignment() -> Any:
    return SimpleNamespace(name=ASSIGNMENT, notebook=release())


@cache
def graded(student: str) -> tuple[NotebookNode, SubmissionResult]:
    """A student of the sample class: the rebuilt notebook, and the result with real verdicts."""
    one = next(s for s in read_class(ROOT / "course" / "sample_class", ROOT / "source", ASSIGNMENT) if s.id == student)
    space: dict[str, Any] = {"torch": torch}
    exec("import numpy as np, math, io, copy", space)
    exercises = [exercise for exercise in REGISTRY.values() if exercise.notebook == ASSIGNMENT]
    rows = tuple(_row(exercise, one.answers, space) for exercise in exercises)
    result = SubmissionResult(student, ASSIGNMENT, f"digest-{student}", "release-1", "engine-1", "full", rows)
    return submission(release().copy(), one.answers), result


def _row(exercise: Exercise, answers: Any, space: dict[str, Any]) -> ExerciseResult:
    if not isinstance(exercise, (CodeExercise, QuizExercise)):
        return ExerciseResult(exercise.id, exercise.grade_id, 0.0, exercise.points, waits=True)
    try:
        exec(answers[exercise.id], space)
        objects = [space[name] for name in exercise.objects]
    except (SyntaxError, KeyError) as error:
        return ExerciseResult(exercise.id, exercise.grade_id, 0.0, exercise.points, f"the cell failed: {error!r}")
    if isinstance(exercise, QuizExercise):
        verdict, diagnosis = judge_quiz(exercise, gather(quiz_case(exercise), objects), reveal=True), None
    else:
        verdict, diagnosis = _decide(exercise, objects, True)
    named = tuple(f"{m.id} {m.title}" for m in diagnosis.misconceptions) if diagnosis else ()
    shown = as_html(verdict, diagnosis), as_text(verdict, diagnosis), as_data(verdict, diagnosis)
    return ExerciseResult(exercise.id, exercise.grade_id, verdict.earned, verdict.points, "", *shown, named)


def named(result: SubmissionResult, student: str, **changes: Any) -> SubmissionResult:
    return replace(result, student=student, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "store.db") as opened:
        yield opened


# --- the audit trail and the cache ----------------------------------------------------------------------------------


def test_a_result_comes_back_as_it_went_in(store: Store) -> None:
    rebuilt, result = graded("eps_inside")
    result = replace(result, outputs={"c": [{"output_type": "stream", "text": "\ud800 ü"}]}, notes=("n",), flags=("f",))
    text = nbformat.writes(rebuilt) + "\udc80"
    assert store.record(result, text) == 1
    assert store.latest(ASSIGNMENT, "eps_inside") == result
    assert store.load(store.attempts(ASSIGNMENT, "eps_inside")[0]) == (result, text)
    assert store.latest(ASSIGNMENT, "somebody") is None


def test_every_attempt_is_kept_and_only_the_latest_answers_for_the_submission(store: Store) -> None:
    _, result = graded("eps_inside")
    key = result.digest, result.release, result.engine
    assert store.done(ASSIGNMENT, "eps_inside", *key) is None
    store.record(result, "{}")
    assert store.done(ASSIGNMENT, "eps_inside", *key) == result
    for other in (("x", *key[1:]), (key[0], "x", key[2]), (*key[:2], "x")):
        assert store.done(ASSIGNMENT, "eps_inside", *other) is None
    assert store.record(replace(result, digest="second"), "{}") == 2
    assert store.done(ASSIGNMENT, "eps_inside", *key) is None
    attempts = store.attempts(ASSIGNMENT, "eps_inside")
    assert [(one.number, one.digest, one.points) for one in attempts] == [(1, key[0], 23.5), (2, "second", 23.5)]
    assert attempts[0].recorded <= attempts[1].recorded


def test_what_is_stored_but_not_published_is_pending_once(store: Store) -> None:
    _, result = graded("eps_inside")
    store.record(result, "{}")
    store.record(replace(result, digest="second"), "{}")
    store.record(named(result, "other"), "{}")
    assert [(one.student, one.number) for one in store.pending(ASSIGNMENT)] == [("eps_inside", 2), ("other", 1)]
    assert store.published(ASSIGNMENT, "eps_inside") is None
    for _ in range(2):  # the second time changes nothing
        store.mark_published(ASSIGNMENT, "eps_inside", 2)
    assert [one.student for one in store.pending(ASSIGNMENT)] == ["other"]
    shown = store.published(ASSIGNMENT, "eps_inside")
    assert shown is not None
    assert (shown.number, shown.published) == (2, True)
    with pytest.raises(StoreError, match="no attempt 7 of eps_inside"):
        store.mark_published(ASSIGNMENT, "eps_inside", 7)


def test_a_regrade_of_an_unchanged_class_is_quick(store: Store) -> None:
    _, result = graded("eps_inside")
    picture = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo" * 10_000}}
    result = replace(result, outputs={"adam-step-solution": [picture]})
    students = [f"s{i}" for i in range(60)]
    for student in students:
        store.record(named(result, student), "{}")
    start = time.process_time()  # the machine may be busy with other tests
    hits = [store.done(ASSIGNMENT, s, result.digest, result.release, result.engine) for s in students for _ in range(5)]
    rate = len(hits) / (time.process_time() - start)
    assert None not in hits
    assert rate > 300, f"{rate:.0f} lookups per second"


# --- files that are no store ----------------------------------------------------------------------------------------


def test_damaged_foreign_and_newer_files_are_refused_in_one_line_and_left_alone(tmp_path: Path) -> None:
    text, foreign, newer = tmp_path / "text.db", tmp_path / "gradebook.db", tmp_path / "newer.db"
    text.write_bytes(b"not a database, and long enough to have a header" * 40)
    with Gradebook(f"sqlite:///{foreign}"):
        pass
    with Store(newer):
        pass
    with sqlite3.connect(newer) as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    expected = {
        text: "is not a store or is damaged",
        foreign: "of another program",
        newer: "written by a newer version",
    }
    for path, words in expected.items():
        before = path.read_bytes()
        with pytest.raises(StoreError, match=words) as error:
            Store(path)
        assert "\n" not in str(error.value)
        assert path.read_bytes() == before
    with pytest.raises(StoreError, match="check the folder"):
        Store(tmp_path / "missing" / "store.db")


def test_a_page_damaged_later_is_told_plainly(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    _, result = graded("eps_inside")
    with Store(path) as store:
        for i in range(20):
            store.record(named(result, f"s{i}"), "{}")
    content = bytearray(path.read_bytes())
    content[8192:-4096] = b"\xff" * (len(content) - 8192 - 4096)
    path.write_bytes(content)
    with Store(path) as store, pytest.raises(StoreError, match="damaged"):
        store.latest(ASSIGNMENT, "s7")


def test_a_name_that_is_no_unicode_is_refused_and_a_second_writer_waits(store: Store) -> None:
    _, result = graded("eps_inside")
    with pytest.raises(StoreError, match="not valid Unicode"):
        store.record(named(result, "\udc80"), "{}")
    with Store(store.path) as other:  # numbers stay one after the other, whoever writes
        assert [store.record(result, "{}"), other.record(result, "{}"), store.record(result, "{}")] == [1, 2, 3]


# --- killed at any moment -------------------------------------------------------------------------------------------


def publish(course: Path, student: str, die: Callable[[str], None] = lambda _: None) -> None:
    """What a run does with one graded submission, and with what an earlier run left."""
    rebuilt, result = graded("eps_inside")
    result = named(result, student)
    with Store(course / "store.db") as store, open_gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        store._db.set_trace_callback(lambda statement: die("storing") if statement == "COMMIT" else None)
        event.listen(book._db(), "after_flush", lambda *_: die("gradebook half written"))
        if store.done(ASSIGNMENT, student, result.digest, result.release, result.engine) is None:
            store.record(result, nbformat.writes(rebuilt))
        store._db.set_trace_callback(None)
        die("stored")
        for attempt in store.pending(ASSIGNMENT):
            found, text = store.load(attempt)
            notebook = nbformat.reads(text, as_version=4)
            book.write(assignment(), found, rebuilt=notebook)
            die("in the gradebook")
            write_autograded(course / "autograded" / student / ASSIGNMENT, ASSIGNMENT, notebook, found)
            die("autograded")
            write_feedback(course / "feedback" / student / ASSIGNMENT, ASSIGNMENT, notebook, found)
            die("everything but noted")
            store.mark_published(ASSIGNMENT, student, attempt.number)


def _killed(course: Path, stage: str) -> None:
    def die(now: str) -> None:
        if now == stage:
            os.kill(os.getpid(), signal.SIGKILL)

    publish(course, "ada", die)


@pytest.mark.parametrize(
    "stage",
    ["storing", "stored", "gradebook half written", "in the gradebook", "autograded", "everything but noted"],
)
def test_a_kill_at_any_moment_loses_nothing_and_doubles_nothing(tmp_path: Path, stage: str) -> None:
    graded("eps_inside")
    publish(tmp_path, "before")
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path, stage))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with Store(tmp_path / "store.db") as store:
        assert len(store.attempts(ASSIGNMENT, "ada")) == (0 if stage == "storing" else 1)
        assert store.published(ASSIGNMENT, "ada") is None

    publish(tmp_path, "ada")
    with Store(tmp_path / "store.db") as store:
        assert [(one.number, one.published) for one in store.attempts(ASSIGNMENT, "ada")] == [(1, True)]
        assert store.pending(ASSIGNMENT) == []
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        notebook = gradebook.find_submission_notebook(ASSIGNMENT, ASSIGNMENT, "ada")
        assert (notebook.score, notebook.max_score, len(notebook.grades)) == (23.5, 43.0, 18)
        assert len(gradebook.students) == 2
    for kind, ending in (("autograded", "ipynb"), ("feedback", "html")):
        folder = tmp_path / kind / "ada"
        assert [path.name for path in folder.rglob("*") if path.is_file()] == [f"{ASSIGNMENT}.{ending}"]
        assert [path.name for path in folder.iterdir()] == [ASSIGNMENT]


def test_the_stored_json_is_plain(store: Store) -> None:
    """Whoever reads the audit trail in ten years needs sqlite, zlib and JSON, nothing of this package."""
    import zlib

    _, result = graded("eps_inside")
    store.record(result, "{}")
    (packed,) = sqlite3.connect(store.path).execute("SELECT result FROM attempt").fetchone()
    data = json.loads(zlib.decompress(packed))
    assert data["student"] == "eps_inside"
    assert {row["exercise_id"]: row["points"] for row in data["exercises"]}["adam.l2_is_not_decay"] == 1.5
