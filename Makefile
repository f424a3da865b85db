# `make help` lists the targets. Needs only Python 3.11+ and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint typecheck bench gpu-check wheel

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ok ## make .venv with everything pinned in constraints.txt

.venv/.ok: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "muralist needs Python 3.11 or newer"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/.ok ## paint the example photograph, two thirds of a megapixel in several tiles
	$(BIN)/python tools/example_photograph.py demo/photograph.png
	$(BIN)/muralist render demo/photograph.png -s examples/painting.jpg -o demo/painting.png --preset draft --size 1000 --overwrite
	@echo "Your painting is at $(CURDIR)/demo/painting.png"

test: .venv/.ok lint typecheck ## lint, types, import contracts and tests: everything CI runs
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lint: .venv/.ok ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typecheck: .venv/.ok ## mypy, strict
	$(BIN)/mypy

bench: .venv/.ok ## the benchmarks, tests/benchmarks/README.md (two hours on two cores)
	for b in step quick_ways cost scaling growth whole_job curves memory; do $(BIN)/python tests/benchmarks/$$b.py || exit 1; done
	$(BIN)/python tests/benchmarks/quality.py --one-level

gpu-check: .venv/.ok ## tests and benchmarks on this machine's GPU, four minutes: tests/benchmarks/results/gpu-NAME.md
	$(BIN)/python tests/benchmarks/gpu_check.py

wheel: .venv/.ok ## build the wheel into dist/
	$(BIN)/uv build --python $(BIN)/python --wheel
