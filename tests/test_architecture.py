"""Who may import whom, what the tree holds, and that requirements agree wherever they are written."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

#: package module (prefix) → prefixes of this project's modules that it must not import at any depth of its code
FORBIDDEN = {
    "utils": ("autograder",),
    "autograder.exercise": ("autograder.evidence", "autograder.verdict", "autograder.exercises", "autograder.answers"),
    "autograder.evidence": ("autograder.verdict", "autograder.exercises", "autograder.misconceptions", "utils"),
    "autograder.collectors": ("autograder.verdict", "autograder.exercises", "autograder.misconceptions", "utils"),
    "autograder.launches": ("autograder.", "utils"),
    "autograder.probes": ("autograder.exercises", "autograder.misconceptions", "autograder.verdict", "utils"),
    "autograder.verdict": ("autograder.diagnose", "autograder.render", "autograder.exercises", "autograder.answers"),
    "autograder.diagnose": ("autograder.render", "autograder.answers", "autograder.exercises"),
    "autograder.render": ("autograder.answers", "autograder.exercises", "autograder.checks"),
    "autograder.exercises": ("autograder.answers", "autograder.verdict", "autograder.render", "autograder.publish"),
    "autograder.misconceptions": ("autograder.answers", "autograder.verdict", "autograder.publish"),
    "autograder.grading": (
        "autograder.answers",
        "autograder.audit",
        "autograder.checks",
        "autograder.learner",
        "autograder.mutants",
        "autograder.worked",
    ),
    **dict.fromkeys(
        [f"autograder.grading.{name}" for name in ("channel", "packing", "runner", "sandbox", "shell", "zygote")],
        ("autograder.verdict", "autograder.diagnose", "autograder.exercises", "autograder.misconceptions", "nbgrader"),
    ),
    "autograder.checks": ("autograder.answers", "autograder.publish", "autograder.audit", "autograder.mutants"),
    "autograder.learner": ("autograder.answers", "autograder.publish", "autograder.checks", "autograder.overview"),
    "autograder.overview": ("autograder.answers", "autograder.publish", "autograder.checks"),
    "autograder.worked": ("autograder.answers", "autograder.publish", "autograder.checks", "autograder.learner"),
    "autograder.answers": ("autograder.publish", "autograder.checks", "autograder.exercises", "autograder.mutants"),
    "autograder.mutants": ("autograder.publish", "autograder.checks", "autograder.exercises", "autograder.grading"),
}

#: third-party packages that only the instructor's side may import, and where
INSTRUCTOR_ONLY = (
    "nbgrader",
    "nbformat",
    "nbconvert",
    "nbclient",
    "traitlets",
    "typer",
    "rich",
    "jinja2",
    "markupsafe",
    "distributed",
)
INSTRUCTOR_SIDE = (
    *("autograder.publish", "autograder.grading", "autograder.cli", "autograder.audit", "autograder.doctor"),
    "autograder.__main__",
)


def modules(root: Path) -> dict[str, Path]:
    found = {}
    for package in ("autograder", "utils"):
        for path in (root / package).rglob("*.py"):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_imports_go_one_way(root: Path) -> None:
    wrong = []
    for module, path in modules(root).items():
        for prefix, forbidden in FORBIDDEN.items():
            if module == prefix or module.startswith(f"{prefix}."):
                wrong += [(module, name) for name in imported(path) if name.startswith(forbidden)]
    assert wrong == []


def test_only_the_instructors_side_imports_instructors_packages(root: Path) -> None:
    wrong = [
        (module, name)
        for module, path in modules(root).items()
        if not module.startswith(INSTRUCTOR_SIDE)
        for name in imported(path)
        if name.split(".")[0] in INSTRUCTOR_ONLY
    ]
    assert wrong == []


def test_every_notebook_has_exercises_and_answers(root: Path) -> None:
    """Further modules in these folders belong to one that is named like its notebook."""
    from autograder.manifest import manifest, module_of

    for notebook in manifest().notebooks:
        for folder in ("exercises", "answers"):
            assert (root / "autograder" / folder / f"{module_of(notebook.name)}.py").is_file(), (folder, notebook.name)


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, list[Requirement]]:
    data = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    groups = {"core": data["dependencies"], **data["optional-dependencies"]}
    return {
        name: [Requirement(line) for line in lines if not line.startswith(data["name"])]
        for name, lines in groups.items()
    }


#: conda-forge's names where they differ from PyPI's
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def test_the_conda_environment_agrees_with_pyproject(root: Path, project: dict[str, list[Requirement]]) -> None:
    listed = yaml.safe_load((root / "environment.yml").read_text())
    assert listed["name"] == "practical-optimization"
    conda = {}
    for entry in listed["dependencies"]:
        if isinstance(entry, str):
            name, spec = re.fullmatch(r"([\w-]+)(.*)", entry).groups()  # type: ignore[union-attr]
            conda[name] = spec
    wanted = [*project["core"], *project["student"], *project["instructor"]]
    for requirement in wanted:
        name = CONDA.get(requirement.name, requirement.name)
        assert set(conda[name].split(",")) == set(str(requirement.specifier).split(",")), name
    python = tomllib.loads((root / "pyproject.toml").read_text())["project"]["requires-python"]
    assert conda["python"] == python


def test_constraints_pin_every_requirement_within_its_range(root: Path, project: dict[str, list[Requirement]]) -> None:
    pins = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert len(requirement.specifier) == 1, line
            assert next(iter(requirement.specifier)).operator == "==", line
            pins[requirement.name.lower().replace("_", "-")] = next(iter(requirement.specifier)).version
    assert pins["torch"] == "2.13.0"
    for requirement in (one for group in project.values() for one in group):
        assert Version(pins[requirement.name.lower()]) in requirement.specifier, requirement.name


@pytest.mark.xdist_group("together")
def test_workers_keep_groups_together(request: pytest.FixtureRequest) -> None:
    """Else every worker makes the fixtures of a module, and the tests take nearly twice as long."""
    if not hasattr(request.config, "workerinput"):
        pytest.skip("one process: nothing to keep together")
    assert request.node.nodeid.endswith("@together"), "this pytest-xdist does not go with this pytest"
