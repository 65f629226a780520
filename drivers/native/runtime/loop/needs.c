/* needs: hides from the loader what loaded libraries need. The reasons are in needs.h. */
#include "needs.h"

#include "look.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4 << 10, MAX_ASKED = 16 << 10 };

/* Of the range of tags that mean values of which a loader makes nothing. */
#define DT_HIDDEN 0x6ffffd77

static bool hidden;

static void *(*loader_open)(const char *, int);

static struct text *asked;
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;

/* Gives all entries of a dynamic section that have one tag the other one. */
static void retag(ElfW(Dyn) *dynamic, ElfW(Sxword) from, ElfW(Sxword) to)
{
    for (ElfW(Dyn) *d = dynamic; d->d_tag != DT_NULL; d++)
        if (d->d_tag == from)
            d->d_tag = to;
}

/* The dynamic section is among what the loader protects when it has relocated it (relro): whole pages, and what is after them can be
 * written to. Where an object has it elsewhere, it is left alone. */
static int visit(struct dl_phdr_info *info, size_t size, void *hide)
{
    (void)size;
    const ElfW(Phdr) *dynamic = NULL, *relro = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            dynamic = info->dlpi_phdr + i;
        if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO)
            relro = info->dlpi_phdr + i;
    }
    if (!dynamic || !relro || dynamic->p_vaddr < relro->p_vaddr || dynamic->p_vaddr >= relro->p_vaddr + relro->p_memsz)
        return 0;
    uintptr_t begin = (info->dlpi_addr + relro->p_vaddr) & -(uintptr_t)PAGE;
    size_t length = ((info->dlpi_addr + relro->p_vaddr + relro->p_memsz) & -(uintptr_t)PAGE) - begin;
    if (length && mprotect((void *)begin, length, PROT_READ | PROT_WRITE) < 0)
        return 0;
    retag((ElfW(Dyn) *)(info->dlpi_addr + dynamic->p_vaddr), hide ? DT_NEEDED : DT_HIDDEN, hide ? DT_HIDDEN : DT_NEEDED);
    if (length)
        mprotect((void *)begin, length, PROT_READ);
    return 0;
}

void needs_hide(void)
{
    dl_iterate_phdr(visit, &hidden);
    hidden = true;
}

void needs_show(void)
{
    if (hidden)
        dl_iterate_phdr(visit, NULL);
    hidden = false;
}

static void find_loader(void)
{
    if (!loader_open)
        *(void **)&loader_open = dlsym(RTLD_NEXT, "dlopen");
}

void *needs_open(const char *path, int mode)
{
    find_loader();
    void *object = loader_open(path, mode);
    if (object || !hidden || mode & RTLD_NOLOAD)
        return object;
    needs_show();
    return loader_open(path, mode);
}

void needs_watch(struct text *names)
{
    pthread_mutex_lock(&asking);
    asked = names;
    pthread_mutex_unlock(&asking);
}

/* A path leads to one file, whichever packages there are; it may be the function's. */
static void note(const char *name)
{
    if (!name || strpbrk(name, "/\n")) {
        ps_look_at(name);
        return;
    }
    pthread_mutex_lock(&asking);
    if (asked && asked->length < MAX_ASKED)
        text_format(asked, "%s\n", asked->length + strlen(name) < MAX_ASKED ? name : "*");
    pthread_mutex_unlock(&asking);
}

/* What libraries and handlers call. The loader looks at who calls, for the path that the caller was linked with: so its own must be
 * the last call here, which compilers make a jump. */
__attribute__((visibility("default"), optimize("O2"))) void *dlopen(const char *path, int mode)
{
    note(path);
    find_loader();
    needs_show();
    return loader_open(path, mode);
}
