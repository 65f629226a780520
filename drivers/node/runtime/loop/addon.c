/* addon: the zygote loop for JavaScript, and how a process ends. */
#include "addon.h"
#include "preload.h"
#include "zygote.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

enum { MAX_PACKET = 128 << 10 };

napi_value ps_throw(napi_env env, const char *what)
{
    char text[256];
    snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    napi_throw_error(env, NULL, text);
    return NULL;
}

void ps_export(napi_env env, napi_value exports, const char *name, napi_callback call)
{
    napi_value function;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call, NULL, &function) == napi_ok)
        napi_set_named_property(env, exports, name, function);
}

/* Sends text, a JavaScript string, to the driver in one packet; when that is gone, the next receive says so. -1 for a packet that is too long. */
static int send_text(napi_env env, napi_value text)
{
    static char packet[MAX_PACKET + 1];
    size_t length = 0;
    if (napi_get_value_string_utf8(env, text, packet, sizeof packet, &length) != napi_ok || length == 0)
        return 0;
    return write(PS_FD_CONTROL, packet, length) < 0 && errno == EMSGSIZE ? -1 : 0;
}

/* zygote(reply): sends the reply to the request before, unless it is empty, and forks as the driver asks (zygote.h). Returns a request of another
 * kind as a string, or what ps_zygote returns as a number. */
static napi_value zygote(napi_env env, napi_callback_info info)
{
    static char buffer[MAX_PACKET];
    const struct ps_hooks hooks = {.before = pipsqueak_preload.hold_handlers, .parent = pipsqueak_preload.drop_handlers};
    struct sigaction before, ignore = {.sa_handler = SIG_IGN};
    napi_value argument, result;
    size_t count = 1;
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    if (ps_note_descriptors() < 0)
        return ps_throw(env, "noting the open descriptors");
    sigaction(SIGCHLD, &ignore, &before);
    /* Not earlier: who looks at the process after the reply is to see it as it waits. */
    if (send_text(env, argument) < 0)
        return ps_throw(env, "a packet for the driver");
    int n = ps_zygote(PS_FD_CONTROL, &hooks, buffer, sizeof buffer);
    sigaction(SIGCHLD, &before, NULL); /* libuv's, when a package listens */
    if (n == PS_ZYGOTE || n == PS_INSTANCE) {
        ps_set_endpoint(ps_make_descriptors(n == PS_INSTANCE));
        pipsqueak_preload.run_handlers();
    }
    if (n > 0)
        napi_create_string_utf8(env, buffer, (size_t)n, &result);
    else
        napi_create_int32(env, n, &result);
    return result;
}

/* endThreads(): see preload.h. */
static napi_value end_threads(napi_env env, napi_callback_info info)
{
    (void)info;
    return pipsqueak_preload.end_threads() < 0 ? ps_throw(env, "ending the threads of node") : NULL;
}

/* wakeWorker(): see preload.h. Returns how many threads there are more now. */
static napi_value wake_worker(napi_env env, napi_callback_info info)
{
    napi_value result;
    (void)info;
    int more = pipsqueak_preload.wake_worker();
    if (more < 0)
        return ps_throw(env, "waking V8's thread");
    napi_create_int32(env, more, &result);
    return result;
}

/* exit(code): at once. Node's own way out joins threads, which a forked process does not have. */
static napi_value leave(napi_env env, napi_callback_info info)
{
    napi_value argument;
    size_t count = 1;
    int32_t code = 0;
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    napi_get_value_int32(env, argument, &code);
    _exit(code & 0xff);
}

/* forgetText(): see zygote.h. */
static napi_value forget_text(napi_env env, napi_callback_info info)
{
    (void)env, (void)info;
    ps_forget_text();
    return NULL;
}

/* rest(): for ever. */
__attribute__((noreturn)) static napi_value rest(napi_env env, napi_callback_info info)
{
    (void)env, (void)info;
    for (;;)
        pause();
}

