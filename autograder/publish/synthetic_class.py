"""A class that nobody taught: thousands of results and solutions, made up from a seed. For tests and benchmarks of reports.

Solutions of the two big exercises are put together from independent choices, as different hands make them; those of the
others are the course's accepted answers. Nothing is graded: marks are drawn.
"""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.audit import answers
from autograder.exercise import REGISTRY, CodeExercise, Exercise
from autograder.grading.results import ExerciseResult, SubmissionResult
from autograder.grading.store import Store
from autograder.publish.sample_class import submission

NOTEBOOK = "05_adam_adamw"

# --- solutions as different hands write them ------------------------------------------------------------------------

_FIRST = (
    "{m}.mul_({b1}).add_({g}, alpha=1 - {b1})",
    "{m}.lerp_({g}, 1 - {b1})",
    "{m}.copy_({b1} * {m} + (1 - {b1}) * {g})",
    "{m}.mul_({b1})\n{m}.add_((1 - {b1}) * {g})",
    "{m} *= {b1}\n{m} += (1 - {b1}) * {g}",
    "{m}[...] = {m} * {b1} + {g} * (1 - {b1})",
    "{m}.add_({g} - {m}, alpha=1 - {b1})",
)
_SECOND = (
    "{v}.mul_({b2}).addcmul_({g}, {g}, value=1 - {b2})",
    "{v}.copy_({b2} * {v} + (1 - {b2}) * {g}**2)",
    "{v}.mul_({b2})\n{v}.add_((1 - {b2}) * {g} * {g})",
    "{v} *= {b2}\n{v} += (1 - {b2}) * {g}.square()",
    "{v}.lerp_({g}.square(), 1 - {b2})",
    "{v}.mul_({b2}).add_({g}.pow(2), alpha=1 - {b2})",
)
_UPDATE = (
    "mh = {m} / (1 - {b1}**{t})\nvh = {v} / (1 - {b2}**{t})\n{w}.sub_({lr} * mh / (vh.sqrt() + {eps}))",
    "mh = {m} / (1 - {b1}**{t})\nvh = {v} / (1 - {b2}**{t})\n{w}.addcdiv_(mh, vh.sqrt().add_({eps}), value=-{lr})",
    "c1 = 1 - {b1}**{t}\nc2 = 1 - {b2}**{t}\n{w} -= {lr} * ({m} / c1) / (torch.sqrt({v} / c2) + {eps})",
    "den = ({v} / (1 - {b2}**{t})) ** 0.5 + {eps}\n{w}.add_({m} / (1 - {b1}**{t}) / den, alpha=-{lr})",
    "c1, c2 = 1 - {b1}**{t}, 1 - {b2}**{t}\nden = {v}.sqrt() / c2**0.5 + {eps}\n{w}.addcdiv_({m}, den, value=-{lr} / c1)",
    "mh, vh = {m} / (1 - {b1} ** {t}), {v} / (1 - {b2} ** {t})\nstep = mh / (vh.sqrt() + {eps})\n{w}.sub_({lr} * step)",
    "c1 = 1.0 - {b1} ** {t}\nc2 = 1.0 - {b2} ** {t}\nratio = {lr} / c1\n{w}.sub_(ratio * {m} / ((({v} / c2).sqrt()) + {eps}))",
)
_BETAS = ("b1, b2 = {betas}\n", "b1 = {betas}[0]\nb2 = {betas}[1]\n", "(b1, b2) = {betas}\n", "")
_STATE_TEXT = """
if not s:
    s['step'] = torch.tensor(0.0)
    s['exp_avg'] = torch.zeros_like(p)
    s['exp_avg_sq'] = torch.zeros_like(p)
---
if len(s) == 0:
    s.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
---
if 'step' not in s:
    s['step'] = torch.tensor(0.0)
    for key in ('exp_avg', 'exp_avg_sq'):
        s[key] = torch.zeros_like(p)
---
s.setdefault('step', torch.tensor(0.0))
s.setdefault('exp_avg', torch.zeros_like(p))
s.setdefault('exp_avg_sq', torch.zeros_like(p))
"""
_GRAD_TEXT = """
g = -p.grad if group['maximize'] else p.grad
g = g + group['weight_decay'] * p
---
g = p.grad.clone()
if group['maximize']:
    g = -g
if group['weight_decay'] != 0:
    g = g.add(p, alpha=group['weight_decay'])
---
sign = -1 if group['maximize'] else 1
g = sign * p.grad + group['weight_decay'] * p
---
g = p.grad
if group['maximize']:
    g = g.neg()
g = g.add(p, alpha=group['weight_decay'])
"""
_STATE, _GRAD = _STATE_TEXT.split("---"), _GRAD_TEXT.split("---")
_AMSGRAD = (
    "if group['amsgrad']:\n    s['max_exp_avg_sq'] = torch.maximum(s['max_exp_avg_sq'], v)\n    v = s['max_exp_avg_sq']",
    "if group['amsgrad']:\n    torch.maximum(s['max_exp_avg_sq'], v, out=s['max_exp_avg_sq'])\n    v = s['max_exp_avg_sq']",
    "v = torch.max(s['max_exp_avg_sq'], v, out=s['max_exp_avg_sq']) if group['amsgrad'] else v",
)
_ASIDE = (
    "",
    "",
    "",
    "assert g.shape == {w}.shape",
    "# equations (5.1) to (5.4)",
    "n = {w}.numel()",
    "if t < 1:\n    raise ValueError('t starts at 1')",
)


