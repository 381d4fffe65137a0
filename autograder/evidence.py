"""Run student code on cases and write down what it did, as plain arrays and facts.

`gather` is the only place where student code is called. What comes back holds no student object: numpy arrays,
numbers and strings, so it can cross a process boundary (`encode`, `decode`: a JSON header and raw array bytes, never
pickle) and be judged by code that never runs a student's.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import math
import os
import struct
import sys
import sysconfig
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch

from autograder.exercise import Case

Array = np.ndarray[Any, np.dtype[Any]]
Fact = str | float | list[str]

#: A collector plays one case with the student's objects: `(case, objects, record) -> None`.
Collector = Callable[[Case, Sequence[Any], "Record"], None]

#: Collector name → the module that defines a function of that name. Adding a kind of exercise is adding a line.
COLLECTORS = {
    "function": "autograder.collectors.function",
    "optimizer": "autograder.collectors.optimizer",
    "launches": "autograder.collectors.launches",
    "per_example": "autograder.collectors.minibatching",
    "batches": "autograder.collectors.minibatching",
    "closure": "autograder.collectors.minibatching",
    "accumulate": "autograder.collectors.minibatching",
    "series": "autograder.collectors.ema_bias_correction",
    "closed_forms": "autograder.collectors.ema_bias_correction",
    "long_average": "autograder.collectors.ema_bias_correction",
    "averaged_module": "autograder.collectors.ema_bias_correction",
    "decay_pair": "autograder.collectors.adam_adamw",
    "state_layout": "autograder.collectors.adam_adamw",
    "save_and_resume": "autograder.collectors.adam_adamw",
    "foreign_checkpoint": "autograder.collectors.adam_adamw",
    "master_weights": "autograder.collectors.adam_adamw",
    "master_checkpoint": "autograder.collectors.adam_adamw",
    "functions": "autograder.collectors.momentum_equivalence",
    "lookahead": "autograder.collectors.momentum_equivalence",
    "refusals": "autograder.collectors.momentum_equivalence",
    "checkpoint": "autograder.collectors.momentum_equivalence",
    "scaled_trajectories": "autograder.collectors.rmsprop",
    "scale_property": "autograder.collectors.rmsprop",
    "schedule_values": "autograder.collectors.schedulers",
    "plateau": "autograder.collectors.schedulers",
    "protocol": "autograder.collectors.schedulers",
    "range_test": "autograder.collectors.schedulers",
    "log_uniform": "autograder.collectors.schedulers",
    "tensor_lr": "autograder.collectors.schedulers",
    "curvature": "autograder.collectors.loss_landscapes",
    "eigenvalues": "autograder.collectors.loss_landscapes",
    "critical_points": "autograder.collectors.loss_landscapes",
    "random_matrices": "autograder.collectors.loss_landscapes",
    "normalised": "autograder.collectors.loss_landscapes",
    "loss_grid": "autograder.collectors.loss_landscapes",
    "line_between": "autograder.collectors.loss_landscapes",
    "asking_twice": "autograder.collectors.loss_landscapes",
    "initialised": "autograder.collectors.loss_landscapes",
    "layer_ratios": "autograder.collectors.large_batch_scaling",
    "data_parallel": "autograder.collectors.large_batch_scaling",
    "clip": "autograder.collectors.capstone",
    "clipped_step": "autograder.collectors.capstone",
    "early_stopping": "autograder.collectors.capstone",
    "fast_loop": "autograder.collectors.capstone",
    "within_budget": "autograder.collectors.capstone",
    "killed_training": "autograder.collectors.capstone_resume",
    "answer": "autograder.collectors.answer",
}


class ProtocolError(Exception):
    """The student's object cannot be used as the exercise asks; the message says how, in one line."""


@dataclass(frozen=True)
class Frame:
    """One line of the student's own code in a traceback."""

    function: str
    line: int
    source: str


