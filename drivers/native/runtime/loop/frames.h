/*
 * frames: what an instance says to core (PROTOCOL.md, Endpoint), with the token of the event that it belongs to.
 */
#ifndef PIPSQUEAK_FRAMES_H
#define PIPSQUEAK_FRAMES_H

#include "json.h"

#include "endpoint.h"

#include <stdbool.h>
#include <stddef.h>

/* Kinds of frame. */
enum {
    FRAME_HANDLER = 'H',
    FRAME_REPORT = 'P',
    FRAME_FAILURE = 'F',
    FRAME_EVENT = 'E',
    FRAME_INVOKE = 'I',
    FRAME_PART = 'S',
    FRAME_ANSWER = 'A',
    FRAME_GONE = 'G',
    FRAME_RESULT = 'R',
    FRAME_EXCEPTION = 'X',
    FRAME_DEATH = 'D',
    FRAME_REFUSED = 'L',
};

/* The instance's end. All zero but for input.endpoint is a new one. */
struct endpoint {
    struct ps_input input;
    char token[PS_TOKEN]; /* of the event under way, or of the last */
    bool begun;           /* there is a token */
};

/* Notes the token of an event, with which what is written from now on begins. Returns the event's meta, which is empty when the
 * frame is none of an event. */
struct json frame_begin(struct endpoint *endpoint, int kind, const struct ps_frame *frame);

/* Writes one frame. Returns false when nobody listens any more. Does not return in a process that the handler has forked and that
 * came back from it: it ends here. */
bool frame_write(struct endpoint *endpoint, int kind, const char *body, size_t length);

/* The same for what core answers, an invocation or a part, which has a meta. */
bool frame_call(struct endpoint *endpoint, int kind, const struct text *meta, const char *body, size_t length);

/* Reads frames until the answer to the call, and returns it with its meta. What answers none that is awaited is skipped (E14). Returns false when nobody
 * is there any more. */
bool frame_await(struct ps_input *input, long long call, struct json *meta, struct ps_frame *answer);

#endif
