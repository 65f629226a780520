/*
 * What a function is compared with: the same handler in a new process. Usage:
 *
 *     cc -O2 -I bin/libexec/native/include -o once main.c
 *     LD_LIBRARY_PATH=DIRS ./once handler.so EVENT
 *
 * DIRS are the library directories of the function's packages, in the order of the function, such as /packages/NAME-VERSION/usr/lib/TRIPLET.
 */
#include <dlfcn.h>
#include <pipsqueak.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void result(ps_context *context, const char *json, size_t size)
{
    (void)context;
    fwrite(json, 1, size, stdout);
}

static void error(ps_context *context, const char *type, const char *message)
{
    (void)context;
    fprintf(stderr, "%s: %s\n", type, message);
    _exit(1);
}

int main(int argc, char **argv)
{
    const ps_calls calls = {.result = result, .error = error};
    ps_context context = {.abi = PS_ABI, .calls = &calls, .request_id = "", .function = ""};
    void *object = argc == 3 ? dlopen(argv[1], RTLD_NOW) : NULL;
    ps_handler *handler;
    *(void **)&handler = object ? dlsym(object, "handler") : NULL;
    if (!handler) {
        fprintf(stderr, "%s\n", argc == 3 ? dlerror() : "usage: once handler.so EVENT");
        return 1;
    }
    handler(&context, argv[2], strlen(argv[2]));
    fflush(stdout);
    _exit(0);
}
