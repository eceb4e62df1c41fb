# `make help` lists what one can do.

VENV := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SMOKE := build/smoke

# Optional development data: real datasets in $(SHARED_DIR)/data, backbone weights in $(SHARED_DIR)/weights.
SHARED_DIR ?= $(wildcard ../shared)
ifneq ($(SHARED_DIR),)
export SHARED_DIR := $(abspath $(SHARED_DIR))
ifneq ($(wildcard $(SHARED_DIR)/weights),)
export WEIGHTS_DIR ?= $(SHARED_DIR)/weights
endif
endif

.DEFAULT_GOAL := help
.PHONY: help install smoke test lint format spec clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(INSTALLED) ## Create .venv and install the pinned dependencies

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --progress-bar off --quiet --upgrade -c constraints.txt pip
	$(RUN)/pip install --progress-bar off --quiet -c constraints.txt -e ".[dev]"
	@touch $@

smoke: install ## Train on a small sample, serve it, transform lines, and count what is right
	rm -rf $(SMOKE)
	$(RUN)/multimodal-algo sample --output $(SMOKE)/data
	$(RUN)/multimodal-algo validate $(SMOKE)/data/train.csv
	$(RUN)/multimodal-algo local train --train $(SMOKE)/data/train.csv --output $(SMOKE)/job \
		-p quality=toy -p n_mins=2 -p image_backbone=squeezenet1_0
	$(RUN)/multimodal-algo local transform --model $(SMOKE)/job/model.tar.gz \
		--input $(SMOKE)/data/test_noheader.csv --output $(SMOKE)/predictions
	$(RUN)/multimodal-algo score $(SMOKE)/predictions/test_noheader.csv.out $(SMOKE)/data/test.csv

test: install ## Run the whole test-suite
	$(RUN)/python -m pytest

lint: install ## Check style and types
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

format: install ## Format the code
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

spec: install ## Write hyperparameter_specification.json and its page in docs/ from the typed model
	$(RUN)/multimodal-algo spec --output hyperparameter_specification.json
	$(RUN)/multimodal-algo spec --markdown --output docs/hyperparameters.md

clean: ## Remove what the other targets made
	rm -rf build $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