def honest_step(dice: random.Random) -> str:
    """One student's `adam_step`."""
    betas = dice.choice(_BETAS)
    names = {"m": "m", "v": "v", "g": "g", "w": "w", "t": "t", "lr": "lr", "eps": "eps", "betas": "betas"}
    body = betas.format(**names) + _core({**names, **_beta_names(betas, "betas")}, dice)
    return "# exercise adam.step\n@torch.no_grad()\ndef adam_step(w, g, m, v, t, *, lr, betas, eps):\n" + _indented(
        body, 1
    )


def honest_adam(dice: random.Random) -> str:
    """One student's `Adam`."""
    betas = dice.choice(_BETAS)
    names = {"m": "m", "v": "v", "g": "g", "w": "p", "t": "t", "lr": "group['lr']", "eps": "group['eps']"}
    state = dice.choice(_STATE).strip()
    if dice.random() < 0.5:
        state += "\nif group['amsgrad'] and 'max_exp_avg_sq' not in s:\n    s['max_exp_avg_sq'] = torch.zeros_like(p)"
    else:
        state += "\ns.setdefault('max_exp_avg_sq', torch.zeros_like(p))"
    count = dice.choice(
        ("s['step'] += 1\nt = s['step'].item()", "s['step'] += 1\nt = float(s['step'])", "t = int(s['step'].add_(1))")
    )
    skip = dice.choice(("if p.grad is None:\n    continue", "if p.grad is not None:\n    pass\nelse:\n    continue"))
    read = dice.choice(("m, v = s['exp_avg'], s['exp_avg_sq']", "m = s['exp_avg']\nv = s['exp_avg_sq']"))
    core = _core({**names, **_beta_names(betas, "group['betas']")}, dice, dice.choice(_AMSGRAD))
    lines = [
        skip,
        "s = self.state[p]",
        state,
        count,
        dice.choice(_GRAD).strip(),
        read,
        betas.format(betas="group['betas']").strip(),
        core,
    ]
    return _ADAM + _indented("\n".join(filter(None, lines)), 4)


_ADAM = """# exercise adam.adam
class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group['params']:
"""


def _beta_names(betas: str, where: str) -> dict[str, str]:
    return {"b1": "b1", "b2": "b2"} if betas else {"b1": f"{where}[0]", "b2": f"{where}[1]"}


def _core(names: Mapping[str, str], dice: random.Random, between: str = "") -> str:
    averages = [dice.choice(_FIRST), dice.choice(_SECOND)]
    if dice.random() < 0.2:
        averages.reverse()
    parts = [dice.choice(_ASIDE), *averages, between, dice.choice(_UPDATE)]
    # braces are only in the choices that take names
    return "\n".join(part if part is between else part.format(**names) for part in parts if part)


def _indented(text: str, depth: int) -> str:
    return "".join(f"{'    ' * depth}{line}\n" for line in text.splitlines())


def renamed(source: str, dice: random.Random) -> str:
    """The same code under other names and with comments of its own, as somebody who copies hands it in."""
    names = ("m", "v", "g", "s", "mh", "vh", "c1", "c2", "den", "b1", "b2", "group", "step", "ratio", "n")
    for name in names:
        source = re.sub(rf"(?<![\w.'\"]){name}(?![\w'\"=])", f"{name}_{dice.randrange(100)}x", source)
    lines = source.splitlines()
    lines.insert(dice.randrange(3, len(lines)), f"    # my own idea {dice.random():.3f}")
    return "\n".join(lines) + "\n"


