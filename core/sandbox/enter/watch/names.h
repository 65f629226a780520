/* names: a list of names that is as good as it gets in a process in any state: of a fixed size, without memory of its own. */
#ifndef PIPSQUEAK_NAMES_H
#define PIPSQUEAK_NAMES_H

#include <stdatomic.h>
#include <stddef.h>

enum { MAX_NAMES = 16 << 10, SPARE = 4 };

struct names {
    const char *all; /* stands for those for which there is no more room: one or two characters */
    atomic_flag busy;
    size_t length;
    char text[MAX_NAMES + SPARE]; /* each once and with a newline behind it */
};

void names_clear(struct names *names);

/* Any number of threads may. A name that is empty or has a newline is none. */
void names_add(struct names *names, const char *name);

#endif
