"""What the notebook on schedulers needs: an lr as a function of t, schedulers that drive an optimizer, range tests."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import PRETEND, UNCHANGED, Place, check_call, the_class, the_function
from autograder.collectors.launches import LAUNCHES, MIXES, SYNCS, event_lines
from autograder.evidence import Array, ProtocolError, Record, as_array
from autograder.exercise import Case

Tensor = torch.Tensor

# --- an lr as a function of t ---------------------------------------------------------------------------------------

AGAIN, ARGUMENTS, PRECISION = "a second call with the same t", "the arguments", "precision of the lr"


def schedule_values(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Ask for the lr at many t, in any order.

    Inputs: name, values (argument → number or list, in order), ts (each of 0, 1, …, n once, in the order of asking),
    keywords (all but t by name). Recorded: `lr`, a trajectory over t.
    """
    inputs = case.inputs
    name, ts = inputs["name"], inputs["ts"]
    function = the_function(objects[0], name)
    given = copy.deepcopy(dict(inputs["values"]))
    keywords = given if inputs.get("keywords") else {}
    positional = () if keywords else tuple(given.values())
    check_call(function, name, f"(t, {', '.join(given)})", ts[0], *positional, **keywords)
    found = {t: _number(name, function(t, *positional, **keywords)) for t in ts}
    again = _number(name, function(ts[0], *positional, **keywords))
    lrs = np.array([found[t] for t in range(len(ts))])
    record.trajectory("lr", lrs)
    # a base lr such as 0.1 has no exact float32: if all results have one, they were float32 on the way
    coarse = _is_float32(lrs) and not _is_float32(np.array(next(iter(given.values()))))
    record.fact(PRECISION, "float32" if coarse else "float64")
    same = again == found[ts[0]] or (math.isnan(again) and math.isnan(found[ts[0]]))
    record.fact(AGAIN, "the same lr" if same else "another lr; the lr follows from t alone")
    kept = given == dict(inputs["values"])
    record.fact(ARGUMENTS, UNCHANGED if kept else "changed; sorted(…) makes a new list, .sort() sorts the caller's")


def _is_float32(values: Array) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values).all() and (values.astype(np.float32) == values).all())


def _number(name: str, value: object, what: str = "the lr") -> float:
    """What the student returned, as a float. Raises ProtocolError for what is no real number."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, (np.ndarray, np.generic)) and value.size == 1:
        value = value.item()
    if isinstance(value, complex):
        raise ProtocolError(f"{name} returned a complex number: a negative base has no fractional power")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProtocolError(f"{name} should return {what}, a float, not {_kind(value)}")
    return float(value)


def _kind(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{'a tensor' if isinstance(value, Tensor) else 'an array'} of shape {tuple(value.shape)}"
    if isinstance(value, torch.optim.Optimizer):
        return "an optimizer"
    if callable(value):
        return "a function"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


# --- schedulers that drive an optimizer -----------------------------------------------------------------------------


class _Follows(torch.optim.Optimizer):
    """Moves each parameter by −lr, so that its value tells which lr the steps had."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(float(group["lr"]))


