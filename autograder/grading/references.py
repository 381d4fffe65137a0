"""Take the ready-made answers out of a process before it forks for student code, and out of the files it will see.

A guard that raises is not enough: a class saved earlier, a subclass found with `gc`, bytecode on disk executed again or
the fused kernel behind the class all still compute. So every layer goes: the code of each function (`remove`), the
operators at torch's dispatcher and the kernels below them (`remove`), the files (`files_to_mask`). What stands in their
place raises `ReferenceUsed` with a text for students. `torch.optim.Optimizer`, schedulers and `_foreach_` stay, and so
does SGD unless it is forbidden by name: right answers about weight decay build on it, and it holds nothing of Adam.

Two things are out of reach from here, and belong to the sandbox: a new interpreter (`execve`) brings its own kernels, so
new programs have to be denied; and foreign machine code, through `ctypes`, can compute whatever its author wrote.
"""

from __future__ import annotations

import ast
import ctypes
import gc
import importlib
import inspect
import linecache
import mmap
import os
import re
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn


class ReferenceUsed(RuntimeError):
    """Student code used a ready-made answer to what it is to write."""


@dataclass(frozen=True)
class Removal:
    """What `remove` took out. `by_name_only`: compiled functions, of which only the known names could be replaced."""

    modules: tuple[str, ...]
    functions: int
    classes: int
    operators: tuple[str, ...]
    kernels: tuple[str, ...]
    by_name_only: tuple[str, ...]
    seconds: float


#: Files of torch/optim that hold no algorithm; all others do, also those that a later torch adds.
_KEPT = frozenset({"__init__.py", "optimizer.py", "lr_scheduler.py", "swa_utils.py", "_stateless.py"})

#: Names under torch.optim that are no algorithm: to forbid one of them is to forbid that one alone.
_NO_ALGORITHM = ("torch.optim.Optimizer", "torch.optim.optimizer", "torch.optim.lr_scheduler", "torch.optim.swa_utils")

#: Ready-made Adam in other packages, as patterns below each folder of `sys.path`; absent ones cost nothing.
_ELSEWHERE = (
    "sklearn/neural_network/_stochastic_optimizers.py",
    "autograd/misc/optimizers.py",
    "jax/example_libraries/optimizers.py",
    "jax/experimental/optimizers.py",
    "optax/**/*.py",
    "torch_optimizer/**/*.py",
    "pytorch_optimizer/**/*.py",
    "bitsandbytes/optim/*.py",
    "apex/optimizers/*.py",
    "timm/optim/*.py",
    "transformers/optimization.py",
    "keras/**/optimizers/*.py",
    "tensorflow/python/keras/optimizer_v2/*.py",
    "paddle/optimizer/*.py",
    "mxnet/optimizer/*.py",
    "chainer/optimizers/*.py",
    "monai/optimizers/*.py",
    "pyro/optim/*.py",
)

_OPERATOR = re.compile(r"aten::_fused_(adam|adamw|sgd|adagrad)_?(\.|$)")
#: The flag of classes that are made while Python runs; those compiled in cannot be changed.
_HEAP_TYPE = 1 << 9

_DISPATCH_KEYS = ("CPU", "CUDA", "MPS", "XPU", "Meta", "CompositeExplicitAutograd")
#: A kernel's table of entry points in libtorch, and its entry for each instruction set.
_KERNEL = re.compile(
    rb"_ZN2at6native(?:\d+fused_(?:adam|adamw|sgd|adagrad)_stubE"
    rb"|12DispatchStub[^\0]{0,1500}?fused_(?:adam|adamw|sgd|adagrad)_stub[^\0]{0,200}?"
    rb"(?:7DEFAULT|4AVX2|6AVX512|3VSX|7ZVECTOR|6SVE256|6SVE128|3SVE)E)\0"
)


def remove(forbidden: Iterable[str]) -> Removal:
    """Take out what an assignment forbids; forbidding any algorithm of torch.optim takes out all but SGD.

    Call it once in the process that will fork, when everything is imported, with one thread and before `gc.freeze()`.
    There is no way back. `forbidden` are dotted names (`CodeExercise.forbidden`); none of them: nothing happens.

    Raises RuntimeError when a name does not exist, or when this process cannot be cleaned any more.
    """
    start = time.perf_counter()
    names = tuple(dict.fromkeys(forbidden))
    if gc.get_freeze_count():
        raise RuntimeError("call remove() before gc.freeze(): frozen objects cannot be searched for references")
    files: frozenset[str] = frozenset()
    operators: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    if _forbids_algorithms(names):
        _refuse_compiled_copies()
        with_sgd = _forbids_sgd(names)
        files = frozenset(map(str, _algorithm_files(with_sgd)))
        operators, kernels = _stop_operators(with_sgd), _stop_kernels(with_sgd)
    modules, functions, classes, weak = _empty(files, names)
    if files:
        _verify()
    return Removal(modules, functions, classes, operators, kernels, weak, time.perf_counter() - start)


