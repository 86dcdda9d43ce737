# Each target installs what it needs. It requires Python 3.11 or newer, make and a package index.
#   make run             run the sweep in experiments/warmup.yaml        (make run ARGS="--workers 1 epochs=1")
#   make test            run the fast tests in parallel                  (make test ARGS="-k config" JOBS=4)
#   make test-all        run all tests: fast and slow ones, clusters, faults, a browser, Docker. For one of these parts:
#                        make test-slow, test-clusters, test-faults, test-browser or test-docker
#   make faults          resume the fault matrix in docs/faults.jsonl    (make faults ARGS="--jobs 2 --minutes 60")
#   make chaos           random signals to random processes, in docs/chaos.jsonl  (make chaos ARGS="--runs 300 --seed 1000")
#   make check           check style, types and import directions
#   make check-minimum   run the fast tests with the lower bound of each requirement  (make check-minimum TORCH=2.13.0)
#   make package         build wheel and sdist, install the wheel away from the sources, and use it there
#   make docs            build the site build/docs/index.html, and check every link within it
#   make docs-links      check the links to other sites (needs a network)
#   make fuzz            try 100,000 hostile sweep files                 (make fuzz ARGS="--commands 300")
#   make clean           remove the environment and the caches; keep runs/

PYTHON ?= python3
ARGS ?=
JOBS ?= auto
VENV := .venv
STAMP := $(VENV)/.installed
# The environment of `make run`. That of the tests contains it, and is used if it exists.
RUN_STAMP := $(if $(wildcard $(STAMP)),$(STAMP),$(VENV)/.installed-run)
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
PARTS := slow or cluster or faults or browser or docker
SEPARATELY := cluster or faults or browser or docker

.PHONY: run test test-all test-slow test-clusters test-faults test-browser test-docker faults chaos fuzz check \
    check-minimum package docs docs-links clean setup
.DEFAULT_GOAL := run

run: $(RUN_STAMP)
	@$(BIN)/sweeper run experiments/warmup.yaml $(ARGS)

test: $(STAMP)
	@$(PYTEST) -q -n $(JOBS) -m "not ($(PARTS))" $(ARGS)

# A later part runs even if an earlier one fails. Each says which of its tests took longest.
test-all: $(STAMP)
	@failed=""; for part in test test-slow test-clusters test-faults test-browser test-docker; do \
	    echo "== make $$part"; \
	    $(MAKE) --no-print-directory $$part ARGS='$(ARGS) --durations=40 --durations-min=5' || failed="$$failed $$part"; done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

test-slow: $(STAMP)
	@$(PYTEST) -v -n $(JOBS) -m "slow and not ($(SEPARATELY))" $(ARGS)

# Ray's tests run one at a time, because each cluster is many processes.
test-clusters: $(STAMP)
	@$(PYTEST) -v -m cluster --ignore=tests/slurm $(ARGS)
	@$(PYTEST) -v -n 2 tests/slurm $(ARGS)

# Three at a time, since they wait more than they compute.
test-faults: $(STAMP)
	@$(PYTEST) -v -n 3 tests/faults $(ARGS)

test-browser: $(STAMP)
	@$(PYTEST) -v tests/browser $(ARGS)

test-docker: $(STAMP)
	@if docker info >/dev/null 2>&1; then $(PYTEST) -v -m docker $(ARGS); \
	else echo "No Docker daemon answers, so no image is built; make test has tested the files of docker/."; fi

check-minimum:
	@TORCH="$(TORCH)" PYTHON="$(PYTHON)" .ci/check-minimum $(ARGS)

package: $(STAMP)
	@.ci/package

faults: $(STAMP)
	@$(BIN)/python -m tests.faults.report $(ARGS)

chaos: $(STAMP)
	@$(BIN)/python -m tests.faults.chaos --save docs/chaos.jsonl $(ARGS)

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

# The stamp is written last, so an interrupted installation is completed, and a finished one is not repeated.
$(STAMP): EXTRA := test
$(VENV)/.installed-run: EXTRA := text
$(STAMP) $(VENV)/.installed-run: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "sweeper needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	    echo "Name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Setting up $(VENV); this takes some minutes the first time."
	@# On Debian without python3-venv, venv has no pip. Then the pip outside installs into it.
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip="$(BIN)/python -m pip"; \
	 elif $(PYTHON) -m pip --version >/dev/null 2>&1; then pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	 else echo "No pip for $(PYTHON): install it (on Debian: apt-get install python3-venv)." >&2; exit 2; fi; \
	 $$pip install --quiet --quiet --disable-pip-version-check --editable '.[$(EXTRA)]'
	@touch $@

clean:
	rm -rf $(VENV) build dist docs/generated *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find sweeper tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
