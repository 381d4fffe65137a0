"""Read student code for what an instructor may want to look at: never a mark, never a reason for one.

Flags are hints for a human. Whatever they name may have an honest reason, and clever code can avoid them all; what
protects the marks is elsewhere (`references`, the sandbox, verdicts outside the process). The code is only parsed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

#: Longest source that is parsed, in characters: about 0.1 s. A longer one is searched line by line for words.
PARSED = 50_000
#: Longest source with IPython's own syntax that is parsed; translating it is slow.
TRANSLATED = 20_000
#: Longest source that is searched at all, in characters.
SEARCHED = 2_000_000
#: Flags of one source that are told; the rest is counted.
MOST = 40
#: Numbers in one literal, and characters in one string, from which on it may be a table learned by heart.
NUMBERS, CHARACTERS = 150, 2_000

READY_MADE = "ready-made optimizer"
BUILT_NAME = "name built at run time"
DYNAMIC = "code made at run time"
MACHINE = "machine code"
INSPECTING = "looks into the process"
PATCHING = "changes somebody else's module"
DISPATCH = "comes between torch and its operations"
OUTSIDE = "processes, signals or network"
FILES = "files elsewhere"
NOTEBOOK = "changes the notebook's machinery"
LYING = "objects that may lie"
TABLE = "very long literal"
HIDING = "encoded data"
UNREADABLE = "hard to read"

_TOO_DEEP = "nested too deeply to be parsed"


@dataclass(frozen=True)
class Flag:
    """Something to look at. `line` counts from 1 in the source that was given; `text` says what stands there."""

    kind: str
    line: int
    text: str


def audit_source(source: str) -> tuple[Flag, ...]:
    """The flags of one cell, in the order of their lines. Raises nothing, whatever the source is like."""
    if len(source) > SEARCHED:
        return (Flag(UNREADABLE, 1, f"{len(source)} characters: too long to be searched"),)
    flags = set(_unusual_text(source))
    readable = source.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    tree = None if len(source) > PARSED else _parse(readable)
    found = _visited(tree, source) if isinstance(tree, ast.Module) else tree
    if isinstance(found, list):
        flags |= set(found)
    else:
        flags |= set(_words(readable))
        if found is not None:
            flags.add(Flag(UNREADABLE, 1, found))
    told = sorted(flags, key=lambda flag: (flag.line, flag.kind, flag.text))
    if len(told) > MOST:
        told = [*told[:MOST], Flag(UNREADABLE, told[MOST].line, f"and {len(told) - MOST} more flags")]
    return tuple(told)


def _visited(tree: ast.Module, source: str) -> list[Flag] | str:
    """The flags of a tree, or why there are none."""
    try:
        return _Audit(tree, by_hand="get_ipython" in source).flags()
    except RecursionError:
        return _TOO_DEEP


# --- from text to a tree --------------------------------------------------------------------------------------------


def _unusual_text(source: str) -> Iterator[Flag]:
    if len(source) > PARSED:
        yield Flag(UNREADABLE, 1, f"{len(source)} characters: searched for words only")
    if "\0" in source:
        yield Flag(UNREADABLE, source[: source.index("\0")].count("\n") + 1, "null bytes")


_IPYTHON_LINE = re.compile(r"^[ \t]*[!%?]|\?[ \t]*$|=[ \t]*[!%]", re.MULTILINE)


def _parse(source: str) -> ast.Module | str | None:
    """The tree, of Python or of IPython's language; None for a plain syntax error; a reason for anything odder."""
    try:
        return _tree(source)
    except SyntaxError:
        pass
    except (RecursionError, MemoryError, ValueError):
        return _TOO_DEEP
    if len(source) > TRANSLATED or not _IPYTHON_LINE.search(source):
        return None
    try:
        return _tree(_transformed(source))
    except SyntaxError:
        return None
    except Exception:  # IPython's transformers stumble over odd text in many ways
        return "neither Python nor IPython"


def _tree(source: str) -> ast.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes, which are the student's own
        return ast.parse(source)


def _transformed(source: str) -> str:
    """IPython's magics and shell lines as calls of `get_ipython()`, each on its own line."""
    from IPython.core.inputtransformer2 import TransformerManager

    return str(TransformerManager().transform_cell(source))


