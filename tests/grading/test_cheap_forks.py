"""The fork server's heap: its holes are filled, so that a fork's allocations do not land in them, a page each."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

HOLES = """
import ctypes
from autograder.grading.cheap_forks import fill_holes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
taken = [libc.malloc(200) for _ in range(4000)]
holes = set(taken[::2])
for one in holes:
    libc.free(one)
before = {libc.malloc(200) for _ in range(10)}
for one in before:
    libc.free(one)
filled = fill_holes()
after = {libc.malloc(200) for _ in range(1000)}
print(len(before & holes), filled, len(after & holes))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="glibc's heap")
def test_allocations_no_longer_land_in_holes() -> None:
    out = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True).stdout
    before, filled, after = map(int, out.split())
    assert before == 10
    assert 2000 <= filled < 100_000
    assert after <= 10  # a few may have been freed by Python since
