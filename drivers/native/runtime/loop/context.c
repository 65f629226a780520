/* context: the calls of pipsqueak.h. The reasons are in context.h. */
#include "context.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An answer to an invocation: what was read for it, the strings of an error, and the exception that is in the frame, if there is one. */
struct answer {
    struct answer *next;
    struct ps_input input;
    struct text strings;
    struct json exception;
};

static void set_result(ps_context *context, const char *json, size_t size)
{
    struct call *call = (struct call *)context;
    call->outcome = RESULT;
    call->result.length = 0;
    text_add(&call->result, json, size);
}

static void set_error(ps_context *context, const char *type, const char *message)
{
    struct call *call = (struct call *)context;
    call->outcome = ERROR;
    call->type.length = call->message.length = call->causes.length = 0;
    call->caused = 0;
    call->told = false;
    text_format(&call->type, "%s", type ? type : "error");
    text_format(&call->message, "%s", message ? message : "");
}

enum { MAX_CAUSES = 16 };

static void add_cause(ps_context *context, const char *type, const char *message)
{
    enum { MAX_TYPE = 1 << 10, MAX_TEXT = 8 << 10 };
    struct call *call = (struct call *)context;
    if (call->outcome != ERROR || call->caused == MAX_CAUSES || call->told)
        return;
    call->caused++;
    text_format(&call->causes, ",\"causes\":[{\"relation\":\"cause\",\"type\":");
    text_add_quoted(&call->causes, type ? type : "error", strnlen(type ? type : "error", MAX_TYPE));
    text_format(&call->causes, ",\"message\":");
    text_add_quoted(&call->causes, message ? message : "", strnlen(message ? message : "", MAX_TEXT));
    text_format(&call->causes, ",\"stack\":[]");
}

/* Adds the exception of an invoked handler as core has reported and cut it, with its own causes: nothing comes behind it. */
static void add_answer(ps_context *context, const ps_answer *answer)
{
    struct call *call = (struct call *)context;
    if (call->outcome != ERROR || call->caused == MAX_CAUSES || call->told)
        return;
    for (struct answer *kept = call->answers; kept; kept = kept->next)
        if (kept->exception.length > 2 && answer->kind == kept->strings.at) {
            text_format(&call->causes, ",\"causes\":[{\"relation\":\"cause\",");
            text_add(&call->causes, kept->exception.at + 1, kept->exception.length - 1);
            text_add(&call->causes, "]", 1);
            call->told = true;
            return;
        }
}

static int refuse(ps_answer *answer, const char *kind, const char *fault, const char *message)
{
    *answer = (ps_answer){.result = "", .kind = kind, .fault = fault, .message = message, .exception_type = "", .exception_message = ""};
    return -1;
}

/* Reads an error: its strings, one after another with a NUL after each. */
static int explain(struct json error, struct text *strings, ps_answer *answer)
{
    struct json exception = json_member(error, "exception"), retryable = json_member(error, "retryable");
    const struct json fields[] = {json_member(error, "kind"), json_member(error, "fault"), json_member(error, "message"),
                                  json_member(exception, "type"), json_member(exception, "message")};
    size_t begin[5];
    for (size_t i = 0; i < 5; i++) {
        begin[i] = strings->length;
        json_add_text(strings, fields[i]);
        text_add(strings, "", 1);
    }
    const char *at = strings->at;
    refuse(answer, at + begin[0], at + begin[1], at + begin[2]);
    answer->exception_type = at + begin[3];
    answer->exception_message = at + begin[4];
    answer->retryable = retryable.length == 4 && *retryable.at == 't';
    return -1;
}

static int invoke_now(struct call *call, const char *function, const char *event, size_t size, ps_answer *answer)
{
    struct answer *kept = calloc(1, sizeof *kept);
    if (!kept)
        return refuse(answer, "exhausted", "handler", "out of memory");
    kept->input.endpoint = call->endpoint->input.endpoint;
    kept->next = call->answers;
    call->answers = kept;
    struct text head = {0};
    long long number = ++call->calls;
    text_format(&head, "{\"call\":%lld,\"function\":", number);
    text_add_quoted(&head, function, strlen(function));
    text_add(&head, "}", 1);
    struct json meta;
    struct ps_frame frame;
    bool answered = frame_call(call->endpoint, FRAME_INVOKE, &head, event, size) && frame_await(&kept->input, number, &meta, &frame);
    text_free(&head);
    if (!answered)
        _Exit(0); /* core is gone, or done with this instance */
    struct json error = json_member(meta, "error");
    if (error.length) {
        kept->exception = json_member(error, "exception");
        return explain(error, &kept->strings, answer);
    }
    *answer = (ps_answer){.result = frame.body, .size = frame.body_size, .kind = "", .fault = "", .message = "", .exception_type = "", .exception_message = ""};
    return 0;
}

/* Core is asked by one thread at a time. */
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;

/* Why core cannot be asked now; NULL when it can. */
static const char *unasked(const struct call *call)
{
    if (getpid() != ps_receiver())
        return "a process that the handler has forked can neither invoke functions nor write";
    return call->running ? NULL : "functions can be invoked, and responses written, only while a handler runs";
}

static int invoke(ps_context *context, const char *function, const char *event, size_t size, ps_answer *answer)
{
    struct call *call = (struct call *)context;
    const char *why = unasked(call);
    if (size > PS_MAX_BODY)
        return refuse(answer, "too_large", "handler", "the event is over 6 MiB");
    if (!json_check(event, size).length)
        return refuse(answer, "invalid", "handler", json_is_too_deep(event, size) ? "the event " JSON_TOO_DEEP : "the event is not JSON");
    if (why)
        return refuse(answer, "invalid", "handler", why);
    pthread_mutex_lock(&asking);
    int failed = invoke_now(call, function, event, size, answer);
    pthread_mutex_unlock(&asking);
    return failed;
}

static int set_head(ps_context *context, const char *json, size_t size)
{
    return response_head(&((struct call *)context)->response, json, size) ? 0 : -1;
}

static int write_part(ps_context *context, const void *bytes, size_t size, ps_answer *failure)
{
    struct call *call = (struct call *)context;
    const char *why = unasked(call);
    ps_answer unwanted;
    if (!failure)
        failure = &unwanted;
    if (why)
        return refuse(failure, "invalid", "handler", why);
    pthread_mutex_lock(&asking);
    bool written = response_write(&call->response, call->endpoint, &call->calls, bytes, size);
    pthread_mutex_unlock(&asking);
    if (written)
        return 0;
    call->unwritten.length = 0;
    return explain((struct json){call->response.why.at, call->response.why.length}, &call->unwritten, failure);
}

static const ps_calls calls = {set_result, set_error, invoke, add_cause, add_answer, set_head, write_part};

void context_prepare(struct call *call, struct endpoint *endpoint)
{
    call->endpoint = endpoint;
    call->context.abi = PS_ABI;
    call->context.calls = &calls;
    call->context.request_id = call->context.function = "";
}

void context_clear(struct call *call)
{
    call->outcome = NOTHING;
    while (call->answers) {
        struct answer *last = call->answers;
        call->answers = last->next;
        free(last->input.bytes);
        text_free(&last->strings);
        free(last);
    }
    /* A large result is not held for the next event, which may have a small one. */
    if (call->result.size > (1 << 20))
        text_free(&call->result);
}
