# Everything a clone needs: Python 3.10 or newer, make, and a package index.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo serve test compat soak bench screenshots site lint format lock wheel sbom audit mwaa clean
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

demo: $(INSTALLED) ## mail last month's statements to 100 sample customers, twice, and check that nobody got two
	$(BIN)/python -m sandbox.demo

serve: $(INSTALLED) ## the same, kept running: Airflow on 127.0.0.1:8080, the mailbox on 127.0.0.1:8090
	$(BIN)/python -m sandbox.serve

test: $(INSTALLED) ## the whole test suite; starts and stops the servers it needs
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --no-loadscope-reorder $(TESTS)

compat: $(INSTALLED) wheel ## the wheel in the oldest Airflow that is supported, for real; about two minutes
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .compat
	$(BIN)/uv pip install --quiet --python .compat --require-hashes --compile-bytecode -r requirements-oldest.txt
	$(BIN)/uv pip install --quiet --python .compat --no-deps dist/*.whl
	MAILONCE_COMPAT_PYTHON=.compat/bin/python $(BIN)/python -m pytest tests/release/test_fresh_airflow.py tests/release/test_wheel.py

soak: $(INSTALLED) ## SOAK_MAILS mails (5000) while workers, scheduler and PostgreSQL are killed; about 15 minutes
	$(BIN)/python -m sandbox.soak

bench: $(INSTALLED) ## the package beside its peers, as a table and in docs/benchmarks.md; ROWS=1,2 runs some; about 15 minutes
	$(BIN)/python -m benchmarks --rows "$(ROWS)"

screenshots: $(INSTALLED) ## retake the pictures of the documents; needs Chromium
	$(BIN)/python -m pytest tests/browser --screenshots docs/images

site: $(INSTALLED) ## the documentation as a site, in .site/; a link that leads nowhere fails it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict # --quiet would keep it from failing
	@echo "open .site/index.html, or with search: python3 -m http.server --bind 127.0.0.1 --directory .site 8000"

lint: $(INSTALLED) site ## what the project holds itself to
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml
	$(BIN)/cfn-lint deploy/aws/cloudformation.yaml

wheel: $(INSTALLED) ## the package as a wheel, in dist/; the same files give the same bytes
	rm -rf dist
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python -m build --wheel --no-isolation --outdir dist .

sbom: wheel ## what the package stands on, with hashes and licences, as CycloneDX JSON in dist/
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python -m release.sbom dist/mailonce.cdx.json

audit: $(INSTALLED) ## ask whether vulnerabilities are known in what is locked; what cannot be asked is not audited
	$(BIN)/python -m release.audit $(AUDIT)

mwaa: wheel ## what an environment of Amazon MWAA is given, in dist/mwaa
	$(BIN)/python -m release.mwaa dist/*.whl dist/mwaa

# When the last change was made, or, of files that are not in git, when this was written.
EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 1767225600)

format: $(INSTALLED) ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(INSTALLED) ## resolve the dependencies anew; the files hold names, versions and hashes, and no addresses
	$(BIN)/uv pip compile $(LOCK) --group dev pyproject.toml -o requirements-dev.txt
	$(BIN)/uv pip compile $(LOCK) -c requirements-dev.txt pyproject.toml -o requirements.txt
	echo uv | $(BIN)/uv pip compile $(LOCK) -c requirements-dev.txt - -o requirements-uv.txt
	$(BIN)/uv pip compile $(LOCK) --exclude-newer 2025-08-30 -c deploy/mwaa/constraints.txt pyproject.toml -o requirements-oldest.txt
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
	rm -rf .venv .compat .sandbox dist .site
