# Everything that a person needs: `make demo` to try it, `make test` to trust it.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

SECONDS ?= 60
SEED ?= 1
SECRETS ?= 2000
READERS ?= 4

.PHONY: setup demo test test-services lint unit lint-api bench bench-requests bench-push bench-vault chaos chaos-push fuzz docs openapi lock clean

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
	$(BIN)/pytest -n 3 --dist worksteal

# Tests that need further real programs: Node.js, Redis and PgBouncer, which are installed on Debian if missing.
test-services: setup
	@command -v redis-server >/dev/null && command -v pgbouncer >/dev/null || \
		{ apt-get update -qq && apt-get install --yes -qq --no-install-recommends redis-server pgbouncer; }
	$(BIN)/pytest tests/services

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup
	$(BIN)/pytest tests/unit

# Needs Node.js; the linters come from the npm registry as locked in openapi/package-lock.json.
lint-api:
	cd openapi && npm ci --silent --no-audit --no-fund --ignore-scripts
	cd openapi && REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
		npx --no-install redocly lint --max-problems 200 rentgate
	cd openapi && npx --no-install spectral lint --fail-severity hint -r spectral.yaml openapi.json
	cd openapi && npx --no-install spectral lint --fail-severity hint -r spectral-owasp.yaml openapi.json

# Figures of this machine, into docs/: what requests cost, and then looks and webhooks, which takes a while.
bench: bench-requests bench-push

bench-requests: setup
	@$(BIN)/python -m tests.bench

# Looks at many accounts and rentals, and how soon a message is at its webhook.
bench-push: setup
	@$(BIN)/python -m tests.bench.push

# Rotations of the vault while its secrets are in use.
bench-vault: setup
	@$(BIN)/python -m tests.bench.vault --secrets $(SECRETS) --readers $(READERS)

# A storm of faults, kills and crashes, and the check of what is left of it.
chaos: setup
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED)

# SMS all the while, and faults, kills and crashes; and the check of what came through.
chaos-push: setup
	$(BIN)/python -m tests.chaos --of messages --seconds $(SECONDS) --seed $(SEED)

# Requests made up from the OpenAPI document, for long.
fuzz: setup
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

# The site, with warnings as errors; the tests build it too.
docs: setup
	$(BIN)/mkdocs build --strict --config-file .ci/mkdocs.yml

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
