/*
 * sets: which environment variables code of the function's own sets, changes or removes while its handler is loaded.
 * A library of a package that a zygote has loaded ahead has asked for them before. And whether it changes the working directory.
 *
 * The program has setenv and its like of its own, which libraries call instead of the C library's. Who calls, the
 * stack tells: what a library does while the loader initialises it is its own, unless it is the function's.
 */
#ifndef PIPSQUEAK_SETS_H
#define PIPSQUEAK_SETS_H

/* Begins to note the names. */
void sets_note(void);

/* Ends that. Returns the names, each once and with a newline behind it; "*" stands for all, "./" for a change of the working directory. */
const char *sets_noted(void);

#endif
