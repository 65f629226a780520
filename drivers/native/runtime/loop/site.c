/* site: a program that listens answers events. The reasons are in site.h. */
#include "site.h"

#include "exception.h"

#include <arpa/inet.h>
#include <errno.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FIELDS = 256, MAX_HEAD = 64 << 10 };

static int open_connection(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

bool site_listens(int port)
{
    int fd = open_connection(port);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* ---- the request ---- */

static bool is_one_of(const char *name, size_t length, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == length && strncasecmp(name, *names, length) == 0)
            return true;
    return false;
}

/* What is of a connection, and not of a request or response. */
static const char *const of_connection[] = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "expect", NULL};

/* Adds what a string says, and reports whether it can be in a head: no control character, and no space unless they are allowed. */
static bool add_plain(struct text *to, struct json value, bool spaces)
{
    size_t begin = to->length;
    json_add_text(to, value);
    for (size_t i = begin; i < to->length; i++) {
        unsigned char c = (unsigned char)to->at[i];
        if (c < ' ' || c == 0x7f || (c == ' ' && !spaces)) {
            to->length = begin;
            return false;
        }
    }
    return true;
}

static void add_fields(struct text *request, struct json event, size_t body)
{
    struct json items = json_items(json_member(event, "headers")), name, value;
    while (json_next(&items, &name, &value)) {
        size_t begin = request->length;
        bool good = add_plain(request, name, false) && !is_one_of(request->at + begin, request->length - begin, of_connection);
        text_add(request, ": ", 2);
        if (good && add_plain(request, value, true))
            text_add(request, "\r\n", 2);
        else
            request->length = begin;
    }
    items = json_items(json_member(event, "cookies"));
    for (const char *before = "cookie: "; json_next(&items, &name, &value); before = "; ") {
        text_format(request, "%s", before);
        add_plain(request, value, true);
    }
    if (json_items(json_member(event, "cookies")).length)
        text_add(request, "\r\n", 2);
    if (!json_member(json_member(event, "headers"), "host").length)
        text_format(request, "host: localhost\r\n");
    text_format(request, "content-length: %zu\r\nconnection: close\r\n\r\n", body);
}

/* Adds the request that an event is, and reports whether it is one. */
static bool add_request(struct text *request, struct json event)
{
    struct json method = json_member(json_member(json_member(event, "requestContext"), "http"), "method"), path = json_member(event, "rawPath");
    struct json query = json_member(event, "rawQueryString"), said = json_member(event, "body"), encoded = json_member(event, "isBase64Encoded");
    if (!json_is_string(method) || !json_is_string(path) || path.length < 3 || path.at[1] != '/')
        return false;
    struct text body = {0}, bytes = {0};
    if (json_is_string(said))
        json_add_text(&body, said);
    if (encoded.length && *encoded.at == 't')
        base64_add(&bytes, body.at, body.length);
    struct text *sent = encoded.length && *encoded.at == 't' ? &bytes : &body;
    bool good = add_plain(request, method, false);
    text_add(request, " ", 1);
    good = good && add_plain(request, path, false);
    if (json_is_string(query) && query.length > 2) {
        text_add(request, "?", 1);
        good = good && add_plain(request, query, false);
    }
    text_add(request, " HTTP/1.1\r\n", 11);
    add_fields(request, event, sent->length);
    text_add(request, sent->at, sent->length);
    text_free(&body);
    text_free(&bytes);
    return good;
}

/* ---- the response ---- */

struct piece {
    size_t begin, length; /* in text */
};

struct answer {
    bool head_only;              /* the request was HEAD: there is no body */
    bool headed, complete, long_head;
    bool left;                   /* the caller has gone */
    struct text text;            /* of the head's fields */
    struct piece names[MAX_FIELDS], values[MAX_FIELDS];
    size_t fields;
    bool in_value;
    struct text head, body;      /* the body: as far as it has not been passed on */
};

static struct answer *of(http_parser *parser) { return parser->data; }

static int on_begin(http_parser *parser)
{
    struct answer *a = of(parser);
    a->fields = a->text.length = 0;
    a->in_value = true;
    return 0;
}

