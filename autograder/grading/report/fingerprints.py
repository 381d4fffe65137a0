"""Code as fingerprints that do not see names, constants, comments, docstrings or layout.

The syntax tree is read in order as tokens; every run of `LENGTH` tokens is hashed, and of every `WINDOW` hashes in a row
the smallest is kept: winnowing, as in Schleimer, Wilkerson and Aiken, "Winnowing: local algorithms for document
fingerprinting" (SIGMOD 2003). Two texts that share `LENGTH + WINDOW - 1` tokens in a row share a fingerprint.
"""

from __future__ import annotations

import ast
import builtins
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

LENGTH, WINDOW = 9, 4

#: Longest source that is parsed, in characters, and most tokens that are looked at.
PARSED, TOKENS = 50_000, 8_000

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_KEPT = frozenset(dir(builtins)) | {"torch", "np", "numpy", "math", "nn", "F", "itertools", "functools"}
_WORDS = re.compile(r"[^\W\d]\w*|\d[\w.]*|\S")
_KEYWORDS = frozenset(("for", "in", "if", "else", "elif", "while", "def", "class", "return", "with", "yield", "lambda"))


@dataclass(frozen=True)
class Prints:
    """`found`: fingerprint → first and last line (from 1) of where it occurs first; `places`: which token that is, in the
    code's order. `form`: equal for equal code."""

    form: int
    found: dict[int, tuple[int, int]]
    places: dict[int, int]


def prints(source: str) -> Prints:
    """The fingerprints of one cell. Raises nothing: text that is no Python is taken word by word."""
    tokens = list(_limited(_tokens(source)))
    ids = np.array([_number(text) for text, _ in tokens], dtype=np.uint64)
    lines = [line for _, line in tokens]
    form = zlib.crc32(ids.tobytes()) | len(ids) << 32
    if len(ids) < LENGTH:
        return Prints(form, {}, {})
    hashes = _rolled(ids)
    found: dict[int, tuple[int, int]] = {}
    places: dict[int, int] = {}
    for place in _winnowed(hashes):
        span = lines[place : place + LENGTH]
        found.setdefault(int(hashes[place]), (min(span), max(span)))
        places.setdefault(int(hashes[place]), place)
    return Prints(form, found, places)


def _rolled(ids: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """A hash of every run of `LENGTH` tokens; arithmetic is modulo 2^64."""
    count = len(ids) - LENGTH + 1
    hashes = np.zeros(count, dtype=np.uint64)
    for i in range(LENGTH):
        hashes = hashes * _FACTOR + ids[i : i + count]
    hashes ^= hashes >> np.uint64(29)  # the smallest of a window should depend on all bits
    return hashes * _FACTOR


def _winnowed(hashes: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> list[int]:
    """Places of the smallest hash of every window, the last one among equals."""
    if len(hashes) <= WINDOW:
        return [int(np.argmin(hashes))]
    windows = np.lib.stride_tricks.sliding_window_view(hashes, WINDOW)
    ends = np.arange(len(windows)) + WINDOW - 1
    places: list[int] = np.unique(ends - np.argmin(windows[:, ::-1], axis=1)).tolist()
    return places


_numbers: dict[str, int] = {}


def _number(text: str) -> int:
    """The same number in every process, so that the same class gives the same report."""
    if text not in _numbers:
        if len(_numbers) > 100_000:  # students' attributes: as many as they like
            _numbers.clear()
        _numbers[text] = zlib.crc32(text.encode("utf-8", "replace")) + 1
    return _numbers[text]


def _limited(tokens: Iterator[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    for _, token in zip(range(TOKENS), tokens, strict=False):
        yield token


def _tokens(source: str) -> Iterator[tuple[str, int]]:
    tree = _parsed(source)
    return _words(source) if tree is None else _of_tree(tree)


def _parsed(source: str) -> ast.Module | None:
    if len(source) > PARSED:
        return None
    text = re.sub(r"^([ \t]*)[%!].*", r"\1pass", source, flags=re.MULTILINE)  # IPython's lines
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes, which are the student's own
            return ast.parse(text.encode("utf-8", "replace"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _words(source: str) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(source[:PARSED].split("\n"), start=1):
        for word in _WORDS.findall(line.partition("#")[0]):
            kind = "number" if word[0].isdigit() else "name" if word[0].isalpha() or word[0] == "_" else word
            yield (word if word in _KEYWORDS else kind), number


# --- the tree in order ----------------------------------------------------------------------------------------------

_LEFT_OUT = (ast.Import, ast.ImportFrom, ast.Pass, ast.expr_context, ast.Global, ast.Nonlocal)


def _of_tree(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Tokens in the tree's order, without recursion: a student decides how deep it is."""
    stack: list[tuple[ast.AST, int]] = [(tree, 1)]
    while stack:
        node, line = stack.pop()
        line = getattr(node, "lineno", line)
        if isinstance(node, _LEFT_OUT) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        if text := _token(node):
            yield text, line
        stack += [(child, line) for child in reversed(_children(node))]


def _token(node: ast.AST) -> str:
    """What a node says; "" for those that only hold others."""
    match node:
        case ast.Name(id=name):
            return name if name in _KEPT else "name"
        case ast.Constant(value=value):
            return repr(value) if value is None or isinstance(value, bool) else type(value).__name__
        case ast.Attribute(value=ast.Name(id="self")):
            return "self.name"
        case ast.Attribute(attr=name):
            return f".{name}"
        case ast.keyword(arg=name):
            return f"{name}="
        case ast.Module() | ast.Expr() | ast.arguments():
            return ""
        case ast.AnnAssign():
            return "Assign"
        case _:
            return type(node).__name__


def _children(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.AnnAssign(target=target, value=value):
            return [target] if value is None else [target, value]
        case ast.arg():
            return []
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.decorator_list, node.args, *node.body]
        case ast.Attribute(value=ast.Name(id="self")):
            return []
        case _:
            return list(ast.iter_child_nodes(node))
