# One virtual environment, made once and again when the lock or the project file changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Of `make chaos` and `make kills`.
N ?= 50
SEED ?= 1
# Of the tests: a process for each core, but each of them imports torch.
PYTEST := $(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-all test-services chaos kills recipes check format bench lock clean

help: ## show these lines
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "mrvae-orch needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: $(STAMP) ## install everything into .venv

demo: $(STAMP) ## run recipes/quickstart.yaml and show its report
	@$(BIN)/mrvae-orch submit recipes/quickstart.yaml

test: $(STAMP) ## run the quick tests, in parallel
	@$(PYTEST) -m "not slow"

test-slow: $(STAMP) ## run the tests that `make test` leaves out
	@$(PYTEST) -m slow

test-all: $(STAMP) ## run all tests
	@$(PYTEST)

test-services: $(STAMP) ## sweeps against MLflow on SQLite and PostgreSQL, servers killed
	@MRVAE_SERVICES=1 $(BIN)/python -m pytest tests/services --durations=0

chaos: $(STAMP) ## N faults drawn by SEED at random moments of sweeps; nothing may be lost
	@PYTHONPATH=tests $(BIN)/python -m chaos $(N) $(SEED)

kills: $(STAMP) ## kill submit, evaluate, sync and report N times, by SEED; nothing may be lost
	@PYTHONPATH=tests $(BIN)/python -m chaos.kills $(N) $(SEED)

recipes: $(STAMP) ## run every recipe at its smallest scale, to its report
	@MRVAE_ALL_RECIPES=1 $(BIN)/python -m pytest tests/recipes --durations=0

check: $(STAMP) ## lint, formatting, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## rewrite files as `make check` wants them
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP) ## measure speed and overhead, as ratios in one run
	@$(BIN)/python -m benchmarks

lock: ## renew requirements.lock from pyproject.toml
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
	  --no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements.lock

clean: ## remove what the other targets made, results excepted
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
