"""Train an ensemble, and compare optimizers with the same tuning budget for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from utils.data import Split
from utils.models import Ensemble, accuracy, member_losses
from utils.progress import bar

#: Makes an optimizer: `(parameters, lr) -> optimizer`.
MakeOptimizer = Callable[[Any, float], Any]


@dataclass(frozen=True, eq=False)
class Run:
    """One training run of all members.

    losses: (steps, members) on the minibatches; final_loss: (members,) on all training data after the last step, inf
    where it is not finite; accuracy: (members,) on the test data.
    """

    losses: torch.Tensor
    final_loss: torch.Tensor
    accuracy: torch.Tensor


def fit(
    model: Ensemble,
    opt: Any,
    data: Split,
    steps: int,
    batch_size: int,
    generator: torch.Generator,
    lr_factor: Callable[[int], float] | None = None,
    label: str = "",
) -> Run:
    """Train on minibatches drawn with replacement; all members see the same ones.

    Args:
        lr_factor: factor on every group's first lr before step t = 0, 1, …; None leaves the lr alone.
        label: shown in front of the progress bar; "" shows none.
    """
    base = [group["lr"] for group in opt.param_groups]
    losses = []
    for step in bar(range(steps), label) if label else range(steps):
        if lr_factor is not None:
            for group, lr in zip(opt.param_groups, base, strict=True):
                group["lr"] = lr * lr_factor(step)
        batch = torch.randint(len(data.train_x), (batch_size,), generator=generator).to(data.train_x.device)
        loss = member_losses(model(data.train_x[batch]), data.train_y[batch])
        model.zero_grad(set_to_none=True)
        loss.sum().backward()
        opt.step()
        losses.append(loss.detach())
    with torch.no_grad():
        final = member_losses(model(data.train_x), data.train_y)
    final = torch.where(final.isfinite(), final, torch.inf)
    return Run(torch.stack(losses).cpu(), final.cpu(), accuracy(model, data.test_x, data.test_y).cpu())


def record_lrs(opt: torch.optim.Optimizer) -> list[list[float]]:
    """A list that grows by one row at each `opt.step()`: the lr of every group that this step uses."""
    rows: list[list[float]] = []

    def note(used: torch.optim.Optimizer, *_: Any) -> None:
        rows.append([float(group["lr"]) for group in used.param_groups])

    opt.register_step_pre_hook(note)
    return rows


@dataclass(frozen=True, eq=False)
class Tuned:
    """The best of a grid of learning rates, by mean final training loss over the members."""

    lr: float
    run: Run
    tried: Mapping[float, float]  # lr → mean final loss

    @property
    def at_edge(self) -> bool:
        """Is the best lr the smallest or largest one tried? Then the grid was too narrow."""
        return self.lr in (min(self.tried), max(self.tried))


def tune(
    make_model: Callable[[], Ensemble],
    make_optimizer: MakeOptimizer,
    lrs: Sequence[float],
    data: Split,
    steps: int,
    batch_size: int,
    seed: int = 0,
    lr_factor: Callable[[int], float] | None = None,
) -> Tuned:
    """Train once per lr, from the same start on the same minibatches, and keep the best."""
    runs: dict[float, Run] = {}
    for lr in lrs:
        model = make_model()
        generator = torch.Generator().manual_seed(seed)
        runs[lr] = fit(model, make_optimizer(model.parameters(), lr), data, steps, batch_size, generator, lr_factor)
    tried = {lr: float(run.final_loss.mean()) for lr, run in runs.items()}
    best = min(tried, key=lambda lr: tried[lr])
    return Tuned(best, runs[best], tried)
