"""The kill matrix's summary lines, for the README: counted, never typed.

Mutants and pairs of mistakes are taken from what `mutants.py` and `pairs.py` have saved.

Run: python benchmarks/audit_summary.py [--write]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from _common import RESULTS

from autograder.audit import audit, code_exercises

README = Path(__file__).resolve().parent.parent / "README.md"


def summary() -> str:
    reports = [audit(exercise, seeds=(1, 2, 3)) for exercise in code_exercises()]
    kills = [kill for report in reports for kill in report.kills]
    accepted = [one for report in reports for one in report.acceptances]
    hand_written = sum(kill.source != "catalogue" for kill in kills)
    killed, named = sum(kill.killed for kill in kills), sum(kill.ok for kill in kills)
    return (
        f"Of {len(kills)} wrong variants of {len(reports)} exercises ({hand_written} of them written by hand, independent of "
        f"the simulators that the checks compare with), {killed} fail and {named} are called by their name; "
        f"of {len(accepted)} right implementations in different styles, {sum(a.accepted for a in accepted)} pass."
    )


def _saved(name: str) -> dict[str, Any]:
    total: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())["total"]
    return total


def mutants() -> str:
    found = _saved("mutants")
    left = f"{found['survivors']} are left" if found["survivors"] else "none is left"
    return (
        f"Of {found['mutants']} mechanical mutants of the solutions, {found['killed']} fail, and {found['equivalent']} do the "
        f"same as the solution, each listed with the reason; {left}."
    )


def pairs() -> str:
    found = _saved("pairs")
    every = sum(found.values())
    return (
        f"Of {every} pairs of two mistakes at once, {found['pair']} are told as the pair, {found['one of the two']} as one of "
        f"the two, {found['another that does the same']} as another mistake that does the same, {found['nothing']} not by name "
        f"and {found['false']} falsely."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the line into the README")
    options = parser.parse_args()
    line = " ".join([summary(), mutants(), pairs()])
    print(line)
    if options.write:
        marks = r"(<!-- audit: begin -->\n).*?(<!-- audit: end -->)"
        README.write_text(re.sub(marks, lambda m: f"{m[1]}{line}\n{m[2]}", README.read_text(), flags=re.DOTALL))


if __name__ == "__main__":
    main()
