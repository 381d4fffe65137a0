"""A class of attackers between two honest students, graded once, with everything around it watched."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from catalogue import CANARY, HERE, Attack, attacks, hand_in

from autograder.grading.results import SubmissionResult, from_json
from autograder.publish.light import EXERCISES, make_light_course

_PR_SET_CHILD_SUBREAPER = 36
_NOBODY = 65534

#: Honest students in front of and behind everybody else. What the first wrote is a secret to the others.
HONEST = ("aaa-honest", "zzz-honest")
#: Files that only a successful attack makes.
MUST_NOT_EXIST = ("/tmp/pwned-5f1e", "/tmp/left-behind-5f1e", "/tmp/canary-5f1e", "/tmp/peeked", "/tmp/named")


@dataclass
class Graded:
    """What came of the class. `received`: what arrived at the sockets that listen outside the sandbox."""

    folder: Path
    results: dict[str, SubmissionResult] = field(default_factory=dict)
    seconds: float = 0.0
    output: str = ""
    received: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    canary_alive: bool = False
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)

    def of(self, attack: Attack) -> SubmissionResult:
        return self.results[attack.student_id]

    def pages(self, student: str) -> Iterator[Path]:
        """The files that are written about a student."""
        for kind in ("autograded", "feedback"):
            yield from (path for path in (self.folder / kind / student).rglob("*") if path.is_file())


def grade_all(root: Path, folder: Path) -> Graded:
    """Make the course, hand everything in, grade it as a child process, and write down what was seen meanwhile."""
    make_light_course(root, folder)
    with ExitStack() as stack:
        port, received = stack.enter_context(listening())
        _hand_in_all(root, folder, port)
        graded = Graded(folder, before=_digests(folder))
        canary = stack.enter_context(_canary_process())
        known = _children()
        _grade(graded)
        graded.strays = _strays(known)
        graded.canary_alive = canary.poll() is None
        graded.received = received()
        graded.after = _digests(folder)
    return graded


def _hand_in_all(root: Path, folder: Path, port: int) -> None:
    for student in HONEST:
        honest = Attack("honest", "honest", "", frozenset(EXERCISES), own=(f"# {CANARY}-other",), student=student)
        hand_in(honest, root, folder, port)
    for attack in attacks():
        hand_in(attack, root, folder, port)
    (folder / "secret.txt").write_text(f"{CANARY}-secret\n")
    (folder / "config.toml").write_text(f'token = "{CANARY}-config"\n')


def _grade(graded: Graded) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # whoever the graders leave behind becomes our child
    out = graded.folder / "results.json"
    command = [sys.executable, str(HERE / "grade_hostile.py"), str(graded.folder), str(out)]
    environment = {**os.environ, "SECRET_TOKEN": f"{CANARY}-environment"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, env=environment)
    graded.output = done.stdout + done.stderr
    if done.returncode == 0:
        found = json.loads(out.read_text(encoding="utf-8"))
        graded.results = {name: from_json(one) for name, one in found["results"].items()}
        graded.seconds = found["seconds"]
        out.unlink()


def _digests(folder: Path) -> dict[str, str]:
    """Contents of what grading must leave alone, by path."""
    kept = [path for kind in ("submitted", "release", "source") for path in (folder / kind).rglob("*")]
    kept += [folder / "secret.txt", folder / "config.toml"]
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in kept
        if path.is_file() and not path.is_symlink()
    }


@contextmanager
def _canary_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else, as far as possible of the user as whom submissions run."""
    user = {"user": _NOBODY} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "900"], **user) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def listening() -> Iterator[tuple[int, Callable[[], list[str]]]]:
    """Sockets of the host that attacks try to reach: the port, and a function that says what has arrived."""
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = tcp.getsockname()[1]
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", port))
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(f"\0{CANARY.lower()}")
        local.listen()
        yield port, lambda: _arrived(tcp, udp, local)


def _arrived(tcp: socket.socket, udp: socket.socket, local: socket.socket) -> list[str]:
    found = []
    for one, what in ((tcp, "tcp"), (local, "unix")):
        one.settimeout(0.05)
        with suppress(TimeoutError):
            one.accept()[0].close()
            found.append(what)
    udp.settimeout(0.05)
    with suppress(TimeoutError):
        found.append(f"udp {udp.recv(100)!r}")
    return found


def _children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()))


def _strays(known: set[int]) -> list[str]:
    """Processes that the graders have left behind: they have become ours. They are ended."""
    time.sleep(0.5)
    found = []
    for pid in _children() - known:
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if command:  # what has ended and waits to be reaped has none
                found.append(f"process {pid}: {command}")
                os.kill(pid, signal.SIGKILL)
    return found
