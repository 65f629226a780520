/* json: reads JSON where it lies. The reasons are in json.h. */
#include "json.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NESTING = 512 };

/* ---- text ---- */

static void reserve(struct text *text, size_t more)
{
    if (text->size - text->length > more)
        return;
    size_t size = text->size ? text->size : 256;
    while (size - text->length <= more)
        size *= 2;
    char *at = realloc(text->at, size);
    if (!at) {
        fputs("pipsqueak: out of memory\n", stderr);
        _Exit(1);
    }
    text->at = at;
    text->size = size;
}

void text_add(struct text *text, const char *bytes, size_t length)
{
    reserve(text, length);
    if (length)
        memcpy(text->at + text->length, bytes, length);
    text->length += length;
    text->at[text->length] = 0;
}

void text_format(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    reserve(text, (size_t)length);
    vsnprintf(text->at + text->length, (size_t)length + 1, format, again);
    text->length += (size_t)length;
    va_end(again);
    va_end(arguments);
}

void text_free(struct text *text)
{
    free(text->at);
    *text = (struct text){0};
}

/* ---- UTF-8 ---- */

/* Returns the length of the character that the bytes begin with, 0 when they begin with none. */
static size_t character(const unsigned char *at, size_t length)
{
    if (at[0] < 0x80)
        return 1;
    size_t n = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || length < n)
        return 0;
    /* Not the shortest form, half a surrogate pair, or beyond the last character. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool is_utf8(const char *bytes, size_t length)
{
    for (size_t i = 0, n; i < length; i += n)
        if (!(n = character((const unsigned char *)bytes + i, length - i)))
            return false;
    return true;
}

static void add_character(struct text *text, uint32_t c)
{
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xf0) | c);
    text_add(text, bytes, n);
}

void text_add_quoted(struct text *text, const char *bytes, size_t length)
{
    text_add(text, "\"", 1);
    for (size_t i = 0, n; i < length; i += n) {
        unsigned char c = (unsigned char)bytes[i];
        n = character((const unsigned char *)bytes + i, length - i);
        if (n == 0) {
            text_add(text, "\\ufffd", 6);
            n = 1;
        } else if (c == '"' || c == '\\') {
            text_add(text, (char[]){'\\', (char)c}, 2);
        } else if (c < 0x20) {
            text_format(text, "\\u%04x", c);
        } else {
            text_add(text, bytes + i, n);
        }
    }
    text_add(text, "\"", 1);
}

/* ---- the grammar: each function takes a part off the front ---- */

struct reader {
    const char *at, *end;
    bool too_deep; /* it ends where more is nested than may be */
};

static bool take(struct reader *r, char c)
{
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static void take_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
        return false;
    r->at += length;
    return true;
}

static bool take_digits(struct reader *r)
{
    const char *begin = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at > begin;
}

static bool take_number(struct reader *r)
{
    take(r, '-');
    if (!take(r, '0') && !take_digits(r))
        return false;
    if (take(r, '.') && !take_digits(r))
        return false;
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+'))
            take(r, '-');
        return take_digits(r);
    }
    return true;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Takes what follows a backslash. */
static bool take_escape(struct reader *r)
{
    if (r->at == r->end)
        return false;
    char c = *r->at++;
    if (c != 'u')
        return c && strchr("\"\\/bfnrt", c);
    for (int i = 0; i < 4; i++)
        if (r->at == r->end || hex(*r->at++) < 0)
            return false;
    return true;
}

static bool take_string(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    while (r->at < r->end) {
        unsigned char c = (unsigned char)*r->at;
        if (c == '"') {
            r->at++;
            return true;
        }
        if (c < 0x20)
            return false;
        if (c == '\\') {
            r->at++;
            if (!take_escape(r))
                return false;
            continue;
        }
        size_t n = character((const unsigned char *)r->at, (size_t)(r->end - r->at));
        if (!n)
            return false;
        r->at += n;
    }
    return false;
}

static bool take_value(struct reader *r, int depth);

/* Depth is how many lists and objects the items are inside of. */
static bool take_items(struct reader *r, char close, int depth)
{
    if (depth > MAX_NESTING)
        return !(r->too_deep = true);
    take_space(r);
    if (take(r, close))
        return true;
    do {
        if (close == '}') {
            take_space(r);
            if (!take_string(r))
                return false;
            take_space(r);
            if (!take(r, ':'))
                return false;
        }
        if (!take_value(r, depth))
            return false;
    } while (take(r, ','));
    return take(r, close);
}

