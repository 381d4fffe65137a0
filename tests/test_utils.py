"""What notebooks import from `utils`."""

from __future__ import annotations

import builtins
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("agg")

from autograder.launches import LaunchCounter
from utils import costs, data, device, models, plotting, progress, surfaces, training, widgets

# --- device ---------------------------------------------------------------------------------------------------------


def test_a_device_is_chosen_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    choice = device.choose()
    assert choice.device.type == "cpu"
    assert "no GPU found" in str(choice)
    assert torch.get_num_threads() == 1  # threads that wait for each other on a busy machine: 170 s instead of 24
    assert str(device.choose("cpu")) == "cpu: as you asked."


def test_the_stopwatch_warms_up_and_takes_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 9.0, 0.0, 1.0, 0.0, 3.0, 0.0, 2.0])  # start and end of each call; the first is not timed
    monkeypatch.setattr(device.time, "perf_counter", lambda: next(ticks))
    calls: list[int] = []
    seconds = device.median_seconds(lambda: calls.append(1), torch.device("cpu"), repeats=3, warmup=1)
    assert (seconds, len(calls)) == (2.0, 4)


def test_a_device_that_does_not_work_is_passed_over_and_said() -> None:
    choice = device.choose("cuda:99")
    assert choice.device.type in ("cpu", "cuda", "mps")
    assert "cuda:99 does not work here" in choice.reason


def machine_with(monkeypatch: pytest.MonkeyPatch, free: list[int | Exception], broken: tuple[int, ...] = ()) -> None:
    """torch as it answers on a machine with CUDA devices of so much free memory, some of which compute nothing."""

    def info(index: int) -> tuple[int, int]:
        if isinstance(found := free[index], Exception):
            raise found
        return found, 80

    def ones(size: int, device: object) -> torch.Tensor:
        index = torch.device(str(device)).index
        if index is not None and index in broken:
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with TORCH_USE_CUDA_DSA")
        return torch.full((size,), 1.0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", info)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(device.torch, "ones", ones)


def test_of_several_gpus_the_one_with_most_free_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, [1, 5, 3])
    assert str(device.choose()) == "cuda:1: GPU 1, of 3 GPUs the one with most free memory."


def test_a_broken_gpu_is_passed_over_for_the_next_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, [RuntimeError("CUDA error: out of memory"), 9, 5], broken=(1,))
    text = str(device.choose())
    assert text.startswith("cuda:2: GPU 2, of 3 GPUs the one with most free memory; ")
    assert "cuda:1 does not work (CUDA error: no kernel image is available)" in text


def test_with_broken_gpus_alone_it_is_the_cpu_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, [4], broken=(0,))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert str(device.choose()).startswith("cpu: cuda:0 does not work (CUDA error: no kernel image is available); one")
    monkeypatch.setattr(torch.cuda, "is_available", raising(RuntimeError("driver too old")))
    assert str(device.choose()).startswith("cpu: no GPU found; one thread")


def raising(error: Exception) -> Callable[..., Any]:
    def function(*_: Any) -> Any:
        raise error

    return function


def test_hidden_gpus_are_none_and_nothing_is_written_to_stderr() -> None:
    """In a process of its own: CUDA reads the variable once."""
    code = "import torch; torch.backends.mps.is_available = lambda: False\nfrom utils.device import choose; print(choose())"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (out.returncode, out.stderr) == (0, "")
    assert out.stdout.startswith("cpu: no GPU found")
    assert ("hides all of them" in out.stdout) == (torch.version.cuda is not None)


def test_what_a_cpu_cannot_run_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    work = lambda: None  # noqa: E731
    with pytest.raises(device.Unavailable, match=r"torch\.compile is left to a GPU"):
        device.compiled(work, torch.device("cpu"))
    with pytest.raises(device.Unavailable, match="a CUDA graph needs a CUDA device, and this notebook runs on cpu"):
        device.captured(work, torch.device("cpu"))
    monkeypatch.setattr(torch, "compile", raising(ImportError("no triton here\nInstall it")))
    with pytest.raises(device.Unavailable, match=r"torch.compile does not work here \(no triton here\)"):
        device.compiled(work, torch.device("cuda"))


