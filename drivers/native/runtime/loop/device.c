/*
 * device: std::random_device, which asks the processor for random numbers where it can, and so no function of the C library. What code in C++ calls
 * for one is here in front of libstdc++'s.
 */
#include "needs.h"

#include "draws.h"

#include <dlfcn.h>

/* unsigned std::random_device::_M_getval() */
#define GET "_ZNSt13random_device9_M_getvalEv"

__attribute__((visibility("default"))) unsigned device_get(void *device) __asm__(GET);

unsigned device_get(void *device)
{
    static unsigned (*next)(void *);
    if (!next)
        *(void **)&next = dlsym(needs_open("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD), GET);
    ps_draw();
    return next(device);
}
