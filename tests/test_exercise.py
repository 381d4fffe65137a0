"""The registry is the one home of ids, points and order; everything else agrees with it."""

from __future__ import annotations

import pytest

from autograder.audit import answers, code_exercises
from autograder.exercise import REGISTRY, CodeExercise, QuizExercise, UnknownExercise
from autograder.manifest import manifest
from autograder.verdict import hidden_cases, visible_cases

CODE = code_exercises()
GRADED = [e for e in CODE if not e.id.startswith("start.")]


def ids(exercises: list[CodeExercise]) -> list[str]:
    return [exercise.id for exercise in exercises]


def test_an_unknown_id_is_told_with_the_nearest_ones() -> None:
    with pytest.raises(UnknownExercise, match=r"there is no exercise 'adam\.adm'\. Did you mean 'adam\.adam' or"):
        REGISTRY["adam.adm"]


def test_notebooks_follow_the_manifest_and_points_add_up_to_its_budget() -> None:
    order = [notebook.name for notebook in manifest().notebooks]
    assert list(dict.fromkeys(exercise.notebook for exercise in REGISTRY.values())) == order
    for notebook in manifest().notebooks:
        exercises = [e for e in REGISTRY.values() if e.notebook == notebook.name]
        assert sum(e.points for e in exercises) == notebook.points
        assert all(e.id.startswith(f"{notebook.topic}.") for e in exercises)


@pytest.mark.parametrize("exercise", CODE, ids=ids(CODE))
def test_every_case_belongs_to_a_group_and_every_group_has_visible_and_hidden_cases(exercise: CodeExercise) -> None:
    visible, hidden = visible_cases(exercise), hidden_cases(exercise, 1)
    assert {case.group for case in visible} == {case.group for case in hidden} == set(exercise.groups)
    assert not any(case.hidden for case in visible)
    assert all(case.hidden for case in hidden)
    names = [case.name for case in visible]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("exercise", CODE, ids=ids(CODE))
def test_hidden_cases_are_a_function_of_the_seed(exercise: CodeExercise) -> None:
    def numbers(seed: int) -> str:
        return repr([case.inputs for case in exercise.draw_cases(seed)])

    assert numbers(7) == numbers(7)
    assert numbers(7) != numbers(8)


@pytest.mark.parametrize("exercise", GRADED, ids=ids(GRADED))
def test_graded_code_has_what_the_course_promises(exercise: CodeExercise) -> None:
    assert len(exercise.misconceptions) >= 4
    assert len(answers(exercise, "ACCEPTED")) >= 3
    assert len(exercise.hints) == 3
    assert len(answers(exercise, "MUTANTS")) >= 4
    assert exercise.points > 0


def test_misconception_ids_are_unique_within_an_exercise_and_say_something() -> None:
    for exercise in CODE:
        found = [m.id for m in exercise.misconceptions]
        assert len(set(found)) == len(found), exercise.id
        for m in exercise.misconceptions:
            assert m.explanation.endswith((".", "?", ")")), (exercise.id, m.id)
            assert not m.title.endswith("."), (exercise.id, m.id)


def test_quiz_keys_are_among_their_answers_and_every_wrong_one_has_feedback() -> None:
    quizzes = [e for e in REGISTRY.values() if isinstance(e, QuizExercise)]
    assert len(quizzes) >= 8
    for quiz in quizzes:
        for part in quiz.parts:
            assert part.key in part.feedback
            assert all(text.strip() for text in part.feedback.values())
            if part.is_number:
                assert "other" in part.feedback
