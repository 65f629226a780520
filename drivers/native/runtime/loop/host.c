/*
 * host: the process of a compiled function. A zygote has loaded shared libraries and forks; an instance, forked from it, loads
 * the function's own and calls its handler. Started as `host`, with a control socket as descriptor 3.
 */
#include "bootstrap.h"
#include "context.h"
#include "crash.h"
#include "lambda.h"
#include "load.h"
#include "needs.h"
#include "rehearse.h"
#include "sets.h"

#include "look.h"
#include "threads.h"
#include "watch.h"
#include "zygote.h"

#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PACKET = 128 << 10, MAX_MESSAGE = 64 << 10 };

/* The threads of this process: each is a directory there, which counts as two links and one for each in it. */
static int threads(void)
{
    struct stat tasks;
    return stat("/proc/self/task", &tasks) == 0 ? (int)tasks.st_nlink - 2 : 1;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void add_report(struct text *report, double begin, const struct text *modules)
{
    text_format(report, "{\"took\":%.6f,\"modules\":%s,\"threads\":%d}", seconds() - begin, modules->at, threads());
}

/* Adds to a report, in the place of its last bracket, names: each has a newline behind it. */
static void add_names(struct text *report, const char *key, const char *names)
{
    report->length--;
    text_format(report, ",\"%s\":[", key);
    for (const char *end; (end = strchr(names, '\n')); names = end + 1) {
        text_add_quoted(report, names, (size_t)(end - names));
        text_format(report, "%s", end[1] ? "," : "");
    }
    text_format(report, "]}");
}

static void add_failure(struct text *text, const struct failure *failure)
{
    size_t length = failure->message.length < MAX_MESSAGE / 2 ? failure->message.length : MAX_MESSAGE / 2;
    text_format(text, "{\"kind\":\"%s\",\"fault\":\"%s\",\"message\":", failure->kind, failure->fault);
    text_add_quoted(text, failure->message.at, length);
    if (strcmp(failure->kind, "exception") == 0) {
        text_format(text, ",\"exception\":{\"type\":\"dlopen\",\"message\":");
        text_add_quoted(text, failure->message.at, length);
        text_format(text, ",\"stack\":[]}");
    }
    text_format(text, "}");
}

static bool asks_to_watch(struct json request)
{
    struct json asked = json_member(request, "watch");
    return asked.length && *asked.at == 't';
}

/* ---- a zygote ---- */

static void import(const char *packet, size_t length, struct text *reply)
{
    double begin = seconds();
    struct failure failure = {0};
    struct text modules = {0}, asks = {0};
    struct json request = json_check(packet, length);
    bool watch = asks_to_watch(request);
    text_format(&asks, "%s", "");
    if (watch) {
        ps_watch();
        ps_look(CODE);
        needs_watch(&asks);
    }
    load_modules(request, &modules, &failure);
    needs_watch(NULL);
    const char *reads = ps_watched();
    text_format(&asks, "%s", ps_looked());
    fflush(stdout); /* what constructors have printed is not for each child to print again */
    if (failure.message.length) {
        text_format(reply, "{\"error\":");
        add_failure(reply, &failure);
        text_format(reply, "}");
    } else {
        add_report(reply, begin, &modules);
        if (watch) {
            add_names(reply, "reads", reads);
            add_names(reply, "asks", asks.at);
        }
        needs_hide();
    }
    text_free(&modules);
    text_free(&asks);
    text_free(&failure.message);
}

/* Siblings must not draw the same numbers. Libraries that have generators of their own see to them at a fork themselves. */
static void reseed(void)
{
    unsigned short words[4];
    unsigned seed;
    if (getrandom(words, sizeof words, 0) != sizeof words || getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return; /* not at this size */
    srandom(seed); /* rand() too */
    seed48(words);
}

/* Forks and imports as the driver asks. Returns only in a child that is an instance. */
static void be_zygote(void)
{
    static char packet[MAX_PACKET];
    const struct ps_hooks none = {0}; /* libc's fork does what is to be done */
    struct text reply = {0};
    text_format(&reply, "{\"parked\":true}");
    for (;;) {
        signal(SIGCHLD, SIG_IGN); /* the kernel reaps the children; who looks at the process after its reply is to see that */
        if (reply.length)
            send(PS_FD_CONTROL, reply.at, reply.length, MSG_NOSIGNAL); /* to a driver that is gone: the next receive says so */
        reply.length = 0;
        int length = ps_zygote(PS_FD_CONTROL, &none, packet, sizeof packet);
        if (length == PS_INSTANCE)
            break;
        if (length == PS_ZYGOTE) {
            reseed(); /* what is imported may draw, and keep it */
            continue;
        }
        if (length == PS_LOST)
            for (;;)
                pause(); /* what was forked from here lives on, and would die with this process; core ends it */
        import(packet, (size_t)length, &reply);
    }
    text_free(&reply);
}

/* ---- an instance ---- */

static void set_environment(struct json env)
{
    struct json items = json_items(env), key, value;
    struct text name = {0}, says = {0};
    clearenv();
    while (json_next(&items, &key, &value)) {
        name.length = says.length = 0;
        json_add_text(&name, key);
        json_add_text(&says, value);
        setenv(name.at, says.at, 1);
    }
    text_free(&name);
    text_free(&says);
}

/* Returns a string that lives as long as the process. */
static const char *keep(struct json value)
{
    struct text text = {0};
    text_add(&text, "", 0);
    json_add_text(&text, value);
    return text.at;
}

static _Noreturn void leave(struct endpoint *endpoint, const struct failure *failure)
{
    struct text body = {0};
    add_failure(&body, failure);
    fflush(NULL);
    frame_write(endpoint, FRAME_FAILURE, body.at, body.length);
    _exit(1);
}

/* Runs the function's init. The context is without an event. */
static void initialise(struct call *call, const struct handler *handler, struct failure *failure)
{
    if (!handler->init || handler->init(&call->context) == 0)
        return;
    failure->kind = "exception";
    failure->fault = "handler";
    text_format(&failure->message, "pipsqueak_init failed: %s: %s", call->outcome == ERROR ? call->type.at : "error",
                call->outcome == ERROR ? call->message.at : "it did not say why");
}

/* Has this process find the programs of the packages, and these their libraries. */
static void tell_programs(struct json packages)
{
    struct text programs = {0}, libraries = {0};
    const char *path = getenv("PATH"), *given = getenv("LD_LIBRARY_PATH");
    add_program_path(&programs, packages);
    if (programs.length) {
        text_format(&programs, "%s", path ? path : "/usr/local/bin:/usr/bin:/bin");
        setenv("PATH", programs.at, 1);
    }
    if (given)
        text_format(&libraries, "%s", given);
    add_library_path(&libraries, packages);
    if (libraries.length)
        setenv("LD_LIBRARY_PATH", libraries.at, 1);
    text_free(&programs);
    text_free(&libraries);
}

static _Noreturn void serve_program(struct endpoint *endpoint, struct json told)
{
    struct text path = {0};
    add_library_path(&path, json_member(told, "packages"));
    ps_serve_bootstrap(endpoint, CODE, path.length ? path.at : NULL, told);
}

/* Loads what the first frame says and reports it. */
static void load(struct call *call, const struct ps_frame *frame, struct handler *handler)
{
    struct failure failure = {0};
    struct text modules = {0}, report = {0};
    struct json told = json_check(frame->body, frame->body_size);
    const char *name = keep(json_member(told, "handler"));
    double begin = seconds();
    if (is_program(name))
        serve_program(call->endpoint, told);
    set_environment(json_member(told, "env"));
    tell_programs(json_member(told, "packages"));
    call->context.function = keep(json_member(told, "function"));
    call->context.function_version = json_integer(json_member(told, "version"));
    call->context.memory = json_integer(json_member(told, "memory"));
    crash_frame = CRASH_FAILURE;
    load_modules(told, &modules, &failure);
    bool watch = asks_to_watch(told);
    if (watch)
        sets_note();
    if (!failure.message.length)
        load_handler(name, handler, &failure);
    crash_learn();
    int64_t processors = json_integer(json_member(told, "processors"));
    if (processors > 0)
        ps_use_threads((int)processors);
    if (!failure.message.length)
        initialise(call, handler, &failure);
    const char *sets = sets_noted();
    crash_frame = CRASH_SILENT;
    if (failure.message.length)
        leave(call->endpoint, &failure);
    context_clear(call);
    fflush(stdout);
    add_report(&report, begin, &modules);
    if (watch)
        add_names(&report, "sets", sets);
    text_free(&modules);
    frame_write(call->endpoint, FRAME_REPORT, report.at, report.length);
    text_free(&report);
}

static void add_cut(struct text *body, const struct text *s)
{
    text_add_quoted(body, s->at, s->length < MAX_MESSAGE ? s->length : MAX_MESSAGE);
}

static void refuse(struct call *call, const char *kind, const char *message)
{
    struct text body = {0};
    text_format(&body, "{\"kind\":\"%s\",\"message\":\"the result of %s %s\"}", kind, call->context.function, message);
    frame_write(call->endpoint, FRAME_REFUSED, body.at, body.length);
    text_free(&body);
}

/* Answers the event with what the handler left in the context. */
static void answer(struct call *call)
{
    struct text *result = &call->result;
    if (call->outcome != ERROR && call->response.used) {
        call->outcome = RESULT;
        result->length = 0;
        response_result(&call->response, result);
    }
    if (response_is_too_large(&call->response)) {
        frame_write(call->endpoint, FRAME_REFUSED, call->response.why.at, call->response.why.length);
    } else if (call->outcome == ERROR) {
        struct text body = {0};
        text_format(&body, "{\"type\":");
        add_cut(&body, &call->type);
        text_format(&body, ",\"message\":");
        add_cut(&body, &call->message);
        text_format(&body, ",\"stack\":[]");
        text_add(&body, call->causes.at, call->causes.length);
        for (int i = 0; i < call->caused; i++)
            text_add(&body, "}]", 2);
        text_add(&body, "}", 1);
        frame_write(call->endpoint, FRAME_EXCEPTION, body.at, body.length);
        text_free(&body);
    } else if (call->outcome == NOTHING) {
        frame_write(call->endpoint, FRAME_RESULT, "null", 4);
    } else if (result->length > PS_MAX_BODY) {
        refuse(call, "too_large", "is over the limit of 6291456 bytes; store it elsewhere and return where");
    } else if (!json_check(result->at, result->length).length) {
        refuse(call, "invalid", json_is_too_deep(result->at, result->length) ? JSON_TOO_DEEP :
               "is not JSON in UTF-8: ps_result takes the bytes of one JSON value, and nothing after it");
    } else {
        frame_write(call->endpoint, FRAME_RESULT, result->at, result->length);
    }
}

/* Runs one event. Returns false when the frame is none. An answer to an invocation that nobody awaits is skipped (E14), and so is the
 * news that a caller has gone (E36): a handler that runs learns of it when it writes. */
static bool serve(struct call *call, const struct handler *handler, int kind, const struct ps_frame *frame)
{
    if (kind == FRAME_ANSWER || kind == FRAME_GONE)
        return true;
    struct json meta = frame_begin(call->endpoint, kind, frame);
    if (!meta.length)
        return false;
    static struct text id;
    id.length = 0;
    json_add_text(&id, json_member(meta, "id"));
    call->context.request_id = id.at ? id.at : "";
    call->context.deadline_ms = json_integer(json_member(meta, "deadline_ms"));
    call->context.depth = (uint32_t)json_integer(json_member(meta, "depth"));
    response_begin(&call->response, meta);
    call->running = true;
    memcpy(crash_token, call->endpoint->token, sizeof crash_token);
    crash_frame = CRASH_DEATH;
    handler->call(&call->context, frame->body, frame->body_size);
    crash_frame = CRASH_SILENT;
    call->running = false;
    fflush(stdout);
    answer(call);
    context_clear(call);
    return true;
}

static struct endpoint endpoint = {.input.endpoint = PS_FD_ENDPOINT};

/* Tells that a handler has called exit, behind everything else that is to run then: older kernels do not say how a process has ended. */
static void tell_exit(int status, void *unused)
{
    (void)unused;
    if (crash_frame != CRASH_DEATH || getpid() != crash_process)
        return;
    fflush(NULL);
    struct text body = {0};
    text_format(&body, "{\"type\":\"exit\",\"message\":\"code %d\",\"stack\":[]}", status & 0xff);
    frame_write(&endpoint, FRAME_DEATH, body.at, body.length);
    text_free(&body);
}

static _Noreturn void be_instance(void)
{
    static struct call call;
    struct ps_frame frame;
    struct handler handler = {0};
    int kind;
    signal(SIGCHLD, SIG_DFL);
    reseed();
    context_prepare(&call, &endpoint);
    if (ps_may_rehearse(PS_FD_ENDPOINT))
        rehearse();
    if (ps_read(&endpoint.input, &frame) != FRAME_HANDLER)
        _exit(0);
    crash_process = getpid();
    load(&call, &frame, &handler);
    while ((kind = ps_read(&endpoint.input, &frame)) > 0 && serve(&call, &handler, kind, &frame))
        ;
    _exit(0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* Memory that has been touched once is kept: it costs a fault a page to get it again. */
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    dlopen("libstdc++.so.6", RTLD_NOW); /* of every handler in C++; if there is none, there will be no such handler */
    crash_prepare();
    on_exit(tell_exit, NULL);
    needs_hide();
    be_zygote();
    be_instance();
}
