# `make help` lists the targets.

VENV := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The plain package, without training.
LIGHT := build/light
SDKS := build/sdks
RESNET50 := resnet50-11ad3fa6.pth

# Optional development data: real datasets in $(SHARED_DIR)/data, backbone weights in $(SHARED_DIR)/weights.
SHARED_DIR ?= $(wildcard ../shared)
ifneq ($(SHARED_DIR),)
export SHARED_DIR := $(abspath $(SHARED_DIR))
ifneq ($(wildcard $(SHARED_DIR)/weights),)
export WEIGHTS_DIR ?= $(SHARED_DIR)/weights
endif
endif

.DEFAULT_GOAL := help
.PHONY: help bench-report docs pictures install smoke images weights docker-smoke sbom audit sdks unit test lint format spec clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(INSTALLED) ## Create .venv and install the pinned dependencies: training, tests and tools

$(LIGHT)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/pip install --progress-bar off --quiet -c constraints.txt -e .
	@touch $@

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --progress-bar off --quiet --upgrade -c constraints.txt pip
	$(RUN)/pip install --progress-bar off --quiet -c constraints.txt -e ".[dev]"
	@touch $@

# $(call job,ENVIRONMENT,FOLDER,OPTIONS OF TRAINING,OPTIONS OF THE TRANSFORM): a whole job on a small sample.
define job
	rm -rf $(2)
	$(1)/bin/multimodal-algo sample --output $(2)/data
	$(1)/bin/multimodal-algo validate $(2)/data/train.csv
	$(1)/bin/multimodal-algo local train --train $(2)/data/train.csv --output $(2)/job \
		-p quality=toy -p n_mins=2 $(3)
	$(1)/bin/multimodal-algo local transform --model $(2)/job/model.tar.gz \
		--input $(2)/data/test_noheader.csv --output $(2)/predictions $(4)
	$(1)/bin/multimodal-algo score $(2)/predictions/test_noheader.csv.out $(2)/data/test.csv
endef

smoke: install ## Train on a small sample, serve the model, transform lines, and count the right answers
	$(call job,$(VENV),build/smoke)

bench-report: install ## Plot benchmarks/results.jsonl as one page, build/bench-report.html
	$(RUN)/python benchmarks/report.py benchmarks/results.jsonl --output build/bench-report.html

docs: build/docs/.installed ## Build the documentation as a site, build/docs/site, and check its links
	rm -rf build/docs/pages build/docs/site
	build/docs/venv/bin/python scripts/docs_pages.py build/docs/pages
	NO_MKDOCS_2_WARNING=1 build/docs/venv/bin/mkdocs build --strict --config-file mkdocs.yml

build/docs/.installed: pyproject.toml
	mkdir -p $(@D)
	$(PYTHON) -m venv $(@D)/venv
	$(@D)/venv/bin/pip install --progress-bar off --quiet --upgrade pip
	$(@D)/venv/bin/pip install --progress-bar off --quiet --group docs
	@touch $@

pictures: install ## Draw docs/images from the report of the tutorial's job, with chromium
	rm -rf build/pictures
	$(RUN)/multimodal-algo sample --output build/pictures --own-names
	$(RUN)/multimodal-algo split build/pictures/shop.csv --test 0.2 --label category --id sku
	$(RUN)/multimodal-algo local train --train build/pictures/shop_train.csv --images build/pictures/photos \
		--output build/pictures/job --label category --id sku -p quality=very_light -p n_mins=1
	$(RUN)/python scripts/report_pictures.py build/pictures/job/output/data/report.html docs/images

images: ## Build the training and the inference image (settings: see scripts/build_images.sh)
	scripts/build_images.sh

ifdef NETWORKS
weights: install ## Download ResNet-50 for the training image, or NETWORKS="names of timm, ids of the hub"
	$(RUN)/multimodal-algo download-networks $(NETWORKS) --output weights
else
weights: weights/$(RESNET50)
endif

weights/$(RESNET50):
	mkdir -p weights
	curl --fail --location --output $@.partial https://download.pytorch.org/models/$(RESNET50)
	echo "$$(sha256sum < $@.partial | cut -c -8)" | grep -qx 11ad3fa6  # torchvision names a file by its hash
	mv $@.partial $@

docker-smoke: $(LIGHT)/.installed ## Run `make smoke` in the images, without a network and with little memory
	@bash -c 'source scripts/docker_engine.sh'
	$(call job,$(LIGHT),build/docker-smoke,--image multimodal-training --memory 4g,--image multimodal-inference --memory 4g)

sbom: build/sbom/.installed ## List what the images hold, as CycloneDX
	scripts/sbom.sh build/sbom

audit: sbom ## Ask PyPI for known vulnerabilities of the images' packages; one that it does not know is a failure
	sed -E '/^multimodal-algo==/d; s/[+].*//' build/sbom/requirements.txt > build/sbom/audited.txt
	build/sbom/venv/bin/pip-audit --strict --no-deps --disable-pip --requirement build/sbom/audited.txt

build/sbom/.installed: Makefile
	mkdir -p $(@D)
	$(PYTHON) -m venv $(@D)/venv
	$(@D)/venv/bin/pip install --progress-bar off --quiet cyclonedx-bom==7.5.0 pip-audit==2.10.1
	@touch $@

sdks: $(SDKS)/v2/.installed $(SDKS)/v3/.installed ## Install SageMaker's SDKs, for the container tests and a notebook

$(SDKS)/v2/.installed: SDK := 'sagemaker[local]==2.257.7'
$(SDKS)/v3/.installed: SDK := sagemaker==3.27.0 ipykernel==7.4.0
$(SDKS)/%/.installed: Makefile
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --progress-bar off --quiet $(SDK)
	@touch $@

# Two files at a time. Files start in the order of their names: those that take long are in the first folders, and the
# short unit tests at the end fill what is left of both processes' time. Each has one thread for a network: on a machine
# with two cores, the threads of two processes would spend most of their time waiting for each other, busily.
PYTEST := OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

unit: install ## Run the unit tests that fit no model: the fast loop, under two minutes
	$(PYTEST) -m "not fits" tests/unit

test: install ## Run the whole test suite; the summary says what was skipped, and the command that it needs
	$(PYTEST)

lint: install ## Check style, types and spelling
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/codespell

format: install ## Format the code
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

spec: install ## Write hyperparameter_specification.json, its page in docs/, and the keys that AutoMM has
	mkdir -p build
	$(RUN)/python scripts/automm_defaults.py > build/automm_defaults.json
	mv build/automm_defaults.json src/multimodal_algo/config/automm_defaults.json
	$(RUN)/multimodal-algo spec --output hyperparameter_specification.json
	$(RUN)/multimodal-algo spec --markdown --output docs/hyperparameters.md

clean: ## Remove everything that the other targets made
	rm -rf build $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
