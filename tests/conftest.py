"""Shared by all tests: nobody's own progress is touched, and tools beside this Python are found."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# two workers and their kernels share the machine: threads of torch that wait for each other would only slow them down
os.environ.setdefault("OMP_NUM_THREADS", "1")

# nbgrader and Jupyter start their tools by name
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


@pytest.fixture(autouse=True)
def own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test keeps its progress in a file of its own, and runs in no nbgrader mode."""
    file = tmp_path / "progress.json"
    monkeypatch.setenv("AUTOGRADER_STATE", str(file))
    for name in ("NBGRADER_EXECUTION", "NBGRADER_VALIDATING", "AUTOGRADER_SELF_STUDY"):
        monkeypatch.delenv(name, raising=False)
    return file


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with a reason what this machine cannot run."""
    import torch

    no_gpu = pytest.mark.skip(reason="needs a CUDA device")
    no_browser = pytest.mark.skip(reason="needs Chromium (apt-get install chromium)")
    no_sandbox = pytest.mark.skip(reason="this machine offers no sandbox (autograder doctor says what is missing)")
    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(no_gpu)
        if "browser" in item.keywords and shutil.which("chromium") is None:
            item.add_marker(no_browser)
        if item.get_closest_marker("sandbox") and not _sandbox():
            item.add_marker(no_sandbox)


@cache
def _sandbox() -> str:
    from autograder.grading.sandbox import offered

    return offered().rung
