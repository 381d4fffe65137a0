"""The kill matrix's summary lines, for the README: counted, never typed.

Audits every exercise; stopped, it goes on where it was. Mutants and pairs of mistakes are taken from what `mutants.py`
and `pairs.py` have saved.

Run: python benchmarks/audit_summary.py [--write]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from _common import RESULTS, Ledger

from autograder import misconceptions
from autograder.audit import audit, code_exercises
from autograder.exercise import CodeExercise

README = Path(__file__).resolve().parent.parent / "README.md"


def measure(exercise: CodeExercise) -> dict[str, Any]:
    report = audit(exercise, seeds=(1, 2, 3))
    return {
        "wrong": len(report.kills),
        "by hand": sum(kill.source != "catalogue" for kill in report.kills),
        "killed": sum(kill.killed for kill in report.kills),
        "named": sum(kill.ok for kill in report.kills),
        "right": len(report.acceptances),
        "accepted": sum(one.accepted for one in report.acceptances),
        "worst right": report.worst_right,
        "nearest wrong": report.nearest_wrong if report.nearest_wrong < float("inf") else None,
    }


def audited() -> dict[str, dict[str, Any]]:
    """Every exercise's counts, from the last run where nothing has changed since."""
    digest = hashlib.sha256()
    for path in sorted(Path(misconceptions.__path__[0]).glob("*.py")):
        digest.update(path.read_bytes())
    ledger = Ledger("audit", misconceptions=digest.hexdigest()[:16])
    for exercise in code_exercises():
        if not ledger.has(exercise):
            ledger.put(exercise, **measure(exercise))
        print(exercise.id, ledger.results[exercise.id], flush=True)
    return {exercise.id: ledger.results[exercise.id] for exercise in code_exercises()}


def summary() -> str:
    results = audited()
    total = {key: sum(one[key] for one in results.values()) for key in ("wrong", "by hand", "killed", "named", "right")}
    return (
        f"Of {total['wrong']} wrong variants of {len(results)} exercises ({total['by hand']} of them written by hand, "
        f"independent of the simulators that the checks compare with), {total['killed']} fail and {total['named']} are called "
        f"by their name; of {total['right']} right implementations in different styles, "
        f"{sum(one['accepted'] for one in results.values())} pass."
    )


def _saved(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def mutants() -> str:
    saved = _saved("mutants")
    found = saved["total"]
    left = f"{found['survivors']} are left" if found["survivors"] else "none is left"
    return (
        f"Of {found['mutants']} mechanical mutants of the solutions of {len(saved['exercises'])} exercises, {found['killed']} "
        f"fail, {found['equivalent']} do the same as the solution, each listed with the reason, and "
        f"{found['reach the score']} are programs that reach the accuracy that is asked for; {left}."
    )


def pairs() -> str:
    saved = _saved("pairs")
    found = saved["total"]
    passing = f", and {found['passes']} pass the visible cases" if found["passes"] else ""
    return (
        f"Of {sum(found.values())} pairs of two mistakes at once, drawn from {len(saved['exercises'])} exercises, "
        f"{found['pair']} are told as the pair, {found['one of the two']} as one of the two, {found['nothing']} not by name, "
        f"{found['another that does the same']} as another mistake that does the same, {found['false']} falsely, "
        f"and {found['cancel']} cancel each other: they make a right answer{passing}."
    )


def write(mark: str, line: str) -> None:
    """Put a line between the marks of that name in the README."""
    pattern = rf"(<!-- {mark}: begin -->\n).*?(<!-- {mark}: end -->)"
    text = re.sub(pattern, lambda m: f"{m[1]}{line}\n{m[2]}", README.read_text(), flags=re.DOTALL)
    README.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the lines into the README")
    parser.add_argument("--saved", action="store_true", help="only the line that comes from saved results")
    options = parser.parse_args()
    lines = {} if options.saved else {"audit": summary()}
    lines["mutants"] = f"{mutants()} {pairs()}"
    for mark, line in lines.items():
        print(line)
        if options.write:
            write(mark, line)


if __name__ == "__main__":
    main()
