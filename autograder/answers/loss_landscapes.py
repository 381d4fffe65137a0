"""Right and wrong answers to the exercises of `07_loss_landscapes`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from autograder.answers import Mutants, Objects

Tensor = torch.Tensor
vmap = torch.func.vmap
Tensors = Sequence[Tensor]

# --- landscape.hvp --------------------------------------------------------------------------------------------------


def hvp_twice(loss_fn: Any, params: Tensors, v: Tensors) -> list[Tensor]:
    own = [p.detach().requires_grad_() for p in params]
    g = torch.autograd.grad(loss_fn(own), own, create_graph=True, materialize_grads=True)
    dot = sum((a * b).sum() for a, b in zip(g, v, strict=True))
    return list(torch.autograd.grad(dot, own, materialize_grads=True))


def hvp_grad_outputs(loss_fn: Any, params: Tensors, v: Tensors) -> tuple[Tensor, ...]:
    """v goes in as grad_outputs; what does not bend is left out by hand."""
    own = tuple(p.detach().clone().requires_grad_(True) for p in params)
    g = torch.autograd.grad(loss_fn(own), own, create_graph=True, allow_unused=True)
    bent = [(a, b) for a, b in zip(g, v, strict=True) if a is not None and a.requires_grad]
    out = torch.autograd.grad([a for a, _ in bent], own, [b for _, b in bent], allow_unused=True)
    return tuple(torch.zeros_like(p) if h is None else h for h, p in zip(out, own, strict=True))


def hvp_forward_over_reverse(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    plain = [p.detach() for p in params]
    return torch.func.jvp(torch.func.grad(loss_fn), (plain,), (list(v),))[1]


def hvp_reverse_over_forward(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    def slope(own: Any) -> Tensor:
        moved: Tensor = torch.func.jvp(loss_fn, (own,), (list(v),))[1]
        return moved

    return torch.func.grad(slope)([p.detach() for p in params])


def hvp_functional(loss_fn: Any, params: Tensors, v: Tensors) -> list[Tensor]:
    plain = tuple(p.detach() for p in params)
    return list(torch.func.vjp(torch.func.grad(lambda own: loss_fn(own)), plain)[1](tuple(v))[0])


def _no_graph(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    own = [p.detach().requires_grad_() for p in params]
    g = torch.autograd.grad(loss_fn(own), own, retain_graph=True)
    return torch.autograd.grad(sum((a * b).sum() for a, b in zip(g, v, strict=True)), own)


def _allow_nothing(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    own = [p.detach().requires_grad_() for p in params]
    g = torch.autograd.grad(loss_fn(own), own, create_graph=True)
    return torch.autograd.grad(sum((a * b).sum() for a, b in zip(g, v, strict=True)), own)


def _block_by_block(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    out = []
    for i, p in enumerate(params):
        mine = p.detach().requires_grad_()
        rest = [q.detach() for q in params]
        rest[i] = mine
        (g,) = torch.autograd.grad(loss_fn(rest), mine, create_graph=True)
        if g.requires_grad:
            out.append(torch.autograd.grad((g * v[i]).sum(), mine, materialize_grads=True)[0])
        else:
            out.append(torch.zeros_like(p))
    return out


def _fisher(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    g = torch.func.grad(loss_fn)([p.detach() for p in params])
    inner = sum((a * b).sum() for a, b in zip(g, v, strict=True))
    return [inner * a for a in g]


def _forward_difference(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    grad = torch.func.grad(loss_fn)
    here = grad([p.detach() for p in params])
    there = grad([p.detach() + 1e-4 * d for p, d in zip(params, v, strict=True)])
    return [(a - b) / 1e-4 for a, b in zip(there, here, strict=True)]


def _forms_h(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    plain = [p.detach() for p in params]

    def flat(x: Tensor) -> Tensor:
        parts = x.split([p.numel() for p in plain])
        out: Tensor = loss_fn([a.reshape(p.shape) for a, p in zip(parts, plain, strict=True)])
        return out

    H = torch.func.jacrev(torch.func.grad(flat))(torch.cat([p.reshape(-1) for p in plain]))
    out = H @ torch.cat([d.reshape(-1) for d in v])
    return [a.reshape(p.shape) for a, p in zip(out.split([p.numel() for p in plain]), plain, strict=True)]


def _backward_then_grad(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    for p in params:
        p.requires_grad_()
    g = torch.autograd.grad(loss_fn(params), params, create_graph=True, materialize_grads=True)
    dot = sum((a * b).sum() for a, b in zip(g, v, strict=True))
    return torch.autograd.grad(dot, params, materialize_grads=True)


def _sum_of_gradients(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    own = [p.detach().requires_grad_() for p in params]
    g = torch.autograd.grad(loss_fn(own), own, create_graph=True, materialize_grads=True)
    return torch.autograd.grad(sum(a.sum() for a in g), own, materialize_grads=True)


def _params_as_given(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    g = torch.autograd.grad(loss_fn(params), params, create_graph=True, materialize_grads=True)
    return torch.autograd.grad(sum((a * b).sum() for a, b in zip(g, v, strict=True)), params, materialize_grads=True)


def _through_grad_outputs(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
    own = [p.detach().requires_grad_() for p in params]
    g = torch.autograd.grad(loss_fn(own), own, create_graph=True, materialize_grads=True)
    out = torch.autograd.grad(g, own, grad_outputs=v, allow_unused=True)
    return [torch.zeros_like(p) if h is None else h for h, p in zip(out, own, strict=True)]


def _difference(eps: float, sides: int) -> Callable[..., Any]:
    def hvp(loss_fn: Any, params: Tensors, v: Tensors) -> Any:
        def slope(step: float) -> Tensors:
            own = [(p + step * d).detach().requires_grad_() for p, d in zip(params, v, strict=True)]
            return torch.autograd.grad(loss_fn(own), own, materialize_grads=True)

        there, here = slope(eps), slope(-eps if sides == 2 else 0.0)
        return [(a - b) / (sides * eps) for a, b in zip(there, here, strict=True)]

    return hvp


# --- landscape.lanczos ----------------------------------------------------------------------------------------------


def lanczos_list(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    q = torch.randn(dim, dtype=torch.float64, generator=generator)
    basis, alphas, betas = [q / q.norm()], [], []
    for _ in range(min(steps, dim)):
        u = matvec(basis[-1])
        alphas.append(basis[-1] @ u)
        Q = torch.stack(basis)
        u = u - Q.T @ (Q @ u)
        u = u - Q.T @ (Q @ u)
        betas.append(u.norm())
        if betas[-1] < 1e-10 * max(1.0, *map(abs, alphas)):
            break
        basis.append(u / betas[-1])
    b = torch.stack(betas[: len(alphas) - 1]) if len(alphas) > 1 else torch.zeros(0, dtype=torch.float64)
    T = torch.diag(torch.stack(alphas)) + torch.diag(b, 1) + torch.diag(b, -1)
    return torch.linalg.eigvalsh(T).flip(0)[:k]


def lanczos_projected(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    """Keeps Q and H·Q, and takes the eigenvalues of Qᵀ H Q: no α or β is ever written down."""
    q = torch.randn(dim, generator=generator).double()
    Q = torch.zeros(0, dim, dtype=torch.float64)
    HQ = torch.zeros(0, dim, dtype=torch.float64)
    for _ in range(min(steps, dim)):
        size = float(q.norm())
        for _ in range(3):
            q = q - Q.T @ (Q @ q)
        if q.norm() < 1e-10 * max(size, 1.0):
            break
        q = q / q.norm()
        Q, q = torch.cat([Q, q[None]]), matvec(q)
        HQ = torch.cat([HQ, q[None]])
    small = Q @ HQ.T
    return torch.linalg.eigvalsh((small + small.T) / 2).sort(descending=True).values[:k]


def lanczos_gram_schmidt(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    """Modified Gram–Schmidt, one vector after the other, twice."""
    q = torch.empty(dim, dtype=torch.float64).normal_(generator=generator)
    vectors = [q / torch.linalg.vector_norm(q)]
    T = torch.zeros(steps + 1, steps + 1, dtype=torch.float64)
    done = 0
    for j in range(steps):
        u = matvec(vectors[j])
        T[j, j] = torch.dot(vectors[j], u)
        done = j + 1
        for _ in range(2):
            for old in vectors:
                u = u - torch.dot(old, u) * old
        beta = float(u.norm())
        if beta < 1e-10 * max(1.0, float(T.abs().max())) or done == dim:
            break
        T[j, j + 1] = T[j + 1, j] = beta
        vectors.append(u / beta)
    return torch.topk(torch.linalg.eigvalsh(T[:done, :done]), k).values


def _textbook(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    q = torch.randn(dim, dtype=torch.float64, generator=generator)
    q, old, beta = q / q.norm(), torch.zeros(dim, dtype=torch.float64), 0.0
    a, b = [], []
    for _ in range(min(steps, dim)):
        u = matvec(q)
        alpha = float(q @ u)
        u = u - alpha * q - beta * old
        a.append(alpha)
        beta = float(u.norm())
        if beta < 1e-10 * max(1.0, max(map(abs, a))):
            break
        b.append(beta)
        old, q = q, u / beta
    off = torch.tensor(b[: len(a) - 1], dtype=torch.float64)
    T = torch.diag(torch.tensor(a, dtype=torch.float64)) + torch.diag(off, 1) + torch.diag(off, -1)
    return torch.linalg.eigvalsh(T).flip(0)[:k]


def _lanczos_then(pick: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
    def top_eigenvalues(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
        every = lanczos_list(matvec, dim, min(steps, dim), steps, generator)
        return pick(every, k)

    return top_eigenvalues


def _from_ones(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    q = torch.full((dim,), dim**-0.5, dtype=torch.float64)
    Q, T = [q], torch.zeros(steps, steps, dtype=torch.float64)
    n = 0
    for j in range(min(steps, dim)):
        u, n = matvec(Q[j]), j + 1
        T[j, j] = Q[j] @ u
        for _ in range(2):
            for old in Q:
                u = u - (old @ u) * old
        if u.norm() < 1e-10 * max(1.0, float(T.abs().max())) or n == min(steps, dim):
            break
        T[j, j + 1] = T[j + 1, j] = u.norm()
        Q.append(u / u.norm())
    return torch.linalg.eigvalsh(T[:n, :n]).flip(0)[:k]


def _every_column(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    H = torch.stack([matvec(torch.eye(dim, dtype=torch.float64)[i]) for i in range(dim)])
    return torch.linalg.eigvalsh(H).flip(0)[:k]


def _few_steps(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    return lanczos_list(matvec, dim, k, k, generator)


def _all_steps(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    return lanczos_list(matvec, dim, k, dim, generator)


def _goes_on(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    q = torch.randn(dim, dtype=torch.float64, generator=generator)
    Q, a, b = [q / q.norm()], [], []
    for j in range(steps):
        u = matvec(Q[j])
        a.append(float(Q[j] @ u))
        for _ in range(2):
            for old in Q:
                u = u - (old @ u) * old
        b.append(float(u.norm()))
        Q.append(u / u.norm())
    off = torch.tensor(b[:-1], dtype=torch.float64)
    T = torch.diag(torch.tensor(a, dtype=torch.float64)) + torch.diag(off, 1) + torch.diag(off, -1)
    return torch.linalg.eigvalsh(T).flip(0)[:k]


def _one_pass(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    q = torch.randn(dim, dtype=torch.float64, generator=generator)
    Q, a, b = [q / q.norm()], [], []
    for _ in range(min(steps, dim)):
        u = matvec(Q[-1])
        a.append(torch.dot(Q[-1], u))
        u = u - sum(torch.dot(old, u) * old for old in Q)
        b.append(u.norm())
        if b[-1] < 1e-10 * max(1.0, *map(abs, a)):
            break
        Q.append(u / b[-1])
    off = torch.stack(b)[: len(a) - 1]
    return torch.linalg.eigvalsh(torch.diag(torch.stack(a)) + torch.diag(off, 1) + torch.diag(off, -1)).flip(0)[:k]


def _ends_when(stop: Callable[[float], bool], passes: int = 2, again: bool = False) -> Callable[..., Tensor]:
    """Lanczos that ends by its own rule; `again`: goes on from a new random vector in place of ending."""

    def top_eigenvalues(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
        q = torch.randn(dim, dtype=torch.float64, generator=generator)
        basis, n = (q / q.norm())[None], min(steps, dim)
        T = torch.zeros(n, n, dtype=torch.float64)
        for j in range(n):
            u = matvec(basis[-1])
            T[j, j] = basis[-1] @ u
            for _ in range(passes):
                u = u - basis.T @ (basis @ u)
            beta = u.norm()
            if j + 1 < n and not stop(float(beta)):
                T[j, j + 1] = T[j + 1, j] = beta
            elif j + 1 < n and again:
                u = torch.randn(dim, dtype=torch.float64, generator=generator)
                u = u - basis.T @ (basis @ u)
                beta = u.norm()
            elif j + 1 < n:
                T = T[: j + 1, : j + 1]
                break
            basis = torch.cat([basis, (u / beta)[None]])
        return torch.linalg.eigvalsh(T).flip(0)[:k]

    return top_eigenvalues


# --- landscape.classify ---------------------------------------------------------------------------------------------


def classify_by_count(H: Tensor, tol: float) -> tuple[str, int]:
    e = torch.linalg.eigvalsh(H)
    up, down = int((e > tol).sum()), int((e < -tol).sum())
    if up and down:
        return "saddle", down
    if up + down < len(e):
        return "degenerate", down
    return ("maximum" if down else "minimum"), down


def classify_by_extremes(H: Tensor, tol: float) -> tuple[str, Tensor]:
    e = torch.linalg.eigh(H).eigenvalues
    low, high = e[0], e[-1]
    index = (e < -tol).sum()
    if low < -tol and high > tol:
        return "saddle", index
    if low > tol:
        return "minimum", index
    if high < -tol:
        return "maximum", index
    return "degenerate", index


def classify_by_signs(H: Tensor, tol: float) -> list[Any]:
    signs = [0 if abs(v) <= tol else (1 if v > 0 else -1) for v in torch.linalg.eigvals(H).real.tolist()]
    names = {frozenset({1}): "minimum", frozenset({-1}): "maximum"}
    kind = "saddle" if {1, -1} <= set(signs) else names.get(frozenset(signs), "degenerate")
    return [kind, signs.count(-1)]


def _by_trace(H: Tensor, tol: float) -> tuple[str, int]:
    t, index = H.trace().item(), int((torch.linalg.eigvalsh(H) < -tol).sum())
    return ("minimum" if t > tol else "maximum" if t < -tol else "degenerate"), index


def _by_determinant(H: Tensor, tol: float) -> tuple[str, int]:
    d, index = float(torch.linalg.eigvalsh(H).prod()), int((torch.linalg.eigvalsh(H) < -tol).sum())
    if abs(d) <= tol:
        return "degenerate", index
    if d < 0:
        return "saddle", index
    return ("minimum" if H[0, 0] > 0 else "maximum"), index


def _without_tol(H: Tensor, tol: float) -> tuple[str, int]:
    return classify_by_count(H, 0.0)


def _index_of_positives(H: Tensor, tol: float) -> tuple[str, int]:
    return classify_by_count(H, tol)[0], int((torch.linalg.eigvalsh(H) > tol).sum())


def _zeros_first(H: Tensor, tol: float) -> tuple[str, int]:
    kind, index = classify_by_count(H, tol)
    return ("degenerate" if (torch.linalg.eigvalsh(H).abs() <= tol).any() else kind), index


def _upside_down(H: Tensor, tol: float) -> tuple[str, int]:
    kind, index = classify_by_count(H, tol)
    return {"minimum": "maximum", "maximum": "minimum"}.get(kind, kind), index


# --- landscape.goe --------------------------------------------------------------------------------------------------


def goe_eigenvalues(n: int, samples: int, generator: torch.Generator) -> float:
    A = torch.randn(samples, n, n, generator=generator, dtype=torch.float64)
    M = (A + A.mT) / 2
    return (torch.linalg.eigvalsh(M) > 0).all(dim=-1).double().mean().item()


def goe_cholesky(n: int, samples: int, generator: torch.Generator) -> Tensor:
    """Positive definite is what has a Cholesky factor."""
    A = torch.randn(samples, n, n, generator=generator, dtype=torch.float64)
    _, info = torch.linalg.cholesky_ex(A + A.transpose(-1, -2))
    return (info == 0).double().mean()


def goe_smallest(n: int, samples: int, generator: torch.Generator) -> float:
    A = torch.empty(samples, n, n, dtype=torch.float64).normal_(generator=generator)
    smallest = torch.linalg.eigvalsh(A + A.permute(0, 2, 1)).amin(dim=1)
    return int((smallest > 0).sum()) / samples


def goe_minors(n: int, samples: int, generator: torch.Generator) -> float:
    """Sylvester's criterion: all leading minors are positive."""
    A = torch.randn(samples, n, n, generator=generator, dtype=torch.float64)
    M = 0.5 * (A + A.mT)
    good = torch.ones(samples, dtype=torch.bool)
    for k in range(1, n + 1):
        good &= torch.linalg.det(M[:, :k, :k]) > 0
    return float(good.double().mean())


