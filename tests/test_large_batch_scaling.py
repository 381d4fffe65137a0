"""What the notebook on large batches claims, and its references against other sources."""

from __future__ import annotations

import importlib.util
import math
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from asked_questions import asked

from autograder.answers import large_batch_ranks as rank_answers
from autograder.answers import large_batch_scaling as answers
from autograder.audit import attempt, code_exercises
from autograder.collectors.launches import MIXES
from autograder.collectors.minibatching import PEAK, mean_relative_error
from autograder.collectors.ranks import run_ranks
from autograder.evidence import ProtocolError, gather
from autograder.exercise import REGISTRY, CodeExercise
from autograder.misconceptions import large_batch as rules
from autograder.misconceptions import large_batch_ranks, layerwise
from autograder.probes import generator, gradients, weights
from autograder.verdict import expected_evidence, judge_case, visible_cases
from utils.ranks import launch, sources

Tensor = torch.Tensor
SHAPES: list[tuple[int, ...]] = [(6,), (4, 3), (2, 3, 2)]


# --- LARS and LAMB --------------------------------------------------------------------------------------------------


def follow(make: Any, lrs: list[float], shapes: list[tuple[int, ...]] = SHAPES, factor: float = 1.0) -> list[Tensor]:
    """The weights after every step of an optimizer with scripted gradients in float64."""
    rng = generator(4)
    params = [torch.nn.Parameter(torch.tensor(weights(rng, shape))) for shape in shapes]
    opt, rows = make(params), []
    for lr, step in zip(lrs, gradients(rng, shapes, steps=len(lrs)), strict=True):
        for group in opt.param_groups:
            group["lr"] = lr
        for p, g in zip(params, step, strict=True):
            p.grad = torch.tensor(factor * g)
        opt.step()
        rows.append(torch.cat([p.detach().flatten().clone() for p in params]))
    return rows


def apart(one: list[Tensor], other: list[Tensor]) -> float:
    return float((torch.stack(one) - torch.stack(other)).abs().max())


@pytest.mark.parametrize("cls", [layerwise.lars({}), answers.LARS])
def test_lars_without_its_ratio_is_torchs_sgd_at_constant_lr(cls: Any) -> None:
    options = {"momentum": 0.8, "weight_decay": 0.2}
    plain = follow(lambda p: cls(p, lr=0.1, adapt=False, **options), [0.1] * 8)
    sgd = follow(lambda p: torch.optim.SGD(p, lr=0.1, **options), [0.1] * 8)
    assert apart(plain, sgd) < 1e-12
    halved = [0.1] * 4 + [0.05] * 4  # the lr inside of the velocity shows
    assert apart(follow(lambda p: cls(p, adapt=False, **options), halved),
                 follow(lambda p: torch.optim.SGD(p, lr=0.1, **options), halved)) > 1e-3  # fmt: skip


@pytest.mark.parametrize("cls", [layerwise.lamb({}), answers.LAMB])
def test_lamb_without_its_ratio_is_torchs_adamw(cls: Any) -> None:
    options = {"betas": (0.8, 0.9), "eps": 0.05, "weight_decay": 0.2}
    lrs = [0.1] * 4 + [0.03] * 4
    plain = follow(lambda p: cls(p, adapt=False, **options), lrs)
    assert apart(plain, follow(lambda p: torch.optim.AdamW(p, lr=0.1, **options), lrs)) < 1e-12


@pytest.mark.parametrize("cls", [layerwise.lars({}), answers.LARS])
def test_lars_agrees_with_pytorch_optimizer(cls: Any) -> None:
    """That one keeps the lr outside of the velocity, and adapts tensors with at least two dimensions only."""
    LARS = pytest.importorskip("pytorch_optimizer").LARS
    options = {"lr": 0.3, "momentum": 0.8, "weight_decay": 0.2, "trust_coefficient": 0.05}
    theirs = follow(lambda p: LARS(p, **options), [0.3] * 8, SHAPES[1:])
    assert apart(follow(lambda p: cls(p, **options), [0.3] * 8, SHAPES[1:]), theirs) < 1e-12


@pytest.mark.parametrize("cls", [layerwise.lamb({}), answers.LAMB])
def test_lamb_agrees_with_pytorch_optimizer(cls: Any) -> None:
    """That one has no bias correction (with `adam_debias`; else it corrects the lr).

    The correction is a common factor of r, and the ratio takes it out where decay and eps do not count. With decay the
    two agree once the correction has died out: 60 steps with lr 0 come first.
    """
    Lamb = pytest.importorskip("pytorch_optimizer").Lamb
    for decay, lrs in ((0.0, [0.02] * 8), (0.2, [0.0] * 60 + [0.02] * 8)):
        options: dict[str, Any] = {"betas": (0.5, 0.6), "eps": 1e-13, "weight_decay": decay}
        theirs = follow(lambda p, o=options: Lamb(p, adam_debias=True, weight_decouple=False, **o), lrs)
        ours = follow(lambda p, o=options: cls(p, **o), lrs)
        assert apart(ours, theirs) < 1e-9
        assert apart(ours[:1] * len(ours), ours) > 0.01


