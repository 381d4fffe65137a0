"""What can be tested of who can read the notebooks: headings in order, no information by colour alone, legible labels."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from matplotlib.colors import to_rgb

from autograder.manifest import manifest
from utils import plotting

NAMES = [notebook.name for notebook in manifest().notebooks]
#: A link whose words say nothing where they are read alone, as a screen reader's list of links does.
EMPTY_WORDS = re.compile(r"\[(here|link|this|click here|)\]\(", re.IGNORECASE)


def texts(root: Path, name: str) -> list[str]:
    notebook = nbformat.read(root / "release" / name / f"{name}.ipynb", as_version=4)
    return [re.sub(r"```.*?```", "", c.source, flags=re.DOTALL) for c in notebook.cells if c.cell_type == "markdown"]


def contrast(one: object, other: object) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""

    def luminance(colour: object) -> float:
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in to_rgb(colour)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_one_title_and_no_level_of_headings_is_skipped(root: Path, name: str) -> None:
    levels = [len(marks) for text in texts(root, name) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", NAMES)
def test_links_say_where_they_lead_and_pictures_have_alt_text(root: Path, name: str) -> None:
    for text in texts(root, name):
        assert not EMPTY_WORDS.search(text.replace("[![", "[")), text
        assert not re.search(r"<img(?![^>]*\balt=)", text), text


def test_lines_differ_in_style_as_well_as_in_colour() -> None:
    plotting.style()
    drawn = [(entry["color"], entry["linestyle"]) for entry in plt.rcParams["axes.prop_cycle"]]
    assert len({colour for colour, _ in drawn}) == len({str(style) for _, style in drawn}) == len(drawn)


def test_labels_at_the_ends_of_lines_are_dark_enough_to_read() -> None:
    fig, (ax,) = plotting.panels("all colours", width=5)
    for i, _ in enumerate(plotting.CYCLE):
        ax.plot([0, 1], [0, i], label=str(i))
    plotting.label_ends(ax)
    shown = [text.get_color() for text in ax.texts]
    plt.close(fig)
    assert len(shown) == len(plotting.CYCLE)
    assert min(contrast(colour, "white") for colour in shown) >= 4.5
    assert plotting.legible("black") == (0.0, 0.0, 0.0)
    assert plotting.legible(plotting.BLUE) == to_rgb(plotting.BLUE), "what is dark enough stays as it is"
