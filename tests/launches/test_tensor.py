"""Tensors of the pretend device compute what the CPU computes, and behave as on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from students import (
    FLOAT,
    ElementLoop,
    Foreach,
    Hopping,
    IfSync,
    NumpyRoundTrip,
    StudentAdam,
    adam,
    network,
    train,
    train_network,
    values,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from autograder.launches import PRETEND_DEVICE, LaunchCounter


def test_execution_goes_on_with_real_numbers_after_a_synchronisation(counter: LaunchCounter) -> None:
    x = counter.place(torch.tensor([3.0, 4.0]))
    with counter.section() as section:
        norm = x.norm().item()
        assert norm == 5.0
        assert str(x) == "tensor([3., 4.], device='lazy:0')"
        assert f"{x.sum():.1f}" == "7.0"
        assert x[x > 3].tolist() == [4.0]
        assert x.tolist() == [3.0, 4.0]
    assert [event.line for event in section.syncs] == sorted(event.line for event in section.syncs)


def test_numpy_refuses_a_device_tensor_as_on_cuda(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(2))
    for convert in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.sqrt(x)):
        with pytest.raises(TypeError, match=r"can't convert lazy:0 device type tensor to numpy\. Use Tensor\.cpu\(\)"):
            convert()


def test_the_text_is_cudas(counter: LaunchCounter) -> None:
    with pytest.raises(RuntimeError) as caught:
        counter.place(torch.ones(2)) + torch.ones(2)
    assert str(caught.value) == (
        "Expected all tensors to be on the same device, but found at least two devices, lazy:0 and cpu! (in aten.add)"
    )


OPTIMIZERS: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"lr": 0.1}),
    (torch.optim.RMSprop, {"lr": 0.1, "momentum": 0.5}),
]


@pytest.mark.parametrize("foreach", [False, True], ids=["loop", "foreach"])
@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_results_equal_the_cpus_bit_for_bit(
    optimizer: type[torch.optim.Optimizer], options: dict[str, Any], foreach: bool, dtype: torch.dtype
) -> None:
    def run(place: Callable[[Tensor], Tensor]) -> list[Tensor]:
        params = [nn.Parameter(place(p.to(dtype))) for p in values(3)]
        opt = optimizer(params, **options, foreach=foreach)  # type: ignore[call-arg]
        for t in range(4):
            for p, g in zip(params, values(3, seed=t), strict=True):
                p.grad = place(g.to(dtype))
            opt.step()
        return [s for p in params for s in (p, *opt.state[p].values()) if s is not None]

    on_cpu = run(lambda t: t.clone())
    with LaunchCounter("pretend") as counter:
        on_device = [counter.fetch(t) for t in run(counter.place)]
    assert [t.dtype for t in on_device] == [t.dtype for t in on_cpu]
    assert all(torch.equal(a, b) for a, b in zip(on_device, on_cpu, strict=True))


@pytest.mark.parametrize("student", [StudentAdam, Foreach, Hopping, IfSync, ElementLoop, NumpyRoundTrip])
def test_students_get_the_numbers_they_would_get_anyway(student: type) -> None:
    with LaunchCounter("pretend") as counter:
        found = [counter.fetch(p) for p in train(counter, student)[1]]
        expected = [counter.fetch(p) for p in train(counter, adam())[1]]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("way", ["place_module", "to", "built there"])
def test_a_network_trains_on_the_device_as_on_the_cpu(way: str, counter: LaunchCounter) -> None:
    expected = train_network(network(), torch.device("cpu"))
    if way == "place_module":
        model = counter.place_module(network())
    elif way == "to":
        model = network().to(counter.device)
    else:
        with torch.device(counter.device):
            model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        model.load_state_dict(network().state_dict())
    with counter.section() as section:
        found = train_network(model, counter.device)
    assert all(t.device == PRETEND_DEVICE for t in found)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(counter.fetch(a), b.detach())
    assert section.syncs == section.mixes == []


def test_tensors_look_like_a_gpus(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(2, 3))
    assert x.is_cuda
    assert not x.is_cpu
    assert x.device.type == PRETEND_DEVICE.type
    assert x.get_device() == 0
    assert isinstance(x, Tensor)
    assert torch.is_tensor(x)
    assert x.data_ptr() == x[0].data_ptr() != x[1].data_ptr()
    assert x.untyped_storage().nbytes() == 6 * FLOAT
    assert hash(x)
    assert x in [x]


def test_in_place_operations_reach_through_views(counter: LaunchCounter) -> None:
    x = counter.place(torch.arange(6.0).reshape(2, 3))
    x[0].add_(10)
    x.view(-1)[5] = 7
    x.t_()
    assert x.shape == (3, 2)
    x.unsqueeze_(0)
    assert counter.fetch(x).tolist() == [[[10.0, 3.0], [11.0, 4.0], [12.0, 7.0]]]


def test_deepcopy_of_modules_and_optimizers(counter: LaunchCounter) -> None:
    model = counter.place_module(nn.Linear(3, 2))
    optimizer = torch.optim.Adam(model.parameters())
    model(counter.place(torch.ones(1, 3))).sum().backward()
    optimizer.step()
    other, twin = copy.deepcopy((model, optimizer))
    before = counter.fetch(model.weight)
    twin.step()
    assert isinstance(other.weight, nn.Parameter)
    assert twin.param_groups[0]["params"][0] is other.weight
    assert torch.equal(before, counter.fetch(model.weight))
    assert not torch.equal(before, counter.fetch(other.weight))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model.weight * 2)


def test_function_transforms_give_the_cpus_numbers(counter: LaunchCounter) -> None:
    x, w = values(2)
    w = w[0]

    def loss(w: Tensor, x: Tensor) -> Tensor:
        return (x @ w + torch.zeros(3, device=w.device)).pow(2).sum() * torch.tensor(0.5, device=w.device)

    transforms: dict[str, Callable[[Tensor, Tensor], Any]] = {
        "grad": torch.func.grad(loss),
        "vmap": torch.func.vmap(lambda w, x: (x * w).sum(), in_dims=(None, 0)),
        "per example": torch.func.vmap(torch.func.grad(lambda w, x: (x @ w).pow(2)), in_dims=(None, 0)),
        "hessian": torch.func.hessian(loss),
        "jacfwd": torch.func.jacfwd(lambda w, x: x @ w),
        "jacrev": torch.func.jacrev(lambda w, x: x @ w),
        "jvp": lambda w, x: torch.func.jvp(lambda w: loss(w, x), (w,), (w,))[1],
        "vjp": lambda w, x: torch.func.vjp(lambda w: x @ w, w)[1](torch.ones(3, device=w.device))[0],
    }
    for name, transform in transforms.items():
        found = transform(counter.place(w), counter.place(x))
        assert torch.equal(counter.fetch(found), transform(w, x)), name


def test_complex_numbers_keep_their_conjugates(counter: LaunchCounter) -> None:
    z = torch.tensor([1 + 2j, 3 - 1j])
    on_device = counter.place(z)
    assert torch.equal(counter.fetch(on_device.conj() * on_device), z.conj() * z)
    assert torch.equal(counter.fetch(on_device.conj().imag.neg()), z.imag)


def test_more_of_torch_works(counter: LaunchCounter) -> None:
    def place(*shape: int) -> Tensor:
        return counter.place(torch.ones(*shape))

    x = place(2, 3)
    results = [
        F.scaled_dot_product_attention(*[place(1, 2, 5, 4)] * 3, is_causal=True),
        counter.place_module(nn.LSTM(3, 4))(place(5, 1, 3))[0],
        counter.place_module(nn.TransformerEncoderLayer(8, 2, batch_first=True))(place(2, 5, 8)),
        nn.utils.parametrizations.weight_norm(counter.place_module(nn.Linear(3, 2)))(x),
        torch.func.functional_call(counter.place_module(nn.Linear(3, 2)), {}, (x,)),
        nn.utils.parameters_to_vector(counter.place_module(nn.Linear(3, 2)).parameters()),
        F.dropout(x),
        torch.einsum("ij,kj->ik", x, x),
        torch.fft.fft(x),
        nn.init.orthogonal_(counter.place(torch.empty(3, 3))),
    ]
    assert {t.device for t in results} == {PRETEND_DEVICE}
    with torch.no_grad(), torch.inference_mode():
        assert (x + 1).device == PRETEND_DEVICE
    loader = DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2)
    assert [batch.to(x.device).device for (batch,) in loader] == [PRETEND_DEVICE] * 2


def test_compiled_code_runs_and_is_counted(counter: LaunchCounter) -> None:
    x = counter.place(torch.ones(3))
    compiled = torch.compile(lambda x: (x * 2 + 1).sum(), backend="eager")
    with counter.section() as section:
        result = compiled(x)
    assert counter.fetch(result) == 9.0
    assert section.launches == 3


def test_assigning_data_shares_values_and_not_the_shape(counter: LaunchCounter) -> None:
    x, y = counter.place(torch.zeros(1)), counter.place(torch.arange(6.0).reshape(2, 3))
    x.data = y
    x.t_()
    x[0, 0] = 9.0
    assert (x.shape, y.shape) == ((3, 2), (2, 3))
    assert counter.fetch(x)[2].tolist() == [2.0, 5.0]
    assert counter.fetch(y).tolist() == [[9.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_a_shallow_copy_shares_values_and_not_the_shape(counter: LaunchCounter) -> None:
    p = counter.place(nn.Parameter(torch.arange(6.0).reshape(2, 3)))
    twin = copy.copy(p)
    assert isinstance(twin, nn.Parameter)
    with torch.no_grad():
        twin.t_().zero_()
    assert (twin.shape, p.shape) == ((3, 2), (2, 3))
    assert counter.fetch(p).tolist() == [[0.0] * 3] * 2
