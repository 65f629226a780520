/*
 * context: what a handler can do with its context: give a result or write it in parts, fail, invoke another function.
 */
#ifndef PIPSQUEAK_CONTEXT_H
#define PIPSQUEAK_CONTEXT_H

#include "response.h"

#include "../include/pipsqueak.h"

/* What came of the call to a handler. */
enum outcome { NOTHING, RESULT, ERROR };

/* A context with what the handler does not see. */
struct call {
    ps_context context; /* first: the handler's pointer to it is one to the whole */
    struct endpoint *endpoint;
    bool running; /* there is an event, and no answer to it yet */
    enum outcome outcome;
    struct text result;
    struct text type, message; /* of an error */
    struct text causes;        /* of it: JSON, with as many brackets to be closed as there are */
    int caused;                /* how many there are */
    bool told;                 /* the last of them has all that is behind it */
    struct answer *answers;    /* of invocations, kept until the handler has returned */
    struct response response;  /* in parts */
    struct text unwritten;     /* the strings of the error of a part */
    long long calls;           /* of this process to core */
};

/* Makes the calls of the context work. */
void context_prepare(struct call *call, struct endpoint *endpoint);

/* Forgets what belonged to the last event. */
void context_clear(struct call *call);

#endif
