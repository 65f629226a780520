/* names: a list of names. The reasons are in names.h. */
#include "names.h"

#include <string.h>

static int known(const struct names *names, const char *name, size_t size)
{
    for (const char *at = names->text, *end; (end = strchr(at, '\n')); at = end + 1)
        if ((size_t)(end - at) == size && memcmp(at, name, size) == 0)
            return 1;
    return 0;
}

static void add(struct names *names, const char *name, size_t size)
{
    if (size == 0 || strchr(name, '\n') || known(names, name, size))
        return;
    if (names->length + size + 1 > MAX_NAMES) {
        name = names->all, size = strlen(name);
        if (names->length + size + 1 >= sizeof names->text || known(names, name, size))
            return;
    }
    memcpy(names->text + names->length, name, size);
    names->text[names->length + size] = '\n';
    names->text[names->length += size + 1] = 0;
}

void names_add(struct names *names, const char *name)
{
    while (atomic_flag_test_and_set(&names->busy))
        ;
    add(names, name, strlen(name));
    atomic_flag_clear(&names->busy);
}

void names_clear(struct names *names)
{
    names->length = 0;
    names->text[0] = 0;
}
