"""Curvature of a loss: right ways to compute it and wrong ones (rows L10–L53).

Equation numbers are those of the notebook `07_loss_landscapes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from autograder.misconceptions import Row

Tensor = torch.Tensor
Faults = Mapping[str, Any]
Loss = Callable[[Sequence[Tensor]], Tensor]

# --- Hessian-vector products ----------------------------------------------------------------------------------------


def hvp_with_torch(loss_fn: Loss, params: Sequence[Tensor], v: Sequence[Tensor]) -> list[Tensor]:
    """The reference: torch.autograd.functional.hvp."""
    plain = tuple(p.detach() for p in params)
    _, product = torch.autograd.functional.hvp(lambda *own: loss_fn(own), plain, tuple(v))
    return list(product)


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()


def hvp_function(faults: Faults) -> tuple[Callable[..., Any]]:
    """`hvp` with faults: product, graph, leaves, unused."""

    def hvp(loss_fn: Loss, params: Sequence[Tensor], v: Sequence[Tensor]) -> list[Tensor]:
        how = faults.get("product", "exact")
        if faults.get("leaves") == "as given":
            leaves = list(params)
        elif faults.get("leaves") == "the caller's":
            leaves = [p.requires_grad_() for p in params]
        else:
            leaves = [p.detach().clone().requires_grad_() for p in params]
        if how == "difference":
            return _difference(loss_fn, leaves, v, faults["eps"], faults.get("sides", 1))
        if how == "grad_outputs":
            return _as_outputs(loss_fn, leaves, v)
        if how in ("whole", "whole at once"):
            return (_whole if how == "whole" else _whole_at_once)(loss_fn, leaves, v)
        loss = loss_fn(leaves)
        if faults.get("graph") == "written":
            for p, own in zip(params, torch.autograd.grad(loss, leaves, retain_graph=True), strict=True):
                p.grad = own
        keep = faults.get("graph") != "not kept"
        g: Sequence[Tensor] = torch.autograd.grad(
            loss, leaves, create_graph=keep, retain_graph=True, materialize_grads=True
        )
        if how == "gradient":
            return [one.detach() for one in g]
        if how == "outer":
            return [one.detach() * _dot(g, v).detach() for one in g]
        if how == "ones":
            v = [torch.ones_like(one) for one in v]
        if how == "unit":
            length = _dot(v, v).sqrt()
            v = [one / length for one in v]
        return _second(g, leaves, v, how, faults.get("unused") != "raises")

    return (hvp,)


def _second(g: Sequence[Tensor], leaves: Sequence[Tensor], v: Sequence[Tensor], how: str, zeros: bool) -> list[Tensor]:
    """The gradient of g·v; "blocks": for each parameter its own share of g·v alone."""
    if how == "blocks":
        parts = []
        for one, p, direction in zip(g, leaves, v, strict=True):
            share = (one * direction).sum()
            has = share.requires_grad
            parts.append(
                torch.autograd.grad(share, p, retain_graph=True, materialize_grads=True)[0]
                if has
                else torch.zeros_like(p)
            )
        return parts
    return list(torch.autograd.grad(_dot(g, v), leaves, materialize_grads=zeros))


def _as_outputs(loss_fn: Loss, leaves: Sequence[Tensor], v: Sequence[Tensor]) -> list[Tensor]:
    """The product by grad_outputs, which refuses a gradient that is constant."""
    g = torch.autograd.grad(loss_fn(leaves), leaves, create_graph=True, materialize_grads=True)
    return list(torch.autograd.grad(g, leaves, grad_outputs=v, materialize_grads=True))


def _difference(loss_fn: Loss, leaves: Sequence[Tensor], v: Sequence[Tensor], eps: float, sides: int) -> list[Tensor]:
    def gradient(step: float) -> Sequence[Tensor]:
        at = [(p.detach() + step * one).requires_grad_() for p, one in zip(leaves, v, strict=True)]
        return torch.autograd.grad(loss_fn(at), at, materialize_grads=True)

    ahead, behind = gradient(eps), gradient(-eps if sides == 2 else 0.0)
    return [(a - b) / (sides * eps) for a, b in zip(ahead, behind, strict=True)]


def _whole(loss_fn: Loss, leaves: Sequence[Tensor], v: Sequence[Tensor]) -> list[Tensor]:
    """Row by row: right, and as dear as it has parameters."""
    g = torch.autograd.grad(loss_fn(leaves), leaves, create_graph=True, materialize_grads=True)
    flat = torch.cat([one.reshape(-1) for one in g])
    rows = []
    for one in flat:
        if not one.requires_grad:
            rows.append(torch.zeros_like(flat))
            continue
        row = torch.autograd.grad(one, leaves, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in row]))
    product = torch.stack(rows) @ torch.cat([one.reshape(-1) for one in v])
    parts = product.split([p.numel() for p in leaves])
    return [part.reshape(p.shape) for part, p in zip(parts, leaves, strict=True)]


def _whole_at_once(loss_fn: Loss, leaves: Sequence[Tensor], v: Sequence[Tensor]) -> list[Tensor]:
    """All rows in one batched backward pass, as torch.func.hessian does: few launches, much memory."""
    plain = [p.detach() for p in leaves]
    sizes = [p.numel() for p in plain]

    def gradient(x: Tensor) -> Tensor:
        parts = [part.reshape(p.shape) for part, p in zip(x.split(sizes), plain, strict=True)]
        found: Tensor = torch.cat([one.reshape(-1) for one in torch.func.grad(loss_fn)(parts)])
        return found

    H = torch.func.jacrev(gradient)(torch.cat([p.reshape(-1) for p in plain]))
    product = H @ torch.cat([one.reshape(-1) for one in v])
    return [part.reshape(p.shape) for part, p in zip(product.split(sizes), plain, strict=True)]


_7_1, _7_2 = "equation (7.1)", "equation (7.2)"

HVP_ROWS: dict[str, Row] = {
    "L10": Row(
        "each parameter with itself only",
        "Every tensor's own share of g·v is differentiated by that tensor alone. What moving one tensor does to the "
        "gradient of another is lost: H is taken for block-diagonal. Add up g·v over all tensors first, then "
        "differentiate once.",
        _7_2,
        {"product": "blocks"},
        coincides="for a single parameter tensor",
    ),
    "L11": Row(
        "the graph of the gradient is not kept",
        "The gradient came without a graph, so it cannot be differentiated once more. Ask for it with "
        "create_graph=True (retain_graph alone keeps the first graph, and makes none of the gradient).",
        _7_2,
        {"graph": "not kept"},
    ),
    "L12": Row(
        "the outer product of the gradient in place of H",
        "g·(gᵀv) is the gradient times a number. That is one example's share of the empirical Fisher matrix, "
        "related to Gauss–Newton: it has first derivatives only, and rank one.",
        _7_1,
        {"product": "outer"},
    ),
    "L13": Row(
        "the sum of the gradient is differentiated",
        "Without v you get H times a vector of ones. Multiply the gradient by v before you sum.",
        _7_2,
        {"product": "ones"},
    ),
    "L14": Row(
        "v is brought to length 1",
        "H·v is linear in v: twice the v, twice the product. Only Lanczos, later, wants vectors of length 1.",
        _7_2,
        {"product": "unit"},
    ),
    "L15": Row(
        "the gradient is returned",
        "That is the first derivative. H·v is the derivative of g·v.",
        _7_2,
        {"product": "gradient"},
    ),
    "L16": Row(
        "a difference of two gradients",
        "(g(w + εv) − g(w))/ε is near H·v, and no nearer than its step allows: the error grows with a large ε, and "
        "rounding with a small one. Differentiate g·v instead; it costs the same two passes and is exact.",
        _7_2,
        {"product": "difference", "eps": 1e-3},
        also=tuple(
            {"product": "difference", "eps": eps, "sides": sides} for sides in (1, 2) for eps in (1e-2, 1e-5, 1e-8)
        ),
        by_rules=True,
    ),
    "L17": Row(
        "the whole Hessian is formed",
        "The numbers are right. But every row of H costs a backward pass or its memory, and a network has as many "
        "rows as weights. Differentiate g·v: two passes, whatever the number of weights.",
        _7_2,
        {"product": "whole"},
        also=({"product": "whole at once"},),
        coincides="in the values",
        by_rules=True,
    ),
    "L18": Row(
        "the caller's parameters are switched on",
        "`p.requires_grad_()` changes the tensor that you were given. Make leaves of your own: "
        "`p.detach().requires_grad_()`.",
        "the docstring: params stay as they are",
        {"leaves": "the caller's"},
        coincides="when the parameters require gradients anyway",
    ),
    "L101": Row(
        "params are used as they are given",
        "They need not require gradients, and then autograd has nothing to differentiate by. Make leaves of your "
        "own: `p.detach().requires_grad_()`.",
        "the docstring: leaves of your own",
        {"leaves": "as given"},
        coincides="when the parameters require gradients anyway",
    ),
    "L19": Row(
        "the gradient is left in .grad",
        "`loss.backward()` writes into the parameters' .grad, where the next training step finds it. "
        "torch.autograd.grad returns gradients and writes nothing.",
        "the docstring: params stay as they are",
        {"graph": "written"},
    ),
    "L20": Row(
        "no zeros where the loss is linear",
        "A weight in which the loss is linear has a constant gradient: nothing of g·v depends on it, and "
        "torch.autograd.grad raises. Its part of H·v is 0: pass materialize_grads=True (or allow_unused=True, and "
        "put zeros for None). With grad_outputs=v a constant gradient is refused all the same: sum Σ g·v into one number "
        "first.",
        "the docstring: zeros",
        {"unused": "raises"},
        also=({"product": "grad_outputs"},),
        coincides="when every parameter bends the loss",
    ),
}

# --- Lanczos --------------------------------------------------------------------------------------------------------


def eigenvalues_of_the_matrix(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
    """The reference: the whole matrix, in a basis that begins with the start, and torch.linalg.eigvalsh."""
    start = torch.randn(dim, dtype=torch.float64, generator=generator)
    Q, _ = torch.linalg.qr(torch.cat([start[:, None], torch.eye(dim, dtype=torch.float64)], dim=1))
    H = torch.stack([matvec(q) for q in Q.T]) @ Q
    return _largest(H, k)


def _largest(H: Tensor, k: int) -> Tensor:
    top: Tensor = torch.linalg.eigvalsh((H + H.T) / 2).flip(0)[:k]
    return top


def lanczos_function(faults: Faults) -> tuple[Callable[..., Any]]:
    """`top_eigenvalues` with faults: start, reorth, order, steps, T, whole."""

    def top_eigenvalues(matvec: Any, dim: int, k: int, steps: int, generator: torch.Generator) -> Tensor:
        count = {"k": k, "half": max(k, steps // 2), "ten": max(k, 10), "dim": dim}.get(
            faults.get("steps", "given"), steps
        )
        if faults.get("whole"):
            H = torch.stack([matvec(e) for e in torch.eye(dim, dtype=torch.float64)])
            return _largest(H, k)
        q = _start(faults.get("start", "random"), dim, generator)
        alphas, betas = _lanczos(matvec, q, count if faults.get("stop") == "never" else min(count, dim), faults)
        T = torch.diag(torch.stack(alphas))
        kind = faults.get("T", "right")
        for j, beta in enumerate(betas[: len(alphas) - 1]):
            off = {"diagonal": 0.0 * beta, "squared": beta**2}.get(kind, beta)
            T[j, j + 1] = T[j + 1, j] = off
        ritz = torch.linalg.eigvalsh(T)
        order = faults.get("order", "largest")
        if order == "magnitude":
            ritz = ritz[ritz.abs().argsort()]
        chosen: Tensor = ritz[:k] if order == "smallest" else ritz[-k:] if order == "ascending" else ritz.flip(0)[:k]
        return chosen

    return (top_eigenvalues,)


def _start(how: str, dim: int, generator: torch.Generator) -> Tensor:
    if how == "ones":
        q = torch.ones(dim, dtype=torch.float64)
    elif how == "e1":
        q = torch.eye(dim, dtype=torch.float64)[0]
    elif how == "global":
        q = torch.randn(dim, dtype=torch.float64)
    else:
        q = torch.randn(dim, dtype=torch.float64, generator=generator)
    return q if how == "long" else q / q.norm()


def _lanczos(matvec: Any, q: Tensor, steps: int, faults: Faults) -> tuple[list[Tensor], list[Tensor]]:
    """The diagonal and the off-diagonal of T."""
    basis, alphas = [q], []
    betas: list[Tensor] = []
    for j in range(steps):
        u = matvec(basis[j])
        alphas.append(basis[j] @ u)
        if faults.get("reorth") == "none":
            u = u - alphas[j] * basis[j] - (betas[j - 1] * basis[j - 1] if j else 0.0)
        elif faults.get("reorth") == "last only":
            u = u - alphas[j] * basis[j]
        else:
            Q = torch.stack(basis)
            for _ in range(1 if faults.get("reorth") == "once" else 2):
                u = u - Q.T @ (Q @ u)
        betas.append(u.norm())
        if not _ends(float(betas[j]), alphas, faults.get("stop", "relative")):
            basis.append(u / betas[j])
        elif faults.get("stop") == "restart":
            basis.append(_restarted(basis))
        else:
            break
    return alphas, betas


def _ends(beta: float, alphas: Sequence[Tensor], how: str) -> bool:
    """Is β zero up to rounding?"""
    if how in ("never", "removed"):
        return False
    if how == "exactly zero":
        return beta == 0.0
    return beta < 1e-10 * (1.0 if how == "absolute" else max(1.0, max(float(a.abs()) for a in alphas)))


def _restarted(basis: Sequence[Tensor]) -> Tensor:
    """A new direction at right angles to all earlier ones."""
    own = torch.Generator().manual_seed(len(basis))
    Q, q = torch.stack(list(basis)), torch.randn(len(basis[0]), dtype=torch.float64, generator=own)
    for _ in range(2):
        q = q - Q.T @ (Q @ q)
    unit: Tensor = q / q.norm()
    return unit


_7_3, _7_4 = "equation (7.3)", "equation (7.4)"

LANCZOS_ROWS: dict[str, Row] = {
    "L21": Row(
        "no reorthogonalisation: ghosts",
        "Only the last two vectors are subtracted. In exact arithmetic that is enough; in floating point the "
        "vectors lose their right angles as soon as an eigenvalue has converged, and it comes back as a copy, a "
        "ghost, in place of the next one.",
        _7_3,
        {"reorth": "none"},
        coincides="for few steps",
    ),
    "L22": Row(
        "only the newest vector is subtracted",
        "u has parts along all earlier vectors: without q_{j−1} the matrix T of (7.4) is not tridiagonal any more.",
        _7_3,
        {"reorth": "last only"},
    ),
    "L23": Row(
        "sorted by magnitude",
        "−20 is smaller than 3. Asked for are the algebraically largest eigenvalues: the signs decide between a "
        "bowl and a saddle.",
        "the docstring: algebraically largest",
        {"order": "magnitude"},
        coincides="when no eigenvalue is negative",
    ),
    "L24": Row(
        "the smallest eigenvalues",
        "torch.linalg.eigvalsh sorts upwards: the largest ones are at its end.",
        "the docstring: algebraically largest",
        {"order": "smallest"},
    ),
    "L25": Row(
        "in ascending order",
        "The values are right; the largest one comes first.",
        "the docstring: largest first",
        {"order": "ascending"},
    ),
    "L26": Row(
        "the start vector is not random",
        "A fixed vector can stand at a right angle to an eigenvector, and then Lanczos never sees that eigenvalue. "
        "A random one has a part along every eigenvector, with probability one.",
        _7_3,
        {"start": "ones"},
        also=({"start": "e1"},),
        by_rules=True,
    ),
    "L27": Row(
        "torch's global random numbers are used",
        "Draw the start vector with generator=generator: then the same seed gives the same result, whatever ran before.",
        "the docstring: generator",
        {"start": "global"},
        coincides="in the values",
        by_rules=True,
    ),
    "L28": Row(
        "the start vector is not of length 1",
        "α₁ = q₁·Hq₁ is the curvature along q₁ for a vector of length 1 only. Divide the start by its norm.",
        _7_3,
        {"start": "long"},
    ),
    "L29": Row(
        "too few steps",
        "The number of steps decides how far the values have converged: k steps are too few for k eigenvalues. Take "
        "`steps` of them.",
        _7_3,
        {"steps": "k"},
        also=({"steps": "half"}, {"steps": "ten"}),
    ),
    "L104": Row(
        "as many steps as dimensions",
        "`steps` is what the caller can pay for. A network has millions of dimensions, and its outer eigenvalues come "
        "out in a few dozen steps.",
        "the docstring: at most min(steps, dim)",
        {"steps": "dim"},
        coincides="in the values",
        by_rules=True,
    ),
    "L107": Row(
        "no early end",
        "When β is zero up to rounding, the vectors span all that the start can reach: further products find nothing "
        "new, and 0/0 is nan. Leave the loop; β == 0 is hardly ever met, and a new start is not asked for.",
        "the docstring: ends early",
        {"stop": "never"},
        also=({"stop": "removed"}, {"stop": "exactly zero"}, {"stop": "restart"}),
        coincides="when there are more dimensions, and more different eigenvalues, than steps",
        by_rules=True,
    ),
    "L30": Row(
        "the off-diagonal of T is missing",
        "Without the β's the values are the curvatures along the single vectors q.",
        _7_4,
        {"T": "diagonal"},
    ),
    "L31": Row(
        "β² beside the diagonal",
        "β is the norm of u, not its square.",
        _7_4,
        {"T": "squared"},
    ),
    "L32": Row(
        "the whole matrix is formed",
        "One product per column gives all of H: as many products as dimensions, and a matrix that would not fit for "
        "a real network. Lanczos takes `steps` products.",
        _7_3,
        {"whole": True},
        by_rules=True,
    ),
}

LANCZOS_ROWS |= {
    "L108": Row(
        "an absolute bound for β",
        "With eigenvalues near 10⁷ the rounding error of one product is above 10⁻¹⁰, and the loop never ends early. "
        "Compare β with 1e-10 times the largest of 1 and the |α|'s.",
        "the docstring: ends early",
        {"stop": "absolute"},
        coincides="when the eigenvalues are not large",
        by_rules=True,
    ),
    "L109": Row(
        "one pass in place of two",
        "What lies along earlier vectors is taken out once: the pass leaves a rounding error behind, which the division "
        "by a small β blows up. Do it twice.",
        _7_3,
        {"reorth": "once"},
        coincides="when no β is small",
        by_rules=True,
    ),
}

# --- critical points ------------------------------------------------------------------------------------------------


def classify_function(faults: Faults) -> tuple[Callable[..., Any]]:
    """`classify` with faults: test, tol, index, order, names."""

    def classify(H: Tensor, tol: float) -> tuple[str, int]:
        eigenvalues = torch.linalg.eigvalsh(H)
        if faults.get("test") == "diagonal":
            eigenvalues = H.diagonal()
        if faults.get("test") == "magnitude":
            eigenvalues = torch.linalg.svdvals(H)
        edge = 0.0 if faults.get("tol") == "ignored" else tol
        plus, minus = (eigenvalues > edge), (eigenvalues < -edge)
        if faults.get("tol") == "strict":
            plus, minus = (eigenvalues >= edge), (eigenvalues <= -edge)
        index = int({"positives": plus, "with zeros": ~plus}.get(faults.get("index", "negatives"), minus).sum())
        return _kind(H, eigenvalues, plus, minus, edge, faults), index

    return (classify,)


def _kind(H: Tensor, eigenvalues: Tensor, plus: Tensor, minus: Tensor, edge: float, faults: Faults) -> str:
    if faults.get("test") == "trace":
        trace = float(H.diagonal().sum())
        return "minimum" if trace > edge else "maximum" if trace < -edge else "degenerate"
    if faults.get("test") == "determinant":
        det = float(eigenvalues.prod())
        if abs(det) <= edge:
            return "degenerate"
        return "saddle" if det < 0 else "minimum" if float(H[0, 0]) > 0 else "maximum"
    zeros = ~(plus | minus)
    first, last = ("maximum", "minimum") if faults.get("names") == "swapped" else ("minimum", "maximum")
    if faults.get("order") == "zeros first" and bool(zeros.any()):
        return "degenerate"
    if bool(plus.any()) and bool(minus.any()):
        return "saddle"
    if bool(zeros.any()) and faults.get("order") != "zeros ignored":
        return "degenerate"
    return last if bool(minus.any()) else first


_7_5 = "equation (7.5)"

CLASSIFY_ROWS: dict[str, Row] = {
    "L33": Row(
        "the trace decides",
        "The trace is the sum of the eigenvalues: 3 − 1 is positive, and the point is a saddle all the same.",
        _7_5,
        {"test": "trace"},
    ),
    "L34": Row(
        "the determinant decides",
        "The determinant is the product of the eigenvalues: two negative ones make it positive. Its sign, with H[0, "
        "0], is enough in two dimensions only.",
        _7_5,
        {"test": "determinant"},
        coincides="in two dimensions",
    ),
    "L35": Row(
        "tol is ignored",
        "Rounding turns an eigenvalue 0 into ±10⁻¹⁷. What is at most tol in size counts as zero.",
        "the docstring: tol",
        {"tol": "ignored"},
        coincides="when no eigenvalue is near zero",
    ),
    "L36": Row(
        "an eigenvalue of exactly ±tol counts as curvature",
        "At most tol counts as zero, tol included: compare with > and <.",
        "the docstring: tol",
        {"tol": "strict"},
        coincides="when no eigenvalue is exactly ±tol",
    ),
    "L37": Row(
        "the index counts the positive eigenvalues",
        "The index is the number of directions that lead down: of the negative eigenvalues.",
        "the docstring: index",
        {"index": "positives"},
    ),
    "L38": Row(
        "the index counts the zeros as well",
        "Along a zero eigenvalue the quadratic neither falls nor rises. Count the eigenvalues below −tol.",
        "the docstring: index",
        {"index": "with zeros"},
        coincides="when no eigenvalue is near zero",
    ),
    "L39": Row(
        "any zero makes it degenerate",
        "One way up and one way down make a saddle, whatever the other directions do. Look for both signs first.",
        "the docstring: degenerate",
        {"order": "zeros first"},
    ),
    "L40": Row(
        "zeros are passed over",
        "Along a zero eigenvalue the quadratic says nothing: without both signs, such a point is degenerate.",
        "the docstring: degenerate",
        {"order": "zeros ignored"},
        coincides="when no eigenvalue is near zero",
    ),
    "L41": Row(
        "minimum and maximum are swapped",
        "Where all eigenvalues are positive the loss rises in every direction: a minimum.",
        _7_5,
        {"names": "swapped"},
    ),
    "L42": Row(
        "the diagonal of H is taken for its eigenvalues",
        "H[i, i] is the curvature along weight i. A saddle can have a positive diagonal: [[1, 2], [2, 1]] has "
        "eigenvalues 3 and −1.",
        _7_5,
        {"test": "diagonal"},
        coincides="for diagonal matrices",
    ),
    "L43": Row(
        "singular values",
        "torch.linalg.svdvals and the roots of the eigenvalues' squares have lost the sign, and the sign is what you want.",
        _7_5,
        {"test": "magnitude"},
        coincides="when no eigenvalue is negative",
    ),
}

# --- random symmetric matrices --------------------------------------------------------------------------------------


def goe_function(faults: Faults) -> tuple[Callable[..., Any]]:
    """`probability_minimum` with faults: symmetric, test, share, drawn."""

    def probability_minimum(n: int, samples: int, generator: torch.Generator) -> float:
        source = None if faults.get("drawn") == "global" else generator
        draw = torch.rand if faults.get("drawn") == "uniform" else torch.randn
        if faults.get("drawn") == "one by one":
            A = torch.stack([draw(n, n, dtype=torch.float64, generator=source) for _ in range(samples)])
        elif faults.get("drawn") == "float32":
            A = draw(samples, n, n, generator=source).double()
        else:
            A = draw(samples, n, n, dtype=torch.float64, generator=source)
        M = _symmetric(A, faults.get("symmetric", "mean"))
        test = faults.get("test", "all")
        if test == "diagonal":
            found = (M.diagonal(dim1=1, dim2=2) > 0).all(1)
        elif test == "determinant":
            found = torch.linalg.det(M) > 0
        elif test == "trace":
            found = M.diagonal(dim1=1, dim2=2).sum(1) > 0
        elif test == "maximum":
            found = (torch.linalg.eigvalsh(M) < 0).all(1)
        elif test == "largest":
            found = torch.linalg.eigvalsh(M)[:, -1] > 0
        elif test == "at once":
            return float((torch.linalg.eigvalsh(M) > 0).all())
        elif test == "each":
            return float((torch.linalg.eigvalsh(M) > 0).double().mean())
        else:
            found = (torch.linalg.eigvalsh(M) > 0).all(1)
        return float(found.sum()) if faults.get("share") == "count" else float(found.double().mean())

    return (probability_minimum,)


def _symmetric(A: Tensor, how: str) -> Tensor:
    if how == "upper":
        return A.triu() + A.triu(1).transpose(1, 2)
    if how == "lower":
        return A.tril() + A.tril(-1).transpose(1, 2)
    if how == "gram":
        return A @ A.transpose(1, 2)
    return (A + A.transpose(1, 2)) / 2


_7_7 = "equation (7.7)"

GOE_ROWS: dict[str, Row] = {
    "L44": Row(
        "one triangle is mirrored",
        "Then the entries beside the diagonal vary as much as those on it. In (A + Aᵀ)/2 they vary half as much: "
        "0.146 against 0.116 at n = 2. (torch.linalg.eigvalsh(A) reads the lower triangle only: without "
        "symmetrising, this is what you get.)",
        _7_7,
        {"symmetric": "lower"},
        also=({"symmetric": "upper"},),
        coincides="for n = 1",
    ),
    "L45": Row(
        "a positive diagonal is taken for a minimum",
        "H[i, i] > 0 for all i says that the loss rises along every weight. Between them it can still fall.",
        _7_5,
        {"test": "diagonal"},
        coincides="for n = 1",
    ),
    "L46": Row(
        "a positive determinant is taken for a minimum",
        "The product of the eigenvalues is positive for two negative ones, too.",
        _7_5,
        {"test": "determinant"},
        coincides="for n = 1",
    ),
    "L47": Row(
        "a positive trace is taken for a minimum",
        "The sum of the eigenvalues is positive for every second matrix, whatever n is.",
        _7_5,
        {"test": "trace"},
        coincides="for n = 1",
    ),
    "L48": Row(
        "maxima are counted",
        "As likely as minima, by symmetry, and not the same matrices: all eigenvalues above 0 are asked for.",
        _7_5,
        {"test": "maximum"},
    ),
    "L49": Row(
        "one positive eigenvalue is enough",
        "A minimum needs all of them: look at the smallest.",
        _7_5,
        {"test": "largest"},
        coincides="for n = 1",
    ),
    "L50": Row(
        "the share of positive eigenvalues",
        "Half of all eigenvalues are positive, for every n. Asked for is the share of matrices whose eigenvalues "
        "all are: `.all(dim=-1)` before the mean.",
        _7_5,
        {"test": "each"},
        coincides="for n = 1",
    ),
    "L51": Row(
        "every matrix counts as a minimum",
        "A Aᵀ has no negative eigenvalue at all: Gauss–Newton's matrix is of that kind, the Hessian is not. (Or is there "
        "one .any() over all matrices? It is always true.) Symmetrise by (7.7), and decide for each matrix by itself.",
        _7_7,
        {"symmetric": "gram"},
    ),
    "L52": Row(
        "a count in place of a share",
        "Divide by the number of samples.",
        "the docstring: a float between 0 and 1",
        {"share": "count"},
    ),
    "L53": Row(
        "numbers between 0 and 1 in place of normal ones",
        "torch.rand is uniform and never negative. torch.randn draws from the normal distribution.",
        _7_7,
        {"drawn": "uniform"},
    ),
    "L27": Row(
        "torch's global random numbers are used",
        "Draw with generator=generator: then the same seed gives the same number, whatever ran before.",
        "the docstring: generator",
        {"drawn": "global"},
    ),
    "L114": Row(
        "no matrix counts as a minimum",
        "The share is 0 for every n. One .all() over all matrices does that, since among many matrices a negative "
        "eigenvalue is always found; `.all(dim=-1)` decides for each matrix by itself.",
        "the docstring: the share of the matrices",
        {"test": "at once"},
    ),
    "L115": Row(
        "other random numbers",
        "The share is a fair estimate, of other matrices. Draw A in one call, in float64: torch.randn(samples, n, n, "
        "dtype=torch.float64, generator=generator).",
        "the docstring: generator",
        {"drawn": "one by one"},
        also=({"drawn": "float32"},),
    ),
}
