"""Which misconception does a run match?

Every known wrong variant is run through the same cases as the student's code. A variant explains a failed case when
both agree there (within the case's tolerance, the same rules broken, the same kind of exception) while the reference
does not; it is ruled out when it fails a case that the student passes. Order: one variant, then pairs of variants
(two mistakes at once), then only the first departure is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from autograder.evidence import Array, Evidence, Problem, gather
from autograder.exercise import Case, CodeExercise, Misconception
from autograder.verdict import CaseVerdict, Verdict, deviation, displacement, expected_evidence, judge, judge_case

Objects = Callable[[], tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """`misconceptions`: one; several that these cases cannot tell apart; or, when `together`, two at once."""

    misconceptions: tuple[Misconception, ...]
    together: bool
    explains: tuple[str, ...]  # names of the failed cases that the variant explains
    unexplained: tuple[str, ...]  # failed cases that have another reason
    equal_in: tuple[str, ...]  # cases in which the variant equals the reference

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(misconception.id for misconception in self.misconceptions)


@dataclass(frozen=True, eq=False)
class _Match:
    explained: tuple[int, ...]
    in_full: bool  # also the arrays that a right answer need not have agree


def diagnose(
    exercise: CodeExercise, cases: Sequence[Case], evidence: Sequence[Evidence], verdict: Verdict
) -> Diagnosis | None:
    """Name what went wrong, or None: the verdict passed, the work is not started, or nothing known matches."""
    if verdict.passed or verdict.not_started:
        return None
    observed = [
        _Observed(case, found, judged) for case, found, judged in zip(cases, evidence, verdict.cases, strict=True)
    ]
    observed.sort(key=lambda one: _cost(one.case))
    failed = [i for i, one in enumerate(observed) if not one.verdict.passed]
    # One mistake usually shows in the first failed case, and looking there alone is quick. If it leaves other failures
    # unexplained, or if nothing matches, it may be two mistakes; if no pair matches either, a later failure may still
    # have a known reason.
    # A name has to explain most failures, so it explains one of the first half of them.
    for number, start in enumerate(failed[: (len(failed) + 1) // 2]):
        single = _single(exercise, observed, start)
        if single is not None and not single.unexplained:
            return single
        if single is None and all(one.verdict.still for one in observed if not one.verdict.passed):
            return None  # nothing was changed: two faults that cancel would only mislead
        pair = _pair(exercise, observed, start, single) if number == 0 or single else None
        if pair is not None and (single is None or len(pair.explains) > len(single.explains)):
            return pair
        if single is not None and len(single.explains) > _against(single, observed):
            return single  # a name that explains the minority of the failures is more likely to be wrong
    return None


def diagnose_first(
    exercise: CodeExercise,
    cases: Sequence[Case],
    evidence: Sequence[Evidence],
    verdict: Verdict,
    first: Callable[[Case], bool],
) -> Diagnosis | None:
    """A mistake is looked for in the cases that `first` picks, and in all of them where those pass.

    There the wrong variants' runs are the same for everybody, on every machine.
    """
    if verdict.passed:
        return None
    picked = [i for i, case in enumerate(cases) if first(case)]
    some, found = [cases[i] for i in picked], [evidence[i] for i in picked]
    among = judge(exercise, some, found, decided=True)
    # (nothing picked fails, too: a group without cases is not passed)
    if not picked or all(case.passed for case in among.cases):
        return diagnose(exercise, cases, evidence, verdict)
    return diagnose(exercise, some, found, among)


def _against(single: Diagnosis, observed: Sequence[_Observed]) -> int:
    """How many failures speak against a name. An exception does not: it says by itself what is wrong there."""
    raised = {one.case.name for one in observed if one.found.problem is not None and one.found.problem.kind == "raised"}
    return len(set(single.unexplained) - raised)


def _single(exercise: CodeExercise, observed: Sequence[_Observed], start: int) -> Diagnosis | None:
    """The misconceptions that explain the case `start` and, among those, the most cases."""
    matches = [
        (misconception, objects, match)
        for misconception in exercise.misconceptions
        for objects in (misconception.objects, *misconception.also)
        if (misconception.by_rules or _begins_alike(exercise, observed[start], objects, alone=False))
        and _agrees_in(exercise, observed[start], objects, misconception.by_rules)
        and (match := _match(exercise, objects, observed, misconception.by_rules))
    ]
    if not matches:
        return None
    best = max(_rank(match) for _, _, match in matches)
    kept = [(m, objects, match) for m, objects, match in matches if _rank(match) == best]
    named = tuple(dict.fromkeys(m for m, _, _ in kept))
    return _diagnosis(exercise, named, False, kept[0][1], kept[0][2], observed)


def _rank(match: _Match) -> tuple[int, bool]:
    return len(match.explained), match.in_full


@dataclass(frozen=True, eq=False)
class _Observed:
    case: Case
    found: Evidence
    verdict: CaseVerdict


def _cost(case: Case) -> tuple[bool, bool]:
    """Cheap and sharp cases first: float64 on the CPU before low precision, before counted devices."""
    inputs = case.inputs
    return inputs.get("device", "cpu") != "cpu" or "launches" in case.collector, inputs.get(
        "dtype", "float64"
    ) != "float64"


def _agrees_in(exercise: CodeExercise, one: _Observed, objects: Objects, by_rules: bool = False) -> bool:
    """Does a variant fail this failed case in the same way?"""
    variant, judged = judged_variant(exercise, one.case, objects)
    return agrees(one.case, one.found, one.verdict, variant, judged, by_rules=by_rules)


def _match(
    exercise: CodeExercise, objects: Objects, observed: Sequence[_Observed], by_rules: bool = False
) -> _Match | None:
    """How well a variant agrees with what was observed; None when it is ruled out or explains nothing."""
    explained, in_full = [], True
    for i, one in enumerate(observed):
        variant, judged = judged_variant(exercise, one.case, objects)
        # agreement decides, not passing: close to a tolerance two runs that agree can lie on either side of it
        alike = agrees(one.case, one.found, one.verdict, variant, judged, by_rules=by_rules)
        if one.verdict.passed:
            # a threshold that was reached says little: with luck a run with the same symptom reaches a low one
            reached = by_rules and bool(one.case.scores)
            if not judged.passed and not alike and not reached:
                return None
        elif alike:
            explained.append(i)
            in_full = in_full and agrees(
                one.case, one.found, one.verdict, variant, judged, in_full=True, by_rules=by_rules
            )
    return _Match(tuple(explained), in_full) if explained else None


@lru_cache(maxsize=16384)
def variant_evidence(exercise: CodeExercise, case: Case, objects: Objects) -> Evidence:
    """A wrong variant's evidence on a case; computed once."""
    return gather(case, objects())


