/*
 * crash: reports a signal that ends the process. The reasons are in crash.h.
 *
 * The stack and the heap may be what is broken, and locks may be held. So a child, a copy that may hang or crash in its turn, walks
 * the stack, looks up names and tells; when it has not managed within a second, the process itself tells the signal alone, from
 * static memory.
 */
#include "crash.h"
#include "needs.h"

#include "enter.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* A stack of 8 MiB has no more frames. Of so many, those at the ends are reported. A line has a name, a file's and some digits, and a place of all
 * lines is in the text: each character may need another one before it. */
enum { FRAMES = 1 << 19, OUTER = 20, INNER = 40, STACK = 256 << 10, NAME = 1000, LINE = 2 * (NAME + 256) + 64, TEXT = (OUTER + INNER + 4) * LINE };

volatile char crash_frame;
char crash_token[32];
pid_t crash_process;

static const struct known {
    int signal;
    const char *name, *meaning;
} known[] = {
    {SIGSEGV, "SIGSEGV", "invalid access to memory"},
    {SIGBUS, "SIGBUS", "access to memory that is not there"},
    {SIGFPE, "SIGFPE", "an arithmetic error such as a division by zero"},
    {SIGILL, "SIGILL", "an illegal instruction"},
    {SIGABRT, "SIGABRT", "the process aborted itself"},
    {SIGTRAP, "SIGTRAP", "a trap"},
    {SIGSYS, "SIGSYS", "a system call that is not allowed"},
};

static char stack[STACK] __attribute__((aligned(64)));
static void *frames[FRAMES]; /* only what is written to takes memory */

/* The frame, from its length on. */
static char text[5 + sizeof crash_token + TEXT + 16];
static size_t length;

/* libstdc++'s, if there is one. */
static char *(*demangle)(const char *, char *, size_t *, int *);
static void *(*current_exception)(void); /* a std::type_info, whose second word is its name */
static char **(*caught)(void);          /* a thread's exceptions: the first word is the innermost that is being caught */
static void **base;                      /* the std::type_info of std::exception */

/* Adds text inside of a JSON string, with the last bytes left to what closes the brackets. */
static void add(const char *s)
{
    for (; *s && length < 5 + sizeof crash_token + TEXT; s++) {
        if (*s == '"' || *s == '\\')
            text[length++] = '\\';
        text[length++] = *s < 0x20 || *s > 0x7e ? '?' : *s;
    }
}

static void add_json(const char *s)
{
    while (*s && length < sizeof text)
        text[length++] = *s++;
}

static void add_hex(uintptr_t n)
{
    char digits[2 + 2 * sizeof n + 1];
    char *at = digits + sizeof digits - 1;
    *at = 0;
    do
        *--at = "0123456789abcdef"[n & 15];
    while (n >>= 4);
    *--at = 'x';
    *--at = '0';
    add(at);
}

/* Adds a name as the source has it, when it is one of C++. */
static void add_name(const char *name)
{
    int status = -1;
    char *readable = demangle ? demangle(name, NULL, NULL, &status) : NULL;
    char cut[NAME];
    snprintf(cut, sizeof cut, "%s", readable ? readable : name);
    add(cut);
}

