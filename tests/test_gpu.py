"""The same checks on a GPU: every exercise's references, cases and tolerances hold there, in every dtype.

`-m gpu` needs a CUDA device, and pytest and torch alone: `python -m pytest -m gpu tests/test_gpu.py tests/launches`.
Elsewhere the same cases run on the pretend GPU, which refuses to mix devices as a real one does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_student_side import BLOCKER

from autograder import checks
from autograder.audit import answers, audit, code_exercises, movable
from autograder.collectors.common import Place
from autograder.devices import AT_HOME, NoDevice, at_home, counted, moved, on_device, refuse_missing
from autograder.evidence import COLLECTORS, collecting, gather
from autograder.exercise import TOLERANCE, Case, CodeExercise
from autograder.verdict import expected_evidence, hidden_cases, judge_case, visible_cases
from utils.device import captured, compiled

CODE = code_exercises()
MOVABLE = [exercise for exercise in CODE if movable(exercise)]


def by_id(exercises: list[CodeExercise]) -> list[Any]:
    return [pytest.param(exercise, id=exercise.id) for exercise in exercises]


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    with collecting():
        yield


def wrong(exercise: CodeExercise, cases: tuple[Case, ...], objects: tuple[Any, ...]) -> list[tuple[str, object]]:
    """The cases that are judged wrong, and why."""
    found = []
    for case in cases:
        evidence = gather(case, objects)
        verdict = judge_case(case, evidence, expected_evidence(exercise, case))
        if not verdict.passed:
            found.append((case.name, evidence.problem or verdict.violations or verdict.deviation))
    return found


def there(exercise: CodeExercise, device: Any, seeds: range = range(0)) -> tuple[Case, ...]:
    cases = (*visible_cases(exercise), *(case for seed in seeds for case in hidden_cases(exercise, seed)))
    return tuple(twin for case in cases if (twin := moved(case, device)))


# --- on a real GPU --------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("exercise", by_id(MOVABLE))
def test_every_accepted_answer_is_right_on_cuda_in_every_dtype(exercise: CodeExercise) -> None:
    cases = there(exercise, "cuda", seeds=range(1, 4))
    rejected = {
        name: bad for name, given in answers(exercise, "ACCEPTED").items() if (bad := wrong(exercise, cases, given))
    }
    assert rejected == {}


@pytest.mark.gpu
@pytest.mark.parametrize("exercise", by_id(MOVABLE))
def test_the_references_of_cpu_and_cuda_agree_within_the_tolerances(exercise: CodeExercise) -> None:
    apart = {}
    for case in visible_cases(exercise):
        if (twin := moved(case, "cuda")) is not None:
            verdict = judge_case(case, gather(twin, exercise.reference()), expected_evidence(exercise, case))
            if not verdict.passed:
                apart[case.name] = verdict.violations or verdict.deviation
    assert apart == {}


@pytest.mark.gpu
@pytest.mark.parametrize("exercise_id", ["start.gd_step", "adam.step", "momentum.sgd", "minibatch.accumulate"])
def test_wrong_variants_are_killed_and_named_on_cuda(exercise_id: str) -> None:
    report = audit(code_exercises([exercise_id])[0], seeds=(1,), device="cuda")
    assert [(kill.id, kill.source, kill.named) for kill in report.kills if not kill.ok] == []
    assert all(one.accepted for one in report.acceptances)


@pytest.mark.gpu
def test_a_check_on_a_gpu_machine_plays_its_cases_there_too(capsys: pytest.CaptureFixture[str]) -> None:
    exercise = code_exercises(["adam.step"])[0]
    checks.check("adam.step", *next(iter(answers(exercise, "ACCEPTED").values())))
    assert "the GPU" in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.parametrize("way", [compiled, captured])
def test_steps_compiled_and_captured_move_the_weights_as_plain_ones_do(way: Any) -> None:
    def after(steps: int, prepare: Any) -> torch.Tensor:
        w = torch.nn.Parameter(torch.ones(8, device="cuda"))
        w.grad = torch.full((8,), 0.5, device="cuda")
        opt = torch.optim.SGD([w], lr=0.25, momentum=0.5)
        step = prepare(opt.step)
        with torch.no_grad():  # preparing takes steps of its own
            w.fill_(1.0)
            opt.state[w]["momentum_buffer"].zero_()
        for _ in range(steps):
            step()
        return w.detach().cpu()

    def plain(step: Any) -> Any:
        step()  # makes the buffer
        return step

    torch.testing.assert_close(after(3, lambda step: way(step, torch.device("cuda"))), after(3, plain))


# --- the same cases on the pretend GPU ------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", by_id(MOVABLE))
def test_an_accepted_answer_is_right_on_the_pretend_gpu(
    exercise: CodeExercise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answer and one case of each dtype and collector here; `autograder audit --device pretend` takes all."""
    kinds = {(case.collector, case.inputs.get("dtype")): case for case in there(exercise, "pretend")}
    made: list[str] = []
    for name in ("tensor", "given", "module"):
        monkeypatch.setattr(Place, name, _noting(getattr(Place, name), made))
    given = list(answers(exercise, "ACCEPTED").values())[-1]
    for case in kinds.values():
        made.clear()
        assert wrong(exercise, (case,), given) == []
        assert set(made) == {"lazy"}, f"{case.collector} should make its tensors on the case's device"


