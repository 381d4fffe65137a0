"""Mechanical mutants: what is changed, how they are run, and that none passes without a reason."""

from __future__ import annotations

import ast
import json
import random
from pathlib import Path

import pytest

from autograder.answers.equivalent import EQUIVALENT
from autograder.audit import code_exercises
from autograder.exercise import REGISTRY, CodeExercise
from autograder.mutants import runs
from autograder.mutants.changes import Mutant, mutants
from autograder.mutants.runs import Report, Trial, mutants_of, try_mutants


def cell(*solution: str, before: str = "") -> str:
    """A solution cell with these lines between its markers."""
    return "\n".join([before, "### BEGIN SOLUTION", *solution, "### END SOLUTION"])


def changes(*solution: str) -> set[str]:
    return {mutant.what for mutant in mutants(cell(*solution))}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("y = a - b", {"y = a - b → y = a + b", "y = a - b → y = a", "drop y = a - b"}),
        ("y = a * b ** t", {"y = a * b ** t → y = a / b ** t", "y = a * b ** t → y = a * (b * t)"}),
        ("v = c if t < n else 1", {"v = c if t < n else 1 → v = c if t <= n else 1"}),
        ("ok = a and b", {"ok = a and b → ok = a or b", "ok = a and b → ok = a"}),
        ("k = 2", {"k = 2 → k = 3", "k = 2 → k = 1", "k = 2 → k = 4", "k = 2 → k = -2"}),
        ("r = 0.5", {"r = 0.5 → r = 1.0", "r = 0.5 → r = -0.5"}),
        ("drop_last = True", {"drop_last = True → drop_last = False"}),
        ("part = x[:k]", {"part = x[:k] → part = x[:k + 1]", "part = x[:k] → part = x[:]"}),
        ("js = range(n)", {"js = range(n) → js = range(n + 1)", "js = range(n) → js = range(n - 1)"}),
        ("m.mul_(b)", {"m.mul_(b) → m.mul(b)", "m.mul_(b) → m.div_(b)"}),
        ("torch._foreach_mul_(ms, b)", {"torch._foreach_mul_(ms, b) → torch._foreach_mul(ms, b)"}),
        ("step(w, g)", {"step(w, g) → step(g, w)"}),
        ("m.add_(g, alpha=a)", {"m.add_(g, alpha=a) → m.add_(g)"}),
        ("b = p.grad.clone()", {"b = p.grad.clone() → b = p.grad"}),
        ("s = x.sum(0)", {"s = x.sum(0) → s = x.mean(0)"}),
        ("s = max(a, b)", {"s = max(a, b) → s = min(a, b)"}),
        ("m = torch.zeros_like(p)", {"m = torch.zeros_like(p) → m = torch.zeros(p.shape)"}),
        ("lr = group['lr']", {"lr = group['lr'] → lr = self.defaults['lr']"}),
    ],
)
def test_a_line_has_the_mutants_of_its_slips(line: str, expected: set[str]) -> None:
    found = changes(line)
    assert expected <= found


def test_statements_around_others_are_changed_without_them() -> None:
    found = changes(
        "def f(self, b=0.9):",
        "    with torch.no_grad():",
        "        for group in self.param_groups:",
        "            if b is None:",
        "                continue",
    )
    assert "f: with torch.no_grad(): → if True:" in found
    assert "f: for group in self.param_groups: → for group in self.param_groups[:1]:" in found
    assert "f: if b is None: → if b is not None:" in found
    assert {"f: continue → break", "f: drop continue"} <= found
    assert "def f(self, b=0.9): → def f(self, b=1.8):" in found


def test_decorators_are_forgotten() -> None:
    assert "@torch.no_grad() def f(): → def f():" in changes("@torch.no_grad()", "def f():", "    g()")


def test_what_is_handed_out_is_left_alone() -> None:
    given = "def f(a, lr=0.1):\n    '''Doc: 1 + 1.'''\n    if lr < 0:\n        raise ValueError"
    found = {mutant.what for mutant in mutants(cell("    return a + 1", before=given))}
    assert found
    assert all("return" in what for what in found)


def test_in_place_on_what_nobody_else_holds_and_the_order_of_max_are_no_mutants() -> None:
    found = changes("y = max(a, b)", "z = (v / c).sqrt()")
    assert not {what for what in found if "sqrt_" in what or "max(b, a)" in what}


