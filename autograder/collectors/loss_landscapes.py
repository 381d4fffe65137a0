"""What the notebook on loss landscapes needs: losses to differentiate twice, products with a hidden matrix, grids, lines
between solutions, optimizers that ask for the gradient twice, and initial weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import UNCHANGED, Place, check_call, place, placed, the_class, the_function
from autograder.collectors.launches import MIXES, SYNCS, event_lines
from autograder.evidence import Array, ProtocolError, Record, as_array
from autograder.exercise import Case
from autograder.launches import DeviceMix, LaunchCounter

Tensor = torch.Tensor

GIVEN, GRADS, FLAGS = "params and v", ".grad of params", "requires_grad of params"
COST, PEAK = "launches over those of one gradient", "peak bytes over those of one gradient"
CALLS, START, STREAM = "products with the matrix", "start vector", "torch's global random numbers"
ANGLES, KEPT = "right angles between the vectors", "kept"
DRAWN, UNTOUCHED = "drawn with generator", "untouched"
BATCHES, ONE_BATCH = "minibatches taken", "one"
PER_CHUNK, GRID_PEAK = "launches per chunk", "peak bytes over those of a grid of one chunk"
CALLS_PER_CHUNK = "calls of loss_fn per chunk"
GRAPH, NO_GRAPH = "the result", "without a graph"
EVALUATED, AT_PARAMS = "where the loss is evaluated", "at params"
LEFT, AS_IT_WAS = "the model afterwards", "as it was"
ASKED, LOSS = "where the gradient is asked for", "what step returns"

KINDS = ("minimum", "maximum", "saddle", "degenerate")


def _list_of_tensors(returned: object, name: str, like: Sequence[Tensor], what: str) -> list[Tensor]:
    """What a function returned, as a list of tensors of the given shapes. Raises ProtocolError for anything else."""
    if not isinstance(returned, (list, tuple)):
        raise ProtocolError(f"{name} should return a list of tensors, one per parameter, not {_named(returned)}")
    if len(returned) != len(like):
        raise ProtocolError(f"{name} returned {len(returned)} tensors; there are {len(like)} parameters")
    for i, (tensor, model) in enumerate(zip(returned, like, strict=True)):
        if not isinstance(tensor, torch.Tensor):
            raise ProtocolError(f"{what} {i} of what {name} returns should be a tensor, not {_named(tensor)}")
        if tensor.shape != model.shape:
            raise ProtocolError(f"{what} {i} has shape {tuple(tensor.shape)}; it should be {tuple(model.shape)}")
        if tensor.dtype != model.dtype:
            raise ProtocolError(f"{what} {i} is {tensor.dtype}; it should be {model.dtype}, like the parameter")
    return list(returned)


def _named(value: object) -> str:
    kinds = {type(None): "None", np.ndarray: "a numpy array", torch.Tensor: "a single tensor"}
    kind = type(value).__name__
    return kinds.get(type(value), f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}")


def _graph_of(record: Record, *tensors: object) -> None:
    """Whoever prints or draws a result does not expect a graph behind it."""
    carries = any(isinstance(t, torch.Tensor) and t.requires_grad for t in tensors)
    words = "carries a graph (detach it, or compute it under torch.no_grad())"
    record.fact(GRAPH, words if carries else NO_GRAPH)


def _one_tensor(returned: object, name: str, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(returned, torch.Tensor):
        raise ProtocolError(f"{name} should return a tensor, not {_named(returned)}")
    if tuple(returned.shape) != shape:
        raise ProtocolError(f"{name} returned shape {tuple(returned.shape)}; it should be {shape}")
    return returned


def _kept(arrays: Sequence[Array], tensors: Sequence[Tensor], here: Place) -> str:
    now = [here.counter.fetch(t) if here.counter else t for t in tensors]
    same = all(np.array_equal(as_array(one), as_array(other)) for one, other in zip(now, arrays, strict=True))
    return UNCHANGED if same else "changed; make new tensors instead of writing into what you are given"


# --- curvature ------------------------------------------------------------------------------------------------------


def perceptron_loss(params: Sequence[Tensor], X: Tensor, y: Tensor, layers: int, kind: str) -> Tensor:
    """Mean loss of a tanh network.

    `params`: weight and bias of each layer; then, if any, one whose sum is added and one that is not used.
    `kind` is "cross-entropy" (y: class numbers) or "squares" (y: targets).
    """
    h = X
    for i in range(layers):
        h = h @ params[2 * i].T + params[2 * i + 1]
        h = torch.tanh(h) if i < layers - 1 else h
    loss = (h - y).square().mean() if kind == "squares" else torch.nn.functional.cross_entropy(h, y)
    return loss + params[2 * layers].sum() if len(params) > 2 * layers else loss


def curvature(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Call `hvp`. Inputs: params, v (lists of arrays), X, y, layers, kind, leaves (do the parameters require grad?), dtype,
    device. On the pretend device the cost is compared with that of one gradient.
    """
    inputs = case.inputs
    hvp = the_function(objects[0], "hvp")
    dtype = inputs.get("dtype", "float64")
    with place(inputs.get("device", "cpu")) as here:
        params = [here.tensor(array, dtype) for array in inputs["params"]]
        v = [here.tensor(array, dtype) for array in inputs["v"]]
        X = here.tensor(inputs["X"], dtype)
        y = here.tensor(inputs["y"], dtype if inputs["kind"] == "squares" else "int64")
        before = [as_array(here.counter.fetch(t) if here.counter else t) for t in (*params, *v)]
        leaves, elsewhere = bool(inputs.get("leaves")), list[bool]()
        for p in params:
            p.requires_grad_(leaves)

        def loss_fn(own: Sequence[Tensor]) -> Tensor:
            if not isinstance(own, (list, tuple)) or len(own) != len(params):
                raise ProtocolError(f"loss_fn takes the list of all {len(params)} parameters")
            if here.counter is None and _beside(own, params):
                elsewhere.append(True)
            return perceptron_loss(own, X, y, inputs["layers"], inputs["kind"])

        check_call(hvp, "hvp", "(loss_fn, params, v)", loss_fn, params, v)
        arguments = (loss_fn, params, v)
        returned = _with_cost(here.counter, hvp, *arguments, record) if here.counter else hvp(*arguments)
        record.fact(GIVEN, _kept(before, (*params, *v), here))
        flags = all(p.requires_grad == leaves for p in params)
        record.fact(
            FLAGS, UNCHANGED if flags else "changed; make copies that require gradients: p.detach().requires_grad_()"
        )
        clean = all(p.grad is None for p in params)
        record.fact(
            GRADS, "left alone" if clean else "written; torch.autograd.grad returns gradients and writes nothing"
        )
        record.fact(
            EVALUATED, "a small step away as well, as for a difference of two gradients" if elsewhere else AT_PARAMS
        )
        parts = _list_of_tensors(returned, "hvp", params, "Part")
        _graph_of(record, *parts)
        for i, tensor in enumerate(parts):
            record.array(f"H·v, part {i}", tensor)


