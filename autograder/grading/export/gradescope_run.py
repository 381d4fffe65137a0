"""Inside Gradescope's container: grade the one submission that is there and write `results.json`.

The layout is Gradescope's: `source/` (the zip), `submission/`, `results/` under AUTOGRADER_ROOT (/autograder). Where
grading itself fails nothing is written, so that Gradescope tells the staff instead of giving a student 0 points.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from autograder.grading.command import EXPECTED
from autograder.grading.engine import Course, GradingError, Options, grade_class
from autograder.grading.export.gradescope import Json, read_results
from autograder.grading.secret import KEY_FILE

#: Gradescope says who the submission is from; marks do not depend on it.
STUDENT = "student"


def main() -> int:
    """Exit code 0 when results.json is written, 1 with a line on stderr when grading failed."""
    root = Path(os.environ.get("AUTOGRADER_ROOT", "/autograder"))
    try:
        results = graded(root)
    except EXPECTED as error:
        print(f"autograder: {error}", file=sys.stderr)
        return 1
    (root / "results").mkdir(exist_ok=True)
    (root / "results" / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


def graded(root: Path) -> Json:
    """The submission's results. Raises what `grade_class` raises, and GradingError for a layout that is not as it
    should be."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o711)  # students' code runs as nobody, and has to get to the staged package
        course, name = _laid_out(root, place)
        for _ in grade_class(course, name, [STUDENT], Options(jobs=1, trust_students=True)):
            pass
        ((_, results),) = read_results(course, name)
    return results


def _laid_out(root: Path, folder: Path) -> tuple[Course, str]:
    """A course of one assignment and one student in an empty folder."""
    source = root / "source"
    names = [path.name for path in (source / "release").glob("*") if path.is_dir()]
    if len(names) != 1 or not (root / "submission").is_dir():
        raise GradingError(f"{root} has to hold source/release/ with one assignment, and submission/")
    (name,) = names
    shutil.copytree(source / "release", folder / "release")
    (folder / "course").mkdir()
    key = folder / "course" / KEY_FILE
    shutil.copyfile(source / "course" / KEY_FILE, key)
    key.chmod(0o600)
    with contextlib.suppress(shutil.Error):  # a pipe or a device is no notebook; the rest has been copied
        shutil.copytree(root / "submission", folder / "submitted" / STUDENT / name, symlinks=True)
    return Course(folder, f"sqlite:///{folder / 'gradebook.db'}"), name


if __name__ == "__main__":
    sys.exit(main())
