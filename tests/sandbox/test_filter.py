"""The filter of system calls, run by an interpreter of its own: so that the machine that is not here is tested as well."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from autograder.grading.sandbox import kernel, seccomp

HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}


def decide(code: bytes, machine: str, number: int, *arguments: int) -> int | str:
    """What the kernel would answer: "allow", "kill", or the error's number."""
    data = struct.pack("<IIQ6Q", number, seccomp.AUDIT_MACHINE[machine], 0, *(*arguments, *[0] * 6)[:6])
    lines = list(struct.iter_unpack("<HBBI", code))
    register, at = 0, 0
    while True:
        kind, yes, no, value = lines[at]
        at += 1
        if kind == 0x06:
            return {0x7FFF0000: "allow", 0x80000000: "kill"}.get(value, value & 0xFFFF)
        if kind == 0x20:
            register = struct.unpack_from("<I", data, value)[0]
        elif kind == 0x54:
            register &= value
        else:
            holds = {0x15: register == value, 0x35: register >= value, 0x45: bool(register & value)}[kind]
            at += yes if holds else no


@pytest.fixture(params=kernel.MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["own host", "shared host"])
def own_host(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def ask(machine: str, own_host: bool, name: str, *arguments: int) -> int | str:
    number = kernel.number(name, machine)
    assert number is not None
    return decide(seccomp.program(machine, own_host), machine, number, *arguments)


def test_every_call_of_the_lists_is_refused(machine: str, own_host: bool) -> None:
    code = seccomp.program(machine, own_host)
    for names, answer in ((seccomp.NOT_PERMITTED, errno.EPERM), (seccomp.NOT_THERE, errno.ENOSYS)):
        for name in names:
            number = kernel.number(name, machine)
            assert number is None or decide(code, machine, number) == answer, name


def test_the_rest_is_allowed(machine: str, own_host: bool) -> None:
    looked_at = (*seccomp.NOT_PERMITTED, *seccomp.NOT_THERE, *seccomp.SHARED_HOST, *seccomp.OWN_PROCESS)
    special = {
        kernel.number(name, machine) for name in (*looked_at, "clone", "socket", "socketpair", "connect", "prctl")
    }
    code = seccomp.program(machine, own_host)
    refused = [number for number in range(470) if decide(code, machine, number) != "allow"]
    assert set(refused) <= special


def test_another_mode_of_the_processor_ends_the_process(machine: str, own_host: bool) -> None:
    code = seccomp.program(machine, own_host)
    assert decide(code, OTHER[machine], 0) == "kill"
    if machine == "x86_64":
        assert decide(code, machine, 0x40000000 | 1) == errno.ENOSYS


def test_clone_without_namespaces(machine: str, own_host: bool) -> None:
    thread, process = 0x3D0F00, 17
    assert [ask(machine, own_host, "clone", flags) for flags in (thread, process)] == ["allow"] * 2
    for bit in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask(machine, own_host, "clone", process | bit) == errno.EPERM


def test_terminals_and_the_signal_at_death(machine: str, own_host: bool) -> None:
    assert [ask(machine, own_host, "ioctl", 0, what) for what in (0x5412, 0x541C)] == [errno.EPERM] * 2
    assert ask(machine, own_host, "ioctl", 0, 0x5401) == "allow"
    assert ask(machine, own_host, "prctl", kernel.PR_SET_PDEATHSIG) == 0
    assert ask(machine, own_host, "prctl", kernel.PR_GET_SECCOMP) == "allow"


def test_sockets_of_an_own_network(machine: str) -> None:
    for family in (1, 2, 10):
        assert ask(machine, True, "socket", family, 1, 6) == "allow"
    assert [ask(machine, True, "socket", 16, 3, protocol) for protocol in (0, 9)] == ["allow", errno.EAFNOSUPPORT]
    assert {ask(machine, True, "socket", family, 3, 0) for family in (17, 38, 40, 44)} == {errno.EAFNOSUPPORT}
    assert ask(machine, True, "connect") == "allow"


def test_sockets_where_the_network_is_the_hosts(machine: str) -> None:
    assert {ask(machine, False, "socket", family, 1) for family in (1, 2, 10, 16)} == {errno.EACCES}
    assert ask(machine, False, "connect") == errno.EACCES
    kinds = {kind: ask(machine, False, "socketpair", 1, kind | 0x80800) for kind in (1, 2, 3, 5)}
    assert kinds == {1: "allow", 2: errno.EACCES, 3: errno.EACCES, 5: "allow"}


def test_the_shared_host_is_left_alone(machine: str) -> None:
    for name in seccomp.SHARED_HOST:
        if kernel.number(name, machine) is not None:
            assert ask(machine, False, name) == errno.EPERM, name
            assert ask(machine, True, name) == "allow", name
    for name in seccomp.OWN_PROCESS:
        assert [ask(machine, False, name, pid) for pid in (0, 1, 4711)] == ["allow", errno.EPERM, errno.EPERM], name


def test_jumps_are_checked() -> None:
    assembler = seccomp.Assembler()
    assembler.equal(1, yes="far")
    for _ in range(300):
        assembler.load(0)
    assembler.label("far")
    assembler.answer(seccomp.ALLOW)
    with pytest.raises(ValueError, match="300 lines away"):
        assembler.assemble()
    with pytest.raises(ValueError, match="twice"):
        assembler.label("far")


def test_the_numbers_are_the_kernels(machine: str) -> None:
    header = Path(HEADERS[machine])
    if not header.exists():
        pytest.skip(f"no {header} (apt-get install linux-libc-dev)")
    lines = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text(), re.MULTILINE)
    known = {name: int(number) for name, number in reversed(lines)}
    ours = {name: kernel.number(name, machine) for name in kernel.NUMBERS}
    newest = max(known.values())
    for name, number in ours.items():
        if number is None:
            assert name not in known, name
        elif name in known or number <= newest:
            assert known.get(name) == number, name


def test_an_unknown_machine_is_named() -> None:
    with pytest.raises(OSError, match="not of riscv64"):
        kernel.number("mount", "riscv64")
