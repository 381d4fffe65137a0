"""Inside the sandbox: run a submission's cells, and a fork per exercise that plays the cases.

Protocol, frames of `channel`: the coordinator sends the plan; the runner tells `begin` before each cell and `end` with
the cell's outputs after it. Where a check cell stands it asks for the exercise's cases and forks; the fork reads the
cases, which no process of the submission has seen before, and sends one frame of evidence per case. Nothing that
arrives here is secret afterwards, and nothing that leaves is believed beyond what `evidence.decode` accepts.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import sys
from typing import Any

import numpy as np
import torch

from autograder.evidence import collecting, encode, gather
from autograder.grading import shell as shells
from autograder.grading.channel import Channel, ChannelError
from autograder.grading.packing import unpack


def main(descriptor: int, shell: shells.Shell) -> None:
    """Serve one submission over this socket, then return."""
    channel = Channel(socket.socket(fileno=descriptor))
    plan, _ = channel.receive()
    seed(int(plan["seed"]))
    shell.user_ns["__name__"] = "__main__"
    sys.modules["__main__"] = shell.user_module
    for number, cell in enumerate(plan["cells"]):
        if cell["kind"] == "check":
            answer(channel, shell.user_ns, number, cell["objects"], float(plan["exercise_seconds"]))
        else:
            channel.send({"begin": number})
            outputs, failed = shells.run_cell(shell, cell["source"], float(plan["cell_seconds"]))
            channel.send({"end": number, "outputs": outputs, "failed": failed})
    channel.send({"finished": True, **usage()})


def seed(number: int) -> None:
    """Every submission starts alike: forks of one process would share torch's seed and numpy's state anyway."""
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 - the generator that students' code uses
    torch.manual_seed(number)
    torch.set_num_threads(1)


def usage() -> dict[str, float]:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return {"cpu_seconds": cpu, "peak_mb": max(own.ru_maxrss, children.ru_maxrss) / 1024}


def answer(channel: Channel, namespace: dict[str, Any], number: int, names: list[str], seconds: float) -> None:
    """Play one exercise's cases in a process of its own: what it breaks, the next exercise does not see."""
    channel.send({"begin": number})
    missing = [name for name in names if name not in namespace]
    channel.send({"ask": number, "missing": missing})
    if missing:
        channel.send({"end": number, "status": 0, "late": False})
        return
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _play(channel, number, [namespace[name] for name in names])
            status = 0
        except ChannelError:
            pass
        finally:
            os._exit(status)
    late = False
    try:
        with shells.clock(seconds):
            _, status = os.waitpid(child, 0)
    except shells.TooLong:
        late = True
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    channel.send({"end": number, "status": os.waitstatus_to_exitcode(status), "late": late})


def _play(channel: Channel, number: int, objects: list[Any]) -> None:
    with collecting():
        while True:
            header, body = channel.receive()
            if "cases" not in header:
                return
            for case in unpack(body):
                evidence = gather(case, objects)
                channel.send({"evidence": number}, encode(evidence))
                if evidence.problem is not None and evidence.problem.kind == "not_started":
                    return
