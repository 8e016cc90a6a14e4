# `make` or `make help` lists the targets.
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST_ARGS ?=
# Tests wait for servers and browsers more than they compute. A module stays in one process, so
# that what it builds once is built once.
PYTEST := $(BIN)/pytest -n 3 --dist loadscope --no-loadscope-reorder

# What reads or writes events and their partitions; the rest never meets the tables that differ.
TIMESCALE_TESTS := tests/billing/usage tests/billing/wallets tests/dbt_project \
	tests/ingest_api/intake tests/ingest_api/live tests/orchestration tests/scenarios

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing: system libraries, .venv, the project
	@scripts/setup.sh

.PHONY: setup-test
setup-test: ## the same, and what the tests need: a browser, PDF tools
	@scripts/setup.sh --test

.PHONY: demo
demo: setup ## start everything, send three months of traffic, close the months; DEMO_EXIT=1 ends then
	@$(BIN)/billing demo

.PHONY: stack
stack: setup ## start PostgreSQL, Redis, API, writer, Dagster and console; Ctrl-C stops them
	@$(BIN)/billing stack

.PHONY: doctor
doctor: setup ## say what is missing or wrong, and the command that mends it
	@$(BIN)/billing doctor

.PHONY: test
test: setup-test ## every test, on real servers; PYTEST_ARGS="tests/stack -x" for some of them
	@$(PYTEST) $(PYTEST_ARGS)

.PHONY: chaos
chaos: setup-test ## break every part under load and compare; CHAOS_FAULTS=500 for long, CHAOS_SEED=n
	@$(BIN)/python -m tests.chaos

.PHONY: simulate
simulate: setup-test ## the intake over stores in memory, faults by seed; SIM_SEEDS=20000 for long
	@$(BIN)/python -m tests.simulation

.PHONY: cluster
cluster: setup-test ## the tests that ask Redis of money, on a Redis Cluster of three nodes and shards
	@TEST_REDIS=cluster $(PYTEST) tests/ingest_api/intake tests/ingest_api/live \
		tests/ingest_api/metrics tests/ingest_api/fuzz tests/billing/wallets \
		tests/billing/usage/test_any_order.py $(PYTEST_ARGS)

.PHONY: timescale
timescale: setup-test ## the tests that read or write events, on a real TimescaleDB (root only)
	@.ci/timescaledb.sh $(PYTEST) $(TIMESCALE_TESTS) $(PYTEST_ARGS)

.PHONY: bench-intake
bench-intake: setup ## the figures of the intake path, with every invariant checked; see bench/README.md
	@$(BIN)/python -m bench

.PHONY: bench-invoicing
bench-invoicing: setup ## drafts, issue, PDFs, an invoice on demand, webhooks; BENCH_PDFS=… for fewer
	@$(BIN)/python -m bench.documents

.PHONY: bench-rating
bench-rating: setup ## aggregation, month close, previews; BENCH_RATING_EVENTS=10000000 for the full size
	@$(BIN)/python -m bench.rating

.PHONY: bench-simulation
bench-simulation: setup ## other prices tried on a year of 10,000 accounts, each line proved first
	@$(BIN)/python -m bench.simulation

.PHONY: lint
lint: setup ## style, formatting and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

.PHONY: format
format: setup ## put the code into its form, and mend what can be mended by itself
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

.PHONY: check
check: lint test ## lint and test: what must be green before a commit

.PHONY: clean
clean: ## remove caches and what builds left; keeps .venv and the data in .local
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis dbt_project/target dbt_project/logs
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: clean-data
clean-data: ## remove the data and logs of the embedded stack, which must not be running
	@if [ -e .local/stack.lock ]; then flock -n .local/stack.lock true || \
		{ echo "The stack is running: stop it first."; exit 1; }; fi
	@if [ -L .local/postgres ]; then rm -rf -- "$$(readlink -f .local/postgres)"; fi
	@rm -rf .local
