"""What the capstone promises: kills that really kill, labels that stay with the judge, budgets that are counted."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import types
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from autograder.answers import capstone as answers
from autograder.audit import attempt
from autograder.checks import check
from autograder.collectors import capstone_resume as killing
from autograder.collectors.capstone import EVALUATIONS, OVERHEAD, PREDICTIONS, within_budget
from autograder.collectors.launches import SYNCS
from autograder.evidence import Record, decode, encode, gather
from autograder.exercise import REGISTRY, Case, CodeExercise, Score
from autograder.grading.packing import pack, unpack
from autograder.misconceptions import capstone as bank
from autograder.misconceptions import capstone_loop as loops
from autograder.misconceptions import capstone_runs as runs
from autograder.verdict import expected_evidence, hidden_cases, judge_case, visible_cases


def exercise(exercise_id: str) -> CodeExercise:
    found = REGISTRY[exercise_id]
    assert isinstance(found, CodeExercise)
    return found


CODE = [f"capstone.{name}" for name in ("clip", "early_stopping", "resume", "fast_loop", "accuracy")]


def case_of(exercise_id: str, name: str) -> Case:
    return next(case for case in visible_cases(exercise(exercise_id)) if case.name == name)


# --- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise_id", CODE)
def test_a_stub_is_told_that_it_is_not_started(exercise_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    def stub(*_: Any, **__: Any) -> None:
        raise NotImplementedError

    stopper = type("EarlyStopping", (), {"__init__": lambda self, *a, **k: None, "update": stub, "restore": stub})
    objects = [stopper if name == "EarlyStopping" else stub for name in exercise(exercise_id).objects]
    with pytest.raises(AssertionError, match="not started"):
        check(exercise_id, *objects)


@pytest.mark.parametrize("exercise_id", CODE)
@pytest.mark.parametrize("wrong", [None, 3.0, "text", torch.zeros(2)])
def test_something_that_is_no_code_gets_a_clear_message(exercise_id: str, wrong: object) -> None:
    found = exercise(exercise_id)
    verdict, named = attempt(found, visible_cases(found)[:1], [wrong] * len(found.objects))
    (judged,) = verdict.cases
    assert judged.problem is not None
    assert "should be a" in judged.problem.message
    assert named == ()


def message(exercise_id: str, *objects: Any, case: int = 0) -> str:
    found = gather(visible_cases(exercise(exercise_id))[case], objects)
    assert found.problem is not None
    return found.problem.message


def test_wrong_kinds_of_answers_are_named_for_what_they_are() -> None:
    clip = answers.clip_by_stack
    step = answers.step_with(clip)
    assert "returned None" in message("capstone.clip", lambda params, m, error_if_nonfinite=False: None, step)
    norms = message("capstone.clip", lambda params, m, error_if_nonfinite=False: torch.ones(3), step)
    assert "a single number (a 0-dim tensor); its shape is (3,)" in norms

    class Silent(answers.Stopping):
        def update(self, loss: float) -> Any:
            super().update(loss)

    assert "should return True or False; it returned None" in message("capstone.early_stopping", Silent)
    tensors = answers.loop(entry=lambda losses: torch.stack(losses).mean())  # type: ignore[arg-type,return-value]
    assert "two Python numbers; one holds (int, Tensor)" in message("capstone.fast_loop", tensors)
    scores = answers.program(answers._perceptron, answer=lambda scores: scores)
    assert "shape (400, 10); they should be 400 classes" in message("capstone.accuracy", scores)
    assert "take argmax(1)" in message("capstone.accuracy", scores)
    floats = answers.program(answers._perceptron, answer=lambda scores: scores.argmax(1).float())
    assert "integers, the predicted classes" in message("capstone.accuracy", floats)


# --- capstone.clip --------------------------------------------------------------------------------------------------


def test_every_right_clip_agrees_with_torch_on_random_models() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        grads = [10.0 ** (seed % 4 - 2) * torch.randn(3, 2, generator=generator) for _ in range(4)]
        for clip in (answers.clip_by_stack, answers.clip_foreach, answers.clip_with_floats, answers.clip_concatenated):
            norms, results = [], []
            for one in (clip, torch.nn.utils.clip_grad_norm_):
                params = [nn.Parameter(torch.zeros(3, 2)) for _ in grads]
                for p, g in zip(params, grads, strict=True):
                    p.grad = g.clone()
                norms.append(float(one(params, 1.0)))
                results.append(torch.stack([p.grad for p in params if p.grad is not None]))
            assert norms[0] == pytest.approx(norms[1], rel=1e-5)
            torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


def test_the_reference_step_is_the_clipped_gradient_of_all_micro_batches_together() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(4, 3, generator=generator), torch.randn(4, 2, generator=generator)) for _ in range(3)]
    start, loss_fn = nn.Linear(3, 2), nn.functional.mse_loss
    ends = []
    for together in (False, True):
        model = nn.Linear(3, 2)
        model.load_state_dict(start.state_dict())
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        if together:
            X, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
            loss_fn(model(X), y).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
            opt.step()
        else:
            bank.reference_step(model, loss_fn, batches, opt, 0.3, scale=512.0)
        ends.append(model.weight.detach())
    torch.testing.assert_close(ends[0], ends[1])
    assert not torch.equal(ends[0], start.weight)


def test_an_infinite_norm_without_nan_is_what_the_case_holds() -> None:
    found = expected_evidence(exercise("capstone.clip"), case_of("capstone.clip", "a step whose gradient is inf"))
    assert np.isposinf(found.arrays["norm before clipping"][2])
    assert np.isfinite(found.arrays["parameter 0"]).all()


# --- capstone.resume ------------------------------------------------------------------------------------------------


def test_the_kills_are_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each death ends a child by a signal, in the place that the case names."""
    statuses = []
    wait = os.waitpid

    def noted(pid: int, options: int) -> tuple[int, int]:
        pid, status = wait(pid, options)
        statuses.append(os.waitstatus_to_exitcode(status))
        return pid, status

    monkeypatch.setattr(killing.os, "waitpid", noted)
    train = answers.trainer()
    for name, signals in (
        ("killed twice after a step", [-signal.SIGKILL, -signal.SIGKILL]),
        ("killed while it writes", [-signal.SIGXFSZ, -signal.SIGXFSZ]),
        ("killed between operations on files", [-signal.SIGKILL, -signal.SIGKILL]),
    ):
        statuses.clear()
        found = gather(case_of("capstone.resume", name), (train,))
        assert found.problem is None
        assert statuses[:2] == signals, name