/* Adds where an address is: file: function+offset, without the file's directory. */
static void add_place(void *address, bool first)
{
    Dl_info info;
    if (!dladdr(address, &info)) {
        add_json(first ? "\"" : ",\"");
        add_hex((uintptr_t)address);
        add_json("\"");
        return;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    add_json(first ? "\"" : ",\"");
    add(slash ? slash + 1 : info.dli_fname);
    add(": ");
    if (info.dli_sname)
        add_name(info.dli_sname);
    add("+");
    add_hex((uintptr_t)address - (uintptr_t)(info.dli_sname ? info.dli_saddr : info.dli_fbase));
    add_json("\"");
}

static void *counter(const ucontext_t *at)
{
#if defined __x86_64__
    return (void *)at->uc_mcontext.gregs[REG_RIP];
#elif defined __aarch64__
    return (void *)at->uc_mcontext.pc;
#else
    (void)at;
    return NULL;
#endif
}

/* The address to which the innermost function would return, if it has not made a frame yet. */
static void *caller(const ucontext_t *at)
{
#if defined __x86_64__
    return *(void **)at->uc_mcontext.gregs[REG_RSP];
#elif defined __aarch64__
    return (void *)at->uc_mcontext.regs[30];
#else
    (void)at;
    return NULL;
#endif
}

/* Whether an address is in this program itself. */
static bool is_own(const void *address)
{
    extern const char __executable_start, etext;
    return (const char *)address >= &__executable_start && (const char *)address < &etext;
}

/* Adds the stack, the outermost frame first, from what this program has called to where the signal came. */
static void add_stack(const ucontext_t *at)
{
    int n = backtrace(frames, FRAMES), innermost = 0;
    for (int i = 0; i < n && innermost == 0; i++)
        if (frames[i] == counter(at))
            innermost = i;
    if (innermost == 0) /* a jump to nowhere: there is nothing to unwind from but what was called from there */
        frames[0] = caller(at), n = frames[0] != NULL;
    for (int i = innermost; i < n; i++)
        if (is_own(frames[i]))
            n = i;
    int left = n - innermost - OUTER - INNER;
    for (int i = n - 1; i >= innermost; i--) {
        if (left > 1 && i == n - 1 - OUTER) {
            char line[64];
            snprintf(line, sizeof line, ",\"\xe2\x80\xa6 (%s%d frames left out)\"", n == FRAMES ? "over " : "", left);
            add_json(line);
            i -= left;
        }
        add_place(frames[i], i == n - 1);
    }
}

/*
 * Adds what() of the exception that is being caught, if it is a std::exception. The layout is that of the C++ ABI
 * for Itanium with 64 bits, in libstdc++: a header of a thrown object, or one that std::rethrow_exception makes and
 * that points to the object.
 */
static void add_what(void **type)
{
    enum { CLASS = 80, HEADER = 112, DO_CATCH = 4, WHAT = 2 };
    char *header = caught && base ? *caught() : NULL;
    if (!header || memcmp(header + CLASS + 1, "++CCUNG", 7) != 0) /* else it is another language's */
        return;
    void *object = header[CLASS] ? *(void **)header : header + HEADER;
    bool (**of_type)(void **, void **, void **, unsigned) = *base;
    if (!of_type[DO_CATCH](base, type, &object, 1)) /* which makes a pointer to the std::exception of the one to the object */
        return;
    const char *(**of_object)(void *) = *(void **)object;
    const char *what = of_object[WHAT](object);
    char cut[NAME];
    snprintf(cut, sizeof cut, ": %s", what ? what : "");
    add(cut);
}

static void begin(const struct known *what, const siginfo_t *info)
{
    length = 5;
    for (size_t i = 0; crash_frame == CRASH_DEATH && i < sizeof crash_token; i++)
        text[length++] = crash_token[i];
    if (crash_frame == CRASH_FAILURE)
        add_json("{\"kind\":\"exit\",\"fault\":\"handler\",\"message\":\"loading the handler ended the process\",\"exception\":");
    add_json("{\"type\":\"");
    add_json(what->name);
    add_json("\",\"message\":\"");
    add(what->meaning);
    if (what->signal == SIGSEGV || what->signal == SIGBUS) {
        add(", at the address ");
        add_hex((uintptr_t)info->si_addr);
    }
}

/* Sends the frame, which endpoint.c would refuse to send: a child of the instance speaks for it. */
static bool finish(void)
{
    add_json(crash_frame == CRASH_FAILURE ? "]}}" : "]}");
    uint32_t size = htonl((uint32_t)(length - sizeof size));
    memcpy(text, &size, sizeof size);
    text[sizeof size] = crash_frame;
    return send(PS_FD_ENDPOINT, text, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* The child's part. */
static void tell(const struct known *what, const siginfo_t *info, const ucontext_t *at)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        signal(known[i].signal, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGALRM, SIG_DFL);
    alarm(1);
    begin(what, info);
    void **type = what->signal == SIGABRT && current_exception ? current_exception() : NULL;
    if (type) {
        const char *mangled = type[1];
        add(": uncaught exception ");
        add_name(*mangled == '*' ? mangled + 1 : mangled);
        add_what(type);
    }
    add_json("\",\"stack\":[");
    add_stack(at);
    _exit(finish() ? 0 : 1);
}

static void crashed(int number, siginfo_t *info, void *at)
{
    const struct known *what = known;
    while (what->signal != number)
        what++;
    char frame = crash_frame;
    if (frame != CRASH_SILENT && getpid() == crash_process) {
        signal(SIGCHLD, SIG_DFL); /* or there would be nobody to wait for */
        pid_t child = _Fork();
        if (child == 0)
            tell(what, info, at);
        int status = 1;
        while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        if (status != 0) {
            begin(what, info);
            add_json("\",\"stack\":[");
            finish();
        }
    }
    /* What has gone wrong does so again and ends the process; a signal that somebody has sent does not come by itself. */
    signal(number, SIG_DFL);
    if (info->si_code <= 0)
        raise(number);
}

void crash_prepare(void)
{
    void *frames[4];
    backtrace(frames, 4); /* loads the library that unwinds */
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    struct sigaction action = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        sigaction(known[i].signal, &action, NULL);
}

void crash_learn(void)
{
    void *library = needs_open("libstdc++.so.6", RTLD_NOW | RTLD_NOLOAD);
    if (!library)
        return;
    *(void **)&demangle = dlsym(library, "__cxa_demangle");
    *(void **)&current_exception = dlsym(library, "__cxa_current_exception_type");
    *(void **)&caught = dlsym(library, "__cxa_get_globals");
    base = dlsym(library, "_ZTISt9exception");
}
