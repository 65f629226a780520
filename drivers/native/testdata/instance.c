/* An instance without a sandbox, for the tests of lambda.c: instance DIRECTORY, with the endpoint as descriptor 4. */
#include "../runtime/lambda.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    struct endpoint endpoint = {.fd = 4};
    struct frame frame;
    if (argc != 2 || !frame_read(&endpoint, &frame) || frame.kind != FRAME_HANDLER)
        return 0;
    ps_serve_bootstrap(&endpoint, argv[1], "/packages/lib", json_check(frame.body, frame.length));
}
