# Needs python3 (3.11 to 3.13) and make; everything else these targets bring themselves. `make PYTHON=/path/to/python3.12 run` names another.
PYTHON ?= python3
UV ?= uv
BIN := .venv/bin
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command 'make lock' $(UPGRADE)
WHEELS := offline-wheels
# A file's tests stay together, in order: what they share is made once. More than four boxes at once want more memory than a box has.
WORKERS := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
.DEFAULT_GOAL := help
.PHONY: help run test test-clients test-vllm test-install test-forge test-learning soak check bench bench-peers bench-router wheels keys rotate-keys sign bundle medium verify-bundle lock clean setup setup-dev

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

run: setup  ## set up, start the box, repair the bundled sample; Ctrl-C stops it
	@$(PYTHON) -m installer run $(BIN)/appliance up --sample

test: setup-dev  ## run the test suite on all cores (PYTEST="tests/line -k ship" narrows it, PYTEST="-n 0 -s" shows what tests print)
	@$(BIN)/python -m pytest $(WORKERS) --ignore=tests/benchmarks --ignore=tests/clients --ignore=tests/vllm --ignore=tests/install $(PYTEST)

test-clients: setup-dev  ## run LiteLLM, LangChain, llm, aider, Schemathesis and 10,000 made-up bodies against the gateway, in environments of their own
	@$(BIN)/python -m installer environment clients aider
	@$(BIN)/python -m pytest tests/clients $(PYTEST)

test-vllm: setup-dev  ## run vLLM's build for processors through the contract of engines (3.4 GB, in an environment of its own)
	@$(BIN)/python -m installer environment vllm
	@$(BIN)/python -m pytest tests/vllm $(PYTEST)

test-install: setup-dev  ## lead a box through its life on a bare Debian root without network: install, ship, upgrade, roll back, uninstall (as root)
	@$(BIN)/python -m pytest -n 0 -s tests/install $(PYTEST)

test-forge: export FORGE_URL := $(URL)
test-forge: export FORGE_KIND := $(or $(KIND),gitea)
test-forge: export FORGE_TOKEN_FILE := $(TOKEN_FILE)
test-forge: export FORGE_TOKEN := $(or $(TOKEN),$(FORGE_TOKEN))
test-forge: setup-dev  ## run the contract of forges over a real one: URL=https://git.example TOKEN_FILE=FILE [KIND=gitlab] [FORGE_CA=FILE]
	@test -n "$(URL)" || { echo "say URL=https://git.example TOKEN_FILE=FILE" >&2; exit 2; }
	@$(BIN)/python -m pytest tests/contracts/test_forges.py $(PYTEST)

soak: setup-dev  ## kill the processes of a real box under load for ten minutes (MINUTES=60 for an hour)
	@$(BIN)/python tests/soak/soak_gateway.py $(if $(MINUTES),--minutes $(MINUTES))

check: setup-dev  ## lint, types, import rules, house rules and documents in step
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/architecture

bench: setup-dev  ## print the measurements of tests/benchmarks
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

test-learning: setup-dev  ## play the closed loop at full size: does the router get cheaper, does search try less? (LOOP="--seed 3 --only router")
	@$(BIN)/python tests/benchmarks/closed_loop.py $(LOOP)

bench-peers: setup-dev  ## measure the gateway beside LiteLLM's proxy (in an environment of its own) and nginx (where it is installed)
	@$(BIN)/python -m installer environment peers
	@$(BIN)/python tests/benchmarks/bench_peers.py

bench-router: setup-dev  ## measure the learned router on RouteLLM's MMLU outcomes: DATA=FOLDER
	@$(BIN)/python tests/benchmarks/bench_router_quality.py $(if $(DATA),--data "$(DATA)")

wheels:  ## fill offline-wheels/ for a machine without a package index
	@$(PYTHON) -m installer wheels

keys:  ## make the keys that media are signed with, kept offline: KEYS=DIR [THRESHOLD=2 OF=3]
	@$(PYTHON) -m installer keys --keys "$(KEYS)" --threshold $(or $(THRESHOLD),1) --of $(or $(OF),1)

rotate-keys:  ## replace keys; boxes follow without a new fingerprint: KEYS=DIR REPLACE="holder-2 release" [THRESHOLD=2 OF=3]
	@$(PYTHON) -m installer rotate-keys --keys "$(KEYS)" --replace $(REPLACE) $(if $(THRESHOLD),--threshold $(THRESHOLD)) $(if $(OF),--of $(OF))

sign:  ## add another holder's signature to a medium: MEDIUM=DIR KEYS=DIR
	@$(PYTHON) -m installer sign --medium "$(MEDIUM)" --keys "$(KEYS)"

bundle:  ## build the signed bundle for a closed network into dist/: KEYS=DIR [OUT=DIR] [WITH="models=DIR mirrors=DIR osv=FILE vllm debs"] [SINCE=EARLIER]
	@$(PYTHON) -m installer bundle --keys "$(KEYS)" --out "$(or $(OUT),dist)" $(if $(WITH),--with $(WITH)) $(if $(SINCE),--since "$(SINCE)")

medium:  ## make a signed medium for boxes that run: KEYS=DIR WITH="models=DIR mirrors=DIR osv=FILE" [OUT=DIR]
	@$(PYTHON) -m installer medium --keys "$(KEYS)" --out "$(or $(OUT),dist)" --with $(WITH)

verify-bundle:  ## build the bundle twice and compare byte for byte: KEYS=DIR
	@$(PYTHON) -m installer verify-bundle --keys "$(KEYS)"

lock:  ## renew the lock files (maintainers; needs uv; UPGRADE=--upgrade takes newer releases)
	$(LOCK) --no-emit-package llama-cpp-python pyproject.toml $(WHEELS)/runtime.in -o $(WHEELS)/runtime.lock
	$(LOCK) --no-emit-package llama-cpp-python pyproject.toml $(WHEELS)/runtime.in $(WHEELS)/dev.in -c $(WHEELS)/runtime.lock -o $(WHEELS)/dev.lock
	$(LOCK) $(WHEELS)/build.in -c $(WHEELS)/runtime.lock -o $(WHEELS)/build.lock
	$(LOCK) $(WHEELS)/clients.in -o $(WHEELS)/clients.lock
	$(LOCK) $(WHEELS)/aider.in -o $(WHEELS)/aider.lock
	$(LOCK) $(WHEELS)/peers.in -o $(WHEELS)/peers.lock
	$(filter-out --universal,$(LOCK)) --python-platform x86_64-manylinux_2_28 --only-binary :all: --excludes $(WHEELS)/vllm.without $(WHEELS)/vllm.in -o $(WHEELS)/vllm.lock
	$(LOCK) $(WHEELS)/bundle.in -o $(WHEELS)/bundle.lock
	$(LOCK) --no-deps $(WHEELS)/llama.in -o $(WHEELS)/llama.lock
	$(LOCK) --no-deps $(WHEELS)/models.in -o $(WHEELS)/models.lock

clean:  ## remove the virtual environment and caches of tools; var/ and wheels stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

setup:
	@$(PYTHON) -m installer setup

setup-dev:
	@$(PYTHON) -m installer setup --dev
