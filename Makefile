# One command each, on a machine with Python 3.11 or newer, make and a package index:
#   make run      the sweep of experiments/warmup.yaml      (make run ARGS="--workers 1 epochs=1")
#   make test     all tests                                 (make test ARGS="-k spec")
#   make faults   the fault matrix, on from docs/faults.jsonl (make faults ARGS="--jobs 2 --minutes 60 --rows 1,2")
#   make check    style, types and import directions
#   make docs     the documentation as a site, build/docs/index.html; every link within it is checked
#   make docs-links   the links to other sites, which takes a network
#   make fuzz     100,000 hostile sweep files            (make fuzz ARGS="--commands 300")
#   make clean    forget the environment and the caches; runs/ stays

PYTHON ?= python3
ARGS ?=
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

.PHONY: run test faults fuzz check docs docs-links clean setup
.DEFAULT_GOAL := run

run: $(STAMP)
	@$(BIN)/sweeper run experiments/warmup.yaml $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest $(ARGS)

faults: $(STAMP)
	@$(BIN)/python -m tests.faults.report $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

docs: $(STAMP)
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	@echo "build/docs/index.html"

docs-links: $(STAMP)
	@$(BIN)/python -m sphinx --builder linkcheck --quiet docs build/docs-links

fuzz: $(STAMP)
	@$(BIN)/python -m tests.hostile.fuzz --files 100000 $(ARGS)

setup: $(STAMP)

# The stamp is written last, so an interrupted installation is taken up again, and a finished one is not repeated.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "sweeper needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	    echo "Name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Setting up $(VENV); this takes some minutes the first time."
	@# Debian ships venv without pip unless python3-venv is installed: then the pip outside installs into it.
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip="$(BIN)/python -m pip"; \
	 elif $(PYTHON) -m pip --version >/dev/null 2>&1; then pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	 else echo "No pip for $(PYTHON): install it (on Debian: apt-get install python3-venv)." >&2; exit 2; fi; \
	 $$pip install --quiet --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build dist docs/generated *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find sweeper tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
