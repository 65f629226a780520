/* lambda: serves AWS's Lambda Runtime API to a function's own program. The reasons are in lambda.h. */
#include "lambda.h"

#include "bootstrap.h"
#include "exception.h"
#include "http.h"
#include "site.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define API "/2018-06-01/runtime/"
#define JSON_FIELDS "Content-Type: application/json\r\n"

enum { CONNECTIONS = 16 };

/* What the program has to do next. */
enum phase { STARTING /* ask for its first event */, IDLE /* ask for an event, or wait for it */, BUSY /* answer its event */ };

static struct {
    struct endpoint *endpoint;
    struct json load;
    char program[256];
    struct text function; /* its name */
    struct timespec began;
    enum phase phase;
    char id[256]; /* of the last event, as the program sees it; empty before the first */
    pid_t pid;
    bool ended; /* the program has, with: */
    int status;

    int port;      /* where the program listens, if it is a web application */
    bool listens;  /* it does */
    struct response response;
    long long calls;        /* that core has been asked for */
    struct http *streaming; /* brings a response of which something has been passed on */

    int listener, signals;
    struct http connections[CONNECTIONS];
    struct http *waiting; /* for an event; NULL: nobody does */
    unsigned long turn;   /* counts what is served */
} server;

/* ---- to core ---- */

static void send_frame(char kind, const char *body, size_t length)
{
    if (!frame_write(server.endpoint, kind, body, length))
        _exit(0); /* core is gone, or needs this instance no more */
}

/* Says why there will be no P, and ends. The exception may be one that is not there. */
static _Noreturn void fail(const char *kind, struct json exception, const struct text *message)
{
    struct text body = {0};
    text_format(&body, "{\"kind\":\"%s\",\"fault\":\"handler\",\"message\":", kind);
    text_add_quoted(&body, message->at, message->length < MAX_MESSAGE ? message->length : MAX_MESSAGE);
    if (exception.length) {
        text_format(&body, ",\"exception\":");
        text_add(&body, exception.at, exception.length);
    }
    text_add(&body, "}", 1);
    send_frame(FRAME_FAILURE, body.at, body.length);
    _exit(1);
}

/* Says that the result cannot be sent. */
static void refuse(const char *kind, const char *message)
{
    struct text body = {0};
    text_format(&body, "{\"kind\":\"%s\",\"message\":\"%s\"}", kind, message);
    send_frame(FRAME_REFUSED, body.at, body.length);
    text_free(&body);
}

/* Tells what the handler raised. */
static void send_exception(const char *type, const struct text *error)
{
    struct text exception = {0};
    exception_add(&exception, type, error->at, error->length);
    send_frame(FRAME_EXCEPTION, exception.at, exception.length);
    text_free(&exception);
}

static void report(void)
{
    struct timespec now;
    struct text body = {0};
    struct json items = json_items(json_member(server.load, "modules")), name, module;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double took = (double)(now.tv_sec - server.began.tv_sec) + (double)(now.tv_nsec - server.began.tv_nsec) / 1e9;
    text_format(&body, "{\"took\":%.6f,\"threads\":1,\"modules\":{", took);
    for (const char *comma = ""; json_next(&items, &name, &module); comma = ",") {
        text_add(&body, comma, strlen(comma));
        json_add_string(&body, module, 0);
        text_add(&body, ":0", 2);
    }
    text_add(&body, "}}", 2);
    send_frame(FRAME_REPORT, body.at, body.length);
    text_free(&body);
}

/* ---- from the program ---- */

