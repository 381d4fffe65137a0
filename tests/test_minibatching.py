"""The notebook on minibatches: its collectors, and the claims of its text as exact checks or experiments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autograder.answers import minibatching as answers
from autograder.audit import code_exercises
from autograder.collectors.minibatching import AT_MOST, PEAK, SEEN
from autograder.diagnose import agrees, diagnose
from autograder.evidence import Evidence, gather
from autograder.exercise import REGISTRY, Case, CodeExercise
from autograder.grading.references import files_to_mask
from autograder.misconceptions import minibatch as bank
from autograder.misconceptions import minibatch_loops as loops
from autograder.misconceptions import minibatch_sgd as sgd
from autograder.publish.sample_class import source_solutions
from autograder.render import as_text
from autograder.verdict import expected_evidence, judge, judge_case, visible_cases
from utils import data

NAME = "01_minibatching"
OURS = [e for e in code_exercises() if e.notebook == NAME]


def exercise(name: str) -> CodeExercise:
    found = REGISTRY[f"minibatch.{name}"]
    assert isinstance(found, CodeExercise)
    return found


def case_of(name: str, text: str) -> Case:
    return next(case for case in visible_cases(exercise(name)) if text in case.name)


def judged(name: str, case: Case, *objects: Any) -> Any:
    return judge_case(case, gather(case, objects), expected_evidence(exercise(name), case))


# --- the catalogue and the simulators -------------------------------------------------------------------------------


def test_every_minibatch_row_of_the_catalogue_has_its_place() -> None:
    """Rows B1–B11: a detector in an exercise of this notebook, or listed with where the course deals with them."""
    detected = {m.id for one in OURS for m in one.misconceptions}
    assert [row for row in (f"B{i}" for i in range(1, 12)) if row not in detected and row not in bank.ELSEWHERE] == []
    assert not detected & bank.ELSEWHERE.keys()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("mean_gradient", "B1"),
        ("epoch_loss", "B2"),
        ("epoch_loss", "B3"),
        ("batches", "B4"),
        ("batches", "B6"),
        ("accumulate", "B7"),
        ("accumulate", "B8"),
        ("logistic", "B9"),
        ("perceptron", "B9"),
        ("standard_error", "B10"),
        ("epoch_loss", "B11"),
    ],
)
def test_the_rows_are_in_the_exercises_that_they_belong_to(name: str, row: str) -> None:
    assert row in {m.id for m in exercise(name).misconceptions}


@pytest.mark.parametrize(
    ("name", "simulator"),
    [("sgd", sgd.optimizer), ("batches", loops.batches), ("accumulate", loops.accumulating)],
)
def test_a_simulator_without_faults_is_right(name: str, simulator: Callable[[dict[str, Any]], tuple[Any, ...]]) -> None:
    for case in visible_cases(exercise(name)):
        assert judged(name, case, *simulator({})).passed, case.name


def test_what_is_forbidden_exists_and_can_be_taken_away() -> None:
    files = files_to_mask({name for one in OURS for name in one.forbidden})
    assert any(path.endswith("torch/utils/data/sampler.py") for path in files)
    assert any(path.endswith("torch/optim/sgd.py") for path in files)


# --- collectors -----------------------------------------------------------------------------------------------------


def call(**inputs: Any) -> Case:
    return Case("a call", "g", "function", {"name": "f", "returns": "the result", **inputs})


def test_arrays_of_integers_arrive_as_int64_and_others_in_the_cases_dtype() -> None:
    seen: dict[str, torch.dtype] = {}

    def f(G: torch.Tensor, idx: torch.Tensor) -> torch.Tensor:
        seen.update(G=G.dtype, idx=idx.dtype)
        return G[idx]

    arguments = {"G": np.arange(3.0), "idx": np.array([2, 0])}
    found = gather(call(arguments=["G", "idx"], calls=[arguments], dtype="float32"), (f,))
    assert seen == {"G": torch.float32, "idx": torch.int64}
    assert found.arrays["the result"].tolist() == [2.0, 0.0]


def test_a_call_that_has_to_be_refused_is_told_by_the_exception_alone() -> None:
    def refuses(m: int) -> None:
        raise ValueError(f"secret {m}")

    def stub(m: int) -> None:
        raise NotImplementedError

    case = call(arguments=["m"], calls=[{"m": 3}], raises="ValueError")
    assert gather(case, (refuses,)).facts == {"these arguments": "refused with ValueError"}
    assert gather(case, (lambda m: m,)).facts == {"these arguments": "accepted"}
    problem = gather(case, (stub,)).problem
    assert problem is not None
    assert problem.kind == "not_started"


def test_runs_with_arrays_of_other_shapes_are_not_alike() -> None:
    case = call(arguments=[], calls=[{}])
    right, one, other = (Evidence(arrays={"the result": np.zeros(n)}) for n in (3, 4, 5))
    first, second = (judge_case(case, found, right) for found in (one, other))
    assert first.broken == second.broken
    assert agrees(case, one, first, one, first)
    assert not agrees(case, one, first, other, second)


def endless(n: int, batch_size: int, generator: torch.Generator, drop_last: bool = False) -> Iterator[torch.Tensor]:
    while True:
        yield torch.randperm(n, generator=generator)[:batch_size]


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        (endless, "One epoch gave more than"),
        (lambda n, b, g, drop_last=False: [[0, 1]], "but it is: list"),
        (lambda n, b, g, drop_last=False: [torch.zeros(2)], "1-dim torch.float32"),
        (lambda n, b, g, drop_last=False: torch.arange(n), "it returned a Tensor"),
        (lambda n, b, g, drop_last=False: None, "it returned a NoneType"),
        (lambda n, b: [], "The check calls minibatches(n, batch_size, generator, drop_last=False)"),
    ],
)
def test_what_is_no_iterator_of_index_tensors_is_told(objects: Any, says: str) -> None:
    problem = gather(visible_cases(exercise("batches"))[0], (objects,)).problem
    assert problem is not None
    assert problem.kind == "protocol"
    assert says in problem.message


def test_another_right_shuffle_loses_the_order_of_torch_only() -> None:
    def by_sorting(n: int, size: int, generator: torch.Generator, drop_last: bool = False) -> list[torch.Tensor]:
        parts = torch.rand(n, generator=generator).argsort().split(size)
        return [part for part in parts if len(part) == size or not drop_last]

    failed = {
        case.group for case in visible_cases(exercise("batches")) if not judged("batches", case, by_sorting).passed
    }
    assert failed == {"torch's order"}


def test_the_first_epoch_is_torchs_and_the_second_is_not() -> None:
    mine, theirs = (torch.Generator().manual_seed(3) for _ in range(2))
    sampler = torch.utils.data.RandomSampler(range(20), generator=theirs)
    batches = torch.utils.data.BatchSampler(sampler, 6, False)
    same = [[b.tolist() for b in answers.batches_yield(20, 6, mine)] == list(batches) for _ in range(2)]
    assert same == [True, False]


def test_peak_bytes_tell_micro_batches_from_one_big_backward() -> None:
    case = case_of("accumulate", "counted")
    peaks = {
        name: gather(case, (function,)).facts
        for name, function in (
            ("split", answers.accumulate_split),
            ("grad", answers.accumulate_by_grad),
            ("whole", answers._accumulate_whole),
            ("end", answers._accumulate_at_end),
        )
    }
    assert float(str(peaks["split"][PEAK])) <= 1.05
    assert float(str(peaks["grad"][PEAK])) <= 1.15
    assert float(str(peaks["end"][PEAK])) > 1.5
    assert float(str(peaks["whole"][PEAK])) > 3.0
    assert (peaks["split"][SEEN], peaks["whole"][SEEN]) == (AT_MOST, "240, with micro_batch = 60")


def test_no_case_lets_the_model_see_more_than_micro_batch() -> None:
    """The size is noted in every case, and a layer that is called by itself is noticed as well."""

    def by_layers(model: Any, loss_fn: Any, X: Any, y: Any, micro_batch: int) -> None:
        model.zero_grad()
        loss_fn(model[2](model[1](model[0](X))), y).backward()

    for case in visible_cases(exercise("accumulate")):
        broken = judged("accumulate", case, by_layers).broken
        assert (SEEN in broken) == (len(case.inputs["X"]) > case.inputs["micro_batch"]), case.name


class _LateClosure(answers.SGD):
    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        super().step()
        return self.evaluate(closure)


def _own_words(G: torch.Tensor, m: int, replacement: bool) -> torch.Tensor:
    if m > len(G):
        raise ValueError("that cannot be drawn")
    return answers.error_population(G, m, replacement)


def _tuple_index(G: torch.Tensor, m: int) -> torch.Tensor:
    return torch.stack([G[i].mean(0) for i in combinations(range(len(G)), m)])


def _no_guard(lr: float, curvature: float, noise_var: float) -> float:
    return lr * noise_var / (curvature * (2 - lr * curvature))


def _two_dtypes(means: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    return means @ sizes / sizes.sum()


def _grads_zeroed(model: Any, loss_fn: Any, X: Any, y: Any, micro_batch: int) -> None:
    for p in model.parameters():
        p.grad.zero_()
    loss_fn(model(X), y).backward()


@pytest.mark.parametrize(
    ("name", "objects", "says", "never"),
    [
        ("sgd", _LateClosure, "when the closure is called: after it in step 1", "is not returned"),
        ("sgd", answers._SGDZerosKept, "None no longer after step 1 (parameter 1)", "+="),
        (
            "sgd",
            answers._SGDAddsInPlace,
            "by `+=`, or by a method such as `add_`; it should be unchanged",
            "ends in _?",
        ),
        ("standard_error", _own_words, "(case “with replacement, more draws than examples”)", "First departure"),
        ("standard_error", _own_words, "m > N is refused with replacement, too", "First departure"),
        ("unbiased", _tuple_index, "G[(0, 2)] means G[0, 2]", "First departure"),
        (
            "unbiased",
            lambda G, m: answers.all_stacked(G.float(), m),
            "Is a float32 tensor in between?",
            "misconception",
        ),
        ("noise_ball", _no_guard, "A divisor is 0 in this case.", "β"),
        ("accumulate", _grads_zeroed, "`model.zero_grad()` clears it", "leave it alone"),
        ("accumulate", answers._accumulate_chunks, "with micro_batch = 5; it should be at most", "First departure"),
        ("per_example", answers._per_example_mean, "(3,); it should be (6, 3)", "First departure"),
        ("per_example", answers._per_example_without_vmap, "given several examples at once", "wrong dimensions"),
        ("mean_gradient", lambda G, idx: G[idx].mean(0) * 1.1, "Largest deviation, case", "First departure"),
        ("epoch_loss", _two_dtypes, "`@` needs one dtype", "misconception"),
    ],
)
def test_messages_say_what_is_wrong_and_nothing_false(name: str, objects: Any, says: str, never: str) -> None:
    one = exercise(name)
    cases = visible_cases(one)
    found = [gather(case, (objects,)) for case in cases]
    verdict = judge(one, cases, found, decided=False)
    text = as_text(verdict, diagnose(one, cases, found, verdict))
    assert says in text, text
    assert never not in text, text


def test_the_weights_have_to_stay_and_grad_has_to_be_written() -> None:
    def trains(model: Any, loss_fn: Any, X: Any, y: Any, micro_batch: int) -> None:
        answers.accumulate_split(model, loss_fn, X, y, micro_batch)
        with torch.no_grad():
            next(model.parameters()).add_(1)

    case = case_of("accumulate", "equal")
    assert "the weights" in judged("accumulate", case, trains).broken
    problem = gather(case, (lambda *arguments: None,)).problem
    assert problem is not None
    assert "should write .grad" in problem.message


# --- what the text claims -------------------------------------------------------------------------------------------


def draws(n: int, m: int) -> torch.Tensor:
    return torch.tensor(list(product(range(n), repeat=m)))


def test_a_minibatch_is_unbiased_with_and_without_replacement() -> None:
    G = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for m in (1, 2, 4, 6):
        torch.testing.assert_close(answers.all_stacked(G, m).mean(0), G.mean(0), rtol=0, atol=1e-15)
    torch.testing.assert_close(G[draws(6, 4)].mean(1).mean(0), G.mean(0), rtol=0, atol=1e-15)


def test_the_variance_is_exactly_proportional_to_one_over_b() -> None:
    G = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one = G.var(0, correction=0)
    for m in (1, 2, 3, 5):
        torch.testing.assert_close(G[draws(5, m)].mean(1).var(0, correction=0) * m, one)
        without = answers.all_stacked(G, m).var(0, correction=0)
        torch.testing.assert_close(without, one / m * (5 - m) / 4)
        torch.testing.assert_close(without, G.var(0) / m * (5 - m) / 5)


def test_small_steps_and_many_of_them_average_the_noise_out() -> None:
    """T = 1/η steps at a fixed w: by enumeration, the mean of Δw is −g and its variance η·Var[g]."""
    G = torch.tensor([[1.0], [2.0], [6.0]], dtype=torch.float64)
    for steps in (2, 4, 8):
        eta = 1 / steps
        moves = -eta * G[draws(3, steps)].sum(1)
        torch.testing.assert_close(moves.mean(0), -G.mean(0))
        torch.testing.assert_close(moves.var(0, correction=0), eta * G.var(0, correction=0))


def ends(gradient: Callable[[float, int], float], orders: list[tuple[int, ...]], lr: float = 0.3) -> float:
    rows = []
    for order in orders:
        w = 2.0
        for i in order:
            w -= lr * gradient(w, i)
        rows.append(w)
    return float(np.mean(rows))


def test_sgd_follows_gradient_descent_on_average_for_quadratics_with_independent_draws_only() -> None:
    h, c = (1.0, 3.0), (1.0, -1.0)

    def quadratic(w: float, i: int) -> float:
        return h[i] * (w - c[i])

    def quartic(w: float, i: int) -> float:
        return h[i] * (w - c[i]) ** 3 / 10

    def descended(gradient: Callable[[float, int], float]) -> float:
        return ends(lambda w, _: (gradient(w, 0) + gradient(w, 1)) / 2, [(0, 0)])

    independent, reshuffled = list(product((0, 1), repeat=2)), list(permutations((0, 1)))
    assert ends(quadratic, independent) == pytest.approx(descended(quadratic), abs=1e-12)
    a = [1 - 0.3 * one for one in h]  # the model answer's difference in the factor of w_0, and in the constant
    b = [0.3 * one * other for one, other in zip(h, c, strict=True)]
    expected = -((a[0] - a[1]) ** 2) / 4 * 2.0 + (a[0] * b[1] + a[1] * b[0]) / 2 - np.mean(a) * np.mean(b)
    assert ends(quadratic, reshuffled) - descended(quadratic) == pytest.approx(expected)
    assert abs(expected) > 0.1
    assert abs(ends(quartic, independent) - descended(quartic)) > 0.1


def test_the_noise_ball_is_what_walkers_measure() -> None:
    generator = torch.Generator().manual_seed(0)
    for lr, h in ((0.1, 1.0), (0.5, 3.0), (0.9, 2.0)):
        w = torch.zeros(20_000, dtype=torch.float64)
        for _ in range(200):
            w = w - lr * (h * w + 2.0 * torch.randn(w.shape, dtype=torch.float64, generator=generator))
        assert float(w.var()) == pytest.approx(answers.ball_formula(lr, h, 4.0), rel=0.05)


def test_a_fixed_step_converges_when_every_example_can_be_fitted() -> None:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(60, 20, dtype=torch.float64, generator=generator)
    w = torch.zeros(20, dtype=torch.float64)
    for i in torch.randint(60, (20_000,), generator=generator):
        w -= 0.02 * (X[i] @ w - X[i].sum()) * X[i]
    assert float((w - 1).norm()) < 1e-12


def test_robbins_monro_conditions_hold_for_the_schedules_of_the_quiz() -> None:
    """Doubling the horizon adds a constant to Σ1/t (so it diverges) and next to nothing to the sums that converge."""

    def growth(power: float, squared: bool) -> float:
        t = np.arange(2**16, 2**20, dtype=np.float64)
        values = t ** (-power * (2 if squared else 1))
        half = len(t) // 4
        return float(values[half:].sum() / values[:half].sum())

    key = {part.name: part.key for part in REGISTRY["minibatch.q5"].parts}  # type: ignore[attr-defined]
    for name, power in (("1/t", 1.0), ("1/t²", 2.0), ("t^−0.6", 0.6), ("t^−0.4", 0.4), ("constant 0.01", 0.0)):
        diverges, converges = power <= 1, 2 * power > 1
        assert key[name] == ("yes" if diverges and converges else "no")
        # dyadic blocks of a sum with power p grow as 2^(1 − p)
        assert (growth(power, False) >= growth(1.0, False) * 0.999) == diverges
        assert (growth(power, True) < growth(1.0, False) * 0.999) == converges
    total = sum(answers.monro(1.0, 2.0, t) ** 2 for t in range(1, 10_000))
    assert total < math.pi**2 / 6


@pytest.fixture(scope="module")
def solutions(root: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"torch": torch}
    cells = source_solutions(root / "source" / NAME / f"{NAME}.ipynb")
    for one in OURS:
        exec(cells[one.id], names)
    return names


@pytest.mark.parametrize(("gradient", "least"), [("logistic_gradient", 0.95), ("perceptron_gradient", 0.95)])
def test_the_solutions_train_linear_classifiers_on_digits(
    solutions: dict[str, Any], gradient: str, least: float
) -> None:
    two = data.two_digits()
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        w = torch.nn.Parameter(0.01 * torch.randn(65, dtype=torch.float64, generator=generator))
        opt = solutions["SGD"]([w], lr=0.1)
        for _ in range(20):
            for idx in solutions["minibatches"](len(two.train_x), 16, generator):
                w.grad = solutions[gradient](w.detach(), two.train_x[idx], two.train_y[idx])
                opt.step()
        right = ((two.test_x @ w.detach()) * two.test_y > 0).double().mean()
        assert float(right) >= least


def test_a_perceptron_from_zero_never_moves(solutions: dict[str, Any]) -> None:
    two = data.two_digits()
    assert not solutions["perceptron_gradient"](torch.zeros(65).double(), two.train_x, two.train_y).any()


def test_two_digits_are_labelled_and_complete() -> None:
    every, two = data.digits(), data.two_digits(3, 5)
    assert len(two.train_x) == int(((every.train_y == 3) | (every.train_y == 5)).sum())
    assert set(two.train_y.tolist()) == {-1.0, 1.0}
    assert two.train_x.shape[1] == 65
    assert bool((two.test_x[:, -1] == 1).all())
    threes = every.train_x[every.train_y == 3].double()
    torch.testing.assert_close(two.train_x[two.train_y < 0][:, :64], threes)


def test_all_minibatches_are_in_itertools_order() -> None:
    G = torch.eye(4, dtype=torch.float64)
    rows = answers.all_at_once(G, 2)
    assert [tuple(row.nonzero().flatten().tolist()) for row in rows] == list(combinations(range(4), 2))


def test_the_graded_part_is_quick_when_warm(root: Path) -> None:
    """All checks of the notebook, visible and hidden, once warm: 0.5 s of CPU on an idle machine."""
    import time

    from autograder import check
    from autograder.exercise import QuizExercise

    cells = source_solutions(root / "source" / NAME / f"{NAME}.ipynb")

    def graded_part() -> None:
        names: dict[str, Any] = {"torch": torch}
        for one in (e for e in REGISTRY.values() if e.notebook == NAME and isinstance(e, (CodeExercise, QuizExercise))):
            exec(cells[one.id], names)
            check(one.id, *(names[n] for n in one.objects), cases="hidden")

    graded_part()
    start = time.process_time()
    graded_part()
    assert time.process_time() - start < 1.0


# --- questions with a number ----------------------------------------------------------------------------------------


def keys(name: str) -> list[float]:
    return [part.key for part in REGISTRY[f"minibatch.{name}"].parts]  # type: ignore[attr-defined]


def test_a_sums_lr_has_another_size_and_a_short_minibatch_gets_another_step() -> None:
    two = data.two_digits()
    lr, factor = keys("q9")

    def step(rows: int, reduction: str, lr: float) -> torch.Tensor:
        w = torch.nn.Parameter(torch.zeros(65, dtype=torch.float64))
        opt = torch.optim.SGD([w], lr=lr)
        torch.nn.functional.mse_loss(two.train_x[:rows] @ w, two.train_y[:rows], reduction=reduction).backward()
        opt.step()
        return w.detach()

    torch.testing.assert_close(step(32, "mean", lr), step(32, "sum", 0.002))
    torch.testing.assert_close(step(8, "mean", lr), factor * step(8, "sum", 0.002))


def test_what_drop_last_leaves_out_of_two_epochs() -> None:
    from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

    generator = torch.Generator().manual_seed(0)

    def never_used(sampler: BatchSampler) -> int:
        return 1000 - len({i for _ in range(2) for batch in sampler for i in batch})

    new = BatchSampler(RandomSampler(range(1000), generator=generator), 300, drop_last=True)
    one = BatchSampler(SequentialSampler(range(1000)), 300, drop_last=True)
    missed, kept = keys("q10")
    assert np.mean([never_used(new) for _ in range(200)]) == pytest.approx(missed, rel=0.1)
    assert never_used(one) == kept


def test_the_perplexity_is_that_of_all_tokens() -> None:
    tokens = torch.tensor([4.0] * 100 + [2.0] * 300)
    assert float(tokens.mean().exp()) == pytest.approx(keys("q11")[0])


def test_a_column_of_labels_stops_at_the_entropy_of_the_labels() -> None:
    """Every label meets every image: the loss ends where nothing is known about an image, on data that can be separated."""
    generator = torch.Generator().manual_seed(0)
    y = torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64).repeat(10)
    X = torch.cat([y[:, None] * torch.rand(40, 2, generator=generator).double(), torch.ones(40, 1).double()], dim=1)

    def trained(labels: torch.Tensor) -> float:
        w = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        opt = torch.optim.SGD([w], lr=1.0)
        for _ in range(2000):
            opt.zero_grad()
            loss = torch.nn.functional.softplus(-labels * (X @ w)).mean()
            loss.backward()
            opt.step()
        return loss.item()

    assert trained(y[:, None]) == pytest.approx(keys("q12")[0], rel=1e-6)
    assert trained(y) < 0.02
