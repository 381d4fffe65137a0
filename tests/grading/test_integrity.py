"""Review flags: everything that deserves a look is flagged on its line, honest work is not, nothing breaks the audit."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from autograder.grading import integrity
from autograder.grading.integrity import (
    BUILT_NAME,
    DISPATCH,
    DYNAMIC,
    FILES,
    HIDING,
    INSPECTING,
    LYING,
    MACHINE,
    MOST,
    NOTEBOOK,
    OUTSIDE,
    PATCHING,
    READY_MADE,
    TABLE,
    UNREADABLE,
    Flag,
    audit_source,
)

FLAGGED = [
    # ready-made optimizers, under any name
    ("opt = torch.optim.Adam(p)", READY_MADE),
    ("import torch.optim as o\no.AdamW(p)", READY_MADE),
    ("from torch import optim as o\nx = o.NAdam", READY_MADE),
    ("from torch.optim import Adam as A", READY_MADE),
    ("from torch.optim import *", READY_MADE),
    ("import torch.optim.adam", READY_MADE),
    ("from torch.optim.adam import adam", READY_MADE),
    ("from torch.optim import _functional", READY_MADE),
    ("o = torch.optim\no.RMSprop(p)", READY_MADE),
    ("class Mine(torch.optim.Adam):\n    pass", READY_MADE),
    ("optim.RAdam(p)", READY_MADE),
    ("torch._fused_adam_(p)", READY_MADE),
    ("torch.ops.aten._fused_adam_.default(p)", DISPATCH),
    ("import torch.distributed.optim", READY_MADE),
    ("from sklearn.neural_network import MLPClassifier", READY_MADE),
    ("getattr(torch.optim, 'Adam')", READY_MADE),
    ("getattr(torch.optim, 'Ad' + 'am')", READY_MADE),
    ("getattr(x, '_fused_adam_')", READY_MADE),
    ("import operator\noperator.attrgetter('optim.AdamW')(torch)", READY_MADE),
    # names made while it runs
    ("getattr(torch.optim, name)", BUILT_NAME),
    ("getattr(torch, ''.join(['op', 'tim']))", BUILT_NAME),
    ("vars(torch.optim)['Ad' 'am']", BUILT_NAME),
    ("torch.optim.__dict__['Adam']", BUILT_NAME),
    ("dir(torch.optim)", BUILT_NAME),
    # code made while it runs
    ("exec('x')", DYNAMIC),
    ("y = eval(x)", DYNAMIC),
    ("compile(s, 'f', 'exec')", DYNAMIC),
    ("__import__('os')", DYNAMIC),
    ("import importlib", DYNAMIC),
    ("from importlib import import_module", DYNAMIC),
    ("import types\ntypes.FunctionType(c, {})", DYNAMIC),
    ("f = exec", DYNAMIC),
    ("torch.jit.script(f)", DYNAMIC),
    # looking around
    ("import ctypes", MACHINE),
    ("from torch.utils.cpp_extension import load_inline", MACHINE),
    ("import gc", INSPECTING),
    ("import inspect as i", INSPECTING),
    ("import sys\nsys._getframe(1)", INSPECTING),
    ("from sys import _getframe", INSPECTING),
    ("import sys\nsys.settrace(f)", INSPECTING),
    ("import sys as s\ns.setprofile(f)", INSPECTING),
    ("sys.modules['torch']", INSPECTING),
    ("sys.meta_path.insert(0, f)", INSPECTING),
    ("object.__subclasses__()", INSPECTING),
    ("f.__globals__['x']", INSPECTING),
    ("e.__traceback__.tb_frame.f_back", INSPECTING),
    ("__builtins__", INSPECTING),
    # changing what belongs to others
    ("torch.equal = f", PATCHING),
    ("torch.testing.assert_close = f", PATCHING),
    ("import numpy as n\nn.allclose = f", PATCHING),
    ("import builtins", PATCHING),
    ("setattr(torch, 'equal', f)", PATCHING),
    ("delattr(torch.optim, 'x')", PATCHING),
    ("del torch.equal", PATCHING),
    ("for torch.equal in [f]: pass", PATCHING),
    ("import autograder\nautograder.check = f", PATCHING),
    ("from autograder import evidence\nevidence.gather = f", PATCHING),
    ("sys.displayhook = f", PATCHING),
    ("torch.optim.Optimizer.step = f", PATCHING),
    ("torch.Tensor.add_ += f", PATCHING),
    ("from unittest import mock", PATCHING),
    ("f.__code__ = g.x", PATCHING),
    # between torch and its operations
    ("from torch.utils._python_dispatch import TorchDispatchMode", DISPATCH),
    ("from torch.overrides import TorchFunctionMode", DISPATCH),
    ("class A:\n    def __torch_function__(self): pass", DISPATCH),
    ("class A:\n    __torch_dispatch__ = f", DISPATCH),
    ("torch.Tensor._make_subclass(A, x)", DISPATCH),
    ("torch.Tensor._make_wrapper_subclass(A, x)", DISPATCH),
    ("import torch.library", DISPATCH),
    ("torch._C._nn", DISPATCH),
    # processes and network
    ("import os\nos.fork()", OUTSIDE),
    ("import os\nos.execv('x', [])", OUTSIDE),
    ("from os import system", OUTSIDE),
    ("import subprocess", OUTSIDE),
    ("import socket", OUTSIDE),
    ("import signal", OUTSIDE),
    ("import threading", OUTSIDE),
    ("from multiprocessing import Process", OUTSIDE),
    ("import urllib.request", OUTSIDE),
    ("import os\nos.environ['X']", OUTSIDE),
    ("!cat /etc/passwd", OUTSIDE),
    ("x = !ls", OUTSIDE),
    ("%%bash\nls", OUTSIDE),
    ("%%script perl\nprint", OUTSIDE),
    ("%pip install optax", OUTSIDE),
    # files
    ("open('/proc/self/maps')", FILES),
    ("open('../../source/05.ipynb').read()", FILES),
    ("open('~/x')", FILES),
    ("from pathlib import Path\nPath('/work').glob('*')", FILES),
    ("import numpy as np\nnp.load('..' + '/x.npy')", FILES),
    ("import os\nos.listdir('/')", FILES),
    ("torch.load('C:\\\\x')", FILES),
    # the notebook's machinery
    ("get_ipython().input_transformers_cleanup.append(f)", NOTEBOOK),
    ("ip = get_ipython()", NOTEBOOK),
    ("import IPython\nIPython.get_ipython().x = 1", NOTEBOOK),
    ("from IPython.core.magic import register_line_magic", NOTEBOOK),
    ("from IPython import get_ipython", NOTEBOOK),
    ("%run other.py", NOTEBOOK),
    ("%%javascript\nalert(1)", NOTEBOOK),
    ("%load_ext something", NOTEBOOK),
    # objects that lie
    ("class A:\n    def __eq__(self, o): return True", LYING),
    ("class A:\n    @property\n    def __class__(self): return int", LYING),
    ("class A(torch.Tensor): pass", LYING),
    ("import numpy as np\nclass A(np.ndarray): pass", LYING),
    ("class A(metaclass=M): pass", LYING),
    ("class A:\n    __array__ = f", LYING),
    ("x.__class__ = Y", LYING),
    # memorised numbers, encoded data
    (f"table = {[0.5] * 200}", TABLE),
    (f"table = {[[1, 2]] * 100}", TABLE),
    (f"table = {'x' * 3000!r}", TABLE),
    (f"table = {b'x' * 3000!r}", TABLE),
    (f"table = {2**4000}", TABLE),
    ("import base64", HIDING),
    ("import codecs", HIDING),
    ("from marshal import loads", HIDING),
    ("import pickle as p", HIDING),
    # IPython's own syntax around Python
    ("%%time\nx = 1\ny = torch.optim.Adam(p)", READY_MADE),
    ("x = 1\n%timeit exec('y')", DYNAMIC),
]


@pytest.mark.parametrize(("source", "kind"), FLAGGED, ids=[source[:50] for source, _ in FLAGGED])
def test_what_deserves_a_look_is_flagged(source: str, kind: str) -> None:
    assert kind in {flag.kind for flag in audit_source(source)}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("\n\nx = torch.optim.Adam(p)", 3),
        ("x = 1\n%matplotlib inline\nimport gc", 3),
        ("%%time\n\nimport gc", 3),
        ("x = 1\n%time torch.optim.Adam(p)", 2),
        ("def f(:\n\n    torch.optim.Adam(p)", 3),
        ("\n" * 60_000 + "torch.optim.Adam(p)", 60_001),
    ],
)
def test_the_line_is_the_one_in_the_source(source: str, line: int) -> None:
    assert line in {flag.line for flag in audit_source(source) if flag.kind in (READY_MADE, INSPECTING)}


HONEST = [
    "import torch\nclass Adam(torch.optim.Optimizer):\n    def step(self): super().step()",
    "opt = torch.optim.SGD(p, 0.1)\ns = torch.optim.lr_scheduler.StepLR(opt, 3)",
    "from torch.optim import Optimizer",
    "import matplotlib.pyplot as plt\nplt.rcParams['figure.dpi'] = 100\nplt.rcParams.update({})\nfig.x = 1",
    "torch.backends.cudnn.deterministic = True",
    "%matplotlib inline\n%load_ext autoreload\n%autoreload 2\nx = 1",
    "%%time\nx = 1",
    "x = y.grad\nz = self.state[p]\nself.beta = 1\np.grad = None\nmodel.code = 3",
    "from IPython.display import HTML, display\nfrom IPython import display",
    "getattr(torch, 'float64')\nhasattr(p, 'grad')\ngetattr(group, name)",
    "def f(signal, select): return signal.mean() + select.x",
    "torch = 3\ntorch.x = 1",
    "open('notes.txt').read()\nopen(path)\ntorch.save(x, path)\ntorch.save(x, 'checkpoint.pt')",
    '"""' + "A long docstring. " * 300 + '"""',
    "x = [0.1, 0.2, 0.3] * 100",
    "class A:\n    def __init__(self): pass\n    def __repr__(self): return ''\n    def __len__(self): return 1",
    "# torch.optim.Adam would do it\n'torch.optim.Adam'",
    "x = model.eval()\npattern.compile('x')",
    "def f(:\n    pass",
    "print('exec is a word')\nawait x\ntorch.optim.Adam?",
    "",
]


@pytest.mark.parametrize("source", HONEST, ids=[source[:50] for source in HONEST])
def test_honest_work_is_not_flagged(source: str) -> None:
    if source.endswith("Adam?"):  # asking for help on it is no use of it, but it cannot be told from text
        source = source.rpartition("\n")[0]
    assert audit_source(source) == ()


def test_no_accepted_answer_and_no_sample_is_flagged(root: Path) -> None:
    files = [*(root / "autograder" / "answers").glob("*.py"), *(root / "course" / "sample_class").glob("*.py")]
    assert len(files) > 6
    for path in files:
        for piece in path.read_text(encoding="utf-8").split("\n\n\n"):  # one answer; files are longer than notebooks
            assert audit_source(piece) == (), path


def test_no_solution_of_the_course_is_flagged(root: Path) -> None:
    cells = [
        (path.name, cell["id"], "".join(cell["source"]))
        for path in (root / "source").rglob("*.ipynb")
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code" and cell["metadata"].get("nbgrader", {}).get("solution")
    ]
    assert len(cells) > 10
    for name, cell_id, source in cells:
        assert audit_source(source) == (), (name, cell_id)


MEGABYTE = {
    "lines of code": "y = torch.optim.Adam(p)  # some more text\nx = [1, 2, 3]\n" * 18_000,
    "one literal": "x = [" + "1.5," * 250_000 + "]",
    "one line": "x" * 1_000_000,
    "empty lines": "\n" * 1_000_000,
    "comments": "# exec(\n" * 120_000,
    "a syntax error": "def f(:\n" + "x = 1\n" * 160_000,
    "magics": "!ls\n" * 250_000,
    "just parsed": "def f(a, b):\n    return a.b(c.d, 1.5) + x[3] * 2\n" * 1_000,
    "just translated": "x = f(1)\n" * 2_000 + "!ls\n",
}


@pytest.mark.parametrize("name", MEGABYTE)
def test_long_sources_take_no_time(name: str) -> None:
    audit_source("!ls")  # imports IPython's part
    times = []
    for _ in range(3):  # the best of three: others use this machine too
        start = time.process_time()
        flags = audit_source(MEGABYTE[name])
        times.append(time.process_time() - start)
    assert min(times) < 0.4  # 0.2 s on an idle machine
    assert len(flags) <= MOST + 1


STRANGE = {
    "null bytes": ("x = 1\n\0\0import gc", UNREADABLE),
    "lone surrogates": ("x = '\ud800'\nimport gc", INSPECTING),
    "open brackets": ("(" * 40_000, TABLE),
    "brackets": ("[" * 20_000 + "]" * 20_000, TABLE),
    "minus signs": ("x = " + "-" * 45_000 + "1", UNREADABLE),
    "dots": ("a" + ".b" * 20_000, UNREADABLE),
    "a sum": ("x = " + "+".join("1" * 20_000), UNREADABLE),
    "elif": ("if a: pass\n" + "elif a: pass\n" * 3_700, UNREADABLE),
    "larger than anything": ("x" * 3_000_000, UNREADABLE),
    "an open string": ("x = '''" + "exec(a)\n" * 10, DYNAMIC),
    "tabs and spaces": ("if 1:\n\tx\n        exec(y)", DYNAMIC),
    "control characters": ("x\x0c\x1b = 1\nimport gc", INSPECTING),
    "carriage returns": ("x = 1\r\nimport gc\r\n", INSPECTING),
    "a sum inside getattr": ("getattr(torch, " + "+".join(["'a'"] * 900) + ")\nexec(x)", DYNAMIC),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_sources_are_survived_and_told(name: str) -> None:
    source, kind = STRANGE[name]
    assert kind in {flag.kind for flag in audit_source(source)}


@pytest.mark.parametrize(
    "source", ["\\\n" * 20_000, "\n".join(" " * i + "if 1:" for i in range(300)), "?" * 999, "%", "!"]
)
def test_odd_text_raises_nothing(source: str) -> None:
    assert all(isinstance(flag, Flag) for flag in audit_source(source))


def test_every_kind_has_a_test() -> None:
    kinds = {value for name, value in vars(integrity).items() if name.isupper() and isinstance(value, str)}
    kinds.discard(integrity._TOO_DEEP)
    tested = {kind for _, kind in FLAGGED} | {kind for _, kind in STRANGE.values()}
    assert kinds == tested


def test_a_flood_is_cut_off() -> None:
    flags = audit_source("\n".join(f"exec({i})" for i in range(500)))
    assert len(flags) == MOST + 1
    assert flags[-1] == Flag(UNREADABLE, MOST + 1, f"and {500 - MOST} more flags")
