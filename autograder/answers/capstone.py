"""Right and wrong answers to the exercises of `09_capstone`."""
from __future__ import annotations
from autograder.answers import Mutants, Objects
ACCEPTED: dict[str, dict[str, Objects]] = {}
MUTANTS: Mutants = {}
