# The project's commands. Each sets up .venv from requirements.lock first, where it is missing or out of date.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
DEMO := --study demo --storage runs/demo.db

.PHONY: search dashboard test lint lock picture clean

search: $(READY)  ## a real search of tiny_32, its front as a table, and pareto/*.yaml
	$(BIN)/vitscape search tiny_32 $(DEMO) --trials 16 --max-macs 2.5M --stop-epoch 3
	$(BIN)/vitscape export $(DEMO) --front --out pareto

dashboard: $(READY)  ## the study that `make search` made, in the browser
	$(BIN)/vitscape dashboard demo --storage runs/demo.db

test: $(READY)  ## the browser's tests, one after another, beside all others
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

picture: $(READY)  ## the README's pictures, of the study that `make search` made
	$(BIN)/python -m dashboard.picture $(DEMO) --out docs/front.svg
	$(BIN)/python -m dashboard.picture $(DEMO) --out docs/front_dark.svg --dark

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(READY)

lock:
	(echo "# The exact versions for development and CI (Python 3.11, Linux). \`make lock\` writes this file anew."; \
	$(BIN)/python -m pip freeze --exclude-editable) | sed 's/+cpu//; /^setuptools==/d; /^pip==/d' > requirements.lock

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
