"""What the course's notebooks import beside torch: devices, data, small models, training, surfaces, plots, widgets."""

#: Tells this package from a stray `utils.py` beside a notebook.
COURSE = "practical-optimization"
