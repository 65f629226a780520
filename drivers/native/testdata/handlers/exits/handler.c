#include <pipsqueak.h>
#include <stdlib.h>

__attribute__((constructor)) static void leave(void)
{
    exit(3);
}

PS_EXPORT void handler(ps_context *context, const char *event, size_t size)
{
    ps_result(context, event, size);
}
