#include <dlfcn.h>

__attribute__((constructor)) static void begin(void)
{
    (void)dlopen("libkit_is_not_there.so", RTLD_NOW);
}
