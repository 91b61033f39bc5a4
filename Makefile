# Every target sets itself up: .venv is made from $(PYTHON) and follows pyproject.toml and constraints.txt.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
BIN := .venv/bin

# The book and the tests start many Pythons, and each imports torch: in 3 s, or in 17 where byte code is not kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help book test figures bench lab clean check
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo "make book      build the book into _build/html and say where to open it"
	@echo "make test      build the book and run all tests; those in a browser need Chromium (CHROMIUM=/path/to/it)"
	@echo "make figures   draw figures/ from the committed records"
	@echo "make bench     time a training step against the machine's limit; 20 minutes on an idle machine"
	@echo "make lab       open the notebooks in JupyterLab"
	@echo "make clean     remove what was built; .venv stays (rm -r .venv)"
	@echo "The first one installs into .venv, some minutes; another Python: make book PYTHON=python3.12"

# A build with warnings forgets what it read, or else the next one would skip the bad pages and pass.
book: .venv/book.stamp
	$(BIN)/jupyter-book build -W --keep-going book/ || \
	    { rm -rf _build/.doctrees; exit 1; }
	@echo "The book: $(CURDIR)/_build/html/index.html"

test: .venv/test.stamp book
	$(BIN)/pytest -rs -n auto

figures: .venv/book.stamp
	$(BIN)/lottery figure

bench: .venv/book.stamp
	$(BIN)/python -m benchmarks

lab: .venv/lab.stamp
	$(BIN)/jupyter lab notebooks/

clean:
	rm -rf _build book/notebooks .pytest_cache .hypothesis

.venv/test.stamp: EXTRAS = ,test,sweep
.venv/lab.stamp: EXTRAS = ,lab
.venv/%.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv; the first time this takes some minutes, as PyTorch is large."
	$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check -c constraints.txt -e ".[book$(EXTRAS)]" || \
	    { echo "error: pip could not install the packages (see above): is the network there? Then run make again" >&2; \
	    exit 1; }
	@touch $@ .venv/book.stamp

.venv/bin/python: | check
	"$(PYTHON)" -m venv --clear .venv

check:
	@command -v "$(PYTHON)" >/dev/null || { echo "error: '$(PYTHON)' not found: install Python 3.10 or newer," \
	    "or name one, as in \`make book PYTHON=/path/to/python3\`" >&2; exit 1; }
	@"$(PYTHON)" tools/check_python.py
