"""Grade one submission: have its cells run in a sandbox, ask each exercise its cases, decide from the evidence.

The coordinator's side of `runner`'s protocol. A cell or exercise that takes the whole sandbox down (exit, crash, too
much memory, silence) is noted and left out, and the submission is run again without it: the rest is graded.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from autograder import __version__
from autograder.devices import Device
from autograder.evidence import Evidence, Problem, decode
from autograder.exercise import REGISTRY, CodeExercise, Exercise, QuizExercise
from autograder.grading import claims, decide
from autograder.grading.assignment import Assignment
from autograder.grading.channel import ChannelError
from autograder.grading.flags import cell_name, own_cell, told
from autograder.grading.integrity import audit_source
from autograder.grading.packing import pack
from autograder.grading.pool import Client, Runner, Way
from autograder.grading.results import ExerciseResult, SubmissionResult
from autograder.grading.submission import Submission
from autograder.variants import varied

#: Raised by one whenever a mark could come out differently for the same submission: results are graded again.
ENGINE = "1"

#: What every result says it was graded with.
VERSIONS = {"python": platform.python_version(), "torch": str(torch.__version__), "autograder": __version__}

#: Bytes that one run of a submission may send: honest ones send less than a tenth.
MAX_RECEIVED = 64 * 2**20

#: Bytes of outputs that are kept of one run; the runner's own limit lies below it, but does not bind a hostile one.
MAX_OUTPUTS = 24 * 2**20


@dataclass(frozen=True)
class Settings:
    """How one submission is graded: seconds of wall time, MB beyond what a fresh fork uses, the device of the cases."""

    cell_seconds: float = 20.0
    exercise_seconds: float = 20.0
    submission_seconds: float = 180.0
    memory_mb: float = 2000.0
    grace_seconds: float = 5.0  # after the sandbox's own clock, which student code can stop, until ours ends it

    device: Device = "cpu"

    @property
    def engine(self) -> str:
        """What results are told apart by: another engine or device grades unchanged work again."""
        return ENGINE if self.device == "cpu" else f"{ENGINE} on {self.device}"

    def patient(self) -> Settings:
        """For a second try, alone: a time-out on a busy machine is no verdict."""
        return replace(
            self,
            cell_seconds=2 * self.cell_seconds,
            exercise_seconds=2 * self.exercise_seconds,
            submission_seconds=2 * self.submission_seconds,
        )


@dataclass(frozen=True)
class _Step:
    """A code cell to run, or an exercise to ask (then `exercise` is given). `name`: what the instructor is told."""

    cell_id: str
    name: str
    source: str
    exercise: Exercise | None = None


@dataclass
class _Run:
    """What one run through a sandbox has brought; `stuck` is the step that ended it early, `reason` says how, and
    `silent` that our own clock ended it. `late`: the sandbox's clock ended a cell or an exercise."""

    outputs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # cell id → how long it ran, by our own clock
    failed: dict[str, str] = field(default_factory=dict)  # cell id → exception
    evidence: dict[str, list[Evidence]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)  # exercise id → why it was not asked to the end
    missing: dict[str, list[str]] = field(default_factory=dict)
    usage: Mapping[str, float] = field(default_factory=dict)
    stuck: int | None = None
    reason: str = ""
    silent: bool = False
    late: bool = False


