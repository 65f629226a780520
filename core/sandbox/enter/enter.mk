# How the program that enters a sandbox, and the library that loops load, are built. Drivers in C link the same sources:
#
#     enter.c init.c fork.c landlock.c
#                      the way into a sandbox: all of them
#     launch.c keep.c  the program that starts another one inside: pipsqueak-enter alone
#     loop/            what the loop of a zygote and its instances needs: a driver's extension, or libpipsqueak-enter.so
#     watch/           what notes which variables, files and random numbers code asks for while it is imported: an extension,
#                      or a preloaded library

ENTER         := core/sandbox/enter
ENTER_I       := -I$(ENTER) -I$(ENTER)/loop -I$(ENTER)/watch
ENTER_HEADERS := $(wildcard $(ENTER)/*.h $(ENTER)/*/*.h)
ENTER_C       := $(addprefix $(ENTER)/,enter.c init.c fork.c landlock.c)
ZYGOTE_C      := $(ENTER_C) $(ENTER)/loop/zygote.c
LOOP_C        := $(ZYGOTE_C) $(ENTER)/loop/endpoint.c
THREADS_C     := $(ENTER)/loop/threads.c
WATCH_C       := $(addprefix $(ENTER)/watch/,watch.c look.c names.c)
DRAWS_C       := $(ENTER)/watch/draws.c

STATIC        := -static

build: $(LIBEXEC)/pipsqueak-enter $(LIBEXEC)/libpipsqueak-enter.so

$(LIBEXEC)/pipsqueak-enter: $(ENTER_C) $(ENTER)/launch.c $(ENTER)/keep.c $(ENTER_HEADERS) | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(STATIC) -o $@ $(filter %.c,$^)

$(LIBEXEC)/libpipsqueak-enter.so: $(LOOP_C) $(ENTER)/watch/seen.c $(WATCH_C) $(DRAWS_C) $(ENTER_HEADERS) | deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SHARED) $(NOW) $(ENTER_I) -o $@ $(filter %.c,$^)
