"""Saving and loading."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import torch
from students import adam, train
from torch import Tensor, nn

from autograder.launches import PRETEND_DEVICE, LaunchCounter


def test_state_dicts_round_trip_through_a_file(counter: LaunchCounter) -> None:
    steps, params, optimizer = train(counter, adam(foreach=True))
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "p": params[0]}, file)

    def load(**options: Any) -> Any:
        file.seek(0)
        return torch.load(file, **options)

    saved = load()
    assert saved["p"].device == load(map_location=counter.device)["p"].device == PRETEND_DEVICE
    assert load(map_location="cpu")["p"].device.type == "cpu"
    assert isinstance(saved["p"], nn.Parameter)
    copies = [nn.Parameter(p.detach().clone()) for p in params]
    resumed = torch.optim.Adam(copies, foreach=True)
    resumed.load_state_dict(load(map_location="cpu")["optimizer"])
    for a, b in zip(params, copies, strict=True):
        a.grad = b.grad = torch.ones_like(a)
    optimizer.step()
    resumed.step()
    assert all(torch.equal(counter.fetch(a), counter.fetch(b)) for a, b in zip(params, copies, strict=True))
    assert len(steps) == 4


def test_a_checkpoint_of_the_host_loads_onto_the_device(counter: LaunchCounter) -> None:
    file = io.BytesIO()
    torch.save(nn.Linear(3, 2).state_dict(), file)
    file.seek(0)
    state = torch.load(file, map_location=counter.device)
    assert {t.device for t in state.values()} == {PRETEND_DEVICE}
    counter.place_module(nn.Linear(3, 2)).load_state_dict(state)


class Pair(NamedTuple):
    first: Tensor
    second: list[Tensor]


def test_a_checkpoint_may_hold_named_tuples(counter: LaunchCounter) -> None:
    file = io.BytesIO()
    torch.save(Pair(torch.ones(2), [torch.zeros(2)]), file)
    file.seek(0)
    pair = torch.load(file, map_location=counter.device, weights_only=False)
    assert isinstance(pair, Pair)
    assert pair.first.device == pair.second[0].device == PRETEND_DEVICE
