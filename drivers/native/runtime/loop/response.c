/* response: one that a handler makes in parts. The reasons are in response.h. */
#include "response.h"

#include <string.h>
#include <unistd.h>

enum { MAX_PART = 64 << 10, KEEP = 1 << 20 };

static void forget(struct text *text)
{
    text->length = 0;
    if (text->size > KEEP)
        text_free(text);
}

void response_begin(struct response *response, struct json meta)
{
    struct json stream = json_member(meta, "stream");
    response->offered = stream.length && *stream.at == 't';
    response->used = response->begun = response->left = false;
    forget(&response->head);
    forget(&response->body);
    forget(&response->why);
}

bool response_head(struct response *response, const char *json, size_t length)
{
    struct json head = json_check(json, length);
    if (!head.length || *head.at != '{' || response->begun || response->body.length)
        return false;
    response->head.length = 0;
    text_add(&response->head, head.at, head.length);
    response->used = true;
    return true;
}

/* Passes on one part. */
static bool pass(struct response *response, struct endpoint *endpoint, long long call, const char *bytes, size_t length)
{
    struct text meta = {0};
    struct json answer;
    text_format(&meta, "{\"call\":%lld", call);
    if (!response->begun) {
        text_format(&meta, ",\"head\":");
        text_add(&meta, response->head.length ? response->head.at : "{}", response->head.length ? response->head.length : 2);
    }
    text_add(&meta, "}", 1);
    response->begun = true;
    response->input.endpoint = endpoint->input.endpoint;
    if (!frame_call(endpoint, FRAME_PART, &meta, bytes, length) || !frame_await(&response->input, call, &answer, &(struct ps_frame){0}))
        _Exit(0); /* core is gone, or done with this instance */
    text_free(&meta);
    struct json error = json_member(answer, "error");
    text_add(&response->why, error.at, error.length);
    response->left = error.length;
    return !response->left;
}

bool response_write(struct response *response, struct endpoint *endpoint, long long *calls, const char *bytes, size_t length)
{
    response->used = true;
    if (!response->why.length && !response->offered && length > PS_MAX_BODY - response->body.length)
        text_format(&response->why, "{\"kind\":\"too_large\",\"fault\":\"handler\",\"message\":\"the response has over %d bytes, and who has asked for it takes it "
                                    "as a whole only: ask over HTTP/1.1 at /fn\"}", PS_MAX_BODY);
    if (response->why.length)
        return false;
    if (!response->offered) {
        text_add(&response->body, bytes, length);
        return true;
    }
    do {
        size_t part = length < MAX_PART ? length : MAX_PART;
        if (!pass(response, endpoint, ++*calls, bytes, part))
            return false;
        bytes += part;
        length -= part;
    } while (length > 0);
    return true;
}

static void add_base64(struct text *to, const char *at, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        size_t have = length - i < 3 ? length - i : 3;
        unsigned char b[3] = {0};
        memcpy(b, at + i, have);
        unsigned bits = (unsigned)b[0] << 16 | (unsigned)b[1] << 8 | b[2];
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], have > 1 ? digits[bits >> 6 & 63] : '=', have > 2 ? digits[bits & 63] : '='};
        text_add(to, four, 4);
    }
}

void response_result(const struct response *response, struct text *result)
{
    if (response->begun) {
        text_add(result, "null", 4); /* nobody reads it */
        return;
    }
    const struct text *body = &response->body;
    struct json head = {response->head.at, response->head.length}, items = json_items(head), name, value;
    bool text = is_utf8(body->at, body->length);
    text_format(result, "{\"isBase64Encoded\":%s,\"body\":%s", text ? "false" : "true", text ? "" : "\"");
    if (text) {
        text_add_quoted(result, body->at, body->length);
    } else {
        add_base64(result, body->at, body->length);
        text_add(result, "\"", 1);
    }
    if (!json_member(head, "statusCode").length)
        text_format(result, ",\"statusCode\":200");
    while (json_next(&items, &name, &value)) {
        text_add(result, ",", 1);
        text_add(result, name.at, name.length);
        text_add(result, ":", 1);
        text_add(result, value.at, value.length);
    }
    text_add(result, "}", 1);
}
