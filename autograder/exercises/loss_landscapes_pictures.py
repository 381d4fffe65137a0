"""The exercises on pictures of `07_loss_landscapes`, and on what follows: lines, sharpness, initial weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autograder.collectors.common import PRETEND
from autograder.collectors.launches import MIXES, SYNCS
from autograder.collectors.loss_landscapes import CALLS_PER_CHUNK, GRID_PEAK, PER_CHUNK
from autograder.evidence import Array
from autograder.exercise import Case, CodeExercise, Limit
from autograder.exercises.loss_landscapes_curvature import NOTEBOOK, VISIBLE_SEED, case_of
from autograder.misconceptions import landscape_pictures as bank
from autograder.misconceptions import recognise
from autograder.probes import generator, rounded, weights

Generator = np.random.Generator
Shape = tuple[int, ...]

# --- landscape.filter_normalize -------------------------------------------------------------------------------------


def _directions(rng: Generator, shapes: Sequence[Shape], empty: bool = False, **more: Any) -> dict[str, Any]:
    """Weights whose filters differ in size by a factor of ten, and a random direction; `empty`: with a filter of zeros."""
    w, d = [], []
    for shape in shapes:
        sizes = np.logspace(-0.5, 0.5, shape[0] if shape else 1).reshape((-1,) + (1,) * (len(shape) - 1))
        w.append(np.asarray(weights(rng, shape) * (rng.permutation(sizes) if shape else 1.0)))
        d.append(np.asarray(rng.standard_normal(shape)))
    if empty:
        d[0][1] = 0.0
    return {"direction": d, "weights": w, **more}


def _normalize_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def size(low: int) -> int:
        return int(rng.integers(low, low + 3)) if hidden else low

    def case(title: str, group: str, inputs: Mapping[str, Any]) -> Case:
        return case_of(title, group, "normalised", inputs, hidden)

    linear: list[Shape] = [(size(4), size(5)), (4,), (size(3), 4), (3,)]
    conv: list[Shape] = [(size(3), size(2), 3, 3), (3,), (3,), (4, size(3), 2, 1), (5, 4)]
    return (
        case("linear layers", "filters", _directions(rng, [shape for shape in linear if len(shape) > 1])),
        case("convolutions", "filters", _directions(rng, [shape for shape in conv if len(shape) > 1])),
        case("biases and norm layers", "biases", _directions(rng, [*linear, *conv, ()])),
        case("a filter of zeros", "edge cases", _directions(rng, [(3, 4), (2, 3, 2, 2)], empty=True)),
        case("float32", "edge cases", _directions(rng, linear, dtype="float32")),
    )


NORMALIZE = CodeExercise(
    "landscape.filter_normalize",
    "Directions that know the filters' size",
    "function",
    NOTEBOOK,
    {"filters": 2.0, "biases": 1.0, "edge cases": 1.0},
    difficulty=2,
    minutes=15,
    objects=("filter_normalize",),
    visible=lambda: _normalize_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _normalize_cases(generator(seed), hidden=True),
    reference=lambda: (bank.normalize_by_formula,),
    compares="every tensor of the direction with (7.10), filter by filter",
    misconceptions=recognise(bank.NORMALIZE_ROWS, bank.NORMALIZE_ROWS, bank.normalize_function),
    combine=bank.normalize_function,
    hints=(
        "Walk through the pairs (d, w). Fewer than two dimensions: zeros. Else each filter, an entry of dimension "
        "0, gets the length of the weight's filter.",
        "Norms of all filters at once: t.flatten(1).norm(dim=1). Bring them into the shape (filters, 1, …, 1) "
        "before you multiply, and keep 0/0 out.",
        "a = d.flatten(1).norm(dim=1); b = w.flatten(1).norm(dim=1); ratio = torch.where(a > 0, b / a, 0.0); d * "
        "ratio.view(-1, *[1] * (d.dim() - 1)).",
    ),
)


# --- landscape.surface ----------------------------------------------------------------------------------------------

SURFACE_LIMITS = (
    Limit(MIXES, 0, "Operations that mix devices: {count}. Make new tensors on w's device: device=w.device."),
    Limit(
        PER_CHUNK,
        60,
        "{count} launches for every chunk of chunk_size points; {at_most} are enough, however many points a chunk "
        "has. A loop launches the whole loss once per point, vmap once per chunk.",
    ),
    Limit(
        CALLS_PER_CHUNK,
        1.5,
        "{count} calls of loss_fn for every chunk of chunk_size points; vmap makes one. Evaluate chunk_size points "
        "together, no fewer.",
    ),
    Limit(
        SYNCS,
        0,
        "Host synchronisations: {count}; none is allowed. `.item()`, `float(…)` and filling a Python list with "
        "losses wait for the device; cat or stack the tensors.",
    ),
)
GRID_LIMIT = Limit(
    GRID_PEAK,
    1.8,
    "The grid takes {count} times the memory of a single chunk; at most {at_most}. Only chunk_size points may exist "
    "at a time: make w + α·d1 + β·d2 inside the chunk.",
)


def _grid(
    rng: Generator, rows: int, columns: int, chunk_size: int, sizes: Sequence[int] = (5, 6, 3), **more: Any
) -> dict[str, Any]:
    inputs, hidden, outputs = sizes
    dim, count = inputs * hidden + hidden + hidden * outputs, 8
    batches = [[rng.standard_normal((count, inputs)), rng.integers(0, outputs, count)] for _ in range(3)]
    return {
        "sizes": list(sizes),
        "w": rng.standard_normal(dim),
        "d1": rng.standard_normal(dim),
        "d2": rng.standard_normal(dim),
        "alphas": np.linspace(-1.0, 1.2, rows),
        "betas": np.linspace(-0.7, 0.9, columns),
        "batches": batches,
        "chunk_size": chunk_size,
        **more,
    }


def _surface_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def number(low: int, high: int) -> int:
        return int(rng.integers(low, high)) if hidden else low

    def case(title: str, group: str, inputs: Mapping[str, Any], *limits: Limit) -> Case:
        return case_of(title, group, "loss_grid", inputs, hidden, limits=limits)

    rows, columns = number(4, 7), number(7, 10)
    wide = (16, 30, 4)  # weights enough to outweigh a grid of numbers
    counted = _grid(rng, 6, 32, 16 + number(0, 9), wide, device=PRETEND)
    return (
        case("a grid in chunks", "values", _grid(rng, rows, columns, number(5, 9))),
        case("chunks of one point, and one chunk", "values", _grid(rng, 3, 4, 1)),
        case("a chunk larger than the grid", "values", _grid(rng, 3, 3, 50)),
        case("float32", "values", _grid(rng, 4, 3, 5, dtype="float32")),
        case("launches, counted", "launches", counted, *SURFACE_LIMITS),
        case(
            "long chunks, counted", "launches", _grid(rng, 12, 12, 48 + number(0, 12), device=PRETEND), *SURFACE_LIMITS
        ),
        case("memory, counted", "memory", {**counted, "chunk_size": 16}, GRID_LIMIT),
    )


SURFACE = CodeExercise(
    "landscape.surface",
    "A surface in chunks",
    "launches",
    NOTEBOOK,
    {"values": 2.0, "launches": 2.0, "memory": 1.0},
    difficulty=3,
    minutes=25,
    objects=("loss_surface",),
    visible=lambda: _surface_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _surface_cases(generator(seed), hidden=True),
    reference=lambda: bank.surface_function({}),
    compares="every point with a double loop, and launches and memory with the limits",
    misconceptions=recognise(bank.SURFACE_ROWS, bank.SURFACE_ROWS, bank.surface_function),
    hints=(
        "Write the loss at one point (α, β) first. vmap makes of it a function of many α and β, and works through "
        "them in chunks.",
        "torch.meshgrid(alphas, betas, indexing='ij') gives two grids of numbers: flatten them, they are small. "
        "What is large, w + α·d1 + β·d2, belongs inside the function that vmap calls. next(iter(batches)) once, "
        "before.",
        "X, y = next(iter(batches)); at = torch.func.vmap(lambda a, b: loss_fn(w + a * d1 + b * d2, X, y), "
        "chunk_size=chunk_size); a, b = torch.meshgrid(alphas, betas, indexing='ij'); return at(a.flatten(), "
        "b.flatten()).view(a.shape).",
    ),
)


# --- landscape.interpolate ------------------------------------------------------------------------------------------


def _exchanged(name: str) -> str:
    """The name that stands in its place in a state dict of another order: entries of the two norm layers."""
    layer, _, entry = name.partition(".")
    return {"norm": "norm2", "norm2": "norm"}.get(layer, layer) + "." + entry


def _ends(rng: Generator, sizes: Sequence[int], tied: bool, **more: Any) -> dict[str, Any]:
    """Two state dicts of `Normed` networks, in different orders; running statistics fit neither them nor the data."""

    def layer(inputs: int, outputs: int) -> tuple[Array, Array]:
        return rng.standard_normal((outputs, inputs)) * inputs**-0.5, 0.3 * rng.standard_normal(outputs)

    def state(batches: int, turned: bool = False) -> dict[str, Array]:
        inputs, hidden, outputs = sizes
        entries: dict[str, Array] = {}
        shared = layer(inputs, hidden)[0] if tied else None
        for name, norm, pair in (("first", "norm", (inputs, hidden)), ("second", "norm2", (hidden, hidden))):
            weight, bias = layer(*pair)
            entries |= {f"{name}.weight": weight if shared is None else shared, f"{name}.bias": bias}
            entries |= {
                f"{norm}.weight": rng.uniform(0.5, 1.5, hidden),
                f"{norm}.bias": 0.3 * rng.standard_normal(hidden),
            }
            entries[f"{norm}.running_mean"] = rng.standard_normal(hidden)
            entries[f"{norm}.running_var"] = rng.uniform(0.3, 3.0, hidden)
            entries[f"{norm}.num_batches_tracked"] = np.asarray(batches)
        weight, bias = layer(hidden, outputs)
        entries |= {"last.weight": weight, "last.bias": bias, "scale.factor": np.asarray(rng.uniform(0.5, 2.0))}
        return {_exchanged(name): entries[_exchanged(name)] for name in entries} if turned else entries

    count = 10
    return {
        "sizes": list(sizes),
        "tied": tied,
        "a": state(40),
        "b": state(70, turned=True),
        "X": 1.0 + 1.5 * rng.standard_normal((count, sizes[0])),
        "y": rng.integers(0, sizes[2], count),
        "training": True,
        **more,
    }


def _interpolate_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def alphas(*values: float) -> list[float]:
        return [rounded(v + rng.uniform(-0.08, 0.08)) if hidden and v not in (0.0, 1.0) else v for v in values]

    def case(title: str, group: str, inputs: Mapping[str, Any]) -> Case:
        return case_of(title, group, "line_between", inputs, hidden)

    sizes = (5, int(rng.integers(4, 8)) if hidden else 6, 3)
    return (
        case("between the ends", "losses", _ends(rng, sizes, False, alphas=alphas(0.0, 0.3, 0.6, 1.0))),
        case("beyond the ends", "losses", _ends(rng, sizes, False, alphas=alphas(-0.5, 0.8, 1.5), training=False)),
        case("a weight that two layers share", "shared tensors", _ends(rng, (6, 6, 3), True, alphas=alphas(0.2, 0.7))),
        case(
            "state_a is model.state_dict()",
            "shared tensors",
            _ends(rng, sizes, False, alphas=alphas(0.25, 0.5, 0.9), live=True),
        ),
    )


INTERPOLATE = CodeExercise(
    "landscape.interpolate",
    "On the line between two solutions",
    "function",
    NOTEBOOK,
    {"losses": 3.0, "shared tensors": 1.0},
    difficulty=2,
    minutes=30,
    objects=("interpolate",),
    visible=lambda: _interpolate_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _interpolate_cases(generator(seed), hidden=True),
    reference=lambda: (bank.interpolate_by_the_book,),
    compares="the loss at every α with one whose statistics are recomputed, and the model afterwards",
    misconceptions=recognise(bank.INTERPOLATE_ROWS, bank.INTERPOLATE_ROWS, bank.interpolate_function),
    combine=bank.interpolate_function,
    hints=(
        "state_a may share its tensors with the model: work on a copy of the model, and nothing has to be put back.",
        "For each α: load the mixed entries; reset_running_stats() and momentum = None in every norm layer; one "
        "pass in train mode without gradients; eval mode; the loss.",
        "net = copy.deepcopy(model); a = state_a; net.load_state_dict({k: (1 - alpha) * a[k] + alpha * state_b[k] "
        "if a[k].is_floating_point() else a[k] for k in a}); torch.optim.swa_utils.update_bn([X], net) "
        "does the statistics; net.eval(); loss_fn(net(X), y).",
    ),
)


# --- landscape.sharpness --------------------------------------------------------------------------------------------


def _sam_inputs(
    rng: Generator,
    shapes: Sequence[Shape],
    groups: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    params = [weights(rng, shape) for shape in shapes]
    return {
        "params": params,
        "curvature": [np.asarray(rng.uniform(0.3, 2.0, shape)) for shape in shapes],
        "minimum": [np.asarray(0.3 * weights(rng, shape)) for shape in shapes],
        "group_of": [i % len(groups) for i in range(len(shapes))],
        "groups": [dict(group) for group in groups],
        "options": dict(options),
        "steps": 6,
        **more,
    }


def _at_rest(inputs: dict[str, Any]) -> dict[str, Any]:
    """The start is the minimum: every gradient is exactly zero."""
    return {**inputs, "params": [np.array(m) for m in inputs["minimum"]], "steps": 3}


def _sam_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    lr = rounded(rng.uniform(0.02, 0.05)) if hidden else 0.03
    rho = rounded(rng.uniform(0.2, 0.5)) if hidden else 0.3
    mu = rounded(rng.uniform(0.7, 0.9)) if hidden else 0.8
    shapes: list[Shape] = [(4,), (2, 3), ()]

    def case(title: str, group: str, inputs: Mapping[str, Any], **more: Any) -> Case:
        return case_of(title, group, "asking_twice", inputs, hidden, **more)

    plain = {"rho": rho, "lr": lr}
    decayed = {**plain, "momentum": mu, "weight_decay": 0.3}
    two = [{"rho": rho, "lr": lr}, {"rho": rounded(rho * 0.4), "lr": rounded(lr * 0.5)}]
    return (
        case("rho = 0", "rho = 0 is SGD", _sam_inputs(rng, shapes, [{}], {"rho": 0.0, "lr": lr, "momentum": mu})),
        case("rho > 0", "sharpness", _sam_inputs(rng, shapes, [{}], plain)),
        case("around SGD with momentum and decay", "sharpness", _sam_inputs(rng, shapes, [{}], decayed)),
        case("two groups with their own rho", "groups", _sam_inputs(rng, [(4,), (3,), (2, 2)], two, {"lr": 0.01})),
        case("a parameter that is not in the loss", "edge cases", _sam_inputs(rng, shapes, [{}], plain, unused=[1])),
        case("at a critical point", "edge cases", _at_rest(_sam_inputs(rng, shapes, [{}], plain))),
        case("float32", "edge cases", _sam_inputs(rng, shapes, [{}], plain, dtype="float32")),
    )


SHARPNESS = CodeExercise(
    "landscape.sharpness",
    "Steps that look for wide minima",
    "optimizer",
    NOTEBOOK,
    {"rho = 0 is SGD": 1.0, "sharpness": 2.0, "groups": 1.0, "edge cases": 1.0},
    difficulty=2,
    minutes=25,
    objects=("SAM",),
    visible=lambda: _sam_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _sam_cases(generator(seed), hidden=True),
    reference=lambda: (bank.ReferenceSAM,),
    compares="the weights, where the second gradient is asked for, and the loss returned; with rho = 0, torch.optim.SGD",
    misconceptions=recognise(bank.SAM_ROWS, bank.SAM_ROWS, bank.sam_class),
    combine=bank.sam_class,
    hints=(
        "Four moves: ask for the gradient, go uphill, ask again, come back and let the base optimizer step.",
        "‖g‖ is taken over all parameters of all groups: the norm of the norms. Remember how far each parameter "
        "went (or where it was), and bring it back before base_optimizer.step().",
        "with torch.enable_grad(): loss = closure(). norm = torch.stack([p.grad.norm() for …]).norm(); e = p.grad * "
        "(group['rho'] / (norm + 1e-12)); p.add_(e), and keep e. closure() again. p.sub_(e). "
        "self.base_optimizer.step(). return loss.",
    ),
)


# --- landscape.init -------------------------------------------------------------------------------------------------

_INIT_NAMES = ["lecun_normal_", "xavier_normal_"]


def _init_cases(rng: Generator, hidden: bool) -> tuple[Case, ...]:
    def shape(*sizes: int) -> list[int]:
        return [size + (int(rng.integers(0, 4)) if hidden else 0) for size in sizes]

    def case(number: int, kind: str, shapes: Sequence[Sequence[int]], **more: Any) -> Case:
        seed = int(rng.integers(10, 10000)) if hidden else 10
        inputs = {"function": number, "names": _INIT_NAMES, "shapes": [list(s) for s in shapes], "seed": seed, **more}
        return case_of(f"{_INIT_NAMES[number]}, {kind}", ("LeCun", "Xavier")[number], "initialised", inputs, hidden)

    # the sizes of a shape are far apart: no two rules agree by chance
    return tuple(
        case(number, kind, shapes, **more)
        for number in (0, 1)
        for kind, shapes, more in (
            ("linear layers", (shape(3, 11), shape(17, 4), [1, 7], [6, 1]), {}),
            ("convolutions", (shape(6, 2, 3, 3), shape(3, 8, 5)), {}),
            ("float32", (shape(4, 9),), {"dtype": "float32"}),
        )
    )


INIT = CodeExercise(
    "landscape.init",
    "Weights that keep the variance",
    "function",
    NOTEBOOK,
    {"LeCun": 1.5, "Xavier": 1.5},
    difficulty=1,
    minutes=10,
    objects=tuple(_INIT_NAMES),
    visible=lambda: _init_cases(generator(VISIBLE_SEED), hidden=False),
    draw_cases=lambda seed: _init_cases(generator(seed), hidden=True),
    reference=lambda: (bank.lecun_with_torch, bank.xavier_with_torch),
    compares="every weight with torch's kaiming_normal_ (fan_in, linear) and xavier_normal_ from the same generator",
    misconceptions=recognise(bank.INIT_ROWS, bank.INIT_ROWS, bank.init_functions),
    combine=bank.init_functions,
    hints=(
        "Count how many products are summed into one output: that is fan_in. The variance of a weight is one over it.",
        "A weight has shape (outputs, inputs, kernel…): fan_in is inputs times the kernel's positions, fan_out "
        "outputs times the same. normal_ wants the standard deviation, the root of the variance.",
        "field = weight[0, 0].numel(); fan_in, fan_out = weight.size(1) * field, weight.size(0) * field; "
        "weight.normal_(0, fan_in**-0.5, generator=generator); for Xavier (2 / (fan_in + fan_out)) ** 0.5.",
    ),
    forbidden=(
        "torch.nn.init.kaiming_normal_",
        "torch.nn.init.kaiming_normal",
        "torch.nn.init.xavier_normal_",
        "torch.nn.init.xavier_normal",
    ),
)
