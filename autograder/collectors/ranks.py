"""Several ranks in one process: the same function runs once per rank, and all of them meet in `all_reduce`.

Only one rank computes at a time, and they change places in `all_reduce` only. So a run is deterministic, needs no
network and no second process, and a rank that others wait for in vain is found out at once instead of after a timeout.
A function that takes its `all_reduce` as an argument cannot tell this one from `torch.distributed.all_reduce`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from autograder.evidence import ProtocolError

Tensor = torch.Tensor
AllReduce = Callable[..., Any]

HUNG = (
    "{waiting} waits in all_reduce number {number}, but {ended} has ended and will never call it: "
    "in a real job this is where everything hangs. Every rank has to call all_reduce equally often"
)


class _Stopped(BaseException):
    """Ends the thread of a rank that nobody needs any more."""


class Done:
    """What `all_reduce(…, async_op=True)` returns here: finished already."""

    def wait(self) -> bool:
        return True


class Rank:
    """One rank: its thread, and what it has put down for the others."""

    def __init__(self, number: int, work: Callable[[int, AllReduce], None]) -> None:
        self.number, self.work = number, work
        self.given: Tensor | None = None
        self.sizes: list[int] = []  # of the tensors that it has reduced
        self.ended = self.stopped = False
        self.error: BaseException | None = None
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Let it compute until it waits in `all_reduce` or has ended."""
        self._mine.release()
        self._theirs.acquire()

    def stop(self) -> None:
        if not self.ended:
            self.stopped = True
            self.resume()
        self._thread.join()

    def _run(self) -> None:
        self._mine.acquire()
        try:
            if not self.stopped:
                with torch.enable_grad():
                    self.work(self.number, self.all_reduce)
        except _Stopped:
            pass
        except BaseException as error:  # raised again by `run_ranks`
            self.error = error
        finally:
            self.ended = True
            self._theirs.release()

    def all_reduce(self, tensor: Tensor, op: Any = None, group: Any = None, async_op: bool = False) -> Done | None:
        """Replace `tensor` by its sum over all ranks, as `torch.distributed.all_reduce` does."""
        check_reduced(tensor, op)
        self.given = tensor
        self.sizes.append(tensor.numel())
        self._theirs.release()
        self._mine.acquire()
        if self.stopped:
            raise _Stopped
        return Done() if async_op else None


def check_reduced(tensor: object, op: Any) -> None:
    """Raise ProtocolError for what all_reduce cannot take."""
    if not isinstance(tensor, torch.Tensor):
        kind = "None" if tensor is None else f"a {type(tensor).__name__}"
        raise ProtocolError(f"all_reduce takes a tensor and writes the sum into it, but it was given {kind}")
    if op is not None and not str(op).upper().endswith("SUM"):
        raise ProtocolError(f"all_reduce sums here; op = {op} is not offered (gloo has no AVG either)")


def run_ranks(count: int, work: Callable[[int, AllReduce], None]) -> list[list[int]]:
    """Run `work(rank, all_reduce)` for every rank and return, for each, the sizes of the tensors that it reduced.

    Raises ProtocolError where the ranks do not fit together, and the first exception of any rank.
    """
    ranks = [Rank(number, work) for number in range(count)]
    try:
        while not all(rank.ended for rank in ranks):
            for rank in ranks:
                if not rank.ended:
                    rank.resume()
                if rank.error is not None:
                    raise rank.error
            _meet(ranks)
    finally:
        for rank in ranks:
            rank.stop()
    return [rank.sizes for rank in ranks]


def _meet(ranks: Sequence[Rank]) -> None:
    """Sum what the ranks have put down, when all of them have."""
    ended = [rank for rank in ranks if rank.ended]
    waiting = [rank for rank in ranks if not rank.ended]
    if not waiting:
        return
    if ended:
        one = waiting[0]
        raise ProtocolError(
            HUNG.format(waiting=f"rank {one.number}", number=len(one.sizes), ended=f"rank {ended[0].number}")
        )
    tensors = [rank.given for rank in ranks if rank.given is not None]
    kinds = {(tuple(tensor.shape), tensor.dtype) for tensor in tensors}
    if len(kinds) > 1:
        shown = " and ".join(f"{dtype} of shape {shape}" for shape, dtype in sorted(kinds, key=str))
        raise ProtocolError(f"The ranks met in all_reduce number {len(ranks[0].sizes)} with different tensors: {shown}")
    with torch.no_grad():
        total = torch.stack([tensor.detach() for tensor in tensors]).sum(0)
        for tensor in tensors:
            tensor.detach().copy_(total)
