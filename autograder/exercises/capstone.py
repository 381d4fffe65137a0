"""The exercises of `09_capstone`: cases, references, the misconceptions each recognises, hints and points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from autograder.collectors.capstone import EVALUATIONS, OVERHEAD, PREDICTIONS, SYMPTOM
from autograder.collectors.capstone_resume import ARRAYS, DRAWN, RESUMED, STEPS, UNINTERRUPTED
from autograder.collectors.common import PRETEND
from autograder.collectors.launches import MIXES, SYNCS
from autograder.exercise import (
    TOLERANCE,
    Case,
    CodeExercise,
    Exercise,
    Limit,
    Part,
    Score,
    WrittenExercise,
    quiz,
)
from autograder.misconceptions import capstone as bank
from autograder.misconceptions import capstone_loop as loops
from autograder.misconceptions import capstone_runs as runs
from autograder.misconceptions import recognise
from autograder.probes import (
    generator,
    probe_case,
    rounded,
    weights,
)

NOTEBOOK = "09_capstone"
VISIBLE_SEED = 9
Generator = np.random.Generator
Array = np.ndarray[Any, np.dtype[Any]]

#: What this notebook's student writes, or brings along from the other notebooks.
CLIPPING = ("torch.nn.utils.clip_grad", "torch.nn.utils.clip_grad_norm_", "torch.nn.utils.clip_grad_value_")
OPTIMIZERS = ("torch.optim.Adam", "torch.optim.AdamW", "torch.optim.SGD", "torch.optim.sgd", "torch.optim.lr_scheduler")

#: torch divides by norm + 1e-6; without that term the factor differs in the seventh digit, which is as right.
_CLIP_TOLERANCE = 1e-5


# --- capstone.clip --------------------------------------------------------------------------------------------------

_SHAPES: tuple[tuple[int, ...], ...] = ((3, 4), (5,), (2, 2))


def _gradients(rng: Generator, lacks: Sequence[int] = (), shapes: Sequence[tuple[int, ...]] = _SHAPES) -> list[Any]:
    """One gradient per shape, of different sizes; None for the parameters in `lacks`."""
    return [None if i in lacks else rng.standard_normal(shape) * 2.0 ** (i + 1) for i, shape in enumerate(shapes)]


def _norm(grads: Sequence[Any]) -> float:
    return float(np.sqrt(sum((np.asarray(g) ** 2).sum() for g in grads if g is not None)))


def _call(grads: list[Any], fraction: float, **more: Any) -> dict[str, Any]:
    """A call whose limit is `fraction` of the norm."""
    return {"grads": grads, "max_norm": rounded(max(fraction * _norm(grads), 0.5)), **more}


def _clip_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, *calls: dict[str, Any], shapes: Any = _SHAPES, **more: Any) -> Case:
        inputs = {"params": [weights(rng, shape) for shape in shapes], "calls": list(calls), **more}
        tolerance = max(_CLIP_TOLERANCE, TOLERANCE[more.get("dtype", "float64")])
        return probe_case(name, group, "clip", inputs, hidden=hidden, tolerance=tolerance)

    below = float(rng.uniform(0.15, 0.6))
    one = ((6,),)
    infinite, undefined = _gradients(rng), _gradients(rng)
    infinite[1][2], undefined[0][1, 1] = np.inf, np.nan
    refusing = {"options": {"error_if_nonfinite": True}}
    return (
        case("above the limit", "norm and factor", _call(_gradients(rng), below), _call(_gradients(rng), 0.05)),
        case("below the limit", "norm and factor", _call(_gradients(rng), float(rng.uniform(1.5, 4)))),
        case(
            "parameters without a gradient", "edge cases", _call(_gradients(rng, lacks=(0, 2)), below, as_tensor=True)
        ),
        case("no gradients at all", "edge cases", {"grads": [None, None, None], "max_norm": 1.0}),
        case("gradients that are 0", "edge cases", {"grads": [0 * g for g in _gradients(rng)], "max_norm": 1.0}),
        case("a generator of parameters", "edge cases", _call(_gradients(rng), below), hand_over="generator"),
        case(
            "a single parameter, not in a list",
            "edge cases",
            _call(_gradients(rng, shapes=one), below),
            shapes=one,
            hand_over="tensor",
        ),
        case(
            "inf, error_if_nonfinite=True",
            "not finite",
            {"grads": infinite, "max_norm": 1.0, "refuses": True, **refusing},
            _call(_gradients(rng), below, **refusing),
        ),
        case(
            "nan, error_if_nonfinite=True",
            "not finite",
            {"grads": undefined, "max_norm": 1.0, "refuses": True, **refusing},
        ),
        case("inf, error_if_nonfinite=False", "not finite", {"grads": infinite, "max_norm": 1.0}),
        case("float32", "norm and factor", _call(_gradients(rng), below), dtype="float32"),
        *(
            ()
            if hidden
            else (case("another device", "norm and factor", _call(_gradients(rng), below), device=PRETEND),)
        ),
        *_step_cases(rng, hidden),
    )


#: Twice that overflows: the error of such a target has an infinite gradient, and no nan comes of it.
_OVERFLOWS = 1.5e308


def _micro_batches(rng: Generator, count: int, size: int, outlier: float = 1.0) -> list[dict[str, Array]]:
    parts = [{"X": rng.standard_normal((size, 4)), "y": rng.standard_normal((size, 2))} for _ in range(count)]
    if outlier == _OVERFLOWS:
        parts[-1]["y"][0, 1] = outlier
    else:
        parts[0]["y"] *= outlier
    return parts


def _step_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    count, size = (int(rng.integers(2, 5)), int(rng.integers(2, 6))) if hidden else (3, 4)
    shapes = ((5, 4), (5,), (2, 5), (2,))

    def case(name: str, *outliers: float, **more: Any) -> Case:
        inputs = {
            "weights": [0.5 * weights(rng, shape) for shape in shapes],
            "steps": [_micro_batches(rng, count, size, outlier) for outlier in outliers],
            "lr": rounded(rng.uniform(0.05, 0.15)),
            "max_norm": rounded(rng.uniform(0.4, 0.8)),
            **more,
        }
        return probe_case(name, "a clipped step", "clipped_step", inputs, hidden=hidden, tolerance=_CLIP_TOLERANCE)

    scale = float(2 ** int(rng.integers(5, 12)))
    return (
        case("four steps, one with an outlier", 1.0, 30.0, 1.0, 0.2),
        case("loss scaled", 1.0, 30.0, 1.0, scale=scale),
        case("loss scaled, limit not reached", 1.0, 1.0, scale=scale, max_norm=1000.0),
        case("a gradient from before", 1.0, 1.0, stale=True, max_norm=1000.0),
        case("a step whose gradient is nan", 1.0, float("inf"), 1.0, scale=scale),
        case("a step whose gradient is inf", 1.0, _OVERFLOWS, 1.0),
        case("a frozen layer", 1.0, 1.0, frozen=[0, 1], scale=scale),
    )


CLIP = CodeExercise(
    "capstone.clip",
    "Clip the gradient, at the right moment",
    "function",
    NOTEBOOK,
    {"norm and factor": 1.5, "edge cases": 1.0, "not finite": 0.5, "a clipped step": 2.0},
    difficulty=2,
    minutes=25,
    objects=("clip_gradients", "clipped_step"),
    visible=lambda: _clip_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _clip_cases(generator(seed), hidden=True),
    reference=lambda: (bank.torch_clip, bank.reference_step),
    compares="norms, gradients and weights with torch.nn.utils.clip_grad_norm_",
    misconceptions=recognise(bank.CLIP, bank.CLIP, bank.clip_objects),
    hints=(
        "There is one norm for the whole model, and one factor for all gradients. The factor is never larger than 1. In a step "
        "ask of every operation whether the gradient is complete by then, and in its true units.",
        "norm = √(Σ‖g_i‖²) over the parameters whose .grad is not None; factor = min(1, max_norm / (norm + 1e-6)); multiply "
        "each .grad in place. A step: zero_grad; backward of scale·loss/K for each micro-batch; divide by scale; clip; step, "
        "if the norm is finite.",
        "params = [params] if isinstance(params, torch.Tensor) else list(params); grads = [p.grad for p in params if p.grad is "
        "not None]; norm = torch.stack([g.norm() for g in grads]).norm(); for g in grads: g.mul_((max_norm / (norm + "
        "1e-6)).clamp(max=1)).",
    ),
    forbidden=CLIPPING,
)


# --- capstone.early_stopping ----------------------------------------------------------------------------------------


def _noisy(rng: Generator, steps: int, floor: float = 0.3) -> list[float]:
    """Losses that fall, wobble, and rise again."""
    t = np.arange(steps)
    curve = floor + np.exp(-t / 3) + 0.02 * np.maximum(t - 8, 0) + 0.12 * rng.standard_normal(steps)
    return [rounded(x) for x in curve]


#: An improvement, small ones that add up, failures in between, an equal loss; multiplied and shifted at random.
_PATTERN = (1.0, 0.8, 0.83, 0.79, 0.79, 0.6, 0.58, 0.57, 0.56, 0.55, 0.54, 0.53, 0.52, 0.5, 0.49)


def _pattern(rng: Generator) -> list[float]:
    factor, shift = rng.uniform(0.9, 1.1), rng.uniform(0.5, 2.0)
    return [float(np.round(factor * x + shift, 4)) for x in _PATTERN]


def _stopping_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, losses: list[Any], patience: int, **more: Any) -> Case:
        options = {"patience": patience, **more.pop("options", {})}
        moving = {key: [weights(rng, (3,)) for _ in losses] for key in ("weights", "buffers")}
        inputs = {"losses": losses, "options": options, **moving, **more}
        return probe_case(name, group, "early_stopping", inputs, hidden=hidden)

    patience = int(rng.integers(2, 5)) if hidden else 3
    delta = {"min_delta": 0.05}
    nan = "nan"  # JSON has no number for it
    base = rounded(rng.uniform(0.5, 2.0))
    dip, rise = rounded(base * 0.7), rounded(base * 1.2)
    return (
        case("a noisy curve", "stopping rule", [*_noisy(rng, 12), *[9.0] * 6], patience),
        case(
            "failures between improvements", "stopping rule", [base, rise, dip, rise, dip - 0.1, *[rise] * 6], patience
        ),
        case("min_delta", "stopping rule", [*_pattern(rng), *[9.0] * 5], patience, options=delta),
        case("small improvements", "stopping rule", [base - 0.02 * i for i in range(12)], patience, options=delta),
        case("a plateau", "stopping rule", [rise, base, *[base] * 6], patience),
        case(
            "a zigzag", "stopping rule", [base, rise, base + 0.02, rise, base + 0.01, rise, base + 0.03, rise, rise], 4
        ),
        case("best weights come back", "best weights", [rise, base, dip, *[rise] * 6], patience),
        case(
            "restore_best=False",
            "best weights",
            [rise, base, dip, *[rise] * 6],
            patience,
            options={"restore_best": False},
        ),
        case(
            "restore_best=False, then restore()",
            "best weights",
            [rise, base, dip, *[rise] * 6],
            patience,
            options={"restore_best": False},
            restore=True,
        ),
        case("restore(), training goes on, restore()", "best weights", [rise, dip, *[rise] * 6], 5, restores=[3, 5]),
        case("restore() at the end", "best weights", [rise, dip, base], 5, restore=True),
        case("losses that are nan", "edge cases", [base, nan, dip, nan, dip - 0.1, *[nan] * 6], patience),
        case("nan from the start, then restore()", "edge cases", [nan, nan], 5, restore=True),
        case(
            "another object at the same time", "edge cases", [base, rise, rise, dip, rise, rise], 3, others=[1.0, 2.0]
        ),
        case("patience=1", "edge cases", [rise, base, dip, base, base], 1),
    )


STOPPING = CodeExercise(
    "capstone.early_stopping",
    "Stop in time, and go back to the best",
    "function",
    NOTEBOOK,
    {"stopping rule": 2.0, "best weights": 2.0, "edge cases": 1.0},
    difficulty=2,
    minutes=20,
    objects=("EarlyStopping",),
    visible=lambda: _stopping_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _stopping_cases(generator(seed), hidden=True),
    reference=lambda: bank.stopping_objects({}),
    compares="every answer, the best loss and the model after every update with the course's own",
    misconceptions=recognise(bank.STOPPING, bank.STOPPING, bank.stopping_objects),
    hints=(
        "Two questions in every update: is this loss an improvement on the best one, and if not, how many failures in a row is "
        "that? The weights of the best update have to survive the training that goes on.",
        "improved = loss < self.best - self.min_delta. If so: set best and best_step, take a snapshot, failures = 0. Otherwise "
        "failures += 1. Stop when failures >= patience, and restore first if restore_best.",
        "self.snapshot = copy.deepcopy(self.model.state_dict()); restore: if self.snapshot is not None: "
        "self.model.load_state_dict(self.snapshot).",
    ),
)


# --- capstone.resume ------------------------------------------------------------------------------------------------


def _training(rng: Generator, hidden: bool, every: int) -> dict[str, Any]:
    """A small classification; its epochs are shorter than the time between checkpoints, and do not divide it."""
    n, batch = (int(rng.integers(13, 19)), 4) if hidden else (14, 4)
    steps = int(rng.choice([16, 17, 18])) if hidden else 16
    hidden_units = 6
    shapes = ((hidden_units, 5), (hidden_units,), (3, hidden_units), (3,))
    peak = rounded(rng.uniform(0.1, 0.2))
    lrs = [rounded(peak * min((t + 1) / 4, 1 - t / (steps + 4))) for t in range(steps)]
    return {
        "X": rng.standard_normal((n, 5)),
        "y": rng.integers(0, 3, n),
        "weights": [0.5 * weights(rng, shape) for shape in shapes],
        "dropout": 0.3,
        "momentum": 0.9,
        "lrs": lrs,
        "steps": steps,
        "batch_size": batch,
        "every": every,
        "seed": int(rng.integers(1, 10_000)),
    }


def _resume_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def at(low: int, high: int, usual: int) -> int:
        return int(rng.integers(low, high + 1)) if hidden else usual

    every = int(rng.choice([5, 7])) if hidden else 5

    def saved_once(usual: int) -> int:
        """A step between the first checkpoint and the second: what was never saved cannot be resumed."""
        return at(every + 1, every + 4, usual)

    def case(name: str, group: str, *deaths: dict[str, Any], **more: Any) -> Case:
        inputs = {**_training(rng, hidden, every), "deaths": list(deaths), **more}
        lost = inputs["every"] * sum(death["how"] != "end" for death in deaths)
        says = (
            "In all its lives the program computed {count} steps; {at_most} are enough: those of the training, and at most "
            "`every` again for each kill."
        )
        limits = (Limit(STEPS, inputs["steps"] + lost, says),) if deaths else ()
        # a finished run that is started again owes its weights and state, not what nobody will draw any more
        killed = any(death["how"] not in ("end", "copy") for death in deaths)
        same = [what for what in ARRAYS if killed or what not in DRAWN]
        return probe_case(
            name,
            group,
            "killed_training",
            inputs,
            hidden=hidden,
            limits=limits,
            own=tuple(f"{kind} {what}" for kind in (UNINTERRUPTED, RESUMED) for what in DRAWN),
            identical=tuple((f"{RESUMED} {what}", f"{UNINTERRUPTED} {what}") for what in same) if deaths else (),
        )

    size = at(300, 3000, 1000)
    return (
        case("never interrupted", "training and checkpoints"),
        case(
            "killed twice after a step",
            "killed after a step",
            {"how": "step", "at": saved_once(7)},
            {"how": "step", "at": at(6, 9, 8)},
        ),
        case(
            "killed before the first checkpoint",
            "killed after a step",
            {"how": "step", "at": at(1, 4, 3)},
            same_start=True,
        ),
        case(
            "killed while it writes",
            "killed while it writes",
            {"how": "write", "at": saved_once(6), "bytes": size},
            {"how": "write", "at": at(1, 4, 3), "bytes": 2 * size},
        ),
        case(
            "killed between operations on files",
            "killed while it writes",
            {"how": "move", "at": saved_once(6), "number": 1},
            {"how": "move", "at": at(1, 4, 1), "number": 2},
        ),
        case(
            "killed while it writes to checkpoint.pt itself",
            "killed while it writes",
            {"how": "copy", "at": saved_once(6), "bytes": size},
        ),
        case("started again after the end", "training and checkpoints", {"how": "end"}),
    )


RESUME = CodeExercise(
    "capstone.resume",
    "Survive kill -9",
    "experiment",
    NOTEBOOK,
    {"training and checkpoints": 2.0, "killed after a step": 3.0, "killed while it writes": 3.0},
    difficulty=3,
    minutes=40,
    objects=("train",),
    visible=lambda: _resume_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _resume_cases(generator(seed), hidden=True),
    reference=lambda: runs.resume_objects({}),
    compares="the killed and resumed training bit by bit with the uninterrupted one, and that with the course's own",
    misconceptions=recognise(runs.RESUME, runs.RESUME, runs.resume_objects),
    hints=(
        "Ask what the next step depends on: all of that is the checkpoint. And ask at which moment the file under its final "
        "name could be incomplete: there must be none.",
        "Save in one file: the number of steps done, model.state_dict(), opt.state_dict(), generator.get_state(), "
        "torch.get_rng_state(), and the permutation of the running epoch. Write it to folder/'checkpoint.tmp', then "
        "os.replace it onto folder/'checkpoint.pt'. At the start, if that file exists, put all of it back and go on from its "
        "step.",
        "for t in range(start, steps): k = t % (len(X) // batch_size); if k == 0: order = torch.randperm(len(X), "
        "generator=generator); rows = order[k * batch_size:(k + 1) * batch_size]; set the lr, zero_grad, backward, step; if (t "
        "+ 1) % every == 0 or t + 1 == steps: save with step = t + 1.",
    ),
)


# --- capstone.fast_loop ---------------------------------------------------------------------------------------------

_FEW = 4  # arrays of the small network: two layers
_LAYERS = 8
_WIDTH = 4


def _loop_inputs(rng: Generator, steps: int, log_every: int, max_norm: float, **more: Any) -> dict[str, Any]:
    shapes = [shape for _ in range(_LAYERS) for shape in ((_WIDTH, _WIDTH), (_WIDTH,))]
    sizes = 10.0 ** rng.uniform(-0.3, 0.8, steps)
    return {
        "weights": [0.4 * weights(rng, shape) for shape in shapes],
        "few": _FEW,
        "batches": [{"X": rng.standard_normal((6, _WIDTH)), "y": s * rng.standard_normal((6, _WIDTH))} for s in sizes],
        "lr": rounded(rng.uniform(0.02, 0.05)),
        "max_norm": max_norm,
        "log_every": log_every,
        **more,
    }


def _loop_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def case(name: str, group: str, steps: int, log_every: int, max_norm: float, *limits: Limit, **more: Any) -> Case:
        inputs = _loop_inputs(rng, steps, log_every, max_norm, **more)
        return probe_case(name, group, "fast_loop", inputs, hidden=hidden, limits=limits, tolerance=_CLIP_TOLERANCE)

    every = int(rng.integers(2, 5)) if hidden else 3
    steps = 3 * every + int(rng.integers(1, every)) if hidden else 11
    counted = {"counted": True, "dtype": "float64"}
    waits = Limit(
        SYNCS,
        steps // every,
        "Python waited for the device {count} times; {at_most} times is allowed, once per entry of the log.",
    )
    mixes = Limit(MIXES, 0, "{count} operations mix devices: make new tensors where the loss lives.")
    launches = Limit(
        OVERHEAD,
        1.5,
        "Sixteen parameters take {count} times the launches of four (forward and backward left out); at most {at_most} times "
        "is allowed. Use one torch._foreach_ call for all of them.",
    )
    return (
        case("clipped steps", "values", steps, every, 0.3),
        case("a limit that is seldom reached", "values", steps, every, 3.0),
        case("log_every=1", "values", 4, 1, 0.3),
        case("a generator of batches", "values", steps, every, 0.3, as_generator=True),
        case("a frozen layer", "values", steps, every, 0.3, frozen=[0, 1]),
        case("fewer steps than log_every", "values", 6, 8, 0.3),
        case("waiting for the device", "host synchronisations", steps, every, 0.3, waits, mixes, **counted),
        case("four parameters against sixteen", "launches", steps, every, 0.3, launches, mixes, **counted),
    )


LOOP = CodeExercise(
    "capstone.fast_loop",
    "A loop that does not wait",
    "launches",
    NOTEBOOK,
    {"values": 2.0, "host synchronisations": 1.5, "launches": 1.5},
    difficulty=3,
    minutes=25,
    objects=("train_loop",),
    visible=lambda: _loop_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _loop_cases(generator(seed), hidden=True),
    reference=lambda: loops.loop_objects({}),
    compares="weights and log with the course's own loop; waits and launches with their limits",
    misconceptions=recognise(loops.LOOP, loops.LOOP, loops.loop_objects),
    hints=(
        "Python may look at a number on the device once per log entry, and nowhere else. Everything that decides something "
        "per step has to be arithmetic on tensors.",
        "Keep a running sum of loss.detach() on the device, and fetch sum / log_every when an entry is due. Clip without `if`: "
        "multiply all gradients by clamp(max_norm / (norm + 1e-6), max=1) with torch._foreach_mul_.",
        "grads = [p.grad for p in model.parameters() if p.grad is not None]; norm = "
        "torch.stack(torch._foreach_norm(grads)).norm(); torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1)); "
        "total = loss.detach() if t % log_every == 1 % log_every else total + "
        "loss.detach(); if t % log_every == 0: log.append((t, (total / log_every).item())).",
    ),
    forbidden=CLIPPING,
)


# --- capstone.accuracy ----------------------------------------------------------------------------------------------

#: Thresholds on the digits (visible) and on MNIST-1D (hidden), by group.
THRESHOLDS = {"learns": (0.85, 0.36), "is tuned": (0.92, 0.41), "is tuned well": (0.95, 0.53)}
BUDGETS = (200, 600)
TWICE = 40
GUESSING = 0.2


def _raw(rng: Generator, x: Array) -> Array:
    """Numbers as a sensor would give them: not around 0."""
    return np.asarray(x * rng.uniform(0.3, 0.7) + rng.uniform(2.5, 3.5), dtype=np.float32)


def _accuracy_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    from utils import data  # the only exercise that needs real data: `import autograder` stays quick

    seed = int(rng.integers(2**31))
    split = data.mnist1d(2000, 1000, seed=seed) if hidden else data.digits()
    gauge = int(rng.integers(2**31))
    x = _raw(generator(gauge), np.concatenate([split.train_x.numpy(), split.test_x.numpy()]))
    train_x, test_x = x[: len(split.train_x)], x[len(split.train_x) :]
    inputs = {
        "train_x": train_x,
        "train_y": split.train_y.numpy(),
        "test_x": np.concatenate([test_x, test_x[:TWICE]]),
        "budget": BUDGETS[hidden],
        "seed": int(rng.integers(2**31)),
        "twice": TWICE,
    }
    data_name = "MNIST-1D" if hidden else "digits"
    return tuple(
        probe_case(
            f"{data_name}, {100 * both[hidden]:.0f} % right",
            group,
            "within_budget",
            inputs,
            hidden=hidden,
            tolerance=10.0,
            own=(PREDICTIONS,),
            limits=(Limit(EVALUATIONS, BUDGETS[hidden], "{count} gradients were asked for; the budget is {at_most}."),),
            scores=(
                Score(
                    PREDICTIONS,
                    split.test_y.numpy(),
                    both[hidden],
                    "{share} of the predictions are right; at least {at_least} are asked for.",
                    guessing=GUESSING,
                    symptom=SYMPTOM,
                ),
            ),
        )
        for group, both in THRESHOLDS.items()
    )


ACCURACY = CodeExercise(
    "capstone.accuracy",
    "The whole program, within a budget",
    "experiment",
    NOTEBOOK,
    {"learns": 2.0, "is tuned": 2.5, "is tuned well": 2.5},
    difficulty=3,
    minutes=60,
    objects=("train_and_predict",),
    visible=lambda: _accuracy_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _accuracy_cases(generator(seed), hidden=True),
    reference=lambda: runs.accuracy_objects({"how": "", "level": 1.0}),
    compares="the predictions with labels that the program has not seen, and its gradients with the budget",
    misconceptions=recognise(runs.ACCURACY, runs.ACCURACY, runs.accuracy_objects),
    hints=(
        "Begin with what costs nothing: the inputs' scale. Then the learning rate, over two decades, and its schedule. The "
        "size of the model comes last.",
        "Normalise by the mean and standard deviation of train_x. AdamW with a peak lr near 0.01 to 0.03, 10 % of the budget "
        "as warmup, cosine to 0, batches of 128. Call model.eval() before you predict. Hold 10 % of train_x back while you "
        "tune, and use MNIST-1D from utils.data for practice.",
        "In MNIST-1D the strokes are shifted at random, which convolutions do not mind: three Conv1d layers with 32 channels, "
        "kernel sizes 5, 3, 3, stride 2 and ReLU, then Flatten, Dropout(0.2) and Linear. x[:, None, :] makes the channel.",
    ),
    forbidden=OPTIMIZERS,
)


# --- questions ------------------------------------------------------------------------------------------------------

_quiz = partial(quiz, NOTEBOOK, "capstone")

QUIZZES = (
    _quiz(
        1,
        "Two gradients, one norm",
        Part(
            "norm of the first gradient after clipping",
            0.6,
            {
                0.6: "Right. The norm of both together is √(3² + 4²) = 5, the factor 1/5, and 3/5 = 0.6.",
                1.0: "That is clipping each gradient by its own norm. The limit holds for all of them together.",
                3.0: "That is the gradient as it was. The norm of all, 5, is above the limit.",
                0.42857142857: "You added the norms: 3/(3 + 4). The squares are added.",
                0.12: "You divided by the squared norm, 25.",
                0.8: "That is the second gradient's norm after clipping.",
                "other": "Find the norm of both gradients as one long vector, then the factor that brings it down to 1.",
            },
            tolerance=0.01,
        ),
    ),
    _quiz(
        2,
        "The order of a step",
        Part(
            "order",
            "c",
            {
                "a": "Clipped after every micro-batch, an outlier is cut down before the others are added: the sum is another "
                "vector than the clipped gradient of the whole minibatch.",
                "b": "Before unscaling the gradient is 1024 times too large. Clipped to max_norm there, and then divided by "
                "1024, hardly anything is left of it.",
                "c": "Right. The gradient has to be complete, and in its own units, before its norm means anything.",
                "d": "After the step the gradient has been used already.",
            },
        ),
    ),
    _quiz(
        3,
        "What dropout does to the scale",
        Part(
            "expected activation without the factor",
            "b",
            {
                "a": "Without the factor 1/(1 − p) the expectation is (1 − p)·h: a share p of the time the unit gives 0.",
                "b": "Right. With p = 0.2 the layer gives 0.8·h on average in training, and h in evaluation, where nothing is "
                "dropped: everything behind it is 1.25 times larger than it was trained for.",
                "c": "That is the variance you think of: it changes too, but so does the mean, from h to 0.8·h.",
                "d": "The other way round: in training units are dropped, so the mean is lower there.",
            },
        ),
    ),
    _quiz(
        4,
        "When does it stop?",
        Part(
            "update of the stop",
            6.0,
            {
                6.0: "Right. Best is 0.70 at update 3; 0.68 is lower, but not by 0.05. Updates 4, 5, 6 fail: three in a row.",
                7.0: "Did 0.68 count as an improvement? It would have to be below 0.70 − 0.05 = 0.65.",
                5.0: "Failures start with update 4: the best loss is that of update 3.",
                8.0: "There are three failures in a row at update 6: 0.74, 0.68 (too little) and 0.71.",
                3.0: "That is the update whose weights are restored. The stop comes three failures later.",
                "other": "Go through the losses one by one: which are below the best so far minus 0.05?",
            },
        ),
        difficulty=2,
    ),
    _quiz(
        5,
        "What the best validation loss tells",
        Part(
            "the number to report",
            "d",
            {
                "a": "It is the smallest of 40 noisy numbers, and chosen because it was small: it looks better than the "
                "model is.",
                "b": "The training loss is lower still: the weights were fitted to those examples.",
                "c": "The mean over updates describes the training, not the model that you kept.",
                "d": "Right. Nothing was chosen by the test data, so its estimate is not biased by the choice.",
            },
        ),
    ),
    _quiz(
        6,
        "A fair comparison?",
        Part(
            "what follows",
            "b",
            {
                "a": "A's best of 30 tries is compared with B's best of 3: a part of the lead is the luck of the larger number "
                "of tries.",
                "b": "Right. Same number of tries for each, chosen on validation data, then fresh seeds for the comparison.",
                "c": "The intervals do not overlap, true; but they are intervals for two settings that were chosen by very "
                "different effort. They say nothing about the optimizers.",
                "d": "More seeds make the intervals shorter. The unequal tuning stays.",
            },
        ),
    ),
    _quiz(
        7,
        "How often to write a checkpoint",
        Part(
            "time between two checkpoints",
            "b",
            {
                "a": "A kill costs half a minute then, but the checkpoints cost 20 seconds of every 80: more than 30 % on top "
                "of the training.",
                "b": "Right. Checkpoints add 20 s to 600 s, 3.3 %, and a kill costs half an interval on average, 5 of 240 "
                "minutes, 2.1 %. The sum is smallest near √(2 · 20 s · 4 h) = 12.6 minutes (Young 1974), and flat around it.",
                "c": "The checkpoints cost next to nothing, 0.6 %. But a kill costs half an hour on average, 12.5 % of four "
                "hours.",
                "d": "Many runs would never get to a checkpoint, and all of their work is lost. The training takes 1.7 times "
                "as long.",
            },
        ),
        difficulty=2,
    ),
    _quiz(
        8,
        "What the step waits for",
        Part(
            "what helps",
            "d",
            {
                "a": "A wait costs Python its lead, and here it has none: 1500 · 8 µs = 12 ms are launches, and the device is "
                "idle for more than half of them.",
                "b": "The device is done after 5 ms and waits for Python. Done after 2.5 ms it would wait longer.",
                "c": "That halves the work of the device, which is not what the step waits for. Nor does it spare a launch. "
                "The other way round, a larger batch costs no time here.",
                "d": "Right. 1500 · 8 µs = 12 ms: the step takes as long as Python needs to launch it. Without the 900 that "
                "go with the parameters, (9.6) with k = 0, some 600 are left: 4.8 ms, and now Python waits for the device.",
            },
        ),
        difficulty=2,
    ),
)

REPORT = WrittenExercise(
    "capstone.w1", "A page about your training", "written", NOTEBOOK, {"report": 4.0}, difficulty=2, minutes=30
)

EXERCISES: tuple[Exercise, ...] = (
    QUIZZES[0],
    QUIZZES[1],
    CLIP,
    QUIZZES[2],
    QUIZZES[3],
    STOPPING,
    QUIZZES[4],
    RESUME,
    QUIZZES[6],
    LOOP,
    QUIZZES[7],
    ACCURACY,
    QUIZZES[5],
    REPORT,
)
