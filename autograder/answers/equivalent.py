"""Mutants that cannot fail: what they change makes no difference that the exercise speaks of.

Exercise id → mutant (`mutants.changes.Mutant.what`) → the reason. A test runs them: each has to survive, and whatever
survives has to stand here.
"""

from __future__ import annotations


def _because(*reasons: tuple[str, ...]) -> dict[str, str]:
    """Mutant → reason, from tuples that begin with a reason."""
    return {mutant: reason for reason, *mutants in reasons for mutant in mutants}


EQUIVALENT: dict[str, dict[str, str]] = {
    "minibatch.per_example": _because(
        (
            "y has one dimension: its first is its last",
            "per_example_gradients: …(None, 0, 0))(w, X… → …(None, 0, -1))(w, X…",
        ),
    ),
    "minibatch.unbiased": _because(
        (
            "torch takes indices on the CPU for a tensor on any device",
            "all_minibatch_gradients: …, torch.tensor(idx, device=G.device)) for idx … → …, torch.tensor(idx)) for idx …",
        ),
    ),
    "minibatch.logistic": _because(
        (
            "y is -1 or 1: dividing by it is multiplying by it",
            "logistic_gradient: ….sigmoid(-margin) * y) @ X… → ….sigmoid(-margin) / y) @ X…",
        ),
    ),
    "minibatch.perceptron": _because(
        (
            "y is -1 or 1: dividing by it is multiplying by it",
            "perceptron_gradient: return -(wrong * y) @ X / len(y) → return -(wrong / y) @ X / len(y)",
        ),
    ),
    "ema.recursive": _because(
        (
            "all rows have one shape, and only that is taken",
            "ema: m, rows = (torch.zeros_like(x[0]), []) → m, rows = (torch.zeros_like(x[-1]), [])",
        ),
    ),
    "ema.weights": _because(
        (
            "beta to an integer power is float32 then: a float tensor, as asked for",
            "ema_weights: … -1, -1, dtype=torch.float64) → … -1, -1)",
        ),
    ),
    "ema.parallel": _because(
        ("the extra round adds an empty slice", "ema_parallel: while k < len(x): → while k <= len(x):"),
    ),
    "momentum.sgd": _because(
        (
            "g is a new tensor here, never p.grad itself",
            "MomentumSGD.step: state['momentum_buffer'] = g.clone() → state['momentum_buffer'] = g",
        ),
    ),
    "momentum.lr_change": _because(
        (
            "the velocity is 0 before the first step",
            "scheduled_run: if t > 0: → if True:",
            "scheduled_run: if t > 0: → if t >= 0:",
            "scheduled_run: if t > 0: → if t > -1:",
        ),
    ),
    "momentum.stability": _because(
        (
            "both formulas are symmetric in the two roots",
            "optimal_heavy_ball: low, high = (l_min ** 0.5, l_max ** 0.5) → low, high = (l_max ** 0.5, l_min ** 0.5)",
        ),
    ),
    "rmsprop.rmsprop": _because(
        ("more entries in the state do no harm", "RMSprop.step: if group['centered']: → if True:"),
        (
            "with momentum 0 the buffer is the step itself, and more entries do no harm",
            "RMSprop.step: if group['momentum'] > 0: → if True:",
            "RMSprop.step: if group['momentum'] > 0: → if group['momentum'] >= 0:",
            "RMSprop.step: if group['momentum'] > 0: → if group['momentum'] > -1:",
        ),
    ),
    "rmsprop.corrected": _because(
        (
            "v_hat is not used again",
            "RMSpropCorrected.step: …grad / (v_hat.sqrt() + group[… → …grad / (v_hat.sqrt_() + group[…",
        ),
    ),
    "rmsprop.scale_free": _because(
        (
            "all gradients have one shape, and only that is taken",
            "trajectory: …(torch.zeros_like(grads[0])) → …(torch.zeros_like(grads[-1]))",
        ),
        (
            "the numbers are the same; nothing is said about a graph",
            "trajectory: …eps), [w.detach().clone()]… → …eps), [w.detach_().clone()]…",
            "trajectory: …eps), [w.detach().clone()]) → …eps), [w.clone()])",
            "trajectory: rows.append(w.detach().clone()) → rows.append(w.detach_().clone())",
            "trajectory: rows.append(w.detach().clone()) → rows.append(w.clone())",
        ),
        (
            "a 0-dim tensor will do",
            "scale_dependence: return float(max(((run(grads, scale) - plain).abs().max() for scale in scales)) / plain.abs().max()) → return max(((run(grads, scale) - plain).abs().max() for scale in scales)) / plain.abs().max()",
        ),
        ("the last use of `plain`", "scale_dependence: …)) / plain.abs().max()) → …)) / plain.abs_().max())"),
    ),
    "rmsprop.adagrad": _because(
        (
            "torch takes the constructor's value for every group, too",
            "Adagrad.step: …torch.full_like(p, group['initial_accumulator_value']) → …torch.full_like(p, self.defaults['initial_accumulator_value'])",
        ),
    ),
    "adam.step": _because(
        ("v_hat is not used again", "adam_step: …m_hat / (v_hat.sqrt() + eps)… → …m_hat / (v_hat.sqrt_() + eps)…"),
    ),
    "adam.adam": _because(
        ("more entries in the state do no harm", "Adam.step: if group['amsgrad']: → if True:"),
        ("v_hat is not used again", "Adam.step: …) / (v_hat.sqrt() + group[… → …) / (v_hat.sqrt_() + group[…"),
    ),
    "adam.l2_is_not_decay": _because(
        ("two names for two tensors of zeros", "l2_and_decoupled: …(w, g, m, v, t, lr=… → …(w, g, v, m, t, lr=…"),
        ("there are two trajectories", "l2_and_decoupled: …[0], trajectories[1]) → …[0], trajectories[-1])"),
    ),
    "adam.foreach": _because(
        (
            "torch returns a sequence that the next calls take as it is",
            "ForeachAdam.step: divisors = list(torch._foreach_sqrt(vs)) → divisors = torch._foreach_sqrt(vs)",
        ),
    ),
    "adam.master_weights": _because(
        (
            "step runs without gradients",
            "MasterAdam.step: state['master'] = p.detach().float() → state['master'] = p.float()",
        ),
        (
            "torch computes in float32 where the other tensor is float32",
            "MasterAdam.step: …'], p.grad.float(), state['exp_avg'… → …'], p.grad, state['exp_avg'…",
        ),
        (
            "a 0-dim tensor counts as well as an int",
            "MasterAdam.step: …['exp_avg_sq'], int(state['step']), lr=group['… → …['exp_avg_sq'], state['step'], lr=group['…",
        ),
        (
            "the order makes no difference",
            "MasterAdam.load_state_dict: … key in ('master', 'exp_avg', 'exp_avg_sq')… → … key in ('exp_avg', 'master', 'exp_avg_sq')…",
            "MasterAdam.load_state_dict: …('master', 'exp_avg', 'exp_avg_sq'): → …('master', 'exp_avg_sq', 'exp_avg'):",
        ),
        (
            "torch's own load_state_dict shares tensors with the saved dict as well",
            "MasterAdam.load_state_dict: …(params[number].device, copy=True) → …(params[number].device)",
            "MasterAdam.load_state_dict: …].device, copy=True) → …].device, copy=False)",
        ),
    ),
    "schedule.cyclic": _because(
        (
            "both sides are the same at the boundary",
            "cyclic: …step_size_up if tau <= step_size_up else 1 … → …step_size_up if tau < step_size_up else 1 …",
        ),
    ),
    "schedule.one_cycle": _because(
        ("both sides are the same at the boundary", "one_cycle: if t <= top: → if t < top:"),
    ),
    "schedule.warmup_cosine": _because(
        ("both sides are the same at the boundary", "warmup_cosine: if t < warmup: → if t <= warmup:"),
    ),
    "schedule.wsd": _because(
        ("both sides are the same at the boundary", "wsd: if t < warmup: → if t <= warmup:"),
    ),
    "schedule.protocol": _because(
        (
            "where the warning points to is left open",
            "Scheduler.step: … lr is skipped', stacklevel=2) → … lr is skipped')",
            "Scheduler.step: … skipped', stacklevel=2) → … skipped', stacklevel=3)",
            "Scheduler.step: … skipped', stacklevel=2) → … skipped', stacklevel=1)",
            "Scheduler.step: … skipped', stacklevel=2) → … skipped', stacklevel=4)",
            "Scheduler.step: … skipped', stacklevel=2) → … skipped', stacklevel=-2)",
        ),
        (
            "the list is never changed in place",
            "Scheduler.state_dict: …, 'base_lrs': list(self.base_lrs)} → …, 'base_lrs': self.base_lrs}",
            "Scheduler.load_state_dict: …['t'], list(state_dict['base_lrs'])) → …['t'], state_dict['base_lrs'])",
        ),
    ),
    "schedule.range_test": _because(
        (
            "the steps make new tensors: w0 is never written to",
            "range_test: w, lrs, losses = (w0.clone(), [], []) → w, lrs, losses = (w0, [], [])",
        ),
        (
            "the sweep ends before its last step",
            "range_test: for k in range(steps): → for k in range(steps + 1):",
            "range_test: for k in range(steps): → for k in range(steps - 1):",
        ),
        (
            "another rule for the end of the sweep: what it returns is usable",
            "range_test: drop if not math.isfinite(loss.item()) or loss.item() > 4 * min([*losses, loss.item(…",
            "range_test: …loss.item()) or loss.item() … → …loss.item()) and loss.item() …",
            "range_test: if not math.isfinite(loss.item()) or loss.item() >… → if loss.item() >…",
            "range_test: …(loss.item()) or loss.item() > 4 * min([*losses, loss.item()]): → …(loss.item()):",
            "range_test: …loss.item() > 4 * min(… → …loss.item() >= 4 * min(…",
            "range_test: ….item() > 4 * min([*… → ….item() > 5 * min([*…",
            "range_test: ….item() > 4 * min([*… → ….item() > 3 * min([*…",
            "range_test: ….item() > 4 * min([*… → ….item() > 8 * min([*…",
            "range_test: … > 4 * min([*losses, loss… → … > 4 * max([*losses, loss…",
            "range_test: drop break",
        ),
        (
            "another type for the same number",
            "range_test: …not math.isfinite(loss.item()) or loss.item… → …not math.isfinite(loss) or loss.item…",
            "range_test: …()) or loss.item() > 4 * … → …()) or loss > 4 * …",
            "range_test: …([*losses, loss.item()]): → …([*losses, loss]):",
            "range_test: return lrs[int(np.argmin(smooth))] / 10 → return lrs[np.argmin(smooth)] / 10",
        ),
        (
            "the numbers are the same; every step takes a new leaf or a fresh graph",
            "range_test: w = (w - lr * g).detach() → w = w - lr * g",
        ),
        (
            "another way to smooth: what it returns is usable",
            "range_test: smooth = [np.mean(losses[max(i … → smooth = [np.sum(losses[max(i …",
            "range_test: …- 2, 0):i + 3]… → …- 2, 0) + 1:i + 3]…",
            "range_test: …[np.mean(losses[max(i - 2, 0):i + 3]… → …[np.mean(losses[:i + 3]…",
            "range_test: …):i + 3]) for i … → …):i + 3 + 1]) for i …",
            "range_test: …):i + 3]) for i … → …):i + 3 - 1]) for i …",
            "range_test: … 2, 0):i + 3]) for i … → … 2, 0):]) for i …",
            "range_test: …(losses[max(i - 2, 0):… → …(losses[max(i + 2, 0):…",
            "range_test: …mean(losses[max(i - 2, 0):i … → …mean(losses[max(i, 0):i …",
            "range_test: ….mean(losses[max(i - 2, 0):i… → ….mean(losses[max(2, 0):i…",
            "range_test: …[max(i - 2, 0):i … → …[max(i - 3, 0):i …",
            "range_test: …[max(i - 2, 0):i … → …[max(i - 1, 0):i …",
            "range_test: …[max(i - 2, 0):i … → …[max(i - 4, 0):i …",
            "range_test: …[max(i - 2, 0):i… → …[max(i - -2, 0):i…",
            "range_test: …i - 2, 0):i + 3… → …i - 2, 1):i + 3…",
            "range_test: …0):i + 3]) for i … → …0):i + 4]) for i …",
            "range_test: …0):i + 3]) for i … → …0):i + 2]) for i …",
            "range_test: …0):i + 3]) for i … → …0):i + 6]) for i …",
            "range_test: … range(len(losses))] → … range(len(losses) + 1)]",
            "range_test: … range(len(losses))] → … range(len(losses) - 1)]",
            "range_test: return lrs[int(np.argmin(smooth))] / 10 → return lrs[int(np.argmin(smooth))] / 11",
            "range_test: return lrs[int(np.argmin(smooth))] / 10 → return lrs[int(np.argmin(smooth))] / 9",
            "range_test: return lrs[int(np.argmin(smooth))] / 10 → return lrs[int(np.argmin(smooth))] / 20",
        ),
    ),
    "landscape.hvp": _because(
        ("a product's factors can change places", "hvp: … direction in zip(g, v))) → … direction in zip(v, g)))"),
        (
            "a tuple of tensors will do",
            "hvp: return list(torch.autograd.grad(dot, own, materialize_grads=True)) → return torch.autograd.grad(dot, own, materialize_grads=True)",
        ),
    ),
    "landscape.lanczos": _because(
        (
            "more passes than two do no harm",
            "top_eigenvalues: for _ in range(2): → for _ in range(2 + 1):",
            "top_eigenvalues: for _ in range(2): → for _ in range(3):",
            "top_eigenvalues: for _ in range(2): → for _ in range(4):",
        ),
        (
            "the bound is met or missed by far",
            "top_eigenvalues: …betas[-1] < 1e-10 * … → …betas[-1] <= 1e-10 * …",
            "top_eigenvalues: …[-1] < 1e-10 * max(… → …[-1] < 2e-10 * max(…",
            "top_eigenvalues: …-10 * max(1.0, *(abs… → …-10 * max(2.0, *(abs…",
        ),
        (
            "eigvalsh reads one triangle only",
            "top_eigenvalues: T[j, j + 1] = T[j + 1, j] = beta → T[j + 1, j] = T[j + 1, j] = beta",
        ),
        ("T's eigenvalues have one dimension", "top_eigenvalues: …eigvalsh(T).flip(0)[:k] → …eigvalsh(T).flip(-1)[:k]"),
    ),
    "landscape.classify": _because(
        (
            "a 0-dim tensor compares as a number does",
            "classify: …, down = (int((e > tol).sum()), int((e… → …, down = ((e > tol).sum(), int((e…",
            "classify: ….sum()), int((e < -tol).sum())) → ….sum()), (e < -tol).sum())",
        ),
    ),
    "landscape.goe": _because(
        (
            "a positive factor changes no sign",
            "probability_minimum: M = (A + A.mT) / 2 → M = (A + A.mT) * 2",
            "probability_minimum: M = (A + A.mT) / 2 → M = A + A.mT",
            "probability_minimum: M = (A + A.mT) / 2 → M = (A + A.mT) / 3",
            "probability_minimum: M = (A + A.mT) / 2 → M = (A + A.mT) / 1",
            "probability_minimum: M = (A + A.mT) / 2 → M = (A + A.mT) / 4",
        ),
        (
            "a 0-dim tensor will do",
            "probability_minimum: …double().mean().item() → …double().mean()",
            "probability_minimum: …0).all(dim=-1).double().… → …0).all(dim=1).double().…",
            "probability_minimum: …).all(dim=-1).double().… → …).all(dim=--1).double().…",
        ),
        (
            "no eigenvalue is exactly 0",
            "probability_minimum: ….eigvalsh(M) > 0).all(dim… → ….eigvalsh(M) >= 0).all(dim…",
        ),
    ),
    "landscape.filter_normalize": _because(
        (
            "a flattened tensor has two dimensions: the last is number 1",
            "filter_normalize: …1).norm(dim=1), w.flatten… → …1).norm(dim=-1), w.flatten…",
            "filter_normalize: …1).norm(dim=1)) → …1).norm(dim=-1))",
        ),
        (
            "a filter of zeros stays zero under any factor",
            "filter_normalize: ratio = torch.where(a > 0, b / a, 0.0) → ratio = torch.where(a > 0, b / a, 1.0)",
        ),
    ),
    "landscape.surface": _because(
        (
            '"ij" is the default; torch warns',
            "loss_surface: ….meshgrid(alphas, betas, indexing='ij') → ….meshgrid(alphas, betas)",
        ),
    ),
    "landscape.interpolate": _because(
        (
            "what the entries of whole numbers become has no influence",
            "interpolate: …state_b[k] if a[k].is_floating_point() else a[k]… → …state_b[k] if True else a[k]…",
        ),
    ),
    "landscape.sharpness": _because(
        (
            "far below the tolerance, unless the gradient is as small",
            "SAM.step: …rho / (length + 1e-12)))… → …rho / (length - 1e-12)))…",
            "SAM.step: …/ (length + 1e-12))) for… → …/ (length + 2e-12))) for…",
            "SAM.step: …/ (length + 1e-12))) … → …/ (length + -1e-12))) …",
        ),
    ),
    "landscape.init": _because(
        (
            "every filter has as many positions",
            "lecun_normal_: …1) * weight[0, 0].numel(… → …1) * weight[-1, 0].numel(…",
            "lecun_normal_: …* weight[0, 0].numel() → …* weight[0, -1].numel()",
            "xavier_normal_: field = weight[0, 0].numel() → field = weight[-1, 0].numel()",
            "xavier_normal_: field = weight[0, 0].numel() → field = weight[0, -1].numel()",
        ),
        (
            "only their sum is used",
            "xavier_normal_: …= (weight.size(1) * field, weight.size(0) * field) → …= (weight.size(0) * field, weight.size(1) * field)",
        ),
    ),
    "largebatch.noise_scale": _because(
        (
            "the gradients have two dimensions: the last is number 1",
            "noise_scale: …* 2).sum(1).mean(),… → …* 2).sum(-1).mean(),…",
            "noise_scale: …* 2).sum(1).mean()) → …* 2).sum(-1).mean())",
        ),
    ),
    "largebatch.layer_ratios": _because(
        (
            "a 0-dim tensor will do, and a graph behind it does no harm",
            "layer_ratios: return {name: float(p.detach().norm() / p.grad.norm()) for name, … → return {name: p.detach().norm() / p.grad.norm() for name, …",
            "layer_ratios: …name: float(p.detach().norm() / p… → …name: float(p.norm() / p…",
        ),
    ),
    "largebatch.data_parallel": _because(
        (
            "all gradients have one dtype and device",
            "average_gradients: …] + [grads[0].new_full((1,… → …] + [grads[-1].new_full((1,…",
        ),
        (
            "the lengths agree",
            "average_gradients: …g in grads]), strict=True): → …g in grads])):",
            "average_gradients: …grads]), strict=True): → …grads]), strict=False):",
        ),
    ),
    "largebatch.no_sync": _because(
        (
            "the lengths agree",
            "accumulate_and_reduce: … y.split(micro_batch), strict=True): → … y.split(micro_batch)):",
            "accumulate_and_reduce: …(micro_batch), strict=True): → …(micro_batch), strict=False):",
        ),
    ),
    "capstone.clip": _because(
        (
            "the parameters are gone through once",
            "clip_gradients: …torch.Tensor) else list(params) → …torch.Tensor) else params",
        ),
        (
            "the words of the error are free",
            "clip_gradients: … gradients is {norm.item()}') → … gradients is {norm}')",
        ),
        (
            "1e-6 keeps the quotient finite and moves no number by as much as the tolerance: it may be left out",
            "clip_gradients: …max_norm / (norm + 1e-06)).… → …max_norm / (norm - 1e-06)).…",
            "clip_gradients: …= (max_norm / (norm + 1e-06)).clamp(max=1… → …= (max_norm / norm).clamp(max=1…",
            "clip_gradients: …/ (norm + 1e-06)).clamp(… → …/ (norm + 2e-06)).clamp(…",
            "clip_gradients: …/ (norm + 1e-06)).clamp… → …/ (norm + -1e-06)).clamp…",
        ),
    ),
    "capstone.fast_loop": _because(
        ("gradients have no history here", "train_loop: with torch.no_grad(): → if True:"),
        (
            "the loss is not used again",
            "train_loop: total = total + loss.detach() → total = total + loss.detach_()",
        ),
        (
            "1e-6 keeps the quotient finite and moves no number by as much as the tolerance: it may be left out",
            "train_loop: …max_norm / (norm + 1e-06)).… → …max_norm / (norm - 1e-06)).…",
            "train_loop: …, (max_norm / (norm + 1e-06)).clamp(max=1… → …, (max_norm / norm).clamp(max=1…",
            "train_loop: …/ (norm + 1e-06)).clamp(… → …/ (norm + 2e-06)).clamp(…",
            "train_loop: …/ (norm + 1e-06)).clamp… → …/ (norm + -1e-06)).clamp…",
        ),
    ),
}
