/*
 * fork: how a zygote forks into namespaces that are not its own, without a privilege of its own.
 *
 * A user namespace for the next fork comes through the gate. It lies below the zygote's and is owned by the zygote's user, so a process of that
 * user may join it, and has power there; but a process that has joined one never comes back. So a helper does that: a child of the zygote that
 * shares its memory, its descriptors and its signal handlers, and runs on the zygote's own stack while the zygote sleeps (as after vfork).
 * The language's hooks and its fork run in the helper and do not notice: all that they see is the zygote's. What they fork is in the
 * namespaces from its first moment. When the helper ends, the zygote goes on where it has stopped. What was forked becomes a child of the
 * zygote's own first process, which has the kernel reap it.
 *
 * The launcher has a helper too, for who has made a pid namespace cannot have children elsewhere any more, and what its keeper makes later is
 * nothing for its program to see.
 */
#ifndef PIPSQUEAK_FORK_H
#define PIPSQUEAK_FORK_H

#include <stddef.h>

/* So many registers a function keeps for its caller. */
#if defined(__x86_64__)
enum { KEPT = 6 };
#elif defined(__aarch64__)
enum { KEPT = 20 };
#else
#error "the helper is written for amd64 and arm64"
#endif

/* From ps_helper_begin to ps_helper_end the helper runs in the caller's place. The first returns 0, or -1 with errno: there is none. */
int ps_helper_begin(void);
void ps_helper_end(void);

#endif
