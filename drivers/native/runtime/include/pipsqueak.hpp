/*
 * pipsqueak.hpp: pipsqueak.h for C++17 and later. Strings are std::string, and an exception that leaves the handler is what the
 * caller gets: its type, demangled, and its what().
 *
 *     #include <pipsqueak.hpp>
 *
 *     std::string greet(std::string_view event, pipsqueak::context &context) { return std::string(event); }
 *     PIPSQUEAK_HANDLER(handler, greet)
 *
 * Which library reads and writes JSON is the function's own choice.
 */
#ifndef PIPSQUEAK_HPP
#define PIPSQUEAK_HPP

#include "pipsqueak.h"

#include <chrono>
#include <cstdlib>
#include <cxxabi.h>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <typeinfo>

namespace pipsqueak {

/* An invocation of a function that failed; the other fields are ps_answer's. */
class invoke_error : public std::runtime_error {
public:
    invoke_error(const std::string &name, const ps_answer &answer)
        : std::runtime_error(answer.message), function(name), kind(answer.kind), fault(answer.fault), exception_type(answer.exception_type),
          exception_message(answer.exception_message), retryable(answer.retryable != 0), answer_(answer)
    {
    }
    std::string function, kind, fault, exception_type, exception_message;
    bool retryable;
    /* It is good until the handler returns. */
    const ps_answer &answer() const { return answer_; }

private:
    ps_answer answer_;
};

/* What a handler is told of its event and of itself. It is good until the handler returns. */
class context {
public:
    explicit context(ps_context *c) : c_(c) {}
    std::string_view request_id() const { return c_->request_id; }
    std::string_view function() const { return c_->function; }
    int64_t version() const { return c_->function_version; }
    int64_t memory() const { return c_->memory; }
    std::chrono::milliseconds remaining() const
    {
        using namespace std::chrono;
        return milliseconds(c_->deadline_ms) - duration_cast<milliseconds>(system_clock::now().time_since_epoch());
    }
    /* Invokes another function, and returns its result. Throws invoke_error. */
    std::string invoke(const std::string &function, std::string_view event)
    {
        ps_answer answer;
        if (ps_invoke(c_, function.c_str(), event.data(), event.size(), &answer) != 0)
            throw invoke_error(function, answer);
        return std::string(answer.result, answer.size);
    }
    ps_context *c() const { return c_; }

private:
    ps_context *c_;
};

/* The name of a type as the source has it. */
inline std::string name_of(const std::type_info *type)
{
    if (!type)
        return "unknown";
    int status = 0;
    char *name = abi::__cxa_demangle(type->name(), nullptr, nullptr, &status);
    std::string text = name ? name : type->name();
    std::free(name);
    return text;
}

/* Tells what an exception has nested in it, and what an invoked handler has raised. */
inline void tell_causes(ps_context *c, const std::exception &e, int most = 16)
{
    if (auto failed = dynamic_cast<const invoke_error *>(&e))
        ps_cause_answer(c, &failed->answer());
    try {
        if (most > 0)
            std::rethrow_if_nested(e);
    } catch (const std::exception &inner) {
        ps_cause(c, name_of(&typeid(inner)).c_str(), inner.what());
        tell_causes(c, inner, most - 1);
    } catch (...) {
        ps_cause(c, name_of(abi::__cxa_current_exception_type()).c_str(), "");
    }
}

/* Runs a handler and hands over its result or what it threw. */
template <typename Handler> void run(ps_context *c, const char *event, size_t size, Handler &&handler)
{
    try {
        context told(c);
        const std::string result = handler(std::string_view(event, size), told);
        ps_result(c, result.data(), result.size());
    } catch (const std::exception &e) {
        ps_error(c, name_of(&typeid(e)).c_str(), e.what());
        tell_causes(c, e);
    } catch (const abi::__forced_unwind &) {
        throw; /* a thread that is cancelled */
    } catch (...) {
        ps_error(c, name_of(abi::__cxa_current_exception_type()).c_str(), "");
    }
}

} // namespace pipsqueak

/* Makes a C++ function std::string(std::string_view event, pipsqueak::context &) the handler of that name. */
#define PIPSQUEAK_HANDLER(name, function)                                                                                                  \
    PS_EXPORT void name(ps_context *context, const char *event, size_t size) { pipsqueak::run(context, event, size, function); }

#endif