def test_one_step_of_lars_and_lamb_by_hand() -> None:
    """w = (3, 4), g = (0, 2): norms 5 and 2."""
    for cls in (layerwise.lars({}), answers.LARS):
        w = torch.nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
        w.grad = torch.tensor([0.0, 2.0], dtype=torch.float64)
        cls([w], lr=0.5, momentum=0.9, weight_decay=0.2, trust_coefficient=0.3).step()
        # q = 0.3 · 5 / (2 + 0.2 · 5) = 0.5; v = 0.5 · 0.5 · (0.6, 2.8)
        assert torch.allclose(w.detach(), torch.tensor([3 - 0.15, 4 - 0.7], dtype=torch.float64), atol=1e-14)
    for lamb in (layerwise.lamb({}), answers.LAMB):
        w = torch.nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
        w.grad = torch.tensor([0.0, 2.0], dtype=torch.float64)
        lamb([w], lr=0.1, betas=(0.9, 0.99), eps=2.0, weight_decay=0.2).step()
        # m̂ = g, v̂ = g²: r = (0, 2/4) + 0.2 · (3, 4) = (0.6, 1.3); the step has the length 0.1 · 5
        r = torch.tensor([0.6, 1.3], dtype=torch.float64)
        expected = torch.tensor([3.0, 4.0], dtype=torch.float64) - 0.1 * 5 / r.norm() * r
        assert torch.allclose(w.detach(), expected, atol=1e-14)


# --- rules, noise and the critical batch ----------------------------------------------------------------------------


def test_warmup_is_torchs_sequential_lr_and_needs_no_torch() -> None:
    for epochs, n, batch in product((0, 1, 3), (17, 64), (8, 100)):
        for step in (0, 1, 5, 30):
            arguments = (step, 0.1, 0.8, epochs, n, batch)
            assert answers.warmup_lr(*arguments) == pytest.approx(rules.warmup_by_torch(*arguments), rel=1e-12)


def test_the_noise_estimates_are_unbiased_for_draws_with_replacement() -> None:
    """Over all ordered draws there are of 1, 2 and 3 of four examples, the estimates are the exact values."""
    G = torch.tensor(generator(0).standard_normal((4, 3)))
    mean = G.mean(0)
    exact = float((mean**2).sum()), float(((G - mean) ** 2).sum(1).mean())
    every = {b: torch.stack([G[list(i)].mean(0) for i in product(range(4), repeat=b)]) for b in (1, 2, 3)}
    for small, big in ((1, 2), (1, 3), (2, 3)):
        found = answers.noise_scale(every[small], every[big], small, big)
        assert [float(v) for v in found[:2]] == pytest.approx(exact, rel=1e-12)
        assert float(found[2]) == pytest.approx(exact[1] / exact[0], rel=1e-12)


def test_the_tradeoff_holds_on_a_quadratic_whose_noise_is_known() -> None:
    """The expected loss's recursion at a share a of the best lr, against S_min and E_min in closed form."""
    noise, share, target = 4.0, 0.01, 0.01
    sizes, steps = [1, 4, 16, 64, 256, 1024], []
    for size in sizes:
        loss, count = 1.0, 0
        while loss > target:
            lr = share / (1 + noise / (2 * loss * size))
            loss, count = (1 - lr) ** 2 * loss + 0.5 * lr**2 * noise / size, count + 1
        steps.append(count)
    slow = 2 * share - share**2
    s_min, e_min = math.log(1 / target) / slow, noise / 2 * (1 / target - 1) / slow
    found = answers.fit_tradeoff(torch.tensor(sizes).double(), torch.tensor(steps).double())
    assert [float(v) for v in found] == pytest.approx([s_min, e_min, e_min / s_min], rel=0.02)
    for size, count in zip(sizes, steps, strict=True):
        assert answers.steps_needed(size, s_min, e_min / s_min) == pytest.approx(count, rel=0.02)
        assert answers.examples_needed(size, e_min, e_min / s_min) == pytest.approx(count * size, rel=0.02)


