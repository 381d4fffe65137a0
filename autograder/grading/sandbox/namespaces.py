"""Namespaces of a confined child: its own users, mounts, processes, network, shared memory, host name and cgroups."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys

from autograder.grading.sandbox.kernel import CAPABILITY_VERSION, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, call, prctl

if sys.platform == "linux":
    import fcntl  # here and not where it is used: a confined child may be unable to import

_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
ALL = _NEWNS | _NEWCGROUP | _NEWUTS | _NEWIPC | _NEWUSER | _NEWPID | _NEWNET

#: who the child is inside, and nobody on the host
INSIDE, NOBODY = 1000, 65534
HOST_NAME = b"sandbox"

_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40


def become_nobody(keep_capabilities: bool = False) -> None:
    """As root: be an ordinary user on the host too, whatever else fails later. For others nothing changes.

    `keep_capabilities`: until `enter`, which takes them: some systems let only administrators make user namespaces.
    """
    if os.geteuid() != 0:
        return
    prctl(PR_SET_KEEPCAPS, int(keep_capabilities))
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    if keep_capabilities:
        _use_permitted_capabilities()


def _use_permitted_capabilities() -> None:
    """A change of user keeps the permitted ones at most, and makes none effective."""
    header, sets = struct.pack("Ii", CAPABILITY_VERSION, 0), ctypes.create_string_buffer(24)
    call("capget", header, sets)
    _, low, inheritable, _, high, inheritable_high = struct.unpack("6I", sets.raw)
    call("capset", header, struct.pack("6I", low, low, inheritable, high, high, inheritable_high))


def enter() -> None:
    """Into new namespaces; the next fork is the first process of the new pid namespace. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    # the files below belong to root for a process that may not be dumped, which the zygote is
    prctl(PR_SET_DUMPABLE, 1)
    call("unshare", ALL)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{INSIDE} {uid} 1"), ("gid_map", f"{INSIDE} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def settle() -> None:
    """In the first process inside: the network has its own loopback, up, and the machine another name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP | _IFF_RUNNING))
    call("sethostname", HOST_NAME, len(HOST_NAME))
