/*
 * seen: tells a driver which files and environment variables imported code looks at (look.h, watch.h), for languages that do not watch that
 * themselves. The zygote loop calls it where the library is preloaded: two more requests, which it answers without the language.
 */
#ifndef PIPSQUEAK_SEEN_H
#define PIPSQUEAK_SEEN_H

#include <stddef.h>

/* Reports whether the library is preloaded, and so sees what code looks at. A program that is linked without this file has none. */
__attribute__((weak)) int ps_sees(void);

/* Answers a request over the control socket if it is one of these: "look" begins, "looked" ends and has the names. Returns whether it is. */
__attribute__((weak)) int ps_seen(int control, const char *request, size_t size);

#endif
