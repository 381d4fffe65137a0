"""Several processes joined by torch.distributed, started from a notebook."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch

#: The program of the ranks. A process of its own starts it, with one thread and without a GPU in use, so that it may
#: fork: a notebook's kernel has many threads and may not.
_PROGRAM = """
from __future__ import annotations

import sys
import warnings
from pathlib import Path

{sources}


def _rank(rank, world_size, backend, folder, inputs):
    import torch
    import torch.distributed

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if backend == "nccl":
        torch.cuda.set_device(rank)
    store = (Path(folder) / "store").as_uri()
    torch.distributed.init_process_group(backend, init_method=store, rank=rank, world_size=world_size)
    try:
        found = {worker}(rank, world_size, **inputs)
        torch.save(found, Path(folder) / f"rank {{rank}}.pt")
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    import torch.multiprocessing

    folder, backend, world_size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    inputs = torch.load(Path(folder) / "inputs.pt")
    how = "fork" if sys.platform == "linux" and backend == "gloo" else "spawn"
    options = (world_size, backend, folder, inputs)
    torch.multiprocessing.start_processes(_rank, options, nprocs=world_size, start_method=how)
"""


def launch(worker: Callable[..., Any], world_size: int, seconds: float = 120, **inputs: Any) -> list[Any]:
    """Run `worker(rank, world_size, **inputs)` in `world_size` processes and return what each one returned.

    The processes are joined by torch.distributed: gloo, or nccl where there is a GPU for each of them.

    Args:
        worker: a function of the notebook. Its source text goes to the other processes, with the text of the functions
            of the notebook that it calls and the imports of the modules that they use; other globals do not.
        seconds: after which the processes are stopped (subprocess.TimeoutExpired).
        inputs: tensors, numbers, strings, and lists, tuples and dicts of them. So is what `worker` returns.

    Raises:
        RuntimeError: a rank has failed; the message holds the end of what it printed.
    """
    backend = "nccl" if torch.cuda.is_available() and torch.cuda.device_count() >= world_size else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ranks.py"
        program.write_text(_PROGRAM.format(sources=sources(worker), worker=worker.__name__), encoding="utf-8")
        torch.save(inputs, Path(folder) / "inputs.pt")
        command = [sys.executable, str(program), folder, backend, str(world_size)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise RuntimeError(f"a rank has failed:\n{done.stderr[-1500:]}")
        return [torch.load(Path(folder) / f"rank {rank}.pt") for rank in range(world_size)]


def sources(function: Callable[..., Any]) -> str:
    """The text of a function and of all functions of its module that it needs, after the imports of modules they use."""
    imports: dict[str, None] = {}
    texts: dict[str, str] = {}
    queue: list[Any] = [inspect.unwrap(function)]
    while queue:
        one = queue.pop()
        texts[one.__name__] = textwrap.dedent(inspect.getsource(one))
        for name in _names(one.__code__):
            value = one.__globals__.get(name)
            if isinstance(value, ModuleType):
                imports[f"import {value.__name__} as {name}"] = None
            value = inspect.unwrap(value) if callable(value) else value
            if isinstance(value, FunctionType) and value.__module__ == one.__module__ and name not in texts:
                queue.append(value)
    return "\n\n\n".join(["\n".join(imports), *texts.values()])


def _names(code: CodeType) -> Iterator[str]:
    """All names that a function and the functions inside it look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
