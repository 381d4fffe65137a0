"""Formulas on feedback pages: all of the course's are drawn, and nothing that a student writes gets through with them."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from autograder.grading.feedback import _markdown
from autograder.grading.formulas import drawn
from autograder.manifest import manifest

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+(?:\n[^$\n]+)?)\$", re.DOTALL)


@pytest.mark.parametrize("name", [notebook.name for notebook in manifest().notebooks])
def test_every_formula_of_a_notebook_is_drawn(root: Path, name: str) -> None:
    cells = nbformat.read(root / "source" / name / f"{name}.ipynb", as_version=4).cells
    for cell in cells:
        if cell.cell_type == "markdown":
            for block, inline in FORMULA.findall(cell.source):
                assert drawn(block or inline, bool(block)), block or inline
            assert 'class="tex' not in _markdown(cell.source)


def test_a_formula_is_drawn_with_its_number_and_its_letters() -> None:
    page = _markdown(r"$$\mathbb E[m_t] = (1-\beta^t)\,\bar x . \tag{2.4}$$")
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') == 1
    assert "𝔼" in page
    assert "<span>(2.4)</span>" in page
    assert "<mi>β</mi>" in page


def test_a_comparison_is_escaped() -> None:
    assert "<mo>&lt;</mo>" in _markdown("it holds for $a < b$ only")


@pytest.mark.parametrize(
    "tex",
    [
        r"\href{javascript:alert(1)}{x}",
        r"\hspace{999em}x",
        r"\newcommand{\a}{aa}\a",
        r"\style{position:fixed}{x}",
        r"\class{ag-graded}{x}",
        "{" * 900,
        "x" * 2001,
    ],
)
def test_what_moves_links_or_grows_stays_source(tex: str) -> None:
    assert drawn(tex, block=False) is None
    assert "<math" not in _markdown(f"${tex}$")


@pytest.mark.parametrize(
    "text",
    [
        r"$\text{<script>alert(1)</script>}$",
        r"$\text{&lt;script&gt;alert(1)&#60;/script&#62;}$",
        r"$$x \tag{<script>alert(1)</script>}$$",
        r"$\mathrm{<img src=x onerror=alert(1)>}$",
        '![$\\text{" onerror="alert(1)}$](data:image/png;base64,AAAA)',
        '[a]($x$ "$\\text{\\" onclick=\\"alert(1)}$")',
        "<img alt='$\\text{\" onerror=\"alert(1)}$' src='data:image/png;base64,AAAA'>",
        '<code class="tex">0000000000000000-0</code> $x$',
    ],
)
def test_nothing_written_in_a_formula_is_active(text: str) -> None:
    page = _markdown(text)
    assert not re.search(r"<(?!/?(?:p|math|m[a-z]+|code|img|a|em|span)\b)", page)
    for tag in re.findall(r"<[^>]*>", page):
        outside_quotes = re.sub(r'"[^"]*"', "", tag)
        assert not re.search(r"\bon\w+\s*=", outside_quotes), tag
        assert "script" not in outside_quotes
