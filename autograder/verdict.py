"""Decide from evidence. Nothing here runs student code: a verdict is a function of exercise, cases and evidence.

Deviation of two arrays: max |got − expected| over all steps and elements, divided by the largest displacement from
the start (trajectories) or the largest magnitude (single arrays) of either. Places where one is finite and the other
is not count as an infinite deviation; equal infinities and nan in the same place count as equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from autograder.evidence import Array, Evidence, Fact, Problem, gather
from autograder.exercise import Case, CodeExercise, Part, QuizExercise, Score

INFINITE = float("inf")


#: A broken rule: its name, one line for the student, further lines.
Broken = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True)
class Departure:
    """The first place where a trajectory leaves the reference. `step` is None for arrays without steps."""

    quantity: str
    step: int | None
    index: tuple[int, ...]
    expected: float
    got: float
    ratio: float | None = None  # move so far over the expected one, when all elements of the tensor share it
    from_zero: bool = False  # the expected trajectory starts at 0: its values are its moves
    sampled: str = ""  # the step that this element was sampled at, in arrays of samples


@dataclass(frozen=True, eq=False)
class Trace:
    """One coordinate over the steps, to draw: expected and got."""

    quantity: str
    index: tuple[int, ...]
    expected: Array
    got: Array


@dataclass(frozen=True, eq=False)
class CaseVerdict:
    """`violations` are rules that were broken, beside (or instead of) numbers that depart."""

    name: str
    group: str
    hidden: bool
    passed: bool
    deviation: float = 0.0
    departure: Departure | None = None
    trace: Trace | None = None
    violations: tuple[Broken, ...] = ()
    problem: Problem | None = None
    steps: int = 0
    dtype: str = ""
    device: str = ""
    still: bool = False  # the code ran and changed nothing
    counted: bool = False  # the case has limits on what is counted
    remark: str = ""  # what is said about a quiz's answer
    score: float | None = None  # something measured that a leaderboard can rank; more is better

    @property
    def broken(self) -> frozenset[str]:
        """Names of the broken rules."""
        return frozenset(name for name, _, _ in self.violations)


@dataclass(frozen=True)
class GroupVerdict:
    name: str
    passed: bool
    earned: float
    points: float


@dataclass(frozen=True, eq=False)
class Verdict:
    """What `check` renders and grading records. `decided` is False when only visible cases were looked at."""

    exercise_id: str
    title: str
    decided: bool
    cases: tuple[CaseVerdict, ...]
    groups: tuple[GroupVerdict, ...]
    compares: str = ""
    quiz: bool = False
    seconds: float = 0.0
    printed_lines: int = 0

    @property
    def passed(self) -> bool:
        return all(group.passed for group in self.groups)

    @property
    def earned(self) -> float:
        """Points, a plain float that never exceeds the exercise's."""
        return float(min(sum(group.earned for group in self.groups), self.points))

    @property
    def points(self) -> float:
        return float(sum(group.points for group in self.groups))

    @property
    def score(self) -> float | None:
        """The mean of the cases' scores: of hidden ones where those have any."""
        scored = [case for case in self.cases if case.score is not None]
        scores = [case.score for case in scored if case.hidden] or [case.score for case in scored]
        return float(np.mean([score for score in scores if score is not None])) if scores else None

    @property
    def failed_cases(self) -> tuple[CaseVerdict, ...]:
        return tuple(case for case in self.cases if not case.passed)

    @property
    def unusable(self) -> bool:
        """What was handed in cannot be run at all: the wrong kind of object, another signature, no answer."""
        return all(case.problem is not None and case.problem.kind == "protocol" for case in self.cases)

    @property
    def not_started(self) -> bool:
        return any(case.problem is not None and case.problem.kind == "not_started" for case in self.cases)


# --- code -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def expected_evidence(exercise: CodeExercise, case: Case) -> Evidence:
    """The reference on one case. Raises RuntimeError when the reference itself fails (a mistake of the course)."""
    evidence = gather(case, exercise.reference())
    if evidence.problem is not None:
        raise RuntimeError(f"{exercise.id}: the reference fails on {case.name!r}: {evidence.problem}")
    return evidence


@lru_cache(maxsize=256)
def visible_cases(exercise: CodeExercise) -> tuple[Case, ...]:
    return exercise.visible()


@lru_cache(maxsize=64)
def hidden_cases(exercise: CodeExercise, seed: int) -> tuple[Case, ...]:
    return exercise.draw_cases(seed)


