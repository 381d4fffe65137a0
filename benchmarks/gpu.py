"""The course on a GPU and on the CPU: notebooks end to end, optimizer steps, and the counter against torch's profiler.

    PYTHONPATH=. python benchmarks/gpu.py           # everything: each source notebook on each device
    PYTHONPATH=. python benchmarks/gpu.py --quick   # the exercises and checks of the notebooks alone, fewer repeats

Needs torch, numpy and matplotlib (notebooks are read as JSON, cells run in plain Python). Without a CUDA device the columns
of the GPU are absent and the output says so. Times of one run are to be compared with each other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import save
from profiled import profiled

from autograder.launches import LaunchCounter
from utils.device import median_seconds

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
COUNT, SHAPE = 100, (64, 64)
SECONDS_PER_NOTEBOOK = 900

#: What a cell that only shows something is tagged with; `--quick` leaves them out.
SHOWN = {"demo", "explore"}


def devices() -> list[torch.device]:
    return [CPU, *([torch.device("cuda", torch.cuda.current_device())] if torch.cuda.is_available() else [])]


# --- notebooks ------------------------------------------------------------------------------------------------------


def notebooks() -> list[Path]:
    return sorted((ROOT / "source").glob("*/*.ipynb"))


def cells(path: Path, without: Set[str] = frozenset()) -> list[tuple[str, str]]:
    """(id, code) of a notebook's code cells, those with one of the tags left out."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        (cell["id"], "".join(cell["source"]))
        for cell in found
        if cell["cell_type"] == "code" and not without & set(cell["metadata"].get("tags", ()))
    ]


def run_cells(chosen: list[tuple[str, str]]) -> dict[str, Any]:
    """Execute cells in one namespace, as a kernel would; a cell that fails raises with its id in the message."""
    import linecache
    import types

    import matplotlib

    matplotlib.use("agg")
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    for number, (cell_id, code) in enumerate(chosen):
        name = f"<cell {number} {cell_id}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        try:
            exec(compile(code, name, "exec"), module.__dict__)
        except Exception as error:
            raise RuntimeError(f"cell {cell_id}: {type(error).__name__}: {error}") from error
    return module.__dict__


def run_notebook(path: Path, quick: bool) -> dict[str, Any]:
    """Run one notebook in this process; seconds, and the peak of the GPU's memory."""
    result: dict[str, Any] = {"failed": ""}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUTOGRADER_STATE"] = f"{folder}/progress.json"  # nobody's own progress is touched
        start = time.perf_counter()
        try:
            run_cells(cells(path, SHOWN if quick else set()))
        except RuntimeError as error:
            result["failed"] = str(error).splitlines()[0]
        result["seconds"] = round(time.perf_counter() - start, 2)
    if torch.cuda.is_available():
        result["peak_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return result


def all_notebooks(quick: bool) -> dict[str, Any]:
    """Every source notebook in a process of its own per device; a GPU is hidden from the CPU's."""
    rows: dict[str, Any] = {}
    for path in notebooks():
        row = rows[path.stem] = {}
        for device in devices():
            row[device.type] = in_a_process(path, device, quick)
            found = row[device.type]
            print(f"{path.stem:>26} on {device.type:<4} {found['seconds']:8.1f} s  {found['failed']}", flush=True)
    return rows


def in_a_process(path: Path, device: torch.device, quick: bool) -> dict[str, Any]:
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device.type == "cpu" else {}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **hidden}
    command = [sys.executable, __file__, "--notebook", str(path), *(["--quick"] if quick else [])]
    try:
        out = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS_PER_NOTEBOOK, cwd=path.parent
        )
    except subprocess.TimeoutExpired:
        return {"seconds": float(SECONDS_PER_NOTEBOOK), "failed": f"not through after {SECONDS_PER_NOTEBOOK} s"}
    last = (out.stdout.strip().splitlines() or [""])[-1]
    if out.returncode or not last.startswith("{"):
        return {"seconds": 0.0, "failed": (out.stderr.strip().splitlines() or ["no output"])[-1]}
    return dict(json.loads(last))


# --- optimizer steps ------------------------------------------------------------------------------------------------


def contenders() -> dict[str, dict[str, Callable[[Any], Any]]]:
    """The course's own solutions, as they stand in the source notebooks, beside torch's forms."""
    own = {number: solutions(number) for number in ("03", "04", "05")}
    optim = torch.optim

    def forms(make: Callable[..., Any], fused: bool = True) -> dict[str, Callable[[Any], Any]]:
        found: dict[str, Callable[[Any], Any]] = {
            "torch for-loop": lambda p: make(p, foreach=False),
            "torch foreach": lambda p: make(p, foreach=True),
        }
        return found | ({"torch fused": lambda p: make(p, fused=True)} if fused else {})

    return {
        "momentum": {
            "course loop": lambda p: own["03"]["MomentumSGD"](p, lr=1e-3, momentum=0.9),
            "course foreach": lambda p: own["03"]["ForeachMomentum"](p),
            **forms(lambda p, **how: optim.SGD(p, lr=1e-3, momentum=0.9, **how)),
        },
        "RMSProp": {
            "course loop": lambda p: own["04"]["RMSprop"](p),
            "course lean": lambda p: own["04"]["LeanRMSprop"](p),
            **forms(lambda p, **how: optim.RMSprop(p, **how), fused=False),
        },
        "Adam": {
            "course loop": lambda p: own["05"]["Adam"](p),
            "course foreach": lambda p: own["05"]["ForeachAdam"](p),
            **forms(lambda p, **how: optim.Adam(p, **how)),
        },
    }


