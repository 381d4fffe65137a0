"""What this machine has and lacks for the course, found by trying."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """`note`: works without, but somebody may want to know."""

    what: str
    state: Literal["ok", "missing", "note"]
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """All findings, the essential ones first."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python,
        _torch,
        _gpu,
        _counting,
        _sandbox,
        _nbgrader,
        _gradebook,
        _widgets,
        _browser,
        _address,
    )
    return [check() for check in checks]


def _python() -> Finding:
    return Finding("Python", "ok", ".".join(map(str, sys.version_info[:3])))


def _torch() -> Finding:
    try:
        import torch

        assert float((torch.ones(2, requires_grad=True) * 2).sum().detach()) == 4.0
        return Finding("torch", "ok", torch.__version__)
    except Exception as error:
        return Finding("torch", "missing", str(error), "pip install -c constraints.txt torch")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("GPU", "ok", torch.cuda.get_device_name())
    return Finding("GPU", "note", "none: demonstrations run on the CPU, and nothing that is graded needs one")


def _counting() -> Finding:
    """Does the counted device work with this torch?"""
    import torch

    from autograder.launches import LaunchCounter

    try:
        with LaunchCounter() as counter:
            p = counter.place(torch.ones(3))
            with counter.section() as section:
                p.mul_(2.0)
        if section.launches != 1:
            raise RuntimeError(f"one operation was counted as {section.launches}")
        return Finding("launch counting", "ok", counter.note)
    except Exception as error:
        return Finding("launch counting", "missing", str(error), "install the torch of constraints.txt")


def _sandbox() -> Finding:
    from autograder.grading.sandbox import offered

    offer = offered()
    if not offer.rung:
        return Finding("sandbox", "missing", "none: autograder grade refuses", offer.remedy)
    weaker = "" if offer.rung.startswith("full") else "weaker than `full`: see course/guides/security.md"
    return Finding("sandbox", "note" if weaker else "ok", offer.rung, weaker)


def _nbgrader() -> Finding:
    return _package("nbgrader", 'pip install -c constraints.txt -e ".[instructor]"')


def _gradebook() -> Finding:
    """Can the database be used that this folder's nbgrader_config.py names? SQLite, without one, needs no driver."""
    try:
        from sqlalchemy.engine import make_url

        from autograder.grading.command import course_at

        url = make_url(course_at(Path.cwd()).gradebook)
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        remedy = 'pip install -c constraints.txt -e ".[postgres]" for PostgreSQL, or the driver of your db_url'
        return Finding("gradebook", "missing", str(error), remedy)
    except Exception as error:  # a configuration is a program
        return Finding("gradebook", "missing", str(error).partition("\n")[0], "correct nbgrader_config.py")
    return Finding("gradebook", "ok", url.get_backend_name())


def _widgets() -> Finding:
    return _package("ipywidgets", "pip install ipywidgets (without it explorers are still pictures)", essential=False)


def _package(name: str, remedy: str, essential: bool = True) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(name, "missing" if essential else "note", "not installed", remedy)
    return Finding(name, "ok", importlib.metadata.version(name))


def _browser() -> Finding:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        return Finding("browser", "note", "no Chromium: browser tests are skipped", "apt-get install chromium")
    return Finding("browser", "ok", path)


def _address() -> Finding:
    from autograder.manifest import manifest

    course = manifest()
    if course.has_address:
        return Finding("course address", "ok", course.repository)
    remedy = "set repository in course/course.toml, then run autograder build"
    return Finding("course address", "note", "still the placeholder: Colab badges will not open", remedy)
