/*
 * zygote: how a process of CRuby becomes a zygote.
 *
 * What CRuby does around a fork (its timer thread, its signal pipe, its locks, Process._fork, which libraries extend to notice a
 * fork) differs from version to version and is not for extensions to call. So Ruby forks itself: this library is preloaded,
 * and the fork(2) that Ruby calls is the one below. Armed, it is ps_zygote: it waits for the driver, forks as often as it is asked
 * to and never returns for that. To Ruby it is one fork, which returns in each child when that one stands inside its sandbox,
 * and in the parent only when there is something to do in Ruby.
 *
 * It is an extension of Ruby too, one for all versions: it uses no header of Ruby's, only functions that have been the same
 * since long before 3.1, and none of the constants that have not (such as nil).
 */
#include "draws.h"
#include "look.h"
#include "next.h"
#include "threads.h"
#include "watch.h"
#include "zygote.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long VALUE;
extern VALUE rb_define_module(const char *name);
extern void rb_define_module_function(VALUE module, const char *name, VALUE (*function)(), int arguments);
extern VALUE rb_str_new(const char *text, long length);
extern VALUE rb_str_cat(VALUE string, const char *text, long length);
extern VALUE rb_int2inum(long number);
extern long rb_num2long(VALUE number);
extern char *rb_string_value_cstr(volatile VALUE *string);
extern int ruby_native_thread_p(void);
extern VALUE rb_path2class(const char *name);
extern VALUE rb_funcall(VALUE receiver, unsigned long method, int arguments, ...);
extern unsigned long rb_intern(const char *name);
extern void rb_gvar_readonly_setter(VALUE value, unsigned long id, VALUE *data);
extern void rb_define_virtual_variable(const char *name, VALUE (*get)(unsigned long, VALUE *), void (*set)(VALUE, unsigned long, VALUE *));

#define MAX_PACKET (128 << 10)

static pid_t (*libc_fork)(void);
static int (*libc_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static const void *ruby; /* where the object begins that CRuby is in */
static int armed;
static int looking; /* whether draws are noted */
static int drawn;   /* whether there was one since */
static int answer; /* what ps_zygote returned last */
static char buffer[MAX_PACKET]; /* a request, or before it the reply to the one before */
static size_t reply;            /* bytes of that */

/* The descriptors that Ruby has opened, above the endpoint's. A child enters its sandbox without them, but still has what they
 * belong to, and will close them by their numbers: Ruby itself at once (and aborts when it cannot), a file when it is collected.
 * So each number is /dev/null in the child until then. And none may be the endpoint's: it is taken before Ruby opens any. */
enum { FIRST_FD = PS_FD_ENDPOINT + 1, MAX_FDS = 1024 };
static int fds[MAX_FDS], fd_count;

static void list_descriptors(void)
{
    fd_count = 0;
    for (int fd = FIRST_FD; fd < MAX_FDS; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            fds[fd_count++] = fd;
}

static void occupy_descriptors(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int used = null == PS_FD_ENDPOINT;
    for (int i = 0; i < fd_count; i++) {
        if (fds[i] == null)
            used = 1;
        else
            dup3(null, fds[i], O_CLOEXEC);
    }
    if (!used)
        close(null);
}

static const void *object_of(const void *address)
{
    Dl_info info;
    return dladdr(address, &info) ? info.dli_fbase : NULL;
}

__attribute__((constructor)) static void begin(void)
{
    libc_fork = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
    *(void **)&libc_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    ruby = object_of(dlsym(RTLD_DEFAULT, "ruby_native_thread_p"));
    if (fcntl(PS_FD_ENDPOINT, F_GETFD) < 0 && fcntl(PS_FD_CONTROL, F_GETFD) >= 0)
        occupy_descriptors();
}

/* Returns 1 in the parent, which is no pid that anybody looks at. */
PS_API pid_t fork(void)
{
    if (!armed)
        return libc_fork();
    armed = 0;
    list_descriptors();
    /* The kernel is to reap the children; Ruby blocks signals around a fork and would not see that they end. */
    static const struct ps_hooks none;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGCHLD, &ignore, &before);
    /* Not earlier: who looks at the process after the reply is to see it as it waits. To a driver that is gone the next receive says so. */
    if (reply)
        send(PS_FD_CONTROL, buffer, reply, MSG_NOSIGNAL);
    reply = 0;
    answer = ps_zygote(PS_FD_CONTROL, &none, buffer, sizeof buffer);
    sigaction(SIGCHLD, &before, NULL);
    if (answer < 0)
        occupy_descriptors();
    return answer < 0 ? 0 : 1;
}

/* CRuby before 3.3 keeps a thread that has ended for 3 s, for the next one, and a process with two threads is no zygote. Such a
 * thread is none of Ruby's any more and waits in Ruby's code: here its time is over at once, and it ends. One that begins is none
 * of Ruby's yet, and waits there for its turn, 0.1 s at a time. An instance's are kept: that saves it 40 us for each. */
PS_API int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *end)
{
    if (answer != PS_INSTANCE && !ruby_native_thread_p() && object_of(__builtin_return_address(0)) == ruby) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (end->tv_sec > now.tv_sec + 1)
            return ETIMEDOUT;
    }
    return libc_timedwait(condition, mutex, end);
}

/* The next fork sends the packet, unless it is empty, and waits for the driver. */
static VALUE arm(VALUE self, VALUE packet)
{
    const char *text = rb_string_value_cstr(&packet);
    reply = strnlen(text, sizeof buffer);
    memcpy(buffer, text, reply);
    armed = 1;
    return self;
}

