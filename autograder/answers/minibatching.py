"""Right and wrong answers to the exercises of `01_minibatching`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.func import functional_call, grad, jacrev, vmap

from autograder.answers import Mutants, Objects

Tensor = torch.Tensor

# --- minibatch.per_example ------------------------------------------------------------------------------------------


def per_example_vmap(loss_fn, w, X, y):
    return vmap(grad(loss_fn), in_dims=(None, 0, 0))(w, X, y)


def per_example_loop(loss_fn, w, X, y):
    w = w.clone().requires_grad_()
    return torch.stack([torch.autograd.grad(loss_fn(w, X[i], y[i]), w)[0] for i in range(len(X))])


def per_example_jacobian(loss_fn, w, X, y):
    def losses(w):
        return torch.stack([loss_fn(w, x, t) for x, t in zip(X, y, strict=True)])

    return jacrev(losses)(w)


def per_example_lambda(loss_fn, w, X, y):
    one = grad(lambda w, pair: loss_fn(w, pair[0], pair[1]))
    return vmap(lambda x, t: one(w, (x, t)))(X, y)


def _per_example_summed(loss_fn, w, X, y):
    w = w.clone().requires_grad_()
    total = sum(loss_fn(w, X[i], y[i]) for i in range(len(X)))
    return torch.autograd.grad(total, w)[0]


def _per_example_mean(loss_fn, w, X, y):
    return _per_example_summed(loss_fn, w, X, y) / len(X)


def _per_example_of_mean_loss(loss_fn, w, X, y):
    return vmap(grad(lambda w, x, t: loss_fn(w, x, t) / len(X)), in_dims=(None, 0, 0))(w, X, y)


def _per_example_everything_mapped(loss_fn, w, X, y):
    return vmap(grad(loss_fn), in_dims=(0, 0, 0))(w, X, y)


def _per_example_by_input(loss_fn, w, X, y):
    return vmap(grad(lambda x, w, t: loss_fn(w, x, t)), in_dims=(0, None, 0))(X, w, y)


def _per_example_not_cleared(loss_fn, w, X, y):
    w = w.clone().requires_grad_()
    rows = []
    for i in range(len(X)):
        loss_fn(w, X[i], y[i]).backward()
        rows.append(w.grad.clone())
    return torch.stack(rows)


def _per_example_without_vmap(loss_fn, w, X, y):
    return grad(loss_fn)(w, X, y)


# --- minibatch.mean_gradient and minibatch.unbiased -----------------------------------------------------------------


def mean_indexed(G, idx):
    return G[idx].mean(dim=0)


def mean_by_loop(G, idx):
    total = torch.zeros_like(G[0])
    for i in idx.tolist():
        total += G[i]
    return total / len(idx)


def mean_by_counts(G, idx):
    counts = torch.bincount(idx, minlength=len(G)).to(G.dtype)
    return counts @ G / counts.sum()


def mean_index_select(G, idx):
    return torch.index_select(G, 0, idx).sum(0).div(idx.numel())


def _mask(G, idx):
    mask = torch.zeros(len(G), dtype=torch.bool, device=G.device)
    mask[idx] = True
    return G[mask].mean(0)


def _mean_of_sum(G, idx):
    return torch.sum(G[idx], dim=0)


def _mean_over_all(G, idx):
    return G[idx].sum(0) / G.shape[0]


def _mean_everything(G, idx):
    return G.sum(0) / len(G)


def _mean_wrong_dim(G, idx):
    return torch.mean(G[idx], dim=-1)


def all_stacked(G, m):
    return torch.stack([G[list(i)].mean(0) for i in itertools.combinations(range(len(G)), m)])


def all_at_once(G, m):
    idx = torch.tensor(list(itertools.combinations(range(G.shape[0]), m)), device=G.device)
    return G[idx].mean(dim=1)


def all_torch_combinations(G, m):
    return G[torch.combinations(torch.arange(len(G), device=G.device), r=m)].sum(1) / m


def all_by_recursion(G, m):
    rows = []

    def choose(start, chosen, total):
        if chosen == m:
            rows.append(total / m)
            return
        for i in range(start, len(G)):
            choose(i + 1, chosen + 1, total + G[i])

    choose(0, 0, torch.zeros_like(G[0]))
    return torch.stack(rows)


def _all(choose, finish):
    def all_minibatch_gradients(G, m):
        return torch.stack([finish(G[list(i)], G) for i in choose(range(len(G)), m)])

    return all_minibatch_gradients


def _with_repeats(numbers, m):
    return itertools.product(numbers, repeat=m)


# --- minibatch.batches ----------------------------------------------------------------------------------------------


def batches_yield(n, batch_size, generator, drop_last=False):
    order = torch.randperm(n, generator=generator)
    for start in range(0, n, batch_size):
        batch = order[start : start + batch_size]
        if len(batch) == batch_size or not drop_last:
            yield batch


def batches_split(n, batch_size, generator, drop_last=False):
    parts = list(torch.randperm(n, generator=generator).split(batch_size))
    if drop_last and len(parts[-1]) < batch_size:
        parts.pop()
    return iter(parts)


def batches_by_count(n, batch_size, generator, drop_last=False):
    order = torch.randperm(n, generator=generator).tolist()
    count = n // batch_size if drop_last else math.ceil(n / batch_size)
    return [torch.tensor(order[k * batch_size : (k + 1) * batch_size]) for k in range(count)]


class BatchesObject:
    """An iterable object; a new order each time it is made."""

    def __init__(self, n: int, batch_size: int, generator: Any, drop_last: bool = False) -> None:
        self.order, self.size, self.drop = torch.randperm(n, generator=generator), batch_size, drop_last

    def __iter__(self) -> Iterator[Tensor]:
        end = len(self.order) - len(self.order) % self.size if self.drop else len(self.order)
        return (self.order[i : min(i + self.size, end)] for i in range(0, end, self.size))


def _batches_lost(n, batch_size, generator, drop_last=False):
    order = torch.randperm(n, generator=generator)
    for k in range(n // batch_size):
        yield order[k * batch_size : (k + 1) * batch_size]


def _batches_empty(n, batch_size, generator, drop_last=False):
    order = torch.randperm(n, generator=generator)
    for k in range(n // batch_size + (not drop_last)):
        yield order[k * batch_size : (k + 1) * batch_size]


def _batches_seeded(n, batch_size, generator, drop_last=False):
    generator = torch.Generator()
    generator.manual_seed(42)
    yield from batches_yield(n, batch_size, generator, drop_last)


def _batches_sequential(n, batch_size, generator, drop_last=False):
    for start in range(0, n, batch_size):
        if not drop_last or start + batch_size <= n:
            yield torch.arange(start, min(start + batch_size, n))


def _batches_replaced(n, batch_size, generator, drop_last=False):
    rest = n
    while rest > 0:
        size = min(batch_size, rest)
        if size == batch_size or not drop_last:
            yield torch.randint(0, n, (size,), generator=generator)
        rest -= size


def _batches_global(n, batch_size, generator, drop_last=False):
    yield from batches_split(n, batch_size, None, drop_last)


def _batches_never_drop(n, batch_size, generator, drop_last=False):
    yield from torch.randperm(n, generator=generator).split(batch_size)


def _batches_block_shuffled(n, batch_size, generator, drop_last=False):
    starts = torch.arange(0, n, batch_size)
    for start in starts[torch.randperm(len(starts), generator=generator)].tolist():
        batch = torch.arange(start, min(start + batch_size, n))
        if len(batch) == batch_size or not drop_last:
            yield batch


# --- minibatch.epoch_loss -------------------------------------------------------------------------------------------


def loss_weighted(batch_means, batch_sizes):
    return (batch_means * batch_sizes).sum() / batch_sizes.sum()


def loss_dot(batch_means, batch_sizes):
    return float(batch_means @ batch_sizes.to(batch_means.dtype)) / int(batch_sizes.sum())


def loss_running(batch_means, batch_sizes):
    mean, seen = 0.0, 0
    for m, n in zip(batch_means.tolist(), batch_sizes.tolist(), strict=True):
        seen += n
        mean += (m - mean) * n / seen
    return mean


def _loss_plain(batch_means, batch_sizes):
    return sum(batch_means.tolist()) / len(batch_means)


def _loss_nominal(batch_means, batch_sizes):
    return (batch_means * batch_sizes / batch_sizes.max()).mean()


def _loss_rmse(batch_means, batch_sizes):
    return torch.sqrt(batch_means).mean()


def _loss_total(batch_means, batch_sizes):
    return torch.dot(batch_means, batch_sizes.to(batch_means.dtype))


def _loss_per_batch(batch_means, batch_sizes):
    return sum(m * n for m, n in zip(batch_means, batch_sizes, strict=True)) / len(batch_means)


# --- minibatch.standard_error ---------------------------------------------------------------------------------------


def error_population(G, m, replacement):
    n = len(G)
    if not replacement and m > n:
        raise ValueError(f"cannot draw {m} of {n} without replacement")
    error = G.std(0, correction=0) / math.sqrt(m)
    return error if replacement or n == 1 else error * math.sqrt((n - m) / (n - 1))


def error_sample(G, m, replacement):
    """With the 1/(N − 1) variance, for which the correction is (N − m)/N."""
    n = G.shape[0]
    if replacement:
        return torch.sqrt(((G - G.mean(0)) ** 2).mean(0) / m)
    if m > n:
        raise ValueError("m > N")
    if n == 1:
        return torch.zeros_like(G[0])
    return (G.var(0) / m * (n - m) / n).sqrt()


def error_clamped(G, m, replacement):
    n = len(G)
    if m > n and not replacement:
        raise ValueError
    centred = G - G.mean(0)
    variance = centred.pow(2).sum(0) / n / m
    if not replacement:
        variance = variance * (n - m) / max(n - 1, 1)
    return variance**0.5


def _error(sigma, formula):
    def standard_error(G, m, replacement):
        if not replacement and m > len(G):
            raise ValueError("m > N")
        return formula(sigma(G), len(G), m, replacement)

    return standard_error


def _population(G):
    return ((G - G.mean(0)) ** 2).mean(0).sqrt()


def _fpc(n, m, replacement):
    return 1.0 if replacement or n == 1 else ((n - m) / (n - 1)) ** 0.5


def _error_no_guard(G, m, replacement):
    if m > len(G) and not replacement:
        raise ValueError("m > N")
    error = G.std(0, unbiased=False) / m**0.5
    if not replacement:
        error = error * ((len(G) - m) / (len(G) - 1)) ** 0.5
    return error


def _error_no_refusal(G, m, replacement):
    return G.std(0, correction=0) / m**0.5 * (_fpc(len(G), min(m, len(G)), replacement))


def _error_refuses_always(G, m, replacement):
    if m > len(G):
        raise ValueError("m > N")
    return error_population(G, m, replacement)


# --- minibatch.sgd: one student's class, with the places where students differ --------------------------------------


class SGD(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, weight_decay=0.0, maximize=False):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self, closure=None):
        loss = self.evaluate(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, group)
        return loss

    def evaluate(self, closure):
        if closure is None:
            return None
        with torch.enable_grad():
            return closure()

    def one(self, p, group):
        g = -p.grad if group["maximize"] else p.grad
        g = g + group["weight_decay"] * p
        p.sub_(group["lr"] * g)


class SGDAlpha(SGD):
    def one(self, p, group):
        g = p.grad.neg() if group["maximize"] else p.grad
        if group["weight_decay"] != 0:
            g = g.add(p, alpha=group["weight_decay"])
        p.add_(g, alpha=-group["lr"])


class SGDDecoupled(SGD):
    """Without momentum, decoupled decay is the same update."""

    def one(self, p, group):
        sign = 1 if group["maximize"] else -1
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(p.grad, alpha=sign * group["lr"])


class SGDForeach(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        loss = self.evaluate(closure)
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                grads = [p.grad for p in params]
                if group["maximize"]:
                    grads = torch._foreach_neg(grads)
                grads = torch._foreach_add(grads, params, alpha=group["weight_decay"])
                torch._foreach_add_(params, grads, alpha=-group["lr"])
        return loss


class _SGDUp(SGD):
    def one(self, p, group):
        p.add_(group["lr"] * (p.grad * (-1 if group["maximize"] else 1) + group["weight_decay"] * p))


class _SGDDecayMinus(SGD):
    def one(self, p, group):
        g = -p.grad if group["maximize"] else p.grad
        p -= group["lr"] * (g - group["weight_decay"] * p)


class _SGDNewStorage(SGD):
    def one(self, p, group):
        g = -p.grad if group["maximize"] else p.grad
        p.data = p.data - group["lr"] * (g + group["weight_decay"] * p.data)


class _SGDRebound(SGD):
    def one(self, p, group):
        g = -p.grad if group["maximize"] else p.grad
        p = p - group["lr"] * (g + group["weight_decay"] * p)


class _SGDMutates(SGD):
    def one(self, p, group):
        g = p.grad
        if group["maximize"]:
            g = -g
            g = g + group["weight_decay"] * p
            p.grad.copy_(g)
        else:
            g.add_(p, alpha=group["weight_decay"])
        p.sub_(group["lr"] * g)


class _SGDAddsInPlace(SGD):
    def one(self, p, group):
        g = -p.grad if group["maximize"] else p.grad
        g += group["weight_decay"] * p
        p.sub_(group["lr"] * g)


class _SGDMaximizeLate(SGD):
    def one(self, p, group):
        g = p.grad + group["weight_decay"] * p
        p.add_(g, alpha=group["lr"] if group["maximize"] else -group["lr"])


class _SGDConstructorLr(SGD):
    def one(self, p, group):
        super().one(p, {**group, "lr": self.defaults["lr"]})


class _SGDOneDecay(SGD):
    def one(self, p, group):
        super().one(p, {**group, "weight_decay": self.param_groups[0]["weight_decay"]})


class _SGDZeros(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        loss = self.evaluate(closure)
        for group in self.param_groups:
            for p in group["params"]:
                missing = p.grad is None
                if missing:
                    p.grad = torch.zeros_like(p)
                self.one(p, group)
                if missing:
                    p.grad = None
        return loss


class _SGDZerosKept(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None and closure is None:
                    p.grad = torch.zeros_like(p)
        return super().step(closure)


class _SGDClosureLate(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        return self.evaluate(closure)


class _SGDNoClosure(SGD):
    def evaluate(self, closure):
        return None


class _SGDClosureWithoutGrad(SGD):
    def evaluate(self, closure):
        return closure() if closure is not None else None


class _SGDForgetsLoss(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)


class _SGDWatched(SGD):
    def step(self, closure=None):
        loss = self.evaluate(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, group)
        return loss


# --- minibatch.noise_ball and minibatch.robbins_monro ---------------------------------------------------------------


def ball_formula(lr, curvature, noise_var):
    if curvature <= 0 or lr * curvature >= 2:
        return math.inf
    return lr * noise_var / (curvature * (2 - lr * curvature))


def ball_geometric(lr, curvature, noise_var):
    shrink = (1 - lr * curvature) ** 2
    return lr**2 * noise_var / (1 - shrink) if shrink < 1 else float("inf")


def ball_tensor(lr, curvature, noise_var):
    x = torch.tensor(lr * curvature, dtype=torch.float64)
    variance = lr**2 * noise_var / (x * (2 - x))
    return torch.where((x > 0) & (x < 2), variance, torch.tensor(math.inf, dtype=torch.float64))


def _ball(formula):
    def stationary_variance(lr, curvature, noise_var):
        if curvature <= 0 or lr * curvature >= 2:
            return math.inf
        return formula(lr, curvature, noise_var)

    return stationary_variance


def _ball_unguarded(lr, curvature, noise_var):
    return lr * noise_var / (curvature * (2 - lr * curvature))


def _ball_stops_at_one(lr, curvature, noise_var):
    if curvature <= 0 or lr * curvature >= 1:
        return math.inf
    return ball_formula(lr, curvature, noise_var)


def monro(a, b, t):
    return a / (b + t)


def monro_numpy(a, b, t):
    return torch.tensor(a, dtype=torch.float64) / (t + b)


def monro_inverse(a, b, t):
    return a * (t + b) ** -1


# --- minibatch.logistic and minibatch.perceptron --------------------------------------------------------------------


def logistic_sigmoid(w, X, y):
    return -(torch.sigmoid(-y * (X @ w)) * y) @ X / len(y)


def logistic_exp(w, X, y):
    """Overflow of exp makes 1/inf = 0 here, which is right."""
    weight = 1 / (1 + torch.exp(y * (X @ w)))
    return (-y * weight)[:, None].mul(X).mean(0)


def logistic_autograd(w, X, y):
    w = w.detach().clone().requires_grad_()
    torch.nn.functional.softplus(-y * (X @ w)).mean().backward()
    return w.grad


def logistic_bce(w, X, y):
    probability = torch.sigmoid(X @ w)
    return X.T @ (probability - (y + 1) / 2) / X.shape[0]


def _logistic_overflow(w, X, y):
    e = torch.exp(-y * (X @ w))
    return (-y * e / (1 + e)) @ X / len(y)


def _logistic_01(w, X, y):
    return X.T @ (torch.sigmoid(X @ w) - y) / len(y)


def _logistic_sum(w, X, y):
    return logistic_sigmoid(w, X, y) * len(y)


def _logistic_ascent(w, X, y):
    return (torch.sigmoid(-y * (X @ w)) * y) @ X / len(y)


def _logistic_table(w, X, y):
    margins = y * (X @ w.reshape(-1, 1))  # (N, N)
    weights = torch.sigmoid(-margins) * -y
    return (weights.sum(1) @ X) / margins.numel()


def _logistic_margin(w, X, y):
    return -(torch.sigmoid(y * (X @ w)) * y) @ X / len(y)


def _logistic_two_means(w, X, y):
    weight = torch.sigmoid(-y * (X @ w))
    return (-y * weight).mean() * X.mean(dim=0)


def perceptron_mask(w, X, y):
    wrong = (y * (X @ w) < 0).to(X.dtype)
    return -(wrong * y) @ X / len(y)


def perceptron_where(w, X, y):
    rows = torch.where((y * (X @ w) < 0)[:, None], -y[:, None] * X, torch.zeros_like(X))
    return rows.mean(0)


def perceptron_indexed(w, X, y):
    wrong = y * (X @ w) < 0
    return -(y[wrong] @ X[wrong]) / len(y)


def perceptron_autograd(w, X, y):
    w = w.detach().clone().requires_grad_()
    (-y * (X @ w)).relu().mean().backward()
    return w.grad


def _perceptron_all(w, X, y):
    return -(y @ X) / len(y)


def _perceptron_ge(w, X, y):
    wrong = (y * (X @ w) <= 0).to(X.dtype)
    return -(wrong * y) @ X / len(y)


def _perceptron_wrong_only(w, X, y):
    wrong = y * (X @ w) < 0
    return -(y[wrong] @ X[wrong]) / max(int(wrong.sum()), 1)


def _perceptron_up(w, X, y):
    wrong = y * (X @ w) < 0
    return y[wrong] @ X[wrong] / len(y)


def _perceptron_sum(w, X, y):
    wrong = y * (X @ w) < 0
    return -(y[wrong] @ X[wrong])


def _perceptron_no_label(w, X, y):
    wrong = X @ w < 0
    return -(y[wrong] @ X[wrong]) / len(y)


# --- minibatch.accumulate -------------------------------------------------------------------------------------------


def accumulate_split(model, loss_fn, X, y, micro_batch):
    model.zero_grad()
    for xs, ys in zip(X.split(micro_batch), y.split(micro_batch), strict=True):
        (loss_fn(model(xs), ys) * len(xs) / len(X)).backward()


def accumulate_then_scale(model, loss_fn, X, y, micro_batch):
    for p in model.parameters():
        p.grad = None
    for start in range(0, len(X), micro_batch):
        xs, ys = X[start : start + micro_batch], y[start : start + micro_batch]
        loss_fn(model(xs), ys).mul(xs.shape[0]).backward()
    with torch.no_grad():
        for p in model.parameters():
            p.grad.div_(X.shape[0])


def accumulate_by_grad(model, loss_fn, X, y, micro_batch):
    params = list(model.parameters())
    totals = [torch.zeros_like(p) for p in params]
    for start in range(0, len(X), micro_batch):
        xs, ys = X[start : start + micro_batch], y[start : start + micro_batch]
        for total, g in zip(totals, torch.autograd.grad(loss_fn(model(xs), ys), params), strict=True):
            total.add_(g, alpha=len(xs) / len(X))
    for p, total in zip(params, totals, strict=True):
        p.grad = total


def accumulate_functional(model, loss_fn, X, y, micro_batch):
    """torch.func on the parameters, one micro-batch after the other."""
    named = {name: p.detach() for name, p in model.named_parameters()}
    totals = {name: torch.zeros_like(p) for name, p in named.items()}

    def loss(params, xs, ys):
        return loss_fn(functional_call(model, params, (xs,)), ys)

    for xs, ys in zip(X.split(micro_batch), y.split(micro_batch), strict=True):
        for name, g in grad(loss)(named, xs, ys).items():
            totals[name] += g * (len(xs) / len(X))
    for name, p in model.named_parameters():
        p.grad = totals[name]


def _accumulating(weight: Callable[[int, int, int], float], clear: str = "first") -> Callable[..., None]:
    """A loop with the weight of a micro-batch given by (its size, N, micro_batch)."""

    def accumulate_gradients(model, loss_fn, X, y, micro_batch):
        if clear == "first":
            model.zero_grad()
        for start in range(0, len(X), micro_batch):
            if clear == "each":
                model.zero_grad()
            xs, ys = X[start : start + micro_batch], y[start : start + micro_batch]
            (loss_fn(model(xs), ys) * weight(len(xs), len(X), micro_batch)).backward()

    return accumulate_gradients


def _accumulate_at_end(model, loss_fn, X, y, micro_batch):
    model.zero_grad()
    losses = []
    for xs, ys in zip(X.split(micro_batch), y.split(micro_batch), strict=True):
        losses.append(loss_fn(model(xs), ys) * len(xs) / len(X))
    torch.stack(losses).sum().backward()


def _accumulate_whole(model, loss_fn, X, y, micro_batch):
    model.zero_grad()
    loss_fn(model(X), y).backward()


def _accumulate_chunks(model, loss_fn, X, y, micro_batch):
    model.zero_grad()
    for xs, ys in zip(X.chunk(micro_batch), y.chunk(micro_batch), strict=True):
        (loss_fn(model(xs), ys) * len(xs) / len(X)).backward()


def _accumulate_rounded_count(model, loss_fn, X, y, micro_batch):
    count = max(len(X) // micro_batch, 1)
    accumulate_split(model, loss_fn, X, y, math.ceil(len(X) / count))


def _accumulate_dropping(model, loss_fn, X, y, micro_batch):
    model.zero_grad()
    for k in range(len(X) // micro_batch):
        part = slice(k * micro_batch, (k + 1) * micro_batch)
        (loss_fn(model(X[part]), y[part]) * micro_batch / len(X)).backward()


ACCEPTED: dict[str, dict[str, Objects]] = {
    "minibatch.per_example": {
        "vmap of grad": (per_example_vmap,),
        "a loop": (per_example_loop,),
        "jacobian of the losses": (per_example_jacobian,),
        "closure over w": (per_example_lambda,),
    },
    "minibatch.mean_gradient": {
        "indexed": (mean_indexed,),
        "a loop": (mean_by_loop,),
        "by counts": (mean_by_counts,),
        "index_select": (mean_index_select,),
    },
    "minibatch.unbiased": {
        "stacked": (all_stacked,),
        "indexed at once": (all_at_once,),
        "torch.combinations": (all_torch_combinations,),
        "recursion": (all_by_recursion,),
    },
    "minibatch.batches": {
        "yield": (batches_yield,),
        "split": (batches_split,),
        "a list": (batches_by_count,),
        "an iterable class": (BatchesObject,),
    },
    "minibatch.epoch_loss": {
        "weighted sum": (loss_weighted,),
        "dot product": (loss_dot,),
        "running mean": (loss_running,),
    },
    "minibatch.standard_error": {
        "1/N variance": (error_population,),
        "1/(N − 1) variance": (error_sample,),
        "guarded divisor": (error_clamped,),
    },
    "minibatch.sgd": {
        "by the formula": (SGD,),
        "add_ with alpha": (SGDAlpha,),
        "decoupled decay": (SGDDecoupled,),
        "foreach": (SGDForeach,),
    },
    "minibatch.noise_ball": {
        "formula": (ball_formula,),
        "geometric series": (ball_geometric,),
        "tensors": (ball_tensor,),
    },
    "minibatch.robbins_monro": {
        "fraction": (monro,),
        "a tensor": (monro_numpy,),
        "negative power": (monro_inverse,),
    },
    "minibatch.logistic": {
        "sigmoid": (logistic_sigmoid,),
        "exp below the line": (logistic_exp,),
        "autograd": (logistic_autograd,),
        "labels mapped to 0 and 1": (logistic_bce,),
    },
    "minibatch.perceptron": {
        "mask": (perceptron_mask,),
        "where": (perceptron_where,),
        "indexed": (perceptron_indexed,),
        "autograd": (perceptron_autograd,),
    },
    "minibatch.accumulate": {
        "split": (accumulate_split,),
        "scaled at the end": (accumulate_then_scale,),
        "torch.autograd.grad": (accumulate_by_grad,),
        "torch.func": (accumulate_functional,),
    },
}

MUTANTS: Mutants = {
    "minibatch.per_example": (
        ("B16", "one backward of the sum", (_per_example_summed,)),
        ("B12", "one backward of the mean", (_per_example_mean,)),
        ("B15", "each loss over N", (_per_example_of_mean_loss,)),
        ("B13", "in_dims=(0, 0, 0)", (_per_example_everything_mapped,)),
        ("B17", "grad of a function of x", (_per_example_by_input,)),
        ("B76", "backward without clearing", (_per_example_not_cleared,)),
        ("B77", "no vmap", (_per_example_without_vmap,)),
    ),
    "minibatch.mean_gradient": (
        ("B1", "torch.sum", (_mean_of_sum,)),
        ("B19", "G.shape[0]", (_mean_over_all,)),
        ("B20", "everything", (_mean_everything,)),
        ("B22", "dim=-1", (_mean_wrong_dim,)),
        ("B23", "a mask", (_mask,)),
    ),
    "minibatch.unbiased": (
        ("B29", "product", (_all(_with_repeats, lambda rows, G: rows.mean(0)),)),
        ("B29", "with replacement", (_all(itertools.combinations_with_replacement, lambda rows, G: rows.mean(0)),)),
        ("B30", "permutations", (_all(itertools.permutations, lambda rows, G: rows.mean(0)),)),
        ("B1", "sum", (_all(itertools.combinations, lambda rows, G: rows.sum(0)),)),
        ("B19", "over N", (_all(itertools.combinations, lambda rows, G: rows.sum(0) / len(G)),)),
    ),
    "minibatch.batches": (
        ("B4", "n // batch_size", (_batches_lost,)),
        ("B4e", "n // batch_size + 1", (_batches_empty,)),
        ("B6", "manual_seed(42)", (_batches_seeded,)),
        ("B6n", "arange", (_batches_sequential,)),
        ("B6r", "randint per batch", (_batches_replaced,)),
        ("B45", "generator=None", (_batches_global,)),
        ("B25", "split only", (_batches_never_drop,)),
        ("B28", "blocks shuffled", (_batches_block_shuffled,)),
    ),
    "minibatch.epoch_loss": (
        ("B2", "mean of means", (_loss_plain,)),
        ("B3", "by the largest size", (_loss_nominal,)),
        ("B11", "roots", (_loss_rmse,)),
        ("B33", "dot product alone", (_loss_total,)),
        ("B34", "over the number of batches", (_loss_per_batch,)),
    ),
    "minibatch.standard_error": (
        ("B10", "over m", (_error(_population, lambda s, n, m, r: s / m * _fpc(n, m, r)),)),
        ("B36", "no correction", (_error(_population, lambda s, n, m, r: s / m**0.5),)),
        ("B37", "variance", (_error(_population, lambda s, n, m, r: s**2 / m * _fpc(n, m, r) ** 2),)),
        ("B38", "std's default", (_error(lambda G: G.std(0), lambda s, n, m, r: s / m**0.5 * _fpc(n, m, r)),)),
        (
            "B39",
            "mixed",
            (_error(_population, lambda s, n, m, r: s * (1 / m if r else (1 - m / n) / m) ** 0.5),),
        ),
        ("B41", "no ValueError", (_error_no_refusal,)),
        ("B44", "no guard", (_error_no_guard,)),
        (
            "B78",
            "std's default, √((N − m)/N)",
            (_error(lambda G: G.std(0), lambda s, n, m, r: s / m**0.5 * (1.0 if r else (1 - m / n) ** 0.5)),),
        ),
        ("B79", "ValueError always", (_error_refuses_always,)),
        ("B80", "no root", (_error(_population, lambda s, n, m, r: s / m**0.5 * _fpc(n, m, r) ** 2),)),
        ("B81", "if replacement", (_error(_population, lambda s, n, m, r: s / m**0.5 * _fpc(n, m, not r)),)),
    ),
    "minibatch.sgd": (
        ("M5", "plus", (_SGDUp,)),
        ("W9", "minus decay", (_SGDDecayMinus,)),
        ("M9s", "p.data =", (_SGDNewStorage,)),
        ("M9", "p = p - ...", (_SGDRebound,)),
        ("M10", "g.add_", (_SGDMutates,)),
        ("M10", "g +=", (_SGDAddsInPlace,)),
        ("A33", "sign at the end", (_SGDMaximizeLate,)),
        ("A27", "defaults", (_SGDConstructorLr,)),
        ("A30", "one decay", (_SGDOneDecay,)),
        ("A32", "zeros", (_SGDZeros,)),
        ("A32", "p.grad = zeros", (_SGDZerosKept,)),
        ("B47", "no closure", (_SGDNoClosure,)),
        ("B48", "closure under no_grad", (_SGDClosureWithoutGrad,)),
        ("B71", "nothing returned", (_SGDForgetsLoss,)),
        ("B75", "update, then closure", (_SGDClosureLate,)),
        ("B46", "no no_grad", (_SGDWatched,)),
    ),
    "minibatch.noise_ball": (
        ("B49", "small lr", (_ball(lambda lr, h, s: lr * s / (2 * h)),)),
        ("B50", "squared", (_ball(lambda lr, h, s: ball_formula(lr, h, s * s)),)),
        ("B51", "no guard", (_ball_unguarded,)),
        ("B52", "one step", (_ball(lambda lr, h, s: s * lr * lr),)),
        ("B54", "root", (_ball(lambda lr, h, s: math.sqrt(ball_formula(lr, h, s))),)),
        ("B82", "no parentheses", (_ball(lambda lr, h, s: lr * s / h * (2 - lr * h)),)),
        ("B83", ">= 1", (_ball_stops_at_one,)),
    ),
    "minibatch.robbins_monro": (
        ("B55", "from 0", (lambda a, b, t: a / (t - 1 + b),)),
        ("B56", "no parentheses", (lambda a, b, t: t + a / b,)),
        ("B58", "root", (lambda a, b, t: a / math.sqrt(t + b),)),
        ("B59", "inverse time", (lambda a, b, t: a / (b * t + 1),)),
        ("B86", "t + 1", (lambda a, b, t: a / (t + 1 + b),)),
    ),
    "minibatch.logistic": (
        ("B60", "exp over 1 + exp", (_logistic_overflow,)),
        ("B62", "labels 0 and 1", (_logistic_01,)),
        ("B1", "sum", (_logistic_sum,)),
        ("B61", "uphill", (_logistic_ascent,)),
        ("B63", "sigmoid of the margin", (_logistic_margin,)),
        ("B9", "a column of scores", (_logistic_table,)),
        ("B85", "two means", (_logistic_two_means,)),
    ),
    "minibatch.perceptron": (
        ("B65", "all", (_perceptron_all,)),
        ("B67", "<= 0", (_perceptron_ge,)),
        ("B66", "wrong ones only", (_perceptron_wrong_only,)),
        ("B61", "uphill", (_perceptron_up,)),
        ("B1", "sum", (_perceptron_sum,)),
        ("B84", "X @ w < 0", (_perceptron_no_label,)),
    ),
    "minibatch.accumulate": (
        ("B8", "1/K", (_accumulating(lambda size, n, micro: 1 / math.ceil(n / micro)),)),
        ("B8s", "no weight", (_accumulating(lambda size, n, micro: 1.0),)),
        ("B3", "micro_batch / N", (_accumulating(lambda size, n, micro: micro / n),)),
        ("B7", "no zero_grad", (_accumulating(lambda size, n, micro: size / n, clear="never"),)),
        ("B7z", "zero_grad in the loop", (_accumulating(lambda size, n, micro: size / n, clear="each"),)),
        ("B4", "floor division", (_accumulate_dropping,)),
        ("B69", "backward at the end", (_accumulate_at_end,)),
        ("B70", "no micro-batches", (_accumulate_whole,)),
        ("B73", "chunk", (_accumulate_chunks,)),
        ("B74", "N // micro_batch pieces", (_accumulate_rounded_count,)),
    ),
}
