/* load: shared libraries and handlers. The reasons are in load.h. */
#include "load.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Where a package has its libraries. */
static const char *const directories[] = {"usr/local/lib", "usr/lib/" TRIPLET, "lib/" TRIPLET, "usr/lib", "lib"};

static void fail(struct failure *f, const char *kind, const char *fault)
{
    f->kind = kind;
    f->fault = fault;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool find(struct json packages, const struct text *name, struct text *path)
{
    struct json items = json_items(packages), key, package;
    while (json_next(&items, &key, &package)) {
        for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
            path->length = 0;
            json_add_text(path, package);
            text_format(path, "/%s/%s", directories[i], name->at);
            if (access(path->at, R_OK) == 0)
                return true;
        }
    }
    return false;
}

static void load_module(struct json packages, const struct text *name, struct failure *failure)
{
    /* What has been loaded, by a zygote or for another library, is found by its name. Not so what is in no package: the
     * loader then looks where the host keeps its own. */
    struct text path = {0};
    if (!dlopen(name->at, RTLD_NOW | RTLD_NOLOAD)) {
        const char *file = find(packages, name, &path) ? path.at : name->at;
        if (!dlopen(file, RTLD_NOW)) {
            fail(failure, "exception", "handler");
            text_format(&failure->message, "loading %s failed: %s", name->at, dlerror());
        }
    }
    text_free(&path);
}

void load_modules(struct json request, struct text *times, struct failure *failure)
{
    struct json packages = json_member(request, "packages");
    struct json items = json_items(json_member(request, "modules")), key, module;
    struct text name = {0};
    text_add(times, "{", 1);
    while (!failure->message.length && json_next(&items, &key, &module)) {
        double begin = seconds();
        name.length = 0;
        json_add_text(&name, module);
        load_module(packages, &name, failure);
        text_add(times, ",", times->at[times->length - 1] == '{' ? 0 : 1);
        text_add_quoted(times, name.at, name.length);
        text_format(times, ":%.6f", seconds() - begin);
    }
    text_add(times, "}", 1);
    text_free(&name);
}

/* Opens the shared object. The version is that of the header that it was compiled with, if that says. */
static void open_handler(const char *path, const char *symbol, struct handler *handler, struct failure *failure)
{
    void *object = dlopen(path, RTLD_NOW);
    if (!object) {
        fail(failure, "exception", "handler");
        text_format(&failure->message, "loading the handler failed: %s", dlerror());
        return;
    }
    const uint32_t *abi = dlsym(object, "pipsqueak_abi");
    if (abi && *abi > PS_ABI) {
        fail(failure, "unsupported", "caller");
        text_format(&failure->message, "%s was compiled for version %u of pipsqueak.h, and this worker has version %d", path, *abi, PS_ABI);
        return;
    }
    *(void **)&handler->call = dlsym(object, symbol);
    *(void **)&handler->init = dlsym(object, "pipsqueak_init");
    if (!handler->call) {
        fail(failure, "invalid", "handler");
        text_format(&failure->message, "%s has no function %s with C linkage, which the handler names: declare it with PS_EXPORT", path, symbol);
    }
}

void load_handler(const char *name, struct handler *handler, struct failure *failure)
{
    struct text path = {0};
    const char *base = strrchr(name, '/');
    for (const char *dot = strchr(base ? base : name, '.'); dot; dot = strchr(dot + 1, '.')) {
        path.length = 0;
        text_format(&path, CODE "/%.*s.so", (int)(dot - name), name);
        if (dot[1] && access(path.at, R_OK) == 0) {
            open_handler(path.at, dot + 1, handler, failure);
            goto out;
        }
    }
    if (access(BOOTSTRAP, X_OK) < 0) {
        fail(failure, "invalid", "handler");
        text_format(&failure->message, "there is neither a shared object for the handler %s nor a program bootstrap", name);
    }
out:
    text_free(&path);
}
