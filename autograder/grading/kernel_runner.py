"""Inside the sandbox: the same plan as `runner`'s, in a real Jupyter kernel that nbclient drives.

Slow (two seconds a submission) and as close to a student's own notebook as can be: `grade --engine kernel`, and
`--audit`, which compares marks. The kernel is a fork of this process, since no program may be started here; the two
talk through socket files in a folder of their own. Where a check cell stands the kernel itself forks and answers,
exactly as `runner` does.
"""

from __future__ import annotations

import asyncio
import os
import queue
import secrets
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

import nbformat.v4
from jupyter_client.connect import write_connection_file
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from autograder.grading import runner
from autograder.grading.channel import Channel
from autograder.grading.shell import Outputs, Shell, late_hooks

#: In the kernel's process: where its answers go.
_channel: Channel | None = None


def main(descriptor: int, shell: Shell) -> None:
    """Serve one submission over this socket, then return."""
    channel = Channel(socket.socket(fileno=descriptor))
    plan, _ = channel.receive()
    connection = _connection_file()
    kernel = os.fork()
    if kernel == 0:
        try:
            _be_kernel(channel, connection, int(plan["seed"]), shell)
        finally:
            os._exit(1)
    asyncio.run(_drive(channel, plan, _Kernel(kernel, connection)))


def _connection_file() -> str:
    folder = Path(tempfile.mkdtemp(prefix="kernel-"))
    path, _ = write_connection_file(
        str(folder / "connection.json"), transport="ipc", ip=str(folder / "socket"), key=secrets.token_hex(16).encode()
    )
    return str(path)


# --- the kernel -----------------------------------------------------------------------------------------------------


def _be_kernel(channel: Channel, connection: str, seed: int, shell: Shell) -> None:
    global _channel
    _channel = channel
    from ipykernel.kernelapp import IPKernelApp

    type(shell).clear_instance()  # the kernel makes a shell of its own class
    app = IPKernelApp.instance()
    app.initialize(["-f", connection, "--HistoryManager.enabled=False"])
    late_hooks()
    runner.seed(seed)
    app.start()


def ask(number: int, names: list[str], seconds: float) -> None:
    """Called in the kernel where a check cell stands."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if _channel is not None and shell is not None:
        runner.answer(_channel, shell.user_ns, number, names, seconds)


# --- what drives it -------------------------------------------------------------------------------------------------


class _Kernel(AsyncKernelManager):
    """A kernel that runs already."""

    has_kernel = True

    def __init__(self, pid: int, connection: str) -> None:
        super().__init__(connection_file=connection)
        self.pid = pid
        self.load_connection_file()

    async def is_alive(self) -> bool:  # type: ignore[override]
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    _async_is_alive = is_alive  # the name by which the client asks

    async def interrupt_kernel(self) -> None:  # type: ignore[override]
        os.kill(self.pid, signal.SIGINT)

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:  # type: ignore[override]
        """It ends with the sandbox."""


async def _drive(channel: Channel, plan: dict[str, Any], kernel: _Kernel) -> None:
    cells = [nbformat.v4.new_code_cell(cell.get("source", "")) for cell in plan["cells"]]
    client = NotebookClient(
        nbformat.v4.new_notebook(cells=cells),
        km=kernel,
        timeout=float(plan["cell_seconds"]),
        allow_errors=True,
        record_timing=False,
        startup_timeout=30,
    )
    limit = Outputs()
    async with client.async_setup_kernel():
        for number, cell in enumerate(plan["cells"]):
            if cell["kind"] == "check":
                await _ask(client, number, cell["objects"], float(plan["exercise_seconds"]))
            else:
                channel.send({"begin": number})
                late = await _run(client, kernel, number)
                outputs = _within(limit, cells[number].outputs)
                failed = "TooLong" if late else _failed(outputs)
                channel.send({"end": number, "outputs": outputs, "failed": failed})
        channel.send({"finished": True, **runner.usage()})


async def _run(client: NotebookClient, kernel: _Kernel, number: int) -> bool:
    """Run a cell; was it interrupted because its seconds were used up?"""
    cell = client.nb.cells[number]
    try:
        await client.async_execute_cell(cell, number)
    except DeadKernelError:
        os._exit(1)  # the coordinator sees that this cell took everything down, and runs the others without it
    except CellTimeoutError:
        await kernel.interrupt_kernel()
        text = f"this cell ran for more than {client.timeout:g} seconds"
        cell.outputs.append(nbformat.v4.new_output("error", ename="TooLong", evalue=text, traceback=[text]))
        return True
    return False


def _within(limit: Outputs, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    limit.begin()
    for one in outputs:
        if one["output_type"] == "stream":
            limit.text(one["name"], one["text"])
        else:
            limit.add(dict(one))
    return limit.collected()


async def _ask(client: NotebookClient, number: int, names: list[str], seconds: float) -> None:
    """The kernel's own process answers over the channel; here it is only waited for."""
    assert client.kc is not None
    code = f"__import__({__name__!r}, fromlist=['']).ask({number}, {names!r}, {seconds!r})"
    message = client.kc.execute(code, silent=True, store_history=False)
    while True:
        try:
            reply = await client.kc.get_shell_msg(timeout=0.2)
        except queue.Empty:
            if not await client.km.is_alive():
                os._exit(1)
            continue
        if reply["parent_header"].get("msg_id") == message:
            return


def _failed(outputs: list[dict[str, Any]]) -> str:
    errors = [str(one.get("ename", "")) for one in outputs if one.get("output_type") == "error"]
    return errors[-1] if errors else ""
