# Everything runs in a virtual environment of its own, .venv. Needed beforehand: make and Python 3.10, 3.11 or 3.12.

CHECK_PYTHON := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do $$p -c '$(CHECK_PYTHON)' 2>/dev/null && echo $$p && break; done)
# versions to keep to, such as constraints/torch-2.11.txt; scripts/versions.sh goes through them
CONSTRAINTS ?=
BIN := .venv/bin

.PHONY: quickstart test lint clean

quickstart: .venv/installed
	$(BIN)/python scripts/quickstart.py prepare
	$(BIN)/python -m basicsr.train -opt options/train_dinoir_quickstart.yml
	$(BIN)/python scripts/quickstart.py report

test: .venv/installed
	$(BIN)/python -m pytest --numprocesses auto

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv datasets/quickstart experiments/dinoir_quickstart* tb_logger/dinoir_quickstart*
	rm -rf experiments/daclip_*_quickstart* tb_logger/daclip_*_quickstart*

# anew whenever setup.py changes; torch and torchvision in one command, so that they fit each other
.venv/installed: setup.py dinoir_plugin_autoload.pth
	@test -n "$(PYTHON)" || { echo "No Python 3.10, 3.11 or 3.12 found. Install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade pip setuptools wheel
	$(BIN)/python -m pip install $(CONSTRAINTS:%=-c %) torch torchvision
	$(BIN)/python -m pip install $(CONSTRAINTS:%=-c %) -e ".[test]"
	touch $@
