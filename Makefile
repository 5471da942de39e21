# `make run` is all a fresh machine needs: it sets Kapelle up and composes four takes.

PYTHON ?= python3
ARGS ?= compose "Clair de lune" --artist "Claude Debussy" --takes 4
PYTEST_ARGS ?=
IN_VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test lint bench clean

help:
	@echo 'make run     set Kapelle up (once) and compose; ARGS="compose Nocturne --takes 2" changes what'
	@echo 'make test    run the tests; PYTEST_ARGS="-k score" chooses among them'
	@echo 'make lint    check style, types and which wing imports which'
	@echo 'make bench   measure speed on this machine'
	@echo 'make setup   only set Kapelle up, in .venv'
	@echo 'make clean   remove .venv and caches; takes and data stay'
	@echo 'Another Python (3.11 or newer): make run PYTHON=python3.12'

setup:
	@$(PYTHON) bootstrap.py

run: setup
	@$(IN_VENV)/kapelle $(ARGS)

test: setup
	@$(IN_VENV)/python -m pytest $(PYTEST_ARGS)

lint: setup
	$(IN_VENV)/python -m ruff check .
	$(IN_VENV)/python -m mypy
	$(IN_VENV)/lint-imports --no-logo

bench: setup
	@$(IN_VENV)/python -m benchmarks

clean:
	rm -rf .venv build kapelle.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
