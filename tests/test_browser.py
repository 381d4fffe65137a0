"""A student at work in a real JupyterLab, in headless Chromium. Screenshots are kept in tests/artefacts/."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browsing import (
    LOW_CONTRAST,
    chromium,
    close_notebook,
    command,
    jupyter_lab,
    open_lab,
    open_notebook,
    run_all,
    set_source,
    shot,
)
from explorer_cells import kept

from autograder.exercise import REGISTRY, CodeExercise
from autograder.manifest import manifest
from autograder.publish.sample_class import source_solutions

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SOURCE = Path(__file__).parent.parent / "source"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """JupyterLab in a browser, over a folder of its own; yields the page and the folder."""
    folder, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    with jupyter_lab(folder, home) as server, chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(60_000)
        open_lab(page, server)
        yield page, folder


def test_a_failing_then_a_passing_check_in_light_and_dark(root: Path, lab: tuple[Any, Path]) -> None:
    page, folder = lab
    shutil.copy(root / "release" / "00_start_here" / "00_start_here.ipynb", folder)
    open_notebook(page, "00_start_here.ipynb")

    head = "# exercise start.gd_step\n@torch.no_grad()\ndef gd_step(w, grad, lr):\n"
    set_source(page, "# exercise start.gd_step", f"{head}    w = w - lr * grad")
    run_all(page)
    verdict = page.locator(".jp-OutputArea-output", has_text="the weight is not updated in place").first
    verdict.get_by_text("Re-read the docstring: updated in place.").first.wait_for()
    assert verdict.locator("svg[role=img]").count() == 1
    for theme, name in (("JupyterLab Light", "failing_light"), ("JupyterLab Dark", "failing_dark")):
        command(page, "apputils:change-theme", f"{{theme: '{theme}'}}")
        page.wait_for_timeout(1500)
        verdict.scroll_into_view_if_needed()
        assert verdict.evaluate(LOW_CONTRAST) == [], theme
        shot(page, name)
        shot(verdict, f"verdict_{name.split('_')[1]}")

    set_source(page, "# exercise start.gd_step", f"{head}    w.sub_(lr * grad)")
    run_all(page)
    passed = page.locator(".jp-OutputArea-output", has_text="One step of gradient descent: passed").first
    passed.wait_for()
    page.locator(".jp-OutputArea-output", has_text="q1 has no answer yet").first.wait_for()
    panel = page.locator(".jp-OutputArea-output", has_text="1 of 2").first  # run all went on to the progress panel
    panel.wait_for()
    panel.scroll_into_view_if_needed()
    shot(page, "progress_dark")
    command(page, "apputils:change-theme", "{theme: 'JupyterLab Light'}")
    close_notebook(page)


def explorers() -> list[str]:
    """The notebooks that have an explorer."""
    return [one.name for one in manifest().notebooks if '"explore"' in _source(one.name).read_text(encoding="utf-8")]


def _source(name: str) -> Path:
    return SOURCE / name / f"{name}.ipynb"


def reduced(name: str) -> nbformat.NotebookNode:
    """What a student has who solved all code exercises: imports, solutions, visible checks, and the explorer."""
    notebook, solutions = nbformat.read(_source(name), as_version=4), source_solutions(_source(name))
    code = {one.id for one in REGISTRY.values() if isinstance(one, CodeExercise)}
    checks = {one.grade_id: one.id for one in REGISTRY.values()}

    def exercise(cell: nbformat.NotebookNode) -> str:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        return checks.get(grade_id.removesuffix("-solution"), "")

    for cell in notebook.cells:
        if exercise(cell) in code:
            checked = "check" in cell.metadata.get("tags", ())
            cell.source = cell.source.splitlines()[0] if checked else solutions[exercise(cell)]
    notebook.cells = kept(
        notebook.cells,
        lambda cell: exercise(cell) in code or bool({"setup", "explore"} & set(cell.metadata.get("tags", ()))),
    )
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)
    return notebook


#: The kernel redraws for every key: is the picture the one of half a second ago, and loaded?
AT_REST = """() => {
    const now = document.querySelector('.jupyter-widgets img[alt]'), was = window.lastPicture;
    window.lastPicture = now?.src;
    return now?.complete && now.naturalWidth > 0 && was === now.src;
}"""


@pytest.mark.parametrize("name", explorers())
def test_an_explorer_follows_its_sliders_by_keyboard(name: str, lab: tuple[Any, Path]) -> None:
    page, folder = lab
    nbformat.write(reduced(name), folder / f"explorer_{name}.ipynb")
    open_notebook(page, f"explorer_{name}.ipynb")
    run_all(page)
    picture = page.locator(".jupyter-widgets img[alt]").first
    picture.wait_for()
    before, alt = picture.get_attribute("src"), picture.get_attribute("alt")
    handle = page.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    for _ in range(6):
        handle.press("ArrowRight")
    for attribute, was in (("src", before), ("alt", alt)):
        page.wait_for_function(
            "([name, was]) => { const now = document.querySelector('.jupyter-widgets img[alt]')?.getAttribute(name);"
            " return now && now !== was; }",
            arg=[attribute, was],
        )
    page.wait_for_function(AT_REST, polling=500)
    assert len(picture.get_attribute("src")) > len(before) / 4, "a drawing and not a blank"
    shot(page, f"explorer_{name}")
    close_notebook(page)
