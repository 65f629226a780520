/* lambda: serves AWS's Lambda Runtime API to a function's own program. The reasons are in lambda.h. */
#include "lambda.h"

#include "bootstrap.h"
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_CONNECTIONS = 16,
    MAX_FRAME = (6 << 20) + (64 << 10), /* E2 */
    MAX_RESULT = 6 << 20,
    MAX_MESSAGE = 64 << 10, /* E4 */
    MAX_STACK = 256 << 10,
};

#define JSON_FIELDS "Content-Type: application/json\r\n"
#define API "/2018-06-01/runtime/"

/* What the program has to do next. */
enum phase { STARTING, /* ask for its first event */ IDLE, /* ask for an event, or wait for it */ BUSY /* answer its event */ };

static struct {
    int endpoint, listener, signals;
    char program[256];
    struct json load; /* the body of H */
    struct text name; /* of the function */
    struct timespec began;
    enum phase phase;
    char id[256]; /* of the event, as the program is told it; empty before the first */
    struct http connections[MAX_CONNECTIONS];
    struct http *waiting; /* for an event; NULL: nobody does */
    uint64_t turn, turns[MAX_CONNECTIONS]; /* of each connection, when it was last used */
    pid_t pid;
    bool ended; /* the program has, with: */
    int status;
} server;

/* ---- the endpoint ---- */

static _Noreturn void leave(int code)
{
    exit(code);
}

static void send_all(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(server.endpoint, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            leave(0); /* core is gone, or needs this instance no more */
        if (n > 0)
            bytes += n, length -= (size_t)n;
    }
}

static void send_frame(char kind, const char *body, size_t length)
{
    uint32_t size = htonl((uint32_t)length + 1);
    char head[5];
    memcpy(head, &size, 4);
    head[4] = kind;
    send_all(head, sizeof head);
    send_all(body, length);
}

static void receive_all(char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = recv(server.endpoint, bytes, length, 0);
        if (n == 0 || (n < 0 && errno != EINTR))
            leave(0);
        if (n > 0)
            bytes += n, length -= (size_t)n;
    }
}

/* Says why there will be no P, and ends. type may be NULL: nothing was raised. */
static _Noreturn void fail(const char *kind, struct json exception, const struct text *message)
{
    struct text body = {0};
    text_format(&body, "{\"kind\":\"%s\",\"fault\":\"handler\",\"message\":", kind);
    text_add_quoted(&body, message->at, message->length);
    if (exception.length)
        text_format(&body, ",\"exception\":%.*s", (int)exception.length, exception.at);
    text_add(&body, "}", 1);
    send_frame('F', body.at, body.length);
    leave(1);
}

/* Sends L: the result cannot be had. */
static void refuse(const char *kind, const char *message)
{
    struct text body = {0};
    text_format(&body, "{\"kind\":\"%s\",\"message\":\"%s\"}", kind, message);
    send_frame('L', body.at, body.length);
    text_free(&body);
}

static double seconds_since(struct timespec then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then.tv_sec) + (double)(now.tv_nsec - then.tv_nsec) / 1e9;
}

static void report(void)
{
    struct text body = {0};
    struct json items = json_items(json_member(server.load, "modules")), name, module;
    text_format(&body, "{\"took\":%.6f,\"threads\":1,\"modules\":{", seconds_since(server.began));
    for (const char *comma = ""; json_next(&items, &name, &module); comma = ",") {
        text_add(&body, comma, strlen(comma));
        json_add_string(&body, module, 0);
        text_add(&body, ":0", 2);
    }
    text_add(&body, "}}", 2);
    send_frame('P', body.at, body.length);
    text_free(&body);
}

/* ---- what the program says ---- */

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

/* Adds one entry of a stack: a string, what aws-lambda-go has ({"path", "line", "label"}), or whatever else it is. */
static void add_frame(struct text *stack, struct json frame)
{
    struct json path = json_member(frame, "path"), label = json_member(frame, "label");
    if (!path.length || !label.length) {
        json_add_string(stack, frame, MAX_MESSAGE / 2);
        return;
    }
    struct text line = {0};
    json_add_text(&line, path);
    text_format(&line, ":%lld in ", json_integer(json_member(frame, "line")));
    json_add_text(&line, label);
    text_add_quoted(stack, line.at, line.length);
    text_free(&line);
}

