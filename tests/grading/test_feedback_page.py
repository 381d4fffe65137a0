"""The feedback page as a student meets it: on a telephone, in the dark, without a mouse; what it tells, what it keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from browsing import BARRIERS, LOW_CONTRAST, STICKS_OUT, UNSEEN_FOCUS, chromium, shot
from test_records import ROOT, graded

from autograder.evidence import gather
from autograder.exercise import REGISTRY, CodeExercise, Exercise, QuizExercise
from autograder.grading import decide
from autograder.grading.feedback import feedback_page
from autograder.grading.gradebook import HumanMark, Review
from autograder.grading.outline import in_order
from autograder.grading.results import ExerciseResult, SubmissionResult
from autograder.publish.sample_class import read_class

pytestmark = pytest.mark.xdist_group("feedback page")

ADAM, SCHEDULERS = "05_adam_adamw", "06_schedulers"
MOST_BYTES = 300_000
REVIEW = Review(
    {"adam-w1": HumanMark(2.0, None, "Well *done*.\n\n# And then?"), "adam-q1-solution": HumanMark(comment="Why?")}, 1.5
)


# --- submissions in which everything is wrong -----------------------------------------------------------------------


def wrong_objects(exercise: CodeExercise) -> Sequence[Any]:
    return exercise.misconceptions[0].objects()


def result_of(exercise: Exercise, objects: Callable[[CodeExercise], Sequence[Any]], seed: int) -> ExerciseResult:
    """What grading makes of these objects when the secret cases come from `seed`; times are left out."""
    if not isinstance(exercise, (CodeExercise, QuizExercise)):
        return ExerciseResult(exercise.id, exercise.grade_id, 0.0, exercise.points, waits=True)
    given = objects(exercise) if isinstance(exercise, CodeExercise) else ["no such choice"] * len(exercise.objects)
    asked = decide.questions(exercise, seed)
    answers = [replace(gather(case, given), seconds=0.0) for case in asked.at((*asked.first, *asked.second))]
    return decide.result(exercise, asked, answers, None)


@cache
def all_wrong(notebook: str, seed: int = 1) -> str:
    """The page of a student who gets everything wrong, in ways that the course knows, and wrote long answers."""
    release = nbformat.read(ROOT / "release" / notebook / f"{notebook}.ipynb", as_version=4)
    for cell in release.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source += "\n# A line that says what I think happens here.\n" * 12
    rows = tuple(result_of(one, wrong_objects, seed) for one in REGISTRY.values() if one.notebook == notebook)
    return feedback_page(release, SubmissionResult("eve", notebook, "d" * 64, "r" * 64, "engine-1", "full", rows))


# --- what it tells, what it keeps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("notebook", [ADAM, SCHEDULERS])
def test_a_page_full_of_failures_is_small_and_names_every_mistake(notebook: str) -> None:
    html = all_wrong(notebook)
    assert len(html.encode()) < MOST_BYTES
    code = [one for one in REGISTRY.values() if one.notebook == notebook and isinstance(one, CodeExercise)]
    named = re.findall(r'<span class="ag-remark">([^<]+)</span>', html)
    assert len([remark for remark in named if not remark.startswith("not earned")]) >= len(code)
    assert html.count("Re-read ") >= len(code)


def test_no_page_of_the_sample_class_is_large() -> None:
    class_ = read_class(ROOT / "course" / "sample_class", ROOT / "source", ADAM)
    sizes = {one.id: len(feedback_page(*graded(one.id)).encode()) for one in class_}
    assert max(sizes.values()) < MOST_BYTES, sizes


def test_a_page_does_not_depend_on_the_secret_cases() -> None:
    """Whatever of a hidden input stood on it would be another number under another key. How many pass may be told."""
    one, other = (re.sub(r"\d+ of (\d+) hidden", r"… of \1 hidden", all_wrong(ADAM, seed)) for seed in (1, 2))
    assert one == other


def test_a_page_tells_nothing_of_cases_that_only_fail_hidden() -> None:
    exercise = REGISTRY["ema.recursive"]
    assert isinstance(exercise, CodeExercise)
    (right,) = exercise.reference()
    pages = set()
    for seed in (1, 2):
        known: set[tuple[bytes, float]] = set()
        for case in decide.visible_cases(exercise):
            gather(case, [remembering(right, known, learns=True)])
        result = result_of(exercise, lambda _, known=known: [remembering(right, known, learns=False)], seed)
        assert 0 <= result.points < result.max_points
        assert "hidden case" in result.html
        pages.add(result.html)
    assert len(pages) == 1


def remembering(right: Any, known: set[tuple[bytes, float]], learns: bool) -> Any:
    """A function that knows the visible inputs by heart and is wrong on all others."""

    def ema(x: torch.Tensor, beta: float) -> Any:
        key = x.detach().cpu().double().numpy().tobytes(), float(beta)
        if learns:
            known.add(key)
        return right(x, beta) * (1 if key in known else 2)

    return ema


def test_points_that_are_missing_are_told_by_group_in_the_table() -> None:
    html = feedback_page(*graded("eps_inside"))
    row = re.search(r"<tr>(?:(?!</tr>).)*Save and resume.*?</tr>", html)
    assert row is not None
    assert "not earned: torch&#x27;s checkpoint" in row[0]


def test_what_nobody_touched_is_called_so() -> None:
    html = feedback_page(*graded("empty"))
    remarks = re.findall(r'<span class="ag-remark">([^<]*)</span>', html)
    assert remarks == ["no answer"] * len([one for one in REGISTRY.values() if one.notebook == ADAM])


def test_both_runs_are_drawn_and_described() -> None:
    html = feedback_page(*graded("eps_inside"))
    drawings = re.findall(r'<svg role="img" aria-label="([^"]+)".*?</svg>', html)
    assert drawings
    assert all(re.search(r"expected from \S+ to \S+, got \S+", words) for words in drawings)
    assert html.count(">expected</text>") == html.count(">yours</text>") == len(drawings)
    assert html.count('stroke-dasharray="5 3"') == len(drawings)  # told apart without colour as well


def test_the_signs_of_the_table_differ_in_shape_and_say_their_word() -> None:
    rebuilt, result = graded("eps_inside")
    rebuilt = nbformat.from_dict(rebuilt)
    next(cell for cell in rebuilt.cells if cell.get("id") == "adam-w1").source = "Because."
    signs = set(re.findall(r'aria-label="([^"]+)" style="color:[^"]+">(.)</span>', feedback_page(rebuilt, result)))
    assert {word for word, _ in signs} == {"all points", "some points", "no points", "waits"}
    assert len({sign for _, sign in signs}) == 4


def test_headings_follow_each_other_and_table_heads_have_scopes() -> None:
    html = (
        "<h1>a</h1><h4 class='x'>b</h4><table><thead><tr><th>c</th></tr></thead><tr><th>d</th></tr></table><h2>e</h2>"
    )
    assert in_order(html) == (
        "<h2>a</h2><h3 class='x'>b</h3><table><thead><tr><th scope=\"col\">c</th></tr></thead>"
        '<tr><th scope="row">d</th></tr></table><h3>e</h3>'
    )
    assert in_order('<th scope="col">x</th>') == '<th scope="col">x</th>'
    assert in_order("<h6>x</h6><header>y</header></h6>") == "<h2>x</h2><header>y</header></h2>"


# --- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, Path]]]:
    folder = tmp_path_factory.mktemp("pages")
    rebuilt, result = graded("eps_inside")
    notebook = nbformat.from_dict(rebuilt)
    next(
        cell for cell in notebook.cells if cell.get("id") == "adam-w1"
    ).source = "### Mine\n\n| a | b |\n|-|-|\n| 1 | 2 |"
    files = {"reviewed": feedback_page(notebook, result, REVIEW), "all_wrong": all_wrong(SCHEDULERS)}
    for name, html in files.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    with chromium() as browser:
        yield browser, {name: folder / f"{name}.html" for name in files}


@pytest.mark.browser
@pytest.mark.parametrize("name", ["reviewed", "all_wrong"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 390), ("light", 1100)])
def test_anybody_can_read_it_anywhere(name: str, scheme: str, width: int, pages: tuple[Any, dict[str, Path]]) -> None:
    browser, files = pages
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True)
    page = context.new_page()
    page.goto(files[name].as_uri())
    assert not page.evaluate(STICKS_OUT), "the page scrolls sideways"
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate(BARRIERS) == []
    unseen, tried = page.evaluate(UNSEEN_FOCUS)
    assert unseen == []
    assert tried > 30
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.activeElement.blur()")
    shot(page, f"feedback_{name}_{scheme}_{width}")
    context.close()


@pytest.mark.browser
def test_a_row_of_the_table_leads_to_its_verdict_and_back(pages: tuple[Any, dict[str, Path]]) -> None:
    browser, files = pages
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(files["reviewed"].as_uri())
    page.get_by_role("link", name="Adam's update").press("Enter")
    verdict = page.locator("#ag-adam-step")
    page.wait_for_function("scrollY > 844")
    assert verdict.get_by_text("eps inside the square root", exact=False).first.is_visible()
    shot(page, "feedback_verdict_390")
    verdict.get_by_role("link", name="all points").press("Enter")
    page.wait_for_function("scrollY < 844")
    page.close()
