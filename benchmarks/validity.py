"""What would the published tests of other courses let pass? The wrong variants of this course's catalogue, run through both.

Each test is stated again in our own code by what it compares: which hyperparameters, how many steps from which state,
which numbers, within which tolerance. Data and networks are drawn anew, of the same kind and size; frozen numbers are
replaced by what a right implementation gives. Rows about what a course does not ask for are left out (parameter groups,
AMSGrad, updating in place where a function returns new values, …).

Run: python benchmarks/validity.py [--write]: prints and saves the table; --write puts it into course/guides/validity.md.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import save

from autograder.audit import attempt
from autograder.evidence import collecting
from autograder.exercise import REGISTRY, CodeExercise, Misconception
from autograder.verdict import visible_cases

Tensor = torch.Tensor
GUIDE = Path(__file__).resolve().parent.parent / "course" / "guides" / "validity.md"

#: What a row's faults speak of, where that is something that not every course asks for.
FEATURES = {
    **dict.fromkeys(("groups", "group betas", "group eps", "group decay", "group alpha", "group momentum"), "groups"),
    **dict.fromkeys(("decay lr", "decay of"), "groups"),
    **dict.fromkeys(("centered", "mean", "group centered"), "centered"),
    **dict.fromkeys(("none", "zeros"), "parameters without a gradient"),
    **dict.fromkeys(("weight", "write"), "in place"),
    **dict.fromkeys(("kept", "without momentum"), "torch's state"),
    **{"amsgrad": "amsgrad", "maximize": "maximize", "decay": "decay", "alpha default": "defaults"},
    **{"nesterov": "nesterov", "dampening": "dampening", "refuses": "nesterov", "first": "dampening"},
    **{"momentum": "momentum", "start": "start"},
}
#: The same for what a switch is set to.
VALUES = {
    **dict.fromkeys(("first group", "defaults", "first seen"), "groups"),
    **{"steps": "parameters without a gradient", "shared": "two parameters of one shape"},
    **{"inside but ahead": "nesterov", "nesterov": "nesterov"},
}


@dataclass(frozen=True)
class Published:
    """One course's test. `passes(objects)` says whether an implementation of our exercise would get through."""

    course: str
    topic: str
    exercise: str
    asks: frozenset[str]
    states: str  # what it compares, in words
    passes: Callable[[Sequence[Any]], bool]


def concerned(test: Published) -> list[Misconception]:
    """The rows that the course's own assignment could run into."""
    exercise = REGISTRY[test.exercise]
    assert isinstance(exercise, CodeExercise)
    return [m for m in exercise.misconceptions if _features(m) <= test.asks]


def _features(m: Misconception) -> set[str]:
    faults = m.faults or {}
    values = {VALUES[value] for value in faults.values() if isinstance(value, str) and value in VALUES}
    returns_new_tensors = {"in place"} if m.id == "A25" else set[str]()
    return {FEATURES[key] for key in faults if key in FEATURES} | values | returns_new_tensors


def survives(test: Published, m: Misconception) -> bool:
    """Does the published test let this wrong variant pass? An exception is a failure."""
    try:
        return test.passes(m.objects())
    except Exception:
        return False


# --- ARENA 0.3 ------------------------------------------------------------------------------------------------------


