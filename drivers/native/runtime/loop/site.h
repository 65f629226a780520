/*
 * site: has a program that listens on a port answer events that are HTTP requests as in AWS Lambda's function URLs, payload format 2.0. Each is a request
 * on a connection of its own, and the response is passed on as it comes.
 */
#ifndef PIPSQUEAK_SITE_H
#define PIPSQUEAK_SITE_H

#include "response.h"

enum { SITE_PORT = 8080 }; /* where a program listens that is not told otherwise */

/* Whether somebody listens on that port of loopback. */
bool site_listens(int port);

/* Has who listens on the port answer the event. Returns NULL, with the response written or left, or the type of an error, whose text is in message:
 * SITE_BROKEN when the program has left the event without an answer. */
#define SITE_BROKEN "ConnectionClosed"
const char *site_answer(int port, struct json event, struct response *response, struct endpoint *endpoint, long long *calls, struct text *message);

#endif