def _empty(files: frozenset[str], names: Sequence[str]) -> tuple[tuple[str, ...], int, int, tuple[str, ...]]:
    """Take the code out of everything in memory; returns the modules, numbers of functions and classes, weak names."""
    named, by_name_only = _named(names)
    modules = _loaded(files)
    functions = _functions(files, named)
    classes = _classes(functions, {module.__name__ for module in modules}, named)
    for function in functions:
        _gut_function(function, names)
    for cls in classes:
        _gut_class(cls, names)
    for module in modules:
        _forget_data(module)
    for name, owner, attribute in by_name_only:
        _replace_everywhere(getattr(owner, attribute), _refusing(name, names))
    linecache.clearcache()
    found = tuple(sorted(module.__name__ for module in modules))
    return found, len(functions), len(classes), tuple(name for name, _, _ in by_name_only)


def _verify() -> None:
    """Try what was taken out: with a torch that is built otherwise nothing may be graded unnoticed."""
    import torch

    one = [torch.zeros(1)]
    options = {"lr": 0.1, "beta1": 0.9, "beta2": 0.9, "weight_decay": 0.0, "eps": 1e-8}
    fused: Any = torch._fused_adam_
    uses: tuple[Callable[[], Any], ...] = (
        lambda: torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]),
        lambda: sys.modules["torch.optim.adam"].adam(),
        lambda: fused(one, one, one, one, [], one, **options, amsgrad=False, maximize=False),
    )
    for use in uses:
        try:
            use()
        except ReferenceUsed:
            continue
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            reason = "it still works"
        raise RuntimeError(
            f"torch {torch.__version__}'s Adam cannot be taken out ({reason}): grade with a tested torch"
        )


@contextmanager
def refused(forbidden: Iterable[str]) -> Iterator[None]:
    """For a while, in a learner's own process: what is forbidden by name raises ReferenceUsed when it is called.

    A courtesy, so that a visible check tells what grading will tell; nothing is guarded. A name that this torch does not
    have is passed over.
    """
    names = tuple(dict.fromkeys(forbidden))
    saved = [(function, function.__code__) for function in _entrances(names)]
    try:
        for function, _ in saved:
            message = _message(
                _public(function.__module__ or "", function.__qualname__.removesuffix(".__init__")), names
            )
            function.__globals__["ReferenceUsed"] = ReferenceUsed
            function.__code__ = _raising(message, len(function.__closure__ or ()))
        yield
    finally:
        for function, code in saved:
            function.__code__ = code


@cache
def _entrances(names: tuple[str, ...]) -> tuple[types.FunctionType, ...]:
    """The functions, and the constructors of classes, that stand for these names."""
    found: list[Any] = []
    for name in names:
        with suppress(RuntimeError):  # it does not exist in this installation
            found += _named((name,))[0]
    if _forbids_algorithms(names):
        import torch

        kept = {torch.optim.Optimizer, *(() if _forbids_sgd(names) else (torch.optim.SGD,))}
        found += [one for one in vars(torch.optim).values() if isinstance(one, type) and one not in kept]
    functions = (inspect.unwrap(vars(one).get("__init__", one)) if isinstance(one, type) else one for one in found)
    return tuple(dict.fromkeys(one for one in functions if isinstance(one, types.FunctionType)))


def files_to_mask(forbidden: Iterable[str] | None = None) -> Mapping[str, str]:
    """Path → the text that student code has to see there instead: source with stubs, nothing in place of bytecode.

    Without names: the files of every ready-made optimizer. Give what `remove` was given, so that memory and disk tell
    the same. What imports a hidden file goes on working until it uses what was there. Raises RuntimeError when a name
    does not exist.
    """
    names = ("torch.optim.Adam", "torch.optim.SGD") if forbidden is None else tuple(dict.fromkeys(forbidden))
    texts: dict[Path, str] = {}
    if _forbids_algorithms(names):
        texts |= dict.fromkeys(_algorithm_files(_forbids_sgd(names)), _MASK)
    for path, parts in _named_sources(names).items():
        if path not in texts:
            texts[path] = _without(path.read_text(encoding="utf-8"), parts)
    bytecode = [one for path in texts for one in sorted(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))]
    return {**{str(path): text for path, text in texts.items()}, **{str(path): "" for path in bytecode}}