class Conductor:
    """Grades submissions of one assignment, one after the other, with one connection to the fork server."""

    def __init__(
        self,
        assignment: Assignment,
        client: Client,
        rung: str,
        settings: Settings,
        way: Way = "fork",
    ) -> None:
        self.assignment, self.client, self.rung, self.settings = assignment, client, rung, settings
        self.way = way

    def like(self, patient: bool, way: Way) -> Conductor:
        """One with the same connection that runs cells this way, and with `Settings.patient` if asked."""
        settings = self.settings.patient() if patient else self.settings
        return Conductor(self.assignment, self.client, self.rung, settings, way)

    def grade(self, submission: Submission, seeds: Mapping[str, int]) -> tuple[SubmissionResult, bool]:
        """The result, and whether a clock ended anything (then it should be tried again, alone and with patience).

        `seeds`: exercise id → seed of this submission's hidden cases (`secret.hidden_seeds`).
        """
        start = time.monotonic()
        steps = _steps(self.assignment, submission)
        asked = {
            step.exercise.id: decide.questions(step.exercise, seeds[step.exercise.id], self.settings.device)
            for step in steps
            if step.exercise is not None
        }
        left_out: dict[int, str] = {}
        silent = False
        deadline = start + self.settings.submission_seconds
        while True:
            run = self._run(steps, asked, left_out, submission, deadline)
            silent = silent or run.silent
            if run.stuck is None or time.monotonic() > deadline:
                break
            left_out[run.stuck] = run.reason
        result = self._result(submission, steps, asked, run, left_out)
        return replace(result, seconds=time.monotonic() - start), run.late or silent

    # --- running ----------------------------------------------------------------------------------------------------

    def _run(
        self,
        steps: Sequence[_Step],
        asked: Mapping[str, decide.Questions],
        left_out: Collection[int],
        submission: Submission,
        deadline: float,
    ) -> _Run:
        run = _Run()
        runner = self.client.fork(self.way)
        talk = _Talk(runner, self.settings, deadline)
        kept = [number for number in range(len(steps)) if number not in left_out]
        try:
            talk.send(self._plan([steps[number] for number in kept], submission))
            for place, number in enumerate(kept):
                run.stuck = number
                self._step(talk, place, steps[number], asked, run)
            run.stuck = None
            run.usage = talk.last("finished")
        except ChannelError as error:
            run.reason = talk.why or _ENDINGS[error.kind]
            run.silent = error.kind == "late"
        finally:
            runner.end()
        return run

    def _plan(self, steps: Sequence[_Step], submission: Submission) -> dict[str, Any]:
        cells = [
            {"kind": "check", "objects": list(_objects(step.exercise))}
            if step.exercise is not None
            else {"kind": "run", "source": step.source}
            for step in steps
        ]
        seed = int(submission.digest[:8], 16) % 2**31
        times = {"cell_seconds": self.settings.cell_seconds, "exercise_seconds": self.settings.exercise_seconds}
        return {"cells": cells, "seed": seed, **times}

    def _step(self, talk: _Talk, place: int, step: _Step, asked: Mapping[str, decide.Questions], run: _Run) -> None:
        start = time.monotonic()  # before the cell says that it begins: both frames may be waiting for us already
        talk.expect("begin", place)
        if step.exercise is None:
            end = talk.expect("end", place)
            run.seconds[step.cell_id] = time.monotonic() - start
            outputs, failed = end.get("outputs"), claims.word(end.get("failed", ""))
            run.outputs[step.cell_id] = outputs if isinstance(outputs, list) and talk.fits() else []
            if failed:
                run.failed[step.cell_id] = failed
            run.late = run.late or failed == "TooLong"
            return
        answers = run.evidence[step.exercise.id] = list[Evidence]()
        missing = run.missing.setdefault(step.exercise.id, [])
        end = talk.ask(place, step.exercise, asked[step.exercise.id], answers, missing)
        if end.get("late"):
            run.late = True
            run.ended[step.exercise.id] = f"it ran for more than {self.settings.exercise_seconds:g} seconds"
        elif end.get("status"):
            run.ended[step.exercise.id] = f"its process was ended ({_status(end['status'])})"

    # --- deciding ---------------------------------------------------------------------------------------------------

    def _result(
        self,
        submission: Submission,
        steps: Sequence[_Step],
        asked: Mapping[str, decide.Questions],
        run: _Run,
        left_out: Mapping[int, str],
    ) -> SubmissionResult:
        stopped = {steps[number].cell_id: reason for number, reason in left_out.items()}
        for cell_id, reason in stopped.items():
            if cell_id not in run.evidence:
                run.outputs.setdefault(cell_id, [_stopped(reason)])
        exercises, flags = [], list(_flags(submission))
        for exercise in self.assignment.exercises:
            if exercise.kind == "written":
                exercises.append(_waiting(exercise))
                continue
            cell = next(step.cell_id for step in steps if step.exercise is exercise)
            ended = self._ended(exercise, run, stopped.get(cell, "" if run.stuck is None else run.reason))
            found = run.evidence.get(exercise.id, [])
            own = varied(exercise, submission.variant)
            exercises.append(_decided(own, asked[exercise.id], found, ended, flags))
        return SubmissionResult(
            student=submission.student,
            assignment=self.assignment.name,
            digest=submission.digest,
            release=self.assignment.digest,
            engine=self.settings.engine,
            rung=self.rung,
            exercises=tuple(exercises),
            outputs=run.outputs,
            notes=submission.notes + ((submission.problem,) if submission.problem else ()),
            flags=tuple(flags),
            cell_seconds={
                step.name: round(run.seconds[step.cell_id], 4) for step in steps if step.cell_id in run.seconds
            },
            cpu_seconds=run.usage.get("cpu_seconds", 0.0),
            peak_mb=run.usage.get("peak_mb", 0.0),
            versions=VERSIONS,
        )

    def _ended(self, exercise: Exercise, run: _Run, stopped: str) -> Problem | None:
        """Why an exercise was not asked, or not to the end."""
        missing = run.missing.get(exercise.id)
        if missing:
            names = " and ".join(missing)
            cells = [
                f"cell {cell} ended with {error}" for cell, error in run.failed.items() if _made_by(cell, exercise)
            ]
            because = f": {cells[0]}" if cells else ""
            return Problem("raised", "NameError", f"{names} is not defined{because}")
        reason = run.ended.get(exercise.id) or stopped
        if reason:
            return Problem("raised", "Stopped", reason)
        if exercise.id not in run.evidence:
            return Problem("raised", "Stopped", "it was not reached")
        return None


