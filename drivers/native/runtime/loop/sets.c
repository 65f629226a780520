/* sets: which environment variables the function's own code sets. The reasons are in sets.h. */
#include "sets.h"
#include "json.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define EXPORT __attribute__((visibility("default")))
#define NEXT(function) \
    static __typeof__(function) *next; \
    if (!next) \
        *(void **)&next = dlsym(RTLD_NEXT, #function)

#define DIRECTORY "./" /* as core has it */

enum { MAX_FRAMES = 64 };

static atomic_bool noting;
static atomic_flag busy = ATOMIC_FLAG_INIT;
static struct text names;

/* Whether an object is a library of the system or of a package, which is seen among those. */
static bool is_library(const char *path)
{
    static const char *const places[] = {"/usr/", "/lib", "/packages/"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strncmp(path, places[i], strlen(places[i])) == 0)
            return true;
    return false;
}

/* Whether the function's own code calls, directly or through libraries. A call at the end of a constructor is a jump,
 * and seems to come from the loader: of setenv itself that may be its own; of a function of a library it is taken for
 * the library's. */
static bool is_own(void *caller)
{
    void *frames[MAX_FRAMES];
    int count = backtrace(frames, MAX_FRAMES), i = 0;
    Dl_info object;
    while (i < count && frames[i] != caller)
        i++;
    for (; i < count && dladdr(frames[i], &object); i++) {
        if (object.dli_fbase == (void *)getauxval(AT_BASE))
            return frames[i] == caller;
        if (!is_library(object.dli_fname))
            return true;
    }
    return true;
}

static bool known(const char *name, size_t size)
{
    for (const char *at = names.at, *end; at && (end = strchr(at, '\n')); at = end + 1)
        if ((size_t)(end - at) == size && memcmp(at, name, size) == 0)
            return true;
    return false;
}

static void add(const char *name, size_t size)
{
    while (atomic_flag_test_and_set(&busy))
        ;
    if (!known(name, size))
        text_format(&names, "%s\n", name);
    atomic_flag_clear(&busy);
}

static void note(const char *name, const char *value, void *caller)
{
    const char *before = name ? getenv(name) : NULL;
    size_t size = name ? strlen(name) : 0;
    if (size == 0 || strchr(name, '\n') || (before && value ? strcmp(before, value) == 0 : before == value) || !is_own(caller))
        return;
    add(name, size);
}

EXPORT int setenv(const char *name, const char *value, int overwrite)
{
    NEXT(setenv);
    if (noting && (overwrite || !getenv(name)))
        note(name, value, __builtin_return_address(0));
    return next(name, value, overwrite);
}

EXPORT int unsetenv(const char *name)
{
    NEXT(unsetenv);
    if (noting)
        note(name, NULL, __builtin_return_address(0));
    return next(name);
}

EXPORT int putenv(char *text)
{
    NEXT(putenv);
    const char *end = noting ? strchr(text, '=') : NULL;
    char *name = end ? strndup(text, (size_t)(end - text)) : NULL;
    if (name)
        note(name, end + 1, __builtin_return_address(0));
    free(name);
    return next(text);
}

EXPORT int clearenv(void)
{
    NEXT(clearenv);
    if (noting)
        note("*", "", __builtin_return_address(0));
    return next();
}

/* A call at the end of pipsqueak_init seems to come from the host, which itself asks the kernel (load.c). */
static void note_move(void *caller)
{
    if (noting && is_own(caller))
        add(DIRECTORY, sizeof DIRECTORY - 1);
}

EXPORT int chdir(const char *path)
{
    NEXT(chdir);
    note_move(__builtin_return_address(0));
    return next(path);
}

EXPORT int fchdir(int directory)
{
    NEXT(fchdir);
    note_move(__builtin_return_address(0));
    return next(directory);
}

void sets_note(void)
{
    noting = true;
}

const char *sets_noted(void)
{
    noting = false;
    return names.at ? names.at : "";
}
