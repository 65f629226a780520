# How the benchmarks are run.

# The commit whose build the benchmarks compare with: a release moves it on.
REFERENCE := a028a4df2e

bench: build deps-test $(DEPS)/reference-$(REFERENCE) ## measure the numbers of SPECIFICATION.md and write build/bench.md
	mkdir -p build && rm -f build/bench.md
	$(TESTED) PIPSQUEAK_REFERENCE=$(DEPS)/reference-$(REFERENCE)/bin PIPSQUEAK_REPORT=$(CURDIR)/build/bench.md \
		go test -run '^$$' -bench . -skip BenchmarkSoak -benchtime 1x -timeout 40m ./integration
	@cat build/bench.md

# It goes on where it was interrupted: build/study has what was measured.
study: build deps-test ## measure starts, a trace and real functions, for an hour at most, and write docs/study
	$(BIN)/pipbench study --work $(CURDIR)/build/study --out docs/study

soak: build deps-test ## fork 20,000 instances of each language, and count what failed
	$(TESTED) go test -run '^$$' -bench BenchmarkSoak -benchtime 1x -timeout 60m ./integration

$(DEPS)/reference-%: | deps
	rm -rf $@.new && mkdir -p $@.new
	git archive $* | tar -x -C $@.new
	$(MAKE) -C $@.new build DEPS=$(DEPS) BIN=$@.new/bin
	mv $@.new $@
