/* seen: which files and variables imported code looks at. The reasons are in seen.h. */
#include "seen.h"
#include "look.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CODE "/function"

static char answer[96 << 10];

/* Whose getenv libraries call: it is ours where the library came before the C library. */
int ps_sees(void)
{
    Dl_info first, own;
    void *function = dlsym(RTLD_DEFAULT, "getenv");
    return function && dladdr(function, &first) && dladdr(answer, &own) && first.dli_fbase == own.dli_fbase;
}

/* It is for this process alone, and not for those that it starts. */
__attribute__((constructor)) static void forget(void)
{
    if (ps_sees())
        unsetenv("LD_PRELOAD");
}

/* Whether JSON has the text as it stands. */
static int is_plain(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
            return 0;
    return 1;
}

/* Writes names as a list. One that is not plain stands for all. */
static char *list(char *to, const char *names, const char *all)
{
    const char *comma = "";
    *to++ = '[';
    for (const char *at = names, *end; (end = strchr(at, '\n')); at = end + 1, comma = ",") {
        const char *name = is_plain(at, (size_t)(end - at)) ? at : all;
        to += sprintf(to, "%s\"%.*s\"", comma, (int)(name == at ? end - at : (long)strlen(all)), name);
    }
    *to++ = ']';
    return to;
}

int ps_seen(int control, const char *request, size_t size)
{
    static const char look[] = "{\"op\":\"look\"}", looked[] = "{\"op\":\"looked\"}";
    char *end = answer;
    if (size == sizeof look - 1 && memcmp(request, look, size) == 0) {
        ps_look(CODE);
        ps_look_at_all();
        ps_watch();
        end = stpcpy(end, "{\"sees\":true}");
    } else if (size == sizeof looked - 1 && memcmp(request, looked, size) == 0) {
        end = list(stpcpy(end, "{\"sees\":true,\"reads\":"), ps_watched(), "*");
        end = list(stpcpy(end, ",\"asks\":"), ps_looked(), "./");
        end = stpcpy(end, "}");
    } else {
        return 0;
    }
    send(control, answer, (size_t)(end - answer), MSG_NOSIGNAL); /* to a driver that is gone: the next receive says so */
    return 1;
}
