"""What is intercepted while counting on the pretend device, in the thread that opened the counter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .building import BUILDERS, INDEXERS, build, index
from .generators import refuse_generator
from .tensor import PRETEND_DEVICE, carry_out, noted_mix

_MOVES_TO_ACCELERATOR = {getattr(Tensor, name) for name in ("cuda", "xpu", "mtia", "ipu") if hasattr(Tensor, name)}


def pretend_modes() -> list[Any]:
    """Context managers; nothing outside the thread that enters them is touched."""
    return [_FunctionMode(), _DispatchMode()]  # type: ignore[no-untyped-call]


class _DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sends operations without device tensors (`torch.zeros(3, device=p.device)`) to the pretend device as well."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return carry_out(func, args, kwargs or {})


class _FunctionMode(TorchFunctionMode):
    """What has to be caught above dispatch: literal devices, `torch.tensor(..., device=…)`, `p.grad = cpu_tensor`."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("device") is not None:
            _refuse_accelerator(kwargs["device"])
        if func is Tensor.to and len(args) > 1 and not isinstance(args[1], (Tensor, torch.dtype)):
            _refuse_accelerator(args[1])
        if func in _MOVES_TO_ACCELERATOR:
            _refuse_accelerator(func.__name__)
        if kwargs.get("generator") is not None:
            refuse_generator(kwargs["generator"], args, kwargs.get("device"))
        try:
            if func in INDEXERS:
                return index(func, *args)
            return build(func, args, kwargs) if func in BUILDERS else func(*args, **kwargs)
        except RuntimeError as error:
            explained = _explained(error, func)
            if explained is None:
                raise
            raise explained from error


def _refuse_accelerator(device: Any) -> None:
    """RuntimeError if `device` names real hardware other than the CPU."""
    if isinstance(device, (int, str, torch.device)) and not isinstance(device, bool):
        kind = "cuda" if isinstance(device, int) else torch.device(device).type
        if kind not in ("cpu", "meta", PRETEND_DEVICE.type):
            raise RuntimeError(
                f'use `p.device`, the device of the parameter or tensor at hand, and not "{device}": '
                f'this check runs on the device "{PRETEND_DEVICE}"'
            )


def _explained(error: RuntimeError, func: Any) -> RuntimeError | None:
    """The error as a GPU, or this package, would put it; None where it needs no translation."""
    if "assign a gradient with device type" in str(error):
        return noted_mix("p.grad = …")
    if isinstance(error, NotImplementedError) and "'Lazy' backend" in str(error):
        name = getattr(func, "__name__", str(func))
        return RuntimeError(f"`{name}` is not supported on the pretend device {PRETEND_DEVICE}")
    return None
