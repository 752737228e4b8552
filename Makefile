# Each target is an alias of a nox session; .venv with nox in it is made on first use.
# Arguments: make proof-pack ARGS="--jobs 20"
PYTHON ?= python3
NOX := .venv/bin/python -m nox --no-error-on-missing-interpreters
ARGS ?=

SESSIONS := smoke proof-pack check-prerequisites verify-evidence up bench test test-compose \
  lint typecheck format lock
.PHONY: help bootstrap clean $(SESSIONS)

help: bootstrap
	@$(NOX) -l

bootstrap:
	@$(PYTHON) scripts/bootstrap_environment.py

$(SESSIONS): bootstrap
	@$(NOX) -s $@ -- $(ARGS)

clean:
	rm -rf .nox .pytest_cache .mypy_cache .ruff_cache .hypothesis
