# What CI does besides `make check` and `make test`.

VULN_VERSION := v1.9.0
VULNCHECK    := $(DEPS)/bin/govulncheck-$(VULN_VERSION)
# Another database than Go's own, such as a copy.
VULN_DB      :=

# Every fuzz target, as folder:name, and how long each runs.
FUZZ         = $(shell grep -roE '^func Fuzz[[:alnum:]]+' --include='*_test.go' */ | sed -E 's|/[^/]*:func |:|' | sort)
FUZZTIME    := 10s

# Of the drivers: the tests that `make sanitize` runs, and those of them that it leaves out. The tests of core/sandbox compile what they
# test, with sanitizers always.
SANITIZE    :=
UNSANITIZED :=
SANITIZED   := $(CURDIR)/build/sanitized

.PHONY: race fuzz sanitize vulncheck

# Of functions that compute for long and have no goroutines: make test runs them.
UNRACED     := TestForklift|TestDay

race: build deps-test ## run the tests of core and gateway with Go's race detector
	CGO_ENABLED=1 $(TESTED) go test -race -p 1 -parallel 8 -timeout 20m -skip '^($(UNRACED))$$' ./core/... ./gateway/...

# go test fails with this message alone when the time was over before the first inputs had run: then it gets more.
fuzz: build deps-test ## run each fuzz target for ten seconds (FUZZTIME)
	@one() { $(TESTED) go test -run '^$$' -fuzz "^$${1#*:}\$$" -fuzztime "$$2" -fuzzminimizetime 1s -parallel 1 "./$${1%:*}" 2>&1; }; \
	for target in $(FUZZ); do \
		said=$$(one "$$target" $(FUZZTIME)) || ! grep -qx '    context deadline exceeded' <<<"$$said" || said=$$(one "$$target" 2m) || true; \
		grep -q '^ok' <<<"$$said" || { echo "$$said"; exit 1; }; \
		echo "$$target: $$(grep -o 'execs: [0-9]*' <<<"$$said" | tail -1)"; \
	done

# go test looks at the first pattern that fits a test, and a pattern of subtests fits every test: so those are the last.
sanitize: deps-test ## run the drivers' tests over C code of ours that is built with sanitizers of addresses and undefined behaviour
	$(MAKE) build BIN=$(SANITIZED) STATIC='core/sandbox/testdata/sanitized.c -Wl,--wrap=execve' \
		CFLAGS='$(filter-out -Werror,$(CFLAGS)) -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all'
	$(TESTED:$(BIN)=$(SANITIZED)) go test -p 1 -timeout 15m $(SANITIZE) \
		-skip '$(subst $(space),|,$(filter-out /%,$(UNSANITIZED)) $(filter /%,$(UNSANITIZED)))'

# Its status is 3 if a module has a known vulnerability, and 1 if it cannot look, as where its database is out of reach.
vulncheck: $(VULNCHECK) ## look up the Go modules, and what is called of them, in Go's vulnerability database
	@$(VULNCHECK) $(VULN_DB:%=-db %) ./... || { status=$$?; [ $$status = 1 ] || exit $$status; \
		echo 'NOT CHECKED: whether a Go module has a known vulnerability; govulncheck cannot look that up here'; }

$(VULNCHECK):
	GOBIN=$(@D) go install golang.org/x/vuln/cmd/govulncheck@$(VULN_VERSION)
	mv $(@D)/govulncheck $@
