"""The process stays what it was."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from students import network, train_network
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from autograder.launches import LaunchCounter


def in_a_fresh_process(code: str) -> str:
    """Standard output of `code`; the test fails if the process dies."""
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


#: Each of these kills the process, or leaves it broken, on some other kinds of pretend device.
DANGERS = """
    import os, torch
    from autograder.launches import LaunchCounter

    weight = torch.ones(3, requires_grad=True)
    (weight * 2).sum().backward()  # autograd has fixed its threads before the device appears
    from torch.utils.checkpoint import checkpoint

    def hessian(x): return torch.func.hessian(lambda x: (x * x).sum())(x)
    def forward_mode(x): return torch.func.jvp(torch.sin, (x,), (x,))[1]
    def dual(x):
        with torch.autograd.forward_ad.dual_level():
            made = torch.autograd.forward_ad.make_dual(x, x)
            return torch.autograd.forward_ad.unpack_dual(made * 2).tangent
    def checkpointed(x):
        for reentrant in (False, True):
            x = x.detach().requires_grad_()
            checkpoint(torch.nn.Dropout(0.5), x, use_reentrant=reentrant).sum().backward()
        return x.grad
    def compiled(x): return torch.compile(lambda x: x * 2 + 1)(x)
    def anomaly(x):
        with torch.autograd.detect_anomaly():
            x = x.requires_grad_()
            (x * x).sum().backward()
        return x.grad
    def saved_on_host(x):
        with torch.autograd.graph.save_on_cpu():
            x = x.requires_grad_()
            (x.sin() * x).sum().backward()
        return x.grad
    def scripted(x): return torch.jit.script(torch.nn.ReLU())(x)
    def exported(x): return torch.utils.dlpack.to_dlpack(x)
    def queued(x):
        queue = torch.multiprocessing.get_context("fork").SimpleQueue()
        queue.put(x)
        return queue.get()
    def forked_randomness(x):
        with torch.random.fork_rng(device_type=x.device.type):
            return torch.randn_like(x)
    def event(x): torch.Event(device=x.device).record()
    def accelerator(x): torch.accelerator.current_stream()
    def pinned(x): return next(iter(torch.utils.data.DataLoader([x, x], pin_memory=True)))
    def linear_algebra(x): return torch.linalg.eigh(torch.diag(x)).eigenvalues
    def sparse(x): return torch.nn.Embedding(3, 3, sparse=True).to(x.device)(x.long()).sum().backward()

    for danger in (hessian, forward_mode, dual, checkpointed, compiled, anomaly, saved_on_host, scripted, exported,
                   queued, forked_randomness, event, accelerator, pinned, linear_algebra, sparse):
        with LaunchCounter("pretend") as counter:
            try:
                result = danger(counter.place(torch.tensor([0.0, 1.0, 2.0])))
                print(danger.__name__, "works" if result is None else f"gives {result.device}", flush=True)
            except (RuntimeError, BufferError) as error:
                print(danger.__name__, "raises", flush=True)

    if not os.fork():  # autograd still works in a child, as in a DataLoader's worker
        (torch.ones(3, requires_grad=True) * 2).sum().backward()
        print("child works", flush=True)
        os._exit(0)
    print("status", os.wait()[1])
"""


def test_nothing_kills_the_process() -> None:
    lines = in_a_fresh_process(DANGERS).splitlines()
    outcome = dict(line.split(" ", 1) for line in lines)
    works = {"gives lazy:0", "works"}
    must_work = ("hessian", "forward_mode", "dual", "checkpointed", "compiled", "anomaly", "saved_on_host", "scripted")
    assert {outcome[name] for name in must_work} <= works
    assert all(outcome[name] in works | {"raises"} for name in outcome if name not in ("child", "status"))
    assert outcome["sparse"] == outcome["exported"] == "raises"
    assert (outcome["child"], outcome["status"]) == ("works", "0")
    assert len(outcome) == 18


def test_importing_is_cheap_and_registers_nothing_nor_does_using_it() -> None:
    found = in_a_fresh_process("""
        import sys, torch
        def state():
            return (torch._C._get_privateuse1_backend_name(), torch.accelerator.current_accelerator(),
                    torch.accelerator.is_available(), sorted(n for n in dir(torch) if n in ("lazy", "gpu")),
                    torch.Generator, torch.load)
        before = state()
        modules = set(sys.modules)
        import autograder.launches as launches
        heavy = {"torch._dynamo", "sympy", "matplotlib", "pandas"} & (set(sys.modules) - modules)
        print(sorted(heavy), state() == before)
        with launches.LaunchCounter("pretend") as counter:
            counter.place(torch.ones(2, requires_grad=True)).sum().backward()
        print(state() == before)
    """)
    assert found.split("\n") == ["[] True", "True", ""]


def ordinary_work() -> list[Any]:
    """What a notebook does on the CPU; the same numbers whenever it runs."""
    torch.manual_seed(0)
    model = network()
    results: list[Any] = train_network(model, torch.device("cpu"))
    results += [batch for (batch,) in DataLoader(TensorDataset(torch.randn(6, 2)), batch_size=2, shuffle=True)]
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    results += list(torch.load(file).values())
    results += list(copy.deepcopy(model).parameters())
    results.append(torch.compile(lambda x: x.sin() + 1, backend="eager")(torch.ones(3)))
    results.append(torch.func.hessian(lambda x: (x**3).sum())(torch.ones(2)))
    results.append(torch.rand(3, generator=torch.Generator().manual_seed(1)))
    with torch.autocast("cpu", torch.bfloat16):
        results.append(torch.ones(2, 2) @ torch.ones(2, 2))
    with torch.random.fork_rng():
        torch.manual_seed(7)
    results += [torch.randn(2), torch.get_rng_state(), torch.tensor(torch.initial_seed())]
    results += [torch.optim.Adam(model.parameters()).defaults["foreach"], torch.accelerator.is_available()]
    results.append(torch.jit.trace(lambda x: x * 2, (torch.ones(2),))(torch.ones(2)))
    return results


def test_ordinary_work_is_the_same_before_beside_and_after_counting() -> None:
    before = ordinary_work()
    with LaunchCounter("pretend") as counter, counter.section() as section:
        with pytest.raises(RuntimeError, match="trace"):
            ordinary_work()  # all but its last line works while counting
        train_network(counter.place_module(network()), counter.device)
    assert section.mixes == []
    after = ordinary_work()
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b
