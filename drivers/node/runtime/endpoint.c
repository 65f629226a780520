/*
 * endpoint: frames between an instance and core (PROTOCOL.md, endpoint).
 *
 * Reading blocks: between events nothing of the handler's runs, and an instance that waits costs nothing. While a handler
 * runs, the answers to its calls come through the event loop, which watches the endpoint only as long as one is awaited.
 */
#include "addon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FRAME = (6 << 20) + (64 << 10), HEAD = 5, TOKEN = 32, KEPT = 256 << 10, UV_POLL = 8, UV_READABLE = 1 };

/* Of libuv, which node exports. */
struct uv_poll_s;
struct uv_loop_s;
extern size_t uv_handle_size(int type);
extern int uv_poll_init(struct uv_loop_s *, struct uv_poll_s *, int fd);
extern int uv_poll_start(struct uv_poll_s *, int events, void (*)(struct uv_poll_s *, int status, int events));
extern int uv_poll_stop(struct uv_poll_s *);

static int endpoint = -1;
static char *buffer; /* what was read */
static size_t capacity, have;
static struct uv_poll_s *watcher;
static napi_env watching_env;
static napi_ref watching;

void ps_set_endpoint(int fd)
{
    endpoint = fd;
}

/* Reads until there are as many bytes. 0 at the end of the endpoint. */
static int fill(size_t wanted)
{
    if (wanted > capacity) {
        size_t size = wanted > KEPT ? wanted : KEPT;
        char *larger = realloc(buffer, size);
        if (!larger)
            return 0;
        buffer = larger, capacity = size;
    }
    while (have < wanted) {
        ssize_t n = read(endpoint, buffer + have, capacity - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        have += (size_t)n;
    }
    return 1;
}

/* receive(frame): reads one frame, and sets frame.meta and frame.body, the latter without a meta for a handler frame. Returns the kind,
 * or 0 at the end of the endpoint and when it cannot be understood. */
static napi_value receive(napi_env env, napi_callback_info info)
{
    napi_value frame, text, kind;
    size_t count = 1, meta = 0, length;
    uint32_t number;
    napi_get_cb_info(env, info, &count, &frame, NULL, NULL);
    napi_create_int32(env, 0, &kind);
    if (!fill(4))
        return kind;
    memcpy(&number, buffer, 4);
    length = ntohl(number);
    if (length < 1 || length > MAX_FRAME || !fill(4 + length))
        return kind;
    const char *body = buffer + HEAD;
    size_t rest = length - 1;
    if (buffer[4] == 'E' || buffer[4] == 'A') {
        if (rest < 4)
            return kind;
        memcpy(&number, body, 4);
        meta = ntohl(number);
        if (meta > rest - 4)
            return kind;
        body += 4, rest -= 4 + meta;
        napi_create_string_utf8(env, body, meta, &text);
        napi_set_named_property(env, frame, "meta", text);
    }
    napi_create_string_utf8(env, body + meta, rest, &text);
    napi_set_named_property(env, frame, "body", text);
    napi_create_int32(env, buffer[4], &kind);
    have -= 4 + length;
    memmove(buffer, buffer + 4 + length, have);
    if (capacity > KEPT && have <= KEPT) {
        char *smaller = realloc(buffer, KEPT);
        if (smaller)
            buffer = smaller, capacity = KEPT;
    }
    return kind;
}

static int write_all(const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t n = write(endpoint, bytes, count);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            bytes += n, count -= (size_t)n;
    }
    return 0;
}

/* send(kind, token, body[, meta]): writes one frame, whose body begins with the token of an event, or "". Returns how many bytes the body has when that is over the limit, and then nothing
 * is written; else 0. An endpoint that core has closed ends the process. */
