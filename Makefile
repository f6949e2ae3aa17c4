# Everything a clone needs: Python 3.10 or newer, make, and a package index.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo serve test soak bench screenshots lint format lock clean
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

demo: $(INSTALLED) ## mail last month's statements to 100 sample customers, twice, and check that nobody got two
	$(BIN)/python -m sandbox.demo

serve: $(INSTALLED) ## the same, kept running: Airflow on 127.0.0.1:8080, the mailbox on 127.0.0.1:8090
	$(BIN)/python -m sandbox.serve

test: $(INSTALLED) ## the whole test suite; starts and stops the servers it needs
	$(BIN)/python -m pytest $(TESTS)

soak: $(INSTALLED) ## SOAK_MAILS mails (5000) while workers, scheduler and PostgreSQL are killed; about 15 minutes
	$(BIN)/python -m sandbox.soak

bench: $(INSTALLED) ## the package beside its peers, as a table and in docs/benchmarks.md; ROWS=1,2 runs some; about 15 minutes
	$(BIN)/python -m benchmarks --rows "$(ROWS)"

screenshots: $(INSTALLED) ## retake the pictures of the documents; needs Chromium
	$(BIN)/python -m pytest tests/browser --screenshots docs/images

lint: $(INSTALLED) ## what the project holds itself to
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml

format: $(INSTALLED) ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(INSTALLED) ## resolve the dependencies anew; the files hold names, versions and hashes, and no addresses
	$(BIN)/uv pip compile $(LOCK) --group dev pyproject.toml -o requirements-dev.txt
	$(BIN)/uv pip compile $(LOCK) -c requirements-dev.txt pyproject.toml -o requirements.txt
	echo uv | $(BIN)/uv pip compile $(LOCK) -c requirements-dev.txt - -o requirements-uv.txt
LOCK := --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate

# uv installs in seconds what takes pip a minute; pip is asked where uv cannot reach the index that pip is set up for.
# pip is not to resolve anything: all is in the file, and with hashes it takes "celery[redis]" for something else than "celery".
# Byte code is made now: without it every Airflow process starts seconds later.
$(INSTALLED): requirements-dev.txt requirements-uv.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "mailonce needs Python 3.10 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements-dev.txt \
		|| $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

clean: ## remove what the other targets made
	rm -rf .venv .sandbox
