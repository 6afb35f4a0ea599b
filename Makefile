# Each target sets up what it needs; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN := runs/demo
SOURCES := $(wildcard topiccore/*.pyx topiccore/*.h)

.DEFAULT_GOAL := help
.PHONY: $(shell awk -F: '/^[a-z-]+:.*[#][#] / {print $$1}' $(firstword $(MAKEFILE_LIST)))
BASE ?= HEAD~1
SECONDS ?= 600
MINUTES ?= 20
SERVER ?= granian

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

annotate: $(READY)  ## train the teacher and annotate the pool again (hours; needs torch and npm)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[teacher]'
	$(BIN)/topiccore annotate

reference: $(READY)  ## train the artifact that comes with the package again, from labels and annotations
	$(BIN)/topiccore train --out runs/reference
	$(BIN)/python tools/take_reference.py runs/reference/artifact

BENCH := $(VENV)/.bench
$(BENCH): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

bench: $(BENCH)  ## latency suites, score against fastText, scaling, roofline
	$(BIN)/python -m pytest benchmarks/test_latency.py
	$(BIN)/python -m benchmarks.score_latency
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.roofline

bench-batch: $(BENCH)  ## files end to end, beside fastText and scikit-learn: benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.batch --write benchmarks/RESULTS.md

gate: $(BENCH)  ## latency of this tree against BASE (default HEAD~1), both built and measured now
	$(BIN)/python -m benchmarks.gate --base $(BASE)

peers: $(BENCH)  ## train and measure other tools on the same queries: benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.peers

LOAD := $(VENV)/.load
$(LOAD): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[load]'
	@touch $@

load: $(LOAD)  ## 2,000 requests a second and the most that goes, beside other servers
	$(BIN)/python -m benchmarks.load.bars --artifact $(RUN)/artifact --servers $(SERVER) --limit 60

failures: $(READY)  ## slow, many and malformed clients, killed workers, reloads, a full disk
	$(BIN)/python -m benchmarks.load.failures --artifact $(RUN)/artifact --server $(SERVER) --limit 20

soak: $(READY)  ## constant load for MINUTES (default 20) with memory that must stay flat
	$(BIN)/python -m benchmarks.load.soak --artifact $(RUN)/artifact --server $(SERVER) --minutes $(MINUTES)

sanitize: $(READY)  ## kernel tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(BIN)/python tools/sanitize.py

fuzz: $(READY)  ## fuzz the kernel for SECONDS (default 600); needs clang
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python fuzz/run.py --seconds $(SECONDS)

meinheld: $(READY)  ## tests of gunicorn with meinheld, and of each server behind nginx (apt-get install nginx-light)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[meinheld]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps meinheld==1.0.2
	$(BIN)/python -m pytest -m 'system or not system' tests/test_service_meinheld.py

mlflow: $(READY)  ## tests of copying a version into MLflow, in a database of its own
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'mlflow-skinny>=3' sqlalchemy alembic
	$(BIN)/python -m pytest -m 'system or not system' tests/test_registry_mlflow.py

page: $(READY)  ## tests of the page for people in Chromium (apt-get install chromium)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check playwright
	$(BIN)/python -m pytest -m 'system or not system' tests/test_service_page.py tests/test_page_browser.py

container: $(READY)  ## build the image, run it with any user and a read-only root (apt-get install buildah debootstrap runc)
	$(BIN)/python tools/container_check.py --artifact $(RUN)/artifact

manifests: $(READY)  ## manifests against published schemas, rules and dashboard in Prometheus (apt-get install prometheus; npm)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check kubernetes-validate
	$(BIN)/python -m pytest -m 'system or not system' tests/test_deploy.py tests/test_monitoring.py tests/test_ci.py

spark: $(READY)  ## tests of Spark on a cluster of two processes (needs Java 17: apt-get install openjdk-17-jre-headless)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[spark]'
	$(BIN)/python -m pytest -m system tests/test_spark.py

story: $(READY)  ## a version comes, is promoted and goes, under load behind a proxy (apt-get install haproxy; OPTIONS=--container)
	@test ! -e runs/story/site/site.json || $(BIN)/python -m tools.local down --site runs/story/site
	rm -rf runs/story
	$(BIN)/python -m benchmarks.story --model $(RUN)/artifact --out runs/story $(OPTIONS)

clean:  ## remove the virtual environment, builds and runs
	rm -rf $(VENV) build dist runs *.egg-info topiccore/*.so topiccore/_scoring.c
