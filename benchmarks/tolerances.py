"""How far apart are right implementations?

For every exercise: the largest deviation of any accepted variant from the reference, in tolerances, over many seeds of
hidden cases with one thread and with two; and the accepted variants that were rejected. For every dtype: the largest
deviation beside the tolerance. How far the nearest wrong variant is: `audit_summary.py`.

Run: python benchmarks/tolerances.py [--seeds 200] [--seconds 60] [EXERCISE …]. Stopped, it goes on where it was.
`--seconds`, of the processor (processes that a case starts are counted), bound an exercise with one thread count; slow ones
get as many seeds as fit, and the result says so.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from _common import Ledger, processor_seconds

from autograder.audit import answers, code_exercises
from autograder.evidence import collecting, gather
from autograder.exercise import TOLERANCE, CodeExercise
from autograder.verdict import expected_evidence, judge_case

FIRST_SEED = 1000


def spread(exercise: CodeExercise, threads: int, seeds: int, seconds: float) -> dict[str, Any]:
    """The worst right answer on as many seeds as fit: in tolerances, and by dtype; and who was rejected where."""
    torch.set_num_threads(threads)
    worst, by_dtype, rejected = 0.0, dict[str, float](), []
    start, done = processor_seconds(), 0
    while done < seeds and processor_seconds() - start < seconds:
        for case in exercise.draw_cases(FIRST_SEED + done):
            expected = expected_evidence.__wrapped__(exercise, case)
            dtype = case.inputs.get("dtype", "float64")
            for name, objects in answers(exercise, "ACCEPTED").items():
                verdict = judge_case(case, gather(case, objects), expected)
                worst = max(worst, verdict.deviation / case.tolerance)
                if case.tolerance == TOLERANCE.get(dtype):
                    by_dtype[dtype] = max(by_dtype.get(dtype, 0.0), verdict.deviation)
                if not verdict.passed:
                    rejected.append(f"{name}, seed {FIRST_SEED + done}, {case.name}")
        done += 1
    return {"seeds": done, "worst right": worst, "by dtype": by_dtype, "rejected": rejected}


def measure(exercise: CodeExercise, seeds: int, seconds: float) -> dict[str, Any]:
    with collecting():
        runs = {str(threads): spread(exercise, threads, seeds, seconds) for threads in (1, 2)}
    return {"threads": runs, "worst right": max(run["worst right"] for run in runs.values())}


def summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Over all exercises: the worst by dtype, the seeds, the rejected."""
    runs = [(exercise, run) for exercise, one in results.items() for run in one["threads"].values()]
    return {
        "tolerance": TOLERANCE,
        "worst right by dtype": {
            dtype: max((run["by dtype"].get(dtype, 0.0) for _, run in runs), default=0.0) for dtype in TOLERANCE
        },
        "rejected": [f"{exercise}: {one}" for exercise, run in runs for one in run["rejected"]],
        "fewer seeds": {
            exercise: fewest
            for exercise, one in results.items()
            if (fewest := min(run["seeds"] for run in one["threads"].values())) < max(r["seeds"] for _, r in runs)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="EXERCISE")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0, help="at most, per exercise and thread count")
    options = parser.parse_args()
    ledger = Ledger("tolerances", seeds=options.seeds)
    chosen = code_exercises(options.ids)
    for number, exercise in enumerate(chosen, start=1):
        if not ledger.has(exercise):
            ledger.put(exercise, **measure(exercise, options.seeds, options.seconds))
        one = ledger.results[exercise.id]
        seeds = [run["seeds"] for run in one["threads"].values()]
        rejected = sum(len(run["rejected"]) for run in one["threads"].values())
        worst = f"worst right uses {one['worst right']:.2g} of the tolerance"
        print(f"{number}/{len(chosen)} {exercise.id}: seeds {seeds}, {worst}, {rejected} rejected", flush=True)
    total = summary(ledger.results)
    for dtype, tolerance in TOLERANCE.items():
        print(f"{dtype:>9}: worst right {total['worst right by dtype'][dtype]:.1e}, tolerance {tolerance:.0e}")
    print(f"{len(total['rejected'])} right answers rejected", *total["rejected"][:20], sep="\n  ")
    print(f"saved {ledger.save(**total)}")


if __name__ == "__main__":
    main()
