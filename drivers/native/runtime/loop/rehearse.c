/* rehearse: what an instance does ahead. The reasons are in rehearse.h. */
#include "rehearse.h"

#include "context.h"
#include "load.h"

#include <stdlib.h>
#include <string.h>

/* Has the heap grow and keeps it so, and touches what the stack will grow to. */
static void touch(void)
{
    enum { HEAP = 128 << 10, STACK = 96 << 10, PAGE = 4 << 10 };
    volatile char *heap = malloc(HEAP), stack[STACK];
    for (size_t i = 0; heap && i < HEAP; i += PAGE)
        heap[i] = 0;
    for (size_t i = 0; i < STACK; i += PAGE)
        stack[i] = stack[STACK - 1];
    free((void *)heap);
}

static void ignore(ps_context *context, const char *json, size_t size) { (void)context, (void)json, (void)size; }

void rehearse(void)
{
    static const ps_calls calls = {.result = ignore};
    static const char event[] = "{\"rehearsal\":[1,2.5,\"three\",null,true]}";
    ps_context context = {.abi = PS_ABI, .calls = &calls, .request_id = "", .function = ""};
    struct handler handler = {0};
    struct failure failure = {0};
    map_modules();
    touch();
    open_handler(REHEARSAL, "handler", &handler, &failure);
    if (handler.call && json_member(json_check(event, sizeof event - 1), "rehearsal").length)
        handler.call(&context, event, sizeof event - 1);
    text_free(&failure.message);
}
