"""The student's side needs torch, numpy and matplotlib, and it starts quickly."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import pytest

#: Everything that a machine with only torch, numpy and matplotlib would not have.
BLOCKED = [
    *("IPython", "ipywidgets", "jupyterlab", "jupyter_client", "nbgrader", "nbformat", "nbconvert", "nbclient"),
    *("traitlets", "typer", "rich", "click", "sqlalchemy", "pytest", "yaml"),
]

BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked by this test", name=name)

sys.meta_path.insert(0, Blocker())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKER + code], capture_output=True, text=True, timeout=120)


def test_checks_hints_and_progress_work_with_torch_numpy_and_matplotlib_alone() -> None:
    out = run(
        "import torch\n"
        "from autograder import check, done, hint, material, progress\n"
        "from autograder.answers.adam_adamw import Foreach, Student\n"
        "check('adam.adam', Student)\n"
        "check('adam.foreach', Foreach)\n"
        "hint('adam.step'); assert done('adam.adam'); print(len(material('adam.which_knob'))); print(progress())\n"
    )
    assert out.returncode == 0, out.stderr
    assert "✓ adam.adam · Adam as a torch optimizer: passed" in out.stdout
    assert "✓ adam.foreach" in out.stdout
    assert "Hint 1 of 3" in out.stdout
    assert out.stderr == ""


@pytest.mark.parametrize(
    "module",
    ["device", "data", "models", "training", "surfaces", "plotting", "widgets", "progress"],
)
def test_every_utility_imports_with_torch_numpy_and_matplotlib_alone(module: str) -> None:
    out = run(f"import matplotlib; matplotlib.use('agg')\nimport utils.{module}\nprint(utils.COURSE)")
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "practical-optimization"


def test_a_name_is_really_blocked() -> None:
    assert "blocked by this test" in run("import nbgrader").stderr


def test_importing_the_student_side_takes_little_beyond_torch() -> None:
    """0.15 s is the promise for all that a notebook imports, registry included; a slow machine gets twice that."""
    code = (
        "import time, torch, matplotlib\n"
        "start = time.process_time()\n"
        "from autograder import check, done, hint, material, progress\n"
        "from autograder.exercise import REGISTRY; len(REGISTRY)\n"
        "print(time.process_time() - start)"
    )
    times = [float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(3)]
    assert statistics.median(times) < 0.3


def test_a_stray_utils_file_beside_a_notebook_is_noticed(tmp_path: Path, root: Path) -> None:
    """The setup cell of a release says which file hides the course's `utils`."""
    import nbformat

    notebook = nbformat.read(root / "release" / "00_start_here" / "00_start_here.ipynb", as_version=4)
    setup = next(cell.source for cell in notebook.cells if cell.id == "course-setup")
    (tmp_path / "utils.py").write_text("x = 1\n")
    out = subprocess.run([sys.executable, "-c", setup], cwd=tmp_path, capture_output=True, text=True)
    assert "hides the course's `utils`: rename that file" in out.stderr
    (tmp_path / "utils.py").unlink()
    again = subprocess.run([sys.executable, "-c", setup + "\n" + setup], cwd=tmp_path, capture_output=True, text=True)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