def judge(exercise: CodeExercise, cases: Sequence[Case], evidence: Sequence[Evidence], decided: bool) -> Verdict:
    """Compare each case's evidence with the reference's; a group earns its points when all its cases pass."""
    verdicts = tuple(
        judge_case(case, found, expected_evidence(exercise, case)) for case, found in zip(cases, evidence, strict=True)
    )
    return Verdict(
        exercise_id=exercise.id,
        title=exercise.title,
        decided=decided,
        cases=verdicts,
        groups=_groups(exercise.groups, verdicts),
        compares=exercise.compares,
        seconds=sum(found.seconds for found in evidence),
        printed_lines=sum(found.printed_lines for found in evidence),
    )


def _groups(points: Mapping[str, float], cases: Iterable[CaseVerdict]) -> tuple[GroupVerdict, ...]:
    passed = dict.fromkeys(points, True)
    seen = set()
    for case in cases:
        passed[case.group] = passed[case.group] and case.passed
        seen.add(case.group)
    return tuple(
        GroupVerdict(name, passed[name] and name in seen, worth if passed[name] and name in seen else 0.0, worth)
        for name, worth in points.items()
    )


def judge_case(case: Case, found: Evidence, expected: Evidence) -> CaseVerdict:
    """One case: arrays within the tolerance, facts equal, identical pairs identical, counts within their limits."""
    expected = _without(expected, case.own)
    rules = _facts(found, expected)  # also of a run that raised later: they may say why
    if found.problem is None:
        over = _limits(case, found)
        # a run over its limits is cut short: what it therefore did not record is no finding of its own
        shapes = _shapes(case, found, expected, cut_short=bool(over), told=bool(rules))
        rules += [*_identical(case, found), *over, *shapes]
        rules += _scores(case, found)
    deviation = max_deviation(found, expected)
    outside = deviation > case.tolerance
    departure = first_departure(found, expected, case.tolerance) if outside else None
    return CaseVerdict(
        name=case.name,
        group=case.group,
        hidden=case.hidden,
        passed=found.problem is None and not outside and not rules,
        deviation=deviation,
        departure=departure,
        trace=_trace(departure, found, expected),
        violations=tuple(rules),
        problem=found.problem,
        steps=max((len(expected.arrays[name]) - 1 for name in expected.stepped), default=0),
        still=_is_still(found, expected),
        counted=bool(case.limits),
        dtype=case.inputs.get("dtype", "float64"),
        device="a pretend GPU" if case.collector == "launches" else _DEVICES.get(case.inputs.get("device", "cpu"), ""),
        score=_reached(case, found),
    )


def _is_still(found: Evidence, expected: Evidence) -> bool:
    rows = [found.arrays[name] for name in expected.stepped if name in found.arrays]
    return bool(rows) and found.problem is None and all(len(array) > 1 and (array == array[0]).all() for array in rows)


_DEVICES = {"cpu": "the CPU", "pretend": "a pretend GPU", "cuda": "the GPU"}


def _without(expected: Evidence, names: tuple[str, ...]) -> Evidence:
    if not names:
        return expected
    arrays = {name: array for name, array in expected.arrays.items() if not name.startswith(names)}
    return replace(expected, arrays=arrays, stepped=expected.stepped & arrays.keys())


def _shapes(case: Case, found: Evidence, expected: Evidence, cut_short: bool, told: bool) -> list[Broken]:
    """`told`: a broken rule speaks of the run already, and explains one that is only shorter or longer."""
    broken: list[Broken] = []
    for name, array in expected.arrays.items():
        got = found.arrays.get(name)
        stepped = name in expected.stepped
        if got is None:
            if not cut_short and not name.startswith(case.may_lack or ("\0",)):
                broken.append((name, f"{name} is missing", ()))
        elif got.shape != array.shape:
            want, have = (a.shape[1:] if stepped else a.shape for a in (array, got))
            if want == have:
                if not told:
                    text = f"{name} was recorded {len(got)} times; it should be {len(array)} times"
                    broken.append((name, text, ()))
                continue
            broken.append((name, f"{name} has shape {tuple(have)}; it should be {tuple(want)}", ()))
    return broken


def _facts(found: Evidence, expected: Evidence) -> list[Broken]:
    return [
        (name, f"{name}: {found.facts[name]}; it should be {value}.", ())
        for name, value in expected.facts.items()
        if name in found.facts and isinstance(value, str) and found.facts[name] != value
    ]


