"""Grade a class: read, skip what is unchanged, grade side by side, record, publish. Interrupt it; run it again.

One writer: this process. Order for each submission: store (one transaction), gradebook (one transaction),
`autograded/`, `feedback/`, then the store notes that all of it is there. Killed anywhere in between, the next run
finds the attempt in the store and publishes it, once.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import nbformat
import torch

from autograder.devices import NoDevice, refuse_missing
from autograder.diagnose import judged_variant
from autograder.exercise import CodeExercise
from autograder.grading.assignment import Assignment, read_assignment
from autograder.grading.attempts import counting, handed_in, place_among
from autograder.grading.autograded import companions, submitted_at, write_autograded
from autograder.grading.conduct import Conductor, Settings
from autograder.grading.feedback import write_feedback
from autograder.grading.gradebook import Book, open_gradebook
from autograder.grading.handed_out import HandedOut
from autograder.grading.pool import Way, Zygote
from autograder.grading.pseudonyms import told
from autograder.grading.references import files_to_mask
from autograder.grading.results import SubmissionResult
from autograder.grading.sandbox import NAMESPACED, Limits, Spec, offered, python_paths
from autograder.grading.secret import course_key
from autograder.grading.stage import hidden_folders
from autograder.grading.start import PRIVATE, imported, private, started
from autograder.grading.store import Attempt, Store
from autograder.grading.submission import Submission, read_submission
from autograder.grading.workers import Done, Job, Workers
from autograder.manifest import Keep
from autograder.verdict import expected_evidence, visible_cases

STORE = f"{PRIVATE}/store.db"


class GradingError(Exception):
    """Grading cannot start or go on; the message says why and what to do, in one line."""


@dataclass(frozen=True)
class Course:
    """Where things lie. `gradebook` is nbgrader's db_url. `late`: its plug-in for late submissions, None for its default."""

    root: Path
    gradebook: str
    course_id: str = "default_course"
    late: Any = None

    def submitted(self, student: str, assignment: str) -> Path:
        return self.root / "submitted" / student / assignment

    def students(self, assignment: str) -> list[str]:
        """Those who have handed this in, in order of their ids."""
        folder = self.root / "submitted"
        if not folder.is_dir():
            return []
        return sorted(
            entry.name
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and _is_real_folder(entry) and _is_real_folder(entry / assignment)
        )


def _is_real_folder(path: Path) -> bool:
    """Not a link to somebody else's."""
    return path.is_dir() and not path.is_symlink()


@dataclass(frozen=True)
class Options:
    """`trust_students`: grade without a sandbox where the machine offers none (said on every page).

    `way`: "kernel" runs the cells in a real Jupyter kernel, slowly. `audit`: the part of the submissions, from 0 to 1,
    that is graded both ways first.
    `keep`: which of a student's attempts counts.
    `zygote`: a fork server that has been started already (`start.started`) and not been configured.
    """

    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    force: bool = False
    trust_students: bool = False
    way: Way = "fork"
    audit: float = 0.0
    keep: Keep = "last"
    settings: Settings = field(default_factory=Settings)
    zygote: Zygote | None = None


@dataclass(frozen=True)
class Event:
    """Progress: `kind` "start" (total known), "graded", "unchanged", "published" (left over from a killed run), "again"
    (a clock ended something: it will be graded once more), "audited" (equal marks in a Jupyter kernel)."""

    kind: Literal["start", "graded", "unchanged", "published", "again", "audited"]
    student: str = ""
    result: SubmissionResult | None = None
    total: int = 0
    rung: str = ""


