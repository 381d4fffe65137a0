"""Hostile submissions against stock `nbgrader autograde` and against this engine: who gains points, leaks, does harm.

Run: python benchmarks/attacks.py [--only GROUP …] [--skip-stock]. About 15 minutes. Not part of the tests: those grade
the same submissions with this engine alone (`tests/attacks/`).

Stock nbgrader runs a submission with all rights of whoever grades. So attacks that damage the machine or search it are
not run there; they count as "not run", nothing else. The others run in a throw-away copy of a small course with an
empty home folder and a bare environment, one attack and one honest student at a time, with a time limit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from _common import save

from autograder.exercise import REGISTRY
from autograder.publish.light import EXERCISES, NAME, light_config, make_light_course

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "attacks"))

from catalogue import CANARY, LEAKED, Attack, attacks, hand_in  # noqa: E402

HONEST = "zzz-honest"
SECONDS = 150.0

#: Never run without a sandbox: these break the machine (damage) or search and call far beyond the course.
NOT_ON_A_HOST = frozenset(
    (
        *("course_files", "environment", "others_processes", "memory_of_the_forker", "symlinks_out", "open_files"),
        *("course_package", "connections", "bomb_beside", "links_beside"),
    )
)
#: Speak this engine's own protocol: there is nothing of the kind in stock nbgrader.
OWN_PROTOCOL = frozenset(("frames",))


@dataclass(frozen=True)
class Outcome:
    """`harmed`: the honest student behind the attacker lost points, or grading stopped or had to be ended."""

    gained: bool = False
    leaked: bool = False
    harmed: bool = False
    run: bool = True


NOT_RUN = Outcome(run=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--skip-stock", action="store_true")
    parser.add_argument("--stock", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stock:
        _autograde(options.stock)
        return
    chosen = [one for one in attacks() if not options.only or one.group in options.only]
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "made"
        make_light_course(ROOT, made)
        found = {"this engine": _ours(made, Path(name) / "ours", chosen)}
        for one in chosen if not options.skip_stock else ():
            found.setdefault("stock nbgrader", {})[one.name] = _stock(made, Path(name) / "stock", one)
            save("attacks", _summary(chosen, found))  # a run that is stopped keeps what it has found
    for who, outcomes in found.items():
        _show(who, chosen, outcomes)
    print("saved:", save("attacks", _summary(chosen, found)))


# --- stock nbgrader -------------------------------------------------------------------------------------------------


def _autograde(folder: Path) -> None:
    from nbgrader.converters import Autograde

    from autograder.publish.convert import convert

    config = light_config(folder)
    config.Execute.timeout = 30
    convert(Autograde, config)


def _stock(made: Path, folder: Path, attack: Attack) -> Outcome:
    if attack.group == "damage" or attack.group in OWN_PROTOCOL or attack.name in NOT_ON_A_HOST:
        return NOT_RUN
    shutil.rmtree(folder, ignore_errors=True)
    _course(made, folder, [attack])
    (folder / "home").mkdir()
    ended = _limited([sys.executable, __file__, "--stock", str(folder)], _bare_environment(folder / "home"))
    scores = _gradebook(folder)
    said = _read(folder / "autograded" / attack.student_id)
    outcome = Outcome(
        gained=scores.get(attack.student_id, 0.0) > sum(attack.honest.values()) + 1e-9,
        leaked=f"{LEAKED} " in said and attack.name != "leak_control",
        harmed=not ended or scores.get(HONEST) != sum(REGISTRY[one].points for one in EXERCISES),
    )
    print(f"stock nbgrader  {attack.group:10} {attack.name:32} {_words(outcome)}", flush=True)
    return outcome


def _limited(command: list[str], environment: Mapping[str, str]) -> bool:
    """Run it with all that it starts in a group of its own; False when it failed or had to be ended."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(SECONDS) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _bare_environment(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    folders = {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(home)}
    return {**kept, **folders, "OMP_NUM_THREADS": "1", "SECRET_TOKEN": f"{CANARY}-environment"}


def _gradebook(folder: Path) -> dict[str, float]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        return {one.student_id: float(one.score) for one in gradebook.assignment_submissions(NAME)}


# --- this engine ----------------------------------------------------------------------------------------------------


def _ours(made: Path, folder: Path, chosen: list[Attack]) -> dict[str, Outcome]:
    """All in one class, those that do damage too: they are contained."""
    _course(made, folder, chosen)
    results = folder.parent / "results.json"
    command = [sys.executable, str(ROOT / "tests" / "attacks" / "grade_hostile.py"), str(folder), str(results)]
    subprocess.run(command, env={**os.environ, "SECRET_TOKEN": f"{CANARY}-environment"}, check=False, timeout=1800)
    found = json.loads(results.read_text(encoding="utf-8"))["results"] if results.exists() else {}
    points = {name: sum(one["points"] for one in result["exercises"]) for name, result in found.items()}
    harmed = points.get(HONEST) != sum(REGISTRY[one].points for one in EXERCISES)
    return {
        one.name: Outcome(
            gained=points.get(one.student_id, 0.0) > sum(one.honest.values()) + 1e-9,
            leaked=f"{LEAKED} " in json.dumps(found.get(one.student_id, {})) and one.name != "leak_control",
            harmed=harmed,
        )
        for one in chosen
    }


# --- both -----------------------------------------------------------------------------------------------------------


def _course(made: Path, folder: Path, chosen: Iterable[Attack]) -> None:
    shutil.copytree(made, folder)
    honest = Attack("honest", "honest", "", frozenset(EXERCISES), own=(f"# {CANARY}-other",), student=HONEST)
    for one in (*chosen, honest):
        hand_in(one, ROOT, folder)
    (folder / "secret.txt").write_text(f"{CANARY}-secret\n")


def _read(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*.ipynb") if path.is_file())


def _words(outcome: Outcome) -> str:
    if not outcome.run:
        return "not run"
    said = [name for name in ("gained", "leaked", "harmed") if getattr(outcome, name)]
    return ", ".join(said) or "nothing"


def _counts(chosen: list[Attack], outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for one in chosen:
        group = counts.setdefault(one.group, dict.fromkeys(("attacks", "run", "gained", "leaked", "harmed"), 0))
        group["attacks"] += 1
        for name in ("run", "gained", "leaked", "harmed"):
            group[name] += getattr(outcomes.get(one.name, NOT_RUN), name)
    return counts


def _show(who: str, chosen: list[Attack], outcomes: Mapping[str, Outcome]) -> None:
    print(f"\n{who}")
    for group, counts in _counts(chosen, outcomes).items():
        print(f"  {group:12}" + "".join(f"{name} {count:3}   " for name, count in counts.items()))


def _summary(chosen: list[Attack], found: Mapping[str, Mapping[str, Outcome]]) -> dict[str, object]:
    return {
        who: {
            "groups": _counts(chosen, outcomes),
            "attacks": {
                f"{one.group}/{one.name}": asdict(outcomes[one.name]) for one in chosen if one.name in outcomes
            },
        }
        for who, outcomes in found.items()
    }


if __name__ == "__main__":
    main()