static void serve(struct http *http, short events);

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
    refuse("too_large", "the response has more than the 6291456 bytes that a result may have; store it elsewhere and return where");
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
static bool is_streamed(const struct http *http)
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
static void on_part(struct http *http)
{
    if (pass_on(http))
        return;
    if (server.response.left || server.response.begun)
        send_frame(FRAME_RESULT, "null", 4);
    else
        refuse("invalid", "the response has no head: with this Content-Type, it begins with a JSON object and eight NUL bytes");
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
        send_exception(http->error_type, &made);
    } else if (!headed || !server.response.used) {
        refuse("invalid", "the response has no head: with this Content-Type, it begins with a JSON object and eight NUL bytes");
    } else {
        response_result(&server.response, &made);
        if (made.length <= PS_MAX_BODY)
            send_frame(FRAME_RESULT, made.at, made.length);
        else
            refuse("too_large", "the response has more than the 6291456 bytes that a result may have; ask over HTTP/1.1 at /fn");
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
        send_exception(http->error_type, &made);
    } else if (result.length) {
        send_frame(FRAME_RESULT, result.at, result.length);
    } else if (json_is_too_deep(body->at, body->length)) {
        refuse("invalid", "the response " JSON_TOO_DEEP);
    } else if (body->length && is_utf8(body->at, body->length)) { /* AWS gives the caller any text; in JSON, that is a string */
        text_add_quoted(&made, body->at, body->length);
        if (made.length <= PS_MAX_BODY)
            send_frame(FRAME_RESULT, made.at, made.length);
        else
            http->too_large = true;
    } else if (body->length) {
        refuse("invalid", "the response is neither JSON nor text in UTF-8; encode bytes in base64");
    } else if (!http->too_large) {
        send_frame(FRAME_RESULT, "null", 4);
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
    send_exception(http->error_type, &http->body);
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
    fail("exception", told, &message);
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
        report();
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

static void on_request(struct http *http)
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

/* ---- from core ---- */

/* Changes an id that the program has had not long ago, by a part of the event's token. Otherwise a late answer to the earlier
 * event would answer this one. */
static void distinguish(size_t length)
{
    static uint64_t told[64];
    static unsigned next;
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)server.id[i]) * 1099511628211u;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (told[i] == hash) {
            size_t at = length < sizeof server.id - 18 ? length : sizeof server.id - 18;
            snprintf(server.id + at, 18, "-%.16s", server.endpoint->token);
            return;
        }
    told[next++ % (sizeof told / sizeof *told)] = hash;
}

/* Keeps a request's id as it can be a part of a path and of a header. */
static void set_id(struct json id)
{
    struct text said = {0};
    json_add_text(&said, id);
    size_t i = 0;
    for (; i < said.length && i < sizeof server.id - 1; i++) {
        char c = said.at[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c == '.' && i > 0);
        server.id[i] = plain ? c : '-';
    }
    server.id[i] = 0;
    text_free(&said);
    distinguish(i);
}

static void reap(void);

/* Waits a moment for the end of the program, which may be why a connection has ended, and reports whether it has come. */
static bool ends(void)
{
    enum { MOMENT = 100 }; /* ms */
    if (!server.ended && poll(&(struct pollfd){server.signals, POLLIN, 0}, 1, MOMENT) > 0)
        reap();
    return server.ended;
}

/* Tells that the program has left its event without a whole response, unless it has ended: then it is told how. */
static void tell_broken(const char *type, const struct text *message)
{
    if (ends())
        return;
    send_exception(type, message);
    server.phase = IDLE;
}

/* Has the program answer an event as a server. */
static void ask_site(struct json event)
{
    struct text message = {0}, result = {0};
    server.phase = BUSY;
    const char *failed = site_answer(server.port, event, &server.response, server.endpoint, &server.calls, &message);
    if (failed && strcmp(failed, SITE_BROKEN) == 0) {
        tell_broken(failed, &message);
    } else {
        server.phase = IDLE;
        if (!failed)
            response_result(&server.response, &result);
        if (failed)
            send_exception(failed, &message);
        else if (result.length <= PS_MAX_BODY)
            send_frame(FRAME_RESULT, result.at, result.length);
        else
            refuse("too_large", "the response has more than the 6291456 bytes that a result may have; ask over HTTP/1.1 at /fn");
    }
    text_free(&message);
    text_free(&result);
}

