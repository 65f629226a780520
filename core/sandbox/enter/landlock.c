/* landlock: the second wall. What it lets through is in landlock.h. */
#include "landlock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's interface (linux/landlock.h), all of it here: the headers of a machine may be older than its kernel. */
enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    MAKE_CHAR = 1 << 6,
    MAKE_BLOCK = 1 << 11,
    REFER = 1 << 13,    /* version 2 */
    TRUNCATE = 1 << 14, /* version 3 */
    IOCTL_DEV = 1 << 15 /* version 5 */
};
enum { ABSTRACT_SOCKETS = 1, SIGNALS = 2 }; /* version 6 */
enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446, PATH_BENEATH = 1 };

struct ruleset {
    uint64_t files, network, scoped;
};

struct beneath {
    uint64_t allowed;
    int32_t directory;
} __attribute__((packed));

static int allow(int rules, uint64_t handled, const char *directory, uint64_t rights)
{
    struct beneath rule = {.allowed = rights & handled, .directory = open(directory, O_PATH | O_CLOEXEC)};
    if (rule.directory < 0)
        return -1;
    int r = (int)syscall(ADD_RULE, rules, PATH_BENEATH, &rule, 0);
    close(rule.directory);
    return r;
}

int ps_landlock(uint32_t version, const char *directories, uint32_t length)
{
    uint64_t all = version >= 5 ? 2 * IOCTL_DEV - 1 : version >= 3 ? 2 * TRUNCATE - 1 : 2 * REFER - 1;
    uint64_t change = all & ~(uint64_t)(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV);
    struct ruleset ruleset = {.files = all, .scoped = version >= 6 ? ABSTRACT_SOCKETS | SIGNALS : 0};
    int rules = (int)syscall(CREATE_RULESET, &ruleset, version >= 6 ? sizeof ruleset : sizeof ruleset.files, 0);
    if (rules < 0)
        return -1;
    int failed = allow(rules, all, "/", EXECUTE | READ_FILE | READ_DIR) < 0 || allow(rules, all, "/proc", WRITE_FILE) < 0 ||
                 allow(rules, all, "/dev", WRITE_FILE | IOCTL_DEV) < 0;
    for (const char *path = directories; !failed && path < directories + length; path += strlen(path) + 1)
        failed = allow(rules, all, path, change) < 0;
    failed = failed || syscall(RESTRICT_SELF, rules, 0) < 0;
    close(rules);
    return failed ? -1 : 0;
}
