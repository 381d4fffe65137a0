"""Wrong names, several files, folders, archives, links, pipes and unreadable places."""

from __future__ import annotations

import io
import os
import shutil
import socket
import struct
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from handed_in import FILE, NAME, folder_with, read_folder

from autograder.grading.assignment import Assignment
from autograder.grading.submission import Submission, read_submission
from autograder.grading.submission_files import find, read_bytes
from autograder.grading.submission_json import Unreadable


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_the_right_file_alone_draws_no_remark(
    data: bytes, tmp_path: Path, assignment: Assignment, honest: Submission
) -> None:
    left_behind = {
        "timestamp.txt": b"now",
        "submission_secret.txt": b"s",
        f".ipynb_checkpoints/{NAME}-checkpoint.ipynb": data,
        ".DS_Store": b"x",
    }
    submission = read_folder(folder_with(tmp_path, {FILE: data, **left_behind}), assignment)
    assert (submission.notes, submission.digest, submission.answers) == ((), honest.digest, honest.answers)


@pytest.mark.parametrize(
    "name",
    [
        "05_Adam_AdamW.IPYNB",
        f"{NAME} (1).ipynb",
        f"{NAME}-Copy1.ipynb",
        f"{NAME} - Copy (2).ipynb",
        f"alice_{NAME}_final.ipynb",
        f"{NAME}-Copy1-Copy2.ipynb",
        f"{NAME}_copy 2 (1).ipynb",
        "Untitled.ipynb",
        f"inner/{FILE}",
        "inner/Untitled3.ipynb",
        "übung\n<b>.ipynb",
    ],
)
def test_one_notebook_of_another_name_is_graded_and_said(
    name: str, data: bytes, tmp_path: Path, assignment: Assignment, honest: Submission
) -> None:
    submission = read_folder(folder_with(tmp_path, {name: data}), assignment)
    assert (submission.answers, submission.digest) == (honest.answers, honest.digest)
    (note,) = submission.notes
    assert note == f"{name.replace(chr(10), chr(0xFFFD))} is graded; the name asked for is {FILE}"


def test_long_names_are_cut_and_quick(data: bytes, tmp_path: Path, assignment: Assignment) -> None:
    submission = read_folder(folder_with(tmp_path, {f"{'-copy' * 40}x.ipynb": data}), assignment)
    assert submission.notes == (f"{'-copy' * 12}…py-copy-copyx.ipynb is graded; the name asked for is {FILE}",)


def test_names_with_accents_are_compared_as_read(
    data: bytes, tmp_path: Path, assignment: Assignment, root: Path
) -> None:
    composed = unicodedata.normalize("NFC", "übung")
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    untouched = (root / "release" / NAME / FILE).read_bytes()
    folder = folder_with(tmp_path, {f"{decomposed}.ipynb": untouched, "other.ipynb": data})
    submission = read_folder(folder, replace(assignment, name=composed))
    assert "NotImplementedError" in submission.answers["adam-step-solution"]  # the name decides, not who did more
    assert submission.notes == (f"several notebooks were handed in: {decomposed}.ipynb is graded, not other.ipynb",)


@pytest.mark.parametrize(
    ("best", "others"),
    [
        (FILE, [f"{NAME}-Copy1.ipynb", "scratch.ipynb", f"inner/{FILE}"]),
        ("05_ADAM_adamw.ipynb", [f"{NAME} (1).ipynb", "a.ipynb"]),
        (f"{NAME} (1).ipynb", [f"a {NAME}.ipynb", "a.ipynb"]),
        (f"{NAME} - Copy (2).ipynb", [f"a {NAME}.ipynb", "a.ipynb"]),
        (f"{NAME}-Copy1.ipynb", [f"a {NAME}.ipynb", "a.ipynb"]),
        (f"my {NAME}.ipynb", ["a.ipynb", "inner/b.ipynb"]),
        ("a.ipynb", ["inner/b.ipynb"]),
        (f"inner/{FILE}", ["a.ipynb"]),
    ],
)
def test_of_several_notebooks_the_best_name_is_graded_and_all_are_listed(
    best: str, others: list[str], data: bytes, tmp_path: Path, assignment: Assignment, root: Path, honest: Submission
) -> None:
    untouched = (root / "release" / NAME / FILE).read_bytes()
    files = {best: data, **dict.fromkeys(others, untouched)}
    submission = read_folder(folder_with(tmp_path, files), assignment)
    assert submission.answers == honest.answers
    (note,) = submission.notes
    assert note.startswith(f"several notebooks were handed in: {best} is graded, not ")
    assert all(other in note for other in others)


