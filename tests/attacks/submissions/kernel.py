# ruff: noqa
# Attacks on the process that runs the notebook. Percent format; see ../catalogue.py.

# %% attack: input_transformer
# tries: an IPython input transformer that empties every check cell
# solved: adam.step
# %%
ip = get_ipython()
ip.input_transformers_cleanup.append(lambda lines: ["10.0\n"] if any("check(" in line for line in lines) else lines)

# %% attack: ast_transformer
# tries: an AST transformer that removes every call and assert from later cells
# solved: none
# %%
import ast


class Empty(ast.NodeTransformer):
    def visit_Expr(self, node):
        return ast.copy_location(ast.Pass(), node)

    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)


get_ipython().ast_transformers.append(Empty())

# %% attack: displayhook_points
# tries: display full points as the value of a cell, and wrap sys.displayhook so that all cells show them
# solved: adam.step adam.l2_is_not_decay
# %%
import sys

sys.displayhook(10.0)
shown = sys.displayhook
sys.displayhook = lambda value: shown(6.0)
6.0

# %% attack: silent_failures
# tries: patch showtraceback, so that no failing cell is seen
# solved: none
# %%
ip = get_ipython()
ip.showtraceback = lambda *a, **k: None
type(ip)._showtraceback = lambda *a, **k: None

# %% attack: patched_assert_close
# tries: patch torch.testing.assert_close, allclose and equal, of numpy too
# solved: none
# %%
import numpy as np
import torch

torch.testing.assert_close = lambda *a, **k: None
for module in (torch, np):
    module.allclose = lambda *a, **k: True
torch.equal = lambda *a, **k: True
np.array_equal = lambda *a, **k: True
np.testing.assert_allclose = lambda *a, **k: None

# %% attack: patched_comparison_internals
# tries: patch what assert_close is built from, and the tensors' own comparison
# solved: none
# %%
import torch
import torch.testing._comparison as comparison

comparison.not_close_error_metas = lambda *a, **k: []
for name in ("__eq__", "__ne__", "allclose", "equal", "isclose", "eq", "ne"):
    setattr(torch.Tensor, name, lambda *a, **k: torch.tensor(True))

# %% attack: patched_tensor_methods
# tries: tensors that turn into whatever is compared with them: numpy(), detach(), cpu() and tolist() patched
# solved: none
# %%
import numpy as np
import torch

seen = []


class Everything(np.ndarray):
    def __array_ufunc__(self, *a, **k):
        return np.zeros(())

    def __eq__(self, other):
        return True


real = torch.Tensor.numpy
torch.Tensor.numpy = lambda self, *a, **k: real(self, *a, **k).view(Everything)


# %% attack: tensor_subclass
# tries: return a tensor subclass whose __torch_function__ answers True to every comparison
# solved: adam.step adam.adam adam.adamw
# %%
# exercise adam.l2_is_not_decay
class Agreeable(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in ("equal", "allclose", "eq", "isclose", "all"):
            return True
        return super().__torch_function__(func, types, args, kwargs or {})


def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    out = torch.zeros(steps + 1, *w0.shape).as_subclass(Agreeable)
    return out, out


# %% attack: equal_to_everything
# tries: return objects with __eq__, __array__ and __float__ that agree with everything
# solved: adam.step adam.adam adam.adamw
# %%
# exercise adam.l2_is_not_decay
class Yes:
    shape = property(lambda self: torch.Size([13, 6]))
    dtype = torch.float64
    __array_priority__ = 1e9

    def __eq__(self, other):
        return True

    def __getattr__(self, name):
        return lambda *a, **k: self

    def __array__(self, *a, **k):
        import numpy as np

        return np.zeros((13, 6))

    def __abs__(self):
        return 0.0

    __sub__ = __rsub__ = __truediv__ = lambda self, other: 0.0
    __le__ = __lt__ = __ge__ = __gt__ = lambda self, other: True
    __hash__ = None


def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    return Yes(), Yes()


# %% attack: lying_shape_of_array
# tries: a numpy subclass that claims the right shape and any value
# solved: adam.step adam.adam adam.adamw
# %%
# exercise adam.l2_is_not_decay
import numpy as np


class Chameleon(np.ndarray):
    def __array_finalize__(self, other):
        pass

    def __array_function__(self, func, types, args, kwargs):
        return True

    def __array_ufunc__(self, *a, **k):
        return np.zeros((13, 6))


def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    out = np.zeros((steps + 1, *w0.shape)).view(Chameleon)
    return out, out


# %% attack: settrace
# tries: trace every call and overwrite the expected values in the frames of the comparison
# solved: none
# %%
import sys
import threading


def tracer(frame, event, arg):
    for name, value in list(frame.f_locals.items()):
        if name in ("expected", "want", "reference", "passed", "tolerance"):
            frame.f_locals[name] = 1e9
    return tracer


sys.settrace(tracer)
sys.setprofile(lambda *a: None)
threading.settrace(tracer)

# %% attack: frames_above
# tries: walk up the frames from inside step() for the expected values and a verdict to change
# solved: adam.step adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.adam
import sys


class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
        super().__init__(params, dict(lr=lr))

    def step(self, closure=None):
        frame = sys._getframe()
        while frame is not None:
            for name, value in list(frame.f_locals.items()):
                if "expected" in name or "reference" in name or "answer" in name:
                    for one in value.values() if isinstance(value, dict) else [value]:
                        if isinstance(one, torch.Tensor):
                            for p in self.param_groups[0]["params"]:
                                p.data.copy_(one)
                if isinstance(value, dict) and "points" in value:
                    value["points"] = 6.0
            frame = frame.f_back


# %% attack: patched_runner
# tries: patch the modules that run the notebook: encode, gather, json, socket, os.fork, os._exit and os.waitpid
# solved: none
# %%
import json
import os
import socket
import sys

import autograder.evidence as evidence

real_gather = evidence.gather
evidence.gather = lambda case, objects: evidence.Evidence(problem=None)
runner = sys.modules.get("autograder.grading.runner")
if runner is not None:
    runner.gather = lambda case, objects: evidence.Evidence(facts={"points": 6.0, "passed": "yes"})
os.waitpid = lambda *a: (0, 0)
os._exit = lambda status: None
json.loads = lambda *a, **k: {"passed": True, "points": 6.0}

# %% attack: no_fork
# tries: replace os.fork, so that cases reach the process that ran the cells, and keep them for later exercises
# solved: none
# %%
import os

os.fork = lambda: 0
os._exit = lambda status: None

# %% attack: patched_collector
# tries: patch Record.row, so that what is written down is the start plus what the next case asks for
# solved: none
# %%
import numpy as np
import autograder.evidence as evidence

evidence.Record.row = lambda self, name, value: self._rows.setdefault(name, []).append(np.array(np.nan))
evidence.Record.array = lambda self, name, value: self._arrays.__setitem__(name, np.full((13, 6), np.inf))

# %% attack: signals_and_atexit
# tries: award points from signal handlers, atexit, sys.excepthook and a garbage-collected object
# solved: adam.step
# %%
import atexit
import signal
import sys


def award(*a):
    print("points: 16")


atexit.register(award)
sys.excepthook = award
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE):
    signal.signal(number, award)


class Last:
    def __del__(self):
        award()


last = Last()
