"""Run one of nbgrader's converters in this process: quiet when all is well, one clear reason when not."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path

from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config


class ConvertError(Exception):
    """nbgrader could not do it; the message is what nbgrader said, tracebacks shortened to their last line."""


def convert(converter: type, config: Config) -> None:
    """Run GenerateAssignment, Autograde or GenerateFeedback with this configuration. Raises ConvertError."""
    scripts_on_path()
    log = logging.Logger("autograder.nbgrader", level=logging.ERROR)  # of its own: nobody else's handlers see it
    said = _Said()
    log.addHandler(said)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SQLAlchemy's remarks on nbgrader's sessions
            converter(coursedir=CourseDirectory(config=config), config=config, log=log).start()
    except NbGraderException as error:
        raise ConvertError("\n".join(said.lines) or str(error)) from None


def scripts_on_path() -> None:
    """nbgrader starts `alembic` by name: it lies beside this Python, which need not be on the PATH."""
    folder = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "")
    if folder not in path.split(os.pathsep):
        os.environ["PATH"] = f"{folder}{os.pathsep}{path}"


class _Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        self.lines.append(text.splitlines()[-1] if "Traceback (most recent call last)" in text else text)
