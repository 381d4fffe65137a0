"""What one step of an optimizer costs: launches and new bytes as a counter sees them, and milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from utils.device import median_seconds

#: A list of parameters → an optimizer over them.
Make = Callable[[Any], torch.optim.Optimizer]


@dataclass(frozen=True)
class Cost:
    """Launches of one step, and its new bytes, in all and at the peak, over those of the parameters."""

    launches: int
    new_bytes: float
    peak: float


def ready(
    make: Make, count: int, place: Callable[[torch.Tensor], torch.Tensor], size: int = 8
) -> torch.optim.Optimizer:
    """An optimizer over `count` float32 parameters of shape (size, size), each with a gradient of ones.

    Args:
        place: puts a tensor on the device that is looked at, such as `counter.place`.
    """
    params = [torch.nn.Parameter(place(torch.ones(size, size))) for _ in range(count)]
    opt = make(params)
    for p in params:
        p.grad = place(torch.ones(size, size))
    return opt


def counted(make: Make, count: int, counter: Any, size: int = 8) -> Cost:
    """Cost of the second step, when the state exists, counted by a `LaunchCounter` that is not open."""
    with counter:
        opt = ready(make, count, counter.place, size)
        opt.step()
        with counter.section() as section:
            opt.step()
    parameters = count * size * size * torch.float32.itemsize
    return Cost(section.launches, section.allocated_bytes / parameters, section.peak_bytes / parameters)


def milliseconds(
    make: Make,
    count: int,
    device: torch.device,
    size: int = 8,
    repeats: int = 9,
    way: Callable[[Callable[[], object], torch.device], Callable[[], object]] | None = None,
) -> float:
    """Median time of one step on a device.

    Args:
        way: another way to run the step, such as `utils.device.captured`; its errors pass through.
    """
    opt = ready(make, count, lambda tensor: tensor.to(device), size)
    step: Callable[[], object] = opt.step if way is None else way(opt.step, device)
    return 1e3 * median_seconds(step, device, repeats)