# --- what there is --------------------------------------------------------------------------------------------------


def _forbids_algorithms(names: Sequence[str]) -> bool:
    return any(name.startswith("torch.optim") and not name.startswith(_NO_ALGORITHM) for name in names)


def _forbids_sgd(names: Sequence[str]) -> bool:
    return any(name.lower().startswith("torch.optim.sgd") for name in names)


@cache
def _algorithm_files(with_sgd: bool) -> tuple[Path, ...]:
    """The source files of all ready-made optimizers that can be imported here."""
    spec = find_spec("torch")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise RuntimeError("torch is not installed here: install it, then start again")
    torch = Path(folders[0])
    kept = _KEPT if with_sgd else _KEPT | {"sgd.py"}
    own = [path for path in (torch / "optim").rglob("*.py") if path.parent.name != "optim" or path.name not in kept]
    own += (torch / "distributed" / "optim").glob("functional_*.py")
    roots = {Path(folder) for folder in sys.path if folder and os.path.isdir(folder)}
    return tuple(sorted({*own, *(path for root in roots for glob in _ELSEWHERE for path in root.glob(glob))}))


def _loaded(files: frozenset[str]) -> list[types.ModuleType]:
    modules = [module for module in list(sys.modules.values()) if isinstance(module, types.ModuleType)]
    return [module for module in modules if vars(module).get("__file__") in files]


def _refuse_compiled_copies() -> None:
    """torch.distributed.optim compiles its optimizers to TorchScript at import, and those copies cannot be reached."""
    if any(name.startswith("torch.distributed.optim.functional_") for name in sys.modules):
        raise RuntimeError("torch.distributed.optim is imported already: call remove() in a process that never did")


@cache
def _module_of(name: str) -> tuple[str, tuple[str, ...]]:
    """A dotted name as its module's name and the rest. Raises RuntimeError when it is no module's."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        candidate = ".".join(parts[:length])
        try:
            if candidate in sys.modules or find_spec(candidate) is not None:
                return candidate, tuple(parts[length:])
        except ModuleNotFoundError:
            continue
    raise RuntimeError(f"the forbidden name {name!r} is in no module that is installed here")


def _each_named(names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Name, module and attribute of whatever is forbidden beside the optimizers; a module means its public classes and
    functions, the base class of torch's schedulers left out."""
    for name in names:
        if _forbids_algorithms((name,)):
            continue
        module, rest = _module_of(name)
        owner = importlib.import_module(module)
        if len(rest) > 1:
            raise RuntimeError(
                f"the forbidden name {name!r} is too long: name the class, {'.'.join((module, rest[0]))}"
            )
        if rest and not hasattr(owner, rest[0]):
            raise RuntimeError(f"the forbidden name {name!r} does not exist in this installation")
        if rest:
            yield name, module, rest[0]
            continue
        for attribute, value in list(vars(owner).items()):
            own = getattr(value, "__module__", None) == module and not attribute.startswith("_")
            if own and attribute != "LRScheduler" and isinstance(value, (type, types.FunctionType)):
                yield f"{name}.{attribute}", module, attribute


def _named(names: Sequence[str]) -> tuple[list[Any], list[tuple[str, Any, str]]]:
    """The Python classes and functions called so, and (name, owner, attribute) of everything else."""
    objects: list[Any] = []
    compiled: list[tuple[str, Any, str]] = []
    for name, module, attribute in _each_named(names):
        owner = importlib.import_module(module)
        value = inspect.unwrap(getattr(owner, attribute))
        written_in_python = isinstance(value, type) and bool(value.__flags__ & _HEAP_TYPE)
        if written_in_python or isinstance(value, types.FunctionType):
            objects.append(value)
        else:
            compiled.append((name, owner, attribute))
    return objects, compiled


def _named_sources(names: Sequence[str]) -> dict[Path, set[str]]:
    """Source file → the names defined in it that are forbidden."""
    found: dict[Path, set[str]] = {}
    for _, module, attribute in _each_named(names):
        value = getattr(importlib.import_module(module), attribute)
        try:
            path = inspect.getsourcefile(inspect.unwrap(value))
        except TypeError:  # compiled: no source
            continue
        if path:
            found.setdefault(Path(path), set()).add(getattr(value, "__name__", attribute))
    return found


