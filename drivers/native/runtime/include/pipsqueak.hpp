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
#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <exception>
#include <limits>
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

/* A part of a response that was not passed on; the fields are ps_answer's. Where the caller has gone, nobody needs to catch it. */
class write_error : public std::runtime_error {
public:
    explicit write_error(const ps_answer &failure) : std::runtime_error(failure.message), kind(failure.kind), fault(failure.fault) {}
    std::string kind, fault;
    bool gone() const { return kind == "canceled"; }
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
    /* Sets the head of a response that is written: JSON as ps_head has it. */
    void head(std::string_view json)
    {
        if (ps_head(c_, json.data(), json.size()) != 0)
            throw std::logic_error("the head of a response is a JSON object, and comes before its first part");
    }
    /* Passes on a part of the response. What the handler returns counts no more then. Throws write_error. */
    void write(std::string_view bytes)
    {
        ps_answer failure;
        if (ps_write(c_, bytes.data(), bytes.size(), &failure) != 0)
            throw write_error(failure);
    }
    ps_context *c() const { return c_; }

private:
    ps_context *c_;
};

/* The name of a type as the source has it. Of what std::throw_with_nested throws it is the class that it was given. */
inline std::string name_of(const std::type_info *type)
{
    if (!type)
        return "unknown";
    int status = 0;
    char *name = abi::__cxa_demangle(type->name(), nullptr, nullptr, &status);
    std::string text = name ? name : type->name();
    std::free(name);
    for (std::string_view nested : {"std::_Nested_exception<", "std::__1::__nested<"})
        if (text.compare(0, nested.size(), nested) == 0 && text.back() == '>') {
            text = text.substr(nested.size(), text.size() - nested.size() - 1);
            if (!text.empty() && text.back() == ' ') /* as in a<b<c> > */
                text.pop_back();
        }
    return text;
}

/* The text of a floating-point number. */
template <typename Float> std::string text_of(Float number)
{
    char text[64];
    std::snprintf(text, sizeof text, "%.*Lg", std::numeric_limits<Float>::digits10, static_cast<long double>(number));
    return text;
}

/* The text of what is being caught and is no std::exception, if it is a number or a text. */
inline std::string text_of_thrown()
{
    try {
        throw;
    } catch (const std::string &text) {
        return text;
    } catch (std::string_view text) {
        return std::string(text);
    } catch (const char *text) {
        return text ? text : "";
    } catch (bool value) {
        return value ? "true" : "false";
    } catch (char letter) {
        return std::string(1, letter);
    } catch (short number) {
        return std::to_string(number);
    } catch (unsigned short number) {
        return std::to_string(number);
    } catch (int number) {
        return std::to_string(number);
    } catch (unsigned number) {
        return std::to_string(number);
    } catch (long number) {
        return std::to_string(number);
    } catch (unsigned long number) {
        return std::to_string(number);
    } catch (long long number) {
        return std::to_string(number);
    } catch (unsigned long long number) {
        return std::to_string(number);
    } catch (float number) {
        return text_of(number);
    } catch (double number) {
        return text_of(number);
    } catch (long double number) {
        return text_of(number);
    } catch (...) {
        return "";
    }
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
        ps_cause(c, name_of(abi::__cxa_current_exception_type()).c_str(), text_of_thrown().c_str());
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
        auto unwritten = dynamic_cast<const write_error *>(&e);
        if (unwritten && unwritten->gone())
            return;
        ps_error(c, name_of(&typeid(e)).c_str(), e.what());
        tell_causes(c, e);
    } catch (const abi::__forced_unwind &) {
        throw; /* a thread that is cancelled */
    } catch (...) {
        ps_error(c, name_of(abi::__cxa_current_exception_type()).c_str(), text_of_thrown().c_str());
    }
}

} // namespace pipsqueak

/* Makes a C++ function std::string(std::string_view event, pipsqueak::context &) the handler of that name. */
#define PIPSQUEAK_HANDLER(name, function)                                                                                                  \
    PS_EXPORT void name(ps_context *context, const char *event, size_t size) { pipsqueak::run(context, event, size, function); }

#endif
