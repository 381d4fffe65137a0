"""Lay out the package that student code may see: what runs it and collects evidence, and nothing that knows an answer.

The process that forks for submissions imports this copy in place of the real package. There are no exercises, answers,
misconceptions, verdicts or hidden cases in it, so nothing of them can be found in memory or on disk.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from autograder import __version__

#: Files and folders of the package that are copied as they are.
WHOLE = ("evidence.py", "collectors", "launches")

#: Files of which only some definitions are copied, with the imports they have at the top.
EXCERPTS = {"exercise.py": ("TOLERANCE", "Limit", "Case"), "probes.py": ("quadratic_gradient",)}

#: What the fork server and its runners consist of beside that.
ENGINE = (
    "grading/channel.py",
    "grading/cheap_forks.py",
    "grading/kernel_runner.py",
    "grading/packing.py",
    "grading/references.py",
    "grading/runner.py",
    "grading/sandbox",
    "grading/shell.py",
    "grading/zygote.py",
)

_PACKAGE = Path(__file__).resolve().parents[1]


class StageError(ValueError):
    """The reduced package cannot be made; the message names the file and what it lacks."""


def stage(folder: Path, extra: Sequence[str] = ENGINE) -> Path:
    """Make a reduced `autograder` and the complete `utils` in `folder`, and return it, ready for `sys.path`.

    Args:
        folder: made if it is not there; must hold neither package yet.
        extra: further files and folders of the package, such as "grading/runner.py".

    Raises:
        FileExistsError: one of the two packages is there already.
        StageError: an extra file does not exist, or an excerpt's definition.
    """
    package = folder / "autograder"
    for one in (package, folder / "utils"):
        if one.exists():
            raise FileExistsError(f"{one} exists already: stage into an empty folder")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"{_STUB}\n\n__version__ = {__version__!r}\n", encoding="utf-8")
    for name in (*WHOLE, *extra):
        _copy(name, package)
    for name, wanted in EXCERPTS.items():
        text = (_PACKAGE / name).read_text(encoding="utf-8")
        (package / name).write_text(_excerpt(text, wanted, name), encoding="utf-8")
    shutil.copytree(_PACKAGE.parent / "utils", folder / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def missing(folder: Path) -> list[str]:
    """What the staged files import of `autograder` or `utils` that is not there, as "file: name"."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for module, name in _imports(path, folder):
            where = folder.joinpath(*module.split("."))
            source = where / "__init__.py" if where.is_dir() else where.with_suffix(".py")
            inside = source.is_file() and (not name or name in _defined(source) or _is_module(where / name))
            if not inside:
                found.append(f"{path.relative_to(folder)}: {module}{'.' if name else ''}{name}")
    return found


def hidden_folders() -> tuple[Path, ...]:
    """Folders of the real package and of the course, which nobody's view of the disk may hold."""
    project = _PACKAGE.parent
    around = [project / name for name in ("source", "course", "release", "tests", "benchmarks")]
    return (_PACKAGE, *(path for path in around if path.is_dir()))


def _copy(name: str, package: Path) -> None:
    origin, target = _PACKAGE / name, package / name
    if not origin.resolve().is_relative_to(_PACKAGE) or not origin.exists():
        raise StageError(f"{name} is no file of the package: give paths such as grading/runner.py")
    target.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_dir():
        shutil.copytree(origin, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(origin, target)
    above = target.parent
    while above != package:  # every package on the way
        shutil.copyfile(_PACKAGE / above.relative_to(package) / "__init__.py", above / "__init__.py")
        above = above.parent


def _excerpt(source: str, wanted: Sequence[str], name: str) -> str:
    """The imports of a module and the wanted definitions. Raises StageError when one is not there."""
    lines, parts, found = source.splitlines(), [], set()
    for node in ast.parse(source).body:
        names = _names_of(node)
        is_import = isinstance(node, (ast.Import, ast.ImportFrom))
        if is_import or names & set(wanted):
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(one.lineno for one in decorators)]) - 1
            parts.append("\n".join(lines[first : node.end_lineno]))
            found |= set() if is_import else names
    if absent := [one for one in wanted if one not in found]:
        raise StageError(f"{name} does not define {' and '.join(absent)} any more: correct EXCERPTS in stage.py")
    return "\n\n".join(parts) + "\n"


def _imports(path: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """(module, name) for every import of this project's packages; name "" for `import module`."""
    package = path.relative_to(folder).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            pairs = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            pairs = [(module, alias.name) for alias in node.names]
        else:
            continue
        yield from ((module, name) for module, name in pairs if module.split(".")[0] in ("autograder", "utils"))


def _defined(path: Path) -> set[str]:
    """What a module's top level defines or imports, also under an `if`."""
    names: set[str] = set()
    queue = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while queue:
        node = queue.pop()
        names |= _names_of(node)
        if isinstance(node, (ast.If, ast.Try)):
            queue += [*node.body, *node.orelse]
    return names


def _names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name for alias in node.names}
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


#: What a notebook imports from the package, for the time in which it is graded.
_STUB = '''"""The names that a notebook imports. While it is graded they tell nothing: marks are found after the run."""

__all__ = ["check", "hint", "done", "material", "solution", "progress", "CheckFailed"]


class CheckFailed(AssertionError):
    """Something was asked for that is not here while a notebook is graded."""

    def _render_traceback_(self):
        return str(self).splitlines()


def check(exercise_id, *objects, cases="visible"):
    """Say that marks come later; 0.0 stands for them where a cell returns its points."""
    print(f"{exercise_id}: marked after the run.")
    return 0.0 if cases == "hidden" else None


def hint(exercise_id, level=None):
    print(f"{exercise_id}: no hints while a notebook is graded.")


def done(*exercise_ids):
    """Cells that build on earlier exercises are not run again."""
    return False


def material(exercise_id):
    raise CheckFailed(f"{exercise_id}: its material is not here while a notebook is graded")


def solution(exercise_id):
    print(f"{exercise_id}: no solutions while a notebook is graded.")


def progress():
    print("progress: not kept while a notebook is graded.")
'''