# --- Python's side --------------------------------------------------------------------------------------------------


def _functions(files: frozenset[str], named: Sequence[Any]) -> list[types.FunctionType]:
    """Every function object alive whose code comes from these files or belongs to a named object, wherever it hides."""
    codes = {code for one in named for code in _codes_of(one)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # asking some lazy objects for their type warns
        alive = [one for one in gc.get_objects() if type(one) is types.FunctionType]
    return [one for one in alive if one.__code__.co_filename in files or one.__code__ in codes]


def _codes_of(named: Any) -> Iterator[types.CodeType]:
    if isinstance(named, types.FunctionType):
        yield named.__code__
    elif isinstance(named, type):
        for value in vars(named).values():
            for part in (value, getattr(value, "__func__", None), getattr(value, "fget", None)):
                if isinstance(part, types.FunctionType):
                    yield inspect.unwrap(part).__code__


def _classes(functions: Sequence[types.FunctionType], modules: set[str], named: Sequence[Any]) -> list[type]:
    """The classes of these modules, the named ones, and all that build on them."""
    methods = {id(one) for one in functions}
    found: dict[int, type] = {}
    queue = [one for one in named if isinstance(one, type)]
    for one in gc.get_objects():
        if issubclass(type(one), type):
            own = any(id(value) in methods for value in list(vars(one).values()))
            if own or vars(one).get("__module__") in modules:
                queue.append(one)
    while queue:
        cls = queue.pop()
        if id(cls) not in found:
            found[id(cls)] = cls
            queue += type.__subclasses__(cls)
    return list(found.values())


def _gut_function(function: types.FunctionType, names: Sequence[str]) -> None:
    """Leave the object, so that every alias of it raises; take its code and whatever it remembers."""
    name = _public(function.__module__ or "", function.__qualname__)
    function.__globals__["ReferenceUsed"] = ReferenceUsed
    function.__code__ = _raising(_message(name, names), len(function.__closure__ or ()))
    function.__defaults__ = function.__kwdefaults__ = function.__doc__ = None
    function.__annotations__ = {}
    function.__dict__.clear()


def _gut_class(cls: type, names: Sequence[str]) -> None:
    """No object of it can be made, and no class derived from it."""
    refuse = _refusing(_public(cls.__module__, cls.__qualname__), names)
    for attribute in ("__init__", "step", "forward"):
        if hasattr(cls, attribute):
            setattr(cls, attribute, refuse)
    cls.__new__ = staticmethod(refuse)  # type: ignore[method-assign]
    cls.__init_subclass__ = classmethod(refuse)  # type: ignore[assignment, method-assign]
    cls.__doc__ = None


def _forget_data(module: types.ModuleType) -> None:
    """Keep a module's gutted names, drop its texts and tables."""
    for name, value in list(vars(module).items()):
        if not name.startswith("__") and isinstance(value, (str, dict, list, tuple)):
            delattr(module, name)
    module.__doc__ = None


def _public(module: str, qualname: str) -> str:
    """The name under which people know it: torch.optim.Adam, not torch.optim.adam.Adam."""
    if module.startswith("torch.optim.") and qualname[:1].isupper():
        return f"torch.optim.{qualname}"
    return f"{module}.{qualname}"


def _message(name: str, names: Sequence[str]) -> str:
    if any(name == one or name.startswith(f"{one}.") for one in names):
        return f"{name} is the reference here: write the update yourself."
    return f"{name} is left out while this notebook is graded: write the update yourself."


@cache
def _raising(message: str, free: int) -> types.CodeType:
    """Code that raises ReferenceUsed, to put into a function with `free` closure cells."""
    cells = [f"cell{i}" for i in range(free)]
    use = f"        ({', '.join(cells)},)\n" if cells else ""  # never run: it makes the code expect the cells
    source = (
        f"def outer({', '.join(cells)}):\n    def left_out(*_, **__):\n        raise ReferenceUsed({message!r})\n{use}"
    )
    outer = next(one for one in compile(source, "<left out>", "exec").co_consts if isinstance(one, types.CodeType))
    return next(one for one in outer.co_consts if isinstance(one, types.CodeType))


def _refusing(name: str, names: Sequence[str]) -> Callable[..., NoReturn]:
    message = _message(name, names)

    def left_out(*_: object, **__: object) -> NoReturn:
        raise ReferenceUsed(message)

    left_out.__name__ = name.rpartition(".")[2]
    return left_out


def _replace_everywhere(old: object, new: object) -> None:
    """Put `new` under every name that a loaded module, or a class, has for `old`."""
    for namespace in gc.get_referrers(old):
        if isinstance(namespace, dict):
            for name, value in list(namespace.items()):
                if value is old:
                    namespace[name] = new


# --- torch's C++ side -----------------------------------------------------------------------------------------------


def _stop_operators(with_sgd: bool) -> tuple[str, ...]:
    """Replace the fused operators' kernels, for every backend, by one that raises."""
    import torch

    from autograder.evidence import silent

    names = sorted(name for name in torch._C._dispatch_get_all_op_names() if _OPERATOR.match(name))
    names = [name for name in names if with_sgd or "sgd" not in name]
    library = torch._C._dispatch_library("IMPL", "aten", "", __file__, 1)
    with silent(), warnings.catch_warnings():  # torch logs that kernels are replaced
        warnings.simplefilter("ignore")
        for name in names:
            refuse = _refusing(name.replace("aten::", "torch.").partition(".default")[0], ())
            for key in _DISPATCH_KEYS:
                if torch._C._dispatch_has_kernel_for_dispatch_key(name, key):
                    library.impl(name.removeprefix("aten::"), key, refuse)
    # the handle would undo all of this when it goes: nobody holds it, and it never goes
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))
    return tuple(names)


