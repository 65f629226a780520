/* An instance without a sandbox, for the tests of lambda.c: instance DIRECTORY, with the endpoint as descriptor 4. */
#include "../runtime/loop/lambda.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    struct endpoint endpoint = {.input.endpoint = 4};
    struct ps_frame frame;
    if (argc != 2 || ps_read(&endpoint.input, &frame) != FRAME_HANDLER)
        return 0;
    ps_serve_bootstrap(&endpoint, argv[1], "/packages/lib", json_check(frame.body, frame.body_size));
}
