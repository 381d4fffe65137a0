"""Collectors play a case with the student's objects and record what happens. They know no reference."""
