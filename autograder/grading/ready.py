"""Make a fork server ready for one assignment: what is taken from it, how its runners are confined, what is computed first."""

from __future__ import annotations

from pathlib import Path

import torch

from autograder.diagnose import judged_variant
from autograder.exercise import CodeExercise
from autograder.grading.assignment import Assignment
from autograder.grading.pool import Zygote
from autograder.grading.references import files_to_mask
from autograder.grading.sandbox import Limits, Spec, python_paths
from autograder.grading.stage import hidden_folders
from autograder.grading.start import imported
from autograder.verdict import expected_evidence, visible_cases


def make_ready(zygote: Zygote, assignment: Assignment, rung: str) -> None:
    """Configure it, compute here what judging needs while it imports, and wait for it. Raises ZygoteError.

    Processes that judge may be forked from this one afterwards: no thread of torch's is started.
    """
    torch.set_num_threads(1)  # a parallel region would hang what is forked from here
    forbidden = {name for one in assignment.exercises if isinstance(one, CodeExercise) for name in one.forbidden}
    zygote.configure(rung, _spec(zygote.stage, forbidden), forbidden)
    _warm(assignment, zygote)
    zygote.wait()
    imported()


def _spec(staged: Path, forbidden: set[str]) -> Spec:
    visible = python_paths()
    secret = [str(one) for one in hidden_folders()]  # where the package is installed and not in place
    files = dict(files_to_mask(forbidden))
    return Spec(
        readonly=(*visible, str(staged)),
        masked=tuple(one for one in secret if any(one.startswith(f"{path}/") for path in visible)),
        files=files,
        work="/submission",  # no folder of a real machine: the course itself may lie in /work or /home
        programs=False,  # a new interpreter would have the references again
        limits=Limits(),
    )


def _warm(assignment: Assignment, zygote: Zygote) -> None:
    """Run references and wrong variants on the visible cases while the fork server imports; the workers share them."""
    exercises = [one for one in assignment.exercises if isinstance(one, CodeExercise)]
    for exercise in exercises:
        for case in visible_cases(exercise):
            expected_evidence(exercise, case)
    for exercise in exercises:
        for case in visible_cases(exercise):
            for misconception in exercise.misconceptions:
                if zygote.has_spoken():
                    return
                judged_variant(exercise, case, misconception.objects)
