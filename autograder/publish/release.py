"""Build `release/` from `source/` through nbgrader's own generate step, and notice when the two have drifted."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from nbgrader.converters import GenerateAssignment
from traitlets.config import Config

from autograder.manifest import manifest, meant
from autograder.publish.cells import PREPROCESSORS
from autograder.publish.convert import ConvertError, convert


class BuildError(Exception):
    """A release could not be built; the message says which and why."""


def course_root(start: Path | None = None) -> Path:
    """The folder that holds nbgrader_config.py and source/, from `start` (default: here) upwards.

    Raises BuildError when there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "nbgrader_config.py").is_file() and (folder / "source").is_dir():
            return folder
    raise BuildError(f"{here} is not inside a course: no folder above it has nbgrader_config.py and source/")


def names(root: Path, wanted: Iterable[str] = ()) -> list[str]:
    """Notebook names in course order, all or the wanted ones ("05" is enough). Raises BuildError for an unknown one."""
    known = [notebook.name for notebook in manifest().notebooks if (root / "source" / notebook.name).is_dir()]
    chosen = []
    for want in wanted:
        found = meant(known, want)
        if len(found) != 1:
            raise BuildError(f"there is no notebook {want!r}; the course has {', '.join(known)}")
        chosen += found
    return chosen or known


def build(root: Path, wanted: Iterable[str] = ()) -> Iterator[tuple[str, bool]]:
    """Build releases one after the other; yields (name, did it change?). A failed build leaves the old one alone."""
    for name in names(root, wanted):
        with tempfile.TemporaryDirectory() as folder:
            generate(root, name, Path(folder))
            made, kept = Path(folder) / name, root / "release" / name
            changed = not _same(made, kept)
            if changed:
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(made, kept)
        yield name, changed


def generate(root: Path, name: str, release: Path) -> None:
    """nbgrader's generate step without its database, from root/source/name to release/name."""
    config = Config()
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.release_directory = str(release)
    config.CourseDirectory.assignment_id = name
    config.GenerateAssignment.preprocessors = PREPROCESSORS
    config.GenerateAssignment.no_database = True
    config.SaveCells.enabled = False
    try:
        convert(GenerateAssignment, config)
    except ConvertError as error:
        raise BuildError(f"nbgrader could not generate {name}:\n{error}") from None


def drifted(root: Path) -> list[str]:
    """Names of notebooks whose committed release is not what their source builds."""
    stale = []
    for name in names(root):
        with tempfile.TemporaryDirectory() as folder:
            generate(root, name, Path(folder))
            if not _same(Path(folder) / name, root / "release" / name):
                stale.append(name)
    return stale


def _same(one: Path, other: Path) -> bool:
    return _contents(one) == _contents(other)


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".ipynb_checkpoints" not in path.parts
    }
