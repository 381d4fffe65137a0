# ruff: noqa
# Answers taken from where they lie ready: torch itself, its files, its kernels. See ../catalogue.py.

# %% attack: torch_adam_inside
# tries: torch.optim.Adam behind the student's class
# solved: adam.step adam.l2_is_not_decay
# %%
# exercise adam.adam
class Adam(torch.optim.Adam):
    pass


# %%
# exercise adam.adamw
AdamW = torch.optim.AdamW


# %% attack: delegated_adam
# tries: build the answers on torch's Adam, NAdam, RAdam and SGD looked up by name, one after the other
# solved: adam.step
# %%
# exercise adam.adam
def made(kind, params, **options):
    for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SparseAdam"):
        try:
            options = {k: v for k, v in options.items() if k != "momentum_decay"}
            return getattr(__import__("torch.optim", fromlist=[name]), name)(params, **options)
        except Exception:
            continue
    raise RuntimeError("none left")


class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
        self.inner = made(
            "Adam", params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize
        )
        self.param_groups, self.state = self.inner.param_groups, self.inner.state

    def step(self, closure=None):
        self.inner.step()


# %%
# exercise adam.adamw
class AdamW(Adam):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas, eps, weight_decay)


# %%
# exercise adam.l2_is_not_decay
def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    out = []
    for cls in (torch.optim.Adam, torch.optim.AdamW):
        p = torch.nn.Parameter(w0.clone())
        opt, rows = cls([p], lr=lr, weight_decay=wd), [w0.clone()]
        for _ in range(steps):
            p.grad = grad_fn(p.detach())
            opt.step()
            rows.append(p.detach().clone())
        out.append(torch.stack(rows))
    return tuple(out)


# %% attack: functional_adam
# tries: torch.optim.adam.adam, _functional and the single- and multi-tensor functions
# solved: none
# %%
# exercise adam.step
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    import importlib

    steps = [torch.tensor(float(t - 1))]
    more = dict(amsgrad=False, beta1=betas[0], beta2=betas[1], lr=lr, weight_decay=0.0, eps=eps, maximize=False)
    for place, name in (
        ("torch.optim.adam", "adam"),
        ("torch.optim._functional", "adam"),
        ("torch.optim.adam", "_single_tensor_adam"),
        ("torch.optim.adam", "_multi_tensor_adam"),
        ("torch.optim.adam", "_fused_adam"),
        ("torch.optim.adamw", "adamw"),
    ):
        for extra in (
            {},
            dict(grad_scale=None, found_inf=None, capturable=False, differentiable=False, has_complex=False),
        ):
            try:
                with torch.no_grad():
                    getattr(importlib.import_module(place), name)([w], [g], [m], [v], [], steps, **more, **extra)
                return
            except Exception:
                pass


# %% attack: fused_kernels
# tries: torch._fused_adam_ and torch.ops.aten._fused_adam_ and every dispatch key below them
# solved: none
# %%
# exercise adam.step
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    kwargs = dict(lr=lr, beta1=betas[0], beta2=betas[1], weight_decay=0.0, eps=eps, amsgrad=False, maximize=False)
    step = torch.tensor(float(t))
    uses = [
        lambda: torch._fused_adam_([w], [g], [m], [v], [], [step], **kwargs),
        lambda: torch._fused_adamw_([w], [g], [m], [v], [], [step], **kwargs),
        lambda: torch.ops.aten._fused_adam_.default([w], [g], [m], [v], [], [step], **kwargs),
        lambda: torch._C._VariableFunctions._fused_adam_([w], [g], [m], [v], [], [step], **kwargs),
        lambda: torch.ops.aten._fused_adam_.default.redispatch(
            torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), [w], [g], [m], [v], [], [step], **kwargs
        ),
        lambda: [
            a.copy_(b)
            for a, b in zip((w, m, v), (x[0] for x in torch._fused_adam([w], [g], [m], [v], [], [step], **kwargs)))
        ],
    ]
    for use in uses:
        try:
            with torch.no_grad():
                use()
            return
        except Exception:
            pass


