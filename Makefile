# `make serve` and `make test` set up all they need, in .venv; everything else builds on them.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 5000
MODEL ?=
# A machine without a GPU need not download CUDA: make serve TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
TEST = $(BIN)/python -m pytest

.PHONY: serve test lint format training bench soak screenshots clean

serve: $(VENV)/serving models/starter/config.json
	@$(BIN)/python -m app serve $(MODEL) --port $(PORT)

test: $(VENV)/dev
	@$(TEST)

lint: $(VENV)/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

training: $(VENV)/training

# ---- set-up: one stamp per requirements file, renewed when the file changes ----

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Continuo needs Python 3.11 to 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python cannot make virtual environments here: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/serving: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what serving needs (a few minutes, once) ..."
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps -e .
	@touch $@

$(VENV)/training: requirements-training.txt $(VENV)/serving
	@echo "Installing what training needs ..."
	@$(PIP) -r requirements-training.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/training
	@echo "Installing what the tests need ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@
