"""Hostile submissions, all in one class: each gets exactly its honest points, finds nothing, and harms nobody."""

from __future__ import annotations

import json
import socket
from html.parser import HTMLParser
from pathlib import Path

import pytest
from catalogue import CANARY, LEAKED, Attack, attacks
from hostile_class import HONEST, MUST_NOT_EXIST, Graded, grade_all, listening

from autograder.exercise import REGISTRY
from autograder.grading import engine
from autograder.grading.sandbox import offered
from autograder.publish.light import EXERCISES, NAME

pytestmark = [
    pytest.mark.xdist_group("attacks"),
    pytest.mark.skipif(not offered().rung, reason=f"no sandbox here: {offered().remedy}"),
]

ALL = attacks()
GROUPS = {"metadata", "kernel", "frames", "files", "secrets", "network", "damage", "web", "lies", "references"}
each = pytest.mark.parametrize("attack", ALL, ids=lambda attack: f"{attack.group}-{attack.name}")


@pytest.fixture(scope="module")
def graded(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Graded:
    return grade_all(root, tmp_path_factory.mktemp("hostile"))


def test_every_group_is_tried() -> None:
    assert {attack.group for attack in ALL} == GROUPS
    assert len(ALL) >= 40
    assert all(attack.tries for attack in ALL)


def test_the_class_is_graded_to_the_end_and_in_time(graded: Graded) -> None:
    assert set(graded.results) == {*HONEST, *(attack.student_id for attack in ALL)}, graded.output[-3000:]
    assert graded.seconds < 400  # about 150 on two idle cores
    assert len({one.rung for one in graded.results.values()}) == 1


@pytest.mark.parametrize("student", HONEST)
def test_honest_students_keep_all_their_points(graded: Graded, student: str) -> None:
    assert graded.results[student].marks() == {one: REGISTRY[one].points for one in EXERCISES}


@each
def test_it_gets_exactly_the_honest_points(graded: Graded, attack: Attack) -> None:
    assert graded.of(attack).marks() == attack.honest


@each
def test_it_finds_no_secret(graded: Graded, attack: Attack) -> None:
    result = graded.of(attack)
    said = json.dumps([result.outputs, [(one.text, one.html, one.data) for one in result.exercises]])
    if attack.name == "leak_control":  # what the others would show if they had found something
        assert f"{LEAKED} control" in said
        return
    assert LEAKED not in said, said[said.find(LEAKED) :][:500]
    assert f"{CANARY}-" not in said
    for path in graded.pages(attack.student_id):
        text = path.read_text(encoding="utf-8", errors="replace")
        assert LEAKED not in text, path
        assert f"{CANARY}-" not in text, path


def test_searches_really_searched(graded: Graded) -> None:
    """A search that fails at its first line finds nothing either."""
    broken = [
        f"{attack.name}: {output}"
        for attack in ALL
        if attack.group in ("secrets", "network")
        for cell, outputs in graded.of(attack).outputs.items()
        for output in outputs
        if output.get("output_type") == "error"
    ]
    assert broken == []
    searched = next(attack for attack in ALL if attack.name == "own_memory")
    assert "searched True" in json.dumps(graded.of(searched).outputs)


def test_the_gradebook_says_the_same(graded: Graded) -> None:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded.folder / 'gradebook.db'}") as gradebook:
        scores = {one.student_id: one.score for one in gradebook.assignment_submissions(NAME)}
    honest = {attack.student_id: sum(attack.honest.values()) for attack in ALL}
    assert scores == honest | {student: sum(REGISTRY[one].points for one in EXERCISES) for student in HONEST}


def test_a_second_grading_gives_the_same_marks(graded: Graded) -> None:
    """What the store holds is what was reported: nothing of it was changed from inside."""
    from autograder.grading.store import Store

    with Store(graded.folder / engine.STORE) as store:
        stored = {name: store.latest(NAME, name) for name in graded.results}
        assert store.pending(NAME) == []
    assert {n: one.marks() for n, one in stored.items() if one} == {n: one.marks() for n, one in graded.results.items()}


def test_files_outside_are_as_they_were(graded: Graded) -> None:
    assert graded.after == graded.before
    assert [path for path in MUST_NOT_EXIST if Path(path).exists()] == []
    assert list(graded.folder.parent.glob("**/escaped-5f1e")) == []


def test_nobody_outside_was_killed_or_called(graded: Graded) -> None:
    assert graded.canary_alive
    assert graded.received == []


def test_the_listening_sockets_would_have_heard() -> None:
    with listening() as (port, arrived):
        socket.create_connection(("127.0.0.1", port)).close()
        assert arrived() == ["tcp"]


def test_no_process_and_no_mount_is_left(graded: Graded) -> None:
    assert graded.strays == []
    assert str(graded.folder) not in Path("/proc/self/mounts").read_text(encoding="utf-8")
    assert list((graded.folder / ".grading").glob("stage-*")) == []


class _Active(HTMLParser):
    """Collects what would run, call out or cover the page."""

    FORBIDDEN = frozenset(("script", "iframe", "object", "embed", "form", "base", "link", "meta-refresh"))

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in self.FORBIDDEN:
            self.found.append(tag)
        for name, value in attributes:
            address = (value or "").strip().lower()
            calls = name in ("href", "src", "action", "srcdoc", "xlink:href") and "attacker.example" in address
            runs = name.startswith("on") or address.startswith(("javascript:", "data:text/html"))
            covers = name == "style" and ("position" in address or "attacker.example" in address)
            if calls or runs or covers:
                self.found.append(f"<{tag} {name}={value!r}>")


@each
def test_its_feedback_is_harmless(graded: Graded, attack: Attack) -> None:
    page = graded.folder / "feedback" / attack.student_id / NAME / f"{NAME}.html"
    text = page.read_text(encoding="utf-8")
    parser = _Active()
    parser.feed(text)
    assert parser.found == []
    assert "Content-Security-Policy" in text


@each
def test_its_notebook_runs_nothing_where_it_is_opened(graded: Graded, attack: Attack) -> None:
    """Outputs in `autograded/`; the student's own markdown and code stay what they are, for the reader's tool to clean."""
    notebook = json.loads((graded.folder / "autograded" / attack.student_id / NAME / f"{NAME}.ipynb").read_text())
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            assert "application/javascript" not in data
            parser = _Active()
            parser.feed("".join(data.get("text/html", "")) + "".join(data.get("image/svg+xml", "")))
            assert parser.found == []


def test_floods_do_not_fill_the_store(graded: Graded) -> None:
    assert (graded.folder / engine.STORE).stat().st_size < 60 * 2**20
    assert max(len(json.dumps(dict(one.outputs))) for one in graded.results.values()) < 24 * 2**20
