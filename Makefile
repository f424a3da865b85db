# `make help` lists the targets. Needs only Python 3.11+ and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo test pytest quick coverage lowest lint typecheck bench gpu-check wheel try-wheel release
# Tests and workers start hundreds of Pythons: what they import is compiled once, for all. (Compiling everything that is
# installed, most of which nobody imports, takes four times as long.)
export PYTHONDONTWRITEBYTECODE =
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ok ## make .venv with everything pinned in constraints.txt

.venv/.ok: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "muralist needs Python 3.11 or newer"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'
	$(BIN)/python -c 'import muralist.cli, muralist.pipeline.batch.run, muralist.pipeline.tasks, muralist.pipeline.workers.client'
	@touch $@

demo: .venv/.ok ## paint the example photograph at 560 px, in several tiles
	$(BIN)/python tools/example_photograph.py demo/photograph.png
	$(BIN)/muralist render demo/photograph.png -s examples/painting.jpg -o demo/painting.png --size 560 --tile 512 --overwrite
	@echo "Your painting is at $(CURDIR)/demo/painting.png"

test: lint typecheck pytest ## lint, types, import contracts and all tests; `make -j3 test` does them side by side

pytest: .venv/.ok
	$(PYTEST)

quick: .venv/.ok ## unit tests only: no processes, no whole paintings; about a minute on two cores
	$(PYTEST) -m "not integration and not slow and not gpu and not network"

coverage: .venv/.ok ## all tests, and which lines and branches of muralist they reach
	$(PYTEST) --cov --cov-report=term:skip-covered --cov-report=html:build/coverage --cov-report=xml:build/coverage.xml

lowest: .venv/.ok ## unit tests with the oldest dependencies that pyproject.toml admits
	$(BIN)/uv venv -q --clear --python $(BIN)/python build/lowest
	$(BIN)/uv pip compile -q --python $(BIN)/python --resolution lowest-direct --annotation-style line pyproject.toml \
		| grep "via .*(pyproject.toml)" > build/lowest/constraints.txt
	$(BIN)/uv pip install -q --python build/lowest/bin/python -c build/lowest/constraints.txt -e '.[dev]'
	build/lowest/bin/python -m pytest -m "not integration and not slow and not gpu and not network"

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
	rm -rf dist build/lib
	$(BIN)/uv build -q --python $(BIN)/python --wheel

try-wheel: wheel ## install the wheel into an empty environment and paint with it
	rm -rf build/try
	$(BIN)/uv venv -q --python $(BIN)/python build/try
	$(BIN)/uv pip install -q --python build/try/bin/python -c constraints.txt dist/*.whl
	cd build/try && bin/muralist render ../../examples/painting.jpg -s ../../examples/coffee-painted.jpg -o painted.png \
		--size 128 --set steps=2,1 --workers 1 --threads 1 --device cpu --report --quiet
	cd build/try && bin/muralist presets && test -s painted.png.report.html

release: ## make release VERSION=0.2.0: test, date the changelog, build, commit and tag; only the upload is left
	test -z "$$(git status --porcelain)" || { echo "commit or stash your changes first"; exit 1; }
	python3 tools/start_release.py "$(VERSION)"
	$(MAKE) test try-wheel
	$(BIN)/uv build -q --python $(BIN)/python --sdist
	git commit -q -a -m "release: $(VERSION)"
	git tag -a "v$(VERSION)" -m "muralist $(VERSION)"
	@echo "Built and tagged: dist/. To publish: git push --follow-tags && $(BIN)/uv publish dist/*"
