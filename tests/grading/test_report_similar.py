"""Similar solutions: a copy is found under other names; what many write, or different hands, is left alone."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autograder.audit import code_exercises
from autograder.exercise import REGISTRY, CodeExercise
from autograder.grading.assignment import read_assignment
from autograder.grading.report.fingerprints import prints
from autograder.grading.report.similar import Group, groups
from autograder.publish.sample_class import source_solutions
from autograder.publish.synthetic_class import NOTEBOOK, accepted_sources, honest, honest_adam, honest_step, renamed

ROOT = Path(__file__).resolve().parents[2]
CODE = [REGISTRY[one] for one in ("adam.step", "adam.adam")]

#: What a class of honest variants does not have: a helper and a buffer of its own.
ODD = '''
# exercise adam.adam
class Adam(torch.optim.Optimizer):
    """My Adam."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
        super().__init__(params, {k: v for k, v in locals().items() if k not in ("self", "params", "__class__")})

    def _averages(self, state, gradient, betas):
        for name, beta, power in zip(("exp_avg", "exp_avg_sq"), betas, (1, 2)):
            state[name] = state.get(name, 0 * gradient) + (1 - beta) * (gradient**power - state.get(name, 0 * gradient))
            yield state[name] / -(beta ** float(state["step"]) - 1)

    @torch.no_grad()
    def step(self, closure=None):
        every = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        while every:
            group, p = every.pop(0)
            state = self.state[p]
            state["step"] = state.get("step", torch.tensor(0.0)) + 1
            gradient = (1 - 2 * group["maximize"]) * p.grad + p * group["weight_decay"]
            mean, square = self._averages(state, gradient, group["betas"])
            p -= group["lr"] * mean / (square**0.5 + group["eps"])
