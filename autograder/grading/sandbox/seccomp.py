"""The seccomp filter of confined children: system calls that grading never needs are refused."""

from __future__ import annotations

import ctypes
import errno
import struct
from dataclasses import dataclass

from autograder.grading.sandbox.kernel import PR_SET_PDEATHSIG, call, number

#: refused as not permitted, in all rungs
NOT_PERMITTED = (
    # other roots, mounts and namespaces
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "open_tree_attr", "move_mount"),
    *("mount_setattr", "fsopen", "fsconfig", "fsmount", "fspick", "statmount", "listmount", "swapon", "swapoff"),
    *("quotactl", "quotactl_fd", "acct", "name_to_handle_at", "open_by_handle_at", "fanotify_init", "lookup_dcookie"),
    # other processes' memory and files; the kernel's less tested corners
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp", "perf_event_open"),
    *(
        "userfaultfd",
        "bpf",
        "personality",
        "modify_ldt",
        "iopl",
        "ioperm",
        "uselib",
        "keyctl",
        "add_key",
        "request_key",
    ),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    # the machine
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "syslog"),
    *("sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "vhangup"),
    *("nfsservctl", "mbind", "set_mempolicy", "set_mempolicy_home_node", "migrate_pages", "move_pages"),
    # memory that no limit and no watchdog sees once it is detached; /dev/shm has a size and serves honest programs
    *("shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl"),
    *("mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"),
)
#: refused as if the kernel were older, so that libraries fall back: clone3's flags lie in memory that a filter cannot
#: read, and memfd pages escape RLIMIT_AS and the watchdog
NOT_THERE = ("clone3", "memfd_create", "memfd_secret")

#: refused as well where the child shares the host's files and processes, and perhaps the user: what landlock leaves open
SHARED_HOST = (
    # owners, modes, times and attributes of files that may only be read
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat", "file_setattr", "inotify_add_watch"),
    # other processes of the same user
    *("setpriority", "ioprio_set", "process_mrelease"),
    # leaving the child's process group, by which all that it has started is ended
    *("setsid", "setpgid"),
)
#: starting another program, which would bring what has been taken out of this one
PROGRAMS = ("execve", "execveat")
#: there only for the calling process itself, whose number is 0
OWN_PROCESS = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
#: where `struct seccomp_data` keeps the call's number, the machine and the low halves of the arguments
NUMBER, MACHINE, ARGUMENT = 0, 4, (16, 24, 32)
AUDIT_MACHINE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_CALLS = 0x40000000

NEW_NAMESPACE_FLAGS = 0x7E020000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_SEQPACKET, SOCK_KIND = 1, 5, 0xF

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06


@dataclass(frozen=True)
class _Line:
    """One instruction; `yes` and `no` are labels further down, "" the next line."""

    code: int
    value: int
    yes: str = ""
    no: str = ""


