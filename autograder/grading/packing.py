"""Cases as bytes: what a sandboxed process needs to play them, and nothing else.

Plain JSON with the arrays' raw bytes behind it, never pickle. Only the collector's name and the inputs travel: not the
case's name, its tolerance or whether it is a hidden one.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autograder.exercise import Case

_LENGTH = struct.Struct("<Q")
_MARKS = ("~array", "~tuple", "~int keys")


def pack(cases: Sequence[Case]) -> bytes:
    """Encode the cases. Raises TypeError for an input that is no plain data (a mistake of the course)."""
    arrays = bytearray()
    text = json.dumps([[case.collector, _plain(case.inputs, arrays)] for case in cases]).encode()
    return _LENGTH.pack(len(text)) + text + bytes(arrays)


def unpack(data: bytes) -> list[Case]:
    """The inverse of `pack`; the cases have neither name nor group."""
    (length,) = _LENGTH.unpack_from(data)
    body = memoryview(data)[_LENGTH.size + length :]
    return [
        Case("", "", collector, _rich(inputs, body))
        for collector, inputs in json.loads(data[_LENGTH.size : _LENGTH.size + length])
    ]


def _plain(value: Any, arrays: bytearray) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        offset = len(arrays)
        arrays += np.ascontiguousarray(value).tobytes()
        return {"~array": [str(value.dtype), list(value.shape), offset]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {"~tuple": [_plain(one, arrays) for one in value]}
    if isinstance(value, list):
        return [_plain(one, arrays) for one in value]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _plain(one, arrays) for key, one in value.items()}
        return {"~int keys": [[int(key), _plain(one, arrays)] for key, one in value.items()]}
    raise TypeError(f"a case's inputs are numbers, strings, arrays and collections of them, not {type(value).__name__}")


def _rich(value: Any, body: memoryview) -> Any:
    if isinstance(value, list):
        return [_rich(one, body) for one in value]
    if not isinstance(value, dict):
        return value
    mark = next((mark for mark in _MARKS if mark in value), None)
    if mark == "~array":
        dtype, shape, offset = value[mark]
        size = np.dtype(dtype).itemsize * math.prod(shape)
        return np.frombuffer(body[offset : offset + size], dtype).reshape(shape).copy()
    if mark == "~tuple":
        return tuple(_rich(one, body) for one in value[mark])
    if mark == "~int keys":
        return {key: _rich(one, body) for key, one in value[mark]}
    return {key: _rich(one, body) for key, one in value.items()}
