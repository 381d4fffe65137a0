"""How long the class report takes, how large it is, and what the search for similar solutions finds, by size of the class.

Classes are made up (`autograder.publish.synthetic_class`): one notebook, one to three attempts each, solutions put
together from independent choices; every hundredth student has copied two exercises from the one before under other names.

Run: python benchmarks/report.py [--students 300 1000 5000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from _common import save

from autograder.grading.engine import STORE, Course
from autograder.grading.report import build
from autograder.grading.report.collect import read_classes
from autograder.grading.report.command import write_report
from autograder.publish.synthetic_class import NOTEBOOK, fill_store

ROOT = Path(__file__).resolve().parents[1]


def make(folder: Path, count: int) -> Course:
    """A course with a store of `count` students."""
    for kind in ("release", "source"):
        shutil.copytree(ROOT / kind / NOTEBOOK, folder / kind / NOTEBOOK)
    (folder / ".grading").mkdir()
    fill_store(folder / STORE, nbformat.read(ROOT / "release" / NOTEBOOK / f"{NOTEBOOK}.ipynb", as_version=4), count)
    return Course(folder, f"sqlite:///{folder / 'gradebook.db'}", "benchmark")


def measure(course: Course, count: int) -> dict[str, Any]:
    """Processor times of the parts and of the whole, in a process of its own."""
    start = time.process_time()
    (work,) = read_classes(course)
    read = time.process_time() - start
    start = time.process_time()
    build._groups(work)
    similar = time.process_time() - start
    del work
    start = time.process_time()
    report, path = write_report(course)
    whole = time.process_time() - start
    copied = {(f"student{i - 1:04d}", f"student{i:04d}") for i in range(99, count, 100)}
    told = {group.students for group in report.assignments[0].groups}
    return {
        "students": count,
        "processor seconds": round(whole, 2),
        "of which reading": round(read, 2),
        "of which similar solutions": round(similar, 2),
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "peak memory, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "copies": len(copied),
        "copies found": sum(any(set(pair) <= set(group) for group in told) for pair in copied),
        "groups of nobody who copied": sum(not any(set(pair) <= set(group) for pair in copied) for group in told),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, nargs="+", default=[300, 1000, 5000])
    rows = []
    for count in parser.parse_args().students:
        with tempfile.TemporaryDirectory() as folder:
            course = make(Path(folder), count)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(measure, (course, count)))
        print(rows[-1], flush=True)
    print(save("report", {"classes": rows}), file=sys.stderr)


if __name__ == "__main__":
    main()