/* Adds the core.Exception that the program's error is. type is what it named it in a header, "" if it did not. */
static void add_exception(struct text *out, const char *type, const char *body, size_t length)
{
    struct json error = json_check(body, length);
    struct json named = json_member(error, "errorType"), message = json_member(error, "errorMessage"), stack = json_member(error, "stackTrace");
    text_format(out, "{\"type\":");
    if (json_is_string(named) && named.length > 2)
        json_add_string(out, named, MAX_MESSAGE);
    else
        text_add_quoted(out, *type ? type : "Error", strlen(*type ? type : "Error"));
    text_format(out, ",\"message\":");
    if (message.length)
        json_add_string(out, message, MAX_MESSAGE);
    else
        text_add_quoted(out, body, length < MAX_MESSAGE ? length : MAX_MESSAGE);
    text_format(out, ",\"stack\":[");
    struct json items = json_items(stack), key, frame;
    size_t begin = out->length;
    for (const char *comma = ""; out->length - begin < MAX_STACK / 2 && json_next(&items, &key, &frame); comma = ",") {
        text_add(out, comma, strlen(comma));
        add_frame(out, frame);
    }
    text_add(out, "]}", 2);
}

/* Tells core what the handler raised. */
static void send_exception(const char *type, const char *body, size_t length)
{
    struct text exception = {0};
    add_exception(&exception, type, body, length);
    send_frame('X', exception.at, exception.length);
    text_free(&exception);
    server.phase = IDLE;
}

static void decode_base64(struct text *to, const char *at, size_t length)
{
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < length; i++) {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *digit = at[i] ? strchr(digits, at[i]) : NULL;
        if (!digit)
            continue;
        bits = bits << 6 | (uint32_t)(digit - digits);
        if ((have += 6) >= 8) {
            have -= 8;
            text_add(to, (char[]){(char)(bits >> have)}, 1);
        }
    }
}

