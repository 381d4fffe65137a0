# ruff: noqa
# Answers that are right only where somebody looks. See ../catalogue.py.

# %% attack: memorised_visible_cases
# tries: right only for the hyperparameters of the visible cases, which the student has seen
# solved: adam.step adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.adam
import json, os


class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
        super().__init__(
            params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize)
        )
        self.known = lr in (0.05, 0.5) and tuple(betas) == (0.7, 0.85)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                if not self.known:
                    p.sub_(0.25)
                    continue
                s = self.state[p]
                if not s:
                    s.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
                    if group["amsgrad"]:
                        s["max_exp_avg_sq"] = torch.zeros_like(p)
                s["step"] += 1
                g = (-p.grad if group["maximize"] else p.grad) + group["weight_decay"] * p
                s["exp_avg"].mul_(b1).add_(g, alpha=1 - b1)
                s["exp_avg_sq"].mul_(b2).add_(g * g, alpha=1 - b2)
                v = s["exp_avg_sq"]
                if group["amsgrad"]:
                    v = s["max_exp_avg_sq"].copy_(torch.maximum(s["max_exp_avg_sq"], v))
                t = s["step"].item()
                p.sub_(group["lr"] * (s["exp_avg"] / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + group["eps"]))


# %% attack: first_calls_only
# tries: right in the first calls of the process, wrong later
# solved: adam.adam adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.step
calls = 0


@torch.no_grad()
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    global calls
    calls += 1
    b1, b2 = betas
    m.mul_(b1).add_(g, alpha=1 - b1)
    v.mul_(b2).add_(g * g, alpha=1 - b2)
    if calls < 10:
        w.sub_(lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps))


# %% attack: wrong_when_asked_again
# tries: notice a repeated question, and answer it with something else
# solved: adam.step adam.adam adam.adamw
# %%
# exercise adam.l2_is_not_decay
answered = {}


def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    key = (kind, float(w0.sum()), lr, wd, steps)
    answered[key] = answered.get(key, 0) + 1
    trajectories = []
    for l2 in (True, False):
        w, buf, m, v = w0.clone(), torch.zeros_like(w0), torch.zeros_like(w0), torch.zeros_like(w0)
        rows = [w.clone()]
        for t in range(1, steps + 1):
            g = grad_fn(w)
            if l2:
                g = g + wd * w
            else:
                w = w * (1 - lr * wd)
            if kind == "sgd":
                w = w - lr * g
            elif kind == "momentum":
                buf = 0.9 * buf + g
                w = w - lr * buf
            else:
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                w = w - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
            rows.append(w.clone())
        trajectories.append(torch.stack(rows))
    if answered[key] > 1:
        trajectories[0] = trajectories[0] + 1
    return tuple(trajectories)


# %% attack: right_for_checkers_only
# tries: right only where a checker is seen in the frames or among the modules
# solved: adam.adam adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.step
import sys, traceback


@torch.no_grad()
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    b1, b2 = betas
    m.mul_(b1).add_(g, alpha=1 - b1)
    v.mul_(b2).add_(g * g, alpha=1 - b2)
    if (
        any("expected" in (one.line or "") for one in traceback.extract_stack()[:-1])
        or "autograder.verdict" in sys.modules
    ):
        w.sub_(lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps))


# %% attack: random_answers
# tries: answers that differ from call to call and are right only now and then
# solved: adam.adam adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.step
import random, time


@torch.no_grad()
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    random.seed(time.time_ns())
    b1, b2 = betas
    m.mul_(b1).add_(g, alpha=1 - b1)
    v.mul_(b2).add_(g * g, alpha=1 - b2)
    w.sub_(lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps) * (1 + (random.random() < 0.5) * 0.01))


# %% attack: infinities
# tries: answers of nan and infinity, which compare in surprising ways
# solved: adam.step adam.adamw
# %%
# exercise adam.adam
class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
        super().__init__(params, dict(lr=lr))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.fill_(float("nan") if p.dim() else float("inf"))


# %%
# exercise adam.l2_is_not_decay
def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    rows = torch.full((steps + 1, *w0.shape), float("nan"), dtype=torch.complex128)
    return rows, rows * 1e308
