/*
 * endpoint: the frames between an instance and core (PROTOCOL.md, Endpoint).
 *
 * Every loop in C uses it: it is linked into the host of compiled functions and into Node.js's addon. It is in
 * libpipsqueak-enter.so too, for languages that call C more easily than they pack bytes. A language that reads its socket
 * itself needs nothing of this.
 */
#ifndef PIPSQUEAK_ENDPOINT_H
#define PIPSQUEAK_ENDPOINT_H

#include "../enter.h"

#include <stddef.h>
#include <sys/types.h>

enum {
    PS_MAX_BODY = 6 << 20,                   /* bytes of an event or a result */
    PS_MAX_FRAME = PS_MAX_BODY + (64 << 10), /* bytes that the length of a frame counts */
    PS_TOKEN = 32,                           /* bytes of the token of an event */
};

/* One frame. Only the kinds 'E', 'A', 'I' and 'S' have a meta. */
struct ps_frame {
    const char *meta, *body;
    size_t meta_size, body_size;
};

/* Waits for the next frame and returns its kind. The frame points into memory of the library, which the next call uses again.
 * Returns 0 at the end of file: core does not need the instance any more. Returns -1 when what came is no frame: the other end
 * is broken. In both cases the instance leaves at once. One thread at a time may call it. */
PS_API int ps_receive(int endpoint, struct ps_frame *frame);

/* Sends a frame that belongs to no event; its meta counts for the kinds that have one. Returns 0, or -1 with errno: nobody is
 * there to read it. errno is ECHILD in another process than the one that received the first frame, such as one that a handler
 * has forked: what that says is nobody's answer. After -1 the process leaves at once. */
PS_API int ps_send(int endpoint, int kind, const struct ps_frame *frame);

/* The same for what is said in an event. It begins with the event's token, of PS_TOKEN bytes, which is in the event's meta. */
PS_API int ps_reply(int endpoint, int kind, const char *token, const struct ps_frame *frame);

/*
 * The rest is for programs that link this file. They read ahead: a frame that comes whole costs one system call. ps_receive
 * does not, so that who polls the endpoint finds each frame there.
 */

/* What was read of an endpoint. All zero, but for endpoint, is a new one; its owner frees bytes. */
struct ps_input {
    int endpoint;
    char *bytes;
    size_t size;  /* bytes of memory */
    size_t have;  /* bytes that were read: the last frame, and what came with it */
    size_t taken; /* bytes of the last frame */
    char next;    /* the byte after the last frame, in whose place is a NUL now */
};

/* Does what ps_receive does, with an input of the caller's. A NUL byte follows the body. */
int ps_read(struct ps_input *input, struct ps_frame *frame);

/* Whether bytes were read with the last frame, which poll does not see any more. */
static inline int ps_has_more(const struct ps_input *input)
{
    return input->have > input->taken;
}

/* Returns the process that received the first frame, and 0 before that. */
pid_t ps_receiver(void);

#endif
