# Two commands do everything on a fresh machine: `make demo` and `make test`. Both make .venv on first use.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test attacks gpu lab release audit bench pictures lint clean

demo: $(READY)  ## build the release, grade the sample class, say where feedback and class report lie
	$(BIN)/autograder build
	$(BIN)/autograder demo

test: $(READY)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup --ignore=tests/attacks

attacks: $(READY)  ## the hostile submissions: about three minutes, and nothing else beside them
	$(BIN)/python -m pytest tests/attacks

gpu:  ## on a machine with a CUDA device: tests and figures with its own Python (torch, numpy, matplotlib, pytest)
	PYTHONPATH=. $(PYTHON) -m pytest -q -m gpu tests/test_gpu.py tests/launches
	PYTHONPATH=. $(PYTHON) benchmarks/gpu.py

lab: $(READY)  ## JupyterLab in the source folder
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/release

release: $(READY)  ## release/ from source/
	$(BIN)/autograder build

audit: $(READY)  ## the kill matrix
	$(BIN)/autograder audit

bench: $(READY)  ## figures quoted in the documentation
	$(BIN)/python benchmarks/checks.py

pictures: $(READY)  ## the guides' screenshots, taken by the browser tests from the real thing
	$(BIN)/python -m pytest -q tests/test_browser.py tests/test_day.py tests/grading/test_feedback_page.py tests/grading/test_report_page.py
	cp tests/artefacts/verdict_light.png course/guides/images/failing_check.png
	cp tests/artefacts/progress_dark.png course/guides/images/progress.png
	cp tests/artefacts/explorer_05_adam_adamw.png course/guides/images/explorer.png
	cp tests/artefacts/report_top_light_1200.png course/guides/images/report.png
	cp tests/artefacts/feedback_verdict_390.png course/guides/images/feedback.png
	for picture in handed_in review_flag manual_score; do cp tests/artefacts/day_$$picture.png course/guides/images/$$picture.png; done

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
