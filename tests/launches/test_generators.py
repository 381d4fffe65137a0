"""Generators belong to a device."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from autograder.launches import PRETEND_DEVICE, LaunchCounter


def test_random_numbers_follow_the_seed_and_generators_belong_to_a_device(counter: LaunchCounter) -> None:
    def draw() -> Tensor:
        return counter.fetch(torch.randn(3, device=counter.device))

    torch.manual_seed(3)
    first = draw()
    torch.manual_seed(3)
    assert torch.equal(first, draw())
    generator = torch.Generator(device=counter.device).manual_seed(3)
    assert isinstance(generator, torch.Generator)
    assert generator.device == PRETEND_DEVICE
    assert torch.randperm(5, generator=generator, device=counter.device).device == PRETEND_DEVICE
    with pytest.raises(RuntimeError, match="Expected a 'lazy' device type for generator but found 'cpu'"):
        torch.randn(3, generator=torch.Generator(), device=counter.device)
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'lazy'"):
        torch.ones(3).normal_(generator=generator)