def _not_symmetrised(n: int, samples: int, generator: torch.Generator) -> float:
    A = torch.randn(samples, n, n, generator=generator, dtype=torch.float64)
    return float((torch.linalg.eigvalsh(A) > 0).all(1).double().mean())


def _goe(test: Callable[[Tensor], Tensor]) -> Callable[..., float]:
    def probability_minimum(n: int, samples: int, generator: torch.Generator) -> float:
        A = torch.randn(samples, n, n, generator=generator, dtype=torch.float64)
        return float(test((A + A.mT) / 2).double().mean())

    return probability_minimum


def _goe_global(n: int, samples: int, generator: torch.Generator) -> float:
    A = torch.randn(samples, n, n, dtype=torch.float64)
    return float((torch.linalg.eigvalsh((A + A.mT) / 2) > 0).all(1).double().mean())


def goe_float_mean(n: int, samples: int, generator: torch.Generator) -> float:
    A = torch.randn(samples, n, n, generator=generator, dtype=torch.float64)
    return (torch.linalg.eigvalsh((A + A.mT) / 2) > 0).all(-1).float().mean().item()


def goe_divided(n: int, samples: int, generator: torch.Generator) -> Tensor:
    A = torch.randn(samples, n, n, generator=generator, dtype=torch.float64)
    return (torch.linalg.eigvalsh((A + A.mT) / 2)[:, 0] > 0).sum() / samples


