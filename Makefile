# Every command a person needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help run up test lint format lock bench clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

run: $(INSTALLED) ## run the DAGs against the sandbox Amazon, show what they did, stop everything
	@$(PY) -m devstack run

up: $(INSTALLED) ## the same, and stay up for the Airflow UI until Ctrl-C
	@$(PY) -m devstack up

test: lint ## lint and every test
	$(PY) -m pytest -n 3

lint: $(INSTALLED) ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(INSTALLED) ## let ruff put the code in order
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(INSTALLED) ## measure against the limit (minutes)
	$(PY) -m benchmarks.inventory

lock: $(INSTALLED) ## compile requirements*.in to pinned requirements*.txt
	$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url requirements.in -o requirements.txt
	$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url requirements-dev.in -o requirements-dev.txt

clean: ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.txt requirements-dev.txt pyproject.toml
	@echo "Installing Airflow and the rest into $(VENV) (about a minute, once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed; say which with: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