/* Takes a value and the space around it. */
static bool take_value(struct reader *r, int depth)
{
    take_space(r);
    bool good;
    if (r->at == r->end)
        return false;
    switch (*r->at) {
    case '{':
        r->at++;
        good = take_items(r, '}', depth + 1);
        break;
    case '[':
        r->at++;
        good = take_items(r, ']', depth + 1);
        break;
    case '"':
        good = take_string(r);
        break;
    default:
        good = take_word(r, "null") || take_word(r, "true") || take_word(r, "false") || take_number(r);
    }
    take_space(r);
    return good;
}

/* ---- values ---- */

static struct json trimmed(const char *at, const char *end)
{
    struct reader r = {.at = at, .end = end};
    take_space(&r);
    while (end > r.at && strchr(" \t\n\r", end[-1]))
        end--;
    return (struct json){r.at, (size_t)(end - r.at)};
}

struct json json_check(const char *bytes, size_t length)
{
    struct reader r = {.at = bytes, .end = bytes + length};
    if (!length || !take_value(&r, 0) || r.at != r.end)
        return (struct json){0};
    return trimmed(bytes, bytes + length);
}

bool json_is_too_deep(const char *bytes, size_t length)
{
    struct reader r = {.at = bytes, .end = bytes + length};
    take_value(&r, 0);
    return r.too_deep;
}

struct json json_items(struct json container)
{
    if (!container.length || (*container.at != '{' && *container.at != '['))
        return (struct json){0};
    return trimmed(container.at + 1, container.at + container.length - 1);
}

bool json_next(struct json *items, struct json *name, struct json *value)
{
    struct reader r = {.at = items->at, .end = items->at + items->length};
    if (r.at == r.end)
        return false;
    take_value(&r, 0);
    struct json first = trimmed(items->at, r.at);
    *name = (struct json){0};
    if (take(&r, ':')) {
        const char *begin = r.at;
        *name = first;
        take_value(&r, 0);
        first = trimmed(begin, r.at);
    }
    *value = first;
    take(&r, ',');
    *items = (struct json){r.at, (size_t)(r.end - r.at)};
    return true;
}

struct json json_member(struct json object, const char *name)
{
    struct json items = json_items(object), key, value, found = {0};
    struct text text = {0};
    size_t length = strlen(name);
    while (!found.length && json_next(&items, &key, &value)) {
        text.length = 0;
        json_add_text(&text, key);
        if (text.length == length && memcmp(text.at, name, length) == 0)
            found = value;
    }
    text_free(&text);
    return found;
}

bool json_is_string(struct json value) { return value.length && *value.at == '"'; }

static uint32_t hex4(const char *at)
{
    return (uint32_t)(hex(at[0]) << 12 | hex(at[1]) << 8 | hex(at[2]) << 4 | hex(at[3]));
}

/* Adds the character of an escape that begins at the backslash, and returns where it ends. */
static const char *add_escaped(struct text *text, const char *at, const char *end)
{
    static const char codes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (at[1] != 'u') {
        text_add(text, meanings + (strchr(codes, at[1]) - codes), 1);
        return at + 2;
    }
    uint32_t c = hex4(at + 2);
    at += 6;
    if (c >= 0xd800 && c < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        uint32_t low = hex4(at + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
        }
    }
    add_character(text, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
    return at;
}

void json_add_text(struct text *text, struct json value)
{
    if (!json_is_string(value)) {
        text_add(text, value.at, value.length);
        return;
    }
    const char *at = value.at + 1, *end = value.at + value.length - 1;
    text_add(text, "", 0); /* there is a NUL byte, also after nothing */
    while (at < end) {
        const char *backslash = memchr(at, '\\', (size_t)(end - at));
        text_add(text, at, (size_t)((backslash ? backslash : end) - at));
        at = backslash ? add_escaped(text, backslash, end) : end;
    }
}

void json_add_string(struct text *text, struct json value, size_t limit)
{
    struct text said = {0};
    json_add_text(&said, value);
    size_t length = said.length;
    if (limit && length > limit) {
        length = limit;
        while (length && ((unsigned char)said.at[length] & 0xc0) == 0x80)
            length--; /* no half character */
    }
    text_add_quoted(text, said.at, length);
    text_free(&said);
}

long long json_integer(struct json value)
{
    /* Of what has been checked: a number ends where its value does, and after it there is a byte that belongs to none. */
    if (!value.length || (*value.at != '-' && (*value.at < '0' || *value.at > '9')))
        return 0;
    char digits[24] = {0};
    memcpy(digits, value.at, value.length < sizeof digits ? value.length : sizeof digits - 1);
    return strtoll(digits, NULL, 10);
}