def grade_class(
    course: Course, name: str, students: Sequence[str] = (), options: Options | None = None
) -> Generator[Event]:
    """Grade `students` (all who have submitted, without) and yield what happens. Close the iterator to stop cleanly.

    Raises GradingError before anything is graded; ValueError for a broken release.
    """
    options = options or Options()
    assignment = read_assignment(course.root / "release", name)
    chosen = list(students) or course.students(name)
    missing = [student for student in students if not _is_real_folder(course.submitted(student, name))]
    if missing:
        raise GradingError(f"nothing is submitted for {name} by {', '.join(missing)}")
    rung = _rung(options)
    _refuse_device(options)
    with opened(course, assignment, options.keep, options.settings.engine) as files:
        yield Event("start", total=len(chosen), rung=rung)
        yield from files.left_over()
        handed = HandedOut(course.root)
        todo: list[Submission] = []
        for student in chosen:
            submission = handed.own(read_submission(course.submitted(student, name), assignment, student))
            known = None if options.force else files.known(submission)
            if known is None:
                todo.append(submission)
            else:
                yield Event("unchanged", student, known)
        if todo:
            yield from _grade(course, assignment, files, todo, rung, options)


def write_feedback_again(course: Course, name: str, students: Sequence[str] = ()) -> Iterator[str]:
    """Write the feedback pages of what is published, with humans' scores and comments as they are now.

    Yields the students. Raises GradingError for one whose work has not been graded.
    """
    assignment = read_assignment(course.root / "release", name)
    with opened(course, assignment) as files:
        for student in students or course.students(name):
            if not files.feedback(student):
                raise GradingError(f"{student} has no grade for {name} yet: run autograder grade {name} {student}")
            yield student


def _rung(options: Options) -> str:
    offer = offered()
    if offer.rung not in ("", *NAMESPACED) and (options.way == "kernel" or options.audit):
        raise GradingError(f"a Jupyter kernel needs sockets, which the sandbox {offer.rung!r} of this machine refuses")
    if offer.rung:
        return offer.rung
    if options.trust_students:
        return "none"
    raise GradingError(
        f"this machine offers no sandbox ({offer.remedy}); --trust-students grades without one, "
        "and says so on every page"
    )


def _refuse_device(options: Options) -> None:
    """Raise GradingError where the cases cannot be played on the device that is asked for."""
    try:
        refuse_missing(options.settings.device)
    except NoDevice as error:
        raise GradingError(str(error)) from None
    if options.settings.device == "cuda":
        raise GradingError(
            "student code runs in a sandbox that holds no GPU: grade without --device (marks need none), "
            "and see autograder audit --device cuda for the checks on yours"
        )


# --- grading side by side -------------------------------------------------------------------------------------------


def _grade(
    course: Course, assignment: Assignment, files: Files, todo: list[Submission], rung: str, options: Options
) -> Iterator[Event]:
    sample = random.sample(todo, math.ceil(options.audit * len(todo)))
    audited = {submission.student for submission in sample}
    rest = [submission for submission in todo if submission.student not in audited]
    with _workers(course, assignment, rung, options, min(options.jobs, len(todo))) as workers:
        yield from _audit(workers, files, sample)
        for done in _through(workers, [Job(submission, options.way) for submission in rest]):
            student = done.job.submission.student
            if done.late and not done.job.patient:
                yield Event("again", student)
            else:
                yield Event("graded", student, files.record(done.result, done.notebook))


def _through(workers: Workers, jobs: Sequence[Job]) -> Iterator[Done]:
    """Have all of it graded side by side. What a clock has ended comes a second time, graded alone and with twice the
    time: a busy machine is no reason for a mark."""
    waiting, again = list(reversed(jobs)), []
    while waiting and workers.free:
        workers.give(waiting.pop())
    while workers.busy:
        for done in workers.finished():
            if waiting:  # before recording: nobody waits for the disk
                workers.give(waiting.pop())
            if done.late:
                again.append(replace(done.job, patient=True))
            yield done
    for job in again:
        workers.give(job)
        yield from workers.finished()


