# How the driver for Node.js is built.

NODE         := drivers/node/runtime
NODE_SCRIPTS := $(patsubst $(NODE)/%,$(LIBEXEC)/node/%,$(wildcard $(NODE)/*/*js))
NODE_C       := $(addprefix $(NODE)/loop/,addon.c descriptors.c frames.c) $(LOOP_C)
NODE_ARCH    := $(patsubst aarch64,arm64,$(patsubst x86_64,x64,$(shell uname -m)))

# For the tests, which want each version that is supported, whatever the machine has.
NODE_VERSIONS := 20.20.2 22.23.3 24.21.0
NODES         := $(NODE_VERSIONS:%=$(DEPS)/node/%/bin/node)
# The oldest and the newest whose lock files are taken, and those between: tests compare their installations with the driver's.
NPM_VERSIONS  := 7.24.2 8.19.4 9.9.4 10.9.9 11.19.1 12.2.2
PNPM_VERSIONS := 9.15.9 10.34.9 11.28.11 12.21.0
NPMS          := $(NPM_VERSIONS:%=$(DEPS)/npm/npm/%) $(PNPM_VERSIONS:%=$(DEPS)/npm/pnpm/%)

PACKAGES += npm:npm
TESTED   += PIPSQUEAK_NODE=$(subst $(space),:,$(NODES)) PIPSQUEAK_NPMS=$(subst $(space),:,$(NPMS))

SANITIZE      += ./drivers/node
# One version. Left out is what runs no C code of ours, or takes long; the last starts a loop without pipsqueak-enter.
sanitize: TESTED += PIPSQUEAK_NODE=$(lastword $(NODES))
UNSANITIZED += Conforms Versions Scan Install Lock Locale Identities TestZygoteOutlivesItsDriver /node22

build: $(BIN)/pipsqueak-driver-node $(NODE_SCRIPTS) $(LIBEXEC)/esbuild
build: $(addprefix $(LIBEXEC)/node/,loop/pipsqueak.node loop/preload.so install/acorn.mjs install/yaml.mjs)
demo: $(lastword $(NODES))
demo: export PIPSQUEAK_NODE := $(lastword $(NODES))
deps-test: $(NODES) $(NPMS)

$(NODE_SCRIPTS): $(LIBEXEC)/node/%: $(NODE)/%
	@mkdir -p $(@D)
	cp $< $@

$(LIBEXEC)/node/loop/preload.so: $(addprefix $(NODE)/loop/preload.,c h map) $(addprefix $(ENTER)/watch/,watch.c names.c) \
		$(ENTER_HEADERS) | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SHARED) -Wl,-z,lazy -Wl,--version-script=$(NODE)/loop/preload.map $(ENTER_I) -o $@ $(filter %.c,$^)

$(LIBEXEC)/node/loop/pipsqueak.node: $(NODE_C) $(wildcard $(NODE)/loop/*.h) $(NODE)/loop/pipsqueak.map $(ENTER_HEADERS) | $(DEPS)/node/tools
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -U_FORTIFY_SOURCE $(SHARED) -Wl,-z,lazy -Wl,--version-script=$(NODE)/loop/pipsqueak.map \
		$(ENTER_I) -I$(DEPS)/node/tools/node_modules/node-api-headers/include -o $@ $(filter %.c,$^)

# Each parser as one file.
$(LIBEXEC)/node/install/acorn.mjs $(LIBEXEC)/node/install/yaml.mjs: $(LIBEXEC)/node/install/%.mjs: $(DEPS)/node/tools drivers/node/driver.mk
	@mkdir -p $(@D)
	cd $< && echo "export * from '$*'" | node_modules/@esbuild/linux-$(NODE_ARCH)/bin/esbuild --bundle --minify \
		--platform=neutral --main-fields=module --format=esm --log-level=error --outfile=$@

$(LIBEXEC)/esbuild: $(DEPS)/node/tools
	@mkdir -p $(@D)
	cp $</node_modules/@esbuild/linux-$(NODE_ARCH)/bin/esbuild $@

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
