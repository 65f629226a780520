// The handler that the conformance kit sends its events to: it does what "do" of the event says (docs/conformance.md).
#include <pipsqueak.hpp>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using std::string;
using std::string_view;

extern char **environ;

struct KitError : std::runtime_error {
    using runtime_error::runtime_error;
};

// As much JSON as the kit's events need. A value is a piece of the text.
namespace json {

size_t blank(string_view s, size_t i)
{
    i = s.find_first_not_of(" \t\r\n", i);
    return i == s.npos ? s.size() : i;
}

// Where the value that begins at i ends.
size_t end(string_view s, size_t i)
{
    for (int depth = 0; i < s.size(); i++) {
        char c = s[i];
        if (c == '"') {
            for (i++; i < s.size() && s[i] != '"'; i++)
                if (s[i] == '\\')
                    i++;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            if (--depth < 0)
                return i;
        } else if (depth > 0) {
            continue;
        } else if (c == ',' || c == ':' || strchr(" \t\r\n", c)) {
            return i;
        }
        if (depth == 0 && strchr("\"]}", c))
            return i + 1;
    }
    return i;
}

// The values of a list, or the keys and values of an object.
std::vector<string_view> items(string_view s)
{
    std::vector<string_view> all;
    for (size_t i = blank(s, 1); i < s.size() && s[i] != ']' && s[i] != '}';) {
        size_t to = end(s, i);
        all.push_back(s.substr(i, to - i));
        i = blank(s, to);
        if (i < s.size() && (s[i] == ',' || s[i] == ':'))
            i = blank(s, i + 1);
    }
    return all;
}

string text(string_view s)
{
    string out;
    for (size_t i = 1; i + 1 < s.size(); i++) {
        if (s[i] != '\\') {
            out += s[i];
            continue;
        }
        char c = s[++i];
        const char *plain = strchr("\"\"\\\\//b\bf\fn\nr\rt\t", c);
        if (c != 'u') {
            out += plain[1];
            continue;
        }
        unsigned long code = std::stoul(string(s.substr(i + 1, 4)), nullptr, 16);
        i += 4;
        if (code >= 0xd800 && code < 0xdc00 && s.substr(i + 1, 2) == "\\u") {
            code = 0x10000 + ((code - 0xd800) << 10) + (std::stoul(string(s.substr(i + 3, 4)), nullptr, 16) - 0xdc00);
            i += 6;
        }
        if (code < 0x80) {
            out += (char)code;
        } else if (code < 0x800) {
            out += {(char)(0xc0 | code >> 6), (char)(0x80 | (code & 63))};
        } else if (code < 0x10000) {
            out += {(char)(0xe0 | code >> 12), (char)(0x80 | (code >> 6 & 63)), (char)(0x80 | (code & 63))};
        } else {
            out += {(char)(0xf0 | code >> 18), (char)(0x80 | (code >> 12 & 63)), (char)(0x80 | (code >> 6 & 63)), (char)(0x80 | (code & 63))};
        }
    }
    return out;
}

string quote(string_view s)
{
    string out = "\"";
    for (unsigned char c : s) {
        char escaped[8];
        if (c < 0x20 || c == '"' || c == '\\')
            out.append(escaped, snprintf(escaped, sizeof escaped, "\\u%04x", c));
        else
            out += (char)c;
    }
    return out + "\"";
}

string object(const std::map<string, string> &members)
{
    string out;
    for (auto &[key, value] : members)
        out += (out.empty() ? "{" : ",") + quote(key) + ":" + value;
    return out.empty() ? "{}" : out + "}";
}

} // namespace json

using Event = std::map<string, string_view>;

static long number(const Event &e, const char *key) { return e.count(key) ? std::stol(string(e.at(key))) : 0; }
static string text(const Event &e, const char *key) { return e.count(key) ? json::text(e.at(key)) : ""; }

[[gnu::noinline]] static int fall(const string &message, long depth)
{
    if (depth > 0)
        return fall(message, depth - 1) + 1; // not in the tail, so that each call has a frame
    throw KitError(message);
}

static void raise_because(const string &message, std::vector<string> causes)
{
    if (causes.empty())
        throw KitError(message);
    try {
        raise_because(causes[0], {causes.begin() + 1, causes.end()});
    } catch (...) {
        std::throw_with_nested(KitError(message));
    }
}

static string randoms()
{
    char bytes[8], name[] = "/tmp/kit-random-XXXXXX";
    if (getrandom(bytes, sizeof bytes, 0) < 0 || !mkdtemp(name))
        throw KitError("there are no random numbers");
    uint64_t n;
    memcpy(&n, bytes, sizeof n);
    std::random_device device;
    string drawn = std::to_string(device()) + " " + std::to_string(device());
    return json::object({{"rand", json::quote(std::to_string(rand()) + " " + std::to_string(rand()))}, {"getrandom", json::quote(std::to_string(n))}, {"device", json::quote(drawn)}, {"temporary", json::quote(name)}});
}

static string drawn(const Event &e)
{
    auto tell = (const char *(*)())dlsym(dlopen(text(e, "module").c_str(), RTLD_NOW | RTLD_NOLOAD), "kit_drawn");
    if (!tell)
        throw KitError(text(e, "module") + " is not loaded, or has drawn nothing");
    return tell();
}

static string environment()
{
    std::map<string, string> all;
    for (char **entry = environ; entry && *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        all[string(*entry, equals - *entry)] = json::quote(equals + 1);
    }
    return json::object(all);
}

