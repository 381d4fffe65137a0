"""One class of 40 submissions, graded side by side: stock nbgrader, otter, this engine, and the limit it could reach.

Run: python benchmarks/grading.py [--students 40] [--skip-stock] [--otter PYTHON]. Ratios of one run on one machine; about
5 minutes. `--otter` names the interpreter of an environment with otter-grader that also sees this one's packages (a .pth
file does it): `otter run` then grades the first 8 submissions, each in a process of its own, as it always does.

The notebook is light: four optimizer exercises of the Adam notebook, no demonstrations. "warm process" executes the
graded cells of every submission in one process that has everything imported: no isolation, nothing recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import otter_tests
import psutil
from _common import processor_seconds, save

from autograder.publish.light import NAME, gradebook_marks, light_config, make_light_course, submit_light

ROOT = Path(__file__).resolve().parent.parent

#: How many submissions otter grades: each takes it many seconds.
OTTER_COUNT = 8
STUDENTS = 40

# --- the contestants, each in a process of its own ------------------------------------------------------------------


def stock(folder: Path) -> dict[str, Any]:
    from nbgrader.converters import Autograde

    from autograder.publish.convert import convert

    convert(Autograde, light_config(folder))
    return {}


def ours(folder: Path, jobs: int, watch: Callable[[int], None] | None = None) -> dict[str, Any]:
    """`watch` is called with the grading process's id, again and again, in a thread of its own."""
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(folder), "--force", "--json"]
    times = []
    with subprocess.Popen([*command, "--jobs", str(jobs)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if watch:
            threading.Thread(target=_again_and_again, args=(watch, process), daemon=True).start()
        times = [time.monotonic() for line in process.stdout if json.loads(line)["event"] == "graded"]
    return {"per_submission_s": (times[-1] - times[0]) / max(1, len(times) - 1)}


def _again_and_again(watch: Callable[[int], None], process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):  # something ended meanwhile
            watch(process.pid)
        time.sleep(0.01)


def memory(folder: Path) -> dict[str, Any]:
    """With two jobs: the share of memory of all processes, and what one submission's processes have for themselves."""
    found = {"all_mb": 0.0, "runner_mb": 0.0}

    def watch(pid: int) -> None:
        grader = psutil.Process(pid)
        helpers = grader.children()
        runners = [runner for helper in helpers for runner in helper.children()]  # the fork server's
        trees = [[runner, *runner.children(recursive=True)] for runner in runners]
        for tree in trees:
            own = sum(process.memory_full_info().uss for process in tree) / 2**20
            found["runner_mb"] = max(found["runner_mb"], own)
        everybody = [grader, *helpers, *(process for tree in trees for process in tree)]
        found["all_mb"] = max(found["all_mb"], sum(process.memory_full_info().pss for process in everybody) / 2**20)

    ours(folder, 2, watch)
    return found


def without_sandbox(folder: Path, jobs: int) -> dict[str, Any]:
    from autograder.grading import engine

    engine._rung = lambda options: "none"
    course = engine.Course(folder, f"sqlite:///{folder / 'gradebook.db'}", NAME)
    options = engine.Options(jobs=jobs, force=True)
    times = [time.monotonic() for event in engine.grade_class(course, NAME, options=options) if event.kind == "graded"]
    return {"per_submission_s": (times[-1] - times[0]) / max(1, len(times) - 1)}


def otter(folder: Path, python: str) -> dict[str, Any]:
    made = otter_tests.make_zip(python, folder)
    start = time.monotonic()
    marks = {
        student: otter_tests.run(python, made, path)
        for student, path in otter_tests.notebooks(folder, OTTER_COUNT).items()
    }
    return {"per_submission_s": (time.monotonic() - start) / len(marks), "marks": marks}


def cached(folder: Path) -> dict[str, Any]:
    from autograder.grading import engine

    course = engine.Course(folder, f"sqlite:///{folder / 'gradebook.db'}", NAME)
    start = time.monotonic()
    count = sum(event.kind == "unchanged" for event in engine.grade_class(course, NAME))
    return {"submissions_per_second": count / (time.monotonic() - start)}


def warm(folder: Path) -> dict[str, Any]:
    """Execute every submission's cells here, check cells with hidden cases, as a kernel that is already warm would."""
    import io

    import nbformat

    os.environ["NBGRADER_EXECUTION"] = "autograde"
    source = nbformat.read(folder / "source" / NAME / f"{NAME}.ipynb", as_version=4)
    checks = {
        cell.metadata.nbgrader.grade_id: cell.source
        for cell in source.cells
        if "check" in cell.metadata.get("tags", [])
    }
    paths = sorted(folder.glob(f"submitted/*/{NAME}/{NAME}.ipynb"))
    times = []
    for path in (paths[0], *paths):
        start = time.perf_counter()
        names: dict[str, Any] = {}
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and cell.id != "course-setup":
                code = checks.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.source)
                with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
                    exec(code, names)
        times.append(time.perf_counter() - start)
    return {"per_submission_s": sum(times[1:]) / len(paths)}


# --- measuring ------------------------------------------------------------------------------------------------------


def measured(what: str, folder: Path, *more: str) -> dict[str, Any]:
    """Run one contestant in a child process; what it says of itself."""
    out = subprocess.run(
        [sys.executable, __file__, "--run", what, "--folder", str(folder), *more],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    if out.returncode:
        raise SystemExit(f"{what} failed:\n{out.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(out.stdout.strip().splitlines()[-1])
    return said


def run(contestant: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Wall and CPU seconds of one contestant. This script's own imports are not counted: that favours stock nbgrader,
    whose command would have to import itself as well; ours are commands, counted from their first instruction."""
    start, before = time.monotonic(), processor_seconds()
    said = contestant()
    seconds = {"wall_s": time.monotonic() - start, "cpu_s": processor_seconds() - before}
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {**seconds, "largest_process_mb": peak / 1024, **said}


OTTER = "otter run"
CONTESTANTS = {
    "stock nbgrader": stock,
    "ours, 1 job": lambda folder: ours(folder, 1),
    "ours, 2 jobs": lambda folder: ours(folder, 2),
    "ours, 2 jobs, no sandbox": lambda folder: without_sandbox(folder, 2),
    "ours, nothing changed": cached,
    "warm process": warm,
    "memory, 2 jobs": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=STUDENTS)
    parser.add_argument("--skip-stock", action="store_true")
    parser.add_argument("--otter", metavar="PYTHON", help="an interpreter with otter-grader")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        contestants = {**CONTESTANTS, OTTER: lambda folder: otter(folder, options.otter)}
        print(json.dumps(run(lambda: contestants[options.run](options.folder))))
        return
    with tempfile.TemporaryDirectory() as name:
        skip = ("stock nbgrader",) if options.skip_stock else ()
        compare(Path(name), options.students, skip, options.otter)


def compare(folder: Path, students: int, skip: tuple[str, ...], python: str | None) -> None:
    make_light_course(ROOT, folder)
    submit_light(ROOT, folder, students)
    shutil.copy(folder / "gradebook.db", folder / "released.db")
    results: dict[str, dict[str, Any]] = {}
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for what in CONTESTANTS:
        if what in skip:
            continue
        if what != "ours, nothing changed":
            shutil.copy(folder / "released.db", folder / "gradebook.db")
        results[what] = measured(what, folder)
        if what.startswith(("stock", "ours", "memory")):
            found[what] = gradebook_marks(folder)
        print(
            f"{what:>26}: {results[what]['wall_s']:7.1f} s, {results[what]['wall_s'] / students:6.3f} s each",
            flush=True,
        )
    first = next(iter(found.values()))
    equal = all(one == first for one in found.values())
    if python:
        results[OTTER] = measured(OTTER, folder, "--otter", python)
        equal = equal and all(first[student] == marks for student, marks in results[OTTER].pop("marks").items())
        print(f"{OTTER:>26}: {results[OTTER]['per_submission_s']:33.3f} s each")
    results["ratios"] = {**ratios(results, students), "marks_equal": equal}
    for what, value in results["ratios"].items():
        print(f"{what:>56}: {value:.3g}")
    save("grading" if students == STUDENTS else f"grading_{students}", {"students": students, **results})


def ratios(results: dict[str, dict[str, Any]], students: int) -> dict[str, float]:
    fast, limit = results["ours, 2 jobs"], results["warm process"]
    out = {
        "per submission over warm process": results["ours, 1 job"]["per_submission_s"] / limit["per_submission_s"],
        "cached submissions per second": results["ours, nothing changed"]["submissions_per_second"],
        "MB of a running submission's own": results["memory, 2 jobs"]["runner_mb"],
        "sandbox cost per submission, ms": 1e3
        * (fast["per_submission_s"] - results["ours, 2 jobs, no sandbox"]["per_submission_s"]),
    }
    if "stock nbgrader" in results:
        stock_s = results["stock nbgrader"]["wall_s"]
        out["times as fast as stock nbgrader, all in all"] = stock_s / fast["wall_s"]
        out["times as fast as stock nbgrader, per further submission"] = stock_s / students / fast["per_submission_s"]
    if OTTER in results:
        each = fast["wall_s"] / students
        out["times as fast as otter run, all in all"] = results[OTTER]["per_submission_s"] / each
    return out


if __name__ == "__main__":
    main()
