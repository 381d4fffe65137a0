"""Start the fork server, before anything slow is imported here: both then import at the same time."""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autograder.grading.pool import Zygote
from autograder.grading.stage import stage

PRIVATE = ".grading"

# jsonschema, which nbformat imports, looks for this package to check a kind of address that notebooks' schemas do not
# have, and it takes a second to build its grammar: for this process it is not installed
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def private(root: Path) -> Path:
    """The engine's own folder in a course, made when it is not there."""
    folder = root / PRIVATE
    folder.mkdir(mode=0o711, exist_ok=True)  # runners, who are nobody, have to get to the staged package
    return folder


def cannot_write(error: OSError) -> str:
    """What to tell somebody whose disk is full, locked or gone, in one line."""
    where = f"{error.filename}: " if error.filename else ""
    return (
        f"{where}{error.strerror or error}: free the disk or unlock the folder; "
        "what is graded is kept, and the same command goes on"
    )


@contextmanager
def started(root: Path) -> Iterator[Zygote]:
    """A fork server on a staged package, both gone afterwards. Raises OSError when `root` cannot be written.

    Until `imported` is called, no garbage is collected: a fourth of the seconds that imports take would go into it.
    """
    gc.disable()
    place = Path(tempfile.mkdtemp(prefix="stage-", dir=private(root)))
    try:
        place.chmod(0o755)
        zygote = Zygote(stage(place))
        try:
            yield zygote
        finally:
            zygote.close()
    finally:
        gc.enable()
        shutil.rmtree(place, ignore_errors=True)


def imported() -> None:
    """What is there now stays: it is not looked through again, and forks that only collect garbage copy none of it."""
    gc.freeze()
    gc.enable()