# --- what to look for -----------------------------------------------------------------------------------------------

#: Module (with all below it) → kind of flag, when it is imported or reached through a name that stands for it.
_MODULES = {
    **dict.fromkeys(
        (
            *("torch.distributed", "torch.optim._functional", "torch.optim._multi_tensor", "sklearn", "tensorflow"),
            *("keras", "jax", "optax", "flax", "apex", "bitsandbytes", "timm", "transformers", "torch_optimizer"),
            *("pytorch_optimizer", "deepspeed", "paddle", "mxnet", "chainer"),
        ),
        READY_MADE,
    ),
    **dict.fromkeys(("importlib", "imp", "runpy", "pkgutil", "zipimport", "ast", "code", "codeop"), DYNAMIC),
    **dict.fromkeys(("torch.jit", "torch.fx", "torch.package"), DYNAMIC),
    **dict.fromkeys(("ctypes", "cffi", "mmap", "numba", "cython", "torch.utils.cpp_extension"), MACHINE),
    **dict.fromkeys(
        ("gc", "inspect", "dis", "linecache", "tracemalloc", "bdb", "pdb", "_xxsubinterpreters"), INSPECTING
    ),
    **dict.fromkeys(("unittest.mock", "builtins"), PATCHING),
    **dict.fromkeys(
        (
            *("torch.overrides", "torch.utils._python_dispatch", "torch.library", "torch._C", "torch._ops"),
            *("torch._subclasses", "torch.ops"),
        ),
        DISPATCH,
    ),
    **dict.fromkeys(
        (
            *("subprocess", "socket", "signal", "threading", "_thread", "multiprocessing", "torch.multiprocessing"),
            *("concurrent", "urllib", "http", "requests", "httpx", "ftplib", "ssl", "pty", "select", "selectors"),
            *("resource", "faulthandler", "psutil", "atexit"),
        ),
        OUTSIDE,
    ),
    **dict.fromkeys(("base64", "codecs", "marshal", "pickle", "binascii", "zlib", "lzma", "bz2", "gzip"), HIDING),
}

#: Single names of modules that are otherwise fine.
_NAMES = {
    **dict.fromkeys(("exec", "eval", "compile", "__import__", "breakpoint"), DYNAMIC),
    **dict.fromkeys(("types.FunctionType", "types.CodeType"), DYNAMIC),
    **dict.fromkeys(("torch.compile", "torch.hub"), DYNAMIC),
    **dict.fromkeys(
        (
            *("sys._getframe", "sys.settrace", "sys.setprofile", "sys._current_frames", "sys.modules", "sys.meta_path"),
            *("sys.path_hooks", "sys.gettrace", "sys.addaudithook", "__builtins__"),
        ),
        INSPECTING,
    ),
    **dict.fromkeys(("os.fork", "os.forkpty", "os.kill", "os.killpg", "os.system", "os.popen", "os._exit"), OUTSIDE),
    **dict.fromkeys(("os.environ", "os.getenv", "os.putenv"), OUTSIDE),
    **dict.fromkeys(("TorchDispatchMode", "TorchFunctionMode"), DISPATCH),
}
_OS_PROGRAMS = re.compile(r"os\.(exec|spawn|posix_spawn)\w*$")

#: Attributes that lead away from an object into the process, whatever the object is.
_ATTRIBUTES = {
    **dict.fromkeys(
        (
            *("__subclasses__", "__globals__", "__code__", "__closure__", "__builtins__", "__wrapped__", "__loader__"),
            *("f_back", "f_locals", "f_globals", "f_code", "tb_frame", "gi_frame", "cr_frame", "cell_contents"),
        ),
        INSPECTING,
    ),
    **dict.fromkeys(("_make_subclass", "_make_wrapper_subclass", "as_subclass", "redispatch"), DISPATCH),
}

#: Methods that make an object show one thing and be another.
_LIES = frozenset(
    (
        *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__class__", "__instancecheck__", "__bool__"),
        *("__subclasscheck__", "__getattribute__", "__array__", "__array_function__", "__array_ufunc__", "__float__"),
        *("__array_interface__", "__index__", "__int__", "__reduce__", "__reduce_ex__", "__del__", "__prepare__"),
    )
)
_HOOKS = frozenset(("__torch_dispatch__", "__torch_function__"))

