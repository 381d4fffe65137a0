"""The notebook's shell without a kernel: outputs as nbformat has them, limits, clocks. Each test in a fork of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import nbformat
import pytest

from autograder.grading import shell as shells


def in_a_fork(do: Callable[[], Any]) -> Any:
    """A shell is a singleton and changes the process: run it in a child and bring back what it found, as JSON."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            found = do()
        except BaseException as error:
            found = {"raised": repr(error)}
        with os.fdopen(writer, "w") as pipe:
            json.dump(found, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        found = json.load(pipe)
    os.wait()
    return found


def cells(*sources: str, seconds: float = 10.0) -> list[tuple[list[dict[str, Any]], str]]:
    def do() -> Any:
        shell = shells.make()
        shells.late_hooks()
        return [shells.run_cell(shell, source, seconds) for source in sources]

    found: list[tuple[list[dict[str, Any]], str]] = in_a_fork(do)
    assert not isinstance(found, dict), found
    return found


def test_outputs_are_what_a_notebook_would_hold() -> None:
    found = cells(
        "print('a'); print('b')\n1 + 1",
        "%precision 3\nimport math\nmath.pi",
        "import asyncio\nawait asyncio.sleep(0, 5)",
    )
    assert found[0][0][0] == {"output_type": "stream", "name": "stdout", "text": "a\nb\n"}
    assert found[0][0][1]["data"] == {"text/plain": "2"}
    assert found[1][0][-1]["data"] == {"text/plain": "3.142"}
    assert found[2][0][-1]["data"] == {"text/plain": "5"}
    assert [failed for _, failed in found] == ["", "", ""]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=o) for o, _ in found])
    nbformat.validate(notebook)


def test_figures_appear_without_a_call_to_show() -> None:
    ((outputs, failed),) = cells("import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    assert failed == ""
    assert outputs[-1]["output_type"] == "display_data"
    assert len(outputs[-1]["data"]["image/png"]) > 1000


def test_errors_end_the_cell_and_are_told() -> None:
    found = cells("1 / 0", "def f(:", "raise SystemExit(3)", "x")
    assert [failed for _, failed in found] == ["ZeroDivisionError", "SyntaxError", "SystemExit", "NameError"]
    assert found[0][0][-1]["evalue"] == "division by zero"


def test_a_flood_of_output_is_cut() -> None:
    found = cells("for i in range(200_000): print('x' * 100)", "print('still here')")
    assert sum(len(o["text"]) for o in found[0][0]) < shells.CELL_BYTES + 200
    assert "output cut here" in found[0][0][-1]["text"]
    assert found[1][0][0]["text"] == "still here\n"
    many = cells(*["print('y' * 10**6)"] * 20)
    assert sum(len(o["text"]) for outputs, _ in many for o in outputs) < shells.ALL_BYTES + 20 * 200


@pytest.mark.parametrize(
    "source", ["while True: pass", "import time; time.sleep(60)", "try:\n    while True: pass\nfinally: pass"]
)
def test_a_cell_that_does_not_end_is_ended(source: str) -> None:
    found = cells(source, "print('next')", seconds=0.3)
    assert found[0][1] == "TooLong"
    assert found[1][0][0]["text"] == "next\n"


def test_input_is_refused_rather_than_waited_for() -> None:
    ((_, failed),) = cells("input('?')", seconds=5)
    assert failed in ("StdinNotImplementedError", "EOFError", "OSError")