# --- costs ----------------------------------------------------------------------------------------------------------


def test_a_step_is_counted_when_the_state_exists() -> None:
    """Plain momentum, tensor by tensor: mul_, add_ and the update, all in place; the first step made the buffers."""
    momentum = partial(torch.optim.SGD, lr=0.1, momentum=0.9, foreach=False)
    assert costs.counted(momentum, 5, LaunchCounter()) == costs.Cost(launches=15, new_bytes=0.0, peak=0.0)
    rmsprop = partial(torch.optim.RMSprop, foreach=False)
    for_each_size = [costs.counted(rmsprop, 3, LaunchCounter(), size) for size in (8, 64)]
    assert [cost.new_bytes for cost in for_each_size] == [1.0, 1.0], "one root per tensor, over the parameters' bytes"


def test_a_step_is_timed_in_its_own_way_and_errors_pass_through() -> None:
    calls: list[str] = []

    def way(step: Callable[[], object], where: torch.device) -> Callable[[], object]:
        calls.append(where.type)
        return step

    assert 0 < costs.milliseconds(torch.optim.SGD, 2, torch.device("cpu"), way=way) < 1e3
    assert calls == ["cpu"]
    with pytest.raises(device.Unavailable):
        costs.milliseconds(torch.optim.SGD, 2, torch.device("cpu"), way=device.captured)


# --- data -----------------------------------------------------------------------------------------------------------


def test_digits_are_real_split_and_standardised() -> None:
    split = data.digits()
    assert split.train_x.shape == (1437, 64)
    assert split.test_x.shape == (360, 64)
    assert split.train_x.dtype == torch.float32
    assert abs(float(split.train_x.mean())) < 1e-5
    assert abs(float(split.train_x.std()) - 1) < 1e-3
    assert sorted(split.train_y.unique().tolist()) == list(range(10))
    assert torch.equal(split.test_x, data.digits().test_x)
    assert not torch.equal(split.test_x, data.digits(seed=1).test_x)
    with pytest.raises(ValueError, match="test must be between 1 and 1796, not 0"):
        data.digits(test=0)


def test_mnist1d_is_reproducible_balanced_and_hard_for_a_linear_model() -> None:
    split = data.mnist1d(train=2000, test=500)
    assert split.train_x.shape == (2000, 40)
    assert torch.equal(split.train_x, data.mnist1d(train=2000, test=500).train_x)
    counts = torch.bincount(torch.cat([split.train_y, split.test_y]))
    assert counts.tolist() == [250] * 10
    onehot = torch.nn.functional.one_hot(split.train_y).float()
    x = torch.cat([split.train_x, torch.ones(2000, 1)], 1)
    weights = torch.linalg.lstsq(x, onehot).solution
    linear = (torch.cat([split.test_x, torch.ones(500, 1)], 1) @ weights).argmax(1).eq(split.test_y).float().mean()
    assert 0.2 < float(linear) < 0.45


# --- models and training --------------------------------------------------------------------------------------------