def _audit(workers: Workers, files: Files, sample: Sequence[Submission]) -> Iterator[Event]:
    """Grade a sample both ways and compare, before anything is recorded. Raises GradingError for unequal marks."""
    found: dict[str, dict[Way, Done]] = {submission.student: {} for submission in sample}
    ways: tuple[Way, ...] = ("fork", "kernel")
    for done in _through(workers, [Job(submission, way) for submission in sample for way in ways]):
        found[done.job.submission.student][done.job.way] = done
    for student, by_way in found.items():
        one, other = (by_way[way].result.marks() for way in ways)
        if unequal := [f"{name} {one[name]:g} and {other[name]:g}" for name in one if one[name] != other[name]]:
            raise GradingError(
                f"{student} earns other marks in a Jupyter kernel ({'; '.join(unequal)}): nothing was recorded. "
                "Look at that notebook; what it does depends on where it runs"
            )
    for student, by_way in found.items():
        shown = files.record(by_way["fork"].result, by_way["fork"].notebook)
        yield Event("audited", student)
        yield Event("graded", student, shown)


@contextmanager
def _workers(course: Course, assignment: Assignment, rung: str, options: Options, count: int) -> Iterator[Workers]:
    key = course_key(course.root / "course")
    torch.set_num_threads(1)  # the workers are forked from here, and a parallel region would hang them
    with ExitStack() as stack:
        zygote = options.zygote or stack.enter_context(started(course.root))
        forbidden = {name for one in assignment.exercises if isinstance(one, CodeExercise) for name in one.forbidden}
        zygote.configure(rung, _spec(zygote.stage, forbidden), forbidden)
        _warm(assignment, zygote)
        zygote.wait()
        imported()
        clients = [zygote.connect() for _ in range(count)]
        workers = Workers(count, lambda i: Conductor(assignment, clients[i], key, rung, options.settings))
        stack.callback(workers.close)
        yield workers


def _spec(staged: Path, forbidden: set[str]) -> Spec:
    visible = python_paths()
    secret = [str(one) for one in hidden_folders()]  # where the package is installed and not in place
    files = dict(files_to_mask(forbidden))
    return Spec(
        readonly=(*visible, str(staged)),
        masked=tuple(one for one in secret if any(one.startswith(f"{path}/") for path in visible)),
        files=files,
        work="/submission",  # no folder of a real machine: the course itself may lie in /work or /home
        programs=False,  # a new interpreter would have the references again
        limits=Limits(),
    )


def _warm(assignment: Assignment, zygote: Zygote) -> None:
    """Run references and wrong variants on the visible cases while the fork server imports; the workers share them."""
    exercises = [one for one in assignment.exercises if isinstance(one, CodeExercise)]
    for exercise in exercises:
        for case in visible_cases(exercise):
            expected_evidence(exercise, case)
    for exercise in exercises:
        for case in visible_cases(exercise):
            for misconception in exercise.misconceptions:
                if zygote.has_spoken():
                    return
                judged_variant(exercise, case, misconception.objects)


# --- recording ------------------------------------------------------------------------------------------------------


