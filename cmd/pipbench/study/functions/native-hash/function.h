/* Hashes a text many times over: FNV-1a of 64 bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number of a field of a flat event. */
static long number(const char *event, const char *name) {
  const char *at = strstr(event, name);
  at = at ? strchr(at, ':') : NULL;
  return at ? strtol(at + 1, NULL, 10) : 0;
}

static int function(const char *event, char *out, size_t size) {
  long times = number(event, "\"times\"");
  const char *text = strstr(event, "\"text\"");
  text = text ? strchr(text, ':') : NULL;
  text = text ? strchr(text, '"') : NULL;
  size_t length = text ? strcspn(text + 1, "\"") : 0;
  unsigned long long hash = 14695981039346656037ULL;
  for (long t = 0; t < times; t++)
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[1 + i]) * 1099511628211ULL;
  return snprintf(out, size, "{\"hash\": \"%016llx\"}", hash);
}
