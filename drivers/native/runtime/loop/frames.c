/* frames: what an instance says to core. The reasons are in frames.h. */
#include "frames.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct json frame_begin(struct endpoint *e, int kind, const struct ps_frame *frame)
{
    struct json meta = {0};
    if (kind != FRAME_EVENT)
        return meta;
    meta = json_check(frame->meta, frame->meta_size);
    struct json token = json_member(meta, "token"); /* with its quotes */
    if (token.length == PS_TOKEN + 2) {
        memcpy(e->token, token.at + 1, PS_TOKEN);
        e->begun = true;
    }
    return meta;
}

static bool say(struct endpoint *e, int kind, const struct ps_frame *frame)
{
    int fd = e->input.endpoint;
    if ((e->begun ? ps_reply(fd, kind, e->token, frame) : ps_send(fd, kind, frame)) == 0)
        return true;
    if (errno == ECHILD)
        _exit(0);
    return false;
}

bool frame_write(struct endpoint *e, int kind, const char *body, size_t length)
{
    return say(e, kind, &(struct ps_frame){.body = body, .body_size = length});
}

bool frame_call(struct endpoint *e, int kind, const struct text *meta, const char *body, size_t length)
{
    return say(e, kind, &(struct ps_frame){.meta = meta->at, .meta_size = meta->length, .body = body, .body_size = length});
}

bool frame_await(struct ps_input *input, long long call, struct json *meta, struct ps_frame *answer)
{
    for (int kind; (kind = ps_read(input, answer)) > 0;) {
        if (kind != FRAME_ANSWER)
            continue;
        *meta = json_check(answer->meta, answer->meta_size);
        if (meta->length && json_integer(json_member(*meta, "call")) == call)
            return true;
    }
    return false;
}
