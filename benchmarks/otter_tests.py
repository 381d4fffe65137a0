"""The light class for otter-grader: its tests, one per points group, made from the same cases as nbgrader's."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from autograder.exercise import REGISTRY, CodeExercise
from autograder.publish.light import EXERCISES, NAME

ROOT = Path(__file__).resolve().parent.parent

#: One file per exercise. The verdict is found once; each of otter's test cases looks at one group of it.
_TEST = """
from functools import cache
from otter.test_files import test_case

OK_FORMAT = False
name = {name!r}
points = None


@cache
def passed(*objects):
    from autograder.evidence import collecting, gather
    from autograder.exercise import REGISTRY
    from autograder.verdict import hidden_cases, judge, visible_cases

    exercise = REGISTRY[{exercise!r}]
    cases = visible_cases(exercise) + hidden_cases(exercise, exercise.public_seed)
    with collecting():
        evidence = [gather(case, objects) for case in cases]
    return {{group.name: group.passed for group in judge(exercise, cases, evidence, decided=True).groups}}

{cases}
"""
_CASE = """
@test_case(points={points!r}, name={group!r})
def test_{number}({arguments}):
    assert passed({arguments})[{group!r}]
"""


def make_zip(python: str, folder: Path) -> Path:
    """An autograder for `otter run`. Raises CalledProcessError when this interpreter has no otter-grader."""
    tests = folder / "otter" / "tests"
    tests.mkdir(parents=True)
    for exercise_id in EXERCISES:
        exercise = REGISTRY[exercise_id]
        assert isinstance(exercise, CodeExercise)
        arguments = ", ".join(exercise.objects)
        cases = [
            _CASE.format(points=points, group=group, number=number, arguments=arguments)
            for number, (group, points) in enumerate(exercise.groups.items())
        ]
        name = exercise_id.replace(".", "-")
        text = _TEST.format(name=name, exercise=exercise_id, cases="\n".join(cases))
        (tests / f"{name}.py").write_text(text, encoding="utf-8")
    made = folder / "otter" / "autograder.zip"
    command = [python, "-m", "otter", "generate", "-t", str(tests), "-o", str(made), "--no-environment"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder / "otter")
    return made


def run(python: str, made: Path, notebook: Path) -> dict[str, float]:
    """Grade one notebook: exercise id → points."""
    with tempfile.TemporaryDirectory() as out:
        command = [python, "-m", "otter", "run", "--no-logo", "-a", str(made), "-o", out, str(notebook)]
        path = f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=out)
        if done.returncode:
            raise SystemExit(f"otter run failed:\n{done.stderr[-2000:]}")
        found = json.loads((Path(out) / "results.json").read_text(encoding="utf-8"))
    scores = {test["name"]: float(test.get("score") or 0.0) for test in found["tests"]}
    return {exercise_id: scores[exercise_id.replace(".", "-")] for exercise_id in EXERCISES}


def notebooks(folder: Path, count: int) -> dict[str, Path]:
    """Student → notebook, of the first `count`."""
    return {path.parts[-3]: path for path in sorted(folder.glob(f"submitted/*/{NAME}/{NAME}.ipynb"))[:count]}