_ENDINGS = {
    "closed": "it ended the process that ran it",
    "late": "it did not come back within the seconds it has",
    "malformed": "it sent the grader something that is no answer",
}


class _Talk:
    """The conversation with one runner, by our own clock and with an eye on its memory."""

    def __init__(self, runner: Runner, settings: Settings, deadline: float) -> None:
        self._runner, self._settings, self._deadline = runner, settings, deadline
        # taken before any of the submission's code runs, which could raise it
        self._baseline = runner.memory_mb()
        self._size = self._kept = 0
        self.why = ""

    def send(self, header: dict[str, Any], body: bytes = b"") -> None:
        self._runner.channel.send(header, body, seconds=10)

    def expect(self, kind: str, place: int) -> dict[str, Any]:
        header, _ = self._next(self._settings.cell_seconds + self._settings.grace_seconds)
        if header.get(kind) != place:
            raise ChannelError("malformed", f"expected {kind} {place}")
        return header

    def fits(self) -> bool:
        """Is there room for the outputs in the latest frame? Takes the room if so."""
        if self._kept + self._size > MAX_OUTPUTS:
            return False
        self._kept += self._size
        return True

    def last(self, kind: str) -> dict[str, float]:
        header, _ = self._next(5)
        if not header.get(kind):
            raise ChannelError("malformed", f"expected {kind}")
        return claims.numbers(header)

    def ask(
        self, place: int, exercise: Exercise, asked: decide.Questions, answers: list[Evidence], missing: list[str]
    ) -> dict[str, Any]:
        """Send the cases when the exercise's own process asks for them; collect its evidence until it ends."""
        expected = 0
        while True:
            header, body = self._next(self._settings.exercise_seconds + self._settings.grace_seconds)
            if header.get("end") == place:
                return header
            if header.get("ask") == place and not answers:
                names = header.get("missing")
                missing += [name for name in _objects(exercise) if isinstance(names, list) and name in names]
                if not missing:
                    self.send({"cases": place}, pack(asked.at(asked.first)))
                    expected = len(asked.first)
            elif header.get("evidence") == place and len(answers) < expected:
                answers.append(_decoded(body))
                if len(answers) == len(asked.first):
                    expected += self._ask_on(place, exercise, asked, answers)
                elif len(answers) == expected:
                    self.send({"enough": place})
            else:
                raise ChannelError("malformed", "out of turn")

    def _ask_on(self, place: int, exercise: Exercise, asked: decide.Questions, answers: Sequence[Evidence]) -> int:
        """After the first questions: say that it is enough, or ask the others; returns how many those are."""
        if _enough(exercise, asked, answers):
            self.send({"enough": place})
            return 0
        self.send({"cases": place}, pack(asked.at(asked.second)))
        return len(asked.second)

    def _next(self, seconds: float) -> tuple[dict[str, Any], bytes]:
        end = min(self._deadline, time.monotonic() + seconds)
        before = self._runner.channel.received
        frame = self._runner.channel.receive(end, self._watch_memory)
        self._size = self._runner.channel.received - before
        if self._runner.channel.received > MAX_RECEIVED:
            self.why = f"it sent the grader more than {MAX_RECEIVED // 2**20} MB"
            raise ChannelError("malformed", self.why)
        return frame

    def _watch_memory(self) -> None:
        if self._runner.exceeds(self._settings.memory_mb, self._baseline):
            self.why = f"it used more than {self._settings.memory_mb:g} MB of memory"
            raise ChannelError("closed", self.why)


