"""Colab: a machine with torch, numpy, matplotlib and ipywidgets, without nbgrader; and notebooks that come back from it."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from autograder.exercise import REGISTRY
from autograder.manifest import manifest
from autograder.publish.cells import SETUP
from autograder.publish.demo import QUIET_KERNEL, Course
from autograder.publish.sample_class import source_solutions, submission

ROOT = Path(__file__).resolve().parents[1]
NAMES = [notebook.name for notebook in manifest().notebooks]

#: What Colab's machines bring that matters here; nothing of Jupyter's server, and no nbgrader.
PREINSTALLED = ("torch", "numpy", "matplotlib", "ipywidgets", "ipykernel")


# --- on Colab's machine ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of a clean virtual environment with Colab's packages, and a `google.colab` that says it is there."""
    folder = tmp_path_factory.mktemp("colab") / "env"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    # what is imported compiles itself: that is a small part of what is installed
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    install += ["-c", ROOT / "constraints.txt"]
    done = subprocess.run([*install, *PREINSTALLED], capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"no package index at hand: {done.stderr.strip().splitlines()[-1]}")
    (site,) = folder.glob("lib/python3.*/site-packages")
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    (site / "colab_is_here.pth").write_text("import google.colab\n")
    yield python
    shutil.rmtree(folder)  # more than a gigabyte, which pytest would keep


@pytest.fixture(scope="module")
def installed(colab: Path) -> Path:
    """The course fetched by the setup cell itself, from this checkout in place of the repository's address."""
    cell = SETUP.substitute(repository=ROOT.as_uri(), branch="HEAD")
    cell = cell.replace(f'"git+{ROOT.as_uri()}@HEAD"', repr(str(ROOT)))
    before = _versions(colab)
    for expected in ("Fetching the course …\n", ""):  # the second time there is nothing to do, and nothing is said
        done = subprocess.run([colab, "-c", cell], capture_output=True, text=True, timeout=300, cwd="/")
        assert done.returncode == 0, done.stderr
        assert (done.stdout, done.stderr) == (expected, "")
    added = {name: version for name, version in _versions(colab).items() if before.get(name) != version}
    assert list(added) == ["practical-optimization"], "Colab's own torch stays as it is"
    return colab


