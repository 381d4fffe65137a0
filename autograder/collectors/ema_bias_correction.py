"""What the notebook on moving averages needs beside functions: series, closed forms, long series, averaged modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import (
    BY_ACCIDENT,
    PRETEND,
    UNCHANGED,
    Place,
    check_call,
    place,
    the_class,
    the_function,
)
from autograder.collectors.launches import MIXES, SYNCS, event_lines
from autograder.evidence import Array, ProtocolError, Record, as_array
from autograder.exercise import Case

AVERAGE = "average"


# --- a series along dimension 0 -------------------------------------------------------------------------------------


def series(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Call `f(x, beta)` once. Inputs: name, x, beta, dtype, device. Row t of the trajectory is the average after x_t.

    Row 0 is zeros, the average before the first value.
    """
    inputs = case.inputs
    average = the_function(objects[0], inputs["name"])
    with place(inputs.get("device", "cpu")) as here:
        x = here.tensor(inputs["x"], inputs.get("dtype", "float64"))
        before = as_array(x)
        returned = _averages(average, inputs["name"], x, inputs["beta"], record)
        rows = as_array(returned)
        record.trajectory(AVERAGE, np.concatenate([np.zeros_like(rows[:1]), rows]))
        same = np.array_equal(before, as_array(x))
        record.fact("argument x", UNCHANGED if same else f"changed, {BY_ACCIDENT}, or by `x[t] = …`")


def _averages(
    average: Callable[..., Any], name: str, x: torch.Tensor, beta: float, record: Record | None = None
) -> torch.Tensor:
    """What the student's function returns. Raises ProtocolError unless it is a tensor of x's shape."""
    check_call(average, name, "(x, beta)", x, beta)
    returned = average(x, beta)
    if not isinstance(returned, torch.Tensor):
        raise ProtocolError(f"{name} should return a tensor, not {type(returned).__name__}")
    if returned.shape != x.shape:
        raise ProtocolError(f"{name} returned shape {tuple(returned.shape)} for a series of shape {tuple(x.shape)}")
    if record is not None:
        kind = str(x.dtype).removeprefix("torch.")
        found = str(returned.dtype).removeprefix("torch.")
        record.first("dtype of the averages", "that of x" if found == kind else f"{found} for {kind}", "that of x")
    return returned


# --- closed forms ---------------------------------------------------------------------------------------------------


