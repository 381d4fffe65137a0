"""`torch.load` that understands the pretend device, as a place saved from and as `map_location`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .tensor import PretendTensor, dress, is_pretend_device, restore, restoring_to_host


def loading(original: Callable[..., Any]) -> Callable[..., Any]:
    """What stands for `original`, which is `torch.load`, while counting runs."""

    @functools.wraps(original)
    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        to_device = is_pretend_device(map_location)
        token = restoring_to_host.set(map_location is not None and not to_device)
        try:
            with torch.serialization.safe_globals([restore]):
                loaded = original(f, "cpu" if to_device else map_location, *args, **kwargs)
        finally:
            restoring_to_host.reset(token)
        return _on_device(loaded) if to_device else loaded

    return load


def _on_device(value: Any) -> Any:
    """A loaded structure with its tensors on the pretend device."""
    if isinstance(value, PretendTensor):
        return value
    if isinstance(value, Tensor):
        return dress(PretendTensor(value.detach()), value.requires_grad, isinstance(value, nn.Parameter))
    if isinstance(value, dict):
        for key in value:
            value[key] = _on_device(value[key])
    if isinstance(value, (list, tuple)):
        make = getattr(value, "_make", type(value))  # a named tuple's takes an iterable
        return make(map(_on_device, value))
    return value