def _stop_kernels(with_sgd: bool) -> tuple[str, ...]:
    """Point libtorch's entries of the fused CPU kernels at a function that throws, for calls below the dispatcher."""
    path = _torch_library()
    if path is None:
        return ()
    library = ctypes.CDLL(str(path))
    throw = ctypes.cast(_thrower(), ctypes.c_void_p).value
    done = []
    for symbol in _kernel_symbols(path):
        if "fused_sgd" in symbol and not with_sgd:
            continue
        try:
            ctypes.c_void_p.in_dll(library, symbol).value = throw
        except ValueError:  # a name in the file that is no exported symbol
            continue
        done.append(symbol)
    return tuple(done)


def _torch_library() -> Path | None:
    import torch

    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    return path if path.is_file() else None


def _kernel_symbols(path: Path) -> list[str]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return sorted({match.group()[:-1].decode() for match in _KERNEL.finditer(data)})


def _thrower() -> Any:
    """A C function without arguments that does not return: C++'s exception if it can be had, else `abort`."""
    process = ctypes.CDLL(None)
    try:
        return ctypes.CDLL("libstdc++.so.6")["_ZSt25__throw_bad_function_callv"]
    except (OSError, AttributeError):
        return process["abort"]


# --- files ----------------------------------------------------------------------------------------------------------

#: Stands where a file is hidden. Names can still be imported from it; using one raises.
_MASK = '''"""Hidden while a notebook is graded that asks for what stands here."""


class ReferenceUsed(RuntimeError):
    """A ready-made answer was used."""


def _refuse(name):
    raise ReferenceUsed(f"{name} is left out while this notebook is graded: write the update yourself.")


class _LeftOut(type):
    def __init__(cls, name, bases, namespace):
        if bases:
            _refuse(bases[0].__qualname__)

    def __call__(cls, *args, **kwargs):
        _refuse(cls.__qualname__)

    def __getattr__(cls, name):
        if name.startswith("_"):
            raise AttributeError(name)
        _refuse(f"{cls.__qualname__}.{name}")


def _function(name):
    def left_out(*args, **kwargs):
        _refuse(name)

    return left_out


def __getattr__(name):
    """Classes and public functions can be named; helpers are not there, which torch looks at before it uses them."""
    bare = name.lstrip("_")
    if name.startswith("__") or (name.startswith("_") and not bare[:1].isupper()):
        raise AttributeError(f"{name} is left out while this notebook is graded")
    known = _LeftOut(name, (), {}) if bare[:1].isupper() else _function(name)
    globals()[name] = known
    return known
'''


def _without(source: str, names: Iterable[str]) -> str:
    """A module's source with the definitions of these names replaced by stubs; everything else keeps its line."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or node.name not in names:
            continue
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
        last = node.end_lineno or node.lineno
        text = f"{node.name} is left out while this notebook is graded: write it yourself."
        stub = (
            f"class {node.name}:\n    def __new__(cls, *args, **kwargs): raise RuntimeError({text!r})"
            if isinstance(node, ast.ClassDef)
            else f"def {node.name}(*args, **kwargs): raise RuntimeError({text!r})"
        ).splitlines()
        lines[first:last] = stub + [""] * (last - first - len(stub))
    return "\n".join(lines) + "\n"
