/* Multiplies two square matrices of numbers that follow from their places. */
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
  long n = number(event, "\"size\"");
  if (n < 1 || n > 1000) return snprintf(out, size, "{\"error\": \"size is 1 to 1000\"}");
  double *a = malloc(3 * sizeof *a * n * n), *b = a + n * n, *c = b + n * n, trace = 0;
  if (!a) return snprintf(out, size, "{\"error\": \"no memory\"}");
  for (long i = 0; i < n * n; i++) a[i] = i % 7, b[i] = i % 5, c[i] = 0;
  for (long i = 0; i < n; i++)
    for (long k = 0; k < n; k++)
      for (long j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
  for (long i = 0; i < n; i++) trace += c[i * n + i];
  int length = snprintf(out, size, "{\"trace\": %.0f}", trace);
  free(a);
  return length;
}