@lru_cache(maxsize=16384)
def judged_variant(exercise: CodeExercise, case: Case, objects: Objects) -> tuple[Evidence, CaseVerdict]:
    """A wrong variant's evidence and what is made of it. Visible cases are everybody's: judged once in a process."""
    evidence = variant_evidence(exercise, case, objects)
    return evidence, judge_case(case, evidence, expected_evidence(exercise, case))


def agrees(
    case: Case,
    found: Evidence,
    judged: CaseVerdict,
    variant: Evidence,
    variant_judged: CaseVerdict,
    *,
    in_full: bool = False,
    by_rules: bool = False,
) -> bool:
    """Do two runs look the same in this case?"""
    # a run that ended in an exception shows only the rules it broke until then
    until_then = found.problem is not None and judged.broken < variant_judged.broken
    if by_rules and judged.broken and (until_then or judged.broken == variant_judged.broken):
        return True
    if found.problem is not None or variant.problem is not None:
        same_rules = bool(judged.broken) and judged.broken == variant_judged.broken
        return same_rules or _same_problem(found.problem, variant.problem)
    skip = case.may_lack if case.may_lack and not in_full else ("\0",)
    names = [name for name in variant.arrays if name in found.arrays and not name.startswith(skip)]
    if any(found.arrays[n].shape != variant.arrays[n].shape for n in names):
        return False
    if any(deviation(found.arrays[n], variant.arrays[n], n in variant.stepped) > case.tolerance for n in names):
        return False
    if not names and not judged.broken:
        return False  # nothing was compared: that is no agreement
    rules = judged.broken == variant_judged.broken
    return rules or _only_optional(case, judged.broken ^ variant_judged.broken)


def _only_optional(case: Case, names: frozenset[str]) -> bool:
    return bool(case.may_lack) and all(name.startswith(case.may_lack) for name in names)


