# Everything a newcomer or CI runs. `make help` lists it. Needs Python 3.11 or newer and make; the rest lands in .venv.
# Stamps are named after the content they were made from, so a second run does nothing until a lock file changes.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check format bench docs lock contracts artifacts venv dev clean

PYTHON ?= python3
BENCHMARKS ?= gas purchase seal delivery log crash
ARGS ?=

BIN := .venv/bin
PYPROJECT := pyproject.toml
sum = $(shell { printf '%s' "$(CURDIR)"; cat $(1); } 2>/dev/null | cksum | tr -d ' ')
VENV_MADE := .venv/.made-$(call sum,requirements/tools.txt)
RUN_MADE := .venv/.run-$(call sum,requirements/run.txt $(PYPROJECT))
DEV_MADE := .venv/.dev-$(call sum,requirements/dev.txt $(PYPROJECT))
NPM_MADE := contracts/node_modules/.made-$(call sum,contracts/package-lock.json)

# uv is quick; pip is what every Python has. Both read the same hash-pinned files.
define install
if [ -x $(BIN)/uv ] && $(BIN)/uv pip install --quiet --python $(BIN)/python $(1); then :; \
else $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1); fi
endef
lock = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(RUN_MADE) ## publish, sell, deliver and verify a dataset, start to end (ARGS="--data FILE")
	@$(BIN)/databund demo $(ARGS)

test: $(DEV_MADE) ## run every test (ARGS="tests/unit -x"); what is missing on this machine is skipped and named
	@$(BIN)/python -m pytest -q $(ARGS)

check: $(DEV_MADE) ## format, lint, types, import contracts, tests of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/house

format: $(DEV_MADE) ## format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV_MADE) ## run the benchmarks (BENCHMARKS="gas seal" ARGS="--json")
	@for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks $$name --quick $(ARGS) || exit 1; done

docs: $(DEV_MADE) ## write the reference pages that follow from the code
	@$(BIN)/python -m docs.generate

lock: $(VENV_MADE) ## resolve the newest allowed versions into requirements/*.txt
	$(lock) --group tools -o requirements/tools.txt
	$(lock) $(PYPROJECT) --group build -o requirements/run.txt
	$(lock) $(PYPROJECT) --all-extras --group build --group dev -c requirements/run.txt -o requirements/dev.txt

contracts: $(NPM_MADE) ## install forge, solc, anvil and OpenZeppelin from npm (needs Node.js 20)

artifacts: $(NPM_MADE) ## compile the smart contracts into the committed artifacts
	cd contracts && npm run --silent artifacts

venv: $(RUN_MADE) ## make .venv with databund in it
dev: $(DEV_MADE) ## make .venv with databund and everything its tests need

clean: ## remove what make, the tests and the tools left; your data folders stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf contracts/node_modules contracts/out contracts/cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV_MADE):
	@.ci/make-venv "$(PYTHON)" "$(filter-out default file,$(origin PYTHON))"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt \
		|| echo "uv is not available here; pip will do, slower." >&2
	@rm -f .venv/.made-* && touch $@

$(RUN_MADE): $(VENV_MADE)
	@echo "Installing databund and what it needs into .venv ..." >&2
	@$(call install,--require-hashes -r requirements/run.txt)
	@$(call install,--no-deps --no-build-isolation --editable .)
	@rm -f .venv/.run-* && touch $@

$(DEV_MADE): $(RUN_MADE)
	@echo "Installing what the tests need into .venv ..." >&2
	@$(call install,--require-hashes -r requirements/dev.txt)
	@rm -f .venv/.dev-* && touch $@

# Not `npm ci`: it refuses a lock file from which a registry's missing builds for other systems were left out.
$(NPM_MADE):
	@command -v npm >/dev/null || { echo "npm is missing; on Debian: apt install nodejs npm" >&2; exit 1; }
	cd contracts && npm install --no-save --no-audit --no-fund --loglevel=error
	@rm -f contracts/node_modules/.made-* && touch $@