class Files:
    """Store, gradebook and folders of one course and assignment."""

    def __init__(
        self, course: Course, assignment: Assignment, store: Store, book: Book, keep: Keep, engine: str
    ) -> None:
        self._course, self._assignment, self._store, self._book = course, assignment, store, book
        self._keep, self._engine = keep, engine

    def known(self, submission: Submission) -> SubmissionResult | None:
        """The result that counts of a student whose submission is unchanged. It is published if another is shown."""
        name, release, student = self._assignment.name, self._assignment.digest, submission.student
        found = self._store.done(name, student, submission.digest, release, self._engine)
        if found is None:
            return None
        counts, shown = self._counting(student), self._store.published(name, student)
        if shown is None or counts.number != shown.number:
            return self._publish(counts)
        return found if self._keep == "last" else self._loaded(counts)[0]

    def left_over(self) -> Iterator[Event]:
        """Publish what a killed run has stored and not published."""
        for attempt in self._store.pending(self._assignment.name):
            yield Event("published", attempt.student, self._settle(attempt))

    def record(self, result: SubmissionResult, notebook: str) -> SubmissionResult:
        """Store an attempt and publish the one that counts; returns that one's result."""
        when = submitted_at(companions(self._course.submitted(result.student, self._assignment.name)))
        result = replace(result, submitted="" if when is None else when.isoformat())
        self._store.record(result, notebook)
        return self._settle(self._store.attempts(self._assignment.name, result.student)[-1])

    def _settle(self, latest: Attempt) -> SubmissionResult:
        """Publish what counts now that `latest` is there."""
        return self._publish(self._counting(latest.student), latest)

    def _counting(self, student: str) -> Attempt:
        """The attempt that counts, of a student who has one."""
        name = self._assignment.name
        found = counting(self._store, name, student, self._keep, lambda *work: self._book.penalty(name, *work))
        assert found is not None
        return found

    def _loaded(self, attempt: Attempt) -> tuple[SubmissionResult, str]:
        """Result and notebook of the attempt that is shown; it says so where a later one is there."""
        result, notebook = self._store.load(attempt)
        place = place_among(attempt, self._store.attempts(attempt.assignment, attempt.student))
        return (replace(result, notes=(place, *result.notes)) if place else result), notebook

    def _publish(self, attempt: Attempt, latest: Attempt | None = None) -> SubmissionResult:
        """Show an attempt; `latest` is settled by that, and not pending any more."""
        assignment, student = self._assignment, attempt.student
        result, notebook = self._loaded(attempt)
        rebuilt = nbformat.reads(notebook, as_version=4)
        earlier: Attempt | None = self._store.published(assignment.name, student)
        changed = earlier is None or earlier.digest != result.digest
        beside = companions(self._course.submitted(student, assignment.name))
        self._book.write(assignment, result, submitted_at(beside), rebuilt, changed, handed_in(result))
        write_autograded(self._folder("autograded", student), assignment.name, rebuilt, result, beside)
        self._write_feedback(result, rebuilt)
        for number in {one.number: one for one in (latest or attempt, attempt)}:
            self._store.mark_published(assignment.name, student, number)
        return result

    def feedback(self, student: str) -> bool:
        """Write the page of what is published; False when nothing is."""
        attempt = self._store.published(self._assignment.name, student)
        if attempt is None:
            return False
        result, notebook = self._loaded(attempt)
        self._write_feedback(result, nbformat.reads(notebook, as_version=4))
        return True

    def _write_feedback(self, result: SubmissionResult, rebuilt: nbformat.NotebookNode) -> None:
        review = self._book.review(self._assignment, result.student)
        name, student = self._assignment.name, result.student
        beside = companions(self._course.submitted(student, name))
        measured = told(result.exercises, self._solutions(rebuilt), student, self._key)
        write_feedback(self._folder("feedback", student), name, rebuilt, result, review, beside, measured)

    def _solutions(self, rebuilt: nbformat.NotebookNode) -> dict[str, str]:
        """Exercise id → the code of its solution cell."""
        exercise_of = {cell.grade_id: cell.exercise_id for cell in self._assignment.cells if cell.kind == "solution"}
        cells = ((cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source) for cell in rebuilt.cells)
        return {exercise_of[name]: source for name, source in cells if name in exercise_of}

    def _key(self) -> bytes:
        return course_key(self._course.root / "course")

    def _folder(self, kind: str, student: str) -> Path:
        return self._course.root / kind / student / self._assignment.name


@contextmanager
def opened(course: Course, assignment: Assignment, keep: Keep = "last", engine: str = "") -> Iterator[Files]:
    private(course.root)
    with (
        Store(course.root / STORE) as store,
        open_gradebook(course.gradebook, course.course_id, course.late) as book,
    ):
        (course.root / STORE).chmod(0o600)
        yield Files(course, assignment, store, book, keep, engine)
