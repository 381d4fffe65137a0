"""Epochs and micro-batches of the notebook on minibatches: references by torch, and wrong ones (rows B*)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from autograder.misconceptions import Row

Tensor = torch.Tensor
LossFn = Callable[[Tensor, Tensor], Tensor]


# --- minibatch.batches ----------------------------------------------------------------------------------------------


def batches_by_torch(n: int, batch_size: int, generator: torch.Generator, drop_last: bool = False) -> Iterator[Tensor]:
    """The reference: torch's samplers, as DataLoader(shuffle=True) uses them."""
    sampler = torch.utils.data.RandomSampler(range(n), generator=generator)
    for batch in torch.utils.data.BatchSampler(sampler, batch_size, drop_last):
        yield torch.tensor(batch)


def batches(faults: Mapping[str, Any]) -> tuple[Callable[..., Iterator[Tensor]]]:
    """A wrong `minibatches`. Faults: "order" (how indices are drawn) and "cut" (how they become batches)."""

    def minibatches(n: int, batch_size: int, generator: torch.Generator, drop_last: bool = False) -> Iterator[Tensor]:
        if faults.get("order") == "fixed batches":
            yield from _fixed_batches(n, batch_size, generator, drop_last)
            return
        order = _order(faults.get("order", ""), n, generator)
        cut = faults.get("cut", "")
        full = n // batch_size
        if cut == "always dropped" or (drop_last and cut != "never dropped"):
            last = full - 1 if cut == "full one dropped" and drop_last and n % batch_size == 0 else full
        else:
            last = full + 1 if n % batch_size or cut == "empty" else full
        for k in range(last):
            batch = order[k * batch_size : (k + 1) * batch_size]
            if cut == "filled up" and len(batch) < batch_size:
                batch = torch.cat([batch, order[: batch_size - len(batch)]])
            yield batch

    return (minibatches,)


def _fixed_batches(n: int, batch_size: int, generator: torch.Generator, drop_last: bool) -> Iterator[Tensor]:
    parts = torch.arange(n).split(batch_size)
    for i in torch.randperm(len(parts), generator=generator).tolist():
        if len(parts[i]) == batch_size or not drop_last:
            yield parts[i]


def _order(how: str, n: int, generator: torch.Generator) -> Tensor:
    if how == "none":
        return torch.arange(n)
    if how == "fixed seed":
        return torch.randperm(n, generator=torch.Generator().manual_seed(0))
    if how == "reseeded":
        return torch.randperm(n, generator=generator.manual_seed(generator.initial_seed()))
    if how == "replacement":
        return torch.randint(n, (n,), generator=generator)
    if how == "global":
        return torch.randperm(n)
    return torch.randperm(n, generator=generator)


BATCHES: dict[str, Row] = {
    "B6": Row(
        "the same order in every epoch",
        "The generator is set back, or replaced by one of your own with a fixed seed. Take the caller's as it is: each "
        "epoch goes on where the last one stopped.",
        "section 4, the table of what an epoch is",
        {"order": "fixed seed"},
        also=({"order": "reseeded"},),
        by_rules=True,
    ),
    "B6r": Row(
        "drawn with replacement",
        "Some examples come twice in an epoch and others never. An epoch goes through a permutation: torch.randperm.",
        "section 4, the table of what an epoch is",
        {"order": "replacement"},
        by_rules=True,
    ),
    "B6n": Row(
        "no shuffling",
        "The examples come in the order of the file. Where the file is sorted, a minibatch holds a single class.",
        "section 4, the table of what an epoch is",
        {"order": "none"},
        by_rules=True,
    ),
    "B4": Row(
        "the last, short batch is lost",
        "n // batch_size batches leave a remainder. It is only left out when drop_last is True.",
        "section 4, the table of what an epoch is",
        {"cut": "always dropped"},
        coincides="when batch_size divides n, and with drop_last=True",
        by_rules=True,
    ),
    "B4e": Row(
        "an empty batch at the end",
        "When batch_size divides n there is no remainder. The mean over an empty batch is nan.",
        "section 4, the table of what an epoch is",
        {"cut": "empty"},
        coincides="when batch_size does not divide n",
        by_rules=True,
    ),
    "B25": Row(
        "drop_last is ignored",
        "With drop_last=True a batch that is not full is left out.",
        "the docstring: drop_last",
        {"cut": "never dropped"},
        coincides="with drop_last=False, and when batch_size divides n",
        by_rules=True,
    ),
    "B26": Row(
        "drop_last drops a full batch",
        "When batch_size divides n the last batch is full, and stays.",
        "the docstring: drop_last",
        {"cut": "full one dropped"},
        coincides="when batch_size does not divide n",
        by_rules=True,
    ),
    "B27": Row(
        "the last batch is filled up",
        "Examples of this epoch come a second time to make the last batch full. Leave it short.",
        "section 4, the table of what an epoch is",
        {"cut": "filled up"},
        coincides="when batch_size divides n, and with drop_last=True",
        by_rules=True,
    ),
    "B28": Row(
        "the batches are shuffled, not the examples",
        "The same examples meet in every epoch; only the order of the batches changes. Permute the examples, then cut.",
        "section 4, the table of what an epoch is",
        {"order": "fixed batches"},
        by_rules=True,
    ),
    "B45": Row(
        "torch's global random state is used",
        "torch.randperm(n) draws from the global state: the batches depend on whatever ran before, and change it for what "
        "runs after. Pass generator=generator.",
        "section 4, the table of what an epoch is",
        {"order": "global"},
        by_rules=True,
    ),
}


# --- minibatch.accumulate -------------------------------------------------------------------------------------------


