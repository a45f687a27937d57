# Every entry point of the project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV = $(VENV)/bin/uv
LOCKED = --no-deps --require-hashes -r requirements/product.txt -r requirements/build.txt

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

# --- first contact ---------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.product ## Index a repository on this machine and search it, without root: make demo [REPO=path or URL]
	@$(PY) -m hack.demo $(REPO)

# --- setting up ------------------------------------------------------------------------------------

.PHONY: venv
venv: $(VENV)/.complete ## Make .venv with everything that the tests need, from the locked requirements

# The locks are complete, so nothing is resolved here (--no-deps); what they leave out, they leave out on purpose.
$(VENV)/.requirements: requirements/dev.txt requirements/build.txt
	@echo "setting up $(VENV) (about a minute the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt -r requirements/build.txt
	@touch $@

# What a person needs, and nothing for development; `make venv` adds the rest to the same folder. uv, where it can be had,
# installs in seconds what takes pip most of a minute; like pip, it trusts whom the system trusts: a company's proxy, say.
# pip knows the mirrors of pip.conf, and takes over where uv fails.
$(VENV)/.product: requirements/product.txt requirements/build.txt requirements/uv.txt
	@test -f $(VENV)/.complete || { echo "setting up $(VENV) (once)" && $(PYTHON) -m venv $(VENV) \
	  && $(PY) -m pip install --quiet --no-deps --require-hashes -r requirements/uv.txt \
	  && { $(UV) pip install --quiet --system-certs --python $(PY) $(LOCKED) || $(PY) -m pip install --quiet --no-compile $(LOCKED); } \
	  && $(PY) -m pip install --quiet --no-deps --no-index --no-build-isolation --editable .; }
	@touch $@

# Editable: the tests run against the installed distribution, whose code is the checkout's.
$(VENV)/.complete: $(VENV)/.requirements pyproject.toml
	@$(PY) -m pip install --quiet --no-deps --no-index --no-build-isolation --editable .
	@touch $@

.PHONY: wheel
wheel: venv ## Build the wheel into dist/, with nothing from the network
	@$(PY) -m pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir dist .

# --- the cluster and what runs in it ---------------------------------------------------------------

.PHONY: up
up: ## Start a real Kubernetes (kind where Docker answers, else built in); NODES=2 for two nodes
	@$(PYTHON) -m hack.local_cluster up

.PHONY: stop
stop: ## End all processes of the cluster as a power failure does; `make up` goes on with the same data
	@$(PYTHON) -m hack.local_cluster stop

.PHONY: down
down: ## Stop the cluster and remove everything that it left
	@$(PYTHON) -m hack.local_cluster down
	@rm -rf .demo

.PHONY: status
status: ## Show the cluster's nodes, pods and processes
	@$(PYTHON) -m hack.local_cluster status

.PHONY: clients
clients: ## Get helm, kubectl, promtool, kubeconform and kube-score, where they are missing: they render and judge the chart
	@$(PYTHON) -m hack.local_cluster build-clients
	@$(PYTHON) -m hack.prometheus
	@$(PYTHON) -m hack.manifests

.PHONY: tools
tools: ## Compile the cluster's programs: minutes the first time, which `make up` needs
	@$(PYTHON) -m hack.local_cluster build-tools

.PHONY: image-archives
image-archives: ## Build the four images, as archives in .images/
	@$(PYTHON) -m hack.images build

.PHONY: images
images: up ## Build the four images and load them into the cluster
	@$(PYTHON) -m hack.images build
	@$(PYTHON) -m hack.images load

.PHONY: sbom
sbom: image-archives ## Say what each image holds: a bill of materials and a list of licences, in .images/
	@$(PYTHON) -m hack.images sbom

.PHONY: scan
scan: sbom ## Look for known vulnerabilities in the images, with grype and its database of today: needs the internet
	@$(PYTHON) -m hack.scripts.scan_images

.PHONY: publish
publish: ## Build the four images and push them to a registry: make publish REGISTRY=host/path [VERSION=tag]
	@$(PYTHON) -m hack.images publish '$(REGISTRY)' $(if $(VERSION),--version '$(VERSION)')

.PHONY: demo-cluster
demo-cluster: up images venv ## The same as pods of that cluster: make demo-cluster [REPO=path or URL]
	@$(PY) -m hack.demo.cluster $(REPO)

# --- tests -----------------------------------------------------------------------------------------

.PHONY: test
test: venv ## Set up everything and run every test; seconds of each suite at the end
	@$(PY) -m hack.suites

.PHONY: test-unit
test-unit: venv ## Pure tests, in seconds
	@$(PY) -m pytest -q tests/unit

