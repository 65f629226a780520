// The smallest handler: it returns the event.
#include <pipsqueak.hpp>

static std::string echo(std::string_view event, pipsqueak::context &) { return std::string(event); }

PIPSQUEAK_HANDLER(handler, echo)
