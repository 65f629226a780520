#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static long resident(void) {
  long size = 0, pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file && fscanf(file, "%ld %ld", &size, &pages) != 2) pages = 0;
  if (file) fclose(file);
  return pages * 4096;
}

static double used(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void *loaded(const char *name) {
  char file[512];
  snprintf(file, sizeof file, "lib%s.so.1", name);
  void *library = dlopen(file, RTLD_NOW);
  if (!library) fprintf(stderr, "%s\n", dlerror());
  return library;
}

int main(int count, char **names) {
  char symbol[512];
  for (int i = 2; i < count; i++)
    if (!loaded(names[i])) return 1;
  resident();
  long before = resident();
  double began = used();
  void *library = loaded(names[1]);
  double took = used() - began;
  long memory = resident() - before;
  snprintf(symbol, sizeof symbol, "%s_value", names[1]);
  for (char *at = symbol; *at; at++)
    if (*at == '-') *at = '_';
  const char *(*value)(void) = library ? (const char *(*)(void))dlsym(library, symbol) : NULL;
  if (!value) return 1;
  printf("%f %ld %s\n", took, memory, value());
  return 0;
}