.PHONY: test-chart
test-chart: venv ## The chart: lint, forty sites' values, rights, Pod Security, Kubernetes' schemas, kube-score
	@$(PY) -m pytest -q tests/unit/chart tests/operator/test_crd.py

.PHONY: test-package
test-package: venv ## The wheel in empty environments: as a person and as each image installs it
	@$(PY) -m pytest -q tests/package

.PHONY: test-store
test-store: venv ## The store, the pipeline and the harness' own checks on a real Postgres
	@$(PY) -m pytest -q tests/store tests/chaos -m "not cluster"

.PHONY: test-operator
test-operator: venv ## The planner, the actuator, the conditions
	@$(PY) -m pytest -q tests/operator -m "not cluster"

.PHONY: test-model
test-model: venv ## Random lives of jobs under faults, judged step by step: make test-model [EXAMPLES=2000]
	@CODEBASE_MODEL_EXAMPLES=$(EXAMPLES) $(PY) -m pytest -q tests/model

.PHONY: mutants
mutants: venv ## Break the product on purpose, and see that the model test notices
	@$(PY) -m tests.mutants

.PHONY: test-mcp
test-mcp: venv ## The tools, in memory and over HTTP, on a real Postgres
	@$(PY) -m pytest -q tests/mcp -m "not cluster and not clients"

.PHONY: test-embedded
test-embedded: venv ## The embedded runtime: one instance a folder, clients over stdio, ordinary users
	@$(PY) -m pytest -q -m "not large" tests/embedded

.PHONY: test-limits
test-limits: venv ## Its limits of time: the quickstart's scenarios, kills of each part; on a machine that does nothing else
	@$(PY) -m pytest -q tests/integration -m "not cluster"

.PHONY: test-clients
test-clients: venv ## Other people's clients list and call every tool, in environments of their own; the conformance suite
	@$(PY) -m pytest -q tests/mcp/clients -m clients

.PHONY: test-publish
test-publish: venv ## Push a small image to a real registry on loopback, and pull it
	@$(PY) -m pytest -q tests/publish

.PHONY: ollama
ollama: venv ## Compile a real Ollama and fetch a real model for its tests, once: 5 to 8 minutes
	@$(PY) -m tests.ollama.server

.PHONY: test-ollama
test-ollama: ollama ## Embedding services and a whole job on a real Ollama that is killed meanwhile
	@$(PY) -m pytest -q tests/ollama

.PHONY: test-cluster
test-cluster: venv up images ## Everything that needs the cluster: wiring and the quickstart's scenarios
	@$(PY) -m pytest -q -m "cluster and not large" tests

.PHONY: test-ops
test-ops: venv up images ## Day two on the cluster: a rolling upgrade under load, a real Prometheus, the database's operations
	@$(PY) -m pytest -q -s -m cluster tests/ops $(wildcard tests/integration/test_database_operations.py)

.PHONY: test-large
test-large: venv up images ## The quickstart's scenarios on the 15,000-file repository, two pods for it, ten kills of a job, twenty of an embedded instance
	@CODEBASE_TEST_FILES=15000 $(PY) -m pytest -q -s -m cluster tests/integration
	@CODEBASE_TEST_FILES=15000 $(PY) -m pytest -q -s -m large tests/e2e tests/chaos tests/embedded

.PHONY: chaos
chaos: venv up images ## The fault matrix, 12 runs of each fault: make chaos [NODES=2] [ONLY=names] [BEGIN=name] [ROUNDS=4]
	@$(PY) -m tests.chaos matrix --rounds $(or $(ROUNDS),4) $(if $(ONLY),--only $(ONLY)) $(if $(BEGIN),--begin $(BEGIN))

.PHONY: soak
soak: venv up images ## Random faults over a queue that never runs dry: make soak [MINUTES=60] [NODES=2]
	@$(PY) -m tests.chaos soak --minutes $(or $(MINUTES),60)

.PHONY: chaos-mutants
chaos-mutants: venv up images ## Run broken products on the cluster, and see that its harness notices: NODES=2
	@$(PY) -m tests.chaos.mutants

# --- measuring ---------------------------------------------------------------------------------------

.PHONY: bench-index
bench-index: venv ## Speed of indexing, beside semble's: make bench-index [FOLDER=path] [ROUNDS=3] [SIZES=1000,5000,15000] [PODS=1,2,4] [JOBS=3]
	@$(PY) -m bench.indexing.speed $(FOLDER) --rounds $(or $(ROUNDS),3) $(if $(SIZES),--sizes $(SIZES)) \
	  $(if $(PODS),--pods $(PODS)) $(if $(JOBS),--jobs $(JOBS)) --json bench/results/index.json

