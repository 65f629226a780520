/* init: how the first process of a sandbox is made. The reasons are in init.h. */
#include "init.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The program is one function of this file, of which so many bytes are taken: more than it has, and none beyond its page. It has no C
 * library, no data, and calls nothing. */
enum { PROGRAM_SIZE = 1024 };
#define PROGRAM __attribute__((aligned(1024), used, noreturn, noinline, no_stack_protector, no_sanitize("address,undefined")))

#if defined(__x86_64__)
enum { MACHINE = EM_X86_64 };
#define ALIGNED __attribute__((force_align_arg_pointer)) /* nobody calls it, so the stack is not as after a call */
static inline __attribute__((always_inline)) long call(long number, long a, long b, long c)
{
    register long d __asm__("r10") = 0;
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(d) : "rcx", "r11", "memory");
    return number;
}
#elif defined(__aarch64__)
enum { MACHINE = EM_AARCH64 };
#define ALIGNED
static inline __attribute__((always_inline)) long call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#else
#error "init is written for amd64 and arm64"
#endif

PROGRAM ALIGNED static void program(void)
{
    int watched = 0;
    long n;
    while ((n = call(SYS_read, 0, (long)&watched, sizeof watched)) > 0 || n == -EINTR)
        ; /* its number, and then the end of the pipe */
    struct pollfd process;
    process.fd = (int)call(SYS_pidfd_open, watched, 0, 0);
    process.events = POLLIN;
    while (process.fd >= 0 && call(SYS_ppoll, (long)&process, 1, 0) == -EINTR)
        ;
    for (;;)
        call(SYS_exit_group, 0, 0, 0);
}

/* What a forker keeps: the program as a file, the two ends of the pipe to the init that is just being made, and its pid as long as that runs
 * in this process's memory. */
static int file = -1, pipe_end[2] = {-1, -1};
static int starting;
static char last[16]; /* number of a process that the next one is to follow, in digits; empty: the first */
static char stack[4096] __attribute__((aligned(16)));

/* Makes an executable file of the program. Nobody can read it: such a program is none that others of its user may look into. */
static int make_file(void)
{
    enum { ADDRESS = 0x400000 };
    struct {
        Elf64_Ehdr file;
        Elf64_Phdr segment;
    } head = {0};
    memcpy(head.file.e_ident, (const unsigned char[]){ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, 7);
    head.file.e_type = ET_EXEC;
    head.file.e_machine = MACHINE;
    head.file.e_version = EV_CURRENT;
    head.file.e_entry = ADDRESS + sizeof head;
    head.file.e_phoff = offsetof(__typeof__(head), segment);
    head.file.e_ehsize = sizeof head.file;
    head.file.e_phentsize = sizeof head.segment;
    head.file.e_phnum = 1;
    head.segment = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = ADDRESS, .p_filesz = sizeof head + PROGRAM_SIZE,
                                .p_memsz = sizeof head + PROGRAM_SIZE, .p_align = 0x1000};
    int fd = memfd_create("init", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    if (write(fd, &head, sizeof head) != (ssize_t)sizeof head || write(fd, (const void *)(uintptr_t)program, PROGRAM_SIZE) != PROGRAM_SIZE ||
        fchmod(fd, 0111) < 0) {
        close(fd);
        return -1;
    }
    file = fd;
    return 0;
}

/* Runs in the memory of the forker, which goes on meanwhile: on a stack of its own, and with system calls that do not fail, for the C
 * library's errno is the forker's. */
static int become_init(void *unused)
{
    static char *const arguments[] = {"init", NULL}, *const environment[] = {NULL};
    (void)unused;
    syscall(SYS_rt_sigaction, SIGCHLD, (const unsigned long[4]){(unsigned long)SIG_IGN}, NULL, sizeof(unsigned long));
    syscall(SYS_setsid);
    if (last[0]) {
        long fd = syscall(SYS_openat, AT_FDCWD, "/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
        if (syscall(SYS_write, fd, last, strlen(last)) != (long)strlen(last))
            syscall(SYS_exit, 125); /* without it there will be no process at all */
    }
    syscall(SYS_dup3, pipe_end[0], 0, 0);
    syscall(SYS_close_range, 1, file - 1, 0);
    syscall(SYS_close_range, file + 1, ~0U, 0);
    syscall(SYS_execveat, file, "", arguments, environment, AT_EMPTY_PATH);
    syscall(SYS_exit, 125);
    return 0;
}

/* Waits until the last one needs no more of this process's memory. */
static void await_start(void)
{
    for (int pid; (pid = __atomic_load_n(&starting, __ATOMIC_ACQUIRE)) != 0;)
        syscall(SYS_futex, &starting, FUTEX_WAIT, pid, NULL, NULL, 0);
}

int ps_init_start(int watched)
{
    sigset_t all, before;
    await_start();
    if (file < 0 && make_file() < 0)
        return -1;
    if (pipe2(pipe_end, O_CLOEXEC) < 0)
        return -1;
    write(pipe_end[1], &watched, sizeof watched); /* into an empty pipe */
    snprintf(last, sizeof last, watched > 2 ? "%d" : "", watched - 1);
    sigfillset(&all); /* a handler of the language's must not run in both */
    sigprocmask(SIG_SETMASK, &all, &before);
    int pid = clone(become_init, stack + sizeof stack, CLONE_VM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, &starting, NULL,
                    &starting);
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(pipe_end[0]);
    if (pid < 0) {
        ps_init_go();
        errno = error;
        return -1;
    }
    if (last[0])
        await_start();
    return 0;
}

void ps_init_go(void)
{
    if (pipe_end[1] >= 0)
        close(pipe_end[1]);
    pipe_end[1] = -1;
}

void ps_init_forget(void)
{
    ps_init_go();
    if (file >= 0)
        close(file);
    file = -1;
    starting = 0;
}
