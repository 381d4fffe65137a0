"""What the notebook on minibatches needs beside functions and optimizers: losses, epochs, closures, micro-batches."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autograder.collectors.common import Place, check_call, place, placed, the_class, the_function
from autograder.collectors.optimizer import build
from autograder.evidence import ProtocolError, Record
from autograder.exercise import Case

if TYPE_CHECKING:
    from autograder.launches import LaunchCounter

Tensor = torch.Tensor

# --- per-example gradients ------------------------------------------------------------------------------------------

#: Loss of one example (x: (D,), y: 0-dim) by name: cases are plain data and cannot hold a function.
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "squared": lambda w, x, y: 0.5 * (x @ w - y) ** 2,
    "logistic": lambda w, x, y: torch.nn.functional.softplus(-y * (x @ w)),
    "tanh": lambda w, x, y: (torch.tanh(x @ w) - y) ** 2,
}


@placed
def per_example(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Call `per_example_gradients` once. Inputs: loss (a name of `LOSSES`), w, X, y, dtype, device."""
    inputs, name = case.inputs, "per_example_gradients"
    call = the_function(objects[0], name)
    w, X, y = (here.tensor(inputs[key], inputs.get("dtype", "float64")) for key in ("w", "X", "y"))
    before = w.clone()
    arguments = (LOSSES[inputs["loss"]], w, X, y)
    check_call(call, name, "(loss_fn, w, X, y)", *arguments)
    returned = call(*arguments)
    if returned is None:
        raise ProtocolError("The function returned None; it should return the gradients, a tensor of shape (N, D)")
    record.array("the table of gradients", returned)
    same = torch.equal(before, w) and not w.requires_grad
    record.fact("argument w", "unchanged" if same else "changed; work on a copy: w.detach().clone()")


# --- an iterator over minibatches -----------------------------------------------------------------------------------

#: The rules that a case of `batches` can look at.
LOOKS = ("coverage", "epochs", "seeds", "torch")


