"""What a notebook calls: `check`, `hint`, `done`, `material`, `solution`.

In a notebook cases, evidence and verdict meet in one process. Under nbgrader's autograde the same cells run with
`NBGRADER_EXECUTION=autograde`: failing visible cases then do not raise, and `cases="hidden"` returns the points.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any, Literal

import torch

from autograder import learner
from autograder.devices import Device, counted, moved
from autograder.diagnose import Diagnosis, diagnose_first
from autograder.evidence import Evidence, collecting, gather
from autograder.exercise import REGISTRY, Case, CodeExercise, Exercise, QuizExercise, UnknownExercise
from autograder.manifest import manifest
from autograder.render import BLUE, MIME, ORANGE, as_data, as_html, as_text, headline, panel
from autograder.variants import own
from autograder.verdict import (
    Verdict,
    hidden_cases,
    judge,
    judge_quiz,
    mark_answer,
    quiz_case,
    visible_cases,
    zip_parts,
)
from autograder.worked import ENOUGH_ATTEMPTS, worked

#: Exercises whose check passed in this session, and how often each has failed in it.
_PASSED: set[str] = set()
_FAILED: Counter[str] = Counter()


class CheckFailed(AssertionError):
    """A check did not pass. Its traceback is the message alone: the verdict stands above it."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines in place of frames of the grader."""
        return str(self).splitlines()


def check(exercise_id: str, *objects: Any, cases: Literal["visible", "hidden"] = "visible") -> float | None:
    """Check your work on an exercise: compares what it does with the reference, and says what is wrong.

    Args:
        exercise_id: such as "adam.step".
        objects: what the exercise asks for (a function, a class, an answer), in the order of the given check cell.
        cases: "visible" are the cases you can run; "hidden" adds cases with other numbers and returns the points
            earned as a plain float, which is how nbgrader gives partial credit.

    Raises:
        CheckFailed: a visible case fails (not while nbgrader grades), or the call itself is wrong.
    """
    exercise = _find(exercise_id)
    _count_objects(exercise, objects)
    hidden = cases == "hidden"
    if cases not in ("visible", "hidden"):
        raise CheckFailed(f'cases should be "visible" or "hidden", not {cases!r}')
    if isinstance(exercise, QuizExercise):
        return _check_quiz(exercise, objects, hidden)
    assert isinstance(exercise, CodeExercise)
    _refuse_borrowed(exercise, objects)
    with collecting():
        verdict, diagnosis = _decide(exercise, objects, hidden)
    _note(exercise, verdict, diagnosis)
    if not hidden and _execution() == "autograde":
        show_briefly(verdict)  # the hidden cases follow in the same cell, and their verdict tells everything
    else:
        show(verdict, diagnosis, hint=bool(exercise.hints))
    return _conclude(verdict, diagnosis, hidden)


def _find(exercise_id: str) -> Exercise:
    try:
        exercise = own(REGISTRY[exercise_id])
    except UnknownExercise as error:
        raise CheckFailed(str(error)) from None
    if exercise.kind == "written":
        raise CheckFailed(f"{exercise.id} is read and graded by hand: there is nothing to check")
    return exercise


def _count_objects(exercise: Exercise, objects: Sequence[Any]) -> None:
    assert isinstance(exercise, (CodeExercise, QuizExercise))
    if len(objects) != len(exercise.objects):
        usage = ", ".join([f'"{exercise.id}"', *exercise.objects])
        raise CheckFailed(f"write check({usage}): it needs {_objects(len(exercise.objects))}, not {len(objects)}")


def _refuse_borrowed(exercise: CodeExercise, objects: Sequence[Any]) -> None:
    """The exercise is to write what torch has: torch's own class, or a subclass of it, is no answer."""
    for given in objects:
        for base in getattr(given, "__mro__", ()):
            short, full = f"torch.optim.{base.__name__}", f"{base.__module__}.{base.__name__}"
            name = full if full in exercise.forbidden else short
            if base.__module__.startswith("torch.optim") and name in exercise.forbidden:
                borrowed = f"{given.__name__} is" if given is base else f"{given.__name__} builds on"
                raise CheckFailed(f"{borrowed} {name}, the reference itself: write the update yourself")


def _objects(number: int) -> str:
    return f"{number} object{'' if number == 1 else 's'}"


def _decide(exercise: CodeExercise, objects: Sequence[Any], hidden: bool) -> tuple[Verdict, Diagnosis | None]:
    """Cases → evidence → verdict → diagnosis."""
    cases: tuple[Case, ...] = visible_cases(exercise)
    if hidden:
        cases += hidden_cases(exercise, exercise.public_seed)
    elif torch.cuda.is_available():
        cases += twins(exercise, "cuda")
    from autograder.grading.references import refused  # here: importing a notebook needs none of it

    with refused(_left_out(exercise.notebook)):  # as when the notebook is graded
        evidence = _evidence(cases, objects)
    verdict = judge(exercise, cases, evidence, decided=hidden)
    at_home = visible_cases(exercise)
    return verdict, diagnose_first(exercise, cases, evidence, verdict, lambda case: hidden or case in at_home)