/* Takes an event from core, and gives it to the one that waits, or to the server that the program is. */
static void take_event(void)
{
    struct ps_frame frame;
    int kind = ps_read(&server.endpoint->input, &frame);
    struct json meta = frame_begin(server.endpoint, kind, &frame);
    if (!meta.length)
        _exit(0); /* the end, or a defect of core's (E2) */
    response_begin(&server.response, meta);
    if (!server.waiting) {
        ask_site(json_check(frame.body, frame.body_size));
        return;
    }
    set_id(json_member(meta, "id"));
    unsigned trace[3] = {0};
    if (getrandom(trace, sizeof trace, 0) < 0)
        trace[0] = (unsigned)getpid();
    struct text fields = {0};
    text_format(&fields, JSON_FIELDS "Lambda-Runtime-Aws-Request-Id: %s\r\n", server.id);
    text_format(&fields, "Lambda-Runtime-Deadline-Ms: %lld\r\n", json_integer(json_member(meta, "deadline_ms")));
    text_format(&fields, "Lambda-Runtime-Invoked-Function-Arn: pipsqueak:function:%s\r\n", server.function.at);
    text_format(&fields, "Lambda-Runtime-Trace-Id: Root=1-%08llx-%08x%08x%08x;Sampled=0\r\n", (unsigned long long)time(NULL) & 0xffffffff, trace[0], trace[1],
                trace[2]);
    struct http *http = server.waiting;
    server.waiting = NULL;
    server.phase = BUSY;
    http_answer(http, 200, fields.at, frame.body, frame.body_size);
    text_free(&fields);
    serve(http, 0);
}

/* ---- the program's life ---- */

/* Reaps the program. What that leaves behind is left to the first process of the sandbox. */
static void reap(void)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;
    while (read(server.signals, &info, sizeof info) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != server.pid)
            continue;
        server.ended = true;
        server.status = status;
    }
}

/* Tells what ended the program in the middle of an event. What kills with SIGKILL may be the memory limit, of which core knows. */
static void tell_death(int signal, const struct text *how)
{
    struct text death = {0};
    dprintf(STDERR_FILENO, "pipsqueak: %s before it answered its event\n", how->at);
    if (signal == SIGKILL)
        return;
    text_format(&death, "{\"type\":\"%s%s\",\"message\":", signal ? "SIG" : "exit", !signal ? "" : sigabbrev_np(signal) ? sigabbrev_np(signal) : "RT");
    text_add_quoted(&death, how->at, how->length);
    text_format(&death, ",\"stack\":[]}");
    send_frame(FRAME_DEATH, death.at, death.length);
}

/* Ends as the program has. */
static _Noreturn void conclude(void)
{
    struct text how = {0};
    int signal = WIFSIGNALED(server.status) ? WTERMSIG(server.status) : 0;
    int code = signal ? 128 + signal : WEXITSTATUS(server.status);
    text_format(&how, "%s ", server.program);
    if (signal)
        text_format(&how, "was killed by signal %d (%s)", signal, strsignal(signal));
    else
        text_format(&how, "ended with code %d", code);
    if (server.phase == STARTING) {
        text_format(&how, " before it asked for an event at $AWS_LAMBDA_RUNTIME_API, or listened on $PORT; look at the function's logs");
        fail("exit", (struct json){0}, &how);
    }
    if (server.phase == BUSY)
        tell_death(signal, &how);
    _exit(code);
}

/* ---- connections ---- */

static void take_connection(void)
{
    struct http *http = http_accept(server.listener, server.connections, CONNECTIONS);
    if (http)
        serve(http, POLLIN); /* the request is often there already */
}