class Assembler:
    """Classic BPF with labels: the jumps are counted here, never by hand."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._labels: dict[str, int] = {}

    def load(self, offset: int) -> None:
        self._lines.append(_Line(_LOAD, offset))

    def keep_bits(self, mask: int) -> None:
        self._lines.append(_Line(_AND, mask))

    def equal(self, value: int, yes: str = "", no: str = "") -> None:
        self._lines.append(_Line(_EQUAL, value, yes, no))

    def at_least(self, value: int, yes: str = "", no: str = "") -> None:
        self._lines.append(_Line(_AT_LEAST, value, yes, no))

    def any_bit(self, mask: int, yes: str = "", no: str = "") -> None:
        self._lines.append(_Line(_ANY_BIT, mask, yes, no))

    def answer(self, action: int) -> None:
        self._lines.append(_Line(_RETURN, action))

    def refuse(self, code: int) -> None:
        self.answer(REFUSE | code)

    def label(self, name: str) -> None:
        if name in self._labels:
            raise ValueError(f"the label {name} is there twice")
        self._labels[name] = len(self._lines)

    def assemble(self) -> bytes:
        """The program. Raises ValueError for a jump that classic BPF cannot make (back, or further than 255)."""
        return b"".join(
            struct.pack("HBBI", line.code, self._jump(at, line.yes), self._jump(at, line.no), line.value)
            for at, line in enumerate(self._lines)
        )

    def _jump(self, at: int, name: str) -> int:
        distance = self._labels[name] - at - 1 if name else 0
        if not 0 <= distance <= 255:
            raise ValueError(f"the label {name} is {distance} lines away from line {at}")
        return distance


def program(machine: str, own_host: bool, programs: bool = True) -> bytes:
    """The filter for `machine`. `own_host`: namespaces give the child a network and processes of its own to reach;
    `programs`: it may start others.

    Each call that is looked at has a block of its own that ends with an answer: read them from top to bottom.
    """
    assembler = Assembler()
    _machine(assembler, machine)
    assembler.load(NUMBER)
    if machine == "x86_64":  # the x32 calls are the same ones under other numbers
        assembler.at_least(X32_CALLS, no="own calls")
        assembler.refuse(errno.ENOSYS)
        assembler.label("own calls")
    for name in NOT_PERMITTED if programs else (*NOT_PERMITTED, *PROGRAMS):
        _refuse(assembler, machine, name, errno.EPERM)
    for name in NOT_THERE:
        _refuse(assembler, machine, name, errno.ENOSYS)
    _clone(assembler, machine)
    _ioctl(assembler, machine)
    _prctl(assembler, machine)
    if own_host:
        _own_network(assembler, machine)
    else:
        _shared_host(assembler, machine)
    assembler.answer(ALLOW)
    return assembler.assemble()


def _machine(assembler: Assembler, machine: str) -> None:
    """Numbers mean other calls in another mode of the processor (32 bits): end such a process."""
    assembler.load(MACHINE)
    assembler.equal(AUDIT_MACHINE[machine], yes="this machine")
    assembler.answer(KILL)
    assembler.label("this machine")


def _refuse(assembler: Assembler, machine: str, name: str, code: int) -> None:
    value = number(name, machine)
    if value is not None:
        assembler.equal(value, no=f"not {name}")
        assembler.refuse(code)
        assembler.label(f"not {name}")


def _look_at(assembler: Assembler, machine: str, name: str, argument: int) -> None:
    """Open the block for one call, its argument loaded; the block must end with an answer and `label("not <name>")`."""
    value = number(name, machine)
    if value is None:
        raise ValueError(f"{machine} has no {name}")
    assembler.equal(value, no=f"not {name}")
    assembler.load(ARGUMENT[argument])


def _clone(assembler: Assembler, machine: str) -> None:
    """Processes and threads, but no new namespaces."""
    _look_at(assembler, machine, "clone", 0)
    assembler.any_bit(NEW_NAMESPACE_FLAGS, no="plain clone")
    assembler.refuse(errno.EPERM)
    assembler.label("plain clone")
    assembler.answer(ALLOW)
    assembler.label("not clone")


def _ioctl(assembler: Assembler, machine: str) -> None:
    """No typing into a terminal."""
    _look_at(assembler, machine, "ioctl", 1)
    assembler.equal(TIOCSTI, yes="typing")
    assembler.equal(TIOCLINUX, yes="typing", no="other ioctl")
    assembler.label("typing")
    assembler.refuse(errno.EPERM)
    assembler.label("other ioctl")
    assembler.answer(ALLOW)
    assembler.label("not ioctl")


def _prctl(assembler: Assembler, machine: str) -> None:
    """The signal at the zygote's death stays as it is; the call says that it worked (libraries set it for their own
    workers and give up when they cannot)."""
    _look_at(assembler, machine, "prctl", 0)
    assembler.equal(PR_SET_PDEATHSIG, no="other prctl")
    assembler.refuse(0)
    assembler.label("other prctl")
    assembler.answer(ALLOW)
    assembler.label("not prctl")


def _own_network(assembler: Assembler, machine: str) -> None:
    """Families that honest programs use; netlink only as routing, which name look-ups read."""
    _look_at(assembler, machine, "socket", 0)
    for family in (AF_UNIX, AF_INET, AF_INET6):
        assembler.equal(family, yes="known family")
    assembler.equal(AF_NETLINK, no="unknown family")
    assembler.load(ARGUMENT[2])
    assembler.equal(0, yes="known family")
    assembler.label("unknown family")
    assembler.refuse(errno.EAFNOSUPPORT)
    assembler.label("known family")
    assembler.answer(ALLOW)
    assembler.label("not socket")


def _shared_host(assembler: Assembler, machine: str) -> None:
    """Nobody else's processes and files, and of sockets connected pairs only: a datagram socket could send to any socket
    file of the host, by an address in memory that a filter cannot read."""
    for name in SHARED_HOST:
        _refuse(assembler, machine, name, errno.EPERM)
    for name in OWN_PROCESS:
        _look_at(assembler, machine, name, 0)
        assembler.equal(0, yes=f"own {name}")
        assembler.refuse(errno.EPERM)
        assembler.label(f"own {name}")
        assembler.answer(ALLOW)
        assembler.label(f"not {name}")
    _refuse(assembler, machine, "socket", errno.EACCES)
    _refuse(assembler, machine, "connect", errno.EACCES)
    _look_at(assembler, machine, "socketpair", 1)
    assembler.keep_bits(SOCK_KIND)
    assembler.equal(SOCK_STREAM, yes="connected pair")
    assembler.equal(SOCK_SEQPACKET, yes="connected pair")
    assembler.refuse(errno.EACCES)
    assembler.label("connected pair")
    assembler.answer(ALLOW)
    assembler.label("not socketpair")


def install(code: bytes) -> None:
    """Put this process and all its children under the filter, for good. Needs no_new_privs. Raises OSError."""
    buffer = ctypes.create_string_buffer(code, len(code))
    call("seccomp", 1, 0, struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer)))