@dataclass(frozen=True)
class Problem:
    """Why the evidence stops early. `not_started`: the stub still raises NotImplementedError."""

    kind: Literal["not_started", "raised", "protocol"]
    type: str
    message: str
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one case recorded. Arrays named in `stepped` have one row per step, the first for the start."""

    arrays: Mapping[str, Array] = field(default_factory=dict)
    stepped: frozenset[str] = frozenset()
    facts: Mapping[str, Fact] = field(default_factory=dict)
    problem: Problem | None = None
    printed_lines: int = 0
    seconds: float = 0.0


class Record:
    """Where a collector writes. What was written before an exception is kept."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Array]] = {}
        self._arrays: dict[str, Array] = {}
        self._facts: dict[str, Fact] = {}

    def row(self, name: str, value: object) -> None:
        """Append one step's value to a trajectory."""
        array = as_array(value, name)
        rows = self._rows.setdefault(name, [])
        if rows and rows[0].shape != array.shape:
            raise ProtocolError(
                f"{name} changed its shape from {_shape(rows[0].shape)} to {_shape(array.shape)} during the run"
            )
        rows.append(array)

    def trajectory(self, name: str, value: object) -> None:
        """A whole trajectory at once: one row per step along dimension 0."""
        for row in as_array(value, name):
            self._rows.setdefault(name, []).append(np.asarray(row))

    def array(self, name: str, value: object) -> None:
        self._arrays[name] = as_array(value, name)

    def fact(self, name: str, value: Fact) -> None:
        self._facts[name] = value

    def first(self, name: str, value: Fact, unless: Fact) -> None:
        """Keep the first value that is not `unless` (the first violation of a rule checked at every step)."""
        if self._facts.get(name, unless) == unless:
            self._facts[name] = value

    def evidence(self, problem: Problem | None, printed_lines: int, seconds: float) -> Evidence:
        stacked = {name: np.stack(rows) for name, rows in self._rows.items()}
        return Evidence(
            arrays=stacked | self._arrays,
            stepped=frozenset(stacked),
            facts=dict(self._facts),
            problem=problem,
            printed_lines=printed_lines,
            seconds=seconds,
        )


def _shape(shape: tuple[int, ...]) -> str:
    return str(tuple(shape))


def as_array(value: object, name: str = "value") -> Array:
    """A tensor, array or number as a numpy array that owns its memory (bfloat16 becomes float32, exactly).

    Raises ProtocolError for anything else, with the type that was found.
    """
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
        if tensor.device.type != "cpu":
            tensor = tensor.cpu()
        if tensor.dtype in (torch.bfloat16, torch.float16):
            tensor = tensor.float()
        return np.array(tensor.resolve_conj().resolve_neg().numpy())
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, (bool, int, float, complex)):
        return np.array(value)
    raise ProtocolError(f"{name} should be a tensor, not {_a(type(value).__name__)}")


def _a(noun: str) -> str:
    if noun == "NoneType":
        return "None"
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


@cache
def find_collector(name: str) -> Collector:
    """The collector of that name. Raises KeyError for a name that is not in `COLLECTORS`."""
    collector: Collector = getattr(import_module(COLLECTORS[name]), name)
    return collector


def gather(case: Case, objects: Sequence[Any]) -> Evidence:
    """Play one case with the student's objects. Exceptions of their code end up in `problem`, never here."""
    collector = find_collector(case.collector)
    record, printed, problem = Record(), _Counted(), None
    start = time.perf_counter()
    with _quiet(printed):
        torch.default_generator.manual_seed(0)
        try:
            collector(case, objects, record)
        except ProtocolError as error:
            problem = Problem("protocol", "ProtocolError", str(error))
        except (Exception, SystemExit) as error:
            problem = _problem(error)
    return record.evidence(problem, printed.lines, time.perf_counter() - start)


@contextlib.contextmanager
def collecting() -> Iterator[None]:
    """Around a whole check: leaves torch's random state as it was and keeps file descriptor 2 silent.

    nbgrader takes any output on stderr for a failure, and torch's C++ side and compilers log there.
    """
    state = torch.get_rng_state()
    try:
        with silent():
            yield
    finally:
        torch.set_rng_state(state)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Nothing on file descriptor 2, where torch's C++ side and compilers log."""
    sys.stderr.flush()
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


