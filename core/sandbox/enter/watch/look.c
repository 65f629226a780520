/* look: which paths below a directory code looks at. The reasons are in look.h. */
#include "look.h"
#include "draws.h"
#include "names.h"
#include "next.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ANY "./"
#define PID "@pid"
#define RANDOM "@random"

/* Where packages have their objects, and where the loader finds those of Debian packages. */
static const char *const packages[] = {"/packages/", "/proc/self/"};

static atomic_int looking;
static struct names looked = {.all = ANY, .busy = ATOMIC_FLAG_INIT};
static char root[PATH_MAX], past[PATH_MAX];

/* Writes an absolute path without "." and "..", of at most PATH_MAX bytes. */
static void tidy(char *to, const char *path)
{
    size_t length = 0;
    for (const char *at = path; *at;) {
        size_t part = strcspn(at, "/");
        if (part == 2 && at[0] == '.' && at[1] == '.') {
            while (length && to[--length] != '/')
                ;
        } else if (part && !(part == 1 && *at == '.') && length + part + 1 < PATH_MAX) {
            to[length++] = '/';
            memcpy(to + length, at, part);
            length += part;
        }
        at += part + (at[part] == '/');
    }
    to[length] = 0;
}

/* Where a path leads to, without a look at links. Returns 0 when nobody knows. */
static int resolve(char *to, int directory, const char *path)
{
    char whole[2 * PATH_MAX] = "", link[32];
    ssize_t length = 0;
    if (*path != '/' && directory == AT_FDCWD) {
        length = syscall(SYS_getcwd, whole, PATH_MAX) - 1;
    } else if (*path != '/') {
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, PATH_MAX);
    }
    if (length < 0 || strlen(path) >= PATH_MAX)
        return 0;
    whole[length] = '/';
    strcpy(whole + length + 1, path);
    tidy(to, whole);
    return 1;
}

static int is_past(const char *below)
{
    size_t size = strlen(past);
    if (!size || strncmp(below, past, size) != 0)
        return 0;
    const char *ending = below + size;
    while (strncmp(ending, ".rb", 3) == 0 || strncmp(ending, ".so", 3) == 0)
        ending += 3;
    return !*ending && ending > below + size;
}

/* How a path is looked at: what is there, what is in the directory, or what fits the pattern. */
enum { FILE_OF, LIST_OF, MATCHES_OF };

static void look(int directory, const char *path, int way)
{
    if (!atomic_load_explicit(&looking, memory_order_relaxed) || !path || !*path)
        return;
    char at[PATH_MAX + 1], name[PATH_MAX + 2];
    int before = errno;
    size_t size = strlen(root);
    int known = resolve(at, directory, path);
    if (known && ps_draw_from)
        ps_draw_from(at);
    if (known && strncmp(at, root, size) == 0) {
        const char *below = at + size + 1;
        if (at[size] == '/' && !is_past(below)) {
            snprintf(name, sizeof name, "./%.*s", (int)strcspn(below, "/"), below);
            names_add(&looked, way == MATCHES_OF && strpbrk(name, "*?[{~") ? ANY : name);
        } else if (!at[size] && way == LIST_OF) {
            names_add(&looked, ANY);
        }
    }
    errno = before;
}

void ps_look(const char *directory)
{
    snprintf(root, sizeof root, "%s", directory);
    names_clear(&looked);
    past[0] = 0;
    if (ps_draws_forget)
        ps_draws_forget();
    atomic_store(&looking, PS_LOOK_PACKAGES);
}

const char *ps_looked(void)
{
    if (looking && ps_drawn && ps_drawn())
        names_add(&looked, RANDOM);
    atomic_store(&looking, 0);
    return looked.text;
}

void ps_look_at_all(void) { atomic_store(&looking, PS_LOOK_ALL); }

int ps_looking(void) { return atomic_load_explicit(&looking, memory_order_relaxed); }

