/* api: answers the requests of a program to AWS's Lambda Runtime API. The reasons are in lambda.h. */
#include "exception.h"
#include "server.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define API "/2018-06-01/runtime/"

static void answer(struct http *http, int status, const char *body)
{
    http_answer(http, status, JSON_FIELDS, body, strlen(body));
}

static void answer_error(struct http *http, int status, const char *type, const char *message)
{
    char body[512];
    snprintf(body, sizeof body, "{\"errorMessage\":\"%s\",\"errorType\":\"%s\"}", message, type);
    answer(http, status, body);
}

static void accept_body(struct http *http) { answer(http, 202, "{\"status\":\"OK\"}"); }

static void refuse_too_large(struct http *http)
{
    say_refused("too_large", TOO_LARGE_TO_RETURN "; store it elsewhere and return where");
    answer_error(http, 413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (6291456 bytes).");
}

/* ---- a response in parts ---- */

enum { MAX_HEAD = 64 << 10, NULS = 8 };

/* Takes the head off the body: what is before the NULs in one with a prelude. Returns false when it is not there yet. */
static bool take_head(struct http *http)
{
    struct text *body = &http->body, head = {0};
    if (server.response.used)
        return true;
    if (!http_has_prelude(http)) {
        text_format(&head, "{\"headers\":{\"content-type\":");
        text_add_quoted(&head, http->content_type, strlen(http->content_type));
        text_format(&head, "}}");
        if (http->content_type[0])
            response_head(&server.response, head.at, head.length);
        text_free(&head);
        return true;
    }
    char *end = body->length ? memmem(body->at, body->length, "\0\0\0\0\0\0\0", NULS) : NULL;
    if (!end || !response_head(&server.response, body->at, (size_t)(end - body->at)))
        return false;
    size_t taken = (size_t)(end - body->at) + NULS;
    body->length -= taken;
    memmove(body->at, end + NULS, body->length);
    return true;
}

/* Passes on what has come of a response, and reports whether there is somebody to take more. */
static bool pass_on(struct http *http)
{
    struct text *body = &http->body;
    if (!take_head(http))
        return body->length <= MAX_HEAD;
    server.streaming = http;
    bool passed = response_write(&server.response, server.endpoint, &server.calls, body->at, body->length);
    body->length = 0;
    return passed;
}

/* Whether it brings the response to the event under way, and that is taken in parts. */
bool api_is_streamed(const struct http *http)
{
    static const char invocation[] = API "invocation/";
    const char *rest = http->target + sizeof invocation - 1;
    size_t length = strlen(server.id);
    return http->streams && server.phase == BUSY && server.response.offered && !server.streaming == !server.response.begun &&
        (!server.streaming || server.streaming == http) && strncmp(http->target, invocation, sizeof invocation - 1) == 0 &&
        strncmp(rest, server.id, length) == 0 && strcmp(rest + length, "/response") == 0;
}

/* Passes on what has come of a request that is still being read. When nobody takes more, the program gets its answer before it has sent the rest: its
 * next write to the connection fails. */
void api_part(struct http *http)
{
    if (pass_on(http))
        return;
    if (server.response.left || server.response.begun)
        say(FRAME_RESULT, "null", 4);
    else
        say_refused("invalid", "the response has no head: with this Content-Type, it begins with a JSON object and eight NUL bytes");
    server.streaming = NULL;
    server.phase = IDLE;
    http->closes = true;
    accept_body(http);
}

/* The end of a response that is taken in parts, or that has a prelude. */
static void on_streamed(struct http *http)
{
    struct text made = {0};
    bool failed = http->error_type[0] || http->error_body.length, headed = failed || pass_on(http) || server.response.why.length;
    server.streaming = NULL;
    if (failed) {
        base64_add(&made, http->error_body.at, http->error_body.length);
        say_exception(http->error_type, &made);
    } else if (!headed || !server.response.used) {
        say_refused("invalid", "the response has no head: with this Content-Type, it begins with a JSON object and eight NUL bytes");
    } else {
        response_result(&server.response, &made);
        if (made.length <= PS_MAX_BODY)
            say(FRAME_RESULT, made.at, made.length);
        else
            say_refused("too_large", TOO_LARGE_TO_RETURN "; ask over HTTP/1.1 at /fn");
    }
    text_free(&made);
    server.phase = IDLE;
    accept_body(http);
}

/* POST invocation/ID/response */
static void on_response(struct http *http)
{
    if (http->streams && !http->too_large && (server.response.offered || http_has_prelude(http))) {
        on_streamed(http);
        return;
    }
    struct text *body = &http->body, made = {0};
    struct json result = json_check(body->at, body->length);
    server.phase = IDLE;
    if (http->error_type[0] || http->error_body.length) { /* it went wrong in the middle of a stream */
        base64_add(&made, http->error_body.at, http->error_body.length);
        say_exception(http->error_type, &made);
    } else if (result.length) {
        say(FRAME_RESULT, result.at, result.length);
    } else if (json_is_too_deep(body->at, body->length)) {
        say_refused("invalid", "the response " JSON_TOO_DEEP);
    } else if (body->length && is_utf8(body->at, body->length)) { /* AWS gives the caller any text; in JSON, that is a string */
        text_add_quoted(&made, body->at, body->length);
        if (made.length <= PS_MAX_BODY)
            say(FRAME_RESULT, made.at, made.length);
        else
            http->too_large = true;
    } else if (body->length) {
        say_refused("invalid", "the response is neither JSON nor text in UTF-8; encode bytes in base64");
    } else if (!http->too_large) {
        say(FRAME_RESULT, "null", 4);
    }
    text_free(&made);
    if (http->too_large)
        refuse_too_large(http);
    else
        accept_body(http);
}

/* POST invocation/ID/error */
static void on_error(struct http *http)
{
    server.phase = IDLE;
    say_exception(http->error_type, &http->body);
    accept_body(http);
}

/* POST init/error */
static void on_init_error(struct http *http)
{
    if (server.phase != STARTING) {
        answer_error(http, 403, "InvalidStateTransition", "the initialization is over: the first event has been asked for");
        return;
    }
    struct text exception = {0}, message = {0};
    exception_add(&exception, http->error_type, http->body.at, http->body.length);
    struct json told = json_check(exception.at, exception.length);
    text_format(&message, "the initialization of %s failed: ", server.program);
    json_add_text(&message, json_member(told, "type"));
    text_add(&message, ": ", 2);
    json_add_text(&message, json_member(told, "message"));
    accept_body(http);
    http_continue(http, 0);
    say_failure("exception", told, &message);
}

/* GET invocation/next */
static void on_next(struct http *http)
{
    struct http *before = server.waiting;
    if (server.phase == BUSY) {
        answer_error(http, 403, "InvalidStateTransition", "the last event has not been answered yet");
        return;
    }
    server.waiting = http;
    if (before) { /* a request that was given up, perhaps; if not, an instance still has one event at a time */
        answer_error(before, 403, "InvalidStateTransition", "the next event has been asked for again");
        serve(before, 0);
    }
    if (server.phase == STARTING)
        say_report();
    server.phase = IDLE;
}

/* Serves what is at invocation/ID/…; rest begins with the ID. */
static void on_invocation(struct http *http, const char *rest)
{
    const char *slash = strchr(rest, '/');
    size_t length = slash ? (size_t)(slash - rest) : 0;
    bool response = slash && strcmp(slash, "/response") == 0;
    if (!response && !(slash && strcmp(slash, "/error") == 0))
        answer_error(http, 404, "NotFound", "there is no such path in the Runtime API");
    else if (http->method != HTTP_POST)
        answer_error(http, 405, "MethodNotAllowed", "use POST");
    else if (!length || length != strlen(server.id) || memcmp(rest, server.id, length) != 0)
        answer_error(http, 400, "InvalidRequestID", "Invalid request ID");
    else if (server.phase != BUSY)
        answer_error(http, 403, "InvalidStateTransition", "the event has been answered already");
    else if (response)
        on_response(http);
    else
        on_error(http);
}

void api_request(struct http *http)
{
    static const char invocation[] = API "invocation/";
    http->target[strcspn(http->target, "?")] = 0;
    if (strcmp(http->target, API "invocation/next") == 0) {
        if (http->method == HTTP_GET)
            on_next(http);
        else
            answer_error(http, 405, "MethodNotAllowed", "use GET");
    } else if (strcmp(http->target, API "init/error") == 0) {
        if (http->method == HTTP_POST)
            on_init_error(http);
        else
            answer_error(http, 405, "MethodNotAllowed", "use POST");
    } else if (strncmp(http->target, invocation, sizeof invocation - 1) == 0) {
        on_invocation(http, http->target + sizeof invocation - 1);
    } else {
        answer_error(http, 404, "NotFound", "there is no such path in the Runtime API");
    }
}
