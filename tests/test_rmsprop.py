"""What the notebook on RMSProp promises: torch's methods in every state, scale invariance, the sign limit, what is said."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from autograder.answers import rmsprop as answers
from autograder.audit import attempt, code_exercises
from autograder.checks import check
from autograder.collectors.launches import BYTES, STATE, SYNCS
from autograder.evidence import gather
from autograder.exercise import REGISTRY, CodeExercise, QuizExercise
from autograder.misconceptions import adagrad, recognise, rmsprop_memory, rmsprop_rows, rmsprop_scale
from autograder.misconceptions import rmsprop as bank
from autograder.verdict import (
    expected_evidence,
    hidden_cases,
    judge_case,
    judge_quiz,
    mark_answer,
    quiz_case,
    visible_cases,
)

Tensor = torch.Tensor
Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


def exercise(exercise_id: str) -> CodeExercise:
    found = REGISTRY[exercise_id]
    assert isinstance(found, CodeExercise)
    return found


def stream(steps: int = 20, size: int = 6) -> Tensor:
    """Gradients of scales from 0.01 to 100 with a zero and a spike."""
    generator = torch.Generator().manual_seed(0)
    grads = torch.randn(steps, size, dtype=torch.float64, generator=generator) * torch.logspace(-2, 2, size).double()
    grads[0, 0] = 0.0
    grads[steps // 2] *= -30
    return grads


def follow(make: Make, grads: Tensor) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """The weight and the state after every step."""
    w = torch.nn.Parameter(torch.ones_like(grads[0]))
    opt, rows, states = make([w]), [w.detach().clone()], []
    for g in grads:
        w.grad = g.clone()
        opt.step()
        rows.append(w.detach().clone())
        states.append({k: torch.as_tensor(v).clone().double() for k, v in opt.state[w].items()})
    return torch.stack(rows), states


def assert_same(one: Make, other: Make, names: dict[str, str]) -> None:
    """Weights and the states with these names (the one's → the other's) agree after every step."""
    (rows, states), (others, their_states) = follow(one, stream()), follow(other, stream())
    torch.testing.assert_close(rows, others, rtol=1e-9, atol=1e-12)
    for state, their_state in zip(states, their_states, strict=True):
        for name, theirs in names.items():
            assert (name in state) == (theirs in their_state), name
            if name in state:
                torch.testing.assert_close(state[name], their_state[theirs], rtol=1e-9, atol=1e-12)


# --- equal to torch over a grid, with every state --------------------------------------------------------------------

NAMES = ("square_avg", "momentum_buffer", "grad_avg", "step")


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rmsprop_is_torchs_in_every_state(momentum: float, centered: bool) -> None:
    for lr, alpha, eps, wd in itertools.product((0.01, 0.3), (0.5, 0.99), (1e-8, 0.1), (0.0, 0.2)):
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": wd, "momentum": momentum, "centered": centered}
        for ours in (answers.InPlace, bank.optimizer({})):
            assert_same(
                lambda p, ours=ours, o=options: ours(p, **o),  # type: ignore[misc]
                lambda p, o=options: torch.optim.RMSprop(p, **o),  # type: ignore[misc]
                {name: name for name in NAMES},
            )


def test_the_corrected_form_is_adam_without_memory_for_the_gradient() -> None:
    for lr, alpha, eps in itertools.product((0.01, 0.3), (0.0, 0.5, 0.99), (1e-8, 0.1)):
        for ours in (answers._CorrectedBase, answers.CorrectedWithTensorCount, bank.corrected({})):
            assert_same(
                lambda p, ours=ours, lr=lr, alpha=alpha, eps=eps: ours(p, lr=lr, alpha=alpha, eps=eps),  # type: ignore[misc]
                lambda p, lr=lr, alpha=alpha, eps=eps: torch.optim.Adam(p, lr=lr, betas=(0.0, alpha), eps=eps),  # type: ignore[misc]
                {"square_avg": "exp_avg_sq", "step": "step"},
            )


def test_adagrad_is_torchs_in_every_state() -> None:
    for lr, decay, initial, eps in itertools.product((0.01, 0.5), (0.0, 0.3), (0.0, 0.7), (1e-10, 0.1)):
        options = {"lr": lr, "lr_decay": decay, "initial_accumulator_value": initial, "eps": eps}
        for ours in (answers._AdagradBase, answers.AdagradAtOnce, adagrad.optimizer({})):
            assert_same(
                lambda p, ours=ours, o=options: ours(p, **o),  # type: ignore[misc]
                lambda p, o=options: torch.optim.Adagrad(p, **o),  # type: ignore[misc]
                {"sum": "sum", "step": "step"},
            )


@pytest.mark.parametrize(("cls", "reference"), [("RMSprop", torch.optim.RMSprop), ("Adagrad", torch.optim.Adagrad)])
def test_the_defaults_shown_to_students_are_torchs(cls: str, reference: type) -> None:
    base = {"RMSprop": answers._Optimizer, "Adagrad": answers._AdagradBase}[cls]
    theirs = inspect.signature(reference).parameters
    for name, parameter in inspect.signature(base).parameters.items():
        if name != "params":
            assert parameter.default == theirs[name].default, name


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("rmsprop.rmsprop", bank.optimizer({})),
        ("rmsprop.corrected", bank.corrected({})),
        ("rmsprop.adagrad", adagrad.optimizer({})),
        ("rmsprop.memory", rmsprop_memory.optimizer({})[0]),
    ],
)
def test_a_simulator_without_faults_passes(name: str, cls: type) -> None:
    found = exercise(name)
    for case in visible_cases(found) + hidden_cases(found, 3):
        assert judge_case(case, gather(case, (cls,)), expected_evidence(found, case)).passed, case.name


@pytest.mark.parametrize(
    ("switches", "rows"),
    [
        (
            bank.SWITCHES,
            [rmsprop_rows.PRECONDITION_ROWS, rmsprop_rows.ROWS, rmsprop_rows.CORRECTED_ROWS],
        ),
        (adagrad.SWITCHES, [adagrad.ADAGRAD_ROWS]),
    ],
)
def test_every_switch_of_a_simulator_is_used_by_a_row(
    switches: dict[str, tuple[object, ...]], rows: list[dict]
) -> None:  # type: ignore[type-arg]
    used = {
        (name, value)
        for table in rows
        for row in table.values()
        for faults in (row.faults, *row.also)
        for name, value in faults.items()
    }
    offered = {(name, value) for name, values in switches.items() for value in values[1:]}
    assert used - offered <= {("as", "numbers")}  # changes only how a mistake shows
    assert offered - used == set()


def test_hyperparameters_change_in_mid_run_when_a_case_says_so() -> None:
    seen: list[float] = []

    class Watching(answers._Varied):
        def one(self, p: Tensor, g: Tensor, state: dict[str, object], group: dict[str, float]) -> None:
            seen.append(group["alpha"])
            super().one(p, g, state, group)

    (case,) = [c for c in visible_cases(exercise("rmsprop.rmsprop")) if "later" in c.inputs]
    gather(case, (Watching,))
    first, second = case.inputs["groups"], case.inputs["later"]["groups"]
    steps = [seen[i : i + 3] for i in range(0, len(seen), 3)]  # three parameters, the third in the second group
    for number, alphas in enumerate(steps, start=1):
        groups = second if number >= case.inputs["later"]["step"] else first
        assert alphas == [groups[0]["alpha"], groups[0]["alpha"], groups[1]["alpha"]]


# --- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trajectory", [answers.trajectory_with_an_optimizer, rmsprop_scale.trajectory_with_torch])
def test_scale_invariance_as_eps_goes_to_zero(trajectory: Callable[[Tensor, float, float], Tensor]) -> None:
    grads, scales = stream()[1:], [1e-4, 0.3, 1e4]

    def d(eps: float) -> float:
        return answers.dependence(lambda g, c: trajectory(g, c, eps), grads, scales)

    falling = [d(eps) for eps in (1e-4, 1e-6, 1e-8, 1e-30)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > 1e-3
    assert falling[-1] < 1e-12
    sgd = answers.dependence(lambda g, c: torch.cat([0 * g[:1], -(c * g).cumsum(0)]), grads, scales)
    assert sgd == pytest.approx(1e4 - 1)


def test_scales_that_are_powers_of_two_change_not_a_single_bit() -> None:
    grads = stream()[1:]
    one = rmsprop_scale.trajectory_with_torch(grads, 1.0, 0.0)
    assert torch.equal(rmsprop_scale.trajectory_with_torch(grads, 2.0**20, 0.0), one)


def test_steps_go_to_lr_times_the_sign() -> None:
    size = torch.logspace(-3, 3, 50, dtype=torch.float64)
    g, lr = torch.cat([size, -size]), 0.01
    for alpha in (0.9, 0.99):
        w, steps = torch.nn.Parameter(torch.zeros_like(g)), []
        opt = torch.optim.RMSprop([w], lr=lr, alpha=alpha, eps=1e-15)
        for _ in range(3000):
            before, w.grad = w.detach().clone(), g.clone()
            opt.step()
            steps.append((w.detach() - before) / lr)
        torch.testing.assert_close(steps[0], -g.sign() / (1 - alpha) ** 0.5)
        torch.testing.assert_close(steps[9], -g.sign() / (1 - alpha**10) ** 0.5)
        torch.testing.assert_close(steps[-1], -g.sign(), rtol=1e-9, atol=1e-9)


def test_no_step_is_longer_than_the_bound_and_a_spike_reaches_it() -> None:
    for alpha in (0.9, 0.99):
        bound = 1 / (1 - alpha) ** 0.5
        for grads in (stream(200), torch.eye(200, dtype=torch.float64)[:, 100:101]):
            rows, _ = follow(lambda p, alpha=alpha: torch.optim.RMSprop(p, lr=1.0, alpha=alpha), grads)  # type: ignore[misc]
            longest = float((rows[1:] - rows[:-1]).abs().max())
            assert longest <= bound * (1 + 1e-12)
        assert longest == pytest.approx(bound)


def test_adagrads_steps_fall_like_one_over_the_root_of_t() -> None:
    rows, _ = follow(lambda p: torch.optim.Adagrad(p, lr=0.1), torch.full((100, 1), 4.0, dtype=torch.float64))
    lengths = (rows[1:] - rows[:-1]).abs().flatten()
    torch.testing.assert_close(lengths, 0.1 / torch.arange(1, 101, dtype=torch.float64).sqrt())
    assert float(lengths[-1]) == pytest.approx(_key("rmsprop.q6"))


def test_centring_turns_steady_gradients_into_nan_whatever_eps_is() -> None:
    g = 0.5 + 1.5 * torch.rand(1000, generator=torch.Generator().manual_seed(0))
    for eps in (1e-12, 1e-2):
        rows, _ = follow(
            lambda p, eps=eps: torch.optim.RMSprop(p, lr=1e-3, alpha=0.9, centered=True, eps=eps),  # type: ignore[misc]
            g.expand(1000, -1),
        )
        assert 0 < int(rows[-1].isnan().sum()) < 1000


# --- questions -------------------------------------------------------------------------------------------------------


def _quiz(name: str) -> QuizExercise:
    found = REGISTRY[name]
    assert isinstance(found, QuizExercise)
    return found


def _key(name: str) -> str | float:
    return _quiz(name).parts[0].key


def test_the_first_steps_length_is_the_keys() -> None:
    rows, _ = follow(lambda p: torch.optim.RMSprop(p, lr=1.0), torch.full((1, 1), 250.0, dtype=torch.float64))
    assert float((rows[1] - rows[0]).abs()) == pytest.approx(_key("rmsprop.q1"))


def test_the_two_mistakes_are_the_ones_whose_mending_gives_torchs_update() -> None:
    """The published update with both places mended equals the corrected form; with either left as it is, it does not."""
    grads = stream()

    def published(mended: str) -> Tensor:
        w, v, rows = torch.ones(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64), []
        for t, g in enumerate(grads, start=1):
            v = 0.9 * v + 0.1 * g**2
            v_hat = (v if "b" in mended else g**2) / (1 - 0.9**t)
            w = w + (-1 if "d" in mended else 1) * 0.05 * g / (v_hat.sqrt() + 0.1)
            rows.append(w)
        return torch.stack(rows)

    right, _ = follow(lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.0, 0.9), eps=0.1), grads)
    torch.testing.assert_close(published("bd"), right[1:])
    for partly in ("", "b", "d"):
        assert float((published(partly) - right[1:]).abs().max()) > 0.1
    assert _key("rmsprop.q3") == "bd"


def test_every_pair_of_places_has_its_own_feedback() -> None:
    (part,) = _quiz("rmsprop.q3").parts
    assert sorted(map(str, part.feedback)) == ["".join(pair) for pair in itertools.combinations("abcde", 2)]
    assert len(set(part.feedback.values())) == 10
    assert [text for answer, text in part.feedback.items() if text.startswith("Right")] == [part.feedback["bd"]]
    for answer, text in part.feedback.items():
        right, said = mark_answer(part, answer)
        assert right == (answer == "bd")
        assert said == text
        found = len(set(str(answer)) & set("bd"))
        assert text.startswith({0: "Neither", 1: "One", 2: "Right"}[found])


@pytest.mark.parametrize("answer", ["bd", "db", " BD", "d, b"])
def test_the_order_of_the_two_letters_says_nothing(answer: str) -> None:
    found = _quiz("rmsprop.q3")
    assert judge_quiz(found, gather(quiz_case(found), (answer,)), reveal=True).passed


def test_a_loss_times_1000_is_a_decay_over_1000() -> None:
    grads = stream()

    def run(scale: float, wd: float) -> Tensor:
        return follow(lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=wd, eps=1e-30), scale * grads)[0]

    torch.testing.assert_close(run(1000.0, 0.01), run(1.0, 0.00001))
    assert float((run(1000.0, 0.01) - run(1.0, 0.01)).abs().max()) > 1e-3


def test_bytes_per_parameter_are_the_keys() -> None:
    layer = torch.nn.Linear(100, 100)
    opt = torch.optim.RMSprop(layer.parameters(), momentum=0.9, centered=True)
    layer(torch.ones(1, 100)).sum().backward()
    opt.step()
    tensors = [t for state in opt.state.values() for t in state.values() if t.dim() > 0]
    per_parameter = 8 + sum(t.numel() * t.element_size() for t in tensors) / sum(p.numel() for p in layer.parameters())
    assert per_parameter == _key("rmsprop.q7")


def test_what_a_diagonal_leaves_of_a_condition_number() -> None:
    H = torch.tensor([[100.0, 9.0], [9.0, 1.0]], dtype=torch.float64)
    assert float(torch.linalg.cond(H)) == pytest.approx(535, abs=0.5)
    left = torch.linalg.eigvals(H / H.diagonal()[:, None]).real
    assert float(left.max() / left.min()) == pytest.approx(_key("rmsprop.q8"))


def test_who_notices_that_the_coordinates_were_turned() -> None:
    """The same loss in coordinates u = Qᵀw, from the same start: are the losses of the run the same?"""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, dtype=torch.float64, generator=generator)
    H, start = root @ root.T + torch.eye(4), torch.randn(4, dtype=torch.float64, generator=generator)
    anyhow = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator)).Q
    turned = torch.eye(4, dtype=torch.float64)
    turned[:2, :2] = torch.tensor([[1.0, -1.0], [1.0, 1.0]]) / 2**0.5
    exchanged = torch.eye(4, dtype=torch.float64)[[2, 0, 3, 1]] * torch.tensor([1.0, -1.0, 1.0, -1.0])

    class Newton(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            (u,) = self.param_groups[0]["params"]
            hessian = torch.autograd.functional.hessian(self.loss, u.detach())  # type: ignore[attr-defined]
            u.grad = torch.linalg.solve(hessian, u.grad)
            super().step()

    def losses(make: Callable[..., torch.optim.Optimizer], Q: Tensor) -> Tensor:
        def loss(u: Tensor) -> Tensor:
            return 0.5 * (Q @ u) @ H @ (Q @ u)

        u = torch.nn.Parameter(Q.T @ start)
        opt, rows = make([u], lr=0.05), []
        opt.loss = loss  # type: ignore[attr-defined]
        for _ in range(20):
            opt.zero_grad()
            rows.append(loss(u))
            rows[-1].backward()
            opt.step()
        return torch.stack(rows).detach()

    def said(make: Callable[..., torch.optim.Optimizer], Q: Tensor) -> str:
        plain = losses(make, torch.eye(4, dtype=torch.float64))
        return "same" if torch.allclose(losses(make, Q), plain, rtol=1e-9) else "different"

    momentum = functools.partial(torch.optim.SGD, momentum=0.8)
    runs = ((momentum, anyhow), (torch.optim.RMSprop, turned), (torch.optim.RMSprop, exchanged), (Newton, anyhow))
    assert [part.key for part in _quiz("rmsprop.q9").parts] == [said(make, Q) for make, Q in runs]


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_every_rmsprop_row_of_the_catalogue_has_its_place() -> None:
    detected = {m.id for one in code_exercises() if one.notebook == "04_rmsprop" for m in one.misconceptions}
    rows = [f"R{i}" for i in range(1, 10)]
    assert [row for row in rows if row not in detected and row not in rmsprop_rows.ELSEWHERE] == []


def test_one_id_of_this_notebook_is_one_mistake() -> None:
    """Rows R10 and above are its own: their titles agree wherever they are recognised, but for the name of v."""
    titles: dict[str, set[str]] = {}
    for one in code_exercises():
        for m in one.misconceptions if one.notebook == "04_rmsprop" else ():
            if m.id.startswith("R") and m.id[1:].isdigit() and int(m.id[1:]) > 9:
                titles.setdefault(m.id, set()).add(
                    m.title.replace("the new sum", "the new v").replace("the old sum", "the old v")
                )
    assert {row: found for row, found in titles.items() if len(found) > 1} == {}


# --- on the device ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [answers._LeanBase, answers.LeanByDivision, answers.LeanLists])
def test_a_lean_step_makes_one_tensor_and_with_decay_two(cls: type) -> None:
    cases = {c.name: c for c in visible_cases(exercise("rmsprop.memory"))}
    for name, tensors in (("counted without decay", 1.0), ("counted with weight_decay", 2.0)):
        facts = gather(cases[name], (cls,)).facts
        assert (facts[BYTES], facts[SYNCS], facts[STATE]) == (tensors, 0.0, 8.0)


def test_the_notebooks_own_rmsprop_is_right_and_not_lean() -> None:
    found = exercise("rmsprop.memory")
    lean_or_not = type("LeanRMSprop", (answers.ByTheFormula,), {})
    verdict, named = attempt(found, visible_cases(found), (lean_or_not,))
    assert named == ("F5",)
    assert [group.name for group in verdict.groups if group.passed] == ["values", "groups and late gradients"]


# --- what students may hand in ---------------------------------------------------------------------------------------


class _Idle(answers._Optimizer):
    def step(self, closure: object = None) -> None:
        pass


class _IdleCorrected(answers._CorrectedBase):
    def step(self, closure: object = None) -> None:
        pass


class _IdleAdagrad(answers._AdagradBase):
    def step(self, closure: object = None) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "cls"),
    [("rmsprop.rmsprop", _Idle), ("rmsprop.corrected", _IdleCorrected), ("rmsprop.adagrad", _IdleAdagrad)],
)
def test_a_step_that_does_nothing_is_told_so(name: str, cls: type, capsys: pytest.CaptureFixture[str]) -> None:
    found = exercise(name)
    _, named = attempt(found, visible_cases(found), (cls,))
    assert named in ((), ("M9",))
    with pytest.raises(AssertionError):
        check(name, cls)
    assert "nothing that it was given has changed" in capsys.readouterr().out


def test_a_gradient_used_as_scratch_earns_no_points_for_memory() -> None:
    found = exercise("rmsprop.memory")
    for change in ("in grad", "ratio in grad"):
        verdict, named = attempt(found, visible_cases(found), (answers._lean(**{change: True}),))
        assert named == ("M10",)
        assert verdict.earned <= 2.5


@pytest.mark.parametrize(
    ("name", "objects", "words"),
    [
        ("rmsprop.precondition", (lambda w, g, v, lr: None,), "preconditioned_step(w, g, v, lr, eps)"),
        ("rmsprop.rmsprop", (answers.InPlace([torch.nn.Parameter(torch.ones(1))]),), "Give the class itself"),
        ("rmsprop.rmsprop", (torch.optim.Optimizer,), "has no method `step`"),
        ("rmsprop.scale_free", (lambda grads, scale, eps: None, answers.dependence), "not None"),
        ("rmsprop.scale_free", (lambda grads, scale, eps: grads, answers.dependence), "the start and one row per step"),
        (
            "rmsprop.scale_free",
            (lambda grads, scale, eps: answers.trajectory_by_hand(grads, scale, eps).float(), answers.dependence),
            "trajectory returned torch.float32",
        ),
        (
            "rmsprop.scale_free",
            (lambda grads, scale, eps: answers.trajectory_by_hand(grads, scale, eps).numpy(), answers.dependence),
            "should return a tensor, not a ndarray",
        ),
        (
            "rmsprop.scale_free",
            (answers._aliases, answers.dependence),
            "All rows that trajectory returned are the same",
        ),
        ("rmsprop.scale_free", (answers.trajectory_by_hand, answers._scaled_outside), "the scale is run's own"),
        ("rmsprop.scale_free", (answers.trajectory_by_hand, lambda run, grads, scales: None), "one number, not None"),
        ("rmsprop.scale_free", (answers.trajectory_by_hand, lambda run, grads, scales: True), "one number, not a bool"),
        (
            "rmsprop.scale_free",
            (answers.trajectory_by_hand, lambda run, grads, scales: [1.0]),
            "one number, not a list",
        ),
        (
            "rmsprop.scale_free",
            (answers.trajectory_by_hand, lambda run, grads, scales: grads),
            "it should be one number",
        ),
        ("rmsprop.scale_free", (answers.trajectory_by_hand, lambda run, grads, scales: "no"), "one number, not a str"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    name: str, objects: tuple[object, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        check(name, *objects)
    assert words in capsys.readouterr().out


def test_labels_of_hidden_cases_tell_no_scale() -> None:
    for case in hidden_cases(exercise("rmsprop.scale_free"), 11):
        for label in case.inputs.get("labels", ()):
            assert not any(f"{scale:g}" in label for scale in case.inputs["scales"] if scale != 1)


def test_equal_questions_of_momentum_are_told_as_equivalent() -> None:
    row = next(m for m in exercise("rmsprop.rmsprop").misconceptions if m.id == "M4")
    assert "quivalent at constant lr; different when" in row.explanation
    found = exercise("rmsprop.rmsprop")
    verdict, named = attempt(found, visible_cases(found), (answers._LrInside,))
    assert named == ("M4",)
    assert verdict.earned > 3.0


def test_simulated_trajectories_without_a_fault_are_torchs() -> None:
    found = exercise("rmsprop.scale_free")
    (one,) = recognise(rmsprop_scale.ROWS, ["R53"], lambda faults: rmsprop_scale.functions({}))
    verdict, _ = attempt(found, visible_cases(found), one.objects())
    assert verdict.passed
    assert np.isfinite(verdict.earned)
