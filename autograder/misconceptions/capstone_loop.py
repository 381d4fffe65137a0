"""A training loop that does not wait: the reference, and what goes wrong with it (rows C70 to C83, C127 to C130)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autograder.misconceptions import Row
from autograder.misconceptions.capstone import CLIP, FACTOR, ORDER, TINY, LossFn, Pair


def loop_objects(faults: Mapping[str, Any]) -> tuple[Callable[..., Any]]:
    """The reference without faults. Faults: sync, clip, filter, log, over, sum, zero, batches."""

    def train_loop(
        model: nn.Module,
        loss_fn: LossFn,
        opt: Any,
        batches: Iterable[Pair],
        *,
        max_norm: float,
        log_every: int,
    ) -> list[tuple[int, float]]:
        params = [p for p in model.parameters() if faults.get("filter") or p.requires_grad]
        log, total, count, kept = [], torch.zeros(()), 0, []
        for t, (X, y) in enumerate(_gone_through(batches, faults.get("batches", "")), start=1):
            if faults.get("zero") != "never":
                opt.zero_grad()
            loss = loss_fn(model(X), y)
            loss.backward()
            if faults.get("clip") != "after":
                _clip_fast(faults.get("clip", ""), params, max_norm, faults.get("filter", ""))
            opt.step()
            if faults.get("clip") == "after":
                _clip_fast("", params, max_norm)
            value = loss if faults.get("sum") == "with graphs" else loss.detach()
            kept.append(loss if faults.get("sum") == "list with graphs" else value)
            if faults.get("sync") == "each step":
                value = torch.tensor(value.item(), dtype=value.dtype)
            count += 1
            total = value if t == 1 or (count == 1 and faults.get("log") != "never reset") else total + value
            if t % log_every == (1 % log_every if faults.get("log") == "first" else 0):
                log.append(
                    (t - 1 if faults.get("log") == "from 0" else t, _logged(faults, total, count, t, log_every, kept))
                )
                count, kept = 0, []
        return log

    return (train_loop,)


def _gone_through(batches: Any, how: str) -> Iterator[Pair]:
    if how == "len":
        len(batches)
    if how == "index":
        batches[0]
    return iter(list(batches) if how == "list" else batches)


def _logged(faults: Mapping[str, Any], total: Tensor, count: int, t: int, every: int, kept: Sequence[Tensor]) -> float:
    how = faults.get("log", "")
    if how == "last":
        return kept[-1].item()
    if how == "sum":
        return total.item()
    if how == "never reset":
        return (total / (t if faults.get("over") == "all" else every)).item()
    if faults.get("sync") == "each loss":
        return sum(one.item() for one in kept) / len(kept)
    return (total / count).item()


@torch.no_grad()
def _clip_fast(how: str, params: Sequence[Any], max_norm: float, unfiltered: str = "") -> None:
    grads = [p.grad for p in params if p.grad is not None or unfiltered]
    if unfiltered == "one by one":
        torch.stack([g.norm() for g in grads])
    if how == "loop":
        norm = torch.stack([g.norm() for g in grads]).norm()
        for g in grads:
            g.mul_(torch.clamp(max_norm / (norm + TINY), max=1.0))
        return
    norms = torch.stack(torch._foreach_norm(grads))
    norm = norms.norm()
    if how == "if":
        if norm > max_norm:
            torch._foreach_mul_(grads, max_norm / (norm + TINY))
        return
    if how == "by value":
        torch._foreach_clamp_max_(grads, max_norm)
        torch._foreach_clamp_min_(grads, -max_norm)
    elif how == "always":
        torch._foreach_mul_(grads, max_norm / (norm + TINY))
    elif how != "missing":
        torch._foreach_mul_(grads, torch.clamp(max_norm / (norm + TINY), max=1.0))


_WAIT = "section 6, the table of what waits"
LOOP: dict[str, Row] = {
    "C70": Row(
        "Python waits for the device in every step",
        "`.item()`, `float(loss)` and `if norm > max_norm` make Python wait until the GPU has done all that was launched. Add "
        "the losses up in a tensor on the device, and fetch the sum once per entry; clip by a factor that clamp(max=1) keeps "
        "at 1, without `if`.",
        _WAIT,
        {"sync": "each step"},
        also=({"sync": "each loss"}, {"clip": "if"}),
        coincides="in the values",
        by_rules=True,
    ),
    "C72": Row(
        "an operation per parameter",
        "Somewhere in the clipping an operation stands in a loop over parameters. torch._foreach_norm and torch._foreach_mul_ "
        "take the whole list.",
        "equation (9.6)",
        {"clip": "loop"},
        coincides="in the values",
        by_rules=True,
    ),
    "C74": Row(
        "the last loss is logged, not the mean",
        "An entry is the mean over the log_every steps since the entry before.",
        "the docstring: log",
        {"log": "last"},
        coincides="for log_every = 1",
    ),
    "C75": Row(
        "the sum is not set back after a log",
        "Every entry starts from zero.",
        "the docstring: log",
        {"log": "never reset"},
        also=({"log": "never reset", "over": "all"},),
    ),
    "C76": Row(
        "the sum is logged, not the mean",
        "Divide by log_every.",
        "the docstring: log",
        {"log": "sum"},
        coincides="for log_every = 1",
    ),
    "C77": Row(
        "the gradients are never cleared",
        "backward adds to .grad: without zero_grad each step uses the sum of all gradients so far.",
        ORDER,
        {"zero": "never"},
    ),
    "C78": Row(
        "nothing is clipped",
        "max_norm has no effect: is the gradient clipped at all, in place, and before opt.step()?",
        "the docstring: max_norm",
        {"clip": "missing"},
        also=({"clip": "after"},),
        coincides="below the limit",
    ),
    "C80": Row(
        "the steps of the log are counted from 0",
        "Steps are counted from 1: the first entry stands at step log_every.",
        "the docstring: log",
        {"log": "from 0"},
    ),
    "C81": Row(
        "the first step is logged alone",
        "t % log_every == 1 is true in step 1. An entry comes when log_every steps are complete.",
        "the docstring: log",
        {"log": "first"},
        coincides="for log_every = 1",
    ),
    "C127": Row(
        "every parameter is taken to have a gradient",
        "The .grad of a frozen parameter is None, and no list of tensors can hold it: leave such parameters out.",
        "the docstring: a parameter without a gradient",
        {"filter": "together"},
        also=({"filter": "one by one"},),
        coincides="when every parameter has a gradient",
    ),
    "C128": Row(
        "batches is taken for a list",
        "A generator or a DataLoader hands out one batch after the other; it need not have a length or an index. Go through it "
        "with enumerate(batches, start=1).",
        "the docstring: batches",
        {"batches": "len"},
        also=({"batches": "index"},),
        coincides="for lists",
    ),
    "C129": Row(
        "all batches are fetched before the first step",
        "list(batches) holds the whole training data in memory, and never ends for a stream without end. Take one batch at a "
        "time.",
        "the docstring: batches",
        {"batches": "list"},
        coincides="in the values",
    ),
    "C130": Row(
        "the losses of earlier steps keep their graphs",
        "A sum (or a list) of losses that carry their graphs is a graph that grows with every step. Add loss.detach().",
        "section 6, on detach()",
        {"sum": "with graphs"},
        also=({"sum": "list with graphs"},),
        coincides="in the values",
    ),
    "C82": Row("clipped by value", CLIP["C2"].explanation, FACTOR, {"clip": "by value"}),
    "C83": Row(CLIP["C5"].title, CLIP["C5"].explanation, FACTOR, {"clip": "always"}, coincides=CLIP["C5"].coincides),
}
