/*
 * pipsqueak.h: what a compiled function and Pipsqueak say to each other. Version 1.
 *
 * A function is a shared object. Its handler is a function with C linkage, found by its name: the handler "handler.resize" is
 * the symbol resize in handler.so.
 *
 *     #include <pipsqueak.h>
 *
 *     PS_EXPORT void handler(ps_context *context, const char *event, size_t size)
 *     {
 *         ps_result(context, event, size);
 *     }
 *
 * Events and results are JSON in UTF-8. What a handler prints on stdout and stderr becomes the function's log. In one process
 * events come one after another; everything static keeps its value from one to the next.
 *
 * Memory: whoever allocates frees. What Pipsqueak hands over (the event, the context, answers of ps_invoke) belongs to it and is
 * good until the handler returns; what a handler hands over is copied before the call returns.
 *
 * Nothing of this header has to be linked to: a handler reaches Pipsqueak through its context alone. Fields and calls are only
 * ever added, at the ends of the structures.
 */
#ifndef PIPSQUEAK_H
#define PIPSQUEAK_H

#include <stddef.h>
#include <stdint.h>

#define PS_ABI 4

#ifdef __cplusplus
#define PS_EXPORT extern "C" __attribute__((visibility("default")))
extern "C" {
#else
#define PS_EXPORT __attribute__((visibility("default")))
#endif

typedef struct ps_context ps_context;

/* What came of ps_invoke, and why ps_write has failed. The strings are never null. */
typedef struct ps_answer {
    const char *result; /* JSON, followed by a NUL byte; empty when the call failed */
    size_t size;        /* of it, in bytes */
    /* When it failed: the error as the API has it, and the exception that the invoked handler raised, if it did. */
    const char *kind, *fault, *message;
    const char *exception_type, *exception_message;
    int retryable; /* the same call may succeed */
} ps_answer;

/* The calls behind the inline functions below. */
typedef struct ps_calls {
    void (*result)(ps_context *, const char *json, size_t size);
    void (*error)(ps_context *, const char *type, const char *message);
    int (*invoke)(ps_context *, const char *function, const char *event, size_t size, ps_answer *);
    void (*cause)(ps_context *, const char *type, const char *message); /* since version 2 */
    void (*cause_answer)(ps_context *, const ps_answer *);                    /* since version 3 */
    int (*head)(ps_context *, const char *json, size_t size);                 /* since version 4 */
    int (*write)(ps_context *, const void *bytes, size_t size, ps_answer *);
} ps_calls;

/* What a handler is told of its event and of itself. */
struct ps_context {
    uint32_t abi;   /* PS_ABI of the Pipsqueak that calls */
    uint32_t depth; /* how many functions invoked each other down to this event */
    const ps_calls *calls;
    const char *request_id;
    const char *function;     /* its name */
    int64_t function_version; /* counted up by each deploy */
    int64_t memory;           /* its limit, in bytes */
    int64_t deadline_ms;      /* when the process is killed, in ms of Unix time */
};

typedef void ps_handler(ps_context *context, const char *event, size_t size);

/* Sets the result: JSON of at most 6 MiB. A later call replaces an earlier one, and an error. A handler that sets nothing
 * has the result null. */
static inline void ps_result(ps_context *context, const char *json, size_t size)
{
    context->calls->result(context, json, size);
}

/* Makes the event fail: the caller gets an exception of that type, with that message. It does not return from the handler. */
static inline void ps_error(ps_context *context, const char *type, const char *message)
{
    context->calls->error(context, type, message);
}

/* After ps_error: says what it was caused by, and what that was caused by with each further call. Of more than 16, the first are told. */
static inline void ps_cause(ps_context *context, const char *type, const char *message)
{
    context->calls->cause(context, type, message);
}

/* After ps_error: says that it was caused by what an invoked handler has raised, and with that by its stack and its causes. The answer is that of a
 * ps_invoke of the same event; one without an exception adds nothing. */
static inline void ps_cause_answer(ps_context *context, const ps_answer *answer)
{
    context->calls->cause_answer(context, answer);
}

/* Invokes another function with an event, JSON of at most 6 MiB, and waits for its answer. Returns 0 when it has a result, else -1.
 * Threads of a handler may call it too, one after another; none after the handler has returned. */
static inline int ps_invoke(ps_context *context, const char *function, const char *event, size_t size, ps_answer *answer)
{
    return context->calls->invoke(context, function, event, size, answer);
}

/* Sets the head of a response that ps_write makes: a JSON object such as {"statusCode": 201, "headers": {"content-type": "text/csv"}, "cookies":
 * ["a=1"]}, of which each part may be absent. Returns 0, or -1: it is none, or something has been written already. */
static inline int ps_head(ps_context *context, const char *json, size_t size)
{
    return context->calls->head(context, json, size);
}

/* Passes on bytes as a part of the response, and waits until the caller has taken them. A response that is written has no other result; it may be
 * larger than one. Who takes no parts gets all of it as a result at the end. Returns 0, or -1 when the caller has gone or takes no more: failure,
 * which may be NULL, says why. Threads of a handler may call it as ps_invoke. */
static inline int ps_write(ps_context *context, const void *bytes, size_t size, ps_answer *failure)
{
    return context->calls->write(context, bytes, size, failure);
}

/* A function may define this as well. It is called once, before the first event, and so is the place for what is to be ready for
 * all of them. When it returns something else than 0 the function cannot start; ps_error says why. There is no event: request_id is
 * empty, and ps_invoke fails. */
PS_EXPORT int pipsqueak_init(ps_context *context);

#ifdef __cplusplus
}
#endif

/* Says which version a shared object was compiled for. */
PS_EXPORT __attribute__((weak)) const uint32_t pipsqueak_abi;
PS_EXPORT __attribute__((weak)) const uint32_t pipsqueak_abi = PS_ABI;

#endif