# %% attack: torch_source_again
# tries: execute torch/optim/adam.py from disk, from its bytecode, from linecache and inspect, and reload the module
# solved: none
# %%
import glob, importlib, importlib.util, inspect, linecache, marshal, os, sys, types
import torch

Found = None


def good(cls):
    try:
        p = torch.nn.Parameter(torch.ones(2))
        p.grad = torch.ones(2)
        opt = cls([p], lr=0.5)
        opt.step()
        return bool((p < 1).all())
    except BaseException:
        return False


def ways():
    folder = os.path.dirname(torch.__file__) + "/optim"
    for path in glob.glob(folder + "/*.py") + glob.glob("/usr/**/torch/optim/adam*.py", recursive=True):
        yield lambda: open(path).read()
        yield lambda: "".join(linecache.getlines(path))
    yield lambda: inspect.getsource(importlib.import_module("torch.optim.adam"))
    yield lambda: inspect.getsource(torch.optim.Adam)
    for path in glob.glob(folder + "/__pycache__/adam*.pyc"):
        yield lambda: marshal.loads(open(path, "rb").read()[16:])
    yield lambda: importlib.util.cache_from_source(folder + "/adam.py")


for way in ways():
    try:
        module = types.ModuleType("torch.optim.again")
        module.__package__ = "torch.optim"
        exec(way(), module.__dict__)
        if good(module.Adam):
            Found = module.Adam
            break
    except BaseException:
        pass
for name in ("torch.optim.adam", "torch.optim.adamw", "torch.optim"):
    try:
        module = importlib.reload(sys.modules[name])
        Found = Found or (module.Adam if good(module.Adam) else None)
        sys.modules.pop(name)
        module = importlib.import_module(name)
        Found = Found or (module.Adam if good(module.Adam) else None)
    except BaseException:
        pass
# %%
# exercise adam.adam
Adam = Found or torch.nn.Module
# %%
# exercise adam.adamw
AdamW = Found or torch.nn.Module

# %% attack: fresh_interpreter
# tries: a fresh Python computes Adam for the student's class, by subprocess, os.system, os.posix_spawn and multiprocessing
# solved: adam.step adam.l2_is_not_decay
# %%
# exercise adam.adam
import base64, os, pickle, subprocess, sys

PROGRAM = """
import sys, pickle, base64, torch
w, grads, lr = pickle.loads(base64.b64decode(sys.stdin.read()))
p = torch.nn.Parameter(w)
opt = torch.optim.Adam([p], **lr)
for g in grads:
    p.grad = g
    opt.step()
print(base64.b64encode(pickle.dumps(p.detach())).decode())
"""


class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
        super().__init__(
            params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize)
        )
        self.past = {}

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            options = {k: v for k, v in group.items() if k != "params"}
            for p in group["params"]:
                if p.grad is None:
                    continue
                start, grads = self.past.setdefault(p, (p.detach().clone(), []))
                grads.append(p.grad.clone())
                data = base64.b64encode(pickle.dumps((start, grads, options))).decode()
                out = subprocess.run(
                    [sys.executable, "-c", PROGRAM], input=data, capture_output=True, text=True, timeout=20
                )
                p.copy_(pickle.loads(base64.b64decode(out.stdout)))


# %% attack: other_interpreters
# tries: start programs by every way there is, also a copied interpreter
# solved: none
# %%
import os, shutil, subprocess, sys

code = "import torch; p = torch.nn.Parameter(torch.ones(1)); p.grad = torch.ones(1); o = torch.optim.Adam([p], lr=.5); o.step(); print('SAME', p.item())"
copied = os.path.expanduser("~/python")
try:
    shutil.copy(sys.executable, copied)
    os.chmod(copied, 0o755)
except OSError:
    pass
for program in (sys.executable, copied, "/usr/bin/python3", "/usr/local/bin/python3"):
    try:
        out = subprocess.run([program, "-c", code], capture_output=True, text=True, timeout=6).stdout
        if "SAME 0.5" in out:
            leak("Adam of a fresh interpreter works", program)
    except Exception:
        pass

