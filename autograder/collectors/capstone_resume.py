"""Training that is killed and started again: each life is a child process, and dies where the case says.

A death is one of
    {"how": "step", "at": k}          SIGKILL right after the life's k-th optimizer step
    {"how": "write", "at": k, "bytes": b}   from its k-th step on no file may grow beyond b bytes: the kernel ends the process
                                      in the middle of the next larger write, whichever function writes
    {"how": "copy", "at": k, "bytes": b}    the same, but only once checkpoint.pt itself is opened for writing: a program that
                                      moves a finished file onto that name never does so, and ends by itself
    {"how": "move", "at": k, "number": n}   SIGKILL just before the n-th removal or renaming of a file after its k-th step
    {"how": "end"}                    none: the life ends by itself, and the program is started once more
Where this process cannot fork (no POSIX, or an accelerator whose threads autograd would miss in the child), deaths after
steps are exceptions and the others are left out: grading always forks.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import nn

from autograder.collectors.capstone import Momentum
from autograder.collectors.common import check_call, the_function
from autograder.evidence import Array, ProtocolError, Record, as_array
from autograder.exercise import Case

UNINTERRUPTED, RESUMED = "uninterrupted", "killed and resumed"
STEPS = "steps that were computed in all"
WRITTEN = "checkpoint.pt"
SAVED = "steps after which checkpoint.pt is new"
ARRAYS = ("weight vector", "momentum buffer", "generator", "random state", "lr")
#: Of these, what nobody draws from any more once the training is complete.
DRAWN = ("generator", "random state")
_LIFE_SECONDS = 15.0
_MOVES = frozenset({"os.rename", "os.remove", "os.unlink", "os.rmdir", "os.truncate"})


class _Dead(BaseException):
    """Stands for a kill where there are no processes to kill."""


def killed_training(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Run `train` once without interruption, and once with the case's `deaths`; record how both end.

    Inputs: X, y, weights (of two layers), dropout, momentum, lrs (per step), steps, batch_size, every, seed, deaths. A life
    after the first one starts from other weights and another random state, so that what is not saved shows; with
    `same_start`, for kills before there is anything to resume, all lives start alike.
    """
    inputs = case.inputs
    train = the_function(objects[0], "train")
    with tempfile.TemporaryDirectory() as folder:
        life = _Life(inputs, 0)
        check_call(train, "train", _USAGE, *life.arguments(Path(folder)), **life.options)
        life.play(train, Path(folder))
        for name, array in life.ends().items():
            record.array(f"{UNINTERRUPTED} {name}", array)
    if not inputs["deaths"]:
        record.fact(WRITTEN, "there" if life.saved else "never written")
        if life.saved:
            record.fact(SAVED, ", ".join(map(str, life.saved)))
        return
    with tempfile.TemporaryDirectory() as folder:
        ends, steps = _lives(train, inputs, Path(folder))
    record.fact(STEPS, float(steps))
    for name, array in ends.items():
        record.array(f"{RESUMED} {name}", array)


_USAGE = "(folder, model, opt, generator, X, y, *, steps, batch_size, lr_at, every)"


