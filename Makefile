PYTHON ?= python3
VENV ?= .venv
# The test environment has torch. A plain "torch" would fetch several gigabytes of CUDA.
TORCH ?= torch==2.13.0
PIP = -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint figures results clean

# Index the sample documents with the base install (no torch) and ask them a few questions.
demo: .venv-demo/ready
	.venv-demo/bin/klue-rerank demo

# Lint, type check and the whole fast suite.
test: $(VENV)/ready lint
	$(VENV)/bin/python -m pytest

lint: $(VENV)/ready
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

# The README's figures. DATA is the folder with klue_mrc and korquad.
DATA ?= ../shared/data
figures: $(VENV)/ready
	$(VENV)/bin/klue-rerank evaluate --data $(DATA)/klue_mrc $(DATA)/tydiqa_ko/korean_tydiqa_dev.json samples $(DATA)/korquad
	$(VENV)/bin/python -m benchmarks.lexical --data $(DATA)/klue_mrc
	$(VENV)/bin/python -m benchmarks.search --data $(DATA)/klue_mrc

# docs/results.md; what was measured before is kept under runs/results.
results: $(VENV)/ready
	$(VENV)/bin/python -m benchmarks.results --data $(DATA) --output docs/results.md

.venv-demo/ready: pyproject.toml
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python $(PIP) .
	touch $@

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) "$(TORCH)"
	$(VENV)/bin/python $(PIP) --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv .venv-demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
