/* fork: how a zygote forks into namespaces that are not its own, without a privilege of its own. The reasons are in fork.h. */
#include "fork.h"
#include "enter.h"
#include "init.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Milliseconds after which a gate that says nothing is given up: other forks wait meanwhile. Core says at once what is to be said. */
enum { PATIENCE = 5000 };

/* Where the helper has stopped: the registers that a function keeps for its caller, the stack, and the next instruction. */
static struct {
    void *kept[KEPT];
    void *stack, *next;
    pid_t helper;
} stopped;

/* ps_split makes the helper: a child in the same memory that goes on with this very stack. It returns 0 in the helper, and a negative errno when there
 * is none. The caller itself sleeps in the kernel until the helper has ended, touches no memory when it wakes, and goes on where that has stopped; if that
 * stopped nowhere, its code has crashed, and this process ends as it would have done with a fork of its own.
 * ps_stop notes where the helper stops, and returns 0. It returns once more, not 0, in the zygote. */
long ps_split(void *stopped);
int ps_stop(void *stopped) __attribute__((returns_twice));

#if defined(__x86_64__)
__asm__(".text\n"
        ".type ps_split, @function\n"
        "ps_split:\n"
        "    mov %rdi, %r9\n"
        "    movq $0, 56(%r9)\n"
        "    mov $0x104d00, %edi\n" /* CLONE_VM, FILES, SIGHAND, VFORK, PARENT_SETTID, and no signal */
        "    xor %esi, %esi\n"
        "    lea 64(%r9), %rdx\n"
        "    xor %r10d, %r10d\n"
        "    xor %r8d, %r8d\n"
        "    mov $56, %eax\n" /* clone */
        "    syscall\n"
        "    test %rax, %rax\n"
        "    jle 1f\n"
        "    cmpq $0, 56(%r9)\n"
        "    je 2f\n"
        "    mov 0(%r9), %rbx\n"
        "    mov 8(%r9), %rbp\n"
        "    mov 16(%r9), %r12\n"
        "    mov 24(%r9), %r13\n"
        "    mov 32(%r9), %r14\n"
        "    mov 40(%r9), %r15\n"
        "    mov 48(%r9), %rsp\n"
        "    mov $1, %eax\n"
        "    jmp *56(%r9)\n"
        "1:  ret\n"
        "2:  mov $125, %edi\n"
        "    mov $231, %eax\n" /* exit_group */
        "    syscall\n"
        "    hlt\n"
        ".size ps_split, .-ps_split\n"
        ".type ps_stop, @function\n"
        "ps_stop:\n"
        "    mov %rbx, 0(%rdi)\n"
        "    mov %rbp, 8(%rdi)\n"
        "    mov %r12, 16(%rdi)\n"
        "    mov %r13, 24(%rdi)\n"
        "    mov %r14, 32(%rdi)\n"
        "    mov %r15, 40(%rdi)\n"
        "    lea 8(%rsp), %rdx\n" /* as it is once this has returned */
        "    mov %rdx, 48(%rdi)\n"
        "    mov (%rsp), %rdx\n"
        "    mov %rdx, 56(%rdi)\n"
        "    xor %eax, %eax\n"
        "    ret\n"
        ".size ps_stop, .-ps_stop\n"
        ".section .note.GNU-stack,\"\",@progbits\n"
        ".text\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".type ps_split, @function\n"
        "ps_split:\n"
        "    mov x9, x0\n"
        "    str xzr, [x9, #168]\n"
        "    mov x0, #0x4d00\n" /* CLONE_VM, FILES, SIGHAND, VFORK, */
        "    movk x0, #0x10, lsl #16\n" /* PARENT_SETTID, and no signal */
        "    mov x1, xzr\n"
        "    add x2, x9, #176\n"
        "    mov x3, xzr\n"
        "    mov x4, xzr\n"
        "    mov x8, #220\n" /* clone */
        "    svc #0\n"
        "    cmp x0, #0\n"
        "    b.le 1f\n"
        "    ldr x10, [x9, #168]\n"
        "    cbz x10, 2f\n"
        "    ldp x19, x20, [x9, #0]\n"
        "    ldp x21, x22, [x9, #16]\n"
        "    ldp x23, x24, [x9, #32]\n"
        "    ldp x25, x26, [x9, #48]\n"
        "    ldp x27, x28, [x9, #64]\n"
        "    ldr x29, [x9, #80]\n"
        "    ldp d8, d9, [x9, #96]\n"
        "    ldp d10, d11, [x9, #112]\n"
        "    ldp d12, d13, [x9, #128]\n"
        "    ldp d14, d15, [x9, #144]\n"
        "    ldr x11, [x9, #160]\n"
        "    mov sp, x11\n"
        "    mov x30, x10\n"
        "    mov x0, #1\n"
        "1:  ret\n"
        "2:  mov x0, #125\n"
        "    mov x8, #94\n" /* exit_group */
        "    svc #0\n"
        "    brk #0\n"
        ".size ps_split, .-ps_split\n"
        ".type ps_stop, @function\n"
        "ps_stop:\n"
        "    stp x19, x20, [x0, #0]\n"
        "    stp x21, x22, [x0, #16]\n"
        "    stp x23, x24, [x0, #32]\n"
        "    stp x25, x26, [x0, #48]\n"
        "    stp x27, x28, [x0, #64]\n"
        "    str x29, [x0, #80]\n"
        "    stp d8, d9, [x0, #96]\n"
        "    stp d10, d11, [x0, #112]\n"
        "    stp d12, d13, [x0, #128]\n"
        "    stp d14, d15, [x0, #144]\n"
        "    mov x1, sp\n"
        "    stp x1, x30, [x0, #160]\n"
        "    mov x0, #0\n"
        "    ret\n"
        ".size ps_stop, .-ps_stop\n"
        ".section .note.GNU-stack,\"\",@progbits\n"
        ".text\n");
