"""Ten thousand random mutations of a solved notebook, graded as one class among honest students.

Run: python benchmarks/fuzz.py [--count 10000] [--seed 1]. About half an hour on 2 cores; the tests do a bounded part of it.
Bytes, JSON structure and whole cells are mutated in turn (`tests/malformed/mutations.py`). Mutations that leave the same
answers are the same submission: each distinct one is graded. Prints and saves how many runs were aborted, rows missing,
marks out of range, and honest students with other marks than without the mutants: all should be 0.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _common import save

from autograder.grading.assignment import read_assignment
from autograder.grading.submission import read_notebook
from autograder.publish.light import NAME, expected_marks, make_light_course, submit_light

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "malformed"))

from mutations import mutators  # noqa: E402

HONEST = 40


def mutants(folder: Path, count: int, seed: int, told: Counter[str]) -> Iterator[bytes]:
    """The distinct ones among `count` mutations of a notebook in which all is right; `told` counts what became of them."""
    assignment = read_assignment(folder / "release", NAME)
    data = (folder / "submitted" / "student000" / NAME / f"{NAME}.ipynb").read_bytes()
    rng, seen = random.Random(seed), set()
    kinds = mutators(data, json.loads(data), rng)
    for number in range(count):
        mutated = list(kinds.values())[number % len(kinds)]()
        submission = read_notebook(mutated, assignment)  # raises for none of them, or the benchmark ends here
        told["unreadable" if submission.problem else "readable"] += 1
        if submission.digest not in seen:
            seen.add(submission.digest)
            yield mutated


def hand_in(folder: Path, number: int, data: bytes) -> None:
    place = folder / "submitted" / f"student{number % HONEST:03d}-{number:05d}" / NAME  # among the honest ones
    place.mkdir(parents=True)
    (place / f"{NAME}.ipynb").write_bytes(data)


def grade(folder: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status, and the event of every student who was graded."""
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(folder), "--json"]
    graded: dict[str, dict[str, Any]] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "graded":
                graded[event["student"]] = event
                if len(graded) % 200 == 0:
                    print(f"{len(graded)} graded", flush=True)
    return process.returncode, graded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, told = Path(name), Counter[str]()
        make_light_course(ROOT, folder)
        styles = submit_light(ROOT, folder, HONEST)
        distinct = 0
        for distinct, mutated in enumerate(mutants(folder, options.count, options.seed, told), start=1):
            hand_in(folder, distinct, mutated)
        print(
            f"{options.count} mutations read, {told['unreadable']} of them unreadable, {distinct} distinct", flush=True
        )
        status, graded = grade(folder)
        due = {student: expected_marks(style) for student, style in styles.items()}
        found = {
            "mutations": options.count,
            **told,
            "distinct_graded": distinct,
            "exit_status": status,
            "rows_missing": distinct + HONEST - len(graded),
            "marks_out_of_range": sum(not 0 <= one["points"] <= one["max_points"] for one in graded.values()),
            "honest_marks_changed": sum(graded.get(student, {}).get("marks") != due[student] for student in due),
        }
    for what, value in found.items():
        print(f"{what:>22}: {value}")
    save("fuzz", found)


if __name__ == "__main__":
    main()
