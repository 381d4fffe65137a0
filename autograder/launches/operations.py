"""One operation as torch dispatches it: what its schema tells, and where its tensors are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: Operations that launch nothing although they are no views.
_FREE = {
    "empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "_efficientzerotensor",
    "_local_scalar_dense", "_unsafe_view", "is_same_size", "_has_same_storage_numel", "lift", "lift_fresh",
    "lift_fresh_copy", "scalar_tensor", "set_", "resize_", "record_stream", "is_pinned", "_fused_sdp_choice",
    "_has_compatible_shallow_copy_type",
}  # fmt: skip

#: Operations that return their argument's storage although their schemas do not say so.
_HIDDEN_VIEWS = {"_unsafe_view", "lift", "lift_fresh"}

#: Operations that give their first argument another storage, or another size of it.
_RESTORING = {"set_", "resize_", "resize_as_"}


@dataclass(frozen=True)
class Traits:
    """What is known of an operation from its schema alone."""

    name: str
    free: bool  # launches nothing
    fresh: bool  # returns storage of its own
    reshapes: bool  # changes the shape or the storage of its first argument in place
    written: tuple[tuple[int, str], ...]  # position and name of the arguments that it writes to


@functools.cache
def traits_of(func: Any) -> Traits:
    """The traits of the operation that torch calls `func`."""
    schema = func._schema
    name = str(schema.name).split("::")[-1]
    writes = [a.alias_info is not None and a.alias_info.is_write for a in schema.arguments]
    is_view = not any(writes) and any(a.alias_info is not None for a in schema.arguments)
    reshapes = name in _RESTORING or torch.Tag.inplace_view in func.tags
    fresh = any(r.alias_info is None for r in schema.returns) and name not in _HIDDEN_VIEWS
    written = tuple((i, a.name) for i, a in enumerate(schema.arguments) if writes[i])
    return Traits(name, is_view or reshapes or name in _FREE, fresh, reshapes, written)


@dataclass(frozen=True)
class Call:
    """One dispatched operation, its tensors sorted by where they are."""

    traits: Traits
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    here: Sequence[Tensor]  # on the counted device
    there: Sequence[Tensor]  # on the host
    on_device: bool  # is the result on the counted device?
    holds: Callable[[Any], bool]  # is this tensor on the counted device?
    by_descent: bool = False  # is every result on the device if an argument is, whatever `holds` says of it?

    @property
    def name(self) -> str:
        return self.traits.name

    @property
    def written(self) -> Iterator[Tensor]:
        """The tensors that the operation writes to."""
        places = self.traits.written
        return tensors_in(self.args[i] if i < len(self.args) else self.kwargs.get(name) for i, name in places)


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Every tensor among arguments or results of an operation, also those in lists."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)
