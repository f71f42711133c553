# `make demo` and `make test` need Python 3.11 and make; they set up .venv themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1

.PHONY: install demo test check lint types fast bench stage app packages clean

install: $(STAMP)

# One pip call: two calls end in conflicts between the converters' pins.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/headtail demo --json

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: lint types fast

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not device'

BENCH_BUNDLE := build/efficientnet_lite0.bundle

$(BENCH_BUNDLE): $(STAMP)
	$(BIN)/headtail export exporters.efficientnet_lite0 -o $@ --precision fp32 --force

bench: $(STAMP) $(BENCH_BUNDLE)
	$(BIN)/python benchmarks/startup.py
	PYTHONPATH=. $(BIN)/python benchmarks/payload.py
	PYTHONPATH=. $(BIN)/python benchmarks/app_start.py
	$(BIN)/python benchmarks/multi_entry.py
	$(BIN)/python -m benchmarks.runtimes
	PYTHONPATH=. $(BIN)/python benchmarks/peers/install.py
	PYTHONPATH=. $(BIN)/python benchmarks/server.py $(BENCH_BUNDLE)
	$(BIN)/python -m benchmarks.mutations
	$(BIN)/python benchmarks/zoo.py
	PYTHONPATH=. $(BIN)/python benchmarks/quant.py
	PYTHONPATH=. $(BIN)/python benchmarks/fashion.py

stage: $(STAMP)
	$(BIN)/headtail stage

app: $(STAMP)
	$(BIN)/headtail app

packages:
	.ci/packages.sh

clean:
	rm -rf $(VENV) build dist