class _Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 32), torch.nn.Linear(32, 2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[1](torch.relu(self.layers[0](x)))


def _moons(n: int) -> tuple[Tensor, Tensor]:
    """Two half circles with noise, as sklearn's make_moons."""
    g = torch.Generator().manual_seed(354)
    y = torch.arange(n) % 2
    angle = torch.rand(n, generator=g) * torch.pi
    x = torch.stack([angle.cos() + y, angle.sin() * (1 - 2 * y) + 0.5 * y], 1)
    return x + 0.05 * torch.randn(n, 2, generator=g), y


def _four_steps(cls: Any, options: Mapping[str, Any]) -> Tensor:
    """The first layer's weight after one epoch of four minibatches."""
    torch.manual_seed(819)
    model, (x, y) = _Net(), _moons(512)
    opt = cls(model.parameters(), **options)
    for index in torch.randperm(512, generator=torch.Generator().manual_seed(1)).split(128):
        opt.zero_grad()
        torch.nn.functional.cross_entropy(model(x[index]), y[index]).backward()
        opt.step()
    return model.layers[0].weight.detach()


def arena(reference: type, configurations: Sequence[Mapping[str, Any]]) -> Callable[[Sequence[Any]], bool]:
    def passes(objects: Sequence[Any]) -> bool:
        return all(
            torch.allclose(_four_steps(objects[0], options), _four_steps(reference, options), rtol=0, atol=1e-5)
            for options in configurations
        )

    return passes


# --- CS231n, Coursera, Deep-ML: functions ----------------------------------------------------------------------------


def _line(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, 20, dtype=torch.float64).reshape(4, 5)


def _looks_right(pairs: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """CS231n prints this error and asks for "around 1e-7 or less"; a right answer prints 1.1e-7 (typed digits)."""
    return all(float(((a - b).abs() / (a.abs() + b.abs()).clamp(min=1e-8)).max()) < 5e-7 for a, b in pairs)


def _compared(
    call: Callable[[Any, list[Tensor]], None], exercise: str, tensors: Sequence[Tensor]
) -> Callable[[Sequence[Any]], list[tuple[Tensor, Tensor]]]:
    """Run an implementation and the reference on copies of the tensors; returns each tensor by both."""
    reference = REGISTRY[exercise]
    assert isinstance(reference, CodeExercise)

    def run(objects: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
        found = []
        for function in (objects[0], reference.reference()[0]):
            own = [tensor.clone() for tensor in tensors]
            call(function, own)
            found.append(own)
        return list(zip(*found, strict=True))

    return run


def cs231n_adam(objects: Sequence[Any]) -> bool:
    def call(step: Any, t: list[Tensor]) -> None:
        w, g, m, v = t
        step(w, g, m, v, 6, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)

    state = (_line(-0.4, 0.6), _line(-0.6, 0.4), _line(0.6, 0.9), _line(0.7, 0.5))
    pairs = _compared(call, "adam.step", state)(objects)
    return _looks_right([pairs[0], *pairs[2:]])  # the weight, m and v; nobody looks at the gradient


def cs231n_momentum(objects: Sequence[Any]) -> bool:
    def call(step: Any, t: list[Tensor]) -> None:
        w, g, v = t
        step(w, v, g, 1e-3, 0.9)

    pairs = _compared(call, "momentum.traditional", (_line(-0.4, 0.6), _line(-0.6, 0.4), _line(0.6, 0.9)))(objects)
    return _looks_right([pairs[0], pairs[2]])


def cs231n_rmsprop(objects: Sequence[Any]) -> bool:
    found = []
    for cls in (objects[0], torch.optim.RMSprop):
        p = torch.nn.Parameter(_line(-0.4, 0.6))
        opt = cls([p], lr=1e-2, alpha=0.99, eps=1e-8)
        opt.state[p].update(step=torch.tensor(5.0), square_avg=_line(0.6, 0.9))
        p.grad = _line(-0.6, 0.4)
        opt.step()
        found.append((p.detach(), opt.state[p]["square_avg"]))
    return _looks_right(list(zip(*found, strict=True)))


def _layers() -> list[Tensor]:
    g = torch.Generator().manual_seed(1)
    return [torch.randn(shape, dtype=torch.float64, generator=g) for shape in ((2, 3), (2, 1), (3, 3), (3, 1))]


def _one_step(objects: Sequence[Any], exercise: str, call: Callable[[Any, list[Tensor]], None], states: int) -> bool:
    """One step from zero states on the parameters of two layers, np.allclose of the weights alone."""
    g = torch.Generator().manual_seed(2)
    for w in _layers():
        grad = torch.randn(w.shape, dtype=torch.float64, generator=g)
        tensors = (w, grad, *(torch.zeros_like(w) for _ in range(states)))
        pairs = _compared(call, exercise, tensors)(objects)
        if not np.allclose(pairs[0][0], pairs[0][1]):
            return False
    return True


def coursera_momentum(objects: Sequence[Any]) -> bool:
    return _one_step(objects, "momentum.average", lambda step, t: step(t[0], t[2], t[1], 0.01, 0.9), 1)


def coursera_adam(objects: Sequence[Any]) -> bool:
    def call(step: Any, t: list[Tensor]) -> None:
        step(t[0], t[1], t[2], t[3], 2, lr=0.01, betas=(0.9, 0.999), eps=1e-8)

    return _one_step(objects, "adam.step", call, 2)


def deep_ml(objects: Sequence[Any]) -> bool:
    """Ten steps on two quadratics; the printed end points have to be the same text."""

    def call(start: Sequence[float]) -> Callable[[Any, list[Tensor]], None]:
        def run(step: Any, t: list[Tensor]) -> None:
            w, m, v = t
            for number in range(1, 11):
                step(w, 2 * w, m, v, number, lr=0.01, betas=(0.9, 0.999), eps=1e-8)

        return run

    for start in ([1.0], [1.0, 2.0]):
        w = torch.tensor(start, dtype=torch.float64)
        pair = _compared(call(start), "adam.step", (w, torch.zeros_like(w), torch.zeros_like(w)))(objects)[0]
        if str(pair[0].numpy()) != str(pair[1].numpy()):
            return False
    return True


# --- dlsys hw2 ------------------------------------------------------------------------------------------------------


#: Normalisation between the layers, lr, weight decay.
_DLSYS: tuple[tuple[type[torch.nn.Module] | None, float, float], ...] = (
    (None, 1e-3, 0.0),
    (None, 1e-3, 0.01),
    (torch.nn.BatchNorm1d, 1e-3, 0.001),
    (torch.nn.LayerNorm, 0.01, 0.01),
)


def dlsys_adam(objects: Sequence[Any]) -> bool:
    """The loss of the last of 32 batches, within rtol = atol = 1e-5, and gradients that stay as they are."""
    return all(
        abs(_last_loss(objects[0], *setting) - (right := _last_loss(torch.optim.Adam, *setting))) <= 1e-5 * (1 + right)
        for setting in _DLSYS
    )


def _last_loss(cls: Any, norm: type[torch.nn.Module] | None, lr: float, decay: float) -> float:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(1024, 64, generator=g), torch.randint(16, (1024,), generator=g)
    torch.manual_seed(0)
    between = [norm(32)] if norm else []
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), *between, torch.nn.Linear(32, 16))
    opt = cls(model.parameters(), lr=lr, weight_decay=decay)
    for xs, ys in zip(x.split(32), y.split(32), strict=True):
        opt.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(xs), ys)
        loss.backward()
        before = [p.grad.clone() for p in model.parameters()]
        opt.step()
        if not all(torch.equal(a, p.grad) for a, p in zip(before, model.parameters(), strict=True)):
            raise AssertionError("step() should not change gradients")
    return loss.item()


