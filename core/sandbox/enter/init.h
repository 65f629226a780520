/*
 * init: the first process of a sandbox's pid namespace.
 *
 * The kernel gives the first process of a pid namespace duties and privileges: orphans become its children, a signal that it does
 * not handle does nothing, and its end ends all others. A language's runtime knows nothing of that, so it is never the first.
 * The first is a program of a few instructions that holds nothing: the kernel reaps its children (it ignores SIGCHLD), it watches the
 * process that enters the sandbox, and it ends when that has ended.
 *
 * It has memory of its own, for it would otherwise be the zygote's, which the kernel could then take for that of an instance.
 * It keeps the zygote's user and nobody may look into it, not even its own zygote: its root directory is that of the process
 * that made it.
 */
#ifndef PIPSQUEAK_INIT_H
#define PIPSQUEAK_INIT_H

/* Makes init the first process of the pid namespace that the caller has unshared, and has the next process that the caller forks be number `watched`
 * in it: 2, or a number that is given for a zygote. For that one init waits until ps_init_go. Returns 0, or -1 with errno. */
int ps_init_start(int watched);

/* Tells init that the process has been made, or never will be. */
void ps_init_go(void);

/* The same in that process, which also forgets what belongs to its parent. Init goes on when both have told it. */
void ps_init_forget(void);

#endif
