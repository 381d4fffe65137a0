"""The checks that look at pages find what they look for: a page without any fault says little about a check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsing import BARRIERS, LOW_CONTRAST, STICKS_OUT, UNSEEN_FOCUS, chromium

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

FINE = """<!DOCTYPE html><html lang="en"><title>t</title><main><h1>a</h1><h2>b</h2><p>c <a href="#x">d</a></p>
<table id="x"><tr><th scope="row">e</th><td>f</td></tr></table><img alt="g"><label>h <input></label></main>"""

FAULTS = {
    "no language": (' lang="en"', ""),
    "no title": ("<title>t</title>", ""),
    "not one main part": ("<main>", "<main></main><main>"),
    "a level is left out after h1": ("<h2>b</h2>", "<h3>b</h3>"),
    "2 h1": ("<h2>b</h2>", "<h1>b</h1>"),
    "picture without alt": ('<img alt="g">', "<img>"),
    "drawing without name": ("<img", '<svg role="img"></svg><img'),
    "drawing that is neither named nor hidden": ("<img", "<svg></svg><img"),
    "control without name": ("<label>h <input></label>", "<input>"),
    "region without name": ("<img", '<div role="region"></div><img'),
    "table without headings": ('<th scope="row">e</th>', "<td>e</td>"),
    "th without scope": (' scope="row"', ""),
    "id x twice": ("<p>c", '<p id="x">c'),
    "#y leads nowhere": ("#x", "#y"),
    "aria-labelledby y is not there": ("<p>c", '<p aria-labelledby="y">c'),
}


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with chromium() as browser:
        yield browser.new_page(viewport={"width": 400, "height": 600})


def test_a_page_without_barriers_has_none(page: Any) -> None:
    page.set_content(FINE)
    assert page.evaluate(BARRIERS) == []
    assert page.evaluate(LOW_CONTRAST) == []
    assert not page.evaluate(STICKS_OUT)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_barrier_is_found(fault: str, page: Any) -> None:
    before, after = FAULTS[fault]
    assert before in FINE
    page.set_content(FINE.replace(before, after))
    assert any(fault in found for found in page.evaluate(BARRIERS)), page.evaluate(BARRIERS)


@pytest.mark.parametrize(
    ("html", "low"),
    [
        ('<p style="color:#777">x</p>', True),
        ('<p style="color:#767676">x</p>', False),
        ('<p style="color:#949494;font-size:24px">x</p>', False),
        ('<p style="color:#959595;font-size:24px">x</p>', True),
        ('<div style="background:#000"><p style="color:#555">x</p></div>', True),
        ('<svg width="50" height="20"><text y="15" fill="#777">x</text></svg>', True),
        ('<p>x <span aria-hidden="true" style="color:#949494">✗</span></p>', False),
    ],
)
def test_low_contrast_is_found(html: str, low: bool, page: Any) -> None:
    page.set_content(html)
    assert bool(page.evaluate(LOW_CONTRAST)) is low


def test_an_invisible_focus_and_what_sticks_out_are_found(page: Any) -> None:
    page.set_content('<a href="#" style="outline:none">x</a><button>y</button><p style="width:900px">z</p>')
    (unseen,), tried = page.evaluate(UNSEEN_FOCUS)
    assert unseen.startswith("A ")
    assert tried == 2
    assert page.evaluate(STICKS_OUT)
