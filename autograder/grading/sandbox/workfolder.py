"""The rungs without mounts: a work folder on the host, and which host paths may be read."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator

from autograder.grading.sandbox.namespaces import NOBODY
from autograder.grading.sandbox.spec import SandboxError, Spec, lies_under, outermost


def make(spec: Spec, private: bool) -> str:
    """A new folder with `tmp` and those of `spec.files` that lie under `spec.work`. `private`: for the user nobody when
    this is root. Raises SandboxError when it cannot be made."""
    folder = tempfile.mkdtemp(prefix="autograder-")
    try:
        os.mkdir(f"{folder}/tmp")
        for path, text in spec.files.items():
            if lies_under(path, spec.work):
                _write(folder + path.removeprefix(spec.work.rstrip("/")), text)
        if private and os.geteuid() == 0:
            for current, _, files in os.walk(folder):
                for one in (current, *(os.path.join(current, name) for name in files)):
                    os.chown(one, NOBODY, NOBODY)
    except OSError as error:
        remove(folder)
        raise SandboxError(f"the work folder: {error}") from error
    return folder


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)


def visible(spec: Spec) -> Iterator[str]:
    """The host paths of `readonly` and `placed` that exist, no links. Raises SandboxError for one that cannot be reached,
    as a Python in root's home by nobody."""
    for path in (*outermost(spec.readonly), *spec.placed.values()):
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        try:
            if not stat.S_ISLNK(os.lstat(real).st_mode):
                os.close(os.open(real, os.O_PATH))
                yield real
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise SandboxError(
                f"{path} cannot be reached by the user that students' code runs as: "
                "install Python where everybody may read it, or grade as the user it belongs to"
            ) from error


def remove(folder: str) -> None:
    """Remove the folder whatever a child left in it: locked or endlessly nested folders, links (never followed).

    Raises OSError when something in it cannot be removed, as when a process is still adding to it.
    """
    top = _open_folder(folder)
    try:
        while folders := _remove_files(top):
            for name in folders:
                _remove_folder(top, name)
    finally:
        os.close(top)
    os.rmdir(folder)


def _open_folder(name: str, parent: int | None = None) -> int:
    """Unlocked and open. Never through a link, also when one takes the folder's place in between."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{place}", 0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)


def _remove_files(fd: int) -> list[str]:
    """Remove all but the folders in the open folder; their names."""
    with os.scandir(fd) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_folder in entries:
        if not is_folder:
            os.unlink(name, dir_fd=fd)
    return [name for name, is_folder in entries if is_folder]


def _remove_folder(top: int, name: str) -> None:
    """Its own folders are brought up to the top first, so that no depth is too much."""
    inner = _open_folder(name, top)
    try:
        for one in _remove_files(inner):
            os.close(_open_folder(one, inner))  # moving a folder needs the right to write in it
            os.rename(one, os.urandom(8).hex(), src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)
