# `make help` lists the commands. Each works alone on a fresh clone with Python 3.11+ and make.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := package models transforms pipelines
CHECKED := $(SOURCES) tests benchmarks demo setup.py
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo demo-stream test test-image test-dataflow test-flink soak soak-flink coverage bench bench-formats bench-handlers bench-streaming bench-flink bench-bigquery pictures lint types format clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

install: $(STAMP)  ## create .venv from constraints.txt

# The stamp stands only on a finished installation: one that was interrupted starts anew.
$(STAMP): setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "scoreline needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into $(VENV), the first time it takes a minute or two ..."
	@test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $@
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[catboost,lightgbm,onnx,skops,test,dev,demo]'
	@touch $@

demo: $(STAMP)  ## train a model on real data and score it, broken rows included
	$(BIN)/python demo/demo.py

demo-stream: $(STAMP)  ## the same on a live stream, with the Pub/Sub emulator
	$(BIN)/python demo/demo_stream.py

test: bigquery-parts  ## the suite that a person waits for; PYTEST_ARGS="-k words" passes arguments on
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(PYTEST_ARGS)

soak: $(STAMP)  ## the crash suite of streams, and a thousand damaged files of each model format; an hour
	$(BIN)/python -m pytest -m soak --timeout 3000 -s tests/crash tests/models $(PYTEST_ARGS)

test-image: $(STAMP)  ## what the worker image holds, made in a fresh virtual environment; a few minutes
	$(BIN)/python -m pytest -m image --timeout 1800 tests/templates $(PYTEST_ARGS)

test-dataflow: $(STAMP)  ## what a worker on Dataflow installs, in a fresh virtual environment; some minutes
	$(BIN)/python -m pytest -m dataflow --timeout 1800 tests/dataflow $(PYTEST_ARGS)

test-flink: flink-parts  ## batch and streams on a Flink cluster and on Prism; needs Java 17, Maven, Go
	$(BIN)/python -m pytest -m flink --timeout 300 tests/flink $(PYTEST_ARGS)

soak-flink: flink-parts  ## the same with 20,000,000 rows and long streams; half an hour
	$(BIN)/python -m pytest -m flink_soak --timeout 3000 -s tests/flink $(PYTEST_ARGS)

# Where a part cannot be made, the tests say what to install, or fail where services are required.
.PHONY: bigquery-parts
bigquery-parts: $(STAMP)
	-@$(BIN)/python tests/bigquery/bq_parts.py

.PHONY: flink-parts
flink-parts: $(STAMP)
	-@$(BIN)/python tests/flink/parts.py

coverage:  ## make test, and the branches that it left out; fails if those are too many
	@PYTEST_ADDOPTS="--cov --cov-report=term" $(MAKE) --no-print-directory test

bench: $(STAMP)  ## speed and memory against named alternatives (docs/performance.md); an hour
	$(BIN)/python benchmarks/parquet.py

bench-formats: $(STAMP)  ## the same for JSON lines, CSV and Avro
	$(BIN)/python benchmarks/formats.py

bench-handlers: $(STAMP)  ## our handlers against the libraries' own predict; some minutes
	$(BIN)/python benchmarks/handlers.py

bench-streaming: $(STAMP)  ## a stream against stock Beam and a loop without Beam, on the emulator
	$(BIN)/python benchmarks/streaming.py

bench-flink: flink-parts  ## a Flink cluster against the in-process runner; streams' latency and idle CPU
	$(BIN)/python benchmarks/flink.py

bench-bigquery: $(STAMP)  ## tables in and out against Beam's connector and the client, on an emulator; half an hour
	$(BIN)/python benchmarks/bigquery.py

pictures: $(STAMP)  ## measure and draw the pictures of docs/performance.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/pictures.py

lint: $(STAMP)  ## ruff: rules and format
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: $(STAMP)  ## strict mypy over scoreline.*, and the proof that it can fail
	$(BIN)/python tests/typecheck/check.py

format: $(STAMP)  ## rewrite the code in the project's format
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

clean:  ## remove what these commands made inside the checkout
	rm -rf $(VENV) .typing build *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage demo/work benchmarks/work
