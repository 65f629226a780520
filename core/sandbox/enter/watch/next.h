/* next: the C library's function behind one of ours that has its name. */
#ifndef PIPSQUEAK_NEXT_H
#define PIPSQUEAK_NEXT_H

#include <dlfcn.h>

/* Declares next, a pointer to it. */
#define NEXT(function) \
    static __typeof__(function) *next; \
    if (!next) \
        *(void **)&next = dlsym(RTLD_NEXT, #function)

#endif
