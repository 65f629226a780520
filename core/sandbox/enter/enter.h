/*
 * enter: how a freshly started or freshly forked process moves into its sandbox.
 *
 * A zygote holds no privilege outside its own user namespace. It, its children and the launcher use the calls below; all
 * that needs power over the host (writing the id maps, joining the cgroup, building the root directory) is done by core at
 * the other end of the gate, a SOCK_SEQPACKET connection that the driver has opened and passed on. One gate serves one
 * process, once. Packets are the structs below in host byte order; both ends are built from this file's numbers.
 *
 *      driver                 process                               core
 *        | connect, "node id" ------------------------------------->|  which sandbox this gate is for
 *        | pass the connection -->|                                 |
 *        |                        | USER  (launcher only) --------->|  attests the pid, writes uid_map and gid_map
 *        |                        |<------------------------- GO    |
 *        |                        | HELLO + pidfd of its pid 1 ---->|  attests the pid, puts both into its cgroups
 *        |                        |<------- ORDERS + descriptors    |  root tree, stdout, stderr [, network] [, endpoint]
 *        |                        | NETWORK (with registries only)->|  has the relay listen in the network that was made
 *        |                        |<------------------------- GO    |
 *        |                        | (moves in, drops its power)     |
 *        |                        | ENTERED, or FAILED{step,errno}->|
 *
 * The gate of a launcher stays open as long as its program runs. Making a network namespace takes longer than all the rest
 * of entering, so core has the launcher's keeper make some ahead, in the user namespace of its children to be:
 *
 *      keeper                                                       core
 *        |<------------------------------------------------ NETWORK |
 *        | NETWORK + descriptor of a new network namespace -------->|
 *
 * The pid is what the kernel says (SCM_CREDENTIALS, SO_PASSCRED on core's end); nothing a process says of itself is believed.
 */
#ifndef PIPSQUEAK_ENTER_H
#define PIPSQUEAK_ENTER_H

#include <stdint.h>

#define PS_API __attribute__((visibility("default")))

enum ps_kind { PS_USER = 1, PS_GO, PS_HELLO, PS_ORDERS, PS_ENTERED, PS_FAILED, PS_NETWORK };

/* Where a process finds its descriptors once it is inside. 0 is /dev/null, 1 and 2 are the function's logs. */
enum ps_fd { PS_FD_CONTROL = 3, PS_FD_ENDPOINT = 4 };

/* What core sends and receives without a body; text and err only with PS_FAILED. */
struct ps_note {
    uint32_t kind;
    int32_t err;   /* errno of the step that failed; of GO after USER 1 when the program is to be pid 1 itself, without init */
    char step[56]; /* its name, NUL-terminated */
};

struct ps_rlimit {
    uint32_t resource; /* RLIMIT_* */
    uint32_t unused;
    uint64_t soft, hard;
};

#define PS_MAX_RLIMITS 16
#define PS_MAX_ORDERS 65536

/* PS_ORDERS: what the sandbox's Spec says, for the process to carry out on itself. Followed by `masked` bytes of
 * NUL-terminated paths, by `filter` bytes of struct sock_filter, and by `accounts` bytes of text for /etc/passwd. */
struct ps_orders {
    uint32_t kind;
    uint32_t unshare;  /* CLONE_NEW* to make here, besides the mount, IPC and UTS namespaces that every sandbox has */
    uint32_t uid, gid; /* to become, inside the user namespace */
    uint32_t zygote;   /* 1: it will fork children into sandboxes of their own */
    uint32_t network;  /* 1: a network namespace to join comes with the orders; 2: make one; 3: make one, say NETWORK and wait for GO */
    uint32_t endpoint; /* 1: an endpoint comes with the orders */
    int32_t oom_score_adj;
    uint64_t scratch;      /* bytes of the private /tmp */
    uint64_t capabilities; /* to keep, a bit each; they count in the user namespace only */
    uint32_t rlimits;
    uint32_t masked;
    uint32_t filter;
    uint32_t accounts;
    struct ps_rlimit rlimit[PS_MAX_RLIMITS];
    char hostname[64];
    char directory[64]; /* the working directory, once inside; empty: "/" */
    uint32_t terminals; /* 1: it gets a /dev/pts */
    uint32_t unused;
};

/* Makes the next fork of this process the second one of a new pid namespace, the first of which is init (init.h), and undoes it. Call begin, then the language's
 * own fork (so that its fork handlers run), then end in the parent only. Both return 0, or -1 with errno. A process calls
 * them from one thread at a time. Linux refuses a second unshare of the pid namespace (EINVAL) until setns has undone the
 * first: that is what end does. */
PS_API int ps_fork_begin(void);
PS_API int ps_fork_end(void);

/* Enters the sandbox behind the gate. Both descriptors are the caller's; they are consumed. When it returns 0 or
 * 1 the process is inside: control is descriptor 3, the endpoint 4 if it is 1 (an instance), no other descriptor is open, and the
 * process has no privilege left that its orders do not give it. When it returns -1, core has been told why; the process is in an undefined
 * state and must _exit. The process must have one thread. */
PS_API int ps_enter(int gate, int control);

/* Moves the calling process into a new network namespace, with a loopback that is up and nothing else. 0, or -1 with errno.
 * For the launcher; not exported. */
int ps_new_network(void);

#endif
