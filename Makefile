PYTHON ?= python3
VENV ?= .venv
# The test environment has torch. A plain "torch" would fetch several gigabytes of CUDA.
TORCH ?= torch==2.13.0
PIP = -m pip install --quiet --disable-pip-version-check

.PHONY: demo bot bot-test test lint figures clean

# Index the sample documents with the base install (no torch) and ask them a few questions.
demo: .venv-demo/ready
	.venv-demo/bin/klue-rerank demo

# A page on localhost that answers questions over your files; see examples/qa_bot/README.md.
bot: .venv-bot/ready
	.venv-bot/bin/python -m streamlit run examples/qa_bot/app.py

# The same page in a real browser: needs Chromium (Debian: apt-get install chromium fonts-nanum).
CHROMIUM ?= /usr/bin/chromium
bot-test: .venv-bot/test-ready
	CHROMIUM=$(CHROMIUM) .venv-bot/bin/python -m pytest tests/browser_tests

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

.venv-demo/ready: pyproject.toml
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python $(PIP) .
	touch $@

.venv-bot/ready: pyproject.toml
	$(PYTHON) -m venv .venv-bot
	.venv-bot/bin/python $(PIP) --editable ".[bot]"
	touch $@

.venv-bot/test-ready: .venv-bot/ready
	.venv-bot/bin/python $(PIP) hypothesis playwright pytest pytest-asyncio pytest-socket
	touch $@

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) "$(TORCH)"
	$(VENV)/bin/python $(PIP) --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv .venv-demo .venv-bot dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
