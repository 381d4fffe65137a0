"""The exercises, one module per notebook and named like it; each defines `EXERCISES`, in the notebook's order."""
