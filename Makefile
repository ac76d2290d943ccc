# Each command below sets up .venv by itself the first time and leaves it alone afterwards.
#
#   TORCH=cpu make demo     take the small CPU build of PyTorch from PyTorch's own index (about 200 MB instead of gigabytes
#                           on Linux); without it plain pip chooses
#   PYTHON=python3.12 ...   which Python makes .venv (3.11 or newer; default python3)
#   MINUTES=5 make demo     how long the demo trains (default 2.3)

PYTHON  ?= python3
TORCH   ?=
MINUTES ?= 2.3

BIN     := .venv/bin
CODE    := src tests $(wildcard recipes benchmarks)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test lint clean

help:
	@echo "make demo    train a detector on drawn scenes, offline, and look at what it finds: under 3 minutes on 2 cores"
	@echo "make test    style, types and all tests"
	@echo "make lint    style and types only"
	@echo "make clean   remove .venv and the caches; your runs/ and demo/ stay"
	@echo "TORCH=cpu make ...   takes the small CPU build of PyTorch"

demo: .venv/.ready
	$(BIN)/siseon demo --out demo --minutes $(MINUTES)

test: lint
	$(BIN)/python -m pytest -n 2

lint: .venv/.ready-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: siseon needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	  echo "remedy: install a newer one and say which: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  echo "error: .venv could not be made."; \
	  echo "remedy: on Debian and Ubuntu, sudo apt install python3-venv"; rm -rf .venv; exit 1; }
	@echo "setting up .venv (once; a few minutes with a slow network)"
ifeq ($(TORCH),cpu)
	$(INSTALL) --no-deps --index-url https://download.pytorch.org/whl/cpu "$$(grep -o 'torch>=[^"]*' pyproject.toml)"
endif
	$(INSTALL) -e .
	@touch $@

.venv/.ready-dev: .venv/.ready
	$(INSTALL) -e '.[dev]'
	@touch $@
