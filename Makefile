# The two commands of the README are `make demo` and `make test`; both set up their own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
WORKERS ?= 2

.DEFAULT_GOAL := help

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bitspike needs Python 3.11 or newer; make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): torch and what the demo needs (about a minute)"
	$(PIP) --editable '.[train]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): torch, test and lint tools (about a minute)"
	$(PIP) --editable '.[train,dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## train a 1-bit network on real digits and run it as integers
	$(BIN)/bitspike demo

install: $(VENV)/.demo  ## only set up .venv/bin/bitspike

test: $(VENV)/.dev  ## run all tests
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy

format: $(VENV)/.dev  ## put the code into its format
	$(BIN)/ruff check --fix --quiet src tests || true
	$(BIN)/ruff format src tests

clean:  ## remove the environment and what was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help demo install test lint format clean