def _identical(case: Case, found: Evidence) -> list[Broken]:
    broken: list[Broken] = []
    for name, other in case.identical:
        one, two = found.arrays.get(name), found.arrays.get(other)
        if one is None or two is None:
            continue
        if np.array_equal(one, two, equal_nan=True):
            if name in found.stepped and (one == one[0]).all():
                broken.append((f"{name} moves", f"{name} does not move at all", ()))
            continue
        step = ""
        if one.shape == two.shape and name in found.stepped:
            differs = (one != two).reshape(len(one), -1).any(axis=1)
            step = f", first in step {int(np.argmax(differs))}"
        broken.append((f"{name} = {other}", f"{name} is not identical to {other}{step}", ()))
    return broken


def _limits(case: Case, found: Evidence) -> list[Broken]:
    broken: list[Broken] = []
    for limit in case.limits:
        count = found.facts.get(limit.fact)
        if isinstance(count, (int, float)) and count > limit.at_most:
            where = found.facts.get(f"{limit.fact}: where", [])
            lines = tuple(where) if isinstance(where, list) else ()
            text = limit.says.format(count=f"{count:g}", at_most=f"{limit.at_most:g}")
            broken.append((limit.fact, text, lines))
    return broken


def _scores(case: Case, found: Evidence) -> list[Broken]:
    """Arrays with too few right entries. The rule's name carries the symptom, so that a diagnosis can tell them apart."""
    broken: list[Broken] = []
    for score in case.scores:
        share = _share(score, found)
        if share is None:
            broken.append((score.array, f"{score.array}: one for each of the {len(score.labels)} labels is needed", ()))
            continue
        if share < score.at_least:
            symptom = found.facts.get(score.symptom) or ("guessing" if share < score.guessing else "")
            text = score.says.format(share=f"{100 * share:.1f} %", at_least=f"{100 * score.at_least:.0f} %")
            broken.append((f"{score.array} ({symptom})" if symptom else score.array, text, ()))
    return broken


def _share(score: Score, found: Evidence) -> float | None:
    """The share of right entries; None when there are fewer than labels."""
    answers = found.arrays.get(score.array)
    if answers is None or answers.ndim != 1 or len(answers) < len(score.labels):
        return None
    return float(np.mean(answers[: len(score.labels)] == score.labels))


def _reached(case: Case, found: Evidence) -> float | None:
    """What a run that kept to its limits has reached in the case's first score; None where there is none."""
    if not case.scores or found.problem is not None or _limits(case, found):
        return None
    return _share(case.scores[0], found)


# --- comparing arrays -----------------------------------------------------------------------------------------------


def max_deviation(found: Evidence, expected: Evidence) -> float:
    """The largest deviation over all arrays both have with the same shape (see the module's docstring)."""
    return max(
        (
            deviation(found.arrays[name], array, name in expected.stepped)
            for name, array in expected.arrays.items()
            if name in found.arrays and found.arrays[name].shape == array.shape
        ),
        default=0.0,
    )


def deviation(got: Array, expected: Array, stepped: bool) -> float:
    difference = _difference(got, expected)
    worst = float(difference.max(initial=0.0))
    return worst / _scale(got, expected, stepped) if np.isfinite(worst) and worst > 0 else worst


