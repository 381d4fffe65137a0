"""Try mutants: each in a forked process of its own, with limits, on visible and hidden cases until one fails.

What a mutant does to torch, to memory or to time ends with its process. One that runs out of time is as dead as one that
gives a wrong number: a check would say so.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import resource
import select
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from autograder.answers.equivalent import EQUIVALENT
from autograder.evidence import collecting, gather
from autograder.exercise import Case, CodeExercise
from autograder.mutants.changes import Mutant, mutants, parsed
from autograder.verdict import expected_evidence, hidden_cases, judge_case, visible_cases
from autograder.worked import source_notebook

#: A mutant may take this many times as long as the solution, and at least so many seconds.
PATIENCE, AT_LEAST = 5.0, 2.0
#: What a mutant may allocate beyond what its parent has.
MEMORY = 2 * 2**30


@dataclass(frozen=True)
class Trial:
    """`killed_by`: the case that failed, or "time" or "process"; "" for a survivor."""

    what: str
    killed_by: str

    @property
    def survives(self) -> bool:
        return not self.killed_by


@cache
def mutants_of(exercise: CodeExercise) -> tuple[Mutant, ...]:
    """All mutants of the solution cell. Raises FileNotFoundError where the source notebooks are not installed."""
    return tuple(mutants(_cell(exercise)))


def _cell(exercise: CodeExercise) -> str:
    """The solution cell as it stands in the source notebook, markers included."""
    cells = ("".join(cell["source"]) for cell in source_notebook(exercise.notebook)["cells"])
    return next(source for source in cells if source.startswith(f"# exercise {exercise.id}\n"))


def try_mutants(exercise: CodeExercise, chosen: Iterable[Mutant], seeds: Sequence[int] = (1, 2)) -> Iterator[Trial]:
    """Run mutants of an exercise's solution one after the other. `seeds` draw the hidden cases.

    Raises RuntimeError when the solution itself does not pass (a mistake of the course).
    """
    cases = visible_cases(exercise) + tuple(case for seed in seeds for case in hidden_cases(exercise, seed))
    with collecting():
        for case in cases:
            expected_evidence(exercise, case)
        before = _namespace(exercise)
    start = time.monotonic()
    itself = _try(exercise, cases, before, Mutant("the solution", parsed(_cell(exercise))), 600.0)
    if not itself.survives:
        raise RuntimeError(f"{exercise.id}: the solution itself fails {itself.killed_by!r}")
    limit = max(AT_LEAST, PATIENCE * (time.monotonic() - start))
    for mutant in chosen:
        yield _try(exercise, cases, before, mutant, limit)


def _namespace(exercise: CodeExercise) -> dict[str, Any]:
    """What a student's kernel holds when it comes to this exercise's cell: imports and the solutions before it."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in source_notebook(exercise.notebook)["cells"]:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", ())
        if source.startswith(f"# exercise {exercise.id}\n"):
            break
        if cell["cell_type"] == "code" and ("setup" in tags or "exercise" in tags):
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source, f"<{cell['id']}>", "exec"), namespace)
    return namespace


def _try(
    exercise: CodeExercise, cases: Sequence[Case], before: Mapping[str, Any], mutant: Mutant, seconds: float
) -> Trial:
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(receiving)
            _limit(seconds)
            os.write(sending, f"{_killer(exercise, cases, before, mutant)}\n".encode())
            status = 0
        finally:
            os._exit(status)
    os.close(sending)
    try:
        # a sleeping mutant uses no processor: the clock on the wall ends it
        in_time = bool(select.select([receiving], [], [], 3 * seconds)[0])
        said = os.read(receiving, 4096).decode() if in_time else ""
    finally:
        os.close(receiving)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if said:
        return Trial(mutant.what, said.removesuffix("\n"))
    late = not in_time or os.waitstatus_to_exitcode(status) == -signal.SIGXCPU
    return Trial(mutant.what, "time" if late else "process")


def _limit(seconds: float) -> None:
    faulthandler.disable()  # how it ends is no news
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
    with open("/proc/self/statm", encoding="ascii") as file:
        has = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + MEMORY, has + MEMORY))


def _killer(exercise: CodeExercise, cases: Sequence[Case], before: Mapping[str, Any], mutant: Mutant) -> str:
    """The first case that fails; "" when none does."""
    namespace = dict(before)
    with collecting():
        try:
            exec(mutant.code, namespace)
            objects = [namespace[name] for name in exercise.objects]
        except Exception as error:
            return f"{type(error).__name__} before any case"
        for case in cases:
            if not judge_case(case, gather(case, objects), expected_evidence(exercise, case)).passed:
                return case.name
    return ""


# --- what the trials say --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """An exercise's mutants: killed, right by their score, known to be equivalent, or surviving without an excuse."""

    exercise: CodeExercise
    trials: tuple[Trial, ...]

    @property
    def killed(self) -> int:
        return sum(not trial.survives for trial in self.trials)

    @property
    def equivalent(self) -> dict[str, str]:
        """Survivors that do the same as the solution, or nothing that the exercise speaks of → the reason."""
        listed = EQUIVALENT.get(self.exercise.id, {})
        return {trial.what: listed[trial.what] for trial in self.trials if trial.survives and trial.what in listed}

    @property
    def reaching(self) -> tuple[str, ...]:
        """Survivors where nothing but a score is asked for: another program that reaches it is as right as the solution."""
        scored = all(case.scores for case in visible_cases(self.exercise))
        return tuple(trial.what for trial in self.trials if trial.survives) if scored else ()

    @property
    def survivors(self) -> tuple[str, ...]:
        """Those that nobody has explained: a case is missing, or an entry in the list."""
        explained = {*self.equivalent, *self.reaching}
        return tuple(trial.what for trial in self.trials if trial.survives and trial.what not in explained)

    @property
    def stale(self) -> tuple[str, ...]:
        """Listed as equivalent, but killed."""
        listed = EQUIVALENT.get(self.exercise.id, {})
        return tuple(trial.what for trial in self.trials if not trial.survives and trial.what in listed)

    @property
    def ok(self) -> bool:
        return not self.survivors and not self.stale