def _same_problem(one: Problem | None, other: Problem | None) -> bool:
    """The same kind of exception with the same message, numbers aside."""
    if one is None or other is None or (one.kind, one.type) != (other.kind, other.type):
        return False
    if one.type == "ZeroDivisionError":  # Python words it differently for ints, floats and powers
        return True
    if one.frames and one.frames[-1].source.startswith("raise "):  # the words are the student's own
        return True
    return _wording(one.message) == _wording(other.message)


def _wording(message: str) -> str:
    return re.sub(r"[-\d.]+", "#", message)


def _diagnosis(
    exercise: CodeExercise,
    named: tuple[Misconception, ...],
    together: bool,
    objects: Objects,
    match: _Match,
    observed: Sequence[_Observed],
) -> Diagnosis:
    explained = {observed[i].case.name for i in match.explained}
    # where only counts are looked at, equal numbers mean nothing
    passed = [one.case for one in observed if one.verdict.passed and not one.case.own]
    equal = [case.name for case in passed if judged_variant(exercise, case, objects)[1].passed]
    failed = [one.case.name for one in observed if not one.verdict.passed]
    return Diagnosis(
        misconceptions=named,
        together=together,
        explains=tuple(name for name in failed if name in explained),
        unexplained=tuple(name for name in failed if name not in explained),
        equal_in=tuple(equal),
    )


# --- two mistakes at once -------------------------------------------------------------------------------------------


def _pair(
    exercise: CodeExercise, observed: Sequence[_Observed], start: int, single: Diagnosis | None
) -> Diagnosis | None:
    """The two misconceptions that explain the case `start` and the most others; one of them is `single`, if given."""
    first = observed[start]
    if exercise.combine is None or first.found.problem is not None or _cost(first.case)[0]:
        return None
    found = _best_pair(exercise, observed, first, single, alone=True)
    if found is not None and not found.unexplained:
        return found
    # a fault between parameters (one state for all, say) does not show in the first one alone
    both = (found, _best_pair(exercise, observed, first, single, alone=False))
    return max((one for one in both if one is not None), key=lambda one: len(one.explains), default=None)


def _best_pair(
    exercise: CodeExercise, observed: Sequence[_Observed], first: _Observed, single: Diagnosis | None, alone: bool
) -> Diagnosis | None:
    """`alone`: of all pairs, those whose first parameter begins alike; else of pairs that cannot be told by it alone."""
    matches = [
        (pair, objects, match)
        for pair, objects in compatible_pairs(exercise)
        if (single is None or set(pair) & set(single.misconceptions))
        and (alone or not all(_shows_alone(exercise, first.case, one) for one in pair))
        and _begins_alike(exercise, first, objects, alone)
        and _agrees_in(exercise, first, objects)
        and (match := _match(exercise, objects, observed))
    ]
    if not matches:
        return None
    pair, objects, match = max(matches, key=lambda found: _rank(found[2]))
    return _diagnosis(exercise, pair, True, objects, match, observed)


def _shows_alone(exercise: CodeExercise, case: Case, misconception: Misconception) -> bool:
    """Does it show in the first steps of the first parameter, without the others?"""
    short = _beginning(case, alone=True)
    return short is None or not judged_variant(exercise, short, misconception.objects)[1].passed


def _begins_alike(exercise: CodeExercise, one: _Observed, objects: Objects, alone: bool) -> bool:
    """Can a variant agree with this run? Its first two steps tell for a part of the cost, mostly that it cannot.

    `alone`: only the first parameter is looked at, without the others.
    """
    short = _beginning(one.case, alone)
    if short is None or one.found.problem is not None:
        return True
    variant = variant_evidence(exercise, short, objects)
    return variant.problem is not None or all(
        _starts_with(one.found.arrays[name], rows, one.case.tolerance)
        for name, rows in variant.arrays.items()
        if name in variant.stepped and name in one.found.arrays and not name.startswith((*short.may_lack, "\0"))
    )


def _starts_with(array: Array, rows: Array, tolerance: float) -> bool:
    """Are these its first rows, by the measure that the whole will be held to?"""
    if array.shape[1:] != rows.shape[1:]:
        return True  # not compared later either
    difference = np.abs(array[: len(rows)] - rows)
    return not (difference > tolerance * max(displacement(array, True), displacement(rows, True))).any()


