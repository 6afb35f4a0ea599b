# Each target sets up what it needs; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN := runs/demo
SOURCES := $(wildcard topiccore/*.pyx topiccore/*.h)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml setup.py $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "topiccore needs Python 3.11 or newer; $(PYTHON) is older" >&2; exit 1; }
	@echo "setting up $(VENV) (once; a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)  ## train on real queries, measure, score, serve, ask over HTTP
	$(BIN)/python tools/demo.py --out $(RUN)

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(READY) lint  ## lint, then the tests
	$(BIN)/python -m pytest

clean:  ## remove the virtual environment, builds and runs
	rm -rf $(VENV) build dist runs *.egg-info topiccore/*.so topiccore/_scoring.c
