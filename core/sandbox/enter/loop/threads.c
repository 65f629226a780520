/* threads: how many threads numerical libraries use. The reasons are in threads.h. */
#include "threads.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LIBRARIES = 16 };

static const struct kind {
    const char *function;
    const char *variables[3];
} kinds[] = {
    {"openblas_set_num_threads", {"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"}},
    {"openblas_set_num_threads64_", {"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"}},
    {"bli_thread_set_num_threads", {"BLIS_NUM_THREADS", "OMP_NUM_THREADS"}},
    {"MKL_Set_Num_Threads", {"MKL_NUM_THREADS", "OMP_NUM_THREADS"}},
    {"omp_set_num_threads", {"OMP_NUM_THREADS"}},
};

struct libraries {
    const char *names[MAX_LIBRARIES];
    int count;
};

static int find(struct dl_phdr_info *info, size_t size, void *found)
{
    (void)size;
    struct libraries *libraries = found;
    const char *slash = strrchr(info->dlpi_name, '/'), *name = slash ? slash + 1 : info->dlpi_name;
    if ((strstr(name, "blas") || strstr(name, "omp") || strstr(name, "blis") || strstr(name, "mkl")) && libraries->count < MAX_LIBRARIES)
        libraries->names[libraries->count++] = info->dlpi_name;
    return 0;
}

static int wanted(const struct kind *kind, int processors)
{
    for (size_t i = 0; i < sizeof kind->variables / sizeof *kind->variables && kind->variables[i]; i++) {
        const char *value = getenv(kind->variables[i]);
        int number = value ? atoi(value) : 0;
        if (number > 0)
            return number;
    }
    return processors;
}

void ps_use_threads(int processors)
{
    struct libraries libraries = {.count = 0};
    dl_iterate_phdr(find, &libraries);
    for (int i = 0; i < libraries.count; i++) {
        void *library = dlopen(libraries.names[i], RTLD_LAZY | RTLD_NOLOAD);
        for (size_t k = 0; library && k < sizeof kinds / sizeof *kinds; k++) {
            void (*set)(int);
            *(void **)&set = dlsym(library, kinds[k].function);
            if (set)
                set(wanted(&kinds[k], processors));
        }
        if (library)
            dlclose(library);
    }
}