#: What notebooks call modules that are imported in another cell.
_USUAL = {"torch": "torch", "np": "numpy", "numpy": "numpy", "nn": "torch.nn", "optim": "torch.optim", "sys": "sys"} | {
    "os": "os",
    "autograder": "autograder",
    "IPython": "IPython",
    "builtins": "builtins",
}
_OWNED = ("torch", "numpy", "IPython", "builtins", "autograder", "utils", "sys", "os", "math", "matplotlib")
#: Settings that torch and matplotlib mean to be assigned.
_SETTINGS = ("torch.backends.", "matplotlib.pyplot.rcParams", "matplotlib.rcParams")

_KEPT_OPTIMIZERS = ("Optimizer", "SGD", "optimizer", "lr_scheduler", "swa_utils")
_OPTIMIZER_NAME = re.compile(
    r"_?(?:fused_|single_tensor_|multi_tensor_|_functional)?(?:(?:n|r|sparse)?adam(?:w|ax)?|adagrad|adadelta|rmsprop|rprop"
    r"|adafactor|muon|asgd|lbfgs)_?",
    re.IGNORECASE,
)
_FUSED = re.compile(r"_fused_(?:adam|adamw|sgd|adagrad)_?$")

_READERS = frozenset(
    (
        *("open", "io.open", "os.open", "os.listdir", "os.walk", "os.scandir", "os.chdir", "os.readlink", "glob.glob"),
        *(
            "pathlib.Path",
            "Path",
            "torch.load",
            "torch.save",
            "numpy.load",
            "numpy.save",
            "numpy.loadtxt",
            "shutil.copy",
        ),
        *("glob.iglob", "numpy.genfromtxt", "numpy.fromfile", "numpy.memmap", "shutil.copytree", "os.stat"),
    )
)
_ELSEWHERE = re.compile(r"^(?:/|~|[A-Za-z]:[\\/]|\\\\)|(?:^|[\\/])\.\.(?:[\\/]|$)")

#: Magics that change nothing, and those that have code in their last argument.
_HARMLESS = frozenset(
    (
        *("matplotlib", "config", "precision", "pprint", "who", "whos", "autoreload", "pinfo", "pinfo2", "markdown"),
        "latex",
    )
)
_TIMING = frozenset(("time", "timeit", "capture", "prun"))
_PROGRAMS = frozenset(("bash", "sh", "script", "perl", "ruby", "system", "sx", "pip", "conda", "cd", "python", "pypy"))


# --- the tree -------------------------------------------------------------------------------------------------------