def _beside(own: Sequence[Tensor], params: Sequence[Tensor]) -> bool:
    """Is the loss asked for a small step away from params? Tensors that torch.func has wrapped may be unreadable: no."""
    try:
        return 0 < max(float((a.detach() - p.detach()).abs().max()) for a, p in zip(own, params, strict=True)) < 0.1
    except (RuntimeError, AttributeError):
        return False


def _with_cost(
    counter: LaunchCounter, hvp: Any, loss_fn: Any, params: Sequence[Tensor], v: Sequence[Tensor], record: Record
) -> Any:
    own = [p.detach().clone().requires_grad_() for p in params]
    with counter.section("a gradient") as one:
        torch.autograd.grad(loss_fn(own), own, allow_unused=True)
    with counter.section("hvp") as section:
        returned = hvp(loss_fn, params, v)
    record.fact(COST, round(section.launches / one.launches, 2))
    record.fact(PEAK, round(section.peak_bytes / one.peak_bytes, 2))
    return returned


# --- eigenvalues ----------------------------------------------------------------------------------------------------


def eigenvalues(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Call `top_eigenvalues`. Inputs: matrix, k, steps, seed. Recorded: the values, the number of products with the matrix,
    and whether the start vector follows the generator and nothing else.
    """
    inputs, name = case.inputs, "top_eigenvalues"
    top = the_function(objects[0], name)
    H = torch.tensor(inputs["matrix"])
    dim, k = len(H), inputs["k"]
    seen: list[Tensor] = []

    def matvec(x: Tensor) -> Tensor:
        if not isinstance(x, torch.Tensor) or tuple(x.shape) != (dim,):
            raise ProtocolError(
                f"matvec takes one vector of shape ({dim},): a product with a whole matrix is not to be had"
            )
        if x.dtype != torch.float64:
            raise ProtocolError("matvec takes float64: draw the start vector with dtype=torch.float64")
        seen.append(x.detach().clone())
        return H @ x.detach()

    def run(seed: int, count: int, steps: int) -> Tensor:
        seen.clear()
        return _one_tensor(top(matvec, dim, count, steps, _generator(seed)), name, (count,))

    check_call(top, name, "(matvec, dim, k, steps, generator)", matvec, dim, k, inputs["steps"], _generator(0))
    state = torch.get_rng_state()
    found = run(inputs["seed"], k, inputs["steps"])
    record.fact(CALLS, float(len(seen)))
    record.fact(ANGLES, _angles(seen))
    record.array("the k largest eigenvalues", found)
    first = seen[0] if seen else torch.zeros(dim)
    run(inputs["seed"] + 1, 1, 2)
    other = seen[0] if seen else first
    alike = torch.equal(first / first.norm(), other / other.norm())
    record.fact(START, "the same for every generator" if alike else DRAWN)
    record.fact(STREAM, _stream(state))


def _angles(vectors: Sequence[Tensor]) -> str:
    """Do the vectors stand at right angles to each other, up to rounding?"""
    if not vectors:
        return KEPT
    Q = torch.stack([v / v.norm() for v in vectors])
    off = float((Q @ Q.T - torch.eye(len(Q))).abs().nan_to_num(1.0).max())
    return KEPT if off < 1e-6 else "lost; take out what lies along all earlier ones, twice"


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _stream(before: Tensor) -> str:
    return UNTOUCHED if torch.equal(before, torch.get_rng_state()) else "used; draw with generator=generator"


# --- critical points ------------------------------------------------------------------------------------------------


@placed
def critical_points(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Call `classify` on several Hessians. Inputs: matrices, tols, labels."""
    classify = the_function(objects[0], "classify")
    indices, kinds = [], []
    for matrix, tol, label in zip(case.inputs["matrices"], case.inputs["tols"], case.inputs["labels"], strict=True):
        H = here.tensor(matrix)
        check_call(classify, "classify", "(H, tol)", H, tol)
        kind, index = _kind_and_index(classify(H, tol))
        record.first("argument H", _kept([matrix], [H], here), UNCHANGED)
        record.fact(label, f"{kind}, index {index}")
        indices.append(float(index))
        kinds.append(float(KINDS.index(kind)))
    record.array("index", np.array(indices))
    record.array("kind", np.array(kinds))  # tells wrong variants apart; the facts are what is judged


def _kind_and_index(returned: object) -> tuple[str, int]:
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise ProtocolError(f"classify should return two things, (kind, index), not {_named(returned)}")
    kind, index = returned
    if kind not in KINDS:
        raise ProtocolError(f"kind should be one of {', '.join(map(repr, KINDS))}; it is {str(kind)[:40]!r}")
    if isinstance(index, torch.Tensor) and index.numel() != 1:
        raise ProtocolError(f"index should be one whole number; it is a tensor of shape {tuple(index.shape)}")
    if isinstance(index, float) or (isinstance(index, torch.Tensor) and index.is_floating_point()):
        raise ProtocolError("index should be a whole number, int, not a float")
    try:
        whole = int(index)
    except (TypeError, ValueError):
        raise ProtocolError(f"index should be a whole number, not {_named(index)}") from None
    return kind, whole


def random_matrices(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Call `probability_minimum` for several n. Inputs: ns, samples, seed."""
    name = "probability_minimum"
    probability = the_function(objects[0], name)
    state = torch.get_rng_state()
    for n in case.inputs["ns"]:
        arguments = (n, case.inputs["samples"], _generator(case.inputs["seed"] + n))
        check_call(probability, name, "(n, samples, generator)", *arguments)
        returned = probability(*arguments)
        if isinstance(returned, torch.Tensor) and returned.numel() != 1:
            raise ProtocolError(f"{name} returned shape {tuple(returned.shape)}; it should be one number")
        if not isinstance(returned, (torch.Tensor, float, int)):
            raise ProtocolError(f"{name} should return a number, not {_named(returned)}")
        record.array(f"share of minima, n = {n}", np.float64(float(returned)))
    record.fact(STREAM, _stream(state))


# --- pictures -------------------------------------------------------------------------------------------------------


@placed
def normalised(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Call `filter_normalize`. Inputs: direction, weights (lists of arrays), dtype."""
    name, dtype = "filter_normalize", case.inputs.get("dtype", "float64")
    function = the_function(objects[0], name)
    direction, weights = ([here.tensor(a, dtype) for a in case.inputs[key]] for key in ("direction", "weights"))
    before = [as_array(t) for t in (*direction, *weights)]
    check_call(function, name, "(direction, weights)", direction, weights)
    returned = function(direction, weights)
    record.fact("direction and weights", _kept(before, (*direction, *weights), here))
    tensors = _list_of_tensors(returned, name, weights, "Tensor")
    _graph_of(record, *tensors)
    for i, tensor in enumerate(tensors):
        record.array(f"direction of parameter {i}", tensor)


def flat_loss(sizes: Sequence[int]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A network with one hidden tanh layer whose weights are one vector: (w, X, y) → mean cross-entropy."""
    inputs, hidden, outputs = sizes

    def loss_fn(w: Tensor, X: Tensor, y: Tensor) -> Tensor:
        W, b, V = torch.split(w, [inputs * hidden, hidden, hidden * outputs])
        h = torch.tanh(X @ W.reshape(inputs, hidden) + b)
        return torch.nn.functional.cross_entropy(h @ V.reshape(hidden, outputs), y)

    return loss_fn


def loss_grid(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Call `loss_surface`. Inputs: sizes, w, d1, d2, alphas, betas, batches (list of (X, y)), chunk_size, dtype, device.

    On the pretend device it is called for a grid of one chunk as well, and the peaks are compared.
    """
    inputs, name = case.inputs, "loss_surface"
    function = the_function(objects[0], name)
    dtype = inputs.get("dtype", "float64")
    with place(inputs.get("device", "cpu")) as here:
        arrays = [inputs[key] for key in ("w", "d1", "d2")]
        fixed = [here.tensor(array, dtype) for array in arrays]
        before = [as_array(here.counter.fetch(t) if here.counter else t) for t in fixed]
        batches = [(here.tensor(X, dtype), here.tensor(y, "int64")) for X, y in inputs["batches"]]
        alphas, betas = (here.tensor(inputs[key], dtype) for key in ("alphas", "betas"))
        drawn: list[int] = []
        called: list[bool] = []
        network = flat_loss(inputs["sizes"])

        def loss_fn(w: Tensor, X: Tensor, y: Tensor) -> Tensor:
            called.append(True)
            return network(w, X, y)

        def call(rows: Tensor, columns: Tensor) -> object:
            stream = _counted(batches, drawn, len(rows) * len(columns) + 50)
            called.clear()
            arguments = (loss_fn, *fixed, rows, columns, stream, inputs["chunk_size"])
            check_call(function, name, "(loss_fn, w, d1, d2, alphas, betas, batches, chunk_size)", *arguments)
            return function(*arguments)

        if here.counter:
            returned = _count_grid(here.counter, call, alphas, betas, inputs["chunk_size"], record)
            if returned is not _CUT_SHORT:
                chunks = -(-len(alphas) * len(betas) // inputs["chunk_size"])
                record.fact(CALLS_PER_CHUNK, round(len(called) / chunks, 2))
        else:
            returned = call(alphas, betas)
        if returned is not _CUT_SHORT:
            grid = _grid_of(returned, name, len(inputs["alphas"]), len(inputs["betas"]))
            if not drawn:
                raise ProtocolError(f"{name} took no minibatch; next(iter(batches)) gives one")
            record.array("loss on the grid", grid)
        record.fact("w, d1 and d2", _kept(before, fixed, here))
        record.fact(BATCHES, ONE_BATCH if len(drawn) == 1 else str(len(drawn)))


def _grid_of(returned: object, name: str, rows: int, columns: int) -> Tensor:
    if isinstance(returned, torch.Tensor) and rows != columns:
        if returned.shape == (columns, rows):
            raise ProtocolError(f"{name} returned (columns, rows) = {(columns, rows)}: one row per alpha is asked for")
        if returned.shape == (rows, rows):
            raise ProtocolError(
                f"{name} returned as many columns as there are alphas: one column per beta is asked for"
            )
    return _one_tensor(returned, name, (rows, columns))


def _counted(batches: Sequence[Any], drawn: list[int], most: int) -> Iterator[Any]:
    """Batches without end, as a loader that starts again; whoever takes more than `most` would take all."""
    drawn.clear()
    for number, batch in enumerate(itertools.cycle(batches)):
        if number == most:
            raise ProtocolError(
                f"minibatches taken: {most}; it should be one: next(iter(batches)), and no list or loop"
            )
        drawn.append(number)
        yield batch


_CUT_SHORT = object()


def _count_grid(
    counter: LaunchCounter, call: Any, alphas: Tensor, betas: Tensor, chunk_size: int, record: Record
) -> object:
    """What the whole grid costs, beside a grid of a single chunk (one row of it)."""
    returned: object = _CUT_SHORT
    try:
        with counter.section("one chunk") as one:
            call(alphas[:1], betas[:chunk_size])
        with counter.section("grid") as grid:
            returned = call(alphas, betas)
    except DeviceMix:
        pass
    else:
        chunks = -(-len(alphas) * len(betas) // chunk_size)
        record.fact(PER_CHUNK, round(grid.launches / chunks, 1))
        record.fact(f"{PER_CHUNK}: where", [f"{grid.launches} launches for {chunks} chunks of {chunk_size} points"])
        record.fact(GRID_PEAK, round(grid.peak_bytes / max(one.peak_bytes, 1), 2))
        record.fact(SYNCS, float(len(grid.syncs)))
        record.fact(f"{SYNCS}: where", event_lines(grid.syncs))
        one = grid
    record.fact(MIXES, float(len(one.mixes)))
    record.fact(f"{MIXES}: where", event_lines(one.mixes))
    return returned


# --- a line between two solutions -----------------------------------------------------------------------------------


class Scale(torch.nn.Module):
    """Multiplies by a number that is no parameter: a floating-point buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.factor: Tensor
        self.register_buffer("factor", torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Normed(torch.nn.Module):
    """Two hidden layers with batch normalisation; `tied`: the hidden layers share their weight."""

    def __init__(self, sizes: Sequence[int], tied: bool) -> None:
        super().__init__()
        inputs, hidden, outputs = sizes
        self.first = torch.nn.Linear(inputs, hidden, dtype=torch.float64)
        self.norm = torch.nn.BatchNorm1d(hidden, dtype=torch.float64)
        self.second = torch.nn.Linear(hidden, hidden, dtype=torch.float64)
        self.norm2 = torch.nn.BatchNorm1d(hidden, dtype=torch.float64)
        self.last = torch.nn.Linear(hidden, outputs, dtype=torch.float64)
        self.scale = Scale()
        if tied:
            self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        out: Tensor = self.scale(self.last(torch.relu(self.norm2(self.second(x)))))
        return out


@placed
def line_between(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Call `interpolate`. Inputs: sizes, tied, a, b (state dicts as arrays), alphas, X, y, training (the mode the model comes
    in), live (state_a shares its tensors with the model).
    """
    inputs, name = case.inputs, "interpolate"
    function = the_function(objects[0], name)
    model = here.module(Normed(inputs["sizes"], inputs["tied"]))
    a, b = ({key: here.given(array) for key, array in inputs[end].items()} for end in ("a", "b"))
    model.load_state_dict(a)
    model.train(inputs["training"])
    given_a = model.state_dict() if inputs.get("live") else a
    start = _snapshot(model)
    X, y = here.given(inputs["X"]), here.given(inputs["y"])
    alphas = list(inputs["alphas"])
    arguments = (model, given_a, b, alphas, torch.nn.functional.cross_entropy, X, y)
    check_call(function, name, "(model, state_a, state_b, alphas, loss_fn, X, y)", *arguments)
    returned = function(*arguments)
    record.fact(LEFT, _difference(start, _snapshot(model)))
    for end, given in (("a", a), ("b", b)):
        same = all(np.array_equal(as_array(value), inputs[end][key]) for key, value in given.items())
        record.fact(f"state_{end}", UNCHANGED if same else "changed; make new tensors")
    _graph_of(record, *(returned if isinstance(returned, (list, tuple)) else (returned,)))
    if isinstance(returned, (list, tuple)):
        returned = torch.tensor([float(one) for one in returned], dtype=torch.float64)
    record.array("loss along the line", _one_tensor(returned, name, (len(alphas),)))


def _snapshot(model: torch.nn.Module) -> dict[str, Any]:
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    return {
        "weights": {key: as_array(value) for key, value in model.state_dict().items()},
        "mode": model.training,
        "momentum": [norm.momentum for norm in norms],
    }


def _difference(start: Mapping[str, Any], end: Mapping[str, Any]) -> str:
    for key, array in start["weights"].items():
        if not np.array_equal(array, end["weights"][key]):
            return f"{key} is another; put back what was there, by load_state_dict with a copy made at the start"
    if start["mode"] != end["mode"]:
        return "in another mode; call model.train(mode) with the mode it came in"
    return AS_IT_WAS if start["momentum"] == end["momentum"] else "its norm layers have another momentum"


# --- an optimizer that asks twice -----------------------------------------------------------------------------------


@placed
def asking_twice(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Train with `SAM` around SGD on Σ ½c(w − w*)² − cos 2(w − w*). Inputs: params, curvature, minimum (lists of arrays),
    group_of, groups, options, unused (numbers of parameters that are not in the loss), steps, dtype.
    """
    inputs, dtype = case.inputs, case.inputs.get("dtype", "float64")
    cls = the_class(objects[0], "SAM", ["step"])
    params = [here.parameter(array, dtype) for array in inputs["params"]]
    groups = [{"params": [], **group} for group in inputs["groups"]]
    for p, number in zip(params, inputs["group_of"], strict=True):
        groups[number]["params"].append(p)
    opt = cls(groups, torch.optim.SGD, **inputs["options"])
    targets = [(here.tensor(c, dtype), here.tensor(m, dtype))
               for c, m in zip(inputs["curvature"], inputs["minimum"], strict=True)]  # fmt: skip
    used = [i for i in range(len(params)) if i not in inputs.get("unused", ())]
    asked: list[list[Array]] = []

    def closure() -> Tensor:
        for p in params:
            p.grad = None
        asked.append([as_array(p) for p in params])
        terms = [(targets[i][0] / 2 * (d := params[i] - targets[i][1]).square() - torch.cos(2 * d)).sum() for i in used]
        loss = torch.stack(terms).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    _record_step(record, params, asked, None)
    for _ in range(inputs["steps"]):
        asked.clear()
        returned = opt.step(closure)
        if len(asked) != 2:
            raise ProtocolError(f"step called closure {len(asked)} times; it should call it twice")
        _record_step(record, params, asked, returned)


def _record_step(record: Record, params: Sequence[Tensor], asked: Sequence[Any], returned: object) -> None:
    for i, p in enumerate(params):
        record.row(f"parameter {i}", p)
        record.row(f"{ASKED} the second time, parameter {i}", asked[1][i] if asked else p)
    if asked:
        if returned is None:
            record.first(LOSS, "None", "the first loss")
        else:
            record.first(LOSS, "the first loss", "the first loss")
            record.row("the loss that step returns", _number(returned))
    else:
        record.first(LOSS, "the first loss", "the first loss")


def _number(returned: object) -> float:
    if isinstance(returned, (torch.Tensor, int, float)) and np.size(as_array(returned)) == 1:
        return float(returned)
    raise ProtocolError(f"step should return the loss, one number, not {_named(returned)}")


# --- initial weights ------------------------------------------------------------------------------------------------


def initialised(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Fill weights with one of the functions. Inputs: function (index), names, shapes, seed, dtype."""
    number = case.inputs["function"]
    name = case.inputs["names"][number]
    function = the_function(objects[number], name)
    dtype = case.inputs.get("dtype", "float64")
    state = torch.get_rng_state()
    for i, shape in enumerate(case.inputs["shapes"]):
        weight = torch.nn.Parameter(torch.full(tuple(shape), 7.0, dtype=getattr(torch, dtype)))
        pointer, generator = weight.data_ptr(), _generator(case.inputs["seed"] + i)
        check_call(function, name, "(weight, generator)", weight, generator)
        function(weight, generator)
        if weight.data_ptr() != pointer:
            raise ProtocolError(f"{name} gave the weight new storage; write into it, by normal_ or copy_")
        record.array(f"weight of shape {tuple(shape)}", weight)
    record.fact(STREAM, _stream(state))
