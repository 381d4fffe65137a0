"""Marks for other systems: CSV for spreadsheets and Canvas, `results.json` and an autograder for Gradescope.

Everything is read from the gradebook through nbgrader's tables; nothing is written to it.
"""

from __future__ import annotations

from typing import Literal

Format = Literal["csv", "canvas", "gradescope", "gradescope-zip"]
