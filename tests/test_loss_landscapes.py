"""What the notebook on loss landscapes says about curvature, pictures and sharpness, and how its checks treat odd answers."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from asked_questions import asked

from autograder import check
from autograder.answers import loss_landscapes as answers
from autograder.audit import attempt, code_exercises
from autograder.collectors.loss_landscapes import flat_loss, perceptron_loss
from autograder.diagnose import advice
from autograder.evidence import Problem, gather
from autograder.exercise import REGISTRY, CodeExercise
from autograder.launches import LaunchCounter
from autograder.misconceptions import landscape_curvature as curvature
from autograder.misconceptions import landscape_pictures as pictures
from autograder.verdict import expected_evidence, hidden_cases, judge_case, visible_cases
from utils import plotting

Tensor = torch.Tensor


def exercise(name: str) -> CodeExercise:
    found = REGISTRY[name]
    assert isinstance(found, CodeExercise)
    return found


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


# --- curvature ------------------------------------------------------------------------------------------------------

SHAPES = ((6, 5), (6,), (3, 6), (3,))


def network() -> tuple[list[Tensor], Tensor, object]:
    params = [normal(*shape, seed=i) for i, shape in enumerate(SHAPES)]
    X, y = normal(12, 5, seed=9), torch.arange(12) % 3

    def loss_fn(own: list[Tensor]) -> Tensor:
        return perceptron_loss(own, X, y, 2, "cross-entropy")

    sizes = [p.numel() for p in params]

    def flat(w: Tensor) -> Tensor:
        return loss_fn([part.view(shape) for part, shape in zip(torch.split(w, sizes), SHAPES, strict=True)])  # type: ignore[no-untyped-call]

    H = torch.func.hessian(flat)(torch.cat([p.reshape(-1) for p in params]))
    return params, H, loss_fn


@pytest.mark.parametrize("name", list(answers.ACCEPTED["landscape.hvp"]))
def test_products_and_lanczos_agree_with_the_full_hessian_of_a_network(name: str) -> None:
    params, H, loss_fn = network()
    (hvp,) = answers.ACCEPTED["landscape.hvp"][name]
    sizes = [p.numel() for p in params]

    def matvec(v: Tensor) -> Tensor:
        parts = [part.view(shape) for part, shape in zip(torch.split(v, sizes), SHAPES, strict=True)]  # type: ignore[no-untyped-call]
        return torch.cat([one.reshape(-1) for one in hvp(loss_fn, params, parts)])

    v = normal(len(H), seed=3)
    assert torch.allclose(matvec(v), H @ v, rtol=1e-10, atol=1e-12)
    top = answers.lanczos_list(matvec, len(H), 4, 30, generator())
    assert torch.allclose(top, torch.linalg.eigvalsh(H).flip(0)[:4], rtol=1e-6, atol=1e-8)


def test_the_ghosts_of_the_textbook_recursion_are_real() -> None:
    case = next(case for case in visible_cases(exercise("landscape.lanczos")) if case.group == "ghosts")
    H = torch.tensor(case.inputs["matrix"])
    exact = torch.linalg.eigvalsh(H).flip(0)[:3]
    arguments = (lambda v: H @ v, len(H), 3, case.inputs["steps"])
    assert torch.allclose(answers.lanczos_list(*arguments, generator(1)), exact, rtol=1e-9)
    copies = answers._textbook(*arguments, generator(1))
    assert torch.allclose(copies, exact[:1].expand(3), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_probability_of_a_minimum_is_the_exact_one(n: int) -> None:
    exact = {1: 0.5, 2: (2 - 2**0.5) / 4, 3: (math.pi - 2 * 2**0.5) / (4 * math.pi)}[n]
    samples = 200_000
    share = answers.goe_eigenvalues(n, samples, generator(n))
    band = 5 * (exact * (1 - exact) / samples) ** 0.5
    assert abs(share - exact) < band
    triangular = answers._not_symmetrised(n, samples, generator(n))
    assert (abs(triangular - exact) > 3 * band) == (n > 1)


def test_beyond_three_dimensions_the_probability_keeps_falling_faster_than_a_coin() -> None:
    shares = [answers.goe_eigenvalues(n, 100_000, generator(n)) for n in (2, 3, 4)]
    ratios = [b / a for a, b in itertools.pairwise(shares)]
    assert all(ratio < 0.5 for ratio in ratios)
    assert ratios[1] < ratios[0]


def test_a_saddle_is_left_by_noise_and_sooner_by_momentum() -> None:
    def steps_to_leave(offset: float, mu: float, noise: float) -> float:
        w = torch.tensor([-2.0, offset], dtype=torch.float64).repeat(50, 1)
        b, gen, gone = torch.zeros_like(w), generator(), torch.full((50,), math.inf)
        for step in range(400):
            g = torch.stack([w[:, 0], -w[:, 1] + 0.2 * w[:, 1] ** 3], dim=1)
            b = mu * b + g + noise * torch.randn(w.shape, generator=gen, dtype=torch.float64)
            w = w - 0.1 * b
            gone = torch.where((w[:, 1].abs() > 1) & gone.isinf(), float(step), gone)
        return float(gone.median())

    assert steps_to_leave(0.0, 0.0, 0.0) == steps_to_leave(0.0, 0.9, 0.0) == math.inf
    plain = steps_to_leave(1e-3, 0.0, 0.0)
    assert abs(plain - math.log(1000) / math.log(1.1)) < 4  # (7.6), until the quartic is felt
    assert steps_to_leave(1e-3, 0.9, 0.0) < plain / 2
    assert steps_to_leave(0.0, 0.9, 1e-2) < steps_to_leave(0.0, 0.0, 1e-2) < 400


# --- pictures -------------------------------------------------------------------------------------------------------


INPUTS = normal(12, 5, seed=9)


def relu_loss(params: list[Tensor]) -> Tensor:
    W, b, V, c = params
    return torch.nn.functional.cross_entropy(torch.relu(INPUTS @ W.T + b) @ V.T + c, torch.arange(12) % 3)


def rescaled(params: list[Tensor], factor: float) -> list[Tensor]:
    W, b, V, c = params
    return [W * factor, b * factor, V / factor, c]


@pytest.mark.parametrize("name", list(answers.ACCEPTED["landscape.filter_normalize"]))
def test_a_normalised_picture_survives_the_rescaling_of_a_relu_layer_and_a_raw_one_does_not(name: str) -> None:
    params = [normal(*shape, seed=i) for i, shape in enumerate(SHAPES)]
    direction = [normal(*shape, seed=20 + i) for i, shape in enumerate(SHAPES)]
    (normalize,) = answers.ACCEPTED["landscape.filter_normalize"][name]

    def curve(weights: list[Tensor], d: list[Tensor]) -> Tensor:
        at = torch.linspace(-1, 1, 9, dtype=torch.float64)
        return torch.stack([relu_loss([w + a * one for w, one in zip(weights, d, strict=True)]) for a in at])

    raw, picture = curve(params, direction), curve(params, list(normalize(direction, params)))
    for factor in (0.1, 10.0):
        other = rescaled(params, factor)
        assert torch.allclose(relu_loss(other), relu_loss(params))
        assert torch.allclose(curve(other, list(normalize(direction, other))), picture, rtol=1e-9)
        assert not torch.allclose(curve(other, direction), raw, rtol=0.1)


def test_rescaling_makes_the_same_function_as_sharp_as_you_like() -> None:
    params = [normal(*shape, seed=i) for i, shape in enumerate(SHAPES)]

    def sharpness(weights: list[Tensor]) -> float:
        sizes = [p.numel() for p in weights]

        def flat(w: Tensor) -> Tensor:
            return relu_loss([part.view(s) for part, s in zip(torch.split(w, sizes), SHAPES, strict=True)])  # type: ignore[no-untyped-call]

        return float(torch.linalg.eigvalsh(torch.func.hessian(flat)(torch.cat([p.reshape(-1) for p in weights])))[-1])

    assert sharpness(rescaled(params, 30.0)) > 50 * sharpness(params)


def double_loop(
    loss_fn: object, w: Tensor, d1: Tensor, d2: Tensor, alphas: Tensor, betas: Tensor, X: Tensor, y: Tensor
) -> Tensor:
    assert callable(loss_fn)
    return torch.stack([torch.stack([loss_fn(w + a * d1 + b * d2, X, y) for b in betas]) for a in alphas])


def test_the_reference_of_the_surface_is_a_double_loop() -> None:
    for case in visible_cases(exercise("landscape.surface")):
        inputs = case.inputs
        if "device" in inputs or case.inputs.get("dtype"):
            continue
        X, y = (torch.tensor(part) for part in inputs["batches"][0])
        tensors = [torch.tensor(inputs[key]) for key in ("w", "d1", "d2", "alphas", "betas")]
        expected = double_loop(flat_loss(inputs["sizes"]), *tensors, X, y)
        found = expected_evidence(exercise("landscape.surface"), case).arrays["loss on the grid"]
        assert torch.allclose(torch.tensor(found), expected, rtol=1e-12)


@pytest.mark.parametrize("name", list(answers.ACCEPTED["landscape.surface"]))
def test_launches_go_with_the_chunks_and_memory_with_neither_grid_nor_launches(name: str) -> None:
    (surface,) = answers.ACCEPTED["landscape.surface"][name]
    sizes = (16, 30, 4)
    dim = 16 * 30 + 30 + 30 * 4
    with LaunchCounter() as counter:
        fixed = [counter.place(normal(dim, seed=i)) for i in range(3)]
        batch = (counter.place(normal(8, 16, seed=4)), counter.place(torch.arange(8) % 4))
        per_chunk, peaks = [], {}
        for m, chunk in ((8, 16), (16, 16), (32, 16), (16, 64)):
            axis = counter.place(torch.linspace(-1, 1, m, dtype=torch.float64))
            with counter.section() as section:
                surface(flat_loss(sizes), *fixed, axis, axis, iter([batch]), chunk)
            per_chunk.append(section.launches / math.ceil(m * m / chunk))
            peaks[m, chunk] = section.peak_bytes
    assert max(per_chunk) < 1.3 * min(per_chunk)
    assert peaks[32, 16] < 1.5 * peaks[16, 16] < 2 * peaks[8, 16]
    assert peaks[16, 64] > 2 * peaks[16, 16]


# --- lines, sharpness, the first step -------------------------------------------------------------------------------


def test_recomputed_statistics_are_those_of_update_bn_and_not_those_of_an_end() -> None:
    found = exercise("landscape.interpolate")
    case = visible_cases(found)[0]
    expected = expected_evidence(found, case).arrays["loss along the line"]
    kept = gather(case, (answers._interpolate(answers._keeps_stats),)).arrays["loss along the line"]
    assert abs(expected - kept).max() > 0.1


def test_sam_with_rho_0_is_sgd_to_the_last_bit() -> None:
    def run(make: object) -> Tensor:
        assert callable(make)
        w = torch.nn.Parameter(normal(5))
        opt = make([w])

        def closure() -> Tensor:
            opt.zero_grad()
            loss = (w**4).sum() + w.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        for _ in range(20):
            opt.step(closure)
        return w.detach()

    options = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}
    sgd = run(lambda params: torch.optim.SGD(params, **options))
    assert torch.equal(run(lambda params: answers.SamByMoves(params, torch.optim.SGD, rho=0.0, **options)), sgd)
    assert not torch.equal(run(lambda params: answers.SamByMoves(params, torch.optim.SGD, rho=0.1, **options)), sgd)


def test_full_batch_descent_settles_at_the_edge_of_stability() -> None:
    """Five two-layer linear networks side by side, u·v = 1, u much larger at first: λ_max starts above 2/lr and ends below."""
    lr = 0.35
    u, v = torch.full((5,), 2.6, dtype=torch.float64), 0.3 + 0.02 * torch.arange(5, dtype=torch.float64)
    for _ in range(2000):
        error = u * v - 1
        u, v = u - lr * error * v, v - lr * error * u
    sharpness = u.square() + v.square()  # the Hessian's largest eigenvalue where u·v = 1
    assert ((u * v - 1).abs() < 1e-3).all()
    assert (sharpness < 2 / lr).all()
    assert 2 / lr < 2.6**2 + 0.3**2  # where it started


def test_random_labels_can_be_fitted_and_test_error_descends_twice() -> None:
    x, y = normal(40, 20).float(), torch.randint(0, 5, (40,), generator=generator(1))
    layers = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.Tanh(), torch.nn.Linear(64, 5))
    for i, p in enumerate(layers.parameters()):
        p.data = 0.2 * torch.randn(p.shape, generator=generator(i))
    opt = torch.optim.Adam(layers.parameters(), lr=1e-2)
    for _ in range(150):
        opt.zero_grad()
        torch.nn.functional.cross_entropy(layers(x), y).backward()
        opt.step()
    assert bool((layers(x).argmax(1) == y).all())

    def test_error(p: int) -> float:
        truth, P = normal(10, 20, 1, seed=2) / 20**0.5, normal(10, 20, p, seed=3) / 20**0.5
        X, Xt = normal(10, 40, 20, seed=4), normal(10, 200, 20, seed=5)
        y_noisy = X @ truth + 0.5 * normal(10, 40, 1, seed=6)
        a = torch.linalg.pinv(torch.relu(X @ P)) @ y_noisy
        return float((torch.relu(Xt @ P) @ a - Xt @ truth).square().mean((1, 2)).median())

    few, peak, many = (test_error(p) for p in (10, 40, 600))
    assert peak > 5 * few > 5 * many


# --- questions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", range(6))
def test_power_iteration_finds_the_other_end_from_that_shift_on(given: int) -> None:
    text, key = asked("landscape.q7", given)
    low, high = (float(number) for number in re.findall(r"between −(\d+) and (\d+)", text)[0])
    values = torch.linspace(-low, high, 20, dtype=torch.float64)

    def found(shift: float) -> float:
        v = torch.ones_like(values)
        for _ in range(3000):
            v = (values + shift) * v
            v /= v.norm()
        return float(v @ ((values + shift) * v)) - shift

    assert found(1.05 * key) == pytest.approx(high)
    assert found(0.95 * key) == pytest.approx(-low)


@pytest.mark.parametrize("given", range(6))
def test_a_pass_after_a_reset_leaves_that_running_variance(given: int) -> None:
    text, key = asked("landscape.q8", given)
    (variance,) = re.findall(r"variance\n(\d+),", text)
    values = normal(500, 1)
    norm = torch.nn.BatchNorm1d(1).double()
    norm.running_var.fill_(7.0)
    norm.reset_running_stats()
    norm((values - values.mean()) / values.std() * float(variance) ** 0.5 + 4)
    assert norm.running_var.item() == pytest.approx(key)


def test_xaviers_signal_fades_by_that_factor_behind_relus() -> None:
    text, key = asked("landscape.q9", 0)
    (layers,) = re.findall(r"initialises (\d+) ReLU", text)
    faded = []
    for seed in range(12):
        h, weight, draw = torch.randn(100, 400, generator=generator(seed)), torch.empty(400, 400), generator(100 + seed)
        start = h.square().mean()
        for _ in range(int(layers)):
            h = torch.relu(h @ torch.nn.init.xavier_normal_(weight, generator=draw))
        faded.append(float((h.square().mean() / start).log2()) / -2)
    mean, half = plotting.interval(faded)
    assert abs(mean - math.log2(key)) < 2 * half < 1.0


def test_twice_the_examples_can_be_far_worse(root: Path) -> None:
    notebook = nbformat.read(root / "source" / "07_loss_landscapes" / "07_loss_landscapes.ipynb", as_version=4)
    cell = next(cell.source for cell in notebook.cells if cell.id == "double-descent")
    names = {"torch": torch}
    exec(cell[: cell.index("\n\n\ncounts")], names)
    error = {n: names["random_features"](120, n)[1].median().item() for n in (60, 120, 400)}
    assert error[60] == pytest.approx(0.55, abs=0.01)
    assert 50 < error[120] < 70, "what the feedback says"
    assert error[400] == pytest.approx(0.19, abs=0.01)


@pytest.mark.parametrize("shape", [(7, 3), (4, 3, 5, 5)])
def test_initial_weights_are_torchs(shape: tuple[int, ...]) -> None:
    for own, theirs, options in (
        (answers.lecun_normal_, torch.nn.init.kaiming_normal_, {"mode": "fan_in", "nonlinearity": "linear"}),
        (answers.xavier_normal_, torch.nn.init.xavier_normal_, {}),
    ):
        one, other = torch.empty(shape, dtype=torch.float64), torch.empty(shape, dtype=torch.float64)
        own(one, generator(3))
        theirs(other, generator=generator(3), **options)  # type: ignore[operator]
        assert torch.allclose(one, other, rtol=1e-12)


# --- the catalogue --------------------------------------------------------------------------------------------------


def test_every_landscape_row_of_the_catalogue_has_its_place() -> None:
    detected = {m.id for one in code_exercises() for m in one.misconceptions if one.id.startswith("landscape.")}
    rows = [f"L{i}" for i in range(1, 10)]
    assert [row for row in rows if row not in detected and row not in pictures.ELSEWHERE] == []
    assert not detected & set(pictures.ELSEWHERE)


def test_what_is_dealt_with_elsewhere_is_there(root: Path) -> None:
    text = (root / "source" / "07_loss_landscapes" / "07_loss_landscapes.ipynb").read_text(encoding="utf-8")
    for place in pictures.ELSEWHERE.values():
        for quiz in re.findall(r"landscape\.q\d", place):
            assert quiz in REGISTRY
            assert quiz in text


def test_row_ids_mean_one_thing() -> None:
    banks = [
        value for module in (curvature, pictures) for name, value in vars(module).items() if name.endswith("_ROWS")
    ]
    ids = [row for bank in banks for row in bank if row != "L27"]  # the global generator, in three exercises
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("landscape.hvp", curvature.hvp_function({})),
        ("landscape.lanczos", curvature.lanczos_function({})),
        ("landscape.filter_normalize", pictures.normalize_function({})),
        ("landscape.interpolate", pictures.interpolate_function({})),
        ("landscape.sharpness", pictures.sam_class({})),
        ("landscape.init", pictures.init_functions({})),
    ],
)
def test_simulators_without_faults_are_right(name: str, right: tuple[object, ...]) -> None:
    found = exercise(name)
    for case in visible_cases(found) + hidden_cases(found, 4):
        assert judge_case(case, gather(case, right), expected_evidence(found, case)).passed, case.name


# --- what students may hand in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "objects", "words"),
    [
        ("landscape.hvp", (lambda loss_fn, params, v: torch.zeros(3),), "a list of tensors, one per parameter"),
        ("landscape.hvp", (lambda loss_fn, params, v: params[:1],), "returned 1 tensors; there are"),
        ("landscape.hvp", (lambda loss_fn, params: params,), "hvp(loss_fn, params, v)"),
        (
            "landscape.lanczos",
            (lambda matvec, dim, k, steps, generator: [1.0] * k,),
            "should return a tensor, not a list",
        ),
        ("landscape.classify", (lambda H, tol: "saddle",), "two things, (kind, index)"),
        ("landscape.classify", (lambda H, tol: ("valley", 0),), "it is 'valley'"),
        ("landscape.classify", (lambda H, tol: ("saddle", 1.0),), "int, not a float"),
        (
            "landscape.surface",
            (lambda *arguments: answers.surface_vmap(*arguments[:6], list(arguments[6]), arguments[7]),),
            "minibatches taken: ",
        ),
        (
            "landscape.filter_normalize",
            (lambda d, w: [one.requires_grad_() for one in answers.normalize_flat(d, w)],),
            "the result: carries a graph",
        ),
        ("landscape.goe", (lambda n, samples, generator: torch.zeros(n, 2),), "it should be one number"),
        ("landscape.filter_normalize", (lambda direction, weights: None,), "one per parameter, not None"),
        ("landscape.surface", (lambda *arguments: torch.zeros(4, 7, dtype=torch.float64),), "took no minibatch"),
        ("landscape.interpolate", (lambda *arguments: 0.5,), "should return a tensor, not a float"),
        (
            "landscape.sharpness",
            (type("SAM", (answers._Sam,), {"step": lambda self, closure: closure()}),),
            "closure 1 times",
        ),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    name: str, objects: tuple[object, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        check(name, *objects)
    assert words in capsys.readouterr().out


def test_a_grid_with_rows_and_columns_exchanged_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    def turned(*arguments: object) -> Tensor:
        return answers.surface_vmap(*arguments).T  # type: ignore[arg-type]

    with pytest.raises(AssertionError):
        check("landscape.surface", turned)
    out = capsys.readouterr().out
    assert "α and β are swapped" in out


def test_a_norm_over_three_dimensions_gets_advice() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.zeros(2, 3, 4, 5).norm(dim=(1, 2, 3))
    assert "flatten(1)" in advice(Problem("raised", "RuntimeError", str(error.value)))


def test_sam_is_judged_by_where_it_asks_not_only_by_where_it_ends() -> None:
    """Downhill, and from there back: with a tiny rho the weights alone could hardly tell."""
    found = exercise("landscape.sharpness")
    verdict, named = attempt(found, visible_cases(found), (answers._Downhill,))
    assert named == ("L84",)
    failed = next(case for case in verdict.cases if case.name == "rho > 0")
    assert failed.departure is not None
