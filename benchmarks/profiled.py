"""What torch itself says about a piece of code: operations, kernel launches and bytes, to compare the counter with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from autograder.evidence import silent

#: Calls of CUDA's runtime and driver that start something on the device.
CUDA_LAUNCHES = (
    *("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx"),
    *("cudaMemcpyAsync", "cudaMemsetAsync"),
)

#: Operations that only make or look at a tensor's description: nothing is computed.
_NO_WORK = {
    *(
        "empty",
        "empty_like",
        "empty_strided",
        "as_strided",
        "view",
        "_unsafe_view",
        "select",
        "slice",
        "t",
        "transpose",
    ),
    *("expand", "detach", "detach_", "lift_fresh", "_local_scalar_dense", "resolve_conj", "resolve_neg", "unsqueeze"),
}


@dataclass
class Profiled:
    """Operations by name as torch dispatches them (below autograd, compositions taken apart), kernel launches (CUDA), the
    bytes allocated, and the most that was alive at once beyond the start."""

    operations: Counter[str] = field(default_factory=Counter)
    launches: int = 0
    allocated_bytes: int = 0
    peak_bytes: int = 0


def profiled(work: Callable[[], Any], device: torch.device) -> Profiled:
    """Run `work()` once under torch's profiler. Bytes on CUDA are the caching allocator's, else those of the CPU's."""
    on_cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    if on_cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_stats(device)
    with silent(), profile(activities=activities, profile_memory=True) as prof:
        work()
        if on_cuda:
            torch.cuda.synchronize(device)
    found = Profiled(_operations(prof))
    if on_cuda:
        after = torch.cuda.memory_stats(device)
        found.launches = sum(event.name in CUDA_LAUNCHES for event in prof.events())
        found.allocated_bytes = _grown(before, after, "allocated_bytes.all.allocated", "allocated_bytes.all.allocated")
        found.peak_bytes = _grown(before, after, "allocated_bytes.all.current", "allocated_bytes.all.peak")
    else:
        _host_bytes(prof, found)
    return found


def _grown(before: dict[str, Any], after: dict[str, Any], first: str, then: str) -> int:
    return int(after[then]) - int(before[first])


def _operations(prof: Any) -> Counter[str]:
    tops = [event for event in prof.events() if _is_aten(event) and not _is_aten(event.cpu_parent)]
    names = Counter(name for event in tops for name in _dispatched(event))
    return Counter({name: count for name, count in names.items() if name not in _NO_WORK})


def _is_aten(event: Any) -> bool:
    return event is not None and event.name.startswith("aten::")


def _dispatched(event: Any) -> Iterator[str]:
    """The operation itself, or those that it is composed of (which is what arrives below autograd)."""
    name = event.name.removeprefix("aten::")
    if _is_composed(name):  # without children it had nothing to do, as `to` on the right dtype
        for child in event.cpu_children:
            if _is_aten(child):
                yield from _dispatched(child)
    else:
        yield name


@cache
def _is_composed(name: str) -> bool:
    overloads = [one for one in _registered() if one.partition(".")[0] == f"aten::{name}"]
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(one, "CompositeImplicitAutograd") for one in overloads)


@cache
def _registered() -> tuple[str, ...]:
    return tuple(one for one in torch._C._dispatch_get_all_op_names() if one.startswith("aten::"))


def _host_bytes(prof: Any, found: Profiled) -> None:
    alive = 0
    for event in prof.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            found.allocated_bytes += max(event.nbytes(), 0)
            found.peak_bytes = max(found.peak_bytes, alive)
