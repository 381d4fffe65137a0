"""Find the notebook among the files that were handed in, and read its bytes.

Files come from students: links are not followed, only regular files are opened (a pipe would block for ever), sizes and
counts are bounded, and nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import os
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from autograder.grading.submission_json import MAX_BYTES, Unreadable

MAX_TRIED = 5  # notebooks of one submission that are opened
MAX_ENTRIES = 2_000  # of one folder or archive
MAX_FOLDERS = 50  # inside the submission's folder
MAX_RATIO = 200  # of an archive's member; a real notebook is packed 3 to 50 times smaller
_LISTED = 5

_EXACT, _SAME_NAME, _COPY, _CONTAINS, _OTHER = range(5)
_COPY_MARK = re.compile(r"(?:\s*\(\d+\)|[\s_-]+(?:copy|kopie|copie)(?:\s?\d+)?)++$")
#: What nbgrader keeps beside a notebook: formgrader compares the time, `nbgrader release_feedback` needs the secret.
COMPANIONS = ("timestamp.txt", "submission_secret.txt")
#: Folders and files that programs leave behind; nobody means to hand them in.
_LEFT_BEHIND = ("__macosx", "__pycache__", "thumbs.db", "desktop.ini", *COMPANIONS)


@dataclass(frozen=True)
class Candidate:
    """A file that may be the notebook. `parts`: path below the folder; `member`: name inside that archive, or "".

    `rank`: how well the name fits, 0 is best.
    """

    rank: int
    parts: tuple[str, ...]
    member: str = ""

    @property
    def name(self) -> str:
        return "/".join((*self.parts, self.member) if self.member else self.parts)

    @property
    def order(self) -> tuple[int, int, str]:
        """Better names first, then those less deep."""
        return self.rank, self.name.count("/"), self.name


@dataclass
class Listing:
    """Candidates, best first; `problem`: one line if the folder itself cannot be read."""

    candidates: list[Candidate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problem: str = ""


def find(folder: Path, name: str) -> Listing:
    """List what may be the notebook `<name>.ipynb`: in `folder`, one folder below it, or in a zip archive."""
    listing = Listing()
    ignored: list[str] = []
    try:
        folders = _survey(folder, (), name, listing, ignored)
    except FileNotFoundError:
        listing.problem = "nothing was handed in"
        return listing
    except OSError as error:
        listing.problem = f"the submission's folder cannot be read ({error.strerror})"
        return listing
    if len(folders) > MAX_FOLDERS:
        listing.notes.append(f"only the first {MAX_FOLDERS} folders were looked into")
    for inner in folders[:MAX_FOLDERS]:
        try:
            deeper = _survey(folder, (inner,), name, listing, ignored)
        except OSError as error:
            listing.notes.append(f"the folder {shown(inner)} cannot be read ({error.strerror})")
        else:
            ignored += [f"{inner}/{one}" for one in deeper]
    if ignored:
        more = f" and {len(ignored) - _LISTED} more" if len(ignored) > _LISTED else ""
        names = ", ".join(shown(one) for one in sorted(ignored)[:_LISTED])
        listing.notes.append(f"only the notebook counts; ignored: {names}{more}")
    listing.candidates.sort(key=lambda one: one.order)
    return listing


def read_bytes(folder: Path, candidate: Candidate) -> bytes:
    """The candidate's bytes. Raises Unreadable, with one line."""
    data = _read_file(folder, candidate.parts)
    return _read_member(data, candidate.member) if candidate.member else data


def shown(name: str) -> str:
    """A file name that a student chose, for a message: one line, printable, not long."""
    clean = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return clean if len(clean) <= 80 else f"{clean[:60]}…{clean[-19:]}"


# ----- folders -----------------------------------------------------------------------------------------------------


def _survey(root: Path, parts: tuple[str, ...], name: str, listing: Listing, ignored: list[str]) -> list[str]:
    """Add a folder's candidates and remarks to `listing`; return the names of the folders inside it."""
    folders = []
    with _folder(root, parts) as descriptor:
        entries = _entries(descriptor, listing)
    for entry, mode in entries:
        path = (*parts, entry)
        if entry.startswith(".") or entry.casefold() in _LEFT_BEHIND:
            continue
        if stat.S_ISDIR(mode):
            folders.append(entry)
        elif stat.S_ISLNK(mode):
            listing.notes.append(f"{shown('/'.join(path))} is a symbolic link: it was not followed")
        elif not stat.S_ISREG(mode):
            listing.notes.append(f"{shown('/'.join(path))} is not a regular file: it was ignored")
        elif entry.casefold().endswith(".ipynb"):
            listing.candidates.append(Candidate(_rank(entry, name), path))
        elif entry.casefold().endswith(".zip"):
            listing.candidates += _members(root, path, name, listing)
        else:
            ignored.append("/".join(path))
    return folders


