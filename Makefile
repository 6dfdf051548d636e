# Two commands do everything on a fresh machine with git, make and Python 3.11 or newer:
#   make demo   install songbag into .venv and run the whole path on a synthetic collection
#   make test   install it with its tools and run linters, type checks and tests
# And more: make docs builds the site of the documentation. make bench-install, make bench or bench-quick (small
# numbers), and make bench-report measure songbag beside its peers. ESC10=FOLDER adds the time to a score on ESC-10.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
FILES := pyproject.toml constraints.txt

.PHONY: demo test docs test-long lint clean bench-install bench bench-quick bench-report

demo: $(VENV)/installed-all
	@echo "songbag: running the demo in ./demo"
	$(BIN)/songbag demo demo

# Hundreds of processes load the same modules: what one of them has compiled is kept for the others.
test: lint
	@echo "songbag: running the tests, three at a time: many of them wait for other processes"
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 3 --dist worksteal

docs: $(VENV)/installed-dev
	@echo "songbag: writing the site of the documentation into ./site"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "songbag: open site/index.html"

test-long: $(VENV)/installed-musicnn
	@echo "songbag: the protocol in 20,000 schedules, 200 rounds of killed writers, 10 of killed trainings, long songs"
	SONGBAG_LONG=1 $(BIN)/pytest -m long

bench-install: $(VENV)/installed-all
	@echo "songbag: installing the peers of the benchmarks into .bench (some minutes and 9 GB, once)"
	$(BIN)/python -m benchmarks.peers install

bench: $(VENV)/installed-all
	$(BIN)/python -m benchmarks.peers run $(if $(ESC10),--esc10 $(ESC10))

bench-quick: $(VENV)/installed-all
	$(BIN)/python -m benchmarks.peers run --scale quick

bench-report: $(VENV)/installed-all
	$(BIN)/python -m benchmarks.peers report

lint: $(VENV)/installed-dev
	@echo "songbag: checking style and types"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed-all: $(FILES) | $(BIN)/python
	@echo "songbag: installing songbag and what it needs into $(VENV) (some minutes, once)"
	$(PIP) install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/installed-dev: $(FILES) | $(BIN)/python
	@echo "songbag: installing songbag with what its tests need into $(VENV) (some minutes, once)"
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/installed-all

# Only its weights are read. Its own requirements are of 2019.
$(VENV)/installed-musicnn: $(VENV)/installed-dev
	@echo "songbag: installing the weights of musicnn into $(VENV)"
	$(PIP) install --quiet --no-deps musicnn==0.1.0
	@touch $@

$(BIN)/python:
	@echo "songbag: making a Python environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "songbag: needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "songbag: python3 cannot make environments; on Debian: apt install python3-venv"; exit 1; }

clean:
	rm -rf $(VENV) demo site .mypy_cache .pytest_cache .ruff_cache .hypothesis .bench
