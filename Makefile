# Two commands: `make run` is the main job, `make test` the everyday tests. Both make the environment .venv once.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

# The first python that starts and is new enough (a name on PATH may be a shim that leads nowhere).
PYTHON = $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1 && echo "$$name" && break; done)
READY := .venv/.ready
INSIDE := PATH="$(CURDIR)/.venv/bin:$$PATH"
# Compiled modules are kept: a worker of the tests starts in two thirds of the time; make clean removes them.
unexport PYTHONDONTWRITEBYTECODE
# A process of the tests takes a core and up to 3 GiB; tests of one file may build on each other.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

# Scripts of an environment know the folder they were made in: one that was moved or copied is made anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

.PHONY: help setup run compare study ui test check test-slow test-all lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make the environment .venv from the pinned versions (uv is used when it is there)

run: $(READY) ## run the main job (dvc repro) and print what came out
	$(INSIDE) GAPLESS_CLOSING=later dvc repro
	@$(INSIDE) python -m stages.summary

compare: $(READY) ## runs with the settings of params.yaml beside each other, methods and seeds
	@$(INSIDE) python -m stages.compare

METHODS ?= da2s darts random
SEEDS ?= 0 1 2
PRESET ?= params.yaml

study: $(READY) ## compare methods over seeds: make study METHODS="darts da2s random" SEEDS="0 1 2" [PRESET=presets/...]
	$(INSIDE) python -m stages.study --methods "$(METHODS)" --seeds "$(SEEDS)" --params "$(PRESET)"

ui: $(READY) ## compare runs in the browser (prints and opens MLflow's page)
	$(INSIDE) python -m stages.ui

test: check ## the everyday tests: style, types, layers, every test that is not slow
	$(INSIDE) python -m pytest -m "not slow and not gpu" $(PARALLEL)

check: $(READY) ## style, types and layers alone
	$(INSIDE) ruff check
	$(INSIDE) ruff format --check
	$(INSIDE) mypy
	$(INSIDE) lint-imports --no-logo

test-slow: $(READY) ## the slow tests alone: whole pipelines, killed and resumed runs
	$(INSIDE) python -m pytest -m slow $(PARALLEL)

# In one process: its first step loads libraries for half a minute, and GPUs are borrowed by the minute.
test-gpu: $(READY) ## what only a GPU shows, in minutes; skipped without one
	$(INSIDE) python -m pytest -m gpu tests/gpu

test-all: check test-gpu ## everything
	$(INSIDE) python -m pytest -m "not gpu" $(PARALLEL)

lock: ## renew constraints.txt (needs uv)
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra dev \
		--custom-compile-command "make lock" --output-file constraints.txt pyproject.toml

clean: ## remove the environment and what the tools remember; data and results stay
	rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find nascommon stages tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv/.building stands from the first step to the last: where it is found, a set-up was cut short, and the
# environment is made anew. An environment that somebody else made is brought to the pinned versions in place.
$(READY): constraints.txt pyproject.toml
	@set -eu; \
	new_enough() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1; }; \
	python="$(PYTHON)"; \
	if ! new_enough "$$python"; then \
		echo "make: Python 3.11 or newer is needed; tried: $${python:-python3 python3.13 python3.12 python3.11}." >&2; \
		echo "make: Install one, or name yours: make setup PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	python=$$("$$python" -c 'import sys; print(sys.executable)'); \
	made_in=$$(cat $(READY) 2>/dev/null || echo "$(CURDIR)"); \
	if [ -e .venv/.building ] || [ "$$made_in" != "$(CURDIR)" ] || ! new_enough .venv/bin/python; then rm -rf .venv; fi; \
	rm -f $(READY); mkdir -p .venv; touch .venv/.building; \
	quiet=--quiet; if [ -t 2 ]; then quiet=; fi; \
	if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then \
		echo "make: setting up .venv with uv and $$python (7 GB; fetching them the first time takes minutes)"; \
		[ -e .venv/bin/python ] || uv venv --quiet --allow-existing --python "$$python" .venv; \
		uv pip sync $$quiet --compile-bytecode --require-hashes --python .venv/bin/python constraints.txt; \
		uv pip install $$quiet --no-deps --no-build-isolation --python .venv/bin/python --editable .; \
	else \
		echo "make: setting up .venv with pip and $$python (7 GB, in minutes)"; \
		[ -e .venv/bin/python ] || "$$python" -m venv .venv >/dev/null 2>&1 || "$$python" -m venv --without-pip .venv; \
		pip_install() { .venv/bin/python -m pip --disable-pip-version-check install $$quiet "$$@"; }; \
		.venv/bin/python -m pip --version >/dev/null 2>&1 || \
			pip_install() { "$$python" -m pip --disable-pip-version-check --python .venv/bin/python install $$quiet "$$@"; }; \
		pip_install --require-hashes --requirement constraints.txt; \
		pip_install --no-deps --no-build-isolation --editable .; \
	fi; \
	rm .venv/.building; \
	echo "$(CURDIR)" > $(READY); \
	echo "make: .venv is ready"
