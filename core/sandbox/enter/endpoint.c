/* endpoint: the frames of an instance's endpoint, see endpoint.h. */
#include "endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    TOKEN = 32,                    /* bytes of an event's token */
    MOST = (6 << 20) + (64 << 10), /* bytes in a frame */
    KEPT = 64 << 10,               /* what a longer frame takes is given back after it */
};

static pid_t receiver; /* the process that has received the last frame */

static int has_meta(int kind)
{
    return kind == 'E' || kind == 'A' || kind == 'I';
}

/* Reads all of size bytes. 1, 0 at the end of file, -1. */
static int read_all(int fd, char *to, size_t size)
{
    while (size > 0) {
        ssize_t n = read(fd, to, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        to += n;
        size -= (size_t)n;
    }
    return 1;
}

int ps_receive(int endpoint, struct ps_frame *frame)
{
    static char *buffer;
    static size_t room;
    uint32_t length, meta = 0;
    int state = read_all(endpoint, (char *)&length, sizeof length);
    if (state <= 0)
        return state < 0 && errno == ECONNRESET ? 0 : state;
    length = ntohl(length);
    if (length < 1 || length > MOST)
        return -1;
    if (length > room || room > KEPT) {
        free(buffer);
        room = length > KEPT ? length : KEPT;
        buffer = malloc(room);
        if (!buffer) {
            room = 0;
            return -1;
        }
    }
    if (read_all(endpoint, buffer, length) <= 0)
        return -1;
    int kind = (unsigned char)buffer[0];
    const char *body = buffer + 1;
    size_t size = length - 1;
    if (has_meta(kind)) {
        if (size < sizeof meta)
            return -1;
        memcpy(&meta, body, sizeof meta);
        meta = ntohl(meta);
        body += sizeof meta;
        size -= sizeof meta;
        if (meta > size)
            return -1;
    }
    receiver = getpid();
    *frame = (struct ps_frame){.meta = body, .meta_size = meta, .body = body + meta, .body_size = size - meta};
    return kind;
}

static int send_frame(int endpoint, int kind, const char *token, size_t token_size, const struct ps_frame *frame)
{
    char head[5 + TOKEN + 4];
    size_t meta_size = has_meta(kind) ? frame->meta_size : 0, head_size = 5 + token_size + (has_meta(kind) ? 4 : 0);
    uint32_t length = htonl((uint32_t)(head_size - 4 + meta_size + frame->body_size)), meta = htonl((uint32_t)meta_size);
    memcpy(head, &length, sizeof length);
    head[4] = (char)kind;
    memcpy(head + 5, token, token_size);
    memcpy(head + 5 + token_size, &meta, sizeof meta);
    struct iovec parts[] = {{head, head_size}, {(char *)frame->meta, meta_size}, {(char *)frame->body, frame->body_size}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 3};
    while (msg.msg_iovlen > 0) {
        ssize_t n = sendmsg(endpoint, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        while (msg.msg_iovlen > 0 && (size_t)n >= msg.msg_iov->iov_len) {
            n -= (ssize_t)msg.msg_iov->iov_len;
            msg.msg_iov++;
            msg.msg_iovlen--;
        }
        if (msg.msg_iovlen > 0) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
            msg.msg_iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

int ps_send(int endpoint, int kind, const struct ps_frame *frame)
{
    return send_frame(endpoint, kind, "", 0, frame);
}

int ps_reply(int endpoint, int kind, const char *token, const struct ps_frame *frame)
{
    if (getpid() != receiver) {
        errno = ECHILD;
        return -1;
    }
    return send_frame(endpoint, kind, token, TOKEN, frame);
}
