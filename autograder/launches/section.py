"""What one section of counting holds in the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from .events import Event

#: The lists of events that a section has.
Kind = Literal["syncs", "mixes", "uploads"]


@dataclass
class Section:
    """What happened inside one `with counter.section():`. Filled while it runs, frozen in effect once it is left.

    `allocated_bytes` is new storage created (views and in-place results are free), `live_bytes` the growth of what is
    alive, `peak_bytes` the largest growth on the way. On CUDA the three come from its caching allocator, which rounds
    up to 512 bytes.
    """

    name: str = ""
    operations: Counter[str] = field(default_factory=Counter)
    syncs: list[Event] = field(default_factory=list)
    mixes: list[Event] = field(default_factory=list)
    uploads: list[Event] = field(default_factory=list)  # copies from the host to the device
    allocated_bytes: int = 0
    peak_bytes: int = 0
    live_bytes: int = 0

    @property
    def launches(self) -> int:
        """Operations dispatched on the device."""
        return self.operations.total()
