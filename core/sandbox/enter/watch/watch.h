/*
 * watch: which environment variables code asks for while it is imported. What a zygote has imported has read the zygote's own, and
 * a function may set others.
 *
 * A program that is linked with this, or has it preloaded, has functions of its own which libraries call instead of the C library's:
 * getenv, and those that read a variable for their caller, such as localtime.
 */
#ifndef PIPSQUEAK_WATCH_H
#define PIPSQUEAK_WATCH_H

#define PS_WATCH __attribute__((visibility("default")))

/* Forgets what has been asked for, and begins to note it. */
PS_WATCH void ps_watch(void);

/* Ends that. Returns the names, each once and with a newline behind it; "*" stands for those for which there was no more room. It is good until the
 * next ps_watch. */
PS_WATCH const char *ps_watched(void);

#endif
