# exercise adam.q6
q6 = 12

# exercise adam.foreach
class ForeachAdam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if not s:
                    s["step"] = torch.zeros((), device=p.device)
                    s["exp_avg"] = torch.zeros_like(p)
                    s["exp_avg_sq"] = torch.zeros_like(p)
                s["step"] += 1
                t = s["step"].item()
                s["exp_avg"].lerp_(p.grad, 1 - b1)
                s["exp_avg_sq"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                d = (s["exp_avg_sq"] / (1 - b2**t)).sqrt() + group["eps"]
                p.addcdiv_(s["exp_avg"], d, value=-group["lr"] / (1 - b1**t))


# exercise adam.master_weights
class MasterAdam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if not s:
                    s["step"] = 0
                    s["exp_avg"] = torch.zeros_like(p, dtype=torch.float32)
                    s["exp_avg_sq"] = torch.zeros_like(p, dtype=torch.float32)
                s["step"] += 1
                s["master"] = p.detach().float()
                adam_step(
                    s["master"], p.grad.float(), s["exp_avg"], s["exp_avg_sq"], s["step"],
                    lr=group["lr"], betas=group["betas"], eps=group["eps"],
                )
                p.copy_(s["master"])

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        params = [p for group in self.param_groups for p in group["params"]]
        for i, p in enumerate(params):
            for key in ("master", "exp_avg", "exp_avg_sq"):
                self.state[p][key] = state_dict["state"][i][key].clone()


# exercise adam.which_knob
which_knob = ["weight_decay", "beta1", "lr", "beta2"]
