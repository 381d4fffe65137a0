"""The fork server's memory, laid out so that forks are cheap. Nothing depends on it; all stays as it was where it fails.

A fork copies page tables: with pages of 2 MB there is little to copy, and forking and ending a process of 250 MB costs
3 ms in place of 9. What a fork writes to is then copied page by page: imports leave thousands of small holes in the
heap, and every allocation that falls into one costs a page. With the holes filled, a fork that plays an exercise's
cases copies 1,200 pages in place of 2,200. `benchmarks/grading.py` sees both.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_SIZE = 2 * 2**20
_MADV_COLLAPSE = 25  # Linux 6.1
_LARGEST_HOLE, _MOST_HOLES = 1040, 50_000  # bytes; of one size

#: What a process that is started with it gets for its larger allocations; glibc 2.35. Unknown names are ignored.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}

_MAPPING = re.compile(r"(\w+)-(\w+) rw.p 00000000 00:00 0 *(\[heap\]|)$")


def fill_holes() -> int:
    """Allocate glibc's free chunks of up to 1 kB and never give them back; returns how many. A few milliseconds.

    Of each size, the largest first, until chunks come one after the other: those are cut from one piece.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return 0  # other allocators are laid out in other ways
    malloc = libc.malloc
    malloc.restype, malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    return sum(_fill(malloc, size) for size in range(_LARGEST_HOLE, 16, -16))


def _fill(malloc: Callable[[int], int | None], size: int) -> int:
    """`size` is that of the chunk: 8 bytes of it are glibc's own."""
    before = neighbours = count = 0
    while neighbours < 8 and count < _MOST_HOLES:
        address = malloc(size - 8) or 0
        neighbours = neighbours + 1 if address - before == size else 0
        before, count = address, count + 1
    return count


def collapse() -> None:
    """Put this process's own memory into large pages, as far as it goes (0.2 s for 250 MB)."""
    libc = ctypes.CDLL(None)
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            if found := _MAPPING.match(line):
                first, end = (int(part, 16) for part in found.groups()[:2])
                first = -(-first // _SIZE) * _SIZE
                length = (end - first) // _SIZE * _SIZE
                if length > 0:  # an error means that some pages stay small
                    libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _MADV_COLLAPSE)