'''
COMMON = {"adam.step": honest_step(random.Random(5)), "adam.adam": honest_adam(random.Random(5))}
SAME_BUT_NAMES = (
    ODD.replace("gradient", "direction")
    .replace("every", "todo")
    .replace("mean", "a")
    .replace("square", "b")
    .replace('"""My Adam."""', '"""Adam, as in the lecture: written on Sunday."""')
    .replace("_averages", "_smooth")
    .replace("            group, p = ", "            # the next one\n            group, p = ")
    .replace("1e-3", "0.002")
)


@pytest.fixture(scope="module")
def known() -> dict[str, tuple[str, ...]]:
    """What everybody had: the release's code, and the course's own solution."""
    given = {
        one.exercise_id: one.source
        for one in read_assignment(ROOT / "release", NOTEBOOK).cells
        if one.kind == "solution"
    }
    solved = source_solutions(ROOT / "source" / NOTEBOOK / f"{NOTEBOOK}.ipynb")
    return {one: (given[one], solved[one]) for one in given}


def honest_class(count: int, seed: int = 0) -> dict[str, dict[str, str]]:
    """Exercise id → student → solution, everybody on their own."""
    dice = random.Random(seed)
    return {one.id: {f"s{i:03d}": honest(one, dice) for i in range(count)} for one in CODE}


def who(found: list[Group]) -> list[tuple[str, ...]]:
    return [group.students for group in found]


# --- fingerprints ---------------------------------------------------------------------------------------------------


def test_names_constants_comments_docstrings_annotations_and_layout_do_not_count() -> None:
    one, other = prints(ODD), prints(SAME_BUT_NAMES)
    assert one.form == other.form
    assert one.found.keys() == other.found.keys()
    assert (
        prints("def f(a, b):\n  return [a+b*2]\n").form
        == prints("def g(x: int, y) -> int:\n    return [(x + y * 3)]").form
    )


def test_what_the_code_does_counts() -> None:
    form = prints("x = a.mul_(b).add_(c)").form
    for other in (
        "x = a.mul_(b).sub_(c)",
        "x += a.mul_(b).add_(c)",
        "x = a.mul_(b) + c",
        "x = a.mul_(b).add_(c, alpha=c)",
    ):
        assert prints(other).form != form


@pytest.mark.parametrize(
    "source",
    [
        "", "def f(:\n  x = 1\n" * 30, "%%time\nx = 1", "!ls\nx = 1", "(" * 5_000, "-" * 30_000 + "1", "x = 1\n" * 50_000,
        "\0\ud800 = 1", "a" * 10**6, "[" * 50 + "]" * 50, "x" + ".y" * 20_000, "é = '\\d'\n" * 100,
    ],
)  # fmt: skip
def test_no_source_is_too_odd(source: str) -> None:
    start = time.process_time()
    prints(source)
    assert time.process_time() - start < 2


def test_broken_code_is_compared_by_its_words() -> None:
    broken, renamed_ = ODD + "\n    def (", SAME_BUT_NAMES + "\n    def ("
    shared = prints(broken).found.keys() & prints(renamed_).found.keys()
    assert len(shared) > 0.8 * len(prints(broken).found)


def test_fingerprints_are_the_same_in_every_process() -> None:
    code = "from autograder.grading.report.fingerprints import prints; print(sorted(prints(open(0).read()).found))"
    outs = {
        subprocess.run(
            [sys.executable, "-c", code], input=ODD, capture_output=True, text=True, check=True,
            cwd=ROOT, env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert outs == {f"{sorted(prints(ODD).found)}\n"}


# --- who wrote alike ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_renamed_copy_is_found_among_sixty_and_nobody_else(known: dict[str, tuple[str, ...]], seed: int) -> None:
    solutions, dice = honest_class(60, seed), random.Random(seed)
    for exercise in ("adam.step", "adam.adam"):
        solutions[exercise]["s041"] = renamed(solutions[exercise]["s007"], dice)
    found = groups(solutions, known)
    assert who(found) == [("s007", "s041")]
    assert {one.exercise_id: round(one.share, 2) for one in found[0].likenesses} == {"adam.step": 1.0, "adam.adam": 1.0}


def test_one_odd_solution_in_two_hands_is_enough(known: dict[str, tuple[str, ...]]) -> None:
    solutions = honest_class(60)
    solutions["adam.adam"] |= {"s010": ODD, "s050": SAME_BUT_NAMES}
    (group,) = groups(solutions, known)
    (likeness,) = group.likenesses
    assert (likeness.students, likeness.share) == (("s010", "s050"), 1.0)
    for source, lines in zip((ODD, SAME_BUT_NAMES), likeness.lines, strict=True):
        shown = [source.split("\n")[line - 1] for line in lines]
        assert any("for name, beta, power in zip" in line for line in shown)
        assert not any("# exercise" in line for line in shown)


def test_a_copy_with_a_part_of_its_own_is_found(known: dict[str, tuple[str, ...]]) -> None:
    solutions = honest_class(60)
    edited = SAME_BUT_NAMES.replace(
        "        while todo:\n            # the next one\n            group, p = todo.pop(0)\n",
        "        for group, p in todo:\n",
    )
    assert edited != SAME_BUT_NAMES
    solutions["adam.adam"] |= {"s010": ODD, "s050": edited}
    (group,) = groups(solutions, known)
    assert group.students == ("s010", "s050")
    assert 0.6 < group.likenesses[0].share < 1


def test_several_who_share_are_one_group(known: dict[str, tuple[str, ...]]) -> None:
    solutions, dice = honest_class(60), random.Random(1)
    for student in ("s003", "s013", "s023", "s033"):
        solutions["adam.adam"][student] = SAME_BUT_NAMES.replace("direction", f"d{dice.randrange(99)}")
    assert who(groups(solutions, known)) == [("s003", "s013", "s023", "s033")]


@pytest.mark.parametrize("count", [60, 200])
def test_honest_classes_raise_nothing(known: dict[str, tuple[str, ...]], count: int) -> None:
    assert who(groups(honest_class(count, seed=7), known)) == []


def test_accepted_answers_by_different_hands_are_not_alike(known: dict[str, tuple[str, ...]]) -> None:
    solutions = honest_class(60)
    for exercise, chosen in (("adam.step", (0, 1, 2, 3)), ("adam.adam", (0, 2))):  # the others share a base class
        code = REGISTRY[exercise]
        assert isinstance(code, CodeExercise)
        sources = accepted_sources(code)
        solutions[exercise] |= {f"by{i}": sources[i] for i in chosen}
    assert who(groups(solutions, known)) == []


def test_common_accepted_answers_raise_nothing() -> None:
    for exercise in code_exercises():
        sources = accepted_sources(exercise)
        in_turn = {f"s{i:02d}": sources[i % len(sources)] for i in range(8 * len(sources))}
        assert groups({exercise.id: in_turn}) == [], exercise.id


def test_those_who_have_the_canonical_solution_are_left_alone(known: dict[str, tuple[str, ...]]) -> None:
    solutions = honest_class(60)
    for number, student in enumerate(sorted(solutions["adam.step"])):
        for exercise in CODE:
            if number % 3 == 0:  # the course's own
                solutions[exercise.id][student] = known[exercise.id][1]
            elif number % 3 == 1:  # a common form that the course does not have
                solutions[exercise.id][student] = COMMON[exercise.id]
    assert who(groups(solutions, known)) == []
    two = {"adam.adam": {**honest_class(60)["adam.adam"], "s001": known["adam.adam"][1], "s002": known["adam.adam"][1]}}
    assert who(groups(two, known)) == []  # also if only two have it


def test_untouched_releases_and_small_classes_say_nothing(known: dict[str, tuple[str, ...]]) -> None:
    solutions = honest_class(40)
    for student in list(solutions["adam.adam"])[:6]:
        for exercise in CODE:
            solutions[exercise.id][student] = known[exercise.id][0]
    assert who(groups(solutions, known)) == []
    assert groups({"adam.adam": {"a": ODD, "b": ODD, "c": SAME_BUT_NAMES}}, known) == []
    assert groups({}, {}) == []
