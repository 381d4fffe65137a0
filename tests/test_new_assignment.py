"""A new assignment: the guide followed to the letter in a copy of the course, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.manifest import read_manifest
from autograder.publish.new_assignment import RefusedError, make, named

pytestmark = pytest.mark.xdist_group("new-assignment")

HEADING = "**Add an exercise in ten minutes.**"


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, as a clone would have them."""
    folder = tmp_path_factory.mktemp("copy") / "course"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout: git does not say which files are the course's")
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith("tests/") and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)
    return folder


def blocks(root: Path) -> list[tuple[str, str]]:
    """(language, text) of each code block of the guide's section."""
    text = (root / "course" / "guides" / "instructor.md").read_text(encoding="utf-8").split(HEADING)[1]
    section = re.split(r"^\*\*", text, flags=re.MULTILINE)[0]
    return re.findall(r"^```([a-z]*)\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def run(folder: Path, line: str) -> str:
    """A command of the guide, with the copy's own package."""
    words = shlex.split(line)
    command = [sys.executable, "-m", *words] if words[0] == "autograder" else words
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return " ".join(done.stdout.split())


@pytest.mark.sandbox
def test_the_guides_ten_minutes_end_with_a_graded_submission(root: Path, copy: Path) -> None:
    before = (copy / "course" / "course.toml").read_text(encoding="utf-8")
    ((_, new), (language, row), (_, check), (_, grade)) = blocks(root)
    said = [run(copy, line) for line in new.splitlines()]
    assert "source/10_lion/10_lion.ipynb" in said[0]
    after = (copy / "course" / "course.toml").read_text(encoding="utf-8")
    assert after.startswith(before.rstrip())
    assert read_manifest(copy / "course" / "course.toml").notebooks[-1].name == "10_lion"
    linted = [sys.executable, "-m", "ruff", "check", "autograder", "source/10_lion"]
    assert subprocess.run(linted, cwd=copy, stdout=subprocess.PIPE).returncode == 0

    assert language == "python"
    catalogue = copy / "autograder" / "misconceptions" / "lion.py"
    text = catalogue.read_text(encoding="utf-8")
    assert text.endswith("    ),\n}\n"), "the guide says: at the end of ROWS"
    catalogue.write_text(f"{text[:-2]}{row}}}\n", encoding="utf-8")
    said = [run(copy, line) for line in check.splitlines()]
    assert "release/10_lion written" in said[0]
    # five rows, and the four of them that are written by hand as well
    assert "9 of 9 wrong variants fail, 9 are called by their name; 3 of 3 right variants pass." in said[1]

    said = [run(copy, f"{line} --json" if line.startswith("autograder grade") else line) for line in grade.splitlines()]
    events = [json.loads(event) for event in said[-1].replace("} {", "}\n{").splitlines()]
    assert [(one["event"], one.get("points"), one.get("max_points")) for one in events[1:]] == [("graded", 2.0, 2.0)]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(root: Path, tmp_path: Path) -> Path:
    """The folders that are written to, and the manifest."""
    for name in ("exercises", "misconceptions", "answers"):
        (tmp_path / "autograder" / name).mkdir(parents=True)
    (tmp_path / "course").mkdir()
    shutil.copy(root / "course" / "course.toml", tmp_path / "course")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "title", "topic", "says"),
    [
        ("lion", "", "", "two digits, then words in lower case"),
        ("10_Lion", "", "", "two digits, then words in lower case"),
        ("10_../lion", "", "", "two digits, then words in lower case"),
        ("10_import", "", "", "a word of Python's own"),
        ("10_lion", "", "li on", "no topic"),
        ("10_lion", 'The "lion"', "", "without quotation marks"),
        ("05_lion", "", "", "the number 05 is taken by 05_adam_adamw"),
        ("10_adam", "", "", "the topic 'adam' is taken by 05_adam_adamw: give another with --topic"),
        ("10_taken", "", "", "autograder/misconceptions/taken.py exists already"),
    ],
)
def test_a_name_that_is_bad_or_taken_is_refused_and_nothing_is_written(
    bare: Path, name: str, title: str, topic: str, says: str
) -> None:
    (bare / "autograder" / "misconceptions" / "taken.py").touch()
    before = contents(bare)
    with pytest.raises(RefusedError, match=re.escape(says)) as error:
        make(bare, named(name, title, topic))
    assert "\n" not in str(error.value)
    assert contents(bare) == before


def test_all_is_written_or_nothing(bare: Path) -> None:
    (bare / "course" / ".course.toml.new").mkdir()  # the last file cannot be written
    before = contents(bare)
    with pytest.raises(RefusedError, match="cannot be written"):
        make(bare, named("10_lion"))
    assert contents(bare) == before
    assert not (bare / "source" / "10_lion").exists()
    (bare / "course" / ".course.toml.new").rmdir()
    assert [path.name for path in make(bare, named("10_lion"))] == [*["lion.py"] * 3, "10_lion.ipynb", "course.toml"]


def test_a_notebook_gets_its_place_among_the_others_and_nothing_else_of_the_manifest_changes(bare: Path) -> None:
    manifest = bare / "course" / "course.toml"
    lines = manifest.read_text(encoding="utf-8").splitlines()
    manifest.write_text("\n".join(line.replace("09_capstone", "12_capstone") for line in lines), encoding="utf-8")
    before = manifest.read_text(encoding="utf-8").splitlines()
    make(bare, named("10_sharp_minima", "Flat & sharp", "sharp"))
    names = [notebook.name for notebook in read_manifest(manifest).notebooks]
    assert names[-3:] == ["08_large_batch_scaling", "10_sharp_minima", "12_capstone"]
    added = read_manifest(manifest).notebook("10_sharp_minima")
    assert (added.topic, added.title) == ("sharp", "Flat & sharp")
    kept = iter(manifest.read_text(encoding="utf-8").splitlines())
    assert all(line in kept for line in before), "every old line is still there, in its order"


def test_without_the_package_in_the_course_it_says_where_to_work(bare: Path) -> None:
    shutil.rmtree(bare / "autograder")
    with pytest.raises(RefusedError, match="work in a checkout of the course, installed with pip install -e"):
        make(bare, named("10_lion"))