.PHONY: bench-search
bench-search: venv ## Search: quality on a set of queries with known answers, latency at 400,000 chunks: make bench-search SET=path [DATA=folder]
	@test -n "$(SET)" || { echo "bench-search: no development set given; make bench-search SET=path, or make bench-retrieval for our own"; exit 2; }
	@$(PY) -m bench.search.quality $(SET) --json bench/results/search.json
	@$(PY) -m bench.search.latency --data $(or $(DATA),/tmp/codebase-latency) --json bench/results/search.json
	@$(PY) -m bench.search.quantization --data $(or $(DATA),/tmp/codebase-latency) --json bench/results/search.json
	@$(PY) -m bench.search.clients --data $(or $(DATA),/tmp/codebase-latency) --writers 3 --json bench/results/search.json
	@$(PY) -m bench.search.scale $(SET) --data $(or $(DATA),/tmp/codebase-latency) --json bench/results/search.json

.PHONY: bench-exact
bench-exact: venv ## Exact search at a million chunks in 40 repositories, beside ripgrep and codesearch: make bench-exact [CHUNKS=1000000] [DATA=folder]
	@$(PY) -m bench.search.exact --data $(or $(DATA),/tmp/codebase-exact) --chunks $(or $(CHUNKS),1000000) \
	  $(if $(REPOSITORIES),--repositories $(REPOSITORIES)) --json bench/results/exact.json

.PHONY: bench-places
bench-places: venv ## Lines that name the definition that they lie in, beside each language's own parser: make bench-places FOLDERS="path ..."
	@test -n "$(FOLDERS)" || { echo "bench-places: no repositories given; make bench-places FOLDERS=\"path ...\""; exit 2; }
	@$(PY) -m bench.places.measure $(FOLDERS)

.PHONY: bench-references
bench-references: venv ## What lines do with a name, beside each language's own parser: make bench-references FOLDERS="path ..."
	@test -n "$(FOLDERS)" || { echo "bench-references: no repositories given; make bench-references FOLDERS=\"path ...\""; exit 2; }
	@$(PY) -m bench.references.measure $(FOLDERS) --json bench/results/references.json

.PHONY: bench-retrieval
bench-retrieval: venv ## The same on our own queries; records the figure below which the tests fail
	@$(PY) -m bench.search.quality --json bench/results/retrieval.json

.PHONY: bench-agents
bench-agents: venv ## 60 tasks of agents, with our tools and with grep and read: success, calls, tokens
	@$(PY) -m bench.agents --json bench/results/agents.json

.PHONY: bench-first-contact
bench-first-contact: venv ## Install, first indexes, searches, a change, a restart, beside semble: make bench-first-contact [SIZES=50,500,3000]
	@$(PY) -m bench.first_contact --sizes $(or $(SIZES),50,500,3000) --install --json bench/results/first-contact.json

.PHONY: bench-status
bench-status: venv ## Latency of status answers for 50 clients while jobs run
	@$(PY) -m bench.status_latency

# --- keeping it well -------------------------------------------------------------------------------

.PHONY: lint
lint: venv ## Style, types, layers, and that generated files are up to date
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/deptry . --no-ansi
	@$(PY) -m hack.scripts.lint_workflows
	@$(MAKE) --no-print-directory verify

.PHONY: verify
verify: venv ## Fail when a generated file is stale
	@$(PY) -m codebase_index.api.crd --check
	@$(PY) -m hack.scripts.chart_version --check
	@$(PY) -m hack.scripts.document_languages --check
	@$(PY) -m hack.scripts.document_rooms --check
	@$(PY) -m hack.scripts.document_figures --check
	@$(PY) -m hack.scripts.document_reference --check

.PHONY: generate
generate: venv ## Write the generated files anew
	@$(PY) -m codebase_index.api.crd
	@$(PY) -m hack.scripts.chart_version
	@$(PY) -m hack.scripts.document_languages
	@$(PY) -m hack.scripts.document_rooms
	@$(PY) -m hack.scripts.document_figures
	@$(PY) -m hack.scripts.document_reference

.PHONY: format
format: venv ## Format the code
	@$(VENV)/bin/ruff format
	@$(VENV)/bin/ruff check --fix

LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"
.PHONY: lock
lock: venv ## Resolve the dependencies anew into requirements/
	@$(LOCK) --group dev pyproject.toml -o requirements/dev.txt
	@$(LOCK) -c requirements/dev.txt pyproject.toml -o requirements/product.txt
	@for program in operator indexer server; do \
	  $(LOCK) -c requirements/dev.txt --group $$program -o requirements/$$program.txt; done
	@$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], "editables", sep="\n")' \
	  | $(LOCK) -c requirements/dev.txt - -o requirements/build.txt
	@echo uv | $(LOCK) -c requirements/dev.txt - -o requirements/uv.txt
