"""A root of the child's own: an empty read-only tmpfs with chosen parts of the host bound into it, and nothing else.

Host paths are opened first, as detached read-only mounts (`Sources`), because root may enter folders that the child's
user may not; they are attached later, from inside the new namespaces. Every path inside is resolved with the new root as
its root, so a link in it cannot lead out.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass, field

from autograder.grading.sandbox.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, call
from autograder.grading.sandbox.namespaces import INSIDE, NOBODY
from autograder.grading.sandbox.spec import SandboxError, Spec, outermost

_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REC, _PRIVATE = 1, 2, 4, 8, 16384, 1 << 18
_OPEN_TREE_CLONE = 1
_MOVE_FROM_FD, _MOVE_TO_FD = 0x04, 0x40
_RESOLVE_IN_ROOT, _RESOLVE_NO_MAGIC = 0x10, 0x02
_DETACH = 2

#: where the new root is put together, in the child's own mount namespace only
_STAGE = "/tmp"
_ROOT_OPTIONS = "size=4m,nr_inodes=8192,mode=755"
_INODES_PER_MB = 256

_DEVICES = ("null", "zero", "full", "random", "urandom")
#: the same in every process, so harmless, and read by libraries: all there is of /proc where no new one is allowed
_PROC_STUB = ("cpuinfo", "meminfo", "stat", "uptime", "loadavg", "filesystems", "version")

_FILES = {
    "/etc/passwd": (
        f"student:x:{INSIDE}:{INSIDE}:student:{{work}}:/bin/sh\nnobody:x:{NOBODY}:{NOBODY}:nobody:/:/bin/false\n"
    ),
    "/etc/group": f"student:x:{INSIDE}:\nnogroup:x:{NOBODY}:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


@dataclass
class Sources:
    """Parts of the host: path inside → detached mount (an open file), or the text of a link."""

    mounts: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    placed: dict[str, int] = field(default_factory=dict)
    devices: dict[str, int] = field(default_factory=dict)
    proc: dict[str, int] = field(default_factory=dict)

    @property
    def fds(self) -> list[int]:
        groups = (self.mounts, self.placed, self.devices, self.proc)
        return [fd for group in groups for fd in group.values()]


def collect(spec: Spec, stub_proc: bool) -> Sources:
    """Open everything of the host that the child will see. Needs CAP_SYS_ADMIN here. Raises OSError, SandboxError."""
    # the devices are there for everybody, so this is also where a refusal by the kernel shows
    sources = Sources()
    sources.devices.update({name: _detached(f"/dev/{name}", _RDONLY | _NOSUID | _NOEXEC) for name in _DEVICES})
    for path in outermost(spec.readonly):
        if os.path.islink(path):
            sources.links[path] = os.readlink(path)
        else:
            with suppress(FileNotFoundError, PermissionError):  # what this user cannot reach, this Python does not need
                sources.mounts[path] = _detached(path, _RDONLY | _NOSUID | _NODEV)
    for inside, path in spec.placed.items():
        try:
            sources.placed[inside] = _detached(path, _RDONLY | _NOSUID | _NODEV)
        except FileNotFoundError as error:
            raise SandboxError(f"{path}, to be placed at {inside}, does not exist") from error
    for name in _PROC_STUB if stub_proc else ():
        with suppress(OSError):
            sources.proc[name] = _detached(f"/proc/{name}", _RDONLY | _NOSUID | _NODEV | _NOEXEC)
    return sources


def _detached(path: str, attributes: int) -> int:
    """A copy of the mount at `path` with all below it, attached nowhere, that hears nothing of the host's mounts."""
    flags = _OPEN_TREE_CLONE | AT_RECURSIVE | os.O_CLOEXEC
    fd = call("open_tree", AT_FDCWD, os.fsencode(path), flags)
    wanted = struct.pack("QQQQ", attributes, 0, _PRIVATE, 0)
    call("mount_setattr", fd, b"", AT_EMPTY_PATH | AT_RECURSIVE, wanted, len(wanted))
    return fd


