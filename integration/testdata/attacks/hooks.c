/* What a package does not at its import, when a probe looks, but later: in a hook at a fork of its zygote. The hook runs in the helper of the fork,
 * which has power in the user namespace of the fork alone, but shares the zygote's memory: there it puts what the zygote is to run. */
#include "attack.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int mounts, takes, forked, tried;
static int came = EAGAIN; /* of the mount: 0, or why there is none */
static const char *mounter;
static ino_t own_users;

static ino_t users(void) {
    struct stat namespace;
    return stat("/proc/self/ns/user", &namespace) == 0 ? namespace.st_ino : 0;
}
static void mount_as(const char *who) {
    if (came == 0) return;
    came = mounted("tmpfs") == 0 ? 0 : errno;
    mounter = who;
}

/* In the place of recvmsg, by which a zygote waits for the next order. A child runs it too, in other namespaces. */
static ssize_t receive(int socket, struct msghdr *message, int flags) {
    if (!tried && users() == own_users) tried = 1, mount_as("the zygote");
    return syscall(SYS_recvmsg, socket, message, flags);
}
static void replace(void *function, ssize_t (*by)(int, struct msghdr *, int)) {
#ifdef __x86_64__
    unsigned char jump[14] = {0xff, 0x25}; /* jmp *0(%rip) */
    const size_t before = 6;
#else
    uint32_t jump[4] = {0x58000050, 0xd61f0200}; /* ldr x16, #8; br x16 */
    const size_t before = 8;
#endif
    void *pages = (void *)((uintptr_t)function & ~(uintptr_t)4095);
    memcpy((char *)jump + before, &by, sizeof by);
    if (mprotect(pages, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) return;
    memcpy(function, jump, sizeof jump);
    __builtin___clear_cache((char *)function, (char *)function + sizeof jump);
    mprotect(pages, 8192, PROT_READ | PROT_EXEC);
}

static void before_fork(void) {
    int error = errno;
    if (mounts && !forked++) {
        mount_as("the helper");
        replace(dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "recvmsg"), receive);
    }
    if (takes && unshare(CLONE_NEWNS) == 0) take_programs("hook");
    errno = error;
}

void hook_forks(const char *wanted) {
    mounts = strstr(wanted, "at the first fork") != NULL;
    takes = strstr(wanted, "at each fork") != NULL;
    own_users = users();
    if (mounts || takes) pthread_atfork(before_fork, NULL, NULL);
}

ATTACK(first_fork, "mount in a hook at the first fork", 0) {
    errno = tried ? came : EAGAIN;
    return errno ? -1 : done("%s has mounted", mounter);
}
