"""What torch makes from Python's lists: it builds a CPU tensor and copies that to the device out of dispatch's sight.

So `torch.tensor` and its like, and the lists in an index, are built on the host here, then copied in sight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import current
from .rules import READS_VALUE
from .tensor import PretendTensor, dress, is_pretend_device, unwrap

BUILDERS = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}
INDEXERS = {Tensor.__getitem__, Tensor.__setitem__}


def build(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call one of the `BUILDERS`."""
    if func is Tensor.new_tensor:
        func, like, args = torch.tensor, args[0], args[1:]
        kwargs = {"dtype": like.dtype, "device": like.device} | {k: v for k, v in kwargs.items() if v is not None}
    options = dict(kwargs)
    data = args[0] if args else options.pop("obj" if func is torch.asarray else "data")
    if isinstance(data, PretendTensor):
        return _rebuild(func, data, options)
    data = _with_values(data)
    if not is_pretend_device(options.get("device")):
        return func(data, **options)
    device, requires_grad = options.pop("device"), options.pop("requires_grad", False)
    return dress(func(data, **options).to(device), requires_grad, is_parameter=False)


def _rebuild(func: Any, source: Tensor, options: Mapping[str, Any]) -> Tensor:
    """`torch.tensor(t)` is a detached copy of a device tensor; `torch.as_tensor(t)` is `t` itself where it can be."""
    target: dict[str, Any] = {
        "dtype": options.get("dtype") or source.dtype,
        "device": options.get("device") or source.device,
    }
    if func is torch.tensor:
        copy = source.detach().to(**target, copy=True)
        return dress(copy, options.get("requires_grad", False), is_parameter=False)
    return source.to(**target, copy=bool(options.get("copy")))


def index(func: Any, tensor: Tensor, where: Any, *value: Any) -> Any:
    """Call one of the `INDEXERS`: `tensor[where]`, `tensor[where] = value`."""
    return func(tensor, _index_on_device(where, tensor.device) if isinstance(tensor, PretendTensor) else where, *value)


def _index_on_device(where: Any, device: torch.device) -> Any:
    if isinstance(where, tuple):
        return tuple(_index_on_device(part, device) for part in where)
    if not _is_list_of_indices(where):
        return where
    array = np.asarray(where)
    return torch.tensor(array if array.dtype == np.bool_ else array.astype(np.int64)).to(device)


def _is_list_of_indices(where: Any) -> bool:
    """Is it a list, a range or an array of integers or truth values? Torch takes nested lists for several indices."""
    if isinstance(where, np.ndarray):
        return where.ndim > 0 and where.dtype.kind in "ib"
    return isinstance(where, (list, range)) and all(isinstance(i, (int, np.integer, np.bool_)) for i in where)


def _with_values(data: Any) -> Any:
    """Nested lists with their device tensors read back: `torch.tensor([loss_1, loss_2])` waits for each of them."""
    if isinstance(data, PretendTensor):
        current.note("syncs", READS_VALUE)
        return unwrap(data)
    if isinstance(data, (list, tuple)) and any(isinstance(d, (Tensor, list, tuple)) for d in data):
        return [_with_values(d) for d in data]
    return data
