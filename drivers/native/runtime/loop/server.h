/*
 * server: what the parts of lambda share: a program, what core has asked of it, and what it has said.
 */
#ifndef PIPSQUEAK_SERVER_H
#define PIPSQUEAK_SERVER_H

#include "http.h"
#include "response.h"

#include <sys/types.h>
#include <time.h>

#define JSON_FIELDS "Content-Type: application/json\r\n"
#define TOO_LARGE_TO_RETURN "the response has more than the 6291456 bytes that a result may have"

enum { CONNECTIONS = 16 };

/* What the program has to do next. */
enum phase { STARTING /* ask for its first event */, IDLE /* ask for an event, or wait for it */, BUSY /* answer its event */ };

struct server {
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

    int port;     /* where the program listens, if it is a web application */
    bool listens; /* it does */
    struct response response;
    long long calls;        /* that core has been asked for */
    struct http *streaming; /* brings a response of which something has been passed on */

    int listener, signals;
    struct http connections[CONNECTIONS];
    struct http *waiting; /* for an event; NULL: nobody does */
    unsigned long turn;   /* counts what is served */
};

extern struct server server; /* of the process, which has one */

/* ---- say: to core. The process ends when core is gone. ---- */

void say(char kind, const char *body, size_t length);
/* Says why there will be no P, and ends. The exception may be one that is not there. */
_Noreturn void say_failure(const char *kind, struct json exception, const struct text *message);
/* Says that the result cannot be sent. */
void say_refused(const char *kind, const char *message);
/* Tells what the handler raised. */
void say_exception(const char *type, const struct text *error);
void say_report(void);

/* ---- api: from the program ---- */

/* Answers a request. */
void api_request(struct http *http);
/* Whether a request that is still being read brings the response to the event under way, and that is taken in parts; and passes on what has come. */
bool api_is_streamed(const struct http *http);
void api_part(struct http *http);

/* Goes on with a connection as far as it can. */
void serve(struct http *http, short events);

#endif