def build(spec: Spec, sources: Sources, stub_proc: bool) -> None:
    """Make the new root and move into it; the host's is gone afterwards. In the child's own mount namespace only.

    Raises OSError and SandboxError, with a line that says which part failed.
    """
    _mount("none", "/", "", _REC | _PRIVATE)
    _mount("tmpfs", _STAGE, "tmpfs", _NOSUID | _NODEV, _ROOT_OPTIONS)
    os.mkdir(f"{_STAGE}/root")
    _mount("tmpfs", f"{_STAGE}/root", "tmpfs", _NOSUID | _NODEV, _ROOT_OPTIONS)
    root = _Root(os.open(f"{_STAGE}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    # the writable folders first: Python may be installed below one of them, and must not be covered
    _device_folder(root, spec, sources)
    root.tmpfs("/tmp", spec.tmp_mb, "1777")
    root.tmpfs(spec.work, spec.work_mb, "700")
    _host_parts(root, spec, sources)
    _proc(root, sources, stub_proc)
    _place(root, spec, sources)
    root.enter()
    os.chdir(spec.work)


def _host_parts(root: _Root, spec: Spec, sources: Sources) -> None:
    for path, text in sources.links.items():
        root.link(path, text)
    for path, fd in sources.mounts.items():
        root.attach(fd, path)
    for path in spec.masked:
        root.mask(path)


def _place(root: _Root, spec: Spec, sources: Sources) -> None:
    for path, fd in sources.placed.items():
        root.attach(fd, path)
    own = {path: text.format(work=spec.work) for path, text in _FILES.items()}
    for path, text in {**own, **spec.files}.items():
        root.write(path, text)


def _device_folder(root: _Root, spec: Spec, sources: Sources) -> None:
    root.folder("/dev")
    for name, fd in sources.devices.items():
        root.attach(fd, f"/dev/{name}")
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        root.link(f"/dev/{name}", f"/proc/self/{target}")
    root.tmpfs("/dev/shm", spec.shm_mb, "1777")
    with suppress(SandboxError):  # comfort ("!command" wants a terminal), not protection
        root.mount("/dev/pts", "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666,mode=620")
        root.link("/dev/ptmx", "pts/ptmx")


def _proc(root: _Root, sources: Sources, stub: bool) -> None:
    if not stub:
        root.mount("/proc", "proc", _NOSUID | _NODEV | _NOEXEC | _RDONLY)
        return
    root.folder("/proc")
    for name, fd in sources.proc.items():
        root.attach(fd, f"/proc/{name}")


class _Root:
    """The root that is being built, reached through one open folder."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._empty_made = False

    def open(self, path: str) -> int:
        """The file or folder at `path` inside, to be used as a place. Raises FileNotFoundError when it is missing."""
        how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGIC)
        return call("openat2", self._fd, os.fsencode(path), how, len(how))

    def folder(self, path: str) -> None:
        """Make the folder and those around it, where missing."""
        with suppress(FileNotFoundError):
            os.close(self.open(path))
            return
        around, name = os.path.split(path.rstrip("/"))
        self.folder(around)
        with _Closing(self.open(around)) as parent:
            os.mkdir(name, 0o755, dir_fd=parent)

    def link(self, path: str, text: str) -> None:
        around, name = os.path.split(path)
        self.folder(around)
        with _Closing(self.open(around)) as parent:
            os.symlink(text, name, dir_fd=parent)

    def write(self, path: str, text: str) -> None:
        """A text file; over an existing one, which may be read-only, it is bound."""
        with suppress(FileNotFoundError):
            os.close(self.open(path))
            spare = f"{_STAGE}/{len(os.listdir(_STAGE))}"
            _write(os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), text)
            self.attach(_detached(spare, _RDONLY | _NOSUID | _NODEV), path)
            return
        self._file(path, text)

    def _file(self, path: str, text: str) -> None:
        around, name = os.path.split(path)
        self.folder(around)
        with _Closing(self.open(around)) as parent:
            _write(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=parent), text)

    def attach(self, fd: int, path: str) -> None:
        """Put the detached mount at `path`, made where missing; the mount's file is closed. Raises SandboxError."""
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                self.folder(path)
            elif not self._is_there(path):
                self._file(path, "")
            with _Closing(self.open(path)) as target, _Closing(fd) as source:
                call("move_mount", source, b"", target, b"", _MOVE_FROM_FD | _MOVE_TO_FD)
        except OSError as error:
            raise SandboxError(f"{path} cannot be placed: {error.strerror}") from error

    def _is_there(self, path: str) -> bool:
        with suppress(FileNotFoundError):
            os.close(self.open(path))
            return True
        return False

    def mask(self, path: str) -> None:
        """Cover `path` by something empty; what is missing stays so."""
        if not self._is_there(path):
            return
        with _Closing(self.open(path)) as target:
            kind = "folder" if stat.S_ISDIR(os.fstat(target).st_mode) else "file"
        self.attach(_detached(f"{self._empty()}/{kind}", _RDONLY | _NOSUID | _NODEV | _NOEXEC), path)

    def _empty(self) -> str:
        folder = f"{_STAGE}/empty"
        if not self._empty_made:
            os.makedirs(f"{folder}/folder")
            _write(os.open(f"{folder}/file", os.O_WRONLY | os.O_CREAT, 0o444), "")
            self._empty_made = True
        return folder

    def tmpfs(self, path: str, size_mb: int, mode: str) -> None:
        # files without content take memory as well: their number is limited with the size
        options = f"size={size_mb}m,nr_inodes={max(1024, size_mb * _INODES_PER_MB)},mode={mode}"
        self.mount(path, "tmpfs", _NOSUID | _NODEV, options)

    def mount(self, path: str, kind: str, flags: int, options: str = "") -> None:
        self.folder(path)
        with _Closing(self.open(path)) as target:
            os.fchdir(target)
        _mount(kind, ".", kind, flags, options, path)

    def enter(self) -> None:
        """Read-only from here on; the old root is stacked under it and let go, with all that is mounted there."""
        os.fchdir(self._fd)
        attributes = struct.pack("QQQQ", _RDONLY | _NOSUID | _NODEV, 0, 0, 0)
        call("mount_setattr", self._fd, b"", AT_EMPTY_PATH, attributes, len(attributes))
        call("pivot_root", b".", b".")
        call("umount2", b".", _DETACH)
        os.chdir("/")
        os.close(self._fd)


class _Closing:
    """An open file that is closed at the end of the block."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _write(fd: int, text: str) -> None:
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "", shown: str = "") -> None:
    """`target` is a path, or "." where the current folder is the place that `shown` names."""
    try:
        call("mount", source.encode(), os.fsencode(target), kind.encode() or None, flags, options.encode())
    except OSError as error:
        raise SandboxError(f"mounting {kind or 'the old root as private'} at {shown or target}: {error}") from error
