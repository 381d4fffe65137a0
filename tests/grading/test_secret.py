"""The course key and the seeds that follow from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autograder.exercise import REGISTRY
from autograder.grading.secret import BadKey, course_key, hidden_seed


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    key = course_key(tmp_path)
    assert course_key(tmp_path) == key
    assert len(key) == 32
    assert (tmp_path / ".key").stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    other.mkdir()
    assert course_key(other) != key


def test_a_key_that_others_can_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    course_key(tmp_path)
    (tmp_path / ".key").chmod(0o644)
    with pytest.raises(BadKey, match="chmod 600"):
        course_key(tmp_path)
    (tmp_path / ".key").chmod(0o600)
    (tmp_path / ".key").write_bytes(b"short")
    with pytest.raises(BadKey, match="damaged"):
        course_key(tmp_path)
    (tmp_path / ".key").unlink()
    os.symlink("/dev/zero", tmp_path / ".key")
    with pytest.raises(BadKey, match="only you can read"):
        course_key(tmp_path)


def test_seeds_depend_on_everything_that_they_should() -> None:
    step, adam = REGISTRY["adam.step"], REGISTRY["adam.adam"]
    base = hidden_seed(b"k" * 32, "05", step, "d1")
    assert base == hidden_seed(b"k" * 32, "05", step, "d1")
    others = {
        hidden_seed(b"j" * 32, "05", step, "d1"),
        hidden_seed(b"k" * 32, "06", step, "d1"),
        hidden_seed(b"k" * 32, "05", adam, "d1"),
        hidden_seed(b"k" * 32, "05", step, "d2"),
    }
    assert len(others | {base}) == 5
    assert all(0 <= seed < 2**48 for seed in others)
