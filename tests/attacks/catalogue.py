"""Hostile submissions: what each tries, which points are honest, and how it is handed in.

`submissions/<group>.py` holds the attacks of one group in percent format. Each starts with `# %% attack: <name>` and
two comments, `# tries: …` and `# solved: …` (exercises answered rightly, "all" or "none"). The cells that follow are
the student's own, in front of the first exercise; one that starts with `# exercise <id>` is that exercise's answer, and
one under `# %% end` comes last. An exercise that is neither solved nor answered gets a wrong answer that runs.

Attacks on the file and the folder are builders, in `mangled`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.exercise import REGISTRY
from autograder.publish.light import _FROM, EXERCISES, NAME
from autograder.publish.sample_class import source_solutions, submission

HERE = Path(__file__).resolve().parent

#: What attackers look for: the test puts it into everything that has to stay hidden.
CANARY = "CANARY" + "-5f1e"
#: What the helper `leak` of the attacks prints in front of what it found; the text stands in no submission.
LEAKED = "LEAK" + "ED:"

#: Stands in the attacks for the port on this machine that they try to reach.
PORT = 45871

_ATTACK = re.compile(r"^# %% attack: (\S+)$", re.MULTILINE)
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)
_EXERCISE = re.compile(r"^# exercise (\S+)$", re.MULTILINE)

#: Wrong answers that run: what an attack has to turn into points.
WRONG = {
    "adam.step": """\
@torch.no_grad()
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    w.sub_(0.25)
""",
    "adam.adam": """\
class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(0.25)
""",
    "adam.adamw": """\