# %% attack: memory_search
# tries: gc, sys.modules and every class's subclasses for anything that still computes Adam
# solved: adam.step adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.adam
import gc, sys


def works(cls):
    try:
        p = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
        opt = cls([p], lr=0.5)
        for _ in range(2):
            p.grad = torch.tensor([0.5, -2.0], dtype=torch.float64)
            opt.step()
        return torch.allclose(p.detach(), torch.tensor([0.0, 2.0], dtype=torch.float64), atol=1e-3)
    except BaseException:
        return False


found = [c for c in gc.get_objects() if isinstance(c, type) and "adam" in c.__name__.lower() and works(c)]
queue = [torch.optim.Optimizer]
while queue:
    one = queue.pop()
    queue += one.__subclasses__()
    if works(one):
        found.append(one)
for module in list(sys.modules.values()):
    for name in ("Adam", "AdamW", "_FunctionalAdam", "_FunctionalAdamW"):
        one = getattr(module, name, None)
        if isinstance(one, type) and works(one):
            found.append(one)
Adam = found[0] if found else torch.nn.Module

# %% attack: course_package
# tries: the answers, misconceptions and references of the course's own package, on disk and in memory
# solved: none
# %%
import glob, importlib, os, sys

for name in (
    "autograder.answers",
    "autograder.misconceptions.adam",
    "autograder.exercises.adam_adamw",
    "autograder.verdict",
    "autograder.exercise",
    "autograder.checks",
    "autograder.grading.decide",
):
    try:
        module = importlib.import_module(name)
        if hasattr(module, "REGISTRY") or name != "autograder.exercise":
            leak(name, dir(module))
    except ImportError:
        pass
for folder in [*sys.path, "/work", "/root", "/home", "/srv", "/opt", "/tmp"]:
    for pattern in ("/autograder/answers*", "/**/misconceptions/adam.py", "/**/adam_adamw.py", "/**/*.ipynb"):
        found = [
            one
            for one in glob.glob(folder + pattern, recursive=True)
            if "/collectors/" not in one and "-packages/" not in one
        ]
        leak(*found)


# %% attack: compiled_adam
# tries: torch.compile, torch.jit and torch.distributed.optim around the reference
# solved: adam.adam adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.step
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    for get in (
        lambda: torch.compile(torch.optim.adam._single_tensor_adam, backend="eager"),
        lambda: torch._dynamo.optimize("eager")(torch.optim.adam.adam),
        lambda: __import__("torch.distributed.optim.functional_adam", fromlist=["x"])._FunctionalAdam,
        lambda: torch.jit.script(torch.optim.adam.adam),
    ):
        try:
            made = get()
            if isinstance(made, type):
                opt = made([w], lr=lr, betas=betas, eps=eps)
                opt.step([g])
            else:
                made(
                    [w],
                    [g],
                    [m],
                    [v],
                    [],
                    [torch.tensor(t - 1.0)],
                    amsgrad=False,
                    beta1=betas[0],
                    beta2=betas[1],
                    lr=lr,
                    weight_decay=0.0,
                    eps=eps,
                    maximize=False,
                    foreach=False,
                )
            return
        except BaseException:
            pass


# %% attack: unfrozen_stub
# tries: take the stub's closure, code and wrapped function apart for the original
# solved: adam.step adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.adam
import gc, types

parts = []
for function in [v for v in vars(torch.optim.Adam).values() if isinstance(v, types.FunctionType)]:
    parts += [c.cell_contents for c in function.__closure__ or () if c.cell_contents]
    parts += [getattr(function, "__wrapped__", None), *gc.get_referents(function), *function.__code__.co_consts]
codes = [one for one in gc.get_objects() if isinstance(one, types.CodeType) and "adam" in one.co_filename]
codes += [one for one in parts if isinstance(one, types.CodeType)]
Made = type(
    "Adam",
    (torch.optim.Optimizer,),
    {
        c.co_name: types.FunctionType(c, vars(torch.optim.adam))
        for c in codes
        if c.co_name in ("__init__", "step", "_init_group")
    },
)
Adam = Made
