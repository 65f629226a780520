/* {{.Package.Name}} {{.Version.Number}}: an artificial library, made by pipbench. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>

static volatile char *memory;
static volatile unsigned long counted;

static long long used(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* What loading this library costs, beyond what it requires: memory that is touched page by page, and the processor's time. */
__attribute__((constructor)) static void load(void) {
  long long until = used() + {{.Nanoseconds}}LL;
  size_t size = {{.Memory}};
  memory = malloc(size);
  for (size_t page = 0; memory && page < size; page += 4096) memory[page] = 1;
  while (used() < until)
    for (int i = 0; i < 1000; i++) counted += i;
}

__attribute__((visibility("default"))) const char *{{module .Package.Name}}_value(void) { return "{{.Version.Value}}"; }