def test_members_of_an_ensemble_train_as_if_alone() -> None:
    split = data.digits()
    model = models.Ensemble([64, 8, 10], 3, torch.Generator().manual_seed(0))
    alone = models.Ensemble([64, 8, 10], 1, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for one, all_ in zip(alone.parameters(), model.parameters(), strict=True):
            one.copy_(all_[1:2])
    for net in (model, alone):
        training.fit(net, torch.optim.Adam(net.parameters(), 0.01), split, 20, 32, torch.Generator().manual_seed(0))
    for one, all_ in zip(alone.parameters(), model.parameters(), strict=True):
        assert torch.allclose(one, all_[1:2], atol=1e-5)
    assert models.accuracy(model, split.test_x, split.test_y).shape == (3,)


def test_tuning_keeps_the_best_lr_and_tells_when_it_is_at_the_edge() -> None:
    split = data.digits()

    def fresh() -> models.Ensemble:
        return models.Ensemble([64, 8, 10], 2, torch.Generator().manual_seed(0))

    tuned = training.tune(fresh, lambda p, lr: torch.optim.SGD(p, lr), (1e-4, 0.3, 1e4), split, 40, 32)
    assert tuned.lr == 0.3
    assert not tuned.at_edge
    assert set(tuned.tried) == {1e-4, 0.3, 1e4}
    assert training.tune(fresh, lambda p, lr: torch.optim.SGD(p, lr), (1e-4, 0.3), split, 40, 32).at_edge


def test_an_lr_factor_multiplies_the_first_lr() -> None:
    model = models.Ensemble([64, 4, 10], 1, torch.Generator().manual_seed(0))
    opt = torch.optim.SGD(model.parameters(), 0.5)
    seen = []
    opt.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
    training.fit(model, opt, data.digits(), 4, 8, torch.Generator().manual_seed(0), lr_factor=lambda t: 1 - t / 4)
    assert seen == [0.5, 0.375, 0.25, 0.125]


def test_progress_goes_to_stdout_and_cleans_up_after_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    out = io.StringIO()
    with redirect_stdout(out):
        assert list(progress.bar([1, 2, 3], "training")) == [1, 2, 3]
    text = out.getvalue()
    assert "training [" in text
    assert "2/3" in text
    assert text.endswith("\r")
    with redirect_stdout(out):
        assert list(progress.bar(iter("ab"), "unknown length")) == ["a", "b"]


# --- surfaces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", [surfaces.RAVINE, surfaces.SADDLE, surfaces.ROSENBROCK], ids=lambda s: s.name)
def test_the_goal_of_a_surface_is_a_minimum(surface: surfaces.Surface) -> None:
    goal = torch.tensor(surface.goal, dtype=torch.float64, requires_grad=True)
    surface.f(goal[0], goal[1]).backward()
    assert goal.grad is not None
    assert float(goal.grad.abs().max()) < 1e-9
    hessian = torch.autograd.functional.hessian(lambda w: surface.f(w[0], w[1]), goal.detach())
    assert float(torch.linalg.eigvalsh(hessian).min()) > 0


def test_paths_start_at_the_start_and_tuning_finds_a_good_lr() -> None:
    path = surfaces.descend(surfaces.RAVINE, lambda p: torch.optim.SGD(p, 0.01), 5)
    assert path.shape == (6, 2)
    assert tuple(path[0]) == surfaces.RAVINE.start
    best = surfaces.tuned(surfaces.RAVINE, torch.optim.SGD, np.array([1e-5, 0.03, 1.0]), 60)
    assert best.lr == 0.03
    scaled = surfaces.scaled(surfaces.RAVINE, 10)
    assert surfaces.values(scaled, path)[0] == pytest.approx(10 * surfaces.values(surfaces.RAVINE, path)[0])
    exploded = surfaces.descend(scaled, lambda p: torch.optim.SGD(p, 10.0), 300)
    assert surfaces.distances(scaled, exploded)[-1] == 1e3


# --- plotting -------------------------------------------------------------------------------------------------------


def test_colours_come_with_line_styles_of_their_own() -> None:
    assert len({str(line) for line in plotting.LINES}) == len(plotting.LINES) == len(plotting.CYCLE)


def test_intervals_are_students_t() -> None:
    mean, half = plotting.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3.0
    assert half == pytest.approx(2.776 * np.std([1, 2, 3, 4, 5], ddof=1) / 5**0.5)
    assert np.isnan(plotting.interval([1.0])[1])


def test_a_logarithmic_band_stays_above_zero_where_a_plain_one_does_not() -> None:
    values = torch.tensor([[1e-2, 1.0, 1e4]] * 30)
    lowest = []
    for logarithmic in (False, True):
        _, (ax,) = plotting.panels("one")
        plotting.band(ax, values, "runs", 0, smooth=5, logarithmic=logarithmic)
        lowest.append(ax.collections[0].get_paths()[0].vertices[:, 1].min())
        line = ax.get_lines()[0].get_ydata()
        assert line[0] == pytest.approx(100 ** (1 / 3) if logarithmic else (1e-2 + 1.0 + 1e4) / 3)
        matplotlib.pyplot.close(ax.figure)
    assert lowest[0] < 0 < lowest[1]


@pytest.mark.parametrize("steps", [25, 30, 31])
def test_a_band_ends_where_its_line_ends(steps: int) -> None:
    fig, (ax,) = plotting.panels("A band")
    plotting.band(ax, torch.randn(steps, 4, generator=torch.Generator().manual_seed(0)), "runs", 0, smooth=1)
    (line,), (filled,) = ax.get_lines(), ax.collections
    corners = np.asarray(filled.get_paths()[0].vertices)
    assert corners[:, 0].max() == np.asarray(line.get_xdata()).max() == steps
    plotting.plt.close(fig)


def test_labels_at_line_ends_do_not_overlap() -> None:
    plotting.style()
    fig, (ax,) = plotting.panels("A title")
    for i, y in enumerate((1.0, 1.001, 1.002, 5.0)):
        ax.plot([0, 1], [0, y], label=f"line {i}")
    plotting.label_ends(ax)
    heights = sorted(text.xy[1] for text in ax.texts)
    assert len(heights) == 4
    assert min(np.diff(heights)) >= 0.05
    matplotlib.pyplot.close(fig)


# --- widgets --------------------------------------------------------------------------------------------------------


def drawn() -> tuple[Any, Any]:
    fig, (ax,) = plotting.panels("An explorer")
    (line,) = ax.plot([0, 1], [0, 1])

    def draw(slope: float) -> str:
        line.set_data([0, 1], [0, slope])
        return f"a line of slope {slope:g}"

    return fig, draw


def test_an_explorer_redraws_when_a_slider_moves_and_has_alt_text(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython.display

    shown: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    fig, draw = drawn()
    slope = widgets.slider("slope", 0, 2, 1.0, 0.1)
    widgets.explorer(fig, draw, slope=slope)
    view = shown[0].children[1]
    before = view.value
    assert 'alt="a line of slope 1"' in before
    slope.value = 2.0
    assert 'alt="a line of slope 2"' in view.value
    assert view.value != before


def test_sliders_told_of_in_several_threads_draw_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when JupyterLab sends values to a subshell of the kernel while the main shell draws as well."""
    import IPython.display

    shown: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    fig, draw = drawn()
    inside, most = 0, 0

    def slowly(slope: float, other: float) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.05)
        inside -= 1
        return str(draw(slope))

    sliders = {name: widgets.slider(name, 0, 9, 0, 1) for name in ("slope", "other")}
    widgets.explorer(fig, slowly, **sliders)
    threads = [threading.Thread(target=setattr, args=(slider, "value", 9.0)) for slider in sliders.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert 'alt="a line of slope 9"' in shown[0].children[1].value


@pytest.mark.parametrize(("step", "format_"), [(0.001, ".3f"), (0.05, ".2f"), (0.1, ".1f"), (1, ".0f"), (5, ".0f")])
def test_a_slider_shows_the_decimals_of_its_steps(step: float, format_: str) -> None:
    assert widgets.slider("β", 0, 20, 0, step).readout_format == format_


def test_without_ipywidgets_the_picture_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython.display

    real = builtins.__import__

    def no_widgets(name: str, *rest: Any, **more: Any) -> Any:
        if name == "ipywidgets":
            raise ImportError(name)
        return real(name, *rest, **more)

    shown: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    monkeypatch.setattr(builtins, "__import__", no_widgets)
    fig, draw = drawn()
    widgets.explorer(fig, draw, slope=widgets.log_slider("slope", -1, 1, 0.5))
    assert 'alt="a line of slope 0.5"' in shown[0].data


def test_a_redraw_is_quick() -> None:
    """0.15 s is the promise on an idle machine; here processor time counts, and a slow machine gets twice that."""
    fig, draw = drawn()
    widgets.picture(fig, draw(1.0))
    start = time.process_time()
    for slope in (0.5, 1.5):
        widgets.picture(fig, draw(slope))
    assert (time.process_time() - start) / 2 < 0.3
