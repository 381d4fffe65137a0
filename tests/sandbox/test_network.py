"""No way out: not to the host's loopback, not to its socket files, not to its abstract sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from zygotes import in_fork, look, outcome, raw_call, seeing

AF_ALG, AF_PACKET, AF_VSOCK, AF_NETLINK, NETLINK_AUDIT = 38, 17, 40, 16, 9


@dataclass(frozen=True)
class Host:
    """Sockets of the host that wait for somebody."""

    port: int
    file: str
    letters: str
    abstract: str

    def attempts(self) -> dict[str, str]:
        return {
            "tcp": outcome(connect, socket.AF_INET, ("127.0.0.1", self.port)),
            "file": outcome(connect, socket.AF_UNIX, self.file),
            "abstract": outcome(connect, socket.AF_UNIX, self.abstract),
            "letter": outcome(send_letter, self.letters),
            "letter over a pair": outcome(send_over_pair, self.letters),
        }


def connect(family: int, address: object) -> None:
    with socket.socket(family) as one:
        one.settimeout(2)
        one.connect(address)  # type: ignore[arg-type]


def send_letter(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.sendmsg([b"letter"], [], 0, address)


def send_over_pair(address: str) -> None:
    """A datagram pair is connected, and may still send elsewhere."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendmsg([b"letter"], [], 0, address)


@pytest.fixture
def host(open_folder: Path) -> Iterator[Host]:
    names = Host(0, str(open_folder / "socket"), str(open_folder / "letters"), f"\0sandbox-test-{os.getpid()}")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as file,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as letters,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        for one, address in ((file, names.file), (letters, names.letters), (abstract, names.abstract)):
            one.bind(address)
        for address in (names.file, names.letters):
            os.chmod(address, 0o777)
        for one in (file, abstract):
            one.listen()
        letters.setblocking(False)
        found = Host(tcp.getsockname()[1], names.file, names.letters, names.abstract)
        yield found


def test_the_hosts_sockets_are_there_for_others(host: Host, user: int | None) -> None:
    """So the next test can fail."""
    assert set(in_fork(host.attempts, user).values()) == {"ok"}


def test_none_of_the_hosts_sockets_answers(rung: str, user: int | None, host: Host) -> None:
    found = look(rung, host.attempts, user=user)
    assert "ok" not in found.values(), found


def test_a_visible_socket_file_does_not_help_without_mounts(confined: str, user: int | None, host: Host) -> None:
    """Landlock has no say about socket files: the filter of system calls has."""
    found = look(confined, host.attempts, seeing(str(Path(host.file).parent)), user)
    assert "ok" not in found.values(), found


def test_there_is_no_way_out_of_an_own_network(own_root: str) -> None:
    def probe() -> list[object]:
        return [
            outcome(connect, socket.AF_INET, ("192.0.2.1", 80)),
            outcome(connect, socket.AF_INET6, ("2001:db8::1", 80)),
        ]

    four, six = look(own_root, probe)
    assert four == "ENETUNREACH"
    assert six in ("ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT")


def test_the_own_loopback_serves_honest_programs(own_root: str) -> None:
    def probe() -> str:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return outcome(connect, socket.AF_INET, server.getsockname())

    assert look(own_root, probe) == "ok"


def test_connected_pairs_work(rung: str) -> None:
    def probe() -> str:
        one, other = socket.socketpair()
        with one, other:
            one.sendall(b"text")
            return other.recv(4).decode()

    assert look(rung, probe) == "text"


@pytest.mark.parametrize(
    ("family", "protocol"), [(AF_ALG, 0), (AF_PACKET, 0), (AF_VSOCK, 0), (AF_NETLINK, NETLINK_AUDIT)]
)
def test_other_families_are_refused(rung: str, family: int, protocol: int) -> None:
    assert look(rung, lambda: raw_call("socket", family, 3, protocol)) in ("EAFNOSUPPORT", "EACCES")