@cache
def accepted_sources(exercise: CodeExercise) -> tuple[str, ...]:
    """The course's accepted answers to an exercise, as cells."""
    every = answers(exercise, "ACCEPTED").values()
    return tuple(f"# exercise {exercise.id}\n" + "\n\n".join(map(_source, objects)) for objects in every)


def _source(one: Any) -> str:
    """Some answers are classes put together at run time: then what they are put together from."""
    parts = []
    for kind in getattr(one, "__mro__", (one,)):
        if getattr(kind, "__module__", "").startswith("autograder."):
            with suppress(OSError, TypeError):
                parts.append(inspect.getsource(kind))
    return "\n\n".join(reversed(parts))


_HONEST = {"adam.step": honest_step, "adam.adam": honest_adam}


def honest(exercise: Exercise, dice: random.Random) -> str:
    """One student's solution of an exercise of the notebook."""
    if exercise.id in _HONEST:
        return _HONEST[exercise.id](dice)
    if isinstance(exercise, CodeExercise):
        return dice.choice(accepted_sources(exercise))
    return f"# exercise {exercise.id}\n{exercise.id.split('.')[1]} = {dice.choice('abcd')!r}\n"


# --- results ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A student's attempts: what is in the store for each, and the notebook of the last one."""

    results: tuple[SubmissionResult, ...]
    notebook: NotebookNode


def make_class(release: NotebookNode, count: int, seed: int = 0) -> Iterator[Made]:
    """`count` students with one to three attempts each; every hundredth has copied two exercises from the one before."""
    exercises = [one for one in REGISTRY.values() if one.notebook == NOTEBOOK]
    dice, before = random.Random(seed), dict[str, str]()
    for number in range(count):
        solutions = {one.id: honest(one, dice) for one in exercises if one.kind != "written"}
        if number % 100 == 99:
            solutions |= {one: renamed(before[one], dice) for one in ("adam.step", "adam.adam")}
        skill, notebook = dice.betavariate(5, 2), submission(release.copy(), solutions)
        results = _attempts(exercises, f"student{number:04d}", skill, dice)
        yield Made(tuple(results), notebook)
        before = solutions


def _attempts(
    exercises: Sequence[Exercise], student: str, skill: float, dice: random.Random
) -> Iterator[SubmissionResult]:
    flags = ("adam-adam-solution, line 4: files elsewhere: open",) if dice.random() < 0.05 else ()
    for number in range(dice.choice((1, 1, 2, 3))):
        rows = tuple(_row(one, min(skill + 0.1 * number, 0.98), dice) for one in exercises)
        result = SubmissionResult(student, NOTEBOOK, f"{student}-{number}", "release", "1", "full", rows, flags=flags)
        versions = {"python": "3.11.7", "torch": "2.13.0"}
        yield replace(result, seconds=sum(one.seconds for one in rows), versions=versions)


def _row(exercise: Exercise, skill: float, dice: random.Random) -> ExerciseResult:
    if exercise.kind == "written":
        return ExerciseResult(exercise.id, exercise.grade_id, 0.0, exercise.points, waits=True)
    parts = [points for points in exercise.groups.values() if dice.random() < skill]
    earned, raised = min(sum(parts), exercise.points), []
    named: tuple[str, ...] = ()
    if earned < exercise.points and isinstance(exercise, CodeExercise):
        if dice.random() < 0.7:
            one = dice.choice(exercise.misconceptions)
            named = (f"{one.id} {one.title}",)
        elif dice.random() < 0.5:
            raised = [dice.choice(("NameError", "RuntimeError", "TypeError"))]
    data: dict[str, Any] = {"exercise": exercise.id, "raised": raised, "not_started": earned == 0 and not named}
    seconds = dice.lognormvariate(-3, 1)
    shown = "<div>" + "verdict " * 200 + "</div>"  # as long as they come
    return ExerciseResult(
        *(exercise.id, exercise.grade_id, earned, exercise.points, "", shown, "verdict", data),
        misconceptions=named,
        seconds=seconds,
    )


def fill_store(path: Path, release: NotebookNode, count: int, seed: int = 0) -> None:
    """Write such a class into a store, all of it published."""
    with Store(path) as store:
        for made in make_class(release, count, seed):
            text = nbformat.writes(made.notebook)
            for result in made.results:
                number = store.record(result, text)
            store.mark_published(NOTEBOOK, made.results[-1].student, number)
