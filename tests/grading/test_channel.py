"""Frames: what honest sides exchange, and what a hostile one can send."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from autograder.grading.channel import MAX_BODY, MAX_HEADER, Channel, ChannelError


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield Channel(ours), theirs
    ours.close()
    theirs.close()


def test_frames_arrive_as_they_were_sent(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    body = bytes(range(256)) * 5000
    writer = threading.Thread(target=lambda: Channel(other).send({"begin": 3, "text": "ŵ"}, body))
    writer.start()
    assert channel.receive(time.monotonic() + 5) == ({"begin": 3, "text": "ŵ"}, body)
    writer.join()


@pytest.mark.parametrize(
    "sent",
    [
        b"x" * 64,
        struct.pack("<4sIQ", b"AGF1", MAX_HEADER + 1, 0),
        struct.pack("<4sIQ", b"AGF1", 2, MAX_BODY + 1) + b"{}",
        struct.pack("<4sIQ", b"AGF1", 4, 0) + b"{}}}",
        struct.pack("<4sIQ", b"AGF1", 2, 0) + b"[]",
        struct.pack("<4sIQ", b"AGF1", 200_000, 0) + b"[" * 200_000,
        struct.pack("<4sIQ", b"AGF1", 2, 0) + b"\xff\xfe",
    ],
)
def test_what_is_no_frame_is_refused_before_memory_is_used(ends: tuple[Channel, socket.socket], sent: bytes) -> None:
    channel, other = ends
    threading.Thread(target=other.sendall, args=(sent,), daemon=True).start()
    with pytest.raises(ChannelError) as caught:
        channel.receive(time.monotonic() + 5)
    assert caught.value.kind == "malformed"


def test_a_side_that_is_gone_or_silent_is_noticed(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(b"AGF1")
    start = time.monotonic()
    with pytest.raises(ChannelError) as caught:
        channel.receive(time.monotonic() + 0.2)
    assert caught.value.kind == "late"
    assert time.monotonic() - start < 2
    other.close()
    with pytest.raises(ChannelError) as caught:
        channel.receive(time.monotonic() + 5)
    assert caught.value.kind == "closed"


def test_a_side_that_does_not_read_cannot_hold_us_up(ends: tuple[Channel, socket.socket]) -> None:
    channel, _ = ends
    with pytest.raises(ChannelError) as caught:
        channel.send({}, bytes(32 * 2**20), seconds=0.2)
    assert caught.value.kind == "late"