def one_example_at_a_time(model: nn.Module, loss_fn: LossFn, X: Tensor, y: Tensor, micro_batch: int) -> None:
    """The reference: the mean of every example's own gradient, which needs no weights and no more than one example."""
    params = list(model.parameters())
    rows = [torch.autograd.grad(loss_fn(model(X[i : i + 1]), y[i : i + 1]), params) for i in range(len(X))]
    for parameter, *gradients in zip(params, *rows, strict=True):
        parameter.grad = torch.stack(gradients).mean(0)


def accumulating(faults: Mapping[str, Any]) -> tuple[Callable[..., None]]:
    """A wrong `accumulate_gradients`. Faults: "cut" (size of a micro-batch), "last", "weight" of a micro-batch, "zero"
    (when .grad is cleared), "backward"."""

    def accumulate_gradients(model: nn.Module, loss_fn: LossFn, X: Tensor, y: Tensor, micro_batch: int) -> None:
        zero, backward = faults.get("zero", "first"), faults.get("backward", "each")
        if zero in ("first", "each"):
            model.zero_grad(set_to_none=True)
        size = _size(faults.get("cut", ""), len(X), micro_batch)
        parts = list(zip(X.split(size), y.split(size), strict=True))
        if faults.get("last") == "lost":
            parts = [pair for pair in parts if len(pair[0]) == size]
        total: Any = 0.0
        for inputs, targets in parts:
            if zero == "each":
                model.zero_grad(set_to_none=True)
            loss = loss_fn(model(inputs), targets) * _weight(faults, len(inputs), len(X), micro_batch, len(parts))
            if backward == "at the end":
                total = total + loss
            else:
                loss.backward(retain_graph=backward == "retained")
            if backward == "retained":
                total = (total, loss)  # somebody keeps the losses, and with them the graphs
        if backward == "at the end":
            total.backward()

    return (accumulate_gradients,)


def _size(cut: str, n: int, micro_batch: int) -> int:
    """Examples in a micro-batch."""
    if cut == "whole":
        return n
    if cut == "chunk":
        return math.ceil(n / micro_batch)
    if cut == "rounded count":
        return math.ceil(n / max(n // micro_batch, 1))
    return micro_batch


def _weight(faults: Mapping[str, Any], size: int, n: int, micro_batch: int, count: int) -> float:
    return {"none": 1.0, "count": 1 / count, "nominal": micro_batch / n, "by n": 1 / n, "sum": float(size)}.get(
        faults.get("weight", ""), size / n
    )


ACCUMULATE: dict[str, Row] = {
    "B8": Row(
        "each micro-batch counts 1/K, though the last one is short",
        "You divide by the number of micro-batches. The examples of a short one count too much: the weight is n_k/N.",
        "equation (1.15)",
        {"weight": "count"},
        coincides="when all micro-batches have one size",
    ),
    "B8s": Row(
        "no scaling",
        "backward adds K mean gradients: the sum is about K times too large, as if lr had been multiplied by K.",
        "equation (1.15)",
        {"weight": "none"},
        coincides="for a single micro-batch",
    ),
    "B3": Row(
        "the last micro-batch is weighted like a full one",
        "The weight micro_batch/N is right for full micro-batches. The short one holds fewer examples: len(its X)/N.",
        "equation (1.15)",
        {"weight": "nominal"},
        coincides="when all micro-batches have one size",
    ),
    "B15": Row(
        "the means are divided by N",
        "loss_fn is a mean over the micro-batch already. Its weight is n_k/N, not 1/N.",
        "equation (1.15)",
        {"weight": "by n"},
    ),
    "B1": Row(
        "the sum instead of the mean",
        "Multiplied by n_k, the means become sums. Divide by N as well.",
        "equation (1.15)",
        {"weight": "sum"},
    ),
    "B7": Row(
        "the old gradient stays",
        "backward adds to what .grad holds. Without zero_grad at the start, the last step's gradient is still in it.",
        "section 12, the paragraph on zero_grad",
        {"zero": "never"},
        coincides="when .grad was empty",
    ),
    "B7z": Row(
        "zero_grad between the micro-batches",
        "Each micro-batch wipes out the ones before: only the last one is left.",
        "section 12, the paragraph on zero_grad",
        {"zero": "each"},
        coincides="for a single micro-batch",
    ),
    "B4": Row(
        "the last, short micro-batch is lost",
        "N // micro_batch micro-batches leave a remainder.",
        "equation (1.15)",
        {"last": "lost"},
        coincides="when micro_batch divides N",
    ),
    "B69": Row(
        "all graphs are kept alive",
        "The losses are added up, and backward runs once at the end (or the graphs are retained): until then every "
        "micro-batch's activations stay in memory. Call backward in the loop; it frees the graph.",
        "section 12, the table of memory",
        {"backward": "at the end"},
        also=({"backward": "retained"},),
        coincides="in the values",
        by_rules=True,
    ),
    "B70": Row(
        "the whole batch at once",
        "The gradient is right, but the model sees all of X in one piece. micro_batch is the most that it may see.",
        "section 12, the table of memory",
        {"cut": "whole"},
        coincides="in the values",
    ),
    "B73": Row(
        "`chunk` for `split`",
        "X.chunk(k) makes k pieces, of N/k examples each; X.split(k) makes pieces of k examples. micro_batch is the size "
        "of a piece, not their number.",
        "the docstring: micro_batch",
        {"cut": "chunk"},
        coincides="in the values, and in sizes as long as N ≤ micro_batch²",
    ),
    "B74": Row(
        "the number of micro-batches is rounded down",
        "N // micro_batch pieces of equal size are larger than micro_batch when it does not divide N. Round up, or cut "
        "pieces of micro_batch and let the last one be short.",
        "the docstring: micro_batch",
        {"cut": "rounded count"},
        coincides="in the values, and in sizes when micro_batch divides N",
    ),
}