/* Returns what the last armed fork did, as ps_zygote does. */
static VALUE forked(VALUE self)
{
    (void)self;
    if (armed) {
        static const char text[] = "zygote.so is not preloaded\n";
        write(STDERR_FILENO, text, sizeof text - 1);
        _exit(125);
    }
    return rb_int2inum(answer);
}

static VALUE request(VALUE self)
{
    (void)self;
    return rb_str_new(buffer, answer > 0 ? answer : 0);
}

/* true or false, of Ruby's operator: their values differ from version to version. */
static VALUE may_rehearse(VALUE self)
{
    (void)self;
    return rb_funcall(rb_int2inum(ps_may_rehearse(PS_FD_ENDPOINT)), rb_intern("=="), 1, rb_int2inum(1));
}

/* Makes the C heap ready for forks. Free memory lies in small pieces between what lives, and a child that takes them copies a page
 * for each: so they are all taken here, and a child begins with memory that nobody has touched. */
static VALUE settle(VALUE self)
{
    malloc_trim(0);
    char *top = (char *)sbrk(0) - mallinfo2().keepcost;
    for (size_t size = 64 << 10; size >= 16; size -= size > 1024 ? 1024 : 16) {
        char *piece;
        while ((piece = malloc(size)) && piece < top)
            ;
        free(piece);
    }
    return self;
}

/* Begins to note which environment variables are asked for. */
static VALUE watch(VALUE self)
{
    ps_watch();
    return self;
}

static VALUE watched(VALUE self)
{
    (void)self;
    const char *names = ps_watched();
    return rb_str_new(names, (long)strlen(names));
}

static VALUE pid(unsigned long id, VALUE *data)
{
    (void)id, (void)data;
    return rb_funcall(rb_path2class("Process"), rb_intern("pid"), 0);
}

/* ---- random numbers that extensions draw, of the kernel or of Ruby ---- */

static void draw(const void *caller)
{
    Dl_info info;
    if (looking && dladdr(caller, &info) && strncmp(info.dli_fname, "/packages/", 10) == 0)
        drawn = 1;
}

/* Ruby itself opens none of these. */
void ps_draw_from(const char *path)
{
    drawn |= strcmp(path, "/dev/urandom") == 0 || strcmp(path, "/dev/random") == 0;
}

#define DRAWS(type, function, parameters, ...) \
    PS_API type function parameters \
    { \
        NEXT(function); \
        draw(__builtin_return_address(0)); \
        return next(__VA_ARGS__); \
    }

unsigned rb_genrand_int32(void), rb_random_int32(VALUE);
double rb_genrand_real(void), rb_random_real(VALUE);
unsigned long rb_genrand_ulong_limited(unsigned long), rb_random_ulong_limited(VALUE, unsigned long);
VALUE rb_random_bytes(VALUE, long);

DRAWS(ssize_t, getrandom, (void *to, size_t size, unsigned flags), to, size, flags)
DRAWS(int, getentropy, (void *to, size_t size), to, size)
DRAWS(unsigned, rb_genrand_int32, (void))
DRAWS(double, rb_genrand_real, (void))
DRAWS(unsigned long, rb_genrand_ulong_limited, (unsigned long limit), limit)
DRAWS(unsigned, rb_random_int32, (VALUE generator), generator)
DRAWS(double, rb_random_real, (VALUE generator), generator)
DRAWS(unsigned long, rb_random_ulong_limited, (VALUE generator, unsigned long limit), generator, limit)
DRAWS(VALUE, rb_random_bytes, (VALUE generator, long size), generator, size)

/* Begins to note which paths below a directory are looked at, and has the variable $$ call Process.pid, which can be replaced; and
 * to note whether extensions draw. */
static VALUE look(VALUE self, VALUE directory)
{
    rb_define_virtual_variable("$$", pid, rb_gvar_readonly_setter);
    looking = 1;
    drawn = 0;
    ps_look(rb_string_value_cstr(&directory));
    return self;
}

static VALUE looked(VALUE self)
{
    (void)self;
    const char *names = ps_looked();
    looking = 0;
    VALUE told = rb_str_new(names, (long)strlen(names));
    return drawn ? rb_str_cat(told, "@random\n", 8) : told;
}

/* Ruby looks for a feature of that name, "" for none, wherever the function's files are too. */
static VALUE look_past(VALUE self, VALUE feature)
{
    ps_look_past(rb_string_value_cstr(&feature));
    return self;
}

static VALUE use_threads(VALUE self, VALUE processors)
{
    ps_use_threads((int)rb_num2long(processors));
    return self;
}

/* Loads a shared library, unless the process has one of that name. What is wrong with it, who needs it will say. */
static VALUE load_library(VALUE self, VALUE name, VALUE path)
{
    if (!dlopen(rb_string_value_cstr(&name), RTLD_LAZY | RTLD_NOLOAD))
        dlopen(rb_string_value_cstr(&path), RTLD_LAZY | RTLD_LOCAL);
    return self;
}

PS_API void Init_zygote(void)
{
    VALUE module = rb_define_module("PipsqueakZygote");
    rb_define_module_function(module, "arm", arm, 1);
    rb_define_module_function(module, "forked", forked, 0);
    rb_define_module_function(module, "request", request, 0);
    rb_define_module_function(module, "may_rehearse", may_rehearse, 0);
    rb_define_module_function(module, "settle", settle, 0);
    rb_define_module_function(module, "load_library", load_library, 2);
    rb_define_module_function(module, "watch", watch, 0);
    rb_define_module_function(module, "watched", watched, 0);
    rb_define_module_function(module, "look", look, 1);
    rb_define_module_function(module, "looked", looked, 0);
    rb_define_module_function(module, "look_past", look_past, 1);
    rb_define_module_function(module, "use_threads", use_threads, 1);
}
