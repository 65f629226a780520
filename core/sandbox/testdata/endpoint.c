/*
 * An instance without a sandbox, for the tests of endpoint.c: endpoint read|receive, with the endpoint as descriptor 4.
 *
 * It sends the body of each frame back: of E as R, with the first bytes of the meta as the token; of A as I, with the meta too;
 * of others in a frame of their kind. To H it answers with what a child that it forks may send, to P with whether another frame
 * can be seen at the endpoint. It exits with 0 at the end of file, and with 3 when what came is no frame.
 */
#include "../enter/loop/endpoint.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int in_child(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(ps_send(PS_FD_ENDPOINT, 'X', &(struct ps_frame){.body = "", .body_size = 0}) == 0 ? 0 : errno);
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static int answer(int kind, const struct ps_frame *frame)
{
    static char token[PS_TOKEN];
    char text[64];
    if (kind == 'H')
        snprintf(text, sizeof text, "%s, %d", strerror(in_child()), ps_receiver() == getpid());
    else if (kind == 'P')
        snprintf(text, sizeof text, "%d", poll(&(struct pollfd){.fd = PS_FD_ENDPOINT, .events = POLLIN}, 1, 0));
    if (kind == 'H' || kind == 'P')
        return ps_send(PS_FD_ENDPOINT, kind, &(struct ps_frame){.body = text, .body_size = strlen(text)});
    if (kind == 'E')
        memcpy(token, frame->meta, PS_TOKEN);
    if (kind == 'E' || kind == 'A')
        return ps_reply(PS_FD_ENDPOINT, kind == 'E' ? 'R' : 'I', token, frame);
    return ps_send(PS_FD_ENDPOINT, kind, frame);
}

int main(int argc, char **argv)
{
    struct ps_input input = {.endpoint = PS_FD_ENDPOINT};
    struct ps_frame frame;
    int ahead = argc > 1 && strcmp(argv[1], "read") == 0, kind;
    while ((kind = ahead ? ps_read(&input, &frame) : ps_receive(PS_FD_ENDPOINT, &frame)) > 0) {
        if (frame.body[frame.body_size] != 0)
            return 4;
        if (answer(kind, &frame) < 0)
            return 5;
    }
    free(input.bytes);
    return kind < 0 ? 3 : 0;
}
