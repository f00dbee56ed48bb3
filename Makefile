# Commands for people. `make help` lists them.
PYTHON ?= python3
# `make test AIRFLOW=3.4`: the same with the newest release of that series that the index has, a beta if need be.
VENV := .venv$(if $(AIRFLOW),-$(AIRFLOW))
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
# uv does not read pip's settings. Where pip is given a package index, uv is given the same one.
PIP_INDEX = $(PY) -m pip config list | sed -nE "s/^(:env:|global|install)\.index-url='(.*)'$$/\2/p" | head -n 1
UV = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$($(PIP_INDEX))}" $(VENV)/bin/uv

.DEFAULT_GOAL := help
.PHONY: help run up test test-browser test-wheel check-warehouse faults lint format lock wheel bench env clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s%s\n", $$1, $$2}'

run: $(INSTALLED) ## run the DAGs against the sandbox Amazon, show the results, stop everything
	@$(PY) -m devstack run

up: $(INSTALLED) ## the same, and stay up for the Airflow UI and `airflow` commands until Ctrl-C
	@$(PY) -m devstack up

test: lint ## lint and every test
	$(PY) -m pytest -n 4

test-browser: $(INSTALLED) ## test Airflow's pages in Chromium; fails when Chromium is missing
	FBA_REQUIRE_BROWSER=1 $(PY) -m pytest tests/browser

test-wheel: $(INSTALLED) ## install the wheel into empty environments, alone and beside other providers (minutes, 2 GB)
	FBA_WHEEL=1 $(PY) -m pytest tests/project/test_wheel.py

faults: $(INSTALLED) ## every fault at every call of every DAG, crashes, freezes, restored backups, fuzzing (hours)
	FBA_FAULTS=1 $(PY) -m pytest -n 3 tests/faults tests/inventory/test_damaged_reports.py tests/fulfillment/test_interference.py \
	  tests/fulfillment/test_memory.py tests/fulfillment/test_crashes.py tests/shipments/test_track_in_any_order.py

check-warehouse: $(INSTALLED) ## check what is promised of a warehouse (connection fba_warehouse); writes nothing
	@$(PY) -m fba_operators.warehouse.check

lint: $(INSTALLED) ## ruff, mypy and the import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(INSTALLED) ## format the code with ruff
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

wheel: $(INSTALLED) ## build dist/*.whl, for an Airflow without a clone of this repository
	@$(UV) build --wheel --quiet --python $(PY) --no-build-isolation && ls dist/*.whl

bench: $(INSTALLED) ## run all benchmarks (under an hour) and write benchmarks/RESULTS.md
	$(PY) -m benchmarks

env: ## write .env with new secrets for docker compose; an existing .env is not changed
	@if test -e .env; then echo ".env exists and is not changed: stored tokens and reports can be read only with its FERNET_KEY."; else umask 077 && { \
	  echo "FERNET_KEY=$$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')" && \
	  for name in JWT_SECRET API_SECRET_KEY POSTGRES_PASSWORD AIRFLOW_DB_PASSWORD WAREHOUSE_DB_PASSWORD REDIS_PASSWORD ADMIN_PASSWORD; \
	  do echo "$$name=$$(head -c 64 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | head -c 43)"; done; } > .env.new && mv .env.new .env && \
	  echo "Wrote .env. Airflow's user is admin, its password is ADMIN_PASSWORD there. Keep a copy: stored tokens and reports can be read only with it."; fi

lock: $(INSTALLED) ## compile requirements*.in to requirements*.txt, pinned and with hashes
	@$(UV) pip compile -q --universal --python-version 3.11 --no-emit-index-url --generate-hashes requirements.in -o requirements.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --no-emit-index-url --generate-hashes requirements-dev.in -o requirements-dev.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --no-emit-index-url --generate-hashes requirements-celery.in -o requirements-celery.txt
	@$(UV) pip compile -q --python-version 3.11 --no-emit-index-url --generate-hashes requirements-bench.in -o requirements-bench.txt

clean: ## remove the virtual environment, built packages and the caches of tools
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed. Choose one like this: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Installing Airflow and the development tools into $(VENV), once; a minute or more ..."
	@awk '/^uv==/,!/\\$$/' requirements-dev.txt > $(VENV)/uv.txt
	@$(PY) -m pip install --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt \
	  || { echo "pip could not install uv, which installs all the other packages. The reason is above."; exit 1; }
	@$(UV) pip install --python $(PY) --compile-bytecode --require-hashes -r requirements-dev.txt
	@$(if $(AIRFLOW),$(UV) pip install --python $(PY) --prerelease allow "apache-airflow~=$(AIRFLOW).0a1")
	@$(UV) pip install --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $@
