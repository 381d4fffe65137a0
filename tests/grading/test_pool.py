"""The fork server is told all it has to know, however much that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.grading.pool import Zygote
from autograder.grading.sandbox import Spec
from autograder.grading.stage import stage

pytestmark = pytest.mark.sandbox


def test_any_number_of_files_can_be_masked(tmp_path: Path) -> None:
    """Packages with optimizers, such as pytorch_optimizer, add hundreds: more than one message on a socket can hold."""
    zygote = Zygote(stage(tmp_path / "stage"))
    try:
        files = {f"/nowhere/a/folder/with/a/long/name/module_{i}.py": "# hidden\n" * 20 for i in range(3000)}
        zygote.configure("full", Spec(files=files), [])
        zygote.wait()
    finally:
        zygote.close()
