"""Count what a training step would ask of a GPU, on a machine that need not have one.

    with LaunchCounter() as counter:
        weight = counter.place(torch.randn(3, 4, requires_grad=True))
        optimizer = StudentAdam([weight])
        weight.grad = counter.place(torch.ones(3, 4))
        with counter.section("one step") as step:
            optimizer.step()
    step.launches, step.syncs, step.mixes, step.uploads, step.peak_bytes

How "pretend" counting works. A wrapper tensor stands on a device of its own and carries an ordinary CPU tensor with
the real numbers. Every operation on it arrives in `__torch_dispatch__`, is counted, and is carried out on the CPU
tensors inside. Autograd, optimizers and modules run unchanged, and a host synchronisation is recorded while
execution goes on, so that one run yields the results, the counts and the lines to blame.

Why the device is called "lazy:0". Torch has to know the type of the device, and of the types that need no hardware
and no registration this is the one that behaves:
* a PrivateUse1 backend under a name of our own would become the process's accelerator for good
  (`torch.accelerator.current_accelerator()` reports it to ordinary code ever after); its `backward()` fails with an
  internal assertion once an ordinary `backward()` has run, because the autograd engine fixes its device threads at
  first use; and after its first `backward()`, `backward()` is refused in forked children;
* tensors of type "lazy" run in autograd's CPU queue (`should_run_in_cpu_ready_queue` in torch's `engine.cpp`), and a
  device guard for them is built in. Nothing is registered, so nothing is left behind when the counter closes, and
  forward-mode AD, `torch.func`, `torch.utils.checkpoint` and `torch.compile` work.

What counts as one launch: one operation dispatched by torch (below autograd) that touches the counted device.
Views, changes of shape and empty allocations are free; a `_foreach_` or fused operation is one, unless CUDA would
fall back to a loop (mixed data types, tensors on the host, different layouts), which counts one per tensor; a copy
between host and device is one. These are not CUDA kernels one for one: long `_foreach_` lists are cut into several
kernels, and attention counts as the operations it decomposes into. Ratios and orders of growth are right, absolute
numbers are not. Bytes are those of the storages that operations return; scratch space inside an operation is unseen.

What differs from a GPU: `p.device.type` is "lazy" although `p.is_cuda`; `torch.autocast` refuses the pretend device,
sparse, nested and quantised tensors cannot be on it, `torch.jit.trace` and `torch.export` cannot record
(RuntimeErrors, all of them); under `torch.compile` the code runs uncompiled; there are no streams; random numbers are
the CPU's; `torch.cuda.is_available()` and `torch.accelerator.is_available()` say what they say without a counter;
`.to("cpu", non_blocking=True)` counts as a synchronisation. A gradient of the host that a student's
`autograd.Function` returns is noticed where it is used.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import linecache
import os
import sys
import sysconfig
import threading
import types
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["PRETEND_DEVICE", "DeviceMix", "Event", "LaunchCounter", "Section"]

How = Literal["auto", "pretend", "plain"]
ModuleType = TypeVar("ModuleType", bound=nn.Module)

#: Where `place` puts tensors in "pretend" counting.
PRETEND_DEVICE = torch.device("lazy", 0)


class DeviceMix(RuntimeError):
    """One operation was given tensors of both the device and the host; the text is CUDA's."""


@dataclass(frozen=True)
class Event:
    """Something that happened at one line of the student's code ("" and 0 where no such line is known)."""

    what: str
    file: str
    line: int
    function: str
    source: str


@dataclass
class Section:
    """What happened inside one `with counter.section():`. Filled while it runs, frozen in effect once it is left.

    `allocated_bytes` is new storage created (views and in-place results are free), `live_bytes` the growth of what is
    alive, `peak_bytes` the largest growth on the way. On CUDA the three come from its caching allocator, which rounds
    up to 512 bytes.
    """

    name: str = ""
    operations: Counter[str] = field(default_factory=Counter)
    syncs: list[Event] = field(default_factory=list)
    mixes: list[Event] = field(default_factory=list)
    uploads: list[Event] = field(default_factory=list)  # copies from the host to the device
    allocated_bytes: int = 0
    peak_bytes: int = 0
    live_bytes: int = 0

    @property
    def launches(self) -> int:
        """Operations dispatched on the device."""
        return self.operations.total()

    def _grow(self, size: int, allocated: bool) -> None:
        """`size` bytes came alive; as a new storage of the student's if `allocated`."""
        self.allocated_bytes += size if allocated else 0
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


# ------------------------------------------------------------------------------------------- whose line was it


def _directories() -> tuple[str, ...]:
    """Folders whose frames are never the student's: torch, numpy, this package, other installed packages, stdlib."""
    paths = sysconfig.get_paths()
    found = [os.path.dirname(module.__file__ or "") for module in (torch, np)]
    found += [os.path.dirname(__file__), *(paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))]
    found += [os.path.dirname(contextlib.__file__)]
    return tuple({spelling(path) + os.sep for path in found for spelling in (os.path.abspath, os.path.realpath)})


