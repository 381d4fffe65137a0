"""Headless Chromium and real Jupyter servers, for tests that look at things as people do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Screenshots are kept here; `make pictures` takes the guides' pictures from among them.
ARTEFACTS = Path(__file__).parent / "artefacts"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser. One at a time: Playwright's loop belongs to the thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()


def shot(page: Any, name: str, **options: Any) -> None:
    """Keep a screenshot of a page or of one element."""
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", **options)


# --- what a page has to keep to -------------------------------------------------------------------------------------

#: Elements, of the page or within the one that is given, whose own text has a contrast under 4.5; under 3 where it is large
#: or a sign beside words that say the same (WCAG 2.2, 1.4.3 and 1.4.11).
LOW_CONTRAST = """within => {
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const f = [r, g, b].map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2];
    };
    const clear = element => /rgba\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(element).backgroundColor);
    const says = element => [...element.childNodes].some(one => one.nodeType === Node.TEXT_NODE && one.data.trim());
    const low = new Set();
    for (const element of (within ?? document.body).querySelectorAll("*")) {
        if (!says(element) || !element.getClientRects().length) continue;
        let ground = element;
        while (ground.parentElement && clear(ground)) ground = ground.parentElement;
        const style = getComputedStyle(element), drawn = element instanceof SVGElement;
        const a = light(numbers(drawn ? style.fill : style.color));
        const b = light(numbers(clear(ground) ? "255 255 255" : getComputedStyle(ground).backgroundColor));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        const sign = element.closest("[aria-hidden=true],[role=img]:not(svg)");
        if (ratio < (large || sign ? 3 : 4.5)) {
            const name = element.className?.baseVal ?? element.className;
            low.add(`${element.tagName} ${name} ${ratio.toFixed(2)} ${element.textContent.trim().slice(0, 30)}`);
        }
    }
    return [...low];
}"""

#: What else makes a page hard to use without seeing it or without a mouse: one line for each finding.
BARRIERS = """() => {
    const found = [], all = selector => [...document.querySelectorAll(selector)];
    const told = element => `${element.tagName} ${element.id || element.textContent.trim().slice(0, 40)}`;
    const named = element => element.getAttribute("aria-label") || element.getAttribute("aria-labelledby")
        || element.labels?.length || element.textContent.trim() || element.title;
    if (!document.documentElement.lang) found.push("no language");
    if (!document.title.trim()) found.push("no title");
    if (all("main").length !== 1) found.push("not one main part");
    let last = 0;
    for (const heading of all("h1,h2,h3,h4,h5,h6")) {
        const level = Number(heading.tagName[1]);
        if (level > last + 1) found.push(`${told(heading)}: a level is left out after h${last}`);
        last = level;
    }
    if (all("h1").length !== 1) found.push(`${all("h1").length} h1`);
    for (const image of all("img")) if (!image.alt.trim()) found.push(`picture without alt: ${image.src.slice(0, 40)}`);
    for (const drawing of all("svg[role=img]")) {
        const title = drawing.getAttribute("aria-label") || drawing.querySelector("title")?.textContent;
        if (!title?.trim()) found.push("drawing without name");
    }
    for (const drawing of all("svg:not([role=img])"))
        if (drawing.getAttribute("aria-hidden") !== "true") found.push("drawing that is neither named nor hidden");
    for (const control of all("a[href],button,input,select,textarea,summary"))
        if (!named(control)) found.push(`${told(control)}: control without name`);
    for (const scope of all("[role=region],nav,section[aria-label]"))
        if (!named(scope)) found.push("region without name");
    for (const table of all("table")) {
        if (!table.querySelector("th")) found.push(`table without headings: ${table.textContent.trim().slice(0, 40)}`);
        for (const head of table.querySelectorAll("th"))
            if (!head.scope) found.push(`${told(head)}: th without scope`);
    }
    const ids = all("[id]").map(one => one.id);
    for (const id of new Set(ids.filter((one, i) => ids.indexOf(one) !== i))) found.push(`id ${id} twice`);
    for (const link of all("a[href^='#']"))
        if (!document.getElementById(decodeURIComponent(link.hash.slice(1)))) found.push(`${link.hash} leads nowhere`);
    for (const name of ["aria-labelledby", "aria-describedby"])
        for (const one of all(`[${name}]`))
            for (const id of one.getAttribute(name).split(/\\s+/))
                if (!document.getElementById(id)) found.push(`${name} ${id} is not there`);
    return found;
}"""

#: Controls that show nothing when they get the focus by keyboard; also how many were tried.
UNSEEN_FOCUS = """() => {
    const found = [];
    let tried = 0;
    for (const one of document.querySelectorAll("a[href],button,input,summary,[tabindex='0']")) {
        if (!one.getClientRects().length) continue;
        one.focus({focusVisible: true, preventScroll: true});
        const style = getComputedStyle(one);
        tried += 1;
        if (document.activeElement === one && (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1))
            found.push(`${one.tagName} ${one.textContent.trim().slice(0, 30)}`);
        if (tried === 300) break;
    }
    return [found, tried];
}"""

STICKS_OUT = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


# --- JupyterLab -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A Jupyter server that has been started; `wait` until it answers."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        for _ in range(240):
            assert self.process.poll() is None, f"JupyterLab did not start:\n{self.log.read_text()[-2000:]}"
            try:
                urllib.request.urlopen(f"{self.address}/api", timeout=2)
                return
            except OSError:
                time.sleep(0.25)
        raise TimeoutError(f"JupyterLab did not answer within a minute:\n{self.log.read_text()[-2000:]}")


@contextmanager
def jupyter_lab(folder: Path, home: Path, **environment: str) -> Iterator[Server]:
    """A JupyterLab server over a folder, with a home of its own. Does not wait for it: several start side by side."""
    port = _free_port()
    _no_news(home / "config")
    settings = {
        **os.environ,
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "config" / "lab" / "user-settings"),
        "AUTOGRADER_STATE": str(home / "state.json"),
        **environment,
    }
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *(f"--port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", "--LabApp.news_url="),
    ]
    with (home / "lab.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Server(f"http://127.0.0.1:{port}", process, home / "lab.log")
    finally:
        process.terminate()
        process.wait(20)


def _no_news(config: Path) -> None:
    """JupyterLab's question about news would lie over what is looked at."""
    place = config / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    place.mkdir(parents=True, exist_ok=True)
    (place / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}', encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def open_lab(page: Any, server: Server) -> None:
    """JupyterLab with an empty workspace."""
    server.wait()
    page.goto(f"{server.address}/lab?reset", wait_until="domcontentloaded")
    page.wait_for_function("window.jupyterapp")
    page.evaluate("async () => { await window.jupyterapp.restored; }")
    page.wait_for_selector(".jp-Launcher")  # opened last, and would cover a notebook that was opened before


def open_notebook(page: Any, path: str) -> None:
    """Open a notebook in the lab that the page shows, and wait for its kernel."""
    command(page, "docmanager:open", f"{{path: '{path}', factory: 'Notebook'}}")
    page.wait_for_function(
        """path => {
            const shown = window.jupyterapp.shell.currentWidget;
            return shown?.context?.path === path && shown.content?.widgets?.length
                && shown.sessionContext.session?.kernel?.status === 'idle';
        }""",
        arg=path,
    )


def close_notebook(page: Any) -> None:
    """Close the notebook that is open, without saving, and end its kernel."""
    page.evaluate(
        """async () => {
            const shown = window.jupyterapp.shell.currentWidget;
            await shown.sessionContext.shutdown();
            shown.context.model.dirty = false;
            shown.dispose();
        }"""
    )


def command(page: Any, name: str, arguments: str = "{}") -> None:
    """Start one of JupyterLab's commands, and wait until it has begun."""
    page.evaluate(f"() => {{ window.jupyterapp.commands.execute('{name}', {arguments}); }}")


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
