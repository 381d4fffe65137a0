"""What a learner has done so far, kept per user in one small JSON file; `overview` shows it.

The file is `$AUTOGRADER_STATE`, or `practical-optimization/progress.json` in the user's data folder. It is a
convenience: when it cannot be read or written, everything works without it and the table says so.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from autograder.files import write_whole

VERSION = 1


def state_file() -> Path:
    """Where the progress is kept."""
    if given := os.environ.get("AUTOGRADER_STATE"):
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "practical-optimization" / "progress.json"


def enabled() -> bool:
    """nbgrader's own runs (autograde, validate) leave no trace in anybody's progress."""
    return "NBGRADER_EXECUTION" not in os.environ


def load() -> dict[str, dict[str, Any]]:
    """id → what is known about it; {} when there is no readable file."""
    try:
        return read(state_file())
    except (OSError, ValueError):
        return {}


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of a progress file. Raises OSError when it cannot be read, ValueError when it is something else."""
    try:
        exercises = json.loads(path.read_text(encoding="utf-8"))["exercises"]
    except (ValueError, KeyError, TypeError):
        exercises = None
    if not isinstance(exercises, dict) or not all(isinstance(entry, dict) for entry in exercises.values()):
        raise ValueError(f"{path} is no progress file: it should be one that `progress().export(...)` has written")
    return exercises


def note(exercise_id: str, **values: Any) -> dict[str, Any]:
    """Update one exercise's entry and return it. Written at once and in one piece; failing to write is no error."""
    with _one_at_a_time():
        state = load()
        entry = {**state.get(exercise_id, {}), **values}
        if enabled():
            with suppress(OSError):
                write(state_file(), {**state, exercise_id: entry})
    return entry


def write(path: Path, exercises: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace a progress file in one piece. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"version": VERSION, "exercises": exercises}, indent=1, sort_keys=True))


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two notebooks of one learner may pass a check in the same moment: neither entry gets lost."""
    try:
        import fcntl

        lock = open(state_file().with_suffix(".lock"), "w")  # noqa: SIM115
    except (ImportError, OSError):  # Windows, or nowhere to write: progress is a convenience
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def writable() -> bool:
    """Can progress be kept? Found by trying: permissions alone do not tell."""
    folder = state_file().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
