"""Grade a class: read, skip what is unchanged, grade side by side, record, publish. Interrupt it; run it again.

One writer: this process. Order for each submission: store (one transaction), gradebook (one transaction),
`autograded/`, `feedback/`, then the store notes that all of it is there. Killed anywhere in between, the next run
finds the attempt in the store and publishes it, once.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import nbformat

from autograder.devices import NoDevice, refuse_missing
from autograder.grading.assignment import Assignment, read_assignment
from autograder.grading.attempts import counting, handed_in, place_among
from autograder.grading.autograded import companions, submitted_at, write_autograded
from autograder.grading.conduct import ENGINE, Conductor, Settings
from autograder.grading.feedback import write_feedback
from autograder.grading.gradebook import Book, open_gradebook
from autograder.grading.handed_out import HandedOut
from autograder.grading.pool import Way, Zygote
from autograder.grading.pseudonyms import told
from autograder.grading.ready import make_ready
from autograder.grading.results import SubmissionResult
from autograder.grading.sandbox import NAMESPACED, offered
from autograder.grading.secret import course_key, hidden_seeds, stand_ins
from autograder.grading.start import PRIVATE, cannot_write, private, started
from autograder.grading.store import Attempt, Store
from autograder.grading.submission import Submission, read_submission
from autograder.grading.turn import turn
from autograder.grading.workers import Done, Executor, Job, Workers
from autograder.manifest import Keep

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
    `scheduler`: address of a Dask scheduler whose workers grade in place of this machine; `jobs` does not matter then.
    """

    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    force: bool = False
    trust_students: bool = False
    way: Way = "fork"
    audit: float = 0.0
    keep: Keep = "last"
    settings: Settings = field(default_factory=Settings)
    zygote: Zygote | None = None
    scheduler: str = ""


@dataclass(frozen=True)
class Event:
    """Progress: `kind` "waiting" (another run of this assignment is at work), "start" (total known), "graded",
    "unchanged", "published" (left over from a killed run), "again" (a clock ended something: it will be graded once
    more), "audited" (equal marks in a Jupyter kernel)."""

    kind: Literal["waiting", "start", "graded", "unchanged", "published", "again", "audited"]
    student: str = ""
    result: SubmissionResult | None = None
    total: int = 0
    rung: str = ""


def grade_class(
    course: Course, name: str, students: Sequence[str] = (), options: Options | None = None
) -> Generator[Event]:
    """Grade `students` (all who have submitted, without) and yield what happens. Close the iterator to stop cleanly.

    Raises GradingError; ValueError for a broken release.
    """
    try:
        yield from _graded(course, name, students, options or Options())
    except OSError as error:
        raise GradingError(cannot_write(error)) from error


def _graded(course: Course, name: str, students: Sequence[str], options: Options) -> Iterator[Event]:
    assignment = read_assignment(course.root / "release", name)
    chosen = list(students) or course.students(name)
    missing = [student for student in students if not _is_real_folder(course.submitted(student, name))]
    if missing:
        raise GradingError(f"nothing is submitted for {name} by {', '.join(missing)}")
    _refuse_device(options)
    with ExitStack() as stack:
        ours = stack.enter_context(turn(course.root, name))
        if not ours.taken():
            yield Event("waiting")
            ours.wait()
        place = stack.enter_context(_place(course, assignment, options))
        files = stack.enter_context(opened(course, assignment, options.keep, options.settings.engine))
        yield Event("start", total=len(chosen), rung=place.rung)
        yield from files.left_over()
        reader = _Reader(course, assignment)
        todo: list[str] = []  # names alone: a class of thousands does not fit into memory
        for student in chosen:
            known = None if options.force else files.known(reader.submission(student))
            if known is None:
                todo.append(student)
            else:
                yield Event("unchanged", student, known)
        if todo:
            yield from _grade(reader, files, todo, place, options)


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


class _Reader:
    """Submissions of one assignment, and what has to be known to grade them."""

    def __init__(self, course: Course, assignment: Assignment) -> None:
        self._course, self._assignment = course, assignment
        self._handed = HandedOut(course.root)
        self._key = course_key(course.root / "course")

    def submission(self, student: str) -> Submission:
        folder = self._course.submitted(student, self._assignment.name)
        return self._handed.own(read_submission(folder, self._assignment, student))

    def job(self, student: str, way: Way) -> Job:
        submission, assignment = self.submission(student), self._assignment
        seeds = hidden_seeds(self._key, assignment.name, assignment.exercises, submission.digest)
        return Job(submission, seeds, way)


@dataclass(frozen=True)
class _Place:
    """Where it is graded. `rung`: the sandbox there. `executor` gives one for so many submissions."""

    rung: str
    executor: Callable[[int], AbstractContextManager[Executor]]


@contextmanager
def _place(course: Course, assignment: Assignment, options: Options) -> Iterator[_Place]:
    if not options.scheduler:
        rung = _rung(options)
        yield _Place(rung, lambda count: _workers(course, assignment, rung, options, min(options.jobs, count)))
        return
    if options.trust_students:
        raise GradingError(
            "--trust-students is for one machine: without a sandbox, student code would reach the cluster"
        )
    try:
        from autograder.grading.cluster import ClusterError, connected
    except ImportError as error:
        raise GradingError(str(error)) from None
    kernel = options.way == "kernel" or options.audit > 0
    try:
        with connected(options.scheduler, assignment, options.settings, kernel) as cluster:
            yield _Place(cluster.rung, lambda count: nullcontext(cluster))
    except ClusterError as error:
        raise GradingError(str(error)) from error


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


