# How the driver for Ruby is built.

RUBY         := drivers/ruby/runtime
RUBY_SCRIPTS := $(patsubst $(RUBY)/%,$(LIBEXEC)/ruby/%,$(wildcard $(RUBY)/*/*.rb))

# ruby-dev, and make, build gems.
PACKAGES      += /usr/bin/ruby:ruby $(RUBY_H):ruby-dev
TEST_PACKAGES += /usr/bin/bundle:ruby-bundler
RUBY_H         = $(shell /usr/bin/ruby -rrbconfig -e 'print RbConfig::CONFIG["rubyhdrdir"], "/ruby.h"' 2>/dev/null || echo /nonexistent)

SANITIZE      += ./drivers/ruby
# The library of the sanitizers takes calls for random numbers in place of ours.
UNSANITIZED   += TestDrawsInC

build: $(BIN)/pipsqueak-driver-ruby $(RUBY_SCRIPTS) $(LIBEXEC)/ruby/loop/zygote.so

$(RUBY_SCRIPTS): $(LIBEXEC)/ruby/%: $(RUBY)/%
	@mkdir -p $(@D)
	cp $< $@

# It needs nothing of Ruby's to be built, and serves every version.
$(LIBEXEC)/ruby/loop/zygote.so: $(addprefix $(RUBY)/loop/,zygote.c zygote.map) $(THREADS_C) $(ZYGOTE_C) $(WATCH_C) \
		$(ENTER_HEADERS) | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SHARED) $(NOW) -Wl,--version-script=$(RUBY)/loop/zygote.map $(ENTER_I) -o $@ $(filter %.c,$^)
