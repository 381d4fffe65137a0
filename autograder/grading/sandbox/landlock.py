"""Landlock: a process gives up files, connections and signals for good, without needing any privilege."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Collection, Iterator

from autograder.grading.sandbox.kernel import call
from autograder.grading.sandbox.spec import lies_under

_NAMES = (
    *("execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file", "make_char", "make_dir"),
    *("make_reg", "make_sock", "make_fifo", "make_block", "make_sym", "refer", "truncate", "ioctl_dev"),
)
RIGHT = {name: 1 << bit for bit, name in enumerate(_NAMES)}
#: how many of the rights above each version of the interface knows
_KNOWN = {1: 13, 2: 14, 3: 15, 4: 15}

LIST = RIGHT["read_dir"]
READ = RIGHT["execute"] | RIGHT["read_file"] | LIST
#: for /dev/null and the like, and for a folder of terminals
DEVICE = RIGHT["read_file"] | RIGHT["write_file"] | RIGHT["ioctl_dev"] | LIST
_FILE = RIGHT["execute"] | RIGHT["truncate"] | DEVICE & ~LIST
#: for a folder that belongs to the child: everything but devices
WRITE = ((1 << len(_NAMES)) - 1) & ~(RIGHT["make_char"] | RIGHT["make_block"] | RIGHT["ioctl_dev"])

#: version that can also refuse TCP, and the one that keeps signals and abstract sockets inside
TCP, SCOPES = 4, 6


def version() -> int:
    """The kernel's version of the interface; 0 when there is none or it is switched off."""
    try:
        return call("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


class Rules:
    """What stays allowed; everything else that this kernel's version knows is refused by `restrict`."""

    def __init__(self, tcp: bool) -> None:
        """`tcp`: may listen and connect (in a network of its own). Raises OSError when the kernel has no landlock."""
        known = version()
        self._handled = (1 << _KNOWN.get(known, len(_NAMES))) - 1
        fields = (self._handled, 0 if tcp or known < TCP else 3, 3 if known >= SCOPES else 0)
        size = 24 if known >= SCOPES else 16 if known >= TCP else 8
        self._fd = call("landlock_create_ruleset", struct.pack("QQQ", *fields), size, 0)

    def allow(self, path: str, rights: int) -> None:
        """`rights` on the file, or on the folder and all in it. Raises OSError, also when there is no such path."""
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                rights &= _FILE
            call("landlock_add_rule", self._fd, 1, struct.pack("=Qi", rights & self._handled, fd), 0)
        finally:
            os.close(fd)

    def restrict(self) -> None:
        """From now on, for this process and all its children. Needs no_new_privs. Raises OSError."""
        call("landlock_restrict_self", self._fd, 0)
        os.close(self._fd)


def around(path: str, hidden: Collection[str]) -> Iterator[tuple[str, int]]:
    """Rules that let `path` be read but for what is in `hidden`: (path, rights).

    Rights on a folder reach all that is in it, so a folder around something hidden may only be listed, and each of its
    other entries is allowed by itself. `hidden` must exist. Links need no rights; followed, one could lead to what is hidden.
    """
    here = [one for one in hidden if lies_under(one, path)]
    if not here:
        yield path, READ
    elif path not in here:
        yield path, LIST
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    yield from around(entry.path, here)
