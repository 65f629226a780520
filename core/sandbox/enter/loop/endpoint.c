/* endpoint: the frames of an instance's endpoint, see endpoint.h. */
#include "endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    LENGTH = 4,        /* bytes before what the length counts, and before a meta */
    FIRST = 16 << 10,  /* bytes of memory for the first frame */
    KEPT = 256 << 10,  /* bytes of memory that are kept for the next frame */
};

static pid_t receiver;

pid_t ps_receiver(void)
{
    return receiver;
}

static int has_meta(int kind)
{
    return kind == 'E' || kind == 'A' || kind == 'I' || kind == 'S';
}

static uint32_t number(const char *bytes)
{
    uint32_t n;
    memcpy(&n, bytes, sizeof n);
    return ntohl(n);
}

/* Gives the input memory for so many bytes and a NUL. */
static int resize(struct ps_input *input, size_t bytes)
{
    char *at = realloc(input->bytes, bytes + 1);
    if (!at)
        return -1;
    input->bytes = at;
    input->size = bytes + 1;
    return 0;
}

/* Makes what came with the last frame the beginning, and gives the memory of a large frame back. */
static void advance(struct ps_input *input)
{
    input->have -= input->taken;
    if (input->have > 0) {
        input->bytes[input->taken] = input->next;
        memmove(input->bytes, input->bytes + input->taken, input->have);
    }
    input->taken = 0;
    if (input->size > KEPT + 1 && input->have < FIRST)
        resize(input, FIRST);
}

/* Reads until there are want bytes, and what there is besides when it reads ahead. 1, 0 at the end of file before a frame, -1.
 * It waits in poll: a recv that waits itself is woken in vain by each message that core has taken from here. */
static int fill(struct ps_input *input, size_t want, int ahead)
{
    if (want >= input->size && resize(input, want > FIRST ? want : FIRST) < 0)
        return -1;
    while (input->have < want) {
        size_t room = (ahead ? input->size - 1 : want) - input->have;
        poll(&(struct pollfd){.fd = input->endpoint, .events = POLLIN}, 1, -1);
        ssize_t n = recv(input->endpoint, input->bytes + input->have, room, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return input->have == 0 && (n == 0 || errno == ECONNRESET) ? 0 : -1;
        input->have += (size_t)n;
    }
    return 1;
}

/* Finds the parts of the frame that begins the input, and returns its kind. */
static int parse(const struct ps_input *input, struct ps_frame *frame)
{
    int kind = (unsigned char)input->bytes[LENGTH];
    const char *at = input->bytes + LENGTH + 1;
    size_t size = input->taken - LENGTH - 1, meta = 0;
    if (has_meta(kind)) {
        if (size < LENGTH || (meta = number(at)) > size - LENGTH)
            return -1;
        at += LENGTH;
        size -= LENGTH;
    }
    *frame = (struct ps_frame){.meta = at, .meta_size = meta, .body = at + meta, .body_size = size - meta};
    return kind;
}

static int read_frame(struct ps_input *input, struct ps_frame *frame, int ahead)
{
    advance(input);
    if (!receiver)
        receiver = getpid();
    int state = fill(input, LENGTH, ahead);
    if (state <= 0)
        return state;
    size_t length = number(input->bytes);
    if (length < 1 || length > PS_MAX_FRAME || fill(input, LENGTH + length, ahead) <= 0)
        return -1;
    input->taken = LENGTH + length;
    input->next = input->bytes[input->taken];
    input->bytes[input->taken] = 0;
    return parse(input, frame);
}

int ps_read(struct ps_input *input, struct ps_frame *frame)
{
    return read_frame(input, frame, 1);
}

int ps_receive(int endpoint, struct ps_frame *frame)
{
    static struct ps_input input;
    input.endpoint = endpoint;
    return read_frame(&input, frame, 0);
}

/* Sends all of a message of so many parts. */
static int send_all(int endpoint, struct iovec *parts, size_t count)
{
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = count};
    while (msg.msg_iovlen > 0) {
        ssize_t n = sendmsg(endpoint, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        for (; msg.msg_iovlen > 0 && (size_t)n >= msg.msg_iov->iov_len; msg.msg_iov++, msg.msg_iovlen--)
            n -= (ssize_t)msg.msg_iov->iov_len;
        if (msg.msg_iovlen > 0) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
            msg.msg_iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static int send_frame(int endpoint, int kind, const char *token, size_t token_size, const struct ps_frame *frame)
{
    char head[LENGTH + 1 + PS_TOKEN + LENGTH];
    size_t meta_size = has_meta(kind) ? frame->meta_size : 0, head_size = LENGTH + 1 + token_size + (has_meta(kind) ? LENGTH : 0);
    uint32_t length = htonl((uint32_t)(head_size - LENGTH + meta_size + frame->body_size)), meta = htonl((uint32_t)meta_size);
    if (receiver && getpid() != receiver) {
        errno = ECHILD;
        return -1;
    }
    memcpy(head, &length, sizeof length);
    head[LENGTH] = (char)kind;
    memcpy(head + LENGTH + 1, token, token_size);
    memcpy(head + LENGTH + 1 + token_size, &meta, sizeof meta);
    struct iovec parts[] = {{head, head_size}, {(char *)frame->meta, meta_size}, {(char *)frame->body, frame->body_size}};
    return send_all(endpoint, parts, 3);
}

int ps_send(int endpoint, int kind, const struct ps_frame *frame)
{
    return send_frame(endpoint, kind, "", 0, frame);
}

int ps_reply(int endpoint, int kind, const char *token, const struct ps_frame *frame)
{
    return send_frame(endpoint, kind, token, PS_TOKEN, frame);
}
