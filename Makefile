# Every target installs what it needs. Start with `make run` or `make test`.
BIN := .venv/bin
RUN := sh tools/setup.sh run
DEV := sh tools/setup.sh dev
# Three workers for 2 cores, because some tests wait for clocks. Each file runs on one worker, so that its servers start
# once; tests/conftest.py orders the files.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help run test check watch coverage build bench soak contract lock format clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run:  ## start the bot (without a token: with the local Discord)
	@$(RUN)
	@$(BIN)/botctl run; code=$$?; [ $$code -eq 130 ] || exit $$code

test:  ## run all tests that CI runs
	@$(DEV)
	@$(PYTEST) -m "not soak"

check:  ## check lint, types, layers and words
	@$(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_words.py

watch:  ## run the unit tests after every change
	@$(DEV)
	@$(BIN)/python tools/watch.py

coverage:  ## run the tests and report their coverage
	@$(DEV)
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -m "not soak"
	@$(BIN)/coverage combine --quiet 2>/dev/null || true
	@$(BIN)/coverage report

build:  ## build the wheel in dist/
	@$(DEV)
	@$(BIN)/python -m build --no-isolation --outdir dist

bench:  ## compare with other libraries; raw runs go to bench/results/
	@$(DEV)
	@$(BIN)/python -m bench

soak:  ## run the long tests: kills, fuzzing; then all others beside a load of 20
	@$(DEV)
	@$(PYTEST) -m soak
	@$(BIN)/python -m tests.support.load 20 $(PYTEST) -m "not soak"

contract:  ## run the contract tests on a Redis and a MongoDB of others
	@$(DEV)
	@$(BIN)/python tools/contract_servers.py

lock:  ## pin the newest allowed versions, with hashes
	@$(DEV)
	@$(BIN)/python tools/lock.py

format:  ## format the code and fix lint
	@$(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove build results and .venv; the data in .botctl/ stays
	rm -rf tests/support/*/node_modules .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis htmlcov .coverage*
