"""Small networks that train for several seeds at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch


class Ensemble(torch.nn.Module):
    """`members` independent multilayer perceptrons (tanh) as one batched computation: (B, D) → (members, B, classes).

    Weights have shape (members, inputs, outputs), biases (members, 1, outputs). Since the members do not share
    parameters, the gradient of the sum of their losses holds each member's own gradient: one backward trains all.

    Args:
        sizes: numbers of units from the input to the output.
        generator: for the initial weights, normal with variance 1 / inputs (LeCun et al. 1998); biases start at 0.
    """

    def __init__(self, sizes: Sequence[int], members: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = torch.nn.ParameterList(), torch.nn.ParameterList()
        for inputs, outputs in itertools.pairwise(sizes):
            weight = torch.randn(members, inputs, outputs, generator=generator) / inputs**0.5
            self.weights.append(torch.nn.Parameter(weight))
            self.biases.append(torch.nn.Parameter(torch.zeros(members, 1, outputs)))

    @property
    def members(self) -> int:
        return int(self.weights[0].shape[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            if i < last:
                x = torch.tanh(x)
        return x


def member_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each member, in nats: (members, B, classes) and (B,) → (members,)."""
    members, batch, classes = logits.shape
    losses = torch.nn.functional.cross_entropy(
        logits.reshape(-1, classes).float(), labels.repeat(members), reduction="none"
    )
    return losses.view(members, batch).mean(1)


@torch.no_grad()
def accuracy(model: Ensemble, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Fraction of right answers of each member, shape (members,)."""
    right: torch.Tensor = model(x).argmax(-1) == labels
    return right.float().mean(1)
