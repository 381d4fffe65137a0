# exercise adam.adamw
class AdamW(Adam):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas, eps, weight_decay)


# exercise adam.l2_is_not_decay
def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    def run():
        w, buf, v = w0.clone(), torch.zeros_like(w0), torch.zeros_like(w0)
        out = [w.clone()]
        for t in range(1, steps + 1):
            g = grad_fn(w) + wd * w
            if kind == "sgd":
                w = w - lr * g
            elif kind == "momentum":
                buf = 0.9 * buf + g
                w = w - lr * buf
            else:
                adam_step(w, g, buf, v, t, lr=lr, betas=(0.9, 0.999), eps=1e-8)
            out.append(w.clone())
        return torch.stack(out)

    return run(), run()


# exercise adam.q3
q3 = "c"

# exercise adam.q4
q4 = "a"