def solutions(number: str) -> dict[str, Any]:
    """What the setup and exercise cells of a source notebook define."""
    path = next(path for path in notebooks() if path.stem.startswith(number))
    return run_cells(cells(path, SHOWN | {"check", "quiz"}))


def second_step(make: Callable[[Any], Any], make_tensor: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], Any]:
    """The step of an optimizer whose state exists, on `COUNT` tensors."""
    params = [torch.nn.Parameter(make_tensor(torch.ones(SHAPE))) for _ in range(COUNT)]
    opt = make(params)
    for p in params:
        p.grad = make_tensor(torch.ones(SHAPE))
    opt.step()
    return opt.step


def measure_step(make: Callable[[Any], Any], repeats: int) -> dict[str, Any]:
    """Counts on the pretend device, and on each device milliseconds, what the profiler says, and how far the counter is off."""
    with LaunchCounter("pretend") as counter:
        step = second_step(make, counter.place)
        with counter.section() as ours:
            step()
    size = 4 * COUNT * SHAPE[0] * SHAPE[1]
    row: dict[str, Any] = {"launches": ours.launches, "new_bytes": ours.allocated_bytes / size}
    for device in devices():
        step = second_step(make, lambda tensor, device=device: tensor.to(device, copy=True))
        theirs = profiled(step, device)
        row[device.type] = {
            "ms": round(1e3 * median_seconds(step, device, repeats=repeats), 4),
            "launches": theirs.launches or theirs.operations.total(),
            "new_bytes": round(theirs.allocated_bytes / size, 4),
            "peak_bytes": round(theirs.peak_bytes / size, 4),
            "new_bytes_over_counted": round(theirs.allocated_bytes / max(ours.allocated_bytes, 1), 4)
            if ours.allocated_bytes
            else None,
        }
    return row


def all_steps(quick: bool) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for family, makes in contenders().items():
        rows[family] = {name: measure_step(make, 5 if quick else 25) for name, make in makes.items()}
        fastest = {d.type: min(row[d.type]["ms"] for row in rows[family].values()) for d in devices()}
        for name, row in rows[family].items():
            text = f"{family:>9} {name:>15}: {row['launches']:>5} launches and {row['new_bytes']:.2f} new bytes counted"
            for device in devices():
                here = row[device.type]
                here["over_fastest"] = round(here["ms"] / fastest[device.type], 2)
                text += (
                    f"; {device.type}: {here['ms']:.3f} ms ({here['over_fastest']:.1f} × the fastest), profiler "
                    f"{here['launches']} and {here['new_bytes']:.2f}"
                )
            print(text, flush=True)
    return rows


def deviations(steps: dict[str, Any]) -> dict[str, Any]:
    """How far the pretend device's counts are from a real device's, at worst."""
    rows = [row for family in steps.values() for row in family.values()]
    found = {}
    for device in devices():
        here = [row[device.type] for row in rows]
        shares = [one["new_bytes_over_counted"] for one in here if one["new_bytes_over_counted"]]
        found[device.type] = {
            "new_bytes_over_counted": [min(shares), max(shares)],
            "rank_correlation_of_launches_and_ms": round(
                _ranks([row["launches"] for row in rows], [o["ms"] for o in here]), 3
            ),
        }
        if device.type == "cuda":  # on the CPU a foreach call is no launch at all
            ratios = [one["launches"] / row["launches"] for one, row in zip(here, rows, strict=True)]
            found["cuda"]["launches_over_counted"] = [round(min(ratios), 3), round(max(ratios), 3)]
    return found


def _ranks(one: list[float], other: list[float]) -> float:
    """Spearman's rank correlation."""
    first, second = (np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="exercises and checks of the notebooks alone, fewer repeats"
    )
    parser.add_argument("--steps", action="store_true", help="optimizer steps alone; nothing is saved")
    parser.add_argument("--notebook", type=Path, help=argparse.SUPPRESS)  # one notebook, in this process
    chosen = parser.parse_args()
    if chosen.notebook:
        print(json.dumps(run_notebook(chosen.notebook, chosen.quick)))
        return
    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        print("No CUDA device: the GPU's columns are absent, and nothing here is a statement about GPUs.")
    steps = all_steps(chosen.quick)
    if chosen.steps:
        return
    result = {
        "quick": chosen.quick,
        "devices": [d.type for d in devices()],
        "steps": steps,
        "counter": deviations(steps),
        "notebooks": all_notebooks(chosen.quick),
    }
    print(save("gpu", result))


if __name__ == "__main__":
    main()
