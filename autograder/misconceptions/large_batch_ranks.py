"""The gradient of a batch that is spread over ranks: right and wrong ways (rows G42–G61, F*). Equation and section
numbers are those of the notebook `08_large_batch_scaling`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]
Loss = Callable[[Tensor, Tensor], Tensor]


def data_parallel_function(faults: Faults) -> tuple[Callable[..., None], ...]:
    """`data_parallel_backward` with faults: those of `_reduce`, and "loss"."""

    def data_parallel_backward(
        model: torch.nn.Module, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int
    ) -> None:
        loss = loss_fn(model(X), y)
        if faults.get("loss") == "reduced":
            all_reduce(loss)
            (loss / world_size).backward()
            return
        if faults.get("loss") == "reduced only":
            all_reduce(loss.detach())
            loss.backward()
            return
        if faults.get("reduced") == "before backward":
            for p in model.parameters():
                p.grad = torch.zeros_like(p) if p.requires_grad else None
            _reduce(model, len(y), all_reduce, world_size, {})
            for p in model.parameters():
                p.grad = None
            loss.backward()
            return
        loss.backward()
        _reduce(model, len(y), all_reduce, world_size, faults)

    return (data_parallel_backward,)


def accumulate_function(faults: Faults) -> tuple[Callable[..., None], ...]:
    """`accumulate_and_reduce` with faults: those of `_reduce`, and "micro"."""

    def accumulate_and_reduce(
        model: torch.nn.Module,
        loss_fn: Loss,
        X: Tensor,
        y: Tensor,
        micro_batch: int,
        all_reduce: Any,
        world_size: int,
    ) -> None:
        how, n = faults.get("micro", "right"), len(y)
        if how == "whole shard":
            micro_batch = n
        parts = list(zip(X.split(micro_batch), y.split(micro_batch), strict=True))
        if how == "one backward":
            outputs = torch.cat([model(one) for one, _ in parts])
            loss_fn(outputs, y).backward()
            parts = []
        if how == "last dropped" and len(parts) > 1 and len(parts[-1][1]) < micro_batch:
            parts = parts[:-1]
        if how == "first only":
            parts = parts[:1]
        for one, target in parts:
            if how == "zeroed":
                model.zero_grad(set_to_none=True)
            weight = {
                "equal": 1 / len(parts),
                "none": 1.0,
                "all of it each time": 1.0,
                "nominal": micro_batch / n,
                "twice": len(target) / n / len(parts),
                "sum": float(len(target)),
            }.get(how, len(target) / n)
            (loss_fn(model(one), target) * weight).backward()
            if how in ("reduced each time", "all of it each time"):
                _reduce(model, n if how == "reduced each time" else len(target), all_reduce, world_size, faults)
        if how not in ("reduced each time", "all of it each time"):
            _reduce(model, n, all_reduce, world_size, faults)

    return (accumulate_and_reduce,)


def _reduce(model: torch.nn.Module, n: int, all_reduce: Any, world_size: int, faults: Faults) -> None:
    """Turn each rank's mean gradient into the whole batch's: one tensor of n·gradient entries and n itself."""
    params = list(model.parameters())
    if faults.get("frozen") == "zero":
        for p in params:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    trained = [p for p in params if p.grad is not None]
    grads = [p.grad for p in trained if p.grad is not None]
    how = faults.get("weights", "right")
    own = 1.0 if how in ("sum", "equal") else float(n)
    device = torch.device("cpu") if faults.get("count on") == "cpu" else grads[0].device
    count = torch.tensor([float(n)], dtype=grads[0].dtype, device=device)
    if faults.get("buckets") == "count apart":
        count = count[0]
        all_reduce(count)
        flat = torch.cat([n * g.reshape(-1) for g in grads])
        all_reduce(flat)
        for g, part in zip(grads, (flat / count).split([g.numel() for g in grads]), strict=True):
            g.copy_(part.view_as(g))
        return
    if faults.get("buckets") == "one per tensor":
        _one_by_one(grads, count, own, all_reduce, world_size, how)
        return
    flat = torch.cat([own * g.reshape(-1) for g in grads] + [count])
    if faults.get("reduced") == "returned":
        _use_what_is_returned(all_reduce(flat), grads, faults.get("used"))
    if faults.get("reduced") != "not at all":
        all_reduce(flat)
    total: Any = flat[-1]
    if faults.get("count") == "item":
        total = total.item()
    divisor = {
        "sum": 1.0,
        "equal": float(world_size),
        "not divided": 1.0,
        "own n": float(n),
        "own n and ranks": float(n * world_size),
        "twice": total * world_size,
    }.get(how, total)
    flat = flat[:-1] / divisor
    if faults.get("written") == "lost":
        return
    for p, part in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
        assert p.grad is not None
        p.grad.copy_(part.view_as(p))


def _use_what_is_returned(returned: Any, grads: list[Tensor], how: str | None) -> None:
    """all_reduce returns None: TypeError or AttributeError, whatever is done with it."""
    if how == "divided":
        returned / len(grads)
    elif how == "divided by a tensor":
        returned / grads[0]
    elif how == "split":
        returned.split([g.numel() for g in grads])
    else:
        returned[:-1]


def _one_by_one(grads: list[Tensor], count: Tensor, own: float, all_reduce: Any, world_size: int, how: str) -> None:
    all_reduce(count)
    for g in grads:
        g.mul_(own)
        all_reduce(g)
        g.div_(float(world_size) if how == "equal" else 1.0 if how == "sum" else count)


_MEAN, _COUNT = "equation (8.18)", "section 8"

DATA_PARALLEL_ROWS: dict[str, Row] = {
    "G42": Row(
        "a sum for the mean",
        "You add the ranks' mean gradients up and divide by nothing: the gradient, and with it the step, grows with the "
        "number of ranks.",
        _MEAN,
        {"weights": "sum"},
        also=({"weights": "sum", "buckets": "one per tensor"},),
    ),
    "G43": Row(
        "every rank counts alike",
        "You divide by the number of ranks. That is right when all shards have the same size; here a rank with few "
        "examples weighs as much as one with many. Weigh each rank's mean by its number of examples.",
        _MEAN,
        {"weights": "equal"},
        also=({"weights": "equal", "buckets": "one per tensor"},),
        coincides="when all shards have the same size",
    ),
    "G46": Row(
        "divided by the own number of examples",
        "You sum n_r·g_r over the ranks and divide by this rank's own n (times the number of ranks, perhaps). The "
        "divisor is the number of all examples, the sum of the n_r: it has to be reduced, too.",
        _MEAN,
        {"weights": "own n and ranks"},
        also=({"weights": "own n"},),
        coincides="when all shards have the same size",
    ),
    "G51": Row(
        "n·g is summed and not divided",
        "Your gradient is the one of the *sum* of the losses. Divide by the number of all examples.",
        _MEAN,
        {"weights": "not divided"},
    ),
    "G54": Row(
        "averaged twice",
        "You weigh by the numbers of examples, and divide by the number of ranks on top.",
        _MEAN,
        {"weights": "twice"},
    ),
    "G44": Row(
        "no gradient is reduced",
        "Each rank ends with the gradient of its own shard, and the models drift apart. (Reducing the loss does not help: "
        "all_reduce changes numbers, autograd knows nothing of it, and backward gives the own shard's gradient all the "
        "same.) Reduce the gradients, when backward has made them.",
        _COUNT,
        {"reduced": "not at all", "written": "lost"},
        also=({"loss": "reduced only"}, {"loss": "reduced"}),
    ),
    "G47": Row(
        "the reduced numbers do not reach .grad",
        "You reduce a copy (torch.cat makes one, and so does `n * g`), and .grad keeps the own shard's numbers; or you "
        "reduce before backward has made them. Write the result back: p.grad.copy_(…).",
        _COUNT,
        {"written": "lost"},
        also=({"reduced": "before backward"},),
    ),
    "G89": Row(
        "the result of all_reduce is used",
        "all_reduce returns nothing; it changes the tensor that it is given. Write `all_reduce(t)` and go on with t.",
        "the docstring: all_reduce",
        {"reduced": "returned"},
        also=tuple({"reduced": "returned", "used": how} for how in ("divided", "divided by a tensor", "split")),
    ),
    "G45": Row(
        "one all_reduce per tensor",
        "Each call costs a round trip between all ranks, however small its tensor is. Put all gradients into one flat "
        "tensor, torch.cat, reduce that, and split it again.",
        _COUNT,
        {"buckets": "one per tensor"},
        by_rules=True,
    ),
    "G50": Row(
        "the count is made on the CPU",
        "`torch.tensor(n)` lives on the CPU. It cannot be joined with the gradients on the GPU, and nccl cannot reduce it "
        "either: give it device=X.device, or the gradient's.",
        "section 8: no device mix",
        {"count on": "cpu"},
        also=({"count on": "cpu", "buckets": "count apart"},),
        by_rules=True,
        coincides="on the CPU",
    ),
    "G49": Row(
        "waiting for the count",
        "`.item()` or `float(…)` on a device tensor makes Python wait for the GPU and for all ranks. Divide by the "
        "tensor itself.",
        "section 8: no waiting",
        {"count": "item"},
        by_rules=True,
        coincides="on the CPU",
    ),
    "G53": Row(
        "a frozen parameter gets a gradient",
        "A parameter that takes no gradient has .grad None, and keeps it: an optimizer with weight decay would move it "
        "otherwise.",
        "the docstring: frozen parameters",
        {"frozen": "zero"},
        by_rules=True,
        coincides="when every parameter takes a gradient",
    ),
}  # fmt: skip

ACCUMULATE_ROWS: dict[str, Row] = {
    **{key: DATA_PARALLEL_ROWS[key] for key in ("G42", "G43", "G46", "G51", "G54", "G45", "G49", "G50", "G53", "G89")},
    "G44": replace(DATA_PARALLEL_ROWS["G44"], also=()),
    "G47": Row(
        "the reduced numbers do not reach .grad",
        "You reduce a copy, and .grad keeps the own shard's numbers. Write the result back: p.grad.copy_(…).",
        _COUNT,
        {"written": "lost"},
    ),
    "G55": Row(
        "reduced after every micro-batch",
        "all_reduce belongs after the last micro-batch: one call per step, however many micro-batches there are. Reduced "
        "in between (by data_parallel_backward in the loop, for instance), .grad already holds the other ranks' share when "
        "the next micro-batch is added, and gradients that are reduced already are reduced again; and ranks with fewer "
        "micro-batches leave the others waiting for ever.",
        _COUNT,
        {"micro": "reduced each time"},
        also=(
            {"micro": "reduced each time", "weights": "equal"},
            {"micro": "reduced each time", "weights": "sum"},
            {"micro": "all of it each time"},
        ),
    ),
    "G57": Row(
        "the last, shorter micro-batch is dropped",
        "When micro_batch does not divide the shard, what is left over is a micro-batch as well.",
        _MEAN,
        {"micro": "last dropped"},
        coincides="when micro_batch divides the shard",
    ),
    "G59": Row(
        "every micro-batch counts alike",
        "You divide by the number of micro-batches. The last one is shorter: weigh each one's mean loss by its number of "
        "examples.",
        _MEAN,
        {"micro": "equal"},
        coincides="when micro_batch divides the shard",
    ),
    "B3": Row(
        "the last micro-batch is taken for a full one",
        "You weigh each micro-batch by micro_batch/n, the last one too, though it has fewer examples.",
        _MEAN,
        {"micro": "nominal"},
        coincides="when micro_batch divides the shard",
    ),
    "G58": Row(
        "scaled twice",
        "You weigh by the numbers of examples, and divide by the number of micro-batches on top.",
        _MEAN,
        {"micro": "twice"},
        coincides="with one micro-batch",
    ),
    "B8": Row(
        "the micro-batches' gradients are summed",
        "backward adds up: without a weight .grad holds the sum of the micro-batches' means. Multiply each loss by its "
        "share of the examples.",
        _MEAN,
        {"micro": "none"},
        coincides="with one micro-batch",
    ),
    "G87": Row(
        "weighed by n twice",
        "Each loss is multiplied by its number of examples, so that .grad holds the gradient of a sum; multiplied by n "
        "again before the reduction it is too large.",
        _MEAN,
        {"micro": "sum"},
    ),
    "G60": Row(
        "zero_grad between the micro-batches",
        "Only the last micro-batch's gradient is left. .grad is None when the function is called: it has to add up.",
        _MEAN,
        {"micro": "zeroed"},
        coincides="with one micro-batch",
    ),
    "G88": Row(
        "only the first micro-batch",
        "The loop ends after the first micro-batch.",
        _MEAN,
        {"micro": "first only"},
        coincides="with one micro-batch",
    ),
    "B69": Row(
        "all graphs are kept alive",
        "backward runs once, after the last micro-batch (or the graphs are retained): until then the activations of all "
        "micro-batches stay in memory. Call backward in the loop; it frees the graph.",
        "the docstring: the graph of a micro-batch",
        {"micro": "one backward"},
        by_rules=True,
    ),
    "G61": Row(
        "the whole shard at once",
        "The model is given more than micro_batch examples at a time: the gradient is right, and the memory is what "
        "accumulation was meant to save.",
        "the docstring: at most micro_batch",
        {"micro": "whole shard"},
        by_rules=True,
    ),
}
