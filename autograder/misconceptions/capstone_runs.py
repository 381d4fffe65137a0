"""Training that survives a kill, and training within a budget: references, and what goes wrong.

Rows C90 to C107 and C131 to C136, and C110 to C116.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autograder.misconceptions import Row

# --- capstone.resume ------------------------------------------------------------------------------------------------

#: What a checkpoint has to hold; each of them can be left out by the fault "without".
PARTS = ("step", "model", "optimizer", "generator", "torch", "order")


def resume_objects(faults: Mapping[str, Any]) -> tuple[Callable[..., None]]:
    """The reference without faults. Faults: "without" (a part that is not saved), "write", "start", "when", "lr",
    "epoch", "order", "mode"."""

    def train(
        folder: Path,
        model: nn.Module,
        opt: Any,
        generator: torch.Generator,
        X: Tensor,
        y: Tensor,
        *,
        steps: int,
        batch_size: int,
        lr_at: Callable[[int], float],
        every: int,
    ) -> None:
        path, start, order = Path(folder) / "checkpoint.pt", 0, None
        if faults.get("start") != "from scratch" and _there(path, faults):
            saved = _read(path, faults)
            start, order = _restored(saved, model, opt, generator, faults)
        if faults.get("mode") == "eval":
            model.eval()
        per_epoch = -(-len(X) // batch_size) if faults.get("epoch") == "rounded up" else len(X) // batch_size
        offset = {"one back": -1, "one ahead": 1}.get(faults.get("start", ""), 0) if start else 0
        for t in range(start + offset, steps):
            if t % per_epoch == 0 or order is None:
                order = torch.randperm(len(X), generator=None if faults.get("order") == "global" else generator)
            k = t % per_epoch
            rows = order[k * batch_size : (k + 1) * batch_size]
            for group in opt.param_groups[: _groups_set(faults)]:
                group["lr"] = lr_at(_time(t, start, faults))
            if faults.get("when") == "before the step" and t % every == 0 and t > 0:
                _save(path, _state(t + 1, model, opt, generator, order), faults)
            loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            if _is_due(t + 1, steps, every, per_epoch, faults):
                _save(path, _state(t + 1, model, opt, generator, order), faults)

    return (train,)


def _groups_set(faults: Mapping[str, Any]) -> int | None:
    return {"never": 0, "first group": 1}.get(faults.get("lr", ""))


def _time(t: int, start: int, faults: Mapping[str, Any]) -> int:
    """The step that the schedule is asked for."""
    other = {"starts again": t - start, "one late": max(t - 1, 0), "one ahead": t + 1, "fixed": 0}
    return other.get(faults.get("lr", ""), t)


def _is_due(done: int, steps: int, every: int, per_epoch: int, faults: Mapping[str, Any]) -> bool:
    when = faults.get("when", "")
    if when == "before the step":
        return done == steps
    if when in ("each step", "never"):
        return bool(when == "each step")
    if when == "at the end":
        return done == steps
    if when == "each epoch":
        return done % per_epoch == 0 or done == steps
    if when == "off by one":
        return (done - 1) % every == 0 or done == steps
    return done % every == 0 or (done == steps and when != "not at the end")


def _state(step: int, model: nn.Module, opt: Any, generator: torch.Generator, order: Tensor) -> dict[str, Any]:
    return {
        "step": step,
        "model": model.state_dict(),
        "optimizer": opt.state_dict(),
        "generator": generator.get_state(),
        "torch": torch.get_rng_state(),
        "order": order,
    }


def _there(path: Path, faults: Mapping[str, Any]) -> bool:
    return path.exists()


def _read(path: Path, faults: Mapping[str, Any]) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(path, weights_only=False)
    if faults.get("write") == "two files":
        saved |= torch.load(path.with_name("optimizer.pt"), weights_only=False)
    return saved


def _restored(
    saved: Mapping[str, Any], model: nn.Module, opt: Any, generator: torch.Generator, faults: Mapping[str, Any]
) -> tuple[int, Tensor | None]:
    without = faults.get("without")
    if without != "model":
        model.load_state_dict(saved["model"])
    if without != "optimizer":
        opt.load_state_dict(saved["optimizer"])
    if without != "generator":
        generator.set_state(saved["generator"])
    if without != "torch":
        torch.set_rng_state(saved["torch"])
    return saved["step"] if without != "step" else 0, saved["order"] if without != "order" else None


def _save(path: Path, state: dict[str, Any], faults: Mapping[str, Any]) -> None:
    how, fresh = faults.get("write", ""), path.with_name("checkpoint.tmp")
    if how == "in place":
        torch.save(state, path)
        return
    if how == "opened":
        with open(path, "wb") as file:
            torch.save(state, file)
        return
    if how == "two files":
        other = {"optimizer": state.pop("optimizer")}
        torch.save(other, path.with_name("optimizer.tmp"))
        torch.save(state, fresh)
        os.replace(fresh, path)
        os.replace(path.with_name("optimizer.tmp"), path.with_name("optimizer.pt"))
        return
    torch.save(state, fresh)
    if how == "copied":
        shutil.copyfile(fresh, path)
        return
    if how == "remove first":
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    os.replace(fresh, path)


_CHECKPOINT = "section 5, the table of what a checkpoint holds"
_WRITE = "section 5, the paragraph on torn files"
RESUME: dict[str, Row] = {
    "C90": Row(
        "the optimizer's state is lost",
        "After a restart the momentum starts from zero. Save opt.state_dict() with the rest.",
        _CHECKPOINT,
        {"without": "optimizer"},
    ),
    "C91": Row(
        "torch's random state is lost",
        "Dropout draws from torch's global generator. Save torch.get_rng_state(), and set it back.",
        _CHECKPOINT,
        {"without": "torch"},
        coincides="for models without dropout",
    ),
    "C92": Row(
        "the generator's state is lost",
        "The epochs after a restart are shuffled differently. Save generator.get_state().",
        _CHECKPOINT,
        {"without": "generator"},
        coincides="within the epoch that was interrupted",
    ),
    "C93": Row(
        "the order of the epoch is lost",
        "In the middle of an epoch the permutation it goes through has to be saved too: drawn anew, some examples come twice "
        "and others never, and the generator is one draw ahead.",
        _CHECKPOINT,
        {"without": "order"},
        coincides="when every checkpoint falls on the end of an epoch",
    ),
    "C94": Row(
        "the last step is done twice",
        "The checkpoint says how many steps are done; the next one has that number (counted from 0).",
        "equation (9.5)",
        {"start": "one back"},
    ),
    "C95": Row(
        "a step is left out after a restart",
        "The checkpoint says how many steps are done; the next one has that number (counted from 0). The same comes of a file "
        "written before the step that its number counts as done.",
        "equation (9.5)",
        {"start": "one ahead"},
        also=({"when": "before the step"},),
    ),
    "C96": Row(
        "the program starts from the beginning",
        "It does not look for a checkpoint, or does not go on from its step: all that was computed is lost with every kill.",
        "equation (9.5)",
        {"start": "from scratch"},
    ),
    "C97": Row(
        "the checkpoint is overwritten in place",
        "A kill in the middle of the write leaves half a file, and the old checkpoint is gone. Write to another name in the "
        "same folder, then os.replace.",
        _WRITE,
        {"write": "in place"},
        also=({"write": "opened"},),
        coincides="as long as no kill falls into a write",
    ),
    "C98": Row(
        "the old checkpoint is removed before the new one is in place",
        "Between the two operations there is no checkpoint at all. os.replace does both at once.",
        _WRITE,
        {"write": "remove first"},
        coincides="as long as no kill falls between the two",
    ),
    "C99": Row(
        "two files that have to match",
        "Killed between the two replacements, the weights are of one step and the optimizer of another. Put everything into "
        "one file.",
        _WRITE,
        {"write": "two files"},
        coincides="as long as no kill falls between the two",
    ),
    "C100": Row(
        "the schedule starts again after a restart",
        "lr_at is asked for the steps since the restart. Its argument is the number of the step in the whole training.",
        "equation (9.5)",
        {"lr": "starts again"},
        coincides="without an interruption",
    ),
    "C101": Row(
        "the learning rate does not follow lr_at",
        "Write lr_at(t) into every group of opt.param_groups before step t.",
        "the docstring: lr_at",
        {"lr": "fixed"},
        also=({"lr": "one late"}, {"lr": "never"}),
    ),
    "C102": Row(
        "no checkpoint after the last step",
        "A program that is started once more then computes the last steps again. Save after the last one too.",
        "the docstring: every",
        {"when": "not at the end"},
        coincides="when `every` divides `steps`",
    ),
    "C103": Row(
        "checkpoints at other steps than `every` says",
        "A checkpoint belongs after step number every, 2·every, … (counted from 1: (t + 1) % every == 0 for t from 0) and "
        "after the last one; not in each step, not once an epoch, not at the end alone.",
        "the docstring: every",
        {"when": "each step"},
        also=({"when": "at the end"}, {"when": "each epoch"}, {"when": "off by one"}),
        by_rules=True,
    ),
    "C105": Row(
        "the weights are not restored",
        "Everything else is read from the file, but the model goes on from its new initial weights: "
        "model.load_state_dict(saved['model']).",
        _CHECKPOINT,
        {"without": "model"},
    ),
    "C106": Row(
        "the number of steps is not restored",
        "Weights and state go on, the loop starts from step 0: the schedule runs again, and the training is longer than asked.",
        "equation (9.5)",
        {"without": "step"},
    ),
    "C107": Row(
        "the finished file is copied onto the final name",
        "A copy opens checkpoint.pt, empties it and fills it bit by bit: a kill in between leaves half a file. os.replace "
        "moves the name only, in one go.",
        _WRITE,
        {"write": "copied"},
        coincides="as long as no kill falls into the copying",
    ),
    "C131": Row(
        "the schedule is asked for the step after",
        "Steps are counted from 0: before step t, write lr_at(t). There is no lr_at(steps).",
        "the docstring: lr_at",
        {"lr": "one ahead"},
    ),
    "C132": Row(
        "no checkpoint is ever written",
        "There is no file checkpoint.pt in the folder when the training is over. Is it called so, and is the finished file "
        "moved onto that name?",
        "the docstring: folder",
        {"when": "never"},
        coincides="without an interruption",
    ),
    "C133": Row(
        "the rest of an epoch becomes a step",
        "An epoch has len(X) // batch_size steps: examples that are left over at its end are left out.",
        "the docstring: generator",
        {"epoch": "rounded up"},
        coincides="when batch_size divides len(X)",
    ),
    "C134": Row(
        "the order is not drawn from the generator",
        "torch.randperm(len(X)) draws from torch's global random state, which dropout uses too. Pass generator=generator.",
        "the docstring: generator",
        {"order": "global"},
    ),
    "C135": Row(
        "the model is not in training mode",
        "After model.eval() dropout does nothing. The model is handed over in training mode: leave it there.",
        "the docstring: model, opt",
        {"mode": "eval"},
        coincides="for models without dropout",
    ),
    "C136": Row(
        "only the first group gets its learning rate",
        "An optimizer can have several groups: for group in opt.param_groups: group['lr'] = lr_at(t).",
        "the docstring: lr_at",
        {"lr": "first group"},
        coincides="for a single group",
    ),
}


# --- capstone.accuracy ----------------------------------------------------------------------------------------------

#: Shares of right answers around the thresholds of the visible cases: programs that fail one, two or all of them.
LEVELS = (0.3, 0.9, 0.945)


def accuracy_objects(faults: Mapping[str, Any]) -> tuple[Callable[..., Tensor]]:
    """Programs that show one symptom and answer rightly as often as the fault "level" says.

    They answer like the nearest neighbour, and spoil a share of the answers: quick, where a training would not be.
    """

    def train_and_predict(
        train_x: Tensor, train_y: Tensor, test_x: Tensor, budget: int, generator: torch.Generator
    ) -> Tensor:
        how = faults.get("how", "")
        asked = {"over the budget": budget + 1, "little training": budget // 8}.get(how, budget)
        weight = torch.ones((), requires_grad=True)
        for _ in range(asked):
            (weight * 1.0).backward()
        shown = train_x if how == "inputs far from 0" else train_x - train_x.mean()
        nn.Linear(train_x.shape[1], 1)(shown[:100])
        if how == "a single class":
            return torch.full((len(test_x),), 3)
        nearest = torch.cdist(test_x, train_x).argmin(1)
        predictions = train_y[nearest]
        spoilt = nearest % 200 >= 200 * faults["level"]  # rows that come twice are spoilt alike
        predictions = torch.where(spoilt, (predictions + 1) % 10, predictions)
        if how == "random predictions":
            predictions[-1] = (predictions[-1] + 1) % 10
        return predictions

    return (train_and_predict,)


def _levels(how: str) -> dict[str, Any]:
    """A program for each number of thresholds that it fails."""
    first, *others = ({"how": how, "level": level} for level in LEVELS)
    return {"faults": first, "also": tuple(others)}


ACCURACY: dict[str, Row] = {
    "C110": Row(
        "the inputs are not normalised",
        "The first layer sees numbers far from 0: all its units move together, and no learning rate suits the rest. Subtract "
        "the mean of train_x and divide by its standard deviation, in test_x as well.",
        "section 7, the list of ingredients",
        by_rules=True,
        **_levels("inputs far from 0"),
    ),
    "C111": Row(
        "dropout is active while predicting",
        "Rows that come twice in test_x get different answers: predictions depend on chance, or on the other rows. Call "
        "model.eval() first.",
        "equation (9.3)",
        by_rules=True,
        **_levels("random predictions"),
    ),
    "C112": Row(
        "the budget is mostly unused",
        "Less than a quarter of the allowed gradients was asked for. Train longer; with a schedule that ends where the budget "
        "does.",
        "section 7, the list of ingredients",
        by_rules=True,
        **_levels("little training"),
    ),
    "C113": Row(
        "one class for every example",
        "That is what argmax makes of nan: the training has diverged. Lower lr, warm it up, clip the gradients.",
        "section 7, the list of ingredients",
        {"how": "a single class", "level": 0.0},
        by_rules=True,
    ),
    "C114": Row(
        "more gradients than the budget allows",
        "Each call of backward counts. Count your steps, and stop.",
        "the docstring: budget",
        {"how": "over the budget", "level": 1.0},
        by_rules=True,
    ),
    "C115": Row(
        "no better than guessing",
        "As many right answers as chance gives. Do examples and labels still belong together (one permutation for both)? Is "
        "the sign of the step right? Are the predictions those of test_x, in its order?",
        "section 7, the list of ingredients",
        {"how": "", "level": 0.1},
        by_rules=True,
    ),
    "C116": Row(
        "trained, but not well",
        "Nothing stands out; it is the tuning. Try learning rates over two decades, with warmup and a decay to 0, on a part of "
        "train_x that you hold back; then a wider or deeper model.",
        "section 7, the list of ingredients",
        by_rules=True,
        **_levels("plain"),
    ),
}