def _evidence(cases: Sequence[Case], objects: Sequence[Any]) -> list[Evidence]:
    found: list[Evidence] = []
    for case in cases:
        found.append(gather(case, objects))
        problem = found[-1].problem
        if problem is not None and problem.kind == "not_started":
            return found + [found[-1]] * (len(cases) - len(found))
    return found


@cache
def _left_out(notebook: str) -> tuple[str, ...]:
    """What no exercise of a notebook may use: it is graded in one process."""
    exercises = (one for one in REGISTRY.values() if one.notebook == notebook and isinstance(one, CodeExercise))
    return tuple(sorted({name for one in exercises for name in one.forbidden}))


@cache
def twins(exercise: CodeExercise, device: Device) -> tuple[Case, ...]:
    """The visible CPU cases once more on a device, for whoever has it. Marks never depend on them.

    Only where the exercise asks for code that follows its tensors' device: functions on tensors, optimizers, and
    whatever is counted on the pretend GPU as well.
    """
    visible = visible_cases(exercise)
    asked = any(map(counted, visible))
    chosen = (case for case in visible if asked or case.collector in ("function", "optimizer"))
    return tuple(twin for case in chosen if (twin := moved(case, device)))


def _note(exercise: Exercise, verdict: Verdict, diagnosis: Diagnosis | None) -> None:
    """Remember the result for `done` and the progress panel."""
    if verdict.passed:
        _PASSED.add(exercise.id)
    else:
        _PASSED.discard(exercise.id)
        _FAILED[exercise.id] += not verdict.not_started
    if verdict.not_started or not learner.enabled():
        return
    entry = learner.load().get(exercise.id, {})
    met = dict(entry.get("misconceptions", {}))
    for name in diagnosis.ids if diagnosis else ():
        met[name] = met.get(name, 0) + 1
    learner.note(
        exercise.id,
        attempts=entry.get("attempts", 0) + 1,
        passed=bool(entry.get("passed") or verdict.passed),
        last=verdict.passed,
        misconceptions=met,
    )


def _conclude(verdict: Verdict, diagnosis: Diagnosis | None, hidden: bool) -> float | None:
    if hidden:
        return float(verdict.earned)
    if verdict.passed or _execution() == "autograde":
        return None
    if _execution() == "validate":  # nbgrader's Validate shows the traceback and nothing else
        raise CheckFailed(as_text(verdict, diagnosis))
    raise CheckFailed(headline(verdict))


def _execution() -> str:
    return os.environ.get("NBGRADER_EXECUTION", "")


# --- quizzes --------------------------------------------------------------------------------------------------------


def self_study() -> bool:
    """Is the learner alone? Then a quiz explains the first answer at once (environment: AUTOGRADER_SELF_STUDY=1)."""
    return os.environ.get("AUTOGRADER_SELF_STUDY", "") not in ("", "0")


def _check_quiz(exercise: QuizExercise, objects: Sequence[Any], hidden: bool) -> float | None:
    evidence = gather(quiz_case(exercise), objects)
    verdict = judge_quiz(exercise, evidence, reveal=hidden)
    if hidden:
        show(verdict, None)
        return _conclude(verdict, None, hidden)
    if evidence.problem is not None:
        show(verdict, None)
        # a question that waits for its answer does not stop "Run All"; Validate, though, has to hear of it
        return _conclude(verdict, None, hidden) if _execution() == "validate" or _given(objects) else None
    if self_study():
        _explain_first_answer(exercise, evidence)
    elif _execution() != "autograde":
        learner.note(exercise.id, answered=True)
        answers = ", ".join(str(answer) for answer in evidence.facts.values())
        _display(
            panel(
                f"<b>{exercise.id}</b> · your answer is noted: <b>{answers}</b>. It is marked after you submit.", BLUE
            ),
            f"{exercise.id} · your answer is noted: {answers}. It is marked after you submit.",
        )
    return None


def _given(objects: Sequence[Any]) -> bool:
    """Has anything been put in place of the question marks?"""
    answer = objects[0]
    return answer not in (None, "?") and not (isinstance(answer, (list, tuple)) and all(one == "?" for one in answer))


def _explain_first_answer(exercise: QuizExercise, evidence: Evidence) -> None:
    """Marks the answer now; the progress keeps whether the first one was right."""
    verdict = judge_quiz(exercise, evidence, reveal=True)
    entry = learner.load().get(exercise.id, {})
    first = entry.get("first_answer", {name: str(answer) for name, answer in evidence.facts.items()})
    learner.note(exercise.id, answered=True, first_answer=first, passed=verdict.passed)
    lines = []
    for part, _ in zip_parts(exercise):
        right, feedback = mark_answer(part, evidence.facts[part.name])
        lines.append((f"{'✓' if right else '✗'} {part.name}", feedback))
    html = "".join(f"<p style='margin:.2em 0'><b>{name}</b>: {feedback}</p>" for name, feedback in lines)
    _display(panel(html, BLUE), "\n".join(f"{name}: {feedback}" for name, feedback in lines))


