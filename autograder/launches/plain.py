"""Counting on ordinary tensors: of an accelerator, or of the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from . import current
from .memory import Ledger
from .operations import Call, tensors_in, traits_of


class PlainMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Reports the operations on tensors of `device`, whose storages are in `ledger`.

    On the CPU a tensor counts as the device's if it has a dimension or was computed from one that counts.
    """

    def __init__(self, device: torch.device, ledger: Ledger) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._type = device.type
        self._by_descent = device.type == "cpu"
        self._ledger = ledger

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        here: list[Tensor] = []
        there: list[Tensor] = []
        for tensor in tensors_in((*args, *kwargs.values())):
            (here if self._holds(tensor) else there).append(tensor)
        try:
            result = func(*args, **kwargs)
        except RuntimeError as error:
            if here and "same device" in str(error):
                current.note("mixes", f"`{func}` on tensors of the device and of the host")
            raise
        on_device = any(map(self._holds, tensors_in((result,)))) or (bool(here) and self._by_descent)
        if here or on_device:
            call = Call(traits_of(func), args, kwargs, here, there, on_device, self._holds, self._by_descent)
            current.observe(call, result)
        return result

    def _holds(self, tensor: Tensor) -> bool:
        if tensor.device.type != self._type:
            return False
        return not self._by_descent or tensor.dim() > 0 or self._ledger.knows(tensor)
