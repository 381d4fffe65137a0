"""What a confined child may see and use: plain data, and the paths that any Python child needs."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: from the strongest to the weakest
RUNGS = ("full", "full-stub-proc", "confined", "none")
#: the rungs with namespaces and a root of their own
NAMESPACED = ("full", "full-stub-proc")

#: of the system, for interpreters, shells, fonts, certificates and the time zone; harmless to read everywhere
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/sys/devices/system/cpu",
)


class SandboxError(RuntimeError):
    """A child could not be confined, so nothing was run in it. The text is one line that names the layer."""


@dataclass(frozen=True)
class Limits:
    """Per process, but `processes`, which counts those of one sandbox (threads included). Sizes are MB (2**20 bytes).

    `file_mb` is the size of one file, `cpu_s` CPU seconds of one process: SIGXCPU there, SIGKILL a second later.
    """

    address_space_mb: int = 6144
    processes: int = 64
    file_mb: int = 32
    cpu_s: int = 120
    open_files: int = 256


@dataclass(frozen=True)
class Spec:
    """What a confined child sees. All paths are absolute; sizes are MB.

    `readonly`: host paths visible at the same path; missing ones are skipped, symbolic links are copied as links. Socket
    files in them can be connected to: name none that hold any.
    `masked`: paths that appear as an empty read-only file or folder. `placed`: path inside → host path bound there
    read-only, also over something in `readonly`. `files`: path inside → text. `work`: the folder that the child starts
    in and calls home. They are applied in this order: `readonly`, `masked`, `placed`, `files`. `programs`: may other
    programs be started (execve)?

    On the rung `confined`, which has no mounts, masked paths and the inside paths of `placed` cannot be opened at all
    (their names can be listed), a placed host path is readable where it lies, of `files` only those under `work` exist,
    the work folder is a new temporary folder of the host, which $HOME names, and no size limits folders.
    """

    readonly: tuple[str, ...] = ()
    placed: Mapping[str, str] = field(default_factory=dict)
    masked: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    work: str = "/work"
    work_mb: int = 64
    tmp_mb: int = 64
    shm_mb: int = 64
    programs: bool = True
    limits: Limits = field(default_factory=Limits)


def lies_under(path: str, folder: str) -> bool:
    """Is `path` the folder itself or something in it? By name only."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths without those that lie under another one, shortest first."""
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda one: (one.count("/"), one)):
        # what lies under a link is visible only where the link points to
        if not any(lies_under(path, folder) and not os.path.islink(folder) for folder in kept):
            kept.append(path)
    return tuple(kept)


def python_paths() -> tuple[str, ...]:
    """What a child of this Python needs to see: the system's libraries, the installation, site-packages, loaded libraries.

    Neither the project's root nor the home folder: a virtual environment inside the project appears alone. Raises
    SandboxError when the environment is the course folder itself, which would show everything.
    """
    own: set[str] = {
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        sys.base_exec_prefix,
        *_site_folders(),
        *_library_folders(),
    }
    found = outermost(
        one for path in (*_SYSTEM, *own) for one in (path, os.path.realpath(path)) if os.path.lexists(one)
    )
    for path in own:
        _refuse_course(path)
    return found


def _site_folders() -> list[str]:
    # sys.path may also name the project (an editable installation): only folders that hold installed packages count
    return [path for path in (*sys.path, site.getusersitepackages()) if Path(path).name.endswith("-packages")]


def _library_folders() -> set[str]:
    """Folders of the shared libraries loaded now, where the kernel tells."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    names = (line.split(maxsplit=5)[5] for line in lines if line.count("/") and len(line.split(maxsplit=5)) == 6)
    return {os.path.dirname(name) for name in names if name.startswith("/") and ".so" in os.path.basename(name)}


def _refuse_course(path: str) -> None:
    home, here = os.path.expanduser("~"), os.getcwd()
    project = str(Path(__file__).resolve().parents[3])
    holds_project = lies_under(project, path) and (Path(project) / "course" / "course.toml").exists()
    holds_marks = lies_under(here, path) and (Path(here) / "gradebook.db").exists()
    if holds_project or holds_marks or lies_under(home, path):
        raise SandboxError(
            f"Python lies in {path}, which also holds the course or a home folder: students would see them; "
            "make a virtual environment in a folder of its own, such as .venv, and grade with that"
        )
