"""One small change at a time in a piece of Python: what a slip of a hand or of the mind makes of it.

The operators are those of mutation testing (DeMillo, Lipton & Sayward 1978) and the slips of this course's subject: in
place for out of place, a group's value for the default, a forgotten `detach` or `no_grad`.
"""

from __future__ import annotations

import ast
import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch

from autograder.worked import MARKER

Nodes = Iterator[ast.AST | None]

#: Where a statement before and after is longer than this together, its change is told, with so many words around it.
_LONG, _CONTEXT = 80, 7


@dataclass(frozen=True)
class Mutant:
    """`what`: the changed statement, before → after; stable as long as that statement is. `tree`: the whole module."""

    what: str
    tree: ast.Module

    @property
    def code(self) -> CodeType:
        return compile(self.tree, f"<mutant {self.what}>", "exec")


def mutants(cell: str) -> list[Mutant]:
    """All mutants of the code between a cell's solution markers, each different from it and from the others.

    What stands outside the markers is handed out to students, who have no reason to change it; docstrings and
    annotations do nothing. Raises SyntaxError for what is no Python.
    """
    tree, written = parsed(cell), _between_markers(cell)
    seen, names, made = set[tuple[Path, str]](), Counter[str](), []
    for path, node in _nodes(tree):
        if getattr(node, "lineno", 0) not in written:
            continue
        place = _statement(tree, path)
        before = _header(_at(tree, place))
        for new in (new for operator in OPERATORS for new in operator(node)):
            mutant = _replaced(tree, path, new)
            after = _header(_at(mutant, place))
            if after == before or (place, after) in seen or not _compiles(mutant):
                continue
            seen.add((place, after))
            what = _description(tree, place, before, after)
            names[what] += 1
            made.append(Mutant(what if names[what] == 1 else f"{what} (place {names[what]})", mutant))
    return made


def _between_markers(cell: str) -> set[int]:
    """Numbers of the lines that belong to the solution, from 1."""
    inside, lines = False, set()
    for number, line in enumerate(cell.splitlines(), start=1):
        if found := MARKER.match(f"{line}\n"):
            inside = "BEGIN" in found[0]
        elif inside:
            lines.add(number)
    return lines


def _compiles(tree: ast.Module) -> bool:
    try:
        return bool(compile(tree, "<mutant>", "exec"))
    except (SyntaxError, ValueError):  # a `continue` that lost its loop, say
        return False


# --- trees ----------------------------------------------------------------------------------------------------------

#: From the root: the fields, and places in lists, that lead to a node.
Path = tuple[str | int, ...]


def parsed(source: str) -> ast.Module:
    """Without docstrings and annotations: changing those changes nothing."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return tree


def _nodes(node: ast.AST, path: Path = ()) -> Iterator[tuple[Path, ast.AST]]:
    """Every node with the way to it, parents first."""
    if path:
        yield path, node
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for i, child in enumerate(children):
            if isinstance(child, ast.AST):
                yield from _nodes(child, (*path, name, *((i,) if isinstance(value, list) else ())))


def _at(tree: ast.AST, path: Path) -> Any:
    for step in path:
        tree = tree[step] if isinstance(step, int) else getattr(tree, step)  # type: ignore[index]
    return tree


def _replaced(tree: ast.Module, path: Path, new: ast.AST | None) -> ast.Module:
    """The tree with another node at that place; None drops a statement. What is not on the way there is shared."""
    made: Any = copy.copy(tree)
    holder = made
    for step in path[:-1]:
        part = copy.copy(_at(holder, (step,)))
        _put(holder, step, part)
        holder = part
    old = _at(holder, path[-1:])
    _put(holder, path[-1], ast.copy_location(ast.Pass() if new is None else new, old))
    return ast.fix_missing_locations(made)  # type: ignore[no-any-return]


def _put(holder: Any, step: str | int, value: Any) -> None:
    if isinstance(step, int):
        holder[step] = value
    else:
        setattr(holder, step, value)


def _statement(tree: ast.Module, path: Path) -> Path:
    """The way to the innermost statement that holds a node."""
    prefixes = (path[:n] for n in range(len(path), 0, -1))
    return next(prefix for prefix in prefixes if isinstance(_at(tree, prefix), ast.stmt))


def _description(tree: ast.Module, place: Path, old: str, new: str) -> str:
    """The function, and what becomes of a statement in it."""
    scopes = [_at(tree, place[:n]) for n in range(1, len(place))]
    scope = ".".join(one.name for one in scopes if isinstance(one, (ast.FunctionDef, ast.ClassDef)))
    change = f"drop {_shortened(old, old)[0]}" if new == "pass" else " → ".join(_shortened(old, new))
    return f"{scope}: {change}" if scope else change


def _header(statement: ast.stmt) -> str:
    """A statement in one line; of a compound one its first line, with decorators."""
    shown = copy.copy(statement)
    if hasattr(shown, "body"):
        shown.body = [ast.Expr(ast.Constant(...))]
    if getattr(shown, "orelse", None):
        shown.orelse = []  # type: ignore[attr-defined]
    return " ".join(ast.unparse(shown).removesuffix("...").split())


def _shortened(old: str, new: str) -> tuple[str, str]:
    """Both without most of what they share at either end, where they are long."""
    if len(old) + len(new) <= _LONG:
        return old, new
    one, two = (re.findall(r"\w+|\s+|.", text) for text in (old, new))
    if one == two:
        return f"{old[: _LONG - 1]}…", new
    head = _shared(one, two)
    tail = min(_shared(one[::-1], two[::-1]), min(len(one), len(two)) - head)
    first, last = max(head - _CONTEXT, 0), max(tail - _CONTEXT, 0)
    return tuple(  # type: ignore[return-value]
        ("…" if first else "") + "".join(words[first : len(words) - last]) + ("…" if last else "")
        for words in (one, two)
    )


def _shared(one: list[str], two: list[str]) -> int:
    """How many words two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


