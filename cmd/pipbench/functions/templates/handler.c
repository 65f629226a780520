#define _GNU_SOURCE
#include "function.h"
#include <pipsqueak.h>

PS_EXPORT void handler(ps_context *context, const char *event, size_t size) {
  char *text = strndup(event, size), result[256];
  if (!text) return;
  ps_result(context, result, (size_t)function(text, result, sizeof result));
  free(text);
}
