"""What an exercise is: its cases, its reference, the misconceptions it recognises, its hints and its points.

Everything that talks about an exercise (notebooks, `check`, grading, reports) takes it from here. The classes are
plain frozen data; running student code is `evidence`, deciding about it is `verdict`.
"""

from __future__ import annotations

import difflib
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Literal

Kind = Literal[
    "function",
    "optimizer",
    "schedule",
    "iterator",
    "statistic",
    "experiment",
    "launches",
    "quiz",
    "written",
]

#: Widest relative deviation at which two trajectories count as the same, by dtype: at least twice the worst that right
#: implementations differ by over many seeds and two thread counts (`benchmarks/results/tolerances.json`). Wrong ones are
#: told apart by the float64 cases, where the nearest is many thousand tolerances away; low precision only has to work.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 0.25}


@dataclass(frozen=True, eq=False)
class Limit:
    """An upper bound on something counted while the student's code ran, such as host synchronisations.

    `says` is what a student reads when it is exceeded: one or two sentences with `{count}` and `{at_most}` in them.
    """

    fact: str
    at_most: float
    says: str


@dataclass(frozen=True, eq=False)
class Score:
    """How many entries of a recorded array have to equal `labels`, which never travel to where student code runs.

    Only the entries that `labels` has are looked at. Below `guessing` nothing has been learned. `symptom` names a fact
    that may tell why. `says` is what a student reads: one or two sentences with `{share}` and `{at_least}` in them.
    """

    array: str
    labels: Any
    at_least: float
    says: str
    guessing: float = 0.0
    symptom: str = ""


@dataclass(frozen=True, eq=False)
class Case:
    """One situation in which the student's code is observed. Plain data: numbers, strings, lists and numpy arrays.

    `collector` names the function of `autograder.collectors` that plays the case and records the evidence.
    `may_lack` lists array names (prefixes) that a right answer need not have, for example a state tensor under
    another name. `identical` lists pairs of recorded arrays that have to agree to the last bit (and have to move).
    `own` lists array names (prefixes) that are the student's own business: not compared with the reference. `scores`
    compare arrays with labels that only the judge knows.
    """

    name: str
    group: str
    collector: str
    inputs: Mapping[str, Any]
    tolerance: float = TOLERANCE["float64"]
    may_lack: tuple[str, ...] = ()
    identical: tuple[tuple[str, str], ...] = ()
    own: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    hidden: bool = False
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True, eq=False)
class Misconception:
    """A wrong variant that learners really produce, as objects that can be run like a student's.

    `id` is the row of the catalogue (stable for ever); `explanation` says what the run does, and why somebody would
    write it; `reread` names the equation; `coincides` says when the variant equals the reference ("" = never).
    `also` are other ways to write the same mistake whose runs look different (an exception instead of nan, say).
    `by_rules`: the broken rules tell it, and its numbers depend on how it is written (rounding in bf16).
    """

    id: str
    title: str
    explanation: str
    reread: str
    objects: Callable[[], tuple[Any, ...]]
    coincides: str = ""
    also: tuple[Callable[[], tuple[Any, ...]], ...] = ()
    by_rules: bool = False
    faults: Mapping[str, Any] | None = None  # for variants of a simulator: lets two mistakes be combined


@dataclass(frozen=True, eq=False)
class Exercise:
    """Common to all kinds. `groups` maps each named group of cases to its points; their sum is the exercise's."""

    id: str
    title: str
    kind: Kind
    notebook: str
    groups: Mapping[str, float]
    difficulty: Literal[1, 2, 3]
    minutes: int
    version: int = field(default=1, kw_only=True)

    @property
    def points(self) -> float:
        return sum(self.groups.values())

    @property
    def grade_id(self) -> str:
        """nbgrader's id of the cell that carries the points."""
        return self.id.replace(".", "-")

    @property
    def public_seed(self) -> int:
        """Seed of the hidden cases under plain nbgrader; the grading engine derives its own from the course key."""
        digest = hashlib.sha256(f"{self.id}|{self.version}".encode()).digest()
        return int.from_bytes(digest[:6], "big")


