"""What an operation asks of a GPU: how many launches, whether the host waits or uploads, whether devices are mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .operations import Call, tensors_in

READS_VALUE = "`.item()`, `float()`, `int()`, `bool()` or `if` on a device tensor"
_TO_HOST = '`.cpu()`, `.to("cpu")` or another copy from the device to the host'
_MASK = "boolean mask index (the host has to know how many elements it selects)"

#: Operations after which the host has to wait for a value: their result, or its shape, depends on the data.
#: Source: CUDA implementations in pytorch/aten/src/ATen/native; operations composed of these need no entry.
_SYNCS = {
    "_local_scalar_dense": READS_VALUE,
    "is_nonzero": READS_VALUE,
    "equal": "`torch.equal`",
    "allclose": "`torch.allclose`",
    "nonzero": "`nonzero`, `argwhere` or `torch.where(condition)`",
    "nonzero_numpy": "`nonzero`",
    "masked_select": "`masked_select`",
    "_unique": "`torch.unique`",
    "_unique2": "`torch.unique`",
    "unique_dim": "`torch.unique`",
    "unique_consecutive": "`torch.unique_consecutive`",
    "unique_dim_consecutive": "`torch.unique_consecutive`",
    "bincount": "`torch.bincount`",
    **dict.fromkeys(
        ("_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_eig", "linalg_eigvals", "_linalg_eigvals"),
        "`torch.linalg` reads its error codes",
    ),
}

_COPYING_IN_PLACE = {"copy_", "_foreach_copy_"}
_COPYING = {*_COPYING_IN_PLACE, "_to_copy", "_copy_from", "lift_fresh"}
_READING_BY_INDEX = {"index", "_unsafe_index"}
_WRITING_BY_INDEX = {"index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"}
_INDEXING = _READING_BY_INDEX | _WRITING_BY_INDEX

#: Operations that refuse even a 0-dimensional tensor of the host; all others take one, as on CUDA.
_STRICT = {"stack", "cat", "gather", "index_select"}


def launches_of(call: Call) -> int:
    """How many launches this call counts as."""
    if call.traits.free:
        return 0
    return _foreach_launches(call) if call.name.startswith("_foreach_") else 1


def _foreach_launches(call: Call) -> int:
    """1, or one per tensor where CUDA has to loop (see `can_use_fast_route` in torch's `ForeachUtils.h`)."""
    first, *others = [a for a in call.args if isinstance(a, (list, tuple)) and any(isinstance(t, Tensor) for t in a)]
    every = [t for tensors in (first, *others) for t in tensors]
    may_cast = call.name == "_foreach_copy_"
    same_dtype = may_cast or all(t.dtype is first[0].dtype for t in every)
    pairs = ((a, b) for other in others for a, b in zip(first, other, strict=True))
    same_layout = all(a.shape == b.shape and a.stride() == b.stride() for a, b in pairs)
    return 1 if same_dtype and same_layout and all(map(call.holds, every)) else len(first)


def sync_of(call: Call) -> str:
    """Why the host has to wait for this call, in words for people; "" if it does not."""
    name, args = call.name, call.args
    if not call.here:
        return ""
    if name in _SYNCS:
        return _SYNCS[name]
    if name == "_to_copy" or name in _COPYING_IN_PLACE:
        return "" if _copies_to_device(call) else _TO_HOST
    if name in _INDEXING and any(_is_mask(i) and call.holds(i) for i in _indices(call)) and not _fills_by_mask(call):
        return _MASK
    if name == "repeat_interleave" and isinstance(args[0], Tensor) and call.kwargs.get("output_size") is None:
        return "`repeat_interleave` with a tensor of repeats (give `output_size`)"
    if name == "normal" and len(args) > 1 and isinstance(args[1], Tensor):
        return "`torch.normal` checks that its tensor of deviations is not negative"
    if name == "multinomial" and (args[1] == 1 or not (len(args) > 2 and args[2])):
        return "`torch.multinomial` checks its probabilities"
    return ""


def upload_of(call: Call) -> str:
    """Which copy from the host to the device this call contains, in words for people; "" if none."""
    name = call.name
    if not call.there:
        return ""
    if name == "_to_copy" and call.on_device:
        return "copy from the host to the device"
    if name in _COPYING_IN_PLACE and call.here and _copies_to_device(call):
        return "`copy_` from the host to the device"
    if name in _INDEXING and call.here and not all(map(call.holds, _indices(call))):
        return "index tensor on the host (it is copied to the device)"
    if name in _WRITING_BY_INDEX and call.here and not _fills_by_mask(call):
        return "value on the host, assigned by index (it is copied to the device)"
    return ""


def mixes_devices(call: Call) -> bool:
    """Would a GPU refuse this call because its tensors are on different devices?"""
    if not call.here or not call.there or call.name in _COPYING:
        return False
    strangers = call.there
    if call.name in _INDEXING:
        if not call.holds(call.args[0]):
            return True
        welcome = [*_indices(call), *(call.args[2:3] if _fills_by_mask(call) else ())]
        strangers = [t for t in strangers if not any(t is one for one in welcome)]
    if any(t.dim() > 0 for t in strangers) or (strangers and call.name in _STRICT):
        return True
    return not all(map(call.holds, call.written))


def _copies_to_device(call: Call) -> bool:
    """Does a copying operation write to the device?"""
    if call.name == "_to_copy":
        return call.on_device
    return all(map(call.holds, tensors_in(call.args[:1])))


def _indices(call: Call) -> Sequence[Tensor]:
    """The tensors that an indexing operation indexes by."""
    return [index for index in call.args[1] if index is not None]


def _is_mask(index: Tensor) -> bool:
    return index.dtype in (torch.bool, torch.uint8)


def _fills_by_mask(call: Call) -> bool:
    """`x[mask] = number` is carried out as `masked_fill_`, which needs no size and so does not synchronise.

    See `canDispatchToMaskedFill` in torch's `TensorAdvancedIndexingUtils.h`.
    """
    if call.name not in _WRITING_BY_INDEX or _accumulates(call):
        return False
    indices, value = _indices(call), call.args[2]
    is_number = value.numel() == 1 and (not call.holds(value) or getattr(value, "stands_for_number", False))
    return is_number and len(indices) == 1 and _is_mask(indices[0]) and call.holds(indices[0])


def _accumulates(call: Call) -> Any:
    return call.args[3] if len(call.args) > 3 else call.kwargs.get("accumulate", False)