def _driven(lrs: Sequence[float]) -> _Follows:
    """An optimizer with one group for each lr."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros((), dtype=torch.float64))], "lr": lr} for lr in lrs]
    return _Follows(groups, lr=lrs[0])


def _record_lrs(record: Record, title: str, opt: torch.optim.Optimizer) -> None:
    for i, group in enumerate(opt.param_groups):
        record.row(f"{title} of group {i}", float(group["lr"]))


UNINTERRUPTED, RESUMED, SAVED = "lr without the break", "lr after resuming", "state_dict()"
PLAIN = "numbers, texts, None, and lists and dicts of them"
#: The fact about the metric that a plateau keeps: a mistake of its own among those that a state can hold.
BEST = "best in state_dict()"


def _saved(scheduler: Any, record: Record) -> Any:
    """The state as it comes back from a file; None when it holds anything but plain data."""
    state = scheduler.state_dict()
    if not isinstance(state, dict):
        raise ProtocolError(f"state_dict() should return a dict, not {_kind(state)}")
    try:
        there = json.loads(json.dumps(state))
    except (TypeError, ValueError):
        odd = next((key for key, value in state.items() if not _is_plain(value)), "?")
        name = BEST if odd == "best" else SAVED
        record.fact(name, f"holds {_kind(state.get(odd))} under {odd!r}, which no file can keep for another process")
        return None
    record.fact(SAVED, PLAIN)
    record.fact(BEST, PLAIN)
    return there


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def plateau(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Show `ReduceOnPlateau` a metric at a time. Inputs: lrs, options, metrics (None: nan), as_tensor, stop.

    Recorded: every group's lr after every metric. With `stop`, a second scheduler with the default options takes over
    the state there and goes on, beside the first one.
    """
    inputs = case.inputs
    cls = the_class(objects[0], "ReduceOnPlateau", ["step", "state_dict", "load_state_dict"])
    metrics = [math.nan if m is None else m for m in inputs["metrics"]]
    opt = _driven(inputs["lrs"])
    check_call(cls, cls.__name__, "(optimizer, mode=…, factor=…, …)", opt, **inputs["options"])
    scheduler = cls(opt, **inputs["options"])
    stop = inputs.get("stop", len(metrics))
    _record_lrs(record, "lr", opt)
    for metric in metrics[:stop]:
        scheduler.step(torch.tensor(metric, dtype=torch.float64) if inputs.get("as_tensor") else metric)
        _record_lrs(record, "lr", opt)
    if stop == len(metrics):
        return
    again = _driven([float(group["lr"]) for group in opt.param_groups])
    resumed = cls(again)
    state = _saved(scheduler, record)
    if state is None:
        return
    resumed.load_state_dict(state)
    _record_lrs(record, UNINTERRUPTED, opt)
    _record_lrs(record, RESUMED, again)
    for metric in metrics[stop:]:
        scheduler.step(metric)
        resumed.step(metric)
        _record_lrs(record, UNINTERRUPTED, opt)
        _record_lrs(record, RESUMED, again)


#: The fact about a warning, and what is right when the order is wrong or right.
WARNED = "warnings of the first scheduler.step()"
WARNED_AGAIN = "warnings after the break"
CHECKPOINT = "the dict that load_state_dict is given"