def _goe_in_a_loop(n: int, samples: int, generator: torch.Generator) -> float:
    count = 0
    A = [torch.randn(n, n, generator=generator, dtype=torch.float64) for _ in range(samples)]
    for M in torch.linalg.eigvalsh(torch.stack([a + a.T for a in A])):
        count += int(M[0] > 0)
    return count / samples


def _goe_single(n: int, samples: int, generator: torch.Generator) -> float:
    A = torch.randn(samples, n, n, generator=generator)
    return float((torch.linalg.eigvalsh((A + A.mT) / 2) > 0).all(1).float().mean())


# --- landscape.filter_normalize -------------------------------------------------------------------------------------


def normalize_flat(direction: Tensors, weights: Tensors) -> list[Tensor]:
    result = []
    for d, w in zip(direction, weights, strict=True):
        if d.dim() < 2:
            result.append(torch.zeros_like(d))
            continue
        a, b = d.flatten(1).norm(dim=1), w.flatten(1).norm(dim=1)
        ratio = torch.where(a > 0, b / a, torch.zeros_like(a))
        result.append(d * ratio.view(-1, *[1] * (d.dim() - 1)))
    return result


def normalize_filters(direction: Tensors, weights: Tensors) -> tuple[Tensor, ...]:
    def one(d: Tensor, w: Tensor) -> Tensor:
        if d.dim() <= 1:
            return 0 * d
        return torch.stack([x * (y.norm() / x.norm()) if x.any() else x.clone() for x, y in zip(d, w, strict=True)])

    return tuple(one(d, w) for d, w in zip(direction, weights, strict=True))


