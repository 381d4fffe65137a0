"""Every mechanical mutant of every solution through the checks: how many are killed, and what survives?

Run: python benchmarks/mutants.py [EXERCISE …]. Stopped, it goes on where it was; `--again` runs what is done already.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import torch
from _common import Ledger

from autograder.audit import code_exercises
from autograder.exercise import CodeExercise
from autograder.mutants.runs import Report, mutants_of, try_mutants

#: Hidden cases are drawn from these.
SEEDS = [1, 2]


def measure(exercise: CodeExercise) -> dict[str, Any]:
    report = Report(exercise, tuple(try_mutants(exercise, mutants_of(exercise), SEEDS)))
    ends = Counter(trial.killed_by for trial in report.trials)
    return {
        "mutants": len(report.trials),
        "killed": report.killed,
        "out of time": ends["time"],
        "process ended": ends["process"],
        "equivalent": len(report.equivalent),
        "reach the score": len(report.reaching),
        "survivors": report.survivors,
        "not equivalent": report.stale,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="EXERCISE")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ledger = Ledger("mutants", seeds=SEEDS)
    chosen = code_exercises(options.ids)
    for number, exercise in enumerate(chosen, start=1):
        if options.again or not ledger.has(exercise):
            ledger.put(exercise, **measure(exercise))
        one = ledger.results[exercise.id]
        print(f"{number}/{len(chosen)} {exercise.id}: {one['killed']} of {one['mutants']} killed", end="")
        print(f", {one['equivalent']} equivalent, {len(one['survivors'])} survive", flush=True)
        for what in one["survivors"]:
            print(f"    survives: {what}")
    kinds = ("mutants", "killed", "out of time", "process ended", "equivalent", "reach the score")
    total = {kind: sum(one[kind] for one in ledger.results.values()) for kind in kinds}
    total["survivors"] = sum(len(one["survivors"]) for one in ledger.results.values())
    print(*(f"{kind}: {count}" for kind, count in total.items()), sep=", ")
    print(f"saved {ledger.save(total=total)}")


if __name__ == "__main__":
    main()
