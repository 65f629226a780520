/* load: shared libraries and handlers. The reasons are in load.h. */
#include "load.h"
#include "needs.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* since Linux 5.14; before, it fails and does nothing */
#endif

/* Bytes that map_modules maps at most: it takes a tenth of a millisecond a megabyte. */
enum { MAPPED = 16 << 20, PAGE = 4 << 10 };

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

/* Links what is in one directory of a package into the working directory. What is there already came from a package before it. */
static void link_directory(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return;
    struct text target = {0};
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!strstr(entry->d_name, ".so"))
            continue;
        target.length = 0;
        text_format(&target, "%s/%s", path, entry->d_name);
        if (symlink(target.at, entry->d_name) < 0 && errno != EEXIST)
            break;
    }
    text_free(&target);
    closedir(directory);
}

/* Makes the working directory one that has links to all libraries of the packages. Sets where to go back to. */
static bool gather(struct json packages, char *directory, int *before)
{
    *before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*before < 0 || !mkdtemp(directory) || chdir(directory) < 0)
        return false;
    struct json items = json_items(packages), key, package;
    struct text path = {0};
    while (json_next(&items, &key, &package)) {
        for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
            path.length = 0;
            json_add_text(&path, package);
            text_format(&path, "/%s", directories[i]);
            link_directory(path.at);
        }
    }
    text_free(&path);
    return true;
}

/* Removes it and goes back. A library that has been loaded may have gone elsewhere. */
static void scatter(const char *path, int before)
{
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
    if (fchdir(before) == 0)
        rmdir(path);
    close(before);
}

/* The first address of each module that has been loaded. */
static struct {
    uintptr_t *at;
    size_t count;
} modules_loaded;

static void remember(void *object)
{
    struct link_map *map;
    if (dlinfo(object, RTLD_DI_LINKMAP, &map) < 0)
        return;
    for (size_t i = 0; i < modules_loaded.count; i++)
        if (modules_loaded.at[i] == map->l_addr)
            return;
    uintptr_t *more = realloc(modules_loaded.at, (modules_loaded.count + 1) * sizeof *more);
    if (!more)
        return;
    modules_loaded.at = more;
    modules_loaded.at[modules_loaded.count++] = map->l_addr;
}

static int map_one(struct dl_phdr_info *info, size_t size, void *budget)
{
    (void)size;
    bool wanted = false;
    for (size_t i = 0; i < modules_loaded.count; i++)
        wanted |= modules_loaded.at[i] == info->dlpi_addr;
    for (int i = 0; wanted && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = info->dlpi_phdr + i;
        uintptr_t begin = (info->dlpi_addr + p->p_vaddr) & -(uintptr_t)PAGE, length = info->dlpi_addr + p->p_vaddr + p->p_filesz - begin;
        if (p->p_type != PT_LOAD || p->p_flags & PF_W || length > *(size_t *)budget)
            continue;
        madvise((void *)begin, length, MADV_POPULATE_READ);
        *(size_t *)budget -= length;
    }
    return 0;
}

void map_modules(void)
{
    size_t budget = MAPPED;
    dl_iterate_phdr(map_one, &budget);
}

/* Loads each module and adds how long it took. Returns the name of the first that cannot be loaded, which is in name, or NULL. */
static const char *load_all(struct json modules, int mode, struct text *times, struct text *name)
{
    struct json items = json_items(modules), key, module;
    times->length = 0;
    text_format(times, "{");
    while (json_next(&items, &key, &module)) {
        double begin = seconds();
        name->length = 0;
        json_add_text(name, module);
        void *object = mode & RTLD_NOLOAD ? needs_open(name->at, mode) : dlopen(name->at, mode);
        if (!object)
            return name->at;
        remember(object);
        text_format(times, "%s", times->at[times->length - 1] == '{' ? "" : ",");
        text_add_quoted(times, name->at, name->length);
        text_format(times, ":%.6f", seconds() - begin);
    }
    text_format(times, "}");
    return NULL;
}

void load_modules(struct json request, struct text *times, struct failure *failure)
{
    struct json modules = json_member(request, "modules");
    struct text name = {0};
    char directory[] = "/tmp/.libraries-XXXXXX";
    if (load_all(modules, RTLD_NOW | RTLD_NOLOAD, times, &name)) {
        int before;
        if (!gather(json_member(request, "packages"), directory, &before)) {
            fail(failure, "internal", "worker");
            text_format(&failure->message, "making %s: %s", directory, strerror(errno));
        } else if (load_all(modules, RTLD_NOW, times, &name)) {
            fail(failure, "exception", "handler");
            text_format(&failure->message, "loading %s failed: %s", name.at, dlerror());
        }
        scatter(directory, before);
    }
    text_free(&name);
}

/* Whether a directory is the working directory. */
static bool is_here(const char *directory)
{
    struct stat one, other;
    return stat(directory, &one) == 0 && stat(".", &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* The version is that of the header that the object was compiled with, if it says. */
void open_handler(const char *path, const char *symbol, struct handler *handler, struct failure *failure)
{
    /* Libraries of the function's own are beside it: the loader looks into the working directory. */
    int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct text directory = {0};
    text_format(&directory, "%.*s", (int)(strrchr(path, '/') - path), path);
    bool moved = before >= 0 && syscall(SYS_chdir, directory.at) == 0; /* which is no move of the function's (sets.c) */
    void *object = needs_open(path, RTLD_NOW);
    if (moved && is_here(directory.at))
        syscall(SYS_fchdir, before); /* else a constructor has gone elsewhere, and stays there */
    text_free(&directory);
    if (before >= 0)
        close(before);
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

/* Finds the shared object of a handler, whose dots may stand for slashes. Returns the symbol in it, NULL when there is none. */
static const char *find_object(const char *name, struct text *path)
{
    const char *base = strrchr(name, '/');
    for (const char *dot = strchr(base ? base : name, '.'); dot; dot = strchr(dot + 1, '.')) {
        for (int dotted = 0; dotted <= !base && dot[1]; dotted++) {
            path->length = 0;
            text_format(path, CODE "/%.*s.so", (int)(dot - name), name);
            for (char *at = path->at + sizeof CODE; dotted && (at = strchr(at, '.')) && at[3]; at++)
                *at = '/';
            if (access(path->at, R_OK) == 0)
                return dot + 1;
        }
    }
    return NULL;
}

bool is_program(const char *name)
{
    struct text path = {0};
    bool is = !find_object(name, &path) && access(BOOTSTRAP, F_OK) == 0;
    text_free(&path);
    return is;
}

void add_library_path(struct text *path, struct json packages)
{
    struct json items = json_items(packages), key, package;
    while (json_next(&items, &key, &package)) {
        for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
            size_t before = path->length;
            text_format(path, "%s", before ? ":" : "");
            size_t begin = path->length;
            json_add_text(path, package);
            text_format(path, "/%s", directories[i]);
            if (access(path->at + begin, X_OK) < 0)
                path->length = before;
        }
    }
}

void load_handler(const char *name, struct handler *handler, struct failure *failure)
{
    struct text path = {0};
    const char *symbol = find_object(name, &path);
    if (symbol) {
        open_handler(path.at, symbol, handler, failure);
    } else {
        fail(failure, "invalid", "handler");
        text_format(&failure->message, "there is neither a shared object for the handler %s nor a program bootstrap", name);
    }
    text_free(&path);
}