_FOREIGN_DIRECTORIES = _directories()
_OWN_DIRECTORY = os.path.dirname(os.path.abspath(__file__)) + os.sep


@functools.lru_cache(maxsize=4096)
def _is_foreign(filename: str) -> bool:
    """Is this file part of torch, the standard library, an installed package or this one? By folder, not by word."""
    if filename.startswith(("<frozen ", "<eval_with_key>", "<__array_function__")):
        return True
    return not filename.startswith("<") and os.path.abspath(filename).startswith(_FOREIGN_DIRECTORIES)


def _frames(frame: types.FrameType | None) -> Iterator[types.FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _student_frame(owner: int) -> types.FrameType | None:
    """The innermost frame of the student's in this thread, else in the thread `owner`, else one of this package's.

    The last resort is for code that the package itself runs as if it were a student's.
    """
    stacks = [list(_frames(sys._getframe(1)))]
    if owner != threading.get_ident():
        stacks.append(list(_frames(sys._current_frames().get(owner))))
    for frame in (frame for stack in stacks for frame in stack):
        if not _is_foreign(frame.f_code.co_filename):
            return frame
    for frame in stacks[0]:
        filename = os.path.abspath(frame.f_code.co_filename)
        if filename.startswith(_OWN_DIRECTORY) and filename != os.path.abspath(__file__):
            return frame
    return None


def _event(what: str, owner: int) -> Event:
    frame = _student_frame(owner)
    if frame is None:
        return Event(what, "", 0, "", "")
    file, line = frame.f_code.co_filename, frame.f_lineno
    return Event(what, file, line, frame.f_code.co_name, linecache.getline(file, line).strip())


# ----------------------------------------------------------------------------- what torch's operations ask of a GPU

_READS_VALUE = "`.item()`, `float()`, `int()`, `bool()` or `if` on a device tensor"
_TO_HOST = '`.cpu()`, `.to("cpu")` or another copy from the device to the host'
_MASK = "boolean mask index (the host has to know how many elements it selects)"

#: Operations after which the host has to wait for a value: their result, or its shape, depends on the data.
#: Source: CUDA implementations in pytorch/aten/src/ATen/native; operations composed of these need no entry.
_SYNCS = {
    "_local_scalar_dense": _READS_VALUE,
    "is_nonzero": _READS_VALUE,
    "equal": "`torch.equal`",
    "allclose": "`torch.allclose`",
    "nonzero": "`nonzero`, `argwhere` or `torch.where(condition)`",
    "nonzero_numpy": "`nonzero`",
    "masked_select": "`masked_select`",
    "_unique": "`torch.unique`",
    "_unique2": "`torch.unique`",
    "unique_dim": "`torch.unique`",
    "unique_consecutive": "`torch.unique_consecutive`",
    "unique_dim_consecutive": "`torch.unique_consecutive`",
    "bincount": "`torch.bincount`",
    **dict.fromkeys(
        ("_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_eig", "linalg_eigvals", "_linalg_eigvals"),
        "`torch.linalg` reads its error codes",
    ),
}

#: Operations that launch nothing although they are no views.
_FREE = {
    "empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "_efficientzerotensor",
    "_local_scalar_dense", "_unsafe_view", "is_same_size", "_has_same_storage_numel", "lift", "lift_fresh",
    "lift_fresh_copy", "scalar_tensor", "set_", "resize_", "record_stream", "is_pinned", "_fused_sdp_choice",
    "_has_compatible_shallow_copy_type",
}  # fmt: skip

_COPIES = {"copy_", "_foreach_copy_", "_to_copy", "_copy_from", "lift_fresh"}
_INDEXING = {"index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"}

#: Operations that refuse even a 0-dimensional tensor of the host; all others take one, as on CUDA.
_STRICT = {"stack", "cat", "gather", "index_select"}


@dataclass(frozen=True)
class _Traits:
    """What is known of an operation from its schema alone."""

    name: str
    free: bool  # launches nothing
    fresh: bool  # returns storage of its own
    reshapes: bool  # changes the shape or the storage of its first argument in place
    written: tuple[tuple[int, str], ...]  # position and name of the arguments that it writes to


@functools.cache
def _traits(func: Any) -> _Traits:
    schema = func._schema
    name = str(schema.name).split("::")[-1]
    writes = [a.alias_info is not None and a.alias_info.is_write for a in schema.arguments]
    is_view = not any(writes) and any(a.alias_info is not None for a in schema.arguments)
    reshapes = name in ("set_", "resize_", "resize_as_") or torch.Tag.inplace_view in func.tags
    fresh = any(r.alias_info is None for r in schema.returns) and name not in ("_unsafe_view", "lift", "lift_fresh")
    written = tuple((i, a.name) for i, a in enumerate(schema.arguments) if writes[i])
    return _Traits(name, is_view or reshapes or name in _FREE, fresh, reshapes, written)


@dataclass(frozen=True)
class _Call:
    """One dispatched operation, its tensors sorted by where they are."""

    traits: _Traits
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    here: Sequence[Tensor]  # on the counted device
    there: Sequence[Tensor]  # on the host
    on_device: bool  # is the result on the counted device?
    holds: Callable[[Any], bool]  # is this one of the tensors `here`?


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """Every tensor among arguments or results of an operation, also those in lists."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _is_mask(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in (torch.bool, torch.uint8)


def _is_masked_fill(call: _Call) -> bool:
    """`x[mask] = number` is carried out as `masked_fill_`, which needs no size and so does not synchronise."""
    values = call.args[2] if len(call.args) > 2 else None
    if not isinstance(values, Tensor) or values.dim() > 0 or sum(i is not None for i in call.args[1]) > 1:
        return False
    return values in _python_numbers or not call.holds(values)


def _sync_of(call: _Call) -> str:
    """Why the host has to wait for this call, in words for people; "" if it does not."""
    name, args = call.traits.name, call.args
    if not call.here:
        return ""
    if name in _SYNCS:
        return _SYNCS[name]
    if name in ("_to_copy", "copy_", "_foreach_copy_") and not _writes_to_device(call):
        return _TO_HOST
    if name in _INDEXING and any(_is_mask(index) for index in args[1]) and not _is_masked_fill(call):
        return _MASK
    if name == "repeat_interleave" and isinstance(args[0], Tensor) and call.kwargs.get("output_size") is None:
        return "`repeat_interleave` with a tensor of repeats (give `output_size`)"
    if name == "normal" and len(args) > 1 and isinstance(args[1], Tensor):
        return "`torch.normal` checks that its tensor of deviations is not negative"
    if name == "multinomial" and (args[1] == 1 or not (len(args) > 2 and args[2])):
        return "`torch.multinomial` checks its probabilities"
    return ""


def _writes_to_device(call: _Call) -> bool:
    """Does a copying operation write to the device?"""
    if call.traits.name == "_to_copy":
        return call.on_device
    return all(call.holds(t) for t in _tensors(call.args[:1]))


def _upload_of(call: _Call) -> str:
    """Which copy from the host to the device this call contains, in words for people; "" if none."""
    name = call.traits.name
    if not call.there:
        return ""
    if name == "_to_copy" and call.on_device:
        return "copy from the host to the device"
    if name in ("copy_", "_foreach_copy_") and call.here and _writes_to_device(call):
        return "`copy_` from the host to the device"
    if name in _INDEXING and call.here:
        return "index tensor on the host (it is copied to the device)"
    return ""


def _launches_of(call: _Call) -> int:
    if call.traits.free:
        return 0
    return _foreach_launches(call) if call.traits.name.startswith("_foreach_") else 1


def _foreach_launches(call: _Call) -> int:
    """1, or one per tensor where CUDA has to loop (see `can_use_fast_route` in torch's `ForeachUtils.h`)."""
    first, *others = [a for a in call.args if isinstance(a, (list, tuple)) and any(isinstance(t, Tensor) for t in a)]
    every = [t for tensors in (first, *others) for t in tensors]
    may_cast = call.traits.name == "_foreach_copy_"
    same_dtype = may_cast or all(t.dtype is first[0].dtype for t in every)
    pairs = ((a, b) for other in others for a, b in zip(first, other, strict=True))
    same_layout = all(a.shape == b.shape and a.stride() == b.stride() for a, b in pairs)
    return 1 if same_dtype and same_layout and all(map(call.holds, every)) else len(first)


def _mixes(call: _Call) -> bool:
    """Would a GPU refuse this call because its tensors are on different devices?"""
    name = call.traits.name
    if not call.here or not call.there or name in _COPIES:
        return False
    strangers = call.there
    if name in _INDEXING:
        if not call.holds(call.args[0]):
            return True
        strangers = [t for t in strangers if not any(t is index for index in call.args[1])]
    if any(t.dim() > 0 for t in strangers) or (strangers and name in _STRICT):
        return True
    written = [call.args[i] if i < len(call.args) else call.kwargs.get(name) for i, name in call.traits.written]
    return any(not call.holds(t) for t in _tensors(written))


# ------------------------------------------------------------------------------------------------------- memory


class _Ledger:
    """The storages on the counted device, each once however many tensors share it, followed by weak references."""

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[weakref.ref[Any], int]] = {}
        self.section: Section | None = None

    def knows(self, tensor: Tensor) -> bool:
        """Is the tensor's storage in the ledger?"""
        storage = _storage(tensor)
        return storage is not None and id(storage) in self._blocks

    def add(self, tensor: Tensor, allocated: bool) -> None:
        """Enter the storage of `tensor` unless it is known; `allocated`: it was created by the counted code."""
        storage = _storage(tensor)
        if storage is None:
            return
        key, size = id(storage), storage.nbytes()
        if key in self._blocks:
            self._resize(key, size)
            return
        # The object `storage` stays the same, and so does its id, until the last tensor that uses it is gone.
        self._blocks[key] = (weakref.ref(storage, lambda _: self._free(key)), size)
        if self.section is not None:
            self.section._grow(size, allocated)

    def _resize(self, key: int, size: int) -> None:
        reference, old = self._blocks[key]
        if size != old:
            self._blocks[key] = (reference, size)
            if self.section is not None:
                self.section._grow(size - old, allocated=size > old)

    def _free(self, key: int) -> None:
        _, size = self._blocks.pop(key)
        if self.section is not None:
            self.section.live_bytes -= size

    def open(self, section: Section) -> None:
        """Report to `section` from here on."""
        self.section = section

    def close(self, section: Section) -> None:
        """Report to nobody."""
        self.section = None


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse and other tensors without one storage
        return None


class _CudaLedger(_Ledger):
    """Bytes by CUDA's own caching allocator, which also sees the scratch space of operations."""

    def add(self, tensor: Tensor, allocated: bool) -> None:
        """Nothing: the allocator knows."""

    def open(self, section: Section) -> None:
        torch.cuda.reset_peak_memory_stats()
        self._start = torch.cuda.memory_stats()

    def close(self, section: Section) -> None:
        end, start = torch.cuda.memory_stats(), self._start
        in_use = start.get("allocated_bytes.all.current", 0)
        allocated = "allocated_bytes.all.allocated"
        section.allocated_bytes = end.get(allocated, 0) - start.get(allocated, 0)
        section.peak_bytes = end.get("allocated_bytes.all.peak", 0) - in_use
        section.live_bytes = end.get("allocated_bytes.all.current", 0) - in_use


# ------------------------------------------------------------------------------------------- the pretend device


class PretendTensor(Tensor):
    """A tensor that torch believes to be on `PRETEND_DEVICE`; `_inner` is the CPU tensor with the numbers."""

    _inner: Tensor

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
        return _run(func, args, kwargs or {})

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
        _assume(self, value)

    def data_ptr(self) -> int:
        """Address of the first element, in the host's memory."""
        return self._inner.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        """The storage of the CPU tensor inside."""
        return self._inner.untyped_storage()

    def tolist(self) -> Any:
        """Values as Python numbers: the host waits."""
        _note_sync("`.tolist()` on a device tensor")
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
        _note_sync("printing a device tensor")
        text = repr(self._inner)
        grad = ", requires_grad=True" if self.requires_grad else ""
        if self.grad_fn is not None:
            grad = f", grad_fn=<{type(self.grad_fn).__name__}>"
        text = f"{text.removesuffix(')')}, device='{PRETEND_DEVICE}'{grad})"
        return f"Parameter containing:\n{text}" if isinstance(self, nn.Parameter) else text

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else object.__format__(self, spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> PretendTensor:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user support the deepcopy protocol")
        copy = _dress(self.detach().clone(), self.requires_grad, isinstance(self, nn.Parameter))
        memo[id(self)] = copy
        if self.grad is not None:
            copy.grad = self.grad.__deepcopy__(memo)  # type: ignore[no-untyped-call]
        return copy  # type: ignore[return-value]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        _note_sync("saving or pickling a device tensor")
        return _restore, (self._inner, self.requires_grad, isinstance(self, nn.Parameter))


def _dress(tensor: Tensor, requires_grad: bool, is_parameter: bool) -> Tensor:
    if is_parameter:
        return nn.Parameter(tensor, requires_grad=requires_grad)
    return tensor.requires_grad_() if requires_grad else tensor  # `torch.func` forbids even `requires_grad_(False)`


#: `torch.load(..., map_location="cpu")` is under way: what was saved from the device comes back on the host.
_restoring_to_host = contextvars.ContextVar("_restoring_to_host", default=False)


def _restore(inner: Tensor, requires_grad: bool, is_parameter: bool) -> Tensor:
    """Rebuild a saved tensor of the pretend device; pickle knows this function by its name."""
    tensor = inner if _restoring_to_host.get() else PretendTensor(inner)
    return _dress(tensor, requires_grad, is_parameter)


def _assume(tensor: PretendTensor, other: PretendTensor) -> None:
    """Let `tensor` have the shape, the storage and the values of `other`, as `tensor.data = other` does."""
    Tensor.data.__set__(tensor, other)  # type: ignore[attr-defined]
    tensor._inner = other._inner


class _NumberSet:
    """Device tensors which stand for a plain Python number: torch wraps the 5.0 of `x[mask] = 5.0` in one."""

    def __init__(self) -> None:
        self._ids: dict[int, weakref.ref[Any]] = {}

    def add(self, tensor: Tensor) -> None:
        key = id(tensor)
        self._ids[key] = weakref.ref(tensor, lambda _: self._ids.pop(key, None))

    def __contains__(self, tensor: object) -> bool:
        return id(tensor) in self._ids


_python_numbers = _NumberSet()

#: Torch marks some results (conjugated, negated, all zero) and resolves the mark above the level at which the wrapper
#: is unpacked. Inside the wrapper nobody would: complex numbers came out wrong, and forward-mode AD read through a
#: null pointer (a segmentation fault). So the marked forms are never made.
_RESOLVED = {
    "_conj": torch.ops.aten._conj_physical.default,
    "_neg_view": torch.ops.aten.neg.default,
    "_efficientzerotensor": torch.ops.aten.zeros.default,
}


def _is_pretend(value: Any) -> bool:
    return isinstance(value, PretendTensor)


def _unwrap(value: Any) -> Any:
    if isinstance(value, PretendTensor):
        return value._inner
    if isinstance(value, (list, tuple)):
        return type(value)(map(_unwrap, value))
    return value


def _wrap(value: Any, known: Mapping[int, Tensor]) -> Any:
    """Put results on the device; those that are an argument's own tensor become that argument again."""
    if isinstance(value, Tensor):
        return known[id(value)] if id(value) in known else PretendTensor(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_wrap(v, known) for v in value)
    return value


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry out one operation on the tensors inside the wrappers, and count it."""
    here: list[Any] = []
    there: list[Tensor] = []
    for tensor in _tensors((*args, *kwargs.values())):
        (here if isinstance(tensor, PretendTensor) else there).append(tensor)
    device = kwargs.get("device")
    on_device = bool(here) if device is None else device.type == PRETEND_DEVICE.type
    if not here and not on_device:
        return func(*args, **kwargs)
    call = _Call(_traits(func), args, kwargs, here, there, on_device, _is_pretend)
    if _mixes(call):
        raise _recorded_mix(f"aten.{call.traits.name}")
    unwrapped = {key: _unwrap(value) for key, value in kwargs.items()}
    if device is not None:
        unwrapped["device"] = torch.device("cpu") if on_device else device
    result = _RESOLVED.get(call.traits.name, func)(*map(_unwrap, args), **unwrapped)
    if on_device:
        result = _wrap(result, {id(tensor._inner): tensor for tensor in here})
    if call.traits.reshapes:
        _assume(args[0], PretendTensor(args[0]._inner))
    if call.traits.name == "scalar_tensor":
        _python_numbers.add(result)
    if _active is not None:
        _active._observe(call, result)
    return result


def _recorded_mix(operation: str) -> DeviceMix:
    if _active is not None:
        _active._note("mixes", f"`{operation}` on tensors of the device and of the host")
    return DeviceMix(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{PRETEND_DEVICE} and cpu! (in {operation})"
    )


def _note_sync(what: str) -> None:
    if _active is not None:
        _active._note("syncs", what)


class _PretendMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sends operations without device tensors (`torch.zeros(3, device=p.device)`) to the pretend device as well."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


#: These build a CPU tensor and copy it out of dispatch's sight.
_BUILDERS = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}
_MOVES_TO_ACCELERATOR = {getattr(Tensor, name) for name in ("cuda", "xpu", "mtia", "ipu") if hasattr(Tensor, name)}


class _FunctionMode(TorchFunctionMode):
    """What has to be caught above dispatch: literal devices, `torch.tensor(..., device=…)`, `p.grad = cpu_tensor`."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("device") is not None:
            _refuse_accelerator(kwargs["device"])
        if func is Tensor.to and len(args) > 1 and not isinstance(args[1], (Tensor, torch.dtype)):
            _refuse_accelerator(args[1])
        if func in _MOVES_TO_ACCELERATOR:
            _refuse_accelerator(func.__name__)
        if kwargs.get("generator") is not None:
            _refuse_generator(kwargs["generator"], args, kwargs.get("device"))
        try:
            return _build(func, args, kwargs) if func in _BUILDERS else func(*args, **kwargs)
        except RuntimeError as error:
            explained = _explained(error, func)
            if explained is None:
                raise
            raise explained from error


def _explained(error: RuntimeError, func: Any) -> RuntimeError | None:
    """The error as a GPU, or this module, would put it; None where it needs no translation."""
    if "assign a gradient with device type" in str(error):
        return _recorded_mix("p.grad = …")
    if isinstance(error, NotImplementedError) and "'Lazy' backend" in str(error):
        name = getattr(func, "__name__", str(func))
        return RuntimeError(f"`{name}` is not supported on the pretend device {PRETEND_DEVICE}")
    return None


def _is_pretend_device(device: Any) -> bool:
    return isinstance(device, (str, torch.device)) and torch.device(device).type == PRETEND_DEVICE.type


def _refuse_accelerator(device: Any) -> None:
    """RuntimeError if `device` names real hardware other than the CPU."""
    if isinstance(device, (int, str, torch.device)) and not isinstance(device, bool):
        kind = "cuda" if isinstance(device, int) else torch.device(device).type
        if kind not in ("cpu", "meta", PRETEND_DEVICE.type):
            raise RuntimeError(
                f'use `p.device`, the device of the parameter or tensor at hand, and not "{device}": '
                f'this check runs on the device "{PRETEND_DEVICE}"'
            )


class _GeneratorType(type(torch._C.Generator)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, torch._C.Generator)


class PretendGenerator(torch._C.Generator, metaclass=_GeneratorType):
    """`torch.Generator` while counting runs: for the pretend device one of the CPU's, for others torch's own."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return super().__new__(cls) if _is_pretend_device(device) else torch._C.Generator(device)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return PRETEND_DEVICE


def _refuse_generator(generator: Any, args: tuple[Any, ...], device: Any) -> None:
    """RuntimeError, as on CUDA, if the generator is on one device and what it is to fill on the other."""
    target = device if device is not None else next((a.device for a in args if isinstance(a, Tensor)), None)
    if target is not None and _is_pretend_device(target) != (type(generator) is PretendGenerator):
        wanted, found = torch.device(target).type, generator.device.type
        raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{found}'")


def _build(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`torch.tensor` and its like: on the host first, then copied, since they hide that copy from dispatch."""
    if func is Tensor.new_tensor:
        func, like, args = torch.tensor, args[0], args[1:]
        kwargs = {"dtype": like.dtype, "device": like.device} | {k: v for k, v in kwargs.items() if v is not None}
    options = dict(kwargs)
    data = args[0] if args else options.pop("obj" if func is torch.asarray else "data")
    if isinstance(data, PretendTensor):
        return _rebuild(func, data, options)
    data = _with_values(data)
    if not _is_pretend_device(options.get("device")):
        return func(data, **options)
    device, requires_grad = options.pop("device"), options.pop("requires_grad", False)
    return _dress(func(data, **options).to(device), requires_grad, is_parameter=False)


def _rebuild(func: Any, source: Tensor, options: Mapping[str, Any]) -> Tensor:
    """`torch.tensor(t)` is a detached copy of a device tensor; `torch.as_tensor(t)` is `t` itself where it can be."""
    target: dict[str, Any] = {
        "dtype": options.get("dtype") or source.dtype,
        "device": options.get("device") or source.device,
    }
    if func is torch.tensor:
        copy = source.detach().to(**target, copy=True)
        return _dress(copy, options.get("requires_grad", False), is_parameter=False)
    return source.to(**target, copy=bool(options.get("copy")))


def _with_values(data: Any) -> Any:
    """Nested lists with their device tensors read back: `torch.tensor([loss_1, loss_2])` waits for each of them."""
    if isinstance(data, PretendTensor):
        _note_sync(_READS_VALUE)
        return data._inner
    if isinstance(data, (list, tuple)) and any(isinstance(d, (Tensor, list, tuple)) for d in data):
        return [_with_values(d) for d in data]
    return data


# ---------------------------------------------------------------------------- what torch needs while counting runs


def _device_module() -> types.ModuleType:
    """`torch.lazy` for the time of counting: what `torch.utils.checkpoint` asks of the module of a device."""
    module = types.ModuleType(f"torch.{PRETEND_DEVICE.type}")
    contents: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "device": lambda index: contextlib.nullcontext(),
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "set_rng_state": lambda state, device=None: torch.set_rng_state(state),
        "synchronize": lambda device=None: _note_sync("`synchronize()`"),
    }
    vars(module).update(contents)
    return module


def _noting_sync(original: Callable[..., Any], carry_out: bool) -> Callable[..., Any]:
    @functools.wraps(original)
    def synchronize(*args: Any, **kwargs: Any) -> Any:
        _note_sync("`synchronize()`")
        return original(*args, **kwargs) if carry_out else None

    return synchronize


def _refuse_tracing(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("`torch.jit.trace` cannot record while launches are counted: trace before or afterwards")


def _loading(original: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.load` that understands the pretend device, as a place saved from and as `map_location`."""

    @functools.wraps(original)
    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        to_device = _is_pretend_device(map_location)
        token = _restoring_to_host.set(map_location is not None and not to_device)
        try:
            with torch.serialization.safe_globals([_restore]):
                loaded = original(f, "cpu" if to_device else map_location, *args, **kwargs)
        finally:
            _restoring_to_host.reset(token)
        return _all_on_device(loaded) if to_device else loaded

    return load


def _all_on_device(value: Any) -> Any:
    """A loaded structure with its tensors on the pretend device."""
    if isinstance(value, PretendTensor):
        return value
    if isinstance(value, Tensor):
        return _dress(PretendTensor(value.detach()), value.requires_grad, isinstance(value, nn.Parameter))
    if isinstance(value, dict):
        for key in value:
            value[key] = _all_on_device(value[key])
    if isinstance(value, (list, tuple)):
        return type(value)(map(_all_on_device, value))
    return value


@contextlib.contextmanager
def _replaced(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Set `owner.name` for a while; an attribute that was not there is not there afterwards."""
    existed, original = hasattr(owner, name), getattr(owner, name, None)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if existed:
            setattr(owner, name, original)
        else:
            delattr(owner, name)


_DEVICE_LISTS = ("foreach_kernels", "fused_kernels", "capturable")


def _kernel_support() -> list[contextlib.AbstractContextManager[None]]:
    """Let the pretend device into torch's lists of the devices and tensor types that have foreach and fused kernels.

    So `torch.optim.Adam(params)` and `clip_grad_norm_` choose on the pretend device what they choose on CUDA. The
    lists are private: where one is missing, torch's default there is the loop, and nothing else changes.
    """
    patches: list[contextlib.AbstractContextManager[None]] = []
    for module in [m for name, m in sys.modules.items() if name.startswith(("torch.optim.", "torch.utils._foreach"))]:
        for kind in _DEVICE_LISTS:
            name = f"_get_{kind}_supported_devices"
            if hasattr(module, name):
                patches.append(_replaced(module, name, _with_pretend_device(getattr(module, name))))
        if hasattr(module, "_foreach_supported_types"):
            supported = [*module._foreach_supported_types, PretendTensor]
            patches.append(_replaced(module, "_foreach_supported_types", supported))
    return patches


def _with_pretend_device(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
    return lambda *args, **kwargs: [*original(*args, **kwargs), PRETEND_DEVICE.type]


def _synchronize_patches(carry_out: bool) -> list[contextlib.AbstractContextManager[None]]:
    """Record `torch.cuda.synchronize()` and the like, and carry them out where there is a device to wait for."""
    owners = (torch.cuda, torch.accelerator)
    return [_replaced(owner, "synchronize", _noting_sync(owner.synchronize, carry_out)) for owner in owners]


def _pretend_contexts() -> list[contextlib.AbstractContextManager[Any]]:
    return [
        *_kernel_support(),
        *_synchronize_patches(carry_out=False),
        _replaced(torch, PRETEND_DEVICE.type, _device_module()),
        _replaced(torch, "load", _loading(torch.load)),
        _replaced(torch, "Generator", PretendGenerator),
        _replaced(torch.jit, "trace", _refuse_tracing),
        _FunctionMode(),
        _PretendMode(),  # type: ignore[no-untyped-call]
    ]


@functools.cache
def _pretend_fails() -> str:
    """Why this torch cannot carry the pretend device; "" if it can. Tried out once, on a backward pass."""
    try:
        with contextlib.ExitStack() as stack:
            for context in _pretend_contexts():
                stack.enter_context(context)
            weight = PretendTensor(torch.ones(2)).requires_grad_()
            (weight * torch.full((2,), 3.0, device=weight.device)).sum().backward()  # type: ignore[no-untyped-call]
            works = isinstance(weight.grad, PretendTensor) and weight.grad._inner.tolist() == [3.0, 3.0]
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "" if works else "it returned wrong gradients"


# ------------------------------------------------------------------------------------------------ plain counting


class _PlainMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations on ordinary tensors that live on the device of `counter`."""

    def __init__(self, counter: LaunchCounter) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counter = counter

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        holds = self._counter._holds
        here: list[Tensor] = []
        there: list[Tensor] = []
        for tensor in _tensors((*args, *kwargs.values())):
            (here if holds(tensor) else there).append(tensor)
        try:
            result = func(*args, **kwargs)
        except RuntimeError as error:
            if here and "same device" in str(error):
                self._counter._note("mixes", f"`{func}` on tensors of the device and of the host")
            raise
        on_device = any(map(holds, _tensors((result,)))) or (bool(here) and self._counter._by_lineage)
        if here or on_device:
            self._counter._observe(_Call(_traits(func), args, kwargs, here, there, on_device, holds), result)
        return result


def _real_accelerator() -> torch.device | None:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps", 0)
    if torch.xpu.is_available():
        return torch.device("xpu", torch.xpu.current_device())
    return None


def _choose(how: How, device: torch.device | None) -> tuple[Literal["pretend", "plain"], torch.device, str]:
    """The way of counting, the device and the sentence about it for `LaunchCounter(how, device)`."""
    if how == "pretend":
        if problem := _pretend_fails():
            raise RuntimeError(f"torch {torch.__version__} cannot carry the pretend device ({problem})")
        return "pretend", PRETEND_DEVICE, f"Counted on the pretend device {PRETEND_DEVICE}, which stands for a GPU."
    if how == "auto" and device is None:
        if not (problem := _pretend_fails()):
            return _choose("pretend", None)
        reason = f"torch {torch.__version__} cannot carry the pretend device ({problem})"
    else:
        chosen = device or _real_accelerator()
        if chosen is not None and chosen.type != "cpu":
            return "plain", chosen, f"Counted on the real device {chosen}."
        reason = "as asked"
    note = f"Counted on the CPU, {reason}: copies between devices and device mix-ups stay unseen."
    return "plain", torch.device("cpu"), note


# ----------------------------------------------------------------------------------------------------- the counter

_active: LaunchCounter | None = None
_activation = threading.Lock()


class LaunchCounter:
    """Counts launches, host synchronisations, device mix-ups and bytes while it is open (`with LaunchCounter() as c`).

    `how="pretend"` puts real numbers on a pretend device. `how="plain"` counts on ordinary tensors of `device` (the
    accelerator, or the CPU without one). On the CPU a tensor counts as the device's if it has a dimension or was
    computed from one that does, so that 0-dimensional step counters stay on the "host"; synchronisations are seen,
    copies and mix-ups are not. `how="auto"` is pretend, so that every machine counts alike, whatever GPU it has; where
    this torch cannot carry the pretend device, it is plain on the CPU. `note` says in one sentence how it is counted.

    A counter may be opened again and in any thread, but one at a time in a process (RuntimeError). The thread that
    opened it is counted; another thread is where it touches pretend tensors. Nothing is recorded outside sections.
    """

    def __init__(self, how: How = "auto", device: torch.device | str | None = None) -> None:
        if how not in ("auto", "pretend", "plain"):
            raise ValueError(f'how is {how!r}, not one of "auto", "pretend", "plain"')
        wanted = None if device is None else torch.device(device)
        if wanted is not None and (how == "pretend") != _is_pretend_device(wanted):
            raise ValueError(f'how="pretend" counts on {PRETEND_DEVICE} and nothing else does; the device is {wanted}')
        self.how: Literal["pretend", "plain"]
        self.device: torch.device
        self.note: str
        self.how, self.device, self.note = _choose(how, wanted)
        self._by_lineage = self.device.type == "cpu"
        self._ledger = _CudaLedger() if self.device.type == "cuda" else _Ledger()
        self._section: Section | None = None
        self._owner = 0
        self._paused = False

    def __enter__(self) -> LaunchCounter:
        global _active
        with _activation:
            if _active is not None:
                raise RuntimeError("a LaunchCounter is open already: close it before you open another")
            _active = self
        self._owner = threading.get_ident()
        try:
            with contextlib.ExitStack() as stack:
                for context in self._contexts():
                    stack.enter_context(context)
                self._exits = stack.pop_all()
        except BaseException:
            _active = None
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        global _active
        try:
            self._exits.__exit__(*exception)
        finally:
            _active = None

    def _contexts(self) -> list[contextlib.AbstractContextManager[Any]]:
        if self.how == "pretend":
            return _pretend_contexts()
        return [*_synchronize_patches(carry_out=self.device.type != "cpu"), _PlainMode(self)]

    @contextlib.contextmanager
    def section(self, name: str = "") -> Iterator[Section]:
        """Record what happens inside the `with` block, which may be left by an exception; sections do not nest.

        Python's cyclic garbage collector rests meanwhile: memory freed at random moments would blur the bytes.
        """
        if _active is not self:
            raise RuntimeError("the counter is not open: use `section` inside `with LaunchCounter() as counter:`")
        if self._section is not None:
            raise RuntimeError("a section is open already: sections do not nest")
        section = Section(name)
        collects = gc.isenabled()
        gc.disable()
        self._ledger.open(section)
        self._section = section
        try:
            yield section
        finally:
            self._section = None
            self._ledger.close(section)
            if collects:
                gc.enable()

    def place(self, tensor: Tensor) -> Tensor:
        """A copy of `tensor` on the counted device; a leaf with the same `requires_grad`, a parameter if it is one.

        Not counted as a launch, an upload or an allocation.
        """
        if self.how == "pretend":
            copy: Tensor = PretendTensor(_unwrap(tensor.detach()).clone())
        else:
            with self._pause():
                copy = tensor.detach().to(self.device, copy=True)
        self._ledger.add(copy, allocated=False)
        return _dress(copy, tensor.requires_grad, isinstance(tensor, nn.Parameter))

    def fetch(self, tensor: Tensor) -> Tensor:
        """A detached copy of `tensor` on the CPU, of the same dtype; not counted, no synchronisation."""
        if isinstance(tensor, PretendTensor):
            return tensor._inner.detach().clone()
        with self._pause():
            return tensor.detach().to("cpu", copy=True)

    def place_module(self, module: ModuleType) -> ModuleType:
        """Replace every parameter and buffer by its copy on the device; shared ones stay shared. Returns `module`.

        The parameters are new objects: build the optimizer afterwards.
        """
        placed: dict[int, Tensor] = {}
        for part in module.modules():
            for tensors in (part._parameters, part._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        if id(tensor) not in placed:
                            placed[id(tensor)] = self.place(tensor)
                        tensors[name] = placed[id(tensor)]  # type: ignore[assignment]
        return module

    @contextlib.contextmanager
    def _pause(self) -> Iterator[None]:
        was, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = was

    def _holds(self, tensor: Any) -> bool:
        """Is this tensor on the counted device? For plain counting."""
        if self._by_lineage:
            return tensor.device.type == "cpu" and (tensor.dim() > 0 or self._ledger.knows(tensor))
        return isinstance(tensor, Tensor) and tensor.device.type == self.device.type

    def _note(self, kind: Literal["syncs", "mixes", "uploads"], what: str) -> None:
        if self._section is not None and not self._paused:
            getattr(self._section, kind).append(_event(what, self._owner))

    def _observe(self, call: _Call, result: Any) -> None:
        """Count one operation that was carried out."""
        if self._paused:
            return
        if call.traits.fresh or call.traits.reshapes or self._by_lineage:
            for tensor in _tensors((result,)):
                if call.holds(tensor) or (self._by_lineage and call.here):
                    self._ledger.add(tensor, allocated=call.traits.fresh)
        if self._section is None:
            return
        if launches := _launches_of(call):
            self._section.operations[call.traits.name] += launches
        if what := _sync_of(call):
            self._note("syncs", what)
        if what := _upload_of(call):
            self._note("uploads", what)