static int add_piece(struct answer *a, struct piece *piece, const char *at, size_t length)
{
    if (a->text.length + length > MAX_HEAD)
        a->long_head = true;
    else
        text_add(&a->text, at, length);
    piece->length = a->text.length - piece->begin;
    return a->long_head ? -1 : 0;
}

static int on_name(http_parser *parser, const char *at, size_t length)
{
    struct answer *a = of(parser);
    if (a->in_value) {
        if (a->fields == MAX_FIELDS)
            return -1;
        a->names[a->fields++] = (struct piece){.begin = a->text.length};
        a->values[a->fields - 1] = (struct piece){0};
    }
    a->in_value = false;
    return add_piece(a, &a->names[a->fields - 1], at, length);
}

static int on_value(http_parser *parser, const char *at, size_t length)
{
    struct answer *a = of(parser);
    struct piece *value = &a->values[a->fields - 1];
    if (!a->in_value)
        value->begin = a->text.length;
    a->in_value = true;
    return add_piece(a, value, at, length);
}

static bool same(const struct answer *a, struct piece one, struct piece other)
{
    return one.length == other.length && strncasecmp(a->text.at + one.begin, a->text.at + other.begin, one.length) == 0;
}

/* Adds the values of a name, in the order in which they have come. */
static void add_values(struct answer *a, struct piece name, const char *between, bool quote)
{
    struct text all = {0};
    bool first = true;
    for (size_t i = 0; i < a->fields; i++) {
        if (!same(a, a->names[i], name))
            continue;
        text_format(&all, "%s", first ? "" : between);
        first = false;
        if (quote)
            text_add_quoted(&all, a->text.at + a->values[i].begin, a->values[i].length);
        else
            text_add(&all, a->text.at + a->values[i].begin, a->values[i].length);
    }
    if (quote)
        text_add(&a->head, all.at, all.length);
    else
        text_add_quoted(&a->head, all.at, all.length);
    text_free(&all);
}

static bool is_new(const struct answer *a, size_t i)
{
    for (size_t before = 0; before < i; before++)
        if (same(a, a->names[before], a->names[i]))
            return false;
    return true;
}

static void make_head(struct answer *a, int status)
{
    static const char *const cookie[] = {"set-cookie", NULL}, *const size[] = {"content-length", NULL};
    struct piece cookies = {0};
    const char *comma = "";
    a->head.length = 0;
    text_format(&a->head, "{\"statusCode\":%d,\"headers\":{", status);
    for (size_t i = 0; i < a->fields; i++) {
        char *name = a->text.at + a->names[i].begin;
        size_t length = a->names[i].length;
        if (is_one_of(name, length, cookie))
            cookies = a->names[i];
        else if (is_new(a, i) && (!is_one_of(name, length, of_connection) || (a->head_only && is_one_of(name, length, size)))) {
            text_add(&a->head, comma, strlen(comma));
            for (size_t c = 0; c < length; c++)
                name[c] = name[c] >= 'A' && name[c] <= 'Z' ? (char)(name[c] | 0x20) : name[c];
            text_add_quoted(&a->head, name, length);
            text_add(&a->head, ":", 1);
            add_values(a, a->names[i], ", ", false);
            comma = ",";
        }
    }
    text_format(&a->head, "},\"cookies\":[");
    if (cookies.length)
        add_values(a, cookies, ",", true);
    text_format(&a->head, "]}");
}

static int on_headers(http_parser *parser)
{
    struct answer *a = of(parser);
    if (parser->status_code < 200)
        return 0;
    make_head(a, (int)parser->status_code);
    a->headed = true;
    return a->head_only;
}

static int on_body(http_parser *parser, const char *at, size_t length)
{
    text_add(&of(parser)->body, at, length);
    return 0;
}

