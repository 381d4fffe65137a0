"""Which device to compute on, and why."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Choice:
    """A device and the reason for it, in one sentence."""

    device: torch.device
    reason: str

    def __str__(self) -> str:
        return f"{self.device}: {self.reason}"


def choose(prefer: str | None = None) -> Choice:
    """Pick a device: CUDA if one works, else Apple's MPS, else the CPU.

    Args:
        prefer: a device name such as "cpu" or "cuda:1" that is taken if it works here.

    "Works" means that a small computation on it succeeded: drivers that are installed but broken are passed over.
    With several CUDA devices the one with most free memory is taken. On the CPU torch is left with one thread: models of
    the course's size gain nothing from more, and threads that wait for each other on a busy or shared machine (another
    kernel, a JupyterHub with few cores) make it many times slower. `torch.set_num_threads` undoes that.
    """
    if prefer is not None:
        trouble = _trouble(prefer)
        if not trouble:
            return Choice(torch.device(prefer), "as you asked.")
        fallback = choose()
        return Choice(fallback.device, f"{prefer} does not work here ({trouble}); {fallback.reason}")
    if torch.cuda.is_available():
        name = f"cuda:{_roomiest()}"
        if not _trouble(name):
            return Choice(torch.device(name), f"{torch.cuda.get_device_name(name)}, the GPU with most free memory.")
    if torch.backends.mps.is_available() and not _trouble("mps"):
        return Choice(torch.device("mps"), "Apple's GPU (no float64 there: exercises that need it use the CPU).")
    torch.set_num_threads(1)
    return Choice(torch.device("cpu"), "no GPU found; one thread, the models are small.")


def _trouble(name: str) -> str:
    """Why a device cannot be used, or ""."""
    try:
        one = torch.ones(2, device=name)
        return "" if float((one + one).sum()) == 4.0 else "it computes wrong numbers"
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).strip().splitlines()[0][:100] or type(error).__name__


def _roomiest() -> int:
    free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
    return free.index(max(free))


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished, so that a stopwatch tells the truth. Nothing to do on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def median_seconds(work: Callable[[], object], device: torch.device, repeats: int = 7, warmup: int = 2) -> float:
    """Median time of `work()` on a device in seconds, waiting for the device before and after each call.

    Args:
        work: called `warmup` times untimed (allocations, kernels that are loaded on first use), then `repeats` times.
    """
    times = []
    for _ in range(warmup + repeats):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return median(times[warmup:])
