/*
 * frames: the frames between an instance and core (PROTOCOL.md, Endpoint), as strings of JavaScript.
 *
 * Reading blocks: between events nothing of the handler's runs, and an instance that waits costs nothing. While a handler
 * runs, the answers to its calls come through the event loop, which watches the endpoint only as long as one is awaited, or the end of the caller.
 */
#include "addon.h"
#include "endpoint.h"
#include "zygote.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { UV_POLL = 8, UV_READABLE = 1 };

/* Of libuv, which node exports. */
struct uv_poll_s;
struct uv_loop_s;
extern size_t uv_handle_size(int type);
extern int uv_poll_init(struct uv_loop_s *, struct uv_poll_s *, int fd);
extern int uv_poll_start(struct uv_poll_s *, int events, void (*)(struct uv_poll_s *, int status, int events));
extern int uv_poll_stop(struct uv_poll_s *);
extern void uv_ref(struct uv_poll_s *);
extern void uv_unref(struct uv_poll_s *);

static struct ps_input input = {.endpoint = -1};
static struct uv_poll_s *watcher;
static napi_env watching_env;
static napi_ref watching;

void ps_set_endpoint(int fd)
{
    input.endpoint = fd;
}

/* receive(frame): reads one frame, and sets frame.meta, which is empty for a kind that has none, and frame.body. Returns the kind, or 0
 * at the end of the endpoint and when it cannot be understood. */
static napi_value receive(napi_env env, napi_callback_info info)
{
    napi_value target, text, result;
    struct ps_frame frame;
    size_t count = 1;
    napi_get_cb_info(env, info, &count, &target, NULL, NULL);
    int kind = ps_read(&input, &frame);
    napi_create_int32(env, kind > 0 ? kind : 0, &result);
    if (kind <= 0)
        return result;
    napi_create_string_utf8(env, frame.meta, frame.meta_size, &text);
    napi_set_named_property(env, target, "meta", text);
    napi_create_string_utf8(env, frame.body, frame.body_size, &text);
    napi_set_named_property(env, target, "body", text);
    return result;
}

/* send(kind, token, body[, meta]): writes one frame, which begins with the token of an event, or with none when that is "". The body is a
 * string, or a Buffer. Returns how many bytes the body has when that is over the limit, and then nothing is written; else 0. An endpoint that core has closed ends the
 * process. */
static napi_value send_frame(napi_env env, napi_callback_info info)
{
    static char small[16 << 10];
    char token[PS_TOKEN + 1];
    napi_value arguments[4], result;
    size_t count = 4, length = 0, meta = 0, asked = 0;
    int32_t kind;
    bool is_bytes = false;
    void *bytes = NULL;
    napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
    napi_get_value_int32(env, arguments[0], &kind);
    napi_is_buffer(env, arguments[2], &is_bytes);
    if (napi_get_value_string_utf8(env, arguments[1], token, sizeof token, &asked) != napi_ok || (asked > 0 && asked != PS_TOKEN) ||
        (is_bytes ? napi_get_buffer_info(env, arguments[2], &bytes, &length) : napi_get_value_string_utf8(env, arguments[2], NULL, 0, &length)) != napi_ok)
        return ps_throw(env, "a frame without a text");
    if (count > 3 && napi_get_value_string_utf8(env, arguments[3], NULL, 0, &meta) != napi_ok)
        return ps_throw(env, "a frame without a meta");
    napi_create_double(env, length > PS_MAX_BODY ? (double)length : 0, &result);
    if (length > PS_MAX_BODY)
        return result;
    size_t copied = is_bytes ? 0 : length;
    char *texts = meta + copied < sizeof small ? small : malloc(meta + copied + 1);
    if (!texts)
        return ps_throw(env, "a frame");
    if (count > 3)
        napi_get_value_string_utf8(env, arguments[3], texts, meta + 1, &meta);
    if (!is_bytes)
        napi_get_value_string_utf8(env, arguments[2], texts + meta, length + 1, &length);
    struct ps_frame frame = {.meta = texts, .meta_size = meta, .body = is_bytes ? bytes : texts + meta, .body_size = length};
    int failed = asked > 0 ? ps_reply(input.endpoint, kind, token, &frame) : ps_send(input.endpoint, kind, &frame);
    if (texts != small)
        free(texts);
    if (failed)
        _exit(0);
    return result;
}

/* mayRehearse(): see zygote.h. */
static napi_value may_rehearse(napi_env env, napi_callback_info info)
{
    napi_value result;
    (void)info;
    napi_get_boolean(env, ps_may_rehearse(input.endpoint), &result);
    return result;
}

/* pending(): whether there is something to receive. */
static napi_value pending(napi_env env, napi_callback_info info)
{
    napi_value result;
    struct pollfd poll_endpoint = {.fd = input.endpoint, .events = POLLIN};
    (void)info;
    napi_get_boolean(env, ps_has_more(&input) || poll(&poll_endpoint, 1, 0) > 0, &result);
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

/* watch(callback, keeps): has the event loop call back whenever the endpoint can be read, and says whether that keeps it alive; watch(): no more. The
 * callback is always the same. */
static napi_value watch(napi_env env, napi_callback_info info)
{
    napi_value arguments[2], callback;
    size_t count = 2;
    bool keeps = false;
    struct uv_loop_s *loop;
    napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
    callback = arguments[0];
    if (count == 0) {
        if (watcher)
            uv_poll_stop(watcher);
        return NULL;
    }
    if (!watcher) {
        watcher = calloc(1, uv_handle_size(UV_POLL));
        if (!watcher || napi_get_uv_event_loop(env, &loop) != napi_ok || uv_poll_init(loop, watcher, input.endpoint) != 0)
            return ps_throw(env, "watching the endpoint");
        fcntl(input.endpoint, F_SETFL, fcntl(input.endpoint, F_GETFL) & ~O_NONBLOCK); /* libuv does not mind, and reads and writes go on to block */
        watching_env = env;
        napi_create_reference(env, callback, 1, &watching);
    }
    napi_get_value_bool(env, arguments[1], &keeps);
    (keeps ? uv_ref : uv_unref)(watcher);
    uv_poll_start(watcher, UV_READABLE, on_readable);
    return NULL;
}

void ps_export_endpoint(napi_env env, napi_value exports)
{
    ps_export(env, exports, "receive", receive);
    ps_export(env, exports, "send", send_frame);
    ps_export(env, exports, "mayRehearse", may_rehearse);
    ps_export(env, exports, "pending", pending);
    ps_export(env, exports, "watch", watch);
}
