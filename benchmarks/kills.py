"""Kill a grading run a hundred times at random, resume it each time, and compare with a run that nobody disturbed.

Run: python benchmarks/kills.py [--kills 100] [--students 30]. Prints and saves what differs: nothing should.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import save

from autograder.grading.engine import STORE
from autograder.grading.store import Store
from autograder.publish.light import NAME, gradebook_marks, left_behind, make_light_course, submit_light

ROOT = Path(__file__).resolve().parent.parent


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(folder), "--json"]


def state(folder: Path) -> dict[str, Any]:
    """Marks in store and gradebook, attempts per student, rows per grade."""
    names = sorted(path.name for path in (folder / "submitted").iterdir())
    with Store(folder / STORE) as store:
        marks = {name: one.marks() for name in names if (one := store.latest(NAME, name))}
        attempts = {name: len(store.attempts(NAME, name)) for name in names}
        pending = len(store.pending(NAME))
    with sqlite3.connect(folder / "gradebook.db") as database:
        rows = database.execute("SELECT COUNT(*) FROM grade").fetchone()[0]
    return {"marks": marks, "attempts": attempts, "pending": pending, "scores": gradebook_marks(folder), "rows": rows}


def disturb(folder: Path, kills: int, dice: random.Random) -> int:
    """Start and kill; returns how many of the kills hit a run that was still going."""
    hits = 0
    for number in range(kills):
        # --force: there is always something left to grade; the last run, without it, has to make it whole
        process = subprocess.Popen([*command(folder), "--force"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # most kills fall into the seconds in which something is graded and recorded
        time.sleep(dice.uniform(0.5, 9.0))
        hits += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        if number % 10 == 9:
            print(f"{number + 1} kills, {hits} in time", flush=True)
    return hits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--students", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        calm, wild = Path(name) / "calm", Path(name) / "wild"
        make_light_course(ROOT, calm)
        submit_light(ROOT, calm, options.students)
        shutil.copytree(calm, wild)
        subprocess.run(command(calm), check=True, stdout=subprocess.DEVNULL)
        hits = disturb(wild, options.kills, random.Random(1))
        subprocess.run(command(wild), check=True, stdout=subprocess.DEVNULL)
        one, two = state(calm), state(wild)
        found = {
            "kills": options.kills,
            "kills_in_time": hits,
            "marks_equal": one["marks"] == two["marks"] and one["scores"] == two["scores"],
            "rows_equal": one["rows"] == two["rows"],
            "unpublished": two["pending"],
            "left_behind": left_behind(wild),
        }
    for what, value in found.items():
        print(f"{what:>15}: {value}")
    save("kills", {"students": options.students, **found})


if __name__ == "__main__":
    main()
