# Every entry point of the project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SITE = $(shell $(PY) -c 'import site; print(site.getsitepackages()[0])')

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

# --- setting up ------------------------------------------------------------------------------------

.PHONY: venv
venv: $(VENV)/.complete ## Make .venv with everything that the tests need, from the locked requirements

# The source roots go on the path by a .pth file: the same layout as in the images, no build step.
$(VENV)/.complete: requirements/dev.txt
	@echo "setting up $(VENV) (about a minute the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --require-hashes -r requirements/dev.txt
	@printf '%s\n' "$(CURDIR)" "$(CURDIR)/operator" "$(CURDIR)/indexer_image" "$(CURDIR)/mcp_server" > $(SITE)/codebase_mcp.pth
	@touch $@
