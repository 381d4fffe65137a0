# exercise adam.step
@torch.no_grad()
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    b1, b2 = betas
    m.mul_(b1).add_(g, alpha=1 - b1)
    v.mul_(b2).add_(g * g, alpha=1 - b2)
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    w.sub_(lr * m_hat / torch.sqrt(v_hat + eps))


# exercise adam.adam
class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
        super().__init__(
            params,
            dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize),
        )

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if len(s) == 0:
                    s["step"] = torch.tensor(0.0)
                    s["exp_avg"] = torch.zeros_like(p)
                    s["exp_avg_sq"] = torch.zeros_like(p)
                    if group["amsgrad"]:
                        s["max_exp_avg_sq"] = torch.zeros_like(p)
                s["step"] += 1
                g = -p.grad if group["maximize"] else p.grad
                g = g + group["weight_decay"] * p
                s["exp_avg"].mul_(b1).add_(g, alpha=1 - b1)
                s["exp_avg_sq"].mul_(b2).add_(g * g, alpha=1 - b2)
                v = s["exp_avg_sq"]
                if group["amsgrad"]:
                    s["max_exp_avg_sq"].copy_(torch.maximum(s["max_exp_avg_sq"], v))
                    v = s["max_exp_avg_sq"]
                m_hat = s["exp_avg"] / (1 - b1 ** s["step"].item())
                v_hat = v / (1 - b2 ** s["step"].item())
                p.sub_(group["lr"] * m_hat / torch.sqrt(v_hat + group["eps"]))