/* Goes on with one connection as far as it can. */
static void serve(struct http *http, short events)
{
    http->used = ++server.turn;
    http_continue(http, events);
    if (http->state == HTTP_READING && http->body.length && is_streamed(http)) {
        on_part(http);
        http_continue(http, 0);
    }
    while (http->state == HTTP_ASKED && http != server.waiting) {
        on_request(http);
        http_continue(http, 0);
    }
    if (http->state != HTTP_OVER)
        return;
    if (server.streaming == http) {
        struct text message = {0};
        server.streaming = NULL;
        text_format(&message, "bootstrap has closed the connection before the end of its response");
        tell_broken(SITE_BROKEN, &message);
        text_free(&message);
    }
    if (server.waiting == http)
        server.waiting = NULL;
    http_close(http);
}

/* Looks whether a program that has not asked for events listens, and returns the milliseconds until the next look; -1 for none. */
static int look_for_site(void)
{
    static int pause;
    if (server.phase != STARTING)
        return -1;
    if (!site_listens(server.port))
        return pause < 10 ? ++pause : pause;
    server.listens = true;
    report();
    server.phase = IDLE;
    return -1;
}

/* Waits for what comes next, and deals with it. What the program said comes before its end. */
static void turn(void)
{
    enum { SIGNALS, ENDPOINT, LISTENER, FIRST };
    int pause = server.ended ? 0 : look_for_site();
    bool takes = (server.waiting || (server.listens && server.phase == IDLE)) && !server.ended;
    struct pollfd all[FIRST + CONNECTIONS] = {
        [SIGNALS] = {.fd = server.signals, .events = POLLIN},
        [ENDPOINT] = {.fd = server.endpoint->input.endpoint, .events = takes ? POLLIN | POLLRDHUP : POLLRDHUP},
        [LISTENER] = {.fd = server.listener, .events = http_place(server.connections, CONNECTIONS) ? POLLIN : 0},
    };
    for (size_t i = 0; i < CONNECTIONS; i++)
        all[FIRST + i] = (struct pollfd){.fd = server.connections[i].fd, .events = http_events(&server.connections[i])};
    int n = poll(all, FIRST + CONNECTIONS, pause);
    if (n <= 0 && server.ended)
        conclude();
    if (n <= 0)
        return; /* a signal: the descriptor has it too */
    if (all[SIGNALS].revents)
        reap();
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (all[FIRST + i].revents && server.connections[i].fd == all[FIRST + i].fd)
            serve(&server.connections[i], all[FIRST + i].revents);
    if (all[LISTENER].revents)
        take_connection();
    if (all[ENDPOINT].revents & (POLLRDHUP | POLLHUP | POLLERR))
        _exit(0); /* E6 */
    if ((all[ENDPOINT].revents & POLLIN) && (server.waiting || (server.listens && server.phase == IDLE)) && !server.ended)
        take_event();
}

/* Where the program is told to listen. */
static int port_of(struct json load)
{
    struct text said = {0};
    struct json told = json_member(json_member(load, "env"), "PORT");
    json_add_text(&said, told);
    int port = said.length ? atoi(said.at) : SITE_PORT;
    text_free(&said);
    return port;
}

_Noreturn void ps_serve_bootstrap(struct endpoint *endpoint, const char *directory, const char *library_path, struct json load)
{
    clock_gettime(CLOCK_MONOTONIC, &server.began);
    server.endpoint = endpoint;
    server.load = load;
    json_add_text(&server.function, json_member(load, "function"));
    snprintf(server.program, sizeof server.program, "%s/bootstrap", directory);
    for (size_t i = 0; i < CONNECTIONS; i++)
        server.connections[i].fd = -1;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &child, NULL);
    server.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    fcntl(endpoint->input.endpoint, F_SETFD, FD_CLOEXEC);
    server.port = port_of(load);
    int port = http_listen(&server.listener);
    if (port < 0) {
        dprintf(STDERR_FILENO, "pipsqueak: listening on loopback: %s\n", strerror(errno));
        _exit(125);
    }
    server.pid = bootstrap_start(server.program, directory, bootstrap_environment(load, directory, library_path, port));
    if (server.pid < 0) {
        struct text why = {0};
        bootstrap_explain(&why, server.program, errno);
        fail("invalid", (struct json){0}, &why);
    }
    for (;;)
        turn();
}