class _Life:
    """Everything that a start of the program makes anew, and what is noted about it."""

    def __init__(self, inputs: Mapping[str, Any], number: int, death: Mapping[str, Any] | None = None) -> None:
        self.inputs, self.death = inputs, death or {"how": "end"}
        number = 0 if inputs.get("same_start") else number
        rng = np.random.default_rng([inputs["seed"], number])
        matrices = inputs["weights"] if number == 0 else [rng.standard_normal(a.shape) for a in inputs["weights"]]
        self.model = _network(matrices, inputs["dropout"])
        groups = [{"params": list(layer.parameters())} for layer in (self.model[0], self.model[-1])]
        self.opt = Momentum(groups, lr=1.0, momentum=inputs["momentum"], watch=self._after_step)
        self.generator = torch.Generator().manual_seed(inputs["seed"] + 1000 * number)
        torch.manual_seed(inputs["seed"] + 1000 * number + 1)
        self.count, self.saved = 0, list[int]()
        self.tell = -1  # a descriptor that gets a byte per step
        self.folder: Path | None = None
        self._version: tuple[int, int] | None = None

    def arguments(self, folder: Path) -> tuple[Any, ...]:
        X, y = torch.tensor(self.inputs["X"]), torch.tensor(self.inputs["y"], dtype=torch.int64)
        return folder, self.model, self.opt, self.generator, X, y

    @property
    def options(self) -> dict[str, Any]:
        lrs = [float(lr) for lr in self.inputs["lrs"]]

        def lr_at(t: int) -> float:
            if not 0 <= t < len(lrs):
                raise ValueError(f"lr_at was asked for step {t}; steps are 0 … {len(lrs) - 1}")
            return lrs[int(t)]

        return {
            "steps": self.inputs["steps"],
            "batch_size": self.inputs["batch_size"],
            "lr_at": lr_at,
            "every": self.inputs["every"],
        }

    def play(self, train: Any, folder: Path) -> None:
        self.folder = folder
        self.model.train()
        handle = self.model.register_forward_pre_hook(lambda *_: self._look())
        try:
            train(*self.arguments(folder), **self.options)
        finally:
            handle.remove()
            self._look()

    def _look(self) -> None:
        """Has the checkpoint changed since the last step?"""
        if self.folder is None:
            return
        with contextlib.suppress(OSError):
            found = (self.folder / "checkpoint.pt").stat()
            version = (found.st_ino, found.st_mtime_ns)
            if version != self._version:
                self._version = version
                self.saved.append(self.count)

    def _after_step(self) -> None:
        self.count += 1
        if self.tell >= 0:
            os.write(self.tell, b"s")
        if self.count == self.death.get("at"):
            {
                "step": _die,
                "write": self._limit_files,
                "copy": self._watch_checkpoint,
                "move": self._watch_moves,
            }[self.death["how"]]()

    def _limit_files(self) -> None:
        if self.tell >= 0:
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it; by default it ends the process
            for which, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, self.death["bytes"])):
                resource.setrlimit(which, (value, resource.getrlimit(which)[1]))

    def _watch_checkpoint(self) -> None:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR) and _is_checkpoint(arguments[0]):
                self._limit_files()

        if self.tell >= 0:
            sys.addaudithook(hook)  # for good, but this process is about to end

    def _watch_moves(self) -> None:
        left = self.death["number"]

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in _MOVES:
                left -= 1
                if left == 0:
                    _die()

        if self.tell >= 0:
            sys.addaudithook(hook)  # for good, but this process is about to end

    def ends(self) -> dict[str, Array]:
        """How it stands: the weights, the optimizer's state and lr, and what the generators would draw next."""
        params = list(self.model.parameters())
        state = [self.opt.state.get(p, {}).get("buffer", torch.zeros_like(p)) for p in params]
        return {
            "weight vector": torch.cat([p.detach().flatten() for p in params]).numpy().copy(),
            "momentum buffer": torch.cat([b.flatten() for b in state]).numpy().copy(),
            "generator": as_array(torch.randperm(1000, generator=self.generator)),
            "random state": as_array(torch.rand(20, dtype=torch.float64)),
            "lr": np.array([group["lr"] for group in self.opt.param_groups]),
        }


def _network(weights: Sequence[Array], dropout: float) -> nn.Sequential:
    """A hidden layer with dropout; `weights` holds two matrices (out, in) and two biases."""
    hidden, inputs = weights[0].shape
    model = nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, weights[2].shape[0])
    ).double()
    with torch.no_grad():
        for p, array in zip(model.parameters(), weights, strict=True):
            p.copy_(torch.tensor(array))
    return model


def _is_checkpoint(path: object) -> bool:
    return isinstance(path, (str, bytes)) and os.path.basename(os.fsdecode(path)) == "checkpoint.pt"


def _can_fork() -> bool:
    return hasattr(os, "fork") and not torch.accelerator.is_available()


