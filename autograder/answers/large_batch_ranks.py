"""Right and wrong answers to `largebatch.data_parallel` and `largebatch.no_sync`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from autograder.answers import Mutants, Objects

Tensor = torch.Tensor
Loss = Callable[[Tensor, Tensor], Tensor]
Model = torch.nn.Module


def average_gradients(model: Model, n: int, all_reduce: Any) -> None:
    """From the mean over this rank's n examples to the mean over all, in one flat tensor."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([n * g.flatten() for g in grads] + [grads[0].new_full((1,), n)])
    all_reduce(flat)
    mean = flat[:-1] / flat[-1]
    for g, part in zip(grads, mean.split([g.numel() for g in grads]), strict=True):
        g.copy_(part.view_as(g))


def data_parallel_backward(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    loss_fn(model(X), y).backward()  # type: ignore[no-untyped-call]
    average_gradients(model, len(y), all_reduce)


def _two_calls(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    """The count goes ahead, and the loss is scaled before backward."""
    total = torch.tensor(float(len(X)), device=X.device, dtype=X.dtype)
    all_reduce(total)
    loss = loss_fn(model(X), y) * (len(X) / total)
    loss.backward()  # type: ignore[no-untyped-call]
    params = [p for p in model.parameters() if p.requires_grad]
    flat = torch.nn.utils.parameters_to_vector([p.grad for p in params if p.grad is not None])
    all_reduce(flat)
    start = 0
    for p in params:
        p.grad = flat[start : start + p.numel()].reshape(p.shape)
        start += p.numel()


def _without_backward(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    """torch.autograd.grad, an asynchronous call, slices of the flat tensor as gradients."""
    params = [p for p in model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss_fn(model(X), y) * len(X), params)
    flat = torch.cat([g.reshape(-1) for g in grads] + [torch.ones(1, device=X.device, dtype=X.dtype) * len(X)])
    work = all_reduce(flat, async_op=True)
    if work is not None:
        work.wait()
    flat.div_(flat[-1].clone())
    for p, part in zip(params, flat[:-1].split([p.numel() for p in params]), strict=True):
        p.grad = part.view_as(p).clone()


def accumulate_and_reduce(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    for xb, yb in zip(X.split(micro_batch), y.split(micro_batch), strict=True):
        (loss_fn(model(xb), yb) * (len(yb) / len(y))).backward()  # type: ignore[no-untyped-call]
    average_gradients(model, len(y), all_reduce)


def _accumulate_sums(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    """The gradient of the sum, divided by the number of all examples at the end."""
    for start in range(0, len(X), micro_batch):
        rows = slice(start, start + micro_batch)
        (loss_fn(model(X[rows]), y[rows]) * len(X[rows])).backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([*(g.view(-1) for g in grads), torch.full((1,), len(X), device=X.device, dtype=X.dtype)])
    all_reduce(flat)
    offset = 0
    for g in grads:
        g.copy_((flat[offset : offset + g.numel()] / flat[-1]).view_as(g))
        offset += g.numel()


def _accumulate_with_count_first(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    total = X.new_tensor([float(len(X))])
    all_reduce(total)
    for xb, yb in zip(torch.split(X, micro_batch), torch.split(y, micro_batch), strict=True):
        torch.autograd.backward((loss_fn(model(xb), yb) * len(xb) / total).sum())
    params = [p for p in model.parameters() if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in params if p.grad is not None])
    all_reduce(flat)
    for p, part in zip(params, flat.split([p.numel() for p in params]), strict=True):
        p.grad = part.view(p.shape).clone()


# --- wrong ones -----------------------------------------------------------------------------------------------------


def _one_by_one(divisor: Callable[[int], float]) -> Any:
    def function(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
        loss_fn(model(X), y).backward()  # type: ignore[no-untyped-call]
        for p in model.parameters():
            if p.grad is not None:
                all_reduce(p.grad)
                p.grad /= divisor(world_size)

    return function


def _each_tensor(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    total = torch.tensor(float(len(X)), device=X.device, dtype=X.dtype)
    all_reduce(total)
    (loss_fn(model(X), y) * len(X)).backward()  # type: ignore[no-untyped-call]
    for p in model.parameters():
        if p.grad is not None:
            all_reduce(p.grad)
            p.grad.div_(total)


def _flat_mean(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    loss_fn(model(X), y).backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    all_reduce(flat)
    for g, part in zip(grads, (flat / world_size).split([g.numel() for g in grads]), strict=True):
        g.copy_(part.view_as(g))


def _reduces_the_loss(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    loss = loss_fn(model(X), y)
    all_reduce(loss)
    loss.backward()  # type: ignore[no-untyped-call]


def _lost(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    loss_fn(model(X), y).backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([len(X) * g.flatten() for g in grads] + [grads[0].new_full((1,), len(X))])
    all_reduce(flat)
    for g, part in zip(grads, (flat[:-1] / flat[-1]).split([g.numel() for g in grads]), strict=True):
        g = part.view_as(g)


def _waits(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    loss_fn(model(X), y).backward()  # type: ignore[no-untyped-call]
    count = torch.tensor(float(len(X)), device=X.device, dtype=X.dtype)
    all_reduce(count)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads]) * (len(X) / float(count))
    all_reduce(flat)
    for g, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        g.copy_(part.view_as(g))


def _on_the_cpu(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    loss_fn(model(X), y).backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([len(X) * g.flatten() for g in grads] + [torch.tensor([float(len(X))], dtype=X.dtype)])
    all_reduce(flat)
    for g, part in zip(grads, (flat[:-1] / flat[-1]).split([g.numel() for g in grads]), strict=True):
        g.copy_(part.view_as(g))


def _nothing(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    loss_fn(model(X), y).backward()  # type: ignore[no-untyped-call]


def _accumulate(weight: Callable[[int, int, int, int], float], each_time: bool = False) -> Any:
    """weight(examples in the micro-batch, in the shard, micro_batch, number of micro-batches)."""

    def function(
        model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
    ) -> None:
        parts = list(zip(X.split(micro_batch), y.split(micro_batch), strict=True))
        for xb, yb in parts:
            loss = loss_fn(model(xb), yb) * weight(len(xb), len(X), micro_batch, len(parts))
            loss.backward()  # type: ignore[no-untyped-call]
            if each_time:
                average_gradients(model, len(X), all_reduce)
        if not each_time:
            average_gradients(model, len(X), all_reduce)

    return function


def _drops_the_last(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    for k in range(max(len(X) // micro_batch, 1)):
        rows = slice(k * micro_batch, (k + 1) * micro_batch)
        (loss_fn(model(X[rows]), y[rows]) * (len(X[rows]) / len(X))).backward()  # type: ignore[no-untyped-call]
    average_gradients(model, len(X), all_reduce)


def _clears_in_between(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    for xb, yb in zip(X.split(micro_batch), y.split(micro_batch), strict=True):
        model.zero_grad()
        (loss_fn(model(xb), yb) * len(xb) / len(X)).backward()  # type: ignore[no-untyped-call]
    average_gradients(model, len(X), all_reduce)


def _all_at_once(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    data_parallel_backward(model, loss_fn, X, y, all_reduce, world_size)


def _one_backward(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    total: Any = 0.0
    for xb, yb in zip(X.split(micro_batch), y.split(micro_batch), strict=True):
        total = total + loss_fn(model(xb), yb) * len(xb)
    (total / len(X)).backward()
    average_gradients(model, len(X), all_reduce)


def _joined_outputs(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    class Cut(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([model(part) for part in x.split(micro_batch)])

        def parameters(self, recurse: bool = True) -> Any:
            return model.parameters(recurse)

    data_parallel_backward(Cut(), loss_fn, X, y, all_reduce, world_size)


def _retained(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    losses = []
    for xb, yb in zip(X.split(micro_batch), y.split(micro_batch), strict=True):
        losses.append(loss_fn(model(xb), yb) * (len(xb) / len(X)))
        losses[-1].backward(retain_graph=True)  # type: ignore[no-untyped-call]
    average_gradients(model, len(X), all_reduce)


def _count_on_the_cpu(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
    N = torch.tensor(float(len(X)))
    all_reduce(N)
    (loss_fn(model(X), y) * len(X)).backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    all_reduce(flat)
    for g, part in zip(grads, (flat / N).split([g.numel() for g in grads]), strict=True):
        g.copy_(part.view_as(g))


def _accumulate_count_on_the_cpu(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    N = torch.tensor(float(len(X)))
    all_reduce(N)
    for xb, yb in zip(X.split(micro_batch), y.split(micro_batch), strict=True):
        (loss_fn(model(xb), yb) * len(yb) / N).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    all_reduce(flat)
    for g, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        g.copy_(part.view_as(g))


def _returned(slices: bool) -> Any:
    def function(model: Model, loss_fn: Loss, X: Tensor, y: Tensor, all_reduce: Any, world_size: int) -> None:
        loss_fn(model(X), y).backward()  # type: ignore[no-untyped-call]
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        bucket = torch.cat([len(X) * g.flatten() for g in grads] + [grads[0].new_full((1,), len(X))])
        bucket = all_reduce(bucket)
        parts = bucket[:-1] / bucket[-1] if slices else (bucket / world_size).split([g.numel() for g in grads])
        for g, part in zip(grads, parts, strict=True):
            g.copy_(part.view_as(g))

    return function


def _whole_thing_each_time(
    model: Model, loss_fn: Loss, X: Tensor, y: Tensor, micro_batch: int, all_reduce: Any, world_size: int
) -> None:
    for xb, yb in zip(X.split(micro_batch), y.split(micro_batch), strict=True):
        data_parallel_backward(model, loss_fn, xb, yb, all_reduce, world_size)


ACCEPTED: dict[str, dict[str, Objects]] = {
    "largebatch.data_parallel": {
        "one flat tensor": (data_parallel_backward,),
        "two calls, scaled loss": (_two_calls,),
        "autograd.grad, asynchronous": (_without_backward,),
    },
    "largebatch.no_sync": {
        "shares of the shard": (accumulate_and_reduce,),
        "sums": (_accumulate_sums,),
        "the count first": (_accumulate_with_count_first,),
    },
}

MUTANTS: Mutants = {
    "largebatch.data_parallel": (
        ("G42", "sum, one by one", (_one_by_one(lambda ranks: 1.0),)),
        ("G43", "mean of means, one by one", (_one_by_one(float),)),
        ("G43", "mean of means, flat", (_flat_mean,)),
        ("G45", "one by one", (_each_tensor,)),
        ("G44", "all_reduce(loss)", (_reduces_the_loss,)),
        ("G47", "g = part", (_lost,)),
        ("G49", "float(count)", (_waits,)),
        ("G50", "torch.tensor", (_on_the_cpu,)),
        ("G50", "torch.tensor, a call of its own", (_count_on_the_cpu,)),
        ("G44", "backward only", (_nothing,)),
        ("G89", "bucket = all_reduce(bucket)", (_returned(slices=True),)),
        ("G89", "bucket = all_reduce(bucket), divided", (_returned(slices=False),)),
    ),
    "largebatch.no_sync": (
        ("G55", "in the loop", (_accumulate(lambda k, n, m, parts: k / n, each_time=True),)),
        ("G55", "data_parallel_backward in the loop", (_whole_thing_each_time,)),
        ("G59", "1 / parts", (_accumulate(lambda k, n, m, parts: 1 / parts),)),
        ("B3", "m / n", (_accumulate(lambda k, n, m, parts: m / n),)),
        ("B8", "no weight", (_accumulate(lambda k, n, m, parts: 1.0),)),
        ("G58", "k / n / parts", (_accumulate(lambda k, n, m, parts: k / n / parts),)),
        ("G57", "n // m", (_drops_the_last,)),
        ("G60", "zero_grad", (_clears_in_between,)),
        ("G61", "all at once", (_all_at_once,)),
        ("B69", "one backward", (_one_backward,)),
        ("B69", "joined outputs", (_joined_outputs,)),
        ("B69", "retain_graph", (_retained,)),
        ("G50", "torch.tensor, a call of its own", (_accumulate_count_on_the_cpu,)),
    ),
}
