"""A student at work in a real JupyterLab, in headless Chromium. Screenshots are kept in tests/artefacts/."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from explorer_cells import kept

from autograder.exercise import REGISTRY, CodeExercise
from autograder.manifest import manifest
from autograder.publish.sample_class import source_solutions

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ARTEFACTS = Path(__file__).parent / "artefacts"
SOURCE = Path(__file__).parent.parent / "source"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="module")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab server over a folder of its own; yields its address and the folder."""
    folder, home, port = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home"), free_port()
    environment = {
        **os.environ,
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "AUTOGRADER_STATE": str(home / "state.json"),
    }
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *(f"--port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", "--LabApp.news_url="),
    ]
    log = (home / "lab.log").open("w")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, server)
        yield address, folder
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(120):
        if server.poll() is not None:
            raise RuntimeError("JupyterLab did not start")
        try:
            urllib.request.urlopen(f"{address}/api", timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError("JupyterLab did not answer within a minute")


@pytest.fixture(scope="module")
def page(lab: tuple[str, Path]) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def open_notebook(page: Any, address: str, name: str) -> None:
    page.goto(f"{address}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function("window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")


def command(page: Any, name: str, arguments: str = "{}") -> None:
    page.evaluate(f"window.jupyterapp.commands.execute('{name}', {arguments})")


def run_all(page: Any) -> None:
    command(page, "notebook:run-all-cells")


def set_source(page: Any, starts: str, source: str) -> None:
    """Put code into the cell that starts like that, as if it had been typed."""
    page.evaluate(
        """([starts, source]) => {
            const cells = window.jupyterapp.shell.currentWidget.content.widgets;
            cells.find(c => c.model.sharedModel.getSource().startsWith(starts)).model.sharedModel.setSource(source);
        }""",
        [starts, source],
    )


def shot(page: Any, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png")


CONTRAST = """element => {
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const f = [r, g, b].map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2];
    };
    let ground = element;
    while (ground && /rgba\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(ground).backgroundColor))
        ground = ground.parentElement;
    const a = light(numbers(getComputedStyle(element).color));
    const b = light(numbers(getComputedStyle(ground).backgroundColor));
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


def test_a_failing_then_a_passing_check_in_light_and_dark(root: Path, lab: tuple[str, Path], page: Any) -> None:
    address, folder = lab
    shutil.copy(root / "release" / "00_start_here" / "00_start_here.ipynb", folder)
    open_notebook(page, address, "00_start_here.ipynb")

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
        assert verdict.locator("p b").first.evaluate(CONTRAST) >= 4.5, theme
        shot(page, name)
        verdict.screenshot(path=ARTEFACTS / f"verdict_{name.split('_')[1]}.png")

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


@pytest.mark.parametrize("name", explorers())
def test_an_explorer_follows_its_sliders_by_keyboard(name: str, lab: tuple[str, Path], page: Any) -> None:
    address, folder = lab
    nbformat.write(reduced(name), folder / f"explorer_{name}.ipynb")
    open_notebook(page, address, f"explorer_{name}.ipynb")
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
    shot(page, f"explorer_{name}")