def _die() -> None:
    if _can_fork():
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # never awake again
    raise _Dead


def _lives(train: Any, inputs: Mapping[str, Any], folder: Path) -> tuple[dict[str, Array], int]:
    """Play all lives on one folder. Returns how the last one ends, and the steps of all of them."""
    steps = 0
    for number, death in enumerate([*inputs["deaths"], None]):
        told = (_forked if _can_fork() else _simulated)(train, _Life(inputs, number, death), folder)
        steps += told["steps"]
        before = inputs["deaths"][number - 1]["how"] if number else ""
        if "error" in told:
            raise ProtocolError(_BEFORE[before].format(told["error"]))
    return told.get("ends", {}), steps


_BEFORE = {
    "": "The program failed before it was killed: {}",
    "step": "Killed after a step and started again with the same folder, the program failed: {}",
    "write": "Killed in the middle of writing a checkpoint and started again, the program failed: {}",
    "copy": "Killed while it wrote to checkpoint.pt itself and started again, the program failed: {}",
    "move": "Killed between two operations on files and started again, the program failed: {}",
    "end": "Started again after it had finished, the program failed: {}",
}


def _simulated(train: Any, life: _Life, folder: Path) -> dict[str, Any]:
    try:
        life.play(train, folder)
    except _Dead:
        return {"steps": life.count}
    except Exception as error:
        return {"steps": life.count, "error": _words(error, folder)}
    return {"steps": life.count, "ends": life.ends()}


def _words(error: BaseException, folder: Path) -> str:
    text = f"{type(error).__name__}: {error}".replace(str(folder) + os.sep, "").replace(str(folder), "the folder")
    return text.strip().splitlines()[0].split(". ")[0][:160]


def _forked(train: Any, life: _Life, folder: Path) -> dict[str, Any]:
    """Play a life in a child process: bytes `s` come for each step, then, if it lives so long, its last words."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _live(train, life, folder, writing)
    os.close(writing)
    try:
        data = _read(reading)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # it has ended, or has had its time
        os.waitpid(child, 0)
    steps = len(data) - len(data.lstrip(b"s"))
    return {"steps": steps, **_last_words(data[steps:])}


def _live(train: Any, life: _Life, folder: Path, writing: int) -> NoReturn:
    """In the child: never returns."""
    try:
        torch.set_num_threads(1)  # the threads of a parallel region did not come along
        life.tell = writing
        try:
            life.play(train, folder)
            said = _packed(life.ends())
        except BaseException as error:
            said = b"E" + json.dumps(_words(error, folder)).encode()
        life.tell = -1
        os.write(writing, said)
    finally:
        os._exit(0)


def _packed(ends: Mapping[str, Array]) -> bytes:
    header = json.dumps([[name, str(array.dtype), array.shape] for name, array in ends.items()]).encode()
    return b"A" + struct.pack("<I", len(header)) + header + b"".join(array.tobytes() for array in ends.values())


def _last_words(data: bytes) -> dict[str, Any]:
    if data[:1] == b"E":
        return {"error": json.loads(data[1:])}
    if data[:1] != b"A":
        return {}  # killed
    (length,) = struct.unpack_from("<I", data, 1)
    ends, offset = {}, 5 + length
    for name, dtype, shape in json.loads(data[5:offset]):
        count = int(np.prod(shape))
        ends[name] = np.frombuffer(data, dtype, count, offset).reshape(shape).copy()
        offset += ends[name].nbytes
    return {"ends": ends}


def _read(descriptor: int) -> bytes:
    """All that the child writes until it ends. Raises ProtocolError when that takes too long."""
    data, deadline = b"", time.monotonic() + _LIFE_SECONDS
    while select.select([descriptor], [], [], max(deadline - time.monotonic(), 0.0))[0]:
        part = os.read(descriptor, 65536)
        if not part:
            return data
        data += part
    raise ProtocolError(f"Started again, the program did not end within {_LIFE_SECONDS:g} seconds")
