# The same verbs on a laptop and in CI. `make demo` and `make test` need nothing but this tree,
# python3 (>= 3.11), go, and root on Debian; with KUBE_CONTEXT they use that cluster instead.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER := $(PYTHON) -m tests.cluster
.DEFAULT_GOAL := help
.PHONY: help setup develop lock format lint unit test e2e generate verify docs alerts dashboards cli \
  demo demo-clean images \
  cluster-up cluster-down cluster-kubectl faults faults-real bench-operator bench-metrics bench-statistics bench-serving bench-cores clients

help: ## list the verbs
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

$(VENV)/.installed: pyproject.toml operator/requirements.lock
	@echo "installing the operator and the commands into $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c operator/requirements.lock -e '.[operator]'
	touch $@

$(VENV)/.develop: $(VENV)/.installed
	@echo "installing the packages for tests and training (once, some minutes)"
	$(BIN)/pip install --quiet -c operator/requirements.lock -e '.[operator,serving,grpc,tracing,onnx,tables,training,plot,dev]'
	touch $@

setup: $(VENV)/.installed ## install the operator and the commands into .venv from the lock file

develop: $(VENV)/.develop ## install all that the other verbs need beside

lock: develop ## resolve the dependencies anew into operator/requirements.lock
	$(BIN)/uv pip compile --quiet --universal --all-extras --upgrade --no-header \
	  --no-emit-index-url --no-emit-find-links --no-annotate pyproject.toml \
	  -o operator/requirements.lock

format: develop ## format the code
	$(BIN)/ruff format --quiet operator tests
	$(BIN)/ruff check --quiet --fix operator tests

lint: develop ## style, types, layers
	$(BIN)/ruff format --check --quiet operator tests
	$(BIN)/ruff check operator tests
	$(BIN)/mypy operator/trimtab tests
	$(BIN)/lint-imports

unit: develop ## the rings without a cluster: pure, reconcile, wiring
	HELM=$$($(CLUSTER) helm) PROMTOOL=$$($(CLUSTER) promtool | tail -n 1) \
	  VERDICTS=$$($(CLUSTER) verdicts | tail -n 1) TOXIPROXY=$$($(CLUSTER) toxiproxy | tail -n 1) \
	  $(BIN)/pytest -n auto --dist worksteal \
	  tests/unit tests/security tests/corpus tests/wiring tests/faults

docs: develop ## build the pages into .site; a dead link or a missing anchor is an error
	$(BIN)/mkdocs build --strict --clean

generate: develop ## write CRDs, reference pages and manifests/install.yaml from their sources
	$(BIN)/python -m trimtab.generate
	HELM=$$($(CLUSTER) helm) manifests/render

cli: develop ## build the command line as one file into dist/, with its krew manifest
	$(BIN)/python -m trimtab.generate.single_file dist

verify: develop ## are the generated files those that the sources give?
	$(BIN)/python -m trimtab.generate --check
	HELM=$$($(CLUSTER) helm) manifests/render --check

cluster-up: ## a real Kubernetes on this machine
	$(CLUSTER) up

cluster-down: ## stop it and leave nothing behind
	$(CLUSTER) down

cluster-kubectl: ## print the command prefix that reaches the cluster
	@$(CLUSTER) kubectl-prefix

images: cluster-up ## build the images and hand them to the cluster
	$(CLUSTER) images

e2e: develop images ## the ring on a real cluster
	VERDICTS=$$($(CLUSTER) verdicts | tail -n 1) $(CLUSTER) run -- $(BIN)/pytest tests/e2e

test: develop lint docs images verify unit e2e ## everything, from nothing

demo: develop images ## play the quick start on a real cluster; WATCH=1: with Prometheus and pictures
	$(if $(WATCH),-$(BIN)/python -m tests.dashboards prepare)
	$(CLUSTER) run -- $(BIN)/python -m tests.demo $(if $(WATCH),--watch)

demo-clean: develop ## remove what the demo made; what others use of it stays
	$(CLUSTER) run -- $(BIN)/python -m tests.demo --clean

alerts: develop ## the rules in promtool, then in a real Prometheus and Alertmanager
	$(BIN)/python -m tests.alerts

dashboards: develop ## every panel drawn in a real browser from a recording of the demo
	$(BIN)/python -m tests.dashboards

faults: develop ## the operator disturbed at every request; where it ends elsewhere than undisturbed
	$(BIN)/python -m tests.faults

faults-real: develop images ## the operator killed at every write to a real API server
	$(CLUSTER) run -- $(BIN)/python -m tests.faults.real

bench-operator: develop images ## reaction times, bad answers and writes on the real cluster
	$(CLUSTER) run -- $(BIN)/python -m tests.bench.operator

bench-metrics: develop ## what a scrape of the operator's metrics of state costs
	$(BIN)/python -m tests.bench.metrics

bench-statistics: develop ## the figures of the statistics beside those of others
	$(BIN)/pip install --quiet -c operator/requirements.lock -e '.[bench]'
	$(BIN)/python -m tests.bench.statistics

.bench/serving: pyproject.toml operator/requirements.lock
	$(PYTHON) -m venv $@
	$(PYTHON) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*p["optional-dependencies"]["serving"], sep="\n")' > $@/serving.txt
	$@/bin/pip install --quiet -c operator/requirements.lock -r $@/serving.txt
	touch $@

# uvloop from 0.22 on has no loop where MLServer 1.7 asks its workers for one.
.bench/mlserver: operator/requirements.lock
	$(PYTHON) -m venv $@
	grep '^scikit-learn==' operator/requirements.lock > $@/same.txt
	$@/bin/pip install --quiet -c $@/same.txt mlserver==1.7.1 mlserver-sklearn==1.7.1 'uvloop<0.22'
	touch $@

.bench/kserve:
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet kserve==0.21.0
	touch $@

.bench/schemathesis:
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet schemathesis==4.32.5
	touch $@

clients: develop .bench/serving .bench/mlserver .bench/kserve .bench/schemathesis ## other servers' own clients, unchanged, and requests made up from the protocol
	$(BIN)/python -m tests.clients --own .bench/serving/bin/python \
	  --mlserver .bench/mlserver/bin/python --kserve .bench/kserve/bin/python \
	  --schemathesis .bench/schemathesis/bin/python

# Ours with ONNX and gRPC, with what serving-tables has, and with treelite.
.bench/more: EXTRA = onnxruntime grpcio protobuf
.bench/tables: EXTRA = pandas xgboost-cpu lightgbm
.bench/trees: EXTRA = treelite==4.8.1
.bench/more .bench/tables .bench/trees: .bench/serving
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet -c operator/requirements.lock -r .bench/serving/serving.txt $(EXTRA)
	touch $@

bench-serving: develop .bench/serving .bench/mlserver .bench/more .bench/tables .bench/trees ## the serving runtime beside MLServer and treelite
	$(BIN)/python -m tests.bench.serving --own .bench/serving/bin/python \
	  --peer .bench/mlserver/bin/python --more .bench/more/bin/python \
	  --tables .bench/tables/bin/python --trees .bench/trees/bin/python

bench-cores: develop .bench/serving ## what one pod would gain from a second core; needs a quiet machine
	$(BIN)/python -m tests.bench.serving.cores --own .bench/serving/bin/python
