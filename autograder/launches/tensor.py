"""The pretend tensor, and how its operations are carried out and reported."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from . import current
from .operations import Call, tensors_in, traits_of
from .rules import mixes_devices

#: Where `place` puts tensors in "pretend" counting.
PRETEND_DEVICE = torch.device("lazy", 0)


class DeviceMix(RuntimeError):
    """One operation was given tensors of both the device and the host; the text is CUDA's."""


def is_pretend_device(device: Any) -> bool:
    """Does this name, or this `torch.device`, stand for the pretend device?"""
    return isinstance(device, (str, torch.device)) and torch.device(device).type == PRETEND_DEVICE.type


class PretendTensor(Tensor):
    """A tensor that torch believes to be on `PRETEND_DEVICE`; `_inner` is the CPU tensor with the numbers.

    No two of them have the same `_inner`, since operations such as `t_()` change its shape; they may share storage.
    """

    _inner: Tensor

    #: Torch wraps the plain number of `x[mask] = 5.0` in a tensor of the device; on CUDA it stays a number.
    stands_for_number = False

    # Results of torch functions are what dispatch returns; torch must not cast plain tensors (`.cpu()`) to this class.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> PretendTensor:
        if inner.layout is not torch.strided or inner.is_quantized:
            raise RuntimeError("sparse and quantised tensors are not supported on the pretend device")
        self: PretendTensor = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=PRETEND_DEVICE,
            requires_grad=False,
        )
        self._inner = inner
        return self

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return carry_out(func, args, kwargs or {})

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """True, so that code which asks the way it would on a GPU goes the GPU's way."""
        return True

    @property
    def data(self) -> Tensor:
        """The same values without history, sharing storage; changes are hidden from autograd."""
        return Tensor.data.__get__(self)  # type: ignore[attr-defined,no-any-return]

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, PretendTensor):
            raise RuntimeError("`.data` of a tensor on the device was assigned a tensor of the host: use `copy_`")
        _assume(self, PretendTensor(value._inner.detach()))

    def data_ptr(self) -> int:
        """Address of the first element, in the host's memory."""
        return self._inner.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        """The storage of the CPU tensor inside."""
        return self._inner.untyped_storage()

    def tolist(self) -> Any:
        """Values as Python numbers: the host waits."""
        current.note("syncs", "`.tolist()` on a device tensor")
        return self._inner.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """TypeError as on CUDA, unless `force`, which copies to the host."""
        if not force:
            raise TypeError(
                f"can't convert {PRETEND_DEVICE} device type tensor to numpy. "
                "Use Tensor.cpu() to copy the tensor to host memory first."
            )
        return self.detach().cpu().numpy()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy()

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any:
        raise BufferError(f"tensors on {PRETEND_DEVICE} cannot be exported with DLPack: copy to the host first")

    @property
    def __cuda_array_interface__(self) -> Any:
        raise AttributeError("the pretend device has no CUDA memory")

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        current.note("syncs", "printing a device tensor")
        text = repr(self._inner)
        grad = ", requires_grad=True" if self.requires_grad else ""
        if self.grad_fn is not None:
            grad = f", grad_fn=<{type(self.grad_fn).__name__}>"
        text = f"{text.removesuffix(')')}, device='{PRETEND_DEVICE}'{grad})"
        return f"Parameter containing:\n{text}" if isinstance(self, nn.Parameter) else text

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else object.__format__(self, spec)

    def __copy__(self) -> Tensor:
        return dress(PretendTensor(self._inner.detach()), self.requires_grad, isinstance(self, nn.Parameter))

    def __deepcopy__(self, memo: dict[int, Any]) -> PretendTensor:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user support the deepcopy protocol")
        copy = dress(self.detach().clone(), self.requires_grad, isinstance(self, nn.Parameter))
        memo[id(self)] = copy
        if self.grad is not None:
            copy.grad = self.grad.__deepcopy__(memo)  # type: ignore[no-untyped-call]
        return copy  # type: ignore[return-value]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        current.note("syncs", "saving or pickling a device tensor")
        return restore, (self._inner, self.requires_grad, isinstance(self, nn.Parameter))