# --- the table ------------------------------------------------------------------------------------------------------

_SGD = [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.7}, {"lr": 0.1, "momentum": 0.5}]
_SGD += [{"lr": 0.1, "momentum": 0.5, "weight_decay": 0.05}, {"lr": 0.2, "momentum": 0.8, "weight_decay": 0.05}]
_RMS = [{"lr": 0.1, "alpha": 0.9, "eps": 1e-3}]
_RMS += [{"lr": 0.1, "alpha": 0.95, "eps": 1e-4, "weight_decay": 0.05, "momentum": mu} for mu in (0.0, 0.5)]
_ADAM = [{"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3}]
_ADAM[0]["weight_decay"], _ADAM[1]["weight_decay"] = 0.0, 0.05
_ADAM += [{"lr": 0.2, "betas": (0.9, 0.95), "eps": 1e-2, "weight_decay": 0.08}]
_CLASS = frozenset({"decay", "momentum", "start"})
_ARENA = "4 steps, one layer's weight at the end, within 1e-5; {} configurations"

TESTS = (
    Published("ARENA 0.3", "SGD", "momentum.sgd", _CLASS, _ARENA.format(5), arena(torch.optim.SGD, _SGD)),
    Published("ARENA 0.3", "RMSProp", "rmsprop.rmsprop", _CLASS, _ARENA.format(3), arena(torch.optim.RMSprop, _RMS)),
    Published("ARENA 0.3", "Adam", "adam.adam", _CLASS, _ARENA.format(3), arena(torch.optim.Adam, _ADAM)),
    Published("ARENA 0.3", "AdamW", "adam.adamw", _CLASS, _ARENA.format(3), arena(torch.optim.AdamW, _ADAM)),
    Published(
        "CS231n", "momentum", "momentum.traditional", frozenset(), "1 step, printed error of weight and velocity",
        cs231n_momentum,
    ),
    Published("CS231n", "RMSProp", "rmsprop.rmsprop", frozenset(), "1 step, printed error", cs231n_rmsprop),
    Published("CS231n", "Adam", "adam.step", frozenset(), "1 step (t = 6), printed error", cs231n_adam),
    Published(
        "Coursera DLS", "momentum", "momentum.average", frozenset(), "1 step from 0, np.allclose of the weights",
        coursera_momentum,
    ),
    Published(
        "Coursera DLS", "Adam", "adam.step", frozenset(), "1 step from 0 (t = 2), np.allclose of the weights",
        coursera_adam,
    ),
    Published("dlsys", "Adam", "adam.adam", _CLASS, "the 32nd batch's loss within 1e-5; 4 configurations", dlsys_adam),
    Published("Deep-ML", "Adam", "adam.step", frozenset(), "10 steps on 2 quadratics, the printed text", deep_ml),
)  # fmt: skip


def ours(exercise: CodeExercise, rows: Sequence[Misconception]) -> list[str]:
    """The rows that this course's visible cases let pass."""
    cases = visible_cases(exercise)
    return [m.id for m in rows if attempt(exercise, cases, m.objects())[0].passed]


def measure(test: Published) -> dict[str, Any]:
    exercise = REGISTRY[test.exercise]
    assert isinstance(exercise, CodeExercise)
    if not test.passes(exercise.reference()):
        raise AssertionError(f"{test.course}, {test.topic}: a right answer does not pass")
    rows = concerned(test)
    return {
        "course": test.course,
        "topic": test.topic,
        "exercise": test.exercise,
        "compares": test.states,
        "rows": len(rows),
        "pass theirs": {m.id: m.title for m in rows if survives(test, m)},
        "pass ours": ours(exercise, rows),
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| course | exercise | what it compares | wrong variants | pass theirs | pass ours |",
        "|---|---|---|---|---|---|",
    ]
    for one in results:
        cells = (
            one["course"],
            one["topic"],
            one["compares"],
            one["rows"],
            len(one["pass theirs"]),
            len(one["pass ours"]),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines.append("")
    for one in results:
        names = "; ".join(f"{row} {title}" for row, title in one["pass theirs"].items()) or "none"
        lines.append(f"- **{one['course']}, {one['topic']}**: {names}.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into the guide")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with collecting():
        results = [measure(test) for test in TESTS]
    text = table(results)
    print(text)
    if options.write:
        marks = r"(<!-- validity: begin -->\n).*?(<!-- validity: end -->)"
        GUIDE.write_text(re.sub(marks, lambda m: f"{m[1]}{text}\n{m[2]}", GUIDE.read_text(), flags=re.DOTALL))
    print(f"saved {save('validity', {'tests': results})}")


if __name__ == "__main__":
    main()
