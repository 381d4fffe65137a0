"""Which counter is open: one at a time in the process. What torch calls while counting runs reports to it here."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

from .operations import Call
from .recorder import Recorder
from .section import Kind

_recorder: Recorder | None = None
_lock = threading.Lock()

#: The counter itself, and not the student, is at work in this thread.
_uncounted = contextvars.ContextVar("_uncounted", default=False)


def claim(recorder: Recorder) -> None:
    """Make `recorder` the one that is reported to. RuntimeError if there is one."""
    global _recorder
    with _lock:
        if _recorder is not None:
            raise RuntimeError("a LaunchCounter is open already: close it before you open another")
        _recorder = recorder


def release(recorder: Recorder) -> None:
    """Report to `recorder` no more."""
    global _recorder
    with _lock:
        if _recorder is recorder:
            _recorder = None


def is_reported_to(recorder: Recorder) -> bool:
    return _recorder is recorder


def is_counting() -> bool:
    """Is a counter open?"""
    return _recorder is not None


@contextlib.contextmanager
def uncounted() -> Iterator[None]:
    """What this thread does meanwhile is reported to nobody."""
    token = _uncounted.set(True)
    try:
        yield
    finally:
        _uncounted.reset(token)


def note(kind: Kind, what: str) -> None:
    """Report an event at the student's line that runs now."""
    recorder = _recorder
    if recorder is not None and not _uncounted.get():
        recorder.note(kind, what)


def observe(call: Call, result: Any) -> None:
    """Report an operation that was carried out."""
    recorder = _recorder
    if recorder is not None and not _uncounted.get():
        recorder.observe(call, result)
