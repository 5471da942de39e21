# `make run` is all a fresh machine needs: it sets Kapelle up and rehearses the whole bot, without an account.

PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=
IN_VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test lint bench clean

help:
	@echo 'make run     set Kapelle up (once) and rehearse: students ask, takes are posted, a page is left'
	@echo '             ARGS="compose Nocturne --takes 2" runs a command of kapelle instead'
	@echo 'make test    run the tests; PYTEST_ARGS="-k score" chooses among them'
	@echo 'make lint    check style, types and which wing imports which'
	@echo 'make bench   measure speed on this machine'
	@echo 'make setup   only set Kapelle up, in .venv'
	@echo 'make clean   remove .venv and caches; takes and data stay'
	@echo 'Another Python (3.11 or newer): make run PYTHON=python3.12'

setup:
	@$(PYTHON) bootstrap.py

run: setup
	@$(if $(ARGS),$(IN_VENV)/kapelle $(ARGS),$(IN_VENV)/python -m tests.rehearsal)

# Half of the time most tests wait for processes and clocks, so two at a time take little more than half as long. One thread
# each for torch: threads that wait for each other on a core that others use cost more than they bring.
test: setup
	@OMP_NUM_THREADS=1 $(IN_VENV)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: setup
	$(IN_VENV)/python -m ruff check .
	$(IN_VENV)/python -m mypy
	$(IN_VENV)/lint-imports --no-logo

bench: setup
	@$(IN_VENV)/python -m benchmarks
	@$(IN_VENV)/python -m benchmarks.server --chaos 200

clean:
	rm -rf .venv build kapelle.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
