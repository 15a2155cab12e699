# `make demo` and `make test` are all that a newcomer needs; both set up .venv first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
CORES ?= $(shell nproc)
# uv ignores pip's own setting of a folder with wheels; without one this stays empty.
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)

# Headers that let the C++ sources of zeroc-ice 3.6.5 compile for today's Python.
ICE := $(CURDIR)/lib/omero/ice_compat

.PHONY: help demo test test-slurm lint format benchmark lock view omero omero-demo omero-up clean

help:
	@echo "make demo        simulate a small screen, run the workflow on it, print what it found"
	@echo "make test        all tests that need no cluster"
	@echo "make test-slurm  run a small screen through a one-node Slurm (needs root, Debian)"
	@echo "make lint        ruff, snakefmt and snakemake --lint"
	@echo "make benchmark   seconds and memory of every rule"
	@echo "make view        look at the demo in the browser (after make demo)"
	@echo "make omero       install what talks to OMERO (builds zeroc-ice: some minutes, a compiler)"
	@echo "make omero-demo  the demo from and to a test server of OMERO"
	@echo "make omero-up    start a real OMERO server (needs docker)"

.venv/.stamp: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Poolscope needs Python 3.11 or newer"'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(BIN)/python -m compileall -q lib
	touch $@

requirements.lock:
	@echo "requirements.lock is missing: restore it from the repository, or run make lock"; exit 1

demo: .venv/.stamp
	$(BIN)/python -m lib.simulate demo --wells A1 A2 --tiles 4 --tile-size 512 --guides 60 --jobs $(CORES)
	@echo "Running the workflow on it: one or two minutes."
	$(BIN)/snakemake --configfile config/config.yml --cores $(CORES) --quiet all
	$(BIN)/snakemake --configfile config/config.yml --cores $(CORES) --report demo/report.html --quiet all
	@$(BIN)/python -m lib.simulate summary demo demo/results \
		--show "report=demo/report.html" \
		--show "preview=demo/results/sbs/eval/P-1_W-A1__preview.png" \
		--show "cells=demo/results/sbs/parquets/P-1_W-A1__cells.parquet"

test: .venv/.stamp
	$(BIN)/pytest -m "not slurm" -n 2

test-slurm: .venv/.stamp
	$(BIN)/pytest -m slurm tests/integration

lint: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint --configfile tests/config/lint.yml

format: .venv/.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow

benchmark: .venv/.stamp
	$(BIN)/python tests/benchmarks/rules.py

view: .venv/.stamp
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[view]'
	$(BIN)/python -m visualization.serve demo/results --open

.venv/wheels/.stamp: | .venv/.stamp
	@echo "zeroc-ice 3.6.5 is built, once, where it is not found ready-made: up to four minutes"
	@CXXFLAGS="-I$(ICE) -include $(ICE)/frame.h" \
		$(BIN)/pip wheel --quiet --no-deps --wheel-dir .venv/wheels zeroc-ice==3.6.5 || \
		{ echo "zeroc-ice was not built: it needs a compiler and headers" \
			"(Debian: apt-get install g++ libssl-dev libbz2-dev)"; exit 1; }
	touch $@

omero: .venv/.stamp .venv/wheels/.stamp
	$(BIN)/uv pip install --quiet --python $(BIN)/python --find-links .venv/wheels --editable '.[omero]' \
		"ezomero>=3.2" "omero-cli-zarr>=0.9"
	@echo "What talks to OMERO is installed: make omero-demo shows it, docs/omero.md tells how to log in"

omero-demo: omero
	rm -rf demo/omero
	$(BIN)/python tests/omero_server/demo.py demo/omero

omero-up:
	docker compose up --detach --wait

lock: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --upgrade --extra dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf demo .pytest_cache .ruff_cache .hypothesis .snakemake
