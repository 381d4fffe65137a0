"""Which demonstrations an explorer is built on: found by the names it uses."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence

from nbformat import NotebookNode


def kept(cells: Sequence[NotebookNode], keep: Callable[[NotebookNode], bool]) -> list[NotebookNode]:
    """The cells that `keep` wants, and the demonstrations that define what the explorers among them use."""
    wanted = [keep(cell) for cell in cells]
    code = [cell.cell_type == "code" for cell in cells]
    defined = set(dir(builtins)).union(
        *(_stored(c) for c, want, is_code in zip(cells, wanted, code, strict=True) if want and is_code)
    )
    missing: set[str] = set()
    for place in reversed(range(len(cells))):
        cell = cells[place]
        if code[place] and not wanted[place] and _stored(cell) & missing:
            wanted[place] = True
            missing = (missing - _stored(cell)) | (_loaded(cell) - defined - _stored(cell))
        elif wanted[place] and "explore" in cell.metadata.get("tags", ()):
            missing |= _loaded(cell) - defined
    return [cell for cell, want in zip(cells, wanted, strict=True) if want]


def _names(cell: NotebookNode, context: type[ast.expr_context]) -> set[str]:
    tree = ast.parse(cell.source)
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


def _loaded(cell: NotebookNode) -> set[str]:
    return _names(cell, ast.Load)


def _stored(cell: NotebookNode) -> set[str]:
    nodes = list(ast.walk(ast.parse(cell.source)))
    functions = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    imports = {
        a.asname or a.name.split(".")[0] for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names
    }
    arguments = {node.arg for node in nodes if isinstance(node, ast.arg)}
    return _names(cell, ast.Store) | functions | imports | arguments
