"""References are absent: every route to a ready-made Adam that works in an ordinary process is closed after `remove`.

Each attack is tried twice, in a fork of an ordinary process, where it has to work (or it would prove nothing), and in a
fork of one that went through `remove` and sees the masked files, where it must not get a single step out.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from evidence_runs import given_runs

from autograder.grading.references import files_to_mask, remove
from autograder.grading.stage import stage

FORBIDDEN = ("torch.optim.Adam", "torch.optim.AdamW", "torch.optim.adam")
HERE = Path(__file__).resolve().parent

# --- a process that forks one child per attack ----------------------------------------------------------------------

#: What every attack finds in its namespace.
PRELUDE = """
import gc, importlib, os, sys, types
import torch
torch.manual_seed(0)
START, GRADS = torch.randn(3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
LR, B1, B2, EPS = 0.05, 0.8, 0.95, 0.01

def drive(make, sparse=False):
    "The path of an optimizer class."
    p = torch.nn.Parameter(START.clone())
    return step_through(make([p], lr=LR, betas=(B1, B2), eps=EPS), p, sparse)

def step_through(opt, p, sparse=False):
    rows = []
    for g in GRADS:
        p.grad = g.clone().to_sparse() if sparse else g.clone()
        opt.step()
        rows.append(p.detach().tolist())
    return rows

@torch.no_grad()
def drive_function(update, **more):
    "The path of a function on lists: torch.optim.adam.adam and its relatives."
    p, m, v, t = START.clone(), torch.zeros_like(START), torch.zeros_like(START), torch.tensor(0.0)
    rows = []
    for g in GRADS:
        update([p], [g.clone()], [m], [v], [], [t], amsgrad=False, beta1=B1, beta2=B2, lr=LR, weight_decay=0.0, eps=EPS,
               maximize=False, **more)
        rows.append(p.tolist())
    return rows

@torch.no_grad()
def drive_fused(op, lr=LR, copies=False):
    "The path of a fused operator, which wants the step counted before it."
    p, m, v, t = START.clone(), torch.zeros_like(START), torch.zeros_like(START), torch.tensor(0.0)
    rows = []
    for g in GRADS:
        t += 1
        out = op([p], [g.clone()], [m], [v], [], [t], lr=lr, beta1=B1, beta2=B2, weight_decay=0.0, eps=EPS,
                 amsgrad=False, maximize=False)
        if copies:
            p, m, v = out[0][0], out[2][0], out[3][0]
        rows.append(p.tolist())
    return rows
"""

#: Adam written out, as the truth.
TRUTH = (
    PRELUDE
    + """
result, w, m, v = [], START.clone(), torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
for t, g in enumerate(GRADS, 1):
    m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
    w = w - LR * (m / (1 - B1**t)) / ((v / (1 - B2**t)).sqrt() + EPS)
    result.append(w.tolist())
"""
)

#: What somebody could have kept from before.
SAVED = """
import torch
SAVED_CLASS, SAVED_STEP, SAVED_MODULE = torch.optim.Adam, torch.optim.Adam.step, sys.modules["torch.optim.adam"]
SAVED_FUNCTION, SAVED_SINGLE = SAVED_MODULE.adam, SAVED_MODULE._single_tensor_adam
SAVED_DICT = dict(vars(SAVED_CLASS))
SAVED_P = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
SAVED_OBJECT = SAVED_CLASS([SAVED_P], lr=0.05, betas=(0.8, 0.95), eps=0.01)
"""

CLONE_NEWNS, CLONE_NEWUSER, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x10000000, 4096, 16384, 1 << 18


def hide(masks: dict[str, str]) -> bool:
    """Put the texts over the files for this process and its children. False where the machine does not allow it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        return False
    folder = tempfile.mkdtemp()
    for number, (path, text) in enumerate(masks.items()):
        source = Path(folder) / str(number)
        source.write_text(text)
        if libc.mount(str(source).encode(), path.encode(), None, MS_BIND, None):
            return False
    return True


def zygote(guarded: bool) -> None:
    """Read attacks from stdin, one JSON string a line; answer each with one line, from a fork."""
    saved: dict[str, Any] = {"sys": sys}
    import torch._dynamo  # as the grading process does  # noqa: F401

    exec(SAVED, saved)
    first = {"hidden": False}
    if guarded:
        removal = remove(FORBIDDEN)
        first = {"hidden": hide(dict(files_to_mask(FORBIDDEN))), "seconds": removal.seconds}  # type: ignore[dict-item]
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        print(json.dumps(in_a_fork(json.loads(line), dict(saved))), flush=True)


def in_a_fork(code: str, namespace: dict[str, Any]) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            exec(compile(code, "<attack>", "exec"), namespace)
            answer = {"rows": namespace["result"]}
        except BaseException as error:
            chain = [error]
            while following := (chain[-1].__cause__ or chain[-1].__context__):
                chain.append(following)
            answer = {"error": " < ".join(f"{type(one).__name__}: {one}"[:300] for one in chain)}
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], 60)
    if not ready:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    status = os.waitpid(child, 0)[1]
    return dict(json.loads(data)) if data else {"error": f"died with status {status}"}


