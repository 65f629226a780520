/*
 * endpoint: the frames of an instance's endpoint, for languages that call C more easily than they pack bytes.
 *
 * What the frames mean is in PROTOCOL.md, Endpoint. A language that reads its socket itself needs nothing of this.
 */
#ifndef PIPSQUEAK_ENDPOINT_H
#define PIPSQUEAK_ENDPOINT_H

#include "enter.h"

#include <stddef.h>

/* One frame. Only the kinds 'E', 'A' and 'I' have a meta. */
struct ps_frame {
    const char *meta, *body;
    size_t meta_size, body_size;
};

/* Waits for the next frame and returns its kind; what the frame points to is the library's, until the next call. 0 is the end
 * of file: the instance is not needed any more. -1 is anything that is no frame: the other end is broken. In both cases the instance
 * leaves at once. One thread at a time may call it. */
PS_API int ps_receive(int endpoint, struct ps_frame *frame);

/* Sends a frame; meta counts for the kinds that have one. 0, or -1 with errno when nobody is there to read it. */
PS_API int ps_send(int endpoint, int kind, const struct ps_frame *frame);

/* The same for what is said in an event, which begins with its token: 32 bytes, of the event's meta. It is -1 with ECHILD in another process
 * than the one that has received the last frame, such as one that a handler has forked: it is nobody's answer. After -1 the process leaves at once. */
PS_API int ps_reply(int endpoint, int kind, const char *token, const struct ps_frame *frame);

#endif
