"""A progress bar on stdout. (On stderr, nbgrader would take it for a failure.)"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")


def bar(items: Iterable[T], label: str = "", total: int | None = None, width: int = 24) -> Iterator[T]:
    """Go through `items`, showing how many are done and how long the rest will take.

    Nothing is shown for work that takes less than half a second; at most ten updates a second are printed.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    start = last = time.monotonic()
    shown = False
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last > 0.1 and now - start > 0.5:
            _draw(label, number, total, now - start, width)
            last, shown = now, True
    if shown:
        sys.stdout.write("\r" + " " * (len(label) + width + 40) + "\r")
        sys.stdout.flush()


def _draw(label: str, number: int, total: int | None, seconds: float, width: int) -> None:
    if total:
        filled = width * number // total
        rest = seconds / number * (total - number)
        line = f"{label} [{'█' * filled}{'·' * (width - filled)}] {number}/{total}, {rest:.0f} s left"
    else:
        line = f"{label} {number}, {seconds:.0f} s"
    sys.stdout.write(f"\r{line}   ")
    sys.stdout.flush()
