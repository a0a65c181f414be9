# Each target sets up what it needs in .venv; the first run downloads, later ones start at once.
.PHONY: demo test lint lock bench bench-accuracy format docs clean help
.DEFAULT_GOAL := help

PY := .venv/bin/python
READY := .venv/.ready-$(shell cat requirements/dev.txt pyproject.toml scripts/bootstrap.sh | sha256sum | cut -c1-16)

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY):
	@bash scripts/bootstrap.sh $@

demo: $(READY) ## the whole story on a GitHub on this machine, from init to rollback; leaves build/demo
	$(PY) -m trackside demo --out build/demo

test: $(READY) lint ## lint, then all tests
	$(PY) -m pytest -n 2 --dist loadfile

lint: $(READY) ## ruff, mypy, and the linters of workflows and actions
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) scripts/lint_workflows.py

format: $(READY) ## format the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: $(READY) ## write the generated pages of docs/
	$(PY) scripts/generate_docs.py

lock: $(READY) ## compile the hash-pinned lock files
	bash scripts/lock.sh

bench: $(READY) ## measure the figures of benchmarks/, side by side with the peers
	$(PY) benchmarks/run.py

bench-accuracy: $(READY) ## how often a drift check cries over nothing, and what it surely finds
	PYTHONPATH=src $(PY) benchmarks/accuracy.py --out docs/drift-accuracy.md

clean: ## remove what the targets made
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis
