"""The kill matrix: run every known wrong variant and every accepted right one through the checks.

For each exercise it answers: is every misconception failed, and called by its name? Is every accepted variant passed,
on the visible cases and on hidden ones of many seeds? How far is the nearest wrong one, and how far the worst right one?
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from autograder.devices import Device, moved, on_device
from autograder.diagnose import Diagnosis, compatible_pairs, diagnose, variant_evidence
from autograder.evidence import Array, Evidence, collecting, gather
from autograder.exercise import REGISTRY, Case, CodeExercise
from autograder.manifest import module_of
from autograder.verdict import (
    INFINITE,
    Verdict,
    displacement,
    expected_evidence,
    hidden_cases,
    judge,
    judge_case,
    visible_cases,
)


@dataclass(frozen=True)
class Kill:
    """One wrong variant. `source` is "catalogue", or the name of a mutant written by hand."""

    id: str
    title: str
    source: str
    killed: bool
    named: tuple[str, ...]  # what the diagnosis said
    margin: float  # distance to the reference, in tolerances
    nearest: str  # the catalogue row whose runs are most alike …
    separation: float  # … and how far that is, in tolerances

    @property
    def right_name(self) -> bool:
        return self.named == (self.id,)

    @property
    def ok(self) -> bool:
        return self.killed and self.right_name


@dataclass(frozen=True)
class Acceptance:
    """One right variant. `spread`: its largest deviation in tolerances (1 would be rejected)."""

    name: str
    accepted: bool
    spread: float
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audit:
    exercise: CodeExercise
    kills: tuple[Kill, ...]
    acceptances: tuple[Acceptance, ...]
    seconds: float = field(default=0.0)

    @property
    def ok(self) -> bool:
        return all(kill.ok for kill in self.kills) and all(one.accepted for one in self.acceptances)

    @property
    def worst_right(self) -> float:
        """The largest deviation of an accepted variant, in tolerances."""
        return max((one.spread for one in self.acceptances), default=0.0)

    @property
    def nearest_wrong(self) -> float:
        """The smallest deviation of a wrong variant that its numbers tell, in tolerances; infinite without one.

        Variants that break only a rule (launches, bytes, keys) agree in the numbers: the rule tells them.
        """
        return min((kill.margin for kill in self.kills if kill.margin > 1), default=INFINITE)


def code_exercises(ids: Iterable[str] = ()) -> list[CodeExercise]:
    """The exercises with these ids, or all. Raises UnknownExercise; ValueError for one without code."""
    wanted = list(ids)
    chosen = [REGISTRY[one] for one in wanted] if wanted else list(REGISTRY.values())
    for exercise in chosen:
        if wanted and not isinstance(exercise, CodeExercise):
            raise ValueError(f"{exercise.id} has no code to audit")
    return [exercise for exercise in chosen if isinstance(exercise, CodeExercise)]


def audit(exercise: CodeExercise, seeds: Sequence[int] = (1, 2, 3), device: Device = "cpu") -> Audit:
    """Run the matrix for one exercise. `seeds` draw the hidden cases for the accepted variants.

    Cases that can be moved to another device are played there (`devices.moved`), the others where they are.
    """
    with collecting():
        return Audit(exercise, tuple(_kills(exercise, device)), tuple(_acceptances(exercise, seeds, device)))


def movable(exercise: CodeExercise) -> bool:
    """Can any of its cases be played on a GPU?"""
    return any(moved(case, "cuda") for case in visible_cases(exercise))


def answers(exercise: CodeExercise, table: str) -> Any:
    """`ACCEPTED` or `MUTANTS` of an exercise; empty when there are none."""
    module = import_module(f"autograder.answers.{module_of(exercise.notebook)}")
    return getattr(module, table).get(exercise.id, {} if table == "ACCEPTED" else ())


def attempt(exercise: CodeExercise, cases: Sequence[Case], objects: Sequence[Any]) -> tuple[Verdict, tuple[str, ...]]:
    """What a student who hands in these objects is told: the verdict, and the ids of the misconceptions named."""
    return diagnosed(exercise, cases, _runs(cases, objects))


def diagnosed(
    exercise: CodeExercise, cases: Sequence[Case], evidence: Sequence[Evidence]
) -> tuple[Verdict, tuple[str, ...]]:
    """`attempt`, for runs that have been made already."""
    verdict = judge(exercise, cases, evidence, decided=True)
    diagnosis = diagnose(exercise, cases, evidence, verdict)
    return verdict, diagnosis.ids if diagnosis else ()


# --- wrong variants -------------------------------------------------------------------------------------------------


def _kills(exercise: CodeExercise, device: Device) -> Iterable[Kill]:
    cases = on_device(visible_cases(exercise), device)
    reference = [expected_evidence(exercise, case) for case in cases]
    bank: list[tuple[str, _Fingerprint]] = []
    tried: list[tuple[str, str, _Fingerprint, Sequence[Evidence]]] = []
    for m in exercise.misconceptions:
        for objects in (m.objects, *m.also):
            runs = [variant_evidence(exercise, case, objects) for case in cases]
            print_ = _fingerprint(exercise, cases, runs, reference)
            bank.append((m.id, print_))
            # once more, as a student's: the runs above are those that a diagnosis compares with
            tried.append((m.id, "catalogue", print_, _runs(cases, objects())))
    for row, name, given in answers(exercise, "MUTANTS"):
        runs = _runs(cases, given)
        tried.append((row, name, _fingerprint(exercise, cases, runs, reference), runs))
    right = _fingerprint(exercise, cases, reference, reference)
    titles = {m.id: m.title for m in exercise.misconceptions}
    for row, source, print_, evidence in tried:
        verdict, named = diagnosed(exercise, cases, evidence)
        apart = {other: INFINITE for other in titles if other != row}
        for other, variant in bank:
            if other != row:
                apart[other] = min(apart[other], print_.distance(variant))
        nearest = min(apart, key=lambda other: apart[other], default="")
        yield Kill(
            id=row,
            title=titles.get(row, "?"),
            source=source,
            killed=not verdict.passed,
            named=named,
            margin=print_.distance(right),
            nearest=nearest,
            separation=apart.get(nearest, INFINITE),
        )


def _runs(cases: Sequence[Case], objects: Sequence[Any]) -> list[Evidence]:
    return [gather(case, objects) for case in cases]


@dataclass(frozen=True, eq=False)
class _Fingerprint:
    """All numbers of a set of runs in units of the cases' tolerances, and the rules it broke.

    In these units the reference's own displacement is 1 / tolerance, so that distances compare across cases.
    """

    numbers: Array
    broken: tuple[tuple[frozenset[str], str], ...]

    def distance(self, other: _Fingerprint) -> float:
        """The largest difference in tolerances; infinite when other rules are broken or exceptions raised."""
        if self.broken != other.broken or self.numbers.shape != other.numbers.shape:
            return INFINITE
        with np.errstate(invalid="ignore"):
            apart = np.abs(self.numbers - other.numbers)
        same = (self.numbers == other.numbers) | (np.isnan(self.numbers) & np.isnan(other.numbers))
        apart = np.where(same, 0.0, np.where(np.isfinite(apart), apart, INFINITE))
        return float(apart.max(initial=0.0))


def _fingerprint(
    exercise: CodeExercise, cases: Sequence[Case], runs: Sequence[Evidence], reference: Sequence[Evidence]
) -> _Fingerprint:
    numbers: list[Array] = []
    broken = []
    for case, run, right in zip(cases, runs, reference, strict=True):
        judged = judge_case(case, run, right)
        broken.append((judged.broken | _misshapen(run, right), run.problem.type if run.problem else ""))
        skipped = (*case.may_lack, *case.own, "\0")
        for name in sorted(right.arrays):
            array = run.arrays.get(name)
            if name.startswith(skipped) or array is None or array.shape != right.arrays[name].shape:
                continue
            scale = displacement(right.arrays[name], name in right.stepped) or 1.0
            numbers.append(np.ravel(np.real(array).astype(np.float64)) / (scale * case.tolerance))
    return _Fingerprint(np.concatenate(numbers) if numbers else np.zeros(0), tuple(broken))


def _misshapen(run: Evidence, right: Evidence) -> frozenset[str]:
    """What tells apart arrays that cannot be compared with the reference's number by number: shape and total."""
    return frozenset(
        f"{name} {run.arrays[name].shape} {np.nansum(np.abs(run.arrays[name])):.6g}"
        for name, array in right.arrays.items()
        if name in run.arrays and run.arrays[name].shape != array.shape
    )


# --- right variants -------------------------------------------------------------------------------------------------


def _acceptances(exercise: CodeExercise, seeds: Sequence[int], device: Device) -> Iterable[Acceptance]:
    drawn = (case for seed in seeds for case in hidden_cases(exercise, seed))
    cases = on_device((*visible_cases(exercise), *drawn), device)
    for name, objects in answers(exercise, "ACCEPTED").items():
        evidence = _runs(cases, objects)
        verdict = judge(exercise, cases, evidence, decided=True)
        spread = max(
            (judged.deviation / case.tolerance for case, judged in zip(cases, verdict.cases, strict=True)), default=0.0
        )
        yield Acceptance(name, verdict.passed, spread, tuple(case.name for case in verdict.failed_cases))


# --- two mistakes at once -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TwoMistakes:
    """A run with two rows' faults, and what was said about it."""

    rows: tuple[str, str]
    named: tuple[str, ...]
    told: str  # "pair", "one of the two", "another that does the same", "false", "nothing", "cancel" or "passes"


def two_mistakes(exercise: CodeExercise, most: int, dice: random.Random) -> Iterable[TwoMistakes]:
    """Diagnose pairs of faults that do not touch the same part of the update; at most so many, drawn with `dice`."""
    cases = visible_cases(exercise)
    pairs = list(compatible_pairs(exercise))
    for (one, two), objects in dice.sample(pairs, most) if len(pairs) > most else pairs:
        evidence = _runs(cases, objects())
        verdict = judge(exercise, cases, evidence, decided=True)
        diagnosis = diagnose(exercise, cases, evidence, verdict)
        named = diagnosis.ids if diagnosis else ()
        if verdict.passed:
            told = "cancel" if _right_everywhere(exercise, objects) else "passes"
        else:
            told = _told({one.id, two.id}, diagnosis)
        yield TwoMistakes((one.id, two.id), named, told)


def _right_everywhere(exercise: CodeExercise, objects: Callable[[], tuple[Any, ...]]) -> bool:
    """Do two faults make a right answer, in hidden cases as well? (t counted from 1 and a drop at t > n, say.)"""
    return all(
        judge(exercise, cases, _runs(cases, objects()), decided=True).passed
        for cases in (hidden_cases(exercise, seed) for seed in range(1, 21))
    )


def _told(rows: set[str], diagnosis: Diagnosis | None) -> str:
    if diagnosis is None:
        return "nothing"
    named = set(diagnosis.ids)
    if named == rows:
        return "pair"
    if named < rows:
        return "one of the two"
    return "false" if diagnosis.unexplained else "another that does the same"
