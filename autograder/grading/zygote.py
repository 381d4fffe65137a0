"""The fork server: imports everything once, takes the references away, and forks a sandboxed runner per submission.

Started by `pool.Zygote` with a staged, reduced package on its path and a whitelisted environment. It never runs
student code, holds no key, keeps exactly one thread and listens nowhere: it is reached through sockets it inherited or
was handed over them. When the coordinator goes away, so do its runners and then it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import socket
import sys
import zlib
from typing import Any

from autograder.grading import cheap_forks, sandbox

#: Imported before the first fork, so that no runner pays for it. The collectors come from `evidence.COLLECTORS`.
PRELOAD = (
    "numpy",
    "torch",
    "torch._dynamo",
    "torch._subclasses.fake_tensor",
    "torch.utils._python_dispatch",
    "torch.utils.data",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_agg",
    "matplotlib_inline.backend_inline",
    "IPython.core.completer",
    "IPython.core.pylabtools",
    "IPython.core.magics",
    "IPython.extensions.storemagic",
    "ipywidgets",
    "PIL.Image",
    "autograder.grading.runner",
    "autograder.launches",
    "utils",
    "utils.data",
    "utils.device",
    "utils.models",
    "utils.plotting",
    "utils.progress",
    "utils.surfaces",
    "utils.training",
    "utils.widgets",
)


def main(descriptor: int) -> None:
    control = socket.socket(fileno=descriptor)
    gc.disable()  # a fourth of the seconds that imports take would go into it
    try:
        _preload()
        said = control.recv(2**20)  # what to take away and how to confine: sent while the imports ran
        if not said:
            return
        server = _Server(control, json.loads(zlib.decompress(said)))
    except BaseException as error:
        control.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        raise
    control.send(json.dumps({"ready": os.getpid()}).encode())
    server.serve()


class _Server:
    def __init__(self, control: socket.socket, config: dict[str, Any]) -> None:
        from autograder.grading import shell
        from autograder.grading.references import remove

        self.shell = shell.make()
        shell.late_hooks()
        _warm(self.shell)
        remove(config["forbidden"])
        sandbox.become_zygote()
        self.control = control
        self.rung = config["rung"]
        spec: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["spec"].items()}
        self.spec = sandbox.Spec(**{**spec, "limits": sandbox.Limits(**spec["limits"])})
        self.children: dict[int, sandbox.Child] = {}  # by pidfd
        self.clients: dict[int, socket.socket] = {}
        self.poll = select.poll()
        self._watch(control)
        gc.freeze()  # forks do not copy pages only because a collection touches them
        cheap_forks.fill_holes()
        cheap_forks.collapse()

    def serve(self) -> None:
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor in self.children:
                    self._reap(descriptor)
                elif descriptor in self.clients:
                    self._answer(self.clients[descriptor])

    def _watch(self, client: socket.socket) -> None:
        self.clients[client.fileno()] = client
        self.poll.register(client, select.POLLIN)

    def _answer(self, client: socket.socket) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(client, 4096, 1)
        except OSError:
            message, descriptors = b"", []
        if not message:
            self._forget(client)
        elif message == b"connect":
            self._watch(socket.socket(fileno=descriptors[0]))
        else:
            self._fork(client, descriptors[0], kernel=message == b"kernel")

    def _forget(self, client: socket.socket) -> None:
        self.poll.unregister(client)
        del self.clients[client.fileno()]
        if client is self.control:  # the coordinator is gone
            for child in self.children.values():
                child.kill()
                child.wait()
            os._exit(0)
        client.close()

    def _fork(self, client: socket.socket, channel: int, kernel: bool) -> None:
        module = "kernel_runner" if kernel else "runner"
        try:
            child = sandbox.fork_confined(self.rung, self.spec, lambda: _run(module, channel, self.shell), [channel])
        except (OSError, sandbox.SandboxError) as error:
            client.send(json.dumps({"error": str(error)}).encode())
            return
        finally:
            os.close(channel)
        self.children[child.pidfd] = child
        self.poll.register(child.pidfd, select.POLLIN)
        socket.send_fds(client, [json.dumps({"pid": child.pid}).encode()], [child.pidfd])

    def _reap(self, pidfd: int) -> None:
        self.poll.unregister(pidfd)
        self.children.pop(pidfd).wait()
        sandbox.end_strays(tuple(self.children.values()))


def _run(module: str, channel: int, shell: Any) -> None:
    gc.enable()
    importlib.import_module(f"autograder.grading.{module}").main(channel, shell)


def _preload() -> None:
    import torch

    torch.set_num_threads(1)  # a parallel region here would hang every fork at its first one
    for name in PRELOAD:
        importlib.import_module(name)
    from autograder.evidence import COLLECTORS, find_collector

    for name in COLLECTORS:
        find_collector(name)
    _leave_only(sys.path)


def _warm(shell: Any) -> None:
    """Use once what every runner uses: caches, lazy imports and compiled cells are then shared by all forks.

    With one thread of torch this starts no other one; `become_zygote` would notice.
    """
    import numpy as np

    from autograder.evidence import gather
    from autograder.exercise import Case
    from autograder.grading.shell import run_cell

    run_cell(shell, _CELL, 30)
    for line in ("1 / 0", "display(1)"):
        run_cell(shell, line, 30)
    inputs: dict[str, Any] = {"params": [np.ones(2)], "grads": [[np.ones(2)]] * 2, "state": []}
    inputs |= {"group_of": [0], "groups": [{"lr": 0.1}]}
    for collector, more in (
        ("optimizer", {"device": "cpu"}),
        ("optimizer", {"device": "pretend"}),
        ("launches", {"few": 1, "warmup": 1}),
    ):
        found = gather(Case("", "", collector, {**inputs, **more}), (shell.user_ns["Warm"],))
        if found.problem is not None:
            raise RuntimeError(f"the fork server's own optimizer fails: {found.problem}")
    shell.reset(new_session=False)
    shell.execution_count = 1  # students count their cells from 1, and their tracebacks say so


_CELL = """
import io, torch
class Warm(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, dict(lr=lr))
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if not s:
                    s["step"], s["m"], s["v"] = 0, torch.zeros_like(p), torch.zeros_like(p)
                s["step"] += 1
                s["m"].lerp_(p.grad, 0.1)
                s["v"].mul_(0.9).addcmul_(p.grad, p.grad, value=0.1)
                p.addcdiv_(s["m"], (s["v"] / (1 - 0.9 ** s["step"])).sqrt().add_(1e-8), value=-group["lr"])
                torch._foreach_mul_([p], 1.0)
w = torch.nn.Parameter(torch.ones(2))
opt = Warm([w])
(w * w).sum().backward()
opt.step()
opt.zero_grad()
file = io.BytesIO()
torch.save(opt.state_dict(), file)
file.seek(0)
opt.load_state_dict(torch.load(file))
print(torch.randn(3), w.to(torch.bfloat16))
"""


def _leave_only(path: list[str]) -> None:
    """Drop the folders of packages installed in place (the course itself): only the staged package is to be found."""
    here = os.environ.get("PYTHONPATH", "")
    path[:] = [entry for entry in path if entry == here or entry.startswith((sys.prefix, sys.base_prefix, "/usr"))]


if __name__ == "__main__":
    main(int(sys.argv[1]))