int ps_is_package(const char *path)
{
    for (size_t i = 0; i < sizeof packages / sizeof *packages; i++)
        if (strncmp(path, packages[i], strlen(packages[i])) == 0)
            return 1;
    return 0;
}

void ps_look_at(const char *path) { look(AT_FDCWD, path, FILE_OF); }

void ps_look_past(const char *module) { snprintf(past, sizeof past, "%s", module ? module : ""); }

/* ---- what libraries call ---- */

#define LOOKS(type, function, parameters, directory, path, way, ...) \
    PS_WATCH type function parameters \
    { \
        NEXT(function); \
        look(directory, path, way); \
        return next(__VA_ARGS__); \
    }

/* The one that opens takes a mode only with some flags. */
#define OPENS(function, parameters, directory, ...) \
    PS_WATCH int function parameters \
    { \
        NEXT(function); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        look(directory, path, FILE_OF); \
        return next(__VA_ARGS__, mode); \
    }

/* What headers have no more, and compilers call instead of others. */
int __open_2(const char *, int), __open64_2(const char *, int), __openat_2(int, const char *, int), __openat64_2(int, const char *, int);
int __xstat(int, const char *, struct stat *), __xstat64(int, const char *, struct stat64 *);
int __lxstat(int, const char *, struct stat *), __lxstat64(int, const char *, struct stat64 *);
int __fxstatat(int, int, const char *, struct stat *, int), __fxstatat64(int, int, const char *, struct stat64 *, int);
char *__realpath_chk(const char *, char *, size_t);
ssize_t __readlink_chk(const char *, char *, size_t, size_t), __readlinkat_chk(int, const char *, char *, size_t, size_t);

