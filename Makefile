# `make demo` needs Python 3.11 and nothing else; `make test` installs what is missing on Debian.
# What is checked stands in tox.ini; here is only how it is reached.

.DELETE_ON_ERROR:
.PHONY: help demo test chaos explore chaos-virtual deletions lock python packages clean

# The first Python that is new enough and can make a virtual environment: Debian's cannot before
# python3-venv is there, and a version manager's shim may point at nothing.
CAN := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.11 /usr/bin/python3.11 python3 python3.12 python3.13; do \
	$$python -c '$(CAN)' 2>/dev/null && echo $$python && break; done)
TOX := .tox/tool
FAILURES := .tox/failures.txt

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' Makefile

demo: .venv/.installed  ## a centre, a failure and its repair, on this machine, in a minute
	.venv/bin/supervision demo

test: packages $(TOX)/.installed  ## everything that tox.ini names; ENV=unit for one of them
	@rm -f $(FAILURES)
	FAILURES=$(abspath $(FAILURES)) $(TOX)/bin/tox run --no-list-dependencies $(if $(ENV),-e $(ENV)) \
		</dev/null || { cat $(FAILURES) 2>/dev/null; exit 1; }

chaos: packages $(TOX)/.installed  ## break everything N=300 times; SEED=7 repeats a plan, JSON=file
	$(TOX)/bin/tox run -e chaos -- --faults $(or $(N),300) \
		$(if $(SEED),--seed $(SEED)) $(if $(JSON),--json $(abspath $(JSON))) </dev/null

explore: $(TOX)/.installed  ## every state of a small world; ARGS="--simulations 2 --faults 2 --limit 20000"
	$(TOX)/bin/tox run -e explore -- $(ARGS)

chaos-virtual: $(TOX)/.installed  ## faults on a virtual clock, N=100000; SEED=17 plays one world again
	$(TOX)/bin/tox run -e chaos-virtual -- $(if $(N),--faults $(N)) $(if $(SEED),--seed $(SEED))

deletions: $(TOX)/.installed  ## each protection taken away in a copy; a test has to fail
	$(TOX)/bin/tox run -e deletions

lock: $(TOX)/.installed  ## requirements/*.txt anew; ARGS=--upgrade for newer versions
	$(TOX)/bin/tox run -e lock -- $(ARGS)

clean:  ## forget every environment and cache
	rm -rf .venv .tox .mypy_cache .ruff_cache .pytest_cache

packages: python
	@.ci/debian $$(cat requirements/debian.txt)

python:
	@[ -n "$(PYTHON)" ] || .ci/debian python3-venv

.venv/.installed: pyproject.toml requirements/runtime.txt | python
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --require-hashes -r requirements/runtime.txt
	.venv/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

$(TOX)/.installed: requirements/tox.txt | python
	$(PYTHON) -m venv --clear $(TOX)
	$(TOX)/bin/python -m pip install --quiet --require-hashes -r requirements/tox.txt
	touch $@
