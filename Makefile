# make help lists the targets: each line with a ## comment is one.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 10s
BENCH    ?= .
PKG      ?= ./...

LINT         := go tool -modfile=tools/golangci-lint/go.mod golangci-lint
REAL_SERVERS := go run ./scripts/real-servers

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/eventworker
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/eventworker ./cmd/eventworker

.PHONY: demo
demo: ## Run everything in one process: broker, fake API, storefront, worker; prints a report
	go run ./cmd/eventworker demo

.PHONY: test
test: ## Run the tests that need nothing but Go (PKG=./internal/join/ for one package)
	go test $(PKG)

.PHONY: race
race: ## The same under the race detector
	go test -race $(PKG)

.PHONY: test-real
test-real: ## Run all tests with Apache Kafka and Redis, started here (Java 17, Maven, redis-server)
	EVENTWORKER_REQUIRE_REAL=1 $(REAL_SERVERS) -- go test -count=1 $(PKG)

.PHONY: servers
servers: ## Start Apache Kafka and Redis and print their addresses; Ctrl-C stops them
	@$(REAL_SERVERS)

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (default 10s)
	FUZZTIME=$(FUZZTIME) scripts/fuzz

.PHONY: bench
bench: ## Run the Go benchmarks (BENCH=regexp, PKG=package)
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

.PHONY: bench-worker
bench-worker: ## Measure the whole worker side by side with a hand-written loop (ARGS="-logs mix -rounds 3")
	cd bench && go run . $(ARGS)

.PHONY: vet
vet: ## go vet
	go vet ./...

.PHONY: fmt
fmt: ## Format all Go files
	gofmt -w $$(git ls-files '*.go')

.PHONY: lint
lint: ## golangci-lint; its first run builds it (two minutes)
	$(LINT) run ./...

.PHONY: tidy-check
tidy-check: ## Check that go.mod and go.sum are tidy
	go mod tidy -diff

.PHONY: dashboard
dashboard: ## Write Grafana's dashboard from its tables, and the chart's copies of it and of the rules
	go run ./scripts/dashboard
	cp deploy/grafana/dashboards/eventworker.json deploy/prometheus/rules/eventworker.rules.yml deploy/helm/eventworker/files/

.PHONY: check-deploy
check-deploy: ## Check chart, alerts, dashboard, and each query against a live scrape (PARTS="rules chart")
	go run ./scripts/check-deploy $(PARTS)

.PHONY: test-compose
test-compose: ## Bring docker-compose.yml up with a Docker daemon and images made here, and send traffic through
	go run ./scripts/compose-test

.PHONY: release
release: ## Build dist/: six platforms, bills of materials, checksums
	go run ./scripts/release

.PHONY: release-check
release-check: ## Hold dist/ against its checksums and against a second build
	go run ./scripts/release -check

.PHONY: check
check: vet tidy-check lint race ## What a change should pass before it is pushed

.PHONY: ci
ci: ## Everything that the continuous integration runs
	.ci/run