def test_of_equally_good_names_the_one_worked_on_is_graded(
    data: bytes, tmp_path: Path, assignment: Assignment, root: Path, honest: Submission
) -> None:
    untouched = (root / "release" / NAME / FILE).read_bytes()
    files = {"a.ipynb": untouched, "b.ipynb": data, "c.ipynb": b"{}", "d.ipynb": untouched}
    submission = read_folder(folder_with(tmp_path, files), assignment)
    assert submission.answers == honest.answers
    assert "several notebooks were handed in: b.ipynb is graded, not a.ipynb, c.ipynb, d.ipynb" in submission.notes
    assert any(note.startswith("c.ipynb: the file is not a notebook") for note in submission.notes)


def test_an_unreadable_notebook_leaves_the_next_best(
    data: bytes, tmp_path: Path, assignment: Assignment, honest: Submission
) -> None:
    submission = read_folder(folder_with(tmp_path, {FILE: b"", f"{NAME}-Copy1.ipynb": data}), assignment)
    assert submission.answers == honest.answers
    assert f"{FILE}: the file is empty" in submission.notes


def test_files_named_like_modules_are_ignored_and_said(
    data: bytes, tmp_path: Path, assignment: Assignment, honest: Submission
) -> None:
    files = {FILE: data, "torch.py": b"raise SystemExit", "conftest.py": b"", "autograder/__init__.py": b"1/0"}
    submission = read_folder(folder_with(tmp_path, files), assignment)
    assert submission.digest == honest.digest
    assert submission.notes == ("only the notebook counts; ignored: autograder/__init__.py, conftest.py, torch.py",)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, f"there is no notebook: hand in {FILE}"),
        ({"solution.py": b"x = 1"}, f"there is no notebook: hand in {FILE}"),
        ({f"a/b/{FILE}": b"{}"}, f"there is no notebook: hand in {FILE}"),
        ({FILE: b""}, "the file is empty"),
        ({FILE: b"{}", "a.ipynb": b""}, "the file is not a notebook: it has no list of cells"),
    ],
)
def test_nothing_to_read_is_one_line(
    files: dict[str, bytes], problem: str, tmp_path: Path, assignment: Assignment
) -> None:
    submission = read_folder(folder_with(tmp_path, files), assignment)
    assert submission.problem == problem
    assert submission.notebook == assignment.notebook


def test_a_folder_that_is_none(tmp_path: Path, assignment: Assignment) -> None:
    assert read_folder(tmp_path / "missing", assignment).problem == "nothing was handed in"
    (tmp_path / "file").write_text("x")
    assert read_folder(tmp_path / "file", assignment).problem.startswith("the submission's folder cannot be read")


def test_a_file_of_200_mb_is_not_read(tmp_path: Path, assignment: Assignment) -> None:
    with (tmp_path / FILE).open("wb") as file:
        file.truncate(200_000_000)
    assert read_folder(tmp_path, assignment).problem == (
        "the file has 200 MB, more than 20 MB: clear its outputs and hand it in again"
    )


