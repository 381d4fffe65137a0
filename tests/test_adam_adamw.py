"""The notebook on Adam: the numbers that its questions ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from autograder.exercise import REGISTRY, QuizExercise
from autograder.publish.sample_class import source_solutions

NAME = "05_adam_adamw"


def keys(name: str) -> list[float]:
    quiz = REGISTRY[name]
    assert isinstance(quiz, QuizExercise)
    return [float(part.key) for part in quiz.parts]


@pytest.fixture(scope="module")
def solutions(root: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"torch": torch}
    cells = source_solutions(root / "source" / NAME / f"{NAME}.ipynb")
    for exercise in ("adam.step", "adam.adam", "adam.master_weights"):
        exec(cells[exercise], names)
    return names


def test_a_step_takes_as_long_as_the_later_of_launching_and_computing() -> None:
    """Two queues: an operation starts when it has been launched and the one before it is done."""

    def milliseconds_per_step(launching: float, computing: float, operations: int = 100, steps: int = 50) -> float:
        launched = done = 0.0
        for _ in range(operations * steps):
            launched += launching / operations
            done = max(done, launched) + computing / operations
        return done / steps

    assert keys("adam.q7") == pytest.approx([milliseconds_per_step(12, 7), milliseconds_per_step(12 - 8, 7)], rel=0.02)


@pytest.mark.parametrize("own", [True, False])
def test_a_master_that_load_state_dict_has_cast_learns_no_more(solutions: dict[str, Any], own: bool) -> None:
    class WithTorchsLoading(solutions["MasterAdam"]):  # type: ignore[misc]
        load_state_dict = torch.optim.Optimizer.load_state_dict

    p = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    opt = solutions["MasterAdam"]([p], lr=0.0, betas=(0.0, 0.0))
    p.grad = torch.full_like(p, -1)
    opt.step()
    resumed = (solutions["MasterAdam"] if own else WithTorchsLoading)([p])
    resumed.load_state_dict(opt.state_dict())
    resumed.param_groups[0]["lr"] = 0.002  # without memory a step is as long as the lr
    for _ in range(1000):
        resumed.step()
    assert p.tolist() == pytest.approx([keys("adam.q8")[0 if own else 1]] * 4, rel=0.01)


def test_with_a_falling_lr_a_weight_gets_half_as_far(solutions: dict[str, Any]) -> None:
    (lr,) = keys("adam.q9")
    w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    opt = solutions["Adam"]([w], lr=lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lambda t: 1 - t / 400)
    for _ in range(400):
        w.grad = torch.full_like(w, -3.0)
        opt.step()
        scheduler.step()
    assert w.item() == pytest.approx(6, rel=0.01)