# --- hints and what else a notebook asks ----------------------------------------------------------------------------


def hint(exercise_id: str, level: int | None = None) -> None:
    """Show the next hint of an exercise, from vague to almost the answer; `level` (1, 2, 3) shows that one."""
    exercise = _find(exercise_id)
    hints = getattr(exercise, "hints", None)
    if not hints:
        _display(panel(f"{exercise.id} has no hints.", ORANGE), f"{exercise.id} has no hints.")
        return
    if level is not None and level not in range(1, len(hints) + 1):
        raise CheckFailed(f"hint levels go from 1 to {len(hints)}; {level!r} is none of them")
    used = learner.load().get(exercise.id, {}).get("hints", 0)
    number = level or min(max(used, _HINTS.get(exercise.id, 0)) + 1, len(hints))
    _HINTS[exercise.id] = max(_HINTS.get(exercise.id, 0), number)
    learner.note(exercise.id, hints=max(used, number))
    text, rest = hints[number - 1], len(hints) - number
    more = f"{rest} more: call hint again." if rest else "That was the last one."
    _display(
        panel(
            f"<b>Hint {number} of {len(hints)}</b> · {escape(text)}<br><span style='font-size:.92em'>{more}</span>",
            ORANGE,
        ),
        f"Hint {number} of {len(hints)} · {text}\n{more}",
    )


_HINTS: dict[str, int] = {}


def done(*exercise_ids: str) -> bool:
    """Has each of these exercises passed its check in this session? If not, says so in one friendly line."""
    missing = [exercise_id for exercise_id in exercise_ids if _find(exercise_id).id not in _PASSED]
    if missing:
        *first, last = missing
        which = f"{', '.join(first)} and {last}" if first else last
        text = f"This cell uses your own code for {which}: let the check pass first, then run the cell again."
        _display(panel(text, BLUE), text)
    return not missing


def material(exercise_id: str) -> Any:
    """What an exercise is about, such as the runs behind its plots. Raises CheckFailed when there is nothing."""
    exercise = _find(exercise_id)
    make = getattr(exercise, "material", None)
    if make is None:
        raise CheckFailed(f"{exercise.id} comes without material")
    return make()


def solution(exercise_id: str) -> None:
    """Show a worked solution with its reasoning, once your check has passed or three checks have failed.

    Raises CheckFailed with the reason where there is none to show.
    """
    exercise = _find(exercise_id)
    if isinstance(exercise, QuizExercise):
        raise CheckFailed(f"{exercise.id} is a question: with AUTOGRADER_SELF_STUDY=1 its check explains your answer")
    if not manifest().worked_solutions or _execution():
        raise CheckFailed("worked solutions are switched off in this course")
    assert isinstance(exercise, CodeExercise)
    if refusal := _not_yet(exercise):
        _display(panel(escape(refusal), BLUE), refusal)
        return
    try:
        found = worked(exercise)
    except FileNotFoundError as error:
        raise CheckFailed(str(error)) from None
    learner.note(exercise.id, solution=True)
    _display_markdown(f"**{exercise.id} · {exercise.title}: a worked solution**\n\n{found.markdown}")


def _not_yet(exercise: CodeExercise) -> str:
    """Why the solution is not shown yet; "" when it is."""
    entry = learner.load().get(exercise.id, {})
    # where progress cannot be kept, this session knows
    left = ENOUGH_ATTEMPTS - max(entry.get("attempts", 0), _FAILED[exercise.id])
    if exercise.id in _PASSED or entry.get("passed") or left <= 0:
        return ""
    checks = "check" if left == 1 else "checks"
    return (
        f"{exercise.id}: try it first. The solution is shown once your check has passed, or after {left} more failed "
        f'{checks}; hint("{exercise.id}") helps.'
    )


# --- output ---------------------------------------------------------------------------------------------------------


def show(verdict: Verdict, diagnosis: Diagnosis | None, hint: bool = False) -> None:
    """Display a verdict: HTML and data in a notebook, text elsewhere."""
    _display(as_html(verdict, diagnosis, hint), as_text(verdict, diagnosis, hint), as_data(verdict, diagnosis))


def show_briefly(verdict: Verdict) -> None:
    """The headline alone."""
    line = f"Visible cases: {headline(verdict)}"
    _display(panel(escape(line), BLUE), line)


def _display_markdown(text: str) -> None:
    """Notebooks set markdown with its formulas; terminals show it as it is."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(text)
        return
    from IPython.display import display

    display({"text/plain": text, "text/markdown": text}, raw=True)


def _display(html: str, text: str, data: dict[str, Any] | None = None) -> None:
    """To stdout, or to the notebook: never to stderr, which nbgrader takes for a failure."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(text)
        return
    from IPython.display import display

    bundle: dict[str, Any] = {"text/plain": text, "text/html": html}
    if data is not None:
        bundle[MIME] = data
    display(bundle, raw=True)
