# Every command of the project. `make` or `make help` lists them.
# Each one sets up what it needs first (deploy/setup.sh): the first time takes minutes, later ones a tenth of a second.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
CLUSTER := $(PY) -m deploy.local
UV := .venv-setup/bin/uv
SERVICES := gateway presign_svc metadata_svc image_svc
# What ruff and mypy look at.
SOURCES := protos/generate.py runtime $(SERVICES) deploy tests

.PHONY: help
help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} \
	    /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	    /^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1 ($$1 == "scale" ? " image_svc=3" : ""), $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install whatever is missing (every other command does so too)
	@./deploy/setup.sh

##@ The cluster on this machine
.PHONY: up down status logs scale migrate prune reconcile demo
up: setup ## start what is not running; writes .local/cluster.env
	@$(CLUSTER) up

down: setup ## stop everything; data in LocalStack is gone, PostgreSQL's stays
	@$(CLUSTER) down

status: setup ## processes with state, pid, port, uptime and memory; queue depths
	@$(CLUSTER) status

logs: setup ## follow the logs; S=image_svc for one service, N=100 for more lines first
	@$(CLUSTER) logs $(if $(S),--service $(S)) $(if $(N),--lines $(N))

scale: setup ## run so many processes of a service
	@$(CLUSTER) scale $(foreach s,$(SERVICES),$(if $($(s)),$(s)=$($(s))))

migrate: setup ## bring the running cluster's database to the newest schema
	@$(CLUSTER) migrate

prune: setup ## delete rows whose time is over (the cluster does so every ten minutes, ECS by a schedule)
	@$(CLUSTER) prune

reconcile: setup ## compare buckets and rows and put right what differs, likewise (A=--dry-run only looks)
	@$(CLUSTER) reconcile $(A)

demo: setup ## the main job on real photographs; writes .local/demo/index.html
	@$(PY) -m deploy.demo

##@ Checks
.PHONY: test lint format types gates gates-setup bench-likeness bench-api memory
test: gates-setup lint types ## lint, format, types, import contracts, then all tests (T=path for some)
	@echo "== tests"
	@$(PY) -m pytest -q $(or $(T),-n 2 --dist loadscope)

lint: setup ## ruff: rules and format; import contracts
	@echo "== lint"
	@$(PY) -m ruff check -q $(SOURCES)
	@$(PY) -m ruff format --check -q $(SOURCES)
	@.venv/bin/lint-imports --no-logo

types: setup ## mypy, strict
	@echo "== types"
	@$(PY) -m mypy --no-error-summary $(SOURCES)

format: setup ## put every file into the house's format
	@$(PY) -m ruff format $(SOURCES)
	@$(PY) -m ruff check --fix $(SOURCES)

gates: setup gates-setup ## cfn-lint, cdk-nag and checkov over every stack of every environment; VARIANTS="dev prod" for some
	@$(PY) -m deploy.gates $(VARIANTS)

gates-setup:
	@./deploy/setup.sh checkov

bench-likeness: setup ## the search by likeness in a million images, against a look at every hash
	@$(PY) -m tests.bench.likeness

bench-api: setup ## requests per CPU second against a bare aiohttp POST and a FastAPI + boto3 + SQLAlchemy peer
	@$(PY) -m tests.bench.api

.PHONY: bench-imaging
bench-imaging: setup ## images per CPU second against sharp, pyvips and Pillow: writes docs/performance.md (A="--rounds 2" does not)
	@$(PY) -m tests.bench.imaging $(or $(A),--write)

##@ Container images, and the way to AWS
.PHONY: images images-base images-test deploy
images: setup ## build and check them; SERVICES="gateway …" BASE=image TAG=tag PLATFORM=linux/arm64
	@$(PY) -m deploy.images.build $(if $(BASE),--base $(BASE)) $(if $(TAG),--tag $(TAG)) \
	    $(if $(PLATFORM),--platform $(PLATFORM)) $(SERVICES)

images-base: setup ## a base image by debootstrap, where no registry can be reached (MIRROR=url)
	@$(PY) -m deploy.images.base $(if $(MIRROR),--mirror $(MIRROR)) $(if $(PLATFORM),--platform $(PLATFORM))

