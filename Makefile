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

# What an export imports: optimum-cli's help also works where an export would not.
EXPORT := import nncf, openvino_tokenizers, optimum.exporters.openvino.__main__, optimum.intel

# The embedded model's weights as a download, and behind a dash each format that it is exported to.
DOWNLOAD := .cache/SmolLM2-135M-Instruct
FORMATS := $(DOWNLOAD)-fp16 $(DOWNLOAD)-int8 $(DOWNLOAD)-int4
FALLBACK_int4 := --group-size-fallback adjust

.PHONY: help run install uninstall test test-fast test-chaos test-convert convert-env lint bench lock clean

help:
	@echo "make run           install what is missing and serve on HOST:PORT ($(HOST):$(PORT))"
	@echo "make install       link the scripts into PREFIX/bin (~/.local) and set up the service"
	@echo "make uninstall     take that back"
	@echo "make convert-env   install what converts models (1.3 GB), apart from the server's packages"
	@echo "make test          the whole suite, the real model behind a real server included"
	@echo "make test-fast     the tests without the real model"
	@echo "make test-chaos    overload, faults and nonsense for some minutes; make test has a short part"
	@echo "make test-convert  real conversions beside a running server; needs convert-env, and makes it"
	@echo "make lint          ruff, ruff format, ty and shellcheck"
	@echo "make bench         measure, and write bench/RESULTS.md; makes convert-env as well"
	@echo "make lock          resolve the dependencies anew"
	@echo "make clean         remove what was installed or made here"

run: $(VENV)/run.stamp
	@exec $(PYTHON) main.py

install: $(VENV)/run.stamp
	@PREFIX="$(PREFIX)" scripts/install

uninstall:
	@PREFIX="$(PREFIX)" scripts/install --remove

test: test-fast
	$(PYTHON) -m pytest tests/model tests/chaos

test-fast: $(VENV)/dev.stamp
	$(PYTHON) -m pytest --numprocesses 2 --dist worksteal --ignore=tests/model --ignore=tests/chaos

test-chaos: $(VENV)/dev.stamp
	$(PYTHON) -m pytest tests/chaos --full

test-convert: $(VENV)/dev.stamp .venv-convert/stamp $(DOWNLOAD)
	$(PYTHON) -m pytest tests/exports

lint: $(VENV)/dev.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ty check
	$(VENV)/bin/shellcheck -x -P SCRIPTDIR $(SHELL_SCRIPTS)

bench: $(VENV)/dev.stamp .venv-bench/stamp $(FORMATS)
	$(PYTHON) -m bench

$(VENV)/run.stamp: requirements.lock | $(PYTHON)
	@echo "Installing the server's packages into $(VENV) ..."
	@$(UV) pip install --quiet --require-hashes --no-deps --python $(PYTHON) -r $<
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock | $(PYTHON)
	@echo "Installing the packages for working on the server into $(VENV) ..."
	@$(UV) pip install --quiet --require-hashes --no-deps --python $(PYTHON) -r $<
	@touch $@ $(VENV)/run.stamp

convert-env: .venv-convert/stamp

# Made beside it and renamed when it has been tried: what has the name is whole.
.venv-convert/stamp: requirements-convert.lock
	@echo "Installing the packages that convert models into .venv-convert, 1.3 GB ..."
	@$(UV) venv --quiet --clear --relocatable --python $$(scripts/find-python) .venv-convert.part
	@scripts/with-torch $(UV) pip install --quiet --require-hashes --no-deps \
		--python .venv-convert.part/bin/python -r $<
	@.venv-convert.part/bin/python -c '$(EXPORT)'
	@touch .venv-convert.part/stamp
	@rm -rf .venv-convert
	@mv .venv-convert.part .venv-convert

$(DOWNLOAD): tests/exports/hffolder.py .venv-convert/stamp | $(VENV)/dev.stamp
	@echo "Making the embedded model into a Hugging Face folder, $@ ..."
	@mkdir -p $(@D)
	@file=$$($(PYTHON) -c 'import ov_server.modelfiles as m; print(m.embedded_model())') && \
		TQDM_DISABLE=1 HF_HUB_OFFLINE=1 .venv-convert/bin/python $< "$$file" $@

# As ov-convert-model does it.
$(FORMATS): $(DOWNLOAD)-%: $(DOWNLOAD)
	@echo "Exporting it to $* ..."
	@rm -rf $@.part
	@HF_HUB_OFFLINE=1 .venv-convert/bin/optimum-cli export openvino --model $< \
		--task text-generation-with-past --weight-format $* $(FALLBACK_$*) $@.part \
		>$@.log 2>&1 || { cat $@.log; exit 1; }
	@rm -rf $@
	@mv $@.part $@

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
	grep -oE '^openvino(-tokenizers)?==[^ ]+' requirements.lock | scripts/with-torch $(UV) \
		pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-package torch -o requirements-convert.lock requirements-convert.in -
	sed -i '/^# The following packages were excluded/,$$d' requirements-convert.lock
	sed -n '/^# torch/,$$p' requirements-convert.in >> requirements-convert.lock

clean:
	rm -rf .venv .venv-bench .venv-convert .venv-convert.part .tools .cache .pytest_cache .ruff_cache .hypothesis
