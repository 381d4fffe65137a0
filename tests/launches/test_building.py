"""`torch.tensor` and its like, and lists as indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from autograder.launches import PRETEND_DEVICE, LaunchCounter


def test_tensors_made_from_data(counter: LaunchCounter) -> None:
    device = counter.device
    made = {
        "tensor": torch.tensor([1.0, 2.0], device=device),
        "as_tensor": torch.as_tensor(np.ones(2), device=device),
        "as_tensor of another type": torch.as_tensor(data=[1, 2], dtype=torch.float64, device=device),
        "asarray": torch.asarray([1.0], device=device),
        "new_tensor": counter.place(torch.ones(1, dtype=torch.float64)).new_tensor([1, 2]),
        "of a tensor": torch.tensor(counter.place(torch.ones(2))),
        "leaf": torch.tensor(1.5, device=device, requires_grad=True),
    }
    assert {t.device for t in made.values()} == {PRETEND_DEVICE}
    assert made["new_tensor"].dtype == made["as_tensor of another type"].dtype == torch.float64
    assert made["leaf"].requires_grad
    assert made["leaf"].is_leaf
    assert torch.as_tensor(made["tensor"]) is made["tensor"]
    assert torch.as_tensor(made["tensor"], device="cpu").device.type == "cpu"
    assert torch.tensor([made["leaf"], made["leaf"]]).tolist() == [1.5, 1.5]


INDICES: dict[str, Any] = {
    "list": [1, 0],
    "list in a tuple": (slice(None), [0, 2]),
    "lists": ([0, 1], [1, 2]),
    "truth values": [True, False],
    "none at all": [],
    "range": range(2),
    "array": np.array([1, 0]),
    "array of truth values": np.array([True, False]),
    "number of numpy": np.int64(1),
    "array of one number": np.array(1),
    "ellipsis and list": (..., [1]),
    "new axis and list": (None, [1]),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing_by_lists_and_arrays_is_as_on_the_cpu(name: str, counter: LaunchCounter) -> None:
    index, on_host = INDICES[name], torch.arange(6.0).reshape(2, 3)
    x = counter.place(on_host)
    assert torch.equal(counter.fetch(x[index]), on_host[index])
    x[index] = 9.0
    on_host[index] = 9.0
    assert torch.equal(counter.fetch(x), on_host)


def test_a_list_as_index_is_copied_to_the_device_and_no_tensor_of_the_host_is(counter: LaunchCounter) -> None:
    x = counter.place(torch.arange(3.0))
    with counter.section() as section:
        x[[2, 0]]
        torch.arange(3.0)[[2, 0]]
    assert dict(section.operations) == {"_to_copy": 1, "index": 1}
    assert len(section.uploads) == 1
