/*
 * endpoint: the frames between an instance and core (PROTOCOL.md, Endpoint), on a connected stream socket that blocks.
 */
#ifndef PIPSQUEAK_ENDPOINT_H
#define PIPSQUEAK_ENDPOINT_H

#include "json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    MAX_BODY = 6 << 20,                /* bytes of an event or a result */
    MAX_FRAME = MAX_BODY + (64 << 10), /* bytes of what a frame's length counts */
    TOKEN = 32,                        /* bytes of an event's token */
};

/* Kinds of frame. */
enum {
    FRAME_HANDLER = 'H',
    FRAME_REPORT = 'P',
    FRAME_FAILURE = 'F',
    FRAME_EVENT = 'E',
    FRAME_INVOKE = 'I',
    FRAME_ANSWER = 'A',
    FRAME_RESULT = 'R',
    FRAME_EXCEPTION = 'X',
    FRAME_DEATH = 'D',
    FRAME_REFUSED = 'L',
};

/* The instance's end. All zero but for fd is a new one. */
struct endpoint {
    int fd;
    struct text input; /* what was read: the last frame, then what came with it */
    size_t taken;      /* bytes of the last frame */
    char next;         /* the byte after it, where a NUL is now */
    pid_t owner;       /* the process that is asked, and answers */
    char token[TOKEN]; /* of the event under way, or of the last */
    size_t token_size; /* 0 before the first */
};

/* A frame that was read. */
struct frame {
    char kind;
    const char *body; /* followed by a NUL byte */
    size_t length;    /* of it */
};

/* Reads one frame, which is good until the next is read. Returns false at the end, and when what comes is no frame: the instance
 * leaves then. */
bool frame_read(struct endpoint *endpoint, struct frame *frame);

/* Takes the body of an event or an answer apart: the meta, and what follows it. False when it is not made so. */
bool frame_split(const struct frame *frame, struct json *meta, const char **rest, size_t *length);

/* Notes the token of an event, with which what is written from now on begins. */
void frame_begin(struct endpoint *endpoint, struct json meta);

/* Writes one frame, whose body is the two pieces after the token; the second may be empty. Returns false when nobody listens any more. Does not
 * return in another process than the one that was asked: it is one that the handler has forked and that came back from it, and ends here. */
bool frame_write(struct endpoint *endpoint, char kind, const char *body, size_t length, const char *more, size_t more_length);

#endif