def _versions(python: Path) -> dict[str, str]:
    listing = subprocess.check_output([python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"])
    return {one["name"]: one["version"] for one in json.loads(listing)}


def run_there(python: Path, notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Execute a notebook with that Python's kernel, from a folder far from the course, going on after errors."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "NBGRADER", "AUTOGRADER"))}
    client = NotebookClient(
        notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": str(folder)}}, kernel_name="python3"
    )
    client.create_kernel_manager()
    assert client.km is not None
    client.km.kernel_spec.argv = [str(python), "-m", "ipykernel_launcher", QUIET_KERNEL[-1], "-f", "{connection_file}"]
    state = {"AUTOGRADER_STATE": str(folder / "progress.json"), "OMP_NUM_THREADS": "1"}
    done: NotebookNode = client.execute(env={**environment, **state}, reset_kc=True)
    return done


def went_through_colab(notebook: NotebookNode) -> NotebookNode:
    """As Colab gives notebooks back at their worst: no cell metadata but its own, outputs, its own format version."""
    notebook = copy.deepcopy(notebook)
    for number, cell in enumerate(notebook.cells):
        own = {"id": cell.pop("id"), "colab": {"base_uri": "https://localhost:8080/", "height": 35}}
        cell.metadata = nbformat.from_dict(own)
        if cell.cell_type == "code":
            stamp = {"status": "ok", "timestamp": 1700000000000 + number, "user": {"displayName": "", "userId": ""}}
            cell.metadata |= {"outputId": f"{number:08x}", "executionInfo": {**stamp, "elapsed": 7}}
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", text="something that was printed\n")]
    notebook.metadata = nbformat.from_dict(
        {
            "colab": {"provenance": [], "toc_visible": True},
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python"},
            "accelerator": "GPU",
        }
    )
    notebook.nbformat_minor = 0
    return notebook


def solved(name: str) -> NotebookNode:
    release = nbformat.read(ROOT / "release" / name / f"{name}.ipynb", as_version=4)
    return submission(release, solutions(name))


def solutions(name: str) -> dict[str, str]:
    return source_solutions(ROOT / "source" / name / f"{name}.ipynb")


def errors(notebook: NotebookNode) -> list[tuple[str, str]]:
    return [
        (cell.source.splitlines()[0], output.get("evalue", output.get("text", "")))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


@pytest.mark.xdist_group("colab")  # one worker makes the environment, once
@pytest.mark.parametrize("name", NAMES)
def test_a_solved_release_passes_there(installed: Path, tmp_path: Path, name: str) -> None:
    """Setup, given code, solutions, checks and explorers; the demonstrations of the first notebook as well."""
    notebook = solved(name)
    if name != NAMES[0]:
        notebook.cells = [
            cell for cell in notebook.cells if not {"demo", "explore"} & set(cell.metadata.get("tags", []))
        ]
    done = run_there(installed, went_through_colab(notebook), tmp_path)
    assert errors(done) == []
    shown = " ".join(
        str(output.get("data", {}).get("text/plain", "")) for cell in done.cells for output in cell.get("outputs", [])
    )
    for exercise in (e for e in REGISTRY.values() if e.notebook == name and e.kind not in ("quiz", "written")):
        assert f"✓ {exercise.id} · " in shown, exercise.id


@pytest.mark.xdist_group("colab")
def test_worked_solutions_and_progress_are_there_too(installed: Path, tmp_path: Path) -> None:
    """The installed package brings the reasoning along; a learner on Colab is taken to study alone."""
    (solution,) = (code for name, code in solutions(NAMES[0]).items() if name == "start.gd_step")
    sources = [
        SETUP.substitute(repository=ROOT.as_uri(), branch="HEAD"),
        'import os\n\nimport torch\n\nassert os.environ["AUTOGRADER_SELF_STUDY"] == "1"',
        f'from autograder import check, progress, solution\n{solution}\ncheck("start.gd_step", gd_step)',
        'solution("start.gd_step")',
        "progress()",
    ]
    done = run_there(
        installed, nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in sources]), tmp_path
    )
    assert errors(done) == []
    assert "def gd_step" in done.cells[3].outputs[0].data["text/markdown"]
    assert "✓ start.gd_step" in done.cells[4].outputs[0].data["text/plain"]


# --- and back -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The first notebook with points, handed in by two students with the same mistakes: one worked on Colab."""
    course = Course(ROOT, tmp_path_factory.mktemp("back") / "course", "02_ema_bias_correction")
    course.start_over()
    course.release()
    release = nbformat.read(course.folder / "release" / course.assignment / f"{course.assignment}.ipynb", as_version=4)
    answers = solutions(course.assignment)
    answers.pop("ema.recursive")
    answers["ema.q1"] = '# exercise ema.q1\nq1 = "z"'
    handed_in = submission(release, answers)
    for student, notebook in (("jupyterlab", handed_in), ("colab", went_through_colab(handed_in))):
        place = course.folder / "submitted" / student / course.assignment
        place.mkdir(parents=True)
        (place / f"{course.assignment}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    return course


@pytest.mark.sandbox
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("engine", ["fork", "kernel"])
def test_both_engines_grade_a_notebook_from_colab_like_any_other(course: Course, engine: str) -> None:
    command = [sys.executable, "-m", "autograder", "grade", course.assignment, "--course", str(course.folder), "--json"]
    done = subprocess.run([*command, "--force", "--engine", engine], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    graded = {e["student"]: e for e in map(json.loads, done.stdout.splitlines()) if e["event"] == "graded"}
    assert graded["colab"]["marks"] == graded["jupyterlab"]["marks"]
    assert 0 < graded["colab"]["points"] < graded["colab"]["max_points"]


@pytest.mark.xdist_group("engine")
def test_plain_nbgrader_grades_it_alike_too(course: Course) -> None:
    """nbgrader alone knows cells by their metadata: `RestoreCells` gives it back."""
    from autograder.publish.sample_class import Student

    marks = {name: course.grade(Student(name, "", {}, {})).marks for name in ("jupyterlab", "colab")}
    assert marks["colab"] == marks["jupyterlab"]
    assert sum(marks["colab"].values()) > 0
