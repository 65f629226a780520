/* http: the server's end of an HTTP/1.1 connection. The reasons are in http.h. */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Most of a header that nobody reads may be the cause of an error as X-Ray wants it, which has up to 1 MiB. */
enum { MAX_HEADER = 2 << 20, MAX_ERROR_BODY = 1 << 20, KEEP = 64 << 10, LINGER = 1000 };

static struct http *of(http_parser *parser) { return parser->data; }

static void forget_request(struct http *http)
{
    http->target[0] = http->error_type[0] = http->content_type[0] = 0;
    http->streams = http->too_large = http->expects = http->name_ended = false;
    http->name_length = 0;
    text_free(&http->error_body);
    http->body.length = 0;
    if (http->body.size > KEEP)
        text_free(&http->body);
}

/* Appends to a NUL-terminated string as far as there is room, and reports whether there was. */
static bool append(char *to, size_t size, const char *at, size_t length)
{
    size_t have = strlen(to), room = size - 1 - have, n = length < room ? length : room;
    memcpy(to + have, at, n);
    to[have + n] = 0;
    return n == length;
}

bool http_has_prelude(const struct http *http)
{
    static const char type[] = "application/vnd.awslambda.http-integration-response";
    return strncasecmp(http->content_type, type, sizeof type - 1) == 0;
}

/* ---- what the parser finds ---- */

static int on_begin(http_parser *parser)
{
    forget_request(of(parser));
    return 0;
}

static int on_target(http_parser *parser, const char *at, size_t length)
{
    struct http *http = of(parser);
    if (http->target[0] == ' ' || !append(http->target, sizeof http->target, at, length))
        strcpy(http->target, " "); /* too long: no target has a space */
    return 0;
}

static int on_name(http_parser *parser, const char *at, size_t length)
{
    struct http *http = of(parser);
    if (http->name_ended)
        http->name_length = 0;
    http->name_ended = false;
    if (http->name_length + length >= sizeof http->name)
        length = sizeof http->name - 1 - http->name_length; /* none that matters is as long */
    memcpy(http->name + http->name_length, at, length);
    http->name_length += length;
    http->name[http->name_length] = 0;
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t length)
{
    struct http *http = of(parser);
    bool first = !http->name_ended;
    http->name_ended = true;
    if (strcasecmp(http->name, "Lambda-Runtime-Function-Error-Type") == 0) {
        if (first)
            http->error_type[0] = 0;
        append(http->error_type, sizeof http->error_type, at, length);
    } else if (strcasecmp(http->name, "Lambda-Runtime-Function-Error-Body") == 0) {
        if (first)
            http->error_body.length = 0;
        if (http->error_body.length + length <= MAX_ERROR_BODY)
            text_add(&http->error_body, at, length);
    } else if (strcasecmp(http->name, "Content-Type") == 0) {
        append(http->content_type, sizeof http->content_type, at, length);
        http->streams = http->streams || http_has_prelude(http); /* aws-lambda-go does not say more */
    } else if (strcasecmp(http->name, "Lambda-Runtime-Function-Response-Mode") == 0) {
        http->streams = http->streams || (length == strlen("streaming") && strncasecmp(at, "streaming", length) == 0);
    } else if (strcasecmp(http->name, "Expect") == 0) {
        http->expects = true; /* there is only one thing to expect */
    }
    return 0;
}

static int on_headers(http_parser *parser)
{
    struct http *http = of(parser);
    if (http->target[0] == ' ')
        http->target[0] = 0;
    parser->upgrade = 0; /* some offer HTTP/2 with every request, and are content without */
    if ((parser->flags & F_CONTENTLENGTH) && parser->content_length > HTTP_MAX_BODY && !http->streams)
        http->too_large = true;
    /* The first bytes in this direction: there is room for them. Who may not continue gets the answer instead. */
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (http->expects && !http->too_large)
        send(http->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    return http->expects && http->too_large ? -1 : 0;
}

static int on_body(http_parser *parser, const char *at, size_t length)
{
    struct http *http = of(parser);
    if (http->too_large || length > HTTP_MAX_BODY - http->body.length) {
        http->too_large = true;
        text_free(&http->body);
    } else {
        text_add(&http->body, at, length);
    }
    return 0;
}

static int on_complete(http_parser *parser)
{
    struct http *http = of(parser);
    http->state = HTTP_ASKED;
    http->method = parser->method;
    http->closes = !http_should_keep_alive(parser);
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_begin,
    .on_url = on_target,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

/* ---- the connection ---- */

int http_listen(int *listener)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*listener < 0 || bind(*listener, (struct sockaddr *)&address, size) < 0 || listen(*listener, SOMAXCONN) < 0 ||
        getsockname(*listener, (struct sockaddr *)&address, &size) < 0)
        return -1;
    return ntohs(address.sin_port);
}

