/*
 * preload: a shared object that the dynamic linker loads before node, for what has to be there before V8 is. Its names are seen by all of the
 * process: it exports nothing but the functions of the C library that it replaces, and one name for the addon.
 */
#ifndef PIPSQUEAK_PRELOAD_H
#define PIPSQUEAK_PRELOAD_H

struct pipsqueak_preload {
    /* Ends all other threads of the process, where they stand; they must be waiting for work, with no lock held. 0, or -1 with errno
     * ETIMEDOUT when one is still there after a second. */
    int (*end_threads)(void);

    /* Has V8's thread, which end_threads has ended in a zygote, go on in this process. The number of threads that there are more now,
     * or -1 with errno. */
    int (*wake_worker)(void);

    /* Has libuv's handlers for a forked process wait, before a fork into a sandbox; has them not wait any more, in the parent; runs
     * them, in the child that stands in its sandbox. */
    void (*hold_handlers)(void);
    void (*drop_handlers)(void);
    void (*run_handlers)(void);

    /* Which variables the process asks the C library for: see watch.h. */
    void (*watch)(void);
    const char *(*watched)(void);
};

/* An installer loads the addon without it. */
extern const struct pipsqueak_preload pipsqueak_preload __attribute__((weak));

#endif
