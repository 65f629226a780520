/* say: what the server of a program says to core. The reasons are in lambda.h. */
#include "exception.h"
#include "server.h"

#include <string.h>
#include <unistd.h>

void say(char kind, const char *body, size_t length)
{
    if (!frame_write(server.endpoint, kind, body, length))
        _exit(0); /* core is gone, or needs this instance no more */
}

_Noreturn void say_failure(const char *kind, struct json exception, const struct text *message)
{
    struct text body = {0};
    text_format(&body, "{\"kind\":\"%s\",\"fault\":\"handler\",\"message\":", kind);
    text_add_quoted(&body, message->at, message->length < MAX_MESSAGE ? message->length : MAX_MESSAGE);
    if (exception.length) {
        text_format(&body, ",\"exception\":");
        text_add(&body, exception.at, exception.length);
    }
    text_add(&body, "}", 1);
    say(FRAME_FAILURE, body.at, body.length);
    _exit(1);
}

void say_refused(const char *kind, const char *message)
{
    struct text body = {0};
    text_format(&body, "{\"kind\":\"%s\",\"message\":\"%s\"}", kind, message);
    say(FRAME_REFUSED, body.at, body.length);
    text_free(&body);
}

void say_exception(const char *type, const struct text *error)
{
    struct text exception = {0};
    exception_add(&exception, type, error->at, error->length);
    say(FRAME_EXCEPTION, exception.at, exception.length);
    text_free(&exception);
}

void say_report(void)
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
    say(FRAME_REPORT, body.at, body.length);
    text_free(&body);
}
