"""What a confined child can read, write and fill."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from zygotes import NOBODY, PLAIN, SYSTEM, in_fork, inside, look, outcome, refuse_here, seeing

from autograder.grading.sandbox import SandboxError, Spec, become_zygote, python_paths, workfolder


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path: str, size: int = 1) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(fd, b"x" * size)
    finally:
        os.close(fd)


@pytest.fixture
def secrets(open_folder: Path) -> list[str]:
    """Files that everybody may read, by their modes: another submission, a gradebook."""
    made = []
    for name in ("submitted/ana/week-1.py", "gradebook.db"):
        file = open_folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("secret")
        file.chmod(0o666)
        made.append(str(file))
    return made


def test_secrets_cannot_be_read(rung: str, user: int | None, secrets: list[str], root: Path) -> None:
    files = [*secrets, str(root / "pyproject.toml"), "/etc/shadow", "/root/.bashrc", "/etc/hostname"]
    folders = [os.path.dirname(secrets[0]), str(root), str(root / "source"), "/root", "/home", "/var/tmp", "/etc/ssl"]

    def probe() -> dict[str, str]:
        return {
            **{path: outcome(read, path) for path in files},
            **{path: outcome(os.listdir, path) for path in folders},
        }

    found = look(rung, probe, user=user)
    assert "ok" not in found.values(), found
    # with a root of one's own such a path is not refused, it does not exist
    if rung != "confined":
        assert set(found.values()) == {"ENOENT"}, found
    assert in_fork(lambda: [read(path) for path in secrets], user) == ["secret", "secret"]


def test_what_is_not_asked_for_is_not_in_the_root(own_root: str, user: int | None) -> None:
    assert set(look(own_root, lambda: os.listdir("/"), user=user)) <= {
        *("bin", "sbin", "lib", "lib64", "usr", "etc", "dev", "proc", "tmp", "work")
    }


def test_an_environment_inside_the_project_appears_alone(own_root: str, open_folder: Path) -> None:
    for name in ("source/answers.py", "env/lib/module.py"):
        (open_folder / name).parent.mkdir(parents=True)
        (open_folder / name).write_text("text")
    spec = seeing(str(open_folder / "env"))

    def probe() -> list[object]:
        return [os.listdir(open_folder), read(str(open_folder / "env/lib/module.py"))]

    assert look(own_root, probe, spec) == [["env"], "text"]


def test_roots_own_folders_can_be_shown_to_the_user_nobody(full: str, tmp_path: Path) -> None:
    """An environment below a folder that only root may enter, as pyenv makes them."""
    locked = tmp_path / "locked"
    (locked / "env").mkdir(parents=True)
    (locked / "env" / "module.py").write_text("text")
    locked.chmod(0o700)
    assert look(full, lambda: read(str(locked / "env/module.py")), seeing(str(locked / "env"))) == "text"


def test_writing_is_refused_everywhere_else(rung: str, user: int | None, open_folder: Path, root: Path) -> None:
    shown = open_folder / "shown"
    shown.mkdir(mode=0o777)
    shown.chmod(0o777)
    folders = ["/", "/etc", "/usr", "/usr/lib", "/dev", "/proc", "/var/tmp", str(root), str(shown), str(open_folder)]

    def probe() -> dict[str, str]:
        changes = {path: outcome(write, f"{path}/new") for path in folders}
        changes |= {f"folder in {path}": outcome(os.mkdir, f"{path}/new-folder") for path in folders}
        changes |= {f"link in {path}": outcome(os.symlink, "/", f"{path}/new-link") for path in folders}
        return changes

    found = look(rung, probe, seeing(str(shown)), user)
    assert "ok" not in found.values(), found
    assert os.listdir(shown) == []
    assert os.listdir(open_folder) == ["shown"]


def test_a_file_that_may_be_read_may_not_be_changed(rung: str, user: int | None, open_folder: Path) -> None:
    """Not even by the user it belongs to."""
    file = open_folder / "module.py"
    file.write_text("text")
    file.chmod(0o666)
    if os.geteuid() == 0:
        os.chown(file, NOBODY, NOBODY)
    before = file.stat()
    path = str(file)

    def probe() -> dict[str, str]:
        return {
            "write": outcome(write, path),
            "truncate": outcome(os.truncate, path, 0),
            "remove": outcome(os.unlink, path),
            "rename": outcome(os.rename, path, "mine"),
            "link": outcome(os.link, path, "mine"),
            "chmod": outcome(os.chmod, path, 0),
            "times": outcome(os.utime, path, (0, 0)),
            "attribute": outcome(os.setxattr, path, "user.x", b"1"),
        }

    found = look(rung, probe, seeing(str(open_folder)), user)
    assert "ok" not in found.values(), found
    after = file.stat()
    assert (after.st_mode, after.st_mtime, file.read_text()) == (before.st_mode, before.st_mtime, "text")


def test_mounts_are_read_only_without_landlock_too(own_root: str, open_folder: Path) -> None:
    """On a kernel that has no landlock the read-only root stands by itself."""
    (open_folder / "file").touch(mode=0o666)

    def task() -> object:
        refuse_here("landlock_create_ruleset", errno.ENOSYS)
        become_zygote()
        paths = ("/new", "/etc/new", f"{open_folder}/new", f"{open_folder}/file", "/usr/new", "/dev/new")
        return inside(own_root, seeing(str(open_folder)), lambda: [outcome(write, path) for path in paths])

    assert set(in_fork(task)) <= {"EROFS", "EACCES"}


def test_the_work_folder_and_the_temporary_one_can_be_written(rung: str, user: int | None) -> None:
    def probe() -> list[object]:
        write("mine")
        os.mkdir("folder")
        os.rename("mine", "folder/moved")
        write(f"{os.environ['TMPDIR']}/mine")
        return [os.getcwd() == os.environ["HOME"], os.listdir("folder"), os.listdir(os.environ["TMPDIR"])]

    assert look(rung, probe, user=user) == [True, ["moved"], ["mine"]]


def test_devices_work(rung: str, user: int | None) -> None:
    def probe() -> list[object]:
        with open("/dev/urandom", "rb") as random, open("/dev/zero", "rb") as zero, open("/dev/null", "wb") as null:
            return [len(random.read(8)), zero.read(2).hex(), null.write(b"x"), outcome(write, "/dev/full")]

    assert look(rung, probe, user=user) == [8, "0000", 1, "ENOSPC"]


def test_shared_memory_folder_and_terminals(own_root: str, user: int | None) -> None:
    def probe() -> list[object]:
        write("/dev/shm/mine")
        return [os.listdir("/dev/shm"), *[os.isatty(fd) for fd in os.openpty()]]

    assert look(own_root, probe, user=user) == [["mine"], True, True]


@pytest.mark.parametrize("folder", ["/work", "/tmp", "/dev/shm"])
def test_folders_have_sizes(full: str, folder: str) -> None:
    def probe() -> list[object]:
        written = 0
        for number in range(20):
            fd = os.open(f"{folder}/{number}", os.O_WRONLY | os.O_CREAT)
            try:
                for _ in range(16):
                    written += os.write(fd, bytes(1 << 20))
            except OSError as error:
                return [errno.errorcode[error.errno or 0], written >> 20]
            finally:
                os.close(fd)
        return ["no end", written >> 20]

    assert look(full, probe) == ["ENOSPC", 64]


def test_empty_files_fill_a_folder_too(full: str) -> None:
    def probe() -> list[object]:
        for number in range(5000):
            try:
                os.close(os.open(f"/tmp/{number}", os.O_CREAT))
            except OSError as error:
                return [errno.errorcode[error.errno or 0], number < 1100]
        return ["no end", False]

    assert look(full, probe, replace(PLAIN, tmp_mb=1)) == ["ENOSPC", True]


def test_links_lead_nowhere(own_root: str, secrets: list[str]) -> None:
    def probe() -> list[str]:
        os.symlink(secrets[0], "link")
        os.symlink("/../../../../.." + secrets[0], "climbing")
        os.symlink(f"/proc/1/root{secrets[0]}", "root")
        return [outcome(read, name) for name in ("link", "climbing", "root")]

    assert look(own_root, probe) == ["ENOENT"] * 3


@pytest.fixture
def library(open_folder: Path) -> Path:
    """Like an installed package: a module to hide, with its folder of bytecode, and another to see."""
    for name in ("package/optim/adam.py", "package/optim/__pycache__/adam.pyc", "package/nn/linear.py", "stub.py"):
        file = open_folder / "host" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"the real {file.name}")
    (open_folder / "host/package/link").symlink_to("optim")
    return open_folder / "host" / "package"


def masking(library: Path) -> Spec:
    return replace(
        seeing(str(library)),
        masked=(str(library / "optim/__pycache__"), str(library / "nn/linear.py"), str(library / "no such file")),
        placed={str(library / "optim/adam.py"): str(library.parent / "stub.py")},
        files={"/work/task/data.txt": "data", "/etc/note": "note"},
    )


def test_masked_placed_and_given_files(own_root: str, user: int | None, library: Path) -> None:
    spec = masking(library)
    spec = replace(spec, placed={**spec.placed, "/opt/new/stub.py": str(library.parent / "stub.py")})

    def probe() -> list[object]:
        names = ("optim/adam.py", "link/adam.py", "nn/linear.py")
        return [
            [read(str(library / name)) for name in names],
            os.listdir(library / "optim/__pycache__"),
            [read(path) for path in ("/opt/new/stub.py", "/work/task/data.txt", "/etc/note")],
            [outcome(write, str(library / name)) == "ok" for name in names],
            outcome(write, str(library / "optim/__pycache__/new")) == "ok",
        ]

    assert look(own_root, probe, spec, user) == [
        ["the real stub.py", "the real stub.py", ""],
        [],
        ["the real stub.py", "data", "note"],
        [False] * 3,
        False,
    ]


def test_masked_and_placed_without_mounts(confined: str, user: int | None, library: Path) -> None:
    """What is to be replaced or hidden cannot be opened, by any name; its neighbours can."""

    def probe() -> list[object]:
        hidden = ("optim/adam.py", "link/adam.py", "nn/linear.py", "optim/__pycache__/adam.pyc")
        return [
            [outcome(read, str(library / name)) for name in hidden],
            read(str(library.parent / "stub.py")),
            read("task/data.txt"),
            os.path.exists("/etc/note"),
        ]

    assert look(confined, probe, masking(library), user) == [["EACCES"] * 4, "the real stub.py", "data", False]
    (library / "nn/other.py").write_text("other")
    assert look(confined, lambda: read(str(library / "nn/other.py")), masking(library), user) == "other"


def test_a_file_can_be_given_over_one_of_the_host(own_root: str, library: Path) -> None:
    path = str(library / "nn/linear.py")
    assert look(own_root, lambda: read(path), replace(seeing(str(library)), files={path: "given"})) == "given"
    assert (library / "nn/linear.py").read_text() == "the real linear.py"


def test_users_and_hosts_are_made_up(own_root: str) -> None:
    def probe() -> list[object]:
        return [os.getuid(), read("/etc/passwd").split(":")[0], "localhost" in read("/etc/hosts"), os.uname().nodename]

    assert look(own_root, probe) == [1000, "student", True, "sandbox"]


def test_this_python_works_inside(own_root: str) -> None:
    spec = Spec(readonly=python_paths())

    def probe() -> list[object]:
        sys.modules.pop("colorsys", None)
        import colorsys  # from the library, read inside

        return [colorsys.rgb_to_hsv(1, 1, 1)[2], os.path.exists(os.path.realpath(sys.executable))]

    assert look(own_root, probe, spec) == [1, True]


def test_a_new_interpreter_starts_inside(full: str) -> None:
    def probe() -> int:
        return os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", "import json; open('made', 'w').close()"])

    spec = Spec(readonly=python_paths())
    assert look(full, lambda: [probe(), os.path.exists("made")], spec) == [0, True]


def test_python_paths_leave_the_project_and_homes_out(root: Path) -> None:
    paths = python_paths()
    assert not any(str(root).startswith(path.rstrip("/") + "/") or str(root) == path for path in paths)
    assert os.path.expanduser("~") not in paths
    assert any(os.path.realpath(os.__file__).startswith(path + "/") for path in paths)


def test_an_environment_that_is_the_course_is_refused(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(root))
    with pytest.raises(SandboxError, match="make a virtual environment in a folder of its own"):
        python_paths()


def test_the_work_folder_is_removed_whatever_is_left_in_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))  # a disk takes seconds for this depth
    (folder / "link").symlink_to(outside)
    deep = os.open(folder, os.O_RDONLY)
    for _ in range(1500):  # deeper than Python recurses, longer than a path may be
        os.mkdir("nested", dir_fd=deep)
        below = os.open("nested", os.O_RDONLY, dir_fd=deep)
        os.symlink(outside, "link", dir_fd=below)
        os.close(deep)
        deep = below
    os.close(deep)
    (folder / "locked").mkdir()
    (folder / "locked/file").write_text("text")
    (folder / "locked").chmod(0)
    os.mkfifo(folder / "pipe")
    workfolder.remove(str(folder))
    assert not folder.exists()
    assert (outside / "kept").read_text() == "kept"


def test_the_work_folder_without_mounts_is_private_and_goes(confined: str, user: int | None) -> None:
    def probe() -> list[object]:
        write("mine")
        found = os.stat(".")
        return [os.getcwd(), stat.S_IMODE(found.st_mode), found.st_uid == os.getuid()]

    folder, mode, own = look(confined, probe, user=user)
    assert (mode, own) == (0o700, True)
    assert not os.path.exists(folder)


def test_a_neighbours_work_folder_is_closed(confined: str, user: int | None) -> None:
    def task() -> list[object]:
        become_zygote()
        neighbour = workfolder.make(Spec(files={"/work/answer.py": "secret"}), private=True)
        try:
            return [neighbour, inside(confined, PLAIN, lambda: outcome(read, f"{neighbour}/answer.py"))]
        finally:
            shutil.rmtree(neighbour)

    assert in_fork(task, user)[1] == "EACCES"


def test_paths_that_nobody_can_reach_are_an_error_without_mounts(confined: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can enter what nobody cannot")
    (tmp_path / "locked" / "env").mkdir(parents=True)
    (tmp_path / "locked").chmod(0o700)
    with pytest.raises(AssertionError, match=r"SandboxError .*install Python where everybody may read it"):
        look(confined, os.getpid, Spec(readonly=(*SYSTEM, str(tmp_path / "locked/env"))))