def _noting(make: Callable[..., Any], made: list[str]) -> Callable[..., Any]:
    """`make`, with the device of what it has made written down."""

    def noted(self: Place, *args: Any) -> Any:
        thing = make(self, *args)
        made.append((next(thing.parameters()) if isinstance(thing, torch.nn.Module) else thing).device.type)
        return thing

    return noted


def test_wrong_variants_are_killed_and_named_on_the_pretend_gpu() -> None:
    report = audit(code_exercises(["start.gd_step"])[0], seeds=(1,), device="pretend")
    assert report.ok
    assert len(report.kills) > 4


# --- which cases can be moved ---------------------------------------------------------------------------------------


def test_what_stays_on_the_cpu_is_known_with_its_reason() -> None:
    """A new collector has to make its tensors on the case's device, or to say why it cannot."""
    stay = {
        exercise.id: {at_home(case) for case in visible_cases(exercise)} for exercise in CODE if exercise not in MOVABLE
    }
    assert all("" not in reasons for reasons in stay.values()), stay
    assert set(AT_HOME) <= set(COLLECTORS)
    topics = {exercise_id.split(".")[0] for exercise_id in stay}
    assert {"adam", "rmsprop", "start"}.isdisjoint(topics), "optimizers are about tensors"
    assert "minibatch.batches" in stay
    assert len(MOVABLE) > 40


@pytest.mark.parametrize("exercise", by_id(CODE))
def test_moving_changes_the_device_alone_and_leaves_counted_cases(exercise: CodeExercise) -> None:
    cases = visible_cases(exercise)
    for case, twin in zip(cases, on_device(cases, "cuda"), strict=True):
        if counted(case) or at_home(case):
            assert twin is case
        else:
            assert twin.inputs == {**case.inputs, "device": "cuda"}
            assert (twin.group, twin.tolerance, twin.limits) == (case.group, case.tolerance, case.limits)
            assert twin.name == f"{case.name}, on the GPU"


def test_a_check_on_a_gpu_machine_adds_the_visible_cases_in_every_dtype() -> None:
    exercise = code_exercises(["adam.adam"])[0]
    twins = checks.twins(exercise, "cuda")
    assert {twin.inputs.get("dtype", "float64") for twin in twins} == set(TOLERANCE)
    assert not any(twin.hidden for twin in twins)
    if not torch.cuda.is_available():  # without the device the problem is told, not raised
        assert gather(twins[0], (torch.optim.Adam,)).problem is not None