def _grade(reader: _Reader, files: Files, todo: list[str], place: _Place, options: Options) -> Iterator[Event]:
    sample = random.sample(todo, math.ceil(options.audit * len(todo)))
    audited = set(sample)
    rest = [student for student in todo if student not in audited]
    with place.executor(len(todo)) as workers:
        yield from _audit(workers, files, [[reader.job(student, way) for way in _BOTH] for student in sample])
        for done in _through(workers, (reader.job(student, options.way) for student in rest)):
            student = done.job.submission.student
            if done.late and not done.job.patient:
                yield Event("again", student)
            else:
                yield Event("graded", student, files.record(done.result, done.notebook))


def _through(workers: Executor, jobs: Iterator[Job]) -> Iterator[Done]:
    """Have all of it graded side by side. What a clock has ended comes a second time, graded alone and with twice the
    time: a busy machine is no reason for a mark."""
    again = []
    _feed(workers, jobs)
    while workers.busy:
        for done in workers.finished():
            _feed(workers, jobs)  # before recording: nobody waits for the disk
            if done.late:
                again.append(replace(done.job, patient=True))
            yield done
    for job in again:
        workers.give(job)
        yield from workers.finished()


def _feed(workers: Executor, jobs: Iterator[Job]) -> None:
    while workers.free and (job := next(jobs, None)) is not None:
        workers.give(job)


#: The ways that have to give equal marks.
_BOTH: tuple[Way, ...] = ("fork", "kernel")


def _audit(workers: Executor, files: Files, sample: Sequence[Sequence[Job]]) -> Iterator[Event]:
    """Grade a sample both ways and compare, before anything is recorded. Raises GradingError for unequal marks."""
    found: dict[str, dict[Way, Done]] = {jobs[0].submission.student: {} for jobs in sample}
    for done in _through(workers, (job for jobs in sample for job in jobs)):
        found[done.job.submission.student][done.job.way] = done
    for student, by_way in found.items():
        one, other = (by_way[way].result.marks() for way in _BOTH)
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
    with ExitStack() as stack:
        zygote = options.zygote or stack.enter_context(started(course.root))
        make_ready(zygote, assignment, rung)
        clients = [zygote.connect() for _ in range(count)]
        workers = Workers(count, lambda i: Conductor(assignment, clients[i], rung, options.settings))
        stack.callback(workers.close)
        yield workers


# --- recording ------------------------------------------------------------------------------------------------------


class Files:
    """Store, gradebook and folders of one course and assignment."""

    def __init__(
        self, course: Course, assignment: Assignment, store: Store, book: Book, keep: Keep, engine: str
    ) -> None:
        self._course, self._assignment, self._store, self._book = course, assignment, store, book
        self._keep, self._engine = keep, engine

    def known(self, submission: Submission) -> SubmissionResult | None:
        """The result that counts of a student whose submission is unchanged. It is published if another is shown.

        None as well where the same work was handed in again: its time is another one, and so is the secret under which
        its feedback is fetched.
        """
        name, release, student = self._assignment.name, self._assignment.digest, submission.student
        found = self._store.done(name, student, submission.digest, release, self._engine)
        handed_in_as, shown_as = self._course.submitted(student, name), self._folder("autograded", student)
        if found is None or companions(handed_in_as) != companions(shown_as):
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
        self._write_feedback(result, rebuilt, beside)
        for number in {one.number: one for one in (latest or attempt, attempt)}:
            self._store.mark_published(assignment.name, student, number)
        return result

    def feedback(self, student: str) -> bool:
        """Write the page of what is published; False when nothing is."""
        attempt = self._store.published(self._assignment.name, student)
        if attempt is None:
            return False
        result, notebook = self._loaded(attempt)
        beside = companions(self._course.submitted(student, self._assignment.name))
        self._write_feedback(result, nbformat.reads(notebook, as_version=4), beside)
        return True

    def _write_feedback(
        self, result: SubmissionResult, rebuilt: nbformat.NotebookNode, beside: Mapping[str, bytes]
    ) -> None:
        review = self._book.review(self._assignment, result.student)
        name, student = self._assignment.name, result.student
        measured = told(result.exercises, self._solutions(rebuilt), student, lambda: self._key)
        files = {**stand_ins(self._key, name, student), **beside}
        write_feedback(self._folder("feedback", student), name, rebuilt, result, review, files, measured)

    def _solutions(self, rebuilt: nbformat.NotebookNode) -> dict[str, str]:
        """Exercise id → the code of its solution cell."""
        exercise_of = {cell.grade_id: cell.exercise_id for cell in self._assignment.cells if cell.kind == "solution"}
        cells = ((cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source) for cell in rebuilt.cells)
        return {exercise_of[name]: source for name, source in cells if name in exercise_of}

    @cached_property
    def _key(self) -> bytes:
        return course_key(self._course.root / "course")

    def _folder(self, kind: str, student: str) -> Path:
        return self._course.root / kind / student / self._assignment.name


@contextmanager
def opened(course: Course, assignment: Assignment, keep: Keep = "last", engine: str = ENGINE) -> Iterator[Files]:
    private(course.root)
    with (
        Store(course.root / STORE) as store,
        open_gradebook(course.gradebook, course.course_id, course.late) as book,
    ):
        (course.root / STORE).chmod(0o600)
        yield Files(course, assignment, store, book, keep, engine)
