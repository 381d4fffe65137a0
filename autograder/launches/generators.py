"""Random number generators belong to a device; the pretend device's draw the CPU's numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .tensor import PRETEND_DEVICE, is_pretend_device


class _GeneratorType(type(torch._C.Generator)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, torch._C.Generator)


class PretendGenerator(torch._C.Generator, metaclass=_GeneratorType):
    """`torch.Generator` while counting runs: for the pretend device one of the CPU's, for others torch's own."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return super().__new__(cls) if is_pretend_device(device) else torch._C.Generator(device)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return PRETEND_DEVICE


def refuse_generator(generator: Any, args: tuple[Any, ...], device: Any) -> None:
    """RuntimeError, as on CUDA, if the generator is on one device and what it is to fill on the other."""
    target = device if device is not None else next((a.device for a in args if isinstance(a, Tensor)), None)
    if target is not None and is_pretend_device(target) != (type(generator) is PretendGenerator):
        wanted, found = torch.device(target).type, generator.device.type
        raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{found}'")
