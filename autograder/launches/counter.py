"""`LaunchCounter`: opens and closes counting, and carries tensors to the counted device and back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from . import current
from .memory import CudaLedger, Ledger
from .modes import pretend_modes
from .patches import pretend_patches, synchronize_patches
from .plain import PlainMode
from .recorder import Recorder
from .section import Section
from .tensor import PRETEND_DEVICE, PretendTensor, dress, is_pretend_device, unwrap
from .ways import How, Way, choose

ModuleType = TypeVar("ModuleType", bound=nn.Module)


class LaunchCounter:
    """Counts launches, host synchronisations, device mix-ups and bytes while it is open (`with LaunchCounter() as c`).

    `how="pretend"` puts real numbers on a pretend device. `how="plain"` counts on ordinary tensors of `device` (the
    accelerator, or the CPU without one). On the CPU a tensor counts as the device's if it has a dimension or was
    computed from one that does, so that 0-dimensional step counters stay on the "host"; synchronisations are seen,
    copies and mix-ups are not. `how="auto"` is pretend, so that every machine counts alike, whatever GPU it has; where
    this torch cannot carry the pretend device, it is plain on the CPU. `note` says in one sentence how it is counted.

    A counter may be opened again and in any thread, but one at a time in a process (RuntimeError). The thread that
    opened it is counted; another thread is where it touches pretend tensors. Nothing is recorded outside sections.
    Tensors outlive the counter: they compute as before, but no new one can be made on the pretend device.
    """

    how: Way
    device: torch.device
    note: str

    def __init__(self, how: How = "auto", device: torch.device | str | None = None) -> None:
        if how not in ("auto", "pretend", "plain"):
            raise ValueError(f'how is {how!r}, not one of "auto", "pretend", "plain"')
        wanted = None if device is None else torch.device(device)
        if wanted is not None and (how == "pretend") != is_pretend_device(wanted):
            raise ValueError(f'how="pretend" counts on {PRETEND_DEVICE} and nothing else does; the device is {wanted}')
        self.how, self.device, self.note = choose(how, wanted)
        self._ledger = CudaLedger(self.device) if self.device.type == "cuda" else Ledger()
        self._recorder = Recorder(self._ledger)

    def __enter__(self) -> LaunchCounter:
        current.claim(self._recorder)
        try:
            self._recorder.owner = threading.get_ident()
            with contextlib.ExitStack() as stack:
                for context in self._contexts():
                    stack.enter_context(context)
                self._exits = stack.pop_all()
        except BaseException:
            current.release(self._recorder)
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        try:
            self._exits.__exit__(*exception)
        finally:
            current.release(self._recorder)

    def _contexts(self) -> list[contextlib.AbstractContextManager[Any]]:
        if self.how == "pretend":
            return [*pretend_patches(), *pretend_modes()]
        return [*synchronize_patches(carry_out=self.device.type != "cpu"), PlainMode(self.device, self._ledger)]

    @contextlib.contextmanager
    def section(self, name: str = "") -> Iterator[Section]:
        """Record what happens inside the `with` block, which may be left by an exception; sections do not nest.

        Python's cyclic garbage collector rests meanwhile: memory freed at random moments would blur the bytes.
        """
        if not current.is_reported_to(self._recorder):
            raise RuntimeError("the counter is not open: use `section` inside `with LaunchCounter() as counter:`")
        if self._recorder.section is not None:
            raise RuntimeError("a section is open already: sections do not nest")
        section = Section(name)
        with self._recorder.recording(section):
            yield section

    def place(self, tensor: Tensor) -> Tensor:
        """A copy of `tensor` on the counted device; a leaf with the same `requires_grad`, a parameter if it is one.

        Not counted as a launch, an upload or an allocation.
        """
        with current.uncounted():
            values = unwrap(tensor).detach()
            if self.how == "pretend":
                copy: Tensor = PretendTensor(values.to("cpu", copy=True))
            else:
                copy = values.to(self.device, copy=True)
        self._ledger.placed(copy)
        return dress(copy, tensor.requires_grad, isinstance(tensor, nn.Parameter))

    def fetch(self, tensor: Tensor) -> Tensor:
        """A detached copy of `tensor` on the CPU, of the same dtype; not counted, no synchronisation."""
        with current.uncounted():
            copy: Tensor = unwrap(tensor).detach().to("cpu", copy=True)
        return copy

    def place_module(self, module: ModuleType) -> ModuleType:
        """Replace every parameter and buffer by its copy on the device; shared ones stay shared. Returns `module`.

        The parameters are new objects: build the optimizer afterwards.
        """
        placed: dict[Tensor, Tensor] = {}
        for part in module.modules():
            for tensors in (part._parameters, part._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        if tensor not in placed:
                            placed[tensor] = self.place(tensor)
                        tensors[name] = placed[tensor]  # type: ignore[assignment]
        return module
