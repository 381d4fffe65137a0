"""A made-up class through the whole engine: seconds, memory over time, disk and report, by the number of submissions.

Every student hands in the notebooks 01 to 08, or those of --notebooks. Of a hundred submissions about 60 are right, 25 have
some exercises wrong (an operator or a number of the solution changed) or not done, 10 are broken (syntax errors, missing
cells, text in place of code), 5 are hostile or careless (exits, forks, memory, files, output; one in five hundred never ends).
Then every tenth student hands in again, and the class is graded a second time; then a third time, unchanged.

Run: python benchmarks/class.py [--submissions 100 1000] [--jobs 2] [--folder F]. Results are saved after each round; a size
that is saved as a whole is left out (--again measures it anew). With --folder the courses are kept there, and a run that was
stopped goes on with what is not graded yet, and tells of that part.

Seconds of processor time are those of all processes, and hardly depend on who else uses the machine; wall time does.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import psutil
from _common import RESULTS, processor_seconds, save

from autograder.grading.engine import STORE
from autograder.publish.sample_class import source_solutions, submission

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = tuple(path.name for path in sorted((ROOT / "release").glob("0[1-8]_*")))
SUBMISSIONS_TOLD = 8000  # 1,000 students, 8 notebooks
CORES_TOLD = 2

#: kind → how many of a hundred
MIX = {"right": 60, "wrong": 25, "broken": 10, "hostile": 5}

_HOSTILE = (
    "import os; os._exit(0)",
    "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        break",
    "import torch\nkept = [torch.ones(2**28) for _ in range(100)]",
    "open('/etc/shadow').read()",
    "import os; os.kill(os.getppid(), 9)",
    "print('x' * 10**8)",
    "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
    "open('full', 'wb').write(bytes(10**9))",
)
_ENDLESS = "while True:\n    pass"

# --- the class --------------------------------------------------------------------------------------------------------


class _Slip(ast.NodeTransformer):
    """One operator or number of the code is another: the kind of mistake that runs."""

    def __init__(self, dice: random.Random, places: int) -> None:
        self._place = dice.randrange(max(1, places))
        self.seen = 0

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.BinOp) or (isinstance(node, ast.Constant) and isinstance(node.value, (int, float))):
            self.seen += 1
            if self.seen == self._place + 1:
                if isinstance(node, ast.BinOp):
                    node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
                elif isinstance(node, ast.Constant):
                    node.value = node.value + 1
        return self.generic_visit(node)


def slipped(source: str, dice: random.Random) -> str:
    """The solution with one slip; its first line, which names the exercise, stays."""
    first, _, rest = source.partition("\n")
    try:
        counting = _Slip(dice, 0)
        counting._place = -1
        counting.visit(ast.parse(rest))
        slip = _Slip(dice, counting.seen)
        return f"{first}\n{ast.unparse(slip.visit(ast.parse(rest)))}"
    except SyntaxError:  # cells with magics
        return source


def handed_in(release: nbformat.NotebookNode, solutions: dict[str, str], kind: str, dice: random.Random) -> str:
    """One notebook of that kind, as JSON text."""
    answers = dict(solutions)
    some = dice.sample(sorted(answers), k=min(len(answers), dice.randint(1, 3)))
    if kind == "wrong":
        for one in some:
            answers[one] = slipped(answers[one], dice) if dice.random() < 0.7 else f"# exercise {one}\n..."
    elif kind == "broken":
        for one in some:
            answers[one] += dice.choice(("\n    else oops:", "\nundefined_name()", "\n'''"))
    elif kind == "hostile":
        what = _ENDLESS if dice.random() < 0.04 else dice.choice(_HOSTILE)
        answers[some[0]] += f"\n{what}"
    notebook = submission(release.copy(), answers)
    if kind == "broken" and dice.random() < 0.3:
        del notebook.cells[dice.randrange(2, len(notebook.cells))]
    return str(nbformat.writes(notebook))


def make(folder: Path, names: Sequence[str], students: int, seed: int = 1) -> Counter[str]:
    """Write release/ and submitted/; returns how many there are of each kind."""
    dice, told = random.Random(seed), Counter[str]()
    for name in names:
        shutil.copytree(ROOT / "release" / name, folder / "release" / name, dirs_exist_ok=True)
        for number in range(students):
            kind = dice.choices(list(MIX), list(MIX.values()))[0]
            told[kind] += 1
            hand_in(folder, name, f"student{number:04d}", kind, dice)
    return told


@cache
def _given(name: str) -> tuple[nbformat.NotebookNode, dict[str, str]]:
    """The release, and the solutions by exercise id."""
    release = nbformat.read(ROOT / "release" / name / f"{name}.ipynb", as_version=4)
    return release, source_solutions(ROOT / "source" / name / f"{name}.ipynb")


def hand_in(folder: Path, name: str, student: str, kind: str, dice: random.Random) -> None:
    text = handed_in(*_given(name), kind, dice)
    place = folder / "submitted" / student / name
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.ipynb").write_text(text)


def hand_in_again(folder: Path, names: Sequence[str], students: int, seed: int = 2) -> int:
    """Every tenth student repairs all notebooks."""
    dice = random.Random(seed)
    for name in names:
        for number in range(0, students, 10):
            hand_in(folder, name, f"student{number:04d}", "right", dice)
            path = folder / "submitted" / f"student{number:04d}" / name / f"{name}.ipynb"
            notebook = nbformat.read(path, as_version=4)
            notebook.cells.append(nbformat.v4.new_code_cell(f"print({number}, 'now it works')"))
            nbformat.write(notebook, path)
    return len(names) * len(range(0, students, 10))


# --- measuring --------------------------------------------------------------------------------------------------------


@dataclass
class Memory:
    """MB of the processes that stay (each's own share of what they share), sampled through a run."""

    coordinator: list[float] = field(default_factory=list)
    workers: list[float] = field(default_factory=list)
    fork_server: list[float] = field(default_factory=list)

    def sample(self, pid: int) -> None:
        grader = psutil.Process(pid)
        server, workers = 0.0, 0.0
        for child in grader.children():
            own = child.memory_full_info().pss / 2**20
            if "zygote" in " ".join(child.cmdline()):
                server += own
            else:
                workers += own
        self.coordinator.append(grader.memory_full_info().pss / 2**20)
        self.workers.append(workers)
        self.fork_server.append(server)

    def told(self) -> dict[str, Any]:
        """Peaks, and the growth of the coordinator and the workers from the second quarter of the run to the last."""
        together = [a + b for a, b in zip(self.coordinator, self.workers, strict=True)]
        quarter = len(together) // 4
        growth = max(together[-quarter:]) - max(together[quarter : 2 * quarter]) if quarter else 0.0
        peaks = {name: round(max(values, default=0.0)) for name, values in vars(self).items()}
        return {**peaks, "growth_mb": round(growth, 1)}


def graded(folder: Path, name: str, jobs: int, memory: Memory) -> Iterator[dict[str, Any]]:
    """Grade one notebook; yields the events."""
    command = [
        sys.executable,
        "-m",
        "autograder",
        "grade",
        name,
        "--course",
        str(folder),
        "--json",
        "--jobs",
        str(jobs),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        threading.Thread(target=_watch, args=(process, memory), daemon=True).start()
        yield from map(json.loads, process.stdout)
    if process.returncode:
        raise SystemExit(f"grading {name} ended with {process.returncode}")


def _watch(process: subprocess.Popen[str], memory: Memory) -> None:
    while process.poll() is None:
        with suppress(psutil.Error):  # something ended meanwhile
            memory.sample(process.pid)
        time.sleep(1.0)


def round_of(folder: Path, names: Sequence[str], jobs: int) -> dict[str, Any]:
    """Grade everything there is; what it took, all notebooks together."""
    told, memories = Counter[str](), []
    wall, used = time.monotonic(), processor_seconds(resource.RUSAGE_CHILDREN)
    for name in names:
        memory = Memory()
        for event in graded(folder, name, jobs, memory):
            told[event["event"]] += 1
            if event["event"] in ("graded", "unchanged"):
                told["points"] += round(2 * event["points"])
        memories.append(memory.told())
        print(f"  {name}: {told['graded']} graded, {time.monotonic() - wall:.0f} s", flush=True)
    wall, used = time.monotonic() - wall, processor_seconds(resource.RUSAGE_CHILDREN) - used
    peaks = {kind: max(one[kind] for one in memories) for kind in memories[0]}
    if told["unchanged"] > told["graded"]:
        del peaks["growth_mb"]  # most of the run is reading: whatever starts to grade later would count as growth
    return {
        **{kind: told[kind] for kind in ("graded", "unchanged", "again")},
        "points": told["points"] / 2,
        "wall_s": round(wall, 1),
        "processor_s": round(used, 1),
        "memory_mb": peaks,
    }


def report_seconds(folder: Path) -> float:
    start = processor_seconds(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "autograder", "report", "--course", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return round(processor_seconds(resource.RUSAGE_CHILDREN) - start, 1)


def measure(folder: Path, names: Sequence[str], students: int, jobs: int) -> Iterator[dict[str, Any]]:
    """What is known after each round; the last one has all."""
    found: dict[str, Any] = {"submissions": students * len(names), "notebooks": len(names), "students": students}
    found |= {"kinds": dict(make(folder, names, students)), "jobs": jobs}
    first = found["first"] = round_of(folder, names, jobs)
    yield found
    found["handed_in_again"] = hand_in_again(folder, names, students)
    second = found["second"] = round_of(folder, names, jobs)
    size = (folder / STORE).stat().st_size / 2**20
    found |= {
        "store_mb": round(size, 1),
        "store_kb_each": round(2**10 * size / (first["graded"] + second["graded"]), 1),
    }
    yield found
    found["unchanged"] = round_of(folder, names, jobs)
    found["report_processor_s"] = report_seconds(folder)
    yield found | extrapolated(found)


def extrapolated(found: dict[str, Any]) -> dict[str, Any]:
    """What a further submission takes, and from that what a class of 1,000 would: starts and reading once, as here."""
    first, start = found["first"], found["unchanged"]["processor_s"]
    each = (first["processor_s"] - start) / first["graded"]
    hours = (start + each * SUBMISSIONS_TOLD) / CORES_TOLD / 3600
    return {
        "processor_s_for_a_further_one": round(each, 3),
        f"hours_for_{SUBMISSIONS_TOLD}_on_{CORES_TOLD}_cores_extrapolated": round(hours, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--notebooks", nargs="+", default=[], help="Such as 05; 01 to 08 without.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="Where the courses are kept; a temporary folder without.")
    parser.add_argument("--again", action="store_true", help="Measure sizes that are saved already.")
    options = parser.parse_args()
    names = [name for name in NOTEBOOKS if not options.notebooks or name[:2] in options.notebooks]
    saved = RESULTS / "class.json"
    sizes: dict[str, Any] = json.loads(saved.read_text())["sizes"] if saved.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        for count in options.submissions:
            students = -(-count // len(names))
            key = f"{students} x {len(names)}"
            if "report_processor_s" in sizes.get(key, {}) and not options.again:
                print(f"{key}: measured already")
                continue
            folder = (options.folder or Path(temporary)) / f"class{students}x{len(names)}"
            folder.mkdir(parents=True, exist_ok=True)
            print(f"{key} (students x notebooks)", flush=True)
            for sizes[key] in measure(folder, names, students, options.jobs):
                save("class", {"sizes": dict(sorted(sizes.items(), key=lambda item: item[1]["submissions"]))})
            print(json.dumps(sizes[key], indent=1), flush=True)


if __name__ == "__main__":
    main()
