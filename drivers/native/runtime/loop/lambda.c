/* lambda: serves AWS's Lambda Runtime API to a function's own program. The reasons are in lambda.h. */
#include "lambda.h"

#include "bootstrap.h"
#include "server.h"
#include "site.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct server server;

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
    say_exception(type, message);
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
            say_exception(failed, &message);
        else if (response_is_too_large(&server.response))
            say(FRAME_REFUSED, server.response.why.at, server.response.why.length);
        else if (result.length <= PS_MAX_BODY)
            say(FRAME_RESULT, result.at, result.length);
        else
            say_refused("too_large", TOO_LARGE_TO_RETURN "; ask over HTTP/1.1 at /fn");
    }
    text_free(&message);
    text_free(&result);
}

/* Takes an event from core, and gives it to the one that waits, or to the server that the program is. */
static void take_event(void)
{
    struct ps_frame frame;
    struct ps_input *input = &server.endpoint->input;
    int kind = ps_read(input, &frame);
    while (kind == FRAME_GONE && ps_has_more(input))
        kind = ps_read(input, &frame);
    if (kind == FRAME_GONE)
        return; /* the caller of an earlier event */
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
    say(FRAME_DEATH, death.at, death.length);
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
        say_failure("exit", (struct json){0}, &how);
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
void serve(struct http *http, short events)
{
    http->used = ++server.turn;
    http_continue(http, events);
    if (http->state == HTTP_READING && http->body.length && api_is_streamed(http)) {
        api_part(http);
        http_continue(http, 0);
    }
    while (http->state == HTTP_ASKED && http != server.waiting) {
        api_request(http);
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
    say_report();
    server.phase = IDLE;
    return -1;
}

/* Ends connections that the program has not closed in time, and returns the milliseconds until the next one, at most pause; -1 for none. */
static int end_connections(int pause)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct http *http = &server.connections[i];
        int left = http->fd < 0 ? -1 : http_left(http);
        if (left == 0)
            serve(http, 0);
        else if (left > 0 && (pause < 0 || left < pause))
            pause = left;
    }
    return pause;
}

/* Waits for what comes next, and deals with it. What the program said comes before its end. */
static void turn(void)
{
    enum { SIGNALS, ENDPOINT, LISTENER, FIRST };
    int pause = end_connections(server.ended ? 0 : look_for_site());
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
        say_failure("invalid", (struct json){0}, &why);
    }
    for (;;)
        turn();
}