class Zygote:
    """The other end of `zygote`, in the test process."""

    def __init__(self, folder: Path, guarded: bool) -> None:
        self.folder = folder
        stage(folder, extra=("grading/references.py",))
        code = f"import test_references as t; t.zygote({guarded})"
        paths = os.pathsep.join([str(folder), str(HERE)])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes)
        self.first = self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process that forks has died"
        return dict(json.loads(line))

    def run(self, code: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(tmp_path_factory.mktemp("guarded"), True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(tmp_path_factory.mktemp("ordinary"), False)
    yield made
    made.close()


# --- the attacks ----------------------------------------------------------------------------------------------------

FOUND = "next(o for o in gc.get_objects() if isinstance(o, {kind}) and o.__name__ == {name!r} and {more})"

IN_THE_PROCESS = {
    "torch.optim.Adam": "result = drive(torch.optim.Adam)",
    "AdamW without decay": "result = drive(lambda p, **k: torch.optim.AdamW(p, weight_decay=0, **k))",
    "foreach": "result = drive(lambda p, **k: torch.optim.Adam(p, foreach=True, **k))",
    "fused": "result = drive(lambda p, **k: torch.optim.Adam(p, fused=True, **k))",
    "amsgrad": "result = drive(lambda p, **k: torch.optim.Adam(p, amsgrad=True, **k))",
    "a look-alike, NAdam": "result = drive(torch.optim.NAdam)",
    "a look-alike, RAdam": "result = drive(torch.optim.RAdam)",
    "a look-alike, Adamax": "result = drive(torch.optim.Adamax)",
    "SparseAdam on dense numbers": "result = drive(torch.optim.SparseAdam, sparse=True)",
    "RMSprop": "result = drive(lambda p, lr, betas, eps: torch.optim.RMSprop(p, lr, betas[1], eps))",
    "a class saved before": "result = drive(SAVED_CLASS)",
    "a function saved before": "result = drive_function(SAVED_FUNCTION, foreach=False)",
    "a helper saved before": """
result = drive_function(SAVED_SINGLE, grad_scale=None, found_inf=None, capturable=False, differentiable=False,
                        has_complex=False, decoupled_weight_decay=False)""",
    "an object made before": """
with torch.no_grad():
    SAVED_P.copy_(START)
result = step_through(SAVED_OBJECT, SAVED_P)""",
    "a subclass": "class Mine(torch.optim.Adam): pass\nresult = drive(Mine)",
    "a subclass after undoing what raises": """
for name in ("__new__", "__init_subclass__"):
    if REMOVED: delattr(SAVED_CLASS, name)
class Mine(SAVED_CLASS): pass
result = drive(Mine)""",
    "__new__ and Optimizer.__init__ by hand": """
p = torch.nn.Parameter(START.clone())
opt = object.__new__(SAVED_CLASS)
torch.optim.Optimizer.__init__(opt, [p], dict(lr=LR, betas=(B1, B2), eps=EPS, weight_decay=0, amsgrad=False,
    maximize=False, foreach=False, capturable=False, differentiable=False, fused=None, decoupled_weight_decay=False))
result = step_through(opt, p)""",
    "a class made of a saved __dict__": """
own = {k: v for k, v in SAVED_DICT.items() if k not in ("__dict__", "__weakref__", "__init__")}
def init(self, p, lr, betas, eps):
    torch.optim.Optimizer.__init__(self, p, dict(lr=lr, betas=betas, eps=eps, weight_decay=0, amsgrad=False,
        maximize=False, foreach=False, capturable=False, differentiable=False, fused=None,
        decoupled_weight_decay=False))
result = drive(type("Mine", (torch.optim.Optimizer,), {**own, "__init__": init}))""",
    "a saved step bound to an object": """
class Mine(torch.optim.Optimizer):
    step, _init_group = SAVED_STEP, SAVED_DICT["_init_group"]
    def __init__(self, p, lr, betas, eps):
        super().__init__(p, dict(lr=lr, betas=betas, eps=eps, weight_decay=0, amsgrad=False, maximize=False,
            foreach=False, capturable=False, differentiable=False, fused=None, decoupled_weight_decay=False))
result = drive(Mine)""",
    "code of a saved function in a new one": """
f = SAVED_SINGLE
result = drive_function(types.FunctionType(f.__code__, f.__globals__, "f", None, f.__closure__), grad_scale=None,
    found_inf=None, capturable=False, differentiable=False, has_complex=False, decoupled_weight_decay=False)""",
    "the closure of a decorated function": """
inner = [c.cell_contents for c in SAVED_FUNCTION.__closure__ if callable(c.cell_contents)]
result = drive_function(next(f for f in inner if f.__name__ == "adam"), foreach=False)""",
    "Optimizer.__subclasses__()": """
result = drive(next(c for c in torch.optim.Optimizer.__subclasses__() if c.__name__ == "Adam"))""",
    "a class found with gc": f"result = drive({FOUND.format(kind='type', name='Adam', more='True')})",
    "a function found with gc": """
f = next(f for f in gc.get_objects() if isinstance(f, types.FunctionType) and f.__name__ == "_single_tensor_adam")
result = drive_function(f, grad_scale=None, found_inf=None, capturable=False, differentiable=False,
    has_complex=False, decoupled_weight_decay=False)""",
    "code found through every object": """
def codes(c):
    yield c
    for one in c.co_consts:
        if isinstance(one, types.CodeType): yield from codes(one)
seen, found = set(), None
for o in gc.get_objects():
    for r in (o, *gc.get_referents(o)):
        if isinstance(r, types.CodeType) and id(r) not in seen:
            seen.add(id(r))
            for c in codes(r):
                if c.co_name == "_single_tensor_adam" and "exp_avgs" in c.co_varnames: found = c
result = drive_function(types.FunctionType(found, vars(SAVED_MODULE) | vars(sys.modules["torch.optim.optimizer"])
    | {"cast": lambda a, b: b}), grad_scale=None, found_inf=None, capturable=False, differentiable=False,
    has_complex=False, decoupled_weight_decay=False)""",
    "sys.modules": "result = drive_function(sys.modules['torch.optim.adam'].adam, foreach=False)",
    "torch.optim._functional": "import torch.optim._functional as F\nresult = drive_function(F.adam, foreach=False)",
    "torch.optim._multi_tensor": "from torch.optim._multi_tensor import Adam\nresult = drive(Adam)",
    "globals of a method": """
result = drive_function(SAVED_DICT["_init_group"].__globals__["adam"], foreach=False)""",
    "a pickle that names it": "import pickle\nresult = drive(pickle.loads(b'ctorch.optim\\nAdam\\n.'))",
    "dynamo": """
import torch._dynamo
result = drive_function(torch.compile(lambda *a, **k: SAVED_FUNCTION(*a, **k), backend="eager"), foreach=False)""",
}

KERNELS = {
    "torch._fused_adam_": "result = drive_fused(torch._fused_adam_)",
    "torch._fused_adamw_": "result = drive_fused(torch._fused_adamw_)",
    "aten": "result = drive_fused(torch.ops.aten._fused_adam_.default)",
    "aten, lr a tensor": """
result = drive_fused(torch.ops.aten._fused_adam_.tensor_lr, lr=torch.tensor(LR, dtype=torch.float64))""",
    "aten, functional": "result = drive_fused(torch.ops.aten._fused_adam.default, copies=True)",
    "aten, functional, lr a tensor": """
result = drive_fused(torch.ops.aten._fused_adam.tensor_lr, lr=torch.tensor(LR, dtype=torch.float64), copies=True)""",
    "aten, out=": """
def op(p, g, m, v, x, t, **k):
    torch.ops.aten._fused_adam.out(p, g, m, v, x, t, **k, out=p)
result = drive_fused(op)""",
    "torch._VF": "result = drive_fused(torch._VF._fused_adam_)",
    "torch._C._VariableFunctions": "result = drive_fused(torch._C._VariableFunctions._fused_adam_)",
    "the kernel of one dispatch key": """
op = torch.ops.aten._fused_adam_.default
result = drive_fused(lambda *a, **k: op._op_dk(torch._C.DispatchKey.CPU, *a, **k))""",
    "redispatch below autograd": """
op, keys = torch.ops.aten._fused_adam_.default, torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
result = drive_fused(lambda *a, **k: op.redispatch(keys, *a, **k))""",
    "a kernel handle": """
import torch.library
kernel = torch.library.get_kernel("aten::_fused_adam_", "CPU")
def op(p, g, m, v, x, t, *, lr, beta1, beta2, weight_decay, eps, amsgrad, maximize):
    kernel.call_boxed(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), p, g, m, v, x, t, lr=lr, beta1=beta1,
        beta2=beta2, weight_decay=weight_decay, eps=eps, amsgrad=amsgrad, maximize=maximize)
result = drive_fused(op)""",
    "TorchScript": """
import linecache
text = '''
def op(p: List[Tensor], g: List[Tensor], m: List[Tensor], v: List[Tensor], x: List[Tensor], t: List[Tensor],
       lr: float, b1: float, b2: float, eps: float):
    torch._fused_adam_(p, g, m, v, x, t, lr=lr, beta1=b1, beta2=b2, weight_decay=0.0, eps=eps, amsgrad=False,
                       maximize=False)
'''
unit = torch.jit.CompilationUnit(text)
result = drive_fused(lambda p, g, m, v, x, t, **k: unit.op(p, g, m, v, x, t, LR, B1, B2, EPS))""",
    "an operator from TorchScript's table": """
op, _ = torch._C._jit_get_operation("aten::_fused_adam_")
result = drive_fused(op)""",
    "functionalize": """
from torch.func import functionalize
def op(p, g, m, v, x, t, **k):
    k["amsgrad"] = True  # every list has to hold a tensor; from zero it is Adam
    def pure(p, g, m, v, x, t):
        torch._fused_adam_([p], [g], [m], [v], [x], [t], **k)
        return p.clone(), m.clone(), v.clone()
    for to, value in zip((p, m, v), functionalize(pure)(p[0], g[0], m[0], v[0], torch.zeros_like(p[0]), t[0])):
        to[0].copy_(value)
result = drive_fused(op)""",
    "a dispatch mode": """
from torch.utils._python_dispatch import TorchDispatchMode
class Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None): return func(*args, **(kwargs or {}))
with Mode():
    result = drive_fused(torch._fused_adam_)""",
    "compiled": "result = drive_fused(torch.compile(torch._fused_adam_, backend='eager'))",
    "a fallthrough in front of it": """
import torch.library
lib = torch.library.Library("aten", "IMPL")
try:
    lib.impl("_fused_adam_", torch.library.fallthrough_kernel, "Meta")
    if REMOVED: lib.impl("_fused_adam_", torch.library.fallthrough_kernel, "CPU")
finally:
    result = drive_fused(torch._fused_adam_)""",
    "a library of one's own, come and gone": """
import torch.library
lib = torch.library.Library("aten", "IMPL")
lib.impl("_fused_adam_", lambda *a, **k: None, "CPU", allow_override=True)
lib._destroy()
result = drive_fused(torch._fused_adam_)""",
    "destroying every library that can be found": """
import torch.library, weakref
for o in gc.get_objects():
    if isinstance(o, torch.library.Library) and o.ns == "aten" and REMOVED: o._destroy()
for f in list(weakref.finalize._registry):
    if "_del_library" in str(f.peek() and f.peek()[1]) and REMOVED: f()
for o in gc.get_objects():
    for r in gc.get_referents(o):
        if type(r).__name__ == "_DispatchModule" and REMOVED: r.reset()
gc.collect()
result = drive_fused(torch._fused_adam_)""",
    "C++ below the dispatcher": """
import ctypes, re
path = os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so")
lib, data = ctypes.CDLL(path), open(path, "rb").read(80 << 20)
name = re.search(rb"_ZN2at6native23_fused_adam_kernel_cpu_E[^\\0]*ddddd[^\\0]*", data).group().decode()
class Ref(ctypes.Structure): _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]
class Maybe(ctypes.Structure): _fields_ = [("value", ctypes.c_void_p), ("has", ctypes.c_bool)]
def ref(ts):
    ptr = (ctypes.c_void_p * len(ts))(*[t._cdata for t in ts])
    return Ref(ctypes.cast(ptr, ctypes.c_void_p), len(ts)), ptr
def op(*lists, lr, beta1, beta2, weight_decay, eps, amsgrad, maximize):
    refs = [ref(ts) for ts in lists]
    d, none = ctypes.c_double, ctypes.byref(Maybe())
    lib[name].restype = None
    lib[name](*[r for r, _ in refs], d(lr), d(beta1), d(beta2), d(weight_decay), d(eps), ctypes.c_bool(amsgrad),
              ctypes.c_bool(maximize), none, none)
result = drive_fused(op)""",
}

ON_DISK = {
    "reload": "result = drive_function(importlib.reload(SAVED_MODULE).adam, foreach=False)",
    "forget and import again": """
for name in list(sys.modules):
    if name.startswith("torch.optim."): del sys.modules[name]
from torch.optim.adam import Adam
result = drive(Adam)""",
    "the source executed again": """
path = os.path.join(os.path.dirname(torch.optim.__file__), "adam.py")
own = {"__name__": "torch.optim.mine", "__package__": "torch.optim"}
exec(open(path).read(), own)
result = drive(own["Adam"])""",
    "the bytecode executed again": """
import glob, marshal
path = glob.glob(os.path.join(os.path.dirname(torch.optim.__file__), "__pycache__", "adam.*.pyc"))[0]
own = {"__name__": "torch.optim.mine", "__package__": "torch.optim"}
exec(marshal.loads(open(path, "rb").read()[16:]), own)
result = drive(own["Adam"])""",
    "the file under another name": """
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("torch.optim.mine", os.path.join(os.path.dirname(torch.optim.__file__), "adam.py"))
module = module_from_spec(spec); spec.loader.exec_module(module)
result = drive(module.Adam)""",
    "inspect.getsource": """
import inspect
own = {"__name__": "torch.optim.mine", "__package__": "torch.optim"}
exec(inspect.getsource(SAVED_MODULE), own)
result = drive(own["Adam"])""",
    "the loader": """
code = importlib.util.find_spec("torch.optim._functional").loader.get_code("torch.optim._functional")
import importlib.machinery as machinery
folder = os.path.dirname(torch.optim.__file__)
own = {"__name__": "torch.optim.mine", "__package__": "torch.optim"}
exec(machinery.SourceFileLoader("x", os.path.join(folder, "adam.py")).get_code("x"), own)
result = drive(own["Adam"])""",
    "torch.distributed.optim": """
import torch.distributed.optim.functional_adam as F
p = START.clone()
opt = F._FunctionalAdam([p], lr=LR, betas=(B1, B2), eps=EPS)
result = []
for g in GRADS:
    opt.step([g.clone()]); result.append(p.tolist())""",
    "as_functional_optim": """
from torch.distributed.optim import as_functional_optim
p = START.clone()
opt = as_functional_optim(SAVED_CLASS, lr=LR, betas=(B1, B2), eps=EPS)
result = []
for g in GRADS:
    opt.step_param(p, g.clone()); result.append(p.tolist())""",
    "a new interpreter": """
import json, subprocess
code = PRELUDE + "print(drive(torch.optim.Adam))"
result = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)""",
    "a new, isolated interpreter": """
import json, subprocess
code = "import sys; sys.path[:] = " + repr(sys.path) + PRELUDE + "from torch.optim import AdamW; print(drive("
code += "lambda p, **k: AdamW(p, weight_decay=0, **k)))"
command = [sys.executable, "-I", "-S", "-c", code]
result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)""",
}


def outcome(answer: dict[str, Any], truth: Sequence[Sequence[float]]) -> str:
    """Adam's own path, another path, or the error."""
    if "error" in answer:
        return str(answer["error"])
    flat = [abs(a - b) for one, two in zip(answer["rows"], truth, strict=True) for a, b in zip(one, two, strict=True)]
    return "Adam" if max(flat) < 1e-9 else "other numbers"


@pytest.fixture(scope="module")
def truth(ordinary: Zygote) -> list[list[float]]:
    return list(ordinary.run(TRUTH)["rows"])


def both(code: str, ordinary: Zygote, guarded: Zygote, truth: list[list[float]]) -> tuple[str, str]:
    prelude = f"{PRELUDE}\nPRELUDE = {PRELUDE!r}\nREMOVED = "
    before = outcome(ordinary.run(f"{prelude}False\n{code}"), truth)
    after = outcome(guarded.run(f"{prelude}True\n{code}"), truth)
    return before, after


@pytest.mark.parametrize("name", IN_THE_PROCESS)
def test_no_object_in_the_process_computes(name: str, ordinary: Zygote, guarded: Zygote, truth: Any) -> None:
    before, after = both(IN_THE_PROCESS[name], ordinary, guarded, truth)
    assert before in ("Adam", "other numbers")
    assert after not in ("Adam", "other numbers")


@pytest.mark.parametrize("name", KERNELS)
def test_no_kernel_computes(name: str, ordinary: Zygote, guarded: Zygote, truth: Any) -> None:
    before, after = both(KERNELS[name], ordinary, guarded, truth)
    assert before in ("Adam", "other numbers")
    assert after not in ("Adam", "other numbers")


@pytest.mark.parametrize("name", ON_DISK)
def test_no_file_computes(name: str, ordinary: Zygote, guarded: Zygote, truth: Any) -> None:
    if not guarded.first["hidden"]:
        pytest.skip("this machine lets nobody mount files in a namespace of their own")
    before, after = both(ON_DISK[name], ordinary, guarded, truth)
    assert before == "Adam"
    assert after not in ("Adam", "other numbers")


# --- what stays, and what it costs ----------------------------------------------------------------------------------


def test_removal_is_quick_and_there_are_enough_routes(guarded: Zygote) -> None:
    assert guarded.first["seconds"] < 5  # once per assignment; about 0.4 s on an idle machine
    assert len(IN_THE_PROCESS) + len(KERNELS) + len(ON_DISK) >= 25


STAYS = {
    "Optimizer": """
class Mine(torch.optim.Optimizer):
    def __init__(self, p, lr, betas, eps): super().__init__(p, dict(lr=lr))
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.data -= group["lr"] * p.grad
rows = drive(Mine)""",
    "SGD and schedulers": """
p = torch.nn.Parameter(START.clone())
opt = torch.optim.SGD([p], LR, momentum=0.9, foreach=True)
rows = step_through(opt, p)
torch.optim.lr_scheduler.CosineAnnealingLR(opt, 10).step()""",
    "fused SGD": """
p = torch.nn.Parameter(START.clone())
rows = step_through(torch.optim.SGD([p], LR, fused=True), p)""",
    "averaged models": """
from torch.optim.swa_utils import AveragedModel
AveragedModel(torch.nn.Linear(2, 2))
rows = []""",
    "foreach": "torch._foreach_lerp_([START], [GRADS[0]], 0.1)\nrows = [START.tolist()]",
    "names can be imported": """
from torch.optim import Adam, AdamW, RMSprop
from torch.optim.adam import adam
import torch.optim.adamw, torch.optim._functional
rows = [float(isinstance(START, Adam))]""",
    "compiled code": """
torch.compile(lambda x: x * 2, backend="eager")(START)
model = torch.nn.Linear(2, 1)
rows = [float(torch.jit.trace(model, torch.ones(1, 2))(torch.ones(1, 2)).numel())]""",
    "a message for students": """
try:
    torch.optim.Adam([START])
except RuntimeError as error:
    assert type(error).__name__ == "ReferenceUsed"
    rows = [str(error)]""",
    "introspection": """
import inspect
rows = [inspect.isclass(torch.optim.Adam), torch.optim.Adam.__name__, repr(torch.optim.Adam)]""",
}


@pytest.mark.parametrize("name", STAYS)
def test_honest_work_goes_on(name: str, guarded: Zygote) -> None:
    answer = guarded.run(f"{PRELUDE}\n{STAYS[name]}\nresult = rows")
    assert "error" not in answer, answer
    if name == "a message for students":
        assert answer["rows"] == ["torch.optim.Adam is the reference here: write the update yourself."]


def test_torch_works_in_a_new_interpreter_that_sees_the_masked_files(guarded: Zygote) -> None:
    if not guarded.first["hidden"]:
        pytest.skip("this machine lets nobody mount files in a namespace of their own")
    code = """
import torch, torch._dynamo, torch.distributed.optim, torch.optim._functional, torch.optim._multi_tensor
from torch.optim.lr_scheduler import StepLR
from torch.optim import Adam, AdamW
p = torch.nn.Parameter(torch.ones(2))
opt = torch.optim.SGD([p], 0.1)
(p * 2).sum().backward(); opt.step(); StepLR(opt, 1).step()
torch.compile(lambda x: x * 2, backend="eager")(p)
for use in (lambda: Adam([p]), lambda: type("Mine", (AdamW,), {}), lambda: torch.optim._functional.adam(), Adam.step):
    try:
        use()
    except RuntimeError as error:
        print(error)
"""
    code = code.replace(", Adam.step)", ", lambda: Adam.step)")
    run = f"""
import subprocess, sys
done = subprocess.run([sys.executable, "-c", {code!r}], capture_output=True, text=True)
result = [done.stdout, done.stderr[-600:]]"""
    said, errors = guarded.run(run)["rows"]
    assert [line.split(" is left out")[0] for line in said.splitlines()] == ["Adam", "AdamW", "adam", "Adam.step"], (
        errors
    )


# --- the evidence is what it was ------------------------------------------------------------------------------------

EVIDENCE = """
import base64, hashlib, pickle, sys, types
from typing import Any
from autograder.evidence import collecting, gather
names, answers = types.ModuleType("autograder.answers"), types.ModuleType("answers")
names.Objects = names.Mutants = Any
sys.modules["autograder.answers"], sys.modules["answers"] = names, answers
given = pickle.loads(base64.b64decode(GIVEN))
exec(compile(given["source"], given["path"], "exec"), vars(answers))
if DENY: deny_programs()
result = []
with collecting():
    for case, exercise_id, name in given["runs"]:
        found = gather(case, answers.ACCEPTED[exercise_id][name])
        arrays = {key: hashlib.sha256(a.tobytes()).hexdigest() for key, a in found.arrays.items()}
        result.append([exercise_id, name, case.name, arrays, dict(found.facts), repr(found.problem)])
"""

#: Denies execve and execveat for this process for ever, as a sandbox can.
DENY = """
import ctypes, errno, platform, struct
def deny_programs():
    numbers = {"x86_64": (59, 322), "aarch64": (221, 281)}[platform.machine()]
    rule = lambda code, jt, jf, k: struct.pack("HBBI", code, jt, jf, k)
    program = rule(0x20, 0, 0, 0) + rule(0x15, 1, 0, numbers[0]) + rule(0x15, 0, 1, numbers[1])
    program += rule(0x06, 0, 0, 0x50000 | errno.EPERM) + rule(0x06, 0, 0, 0x7FFF0000)
    buffer = ctypes.create_string_buffer(program)
    class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(Program(5, ctypes.addressof(buffer)))) == 0
"""


def test_evidence_is_identical_and_needs_no_program(root: Path, ordinary: Zygote, guarded: Zygote) -> None:
    given = base64.b64encode(pickle.dumps(given_runs(root))).decode()
    head = f"GIVEN = {given!r}\n"
    before = ordinary.run(f"{head}DENY = False\n{EVIDENCE}")["rows"]
    after = guarded.run(f"{head}{DENY}\nDENY = True\n{EVIDENCE}")["rows"]
    assert [row[-1] for row in before] == ["None"] * len(before)
    assert after == before


HONEST = """
import io
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
from torch.utils.data import DataLoader, TensorDataset
figure, ax = plt.subplots()
ax.plot([1, 2], label=r"$\\alpha$"); ax.legend(); ax.set_title("Größe")
for kind in ("png", "svg"): figure.savefig(io.BytesIO(), format=kind)
loader = DataLoader(TensorDataset(torch.randn(8, 2)), batch_size=2, num_workers=2)
batches = [batch.shape[0] for (batch,) in loader]
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool: squares = pool.map(abs, [-1, 2])
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
shell.run_cell("%precision 3\\nx = 1 + 1\\nx")
import platform, tempfile, uuid
platform.platform(), uuid.uuid4(), tempfile.mkdtemp()
torch.compile(lambda x: x * 2, backend="eager")(torch.ones(2))
result = [batches, squares, shell.user_ns["x"]]
"""


def test_nothing_honest_starts_a_program(guarded: Zygote) -> None:
    """What makes it safe to deny new programs, which is what closes the kernels of a new interpreter."""
    code = f"{DENY}\n{PRELUDE}\ndeny_programs()\n{HONEST}"
    assert guarded.run(code) == {"rows": [[2, 2, 2, 2], [1, 2], 2]}


def test_without_new_programs_there_are_no_new_kernels(ordinary: Zygote, guarded: Zygote, truth: Any) -> None:
    attack = """
import json, subprocess
code = PRELUDE + "print(drive_fused(torch._fused_adam_))"
result = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)"""
    head = f"{DENY}\n{PRELUDE}\nPRELUDE = {PRELUDE!r}\n"
    assert outcome(ordinary.run(head + attack), truth) == "Adam"
    assert outcome(guarded.run(head + attack), truth) == "Adam"  # out of reach of `remove`: the sandbox's part
    assert outcome(guarded.run(f"{head}deny_programs()\n{attack}"), truth).startswith("PermissionError")


# --- other names, and what is wrong ---------------------------------------------------------------------------------


def fresh(code: str) -> str:
    """Standard output of code in a new process; `tried(f)` there is the name of the exception, or "works"."""
    head = """
import gc, torch
from autograder.grading.references import ReferenceUsed, files_to_mask, remove
def tried(use):
    try:
        use()
    except Exception as error:
        return type(error).__name__
    return "works"
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", head + code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE.parents[1], timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_forbidden_is_nothing_done() -> None:
    said = fresh("""
p = [torch.nn.Parameter(torch.ones(2))]
removal = remove(())
print(removal.functions, removal.classes, removal.operators, removal.kernels, len(files_to_mask(())))
print(tried(lambda: torch.optim.Adam(p)))
""")
    assert said.splitlines() == ["0 0 () () 0", "works"]


def test_forbidding_sgd_takes_it_as_well() -> None:
    said = fresh("""
p = [torch.nn.Parameter(torch.ones(2))]
print(any(path.endswith("optim/sgd.py") for path in files_to_mask(("torch.optim.SGD",))))
print(any(path.endswith("optim/sgd.py") for path in files_to_mask(("torch.optim.Adam",))))
removal = remove(("torch.optim.SGD",))
print("aten::_fused_sgd_" in removal.operators, tried(lambda: torch.optim.SGD(p)), tried(lambda: torch.optim.Adam(p)))
""")
    assert said.splitlines() == ["True", "False", "True ReferenceUsed ReferenceUsed"]


def test_single_classes_and_functions_can_be_forbidden() -> None:
    said = fresh("""
p = [torch.nn.Parameter(torch.ones(2))]
opt = torch.optim.Adam(p)
from torch.nn.functional import layer_norm as saved
from torch.optim.lr_scheduler import CosineAnnealingLR as Saved
removal = remove(("torch.nn.functional.layer_norm", "torch.layer_norm", "torch.optim.lr_scheduler.CosineAnnealingLR"))
print(tried(lambda: saved(torch.ones(2), (2,))), tried(lambda: torch.layer_norm(torch.ones(2), (2,))))
print(tried(lambda: Saved(opt, 3)), tried(lambda: torch.optim.lr_scheduler.StepLR(opt, 3)), tried(opt.step))
print(removal.by_name_only)
""")
    assert said.splitlines() == [
        "ReferenceUsed ReferenceUsed",
        "ReferenceUsed works works",
        "('torch.layer_norm',)",
    ]


def test_forbidding_the_schedulers_keeps_their_base_class() -> None:
    said = fresh("""
opt = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1)
schedulers = torch.optim.lr_scheduler
masks = files_to_mask(("torch.optim.lr_scheduler",))
source = next(text for path, text in masks.items() if path.endswith("lr_scheduler.py"))
own = {"__name__": "torch.optim.mine", "__package__": "torch.optim"}
exec(source, own)
remove(("torch.optim.lr_scheduler",))
class Mine(schedulers.LRScheduler):
    def get_lr(self): return [0.1]
print(tried(lambda: Mine(opt)), tried(lambda: schedulers.StepLR(opt, 3)), tried(lambda: own["StepLR"](opt, 3)))
print(tried(lambda: own["LRScheduler"].get_lr), "gamma ** " in source)
""")
    assert said.splitlines() == ["works ReferenceUsed RuntimeError", "works False"]


@pytest.mark.parametrize(
    ("prepare", "names", "says"),
    [
        ("", ("nonsense.thing",), "is in no module that is installed here"),
        ("", ("torch.nn.functional.nonsense",), "does not exist in this installation"),
        ("gc.freeze()", ("torch.optim.Adam",), "call remove() before gc.freeze()"),
        ("import torch.distributed.optim", ("torch.optim.Adam",), "in a process that never did"),
    ],
)
def test_what_cannot_be_removed_is_refused(prepare: str, names: tuple[str, ...], says: str) -> None:
    said = fresh(f"{prepare}\ntry:\n    remove({names!r})\nexcept RuntimeError as error:\n    print(error)")
    assert says in said
    assert "\n" not in said


def test_a_torch_that_resists_is_refused() -> None:
    said = fresh("""
from autograder.grading import references
references._stop_operators = lambda with_sgd: ()
references._stop_kernels = lambda with_sgd: ()
try:
    remove(("torch.optim.Adam",))
except RuntimeError as error:
    print(error)
""")
    assert "Adam cannot be taken out (it still works): grade with a tested torch" in said


# --- nothing else in this environment -------------------------------------------------------------------------------

#: Files that speak of Adam and hold none of it: names of operators and of state, checks, documentation, stubs of types.
HARMLESS = re.compile(
    r"torch/(_dynamo/trace_rules|_meta_registrations|distributed/checkpoint/state_dict|distributed/fsdp/_optim_utils"
    r"|distributed/tensor/_ops/(_pointwise_ops|utils)|testing/_internal/(common_optimizers|distributed/distributed_test|generated/annotated_fn_args))\.py$"
)
MARKS = re.compile(rb"exp_avg|AdamOptimizer|beta_2\b|_fused_adam|class \w*Adam(?!ic)\w*\b|def \w*_?adamw?_?\(")


def test_no_other_adam_is_installed() -> None:
    masked = set(files_to_mask(FORBIDDEN))
    unknown = []
    for folder in {Path(one) for one in sys.path if one.endswith(("site-packages", "dist-packages"))}:
        for path in folder.rglob("*.py"):
            if (
                str(path) in masked
                or HARMLESS.search(path.as_posix())
                or path.is_relative_to(HERE.parents[1] / "tests")
            ):
                continue
            if MARKS.search(path.read_bytes()):
                unknown.append(str(path.relative_to(folder)))
    assert unknown == []


def test_utils_and_collectors_hold_no_adam(root: Path) -> None:
    for package in ("utils", "autograder/collectors", "autograder/launches"):
        for path in (root / package).rglob("*.py"):
            assert not re.search(r"addcdiv|lerp_|\.sqrt\(\)|import .*\bAdam", path.read_text()), path
