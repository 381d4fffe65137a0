"""The course key, and what follows from it: seeds of hidden cases, students' own questions, names nobody can guess.

Hidden cases come from HMAC(course key, assignment | exercise | version | submission's digest): the same submission
always gets the same cases, any edit gets others, and nobody without the key can compute them.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from autograder.exercise import Exercise

KEY_FILE = ".key"
_BYTES = 32


class BadKey(Exception):
    """The key file cannot be used; the message says what to do."""


def course_key(folder: Path) -> bytes:
    """The key in `folder`/.key, made on first use (mode 600). Raises BadKey for a file others can read or that is damaged."""
    folder.mkdir(exist_ok=True)
    path = folder / KEY_FILE
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode) or info.st_mode & 0o077:
        raise BadKey(f"{path} has to be a file that only you can read: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != _BYTES:
        raise BadKey(f"{path} is damaged: restore it from a backup, or delete it to get new hidden cases for all")
    return key


def hidden_seed(key: bytes, assignment: str, exercise: Exercise, digest: str) -> int:
    """Seed of an exercise's hidden cases for one submission: 48 bits."""
    message = "|".join((assignment, exercise.id, str(exercise.version), digest)).encode()
    return int.from_bytes(hmac.digest(key, message, hashlib.sha256)[:6], "big")


def hidden_seeds(key: bytes, assignment: str, exercises: Iterable[Exercise], digest: str) -> dict[str, int]:
    """Exercise id → `hidden_seed`, for one submission: all of the key that leaves the coordinator."""
    return {one.id: hidden_seed(key, assignment, one, digest) for one in exercises}


def variant(key: bytes, assignment: str, student: str) -> int:
    """The number behind one student's own questions (`autograder.variants`): 48 bits."""
    message = "|".join(("variant", assignment, student)).encode()
    return int.from_bytes(hmac.digest(key, message, hashlib.sha256)[:6], "big")


def stand_ins(key: bytes, assignment: str, student: str) -> dict[str, bytes]:
    """File name → contents, for a feedback folder of work that did not come through nbgrader's exchange.

    `nbgrader release_feedback` reads both files of every folder, and without them it stops there, for the rest of the
    class as well. It releases each page under a digest of the secret: with this one, under a name that nobody knows.
    """
    message = "|".join(("feedback", assignment, student)).encode()
    secret = hmac.digest(key, message, hashlib.sha256).hex().encode()
    return {"timestamp.txt": b"", "submission_secret.txt": secret}
