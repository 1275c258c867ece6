# The one command file. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
KERNELS := $(shell sed -n 's/^    "\(hepcat\.[a-z_.]*\)",$$/\1/p' src/hepcat/_pure.py)
SOURCES := $(addsuffix .py,$(addprefix src/,$(subst .,/,$(KERNELS))))
PXDS    := $(wildcard src/hepcat/*/*.pxd src/hepcat/*/*/*.pxd)
# pip would compile every kernel, wanted or not; `build` compiles those that changed.
WITHOUT_KERNELS := HEPCAT_KERNEL=none

.PHONY: help run test lint bench fuzz explore docs clean build peers

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

$(VENV)/.made: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("hepcat needs Python 3.11 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@echo 'installing what hepcat needs into $(VENV): a minute or two'
	$(BIN)/python -m pip install -q --disable-pip-version-check -U pip 'setuptools>=77' 'cython>=3.2'
	$(WITHOUT_KERNELS) $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[dev]'
	touch $@

$(VENV)/.built: $(VENV)/.made setup.py $(SOURCES) $(PXDS)
	@echo 'compiling the kernels that are new or changed: all of them take some minutes, one some seconds'
	$(BIN)/python setup.py -q build_ext --inplace
	touch $@

build: $(VENV)/.built ## make the virtual environment and compile the kernels

run: build ## start the server on the lake in ./data
	$(BIN)/hepcat serve

lint: build ## ruff and mypy strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint peers ## everything that decides whether a change is good
	$(BIN)/pytest -q --cache-clear || $(BIN)/python tests/again.py $$?
	HEPCAT_PURE=1 $(BIN)/pytest -q tests/wire tests/batch tests/plans tests/lake/test_order.py tests/bench/test_traffic.py

peers: build ## as root on Debian: install the real peers that tests talk to
	@$(BIN)/python tests/peers/install.py

bench: build ## measure; prints the table of docs/performance.md
	mkdir -p bench-out
	$(BIN)/hepcat bench self --json bench-out/figures.json --markdown bench-out/table.md

fuzz: build ## fuzz every parser for a minute each
	$(WITHOUT_KERNELS) $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[fuzz]' --no-build-isolation
	$(BIN)/python fuzz/run.py

explore: build ## the tests on random examples, ten times with other ones
	@for run in 1 2 3 4 5 6 7 8 9 10; do HEPCAT_EXPLORE=1 $(BIN)/pytest -q -m hypothesis || exit 1; done

docs: build ## write the generated parts of docs/ (command line, counters, schema)
	$(BIN)/python -m hepcat.cli.reference docs

clean: ## remove what the build made
	rm -rf $(VENV) build *.egg-info src/*.egg-info
	find src -name '*.so' -delete -o -name '*.c' -delete
