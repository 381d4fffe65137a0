"""The grading engine: marks decided outside the process that runs a student's code, from evidence, in a sandbox.

Data flows one way: `submission` (bytes → rebuilt notebook) → `runner` in a sandbox (cells → evidence) → `decide`
(evidence → verdicts) → `store` → `gradebook`, `autograded/` and `feedback/`.
"""
