"""Late work by nbgrader's own rules: the plug-in that its autograde would use, and extensions for single students."""

from __future__ import annotations

import sys
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy.exc import SAWarning
from traitlets import TraitError
from traitlets.config import Config

from autograder.grading.gradebook import QUIET, GradebookError, is_there
from autograder.publish.convert import scripts_on_path


def late_plugin(config: Config, root: Path) -> Any:
    """The plug-in that `config` (a course's nbgrader_config.py) names for late submissions, with its settings.

    A plug-in of the course's own may lie beside nbgrader_config.py. Raises GradebookError when it cannot be loaded.
    """
    if str(root) not in sys.path:
        sys.path.append(str(root))  # behind everything else: nothing in a course's folder hides a package
    try:
        return AssignLatePenalties(config=config).plugin_class(config=config, log=QUIET)
    except (ImportError, TraitError) as error:
        said = str(error).splitlines()[0].rpartition(" but ")[2]  # behind the trait's own words
        raise GradebookError(f"the late penalty of nbgrader_config.py cannot be used: {said}") from None


def extend(url: str, course: str, assignment: str, student: str, extension: timedelta) -> datetime | None:
    """Give a student more time by nbgrader's `Gradebook.grant_extension`; nothing of an earlier extension stays.

    Returns when the work is due now (UTC), None where the assignment has no due date. Raises GradebookError.
    """
    if not is_there(url):
        raise GradebookError(f"there is no gradebook at {url}: run nbgrader generate_assignment first, or say --course")
    scripts_on_path()
    with warnings.catch_warnings(), Gradebook(url, course) as gradebook:
        warnings.simplefilter("ignore", SAWarning)  # about the order in which nbgrader makes a submission's rows
        try:
            due = gradebook.find_assignment(assignment).duedate
            gradebook.find_student(student)
        except MissingEntry as error:
            raise GradebookError(f"{error}: see nbgrader db assignment list and nbgrader db student list") from None
        gradebook.update_or_create_submission(assignment, student)  # the extension is kept in the submission's row
        gradebook.grant_extension(assignment, student, minutes=extension / timedelta(minutes=1))
        return None if due is None else due + extension
