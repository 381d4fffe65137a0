"""Large pages for the fork server: a fork copies page tables, and with pages of 2 MB there is little to copy.

Forking and ending a process of 250 MB costs 3 ms then, and 9 ms without (`benchmarks/grading.py` sees the difference).
Nothing depends on it: where the kernel has no large pages or none free, all stays as it was.
"""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path

_SIZE = 2 * 2**20
_MADV_COLLAPSE = 25  # Linux 6.1

#: What a process that is started with it gets for its larger allocations; glibc 2.35. Unknown names are ignored.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}

_MAPPING = re.compile(r"(\w+)-(\w+) rw.p 00000000 00:00 0 *(\[heap\]|)$")


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
