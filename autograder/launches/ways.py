"""The ways of counting, "pretend" and "plain", and which of them this torch and this machine can."""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import Literal

import torch

from . import current
from .modes import pretend_modes
from .patches import pretend_patches
from .tensor import PRETEND_DEVICE, PretendTensor, unwrap

How = Literal["auto", "pretend", "plain"]
Way = Literal["pretend", "plain"]


def choose(how: How, device: torch.device | None) -> tuple[Way, torch.device, str]:
    """The way of counting, the device and the sentence about it for `LaunchCounter(how, device)`."""
    if how == "pretend":
        if problem := pretend_fails():
            raise RuntimeError(f"torch {torch.__version__} cannot carry the pretend device ({problem})")
        return "pretend", PRETEND_DEVICE, f"Counted on the pretend device {PRETEND_DEVICE}, which stands for a GPU."
    if how == "auto" and device is None:
        if not (problem := pretend_fails()):
            return choose("pretend", None)
        reason = f"torch {torch.__version__} cannot carry the pretend device ({problem})"
    else:
        chosen = device or real_accelerator()
        if chosen is not None and chosen.type != "cpu":
            return "plain", chosen, f"Counted on the real device {chosen}."
        reason = "as asked"
    note = f"Counted on the CPU, {reason}: copies between devices and device mix-ups stay unseen."
    return "plain", torch.device("cpu"), note


def real_accelerator() -> torch.device | None:
    """The accelerator of this machine, if it has one."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps", 0)
    if torch.xpu.is_available():
        return torch.device("xpu", torch.xpu.current_device())
    return None


@functools.cache
def pretend_fails() -> str:
    """Why this torch cannot carry the pretend device; "" if it can. Found by trying, once.

    It is tried in a thread of its own: the caller's `torch.no_grad()`, modes and function transforms do not reach
    there.
    """
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(_try_pretend()), name="pretend device")
    thread.start()
    thread.join()
    return found[0]


def _try_pretend() -> str:
    """The reason for which a backward pass on the pretend device fails, or "". No patch is applied, nothing counted."""
    try:
        pretend_patches()  # can be made
        with contextlib.ExitStack() as stack, current.uncounted():
            for mode in pretend_modes():
                stack.enter_context(mode)
            weight = PretendTensor(torch.ones(2)).requires_grad_()
            (weight * torch.full((2,), 3.0, device=weight.device)).sum().backward()  # type: ignore[no-untyped-call]
            works = isinstance(weight.grad, PretendTensor) and unwrap(weight.grad).tolist() == [3.0, 3.0]
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "" if works else "it returned wrong gradients"
