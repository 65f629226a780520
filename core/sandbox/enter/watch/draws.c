/* draws: whether code draws random numbers. The reasons are in draws.h. */
#include "draws.h"
#include "look.h"
#include "next.h"

#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <unistd.h>

enum { MAX_FRAMES = 64, MAX_OBJECTS = 32 };

/* Objects by their first address. NULL stands for those that are not known, and for those for which there is no more room. */
static struct objects {
    atomic_int count;
    const void *at[MAX_OBJECTS + 1];
} drawers, forkers;

static int has(struct objects *objects, const void *object)
{
    for (int i = 0; i < objects->count; i++)
        if (objects->at[i] == object)
            return 1;
    return 0;
}

static void add(struct objects *objects, const void *object)
{
    if (objects->count <= MAX_OBJECTS && !has(objects, object)) {
        int last = objects->count++;
        if (last <= MAX_OBJECTS)
            objects->at[last] = last < MAX_OBJECTS ? object : NULL;
    }
}

/* The object of a package that is just being initialised, or else the outermost that calls: what a library draws for another one is that one's. */
static const void *drawer(void)
{
    void *frames[MAX_FRAMES];
    const void *found = NULL;
    Dl_info object;
    int count = backtrace(frames, MAX_FRAMES);
    for (int i = 0; i < count && dladdr(frames[i], &object) && object.dli_fbase != (void *)getauxval(AT_BASE); i++)
        if (ps_is_package(object.dli_fname))
            found = object.dli_fbase;
    return found;
}

void ps_draw(void)
{
    int before = errno, looking = ps_looking();
    if (looking)
        add(&drawers, looking == PS_LOOK_ALL ? NULL : drawer());
    errno = before;
}

void ps_draw_from(const char *path)
{
    if (strcmp(path, "/dev/urandom") == 0 || strcmp(path, "/dev/random") == 0)
        ps_draw();
}

void ps_draws_forget(void) { drawers.count = 0; }

int ps_drawn(void)
{
    for (int i = 0; i < drawers.count; i++)
        if (!drawers.at[i] || !has(&forkers, drawers.at[i]))
            return 1;
    return 0;
}

/* ---- what libraries call ---- */

#define DRAWS(type, function, parameters, ...) \
    PS_WATCH type function parameters \
    { \
        NEXT(function); \
        ps_draw(); \
        return next(__VA_ARGS__); \
    }

DRAWS(ssize_t, getrandom, (void *to, size_t size, unsigned flags), to, size, flags)
DRAWS(int, getentropy, (void *to, size_t size), to, size)
#if __GLIBC_PREREQ(2, 36)
DRAWS(uint32_t, arc4random, (void))
DRAWS(uint32_t, arc4random_uniform, (uint32_t limit), limit)
DRAWS(void, arc4random_buf, (void *to, size_t size), to, size)
#endif

PS_WATCH unsigned long getauxval(unsigned long type)
{
    NEXT(getauxval);
    if (type == AT_RANDOM)
        ps_draw();
    return next(type);
}

/* What pthread_atfork becomes. Who has a function called at a fork draws again there. */
int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);

PS_WATCH int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *object)
{
    NEXT(__register_atfork);
    Dl_info info;
    if (child && object && dladdr(object, &info))
        add(&forkers, info.dli_fbase);
    return next(before, parent, child, object);
}
