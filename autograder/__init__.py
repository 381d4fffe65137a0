"""Checks that name the misconception behind a wrong answer, and grading on evidence.

A notebook imports `check`, `hint`, `done`, `material`, `solution` and `progress`; everything heavier is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autograder.checks import CheckFailed, check, done, hint, material, solution
    from autograder.overview import Progress as progress

__all__ = ["check", "hint", "done", "material", "solution", "progress", "CheckFailed"]
__version__ = "1.0.0"


def __getattr__(name: str) -> Any:
    """Load on first use: importing the package alone takes no time."""
    if name == "progress":
        from autograder.overview import Progress

        return Progress
    if name in __all__:
        from autograder import checks as module

        return getattr(module, name)
    raise AttributeError(f"module 'autograder' has no attribute {name!r}")
