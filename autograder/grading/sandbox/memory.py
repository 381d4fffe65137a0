"""How much memory a child and all it has started use, without cgroups: from /proc, as often as wanted (0.1 ms)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def tree_memory_mb(pid: int, baseline_mb: float) -> tuple[float, int]:
    """MB (2**20 bytes) of anonymous and shared memory of the process and its descendants, and how many there are.

    `baseline_mb` is taken off each of them: what the zygote has, which they share until they write to it. A process that
    has ended counts as nothing. Files in a sandbox's tmpfs folders are not counted: those have sizes of their own.
    """
    processes = _tree(pid)
    sizes = [size for one in processes if (size := _own_mb(one)) is not None]
    return sum(max(0.0, size - baseline_mb) for size in sizes), len(sizes)


def tree_share_mb(pid: int) -> float | None:
    """The same memory with pages that several processes share counted once, in parts: dearer (some ms), and right after
    forks. Pages of the zygote count in part as well. None where the kernel does not tell.
    """
    shares = [_share_mb(one) for one in _tree(pid)]
    known = [share for share in shares if share is not None]
    return sum(known) if known else None


def _tree(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text(encoding="utf-8").split()]
    return found


def _share_mb(pid: int) -> float | None:
    return _sum_mb(Path(f"/proc/{pid}/smaps_rollup"), ("Pss_Anon:", "Pss_Shmem:"))


def _own_mb(pid: int) -> float | None:
    return _sum_mb(Path(f"/proc/{pid}/status"), ("RssAnon:", "RssShmem:"))


def _sum_mb(path: Path, fields: tuple[str, ...]) -> float | None:
    """The fields of one of the kernel's tables, added up; None when there is no such process any more."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith(fields)) / 1024
