"""Events, and whose line it was: the innermost frame that is the student's."""

from __future__ import annotations

import contextlib
import functools
import linecache
import os
import site
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Event:
    """Something that happened at one line of the student's code ("" and 0 where no such line is known)."""

    what: str
    file: str
    line: int
    function: str
    source: str


def event_here(what: str, owner: int) -> Event:
    """The event `what` at the student's line that runs now; `owner` is the thread that opened the counter."""
    frame = _student_frame(owner)
    if frame is None:
        return Event(what, "", 0, "", "")
    file, line = frame.f_code.co_filename, frame.f_lineno
    return Event(what, file, line, frame.f_code.co_name, linecache.getline(file, line).strip())


_COUNTING = os.path.dirname(os.path.abspath(__file__)) + os.sep  # the folder of the modules that count
_COLLECTORS = (
    os.path.join(os.path.dirname(os.path.dirname(_COUNTING)), "collectors") + os.sep
)  # call the student's code
_AUTOGRADER = os.path.dirname(os.path.dirname(_COUNTING)) + os.sep  # the folder of the package around them
_COLLECTORS = os.path.join(_AUTOGRADER, "collectors", "")  # they call the student's code


def _foreign_directories() -> tuple[str, ...]:
    """Folders whose frames are never the student's: torch, numpy, `autograder`, other installed packages, stdlib."""
    paths = sysconfig.get_paths()
    found = [os.path.dirname(module.__file__ or "") for module in (torch, np, contextlib)]
    found += [_AUTOGRADER, *(paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple({spelling(path) + os.sep for path in found for spelling in (os.path.abspath, os.path.realpath)})


_FOREIGN_DIRECTORIES = _foreign_directories()


@functools.lru_cache(maxsize=4096)
def _is_foreign(filename: str) -> bool:
    """Is this file part of torch, the standard library, an installed package or `autograder`? By folder, not by word."""
    if filename.startswith(("<frozen ", "<eval_with_key>", "<__array_function__")):
        return True
    return not filename.startswith("<") and os.path.abspath(filename).startswith(_FOREIGN_DIRECTORIES)


def _runs_students(filename: str) -> bool:
    """Is this a file of `autograder` that stands in for students, as its answers and misconceptions do?"""
    path = os.path.abspath(filename)
    return path.startswith(_AUTOGRADER) and not path.startswith((_COUNTING, _COLLECTORS))


def _student_frame(owner: int) -> types.FrameType | None:
    """The innermost frame of the student's in this thread, else in the thread `owner`, else one of `autograder`'s."""
    here = sys._getframe(1)
    for frame in _frames(here, owner):
        if not _is_foreign(frame.f_code.co_filename):
            return frame
    return next((frame for frame in _outwards(here) if _runs_students(frame.f_code.co_filename)), None)


def _frames(here: types.FrameType, owner: int) -> Iterator[types.FrameType]:
    yield from _outwards(here)
    if owner != threading.get_ident():
        yield from _outwards(sys._current_frames().get(owner))


def _outwards(frame: types.FrameType | None) -> Iterator[types.FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
