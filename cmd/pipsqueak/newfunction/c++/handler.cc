#include <pipsqueak.hpp>

static std::string hello(std::string_view event, pipsqueak::context &)
{
    return "{\"event\": " + std::string(event) + "}";
}
PIPSQUEAK_HANDLER(handler, hello)