#endif

_Static_assert(offsetof(__typeof__(stopped), next) == sizeof(void *) * (KEPT + 1) && sizeof(void *) == 8, "as the instructions have it");

/* Receives the user namespace for the next fork, and the number that the fork is to have in its pid namespace. */
static int receive_user(int gate, int *number)
{
    struct ps_note note;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = &note, .iov_len = sizeof note};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n;
    int user;
    if (poll(&(struct pollfd){.fd = gate, .events = POLLIN}, 1, PATIENCE) == 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    do
        n = recvmsg(gate, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
    errno = n == 0 ? ECONNRESET : msg.msg_flags & MSG_CTRUNC ? EMFILE : EPROTO;
    if (n != (ssize_t)sizeof note || note.kind != PS_USER || !header || header->cmsg_type != SCM_RIGHTS)
        return -1;
    memcpy(&user, CMSG_DATA(header), sizeof user);
    *number = note.err;
    return user;
}

int ps_helper_begin(void)
{
    long split = ps_split(&stopped);
    if (split < 0)
        errno = (int)-split;
    return split < 0 ? -1 : 0;
}

void ps_helper_end(void)
{
    if (ps_stop(&stopped) == 0)
        syscall(SYS_exit_group, 0);
    while (waitpid(stopped.helper, NULL, __WALL) < 0 && errno == EINTR)
        ;
}

int ps_fork_begin(int gate)
{
    int number, user = receive_user(gate, &number), error = 0;
    if (user < 0)
        return -1;
    if (ps_helper_begin() < 0)
        error = errno;
    else if (setns(user, CLONE_NEWUSER) < 0 || unshare(CLONE_NEWPID) < 0 || ps_init_start(number) < 0) {
        error = errno;
        ps_helper_end();
    }
    close(user);
    errno = error;
    return error ? -1 : 0;
}

int ps_fork_end(void)
{
    ps_init_go();
    ps_helper_end();
    return 0;
}
