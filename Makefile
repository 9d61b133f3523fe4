# `make run` and `make test` work on a fresh machine: they bring what they need.
.DEFAULT_GOAL := help
.PHONY: help setup run demo test faults browser bench lint format types migrations check lock clean

PY := .venv/bin/python
# Beside the faults proper, whole clusters that are copied, gone back in time, frozen and killed.
FAULTS := $(wildcard tests/faults tests/*/faults) tests/recovery/physical
COMPILE := .venv/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --custom-compile-command "make lock"

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Make .venv (Python 3.12+, locked requirements); uv is brought when missing
	@deploy/setup.sh

run: setup ## Run the console (PORT=8000) with its own PostgreSQL and Valkey until Ctrl-C
	@exec $(PY) manage.py run_console

demo: setup ## Run console and example backend, and drive traffic through both
	@exec $(PY) -m examples.demo

test: setup ## Run the tests, in parallel; faults and browser have suites of their own
	$(PY) -m pytest -n 3 $(addprefix --ignore ,tests/browser $(FAULTS))

faults: setup ## Run the fault suites: processes killed, frozen and starved, on real services
	$(PY) -m pytest -n 2 $(FAULTS)

browser: setup ## Run the browser tests (needs chromium)
	$(PY) -m pytest tests/browser

bench: setup ## Measure (NAME=ingest for one); results in bench/results/
	$(PY) -m bench $(NAME)

lint: setup ## Look for faults and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: setup ## Format the code
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

types: setup ## Check types
	$(PY) -m mypy

migrations: setup ## Fail when a model changed without a migration
	$(PY) manage.py makemigrations --check --dry-run

check: lint types migrations test ## Everything that must hold before a commit

lock: setup ## Lock the requirements of pyproject.toml, with hashes
	$(COMPILE) --upgrade -o requirements/base.txt pyproject.toml
	$(COMPILE) --upgrade --group pyproject.toml:tools -o requirements/uv.txt
	$(COMPILE) --upgrade --group dev -c requirements/base.txt -o requirements/dev.txt pyproject.toml

clean: ## Remove what make made; var/ (the data) stays
	rm -rf .venv .tools staticfiles .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