def _difference(got: Array, expected: Array) -> Array:
    """|got − expected|; 0 where both are the same infinity or both nan, inf where only one is finite."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(got.astype(_wide(got)) - expected.astype(_wide(expected)))
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    return np.where(same, 0.0, np.where(np.isfinite(difference), difference, INFINITE))


def _wide(array: Array) -> type:
    return np.complex128 if np.iscomplexobj(array) else np.float64


def _scale(got: Array, expected: Array, stepped: bool) -> float:
    return max(displacement(got, stepped), displacement(expected, stepped), 1e-300)


def _scale_of_place(got: Array, expected: Array, stepped: bool) -> float:
    """By which the first departure is looked for: what explodes later does not hide where it began."""
    size = max(displacement(expected, stepped), displacement(expected, False))
    return size if 0 < size < 1e-6 * displacement(got, stepped) else _scale(got, expected, stepped)


def displacement(array: Array, stepped: bool) -> float:
    """The largest finite distance from the start (trajectories) or from 0 (single arrays)."""
    moved = array.astype(_wide(array)) - (array[0] if stepped else 0.0)
    return float(np.abs(moved[np.isfinite(moved)]).max(initial=0.0))


def first_departure(found: Evidence, expected: Evidence, tolerance: float) -> Departure | None:
    """The earliest step at which any array is outside the tolerance; in that step, the array that is most.

    Trajectories come before arrays without steps: they can be drawn.
    """
    best: tuple[float, float, Departure] | None = None
    for name, array in expected.arrays.items():
        got = found.arrays.get(name)
        if got is None or got.shape != array.shape:
            continue
        stepped = name in expected.stepped
        with np.errstate(over="ignore"):
            relative = _difference(got, array) / _scale_of_place(got, array, stepped)
        outside = relative > tolerance
        if not outside.any():
            continue
        step = int(np.argmax(outside.reshape(len(outside), -1).any(axis=1))) if stepped else 0
        here = relative[step] if stepped else relative
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(here)), here.shape))
        place: tuple[int, ...] = (step, *index) if stepped else index
        ratio = _shared_ratio(got[step] - got[0], array[step] - array[0]) if stepped and step else None
        samples = expected.facts.get(f"{name}: steps")
        departure = Departure(
            name,
            step if stepped else None,
            index,
            _number(array[place]),
            _number(got[place]),
            ratio,
            from_zero=stepped and not array[0].any(),
            sampled=f"{int(samples.split()[index[0]]):,}" if isinstance(samples, str) else "",
        )
        rank = (step if stepped else INFINITE, -float(here[index]))
        if best is None or rank < best[:2]:
            best = (*rank, departure)
    return best[2] if best else None


def _shared_ratio(got: Array, expected: Array) -> float | None:
    """got / expected where it is the same for all elements within 1 %; None otherwise (and for no move at all)."""
    moved = np.abs(expected) > 1e-12
    if not moved.any() or not np.isfinite(got).all():
        return None
    ratios = np.real(got[moved] / expected[moved])
    middle = float(np.median(ratios))
    return middle if np.abs(ratios - middle).max() <= 0.01 * abs(middle) else None


def _number(value: Any) -> float:
    return float(value.real) if np.iscomplexobj(value) else float(value)


def _trace(departure: Departure | None, found: Evidence, expected: Evidence) -> Trace | None:
    if departure is None or departure.step is None:
        return None
    place: tuple[Any, ...] = (slice(None), *departure.index)
    name = departure.quantity
    return Trace(name, departure.index, expected.arrays[name][place], found.arrays[name][place])


# --- quizzes --------------------------------------------------------------------------------------------------------


def quiz_case(exercise: QuizExercise) -> Case:
    """The case that writes down the answers (`collectors.answer`)."""
    parts = [
        {"name": part.name, "options": [] if part.is_number else [str(option) for option in part.feedback]}
        for part in exercise.parts
    ]
    return Case("your answer", "answer", "answer", {"name": exercise.objects[0], "parts": parts})


def judge_quiz(exercise: QuizExercise, found: Evidence, reveal: bool) -> Verdict:
    """Without `reveal` an answer only has to be one of the possible ones; with it, the key decides each part."""
    cases = tuple(_judge_part(part, group, found, reveal) for part, group in zip_parts(exercise))
    return Verdict(
        exercise_id=exercise.id,
        title=exercise.title,
        decided=reveal,
        cases=cases,
        groups=_groups(exercise.groups, cases),
        quiz=True,
        seconds=found.seconds,
    )


def zip_parts(exercise: QuizExercise) -> list[tuple[Part, str]]:
    """Each part with its points group."""
    return list(zip(exercise.parts, exercise.groups, strict=True))


def _judge_part(part: Part, group: str, found: Evidence, reveal: bool) -> CaseVerdict:
    if found.problem is not None:
        return CaseVerdict(part.name, group, False, False, problem=found.problem)
    answer = found.facts[part.name]
    if not reveal:
        return CaseVerdict(part.name, group, False, True)
    right, feedback = mark_answer(part, answer)
    return CaseVerdict(part.name, group, False, right, remark=feedback)


def mark_answer(part: Part, answer: Fact) -> tuple[bool, str]:
    """Is the answer right, and what is said about it?"""
    if not part.is_number or not isinstance(answer, (int, float)):
        return answer == part.key, part.feedback.get(str(answer), "")
    numbers = [value for value in part.feedback if isinstance(value, float)]
    nearest = min(numbers, key=lambda value: abs(value - answer))
    close = abs(nearest - answer) <= part.tolerance * max(abs(nearest), 1e-300)
    if close:
        return nearest == part.key, part.feedback[nearest]
    return False, part.feedback.get("other", "")
