"""Which device to compute on, and why."""

from __future__ import annotations

import os
import time
import warnings
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
    """Pick a device: a CUDA device that works, else Apple's MPS, else the CPU. Never raises.

    Args:
        prefer: a device name such as "cpu" or "cuda:1" that is taken if it works here.

    "Works" means that a small computation on it succeeded: what is there but broken, or full, is passed over, and the
    reason says so. Of several CUDA devices the one with most free memory is taken. On the CPU torch is left with one
    thread: models of the course's size gain nothing from more, and threads that wait for each other on a busy or shared
    machine (another kernel, a JupyterHub with few cores) make it many times slower. `torch.set_num_threads` undoes that.
    """
    if prefer is not None:
        trouble = _trouble(prefer)
        if not trouble:
            return Choice(torch.device(prefer), "as you asked.")
        fallback = choose()
        return Choice(fallback.device, f"{prefer} does not work here ({trouble}); {fallback.reason}")
    gpus, broken = _gpus(), list[str]()
    for index in gpus:
        name = f"cuda:{index}"
        trouble = _trouble(name)
        if not trouble:
            among = f", of {len(gpus)} GPUs the one with most free memory" if len(gpus) > 1 else ""
            return Choice(torch.device(name), "; ".join([f"{_name(index)}{among}", *broken]) + ".")
        broken.append(f"{name} does not work ({trouble})")
    if torch.backends.mps.is_available() and not _trouble("mps"):
        return Choice(torch.device("mps"), "Apple's GPU (no float64 there: exercises that need it use the CPU).")
    torch.set_num_threads(1)
    return Choice(torch.device("cpu"), f"{'; '.join(broken) or _none()}; one thread, the models are small.")


def _gpus() -> list[int]:
    """The CUDA devices, the one with most free memory first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an old driver, on stderr: nbgrader would take it for a failure
        try:
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        except (RuntimeError, AssertionError):
            return []
    return sorted(range(count), key=_free, reverse=True)


def _free(index: int) -> int:
    """Bytes that are free on a CUDA device; -1 when it cannot even be asked."""
    try:
        return int(torch.cuda.mem_get_info(index)[0])
    except (RuntimeError, AssertionError):
        return -1


def _name(index: int) -> str:
    try:
        return str(torch.cuda.get_device_name(index))
    except (RuntimeError, AssertionError):
        return "a CUDA device"


def _none() -> str:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") and torch.version.cuda is not None
    return "no GPU found (CUDA_VISIBLE_DEVICES hides all of them)" if hidden else "no GPU found"


def _trouble(name: str) -> str:
    """Why a device cannot be used, or ""."""
    try:
        one = torch.ones(2, device=name)
        return "" if float((one + one).sum()) == 4.0 else "it computes wrong numbers"
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return _first_line(error)


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


class Unavailable(RuntimeError):
    """This machine cannot run something in that way; the message says why, in one line."""


def compiled(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """`work` through `torch.compile`, compiled already. Raises Unavailable where that is not worth its time.

    On a CPU it takes a C++ compiler and many seconds to save launches that a CPU does not have: a GPU's matter.
    """
    if device.type != "cuda":
        raise Unavailable(f"torch.compile is left to a GPU (a {device.type} device has no launches to save)")
    try:
        found: Callable[[], object] = torch.compile(work)
        for _ in range(2):  # the second run compiles anew what was different in the first
            found()
    except Exception as error:  # triton, drivers and compilers all have errors of their own
        raise Unavailable(f"torch.compile does not work here ({_first_line(error)})") from None
    return found


def captured(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """`work` recorded once in a CUDA graph: each call replays all its launches as one. Raises Unavailable without CUDA.

    Args:
        work: reads and writes the same memory every time, waits for nothing, and draws no numbers on the CPU.
    """
    if device.type != "cuda":
        raise Unavailable(f"a CUDA graph needs a CUDA device, and this notebook runs on {device.type}")
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(device))
    try:
        with torch.cuda.stream(side):  # allocations and kernels of the first runs must not be recorded
            for _ in range(3):
                work()
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    except RuntimeError as error:
        raise Unavailable(f"this cannot be captured in a CUDA graph ({_first_line(error)})") from None
    return graph.replay


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
