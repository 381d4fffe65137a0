"""What a browser makes of the class report: light, dark, narrow, printed, without scripts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_records import release
from test_report import course, publish, scored

from autograder.grading.engine import STORE
from autograder.grading.report.command import write_report
from autograder.publish.synthetic_class import fill_store

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ARTEFACTS = Path(__file__).parents[1] / "artefacts"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class with everything: copies, flags, a leaderboard."""
    place = course(tmp_path_factory.mktemp("shown"))
    fill_store(place.root / STORE, release(), 120)
    for number in range(6):
        result, notebook = scored(f"measured{number}", 0.91 + number / 100)
        publish(place, [result], notebook)
    return write_report(place)[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield opened
        opened.close()


CONTRASTS = """() => {
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const f = [r, g, b].map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2];
    };
    const clear = element => /rgba\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(element).backgroundColor);
    const low = new Set();
    for (const element of document.querySelectorAll("h1,h2,h3,h4,p,a,th,td,dt,dd,summary,button,code,pre,span,bdi,label")) {
        if (!element.textContent.trim() || !element.offsetParent) continue;
        let ground = element;
        while (ground.parentElement && clear(ground)) ground = ground.parentElement;
        const a = light(numbers(getComputedStyle(element).color)), b = light(numbers(getComputedStyle(ground).backgroundColor));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) low.add(`${element.tagName} ${element.className} ${ratio.toFixed(2)}`);
    }
    return [...low];
}"""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 390)])
def test_it_opens_alone_and_reads_well(browser: Any, page_file: Path, scheme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 1500}, color_scheme=scheme, offline=True)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"report_top_{scheme}_{width}.png")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "something sticks out"
    page.screenshot(path=ARTEFACTS / f"report_{scheme}_{width}.png", full_page=True)
    assert said == []
    assert asked == [page_file.as_uri()]
    context.close()


def test_tables_sort_and_filter_by_keyboard(browser: Any, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.goto(page_file.as_uri())
    table = page.locator("[id$=-students] table")

    def column(place: int) -> list[str]:
        found: list[str] = table.locator(f"tbody tr:visible > :nth-child({place})").all_inner_texts()
        return found

    points = table.get_by_role("button", name="points")
    points.focus()
    page.keyboard.press("Enter")
    assert [float(one) for one in column(2)] == sorted(map(float, column(2)), reverse=True)
    assert table.locator("th[aria-sort=descending]").inner_text().startswith("points")
    page.keyboard.press("Space")
    assert [float(one) for one in column(2)] == sorted(map(float, column(2)))
    page.locator("[id$=-students] input").fill("measured")
    assert sorted(column(1)) == [f"measured{i}" for i in range(6)]
    page.close()


def test_without_scripts_all_is_there_and_paper_shows_whole_tables(browser: Any, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1200, "height": 1000})
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("[id$=-students] tbody tr").count() == 126
    assert page.locator("input").count() == 0
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 within its margins
    page.emulate_media(media="print", color_scheme="dark")
    widths = page.locator(".scroll > table").evaluate_all("tables => tables.map(one => one.offsetWidth)")
    assert max(widths) <= 718, "a table is cut off on paper"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ARTEFACTS.mkdir(exist_ok=True)
    paper = page.pdf(path=ARTEFACTS / "report.pdf", format="A4")
    assert len(paper) > 20_000
    context.close()


def test_a_script_that_slipped_through_would_not_run(browser: Any, page_file: Path, tmp_path: Path) -> None:
    html = page_file.read_text(encoding="utf-8")
    evil = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    (tmp_path / "evil.html").write_text(html.replace("<main>", f"<main>{evil}"), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "evil.html").as_uri())
    page.wait_for_timeout(200)
    assert page.title().startswith("Class report")
    page.close()
