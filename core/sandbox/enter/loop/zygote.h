/*
 * zygote: the loop of a zygote, in C.
 *
 * What a process writes to after a fork is copied page by page, in the parent as in the child, at a microsecond or more a
 * page. The heap of a language is touched all over by the least of its code, so the loop that waits, forks and leads the child into its
 * sandbox is not written in the language: it touches a few pages of stack and nothing else, and the language wakes up in a
 * child that is inside already.
 *
 * The protocol is the zygote loop of PROTOCOL.md; this file knows its requests to fork and leaves all others to the caller.
 */
#ifndef PIPSQUEAK_ZYGOTE_H
#define PIPSQUEAK_ZYGOTE_H

#include "../enter.h"

#include <stddef.h>

/* What a language has to do around a fork, in the order of pthread_atfork; each may be NULL, and all together too. child is
 * called in the child when it is inside its sandbox. */
struct ps_hooks {
    void (*before)(void);
    void (*parent)(void);
    void (*child)(void);
};

/* What ps_zygote returns besides the length of a packet. */
enum { PS_LOST = 0, PS_ZYGOTE = -1, PS_INSTANCE = -2 };

/* Forks as often as the driver asks for it over the control socket, or core over descriptor 4, if that is there when this is called. A child
 * that core has asked for is an instance. Returns
 *   > 0          the length of a request of another kind, which is in the buffer;
 *   PS_LOST      the driver is gone;
 *   PS_ZYGOTE    in a child that is inside, parked, and a zygote itself, with its control socket in place of this one;
 *   PS_INSTANCE  in a child that is inside, parked, and an instance: its control socket is closed, its endpoint open (close-on-exec).
 * A child that cannot enter, and a zygote that could not take its fork back, exit. The process must have one thread and
 * must not be waiting for children of its own; SIGCHLD should be ignored, so that the kernel reaps the children. */
PS_API int ps_zygote(int control, const struct ps_hooks *hooks, char *buffer, size_t size);

/* Whether an instance has time and reason to rehearse, before it receives anything: it was forked ahead, for nothing has come to its endpoint
 * within two milliseconds, and the kernel has not copied the pages for it that one like it wrote to. */
PS_API int ps_may_rehearse(int endpoint);

/* Forgets which pages of its interpreter this process has used. A root zygote calls it before its last rehearsal. */
void ps_forget_text(void);

/* Whether core asks this process for forks, over descriptor 4. Else that is anybody's. */
int ps_asked_by_core(void);

#endif
