# Every target does its own set-up; `make run` and `make test` are all that a newcomer needs.
BIN := .venv/bin
RUN := sh tools/setup.sh run
DEV := sh tools/setup.sh dev
# Three workers: the suite is made for 2 cores, and some of it waits for clocks. A file stays on one worker, so that its
# servers are started once; files are taken in the order of tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help run test check watch coverage build bench soak lock format clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run:  ## start the bot (with no token: against the local Discord)
	@$(RUN)
	@$(BIN)/botctl run; code=$$?; [ $$code -eq 130 ] || exit $$code

test:  ## all tests that CI runs
	@$(DEV)
	@$(PYTEST) -m "not soak"

check:  ## lint, types, layers
	@$(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

watch:  ## run the tests of what changes, as it changes
	@$(DEV)
	@$(BIN)/python tools/watch.py

coverage:  ## the tests, with what they reach
	@$(DEV)
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -m "not soak"
	@$(BIN)/coverage combine --quiet 2>/dev/null || true
	@$(BIN)/coverage report

build:  ## the wheel, in dist/
	@$(DEV)
	@$(BIN)/python -m build --no-isolation --outdir dist

bench:  ## side by side with peers; raw runs go to bench/results/
	@$(DEV)
	@$(BIN)/python -m bench

soak:  ## the long forms: kills, fuzz, many thousands
	@$(DEV)
	@$(PYTEST) -m soak

lock:  ## pin the newest versions that fit, with hashes
	@$(DEV)
	@$(BIN)/python tools/lock.py

format:  ## put the code in order
	@$(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what was built and installed; data under .botctl/ stays
	rm -rf tests/support/*/node_modules .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis htmlcov .coverage*