def normalize_small_number(direction: Tensors, weights: Tensors) -> list[Tensor]:
    """The published code's way: 1e-10 in the divisor."""
    out = [d.clone() for d in direction]
    for d, w in zip(out, weights, strict=True):
        if d.dim() <= 1:
            d.zero_()
        else:
            for x, y in zip(d, w, strict=True):
                x.mul_(y.norm() / (x.norm() + 1e-12))
    return out


def _normalize(rule: Callable[[Tensor, Tensor], Tensor], bias: Any = None) -> Callable[..., list[Tensor]]:
    def filter_normalize(direction: Tensors, weights: Tensors) -> list[Tensor]:
        pairs = zip(direction, weights, strict=True)
        return [rule(d, w) if d.dim() > 1 else (bias or (lambda d, w: 0 * d))(d, w) for d, w in pairs]

    return filter_normalize


def _rows(d: Tensor, w: Tensor, dims: tuple[int, ...], power: float = 1.0) -> Tensor:
    a, b = (torch.linalg.vector_norm(t, dim=dims, keepdim=True) for t in (d, w))
    return torch.where(a > 0, d * (b / a) ** power, 0.0)


def _later(d: Tensor) -> tuple[int, ...]:
    return tuple(range(1, d.dim()))


def _normalize_nan(direction: Tensors, weights: Tensors) -> list[Tensor]:
    norm = torch.linalg.vector_norm
    return [
        d / norm(d, dim=_later(d), keepdim=True) * norm(w, dim=_later(w), keepdim=True) if d.dim() > 1 else 0 * d
        for d, w in zip(direction, weights, strict=True)
    ]


def _normalize_in_place(direction: Tensors, weights: Tensors) -> list[Tensor]:
    for d, new in zip(direction, normalize_flat(direction, weights), strict=True):
        d.copy_(new)
    return list(direction)


# --- landscape.surface ----------------------------------------------------------------------------------------------


def surface_vmap(
    loss_fn: Any, w: Tensor, d1: Tensor, d2: Tensor, alphas: Tensor, betas: Tensor, batches: Any, chunk_size: int
) -> Tensor:
    X, y = next(iter(batches))
    at = vmap(lambda a, b: loss_fn(w + a * d1 + b * d2, X, y), chunk_size=chunk_size)
    a, b = torch.meshgrid(alphas, betas, indexing="ij")
    grid: Tensor = at(a.flatten(), b.flatten()).view(a.shape)
    return grid


def surface_split(
    loss_fn: Any, w: Tensor, d1: Tensor, d2: Tensor, alphas: Tensor, betas: Tensor, batches: Any, chunk_size: int
) -> Tensor:
    batch = next(batches)
    pairs = torch.cartesian_prod(alphas, betas)
    directions = torch.stack([d1, d2])
    losses = [vmap(loss_fn, (0, None, None))(w + part @ directions, *batch) for part in pairs.split(chunk_size)]
    return torch.cat(losses).reshape(len(alphas), len(betas))


def surface_indices(
    loss_fn: Any, w: Tensor, d1: Tensor, d2: Tensor, alphas: Tensor, betas: Tensor, batches: Any, chunk_size: int
) -> Tensor:
    """Fills a grid that is made once."""
    _, (X, y) = next(enumerate(batches))
    n = len(betas)
    grid = torch.empty(len(alphas) * n, dtype=w.dtype, device=w.device)
    a, b = alphas.repeat_interleave(n), betas.repeat(len(alphas))
    with torch.no_grad():
        for start in range(0, len(grid), chunk_size):
            i = slice(start, start + chunk_size)
            points = w + torch.outer(a[i], d1) + torch.outer(b[i], d2)
            grid[i] = vmap(lambda p: loss_fn(p, X, y))(points)
    return grid.view(len(alphas), n)


def _surface(loop: Callable[..., Any]) -> Callable[..., Tensor]:
    def loss_surface(
        loss_fn: Any, w: Tensor, d1: Tensor, d2: Tensor, alphas: Tensor, betas: Tensor, batches: Any, chunk_size: int
    ) -> Tensor:
        rows: Tensor = loop(loss_fn, w, d1, d2, alphas, betas, batches, chunk_size)
        return rows

    return loss_surface


def _double_loop(f: Any, w: Tensor, d1: Tensor, d2: Tensor, al: Tensor, be: Tensor, batches: Any, chunk: int) -> Tensor:
    X, y = next(iter(batches))
    return torch.stack([torch.stack([f(w + a * d1 + b * d2, X, y) for b in be]) for a in al])


def _new_batches(f: Any, w: Tensor, d1: Tensor, d2: Tensor, al: Tensor, be: Tensor, batches: Any, chunk: int) -> Tensor:
    return torch.stack([torch.stack([f(w + a * d1 + b * d2, *next(batches)) for b in be]) for a in al])


def _wanders(f: Any, w: Tensor, d1: Tensor, d2: Tensor, al: Tensor, be: Tensor, batches: Any, chunk: int) -> Tensor:
    X, y = next(batches)
    rows = []
    for a in al:
        for b in be:
            w += a * d1 + b * d2
            rows.append(f(w, X, y))
    return torch.stack(rows).view(len(al), len(be))


def _all_points(f: Any, w: Tensor, d1: Tensor, d2: Tensor, al: Tensor, be: Tensor, batches: Any, chunk: int) -> Tensor:
    X, y = next(batches)
    points = w + al[:, None, None] * d1 + be[None, :, None] * d2
    every: Tensor = vmap(f, (0, None, None), chunk_size=chunk)(points.flatten(0, 1), X, y)
    return every.view(len(al), len(be))


def _vmap_of_vmap(
    f: Any, w: Tensor, d1: Tensor, d2: Tensor, al: Tensor, be: Tensor, batches: Any, chunk: int
) -> Tensor:
    X, y = next(batches)
    row = vmap(lambda a, b: f(w + a * d1 + b * d2, X, y), (None, 0))
    return torch.stack([row(a, be) for a in al])


def _other_order(f: Any, w: Tensor, d1: Tensor, d2: Tensor, al: Tensor, be: Tensor, batches: Any, chunk: int) -> Tensor:
    return surface_vmap(f, w, d2, d1, al, be, batches, chunk)


def _no_w(f: Any, w: Tensor, d1: Tensor, d2: Tensor, al: Tensor, be: Tensor, batches: Any, chunk: int) -> Tensor:
    return surface_vmap(f, 0 * w, d1, d2, al, be, batches, chunk)


def _through_a_list(
    f: Any, w: Tensor, d1: Tensor, d2: Tensor, al: Tensor, be: Tensor, batches: Any, chunk: int
) -> Tensor:
    grid = surface_vmap(f, w, d1, d2, al, be, batches, chunk)
    return torch.tensor([[x.item() for x in row] for row in grid], dtype=w.dtype, device=w.device)


def _meshgrid_xy(f: Any, w: Tensor, d1: Tensor, d2: Tensor, al: Tensor, be: Tensor, batches: Any, chunk: int) -> Tensor:
    X, y = next(batches)
    a, b = torch.meshgrid(al, be, indexing="xy")
    every: Tensor = vmap(lambda s, t: f(w + s * d1 + t * d2, X, y), chunk_size=chunk)(a.flatten(), b.flatten())
    return every.view(len(al), len(be))


def _chunks_of(size: Callable[[int], int]) -> Callable[..., Tensor]:
    def loss_surface(
        loss_fn: Any, w: Tensor, d1: Tensor, d2: Tensor, alphas: Tensor, betas: Tensor, batches: Any, chunk_size: int
    ) -> Tensor:
        return surface_vmap(loss_fn, w, d1, d2, alphas, betas, batches, size(chunk_size))

    return loss_surface


# --- landscape.interpolate ------------------------------------------------------------------------------------------


def interpolate_copy(model: Any, state_a: Any, state_b: Any, alphas: Any, loss_fn: Any, X: Tensor, y: Tensor) -> Tensor:
    net, a, losses = copy.deepcopy(model), copy.deepcopy(state_a), []
    for alpha in alphas:
        mixed = {k: (1 - alpha) * a[k] + alpha * state_b[k] if a[k].is_floating_point() else a[k] for k in a}
        net.load_state_dict(mixed)
        for m in net.modules():
            if isinstance(m, torch.nn.BatchNorm1d):
                m.reset_running_stats()
                m.momentum = None
        with torch.no_grad():
            net.train()
            net(X)
            net.eval()
            losses.append(loss_fn(net(X), y))
    return torch.stack(losses)


def interpolate_update_bn(
    model: Any, state_a: Any, state_b: Any, alphas: Any, loss_fn: Any, X: Tensor, y: Tensor
) -> list[float]:
    own, losses = copy.deepcopy(model), []
    a = {key: value.clone() for key, value in state_a.items()}
    for alpha in alphas:
        own.load_state_dict({k: torch.lerp(v, state_b[k], alpha) if v.is_floating_point() else v for k, v in a.items()})
        torch.optim.swa_utils.update_bn([X], own)
        with torch.no_grad():
            losses.append(loss_fn(own.eval()(X), y).item())
    return losses


@torch.no_grad()
def interpolate_in_the_model(
    model: Any, state_a: Any, state_b: Any, alphas: Any, loss_fn: Any, X: Tensor, y: Tensor
) -> Tensor:
    """In the caller's model, which is put back; momentum 1 takes over one pass as a whole."""
    before, mode = copy.deepcopy(model.state_dict()), model.training
    a, b = copy.deepcopy(dict(state_a)), copy.deepcopy(dict(state_b))
    norms = [m for m in model.modules() if hasattr(m, "running_mean")]
    momenta, losses = [m.momentum for m in norms], torch.zeros(len(alphas), dtype=torch.float64)
    for i, alpha in enumerate(alphas):
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(a[key] + alpha * (b[key] - a[key]))
        for m in norms:
            m.momentum = 1.0
        model.train()(X)
        losses[i] = loss_fn(model.eval()(X), y)
    model.load_state_dict(before)
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
    model.train(mode)
    return losses


def interpolate_functional(
    model: Any, state_a: Any, state_b: Any, alphas: Any, loss_fn: Any, X: Tensor, y: Tensor
) -> Tensor:
    """The statistics are computed by hooks: mean and variance of what enters each norm layer in train mode."""
    losses = []
    a = copy.deepcopy(state_a)
    net = copy.deepcopy(model)
    for alpha in alphas:
        net.load_state_dict({k: (a[k] + alpha * (state_b[k] - a[k])).to(a[k].dtype) for k in a})
        seen: list[Any] = []
        hooks = [
            m.register_forward_pre_hook(lambda m, args, seen=seen: seen.append((m, args[0].detach())))
            for m in net.modules()
            if isinstance(m, torch.nn.BatchNorm1d)
        ]
        net.train()
        with torch.no_grad():
            net(X)
            for hook in hooks:
                hook.remove()
            for m, x in seen:
                m.running_mean.copy_(x.mean(0))
                m.running_var.copy_(x.var(0))
            net.eval()
            losses.append(loss_fn(net(X), y))
    return torch.stack(losses)


def _interpolate(change: Callable[..., Any]) -> Callable[..., Tensor]:
    """A wrong one on a copy; `change(net, a, b, alpha, X)` sets the copy up."""

    @torch.no_grad()
    def interpolate(model: Any, state_a: Any, state_b: Any, alphas: Any, loss_fn: Any, X: Tensor, y: Tensor) -> Tensor:
        net, a, losses = copy.deepcopy(model), copy.deepcopy(state_a), []
        for alpha in alphas:
            change(net, a, state_b, alpha, X)
            losses.append(loss_fn(net(X), y))
        return torch.stack(losses)

    return interpolate


def _mix(a: Any, b: Any, alpha: float, skip: str = "\0") -> dict[str, Tensor]:
    return {k: (1 - alpha) * a[k] + alpha * b[k] if a[k].is_floating_point() and skip not in k else a[k] for k in a}


def _keeps_stats(net: Any, a: Any, b: Any, alpha: float, X: Tensor) -> None:
    net.load_state_dict(_mix(a, b, alpha, "running"))
    net.eval()


def _mixes_stats(net: Any, a: Any, b: Any, alpha: float, X: Tensor) -> None:
    net.load_state_dict(_mix(a, b, alpha))
    net.eval()


def _trains(net: Any, a: Any, b: Any, alpha: float, X: Tensor) -> None:
    net.load_state_dict(_mix(a, b, alpha))
    net.train()


def _never_reset(net: Any, a: Any, b: Any, alpha: float, X: Tensor) -> None:
    net.load_state_dict(_mix(a, b, alpha))
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm1d):
            m.momentum = None
    net.train()(X)
    net.eval()


def _parameters_only(net: Any, a: Any, b: Any, alpha: float, X: Tensor) -> None:
    net.load_state_dict(a)
    for name, p in net.named_parameters():
        p.copy_((1 - alpha) * a[name] + alpha * b[name])
    torch.optim.swa_utils.update_bn([X], net)
    net.eval()


