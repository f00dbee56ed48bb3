# Every command a person needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help run up test test-browser faults lint format lock wheel bench env clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(INSTALLED) ## run the DAGs against the sandbox Amazon, show what they did, stop everything
	@$(PY) -m devstack run

up: $(INSTALLED) ## the same, and stay up for the Airflow UI until Ctrl-C
	@$(PY) -m devstack up

test: lint ## lint and every test
	$(PY) -m pytest -n 3 --ignore tests/browser
	$(PY) -m pytest tests/browser

test-browser: $(INSTALLED) ## look at Airflow's pages in Chromium; fails where there is none
	FBA_REQUIRE_BROWSER=1 $(PY) -m pytest tests/browser

faults: $(INSTALLED) ## every fault at every call of every DAG, crashes, a backfill, fuzzing (twenty minutes)
	FBA_FAULTS=1 $(PY) -m pytest -n 3 tests/faults

lint: $(INSTALLED) ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(INSTALLED) ## let ruff put the code in order
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

wheel: $(INSTALLED) ## build dist/*.whl, for an Airflow that has no clone of this repository
	$(VENV)/bin/uv build --wheel --quiet && ls dist/*.whl

bench: $(INSTALLED) ## measure everything (under twenty minutes) and write benchmarks/RESULTS.md
	$(PY) -m benchmarks

env: ## write .env with fresh secrets for docker compose; an .env that exists is kept
	@if test -e .env; then echo ".env exists and is kept: what is encrypted needs its FERNET_KEY."; else umask 077 && { \
	  echo "FERNET_KEY=$$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')" && \
	  for name in JWT_SECRET API_SECRET_KEY POSTGRES_PASSWORD AIRFLOW_DB_PASSWORD WAREHOUSE_DB_PASSWORD REDIS_PASSWORD ADMIN_PASSWORD; \
	  do echo "$$name=$$(head -c 64 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | head -c 43)"; done; } > .env.new && mv .env.new .env && \
	  echo "Wrote .env. Airflow's user is admin, its password is ADMIN_PASSWORD there. Keep a copy: nothing can be decrypted without it."; fi

lock: $(INSTALLED) ## compile requirements*.in to pinned requirements*.txt
	$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url requirements.in -o requirements.txt
	$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url requirements-dev.in -o requirements-dev.txt
	$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url requirements-celery.in -o requirements-celery.txt

clean: ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.txt requirements-dev.txt pyproject.toml
	@echo "Installing Airflow and the rest into $(VENV) (about a minute, once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed; say which with: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
