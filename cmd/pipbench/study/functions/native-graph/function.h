/* Finds the shortest way through a square maze, whose walls follow from their places, by breadth-first search. */
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
  long n = number(event, "\"size\""), steps[4] = {1, -1, n, -n}, *queue = NULL, *far = NULL;
  if (n < 1 || n > 2000 || !(queue = calloc(2 * n * n, sizeof *queue))) return snprintf(out, size, "{\"error\": \"size is 1 to 2000\"}");
  far = queue + n * n;
  long first = 0, last = 0;
  queue[last++] = 0, far[0] = 1;
  while (first < last) {
    long at = queue[first++];
    for (int i = 0; i < 4; i++) {
      long to = at + steps[i];
      if (to < 0 || to >= n * n || (i < 2 && to / n != at / n) || far[to] || (to * 7919 % 10007) % 4 == 1) continue;
      far[to] = far[at] + 1, queue[last++] = to;
    }
  }
  int length = snprintf(out, size, "{\"reached\": %ld, \"farthest\": %ld}", last, far[queue[last - 1]] - 1);
  free(queue);
  return length;
}