@dataclass(frozen=True, eq=False)
class CodeExercise(Exercise):
    """The student writes code; a case plays it, the reference decides.

    `objects` are the names looked up after the student's cells ran, in the order of the check cell's arguments.
    `combine(faults)` builds a variant from the union of two misconceptions' faults, to recognise two mistakes at once.
    """

    objects: tuple[str, ...] = field(kw_only=True)
    visible: Callable[[], tuple[Case, ...]] = field(kw_only=True)
    draw_cases: Callable[[int], tuple[Case, ...]] = field(kw_only=True)
    reference: Callable[[], tuple[Any, ...]] = field(kw_only=True)
    misconceptions: tuple[Misconception, ...] = field(kw_only=True)
    hints: tuple[str, str, str] = field(kw_only=True)
    compares: str = field(kw_only=True)  # what a passed check says was compared, e.g. "with torch.optim.Adam"
    forbidden: tuple[str, ...] = field(default=(), kw_only=True)
    combine: Callable[[Mapping[str, Any]], tuple[Any, ...]] | None = field(default=None, kw_only=True)
    material: Callable[[], Any] | None = field(default=None, kw_only=True)


@dataclass(frozen=True, eq=False)
class Part:
    """One question of a quiz. `feedback` maps every possible answer to what is said about it."""

    name: str
    key: str | float
    feedback: Mapping[str | float, str]
    tolerance: float = 0.0  # relative; 0 for a choice among the feedback's keys

    @property
    def is_number(self) -> bool:
        return isinstance(self.key, float)


@dataclass(frozen=True, eq=False)
class Varied:
    """A question with other numbers. `text` maps what stands in the question's cell to what stands there instead."""

    parts: tuple[Part, ...]
    text: Mapping[str, str] = field(default_factory=dict)
    material: Callable[[], Any] | None = None


@dataclass(frozen=True, eq=False)
class QuizExercise(Exercise):
    """The student gives one answer per part. What is right is told after submission (or at once in self-study).

    `vary` draws another student's numbers (`variants`); without, choices that are letters change their order.
    """

    objects: tuple[str, ...] = field(kw_only=True)
    parts: tuple[Part, ...] = field(kw_only=True)
    hints: tuple[str, str, str] | None = field(default=None, kw_only=True)
    material: Callable[[], Any] | None = field(default=None, kw_only=True)
    vary: Callable[[random.Random], Varied] | None = field(default=None, kw_only=True)


def quiz(
    notebook: str,
    topic: str,
    number: int,
    title: str,
    *parts: Part,
    points: float = 1.0,
    minutes: int = 2,
    difficulty: Literal[1, 2, 3] = 1,
    vary: Callable[[random.Random], Varied] | None = None,
) -> QuizExercise:
    """Question `number` of a notebook: `q1`, `q2`, … in its cells. Every part earns the same share of the points."""
    return QuizExercise(
        f"{topic}.q{number}",
        title,
        "quiz",
        notebook,
        {part.name: points / len(parts) for part in parts},
        difficulty=difficulty,
        minutes=minutes,
        objects=(f"q{number}",),
        parts=parts,
        vary=vary,
    )


@dataclass(frozen=True, eq=False)
class WrittenExercise(Exercise):
    """Graded by hand; rubric and model answer stand in the source notebook."""


class UnknownExercise(KeyError):
    """No exercise has that id; the message names the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])


@cache
def _load() -> Mapping[str, Exercise]:
    """The manifest's notebooks, in its order: each has a module under `autograder.exercises` that defines `EXERCISES`."""
    # not at the top: where student code runs there is only an excerpt of this module
    from autograder.manifest import manifest, module_of

    exercises: dict[str, Exercise] = {}
    for notebook in manifest().notebooks:
        for exercise in import_module(f"autograder.exercises.{module_of(notebook.name)}").EXERCISES:
            if exercise.id in exercises:
                raise ValueError(f"two exercises are called {exercise.id!r}")
            exercises[exercise.id] = exercise
    return exercises


class _Registry(Mapping[str, Exercise]):
    """Maps id → Exercise in course order. Loaded on first use, so that `import autograder` stays quick."""

    def __getitem__(self, exercise_id: str) -> Exercise:
        try:
            return _load()[exercise_id]
        except KeyError:
            near = difflib.get_close_matches(str(exercise_id), _load(), n=3, cutoff=0.4)
            suggestion = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise UnknownExercise(f"there is no exercise {exercise_id!r}.{suggestion}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(_load())

    def __len__(self) -> int:
        return len(_load())


REGISTRY: Mapping[str, Exercise] = _Registry()
