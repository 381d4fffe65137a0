"""The counter against torch's own profiler: operation by operation on the CPU, and kernel launches on a real GPU."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from students import LAUNCHES, network, train_network
from torch import nn

from autograder.launches import LaunchCounter, Section
from benchmarks.profiled import profiled

pytestmark = pytest.mark.xdist_group("profiler")  # torch's profiler is one per process

COUNT, SHAPE = 10, (64, 64)

#: `_foreach_` calls take all tensors, and long lists in pieces: a kernel holds so many addresses and no more.
PIECES = 4

FORMS = [
    pytest.param(p.values[0], id=str(p.id)) for p in LAUNCHES if p.id != "element loop"
]  # 40,960 elements are many
ON_THE_CPU = [form for form in FORMS if "chooses" not in str(form.id)]  # there torch would choose the loop


def second_step(make: Any, device: Any, prepare: Any = lambda tensor: tensor) -> Any:
    """Something to call: the second step of an optimizer on ten tensors (the first one makes the state)."""
    params = [nn.Parameter(prepare(torch.full(SHAPE, 1.0 + i)).to(device)) for i in range(COUNT)]
    opt = make(params)
    for scale in (1.0, 0.5):
        for i, p in enumerate(params):
            p.grad = prepare(torch.full(SHAPE, scale / (1 + i))).to(device)
        if scale == 1.0:
            opt.step()
    return opt.step


def counted(make: Any, how: Any = "pretend", device: Any = None) -> Section:
    with LaunchCounter(how, device) as counter:
        step = second_step(make, counter.device, counter.place)
        with counter.section() as section:
            step()
    return section


def on_the_host(optimizer: str) -> Counter[str]:
    """Step counts are 0-dim tensors of the host in these optimizers: work that no device sees."""
    return Counter({"add_": COUNT} if optimizer in ("torch loop", "counter on the host") else {})


@pytest.mark.parametrize("make", ON_THE_CPU)
def test_the_profiler_sees_the_operations_that_are_counted(make: Any, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    ours, theirs = counted(make), profiled(second_step(make, "cpu"), torch.device("cpu"))
    seen = theirs.operations - on_the_host(name)
    if name in ("torch foreach", "torch fused"):  # their step counts lie on the host, too, and are raised in one call
        seen["_foreach_add_"] = ours.operations["_foreach_add_"]
    assert dict(seen) == dict(ours.operations)


@pytest.mark.parametrize("make", ON_THE_CPU)
def test_the_profiler_sees_the_bytes_that_are_counted(make: Any) -> None:
    """Beyond ours it sees the numbers that Python passes along, some bytes each: under 1 % of tensors of 16 kB."""
    ours, theirs = counted(make), profiled(second_step(make, "cpu"), torch.device("cpu"))
    one = 4 * SHAPE[0] * SHAPE[1]
    assert ours.allocated_bytes <= theirs.allocated_bytes <= ours.allocated_bytes + 0.01 * COUNT * one
    assert ours.peak_bytes <= theirs.peak_bytes <= ours.peak_bytes + 0.01 * one


def test_a_networks_training_step_is_counted_as_the_profiler_sees_it() -> None:
    """Forward, backward, clipping and AdamW, two steps; attention and the like are compositions, and a convolution is not."""
    torch.manual_seed(0)
    theirs = profiled(lambda: train_network(network(), torch.device("cpu")), torch.device("cpu"))
    with LaunchCounter("pretend") as counter:
        torch.manual_seed(0)
        model = counter.place_module(network())
        with counter.section() as ours:
            train_network(model, counter.device)
    convolutions = ("convolution", "convolution_backward")
    for name in (
        *convolutions,
        "addmm",
        "mm",
        "_log_softmax",
        "nll_loss_forward",
        "nll_loss_backward",
        "_foreach_norm",
    ):
        assert theirs.operations[name] >= ours.operations[name] > 0, name


@pytest.mark.gpu
@pytest.mark.parametrize("make", FORMS)
def test_launches_and_bytes_agree_with_cudas_profiler_and_allocator(
    make: Any, request: pytest.FixtureRequest, record_property: Any
) -> None:
    """Absolute launches differ where lists are cut into pieces; bytes by the allocator's blocks of 512."""
    cuda = torch.device("cuda", torch.cuda.current_device())
    ours, theirs = counted(make), profiled(second_step(make, cuda), cuda)
    record_property("launches, counted and real", (ours.launches, theirs.launches))
    record_property("bytes, counted and real", (ours.allocated_bytes, theirs.allocated_bytes))
    assert ours.launches <= theirs.launches <= PIECES * ours.launches
    blocks = 512 * (theirs.launches + COUNT)
    assert abs(theirs.allocated_bytes - ours.allocated_bytes) <= blocks
    assert abs(theirs.peak_bytes - ours.peak_bytes) <= blocks
