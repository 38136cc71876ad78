# Every target does the set-up it needs: uv (with pip, where it is missing), then the locked environment.
SHELL := bash
comma := ,
PYTHON ?= $(shell python3.12 -c '' 2>/dev/null && echo python3.12 || echo python3)
UV ?= $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .tools/bin/uv)
RUN := .venv/bin
# One process more than there are cores, since some tests wait. Each process needs 1 to 2 GB.
PROCESSES ?= $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN); echo $$((n < 7 ? n + 1 : 8)))

export DAGSTER_MODULE_NAME := lambda_hat_assets
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE

.PHONY: llc test test-faults test-slurm test-torch mutants lint audit format ui ui-test docs bench clean
.DEFAULT_GOAL := llc

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet uv

.venv/.synced: uv.lock pyproject.toml | $(if $(filter .tools/%,$(UV)),.tools/bin/uv)
	$(UV) sync --frozen --quiet
	@touch $@

# Dagster advises `dg launch` each time.
llc: export PYTHONWARNINGS := $(if $(PYTHONWARNINGS),$(PYTHONWARNINGS)$(comma))ignore:Function `job_execute_command` is superseded
llc: .venv/.synced  ## run the whole experiment: targets, runs, analyses, gallery, SQL
	$(RUN)/dagster job execute -j llc

test: lint  ## all tests except those of faults, SLURM and the browser
	$(RUN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder \
		--ignore tests/faults --ignore tests/slurm --ignore tests/ui

test-faults: .venv/.synced  ## kills at random moments, full disks, too little memory
	$(RUN)/pytest -n 2 --dist worksteal tests/faults

test-slurm: .venv/.synced  ## tests on a real SLURM, which root on Debian installs and starts
	tests/slurm/with.sh $(RUN)/pytest tests/slurm

test-torch: .venv/.synced  ## tests of PyTorch modules, for which it installs PyTorch (6 GB)
	$(UV) sync --frozen --quiet --extra torch
	$(RUN)/pytest tests/torch

mutants: .venv/.synced  ## mistakes in the numerics, one at a time: a test must detect each
	$(RUN)/python -m tests.mutants --processes $(PROCESSES)

lint: .venv/.synced  ## format, lint and types
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/pyright

audit: .venv/.synced  ## known vulnerabilities of the locked packages; offline it says so and passes
	$(UV) audit --frozen --preview-features audit-command 2>.venv/audit.log || { code=$$?; cat .venv/audit.log >&2; \
		grep -q "error sending request" .venv/audit.log \
		&& echo "the database of vulnerabilities cannot be reached, so nothing was audited" || exit $$code; }

format: .venv/.synced
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

ui: .venv/.synced  ## the Dagster UI on loopback
	$(RUN)/dagster dev

ui-test: .venv/.synced  ## tests of the UI and galleries in a headless Chromium, which root installs
	command -v chromium >/dev/null || (apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium)
	$(UV) sync --frozen --quiet --group ui
	$(RUN)/pytest tests/ui

docs: .venv/.synced  ## the generated pages, then the site in site/; a link that leads nowhere fails
	$(RUN)/python docs/reference.py > docs/config.md
	$(RUN)/python docs/glossary.py > docs/glossary.md
	$(UV) sync --frozen --quiet --inexact --group docs
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict

bench: .venv/.synced  ## benchmarks of accuracy, speed, costs and all samplers, against their bars
	$(RUN)/python bench/truth.py
	$(RUN)/python bench/coverage.py
	$(RUN)/python bench/verdicts.py
	$(RUN)/python bench/answers.py
	$(RUN)/python bench/checkpoints.py
	$(RUN)/python bench/speed.py
	$(RUN)/python bench/certificate.py
	$(RUN)/python bench/plateaus.py
	$(RUN)/python bench/orchestration.py
	$(RUN)/python bench/load.py
	$(RUN)/python bench/threads.py
	$(RUN)/python bench/samplers.py
	$(RUN)/python bench/tuning.py

clean:
	rm -rf .venv .tools .pytest_cache .ruff_cache
