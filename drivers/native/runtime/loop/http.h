/*
 * http: the server's end of an HTTP/1.1 connection on which one request after another is asked and answered. The grammar
 * is http_parser's; this file holds what is between its calls and a socket that never blocks.
 */
#ifndef PIPSQUEAK_HTTP_H
#define PIPSQUEAK_HTTP_H

#include "json.h"

#include <http_parser.h>

/* Bytes of the largest body; of a larger one nothing is kept but that it was. */
enum { HTTP_MAX_BODY = 6 << 20 };

enum http_state {
    HTTP_READING,   /* a request, or nothing for now */
    HTTP_ASKED,     /* there is a request, and it has no answer yet */
    HTTP_ANSWERING, /* the answer is being written */
    HTTP_CLOSING,   /* the last answer has been written: the peer has a second to read it and to close */
    HTTP_OVER,      /* the connection is of no use any more; http_close it */
};

struct http {
    int fd; /* -1: there is none */
    enum http_state state;
    unsigned long used; /* the owner's: when the connection was last used */
    http_parser parser;
    char input[8 << 10]; /* from begin to end: read, and not parsed */
    size_t begin, end;

    /* The request, in HTTP_ASKED. */
    unsigned method;        /* HTTP_GET, … */
    char target[512];       /* the path; empty when it is longer */
    char error_type[256];   /* Lambda-Runtime-Function-Error-Type, as a header or a trailer, cut to this; empty: none */
    struct text error_body; /* Lambda-Runtime-Function-Error-Body, a trailer in base64, cut to 1 MiB */
    bool streams;           /* by Lambda-Runtime-Function-Response-Mode, or its Content-Type; what has come of the body may be taken from it before the end */
    char content_type[256]; /* cut to this; empty: none */
    struct text body;
    bool too_large; /* the body is over HTTP_MAX_BODY, and empty here */

    /* The header that is being read: its name, and where its value goes. */
    char name[64];
    size_t name_length;
    bool name_ended;
    bool expects; /* Expect: 100-continue */

    struct text answer;
    size_t answered; /* bytes of it that have been written */
    bool closes;     /* the connection ends with this answer */
    long long until; /* the end of HTTP_CLOSING, in milliseconds of CLOCK_MONOTONIC */
};

/* Listens on loopback. Returns the port, or -1 with errno. */
int http_listen(int *listener);

/* Returns where a new connection can go: when there are too many, in the place of the idle one that was used least lately. NULL when
 * all are at work. */
struct http *http_place(struct http *all, size_t n);

/* Takes a new connection, and returns its place; NULL when there is none of either. */
struct http *http_accept(int listener, struct http *all, size_t n);
void http_close(struct http *http);

/* The events to poll for. What came of them goes on with http_continue, which reads, parses and writes as far as it can
 * without blocking. */
short http_events(const struct http *http);
void http_continue(struct http *http, short events);

/* Returns the milliseconds that a connection in HTTP_CLOSING has left, and -1 in every other state. */
int http_left(const struct http *http);

/* Whether the body begins with the head of a response, as JSON, and eight NUL bytes. */
bool http_has_prelude(const struct http *http);

/* Answers the request: http_continue does the rest. fields are whole header lines, each with its CRLF, of the answer besides the
 * content's length; the body is copied. */
void http_answer(struct http *http, int status, const char *fields, const char *body, size_t length);

#endif
