"""What the notebook on large batches needs beside functions and optimizers: norms per layer, and ranks that compute
one gradient together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.collectors.common import Place, check_call, place, placed, the_function
from autograder.collectors.launches import MIXES, SYNCS, event_lines
from autograder.collectors.minibatching import PEAK, mean_relative_error, network, one_micro_batch, rows_seen
from autograder.collectors.ranks import AllReduce, check_reduced, run_ranks
from autograder.evidence import ProtocolError, Record, as_array
from autograder.exercise import Case
from autograder.launches import DeviceMix, LaunchCounter
from autograder.launches.current import note, uncounted

Tensor = torch.Tensor

# --- norms per layer ------------------------------------------------------------------------------------------------


@placed
def layer_ratios(case: Case, objects: Sequence[Any], record: Record, here: Place) -> None:
    """Call `layer_ratios` on a model. Inputs: names, weights and grads (None: there is none) of its parameters, dtype.

    A name such as "fc1.weight" stands in the submodule fc1.
    """
    call = the_function(objects[0], "layer_ratios")
    dtype = case.inputs.get("dtype", "float64")
    model = torch.nn.Module()
    for name, weight, grad in zip(*(case.inputs[key] for key in ("names", "weights", "grads")), strict=True):
        layer, _, kind = name.partition(".")
        if not hasattr(model, layer):
            model.add_module(layer, torch.nn.Module())
        parameter = here.parameter(weight, dtype)
        parameter.grad = None if grad is None else here.tensor(grad, dtype)
        getattr(model, layer).register_parameter(kind, parameter)
    before = _snapshot(model)
    check_call(call, "layer_ratios", "(model)", model)
    returned = call(model)
    if not isinstance(returned, Mapping):
        kind = "None" if returned is None else f"a {type(returned).__name__}"
        raise ProtocolError(f"layer_ratios should return a dict from parameter name to ratio, but it returned {kind}")
    record.fact("names in the dict", ", ".join(sorted(map(str, returned))) or "none")
    kinds = {name.rpartition(".")[2] for name in case.inputs["names"]}
    bare = sorted(set(map(str, returned)) & kinds)
    record.fact("the layer in front of the name", f"missing: {', '.join(bare)}" if bare else "there")
    for name, value in returned.items():
        record.array(f"ratio of {name}", value)
    same = all(np.array_equal(one, two, equal_nan=True) for one, two in zip(before, _snapshot(model), strict=True))
    record.fact("weights and gradients", "unchanged" if same else "changed; only look at them")


def _snapshot(model: torch.nn.Module) -> list[Any]:
    tensors = [t for p in model.parameters() for t in (p.detach(), p.grad) if t is not None]
    flags = [np.array([p.requires_grad for p in model.parameters()])]
    return [as_array(tensor) for tensor in tensors] + flags


# --- ranks ----------------------------------------------------------------------------------------------------------

CALLS = "calls of all_reduce on a rank"
REDUCED = "numbers that all_reduce has summed"
SEEN = "examples that the model is given at once"
FROZEN = ".grad of the frozen parameter"
ENOUGH, AT_MOST = "at least one per gradient entry", "at most micro_batch"


def data_parallel(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Every rank computes on its shard, and all of them should end with the gradient of the whole batch.

    Inputs: name and usage of the function; weights (four arrays, of `network`), X and y, lists with one array per
    rank; micro_batch (absent: the function takes none); frozen, number of a parameter that takes no gradient (absent:
    all do); dtype, device. On the pretend device all ranks hold the shard of rank 0, so that one of them, counted, can
    stand for all: a sum over the ranks is a multiplication. memory (there only): is the peak of new bytes compared with
    that of one micro-batch's forward and backward?
    """
    call = the_function(objects[0], case.inputs["name"])
    with place(case.inputs.get("device", "cpu")) as here:
        if here.counter is None:
            _in_threads(case.inputs, call, here, record)
        else:
            _counted(case.inputs, call, here, here.counter, record)


