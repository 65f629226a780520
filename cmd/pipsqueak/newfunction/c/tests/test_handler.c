/* Run it with: make -C tests */
#include "../handler.c"
#include <assert.h>
#include <string.h>

static char result[4096];
static const char *failed;

static void keep(ps_context *context, const char *json, size_t size)
{
    (void)context;
    assert(size < sizeof result);
    memcpy(result, json, size);
}

static void fail(ps_context *context, const char *type, const char *message)
{
    (void)context, (void)message;
    failed = type;
}

int main(void)
{
    const ps_calls calls = {.result = keep, .error = fail};
    ps_context context = {.abi = PS_ABI, .calls = &calls, .request_id = "test", .function = "test"};
    const char *event = "{\"name\": \"world\"}";
    handler(&context, event, strlen(event));
    assert(!failed && strcmp(result, "{\"event\": {\"name\": \"world\"}}") == 0);

    static char large[5000];
    memset(large, ' ', sizeof large);
    handler(&context, large, sizeof large);
    assert(failed && strcmp(failed, "TooLarge") == 0);
    puts("ok");
}
