/*
 * json: reads JSON where it lies and writes it piece by piece. Nothing is unpacked into trees: an event or a result is only
 * carried through, and of the rest a few strings are needed.
 */
#ifndef PIPSQUEAK_JSON_H
#define PIPSQUEAK_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that grow at the end. All zero is empty. A process that gets no memory ends: its sandbox is at its limit. */
struct text {
    char *at;
    size_t length, size;
};

void text_add(struct text *text, const char *bytes, size_t length);
void text_format(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds the bytes as a JSON string. What is not UTF-8 becomes U+FFFD. */
void text_add_quoted(struct text *text, const char *bytes, size_t length);
void text_free(struct text *text);

bool is_utf8(const char *bytes, size_t length);

/* A piece of JSON that json_check has found good: one value, without space around it. The bytes are somebody else's. All
 * zero stands for a value that is not there, in what takes one too. */
struct json {
    const char *at;
    size_t length;
};

/* Returns the one value that the bytes are, and one that is not there when they are not JSON (RFC 8259, in UTF-8) or are nested
 * more than 512 deep. */
struct json json_check(const char *bytes, size_t length);

/* Whether bytes are nested more than 512 deep, before they end or stop to be JSON. */
bool json_is_too_deep(const char *bytes, size_t length);
#define JSON_TOO_DEEP "has over 512 lists and objects inside of each other"

/* Returns an object's member, the first one of that name. */
struct json json_member(struct json object, const char *name);

/* Takes the first item off an array or object that json_items has opened: its value, and its name when it is an object's. */
struct json json_items(struct json container);
bool json_next(struct json *items, struct json *name, struct json *value);

bool json_is_string(struct json value);
/* Adds what a string says. Half a surrogate pair becomes U+FFFD. Of other values, their JSON. */
void json_add_text(struct text *text, struct json value);
/* Adds a value as a string, at most limit bytes of it (0 for no limit). */
void json_add_string(struct text *text, struct json value, size_t limit);
/* Returns a number as it is cut to an integer, and 0 for anything else. */
long long json_integer(struct json value);

#endif
