"""The coordinator's side of the fork server: start it, ask it for sandboxed runners, end them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from autograder.grading import cheap_forks
from autograder.grading.channel import Channel
from autograder.grading.sandbox import Spec, tree_memory_mb, tree_share_mb

#: What the fork server's environment holds: it stays readable in every fork, so it is made from nothing.
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "HOME": "/nonexistent",
}

_START_SECONDS = 120

#: How cells are run: in a fork of the server with IPython's shell, or in a Jupyter kernel.
Way = Literal["fork", "kernel"]


class ZygoteError(Exception):
    """The fork server did not start, is gone, or could not confine a runner. The message says why."""


class Runner:
    """One sandboxed process tree, held by a pidfd: it can be ended without ever hitting somebody else's process."""

    def __init__(self, pid: int, pidfd: int, channel: Channel) -> None:
        self.pid, self.channel = pid, channel
        self._pidfd = pidfd

    def memory_mb(self) -> float:
        """What its processes use, each by itself: pages that forks share count for each."""
        return tree_memory_mb(self.pid, 0.0)[0]

    def exceeds(self, most_mb: float, baseline_mb: float) -> bool:
        """Does it use more than that beyond the baseline? What forks share counts once."""
        if self.memory_mb() - baseline_mb <= most_mb:
            return False  # never too little
        share = tree_share_mb(self.pid)
        return share is None or share > most_mb

    def end(self) -> None:
        """Kill it (and with it everything in its namespaces) and wait until it is gone."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        select.select([self._pidfd], [], [], 10)
        os.close(self._pidfd)


class Zygote:
    """A running fork server. Ends with `close`, and with this process.

    It imports for seconds: start it first, and `configure` it when the assignment is known.
    """

    def __init__(self, stage: Path) -> None:
        self.stage = stage
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-B", "-m", "autograder.grading.zygote", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT | cheap_forks.ENVIRONMENT | {"PYTHONPATH": str(stage), "PATH": os.defpath},
            cwd="/",
        )
        theirs.close()
        self._ready = False

    def configure(self, rung: str, spec: Spec, forbidden: Iterable[str]) -> None:
        """Say what to take away and how to confine runners; once, before `wait`."""
        config = {"rung": rung, "spec": asdict(spec), "forbidden": sorted(forbidden)}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `wait` tells why it is gone
            # compressed: it names every file that is to be masked, and one message holds some 200 kB
            self._control.send(zlib.compress(json.dumps(config).encode()))

    def wait(self) -> None:
        """Until it has imported everything. Raises ZygoteError."""
        if self._ready:
            return
        self._control.settimeout(_START_SECONDS)
        try:
            said = self._control.recv(2**16)
        except OSError as error:
            said = json.dumps({"error": str(error)}).encode()
        reply: Mapping[str, Any] = json.loads(said) if said else {"error": self._last_words()}
        if "error" in reply:
            self.close()
            raise ZygoteError(f"the grading process did not start: {reply['error']}")
        self._ready = True

    def has_spoken(self) -> bool:
        """Would `wait` return (or raise) at once?"""
        return self._ready or bool(select.select([self._control], [], [], 0)[0])

    def connect(self) -> Client:
        """A connection of its own for one worker."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(self._control, [b"connect"], [theirs.fileno()])
        theirs.close()
        return Client(mine)

    def close(self) -> None:
        """End it and all its runners."""
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()

    def _last_words(self) -> str:
        self._process.wait(5)
        said = self._process.stderr.read().decode(errors="replace").strip() if self._process.stderr else ""
        return said.splitlines()[-1] if said else f"it ended with status {self._process.returncode}"


class Client:
    """Asks the fork server for runners."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def fork(self, way: Way = "fork") -> Runner:
        """A new confined runner, of the module `runner` or, for a Jupyter kernel, `kernel_runner`. Raises ZygoteError;
        nothing runs unconfined."""
        mine, theirs = socket.socketpair()
        try:
            socket.send_fds(self._control, [way.encode()], [theirs.fileno()])
            self._control.settimeout(30)
            message, descriptors, _, _ = socket.recv_fds(self._control, 2**16, 1)
        except OSError as error:
            mine.close()
            raise ZygoteError(f"the grading process is gone: {error}") from None
        finally:
            theirs.close()
        reply = json.loads(message) if message else {"error": "the grading process is gone"}
        if "error" in reply:
            mine.close()
            raise ZygoteError(str(reply["error"]))
        return Runner(int(reply["pid"]), descriptors[0], Channel(mine))

    def close(self) -> None:
        self._control.close()
