/*
 * enter: how a freshly started or freshly forked process moves into its sandbox.
 *
 * A zygote holds no privilege, and neither does what it has forked once that is inside. In between, a forked process has power over a user
 * namespace that was made for it alone, and the launcher's child over the launcher's. Core does everything that needs power over the host: it joins the
 * process to its cgroup and builds the root directory. Core is at the other end of the gate, a SOCK_SEQPACKET connection that the driver has opened and
 * passed on. One gate serves one process, once. Packets are the structs below in host byte order; both ends are built from the numbers of this file.
 *
 *      driver                 process                               core
 *        | connect, "node id" ------------------------------------->|  which sandbox this gate is for
 *        | pass the connection -->|                                 |
 *        |                        | USER  (launcher only) --------->|  takes a range of ids
 *        |                        |<------------------------- GO    |  the first of them, which is to own the user namespace
 *        |                        | USER  (launcher only) --------->|  attests the pid, writes uid_map and gid_map
 *        |                        |<------------------------- GO    |
 *        |                        |<- USER + user namespace (forks) |  at once, for the zygote: ps_fork_begin
 *        |                        | HELLO + pidfd of its pid 1 ---->|  attests the pid, puts both into its cgroups
 *        |                        |<------- ORDERS + descriptors    |  root tree, stdout, stderr [, network] [, endpoint]
 *        |                        | NETWORK (with registries only)->|  has the relay listen in the network that was made
 *        |                        |<------------------------- GO    |
 *        |                        | (moves in, drops its power)     |
 *        |                        | ENTERED [+ listener], or        |
 *        |                        | FAILED{step,errno} ------------>|
 *
 * The gate of a launcher stays open as long as its program runs. Its keeper makes the namespaces of forks, some ahead, because making a network
 * takes longer than the rest of entering: a user namespace below that of the zygote, owned by the zygote's user, with few ids, and a network in it.
 *
 *      keeper                                                       core
 *        |<------ USER{owner, ids} + the zygote's user namespace    |
 *        | USER + the new user namespace and its network ---------->|
 *
 * Core takes the pid from the kernel (SCM_CREDENTIALS, SO_PASSCRED on its end), and believes nothing that a process says
 * of itself.
 */
#ifndef PIPSQUEAK_ENTER_H
#define PIPSQUEAK_ENTER_H

#include <stdint.h>

#define PS_API __attribute__((visibility("default")))

/* The kinds of packets, as in the pictures above. */
enum ps_kind {
    PS_USER = 1, /* about a user namespace: a launcher's own, that of a fork, or one that a keeper is to make */
    PS_GO,       /* go on: core has done its part */
    PS_HELLO,    /* "here I am", with the pidfd of the first process of its pid namespace */
    PS_ORDERS,   /* struct ps_orders, with descriptors */
    PS_ENTERED,  /* the process is inside */
    PS_FAILED,   /* a step failed: struct ps_note says which, and why */
    PS_NETWORK,  /* a network namespace was made */
    PS_FORK,     /* to a zygote, with a connection at a gate: fork, and have the child enter there */
};

/* The descriptors of a process that is inside. 0 is /dev/null, 1 and 2 are the function's logs. 4 is its way to core: the endpoint of an
 * instance, or the socket over which core asks a zygote to fork. */
enum ps_fd { PS_FD_CONTROL = 3, PS_FD_ENDPOINT = 4, PS_FD_FORKS = 4 };

/* A packet without a body. err and step count with these kinds only:
 *   FAILED                 errno of the step that failed, and its name
 *   GO after the first USER of a launcher: err is the number that its program is to have in its pid namespace, and 1 makes it the first process itself,
 *                          without init; step has the id on the host that is to own the user namespace, in digits
 *   USER to a zygote       err is the number that its fork is to have
 *   USER to a keeper       err is the user, in the namespace that comes along, that is to own the new one; step has a line for its uid_map and gid_map */
struct ps_note {
    uint32_t kind;
    int32_t err;
    char step[56]; /* NUL-terminated */
};

/* One limit, as setrlimit(2) takes it. */
struct ps_rlimit {
    uint32_t resource; /* RLIMIT_* */
    uint32_t unused;
    uint64_t soft, hard;
};

#define PS_MAX_RLIMITS 16
#define PS_MAX_ORDERS 65536 /* bytes of the orders with all that follows them */

/* PS_ORDERS: the part of the sandbox's Spec that the process carries out on itself. Lists follow the struct: `masked` bytes of NUL-terminated
 * paths to hide, `filter` bytes of struct sock_filter for seccomp, `writable` bytes of NUL-terminated paths of what Landlock lets it change, and
 * `pages` bytes of uint64_t: memory that an instance is to have copied once it is inside, each the address of a page with, in its lowest 12 bits, how
 * many pages begin there. */
struct ps_orders {
    uint32_t kind;
    uint32_t unshare;  /* CLONE_NEW* to unshare, besides the mount, IPC and UTS namespaces that every sandbox has */
    uint32_t uid, gid; /* to become, inside the user namespace */
    uint32_t network;  /* 1: a network namespace to join comes with the orders; 2: make one; 3: make one, say NETWORK and wait for GO */
    uint32_t core;     /* 1: an endpoint comes with the orders; 2: the socket over which core asks for forks */
    int32_t oom_score_adj;
    uint32_t terminals; /* 1: it gets a /dev/pts */
    uint64_t scratch;   /* bytes of the private /tmp */
    uint32_t rlimits;   /* how many there are in rlimit */
    uint32_t masked;    /* bytes of each list that follows */
    uint32_t filter;
    uint32_t writable;
    struct ps_rlimit rlimit[PS_MAX_RLIMITS];
    char hostname[64];
    char directory[64]; /* the working directory, once inside; empty: "/" */
    uint32_t landlock;  /* the version of Landlock to use, 0 for none */
    uint32_t listener;  /* 1: the filter asks core, and ENTERED brings the descriptor by which core is asked */
    uint32_t pages;     /* bytes of that list, the last one */
    uint32_t unused;
};

/* After ps_fork_begin the next fork of this process is the second process, or the one of the number that core says, of a new pid namespace in the user
 * namespace that comes through the gate; the first one is init (init.h). Call begin, then the language's own fork, so that its fork handlers run,
 * then end in the parent only. Both return 0, or -1 with errno. In between a helper runs in the caller's place (fork.h): getpid() says another number,
 * and what it changes of itself alone, such as blocked signals, is forgotten at the end. The process must have one thread. What it has forked is
 * not for it to wait for. */
PS_API int ps_fork_begin(int gate);
PS_API int ps_fork_end(void);

/* Enters the sandbox behind the gate, and consumes both descriptors. The process must have one thread.
 *
 * Returns 0 or 1 when the process is inside. Then control is descriptor 3 unless it was -1, no other descriptor is open but the logs and
 * the way to core, and the process has no privilege that its orders do not give it. With 1 it is an instance.
 * Returns -1 when a step failed. Core knows which; the process is in an undefined state and must _exit. */
PS_API int ps_enter(int gate, int control);

/* Whether ps_enter has copied pages of this process that one like it wrote to. Not exported. */
extern int ps_pages_copied;

/* Sets the loopback of the network namespace up. Returns 0, or -1 with errno. For the launcher; not exported. */
int ps_raise_loopback(void);

#endif
