/* endpoint: frames. The reasons are in endpoint.h. */
#include "endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* More than MOST bytes of memory are not kept for the next frame. */
enum { HEAD = 5, FIRST = 16 << 10, MOST = 256 << 10 };

/* Makes room for n bytes and the NUL after them. */
static void fit(struct text *input, size_t n)
{
    if (n < input->size)
        return;
    char *at = realloc(input->at, n + 1);
    if (!at) {
        fputs("pipsqueak: out of memory for an event\n", stderr);
        _Exit(1);
    }
    input->at = at;
    input->size = n + 1;
}

/* Gives the memory of a large frame back, all but what the next one usually needs. */
static void shrink(struct text *input)
{
    char *at = realloc(input->at, FIRST + 1);
    if (!at)
        return;
    input->at = at;
    input->size = FIRST + 1;
}

/* Reads until there are want bytes. Most frames come with the first read. */
static bool fill(struct endpoint *e, size_t want)
{
    fit(&e->input, want);
    while (e->input.length < want) {
        ssize_t n = recv(e->fd, e->input.at + e->input.length, e->input.size - 1 - e->input.length, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        e->input.length += (size_t)n;
    }
    return true;
}

bool frame_read(struct endpoint *e, struct frame *frame)
{
    fit(&e->input, FIRST);
    e->input.length -= e->taken;
    if (e->input.length) {
        e->input.at[e->taken] = e->next;
        memmove(e->input.at, e->input.at + e->taken, e->input.length);
    }
    e->taken = 0;
    if (e->input.size > MOST && e->input.length < FIRST)
        shrink(&e->input);
    uint32_t size;
    if (!e->owner)
        e->owner = getpid();
    if (!fill(e, sizeof size))
        return false;
    memcpy(&size, e->input.at, sizeof size);
    size = ntohl(size);
    if (size == 0 || size > MAX_FRAME || !fill(e, sizeof size + size))
        return false;
    e->taken = sizeof size + size;
    e->next = e->input.at[e->taken];
    e->input.at[e->taken] = 0;
    *frame = (struct frame){e->input.at[sizeof size], e->input.at + HEAD, size - 1};
    return true;
}

bool frame_split(const struct frame *frame, struct json *meta, const char **rest, size_t *length)
{
    uint32_t size;
    if (frame->length < sizeof size)
        return false;
    memcpy(&size, frame->body, sizeof size);
    size = ntohl(size);
    if (size > frame->length - sizeof size)
        return false;
    *meta = json_check(frame->body + sizeof size, size);
    *rest = frame->body + sizeof size + size;
    *length = frame->length - sizeof size - size;
    return meta->length > 0;
}

void frame_begin(struct endpoint *e, struct json meta)
{
    struct json token = json_member(meta, "token"); /* with its quotes */
    if (token.length == TOKEN + 2)
        memcpy(e->token, token.at + 1, e->token_size = TOKEN);
}

bool frame_write(struct endpoint *e, char kind, const char *body, size_t length, const char *more, size_t more_length)
{
    if (getpid() != e->owner)
        _exit(0);
    char head[HEAD + TOKEN];
    uint32_t size = htonl((uint32_t)(1 + e->token_size + length + more_length));
    memcpy(head, &size, sizeof size);
    head[sizeof size] = kind;
    memcpy(head + HEAD, e->token, e->token_size);
    struct iovec vector[] = {{head, HEAD + e->token_size}, {(char *)body, length}, {(char *)more, more_length}};
    struct msghdr msg = {.msg_iov = vector, .msg_iovlen = 3};
    while (msg.msg_iovlen) {
        ssize_t n = sendmsg(e->fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        for (; msg.msg_iovlen && (size_t)n >= msg.msg_iov->iov_len; msg.msg_iov++, msg.msg_iovlen--)
            n -= (ssize_t)msg.msg_iov->iov_len;
        if (msg.msg_iovlen) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
            msg.msg_iov->iov_len -= (size_t)n;
        }
    }
    return true;
}
