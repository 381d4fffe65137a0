"""Two mistakes at once: are they told as the pair, as one of the two, as something else, or not at all?

For each exercise whose simulator can combine faults: pairs of rows that touch different parts of the update, run as a
student's code on the visible cases and on hidden ones, and diagnosed. A name is false when it belongs to neither mistake
and what it stands for does not do the same. Two mistakes cancel where what they make is right in hidden cases, too.

Run: python benchmarks/pairs.py [--most 100] [EXERCISE …]. Stopped, it goes on where it was. `--most`: pairs per
exercise, drawn at random where there are more.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from typing import Any

import torch
from _common import Ledger

from autograder.audit import code_exercises, two_mistakes
from autograder.evidence import collecting
from autograder.exercise import CodeExercise

KINDS = ("pair", "one of the two", "another that does the same", "false", "nothing", "cancel", "passes")


def measure(exercise: CodeExercise, most: int) -> dict[str, Any]:
    with collecting():
        found = list(two_mistakes(exercise, most, random.Random(exercise.id)))
    counts = Counter(one.told for one in found)
    return {
        "pairs": len(found),
        "told": {kind: counts[kind] for kind in KINDS},
        "false": [[*one.rows, list(one.named)] for one in found if one.told == "false"],
        "passing": [list(one.rows) for one in found if one.told == "passes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="EXERCISE")
    parser.add_argument("--most", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ledger = Ledger("pairs", most=options.most)
    chosen = [exercise for exercise in code_exercises(options.ids) if exercise.combine is not None]
    for number, exercise in enumerate(chosen, start=1):
        if not ledger.has(exercise):
            ledger.put(exercise, **measure(exercise, options.most))
        one = ledger.results[exercise.id]
        print(f"{number}/{len(chosen)} {exercise.id}: {one['pairs']} pairs, {one['told']}", *one["false"], flush=True)
    total = {kind: sum(one["told"][kind] for one in ledger.results.values()) for kind in KINDS}
    print(f"together: {total}")
    print(f"saved {ledger.save(total=total)}")


if __name__ == "__main__":
    main()
