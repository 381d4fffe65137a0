# Two commands do everything on a fresh machine: `make demo` and `make test`. Both make .venv on first use.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test attacks lab release audit bench lint clean

demo: $(READY)  ## build the release, grade the sample class, say where feedback and class report lie
	$(BIN)/autograder build
	$(BIN)/autograder demo

test: $(READY)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup --ignore=tests/attacks

attacks: $(READY)  ## the hostile submissions: about three minutes, and nothing else beside them
	$(BIN)/python -m pytest tests/attacks

lab: $(READY)  ## JupyterLab in the source folder
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/release

release: $(READY)  ## release/ from source/
	$(BIN)/autograder build

audit: $(READY)  ## the kill matrix
	$(BIN)/autograder audit

bench: $(READY)  ## figures quoted in the documentation
	$(BIN)/python benchmarks/checks.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv .demo
