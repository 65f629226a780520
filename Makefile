# Two commands are enough: `make demo` and `make test`. Both install what is missing and build what has changed.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Folder of everything that is built; the tests build into another one by giving BIN.
BIN     := $(CURDIR)/bin
DEPS    := $(CURDIR)/.deps
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

UV_VERSION     := 0.13.9
LINT_VERSION   := v2.15.0
PYTHON_FILES   := $(patsubst drivers/python/runtime/%,$(BIN)/libexec/python/%,$(wildcard drivers/python/runtime/*.py drivers/python/runtime/programs/*.py)) $(BIN)/libexec/python/preload.so
NATIVE_C       := $(wildcard drivers/native/runtime/*.c)
NATIVE_FILES   := $(BIN)/libexec/native/host $(BIN)/libexec/native/rehearsal.so $(BIN)/libexec/native/once $(patsubst drivers/native/runtime/%,$(BIN)/libexec/native/%,$(wildcard drivers/native/runtime/include/*))
NODE_FILES     := $(patsubst drivers/node/runtime/%,$(BIN)/libexec/node/%,$(wildcard drivers/node/runtime/*.js drivers/node/runtime/*.mjs)) \
	$(BIN)/libexec/node/pipsqueak.node $(BIN)/libexec/node/preload.so $(BIN)/libexec/esbuild $(BIN)/libexec/node/acorn.mjs $(BIN)/libexec/node/yaml.mjs
# For the tests, which want each version that is supported, whatever the machine has.
NODE_VERSIONS  := 20.20.2 22.23.3 24.21.0
NODES          := $(foreach version,$(NODE_VERSIONS),$(DEPS)/node/$(version)/bin/node)
# The oldest and the newest whose lock files are taken, and those between: what they install is compared with what is installed here.
NPM_VERSIONS   := 7.24.2 8.19.4 9.9.4 10.9.9 11.19.1 12.2.2
PNPM_VERSIONS  := 9.15.9 10.34.9 11.28.11 12.21.0
NPMS           := $(foreach version,$(NPM_VERSIONS),$(DEPS)/npm/npm/$(version)) $(foreach version,$(PNPM_VERSIONS),$(DEPS)/npm/pnpm/$(version))
NODE_ARCH      := $(patsubst aarch64,arm64,$(patsubst x86_64,x64,$(shell uname -m)))
# Not the python3 in PATH: pyenv and its like put others in front, and the driver uses the system's.
PYTHON         := /usr/bin/python3
RUBY_FILES     := $(patsubst drivers/ruby/runtime/%,$(BIN)/libexec/ruby/%,$(wildcard drivers/ruby/runtime/*.rb)) $(BIN)/libexec/ruby/zygote.so

space          := $(subst ,, )
# What tests are told: where the programs are, and which versions of Node.js and of its package managers to use.
TESTED         := PIPSQUEAK_BIN=$(BIN) PIPSQUEAK_NODE=$(subst $(space),:,$(NODES)) PIPSQUEAK_NPMS=$(subst $(space),:,$(NPMS))

export CGO_ENABLED = 0
GO_BUILD := go build -trimpath -buildvcs=auto -ldflags '-s -w'
CC       := cc
CFLAGS   := -O2 -Wall -Wextra -Werror -fvisibility=hidden -D_GNU_SOURCE

.PHONY: help demo serve build test check bench soak conform generate clean deps deps-test deps-bench deps-generate FORCE

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: build $(lastword $(NODES)) ## start a worker, deploy the examples, invoke each cold, as a fork and warm, show the table and the tree
	PIPSQUEAK_NODE=$(lastword $(NODES)) go run ./examples -bin $(BIN) -examples examples

serve: build ## start a worker on http://127.0.0.1:8080 with its data in ./build/data
	$(BIN)/pipsqueak serve --data $(CURDIR)/build/data

build: deps $(BIN)/pipsqueak $(BIN)/drivercheck $(BIN)/pipsqueak-driver-python $(BIN)/libexec/pipsqueak-enter $(BIN)/libexec/libpipsqueak-enter.so $(BIN)/libexec/uv $(BIN)/libexec/attestations $(PYTHON_FILES) $(BIN)/pipsqueak-driver-native $(NATIVE_FILES) \
	$(BIN)/pipsqueak-driver-node $(NODE_FILES) $(BIN)/pipsqueak-driver-ruby $(RUBY_FILES) ## build everything into bin/

# Integration takes as long as all others together, and begins first: so the others run beside it.
test: build deps-test $(NODES) ## run every test
	go vet ./...
	$(TESTED) go test -p 2 -timeout 35m ./integration ./...

check: $(DEPS)/bin/golangci-lint-$(LINT_VERSION) deps-generate ## lint, formatting, and generated code against its source
	@unformatted=$$(gofmt -l */); [ -z "$$unformatted" ] || { echo "not formatted by gofmt: $$unformatted"; exit 1; }
	$< run ./...
	@sums() { find */ \( -name '*.pb.go' -o -name '*_pb2*.py*' \) -not -path '*/__pycache__/*' -exec sha256sum {} + | sort; }; before=$$(sums); go generate ./...; \
	[ "$$before" = "$$(sums)" ] || { echo 'generated code was not up to date; it is now, commit it'; exit 1; }

bench: deps-bench build $(NODES) ## measure the numbers of SPECIFICATION.md and write build/bench.md
	mkdir -p build && rm -f build/bench.md
	$(TESTED) PIPSQUEAK_REPORT=$(CURDIR)/build/bench.md go test -run '^$$' -bench . -skip BenchmarkSoak -benchtime 1x -timeout 40m ./integration
	@cat build/bench.md

soak: build $(NODES) ## fork 20,000 instances of each language, and count what failed
	$(TESTED) go test -run '^$$' -bench BenchmarkSoak -benchtime 1x -timeout 60m ./integration

conform: build deps-test $(NODES) ## examine every driver with the conformance kit, over the real wire, and the kit with flawed drivers
	$(TESTED) go test -count 1 -p 1 -timeout 10m ./core/driver/... ./cmd/drivercheck ./drivers/...
	$(TESTED) go test -count 1 -timeout 5m -run TestDriver ./integration

generate: deps-generate ## make generated code anew (protoc)
	go generate ./...

clean: ## remove everything that was built or installed here
	rm -rf $(CURDIR)/bin $(CURDIR)/build $(DEPS)

# ---- what the machine needs --------------------------------------------------------------------------------------------

# packages,<list of command:package>: installs the packages whose commands are missing, and asks apt only then.
define packages
	@missing=(); for one in $(1); do command -v "$${one%%:*}" >/dev/null || [ -e "$${one%%:*}" ] || missing+=("$${one##*:}"); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
		echo "installing $${missing[*]}"; \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$${missing[@]}"; \
	fi
endef

# libc6-dev is what has stdio.h; python3-venv is what has the wheels of ensurepip; ruby-dev and make build gems.
deps:
	$(call packages,cc:gcc c++:g++ /usr/include/stdio.h:libc6-dev /usr/include/http_parser.h:libhttp-parser-dev $(PYTHON):python3 $(shell $(PYTHON) -c 'import ensurepip, sys; sys.stdout.write(ensurepip.__file__)' 2>/dev/null || echo /nonexistent):python3-venv npm:npm \
		/usr/bin/ruby:ruby $(shell /usr/bin/ruby -rrbconfig -e 'print RbConfig::CONFIG["rubyhdrdir"], "/ruby.h"' 2>/dev/null || echo /nonexistent):ruby-dev)

# What functions of the tests are built with, what the drivers of the examples need, and what commands of the documents use.
deps-test: $(NPMS) $(DEPS)/grpc | deps
	$(call packages,cmake:cmake rustc:rustc /usr/bin/luajit:luajit /usr/share/lua/5.1/dkjson.lua:lua-dkjson /usr/bin/bundle:ruby-bundler curl:curl jq:jq)

deps-bench:
	$(call packages,wrk:wrk)

deps-generate: $(DEPS)/grpc
	$(call packages,protoc:protobuf-compiler)

$(DEPS)/uv-$(UV_VERSION): | deps
	mkdir -p $(DEPS)
	rm -rf $(DEPS)/venv
	$(PYTHON) -m venv $(DEPS)/venv
	$(DEPS)/venv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	cp $(DEPS)/venv/bin/uv $@

# Wheels only, at the versions and with the digests of the file, for the interpreter that runs them: the system's.
$(DEPS)/attestations: drivers/python/tools/requirements.txt $(DEPS)/uv-$(UV_VERSION)
	rm -rf $@
	$(DEPS)/uv-$(UV_VERSION) pip install --quiet --no-deps --require-hashes --only-binary :all: --python $(PYTHON) --target $@ -r $<
	touch $@

# A Python with gRPC: it generates code (cmd/pipsqueak/generate.sh), and the frozen driver in integration/testdata runs with it.
$(DEPS)/grpc: cmd/pipsqueak/requirements.txt | deps
	rm -rf $@
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# At the versions and with the digests of the lock file.
$(DEPS)/node/tools: drivers/node/tools/package.json drivers/node/tools/package-lock.json | deps
	rm -rf $@
	mkdir -p $@
	cp $^ $@
	cd $@ && npm ci --silent --ignore-scripts --no-audit --no-fund

$(DEPS)/node/%/bin/node: | deps
	rm -rf $(DEPS)/node/$*
	mkdir -p $(DEPS)/node/$*/npm
	cd $(DEPS)/node/$*/npm && npm install --silent --ignore-scripts --no-audit --no-fund --no-save --prefix . node-linux-$(NODE_ARCH)@$*
	mkdir $(@D)
	mv $(DEPS)/node/$*/npm/node_modules/node-linux-$(NODE_ARCH)/bin/node $@
	rm -rf $(DEPS)/node/$*/npm

# A directory for each version, with node_modules.
$(DEPS)/npm/%: | deps
	rm -rf $@
	mkdir -p $@
	cd $@ && npm install --silent --ignore-scripts --no-audit --no-fund --no-save --prefix . $(subst /,@,$*)

$(DEPS)/bin/golangci-lint-$(LINT_VERSION):
	mkdir -p $(DEPS)/bin
	GOBIN=$(DEPS)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(DEPS)/bin/golangci-lint $@

# ---- what is built -----------------------------------------------------------------------------------------------------

GO_SOURCES := go.mod go.sum $(shell find core gateway cmd drivers -name testdata -prune -o \( -name '*.go' -o -name '*.py' -o -name '*.json' -o -name popular.txt \) -not -name '*_test.go' -print 2>/dev/null) $(shell find cmd/pipsqueak/newdriver -type f 2>/dev/null)
ENTER      := core/sandbox/enter
# What a library calls is found when it is loaded, and not by each child anew.
NOW        := -Wl,-z,now

# The version goes into the program (go version -m), so a new commit makes a new program.
$(DEPS)/version: FORCE
	@mkdir -p $(DEPS); [ "$$(cat $@ 2>/dev/null)" = '$(VERSION)' ] || echo '$(VERSION)' > $@

$(BIN)/pipsqueak $(BIN)/drivercheck: $(BIN)/%: $(GO_SOURCES) $(DEPS)/version
	@mkdir -p $(@D)
	$(GO_BUILD) -o $@ ./cmd/$*

$(BIN)/pipsqueak-driver-%: $(GO_SOURCES) $(DEPS)/version
	@mkdir -p $(@D)
	$(GO_BUILD) -o $@ ./drivers/$*

$(BIN)/libexec/pipsqueak-enter: $(ENTER)/enter.c $(ENTER)/init.c $(ENTER)/launch.c $(ENTER)/enter.h $(ENTER)/init.h | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -static -o $@ $(ENTER)/enter.c $(ENTER)/init.c $(ENTER)/launch.c

LIBRARY := $(ENTER)/enter.c $(ENTER)/init.c $(ENTER)/zygote.c $(ENTER)/endpoint.c

$(BIN)/libexec/libpipsqueak-enter.so: $(LIBRARY) $(ENTER)/enter.h $(ENTER)/init.h $(ENTER)/zygote.h $(ENTER)/endpoint.h | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(NOW) -shared -fPIC -o $@ $(LIBRARY)

$(BIN)/libexec/python/%.py: drivers/python/runtime/%.py
	@mkdir -p $(@D)
	cp $< $@

# What code asks for while it is imported.
WATCH := $(ENTER)/watch.c $(ENTER)/look.c $(ENTER)/names.c

$(BIN)/libexec/python/preload.so: $(WATCH) $(ENTER)/watch.h $(ENTER)/look.h $(ENTER)/names.h | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(NOW) -shared -fPIC -o $@ $(WATCH)

$(BIN)/libexec/ruby/%.rb: drivers/ruby/runtime/%.rb
	@mkdir -p $(@D)
	cp $< $@

# It needs nothing of Ruby's to be built, and serves every version.
$(BIN)/libexec/ruby/zygote.so: drivers/ruby/runtime/zygote.c drivers/ruby/runtime/zygote.map $(wildcard $(ENTER)/*) | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(NOW) -shared -fPIC -Wl,--version-script=drivers/ruby/runtime/zygote.map -I$(ENTER) -o $@ drivers/ruby/runtime/zygote.c $(ENTER)/enter.c $(ENTER)/init.c $(ENTER)/zygote.c $(ENTER)/threads.c $(WATCH)

$(BIN)/libexec/native/host: $(NATIVE_C) $(wildcard drivers/native/runtime/*.h) drivers/native/runtime/include/pipsqueak.h $(wildcard $(ENTER)/*) | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fno-omit-frame-pointer -DTRIPLET='"$(shell $(CC) -print-multiarch)"' -I$(ENTER) -o $@ $(NATIVE_C) $(ENTER)/enter.c $(ENTER)/init.c $(ENTER)/zygote.c $(ENTER)/threads.c $(WATCH) -Wl,-z,now -l:libhttp_parser.a

$(BIN)/libexec/native/rehearsal.so: drivers/native/runtime/rehearsal/rehearsal.c drivers/native/runtime/include/pipsqueak.h | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -shared -fPIC -o $@ $<

$(BIN)/libexec/native/once: drivers/native/runtime/once/once.c drivers/native/runtime/include/pipsqueak.h | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $<

$(BIN)/libexec/native/include/%: drivers/native/runtime/include/%
	@mkdir -p $(@D)
	cp $< $@

$(BIN)/libexec/uv: $(DEPS)/uv-$(UV_VERSION)
	@mkdir -p $(@D)
	cp $< $@

$(BIN)/libexec/attestations: $(DEPS)/attestations
	rm -rf $@
	@mkdir -p $(@D)
	cp -r $< $@

NODE_RUNTIME := drivers/node/runtime

$(BIN)/libexec/node/preload.so: $(NODE_RUNTIME)/preload.c $(NODE_RUNTIME)/preload.h $(NODE_RUNTIME)/preload.map | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -shared -fPIC -Wl,-z,lazy -Wl,--version-script=$(NODE_RUNTIME)/preload.map -o $@ $<

ADDON := $(addprefix $(NODE_RUNTIME)/,addon.c descriptors.c endpoint.c) $(ENTER)/enter.c $(ENTER)/init.c $(ENTER)/zygote.c

$(BIN)/libexec/node/pipsqueak.node: $(ADDON) $(wildcard $(NODE_RUNTIME)/*.h) $(NODE_RUNTIME)/pipsqueak.map $(wildcard $(ENTER)/*.h) | $(DEPS)/node/tools
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -U_FORTIFY_SOURCE -shared -fPIC -Wl,-z,lazy -Wl,--version-script=$(NODE_RUNTIME)/pipsqueak.map -I$(DEPS)/node/tools/node_modules/node-api-headers/include -o $@ $(ADDON)

# Each parser as one file.
$(BIN)/libexec/node/acorn.mjs $(BIN)/libexec/node/yaml.mjs: $(BIN)/libexec/node/%.mjs: $(DEPS)/node/tools Makefile
	@mkdir -p $(@D)
	cd $< && echo "export * from '$*'" | node_modules/@esbuild/linux-$(NODE_ARCH)/bin/esbuild --bundle --minify --platform=neutral --main-fields=module --format=esm --log-level=error --outfile=$@

$(BIN)/libexec/node/%: drivers/node/runtime/%
	@mkdir -p $(@D)
	cp $< $@

$(BIN)/libexec/esbuild: $(DEPS)/node/tools
	@mkdir -p $(@D)
	cp $(DEPS)/node/tools/node_modules/@esbuild/linux-$(NODE_ARCH)/bin/esbuild $@
