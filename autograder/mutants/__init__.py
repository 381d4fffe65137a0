"""Mechanical mutants: the course's own solutions with one small change each, run through the checks.

The catalogue holds the mistakes that somebody thought of. A mutant that passes shows a sentence of the exercise that no
case looks at, whoever would have thought of it. Instructor side: it reads the source notebooks. `changes` makes them,
`runs` tries them; those that cannot fail, because they do the same, are listed in `answers/equivalent.py`.
"""
