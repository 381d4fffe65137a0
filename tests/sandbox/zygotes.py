"""Zygotes that are thrown away, and looking around in their confined children.

Everything runs in real forks. Functions that run inside use modules imported here and at the top of the tests alone: a
confined child may be unable to import.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from autograder.grading.sandbox import SandboxError, Spec, become_zygote, end_strays, fork_confined, landlock
from autograder.grading.sandbox.kernel import PR_SET_NO_NEW_PRIVS, number, prctl
from autograder.grading.sandbox.seccomp import ALLOW, NUMBER, Assembler, install

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
PLAIN = Spec(readonly=SYSTEM)
NOBODY = 65534
SECONDS = 20.0


def in_fork(task: Callable[[], Any], user: int | None = None) -> Any:
    """What `task` returns (as JSON carries it) in a forked process with one thread. What it raises fails the test."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _answer(task, user, writing)
    os.close(writing)
    try:
        kind, value = json.loads(read_all(reading) or '["ended", "without an answer"]')
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert kind == "ok", f"{kind} {value}"
    return value


def _answer(task: Callable[[], Any], user: int | None, writing: int) -> None:
    try:
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        answer = ["ok", task()]
    except BaseException as error:
        answer = [type(error).__name__, str(error)]
    os.write(writing, json.dumps(answer).encode())
    end_strays([])  # also when a test fails, nothing of it runs on
    os._exit(0)


def read_all(fd: int) -> bytes:
    """All until the other side closes; b"" when that takes too long."""
    data = b""
    while select.select([fd], [], [], SECONDS)[0]:
        part = os.read(fd, 65536)
        if not part:
            os.close(fd)
            return data
        data += part
    os.close(fd)
    return b""


def inside(rung: str, spec: Spec, probe: Callable[[], Any], keep: Sequence[int] = ()) -> Any:
    """In a zygote: what `probe` returns in a confined child."""
    reading, writing = os.pipe()

    def run() -> None:
        try:
            answer = ["ok", probe()]
        except BaseException as error:
            answer = [type(error).__name__, str(error)]
        os.write(writing, json.dumps(answer).encode())

    child = fork_confined(rung, spec, run, [writing, *keep])
    os.close(writing)
    text = read_all(reading)
    if not text:
        child.kill()
    status = child.wait()
    assert text, f"the child said nothing and ended with {status}"
    kind, value = json.loads(text)
    assert (kind, status) == ("ok", 0), f"{kind} {value}"
    return value


def look(rung: str, probe: Callable[[], Any], spec: Spec = PLAIN, user: int | None = None) -> Any:
    """What `probe` returns in a confined child of a new zygote."""

    def task() -> Any:
        become_zygote()
        return inside(rung, spec, probe)

    return in_fork(task, user)


def outcome(function: Callable[..., Any], *arguments: Any) -> str:
    """ "ok", or the name of the error that the kernel gave."""
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "ok"


def raw_call(name: str, *arguments: int) -> str:
    """The system call without any wrapper: "ok", or the name of the error."""
    ctypes.set_errno(0)
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number(name) or -1), *(ctypes.c_long(one) for one in arguments))
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def refuse_here(name: str, code: int) -> None:
    """Make this kernel one that refuses a system call, for this process and its children."""
    assembler = Assembler()
    assembler.load(NUMBER)
    assembler.equal(number(name) or -1, no="others")
    assembler.refuse(code)
    assembler.label("others")
    assembler.answer(ALLOW)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    install(assembler.assemble())


@cache
def reason_against(rung: str) -> str:
    """Why this machine cannot confine on that rung; "" when it can."""

    def task() -> str:
        become_zygote()
        try:
            inside(rung, PLAIN, os.getpid)
        except SandboxError as error:
            return str(error)
        return ""

    return str(in_fork(task))


@cache
def machine_allows(rung: str) -> bool:
    """Whether the kernel allows what the rung rests on, asked without the sandbox: a broken sandbox is no reason to skip."""
    if rung == "confined":
        return landlock.version() >= landlock.SCOPES
    tool = shutil.which("unshare")
    if tool is None or rung == "none":
        return rung == "none"
    options = ["--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--mount-proc"]
    return subprocess.run([tool, *options, "true"], capture_output=True, check=False).returncode == 0


def needs(rung: str) -> None:
    """Skip where the machine does not offer the rung; fail where it does and the sandbox does not."""
    if reason := reason_against(rung):
        if machine_allows(rung):
            pytest.fail(f"this machine allows {rung!r}, and the sandbox refuses: {reason}")
        pytest.skip(f"no sandbox {rung!r} here: {reason}")


def users() -> list[int | None]:
    """As whoever runs the tests, and as an ordinary user as well where that is root."""
    return [None, NOBODY] if os.geteuid() == 0 else [None]


def seeing(*paths: str) -> Spec:
    return replace(PLAIN, readonly=(*SYSTEM, *paths))
