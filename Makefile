# Two commands are enough: `make demo` and `make test`. Both install what is missing and build what has changed.
# drivers/<language>/driver.mk says how a driver is built, and adds to the targets and lists of this file.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Folder of everything that is built; the tests build into another one by giving BIN.
BIN     := $(CURDIR)/bin
LIBEXEC := $(BIN)/libexec
DEPS    := $(CURDIR)/.deps

# Not the python3 in PATH: pyenv and its like put others in front, and the driver uses the system's.
PYTHON       := /usr/bin/python3
LINT_VERSION := v2.15.0
LINT         := $(DEPS)/bin/golangci-lint-$(LINT_VERSION)

# Go's own cache knows which program is stale. The commit is in the program (go version -m), so a new one makes a new program.
export CGO_ENABLED = 0
GO_BUILD := go build -trimpath -buildvcs=auto -ldflags '-s -w'
CC       := cc
CFLAGS   := -O2 -Wall -Wextra -Werror -fvisibility=hidden -D_GNU_SOURCE
SHARED   := -shared -fPIC
# The loader binds a library's calls when it loads the library, so that no child does it again.
NOW      := -Wl,-z,now

# Packages of the machine, as command:package or file:package: of the build; of the tests, of the functions and drivers that they
# make, and of commands of the documents.
PACKAGES      = cc:gcc /usr/include/stdio.h:libc6-dev $(PYTHON):python3 $(PYTHON_VENV):python3-venv
TEST_PACKAGES = /usr/bin/luajit:luajit /usr/share/lua/5.1/dkjson.lua:lua-dkjson curl:curl jq:jq wrk:wrk strace:strace \
                chromium-headless-shell:chromium-headless-shell nft:nftables pg_lsclusters:postgresql redis-server:redis-server nginx:nginx
# The venv of Debian's python3 works with the wheels of python3-venv.
PYTHON_VENV   = $(shell $(PYTHON) -c 'import ensurepip; print(ensurepip.__file__)' 2>/dev/null || echo /nonexistent)
# The environment of the tests, and what `make test` runs.
TESTED       := PIPSQUEAK_BIN=$(BIN)
TESTS        := ./integration ./...
space        := $(subst ,, )

.PHONY: help demo serve build test check lint generated bench study soak conform generate clean deps deps-test deps-generate FORCE

include .ci/ci.mk core/sandbox/enter/enter.mk drivers/*/driver.mk integration/attack.mk integration/bench.mk

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: build ## start a worker, deploy the examples, invoke each cold, as a fork and warm, show the table and the tree
	go run ./examples -bin $(BIN) -examples examples

serve: build ## start a worker on http://127.0.0.1:8080 with its data in ./build/data
	$(BIN)/pipsqueak serve --data $(CURDIR)/build/data

build: deps $(BIN)/pipsqueak $(BIN)/drivercheck $(BIN)/pipbench ## build everything into bin/

# Integration takes as long as all others together, and begins first: so the others run beside it.
test: build deps-test ## run every test
	go vet ./...
	$(TESTED) go test -p 2 -timeout 38m $(TESTS)

check: lint generated ## lint, formatting, and generated code against its source

lint: $(LINT)
	@unformatted=$$(gofmt -l */); [ -z "$$unformatted" ] || { echo "not formatted by gofmt: $$unformatted"; exit 1; }
	$(LINT) run ./...

generated: deps-generate
	@sums() { find */ \( -name '*.pb.go' -o -name '*_pb2*.py*' \) -not -path '*/__pycache__/*' -exec sha256sum {} + | sort; }; \
	before=$$(sums); go generate ./...; \
	[ "$$before" = "$$(sums)" ] || { echo 'generated code was not up to date; it is now, commit it'; exit 1; }

conform: build deps-test ## examine every driver with the conformance kit, over the real wire, and the kit with flawed drivers
	$(TESTED) go test -count 1 -p 1 -timeout 10m ./core/driver/... ./cmd/drivercheck ./drivers/...
	$(TESTED) go test -count 1 -timeout 5m -run TestDriver ./integration

generate: deps-generate ## make generated code again (protoc)
	go generate ./...

clean: ## remove everything that was built or installed here
	rm -rf $(CURDIR)/bin $(CURDIR)/build $(DEPS)

$(BIN)/pipsqueak $(BIN)/drivercheck $(BIN)/pipbench: $(BIN)/%: FORCE
	$(GO_BUILD) -o $@ ./cmd/$*

$(BIN)/pipsqueak-driver-%: FORCE
	$(GO_BUILD) -o $@ ./drivers/$*

# packages,<list>: installs the packages whose commands or files are missing, and asks apt only then.
define packages
	@missing=(); for one in $(1); do \
		command -v "$${one%%:*}" >/dev/null || [ -e "$${one%%:*}" ] || missing+=("$${one##*:}"); \
	done; \
	if [ $${#missing[@]} -gt 0 ]; then \
		echo "installing $${missing[*]}"; \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$${missing[@]}"; \
	fi
endef

deps:
	$(call packages,$(PACKAGES))

deps-test: $(DEPS)/grpc | deps
	$(call packages,$(TEST_PACKAGES))

deps-generate: $(DEPS)/grpc | deps
	$(call packages,protoc:protobuf-compiler)

# A Python with gRPC: it generates code (cmd/pipsqueak/generate.sh), and the frozen driver in integration/testdata runs with it.
$(DEPS)/grpc: cmd/pipsqueak/requirements.txt | deps
	rm -rf $@
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(LINT):
	GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(@D)/golangci-lint $@