/* say(text): sends one packet to the driver. */
static napi_value say(napi_env env, napi_callback_info info)
{
    napi_value argument;
    size_t count = 1;
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    return send_text(env, argument) < 0 ? ps_throw(env, "a packet for the driver") : NULL;
}

/* pid(): which Node asks for once. */
static napi_value pid(napi_env env, napi_callback_info info)
{
    napi_value result;
    (void)info;
    napi_create_int32(env, getpid(), &result);
    return result;
}

/* random(view): fills a Uint32Array with random bits of the kernel's. OpenSSL's first after a fork take a millisecond. */
static napi_value random_bits(napi_env env, napi_callback_info info)
{
    napi_value argument;
    size_t count = 1, length = 0;
    void *data = NULL;
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    if (napi_get_typedarray_info(env, argument, NULL, &length, &data, NULL, NULL) != napi_ok || getrandom(data, 4 * length, 0) != (ssize_t)(4 * length))
        return ps_throw(env, "random bits of the kernel");
    return NULL;
}

/* noteVariables(): begins to note which environment variables are asked for. */
static napi_value note_variables(napi_env env, napi_callback_info info)
{
    (void)env, (void)info;
    pipsqueak_preload.watch();
    return NULL;
}

/* notedVariables(): ends that, and returns the names, each with a newline behind it. */
static napi_value noted_variables(napi_env env, napi_callback_info info)
{
    napi_value result;
    (void)info;
    return napi_create_string_latin1(env, pipsqueak_preload.watched(), NAPI_AUTO_LENGTH, &result) == napi_ok ? result : NULL;
}

/* setLocale(locale, version): has ICU, which is of that version, and V8 take a locale for the one that the process was started with. They read
 * the environment once. Node exports these functions of theirs for addons. */
static napi_value set_locale(napi_env env, napi_callback_info info)
{
    char locale[64], name[32];
    napi_value arguments[2];
    size_t count = 2, length = 0;
    int32_t version = 0;
    int error = 0;
    napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
    napi_get_value_string_utf8(env, arguments[0], locale, sizeof locale, &length);
    napi_get_value_int32(env, arguments[1], &version);
    snprintf(name, sizeof name, "uloc_setDefault_%d", version);
    void (*set)(const char *, int *), *(*isolate)(void), (*changed)(void *);
    *(void **)&set = dlsym(RTLD_DEFAULT, name);
    *(void **)&isolate = dlsym(RTLD_DEFAULT, "_ZN2v87Isolate10GetCurrentEv");
    *(void **)&changed = dlsym(RTLD_DEFAULT, "_ZN2v87Isolate37LocaleConfigurationChangeNotificationEv");
    if (set && isolate && changed) {
        set(locale, &error);
        changed(isolate());
    }
    return NULL;
}

/* close(): from now on no other process of the same user may read this one's memory and environment. */
static napi_value close_process(napi_env env, napi_callback_info info)
{
    (void)info;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? ps_throw(env, "closing the process") : NULL;
}

NAPI_MODULE_INIT()
{
    signal(SIGPIPE, SIG_IGN); /* as node has it, which a launched program does not inherit */
    ps_export(env, exports, "zygote", zygote);
    ps_export(env, exports, "endThreads", end_threads);
    ps_export(env, exports, "wakeWorker", wake_worker);
    ps_export(env, exports, "exit", leave);
    ps_export(env, exports, "rest", rest);
    ps_export(env, exports, "forgetText", forget_text);
    ps_export(env, exports, "say", say);
    ps_export(env, exports, "pid", pid);
    ps_export(env, exports, "random", random_bits);
    ps_export(env, exports, "noteVariables", note_variables);
    ps_export(env, exports, "notedVariables", noted_variables);
    ps_export(env, exports, "setLocale", set_locale);
    ps_export(env, exports, "close", close_process);
    ps_export_endpoint(env, exports);
    return exports;
}
