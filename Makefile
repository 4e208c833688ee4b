# The developer's verbs; `make` alone lists them. CI runs the same ones.

BIN     := bin/oprc-pm
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.buildVersion=$(VERSION)

# Given on the command line: make test GOTESTFLAGS='-run TestX -v'
GOTESTFLAGS ?=
FUZZTIME    ?= 30s
EXAMPLE     ?= deploy/examples/echo.yml

# Tests that wait more than they compute go first: the others run meanwhile.
FIRST := ./internal/testproc ./cluster ./crm/control

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/oprc-pm, a static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/oprc-pm

.PHONY: run
run: build ## one node with two simulated clusters and the example, until ^C
	@$(BIN) dev --data-dir data/dev --apply $(EXAMPLE)

.PHONY: cluster
cluster: build ## three nodes and two simulated clusters on loopback, until ^C
	@deploy/local/cluster.sh $(BIN)

.PHONY: test
test: ## all tests, with the race detector and in random order
	go test -race -shuffle=on $(GOTESTFLAGS) $(FIRST) ./...

.PHONY: conformance
conformance: ## the suite of all storage drivers, as one table: driver by case
	go run ./internal/citool conformance

.PHONY: test-cluster
test-cluster: ## only the tests with several nodes in one process
	go test -race -shuffle=on -count=1 $(GOTESTFLAGS) ./cluster/... ./internal/testcluster/...

.PHONY: test-proc
test-proc: ## only the tests that run the built program
	go test -race -shuffle=on -count=1 $(GOTESTFLAGS) ./internal/testproc/...

.PHONY: bench
bench: build ## measure reads and writes on one node and on three
	@$(BIN) bench suite --out bench/results/latest.json

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s)
	go run ./internal/citool fuzz -each $(FUZZTIME)

.PHONY: datadir
datadir: ## keep a data directory as this program writes it, NAME=RELEASE
	@test -n '$(NAME)' || { echo 'give it a name: make datadir NAME=0.2' >&2; exit 2; }
	OPRC_MAKE_DATADIR='$(NAME)' go test -count=1 -run '^TestMakeDataDir$$' ./cluster
	@ls -l cluster/testdata/datadirs/$(NAME)-*

.PHONY: proto
proto: ## generate crm/crmpb from crm/proto
	@crm/proto/generate

.PHONY: lint
lint: ## run the linters that CI runs
	.ci/lint

.PHONY: fmt
fmt: ## format the Go sources
	gofmt -w $$(git ls-files '*.go')

.PHONY: clean
clean: ## remove what was built; data/ stays
	rm -rf bin