def protocol(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Drive an optimizer with `Scheduler`. Inputs: lrs, factors, offset, steps, and what to look at:

    order    "right", "wrong" (scheduler.step() comes first), "late" (only the second round is the wrong way round) or
             "twice" (two scheduler.step() before any optimizer.step())
    stop     a second scheduler with optimizer takes over there (`load_first`: "optimizer" or "scheduler"; `other_lrs`:
             what the second optimizer was made with; `skipped`: its first step() finds no optimizer.step() before it)
    meddle   steps after which somebody else changes every lr
    second   after that many steps another scheduler is made for the same optimizer
    The schedule is lr(t) = base_lr · factors[t] + offset. Recorded: the lr of every group that each optimizer.step()
    finds, and `get_last_lr()`.
    """
    inputs = case.inputs
    cls = the_class(objects[0], "Scheduler", ["step", "get_last_lr", "state_dict", "load_state_dict"])
    run = _Run(cls, inputs, record)
    stop = inputs.get("stop", inputs["steps"])
    for number in range(stop):
        if number == inputs.get("second"):
            run.scheduler = cls(run.opt, run.schedule)
        run.round(number)
        if number in inputs.get("meddle", ()):
            for group in run.opt.param_groups:
                group["lr"] = 7.0
            run.note()
    if stop < inputs["steps"]:
        _take_over(run, inputs, record)


class _Run:
    """One scheduler with its optimizer and the rows that it leaves."""

    def __init__(self, cls: type, inputs: Mapping[str, Any], record: Record) -> None:
        self.inputs, self.record, self.cls = inputs, record, cls
        self.opt = _driven(inputs["lrs"])
        check_call(cls, cls.__name__, "(optimizer, schedule)", self.opt, self.schedule)
        self.scheduler = self._make(self.opt)
        self.note()

    def _make(self, opt: torch.optim.Optimizer) -> Any:
        return self.cls(opt, self.schedule)

    def schedule(self, t: int, base_lr: float) -> float:
        if isinstance(t, bool) or not isinstance(t, int):
            raise ProtocolError(f"the schedule is asked with t, an int, and base_lr; t is {_kind(t)}")
        if not 0 <= t < len(self.inputs["factors"]):
            raise ProtocolError(f"the schedule is asked for t = {t}; t goes up from 0, by 1 in every step()")
        return float(float(base_lr) * self.inputs["factors"][t] + self.inputs["offset"])

    def round(self, number: int) -> None:
        order = self.inputs.get("order", "right")
        wrong = number == {"wrong": 0, "late": 1, "twice": 1}.get(order, -1)
        untrained = order == "twice" and number == 0
        if not wrong and not untrained:
            self._train()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.scheduler.step()
        if number == 0:
            kinds = {w.category.__name__ for w in caught}
            self.record.fact(WARNED, ", ".join(sorted(kinds)) or "none")
        elif caught:
            self.record.fact("warnings later on", "some")
        else:
            self.record.first("warnings later on", "none", "none")
        if wrong:
            self._train()
        self.note()

    def _train(self) -> None:
        _record_lrs(self.record, "used lr", self.opt)
        self.opt.step()

    def note(self) -> None:
        last = self.scheduler.get_last_lr()
        if not isinstance(last, list):
            raise ProtocolError(f"get_last_lr() should return a list, one lr per group, not {_kind(last)}")
        if len(last) != len(self.opt.param_groups):
            raise ProtocolError(f"get_last_lr() should return {len(self.opt.param_groups)} lrs, not {len(last)}")
        for i, lr in enumerate(last):
            self.record.row(f"get_last_lr()[{i}]", _number("get_last_lr", lr))


def _take_over(run: _Run, inputs: Mapping[str, Any], record: Record) -> None:
    """Another process: a fresh optimizer and scheduler load what was saved, and both trainings go on."""
    state, saved = _saved(run.scheduler, record), copy.deepcopy(run.opt.state_dict())
    if state is None:
        return
    opt = _driven(inputs.get("other_lrs", inputs["lrs"]))
    scheduler = run.cls(opt, run.schedule)
    given = copy.deepcopy(state)
    if inputs.get("load_first") == "scheduler":
        scheduler.load_state_dict(state)
        for i, lr in enumerate(scheduler.get_last_lr()):
            record.array(f"get_last_lr()[{i}] between the two loads", _number("get_last_lr", lr))
        opt.load_state_dict(saved)
    else:
        opt.load_state_dict(saved)
        if inputs.get("load_first") == "remade":  # made once more: the constructor finds the loaded optimizer
            scheduler = run.cls(opt, run.schedule)
        scheduler.load_state_dict(state)
    kept = state == given
    record.fact(
        CHECKPOINT, UNCHANGED if kept else "changed by loading; it belongs to the caller, who may load it again"
    )
    for i, lr in enumerate(scheduler.get_last_lr()):
        record.array(f"get_last_lr()[{i}] after loading", _number("get_last_lr", lr))
    for number in range(inputs["stop"], inputs["steps"]):
        for title, one, driver in ((UNINTERRUPTED, run.opt, run.scheduler), (RESUMED, opt, scheduler)):
            _record_lrs(record, title, one)
            if not (inputs.get("skipped") and number == inputs["stop"]):
                one.step()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                driver.step()
            record.first(WARNED_AGAIN, "some; t is not 0 any more" if caught else "none", "none")
        if number in inputs.get("meddle", ()):
            for group in (*run.opt.param_groups, *opt.param_groups):
                group["lr"] = 7.0


# --- the LR range test ----------------------------------------------------------------------------------------------

SWEEP, EVALUATIONS, START = "lr of the sweep's step", "evaluations of the loss", "w0"
ABOVE, BELOW = "the lr that is returned is above lr_min", "the lr that is returned is below lr_max"
LOWEST, BEYOND = (
    "the lr that is returned is that of the lowest loss",
    "the lr that is returned lies beyond the lowest loss",
)
DIVERGES, SLOW = "training with it diverges", "training with it is too slow"
FIRST_LRS, FIRST, SMOOTH = "the first three lrs of the sweep", 3, 5
RETURNED, AN_LR = "what is returned", "an lr"
ASKED = "the loss is evaluated"
LENGTH, ENOUGH = "length of the sweep", "until the loss has exploded, or to the end"


def range_test(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Call `range_test` on a regression whose inputs are scaled, then train with the lr that it returns.

    Inputs: X, y, w0, lr_min, lr_max, steps, batch_size, seed, watch (sweep steps that are compared), train_steps,
    target (loss that training has to get below).
    """
    inputs = case.inputs
    search = the_function(objects[0], "range_test")
    problem = _Regression(inputs)
    w0 = torch.tensor(inputs["w0"])

    def loss_fn(w: Tensor) -> Tensor:
        return problem.loss(w)

    arguments = (w0, loss_fn, inputs["lr_min"], inputs["lr_max"], inputs["steps"])
    check_call(search, "range_test", "(w0, loss_fn, lr_min, lr_max, steps)", *arguments)
    lr = _number("range_test", search(*arguments))
    record.fact(START, UNCHANGED if np.array_equal(w0.detach().numpy(), inputs["w0"]) else "changed; work on a copy")
    record.fact(EVALUATIONS, float(len(problem.asked)))
    lrs = problem.sweep()
    twice = bool(len(lrs) >= FIRST and lrs[0] == 0 and lrs[1:4].any())
    record.fact(ASKED, f"{'twice' if twice else 'once'} at each weight")
    _sweep_can_be_read(problem, lrs, twice, inputs)
    record.fact(RETURNED, problem.what_it_is(lr))
    record.array(FIRST_LRS, lrs[:FIRST])
    short = len(lrs) < inputs["watch"]
    record.fact(LENGTH, f"{len(problem.asked)} of {inputs['steps']} steps" if short else ENOUGH)
    if short:
        return  # the rest of it is missing, and its lr is chance
    record.trajectory(SWEEP, np.concatenate([[0.0], lrs[: inputs["watch"]]]))
    ratios = lrs[1 : inputs["watch"]] / np.where(lrs[: inputs["watch"] - 1] == 0, math.nan, lrs[: inputs["watch"] - 1])
    if not (np.abs(ratios / ratios[0] - 1) < 0.01).all() or ratios[0] <= 1:
        return  # what such a sweep says about the lr is chance
    record.fact(ABOVE, "yes" if lr > inputs["lr_min"] else "no")
    record.fact(BELOW, "yes" if lr < inputs["lr_max"] else "no")
    if inputs["lr_min"] < lr < inputs["lr_max"]:
        _record_outcome(record, problem, lrs, lr, inputs)


def _sweep_can_be_read(problem: _Regression, lrs: Array, twice: bool, inputs: Mapping[str, Any]) -> None:
    """Raise ProtocolError for a sweep whose steps cannot be told from its evaluations."""
    times = f"range_test evaluated loss_fn {len(problem.asked)} times"
    if len(lrs) >= FIRST:
        if twice:
            raise ProtocolError(f"{times}, twice at the same weight; one evaluation per step gives loss and gradient")
        return
    if not len(lrs):
        raise ProtocolError(f"{times}; it should take a step of gradient descent after each of its evaluations")
    if lrs[0] ** 2 > inputs["lr_min"] * inputs["lr_max"]:
        raise ProtocolError(f"{times}; its first step has the lr {lrs[0]:.3g}, far above lr_min")
    raise ProtocolError(f"{times} and stopped; the sweep goes on until the loss has exploded")


def _record_outcome(record: Record, problem: _Regression, lrs: Array, lr: float, inputs: Mapping[str, Any]) -> None:
    """Where in the sweep the lr lies, if that is where it should not, and what training with it leads to."""
    lowest = problem.lr_of_the_lowest(lrs)
    near = any(abs(lr - one) <= 0.02 * one for one in lowest)
    start, final = problem.full_loss(problem.start), problem.train(lr, inputs["train_steps"])
    beyond = not near and lr > max(lowest) and final > inputs["target"]
    record.fact(LOWEST, "yes" if near else "no")
    record.fact(BEYOND, "yes" if beyond else "no")
    if not near and not beyond:
        record.fact(DIVERGES, "no" if final < start else "yes")
        where = "; it lies where the loss of the sweep was still flat" if problem.is_flat(lrs, lr) else ""
        record.fact(SLOW, f"yes{where}" if inputs["target"] < final < start else "no")


class _Regression:
    """½·mean squared error on minibatches that are drawn anew for every evaluation."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.X, self.y = torch.tensor(inputs["X"]), torch.tensor(inputs["y"])
        self.batch_size, self.start = inputs["batch_size"], torch.tensor(inputs["w0"])
        self.generator = torch.Generator().manual_seed(inputs["seed"])
        self.asked: list[tuple[Tensor, Tensor, float]] = []  # the weight, the gradient there, the loss

    def loss(self, w: Tensor) -> Tensor:
        """The loss of a fresh minibatch at w, a 0-dim tensor with a graph if w requires a gradient."""
        if not isinstance(w, Tensor) or w.shape != self.start.shape:
            raise ProtocolError(f"loss_fn takes a tensor of w0's shape, {tuple(self.start.shape)}, not {_kind(w)}")
        batch = torch.randint(len(self.X), (self.batch_size,), generator=self.generator)
        X, y = self.X[batch], self.y[batch]
        residual = X @ w - y
        loss = 0.5 * (residual**2).mean()
        self.asked.append((w.detach().clone(), X.T @ residual.detach() / len(y), float(loss.detach())))
        return loss

    def sweep(self) -> Array:
        """The lr of each step, told by how far the weight went along the gradient."""
        lrs = []
        for (w, g, _), (after, _, _) in zip(self.asked, self.asked[1:], strict=False):
            square = float(g @ g)
            lrs.append(float((w - after) @ g) / square if math.isfinite(square) and square > 0 else math.nan)
        return np.array(lrs)

    def lr_of_the_lowest(self, lrs: Array) -> list[float]:
        """The sweep's lr where the loss was lowest: as it is, and as a moving average."""
        losses = np.array([loss for _, _, loss in self.asked])
        losses = np.where(np.isfinite(losses), losses, math.inf)
        smooth = np.convolve(losses, np.ones(SMOOTH) / SMOOTH, mode="valid")
        places = {int(np.argmin(losses)), int(np.argmin(smooth)) + SMOOTH // 2}
        return [float(lrs[i]) for i in places if i < len(lrs)] or [float(lrs[-1])]

    def what_it_is(self, value: float) -> str:
        """`AN_LR`, unless the number is one of the losses, or a place in a list of them."""
        losses = np.array([loss for _, _, loss in self.asked])
        smooth = np.convolve(losses, np.ones(SMOOTH) / SMOOTH, mode="valid") if len(losses) >= SMOOTH else losses
        if np.isclose(np.concatenate([losses, smooth]), value, rtol=1e-9, atol=0).any():
            return "a loss; lrs[position] is the lr at which it was measured"
        if math.isfinite(value) and value == round(value) and 1 < value <= len(losses) and value != 10:
            return "a whole number, as a position in a list is; lrs[position] is the lr"
        return AN_LR

    def is_flat(self, lrs: Array, lr: float) -> bool:
        """Had the loss hardly fallen when the sweep was at this lr?"""
        losses = [loss for _, _, loss in self.asked]
        place = int(np.argmin(np.abs(np.log(lrs[lrs > 0]) - math.log(lr))))
        return bool(np.mean(losses[max(place - 2, 0) : place + 3]) > 0.8 * np.mean(losses[:SMOOTH]))

    def full_loss(self, w: Tensor) -> float:
        return float(0.5 * ((self.X @ w - self.y) ** 2).mean())

    def train(self, lr: float, steps: int) -> float:
        """The loss on all data after that many steps of SGD from w0."""
        w = self.start.clone()
        for _ in range(steps):
            batch = torch.randint(len(self.X), (self.batch_size,), generator=self.generator)
            w -= lr * (self.X[batch].T @ (self.X[batch] @ w - self.y[batch])) / self.batch_size
        final = self.full_loss(w)
        return final if math.isfinite(final) else math.inf


# --- numbers that are uniform on a logarithmic scale ----------------------------------------------------------------

QUANTILES = "quantiles from 5 % to 95 %, on the logarithmic scale from low (0) to high (1)"


def log_uniform(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Draw n numbers, twice from the same seed and once from another. Inputs: low, high, n, seed."""
    inputs = case.inputs
    low, high, n = inputs["low"], inputs["high"], inputs["n"]
    draw = the_function(objects[0], "log_uniform")
    generator = torch.Generator().manual_seed(inputs["seed"])
    check_call(draw, "log_uniform", "(low, high, n, generator)", low, high, n, generator)
    state = torch.get_rng_state()
    values = _drawn(draw(low, high, n, generator), n)
    record.fact("torch's global random state", "untouched" if torch.equal(state, torch.get_rng_state()) else "changed")
    again = _drawn(draw(low, high, n, torch.Generator().manual_seed(inputs["seed"])), n)
    other = _drawn(draw(low, high, n, torch.Generator().manual_seed(inputs["seed"] + 1)), n)
    next_ = _drawn(draw(low, high, n, generator), n)
    record.fact("the same seed again", "the same numbers" if np.array_equal(values, again) else "other numbers")
    moved = not any(np.array_equal(np.sort(values), np.sort(more)) for more in (other, next_))
    record.fact("another seed, or the same generator again", "other numbers" if moved else "the same numbers")
    slack = 1e-6 * high
    outside = int(((values < low - 1e-6 * low) | (values > high + slack) | ~np.isfinite(values)).sum())
    record.fact("numbers outside low … high", "none" if outside == 0 else f"{outside} of {n}")
    alike = len(np.unique(values)) < (n / 2 if n >= 1000 else min(n, 2))
    record.fact("numbers that come again and again", "most of them" if alike else "few")
    if n >= 1000:
        with np.errstate(all="ignore"):
            places = (np.log(np.abs(values)) - math.log(low)) / (math.log(high) - math.log(low))
        record.array(QUANTILES, np.quantile(places, np.linspace(0.05, 0.95, 19)))


def _drawn(values: object, n: int) -> Array:
    if not isinstance(values, Tensor):
        raise ProtocolError(f"log_uniform should return a tensor of shape ({n},), not {_kind(values)}")
    if tuple(values.shape) != (n,):
        raise ProtocolError(f"log_uniform returned shape {tuple(values.shape)}; it should be ({n},)")
    if not values.is_floating_point():
        raise ProtocolError(f"log_uniform returned {values.dtype}; it should be a floating-point tensor")
    return as_array(values.detach().double())


# --- an lr that lives on the device ---------------------------------------------------------------------------------

UPLOADS = "copies from the host per step"
MEMORY, IN_PLACE = "memory of lr", "written to in place"


def tensor_lr(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Call `cosine_lr_` once per step on the counted device. Inputs: base_lr, T_max, ts, t_dtype, dtype, device.

    Recorded: the lr tensor after every call, and the worst call's launches, waits, copies and mixes.
    """
    from autograder.launches import DeviceMix, LaunchCounter  # only these cases need it

    inputs = case.inputs
    function = the_function(objects[0], "cosine_lr_")
    pretend = inputs.get("device") == PRETEND
    with LaunchCounter("pretend" if pretend else "plain", None if pretend else inputs.get("device", "cpu")) as counter:
        here = Place(counter.device, counter)
        lr = here.tensor(np.asarray(inputs["base_lr"]), inputs["dtype"])
        sections = []
        record.row("lr", counter.fetch(lr))
        memory = lr.data_ptr()
        for now in inputs["ts"]:
            t = here.tensor(np.asarray(float(now)), inputs["t_dtype"])
            arguments = (lr, t, inputs["base_lr"], inputs["T_max"])
            check_call(function, "cosine_lr_", "(lr, t, base_lr, T_max)", *arguments)
            with counter.section(f"t = {now}") as section:
                sections.append(section)
                try:
                    returned = function(*arguments)
                except DeviceMix:
                    break
            if returned is not None and returned is not lr:
                record.first("what is returned", "something else than lr", "None or lr")
            if lr.dtype != getattr(torch, inputs["dtype"]):
                raise ProtocolError(f"lr became {lr.dtype}; it should stay torch.{inputs['dtype']}")
            record.row("lr", counter.fetch(lr))
            if not pretend:
                record.first(MEMORY, IN_PLACE if lr.data_ptr() == memory else "another one after the call", IN_PLACE)
            kept = float(counter.fetch(t)) == float(now)
            record.first("argument t", UNCHANGED if kept else "changed; only lr is written to", UNCHANGED)
        if pretend:
            _device_facts(record, sections)


def _device_facts(record: Record, sections: Sequence[Any]) -> None:
    for name, kind in ((MIXES, "mixes"), (SYNCS, "syncs"), (UPLOADS, "uploads")):
        worst: list[Any] = max((getattr(section, kind) for section in sections), key=len, default=[])
        record.fact(name, float(len(worst)))
        record.fact(f"{name}: where", event_lines(worst))
    record.fact(LAUNCHES, float(max(section.launches for section in sections)))
