"""A child process that can harm nobody and see nothing secret, by plain system calls, with or without root.

A zygote (`become_zygote`: one thread, no secrets) calls `fork_confined(rung, spec, run, keep)`; the child puts every
layer of the rung in place and only then calls `run()`. `offered()` says which rung this machine allows:

`full`            namespaces of its own, a read-only root with chosen host paths, limits, no capabilities, landlock
                  where the kernel has it, a filter of system calls
`full-stub-proc`  the same without a /proc of its own (containers that mask theirs): a few harmless files stand there
`confined`        no namespaces: landlock, the filter and limits. The host's file names and their times can be seen, the
                  work folder has no size limit, and what a child has started outlives a zygote that is killed
`none`            only what keeps children apart from the zygote's own state; for students who are trusted
"""

from __future__ import annotations

from autograder.grading.sandbox.fork import Child, become_zygote, end_strays, fork_confined
from autograder.grading.sandbox.memory import tree_memory_mb, tree_share_mb
from autograder.grading.sandbox.offer import Offer, offered
from autograder.grading.sandbox.spec import NAMESPACED, RUNGS, Limits, SandboxError, Spec, python_paths

__all__ = [
    "Child",
    "Limits",
    "NAMESPACED",
    "Offer",
    "RUNGS",
    "SandboxError",
    "Spec",
    "become_zygote",
    "end_strays",
    "fork_confined",
    "offered",
    "python_paths",
    "tree_memory_mb",
    "tree_share_mb",
]