def test_every_mutant_of_the_course_has_a_name_of_its_own() -> None:
    for exercise in code_exercises():
        names = [mutant.what for mutant in mutants_of(exercise)]
        assert len(names) == len(set(names)), exercise.id
        assert names, exercise.id


# --- running them ---------------------------------------------------------------------------------------------------


def exercise(exercise_id: str) -> CodeExercise:
    found = REGISTRY[exercise_id]
    assert isinstance(found, CodeExercise)
    return found


def instead(body: str) -> Mutant:
    return Mutant(body, ast.parse(f"import os, time\ndef gd_step(w, grad, lr):\n    {body}"))


@pytest.mark.parametrize(
    ("body", "killed_by"),
    [
        ("w.data.sub_(lr * grad)", ""),
        ("w.data.add_(lr * grad)", "one step"),
        ("while True: pass", "time"),
        ("time.sleep(60)", "time"),
        ("os._exit(0)", "process"),
        ("os.kill(os.getpid(), 11)", "process"),
    ],
)
def test_a_mutant_ends_alone(monkeypatch: pytest.MonkeyPatch, body: str, killed_by: str) -> None:
    monkeypatch.setattr(runs, "AT_LEAST", 0.3)
    (trial,) = try_mutants(exercise("start.gd_step"), [instead(body)], seeds=(1,))
    assert bool(trial.killed_by) == bool(killed_by)
    if killed_by in ("time", "process"):
        assert trial.killed_by == killed_by


def test_a_mutant_that_takes_all_memory_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MEMORY", 2**28)
    body = "w.data.sub_(lr * grad + 0 * grad.new_empty(2**27).fill_(1.0).sum())"
    (trial,) = try_mutants(exercise("start.gd_step"), [instead(body)], seeds=(1,))
    assert trial.killed_by


def test_a_report_tells_holes_from_equivalents_and_both_from_stale_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EQUIVALENT, "start.gd_step", {"same": "no difference", "was the same": "no difference"})
    trials = (Trial("same", ""), Trial("was the same", "a case"), Trial("a hole", ""), Trial("wrong", "a case"))
    report = Report(exercise("start.gd_step"), trials)
    assert (report.killed, report.equivalent) == (2, {"same": "no difference"})
    assert (report.survivors, report.stale, report.ok) == (("a hole",), ("was the same",), False)


def test_a_program_that_reaches_the_score_is_no_hole() -> None:
    trials = (Trial("another lr", ""), Trial("no training", "digits, 85 % right"))
    report = Report(exercise("capstone.accuracy"), trials)
    assert (report.killed, report.reaching, report.survivors, report.ok) == (1, ("another lr",), (), True)


# --- the course's own -----------------------------------------------------------------------------------------------

#: A few exercises of each kind; `benchmarks/mutants.py` runs all mutants of all.
SOME = ("minibatch.batches", "ema.weights_average", "momentum.lr_change", "adam.step", "schedule.wsd", "landscape.init")


@pytest.mark.parametrize("exercise_id", [pytest.param(i, marks=pytest.mark.xdist_group(i)) for i in SOME])
def test_mutants_fail_unless_they_are_listed(exercise_id: str) -> None:
    """All that are listed for the exercise, and twelve others."""
    every = mutants_of(exercise(exercise_id))
    listed = [mutant for mutant in every if mutant.what in EQUIVALENT.get(exercise_id, {})]
    others = [mutant for mutant in every if mutant not in listed]
    chosen = listed + random.Random(exercise_id).sample(others, 12)
    report = Report(exercise(exercise_id), tuple(try_mutants(exercise(exercise_id), chosen, seeds=(1,))))
    assert (report.survivors, report.stale) == ((), ())


def test_whatever_is_listed_is_a_mutant_and_has_a_reason() -> None:
    for exercise_id, reasons in EQUIVALENT.items():
        assert reasons.keys() <= {mutant.what for mutant in mutants_of(exercise(exercise_id))}, exercise_id
        assert all(reasons.values())


def test_the_committed_result_is_of_these_mutants_and_none_is_left(root: Path) -> None:
    results = json.loads((root / "benchmarks" / "results" / "mutants.json").read_text())["exercises"]
    for one in code_exercises():
        found = results[one.id]
        assert found["mutants"] == len(mutants_of(one)), f"run benchmarks/mutants.py {one.id}"
        assert found["survivors"] == found["not equivalent"] == [], one.id
        assert found["equivalent"] == len(EQUIVALENT.get(one.id, {})), one.id
