"""IPython's shell for one submission: runs cells as a notebook would and keeps their outputs, within byte limits.

`make` is called once before the forks; a shell holds no thread and no file. Outputs are nbformat dicts.
"""

from __future__ import annotations

import base64
import io
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

#: Bytes of output kept per cell, and per submission. Beyond that a cell's output ends with a remark.
CELL_BYTES, ALL_BYTES = 512 * 2**10, 6 * 2**20

Output = dict[str, Any]


class TooLong(Exception):
    """Raised inside a cell that has used up its seconds."""


class Outputs:
    """The outputs of the cell that runs now."""

    def __init__(self) -> None:
        self.items: list[Output] = []
        self._left = 0
        self._left_in_all = ALL_BYTES
        self._full = True

    def begin(self) -> None:
        self.items = []
        self._left = min(CELL_BYTES, self._left_in_all)
        self._full = False

    def add(self, output: Output) -> None:
        if self._spend(len(json.dumps(output, default=str))):
            self.items.append(output)

    def text(self, name: str, text: str) -> None:
        """Standard output or error; neighbouring pieces become one."""
        if self._full:
            return
        piece = text[: max(0, self._left)]
        self._spend(len(piece.encode(errors="replace")))
        last = self.items[-1] if self.items else {}
        if last.get("output_type") == "stream" and last["name"] == name:
            last["text"].append(piece)
        else:
            self.items.append({"output_type": "stream", "name": name, "text": [piece]})
        if len(piece) < len(text):
            self._end()

    def collected(self) -> list[Output]:
        for output in self.items:
            if output["output_type"] == "stream":
                output["text"] = "".join(output["text"])
        items, self.items = self.items, []
        return items

    def _spend(self, size: int) -> bool:
        if self._full:
            return False
        if size > self._left:
            self._end()
            return False
        self._left -= size
        self._left_in_all -= size
        return True

    def _end(self) -> None:
        self._full = True
        remark = "… output cut here: the grader keeps half a megabyte per cell\n"
        self.items.append({"output_type": "stream", "name": "stderr", "text": [remark]})


class _Stream(io.TextIOBase):
    def __init__(self, name: str, outputs: Outputs) -> None:
        self._name, self._outputs = name, outputs

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._outputs.text(self._name, str(text))
        return len(text)


class _Publisher(DisplayPublisher):  # type: ignore[misc]
    outputs: Outputs

    def publish(self, data: dict[str, Any], metadata: dict[str, Any] | None = None, **more: Any) -> None:
        self.outputs.add(
            {"output_type": "display_data", "data": _jsonable(data), "metadata": _jsonable(metadata or {})}
        )

    def clear_output(self, wait: bool = False) -> None:
        self.outputs.items.clear()


class _Hook(DisplayHook):  # type: ignore[misc]
    outputs: Outputs
    _now: Output | None = None

    def start_displayhook(self) -> None:
        self._now = None

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        self._now = {
            "output_type": "execute_result",
            "data": _jsonable(format_dict),
            "metadata": _jsonable(md_dict or {}),
            "execution_count": self.prompt_count,
        }

    def finish_displayhook(self) -> None:
        if self._now is not None:
            self.outputs.add(self._now)


def _jsonable(bundle: dict[str, Any]) -> dict[str, Any]:
    """A MIME bundle as it would arrive over the wire: bytes as base64, everything else as JSON can hold it."""
    out: dict[str, Any] = {}
    for mime, value in bundle.items():
        if isinstance(value, bytes):
            out[str(mime)] = base64.b64encode(value).decode()
        else:
            out[str(mime)] = value if isinstance(value, str) else json.loads(json.dumps(value, default=str))
    return out


class Shell(InteractiveShell):  # type: ignore[misc]
    """An InteractiveShell without history, colours, input and system threads."""

    outputs: Outputs

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self.outputs.add(
            {"output_type": "error", "ename": str(etype.__name__), "evalue": _words(evalue), "traceback": list(stb)}
        )

    def enable_gui(self, gui: str | None = None) -> None:
        """No event loops of windows here."""


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def make() -> Shell:
    """The process's shell."""
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "NoColor"
    config.InteractiveShell.cache_size = 0
    shell: Shell = Shell.instance(config=config, display_pub_class=_Publisher, displayhook_class=_Hook)
    shell.outputs = shell.display_pub.outputs = shell.displayhook.outputs = Outputs()
    return shell


def late_hooks() -> None:
    """What these packages do at import time when IPython runs already. Once for each shell that a process makes."""
    import ipywidgets
    import matplotlib
    import matplotlib_inline.backend_inline as inline

    matplotlib.use("module://matplotlib_inline.backend_inline")
    inline.configure_inline_support.current_backend = "unset"  # type: ignore[attr-defined]  # another shell's, if there was one
    inline._enable_matplotlib_integration()  # type: ignore[no-untyped-call]
    ipywidgets._handle_ipython()


def run_cell(shell: Shell, source: str, seconds: float) -> tuple[list[Output], str]:
    """Run one cell. Returns its outputs and the name of the exception that ended it ("" when it went well).

    `seconds` is processor and waiting time together; after that `TooLong` is raised inside the cell. Code that catches
    even that is ended from outside.
    """
    shell.outputs.begin()
    saved = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Stream("stdout", shell.outputs), _Stream("stderr", shell.outputs)
    failed = ""
    try:
        with clock(seconds):
            result = shell.run_cell(source, store_history=True)
            error = result.error_before_exec or result.error_in_exec
            failed = type(error).__name__ if error else ""
    except BaseException as error:  # the clock's, when it rings between the cell and here
        failed = type(error).__name__
    finally:
        sys.stdout, sys.stderr = saved
    return shell.outputs.collected(), failed


@contextmanager
def clock(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"this cell ran for more than {seconds:g} seconds")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
