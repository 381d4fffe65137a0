"""How verdicts look: legible in light and dark, safe, and silent about hidden inputs."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from autograder.answers import adam_adamw as answers
from autograder.checks import _decide
from autograder.diagnose import Diagnosis
from autograder.exercise import REGISTRY, CodeExercise
from autograder.render import as_data, as_html, as_text
from autograder.verdict import Verdict, hidden_cases

VOID = {"br", "img", "circle", "path", "polyline"}


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def parsed(html: str) -> Balanced:
    parser = Balanced()
    parser.feed(html)
    assert parser.stack == []
    return parser


def decided(exercise_id: str, *objects: Any, hidden: bool = False) -> tuple[CodeExercise, Verdict, Diagnosis | None]:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    return exercise, *_decide(exercise, objects, hidden)


def test_html_is_balanced_and_uses_the_themes_own_text_colour() -> None:
    _, verdict, diagnosis = decided("adam.adam", answers._EpsInside)
    html = as_html(verdict, diagnosis, hint=True)
    tags = parsed(html).tags
    styles = " ".join(style for _, attributes in tags if (style := attributes.get("style")))
    assert "background" not in styles
    assert not re.search(r"(?<![-\w])color:\s*(black|white|#000|#fff)", styles)
    svg = next(attributes for tag, attributes in tags if tag == "svg")
    assert svg["role"] == "img"
    assert (svg["aria-label"] or "").startswith("parameter ")
    assert 'stroke="currentColor"' in html
    assert "stroke-dasharray" in html  # not by colour alone


def test_what_comes_from_a_student_is_escaped() -> None:
    def adam_step(w: Any, g: Any, m: Any, v: Any, t: Any, *, lr: Any, betas: Any, eps: Any) -> None:
        raise ValueError("<script>alert(1)</script>")

    _, verdict, diagnosis = decided("adam.step", adam_step)
    html = as_html(verdict, diagnosis)
    parsed(html)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_hidden_cases_show_neither_their_numbers_nor_what_students_put_into_messages() -> None:
    class Leaky(answers.Student):
        def step(self, closure: Any = None) -> Any:
            betas = self.param_groups[0]["betas"]
            if betas != (0.7, 0.85):  # not a visible case
                raise ValueError(f"secret {betas}")
            return super().step()

    exercise, verdict, diagnosis = decided("adam.adam", Leaky, hidden=True)
    assert verdict.earned == 0
    inputs = [case.inputs for case in hidden_cases(exercise, exercise.public_seed)]
    numbers = {str(i["options"][name]) for i in inputs if "options" in i for name in ("lr", "eps", "weight_decay")}
    for shown in (as_html(verdict, diagnosis), as_text(verdict, diagnosis), str(as_data(verdict, diagnosis))):
        assert "secret (" not in shown  # the line of code may be shown, what it made of the inputs not
        assert not any(number in shown for number in numbers - {"0.0"})


def test_a_failure_in_hidden_cases_only_is_told_without_numbers() -> None:
    class Memorised(answers.Student):
        """Right for the visible eps, wrong for any other."""

        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                if group["eps"] not in (0.1, 0.037):
                    group["lr"] *= 1.5
            return super().step()

    _, verdict, diagnosis = decided("adam.adam", Memorised, hidden=True)
    assert verdict.earned < verdict.points
    text = as_text(verdict, diagnosis)
    assert "a hidden case: " in text
    assert "departs from the reference after step" in text
    assert "expected" not in text
    assert "<svg" not in as_html(verdict, diagnosis)


@pytest.mark.parametrize(
    ("exercise_id", "objects", "says"),
    [
        ("adam.adam", (answers._CountsSteps,), "It equals the reference as long as every parameter has a gradient"),
        ("adam.foreach", (answers._ForeachLoop,), "times the launches of one; at most 1.5 times is allowed"),
        ("adam.foreach", (answers._ForeachSync,), "Host synchronisations per step: 1; none is allowed."),
        (
            "adam.resume",
            (answers.TorchNames, answers.save, answers._resume_old_lr),
            "lr of group 0 after resume: 1; it should be 0.015.",
        ),
        ("adam.master_weights", (answers._CastWhenLoaded,), "dtype of state 'master': bfloat16; it should be float32."),
        ("adam.adam", (answers._NoEps,), "got nan"),
    ],
)
def test_messages_say_what_a_confused_student_needs(exercise_id: str, objects: tuple[Any, ...], says: str) -> None:
    _, verdict, diagnosis = decided(exercise_id, *objects)
    text = as_text(verdict, diagnosis)
    assert says.lower() in text.lower()
    parsed(as_html(verdict, diagnosis))


def test_runs_that_explode_still_make_a_drawing() -> None:
    def climbs(w: Any, g: Any, m: Any, v: Any, t: int, *, lr: Any, betas: Any, eps: Any) -> None:
        w.mul_(10.0**t)

    def breaks(w: Any, g: Any, m: Any, v: Any, t: int, *, lr: Any, betas: Any, eps: Any) -> None:
        w.fill_(float("nan"))

    for function in (climbs, breaks):
        _, verdict, diagnosis = decided("adam.step", function)
        html = as_html(verdict, diagnosis)
        parsed(html)
        points = re.findall(r'points="([^"]+)"', html)
        numbers = [float(number) for line in points for pair in line.split() for number in pair.split(",")]
        assert all(-1 <= number <= 450 for number in numbers)


def test_data_holds_what_tables_need() -> None:
    _, verdict, diagnosis = decided("adam.adam", answers._EpsInside, hidden=True)
    data = as_data(verdict, diagnosis)
    assert data["misconceptions"] == [{"id": "A1", "title": "eps inside the square root"}]
    assert (data["earned"], data["points"], data["decided"]) == (0.0, 6.0, True)
    assert set(data["groups"]) == set(REGISTRY["adam.adam"].groups)