static napi_value send_frame(napi_env env, napi_callback_info info)
{
    static char small[16 << 10];
    napi_value arguments[4], result;
    size_t count = 4, length = 0, meta = 0, head = HEAD, token = 0;
    int32_t kind;
    napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
    napi_get_value_int32(env, arguments[0], &kind);
    if (napi_get_value_string_utf8(env, arguments[1], NULL, 0, &token) != napi_ok || token > TOKEN ||
        napi_get_value_string_utf8(env, arguments[2], NULL, 0, &length) != napi_ok)
        return ps_throw(env, "a frame without a text");
    if (count > 3 && napi_get_value_string_utf8(env, arguments[3], NULL, 0, &meta) != napi_ok)
        return ps_throw(env, "a frame without a meta");
    napi_create_double(env, length > 6 << 20 ? (double)length : 0, &result);
    if (length > 6 << 20)
        return result;
    head += token + (count > 3 ? 4 : 0);
    size_t whole = head + meta + length;
    char *frame = whole < sizeof small ? small : malloc(whole + 1);
    if (!frame)
        return ps_throw(env, "a frame");
    uint32_t number = htonl((uint32_t)(whole - 4));
    memcpy(frame, &number, 4);
    frame[4] = (char)kind;
    napi_get_value_string_utf8(env, arguments[1], frame + HEAD, token + 1, &token);
    if (count > 3) {
        number = htonl((uint32_t)meta);
        memcpy(frame + HEAD + token, &number, 4);
        napi_get_value_string_utf8(env, arguments[3], frame + head, meta + 1, &meta);
    }
    napi_get_value_string_utf8(env, arguments[2], frame + head + meta, length + 1, &length);
    int error = write_all(frame, whole);
    if (frame != small)
        free(frame);
    if (error)
        _exit(0);
    return result;
}

/* pending(ms): whether there is something to receive within that time. */
static napi_value pending(napi_env env, napi_callback_info info)
{
    napi_value argument, result;
    size_t count = 1;
    int32_t patience = 0;
    struct pollfd poll_endpoint = {.fd = endpoint, .events = POLLIN};
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    napi_get_value_int32(env, argument, &patience);
    napi_get_boolean(env, have > 0 || poll(&poll_endpoint, 1, patience) > 0, &result);
    return result;
}

static void on_readable(struct uv_poll_s *handle, int status, int events)
{
    napi_handle_scope scope;
    napi_value global, callback, result;
    (void)handle, (void)status, (void)events;
    napi_open_handle_scope(watching_env, &scope);
    napi_get_global(watching_env, &global);
    napi_get_reference_value(watching_env, watching, &callback);
    napi_make_callback(watching_env, NULL, global, callback, 0, NULL, &result);
    napi_close_handle_scope(watching_env, scope);
}

/* watch(callback): has the event loop call back whenever the endpoint can be read; watch(): no more. */
static napi_value watch(napi_env env, napi_callback_info info)
{
    napi_value callback;
    size_t count = 1;
    struct uv_loop_s *loop;
    napi_get_cb_info(env, info, &count, &callback, NULL, NULL);
    if (count == 0) {
        if (watcher)
            uv_poll_stop(watcher);
        return NULL;
    }
    if (!watcher) {
        watcher = calloc(1, uv_handle_size(UV_POLL));
        if (!watcher || napi_get_uv_event_loop(env, &loop) != napi_ok || uv_poll_init(loop, watcher, endpoint) != 0)
            return ps_throw(env, "watching the endpoint");
        fcntl(endpoint, F_SETFL, fcntl(endpoint, F_GETFL) & ~O_NONBLOCK); /* libuv does not mind, and reads and writes go on to block */
        watching_env = env;
        napi_create_reference(env, callback, 1, &watching);
    }
    uv_poll_start(watcher, UV_READABLE, on_readable);
    return NULL;
}

void ps_export_endpoint(napi_env env, napi_value exports)
{
    ps_export(env, exports, "receive", receive);
    ps_export(env, exports, "send", send_frame);
    ps_export(env, exports, "pending", pending);
    ps_export(env, exports, "watch", watch);
}
