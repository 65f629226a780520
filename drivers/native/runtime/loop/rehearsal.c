/* The handler of a rehearsal (rehearse.h). */
#include "../include/pipsqueak.h"

#include <stdio.h>

PS_EXPORT void handler(ps_context *context, const char *event, size_t size)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%.*s", (int)size, event);
    ps_result(context, event, size);
}
