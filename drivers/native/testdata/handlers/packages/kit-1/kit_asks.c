#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void begin(void)
{
    (void)dlopen("libkit_is_not_there.so", RTLD_NOW);
    (void)access("/function/kit_no_file", F_OK);
    (void)getenv("KIT_NO_VARIABLE");
}