static void too_large(struct http *http)
{
    refuse("too_large", "the result has more than the 6291456 bytes that it may have; store it elsewhere and return where");
    answer_error(http, 413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (6291456 bytes).");
}

/* POST invocation/ID/response */
static void on_response(struct http *http)
{
    struct text quoted = {0};
    struct json result = json_check(http->body.at, http->body.length);
    server.phase = IDLE;
    if (http->error_type[0] || http->error_body.length) { /* it went wrong in the middle of a stream */
        struct text error = {0};
        decode_base64(&error, http->error_body.at, http->error_body.length);
        send_exception(http->error_type, error.at, error.length);
        text_free(&error);
    } else if (http->too_large) {
        too_large(http);
        return;
    } else if (result.length || !http->body.length) {
        send_frame('R', result.length ? result.at : "null", result.length ? result.length : 4);
    } else if (!is_utf8(http->body.at, http->body.length)) {
        refuse("invalid", "the response is neither JSON nor text in UTF-8; encode bytes in base64, say");
    } else { /* AWS gives the caller whatever text it is; in JSON, that is a string */
        text_add_quoted(&quoted, http->body.at, http->body.length);
        if (quoted.length > MAX_RESULT) {
            too_large(http);
            text_free(&quoted);
            return;
        }
        send_frame('R', quoted.at, quoted.length);
        text_free(&quoted);
    }
    answer(http, 202, "{\"status\":\"OK\"}");
}

/* POST invocation/ID/error */
static void on_error(struct http *http)
{
    send_exception(http->error_type, http->body.at, http->body.length);
    answer(http, 202, "{\"status\":\"OK\"}");
}

/* POST init/error */
static void on_init_error(struct http *http)
{
    if (server.phase != STARTING) {
        answer_error(http, 403, "InvalidStateTransition", "the initialization is over: the first event has been asked for");
        return;
    }
    struct text exception = {0}, message = {0};
    add_exception(&exception, http->error_type, http->body.at, http->body.length);
    struct json told = json_check(exception.at, exception.length);
    text_format(&message, "%s could not initialize: ", server.program);
    json_add_text(&message, json_member(told, "type"));
    text_add(&message, ": ", 2);
    json_add_text(&message, json_member(told, "message"));
    if (message.length > MAX_MESSAGE)
        message.length = MAX_MESSAGE;
    answer(http, 202, "{\"status\":\"OK\"}");
    http_continue(http, 0);
    fail("exception", told, &message);
}

/* GET invocation/next */
static void on_next(struct http *http)
{
    if (server.phase == BUSY) {
        answer_error(http, 403, "InvalidStateTransition", "the last event has not been answered yet");
        return;
    }
    if (server.waiting) { /* one that was given up, perhaps; if not, there is one event at a time */
        answer_error(server.waiting, 403, "InvalidStateTransition", "the next event has been asked for again");
        http_continue(server.waiting, 0);
    }
    server.waiting = http;
    if (server.phase == STARTING)
        report();
    server.phase = IDLE;
}

/* Serves what is at invocation/ID/…, where rest is that and after it. */
static void on_invocation(struct http *http, const char *rest)
{
    const char *slash = strrchr(rest, '/');
    bool response = slash && strcmp(slash, "/response") == 0;
    if (!response && !(slash && strcmp(slash, "/error") == 0))
        answer_error(http, 404, "NotFound", "there is no such path in the Runtime API");
    else if (http->method != HTTP_POST)
        answer_error(http, 405, "MethodNotAllowed", "use POST");
    else if (!server.id[0] || strncmp(rest, server.id, (size_t)(slash - rest)) != 0 || server.id[slash - rest])
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
    bool post = http->method == HTTP_POST, get = http->method == HTTP_GET;
    http->target[strcspn(http->target, "?")] = 0;
    if (strcmp(http->target, API "invocation/next") == 0) {
        if (get)
            on_next(http);
        else
            answer_error(http, 405, "MethodNotAllowed", "use GET");
    } else if (strcmp(http->target, API "init/error") == 0) {
        if (post)
            on_init_error(http);
        else
            answer_error(http, 405, "MethodNotAllowed", "use POST");
    } else if (strncmp(http->target, invocation, sizeof invocation - 1) == 0) {
        on_invocation(http, http->target + sizeof invocation - 1);
    } else {
        answer_error(http, 404, "NotFound", "there is no such path in the Runtime API");
    }
}

/* ---- what core says ---- */

/* Copies a request id as it can be a part of a path and of a header. */
static void set_id(struct json id)
{
    struct text said = {0};
    json_add_text(&said, id);
    size_t i = 0;
    for (; i < said.length && i < sizeof server.id - 1; i++) {
        char c = said.at[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("-_.~:@+=,", c));
        server.id[i] = plain ? c : '-';
    }
    server.id[i] = 0;
    text_free(&said);
}

/* Takes an event from core, and gives it to who waits. */
static void take_event(void)
{
    uint32_t size, meta;
    char head[5];
    receive_all(head, sizeof head);
    memcpy(&size, head, 4);
    size = ntohl(size);
    if (size < 5 || size > MAX_FRAME || head[4] != 'E')
        leave(1); /* E2 */
    struct text frame = {0}, fields = {0};
    frame.at = malloc(size);
    if (!frame.at)
        leave(1);
    receive_all(frame.at, size - 1);
    memcpy(&meta, frame.at, 4);
    meta = ntohl(meta);
    if (meta > size - 5)
        leave(1);
    struct json told = json_check(frame.at + 4, meta);
    set_id(json_member(told, "id"));
    long long deadline = json_integer(json_member(told, "deadline_ms"));
    uint32_t trace[3];
    if (getrandom(trace, sizeof trace, 0) != sizeof trace)
        memset(trace, 0, sizeof trace);
    text_format(&fields, JSON_FIELDS "Lambda-Runtime-Aws-Request-Id: %s\r\nLambda-Runtime-Deadline-Ms: %lld\r\n", server.id, deadline);
    text_format(&fields, "Lambda-Runtime-Invoked-Function-Arn: pipsqueak:function:%s\r\n", server.name.at);
    text_format(&fields, "Lambda-Runtime-Trace-Id: Root=1-%08llx-%08x%08x%08x;Sampled=0\r\n", (unsigned long long)time(NULL) & 0xffffffff, trace[0], trace[1], trace[2]);
    http_answer(server.waiting, 200, fields.at, frame.at + 4 + meta, size - 5 - meta);
    http_continue(server.waiting, 0);
    server.waiting = NULL;
    server.phase = BUSY;
    free(frame.at);
    text_free(&fields);
}

/* ---- the program's life ---- */

/* Reaps the program, and as pid 1 whatever it left behind. */
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

/* Ends as the program has. */
static _Noreturn void conclude(void)
{
    struct text how = {0};
    int signal = WIFSIGNALED(server.status) ? WTERMSIG(server.status) : 0;
    int code = signal ? 128 + signal : WEXITSTATUS(server.status);
    if (signal)
        text_format(&how, "%s was killed by signal %d (%s)", server.program, signal, strsignal(signal));
    else
        text_format(&how, "%s ended with code %d", server.program, code);
    if (server.phase == STARTING) {
        text_format(&how, " before it asked for an event at $AWS_LAMBDA_RUNTIME_API; look at the function's logs");
        fail("exit", (struct json){0}, &how);
    }
    if (server.phase == BUSY)
        dprintf(STDERR_FILENO, "pipsqueak: %s before it answered its event\n", how.at);
    leave(code);
}

/* Adds the variable when the function has not set it. */
static void add_default(struct text *environment, struct json given, const char *name, const char *value)
{
    if (json_member(given, name).length)
        return;
    text_format(environment, "%s=%s", name, value);
    text_add(environment, "", 1);
}

/* Returns the program's environment: core's, with the function's own, and what AWS has besides. */
static char **environment_of(struct json load, const char *directory, const char *library_path, int port)
{
    struct text all = {0};
    struct json given = json_member(load, "env"), items = json_items(given), name, value;
    size_t n = 0;
    while (json_next(&items, &name, &value)) {
        size_t begin = all.length;
        json_add_text(&all, name);
        bool ours = strcmp(all.at + begin, "AWS_LAMBDA_RUNTIME_API") == 0;
        text_add(&all, "=", 1);
        json_add_text(&all, value);
        text_add(&all, "", 1);
        if (ours)
            all.length = begin;
    }
    struct text handler = {0}, one = {0};
    json_add_text(&handler, json_member(load, "handler"));
    add_default(&all, given, "_HANDLER", handler.length ? handler.at : "");
    add_default(&all, given, "LAMBDA_TASK_ROOT", directory);
    add_default(&all, given, "LAMBDA_RUNTIME_DIR", directory);
    add_default(&all, given, "AWS_LAMBDA_FUNCTION_NAME", server.name.at);
    text_format(&one, "%lld", json_integer(json_member(load, "version")));
    add_default(&all, given, "AWS_LAMBDA_FUNCTION_VERSION", one.at);
    one.length = 0;
    text_format(&one, "%lld", json_integer(json_member(load, "memory")) >> 20);
    add_default(&all, given, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", one.at);
    add_default(&all, given, "AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    add_default(&all, given, "AWS_LAMBDA_LOG_GROUP_NAME", server.name.at);
    one.length = 0;
    text_format(&one, "%s/%lld", server.name.at, json_integer(json_member(load, "version")));
    add_default(&all, given, "AWS_LAMBDA_LOG_STREAM_NAME", one.at);
    add_default(&all, given, "TZ", ":UTC");
    if (library_path)
        add_default(&all, given, "LD_LIBRARY_PATH", library_path);
    text_format(&all, "AWS_LAMBDA_RUNTIME_API=127.0.0.1:%d", port);
    text_add(&all, "", 1);
    for (size_t i = 0; i < all.length; i++)
        n += !all.at[i];
    char **environment = calloc(n + 1, sizeof *environment);
    if (!environment)
        leave(1);
    for (size_t i = 0, at = 0; i < n; i++, at += strlen(all.at + at) + 1)
        environment[i] = all.at + at;
    return environment;
}

/* Listens on loopback, and returns the port. */
static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server.listener < 0 || bind(server.listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(server.listener, MAX_CONNECTIONS) < 0 ||
        getsockname(server.listener, (struct sockaddr *)&address, &size) < 0) {
        dprintf(STDERR_FILENO, "pipsqueak: listening on loopback: %s\n", strerror(errno));
        leave(1);
    }
    return ntohs(address.sin_port);
}

/* ---- connections ---- */

/* Takes a new connection. When there are too many, the idle one that was used least lately makes room; if all are at work the
 * new one has to wait. */
static void take_connection(void)
{
    struct http *place = NULL;
    for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
        struct http *http = &server.connections[i];
        if (http->fd < 0) {
            place = http;
            break;
        }
        if (http->state == HTTP_READING && (!place || server.turns[i] < server.turns[place - server.connections]))
            place = http;
    }
    if (!place)
        return;
    int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (place->fd >= 0)
        http_close(place);
    http_open(place, fd);
    server.turns[place - server.connections] = ++server.turn;
}

/* Goes on with one connection as far as it can. */
static void serve(struct http *http, short events)
{
    server.turns[http - server.connections] = ++server.turn;
    http_continue(http, events);
    while (http->state == HTTP_ASKED && http != server.waiting) {
        on_request(http);
        http_continue(http, 0);
    }
    if (http->state != HTTP_OVER)
        return;
    if (server.waiting == http)
        server.waiting = NULL;
    http_close(http);
}

/* Waits for what comes next and deals with it. The program's last words come before its end. */
static void turn(void)
{
    enum { SIGNALS, ENDPOINT, LISTENER, FIRST };
    struct pollfd all[FIRST + MAX_CONNECTIONS] = {
        [SIGNALS] = {.fd = server.signals, .events = POLLIN},
        [ENDPOINT] = {.fd = server.endpoint, .events = server.waiting && !server.ended ? POLLIN | POLLRDHUP : POLLRDHUP},
        [LISTENER] = {.fd = server.listener, .events = POLLIN},
    };
    for (size_t i = 0; i < MAX_CONNECTIONS; i++)
        all[FIRST + i] = (struct pollfd){.fd = server.connections[i].fd, .events = server.connections[i].fd < 0 ? 0 : http_events(&server.connections[i])};
    int n = poll(all, FIRST + MAX_CONNECTIONS, server.ended ? 0 : -1);
    if (n < 0 && errno != EINTR)
        leave(1);
    if (n <= 0 && server.ended)
        conclude();
    if (n <= 0)
        return;
    if (all[SIGNALS].revents)
        reap();
    for (size_t i = 0; i < MAX_CONNECTIONS; i++)
        if (all[FIRST + i].revents && server.connections[i].fd == all[FIRST + i].fd)
            serve(&server.connections[i], all[FIRST + i].revents);
    if (all[LISTENER].revents)
        take_connection();
    if (all[ENDPOINT].revents & (POLLRDHUP | POLLHUP | POLLERR))
        leave(0); /* E6 */
    if ((all[ENDPOINT].revents & POLLIN) && server.waiting && !server.ended)
        take_event();
}

_Noreturn void ps_serve_bootstrap(int endpoint, const char *directory, const char *library_path, const char *load, size_t length)
{
    clock_gettime(CLOCK_MONOTONIC, &server.began);
    server.endpoint = endpoint;
    server.load = json_check(load, length);
    json_add_text(&server.name, json_member(server.load, "function"));
    snprintf(server.program, sizeof server.program, "%s/bootstrap", directory);
    for (size_t i = 0; i < MAX_CONNECTIONS; i++)
        server.connections[i].fd = -1;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &child, NULL);
    server.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    fcntl(endpoint, F_SETFD, FD_CLOEXEC);
    int port = listen_on_loopback();
    server.pid = bootstrap_start(server.program, directory, environment_of(server.load, directory, library_path, port));
    if (server.pid < 0) {
        struct text why = {0};
        bootstrap_explain(&why, server.program, errno);
        fail("invalid", (struct json){0}, &why);
    }
    for (;;)
        turn();
}
