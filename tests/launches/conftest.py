"""An open counter, and a section that is open in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autograder.launches import LaunchCounter, Section


@pytest.fixture
def counter() -> Iterator[LaunchCounter]:
    with LaunchCounter("pretend") as opened:
        yield opened


@pytest.fixture
def section(counter: LaunchCounter) -> Iterator[Section]:
    with counter.section() as opened:
        yield opened