@lru_cache(maxsize=256)
def _beginning(case: Case, alone: bool) -> Case | None:
    """The same case two steps long; None where that cannot be had. `alone`: with its first parameter only."""
    inputs = case.inputs
    steps = {"optimizer": "grads", "function": "calls"}.get(case.collector, "")
    if not steps or len(inputs[steps]) <= 2:
        return None
    cut = {steps: inputs[steps][:2]}
    if alone and "params" in inputs and steps == "grads":
        cut |= {key: inputs[key][:1] for key in ("params", "group_of")}
        cut["grads"] = [row[:1] for row in cut["grads"]]
    return replace(case, inputs={**inputs, **cut})


@lru_cache(maxsize=64)
def compatible_pairs(exercise: CodeExercise) -> tuple[tuple[tuple[Misconception, Misconception], Objects], ...]:
    """All pairs of misconceptions whose faults do not touch the same part of the update."""
    combine = exercise.combine
    assert combine is not None

    def build(faults: dict[str, Any]) -> Objects:
        return lambda: combine(faults)

    return tuple(
        ((one, two), build({**one.faults, **two.faults}))
        for one, two in combinations(exercise.misconceptions, 2)
        if one.faults and two.faults and not one.faults.keys() & two.faults.keys()
    )


# --- exceptions of the student's code -------------------------------------------------------------------------------

_ADVICE = (
    (
        r"'NoneType' object is not callable",
        "Something that is None is called: closure is None here, and is not used.",
    ),
    (
        r"leaf Variable that requires grad is being used in an in-place",
        "Parameters are changed without autograd watching: put `@torch.no_grad()` above the method.",
    ),
    (
        r"found at least two devices",
        "Make new tensors where the parameter lives: `torch.zeros_like(p)` takes its device and dtype.",
    ),
    (
        r"Tensor list must have at least one tensor",
        "In this step no parameter of the group has a gradient: go on to the next group when the list is empty.",
    ),
    (
        r"'NoneType' object has no attribute 'zero_'",
        "`.grad` is None until the first backward. `model.zero_grad()` clears it in both cases, and so does `p.grad = None`.",
    ),
    (
        r"NoneType",
        "Is something None here? `p.grad` is None for a parameter without a gradient: leave it alone in that step.",
    ),
    (
        r"division by zero|ZeroDivisionError",
        "A divisor is 0 in this case.",
    ),
    (
        r"too many indices for tensor",
        "A tuple as an index has one entry per dimension: G[(0, 2)] means G[0, 2]. A list picks rows: G[list(i)].",
    ),
    (
        r"expected both vectors to have same dtype|expected m1 and m2 to have the same dtype",
        "`@` needs one dtype on both sides: turn the integers into floats first, n.to(x.dtype).",
    ),
    (
        r"matrix_norm: dim must be a 2-tuple",
        "`norm(dim=…)` takes one or two dimensions. The norm of each filter is `t.flatten(1).norm(dim=1)`.",
    ),
    (
        r"^'?(exp_avg|exp_avg_sq|step|master)'?$",
        "The state is empty before a parameter's first step: make it then.",
    ),
    (
        r"unexpected keyword argument",
        "Keep the signature of the stub: the check passes the hyperparameters by these names.",
    ),
)


#: A line that divides by what is left of a power of β.
_STEP_POWER = re.compile(r"beta|bias|\*\*\s*\(?(t|step)\b")


#: Names without which a line has nothing to do with parameters and their gradients.
_OPTIMIZER = re.compile(r"step|grad|param|group|state|closure|\bself\b|\bp\b")


def _may_be_an_optimizer(problem: Problem) -> bool:
    return not problem.frames or any(_OPTIMIZER.search(f"{f.function} {f.source}") for f in problem.frames)


def advice(problem: Problem) -> str:
    """One line on what usually causes such an exception, or ""."""
    if problem.type == "KeyError" and any(frame.function == "load_state_dict" for frame in problem.frames):
        return "Load with super().load_state_dict(…) first. A parameter that never had a gradient has no state."
    text = f"{problem.type}: {problem.message}"
    if problem.type == "ZeroDivisionError" and any(_STEP_POWER.search(frame.source) for frame in problem.frames):
        return "A divisor is 0 in this case. One such as 1 − β**t is 0 for t = 0: count steps from 1."
    if "NoneType" in problem.message and not _may_be_an_optimizer(problem):
        return "Something is None here that should have a value."
    for pattern, words in _ADVICE:
        if re.search(pattern, problem.message) or re.search(pattern, text):
            return words
    return ""