# --- operators: node → what may stand in its place -------------------------------------------------------------------

_BINARY: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Div,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_RELATED = {
    **{"max": "min", "sum": "mean", "any": "all", "ceil": "floor", "maximum": "minimum", "argmax": "argmin"},
    **{"exp": "log", "sin": "cos", "clamp_min": "clamp_max", "zeros_like": "ones_like", "add": "sub", "mul": "div"},
    **{"add_": "sub_", "mul_": "div_", "parameters": "buffers", "lt": "gt", "randperm": "arange"},
}
_RELATED |= {new: old for old, new in _RELATED.items()}
#: The order of their arguments makes no difference.
_COMMUTATIVE = ("min", "max", "maximum", "minimum", "isinstance")
#: Calls of one value that can be forgotten.
_FORGOTTEN = ("float", "abs", "int", "list", "tuple", "sorted", "round")


def _arithmetic(node: ast.AST) -> Nodes:
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        for operator in _BINARY.get(type(node.op), ()):
            yield _with(node, op=operator())


def _left_out(node: ast.AST) -> Nodes:
    """One side of an operation alone."""
    if isinstance(node, ast.BinOp):
        yield node.left
        if not isinstance(node.op, (ast.Div, ast.Pow)):
            yield node.right


def _comparison(node: ast.AST) -> Nodes:
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            for other in _COMPARISONS.get(type(operator), ()):
                yield _with(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])


def _logic(node: ast.AST) -> Nodes:
    if isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for i in range(len(node.values)):
            rest = node.values[:i] + node.values[i + 1 :]
            yield rest[0] if len(rest) == 1 else _with(node, values=rest)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    if isinstance(node, (ast.If, ast.IfExp)):
        yield _with(node, test=ast.Constant(True))
        if node.orelse:  # without, it is the dropped statement
            yield _with(node, test=ast.Constant(False))
    if isinstance(node, ast.While):
        yield _with(node, test=ast.Constant(False))


def _constant(node: ast.AST) -> Nodes:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield from (
            _number(other) for other in dict.fromkeys((value + 1, value - 1, 2 * value, -value)) if other != value
        )
    elif isinstance(value, float):
        yield from (_number(other) for other in ((2 * value, -value) if value else (1.0,)))


def _number(value: float) -> ast.expr:
    return ast.Constant(value) if value >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(-value))


def _dropped(node: ast.AST) -> Nodes:
    if isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign, ast.If, ast.For, ast.Return, ast.Raise)):
        yield None
    if isinstance(node, ast.Continue):
        yield from (None, ast.Break())
    if isinstance(node, ast.Break):
        yield None


def _scope(node: ast.AST) -> Nodes:
    """`with torch.no_grad():` around nothing; a decorator forgotten."""
    if isinstance(node, ast.With):
        yield ast.If(ast.Constant(True), node.body, [])
    if isinstance(node, ast.FunctionDef):
        for i in range(len(node.decorator_list)):
            yield _with(node, decorator_list=node.decorator_list[:i] + node.decorator_list[i + 1 :])


