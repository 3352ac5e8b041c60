# Works with GNU make 3.81 and later (what macOS ships) and with Python 3.11 or later.
# Everything is installed into .venv, once; it is made anew where pyproject.toml or the pins change.

VENV := .venv
BIN := $(VENV)/bin
# What training needs (the demo), and all the rest (tests, documentation).
TRAIN := $(VENV)/.installed-train
STAMP := $(VENV)/.installed

# The first of these that runs, is new enough and can make environments. Names that only exist as a
# version manager's shim, and Debian's python3 without python3-venv, fail the question and are passed over.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
# Handed to pip as they are. Linux without an NVIDIA GPU: a download of some 200 MB instead of several GB with
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=

DEMO_RECIPE := four-block-cnn
DEMO_EPOCHS ?= 8

# uv installs quicker, where it is there. It is to choose among indices as pip does.
INSTALL := $(if $(shell command -v uv 2>/dev/null), uv pip install --index-strategy unsafe-best-match --python $(BIN)/python, $(BIN)/python -m pip install)

# One thread each: two processes of several threads would wait for one another.
FAST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: demo test check format docs dist lock clean help

demo: $(TRAIN) ## train on drawn faces, evaluate, write demo/report.html
	rm -rf demo
	$(BIN)/mien train $(DEMO_RECIPE) --data synthetic --out demo/run --set epochs=$(DEMO_EPOCHS)
	$(BIN)/mien evaluate demo/run --data synthetic --split validation
	$(BIN)/mien evaluate demo/run --data synthetic --split test
	cp demo/run/report.html demo/report.html
	@echo "Done. Open demo/report.html in a browser."

test: $(STAMP) ## the fast tests, in two processes
	$(FAST)

check: $(STAMP) ## format, lint, types, import directions, the fast tests, then the slow ones
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(FAST)
	$(BIN)/python -m pytest -m slow

format: $(STAMP) ## put the code into its one format, mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## build the documentation into site/, every warning an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "Done. Open site/index.html in a browser."

dist: $(STAMP) ## build sdist and wheel, try the wheel in a clean environment without extras
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python tools/try_wheel.py dist

lock: $(STAMP) ## pin in constraints.txt what .venv holds (constraints.txt says when)
	{ grep '^#' constraints.txt; \
	  $(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude mien | sed '/^nvidia-/d; /^cuda-/d; /^triton==/d; s/+.*//'; } > constraints.tmp
	mv constraints.tmp constraints.txt
	touch $(TRAIN) $(STAMP)

clean: ## remove what these targets made, .venv too
	rm -rf $(VENV) demo dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# An environment without a working interpreter or pip is made anew; one that a failed install left behind is completed.
$(TRAIN): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { \
		echo "mien needs Python 3.11 or later with the venv module: install one, or name it: make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	$(INSTALL) $(PIP_ARGS) -c constraints.txt -e '.[train]'
	@touch $@

$(STAMP): $(TRAIN)
	$(INSTALL) $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@
