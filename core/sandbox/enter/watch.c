/* watch: which environment variables code asks for. The reasons are in watch.h. */
#include "watch.h"
#include "names.h"

#include <dlfcn.h>
#include <stdlib.h>

static atomic_bool watching;
static struct names asked = {.all = "*", .busy = ATOMIC_FLAG_INIT};

static char *ask(const char *function, char *(**next)(const char *), const char *name)
{
    if (!*next)
        *(void **)next = dlsym(RTLD_NEXT, function);
    if (atomic_load_explicit(&watching, memory_order_relaxed))
        names_add(&asked, name);
    return (*next)(name);
}

PS_WATCH char *getenv(const char *name)
{
    static char *(*next)(const char *);
    return ask("getenv", &next, name);
}

PS_WATCH char *secure_getenv(const char *name)
{
    static char *(*next)(const char *);
    return ask("secure_getenv", &next, name);
}

void ps_watch(void)
{
    names_clear(&asked);
    atomic_store(&watching, 1);
}

const char *ps_watched(void)
{
    atomic_store(&watching, 0);
    return asked.text;
}
