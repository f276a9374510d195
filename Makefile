# One word for each thing that one does with the project. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
.DEFAULT_GOAL := help
.PHONY: help run setup test department fuzz fuzz-client fuzz-api mutants check format hostile bench screenshots schema reference requirements clean

help: ## List what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.runtime ## Set up what is needed, then start the server
	@exec $(BIN)/python manage.py serve

setup: $(VENV)/.development ## Make the virtual environment with all that development needs

test: $(VENV)/.development ## Run the whole suite against real PostgreSQL and Redis
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not department" $(ARGS)

department: $(VENV)/.development ## Run the server among replicas, proxies, keychains and several hosts
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m department $(ARGS)

fuzz: $(VENV)/.development ## Let simulated devices sync against a server that breaks: MINUTES=, or SEED= and STEPS=
	$(BIN)/python -m tests.fuzz $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) \
		$(if $(MINUTES),--minutes $(MINUTES))

fuzz-client: $(VENV)/.development ## Let real clients on real files sync while all around them breaks: MINUTES=, or SEED= and STEPS=
	$(BIN)/python -m tests.client.fuzz $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) \
		$(if $(MINUTES),--minutes $(MINUTES))

fuzz-api: $(VENV)/.development ## Ask every operation of the API with many made-up requests
	$(BIN)/python -m pytest -q tests/fuzz/test_openapi.py --hypothesis-profile=long $(ARGS)

mutants: $(VENV)/.development ## Plant bugs one by one and see that the tests catch each
	$(BIN)/python -m tests.mutants $(ARGS)

check schema reference: export SECRET_KEY = only-for-checks
check: $(VENV)/.development ## Style, types, architecture, database migrations, API schema
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn | diff -u docs/openapi.yaml -

format: $(VENV)/.development ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hostile: $(VENV)/.development ## Read 10,000 files made to do harm, as the sandbox reads them
	$(BIN)/python -m tests.migration.hostile $(ARGS)

bench: $(VENV)/.development ## Measure push, pull and migration against the raw limit of the database
	$(BIN)/python -m tests.bench $(ARGS)

screenshots: $(VENV)/.development ## Make docs/screenshots anew (needs Chromium)
	$(BIN)/python -m tests.screenshots

schema: $(VENV)/.development ## Write docs/openapi.yaml from the code
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

reference: $(VENV)/.development ## Draw the pages of docs/ that come from the code
	$(BIN)/python manage.py reference

COMPILE := pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links
requirements: $(VENV)/.development ## Pin requirements.txt and requirements-dev.txt anew
	CUSTOM_COMPILE_COMMAND="make requirements" $(BIN)/$(COMPILE) -o requirements.txt requirements.in
	CUSTOM_COMPILE_COMMAND="make requirements" $(BIN)/$(COMPILE) -o requirements-dev.txt requirements-dev.in

clean: ## Remove the virtual environment and what tools left behind (never the data)
	rm -rf $(VENV) staticfiles .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Both stamps stand for "installed from just these files"; pip is only asked when one of them is newer.
$(VENV)/.runtime: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "LogoMesh Server needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.development: requirements-dev.txt client/pyproject.toml $(VENV)/.runtime
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e ./client
	@touch $@
