"""What is refused while counting runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.launches import LaunchCounter

REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "sparse": lambda x: x.to_sparse(),
    "quantised": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
    "nested": lambda x: torch.nested.nested_tensor([x, x]),
    "autocast": lambda x: torch.autocast(x.device.type, torch.bfloat16),
    "jit.trace": lambda x: torch.jit.trace(lambda x: x * 2, (x,)),
    "export": lambda x: torch.export.export(nn.Linear(2, 2).to(x.device), (x,)),
    "pin_memory": lambda x: x.pin_memory(),
    "streams": lambda x: torch.Stream(device=x.device),
    "data of the host": lambda x: setattr(x, "data", torch.ones(2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_missing_raises_an_error_of_python(name: str, counter: LaunchCounter) -> None:
    with pytest.raises(RuntimeError):
        REFUSED[name](counter.place(torch.ones(2)))


LITERAL: dict[str, Callable[[], Any]] = {
    "factory": lambda: torch.zeros(3, device="cuda"),
    "torch.tensor": lambda: torch.tensor([1.0], device="cuda:0"),
    "torch.device": lambda: torch.zeros(3, device=torch.device("cuda")),
    "to": lambda: torch.ones(3).to("cuda"),
    "to by keyword": lambda: torch.ones(3).to(device="cuda"),
    "to by number": lambda: torch.ones(3).to(0),
    "cuda()": lambda: torch.ones(3).cuda(),
    "module.to": lambda: nn.Linear(2, 2).to("cuda"),
    "module.cuda": lambda: nn.Linear(2, 2).cuda(),
    "module built there": lambda: nn.Linear(2, 2, device="cuda"),
    "another make": lambda: torch.zeros(3, device="mps"),
}


@pytest.mark.parametrize("name", LITERAL)
def test_a_literal_cuda_is_told_to_use_the_parameters_device(name: str, counter: LaunchCounter) -> None:
    with pytest.raises(RuntimeError, match=r'use `p\.device`.*this check runs on the device "lazy:0"'):
        LITERAL[name]()
