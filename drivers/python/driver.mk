# How the driver for Python is built.

PYTHON_RUNTIME := drivers/python/runtime
PYTHON_SCRIPTS := $(patsubst $(PYTHON_RUNTIME)/%,$(LIBEXEC)/python/%,$(wildcard $(PYTHON_RUNTIME)/*/*.py $(PYTHON_RUNTIME)/loop/*/*.py))

# The system's Python reads byte code, others the text: there is no place in a sandbox where they could write theirs.
PYTHON_COMPILE := import py_compile, sys; py_compile.compile(sys.argv[1], dfile=sys.argv[2], doraise=True, \
	invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)

UV_VERSION := 0.13.9
UV         := $(DEPS)/uv-$(UV_VERSION)

build: $(BIN)/pipsqueak-driver-python $(PYTHON_SCRIPTS) $(LIBEXEC)/python/loop/preload.so $(LIBEXEC)/uv $(LIBEXEC)/attestations

$(PYTHON_SCRIPTS): $(LIBEXEC)/python/%: $(PYTHON_RUNTIME)/%
	@mkdir -p $(@D)
	cp $< $@
	PYTHONHASHSEED=0 $(PYTHON) -c '$(PYTHON_COMPILE)' $@ /pipsqueak/$(@:$(LIBEXEC)/%=%)

$(LIBEXEC)/python/loop/preload.so: $(WATCH_C) $(ENTER_HEADERS) | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SHARED) $(NOW) -o $@ $(filter %.c,$^)

$(LIBEXEC)/uv: $(UV)
	@mkdir -p $(@D)
	cp $< $@

$(LIBEXEC)/attestations: $(DEPS)/attestations
	rm -rf $@
	@mkdir -p $(@D)
	cp -r $< $@

$(UV): | deps
	rm -rf $(DEPS)/venv
	$(PYTHON) -m venv $(DEPS)/venv
	$(DEPS)/venv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	cp $(DEPS)/venv/bin/uv $@

# Wheels only, at the versions and with the digests of the file, for the interpreter that runs them: the system's.
$(DEPS)/attestations: drivers/python/tools/requirements.txt $(UV)
	rm -rf $@
	$(UV) pip install --quiet --no-deps --require-hashes --only-binary :all: --python $(PYTHON) --target $@ -r $<
	touch $@