def _entries(descriptor: int, listing: Listing) -> list[tuple[str, int]]:
    """Names and modes in a folder, sorted by name; links are not followed."""
    found: list[tuple[str, int]] = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if len(found) == MAX_ENTRIES:
                listing.notes.append(f"only {MAX_ENTRIES:,} files of a folder were looked at")
                break
            try:
                found.append((entry.name, entry.stat(follow_symlinks=False).st_mode))
            except OSError:  # gone in the meantime
                continue
    return sorted(found)


def _rank(file_name: str, name: str) -> int:
    """How well a file's name fits. Letters with accents may be one character or two (macOS writes two)."""
    if len(file_name) > 255:  # archives allow it, file systems do not
        return _OTHER
    stem, wanted = (unicodedata.normalize("NFC", one) for one in (file_name[: -len(".ipynb")], name))
    if file_name == f"{name}.ipynb":
        return _EXACT
    stem, wanted = stem.strip().casefold(), wanted.casefold()
    if stem == wanted:
        return _SAME_NAME
    if _COPY_MARK.sub("", stem) == wanted:
        return _COPY
    return _CONTAINS if wanted in stem else _OTHER


@contextmanager
def _folder(root: Path, parts: tuple[str, ...]) -> Iterator[int]:
    """An open descriptor of a folder below `root`, reached without following a link. Raises OSError."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _read_file(root: Path, parts: tuple[str, ...]) -> bytes:
    # the file may have become something else since it was listed: what was opened is looked at again
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        with _folder(root, parts[:-1]) as descriptor:
            handle = os.open(parts[-1], flags, dir_fd=descriptor)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("it is not a regular file")
            if status.st_size > MAX_BYTES:
                raise Unreadable(_too_large(status.st_size))
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"the file cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise Unreadable(_too_large(len(data)))
    return data


def _too_large(size: int) -> str:
    limit = MAX_BYTES // 1_000_000
    return f"the file has {size / 1e6:.0f} MB, more than {limit} MB: clear its outputs and hand it in again"


# ----- archives ----------------------------------------------------------------------------------------------------


def _members(root: Path, path: tuple[str, ...], name: str, listing: Listing) -> list[Candidate]:
    """Notebooks in an archive, at most one folder deep. Its names are never used as paths."""
    try:
        with _archive(_read_file(root, path)) as archive:
            infos = archive.infolist()
    except Unreadable as error:
        listing.notes.append(f"{shown('/'.join(path))}: {error}")
        return []
    found = []
    for info in infos:
        *folders, file_name = info.filename.replace("\\", "/").split("/")
        hidden = any(one.startswith(".") or one.casefold() in _LEFT_BEHIND for one in (*folders, file_name))
        if file_name.casefold().endswith(".ipynb") and len(folders) <= 1 and not hidden:
            found.append(Candidate(_rank(file_name, name), path, info.filename))
    if not found:
        listing.notes.append(f"{shown('/'.join(path))} holds no notebook")
    return found


def _archive(data: bytes) -> zipfile.ZipFile:
    # zipfile reads the whole directory of an archive at once: count its records first
    if data.count(b"PK\x01\x02") > MAX_ENTRIES:
        raise Unreadable(f"the archive has more than {MAX_ENTRIES:,} members")
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:  # zipfile raises many kinds for a broken archive
        raise Unreadable(f"the archive cannot be read ({type(error).__name__})") from None


def _read_member(data: bytes, member: str) -> bytes:
    with _archive(data) as archive:
        try:
            info = archive.getinfo(member)
            _check_member(info)
            with archive.open(info) as file:
                content = file.read(MAX_BYTES + 1)  # the size in the directory may be a lie
        except Unreadable:
            raise
        except Exception as error:  # zipfile and zlib raise many kinds for a broken member
            raise Unreadable(f"the archive cannot be read ({type(error).__name__})") from None
    if len(content) > MAX_BYTES:
        raise Unreadable(_too_large(len(content)))
    return content


def _check_member(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 1:
        raise Unreadable("the archive is encrypted: hand in the notebook itself")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others may ask for gigabytes to unpack
        raise Unreadable("the archive is packed in an unusual way: hand in the notebook itself")
    if info.file_size > MAX_BYTES:
        raise Unreadable(_too_large(info.file_size))
    if info.file_size > MAX_RATIO * max(info.compress_size, 1):
        raise Unreadable("the archive unpacks to far more than its size: hand in the notebook itself")