OPENS(open, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPENS(open64, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPENS(openat, (int at, const char *path, int flags, ...), at, at, path, flags)
OPENS(openat64, (int at, const char *path, int flags, ...), at, at, path, flags)
LOOKS(int, __open_2, (const char *path, int flags), AT_FDCWD, path, FILE_OF, path, flags)
LOOKS(int, __open64_2, (const char *path, int flags), AT_FDCWD, path, FILE_OF, path, flags)
LOOKS(int, __openat_2, (int at, const char *path, int flags), at, path, FILE_OF, at, path, flags)
LOOKS(int, __openat64_2, (int at, const char *path, int flags), at, path, FILE_OF, at, path, flags)
LOOKS(FILE *, fopen, (const char *path, const char *mode), AT_FDCWD, path, FILE_OF, path, mode)
LOOKS(FILE *, fopen64, (const char *path, const char *mode), AT_FDCWD, path, FILE_OF, path, mode)
LOOKS(FILE *, freopen, (const char *path, const char *mode, FILE *file), AT_FDCWD, path, FILE_OF, path, mode, file)
LOOKS(FILE *, freopen64, (const char *path, const char *mode, FILE *file), AT_FDCWD, path, FILE_OF, path, mode, file)
LOOKS(int, stat, (const char *path, struct stat *to), AT_FDCWD, path, FILE_OF, path, to)
LOOKS(int, stat64, (const char *path, struct stat64 *to), AT_FDCWD, path, FILE_OF, path, to)
LOOKS(int, lstat, (const char *path, struct stat *to), AT_FDCWD, path, FILE_OF, path, to)
LOOKS(int, lstat64, (const char *path, struct stat64 *to), AT_FDCWD, path, FILE_OF, path, to)
LOOKS(int, fstatat, (int at, const char *path, struct stat *to, int flags), at, path, FILE_OF, at, path, to, flags)
LOOKS(int, fstatat64, (int at, const char *path, struct stat64 *to, int flags), at, path, FILE_OF, at, path, to, flags)
LOOKS(int, statx, (int at, const char *path, int flags, unsigned mask, struct statx *to), at, path, FILE_OF, at, path, flags, mask, to)
LOOKS(int, __xstat, (int version, const char *path, struct stat *to), AT_FDCWD, path, FILE_OF, version, path, to)
LOOKS(int, __xstat64, (int version, const char *path, struct stat64 *to), AT_FDCWD, path, FILE_OF, version, path, to)
LOOKS(int, __lxstat, (int version, const char *path, struct stat *to), AT_FDCWD, path, FILE_OF, version, path, to)
LOOKS(int, __lxstat64, (int version, const char *path, struct stat64 *to), AT_FDCWD, path, FILE_OF, version, path, to)
LOOKS(int, __fxstatat, (int version, int at, const char *path, struct stat *to, int flags), at, path, FILE_OF, version, at, path, to, flags)
LOOKS(int, __fxstatat64, (int version, int at, const char *path, struct stat64 *to, int flags), at, path, FILE_OF, version, at, path, to, flags)
LOOKS(int, access, (const char *path, int mode), AT_FDCWD, path, FILE_OF, path, mode)
LOOKS(int, eaccess, (const char *path, int mode), AT_FDCWD, path, FILE_OF, path, mode)
LOOKS(int, euidaccess, (const char *path, int mode), AT_FDCWD, path, FILE_OF, path, mode)
LOOKS(int, faccessat, (int at, const char *path, int mode, int flags), at, path, FILE_OF, at, path, mode, flags)
LOOKS(ssize_t, readlink, (const char *path, char *to, size_t size), AT_FDCWD, path, FILE_OF, path, to, size)
LOOKS(ssize_t, readlinkat, (int at, const char *path, char *to, size_t size), at, path, FILE_OF, at, path, to, size)
LOOKS(ssize_t, __readlink_chk, (const char *path, char *to, size_t size, size_t room), AT_FDCWD, path, FILE_OF, path, to, size, room)
LOOKS(ssize_t, __readlinkat_chk, (int at, const char *path, char *to, size_t size, size_t room), at, path, FILE_OF, at, path, to, size, room)
LOOKS(char *, realpath, (const char *path, char *to), AT_FDCWD, path, FILE_OF, path, to)
LOOKS(char *, __realpath_chk, (const char *path, char *to, size_t room), AT_FDCWD, path, FILE_OF, path, to, room)
LOOKS(DIR *, opendir, (const char *path), AT_FDCWD, path, LIST_OF, path)
LOOKS(DIR *, fdopendir, (int at), at, ".", LIST_OF, at)
LOOKS(int, scandir, (const char *path, struct dirent ***to, int (*filter)(const struct dirent *), int (*order)(const struct dirent **, const struct dirent **)), AT_FDCWD, path, LIST_OF, path, to, filter, order)
LOOKS(int, scandir64, (const char *path, struct dirent64 ***to, int (*filter)(const struct dirent64 *), int (*order)(const struct dirent64 **, const struct dirent64 **)), AT_FDCWD, path, LIST_OF, path, to, filter, order)
LOOKS(int, nftw, (const char *path, __nftw_func_t visit, int files, int flags), AT_FDCWD, path, LIST_OF, path, visit, files, flags)
LOOKS(int, nftw64, (const char *path, __nftw64_func_t visit, int files, int flags), AT_FDCWD, path, LIST_OF, path, visit, files, flags)
LOOKS(int, glob, (const char *path, int flags, int (*failed)(const char *, int), glob_t *to), AT_FDCWD, path, MATCHES_OF, path, flags, failed, to)
LOOKS(int, glob64, (const char *path, int flags, int (*failed)(const char *, int), glob64_t *to), AT_FDCWD, path, MATCHES_OF, path, flags, failed, to)

PS_WATCH pid_t getpid(void)
{
    NEXT(getpid);
    Dl_info caller;
    int whose = ps_looking();
    if (whose == PS_LOOK_ALL || (whose && dladdr(__builtin_return_address(0), &caller) && ps_is_package(caller.dli_fname)))
        names_add(&looked, PID);
    return next();
}