static int on_complete(http_parser *parser)
{
    struct answer *a = of(parser);
    a->complete = a->headed;
    if (a->complete)
        http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_begin,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

/* Sends what can be sent without waiting. Who answers before all of a request has come does not read the rest. */
static void send_more(int fd, const struct text *request, size_t *sent)
{
    ssize_t n = send(fd, request->at + *sent, request->length - *sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        *sent += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        *sent = request->length;
}

/* Passes on what has come. A response that is there at once goes into the result. */
static bool pass(struct answer *a, struct response *response, struct endpoint *endpoint, long long *calls)
{
    if (!a->headed)
        return true;
    if (!response->used)
        response_head(response, a->head.at, a->head.length);
    if (a->complete && !response->begun && a->body.length < MAX_HEAD)
        response->offered = false;
    bool passed = (response->begun && !a->body.length) || response_write(response, endpoint, calls, a->body.at, a->body.length);
    a->body.length = 0;
    return passed;
}

/* Reads what core says in the middle of an event, and reports whether its caller has gone. The news may have been read with the event, or with the answer
 * to a part. */
static bool read_gone(struct response *response, struct endpoint *endpoint)
{
    struct ps_frame frame;
    int kind = ps_read(ps_has_more(&endpoint->input) ? &endpoint->input : &response->input, &frame);
    if (kind <= 0)
        _exit(0); /* core is gone, or done with this instance */
    return kind == FRAME_GONE && frame.body_size == PS_TOKEN && memcmp(frame.body, endpoint->token, PS_TOKEN) == 0;
}

/* Sends the request and passes on the response. Returns false when that has ended in the middle. When the caller goes away, the program sees the end of
 * its input, as of a client that has left. What it does then is its own; the event is over when it has answered, or closed the connection. */
static bool exchange(int fd, const struct text *request, struct answer *a, struct response *response, struct endpoint *endpoint, long long *calls)
{
    static char input[64 << 10];
    http_parser parser;
    size_t sent = 0;
    bool ended = false;
    http_parser_init(&parser, HTTP_RESPONSE);
    parser.data = a;
    response->input.endpoint = endpoint->input.endpoint;
    while (!a->complete) {
        if (a->left && !ended && sent == request->length) {
            shutdown(fd, SHUT_WR);
            ended = true;
        }
        struct pollfd all[] = {
            {.fd = fd, .events = sent < request->length ? POLLIN | POLLOUT : POLLIN},
            {.fd = a->left ? -1 : endpoint->input.endpoint, .events = POLLIN},
        }, *ready = &all[0];
        bool ahead = !a->left && (ps_has_more(&endpoint->input) || ps_has_more(&response->input));
        if (poll(all, 2, ahead ? 0 : -1) < 0)
            continue; /* a signal */
        a->left = a->left || ((ahead || all[1].revents) && read_gone(response, endpoint));
        if (ready->revents & POLLOUT)
            send_more(fd, request, &sent);
        if (!(ready->revents & ~POLLOUT))
            continue;
        ssize_t n = recv(fd, input, sizeof input, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        http_parser_execute(&parser, &settings, input, n > 0 ? (size_t)n : 0);
        enum http_errno error = HTTP_PARSER_ERRNO(&parser);
        if (error != HPE_OK && error != HPE_PAUSED)
            return false;
        if (!pass(a, response, endpoint, calls))
            return true;
        if (n <= 0)
            return a->complete;
    }
    return true;
}

const char *site_answer(int port, struct json event, struct response *response, struct endpoint *endpoint, long long *calls, struct text *message)
{
    struct text request = {0};
    struct answer answer = {0};
    if (!add_request(&request, event)) {
        text_free(&request);
        text_format(message, "bootstrap is a web application, and the event is no HTTP request: send requests to /fn/NAME");
        return "InvalidEvent";
    }
    answer.head_only = request.length > 5 && memcmp(request.at, "HEAD ", 5) == 0;
    int fd = open_connection(port);
    bool whole = false;
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        whole = exchange(fd, &request, &answer, response, endpoint, calls);
        close(fd);
    }
    if (fd < 0)
        text_format(message, "bootstrap does not take connections on port %d any more: %s", port, strerror(errno));
    else if (answer.long_head)
        text_format(message, "the head of the response has over %d bytes", MAX_HEAD);
    else if (!whole && !answer.left)
        text_format(message, "bootstrap has closed the connection %s response", answer.headed ? "before the end of its" : "without a");
    text_free(&request);
    text_free(&answer.text);
    text_free(&answer.head);
    text_free(&answer.body);
    return message->length ? SITE_BROKEN : NULL;
}
