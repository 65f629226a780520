// Run it with: make -C tests
#include "../handler.cc"
#include <cassert>
#include <cstdio>

static std::string result;

int main()
{
    ps_calls calls = {};
    calls.result = [](ps_context *, const char *json, size_t size) { result.assign(json, size); };
    ps_context context = {};
    context.abi = PS_ABI;
    context.calls = &calls;
    context.request_id = context.function = "test";
    const std::string event = "{\"name\": \"world\"}";
    handler(&context, event.data(), event.size());
    assert(result == "{\"event\": {\"name\": \"world\"}}");
    std::puts("ok");
}
