/* {{.Name}}: an artificial function, made by pipbench. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
{{range .Packages}}{{if .Imported}}#include <{{.Name}}.h>
{{end}}{{end}}
static volatile unsigned long counted;

static long long used(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Where the value of a field begins in an event, or nothing: events are flat, and no text in them has a quote. */
static const char *field(const char *event, const char *name) {
  const char *at = strstr(event, name);
  if (at) at = strchr(at, ':');
  return at ? at + 1 + strspn(at + 1, " \t\r\n\"") : "";
}

static int add(int answer, const char *text, size_t size) {
  for (size_t i = 0; i < size; i++) answer = (int)((answer * 31LL + (unsigned char)text[i]) % 1000003);
  return answer;
}

/* Writes the result of an event to out. */
static int function(const char *event, char *out, size_t size) {
  long long until = used() + (long long)(strtod(field(event, "\"cpu_ms\""), NULL) * 1e6);
  size_t bytes = strtoull(field(event, "\"memory\""), NULL, 10);
  volatile char *memory = malloc(bytes);
  for (size_t page = 0; memory && page < bytes; page += 4096) memory[page] = 1;
  int answer = 0;
{{- range .Packages}}{{if .Imported}}
  answer = add(answer, {{module .Name}}_value(), strlen({{module .Name}}_value()));{{end}}{{end}}
  const char *nonce = field(event, "\"nonce\"");
  answer = add(answer, nonce, strcspn(nonce, "\""));
  while (used() < until)
    for (int i = 0; i < 1000; i++) counted += i;
  long long wait = (long long)(strtod(field(event, "\"wait_ms\""), NULL) * 1e6);
  struct timespec rest = {wait / 1000000000, wait % 1000000000};
  nanosleep(&rest, NULL);
  free((void *)memory);
  return snprintf(out, size, "{\"function\": \"{{.Name}}\", \"answer\": %d}", answer);
}