struct http *http_place(struct http *all, size_t n)
{
    struct http *found = NULL;
    for (struct http *http = all; http < all + n; http++) {
        if (http->fd < 0)
            return http;
        if (http->state == HTTP_READING && (!found || http->used < found->used))
            found = http;
    }
    return found;
}

struct http *http_accept(int listener, struct http *all, size_t n)
{
    struct http *http = http_place(all, n);
    int fd = http ? accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
    if (fd < 0)
        return NULL;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (http->fd >= 0)
        http_close(http);
    memset(http, 0, sizeof *http);
    http->fd = fd;
    http_parser_set_max_header_size(MAX_HEADER);
    http_parser_init(&http->parser, HTTP_REQUEST);
    http->parser.data = http;
    return http;
}

void http_close(struct http *http)
{
    close(http->fd);
    forget_request(http);
    text_free(&http->body);
    text_free(&http->answer);
    http->fd = -1;
    http->state = HTTP_OVER;
}

/* Parses what has been read, up to the end of a request. */
static void parse(struct http *http)
{
    if (http->begin == http->end || http->state != HTTP_READING)
        return;
    http->begin += http_parser_execute(&http->parser, &settings, http->input + http->begin, http->end - http->begin);
    enum http_errno error = HTTP_PARSER_ERRNO(&http->parser);
    if (error == HPE_OK)
        return;
    if (error == HPE_PAUSED) {
        http_parser_pause(&http->parser, 0);
        return;
    }
    if (error == HPE_CB_headers_complete) { /* it may not continue */
        http->state = HTTP_ASKED;
        http->method = http->parser.method;
        http->closes = true;
        return;
    }
    struct text body = {0};
    text_format(&body, "{\"errorMessage\":\"this is no HTTP request: %s\",\"errorType\":\"InvalidRequest\"}", http_errno_description(error));
    http->closes = true;
    http->method = HTTP_GET;
    http_answer(http, 400, "Content-Type: application/json\r\n", body.at, body.length);
    text_free(&body);
}

static void read_more(struct http *http)
{
    if (http->begin == http->end)
        http->begin = http->end = 0;
    if (http->end == sizeof http->input)
        return;
    ssize_t n = recv(http->fd, http->input + http->end, sizeof http->input - http->end, MSG_DONTWAIT);
    if (n > 0)
        http->end += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        http->state = HTTP_OVER;
}

static long long now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000LL + at.tv_nsec / 1000000;
}

static void write_more(struct http *http)
{
    ssize_t n = send(http->fd, http->answer.at + http->answered, http->answer.length - http->answered, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            http->state = HTTP_OVER;
        return;
    }
    http->answered += (size_t)n;
    if (http->answered < http->answer.length)
        return;
    http->answer.length = http->answered = 0;
    if (http->answer.size > KEEP)
        text_free(&http->answer);
    http->state = HTTP_READING;
    if (http->closes) {
        /* What is still unread makes close(2) a reset, by which the peer may lose the answer. So the peer closes first. */
        shutdown(http->fd, SHUT_WR);
        http->until = now() + LINGER;
        http->state = HTTP_CLOSING;
    }
}

short http_events(const struct http *http)
{
    switch (http->state) {
    case HTTP_READING:
        return POLLIN;
    case HTTP_CLOSING:
    case HTTP_ASKED:
        return POLLRDHUP; /* who does not wait for the answer must not get an event */
    case HTTP_ANSWERING:
        return POLLOUT;
    default:
        return 0;
    }
}

int http_left(const struct http *http)
{
    long long left = http->until - now();
    return http->state != HTTP_CLOSING ? -1 : left > 0 ? (int)left : 0;
}

void http_continue(struct http *http, short events)
{
    if ((http->state == HTTP_ASKED || http->state == HTTP_CLOSING) && (events & (POLLRDHUP | POLLHUP | POLLERR)))
        http->state = HTTP_OVER;
    if (http_left(http) == 0)
        http->state = HTTP_OVER;
    if (http->state == HTTP_ANSWERING)
        write_more(http);
    if (http->state == HTTP_READING && events)
        read_more(http);
    parse(http); /* what came with the last request, too */
}

static const char *reason(int status)
{
    switch (status) {
#define CASE(number, name, text) \
    case number: \
        return #text;
        HTTP_STATUS_MAP(CASE)
#undef CASE
    }
    return "";
}

void http_answer(struct http *http, int status, const char *fields, const char *body, size_t length)
{
    struct text *answer = &http->answer;
    answer->length = http->answered = 0;
    text_format(answer, "HTTP/1.1 %d %s\r\n%sContent-Length: %zu\r\n%s\r\n", status, reason(status), fields, length, http->closes ? "Connection: close\r\n" : "");
    if (http->method != HTTP_HEAD)
        text_add(answer, body, length);
    forget_request(http);
    http->state = HTTP_ANSWERING;
}
