"""Questions with each student's own numbers: texts, keys and feedback go together, from the notebook to the mark."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder import CheckFailed, check, material
from autograder.exercise import REGISTRY, QuizExercise
from autograder.exercises.adam_knobs import knob_order
from autograder.grading.secret import course_key, variant
from autograder.publish.demo import Course
from autograder.publish.sample_class import source_solutions, submission
from autograder.variants import ENVIRONMENT, varied, write_into
from autograder.verdict import mark_answer, quiz_case

ROOT = Path(__file__).resolve().parents[1]
QUIZZES = [exercise for exercise in REGISTRY.values() if isinstance(exercise, QuizExercise)]
NOTEBOOK = "02_ema_bias_correction"


def own(exercise: QuizExercise, number: int) -> QuizExercise:
    found = varied(exercise, number)
    assert isinstance(found, QuizExercise)
    return found


def letters(exercise: QuizExercise) -> bool:
    return all(str(option) in "abcdef" for part in exercise.parts for option in part.feedback)


@pytest.mark.parametrize("exercise", QUIZZES, ids=lambda e: e.id)
def test_a_variant_asks_the_same_with_other_numbers(exercise: QuizExercise) -> None:
    for number in range(200):
        mine = own(exercise, number)
        assert [part.name for part in mine.parts] == [part.name for part in exercise.parts], "they carry the points"
        assert quiz_case(mine).inputs == quiz_case(exercise).inputs, "the answer is collected the same way"
        for part in mine.parts:
            right, remark = mark_answer(part, part.key)
            assert right
            assert "Right" in remark
            assert part.key in part.feedback
            if part.is_number:
                numbers = [value for value in part.feedback if isinstance(value, float) and value != part.key]
                assert all(not mark_answer(part, value)[0] for value in numbers), "no wrong number is close to the key"
        again = own(exercise, number)
        assert [part.key for part in again.parts] == [part.key for part in mine.parts]


def test_choices_change_places_with_their_feedback() -> None:
    exercise = REGISTRY["adam.q2"]
    assert isinstance(exercise, QuizExercise)
    meant = {text: str(letter) for letter, text in exercise.parts[0].feedback.items()}
    keys = set()
    for number in range(50):
        (part,) = own(exercise, number).parts
        assert {meant[text] for text in part.feedback.values()} == set("abcd")
        assert part.feedback[part.key] == exercise.parts[0].feedback[exercise.parts[0].key]
        keys.add(part.key)
    assert keys == set("abcd")


def test_no_choice_speaks_of_another_by_its_letter() -> None:
    """Choices that change places cannot refer to each other."""
    for exercise in filter(letters, QUIZZES):
        for part in exercise.parts:
            for text in part.feedback.values():
                assert not re.search(r"\b([Cc]hoice|[Aa]nswer|[Oo]ption) [a-f]\b|\*\*[a-f]\*\*", text), (
                    exercise.id,
                    text,
                )


@pytest.mark.parametrize("name", sorted({exercise.notebook for exercise in QUIZZES}))
def test_every_notebook_can_be_written_for_a_student(name: str) -> None:
    release = nbformat.read(ROOT / "release" / name / f"{name}.ipynb", as_version=4)
    for number in range(20):
        notebook = nbformat.from_dict(release)
        notebook = nbformat.reads(nbformat.writes(release), as_version=4)
        write_into(notebook, number)
        nbformat.validate(notebook)
        changed = [new.id for old, new in zip(release.cells, notebook.cells, strict=True) if old.source != new.source]
        assert all(cell.cell_type == "markdown" for cell in notebook.cells if cell.id in changed)
        for old, new in zip(release.cells, notebook.cells, strict=True):
            assert sorted(re.findall(r"^- \*\*([a-f])\*\*", new.source, re.M)) == re.findall(
                r"^- \*\*([a-f])\*\*", new.source, re.M
            )
            assert len(old.source.splitlines()) == len(new.source.splitlines())


def test_the_text_and_the_key_change_together() -> None:
    """What a student reads about the first step of Adam gives the number that is right."""
    release = nbformat.read(ROOT / "release" / "05_adam_adamw" / "05_adam_adamw.ipynb", as_version=4)
    seen = set()
    for number in range(30):
        notebook = nbformat.reads(nbformat.writes(release), as_version=4)
        write_into(notebook, number)
        text = next(cell.source for cell in notebook.cells if cell.id == "q1-text")
        found = re.search(r"`lr = ([\d.]+)`", text)
        assert found
        exercise = REGISTRY["adam.q1"]
        assert isinstance(exercise, QuizExercise)
        assert own(exercise, number).parts[0].key == float(found[1])
        seen.add(text)
    assert len(seen) > 10


def test_a_check_in_a_students_own_notebook_knows_the_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "7")
    monkeypatch.setenv("AUTOGRADER_SELF_STUDY", "1")
    exercise = REGISTRY["adam.which_knob"]
    assert isinstance(exercise, QuizExercise)
    keys = [str(part.key) for part in own(exercise, 7).parts]
    check("adam.which_knob", keys)
    assert capsys.readouterr().out.count("Right") == 4
    monkeypatch.delenv(ENVIRONMENT)
    others = {tuple(str(part.key) for part in own(exercise, number).parts) for number in range(40)}
    assert len(others) > 10
    assert knob_order(2) == tuple(part.key for part in exercise.parts), "the release's own stay as they were"
    common = material("adam.which_knob")
    monkeypatch.setenv(ENVIRONMENT, "7")
    mine = material("adam.which_knob")
    assert any((a.paths[0] != b.paths[0]).any() for a, b in zip(common, mine, strict=True))
    with pytest.raises(CheckFailed):
        check("adam.which_knob", ["nothing"] * 4)


# --- from release to mark -------------------------------------------------------------------------------------------


def autograder(course: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autograder", *arguments]
    return subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A course in which two students are enrolled and have got notebooks of their own; a third came later."""
    course = Course(ROOT, tmp_path_factory.mktemp("variants") / "course", NOTEBOOK)
    course.start_over()
    course.release()
    (course.folder / "nbgrader_config.py").write_text(
        "from autograder.publish.cells import PREPROCESSORS\nc = get_config()\n"
        "c.GenerateAssignment.preprocessors = PREPROCESSORS\n"
    )
    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as gradebook:
        gradebook.add_student("ada")
        gradebook.add_student("ben")
    done = autograder(course.folder, "build", "02", "--per-student")
    assert done.returncode == 0, done.stderr
    assert "variants/ holds 2 notebooks" in done.stdout
    return course


