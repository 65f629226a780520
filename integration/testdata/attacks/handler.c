/* The attacks as a compiled function. */
#include <pipsqueak.h>
#include <string.h>
const char *attacks(const char *);

PS_EXPORT void handler(ps_context *context, const char *event, size_t size) {
    static char wanted[1 << 16];
    size_t length = 0;
    for (size_t i = 1; i + 1 < size && length < sizeof wanted - 1; i++) { /* a JSON string, of which only newlines are escaped */
        if (event[i] == '\\') i++, wanted[length++] = '\n';
        else wanted[length++] = event[i];
    }
    wanted[length] = 0;
    const char *told = attacks(wanted);
    ps_result(context, told, strlen(told));
}