@pytest.fixture
def gpu_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` as on a machine with a GPU; the pretend one stands for it."""
    twins = checks.twins
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(checks, "twins", lambda exercise, device: twins(exercise, "pretend"))


@pytest.mark.usefixtures("gpu_machine")
def test_on_a_gpu_machine_a_mistake_has_the_same_name(capsys: pytest.CaptureFixture[str]) -> None:
    exercise = code_exercises(["start.gd_step"])[0]
    for row, _, given in answers(exercise, "MUTANTS"):
        with pytest.raises(checks.CheckFailed):
            checks.check(exercise.id, *given)
        title = next(m.title for m in exercise.misconceptions if m.id == row)
        assert title in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("gpu_machine")
def test_on_a_gpu_machine_a_tensor_of_the_cpu_is_found_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    @torch.no_grad()
    def gd_step(w: torch.Tensor, grad: torch.Tensor, lr: float) -> None:
        w.sub_(lr * grad + torch.zeros(w.shape, dtype=w.dtype))

    with pytest.raises(checks.CheckFailed):
        checks.check("start.gd_step", gd_step)
    said = capsys.readouterr().out
    assert "on the pretend GPU" in said
    assert "torch.zeros(w.shape, dtype=w.dtype)" in said
    assert "zeros_like" in said, "the way out"


def test_answers_on_numpy_stay_right_where_the_exercise_asks_for_no_device() -> None:
    """Nothing in these exercises says where tensors live: `check` on a GPU machine does not ask for it either."""
    for exercise_id in ("largebatch.noise_scale", "landscape.classify"):
        assert checks.twins(code_exercises([exercise_id])[0], "cuda") == ()


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a CUDA device")
def test_a_missing_device_is_refused_in_one_line() -> None:
    with pytest.raises(NoDevice, match="here: leave --device away, marks need no GPU"):
        refuse_missing("cuda")


def test_the_gpu_tests_need_pytest_and_torch_alone(root: Path) -> None:
    """A GPU machine has no Jupyter: nothing of nbgrader's may be imported while these tests are collected."""
    code = BLOCKER.replace("'pytest', ", "") + (
        "import pytest, sys\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', '-m', 'gpu', '--collect-only', "
        "'tests/test_gpu.py', 'tests/launches']))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stdout[-2000:] + out.stderr
    assert "test_every_accepted_answer_is_right_on_cuda" in out.stdout


def test_the_benchmark_runs_a_notebook_with_torch_numpy_and_matplotlib_alone(root: Path) -> None:
    notebook = str(next((root / "source").glob("00_*/*.ipynb")))
    code = BLOCKER + (
        "import runpy\n"
        f"sys.argv = ['gpu.py', '--quick', '--notebook', {notebook!r}]\n"
        "sys.path.insert(0, 'benchmarks')\n"
        "runpy.run_path('benchmarks/gpu.py', run_name='__main__')"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout.strip().splitlines()[-1])["failed"] == ""


# --- whose line it was ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", by_id([one for one in CODE if one.kind == "launches"]))
def test_every_wait_and_mix_is_told_with_the_line_of_code_that_did_it(exercise: CodeExercise) -> None:
    """For every hand-written wrong answer to a GPU exercise that waits for the device, mixes devices or copies to it."""
    told = 0
    for _, name, given in answers(exercise, "MUTANTS"):
        for case in filter(counted, visible_cases(exercise)):
            evidence = gather(case, given)
            for rule, _, lines in judge_case(case, evidence, expected_evidence(exercise, case)).violations:
                if any(word in rule for word in ("synchronisations", "mix", "copies")):
                    assert all(line.startswith("line ") and "`" in line for line in lines), (name, rule, lines)
                    assert lines, (name, rule)
                    told += 1
    if exercise.id not in ("minibatch.accumulate", "adam.master_weights"):  # no wrong answer there waits or mixes
        assert told
