"""Which storages are alive on the counted device, and what that adds up to in a section."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import torch
from torch import Tensor

from .section import Section


class Ledger:
    """The storages on the counted device, each once however many tensors share it, followed by weak references.

    Any thread may enter a storage, and the last reference to one may go in any thread.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._section: Section | None = None
        self._lock = threading.RLock()  # reentrant: the garbage collector may free storages while one is entered

    def open(self, section: Section) -> None:
        """Report to `section` from here on."""
        self._section = section

    def close(self) -> None:
        """Report to nobody."""
        self._section = None

    def knows(self, tensor: Tensor) -> bool:
        """Is the tensor's storage in the ledger?"""
        storage = _storage(tensor)
        return storage is not None and id(storage) in self._blocks

    def allocated(self, tensor: Tensor) -> None:
        """The counted code has made this tensor, and its storage unless that is known."""
        self._enter(tensor, grows=True, allocates=True)

    def placed(self, tensor: Tensor) -> None:
        """The counter has put this tensor on the device: it is alive, but no allocation of the counted code's."""
        self._enter(tensor, grows=True, allocates=False)

    def seen(self, tensor: Tensor) -> None:
        """This tensor's storage was there before; it may have another size now."""
        self._enter(tensor, grows=False, allocates=False)

    def _enter(self, tensor: Tensor, *, grows: bool, allocates: bool) -> None:
        storage = _storage(tensor)
        if storage is None:
            return
        # The object `storage` stays the same, and so does its id, until the last tensor that uses it is gone.
        key, size = id(storage), storage.nbytes()
        with self._lock:
            if key in self._blocks:
                self._resize(key, size)
                return
            self._blocks[key] = (weakref.ref(storage, lambda _: self._free(key)), size)
            if grows:
                self._grow(size, allocates)

    def _resize(self, key: int, size: int) -> None:
        reference, old = self._blocks[key]
        if size != old:
            self._blocks[key] = (reference, size)
            self._grow(size - old, allocates=size > old)

    def _free(self, key: int) -> None:
        with self._lock:
            _, size = self._blocks.pop(key)
            self._grow(-size, allocates=False)

    def _grow(self, size: int, allocates: bool) -> None:
        section = self._section
        if section is not None:
            section.allocated_bytes += size if allocates else 0
            section.live_bytes += size
            section.peak_bytes = max(section.peak_bytes, section.live_bytes)


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse and other tensors without one storage
        return None


class CudaLedger(Ledger):
    """Bytes by CUDA's own caching allocator, which also sees the scratch space of operations."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._start: dict[str, Any] = {}

    def open(self, section: Section) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)
        self._start = torch.cuda.memory_stats(self._device)
        super().open(section)

    def close(self) -> None:
        section, start = self._section, self._start
        super().close()
        if section is not None:
            end = torch.cuda.memory_stats(self._device)
            in_use, allocated = "allocated_bytes.all.current", "allocated_bytes.all.allocated"
            section.allocated_bytes = end.get(allocated, 0) - start.get(allocated, 0)
            section.live_bytes = end.get(in_use, 0) - start.get(in_use, 0)
            section.peak_bytes = end.get("allocated_bytes.all.peak", 0) - start.get(in_use, 0)

    def _enter(self, tensor: Tensor, *, grows: bool, allocates: bool) -> None:
        """Nothing: the allocator knows."""
