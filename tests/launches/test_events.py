"""The line to blame is the student's."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import linecache
import re
import site
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from students import CounterOnDevice, FloatSync, Hopping, IfSync, ItemSync, NumpyRoundTrip, blamed, second_step
from torch import Tensor, nn

import autograder
from autograder.launches import Event, LaunchCounter

BLAMED = [
    # student, synchronisations per step with 10 parameters, what is said about the first
    (CounterOnDevice, 10, "`.item()`"),
    (Hopping, 10, "`.cpu()`"),
    (ItemSync, 10, "`.item()`"),
    (FloatSync, 10, "`float()`"),
    (IfSync, 10, "`if`"),
    (NumpyRoundTrip, 10, "`.cpu()`"),
]


@pytest.mark.parametrize(("student", "count", "what"), BLAMED, ids=lambda v: getattr(v, "__name__", None))
def test_synchronisations_name_the_students_line(student: type, count: int, what: str) -> None:
    section = second_step(student)
    assert len(section.syncs) == count
    event = section.syncs[0]
    assert (event.line, event.source) == blamed(student)
    assert (event.file, event.function) == (inspect.getsourcefile(student), "move")
    assert what in event.what


def student_module(path: Path, text: str) -> ModuleType:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", ["torch", "site-packages/numpy", "autograder"])
def test_a_students_file_is_found_in_a_folder_of_any_name(folder: str, tmp_path: Path, counter: LaunchCounter) -> None:
    path = tmp_path / folder / "contextlib.py"
    student = student_module(path, "def peek(x):\n    return x.sum().item()\n")
    with counter.section() as section:
        student.peek(counter.place(torch.ones(2)))
    event = section.syncs[0]
    assert event == Event(event.what, str(path), 2, "peek", "return x.sum().item()")


def test_a_notebook_cell_is_found_like_a_file(counter: LaunchCounter) -> None:
    name, cell = "<ipython-input-7-cell>", "y = x * 2\nif y.sum() > 0:\n    z = 1\n"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    with counter.section() as section:
        exec(compile(cell, name, "exec"), {"x": counter.place(torch.ones(2))})
    assert (section.syncs[0].file, section.syncs[0].line) == (name, 2)
    assert section.syncs[0].source == "if y.sum() > 0:"


def test_a_line_without_source_has_an_empty_text(counter: LaunchCounter) -> None:
    with counter.section() as section:
        exec(compile("x.sum().item()", "<gone>", "exec"), {"x": counter.place(torch.ones(2))})
    assert section.syncs[0] == Event(section.syncs[0].what, "<gone>", 1, "<module>", "")


def test_the_line_is_found_through_torch_numpy_and_contextlib(counter: LaunchCounter) -> None:
    @contextlib.contextmanager
    def watching(x: Tensor) -> Iterator[None]:
        yield
        x.sum().item()  # in the student's context manager

    x = counter.place(torch.ones(2, requires_grad=True))
    x.register_hook(lambda grad: grad.clamp(max=grad.max().item()))  # in the student's hook
    with counter.section() as section:
        with watching(x):
            pass
        (x * x).sum().backward()
        sorted([x[0], x[1]])  # the student's call of sorted
        nn.utils.clip_grad_norm_([x], 1.0, error_if_nonfinite=True)  # the student's call of torch
    assert [re.sub(r".*# ", "", event.source) for event in section.syncs] == [
        "in the student's context manager",
        "in the student's hook",
        "the student's call of sorted",
        "the student's call of torch",
    ]


PACKAGE = Path(autograder.__file__).parent


def noted_in(filename: Path) -> Event:
    """The event of a synchronisation in a thread in which only a file of that name runs."""
    source = """
def peek():
    with LaunchCounter("pretend") as counter, counter.section() as section:
        counter.place(torch.ones(2)).sum().item()
    found.extend(section.syncs)
"""
    found: list[Event] = []
    names: dict[str, Any] = {"LaunchCounter": LaunchCounter, "torch": torch, "found": found}
    exec(compile(source, str(filename), "exec"), names)
    thread = threading.Thread(target=names["peek"])
    thread.start()
    thread.join()
    return found[0]


def test_without_a_students_line_it_is_one_that_autograder_runs_as_a_students() -> None:
    event = noted_in(PACKAGE / "answers" / "some.py")
    assert (event.file, event.line, event.function) == (str(PACKAGE / "answers" / "some.py"), 4, "peek")


@pytest.mark.parametrize(
    "folder", [PACKAGE / "launches", Path(torch.__file__).parent, Path(site.getusersitepackages())]
)
def test_lines_of_counting_itself_and_of_installed_packages_are_not_blamed(folder: Path) -> None:
    event = noted_in(folder / "some.py")
    assert event == Event(event.what, "", 0, "", "")
