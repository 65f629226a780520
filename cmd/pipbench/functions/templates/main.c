/* Runs the function once: the event on stdin, the result on stdout. */
#define _GNU_SOURCE
#include "function.h"

int main(void) {
  char event[65536], result[256];
  event[fread(event, 1, sizeof event - 1, stdin)] = 0;
  function(event, result, sizeof result);
  puts(result);
  return 0;
}
