"""Other programs: there where a spec allows them, refused where it does not; forks go on working."""

from __future__ import annotations

import os
from dataclasses import replace

from zygotes import PLAIN, look, outcome

TRUE = "/usr/bin/true"


def started() -> list[str]:
    """How two ways to start a program end, each in a fork: "ok" is its exit status 0."""

    def one(way: str) -> str:
        pid = os.fork()
        if pid == 0:
            if way == "path":
                outcome(os.execv, TRUE, [TRUE])
            else:
                outcome(os.execve, os.open(TRUE, os.O_RDONLY), [TRUE], {})
            os._exit(13)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return "ok" if status == 0 else "refused" if status == 13 else f"ended with {status}"

    return [one("path"), one("open file")]


def test_programs_start_where_the_spec_allows_them(rung: str, user: int | None) -> None:
    assert look(rung, started, replace(PLAIN, programs=True), user) == ["ok", "ok"]


def test_programs_are_refused_where_it_does_not(rung: str, user: int | None) -> None:
    assert look(rung, started, replace(PLAIN, programs=False), user) == ["refused", "refused"]
