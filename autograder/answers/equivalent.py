"""Mutants that cannot fail: what they change makes no difference that the exercise speaks of.

Exercise id → mutant (`mutants.changes.Mutant.what`) → the reason. A test runs them: each has to survive, and whatever
survives has to stand here.
"""

from __future__ import annotations

EQUIVALENT: dict[str, dict[str, str]] = {}