def batches(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Play two epochs of `minibatches` and write down what they are like.

    Inputs: n, batch_size, drop_last (None: left to the default), seed, look_at (names of `LOOKS`).
    """
    inputs = case.inputs
    call = the_function(objects[0], "minibatches")
    generator = torch.Generator().manual_seed(inputs["seed"])
    state = torch.get_rng_state()
    first, second = (_epoch(call, inputs, generator) for _ in range(2))
    touched = not torch.equal(state, torch.get_rng_state())
    looks = inputs["look_at"]
    if "coverage" in looks:
        _coverage(record, first, inputs["n"])
    if "epochs" in looks:
        ordered = [i for batch in first for i in batch] == list(range(inputs["n"]))
        record.fact("order of epoch 1", "0, 1, 2, …" if ordered else "shuffled")
        record.fact("epoch 2", _compared(first, second))
        record.fact("torch's global random state", "changed" if touched else "untouched")
    if "seeds" in looks:
        again = _epoch(call, inputs, torch.Generator().manual_seed(inputs["seed"]))
        other = _epoch(call, inputs, torch.Generator().manual_seed(inputs["seed"] + 1))
        record.fact("batches from the same seed", "the same" if again == first else "others")
        record.fact("batches from another seed", "the same" if other == first else "others")
    if "torch" in looks:
        record.fact("first batch of a new generator", ", ".join(map(str, first[0])) if first else "none")


def _epoch(call: Callable[..., Any], inputs: Mapping[str, Any], generator: torch.Generator) -> list[list[int]]:
    """One epoch as lists of indices. Raises ProtocolError for anything that is no iterable of LongTensors."""
    options = {} if inputs["drop_last"] is None else {"drop_last": inputs["drop_last"]}
    arguments = (inputs["n"], inputs["batch_size"], generator)
    check_call(call, "minibatches", "(n, batch_size, generator, drop_last=False)", *arguments, **options)
    found = call(*arguments, **options)
    if not isinstance(found, Iterable) or isinstance(found, (str, torch.Tensor)):
        raise ProtocolError(f"minibatches should yield index tensors, but it returned a {type(found).__name__}")
    most = inputs["n"] + 2  # an endless iterator ends here
    rows = []
    for batch in islice(iter(found), most):
        if not isinstance(batch, torch.Tensor) or batch.dtype != torch.int64 or batch.dim() != 1:
            kind = f"{batch.dim()}-dim {batch.dtype}" if isinstance(batch, torch.Tensor) else type(batch).__name__
            raise ProtocolError(f"A batch should be a 1-dim tensor of torch.int64, but it is: {kind}")
        rows.append(batch.tolist())
    if len(rows) == most:
        raise ProtocolError(f"One epoch gave more than {most - 1} batches: it should end when the data are used up")
    return rows


def _coverage(record: Record, rows: Sequence[Sequence[int]], n: int) -> None:
    times = Counter(i for row in rows for i in row)
    repeated = [i for i in times if times[i] > 1]
    outside = [i for i in times if not 0 <= i < n]
    record.fact("indices that come twice in an epoch", str(len(repeated)))
    record.fact("indices that never come in an epoch", str(n - len(times) + len(outside)))
    record.fact("indices that do not exist", str(len(outside)))
    sizes = sorted((len(row) for row in rows), reverse=True)
    record.fact("batch sizes, the largest first", ", ".join(map(str, sizes)) or "none")


def _compared(first: list[list[int]], second: list[list[int]]) -> str:
    if first == second:
        return "the same batches in the same order"
    if {frozenset(row) for row in first} == {frozenset(row) for row in second}:
        return "the same batches in another order"
    return "new batches"


# --- a closure ------------------------------------------------------------------------------------------------------


#: Told by the weights that the closure meets.
CALLED = "when the closure is called"


@placed
def closure(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Step with a closure that computes the gradient of ½ Σ (w − target)². Inputs: those of `optimizer`, and target."""
    cls = the_class(objects[0], "the optimizer", ["step"])
    inputs = case.inputs
    parameter, target = here.parameter(inputs["params"][0]), here.tensor(inputs["target"])
    opt = build(cls, [parameter], inputs)
    parameter.grad = torch.ones_like(parameter)  # of a step before: who uses it has called the closure too late
    losses: list[float] = []
    evaluated_at = torch.empty(0)

    def evaluate() -> Tensor:
        nonlocal evaluated_at
        evaluated_at = parameter.detach().clone()
        parameter.grad = None
        loss = 0.5 * ((parameter - target) ** 2).sum()
        losses.append(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    record.row("parameter 0", parameter)
    for number in range(1, inputs["steps"] + 1):
        losses.clear()
        start = parameter.detach().clone()
        returned = opt.step(evaluate)
        record.first("calls of the closure in a step", str(len(losses)), "1")
        if losses:
            early = torch.equal(evaluated_at, start)
            record.first(CALLED, "before the update" if early else f"after it in step {number}", "before the update")
            record.first("what step(closure) returns", _described(returned, losses[-1], number), "the closure's loss")
        record.row("parameter 0", parameter)


def _described(returned: object, loss: float, number: int) -> str:
    if returned is None:
        return "None"
    value = returned.item() if isinstance(returned, torch.Tensor) and returned.numel() == 1 else returned
    right = isinstance(value, (int, float)) and np.isclose(value, loss, rtol=1e-9)
    return "the closure's loss" if right else f"something else in step {number}"


# --- micro-batches --------------------------------------------------------------------------------------------------

PEAK = "peak bytes over those of one micro-batch"
SEEN = "examples that the model is given at once"
AT_MOST = "at most micro_batch"


def accumulate(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Call `accumulate_gradients` on a network with one hidden layer and record what `.grad` holds afterwards.

    Inputs: weights (four arrays), X, y, micro_batch, stale (is there a gradient from before?), dtype, device. On the
    pretend device the peak of new bytes is compared with that of one micro-batch's forward and backward. How many
    examples the model is given at once is noted in every case.
    """
    inputs, name = case.inputs, "accumulate_gradients"
    call = the_function(objects[0], name)
    dtype = inputs.get("dtype", "float64")
    with place(inputs.get("device", "cpu")) as here:
        model = network([here.tensor(array, dtype) for array in inputs["weights"]])
        X, y = here.tensor(inputs["X"], dtype), here.tensor(inputs["y"], dtype)
        arguments = (model, mean_relative_error, X, y, inputs["micro_batch"])
        check_call(call, name, "(model, loss_fn, X, y, micro_batch)", *arguments)
        few = inputs["micro_batch"]
        one = one_micro_batch(here.counter, model, X[:few], y[:few]) if here.counter else 0
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter) if inputs.get("stale") else None
        seen = rows_seen(model)
        with here.counter.section("all") if here.counter else contextlib.nullcontext() as section:
            call(*arguments)
        if section is not None:
            record.fact(PEAK, round(section.peak_bytes / max(one, 1), 2))
        most = max(seen, default=0)
        record.fact(SEEN, AT_MOST if most <= few else f"{most}, with micro_batch = {few}")
        for i, (parameter, array) in enumerate(zip(model.parameters(), inputs["weights"], strict=True)):
            if parameter.grad is None:
                raise ProtocolError(f"{name} should write .grad, but parameter {i}'s is None afterwards")
            record.array(f"gradient of parameter {i}", parameter.grad)
            same = np.array_equal(here.counter.fetch(parameter) if here.counter else parameter.detach().cpu(), array)
            record.first("the weights", "unchanged" if same else "changed; only .grad should change", "unchanged")


def one_micro_batch(counter: LaunchCounter, model: torch.nn.Module, X: Tensor, y: Tensor) -> int:
    """Peak of the new bytes of one forward and backward."""
    with counter.section("one micro-batch") as section:
        mean_relative_error(model(X), y).backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)
    return section.peak_bytes


def rows_seen(model: torch.nn.Module) -> list[int]:
    """A list that fills up with the numbers of rows that the model, or a layer of it, is given at once."""
    seen: list[int] = []

    def note(_: torch.nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0].numel() // given[0].shape[-1])

    for module in model.modules():
        module.register_forward_pre_hook(note)
    return seen


def network(weights: Sequence[Tensor]) -> torch.nn.Sequential:
    """Linear, tanh, linear, with these weights: (hidden, D), (hidden,), (1, hidden), (1,)."""
    hidden, inputs = weights[0].shape
    model = torch.nn.Sequential(torch.nn.Linear(inputs, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 1))
    for layer, pair in zip((model[0], model[2]), (weights[:2], weights[2:]), strict=True):
        layer.weight, layer.bias = (torch.nn.Parameter(tensor) for tensor in pair)
    return model


def mean_relative_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared errors in units of the target's size: exchanging the arguments changes it."""
    return ((outputs - targets) ** 2 / (1 + targets**2)).mean()
