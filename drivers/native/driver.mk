# How the driver for compiled functions is built.

NATIVE         := drivers/native/runtime
NATIVE_C       := $(filter-out %/rehearsal.c,$(wildcard $(NATIVE)/loop/*.c)) $(LOOP_C) $(THREADS_C) $(WATCH_C) $(DRAWS_C)
NATIVE_HEADERS := $(wildcard $(NATIVE)/loop/*.h) $(NATIVE)/include/pipsqueak.h $(ENTER_HEADERS)
NATIVE_INCLUDE := $(patsubst $(NATIVE)/%,$(LIBEXEC)/native/%,$(wildcard $(NATIVE)/include/*))

PACKAGES      += c++:g++ /usr/include/http_parser.h:libhttp-parser-dev
TEST_PACKAGES += cmake:cmake rustc:rustc

SANITIZE      += ./drivers/native
# It looks for a library by the caller of dlopen, which is the library of the sanitizers then.
UNSANITIZED   += TestHiddenNeeds

build: $(BIN)/pipsqueak-driver-native $(NATIVE_INCLUDE) $(addprefix $(LIBEXEC)/native/,loop/host loop/rehearsal.so once)

$(NATIVE_INCLUDE): $(LIBEXEC)/native/%: $(NATIVE)/%
	@mkdir -p $(@D)
	cp $< $@

$(LIBEXEC)/native/loop/host: $(NATIVE_C) $(NATIVE_HEADERS) | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fno-omit-frame-pointer -DTRIPLET='"$(shell $(CC) -print-multiarch)"' $(ENTER_I) -o $@ \
		$(filter %.c,$^) $(NOW) -Wl,--export-dynamic-symbol=_ZNSt13random_device9_M_getvalEv -l:libhttp_parser.a

$(LIBEXEC)/native/loop/rehearsal.so: $(NATIVE)/loop/rehearsal.c $(NATIVE)/include/pipsqueak.h | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SHARED) -o $@ $<

$(LIBEXEC)/native/once: $(NATIVE)/once/once.c $(NATIVE)/include/pipsqueak.h | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $<