def _values_in_turn(net: Any, a: Any, b: Any, alpha: float, X: Tensor) -> None:
    pairs = zip(a.items(), b.values(), strict=True)
    net.load_state_dict({k: torch.lerp(v, w, alpha) if v.is_floating_point() else v for (k, v), w in pairs})
    torch.optim.swa_utils.update_bn([X], net)
    net.eval()


def _default_momentum(net: Any, a: Any, b: Any, alpha: float, X: Tensor) -> None:
    net.load_state_dict(_mix(a, b, alpha))
    net.train()(X)
    net.eval()


def _turned(net: Any, a: Any, b: Any, alpha: float, X: Tensor) -> None:
    net.load_state_dict(_mix(b, a, alpha))
    torch.optim.swa_utils.update_bn([X], net)
    net.eval()


def _lerps_integers(net: Any, a: Any, b: Any, alpha: float, X: Tensor) -> None:
    net.load_state_dict({k: torch.lerp(a[k], b[k], alpha) for k in a})


@torch.no_grad()
def _stays(model: Any, state_a: Any, state_b: Any, alphas: Any, loss_fn: Any, X: Tensor, y: Tensor) -> Tensor:
    a, losses = copy.deepcopy(state_a), []
    for alpha in alphas:
        model.load_state_dict(_mix(a, state_b, alpha))
        torch.optim.swa_utils.update_bn([X], model)
        losses.append(loss_fn(model.eval()(X), y))
    return torch.stack(losses)


@torch.no_grad()
def _live(model: Any, state_a: Any, state_b: Any, alphas: Any, loss_fn: Any, X: Tensor, y: Tensor) -> Tensor:
    before, mode, losses = copy.deepcopy(model.state_dict()), model.training, []
    for alpha in alphas:
        model.load_state_dict(_mix(state_a, state_b, alpha))
        torch.optim.swa_utils.update_bn([X], model)
        losses.append(loss_fn(model.eval()(X), y))
    model.load_state_dict(before)
    model.train(mode)
    return torch.stack(losses)


# --- landscape.sharpness --------------------------------------------------------------------------------------------


class _Sam(torch.optim.Optimizer):
    """The constructor that students are given."""

    def __init__(self, params: Any, base_optimizer: type, rho: float = 0.05, **options: Any) -> None:
        super().__init__(params, dict(rho=rho, **options))
        self.base_optimizer = base_optimizer(self.param_groups, **options)

    def each(self) -> list[tuple[dict[str, Any], Any]]:
        return [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]


class SamByMoves(_Sam):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:  # type: ignore[override]
        with torch.enable_grad():
            loss = closure()
        norm = torch.stack([p.grad.norm() for _, p in self.each()]).norm()
        moves = [(p, p.grad * (group["rho"] / (norm + 1e-12))) for group, p in self.each()]
        for p, e in moves:
            p.add_(e)
        with torch.enable_grad():
            closure()
        for p, e in moves:
            p.sub_(e)
        self.base_optimizer.step()
        return loss


class SamWithState(_Sam):
    """The old weights wait in the state; the base optimizer is handed nothing else."""

    def step(self, closure: Any) -> Any:  # type: ignore[override]
        loss = closure()
        with torch.no_grad():
            square = sum(p.grad.square().sum() for _, p in self.each())
            scale = 1 / (math.sqrt(float(square)) + 1e-12)
            for group, p in self.each():
                self.state[p]["old"] = p.detach().clone()
                p.add_(p.grad, alpha=group["rho"] * scale)
        closure()
        with torch.no_grad():
            for _, p in self.each():
                p.copy_(self.state[p].pop("old"))
        self.base_optimizer.step()
        return loss.item()


class SamWithFlatGradient(_Sam):
    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        closure = torch.enable_grad()(closure)
        loss = closure()
        pairs = self.each()
        flat = torch.cat([p.grad.flatten() for _, p in pairs])
        length = flat.norm().clamp_min(1e-12)
        old = [p.clone() for _, p in pairs]
        for group, p in pairs:
            p += group["rho"] * p.grad / length
        closure()
        torch._foreach_copy_([p for _, p in pairs], old)
        self.base_optimizer.step()
        return loss


class _OwnNorms(_Sam):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:  # type: ignore[override]
        with torch.enable_grad():
            loss = closure()
        moves = [(p, g["rho"] * p.grad / (p.grad.norm() + 1e-12)) for g, p in self.each()]
        self.go(moves, closure)
        return loss

    def go(self, moves: Any, closure: Any, back: bool = True, gradients: Any = None) -> None:
        for p, e in moves:
            p.add_(e)
        with torch.enable_grad():
            closure()
        for p, e in moves:
            if back:
                p.sub_(e)
        for p, g in gradients or ():
            p.grad = g
        self.base_optimizer.step()

    def moves(self) -> list[Any]:
        norm = torch.stack([p.grad.norm() for _, p in self.each()]).norm()
        return [(p, g["rho"] / (norm + 1e-12) * p.grad) for g, p in self.each()]