def answers_for(course: Course, student: str) -> dict[str, str]:
    """Everything right, for that student's questions."""
    answers = source_solutions(ROOT / "source" / NOTEBOOK / f"{NOTEBOOK}.ipynb")
    number = variant(course_key(course.folder / "course"), NOTEBOOK, student)
    for exercise in QUIZZES:
        if exercise.notebook == NOTEBOOK:
            keys = [part.key for part in own(exercise, number).parts]
            answers[exercise.id] = (
                f"# exercise {exercise.id}\n{exercise.objects[0]} = {keys if len(keys) > 1 else keys[0]!r}"
            )
    return answers


@pytest.mark.sandbox
@pytest.mark.xdist_group("engine")
def test_each_student_is_graded_on_their_own_numbers(course: Course) -> None:
    full = {e.id: e.points for e in REGISTRY.values() if e.notebook == NOTEBOOK and e.kind == "quiz"}
    own_notebooks = {
        name: course.folder / "variants" / name / NOTEBOOK / f"{NOTEBOOK}.ipynb" for name in ("ada", "ben")
    }
    texts = {name: path.read_text() for name, path in own_notebooks.items()}
    assert texts["ada"] != texts["ben"]
    for name, whose in (("ada", "ada"), ("ben", "ada")):  # ben has copied
        notebook = submission(nbformat.read(own_notebooks[name], as_version=4), answers_for(course, whose))
        place = course.folder / "submitted" / name / NOTEBOOK
        place.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, place / f"{NOTEBOOK}.ipynb")
    done = autograder(course.folder, "grade", NOTEBOOK, "--json")
    assert done.returncode == 0, done.stderr
    marks = {e["student"]: e["marks"] for e in map(json.loads, done.stdout.splitlines()) if e["event"] == "graded"}
    assert {name: marks["ada"][name] for name in full} == full
    assert sum(marks["ben"][name] for name in full) < sum(full.values())
    code = {e.id: e.points for e in REGISTRY.values() if e.notebook == NOTEBOOK and e.kind not in ("quiz", "written")}
    assert {name: marks["ben"][name] for name in code} == code, "code is the same for everybody"
    graded = (course.folder / "autograded" / "ada" / NOTEBOOK / f"{NOTEBOOK}.ipynb").read_text()
    steps = re.search(r"after (\d+) steps\? Guess", texts["ada"])
    assert steps
    assert f"after {steps[1]} steps? Guess" in graded, "the page shows the student's own question"


@pytest.mark.xdist_group("engine")
def test_building_again_writes_the_same_and_a_newcomer_gets_their_own(course: Course) -> None:
    path = course.folder / "variants" / "ada" / NOTEBOOK / f"{NOTEBOOK}.ipynb"
    before = path.read_bytes()
    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as gradebook:
        gradebook.update_or_create_student("cem")
    assert autograder(course.folder, "build", "02", "--per-student").returncode == 0
    assert path.read_bytes() == before
    record = json.loads((course.folder / ".grading" / "variants.json").read_text())
    assert record == {NOTEBOOK: ["ada", "ben", "cem"]}


@pytest.mark.sandbox
@pytest.mark.xdist_group("engine")
def test_mistakes_are_told_in_one_line(course: Course, tmp_path: Path) -> None:
    record = course.folder / ".grading" / "variants.json"
    kept = record.read_text()
    record.write_text("{")
    for command in (("build", "02", "--per-student"), ("grade", NOTEBOOK)):
        done = autograder(course.folder, *command)
        assert done.returncode == 2
        assert "is damaged: restore it from a backup" in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    record.write_text(kept)
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}"):
        pass
    (tmp_path / "source").symlink_to(course.folder / "source")
    (tmp_path / "nbgrader_config.py").write_text((course.folder / "nbgrader_config.py").read_text())
    done = autograder(tmp_path, "build", "02", "--per-student")
    assert done.returncode == 2
    assert "nbgrader db student import" in done.stderr.replace("\n", " ")