def test_linear_scaling_keeps_drift_and_noise_per_example() -> None:
    """k steps with η on batches of B against one with kη on kB, at a fixed gradient: same mean, same covariance."""
    k, lr, batch = 4, 0.1, 8
    scaled = answers.linear_scaled_lr(lr, batch, k * batch, math.inf)
    assert scaled == pytest.approx(k * lr)
    assert scaled**2 / (k * batch) == pytest.approx(k * lr**2 / batch)
    root = answers.sqrt_scaled_lr(lr, batch, k * batch, math.inf)
    assert root**2 / (k * batch) == pytest.approx(lr**2 / batch)


# --- questions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", range(6))
def test_that_share_of_a_squared_norm_is_signal(given: int) -> None:
    text, key = asked("largebatch.q7", given)
    (noise_scale,) = re.findall(r"is (\d+) examples", text)
    G = torch.linspace(-1, 2, 30, dtype=torch.float64)
    spread = (float(G @ G) * float(noise_scale) / 30) ** 0.5  # per entry of one example's gradient
    draws = torch.randn(40_000, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(given))
    batches = G + spread / 64**0.5 * draws
    assert float(G @ G) / float(batches.square().sum(1).mean()) == pytest.approx(key, rel=0.01)


def test_a_loss_1000_times_as_large_moves_only_what_lars_excludes() -> None:
    moved = []
    for factor in (1.0, 1000.0):
        rng = generator(0)
        w, bias = (torch.nn.Parameter(torch.tensor(weights(rng, (6,)))) for _ in range(2))
        opt = answers.LARS([{"params": [w]}, {"params": [bias], "adapt": False}], lr=0.1, weight_decay=0.0)
        start = [p.detach().clone() for p in (w, bias)]
        for step in gradients(rng, [(6,), (6,)], 5):
            w.grad, bias.grad = (factor * torch.tensor(g) for g in step)
            opt.step()
        moved.append([p.detach() - first for p, first in zip((w, bias), start, strict=True)])
    (small_w, small_bias), (large_w, large_bias) = moved
    torch.testing.assert_close(large_w, small_w)
    torch.testing.assert_close(large_bias, 1000 * small_bias)


@pytest.mark.parametrize("given", range(6))
def test_an_example_of_the_smallest_shard_gets_that_weight(given: int) -> None:
    text, key = asked("largebatch.q9", given)
    sizes = [int(size) for size in re.findall(r"leaves (\d+), (\d+) and (\d+) examples", text)[0]]
    (few,) = (int(size) for size in re.findall(r"rank with (\d+)\?", text))
    losses = torch.ones(sum(sizes), requires_grad=True)
    ddp = sum(shard.mean() for shard in losses.split(sizes)) / 3
    got, due = (torch.autograd.grad(loss, losses)[0] for loss in (ddp, losses.mean()))
    assert sizes.count(few) == 1
    assert (got / due).split(sizes)[sizes.index(few)].tolist() == pytest.approx([key] * few)


# --- AlexNet --------------------------------------------------------------------------------------------------------


def test_thirteen_of_alexnets_sixteen_ratios_round_to_what_is_printed(root: Path) -> None:
    notebook = nbformat.read(root / "source/08_large_batch_scaling/08_large_batch_scaling.ipynb", as_version=4)
    cell = next(cell.source for cell in notebook.cells if cell.id == "alexnet")
    rows = re.findall(r"((?:fc|conv)\d\.\d) ([\d.]+) ([\d.]+) (\d+)", cell)
    assert len(rows) == 16
    computed = {name: (float(w) / float(g), int(printed)) for name, w, g, printed in rows}
    assert all(abs(ratio - printed) < 1 for ratio, printed in computed.values())
    wrong = {name for name, (ratio, printed) in computed.items() if round(ratio) != printed}
    assert wrong == {"fc7.0", "fc6.0", "fc6.1"}
    quiz = next(cell.source for cell in notebook.cells if cell.id == "q5-text")
    assert "- **b** fc7.0, fc6.0, fc6.1" in quiz
    model = torch.nn.Module()
    for name, w, g, _ in rows:  # the student's function says the same as the columns
        layer, kind = name.split(".")
        if not hasattr(model, layer):
            model.add_module(layer, torch.nn.Module())
        p = torch.nn.Parameter(torch.tensor([float(w)], dtype=torch.float64))
        p.grad = torch.tensor([float(g)], dtype=torch.float64)
        getattr(model, layer).register_parameter("weight" if kind == "0" else "bias", p)
    found = answers.layer_ratios(model)
    assert found["fc6.bias"] == pytest.approx(computed["fc6.1"][0], rel=1e-12)


# --- ranks ----------------------------------------------------------------------------------------------------------