def test_a_kill_in_a_write_leaves_half_a_file(tmp_path: Path) -> None:
    inputs = case_of("capstone.resume", "killed while it writes").inputs
    death = inputs["deaths"][0]
    told = killing._forked(answers.trainer(answers._write_straight), killing._Life(inputs, 0, death), tmp_path)
    assert told == {"steps": 10}
    assert (tmp_path / "checkpoint.pt").stat().st_size == death["bytes"]
    told = killing._forked(answers.trainer(), killing._Life(inputs, 1), tmp_path)
    assert "error" in told  # nothing can be read from it


def test_the_audit_hook_and_limits_stay_in_the_child(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    gather(case_of("capstone.resume", "killed while it writes"), (answers.trainer(),))
    gather(case_of("capstone.resume", "killed between operations on files"), (answers.trainer(),))
    assert (resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)) == before
    (tmp_path / "one").write_text("x")
    os.rename(tmp_path / "one", tmp_path / "two")
    os.remove(tmp_path / "two")


def test_a_kill_loses_at_most_one_interval() -> None:
    for seed in (1, 2, 3):
        for case in hidden_cases(exercise("capstone.resume"), seed):
            found = gather(case, (answers.trainer(),))
            assert judge_case(case, found, expected_evidence(exercise("capstone.resume"), case)).passed, case.name
            if case.limits:
                assert found.facts[killing.STEPS] <= case.limits[0].at_most


