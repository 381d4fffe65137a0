"""What an open counter writes into a section."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Any

from .events import event_here
from .memory import Ledger
from .operations import Call, tensors_in
from .rules import launches_of, sync_of, upload_of
from .section import Kind, Section


class Recorder:
    """Writes what the counted code does into the section that is open, if one is; from any thread."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.section: Section | None = None
        self.owner = 0  # the thread that opened the counter
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def recording(self, section: Section) -> Iterator[None]:
        """Write into `section`. Memory freed at random moments would blur its bytes, so garbage is not collected."""
        with _without_garbage_collection():
            self.ledger.open(section)
            self.section = section
            try:
                yield
            finally:
                self.section = None
                self.ledger.close()

    def note(self, kind: Kind, what: str) -> None:
        """Add an event to one of the section's lists."""
        section = self.section
        if section is not None:
            getattr(section, kind).append(event_here(what, self.owner))

    def observe(self, call: Call, result: Any) -> None:
        """Count one operation that was carried out."""
        self._enter(call, result)
        section = self.section
        if section is None:
            return
        if launches := launches_of(call):
            with self._lock:
                section.operations[call.name] += launches
        if what := sync_of(call):
            self.note("syncs", what)
        if what := upload_of(call):
            self.note("uploads", what)

    def _enter(self, call: Call, result: Any) -> None:
        """Tell the ledger of the storages of an operation's results."""
        if call.traits.fresh:
            enter = self.ledger.allocated
        elif call.traits.reshapes or call.by_descent:
            enter = self.ledger.seen
        else:
            return
        for tensor in tensors_in((result,)):
            if call.holds(tensor) or (call.by_descent and call.here):
                enter(tensor)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