class _StaysUp(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        with torch.enable_grad():
            loss = closure()
        self.go(self.moves(), closure, back=False)
        return loss


class _OldGradient(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        with torch.enable_grad():
            loss = closure()
        old = [(p, p.grad.clone()) for _, p in self.each()]
        self.go(self.moves(), closure, gradients=old)
        return loss


class _NoNorm(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        with torch.enable_grad():
            loss = closure()
        self.go([(p, g["rho"] * p.grad) for g, p in self.each()], closure)
        return loss


class _Downhill(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        with torch.enable_grad():
            loss = closure()
        self.go([(p, -e) for p, e in self.moves()], closure)
        return loss


class _WithoutGraph(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        loss = closure()
        self.go(self.moves(), closure)
        return loss


class _ReturnsNothing(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        with torch.enable_grad():
            closure()
        self.go(self.moves(), closure)


class _ZeroByZero(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        with torch.enable_grad():
            loss = closure()
        norm = torch.stack([p.grad.norm() for _, p in self.each()]).norm()
        self.go([(p, g["rho"] * p.grad / norm) for g, p in self.each()], closure)
        return loss


class _AnotherNumber(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        with torch.enable_grad():
            loss = closure()
        norm = torch.stack([p.grad.norm() for _, p in self.each()]).norm() + 1e-8
        self.go([(p, g["rho"] * p.grad / norm) for g, p in self.each()], closure)
        return loss


class _PlainStep(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        with torch.enable_grad():
            loss = closure()
        moves = self.moves()
        for p, e in moves:
            p.add_(e)
        with torch.enable_grad():
            closure()
        for p, e in moves:
            p.sub_(e)
        for group, p in self.each():
            p.sub_(group["lr"] * p.grad)
        return loss


class _SamePlace(_OwnNorms):
    def step(self, closure: Any) -> Any:
        loss = closure()
        closure()
        self.base_optimizer.step()
        return loss


class _ConstructorsRho(_OwnNorms):
    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        with torch.enable_grad():
            loss = closure()
        norm = torch.stack([p.grad.norm() for _, p in self.each()]).norm()
        self.go([(p, self.defaults["rho"] / (norm + 1e-12) * p.grad) for _, p in self.each()], closure)
        return loss


# --- landscape.init -------------------------------------------------------------------------------------------------


@torch.no_grad()
def lecun_normal_(weight: Tensor, generator: torch.Generator) -> None:
    weight.normal_(0, (weight.size(1) * weight[0, 0].numel()) ** -0.5, generator=generator)


@torch.no_grad()
def xavier_normal_(weight: Tensor, generator: torch.Generator) -> None:
    field = weight[0, 0].numel()
    weight.normal_(0, (2 / ((weight.size(0) + weight.size(1)) * field)) ** 0.5, generator=generator)


def lecun_in_data(weight: Tensor, generator: torch.Generator) -> Tensor:
    fan_in = math.prod(weight.shape[1:])
    return weight.data.normal_(mean=0.0, std=1 / math.sqrt(fan_in), generator=generator)


def xavier_in_data(weight: Tensor, generator: torch.Generator) -> Tensor:
    fan_in, fan_out = math.prod(weight.shape[1:]), weight.shape[0] * math.prod(weight.shape[2:])
    weight.data.copy_(torch.empty_like(weight.data).normal_(generator=generator) * math.sqrt(2.0 / (fan_in + fan_out)))
    return weight


@torch.no_grad()
def lecun_copied(weight: Tensor, generator: torch.Generator) -> None:
    fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(weight)
    torch.nn.init.normal_(weight, 0.0, fan_in**-0.5, generator=generator)


@torch.no_grad()
def xavier_copied(weight: Tensor, generator: torch.Generator) -> None:
    fans = torch.nn.init._calculate_fan_in_and_fan_out(weight)
    torch.nn.init.normal_(weight, 0.0, (2 / sum(fans)) ** 0.5, generator=generator)


def _init(std: Callable[[float, float], float], only: str) -> Objects:
    @torch.no_grad()
    def fill(weight: Tensor, generator: torch.Generator) -> None:
        field = weight[0, 0].numel()
        weight.normal_(0, std(weight.size(1) * field, weight.size(0) * field), generator=generator)

    return (fill, xavier_normal_) if only == "lecun" else (lecun_normal_, fill)


@torch.no_grad()
def _lecun_global(weight: Tensor, generator: torch.Generator) -> None:
    weight.normal_(0, (weight.size(1) * weight[0, 0].numel()) ** -0.5)


@torch.no_grad()
def _xavier_global(weight: Tensor, generator: torch.Generator) -> None:
    field = weight[0, 0].numel()
    weight.normal_(0, (2 / ((weight.size(0) + weight.size(1)) * field)) ** 0.5)


@torch.no_grad()
def _lecun_no_field(weight: Tensor, generator: torch.Generator) -> None:
    weight.normal_(0, weight.size(1) ** -0.5, generator=generator)


@torch.no_grad()
def _xavier_no_field(weight: Tensor, generator: torch.Generator) -> None:
    weight.normal_(0, (2 / (weight.size(0) + weight.size(1))) ** 0.5, generator=generator)


@torch.no_grad()
def _lecun_rebound(weight: Tensor, generator: torch.Generator) -> None:
    weight = torch.randn(weight.shape, generator=generator) / weight.size(1) ** 0.5


@torch.no_grad()
def _xavier_rebound(weight: Tensor, generator: torch.Generator) -> None:
    weight = torch.randn(weight.shape, generator=generator)


ACCEPTED: dict[str, dict[str, Objects]] = {
    "landscape.hvp": {
        "differentiate g·v": (hvp_twice,),
        "v as grad_outputs": (hvp_grad_outputs,),
        "forward over reverse": (hvp_forward_over_reverse,),
        "reverse over forward": (hvp_reverse_over_forward,),
        "vjp of grad": (hvp_functional,),
    },
    "landscape.lanczos": {
        "a list of vectors": (lanczos_list,),
        "projected matrix": (lanczos_projected,),
        "modified Gram–Schmidt": (lanczos_gram_schmidt,),
    },
    "landscape.classify": {
        "counts": (classify_by_count,),
        "smallest and largest, a 0-dim index": (classify_by_extremes,),
        "a list of signs": (classify_by_signs,),
    },
    "landscape.goe": {
        "eigenvalues": (goe_eigenvalues,),
        "Cholesky, a 0-dim tensor": (goe_cholesky,),
        "the smallest eigenvalue": (goe_smallest,),
        "leading minors": (goe_minors,),
        "a mean in float32": (goe_float_mean,),
        "a count divided": (goe_divided,),
    },
    "landscape.filter_normalize": {
        "flattened norms": (normalize_flat,),
        "filter by filter": (normalize_filters,),
        "a small number in the divisor": (normalize_small_number,),
    },
    "landscape.surface": {
        "vmap in chunks": (surface_vmap,),
        "split by hand": (surface_split,),
        "fills a grid": (surface_indices,),
    },
    "landscape.interpolate": {
        "on a copy": (interpolate_copy,),
        "with update_bn": (interpolate_update_bn,),
        "in the model itself": (interpolate_in_the_model,),
        "with hooks": (interpolate_functional,),
    },
    "landscape.sharpness": {
        "four moves": (SamByMoves,),
        "old weights in the state": (SamWithState,),
        "one flat gradient": (SamWithFlatGradient,),
    },
    "landscape.init": {
        "no_grad": (lecun_normal_, xavier_normal_),
        "data": (lecun_in_data, xavier_in_data),
        "torch's fans": (lecun_copied, xavier_copied),
    },
}

MUTANTS: Mutants = {
    "landscape.hvp": (
        ("L11", "retain_graph", (_no_graph,)),
        ("L20", "no zeros", (_allow_nothing,)),
        ("L10", "one tensor at a time", (_block_by_block,)),
        ("L12", "g (g·v)", (_fisher,)),
        ("L16", "difference", (_forward_difference,)),
        ("L17", "jacrev of grad", (_forms_h,)),
        ("L18", "requires_grad_ on the caller's", (_backward_then_grad,)),
        ("L16", "central difference, 1e-5", (_difference(1e-5, 2),)),
        ("L16", "forward difference, 1e-8", (_difference(1e-8, 1),)),
        ("L20", "grad_outputs", (_through_grad_outputs,)),
        ("L13", "sum of the gradient", (_sum_of_gradients,)),
        ("L101", "params as given", (_params_as_given,)),
        ("L15", "the gradient", (lambda f, params, v: torch.func.grad(f)([p.detach() for p in params]),)),
    ),
    "landscape.lanczos": (
        ("L21", "textbook", (_textbook,)),
        ("L24", "the smallest", (_lanczos_then(lambda e, k: e.flip(0)[:k]),)),
        ("L25", "ascending", (_lanczos_then(lambda e, k: e[:k].flip(0)),)),
        ("L26", "from ones", (_from_ones,)),
        ("L29", "k steps", (_few_steps,)),
        ("L104", "dim steps", (_all_steps,)),
        ("L107", "no break", (_goes_on,)),
        ("L107", "no end", (_ends_when(lambda beta: False),)),
        ("L107", "β == 0", (_ends_when(lambda beta: beta == 0),)),
        ("L107", "a new vector", (_ends_when(lambda beta: beta < 1e-8, again=True),)),
        ("L109", "one pass", (_one_pass,)),
        ("L108", "1e-10", (_ends_when(lambda beta: beta < 1e-10),)),
        ("L32", "every column", (_every_column,)),
    ),
    "landscape.classify": (
        ("L33", "trace", (_by_trace,)),
        ("L34", "determinant", (_by_determinant,)),
        ("L35", "tol = 0", (_without_tol,)),
        ("L37", "positives", (_index_of_positives,)),
        ("L39", "zeros first", (_zeros_first,)),
        ("L41", "names", (_upside_down,)),
    ),
    "landscape.goe": (
        ("L44", "not symmetrised", (_not_symmetrised,)),
        ("L45", "diagonal", (_goe(lambda M: (M.diagonal(dim1=-2, dim2=-1) > 0).all(1)),)),
        ("L46", "determinant", (_goe(lambda M: torch.linalg.det(M) > 0),)),
        ("L48", "maxima", (_goe(lambda M: (torch.linalg.eigvalsh(M) < 0).all(1)),)),
        ("L50", "eigenvalues", (_goe(lambda M: torch.linalg.eigvalsh(M) > 0),)),
        ("L27", "global", (_goe_global,)),
        ("L114", "all() of all", (lambda n, samples, generator: 0.0,)),
        ("L51", "any() of all", (lambda n, samples, generator: 1.0,)),
        ("L115", "a loop", (_goe_in_a_loop,)),
        ("L115", "float32", (_goe_single,)),
    ),
    "landscape.filter_normalize": (
        ("L1", "as it is", (_normalize(lambda d, w: d.clone()),)),
        ("L2", "by layer", (_normalize(lambda d, w: d * (w.norm() / d.norm())),)),
        ("L3", "biases kept", (_normalize(lambda d, w: _rows(d, w, _later(d)), lambda d, w: d.clone()),)),
        ("L54", "inverted", (_normalize(lambda d, w: _rows(d, w, _later(d), -1.0)),)),
        ("L55", "columns", (_normalize(lambda d, w: _rows(d, w, (0, *range(2, d.dim())))),)),
        ("L59", "squared", (_normalize(lambda d, w: _rows(d, w, _later(d), 2.0)),)),
        ("L61", "0/0", (_normalize_nan,)),
        ("L62", "in place", (_normalize_in_place,)),
    ),
    "landscape.surface": (
        ("L63", "double loop", (_surface(_double_loop),)),
        ("L9", "next in the loop", (_surface(_new_batches),)),
        ("L6", "w +=", (_surface(_wanders),)),
        ("L64", "all points", (_surface(_all_points),)),
        ("L64", "twice chunk_size", (_chunks_of(lambda size: 2 * size),)),
        ("L64", "64", (_chunks_of(lambda size: 64),)),
        ("L111", "half of chunk_size", (_chunks_of(lambda size: max(1, size // 2)),)),
        ("L65", "vmap over a row", (_surface(_vmap_of_vmap),)),
        ("L66", "d2, d1", (_surface(_other_order),)),
        ("L66", "meshgrid xy", (_surface(_meshgrid_xy),)),
        ("L67", "around zero", (_surface(_no_w),)),
        ("L106", ".tolist()", (_surface(_through_a_list),)),
    ),
    "landscape.interpolate": (
        ("L4", "statistics of a", (_interpolate(_keeps_stats),)),
        ("L70", "mixed statistics", (_interpolate(_mixes_stats),)),
        ("L71", "train()", (_interpolate(_trains),)),
        ("L72", "momentum 0.1", (_interpolate(_default_momentum),)),
        ("L110", "no reset", (_interpolate(_never_reset),)),
        ("L78", "parameters only", (_interpolate(_parameters_only),)),
        ("L73", "values in turn", (_interpolate(_values_in_turn),)),
        ("L74", "b to a", (_interpolate(_turned),)),
        ("L5", "lerp of integers", (_interpolate(_lerps_integers),)),
        ("L77", "the model stays", (_stays,)),
        ("L76", "live state", (_live,)),
    ),
    "landscape.sharpness": (
        ("L79", "own norms", (_OwnNorms,)),
        ("L80", "stays up", (_StaysUp,)),
        ("L81", "old gradient", (_OldGradient,)),
        ("L82", "no norm", (_NoNorm,)),
        ("L84", "downhill", (_Downhill,)),
        ("L90", "no graph", (_WithoutGraph,)),
        ("L91", "returns None", (_ReturnsNothing,)),
        ("L89", "0/0", (_ZeroByZero,)),
        ("L117", "1e-8", (_AnotherNumber,)),
        ("L103", "p -= lr * grad", (_PlainStep,)),
        ("L105", "twice at the same place", (_SamePlace,)),
        ("L87", "constructor's rho", (_ConstructorsRho,)),
    ),
    "landscape.init": (
        ("L93", "1 / fan_in", _init(lambda i, o: 1 / i, "lecun")),
        ("L94", "fan_out", _init(lambda i, o: o**-0.5, "lecun")),
        ("L95", "He", _init(lambda i, o: (2 / i) ** 0.5, "lecun")),
        ("L96", "1 / fan_in for Xavier", _init(lambda i, o: i**-0.5, "xavier")),
        ("L95", "2 / fan_in for Xavier", _init(lambda i, o: (2 / i) ** 0.5, "xavier")),
        ("L112", "1 / (fan_in + fan_out)", _init(lambda i, o: (i + o) ** -0.5, "xavier")),
        ("L97", "6", _init(lambda i, o: (6 / (i + o)) ** 0.5, "xavier")),
        ("L27", "global", (_lecun_global, _xavier_global)),
        ("L98", "no kernel", (_lecun_no_field, _xavier_no_field)),
        ("L100", "rebound", (_lecun_rebound, _xavier_rebound)),
    ),
}
