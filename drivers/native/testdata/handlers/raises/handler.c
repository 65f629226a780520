#include <pipsqueak.h>

PS_EXPORT int pipsqueak_init(ps_context *context)
{
    ps_error(context, "KitError", "kit says no");
    return -1;
}

PS_EXPORT void handler(ps_context *context, const char *event, size_t size)
{
    ps_result(context, event, size);
}