def dress(tensor: Tensor, requires_grad: bool, is_parameter: bool) -> Tensor:
    """The tensor as a leaf that requires a gradient, or as a parameter."""
    if is_parameter:
        return nn.Parameter(tensor, requires_grad=requires_grad)
    return tensor.requires_grad_() if requires_grad else tensor  # `torch.func` forbids even `requires_grad_(False)`


#: `torch.load(..., map_location="cpu")` is under way: what was saved from the device comes back on the host.
restoring_to_host = contextvars.ContextVar("restoring_to_host", default=False)


def restore(inner: Tensor, requires_grad: bool, is_parameter: bool) -> Tensor:
    """Rebuild a saved tensor of the pretend device; pickle knows this function by its name."""
    tensor = inner if restoring_to_host.get() else PretendTensor(inner)
    return dress(tensor, requires_grad, is_parameter)


def _assume(tensor: PretendTensor, other: PretendTensor) -> None:
    """Let `tensor` have the shape, the storage and the values of `other`, which is not used any more."""
    Tensor.data.__set__(tensor, other)  # type: ignore[attr-defined]
    tensor._inner = other._inner


def unwrap(value: Any) -> Any:
    """The CPU tensor inside a pretend tensor, also in lists; anything else unchanged."""
    if isinstance(value, PretendTensor):
        return value._inner
    if isinstance(value, (list, tuple)):
        return type(value)(map(unwrap, value))
    return value


def _wrap(value: Any, known: Mapping[int, Tensor]) -> Any:
    """Put results on the device; those that are an argument's own tensor become that argument again."""
    if isinstance(value, Tensor):
        return known[id(value)] if id(value) in known else PretendTensor(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_wrap(v, known) for v in value)
    return value


#: Torch marks some results (conjugated, negated, all zero) and resolves the mark above the level at which the wrapper
#: is unpacked. Inside the wrapper nobody would: complex numbers came out wrong, and forward-mode AD read through a
#: null pointer (a segmentation fault). So the marked forms are never made.
_RESOLVED = {
    "_conj": torch.ops.aten._conj_physical.default,
    "_neg_view": torch.ops.aten.neg.default,
    "_efficientzerotensor": torch.ops.aten.zeros.default,
}


def carry_out(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry out one operation on the tensors inside the wrappers, and report it."""
    here: list[Any] = []
    there: list[Tensor] = []
    for tensor in tensors_in((*args, *kwargs.values())):
        (here if isinstance(tensor, PretendTensor) else there).append(tensor)
    device = kwargs.get("device")
    on_device = bool(here) if device is None else device.type == PRETEND_DEVICE.type
    if not here and not on_device:
        return func(*args, **kwargs)
    call = Call(traits_of(func), args, kwargs, here, there, on_device, _is_pretend)
    if mixes_devices(call):
        raise noted_mix(f"aten.{call.name}")
    result = _compute(func, call)
    current.observe(call, result)
    return result


def _compute(func: Any, call: Call) -> Any:
    """The result of `func`, computed on the host, where it belongs."""
    unwrapped = {key: unwrap(value) for key, value in call.kwargs.items()}
    if call.on_device and "device" in unwrapped:
        unwrapped["device"] = torch.device("cpu")
    result = _RESOLVED.get(call.name, func)(*map(unwrap, call.args), **unwrapped)
    if call.on_device:
        result = _wrap(result, {id(tensor._inner): tensor for tensor in call.here})  # type: ignore[attr-defined]
    if call.traits.reshapes:
        _assume(call.args[0], PretendTensor(call.args[0]._inner))
    if call.name == "scalar_tensor" and call.on_device:
        result.stands_for_number = True
    return result


def _is_pretend(value: Any) -> bool:
    return isinstance(value, PretendTensor)


def noted_mix(operation: str) -> DeviceMix:
    """The error of an operation that was given tensors of the device and of the host, reported already."""
    current.note("mixes", f"`{operation}` on tensors of the device and of the host")
    return DeviceMix(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{PRETEND_DEVICE} and cpu! (in {operation})"
    )
