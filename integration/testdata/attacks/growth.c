/* A package that behaves for some forks of its process, and has it take a GiB of memory before each further one. */
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

enum { HARMLESS = 8 };

static void grow(void) {
    static int forks;
    const size_t bytes = (size_t)1 << 30;
    if (++forks <= HARMLESS) return;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) memset(memory, 1, bytes);
}

#ifdef AT_LOAD /* as in run.c */
#define attacks_of_package attacks_of_mischief
#endif
__attribute__((visibility("default"))) const char *attacks_of_package(void) {
    static int there;
    if (!there++) pthread_atfork(grow, NULL, NULL);
    return "{\"attempts\": {}}";
}

#ifdef AT_LOAD
__attribute__((constructor)) static void loaded(void) { attacks_of_package(); }
#endif
