"""How far apart are right implementations, and how far away is the nearest wrong one?

For every dtype: the largest deviation of any accepted variant from the reference over many seeds and thread counts,
beside the tolerance. For every exercise: worst right and nearest wrong, in tolerances.

Run: python benchmarks/tolerances.py [--seeds 200]
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import torch
from _common import save

from autograder.audit import answers, audit, code_exercises
from autograder.evidence import collecting, gather
from autograder.exercise import TOLERANCE
from autograder.verdict import expected_evidence, judge_case


def spread(seeds: int) -> tuple[dict[str, float], list[str]]:
    """dtype → worst deviation of a right answer; and every right answer that was rejected."""
    worst: dict[str, float] = defaultdict(float)
    rejected = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for exercise in code_exercises():
            for seed in range(seeds):
                for case in exercise.draw_cases(1000 + seed):
                    expected = expected_evidence.__wrapped__(exercise, case)
                    for name, objects in answers(exercise, "ACCEPTED").items():
                        verdict = judge_case(case, gather(case, objects), expected)
                        dtype = case.inputs.get("dtype", "float64")
                        if case.tolerance == TOLERANCE.get(dtype):
                            worst[dtype] = max(worst[dtype], verdict.deviation)
                        if not verdict.passed:
                            rejected.append(f"{exercise.id}, {name}, seed {1000 + seed}, {case.name}")
            print(f"{threads} threads, {exercise.id}: {len(rejected)} rejected so far", flush=True)
    return dict(worst), rejected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    seeds = parser.parse_args().seeds
    with collecting():
        worst, rejected = spread(seeds)
    margins = {}
    for exercise in code_exercises():
        report = audit(exercise, seeds=())
        margins[exercise.id] = {
            "worst_right": max(one.spread for one in report.acceptances),
            "nearest_wrong": min((k.margin for k in report.kills if 1 < k.margin < float("inf")), default=None),
        }
    for dtype, tolerance in TOLERANCE.items():
        print(f"{dtype:>9}: worst right {worst.get(dtype, 0):.1e}, tolerance {tolerance:.0e}")
    print(f"{len(rejected)} right answers rejected on {seeds} seeds", *rejected[:20], sep="\n  ")
    data = {
        "seeds": seeds,
        "worst_right_by_dtype": worst,
        "tolerance": TOLERANCE,
        "rejected": rejected,
        "margins": margins,
    }
    print(f"saved {save('tolerances', data)}")


if __name__ == "__main__":
    main()
