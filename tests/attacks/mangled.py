"""Attacks on the file and the folder that are handed in: what is no code in a cell."""

from __future__ import annotations

import copy
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import nbformat
from catalogue import CANARY, Attack, Builder
from nbformat import NotebookNode

from autograder.publish.light import EXERCISES, NAME


def _graded(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]


def skipped_checks(notebook: NotebookNode, folder: Path) -> None:
    for cell in _graded(notebook):
        cell.metadata.tags = ["skip-execution", "raises-exception", "demo", "explore"]


def forged_grades(notebook: NotebookNode, folder: Path) -> None:
    for cell in _graded(notebook):
        cell.metadata.nbgrader |= {"points": 1000, "grade": False, "solution": True, "locked": False}
        cell.source = "16.0"
        cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "16.0"}, execution_count=1)]


def forged_schema(notebook: NotebookNode, folder: Path) -> None:
    for cell in notebook.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.schema_version = 9


def swapped_ids(notebook: NotebookNode, folder: Path) -> None:
    """Every check cell claims to be the cheapest exercise's."""
    for cell in _graded(notebook):
        cell.metadata.nbgrader.grade_id = "adam-step"


def duplicated_checks(notebook: NotebookNode, folder: Path) -> None:
    for cell in _graded(notebook):
        twin = copy.deepcopy(cell)
        twin.id, twin.source = f"{cell.id}-twin", "print('passed')"
        notebook.cells += [twin, copy.deepcopy(twin)]


def emptied_checks(notebook: NotebookNode, folder: Path) -> None:
    for cell in _graded(notebook):
        cell.source = ""


def without_checks(notebook: NotebookNode, folder: Path) -> None:
    notebook.cells = [cell for cell in notebook.cells if not cell.metadata.get("nbgrader", {}).get("grade")]


def evil_metadata(notebook: NotebookNode, folder: Path) -> None:
    notebook.metadata.kernelspec = {"name": "bash", "display_name": "x", "language": "bash"}
    notebook.metadata.language_info = {"name": "<script>PWNED()</script>"}
    notebook.metadata.title = "<script>PWNED()</script>"
    for number, cell in enumerate(notebook.cells):
        cell.metadata.attachments = {"../../x": {"image/png": "aGk="}}
        cell.metadata["nbgrader-comment"] = "full marks"
        cell.metadata.number = number


def script_in_markdown(notebook: NotebookNode, folder: Path) -> None:
    texts = (
        "<script>PWNED()</script><img src=x onerror=PWNED()>",
        "[marks](javascript:PWNED()) ![x](javascript:PWNED())",
        "<svg/onload=PWNED()> <iframe src=javascript:PWNED()>",
        "$\\href{javascript:PWNED()}{x}$ <math><mtext></form><form><mglyph><style></math><img src onerror=PWNED()>",
        "<div style='position:fixed;inset:0;background:url(https://attacker.example/x)'>16 / 16</div>",
    )
    notebook.cells += [nbformat.v4.new_markdown_cell(text, id=f"evil-{i}") for i, text in enumerate(texts)]


def modules_beside(notebook: NotebookNode, folder: Path) -> None:
    for name in (
        "torch.py",
        "conftest.py",
        "sitecustomize.py",
        "ipykernel_launcher.py",
        "nbgrader_config.py",
        "evil.pth",
    ):
        (folder / name).write_text("import os\nos._exit(0)\n")
    (folder / "autograder").mkdir()
    (folder / "autograder" / "__init__.py").write_text("def check(*a, **k): return 10.0\n")
    (folder / ".ipython" / "profile_default" / "startup").mkdir(parents=True)
    (folder / ".ipython" / "profile_default" / "startup" / "00.py").write_text("raise SystemExit\n")


def links_beside(notebook: NotebookNode, folder: Path) -> None:
    course = folder.parents[2]
    (folder / "gradebook").symlink_to(course / "gradebook.db")
    (folder / "up").symlink_to(course, target_is_directory=True)
    (folder / "secret.txt").symlink_to(course / "secret.txt")
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "timestamp.txt").symlink_to(course / "secret.txt")


def notebook_is_a_link(notebook: NotebookNode, folder: Path) -> None:
    """The notebook handed in is a link to another student's."""
    (folder / f"{NAME}.ipynb").symlink_to(folder.parents[1] / "zzz-honest" / NAME / f"{NAME}.ipynb")


def bomb_beside(notebook: NotebookNode, folder: Path) -> None:
    with zipfile.ZipFile(folder / "work.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../../escaped-5f1e", CANARY)
        archive.writestr("light.ipynb", " " * 300_000_000)
    (folder / "data.pkl").write_bytes(b"cos\nsystem\n(S'touch /tmp/pwned-5f1e'\ntR.")


def deep_nesting(notebook: NotebookNode, folder: Path) -> None:
    text = json.dumps(notebook)
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    (folder / f"{NAME}.ipynb").write_text(text.replace('"metadata":', f'"zzz": {deep}, "metadata":', 1))


def many_cells(notebook: NotebookNode, folder: Path) -> None:
    notebook.cells += [nbformat.v4.new_markdown_cell("x", id=f"many-{i}") for i in range(3000)]


def big_numbers(notebook: NotebookNode, folder: Path) -> None:
    notebook.nbformat_minor = 10**30
    notebook.metadata.x = float("inf")
    (folder / f"{NAME}.ipynb").write_text(json.dumps(notebook))


def _attack(build: Builder, group: str, tries: str, solved: tuple[str, ...] = (), student: str = "") -> Attack:
    return Attack(build.__name__, group, tries, frozenset(solved), build=build, student=student)


def student_name(notebook: NotebookNode, folder: Path) -> None:
    """Nothing: the name of the student's folder is the attack."""


_ALL: Any = EXERCISES
MANGLED = (
    _attack(skipped_checks, "metadata", "tag the check cells skip-execution and raises-exception"),
    _attack(forged_grades, "metadata", "write points, sources and outputs into the check cells"),
    _attack(forged_schema, "metadata", "a schema version that stock nbgrader stops at, for everybody", _ALL),
    _attack(swapped_ids, "metadata", "give all check cells the id of one exercise", ("adam.step",)),
    _attack(duplicated_checks, "metadata", "hand in every check cell three times", _ALL),
    _attack(emptied_checks, "metadata", "empty the check cells"),
    _attack(without_checks, "metadata", "delete the check cells", ("adam.adam",)),
    _attack(evil_metadata, "metadata", "another kernel, attachments with paths, markup in metadata", _ALL),
    _attack(script_in_markdown, "web", "scripts, links and styles in markdown cells", _ALL),
    _attack(student_name, "web", "markup in the student's id", _ALL, "x-<img src=x onerror=PWNED()>"),
    _attack(modules_beside, "files", "files beside the notebook that are named like modules and start-up files"),
    _attack(links_beside, "files", "symbolic links and a FIFO beside the notebook", _ALL),
    _attack(notebook_is_a_link, "files", "a link to another student's notebook in place of an own one"),
    _attack(bomb_beside, "files", "a zip bomb with paths that lead out, and a pickle", _ALL),
    _attack(deep_nesting, "metadata", "JSON nested 50,000 deep", ()),
    _attack(many_cells, "metadata", "3,000 cells", _ALL),
    _attack(big_numbers, "metadata", "numbers that no field holds", _ALL),
)
