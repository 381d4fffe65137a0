"""The exercises of `08_large_batch_scaling` about several ranks: `largebatch.data_parallel` and `largebatch.no_sync`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograder.collectors.common import PRETEND
from autograder.collectors.large_batch_scaling import CALLS
from autograder.collectors.launches import MIXES, SYNCS
from autograder.collectors.minibatching import PEAK
from autograder.exercise import Case, CodeExercise, Limit
from autograder.misconceptions import large_batch_ranks as ranks
from autograder.misconceptions import recognise
from autograder.probes import generator, probe_case

NOTEBOOK = "08_large_batch_scaling"
VISIBLE_SEED = 8
Generator = np.random.Generator

CALL_LIMIT = Limit(
    CALLS,
    2,
    "{count} calls of all_reduce in one step; {at_most} are enough for any number of tensors, one of them for the number "
    "of examples. Join the gradients in one flat tensor first.",
)
DEVICE_LIMITS = (
    CALL_LIMIT,
    Limit(
        MIXES,
        0,
        "Operations that mix devices: {count}. A tensor that you make needs the gradients' device: "
        "torch.tensor(…, device=X.device).",
    ),
    Limit(
        SYNCS,
        0,
        "Host synchronisations: {count}; none is allowed. Each makes Python wait for the GPU and for all ranks, and you "
        "need no number in Python.",
    ),
)

_MEMORY = Limit(
    PEAK,
    1.2,
    "At its peak the call holds {count} times the bytes of one micro-batch's forward and backward; {at_most} times is "
    "allowed. A graph, with all its activations, lives until backward has gone through it.",
)


def _inputs(rng: Generator, sizes: Sequence[int], **more: Any) -> dict[str, Any]:
    """A network of four tensors, and one shard per rank; the shards come from places of their own."""
    d, hidden = 3, 4
    return {
        "name": "data_parallel_backward",
        "usage": "(model, loss_fn, X, y, all_reduce, world_size)",
        "weights": [rng.standard_normal(shape) for shape in ((hidden, d), (hidden,), (1, hidden), (1,))],
        "X": [rng.standard_normal((n, d)) + rank for rank, n in enumerate(sizes)],
        "y": [rng.standard_normal((n, 1)) - 2.0 * rank for rank, n in enumerate(sizes)],
        **more,
    }


def _micro(rng: Generator, sizes: Sequence[int], micro_batch: int, **more: Any) -> dict[str, Any]:
    return {
        **_inputs(rng, sizes, **more),
        "name": "accumulate_and_reduce",
        "usage": "(model, loss_fn, X, y, micro_batch, all_reduce, world_size)",
        "micro_batch": micro_batch,
    }


def _case(title: str, group: str, inputs: dict[str, Any], hidden: bool, *limits: Limit) -> Case:
    return probe_case(title, group, "data_parallel", inputs, hidden=hidden, limits=limits)


def _sizes(rng: Generator, count: int) -> list[int]:
    """Different numbers of examples, at least one on each rank."""
    return [int(n) for n in rng.permutation(np.arange(1, 9))[:count]]


def _data_parallel_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    equal, unequal, many = [4, 4], [7, 2, 3], [3, 1, 6, 2]
    frozen, learns = 2, 0
    if hidden:
        count = int(rng.integers(2, 5))
        equal, unequal, many = [int(rng.integers(3, 7))] * count, _sizes(rng, 3), _sizes(rng, int(rng.integers(4, 6)))
        frozen, learns = int(rng.integers(0, 4)), int(rng.integers(0, 4))

    def case(title: str, group: str, inputs: dict[str, Any], *limits: Limit) -> Case:
        return _case(title, group, inputs, hidden, *limits)

    return (
        case("shards of one size", "equal shards", _inputs(rng, equal)),
        case("shards of several sizes", "unequal shards", _inputs(rng, unequal)),
        case("float32, a rank with one example", "unequal shards", _inputs(rng, [1, *unequal[1:]], dtype="float32")),
        case("a frozen parameter", "unequal shards", _inputs(rng, unequal[:2], frozen=[frozen])),
        case("one rank", "equal shards", _inputs(rng, unequal[:1])),
        case("calls of all_reduce", "one bucket", _inputs(rng, many), CALL_LIMIT),
        case("on a GPU", "one bucket", _inputs(rng, [many[0]] * 4, device=PRETEND), *DEVICE_LIMITS),
        case(
            "only one parameter learns",
            "unequal shards",
            _inputs(rng, unequal[:2], frozen=[i for i in range(4) if i != learns]),
        ),
    )


DATA_PARALLEL = CodeExercise(
    "largebatch.data_parallel",
    "One batch on many ranks",
    "launches",
    NOTEBOOK,
    {"equal shards": 1.0, "unequal shards": 1.5, "one bucket": 1.5},
    difficulty=2,
    minutes=25,
    objects=("data_parallel_backward",),
    visible=lambda: _data_parallel_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _data_parallel_cases(generator(seed), hidden=True),
    reference=lambda: ranks.data_parallel_function({}),
    compares="every rank's gradient with the one of the whole batch",
    misconceptions=recognise(ranks.DATA_PARALLEL_ROWS, ranks.DATA_PARALLEL_ROWS, ranks.data_parallel_function),
    hints=(
        "backward first: it leaves the mean gradient of the own shard. What has to be summed over the ranks so that the "
        "mean over all examples can be computed from it?",
        "Sum n_r·g_r, and sum n_r; the quotient is the gradient of the whole batch. Both fit into one flat tensor: "
        "gradients first, the count as its last entry.",
        "grads = [p.grad for p in model.parameters() if p.grad is not None]; flat = torch.cat([n * g.flatten() for g in "
        "grads] + [count]), count being a tensor with the one entry n on X.device; all_reduce(flat); mean = flat[:-1] / "
        "flat[-1]; then cut it with split, and write each part with g.copy_(part.view_as(g)).",
    ),
)


def _no_sync_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    micro, many = (int(rng.integers(2, 4)), int(rng.integers(60, 90))) if hidden else (3, 60)
    # ranks with different numbers of micro-batches, a last one that is shorter, a shard smaller than one
    ragged = [3 * micro + 1, 1, micro + 1]
    if hidden:
        ragged = [ragged[int(i)] for i in rng.permutation(3)]

    def case(title: str, group: str, inputs: dict[str, Any], *limits: Limit) -> Case:
        return _case(title, group, inputs, hidden, *limits)

    return (
        case("micro-batches of one size", "values", _micro(rng, [2 * micro] * 3, micro)),
        case("a shorter last one on each rank", "values", _micro(rng, [2 * micro + 1, 2 * micro + 1], micro)),
        case("ranks with different numbers of them", "values", _micro(rng, ragged, micro)),
        case("float32, a frozen parameter", "values", _micro(rng, ragged[:2], micro, frozen=[1], dtype="float32")),
        case("calls of all_reduce", "one reduction", _micro(rng, [3 * micro] * 2, micro), CALL_LIMIT),
        case("on a GPU", "one reduction", _micro(rng, [2 * micro + 1] * 3, micro, device=PRETEND), *DEVICE_LIMITS),
        case(
            "memory",
            "one reduction",
            _micro(rng, [4 * many + 7] * 2, many, device=PRETEND, memory=True),
            _MEMORY,
            *DEVICE_LIMITS,
        ),
    )


NO_SYNC = CodeExercise(
    "largebatch.no_sync",
    "Accumulate, then talk once",
    "launches",
    NOTEBOOK,
    {"values": 1.5, "one reduction": 1.5},
    difficulty=2,
    minutes=15,
    objects=("accumulate_and_reduce",),
    visible=lambda: _no_sync_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _no_sync_cases(generator(seed), hidden=True),
    reference=lambda: ranks.accumulate_function({}),
    compares="every rank's gradient with the one of the whole batch, and the calls of all_reduce with the limit",
    misconceptions=recognise(ranks.ACCUMULATE_ROWS, ranks.ACCUMULATE_ROWS, ranks.accumulate_function),
    hints=(
        "Two loops are one too many: accumulate on this rank as in notebook 01, and when that is done, reduce as in the "
        "exercise before.",
        "Weigh each micro-batch's mean loss by its share of the shard, len(part)/n, so that .grad ends as the shard's "
        "mean gradient. Only then comes all_reduce, once.",
        "for xb, yb in zip(X.split(micro_batch), y.split(micro_batch)): (loss_fn(model(xb), yb) * (len(yb) / "
        "len(y))).backward(); then the same reduction as in data_parallel_backward, with n = len(y).",
    ),
)
