/* forget: a program with much memory of its own file, which it only reads. It ends with 0 if ps_forget_text has forgotten the pages that are as
 * in the file, and no page that the dynamic linker has written. */
#include "zygote.h"

#include <stdio.h>
#include <sys/resource.h>

enum { MANY = 1 << 19 };

static char anchor;
static char *const linked[MANY] = {[0 ... MANY - 1] = &anchor}; /* 4 MiB of addresses */
static const char plain[4 << 20] = {1};

/* Reads all of both. Returns how many faults that took, -1 if an address is wrong. */
static long faults(void)
{
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < MANY; i++)
        if (*(char *const volatile *)&linked[i] != &anchor)
            return -1;
    for (unsigned i = 0; i < sizeof plain; i += 4096)
        (void)*(const volatile char *)&plain[i];
    getrusage(RUSAGE_SELF, &after);
    return after.ru_minflt - before.ru_minflt;
}

int main(void)
{
    faults();
    long there = faults();
    ps_forget_text();
    long forgotten = faults();
    printf("%ld faults, and %ld after that", there, forgotten);
    return there >= 0 && there < 4 && forgotten >= 16 ? 0 : 1;
}
