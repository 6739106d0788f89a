# Everything that a person needs: `make demo` to try it, `make test` to trust it.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

SECONDS ?= 60
SEED ?= 1

.PHONY: setup demo test lint unit bench chaos openapi lock clean

setup: $(INSTALLED)

# The locked dependencies, checked by their hashes; the project itself as an editable install.
$(INSTALLED): requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/rentgate demo --port $(PORT)

test: lint
	$(BIN)/pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup
	$(BIN)/pytest tests/unit

# Figures of this machine, as a Markdown table.
bench: setup
	@$(BIN)/python -m tests.bench

# A storm of faults, kills and crashes, and the check of what is left of it.
chaos: setup
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED)

openapi: setup
	$(BIN)/rentgate openapi --output openapi/openapi.json

# Needs uv; run it after a change of the dependencies in pyproject.toml.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --extra dev pyproject.toml --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) .rentgate build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
