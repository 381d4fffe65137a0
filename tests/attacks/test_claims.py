"""What a runner may claim, and how the grader reads it: no network, no sandbox, the same code."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

import pytest

from autograder.evidence import Evidence, Frame, Problem
from autograder.grading import claims
from autograder.grading.channel import Channel, ChannelError
from autograder.grading.conduct import _decoded


def encoded(**more: Any) -> bytes:
    header = {"arrays": [], "stepped": [], "facts": {}, "problem": None, "printed_lines": 0, "seconds": 0.0}
    text = json.dumps({**header, **more}).encode()
    return b"EVD1" + struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "more",
    [
        {"printed_lines": float("inf")},
        {"facts": [1, 2]},
        {"facts": {"p.grad": {"a": 1}}},
        {"facts": {"p.grad": [[1]]}},
        {"facts": {str(i): i for i in range(1000)}},
        {"problem": {"kind": "solved", "type": "E", "message": "", "frames": []}},
        {"problem": {"kind": "raised", "type": 5, "message": "", "frames": []}},
        {"problem": {"kind": "raised", "type": "E", "message": None, "frames": []}},
        {
            "problem": {
                "kind": "raised",
                "type": "E",
                "message": "",
                "frames": [{"function": "f", "line": "1", "source": ""}],
            }
        },
        {"arrays": [["w", "float64", [0, 10**30]]]},
        {"arrays": [["w", "object", [1]]]},
        {"stepped": 7},
    ],
)
def test_what_no_collector_writes_is_malformed(more: dict[str, Any]) -> None:
    with pytest.raises(ChannelError) as caught:
        _decoded(encoded(**more))
    assert caught.value.kind == "malformed"


def test_what_collectors_write_stays_as_it_is() -> None:
    problem = Problem("raised", "ValueError", "no √2", (Frame("step", 3, "p.sub_(lr)"),))
    facts: dict[str, Any] = {"launches": 7, "ratio": 1.5, "p.grad": "unchanged", "where": ["line 1"]}
    evidence = Evidence(facts=facts, problem=problem, printed_lines=3, seconds=0.25)
    plain = claims.plain(evidence)
    assert (plain.facts, plain.problem, plain.printed_lines, plain.seconds) == (facts, problem, 3, 0.25)


def test_texts_are_short_and_can_be_written() -> None:
    problem = Problem("raised", "\ud800" * 500, "\udfff" * 10_000, (Frame("f", 1, "x"),) * 500)
    found = claims.plain(Evidence(problem=problem)).problem
    assert found is not None
    assert (len(found.type), len(found.message), len(found.frames)) == (100, 2000, 50)
    (found.type + found.message).encode()


def test_numbers_are_numbers() -> None:
    huge = 10**400
    assert claims.numbers({"a": huge, "b": float("nan"), "c": -1, "d": True, "e": "5", "f": 2.5}) == {
        "a": 1e15,
        "b": 0.0,
        "c": 0.0,
        "f": 2.5,
    }
    facts = claims.plain(Evidence(facts={"launches": float("nan"), "syncs": huge})).facts
    assert facts == {"launches": 1e15, "syncs": 1e15}  # so large that no limit is kept
    assert [claims.word(one) for one in ("A\nB", 5, None)] == ["A B", "Exception", "Exception"]


def test_the_reader_keeps_watch_within_a_frame() -> None:
    """A frame that is begun and never ended must not stop the watch over memory."""
    mine, theirs = socket.socketpair()
    with mine, theirs:
        theirs.sendall(struct.pack("<4sIQ", b"AGF1", 1000, 10) + b"{")
        ticks: list[float] = []
        with pytest.raises(ChannelError, match="in time"):
            Channel(mine).receive(time.monotonic() + 0.5, lambda: ticks.append(time.monotonic()))
        assert len(ticks) >= 3


def test_the_watch_can_end_the_reading() -> None:
    def stop() -> None:
        raise ChannelError("closed", "too much memory")

    mine, theirs = socket.socketpair()
    with mine, theirs, pytest.raises(ChannelError, match="too much memory"):
        Channel(mine).receive(time.monotonic() + 5, stop)


def test_received_bytes_are_counted() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        Channel(theirs).send({"a": 1}, b"12345")
        channel = Channel(mine)
        assert channel.receive(time.monotonic() + 5) == ({"a": 1}, b"12345")
        assert channel.received == 16 + len('{"a": 1}') + 5