# ----- what is not a regular file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["file", "folder", "missing", "loop", "device"])
def test_links_are_not_followed(target: str, data: bytes, tmp_path: Path, assignment: Assignment) -> None:
    elsewhere = folder_with(tmp_path / "elsewhere", {FILE: data})
    folder = folder_with(tmp_path / "submitted", {})
    targets = {"file": elsewhere / FILE, "missing": tmp_path / "no", "loop": folder / FILE, "device": Path("/dev/zero")}
    link = folder / ("inner" if target == "folder" else FILE)
    link.symlink_to(targets.get(target, elsewhere))
    submission = read_folder(folder, assignment)
    assert submission.answers == {}
    assert submission.notes == (f"{link.name} is a symbolic link: it was not followed",)


def test_a_folder_that_becomes_a_link_is_not_followed(data: bytes, tmp_path: Path) -> None:
    """The folder is swapped between listing and reading."""
    folder = folder_with(tmp_path / "submitted", {f"inner/{FILE}": data})
    (candidate,) = find(folder, NAME).candidates
    assert read_bytes(folder, candidate) == data
    (folder / "inner").rename(tmp_path / "moved")
    (folder / "inner").symlink_to(tmp_path / "moved")
    with pytest.raises(Unreadable, match="cannot be read"):
        read_bytes(folder, candidate)
    (folder / "inner").unlink()
    (folder / "inner").mkdir()
    (folder / "inner" / FILE).symlink_to(tmp_path / "moved" / FILE)
    with pytest.raises(Unreadable, match="cannot be read"):
        read_bytes(folder, candidate)
    (folder / "inner" / FILE).unlink()
    os.mkfifo(folder / "inner" / FILE)
    with pytest.raises(Unreadable, match="not a regular file"):
        read_bytes(folder, candidate)


def test_pipes_sockets_and_devices_do_not_block(data: bytes, tmp_path: Path, assignment: Assignment) -> None:
    os.mkfifo(tmp_path / FILE)
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # a socket's path is short
        try:
            server.bind("a.ipynb")
        finally:
            os.chdir(here)
        submission = read_folder(tmp_path, assignment)
    assert submission.problem == f"there is no notebook: hand in {FILE}"
    assert submission.notes == (
        f"{FILE} is not a regular file: it was ignored",
        "a.ipynb is not a regular file: it was ignored",
    )


@pytest.fixture
def not_root() -> Iterator[Path]:
    """A folder that an ordinary user can reach, and that user's rights (root may read everything)."""
    folder = Path(tempfile.mkdtemp())
    user = os.geteuid()
    folder.chmod(0o755)
    try:
        if user == 0:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield folder
    finally:
        if user == 0:
            os.seteuid(0)
        for one in folder.rglob("*"):
            one.chmod(0o700)
        shutil.rmtree(folder)


def test_unreadable_folders_and_files_are_said(
    not_root: Path, data: bytes, assignment: Assignment, honest: Submission
) -> None:
    folder = folder_with(not_root / "submitted", {FILE: data, "a.ipynb": data, "inner/b.ipynb": data})
    (folder / "inner").chmod(0)
    submission = read_folder(folder, assignment)
    assert submission.digest == honest.digest
    assert "the folder inner cannot be read (Permission denied)" in submission.notes
    (folder / FILE).chmod(0)
    submission = read_folder(folder, assignment)
    assert submission.digest == honest.digest
    assert f"{FILE}: the file cannot be read (Permission denied)" in submission.notes
    folder.chmod(0)
    assert read_folder(folder, assignment).problem == "the submission's folder cannot be read (Permission denied)"


def test_names_that_are_no_text_and_very_many_files(
    data: bytes, tmp_path: Path, assignment: Assignment, honest: Submission
) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe.ipynb")).write_bytes(data)
    submission = read_folder(tmp_path, assignment)
    assert submission.digest == honest.digest
    assert submission.notes[0].encode("utf-8")
    for number in range(3_000):
        (tmp_path / f"{number}.txt").touch()
    assert len(read_folder(tmp_path, assignment).notes) <= 4