def _decoded(body: bytes) -> Evidence:
    try:
        return claims.plain(decode(body))
    except (ValueError, RecursionError, ArithmeticError, MemoryError) as error:
        raise ChannelError("malformed", str(error)) from None


def _enough(exercise: Exercise, asked: decide.Questions, found: Sequence[Evidence]) -> bool:
    try:
        return decide.enough(exercise, asked, found)
    except Exception:
        return False  # evidence that cannot be judged: `_decided` says so when all is there


def _decided(
    exercise: Exercise, asked: decide.Questions, found: Sequence[Evidence], ended: Problem | None, flags: list[str]
) -> ExerciseResult:
    """The result; evidence on which the judging itself fails earns nothing and costs nobody else anything."""
    try:
        return decide.result(exercise, asked, found, ended)
    except Exception as error:
        if not found:
            raise  # without any evidence: a mistake of the course
        flags.append(f"{exercise.id}: its answers cannot be judged ({type(error).__name__})")
        unusable = Problem("protocol", "ProtocolError", _ENDINGS["malformed"])
        return decide.result(exercise, asked, [], unusable)


# --- small things ---------------------------------------------------------------------------------------------------


def _steps(assignment: Assignment, submission: Submission) -> list[_Step]:
    """What is run, in the notebook's order: given and solution cells and the student's own; a question per check cell."""
    planned = {cell.id: cell for cell in assignment.cells}
    steps = []
    for cell in submission.notebook.cells:
        plan = planned.get(cell.id)
        kind = plan.kind if plan else ("own" if cell.cell_type == "code" else "text")
        if kind == "check" and plan is not None:
            steps.append(_Step(cell.id, cell_name(cell), "", REGISTRY[plan.exercise_id]))
        elif kind in ("setup", "given", "solution", "own"):
            steps.append(_Step(cell.id, cell_name(cell) or cell.id, cell.source))
    return steps


def _objects(exercise: Exercise) -> tuple[str, ...]:
    assert isinstance(exercise, (CodeExercise, QuizExercise))
    return exercise.objects


def _made_by(cell_id: str, exercise: Exercise) -> bool:
    return cell_id.startswith(exercise.grade_id)


def _waiting(exercise: Exercise) -> ExerciseResult:
    return ExerciseResult(exercise.id, exercise.grade_id, 0.0, exercise.points, waits=True)


def _stopped(reason: str) -> dict[str, Any]:
    return {
        "output_type": "error",
        "ename": "Stopped",
        "evalue": reason,
        "traceback": [f"This cell was stopped: {reason}."],
    }


def _status(status: object) -> str:
    number = status if isinstance(status, int) else 1
    return f"signal {-number}" if number < 0 else f"exit status {number}"


def _flags(submission: Submission) -> tuple[str, ...]:
    sources = [
        *submission.answers.items(),
        *((own_cell(i), extra.source) for i, extra in enumerate(submission.extras, 1)),
    ]
    return tuple(told(name, flag) for name, source in sources for flag in audit_source(source))
