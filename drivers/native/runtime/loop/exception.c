/* exception: what a handler raised. The reasons are in exception.h. */
#include "exception.h"

#include <stdint.h>
#include <string.h>

enum { MAX_FRAME_TEXT = 16 << 10 };

/* Adds one entry of a stack: a string, what aws-lambda-go has ({"path", "line", "label"}), or whatever else it is. */
static void add_frame(struct text *stack, struct json frame)
{
    struct json path = json_member(frame, "path"), label = json_member(frame, "label");
    if (!path.length || !label.length) {
        json_add_string(stack, frame, MAX_FRAME_TEXT);
        return;
    }
    struct text line = {0};
    json_add_text(&line, path);
    text_format(&line, ":%lld in ", json_integer(json_member(frame, "line")));
    json_add_text(&line, label);
    text_add_quoted(stack, line.at, line.length < MAX_FRAME_TEXT ? line.length : MAX_FRAME_TEXT);
    text_free(&line);
}

/* Adds what is behind an error of the Runtime API: its cause, as the runtimes of Java and .NET have it. */
static void add_cause(struct text *out, struct json error, int most)
{
    enum { MAX_CAUSE = 8 << 10 };
    struct json cause = json_member(error, "cause"), type = json_member(cause, "errorType"), message = json_member(cause, "errorMessage");
    if (most == 0 || (!type.length && !message.length))
        return;
    text_format(out, ",\"causes\":[{\"relation\":\"cause\",\"type\":");
    if (type.length)
        json_add_string(out, type, MAX_CAUSE);
    else
        text_add(out, "\"Error\"", 7);
    text_format(out, ",\"message\":");
    if (message.length)
        json_add_string(out, message, MAX_CAUSE);
    else
        text_add(out, "\"\"", 2);
    text_format(out, ",\"stack\":[");
    struct json items = json_items(json_member(cause, "stackTrace")), key, frame;
    size_t begin = out->length;
    for (const char *comma = ""; out->length - begin < MAX_CAUSE && json_next(&items, &key, &frame); comma = ",") {
        text_add(out, comma, strlen(comma));
        add_frame(out, frame);
    }
    text_add(out, "]", 1);
    add_cause(out, cause, most - 1);
    text_add(out, "}]", 2);
}

void exception_add(struct text *out, const char *type, const char *body, size_t length)
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
    text_add(out, "]", 1);
    add_cause(out, error, 16);
    text_add(out, "}", 1);
}

void base64_add(struct text *to, const char *at, size_t length)
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
