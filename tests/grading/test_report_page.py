"""What a browser makes of the class report: light, dark, narrow, printed, without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browsing import ARTEFACTS, BARRIERS, LOW_CONTRAST, STICKS_OUT, UNSEEN_FOCUS, chromium, shot
from test_records import release
from test_report import course, publish, scored

from autograder.grading.engine import STORE, Course
from autograder.grading.report.build import Report, make_report
from autograder.grading.report.command import write_report
from autograder.grading.report.page import report_page
from autograder.publish.synthetic_class import fill_store

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


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
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 390)])
def test_it_opens_alone_and_reads_well(browser: Any, page_file: Path, scheme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 1500}, color_scheme=scheme, offline=True)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    shot(page, f"report_top_{scheme}_{width}")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate(BARRIERS) == []
    assert not page.evaluate(STICKS_OUT), "something sticks out"
    shot(page, f"report_{scheme}_{width}", full_page=True)
    assert said == []
    assert asked == [page_file.as_uri()]
    context.close()


def test_every_chart_has_its_numbers_in_a_table_beside_it(browser: Any, page_file: Path) -> None:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    figures = page.locator("figure")
    assert figures.count() == 2
    for figure in figures.all():
        shown = [int(text) for text in figure.locator("rect + text").all_text_contents() if text]
        numbers = figure.locator("xpath=following-sibling::details[1]").locator("td.number").all_text_contents()
        assert [int(text) for text in numbers if text != "0"] == shown
    page.close()


def test_the_keyboard_reaches_everything_and_the_focus_shows(browser: Any, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.goto(page_file.as_uri())
    unseen, tried = page.evaluate(UNSEEN_FOCUS)
    assert unseen == []
    assert tried > 50
    summary = page.locator("[id$=-flags] summary").first
    for _ in range(tried):
        if summary.evaluate("one => one === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert summary.locator("xpath=..").get_attribute("open") is not None
    page.close()


def test_a_flag_stands_beside_the_line_that_raised_it_and_says_that_it_costs_nothing(
    browser: Any, page_file: Path
) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.goto(page_file.as_uri())
    flags = page.locator("[id$=-flags]")
    assert "none has changed a mark" in flags.inner_text()
    first = flags.locator("details").first
    first.locator("summary").click()
    cell, line, what, code = first.locator("tbody tr").first.locator("td").all_inner_texts()
    assert (cell, line, what) == ("adam-adam-solution", "4", "files elsewhere: open")
    assert code.startswith("super().__init__(")
    shot(flags, "report_flags")
    page.close()


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
    paper = page.pdf(path=ARTEFACTS / "report.pdf", format="A4")
    assert 5 <= paper_pages(paper) <= 12, "for 126 students, a line each"
    context.close()


def paper_pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


def grown(report: Report, count: int) -> Report:
    """The same class, so many times as large: a line and flags for every student."""
    (one,) = report.assignments
    students = tuple(replace(one.students[i % len(one.students)], student=f"s{i:04}") for i in range(count))
    flagged = tuple(replace(one.flagged[i % len(one.flagged)], student=f"s{i:04}") for i in range(count))
    return replace(report, assignments=(replace(one, students=students, flagged=flagged),))


def test_a_thousand_students_open_sort_and_print_in_seconds(browser: Any, page_file: Path, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    file = tmp_path / "large.html"
    place = Course(page_file.parents[1], "sqlite:///none.db", "sample")
    file.write_text(report_page(grown(make_report(place), 1_000)), encoding="utf-8")
    assert file.stat().st_size < 2_000_000
    page.goto(file.as_uri())
    timing = page.evaluate("performance.getEntriesByType('navigation')[0].domComplete")
    assert timing < 5_000, "milliseconds until it stands"
    assert page.locator("[id$=-students] tbody tr").count() == 1_000
    took = page.evaluate(
        """() => {
            const start = performance.now();
            document.querySelector("[id$=-students] th.number button").click();
            document.body.offsetHeight;
            return performance.now() - start;
        }"""
    )
    assert took < 3_000, "milliseconds to sort"
    assert paper_pages(page.pdf(format="A4")) < 60
    page.close()


def test_a_script_that_slipped_through_would_not_run(browser: Any, page_file: Path, tmp_path: Path) -> None:
    html = page_file.read_text(encoding="utf-8")
    evil = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    (tmp_path / "evil.html").write_text(html.replace("<main>", f"<main>{evil}"), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "evil.html").as_uri())
    page.wait_for_timeout(200)
    assert page.title().startswith("Class report")
    page.close()