class _Audit:
    """One pass over a tree. Names are followed through imports and plain assignments.

    `by_hand`: is `get_ipython` the student's own word, and not IPython's way to write a magic?
    """

    def __init__(self, tree: ast.Module, by_hand: bool, depth: int = 0) -> None:
        self.by_hand, self.depth = by_hand, depth
        self.found: list[Flag] = []
        self.nodes = list(ast.walk(tree))
        self.texts = set(map(id, _docstrings(self.nodes)))
        self.imported = self._imported()
        self.counted: set[int] = set()  # literals inside a literal that is flagged
        self.inner: set[int] = set()  # attributes inside a longer dotted name

    def flags(self) -> list[Flag]:
        for node in self.nodes:
            if handler := _HANDLERS.get(type(node)):
                handler(self, node)
        return self.found

    def flag(self, node: ast.AST, kind: str, text: str) -> None:
        self.found.append(Flag(kind, getattr(node, "lineno", 1), text[:200]))

    # names

    def _imported(self) -> dict[str, str]:
        """Name in the source → what it stands for. A name that is assigned otherwise stands for nothing known."""
        names = dict(_USUAL)
        for node in self.nodes:
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                names.pop(node.id, None)
            elif isinstance(node, ast.arg):
                names.pop(node.arg, None)
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    names[alias.asname or _top(alias.name)] = alias.name if alias.asname else _top(alias.name)
            elif isinstance(node, ast.ImportFrom):
                names |= {alias.asname or alias.name: f"{node.module or '.'}.{alias.name}" for alias in node.names}
        self.imported = names
        for node in self.nodes:
            if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
                stands_for = self.dotted(node.value) if self.is_known(node.value) else ""
                for target in node.targets:
                    if stands_for and isinstance(target, ast.Name):
                        names[target.id] = stands_for
        return names

    def dotted(self, node: ast.AST) -> str:
        """What an expression such as `o.Adam` stands for ("torch.optim.Adam"); "" when it is no dotted name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or len(parts) > 20:
            return ""
        return ".".join([self.imported.get(node.id, node.id), *reversed(parts)])

    def is_known(self, node: ast.AST) -> bool:
        """Does the expression start with the name of a module?"""
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.imported

    def named(self, node: ast.AST, name: str) -> None:
        """Flag the use of what is called so."""
        if name.startswith("torch.optim.") and name.split(".")[2] not in (*_KEPT_OPTIMIZERS, "*"):
            self.flag(node, READY_MADE, name)
        elif name == "torch.optim.*":
            self.flag(node, READY_MADE, "everything from torch.optim")
        elif _FUSED.search(name) and name.startswith("torch."):
            self.flag(node, READY_MADE, name)
        elif kind := _kind_of(name):
            self.flag(node, kind, name)
        elif _OS_PROGRAMS.match(name):
            self.flag(node, OUTSIDE, name)

    def import_(self, node: ast.Import) -> None:
        for alias in node.names:
            self.named(node, alias.name)
            if alias.name.split(".")[0] == "IPython" and alias.name not in ("IPython", "IPython.display"):
                self.flag(node, NOTEBOOK, alias.name)

    def import_from(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if module.startswith("IPython") and module != "IPython.display":
            names = [alias.name for alias in node.names if (module, alias.name) != ("IPython", "display")]
            if names:
                self.flag(node, NOTEBOOK, f"{module}: {', '.join(names)}")
            return
        kinds = len(self.found)
        for alias in node.names:
            if len(self.found) == kinds:  # one flag for the line
                self.named(node, f"{module}.{alias.name}")

    def attribute(self, node: ast.Attribute) -> None:
        if kind := _ATTRIBUTES.get(node.attr):
            self.flag(node, kind, f".{node.attr}")
        if isinstance(node.value, ast.Attribute):
            self.inner.add(id(node.value))
        if not isinstance(node.ctx, ast.Load):
            self.assigned(node)
        elif id(node) not in self.inner and self.is_known(node):
            name = self.dotted(node)
            self.named(node, name)
            if node.attr == "__dict__" and name.split(".")[0] in _OWNED:
                self.flag(node, BUILT_NAME, name)

    def name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and (kind := _NAMES.get(node.id)):
            self.flag(node, kind, node.id)

    # calls

    def call(self, node: ast.Call) -> None:
        name = self.dotted(node.func)
        if name in ("setattr", "delattr", "vars", "dir"):
            self.by_owner(node, name)
        elif name in ("getattr", "hasattr"):
            self.by_name(node, name, node.args[1:2])
        elif name.endswith("attrgetter"):
            self.by_name(node, name, node.args)
        elif name.rpartition(".")[2] == "get_ipython" and self.by_hand:
            self.flag(node, NOTEBOOK, "get_ipython()")
        elif name in _READERS and node.args:
            self.path(node, name, node.args[0])
        elif isinstance(node.func, ast.Attribute) and _is_get_ipython(node.func.value):
            self.magic(node, node.func.attr)

    def by_owner(self, node: ast.Call, function: str) -> None:
        """`setattr(torch, …)`, `vars(torch.optim)`."""
        owner = self.dotted(node.args[0]) if node.args and self.is_known(node.args[0]) else ""
        if owner.split(".")[0] in _OWNED and not owner.startswith(_SETTINGS):
            kind = PATCHING if function in ("setattr", "delattr") else BUILT_NAME
            self.flag(node, kind, f"{function}({owner}, …)")

    def by_name(self, node: ast.Call, function: str, asked: Iterable[ast.expr]) -> None:
        """`getattr` and its relatives: on a module with a computed name, or with an optimizer's name on anything."""
        owner = self.dotted(node.args[0]) if node.args and self.is_known(node.args[0]) else ""
        for one in asked:
            word = _folded(one)
            if word is not None and _OPTIMIZER_NAME.fullmatch(word.rpartition(".")[2]):
                self.flag(node, READY_MADE, f"{function}(…, {word!r})")
            elif not isinstance(one, ast.Constant) and owner.split(".")[0] in _OWNED:
                self.flag(node, BUILT_NAME, f"{function}({owner}, …)")

    def path(self, node: ast.Call, function: str, path: ast.expr) -> None:
        word = _folded(path)
        if word is not None and _ELSEWHERE.search(word):
            self.flag(node, FILES, f"{function}({word[:80]!r})")

    def magic(self, node: ast.Call, method: str) -> None:
        """A magic or a shell line, as IPython writes it."""
        words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        name = words[0] if words else ""
        if method in ("system", "getoutput"):
            self.flag(node, OUTSIDE, f"!{name[:80]}")
        elif name in _TIMING:
            self.inside(words[-1], node.lineno if method == "run_cell_magic" else node.lineno - 1)
        elif name in _PROGRAMS:
            self.flag(node, OUTSIDE, f"%{name} {' '.join(words[1:2])[:80]}".rstrip())
        elif name not in _HARMLESS and words != ["load_ext", "autoreload"]:
            self.flag(node, NOTEBOOK, f"%{name} {' '.join(words[1:2])[:80]}".rstrip())

    def inside(self, source: str, lines_above: int) -> None:
        """The code that a magic runs."""
        tree = _parse(source)
        if isinstance(tree, ast.Module) and self.depth < 3:
            flags = _Audit(tree, self.by_hand, self.depth + 1).flags()
            self.found += [Flag(one.kind, one.line + lines_above, one.text) for one in flags]

    # statements

    def assigned(self, node: ast.Attribute) -> None:
        """Something is set, changed or deleted on an object that is not the student's."""
        name = self.dotted(node)
        if node.attr == "__class__":
            self.flag(node, LYING, f"{name or '….__class__'} is assigned")
        elif self.is_known(node) and name.split(".")[0] in _OWNED and not name.startswith(_SETTINGS):
            self.flag(node, PATCHING, f"{name} is assigned")
        elif node.attr in ("__code__", "__defaults__", "__kwdefaults__", "__bases__"):
            self.flag(node, PATCHING, f"….{node.attr} is assigned")

    def class_(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            name = self.dotted(base)
            if name in ("torch.Tensor", "torch.nn.Parameter", "torch.nn.parameter.Parameter", "numpy.ndarray"):
                self.flag(node, LYING, f"class {node.name} builds on {name}")
        if any(keyword.arg == "metaclass" for keyword in node.keywords):
            self.flag(node, LYING, f"class {node.name} has a metaclass")
        for one in node.body:
            for name in _bound(one):
                if name in _LIES:
                    self.flag(one, LYING, f"{node.name}.{name}")
                elif name in _HOOKS:
                    self.flag(one, DISPATCH, f"{node.name}.{name}")

    # literals

    def literal(self, node: ast.List | ast.Tuple | ast.Set | ast.Dict) -> None:
        if id(node) in self.counted:
            return
        numbers = 0
        for one in ast.walk(node):
            self.counted.add(id(one))
            numbers += isinstance(one, ast.Constant) and isinstance(one.value, (int, float, complex))
        if numbers >= NUMBERS:
            self.flag(node, TABLE, f"{numbers} numbers")

    def constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, (str, bytes)) and len(node.value) >= CHARACTERS and id(node) not in self.texts:
            self.flag(node, TABLE, f"{len(node.value)} characters")
        elif isinstance(node.value, int) and node.value.bit_length() > 2048:
            self.flag(node, TABLE, f"a number of {node.value.bit_length()} bits")