# ----- archives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [FILE, f"inner/{FILE}", f"inner\\{FILE}", f"../{FILE}", f"/{FILE}", f"{NAME} (1).ipynb"]
)
def test_a_notebook_in_an_archive_is_read_without_unpacking(
    name: str, data: bytes, tmp_path: Path, assignment: Assignment, honest: Submission
) -> None:
    archive = zipped({name: data, f"__MACOSX/._{FILE}": b"x", "inner/readme.txt": b"x"})
    folder = folder_with(tmp_path / "submitted", {"work.zip": archive})
    before = sorted(tmp_path.rglob("*"))
    submission = read_folder(folder, assignment)
    if name.startswith("../"):  # hidden or climbing names are nobody's notebook
        assert submission.problem == f"there is no notebook: hand in {FILE}"
    else:
        assert submission.digest == honest.digest
        assert submission.notes[0].startswith("work.zip/")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_is_preferred_to_an_archive(
    data: bytes, tmp_path: Path, assignment: Assignment, honest: Submission
) -> None:
    folder = folder_with(tmp_path, {FILE: data, "work.zip": zipped({FILE: b"{}"})})
    submission = read_folder(folder, assignment)
    assert submission.digest == honest.digest
    assert submission.notes == (f"several notebooks were handed in: {FILE} is graded, not work.zip/{FILE}",)


def _lying(data: bytes) -> bytes:
    """An archive whose directory says that a member of 60 MB has 100 bytes."""
    whole = bytearray(zipped({FILE: data + b" " * 60_000_000}))
    struct.pack_into("<I", whole, whole.rindex(b"PK\x01\x02") + 24, 100)
    struct.pack_into("<I", whole, 22, 100)
    return bytes(whole)


def _encrypted(data: bytes) -> bytes:
    whole = bytearray(zipped({FILE: data}))
    struct.pack_into("<H", whole, whole.rindex(b"PK\x01\x02") + 8, 1)
    return bytes(whole)


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (lambda data: b"PK", "work.zip: the archive cannot be read (BadZipFile)"),
        (lambda data: zipped({FILE: data})[:-40], "work.zip: the archive cannot be read (BadZipFile)"),
        (lambda data: zipped({"a.txt": b""}), "work.zip holds no notebook"),
        (lambda data: zipped({str(n): b"" for n in range(2_001)}), "work.zip: the archive has more than 2,000 members"),
        (lambda data: zipped({FILE: b" " * 300_000_000}), "the file has 300 MB"),
        (lambda data: zipped({FILE: b" " * 19_000_000}), "unpacks to far more than its size"),
        (_lying, "the archive cannot be read"),
        (_encrypted, "the archive is encrypted: hand in the notebook itself"),
        (lambda data: zipped({FILE: data}, zipfile.ZIP_LZMA), "packed in an unusual way"),
        (lambda data: zipped({FILE: data}).replace(data[:1], b"?", 1), ""),
    ],
    ids=["empty", "cut", "none", "many", "bomb", "ratio", "lying", "encrypted", "lzma", "damaged"],
)
def test_bad_archives_are_one_line(
    archive: object, says: str, data: bytes, tmp_path: Path, assignment: Assignment
) -> None:
    content = archive(data)  # type: ignore[operator]
    submission = read_folder(folder_with(tmp_path, {"work.zip": content}), assignment)
    assert submission.answers == {} or not says
    assert says in " ".join((submission.problem, *submission.notes))
    assert "\n" not in submission.problem


def test_a_mistake_in_reading_costs_one_submission(tmp_path: Path, assignment: Assignment) -> None:
    """The last line of defence: whatever goes wrong becomes that submission's problem."""
    submission = read_submission(tmp_path / "nul\0name", assignment, "ada")
    assert submission.problem == "reading the submission failed (ValueError)"
    assert (submission.student, submission.answers) == ("ada", {})
