/*
 * exception: what a handler raised, as AWS's runtimes tell it and as core wants it.
 */
#ifndef PIPSQUEAK_EXCEPTION_H
#define PIPSQUEAK_EXCEPTION_H

#include "json.h"

/* Bytes of an exception's message and of its stack, the most that core takes (E4 of PROTOCOL.md). */
enum { MAX_MESSAGE = 64 << 10, MAX_STACK = 256 << 10 };

/* Adds the core.Exception that an error of the Runtime API is: {"errorType", "errorMessage", "stackTrace"}, or any other text. type is
 * what a header said of it, "" if none did. */
void exception_add(struct text *out, const char *type, const char *body, size_t length);

/* Adds what base64 stands for. Other characters are passed over. */
void base64_add(struct text *to, const char *at, size_t length);

#endif
