"""Right and wrong answers to the exercises of `09_capstone`."""

from __future__ import annotations

import copy
import io
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autograder.answers import Mutants, Objects

Pair = tuple[Tensor, Tensor]
LossFn = Callable[[Tensor, Tensor], Tensor]
Clip = Callable[..., Any]

# --- capstone.clip --------------------------------------------------------------------------------------------------


def clip_by_stack(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    params = [params] if isinstance(params, Tensor) else list(params)
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    norm = torch.stack([g.norm() for g in grads]).norm()
    if error_if_nonfinite and not torch.isfinite(norm):
        raise RuntimeError("the norm of the gradients is not finite")
    factor = (max_norm / (norm + 1e-6)).clamp(max=1)
    for g in grads:
        g.mul_(factor)
    return norm


@torch.no_grad()
def clip_foreach(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Any:
    if isinstance(params, Tensor):
        params = (params,)
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return 0.0
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    if error_if_nonfinite and (norm.isnan() or norm.isinf()):
        raise RuntimeError("not finite")
    torch._foreach_mul_(grads, torch.clamp(max_norm / (norm + 1e-6), max=1.0))
    return norm


def clip_with_floats(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    """In Python numbers, only when the limit is exceeded, and without torch's 1e-6."""
    params = [params] if isinstance(params, Tensor) else list(params)
    total = 0.0
    for p in params:
        if p.grad is not None:
            total += float(p.grad.double().pow(2).sum())
    norm = math.sqrt(total)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"norm {norm}")
    if norm > max_norm:
        for p in params:
            if p.grad is not None:
                p.grad *= max_norm / norm
    return torch.tensor(norm)


def clip_concatenated(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    params = [params] if torch.is_tensor(params) else list(params)
    flat = [p.grad.reshape(-1) for p in params if p.grad is not None]
    norm = torch.cat(flat).norm() if flat else torch.tensor(0.0)
    if error_if_nonfinite and not bool(norm.isfinite()):
        raise RuntimeError("gradient norm is not finite")
    for p in params:
        if p.grad is not None:
            p.grad.copy_(p.grad * torch.minimum(max_norm / (norm + 1e-6), torch.ones_like(norm)))
    return norm


@torch.no_grad()
def _unscale(model: nn.Module, scale: float) -> None:
    for p in model.parameters():
        if p.grad is not None:
            p.grad /= scale


def step_with(
    clip: Clip,
    loss_factor: Callable[[float], float] = lambda scale: scale,
    unscale: Callable[[nn.Module, float], None] = _unscale,
    each: Callable[[nn.Module, float], Any] = lambda model, max_norm: None,
    makes_step: Callable[[Any], bool] = math.isfinite,
    batches: Callable[[Any], Any] = lambda micro_batches: micro_batches,
) -> Callable[..., Any]:
    """A right `clipped_step` around a clip; the mutants differ in the other arguments."""

    def clipped_step(
        model: nn.Module,
        loss_fn: LossFn,
        micro_batches: Sequence[Pair],
        opt: Any,
        max_norm: float,
        scale: float = 1.0,
    ) -> Any:
        opt.zero_grad()
        micro_batches, factor = batches(micro_batches), loss_factor(scale)
        for X, y in micro_batches:
            (factor * loss_fn(model(X), y) / len(micro_batches)).backward()
            each(model, max_norm)
        unscale(model, factor)
        norm = clip(model.parameters(), max_norm)
        if makes_step(norm):
            opt.step()
        return norm

    return clipped_step


def step_summed(
    model: nn.Module, loss_fn: LossFn, micro_batches: Any, opt: Any, max_norm: float, scale: float = 1.0
) -> Any:
    """Scaled by 1/K afterwards, together with the unscaling; gradients set to None first and cleared at the end."""
    params = [p for group in opt.param_groups for p in group["params"]]
    for p in params:
        p.grad = None
    count = 0
    for X, y in micro_batches:
        loss = loss_fn(model(X), y) * scale
        loss.backward()  # type: ignore[no-untyped-call]
        count += 1
    with torch.no_grad():
        torch._foreach_mul_([p.grad for p in params if p.grad is not None], 1 / (scale * count))
    norm = clip_foreach(params, max_norm)
    if torch.isfinite(norm):
        opt.step()
    opt.zero_grad()
    return norm.item()


def step_one_backward(
    model: nn.Module, loss_fn: LossFn, micro_batches: Any, opt: Any, max_norm: float, scale: float = 1.0
) -> Any:
    """The losses are added and sent back together."""
    opt.zero_grad(set_to_none=False)
    losses = [loss_fn(model(X), y) for X, y in micro_batches]
    (scale * torch.stack(losses).mean()).backward()  # type: ignore[no-untyped-call]
    for p in model.parameters():
        p.grad = None if p.grad is None else p.grad / scale
    norm = clip_by_stack(model.parameters(), max_norm)
    try:
        clip_by_stack(model.parameters(), max_norm, error_if_nonfinite=True)
    except RuntimeError:
        return norm
    opt.step()
    return norm


def _as_float(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> float:
    return float(clip_by_stack(params, max_norm, error_if_nonfinite))


def _looks_for(bad: Callable[[Tensor], Tensor]) -> Clip:
    def clip(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
        params = [params] if isinstance(params, Tensor) else list(params)
        flat = [p.grad.flatten() for p in params if p.grad is not None]
        norm = torch.cat(flat).norm() if flat else torch.zeros(())
        if error_if_nonfinite and bad(norm):
            raise RuntimeError("bad norm")
        return clip_by_stack(params, max_norm)

    return clip


def _raises_last(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    norm = clip_by_stack(params, max_norm)
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError(f"norm {norm}")
    return norm


def _unscale_all(model: nn.Module, scale: float) -> None:
    for p in model.parameters():
        p.grad.div_(scale)  # type: ignore[union-attr]


@torch.no_grad()
def _unscale_all_by_operator(model: nn.Module, scale: float) -> None:
    for p in model.parameters():
        p.grad /= scale


def _joined(micro_batches: Sequence[Pair]) -> list[Pair]:
    inputs, targets = zip(*micro_batches, strict=True)
    return [(torch.cat(inputs), torch.cat(targets))]


def _step_clips_each(
    model: nn.Module, loss_fn: LossFn, micro_batches: Any, opt: Any, max_norm: float, scale: float = 1.0
) -> Any:
    opt.zero_grad()
    for X, y in micro_batches:
        (scale * loss_fn(model(X), y) / len(micro_batches)).backward()
        norm = clip_by_stack(model.parameters(), max_norm)
    _unscale(model, scale)
    if torch.isfinite(norm):
        opt.step()
    return norm


def _not_nan(norm: Any) -> bool:
    return not torch.as_tensor(norm).isnan()


@torch.no_grad()
def _each_by_itself(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    params = [params] if isinstance(params, Tensor) else list(params)
    norms = []
    for p in params:
        if p.grad is None:
            continue
        n = p.grad.norm()
        norms.append(n)
        if n > max_norm:
            p.grad.mul_(max_norm / n)
    total = torch.stack(norms).norm() if norms else torch.tensor(0.0)
    if error_if_nonfinite and not total.isfinite():
        raise RuntimeError
    return total


@torch.no_grad()
def _by_value(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    params = [params] if isinstance(params, Tensor) else list(params)
    grads = [p.grad for p in params if p.grad is not None]
    norm = torch.stack([g.norm() for g in grads]).norm() if grads else torch.tensor(0.0)
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError("no")
    for g in grads:
        torch.clip(g, -max_norm, max_norm, out=g)
    return norm


@torch.no_grad()
def _always(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    params = [params] if isinstance(params, Tensor) else list(params)
    squares = [(p.grad**2).sum() for p in params if p.grad is not None]
    norm = torch.stack(squares).sum().sqrt() if squares else torch.tensor(0.0)
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError("not finite")
    for p in params:
        if p.grad is not None:
            p.grad *= max_norm / (norm + 1e-6)
    return norm


def _rebound(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    params = [params] if isinstance(params, Tensor) else list(params)
    norm = clip_concatenated(params, math.inf, error_if_nonfinite)
    for p in params:
        if p.grad is not None:
            p.grad = p.grad * min(1.0, max_norm / (float(norm) + 1e-6))
    return norm


def _forgets_to_raise(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    return clip_by_stack(params, max_norm)


def _sum_of_squares(params: Any, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    params = [params] if isinstance(params, Tensor) else list(params)
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    norm = torch.stack([(g**2).sum() for g in grads]).sum()
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError("no")
    for g in grads:
        g.mul_(torch.clamp(max_norm / (norm + 1e-6), max=1))
    return norm


def _step_clips_early(
    model: nn.Module, loss_fn: LossFn, micro_batches: Any, opt: Any, max_norm: float, scale: float = 1.0
) -> Any:
    opt.zero_grad()
    for X, y in micro_batches:
        (loss_fn(model(X), y) * scale / len(micro_batches)).backward()
    norm = clip_by_stack(model.parameters(), max_norm)
    for p in model.parameters():
        if p.grad is not None:
            p.grad /= scale
    if norm.isfinite():
        opt.step()
    return norm


def _step_always(
    model: nn.Module, loss_fn: LossFn, micro_batches: Any, opt: Any, max_norm: float, scale: float = 1.0
) -> Any:
    opt.zero_grad()
    for X, y in micro_batches:
        (loss_fn(model(X), y) * scale / len(micro_batches)).backward()
    for p in model.parameters():
        if p.grad is not None:
            p.grad.div_(scale)
    norm = clip_by_stack(model.parameters(), max_norm)
    opt.step()
    return norm


def _step_unscaled_never(
    model: nn.Module, loss_fn: LossFn, micro_batches: Any, opt: Any, max_norm: float, scale: float = 1.0
) -> Any:
    opt.zero_grad()
    for X, y in micro_batches:
        loss = loss_fn(model(X), y) / len(micro_batches)
        (loss * scale).backward()
    norm = clip_by_stack(model.parameters(), max_norm)
    if torch.isfinite(norm):
        opt.step()
    return norm


def _step_keeps_old(
    model: nn.Module, loss_fn: LossFn, micro_batches: Any, opt: Any, max_norm: float, scale: float = 1.0
) -> Any:
    for X, y in micro_batches:
        (scale * loss_fn(model(X), y) / len(micro_batches)).backward()
    for p in model.parameters():
        if p.grad is not None:
            p.grad.mul_(1 / scale)
    norm = clip_by_stack(model.parameters(), max_norm)
    if torch.isfinite(norm):
        opt.step()
    return norm


# --- capstone.early_stopping ----------------------------------------------------------------------------------------


class Stopping:
    """A student's class; the mutants change one method."""

    def __init__(self, model: nn.Module, patience: int, min_delta: float = 0.0, restore_best: bool = True) -> None:
        self.model, self.patience, self.min_delta, self.restore_best = model, patience, min_delta, restore_best
        self.best, self.best_step, self.step, self.bad = float("inf"), 0, 0, 0
        self.snapshot: Any = None

    def improved(self, loss: float) -> bool:
        return loss < self.best - self.min_delta

    def take(self) -> None:
        self.snapshot = copy.deepcopy(self.model.state_dict())

    def update(self, loss: float) -> bool:
        self.step += 1
        if self.improved(loss):
            self.best, self.best_step, self.bad = loss, self.step, 0
            self.take()
        else:
            self.bad += 1
        if self.bad < self.patience:
            return False
        if self.restore_best:
            self.restore()
        return True

    def restore(self) -> None:
        if self.snapshot is not None:
            self.model.load_state_dict(self.snapshot)


class StoppingByCopy(Stopping):
    """Clones tensor by tensor, and copies back by name."""

    def take(self) -> None:
        self.snapshot = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    @torch.no_grad()
    def restore(self) -> None:
        for name, value in (self.snapshot or {}).items():
            self.model.state_dict()[name].copy_(value)


class StoppingByStep(Stopping):
    """Counts from the step of the best instead of counting failures; tensors for numbers."""

    def update(self, loss: float) -> bool:
        self.step += 1
        if torch.tensor(loss, dtype=torch.float64) < torch.tensor(self.best, dtype=torch.float64) - self.min_delta:
            self.best, self.best_step = loss, self.step
            self.take()
        stop = self.step - self.best_step >= self.patience
        if stop and self.restore_best:
            self.restore()
        return stop


class StoppingInBytes(Stopping):
    """The snapshot as bytes, like a file."""

    def take(self) -> None:
        self.snapshot = io.BytesIO()
        torch.save(self.model.state_dict(), self.snapshot)

    def restore(self) -> None:
        if self.snapshot is not None:
            self.snapshot.seek(0)
            self.model.load_state_dict(torch.load(self.snapshot))


class _SharedState(Stopping):
    def take(self) -> None:
        self.snapshot = self.model.state_dict()


class _TooPatient(Stopping):
    def update(self, loss: float) -> bool:
        self.step += 1
        if self.improved(loss):
            self.best, self.best_step, self.bad = loss, self.step, 0
            self.take()
            return False
        self.bad += 1
        if self.bad > self.patience:
            if self.restore_best:
                self.restore()
            return True
        return False


class _NeverReset(Stopping):
    def update(self, loss: float) -> bool:
        self.step += 1
        if self.improved(loss):
            self.best, self.best_step = loss, self.step
            self.take()
        else:
            self.bad += 1
        if self.bad >= self.patience and self.restore_best:
            self.restore()
        return self.bad >= self.patience


class _WrongSign(Stopping):
    def improved(self, loss: float) -> bool:
        return loss - self.min_delta < self.best


class _ParametersOnly(Stopping):
    def take(self) -> None:
        self.snapshot = [p.detach().clone() for p in self.model.parameters()]

    @torch.no_grad()
    def restore(self) -> None:
        for p, saved in zip(self.model.parameters(), self.snapshot or (), strict=False):
            p.copy_(saved)


class _NanImproves(Stopping):
    def improved(self, loss: float) -> bool:
        return not (loss >= self.best - self.min_delta)


class _NoDelta(Stopping):
    def improved(self, loss: float) -> bool:
        return loss < self.best


class _NoRestore(Stopping):
    def update(self, loss: float) -> bool:
        keep, self.restore_best = self.restore_best, False
        stop = super().update(loss)
        self.restore_best = keep
        return stop


class _RestoresOnRequest(Stopping):
    def restore(self) -> None:
        if self.restore_best:
            super().restore()


class _KeepsOnRequest(Stopping):
    def take(self) -> None:
        if self.restore_best:
            super().take()


class _SnapshotOnce(Stopping):
    def restore(self) -> None:
        super().restore()
        self.snapshot = None


class _SnapshotBecomesModel(Stopping):
    def restore(self) -> None:
        for name, p in self.model.named_parameters():
            p.data = self.snapshot[name] if self.snapshot else p.data
        for name, b in self.model.named_buffers():
            b.data = self.snapshot[name] if self.snapshot else b.data


class _CountsAnew(Stopping):
    def restore(self) -> None:
        super().restore()
        self.bad = 0


class _RestoresNothing(Stopping):
    def take(self) -> None:
        self.snapshot = copy.deepcopy(self.model)

    def restore(self) -> None:
        if self.snapshot is not None:
            self.model = self.snapshot


# --- capstone.resume ------------------------------------------------------------------------------------------------


def write_by_replace(path: Path, state: dict[str, Any]) -> None:
    torch.save(state, f"{path}.new")
    os.replace(f"{path}.new", path)


def write_with_fsync(path: Path, state: dict[str, Any]) -> None:
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(file.name, path)


def write_from_memory(path: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    fresh = path.with_suffix(".part")
    fresh.write_bytes(buffer.getvalue())
    fresh.replace(path)


def read_torch(path: Path) -> Any:
    return torch.load(path, weights_only=False)


def read_open_file(path: Path) -> Any:
    with path.open("rb") as file:
        return torch.load(file)


def trainer(
    write: Callable[[Path, Any], None] = write_by_replace,
    read: Callable[[Path], Any] = read_torch,
    skips: str = "",
    first: Callable[[int], int] = lambda step: step,
    lr_step: Callable[[int, int], int] = lambda t, start: t,
    due: Callable[[int, int, int], bool] = lambda done, every, steps: done % every == 0 or done == steps,
    draw: Callable[[int, torch.Generator], Tensor] = lambda n, generator: torch.randperm(n, generator=generator),
    length: Callable[[int, int], int] = lambda n, batch_size: n // batch_size,
    groups: slice = slice(None),
    prepare: Callable[[nn.Module], Any] = lambda model: None,
) -> Callable[..., None]:
    """A student's `train`; `skips` is what is not restored, `groups` are those that get an lr."""

    def train(
        folder: Path,
        model: nn.Module,
        opt: Any,
        generator: torch.Generator,
        X: Tensor,
        y: Tensor,
        *,
        steps: int,
        batch_size: int,
        lr_at: Callable[[int], float],
        every: int,
    ) -> None:
        path = Path(folder) / "checkpoint.pt"
        start, order = 0, torch.empty(0, dtype=torch.int64)
        if path.exists():
            saved = read(path)
            start = first(saved["step"])
            if skips != "order":
                order = saved["order"]
            for name, put in (
                ("model", model.load_state_dict),
                ("opt", opt.load_state_dict),
                ("generator", generator.set_state),
                ("rng", torch.set_rng_state),
            ):
                if name != skips:
                    put(saved[name])
        prepare(model)
        per_epoch = length(len(X), batch_size)
        for t in range(start, steps):
            position = t % per_epoch
            if position == 0 or len(order) == 0:
                order = draw(len(X), generator)
            for group in opt.param_groups[groups]:
                group["lr"] = lr_at(lr_step(t, start))
            batch = order[position * batch_size :][:batch_size]
            opt.zero_grad()
            nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
            opt.step()
            if due(t + 1, every, steps):
                state = {"step": t + 1, "order": order, "model": model.state_dict(), "opt": opt.state_dict()}
                write(path, {**state, "generator": generator.get_state(), "rng": torch.get_rng_state()})

    return train


def train_by_epochs(
    folder: Path,
    model: nn.Module,
    opt: Any,
    generator: torch.Generator,
    X: Tensor,
    y: Tensor,
    *,
    steps: int,
    batch_size: int,
    lr_at: Callable[[int], float],
    every: int,
) -> None:
    """The order is drawn again from the state that the generator had when the epoch began, instead of being saved."""
    path, done = Path(folder) / "checkpoint.pt", 0
    at_epoch = generator.get_state()
    if path.is_file():
        saved = torch.load(path)
        done, at_epoch = int(saved["done"]), saved["at_epoch"]
        model.load_state_dict(saved["model"])
        opt.load_state_dict(saved["opt"])
        torch.random.set_rng_state(saved["rng"])
        generator.set_state(at_epoch)
        if done % (len(X) // batch_size) == 0:
            torch.randperm(len(X), generator=generator)
    while done < steps:
        at_epoch = generator.get_state()
        batches = torch.randperm(len(X), generator=generator).split(batch_size)[: len(X) // batch_size]
        for batch in batches[done % len(batches) :]:
            for group in opt.param_groups:
                group["lr"] = float(lr_at(done))
            model.zero_grad()
            loss = nn.functional.cross_entropy(model(X[batch]), y[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            opt.step()
            done += 1
            if done % every == 0 or done == steps:
                state = {"done": torch.tensor(done), "at_epoch": at_epoch, "model": model.state_dict()}
                state |= {"opt": opt.state_dict(), "rng": torch.random.get_rng_state()}
                write_with_fsync_torch(path, state)
            if done == steps:
                break


def write_with_fsync_torch(path: Path, state: dict[str, Any]) -> None:
    fresh = path.with_name("checkpoint.tmp")
    with open(fresh, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    shutil.move(fresh, path)


def _write_straight(path: Path, state: dict[str, Any]) -> None:
    with open(path, "wb") as file:
        torch.save(state, file)


def _write_unlinked(path: Path, state: dict[str, Any]) -> None:
    fresh = path.with_name("new.pt")
    torch.save(state, fresh)
    if path.exists():
        path.unlink()
    fresh.rename(path)


def _write_copied(path: Path, state: dict[str, Any]) -> None:
    torch.save(state, path.with_suffix(".tmp"))
    shutil.copy(path.with_suffix(".tmp"), path)


def _write_bytes(path: Path, state: dict[str, Any]) -> None:
    fresh = path.with_name("new.pt")
    torch.save(state, fresh)
    path.write_bytes(fresh.read_bytes())


# --- capstone.fast_loop ---------------------------------------------------------------------------------------------


def _foreach_clip(params: Iterable[Tensor], max_norm: float) -> None:
    grads = [p.grad for p in params if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(grads)).norm()
    torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1))


def loop(
    clip: Callable[[Iterable[Tensor], float], Any] = _foreach_clip,
    entry: Callable[[list[Tensor]], float] = lambda losses: torch.stack(losses).mean().item(),
    first: int = 1,
    zero: bool = True,
    when: str = "before",
    through: Callable[[Any], Iterable[Pair]] = lambda batches: batches,
    keep: Callable[[Tensor], Tensor] = Tensor.detach,
) -> Callable[..., Any]:
    """A student's loop, which keeps the losses since the last entry in a list."""

    def train_loop(
        model: nn.Module, loss_fn: LossFn, opt: Any, batches: Any, *, max_norm: float, log_every: int
    ) -> Any:
        log, losses = [], list[Tensor]()
        for t, (X, y) in enumerate(through(batches), first):
            if zero:
                model.zero_grad()
            loss = loss_fn(model(X), y)
            loss.backward()  # type: ignore[no-untyped-call]
            if when == "before":
                with torch.no_grad():
                    clip(model.parameters(), max_norm)
            opt.step()
            if when == "after":
                clip(model.parameters(), max_norm)
            losses.append(keep(loss))
            if len(losses) == log_every:
                log.append((t, entry(losses)))
                losses.clear()
        return log

    return train_loop


def loop_with_sum(
    model: nn.Module, loss_fn: LossFn, opt: Any, batches: Iterable[Pair], *, max_norm: float, log_every: int
) -> Any:
    """A running sum on the device, written into in place; entries as lists, numbers by tolist()."""
    params, log = list(model.parameters()), []
    total: Any = None
    for t, (X, y) in enumerate(batches, start=1):
        opt.zero_grad(set_to_none=True)
        loss = loss_fn(model(X), y)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_foreach(params, max_norm)
        opt.step()
        if total is None:
            total = torch.zeros_like(loss)
        total.add_(loss.detach())
        if t % log_every == 0:
            log.append([t, float(total) / log_every])
            total.zero_()
    return tuple(log)


def loop_with_grad(
    model: nn.Module, loss_fn: LossFn, opt: Any, batches: Iterable[Pair], *, max_norm: float, log_every: int
) -> Any:
    """Gradients by torch.autograd.grad, and the norm by concatenation."""
    params, log, window = [p for p in model.parameters() if p.requires_grad], [], 0
    mean: Any = 0.0
    for t, (X, y) in enumerate(batches, start=1):
        loss = loss_fn(model(X), y)
        grads = torch.autograd.grad(loss, params)
        flat = torch.nn.utils.parameters_to_vector(grads)
        factor = torch.clamp(max_norm / (torch.linalg.vector_norm(flat) + 1e-6), max=1.0)
        for p, g in zip(params, torch._foreach_mul(grads, factor), strict=True):
            p.grad = g
        opt.step()
        window += 1
        mean = mean + loss.detach() / log_every
        if window == log_every:
            log.append((t, mean.item()))
            window, mean = 0, 0.0
    return log


def _clip_in_a_loop(params: Iterable[Tensor], max_norm: float) -> None:
    clip_by_stack(params, max_norm)


def _clip_with_if(params: Iterable[Tensor], max_norm: float) -> None:
    grads = [p.grad for p in params if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(grads)).norm()
    if norm > max_norm:
        torch._foreach_mul_(grads, max_norm / norm)


def _clip_all(params: Iterable[Tensor], max_norm: float) -> None:
    grads = [p.grad for p in params]
    norm = torch.stack(torch._foreach_norm(grads)).norm()  # type: ignore[arg-type]
    torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1))  # type: ignore[arg-type]


def _by_index(batches: Any) -> Iterable[Pair]:
    return [batches[i] for i in range(len(batches))]


def loop_with_graphs(
    model: nn.Module, loss_fn: LossFn, opt: Any, batches: Iterable[Pair], *, max_norm: float, log_every: int
) -> Any:
    params, log, total = list(model.parameters()), [], torch.tensor(0.0)
    for t, (X, y) in enumerate(batches, start=1):
        opt.zero_grad()
        loss = loss_fn(model(X), y)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_foreach(params, max_norm)
        opt.step()
        total = loss if t % log_every == 1 % log_every else total + loss
        if t % log_every == 0:
            log.append((t, total.item() / log_every))
    return log


def _no_clip(params: Iterable[Tensor], max_norm: float) -> None:
    pass


# --- capstone.accuracy ----------------------------------------------------------------------------------------------


class Sgd(torch.optim.Optimizer):
    """Momentum in torch's form, as in notebook 03."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                    buffer.mul_(group["momentum"]).add_(p.grad)
                    p.sub_(group["lr"] * buffer)


class AdamW(torch.optim.Optimizer):
    """As in notebook 05."""

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                t = state["t"] = state.get("t", 0) + 1
                m = state.setdefault("m", torch.zeros_like(p))
                v = state.setdefault("v", torch.zeros_like(p))
                assert p.grad is not None
                m.lerp_(p.grad, 0.1)
                v.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.addcdiv_(m, (v / (1 - 0.999**t)).sqrt_().add_(1e-8), value=-group["lr"] / (1 - 0.9**t))


def convolutions(width: int, dropout: float = 0.2, channels: int = 32) -> nn.Sequential:
    length = math.ceil(math.ceil(math.ceil(width / 2) / 2) / 2)
    model = nn.Sequential(
        nn.Conv1d(1, channels, 5, 2, 2), nn.ReLU(), nn.Conv1d(channels, channels, 3, 2, 1), nn.ReLU(),
        nn.Conv1d(channels, channels, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout),
        nn.Linear(channels * length, 10),
    )  # fmt: skip
    for p in model.parameters():
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)
    return model


def program(
    make: Callable[[int], nn.Module] = convolutions,
    optimizer: Callable[..., Any] = AdamW,
    lr: float = 0.03,
    normalise: bool = True,
    use: float = 1.0,
    evaluate: bool = True,
    shuffled: bool = True,
    clip: float = 1.0,
    batch_size: int = 128,
    falling: bool = True,
    answer: Callable[[Tensor], Any] = lambda scores: scores.argmax(1),
) -> Callable[..., Any]:
    """A whole program, good with its defaults."""

    def train_and_predict(train_x: Tensor, train_y: Tensor, test_x: Tensor, budget: int, generator: Any) -> Any:
        mean, std = (train_x.mean(), train_x.std()) if normalise else (0.0, 1.0)
        X, T = (((x - mean) / std)[:, None] for x in (train_x, test_x))
        y = train_y if shuffled else train_y[torch.randperm(len(train_y), generator=generator)]
        model = make(X.shape[2])
        opt = optimizer(model.parameters(), lr=lr)
        steps = round(use * budget)
        for t in range(steps):
            warm = min(1.0, (t + 1) / (0.1 * steps))
            opt.param_groups[0]["lr"] = lr * warm * (0.5 * (1 + math.cos(math.pi * t / steps)) if falling else 1.0)
            rows = torch.randint(len(X), (batch_size,), generator=generator)
            opt.zero_grad()
            nn.functional.cross_entropy(model(X[rows]), y[rows]).backward()
            clip_foreach(model.parameters(), clip)
            opt.step()
        if evaluate:
            model.eval()
        with torch.no_grad():
            return answer(model(T))

    return train_and_predict


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 10))


# --- tables ---------------------------------------------------------------------------------------------------------

ACCEPTED: dict[str, dict[str, Objects]] = {
    "capstone.clip": {
        "norms stacked": (clip_by_stack, step_with(clip_by_stack)),
        "foreach": (clip_foreach, step_with(clip_foreach)),
        "Python numbers, only above the limit": (clip_with_floats, step_with(clip_with_floats)),
        "concatenated": (clip_concatenated, step_with(clip_concatenated)),
        "scaled by 1/K at the end": (clip_foreach, step_summed),
        "one backward": (clip_by_stack, step_one_backward),
    },
    "capstone.early_stopping": {
        "deepcopy": (Stopping,),
        "clone and copy_": (StoppingByCopy,),
        "by the step of the best": (StoppingByStep,),
        "as bytes": (StoppingInBytes,),
    },
    "capstone.resume": {
        "os.replace": (trainer(),),
        "open file, fsync, rename": (trainer(write_with_fsync, read_open_file),),
        "from memory": (trainer(write_from_memory),),
        "order drawn again": (train_by_epochs,),
    },
    "capstone.fast_loop": {
        "losses in a list": (loop(),),
        "running sum": (loop_with_sum,),
        "autograd.grad": (loop_with_grad,),
    },
    "capstone.accuracy": {
        "convolutions, AdamW": (program(),),
        "half the channels, answers as a list": (
            program(make=partial(convolutions, channels=24), answer=lambda scores: scores.argmax(1).tolist()),
        ),
        "batches of 64, answers as an array": (program(batch_size=64, answer=lambda s: np.asarray(s.argmax(1))),),
    },
}

_RIGHT = step_with(clip_by_stack)

MUTANTS: Mutants = {
    "capstone.clip": (
        ("C1", "each gradient by itself", (_each_by_itself, step_with(_each_by_itself))),
        ("C2", "torch.clip", (_by_value, step_with(_by_value))),
        ("C5", "always scaled", (_always, step_with(_always))),
        ("C7", "p.grad rebound", (_rebound, step_with(_rebound))),
        ("C11", "never raises", (_forgets_to_raise, _RIGHT)),
        ("C4", "squares summed", (_sum_of_squares, step_with(_sum_of_squares))),
        ("C31", "clips the scaled gradient", (clip_by_stack, _step_clips_early)),
        ("C32", "never unscales", (clip_by_stack, _step_unscaled_never)),
        ("C35", "no zero_grad", (clip_by_stack, _step_keeps_old)),
        ("C37", "steps with nan", (clip_by_stack, _step_always)),
        ("C1", "each gradient by itself, the step by a right clip", (_each_by_itself, _RIGHT)),
        ("C5", "always scaled, the step by a right clip", (_always, _RIGHT)),
        (
            "C30",
            "clips what is there so far, and at the end",
            (clip_by_stack, step_with(clip_by_stack, each=lambda model, g: clip_by_stack(model.parameters(), g))),
        ),
        ("C30", "clips what is there so far", (clip_by_stack, _step_clips_each)),
        ("C120", "float", (_as_float, step_with(_as_float))),
        ("C121", "isnan", (_looks_for(torch.isnan), _RIGHT)),
        ("C121", "isinf", (_looks_for(torch.isinf), _RIGHT)),
        ("C122", "raises last", (_raises_last, _RIGHT)),
        ("C123", "not isnan", (clip_by_stack, step_with(clip_by_stack, makes_step=_not_nan))),
        ("C124", "div_ of None", (clip_by_stack, step_with(clip_by_stack, unscale=_unscale_all))),
        ("C124", "None /= scale", (clip_by_stack, step_with(clip_by_stack, unscale=_unscale_all_by_operator))),
        ("C125", "scale unused", (clip_by_stack, step_with(clip_by_stack, loss_factor=lambda scale: 1.0))),
        ("C126", "torch.cat", (clip_by_stack, step_with(clip_by_stack, batches=_joined))),
    ),
    "capstone.early_stopping": (
        ("C40", "state_dict as it is", (_SharedState,)),
        ("C41", "> for >=", (_TooPatient,)),
        ("C43", "counts all failures", (_NeverReset,)),
        ("C44", "loss − min_delta", (_WrongSign,)),
        ("C46", "no min_delta", (_NoDelta,)),
        ("C49", "no restore", (_NoRestore,)),
        ("C51", "parameters()", (_ParametersOnly,)),
        ("C52", "not >=", (_NanImproves,)),
        ("C58", "restore asks restore_best", (_RestoresOnRequest,)),
        ("C58", "snapshot asks restore_best", (_KeepsOnRequest,)),
        ("C59", "snapshot = None", (_SnapshotOnce,)),
        ("C59", "p.data = snapshot", (_SnapshotBecomesModel,)),
        ("C60", "failures = 0", (_CountsAnew,)),
        ("C61", "self.model = snapshot", (_RestoresNothing,)),
    ),
    "capstone.resume": (
        ("C90", "no optimizer state", (trainer(skips="opt"),)),
        ("C91", "no rng", (trainer(skips="rng"),)),
        ("C92", "no generator", (trainer(skips="generator"),)),
        ("C93", "no order", (trainer(skips="order"),)),
        ("C94", "step − 1", (trainer(first=lambda step: step - 1),)),
        ("C97", "in place", (trainer(write=_write_straight),)),
        ("C107", "copied", (trainer(write=_write_copied),)),
        ("C107", "bytes copied", (trainer(write=_write_bytes),)),
        ("C98", "unlinked first", (trainer(write=_write_unlinked),)),
        ("C100", "lr from the restart", (trainer(lr_step=lambda t, start: t - start),)),
        ("C102", "not at the end", (trainer(due=lambda done, every, steps: done % every == 0),)),
        ("C103", "always", (trainer(due=lambda done, every, steps: True),)),
        ("C105", "no weights", (trainer(skips="model"),)),
        ("C101", "lr_at never asked", (trainer(groups=slice(0)),)),
        ("C131", "lr_at(t + 1)", (trainer(lr_step=lambda t, start: t + 1),)),
        ("C132", "no file", (trainer(due=lambda done, every, steps: False),)),
        ("C133", "ceil", (trainer(length=lambda n, batch_size: math.ceil(n / batch_size)),)),
        ("C134", "randperm without generator", (trainer(draw=lambda n, generator: torch.randperm(n)),)),
        ("C135", "eval", (trainer(prepare=nn.Module.eval),)),
        ("C136", "param_groups[0]", (trainer(groups=slice(1)),)),
    ),
    "capstone.fast_loop": (
        ("C70", "item for every loss", (loop(entry=lambda losses: sum(x.item() for x in losses) / len(losses)),)),
        ("C70", "if in the clip", (loop(clip=_clip_with_if),)),
        ("C72", "a loop in the clip", (loop(clip=_clip_in_a_loop),)),
        ("C74", "the last loss", (loop(entry=lambda losses: losses[-1].item()),)),
        ("C76", "the sum", (loop(entry=lambda losses: torch.stack(losses).sum().item()),)),
        ("C77", "no zero_grad", (loop(zero=False),)),
        ("C78", "no clip", (loop(clip=_no_clip),)),
        ("C78", "after the step", (loop(when="after"),)),
        ("C127", "no filter", (loop(clip=_clip_all),)),
        ("C128", "range(len(batches))", (loop(through=_by_index),)),
        ("C129", "list(batches)", (loop(through=list),)),
        ("C130", "total + loss", (loop_with_graphs,)),
        ("C130", "losses in a list", (loop(keep=lambda loss: loss),)),
    ),
    "capstone.accuracy": (
        ("C110", "raw inputs", (program(_perceptron, lr=1e-3, normalise=False, falling=False),)),
        ("C111", "dropout while predicting", (program(partial(convolutions, dropout=0.8), evaluate=False),)),
        ("C112", "a tenth of the budget", (program(_perceptron, lr=1e-3, use=0.1),)),
        ("C113", "diverged", (program(_perceptron, Sgd, lr=1e8, clip=math.inf),)),
        ("C114", "twice the budget", (program(use=2.0),)),
        ("C115", "labels shuffled", (program(_perceptron, shuffled=False),)),
        ("C116", "lr too small", (program(_perceptron, lr=1e-4),)),
    ),
}
