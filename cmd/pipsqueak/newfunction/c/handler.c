#include <pipsqueak.h>
#include <stdio.h>

PS_EXPORT void handler(ps_context *context, const char *event, size_t size)
{
    char result[4096];
    int written = snprintf(result, sizeof result, "{\"event\": %.*s}", (int)size, event);
    if (written >= (int)sizeof result)
        ps_error(context, "TooLarge", "the event has more than 4 kB");
    else
        ps_result(context, result, (size_t)written);
}