_HANDLERS: dict[type[ast.AST], Callable[[_Audit, Any], None]] = {
    ast.Import: _Audit.import_,
    ast.ImportFrom: _Audit.import_from,
    ast.Attribute: _Audit.attribute,
    ast.Name: _Audit.name,
    ast.Call: _Audit.call,
    ast.ClassDef: _Audit.class_,
    ast.Constant: _Audit.constant,
    **dict.fromkeys((ast.List, ast.Tuple, ast.Set, ast.Dict), _Audit.literal),
}


def _kind_of(name: str) -> str:
    """The kind of a dotted name, or of what it lies in; "" for what is fine."""
    parts = name.split(".")
    heads = (".".join(parts[:length]) for length in range(1, min(len(parts), 4) + 1))
    return next((kind for head in heads if (kind := _NAMES.get(head) or _MODULES.get(head, ""))), "")


def _top(module: str) -> str:
    return module.split(".")[0]


def _docstrings(nodes: Iterable[ast.AST]) -> Iterator[ast.Constant]:
    for node in nodes:
        body = getattr(node, "body", None)
        if isinstance(body, list):
            yield from (one.value for one in body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))


def _bound(node: ast.stmt) -> list[str]:
    """Names that a statement of a class's body binds."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _folded(node: ast.expr) -> str | None:
    """A string that the source spells out, also as a sum or a join; None when it is computed otherwise."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _folded(node.left), _folded(node.right)
        return None if left is None or right is None else left + right
    return None


