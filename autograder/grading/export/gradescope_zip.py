"""An autograder for Gradescope: one assignment, this engine and the course key in a zip.

With the key a submission gets the hidden cases, and so the marks, that `autograder grade` gives it. Whoever has the zip
can compute the hidden cases: it is for staff. The answers, the source notebooks and the tests are not in it.
"""

from __future__ import annotations

import importlib.metadata
import io
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from autograder.grading.assignment import read_assignment
from autograder.grading.engine import Course
from autograder.grading.secret import KEY_FILE, course_key
from autograder.manifest import manifest_file

_PACKAGE = Path(__file__).resolve().parents[2]

#: Parts of the package that grading does without: answers, and an installation's copies of source and manifest.
_LEFT_OUT = ("answers", "source", "course.toml", "__pycache__")
_DISTRIBUTION, _EXTRAS = "practical-optimization", ("student", "instructor")
#: A fixed date, so that the same course makes the same zip.
_DATE = (2000, 1, 1, 0, 0, 0)

SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, as root, while it builds the image. Needs the network.
set -euo pipefail
root="${AUTOGRADER_ROOT:-/autograder}"
export PIP_BREAK_SYSTEM_PACKAGES=1 UV_PYTHON_INSTALL_DIR="$root/python"
command -v pip3 > /dev/null || apt-get install -y python3-pip
# uv brings a Python that is new enough, wherever the image's own is older
python3 -m pip install --no-cache-dir "uv>=0.8"
python3 -m uv venv --python 3.12 "$root/venv"
python3 -m uv pip install --no-cache --python "$root/venv/bin/python" --torch-backend cpu \\
    -c "$root/source/constraints.txt" -r "$root/source/requirements.txt"
"""

RUN = """\
#!/usr/bin/env bash
# Gradescope starts this for every submission.
set -euo pipefail
export AUTOGRADER_ROOT="${AUTOGRADER_ROOT:-/autograder}"
export PYTHONPATH="$AUTOGRADER_ROOT/source" PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
exec "$AUTOGRADER_ROOT/venv/bin/python" -P -m autograder.grading.export.gradescope_run
"""

README = """\
This zip holds the course key (course/.key): with it the hidden cases can be computed. Keep it with staff; upload it to
Gradescope as the autograder of {name}, and hand it to nobody else.
"""


def autograder_zip(course: Course, name: str) -> bytes:
    """The zip for one assignment. Raises ValueError for a broken release, BadKey for a key that cannot be used."""
    read_assignment(course.root / "release", name)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for path, content, mode in _contents(course, name):
            entry = zipfile.ZipInfo(path, _DATE)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, content)
    return out.getvalue()


def _contents(course: Course, name: str) -> Iterator[tuple[str, bytes, int]]:
    """Path, content and mode of each file."""
    yield "setup.sh", SETUP.encode(), 0o755
    yield "run_autograder", RUN.encode(), 0o755
    yield "README.txt", README.format(name=name).encode(), 0o644
    yield "requirements.txt", "".join(f"{line}\n" for line in requirements()).encode(), 0o644
    pins = _PACKAGE.parent / "constraints.txt"
    yield "constraints.txt", pins.read_bytes() if pins.is_file() else b"", 0o644
    for package in (_PACKAGE, _PACKAGE.parent / "utils"):
        for path in sorted(package.rglob("*")):
            inside = path.relative_to(package)
            if path.is_file() and inside.parts[0] not in _LEFT_OUT and "__pycache__" not in inside.parts:
                yield f"{package.name}/{inside.as_posix()}", path.read_bytes(), 0o644
    release = course.root / "release" / name
    for path in sorted(release.rglob("*")):
        if path.is_file() and ".ipynb_checkpoints" not in path.parts:
            yield f"release/{name}/{path.relative_to(release).as_posix()}", path.read_bytes(), 0o644
    yield "course/course.toml", manifest_file().read_bytes(), 0o644
    yield f"course/{KEY_FILE}", course_key(course.root / "course"), 0o600


def requirements() -> list[str]:
    """What grading needs, from pyproject.toml, or from the installed package's own list."""
    project = _PACKAGE.parent / "pyproject.toml"
    if project.is_file():
        data = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        found = [*data["dependencies"], *(one for extra in _EXTRAS for one in data["optional-dependencies"][extra])]
        return [one for one in found if not one.startswith(_DISTRIBUTION)]
    wanted = (None, *(f'extra == "{extra}"' for extra in _EXTRAS))
    listed = (one.partition(";") for one in importlib.metadata.requires(_DISTRIBUTION) or ())
    chosen = [name.strip() for name, _, marker in listed if (marker.strip().replace("'", '"') or None) in wanted]
    return [one for one in chosen if not one.startswith(_DISTRIBUTION)]