def on_a_rank(rank: int, world_size: int, X: Tensor, y: Tensor, weights: Any, sizes: list[int]) -> Any:
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    def computed(work: Any, sizes: list[int]) -> list[Tensor]:
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
        model.load_state_dict(weights)
        first = sum(sizes[:rank])
        work(model, X[first : first + sizes[rank]], y[first : first + sizes[rank]])
        return [p.grad for p in model.parameters() if p.grad is not None]

    def with_ddp(model: Any, X: Tensor, y: Tensor) -> None:
        ddp = DistributedDataParallel(model)
        loss_fn(ddp(X), y).backward()
        del ddp

    def whole_shard(model: Any, X: Tensor, y: Tensor) -> None:
        data_parallel_backward(model, loss_fn, X, y, dist.all_reduce, world_size)  # noqa: F821

    def in_parts(model: Any, X: Tensor, y: Tensor) -> None:
        accumulate_and_reduce(model, loss_fn, X, y, 2, dist.all_reduce, world_size)  # noqa: F821

    loss_fn, equal = torch.nn.functional.mse_loss, [sum(sizes) // world_size] * world_size
    return [
        computed(whole_shard, sizes),
        computed(in_parts, sizes),
        computed(whole_shard, equal),
        computed(with_ddp, equal),
    ]


def test_real_ranks_have_the_gradient_of_the_whole_batch_as_ddp_has(tmp_path: Path) -> None:
    """The solutions of the notebook over gloo, each in a process of its own."""
    program = tmp_path / "program.py"
    own = Path(__file__).read_text(encoding="utf-8")
    worker = own[own.index("def on_a_rank(") : own.index("def test_real_ranks_have")]
    answer = Path(rank_answers.__file__).read_text(encoding="utf-8")
    program.write_text(f"{answer}\n\n\n{worker}", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("program", program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    X, y = torch.tensor(generator(1).standard_normal((12, 3))), torch.tensor(generator(2).standard_normal((12, 1)))
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    torch.nn.functional.mse_loss(model(X), y).backward()  # type: ignore[no-untyped-call]
    results = launch(module.on_a_rank, 3, X=X, y=y, weights=model.state_dict(), sizes=[7, 2, 3])
    for found, kind in product(results, range(4)):
        for g, p in zip(found[kind], model.parameters(), strict=True):
            assert p.grad is not None
            assert float((g - p.grad).abs().max()) < 1e-14


def test_sources_follow_calls_and_name_imports(tmp_path: Path) -> None:
    program = tmp_path / "some.py"
    program.write_text(
        "import math as m\n\n\ndef far():\n    return m.pi\n\n\ndef near():\n    return far()\n\n\n"
        "def other():\n    return 1\n",
        encoding="utf-8",
    )
    spec = importlib.util.spec_from_file_location("some", program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = sources(module.near)
    assert "import math as m" in text
    assert "def far()" in text
    assert "def other()" not in text


def test_the_checks_ranks_sum_like_a_process_group() -> None:
    seen: list[float] = []

    def work(rank: int, all_reduce: Any) -> None:
        for factor in (1.0, 10.0):
            t = torch.full((2,), factor * (rank + 1))
            all_reduce(t)
            seen.append(float(t[0]))

    sizes = run_ranks(3, work)
    assert sizes == [[2, 2]] * 3
    assert sorted(seen) == [6.0] * 3 + [60.0] * 3


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda rank, all_reduce: all_reduce(torch.zeros(2)) if rank else None, "rank 1 waits in all_reduce number 1"),
        (lambda rank, all_reduce: all_reduce(torch.zeros(rank + 1)), "with different tensors"),
        (lambda rank, all_reduce: all_reduce(3.0), "given a float"),
        (lambda rank, all_reduce: all_reduce(torch.zeros(1), op="RedOpType.AVG"), "AVG"),
    ],
)
def test_ranks_that_do_not_fit_together_are_told_so_at_once(work: Any, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        run_ranks(3, work)


def test_an_exception_on_one_rank_ends_all_of_them() -> None:
    def work(rank: int, all_reduce: Any) -> None:
        all_reduce(torch.zeros(1))
        if rank == 1:
            raise KeyError("here")
        all_reduce(torch.zeros(1))

    with pytest.raises(KeyError, match="here"):
        run_ranks(3, work)


def test_the_references_of_the_ranks_are_autograds_gradient_of_the_whole_batch() -> None:
    for exercise_id, function in (
        ("largebatch.data_parallel", large_batch_ranks.data_parallel_function),
        ("largebatch.no_sync", large_batch_ranks.accumulate_function),
    ):
        exercise = REGISTRY[exercise_id]
        assert isinstance(exercise, CodeExercise)
        case = visible_cases(exercise)[1]
        found = gather(case, function({}))
        w1, b1, w2, b2 = (torch.tensor(one, requires_grad=True) for one in case.inputs["weights"])
        X, y = (torch.tensor(np.concatenate(case.inputs[key])) for key in ("X", "y"))
        whole = mean_relative_error(torch.tanh(X @ w1.T + b1) @ w2.T + b2, y)
        for i, g in enumerate(torch.autograd.grad(whole, (w1, b1, w2, b2))):
            for rank in range(len(case.inputs["X"])):
                assert np.allclose(found.arrays[f"gradient of parameter {i} on rank {rank}"], g.numpy(), atol=1e-13)


def _case(exercise_id: str, name: str) -> Any:
    exercise = REGISTRY[exercise_id]
    assert isinstance(exercise, CodeExercise)
    return next(case for case in visible_cases(exercise) if case.name == name)


def test_a_count_on_the_cpu_is_a_mix_of_devices_even_in_a_call_of_its_own() -> None:
    case = _case("largebatch.data_parallel", "on a GPU")
    right = gather(case, (rank_answers.data_parallel_backward,)).facts
    wrong = gather(case, large_batch_ranks.data_parallel_function({"count on": "cpu", "buckets": "count apart"})).facts
    assert (right[MIXES], wrong[MIXES]) == (0.0, 1.0)
    (where,) = wrong[f"{MIXES}: where"]
    assert re.fullmatch(r"line \d+ of .*: all_reduce number 1 is given a tensor on the CPU", where), (
        "the line that calls it"
    )


def test_memory_tells_one_backward_from_one_per_micro_batch() -> None:
    case = _case("largebatch.no_sync", "memory")
    peaks = [
        float(gather(case, large_batch_ranks.accumulate_function(faults)).facts[PEAK])  # type: ignore[arg-type]
        for faults in ({}, {"micro": "one backward"}, {"micro": "whole shard"})
    ]
    assert peaks[0] < 1.2
    assert min(peaks[1:]) > 2.5


@pytest.mark.parametrize("exercise_id", ["largebatch.lars", "largebatch.lamb"])
def test_a_new_optimizer_takes_over_half_way(exercise_id: str) -> None:
    """With the state of the old one nothing changes; with state kept elsewhere the steps after the restart do."""
    case = _case(exercise_id, "state_dict half-way")
    through = replace(case, inputs={key: value for key, value in case.inputs.items() if key != "reload"})
    build, stop = (layerwise.lars if exercise_id.endswith("lars") else layerwise.lamb), case.inputs["reload"]
    for faults, same in (({}, True), ({"state": "own"}, False)):
        one, two = (gather(each, (build(faults),)).arrays["parameter 0"] for each in (case, through))
        assert np.array_equal(one[: stop + 1], two[: stop + 1])
        assert np.array_equal(one, two) == same


# --- messages and the catalogue -------------------------------------------------------------------------------------


def test_every_row_about_large_batches_has_its_place() -> None:
    rows = [f"G{i}" for i in range(1, 7)] + [f"T{i}" for i in range(1, 11)]
    detected = {m.id for exercise in code_exercises() for m in exercise.misconceptions}
    assert [row for row in rows if row not in detected and row not in rules.ELSEWHERE] == []
    questions = {exercise.id for exercise in REGISTRY.values()}
    for text in rules.ELSEWHERE.values():
        assert text.rpartition("question ")[2] in questions


OWN = [exercise for exercise in code_exercises() if exercise.id.startswith("largebatch.")]


@pytest.mark.parametrize("exercise", OWN, ids=lambda exercise: exercise.id)
def test_useless_answers_are_told_plainly(exercise: CodeExercise) -> None:
    """None, numbers and stubs in place of the functions: a plain message, never a false name."""

    def nothing(*_: Any, **__: Any) -> None:
        return None

    def stub(*_: Any, **__: Any) -> None:
        raise NotImplementedError

    for useless in (None, 3.0, nothing, stub, [1.0], object()):
        verdict, named = attempt(exercise, visible_cases(exercise), (useless,) * len(exercise.objects))
        assert not verdict.passed
        assert named == (), (useless, named)
        assert verdict.not_started == (useless is stub and exercise.kind != "optimizer")


@pytest.mark.parametrize("exercise", OWN, ids=lambda exercise: exercise.id)
def test_the_simulator_without_faults_passes(exercise: CodeExercise) -> None:
    for case in visible_cases(exercise):
        found = gather(case, exercise.reference())
        assert judge_case(case, found, expected_evidence(exercise, case)).passed, case.name