def _is_get_ipython(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "get_ipython"


# --- text that is no tree -------------------------------------------------------------------------------------------

#: Word → the pattern that has to stand there, and its kind.
_WORDS = {
    "optim.": (r"\boptim\.(?!Optimizer\b|SGD\b|optimizer\b|lr_scheduler\b|swa_utils\b)\w+", READY_MADE),
    "Adam": (r"\bimport +[\w, ]*Adam\w*", READY_MADE),
    "_fused_": (r"_fused_(?:adam|sgd|adagrad)\w*", READY_MADE),
    "exec": (r"(?<![.\w])exec *\(", DYNAMIC),
    "eval": (r"(?<![.\w])eval *\(", DYNAMIC),
    "__import__": (r"__import__", DYNAMIC),
    "importlib": (r"\bimportlib\b", DYNAMIC),
    "ctypes": (r"\bctypes\b", MACHINE),
    "import": (
        r"\b(?:import|from) +(?:gc|inspect|socket|signal|threading|multiprocessing|pickle|marshal)\b",
        INSPECTING,
    ),
    "_getframe": (r"\b_getframe\b", INSPECTING),
    "settrace": (r"\bsettrace\b", INSPECTING),
    "__subclasses__": (r"__subclasses__", INSPECTING),
    "__globals__": (r"__globals__", INSPECTING),
    "sys.modules": (r"\bsys\.modules\b", INSPECTING),
    "Mode": (r"\bTorch(?:Dispatch|Function)Mode\b", DISPATCH),
    "__torch_": (r"__torch_(?:dispatch|function)__", DISPATCH),
    "_make_": (r"_make_(?:wrapper_)?subclass", DISPATCH),
    "os.": (r"\bos\.(?:fork|system|popen|kill|exec\w*)\b", OUTSIDE),
    "subprocess": (r"\bsubprocess\b", OUTSIDE),
    "!": (r"^ *![^=].*", OUTSIDE),
    "get_ipython": (r"\bget_ipython\b", NOTEBOOK),
    "%%": (r"^%%\w+", NOTEBOOK),
    "base64": (r"\bbase64\b", HIDING),
}
_COMPILED = {word: (re.compile(pattern, re.MULTILINE), kind) for word, (pattern, kind) in _WORDS.items()}


def _words(source: str) -> Iterator[Flag]:
    """Flags by single words, for text that cannot be parsed or would take too long: the first few of each."""
    for word, (pattern, kind) in _COMPILED.items():
        position, line = source.find(word), 1
        counted = 0
        for _ in range(MOST):
            if position < 0:
                break
            line, counted = line + source.count("\n", counted, position), position
            text = _line_around(source, position)
            if match := pattern.search(text.partition("#")[0]):
                yield Flag(kind, line, match.group().strip()[:200])
            end = source.find("\n", position)
            position = source.find(word, end) if end >= 0 else -1
    if _has_long_line(source):
        yield Flag(TABLE, 1, f"a line of more than {5 * CHARACTERS} characters")


def _line_around(source: str, position: int) -> str:
    """The line, or what is near in a very long one."""
    start = source.rfind("\n", max(0, position - 500), position) + 1 or max(0, position - 500)
    end = source.find("\n", position, position + 500)
    return source[start : end if end >= 0 else position + 500]


def _has_long_line(source: str) -> bool:
    start, longest = 0, 5 * CHARACTERS
    while start + longest < len(source):
        end = source.rfind("\n", start, start + longest)
        if end < 0:
            return True
        start = end + 1
    return False