def _in_threads(inputs: Mapping[str, Any], call: Any, here: Place, record: Record) -> None:
    count, dtype = len(inputs["X"]), inputs.get("dtype", "float64")
    models = [_model(inputs, lambda array: here.tensor(array, dtype)) for _ in range(count)]
    seen = [rows_seen(model) for model in models]

    def work(rank: int, all_reduce: AllReduce) -> None:
        X, y = (here.tensor(inputs[key][rank], dtype) for key in ("X", "y"))
        _call(inputs, call, models[rank], X, y, all_reduce, count)

    sizes = run_ranks(count, work)
    record.fact(CALLS, float(max(map(len, sizes))))
    record.fact(f"{CALLS}: where", [f"rank 0 reduced tensors of {', '.join(map(str, sizes[0][:12]))} numbers"])
    if "micro_batch" in inputs:
        most, few = max((max(rows, default=0) for rows in seen), default=0), inputs["micro_batch"]
        record.fact(SEEN, AT_MOST if most <= few else f"{most}, with micro_batch = {few}")
    for rank, model in enumerate(models):
        _gradients(record, inputs, model, f" on rank {rank}", torch.Tensor.cpu)
    _how_much(record, models[0], sizes[0])  # where there is no gradient at all, that is what is to be told


def _counted(inputs: Mapping[str, Any], call: Any, here: Place, counter: LaunchCounter, record: Record) -> None:
    count, dtype, sizes = len(inputs["X"]), inputs.get("dtype", "float64"), list[int]()

    def all_reduce(tensor: Tensor, op: Any = None, group: Any = None, async_op: bool = False) -> None:
        check_reduced(tensor, op)
        sizes.append(tensor.numel())
        if tensor.device != X.device:  # which nccl refuses
            note("mixes", f"all_reduce number {len(sizes)} is given a tensor on the {tensor.device.type.upper()}")
        with torch.no_grad(), uncounted():
            tensor.detach().mul_(count)

    model = _model(inputs, lambda array: here.tensor(array, dtype))
    X, y = here.tensor(inputs["X"][0], dtype), here.tensor(inputs["y"][0], dtype)
    few = inputs["micro_batch"] if inputs.get("memory") else None
    one = one_micro_batch(counter, model, X[:few], y[:few]) if few else None
    try:
        with counter.section("one step") as section:
            _call(inputs, call, model, X, y, all_reduce, count)
    except DeviceMix:
        pass  # the section has noted where
    record.fact(MIXES, float(len(section.mixes)))
    record.fact(f"{MIXES}: where", event_lines(section.mixes))
    record.fact(SYNCS, float(len(section.syncs)))
    record.fact(f"{SYNCS}: where", event_lines(section.syncs))
    record.fact(CALLS, float(len(sizes)))
    if one is not None:
        record.fact(PEAK, round(section.peak_bytes / max(one, 1), 2))
    if not section.mixes:
        _gradients(record, inputs, model, "", counter.fetch)


def _model(inputs: Mapping[str, Any], tensor: Any) -> torch.nn.Sequential:
    model = network([tensor(array) for array in inputs["weights"]])
    for number in inputs.get("frozen", ()):
        list(model.parameters())[number].requires_grad_(False)
    return model


def _call(
    inputs: Mapping[str, Any], call: Any, model: torch.nn.Module, X: Tensor, y: Tensor, all_reduce: Any, count: int
) -> None:
    few = (inputs["micro_batch"],) if "micro_batch" in inputs else ()
    arguments = (model, mean_relative_error, X, y, *few, all_reduce, count)
    check_call(call, inputs["name"], inputs["usage"], *arguments)
    call(*arguments)


def _how_much(record: Record, model: torch.nn.Module, sizes: Sequence[int]) -> None:
    wanted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    record.fact(REDUCED, ENOUGH if sum(sizes) >= wanted else f"{sum(sizes)}, for {wanted} gradient entries")


def _gradients(record: Record, inputs: Mapping[str, Any], model: torch.nn.Module, where: str, fetch: Any) -> None:
    for i, (parameter, array) in enumerate(zip(model.parameters(), inputs["weights"], strict=True)):
        same = np.array_equal(fetch(parameter.detach()).double().numpy(), _as_dtype(array, parameter.dtype))
        record.first("the weights", "unchanged" if same else "changed; only .grad should change", "unchanged")
        if not parameter.requires_grad:
            record.first(FROZEN, "None" if parameter.grad is None else "a tensor", "None")
        elif parameter.grad is None:
            raise ProtocolError(f"{inputs['name']} should leave a gradient in .grad; parameter {i}'s is None{where}")
        else:
            record.array(f"gradient of parameter {i}{where}", fetch(parameter.grad))


def _as_dtype(array: Any, dtype: torch.dtype) -> Any:
    return torch.tensor(np.asarray(array)).to(dtype).double().numpy()
