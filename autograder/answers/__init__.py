"""The instructors' side of the exercises: right answers written in many ways, and wrong ones in students' hands.

Never present where student code is graded. One module per notebook; each defines

    ACCEPTED   exercise id → name → objects: right implementations, written differently; all have to pass
    MUTANTS    exercise id → (expected catalogue rows, name, objects): wrong ones written by hand, independent of the
               simulators that the checks compare with; all have to fail and to be named
"""

from __future__ import annotations

from typing import Any

Objects = tuple[Any, ...]
Mutants = dict[str, tuple[tuple[str, str, Objects], ...]]