class AdamW(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(0.25)
""",
    "adam.l2_is_not_decay": """\
def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    return torch.stack([w0 - 0.25 * t for t in range(steps + 1)]), torch.stack([w0 - 0.5 * t for t in range(steps + 1)])
""",
}

#: Right answers that use no other exercise's: where that one is attacked, these keep their points.
ALONE = {
    "adam.adamw": """\
class AdamW(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if not s:
                    s.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
                s["step"] += 1
                t = s["step"].item()
                p.mul_(1 - group["lr"] * group["weight_decay"])
                m = s["exp_avg"].mul_(b1).add_(p.grad, alpha=1 - b1)
                v = s["exp_avg_sq"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                p.sub_(group["lr"] * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + group["eps"]))
""",
    "adam.l2_is_not_decay": """\
def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    trajectories = []
    for l2 in (True, False):
        w, buf, m, v = w0.clone(), torch.zeros_like(w0), torch.zeros_like(w0), torch.zeros_like(w0)
        rows = [w.clone()]
        for t in range(1, steps + 1):
            g = grad_fn(w)
            if l2:
                g = g + wd * w
            else:
                w = w * (1 - lr * wd)
            if kind == "sgd":
                w = w - lr * g
            elif kind == "momentum":
                buf = 0.9 * buf + g
                w = w - lr * buf
            else:
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                w = w - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
            rows.append(w.clone())
        trajectories.append(torch.stack(rows))
    return tuple(trajectories)
""",
}

_LEAK = f"""\
def leak(*found):
    text = " ".join(str(one) for one in found)
    if text:
        print("LEAK" + "ED:", text[:2000])


def leak_if_secret(text):
    place = str(text).find("CANARY" + "-5f1e")
    if place >= 0:
        leak(str(text)[max(0, place - 20) : place + 40])
# own helper of the attacks; {len(WRONG)} exercises are graded
"""

#: Changes a notebook and the folder it is handed in by; returns nothing.
Builder = Callable[[NotebookNode, Path], None]


@dataclass(frozen=True)
class Attack:
    """`solved`: exercises answered rightly, whose points have to stay. `build`: for what is no code in a cell."""

    name: str
    group: str
    tries: str
    solved: frozenset[str]
    own: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    build: Builder | None = None
    student: str = ""

    @property
    def student_id(self) -> str:
        return self.student or f"x-{self.name}"

    @property
    def honest(self) -> dict[str, float]:
        """Exercise id → points that the answers are worth without the attack."""
        return {one: REGISTRY[one].points if one in self.solved else 0.0 for one in EXERCISES}


@cache
def solutions(root: Path) -> Mapping[str, str]:
    """The right answers, which honest students and the solved exercises of attackers hand in."""
    own = {one: f"# exercise {one}\n{source}" for one, source in ALONE.items()}
    return {**source_solutions(root / "source" / _FROM / f"{_FROM}.ipynb"), **own}


@cache
def attacks() -> tuple[Attack, ...]:
    """All of them, in a fixed order. Raises ValueError when two have one name."""
    from mangled import MANGLED

    found = [one for path in sorted((HERE / "submissions").glob("*.py")) for one in read(path)] + list(MANGLED)
    names = [one.name for one in found]
    if len(set(names)) != len(names):
        raise ValueError(f"attacks with the same name: {sorted({name for name in names if names.count(name) > 1})}")
    return tuple(found)


def read(path: Path) -> list[Attack]:
    """The attacks of one file."""
    text = path.read_text(encoding="utf-8")
    starts = [(match.group(1), match.start()) for match in _ATTACK.finditer(text)]
    ends = [start for _, start in starts[1:]] + [len(text)]
    return [_attack(name, path.stem, text[start:end]) for (name, start), end in zip(starts, ends, strict=True)]


def _attack(name: str, group: str, text: str) -> Attack:
    head, *cells = _cells(text)
    tries = " ".join(re.findall(r"^# (?:tries:|  ) *(.*)$", head[1], re.MULTILINE))
    solved = re.search(r"^# solved: (.*)$", head[1], re.MULTILINE)
    if not tries or not solved:
        raise ValueError(f"{name} lacks '# tries:' or '# solved:'")
    own = [source for kind, source in cells if kind != "end" and not _EXERCISE.match(source)]
    last = [source for kind, source in cells if kind == "end"]
    answers = {match.group(1): source for _, source in cells if (match := _EXERCISE.match(source))}
    return Attack(name, group, tries, _solved(solved.group(1)), tuple(own), tuple(last), answers)


def _cells(text: str) -> list[tuple[str, str]]:
    """(what stands behind %%, source) of each cell; the first holds the comments about the attack."""
    marks = list(_CELL.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [(mark.group(1).strip(), text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]


def _solved(text: str) -> frozenset[str]:
    if text == "all":
        return frozenset(EXERCISES)
    names = frozenset(text.split()) - {"none"}
    if unknown := names - set(EXERCISES):
        raise ValueError(f"no exercise of {NAME}: {sorted(unknown)}")
    return names


def hand_in(attack: Attack, root: Path, folder: Path, port: int = PORT) -> Path:
    """Write the submission below `folder`/submitted; returns the student's folder. `port` is what is attacked."""
    release = nbformat.read(folder / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    right = solutions(root)
    answers = {one: right[one] if one in attack.solved else f"# exercise {one}\n{WRONG[one]}" for one in EXERCISES}
    notebook = submission(release, {**answers, **attack.answers})
    first = next(i for i, cell in enumerate(notebook.cells) if _EXERCISE.match(cell.source))
    notebook.cells[first:first] = [_cell(f"own-{i}", source) for i, source in enumerate((_LEAK, *attack.own))]
    notebook.cells += [_cell(f"end-{i}", source) for i, source in enumerate(attack.last)]
    for cell in notebook.cells:
        cell.source = cell.source.replace(str(PORT), str(port))
    place = folder / "submitted" / attack.student_id / NAME
    place.mkdir(parents=True)
    if attack.build is not None:
        attack.build(notebook, place)
    if not place.is_symlink() and not os.path.lexists(place / f"{NAME}.ipynb"):
        nbformat.write(notebook, place / f"{NAME}.ipynb")
    return place


def _cell(cell_id: str, source: str) -> NotebookNode:
    return nbformat.v4.new_code_cell(source, id=f"attack-{cell_id}")