def closed_forms(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Call one of several functions of one number. Inputs: names of all functions, which, argument, values."""
    inputs = case.inputs
    which, argument = inputs["which"], inputs["argument"]
    form = the_function(objects[inputs["names"].index(which)], which)
    results = []
    for value in inputs["values"]:
        check_call(form, which, f"({argument})", value)
        try:
            returned = form(value)
        except NotImplementedError:
            if all(_is_stub(other, value) for other in objects):
                raise
            raise NotImplementedError(f"{which} is still the stub; replace this line by your code") from None
        if isinstance(returned, bool) or np.ndim(returned) or not isinstance(returned, (int, float, torch.Tensor)):
            raise ProtocolError(f"{which} should return a float, not {returned!r}")
        kind = str(returned.dtype).removeprefix("torch.") if isinstance(returned, torch.Tensor) else "float64"
        record.first(f"dtype of {which}", kind, "float64")
        results.append(float(returned))
    record.array(which, np.array(results))


def _is_stub(form: Any, value: float) -> bool:
    try:
        form(value)
    except NotImplementedError:
        return True
    except Exception:
        return False
    return False


# --- long series ----------------------------------------------------------------------------------------------------

DOUBLINGS = "launches over log2 of the length"
GROWTH = "peak memory for four times the length"
PER_DOUBLING, MOST_GROWTH = 8, 8

#: Lengths of the rehearsals. What grows like T² in memory, or launches for each time, is not played at full length:
#: 100,000² numbers are 40 GB.
REHEARSALS = (512, 2048)

SAMPLE, SUMS = "average", "average (64 sums over all times, random signs)"


def long_average(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Average a long series that is drawn here. Inputs: name, steps, beta, seed, noise, dtype, device.

    The evidence is small: the first averages, averages at times drawn from the seed, and sums of all averages with
    random signs. Rehearsals on short series count launches and bytes. With `limits` these are facts, the long series
    is counted too, and is left out when a rehearsal breaks a bound; without limits that raises ProtocolError.
    """
    inputs = case.inputs
    average = the_function(objects[0], inputs["name"])
    device = inputs.get("device", "cpu")
    counted = _Counted(average, inputs, device)
    worst = ""
    for length in REHEARSALS:
        counted.play(length)
        worst = worst or counted.verdict()
    if not worst:
        if case.limits:
            averages = counted.play(inputs["steps"])
        else:
            with place(device) as here:
                x = here.tensor(drawn_series(inputs, inputs["steps"]), inputs["dtype"])
                averages = as_array(_averages(average, inputs["name"], x, inputs["beta"], record))
        if averages is not None:
            _record_sample(record, averages, inputs["seed"])
    if case.limits:
        counted.record_facts(record)
    elif worst:
        raise ProtocolError(f"{inputs['name']} was not run on {inputs['steps']:,} times: {worst}")


def drawn_series(inputs: Mapping[str, Any], steps: int) -> Array:
    """A level that jumps between +1 and −1 at drawn times, plus noise. Shape (steps,)."""
    rng = np.random.default_rng(inputs["seed"])
    cuts = np.sort(rng.uniform(0.15, 0.85, 3)) * steps
    level = np.where(np.searchsorted(cuts, np.arange(steps)) % 2 == 0, 1.0, -1.0)
    return np.asarray(level + inputs["noise"] * rng.standard_normal(steps))


def _record_sample(record: Record, averages: Array, seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    times = np.concatenate([np.arange(64), np.sort(rng.integers(64, len(averages), 192))])
    record.array(SAMPLE, averages[times])
    record.fact(f"{SAMPLE}: steps", " ".join(str(time + 1) for time in times.tolist()))
    signs = rng.choice([-1.0, 1.0], len(averages))
    blocks = np.array_split(averages.astype(np.float64) * signs, 64)
    record.array(SUMS, np.array([block.sum() for block in blocks]))


class _Counted:
    """Counts launches, waits, mixes and peak bytes of the student's function on series of several lengths."""

    def __init__(self, average: Callable[..., Any], inputs: Mapping[str, Any], device: str) -> None:
        self.average, self.inputs, self.device = average, inputs, device
        self.launches: dict[int, int] = {}
        self.peak: dict[int, int] = {}
        self.syncs: list[Any] = []
        self.mixes: list[Any] = []

    def play(self, steps: int) -> Array | None:
        """Run on a series of that length; None when tensors of host and device were mixed."""
        from autograder.launches import DeviceMix, LaunchCounter  # only these cases need it

        counter = LaunchCounter() if self.device == PRETEND else LaunchCounter("plain", self.device)
        with counter:
            x = Place(counter.device, counter).tensor(drawn_series(self.inputs, steps), self.inputs["dtype"])
            with counter.section(f"{steps:,} times") as section:
                try:
                    returned = _averages(self.average, self.inputs["name"], x, self.inputs["beta"])
                except DeviceMix:
                    returned = None
            self.launches[steps], self.peak[steps] = section.launches, section.peak_bytes
            self.syncs, self.mixes = section.syncs, section.mixes
            return None if returned is None else as_array(counter.fetch(returned))

    @property
    def per_doubling(self) -> float:
        return max(count / math.log2(steps) for steps, count in self.launches.items())

    @property
    def growth(self) -> float:
        short, long = REHEARSALS
        return self.peak.get(long, 0) / max(self.peak[short], 1)

    def verdict(self) -> str:
        """Why the long series would take too long or too much memory; "" if it would not."""
        if self.per_doubling > PER_DOUBLING:
            steps = max(self.launches)
            return f"for {steps:,} times it launches {self.launches[steps]:,} operations"
        if self.growth > MOST_GROWTH:
            return f"for four times the length it takes {self.growth:.0f} times the memory"
        return ""

    def record_facts(self, record: Record) -> None:
        record.fact(MIXES, float(len(self.mixes)))
        record.fact(f"{MIXES}: where", event_lines(self.mixes))
        record.fact(SYNCS, float(len(self.syncs)))
        record.fact(f"{SYNCS}: where", event_lines(self.syncs))
        record.fact(DOUBLINGS, round(self.per_doubling, 1))
        counts = [f"{count:,} launches for {steps:,} times" for steps, count in self.launches.items()]
        record.fact(f"{DOUBLINGS}: where", counts)
        record.fact(GROWTH, round(self.growth, 1))
        peaks = [f"{peak:,} bytes at most for {steps:,} times" for steps, peak in self.peak.items()]
        record.fact(f"{GROWTH}: where", peaks)


# --- averaged modules -----------------------------------------------------------------------------------------------

GRAPH, MODEL, MEMORY = "averaged parameters", "the model that is averaged", "memory of the averaged parameters"
NEEDS = "requires_grad of the averaged parameters"
NO_GRAPH, OWN = "no part of any graph", "their own"
COUNT, COUNTED = "self.updates", "one more after every update"


def averaged_module(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Average a module whose tensors follow a script. Inputs: beta, layers, start, updates, rules, dtype, device.

    layers: "linear" or "batchnorm". start, updates: one mapping of names → arrays, and one for each update.
    rules: also look at graphs and at the model itself. Every tensor of `ema.module` is a trajectory.
    """
    inputs = case.inputs
    cls = the_class(objects[0], "EMAModel", ["update"])
    check_call(cls, cls.__name__, "(model, beta)", torch.nn.Identity(), inputs["beta"])
    with place(inputs.get("device", "cpu")) as here:
        model = _module(inputs, here)
        _load(model, inputs["start"])
        ema = cls(model, inputs["beta"])
        _record_module(record, ema)
        for number, tensors in enumerate(inputs["updates"], start=1):
            _load(model, tensors)
            ema.update(model)
            _record_module(record, ema)
            if inputs.get("rules"):
                _record_rules(record, ema, model, tensors, number)


def _module(inputs: Mapping[str, Any], here: Place) -> torch.nn.Module:
    layers: list[torch.nn.Module] = [torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)]
    if inputs["layers"] == "batchnorm":
        layers.insert(1, torch.nn.BatchNorm1d(4))
    model = torch.nn.Sequential(*layers).to(getattr(torch, inputs.get("dtype", "float64")))
    return here.module(model)


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@torch.no_grad()
def _load(model: torch.nn.Module, arrays: Mapping[str, Array]) -> None:
    """Put the script's numbers into the model, in place, as an optimizer and a BatchNorm layer do."""
    for name, tensor in _tensors(model).items():
        if name in arrays:
            tensor.copy_(torch.as_tensor(arrays[name]).to(tensor))


def _record_module(record: Record, ema: Any) -> None:
    module = getattr(ema, "module", None)
    if not isinstance(module, torch.nn.Module):
        raise ProtocolError("EMAModel should keep the averaged copy of the model as self.module")
    for name, tensor in _tensors(module).items():
        record.row(name, tensor)


def _record_rules(record: Record, ema: Any, model: torch.nn.Module, arrays: Mapping[str, Array], number: int) -> None:
    mine = _tensors(ema.module).values()
    graph = any(tensor.grad_fn is not None for tensor in mine)
    record.first(GRAPH, "in autograd's graph after the update" if graph else NO_GRAPH, NO_GRAPH)
    leaves = any(tensor.requires_grad and tensor.grad_fn is None for tensor in mine)
    record.first(NEEDS, f"True after update {number}" if leaves else "False", "False")
    theirs = {p.data_ptr() for p in model.parameters()}
    shared = any(p.data_ptr() in theirs for p in ema.module.parameters())
    record.first(MEMORY, "shared with the model" if shared else OWN, OWN)
    count = getattr(ema, "updates", None)
    record.first(COUNT, COUNTED if count == number else f"{count} after update {number}", COUNTED)
    same = all(np.array_equal(as_array(t), arrays[name]) for name, t in _tensors(model).items() if name in arrays)
    record.first(MODEL, UNCHANGED if same else f"changed by update {number}", UNCHANGED)
