/*
 * once: runs a handler once, in a process of its own: under a debugger, or to compare with. Usage:
 *
 *     LD_LIBRARY_PATH=DIRECTORIES once OBJECT[:SYMBOL] EVENT [wait]
 *
 * It prints the result. With wait it ends when its standard input does. The exit status is 1 when the handler failed.
 */
#include "../include/pipsqueak.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int failed;

static void result(ps_context *context, const char *json, size_t size)
{
    (void)context;
    failed = 0;
    fwrite(json, 1, size, stdout);
    fputc('\n', stdout);
}

static void error(ps_context *context, const char *type, const char *message)
{
    (void)context;
    failed = 1;
    fprintf(stderr, "%s: %s\n", type, message);
}

static void cause(ps_context *context, const char *type, const char *message)
{
    (void)context;
    fprintf(stderr, "  caused by %s: %s\n", type, message);
}

static void cause_answer(ps_context *context, const ps_answer *answer) { (void)context, (void)answer; }

static int invoke(ps_context *context, const char *function, const char *event, size_t size, ps_answer *answer)
{
    (void)context, (void)function, (void)event, (void)size;
    *answer = (ps_answer){.result = "", .kind = "unsupported", .fault = "caller", .message = "there are no other functions here",
                          .exception_type = "", .exception_message = ""};
    return -1;
}

static int head(ps_context *context, const char *json, size_t size)
{
    (void)context;
    return fprintf(stderr, "%.*s\n", (int)size, json) < 0 ? -1 : 0;
}

static int write_part(ps_context *context, const void *bytes, size_t size, ps_answer *failure)
{
    (void)context;
    if (fwrite(bytes, 1, size, stdout) == size)
        return 0;
    if (failure)
        *failure = (ps_answer){.result = "", .kind = "canceled", .fault = "caller", .message = "nobody reads the output", .exception_type = "", .exception_message = ""};
    return -1;
}

static int fail(const char *why)
{
    fprintf(stderr, "%s\n", why);
    return 1;
}

int main(int argc, char **argv)
{
    const ps_calls calls = {result, error, invoke, cause, cause_answer, head, write_part};
    ps_context context = {.abi = PS_ABI, .calls = &calls, .request_id = "", .function = "", .deadline_ms = INT64_MAX};
    if (argc < 3)
        return fail("usage: once OBJECT[:SYMBOL] EVENT [wait]");
    char *symbol = strrchr(argv[1], ':');
    if (symbol)
        *symbol++ = 0;
    char path[4096];
    snprintf(path, sizeof path, "%s%s", strchr(argv[1], '/') ? "" : "./", argv[1]);
    void *object = dlopen(path, RTLD_NOW);
    if (!object)
        return fail(dlerror());
    ps_handler *handler;
    int (*init)(ps_context *);
    *(void **)&handler = dlsym(object, symbol ? symbol : "handler");
    *(void **)&init = dlsym(object, "pipsqueak_init");
    if (!handler)
        return fail("it has no such handler");
    if (init && init(&context) != 0)
        return fail("pipsqueak_init failed");
    handler(&context, argv[2], strlen(argv[2]));
    fflush(stdout);
    for (char byte; argc > 3 && read(0, &byte, 1) > 0;)
        ;
    return failed;
}
