"""Each test of a rung runs on every rung it is about, as every user there is; and folders that others may enter."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from zygotes import needs, users


@pytest.fixture(params=["full", "full-stub-proc", "confined"])
def rung(request: pytest.FixtureRequest) -> str:
    needs(request.param)
    return str(request.param)


@pytest.fixture(params=["full", "full-stub-proc"])
def own_root(request: pytest.FixtureRequest) -> str:
    """A rung with a root of its own."""
    needs(request.param)
    return str(request.param)


@pytest.fixture
def full() -> str:
    needs("full")
    return "full"


@pytest.fixture
def confined() -> str:
    needs("confined")
    return "confined"


@pytest.fixture(params=users(), ids=lambda user: "ordinary user" if user else "this user")
def user(request: pytest.FixtureRequest) -> int | None:
    value: int | None = request.param
    return value


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may read and write: what keeps a child out of it is the sandbox alone."""
    folder = Path(tempfile.mkdtemp(prefix="sandbox-test-", dir="/var/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)