class _Counted(io.TextIOBase):
    """Swallows what student code prints during a check and counts the lines."""

    lines = 0

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        return len(text)


@contextlib.contextmanager
def _quiet(printed: _Counted) -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        torch.enable_grad(),
    ):
        warnings.simplefilter("ignore")
        yield


# --- exceptions of student code -------------------------------------------------------------------------------------


@cache
def _library_folders() -> tuple[str, ...]:
    here = os.path.dirname(os.path.abspath(__file__))
    paths = sysconfig.get_paths()
    return tuple({here, paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]})


def student_frames(error: BaseException) -> tuple[Frame, ...]:
    """The frames of a traceback that are neither this package's nor a library's."""
    folders = tuple(folder + os.sep for folder in _library_folders())
    frames = []
    for entry in traceback.extract_tb(error.__traceback__):
        if not entry.filename.startswith((*folders, "<frozen", "<left out>")):
            source = entry.line or linecache.getline(entry.filename, entry.lineno or 0)
            frames.append(Frame(entry.name, entry.lineno or 0, source.strip()))
    return tuple(frames)


def _problem(error: BaseException) -> Problem:
    if isinstance(error, NotImplementedError) and not str(error):
        return Problem("not_started", "NotImplementedError", "", student_frames(error))
    message = str(error).strip().splitlines()
    return Problem("raised", type(error).__name__, message[0][:300] if message else "", student_frames(error))


# --- crossing a process boundary ------------------------------------------------------------------------------------

_MAGIC = b"EVD1"
_DTYPES = frozenset({"float64", "float32", "float16", "int64", "int32", "uint8", "bool", "complex64", "complex128"})


def encode(evidence: Evidence) -> bytes:
    """Evidence as bytes: magic, header length, JSON header, then the arrays' raw bytes one after the other."""
    header: dict[str, Any] = {
        "arrays": [[name, str(array.dtype), array.shape] for name, array in evidence.arrays.items()],
        "stepped": sorted(evidence.stepped),
        "facts": dict(evidence.facts),
        "problem": asdict(evidence.problem) if evidence.problem else None,
        "printed_lines": evidence.printed_lines,
        "seconds": evidence.seconds,
    }
    text = json.dumps(header).encode()
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in evidence.arrays.values())
    return _MAGIC + struct.pack("<Q", len(text)) + text + body


def decode(data: bytes, max_bytes: int = 256 * 2**20) -> Evidence:
    """The inverse of `encode`. Raises ValueError for anything malformed, before memory is allocated for it."""
    if len(data) > max_bytes:
        raise ValueError(f"evidence of {len(data)} bytes is larger than the limit of {max_bytes}")
    if data[:4] != _MAGIC or len(data) < 12:
        raise ValueError("this is not encoded evidence")
    (length,) = struct.unpack("<Q", data[4:12])
    if length > len(data) - 12:
        raise ValueError("the evidence's header is longer than the evidence")
    try:
        header = json.loads(data[12 : 12 + length])
        arrays = dict(_arrays(header["arrays"], memoryview(data)[12 + length :]))
        problem = header["problem"]
        if problem:
            problem = Problem(**{**problem, "frames": tuple(Frame(**frame) for frame in problem["frames"])})
        return Evidence(
            arrays=arrays,
            stepped=frozenset(header["stepped"]) & arrays.keys(),
            facts=header["facts"],
            problem=problem,
            printed_lines=int(header["printed_lines"]),
            seconds=float(header["seconds"]),
        )
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"the evidence's header is malformed: {error}") from None


def _arrays(entries: list[Any], body: memoryview) -> Iterator[tuple[str, Array]]:
    offset = 0
    for name, dtype, shape in entries:
        if dtype not in _DTYPES or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError(f"array {name!r} has an unusable dtype or shape")
        size = np.dtype(dtype).itemsize * math.prod(shape)
        if offset + size > len(body):
            raise ValueError(f"array {name!r} is cut short")
        yield str(name), np.frombuffer(body[offset : offset + size], dtype).reshape(shape).copy()
        offset += size
    if offset != len(body):
        raise ValueError("there is something behind the last array")
