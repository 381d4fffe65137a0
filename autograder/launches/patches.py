"""What torch needs while counting runs. Everything here holds for the whole process, and ends with the counter.

A student may take hold of a patched function (`from torch.jit import trace`) and call it later: with no counter open
it does what torch's own does.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch

from . import current
from .generators import PretendGenerator
from .loading import loading
from .tensor import PRETEND_DEVICE, PretendTensor, is_pretend_device

Patch = contextlib.AbstractContextManager[None]


def pretend_patches() -> list[Patch]:
    """For counting on the pretend device."""
    return [
        *_kernel_support(),
        *synchronize_patches(carry_out=False),
        _replaced(torch, PRETEND_DEVICE.type, _device_module()),
        _replaced(torch, "load", loading(torch.load)),
        _replaced(torch, "Generator", PretendGenerator),
        _replaced(torch.jit, "trace", _refusing_to_trace(torch.jit.trace)),
        _parameters_kept(),
        _default_device_kept(),
    ]


def synchronize_patches(carry_out: bool) -> list[Patch]:
    """Record `torch.cuda.synchronize()` and the like, and carry them out where there is a device to wait for."""
    owners = [getattr(torch, name) for name in ("cuda", "xpu", "mps", "accelerator") if hasattr(torch, name)]
    return [_replaced(owner, "synchronize", _noting_sync(owner.synchronize, carry_out)) for owner in owners]


@contextlib.contextmanager
def _replaced(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Set `owner.name` for a while; an attribute that was not there is not there afterwards."""
    existed, original = hasattr(owner, name), getattr(owner, name, None)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if existed:
            setattr(owner, name, original)
        else:
            delattr(owner, name)


def _noting_sync(original: Callable[..., Any], carry_out: bool) -> Callable[..., Any]:
    @functools.wraps(original)
    def synchronize(*args: Any, **kwargs: Any) -> Any:
        current.note("syncs", "`synchronize()`")
        return original(*args, **kwargs) if carry_out or not current.is_counting() else None

    return synchronize


def _refusing_to_trace(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def trace(*args: Any, **kwargs: Any) -> Any:
        if current.is_counting():
            raise RuntimeError("`torch.jit.trace` cannot record while launches are counted: trace before or afterwards")
        return original(*args, **kwargs)

    return trace


def _device_module() -> types.ModuleType:
    """`torch.lazy` for the time of counting: what `torch.utils.checkpoint` asks of the module of a device."""
    module = types.ModuleType(f"torch.{PRETEND_DEVICE.type}")
    contents: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "device": lambda index: contextlib.nullcontext(),
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "set_rng_state": lambda state, device=None: torch.set_rng_state(state),
        "synchronize": lambda device=None: current.note("syncs", "`synchronize()`"),
    }
    vars(module).update(contents)
    return module


@contextlib.contextmanager
def _parameters_kept() -> Iterator[None]:
    """`module.to(p.device)` keeps its parameters, as on CUDA: tied ones stay tied, and an optimizer's stay its own."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


@contextlib.contextmanager
def _default_device_kept() -> Iterator[None]:
    """A student's `torch.set_default_device(p.device)` ends with counting: torch cannot make tensors there then."""
    before = torch.get_default_device()
    try:
        yield
    finally:
        if is_pretend_device(torch.get_default_device()):
            torch.set_default_device(None if before.type == "cpu" else before)


_KERNELS = ("foreach_kernels", "fused_kernels", "capturable")


def _kernel_support() -> list[Patch]:
    """Let the pretend device into torch's lists of the devices and tensor types that have foreach and fused kernels.

    So `torch.optim.Adam(params)` and `clip_grad_norm_` choose on the pretend device what they choose on CUDA. The
    lists are private: where one is missing, torch's default there is the loop, and nothing else changes.
    """
    patches: list[Patch] = []
    # not by going through sys.modules: in a forked process, touching thousands of objects copies thousands of pages
    optimizers = {value.__module__ for value in vars(torch.optim).values() if isinstance(value, type)}
    for name in (*sorted(optimizers), "torch.utils._foreach_utils"):
        module = sys.modules.get(name)
        for kernels in _KERNELS:
            getter = f"_get_{kernels}_supported_devices"
            if hasattr(module, getter):
                patches.append(_replaced(module, getter, _with_pretend_device(getattr(module, getter))))
        if module is not None and hasattr(module, "_foreach_supported_types"):
            supported = [*module._foreach_supported_types, PretendTensor]
            patches.append(_replaced(module, "_foreach_supported_types", supported))
    return patches


def _with_pretend_device(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
    return lambda *args, **kwargs: [*original(*args, **kwargs), PRETEND_DEVICE.type]