static string about(pipsqueak::context &c)
{
    char directory[256] = "";
    if (!getcwd(directory, sizeof directory))
        throw KitError("there is no working directory");
    return json::object({{"request_id", json::quote(c.request_id())}, {"function", json::quote(c.function())},
                         {"remaining_ms", std::to_string(c.remaining().count())}, {"pid", std::to_string(getpid())}, {"cwd", json::quote(directory)}});
}

static string file(const Event &e)
{
    string path = text(e, "path");
    if (e.count("text"))
        std::ofstream(path) << text(e, "text");
    std::ifstream in(path);
    if (!in)
        throw KitError("there is no file " + path);
    std::stringstream all;
    all << in.rdbuf();
    return json::quote(all.str());
}

static string program(const Event &e)
{
    FILE *out = popen(text(e, "command").c_str(), "r");
    if (!out)
        throw KitError("nothing can be run");
    string all;
    for (char part[4096]; size_t n = fread(part, 1, sizeof part, out);)
        all.append(part, n);
    int status = pclose(out);
    return json::object({{"out", json::quote(all)}, {"status", std::to_string(WEXITSTATUS(status))}});
}

static string invoke(const Event &e, pipsqueak::context &c)
{
    string all;
    for (string_view call : json::items(e.at("calls"))) {
        auto pair = json::items(call);
        string event = e.count("bytes") ? "\"" + string(number(e, "bytes"), 'x') + "\"" : string(pair[1]);
        all += all.empty() ? "[" : ",";
        try {
            all += json::object({{"result", c.invoke(json::text(pair[0]), event)}});
        } catch (const pipsqueak::invoke_error &error) {
            if (e.count("uncaught"))
                throw;
            all += json::object({{"error", json::object({{"kind", json::quote(error.kind)}, {"fault", json::quote(error.fault)},
                                                         {"message", json::quote(error.what())}, {"retryable", error.retryable ? "true" : "false"}})}});
        }
    }
    return all + "]";
}

static int count;

static string stream(const Event &e, pipsqueak::context &c)
{
    try {
        if (e.count("head"))
            c.head(e.at("head"));
        if (e.count("bytes"))
            c.write(string(number(e, "bytes"), 'x'));
        else if (e.count("parts"))
            for (string_view part : json::items(e.at("parts")))
                c.write(json::text(part));
    } catch (const pipsqueak::write_error &) {
        count++;
        return "";
    }
    if (e.count("raise"))
        throw KitError(text(e, "raise"));
    return "";
}

static string print(const Event &e)
{
    fputs(text(e, "out").c_str(), stdout);
    fputs(text(e, "err").c_str(), stderr);
    return "null";
}

static string grow(const Event &e)
{
    static std::vector<string> held;
    held.emplace_back(number(e, "bytes"), 'x');
    return "null";
}

static string bytes(const Event &e)
{
    string all = "\"";
    for (string_view byte : json::items(e.at("bytes")))
        all += (char)std::stoi(string(byte));
    all += "\"";
    return e.count("key") && e.at("key") == "true" ? "{" + all + ":1}" : all;
}

static string forked()
{
    pid_t child = fork();
    if (child == 0)
        return "\"child\"";
    waitpid(child, nullptr, 0);
    return "\"parent\"";
}

static volatile sig_atomic_t caught;

static string handle(string_view event, pipsqueak::context &c)
{
    size_t begin = json::blank(event, 0);
    if (event[begin] != '{')
        return string(event);
    Event e;
    auto items = json::items(event.substr(begin));
    for (size_t i = 0; i + 1 < items.size(); i += 2)
        e[json::text(items[i])] = items[i + 1];
    string what = text(e, "do");
    if (what == "")
        return string(event);
    if (what == "echo")
        return string(e.at("value"));
    if (what == "raise" && e.count("causes")) {
        std::vector<string> causes;
        for (auto item : json::items(e.at("causes")))
            causes.push_back(json::text(item));
        raise_because(text(e, "message"), causes);
    }
    if (what == "unreadable")
        throw 5; /* no std::exception; what() of one cannot throw */
    if (what == "raise")
        return std::to_string(fall(text(e, "message"), number(e, "depth")));
    if (what == "exit")
        exit((int)number(e, "code"));
    if (what == "crash")
        *(volatile int *)nullptr = 1;
    if (what == "hang")
        for (;;)
            sleep(1);
    if (what == "print")
        return print(e);
    if (what == "big")
        return "\"" + string(number(e, "bytes"), 'x') + "\"";
    if (what == "state")
        return std::to_string(++count);
    if (what == "random")
        return randoms();
    if (what == "drawn")
        return drawn(e);
    if (what == "signal") {
        signal(SIGUSR2, [](int) { caught = caught + 1; });
        kill(getpid(), SIGUSR2);
        return std::to_string(caught);
    }
    if (what == "env")
        return environment();
    if (what == "about")
        return about(c);
    if (what == "file")
        return file(e);
    if (what == "run")
        return program(e);
    if (what == "sleep")
        return usleep((unsigned)number(e, "ms") * 1000) == 0 ? "null" : "false";
    if (what == "grow")
        return grow(e);
    if (what == "unusable")
        return "neither a number nor anything else";
    if (what == "odd") /* a result is text here */
        return e.count("within") && e.at("within") == "true" ? "{\"value\":" + text(e, "name") + "}" : text(e, "name");
    if (what == "number")
        return e.count("within") ? "[" + text(e, "name") + "]" : text(e, "name");
    if (what == "bytes")
        return bytes(e);
    if (what == "nest")
        return string(number(e, "levels"), '[') + string(number(e, "levels"), ']');
    if (what == "fork")
        return forked();
    if (what == "invoke")
        return invoke(e, c);
    if (what == "stream")
        return stream(e, c);
    throw KitError("nobody knows what " + what + " is");
}

PIPSQUEAK_HANDLER(handler, handle)
