/*
 * response: one that a handler makes in parts (E27 to E30 of PROTOCOL.md). Each part is passed on to the caller before the next one is
 * taken. Where nobody takes parts, the whole response is the result, as in AWS Lambda's function URLs, payload format 2.0.
 */
#ifndef PIPSQUEAK_RESPONSE_H
#define PIPSQUEAK_RESPONSE_H

#include "frames.h"

struct response {
    bool offered;     /* parts are taken */
    bool used;        /* there is a head, or a part */
    bool begun;       /* a part has been passed on */
    bool left;        /* core passes on no more */
    struct text head; /* a JSON object; empty: none */
    struct text body; /* where nobody takes parts, all of it */
    struct text why;  /* why no part is taken any more, as core.Error; empty: parts are taken */
    struct ps_input input;
};

/* Forgets what belonged to the last event, and begins the response to the one with that meta. */
void response_begin(struct response *response, struct json meta);

/* Sets the head: an object with statusCode, headers and cookies, each of which may be absent. Returns false if it is none, or comes too late. */
bool response_head(struct response *response, const char *json, size_t length);

/* Passes on bytes, and returns when the caller has taken them. Returns false if they have not been taken: why is there then. calls counts
 * what the process has asked core. Ends the process when core is gone. */
bool response_write(struct response *response, struct endpoint *endpoint, long long *calls, const char *bytes, size_t length);

/* Whether nobody takes parts, and there have been too many: why says so. */
static inline bool response_is_too_large(const struct response *response)
{
    return response->why.length && !response->left;
}

/* Adds the result of the event, when everything is written. */
void response_result(const struct response *response, struct text *result);

#endif
