"""Explorers: sliders on the left, a picture that follows. Without ipywidgets the picture stands alone."""

from __future__ import annotations

import base64
import io
import math
import threading
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

#: Redraws a figure for the controls' values and says in one sentence what it shows (the picture's alt text).
Draw = Callable[..., str]


def explorer(figure: Figure, draw: Draw, **controls: Any) -> None:
    """Show controls and a figure that is redrawn whenever one changes.

    Args:
        figure: drawn once; `draw` changes its lines (quicker than drawing anew).
        draw: called with one keyword per control; returns the alt text.
        controls: ipywidgets (`log_slider`, `slider`, `choice` make them), by keyword of `draw`.

    Without ipywidgets, or where they cannot be shown, the picture for the starting values is displayed.
    """
    from IPython.display import HTML, display

    values = {name: control.value for name, control in controls.items()}
    plt.close(figure)  # else the inline backend shows it a second time
    try:
        import ipywidgets
    except ImportError:
        display(HTML(picture(figure, draw(**values))))
        return
    view, one_at_a_time = ipywidgets.HTML(picture(figure, draw(**values))), threading.Lock()

    def redraw(_: object = None) -> None:
        # JupyterLab tells of sliders in a subshell, a thread beside that of the cells: two drawings at once leave a blank
        with one_at_a_time:
            now = {name: control.value for name, control in controls.items()}
            view.value = picture(figure, draw(**now))

    for control in controls.values():
        control.observe(redraw, names="value")
    panel = ipywidgets.VBox(list(controls.values()), layout=ipywidgets.Layout(min_width="300px"))
    display(ipywidgets.HBox([panel, view], layout=ipywidgets.Layout(flex_flow="row wrap")))


def picture(figure: Figure, alt: str) -> str:
    """The figure as an HTML image with alt text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(alt, quote=True)}" src="data:image/png;base64,{data}" style="max-width:100%">'


class _Fixed:
    """Stands in for a control where there is no ipywidgets."""

    def __init__(self, value: Any) -> None:
        self.value = value


def slider(label: str, low: float, high: float, value: float, step: float) -> Any:
    """A linear slider; a keyboard moves it in steps, and it shows as many decimals as a step has."""
    decimals = max(0, math.ceil(-math.log10(step)))
    return _make("FloatSlider", value, description=label, min=low, max=high, step=step, readout_format=f".{decimals}f")


def log_slider(label: str, low: float, high: float, value: float, step: float = 0.05) -> Any:
    """A slider over powers of ten: `low`, `high` and `step` are exponents."""
    return _make("FloatLogSlider", value, description=label, min=low, max=high, step=step, readout_format=".3g")


def choice(label: str, options: Mapping[str, Any]) -> Any:
    """A drop-down; `options` maps what is shown to the value."""
    return _make("Dropdown", next(iter(options.values())), description=label, options=dict(options))


def _make(kind: str, value: Any, **options: Any) -> Any:
    try:
        import ipywidgets
    except ImportError:
        return _Fixed(value)
    layout = ipywidgets.Layout(width="290px")
    if kind != "Dropdown":
        options["continuous_update"] = True
    return getattr(ipywidgets, kind)(value=value, layout=layout, style={"description_width": "90px"}, **options)
