"""The guides and the README name commands, files, ids and pictures that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

import autograder
from autograder.cli import app
from autograder.exercise import REGISTRY
from autograder.manifest import manifest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "course").glob("**/*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
PROGRAMS = ("autograder", "nbgrader", "make")


def commands(text: str) -> list[list[str]]:
    """The course's commands in code spans and code blocks, as words; comments and what follows `&&` apart."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    lines = [line.split("#")[0] for block in blocks for line in block.splitlines()] + spans
    parts = [part.strip().removeprefix(".venv/bin/") for line in lines for part in line.split("&&")]
    return [shlex.split(part) for part in parts if part.split(" ")[0] in PROGRAMS and " " in part]


@cache
def nbgrader_help() -> str:
    done = subprocess.run([sys.executable, "-m", "nbgrader", "--help"], capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_of_the_course_exists_with_its_options(name: str) -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    for words in commands(TEXTS[name]):
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
        elif words[0] == "autograder":
            assert words[1] in known, words
            options = {option for parameter in known[words[1]].params for option in parameter.opts}
            assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, words


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_of_nbgrader_exists(name: str) -> None:
    for words in commands(TEXTS[name]):
        if words[0] == "nbgrader" and words[1].isidentifier():
            assert re.search(rf"^\s*{words[1]}\b", nbgrader_help(), re.MULTILINE), words


@pytest.mark.parametrize("name", TEXTS)
def test_pictures_pages_and_notebooks_that_are_named_are_there(name: str) -> None:
    page, text = ROOT / name, TEXTS[name]
    for target in re.findall(r"\]\((?!https?:|#)([^)\s#]+)", text):
        assert (page.parent / target).exists(), target
    for picture in re.findall(r"!\[([^\]]*)\]\(", text):
        assert len(picture) > 20, "a picture is described in words"
    for notebook in re.findall(r"\b(0\d_[a-z_]+)\b", text):
        assert notebook in {one.name for one in manifest().notebooks}, notebook


def test_pictures_are_small_and_all_of_them_are_shown() -> None:
    pictures = sorted((ROOT / "course" / "guides" / "images").iterdir())
    assert [picture.name for picture in pictures if picture.stat().st_size > 200_000] == []
    everything = "".join(TEXTS.values())
    assert [picture.name for picture in pictures if f"images/{picture.name})" not in everything] == []


@pytest.mark.parametrize("name", TEXTS)
def test_calls_and_exercises_that_are_named_exist(name: str) -> None:
    for call, argument in re.findall(r'`(check|hint|solution|material)\("([\w.]+)"', TEXTS[name]):
        assert hasattr(autograder, call)
        assert argument in REGISTRY, argument
