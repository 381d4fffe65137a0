"""What this machine can do, found by doing it: a child is really confined on each rung, in a process that is thrown away."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder.grading.sandbox import landlock
from autograder.grading.sandbox.fork import become_zygote, fork_confined
from autograder.grading.sandbox.spec import SandboxError, Spec, python_paths

#: those that protect; "none" is never offered, only asked for
_PROTECTING = ("full", "full-stub-proc", "confined")
_SECONDS = 30.0

_SWITCHES = (
    # file, value that stands in the way, remedy
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
)


@dataclass(frozen=True)
class Offer:
    """`rung`: the best one, or "" when none protects. `facts`: what was tried → "ok", or why not. `remedy`: one line for
    the instructor when `rung` is ""."""

    rung: str
    facts: tuple[tuple[str, str], ...]
    remedy: str = ""


def offered() -> Offer:
    """Try this machine's rungs, the best one first, until one holds. Takes some 30 ms; leaves nothing behind."""
    if sys.platform != "linux":
        remedy = "confining students' code needs Linux: grade in a container, a virtual machine or WSL"
        return Offer("", (("Linux", f"no, this is {sys.platform}"),), remedy)
    facts = tuple(_thrown_away())
    rung = next((what for what, outcome in facts if what in _PROTECTING and outcome == "ok"), "")
    return Offer(rung, facts, "" if rung else _remedy(dict(facts)))


def _thrown_away() -> list[tuple[str, str]]:
    """The facts, from a process whose changes and remains matter to nobody."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # about threads of this process: the fork has one, and does nothing but the trials
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _answer(writing)
    os.close(writing)
    text = b""
    try:
        while select.select([reading], [], [], _SECONDS)[0] and (part := os.read(reading, 65536)):
            text += part
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)  # unreaped until the next line
        os.waitpid(pid, 0)
    if not text.endswith(b"\n"):
        return [("trial", "did not end")]
    return [(what, outcome) for what, outcome in json.loads(text)]


def _answer(writing: int) -> None:
    """In the throw-away process: never returns."""
    try:
        facts = list(_facts())
    except BaseException as error:
        facts = [("trial", repr(error))]
    os.write(writing, json.dumps(facts).encode() + b"\n")
    os._exit(0)


def _facts() -> Iterator[tuple[str, str]]:
    known = landlock.version()
    yield "landlock", "ok" if known >= landlock.SCOPES else f"version {known} (6 is Linux 6.12)" if known else "none"
    try:
        become_zygote()
        spec = Spec(readonly=python_paths())
    except SandboxError as error:
        yield "Python", str(error)
        return
    for rung in _PROTECTING:
        outcome = _trial(rung, spec)
        yield rung, outcome
        if outcome == "ok":
            return


def _trial(rung: str, spec: Spec) -> str:
    try:
        status = fork_confined(rung, spec, _use, ()).wait()
    except SandboxError as error:
        return str(error)
    return "ok" if status == 0 else "a confined child can neither read Python's library nor write in its own folder"


def _use() -> None:
    """What any child must be able to do."""
    with open(os.__file__, "rb") as file:
        file.read(1)
    with open("trial", "xb") as file:
        file.write(b"trial")


def _remedy(facts: dict[str, str]) -> str:
    """One line, the most likely cause first."""
    if "Python" in facts:
        return facts["Python"]
    if "not implemented" in facts.get("full", ""):
        return "this kernel is too old: 5.12 or later is needed, such as that of Ubuntu 22.04, Debian 12 or RHEL 9"
    for file, value, setting in _SWITCHES:
        if _content(file) == value:
            return f"user namespaces are switched off on this machine: sudo sysctl -w {setting}"
    if any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return (
            "this container may not make namespaces: start it with --security-opt seccomp=unconfined "
            "(podman allows them by itself), or run it on a host with Linux 6.12 or later and landlock"
        )
    if "cannot be reached" in facts.get("confined", ""):
        return facts["confined"]
    return "allow user namespaces for this user, or use Linux 6.12 or later with landlock switched on (lsm=landlock,…)"


def _content(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