def _boundary(node: ast.AST) -> Nodes:
    """Off by one in ranges and slices."""
    if isinstance(node, ast.Slice):
        for side in ("lower", "upper"):
            if (bound := getattr(node, side)) is not None:
                yield from (_with(node, **{side: shifted}) for shifted in (*_shifted(bound), None))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        for i, bound in enumerate(node.args[:2]):
            for shifted in _shifted(bound):
                yield _with(node, args=[*node.args[:i], shifted, *node.args[i + 1 :]])


def _shifted(bound: ast.expr) -> Iterator[ast.expr]:
    yield ast.BinOp(bound, ast.Add(), ast.Constant(1))
    yield ast.BinOp(bound, ast.Sub(), ast.Constant(1))


def _method(node: ast.AST) -> Nodes:
    """A method's relatives, in place ↔ out of place, and what is left when the call is forgotten."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    name, owner = node.func.attr, node.func.value
    library = isinstance(owner, ast.Name) and owner.id in ("torch", "math", "F")
    changed = node.args[0] if library and node.args else owner  # by a method in place
    others = [_RELATED.get(name), _other_place(name, torch if library else torch.Tensor, changed)]
    yield from (_with(node, func=_with(node.func, attr=other)) for other in others if other)
    bare = not library and not node.args and not node.keywords
    if bare and (hasattr(torch.Tensor, name) or not isinstance(owner, (ast.Call, ast.Name))):
        yield owner
    if name in ("zeros_like", "ones_like", "full_like") and node.args:
        shape = ast.Attribute(node.args[0], "shape", ast.Load())
        yield _with(node, func=_with(node.func, attr=name.removesuffix("_like")), args=[shape, *node.args[1:]])


def _builtin(node: ast.AST) -> Nodes:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if (related := _RELATED.get(node.func.id)) and related in ("max", "min", "any", "all", "sum"):
            yield _with(node, func=ast.Name(related, ast.Load()))
        if node.func.id in _FORGOTTEN and len(node.args) == 1:
            yield node.args[0]


def _other_place(name: str, owner: Any, changed: ast.AST) -> str | None:
    """add ↔ add_. What is nobody's but this expression's may be changed in place as well: that is no mutant."""
    other = name.removesuffix("_") if name.endswith("_") else f"{name}_"
    temporary = other.endswith("_") and not isinstance(changed, (ast.Name, ast.Attribute, ast.Subscript))
    return other if hasattr(owner, other) and not temporary else None


def _arguments(node: ast.AST) -> Nodes:
    """Neighbours swapped, keywords forgotten, values of a tuple in the wrong order."""
    if isinstance(node, ast.Call):
        for i in range(0 if _name(node) in _COMMUTATIVE else len(node.args) - 1):
            yield _with(node, args=_swapped(node.args, i))
        for i in range(len(node.keywords)):
            yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
    if isinstance(node, ast.Tuple) and isinstance(getattr(node, "ctx", None), ast.Load):
        for i in range(len(node.elts) - 1):
            yield _with(node, elts=_swapped(node.elts, i))


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", "") or getattr(call.func, "id", "")


def _swapped(items: list[ast.expr], i: int) -> list[ast.expr]:
    return [*items[:i], items[i + 1], items[i], *items[i + 2 :]]


def _groups(node: Any) -> Nodes:
    """The first group's value, or the constructor's, in place of this group's."""
    own = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name)
    if own and node.value.id == "group":
        yield _with(node, value=ast.Attribute(ast.Name("self", ast.Load()), "defaults", ast.Load()))
    if isinstance(node, ast.For) and isinstance(node.iter, ast.Attribute) and node.iter.attr == "param_groups":
        yield _with(node, iter=ast.Subscript(node.iter, ast.Slice(None, ast.Constant(1)), ast.Load()))


def _with(node: Any, **changes: Any) -> Any:
    """A copy of the node with other fields."""
    made = copy.copy(node)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


OPERATORS: tuple[Callable[[ast.AST], Nodes], ...] = (
    *(
        _arithmetic,
        _left_out,
        _comparison,
        _logic,
        _constant,
        _dropped,
        _scope,
        _boundary,
        _method,
        _builtin,
        _arguments,
    ),
    _groups,
)