images-test: setup ## start all four as ECS would, send a photograph through them, end them (TAG=tag)
	@$(PY) -m deploy.images.trial $(if $(TAG),--tag $(TAG))

deploy: setup ## to AWS: STAGE=dev; PLAN=1 or CHANGES=1 only look; TAG=tag BASE=image; prod needs CONFIRM=prod
	@$(PY) -m deploy.rollout $(or $(STAGE),$(error STAGE is not set; e.g. make deploy STAGE=dev PLAN=1)) \
	    $(if $(TAG),--tag $(TAG)) $(if $(BASE),--base $(BASE)) $(if $(CONFIRM),--confirm $(CONFIRM)) \
	    $(if $(PLAN),--plan) $(if $(CHANGES),--changes) $(if $(ACCEPT_LOSS),--accept-loss $(ACCEPT_LOSS))

.PHONY: contact-sheet fuzz-imaging
contact-sheet: setup ## every output of the corpus, or of FILES=, on one page and in one picture: .local/contact-sheet
	@$(PY) -m tests.sheet $(FILES)

fuzz-imaging: setup ## 10,000 mutated files (N=), and all that were made to harm, through the sandbox and our own C; stops by itself
	@$(PY) -W ignore -m tests.fuzz.reducer $(if $(N),--files $(N)) $(if $(SEED),--seed $(SEED))
	@$(PY) -W ignore -m tests.fuzz $(if $(N),--files $(N)) $(if $(SEED),--seed $(SEED))

memory: setup ## a worker's memory after 1,000 mixed files (N=) is what it was after 100
	@MEMORY_FILES=$(or $(N),1000) $(PY) -m pytest -q -s tests/integration/image_svc/test_worker_memory.py

##@ What is generated and committed
.PHONY: protos plan plan-check costs settings templates synth diagram lock
protos: setup ## gRPC stubs, from protos/**/*.proto
	@PATH="$(CURDIR)/.venv/bin:$$PATH" $(PY) protos/generate.py

plan: setup ## month-end capacity: comparison, scheduled actions, bill, quotas; draws docs/img/scaling.svg
	@$(PY) -m deploy.capacity

plan-check: setup ## the simulated month's queue beside real workers (N=150 images), into docs/scaling.md
	@PLAN_CHECK_IMAGES=$(or $(N),150) $(PY) -m pytest -q -s tests/integration/image_svc/test_planner_against_workers.py

costs: setup ## what dev and prod cost a month, from their templates and the price table, into docs/aws.md
	@$(PY) -m deploy.capacity.costs

settings: setup ## every setting of every service, with type, default and where it comes from: docs/settings.md
	@$(PY) -m deploy.settings

templates: setup ## CloudFormation templates, from deploy/cdk
	@$(PY) -m deploy.cdk.templates

diagram: setup ## the architecture on AWS: docs/img/aws.svg and aws.png, from deploy/diagram/picture.py
	@$(PY) -m deploy.diagram

synth: setup ## the templates of STAGE=dev, staging, prod or local, into cdk.out; of all, by example, without STAGE
	@$(PY) -m deploy.cdk $(STAGE)

COMPILE := pip compile --quiet --generate-hashes --no-emit-index-url --python-version 3.11 --custom-compile-command "make lock"
lock: setup ## the hash-pinned locks, from pyproject.toml and the *.in files (U=--upgrade for newer ones)
	@$(UV) $(COMPILE) $(U) --all-extras --universal pyproject.toml -o requirements.lock
	@$(UV) $(COMPILE) $(U) deploy/local/localstack.in -o deploy/local/localstack.lock
	@$(UV) $(COMPILE) $(U) deploy/gates/checkov.in -o deploy/gates/checkov.lock
	@$(UV) $(COMPILE) $(U) --universal deploy/setup/bootstrap.in -o deploy/setup/bootstrap.lock
	@for peer in pillow pyvips; do \
	    $(UV) --no-config $(COMPILE) $(U) --universal tests/bench/imaging/peers/$$peer.in -o tests/bench/imaging/peers/$$peer.lock; \
	done

.PHONY: clean
clean: ## stop the cluster; remove its data and logs and all caches (environments stay)
	@if [ -x $(PY) ]; then $(CLUSTER) down; fi
	@rm -rf .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
