# Each target is an alias of a nox session; .venv with nox in it is made on first use.
# Arguments: make proof-pack ARGS="--jobs 20"; another runtime: make smoke RUNTIME=compose
PYTHON ?= python3
NOX := .venv/bin/python -m nox --no-error-on-missing-interpreters
ARGS ?=
RUNTIME ?=

GATES := $(basename $(notdir $(wildcard scripts/gates/gate[0-9]*.yaml)))
SESSIONS := smoke proof-pack $(GATES) ledger check-prerequisites validate-config verify-evidence verify pack-verify probe-security fuzz-endpoints check-secrets backup-restore status up bench \
  dev dev-logs build wheels compare-images test test-unit quick-test test-compose mutation \
  security scan-secrets test-tools schema schema-validate locust-worker ci lint typecheck format lock
.PHONY: help bootstrap clean clean-all $(SESSIONS)

help: bootstrap
	@$(NOX) -l
	@echo "make bootstrap: make .venv; make clean: remove caches; make clean-all: remove all but evidence"

bootstrap:
	@$(PYTHON) scripts/bootstrap_environment.py

smoke proof-pack probe-security fuzz-endpoints check-secrets up validate-config $(GATES): CHOSEN = $(if $(RUNTIME),--runtime $(RUNTIME))

$(SESSIONS): bootstrap
	@$(NOX) -s $@ -- $(strip $(CHOSEN) $(ARGS))

# Not a session: .venv, which nox runs from, goes as well.
clean:
	@$(PYTHON) scripts/clean_checkout.py --caches $(ARGS)

clean-all:
	@$(PYTHON) scripts/clean_checkout.py $(ARGS)
