# Every target is safe to repeat. `make` alone lists them.
#
# PYTHON  the interpreter to build .venv with        make test PYTHON=python3.12
# SEEDS   of `make sim`, `make scenarios`: N, A:B or fresh:N    make sim SEEDS=fresh:500
# ARGS    handed on to what the target runs          make test ARGS="-k channel"    make demo ARGS="--no-crash"

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SEEDS ?= 5000
PYTHONS ?= 3.11 3.12 3.13

BIN := $(VENV)/bin
# Where the peers of `bench-rabbitmq` are installed, apart from everything else.
PEERS ?= .venv-peers
PYTHON_VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null || echo none)
# Named after the interpreter, so that another PYTHON builds the environment anew.
STAMP := $(VENV)/.installed-$(PYTHON_VERSION)
# The folders that hold Python; the two links in src/limen are reached through their targets.
CODE := $(wildcard actors messages src tests examples benchmarks)
SCRIPTS := $(wildcard examples/*.py benchmarks/*.py)
# Test functions are checked inside; their signatures may leave types to their fixtures.
MYPY_TESTS := --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls --allow-untyped-decorators

.PHONY: help setup demo test slow homes test-all static format format-check lint types check wheel bench bench-rabbitmq scenarios sim clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

setup: $(STAMP) ## build .venv with limen and its tools in it

# The folder is remade when it is missing, half-made, or another interpreter's.
$(STAMP): pyproject.toml
	@if [ ! -x $(BIN)/pip ] || [ "$$($(BIN)/python -c 'import platform; print(platform.python_version())')" != "$(PYTHON_VERSION)" ]; then \
		echo "$(PYTHON) -m venv --clear $(VENV)"; \
		$(PYTHON) -m venv --clear $(VENV) || { echo "make: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }; \
	fi
	$(BIN)/pip install --quiet --editable '.[dev,cli,fast,rabbitmq]'
	@touch $@

demo: setup ## hand a real folder's files to workers and kill one half-way
	$(BIN)/limen demo $(ARGS)

test: setup ## run the quick tests
	$(BIN)/pytest $(ARGS)

slow: setup ## run the slow tests: snippets, examples, wheel, real processes
	$(BIN)/pytest -m slow $(ARGS)

homes: setup ## run the tests of what users see over a RabbitMQ instead of in one process
	$(BIN)/pytest --home=rabbitmq -m "" tests/face $(ARGS)

test-all: ## run all tests on each of PYTHONS that is installed
	@for version in $(PYTHONS); do \
		if command -v python$$version >/dev/null && python$$version -c '' 2>/dev/null; then \
			$(MAKE) --no-print-directory test PYTHON=python$$version VENV=.venv-$$version ARGS='-m "" $(ARGS)' || exit 1; \
		else echo "python$$version is not installed: skipped"; fi; \
	done

format: setup ## rewrite the code in the house format, with the safe fixes
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

format-check: setup
	$(BIN)/ruff format --check --diff $(CODE)

lint: setup
	$(BIN)/ruff check $(CODE)

types: setup
	$(BIN)/mypy -p limen
	cd tests && ../$(BIN)/mypy --config-file ../pyproject.toml $(MYPY_TESTS) .
	$(if $(SCRIPTS),$(BIN)/mypy $(SCRIPTS))
	$(BIN)/pyright

static: format-check lint types ## format, lint and types, without changing anything

check: static test slow homes ## the whole gate, the same as CI
	@echo "check: all good"

wheel: setup ## build dist/limen-*.whl
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

bench: setup ## measure, against the standard library and stock Pykka in the same run
	$(BIN)/python benchmarks/run.py $(ARGS)

bench-rabbitmq: setup $(PEERS)/.installed ## measure over RabbitMQ, against Celery and Dramatiq at the same broker
	PEERS=$(PEERS)/bin $(BIN)/python benchmarks/rabbitmq/bench_rabbitmq.py $(ARGS)

$(PEERS)/.installed: pyproject.toml
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/pip install --quiet --upgrade 'pip>=25.1'
	$(PEERS)/bin/pip install --quiet --group bench-rabbitmq
	@touch $@

scenarios: setup ## run every simulated scenario on many seeds    make scenarios SEEDS=fresh:500
	$(BIN)/pytest -m "" tests/simulation -k ends_well --sim-seeds=$(SEEDS) $(ARGS)

sim: scenarios ## do that, and find every planted mistake
	$(BIN)/pytest -m "" tests/simulation/mutants $(ARGS)

clean: ## remove everything that git does not keep
	rm -rf $(VENV) .venv-* build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name '*.egg-info' -prune -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +
