# make run, make test: all that a fresh machine with Python 3.11 needs. make help lists the rest.

PORT ?= 9000
HOST ?= 0.0.0.0
VENV := .venv
PYTHON := $(VENV)/bin/python
UV = $$(scripts/find-uv)
# What begins like a shell script, or says which shell reads it.
SHELL_SCRIPTS = $$(grep -rIlE '^(\#!.*sh|\# shellcheck shell=.*)$$' scripts .ci)

# uv trusts the certificates that the machine trusts.
export UV_SYSTEM_CERTS := true
export PORT HOST

.PHONY: help run test test-fast lint bench lock clean

help:
	@echo "make run        install what is missing and serve on HOST:PORT ($(HOST):$(PORT))"
	@echo "make test       the whole suite, the real model behind a real server included"
	@echo "make test-fast  the tests without the real model"
	@echo "make lint       ruff, ruff format, ty and shellcheck"
	@echo "make bench      measure, and write bench/RESULTS.md"
	@echo "make lock       resolve the dependencies anew"
	@echo "make clean      remove what was installed here"

run: $(VENV)/run.stamp
	@exec $(PYTHON) main.py

test: $(VENV)/dev.stamp
	$(PYTHON) -m pytest

test-fast: $(VENV)/dev.stamp
	$(PYTHON) -m pytest --ignore=tests/model

lint: $(VENV)/dev.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ty check
	$(VENV)/bin/shellcheck -x -P SCRIPTDIR $(SHELL_SCRIPTS)

bench: $(VENV)/dev.stamp .venv-bench/stamp
	$(PYTHON) -m bench

$(VENV)/run.stamp: requirements.lock | $(PYTHON)
	@echo "Installing the server's packages into $(VENV) ..."
	@$(UV) pip install --quiet --require-hashes --no-deps --python $(PYTHON) -r $<
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock | $(PYTHON)
	@echo "Installing the packages for working on the server into $(VENV) ..."
	@$(UV) pip install --quiet --require-hashes --no-deps --python $(PYTHON) -r $<
	@touch $@ $(VENV)/run.stamp

.venv-bench/stamp: bench/requirements.lock
	@echo "Installing the benchmark's peer into .venv-bench ..."
	@$(UV) venv --quiet --clear --python $$(scripts/find-python) .venv-bench
	@$(UV) pip install --quiet --require-hashes --no-deps --python .venv-bench/bin/python -r $<
	@touch $@

$(PYTHON):
	@$(UV) venv --quiet --python $$(scripts/find-python) $(VENV)

lock:
	$(UV) lock --upgrade
	$(UV) export --quiet --no-dev --no-emit-project --no-header -o requirements.lock
	$(UV) export --quiet --no-emit-project --no-header -o requirements-dev.lock
	echo xllamacpp | $(UV) pip compile --quiet --generate-hashes --no-header -o bench/requirements.lock -

clean:
	rm -rf .venv .venv-bench .tools .pytest_cache .ruff_cache .hypothesis