def test_where_no_process_can_be_forked_deaths_are_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with a GPU: kills after steps still tell right from wrong."""
    monkeypatch.setattr(killing, "_can_fork", lambda: False)
    found = exercise("capstone.resume")
    cases = visible_cases(found)
    verdict, _ = attempt(found, cases, (answers.trainer(),))
    assert verdict.passed
    case = case_of("capstone.resume", "killed twice after a step")
    wrong = gather(case, (answers.trainer(skips="opt"),))
    assert not judge_case(case, wrong, expected_evidence(found, case)).passed


def test_a_step_outside_the_schedule_is_named_in_the_words_of_the_exercise() -> None:
    found = gather(case_of("capstone.resume", "never interrupted"), (answers.trainer(lr_step=lambda t, start: t + 1),))
    assert found.problem is not None
    assert (found.problem.type, found.problem.message) == (
        "ValueError",
        "lr_at was asked for step 16; steps are 0 … 15",
    )


def test_a_program_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(killing, "_LIFE_SECONDS", 0.3)
    lives = []

    def train(folder: Path, *arguments: Any, **options: Any) -> None:
        if (folder / "checkpoint.pt").exists() and os.getpid() != parent:
            while True:
                pass
        lives.append(1)
        answers.trainer()(folder, *arguments, **options)

    parent = os.getpid()
    found = gather(case_of("capstone.resume", "killed twice after a step"), (train,))
    assert found.problem is not None
    assert "did not end within 0.3 seconds" in found.problem.message


# --- capstone.fast_loop ---------------------------------------------------------------------------------------------


def test_the_right_loop_waits_once_per_entry_and_launches_by_equation_9_6() -> None:
    case = case_of("capstone.fast_loop", "waiting for the device")
    entries = len(case.inputs["batches"]) // case.inputs["log_every"]
    right = gather(case, (answers.loop_with_sum,)).facts
    assert right[SYNCS] == entries
    assert right[OVERHEAD] == 1.0
    with_if = gather(case, (answers.loop(clip=answers._clip_with_if),)).facts
    assert with_if[SYNCS] == entries + len(case.inputs["batches"])
    by_loop = gather(case, (answers.loop(clip=answers._clip_in_a_loop),)).facts
    assert float(by_loop[OVERHEAD]) > 2  # type: ignore[arg-type]


# --- capstone.accuracy ----------------------------------------------------------------------------------------------


def test_no_label_of_the_test_data_travels_to_where_student_code_runs() -> None:
    for case in hidden_cases(exercise("capstone.accuracy"), 3):
        labels = np.asarray(case.scores[0].labels)
        sent = pack([case])
        assert labels.astype(np.int64).tobytes() not in sent
        assert labels.astype(np.uint8).tobytes() not in sent
        (played,) = unpack(sent)
        assert played.scores == ()
        assert len(played.inputs["test_x"]) == len(labels) + played.inputs["twice"]
        assert {len(np.ravel(v)) for k, v in played.inputs.items() if k.endswith("_y")} == {2000}


def test_each_seed_draws_other_data_and_the_three_thresholds_share_a_training() -> None:
    one, two = (exercise("capstone.accuracy").draw_cases(seed) for seed in (1, 2))
    assert not np.array_equal(one[0].inputs["test_x"], two[0].inputs["test_x"])
    calls = []

    def program(train_x: Any, train_y: Any, test_x: Any, budget: int, generator: Any) -> Any:
        calls.append(budget)
        return torch.zeros(len(test_x), dtype=torch.int64)

    for case in (*one, *one):
        gather(case, (program,))
    assert calls == [600]


def quick(case: Case, function: Any) -> Any:
    record = Record()
    with torch.enable_grad():
        within_budget(case, (function,), record)
    return record.evidence(None, 0, 0.0)


def test_gradients_are_counted_however_they_are_asked_for() -> None:
    case = case_of("capstone.accuracy", "digits, 85 % right")

    def program(train_x: Any, train_y: Any, test_x: Any, budget: int, generator: Any) -> Any:
        w = torch.ones(2, requires_grad=True)
        (w * w).sum().backward()
        torch.autograd.grad((w * w).sum(), w)
        torch.func.grad(lambda v: (v * v).sum())(torch.ones(2))
        torch.autograd.backward((w * w).sum())
        return torch.zeros(len(test_x), dtype=torch.int64)

    assert quick(case, program).facts[EVALUATIONS] == 4.0
    engine = torch.autograd._engine_run_backward  # type: ignore[attr-defined]
    assert engine.__module__ == "torch.autograd.graph"  # put back


def test_the_budget_holds_even_if_its_error_is_swallowed() -> None:
    case = case_of("capstone.accuracy", "digits, 85 % right")

    def program(train_x: Any, train_y: Any, test_x: Any, budget: int, generator: Any) -> Any:
        w = torch.ones(2, requires_grad=True)
        for _ in range(budget + 5):
            with contextlib.suppress(Exception):
                (w * w).sum().backward()
        return train_y[torch.cdist(test_x, train_x).argmin(1)]

    found = gather(case, (program,))
    judged = judge_case(case, found, expected_evidence(exercise("capstone.accuracy"), case))
    assert not judged.passed
    assert EVALUATIONS in judged.broken


def test_scores_decide_from_predictions_and_labels() -> None:
    score = Score("p", np.array([0, 1, 2, 3]), 0.75, "{share} of {at_least}", guessing=0.3, symptom="why")
    case = Case("c", "g", "function", {}, scores=(score,))

    def judged(predictions: list[int], **facts: str) -> Any:
        record = Record()
        record.array("p", np.array(predictions))
        for name, value in facts.items():
            record.fact(name, value)
        evidence = decode(encode(record.evidence(None, 0, 0.0)))
        return judge_case(case, evidence, replace(evidence, facts={}))

    assert judged([0, 1, 2, 9]).passed
    assert judged([0, 1, 2, 3, 7]).passed  # entries beyond the labels do not count
    assert judged([0, 1, 9, 9]).violations == (("p", "50.0 % of 75 %", ()),)
    assert judged([0, 9, 9, 9]).broken == {"p (guessing)"}
    assert judged([0, 1, 9, 9], why="dropout").broken == {"p (dropout)"}
    assert not judged([0, 1]).passed
    json.dumps(judged([0, 1, 9, 9]).violations)
    assert judged([0, 1, 2, 9]).score == 0.75  # what the leaderboard ranks, passed or not
    assert judged([0, 1, 9, 9]).score == 0.5
    assert judged([0, 1]).score is None


def test_a_tuned_program_reaches_every_threshold_with_room_and_an_untuned_one_none() -> None:
    found = exercise("capstone.accuracy")
    (case, *_) = found.draw_cases(11)
    labels = np.asarray(case.scores[0].labels)

    def share(program: Any) -> float:
        return float((quick(case, program).arrays[PREDICTIONS][: len(labels)] == labels).mean())

    highest, lowest = (pick(case.scores[0].at_least for case in found.draw_cases(11)) for pick in (max, min))
    assert share(answers.program()) > highest + 0.05
    assert share(answers.program(answers._perceptron, lr=1e-3, normalise=False, falling=False)) < lowest


def test_a_passed_check_says_how_much_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    def nearest(train_x: Any, train_y: Any, test_x: Any, budget: int, generator: Any) -> Any:
        return train_y[torch.cdist(test_x, train_x).argmin(1)]

    check("capstone.accuracy", nearest)
    told = capsys.readouterr().out
    assert re.search(r"9\d\.\d % right", told)
    assert "identical" not in told


@pytest.mark.parametrize(
    ("exercise_id", "objects", "name"),
    [
        ("capstone.fast_loop", (answers.loop(clip=torch.nn.utils.clip_grad_norm_),), "clip_grad_norm_"),
        ("capstone.accuracy", (answers.program(optimizer=torch.optim.AdamW),), "torch.optim.AdamW"),
        ("capstone.accuracy", (answers.program(optimizer=partial(torch.optim.SGD, momentum=0.9)),), "torch.optim.SGD"),
    ],
)
def test_what_grading_leaves_out_is_refused_by_the_visible_check_and_works_again_afterwards(
    exercise_id: str, objects: tuple[Any, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError, match="not passed"):
        check(exercise_id, *objects)
    told = capsys.readouterr().out
    assert f"{name} is the reference here: write the update yourself" in told
    assert "left_out" not in told
    p = nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    torch.nn.utils.clip_grad_norm_([p], 1.0)
    torch.optim.AdamW([p]).step()
    torch.optim.SGD([p], lr=0.1).step()


# --- questions ------------------------------------------------------------------------------------------------------


def test_checkpoints_every_ten_minutes_lose_the_least_of_the_four_choices() -> None:
    """Kills at random moments, 240 minutes apart on average; a checkpoint takes a third of a minute."""

    def minutes(every: float, work: float = 240 * 100) -> float:
        rng, done, clock = np.random.default_rng(0), 0.0, 0.0
        until_kill = rng.exponential(240)
        while done < work:
            segment = every + 1 / 3
            if segment <= until_kill:
                done, clock, until_kill = done + every, clock + segment, until_kill - segment
            else:
                clock, until_kill = clock + until_kill, rng.exponential(240)
        return clock / work

    taken = {every: minutes(every) for every in (1, 10, 60, 240)}
    assert min(taken, key=taken.__getitem__) == 10
    assert taken == pytest.approx({1: 1.34, 10: 1.054, 60: 1.13, 240: 1.7}, rel=0.06), "what the feedback says"


# --- CIFAR-10 -------------------------------------------------------------------------------------------------------


def cifar_cell(root: Path, device: str, wanted: bool) -> dict[str, Any]:
    """Run the cell; returns its names."""
    notebook = nbformat.read(root / "source" / "09_capstone" / "09_capstone.ipynb", as_version=4)
    source = next(cell.source for cell in notebook.cells if cell.id == "cifar")
    assert source.count("wanted = False") == 1
    names: dict[str, Any] = {"torch": torch, "nn": nn, "device": torch.device(device), "done": lambda *_: True}
    names["train_loop"] = answers.loop_with_sum
    exec(source.replace("wanted = False", f"wanted = {wanted}"), names)
    return names


@pytest.mark.parametrize(
    ("device", "wanted", "says"),
    [
        ("cpu", False, "set wanted = True"),
        ("cpu", True, "it needs a CUDA device, and this notebook runs on cpu"),
        ("cuda", True, "torchvision"),
    ],
)
def test_without_what_it_needs_the_cifar_cell_says_one_line_and_goes_on(
    root: Path,
    device: str,
    wanted: bool,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)  # as where it is not installed
    cifar_cell(root, device, wanted)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("CIFAR-10 is left out: ")
    assert says in line


def test_pictures_of_torchvisions_interface_are_trained_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What torchvision.datasets.CIFAR10 has: `data`, uint8 of shape (N, 32, 32, 3), and `targets`, a list of int."""

    class Pictures:
        def __init__(self, place: str, train: bool = True, transform: Any = None, download: bool = False) -> None:
            rng = np.random.default_rng(train)
            self.targets = [i % 10 for i in range(60 if train else 20)]
            self.data = rng.integers(0, 40, (len(self.targets), 32, 32, 3), dtype=np.uint8)
            for picture, target in zip(self.data, self.targets, strict=True):
                picture[3 * target : 3 * target + 3] = 255  # a bright stripe tells the class

    package = types.ModuleType("torchvision")
    package.datasets = types.SimpleNamespace(CIFAR10=Pictures)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    names = cifar_cell(root, "cpu", wanted=False)
    capsys.readouterr()
    torch.manual_seed(0)
    names["train_on"](*names["load_cifar10"](), epochs=2, batch_size=20, log_every=2)
    found = re.fullmatch(r"loss (\S+) → (\S+) in 6 steps; test accuracy (\S+) %\n", capsys.readouterr().out)
    assert found is not None
    assert float(found[2]) < float(found[1])


# --- the simulators without faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exercise_id", "objects"),
    [
        ("capstone.clip", bank.clip_objects({})),
        ("capstone.early_stopping", bank.stopping_objects({})),
        ("capstone.resume", runs.resume_objects({})),
        ("capstone.fast_loop", loops.loop_objects({})),
    ],
)
def test_the_simulators_without_faults_are_right(exercise_id: str, objects: Any) -> None:
    found = exercise(exercise_id)
    for case in visible_cases(found):
        assert judge_case(case, gather(case, objects), expected_evidence(found, case)).passed, case.name
