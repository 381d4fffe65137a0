"""Frames between the coordinator and a sandboxed runner: a JSON header and raw bytes over a stream socket.

The coordinator's side trusts nothing: lengths are checked before memory is allocated, and it reads by its own clock.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

_HEAD = struct.Struct("<4sIQ")
_MAGIC = b"AGF1"

#: Largest header (JSON, with the outputs of a cell in it) and body (the evidence of one case), in bytes.
MAX_HEADER, MAX_BODY = 8 * 2**20, 64 * 2**20

_TICK = 0.1


class ChannelError(Exception):
    """The other side is gone, too slow, or sends what is no frame. `kind`: "closed", "late" or "malformed"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Channel:
    """One end of a connected stream socket. `received`: bytes so far."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.received = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def send(self, header: dict[str, Any], body: bytes = b"", seconds: float | None = None) -> None:
        """Send one frame. Raises ChannelError when the other side is gone or does not read for `seconds`."""
        text = json.dumps(header).encode()
        data = _HEAD.pack(_MAGIC, len(text), len(body)) + text + body
        self._sock.settimeout(seconds)
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise ChannelError("late", "the other side does not read") from None
        except OSError as error:
            raise ChannelError("closed", str(error)) from None

    def receive(
        self, deadline: float | None = None, meanwhile: Callable[[], None] | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """The next frame. `deadline` is a time of `time.monotonic()`; `meanwhile` is called every tenth of a second
        that has to be waited, also within a frame. Raises ChannelError, and what `meanwhile` raises."""
        magic, header_length, body_length = _HEAD.unpack(self._exactly(_HEAD.size, deadline, meanwhile))
        if magic != _MAGIC or header_length > MAX_HEADER or body_length > MAX_BODY:
            raise ChannelError("malformed", "this is no frame, or it is too large")
        text = self._exactly(header_length, deadline, meanwhile)
        body = self._exactly(body_length, deadline, meanwhile)
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            raise ChannelError("malformed", "the header is no JSON") from None
        if not isinstance(header, dict):
            raise ChannelError("malformed", "the header is no object")
        return header, body

    def waiting(self, seconds: float) -> bool:
        """Is there something to read within that time?"""
        return bool(select.select([self._sock], [], [], seconds)[0])

    def _exactly(self, count: int, deadline: float | None, meanwhile: Callable[[], None] | None) -> bytes:
        parts: list[bytes] = []
        while count:
            self._await(deadline, meanwhile)
            try:
                part = self._sock.recv(min(count, 2**20))
            except OSError as error:
                raise ChannelError("closed", str(error)) from None
            if not part:
                raise ChannelError("closed", "the other side is gone")
            parts.append(part)
            self.received += len(part)
            count -= len(part)
        return b"".join(parts)

    def _await(self, deadline: float | None, meanwhile: Callable[[], None] | None) -> None:
        """Until there is something to read; without a deadline, the read itself waits."""
        while deadline is not None:
            left = deadline - time.monotonic()
            if self.waiting(min(max(0.0, left), _TICK)):
                return
            if left <= 0:
                raise ChannelError("late", "nothing came in time")
            if meanwhile is not None:
                meanwhile()
