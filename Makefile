# One command each: `make run` to see it, `make test` to trust it. Needs Python 3.11 or later.
# Everything is installed into .venv from hash-locked files, and kept in .state while it runs.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= python3
BIN := .venv/bin
TESTS ?= tests
HERE := $(CURDIR)

.PHONY: help run test check bench soak lock clean

help:
	@echo 'make run     start everything: database, API, worker, demo retailer; Ctrl-C stops it'
	@echo 'make test    what CI runs: format, lint, types, architecture, all tests'
	@echo 'make check   the same without the tests, in less than a minute'
	@echo 'make bench   measure against ceilings of the same machine'
	@echo 'make soak    the long runs of property tests and fuzzers'
	@echo 'make lock    resolve the dependencies of pyproject.toml anew'
	@echo 'make clean   remove the environment and caches; .state stays'

run: .venv/runtime $(BIN)/mostrador
	@exec $(BIN)/mostrador run

# A run of all tests also shows that each documented answer was given.
test: check
	$(BIN)/python -m pytest $(TESTS) -n auto --maxprocesses 4 --dist loadfile \
		$(if $(filter tests,$(TESTS)),--documented)

check: .venv/dev $(BIN)/mostrador
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/python -m pytest tests/test_architecture.py -q

bench: .venv/dev $(BIN)/mostrador
	@exec $(BIN)/python -m tests.bench

soak: .venv/dev $(BIN)/mostrador
	$(BIN)/python -m pytest $(TESTS) -n auto --dist loadfile --hypothesis-profile soak \
		--timeout 0 -o faulthandler_timeout=0

lock: .venv/dev
	$(BIN)/uv pip compile pyproject.toml $(LOCK) -o requirements.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev $(LOCK) -o requirements-dev.txt
	echo 'uv' | $(BIN)/uv pip compile - --no-annotate $(LOCK) -o requirements-uv.txt
LOCK := --universal --generate-hashes --no-header --python-version 3.11 --upgrade --quiet

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment in three steps, each repeated only when what it is made from changes.

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Mostrador needs Python 3.11 or later; $(PYTHON) is older or missing." >&2; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo 'creating .venv'
	@$(PYTHON) -m venv .venv || { \
		echo 'On Debian and Ubuntu: apt-get install python3-venv' >&2; rm -rf .venv; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-uv.txt || echo 'uv cannot be installed here; pip is slower'

.venv/runtime: requirements.txt .venv/pyvenv.cfg
	@$(call install,requirements.txt)
	@touch $@

.venv/dev: requirements-dev.txt .venv/pyvenv.cfg
	@$(call install,requirements-dev.txt,--compile-bytecode)
	@touch $@ .venv/runtime

# Tests start many processes, some where Python may not write bytecode: theirs is made here.
define install
	echo 'installing $(1)'; \
	{ test -x $(BIN)/uv && $(BIN)/uv pip install --quiet $(2) --python $(BIN)/python \
		--require-hashes -r $(1); } || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
endef

# The project is used where it stands: a path entry and a launcher, and nothing to build.
# A checkout that was moved makes them again.
ifneq ($(shell cat .venv/at 2>/dev/null),$(HERE))
.PHONY: $(BIN)/mostrador
endif
$(BIN)/mostrador: Makefile .venv/pyvenv.cfg
	@site=`$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'` && \
	printf '%s\n' "$(HERE)" > "$$site/mostrador.pth"
	@printf '#!/bin/sh\nexec "%s/.venv/bin/python" -P -m api.cli "$$@"\n' "$(HERE)" > $@
	@chmod +x $@
	@printf '%s\n' "$(HERE)" > .venv/at
