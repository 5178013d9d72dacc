# The commands of this project. `make help` lists them.

# Any Python from 3.11 on that can make a virtual environment; `make PYTHON=...` chooses one.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && echo $$p && break; done)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
MADE_FROM := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run demo test interpreters environments check format bench clean

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

run: $(VENV)/.server ## serve the quickstart example, stream one run, keep serving
	@$(BIN)/python scripts/demo.py --keep

demo: $(VENV)/.server ## the same, and exit
	@$(BIN)/python scripts/demo.py

test: $(VENV)/.dev ## all checks and tests
	@scripts/test

interpreters: $(VENV)/.dev ## the unit and client tests on every other supported Python that is installed
	@scripts/interpreters

environments: $(VENV)/.dev ## serve beside the official server, with the lowest and with the newest packages
	@$(BIN)/python scripts/environments.py

check: $(VENV)/.dev ## format, lint, types, layers, generated code, prose
	@scripts/check

format: $(VENV)/.dev ## format the code, generate the synchronous client, lower the record of prose
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet . && $(BIN)/python tools/unasync.py && $(BIN)/python tools/prose.py --record

bench: $(VENV)/.dev ## measure (see bench/README.md)
	@$(BIN)/python bench/run.py

clean: ## remove what was installed and made
	@rm -rf $(VENV) $(VENV)-3.* .loomline build dist .coverage* tests/js/node_modules tests/js/newest/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.pip: $(MADE_FROM)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed; none was found. Install it, or: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || { echo "Making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv --clear $(VENV); }
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.server: $(VENV)/.pip
	@echo "Installing the server"
	@$(PIP) install --constraint constraints.txt --editable '.[server]'
	@touch $@

$(VENV)/.dev: $(VENV)/.pip
	@echo "Installing the server and the tools"
	@$(PIP) install --constraint constraints.txt --editable '.[server,postgres]' --group dev
	@touch $(VENV)/.server $@
